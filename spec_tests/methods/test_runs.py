"""The run folder by itself: nothing lost on a full disk, cut back to its checkpoint, nothing damaged believed."""

import errno
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch.utils._pytree import tree_leaves

from data_manifests.errors import BadInput, cli_errors, replacing
from reference import environment
from reference.evaluation import evaluation_sets, figures
from reference.proven import read_weights
from reference.runs import Run, finished

ARGUMENTS = {"seed": 0, "epochs": 3, "path": None, "order": "RDI"}


def open_run(folder: Path, sources: str = "1" * 64, **changes: object) -> Run:
    return Run(folder, ARGUMENTS | changes, "0" * 64, {"reference/runs.py": sources}, {"python": "3"})


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    run = open_run(tmp_path / "run")
    yield run
    run.close()


def heads(value: float, *others: str) -> dict[str, np.ndarray]:
    """Scores of four samples by the headline, all `value`, and by others, one more each."""
    return {name: np.full(4, value + i, np.float32) for i, name in enumerate(("cls", *others))}


STATE = {"epoch": 2, "step": 0, "sums": {}}
SAMPLES = {"sample_id": np.array(["a", "b", "c", "d"]), "bonafide": np.arange(4) % 2 == 0}


def reopen(run: Run, **changes: object) -> Run:
    run.close()
    return open_run(run.folder, **changes)


def test_what_lies_beyond_the_checkpoint_is_cut_off(run: Run) -> None:
    for epoch in range(3):
        run.save_scores("val", epoch, heads(epoch))
        run.log({"epoch": epoch})
        if epoch == 1:
            run.save_checkpoint(STATE)
    with (run.folder / "metrics.jsonl").open("a") as f:
        f.write('{"epoch": 3, "unfin')
    run = reopen(run)
    state = run.load_checkpoint()
    assert state is not None
    assert {key: state[key] for key in STATE} == STATE
    assert len(run.lines) == 3  # nothing is cut before the whole state was taken
    run.cut(2)
    assert [line["epoch"] for line in run.lines] == [0, 1]
    assert (run.folder / "metrics.jsonl").read_text() == '{"epoch": 0}\n{"epoch": 1}\n'
    run.join_scores("val", SAMPLES)
    with np.load(run.folder / "scores" / "val.npz") as f:
        assert f["epochs"].tolist() == [0, 1]
        assert f["scores"].tolist() == [[0] * 4, [1] * 4]
        assert f["sample_id"].tolist() == [*"abcd"]
        assert "heads" not in f


def test_several_heads_are_cut_alike_and_the_headline_stands_for_them(run: Run) -> None:
    for epoch in range(3):
        run.save_scores("val", epoch, heads(10 * epoch, "first", "second"))
        run.log({"epoch": epoch})
    run.save_checkpoint(STATE)
    run = reopen(run)
    run.load_checkpoint()
    run.cut(2)
    run.save_scores("val", 2, heads(7, "first", "second"))
    run.join_scores("val", SAMPLES)
    with np.load(run.folder / "scores" / "val.npz") as f:
        assert f["heads"].tolist() == ["cls", "first", "second"]
        assert f["head_scores"][..., 0].tolist() == [[0, 1, 2], [10, 11, 12], [7, 8, 9]]
        assert np.array_equal(f["scores"], f["head_scores"][:, 0])
        assert f["epochs"].tolist() == [0, 1, 2]


def test_without_a_checkpoint_everything_starts_again(run: Run) -> None:
    run.save_scores("C", 0, heads(0))
    run.log({"epoch": 0})
    run = reopen(run)
    assert run.load_checkpoint() is None
    run.cut(0)
    assert run.lines == []
    assert not [*(run.folder / "parts").rglob("*.npz")]


def begun(folder: Path) -> Run:
    """A run with two epochs, their scores and a checkpoint."""
    run = open_run(folder)
    for epoch in range(2):
        run.save_scores("val", epoch, heads(epoch))
        run.log({"epoch": epoch, "sets": {"val": {"eer": 0.25}}})
    run.save_checkpoint(STATE | {"weights": torch.arange(5000.0)})
    run.save_weights("best", {"w": torch.arange(6000.0), "n": torch.tensor(3)})
    return run


