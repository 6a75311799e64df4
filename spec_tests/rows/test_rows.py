"""Every comparison row is what its stanza of rows.toml says, tried in the same ways for all of them.

A row's own test file holds its own mathematics alone. Parameters are counted without memory, everything else is tried
at the smallest images and the narrowest network that the stanza names.
"""

import ast
import importlib
import inspect
import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
from torch import Tensor, nn

from data_manifests.errors import BadInput
from data_manifests.index import MODALITIES, load_index
from reference import metrics, options, training
from reference.clip import Clip
from reference.faces import open_faces
from reference.rivals import method, rows
from reference.rivals.blocks import clip_classifier
from reference.rivals.rows import Row
from reference.runs import HEADLINE
from spec_tests.support.miniature import write_index
from spec_tests.support.networks import batch_of, images, scrambled, torch_settings_kept
from spec_tests.support.run_folders import content
from spec_tests.support.tiny_clip import tiny_clip

CPU = torch.device("cpu")
IMPLEMENTED = [row for row in rows.load().values() if row.implemented]
SEEING = [row for row in IMPLEMENTED if row.sees]
TRAINED = [row for row in SEEING if row.trains]
BLOCKS = Path(rows.__file__).parent / "blocks"


def of_each(*chosen: Row) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("row", chosen, ids=[row.name for row in chosen])


@pytest.fixture(autouse=True)
def torch_settings() -> Iterator[None]:
    with torch_settings_kept():
        yield


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_index(tmp_path_factory.mktemp("miniature"))


