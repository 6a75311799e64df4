"""Grad-CAM of mmFAS (its Figure 7): the maps against central differences and captum, and the command on a tiny run."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from data_manifests.errors import BadInput
from data_manifests.index import load_index, save_index
from reference import mmfas
from reference.batches import batches
from reference.faces import open_faces
from reference.mmfas import PATCH, MmFAS, Readings
from reference.probes import grad_cam
from spec_tests.equations.tolerances import GRADIENT_RTOL, STEP
from spec_tests.support import miniature

DIFFERENCE_ATOL = 1e-9  # a double's rounding of scores near 1, over STEP; maps are about 1e-2

MODELS = {
    "switch": ("switch", Readings(positions="none")),
    "switch, mean of tokens": ("switch", Readings(positions="none", pooling="mean", head_outputs=2)),
    "cross": ("cross", Readings(positions="none")),
    "mean of tokens": ("mean", Readings(positions="none", pooling="mean")),
}


@cache
def model_of(name: str) -> MmFAS:
    """A model in float64 that takes images of any size. Its head is smooth: a kink would spoil central differences."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        fusion, readings = MODELS[name]
        model = mmfas.build("text", fusion, "RDI", "RDI", 2 * PATCH, readings).double().eval()
    model.head[1] = nn.SiLU()
    return model


def images_of(seed: int, samples: int, rows: int, columns: int) -> tuple[Tensor, Tensor, Tensor]:
    """Three (samples, 3, 16 rows, 16 columns) in [-1, 1]."""
    rng = np.random.default_rng(seed)
    shape = (3, samples, 3, PATCH * rows, PATCH * columns)
    rgb, depth, ir = torch.from_numpy(rng.uniform(-1, 1, shape))
    return rgb, depth, ir


@torch.no_grad()
def by_differences(model: MmFAS, layer: nn.Module, images: tuple[Tensor, ...], sign: float) -> np.ndarray:
    """The map before upsampling, (B, P), without a gradient.

    sum_k alpha_k A^k(p) is 1/P of the score's derivative when every patch's token moves along the token of patch p.
    """
    seen: list[Tensor] = []

    def moved(by: Tensor | None) -> Tensor:
        def hook(_module: nn.Module, _input: tuple[Tensor, ...], tokens: Tensor) -> Tensor | None:
            seen.append(tokens)
            return None if by is None else torch.cat([tokens[:, :1], tokens[:, 1:] + by[:, None]], dim=1)

        handle = layer.register_forward_hook(hook)
        try:
            return sign * model(*images)
        finally:
            handle.remove()

    moved(None)
    patches = seen[0][:, 1:]
    slopes = [(moved(STEP * p) - moved(-STEP * p)) / (2 * STEP) for p in patches.unbind(1)]
    return np.maximum(torch.stack(slopes, dim=1).numpy() / patches.shape[1], 0)


def bilinear(grid: np.ndarray) -> np.ndarray:
    """(h, w) to (16 h, 16 w): between the centres of patches linear, outside them constant."""
    for axis in (0, 1):
        n = grid.shape[axis]
        at = (np.arange(PATCH * n) + 0.5) / PATCH - 0.5
        grid = np.apply_along_axis(lambda line, at=at, n=n: np.interp(at, np.arange(n), line), axis, grid)
    return grid


A_MODEL_AND_ITS_IMAGES = {
    "seed": st.integers(0, 2**31),
    "name": st.sampled_from([*MODELS]),
    "rows": st.integers(1, 2),
    "columns": st.integers(1, 3),
}


@settings(max_examples=8)
@given(
    **A_MODEL_AND_ITS_IMAGES,
    score=st.sampled_from(["spoof", "bonafide"]),
    layer=st.sampled_from(["block", "norm"]),
    letter=st.sampled_from("RDI"),
)
@example(seed=0, name="switch", rows=2, columns=3, score="spoof", layer="block", letter="D")
@example(seed=0, name="switch, mean of tokens", rows=2, columns=1, score="bonafide", layer="norm", letter="I")
@example(seed=0, name="switch", rows=1, columns=1, score="spoof", layer="block", letter="R")  # only rounding is left
def test_maps_are_what_central_differences_give(
    seed: int, name: str, rows: int, columns: int, score: str, layer: str, letter: str
) -> None:
    model, images = model_of(name), images_of(seed, 2, rows, columns)
    maps = grad_cam.grad_cam(model, *images, score, layer)
    assert [*maps] == ["R", "D", "I"]
    encoder = model.encoders[letter]
    module = encoder.blocks if layer == "block" else encoder.norm
    coarse = by_differences(model, module, images, 1 if score == "spoof" else -1)
    for one, values in zip(maps[letter], coarse, strict=True):
        want = bilinear(values.reshape(rows, columns))
        np.testing.assert_allclose(one, want, rtol=GRADIENT_RTOL, atol=DIFFERENCE_ATOL)