def contents(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def flat(state: Any) -> list[Any]:
    """What is in it, texts as their letters' numbers."""
    return [[*map(ord, x)] if isinstance(x, str) else x for x in tree_leaves(state)]


KINDS = ("args.json", "checkpoint.pt", "best.safetensors", "metrics.jsonl", "parts/val/0.npz", "parts/val/1.npz")


@given(
    kind=st.sampled_from(KINDS), how=st.sampled_from(["flip", "cut", "add", "gone", "empty"]), place=st.floats(0, 1),
    bit=st.integers(0, 7),
)  # fmt: skip
@example(kind="checkpoint.pt", how="flip", place=0.5, bit=0)
@example(kind="best.safetensors", how="flip", place=0.5, bit=0)
@example(kind="parts/val/0.npz", how="gone", place=0.0, bit=0)
@settings(max_examples=60)
def test_a_damaged_state_is_the_same_state_or_one_sentence_and_nothing_changes(
    tmp_path_factory: pytest.TempPathFactory, kind: str, how: str, place: float, bit: int
) -> None:
    folder = tmp_path_factory.mktemp("run")
    run = begun(folder)
    # Copied: tensors of a weights file are mapped from it, and would be damaged with it.
    sound = run.load_checkpoint(), {name: x.clone() for name, x in run.load_weights("best").items()}
    parts = {name: data for name, data in contents(folder).items() if name.startswith("parts")}
    path = folder / kind
    data = bytearray(path.read_bytes())
    at = min(int(place * len(data)), len(data) - 1)
    if how == "flip":
        data[at] ^= 1 << bit
    elif how == "add":
        data[at:at] = b"\x07"
    else:
        del data[at if how == "cut" else 0 :]
    path.unlink() if how == "gone" else path.write_bytes(data)
    run.close()
    before = contents(folder)
    try:
        again = open_run(folder)
        found = again.load_checkpoint(), again.load_weights("best")
        again.close()
    except BadInput as e:
        said = str(e)
    else:
        said = f"nothing of {folder}"
        if (kind, how) == ("checkpoint.pt", "gone"):
            assert found[0] is None
        else:
            torch.testing.assert_close(flat(found), flat(sound), rtol=0, atol=0)
            assert {name: data for name, data in contents(folder).items() if name.startswith("parts")} == parts
    run.close()
    assert str(folder) in said
    assert "\n" not in said
    after = contents(folder)
    del before[".lock"], after[".lock"]
    assert after == before


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda lines: lines[:1], "lacks lines of the epochs 1 to 2"),
        (lambda lines: [*lines, lines[-1]], "lacks lines of the epochs 1 to 2"),
        (lambda lines: lines[::-1], "lacks lines of the epochs 1 to 2"),
        (lambda lines: [lines[0].replace("0.25", "0.35"), lines[1]], "was changed after it was written"),
    ],
)
def test_a_log_that_is_not_the_checkpoints_is_refused(tmp_path: Path, change: Any, said: str) -> None:
    begun(tmp_path).close()
    path = tmp_path / "metrics.jsonl"
    path.write_text("".join(change(path.read_text().splitlines(keepends=True))))
    before = path.read_bytes()
    run = open_run(tmp_path)
    with pytest.raises(BadInput, match=f"metrics.jsonl: {said}"):
        run.load_checkpoint()
    run.close()
    assert path.read_bytes() == before


def test_another_runs_checkpoint_is_refused(tmp_path: Path) -> None:
    begun(tmp_path / "one").close()
    other = open_run(tmp_path / "other", seed=5)
    shutil.copy(tmp_path / "one" / "checkpoint.pt", other.folder)
    with pytest.raises(BadInput, match="another run's checkpoint"):
        other.load_checkpoint()
    other.close()


def test_weights_that_others_wrote_are_refused(tmp_path: Path) -> None:
    save_file({"w": torch.zeros(1)}, tmp_path / "model.safetensors")
    with pytest.raises(BadInput, match=r"has no digest: version .* or another program wrote it"):
        read_weights(tmp_path / "model.safetensors")


def test_test_sets_that_were_scored_later_do_not_break_a_log(tmp_path: Path) -> None:
    run = begun(tmp_path)
    run.amend(1, {"W": {"eer": 0.5}})
    run.close()
    run = open_run(tmp_path)
    assert run.load_checkpoint() is not None
    run.close()


