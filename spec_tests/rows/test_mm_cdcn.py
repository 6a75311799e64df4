"""MM-CDCN: its network in numpy, what training makes of images, its loss and score, its rates and options."""

from dataclasses import replace
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
from reference.batches import ShuffledSampler
from reference.rivals import mm_cdcn
from reference.rivals.blocks.central_difference import CentralDifference
from reference.rivals.blocks.flex_modal import cut_out, recoloured
from reference.runs import HEADLINE
from spec_tests.support.networks import batch_of, images, scrambled

CPU = torch.device("cpu")
SMALL = {"image_size": 24, "width": 2, "device": "cpu"}


def options(**chosen: Any) -> mm_cdcn.Options:
    return mm_cdcn.Options(index=Path(), run_dir=Path(), **(SMALL | chosen))


def method(seed: int = 1, **chosen: Any) -> mm_cdcn.Method:
    """With a float64 network of random weights and statistics, in evaluation mode."""
    made = mm_cdcn.Method(options(**chosen), CPU)
    made.network, made.draws = scrambled(made.build(), seed).double().eval(), torch.Generator().manual_seed(seed)
    draws = torch.Generator().manual_seed(seed + 1)
    for module in made.network.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            module.running_mean.normal_(generator=draws).mul_(0.3)
            module.running_var.uniform_(0.5, 2, generator=draws)
            module.bias.data.add_(0.5)
    return made


def pictures(seed: int = 0, count: int = 2, side: int = 24) -> list[Tensor]:
    return [x.double() for x in images(seed, side, count)]


# The network


