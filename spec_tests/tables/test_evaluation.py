"""`python -m paper_tables evaluate`: what files say, what is asked for, what each form shows, and every refusal."""

import html
import json
import os
import re
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from data_manifests.errors import BadInput
from paper_tables.__main__ import main as entrance
from paper_tables.evaluation import command, csv_file, forms, wording
from paper_tables.evaluation.curves import curve
from paper_tables.evaluation.evaluation import evaluate
from paper_tables.evaluation.meaning import understood
from paper_tables.evaluation.samples import Samples
from paper_tables.numbers import cells
from reference import metrics
from reference.sources import ROOT
from spec_tests.support.fake_runs import write_run
from spec_tests.support.markup import Checker, balanced
from spec_tests.support.score_files import STATED, arrays, rows, write_csv, write_npz

FAST = ["--replicates", "100"]


def run(*words):
    """The evaluation of a command line, without its files."""
    given = command.arguments([str(word) for word in words])
    asked = command.stated(given)
    files = [command.read(path, dict(asked.columns)) for path in given.scores]
    return evaluate(understood(files, asked), asked, "evaluate …")


def numbers(evaluation):
    return [
        (r.name, m, key, f.value, f.interval) for r in evaluation.sets for m, of in r.figures.items()
        for key, f in of.items()
    ]  # fmt: skip


def value(evaluation, key, method="ours", name="A"):
    (result,) = (r for r in evaluation.sets if r.name == name)
    return result.figures[method][key].value


def split(samples, **said):
    return [s for s in samples if all(s[key] == word for key, word in said.items())]


def scores(samples):
    return np.array([s["score"] for s in samples]), np.array([s["label"] == "live" for s in samples])


@pytest.fixture(scope="module")
def both():
    return rows(methods=("ours", "theirs"), sets=("A", "B"))


@pytest.fixture
def file(tmp_path, both):
    return write_csv(tmp_path / "scores.csv", both)


# --------------------------------------------------------------------------------------------------- numbers


def test_hter_is_taken_at_the_development_splits_threshold_and_beside_it_at_the_test_sets_own(file, both):
    found = run(file, *STATED, *FAST, "--development-sets", "own")
    for method in ("ours", "theirs"):
        for name in ("A", "B"):
            dev = scores(split(both, method=method, set=name, split="dev"))
            test = scores(split(both, method=method, set=name, split="test"))
            _, threshold = metrics.eer(*dev)
            assert value(found, "hter:development", method, name) == metrics.hter(*test, threshold)
            assert value(found, "eer", method, name) == metrics.eer(*test)[0]
            assert value(found, "auc", method, name) == metrics.auc(*test)
    assert [r.kind for r in found.sets] == ["subject", "subject"]
    assert found.sets[0].subjects == 20


def test_one_threshold_of_all_development_samples(file, both):
    found = run(file, *STATED, *FAST, "--development-sets", "all")
    _, threshold = metrics.eer(*scores(split(both, method="ours", split="dev")))
    assert value(found, "hter:development") == metrics.hter(
        *scores(split(both, method="ours", set="A", split="test")), threshold
    )


def test_averages_are_weighted_by_samples_and_plain(tmp_path):
    samples = rows(sets=("A",)) + rows(sets=("B",), subjects=60, gap=1.0)
    found = run(write_csv(tmp_path / "s.csv", samples), *STATED, *FAST, "--development-sets", "own")
    a, b = value(found, "hter:development"), value(found, "hter:development", name="B")
    assert found.averages["plain"]["ours"]["hter:development"].value == pytest.approx((a + b) / 2)
    assert found.averages["weighted"]["ours"]["hter:development"].value == pytest.approx((120 * a + 360 * b) / 480)
    plain = found.averages["plain"]["ours"]["hter:development"].interval
    single = found.sets[0].figures["ours"]["hter:development"].interval
    assert plain.high - plain.low < single.high - single.low


def test_a_method_that_lacks_a_set_has_no_average(tmp_path, both):
    samples = [s for s in both if (s["method"], s["set"]) != ("theirs", "B")]
    found = run(write_csv(tmp_path / "s.csv", samples), *STATED, *FAST, "--development-sets", "own")
    assert found.averages["plain"]["theirs"]["auc"].value == "not tested on B"
    assert isinstance(found.averages["plain"]["ours"]["auc"].value, float)
    assert "theirs" not in found.sets[1].figures


