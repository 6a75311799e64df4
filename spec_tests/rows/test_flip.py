"""FLIP: its variants behind CLIP, its views, what its readings change, what it refuses."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from data_manifests.errors import BadInput
from reference.clip import normalise
from reference.rivals import flip
from reference.rivals.blocks import clip_classifier
from reference.rivals.blocks.imagenet_input import IMAGENET_MEAN, IMAGENET_SD
from reference.rivals.flip import ViewLot, crop_box, random_view, view_lots, view_of
from reference.runs import HEADLINE
from spec_tests.support.networks import batch_of, images, scrambled
from spec_tests.support.tiny_clip import SIDE, tiny_clip

CPU = torch.device("cpu")
PLAIN = ViewLot((0, 0, SIDE, SIDE), (), False, 0.0, False)


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any `--clip` is a tiny untrained CLIP here."""
    monkeypatch.setattr(clip_classifier, "load_clip", lambda *_: tiny_clip())


def method_of(**chosen: Any) -> flip.Method:
    """With random weights, in evaluation mode; RGB alone unless `fusion` or `stem` says otherwise."""
    small = {"image_size": SIDE, "mlp": 6, "embedding": 5, "preset": "described", "device": "cpu"}
    made = flip.Method(flip.Options(**({"index": Path(), "run_dir": Path()} | small | chosen)), CPU)
    made.domains, made.draws = (0, 1, 2), torch.Generator().manual_seed(0)
    made.network = scrambled(made.build(), 1).eval()
    for part in made.network.modules():
        if isinstance(part, nn.Dropout):
            part.p = 0.0
    return made


def numpy_of(x: Tensor) -> np.ndarray:
    return x.detach().double().numpy()


def imagenet(x: Tensor) -> Tensor:
    """Pixels 0 to 1 with ImageNet's mean and deviation taken out, channel by channel."""
    pixels = (x + 1) / 2
    return torch.stack([(pixels[:, c] - IMAGENET_MEAN[c]) / IMAGENET_SD[c] for c in range(3)], 1)


def unit(x: np.ndarray) -> np.ndarray:
    return x / np.sqrt((x**2).sum(-1, keepdims=True))


# The variants


def test_training_begins_from_the_authors_weights_of_the_classifier() -> None:
    torch.manual_seed(0)
    network = method_of(variant="v").build()
    assert abs(float(network.classifier.hidden.weight.detach().std()) - 0.005) < 3e-4
    assert abs(float(network.classifier.classes.weight.detach().std()) - 0.01) < 1e-3
    assert set(network.classifier.hidden.bias.tolist()) == {float(np.float32(0.1))}
    assert network.classifier.classes.bias.tolist() == [0, 0]
    assert [m.p for m in network.modules() if isinstance(m, nn.Dropout)] == [0.5]


@pytest.mark.parametrize("last_layer", ["free", "unit_columns"])
def test_variant_v_is_a_classifier_on_the_class_token_before_its_projection(last_layer: str) -> None:
    made, pictures = method_of(variant="v", last_layer=last_layer), images(3, SIDE)
    network = made.network
    w = {name: numpy_of(x) for name, x in network.state_dict().items()}
    clip = tiny_clip()
    with torch.inference_mode():
        token = network.visual(imagenet(pictures[0]))
        clip.model.visual.load_state_dict(network.visual.state_dict() | {"proj": clip.model.visual.proj})
        torch.testing.assert_close(token @ clip.model.visual.proj, clip.encode_image(imagenet(pictures[0])))
        logits = network(*pictures)
    hidden = np.maximum(numpy_of(token) @ w["classifier.hidden.weight"].T + w["classifier.hidden.bias"], 0)
    features = hidden / np.sqrt(2 * np.sqrt((hidden**2).sum(1, keepdims=True)))
    last = w["classifier.classes.weight"]
    if last_layer == "unit_columns":
        last = last / np.sqrt((last**2).sum(0))
        network.train()(*pictures)
        torch.testing.assert_close(
            network.classifier.classes.weight.double(), torch.from_numpy(last), atol=1e-6, rtol=1e-5
        )
    attack, bonafide = (features @ last.T + w["classifier.classes.bias"]).T
    np.testing.assert_allclose(logits.numpy(), np.stack([bonafide, attack], 1), rtol=1e-4, atol=1e-5)


