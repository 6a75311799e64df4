"""Two steps, twice: what is the same is told, and what is not."""

import json

import pytest
import torch

from paper_tables.declarations.tables import TABLES
from paper_tables.planning import same_bits
from spec_tests.support.networks import torch_settings_kept


@pytest.fixture(autouse=True)
def torch_settings():
    with torch_settings_kept():
        yield


def looked(tmp_path, *words):
    out = tmp_path / "same-bits.json"
    with pytest.raises(SystemExit) as end:
        same_bits.main(["--profile", "cpu", "--out", str(out), *words])
    return end.value.code, json.loads(out.read_text())


def test_every_row_that_trains_is_looked_at_once():
    names = [row.name for _, row in same_bits.rows([TABLES[name] for name in same_bits.NAMES])]
    assert len(names) == len(set(names))
    assert set(names) == {
        row.name for name in same_bits.NAMES for row in TABLES[name].rows if row.trains and row.program
    }


def test_a_method_that_repeats_is_said_to_and_its_losses_are_written_down(tmp_path, capsys):
    status, report = looked(tmp_path, "--methods", "mmda")
    (row,) = report["rows"]
    assert (status, row["same_bits"], report["precision"]) == (0, True, "float32")
    assert len(row["losses"]) == same_bits.STEPS
    assert row["losses"][0]["loss"] != row["losses"][1]["loss"]
    assert row["losses"][1]["loss"] == pytest.approx(row["losses_in_the_other_precision"][1]["loss"], rel=0.05)
    assert "the same bits" in capsys.readouterr().out


@pytest.mark.parametrize("what", ["loss", "weights"])
def test_a_method_that_does_not_repeat_or_run_is_told(tmp_path, capsys, monkeypatch, what):
    taken, calls = same_bits.taken, []

    def drifting(*given):
        calls.append(given)
        found = taken(*given)
        if len(calls) == 2:
            found |= {"losses": []} if what == "loss" else {"sha256": "other"}
        return found

    monkeypatch.setattr(same_bits, "taken", drifting)
    assert looked(tmp_path, "--methods", "mmda")[0] == 1
    assert "OTHER BITS" in capsys.readouterr().out

    def failing(*given):
        raise torch.cuda.OutOfMemoryError("no room")

    monkeypatch.setattr(same_bits, "taken", failing)
    status, report = looked(tmp_path, "--methods", "mmda,vit")
    assert status == 1
    assert [row["error"] for row in report["rows"]] == ["OutOfMemoryError: no room"] * 2
