"""The rule `released` reports what MMDA's released script measures: scikit-learn's reduced ROC of a float32 softmax."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from paper_tables.declarations import mmda
from paper_tables.declarations.table import Column, Place
from paper_tables.numbers import bootstrap, cells, released, selection
from reference import metrics
from spec_tests.support.fake_runs import LIVE, eight, write_run
from spec_tests.support.released_script import released_script

PERFECT = (5, 6, 7, 8, 1, 2, 3, 4)


def in_order(letters):
    """Scores that fall from letter to letter, of bona fide (l) and attacks (a); a bracket holds equal scores."""
    scores, bonafide, level, inside = [], [], 0, False
    for letter in letters:
        if letter in "[]":
            inside = letter == "["
            level -= inside
            continue
        level -= not inside
        scores.append(level)
        bonafide.append(letter == "l")
    return np.array(scores, float), np.array(bonafide)


@pytest.mark.parametrize(
    ("letters", "hter", "eer"),
    [
        # Straight up at FPR 1/2, where the point of equal errors lies: its ends are left, the strict one is taken.
        ("aallllaa", 0.75, 0.5),
        ("aa[llll]aa", 0.75, 0.25),  # two points as near as each other: the EER takes the one of fewer errors
        # The same run in steps of two sizes keeps the point between them.
        ("aal[ll]laa", 0.625, 0.375),
        # Nothing straight near the crossing: the script's number is the EER.
        ("llalalaa", 0.25, 0.25),
        ("ll[la][laaa]", 0.25, 0.25),  # the bona fide come in steps of one size, the attacks do not
        ("[la]", 0.5, 0.5),
        ("la", 0.0, 0.0),
        ("al", 1.0, 1.0),
    ],
)
def test_the_scripts_hter_and_the_exact_eer_part_where_the_curve_runs_straight(letters, hter, eer):
    scores, bonafide = in_order(letters)
    assert released_script(scores, bonafide)[0] == pytest.approx(hter)
    assert released.hter_auc(scores, bonafide)[0] == pytest.approx(hter)
    assert metrics.eer(scores, bonafide)[0] == pytest.approx(eer)


def test_a_resample_has_no_threshold_at_scores_that_it_lacks():
    scores, bonafide = in_order("aallallaa")
    without = bonafide.size // 2  # the attack in the middle of a run that is straight without it
    counts = np.delete(np.eye(bonafide.size, dtype=int), without, axis=0).sum(0, keepdims=True)
    thresholds = {"hter:released": "released"}
    found = bootstrap.resampled(scores, bonafide, counts, np.arange(bonafide.size), thresholds)["hter:released"]
    assert found == pytest.approx(0.75)


def test_the_rule_released_alone_has_other_names_for_what_it_measures():
    for rule in selection.RULES:
        for metric in cells.METRICS:
            other = {"hter:target": "hter:released", "auc": "auc:released"}.get(metric, metric)
            assert selection.measured(rule, metric) == (other if rule == "released" else metric)


@given(st.integers(0, 2**32 - 1))
def test_it_is_what_scikit_learn_gives_the_script(seed):
    rng = np.random.default_rng(seed)
    bonafide = np.append([True, False], rng.random(rng.integers(1, 400)) < rng.uniform(0.1, 0.9))
    scores = rng.normal(size=bonafide.size) + rng.uniform(0, 3) * bonafide
    if rng.random() < 0.5:
        scores = scores.round(int(rng.integers(0, 3)))  # ties
    hter, auc = released.hter_auc(scores, bonafide)
    wanted_hter, wanted_auc = released_script(scores, bonafide)
    assert hter == wanted_hter
    assert auc == pytest.approx(wanted_auc, abs=1e-12)


@given(st.integers(0, 2**32 - 1))
def test_the_softmax_is_torchs_down_to_its_ties(seed):
    rng = np.random.default_rng(seed)
    logits = torch.from_numpy(rng.normal(scale=rng.choice([1, 20, 100]), size=(300, 2))).float()
    found = released.softmax((logits[:, 1] - logits[:, 0]).numpy())
    wanted = torch.softmax(logits, dim=-1)[:, 1].numpy()
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, wanted, rtol=1e-6, atol=1e-45)
    np.testing.assert_array_equal(found == 1, wanted == 1)


def cells_of(run):
    return cells.cells({0: {"": run}}, [Column("W", "W", (Place("", ("W",)),))], True, mmda.RULES, mmda.KINDS)


def of(folder, method, test):
    write_run(folder, [0], {"val": eight(PERFECT), "W": eight(test)}, arguments={"method": method})
    return cells_of(cells.read_run(folder, ["W"]))


def test_mmdas_own_scores_are_judged_by_their_softmax_and_others_as_they_are(tmp_path):
    far = (30, 31, 32, 33, 26, 27, 28, 29)  # in order, but all of them 1 as float32 probabilities
    own, other = of(tmp_path / "own", "mmda", far), of(tmp_path / "other", "flip", far)
    for out in (own, other):
        assert out["oracle_pair", "W", "auc"].mean == 100
        assert out["oracle_pair", "W", "hter:target"].mean == 0
    for metric, softmax, plain in (("auc", 50, 100), ("hter:target", 50, 0)):
        for out, value in ((own, softmax), (other, plain)):
            cell = out["released", "W", metric]
            assert (cell.mean, cell.ci) == (value, (value, value))


def test_no_other_rule_reports_the_scripts_number(tmp_path):
    straight = (3, 4, 5, 6, 1, 2, 7, 8)
    assert released_script(straight, LIVE)[0] == 0.75
    out = of(tmp_path / "r", "flip", straight)
    found = {rule: out[rule, "W", "hter:target"].mean for rule in mmda.RULES}
    assert found == {"source_val": 50, "last": 50, "oracle_pair": 50, "released": 75}
    # At the threshold of the sources there is no number of the script's: 5, which two bona fide and two attacks reach.
    assert {out[rule, "W", "hter:source_val"].mean for rule in mmda.RULES} == {50}


def test_the_least_hter_and_the_greatest_auc_are_kept_apart_by_the_scripts_own_numbers(tmp_path):
    heads = {"cls": [(4, 5, 7, 8, 1, 2, 6, 3), (3, 4, 7, 8, 1, 2, 5, 6)]}
    heads |= {"align0": [(1, 2, 5, 8, 3, 4, 6, 7), (2, 5, 7, 8, 1, 3, 6, 4)]}
    assert [released_script(s, LIVE)[0] for s in heads["cls"] + heads["align0"]] == [0.375, 0.5, 0.5, 0.25]
    assert [metrics.eer(s, LIVE)[0] for s in heads["cls"] + heads["align0"]] == [0.25, 0.5, 0.5, 0.25]
    sets = {"val": eight(PERFECT, PERFECT), "W": eight(*heads["cls"])}
    write_run(tmp_path / "r", [0, 1], sets, heads={"val": {h: [PERFECT] * 2 for h in heads}, "W": heads})
    out = cells_of(cells.read_run(tmp_path / "r", ["W"]))
    hter, auc = out["released", "W", "hter:target"], out["released", "W", "auc"]
    assert (hter.mean, hter.heads, hter.epochs) == (25, ("align0",), (1,))  # by the exact EER the earlier of two
    assert (auc.mean, auc.heads, auc.epochs) == (87.5, ("cls",), (0,))