def test_scores_that_grow_with_attacks_give_the_same_numbers(tmp_path, both):
    turned = [s | {"score": -s["score"]} for s in both]
    words = ["--bona-fide-label", "live", "--development", "dev", "--development-sets", "own", *FAST]
    straight = run(write_csv(tmp_path / "s.csv", both), "--higher", "bona-fide", *words)
    found = run(write_csv(tmp_path / "t.csv", turned), "--higher", "attack", *words)
    assert numbers(found) == numbers(straight)
    mixed = [s if s["method"] == "ours" else s | {"score": -s["score"]} for s in both]
    each = ["--higher", "bona-fide", "--higher", "theirs=attack", "--threshold", "0.7", "--threshold", "theirs=-0.7"]
    given = ["--higher", "bona-fide", "--threshold", "0.7"]
    assert numbers(run(write_csv(tmp_path / "m.csv", mixed), *each, *words)) == numbers(
        run(tmp_path / "s.csv", *given, *words)
    )
    sheet = wording.sheets(found)[-1]
    assert "score ≤" in sheet.rows[0][-1]


def test_csv_npz_and_any_order_of_labels_say_the_same(tmp_path, both, monkeypatch):
    words = [*STATED, *FAST, "--development-sets", "own"]
    expected = numbers(run(write_csv(tmp_path / "s.csv", both), *words))
    assert numbers(run(write_npz(tmp_path / "s.npz", both), *words)) == expected
    coded = [s | {"bonafide": s["label"] == "live"} for s in both]
    columns = [c for c in coded[0] if c != "label"]
    rest = ["--higher", "bona-fide", "--development", "dev", "--development-sets", "own", *FAST]
    assert numbers(run(write_npz(tmp_path / "b.npz", coded, columns), *rest)) == expected
    monkeypatch.setattr(csv_file, "_BLOCK", 7)
    assert numbers(run(tmp_path / "s.csv", *words)) == expected
    text = (tmp_path / "s.csv").read_text(encoding="utf-8")
    (tmp_path / "bom.csv").write_text("\ufeff" + text + "\n\n", encoding="utf-8")
    assert numbers(run(tmp_path / "bom.csv", *words)) == expected


def test_parquet_says_the_same(tmp_path, both):
    pyarrow = pytest.importorskip("pyarrow", reason="pyarrow, an optional extra, is not installed")
    from pyarrow import parquet

    parquet.write_table(pyarrow.table(arrays(both)), tmp_path / "s.parquet")
    words = [*STATED, *FAST, "--development-sets", "own"]
    assert numbers(run(tmp_path / "s.parquet", *words)) == numbers(run(write_csv(tmp_path / "s.csv", both), *words))


def test_parquet_without_pyarrow_is_refused_with_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    (tmp_path / "s.parquet").write_bytes(b"PAR1")
    with pytest.raises(BadInput, match="pip install pyarrow"):
        run(tmp_path / "s.parquet", *STATED)


def test_columns_have_other_names(tmp_path, both):
    other = [{("liveness" if k == "score" else k): v for k, v in s.items()} for s in both]
    words = [*STATED, *FAST, "--development-sets", "own"]
    found = run(write_csv(tmp_path / "o.csv", other), *words, "--column", "score=liveness")
    assert numbers(found) == numbers(run(write_csv(tmp_path / "s.csv", both), *words))


def test_files_are_methods_or_parts_as_is_said(tmp_path, both):
    paths = []
    columns = [c for c in both[0] if c != "method"]
    for name in ("ours", "theirs"):
        paths.append(write_csv(tmp_path / f"{name}.csv", split(both, method=name), columns))
    words = [*STATED, *FAST, "--development-sets", "own"]
    expected = numbers(run(write_csv(tmp_path / "s.csv", both), *words))
    assert numbers(run(*paths, *words, "--files", "methods")) == expected
    with pytest.raises(BadInput, match=r"--files methods .* or --files parts .* scores -?\d"):
        run(*paths, *words)
    parts = [
        write_csv(tmp_path / f"{s}.csv", split(both, method="ours", set="A", split=s), columns) for s in ("dev", "test")
    ]
    found = run(*parts, *STATED, *FAST, "--files", "parts")
    assert found.methods == ["dev"]
    assert value(found, "hter:development", "dev") == next(v for n, m, k, v, _ in expected if k == "hter:development")


def test_without_subjects_samples_are_resampled_and_it_is_said(tmp_path, both):
    some = [s | {"subject": "" if i == 250 else s["subject"]} for i, s in enumerate(split(both, set="A"))]
    found = run(write_csv(tmp_path / "s.csv", some), *STATED, *FAST)
    assert found.sets[0].kind == "sample"
    assert any("Samples are resampled on set A" in s for s in wording.sentences(found))
    bare = [c for c in both[0] if c not in ("subject", "sample_id")]
    plain = run(write_csv(tmp_path / "b.csv", some, bare), *STATED, *FAST)
    assert plain.sets[0].kind == "row"
    assert plain.differences[0].figures == "no sample_id says which samples are the same"
    assert plain.sets[0].figures["ours"]["auc"].interval.low > 0.5


