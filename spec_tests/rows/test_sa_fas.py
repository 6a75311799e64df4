"""SA-FAS: its network, what it does to images, its loss, when heads are aligned, its samplers and rates."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from data_manifests.errors import BadInput
from reference.batches import Batch, ShuffledSampler
from reference.rivals import method, sa_fas
from reference.rivals.blocks.aligned_heads import aligned_heads
from reference.runs import HEADLINE
from reference.training import mirror
from spec_tests.support.networks import batch_of, images, scrambled

CPU = torch.device("cpu")


def options(**chosen: Any) -> sa_fas.Options:
    return sa_fas.Options(index=Path(), run_dir=Path(), **({"image_size": 16, "width": 4} | chosen))


def made(domains: tuple[int, ...] = (0, 1, 2), **chosen: Any) -> sa_fas.Method:
    """The method without a network."""
    row = sa_fas.Method(options(**chosen), CPU)
    row.domains, row.draws = domains, torch.Generator().manual_seed(3)
    return row


def built(domains: tuple[int, ...] = (0, 1, 2), **chosen: Any) -> sa_fas.Method:
    """The method with a network of random weights, in evaluation mode."""
    row = made(domains, **chosen)
    row.network = scrambled(row.build(), 1).eval()
    return row


def run_of(**facts: Any) -> Any:
    """Stands for a training that mirrors the first image of a batch and every third after it."""

    def augment(batch: Batch) -> Batch:
        chosen = (torch.arange(len(batch)) % 3 == 0)[:, None, None, None]
        rgb, depth, ir = (torch.where(chosen, x.flip(-1), x) for x in batch.images)
        return replace(batch, rgb=rgb, depth=depth, ir=ir)

    return SimpleNamespace(augment=augment, **facts)


# Losses and scores


def test_the_loss_is_the_risk_and_a_tenth_of_the_contrast_of_source_and_class() -> None:
    row = made((1, 4, 5))
    features, logits = torch.randn(2, 8, 3, generator=torch.Generator().manual_seed(0)).double()
    batch = replace(
        batch_of([torch.zeros(8, 3, 1, 1)] * 3, torch.tensor([0.0, 1, 0, 1, 0, 0, 1, 1])),
        domain=torch.tensor([1, 1, 4, 5, 5, 5, 1, 4]),
    )
    found = row.losses((features, logits), batch)
    place, live = torch.tensor([0, 0, 1, 2, 2, 2, 0, 1]), torch.tensor([1, 0, 1, 0, 1, 1, 0, 0])
    risk = sa_fas.mean_of_risks(logits, place, live)
    contrast = sa_fas.supervised_contrast(features, torch.tensor([1, 0, 3, 4, 5, 5, 0, 2]))
    assert {name: x.item() for name, x in found.items()} == pytest.approx(
        {"loss": (risk + 0.1 * contrast).item(), "risk": risk.item(), "contrast": contrast.item()}
    )
    changed = made((1, 4, 5), contrast=0.5, temperature=0.07, base_temperature=0.2).losses((features, logits), batch)
    contrast = sa_fas.supervised_contrast(features, torch.tensor([1, 0, 3, 4, 5, 5, 0, 2]), 0.07, 0.2)
    assert changed["contrast"].item() == pytest.approx(contrast.item())
    assert changed["loss"].item() == pytest.approx((risk + 0.5 * contrast).item())


def test_losses_and_scores_are_computed_in_float32_at_least() -> None:
    row, batch = made(), batch_of(images(0, 1, batch=4))
    output = torch.ones(4, 5, dtype=torch.bfloat16), torch.full((4, 3), 0.3, dtype=torch.bfloat16)
    found = row.losses(output, batch) | row.scores(output)
    assert {x.dtype for x in found.values()} == {torch.float32}


# What it does to images


def marked(count: int, side: int = 16) -> list[Tensor]:
    """Pictures of three modalities that are alike but for their grey values."""
    rgb = images(5, side, count)[0]
    return [rgb, 0.5 * rgb, -0.5 * rgb]


def test_every_sample_is_seen_twice_all_first_and_then_all_again() -> None:
    row = made(rotation=0.0, least_area=1.0)
    pictures = marked(4)
    batch = replace(batch_of(pictures), progress=0.25)
    seen = row.views(batch, run_of())
    assert seen.rows.tolist() == [0, 1, 2, 3, 0, 1, 2, 3]
    assert seen.label.tolist() == [0, 1, 0, 1] * 2
    assert seen.domain.tolist() == [0, 0, 1, 1] * 2
    assert seen.progress == 0.25
    for was, now in zip(pictures, seen.images, strict=True):
        mirrored = torch.tensor([True, False, False, True, False, False, True, False])[:, None, None, None]
        twice = torch.cat([was, was])
        assert torch.allclose(now, torch.where(mirrored, twice.flip(-1), twice), atol=1e-5)


@pytest.mark.parametrize("turning", ["nearest", "bilinear"])
def test_views_are_turned_then_cropped_by_lots_of_their_own(turning: str) -> None:
    row, pictures = made(turning=turning, augmentation="none", rotation=120.0, least_area=0.3), marked(8)
    draws = torch.Generator().manual_seed(3)
    seen = row.views(batch_of(pictures), SimpleNamespace(augment=lambda batch: batch))
    degrees = 120 * (2 * torch.rand(16, generator=draws) - 1)
    boxes = sa_fas.random_boxes(16, 16, 0.3, 1.0, draws)
    for was, now in zip(pictures, seen.images, strict=True):
        expected = sa_fas.enlarged_boxes(sa_fas.turned_faces(torch.cat([was, was]), degrees, turning), boxes)
        assert torch.equal(now, expected)
    assert degrees.min() < -30
    assert degrees.max() > 30
    assert not torch.allclose(seen.rgb[:8], seen.rgb[8:], atol=0.1)
    assert torch.equal(draws.get_state(), row.draws.get_state())


def test_the_two_views_are_mirrored_apart() -> None:
    row, generator = made(rotation=0.0, least_area=1.0), torch.Generator().manual_seed(0)

    def augment(batch: Batch) -> Batch:
        rgb, depth, ir = mirror(batch.images, generator)
        return replace(batch, rgb=rgb, depth=depth, ir=ir)

    first, second = row.views(batch_of(marked(40)), SimpleNamespace(augment=augment)).rgb.chunk(2)
    alike = [torch.equal(a, b) for a, b in zip(first, second, strict=True)]
    assert 8 < sum(alike) < 32


def test_the_score_is_the_mean_of_probabilities() -> None:
    logits = torch.tensor([[3.0, -1.0, 0.0]])
    expected = np.mean(1 / (1 + np.exp(-np.array([3.0, -1.0, 0.0]))))
    assert made().scores((torch.zeros(1, 2), logits))[HEADLINE].item() == pytest.approx(expected)


# When heads are aligned, and the rate


def test_the_rate_is_halved_and_heads_are_aligned_from_their_epochs_on() -> None:
    row = made(epochs=9, learning_rate=0.4, halve_every=3, align_from=4)
    optimiser: Any = SimpleNamespace(param_groups=[{}, {}])  # torch's own takes seconds to import
    rates, aligns = [], []
    for epoch in range(9):
        row.schedule(optimiser, batch_of(images(0, 1)), run_of(epoch=epoch))
        rates.append([group["lr"] for group in optimiser.param_groups])
        aligns.append(row.aligns)
    np.testing.assert_allclose(rates, np.repeat([0.4, 0.2, 0.1], 3)[:, None].repeat(2, 1))
    assert aligns == [False] * 4 + [True] * 5


# What an epoch is


def test_frames_are_shuffled_in_the_table_and_one_of_each_recording_by_the_authors() -> None:
    recording = np.arange(20) // 2
    training = run_of(sampler="everybody's", train=np.arange(10) + 4, faces=SimpleNamespace(recording=recording))
    sampler = made(batch_size=4, seed=2).sampler(training)
    assert isinstance(sampler, ShuffledSampler)
    assert (sampler.count, sampler.batch_size, sampler.seed, sampler.steps) == (10, 4, 2, 3)
    sampler = made(preset="released", batch_size=4, seed=2).sampler(training)
    assert isinstance(sampler, sa_fas.RecordingSampler)
    assert [frames.tolist() for frames in sampler.frames] == [[0, 1], [2, 3], [4, 5], [6, 7], [8, 9]]
    assert (sampler.batch_size, sampler.seed, sampler.steps) == (4, 2, 2)
    assert made(sampling="balanced").sampler(training) == "everybody's"


def test_only_balanced_batches_are_balanced_by_data_set() -> None:
    balanced = {sampling: options(sampling=sampling).per_domain for sampling in ("frames", "recordings", "balanced")}
    assert balanced == {"frames": False, "recordings": False, "balanced": True}
    options(sampling="balanced", steps=10).check()


# Its options


def test_presets_part_where_their_sources_do() -> None:
    table, described, released = (
        sa_fas.Options(index=Path(), run_dir=Path(), preset=preset) for preset in ("table", "described", "released")
    )
    assert [x.stem for x in (table, described, released)] == ["conv", "rgb", "rgb"]
    assert [x.image_size for x in (table, described, released)] == [224, 256, 256]
    assert [x.sampling for x in (table, described, released)] == ["frames", "recordings", "recordings"]
    assert [x.test_crop for x in (table, described, released)] == ["centred", "centred", "random"]
    for x in (table, described, released):
        assert (x.optimiser, x.learning_rate, x.weight_decay, x.batch_size) == ("sgd", 0.005, 5e-4, 96)
        assert (x.epochs, x.halve_every, x.align_from, x.alpha, x.contrast) == (100, 40, 20, 0.995, 0.1)
        assert (x.temperature, x.base_temperature, x.test_area, x.least_area) == (0.1, 0.07, 0.9, 0.2)
        assert (x.rotation, x.turning, x.normalise, x.augmentation) == (180, "nearest", "imagenet", "flip")
        assert (x.protocol, x.weights) == ("official", "none")
        x.check()


SHARE = "it is a share; give"


@pytest.mark.parametrize(
    ("chosen", "sentence"),
    [
        ({"align_from": -1}, "--align-from -1: give at least 0"),
        ({"contrast": -0.1}, "--contrast -0.1: give at least 0"),
        ({"rotation": -1.0}, "--rotation -1.0: give at least 0"),
        ({"halve_every": 0}, "--halve-every 0: give at least 1"),
        ({"alpha": 1.1}, f"--alpha 1.1: {SHARE} a number from 0 to 1"),
        ({"alpha": -0.1}, f"--alpha -0.1: {SHARE} a number from 0 to 1"),
        ({"temperature": 0.0}, "--temperature 0.0: give a finite number above 0"),
        ({"base_temperature": 0.0}, "--base-temperature 0.0: give a finite number above 0"),
        ({"test_area": 0.0}, f"--test-area 0.0: {SHARE} one above 0, at most 1"),
        ({"test_area": 1.5}, f"--test-area 1.5: {SHARE} one above 0, at most 1"),
        ({"least_area": 0.0}, f"--least-area 0.0: {SHARE} one above 0, at most 1"),
        ({"least_area": 1.5}, f"--least-area 1.5: {SHARE} one above 0, at most 1"),
        ({"image_size": 0}, "--image-size 0: give at least 1"),
        (
            {"steps": 10},
            "--steps 10: an epoch of --sampling frames shows all there is; give 0, or --sampling balanced",
        ),
    ],
)
def test_options_that_cannot_be_are_refused_in_one_sentence(chosen: dict[str, Any], sentence: str) -> None:
    with pytest.raises(BadInput) as refused:
        options(**chosen).check()
    assert str(refused.value) == sentence


def test_the_ends_of_what_options_may_be() -> None:
    options(align_from=0, contrast=0.0, rotation=0.0, halve_every=1, alpha=1.0, test_area=1.0, least_area=1.0).check()
    options(alpha=0.0, test_area=0.01, least_area=0.01).check()


# The network


def trunks_input(row: sa_fas.Method, pictures: list[Tensor]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What the trunk sees, its features, and the heads' logits, in float64."""
    seen: dict[str, Tensor] = {}
    model: Any = row.network
    hook = model.trunk.register_forward_hook(lambda _, args, out: seen.update(input=args[0], last=out[-1]))
    with torch.inference_mode():
        features, logits = model(*pictures)
    hook.remove()
    torch.testing.assert_close(features, seen["last"].mean((2, 3)))
    return tuple(x.double().numpy() for x in (seen["input"], features, logits))


