"""IADG: its network, what training adds to it, its losses and scores, what it chooses before an epoch, its options."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from data_manifests.errors import BadInput
from reference.batches import Batch
from reference.rivals import iadg
from reference.runs import HEADLINE
from spec_tests.support.logits import bce
from spec_tests.support.networks import batch_of, images, scrambled

CPU = torch.device("cpu")
SMALL = {"image_size": 24, "width": 4, "pools": 0, "styles": 3, "plain_epochs": 0}
LATE = 0.5  # progress at which a plain epoch is over


def options(**chosen: Any) -> iadg.Options:
    return iadg.Options(index=Path(), run_dir=Path(), **(SMALL | chosen))


def method(seed: int = 0, **chosen: Any) -> iadg.Method:
    """With a float64 network of random weights, base styles and masks, in evaluation mode."""
    made = iadg.Method(options(**chosen), CPU)
    network = made.network = made.build()
    scrambled(network, seed)
    network.double().eval()
    rng = torch.Generator().manual_seed(seed + 1)
    network.means.normal_(generator=rng)
    network.deviations.uniform_(0.5, 2, generator=rng)
    network.masks.random_(0, 2, generator=rng)
    network.final[1].running_mean.normal_(generator=rng)
    network.final[1].running_var.uniform_(0.5, 2, generator=rng)
    made.draws = torch.Generator().manual_seed(seed)
    return made


def samples(seed: int = 0, count: int = 4, size: int = 24, progress: float = LATE) -> Batch:
    return replace(batch_of([x.double() for x in images(seed, size, count)]), progress=progress)


# The network


def standardised(x: Tensor) -> Tensor:
    centred = x - x.mean((2, 3), keepdim=True)
    return centred / (centred.square().mean((2, 3), keepdim=True) + 1e-5).sqrt()


class ByHand:
    """The network once more, of its weights by name."""

    def __init__(self, made: iadg.Method) -> None:
        self.w = made.network.state_dict()

    def conv(self, name: str, x: Tensor, norm: bool = True) -> Tensor:
        x = F.conv2d(x, self.w[f"{name}.weight"], self.w[f"{name}.bias"], padding=1)
        return (standardised(x) if norm else x).clamp_min(0)

    def dynamic(self, name: str, x: Tensor) -> Tensor:
        w, half, out = self.w, x.shape[1] // 2, []
        for sample in x:
            parts = []
            for channel in sample[:half]:
                nine = w[f"{name}.make.weight"].flatten() * channel.mean() + w[f"{name}.make.bias"]
                kernel = w[f"{name}.mix.weight"].item() * nine + w[f"{name}.mix.bias"].item()
                parts.append(F.conv2d(channel[None, None], kernel.view(1, 1, 3, 3), padding=1)[0])
            parts.append(
                F.conv2d(sample[None, half:], w[f"{name}.fixed.weight"], w[f"{name}.fixed.bias"], padding=1)[0]
            )
            out.append(torch.cat(parts))
        joined = F.conv2d(torch.stack(out), w[f"{name}.join.weight"], w[f"{name}.join.bias"])
        return standardised(joined).clamp_min(0)

    def features(self, x: Tensor, side: int) -> Tensor:
        x = self.conv("first.0", x)
        scales = []
        for i in range(3):
            x = self.dynamic(f"blocks.{i}.1.0", self.conv(f"blocks.{i}.0.0", x))
            x = F.max_pool2d(self.conv(f"blocks.{i}.2.0", x), 2)
            cell = x.shape[2] // side
            scales.append(x.unflatten(3, (side, cell)).unflatten(2, (side, cell)).mean((3, 5)))
        return torch.cat(scales, 1)

    def judge(self, x: Tensor, pools: int, norm: bool = True) -> tuple[Tensor, Tensor]:
        y = x
        for i, name in enumerate(("classifier.0.0", "classifier.2.0", "classifier.4.0")):
            y = self.conv(name, F.max_pool2d(y, 2) if 0 < i <= pools else y)
        logits = y.mean((2, 3)) @ self.w["classifier.7.weight"].T + self.w["classifier.7.bias"]
        return logits, self.conv("depth.2.0", self.conv("depth.1.0", self.conv("depth.0.0", x)), norm)[:, 0]

    def final(self, x: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
        x = F.conv2d(x, self.w["final.0.weight"], padding=1)
        x = (x - mean[:, None, None]) / (variance[:, None, None] + 1e-5).sqrt()
        return x * self.w["final.1.weight"][:, None, None] + self.w["final.1.bias"][:, None, None]

    def final_of_training(self, x: Tensor) -> Tensor:
        raw = F.conv2d(x, self.w["final.0.weight"], padding=1)
        return self.final(x, raw.mean((0, 2, 3)), raw.var((0, 2, 3), correction=0))

    def final_of_test(self, x: Tensor) -> Tensor:
        return self.final(x, self.w["final.1.running_mean"], self.w["final.1.running_var"])


def same(a: Any, b: Any, tolerance: float = 1e-9) -> None:
    """Of a tensor, or of a tuple of them. (torch.testing would import sympy, which takes longer than these tests.)"""
    for one, other in zip(*((x,) if isinstance(x, Tensor) else x for x in (a, b)), strict=True):
        assert one.shape == other.shape
        np.testing.assert_allclose(one.detach().numpy(), other.detach().numpy(), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(("size", "pools"), [(24, 0), (32, 1), (64, 2)])
def test_the_network_is_what_its_head_says(size: int, pools: int) -> None:
    made, batch = method(image_size=size, pools=pools, stem="rgb"), samples(1, 2, size)
    by_hand = ByHand(made)
    with torch.no_grad():
        features = made.network.features(*batch.images)
        judged = made.network(*batch.images)
    assert features.shape == (2, 24, size // 8, size // 8)
    same(features, by_hand.features(batch.rgb, size // 8))
    same(tuple(judged), by_hand.judge(features, pools))


def test_widths_are_in_proportion_and_odd_ones_do() -> None:
    shapes = {k: tuple(v.shape) for k, v in iadg.IADG(options(width=5)).state_dict().items()}
    assert shapes["blocks.1.1.0.join.weight"] == (15, 10, 1, 1)  # 5 * 196 / 64, rounded down
    assert shapes["final.0.weight"] == (30, 30, 3, 3)
    assert shapes["masks"] == (2, 30, 30)
    assert shapes["means"] == shapes["deviations"] == (2, 3, 30)
    assert shapes["classifier.7.weight"] == (2, 40)


def test_the_stem_makes_three_channels_of_all_modalities() -> None:
    made, batch, seen = method(), samples(), {}
    made.network.first.register_forward_hook(lambda _, args, out: seen.update(x=args[0]))
    with torch.no_grad():
        made.network(*batch.images)
        same(seen["x"], made.network.stem(*batch.images))


def test_the_depth_map_may_go_without_norm() -> None:
    made, batch = method(depth_head="plain"), samples()
    with torch.no_grad():
        features = made.network.features(*batch.images)
        same(made.network(*batch.images).depth, ByHand(made).judge(features, 0, norm=False)[1])


def test_all_features_go_through_f_where_that_is_asked_for() -> None:
    made, batch = method(final="all"), samples()
    by_hand = ByHand(made)
    with torch.no_grad():
        features = made.network.features(*batch.images)
        same(tuple(made.network(*batch.images)), by_hand.judge(by_hand.final_of_test(features), 0))
        made.network.train()
        judged, _ = made.network.taught(batch, made.draws)
        same(tuple(judged), by_hand.judge(by_hand.final_of_training(features), 0))


def test_first_weights_are_kaimings() -> None:
    torch.manual_seed(0)
    network = iadg.IADG(options(width=16))
    for name in ("first.0", "blocks.2.1.0.fixed", "blocks.0.1.0.join", "classifier.4.0", "depth.0.0", "final.0"):
        weight = network.get_parameter(f"{name}.weight")
        assert weight.std().item() == pytest.approx((2 / weight[0].numel()) ** 0.5, rel=0.1), name
    scale = network.final[1].weight
    assert 0.02 <= scale.min() < 0.2
    assert 0.8 < scale.max() <= 1
    assert not network.final[1].bias.any()


# What training adds


def styled(made: iadg.Method, features: Tensor, label: Tensor, seed: int) -> Tensor:
    """Two styles after each other, one sample at a time."""
    network, draws = made.network, torch.Generator().manual_seed(seed)
    for _ in range(2):
        concentration = torch.full((3,), made.options.concentration or 1 / 3, dtype=torch.float64)
        weights, out = iadg.dirichlet_weights(concentration, len(features), draws), []
        for x, w, attack in zip(features, weights, label.long().tolist(), strict=True):
            mean, sd = x.mean((1, 2), keepdim=True), (x.var((1, 2), keepdim=True) + 1e-5).sqrt()
            new_mean, new_sd = w @ network.means[attack], w @ network.deviations[attack]
            out.append(x + (x - mean) / sd * new_sd[:, None, None] + new_mean[:, None, None])
        features = torch.stack(out)
    return features


@pytest.mark.parametrize("concentration", [0.0, 2.0])
def test_training_sees_styled_features_as_well(concentration: float) -> None:
    made, batch = method(concentration=concentration), samples()
    by_hand, before = ByHand(made), made.network.state_dict()["final.1.running_mean"].clone()
    made.network.train()
    with torch.no_grad():
        features = made.network.features(*batch.images)
        judged, more = made.forward(batch)
    assert more is not None
    new = styled(made, features, batch.label, 0)
    same(tuple(judged), by_hand.judge(features, 0))
    same(more.features, (by_hand.final_of_training(features), by_hand.final_of_training(new)))
    same(tuple(more.judged), by_hand.judge(more.features[1], 0))
    means = [F.conv2d(x, by_hand.w["final.0.weight"], padding=1).mean((0, 2, 3)) for x in (new, features)]
    same(made.network.final[1].running_mean, 0.9 * (0.9 * before + 0.1 * means[0]) + 0.1 * means[1])


@pytest.mark.parametrize("content", ["detached", "attached"])
def test_what_a_style_replaces_has_no_gradient_unless_attached(content: str) -> None:
    made = method(content=content)
    features = torch.randn(2, 24, 3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    features.requires_grad_()
    moved = made.network.restyled(features, torch.tensor([0.0, 1.0]), torch.Generator().manual_seed(0))
    (gradient,) = torch.autograd.grad(moved.sum(), features)
    # A shift of a whole map changes nothing of its normalised form: with its statistics attached its sum moves by the
    # residual connections alone, twice.
    assert torch.allclose(gradient.mean((2, 3)), torch.ones(2, 24, dtype=torch.float64)) == (content == "attached")


def test_styles_come_after_the_plain_epochs_and_in_training_alone() -> None:
    made = method(plain_epochs=2, epochs=5)
    made.network.train()
    for progress, expected in ((0.0, False), (0.39, False), (2 / 5, True), (0.99, True)):
        assert (made.forward(samples(progress=progress))[1] is not None) == expected
    made.network.eval()
    assert made.forward(samples(progress=0.9))[1] is None
    with torch.no_grad():
        steps = [made.epoch(samples(progress=step / 235)) for step in range(235)]
    made = method(epochs=47)
    assert [made.epoch(samples(0, 1, progress=step / 235)) for step in range(235)] == [s // 5 for s in range(235)]
    assert steps == [s // 47 for s in range(235)]


def test_styles_are_computed_in_float32_where_the_rest_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    made, assemble, kinds = method(), iadg.assembled_styles, []
    made.network.float().train()

    def noted(weights: Tensor, label: Tensor, bases: Tensor) -> Tensor:
        kinds.append((weights.dtype, (weights @ bases[0]).dtype))
        return assemble(weights, label, bases)

    monkeypatch.setattr(iadg, "assembled_styles", noted)
    batch = replace(batch_of(images(0, 24, 4)), progress=LATE)
    with torch.autocast("cpu", torch.bfloat16):
        features = made.network.features(*batch.images)
        assert features.dtype == torch.bfloat16
        moved = made.network.restyled(features, batch.label, torch.Generator().manual_seed(0))
    assert moved.dtype == torch.float32
    assert kinds == [(torch.float32, torch.float32)] * 2


# Losses and scores


@pytest.mark.parametrize("covariance", ["raw", "centred"])
def test_the_loss_is_the_weighted_sum_of_six(covariance: str) -> None:
    made, batch = method(covariance=covariance), samples()
    made.network.train()
    with torch.no_grad():
        output = made.forward(batch)
        parts = {name: value.item() for name, value in made.losses(output, batch).items()}
    judged, more = output
    assert more is not None
    label, expected = batch.label.double().numpy(), {}
    for name, each in (("", judged), ("styled_", more.judged)):
        difference = (each.logits[:, 0] - each.logits[:, 1]).numpy()
        expected[name + "classes"] = bce(difference, 1 - label).mean()
        expected[name + "depth"] = np.mean((each.depth.numpy() - (1 - label)[:, None, None]) ** 2)
    for name, features in zip(("whitening", "styled_whitening"), more.features, strict=True):
        values = iadg.pair_covariances(features, covariance == "centred")
        expected[name] = iadg.whitening_loss(values, batch.label, made.network.masks).item()
    weights = [1, 0.1, 1, 0.1, 1, 1]
    expected["loss"] = sum(w * v for w, v in zip(weights, expected.values(), strict=True))
    assert parts == pytest.approx(expected, rel=1e-6)


def test_a_plain_epoch_has_two_losses_and_the_weight_of_depth_is_an_option() -> None:
    made, batch = method(depth_weight=0.25), samples()
    parts = made.losses(made.forward(batch), batch)
    assert [*parts] == ["loss", "classes", "depth"]
    same(parts["loss"], parts["classes"] + 0.25 * parts["depth"])


def test_the_depth_of_a_face_is_flat_or_its_own() -> None:
    depth = torch.linspace(-0.9, 1, 3 * 3 * 16 * 16, dtype=torch.float64).view(3, 3, 16, 16).clone()
    depth[1] = -1  # without depth
    label = torch.tensor([0.0, 0.0, 1.0])
    flat = torch.tensor([1.0, 1, 0], dtype=torch.float64)[:, None, None].expand(3, 2, 2)
    same(iadg.depth_target(depth, label, 2, "flat"), flat)
    own = iadg.depth_target(depth, label, 2, "sample")
    plane = (depth[0, 0] + 1) / 2
    corner = plane[3:5, 3:5].mean()  # the centre of the first cell of 8 x 8 lies between these pixels
    assert own[0, 0, 0].item() == pytest.approx(corner.item())
    same(own[1:], flat[1:])
    made = method(depth_target="sample")
    batch = samples()
    with torch.no_grad():
        output = made.forward(batch)
        target = iadg.depth_target(batch.depth, batch.label, 3, "sample")
        assert made.losses(output, batch)["depth"].item() == pytest.approx(F.mse_loss(output[0].depth, target).item())


@given(seed=st.integers(0, 2**31))
def test_scores_are_a_probability_plus_the_mean_depth_or_the_log_odds(seed: int) -> None:
    rng = np.random.default_rng(seed)
    logits, depth = rng.normal(size=(3, 2)), rng.normal(size=(3, 2, 2))
    output = (iadg.Judged(torch.from_numpy(logits), torch.from_numpy(depth)), None)
    difference = logits[:, 0] - logits[:, 1]
    expected = {"both": 1 / (1 + np.exp(-difference)) + depth.mean((1, 2)), "classifier": difference}
    for score, values in expected.items():
        made = iadg.Method(options(score=score), CPU)
        np.testing.assert_allclose(made.scores(output)[HEADLINE].numpy(), values, rtol=1e-9, atol=1e-12)


def test_a_prediction_is_of_the_features_as_they_are() -> None:
    made, batch = method(), samples()
    made.network.train()  # where the loop would have styles
    before = made.draws.get_state()
    with torch.no_grad():
        scores = made.predict(batch)[HEADLINE]
        same(scores, made.scores((made.network(*batch.images), None))[HEADLINE])
    assert torch.equal(made.draws.get_state(), before)


def test_the_rate_is_divided_by_ten_after_every_ten_epochs() -> None:
    made = iadg.Method(options(epochs=25), CPU)
    optimiser = SimpleNamespace(param_groups=[{"lr": 1.0}, {"lr": 1.0}])
    rates = []
    for step in range(75):
        made.schedule(optimiser, samples(0, 1, 1, progress=step / 75), SimpleNamespace())
        rates.append([group["lr"] for group in optimiser.param_groups])
    expected = np.repeat([1e-4, 1e-5, 1e-6], [30, 30, 15])
    np.testing.assert_allclose(rates, expected[:, None].repeat(2, 1))


# What it chooses before an epoch


class Split:
    """A training split of 12 frames, and which of them each pass has asked for."""

    def __init__(self) -> None:
        self.batch = samples(7, 12)
        self.train = np.arange(12) + 100
        self.sampler = SimpleNamespace(epoch=lambda e: (np.arange(12).reshape(3, 4) + e) % 12)
        self.asked: list[list[int]] = []

    def stream(self, rows: np.ndarray) -> list[Batch]:
        self.asked.append(rows.tolist())
        places = torch.from_numpy(rows - 100)
        return [self.batch[places[i : i + 4]] for i in range(0, len(places), 4)]


def styles_of(made: iadg.Method, batch: Batch) -> Tensor:
    with torch.no_grad():
        features = made.network.features(*batch.images)
    return torch.cat([features.mean((2, 3)), (features.var((2, 3)) + 1e-5).sqrt()], 1)


def test_base_styles_are_those_of_frames_of_the_class_far_from_each_other() -> None:
    made, split = method(batch_size=4), Split()
    made.network.train()
    made.before_epoch(1, split)
    assert made.network.training
    assert split.asked == [list(range(100, 112)), [*range(101, 112), 100]]
    found, label = styles_of(made, split.batch), split.batch.label
    draws = torch.Generator().manual_seed(0)
    for number in range(2):
        own = found[label == number]
        bases = own[iadg.farthest_points(own, 3, draws)]
        same(torch.cat([made.network.means[number], made.network.deviations[number]], 1), bases)


@pytest.mark.parametrize(("covariance", "share_of"), [("raw", "matrix"), ("centred", "pairs")])
def test_pairs_are_those_whose_covariance_varies_most_within_batches(covariance: str, share_of: str) -> None:
    made = method(batch_size=4, covariance=covariance, share_of=share_of, bonafide_share=0.2, attack_share=0.05)
    split, by_hand = Split(), ByHand(made)
    made.network.train()
    with torch.no_grad():
        made.before_epoch(0, split)
    draws = torch.Generator().manual_seed(0)
    for number in range(2):  # as before, so that the generator stands where it stood
        own = styles_of(made, split.batch)[split.batch.label == number]
        iadg.farthest_points(own, 3, draws)
    variances: list[list[Tensor]] = [[], []]
    state = made.draws
    made.draws = draws
    for batch in split.stream(split.train):
        with torch.no_grad():
            features = made.network.features(*batch.images)
            both = torch.cat([features, made.network.restyled(features, batch.label, draws)])
        values = iadg.pair_covariances(by_hand.final_of_test(both), covariance == "centred")
        for number in range(2):
            variances[number].append(values[batch.label.repeat(2) == number].var(0))
    assert torch.equal(state.get_state(), draws.get_state())
    for number, share in enumerate((0.2, 0.05)):
        mean = torch.stack(variances[number]).mean(0)
        expected = iadg.sensitive_pairs(mean, share, share_of == "pairs")
        assert torch.equal(made.network.masks[number], expected)
        assert expected.sum() == int(share * (276 if share_of == "pairs" else 576))


def test_variances_of_epochs_before_are_forgotten_or_count_as_one_batch() -> None:
    first, second = [samples(1, 4), samples(2, 6)], [samples(3, 4), samples(4, 6), samples(5, 4)]

    def variances(reading: str, *epochs: list[Batch]) -> Tensor:
        made = method(variances=reading)
        for batches in epochs:
            made.draws = torch.Generator().manual_seed(5)
            with torch.no_grad():
                made.choose_pairs(batches)
        return made.network.variances

    one, two = variances("fresh", first), variances("fresh", second)
    same(variances("fresh", first, second), two)
    same(variances("kept", first), one)
    same(variances("kept", first, second), (one + 3 * two) / 5)


def test_a_plain_epoch_chooses_nothing_and_fewer_frames_are_whole_batches() -> None:
    made, split = method(batch_size=4, plain_epochs=2), Split()
    before = made.network.means.clone()
    made.before_epoch(1, split)
    assert split.asked == []
    assert torch.equal(made.network.means, before)
    made = method(batch_size=4, statistics=5)
    made.before_epoch(0, split)
    assert split.asked == [list(range(100, 108))] * 2


def test_what_an_epoch_needs_is_in_the_checkpoint() -> None:
    state = method().network.state_dict()
    assert {"means", "deviations", "masks", "variances", "counted"} <= state.keys()
    assert state["masks"].dtype == torch.bool


# Its options


def test_presets_part_where_their_sources_do() -> None:
    def chosen(preset: str) -> iadg.Options:
        return iadg.Options(index=Path(), run_dir=Path(), preset=preset)

    table, described, released = (chosen(preset) for preset in ("table", "described", "released"))
    assert [x.stem for x in (table, described, released)] == ["conv", "rgb", "rgb"]
    assert [x.image_size for x in (table, described, released)] == [224, 256, 256]
    assert [x.side for x in (table, described, released)] == [28, 32, 32]
    assert [x.batch_size for x in (table, described, released)] == [36, 30, 30]
    assert [x.augmentation for x in (table, described, released)] == ["flip", "none", "none"]
    for x in (table, described, released):
        assert (x.styles, x.concentration, x.content, x.covariance) == (64, 0, "detached", "raw")
        assert (x.bonafide_share, x.attack_share, x.share_of) == (0.003, 0.0006, "matrix")
        assert (x.final, x.plain_epochs, x.depth_target, x.depth_head) == ("styled", 1, "flat", "normalised")
        assert (x.score, x.decay_every, x.optimiser, x.learning_rate) == ("both", 10, "adam_l2", 1e-4)
        assert (x.weight_decay, x.epochs, x.steps, x.protocol) == (1e-5, 50, 0, "official")
        assert (x.width, x.pools, x.statistics, x.depth_weight) == (64, 2, 0, 0.1)
        assert x.per_domain
        x.check()


SMALLEST = "less than 2 x 2 cells to instance norm; give at least"


@pytest.mark.parametrize(
    ("chosen", "sentence"),
    [
        ({"image_size": 20}, "--image-size 20: this network needs a multiple of 8"),
        ({"image_size": 8}, f"--image-size 8: --pools 0 leave {SMALLEST} 16, or fewer pools"),
        ({"image_size": 48, "pools": 2}, f"--image-size 48: --pools 2 leave {SMALLEST} 64, or fewer pools"),
        ({"pools": -1}, "--pools -1: give at least 0"),
        ({"width": 0}, "--width 0: give at least 1"),
        ({"styles": 0}, "--styles 0: give at least 1"),
        ({"decay_every": 0}, "--decay-every 0: give at least 1"),
        ({"statistics": -1}, "--statistics -1: give at least 0"),
        ({"depth_weight": -1.0}, "--depth-weight -1.0: give at least 0"),
        ({"concentration": -0.5}, "--concentration -0.5: give at least 0"),
        ({"plain_epochs": -1}, "--plain-epochs -1: give at least 0"),
        ({"steps": -1}, "--steps -1: give at least 0"),
        ({"bonafide_share": 0.0}, "--bonafide-share 0.0: it is a share; give a number above 0, at most 1"),
        ({"attack_share": 1.5}, "--attack-share 1.5: it is a share; give a number above 0, at most 1"),
    ],
)
def test_options_that_cannot_be_are_refused_in_one_sentence(chosen: dict[str, Any], sentence: str) -> None:
    with pytest.raises(BadInput) as refused:
        options(**chosen).check()
    assert str(refused.value) == sentence


def test_the_ends_of_what_options_may_be() -> None:
    options(image_size=16, pools=0, width=1, styles=1, bonafide_share=1.0, decay_every=1).check()
    options(image_size=32, pools=1, statistics=0, plain_epochs=0, depth_weight=0.0, steps=0).check()
    options(image_size=64, pools=2).check()
