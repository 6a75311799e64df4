"""Bags of patches: random views in training, crops at test, erasing, restarts, and which options fit each other."""

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from data_manifests.errors import BadInput
from reference.batches import Batch
from reference.rivals.blocks import bags, patches
from spec_tests.support.networks import batch_of, images

CPU = torch.device("cpu")


def drawn(seed: int, *shape: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def sample(image: np.ndarray, y: float, z: float, outside: float | None) -> np.ndarray:
    """Bilinear (C,) between the centres of pixels of (C, H, W); beyond the image `outside`, or its nearest pixel."""
    total = np.zeros(len(image))
    for row in (math.floor(y), math.floor(y) + 1):
        for column in (math.floor(z), math.floor(z) + 1):
            share = (1 - abs(y - row)) * (1 - abs(z - column))
            inside = 0 <= row < image.shape[1] and 0 <= column < image.shape[2]
            if inside or outside is None:
                row_, column_ = np.clip(row, 0, image.shape[1] - 1), np.clip(column, 0, image.shape[2] - 1)
                total += share * image[:, row_, column_]
            else:
                total += share * outside
    return total


def resized(image: np.ndarray, side: int) -> np.ndarray:
    """(C, S, S) with `side` pixels, in float64."""
    scale, out = image.shape[1] / side, np.empty((len(image), side, side))
    for y in range(side):
        for z in range(side):
            place = [min(max((i + 0.5) * scale - 0.5, 0), image.shape[1] - 1) for i in (y, z)]
            out[:, y, z] = sample(image, *place, None)
    return out


def turned(image: np.ndarray, lots: np.ndarray) -> np.ndarray:
    """(C, S, S), mirrored and turned about its centre, in float64."""
    centre, out = (image.shape[1] - 1) / 2, np.empty_like(image)
    angle = math.radians(60 * lots[2] - 30)
    for y in range(image.shape[1]):
        for z in range(image.shape[1]):
            v, u = y - centre, z - centre
            u, v = u * math.cos(angle) - v * math.sin(angle), u * math.sin(angle) + v * math.cos(angle)
            v, u = (-v if lots[1] < 0.5 else v), (-u if lots[0] < 0.5 else u)
            out[:, y, z] = sample(image, v + centre, u + centre, -1.0)
    return out


# Views


@given(seed=st.integers(0, 2**31), side=st.integers(1, 7), wanted=st.integers(1, 7))
def test_resizing_is_bilinear_between_centres_without_smoothing(seed: int, side: int, wanted: int) -> None:
    x = images(seed, side)[0]
    expected = [resized(image, wanted) for image in x.double().numpy()]
    np.testing.assert_allclose(patches.resized(x, wanted).numpy(), expected, rtol=1e-4, atol=1e-5)


@given(seed=st.integers(0, 2**31), side=st.integers(2, 6))
def test_an_image_is_mirrored_and_turned_about_its_centre(seed: int, side: int) -> None:
    x, lots = images(seed, side, batch=4)[0], drawn(seed, 4, 3)
    pairs = zip(x.double().numpy(), lots.double().numpy(), strict=True)
    expected = [turned(image, lot) for image, lot in pairs]
    np.testing.assert_allclose(patches.turned(x, lots).numpy(), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("lots", "axes"), [((0.7, 0.7), []), ((0.2, 0.7), [-1]), ((0.7, 0.2), [-2]), ((0.2, 0.2), [-1, -2])]
)
def test_without_an_angle_mirrorings_are_exact(lots: tuple[float, float], axes: list[int]) -> None:
    x = images(3, 5)[0]
    found = patches.turned(x, torch.tensor([[*lots, 0.5]] * 2))
    torch.testing.assert_close(found, x.flip(axes), rtol=0, atol=1e-5)


def test_thirty_degrees_leave_black_corners() -> None:
    found = patches.turned(torch.ones(1, 3, 9, 9), torch.tensor([[0.7, 0.7, 0.0]]))
    assert found[0, 0, 0, 0] == -1
    assert found[0, 0, 4, 4] == pytest.approx(1)


@given(seed=st.integers(0, 2**31), side=st.integers(1, 8))
def test_half_of_the_images_lose_detail_and_keep_their_size(seed: int, side: int) -> None:
    x, lots = images(seed, side, batch=4)[0], drawn(seed, 4, 2)
    found = patches.coarsened(x, lots).numpy()
    for image, (whether, share), got in zip(x.double().numpy(), lots.double().numpy(), found, strict=True):
        if whether < 0.5:
            image = resized(resized(image, max(1, math.floor(side * (0.2 + 0.8 * share)))), side)
        np.testing.assert_allclose(got, image, rtol=1e-4, atol=1e-5)


@given(seed=st.integers(0, 2**31), side=st.integers(1, 7), data=st.data())
def test_a_patch_lies_where_its_lots_say(seed: int, side: int, data: st.DataObject) -> None:
    size = data.draw(st.integers(1, side))
    x, lots = images(seed, side, batch=3)[0], drawn(seed, 3, 2)
    found = patches.patches(x, size, lots)
    for image, lot, got in zip(x, lots.double().tolist(), found, strict=True):
        top, left = (math.floor(part * (side - size + 1)) for part in lot)
        assert torch.equal(got, image[:, top : top + size, left : left + size])


def test_every_place_is_reached_and_none_beyond() -> None:
    x = torch.arange(9.0).view(1, 1, 3, 3).expand(900, 1, 3, 3)
    places = patches.patches(x, 1, drawn(0, 900, 2)).flatten().long()
    assert (places.bincount(minlength=9) > 50).all()
    assert patches.patches(x[:1], 1, torch.tensor([[1.0, 1.0]])).item() == 8


def test_a_view_is_distorted_first_and_cut_then() -> None:
    x, lots = images(5, 8, batch=4)[0], drawn(5, 4, patches.LOTS)
    plain = patches.random_view(x, 3, lots, distorted=False)
    assert torch.equal(plain, patches.patches(x, 3, lots[:, 5:]))
    whole = patches.coarsened(patches.turned(x, lots[:, :3]), lots[:, 3:5])
    assert torch.equal(patches.random_view(x, 3, lots, distorted=True), patches.patches(whole, 3, lots[:, 5:]))


@given(seed=st.integers(0, 2**31))
def test_what_is_not_kept_is_replaced_sample_by_sample(seed: int) -> None:
    pictures, kept = tuple(images(seed, 2, batch=4)), drawn(seed, 4, 3) < 0.5
    for nothing in (0.0, -1.0):
        found = patches.without(pictures, kept, nothing)
        for modality in range(3):
            for row in range(4):
                expected = pictures[modality][row] if kept[row, modality] else torch.full((3, 2, 2), nothing)
                assert torch.equal(found[modality][row], expected)
    assert torch.equal(patches.without(pictures, kept)[0], torch.where(kept[:, :1, None, None], pictures[0], 0.0))


# The method


class Judge(nn.Module):
    """Logits that depend on every pixel of every modality otherwise, and what it was asked last."""

    def forward(self, rgb: Tensor, depth: Tensor, ir: Tensor, kept: Tensor | None = None) -> Tensor:
        self.seen, self.kept = rgb, kept
        ramp = torch.linspace(0.5, 2, rgb[0, 0].numel()).view(rgb.shape[-2:])
        parts = [(ramp * x).mean((1, 2, 3)) * (i + 1) for i, x in enumerate((rgb, depth, ir))]
        return torch.stack([sum(parts).sin(), sum(parts).exp()], 1)


def bag(seed: int = 0, **given_: Any) -> bags.BagMethod[bags.Options]:
    """A method of bags of patches before a network that is not under test."""

    class Bag(bags.BagMethod[bags.Options]):  # here, so that it is a child of what `bags` holds now
        def build(self) -> nn.Module:
            return Judge()

    usual = {"image_size": 12, "resize": 8, "patch": 3, "index": Path(), "run_dir": Path(), "distortions": False}
    made = Bag(bags.Options(**(usual | given_)), CPU)
    made.network, made.draws = made.build(), torch.Generator().manual_seed(seed)
    return made


def untouched() -> Any:
    return SimpleNamespace(augment=lambda batch: batch)


def viewed(made: bags.BagMethod[bags.Options], batch: Batch, training: Any = None) -> Batch:
    return made.views(batch, training or untouched())


def test_in_training_every_modality_shows_a_place_of_its_own_or_the_same() -> None:
    x = images(1, 12, batch=6)[0]
    batch = batch_of([x, x, x])
    for distortions in (False, True):
        apart = viewed(bag(erasing="none", distortions=distortions), batch)
        lots = torch.rand(3, 6, patches.LOTS, generator=torch.Generator().manual_seed(0))
        for view, lot in zip(apart.images, lots, strict=True):
            assert torch.equal(view, patches.random_view(patches.resized(x, 8), 3, lot, distortions))
        assert not torch.equal(apart.rgb, apart.depth)
        assert not torch.equal(apart.depth, apart.ir)
        together = viewed(bag(erasing="none", together=True, distortions=distortions), batch)
        assert torch.equal(together.rgb, together.depth)
        assert torch.equal(together.rgb, together.ir)
    assert torch.equal(apart.label, batch.label)


def test_views_begin_with_what_augmentation_asks_for() -> None:
    x, y = images(1, 12)[0], images(2, 12)[0]
    other = batch_of([y, y, y])
    training = SimpleNamespace(augment=lambda batch: other)
    assert torch.equal(viewed(bag(), batch_of([x, x, x]), training).rgb, viewed(bag(), other).rgb)


def test_erased_patches_are_black_and_features_are_left_to_the_network() -> None:
    batch = batch_of([x * 0.9 for x in images(1, 12, batch=64)])
    lost = viewed(bag(erasing="patch", erase_probability=1.0), batch)
    black = torch.stack([(x == -1).all((1, 2, 3)) for x in map(torch.Tensor.double, lost.images)], 1)
    partly = torch.stack([(x == -1).flatten(1).any(1) for x in lost.images], 1)
    assert torch.equal(black, partly)
    assert set(black.sum(1).tolist()) == {1, 2}
    for erasing, probability in (("patch", 0.0), ("features", 1.0), ("none", 1.0)):
        whole = viewed(bag(erasing=erasing, erase_probability=probability), batch)
        assert all((x != -1).all() for x in whole.images)
    made = bag(erasing="features", erase_probability=1.0)
    made.forward(batch)
    assert made.network.kept.tolist() == patches.modal_erasing(64, torch.Generator().manual_seed(0), 1.0).tolist()
    for erasing in ("patch", "none"):
        made = bag(erasing=erasing)
        made.forward(batch)
        assert made.network.kept is None


@pytest.mark.parametrize("last_place", ["edge", "short"])
def test_scores_come_from_the_mean_logits_of_all_crops(last_place: str) -> None:
    batch = batch_of(images(1, 12, batch=3))
    made = bag(places=5, mirrors=2, last_place=last_place)
    crops = [patches.grid_crops(patches.resized(x, 8), 3, 5, 2, last_place == "short") for x in batch.images]
    logits = torch.stack([Judge()(*(x[crop] for x in crops)) for crop in range(10)]).double().mean(0)
    found = made.predict(batch)["cls"]
    np.testing.assert_allclose(found.numpy(), (logits[:, 0] - logits[:, 1]).numpy(), rtol=1e-5)
    other = bag(places=5, mirrors=2, last_place={"edge": "short", "short": "edge"}[last_place]).predict(batch)["cls"]
    assert not torch.equal(found, other)
    assert made.network.kept is None


def test_the_rate_restarts_in_every_cycle() -> None:
    made = bag(rate="restarts", cycles=4, learning_rate=0.1, lowest_rate=0.01)
    optimiser = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    for progress, expected in ((0.0, 0.1), (0.125, 0.055), (0.25, 0.1), (0.1875, 0.055 - 0.045 * math.sqrt(0.5))):
        batch = SimpleNamespace(progress=progress)
        made.schedule(optimiser, batch, SimpleNamespace())  # type: ignore[arg-type]
        assert optimiser.param_groups[0]["lr"] == pytest.approx(expected)
    asked = []
    bag(rate="cosine").schedule(optimiser, batch, SimpleNamespace(set_rate=asked.append))  # type: ignore[arg-type]
    assert asked == [optimiser]


def test_networks_take_intensities_and_blue_first() -> None:
    rgb, depth, ir = images(1, 2)
    found = bags.intensities(rgb, depth, ir)
    blue_first = (rgb.double().numpy()[:, [2, 1, 0]] + 1) / 2
    expected = [blue_first, *((x.double().numpy() + 1) / 2 for x in (depth, ir))]
    for got, want in zip(found, expected, strict=True):
        np.testing.assert_allclose(got.numpy(), want, atol=1e-6)


@pytest.mark.parametrize(
    ("given_", "sentence"),
    [
        ({"resize": 13}, "--resize 13: the images have 12 pixels; give at most 12"),
        ({"resize": 0}, "--resize 0: give at least 1"),
        ({"patch": 9}, "--patch 9: the images are resized to 8 pixels; give 3 to 8"),
        ({"patch": 8, "last_place": "short"}, "--patch 8: the images are resized to 8 pixels; give 3 to 7"),
        ({"patch": 2}, "--patch 2: the images are resized to 8 pixels; give 3 to 8"),
        ({"width": 24}, "--width 24: the groups of its convolutions need a multiple of 16; give 16, 32, 48 or 64"),
        ({"width": 0}, "--width 0: the groups"),
        ({"erase_probability": 1.5}, "--erase-probability 1.5: it is a share; give a number from 0 to 1"),
        ({"cycles": 0}, "--cycles 0: give at least 1"),
    ],
)
def test_options_that_do_not_fit_are_refused(given_: dict[str, Any], sentence: str) -> None:
    with pytest.raises(BadInput) as refused:
        bag(**given_).options.check()
    assert str(refused.value).startswith(sentence)


def test_a_patch_may_be_the_whole_image_at_the_edge() -> None:
    bag(patch=8, last_place="edge").options.check()
    bag(patch=7, last_place="short").options.check()