def test_variant_v_drops_half_of_its_hidden_features_in_training() -> None:
    made = method_of(variant="v")
    made.network.classifier.drop.p = 0.5
    made.network.train()
    pictures = images(3, SIDE)
    assert not torch.equal(made.network(*pictures), made.network(*pictures))


@pytest.mark.parametrize("class_mean", ["raw", "normalised"])
@pytest.mark.parametrize("fusion", ["stem", "mean"])
@pytest.mark.parametrize("input_range", ["imagenet", "clip"])
def test_variant_it_compares_features_with_captions(class_mean: str, fusion: str, input_range: str) -> None:
    made = method_of(variant="it", class_mean=class_mean, fusion=fusion, input_range=input_range)
    pictures, network = images(4, SIDE), made.network
    with torch.inference_mode():
        fed = [imagenet(x) if input_range == "imagenet" else normalise(255 * (x + 1) / 2, "clip") for x in pictures]
        each = [unit(numpy_of(network.clip.encode_image(x))) for x in fed]
        text = [numpy_of(network.clip.encode_text(sentences)) for sentences in made.captions]
        logits = network(*pictures)
    spoof, real = (unit((unit(x) if class_mean == "normalised" else x).mean(0)) for x in text)
    sample = unit(sum(each)) if fusion == "mean" else each[0]
    scale = float(network.clip.model.logit_scale.detach().exp())
    expected = scale * np.stack([sample @ real, sample @ spoof], 1)
    np.testing.assert_allclose(logits.numpy(), expected, rtol=1e-4, atol=1e-5)


def test_variant_v_averages_the_class_tokens_of_three_images() -> None:
    made, (rgb, depth, ir) = method_of(variant="v", fusion="mean"), images(5, SIDE)
    seen: dict[str, Tensor] = {}
    made.network.classifier.hidden.register_forward_hook(lambda _, args, out: seen.update(token=args[0]))
    with torch.inference_mode():
        made.network(rgb, depth, ir)
        tokens = [made.network.visual(imagenet(x)) for x in (rgb, depth, ir)]
    torch.testing.assert_close(seen["token"], (tokens[0] + tokens[1] + tokens[2]) / 3)


def test_the_stem_makes_one_image_of_three() -> None:
    made, pictures = method_of(variant="it", preset="table"), images(6, SIDE)
    conv = made.network.images.stem.conv
    together = 127.5 / 128 * torch.cat(pictures, 1)
    fed = torch.einsum("oc,bchw->bohw", conv.weight[:, :, 0, 0], together) + conv.bias[:, None, None]
    with torch.inference_mode():
        torch.testing.assert_close(made.network.images(*pictures)[0], fed, rtol=1e-4, atol=1e-5)
        features = made.network.features(*pictures)
        torch.testing.assert_close(features, made.network.clip.encode_image(fed), rtol=1e-4, atol=1e-5)


def mlp_of(network: flip.FlipMCL, x: np.ndarray) -> np.ndarray:
    """The MLP in training on the features of one view, (B, D), in float64."""
    layers = list(network.mlp)
    for linear, norm in ((layers[0], layers[1]), (layers[3], layers[4])):
        x = x @ numpy_of(linear.weight).T + numpy_of(linear.bias)
        x = (x - x.mean(0)) / np.sqrt(x.var(0) + 1e-5)
        x = np.maximum(x * numpy_of(norm.weight) + numpy_of(norm.bias), 0)
    return x @ numpy_of(layers[6].weight).T + numpy_of(layers[6].bias)