def test_seeds_are_averaged_with_their_deviation(tmp_path):
    samples = [s | {"seed": n} for n in range(3) for s in rows(seed=0, gap=1.5 + n / 4)]
    found = run(write_csv(tmp_path / "s.csv", samples), *STATED, *FAST)
    each = []
    for n in range(3):
        of_seed = split(samples, seed=n)
        threshold = metrics.eer(*scores(split(of_seed, split="dev")))[1]
        each.append(metrics.hter(*scores(split(of_seed, split="test")), threshold))
    figure = found.sets[0].figures["ours"]["hter:development"]
    assert figure.value == pytest.approx(np.mean(each))
    assert figure.sd == pytest.approx(np.std(each, ddof=1))
    assert figure.n == 3
    assert figure.interval.low < figure.value < figure.interval.high
    assert any("ours n = 3" in s for s in wording.sentences(found))
    untied = [c for c in samples[0] if c not in ("subject", "sample_id")]
    bare = run(write_csv(tmp_path / "b.csv", samples, untied), *STATED, *FAST)
    assert "of the seeds are the same" in bare.sets[0].figures["ours"]["auc"].interval


def test_the_epoch_is_stated_and_the_test_set_chooses_none(tmp_path):
    samples = [s | {"epoch": n} for n, gap in ((2, 1.0), (10, 2.5), (9, 2.5), (11, 0.5)) for s in rows(gap=gap)]
    samples = [s | {"score": s["score"] + (20.0 if s["epoch"] == 2 and s["split"] == "test" and s["label"] == "live"
                                           else 0)} for s in samples]  # fmt: skip
    path = write_csv(tmp_path / "s.csv", samples)
    with pytest.raises(BadInput, match=r"4 epochs \(2, 10, 9, 11\).*--epoch last, --epoch development"):
        run(path, *STATED, *FAST)
    for said, epoch in (("last", "11"), ("development", "9"), ("2", "2")):
        found = run(path, *STATED, *FAST, "--epoch", said)
        assert found.runs[0].epoch == epoch
        assert value(found, "auc") == metrics.auc(*scores(split(samples, split="test", epoch=int(epoch))))
    with pytest.raises(BadInput, match="--epoch 7: ours has the epochs 2, 10, 9, 11"):
        run(path, *STATED, "--epoch", "7")
    test = write_csv(tmp_path / "t.csv", split(samples, split="test"))
    with pytest.raises(BadInput, match="no development split to choose by"):
        run(test, "--bona-fide-label", "live", "--higher", "bona-fide", "--epoch", "development")


def test_a_run_of_ours_is_judged_as_our_tables_judge_it(tmp_path):
    generator = np.random.default_rng(5)
    live = np.arange(40) % 2 == 0
    family = np.where(live, "", np.where(np.arange(40) % 4 == 1, "print", "replay"))

    def of_set():
        return (live * 1.5 + generator.normal(size=(3, 40))).astype(np.float32), live, family, np.arange(40) // 4

    folder = tmp_path / "mmfas-0"
    write_run(folder, [0, 1, 2], {name: of_set() for name in ("val", "W", "S")}, {"method": "mmfas", "seed": 0})
    found = run(folder, *FAST, "--epoch", "development")
    assert any("whether their faces are phantom stand-ins" in s for s in wording.warnings(found))
    judged = cells.read_run(folder, ["W", "S"])
    assert found.runs[0].epoch == str(judged.chosen_epoch + 1)
    (record,) = (r for r in cells.evaluate(judged, [("W",), ("S",)]) if r.epoch == judged.chosen_epoch)
    for name in ("W", "S"):
        of_set_ = record.targets[name]
        assert 100 * value(found, "hter:development", "mmfas", name) == pytest.approx(of_set_["hter:source_val"])
        assert 100 * value(found, "eer", "mmfas", name) == pytest.approx(of_set_["hter:target"])
        assert 100 * value(found, "auc", "mmfas", name) == pytest.approx(of_set_["auc"])
        of_cells = of_set_["apcer_max:source_dev@EER"]
        assert 100 * value(found, "apcer_max:development", "mmfas", name) == pytest.approx(of_cells)
    theirs = rows(methods=("theirs",), sets=("W",))
    beside = run(folder, write_csv(tmp_path / "t.csv", theirs), *STATED, *FAST, "--epoch", "last")
    assert beside.methods == ["mmfas", "theirs"]
    with pytest.raises(BadInput, match="is a file of a run of this project; name the run's folder"):
        run(folder / "scores" / "W.npz", *STATED)
    same_name = write_csv(tmp_path / "same.csv", rows(methods=("mmfas",), sets=("W",)))
    with pytest.raises(BadInput, match="a run folder has a method mmfas too"):
        run(folder, same_name, *STATED, "--epoch", "last")


