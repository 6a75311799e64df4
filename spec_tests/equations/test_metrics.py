"""The metrics: higher scores are more bona fide, and a sample is accepted when its score ≥ the threshold."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from spec_tests.equations import formula_oracles as oracles
from spec_tests.equations.adapter import call, spec
from spec_tests.equations.strategies import scored
from spec_tests.equations.tolerances import RATE, close_rate

NAMES = ["print", "replay", "rigidmask", "glasses"]
# With class sizes that are powers of two every rate is exact in binary, so ties of rates are ties of floats too.
EXACT = scored(counts=(1, 2, 4, 8))
SPLIT = (np.array([0.1, 0.4, 0.4, 0.9, 0.5, 0.4]), np.array([False, False, True, True, False, True]))


def array(values):
    return np.array(values, dtype=np.float64)


def flags(values):
    return np.array(values, dtype=bool)


@st.composite
def thresholds(draw, scores):
    """A score, the next number above or below one, or an infinity."""
    value = draw(st.sampled_from(list(scores)))
    towards = draw(st.sampled_from([None, -math.inf, math.inf]))
    beyond = draw(st.sampled_from([None, None, None, -math.inf, math.inf]))
    return (
        float(value if towards is None else np.nextafter(value, value.dtype.type(towards)))
        if beyond is None
        else beyond
    )


def order_preserving(scores, seed):
    """Other numbers in the same order, with the same ties."""
    values = np.unique(scores)
    others = np.sort(np.random.default_rng(seed).choice(10**6, size=len(values), replace=False) / 7.0 - 5e4)
    return others[np.searchsorted(values, scores)], dict(zip(values.tolist(), others.tolist(), strict=True))


@st.composite
def families_for(draw, bonafide):
    """An attack family for every sample; for bona fide samples anything, a real family's name included."""
    count = draw(st.integers(1, len(NAMES)))
    attacks = st.sampled_from(NAMES[:count])
    genuine = st.sampled_from(["", "bona fide", *NAMES])
    return np.array([draw(genuine if b else attacks) for b in bonafide])


# FAR and FRR


@spec("metrics-far_frr", "far_frr")
@given(data=st.data(), sample=scored())
def test_far_frr_counts_accepted_attacks_and_rejected_bona_fide(data, sample):
    scores, bonafide = sample
    threshold = data.draw(thresholds(scores))
    far, frr = call("far_frr", scores, bonafide, threshold)
    expected = oracles.rates(scores, bonafide, threshold)
    close_rate(far, expected[0])
    close_rate(frr, expected[1])


@spec("metrics-far_frr", "far_frr")
@given(sample=scored())
def test_far_frr_tells_a_threshold_from_the_next_number(sample):
    for score in np.unique(sample[0]):
        above = float(np.nextafter(score, score.dtype.type(math.inf)))
        for got, expected in zip(call("far_frr", *sample, above), oracles.rates(*sample, above), strict=True):
            close_rate(got, expected)


@spec("metrics-far_frr", "far_frr")
def test_far_frr_accepts_a_score_equal_to_the_threshold():
    far, frr = call("far_frr", *SPLIT, 0.4)
    close_rate(far, 2 / 3)
    close_rate(frr, 0)


@spec("metrics-far_frr", "far_frr")
@given(sample=scored())
def test_far_frr_accepts_everything_at_minus_infinity_and_nothing_at_infinity(sample):
    for threshold, expected in ((-math.inf, (1, 0)), (math.inf, (0, 1))):
        far, frr = call("far_frr", *sample, threshold)
        assert (far, frr) == expected


@spec("metrics-far_frr", "far_frr")
@given(sample=scored())
def test_far_frr_trade_off_as_the_threshold_rises(sample):
    points = [call("far_frr", *sample, t) for t in oracles.thresholds(sample[0])]
    assert all(a[0] >= b[0] and a[1] <= b[1] for a, b in itertools.pairwise(points))
    assert points[0][1] == 0


# EER


