"""ViTAF: the transformer with its adapters, the transformation of features in training, the two stages."""

import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import torchvision.models
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from data_manifests.errors import BadInput
from reference.rivals import method, vitaf
from reference.rivals.blocks.imagenet_input import IMAGENET_MEAN, IMAGENET_SD
from reference.rivals.blocks.start import FRESH, Start
from reference.runs import HEADLINE
from spec_tests.support.logits import bce
from spec_tests.support.networks import batch_of, images, scrambled

CPU = torch.device("cpu")
SIZE, PATCH, WIDTH, DEPTH = 12, 4, 6, 2
SMALL = {"image_size": SIZE, "patch": PATCH, "width": WIDTH, "depth": DEPTH, "heads": 2, "bottleneck": 3}
SMALL |= {"last_layer": "free"}  # where a test does not say otherwise: no pass changes weights
FIRST, SECOND = 0.0, 0.5  # progress within either stage


def options(**chosen: Any) -> vitaf.Options:
    return vitaf.Options(index=Path(), run_dir=Path(), **(SMALL | chosen))


def network(begun: Start = FRESH, **chosen: Any) -> vitaf.ViTAF:
    return vitaf.ViTAF(options(**chosen), begun)


def random(**chosen: Any) -> vitaf.ViTAF:
    """With random weights, in float64 and without dropout."""
    model = network(**chosen)
    scrambled(model, 1)
    return model.double().eval()


def method_of(**chosen: Any) -> vitaf.Method:
    """In training, with random weights."""
    torch.manual_seed(0)
    made = vitaf.Method(options(**chosen), CPU)
    made.network, made.draws = made.build(), torch.Generator().manual_seed(5)
    scrambled(made.network, 2)
    made.network.train()
    return made


def double(pictures: list[Tensor]) -> list[Tensor]:
    return [x.double() for x in pictures]


# The network


Weights = dict[str, np.ndarray]


def within(w: Weights, prefix: str) -> Weights:
    return {k.removeprefix(prefix + "."): v for k, v in w.items() if k.startswith(prefix + ".")}


def normalised(x: np.ndarray, w: Weights) -> np.ndarray:
    centred = x - x.mean(-1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-6) * w["weight"] + w["bias"]


def gelu(z: np.ndarray) -> np.ndarray:
    return z * (1 + np.vectorize(math.erf)(z / math.sqrt(2))) / 2


def attention(x: np.ndarray, w: Weights) -> np.ndarray:
    qkv, heads = x @ w["in_proj_weight"].T + w["in_proj_bias"], []
    for first in (0, 3):
        q, k, v = (qkv[:, part + first : part + first + 3] for part in (0, 6, 12))
        logits = np.exp(q @ k.T / math.sqrt(3))
        heads.append(logits / logits.sum(1, keepdims=True) @ v)
    return np.hstack(heads) @ w["out_proj.weight"].T + w["out_proj.bias"]


def mlp(x: np.ndarray, w: Weights) -> np.ndarray:
    return gelu(x @ w["0.weight"].T + w["0.bias"]) @ w["3.weight"].T + w["3.bias"]


def pair(x: np.ndarray, w: Weights) -> tuple[np.ndarray, float]:
    """The sum of two adapters of x (N, C), and the sum of the squared cosines of its tokens."""
    one, two = (x + gelu(x @ w["down"][k].T + w["down_bias"][k]) @ w["up"][k].T + w["up_bias"][k] for k in (0, 1))
    cosines = (one * two).sum(1) / np.sqrt((one**2).sum(1) * (two**2).sum(1))
    return one + two, float((cosines**2).sum())