class ByHand:
    """The network in numpy, one sample and one position of a kernel at a time."""

    def __init__(self, network: mm_cdcn.MMCDCN, theta: float, side: int, borrowed: bool) -> None:
        self.w = {name: x.numpy() for name, x in network.state_dict().items()}
        self.theta, self.side, self.borrowed = theta, side, borrowed

    def convolved(self, x: np.ndarray, weight: np.ndarray) -> np.ndarray:
        framed, out = np.pad(x, ((0, 0), (1, 1), (1, 1))), np.zeros((len(weight), *x.shape[1:]))
        for i, j in np.ndindex(3, 3):
            seen = framed[:, i : i + x.shape[1], j : j + x.shape[2]] - self.theta * x
            out += np.tensordot(weight[:, :, i, j], seen, 1)
        return out

    def layer(self, x: np.ndarray, name: str) -> np.ndarray:
        x = self.convolved(x, self.w[f"{name}.0.weight"])
        mean, variance, scale, shift = (
            self.w[f"{name}.1.{part}"][:, None, None] for part in ("running_mean", "running_var", "weight", "bias")
        )
        return np.maximum((x - mean) / np.sqrt(variance + 1e-5) * scale + shift, 0)

    def pooled(self, x: np.ndarray) -> np.ndarray:
        size = -(-x.shape[1] // 2)
        framed, out = np.pad(x, ((0, 0), (1, 2), (1, 2)), constant_values=-np.inf), np.empty((len(x), size, size))
        for row, column in np.ndindex(size, size):
            out[:, row, column] = framed[:, 2 * row : 2 * row + 3, 2 * column : 2 * column + 3].max((1, 2))
        return out

    def resized(self, x: np.ndarray) -> np.ndarray:
        size, out = x.shape[1], np.empty((len(x), self.side, self.side))
        for place in np.ndindex(self.side, self.side):
            (top, down), (left, right) = (
                divmod(min(max((k + 0.5) * size / self.side - 0.5, 0), size - 1), 1) for k in place
            )
            rows, columns = ([int(k), min(int(k) + 1, size - 1)] for k in (top, left))
            corners = x[:, rows][:, :, columns]
            out[:, place[0], place[1]] = np.array([1 - down, down]) @ corners @ np.array([1 - right, right])
        return out

    def __call__(self, rgb: np.ndarray, depth: np.ndarray, ir: np.ndarray) -> np.ndarray:
        """Of one sample, images (3, S, S)."""
        scales = []
        for m, image in enumerate((rgb, depth, ir)):
            x = self.layer((image * 127.5) / 128, f"branches.{m}.first")
            scales.append([])
            for stage in range(3):
                for place in range(3):
                    x = self.layer(x, f"branches.{m}.stages.{stage}.{place}")
                x = self.pooled(x)
                scales[m].append(x)
        if self.borrowed:
            scales[1][1] = scales[0][1]
        joined = [self.layer(np.concatenate([*map(self.resized, scales[m])]), f"joins.{m}") for m in range(3)]
        fused = self.layer(np.concatenate(joined), "fuse.0")
        return np.maximum(self.convolved(fused, self.w["fuse.1.weight"])[0], 0)


@pytest.mark.parametrize(
    ("chosen", "side"),
    [
        ({}, 3),
        ({"depth_middle": "rgb"}, 3),
        ({"theta": 0.3, "image_size": 28, "width": 3}, 4),
        ({"map_side": 5}, 5),
        ({"preset": "released", "image_size": 20}, 32),
    ],
)
def test_the_network_is_the_one_written_down(chosen: dict[str, Any], side: int) -> None:
    made = method(**chosen)
    found = pictures(side=made.options.image_size)
    borrowed = made.options.depth_middle == "rgb"
    by_hand = ByHand(made.network, made.options.theta, side, borrowed)
    with torch.inference_mode():
        maps = made.network(*found).numpy()
    assert maps.shape == (2, side, side)
    assert maps.max() > 0
    for sample in range(2):
        expected = by_hand(*(x[sample].numpy() for x in found))
        np.testing.assert_allclose(maps[sample], expected, rtol=1e-9, atol=1e-10)


def test_every_convolution_is_central_without_a_bias_and_as_wide_as_published() -> None:
    with torch.device("meta"):
        network = mm_cdcn.MMCDCN(mm_cdcn.Options(index=Path(), run_dir=Path(), theta=0.6))
    assert not any(isinstance(module, nn.Conv2d) for module in network.modules())
    convolutions = [module for module in network.modules() if isinstance(module, CentralDifference)]
    assert {module.theta for module in convolutions} == {0.6}
    branch = [(3, 64), (64, 128), (128, 196), (196, 128), *[(128, 128), (128, 196), (196, 128)] * 2]
    expected = [*branch * 3, *[(384, 128)] * 4, (128, 1)]
    assert [(m.weight.shape[1], m.weight.shape[0]) for m in convolutions] == expected
    assert all(len([*module.parameters()]) == 1 for module in convolutions)


def test_fresh_kernels_are_pytorchs() -> None:
    torch.manual_seed(0)
    block = CentralDifference(5, 7, 0.5)
    torch.manual_seed(0)
    assert torch.equal(block.weight, nn.Conv2d(5, 7, 3, bias=False).weight)
    assert isinstance(block.weight, nn.Parameter)


@pytest.mark.parametrize(("preset", "count"), [("table", 6_955_528), ("described", 6_955_528), ("released", 6_955_528)])
def test_parameter_counts(preset: str, count: int) -> None:
    with torch.device("meta"):
        network = mm_cdcn.MMCDCN(mm_cdcn.Options(index=Path(), run_dir=Path(), preset=preset))
    assert sum(p.numel() for p in network.parameters()) == count


def test_rgb_in_depths_place_leaves_no_weight_without_a_gradient() -> None:
    """Depth's second stage is used all the same: the third is made of it."""
    made, batch = method(depth_middle="rgb"), batch_of(pictures())
    made.network.train()
    made.losses(made.forward(batch), batch)["loss"].backward()
    assert all(p.grad is not None and p.grad.any() for p in made.network.branches[1].stages[1].parameters())


# Loss and score


def test_the_loss_is_the_error_of_the_map_and_of_its_contrasts() -> None:
    made = method()
    label = torch.tensor([1.0, 0, 0, 1])
    rgb, depth, ir = pictures(3, 4)
    rgb[:, :, :8] = -1  # a row of cells is black
    batch = batch_of([rgb, depth, ir], label)
    with torch.no_grad():
        output = made.forward(batch)
        parts = made.losses(output, batch)
    target = np.zeros((4, 3, 3))
    target[1:3, 1:] = 1
    error = output.map.numpy() - target
    around = np.delete(error.reshape(4, 9), 4, axis=1) - error[:, 1, 1][:, None]
    expected = {"mask": (error**2).mean(), "contrast": (around**2).mean()}
    assert set(parts) == {"loss", *expected}
    for name, value in (expected | {"loss": sum(expected.values())}).items():
        assert parts[name].item() == pytest.approx(value, rel=1e-9), name


@given(seed=st.integers(0, 2**32 - 1), kind=st.sampled_from(["capped", "uncapped", "mean"]))
def test_a_sample_scores_by_the_mask_of_its_own_rgb_whatever_its_label(seed: int, kind: str) -> None:
    made = method(score=kind)
    rgb, depth, ir = pictures(seed % 1000, 3)
    rgb[0, :, 8:] = -1
    rgb[1] = -1
    batch = batch_of([rgb, depth, ir])
    with torch.inference_mode():
        heads = made.predict(batch)
        maps = made.network(rgb, depth, ir)
    assert set(heads) == {HEADLINE}
    cells = torch.tensor([3.0, 9, 9]) if kind != "mean" else torch.tensor(9.0)
    expected = maps.sum((1, 2)) / cells
    torch.testing.assert_close(heads[HEADLINE], expected.clamp(max=1) if kind == "capped" else expected)
    with torch.inference_mode():
        turned = made.predict(replace(batch, label=1 - batch.label))
    assert torch.equal(heads[HEADLINE], turned[HEADLINE])


def test_losses_and_scores_are_in_float32_where_the_network_is_not() -> None:
    made = method()
    made.network.float()
    batch = batch_of(images(0, 24, 4))
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        output = made.forward(batch)
    assert output.map.dtype == torch.bfloat16
    assert {x.dtype for x in made.losses(output, batch).values()} == {torch.float32}
    assert made.scores(output)[HEADLINE].dtype == torch.float32
    whole = output._replace(map=output.map.float())
    assert made.losses(output, batch) == made.losses(whole, batch)
    assert torch.equal(made.scores(output)[HEADLINE], made.scores(whole)[HEADLINE])


# What training does to images


def seen(made: mm_cdcn.Method, found: list[Tensor]) -> tuple[list[Tensor], Tensor]:
    """The images that the network is given, and the mask that goes with its map."""
    given: list[Tensor] = []
    hook = made.network.register_forward_pre_hook(lambda _, args: given.extend(args))
    with torch.no_grad():
        mask = made.forward(batch_of(found)).mask
    hook.remove()
    return given, mask


def test_changes_are_colours_then_rectangles_then_a_square() -> None:
    made, found, draws = method(preset="released"), pictures(4, 6), torch.Generator().manual_seed(1)
    made.network.train()
    rgb, depth, ir = (recoloured(x, 40, 0.5, draws) for x in found)
    boxes = mm_cdcn.erasing_boxes(6, 24, 0.5, draws)
    expected = cut_out(*(mm_cdcn.erased(x, boxes) for x in (rgb, depth, ir)), 50, draws)
    given, mask = seen(made, found)
    assert all(torch.equal(a, b) for a, b in zip(given, expected, strict=True))
    assert torch.equal(mask, mm_cdcn.face_mask(found[0], 32))
    assert not torch.equal(mask, mm_cdcn.face_mask(given[0], 32))


@pytest.mark.parametrize(("changes", "training"), [("none", True), ("released", False)])
def test_images_stay_as_they_are_at_test_and_where_none_are_asked_for(changes: str, training: bool) -> None:
    made, found = method(changes=changes), pictures(4, 6)
    made.network.train(training)
    state = made.draws.get_state()
    given, mask = seen(made, found)
    assert all(torch.equal(a, b) for a, b in zip(given, found, strict=True))
    assert torch.equal(mask, mm_cdcn.face_mask(found[0], 3))
    assert torch.equal(made.draws.get_state(), state)


# Its rates and batches


@pytest.mark.parametrize(("rate", "last_at_full"), [("halved", 3), ("halved_early", 2)])
def test_the_rate_is_halved_after_so_many_epochs(rate: str, last_at_full: int) -> None:
    made = mm_cdcn.Method(options(rate=rate, halve_every=3, learning_rate=8.0), CPU)
    optimiser = torch.optim.SGD([{"params": [torch.zeros(1)]}, {"params": [torch.zeros(1)]}], lr=1.0)
    rates = []
    for epoch in range(8):
        made.schedule(optimiser, batch_of(images(0, 1)), SimpleNamespace(epoch=epoch))
        rates.append([group["lr"] for group in optimiser.param_groups])
    expected = [8.0] * last_at_full + [4.0] * 3 + [2.0] * 3
    assert rates == [[rate] * 2 for rate in expected[:8]]


def test_frames_are_balanced_in_the_table_and_shuffled_by_the_authors() -> None:
    training = SimpleNamespace(sampler="everybody's", train=np.arange(10) + 3)
    assert mm_cdcn.Method(options(), CPU).sampler(training) == "everybody's"
    sampler = mm_cdcn.Method(options(preset="released", batch_size=4, seed=2), CPU).sampler(training)
    assert isinstance(sampler, ShuffledSampler)
    assert (sampler.count, sampler.batch_size, sampler.seed) == (10, 4, 2)


# Its options


def test_presets_part_where_their_sources_do() -> None:
    table, described, released = (
        mm_cdcn.Options(index=Path(), run_dir=Path(), preset=preset) for preset in ("table", "described", "released")
    )
    every = (table, described, released)
    assert [x.depth_middle for x in every] == ["own", "own", "rgb"]
    assert [x.rate for x in every] == ["halved", "halved", "halved_early"]
    assert [(x.map_side, x.side) for x in every] == [(0, 28), (0, 32), (32, 32)]
    assert [x.changes for x in every] == ["none", "released", "released"]
    assert [x.sampling for x in every] == ["balanced", "shuffled", "shuffled"]
    assert [x.image_size for x in every] == [224, 256, 256]
    for x in every:
        assert (x.theta, x.score, x.width, x.halve_every, x.missing_as) == (0.7, "capped", 64, 20, "black")
        assert (x.optimiser, x.learning_rate, x.weight_decay) == ("adam_l2", 1e-4, 5e-5)
        assert (x.batch_size, x.epochs, x.augmentation, x.protocol) == (8, 50, "flip", "official")
        x.check()


@pytest.mark.parametrize(
    ("chosen", "sentence"),
    [
        (
            {"image_size": 16},
            "--image-size 16: no cell of so small a map has eight neighbours; "
            "give at least 17, or name a --map-side of 3",
        ),
        (
            {"map_side": 2},
            "--map-side 2: no cell of so small a map has eight neighbours; "
            "give at least 3, or 0 for an eighth of the image's pixels",
        ),
        ({"map_side": -1}, "--map-side -1: give at least 0"),
        ({"theta": 1.5}, "--theta 1.5: it is a share; give a number from 0 to 1"),
        ({"theta": -0.1}, "--theta -0.1: it is a share; give a number from 0 to 1"),
        ({"width": 0}, "--width 0: give at least 1"),
        ({"halve_every": 0}, "--halve-every 0: give at least 1"),
    ],
)
def test_options_that_cannot_be_are_refused_in_one_sentence(chosen: dict[str, Any], sentence: str) -> None:
    with pytest.raises(BadInput) as refused:
        options(**chosen).check()
    assert str(refused.value) == sentence


def test_the_ends_of_what_options_may_be() -> None:
    options(image_size=17, theta=0.0, width=1, halve_every=1).check()
    options(image_size=1, map_side=3, theta=1.0).check()
