"""A run that is killed is compared with one that is not, and a difference is told."""

import json
import sys

import numpy as np
import pytest

from data_manifests.errors import BadInput
from paper_tables.planning import kill_and_resume
from spec_tests.support.fake_runs import eight, write_run
from spec_tests.support.miniature import write_index

WORDS = (
    "reference.rivals.ssdg", "--image-size", "32", "--width", "4", "--batch-size", "6", "--epochs", "2",
    "--checkpoint-every", "1", "--targets", "C",
)  # fmt: skip


def test_a_killed_run_goes_on_to_the_same_bits(tmp_path):
    index = write_index(tmp_path / "data", subjects=8, frames=4)
    found = kill_and_resume.tried(WORDS, index, tmp_path / "runs", "cpu")
    assert found["differing"] == []
    assert {p.name for p in (tmp_path / "runs").iterdir()} == {"whole", "killed", "cache"}
    for run in ("whole", "killed"):
        assert json.loads((tmp_path / "runs" / run / "done").read_text())["parameters"] > 0


def test_files_that_differ_are_named(tmp_path):
    for name, score in (("one", 1.0), ("other", 2.0)):
        write_run(tmp_path / name, [0], {"val": eight((score,) * 8), "C": eight((1,) * 8)})
        (tmp_path / name / "model.safetensors").write_bytes(b"the same")
        (tmp_path / name / "best.safetensors").write_bytes(np.float32(score).tobytes())
    assert kill_and_resume.differences(tmp_path / "one", tmp_path / "other") == ["best.safetensors", "scores/val.npz"]


def test_a_run_that_ends_before_it_can_be_killed_says_so(tmp_path):
    with pytest.raises(BadInput, match="before its first checkpoint"):
        kill_and_resume._killed([sys.executable, "-c", ""], tmp_path)
    with pytest.raises(BadInput, match="failed: no room"):
        kill_and_resume._killed([sys.executable, "-c", "import sys; sys.exit('no room')"], tmp_path)
