"""A whole mmFAS run on images from disk: what it writes, that it learns, that a killed run goes on bit for bit."""

import json
import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from reference import metrics, mmfas
from spec_tests.support import miniature

ROOT = Path(__file__).resolve().parents[2]


def command(index: Path, run_dir: Path, *more: str) -> list[str]:
    """The arguments of a run of 2 epochs with 3 steps each, checkpointed after every step."""
    options = {
        "--index": index,
        "--run-dir": run_dir,
        "--cache-dir": index.parent / "cache",
        "--image-size": 32,
        "--batch-size": 8,
        "--epochs": 2,
        "--checkpoint-every": 1,
        "--device": "cpu",
        "--preset": "text",
    }
    return [*(str(x) for pair in options.items() for x in pair), *more]


def start(arguments: list[str]) -> subprocess.Popen[str]:
    python = [sys.executable, "-m", "reference.mmfas"]
    return subprocess.Popen(python + arguments, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[list[str]], None]]:
    """Run the command in this process, which spares it the start; torch's settings are put back after it."""
    threads = torch.get_num_threads()

    def main(arguments: list[str]) -> None:
        monkeypatch.setattr(sys, "argv", ["mmfas", *arguments])
        mmfas.main()

    yield main
    torch.use_deterministic_algorithms(False)
    torch.set_num_threads(threads)


@pytest.fixture
def refused(here: Callable[[list[str]], None], capsys: pytest.CaptureFixture[str]) -> Callable[[list[str]], str]:
    def refused(arguments: list[str]) -> str:
        """The one sentence with which the command refuses its input."""
        with pytest.raises(SystemExit) as stop:
            here(arguments)
        said = capsys.readouterr().err.strip()
        assert stop.value.code == 2, said
        assert said.startswith("error: ")
        assert "\n" not in said
        return said

    return refused


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return miniature.write_index(tmp_path_factory.mktemp("index"), subjects=6, frames=4)


