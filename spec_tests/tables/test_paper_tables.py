"""The tables: published numbers, selection rules, cells, intervals, the runner and every rendered form."""

import json
import os
import re
import signal
import subprocess
import sys
import time
import tracemalloc
from dataclasses import fields, replace
from decimal import Decimal
from html import unescape
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from rich.console import Console

from data_manifests.errors import BadInput
from data_manifests.index import Row, save_index
from data_manifests.json_files import SEAL
from data_manifests.phantom.build import MARKER
from paper_tables.__main__ import main
from paper_tables.declarations import mmfas, profile
from paper_tables.declarations.profile import load as load_profile
from paper_tables.declarations.published import load
from paper_tables.declarations.table import Column, Place
from paper_tables.numbers import bootstrap, cells, selection
from paper_tables.numbers.results import gather
from paper_tables.planning import plan, runner
from paper_tables.planning.data import locate
from paper_tables.planning.places import Cores
from paper_tables.planning.request import choose, request
from paper_tables.rendering import figures, render
from paper_tables.rendering.files import write
from paper_tables.rendering.page import page
from paper_tables.rendering.wording import HONEST, caption, view_of
from reference import metrics
from reference.rivals import rows as comparison_rows
from reference.sources import ROOT
from spec_tests.support.fake_runs import FAMILY, LIVE, SUBJECT, eight, finish, write_run
from spec_tests.support.markup import Checker, balanced
from spec_tests.support.released_script import released_script

TABLE = mmfas.TABLE_1
TARGETS = list(TABLE.sets)

# ----------------------------------------------------------------------------------------- published numbers


def test_published_weighted_columns_follow_from_one_weight_vector():
    weights = dict(zip(TARGETS, map(Decimal, ("0.22318", "0.38009", "0.38740", "0.00933")), strict=True))
    published = load(TABLE.published)
    assert len(published.rows) == 11
    for name, row in published.rows.items():
        for metric in published.metrics:
            weighted = sum(weights[s] * row.values[s][metric] for s in TARGETS)
            # Each number is rounded to 0.01, so the weights' sum and the printed mean are off by 0.005 each.
            assert abs(weighted - row.values["weighted"][metric]) <= Decimal("0.010"), (name, metric)


def test_published_columns_and_rows_add_up_to_the_sums_taken_from_the_paper():
    # HQ-WMCA weighs under 1 % and hides a wrong digit from the test above; sums do not.
    published = load(TABLE.published)
    columns = [
        sum(row.values[s][m] for row in published.rows.values()) for s in published.sets for m in published.metrics
    ]
    assert [str(c) for c in columns] == [
        *("2.6769", "1099.86", "1093.95", "341.96", "809.19", "522.97", "530.56", "560.29", "711.93"),
        *("517.59", "603.47", "485.71", "340.91", "775.69", "723.23"),
    ]
    rows = {name: str(sum(sum(v.values()) for v in row.values.values())) for name, row in published.rows.items()}
    assert rows == {
        "deeppixbis": "741.7901",
        "a_deeppixbis": "758.2683",
        "resnet50": "885.8944",
        "mlp_mixer_s16": "890.782",
        "conv_mlp": "799.8320",
        "pipenet": "810.4296",
        "feathernet": "804.3611",
        "flexmodal": "775.5211",
        "facebagnet": "861.3354",
        "vit_s16": "868.4546",
        "mmfas": "923.3183",
    }
    assert str(published.rows["mmfas"].values["S"]["hter"]) == "9.24"
    assert str(published.rows["conv_mlp"].values["C"]["hter"]) == "0.0120"  # digits as printed


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('S = ["49.66", "54.47", "30.15"]', 'S = ["49.66", "54.47"]', "row deeppixbis, S must list 3 numbers"),
        ('"49.66"', '"149.66"', "row deeppixbis, S holds '149.66'"),
        ('"49.66"', '"4x.66"', "row deeppixbis, S holds '4x.66'"),
        ('"49.66"', '"NaN"', "row deeppixbis, S holds 'NaN'"),
        ('"49.66"', "49.66", "row deeppixbis, S holds 49.66"),
        ('S = ["49.66", "54.47", "30.15"]\n', "", "row deeppixbis and the file's sets differ in S"),
        ("[sets]", "[set", "not valid TOML"),
        ("[sets]", "[others]", "no sets"),
    ],
)
def test_a_malformed_published_table_is_refused(tmp_path, old, new, says):
    text = TABLE.published.read_text()
    assert old in text
    path = tmp_path / "t.toml"
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(BadInput, match=re.escape(says)):
        load(path)


def test_every_published_row_is_shown_once():
    printed = [row.published for row in TABLE.rows if row.published]
    assert sorted(printed) == sorted(load(TABLE.published).rows)


# ------------------------------------------------------------------------------------------- selection rules


def _record(epoch, val_eer, val_auc, **target):
    return selection.Record(epoch, val_eer, val_auc, {"S": target})


def test_source_val_takes_least_val_eer_then_highest_val_auc_then_the_earliest():
    records = [_record(0, 5, 99), _record(1, 3, 90), _record(2, 3, 95), _record(3, 3, 95), _record(4, 4, 100)]
    for order in (records, records[::-1]):
        assert selection.source_val(order, "S", "auc").epoch == 2


def test_source_val_and_last_never_look_at_the_test_set():
    records = [_record(0, 1, 50), _record(7, 2, 60)]  # no metric of the target at all
    assert selection.source_val(records, "S", "auc").epoch == 0
    assert selection.last(records, "S", "auc").epoch == 7
    assert selection.last(records[::-1], "S", "auc").epoch == 7


def test_oracle_takes_the_best_of_each_metric_and_the_earliest_among_equals():
    p = "source_dev@EER"
    records = [
        _record(0, 9, 9, auc=80.0, **{"hter:target": 7.0, f"balanced_accuracy:{p}": 60, f"bpcer:{p}": 0}),
        _record(1, 9, 9, auc=90.0, **{"hter:target": 8.0, f"balanced_accuracy:{p}": 70, f"bpcer:{p}": 9}),
        _record(2, 9, 9, auc=90.0, **{"hter:target": 7.0, f"balanced_accuracy:{p}": 65, f"bpcer:{p}": 5}),
    ]
    for order in (records, records[::-1]):
        assert selection.oracle(order, "S", "auc").epoch == 1  # highest
        assert selection.oracle(order, "S", "hter:target").epoch == 0  # least
        assert selection.oracle(order, "S", f"bpcer:{p}").epoch == 1  # by the balance, not by itself


# ------------------------------------------------------------------------------- run folders made for the tests


def hand_made(folder, **changes):
    """Two epochs (4 and 9), one test set S. Epoch 4: val separates perfectly, at threshold 5."""
    val = eight((5, 6, 7, 8, 1, 2, 3, 4), (5, 6, 7, 2, 1, 2, 3, 8))
    test = eight((9, 9, 4, 2, 5, 1, 0, 3), (9, 8, 7, 6, 1, 2, 3, 4))
    write_run(folder, [4, 9], {"val": val, "S": test}, **changes)
    return cells.read_run(folder, ["S"])


def cells_of(runs, ci=False):
    """The cells of seeds of one run each: a column a test set, and their mean by images."""
    columns = [Column(s, s, (Place("", (s,)),)) for s in runs[0].targets]
    places = tuple(place for column in columns for place in column.places)
    columns.append(Column("weighted", "Weighted", places, weighted=True))
    return cells.cells({seed: {"": run} for seed, run in enumerate(runs)}, columns, ci)


