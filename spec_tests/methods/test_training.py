"""The harness, tried with a network of a few weights: what every training shares, and runs that were killed."""

import hashlib
import json
import math
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from torch import Tensor, nn

from data_manifests.errors import BadInput
from data_manifests.index import load_index, save_index
from reference import evaluation, runs, training
from reference.batches import BalancedSampler, Batch, batches
from reference.faces import open_faces
from reference.rivals import method, mlp_mixer_s16
from reference.rivals.blocks.two_logits import cross_entropy, logit_difference
from reference.runs import HEADLINE
from spec_tests.support.miniature import write_index
from spec_tests.support.networks import images, torch_settings_kept
from spec_tests.support.run_folders import content, lines

ROOT = Path(__file__).resolve().parents[2]
seeds = st.integers(0, 2**32 - 1)


@pytest.fixture(autouse=True)
def torch_settings() -> Iterator[None]:
    with torch_settings_kept():
        yield


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_index(tmp_path_factory.mktemp("miniature"))


@given(steps=st.integers(1, 400), warmup=st.floats(0, 1))
@example(steps=300, warmup=0.1)
@example(steps=1, warmup=1.0)
@example(steps=3, warmup=0.0)
def test_learning_rate_rises_linearly_and_falls_as_a_cosine(steps: int, warmup: float) -> None:
    rates = np.array([training.learning_rate(i, steps, 2.0, warmup) for i in range(steps)])
    w = round(steps * warmup)
    np.testing.assert_allclose(rates[:w], np.linspace(0, 2, w + 1)[1:], atol=1e-12)
    fall = np.cos(np.linspace(0, np.pi / 2, steps - w + 1)) ** 2 * 2  # half-angle form; ends at 0, one step on
    np.testing.assert_allclose(rates[w:], fall[:-1], atol=1e-12)


@given(seed=seeds)
def test_mirror_flips_a_samples_images_together(seed: int) -> None:
    x = images(seed, 4, batch=64)
    flipped = training.mirror(tuple(x), torch.Generator().manual_seed(seed))
    same = [(a == b).flatten(1).all(1).numpy() for a, b in zip(x, flipped, strict=True)]
    mirrored = [(a.numpy()[..., ::-1] == b.numpy()).reshape(64, -1).all(1) for a, b in zip(x, flipped, strict=True)]
    for m in range(3):
        np.testing.assert_array_equal(same[m], ~mirrored[m])
        np.testing.assert_array_equal(same[m], same[0])
    assert 10 < same[0].sum() < 54  # a fair coin leaves this range once in 10^8


