"""AMA: its adapters, the layers that they stand in, tokens and positions, what trains, what it sees."""

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
from reference.rivals import ama, method
from reference.rivals.blocks.infrared_stack import infrared_stack
from reference.rivals.blocks.start import FRESH, Start
from reference.runs import HEADLINE
from spec_tests.support.logits import bce
from spec_tests.support.networks import batch_of, images, scrambled

CPU = torch.device("cpu")
SMALL = {"image_size": 12, "patch": 4, "width": 6, "depth": 2, "heads": 2, "adapter_width": 2}


def options(**chosen: Any) -> ama.Options:
    return ama.Options(index=Path(), run_dir=Path(), **(SMALL | chosen))


def network(begun: Start = FRESH, **chosen: Any) -> ama.AMA:
    return ama.AMA(options(**chosen), begun)


def method_of(**chosen: Any) -> ama.Method:
    torch.manual_seed(0)
    made = ama.Method(options(**chosen), CPU)
    made.network, made.draws = made.build(), torch.Generator().manual_seed(5)
    return made


def torchvisions() -> Any:
    """torchvision's network of the small sizes with weights by chance."""
    return scrambled(torchvision.models.VisionTransformer(12, 4, 2, 2, 6, 24), 3)


def begun() -> Start:
    """Those weights, as `--weights` brings them."""
    return Start("vit_b_16", "FILE", "", torchvisions().state_dict())


# The network


def linear(x: np.ndarray, of: dict[str, np.ndarray], name: str) -> np.ndarray:
    return x @ of[f"{name}.weight"].T + of[f"{name}.bias"]


def normalised(x: np.ndarray, of: dict[str, np.ndarray], name: str) -> np.ndarray:
    centred = x - x.mean(-1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-6) * of[f"{name}.weight"] + of[f"{name}.bias"]


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def softmax(x: np.ndarray) -> np.ndarray:
    weights = np.exp(x - x.max(-1, keepdims=True))
    return weights / weights.sum(-1, keepdims=True)


def part_of(weights: dict[str, np.ndarray], name: str) -> dict[str, np.ndarray]:
    """The weights below a name."""
    return {key.removeprefix(f"{name}."): value for key, value in weights.items() if key.startswith(f"{name}.")}


