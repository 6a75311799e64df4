"""VP-FAS, the reconstruction: prompts before frozen layers, what trains, and the two views of every training sample."""

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import torchvision.models
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from data_manifests.errors import BadInput
from reference.batches import BLACK
from reference.options import readings
from reference.rivals import method, rows, vp_fas
from reference.rivals.blocks.start import FRESH, Start
from reference.runs import HEADLINE
from spec_tests.support.logits import bce
from spec_tests.support.networks import batch_of, images, scrambled

CPU = torch.device("cpu")
SMALL = {
    "image_size": 12,
    "patch": 4,
    "width": 6,
    "depth": 3,
    "heads": 2,
    "prompt_length": 2,
    "prompt_layers": 2,
    "hidden": 5,
}
PATCHES = 9


def options(**chosen: Any) -> vp_fas.Options:
    return vp_fas.Options(index=Path(), run_dir=Path(), **(SMALL | chosen))


def network(begun: Start = FRESH, seed: int = 0, **chosen: Any) -> vp_fas.PromptedViT:
    torch.manual_seed(seed)
    return vp_fas.PromptedViT(options(**chosen), begun)


def method_of(seed: int = 5, **chosen: Any) -> vp_fas.Method:
    """With random numbers for all weights, so that residuals are not zero."""
    made = vp_fas.Method(options(**chosen), CPU)
    made.network, made.draws = network(**chosen), torch.Generator().manual_seed(seed)
    scrambled(made.network, 1)
    return made


# The network