class Tiny(nn.Module):
    """Everything that a run has to carry over: running statistics, dropout's random numbers, moments."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv2d(9, 8, 4, stride=4), nn.BatchNorm2d(8)
        self.head = nn.Linear(8, 2)

    def forward(self, rgb: Tensor, depth: Tensor, ir: Tensor) -> Tensor:
        x = nn.functional.relu(self.norm(self.stem(torch.cat([rgb, depth, ir], 1)))).mean((2, 3))
        return self.head(nn.functional.dropout(x, 0.5, self.training))


class TinyMethod(method.Method[method.Options]):
    """The tiny network under cross-entropy."""

    def build(self) -> nn.Module:
        return Tiny()

    def losses(self, output: Tensor, batch: Batch) -> dict[str, Tensor]:
        return {"loss": cross_entropy(output, batch.label)}

    def scores(self, output: Tensor) -> dict[str, Tensor]:
        return {HEADLINE: logit_difference(output)}


def tiny(index: Path, run_dir: Path, **changes: Any) -> method.Options:
    """Options of three epochs of four steps."""
    usual = {"image_size": 16, "batch_size": 2, "epochs": 3, "learning_rate": 1e-2, "device": "cpu"}
    return method.Options(index=index, run_dir=run_dir, cache_dir=index.parent.parent / "cache", **(usual | changes))


def train(given: method.Options, kind: type[TinyMethod] = TinyMethod) -> None:
    method.train(kind, given)


def killed_child(given: method.Options, event: str, count: int) -> int:
    """The wait status of a forked process that trains and kills itself at the `count`-th `event`."""
    pid = os.fork()
    if pid:
        return os.waitpid(pid, 0)[1]
    seen = 0

    def watched(owner: Any, name: str, after: bool, only: str = "") -> None:
        original = getattr(owner, name)

        def wrapped(*args: Any, **kwargs: Any) -> Any:
            nonlocal seen
            seen += not only or str(args[-1]).endswith(only)
            if seen == count and not after:
                os.kill(os.getpid(), signal.SIGKILL)
            result = original(*args, **kwargs)
            if seen == count:
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        setattr(owner, name, wrapped)

    if event == "step":
        watched(torch.optim.AdamW, "step", after=True)
    elif event == "before checkpoint":
        watched(Path, "replace", after=False, only="checkpoint.pt")
    elif event == "finish":
        watched(runs.Run, "finish", after=False)
    elif event == "before done":
        watched(Path, "replace", after=False, only="done")
    else:
        watched(runs.Run, event, after=True)
    train(given)
    os._exit(3)


# Four steps an epoch, a checkpoint after two and four of them; each process goes on from the last one's.
KILLS = [
    ("step", 1),  # before any checkpoint
    ("step", 3),  # after the checkpoint inside an epoch
    ("save_scores", 1),  # an epoch's scores saved, its line not written
    ("log", 1),  # an epoch logged, its checkpoint not begun
    ("before checkpoint", 2),  # a checkpoint written, not yet in place
    ("step", 5),  # in another epoch
    ("save_scores", 3),  # after the last epoch, in the midst of the test sets
    ("finish", 1),
    ("before done", 1),
]


def survive_kills(index: str, run_dir: str) -> None:
    """What the subprocess of the next test does."""
    import torch._dynamo  # noqa: F401 - the optimiser needs it; once here instead of once a child

    given = tiny(Path(index), Path(run_dir), checkpoint_every=2, augmentation="flip")
    for event, count in KILLS:
        status = killed_child(given, event, count)
        assert os.WIFSIGNALED(status), (event, count, status)
        assert os.WTERMSIG(status) == signal.SIGKILL, (event, count, status)
    train(given)


def test_killed_runs_continue_bit_for_bit(index: Path, tmp_path: Path) -> None:
    undisturbed = tiny(index, tmp_path / "undisturbed", checkpoint_every=2, augmentation="flip")
    train(undisturbed)
    code = "import sys; from spec_tests.methods.test_training import survive_kills; survive_kills(*sys.argv[1:])"
    command = [sys.executable, "-c", code, str(index), str(tmp_path / "killed")]
    subprocess.run(command, cwd=ROOT, check=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
    expected = content(tmp_path / "undisturbed")
    assert content(tmp_path / "killed") == expected
    assert [line["epoch"] for line in expected["lines"]] == [0, 1, 2]
    other = replace(undisturbed, run_dir=tmp_path / "other", seed=1)
    train(other)
    assert content(tmp_path / "other")["weights"] != expected["weights"]


@pytest.mark.parametrize(("errors", "chosen"), [((2, 0, 1), 1), ((2, 1, 1), 1), ((2, 1, 0), 2), ((0, 0, 1), 0)])
@pytest.mark.parametrize("keep", [True, False])
def test_test_sets_are_scored_by_the_chosen_and_the_last_weights(
    index: Path, tmp_path: Path, errors: tuple[int, ...], chosen: int, keep: bool
) -> None:
    """In each epoch so many of validation's two bona fide score below its attacks; the weight counts epochs from 1."""
    given = tiny(index, tmp_path, keep_weights=keep)
    asked = []
    with training.Training(given, "line", Path(__file__)) as harness:
        model = nn.Linear(1, 1, bias=False)
        harness.remember(model=model, optimiser=harness.optimiser(model.parameters()))

        def evaluate(epoch: int, sets: Mapping[str, evaluation.Rows]) -> evaluation.Scores:
            asked.append((epoch, [*sets], model.weight.item()))
            scores = {}
            for name, rows in sets.items():
                scores[name] = model.weight.item() + harness.faces.bonafide[rows].astype(np.float32)
                if name == "val":
                    live = np.flatnonzero(harness.faces.bonafide[rows])
                    scores[name][live[: errors[epoch]]] -= 2
            return {name: {"cls": values, "other": -values} for name, values in scores.items()}

        for epoch in harness.epochs(evaluate):
            for _ in harness.batches(pixels=False):
                harness.log({"loss": torch.tensor(1.0)})
            nn.init.constant_(model.weight, epoch + 1.0)
    tests = ["C", "S", "W"]
    again = [] if chosen == 2 else [(chosen, tests, chosen + 1.0)]
    assert asked == [*((e, ["val"], e + 1.0) for e in range(3)), (2, tests, 3.0), *again]
    for name, epochs in (("val", [0, 1, 2]), *((name, sorted({chosen, 2})) for name in tests)):
        with np.load(tmp_path / "scores" / f"{name}.npz", allow_pickle=False) as saved:
            assert saved["epochs"].tolist() == epochs
            assert name == "val" or saved["scores"].max(1).tolist() == [e + 2.0 for e in epochs]
            assert "heads" not in saved
    assert [[*line["sets"]] for line in lines(tmp_path)] == [
        ["val", *(tests if epoch in (chosen, 2) else [])] for epoch in range(3)
    ]
    assert json.loads((tmp_path / "done").read_text())["parameters"] == 1
    weights = {name: tmp_path / f"{name}.safetensors" for name in ("model", "best")}
    assert [path.exists() for path in weights.values()] == [keep, keep]
    if keep:
        assert {name: load_file(path)["weight"].item() for name, path in weights.items()} == {
            "model": 3.0, "best": chosen + 1.0,
        }  # fmt: skip
    assert not (tmp_path / "checkpoint.pt").exists()
    assert not (tmp_path / "parts").exists()