@pytest.fixture
def narrow(row: Row, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The row's file with the stanza's narrow network; `--clip phantom` is an untrained CLIP of a few weights."""
    module = importlib.import_module(row.program)
    for name, value in row.narrow.items():
        if name.isupper():
            assert type(getattr(module, name)) is type(value), name
            monkeypatch.setattr(module, name, value)
    monkeypatch.setattr(clip_classifier, "load_clip", lambda *_: tiny_clip())
    return module


def smallest(row: Row, module: ModuleType, **changes: Any) -> Any:
    """The row's options at the smallest images, for its narrow network."""
    usual = {"device": "cpu", "batch_size": 2, "learning_rate": 1e-3, "index": Path(), "run_dir": Path()}
    declared = {name: value for name, value in (row.smallest | row.narrow).items() if not name.isupper()}
    stanza = {name.replace("-", "_"): value for name, value in declared.items()}
    return module.Options(**(usual | stanza | changes))


def built(row: Row, module: ModuleType, seed: int = 0, domains: int = 3, **changes: Any) -> method.Method[Any]:
    """The method with its network for so many sources, as the loop sets it up."""
    torch.manual_seed(seed)
    made = module.Method(smallest(row, module, **changes), CPU)
    made.domains = tuple(range(domains))
    made.network, made.draws = made.build(), torch.Generator().manual_seed(seed)
    return made


def scores(made: method.Method[Any], pictures: list[Tensor]) -> Tensor:
    made.network.eval()
    with torch.inference_mode():
        return made.predict(batch_of(pictures))[HEADLINE]


def size(row: Row) -> int:
    return int(row.smallest["image-size"])


# What the stanza says


@of_each(*SEEING)
def test_it_has_the_parameters_of_its_stanza(row: Row, monkeypatch: pytest.MonkeyPatch) -> None:
    module = importlib.import_module(row.program)
    architecture = open_clip.get_model_config("ViT-B-16") | {"quick_gelu": True}
    monkeypatch.setattr(
        clip_classifier, "load_clip", lambda *_: Clip(open_clip.CLIP(**architecture), "ViT-B-16, no weights", "")
    )
    with torch.device("meta"):
        made = module.Method(module.Options(index=Path(), run_dir=Path(), preset="released", device="cpu"), CPU)
        made.domains = (0, 1, 2)
        count = sum(p.numel() for p in made.build().parameters())
    assert row.parameters is not None
    assert count == row.parameters["on_path"]
    assert row.parameters["state"] >= count


@of_each(*SEEING)
def test_it_looks_at_the_modalities_of_its_stanza(row: Row, narrow: ModuleType) -> None:
    made = built(row, narrow)
    scrambled(made.network, 1)
    a, b = images(0, size(row)), images(1, size(row))
    before = scores(made, a)
    for place, modality in enumerate("RDI"):
        changed = [b[i] if i == place else a[i] for i in range(3)]
        assert torch.equal(before, scores(made, changed)) == (modality not in row.sees), modality


@of_each(*SEEING)
def test_a_samples_score_is_its_own_unless_the_stanza_says_otherwise(row: Row, narrow: ModuleType) -> None:
    made = built(row, narrow)
    scrambled(made.network, 2)
    pictures = images(3, size(row), batch=4)
    together = scores(made, pictures)
    by_one = torch.cat([scores(made, [x[i : i + 1] for x in pictures]) for i in range(4)])
    assert torch.allclose(together, by_one, rtol=1e-4, atol=1e-5) == row.alone


@of_each(*IMPLEMENTED)
def test_whether_it_trains_is_what_the_stanza_says(row: Row) -> None:
    module = importlib.import_module(row.program)
    assert row.trains == (bool(row.sees) and module.Method.trains())
    assert row.trains == bool(row.cost), "a row that trains has a cost, and no other"


# What every row gives


def presets_of(row: Row) -> tuple[str, ...]:
    return options.presets(importlib.import_module(row.program).Options)


@of_each(*TRAINED)
def test_one_step_of_every_preset_has_finite_losses_by_name(row: Row, narrow: ModuleType) -> None:
    assert presets_of(row) == ("table", "described", "released")
    for preset in presets_of(row):
        made = built(row, narrow, preset=preset)
        made.network.train()
        optimiser = torch.optim.SGD(made.network.parameters(), lr=1e-3)
        losses = method.step(
            made, optimiser, batch_of(images(4, size(row), batch=6)), torch.autocast("cpu", enabled=False)
        )
        assert "loss" in losses
        for name, loss in losses.items():
            assert name.isidentifier()
            assert loss.shape == ()
            assert loss.isfinite()


@of_each(*TRAINED)
def test_one_and_two_sources_train_it_as_well_as_three(row: Row, narrow: ModuleType) -> None:
    for sources in (1, 2):
        for preset in presets_of(row):
            made = built(row, narrow, domains=sources, preset=preset)
            made.network.train()
            optimiser = torch.optim.SGD(made.network.parameters(), lr=1e-3)
            batch = batch_of(images(4, size(row), batch=4 * sources), domains=sources)
            losses = method.step(made, optimiser, batch, torch.autocast("cpu", enabled=False))
            assert all(loss.isfinite() for loss in losses.values())


@of_each(*[row for row in TRAINED if "clip" not in row.smallest])
def test_losses_and_scores_of_a_float64_network_are_float64(row: Row, narrow: ModuleType) -> None:
    made = built(row, narrow)
    made.network.double().eval()
    batch = batch_of([x.double() for x in images(5, size(row), batch=4)])
    with torch.no_grad():
        losses, heads = made.losses(made.forward(batch), batch), made.predict(batch)
    for name, value in (losses | heads).items():
        assert value.dtype == torch.float64, name


@of_each(*[row for row in TRAINED if row.clip])
def test_cosines_are_scaled_in_float32_whatever_the_arithmetic(row: Row, narrow: ModuleType) -> None:
    made = built(row, narrow)
    made.network.train()
    with torch.autocast("cpu", torch.bfloat16):
        output = made.forward(batch_of(images(6, size(row), batch=4)))
    logits = output if isinstance(output, Tensor) else output.logits
    assert logits.dtype == torch.float32
    assert not torch.equal(logits, logits.bfloat16().float())


@of_each(*TRAINED)
def test_a_few_steps_teach_what_is_bona_fide(row: Row, narrow: ModuleType) -> None:
    made = built(row, narrow)
    label = torch.tensor([0.0, 1.0] * 6)
    pictures = [0.3 * x + 0.5 * (1 - 2 * label)[:, None, None, None] for x in images(0, size(row), batch=12)]
    batch = batch_of(pictures, label)
    optimiser = torch.optim.AdamW(made.network.parameters(), lr=1e-3)
    made.network.train()
    reached = []
    for _ in range(6):  # six steps are enough for most, and other roundings of another CPU for some of them not
        for _ in range(6):
            method.step(made, optimiser, batch, torch.autocast("cpu", enabled=False))
        with torch.no_grad():  # still in training: so few steps are too few for running statistics
            heads = made.predict(batch)
        reached.append(metrics.auc(heads[HEADLINE].numpy(), label.numpy() == 0))
        if reached[-1] > 0.95:
            return
    pytest.fail(f"AUC after each six steps: {reached}")


@of_each(*SEEING)
def test_scoring_changes_nothing_of_the_network(row: Row, narrow: ModuleType) -> None:
    """Or a training would depend on how often it is evaluated."""
    made = built(row, narrow)
    before = {name: x.clone() for name, x in made.network.state_dict().items()}
    scores(made, images(0, size(row)))
    after = made.network.state_dict()
    assert [name for name in before if not torch.equal(before[name], after[name])] == []


class Interrupted(Exception):
    pass


@of_each(*TRAINED)
def test_an_interrupted_run_goes_on_bit_for_bit(
    row: Row, narrow: ModuleType, index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two epochs of four steps on three data sets, interrupted after the third step, one step behind the last
    checkpoint. Its test sets are scored at the end, by the last weights and, as if chosen, those of the first epoch;
    those of the undisturbed run after each epoch."""
    monkeypatch.setattr(training, "chosen_line", lambda lines: lines[0])
    places = {"index": index, "cache_dir": tmp_path / "cache", "protocol": "official"}
    shape = places | {"epochs": 2, "batch_size": 6, "checkpoint_every": 2, "augmentation": "flip"}
    method.train(narrow.Method, smallest(row, narrow, run_dir=tmp_path / "whole", score_tests="every", **shape))
    taken, step = 0, method.step

    def interrupted(*given: Any) -> dict[str, Tensor]:
        nonlocal taken
        taken += 1
        if taken == 4:
            raise Interrupted
        return step(*given)

    again = smallest(row, narrow, run_dir=tmp_path / "parts", **shape)
    monkeypatch.setattr(method, "step", interrupted)
    with pytest.raises(Interrupted):
        method.train(narrow.Method, again)
    assert (tmp_path / "parts" / "checkpoint.pt").exists()
    monkeypatch.setattr(method, "step", step)
    method.train(narrow.Method, again)
    assert content(tmp_path / "parts") == content(tmp_path / "whole", heads=False)
    args = json.loads((tmp_path / "parts" / "args.json").read_text())
    assert args["arguments"]["method"] == row.name
    assert f"reference/rivals/{row.module or row.name}.py" in args["sources"]


@of_each(*[row for row in SEEING if not row.trains])
def test_a_row_that_does_not_train_leaves_one_epoch_of_scores(
    row: Row, narrow: ModuleType, index: Path, tmp_path: Path
) -> None:
    given = smallest(row, narrow, index=index, run_dir=tmp_path / "run", cache_dir=tmp_path / "cache")
    method.train(narrow.Method, given)
    with np.load(tmp_path / "run" / "scores" / "W.npz", allow_pickle=False) as saved:
        assert saved["epochs"].tolist() == [0]
    assert (tmp_path / "run" / "done").exists()


# Unusable input


@of_each(*TRAINED)
def test_an_index_in_which_no_sample_has_what_it_looks_at_is_refused(
    row: Row, narrow: ModuleType, tmp_path: Path
) -> None:
    for letter in row.sees:
        modality = MODALITIES["RDI".index(letter)]
        index, run = write_index(tmp_path / letter, subjects=3, frames=1, without=modality), tmp_path / "run"
        with pytest.raises(BadInput, match=f"no training sample of protocol mmfas has {modality}") as refused:
            method.train(narrow.Method, smallest(row, narrow, index=index, run_dir=run, protocol="mmfas"))
        assert str(index) in str(refused.value)
        assert not run.exists()


@of_each(*TRAINED)
def test_a_training_split_of_one_class_is_refused_however_its_frames_come(
    row: Row, narrow: ModuleType, tmp_path: Path
) -> None:
    index, run = write_index(tmp_path / "miniature", subjects=3, frames=1), tmp_path / "run"
    protocols = index.with_name("protocols.csv")
    lines = protocols.read_text().splitlines(keepends=True)
    protocols.write_text("".join(line for line in lines if not re.search(",train,.*-attack/", line)))
    for preset in presets_of(row):
        given = smallest(row, narrow, preset=preset, index=index, run_dir=run, protocol="official", batch_size=6)
        with pytest.raises(BadInput, match="the training split holds no attack frame"):
            method.train(narrow.Method, given)
        assert not run.exists()


@of_each(*SEEING)
def test_an_image_size_is_taken_or_refused_by_name(row: Row, narrow: ModuleType) -> None:
    for side in (1, 7, size(row) + 1):
        try:
            smallest(row, narrow, image_size=side).check()
            made = built(row, narrow, image_size=side)
        except BadInput as refused:
            assert str(refused).startswith("--")  # noqa: PT017
        else:
            assert scores(made, images(0, side)).isfinite().all()


# Its options


def documented(kind: type) -> dict[str, str]:
    """The docstring of every field of an options class, from the nearest class that declares it."""
    texts: dict[str, str] = {}
    for owner in reversed(kind.__mro__[:-1]):
        body = ast.parse(inspect.getsource(owner)).body[0]
        assert isinstance(body, ast.ClassDef)
        for field, after in zip(body.body, body.body[1:], strict=False):
            if isinstance(field, ast.AnnAssign) and isinstance(after, ast.Expr):
                assert isinstance(field.target, ast.Name)
                texts[field.target.id] = str(ast.literal_eval(after.value))
    return texts


@of_each(*IMPLEMENTED)
def test_help_is_complete(row: Row, capsys: pytest.CaptureFixture[str]) -> None:
    kind = importlib.import_module(row.program).Options
    texts = documented(kind)
    with pytest.raises(SystemExit) as stopped:
        options.parse(kind, row.program, "", ["--help"])
    assert stopped.value.code == 0
    shown = capsys.readouterr().out
    assert f"python -m {row.program}" in shown
    for field in fields(kind):
        assert options.option(field.name) in shown
        assert len(texts[field.name]) > 10, field.name
    if row.sees:
        for name, values in options.readings(kind).items():
            assert set(values) == set(presets_of(row))
            assert texts[name].split(":")[0][1:].isdigit(), f"{name}: a reading's help begins with its letter, as R1:"


@of_each(*SEEING)
def test_presets_resolve_and_one_option_replaces_one_reading(row: Row) -> None:
    kind = importlib.import_module(row.program).Options
    words = ["--index", "index.csv", "--run-dir", "run"]
    declared = options.readings(kind)
    for preset in presets_of(row):
        given = options.parse(kind, row.program, "", [*words, "--preset", preset])
        assert {name: getattr(given, name) for name in declared} == {n: v[preset] for n, v in declared.items()}
    other = options.parse(kind, row.program, "", [*words, "--preset=released", "--epochs", "77"])
    assert (other.preset, other.epochs) == ("released", 77)
    assert options.parse(kind, row.program, "", words).preset == "table"


def test_a_missing_modality_is_fed_as_the_option_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A row that scores the lowest pixel of its infrared, which tells what has been fed for it."""
    module = importlib.import_module("reference.rivals.resnet50")
    monkeypatch.setattr(module.Method, "predict", lambda self, batch: {HEADLINE: batch.ir.amin((1, 2, 3))})
    monkeypatch.setattr(module, "LAYERS", [1, 1, 1, 1])
    index = write_index(tmp_path)
    for missing_as, value in (("black", -1.0), ("grey", 0.0)):
        given = module.Options(
            index=index, run_dir=tmp_path / missing_as, cache_dir=tmp_path / "cache", missing=("I",),
            missing_as=missing_as, image_size=32, batch_size=8, epochs=1, device="cpu",
        )  # fmt: skip
        method.train(module.Method, given)
        with np.load(tmp_path / missing_as / "scores" / "W-I.npz", allow_pickle=False) as saved:
            assert (saved["scores"] == value).all()
        with np.load(tmp_path / missing_as / "scores" / "W.npz", allow_pickle=False) as saved:
            assert (saved["scores"] != value).any()


# How often a branch that sees one modality is computed for a batch with all, without D, without I and without both: for
# its own images and for what stands for a missing one. Captions are encoded once.
REUSED = {"vit_s16": [1, 2, 2], "mm_cdcn": [1, 2, 2], "cmfl": [1, 2, 2], "flip": [4, 1]}
REUSED |= {"clip_zero_shot": [4, 1], "clip_finetuned": [4, 1]}


def counted(function: Any, called: list[str], name: str) -> Any:
    def call(*given: Any) -> Any:
        called.append(name)
        return function(*given)

    return call


@of_each(*SEEING)
def test_a_missing_modality_costs_no_second_look_at_the_others(
    row: Row, narrow: ModuleType, index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And scores are the same bits; nor does anything at test draw from the generator of training."""
    harness = training.Training.__new__(training.Training)  # of which only scoring is tried
    loaded = load_index(index)
    harness.faces = open_faces(loaded, size(row), tmp_path / "cache")
    harness.device, harness.tf32 = CPU, False
    sets = dict.fromkeys(("W", "W-D", "W-I", "W-DI"), loaded.split("official", "test")[:4])
    for preset in presets_of(row):
        more = {"flip": {"fusion": "mean"}, "vit_s16": {"modalities": "score_average"}}.get(row.name, {})
        made = built(row, narrow, preset=preset, **(more if preset == "table" else {}))
        harness.options, before = replace(made.options, batch_size=4), made.draws.get_state()
        called: list[str] = []
        with monkeypatch.context() as patch:
            for place, (owner, name) in enumerate(made.reused()):
                patch.setattr(owner, name, counted(getattr(owner, name), called, f"{place} {name}"))
            with patch.context() as without:
                without.setattr(made, "reused", lambda: ())
                plain = dict(made.evaluate(harness, sets))
            assert all(count >= 4 for count in Counter(called).values())
            called.clear()
            again = made.evaluate(harness, sets)
        counts = [*Counter(called).values()]
        plain["W-DI"] = made.evaluate(harness, {"W-DI": sets["W-DI"]})["W-DI"]  # drawn alike by itself
        for name, heads in plain.items():
            for head, values in heads.items():
                np.testing.assert_array_equal(again[name][head], values, err_msg=name)
        assert torch.equal(made.draws.get_state(), before)
        if preset == "table":
            assert counts == REUSED.get(row.name, [])


# The house


@pytest.mark.parametrize("file", [*BLOCKS.parent.glob("*.py"), *BLOCKS.glob("*.py")], ids=lambda file: file.stem)
def test_a_row_imports_blocks_and_never_another_row(file: Path) -> None:
    names = {row.module or row.name for row in rows.load().values()}
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("reference.rivals"):
            imported = {(node.module or "").rpartition(".")[2], *(alias.name for alias in node.names)}
            assert not imported & names, f"{file.name} imports the row {sorted(imported & names)}"


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ("[a]\nlabel = 'A'", "has no tables"),
        ("[a]\nlabel = 3\ntables = {}", "label is 3"),
        ("[a]\nlabel = 'A'\ntables = {}\ncolour = 1", "unknown key colour"),
        ("[a]\nlabel = 'A'\ntables = {}\ncost = { gpu = 1.0 }", "cost names gpu"),
        ("[a]\nlabel = 'A'\ntables = {}\nparameters = { on_path = 1 }", "on_path and state"),
        ("[a]\nlabel = 'A'\ntables = {}\nsees = 'X'\n", "sees 'X'"),
        ("[a]\nlabel = 'A'\ntables = {}\nparameters = { on_path = 1, state = 1 }", "no file a.py"),
        ("label = 'A'", "[label] is no stanza"),
        ("[a", "cannot be read as TOML"),
    ],
)
def test_a_stanza_that_is_none_is_refused_in_one_sentence(tmp_path: Path, change: str, sentence: str) -> None:
    file = tmp_path / "rows.toml"
    file.write_text(change)
    with pytest.raises(BadInput, match=re.escape(sentence)) as refused:
        rows.load(file)
    assert str(file) in str(refused.value)


class Doubled(nn.Module):
    """A network whose scores of a sample depend on its batch, to see that the test above would notice."""

    def forward(self, rgb: Tensor, depth: Tensor, ir: Tensor) -> Tensor:
        x = rgb.mean((1, 2, 3))
        return torch.stack([x, x.sum().expand_as(x)], 1)


def test_a_score_that_depends_on_its_batch_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    row = next(row for row in TRAINED if row.name == "resnet50")
    module = importlib.import_module(row.program)
    monkeypatch.setattr(module.Method, "build", lambda self: Doubled())
    with pytest.raises(AssertionError):
        test_a_samples_score_is_its_own_unless_the_stanza_says_otherwise(row, module)