def test_a_run_that_carries_its_threshold_is_judged_at_it_too(tmp_path):
    live = np.arange(40) % 2 == 0
    family = np.where(live, "", "print")
    sets = {name: (np.linspace(0, 1, 40)[None], live, family, np.arange(40) // 4) for name in ("val", "W")}
    write_run(tmp_path / "coin", [0], sets, {"method": "coin", "fixed_threshold": 0.25})
    found = run(tmp_path / "coin", *FAST)
    assert value(found, "hter:given", "coin", "W") == metrics.hter(np.linspace(0, 1, 40).astype(np.float32), live, 0.25)


def test_a_threshold_of_one_method_is_none_of_the_other(file):
    found = run(file, *STATED, *FAST, "--development-sets", "own", "--threshold", "ours=0.7")
    assert isinstance(value(found, "hter:given"), float)
    assert value(found, "hter:given", "theirs") == "no threshold was given"
    assert found.averages["plain"]["theirs"]["hter:given"].value == "A: no threshold was given"
    assert found.differences[0].figures["hter:given"].value == "no threshold was given"


# ----------------------------------------------------------------------------------------------- differences


def test_methods_are_compared_on_the_samples_that_both_have(tmp_path, both):
    samples = split(both, set="A", split="test")
    ours = split(samples, method="ours")
    theirs = list(reversed(split(samples, method="theirs")))[10:]
    words = ["--bona-fide-label", "live", "--higher", "bona-fide", *FAST]
    found = run(write_csv(tmp_path / "s.csv", [*ours, *theirs]), *words)
    (difference,) = found.differences
    assert (difference.samples, difference.left_out) == (len(theirs), 10)
    shared = {s["sample_id"] for s in theirs}
    common = [s for s in ours if s["sample_id"] in shared]
    expected = metrics.auc(*scores(common)) - metrics.auc(*scores(theirs))
    assert difference.figures["auc"].value == pytest.approx(expected)
    assert value(found, "auc") == metrics.auc(*scores(ours))
    whole = run(write_csv(tmp_path / "w.csv", samples), *words).differences[0]
    assert (whole.samples, whole.left_out) == (len(ours), 0)


def test_a_difference_is_narrower_than_of_strangers_and_none_of_a_method_and_itself(tmp_path, both):
    samples = split(both, set="A", split="test")
    twin = [s | {"method": "twin"} for s in split(samples, method="ours")]
    words = ["--bona-fide-label", "live", "--higher", "bona-fide", *FAST]
    found = run(write_csv(tmp_path / "s.csv", [*samples, *twin]), *words)
    first, second = (d.figures["auc"] for d in found.differences[:2])
    of_one = found.sets[0].figures["ours"]["auc"].interval
    assert first.interval.high - first.interval.low < of_one.high - of_one.low
    assert second.value == 0
    assert second.interval.exact
    assert second.interval.low == -second.interval.high < 0
    assert any("3 pairs" in s for s in wording.sheets(found)[1].sentences)


def test_a_sample_of_two_classes_is_refused(tmp_path, both):
    samples = split(both, set="A", split="test")
    wrong = [s | {"label": "spoof"} if i == 0 else s for i, s in enumerate(samples)]
    with pytest.raises(BadInput, match="ours and theirs: 1 samples of A are bona fide by one and attacks by the other"):
        run(write_csv(tmp_path / "s.csv", wrong), "--bona-fide-label", "live", "--higher", "bona-fide")


# ---------------------------------------------------------------------------------------- what is not known


def test_what_cannot_be_computed_says_what_is_missing(tmp_path):
    samples = split(rows(), split="test")
    live, attacks = split(samples, label="live"), split(samples, label="spoof")
    few = [*live, *(s | {"family": "mask"} for s in attacks[:3]), *attacks[3:]]
    columns = [c for c in few[0] if c != "split"]
    found = run(write_csv(tmp_path / "s.csv", few, columns), *SAID, *FAST)
    assert value(found, "hter:development") == "no development split"
    assert value(found, "bpcer_at_5:development") == "no development split"
    assert value(found, "apcer/mask:oracle") == "3 attacks of at least 10"
    assert value(found, "bpcer_at_1:oracle") == "60 attacks of at least 100"
    assert value(found, "bpcer_at_5_worst:oracle").startswith("mask: 3 attacks of at least 20")
    assert isinstance(value(found, "apcer_max:oracle"), float)
    assert "No development split was given" in forms.text(found)
    unnamed = [s | {"family": ""} if s["family"] == "mask" else s for s in few]
    found = run(write_csv(tmp_path / "u.csv", unnamed, columns), *SAID)
    assert value(found, "apcer_max:oracle") == "3 attacks have no family"
    assert value(found, "acer:oracle") == "3 attacks have no family"
    bare = [c for c in columns if c != "family"]
    found = run(write_csv(tmp_path / "b.csv", few, bare), *SAID)
    assert value(found, "apcer_max:oracle") == "no family is known"


def test_what_makes_numbers_doubtful_is_said(tmp_path, both):
    of_a = write_csv(tmp_path / "s.csv", split(both, set="A"))
    inverted = run(of_a, "--bona-fide-label", "live", "--higher", "attack", "--development", "dev", *FAST)
    said = wording.warnings(inverted)
    assert any("lie below the attacks'" in s and "--higher ours=bona-fide" in s for s in said)
    alike = {"sample_id": lambda s: s["sample_id"].replace("dev", "test"), "subject": lambda s: s["subject"][-1]}
    one_name = [s | {name: of(s) for name, of in alike.items()} | {"extra": 1} for s in both]
    found = run(write_csv(tmp_path / "o.csv", split(one_name, set="A")), *STATED, *FAST)
    said = " ".join(wording.warnings(found))
    assert "120 sample ids of ours" in said
    assert "10 subjects of ours are in its development split and in its test split" in said
    assert "nothing here asks for: extra" in said


def test_no_intervals_where_none_are_asked_for(file):
    found = run(file, *STATED, "--development-sets", "own", "--replicates", "0")
    assert "[" not in wording.sheets(found)[0].rows[0][1]
    assert any("--replicates 0" in s for s in wording.sentences(found))


# ------------------------------------------------------------------------------------------------- refusals

LIVE = {"sample_id": "a", "score": "0.9", "label": "live"}
SPOOF = {"sample_id": "b", "score": "0.1", "label": "spoof"}
SAID = ["--bona-fide-label", "live", "--higher", "bona-fide"]


@pytest.mark.parametrize(
    ("samples", "words", "says"),
    [
        ([LIVE, SPOOF | {"score": "nan"}], SAID, r"line 3: the score is NaN; give"),
        ([LIVE, SPOOF | {"score": "inf"}], SAID, r"line 3: the score is infinite; give"),
        ([LIVE, SPOOF | {"score": "high"}], SAID, r"line 3: the score 'high' is no number"),
        ([LIVE, SPOOF | {"score": ""}], SAID, r"line 3: has no score"),
        ([LIVE, LIVE | {"sample_id": "b"}], SAID, r"the test split of \w+ holds bona fide alone \(2 samples\)"),
        ([SPOOF, SPOOF | {"sample_id": "a"}], ["--attack-label", "spoof", *SAID[2:]], r"holds attacks alone"),
        ([LIVE, SPOOF | {"sample_id": "a"}], SAID, r"line 3: has the sample_id of .*line 2"),
        ([LIVE, SPOOF], SAID[2:], r"labels are 'live' \(1, median score 0.9\), 'spoof'.*--bona-fide-label NAME"),
        ([LIVE, SPOOF, SPOOF | {"label": "odd"}], SAID, r"'odd'.*--attack-label NAME, once for each"),
        ([LIVE, SPOOF], [*SAID, "--attack-label", "live"], r"--bona-fide-label live: is an --attack-label too"),
        ([LIVE, SPOOF | {"label": ""}], SAID, r"line 3: its label is empty"),
        ([LIVE, SPOOF | {"label": "Live"}], SAID, r"line 3: label is 'Live', and elsewhere 'live'"),
        ([LIVE, SPOOF | {"label": "a\x1bb"}], SAID, r"line 3: label holds a control character"),
        ([LIVE, SPOOF], SAID[:2], r"--higher bona-fide .*or --higher attack \(.*100.00 % under bona-fide and 0.00 %"),
        ([LIVE, SPOOF], [*SAID, "--higher", "x=attack"], r"--higher x=…: no such method; there are s"),
        ([LIVE, SPOOF], [*SAID[:2], "--higher", "up"], r"--higher up: give bona-fide or attack"),
        ([LIVE, SPOOF], [*SAID, "--higher", "attack"], r"--higher attack: is given twice; give it once"),
        ([LIVE, SPOOF], [*SAID, "--threshold", "nan"], r"--threshold nan: give a finite number"),
        ([LIVE, SPOOF], [*SAID, "--column", "scores=x"], r"--column scores=…: give NAME=COLUMN"),
        ([LIVE, SPOOF], [*SAID, "--column", "score=x"], r"has no column x, which --column score=x names"),
        ([LIVE, SPOOF], [*SAID, "--replicates", "7"], r"--replicates 7: give at least 100"),
        ([LIVE, SPOOF], [*SAID, "--development", "dev"], r"--development dev: .* has no column split"),
        ([{"score": 1}, {"score": 2}], SAID, r"neither a column label nor bonafide"),
        ([{"value": 1, "label": "live"}], SAID, r"no column score; name the one .*'value', 'label'"),
        ([{"score": 1, "bonafide": "yes"}], SAID, r"line 2: bonafide is 'yes'; write 1 or true"),
        ([LIVE | {"split": "train"}, SPOOF | {"split": "test"}], SAID, r"'train' \(1\).*--leave-out NAME"),
        ([LIVE | {"split": "Test"}, SPOOF | {"split": "test"}], SAID, r"split is 'test', and elsewhere 'Test'"),
        ([LIVE | {"split": "dev"}, SPOOF | {"split": "devel"}], [*SAID, "--development", "dev"],
         r"'dev' \(1\), 'devel' \(1\); nothing says what 'devel' is for: .*several names may be one split"),
        ([LIVE | {"split": "dev"}, SPOOF | {"split": "test"}], [*SAID, "--development", "val"],
         r"--development val: no sample is of this split; there are 'dev' \(1\), 'test' \(1\)"),
        ([LIVE | {"split": "dev"}], [*SAID, "--development", "dev", "--leave-out", "dev"], r"is --development too"),
        ([LIVE | {"split": "dev"}], [*SAID, "--development", "dev"], r"no sample is of the test split"),
    ],
)  # fmt: skip
def test_unusable_input_is_refused_in_one_sentence(tmp_path, samples, words, says):
    path = write_csv(tmp_path / "s.csv", samples)
    with pytest.raises(BadInput, match=says) as refused:
        run(path, *words)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "is empty; name a file with scores"),
        ("\n", "is empty; begin with a line of column names"),
        ("score,label\n", "holds column names and no sample"),
        ("score;label\n1;live\n", "separated by semicolons; save it with commas"),
        ("score\tlabel\n1\tlive\n", "separated by tabs"),
        ("score,label\n1,live\n2,spoof,3\n", "line 3: has 3 fields, and line 1 has 2"),
        ("score,label\n1,live\n2\n", "line 3: has 1 fields"),
        ("score,label\n1,live\n\n2,spoof\n", "line 3: is empty; leave empty lines out"),
        ('score,label\n1,"li\nve"\n2,spoof\n', "holds a line break; write it in one line"),
        ('score,label\n1,"live\n2,spoof\n', "is not CSV"),
        ("score,score,label\n1,1,live\n", "has two columns score"),
    ],
)
def test_a_malformed_csv_file_is_refused(tmp_path, text, says):
    (tmp_path / "s.csv").write_text(text)
    with pytest.raises(BadInput, match=says):
        run(tmp_path / "s.csv", *SAID)


