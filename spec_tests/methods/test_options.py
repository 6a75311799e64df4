"""Command lines and presets, which source files decide a training, and how long its loop is."""

import inspect
from pathlib import Path
from typing import Any

import pytest

from reference import mmda, mmfas, options
from reference.options import presets, readings
from reference.sources import sources

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