@pytest.fixture(scope="module")
def finished(index: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "undisturbed"
    child = start(command(index, folder))
    _, said = child.communicate(timeout=300)
    assert child.returncode == 0, said
    return folder


def test_a_run_folder_holds_what_the_contract_lists(finished: Path) -> None:
    assert {p.name for p in finished.iterdir()} == {
        ".lock", "args.json", "env.json", "metrics.jsonl", "scores", "model.safetensors", "best.safetensors", "done",
    }  # fmt: skip
    args = json.loads((finished / "args.json").read_text())
    assert args["seed"] == args["arguments"]["seed"] == 0
    assert len(args["index_sha256"]) == 64
    assert "reference/mmfas.py" in args["sources"]
    env = json.loads((finished / "env.json").read_text())
    assert {"python", "torch", "cuda", "device", "cpu", "threads", "attention_backend"} <= env.keys()
    lines = [json.loads(line) for line in (finished / "metrics.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [0, 1]
    assert lines[-1]["sets"].keys() == {"val", "C", "S", "W"}
    done = json.loads((finished / "done").read_text())
    assert done["parameters"] == sum(x.size for x in load_file(finished / "model.safetensors").values())


def test_saved_scores_give_the_logged_metrics_again(finished: Path) -> None:
    last = json.loads((finished / "metrics.jsonl").read_text().splitlines()[-1])["sets"]
    with np.load(finished / "scores" / "val.npz", allow_pickle=False) as val:
        _, source = metrics.eer(val["scores"][-1], val["bonafide"])
    for name, logged in last.items():
        with np.load(finished / "scores" / f"{name}.npz", allow_pickle=False) as f:
            assert f["epochs"].tolist() == [0, 1]
            assert f["scores"].shape == (2, len(f["sample_id"]))
            scores, live = f["scores"][-1], f["bonafide"]
            assert set(f["family"][~live]) == {"print"}
            assert f["present"].all()
            assert all(s.startswith(("C:", "S:", "W:")) for s in f["subject"])
        assert logged["eer"] == metrics.eer(scores, live)[0]
        assert logged["auc"] == metrics.auc(scores, live)
        assert logged["hter_source_val"] == metrics.hter(scores, live, source)


@pytest.mark.parametrize("moment", ["inside the first epoch", "after the first epoch"])
def test_a_killed_run_continues_bit_for_bit(index: Path, finished: Path, tmp_path: Path, moment: str) -> None:
    folder = tmp_path / "killed"
    child = start(command(index, folder))
    awaited = folder / ("checkpoint.pt" if moment.startswith("inside") else "metrics.jsonl")
    deadline = time.monotonic() + 120
    while not awaited.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(child.pid, signal.SIGKILL)
    child.communicate()
    assert awaited.exists()
    assert not (folder / "done").exists()
    again = start(command(index, folder))
    _, said = again.communicate(timeout=300)
    assert again.returncode == 0, said
    assert (folder / "model.safetensors").read_bytes() == (finished / "model.safetensors").read_bytes()
    for path in sorted((finished / "scores").iterdir()):
        with np.load(path) as a, np.load(folder / "scores" / path.name) as b:
            assert all(np.array_equal(a[k], b[k]) for k in a.files)
    timeless = ("seconds", "samples_per_second", "waiting_for_data", "evaluation_seconds")
    a, b = (
        [{k: v for k, v in json.loads(line).items() if k not in timeless} for line in (f / "metrics.jsonl").open()]
        for f in (finished, folder)
    )
    assert a == b


def test_a_finished_run_is_left_alone(
    index: Path, finished: Path, here: Callable, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {p: p.stat().st_mtime_ns for p in finished.rglob("*") if p.name != ".lock"}
    here(command(index, finished))
    assert "already finished" in capsys.readouterr().out
    assert before == {p: p.stat().st_mtime_ns for p in finished.rglob("*") if p.name != ".lock"}


def test_other_arguments_are_refused(index: Path, finished: Path, refused: Callable) -> None:
    said = refused(command(index, finished, "--seed", "1"))
    assert "args.json" in said
    assert "seed 0 there, 1 here" in said
    assert "--run-dir" in said


def test_another_index_is_refused(finished: Path, tmp_path: Path, refused: Callable) -> None:
    other = miniature.write_index(tmp_path, subjects=4)
    assert "another index" in refused(command(other, finished))


def test_a_folder_that_is_no_run_is_refused(index: Path, tmp_path: Path, refused: Callable) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    assert "thesis.txt" in refused(command(index, tmp_path))
    assert (tmp_path / "thesis.txt").read_text() == "mine"


@pytest.mark.parametrize("damage", ["cut off", "other bytes", "a pickle"])
def test_a_damaged_checkpoint_is_refused(
    index: Path, finished: Path, tmp_path: Path, damage: str, refused: Callable
) -> None:
    folder = tmp_path / "run"
    subprocess.run(["cp", "-r", finished, folder], check=True)
    (folder / "done").unlink()
    path = folder / "checkpoint.pt"
    torch.save({"epoch": 2, "model": torch.zeros(1000)}, path)
    whole = path.read_bytes()
    if damage == "a pickle":
        path.write_bytes(pickle.dumps({"epoch": Path("x")}, protocol=2))  # torch's own, but of a class of ours
    else:
        path.write_bytes(whole[: len(whole) // 2] if damage == "cut off" else b"\0" * 1000)
    said = refused(command(index, folder))
    assert "checkpoint.pt" in said
    assert "delete it" in said


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_cuda_where_there_is_none_is_refused(index: Path, tmp_path: Path, refused: Callable) -> None:
    assert "--device cuda" in refused(command(index, tmp_path / "run", "--device", "cuda"))


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("order", "RRD"),
        ("modalities", "RD"),
        ("image-size", "100"),
        ("batch-size", "7"),
        ("epochs", "0"),
        ("seed", "-1"),
    ],
)
def test_an_impossible_option_is_refused(
    index: Path, tmp_path: Path, refused: Callable, option: str, value: str
) -> None:
    said = refused(command(index, tmp_path / "run", f"--{option}", value)).replace("_", "-")
    assert option in said
    assert value in said
    assert not (tmp_path / "run").exists()


def test_an_index_that_does_not_exist_is_refused(tmp_path: Path, refused: Callable) -> None:
    said = refused(command(tmp_path / "nowhere" / "index.csv", tmp_path / "run"))
    assert str(tmp_path / "nowhere" / "index.csv") in said
    assert not (tmp_path / "run").exists()


def test_a_modality_that_no_training_sample_has_is_refused_where_it_is_looked_at(
    tmp_path: Path, here: Callable[[list[str]], None], refused: Callable
) -> None:
    index = miniature.write_index(tmp_path / "data", subjects=3, frames=1, without="depth")
    assert "no training sample of protocol mmfas has depth" in refused(command(index, tmp_path / "run"))
    assert not (tmp_path / "run").exists()
    here(command(index, tmp_path / "run", "--modalities", "RI", "--fusion", "mean", "--epochs", "1"))
    assert (tmp_path / "run" / "done").exists()


def test_help_names_every_option(here: Callable, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        here(["--help"])
    assert stop.value.code == 0
    said = capsys.readouterr().out
    for field in fields(mmfas.Options):
        assert f"--{field.name.replace('_', '-')}" in said


def test_it_learns_what_can_be_learned_and_nothing_from_shuffled_labels(tmp_path: Path, here: Callable) -> None:
    aucs = {}
    for gap in (100, 0):  # without a difference between the images, labels are arbitrary
        index = miniature.write_index(tmp_path / str(gap), subjects=8, frames=4, sets="C", gap=gap)
        folder = tmp_path / f"run{gap}"
        here(command(index, folder, "--epochs", "6", "--learning-rate", "3e-4", "--evaluate-every", "6"))
        with np.load(folder / "scores" / "C.npz") as f:
            aucs[gap] = metrics.auc(f["scores"][-1], f["bonafide"])
    assert aucs[100] > 0.95
    # 24 pairs of clips: AUC of chance has standard error below 0.12 even if the 12 frames of a class are one.
    assert 0.1 < aucs[0] < 0.9