def test_an_empty_line_between_blocks_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(csv_file, "_BLOCK", 2)
    (tmp_path / "s.csv").write_text("score,label\n1,live\n\n2,spoof\n")
    with pytest.raises(BadInput, match=r"line 3: is empty|the line before it is empty"):
        run(tmp_path / "s.csv", *SAID)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (
            {"score": np.arange(3.0), "label": np.array(["live", "spoof"])},
            r"score has 3 values and label is of shape \(2,\)",
        ),
        (
            {"score": np.ones((2, 2)), "label": np.array(["a", "b"])},
            r"score is of shape \(2, 2\); give one score a sample",
        ),
        ({"score": np.array(["1", "2"]), "label": np.array(["a", "b"])}, "score holds <U1, not numbers"),
        ({"score": np.arange(2.0), "label": np.array([0.5, 1.5])}, "label holds float64; write it as text"),
        ({"score": np.array([]), "label": np.array([], "U1")}, "holds no sample"),
        ({"score": np.array([1.0, np.nan]), "label": np.array(["live", "spoof"])}, "position 1: the score is NaN"),
        ({"score": np.arange(2.0), "label": np.array(["a", None])}, "array label cannot be read"),
    ],
)
def test_a_malformed_npz_file_is_refused(tmp_path, content, says):
    np.savez(tmp_path / "s.npz", **content)
    with pytest.raises(BadInput, match=says):
        run(tmp_path / "s.npz", *SAID)