@spec("metrics-eer", "eer")
@given(sample=EXACT)
@example(sample=SPLIT)
@example(sample=(array([0.0, 0.0]), flags([True, False])))
@example(sample=(array([0, 1, 1, 1, 0, 2, 3, 3]), flags([True] * 4 + [False] * 4)))
@example(sample=(array([1, 2, 1, 2, 0, 0, 0, 3]), flags([True, True, True, True, False, False, False, False])))
@example(sample=(array([0, 0, 1, 2, 1, 1, 1, 2]), flags([True] * 4 + [False] * 4)))
def test_eer_is_that_of_the_brute_force_with_both_tie_rules(sample):
    rate, threshold = call("eer", *sample)
    expected_rate, expected_threshold = oracles.eer(*sample)
    close_rate(rate, expected_rate)
    assert float(threshold) == expected_threshold


@spec("metrics-eer", "eer")
@given(sample=scored())
def test_eer_is_at_a_score_or_infinity_with_the_least_gap_between_the_rates(sample):
    rate, threshold = call("eer", *sample)
    candidates = oracles.thresholds(sample[0])
    assert float(threshold) in candidates
    far, frr = oracles.rates(*sample, float(threshold))
    close_rate(rate, (far + frr) / 2)
    least = min(abs(a - b) for a, b in (oracles.rates(*sample, t) for t in candidates))
    assert abs(far - frr) <= least + RATE


@spec("metrics-eer", "eer")
@given(sample=EXACT, seed=st.integers(0, 10**6))
def test_eer_is_the_same_on_any_increasing_scale(sample, seed):
    scores, bonafide = sample
    moved, to = order_preserving(scores, seed)
    rate, threshold = call("eer", scores, bonafide)
    moved_rate, moved_threshold = call("eer", moved, bonafide)
    close_rate(moved_rate, rate)
    assert float(moved_threshold) == to.get(float(threshold), math.inf)


@spec("metrics-eer", "eer")
@given(sample=EXACT)
def test_eer_rate_is_the_same_with_labels_and_scores_turned_round(sample):
    scores, bonafide = sample
    close_rate(call("eer", -scores, ~bonafide)[0], call("eer", scores, bonafide)[0])


@spec("metrics-eer", "eer")
@given(sample=EXACT, data=st.data())
def test_eer_ignores_the_order_of_the_samples(sample, data):
    scores, bonafide = sample
    order = np.array(data.draw(st.permutations(range(len(scores)))))
    assert tuple(map(float, call("eer", scores[order], bonafide[order]))) == tuple(map(float, call("eer", *sample)))


@spec("metrics-eer", "eer")
def test_eer_of_separated_and_of_reversed_scores():
    bonafide = flags([True, True, False, False])
    assert tuple(map(float, call("eer", array([3, 4, 1, 2]), bonafide))) == (0.0, 3.0)
    assert float(call("eer", array([1, 2, 3, 4]), bonafide)[0]) == 1.0
    # one score for all: accepting all and rejecting all tie, the lower threshold wins
    assert tuple(map(float, call("eer", array([5, 5, 5, 5]), bonafide))) == (0.5, 5.0)


# HTER


@spec("metrics-hter", "hter")
@given(data=st.data(), sample=scored())
def test_hter_is_half_the_sum_of_the_rates(data, sample):
    threshold = data.draw(thresholds(sample[0]))
    close_rate(call("hter", *sample, threshold), sum(oracles.rates(*sample, threshold)) / 2)


@spec("metrics-hter", "hter")
@given(sample=scored(), seed=st.integers(0, 10**6), data=st.data())
def test_hter_is_the_same_on_any_increasing_scale(sample, seed, data):
    scores, bonafide = sample
    moved, to = order_preserving(scores, seed)
    threshold = float(data.draw(st.sampled_from(list(scores))))
    close_rate(call("hter", moved, bonafide, to[threshold]), call("hter", scores, bonafide, threshold))


@spec("metrics-hter", "hter")
@given(sample=scored())
def test_hter_at_the_infinities_is_one_half(sample):
    close_rate(call("hter", *sample, math.inf), 0.5)
    close_rate(call("hter", *sample, -math.inf), 0.5)


@spec("metrics-hter", "hter")
def test_hter_weighs_the_classes_equally_and_accepts_the_threshold_itself():
    close_rate(call("hter", *SPLIT, 0.4), 1 / 3)
    close_rate(call("hter", array([0, 0, 0, 1, 1]), flags([False, False, False, False, True]), 1.0), 1 / 8)


# AUC


