"""Evaluation of score files: metrics, resamples and intervals, beside scikit-learn and brute force in float64."""

import math

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest
from sklearn.metrics import roc_auc_score

from paper_tables.evaluation import coverage, measures, resamples
from paper_tables.evaluation.estimates import Estimate, Interval, Worst, combined, exact_bound, interval, mean
from paper_tables.evaluation.measures import GIVEN, ORACLE, RATES, Missing, measured, percent, threshold_at_apcer
from paper_tables.evaluation.resamples import Resampled, draws, left_out, units_of
from paper_tables.evaluation.samples import Samples

NAMES = ("print", "replay", "mask")
NONE = Missing("none")


@st.composite
def sets(draw, most=40, unnamed=True):
    """Scores with ties, imbalance and either order of the classes; families, some unnamed; subjects."""
    live, attacks = draw(st.integers(1, most)), draw(st.integers(1, most))
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    bonafide = generator.permutation(np.arange(live + attacks) < live)
    score = generator.normal(size=bonafide.size) + draw(st.sampled_from([-2.0, 0.0, 1.0, 9.0])) * bonafide
    score = np.round(score, draw(st.integers(0, 3)))  # 0: many ties
    family = np.where(bonafide, -1, generator.integers(-1 if unnamed else 0, len(NAMES), bonafide.size))
    subject = generator.integers(draw(st.integers(1, 12)), size=bonafide.size)
    return Samples(score, bonafide, family.astype(np.int32), subject.astype(np.int32), None)


def rates(s, threshold):
    """Attacks accepted and bona fide rejected, one sample after another."""
    attacks = [x >= threshold for x, b in zip(s.score, s.bonafide, strict=True) if not b]
    live = [x < threshold for x, b in zip(s.score, s.bonafide, strict=True) if b]
    return sum(attacks) / len(attacks), sum(live) / len(live)


def candidates(s):
    return [*sorted(set(s.score.tolist())), math.inf]


def of_family(s, code, threshold):
    accepted = [x >= threshold for x, f in zip(s.score, s.family, strict=True) if f == code]
    return sum(accepted) / len(accepted)


@settings(deadline=None, max_examples=1000)
@given(sets())
@example(Samples(np.array([1.0, 1.0]), np.array([True, False]), np.full(2, -1), np.zeros(2, np.int32), None))
def test_auc_and_eer_are_scikit_learns_and_brute_forces(s):
    found = measured(s.score, s.bonafide, s.family, NAMES, {}, {})
    assert found["auc"] == pytest.approx(roc_auc_score(s.bonafide, s.score), abs=1e-12)
    every = [(abs(a - b), a + b) for a, b in (rates(s, t) for t in candidates(s))]
    least = min(gap for gap, _ in every)
    assert found["eer"] == pytest.approx(min(total for gap, total in every if gap < least + 1e-9) / 2, abs=1e-12)
    assert found["hter:oracle"] == pytest.approx(found["eer"], abs=1e-12)


@settings(deadline=None, max_examples=100)
@given(sets(), st.floats(-3, 10))
def test_the_rates_at_a_threshold_are_counted(s, threshold):
    found = measured(s.score, s.bonafide, s.family, NAMES, {GIVEN: threshold}, {})
    apcer, bpcer = rates(s, threshold)
    right = [(x >= threshold) == b for x, b in zip(s.score, s.bonafide, strict=True)]
    assert found["apcer:given"] == pytest.approx(apcer, abs=1e-12)
    assert found["bpcer:given"] == pytest.approx(bpcer, abs=1e-12)
    assert found["hter:given"] == pytest.approx((apcer + bpcer) / 2, abs=1e-12)
    assert found["accuracy:given"] == pytest.approx(sum(right) / len(right), abs=1e-12)
    sizes = {code: int(np.count_nonzero(s.family == code)) for code in range(len(NAMES))}
    enough = {code: of_family(s, code, threshold) for code, n in sizes.items() if n >= measures.LEAST}
    for code, n in sizes.items():
        name = f"apcer/{NAMES[code]}:given"
        if code in enough:
            assert found[name] == pytest.approx(enough[code], abs=1e-12)
        elif n:
            assert str(n) in found[name]
        else:
            assert name not in found
    if enough and not np.any((s.family == -1) & ~s.bonafide):
        assert found["apcer_max:given"] == pytest.approx(max(enough.values()), abs=1e-12)
        assert found["acer:given"] == pytest.approx((max(enough.values()) + bpcer) / 2, abs=1e-12)
    else:
        assert isinstance(found["apcer_max:given"], Missing)
        assert isinstance(found["acer:given"], Missing)