def test_cells_of_a_hand_made_run(tmp_path):
    run = hand_made(tmp_path / "r", parameters=6)
    assert run.parameters == 6
    out = cells_of([run], ci=False)
    # Epoch 4, threshold 5 from val: bona fide 4 and 2 are rejected (FRR 1/2), the print of 5 accepted (FAR 1/4).
    expected = {
        "hter:source_val": 37.5,
        # EER: at 5 (FRR 1/2, FAR 1/4) and at 4 (1/4, 1/4): 25 %.
        "hter:target": 25.0,
        # pairs won: 9, 9 beat all four, 4 beats 1, 0, 3, and 2 beats 1, 0.
        "auc": 100 * (4 + 4 + 3 + 2) / 16,
        "accuracy:source_dev@EER": 62.5,
        "accuracy:source_dev@BPCER1%": 62.5,  # val's strictest threshold without a rejection is 5 as well
        # The set's own: no bona fide may go, so threshold 2; attacks 5 and 3 are accepted.
        "accuracy:target@BPCER1%": 75.0,
        "balanced_accuracy:source_dev@EER": 62.5,
        "apcer_max:source_dev@EER": 50.0,  # print: one of two; replay: none
        "bpcer:source_dev@EER": 50.0,
        "apcer_max:target@BPCER1%": 50.0,
        "bpcer:target@BPCER1%": 0.0,
    }
    for metric, value in expected.items():
        cell = out["source_val", "S", metric]
        assert (cell.mean, cell.sd, cell.epochs) == (pytest.approx(value), None, (4,)), metric
        assert out["source_val", "weighted", metric].mean == pytest.approx(value)
    # The last epoch separates the test set perfectly, and so the oracle takes it wherever it is better.
    assert out["last", "S", "auc"].mean == 100
    assert out["last", "S", "auc"].epochs == (9,)
    assert out["oracle", "S", "hter:target"].mean == 0
    assert out["oracle", "S", "hter:target"].epochs == (9,)
    # Epoch 9's threshold from val is 5, where the test set has no error; EER there is 25 % of val.
    assert out["oracle", "S", "accuracy:source_dev@EER"].mean == 100


def test_a_predictor_with_its_own_threshold_is_judged_at_it_under_every_policy(tmp_path):
    # Scores of -1 throughout: all attacks. No EER threshold could say that; the fixed one does.
    constant = [[-1.0] * 8], LIVE, FAMILY, SUBJECT
    skewed = [[-1.0] * 5], [1, 0, 0, 0, 0], ["", *["print"] * 4], ["a"] * 5
    write_run(tmp_path / "r", [0], {"val": constant, "S": skewed}, arguments={"fixed_threshold": 0.0})
    out = cells_of([cells.read_run(tmp_path / "r", ["S"])], ci=True)
    for policy in cells.POLICIES:
        assert out["source_val", "S", f"accuracy:{policy}"].mean == pytest.approx(80)
        assert out["source_val", "S", f"apcer_max:{policy}"].mean == 0
        assert out["source_val", "S", f"bpcer:{policy}"].mean == 100
    for threshold in cells.HTER_THRESHOLDS:
        assert out["source_val", "S", f"hter:{threshold}"].mean == 50
        assert out["source_val", "S", f"hter:{threshold}"].ci == (50, 50)


def test_weighted_is_by_tested_images_and_oracle_weighs_the_oracles(tmp_path):
    val = eight((5, 6, 7, 8, 1, 2, 3, 4), (5, 6, 7, 8, 1, 2, 3, 4))
    big = eight((5, 6, 7, 8, 1, 2, 3, 4), (1, 1, 1, 1, 9, 9, 9, 9))
    small = [[1, 9], [9, 1]], [1, 0], ["", "print"], ["a", "b"]
    write_run(tmp_path / "r", [0, 1], {"val": val, "S": big, "W": small})
    out = cells_of([cells.read_run(tmp_path / "r", ["S", "W"])], ci=False)
    assert out["source_val", "weighted", "auc"].mean == pytest.approx(80)  # (8 * 100 + 2 * 0) / 10
    assert out["last", "weighted", "auc"].mean == pytest.approx(20)
    assert out["oracle", "weighted", "auc"].mean == pytest.approx(100)  # epoch 0 on S, epoch 1 on W
    assert out["oracle", "weighted", "auc"].epochs is None


def test_mean_and_spread_over_seeds(tmp_path):
    assert cells.mean_sd([10.0, 20.0, 30.0]) == (20.0, 10.0)  # divisor n - 1
    assert cells.mean_sd([3.0]) == (3.0, None)
    val = eight((5, 6, 7, 8, 1, 2, 3, 4))
    runs = []
    for i, live in enumerate((9, 0)):  # AUC 100 and 0
        write_run(tmp_path / str(i), [0], {"val": val, "S": eight((live,) * 4 + (5,) * 4)})
        runs.append(cells.read_run(tmp_path / str(i), ["S"]))
    cell = cells_of(runs, ci=False)["last", "S", "auc"]
    assert (cell.mean, cell.values) == (50, (100, 0))
    assert cell.sd == pytest.approx(100 / np.sqrt(2))


@given(st.integers(0, 2**32 - 1))
@example(0)
def test_every_metric_agrees_with_the_definition_counted_by_hand(tmp_path_factory, seed):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(4, 30))

    def some():
        live = np.append([True, False], rng.random(n) < 0.5)
        family = np.where(live, "", rng.choice(["print", "replay"], live.size))
        return rng.integers(0, 6, (1, live.size)), live, family, rng.integers(0, 5, live.size).astype(str)

    val, test = some(), some()
    folder = tmp_path_factory.mktemp("run")
    write_run(folder / "r", [0], {"val": val, "S": test})
    found = cells.evaluate(cells.read_run(folder / "r", ["S"]), [("S",)])[0].targets["S"]

    def rates(data, t):
        s, live = data[0][0], np.asarray(data[1])
        return np.mean(s[~live] >= t), np.mean(s[live] < t)

    def own(data, policy):
        grid = [*sorted(set(data[0][0].tolist())), np.inf]
        if policy == "bpcer":
            return max(t for t in grid if rates(data, t)[1] <= 0.01)
        return min(grid, key=lambda t: (round(abs(np.subtract(*rates(data, t))), 9), round(sum(rates(data, t)), 9), t))

    s, live, family = test[0][0], np.asarray(test[1]), np.asarray(test[2])
    for metric, t in {
        "source_dev@EER": own(val, "eer"),
        "source_dev@BPCER1%": own(val, "bpcer"),
        "target@BPCER1%": own(test, "bpcer"),
    }.items():
        far, frr = rates(test, t)
        worst = max(np.mean(s[family == f] >= t) for f in set(family[~live]))
        assert found[f"accuracy:{metric}"] == pytest.approx(100 * np.mean((s >= t) == live))
        assert found[f"balanced_accuracy:{metric}"] == pytest.approx(100 * (1 - (far + frr) / 2))
        assert found[f"apcer_max:{metric}"] == pytest.approx(100 * worst)
        assert found[f"bpcer:{metric}"] == pytest.approx(100 * frr)
    assert found["hter:source_val"] == pytest.approx(50 * sum(rates(test, own(val, "eer"))))
    assert found["hter:target"] == pytest.approx(50 * sum(rates(test, own(test, "eer"))))
    wins = np.sign(s[live][:, None] - s[~live][None, :])
    assert found["auc"] == pytest.approx(50 * (1 + wins.mean()))


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda f: (f / "done").unlink(), "not finished"),
        (lambda f: (f / "args.json").write_text("{"), "args.json: not valid JSON"),
        (lambda f: (f / "args.json").write_text("[]"), "args.json: not a JSON object"),
        (lambda f: (f / "args.json").write_text("{}"), "args.json: no 'arguments'"),
        (lambda f: (f / "scores" / "S.npz").unlink(), "S.npz: missing or damaged"),
        (lambda f: (f / "scores" / "S.npz").write_bytes(b"PK\x03\x04 no"), "S.npz: missing or damaged"),
        (lambda f: (f / "done").write_text("now"), "done: not valid JSON"),
        (lambda f: (f / "done").write_text("{}"), "done: no 'parameters'"),
    ],
)
def test_a_damaged_run_is_refused_by_name(tmp_path, spoil, says):
    hand_made(tmp_path / "r")
    spoil(tmp_path / "r")
    with pytest.raises(BadInput, match=re.escape(says)):
        cells.read_run(tmp_path / "r", ["S"])