def imagenet(x: Tensor) -> np.ndarray:
    pixels = (x.double().numpy() * 127.5 + 127.5) / 255
    mean, sd = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    return (pixels - mean[:, None, None]) / sd[:, None, None]


def test_rgb_alone_is_normalised_as_imagenets() -> None:
    pictures = images(0, 16)
    seen, features, _ = trunks_input(built(preset="released", image_size=16), pictures)
    np.testing.assert_allclose(seen, imagenet(pictures[0]), rtol=1e-4, atol=1e-5)
    assert features.shape == (2, 32)
    seen, _, _ = trunks_input(built(preset="released", image_size=16, normalise="half"), pictures)
    np.testing.assert_array_equal(seen, pictures[0].numpy())


def test_nine_channels_become_three_in_the_table() -> None:
    pictures, row = images(0, 16), built()
    conv: Any = row.network.stem.conv
    weight, bias = (x.detach().double().numpy() for x in (conv.weight[:, :, 0, 0], conv.bias))
    nine = torch.cat(pictures, 1).double().numpy() * 127.5 / 128
    expected = np.einsum("oc,bcyx->boyx", weight, nine) + bias[:, None, None]
    np.testing.assert_allclose(trunks_input(row, pictures)[0], expected, rtol=1e-4, atol=1e-5)