@settings(deadline=None, max_examples=100)
@given(sets(most=150, unnamed=False))
def test_bpcer_at_an_apcer_is_the_least_that_any_threshold_gives(s):
    found = measured(s.score, s.bonafide, s.family, NAMES, {}, {})
    codes = [code for code in range(len(NAMES)) if np.any(s.family == code)]
    for x in RATES:
        for name, worst in (
            (f"bpcer_at_{percent(x)}:oracle", lambda t: rates(s, t)[0]),
            (f"bpcer_at_{percent(x)}_worst:oracle", lambda t: max(of_family(s, code, t) for code in codes)),
        ):
            sizes = [np.count_nonzero(~s.bonafide)]
            if "worst" in name:
                sizes = [np.count_nonzero(s.family == code) for code in codes]
            if min(sizes) < round(1 / x):
                assert isinstance(found[name], Missing)
                assert str(min(sizes)) in found[name]
            else:
                least = min(rates(s, t)[1] for t in candidates(s) if worst(t) <= x)
                assert found[name] == pytest.approx(least, abs=1e-12)


@settings(deadline=None, max_examples=100)
@given(sets(most=150), st.sampled_from(RATES))
def test_the_threshold_at_an_apcer_is_the_least_that_keeps_to_it(s, x):
    found = threshold_at_apcer(s.score, s.bonafide, x)
    if np.count_nonzero(~s.bonafide) < round(1 / x):
        assert isinstance(found, Missing)
    else:
        assert found == min(t for t in candidates(s) if rates(s, t)[0] <= x)


def test_the_development_splits_threshold_is_applied_to_the_test_set():
    live = np.array([True] * 4 + [False] * 10)
    score = np.array([5.0, 6, 7, 8, *range(10)])
    found = measured(score, live, np.full(14, -1), (), {"development": 6.5}, {0.1: 8.5})
    assert found["bpcer:development"] == 0.5
    assert found["apcer:development"] == 0.3
    assert found["bpcer_at_10:development"] == 1.0
    assert found["apcer_at_10:development"] == 0.1
    assert found["bpcer_at_1:development"] == "no development split"


# --------------------------------------------------------------------------------------------------- resamples


def of(samples, thresholds=(("given", 0.5),)):
    units = units_of("subject", [samples])
    at = (samples.score, samples.bonafide, samples.family, NAMES, dict(thresholds), {0.1: 1.0})
    return units, Resampled(samples, units, *at[3:], measured(*at))


@settings(deadline=None, max_examples=60)
@given(sets(most=120), st.integers(0, 2**32 - 1))
def test_a_resample_is_the_set_with_each_subjects_samples_repeated(s, seed):
    units, resampled = of(s)
    counts = np.random.default_rng(seed).integers(0, 3, (2, units.keys.size))
    found = resampled.metrics(counts)
    for i, count in enumerate(counts):
        rows = np.repeat(np.arange(s.score.size), count[units.numbers(s)])
        part = s.only(rows)
        if part.bonafide.all() or not part.bonafide.any():
            continue
        expected = measured(part.score, part.bonafide, part.family, NAMES, {"given": 0.5}, {0.1: 1.0})
        for name, values in found.items():
            value = expected.get(name, NONE)
            if name.startswith(("apcer_max", "acer")) or isinstance(value, Missing):
                continue
            assert values[i] == pytest.approx(value, abs=1e-12), name
        for threshold in (GIVEN, ORACLE):
            if f"apcer_max:{threshold}" in found:
                at = 0.5 if threshold == GIVEN else None
                large = [code for code in range(len(NAMES)) if np.count_nonzero(s.family == code) >= measures.LEAST]
                there = [code for code in large if np.any(part.family == code)]
                if at is not None and there:
                    worst = max(of_family(part, code, at) for code in there)
                    assert found[f"apcer_max:{threshold}"][i] == pytest.approx(worst, abs=1e-12)
                    half = (worst + rates(part, at)[1]) / 2
                    assert found[f"acer:{threshold}"][i] == pytest.approx(half, abs=1e-12)


