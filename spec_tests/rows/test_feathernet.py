"""FeatherNet: its network, how depth and infrared make one score, what it sees, its readings."""

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from data_manifests.errors import BadInput
from reference.batches import ShuffledSampler
from reference.rivals import feathernet
from reference.runs import HEADLINE
from spec_tests.support.networks import batch_of, images, scrambled

CPU = torch.device("cpu")
NARROW = [[1, 8, 1], [2, 16, 2], [3, 24, 1], [1, 32, 1]]


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stages that keep every kind of block: with and without widening, first and later."""
    monkeypatch.setattr(feathernet, "STAGES", NARROW)


def options(**changes: Any) -> feathernet.Options:
    usual = {"index": Path(), "run_dir": Path(), "device": "cpu", "image_size": 40}
    return feathernet.Options(**(usual | changes))


def built(seed: int = 0, **changes: Any) -> feathernet.Method:
    """The method with scrambled weights and statistics of batch normalisation, ready for evaluation."""
    made = feathernet.Method(options(**changes), CPU)
    made.network, made.draws = scrambled(made.build(), seed).eval(), torch.Generator().manual_seed(seed)
    rng = torch.Generator().manual_seed(seed + 1)
    for module in made.network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.copy_(0.3 * torch.randn(module.num_features, generator=rng))
            module.running_var.copy_(0.5 + torch.rand(module.num_features, generator=rng))
            # Small scales would fade the picture out layer by layer, and no activation would come to 6.
            nn.init.uniform_(module.weight, 1, 3, generator=rng)
    return made


def parameters(**changes: Any) -> int:
    network = feathernet.Method(options(image_size=224, **changes), CPU).build()
    return sum(p.numel() for p in network.parameters())


def test_both_variants_have_the_published_size() -> None:
    one = {"preset": "released"}
    assert parameters(**one, variant="A") == 345_332
    assert parameters(**one, variant="B") == parameters(**one) == 351_220
    assert parameters(**one, classifier="linear") == 351_220 + 2 * 1024 + 2
    assert parameters() == parameters(preset="described") == 2 * (351_220 + 2 * 1024 + 2)
    assert parameters(fusion="mean", variant="A", classifier="none") == 2 * 345_332


# The network, written down in float64 from its weights in their order


def convolved(x: np.ndarray, weight: np.ndarray, stride: int = 1) -> np.ndarray:
    """Zeros around the map; weight (out, in / groups, k, k), one group or a group a channel."""
    k = weight.shape[-1]
    height, width = x.shape[2:]
    framed = np.pad(x, ((0, 0), (0, 0), (k // 2, k // 2), (k // 2, k // 2)))
    product = "bchw,c->bchw" if weight.shape[1] == 1 < x.shape[1] else "bchw,oc->bohw"
    out: Any = 0
    for y in range(k):
        for z in range(k):
            seen = framed[:, :, y : y + height : stride, z : z + width : stride]
            kernel = weight[:, 0, y, z] if product.endswith("bchw") else weight[:, :, y, z]
            out = out + np.einsum(product, seen, kernel)
    return out


def pooled(x: np.ndarray) -> np.ndarray:
    """Means of 2 x 2 cells, of fewer at an odd map's edge."""
    height, width = x.shape[2:]
    cells = [[x[:, :, y : y + 2, z : z + 2].mean((2, 3)) for z in range(0, width, 2)] for y in range(0, height, 2)]
    return np.moveaxis(np.array(cells), (0, 1), (2, 3))


def normalised(x: np.ndarray, weights: Iterator[np.ndarray]) -> np.ndarray:
    scale, shift, mean, variance, _ = (next(weights) for _ in range(5))
    by_channel = (None, slice(None), None, None)
    return (x - mean[by_channel]) / np.sqrt(variance + 1e-5)[by_channel] * scale[by_channel] + shift[by_channel]


def block(x: np.ndarray, weights: Iterator[np.ndarray], expansion: int, stride: int, variant: str) -> np.ndarray:
    around: Any = x if stride == 1 else 0
    if stride == 2 and variant == "B":
        around = convolved(normalised(pooled(x), weights), next(weights))
    if expansion > 1:
        x = np.clip(normalised(convolved(x, next(weights)), weights), 0, 6)
    x = np.clip(normalised(convolved(x, next(weights), stride), weights), 0, 6)
    return around + normalised(convolved(x, next(weights)), weights)


def excited(x: np.ndarray, weights: Iterator[np.ndarray]) -> np.ndarray:
    w1, b1, w2, b2 = (next(weights) for _ in range(4))
    hidden = np.maximum(x.mean((2, 3)) @ w1.T + b1, 0)
    return x / (1 + np.exp(-(hidden @ w2.T + b2)))[:, :, None, None]