def test_what_is_no_score_file_is_refused(tmp_path, file):
    for path, says in (
        (tmp_path, "folder without args.json"),
        (tmp_path / "none.csv", "does not exist"),
        (write_csv(tmp_path / "s.txt", [LIVE]), "ends in none of .csv, .npz, .parquet"),
    ):
        with pytest.raises(BadInput, match=says):
            run(path, *SAID)
    (tmp_path / "x.npz").write_bytes(b"no archive")
    with pytest.raises(BadInput, match=r"is no sound \.npz file"):
        run(tmp_path / "x.npz", *SAID)
    np.save(tmp_path / "y.npy", np.arange(3))
    (tmp_path / "y.npy").rename(tmp_path / "y.npz")
    with pytest.raises(BadInput, match="holds one array, not an archive"):
        run(tmp_path / "y.npz", *SAID)
    (tmp_path / "latin.csv").write_bytes("score,label\n1,é\n".encode("latin-1"))
    with pytest.raises(BadInput, match="is not UTF-8 text"):
        run(tmp_path / "latin.csv", *SAID)
    with pytest.raises(BadInput, match="is named twice"):
        command.main([str(file), str(file), *STATED])


def test_files_of_one_method_on_two_scales_are_refused(tmp_path):
    samples = rows()
    logits = write_csv(tmp_path / "test.csv", split(samples, split="test"))
    percentages = write_csv(
        tmp_path / "dev.csv",
        [s | {"score": 100 / (1 + np.exp(-s["score"]))} for s in split(samples, split="dev")],
    )
    says = r"the scores of ours go from .*, those in .* from .* as if one were percentages and the other logits"
    with pytest.raises(BadInput, match=says):
        run(logits, percentages, *STATED)
    assert run(logits, percentages, *STATED, *FAST, "--same-scale").methods == ["ours"]
    positive = write_csv(tmp_path / "half.csv", [s | {"score": abs(s["score"])} for s in split(samples, split="dev")])
    assert run(logits, positive, *STATED, *FAST).methods == ["ours"]  # of another range, yet not of another scale