def test_scores_that_are_not_numbers_or_of_other_epochs_are_refused(tmp_path):
    good = eight((5, 6, 7, 8, 1, 2, 3, 4))
    write_run(tmp_path / "nan", [0], {"val": good, "S": eight((5, 6, np.nan, 8, 1, 2, 3, 4))})
    with pytest.raises(BadInput, match="not a number"):
        cells.read_run(tmp_path / "nan", ["S"])
    write_run(tmp_path / "odd", [0], {"val": good, "S": good})
    path = tmp_path / "odd" / "scores" / "S.npz"
    with np.load(path) as f:
        arrays = dict(f)
    np.savez(path, **arrays | {"epochs": np.array([3])})
    with pytest.raises(BadInput, match="other epochs than its neighbours"):
        cells.read_run(tmp_path / "odd", ["S"])
    np.savez(path, **arrays | {"scores": arrays["scores"][:, :-1]})
    with pytest.raises(BadInput, match="do not fit"):
        cells.read_run(tmp_path / "odd", ["S"])


def lean_run(folder, val, epochs=(1, 3, 4), tested=(3, 4)):
    """As a run without --score-tests every leaves it: three epochs validated, two tested."""
    test = [eight((1, 1, 1, 9, 5, 0, 0, 0))[0][0], eight((9, 9, 9, 9, 5, 0, 0, 0))[0][0]]
    write_run(folder, [*epochs], {"val": val})
    write_run(folder / "of tests", [*tested], {"S": (test, *eight()[1:])})
    (folder / "of tests" / "scores" / "S.npz").rename(folder / "scores" / "S.npz")
    finish(folder)
    return cells.read_run(folder, ["S"])


GOOD, BAD = (5, 6, 7, 8, 1, 2, 3, 4), (5, 6, 7, 1, 2, 2, 3, 8)
BETTER = (5, 6, 7, 1, 2, 2, 0, 8)  # of the same EER as BAD


def test_a_run_that_scored_its_tests_by_two_epochs_fills_all_but_what_a_test_set_chooses(tmp_path):
    run = lean_run(tmp_path / "r", eight(BAD, GOOD, BAD))
    assert not run.every_epoch
    out = cells.cells({0: {"": run}}, [Column("S", "S", (Place("", ("S",)),))], True, tuple(selection.RULES))
    assert {rule for rule, *_ in out} == {"source_val", "last"}
    assert [out[rule, "S", "auc"].mean for rule in ("source_val", "last")] == [100 * 13 / 16, 100.0]
    assert [out[rule, "S", "auc"].epochs for rule in ("source_val", "last")] == [(3,), (4,)]


def test_a_run_without_the_test_scores_that_a_table_needs_is_refused(tmp_path):
    for name, epochs, says in (("chosen", (1, 4), "lacks the epoch that"), ("last", (1, 3), "lacks the epoch that")):
        with pytest.raises(BadInput, match=says):
            lean_run(tmp_path / name, eight(BAD, GOOD, BAD), tested=epochs)
    with pytest.raises(BadInput, match="other epochs than its neighbours"):
        lean_run(tmp_path / "unknown", eight(BAD, GOOD, BAD), tested=(2, 4))


@pytest.mark.parametrize(
    ("scores", "tied"),
    [((GOOD, BAD, GOOD), (2, 2)), ((BAD, GOOD, BAD), (1, 1)), ((GOOD, GOOD, GOOD), (3, 3)),
     ((BAD, BETTER, BAD), (3, 1)), ((BETTER, BAD, BETTER), (3, 2))],
)  # fmt: skip
def test_ties_of_validation_at_its_best_epoch_are_counted(tmp_path, scores, tied):
    write_run(tmp_path / "r", [0, 1, 2], {"val": eight(*scores), "S": eight(*scores)})
    assert cells.read_run(tmp_path / "r", ["S"]).tied == tied


def test_seeds_tested_on_different_samples_are_not_averaged(tmp_path):
    runs = [hand_made(tmp_path / str(i)) for i in range(2)]
    runs[1].sets["S"].sample_id[3] = "S/other"
    with pytest.raises(BadInput, match="other S samples"):
        cells_of(runs, ci=False)


# ------------------------------------------------------------------------------------------------- intervals


def _scored(rng, subjects, frames, spread):
    """Frames of a subject share a level: (scores, bonafide, subject); each subject both attacks and is genuine."""
    level = rng.normal(0, spread, subjects)
    subject = np.repeat(np.arange(subjects), 2 * frames)
    live = np.tile(np.repeat([True, False], frames), subjects)
    scores = level[subject] + np.where(live, 1.0, -1.0) + rng.normal(0, 0.1, live.size)
    return scores, live, subject.astype(str)


THRESHOLDS = {"hter:fixed": 0.0, "accuracy:fixed": 0.0, "hter:target": "eer", "accuracy:target": "bpcer1"}
THRESHOLDS |= {"hter:released": "released"}


@given(st.integers(0, 2**32 - 1))
@example(3)
def test_a_resample_equals_the_metric_of_the_set_with_samples_repeated(seed):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(6, 40))
    scores = rng.integers(0, 8, n).astype(float)  # many ties
    live = np.append([True, False], rng.random(n - 2) < 0.5)
    subject = rng.integers(0, 6, n).astype(str)
    counts, number = bootstrap.draw(subject, live, "S", resamples=20)
    thresholds = {k: 4.0 if v == 0.0 else v for k, v in THRESHOLDS.items()}
    out = bootstrap.resampled(scores, live, counts, number, thresholds)
    for r in range(20):
        times = counts[r, number]
        s, b = np.repeat(scores, times), np.repeat(live, times)
        assert out["auc"][r] == pytest.approx(metrics.auc(s, b))
        assert out["hter:fixed"][r] == pytest.approx(metrics.hter(s, b, 4.0))
        assert out["accuracy:fixed"][r] == pytest.approx(np.mean((s >= 4.0) == b))
        assert out["hter:target"][r] == pytest.approx(metrics.eer(s, b)[0])
        assert out["hter:released"][r] == pytest.approx(released_script(s, b)[0])
        t = metrics.threshold_at_bpcer(s, b, 0.01)
        assert out["accuracy:target"][r] == pytest.approx(np.mean((s >= t) == b))


def test_resamples_draw_whole_subjects_within_their_strata_and_repeat_exactly():
    live = np.array([1, 1, 1, 0, 0, 0, 1, 0, 1, 0], bool)
    subject = np.array(["l1", "l1", "l2", "a1", "a2", "a3", "b1", "b1", "b2", "b2"])
    counts, number = bootstrap.draw(subject, live, "S")
    assert counts.shape == (bootstrap.RESAMPLES, 7)
    names = np.unique(subject)
    assert (names[number] == subject).all()
    for stratum, size in ((("l1", "l2"), 2), (("a1", "a2", "a3"), 3), (("b1", "b2"), 2)):
        drawn = counts[:, np.isin(names, stratum)].sum(1)
        assert (drawn == size).all()
    assert counts.std(0).min() > 0.4  # they do vary
    again, _ = bootstrap.draw(subject, live, "S")
    other, _ = bootstrap.draw(subject, live, "W")
    assert (again == counts).all()
    assert (other != counts).any()