def by_hand(given: method.Options, decoupled: bool) -> dict[str, Tensor]:
    """The weights after the same training as a plain loop: no autocast, no folder, no random augmentation."""
    index = load_index(given.index)
    faces = open_faces(index, given.image_size, given.cache_dir)
    rows = index.split("mmfas", "train")
    torch.manual_seed(given.seed)
    model = Tiny()
    optimiser = (torch.optim.AdamW if decoupled else torch.optim.Adam)(
        model.parameters(), weight_decay=given.weight_decay
    )
    sampler = BalancedSampler(faces.bonafide[rows], given.batch_size, given.seed)
    total, done = given.epochs * sampler.steps, 0
    for epoch in range(given.epochs):
        for batch in batches(faces, rows[sampler.epoch(epoch)], "cpu"):
            for group in optimiser.param_groups:
                group["lr"] = training.learning_rate(done, total, given.learning_rate, given.warmup)
            logits = model(*batch.images)
            optimiser.zero_grad()
            nn.functional.cross_entropy(logits, batch.label.long()).backward()
            optimiser.step()
            done += 1
    return model.state_dict()


@pytest.mark.parametrize("optimiser", ["adamw", "adam_l2"])
def test_training_is_the_plain_loop(index: Path, tmp_path: Path, optimiser: str) -> None:
    given = tiny(index, tmp_path / "run", optimiser=optimiser, weight_decay=0.3, seed=3)
    train(given)
    expected = by_hand(given, optimiser == "adamw")
    for name, value in load_file(tmp_path / "run" / "model.safetensors").items():
        torch.testing.assert_close(value, expected[name], rtol=1e-5, atol=1e-6, msg=name)


