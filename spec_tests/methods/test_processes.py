"""Several processes that train together give the numbers of one, by `torchrun` as users type it."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
from hypothesis import example, given
from hypothesis import strategies as st
from safetensors.torch import load_file
from torch import Tensor, nn

from data_manifests.errors import BadInput
from reference import mmda, mmfas, processes
from reference.rivals import method
from reference.sources import ROOT
from spec_tests.support import miniature
from spec_tests.support.networks import torch_settings_kept
from spec_tests.support.ranks import Ranks, run_in_processes
from spec_tests.support.tiny_rows import TRAINED, batch_for, tiny_row

seeds = st.integers(0, 2**31)
TWO = 2
SECONDS = 300  # for whatever two processes do here, imports included
GLOO = pytest.mark.skipif(
    not dist.is_available() or not dist.is_gloo_available(), reason="torch was built without gloo"
)


# --- parts of a batch, in one process ----------------------------------------------------------------------------


@given(seed=seeds, ranks=st.integers(1, 3))
def test_gathered_rows_are_everybodys_and_their_averaged_gradient_is_the_whole_batchs(seed: int, ranks: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    parts = [torch.randn(3, 2, generator=generator, dtype=torch.float64).mT.requires_grad_() for _ in range(ranks)]
    weight = torch.randn(2 * ranks, 3, generator=generator, dtype=torch.float64)
    got = []
    for rank, part in enumerate(parts):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(processes, "dist", Ranks([parts], rank))
            whole = processes.gathered(part)
        assert torch.equal(whole, torch.cat(parts))
        got.append(torch.autograd.grad((whole.square() * weight).sum(), part)[0] / ranks)
    expected = torch.autograd.grad((torch.cat(parts).square() * weight).sum(), parts)
    torch.testing.assert_close(got, list(expected))


@given(whole=st.integers(0, 40), ranks=st.integers(1, 9))
@example(whole=2, ranks=3)
@example(whole=7, ranks=3)
def test_shares_are_the_whole_in_order_or_everybodys(whole: int, ranks: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(processes, "count", lambda: ranks)
        parts = [range(whole)[processes.share(whole, number)] for number in range(ranks)]
    if whole < ranks:
        assert parts == [range(whole)] * ranks
        return
    assert [place for part in parts for place in part] == [*range(whole)]
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


@given(pieces=st.integers(0, 20), ranks=st.integers(1, 5))
def test_turns_are_every_piece_once_and_come_back_in_order(pieces: int, ranks: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(processes, "count", lambda: ranks)
        done = []
        for number in range(ranks):
            patch.setattr(processes, "rank", lambda number=number: number)
            done.append([*processes.turns(pieces)])

        def everybodys(into: list[Any], own: Any) -> None:
            into[:] = done

        patch.setattr(processes.dist, "all_gather_object", everybodys)
        assert processes.in_order(done[0], pieces) == [*range(pieces)]


def test_a_network_with_batch_norm_is_refused_on_a_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    plain, normed = nn.Linear(1, 1), nn.Sequential(nn.BatchNorm1d(1))
    assert processes.synchronised(normed, "resnet50") is normed
    monkeypatch.setattr(processes, "count", lambda: 2)
    assert processes.synchronised(plain, "mlp") is plain
    with pytest.raises(BadInput, match="resnet50 normalises by the batch, which several processes cannot"):
        processes.synchronised(normed, "resnet50")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert isinstance(processes.synchronised(normed, "resnet50")[0], nn.SyncBatchNorm)  # type: ignore[index]


# --- a step of every row, in two processes -----------------------------------------------------------------------

# Which draw in their networks, each process for itself; by these options they do not.
DRAWING = {"mmdg": {"draws": 0}}


def stepped(row: Any) -> dict[str, Tensor]:
    """Losses, and all weights after two steps."""
    with tiny_row(row, **DRAWING.get(row.name, {})) as made:
        for module in made.network.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):  # on CUDA alone are its means everybody's
                module.eval()
                module.train = lambda mode=True, module=module: module  # type: ignore[method-assign,assignment]
        optimiser, batch = torch.optim.SGD(made.network.parameters(), 1e-2), batch_for(row)
        batch = replace(batch, rgb=batch.rgb.double(), depth=batch.depth.double(), ir=batch.ir.double())
        for _ in range(2):
            losses = method.step(made, optimiser, batch, torch.autocast("cpu", enabled=False))
        state = {name: x.clone() for name, x in made.network.state_dict().items()}
    return {f"the loss {name}": x for name, x in losses.items()} | state


def in_part(rank: int, folder: str) -> None:
    """What each process does: the steps of every row together with the other, then alone, and both must agree."""
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    torch.set_num_threads(1)
    # All in float64, also what a step turns into float32: no rule that is off hides behind rounding.
    torch.set_default_dtype(torch.float64)
    Tensor.float = Tensor.double  # type: ignore[method-assign]
    nn.Dropout.forward = nn.Dropout2d.forward = lambda self, x: x  # type: ignore[method-assign,assignment]
    patience = timedelta(seconds=SECONDS)
    dist.init_process_group("gloo", f"file://{folder}/store", patience, rank=rank, world_size=TWO)
    together = [stepped(row) for row in TRAINED]
    dist.destroy_process_group()
    wrong = []
    for row, found in zip(TRAINED, together, strict=True):
        alone = stepped(row)
        assert found.keys() == alone.keys()
        far = [name for name in alone if not torch.allclose(found[name], alone[name], rtol=1e-6, atol=1e-9)]
        wrong += [f"{row.name}: {', '.join(far[:4])}"] if far else []
    assert not wrong, wrong


@GLOO
def test_two_processes_take_the_steps_of_one_in_every_row(tmp_path: Path) -> None:
    run_in_processes(in_part, tmp_path, TWO, SECONDS)


# --- whole trainings, by the command that users type -------------------------------------------------------------


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return miniature.write_index(tmp_path_factory.mktemp("data"), subjects=6, sets="CW")


SMALL = ("--image-size", "32", "--batch-size", "4", "--epochs", "2", "--threads", "1", "--device", "cpu")
# Adam would make a whole step out of a gradient that is rounding alone.
BY_SGD = ("--optimiser", "sgd", "--learning-rate", "1e-3")


def words(index: Path, folder: Path, *own: str) -> list[str]:
    return [
        "--index",
        str(index),
        "--run-dir",
        str(folder),
        "--cache-dir",
        str(index.parent / "cache"),
        *SMALL,
        *BY_SGD,
        *own,
    ]


def torchrun(module: str, *given: str) -> subprocess.Popen[str]:
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node",
        str(TWO),
        "-m",
        module,
    ]
    return subprocess.Popen([*command, *given], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def finished(child: subprocess.Popen[str]) -> str:
    said, _ = child.communicate(timeout=SECONDS)
    assert child.returncode == 0, said
    return said


def assert_same_run(found: Path, expected: Path) -> None:
    """Weights, scores and metrics but for rounding in float32."""
    ours, theirs = (load_file(folder / "model.safetensors") for folder in (found, expected))
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)
    for path in sorted((expected / "scores").glob("*.npz")):
        with np.load(found / "scores" / path.name) as a, np.load(path) as b:
            assert a.files == b.files
            for key in a.files:
                if a[key].dtype.kind == "f":
                    np.testing.assert_allclose(a[key], b[key], rtol=1e-5, atol=1e-5)
                else:
                    np.testing.assert_array_equal(a[key], b[key])
    lines = [[json.loads(x) for x in (f / "metrics.jsonl").read_text().splitlines()] for f in (found, expected)]
    for a, b in zip(*lines, strict=True):
        assert a["loss"] == pytest.approx(b["loss"], rel=1e-5)


def children(pid: int) -> Sequence[int]:
    path = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(x) for x in path.read_text().split()] if path.exists() else []


@GLOO
def test_two_processes_train_mmfas_as_one_does_though_one_of_them_is_killed(index: Path, tmp_path: Path) -> None:
    own = ("--augmentation", "flip", "--missing", "D", "--score-tests", "every")
    with torch_settings_kept():
        mmfas.train(mmfas.base.parse(mmfas.Options, "mmfas", None, words(index, tmp_path / "one", *own)))
    folder, often = tmp_path / "two", ("--checkpoint-every", "1")
    child = torchrun("reference.mmfas", *words(index, folder, *own, *often))
    end = time.monotonic() + SECONDS
    while not (folder / "checkpoint.pt").exists():
        assert child.poll() is None, child.communicate()
        assert time.monotonic() < end
        time.sleep(0.01)
    for process in children(child.pid)[1:]:  # the one that follows; the first one writes
        os.kill(process, signal.SIGKILL)
    child.communicate(timeout=SECONDS)
    assert child.returncode
    assert not (folder / "done").exists()
    said = finished(torchrun("reference.mmfas", *words(index, folder, *own, *often)))
    assert said.count(": finished") == 1  # one process speaks
    assert json.loads((folder / "args.json").read_text())["arguments"]["processes"] == TWO
    assert_same_run(folder, tmp_path / "one")


@GLOO
def test_two_processes_train_mmda_as_one_does(index: Path, tmp_path: Path) -> None:
    own = ("--preset", "released", "--clip", "untrained/phantom", "--image-size", "48", "--protocol", "official")
    with torch_settings_kept():
        mmda.train(mmda.base.parse(mmda.Options, "mmda", None, words(index, tmp_path / "one", *own)))
    finished(torchrun("reference.mmda", *words(index, tmp_path / "two", *own)))
    assert_same_run(tmp_path / "two", tmp_path / "one")