@pytest.mark.parametrize("halves", ["equal", "overdrawn"])
def test_variant_mcl_adds_what_views_and_halves_say(halves: str, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = {"halves": halves, "temperature": 0.3, "simclr_weight": 0.5, "consistency_weight": 3.0}
    made, pictures = method_of(**chosen), images(7, SIDE, batch=6)
    network, first, second = made.network, images(8, SIDE, batch=6), images(9, SIDE, batch=6)
    coming = iter([first, second])
    monkeypatch.setattr(flip, "random_view", lambda *_: next(coming))
    label = torch.tensor([0.0, 1, 1, 0, 1, 0])
    network.train()
    made.draws.manual_seed(11)
    batch = batch_of(pictures, label)
    output = made.forward(batch)
    losses = made.losses(output, batch)

    features = [numpy_of(network.clip.encode_image(imagenet(x[0]))) for x in (first, second)]
    text = numpy_of(torch.cat([network.clip.encode_text(sentences) for sentences in made.captions]))
    owner = torch.tensor([1] * 6 + [0] * 6)
    drawn = torch.Generator().manual_seed(11)
    sides = flip.caption_halves(owner, label.long(), drawn, replacement=halves == "overdrawn")
    cosines = [
        (unit(f) * unit(numpy_of(h) @ text / numpy_of(h).sum(1, keepdims=True))).sum(1)
        for f, h in zip(features, sides, strict=True)
    ]
    consistency = ((cosines[0] - cosines[1]) ** 2).mean()
    rows = unit(np.concatenate([mlp_of(network, f) for f in features]))
    logits = rows @ rows.T / 0.3
    np.fill_diagonal(logits, -np.inf)
    own = np.concatenate([np.diagonal(logits, 6), np.diagonal(logits, -6)])
    simclr = (np.log(np.exp(logits).sum(1)) - own).mean()
    with torch.no_grad():
        two = numpy_of(network(*pictures))
    classes = (np.log(np.exp(two).sum(1)) - two[np.arange(6), label.long().numpy()]).mean()
    parts = {"classes": classes, "simclr": simclr, "consistency": consistency}
    parts["loss"] = classes + 0.5 * simclr + 3 * consistency
    assert set(losses) == set(parts)
    for name, value in parts.items():
        np.testing.assert_allclose(float(losses[name].detach()), value, rtol=2e-4, atol=1e-6, err_msg=name)


def test_the_parts_weigh_the_same_unless_told() -> None:
    made = method_of(preset="table")
    batch = batch_of(images(1, SIDE, batch=6))
    losses = made.losses(made.forward(batch), batch)
    total = losses["classes"] + losses["simclr"] + losses["consistency"]
    torch.testing.assert_close(losses["loss"], total)


@pytest.mark.parametrize("variant", ["it", "v"])
def test_the_other_variants_have_the_cross_entropy_alone(variant: str) -> None:
    made = method_of(variant=variant)
    batch = batch_of(images(1, SIDE, batch=6))
    losses = made.losses(made.forward(batch), batch)
    assert set(losses) == {"loss"}
    two = numpy_of(made.network(*batch.images))
    own = two[np.arange(6), batch.label.long().numpy()]
    np.testing.assert_allclose(float(losses["loss"]), (np.log(np.exp(two).sum(1)) - own).mean(), rtol=1e-4)


def test_a_score_is_bona_fide_minus_attack_and_draws_nothing() -> None:
    made, batch = method_of(), batch_of(images(2, SIDE))
    before = made.draws.get_state()
    with torch.inference_mode():
        logits = made.network(*batch.images)
        score = made.predict(batch)[HEADLINE]
    torch.testing.assert_close(score, logits[:, 0] - logits[:, 1])
    assert torch.equal(before, made.draws.get_state())


def test_views_are_of_all_modalities_and_of_the_methods_own_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    made, batch = method_of(preset="table"), batch_of(images(2, SIDE, batch=4))
    given: list[Any] = []

    def noted(pictures: Any, generator: torch.Generator) -> Any:
        given.append((pictures, generator))
        return random_view(pictures, generator)

    monkeypatch.setattr(flip, "random_view", noted)
    made.network.train()
    made.forward(batch)
    assert len(given) == 2
    for pictures, generator in given:
        assert generator is made.draws
        assert all(a is b for a, b in zip(pictures, batch.images, strict=True))


def test_views_are_blurred_in_full_precision() -> None:
    made, batch = method_of(), batch_of(images(2, SIDE, batch=4))
    seen: list[Tensor] = []
    made.network.images.register_forward_hook(lambda _, args, out: seen.append(args[0]))
    made.network.train()
    for enabled in (False, True):
        made.draws.manual_seed(3)
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            output = made.forward(batch)
        assert made.losses(output, batch)["loss"].dtype == torch.float32
    for plain, cast in zip(seen[:3], seen[3:], strict=True):
        assert torch.equal(plain, cast)


# Views


def test_a_view_without_changes_is_the_image() -> None:
    x = images(0, SIDE)[0]
    torch.testing.assert_close(view_of(x, PLAIN), x)
    torch.testing.assert_close(view_of(x, PLAIN._replace(mirrored=True)), x.flip(-1))


def test_a_crop_is_brought_back_to_the_size_of_the_image() -> None:
    x = images(0, SIDE)[0]
    block = x.clone()
    block[:, :, 3:5, 7:9] = torch.arange(3)[:, None, None] / 4
    seen = view_of(block, PLAIN._replace(box=(3, 7, 2, 2)))
    torch.testing.assert_close(seen, (torch.arange(3)[:, None, None] / 4).expand(x.shape))
    ramp = torch.linspace(-1, 1, SIDE).expand(1, 3, SIDE, SIDE)
    left = view_of(ramp, PLAIN._replace(box=(0, 0, SIDE, SIDE // 2)))
    assert left.shape == ramp.shape
    assert float(left.max()) < 0.05
    assert float(left[..., -1].mean()) > -0.05


def test_grey_is_what_the_eye_sees() -> None:
    x = images(0, SIDE)[0]
    seen = view_of(x, PLAIN._replace(grey=True))
    eye = (0.2989 * x[:, 0] + 0.587 * x[:, 1] + 0.114 * x[:, 2]) + (0.2989 + 0.587 + 0.114 - 1)
    for channel in range(3):
        torch.testing.assert_close(seen[:, channel], eye, rtol=1e-3, atol=1e-3)


def test_a_blur_has_the_deviation_that_is_asked_for() -> None:
    x = -torch.ones(1, 3, 33, 33)
    x[..., 16, 16] = 1
    seen = (view_of(x, ViewLot((0, 0, 33, 33), (), False, 1.5, False)) + 1) / 2
    across = seen[0, 0].sum(0)
    places = torch.arange(33) - 16
    assert float(across.sum()) == pytest.approx(1, abs=1e-4)
    assert float((across * places**2).sum()) == pytest.approx(1.5**2, rel=0.02)


def test_colours_change_in_the_order_of_their_lots() -> None:
    x = 0.2 * images(0, SIDE, batch=1)[0] - 0.4
    pixels = (x + 1) / 2
    brighter = view_of(x, PLAIN._replace(colours=((0, 1.5),)))
    torch.testing.assert_close(brighter, 3 * pixels - 1)
    flat = view_of(x, PLAIN._replace(colours=((1, 0.0),)))
    assert float(flat.std()) < 1e-6
    grey = view_of(x, PLAIN._replace(colours=((2, 0.0),)))
    torch.testing.assert_close(grey, view_of(x, PLAIN._replace(grey=True)))
    third = view_of(x, PLAIN._replace(colours=((3, 1 / 3),)))  # a third of the circle: red becomes green
    torch.testing.assert_close(third, x.roll(1, 1), rtol=1e-3, atol=1e-3)
    one, other = ((0, 5.0), (0, 0.2)), ((0, 0.2), (0, 5.0))  # what reaches white stays there
    torch.testing.assert_close(view_of(x, PLAIN._replace(colours=other)), x)
    torch.testing.assert_close(view_of(x, PLAIN._replace(colours=one)), 0.4 * (5 * pixels).clamp(max=1) - 1)


def test_crops_worked_by_hand() -> None:
    # Half of the way from 8 to 100 % is 54 %, of 100 x 100 pixels 5400; a ratio of 1 is half of the way of its own.
    side = round(5400**0.5)
    assert crop_box([[0.5, 0.5]], (0.0, 0.999), 100) == (0, 100 - side, side, side)
    # The widest is 4/3 as wide as high.
    assert crop_box([[0.5, 1.0]], (0.0, 0.0), 100)[2:] == (round((5400 * 3 / 4) ** 0.5), round((5400 * 4 / 3) ** 0.5))
    assert crop_box([[0.0, 0.0]], (0.0, 0.0), 100)[2:] == (round((800 * 4 / 3) ** 0.5), round((800 * 3 / 4) ** 0.5))
    # All of the area as wide as that does not fit; the next try does, or the whole image is taken.
    assert crop_box([[1.0, 1.0], [0.0, 0.5]], (0.5, 0.5), 100) == (36, 36, 28, 28)
    assert crop_box([[1.0, 1.0], [1.0, 0.0]], (0.9, 0.9), 100) == (0, 0, 100, 100)


def test_lots_are_drawn_with_simclrs_probabilities() -> None:
    lots = view_lots(4000, 224, torch.Generator().manual_seed(0))
    boxes = np.array([lot.box for lot in lots])
    assert boxes.min() >= 0
    assert (boxes[:, :2] + boxes[:, 2:]).max() == 224
    area = boxes[:, 2] * boxes[:, 3] / 224**2
    assert 0.075 < area.min() < 0.09
    assert area.max() > 0.97
    ratio = boxes[:, 3] / boxes[:, 2]
    assert ratio.min() == pytest.approx(3 / 4, rel=0.03)
    assert ratio.max() == pytest.approx(4 / 3, rel=0.03)
    shares = {"colours": 0.8, "grey": 0.2, "blur": 0.5, "mirrored": 0.5}
    for name, share in shares.items():
        assert np.mean([bool(getattr(lot, name)) for lot in lots]) == pytest.approx(share, abs=0.03), name
    blur = np.array([lot.blur for lot in lots if lot.blur])
    assert blur.min() == pytest.approx(0.1, abs=0.01)
    assert blur.max() == pytest.approx(2.0, abs=0.01)
    changes = [dict(lot.colours) for lot in lots if lot.colours]
    for which, (low, high) in enumerate([(0.6, 1.4)] * 3 + [(-0.1, 0.1)]):
        factors = [change[which] for change in changes]
        assert min(factors) == pytest.approx(low, abs=0.01)
        assert max(factors) == pytest.approx(high, abs=0.01)
    orders = [tuple(which for which, _ in lot.colours) for lot in lots if lot.colours]
    assert len(set(orders)) == 24


def test_a_blur_is_as_wide_a_share_of_a_smaller_image() -> None:
    large, small = (view_lots(50, side, torch.Generator().manual_seed(0)) for side in (224, 56))
    assert [lot.blur / 4 for lot in large] == pytest.approx([lot.blur for lot in small])


def test_a_view_changes_all_modalities_alike_and_each_sample_apart() -> None:
    one = images(0, SIDE, batch=1)[0].expand(5, 3, SIDE, SIDE)
    state = torch.get_rng_state()
    views = random_view((one, one, one), torch.Generator().manual_seed(1))
    assert len(views) == 3
    for view in views[1:]:
        assert torch.equal(view, views[0])
    assert len({float(x.sum()) for x in views[0]}) == 5
    again = random_view((one, one, one), torch.Generator().manual_seed(1))
    assert torch.equal(again[0], views[0])
    assert torch.equal(state, torch.get_rng_state())


def test_the_views_of_modalities_stay_apart_and_in_their_order() -> None:
    levels = [torch.full((2, 3, SIDE, SIDE), level) for level in (-1.0, -0.5, 0.0)]
    views = random_view(tuple(levels), torch.Generator().manual_seed(1))
    means = [float(view[0].mean()) for view in views]
    assert means == sorted(means)
    assert float(views[0].max()) == pytest.approx(-1)  # what is missing stays black


# Colour saturation


FLIPPING = SimpleNamespace(augment=lambda batch: batch_of([x.flip(-1) for x in batch.images], batch.label))


@pytest.mark.parametrize("saturation", ["none", "clipped", "wrapped"])
def test_half_of_the_images_change_their_saturation(saturation: str) -> None:
    made = method_of(saturation=saturation)
    pictures = [((127.5 * (x + 1)).round() / 127.5 - 1)[..., :4, :4] for x in images(0, SIDE, batch=400)]
    pictures[0][:, 0], pictures[0][:, 2] = 0.9, -0.6
    seen = made.views(batch_of(pictures), FLIPPING)
    for x, y in zip(pictures[1:], seen.images[1:], strict=True):
        assert torch.equal(x.flip(-1), y)
    before, after = pictures[0].flip(-1), seen.rgb
    changed = (before - after).abs().amax((1, 2, 3)) > 1e-4
    if saturation == "none":
        assert not changed.any()
        return
    assert 150 < int(changed.sum()) < 250
    rest = before[~changed]
    assert torch.equal(after[~changed], rest)
    if saturation == "clipped":
        factors = ((0.9 - after[changed][:, 2]) / (0.9 + 0.6))[:, 0, 0]
        assert float(factors.min()) == pytest.approx(0.8, abs=0.02)
        assert float(factors.max()) == pytest.approx(1.2, abs=0.02)
        assert float(factors.mean()) == pytest.approx(1.0, abs=0.03)
    dark = before[changed][:, 1] < -0.8  # some of it falls below black
    assert (after[changed][:, 1][dark] > 0.5).any() == (saturation == "wrapped")


# Readings and refusals


def test_the_presets_part_where_the_code_does_otherwise() -> None:
    told = {"index": Path(), "run_dir": Path()}
    table, described, released = (flip.Options(preset=p, **told) for p in ("table", "described", "released"))
    assert (table.stem, described.stem, released.stem) == ("conv", "rgb", "rgb")
    for usual in (table, described):
        assert (usual.halves, usual.saturation, usual.last_layer) == ("equal", "none", "free")
    assert (released.halves, released.saturation, released.last_layer) == ("overdrawn", "wrapped", "unit_columns")
    for each in (table, described, released):
        assert (each.variant, each.captions, each.optimiser) == ("mcl", "templates", "adam_l2")
        assert (each.steps * each.epochs, each.batch_size, each.learning_rate) == (4000, 24, 1e-6)
        assert each.per_domain
        assert (each.temperature, each.simclr_weight, each.consistency_weight) == (0.1, 1, 1)


def test_the_rate_stays_unless_told() -> None:
    asked: list[Any] = []
    training = SimpleNamespace(set_rate=asked.append)
    batch, optimiser = batch_of(images(0, SIDE)), SimpleNamespace()
    method_of().schedule(optimiser, batch, training)
    assert not asked
    method_of(rate="cosine").schedule(optimiser, batch, training)
    assert asked == [optimiser]


def test_one_caption_has_no_halves(tmp_path: Path) -> None:
    for name, few in (("spoof", "real"), ("real", "spoof")):
        (tmp_path / f"{name}.txt").write_text("one face\nanother face\n")
        (tmp_path / f"{few}.txt").write_text("a single face\n")
        with pytest.raises(BadInput, match=f"--captions .*: one caption of the class {few} .* or --variant it"):
            method_of(captions=str(tmp_path))
        for variant in ("it", "v"):
            method_of(captions=str(tmp_path), variant=variant)
    (tmp_path / "spoof.txt").write_text("a print\na screen\n")
    (tmp_path / "real.txt").write_text("one face\nanother face\n")
    method_of(captions=str(tmp_path))


@pytest.mark.parametrize(
    ("chosen", "sentence"),
    [
        ({"temperature": 0.0}, "--temperature 0.0: cosines are divided by it; give a number above 0"),
        ({"mlp": 0}, "--mlp 0: give at least 1"),
        ({"embedding": 0}, "--embedding 0: give at least 1"),
        ({"simclr_weight": -1.0}, "--simclr-weight -1.0: give at least 0"),
        ({"consistency_weight": -1.0}, "--consistency-weight -1.0: give at least 0"),
    ],
)
def test_bad_options_are_refused_by_name(chosen: dict[str, Any], sentence: str) -> None:
    with pytest.raises(BadInput, match=f"^{sentence}$"):
        flip.Options(index=Path(), run_dir=Path(), **chosen).check()


def test_an_image_that_the_clip_does_not_take_is_refused() -> None:
    with pytest.raises(BadInput, match="--image-size 33: tiny CLIP, untrained takes images of 32; give that"):
        method_of(image_size=33)