def test_features_are_means_over_a_map_of_several_places() -> None:
    _, features, _ = trunks_input(built(image_size=64), images(2, 64))
    assert features.shape == (2, 32)


def test_every_source_has_a_head_with_a_bias() -> None:
    for domains in ((0,), (0, 3), (0, 1, 2, 5)):
        row = built(domains)
        _, features, logits = trunks_input(row, images(1, 16))
        for place, head in enumerate(row.network.heads):
            weight, bias = (x.detach().double().numpy() for x in (head.weight[0], head.bias))
            np.testing.assert_allclose(logits[:, place], features @ weight + bias, rtol=1e-4, atol=1e-4)
        assert logits.shape == (2, len(domains))


def test_the_trunk_is_a_resnet_18() -> None:
    with torch.device("meta"):
        network = sa_fas.SaFas(options(width=64), 3)
    assert sum(p.numel() for p in network.trunk.parameters()) == 11_176_512
    assert sum(p.numel() for p in network.heads.parameters()) == 1_539
    assert sum(p.numel() for p in network.stem.parameters()) == 30


# What needs the whole network


def test_the_middle_is_scored_unless_it_is_a_random_place() -> None:
    pictures = images(6, 32, batch=3)
    for area, box in ((0.9, [1, 1, 30]), (0.25, [8, 8, 16])):
        row = built(image_size=32, test_area=area)
        middle = [sa_fas.enlarged_boxes(x, torch.tensor([box] * 3)) for x in pictures]
        with torch.inference_mode():
            scores = row.predict(batch_of(pictures))[HEADLINE]
            assert torch.equal(scores, row.scores(row.network(*middle))[HEADLINE])
            assert torch.equal(scores, row.predict(batch_of(pictures))[HEADLINE])