@spec("metrics-auc", "auc")
@given(sample=scored())
@example(sample=SPLIT)
def test_auc_counts_the_pairs_and_half_the_ties(sample):
    close_rate(call("auc", *sample), oracles.auc(*sample))


@spec("metrics-auc", "auc")
@given(sample=scored(), seed=st.integers(0, 10**6))
def test_auc_is_the_same_on_any_increasing_scale(sample, seed):
    scores, bonafide = sample
    close_rate(call("auc", order_preserving(scores, seed)[0], bonafide), call("auc", scores, bonafide))


@spec("metrics-auc", "auc")
@given(sample=scored())
def test_auc_turns_round_with_the_labels_and_back_with_the_scores(sample):
    scores, bonafide = sample
    area = call("auc", scores, bonafide)
    close_rate(call("auc", scores, ~bonafide), 1 - float(area))
    close_rate(call("auc", -scores, ~bonafide), area)


@spec("metrics-auc", "auc")
def test_auc_of_separated_reversed_and_equal_scores():
    bonafide = flags([True, True, False, False, False])
    for scores, expected in (([4, 5, 1, 2, 3], 1.0), ([1, 2, 3, 4, 5], 0.0), ([7, 7, 7, 7, 7], 0.5)):
        close_rate(call("auc", array(scores), bonafide), expected)


# Threshold at a fixed BPCER


@spec("metrics-threshold_at_bpcer", "threshold_at_bpcer")
@given(sample=EXACT, sixteenths=st.integers(0, 16))
def test_threshold_at_bpcer_is_the_largest_that_rejects_no_more_bona_fide(sample, sixteenths):
    expected = oracles.threshold_at_bpcer(*sample, sixteenths / 16)
    assert float(call("threshold_at_bpcer", *sample, sixteenths / 16)) == expected


@spec("metrics-threshold_at_bpcer", "threshold_at_bpcer")
@given(sample=scored(), share=st.sampled_from([0.0, 0.01, 0.051, 0.27, 0.52, 0.93, 1.0]))
def test_threshold_at_bpcer_of_any_class_size(sample, share):
    assert float(call("threshold_at_bpcer", *sample, share)) == oracles.threshold_at_bpcer(*sample, share)


@spec("metrics-threshold_at_bpcer", "threshold_at_bpcer")
def test_threshold_at_bpcer_of_worked_examples():
    # three bona fide at 0.4, 0.4 and 0.9: up to 0.4 none is rejected, up to 0.9 two of three
    for bpcer, expected in ((0.0, 0.4), (0.5, 0.4), (0.7, 0.9), (1.0, math.inf)):
        assert float(call("threshold_at_bpcer", *SPLIT, bpcer)) == expected
    scores, bonafide = array([1, 2, 3, 4]), flags([True, False, True, False])
    for bpcer, expected in ((0.0, 1.0), (0.4, 1.0), (0.5, 3.0), (0.99, 3.0), (1.0, math.inf)):
        assert float(call("threshold_at_bpcer", scores, bonafide, bpcer)) == expected
    assert float(call("threshold_at_bpcer", array([5, 7, 1]), flags([True, False, False]), 0.0)) == 5.0
    assert float(call("threshold_at_bpcer", array([5, 9, 7, 1]), flags([True, True, False, False]), 0.5)) == 9.0


# APCER and ACER


@spec("metrics-apcer", "apcer")
@given(data=st.data(), sample=scored())
def test_apcer_is_the_accepted_share_of_every_family(data, sample):
    scores, _ = sample
    families = np.array(data.draw(st.lists(st.sampled_from(NAMES), min_size=len(scores), max_size=len(scores))))
    threshold = data.draw(thresholds(scores))
    got = call("apcer", scores, families, threshold)
    expected = oracles.apcer(scores, families, threshold)
    assert {str(family) for family in got} == set(expected)
    assert len(got) == len(expected)
    for family, rate in got.items():
        close_rate(rate, expected[str(family)])


@spec("metrics-apcer", "apcer")
def test_apcer_keeps_families_apart_and_accepts_the_threshold_itself():
    got = call("apcer", array([1, 2, 3, 1, 2, 2]), np.array(["a", "a", "a", "b", "c", "c"]), 2.0)
    assert {str(family): round(float(rate), 9) for family, rate in got.items()} == {"a": 0.666666667, "b": 0, "c": 1}