@settings(deadline=None, max_examples=30)
@given(sets())
def test_a_resample_has_as_many_subjects_of_each_kind_and_is_the_same_each_time(s):
    units = units_of("subject", [s])
    first, again = (np.concatenate([*draws(units, 7)]) for _ in range(2))
    assert (first == again).all()
    assert first.shape == (7, units.keys.size)
    kinds = {}
    for place, key in enumerate(units.keys.tolist()):
        classes = set(s.bonafide[s.subject == key].tolist())
        kinds.setdefault(frozenset(classes), []).append(place)
    for members in kinds.values():
        assert (first[:, members].sum(axis=1) == len(members)).all()


def test_draws_do_not_depend_on_the_size_of_blocks(monkeypatch):
    s = Samples(np.arange(12.0), np.arange(12) < 6, np.full(12, -1), np.arange(12, dtype=np.int32), None)
    units = units_of("subject", [s])
    whole = np.concatenate([*draws(units, 9)])
    monkeypatch.setattr(resamples, "_BLOCK", 24)
    assert (np.concatenate([*draws(units, 9)]) == whole).all()
    assert len({row.tobytes() for row in whole}) > 5


def test_each_subject_is_left_out_once():
    subject = np.arange(500, dtype=np.int32)
    s = Samples(np.arange(500.0), subject < 200, np.full(500, -1), subject, None)
    parts, of_stratum = left_out(units_of("subject", [s]))
    assert sorted(np.concatenate(parts).tolist()) == subject.tolist()
    assert np.bincount(of_stratum).tolist() == [100, 100]


# --------------------------------------------------------------------------------------------------- intervals


def many(value, resampled, **more):
    return Estimate(value, np.array(resampled), {"": np.zeros(1)}, units=10**9, **more)


def test_without_bias_and_skewness_the_interval_is_the_percentiles():
    values = np.linspace(0.3, 0.7, 4001)
    found = interval(many(0.5, values))
    assert (found.low, found.high) == pytest.approx((0.31, 0.69), abs=1e-4)
    few = interval(Estimate(0.5, values, {}, units=5))
    assert few.low < found.low
    assert few.high > found.high


def test_bias_and_acceleration_move_the_interval_as_efron_wrote():
    from scipy.stats import norm

    values = np.random.default_rng(0).gamma(4, size=50_001) / 20
    influence = np.array([0.3, -0.1, -0.1, -0.1])
    value = float(np.quantile(values, 0.4))
    found = interval(Estimate(value, values, {"a": influence}, units=10**9))
    z0, a = norm.ppf(0.4), (influence**3).sum() / (6 * (influence**2).sum() ** 1.5)
    levels = [norm.cdf(z0 + (z0 + z) / (1 - a * (z0 + z))) for z in (-1.959964, 1.959964)]
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(values, levels)), abs=1e-4)


@given(st.integers(1, 3000))
@settings(deadline=None)
def test_the_exact_bound_is_clopper_and_pearsons(n):
    assert exact_bound(n) == pytest.approx(binomtest(0, n).proportion_ci(0.95, "exact").high, rel=1e-9)