class Recording(Tiny):
    """Notes, for each pass, whether it trains and the kind of number it computes with."""

    passes: list[tuple[bool, torch.dtype]]

    def __init__(self) -> None:
        super().__init__()
        Recording.passes = []

    def forward(self, rgb: Tensor, depth: Tensor, ir: Tensor) -> Tensor:
        logits = super().forward(rgb, depth, ir)
        Recording.passes.append((self.training, logits.dtype))
        assert torch.are_deterministic_algorithms_enabled()
        assert not torch.backends.mha.get_fastpath_enabled()
        assert not torch.backends.cudnn.allow_tf32
        assert torch.get_num_threads() == 1
        return logits


@pytest.mark.parametrize("precision", ["bf16", "float32"])
def test_training_may_be_coarse_but_evaluation_is_not(index: Path, tmp_path: Path, precision: str) -> None:
    class OfRecording(TinyMethod):
        def build(self) -> nn.Module:
            return Recording()

    train(tiny(index, tmp_path, precision=precision, evaluate_every=2, score_tests="every"), OfRecording)
    coarse = torch.bfloat16 if precision == "bf16" else torch.float32
    training = [(True, coarse)] * 4
    sets = [8 // 2 // 2, 4 // 2, 16 // 2, 16 // 2]  # batches of val, C, S and W
    evaluation = [(False, torch.float32)] * sum(sets)
    assert Recording.passes == training + training + evaluation + training + evaluation
    assert ["sets" in line for line in lines(tmp_path)] == [False, True, True]
    with np.load(tmp_path / "scores" / "S.npz", allow_pickle=False) as saved:
        assert saved["epochs"].tolist() == [1, 2]


def test_a_line_tells_the_epochs_mean_losses_and_its_evaluation(index: Path, tmp_path: Path) -> None:
    class Counting(TinyMethod):
        steps = 0

        def losses(self, output: Tensor, batch: Batch) -> dict[str, Tensor]:
            self.steps += 1
            return super().losses(output, batch) | {"count": torch.tensor(self.steps - 1.0)}

    train(tiny(index, tmp_path, epochs=2, score_tests="every"), Counting)
    first, second = lines(tmp_path)
    assert (first["count"], second["count"]) == (1.5, 5.5)
    assert second["learning_rate"] == pytest.approx(training.learning_rate(7, 8, 1e-2, 0.1))
    assert second["samples_per_second"] == pytest.approx(8 / second["seconds"])
    assert 0 <= second["waiting_for_data"] <= 1
    scores, bonafide = {}, {}
    for name in ("val", "C", "S", "W"):
        with np.load(tmp_path / "scores" / f"{name}.npz", allow_pickle=False) as saved:
            scores[name], bonafide[name] = saved["scores"][1], saved["bonafide"]
    assert second["sets"] == evaluation.figures(scores, bonafide)


@given(order=st.permutations(range(48)), count=st.integers(1, 48), batch_size=st.integers(1, 9))
@settings(max_examples=10)
def test_scores_stand_in_the_order_of_rows(index: Path, order: list[int], count: int, batch_size: int) -> None:
    faces = open_faces(load_index(index), 16, index.parent.parent / "cache")
    rows = np.array(order[:count])
    harness = training.Training.__new__(training.Training)  # of which only scoring is tried
    harness.options = tiny(index, Path(), batch_size=batch_size)
    harness.faces, harness.tf32, harness.device = faces, False, torch.device("cpu")
    found = harness.predict(nn.Identity(), lambda batch: {HEADLINE: batch.ir.mean((1, 2, 3))}, {"W": rows})
    scores = found["W"][HEADLINE]
    expected = (faces.images[rows, 4].astype(np.float64).mean((1, 2)) - 127.5) / 127.5
    np.testing.assert_allclose(scores, expected, atol=1e-6)
    assert scores.dtype == np.float32


def test_a_finished_run_is_left_alone(
    index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given = tiny(index, tmp_path, epochs=1)
    train(given)
    before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}

    def forbidden(*_: Any) -> Any:
        raise AssertionError("a finished run needs neither images nor a network")

    monkeypatch.setattr(training, "open_faces", forbidden)
    monkeypatch.setattr(TinyMethod, "build", forbidden)
    train(given)
    assert "already finished" in capsys.readouterr().out
    assert {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == before


@pytest.mark.parametrize(
    "change",
    [{"seed": 1}, {"epochs": 2}, {"optimiser": "adam_l2"}, {"precision": "bf16"}, {"threads": 2}],
)
def test_a_run_refuses_other_arguments(index: Path, tmp_path: Path, change: dict[str, Any]) -> None:
    train(tiny(index, tmp_path, epochs=1))
    (name,) = change
    with pytest.raises(BadInput, match=name):
        train(tiny(index, tmp_path, **({"epochs": 1} | change)))


def test_a_run_may_move_but_its_arguments_are_all_kept(index: Path, tmp_path: Path) -> None:
    given = tiny(index, tmp_path / "here", epochs=1)
    train(given)
    (tmp_path / "here").rename(tmp_path / "there")
    train(replace(given, run_dir=tmp_path / "there", cache_dir=tmp_path / "cache"))
    assert not (tmp_path / "cache").exists()
    kept = json.loads((tmp_path / "there" / "args.json").read_text())
    places = {"index", "run_dir", "cache_dir"}
    assert set(kept["arguments"]) == {f.name for f in fields(method.Options)} - places | {"method", "processes"}
    assert kept["arguments"]["precision"] == "float32"
    used = ("reference/rivals/method.py", "reference/training.py", "reference/faces.py", "data_manifests/decode.py")
    assert {*used, "spec_tests/methods/test_training.py"} <= set(kept["sources"])
    for name, digest in kept["sources"].items():
        assert hashlib.sha256((ROOT / name).read_bytes()).hexdigest() == digest


class Prototypes(TinyMethod):
    """Draws something before each epoch, keeps it in a buffer, and uses it in the loss."""

    def build(self) -> nn.Module:
        network = Tiny()
        network.register_buffer("centre", torch.zeros(2))
        return network

    def before_epoch(self, epoch: int, training: training.Training) -> None:
        self.network.centre.copy_(torch.randn(2, generator=self.draws))

    def losses(self, output: Tensor, batch: Batch) -> dict[str, Tensor]:
        pull = (output - self.network.centre).square().mean()
        return {"loss": cross_entropy(output, batch.label) + pull, "pull": pull}


def test_what_an_epoch_began_with_survives_a_stop_within_it(
    index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(tiny(index, tmp_path / "whole", checkpoint_every=2), Prototypes)
    taken, step = 0, method.step

    def stopped(*given: Any) -> dict[str, Tensor]:
        nonlocal taken
        taken += 1
        if taken == 8:
            raise KeyboardInterrupt
        return step(*given)

    monkeypatch.setattr(method, "step", stopped)
    with pytest.raises(KeyboardInterrupt):
        train(tiny(index, tmp_path / "parts", checkpoint_every=2), Prototypes)
    monkeypatch.setattr(method, "step", step)
    train(tiny(index, tmp_path / "parts", checkpoint_every=2), Prototypes)
    assert content(tmp_path / "parts") == content(tmp_path / "whole")


def test_training_that_diverges_stops_and_saves_nothing_of_it(index: Path, tmp_path: Path) -> None:
    class Diverging(TinyMethod):
        steps = 0

        def losses(self, output: Tensor, batch: Batch) -> dict[str, Tensor]:
            self.steps += 1
            return {"loss": output.square().mean() * (math.nan if self.steps == 6 else 1)}

    with pytest.raises(FloatingPointError, match=r"training loss .* epoch 2"):
        train(tiny(index, tmp_path, checkpoint_every=1), Diverging)
    assert len(lines(tmp_path)) == 1
    state = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    assert (state["epoch"], state["step"]) == (1, 1)
    assert all(v.isfinite().all() for v in state["model"].values())
    assert not (tmp_path / "done").exists()


def test_scores_that_are_no_numbers_stop_a_run(index: Path, tmp_path: Path) -> None:
    class Overflowing(TinyMethod):
        def scores(self, output: Tensor) -> dict[str, Tensor]:
            return {HEADLINE: logit_difference(output) * math.inf}

    with pytest.raises(FloatingPointError, match="a score of val is not finite in epoch 1"):
        train(tiny(index, tmp_path), Overflowing)
    assert not (tmp_path / "scores").exists()
    assert not (tmp_path / "metrics.jsonl").exists()


# What a loop is given, seen by one that draws from every generator


def trained(given: method.Options, stop: int = -1) -> list[dict[str, Any]]:
    """What each step saw and left. The run is interrupted before its step number `stop`."""
    steps: list[dict[str, Any]] = []
    with training.Training(given, "line", Path(__file__)) as harness:
        model, other = nn.Linear(1, 1), nn.BatchNorm1d(1)
        optimiser = harness.optimiser(model.parameters())
        harness.remember(model=model, other=other, optimiser=optimiser)

        def evaluate(_: int, sets: Mapping[str, evaluation.Rows]) -> evaluation.Scores:
            return {name: {"cls": np.arange(rows.size, dtype=np.float32)} for name, rows in sets.items()}

        for epoch in harness.epochs(evaluate):
            for batch in harness.batches(pixels=False):
                if len(steps) == stop:
                    raise KeyboardInterrupt
                harness.set_rate(optimiser)
                generators = {"draws": harness.draws, "image_draws": harness.image_draws, "global": None}
                drawn = {name: torch.rand(4, 1, generator=g) for name, g in generators.items()}
                target = other(sum(drawn.values()))
                error = (model(torch.ones(1, 1)) - target).square().mean()
                optimiser.zero_grad()
                error.backward()
                optimiser.step()
                harness.log({"loss": error.detach(), "half": error.detach() / 2})
                steps.append(
                    {name: x.flatten().tolist() for name, x in drawn.items()}
                    | {"epoch": epoch, "progress": batch.progress, "rows": batch.rows.tolist()}
                    | {"rate": optimiser.param_groups[0]["lr"], "weight": model.weight.item()}
                    | {"mean": other.running_mean.item()}
                )
    return steps


def test_progress_runs_from_0_towards_1(index: Path, tmp_path: Path) -> None:
    steps = trained(tiny(index, tmp_path / "run"))
    assert [step["progress"] for step in steps] == [k / 12 for k in range(12)]
    assert [step["epoch"] for step in steps] == [0] * 4 + [1] * 4 + [2] * 4
    epochs = [[row for step in steps if step["epoch"] == e for row in step["rows"]] for e in range(3)]
    assert len({*epochs[0]}) == 8
    assert epochs[0] != epochs[1]


@pytest.mark.parametrize(
    ("stop", "every", "again_from"), [(2, 1, 2), (3, 2, 2), (5, 2, 4), (7, 2, 6), (6, 0, 4), (1, 0, 0)]
)
def test_an_interrupted_training_goes_on_with_every_part_and_generator(
    index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop: int, every: int, again_from: int
) -> None:
    """In mid-epoch too: each later step has the same progress, frames, draws, rate, weights and buffers."""
    monkeypatch.setattr(runs.Run, "tidy", lambda self: None)  # the checkpoints are compared below
    more = {"checkpoint_every": every, "optimiser": "adamw", "warmup": 0.5}
    whole = trained(tiny(index, tmp_path / "whole", **more))
    with pytest.raises(KeyboardInterrupt):
        trained(tiny(index, tmp_path / "pieces", **more), stop)
    assert trained(tiny(index, tmp_path / "pieces", **more)) == whole[again_from:]
    assert content(tmp_path / "pieces") == content(tmp_path / "whole")
    states = [torch.load(tmp_path / name / "checkpoint.pt", weights_only=True) for name in ("whole", "pieces")]
    logs = {state.pop("log") for state in states}
    assert len(logs) == 2  # a line says how long its epoch took
    proofs = [(state.pop("owner"), state.pop("scores")) for state in states]
    assert proofs[0] == proofs[1]
    assert states[0].keys() == {
        "epoch", "step", "sums", "draws", "image_draws", "random", "model", "other", "optimiser",
    }  # fmt: skip
    torch.testing.assert_close(*states, rtol=0, atol=0)


# Command lines


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--image-size", "40"], "--image-size 40: this network needs a multiple of 16"),
        (["--batch-size", "7"], "--batch-size 7: give an even number"),
        (["--epochs", "0"], "--epochs 0: give at least 1"),
        (["--warmup", "1.5"], "--warmup 1.5"),
        (["--warmup", "nan"], "--warmup nan"),
        (["--learning-rate", "0"], "--learning-rate 0.0: give a number above 0"),
        (["--weight-decay", "nan"], "--weight-decay nan"),
        (["--protocol", "none"], "no protocol 'none'"),
        (["--device", "abacus"], "--device abacus"),
        pytest.param(
            ["--device", "cuda"],
            "--device cuda: this torch sees no CUDA device",
            marks=pytest.mark.skipif(torch.cuda.is_available(), reason="there is one"),
        ),
    ],
)
def test_unusable_options_end_in_one_sentence(
    index: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    sentence: str,
) -> None:
    places = ["--index", str(index), "--run-dir", str(tmp_path / "run")]
    monkeypatch.setattr(sys, "argv", ["mlp_mixer_s16", *places, *arguments])
    with pytest.raises(SystemExit) as stopped:
        method.main(mlp_mixer_s16.Method, mlp_mixer_s16.Options, "")
    assert stopped.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert sentence in said
    assert said.count("\n") == 1
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("other", ["val", "test"])
def test_a_sample_that_trains_and_is_scored_is_refused(index: Path, tmp_path: Path, other: str) -> None:
    whole = load_index(index)
    names = [row.sample_id for row in whole.rows]
    splits = {split: [names[row] for row in whole.split("mmfas", split)] for split in ("train", "val", "test")}
    splits[other].append(splits["train"][1])
    save_index(tmp_path / "index", [*whole.rows], {"mmfas": splits}, whole.roots)
    with pytest.raises(
        BadInput, match=f"1 samples both in train and in {other}, {splits['train'][1]} first; name each"
    ):
        train(tiny(tmp_path / "index" / "index.csv", tmp_path / "run"))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("split", ["val", "test"])
def test_sets_of_one_class_are_refused_before_there_is_a_folder(index: Path, tmp_path: Path, split: str) -> None:
    whole = load_index(index)
    rows = [*whole.rows]
    splits = {name: [rows[row] for row in whole.split("mmfas", name)] for name in ("train", "val", "test")}
    splits[split] = [row for row in splits[split] if row.bonafide]
    names = {name: [row.sample_id for row in members] for name, members in splits.items()}
    save_index(tmp_path / "index", rows, {"mmfas": names}, whole.roots)
    with pytest.raises(BadInput, match="has no attack sample; both classes are needed to evaluate"):
        train(tiny(tmp_path / "index" / "index.csv", tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def test_diverging_ends_with_status_1(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped, evaluation.command_errors():
        raise evaluation.diverged("the training loss (loss)", 2)
    assert stopped.value.code == 1
    said = capsys.readouterr().err
    assert said.startswith("error: the training loss (loss) is not finite in epoch 3")
    assert said.count("\n") == 1