def test_a_random_place_is_drawn_for_every_sample_and_anew() -> None:
    row, pictures = built(preset="released", image_size=32, test_area=0.5), images(6, 32, batch=3)
    boxes = sa_fas.random_boxes(3, 32, 0.5, 0.5, torch.Generator().manual_seed(3))
    row.test_draws.manual_seed(3)
    cropped = [sa_fas.enlarged_boxes(x, boxes) for x in pictures]
    with torch.inference_mode():
        first, again = (row.predict(batch_of(pictures))[HEADLINE] for _ in range(2))
        assert torch.equal(first, row.scores(row.network(*cropped))[HEADLINE])
    assert not torch.allclose(first, again)


def heads_of(row: sa_fas.Method) -> tuple[Tensor, Tensor]:
    heads: Any = row.network.heads
    return tuple(torch.cat([getattr(head, name) for head in heads]).detach() for name in ("weight", "bias"))


@pytest.mark.parametrize("domains", [(0,), (0, 1), (0, 1, 2), (0, 1, 2, 3)])
def test_alignment_follows_the_optimisers_step(domains: tuple[int, ...]) -> None:
    batch = batch_of(images(7, 16, batch=8), domains=len(domains))
    stepped, aligned = built(domains), built(domains, alpha=0.7)
    aligned.schedule(SimpleNamespace(param_groups=[]), batch, run_of(epoch=20))
    for row in (stepped, aligned):
        row.network.train()
        optimiser = torch.optim.SGD(row.network.parameters(), lr=0.1)
        method.step(row, optimiser, batch, torch.autocast("cpu", enabled=False))
    (before, bias), (after, same_bias) = heads_of(stepped), heads_of(aligned)
    assert torch.equal(bias, same_bias)
    assert torch.allclose(after, aligned_heads(before, 0.7), rtol=1e-5)
    assert torch.allclose(before, after) == (len(domains) == 1)
    trunks = zip(stepped.network.trunk.parameters(), aligned.network.trunk.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in trunks)