def test_where_no_error_was_seen_an_exact_bound_over_subjects_stands():
    subject = np.repeat(np.arange(60, dtype=np.int32), 5)
    s = Samples(np.where(subject < 20, 1.0, 0.0), subject < 20, np.where(subject < 20, -1, 0), subject, None)
    units, resampled = of(s)
    found = estimates_of(units, resampled)
    live, attacks = exact_bound(20), exact_bound(40)
    assert interval(found["bpcer:given"]) == Interval(0.0, live, True, True)
    assert interval(found["apcer:given"]) == Interval(0.0, attacks, True, True)
    assert interval(found["apcer/print:given"]) == Interval(0.0, attacks, True, True)
    assert interval(found["apcer_max:oracle"]).high == attacks
    assert interval(found["hter:given"]).high == pytest.approx((live + attacks) / 2)
    assert interval(found["acer:oracle"]).high == pytest.approx((live + attacks) / 2)
    assert interval(found["accuracy:given"]).low == pytest.approx(1 - (100 * live + 200 * attacks) / 300)
    assert interval(found["accuracy:given"]).high == 1
    assert interval(found["eer"]).high == live  # of the class with fewer subjects
    assert interval(found["auc"]) == Interval(1 - live, 1.0, True, True)
    same = combined([(1.0, found["hter:given"]), (-1.0, found["hter:given"])])
    assert interval(same, -1.0).low == pytest.approx(-(live + attacks) / 2)


def estimates_of(units, resampled, replicates=200):
    return resamples.estimates({"": resampled}, units, replicates, lambda n: None)[""]


def test_one_rate_without_an_error_widens_what_is_made_of_it():
    generator = np.random.default_rng(1)
    subject = np.repeat(np.arange(60, dtype=np.int32), 5)
    score = np.where(subject < 20, 9.0, generator.normal(size=300))
    s = Samples(score, subject < 20, np.full(300, -1), subject, None)
    found = estimates_of(*of(s))
    bare = interval(Estimate(**{**vars(found["hter:given"]), "above": 0.0}))
    wide = interval(found["hter:given"])
    assert wide.high == pytest.approx(bare.high + exact_bound(20) / 2)
    assert wide.low == bare.low
    assert wide.widened
    assert not wide.exact


def test_too_few_subjects_have_no_interval_and_a_reason():
    subject = np.array([0] * 10 + [1] * 20, np.int32)
    generator = np.random.default_rng(2)
    s = Samples(generator.normal(size=30), subject == 0, np.where(subject == 1, 0, -1), subject, None)
    found = estimates_of(*of(s))
    assert interval(found["bpcer:given"]) == "one subject alone"
    assert interval(found["auc"]) == "one subject alone"
    assert isinstance(interval(found["apcer/print:given"]), Missing)
    assert interval(many(0.5, [0.5] * 9)) == "all resamples give the same number"
    assert "too few subjects" in interval(many(0.5, [np.nan] * 9 + [0.4, 0.5] * 9))
    assert interval(Estimate(0.5)) == "no resamples were asked for"
    assert interval(many(0.0, [0.0] * 9), -1.0).high == pytest.approx(exact_bound(10**9))


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(st.floats(-2, 2), st.integers(0, 10**6)), min_size=1, max_size=5))
def test_sums_of_estimates_add_all_that_an_interval_takes(drawn):
    terms = []
    for weight, seed in drawn:
        g = np.random.default_rng(seed)
        influence = {"a": g.normal(size=3)} if seed % 2 else {"b": g.normal(size=2)}
        terms.append((weight, Estimate(g.random(), g.random(6), influence, g.random(), g.random(), seed + 2)))
    whole = combined(terms)
    assert whole.value == pytest.approx(sum(w * t.value for w, t in terms))
    assert whole.resampled == pytest.approx(sum(w * t.resampled for w, t in terms))
    for name in ("a", "b"):
        parts = [w * t.influence[name] for w, t in terms if name in t.influence]
        assert name not in whole.influence if not parts else whole.influence[name] == pytest.approx(sum(parts))
    assert whole.below == pytest.approx(sum(w * t.below if w > 0 else -w * t.above for w, t in terms))
    assert whole.above == pytest.approx(sum(w * t.above if w > 0 else -w * t.below for w, t in terms))
    assert whole.units == min(t.units for _, t in terms)


def worst(*centres, seed=0):
    families = [many(c, c + np.random.default_rng([seed, i]).normal(size=4000) / 50) for i, c in enumerate(centres)]
    return Worst(max(centres), tuple(families))


