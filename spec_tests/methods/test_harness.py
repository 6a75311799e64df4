"""What the harness does once for every training: options and presets, batches and their progress, checkpoints."""

import inspect
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from reference import mmda, mmfas, options
from reference.evaluation import Scores
from reference.options import presets, readings
from reference.sources import sources
from reference.training import Training
from spec_tests.support import miniature

STEPS, EPOCHS = 3, 2


@pytest.fixture(autouse=True)
def settings_of_torch() -> Iterator[None]:
    threads = torch.get_num_threads()
    yield
    torch.use_deterministic_algorithms(False)
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve frames to train on: three steps of four."""
    return miniature.write_index(tmp_path_factory.mktemp("index"), subjects=6, sets="C")


def chosen(index: Path, run_dir: Path, **more: Any) -> options.Options:
    usual = {"cache_dir": index.parent / "cache", "image_size": 8, "batch_size": 4, "epochs": EPOCHS, "device": "cpu"}
    return options.Options(index=index, run_dir=run_dir, **(usual | more))


# --- a training of a line through one point, which draws from every generator there is ------------------------------


def trained(options: options.Options, stop: int = -1, loss: float = 0.0) -> list[dict[str, Any]]:
    """What each step saw and left. The run is interrupted before its step number `stop`."""
    steps: list[dict[str, Any]] = []
    with Training(options, "line", Path(__file__)) as training:
        model, other = nn.Linear(1, 1), nn.BatchNorm1d(1)
        optimiser = training.optimiser(model.parameters())
        training.remember(model=model, other=other, optimiser=optimiser)

        def evaluate(epoch: int) -> Scores:
            return {name: {"cls": np.arange(rows.size, dtype=np.float32)} for name, rows in training.sets.items()}

        for epoch in training.epochs(evaluate):
            for batch in training.batches(pixels=False):
                if len(steps) == stop:
                    raise KeyboardInterrupt
                training.set_rate(optimiser)
                generators = {"draws": training.draws, "image_draws": training.image_draws, "global": None}
                drawn = {name: torch.rand(4, 1, generator=g) for name, g in generators.items()}
                target = other(sum(drawn.values()))
                error = (model(torch.ones(1, 1)) - target).square().mean() + loss
                optimiser.zero_grad()
                error.backward()
                optimiser.step()
                training.log({"loss": error.detach(), "half": error.detach() / 2})
                steps.append(
                    {name: x.flatten().tolist() for name, x in drawn.items()}
                    | {"epoch": epoch, "progress": batch.progress, "rows": batch.rows.tolist()}
                    | {"rate": optimiser.param_groups[0]["lr"], "weight": model.weight.item()}
                    | {"mean": other.running_mean.item()}
                )
    return steps


def lines(run_dir: Path) -> list[dict[str, Any]]:
    timeless = ("seconds", "samples_per_second", "waiting_for_data", "evaluation_seconds")
    text = (run_dir / "metrics.jsonl").read_text()
    return [{k: v for k, v in json.loads(line).items() if k not in timeless} for line in text.splitlines()]


def test_progress_runs_from_0_towards_1(index: Path, tmp_path: Path) -> None:
    steps = trained(chosen(index, tmp_path / "run"))
    assert [step["progress"] for step in steps] == [k / (STEPS * EPOCHS) for k in range(STEPS * EPOCHS)]
    assert [step["epoch"] for step in steps] == [0, 0, 0, 1, 1, 1]
    epochs = [[row for step in steps if step["epoch"] == e for row in step["rows"]] for e in range(EPOCHS)]
    assert len({*epochs[0]}) == 12
    assert epochs[0] != epochs[1]


@pytest.mark.parametrize(("stop", "every", "again_from"), [(2, 1, 2), (2, 2, 2), (4, 2, 3), (4, 0, 3), (1, 0, 0)])
def test_an_interrupted_training_goes_on_with_every_part_and_generator(
    index: Path, tmp_path: Path, stop: int, every: int, again_from: int
) -> None:
    """In mid-epoch too: each later step has the same progress, frames, draws, rate, weights and buffers."""
    more = {"checkpoint_every": every, "optimiser": "adamw", "warmup": 0.5}
    whole = trained(chosen(index, tmp_path / "whole", **more))
    with pytest.raises(KeyboardInterrupt):
        trained(chosen(index, tmp_path / "pieces", **more), stop)
    assert trained(chosen(index, tmp_path / "pieces", **more)) == whole[again_from:]
    assert lines(tmp_path / "pieces") == lines(tmp_path / "whole")
    states = [torch.load(tmp_path / name / "checkpoint.pt", weights_only=True) for name in ("whole", "pieces")]
    assert states[0].keys() == {
        "epoch", "step", "sums", "draws", "image_draws", "random", "model", "other", "optimiser",
    }  # fmt: skip
    torch.testing.assert_close(*states, rtol=0, atol=0)


def test_losses_of_an_epoch_are_means_over_its_steps(index: Path, tmp_path: Path) -> None:
    trained(chosen(index, tmp_path / "run"))
    for line in lines(tmp_path / "run"):
        assert line["half"] == pytest.approx(line["loss"] / 2)
        assert 0 < line["loss"] < 10  # not their sum, nor that of all epochs


def test_a_loss_that_is_not_finite_ends_the_run_and_is_named(index: Path, tmp_path: Path) -> None:
    with pytest.raises(FloatingPointError, match=r"the training loss \(loss\) is not finite in epoch 1"):
        trained(chosen(index, tmp_path / "run"), loss=float("nan"))
    assert not (tmp_path / "run" / "metrics.jsonl").exists()
    assert not (tmp_path / "run" / "done").exists()


def test_scores_that_are_not_finite_are_not_kept(index: Path, tmp_path: Path) -> None:
    with Training(chosen(index, tmp_path / "run"), "line", Path(__file__)) as training:
        finite = {name: {"cls": np.zeros(rows.size, np.float32)} for name, rows in training.sets.items()}
        broken = finite | {"C": {"cls": np.full(training.sets["C"].size, np.nan, np.float32)}}
        with pytest.raises(FloatingPointError, match="a score of C is not finite in epoch 4"):
            training.record(3, broken)
        assert not (tmp_path / "run" / "scores").exists()
        assert training.record(3, finite).keys() == {"val", "C"}


def test_a_finished_training_begins_nothing(index: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trained(chosen(index, tmp_path / "run"))
    capsys.readouterr()
    with Training(chosen(index, tmp_path / "run"), "line", Path(__file__)) as training:
        assert training.done
        assert not hasattr(training, "faces")
    assert capsys.readouterr().out == f"{tmp_path / 'run'}: already finished\n"


# --- options -----------------------------------------------------------------------------------------------------

WHERE = ["--index", "i", "--run-dir", "r"]


def parsed(*words: str) -> mmda.Options:
    return options.parse(mmda.Options, "reference.mmda", None, [*WHERE, *words])


@pytest.mark.parametrize("preset", presets(mmda.Options))
def test_help_shows_the_values_of_the_preset_that_is_asked_for(preset: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        options.parse(mmda.Options, "reference.mmda", "About", ["--preset", preset, "--help"])
    assert stop.value.code == 0
    said = " ".join(capsys.readouterr().out.replace("│", " ").split())
    for name, values in readings(mmda.Options).items():
        _, _, rest = said.partition(f" {options.option(name)}")
        value = rest.partition("(default: ")[2].partition(")")[0]
        assert value == str(values[preset]), name
    assert "(required)" in said


@pytest.mark.parametrize("words", [["--preset", "released"], ["--preset=released"]])
def test_one_option_replaces_one_reading(words: list[str]) -> None:
    given = parsed(*words, "--remap", "chained", "--no-batch-attention")
    changed = {"remap": "chained", "batch_attention": False}
    assert given.preset == "released"
    for name, values in readings(mmda.Options).items():
        assert getattr(given, name) == changed.get(name, values["released"]), name


def test_without_a_preset_the_default_is_complete() -> None:
    given = parsed()
    assert given == mmda.Options(index=Path("i"), run_dir=Path("r"))
    assert {name: getattr(given, name) for name in readings(mmda.Options)} == {
        name: values["batch_free"] for name, values in readings(mmda.Options).items()
    }


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ([*WHERE, "--preset", "mine"], "mine"),
        (["--preset", "released"], "--index"),
        ([*WHERE, "--order", "R"], "order"),
    ],
)
def test_what_is_no_option_is_refused(words: list[str], complaint: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        options.parse(mmda.Options, "reference.mmda", None, words)
    assert stop.value.code == 2
    assert complaint in capsys.readouterr().err
    with pytest.raises(ValueError, match="preset must be one of paper, released, batch_free, not 'mine'"):
        mmda.Options(index=Path(), run_dir=Path(), preset="mine")  # type: ignore[arg-type]


# --- where things stand ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("module", ["mmfas", "mmda"])
def test_all_that_decides_a_training_belongs_to_its_sources(module: str) -> None:
    files = sources(f"reference.{module}").keys()
    shared = {"training", "evaluation", "options", "batches", "faces", "runs", "metrics", "environment", "sources"}
    assert {f"reference/{name}.py" for name in (module, *shared)} <= files
    assert ("reference/clip.py" in files) == (module == "mmda")
    assert {"data_manifests/decode.py", "data_manifests/index.py"} <= files
    assert not any(file.startswith(("spec_tests/", "paper_tables/")) for file in files)


@pytest.mark.parametrize(("module", "most"), [(mmfas, 60), (mmda, 90)])
def test_a_papers_training_is_read_at_a_glance(module: Any, most: int) -> None:
    """Its loop and its step stand in its own file, and neither has grown."""
    loop, step = (inspect.getsourcelines(f)[0] for f in (module.train, module.step))
    assert len(loop) + len(step) <= most
    assert any("for batch in training.batches(" in line for line in loop)