def test_one_bad_line_of_very_many_is_named(tmp_path):
    lines = ["score,label"] + ["0.5,live"] * 130_000 + ["0.5,spoof"] * 130_000
    lines[234_567] = "0.5x,spoof"
    (tmp_path / "s.csv").write_text("\n".join(lines) + "\n")
    with pytest.raises(BadInput, match=r"line 234568: the score '0\.5x' is no number"):
        run(tmp_path / "s.csv", *SAID)


def test_the_command_ends_with_a_sentence_and_writes_nothing(tmp_path, file):
    words = [sys.executable, "-m", "paper_tables", "evaluate", str(file), "--out", str(tmp_path / "out")]
    ended = subprocess.run(words, capture_output=True, text=True, cwd=ROOT, check=False)
    assert ended.returncode == 2
    assert ended.stderr.startswith(f"error: {file}: the labels are")
    assert ended.stdout == ""
    assert not (tmp_path / "out").exists()


# --------------------------------------------------------------------------------------------------- forms

ODD = "<b>&|*x_$y$\\{~#%^`](=1+1) --:a"


@pytest.fixture(scope="module")
def written(tmp_path_factory, both):
    folder = tmp_path_factory.mktemp("evaluation")
    named = [s | {"method": s["method"].replace("theirs", ODD)} for s in both]
    named = [s | {"family": s["family"] and ODD + s["family"], "set": s["set"].replace("B", ODD)} for s in named]
    path = write_csv(folder / "scores.csv", named)
    words = [str(path), *STATED, *FAST, "--development-sets", "own", "--out", str(folder / "out")]
    assert entrance(["evaluate", *words]) == 0
    return run(path, *STATED, *FAST, "--development-sets", "own"), folder / "out"


def test_every_form_shows_the_same_numbers(written):
    found, folder = written
    whole = json.loads((folder / "evaluation.json").read_text(encoding="utf-8"))
    shown = {}
    for ending in ("txt", "md", "tex", "html"):
        shown[ending] = (folder / f"evaluation.{ending}").read_text(encoding="utf-8")
    count = 0
    for result in whole["sets"]:
        for figures in result["methods"].values():
            for figure in figures.values():
                if "missing" in figure:
                    text = f"– ({figure['missing']})"
                else:
                    low, high = figure["ci95"]
                    text = f"{figure['value']:.2f} [{low:.2f}, {high:.2f}"
                count += 1
                for ending, content in shown.items():
                    assert shown_as(ending, text) in content, (ending, text)
    assert count == sum(len(figures) for result in found.sets for figures in result.figures.values())
    for difference in whole["differences"]:
        low, high = difference["figures"]["auc"]["ci95"]
        text = f"{difference['figures']['auc']['value']:.2f} [{low:.2f}, {high:.2f}]"
        assert all(text in content for content in shown.values())
    lines = {re.sub(r" {2,}", "  ", line.strip()) for line in shown["txt"].splitlines()}
    for sheet in wording.sheets(found):
        for row in sheet.rows:
            assert f"| {' | '.join(map(escaped, row))} |" in shown["md"]
            assert " & ".join(map(forms.tex_escape, row)) in shown["tex"]
            assert "".join(f"<td>{html.escape(cell)}</td>" for cell in row[1:]) in shown["html"]
            assert "  ".join(row) in lines
    for sentence in wording.sentences(replace(found, command=whole["command"])):
        assert sentence in shown["txt"]
        assert html.escape(sentence) in shown["html"]
        assert forms.tex_escape(sentence) in shown["tex"]


def shown_as(ending, text):
    return {"txt": str, "tex": forms.tex_escape, "md": escaped, "html": html.escape}[ending](text)


def escaped(cell):
    return forms.md_escape(cell).replace("|", "\\|")


