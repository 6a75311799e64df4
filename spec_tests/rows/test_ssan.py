"""SSAN: its network written out, what training makes of partners, the turned gradient, its batches and rates."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from data_manifests.errors import BadInput
from reference.rivals import ssan
from reference.runs import HEADLINE
from spec_tests.support.layers import normalised, residual_stage
from spec_tests.support.networks import batch_of, images, scrambled

CPU = torch.device("cpu")
SIDE = 40
SMALL = {"image_size": SIDE, "width": 3, "device": "cpu"}


def options(**chosen: Any) -> ssan.Options:
    return ssan.Options(index=Path(), run_dir=Path(), **(SMALL | chosen))


def network(**chosen: Any) -> ssan.SSAN:
    """In evaluation mode, with random weights and statistics, in float64."""
    model = scrambled(ssan.SSAN(options(**chosen), 3), 1).double().eval()
    draws = torch.Generator().manual_seed(2)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            module.running_mean.normal_(generator=draws)
            module.running_var.uniform_(0.5, 2, generator=draws)
    return model


def pictures(seed: int = 0, count: int = 4, side: int = SIDE) -> list[Tensor]:
    return [x.double() for x in images(seed, side, count)]


def method(domains: tuple[int, ...] = (0, 1, 2), **chosen: Any) -> ssan.Method:
    made = ssan.Method(options(**chosen), CPU)
    made.domains, made.draws = domains, torch.Generator().manual_seed(3)
    made.network = scrambled(made.build(), 4).double().eval()
    return made


# The network


def restyled(x: Tensor, scale: Tensor, shift: Tensor, divisor: int) -> Tensor:
    centred = x - x.sum((2, 3), keepdim=True) / x[0, 0].numel()
    deviation = ((centred**2).sum((2, 3)) / divisor + 1e-5).sqrt()
    return torch.einsum("bchw,bc->bchw", centred, scale / deviation) + shift[:, :, None, None]


def plainly(x: Tensor) -> Tensor:
    """Instance norm, without a style."""
    return restyled(x, torch.ones_like(x[:, :, 0, 0]), torch.zeros_like(x[:, :, 0, 0]), x[0, 0].numel())


def halved(x: Tensor, part: Any) -> Tensor:
    return F.conv2d(x, part[0].weight, stride=2, padding=1)


def encoded(model: Any, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Content, scale and shift of what the network is fed, by elementary operations."""
    trunk = model.trunk
    first = normalised(F.conv2d(image, trunk.conv1.weight, stride=2, padding=3), trunk.bn1).clamp_min(0)
    low = residual_stage(F.max_pool2d(first, 3, 2, 1), trunk.layer1, 1)
    middle = residual_stage(low, trunk.layer2, 2)
    high = residual_stage(middle, trunk.layer3, 2)
    content = normalised(halved(high, model.content), model.content[1]).clamp_min(0)
    joined = plainly(halved(low, model.to_middle)).clamp_min(0) + middle
    joined = plainly(halved(joined, model.to_high)).clamp_min(0) + high
    largest = plainly(halved(joined, model.to_style)).amax((2, 3))
    style = (largest @ model.style[0].weight.T).clamp_min(0)
    return content, style @ model.scale.weight.T, style @ model.shift.weight.T


def assembled(model: Any, content: Tensor, scale: Tensor, shift: Tensor, live: bool, biased: bool) -> Tensor:
    """The feature of a content in a style."""
    divisor = content[0, 0].numel() - (not biased)
    x = content
    for block in model.assemblies:
        inner = x
        if live:
            first, second = (part.weight for part in block.convolutions)
            inner = restyled(F.conv2d(inner, first, padding=1), scale, shift, divisor).clamp_min(0)
            inner = F.conv2d(inner, second, padding=1)
        x = x + restyled(inner, scale, shift, divisor)
    return normalised(halved(x, model.feature), model.feature[1]).mean((2, 3))