def written_down(x: np.ndarray, network: nn.Module, variant: str, classifier: str) -> np.ndarray:
    weights = iter([w.double().numpy() for w in network.state_dict().values()])
    x = np.clip(normalised(convolved(x, next(weights), 2), weights), 0, 6)
    for expansion, _, blocks in NARROW:
        for number in range(blocks):
            x = block(x, weights, expansion, 1 if number else 2, variant)
        x = excited(x, weights)
    feature = convolved(x, next(weights), 2).reshape(len(x), -1)
    if classifier == "linear":
        feature = feature @ next(weights).T + next(weights)
    assert next(weights, None) is None
    return feature


@pytest.mark.usefixtures("narrow")
@pytest.mark.parametrize("size", [48, 96])
@pytest.mark.parametrize(("variant", "classifier"), [("A", "none"), ("B", "none"), ("B", "linear")])
def test_the_network_is_the_one_written_down(variant: str, classifier: str, size: int) -> None:
    chosen = options(image_size=size, variant=variant, classifier=classifier)
    network = built(3, image_size=size, variant=variant, classifier=classifier).network
    rgb, depth, ir = images(4, size)
    with torch.inference_mode():
        logits = network(rgb, depth, ir)
    assert logits.keys() == {"depth", "infrared"}
    for name, picture in {"depth": depth, "infrared": ir}.items():
        expected = written_down(picture.double().numpy(), network.nets[name], chosen.variant, chosen.classifier)
        np.testing.assert_allclose(logits[name].numpy(), expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())


@pytest.mark.usefixtures("narrow")
def test_the_released_input_is_normalised_as_casia_surfs_depth() -> None:
    network = built(preset="released").network
    seen: list[Tensor] = []
    network.nets["depth"].register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    rgb, depth, ir = images(5, 40)
    network(rgb, depth, ir)
    mean = np.array([0.14300402, 0.1434545, 0.14277956])[:, None, None]
    sd = np.array([0.10050353, 0.100842826, 0.10034215])[:, None, None]
    expected = ((depth.double().numpy() * 127.5 + 127.5) / 255 - mean) / sd
    np.testing.assert_allclose(seen[0].numpy(), expected, rtol=1e-4, atol=1e-4)


def test_the_authors_initial_weights() -> None:
    torch.manual_seed(0)
    network = feathernet.FeatherNet(224, classifier="linear")
    for module in network.modules():
        if isinstance(module, nn.Conv2d) and module.weight.numel() > 500:
            variance = 2 / (module.kernel_size[0] ** 2 * module.out_channels)
            assert module.weight.var().item() == pytest.approx(variance, rel=0.25)
        if isinstance(module, nn.Linear):
            assert not module.bias.any()
            assert 0.003 < module.weight.abs().mean() < 0.012


# Losses and scores


def softmaxed(logits: Tensor) -> np.ndarray:
    weights = np.exp(logits.double().numpy() - logits.double().numpy().max(1, keepdims=True))
    return weights / weights.sum(1, keepdims=True)


@pytest.mark.parametrize("classes", [2, 64])
def test_the_loss_is_the_sum_of_both_networks_and_class_1_is_bona_fide(classes: int) -> None:
    made = feathernet.Method(options(), CPU)
    batch = batch_of(images(0, 40, batch=6))
    rng = torch.Generator().manual_seed(classes)
    output = {name: torch.randn(6, classes, generator=rng) for name in ("depth", "infrared")}
    expected = {}
    for name, logits in output.items():
        own = softmaxed(logits)[np.arange(6), 1 - batch.label.int().numpy()]
        expected[name] = np.mean(-((1 - own) ** 3) * np.log(own))
    losses = {name: loss.item() for name, loss in made.losses(output, batch).items()}
    assert losses == pytest.approx(expected | {"loss": sum(expected.values())}, rel=1e-5)


