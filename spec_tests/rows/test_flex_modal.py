"""Flex-Modal-FAS: what stands behind its transformer, what training does to the images, its rates."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from data_manifests.errors import BadInput
from reference.batches import ShuffledSampler
from reference.rivals.blocks import flex_modal
from reference.runs import HEADLINE
from spec_tests.support.logits import bce, labels, logit_arrays
from spec_tests.support.networks import batch_of, images, scrambled

CPU = torch.device("cpu")
SMALL = {"image_size": 12, "patch": 4, "width": 6, "depth": 2, "heads": 2}


def options(**chosen: Any) -> flex_modal.Options:
    return flex_modal.Options(index=Path(), run_dir=Path(), **(SMALL | chosen))


def network(**chosen: Any) -> flex_modal.FlexModal:
    """In evaluation mode, with random weights and statistics."""
    model = scrambled(flex_modal.FlexModal(options(**chosen)), 1).eval()
    draws = torch.Generator().manual_seed(2)
    model.fuse[1].running_mean.normal_(generator=draws)
    model.fuse[1].running_var.uniform_(0.5, 2, generator=draws)
    return model


def seen(model: flex_modal.FlexModal, pictures: list[Tensor]) -> dict[str, Tensor]:
    """What goes into the transformer, what comes out of it, and the logits."""
    parts = {}
    model.vit.patch_embed.register_forward_hook(lambda _, args, out: parts.update(input=args[0]))
    model.vit.norm.register_forward_hook(lambda _, args, out: parts.update(tokens=out))
    with torch.inference_mode():
        parts["logits"] = model(*pictures)
    return parts


def attended(h: np.ndarray, h_rgb: np.ndarray, divisor: float) -> np.ndarray:
    """Maps (C, N) of one sample, in float64."""
    products = np.array([[np.sum(row * other) for other in h_rgb] for row in h]) / divisor
    weights = np.exp(products - products.max(1, keepdims=True))
    return weights / weights.sum(1, keepdims=True) @ h_rgb


@pytest.mark.parametrize("fusion", ["sum", "concat"])
@pytest.mark.parametrize("attention", ["unscaled", "scaled"])
def test_what_stands_behind_the_transformer(fusion: str, attention: str) -> None:
    model, pictures = network(fusion=fusion, attention=attention), images(3, 12)
    parts = seen(model, pictures)
    w = {k: v.double().numpy() for k, v in model.state_dict().items()}
    pixels = torch.cat(pictures).double().numpy() * 127.5 + 127.5
    np.testing.assert_allclose(parts["input"].numpy(), (pixels - 127.5) / 128, rtol=1e-6, atol=1e-6)
    tokens = parts["tokens"].double().numpy()  # RGB of both samples, their depth, their infrared
    assert tokens.shape == (6, 1 + 9, 6)
    for sample in range(2):
        h_rgb, h_depth, h_ir = (tokens[2 * m + sample, 1:].T for m in range(3))
        divisor = 3.0 if attention == "scaled" else 1.0
        maps = [h_rgb, attended(h_depth, h_rgb, divisor), attended(h_ir, h_rgb, divisor)]
        together = np.concatenate(maps) if fusion == "concat" else sum(maps)
        padded = np.pad(together.reshape(-1, 3, 3), ((0, 0), (1, 1), (1, 1)))
        fused = np.empty((6, 3, 3))
        for out, y, x in np.ndindex(fused.shape):
            fused[out, y, x] = np.sum(w["fuse.0.weight"][out] * padded[:, y : y + 3, x : x + 3]) + w["fuse.0.bias"][out]
        scale = w["fuse.1.weight"] / np.sqrt(w["fuse.1.running_var"] + 1e-5)
        normalised = (fused - w["fuse.1.running_mean"][:, None, None]) * scale[:, None, None]
        mean = np.maximum(normalised + w["fuse.1.bias"][:, None, None], 0).mean((1, 2))
        attack, bonafide = w["classes.weight"] @ mean + w["classes.bias"]
        np.testing.assert_allclose(parts["logits"][sample].numpy(), [bonafide, attack], rtol=1e-4, atol=1e-5)


def test_the_final_norm_is_left_out_unless_asked_for() -> None:
    skipped, applied = network(final_norm="skipped"), network(final_norm="applied")
    extra = {"vit.norm.weight": torch.linspace(0.5, 2, 6), "vit.norm.bias": torch.linspace(-1, 1, 6)}
    applied.load_state_dict(skipped.state_dict() | extra)
    pictures = images(4, 12)
    before, after = seen(skipped, pictures)["tokens"], seen(applied, pictures)["tokens"]
    assert len(list(applied.parameters())) == len(list(skipped.parameters())) + 2
    normalised = (before - before.mean(-1, keepdim=True)) / (before.var(-1, correction=0, keepdim=True) + 1e-6).sqrt()
    torch.testing.assert_close(
        after, normalised * extra["vit.norm.weight"] + extra["vit.norm.bias"], rtol=1e-4, atol=1e-5
    )


def test_one_transformer_sees_all_modalities_and_a_sum_does_not_tell_depth_from_infrared() -> None:
    rgb, depth, ir = images(5, 12)
    assert sum(isinstance(part, VisionTransformer) for part in network().modules()) == 1
    tokens = seen(network(), [rgb, rgb, rgb])["tokens"].chunk(3)
    torch.testing.assert_close(tokens[0], tokens[1], rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(tokens[0], tokens[2], rtol=1e-5, atol=1e-6)
    for fusion in ("sum", "concat"):
        model = network(fusion=fusion)
        with torch.inference_mode():
            a, b = model(rgb, depth, ir), model(rgb, ir, depth)
        assert torch.allclose(a, b, rtol=1e-5, atol=1e-6) == (fusion == "sum")


def test_channels_of_the_map_and_the_means_drop_out_in_training_alone() -> None:
    model, pictures = network(), images(5, 12)
    assert (model.drop_channels.p, model.drop.p) == (0.3, 0.3)
    with torch.inference_mode():
        still = model(*pictures)
        assert torch.equal(still, model(*pictures))
        for part in (model.drop_channels, model.drop):
            part.train()
            torch.manual_seed(0)
            assert not torch.allclose(still, model(*pictures))
            part.eval()


def test_the_attention_is_computed_in_float32_where_the_rest_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    attend, kinds = flex_modal.channel_cross_attention, []

    def noted(x: Tensor, rgb: Tensor, scaled: bool) -> Tensor:
        kinds.append((x.dtype, (x @ rgb.mT).dtype))
        return attend(x, rgb, scaled)

    monkeypatch.setattr(flex_modal, "channel_cross_attention", noted)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        assert network()(*images(6, 12)).dtype == torch.bfloat16
    assert kinds == [(torch.float32, torch.float32)] * 2


@given(logits=logit_arrays(4, 2), label=labels(4))
def test_loss_and_score_are_of_the_difference(logits: np.ndarray, label: np.ndarray) -> None:
    difference = logits[:, 0].astype(np.float64) - logits[:, 1]
    made = flex_modal.FlexModalMethod(options(), CPU)
    output, batch = torch.from_numpy(logits), batch_of(images(0, 1, 4), torch.from_numpy(label))
    assert made.losses(output, batch)["loss"].item() == pytest.approx(
        bce(-difference, label).mean(), rel=1e-5, abs=1e-6
    )
    np.testing.assert_allclose(made.scores(output)[HEADLINE].numpy(), difference, rtol=1e-5, atol=1e-5)


# What training does to the images

FLIPPING = SimpleNamespace(augment=lambda batch: batch_of([x.flip(-1) for x in batch.images], batch.label))


def viewed(pictures: list[Tensor], seed: int = 0, **chosen: Any) -> list[Tensor]:
    made = flex_modal.FlexModalMethod(options(**chosen), CPU)
    made.draws = torch.Generator().manual_seed(seed)
    batch = made.views(batch_of(pictures), FLIPPING)
    assert batch.label.tolist() == batch_of(pictures).label.tolist()
    return list(batch.images)


def equal(a: Any, b: Any) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def test_the_table_leaves_images_as_they_are_augmented_by_everybody() -> None:
    pictures = images(7, 8, 4)
    assert equal(viewed(pictures), [x.flip(-1) for x in pictures])


@pytest.mark.parametrize("preset", ["described", "released"])
def test_views_are_flips_then_colours_then_dropped_modalities_then_a_square(preset: str) -> None:
    pictures, draws = images(7, 40, 4), torch.Generator().manual_seed(5)
    rgb, depth, ir = (flex_modal.recoloured(x.flip(-1), 40, 0.5, draws) for x in pictures)
    depth, ir = flex_modal.drop_modalities(depth, ir, 0.5, draws)
    expected = flex_modal.cut_out(rgb, depth, ir, 30, draws)
    assert equal(viewed(pictures, 5, preset=preset, image_size=40), expected)


@pytest.mark.parametrize(
    ("chosen", "changed"),
    [
        ({"drop_modality": 1.0}, [False, True, True]),
        ({"cutout": 30}, [True, True, True]),
        ({"brightness": 40}, [True, True, True]),
        ({"gamma": 0.5}, [True, True, True]),
    ],
)
def test_each_of_them_can_be_had_alone(chosen: dict[str, Any], changed: list[bool]) -> None:
    pictures = images(8, 40, 4)
    after = viewed(pictures, **chosen)
    assert [not torch.equal(now, was.flip(-1)) for was, now in zip(pictures, after, strict=True)] == changed


@given(seed=st.integers(0, 2**31), brightness=st.sampled_from([0, 1, 40]), gamma=st.sampled_from([0.0, 0.5]))
def test_colours_are_shifted_by_channel_and_raised_to_a_power_by_sample(
    seed: int, brightness: int, gamma: float
) -> None:
    """A pixel of each level is enough to find both again, and to see that all others obey them."""
    levels = torch.linspace(60, 190, 5) / 255  # none is cut off
    image = (2 * levels - 1).expand(3, 3, 1, 5)
    after = flex_modal.recoloured(image, brightness, gamma, torch.Generator().manual_seed(seed))
    x = (after.double().numpy() + 1) / 2
    powers = set()
    for sample in x:
        found = []
        for channel in sample[:, 0]:
            errors = {
                (shift, power): np.abs((levels.double().numpy() + shift / 255) ** power - channel).max()
                for shift in range(-brightness, brightness + 1)
                for power in [np.log(channel[0]) / np.log(levels[0].item() + shift / 255)]
            }
            found.append(min(errors, key=errors.__getitem__))
            assert errors[found[-1]] < 1e-4
        assert np.ptp([power for _, power in found]) < 2e-2
        assert 1 - gamma - 1e-3 <= found[0][1] <= 1 + gamma + 1e-3
        powers.add(round(found[0][1], 3))
    if gamma:
        assert len(powers) > 1


def test_shifts_reach_both_ends_and_are_cut_off_at_black_and_white() -> None:
    image = torch.tensor([-1.0, 0.0, 1.0]).expand(4000, 3, 1, 3)
    after = flex_modal.recoloured(image, 3, 0.0, torch.Generator().manual_seed(0))
    steps = ((after[..., 1] + 1) / 2 * 255 - 127.5).flatten()
    values, counts = steps.round().unique(return_counts=True)
    assert values.tolist() == [-3, -2, -1, 0, 1, 2, 3]
    assert (counts / steps.numel() - 1 / 7).abs().max() < 0.02
    assert len({tuple(row) for row in steps.view(-1, 3).round().tolist()}) == 343  # channels apart
    assert after[..., 0].min() == -1
    assert after[..., 2].max() == 1


def test_powers_are_uniform_between_their_ends() -> None:
    image = torch.zeros(4000, 3, 1, 1)
    after = flex_modal.recoloured(image, 0, 0.5, torch.Generator().manual_seed(0))
    powers = ((after[:, 0, 0, 0] + 1) / 2).log() / np.log(0.5)
    counts = powers.histc(4, 0.5, 1.5)
    assert counts.sum() == 4000
    assert (counts / 4000 - 1 / 4).abs().max() < 0.05


# Its rates and samplers


@pytest.mark.parametrize(("rate", "last_at_full"), [("halved", 20), ("halved_early", 19)])
def test_the_rate_is_halved_after_so_many_epochs(rate: str, last_at_full: int) -> None:
    epochs = 47
    made = flex_modal.FlexModalMethod(options(rate=rate, epochs=epochs, learning_rate=1e-5), CPU)
    optimiser = torch.optim.SGD([{"params": [torch.zeros(1)]}, {"params": [torch.zeros(1)]}], lr=1.0)
    batch, rates = batch_of(images(0, 1)), []
    for epoch in range(epochs):
        made.schedule(optimiser, batch, SimpleNamespace(epoch=epoch))
        rates.append([group["lr"] for group in optimiser.param_groups])
    expected = [1e-5] * last_at_full + [5e-6] * 20 + [2.5e-6] * (epochs - 20 - last_at_full)
    np.testing.assert_allclose(rates, np.array(expected)[:, None].repeat(2, 1))


def test_rgb_takes_infrareds_place_at_test_where_the_reading_says_so() -> None:
    pictures = images(3, 12)
    scores = {}
    for reading in ("own", "rgb"):
        made = flex_modal.FlexModalMethod(options(infrared_at_test=reading), CPU)
        made.network = lambda rgb, depth, ir: torch.stack([ir.mean((1, 2, 3)), depth.mean((1, 2, 3))], 1)  # type: ignore[assignment]
        scores[reading] = made.predict(batch_of(pictures))[HEADLINE]
    rgb, depth, ir = (x.mean((1, 2, 3)) for x in pictures)
    torch.testing.assert_close(scores["own"], ir - depth)
    torch.testing.assert_close(scores["rgb"], rgb - depth)


def test_a_constant_rate_stays_what_the_optimiser_has() -> None:
    optimiser = torch.optim.SGD([torch.zeros(1)], lr=0.5)
    made = flex_modal.FlexModalMethod(options(rate="constant", epochs=47), CPU)
    for epoch in (0, 46):
        made.schedule(optimiser, batch_of(images(0, 1)), SimpleNamespace(epoch=epoch))
        assert optimiser.param_groups[0]["lr"] == 0.5


def test_the_cosine_is_everybodys() -> None:
    told: list[Any] = []
    training = SimpleNamespace(set_rate=told.append, sampler=SimpleNamespace(steps=1))
    flex_modal.FlexModalMethod(options(), CPU).schedule("the optimiser", batch_of(images(0, 1)), training)
    assert told == ["the optimiser"]


def test_frames_are_balanced_in_the_table_and_shuffled_by_the_authors() -> None:
    training = SimpleNamespace(sampler="everybody's", train=np.arange(10) + 3)
    assert flex_modal.FlexModalMethod(options(), CPU).sampler(training) == "everybody's"
    sampler = flex_modal.FlexModalMethod(options(preset="released", batch_size=4, seed=2), CPU).sampler(training)
    assert isinstance(sampler, ShuffledSampler)
    assert (sampler.count, sampler.batch_size, sampler.seed, sampler.steps) == (10, 4, 2, 3)


# Its options


def test_presets_part_where_their_sources_do() -> None:
    table, described, released = (options(preset=preset) for preset in ("table", "described", "released"))
    assert [x.fusion for x in (table, described, released)] == ["sum", "concat", "sum"]
    assert [x.rate for x in (table, described, released)] == ["cosine", "halved", "halved_early"]
    assert [x.sampling for x in (table, described, released)] == ["balanced", "shuffled", "shuffled"]
    assert [x.drop_modality for x in (table, described, released)] == [0, 0.5, 0.5]
    assert [x.missing_as for x in (table, described, released)] == ["black", "black", "grey"]
    assert [x.infrared_at_test for x in (table, described, released)] == ["own", "own", "rgb"]
    assert [x.cutout for x in (table, described, released)] == [0, 30, 30]
    assert [(x.brightness, x.gamma) for x in (table, described, released)] == [(0, 0), (40, 0.5), (40, 0.5)]
    for x in (table, described, released):
        assert (x.attention, x.final_norm) == ("unscaled", "skipped")
        x.check()


@pytest.mark.parametrize(
    ("chosen", "sentence"),
    [
        ({"patch": 16}, "--patch 16: the image has 12 pixels; give at most 12"),
        ({"drop_modality": 1.5}, "--drop-modality 1.5: it is a probability; give a number from 0 to 1"),
        ({"drop_modality": -0.5}, "--drop-modality -0.5: it is a probability; give a number from 0 to 1"),
        ({"cutout": 1}, "--cutout 1: no square has a side below 1; give at least 2, or 0 to cut out nothing"),
        ({"cutout": -1}, "--cutout -1: give at least 0"),
        ({"brightness": 256}, "--brightness 256: give a number from 0 to 255"),
        ({"brightness": -1}, "--brightness -1: give a number from 0 to 255"),
        ({"gamma": 1.0}, "--gamma 1.0: give a number from 0 to 0.99"),
        ({"gamma": -0.1}, "--gamma -0.1: give a number from 0 to 0.99"),
    ],
)
def test_options_that_cannot_be_are_refused_in_one_sentence(chosen: dict[str, Any], sentence: str) -> None:
    with pytest.raises(BadInput) as refused:
        options(**chosen).check()
    assert str(refused.value) == sentence


def test_the_ends_of_what_options_may_be() -> None:
    options(drop_modality=1.0, cutout=2, brightness=255, gamma=0.99).check()
    options(drop_modality=0.0, cutout=0, brightness=0, gamma=0.0).check()
