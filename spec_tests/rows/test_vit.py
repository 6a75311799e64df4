"""ViT: the transformer that three modalities share, what of it trains, where it begins, its two networks."""

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import torchvision.models
from torch import Tensor, nn

from data_manifests.errors import BadInput
from reference.batches import ShuffledSampler
from reference.options import readings
from reference.rivals import flexmodal, method, vit
from reference.rivals.blocks.flex_modal import FlexModal
from reference.rivals.blocks.start import FRESH, Start
from reference.runs import HEADLINE
from spec_tests.support.logits import bce
from spec_tests.support.networks import batch_of, images, scrambled

CPU = torch.device("cpu")
SMALL = {"image_size": 12, "patch": 4, "width": 6, "depth": 2, "heads": 2}


def options(**chosen: Any) -> vit.Options:
    return vit.Options(index=Path(), run_dir=Path(), **(SMALL | chosen))


def shared(begun: Start = FRESH, **chosen: Any) -> vit.SharedViT:
    return vit.SharedViT(options(**chosen), begun)


def method_of(**chosen: Any) -> vit.Method:
    torch.manual_seed(0)
    made = vit.Method(options(**chosen), CPU)
    made.network, made.draws = made.build(), torch.Generator().manual_seed(5)
    return made


def torchvisions() -> Start:
    """Weights of torchvision's network of the small sizes, as `--weights` brings them."""
    theirs = scrambled(torchvision.models.VisionTransformer(12, 4, 2, 2, 6, 24), 3)
    return Start("vit_b_16", "FILE", "", theirs.state_dict())


# The shared transformer