def linear(x: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    return x @ weight.T + bias


def normalised(x: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    centred = x - x.mean(-1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-6) * weight + bias


def softmax(x: np.ndarray) -> np.ndarray:
    weights = np.exp(x - x.max(-1, keepdims=True))
    return weights / weights.sum(-1, keepdims=True)


def through(x: np.ndarray, of: dict[str, np.ndarray]) -> np.ndarray:
    """One sequence (T, C) through one layer, one head at a time."""
    y = normalised(x, of["ln_1.weight"], of["ln_1.bias"])
    qkv = linear(y, of["self_attention.in_proj_weight"], of["self_attention.in_proj_bias"])
    heads = []
    for first in (0, 3):
        q, k, v = (qkv[:, part + first : part + first + 3] for part in (0, 6, 12))
        heads.append(softmax(q @ k.T / math.sqrt(3)) @ v)
    x = x + linear(np.hstack(heads), of["self_attention.out_proj.weight"], of["self_attention.out_proj.bias"])
    y = linear(normalised(x, of["ln_2.weight"], of["ln_2.bias"]), of["mlp.0.weight"], of["mlp.0.bias"])
    y = y * (1 + np.vectorize(math.erf)(y / math.sqrt(2))) / 2
    return x + linear(y, of["mlp.3.weight"], of["mlp.3.bias"])


def embedding_of(pictures: list[np.ndarray], w: dict[str, np.ndarray], prompted: int, shared: bool) -> np.ndarray:
    """The embedding (3 C,) of one sample, RGB, depth and infrared (3, S, S) each, in float64."""
    streams = []
    for image in pictures:
        tokens = [w["class_token"][0, 0]]
        for top in range(0, 12, 4):
            for left in range(0, 12, 4):
                window = image[:, top : top + 4, left : left + 4]
                tokens.append((w["conv_proj.weight"] * window).sum((1, 2, 3)) + w["conv_proj.bias"])
        streams.append(np.stack(tokens) + w["pos_embedding"][0])
    for layer in range(3):
        of = {k.split(f"encoder_layer_{layer}.")[1]: v for k, v in w.items() if f"encoder_layer_{layer}." in k}
        if layer >= prompted:
            streams = [through(x, of) for x in streams]
            continue
        p = {k.removeprefix(f"prompts.{layer}."): v for k, v in w.items() if k.startswith(f"prompts.{layer}.")}
        means = [x[1:].mean(0) for x in streams]
        after = []
        for m, x in enumerate(streams):
            context = np.mean(means, axis=0) if shared else means[m]
            between = np.maximum(linear(context, p["down.weight"], p["down.bias"]), 0)
            prompts = p["vanilla"][m] + linear(between, p["up.weight"], p["up.bias"])
            after.append(through(np.vstack([prompts, x]), of)[len(prompts) :])
        streams = after
    return np.concatenate([normalised(x[0], w["ln.weight"], w["ln.bias"]) for x in streams])


@pytest.mark.parametrize("context", ["shared", "own"])
@pytest.mark.parametrize("prompted", [1, 2, 3])
def test_the_network_is_the_one_written_down(context: str, prompted: int) -> None:
    model = scrambled(network(context=context, prompt_layers=prompted), 1).double().eval()
    pictures = images(2, 12)
    w = {k: v.numpy() for k, v in model.state_dict().items()}
    with torch.inference_mode():
        logits = model(*(x.double() for x in pictures)).numpy()
    for sample in range(2):
        pixels = [x[sample].double().numpy() * 127.5 + 127.5 for x in pictures]
        found = embedding_of([(x - 127.5) / 128 for x in pixels], w, prompted, context == "shared")
        expected = w["classes.weight"] @ found + w["classes.bias"]
        np.testing.assert_allclose(logits[sample], expected, rtol=1e-9, atol=1e-10)


def passed(model: vp_fas.PromptedViT, pictures: list[Tensor]) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
    """The prompts of each prompted layer, and what goes into every layer and comes out of it."""
    prompts: list[Tensor] = []
    before: list[Tensor] = []
    after: list[Tensor] = []
    for part in model.prompts:
        part.register_forward_hook(lambda _, args, out: prompts.append(out))
    for layer in model.layers:
        layer.register_forward_pre_hook(lambda _, args: before.append(args[0]))
        layer.register_forward_hook(lambda _, args, out: after.append(out))
    with torch.no_grad():
        model(*pictures)
    return prompts, before, after


def test_prompts_are_renewed_before_each_prompted_layer_and_none_reaches_what_follows() -> None:
    prompts, before, after = passed(scrambled(network(), 1), images(3, 12))
    assert [x.shape[1] for x in before] == [2 + 1 + PATCHES, 2 + 1 + PATCHES, 1 + PATCHES]
    for layer in range(2):
        assert torch.equal(before[layer][:, :2], prompts[layer])
        assert torch.equal(before[layer + 1][:, -(1 + PATCHES) :], after[layer][:, 2:])
    assert not torch.allclose(prompts[0], prompts[1], atol=1e-3)


def test_each_layer_has_prompts_of_its_own_and_each_modality() -> None:
    model = network(prompt_layers=3)
    assert [tuple(part.vanilla.shape) for part in model.prompts] == [(3, 2, 6)] * 3
    assert len({p.data_ptr() for p in model.prompts.parameters()}) == 3 * 5


# Where it begins


@given(seed=st.integers(0, 2**31), context=st.sampled_from(["shared", "own"]))
def test_contextual_prompts_begin_as_the_vanilla_ones(seed: int, context: str) -> None:
    """Whatever a sample looks like; once the second linear layer has moved, samples have prompts of their own."""
    torch.manual_seed(seed)
    prompts = vp_fas.Prompts(options(context=context))
    tokens = torch.randn(6, 10, 6, generator=torch.Generator().manual_seed(seed))
    with torch.no_grad():
        begun = prompts(tokens)
        prompts.up.weight.normal_()
        moved = prompts(tokens)
    assert torch.equal(begun, prompts.vanilla.repeat_interleave(2, 0))
    assert not torch.allclose(moved[0], moved[1])
    assert torch.allclose(moved[0] - begun[0], moved[4] - begun[4], atol=1e-6) == (context == "shared")


def test_the_first_step_moves_the_residuals_second_layer_and_through_it_later_the_first() -> None:
    model = network()
    scrambled(model.classes, 2)
    model(*images(1, 12)).square().sum().backward()
    for part in model.prompts:
        assert part.vanilla.grad.any()
        assert part.up.weight.grad.any()
        assert not part.down.weight.grad.any()
        torch.nn.init.normal_(part.up.weight)
    model(*images(1, 12)).square().sum().backward()
    assert all(part.down.weight.grad.any() for part in model.prompts)


def test_vanilla_prompts_begin_normal_with_a_small_deviation() -> None:
    torch.manual_seed(0)
    drawn = vp_fas.Prompts(options(prompt_length=500, width=8)).vanilla
    assert drawn.std().item() == pytest.approx(0.02, rel=0.03)
    assert abs(drawn.mean().item()) < 1e-3


def test_the_transformer_begins_as_the_weights_say_and_without_their_classifier() -> None:
    theirs = scrambled(torchvision.models.VisionTransformer(12, 4, 3, 2, 6, 24), 3)
    state = theirs.state_dict()
    own = network(Start("vit_b_16", "FILE", "", state)).state_dict()
    kept = {name.removeprefix("encoder."): x for name, x in state.items() if not name.startswith("heads.")}
    assert {name for name in own if not name.startswith(("prompts.", "classes."))} == set(kept)
    assert all(torch.equal(own[name], x) for name, x in kept.items())


# What trains (T1)


@pytest.mark.parametrize("trained", ["prompts", "all"])
def test_a_step_moves_what_trains_and_nothing_else(trained: str) -> None:
    made = method_of(trained=trained, drop_modality=1.0)
    before = {name: x.clone() for name, x in made.network.named_parameters()}
    given_: list[list[Tensor]] = []

    def optimiser(parameters: Any) -> torch.optim.Optimizer:
        given_.append([*parameters])
        return torch.optim.AdamW(given_[0], lr=1e-2, weight_decay=0.5)

    steps = made.optimiser(SimpleNamespace(optimiser=optimiser))
    method.step(made, steps, batch_of(images(1, 12, 4)), torch.autocast("cpu", enabled=False))
    trains = {name: trained == "all" or name.startswith(("prompts.", "classes.")) for name in before}
    assert {name: p.requires_grad for name, p in made.network.named_parameters()} == trains
    assert len(given_[0]) == sum(trains.values())
    assert {name: not torch.equal(x, before[name]) for name, x in made.network.named_parameters()} == trains


PROMPTS = 6 * 3 * 16 * 768
RESIDUALS = 6 * (768 * 48 + 48 + 48 * 768 + 768)


@pytest.mark.parametrize(
    ("chosen", "count", "trained"),
    [
        ({"preset": "table"}, 86_471_714, PROMPTS + RESIDUALS + 4610),
        ({"preset": "described"}, 86_471_714, 673_058),
        ({"preset": "released"}, 86_471_714, 673_058),
        ({"context": "own"}, 86_471_714, 673_058),
        ({"prompt_layers": 12}, 87_140_162, 1_341_506),
        ({"trained": "all"}, 86_471_714, 86_471_714),
    ],
)
def test_parameter_counts(chosen: dict[str, Any], count: int, trained: int) -> None:
    """At the published size less than 4 % of the network learns, as the abstract has it, even with prompts before
    every layer."""
    with torch.device("meta"):
        made = vp_fas.Method(vp_fas.Options(index=Path(), run_dir=Path(), device="cpu", **chosen), CPU)
        parameters = [*made.build().parameters()]
        whole = sum(p.numel() for p in torchvision.models.vit_b_16().parameters()) - 768_000 - 1000  # no classifier
    assert sum(p.numel() for p in parameters) == count
    learning = sum(p.numel() for p in parameters if p.requires_grad)
    assert learning == trained
    if "trained" not in chosen:
        assert count - learning == whole == 85_798_656
        assert learning < 0.04 * whole


# The two views of every training sample


def flags(output: vp_fas.Learned) -> list[bool]:
    return [bool(x) for x in output.missing]


@given(seed=st.integers(0, 2**31), probability=st.sampled_from([0.0, 0.3, 1.0]))
def test_training_sees_each_sample_complete_and_with_modalities_dropped(seed: int, probability: float) -> None:
    made, pictures = method_of(seed, drop_modality=probability), images(4, 12, 5)
    shown: list[tuple[Tensor, ...]] = []
    embed = made.network.embedding
    made.network.embedding = lambda *x: (shown.append(x), embed(*x))[1]  # type: ignore[method-assign]
    with torch.no_grad():
        output = made.forward(batch_of(pictures))
    assert output.missing.dtype == torch.bool
    lost = []
    for place, (both, was) in enumerate(zip(shown[0], pictures, strict=True)):
        complete, dropped = both.chunk(2)
        assert torch.equal(complete, was)
        black = (dropped == BLACK).flatten(1).all(1)
        assert torch.equal(dropped[~black], was[~black])
        assert place or not black.any()  # RGB is never dropped
        lost.append(black)
    assert flags(output) == (lost[1] | lost[2]).tolist()
    if probability in (0, 1):
        assert torch.stack(lost[1:]).flatten().tolist() == [bool(probability)] * 10
    with torch.inference_mode():
        logits = made.network(*pictures)
        again = made.network(*(both.chunk(2)[1] for both in shown[0]))
    torch.testing.assert_close(output.logits, torch.cat([logits, again]), rtol=1e-4, atol=1e-5)


def test_what_is_dropped_comes_from_the_methods_own_draws() -> None:
    batch = batch_of(images(4, 12, 16))
    first, again, other = (method_of(seed).forward(batch) for seed in (1, 1, 2))
    assert flags(first) == flags(again)
    assert flags(first) != flags(other)
    assert 0 < sum(flags(first)) < 16


def test_a_sample_without_depth_and_infrared_has_nothing_to_lose() -> None:
    pictures = images(4, 12, 3)
    for x in pictures[1:]:
        x[1] = BLACK
        x[2, :, :6] = BLACK  # of this one there is something left to lose
    made = method_of(drop_modality=1.0)
    output = made.forward(batch_of(pictures))
    assert flags(output) == [True, False, True]
    consistency = made.losses(output, batch_of(pictures))["consistency"]
    complete, dropped = output.embedding.chunk(2)
    torch.testing.assert_close(consistency, (complete - dropped)[[0, 2]].square().mean())


def test_at_test_nothing_is_dropped_and_nothing_drawn() -> None:
    made, pictures = method_of(drop_modality=1.0), images(4, 12)
    state = made.draws.get_state()
    with torch.inference_mode():
        scores, logits = made.predict(batch_of(pictures))[HEADLINE], made.network(*pictures)
    assert torch.equal(made.draws.get_state(), state)
    torch.testing.assert_close(scores, logits[:, 0] - logits[:, 1])


@given(
    seed=st.integers(0, 2**31),
    weight=st.sampled_from([0.0, 1.0, 2.5]),
    form=st.sampled_from(["squared", "cosine"]),
)
def test_the_loss_is_cross_entropy_of_both_views_and_the_weighted_regularisation(
    seed: int, weight: float, form: str
) -> None:
    made = method_of(seed, consistency=form, consistency_weight=weight)
    batch = batch_of(images(7, 12, 4))
    output = made.forward(batch)
    losses = {name: x.item() for name, x in made.losses(output, batch).items()}
    assert set(losses) == {"loss", "classes", "consistency"}
    logits, z = output.logits.detach().double().numpy(), output.embedding.detach().double().numpy()
    label = np.tile(batch.label.numpy(), 2)
    classes = bce(logits[:, 1] - logits[:, 0], label).mean()
    found = []
    for a, b, lost in zip(z[:4], z[4:], flags(output), strict=True):
        if lost:
            cosine = a @ b / math.sqrt((a @ a) * (b @ b))
            found.append(((a - b) ** 2).mean() if form == "squared" else 1 - cosine)
    consistency = math.fsum(found) / max(len(found), 1)
    assert losses["classes"] == pytest.approx(classes, rel=1e-5)
    assert losses["consistency"] == pytest.approx(consistency, rel=1e-4, abs=1e-6)
    assert losses["loss"] == pytest.approx(classes + weight * consistency, rel=1e-4)


@pytest.mark.parametrize("target", ["detached", "attached"])
def test_the_complete_embedding_is_a_fixed_target_unless_attached(target: str) -> None:
    made, batch = method_of(consistency_target=target, drop_modality=1.0), batch_of(images(7, 12, 4))
    output = made.forward(batch)
    (gradient,) = torch.autograd.grad(made.losses(output, batch)["consistency"], output.embedding)
    complete, dropped = gradient.chunk(2)
    assert dropped.any(1).all()
    assert complete.any() == (target == "attached")


def test_without_dropping_the_regularisation_teaches_nothing() -> None:
    made, batch = method_of(drop_modality=0.0), batch_of(images(7, 12, 4))
    output = made.forward(batch)
    losses = made.losses(output, batch)
    assert losses["consistency"].item() == 0
    (gradient,) = torch.autograd.grad(losses["consistency"], output.embedding)
    assert not gradient.any()


def test_the_regularisation_brings_the_embedding_without_modalities_to_the_complete_one() -> None:
    made = method_of(drop_modality=1.0)
    made.network = network()
    batch = batch_of(images(7, 12, 8))
    optimiser = torch.optim.Adam([p for p in made.network.parameters() if p.requires_grad], lr=1e-3)
    costs = []
    for _ in range(30):
        cost = made.losses(made.forward(batch), batch)["consistency"]
        optimiser.zero_grad()
        cost.backward()
        optimiser.step()
        costs.append(cost.item())
    assert costs[-1] < 0.75 * costs[0]


# Its options


def test_all_presets_are_one_since_no_source_tells_them_apart() -> None:
    for name, values in readings(vp_fas.Options).items():
        if name != "missing_as":  # every row's
            assert len(set(values.values())) == 1, name
    x = options()
    assert (x.learning_rate, x.weight_decay, x.batch_size, x.epochs) == (5e-5, 5e-5, 16, 80)
    assert (x.optimiser, x.rate, x.augmentation, x.protocol) == ("adam_l2", "constant", "flip", "official")
    assert (x.trained, x.context, x.drop_modality, x.weights, x.missing_as) == (
        "prompts",
        "shared",
        0.5,
        "none",
        "black",
    )
    assert (x.consistency, x.consistency_weight, x.consistency_target) == ("squared", 1.0, "detached")
    published = vp_fas.Options(index=Path(), run_dir=Path())
    assert (published.prompt_length, published.prompt_layers, published.hidden) == (16, 6, 48)
    x.check()
    published.check()


def test_the_row_and_its_head_say_that_it_is_not_the_authors_method() -> None:
    assert rows.load()["vp_fas"].reconstruction
    assert "This is not the authors' method." in (vp_fas.__doc__ or "")


@pytest.mark.parametrize("rate", ["constant", "cosine"])
def test_the_rate_stays_or_is_everybodys(rate: str) -> None:
    told: list[Any] = []
    training = SimpleNamespace(set_rate=told.append)
    vp_fas.Method(options(rate=rate), CPU).schedule("the optimiser", batch_of(images(0, 1)), training)
    assert told == (["the optimiser"] if rate == "cosine" else [])


@pytest.mark.parametrize(
    ("chosen", "sentence"),
    [
        ({"prompt_length": 0}, "--prompt-length 0: give at least 1"),
        ({"prompt_layers": 0}, "--prompt-layers 0: give at least 1"),
        ({"prompt_layers": 4}, "--prompt-layers 4: the transformer has --depth 3; give at most that"),
        ({"hidden": 0}, "--hidden 0: give at least 1"),
        ({"consistency_weight": -0.5}, "--consistency-weight -0.5: give at least 0"),
        ({"consistency_weight": math.nan}, "--consistency-weight nan: give at least 0"),
        ({"drop_modality": 1.5}, "--drop-modality 1.5: it is a probability; give a number from 0 to 1"),
        ({"drop_modality": -0.5}, "--drop-modality -0.5: it is a probability; give a number from 0 to 1"),
        ({"width": 7}, "--width 7: give a multiple of --heads 2"),
    ],
)
def test_options_that_cannot_be_are_refused_in_one_sentence(chosen: dict[str, Any], sentence: str) -> None:
    with pytest.raises(BadInput) as refused:
        options(**chosen).check()
    assert str(refused.value) == sentence


def test_the_ends_of_what_options_may_be() -> None:
    options(prompt_length=1, prompt_layers=1, hidden=1, consistency_weight=0.0, drop_modality=0.0).check()
    options(prompt_layers=3, drop_modality=1.0).check()