@spec("metrics-acer", "acer")
@given(data=st.data(), sample=scored())
def test_acer_is_the_mean_of_the_worst_family_and_the_bpcer(data, sample):
    scores, bonafide = sample
    families, threshold = data.draw(families_for(bonafide)), data.draw(thresholds(scores))
    got = call("acer", scores, bonafide, families, threshold)
    close_rate(got, oracles.acer(scores, bonafide, families, threshold))


@spec("metrics-acer", "acer")
def test_acer_takes_the_worst_family_and_ignores_the_families_of_bona_fide():
    scores = array([1, 2, 3, 4, 1, 1, 4, 4])
    bonafide = flags([False] * 4 + [True] * 4)
    families = np.array(["a", "a", "a", "b", "b", "", "c", "a"])
    # a: 1 of 3, b: 1 of 1; two of four bona fide rejected
    close_rate(call("acer", scores, bonafide, families, 3.0), (1 + 0.5) / 2)
    close_rate(call("acer", scores, bonafide, np.array(["a", "a", "a", "a", "b", "", "c", "a"]), 3.0), (0.5 + 0.5) / 2)


@spec("metrics-acer", "acer")
@given(data=st.data(), sample=scored())
def test_acer_of_one_family_is_the_hter(data, sample):
    scores, bonafide = sample
    threshold = data.draw(thresholds(scores))
    got = call("acer", scores, bonafide, np.array(["print"] * len(scores)), threshold)
    close_rate(got, sum(oracles.rates(scores, bonafide, threshold)) / 2)


# Unusable input

ARGUMENTS = {
    "far_frr": lambda s, b, f: (s, b, 0.5),
    "eer": lambda s, b, f: (s, b),
    "hter": lambda s, b, f: (s, b, 0.5),
    "auc": lambda s, b, f: (s, b),
    "threshold_at_bpcer": lambda s, b, f: (s, b, 0.1),
    "apcer": lambda s, b, f: (s, f, 0.5),
    "acer": lambda s, b, f: (s, b, f, 0.5),
}
GOOD = (array([0.1, 0.9, 0.4, 0.6]), flags([False, True, False, True]), np.array(["a", "", "b", ""]))


def refused(function, scores, bonafide, families):
    """The sentence of the ValueError."""
    with pytest.raises(ValueError) as raised:
        call(function, *ARGUMENTS[function](scores, bonafide, families))
    assert str(raised.value).strip()
    return str(raised.value)


def refuses(function):
    scores, bonafide, families = GOOD
    sentences = {}
    for bad in (math.nan, math.inf, -math.inf):
        for place in range(4):
            spoilt = scores.copy()
            spoilt[place] = bad
            sentences["not finite"] = refused(function, spoilt, bonafide, families)
    sentences["lengths"] = refused(function, scores[:3], bonafide, families)
    refused(function, scores, bonafide[:3], families[:3])
    if function == "acer":
        refused(function, scores, bonafide, families[:3])
    sentences["empty"] = refused(function, scores[:0], bonafide[:0], families[:0])
    if function != "apcer":
        sentences["no bona fide"] = refused(function, scores, flags([False] * 4), np.array(["a"] * 4))
        sentences["no attack"] = refused(function, scores, flags([True] * 4), families)
    assert len(set(sentences.values())) == len(sentences), f"the ValueError does not say which: {sentences}"
    call(function, *ARGUMENTS[function](*GOOD))


@spec("metrics-far_frr", "far_frr")
def test_far_frr_refuses_unusable_input_and_says_which():
    refuses("far_frr")


@spec("metrics-eer", "eer")
def test_eer_refuses_unusable_input_and_says_which():
    refuses("eer")


@spec("metrics-hter", "hter")
def test_hter_refuses_unusable_input_and_says_which():
    refuses("hter")


@spec("metrics-auc", "auc")
def test_auc_refuses_unusable_input_and_says_which():
    refuses("auc")


@spec("metrics-threshold_at_bpcer", "threshold_at_bpcer")
def test_threshold_at_bpcer_refuses_unusable_input_and_says_which():
    refuses("threshold_at_bpcer")


@spec("metrics-apcer", "apcer")
def test_apcer_refuses_unusable_input_and_says_which():
    refuses("apcer")


@spec("metrics-acer", "acer")
def test_acer_refuses_unusable_input_and_says_which():
    refuses("acer")