def test_names_cannot_break_a_form(written):
    found, folder = written
    page = (folder / "evaluation.html").read_text(encoding="utf-8")
    checker = Checker()
    checker.feed(page)
    assert checker.open == []
    assert len(set(checker.ids)) == len(checker.ids)
    assert all(link.startswith(("#", "data:")) for link in checker.links)
    assert "<b>" not in page
    assert ODD in "".join(checker.text)
    tex = (folder / "evaluation.tex").read_text(encoding="utf-8")
    assert balanced(tex)
    assert forms.tex_escape(ODD) in tex
    assert ODD not in tex
    markdown = (folder / "evaluation.md").read_text(encoding="utf-8")
    for line in markdown.splitlines():
        if line.startswith("| "):
            heads = len(re.findall(r"(?<!\\)\|", line)) - 1
            assert heads in {len(sheet.head) for sheet in wording.sheets(found)}
        assert not re.search(r"(?<!\\)[<*`]", line)


def test_the_page_shows_both_kinds_of_curves_of_each_set(written):
    found, folder = written
    page = (folder / "evaluation.html").read_text(encoding="utf-8")
    assert page.count("DET curves</h3>") == page.count("FPR–FNR curves</h3>") == len(found.sets)
    assert page.count("<path") > 8 * len(found.sets)
    assert "NaN" not in page


def test_a_curve_is_of_rates_that_thresholds_give():
    generator = np.random.default_rng(0)
    live = np.arange(600) % 3 == 0
    samples = Samples(generator.normal(size=600) + live, live, np.full(600, -1), np.arange(600), None)
    fpr, fnr = curve([samples])
    every = [metrics.far_frr(samples.score, live, t) for t in [*samples.score, np.inf]]
    known = {(round(100 * far, 6), round(100 * frr, 6)) for far, frr in every}
    assert set(zip(fpr.round(6).tolist(), fnr.round(6).tolist(), strict=True)) <= known
    assert (fpr[0], fnr[-1]) == (0, 0)
    assert fpr.size > 150
    assert (np.diff(fpr) >= 0).all()
    assert (np.diff(fnr) <= 0).all()
    better = Samples(samples.score + live, live, samples.family, samples.subject, None)
    middle = (np.interp(10, fpr, fnr) + np.interp(10, *curve([better]))) / 2
    assert np.interp(10, *curve([samples, better])) == pytest.approx(middle, abs=2)


# ---------------------------------------------------------------------------------------------- its page


def test_the_example_of_the_page_runs_and_prints_what_the_page_shows(tmp_path):
    page = (ROOT / "paper_tables" / "evaluation" / "README.md").read_text(encoding="utf-8")
    blocks = dict(re.findall(r"```(bash|text)\n(.*?)```", page, flags=re.DOTALL))
    example = blocks["bash"].replace(".venv/bin/python", sys.executable)
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    words = ["bash", "-euc", example]
    ended = subprocess.run(words, capture_output=True, text=True, cwd=tmp_path, env=environment, check=True)
    printed = ended.stdout.splitlines()
    shown = [line for line in blocks["text"].splitlines() if line]
    assert len(shown) > 15
    for line in shown:
        assert line in printed
    assert sorted(path.suffix for path in (tmp_path / "build" / "evaluation").iterdir()) == [
        ".html", ".json", ".md", ".tex", ".txt",
    ]  # fmt: skip


def test_make_gives_the_command_what_its_variables_say():
    words = [
        "SCORES=a.csv b.npz",
        "HIGHER=attack",
        "DEVELOPMENT=dev",
        "TEST=test",
        "OPTIONS=--epoch last",
        "PYTHON=python3",
    ]
    make = ["make", "-n", "--no-print-directory", "evaluate"]  # within `make test` it would say where it is
    ended = subprocess.run([*make, *words], capture_output=True, text=True, cwd=ROOT, check=True)
    said = ended.stdout.replace("\\\n", " ").split()
    assert said == [
        *["python3", "-m", "paper_tables", "evaluate", "a.csv", "b.npz", "--higher", "attack", "--development", "dev"],
        *["--test", "test", "--epoch", "last"],
    ]


def test_every_option_stands_on_the_page():
    page = (ROOT / "paper_tables" / "evaluation" / "README.md").read_text(encoding="utf-8")
    given = vars(command.arguments(["scores.csv"]))
    assert len(given) > 12
    for option in given.keys() - {"scores"}:
        assert f"--{option.replace('_', '-')}" in page, option


def test_progress_counts_every_look_at_the_samples(tmp_path, both):
    asked = command.stated(command.arguments(["s.csv", *STATED, *FAST, "--development-sets", "own"]))
    pool = understood([command.read(write_csv(tmp_path / "s.csv", both), {})], asked)
    told = []
    evaluate(pool, asked, "", lambda done, total: told.append((done, total)))
    assert told[-1][0] == told[-1][1] > 4 * 100
    assert [done for done, _ in told] == sorted({done for done, _ in told})
