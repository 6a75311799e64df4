"""Command lines and presets, which source files decide a training, and how long its loop is."""

import importlib
import inspect
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from data_manifests.errors import BadInput
from reference import environment, mmda, mmfas, options
from reference.options import presets, readings
from reference.rivals import rows
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


# Numbers with bounds

KINDS: dict[str, Any] = {"mmfas": mmfas.Options, "mmda": mmda.Options} | {
    name: importlib.import_module(row.program).Options
    for name, row in rows.load().items()
    if row.implemented and row.sees
}
NUMBERS = [(name, field) for name, kind in KINDS.items() for field in options.bounds(kind)]
HOSTILE = [math.nan, math.inf, -math.inf, -1, -1.5, 0, -(2**63), 2**31, 2**64, 1e300]


@given(which=st.sampled_from(NUMBERS), value=st.sampled_from(HOSTILE) | st.floats() | st.integers())
@example(which=("mmfas", "alpha"), value=math.nan)
@example(which=("mmfas", "tau"), value=0.0)
@example(which=("mmda", "seed"), value=2**64)
@example(which=("mmda", "seed"), value=-1)
@example(which=("mmfas", "threads"), value=1_000_000)
@example(which=("mmfas", "image_size"), value=2**31)
def test_a_number_is_used_or_refused_by_its_name_and_range(which: tuple[str, str], value: float) -> None:
    name, field = which
    given = KINDS[name](index=Path("i"), run_dir=Path("r"))
    given.check()
    whole = type(getattr(given, field)) is int
    if whole and isinstance(value, float):
        value = int(value) if math.isfinite(value) else 2**63
    within = options.bounds(KINDS[name])[field]
    try:
        replace(given, **{field: value}).check()
    except BadInput as e:
        said = str(e)
    else:
        said = ""
        assert math.isfinite(value)
        assert within.low <= value <= within.high
    assert "\n" not in said
    outside = not math.isfinite(value) or not within.low <= value <= within.high
    assert not outside or f"{options.option(field)} {value}: give " in said


@pytest.mark.parametrize("value", [1e39, 5e-324])
def test_numbers_that_float32_does_not_hold_are_refused(value: float) -> None:
    with pytest.raises(BadInput, match=r"--tau .*: give a number whose size is from 1e-30 to 1e\+30"):
        replace(KINDS["mmfas"](index=Path("i"), run_dir=Path("r")), tau=value).check()


def test_a_data_set_that_is_named_twice_is_refused() -> None:
    with pytest.raises(BadInput, match="--targets SWW: names a data set twice"):
        replace(KINDS["mmfas"](index=Path("i"), run_dir=Path("r")), targets="SWW").check()


def test_bounds_are_inherited_by_what_replaces_a_default() -> None:
    assert options.bounds(mmda.Options)["batch_size"] == options.Within(2, 2**20)
    assert options.bounds(mmfas.Options)["tau"].above


@pytest.mark.parametrize("name", ["meta", "mps", "cuda:99"])
def test_devices_that_nothing_trains_on_are_refused(name: str) -> None:
    with pytest.raises(BadInput, match=f"--device {name}: "):
        environment.pick_device(name)