def expected(
    image: np.ndarray, w: Weights, adapted: bool = True, lots: np.ndarray | None = None
) -> tuple[np.ndarray, float]:
    """Logits (2,) of one image (3, S, S) in [-1, 1], and the sum over pairs of the mean squared cosine of its tokens;
    lots (depth, 2, C) of the transformation."""
    mean, sd = (np.array(x, np.float32)[:, None, None] for x in (IMAGENET_MEAN, IMAGENET_SD))  # buffers of float32
    image = ((image + 1) / 2 - mean) / sd
    tokens = [w["class_token"][0, 0]]
    for top in range(0, SIZE, PATCH):
        for left in range(0, SIZE, PATCH):
            window = image[:, top : top + PATCH, left : left + PATCH]
            tokens.append((w["conv_proj.weight"] * window).sum((1, 2, 3)) + w["conv_proj.bias"])
    x, cosines = np.stack(tokens) + w["pos_embedding"][0], 0.0
    for i in range(DEPTH):
        layer, own = within(w, f"layers.encoder_layer_{i}"), within(w, f"adaptations.{i}")
        for norm, part, name, where in (
            ("ln_1", attention, "self_attention", "after_attention"),
            ("ln_2", mlp, "mlp", "after_mlp"),
        ):
            y = part(normalised(x, within(layer, norm)), within(layer, name))
            if adapted:
                y, squares = pair(y, within(own, where))
                cosines += squares / len(x)
            x = x + y
        if lots is not None:
            gamma, beta = (np.log1p(np.exp(100 * own[name])) / 100 for name in ("gamma", "beta"))
            x = x * (1 + lots[i, 0] * gamma) + lots[i, 1] * beta
    last = within(w, "classifier")
    f = np.maximum(normalised(x, within(w, "ln"))[0] @ last["hidden.weight"].T + last["hidden.bias"], 0)
    attack, bonafide = last["classes.weight"] @ (f / np.sqrt(2 * np.linalg.norm(f))) + last["classes.bias"]
    return np.array([bonafide, attack]), cosines


def weights_of(model: nn.Module) -> Weights:
    return {k: v.detach().numpy().copy() for k, v in model.state_dict().items()}


def lots_of(model: vitaf.ViTAF, seed: int) -> np.ndarray:
    """What the transformations draw from a generator of this seed (depth, 2, C)."""
    generator = torch.Generator().manual_seed(seed)
    drawn = [torch.empty(2, WIDTH, dtype=torch.float64).normal_(generator=generator) for _ in model.adaptations]
    return torch.stack(drawn).numpy()


@pytest.mark.parametrize("batch", [1, 2, 3])  # the code fails on two
def test_the_network_is_the_one_written_down(batch: int) -> None:
    model, pictures = random(stem="rgb"), double(images(2, SIZE, batch))
    w = weights_of(model)
    with torch.inference_mode():
        output = model(*pictures)
    by_hand = [expected(x.numpy(), w) for x in pictures[0]]
    np.testing.assert_allclose(output.logits.numpy(), [logits for logits, _ in by_hand], rtol=1e-9, atol=1e-10)
    assert output.cosines is not None
    assert output.cosines.item() == pytest.approx(np.mean([cosines for _, cosines in by_hand]), rel=1e-9)


def test_in_training_each_layer_ends_in_a_transformation_of_its_own() -> None:
    model, pictures = random(stem="rgb"), double(images(3, SIZE))
    w, lots = weights_of(model), lots_of(model, 7)
    with torch.inference_mode():
        output = model(*pictures, torch.Generator().manual_seed(7))
    by_hand = [expected(x.numpy(), w, lots=lots) for x in pictures[0]]
    np.testing.assert_allclose(output.logits.numpy(), [logits for logits, _ in by_hand], rtol=1e-9, atol=1e-10)
    assert output.cosines is not None
    assert output.cosines.item() == pytest.approx(np.mean([cosines for _, cosines in by_hand]), rel=1e-9)


def test_the_first_stage_sees_the_transformer_without_adapters() -> None:
    model, pictures = random(stem="rgb", trained="all"), double(images(4, SIZE))
    w = weights_of(model)
    output = model.plain(*pictures)
    by_hand = [expected(x.numpy(), w, adapted=False)[0] for x in pictures[0]]
    np.testing.assert_allclose(output.logits.detach().numpy(), by_hand, rtol=1e-9, atol=1e-10)
    assert output.cosines is None
    output.logits.square().sum().backward()
    assert {name for name, p in model.named_parameters() if p.grad is not None} == {
        f"classifier.{part}.{kind}" for part in ("hidden", "classes") for kind in ("weight", "bias")
    }