def whole_arrays(scores, bonafide, counts, number, thresholds):
    """The metrics of all resamples at once, from arrays (resamples, G + 1) over every distinct score."""
    order = np.argsort(scores, kind="stable")
    ordered, weight, live = scores[order], counts[:, number[order]], bonafide[order]
    first = np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1]))
    live, attack = (np.add.reduceat(weight * of_class, first, axis=1) for of_class in (live, ~live))
    none = np.zeros((len(counts), 1), np.int64)
    rejected, below = (np.concatenate([none, own.cumsum(1)], axis=1) for own in (live, attack))
    n_live, n_attack = rejected[:, -1:], below[:, -1:]
    accepted = n_attack - below
    wins = (live * (2 * below[:, :-1] + attack)).sum(1, keepdims=True)
    out = {"auc": (wins / (2 * n_live * n_attack))[:, 0]}
    for metric, threshold in thresholds.items():
        if threshold == "eer":
            difference = np.abs(accepted * n_live - rejected * n_attack)
            errors = accepted * n_live + rejected * n_attack
            nearest = difference == difference.min(1, keepdims=True)
            column = np.where(nearest, errors, np.iinfo(np.int64).max).argmin(1)
        elif threshold == "bpcer1":
            column = (rejected / n_live <= 0.01).sum(1) - 1
        else:
            column = np.full(len(counts), np.searchsorted(ordered[first], threshold))
        a, b = (np.take_along_axis(x, column[:, None], 1) for x in (accepted, rejected))
        hter = metric.startswith("hter:")
        out[metric] = ((a / n_attack + b / n_live) / 2 if hter else 1 - (a + b) / (n_live + n_attack))[:, 0]
    return out


@given(st.integers(0, 2**32 - 1), st.sampled_from([3, 10**6]), st.floats(-2, 4))
@example(0, 3, 1.0)
def test_each_resample_equals_whole_arrays_of_all_to_the_bit(seed, values, fixed):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(6, 300))
    scores = np.round(rng.normal(1, 1, n) * values) / values
    live = np.append([True, False], rng.random(n - 2) < rng.random())
    counts, number = bootstrap.draw(rng.integers(0, 9, n).astype(str), live, "S", resamples=20)
    thresholds = {k: fixed if v == 0.0 else v for k, v in THRESHOLDS.items() if v != "released"}
    found = bootstrap.resampled(scores, live, counts, number, thresholds)
    wanted = whole_arrays(scores, live, counts, number, thresholds)
    assert found.keys() == wanted.keys()
    for name in wanted:
        np.testing.assert_array_equal(found[name], wanted[name])


def test_one_bona_fide_frame_in_a_hundred_may_be_rejected():
    scores, live = np.arange(200.0), np.arange(200) < 100
    counts, number = bootstrap.draw(np.full(200, "both"), live, "S", resamples=2)
    found = bootstrap.resampled(scores, live, counts, number, {"accuracy:target": "bpcer1"})
    assert found["accuracy:target"].tolist() == [1 - 101 / 200] * 2  # 1 of the 100, and all attacks


def test_resamples_of_many_samples_take_little_memory():
    """The arrays of each resample alone: 60 bytes a sample, where arrays of all resamples took 100 times as much."""
    rng = np.random.default_rng(0)
    live = rng.random(20_000) < 0.3
    counts, number = bootstrap.draw(rng.integers(0, 99, live.size).astype(str), live, "S", resamples=5)
    tracemalloc.start()
    try:
        bootstrap.resampled(rng.normal(size=live.size), live, counts, number, THRESHOLDS)
        assert tracemalloc.get_traced_memory()[1] < 150 * live.size
    finally:
        tracemalloc.stop()


def test_more_frames_of_the_same_people_do_not_narrow_the_interval():
    def width(frames):
        scores, live, subject = _scored(np.random.default_rng(5), 30, frames, 1.5)
        counts, number = bootstrap.draw(subject, live, "S")
        out = bootstrap.resampled(scores, live, counts, number, THRESHOLDS)["accuracy:fixed"]
        low, high = bootstrap.interval(out)
        return high - low

    assert width(40) > 0.7 * width(1)  # 40 times the frames would narrow a frame-wise interval 6 times


def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    rng = np.random.default_rng(11)
    scores, live, _ = _scored(rng, 20000, 1, 1.5)
    truth = np.mean((scores >= 0) == live)
    covered = 0
    for _ in range(200):
        scores, live, subject = _scored(rng, 40, 5, 1.5)
        counts, number = bootstrap.draw(subject, live, "S", resamples=200)
        out = bootstrap.resampled(scores, live, counts, number, {"accuracy:fixed": 0.0})
        low, high = bootstrap.interval(out["accuracy:fixed"])
        covered += low <= truth <= high
    assert 0.88 <= covered / 200 <= 0.99


def test_the_interval_of_a_cell_is_of_the_mean_over_seeds(tmp_path):
    rng = np.random.default_rng(2)
    runs = []
    for seed in range(2):
        scores, live, subject = _scored(rng, 10, 2, 1.0)
        data = scores[None], live, np.where(live, "", "print"), subject
        write_run(tmp_path / str(seed), [0], {"val": data, "S": data})
        runs.append(cells.read_run(tmp_path / str(seed), ["S"]))
    cell = cells_of(runs, ci=True)["last", "S", "auc"]
    counts, number = bootstrap.draw(subject, live, "S")
    both = [bootstrap.resampled(r.sets["S"].scores[0], live, counts, number, {})["auc"] for r in runs]
    assert cell.ci == pytest.approx(np.percentile(50 * (both[0] + both[1]), [2.5, 97.5]))
    assert cell.ci[0] <= cell.mean <= cell.ci[1]
    assert cells_of(runs, ci=False)["last", "S", "auc"].ci is None


def test_no_interval_without_subjects(tmp_path):
    val = eight((5, 6, 7, 8, 1, 2, 3, 4))
    nameless = val[0], LIVE, FAMILY, ["a", "", *["b"] * 6]
    write_run(tmp_path / "r", [0], {"val": val, "S": nameless})
    with pytest.raises(BadInput, match=r"sample S/1 of S has no subject.*--ci"):
        cells_of([cells.read_run(tmp_path / "r", ["S"])], ci=True)


# -------------------------------------------------------------------------------------------------- planning

PROFILE = load_profile("cpu")


def _plan(seeds=1, index_sha256="0" * 64, profile=PROFILE, table=TABLE, runs=Path("build/runs")):
    return plan.plan(table, profile, seeds, Path("build/index/x/index.csv"), index_sha256, runs, "cpu")


def test_the_paper_profile_is_the_papers_settings():
    paper = load_profile("paper")
    wanted = {"image-size": 224, "batch-size": 128, "epochs": 30, "learning-rate": 1e-4}
    assert {k: paper.training[k] for k in wanted} == wanted
    assert paper.seeds == 3


def test_commands_are_those_of_the_programs():
    jobs = {job.title: job for job in _plan(seeds=2)}
    assert set(jobs) == {
        *(f"{row.name} seed {s}" for row in TABLE.rows if row.seeded for s in (0, 1)),
        "all_spoof seed 0",
        "all_live seed 0",
    }
    folder = jobs["mmfas seed 1"].folder
    assert re.fullmatch(r"mmfas-cpu-seed1-[0-9a-f]{8}", folder.name)
    t = PROFILE.training
    assert " ".join(jobs["mmfas seed 1"].command[1:]) == (
        f"-m reference.mmfas --index build/index/x/index.csv --run-dir {folder} --preset table2 --fusion switch "
        f"--image-size {t['image-size']} --batch-size {t['batch-size']} --epochs {t['epochs']} "
        f"--learning-rate {t['learning-rate']} --augmentation {t['augmentation']} "
        f"--evaluate-every {t['evaluate-every']} --threads {PROFILE.threads} --device cpu --no-keep-weights "
        "--score-tests every --seed 1"
    )
    assert "--no-keep-weights" not in jobs["mmfas seed 0"].command
    folder = jobs["all_spoof seed 0"].folder
    assert " ".join(jobs["all_spoof seed 0"].command[1:]) == (
        f"-m reference.rivals.trivial --index build/index/x/index.csv --run-dir {folder} --predictor all_spoof --seed 0"
    )