def linear(x: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    return x @ weight.T + bias


def normalised(x: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    centred = x - x.mean(-1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-6) * weight + bias


def softmax(x: np.ndarray) -> np.ndarray:
    weights = np.exp(x - x.max(-1, keepdims=True))
    return weights / weights.sum(-1, keepdims=True)


def features_of(image: np.ndarray, m: int, w: dict[str, np.ndarray]) -> np.ndarray:
    """The class token (C,) of one image (3, S, S) of modality m, in float64, one patch and one head at a time."""
    kernel = w[f"trunk.conv_proj.{m}.weight"]
    tokens = [w[f"trunk.class_token.{m}"][0, 0]]
    for top in range(0, image.shape[1], 4):
        for left in range(0, image.shape[2], 4):
            window = image[:, top : top + 4, left : left + 4]
            tokens.append((kernel * window).sum((1, 2, 3)) + w[f"trunk.conv_proj.{m}.bias"])
    x = np.stack(tokens) + w[f"trunk.pos_embedding.{m}"][0]
    for layer in range(2):
        of = {k.split(f"encoder_layer_{layer}.")[1]: v for k, v in w.items() if f"encoder_layer_{layer}." in k}
        y = normalised(x, of["ln_1.weight"], of["ln_1.bias"])
        qkv = linear(y, of["self_attention.in_proj_weight"], of["self_attention.in_proj_bias"])
        heads = []
        for first in (0, 3):
            q, k, v = (qkv[:, part + first : part + first + 3] for part in (0, 6, 12))
            heads.append(softmax(q @ k.T / math.sqrt(3)) @ v)
        x = x + linear(np.hstack(heads), of["self_attention.out_proj.weight"], of["self_attention.out_proj.bias"])
        y = linear(normalised(x, of["ln_2.weight"], of["ln_2.bias"]), of["mlp.0.weight"], of["mlp.0.bias"])
        y = y * (1 + np.vectorize(math.erf)(y / math.sqrt(2))) / 2
        x = x + linear(y, of["mlp.3.weight"], of["mlp.3.bias"])
    return normalised(x[0], w["trunk.ln.weight"], w["trunk.ln.bias"])


@pytest.mark.parametrize("embedding", ["shared", "own"])
def test_the_network_is_the_one_written_down(embedding: str) -> None:
    model, pictures = scrambled(shared(embedding=embedding), 1).double().eval(), images(2, 12)
    w = {k: v.numpy() for k, v in model.state_dict().items()}
    if embedding == "shared":
        w |= {
            f"trunk.conv_proj.{m}.{kind}": w[f"trunk.conv_proj.0.{kind}"] for m in (1, 2) for kind in ("weight", "bias")
        }
    with torch.inference_mode():
        logits = model(*(x.double() for x in pictures)).numpy()
    for sample in range(2):
        pixels = [x[sample].double().numpy() * 127.5 + 127.5 for x in pictures]
        found = np.concatenate([features_of((x - 127.5) / 128, m, w) for m, x in enumerate(pixels)])
        expected = w["classes.weight"] @ found + w["classes.bias"]
        np.testing.assert_allclose(logits[sample], expected, rtol=1e-9, atol=1e-10)


def test_each_modality_has_its_own_token_and_positions_and_nothing_else() -> None:
    names = {name for name, _ in shared().named_parameters() if ".layers." not in name}
    own = {f"trunk.{part}.{m}" for part in ("class_token", "pos_embedding") for m in range(3)}
    others = {"trunk.conv_proj.0.weight", "trunk.conv_proj.0.bias", "trunk.ln.weight", "trunk.ln.bias"}
    assert names == own | others | {"classes.weight", "classes.bias"}


def test_an_own_patch_embedding_begins_as_the_shared_one_and_parts_from_it_in_training() -> None:
    one, three = shared(torchvisions(), positions="kept"), shared(torchvisions(), positions="kept", embedding="own")
    scrambled(one.classes, 4)
    three.classes.load_state_dict(one.classes.state_dict())
    pictures = images(3, 12)
    with torch.inference_mode():
        torch.testing.assert_close(one(*pictures), three(*pictures), rtol=1e-5, atol=1e-6)
    kernels = [embed.weight for embed in three.trunk.conv_proj]
    assert len({weight.data_ptr() for weight in kernels}) == 3
    trained = shared(torchvisions(), embedding="own", trained="all")
    trained(*pictures).square().sum().backward()
    gradients = [embed.weight.grad for embed in trained.trunk.conv_proj]
    assert all(g.any() for g in gradients)
    assert not torch.equal(gradients[0], gradients[1])
    assert not torch.equal(gradients[1], gradients[2])


# Where it begins (T2)


@pytest.mark.parametrize("positions", ["kept", "anew"])
def test_positions_are_those_of_the_weights_or_drawn_anew_for_each_modality(positions: str) -> None:
    begun = torchvisions()
    assert begun.state
    torch.manual_seed(0)
    trunk = shared(begun, positions=positions).trunk
    theirs = begun.state["encoder.pos_embedding"]
    for token in trunk.class_token:
        assert torch.equal(token, begun.state["class_token"])
    assert [torch.equal(x, theirs) for x in trunk.pos_embedding] == [positions == "kept"] * 3
    assert torch.equal(trunk.pos_embedding[0], trunk.pos_embedding[1]) == (positions == "kept")
    assert len({x.data_ptr() for x in [*trunk.pos_embedding, *trunk.class_token]}) == 6
    assert torch.equal(trunk.conv_proj[0].weight, begun.state["conv_proj.weight"])
    assert torch.equal(trunk.ln.weight, begun.state["encoder.ln.weight"])


def test_positions_that_begin_anew_are_normal_with_a_small_deviation() -> None:
    torch.manual_seed(0)
    trunk = shared(torchvisions(), positions="anew", image_size=12).trunk
    drawn = torch.cat([x.flatten() for x in trunk.pos_embedding])
    assert drawn.std().item() == pytest.approx(0.02, rel=0.2)
    assert abs(drawn.mean().item()) < 0.006


# What trains (T1)


def test_of_the_frozen_trunk_the_last_layer_norm_tokens_and_positions_train() -> None:
    names = {name for name, p in shared().named_parameters() if not p.requires_grad}
    frozen = {name for name, _ in shared().named_parameters() if "conv_proj" in name or "encoder_layer_0" in name}
    assert names == frozen
    assert all(p.requires_grad for p in shared(trained="all").parameters())
    assert {name for name, p in shared(embedding="own").named_parameters() if not p.requires_grad} == frozen | {
        f"trunk.conv_proj.{m}.{kind}" for m in (1, 2) for kind in ("weight", "bias")
    }


@pytest.mark.parametrize("trained", ["last", "all"])
def test_a_step_moves_what_trains_and_nothing_else(trained: str) -> None:
    made = method_of(trained=trained)
    scrambled(made.network, 2)
    before = {name: x.clone() for name, x in made.network.named_parameters()}
    given: list[list[Tensor]] = []

    def optimiser(parameters: Any) -> torch.optim.Optimizer:
        given.append([*parameters])
        return torch.optim.AdamW(given[0], lr=1e-2, weight_decay=0.5)

    steps = made.optimiser(SimpleNamespace(optimiser=optimiser))
    method.step(made, steps, batch_of(images(1, 12, 4)), torch.autocast("cpu", enabled=False))
    trains = {name: p.requires_grad for name, p in made.network.named_parameters()}
    assert len(given[0]) == sum(trains.values())
    moved = {name: not torch.equal(x, before[name]) for name, x in made.network.named_parameters()}
    assert moved == trains


# Its two networks


@pytest.mark.parametrize(
    ("chosen", "count", "trained"),
    [
        ({"preset": "table"}, 86_107_394, 7_550_210),
        ({"preset": "described"}, 86_107_394, 7_550_210),
        ({"preset": "table", "trained": "all"}, 86_107_394, 86_107_394),
        ({"preset": "table", "embedding": "own"}, 87_288_578, 7_550_210),
        ({"preset": "released"}, 91_109_378, 91_109_378),
        ({"preset": "released", "baseline": "shared"}, 86_107_394, 7_550_210),
    ],
)
def test_parameter_counts(chosen: dict[str, Any], count: int, trained: int) -> None:
    with torch.device("meta"):
        network = vit.Method(vit.Options(index=Path(), run_dir=Path(), device="cpu", **chosen), CPU).build()
    assert sum(p.numel() for p in network.parameters()) == count
    assert sum(p.numel() for p in network.parameters() if p.requires_grad) == trained


def test_the_other_baseline_is_flex_modal_fas_with_its_training() -> None:
    """Weights, images and losses are those of FlexModal-FAS's row with its preset of that name."""
    made = method_of(preset="released")
    torch.manual_seed(0)
    other = flexmodal.Method(flexmodal.Options(index=Path(), run_dir=Path(), preset="released", **SMALL), CPU)
    other.network, other.draws = other.build(), torch.Generator().manual_seed(5)
    assert isinstance(made.network, FlexModal)
    flipped = SimpleNamespace(augment=lambda batch: batch_of([x.flip(-1) for x in batch.images], batch.label))
    views = [row.views(batch_of(images(6, 12, 8)), flipped) for row in (made, other)]
    losses = []
    for row, batch in zip((made, other), views, strict=True):
        row.network.eval()
        losses.append(row.losses(row.forward(batch), batch)["loss"].item())
    assert all(torch.equal(a, b) for a, b in zip(views[0].images, views[1].images, strict=True))
    assert losses[0] == losses[1]
    declared = readings(flexmodal.Options)
    assert {name: getattr(made.options, name) for name in declared} == {
        name: values["released"] for name, values in declared.items()
    }


def test_the_skeleton_sees_images_that_are_flipped_alone_balanced_at_a_constant_rate() -> None:
    made, pictures = method_of(), images(6, 12, 4)
    training = SimpleNamespace(
        sampler="everybody's", augment=lambda batch: batch_of([x.flip(-1) for x in batch.images], batch.label)
    )
    seen = made.views(batch_of(pictures), training)
    assert all(torch.equal(a, b.flip(-1)) for a, b in zip(seen.images, pictures, strict=True))
    assert made.sampler(training) == "everybody's"
    optimiser = torch.optim.SGD([torch.zeros(1)], lr=0.5)
    made.schedule(optimiser, batch_of(pictures), training)
    assert optimiser.param_groups[0]["lr"] == 0.5
    released = method_of(preset="released").sampler(SimpleNamespace(train=np.arange(10)))
    assert isinstance(released, ShuffledSampler)


def test_loss_and_score_are_of_the_difference() -> None:
    made = method_of()
    scrambled(made.network, 3)
    batch = batch_of(images(7, 12, 4))
    logits = made.forward(batch)
    difference = (logits[:, 0] - logits[:, 1]).detach().double().numpy()
    assert made.losses(logits, batch)["loss"].item() == pytest.approx(
        bce(-difference, batch.label.numpy()).mean(), rel=1e-5
    )
    np.testing.assert_allclose(made.scores(logits)[HEADLINE].detach().numpy(), difference, rtol=1e-5, atol=1e-6)


# Its options


def test_presets_part_where_their_sources_do() -> None:
    table, described, released = (options(preset=preset) for preset in ("table", "described", "released"))
    assert [x.baseline for x in (table, described, released)] == ["shared", "shared", "flexmodal"]
    assert [x.positions for x in (table, described, released)] == ["anew", "kept", "kept"]
    for x in (table, described):
        assert (x.learning_rate, x.weight_decay, x.batch_size, x.epochs) == (5e-5, 5e-5, 16, 80)
        assert (x.optimiser, x.rate, x.augmentation, x.sampling) == ("adam_l2", "constant", "flip", "balanced")
        assert (x.drop_modality, x.cutout, x.brightness, x.gamma) == (0, 0, 0, 0)
    for x in (table, described, released):
        assert (x.trained, x.embedding, x.protocol, x.weights) == ("last", "shared", "official", "none")
        x.check()
    assert (released.learning_rate, released.weight_decay, released.batch_size, released.epochs) == (1e-5, 0.05, 64, 30)
    assert (released.optimiser, released.rate, released.fusion) == ("adamw", "halved_early", "sum")


@pytest.mark.parametrize(
    ("chosen", "sentence"),
    [
        ({"image_size": 14}, "--image-size 14: this network needs a multiple of 4"),
        ({"patch": 16}, "--patch 16: the image has 12 pixels; give at most 12"),
        ({"width": 7}, "--width 7: give a multiple of --heads 2"),
        ({"depth": 0}, "--depth 0: give at least 1"),
        ({"drop_modality": 2.0}, "--drop-modality 2.0: it is a probability; give a number from 0 to 1"),
        ({"cutout": 1}, "--cutout 1: no square has a side below 1; give at least 2, or 0 to cut out nothing"),
    ],
)
def test_options_that_cannot_be_are_refused_in_one_sentence(chosen: dict[str, Any], sentence: str) -> None:
    with pytest.raises(BadInput) as refused:
        options(**chosen).check()
    assert str(refused.value) == sentence


def test_a_single_layer_is_the_last_one() -> None:
    names = {name for name, p in shared(depth=1).named_parameters() if not p.requires_grad}
    assert names == {"trunk.conv_proj.0.weight", "trunk.conv_proj.0.bias"}
    assert isinstance(shared(depth=1).trunk.layers, nn.Sequential)
