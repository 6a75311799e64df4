"""Tables over several runs and several heads: places, pooling, the rules that choose heads, and the findings."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from data_manifests.errors import BadInput
from paper_tables.declarations import mmda, mmfas
from paper_tables.declarations.profile import load as load_profile
from paper_tables.declarations.table import Column, Place
from paper_tables.numbers import bootstrap, cells, gaps, selection
from paper_tables.numbers.results import gather
from paper_tables.planning import plan
from paper_tables.rendering import findings
from reference import metrics
from reference import mmda as program
from reference.rivals import clip_zero_shot
from reference.rivals.blocks import clip_classifier
from reference.rivals.method import train
from spec_tests.support.fake_runs import FAMILY, LIVE, SUBJECT, eight, finish, write_run
from spec_tests.support.miniature import write_index
from spec_tests.support.released_script import released_script
from spec_tests.support.tiny_clip import SIDE, tiny_clip

KINDS = ("hter", "auc")
RULES = mmda.RULES
PERFECT, INVERTED = (5, 6, 7, 8, 1, 2, 3, 4), (1, 2, 3, 4, 5, 6, 7, 8)
ONE_WRONG = (4, 6, 7, 8, 1, 2, 3, 5)  # one of each class on the other's side: EER 25 %


def run_of(folder, sets, heads=None, epochs=(0, 1)):
    write_run(folder, [*epochs], sets, heads=heads)
    return cells.read_run(folder, [name for name in sets if name != "val"])


def of(*places, name="x", weighted=False):
    return Column(name, name, places, weighted)


def with_heads(folder, **sets):
    """A run of two epochs whose heads cls and align0 have the scores sets[name] = {head: (epoch 0, epoch 1)}."""
    heads = {name: {head: np.array(scores) for head, scores in h.items()} for name, h in sets.items()}
    return run_of(folder, {name: eight(*h["cls"]) for name, h in sets.items()}, heads)


# --------------------------------------------------------------------------------------------------- the rules


def _record(epoch, head, val_eer, hter, auc):
    return selection.Record(epoch, val_eer, 50.0, {"S": {"hter:target": hter, "auc": auc}}, head)


def test_each_rule_chooses_among_what_it_may_look_at():
    records = [
        _record(0, "cls", 9.0, 30.0, 70.0),
        _record(1, "cls", 5.0, 40.0, 60.0),
        _record(2, "cls", 8.0, 35.0, 65.0),
        _record(0, "align0", 1.0, 20.0, 75.0),
        _record(1, "align0", 2.0, 10.0, 80.0),
        _record(2, "align0", 3.0, 15.0, 99.0),
    ]

    def chosen(rule, metric, head="cls"):
        record = selection.RULES[rule](records, "S", metric, head)
        return record.head, record.epoch

    for metric in ("hter:target", "auc"):
        assert chosen("source_val", metric) == ("cls", 1)  # align0 is better on val, but was not fixed beforehand
        assert chosen("last", metric) == ("cls", 2)
        assert chosen("oracle", metric) == ("cls", 0)  # best on the test set among cls's epochs
        assert chosen("oracle_pair", metric) == ("align0", 1)  # one pair, by HTER, whatever is reported
        assert chosen("source_val", metric, "align0") == ("align0", 0)
    assert chosen("released", "hter:target") == ("align0", 1)
    assert chosen("released", "auc") == ("align0", 2)  # another epoch than HTER's


def test_the_pair_among_equals_is_of_highest_auc_then_earliest_then_of_the_first_head():
    records = [
        _record(1, "cls", 0, 10.0, 80.0),
        _record(0, "align0", 0, 10.0, 80.0),
        _record(0, "align1", 0, 10.0, 80.0),
    ]
    assert selection.oracle_pair(records, "S", "auc").head == "align0"
    better = _record(9, "align2", 0, 10.0, 81.0)
    assert selection.oracle_pair([*records, better], "S", "auc") is better


# ---------------------------------------------------------------------------------------------------- the cells


def test_cells_of_a_hand_made_run_with_heads(tmp_path):
    ten = [[x + 10 for x in scores] for scores in (PERFECT, ONE_WRONG, (4.5, 4.6, 4.7, 4.8, 1, 2, 3, 4))]
    run = with_heads(
        tmp_path / "r",
        # align0's threshold on val is 15, that of cls 5.
        val={"cls": (ONE_WRONG, PERFECT), "align0": (ten[0], ten[0])},
        W={"cls": (PERFECT, INVERTED), "align0": (ten[1], ten[2])},
    )
    assert run.heads == ("cls", "align0")
    out = cells.cells({0: {"": run}}, [of(Place("", ("W",)))], False, RULES, KINDS)
    # Source validation: cls, epoch 1, which the test set inverts.
    for metric in ("hter:source_val", "hter:target", "auc"):
        cell = out["source_val", "x", metric]
        assert (cell.epochs, cell.heads) == ((1,), ("cls",))
    assert out["source_val", "x", "auc"].mean == 0
    assert out["source_val", "x", "hter:source_val"].mean == 100
    # Two pairs have no error: cls at epoch 0 and align0 at epoch 1; the earlier one is taken.
    assert (out["oracle_pair", "x", "auc"].mean, out["oracle_pair", "x", "auc"].epochs) == (100, (0,))
    # At epoch 0, cls has EER 25 % on val, its threshold there is 5: no error on W.
    assert out["oracle_pair", "x", "hter:source_val"].mean == 0
    assert out["released", "x", "auc"].heads == ("cls",)
    assert set(out) == {(rule, "x", metric) for rule in RULES for metric in ("hter:source_val", "hter:target", "auc")}
    # align0 alone: its val EER is 0 at both epochs, so the earlier; one wrong of each class at its threshold.
    alone = cells.cells({0: {"": run}}, [of(Place("", ("W",), "align0"))], False, ("source_val", "last"), KINDS)
    assert alone["source_val", "x", "hter:source_val"].mean == 25
    assert alone["source_val", "x", "hter:source_val"].heads == ("align0",)
    # At epoch 1 its scores separate, but lie below the threshold from val: every bona fide is rejected.
    assert alone["last", "x", "hter:source_val"].mean == 50
    assert alone["last", "x", "hter:target"].mean == 0
    assert run.chosen_epoch == 1


@given(st.integers(0, 2**32 - 1))
@example(0)
def test_the_rules_over_heads_agree_with_all_pairs_tried(tmp_path_factory, seed):
    rng = np.random.default_rng(seed)
    names, epochs = ["cls", "align0", "align1"], 3

    def some(n):
        live = np.append([True, False], rng.random(n) < 0.5)
        return {h: rng.integers(0, 6, (epochs, live.size)) + 2 * live for h in names}, live

    data = {"val": some(10), "W": some(12), "S": some(9)}
    folder = tmp_path_factory.mktemp("run") / "r"
    sets = {n: (h["cls"], live, np.where(live, "", "print"), ["a"] * live.size) for n, (h, live) in data.items()}
    run = run_of(folder, sets, {n: h for n, (h, _) in data.items()}, range(epochs))
    pooled = of(Place("", ("W", "S")))
    out = cells.cells({0: {"": run}}, [pooled], False, RULES, KINDS)

    live = np.concatenate([data["W"][1], data["S"][1]])
    pairs = [(e, h) for h in names for e in range(epochs)]
    joined = {(e, h): np.concatenate([data["W"][0][h][e], data["S"][0][h][e]]) for e, h in pairs}
    eer = {pair: metrics.eer(s, live)[0] for pair, s in joined.items()}
    auc = {pair: metrics.auc(s, live) for pair, s in joined.items()}
    of_val = {
        e: (
            metrics.eer(data["val"][0]["cls"][e], data["val"][1])[0],
            -metrics.auc(data["val"][0]["cls"][e], data["val"][1]),
        )
        for e in range(epochs)
    }
    honest = min(of_val, key=lambda e: (*of_val[e], e))
    threshold = metrics.eer(data["val"][0]["cls"][honest], data["val"][1])[1]
    assert out["source_val", "x", "auc"].mean == pytest.approx(100 * auc[honest, "cls"])
    expected = metrics.hter(joined[honest, "cls"], live, threshold)
    assert out["source_val", "x", "hter:source_val"].mean == pytest.approx(100 * expected)
    script = {pair: released_script(s, live) for pair, s in joined.items()}
    for metric, value in {
        "hter:target": min(h for h, _ in script.values()),
        "auc": max(a for _, a in script.values()),
    }.items():
        assert out["released", "x", metric].mean == pytest.approx(100 * value)
    assert out["oracle_pair", "x", "hter:target"].mean == pytest.approx(100 * min(eer.values()))
    best = [pair for pair in pairs if eer[pair] == min(eer.values())]
    assert out["oracle_pair", "x", "auc"].mean == pytest.approx(100 * max(auc[pair] for pair in best))
    assert out["last", "x", "auc"].mean == pytest.approx(100 * auc[epochs - 1, "cls"])


def test_one_roc_and_the_mean_of_two_sets_are_different_things(tmp_path):
    # Each set separates perfectly, at another level: together they do not.
    high = [[105, 101, 106]] * 2, [1, 0, 1], ["", "print", ""], ["a", "b", "c"]
    run = run_of(tmp_path / "r", {"val": eight(PERFECT, PERFECT), "P": eight(PERFECT, PERFECT), "S": high})
    columns = [of(Place("", ("P", "S")), name="roc"), of(Place("", ("P",)), Place("", ("S",)), name="mean")]
    out = cells.cells({0: {"": run}}, columns, False, RULES, KINDS)
    assert out["source_val", "mean", "auc"].mean == 100
    # Of 6 × 5 pairs the four of P's bona fide with S's attack are lost.
    assert out["source_val", "roc", "auc"].mean == pytest.approx(100 * 26 / 30)
    assert out["source_val", "roc", "auc"].epochs == (0,)
    assert out["oracle_pair", "mean", "auc"].epochs is None


def test_a_mean_over_models_is_plain_and_each_chooses_its_own_epoch(tmp_path):
    first = run_of(tmp_path / "1", {"val": eight(PERFECT, ONE_WRONG), "W": eight(PERFECT, INVERTED)})
    second = run_of(tmp_path / "2", {"val": eight(ONE_WRONG, PERFECT), "S": eight(PERFECT, ONE_WRONG)})
    small = [[1, 9], [9, 1]], [1, 0], ["", "print"], ["a", "b"]
    third = run_of(tmp_path / "3", {"val": eight(PERFECT, PERFECT), "P": small})
    places = [Place("a", ("W",)), Place("b", ("S",)), Place("c", ("P",))]
    columns = [of(*places, name="mean"), *(of(p, name=p.tested) for p in places)]
    runs = {0: {"a": first, "b": second, "c": third}}
    out = cells.cells(runs, columns, False, RULES, KINDS)
    assert [out["source_val", name, "auc"].epochs for name in "WSP"] == [(0,), (1,), (0,)]
    wanted = [out["source_val", name, "auc"].mean for name in "WSP"]
    assert wanted == [100, 93.75, 0]
    assert out["source_val", "mean", "auc"].mean == pytest.approx(np.mean(wanted))  # not by numbers of images
    assert out["source_val", "mean", "auc"].epochs is None
    # Without the third run only the columns that need it are empty.
    out = cells.cells({0: {"a": first, "b": second}}, columns, False, RULES, KINDS)
    assert {column for _, column, _ in out} == {"W", "S"}


def test_a_column_counts_the_seeds_that_have_all_its_runs(tmp_path):
    runs = {
        seed: {
            part: run_of(tmp_path / f"{part}{seed}", {"val": eight(PERFECT, PERFECT), "W": eight(scores, scores)})
            for part, scores in parts.items()
        }
        for seed, parts in {0: {"a": PERFECT, "b": PERFECT}, 1: {"a": INVERTED}, 2: {"b": INVERTED}}.items()
    }
    columns = [of(Place("a", ("W",)), name="a"), of(Place("a", ("W",)), Place("b", ("W",)), name="both")]
    out = cells.cells(runs, columns, False, RULES, KINDS)
    assert (out["last", "a", "auc"].values, out["last", "a", "auc"].seeds) == ((100, 0), (0, 1))
    assert (out["last", "both", "auc"].values, out["last", "both", "auc"].seeds) == ((100,), (0,))


def test_samples_without_a_modality_are_resampled_with_their_complete_selves(tmp_path):
    rng = np.random.default_rng(4)
    subject = np.repeat(np.arange(6), 8).astype(str)
    live = np.tile([True] * 4 + [False] * 4, 6)
    family = np.where(live, "", "print")

    def scores():
        return rng.normal(size=(1, live.size)) + live

    heads = {
        name: {"cls": scores(), "align0": scores() + (2 * live if name == "W-D" else 0)} for name in ("val", "W", "W-D")
    }
    sets = {name: (h["cls"], live, family, subject) for name, h in heads.items()}
    run = run_of(tmp_path / "r", sets, heads, [0])
    columns = [of(Place("", ("W",)), Place("", ("W-D",)), name="mean"), of(Place("", ("W-D",)), name="W-D")]
    out = cells.cells({0: {"": run}}, columns, True, RULES, KINDS)
    counts, number = bootstrap.draw(subject, live, "W")

    def drawn(name, head):
        s = np.float32(heads[name][head][0]).astype(float)
        return 100 * bootstrap.resampled(s, live, counts, number, {})["auc"]

    mean = (drawn("W", "cls") + drawn("W-D", "cls")) / 2
    assert out["source_val", "mean", "auc"].ci == pytest.approx(np.percentile(mean, [2.5, 97.5]))
    # The released rule takes align0 there, and its interval is that head's.
    assert out["released", "W-D", "auc"].heads == ("align0",)
    assert out["released", "W-D", "auc"].ci == pytest.approx(np.percentile(drawn("W-D", "align0"), [2.5, 97.5]))
    s = np.float32(heads["W-D"]["align0"][0]).astype(float)
    resampled = 100 * bootstrap.resampled(s, live, counts, number, {"hter:released": "released"})["hter:released"]
    assert out["released", "W-D", "hter:target"].ci == pytest.approx(np.percentile(resampled, [2.5, 97.5]))
    assert out["source_val", "W-D", "auc"].ci == pytest.approx(np.percentile(drawn("W-D", "cls"), [2.5, 97.5]))


def test_a_head_that_a_model_lacks_leaves_its_cell_empty(tmp_path):
    run = with_heads(
        tmp_path / "r",
        val={"cls": (PERFECT, PERFECT), "align0": (PERFECT, PERFECT)},
        W={"cls": (PERFECT, PERFECT), "align0": (PERFECT, PERFECT)},
    )
    columns = [of(Place("", ("W",), head), name=head) for head in ("cls", "align0", "align1")]
    out = cells.cells({0: {"": run}}, columns, False, ("source_val",), KINDS)
    assert {column for _, column, _ in out} == {"cls", "align0"}


@pytest.mark.parametrize(
    ("name", "spoil", "says"),
    [
        ("W", {"heads": np.array(["align0", "align1"])}, "W.npz: has no head cls"),
        ("W", {"heads": np.array(["cls", "align7"])}, "W.npz: holds other heads than val.npz"),
        ("val", {"head_scores": np.zeros((2, 3, 8), np.float32)}, "val.npz: head_scores of shape (2, 3, 8) do not fit"),
        ("W", {"head_scores": np.zeros((2, 2, 8), np.float32)}, "W.npz: its scores are not those of its head cls"),
        ("W", {"head_scores": None}, "W.npz: its head_scores are missing or damaged"),
        ("W", {"nan": True}, "W.npz: holds a score that is not a number"),
    ],
)
def test_damaged_head_scores_are_refused_by_name(tmp_path, name, spoil, says):
    good = {"cls": (PERFECT, PERFECT), "align0": (PERFECT, PERFECT)}
    with_heads(tmp_path / "r", val=good, W=good)
    path = tmp_path / "r" / "scores" / f"{name}.npz"
    with np.load(path) as f:
        arrays = dict(f)
    if spoil.pop("nan", False):
        arrays["head_scores"][0, 1, 3] = np.nan
    arrays = {k: v for k, v in (arrays | spoil).items() if v is not None}
    np.savez(path, **arrays)
    finish(tmp_path / "r")
    with pytest.raises(BadInput, match=re.escape(says)):
        cells.cells({0: {"": cells.read_run(tmp_path / "r", ["W"])}}, [of(Place("", ("W",)))], False, RULES, KINDS)


def test_what_mmda_writes_is_what_the_tables_read(tmp_path, monkeypatch):
    threads = torch.get_num_threads()
    for module in (program, clip_classifier):
        monkeypatch.setattr(module, "load_clip", lambda *_: tiny_clip())
    index = write_index(tmp_path / "data", subjects=6, frames=1)
    common = {"index": index, "cache_dir": tmp_path / "cache", "image_size": SIDE, "batch_size": 8, "device": "cpu"}
    common |= {"sources": "CS", "targets": "W", "missing": ("D", "DI"), "clip": "phantom", "score_tests": "every"}
    try:
        program.train(program.Options(run_dir=tmp_path / "m", **common, epochs=2, learning_rate=1e-3, layers=1))
        train(clip_zero_shot.Method, clip_zero_shot.Options(run_dir=tmp_path / "z", **common))
    finally:
        torch.use_deterministic_algorithms(False)
        torch.set_num_threads(threads)
    sets = ["W", "W-D", "W-DI"]
    runs = {name: cells.read_run(tmp_path / name, sets) for name in "mz"}
    assert (runs["m"].heads, runs["z"].heads) == (("cls", "align0", "align1", "align2"), ())
    columns = [of(Place("", (name,)), name=name) for name in sets]
    columns.append(of(*(Place("", (name,)) for name in sets), name="mean"))
    for name, run in runs.items():
        out = cells.cells({0: {"": run}}, columns, True, RULES, KINDS)
        lines = [json.loads(line) for line in (tmp_path / name / "metrics.jsonl").read_text().splitlines()]
        said = lines[run.chosen_epoch]["sets"]
        for s in sets:
            cell = out["source_val", s, "hter:source_val"]
            assert cell.mean == pytest.approx(100 * said[s]["hter_source_val"])
            assert cell.epochs == (run.chosen_epoch,)
            assert out["source_val", s, "hter:target"].mean == pytest.approx(100 * said[s]["eer"])
            assert out["released", s, "auc"].mean >= out["last", s, "auc"].mean
        assert cell.ci[0] <= cell.ci[1]


# ------------------------------------------------------------------------------------------------- the findings

PROFILE = load_profile("cpu")


def gathered(table, build, scores, seeds=1, failed=()):
    """The results of `scores(job)`: (epochs of val, epochs of the test sets, heads or None) of every run."""
    jobs = plan.plan(table, PROFILE, seeds, build / "i" / "index.csv", "f" * 64, build / "runs", "cpu")
    for job in jobs:
        if job.title in failed:
            continue
        part = next(p for p in table.parts if p.name == job.part)
        by_head = scores(job)
        names = ("val", *part.sets)
        heads = {n: {h: np.array(s[n != "val"]) for h, s in by_head.items()} for n in names}
        sets = {n: (h["cls"], LIVE, FAMILY, SUBJECT) for n, h in heads.items()}
        write_run(job.folder, range(2), sets, heads=heads if len(by_head) > 1 else None)
    return gather(table, PROFILE, seeds, "mine", False, "f" * 64, jobs, [], False, "mmdg", "openai")


def test_the_gap_goes_from_honest_to_published_in_steps(tmp_path):
    shifted = (4.2, 4.4, 4.6, 4.8, 1, 2, 3, 4)  # separates, but below the source's threshold

    def scores(job):
        # Epoch 0 is best on val; there cls separates only at a threshold of its own; align0 is no better; at epoch 1
        # align0 inverts. The best on the test set is cls at epoch 0 with its own threshold: HTER 0, AUC 100.
        seed = ONE_WRONG if job.seed else shifted
        return {"cls": ((PERFECT, ONE_WRONG), (seed, INVERTED)), "align0": ((PERFECT, PERFECT), (INVERTED, PERFECT))}

    results = gathered(mmda.TABLE_5, tmp_path, scores, seeds=2)
    (section,) = findings.sections(results)
    assert section.title == "What choosing on the test set is worth"
    assert len(section.rows) == 3
    label, column, own, target, best, gap, auc, best_auc, auc_gap = section.rows[0]
    assert (label, column) == ("Vanilla alignment", "PSW→C")
    # Seed 0: every bona fide is below the source's threshold (50), none at the own; seed 1: 25 at both.
    assert own == "37.50 ± 17.68"
    assert target == "12.50 ± 17.68"
    assert best == "0.00 ± 0.00"
    assert gap == "−37.50 ± 17.68"  # −50 and −25
    assert (auc, best_auc) == ("96.88 ± 4.42", "100.00 ± 0.00")
    assert auc_gap == "+3.12 ± 4.42"
    assert "Vanilla alignment, PSW→C: HTER −37.50 ± 17.68, AUC +3.12 ± 4.42 points." in section.sentences
    # Without runs there is nothing to say.
    every = {f"{row.name} PSW-C seed 0" for row in mmda.TABLE_5.rows}
    assert findings.sections(gathered(mmda.TABLE_5, tmp_path / "none", scores, failed=every)) == []


def test_a_resampled_gap_is_that_of_a_set_which_repeats_its_subjects(tmp_path):
    """Each resample is written out, sample by sample, and judged by the metrics themselves."""
    tied = (4, 6, 7, 8, 1, 2, 3, 4)
    runs = {
        part: with_heads(
            tmp_path / part,
            val={"cls": (ONE_WRONG, PERFECT), "align0": (PERFECT, PERFECT)},
            **{name: {"cls": (first, ONE_WRONG), "align0": (second, first)}},
        )
        for part, name, first, second in (
            ("a", "W", INVERTED, (0, 6, 7, 8, 1, 2, 3, 4)),  # as often wrong as ONE_WRONG, but further
            ("b", "S", (5, 2, 7, 3, 1, 6, 4, 8), tied),
        )
    }
    column = of(Place("a", ("W",)), Place("b", ("S",)))
    found = gaps.resampled_gaps({0: runs}, column, KINDS)
    subjects, bonafide = np.array(SUBJECT), np.array(LIVE, bool)
    threshold = metrics.eer(np.array(PERFECT, float), bonafide)[1]  # of cls at epoch 1, which validation chooses
    expected = {"hter": [], "auc": []}
    drawn = {name: bootstrap.draw(subjects, bonafide, name)[0] for name in ("W", "S")}
    names = np.unique(SUBJECT)
    for r in range(40):
        parts = {"hter": [], "auc": []}
        for part, name in (("a", "W"), ("b", "S")):
            run = runs[part]
            places = [i for i, s in enumerate(SUBJECT) for _ in range(drawn[name][r, list(names).index(s)])]
            live, outputs = bonafide[places], run.outputs((name,))
            pairs = [
                (
                    100 * metrics.eer(scores[e][places].astype(float), live)[0],
                    -100 * metrics.auc(scores[e][places], live),
                )
                for scores in outputs.values()
                for e in range(2)
            ]
            hter, auc = min(pairs)
            own = outputs["cls"][1][places]
            parts["hter"].append(hter - 100 * metrics.hter(own, live, threshold))
            parts["auc"].append(-auc - 100 * metrics.auc(own, live))
        for metric in expected:
            expected[metric].append(np.mean(parts[metric]))
    for metric, values in expected.items():
        np.testing.assert_allclose(found[metric][:40], values, atol=1e-9)
        assert len(found[metric]) == bootstrap.RESAMPLES


def test_a_gap_beyond_the_mean_of_all_rows_is_named(tmp_path):
    results = gathered(mmda.TABLE_5, tmp_path, lambda job: {"cls": ((PERFECT, PERFECT), (PERFECT, PERFECT))})
    assert len(findings.sections(results)) == 1  # intervals were not asked for
    noise = np.linspace(-1.0, 1.0, bootstrap.RESAMPLES)
    told = [{"hter": noise - far, "auc": -noise} for far in (0.0, 0.0, 9.0)]
    rows = tuple(replace(row, gaps=of_row) for row, of_row in zip(results.rows, told, strict=True))
    section = findings.sections(replace(results, rows=rows))[1]
    assert section.title == "Does choosing on the test set favour some methods?"
    assert section.rows[2][:4] == ("RS2 alignment", "2", "−9.00 [−9.95, −8.05]", "−6.00 [−6.00, −6.00]")
    assert section.rows[0][2:] == (
        "+0.00 [−0.95, +0.95]",
        "+3.00 [+3.00, +3.00]",
        "+0.00 [−0.95, +0.95]",
        section.rows[0][-1],
    )
    named = "Vanilla alignment (HTER, +3.00), Smooth alignment (HTER, +3.00), RS2 alignment (HTER, −6.00)"
    assert section.sentences[1].endswith(f"leaves out 0 for: {named}.")
    alike = tuple(replace(row, gaps=told[0]) for row in results.rows)
    assert findings.sections(replace(results, rows=alike))[1].sentences[1] == (
        "No row's gap differs from the mean gap beyond its interval."
    )
    alone = (replace(results.rows[0], gaps=told[0]), *results.rows[1:])
    assert len(findings.sections(replace(results, rows=alone))) == 1


@pytest.mark.parametrize(
    ("values", "baseline", "mean", "sd", "verdict"),
    [
        ([12.0], [10.0], 2.0, None, "not decided"),
        ([90.0, 90.0], [10.0, 10.0], 80.0, 0.0, "not decided"),  # however large: two seeds
        # Both SDs are 1, and so is the pooled one: beyond means more than 2.
        ([12.0, 13.0, 14.0], [10.0, 11.0, 12.0], 2.0, 0.0, "within seed noise"),
        ([12.1, 13.1, 14.1], [10.0, 11.0, 12.0], 2.1, 0.0, "beyond seed noise"),
        ([7.9, 8.9, 9.9], [10.0, 11.0, 12.0], -2.1, 0.0, "beyond seed noise"),
        # SDs 0 and 2: pooled sqrt(2); |2.8| is within 2 sqrt(2) = 2.83, |2.9| is not.
        ([10.0, 10.0, 10.0], [5.2, 7.2, 9.2], 2.8, 2.0, "within seed noise"),
        ([10.0, 10.0, 10.0], [5.1, 7.1, 9.1], 2.9, 2.0, "beyond seed noise"),
        ([10.0, 10.0, 10.0], [10.0, 10.0, 10.0], 0.0, 0.0, "within seed noise"),
    ],
)
def test_the_verdict_on_a_difference(values, baseline, mean, sd, verdict):
    found = findings.difference(values, baseline)
    assert found.mean == pytest.approx(mean)
    assert found.sd == (None if sd is None else pytest.approx(sd))
    assert (found.n, found.verdict) == (len(values), verdict)


def test_readings_are_compared_seed_by_seed_where_both_were_run(tmp_path):
    better = {0: PERFECT, 1: ONE_WRONG, 2: PERFECT}

    def scores(job):
        test = better[job.seed] if job.row.name == "mmfas" else ONE_WRONG
        return {"cls": ((PERFECT, PERFECT), (test, test))}

    failed = {"a2_mean seed 0", "mmfas seed 2", *(f"a3_raw seed {i}" for i in range(3))}
    results = gathered(mmfas.READINGS, tmp_path, scores, seeds=3, failed=failed)
    found = findings.differences(results, results.row("a2_mean"))  # only seed 1 has both
    assert (found["hter:source_val"].mean, found["hter:source_val"].n) == (0, 1)
    found = findings.differences(results, results.row("a5_exp"))  # seeds 0 and 1
    assert found["hter:source_val"].n == 2
    assert found["hter:source_val"].mean == pytest.approx((25 + 0) / 2)
    assert found["hter:source_val"].verdict == "not decided"
    assert findings.differences(results, results.row("a3_raw")) == {}
    (section,) = findings.sections(results)
    rows = {row[0]: row[1:] for row in section.rows}
    assert "default" not in rows
    assert rows["A5: logarithm of the temperature"][:2] == ("+12.50 ± 17.68 (2)", "not decided")
    assert len(section.head) == 1 + 4
    assert "2 × the pooled standard deviation" in " ".join(section.sentences)
