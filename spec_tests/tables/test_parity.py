"""The comparison of precisions trains both methods in both, and judges by the seeds."""

import json

import pytest
import torch

from paper_tables.planning import parity
from spec_tests.support.miniature import write_index
from spec_tests.support.networks import torch_settings_kept


def runs(*losses):
    return [{"loss": loss, "validation EER": 0.5} for loss in losses]


@pytest.mark.parametrize(
    ("coarse", "harm"), [((1.0, 2.0, 3.0), False), ((3.0, 4.0, 4.9), False), ((3.2, 4.1, 5.0), True)]
)
def test_what_seeds_do_is_no_harm(coarse, harm):
    report = parity.compared({"float32": runs(1.0, 2.0, 3.0), "bf16": runs(*coarse)})
    assert report["loss"]["seeds_sd"] == 1.0
    assert report["loss"]["difference"] == pytest.approx(sum(coarse) / 3 - 2)
    assert parity.harms(report) == harm
    assert report["validation EER"]["difference"] == 0


def test_both_methods_learn_as_well_in_bf16(tmp_path, monkeypatch, capsys):
    index = write_index(tmp_path / "data", subjects=4, frames=2, sets="CW")
    monkeypatch.setattr(parity, "SEEDS", 2)
    small = ("--batch-size", "4", "--epochs", "1", "--threads", "1")
    monkeypatch.setattr(parity, "TRAININGS", {name: (*words, *small) for name, words in parity.TRAININGS.items()})
    with torch_settings_kept(), pytest.raises(SystemExit) as ended:
        parity.main(["--index", str(index), "--out", str(tmp_path / "parity.json")])
    report = json.loads((tmp_path / "parity.json").read_bytes())
    assert ended.value.code == int(any(map(parity.harms, report["methods"].values())))
    assert report["methods"].keys() == parity.TRAININGS.keys()
    for result in report["methods"].values():
        loss = result["loss"]
        assert loss["float32"] != loss["bf16"]  # another precision was another training
        assert loss["bf16"] == pytest.approx(loss["float32"], rel=0.1)
    slow = not torch.cpu.get_capabilities().get("amx_bf16")
    assert ("no matrix units" in capsys.readouterr().out) == slow