@pytest.mark.parametrize("variance", ["unbiased", "biased"])
@pytest.mark.parametrize("convolutions", ["live", "dead"])
def test_the_network_is_the_one_written_down(convolutions: str, variance: str) -> None:
    model = network(convolutions=convolutions, variance=variance, stem="rgb")
    assert len(model.assemblies) == 2
    rgb, depth, ir = pictures()
    partners = torch.tensor([2, 0, 3, 1])
    with torch.inference_mode():
        out, judged = model.shuffled(rgb, depth, ir, partners, 0.5), model(rgb, depth, ir)
        content, scale, shift = encoded(model, (rgb * 127.5) / 128)
        readings = convolutions == "live", variance == "biased"
        own = assembled(model, content, scale, shift, *readings)
        mixed = assembled(model, content, scale[partners], shift[partners], *readings)
        logits = (own @ model.classes.weight.T + model.classes.bias).flip(1)
        hidden = (content.mean((2, 3)) @ model.domain[0].weight.T + model.domain[0].bias).clamp_min(0)
        domain = hidden @ model.domain[3].weight.T + model.domain[3].bias
    for got, expected in ((out.own, own), (out.mixed, mixed), (out.logits, logits), (out.domain, domain)):
        torch.testing.assert_close(got, expected, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(judged, logits, rtol=1e-9, atol=1e-9)
    assert torch.equal(out.partners, partners)


def test_the_input_is_the_authors_or_imagenets() -> None:
    rgb, depth, ir = pictures()
    pixels = rgb * 127.5 + 127.5
    sd, mean = (
        torch.tensor(x, dtype=torch.float64).view(3, 1, 1) for x in ((0.229, 0.224, 0.225), (0.485, 0.456, 0.406))
    )
    for input_range, expected in (("released", (pixels - 127.5) / 128), ("imagenet", (pixels / 255 - mean) / sd)):
        seen: list[Tensor] = []
        model = network(input_range=input_range, stem="rgb")
        model.trunk.register_forward_pre_hook(lambda _, args, seen=seen: seen.append(args[0]))
        with torch.inference_mode():
            model(rgb, depth, ir)
        torch.testing.assert_close(seen[0], expected, rtol=1e-6, atol=1e-6)


# Training


@pytest.mark.parametrize("convolutions", ["live", "dead"])
def test_one_pass_leaves_what_two_passes_would(convolutions: str) -> None:
    """The authors see the batch and then the permuted batch, with running averages of 0.1 each time."""
    model = network(convolutions=convolutions, stem="rgb").train()
    model.domain.eval()
    twice = network(convolutions=convolutions, stem="rgb").train()
    twice.load_state_dict(model.state_dict())
    for module in twice.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 0.1
    rgb, depth, ir = pictures(1)
    partners = torch.tensor([1, 3, 0, 2])
    out = model.shuffled(rgb, depth, ir, partners, 1.0)
    content, scale, shift = twice.encode(rgb, depth, ir)
    _, others_scale, others_shift = twice.encode(rgb[partners], depth[partners], ir[partners])
    torch.testing.assert_close(out.own, twice.assemble(content, scale, shift), rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(out.mixed, twice.assemble(content, others_scale, others_shift), rtol=1e-9, atol=1e-9)
    after = twice.state_dict()
    for name, value in model.state_dict().items():
        if "running" in name:
            torch.testing.assert_close(value, after[name], rtol=1e-9, atol=1e-9, msg=name)


def gradients(progress: float, **chosen: Any) -> tuple[Tensor, Tensor]:
    """Of the data sets' cross-entropy: of the content's convolution, and of the head's first layer."""
    made = method(**chosen)
    batch = replace(batch_of(pictures(), domains=3), progress=progress)
    made.losses(made.forward(batch), batch)["adversarial"].backward()
    content, head = made.network.content[0].weight.grad, made.network.domain[0].weight.grad
    assert content is not None
    assert head is not None
    return content, head


def test_the_gradient_is_turned_before_the_content_by_ganins_coefficient() -> None:
    plain, head = gradients(0.3, reversal="plain")
    assert plain.abs().max() > 0
    for progress in (0.0, 0.3, 1.0):
        turned, same_head = gradients(progress, reversal="reversed")
        coefficient = 2 / (1 + np.exp(-10 * progress)) - 1
        torch.testing.assert_close(turned, -coefficient * plain, rtol=1e-9, atol=1e-12)
        torch.testing.assert_close(same_head, head, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(gradients(0.9, reversal="plain")[0], plain)


def cross_entropies(logits: Tensor, place: Tensor) -> Tensor:
    return logits.exp().sum(1).log() - logits[torch.arange(len(logits)), place]


def test_losses_are_the_three_terms_and_their_weighted_sum() -> None:
    made = method(domains=(1, 4, 6), contrast_weight=0.3, adversarial_weight=0.7)
    batch = replace(batch_of(pictures(2)), domain=torch.tensor([6, 1, 1, 4]), label=torch.tensor([1.0, 0, 0, 1]))
    with torch.no_grad():
        out = made.forward(batch)
        parts = made.losses(out, batch)
    classes = cross_entropies(out.logits, torch.tensor([1, 0, 0, 1])).mean()
    adversarial = cross_entropies(out.domain, torch.tensor([2, 0, 0, 1])).mean()
    signs = torch.tensor([1.0 if batch.label[i] == batch.label[p] else -1.0 for i, p in enumerate(out.partners)])
    contrast = -(signs * F.normalize(out.own).mul(F.normalize(out.mixed)).sum(1)).mean()
    expected = {"classes": classes, "contrast": contrast, "adversarial": adversarial}
    expected["loss"] = classes + 0.3 * contrast + 0.7 * adversarial
    assert {k: v.item() for k, v in parts.items()} == pytest.approx({k: v.item() for k, v in expected.items()})


def test_the_contrast_teaches_the_mixed_features_alone() -> None:
    made, batch = method(), batch_of(pictures(2))
    out = made.forward(batch)
    contrast = made.losses(out, batch)["contrast"]
    of_own, of_mixed = torch.autograd.grad(contrast, (out.own, out.mixed), allow_unused=True)
    assert of_own is None
    assert of_mixed is not None
    assert of_mixed.any()


def test_one_data_set_trains_without_the_third_term() -> None:
    made = method(domains=(5,))
    batch = replace(batch_of(pictures(2)), domain=torch.full((4,), 5))
    parts = made.losses(made.forward(batch), batch)
    assert parts["adversarial"] == 0
    parts["loss"].backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in made.network.parameters())


@pytest.mark.parametrize("partners", ["any", "others"])
def test_partners_are_drawn_by_the_methods_generator_in_training_alone(partners: str) -> None:
    made = method(partners=partners)
    batch = batch_of(pictures(count=6))
    expected = torch.Generator().manual_seed(3)
    for _ in range(3):
        drawn = made.forward(batch).partners
        assert torch.equal(drawn, ssan.style_partners(6, expected, partners == "others"))
    state = made.draws.get_state()
    with torch.inference_mode():
        scores, logits = made.predict(batch), made.forward(batch).logits
    torch.testing.assert_close(scores[HEADLINE], logits[:, 0] - logits[:, 1])
    made.draws.set_state(state)
    with torch.inference_mode():
        made.predict(batch)
    assert torch.equal(made.draws.get_state(), state)


def test_the_head_of_the_data_sets_drops_half_of_its_hidden_values() -> None:
    head = ssan.SSAN(options(width=64), 3).domain
    assert isinstance(head[2], nn.Dropout)
    assert head[2].p == 0.5


def test_styles_are_given_in_float32_where_the_rest_is_not() -> None:
    made = method()
    made.network.float()
    batch = batch_of(images(0, SIDE, 4))
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        assert {x.dtype for x in made.network.encode(*batch.images)} == {torch.float32}
        out = made.forward(batch)
        assert out.own.dtype == torch.bfloat16
    assert {x.dtype for x in made.losses(out, batch).values()} == {torch.float32}


@pytest.mark.parametrize("convolutions", ["live", "dead"])
def test_statistics_of_a_map_are_taken_in_float32(convolutions: str, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    norm = ssan.adaptive_instance_norm
    monkeypatch.setattr(ssan, "adaptive_instance_norm", lambda x, *rest: (seen.append(x.dtype), norm(x, *rest))[1])
    made = method(convolutions=convolutions)
    made.network.float()
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        made.forward(batch_of(images(0, SIDE, 4)))
    assert set(seen) == {torch.float32}


# Its rates and batches


def test_the_rate_is_halved_again_and_again() -> None:
    made = ssan.Method(options(halved_after=3, learning_rate=8.0), CPU)
    optimiser = torch.optim.SGD([{"params": [torch.zeros(1)]}, {"params": [torch.zeros(1)]}], lr=1.0)
    rates = []
    for epoch in range(8):
        made.schedule(optimiser, batch_of(images(0, 1)), SimpleNamespace(epoch=epoch))
        rates.append([group["lr"] for group in optimiser.param_groups])
    assert rates == [[rate] * 2 for rate in (8, 8, 8, 4, 4, 4, 2, 2)]


def test_batches_are_of_recordings_of_frames_or_balanced() -> None:
    faces = SimpleNamespace(recording=np.array([9, 9, 5, 5, 5, 7, 7]))
    training = SimpleNamespace(sampler="everybody's", train=np.array([6, 2, 3, 0, 1]), faces=faces)

    def frames(sampling: str) -> list[list[int]]:
        sampler: Any = ssan.Method(options(sampling=sampling, batch_size=2, seed=3), CPU).sampler(training)
        assert (sampler.batch_size, sampler.seed) == (2, 3)
        return sorted(x.tolist() for x in sampler.frames)

    assert frames("recordings") == [[0], [1, 2], [3, 4]]
    assert frames("frames") == [[0], [1], [2], [3], [4]]
    assert ssan.Method(options(sampling="balanced"), CPU).sampler(training) == "everybody's"
    assert [options(sampling=x).per_domain for x in ("recordings", "frames", "balanced")] == [False, False, True]


# Its options


def test_presets_part_where_their_sources_do() -> None:
    table, described, released = (
        ssan.Options(index=Path(), run_dir=Path(), preset=preset) for preset in ("table", "described", "released")
    )
    every = (table, described, released)
    assert [x.stem for x in every] == ["conv", "rgb", "rgb"]
    assert [x.reversal for x in every] == ["reversed", "reversed", "plain"]
    assert [x.convolutions for x in every] == ["live", "live", "dead"]
    assert [x.sampling for x in every] == ["frames", "recordings", "recordings"]
    assert [(x.epochs, x.halved_after) for x in every] == [(80, 33), (1200, 500), (1200, 500)]
    assert [x.image_size for x in every] == [224, 256, 256]
    for x in every:
        assert (x.variance, x.input_range, x.partners) == ("unbiased", "released", "any")
        assert (x.contrast_weight, x.adversarial_weight) == (1, 1)
        assert (x.optimiser, x.learning_rate, x.weight_decay, x.batch_size) == ("adam_l2", 1e-4, 5e-5, 16)
        assert (x.augmentation, x.protocol, x.width, x.weights) == ("flip", "official", 64, "none")
        x.check()


@pytest.mark.parametrize(
    ("chosen", "sentence"),
    [
        (
            {"image_size": 32},
            "--image-size 32: the content would have one position, which has no variance; give at least 33",
        ),
        (
            {"steps": 5},
            "--steps 5: an epoch of --sampling frames ends when all have come; give 0, or --sampling balanced",
        ),
        ({"weights": "torchvision"}, "--width 3: --weights torchvision have 64; give that, or --weights none"),
        ({"width": 0}, "--width 0: give at least 1"),
        ({"halved_after": 0}, "--halved-after 0: give at least 1"),
        ({"contrast_weight": -1.0}, "--contrast-weight -1.0: give at least 0"),
        ({"adversarial_weight": -0.5}, "--adversarial-weight -0.5: give at least 0"),
    ],
)
def test_options_that_cannot_be_are_refused_in_one_sentence(chosen: dict[str, Any], sentence: str) -> None:
    with pytest.raises(BadInput) as refused:
        options(**chosen).check()
    assert str(refused.value) == sentence


def test_the_ends_of_what_options_may_be() -> None:
    options(image_size=33, halved_after=1, contrast_weight=0.0, adversarial_weight=0.0, width=1).check()
    options(steps=5, sampling="balanced").check()
    options(width=64, weights="torchvision").check()