@pytest.mark.parametrize("classes", [2, 64])
def test_scores_are_the_probability_of_class_1_fused(classes: int) -> None:
    rng = torch.Generator().manual_seed(classes)
    output = {name: 3 * torch.randn(40, classes, generator=rng) for name in ("depth", "infrared")}
    if classes > 2:
        output = {name: logits + 6 * (torch.arange(classes) < 2) for name, logits in output.items()}
    depth, ir = (softmaxed(logits)[:, 1] for logits in output.values())

    def scores(**changes: Any) -> np.ndarray:
        chosen = feathernet.Method(options(**changes), CPU)
        given = {"depth": output["depth"]} if chosen.options.fusion == "depth" else output
        return chosen.scores(given)[HEADLINE].numpy()

    mean, greatest, least = (depth + ir) / 2, np.maximum(depth, ir), np.minimum(depth, ir)
    second = np.where(ir < 0.5, ir, mean)
    expected = {
        "mean": (mean, {}),
        "depth": (depth, {}),
        "ensemble": (np.where(mean > 0.3, greatest, least), {"threshold": 0.3}),
        "cascade": (np.where((depth <= 0.2) | (depth >= 0.8), depth, second), {"certain": 0.2}),
    }
    for fusion, (values, more) in expected.items():
        np.testing.assert_allclose(scores(fusion=fusion, **more), values, rtol=1e-4, atol=1e-6, err_msg=fusion)
    assert len({scores(fusion=fusion).tobytes() for fusion in expected}) == len(expected)
    np.testing.assert_allclose(scores(), mean, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(scores(preset="released"), depth, rtol=1e-4, atol=1e-6)


# What it sees


def enlarged(x: np.ndarray, size: int) -> np.ndarray:
    """Bilinear, in float64: pixel i of the result lies at (i + 1/2) * before / after - 1/2 of x (..., H, W)."""

    def along(x: np.ndarray) -> np.ndarray:
        before = x.shape[-1]
        places = np.clip((np.arange(size) + 0.5) * before / size - 0.5, 0, before - 1)
        first = np.minimum(places.astype(int), before - 2)
        share = places - first
        return x[..., first] * (1 - share) + x[..., first + 1] * share

    return along(along(x).swapaxes(-1, -2)).swapaxes(-1, -2)


def test_the_centre_at_test_is_the_inner_seven_eighths() -> None:
    picture = images(6, 42)[0]
    expected = enlarged(picture.double().numpy(), 48)[..., 3:45, 3:45]
    np.testing.assert_allclose(feathernet.central(picture).numpy(), expected, atol=1e-5)


@pytest.mark.usefixtures("narrow")
def test_the_released_view_at_test_is_the_centre() -> None:
    whole, centre = built(7, test_view="whole"), built(7, preset="table", test_view="centre")
    batch = batch_of(images(8, 42))
    inner = replace(batch, depth=feathernet.central(batch.depth), ir=feathernet.central(batch.ir))
    with torch.inference_mode():
        assert not torch.equal(whole.predict(batch)[HEADLINE], centre.predict(batch)[HEADLINE])
        assert torch.equal(whole.predict(inner)[HEADLINE], centre.predict(batch)[HEADLINE])
    assert [options(preset=p).test_view for p in ("table", "described", "released")] == ["whole", "whole", "centre"]


def test_random_boxes_lie_within_the_image_and_have_the_published_shapes() -> None:
    boxes = np.array(feathernet.random_boxes(3000, 224, torch.Generator().manual_seed(0)))
    top, left, height, width = boxes.T
    assert (boxes >= 0).all()
    assert (top + height <= 224).all()
    assert (left + width <= 224).all()
    share, quotient = height * width / 224**2, width / height
    assert 0.078 < share.min() < 0.085
    assert 0.97 < share.max() <= 1
    assert 0.74 < quotient.min() < 0.76
    assert 1.32 < quotient.max() < 1.35
    assert np.median(quotient) == pytest.approx(1, abs=0.02)
    # The free place to the left, as a share of what there is, is uniform; so is the one above.
    for corner, side in ((top, height), (left, width)):
        free = 224 - side > 30
        assert (corner / (224 - side + 1e-9))[free].mean() == pytest.approx(0.5, abs=0.02)
        assert (corner == 224 - side)[free].any()
        assert (corner == 0)[free].any()
    # An area of 8 to 100 per cent that is uniform has its mean at 54; large ones that do not fit are drawn again.
    assert 0.45 < share.mean() < 0.54


def test_random_boxes_come_from_the_generator() -> None:
    def drawn(seed: int) -> list[tuple[int, int, int, int]]:
        return feathernet.random_boxes(4, 48, torch.Generator().manual_seed(seed))

    before = torch.get_rng_state()
    assert drawn(1) == drawn(1) != drawn(2)
    assert torch.equal(torch.get_rng_state(), before)


def test_draws_that_never_fit_leave_the_whole_image(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the whole area, a box that is not square does not fit."""
    monkeypatch.setattr(torch, "rand", lambda *shape, **_: torch.full(shape, 0.999, dtype=torch.float64))
    assert feathernet.random_boxes(1, 224, torch.Generator()) == [(0, 0, 224, 224)]


def test_a_crop_is_its_box_enlarged() -> None:
    picture = images(9, 40, batch=3)[0]
    boxes = [(0, 0, 40, 40), (3, 10, 20, 25), (15, 0, 25, 12)]
    found = feathernet.cropped(picture, boxes).numpy()
    for x, out, (top, left, height, width) in zip(picture.double().numpy(), found, boxes, strict=True):
        np.testing.assert_allclose(out, enlarged(x[:, top : top + height, left : left + width], 40), atol=1e-5)


@pytest.mark.parametrize("along", ["principal", "rows"])
def test_shifts_of_colour_follow_the_directions(along: str) -> None:
    lots = 0.1 * torch.randn(5, 3, generator=torch.Generator().manual_seed(1)).double().numpy()
    columns = np.array([[0.4009, 0.7192, -0.5675], [-0.8140, -0.0045, -0.5808], [0.4203, -0.6948, -0.5836]])
    directions = columns if along == "rows" else columns.T[::-1]
    expected = 2 * (lots * [0.2175, 0.0188, 0.0045]) @ directions
    found = feathernet.colour_shifts(5, along, torch.Generator().manual_seed(1))
    np.testing.assert_allclose(found.numpy(), expected[:, :, None, None], atol=1e-6)
    tint = np.ptp(expected, axis=1).mean() / np.abs(expected).mean()
    assert (tint > 1) == (along == "rows"), "the released product tints a grey picture"


@pytest.mark.usefixtures("narrow")
def test_training_sees_crops_and_shifts_in_the_authors_presets_alone() -> None:
    batch = batch_of(images(10, 40))
    training: Any = SimpleNamespace(augment=lambda batch: batch)
    plain = built().views(batch, training)
    assert torch.equal(plain.depth, batch.depth)
    assert torch.equal(plain.ir, batch.ir)
    for preset, along in (("described", "principal"), ("released", "rows")):
        seen = built(11, preset=preset).views(batch, training)
        draws = torch.Generator().manual_seed(11)
        boxes = feathernet.random_boxes(2, 40, draws)
        shifts = feathernet.colour_shifts(2, along, draws)
        for found, before in ((seen.depth, batch.depth), (seen.ir, batch.ir)):
            assert torch.equal(found, feathernet.cropped(before, boxes) + shifts)
        assert torch.equal(seen.label, batch.label)


# Training


@pytest.mark.usefixtures("narrow")
def test_readings_of_training_part_ways() -> None:
    balanced: Any = object()
    training: Any = SimpleNamespace(train=np.arange(70), sampler=balanced, set_rate=lambda o: None)
    assert built().sampler(training) is balanced
    shuffled = built(preset="released").sampler(training)
    assert isinstance(shuffled, ShuffledSampler)
    assert sorted(np.concatenate(shuffled.epoch(0))) == list(range(70))
    assert shuffled.steps == 3  # batches of 32

    batch = batch_of(images(0, 40))
    for epoch, tenths in ((0, 0), (59, 0), (60, 1), (119, 1), (120, 2)):
        training.epoch = epoch
        for preset, rate in (("table", 1.0), ("described", 0.01 / 10**tenths), ("released", 0.01 / 10**tenths)):
            optimiser: Any = SimpleNamespace(param_groups=[{"lr": 1.0}])
            built(preset=preset).schedule(optimiser, batch, training)
            assert optimiser.param_groups[0]["lr"] == pytest.approx(rate)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"image_size": 32}, "--image-size 32: its last map would be a single cell; give at least 33"),
        ({"gamma": 0.5}, "--gamma 0.5"),
        ({"gamma": -1.0}, "--gamma -1.0"),
        ({"gamma": math.inf}, "--gamma inf"),
        ({"threshold": 1.5}, "--threshold 1.5: scores lie in [0, 1]; give 0 to 1"),
        ({"certain": 0.6}, "--certain 0.6: scores lie in [0, 1]; give 0 to 0.5"),
        ({"certain": -0.1}, "--certain -0.1"),
        ({"decay_every": 0}, "--decay-every 0"),
    ],
)
def test_options_that_no_run_can_use_are_refused(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(BadInput) as refused:
        options(**changes).check()
    assert sentence in str(refused.value)


@pytest.mark.parametrize("changes", [{"image_size": 33}, {"gamma": 0.0}, {"gamma": 1.0}, {"certain": 0.5}])
def test_options_at_their_bounds_are_taken(changes: dict[str, Any]) -> None:
    options(**changes).check()


@pytest.mark.usefixtures("narrow")
def test_the_smallest_image_still_trains_on_a_batch_of_one() -> None:
    made = built(image_size=33)
    made.network.train()
    batch = batch_of(images(0, 33, batch=1))
    loss = made.losses(made.forward(batch), batch)["loss"]
    loss.backward()
    assert loss.isfinite()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in made.network.parameters())


def test_depth_alone_needs_no_infrared() -> None:
    seen = {name: feathernet.Options(index=Path(), run_dir=Path(), preset=name).sees for name in ("table", "released")}
    assert seen == {"table": "DI", "released": "D"}