def added(y: np.ndarray, of: dict[str, np.ndarray]) -> np.ndarray:
    """What an adapter adds to tokens (1 + 3 x 9, 6), each cell of the map of 3 x 3 on its own."""
    z = linear(y, of, "down")
    z = z * sigmoid(1.702 * z)
    maps = z[1:].reshape(3, 3, 3, 2)
    framed = np.pad(np.concatenate([*maps], 2), ((1, 1), (1, 1), (0, 0)))  # (5, 5, 6)
    gates = sigmoid(of["gates.weight"] @ np.concatenate([x.mean((0, 1)) for x in maps]))
    out = [np.einsum("dc,c->d", of["conv.weight"][:, :, 1, 1], np.tile(z[0], 3))]
    for gate in gates:
        for i in range(9):
            window = framed[i // 3 : i // 3 + 3, i % 3 : i % 3 + 3]
            out.append(gate * np.einsum("dcij,ijc->d", of["conv.weight"], window))
    shared = np.stack(out)
    return linear(shared * sigmoid(1.702 * shared), of, "up")


def logits_of(pictures: list[np.ndarray], w: dict[str, np.ndarray]) -> np.ndarray:
    """The logits (2,) of one sample's RGB, depth and infrared (3, 12, 12), in float64, one patch and one head at a
    time."""
    tokens = [w["class_token"][0, 0]]
    for image in pictures:
        for top in range(0, 12, 4):
            for left in range(0, 12, 4):
                window = image[:, top : top + 4, left : left + 4]
                tokens.append((w["conv_proj.weight"] * window).sum((1, 2, 3)) + w["conv_proj.bias"])
    x = np.stack(tokens) + w["pos_embedding"][0]
    for number in range(2):
        of = part_of(w, f"layers.{number}.layer")
        y = normalised(x, of, "ln_1")
        qkv = y @ of["self_attention.in_proj_weight"].T + of["self_attention.in_proj_bias"]
        heads = []
        for first in (0, 3):
            q, k, v = (qkv[:, part + first : part + first + 3] for part in (0, 6, 12))
            heads.append(softmax(q @ k.T / math.sqrt(3)) @ v)
        attention = linear(np.hstack(heads), of, "self_attention.out_proj")
        x = x + attention + added(y, part_of(w, f"layers.{number}.beside_attention"))
        y = normalised(x, of, "ln_2")
        hidden = linear(y, of, "mlp.0")
        hidden = hidden * (1 + np.vectorize(math.erf)(hidden / math.sqrt(2))) / 2
        x = x + linear(hidden, of, "mlp.3") + added(y, part_of(w, f"layers.{number}.beside_mlp"))
    return linear(normalised(x[0], w, "ln"), w, "classes")


def test_the_network_is_the_one_written_down() -> None:
    model, pictures = scrambled(network(), 1).double().eval(), images(2, 12)
    w = {name: x.numpy() for name, x in model.state_dict().items()}
    with torch.inference_mode():
        logits = model(*(x.double() for x in pictures)).numpy()
    for sample in range(2):
        pixels = [x[sample].double().numpy() * 127.5 + 127.5 for x in pictures]
        expected = logits_of([(x - 127.5) / 128 for x in pixels], w)
        np.testing.assert_allclose(logits[sample], expected, rtol=1e-9, atol=1e-10)


def test_with_fresh_adapters_it_is_the_vit_over_all_patches() -> None:
    theirs = torchvisions().eval()
    torch.manual_seed(0)
    ours, pictures = network(begun()), images(4, 12)
    for training in (False, True):  # what dropout leaves is nothing, too
        ours.train(training)
        with torch.no_grad():
            patches = [theirs.conv_proj(x * 127.5 / 128).flatten(2).mT for x in pictures]
            own, others = theirs.encoder.pos_embedding[:, :1], theirs.encoder.pos_embedding[:, 1:]
            tokens = torch.cat([(theirs.class_token + own).expand(2, -1, -1), *(x + others for x in patches)], 1)
            expected = ours.classes(theirs.encoder.ln(theirs.encoder.layers(tokens))[:, 0])
            torch.testing.assert_close(ours(*pictures), expected, rtol=1e-5, atol=1e-6)
    changed = scrambled(ours.layers[0].beside_mlp.up, 1)
    assert changed.weight.any()
    with torch.no_grad():
        assert not torch.allclose(ours.eval()(*pictures), expected, rtol=1e-3)


def test_the_first_weights_of_an_adapter() -> None:
    torch.manual_seed(0)
    layer = network(width=64, adapter_width=32).layers[1]
    for adapter in (layer.beside_attention, layer.beside_mlp):
        assert not adapter.up.weight.any()
        assert not adapter.up.bias.any()
        assert not adapter.down.bias.any()
        bound = math.sqrt(6 / (64 + 32))  # Xavier's uniform law
        assert 0.9 * bound < adapter.down.weight.abs().max() <= bound
        assert adapter.conv.weight.any()
        assert adapter.gates.weight.any()
        assert (adapter.conv.bias, adapter.gates.bias) == (None, None)


def test_a_tenth_of_the_adapted_channels_is_dropped_in_training() -> None:
    torch.manual_seed(0)
    adapter = scrambled(ama.Adapter(6, 6), 1)
    with torch.no_grad():
        adapter.up.weight.copy_(torch.eye(6))
        adapter.up.bias.zero_()
        x = torch.from_numpy(np.random.default_rng(0).normal(size=(40, 1 + 3 * 9, 6)).astype(np.float32))
        whole, thinned = adapter.eval()(x), adapter.train()(x)
    kept = thinned != 0
    assert 0.08 < 1 - kept.float().mean() < 0.12
    torch.testing.assert_close(thinned[kept], whole[kept] / 0.9)
    with torch.no_grad():  # before the way up: what is missing is missing everywhere
        adapter.up.weight.fill_(1.0)
        everywhere = adapter(x)
    torch.testing.assert_close(everywhere, everywhere[..., :1].expand_as(everywhere))
    assert not torch.allclose(everywhere, adapter.eval()(x), rtol=0.05)


def test_infrared_comes_plain_or_as_three_pictures() -> None:
    rgb, depth, ir = images(5, 12)
    plain, stack = (scrambled(network(infrared=how), 1).eval() for how in ("plain", "stack"))
    with torch.inference_mode():
        assert torch.equal(stack(rgb, depth, ir), plain(rgb, depth, infrared_stack(ir)))
        assert not torch.equal(stack(rgb, depth, ir), plain(rgb, depth, ir))


def test_the_three_pictures_are_the_same_whatever_the_arithmetic() -> None:
    ir = images(5, 12)[2]
    expected = infrared_stack(ir)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(infrared_stack(ir), expected)


# Where it begins


@pytest.mark.parametrize("trained", ["adapters", "all"])
def test_it_begins_with_the_weights_of_the_vit(trained: str) -> None:
    theirs, ours = torchvisions(), network(begun(), trained=trained)
    positions = theirs.encoder.pos_embedding
    assert torch.equal(ours.class_token, theirs.class_token)
    assert torch.equal(ours.conv_proj.weight, theirs.conv_proj.weight)
    assert torch.equal(ours.ln.weight, theirs.encoder.ln.weight)
    assert ours.pos_embedding.shape == (1, 1 + 3 * 9, 6)
    assert torch.equal(ours.pos_embedding[:, :1], positions[:, :1])
    for patches in ours.pos_embedding[:, 1:].split(9, 1):
        assert torch.equal(patches, positions[:, 1:])
    for layer, other in zip(ours.layers, theirs.encoder.layers, strict=True):
        state = other.state_dict()
        assert all(torch.equal(x, state[name]) for name, x in layer.layer.state_dict().items())


def test_positions_that_begin_anew_are_normal_with_a_small_deviation() -> None:
    torch.manual_seed(0)
    drawn = network(begun(), positions="anew").pos_embedding.detach()
    assert drawn.shape == (1, 28, 6)
    assert drawn.std().item() == pytest.approx(0.02, rel=0.2)
    assert abs(drawn.mean().item()) < 0.006
    assert drawn.unique().numel() == drawn.numel()


# What trains (R2)


def trains(name: str, positions: str) -> bool:
    of_adapter = ".beside_attention." in name or ".beside_mlp." in name
    return of_adapter or name.startswith("classes.") or (name == "pos_embedding" and positions == "anew")


@pytest.mark.parametrize("positions", ["tiled", "anew"])
def test_adapters_head_and_new_positions_train_and_nothing_else(positions: str) -> None:
    made = network(positions=positions)
    assert {name: p.requires_grad for name, p in made.named_parameters()} == {
        name: trains(name, positions) for name, _ in made.named_parameters()
    }
    assert all(p.requires_grad for p in network(positions=positions, trained="all").parameters())


@pytest.mark.parametrize("trained", ["adapters", "all"])
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
    wanted = {name: trained == "all" or trains(name, "tiled") for name in before}
    assert len(given[0]) == sum(wanted.values())
    assert {name: not torch.equal(x, before[name]) for name, x in made.network.named_parameters()} == wanted


@pytest.mark.parametrize(
    ("chosen", "count", "trained"),
    [
        ({"preset": "table"}, 91_148_546, 5_048_834),
        ({"preset": "described"}, 91_148_546, 5_048_834),
        ({"preset": "released"}, 86_457_986, 358_274),
        ({"preset": "table", "positions": "anew"}, 91_148_546, 5_501_186),
        ({"preset": "table", "trained": "all"}, 91_148_546, 91_148_546),
    ],
)
def test_parameter_counts(chosen: dict[str, Any], count: int, trained: int) -> None:
    with torch.device("meta"):
        made = ama.Method(ama.Options(index=Path(), run_dir=Path(), device="cpu", **chosen), CPU).build()
    assert sum(p.numel() for p in made.parameters()) == count
    assert sum(p.numel() for p in made.parameters() if p.requires_grad) == trained


def test_the_counts_of_the_head() -> None:
    for dim, parts, total in ((64, (49_216, 110_592, 576, 49_920), 210_304), (8, (6_152, 1_728, 72, 6_912), 14_864)):
        adapter = ama.Adapter(768, dim)
        modules: list[nn.Module] = [adapter.down, adapter.conv, adapter.gates, adapter.up]
        assert tuple(sum(p.numel() for p in part.parameters()) for part in modules) == parts
        assert sum(p.numel() for p in adapter.parameters()) == total


# Its training


def test_depth_and_infrared_are_dropped_after_flips_where_that_is_asked_for() -> None:
    pictures = images(6, 12, 64)
    training = SimpleNamespace(augment=lambda batch: batch_of([x.flip(-1) for x in batch.images], batch.label))
    flipped = [x.flip(-1) for x in pictures]

    def seen(probability: float, others: int = 0) -> list[Tensor]:
        made = method_of(drop_modality=probability)
        torch.manual_seed(others)  # which the method does not draw from
        return [*made.views(batch_of(pictures), training).images]

    assert all(torch.equal(a, b) for a, b in zip(seen(0.0), flipped, strict=True))
    rgb, depth, ir = seen(1.0)
    assert torch.equal(rgb, flipped[0])
    assert (torch.cat([depth, ir]) == -1).all()
    rgb, depth, ir = seen(0.5)
    lost = [(x == -1).flatten(1).all(1) for x in (depth, ir)]
    assert torch.equal(rgb, flipped[0])
    assert all(0.2 < x.float().mean() < 0.8 for x in lost)
    assert not torch.equal(*lost)
    for x, gone, whole in zip((depth, ir), lost, flipped[1:], strict=True):
        assert torch.equal(x[~gone], whole[~gone])
    assert all(torch.equal(a, b) for a, b in zip(seen(0.5, others=1), (rgb, depth, ir), strict=True))


def test_the_rate_is_halved_after_every_so_many_epochs() -> None:
    made, rates = method_of(learning_rate=0.8, halve_every=2), []
    optimiser = torch.optim.SGD([torch.zeros(1)], lr=9.0)
    for epoch in range(6):
        made.schedule(optimiser, batch_of(images(0, 12)), SimpleNamespace(epoch=epoch))
        rates.append(optimiser.param_groups[0]["lr"])
    assert rates == [0.8, 0.8, 0.4, 0.4, 0.2, 0.2]


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
    table, described, released = (
        ama.Options(index=Path(), run_dir=Path(), preset=preset) for preset in ("table", "described", "released")
    )
    assert [x.adapter_width for x in (table, described, released)] == [64, 64, 8]
    assert [x.infrared for x in (table, described, released)] == ["plain", "stack", "plain"]
    for x in (table, described, released):
        assert (x.learning_rate, x.weight_decay, x.batch_size, x.epochs, x.halve_every) == (1e-5, 0.05, 64, 30, 20)
        assert (x.optimiser, x.augmentation, x.drop_modality) == ("adamw", "flip", 0)
        assert (x.trained, x.positions, x.protocol, x.weights) == ("adapters", "tiled", "official", "none")
        x.check()


@pytest.mark.parametrize(
    ("chosen", "sentence"),
    [
        ({"image_size": 14}, "--image-size 14: this network needs a multiple of 4"),
        ({"adapter_width": 0}, "--adapter-width 0: give at least 1"),
        ({"halve_every": 0}, "--halve-every 0: give at least 1"),
        ({"drop_modality": 1.5}, "--drop-modality 1.5: it is a probability; give a number from 0 to 1"),
        ({"drop_modality": -0.5}, "--drop-modality -0.5: it is a probability; give a number from 0 to 1"),
        ({"drop_modality": math.nan}, "--drop-modality nan: give a finite number"),
    ],
)
def test_options_that_cannot_be_are_refused_in_one_sentence(chosen: dict[str, Any], sentence: str) -> None:
    with pytest.raises(BadInput) as refused:
        options(**chosen).check()
    assert str(refused.value) == sentence


def test_the_ends_of_what_options_may_be() -> None:
    options(adapter_width=1, halve_every=1, drop_modality=1.0).check()