def test_a_run_of_every_epochs_test_scores_serves_a_table_without_an_oracle_but_not_the_reverse(tmp_path):
    lean = replace(PROFILE, oracle=False)

    def planned(profile, **asked):
        jobs = plan.plan(TABLE, profile, 1, Path("index.csv"), "f" * 64, tmp_path, "cpu", **asked)
        return next(job for job in jobs if job.row.name == "mmfas")

    few, every = planned(lean), planned(PROFILE)
    assert "--score-tests" not in few.command
    assert planned(lean, oracle=True) == every
    assert few.folder != every.folder
    assert not every.again
    few.folder.mkdir()
    (few.folder / "done").touch()
    assert planned(lean).folder == few.folder
    assert planned(PROFILE) == replace(every, again=True)
    every.folder.mkdir()
    (every.folder / "done").touch()
    assert planned(lean).folder == planned(PROFILE).folder == every.folder


def test_a_folder_is_named_after_everything_that_decides_the_run(monkeypatch):
    names = [job.folder.name for job in _plan()]
    assert names == [job.folder.name for job in _plan()]
    assert len(set(names)) == len(names)
    assert not set(names) & {job.folder.name for job in _plan(index_sha256="1" * 64)}
    longer = replace(PROFILE, training=PROFILE.training | {"epochs": 99})
    trains = [j.folder.name for j in _plan() if j.row.trains]
    assert not set(trains) & {job.folder.name for job in _plan(profile=longer)}
    one = replace(TABLE, own_rows=(replace(TABLE.own_rows[0], training={"cpu": {"epochs": 99}}),))
    assert {job.row.name for job in _plan(table=one) if job.folder.name not in names} == {"mmfas"}
    whole = replace(PROFILE, tables={TABLE.name: {"epochs": 99}})
    assert [job.folder for job in _plan(profile=whole)] == [job.folder for job in _plan(profile=longer)]
    other = replace(TABLE, name="another")  # none of rows.toml stands there
    assert {job.folder.name for job in _plan(profile=whole, table=other)} < set(names)
    before = plan.sources("reference.mmfas")
    monkeypatch.setattr(plan, "sources", lambda module: before | {"reference/mmfas.py": "edited"})
    assert not set(names) & {job.folder.name for job in _plan()}


def test_sources_are_what_a_command_imports_and_nothing_else():
    found = set(plan.sources("reference.mmfas"))
    assert {"reference/mmfas.py", "reference/runs.py", "reference/metrics.py", "data_manifests/errors.py"} <= found
    assert "reference/rivals/resnet50.py" not in found
    assert not any(path.startswith(("paper_tables/", "spec_tests/")) for path in found)
    assert "reference/rivals/method.py" in plan.sources("reference.rivals.resnet50")
    with pytest.raises(BadInput, match="no such module"):
        plan.sources("reference.nothing")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[cpu]\nseeds = 1\n", "[cpu] needs device"),
        ("[gpu]\n", "--profile cpu: there is auto, gpu"),
        ("[cpu\n", "not valid TOML"),
        ("extra = 1\n", "has no use for extra"),
        ("[cpu.tables.mmfas-table1]\nepoch = 3\n", "replaces epoch"),
    ],
)
def test_a_malformed_profile_is_refused(tmp_path, text, says):
    path = tmp_path / "profiles.toml"
    if not text.startswith(("[cpu]", "[gpu]", "[cpu\n")):
        whole = profile.FILE.read_text().split("[paper]")[0]
        text = whole + text if text.startswith("[") else whole.replace("seeds = 1\n", "seeds = 1\n" + text)
    path.write_text(text)
    with pytest.raises(BadInput, match=re.escape(says)):
        load_profile("cpu", path)


def test_only_rows_that_can_run_are_chosen():
    implemented = [row for row in TABLE.rows if row.program]
    assert [row.name for row in choose([TABLE], "mmfas,vit_s16", "cpu")] == ["vit_s16", "mmfas"]  # in the table's order
    for wrong in ("ssdg", "nothing", "all,mmfas"):
        with pytest.raises(BadInput, match=f"--methods {wrong.partition(',')[0]}.*mmfas"):
            choose([TABLE], wrong, "cpu")
    later = replace(TABLE, own_rows=(replace(TABLE.own_rows[0], first=False),))
    first = [row.name for row in choose([TABLE], None, "cpu")]
    assert [row.name for row in choose([later], None, "cpu")] == [name for name in first if name != "mmfas"]
    for names, name in ((None, "paper"), ("all", "cpu"), ("all", "paper")):
        assert [row.name for row in choose([later], names, name)] == [row.name for row in implemented]


def test_the_first_rows_are_those_that_rows_toml_calls_first(tmp_path, monkeypatch):
    text = comparison_rows.FILE.read_text().replace("first = false\n", "")
    text = text.replace("[resnet50]\n", "[resnet50]\nfirst = false\n")
    (tmp_path / "rows.toml").write_text(text)
    for path in comparison_rows.FILE.parent.glob("*.py"):
        (tmp_path / path.name).touch()
    monkeypatch.setattr(comparison_rows, "FILE", tmp_path / "rows.toml")
    every, first = ([row.name for row in choose([TABLE], names, "cpu")] for names in ("all", None))
    assert set(every) - set(first) == {"resnet50"}


# --------------------------------------------------------------------------------------------------- running

FINISH = """
import json, pathlib, sys
folder = pathlib.Path(sys.argv[1]); folder.mkdir(parents=True, exist_ok=True)
with (folder / "started").open("a") as f: f.write("x")
def line(epoch, eer, hter):
    test = {"hter_source_val": hter, "auc": 0.9}
    return {"epoch": epoch, "loss": 0.5, "sets": {"val": {"eer": eer, "auc": 0.8}, "W": test, "W-DI": test}}
lines = [line(0, 0.25, 0.4), line(1, 0.125, 0.3), line(2, 0.125, 0.2)]
(folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\\n" for line in lines))
(folder / "done").touch()
"""
FAIL = """
import sys
print("noise", file=sys.stderr)
print("error: index.csv: gone; index again", file=sys.stderr)
sys.exit(2)
"""


def _job(folder, code, cost=1.0, name="mmfas"):
    row = next(row for row in TABLE.rows if row.name == name)
    return plan.Job(row, 0, folder, (sys.executable, "-c", code, str(folder)), 1, cost)


def test_what_is_missing_or_unfinished_runs_and_a_failure_costs_only_itself(tmp_path, capsys):
    done, unfinished, fails, silent = (tmp_path / n for n in ("done", "unfinished", "fails", "silent"))
    hand_made(done)
    write_run(unfinished, [4], {}, done=False)
    jobs = [
        _job(done, FINISH),
        _job(fails, FAIL, cost=5.0),
        _job(unfinished, FINISH),
        _job(silent, "pass"),
        _job(tmp_path / "new", FINISH, name="vit_s16"),
    ]
    failures = runner.run_all(jobs, Cores(2), tmp_path / "logs", Console(force_terminal=False))
    assert not (done / "started").exists()
    assert (unfinished / "done").exists()
    assert (tmp_path / "new" / "done").exists()
    said = {f.job.folder.name: f.reason for f in failures}
    assert set(said) == {"fails", "silent"}
    assert said["fails"].startswith("ended with exit status 2: index.csv: gone; index again (all of it: ")
    assert "noise" in (tmp_path / "logs" / "fails.stderr").read_text()
    assert said["silent"].startswith("ended without finishing: it wrote no error message")
    out = capsys.readouterr().out
    assert "failed mmfas seed 0: ended with exit status 2" in out.replace("\n", " ")
    assert "running" in out
    # The earliest epoch of least EER in validation, the whole sets alone.
    assert "finished vit_s16 seed 0: HTER / AUC in %: W 30.00 / 90.00\n" in out
    left = [j for j in jobs if j.folder.name in ("unfinished", "new")]
    again = runner.run_all(left, Cores(2), tmp_path / "logs", Console())
    assert again == []
    assert (unfinished / "started").read_text() == "x"