def test_a_full_disk_loses_nothing(
    run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run.save_checkpoint(STATE | {"epoch": 0})
    run.save_scores("val", 0, heads(0))
    run.log({"epoch": 0})
    before = {p: p.read_bytes() for p in run.folder.rglob("*") if p.is_file()}

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    for act in (
        lambda: run.save_checkpoint(STATE | {"epoch": 1}),
        lambda: run.save_scores("val", 1, heads(1)),
        lambda: run.join_scores("val", SAMPLES),
        lambda: run.save_weights("model", {"w": torch.zeros(1)}),
        lambda: run.log({"epoch": 1}),
        lambda: run.finish(1),
    ):
        with pytest.raises(SystemExit) as stop, cli_errors():
            act()
        assert stop.value.code == 2
        said = capsys.readouterr().err
        assert said.startswith("error: No space left on device")
        assert said.count("\n") == 1
    assert before == {p: p.read_bytes() for p in run.folder.rglob("*") if p.is_file()}


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
def test_a_really_full_disk_loses_nothing(tmp_path: Path) -> None:
    """As above with the system's own always-full device behind the file."""
    target = tmp_path / "checkpoint.pt"
    target.write_bytes(b"old")
    (tmp_path / ".checkpoint.pt.tmp").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left"), replacing(target) as f:
        f.write(b"0" * 100_000)
    assert target.read_bytes() == b"old"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["checkpoint.pt"]


def test_one_writer_at_a_time(run: Run) -> None:
    with pytest.raises(BadInput, match=r"process \d+ on .* is writing this run; wait for it or stop it"):
        open_run(run.folder)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"seed": 5}, "seed 0 there, 5 here"),
        ({"new": 1}, "new None there, 1 here"),
        ({"sources": "2" * 64}, r"another text of reference/runs\.py"),
    ],
)
def test_other_arguments_are_named(run: Run, changes: dict, said: str) -> None:
    with pytest.raises(BadInput, match=said):
        reopen(run, **changes)


def test_arguments_survive_json(run: Run) -> None:
    reopen(run).close()  # None and text come back as they were


def test_evaluation_needs_both_classes() -> None:
    columns = {"dataset": np.array([*"CCSS"]), "class": np.array(["bonafide", "attack", "attack", "attack"])}
    few = SimpleNamespace(rows=SimpleNamespace(column=columns.__getitem__))
    with pytest.raises(BadInput, match="S has no bona fide"):
        evaluation_sets(few, np.array([0, 1]), np.array([2, 3]))


def test_figures_take_the_threshold_of_the_validation_set() -> None:
    live = np.array([True, True, False, False])
    scores = {"val": np.array([3.0, 2, 1, 0]), "S": np.array([1.5, 0.5, 1.2, 0.1])}
    report = figures(scores, {"val": live, "S": live})
    assert report["val"]["eer_threshold"] == 2
    assert report["S"]["hter_source_val"] == 0.5  # both bona fide of S lie below 2, and no attack above
    assert report["S"]["auc"] == 0.75
    assert report["S"]["eer"] == 0.5


def test_devices() -> None:
    assert environment.pick_device("cpu").type == "cpu"
    with pytest.raises(BadInput, match="--device abacus"):
        environment.pick_device("abacus")


@given(place=st.floats(0, 1, exclude_max=True), how=st.sampled_from(["flip", "cut", "add"]), bit=st.integers(0, 7))
@settings(max_examples=40)
def test_a_finished_runs_arguments_are_those_of_its_weights_or_one_sentence(
    tmp_path_factory: pytest.TempPathFactory, place: float, how: str, bit: int
) -> None:
    folder = tmp_path_factory.mktemp("run")
    run = open_run(folder, method="mmfas")
    run.save_weights("model", {"w": torch.zeros(3)})
    run.finish(3)
    run.close()
    sound = finished(folder, "mmfas")
    path = folder / "args.json"
    data = bytearray(path.read_bytes())
    at = int(place * len(data))
    if how == "flip":
        data[at] ^= 1 << bit
    elif how == "add":
        data[at:at] = b"7"
    else:
        del data[at:]
    path.write_bytes(data)
    try:
        found = finished(folder, "mmfas")
    except BadInput as e:
        said = str(e)
    else:
        said = str(folder)
        assert found == sound
    assert str(folder) in said
    assert "\n" not in said