def test_the_interval_of_the_worst_family_is_made_of_the_families():
    equal, clear = worst(0.3, 0.3, 0.3), worst(0.3, 0.1, 0.1)
    alone = interval(clear.plus[0])
    found = interval(clear)
    assert found.high == pytest.approx(alone.high, abs=1e-3)
    assert alone.low - 0.02 < found.low < alone.low  # the error is shared among three
    resampled = np.max([one.resampled for one in equal.plus], axis=0)
    assert interval(equal).low < np.quantile(resampled, 0.025) - 0.01  # the maximum's own percentiles lie too high
    assert interval(equal).high == pytest.approx(max(interval(one).high for one in equal.plus))


def test_differences_and_means_of_worst_families_try_every_pair_of_families():
    first, second = worst(0.4, 0.35), worst(0.2, 0.19, seed=1)
    difference = combined([(1.0, first), (-1.0, second)])
    assert difference.value == pytest.approx(0.2)
    assert (len(difference.plus), len(difference.minus)) == (2, 2)
    found, back = interval(difference, -1.0), interval(combined([(1.0, second), (-1.0, first)]), -1.0)
    assert found.low < 0.2 < found.high
    assert (back.low, back.high) == pytest.approx((-found.high, -found.low), abs=2e-3)
    whole = mean([first, second, many(0.3, [0.3, 0.4] * 2000)], [1, 1, 2])
    assert whole.value == pytest.approx((0.4 + 0.2 + 0.6) / 4)
    assert sorted(one.value for one in whole.plus) == pytest.approx([0.285, 0.2875, 0.2975, 0.3])
    assert isinstance(interval(combined([(1.0, worst(*[0.3] * 30)), (-1.0, worst(*[0.3] * 30))])), Missing)


def test_a_family_that_no_resample_calls_the_worst_is_left_out():
    subject = np.arange(120, dtype=np.int32)
    family = np.where(subject < 40, -1, subject % 2)
    score = np.where(family == 1, np.where(subject % 8 == 1, 1.0, 0.0), np.where(family == 0, -1.0, 1.0))
    units, resampled = of(Samples(score, subject < 40, family, subject, None))
    found = estimates_of(units, resampled)["apcer_max:given"]
    assert found.value == 0.25
    assert [one.value for one in found.plus] == [0.25]
    assert interval(found) == interval(estimates_of(units, resampled)["apcer/replay:given"])


def test_a_mean_weighs():
    first, second = Estimate(0.2, np.array([0.2, 0.4])), Estimate(0.5, np.array([0.5, 0.1]))
    assert mean([first, second]).value == pytest.approx(0.35)
    assert mean([first, second], [1, 3]).resampled == pytest.approx([0.425, 0.175])


def test_the_simulation_has_the_rates_that_it_is_said_to_have():
    for rate in (0.05, 0.3):
        s = coverage.drawn(20_000, rate, np.random.default_rng(3), coverage.FAMILIES)
        found = measured(s.score, s.bonafide, s.family, coverage.FAMILIES, {GIVEN: 0.0}, {})
        for name, value in coverage.truth(rate).items():
            assert found[name] == pytest.approx(value, abs=0.01), name
        second = coverage.other(s, rate, np.random.default_rng(4))
        found = measured(second.score, s.bonafide, s.family, coverage.FAMILIES, {GIVEN: 0.0}, {})
        assert found["hter:given"] == pytest.approx(rate / 2, abs=0.01)
        noise = [x.score[s.bonafide] - np.mean(x.score[s.bonafide]) for x in (s, second)]
        assert np.corrcoef(*noise)[0, 1] == pytest.approx(0.6, abs=0.02)


def test_most_intervals_of_a_simulation_hold_the_truth():
    for kind, names in coverage.METRICS.items():
        every = [coverage.held(60, 0.15, seed, kind, 200) for seed in range(20)]
        for name in names:
            assert sum(below or above for below, above in (one[name] for one in every)) <= 4, (kind, name)
