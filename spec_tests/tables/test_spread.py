"""What one run is worth: which draws are made, and what is said of rows that they move."""

import json
from dataclasses import replace

import numpy as np
import pytest

from data_manifests.errors import BadInput
from paper_tables import spread
from paper_tables.declarations import mmda
from paper_tables.declarations.profile import load as load_profile
from paper_tables.declarations.tables import TABLES
from paper_tables.numbers.results import gather
from paper_tables.planning import plan
from paper_tables.rendering import wording
from spec_tests.support.fake_runs import FAMILY, LIVE, SUBJECT, write_run

PROFILE = load_profile("cpu")
TABLE = mmda.TABLE_1
NAMES = ("mmda", "clip_zero_shot")
VAL = (5, 6, 7, 8, 1, 2, 3, 4)
# Scores of the test set whose HTER at the validation's threshold, 5, is 0, 12.5, 25 and 50 %.
WRONG = {0: VAL, 12.5: (4, 6, 7, 8, 1, 2, 3, 4), 25: (4, 6, 7, 8, 1, 2, 3, 5), 50: (4, 4, 4, 4, 1, 2, 3, 4)}


def results_of(build, clip, seeds, hters):
    """Table 1 with runs of two rows, whose HTER in every part is `hters[row, seed]`."""
    options = {"clip": clip}
    jobs = plan.plan(
        TABLE,
        PROFILE,
        seeds,
        build / "i" / "index.csv",
        "f" * 64,
        build / clip,
        "cpu",
        ("--protocol", "official"),
        options,
    )
    for job in jobs:
        if job.row.name not in NAMES:
            continue
        part = next(p for p in TABLE.parts if p.name == job.part)
        scores = np.array(WRONG[hters[job.row.name, job.seed]], float)
        sets = {name: ([scores if name != "val" else VAL], LIVE, FAMILY, SUBJECT) for name in ("val", *part.sets)}
        write_run(job.folder, [0], sets)
    return gather(TABLE, PROFILE, seeds, "mine", True, "f" * 64, jobs, [], False, "official", clip)


@pytest.fixture
def results(tmp_path):
    first = {("mmda", 0): 25, ("mmda", 1): 12.5, ("mmda", 2): 0, ("clip_zero_shot", 0): 50}
    return [
        results_of(tmp_path, "phantom", 3, first),
        results_of(tmp_path, "phantom/1", 1, {("mmda", 0): 12.5, ("clip_zero_shot", 0): 12.5}),
        results_of(tmp_path, "phantom/2", 1, {("mmda", 0): 25, ("clip_zero_shot", 0): 12.5}),
    ]


def test_values_are_those_of_either_kind_of_draw(results):
    assert spread.values_of(results, "mmda")["training"]["hter"] == [25, 12.5, 0]
    assert spread.values_of(results, "mmda")["standin"]["hter"] == [25, 12.5, 25]
    zero_shot = spread.values_of(results, "clip_zero_shot")
    assert zero_shot["training"]["hter"] == []  # it is not trained
    assert zero_shot["standin"]["hter"] == [50, 12.5, 12.5]


def test_an_order_is_told_with_either_kind_of_draw(results):
    rows = {name: spread.values_of(results, name) for name in NAMES}
    found = spread.orders(rows)["mmda", "clip_zero_shot", "hter"]
    # Against what does not move the mean difference is 37.5, more than twice the pooled spread of 12.5 and 0.
    assert (found["training"].mean, found["training"].n) == (-37.5, 3)
    assert found["training"].verdict == "beyond seed noise"
    assert found["standin"].mean == pytest.approx((-25 + 0 + 12.5) / 3)
    assert found["standin"].verdict == "within seed noise"


def test_the_file_and_the_lines_hold_what_was_found(results, tmp_path, monkeypatch, capsys):
    asked = []

    def measured(requests, console):
        asked.extend((r.clip, r.seeds, [row.name for row in r.rows], r.profile.name) for r in requests)
        return results

    monkeypatch.setattr(spread, "measure", measured)
    where = ["--build", str(tmp_path), "--out", str(tmp_path / "spread.json")]
    spread.main(["mmda-table1", "--methods", "mmda,clip_zero_shot", *where])
    assert [(clip, seeds, profile) for clip, seeds, _, profile in asked] == [
        ("phantom", 3, "cpu"), ("phantom/1", 1, "cpu"), ("phantom/2", 1, "cpu"),
    ]  # fmt: skip
    assert all(sorted(names) == sorted(NAMES) for _, _, names, _ in asked)
    found = json.loads((tmp_path / "spread.json").read_text())
    assert found["machine"] == {"cpu": "a CPU", "torch": "2.11", "kernels": "fastest"}
    assert (found["table"], found["column"], found["draws"]) == ("mmda-table1", "Average", 3)
    assert found["rows"]["mmda"]["training"]["hter"] == [25, 12.5, 0]
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("  mmda, seed of the training: HTER 12.50 ± 12.50 (3), AUC ") for line in lines)
    assert any(line.startswith("  clip_zero_shot, seed of the stand-in CLIP: HTER 25.00 ± 21.65 (3)") for line in lines)
    (order,) = [line for line in lines if line.startswith("  HTER of ")]
    assert "beyond seed noise (seed of the training)" in order
    assert "within seed noise (seed of the stand-in CLIP)" in order


def test_fewer_draws_than_a_verdict_takes_are_refused(tmp_path):
    with pytest.raises(BadInput, match=r"--seeds 2: .*give at least 3"):
        spread.main(["mmda-table1", "--methods", "mmda", "--seeds", "2", "--out", str(tmp_path / "x.json")])
    assert not list(tmp_path.iterdir())


def test_a_table_of_single_runs_says_what_one_is_worth(results, tmp_path, monkeypatch):
    file = tmp_path / "spread.json"
    file.write_text(json.dumps(spread.report(results, NAMES, {"cpu": "a CPU"})))
    monkeypatch.setattr(wording, "SPREAD", file)
    of_three, of_one = (wording.run_sentences(each) for each in results[:2])
    # HTERs 25, 12.5 and 0 over training, 25, 12.5 and 25 over stand-ins; the zero-shot row is not trained.
    (said,) = [sentence for sentence in of_one if sentence.startswith("What one run is worth")]
    assert "(a CPU; ± is the sample standard deviation)" in said
    assert "HTER ± 12.50, AUC ± " in said
    assert "over 3 seeds of the training; HTER ± 7.22, AUC ± " in said
    assert "CLIP, zero-shot: HTER ± 21.65, AUC ± " in said
    assert said.count("seeds of the training") == 1
    assert not [sentence for sentence in of_three if "worth" in sentence]
    for other in ({"clip": "elsewhere.pt"}, {"stand_in": False}, {"table": mmda.TABLE_3}):
        elsewhere = wording.worth_sentence(replace(results[1], **other))
        assert elsewhere == "What one run of these rows is worth was not measured; SEEDS=3 trains three."


def test_the_committed_spread_is_of_rows_that_the_table_has():
    found = json.loads(wording.SPREAD.read_text())
    table = TABLES[found["table"]]
    for name, row in found["rows"].items():
        (declared,) = [each for each in table.rows if each.name == name]
        assert row["label"] == declared.label
        drawn = [values for kind in ("training", "standin") for values in row[kind].values() if values]
        assert all(len(values) == found["draws"] >= 3 for values in drawn)
