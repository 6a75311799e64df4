"""Conv-MLP: its network, its loss, what it does to training samples, its schedule, the options it refuses."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torchvision.models.resnet import BasicBlock

from data_manifests.errors import BadInput
from reference.batches import Batch, ShuffledSampler
from reference.rivals import conv_mlp, rows
from spec_tests.support.logits import labels, logit_arrays
from spec_tests.support.networks import batch_of, images, scrambled

SIDE, PATCH, WIDTH = 32, 18, 3
SEEDS = st.integers(0, 2**31)


def options(**changes: Any) -> conv_mlp.Options:
    small: dict[str, Any] = {"side": SIDE, "patch": PATCH, "width": WIDTH, "device": "cpu"}
    return conv_mlp.Options(index=Path(), run_dir=Path(), **(small | changes))


def made(draws: int = 0, **changes: Any) -> conv_mlp.Method:
    method = conv_mlp.Method(options(**changes), torch.device("cpu"))
    method.draws = torch.Generator().manual_seed(draws)
    return method


def double(x: Tensor) -> np.ndarray:
    return cast(np.ndarray, x.detach().double().numpy())


def sampled(image: np.ndarray, y: float, x: float) -> np.ndarray:
    """Bilinear sample (C,) of an image (C, H, W) at pixel coordinates; outside of it is zero."""
    height, width = image.shape[1:]
    total = np.zeros(len(image))
    for row in (int(np.floor(y)), int(np.floor(y)) + 1):
        for column in (int(np.floor(x)), int(np.floor(x)) + 1):
            if 0 <= row < height and 0 <= column < width:
                total += image[:, row, column] * (1 - abs(y - row)) * (1 - abs(x - column))
    return total


def scaled(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """An image (C, H, W) at another size: bilinear, half-pixel centres, edges repeated."""
    before = image.shape[1:]
    out = np.empty((len(image), height, width))
    for y in range(height):
        for x in range(width):
            at = [(p + 0.5) * old / new - 0.5 for p, old, new in zip((y, x), before, (height, width), strict=True)]
            out[:, y, x] = sampled(image, *(min(max(a, 0), old - 1) for a, old in zip(at, before, strict=True)))
    return out


# The network


def test_its_parts_have_the_published_sizes() -> None:
    model = conv_mlp.ConvMLP()
    sizes = {name: sum(p.numel() for p in part.parameters()) for name, part in model.named_children()}
    assert sizes == {"stem": 156_096, "stages": 17_215_744, "mixings": 2_322, "classifier": 65_922}
    blocks = [[*model.stem[3]], *([*stage] for stage in model.stages)]
    assert [len(each) for each in blocks] == [2, 3, 3, 3]
    assert all(isinstance(block, BasicBlock) for each in blocks for block in each)
    stanza = rows.load()["conv_mlp"].parameters
    assert stanza is not None
    assert stanza["on_path"] + 11_177_538 + 1_042 + 34_304 == stanza["state"]


@pytest.mark.parametrize(("short", "starts"), [(False, (0, 7, 14)), (True, (0, 7, 13))])
def test_the_network_is_stem_mixings_and_stages_in_turn(short: bool, starts: tuple[int, ...]) -> None:
    model = conv_mlp.ConvMLP(SIDE, PATCH, WIDTH, short).double()
    scrambled(model, 1)
    rng = torch.Generator().manual_seed(2)
    for name, buffer in model.named_buffers():
        if name.endswith("running_mean"):
            buffer.normal_(generator=rng)
        if name.endswith("running_var"):
            buffer.uniform_(0.5, 1.5, generator=rng)
    model.eval()
    rgb, depth, ir = (x.double() for x in images(3, 2 * SIDE))
    w = {name: x.detach() for name, x in model.state_dict().items()}

    def batch_norm(x: Tensor, name: str) -> Tensor:
        mean, variance, gain, offset = (
            w[f"{name}.{part}"].view(1, -1, 1, 1) for part in ("running_mean", "running_var", "weight", "bias")
        )
        return (x - mean) / (variance + 1e-5).sqrt() * gain + offset

    def mixing(patches: list[Tensor], name: str) -> list[Tensor]:
        """Of nine patches (B, C, H, W)."""
        normed = []
        for x in patches:
            spread = x.var((2, 3), correction=0, keepdim=True)
            x = (x - x.mean((2, 3), keepdim=True)) / (spread + 1e-5).sqrt()
            normed.append(x * w[f"{name}.layer_norm.weight"] + w[f"{name}.layer_norm.bias"])
        for layer in ("first", "second"):
            weight, bias = w[f"{name}.{layer}.weight"], w[f"{name}.{layer}.bias"]
            normed = [sum(weight[q, p] * normed[p] for p in range(9)) + bias[q] for q in range(9)]  # type: ignore[misc]
        norms = [w[f"{name}.norm.{part}"] for part in ("running_mean", "running_var", "weight", "bias")]
        return [
            ((x - mean) / (variance + 1e-5).sqrt() * gain + offset).clamp_min(0)
            for x, mean, variance, gain, offset in zip(normed, *norms, strict=True)
        ]

    planes = [depth[:, 0], ir[:, 0], rgb[:, 2], rgb[:, 1], rgb[:, 0]]
    x = (torch.stack(planes, 1) * 127.5 + 127.5) / 255  # what `batches` made [-1, 1] from
    x = (x[..., ::2, ::2] + x[..., 1::2, ::2] + x[..., ::2, 1::2] + x[..., 1::2, 1::2]) / 4  # half the side
    patches = [x[..., i : i + PATCH, j : j + PATCH] for i in starts for j in starts]
    with torch.inference_mode():
        for i, patch in enumerate(patches):
            conv = torch.nn.functional.conv2d(patch, w["stem.0.weight"], stride=2, padding=2)
            patches[i] = model.stem[3](batch_norm(conv, "stem.1").clamp_min(0))
        patches = mixing(patches, "mixings.0")
        for i, stage in enumerate(model.stages):
            patches = mixing([stage(patch) for patch in patches], f"mixings.{i + 1}")
        assert [patches[0].shape[1], *patches[0].shape[2:]] == [8 * WIDTH, 2, 2]
        x = torch.stack(patches).mean((0, 3, 4))
        x = (x @ w["classifier.1.weight"].T + w["classifier.1.bias"]).clamp_min(0)
        x = x @ w["classifier.3.weight"].T + w["classifier.3.bias"]
        attack_bonafide = double(x)
        found = double(model(rgb, depth, ir))
    np.testing.assert_allclose(found, attack_bonafide[:, ::-1], rtol=1e-9, atol=1e-9)


# The loss


@given(logits=logit_arrays(4, 2), label=labels(4))
def test_the_loss_is_cross_entropy_and_half_the_moat(logits: np.ndarray, label: np.ndarray) -> None:
    z, own = logits.astype(np.float64), label.astype(int)
    entropy = np.mean([np.log(np.exp(row).sum()) - row[c] for row, c in zip(z, own, strict=True)])
    between = sum(np.maximum(0, 1 - z[own == c, c]).sum() / max((own == c).sum(), 1) for c in (0, 1))
    expected = {"loss": entropy + between / 2, "entropy": entropy, "moat": between}
    for moat in ("gradient", "value"):
        parts = conv_mlp.loss(torch.from_numpy(logits), torch.from_numpy(label), moat)
        assert {k: v.item() for k, v in parts.items()} == pytest.approx(expected, rel=1e-4, abs=1e-5)


def test_the_released_moat_changes_the_loss_and_no_gradient() -> None:
    label = torch.tensor([0.0, 1.0, 0.0])

    def gradient(moat: str, part: str = "loss") -> Tensor:
        logits = torch.tensor([[0.5, 0.1], [-1.0, 0.3], [0.2, -0.4]], requires_grad=True)
        return torch.autograd.grad(conv_mlp.loss(logits, label, moat)[part], logits)[0]

    entropy = gradient("value", "entropy")
    assert torch.equal(gradient("value"), entropy)
    of_moat = torch.tensor([[-0.5, 0.0], [0.0, -1.0], [-0.5, 0.0]])  # every own logit is below 1
    torch.testing.assert_close(gradient("gradient"), entropy + of_moat / 2)


def test_the_loss_of_bfloat16_logits_is_in_float32() -> None:
    parts = conv_mlp.loss(torch.zeros(2, 2, dtype=torch.bfloat16), torch.tensor([0.0, 1.0]))
    assert {part.dtype for part in parts.values()} == {torch.float32}


# What training samples undergo


@given(seed=SEEDS, mirrored=st.booleans(), flipped=st.booleans())
def test_mirrors_alone_reorder_pixels(seed: int, mirrored: bool, flipped: bool) -> None:
    (x, *_) = images(seed, 6, batch=1)
    lots = torch.tensor([[0.2 if mirrored else 0.5, 0.2 if flipped else 0.5, 0.5]])  # in their middle: no turn
    axes = [axis for axis, chosen in ((3, mirrored), (2, flipped)) if chosen]
    torch.testing.assert_close(conv_mlp.turned(x, lots), x.flip(axes), rtol=0, atol=1e-5)


@given(seed=SEEDS)
def test_a_move_is_a_mirror_and_then_a_turn_with_black_from_outside(seed: int) -> None:
    size = 7
    (x, *_) = images(seed, size, batch=2)
    lots = torch.from_numpy(np.random.default_rng(seed).random((2, 3)))
    found = double(conv_mlp.turned(x, lots.float()))
    for image, drawn, out in zip(double(x), lots.float().double().tolist(), found, strict=True):
        image = image[:, :, ::-1] if drawn[0] < 0.5 else image
        image = image[:, ::-1] if drawn[1] < 0.5 else image
        angle = np.radians(-30 + 60 * drawn[2])
        centre = (size - 1) / 2
        for i in range(size):
            for j in range(size):
                v, u = i - centre, j - centre
                y, x_ = np.sin(angle) * u + np.cos(angle) * v, np.cos(angle) * u - np.sin(angle) * v
                expected = sampled(image + 1, y + centre, x_ + centre) - 1
                np.testing.assert_allclose(out[:, i, j], expected, atol=2e-5)


@given(seed=SEEDS, probability=st.sampled_from([0.0, 0.5, 1.0]))
def test_a_coarse_image_was_small_in_between(seed: int, probability: float) -> None:
    side = 10
    (x, *_) = images(seed, side, batch=3)
    lots = torch.from_numpy(np.random.default_rng(seed).random((3, 3)))
    found = double(conv_mlp.coarsened(x, lots, probability))
    for image, (whether, *shares), out in zip(double(x), lots.tolist(), found, strict=True):
        if whether < probability:
            height, width = (int(side * (0.2 + 0.8 * share)) for share in shares)
            assert 2 <= height < side
            image = scaled(scaled(image, height, width), side, side)
        np.testing.assert_allclose(out, image, atol=1e-5)


def training_batch(n: int = 6, size: int = SIDE) -> Batch:
    """Three modalities with the same pixels, so that it shows what is done to each."""
    (x, *_) = images(0, size, batch=n)
    return batch_of([x, x, x])


def same(a: Tensor, b: Tensor) -> list[bool]:
    return [bool(torch.equal(x, y)) for x, y in zip(a, b, strict=True)]


def test_the_table_changes_no_sample() -> None:
    batch = training_batch()
    assert made(preset="table").changed(batch) is batch


def test_modalities_move_together_or_apart() -> None:
    batch = training_batch()
    together = made(preset="described", coarsening=0.0).changed(batch)
    assert not any(same(together.rgb, batch.rgb))
    assert torch.equal(together.rgb, together.depth)
    assert torch.equal(together.rgb, together.ir)
    apart = made(preset="released", coarsening=0.0, blackout=0.0).changed(batch)
    pairs = [(apart.rgb, apart.depth), (apart.rgb, apart.ir), (apart.depth, apart.ir)]
    assert not any(any(same(a, b)) for a, b in pairs)


def test_modalities_become_coarse_apart() -> None:
    batch = training_batch(n=40)
    changed = made(preset="described", moves="none").changed(batch)
    kept = [same(x, batch.rgb) for x in changed.images]
    assert all(8 < sum(of) < 32 for of in kept)
    assert kept[0] != kept[1] != kept[2] != kept[0]


def test_some_samples_become_black_attacks() -> None:
    batch = training_batch(n=60)
    changed = made(preset="table", blackout=0.3).changed(batch)
    black = torch.tensor([bool((x == -1).all()) for x in changed.rgb])
    assert 8 < black.sum() < 30
    for modality in changed.images:
        assert torch.equal(modality[~black], batch.rgb[~black])
        assert (modality[black] == -1).all()
    assert torch.equal(changed.label, torch.where(black, 1.0, batch.label))
    assert (batch.label[black] == 0).any()


def test_samples_are_changed_at_the_size_of_the_grid_from_the_methods_own_draws() -> None:
    batch, state = training_batch(size=2 * SIDE), torch.get_rng_state()
    changed = made(3, preset="released").changed(batch)
    assert torch.equal(torch.get_rng_state(), state)
    again, other = made(3, preset="released").changed(batch), made(4, preset="released").changed(batch)
    for x, y, z in zip(changed.images, again.images, other.images, strict=True):
        assert x.shape == (6, 3, SIDE, SIDE)
        assert torch.equal(x, y)
        assert not torch.equal(x, z)
    kept = made(blackout=1e-9).changed(batch)
    np.testing.assert_allclose(double(kept.rgb[0]), scaled(double(batch.rgb[0]), SIDE, SIDE), atol=1e-5)


def test_resizing_repeats_edges_and_keeps_the_size_it_has() -> None:
    (x, *_) = images(0, 5, batch=1)
    assert torch.equal(conv_mlp.resized(x, 5), x)
    for side in (3, 8):
        np.testing.assert_allclose(double(conv_mlp.resized(x, side)[0]), scaled(double(x[0]), side, side), atol=1e-5)


# Order and rate


def test_authors_shuffle_all_frames_and_the_table_balances_them() -> None:
    training: Any = SimpleNamespace(train=np.arange(5), sampler="balanced")
    assert made(preset="table").sampler(training) == "balanced"
    sampler = made(preset="released", batch_size=2, seed=7).sampler(training)
    assert isinstance(sampler, ShuffledSampler)
    assert (sampler.count, sampler.batch_size, sampler.seed, sampler.steps) == (5, 2, 7, 3)


def test_the_rate_falls_twice_or_as_the_tables() -> None:
    training: Any = SimpleNamespace(set_rate=lambda optimiser: optimiser.param_groups[0].update(lr="the table's"))

    def rate(progress: float, **changes: Any) -> Any:
        optimiser: Any = SimpleNamespace(param_groups=[{"lr": None}])
        batch: Any = SimpleNamespace(progress=progress)
        made(**changes).schedule(optimiser, batch, training)
        return optimiser.param_groups[0]["lr"]

    assert rate(0.3) == "the table's"
    expected = {0.0: 1e-3, 0.25: 0.000505, 0.5 - 1e-9: 1e-5, 0.5: 1e-3, 0.75: 0.000505}
    for progress, value in expected.items():
        assert rate(progress, preset="released") == pytest.approx(value, rel=1e-6)
    assert rate(0.0, preset="described", learning_rate=0.1) == pytest.approx(0.1)


# Options


def test_presets_part_where_the_released_code_slips() -> None:
    table, described, released = (options(preset=preset) for preset in ("table", "described", "released"))
    for given_ in (table, described):
        assert (given_.grid, given_.moat, given_.blackout) == ("whole", "gradient", 0.0)
    assert (released.grid, released.moat, released.blackout) == ("short", "value", 0.001)
    assert (table.moves, described.moves, released.moves) == ("none", "together", "apart")
    assert made(preset="released").build().short
    assert not made(preset="described").build().short


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"patch": 33}, "--patch 33: the images of --side 32 are too small for --grid whole"),
        ({"patch": 32, "grid": "short"}, "--patch 32: the images of --side 32 are too small for --grid short"),
        ({"patch": 16}, "--patch 16: give at least 17"),
        ({"width": 0}, "--width 0: give at least 1"),
        ({"blackout": 1.5}, "--blackout 1.5: it is a probability"),
        ({"coarsening": -0.1}, "--coarsening -0.1: it is a probability"),
    ],
)
def test_options_of_no_use_are_refused(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(BadInput) as refused:
        options(**changes).check()
    assert str(refused.value).startswith(sentence)


def test_the_widest_patches_and_the_narrowest_are_taken() -> None:
    for changes in ({"patch": 32}, {"patch": 31, "grid": "short"}, {"patch": 17}):
        options(**changes).check()
        method = made(width=8, **changes)
        model = scrambled(method.build(), 0).eval()
        with torch.inference_mode():
            a, b = (method.scores(model(*images(seed, 48)))["cls"] for seed in (0, 1))
        assert not torch.allclose(a, b)