def test_the_columns_of_the_last_layer_have_length_1_where_that_is_asked_for() -> None:
    for last_layer in ("free", "unit_columns"):
        model = random(last_layer=last_layer).train()
        with torch.no_grad():
            model(*double(images(4, SIZE)))
        lengths = model.classifier.classes.weight.norm(dim=0)
        assert torch.allclose(lengths, torch.ones_like(lengths)) == (last_layer == "unit_columns")


def test_the_stem_puts_one_image_of_three_in_rgbs_place() -> None:
    model, pictures = random(stem="conv", preset="table"), double(images(5, SIZE))
    conv = model.stem.conv
    assert conv is not None
    together = 127.5 / 128 * torch.cat(pictures, 1)
    fed = torch.einsum("oc,bchw->bohw", conv.weight[:, :, 0, 0], together) + conv.bias[:, None, None]
    with torch.no_grad():
        torch.testing.assert_close(model.stem(*pictures), fed)
        before = model(*pictures).logits
        model.stem.forward = lambda *_: fed
        torch.testing.assert_close(model(*(0 * x for x in pictures)).logits, before)


# How it begins


def torchvisions() -> Start:
    """Weights of torchvision's network of the small sizes, as `--weights` brings them."""
    theirs = scrambled(torchvision.models.VisionTransformer(SIZE, PATCH, DEPTH, 2, WIDTH, 4 * WIDTH), 3)
    return Start("vit_b_16", "FILE", "", theirs.state_dict())


def test_attention_and_mlp_count_twice_at_first() -> None:
    model, pictures = network(torchvisions(), stem="rgb").double().eval(), double(images(6, SIZE))
    doubled = network(torchvisions(), stem="rgb").double().eval()
    doubled.load_state_dict(model.state_dict())
    with torch.no_grad():
        for layer in doubled.layers:
            for last in (layer.self_attention.out_proj, layer.mlp[3]):
                last.weight *= 2
                last.bias *= 2
        got, twice, once = model(*pictures).logits, doubled.plain(*pictures).logits, model.plain(*pictures).logits
    away = (got - twice).abs().max()
    assert away < 1e-3 * (got - once).abs().max()
    assert away > 0


def test_at_first_the_cosines_are_almost_at_their_greatest_and_have_almost_no_gradient() -> None:
    pictures = double(images(7, SIZE))

    def of(model: vitaf.ViTAF) -> tuple[float, float]:
        cosines = model(*pictures).cosines
        assert cosines is not None
        cosines.backward()
        adapters = [p.grad for name, p in model.named_parameters() if "after_" in name]
        return cosines.item(), max(float(g.abs().max()) for g in adapters if g is not None)

    begun, pull = of(network(torchvisions()).double().eval())
    assert begun == pytest.approx(2 * DEPTH, abs=1e-6)
    assert pull < 1e-4 * of(random())[1]


def test_it_begins_from_the_weights_that_are_named_and_with_the_authors_adapters() -> None:
    begun = torchvisions()
    assert begun.state is not None
    model = network(begun, gamma=0.3, beta=0.5)
    state = model.state_dict()
    theirs = {
        "class_token": "class_token",
        "conv_proj.weight": "conv_proj.weight",
        "pos_embedding": "encoder.pos_embedding",
        "ln.bias": "encoder.ln.bias",
        "layers.encoder_layer_1.mlp.3.weight": "encoder.layers.encoder_layer_1.mlp.3.weight",
    }
    for name, other in theirs.items():
        assert torch.equal(state[name], begun.state[other]), name
    torch.manual_seed(0)
    wide = network(width=96, bottleneck=64, depth=1).adaptations[0]
    for adapters in (wide.after_attention, wide.after_mlp):
        for weight in (adapters.down, adapters.up):
            assert weight.std().item() == pytest.approx(0.0002, rel=0.05)
            assert not torch.equal(weight[0], weight[1])
        assert not adapters.down_bias.any()
        assert not adapters.up_bias.any()
    for adaptation in model.adaptations:
        assert torch.equal(adaptation.gamma, torch.full((WIDTH,), 0.3))
        assert torch.equal(adaptation.beta, torch.full((WIDTH,), 0.5))