class Gridded(nn.Module):
    """The same network with each modality's patches as a grid (B, D, h, w) that passes a module of its own: the
    form that Grad-CAM of convolutions asks for."""

    def __init__(self, model: MmFAS) -> None:
        super().__init__()
        self.model = model
        self.grids = nn.ModuleDict({letter: nn.Identity() for letter in model.encoders})

    def forward(self, *images: Tensor) -> Tensor:
        streams = []
        for (letter, encoder), image in zip(self.model.encoders.items(), images, strict=True):
            b, _, height, width = image.shape
            patches = encoder.stem(nn.functional.unfold(image, PATCH, stride=PATCH).transpose(1, 2))
            tokens = encoder.blocks(torch.cat([encoder.cls.expand(b, -1, -1), patches], dim=1))
            grid = tokens[:, 1:].transpose(1, 2).reshape(b, -1, height // PATCH, width // PATCH)
            grid = self.grids[letter](grid)
            streams.append(encoder.norm(torch.cat([tokens[:, :1], grid.flatten(2).transpose(1, 2)], dim=1)))
        return self.model.classify(streams)


@settings(max_examples=8)
@given(**A_MODEL_AND_ITS_IMAGES)
@example(seed=0, name="switch", rows=2, columns=3)
def test_maps_are_captums(seed: int, name: str, rows: int, columns: int) -> None:
    attr = pytest.importorskip("captum.attr", reason="captum, the oracle of this test, is not installed")
    model, images = model_of(name), images_of(seed, 2, rows, columns)
    gridded = Gridded(model)
    for letter, got in grad_cam.grad_cam(model, *images).items():
        coarse = attr.LayerGradCam(gridded, gridded.grids[letter]).attribute(images, relu_attributions=True)
        want = attr.LayerAttribution.interpolate(coarse, images[0].shape[-2:], "bilinear")[:, 0].detach()
        torch.testing.assert_close(got, want, rtol=1e-9, atol=1e-12)


@given(seed=st.integers(0, 2**31), samples=st.integers(2, 5))
@settings(max_examples=5)
def test_a_sample_has_the_same_maps_alone_and_among_others(seed: int, samples: int) -> None:
    model, images = model_of("switch"), images_of(seed, samples, 2, 2)
    together = grad_cam.grad_cam(model, *images)
    last = grad_cam.grad_cam(model, *(x[-1:] for x in images))
    for letter in "RDI":
        torch.testing.assert_close(together[letter][-1:], last[letter], rtol=1e-9, atol=1e-12)


@given(seed=st.integers(0, 2**31), b=st.integers(1, 3), p=st.integers(1, 6), d=st.integers(1, 5))
def test_token_map_and_its_negative_share_no_patch(seed: int, b: int, p: int, d: int) -> None:
    rng = np.random.default_rng(seed)
    tokens, gradients = torch.from_numpy(rng.normal(size=(2, b, p, d)))
    for_it, against = grad_cam.token_map(tokens, gradients), grad_cam.token_map(tokens, -gradients)
    assert for_it.shape == (b, p)
    assert (for_it * against == 0).all()
    want = np.einsum("bd,bpd->bp", gradients.numpy().sum(1) / p, tokens.numpy())
    np.testing.assert_allclose(for_it - against, want, rtol=1e-9, atol=1e-12)


def test_a_score_of_class_tokens_alone_has_no_map() -> None:
    model = mmfas.build("text", "mean", "RD", "RDI", 2 * PATCH)
    rgb, depth, ir = (x.float() for x in images_of(0, 1, 2, 2))
    with pytest.raises(BadInput, match="does not depend on the patches of RGB"):
        grad_cam.grad_cam(model, rgb, depth, ir)


def test_nothing_is_left_in_the_model() -> None:
    model = model_of("switch")
    grad_cam.grad_cam(model, *images_of(0, 1, 2, 2))
    assert not any(module._forward_hooks for module in model.modules())
    assert all(p.grad is None for p in model.parameters())


# ------------------------------------------------------------------------------------------------- the command


@contextmanager
def torch_as_it_was() -> Iterator[None]:
    threads = torch.get_num_threads()
    yield
    torch.use_deterministic_algorithms(False)
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Like licensed sets: no marker of the renderer, and recordings named as owners' lists name them."""
    folder = tmp_path_factory.mktemp("data")
    drawn = load_index(miniature.write_index(folder, subjects=4, frames=2, sets="CW"))
    rows = [replace(row, clip_id=row.clip_id.replace("/", "_")) for row in drawn.rows]
    named = {
        name: {split: [rows[i].sample_id for i in numbers] for split, numbers in splits.items()}
        for name, splits in drawn.protocols.items()
    }
    save_index(folder / "licensed", rows, named, drawn.roots)
    return folder / "licensed" / "index.csv"


@pytest.fixture(scope="module")
def trained(index: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "mmfas"
    with torch_as_it_was():
        mmfas.train(
            mmfas.Options(
                index=index, run_dir=folder, cache_dir=index.parent / "cache", preset="text",
                image_size=miniature.SIDE, batch_size=8, epochs=1, device="cpu",
            )
        )  # fmt: skip
    return folder


def test_the_map_of_what_tells_the_classes_is_that_of_the_class_it_speaks_for(tmp_path: Path) -> None:
    path = miniature.write_index(tmp_path, subjects=6, frames=2, sets="C", gap=100)  # infrared alone tells
    with torch_as_it_was():
        mmfas.train(
            mmfas.Options(
                index=path, run_dir=tmp_path / "run", cache_dir=tmp_path / "cache", fusion="mean", pooling="mean",
                image_size=miniature.SIDE, batch_size=8, epochs=10, learning_rate=3e-4, evaluate_every=10, device="cpu",
            )
        )  # fmt: skip
    model, _ = mmfas.restore(tmp_path / "run", torch.device("cpu"))
    index = load_index(path)
    faces = open_faces(index, miniature.SIDE, tmp_path / "cache")
    (batch,) = batches(faces, [index.split("mmfas", "test")], "cpu")
    for score, own in (("spoof", batch.label == 1), ("bonafide", batch.label == 0)):
        heat = grad_cam.grad_cam(model, *batch.images, score)["I"].mean((1, 2))
        assert heat[own].mean() > 3 * heat[~own].mean(), score


@pytest.fixture
def phantom(index: Path) -> Iterator[None]:
    """The same data as the renderer's."""
    marker = index.parent.parent / "phantom.json"
    marker.write_text("{}")
    yield
    marker.unlink()


def options(index: Path, run_dir: Path, out: Path, **more: object) -> grad_cam.Options:
    return grad_cam.Options(
        index=index, run_dir=run_dir, out=out, cache_dir=index.parent / "cache", device="cpu", **more
    )


def table_in(out: Path) -> dict:
    return json.loads((out / "grad_cam.json").read_text())


@pytest.mark.usefixtures("phantom")
def test_a_picture_of_each_set_with_every_family(index: Path, trained: Path, tmp_path: Path) -> None:
    grad_cam.run(options(index, trained, tmp_path / "a"))
    names = {f"figure7-{s}.{kind}" for s in "CW" for kind in ("svg", "png")}
    assert {p.name for p in (tmp_path / "a").iterdir()} == {*names, "grad_cam.json", "SHA256SUMS"}
    table = table_in(tmp_path / "a")
    assert [(s["dataset"], s["family"]) for s in table["samples"]] == [
        (s, family) for s in "CW" for family in ("bona fide", "print")
    ]
    assert table["left_out_by_licence"] == {"C": [], "W": []}
    loaded = load_index(index)
    test = {loaded.rows[i].sample_id for i in loaded.split("mmfas", "test")}
    for sample in table["samples"]:
        assert sample["sample_id"] in test
        assert sample["phantom"]
        assert sum(sample["share"].values()) == pytest.approx(1) or not any(sample["highest"].values())
    assert "phantom stand-in faces" in (tmp_path / "a" / "figure7-W.svg").read_text()
    grad_cam.run(options(index, trained, tmp_path / "b"))
    for name in names:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes(), name


@pytest.mark.usefixtures("phantom")
def test_its_numbers_are_those_of_the_run(index: Path, trained: Path, tmp_path: Path) -> None:
    grad_cam.run(options(index, trained, tmp_path, score="bonafide", layer="norm"))
    table = table_in(tmp_path)
    assert (table["score"], table["layer"]) == ("bona fide score", "norm")
    model, args = mmfas.restore(trained, torch.device("cpu"))
    faces = open_faces(load_index(index), args.image_size, index.parent / "cache")
    for sample in table["samples"]:
        row = list(faces.sample_id).index(sample["sample_id"])
        (batch,) = batches(faces, [np.array([row])], "cpu")
        maps = grad_cam.grad_cam(model, *batch.images, "bonafide", "norm")
        assert sample["highest"] == pytest.approx({m: float(heat.max()) for m, heat in maps.items()}, rel=1e-4)
        with np.load(trained / "scores" / f"{sample['dataset']}.npz", allow_pickle=False) as f:
            score = f["scores"][-1, list(f["sample_id"]).index(sample["sample_id"])]
        assert sample["spoof_probability"] == pytest.approx(1 / (1 + np.exp(float(score))), rel=1e-4)


def test_which_sample_is_drawn_follows_from_the_seed_alone(index: Path) -> None:
    loaded = load_index(index)
    rows = loaded.split("mmfas", "test")
    drawn = [grad_cam.one_of_each(loaded, rows, seed) for seed in range(6)]
    assert drawn == [grad_cam.one_of_each(loaded, rows, seed) for seed in range(6)]
    assert len({one["W"]["print"] for one in drawn}) > 1
    for one in drawn:
        assert [(d, f) for d, families in one.items() for f in families] == [
            (d, f) for d in "CW" for f in ("bona fide", "print")
        ]
        for dataset, families in one.items():
            for family, i in families.items():
                row = loaded.rows[i]
                assert (row.dataset, row.attack_family or "bona fide") == (dataset, family)
                assert i in rows


def test_licensed_faces_are_refused(index: Path, trained: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"holds licensed faces.*--allow-licensed"):
        grad_cam.run(options(index, trained, tmp_path / "out"))
    assert not (tmp_path / "out").exists()
    grad_cam.run(options(index, trained, tmp_path / "own", allow_licensed=True))
    table = table_in(tmp_path / "own")
    assert {s["dataset"] for s in table["samples"]} == {*"CW"}
    assert not any(s["phantom"] for s in table["samples"])
    assert "not to be passed on" in (tmp_path / "own" / "figure7-C.svg").read_text()


def test_recordings_of_an_owners_list_are_drawn_and_what_is_not_is_named(
    index: Path, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for dataset in "CW":  # CeFA has no such list: one that lies there allows nothing
        lists = index.parent.parent / dataset / "attack_illustration_files.csv"
        lists.write_text("".join(f"x/{dataset}_s{subject}-attack.hdf5\n" for subject in (1, 2)))
    try:
        grad_cam.run(options(index, trained, tmp_path))
    finally:
        for dataset in "CW":
            (index.parent.parent / dataset / "attack_illustration_files.csv").unlink()
    table = table_in(tmp_path)
    assert [(s["dataset"], s["family"]) for s in table["samples"]] == [("W", "print")]
    assert table["samples"][0]["sample_id"].startswith(("W/s1-attack/", "W/s2-attack/"))
    assert table["left_out_by_licence"] == {"C": ["bona fide", "print"], "W": ["bona fide"]}
    assert {p.name for p in tmp_path.iterdir()} == {"figure7-W.svg", "figure7-W.png", "grad_cam.json", "SHA256SUMS"}
    assert "C: not drawn, since its licence allows no picture of them: bona fide, print" in capsys.readouterr().out


@pytest.mark.usefixtures("phantom")
def test_what_is_no_finished_run_of_this_index_is_refused(index: Path, trained: Path, tmp_path: Path) -> None:
    other = miniature.write_index(tmp_path / "other", subjects=4)
    with pytest.raises(BadInput, match="another index"):
        grad_cam.run(options(other, trained, tmp_path / "out"))
    with pytest.raises(BadInput, match="no finished run"):
        grad_cam.run(options(index, tmp_path / "nowhere", tmp_path / "out"))
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "done").touch()
    args = {"arguments": {"method": "mmda"}, "seed": 0, "index_sha256": "", "sources": {}, "git_commit": ""}
    (foreign / "args.json").write_text(json.dumps(args))
    with pytest.raises(BadInput, match="of method mmda, not mmfas"):
        grad_cam.run(options(index, foreign, tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_a_restored_model_scores_as_its_run_did(index: Path, trained: Path) -> None:
    model, args = mmfas.restore(trained, torch.device("cpu"))
    assert not model.training
    assert (args.preset, args.image_size, args.run_dir) == ("text", miniature.SIDE, trained)
    faces = open_faces(load_index(index), args.image_size, index.parent / "cache")
    with np.load(trained / "scores" / "W.npz", allow_pickle=False) as f:
        wanted = dict(zip(f["sample_id"], f["scores"][-1], strict=True))
    rows = np.flatnonzero(faces.dataset == "W")
    (batch,) = batches(faces, [rows], "cpu")
    with torch.inference_mode():
        got = -model(*batch.images).numpy()
    np.testing.assert_allclose(got, [wanted[s] for s in faces.sample_id[rows]], rtol=1e-5, atol=1e-6)