def test_the_announcement_counts_what_is_unfinished_in_epochs_of_mmfas(tmp_path):
    given = {"data": "phantom", "profile": "paper", "methods": "mmfas,resnet50", "seeds": 2, "jobs": 1, "clip": None}
    asked = request(["mmfas-table1"], tmp_path, **given)
    cost = comparison_rows.load()["resnet50"].cost["paper"]
    data, total, resnet, own = asked.announcement(None)
    assert data.startswith("Data: phantom 1-paper, procedural stand-in faces")
    assert resnet == f"  ResNet-50: 2 runs, {2 * 30 * cost:.0f} epochs"
    assert own == "  mmFAS (ours): 2 runs, 60 epochs"
    assert total.startswith(f"4 runs, which take as long as about {60 + 60 * cost:.0f} epochs of mmFAS")
    hand_made(asked.unfinished(None)[0].folder)
    assert asked.announcement(None)[1].startswith("3 runs")


def test_the_most_expensive_run_starts_first(tmp_path):
    code = FINISH + "\nwith open(sys.argv[1] + '/../order', 'a') as f: f.write(folder.name)"
    jobs = [_job(tmp_path / name, code, cost) for name, cost in (("b", 2.0), ("c", 1.0), ("a", 3.0))]
    assert runner.run_all(jobs, Cores(1), tmp_path / "logs", Console()) == []
    assert (tmp_path / "order").read_text() == "abc"


def test_ending_the_table_ends_its_runs(tmp_path):
    child = (
        "import os, pathlib, sys, time; pathlib.Path(sys.argv[1] + '.pid').write_text(str(os.getpid())); time.sleep(60)"
    )
    parent = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
from pathlib import Path
from rich.console import Console
from paper_tables.declarations import mmfas
from paper_tables.planning import places, plan, runner
job = plan.Job(mmfas.TABLE_1.rows[0], 0, Path({str(tmp_path / "run")!r}),
               (sys.executable, "-c", {child!r}, {str(tmp_path / "run")!r}), 1, 1.0)