def trains(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


@pytest.mark.parametrize(
    ("chosen", "count", "frozen"),
    [
        ({"preset": "released"}, 90_970_370, 85_798_656),
        ({"preset": "described"}, 90_970_370, 85_798_656),
        ({"preset": "table"}, 90_970_400, 85_798_656),
        ({"preset": "table", "trained": "all"}, 90_970_400, 0),
    ],
)
def test_parameter_counts(chosen: dict[str, Any], count: int, frozen: int) -> None:
    with torch.device("meta"):
        made = vitaf.Method(vitaf.Options(index=Path(), run_dir=Path(), device="cpu", **chosen), CPU).build()
    assert sum(p.numel() for p in made.parameters()) == count
    assert trains(made) == count - frozen
    assert isinstance(made, vitaf.ViTAF)
    assert trains(made.classifier) == 394_754
    assert trains(made.adaptations) == 4_776_960
    assert [trains(a.after_mlp) for a in made.adaptations] == [2 * 99_136] * 12


# The transformation in training


def test_the_transformation_is_of_training_alone_and_of_the_methods_own_draws() -> None:
    made, batch = method_of(stem="rgb"), replace(batch_of(images(8, SIZE, 4)), progress=SECOND)
    made.network.classifier.eval()  # without dropout, which draws from torch's own generator
    state = made.draws.get_state()
    moved = [made.forward(batch).logits for _ in range(2)]
    made.draws.set_state(state)
    again = made.forward(batch).logits
    assert not torch.equal(moved[0], moved[1])
    assert torch.equal(moved[0], again)
    state = made.draws.get_state()
    torch.testing.assert_close(made.predict(batch)[HEADLINE], made.predict(batch)[HEADLINE], rtol=0, atol=0)
    made.network.eval()
    at_test = made.forward(batch).logits
    torch.testing.assert_close(at_test, made.network(*batch.images).logits, rtol=0, atol=0)
    assert torch.equal(made.draws.get_state(), state)


@given(seed=st.integers(0, 2**31))
def test_all_samples_of_a_step_are_transformed_alike(seed: int) -> None:
    model, pictures = random(stem="rgb"), double(images(9, SIZE, 3))
    with torch.no_grad():
        together = model(*pictures, torch.Generator().manual_seed(seed)).logits
        alone = model(*(x[1:2] for x in pictures), torch.Generator().manual_seed(seed)).logits
    torch.testing.assert_close(together[1:2], alone)


# The two stages


def moved_by(made: vitaf.Method, optimiser: torch.optim.Optimizer, progress: float) -> set[str]:
    """The parameters that a step there changes."""
    before = {name: p.detach().clone() for name, p in made.network.named_parameters()}
    batch = replace(batch_of(images(1, SIZE, 4)), progress=progress)
    training: Any = SimpleNamespace()
    made.schedule(optimiser, batch, training)
    method.step(made, optimiser, batch, torch.autocast("cpu", enabled=False))
    return {name for name, p in made.network.named_parameters() if not torch.equal(p, before[name])}


@pytest.mark.parametrize("trained", ["adapters", "all"])
@pytest.mark.parametrize("preset", ["table", "described", "released"])
def test_the_classifier_learns_alone_and_then_the_adapters_or_everything(trained: str, preset: str) -> None:
    made = method_of(trained=trained, preset=preset)
    training: Any = SimpleNamespace(optimiser=lambda p: torch.optim.Adam([*p], lr=1e-2, weight_decay=0.5))
    optimiser, names = made.optimiser(training), {name for name, _ in made.network.named_parameters()}
    classifier = {name for name in names if name.startswith("classifier.")}
    adapters = {name for name in names if name.startswith(("adaptations.", "stem."))}
    second = names if trained == "all" else adapters
    assert len(optimiser.param_groups[0]["params"]) == len(names if trained == "all" else classifier | adapters)
    assert moved_by(made, optimiser, FIRST) == classifier
    assert moved_by(made, optimiser, FIRST) == classifier
    assert moved_by(made, optimiser, SECOND) == second
    assert moved_by(made, optimiser, SECOND) == second
    assert {name for name in adapters if "gamma" in name or "beta" in name or "stem" in name} <= second


@given(steps=st.integers(1, 200), epochs=st.integers(2, 60), share=st.floats(0, 1))
def test_the_first_stage_takes_as_many_epochs_as_it_is_given(steps: int, epochs: int, share: float) -> None:
    first = int(share * (epochs - 1))
    made = vitaf.Method(options(classifier_epochs=first, epochs=epochs, steps=steps), CPU)
    batch = batch_of(images(0, 1))

    def alone(step: int) -> bool:
        return made.classifier_alone(replace(batch, progress=step / (steps * epochs)))

    boundary = first * steps
    assert not alone(boundary)
    assert not alone(steps * epochs - 1)
    if first:
        assert alone(0)
        assert alone(boundary - 1)


def test_adapters_learn_against_a_classifier_that_has_learned_otherwise() -> None:
    """The classifier learns that bona fide samples are bright, then the labels are exchanged."""
    torch.manual_seed(0)
    made = vitaf.Method(options(stem="rgb"), CPU)
    made.network, made.draws = made.build(), torch.Generator().manual_seed(5)
    made.network.train()
    label = torch.tensor([0.0, 1.0] * 6)
    batch = batch_of([0.3 * x + 0.5 * (1 - 2 * label)[:, None, None, None] for x in images(0, SIZE, 12)], label)
    training: Any = SimpleNamespace(optimiser=lambda p: torch.optim.Adam([*p], lr=1e-2))
    optimiser, costs = made.optimiser(training), []
    for step in range(60):
        now = replace(batch, progress=FIRST) if step < 5 else replace(batch, progress=SECOND, label=1 - label)
        made.schedule(optimiser, now, training)
        losses = method.step(made, optimiser, now, torch.autocast("cpu", enabled=False))
        costs.append(losses["classes"].item())
    assert costs[4] < 0.5
    assert costs[5] > 0.9
    assert costs[-1] < 0.6


# Losses, scores, images


@pytest.mark.parametrize("cosines", ["added", "dropped"])
def test_the_loss_is_of_the_classes_and_where_asked_of_the_cosines(cosines: str) -> None:
    made, batch = method_of(cosines=cosines, cosine_weight=0.3), batch_of(images(7, SIZE, 4))
    logits = torch.tensor([[2.0, -1.0], [0.5, 0.0], [-1.0, 1.0], [0.0, 3.0]], dtype=torch.float64)
    pull = torch.tensor(1.7, dtype=torch.float64, requires_grad=True)
    losses = made.losses(vitaf.Output(logits, pull), batch)
    classes = bce((logits[:, 1] - logits[:, 0]).numpy(), batch.label.numpy()).mean()
    assert losses["classes"].item() == pytest.approx(classes, rel=1e-9)
    assert losses["cosines"].item() == 1.7
    assert losses["loss"].item() == pytest.approx(classes + (0.3 * 1.7 if cosines == "added" else 0), rel=1e-9)
    first = made.losses(vitaf.Output(logits, None), batch)
    assert {name: x.item() for name, x in first.items()} == {"loss": losses["classes"], "classes": losses["classes"]}
    difference = (logits[:, 0] - logits[:, 1]).tolist()
    assert made.scores(vitaf.Output(logits, pull))[HEADLINE].tolist() == difference


def test_cosines_are_taken_in_float32_where_the_rest_is_not() -> None:
    made, batch = method_of(), replace(batch_of(images(7, SIZE, 4)), progress=SECOND)
    with torch.autocast("cpu", torch.bfloat16):
        output = made.forward(batch)
    assert output.cosines is not None
    assert output.cosines.dtype == torch.float32
    assert not torch.equal(output.cosines, output.cosines.bfloat16().float())


@pytest.mark.parametrize("saturation", ["none", "clipped", "wrapped"])
def test_images_are_mirrored_and_where_asked_change_their_saturation(saturation: str) -> None:
    made, pictures = method_of(saturation=saturation), images(9, 4, 60)
    pictures[0] = (127.5 * (pictures[0] + 1)).round() / 127.5 - 1
    mirrored: Any = SimpleNamespace(augment=lambda batch: batch_of([x.flip(-1) for x in batch.images], batch.label))
    seen = made.views(batch_of(pictures), mirrored)
    assert torch.equal(seen.depth, pictures[1].flip(-1))
    assert torch.equal(seen.ir, pictures[2].flip(-1))
    before = pictures[0].flip(-1)
    changed = (seen.rgb - before).abs().amax((1, 2, 3)) > 1e-5
    assert (15 < int(changed.sum()) < 45) == (saturation != "none")
    below = before.amax(1, keepdim=True) - 1.2 * (before.amax(1, keepdim=True) - before) < -1
    assert ((seen.rgb - before)[below] > 0.5).any() == (saturation == "wrapped")


@pytest.mark.parametrize("rate", ["constant", "cosine"])
def test_the_rate_stays_unless_told(rate: str) -> None:
    made, optimiser = method_of(rate=rate), torch.optim.SGD([torch.zeros(1)], lr=0.5)

    def set_rate(given: torch.optim.Optimizer) -> None:
        given.param_groups[0]["lr"] = 0.25

    training: Any = SimpleNamespace(set_rate=set_rate)
    made.schedule(optimiser, batch_of(images(0, 1)), training)
    assert optimiser.param_groups[0]["lr"] == (0.5 if rate == "constant" else 0.25)


# Its options


def test_presets_part_where_their_sources_do() -> None:
    every = [vitaf.Options(index=Path(), run_dir=Path(), preset=p) for p in ("table", "described", "released")]
    assert [x.stem for x in every] == ["conv", "rgb", "rgb"]
    assert [x.cosines for x in every] == ["added", "added", "dropped"]
    assert [x.saturation for x in every] == ["none", "none", "wrapped"]
    for x in every:
        assert (x.optimiser, x.learning_rate, x.weight_decay, x.rate) == ("adam_l2", 1e-4, 1e-6, "constant")
        assert (x.batch_size, x.steps, x.epochs, x.classifier_epochs, x.augmentation) == (24, 100, 41, 1, "flip")
        assert (x.cosine_weight, x.gamma, x.beta, x.trained, x.stem_start) == (0.1, 0.1, 0.1, "adapters", "mean")
        assert (x.image_size, x.bottleneck, x.protocol, x.weights) == (224, 64, "official", "none")
        assert x.last_layer == "unit_columns"
        assert x.per_domain
        x.check()


@pytest.mark.parametrize(
    ("chosen", "sentence"),
    [
        ({"bottleneck": 0}, "--bottleneck 0: give at least 1"),
        ({"cosine_weight": -0.1}, "--cosine-weight -0.1: give at least 0"),
        ({"gamma": -0.1}, "--gamma -0.1: give at least 0"),
        ({"beta": -0.1}, "--beta -0.1: give at least 0"),
        ({"classifier_epochs": -1}, "--classifier-epochs -1: give at least 0"),
        (
            {"classifier_epochs": 6, "epochs": 6},
            "--classifier-epochs 6: none of 6 epochs is left to the adapters; give at most 5, or more --epochs",
        ),
        ({"patch": 5}, "--image-size 12: this network needs a multiple of 5"),
    ],
)
def test_options_that_cannot_be_are_refused_in_one_sentence(chosen: dict[str, Any], sentence: str) -> None:
    with pytest.raises(BadInput) as refused:
        options(**chosen).check()
    assert str(refused.value) == sentence


def test_the_ends_of_what_options_may_be() -> None:
    options(bottleneck=1, cosine_weight=0.0, gamma=0.0, beta=0.0, classifier_epochs=0).check()
    options(classifier_epochs=5, epochs=6).check()