runner.run_all([job], places.Cores(1), Path({str(tmp_path)!r}), Console())
"""
    process = subprocess.Popen([sys.executable, "-c", parent], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)
    pid_file = tmp_path / "run.pid"
    deadline = time.monotonic() + 30
    while not (pid_file.exists() and pid_file.read_text()) and time.monotonic() < deadline:
        time.sleep(0.05)
    pid = int(pid_file.read_text())
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=15)  # well before the SIGKILL that follows a SIGTERM unheard
    assert b"KeyboardInterrupt" in err
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_the_time_left_is_estimated_from_epochs_done_and_relative_costs():
    left = runner.time_left
    assert left([(1.0, 20, 0, 5.0)], [], [], 1) is None
    assert left([(1.0, 10, 10, 50.0)], [], [], 1) == 50.0
    # A waiting run twice as costly an epoch, after the running one: 50 + 2 * 5 * 4.
    assert left([(1.0, 10, 10, 50.0)], [(2.0, 4)], [], 1) == 90.0
    assert left([(1.0, 10, 10, 50.0)], [(2.0, 4)], [], 2) == 50.0  # side by side
    # Nothing done yet, but a finished run tells the pace: 5 s a unit; 12 s of it have passed.
    assert left([(1.0, 10, 0, 12.0)], [], [(10.0, 50.0)], 1) == 38.0
    assert runner.duration(3725) == "1 h 02 min"


def test_starting_up_is_no_part_of_a_runs_pace(tmp_path):
    r = runner._Running(_job(tmp_path, ""), process=None, errors=tmp_path, started=time.monotonic() - 500)
    assert r.spent >= 500  # nothing better is known yet
    r.lines = [{"seconds": 90.0}, {"seconds": 3.0}, {"seconds": 3.0, "evaluation_seconds": 1.0}]
    r.epochs_before = 1  # of an earlier start
    assert (r.epochs_here, r.spent) == (2, 7.0)


def test_progress_counts_whole_lines_only(tmp_path):
    assert runner.read_metrics(tmp_path) == []
    (tmp_path / "metrics.jsonl").write_text('{"epoch": 0}\n{"epoch": 1}\n{"epo')
    assert [line["epoch"] for line in runner.read_metrics(tmp_path)] == [0, 1]


# -------------------------------------------------------------------------------------------- the whole command


def test_a_dry_run_prints_commands_and_touches_nothing(tmp_path, capsys):
    build = tmp_path / "build"
    command = ["mmfas-table1", "--profile", "cpu", "--dry-run", "--build", str(build)]
    assert main([*command, "--methods", "mmfas,coin", "--seeds", "2"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    lines = out.splitlines()
    assert " data_manifests.phantom render --profile cpu --out " in lines[0]
    assert re.search(r" -m data_manifests index --roots \S+/roots.toml --out ", lines[1])
    assert lines[2].startswith("# nothing is indexed yet")
    assert [re.search(r"-m (\S+) .*XXXXXXXX .*--seed (\d)", line).groups() for line in lines[3:]] == [
        *(("reference.mmfas", s) for s in "01"),
        *(("reference.rivals.trivial", s) for s in "01"),
    ]
    assert not build.exists()


def _indexed(tmp_path):
    """A roots.toml whose index, with rows of all four sets but no image file, is already in place."""
    rows, splits = [], {"train": [], "val": [], "test": []}
    for letter in TARGETS:
        for split in ("train", "val", "test") if letter == "C" else ("test",):
            for i in range(4):
                label = "bonafide" if i % 2 else "attack"
                name = f"{letter}-{split}-{i}"
                row = dict.fromkeys((f.name for f in fields(Row)), "") | {"frame": 0, "ir_nm": None, "label": label}
                row |= {"sample_id": name, "clip_id": name, "dataset": letter, "layout": "x"}
                row |= {"subject_id": f"{letter}{i // 2}", "rgb": "a.png", "rgb_shape": "8x8:uint8"}
                rows.append(Row(**row | {"attack_family": "" if i % 2 else "print"}))
                splits[split].append(name)
    roots = tmp_path / "mine.toml"
    roots.write_text("".join(f'{letter} = "data"\n' for letter in TARGETS))
    index = locate(str(roots), PROFILE, tmp_path / "build").index
    save_index(index.parent, rows, {"mmfas": splits}, dict.fromkeys(TARGETS, tmp_path / "data"))
    return roots


def test_from_index_to_page_and_again_in_no_time(tmp_path, capsys):
    roots = _indexed(tmp_path)
    arguments = ["mmfas-table1", "--profile", "cpu", "--data", str(roots), "--build", str(tmp_path / "build")]
    arguments += ["--methods", "all_spoof", "--ci"]
    assert main([*arguments, "--dry-run"]) == 0
    command = capsys.readouterr().out
    assert command.count("\n") == 1
    assert main([*arguments, "--prepare-only"]) == 0
    assert "index.csv is ready" in capsys.readouterr().out
    assert not (tmp_path / "build" / "runs").exists()
    assert main(arguments) == 0
    out = capsys.readouterr().out
    folder = tmp_path / "build" / "tables" / "mmfas-table1"
    for name in ("table.md", "table.tex", "table.html", "table.json"):
        assert str(folder / name) in out
        assert (folder / name).stat().st_size > 1000
    found = json.loads((folder / "table.json").read_text())
    rows = {row["method"]: row for row in found["rows"]}
    cell = rows["all_spoof"]["cells"]["source_val"]["S"]["accuracy:source_dev@BPCER1%"]
    assert (cell["mean"], cell["n"]) == (50, 1)
    assert found["stand_in"] is False
    assert "reference.rivals.pipenet" in rows["pipenet"]["missing"][0]["command"]
    assert "--fusion switch" in rows["mmfas"]["missing"][0]["command"]
    (run,) = (tmp_path / "build" / "runs").glob("all_spoof-*")
    assert run.name in command  # the dry run had named it rightly
    before = {p: p.stat().st_mtime_ns for p in run.rglob("*")}
    assert main(arguments) == 0
    assert {p: p.stat().st_mtime_ns for p in run.rglob("*")} == before

    # A run of another index under this name is not taken in.
    args = json.loads((run / "args.json").read_text())
    (run / "args.json").write_text(json.dumps(args | {"index_sha256": "0" * 64}))
    with pytest.raises(BadInput, match=r"args.json: was changed or damaged"):
        main(arguments)
    args.pop(SEAL)
    (run / "args.json").write_text(json.dumps(args | {"index_sha256": "0" * 64}))
    with pytest.raises(BadInput, match="another index"):
        main(arguments)


def test_rendered_trees_are_stand_in_data_however_they_are_named(tmp_path):
    roots = _indexed(tmp_path)
    assert not locate(str(roots), PROFILE, tmp_path).stand_in
    (tmp_path / "phantom.json").write_text("{}")  # what rendering leaves beside the trees it writes
    assert locate(str(roots), PROFILE, tmp_path).stand_in
    assert MARKER == "phantom.json"
    phantom = locate("phantom", PROFILE, tmp_path)
    assert phantom.stand_in
    assert phantom.name == f"phantom {Path(phantom.commands[0][-1]).name}"


def test_a_failed_run_is_reported_and_the_table_is_written_all_the_same(tmp_path, capsys):
    roots = _indexed(tmp_path)
    build = tmp_path / "build"
    arguments = ["mmfas-table1", "--profile", "cpu", "--data", str(roots), "--build", str(build)]
    main([*arguments, "--methods", "all_live", "--dry-run"])
    folder = build / "runs" / re.search(r"all_live-\S+", capsys.readouterr().out).group()
    folder.mkdir(parents=True)
    (folder / "foreign").touch()
    assert main([*arguments, "--methods", "all_live"]) == 1
    err = capsys.readouterr().err
    assert err.startswith("error: all_live seed 0 ended with exit status 2: ")
    assert "is not a run folder" in err
    text = (build / "tables" / "mmfas-table1" / "table.md").read_text()
    assert re.search(r"all_live seed 0, ended with exit status 2: .*`.*--predictor all_live", text)


def test_bad_requests_end_with_one_sentence_and_status_2(tmp_path):
    for arguments, says in (
        (["--data", str(tmp_path / "none.toml")], "neither `phantom` nor a file"),
        (["--methods", "ssdg"], "--methods ssdg"),
        (["--profile", "huge"], "--profile huge: there is auto, cpu, paper"),
    ):
        with pytest.raises(BadInput, match=says):
            main(["mmfas-table1", "--build", str(tmp_path / "build"), "--profile", "cpu", *arguments])
    command = [sys.executable, "-m", "paper_tables", "mmfas-table1", "--profile", "huge"]
    out = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert (out.returncode, out.stderr.count("\n")) == (2, 1)
    assert out.stderr.startswith("error: --profile huge")


def test_the_parent_process_loads_no_torch():
    code = "import sys, paper_tables.__main__; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


# ------------------------------------------------------------------------------------------------- rendering


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """Two seeds of mmFAS with round numbers, one of two of ViT failed, a row without a program, the rest not run."""
    build = tmp_path_factory.mktemp("table")
    table = replace(TABLE, own_rows=(*TABLE.own_rows, replace(TABLE.own_rows[0], name="later", program=None)))
    jobs = plan.plan(table, PROFILE, 2, Path("build/index/x/index.csv"), "f" * 64, build / "runs", "cpu")
    val = eight((5, 6, 7, 8, 1, 2, 3, 4))
    tests = {0: eight((5, 6, 7, 8, 1, 2, 3, 4)), 1: eight((4, 6, 7, 8, 1, 2, 3, 5))}
    for job in jobs:
        if job.title in ("mmfas seed 0", "mmfas seed 1", "vit_s16 seed 0"):
            sets = {"val": val} | dict.fromkeys(TARGETS, tests[job.seed])
            write_run(job.folder, [19], sets, parameters=12_345_000)
    failed = next(job for job in jobs if job.title == "vit_s16 seed 1")
    failures = [runner.Failure(failed, "ended with exit status 2: 5 % & x_y")]
    return gather(table, PROFILE, 2, "phantom 1-cpu", True, "f" * 64, jobs, failures, False)


def _command(results, name, seed):
    return next(m.command for m in results.row(name).missing if m.seed == seed)


def test_markdown(small):
    text = render.markdown(small)
    lines = text.splitlines()
    assert "> Data: phantom 1-cpu, procedural stand-in faces" in text
    # Seed 1 at threshold 5: one of four rejected, one of four accepted, so HTER 25 against 0.
    trio = "12.50 ± 17.68 | 96.88 ± 4.42 | 87.50 ± 17.68"
    assert f"| mmFAS (ours) | 12.35 M | 2 | {' | '.join([trio] * 5)} |" in lines
    printed = ["0.0183", "99.99", "99.93", "9.24", "97.80", "67.14", "38.68", "64.79", "79.26", "36.92"]
    printed += ["69.85", "76.38", "18.84", "85.24", "79.24"]
    assert f"| *– published* |  |  | {' | '.join(f'*{x}*' for x in printed)} |" in lines
    assert f"| mmFAS (ours) (not implemented yet) |  |  | {' | '.join('–' * 15)} |" in lines
    assert f"| ViT-S/16 | 12.35 M | 1 of 2 [10] | {' | '.join(['0.00', '100.00', '100.00'] * 5)} |" in lines
    note = f"- [10] vit_s16 seed 1, ended with exit status 2: 5 % &amp; x\\_y: `{_command(small, 'vit_s16', 1)}`"
    assert note in lines
    assert f"- [3] resnet50 seed 0, not run: `{_command(small, 'resnet50', 0)}`" in lines
    table = [line for line in lines if line.startswith("|")]
    widths = {len(re.findall(r"(?<!\\)\|", line)) for line in table}
    assert widths == {19, 10}  # the table in the paper's shape, and the three long ones
    for rule in ("source validation", "last epoch", "oracle (test set)"):
        assert f"### {rule}" in lines


@given(st.text(st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp")), max_size=20))
@example("a|b <i>c</i> `d` [e](f) *g* _h_ &amp; ~~i~~ \\#")
@example("http://x.y")
def test_names_of_others_are_shown_in_markdown_as_they_are(small, name):
    sentence = next(
        line for line in render.markdown(replace(small, data=f"x {name} x")).splitlines() if line.startswith("> ")
    )
    shown = MarkdownIt("gfm-like", {"linkify": False}).render(sentence.removeprefix("> ").partition(", procedural")[0])
    assert unescape(shown) == f"<p>Data: {' '.join(f'x {name} x'.split())}</p>\n"


def test_latex_is_balanced_and_escaped(small):
    text = render.latex(small)
    body = "\n".join(line for line in text.splitlines() if not line.startswith("%"))
    body = body.replace("{!}{%\n", "{!}{\n")
    assert balanced(body)
    assert not re.search(r"(?<!\\)[%_#]", body)
    assert body.count(r"\begin{table*}") == body.count(r"\end{table*}") == 3
    assert body.count(r"\begin{tabular}{lrr" + "r" * 15 + "}") == 3
    trio = r"12.50 $\pm$ 17.68 & 96.88 $\pm$ 4.42 & 87.50 $\pm$ 17.68"
    assert rf"mmFAS (ours) & 12.35 M & 2 & {' & '.join([trio] * 5)} \\" in body
    assert r"\textit{0.0183} & \textit{99.99}" in body
    for line in body.splitlines():
        if line.endswith(r" \\") and "multicolumn" not in line:
            assert len(re.findall(r"(?<!\\)&", line)) == 17
    assert r"vit\_s16 seed 1, ended with exit status 2: 5 \% \& x\_y: \texttt{" in body
    assert r"-{}-run-dir" in body
    assert not re.search(r"\\\\\s*\[", body)  # \\ would take [4] as its argument
    assert "--run-dir" not in body
    assert render.tex_escape("50 % & a_b {x} \\ ~ ^ # $ --y") == (
        r"50 \% \& a\_b \{x\} \textbackslash{} \textasciitilde{} \textasciicircum{} \# \$ -{}-y"
    )
    assert body.count(r"\caption{") == body.count(r"\label{") == 3
    assert len(set(re.findall(r"\\label\{[^}]*\}", body))) == 3


@given(st.text())
@example("\\{}")
def test_escaped_text_is_always_balanced(text):
    escaped = render.tex_escape(text)
    assert balanced(escaped)
    assert not re.search(r"(?<!\\)[%_#&]", escaped)


def test_every_caption_says_what_is_needed_to_read_it(small):
    for view, words in (
        (HONEST, "least EER"),
        (view_of("last"), "Epoch: the last"),
        (view_of("oracle"), "test set itself chooses"),
    ):
        text = " ".join(caption(small, view))
        for said in (words, "phantom 1-cpu, procedural stand-in", "no evidence about faces", "Profile cpu", "2 seeds"):
            assert said in text, said
        assert "divisor n − 1" in text
        assert "source_dev@BPCER1%" in text
        assert "not comparable" in text
        tex = " ".join(re.findall(r"\\caption\{(.*)\}", render.latex(small)))
        assert render.tex_escape(text) in tex
    one = " ".join(caption(replace(small, seeds=1), HONEST))
    assert "n = 1" in one
    assert "standard deviation" not in one
    real = " ".join(caption(replace(small, stand_in=False, data="mine"), HONEST))
    assert "stand-in" not in real
    assert "not comparable" not in real


def test_the_page_is_well_formed_and_needs_nothing_from_outside(small):
    text = page(small)
    checker = Checker()
    checker.feed(text)
    checker.close()
    assert checker.open == []
    assert len(set(checker.ids)) == len(checker.ids)
    assert checker.links  # figures and footnotes do refer to something
    for link in checker.links:
        assert link.startswith("#")
        assert link[1:] in checker.ids
    assert "://" not in text
    assert not re.search(r"@import|url\((?!#)|<link|<iframe|<img", text)
    assert "prefers-color-scheme:dark" in text
    said = " ".join(checker.text)
    assert "procedural stand-in faces" in said
    assert "not comparable" in said
    assert "not implemented yet" in said
    assert _command(small, "vit_s16", 1) in said
    assert "5 % & x_y" in said
    assert text.count("<svg viewBox=") >= 4 + 3


def test_the_page_holds_every_view_and_shows_the_honest_one(small):
    text = page(small)
    row = small.row("mmfas")
    for (rule, target, metric), cell in row.cells.items():
        if metric in cells.MAIN and target == "S":
            kind, _, threshold = metric.partition(":")
            classes = [f"rule-{rule}"]
            if threshold:
                place = {"hter": "hter", "accuracy": "acc"}[kind]
                classes.append(f"{place}-{threshold.replace('@', '-').replace('%', '')}")
            assert f'<span class="v {" ".join(classes)}"><b>{cell.mean:.2f}</b>' in text
    assert re.findall(r'id="([^"]+)" checked', text) == [
        "mmfas-table1-rule-source_val",
        "mmfas-table1-hter-source_val",
        "mmfas-table1-acc-source_dev-BPCER1",
    ]
    # Choosing one value hides exactly what belongs to the other values of that choice.
    own = "#mmfas-table1:has(#mmfas-table1-"
    assert f"{own}rule-oracle:checked) :is(.rule-source_val,.rule-last){{display:none}}" in text
    assert f"{own}hter-target:checked) :is(.hter-source_val){{display:none}}" in text


def test_json_holds_every_number(small):
    found = json.loads(render.as_json(small))
    rows = {row["method"]: row for row in found["rows"]}
    assert set(rows["mmfas"]["cells"]) == set(TABLE.rules)
    for rule in TABLE.rules:
        for target in (*TARGETS, "weighted"):
            assert set(rows["mmfas"]["cells"][rule][target]) == set(cells.METRICS)
    cell = rows["mmfas"]["cells"]["source_val"]["S"]["hter:source_val"]
    assert cell["values"] == [0, 25]
    assert cell["sd"] == pytest.approx(np.std([0, 25], ddof=1))
    assert rows["mmfas"]["published"]["S"]["hter"] == "9.24"
    assert found["images"]["S"] == {"bonafide": 4, "attack": 4}
    assert rows["vit_s16"]["missing"][0]["command"] == _command(small, "vit_s16", 1)


@pytest.mark.parametrize("width", [80, 130])
def test_the_terminal_shows_each_metric_and_stays_within_its_width(small, width):
    console = Console(width=width, record=True, file=open(os.devnull, "w"))  # noqa: PTH123, SIM115
    render.terminal(small, console)
    text = console.export_text()
    assert "12.50±17.68" in text
    assert ("(9.24)" in text) == (width == 130)
    assert all(len(line) <= width for line in text.splitlines() if "python -m" not in line)
    assert _command(small, "vit_s16", 1) in text


def test_a_long_name_does_not_cut_the_numbers(small):
    label = "A21: a reading whose name is longer than others are"
    rows = [replace(result, row=replace(result.row, label=label)) for result in small.rows]
    console = Console(width=80, record=True, file=open(os.devnull, "w"))  # noqa: PTH123, SIM115
    render.terminal(replace(small, rows=rows), console)
    text = console.export_text()
    assert "12.50±17.68" in text
    assert "…" not in text.partition("Data:")[0]


def test_the_curves_are_the_error_rates_at_every_threshold(small):
    row = small.row("mmfas")
    fpr, fnr = figures.curve(row.runs[1], "S", 19)
    scores, live = np.array(eight((4, 6, 7, 8, 1, 2, 3, 5))[0][0]), np.array(LIVE, bool)
    wanted = [metrics.far_frr(scores, live, t) for t in [np.inf, *sorted(scores, reverse=True)]]
    np.testing.assert_allclose(np.stack([fpr, fnr], 1), 100 * np.array(wanted))
    # Mean over the two runs of the least FNR at each FPR: run 0 has none at any.
    fpr, fnr = figures.mean_curve(row, "S")
    assert dict(zip(fpr, fnr, strict=True)) == {0: 12.5, 25: 0, 50: 0, 75: 0, 100: 0}


def test_figure_files_are_images_and_repeat_byte_for_byte(small, tmp_path):
    written = write(small, tmp_path / "a")
    assert sorted(p.name for p in written) == [
        "figure5.png", "figure5.svg", "fragment.html", "table.html", "table.json", "table.md", "table.tex",
    ]  # fmt: skip
    assert (tmp_path / "a" / "figure5.png").read_bytes().startswith(b"\x89PNG")
    svg = (tmp_path / "a" / "figure5.svg").read_text()
    for words in (
        "FPR: attacks accepted (%)",
        "FNR: bona fide rejected (%)",
        "procedural stand-in faces",
        "HQ-WMCA-like",
    ):
        assert words in svg
    write(small, tmp_path / "b")
    for path in written:
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()
    looks = [(look.dashes, look.width) for look in figures.legend(small).values()]
    assert len(set(looks)) == len(looks)  # told apart without colour
