"""MMDG: its network, what trains, its losses, how their gradients meet, its prototypes, its options."""

import math
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from data_manifests.errors import BadInput
from reference.batches import Batch, ShuffledSampler
from reference.rivals import mmdg
from reference.runs import HEADLINE
from spec_tests.support.logits import bce
from spec_tests.support.networks import batch_of, images, scrambled

CPU = torch.device("cpu")
SMALL = {"image_size": 12, "patch": 4, "width": 6, "depth": 2, "heads": 2}
TOKENS = 10
PAIRS = ((0, 1), (0, 2), (1, 0), (2, 0))
NAMES = ("rgb", "depth", "ir")


def options(**chosen: Any) -> mmdg.Options:
    return mmdg.Options(index=Path(), run_dir=Path(), **(SMALL | chosen))


def method(seed: int = 0, domains: int = 3, **chosen: Any) -> mmdg.Method:
    """With a float64 network of random weights and prototypes, in evaluation mode."""
    torch.manual_seed(seed)
    made = mmdg.Method(options(**chosen), CPU)
    made.domains = tuple(range(domains))
    made.network = made.build()
    scrambled(made.network, seed)
    made.network.double().eval()
    made.network.prototypes.normal_(generator=torch.Generator().manual_seed(seed + 1))
    made.draws = torch.Generator().manual_seed(seed)
    return made


def samples(seed: int = 0, count: int = 6, domains: int = 3) -> Batch:
    return batch_of([x.double() for x in images(seed, 12, count)], domains=domains)


def by_name(made: mmdg.Method) -> dict[str, np.ndarray]:
    return {name: value.detach().numpy() for name, value in made.network.state_dict().items()}


# The network


def linear(x: np.ndarray, w: dict[str, np.ndarray], name: str) -> np.ndarray:
    return x @ w[f"{name}.weight"].T + w.get(f"{name}.bias", np.zeros(1))


def normalised(x: np.ndarray, w: dict[str, np.ndarray], name: str, epsilon: float = 1e-6) -> np.ndarray:
    centred = x - x.mean(-1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(-1, keepdims=True) + epsilon) * w[f"{name}.weight"] + w[f"{name}.bias"]


def softmax(x: np.ndarray) -> np.ndarray:
    weights = np.exp(x - x.max(-1, keepdims=True))
    return weights / weights.sum(-1, keepdims=True)


def quick_gelu(x: np.ndarray) -> np.ndarray:
    return x / (1 + np.exp(-1.702 * x))


def self_attention(y: np.ndarray, w: dict[str, np.ndarray], name: str) -> np.ndarray:
    """Of two heads of three channels."""
    qkv = y @ w[f"{name}.in_proj_weight"].T + w[f"{name}.in_proj_bias"]
    heads = []
    for first in (0, 3):
        q, k, v = (qkv[:, part + first : part + first + 3] for part in (0, 6, 12))
        heads.append(softmax(q @ k.T / math.sqrt(3)) @ v)
    return linear(np.hstack(heads), w, f"{name}.out_proj")


def adapted(own: np.ndarray, other: np.ndarray, certain: np.ndarray, w: dict[str, np.ndarray], after: bool) -> Any:
    """What one modality takes from another (T, C), one channel, one query and one cell of the map at a time."""
    x, z = quick_gelu(linear(own, w, "down_own")), quick_gelu(linear(other, w, "down_other"))
    q, k, v = linear(z, w, "queries"), linear(x, w, "keys"), linear(x, w, "values")
    taken = np.empty_like(x)
    for channel in range(8):
        for i, u in enumerate(certain):
            logits = q[i, channel] * k[:, channel]
            taken[i, channel] = softmax(logits if after else u * logits) @ v[:, channel] * (u if after else 1)
    x = normalised(x + linear(taken, w, "mix"), w, "norm", 1e-5)
    kernel = w["convolution.weight"]
    out = -0.5 * x @ kernel.sum((2, 3)).T
    out[0] += kernel[:, :, 1, 1] @ x[0]
    for row, column, down, right in np.ndindex(3, 3, 3, 3):
        r, c = row + down - 1, column + right - 1
        if 0 <= r < 3 and 0 <= c < 3:
            out[1 + 3 * row + column] += kernel[:, :, down, right] @ x[1 + 3 * r + c]
    return linear(quick_gelu(out), w, "up")


def network_by_hand(
    made: mmdg.Method, batch: Batch, kept: list[np.ndarray] | None = None, count: int = 0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Logits (B, 2), features (B, 18) and certainties (3, B) of the class tokens after the last layer, in float64, one
    sample at a time. Where `count` draws were made, `kept` holds for each layer how many keep each number."""
    w, o, size = by_name(made), made.options, len(batch)
    part = lambda prefix: {k[len(prefix) :]: v for k, v in w.items() if k.startswith(prefix)}  # noqa: E731
    logits, features, certainties = [], [], np.empty((3, size))
    for b in range(size):
        x = []
        for m, images_ in enumerate(batch.images):
            pixels, own = images_[b].numpy() * 127.5 / 128, m if o.embedding == "own" else 0
            tokens = [w[f"trunk.class_token.{m}"][0, 0]]
            for top, left in np.ndindex(3, 3):
                window = pixels[:, 4 * top : 4 * top + 4, 4 * left : 4 * left + 4]
                kernel = w[f"trunk.conv_proj.{own}.weight"]
                tokens.append((kernel * window).sum((1, 2, 3)) + w[f"trunk.conv_proj.{own}.bias"])
            x.append(np.stack(tokens) + w[f"trunk.pos_embedding.{m}"][0])
        for layer in range(2):
            of = part(f"trunk.layers.encoder_layer_{layer}.")
            certain, y = [], []
            for m in range(3):
                attended = self_attention(normalised(x[m], of, "ln_1"), of, "self_attention")
                if kept is None:
                    deviation = np.abs(attended) * math.sqrt(o.drop / (1 - o.drop))
                else:
                    k = kept[layer][m * size + b]
                    draws = np.arange(count)[:, None, None] < k  # the order of the draws does not matter
                    deviation = (draws * attended / (1 - o.drop)).std(0, ddof=1)
                certain.append(np.exp(-o.steepness * deviation ** (2 if o.spread == "variance" else 1)).mean(-1))
                x[m] = x[m] + attended
                y.append(normalised(x[m], of, "ln_2"))
            for m in range(3):
                hidden = linear(y[m], of, "mlp.0")
                hidden = hidden * (1 + np.vectorize(math.erf)(hidden / math.sqrt(2))) / 2
                x[m] = x[m] + linear(hidden, of, "mlp.3")
            for number, (m, n) in enumerate(PAIRS):
                weights = part(f"adapters.{4 * layer + number}.")
                x[m] = x[m] + adapted(y[m], y[n], certain[n], weights, o.tempered == "weights")
        features.append(np.hstack([normalised(x[m][0], w, "trunk.ln") for m in range(3)]))
        logits.append(linear(features[-1], w, "classes"))
        certainties[:, b] = [of_modality[0] for of_modality in certain]
    return np.stack(logits), np.stack(features), certainties


def is_by_hand(output: mmdg.Output, expected: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    logits, features, certainties = expected
    for got, wanted in zip(output, (logits, features, certainties.T), strict=True):
        np.testing.assert_allclose(got.detach().numpy(), wanted, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize(
    "chosen",
    [
        {},
        {"embedding": "own"},
        {"spread": "variance", "tempered": "weights"},
        {"steepness": 0.7, "drop": 0.6, "preset": "described"},
    ],
)
def test_the_network_is_the_one_written_down(chosen: dict[str, Any]) -> None:
    made, batch = method(1, **chosen), samples(1, 2)
    is_by_hand(made.forward(batch), network_by_hand(made, batch))


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("draws", [0, 3, 20])
def test_draws_are_those_of_training_or_of_test(training: bool, draws: int) -> None:
    made, batch = method(2, draws=draws if training else 7, test_draws=7 if training else draws), samples(2, 2)
    made.network.train(training)
    for adapter in made.network.adapters:
        adapter.dropout.p = 0.0
    own = made.draws if training else made.test_draws
    own.manual_seed(11)
    generator = torch.Generator().manual_seed(11)
    shape = torch.zeros(6, TOKENS, 6, dtype=torch.float64)
    kept = [mmdg.kept_draws(shape, draws, 0.3, generator).numpy() for _ in range(2)] if draws else None
    is_by_hand(made.forward(batch), network_by_hand(made, batch, kept, draws))
    assert torch.equal(own.get_state(), generator.get_state())


def test_certainty_is_a_constant_to_the_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    made, batch, known = method(3), samples(3, 2), []
    usual = mmdg.MMDG.certainty_of

    def noted(self: mmdg.MMDG, tokens: Tensor, draws: torch.Generator) -> Tensor:
        known.append(usual(self, tokens, draws))
        return known[-1]

    trained = [p for p in made.network.parameters() if p.requires_grad]
    monkeypatch.setattr(mmdg.MMDG, "certainty_of", noted)
    first = torch.autograd.grad(made.forward(batch).logits.square().sum(), trained)
    constants = iter([x.detach().clone() for x in known])
    monkeypatch.setattr(mmdg.MMDG, "certainty_of", lambda *_: next(constants))
    second = torch.autograd.grad(made.forward(batch).logits.square().sum(), trained)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_adapters_give_nothing_at_first() -> None:
    torch.manual_seed(0)
    network = mmdg.MMDG(options(), 3).eval()
    pictures = images(4, 12)
    output = network(*pictures, torch.Generator())
    trunk = network.trunk(*(x * 127.5 / 128 for x in pictures))
    np.testing.assert_allclose(output.features.detach().numpy(), trunk.detach().numpy(), rtol=1e-4, atol=1e-5)
    assert [adapter.dropout.p for adapter in network.adapters] == [0.2] * 8


def test_depth_and_infrared_take_nothing_from_each_other() -> None:
    """In the only layer either reaches RGB's features and its own."""
    made, batch, other = method(5, depth=1), samples(5, 2), samples(6, 2)
    before = made.forward(batch).features.chunk(3, 1)
    for changed, reached in (
        (batch_of([batch.rgb, other.depth, batch.ir]), [True, True, False]),
        (batch_of([batch.rgb, batch.depth, other.ir]), [True, False, True]),
    ):
        after = made.forward(changed).features.chunk(3, 1)
        assert [not torch.equal(a, b) for a, b in zip(before, after, strict=True)] == reached


def test_a_score_is_the_samples_own_and_repeatable_unless_draws_are_made_at_test() -> None:
    batch = samples(7, 4)
    for test_draws in (0, 20):
        made = method(7, test_draws=test_draws)
        with torch.inference_mode():
            once, again = (made.predict(batch)[HEADLINE] for _ in range(2))
            alone = torch.cat([made.predict(batch[i : i + 1])[HEADLINE] for i in range(4)])
        assert torch.equal(once, again) == (test_draws == 0)
        assert torch.allclose(once, alone, rtol=1e-9) == (test_draws == 0)


# What trains


@pytest.mark.parametrize(
    ("chosen", "count", "trained"),
    [
        ({"preset": "released"}, 88_252_034, 8_513_666),
        ({"preset": "table"}, 87_070_850, 8_513_666),
        ({"preset": "described"}, 87_070_850, 968_066),
        ({"preset": "table", "trained": "all"}, 87_070_850, 87_070_850),
    ],
)
def test_parameter_counts(chosen: dict[str, Any], count: int, trained: int) -> None:
    with torch.device("meta"):
        made = mmdg.Method(mmdg.Options(index=Path(), run_dir=Path(), device="cpu", **chosen), CPU)
        made.domains = (0, 1, 2)
        network = made.build()
    assert isinstance(network, mmdg.MMDG)
    assert sum(p.numel() for p in network.parameters()) == count
    assert sum(p.numel() for p in network.parameters() if p.requires_grad) == trained
    assert [sum(p.numel() for p in adapter.parameters()) for adapter in network.adapters] == [20_072] * 48


@pytest.mark.parametrize("trunk", ["trains", "frozen"])
def test_the_optimiser_takes_what_trains(trunk: str) -> None:
    made, given = method(trunk=trunk, merged="owned"), []
    made.optimiser(SimpleNamespace(optimiser=given.extend))
    names = {name for name, p in made.network.named_parameters() if any(p is q for q in given)}
    every = {name for name, _ in made.network.named_parameters()}
    added = {name for name in every if not name.startswith("trunk.")}
    frozen = {name for name in every if "conv_proj" in name or "encoder_layer_0" in name}
    assert names == (added if trunk == "frozen" else every - frozen)
    assert len(given) == len(names)


# Its losses


def ssp(features: np.ndarray, prototypes: np.ndarray, classes: list[int]) -> float:
    losses = []
    for x, own in zip(features, classes, strict=True):
        distances = np.sqrt(((prototypes - x) ** 2).sum(1))
        losses.append(distances[own] + np.log(np.exp(-distances).sum()))
    return float(np.mean(losses))


@pytest.mark.parametrize("weight", [0.3, 2.0])
def test_losses_are_cross_entropy_and_each_modalitys_distance_from_its_prototypes(weight: float) -> None:
    made, batch = method(8, prototype_weight=weight), samples(8)
    output = made.forward(batch)
    losses = {name: float(value.detach()) for name, value in made.losses(output, batch).items()}
    logits, features, certainties = network_by_hand(made, batch)
    difference = logits[:, 0] - logits[:, 1]
    expected = {"classes": bce(-difference, batch.label.numpy()).mean()}
    classes = [0, 1, 0, 2, 0, 3]  # bona fide and attack in turn, of three data sets
    for m, name in enumerate(NAMES):
        own = features[:, 6 * m : 6 * m + 6]
        expected[f"prototypes_{name}"] = weight * ssp(own, by_name(made)["prototypes"][m], classes)
    expected["loss"] = sum(expected.values())
    expected |= {f"certain_{name}": certainties[m].mean() for m, name in enumerate(NAMES)}
    assert losses == pytest.approx(expected, rel=1e-9)
    np.testing.assert_allclose(made.scores(output)[HEADLINE].detach().numpy(), difference, rtol=1e-9, atol=1e-10)


def test_losses_of_bfloat16_are_float32() -> None:
    made, batch = method(9, draws=4), samples(9)
    made.network.float().train()
    batch = batch_of([x.float() for x in batch.images])
    with torch.autocast("cpu", torch.bfloat16):
        output = made.forward(batch)
    assert output.logits.dtype == torch.bfloat16
    assert {x.dtype for x in made.losses(output, batch).values()} == {torch.float32}


@pytest.mark.parametrize(
    ("domains", "chosen", "count"),
    [(3, {}, 4), (1, {}, 2), (2, {"preset": "released"}, 5), (3, {"prototypes": 3}, 4), (3, {"prototypes": 7}, 7)],
)
def test_there_is_a_prototype_for_bona_fide_and_for_each_data_set(
    domains: int, chosen: dict[str, Any], count: int
) -> None:
    made = method(domains=domains, **chosen)
    assert made.network.prototypes.shape == (3, count, 6)
    assert "prototypes" in made.network.state_dict()
    classes = made.classes(samples(0, 6, domains))
    assert classes.tolist() == [0, 1, 0, 2 if domains > 1 else 1, 0, 3 if domains > 2 else 1]
    made.losses(made.forward(samples(0, 6, domains)), samples(0, 6, domains))


# How their gradients meet


def owner(name: str, embedding: str) -> int | None:
    """The modality that a parameter belongs to, by its name."""
    parts = name.split(".")
    if parts[0] == "adapters":
        return (0, 0, 1, 2)[int(parts[1]) % 4]
    if parts[1] in ("class_token", "pos_embedding") or (parts[1] == "conv_proj" and embedding == "own"):
        return int(parts[2])
    return None


def projected(gradient: np.ndarray, base: np.ndarray, epsilon: float) -> np.ndarray:
    if not base.any():
        return gradient
    dot = (gradient * base).sum()
    along = dot / ((base**2).sum() + epsilon) * base
    return along if dot > 0 else gradient - along


def merged(gradients: list[np.ndarray], own: int, fastest: int, weights: list[float], epsilon: float) -> np.ndarray:
    one, two = (j for j in range(3) if j != own)
    if own == fastest:
        rest = gradients[one] + gradients[two]
        return rest + weights[own] * projected(gradients[own], rest, epsilon)
    mine = gradients[own]
    slow = (weights[j] * projected(gradients[j], mine, epsilon) for j in (one, two))
    return mine + sum(slow)


@pytest.mark.parametrize("fastest", [0, 1, 2])
@pytest.mark.parametrize(
    "chosen",
    [
        {},
        {"preset": "described"},
        {"preset": "released"},
        {"merged": "tokens"},
        {"trained": "all"},
        {"unowned": "none", "embedding": "own", "trained": "all"},
    ],
)
def test_each_parameter_gets_what_belongs_to_it(chosen: dict[str, Any], fastest: int) -> None:
    made, batch = method(10, **chosen, test_draws=0), samples(10)
    with torch.no_grad():
        own = made.forward(batch).features.chunk(3, 1)[fastest]
        made.network.prototypes[fastest, :4] = own[[0, 1, 3, 5]]  # one sample of each class
    losses = made.losses(made.forward(batch), batch)
    parts = [losses[f"prototypes_{name}"] for name in NAMES]
    assert int(torch.stack(parts).argmin()) == fastest
    trained = {name: p for name, p in made.network.named_parameters() if p.requires_grad}
    of_loss = [
        torch.autograd.grad(loss, [*trained.values()], retain_graph=True, allow_unused=True, materialize_grads=True)
        for loss in (losses["classes"], *parts)
    ]
    made.backward(losses)
    weights, o = [float(losses[f"certain_{name}"]) for name in NAMES], made.options
    for place, (name, parameter) in enumerate(trained.items()):
        plain, *others = (g[place].numpy() for g in of_loss)
        own_place = owner(name, o.embedding)
        if own_place is not None and (o.merged == "owned" or "token" in name or "pos_" in name):
            expected = plain + merged(others, own_place, fastest, weights, o.merge_epsilon)
        else:
            expected = plain + (sum(others) if o.unowned == "sum" else 0)
        assert parameter.grad is not None
        np.testing.assert_allclose(parameter.grad.numpy(), expected, rtol=1e-8, atol=1e-12, err_msg=name)
    assert all(p.grad is None for p in made.network.parameters() if not p.requires_grad)


def test_in_the_released_code_no_prototype_reaches_an_adapter() -> None:
    gradients = []
    for weight in (0.0, 0.3):
        made, batch = method(11, preset="released", test_draws=0, prototype_weight=weight), samples(11)
        made.backward(made.losses(made.forward(batch), batch))
        gradients.append({name: p.grad for name, p in made.network.named_parameters() if p.requires_grad})
    reached = {name for name, gradient in gradients[0].items() if not torch.equal(gradient, gradients[1][name])}
    assert reached == {f"trunk.{part}.{m}" for part in ("class_token", "pos_embedding") for m in range(3)}


# Its prototypes


class Split:
    """A training split of eight frames as the harness gives it; remembers which were asked for."""

    def __init__(self) -> None:
        self.batch, self.train = samples(12, 8), np.arange(8) + 100
        self.asked: list[int] = []

    def stream(self, rows: np.ndarray) -> list[Batch]:
        self.asked += rows.tolist()
        return [self.batch[torch.from_numpy(rows[i : i + 3] - 100)] for i in range(0, len(rows), 3)]

    def arithmetic(self) -> Any:
        return nullcontext()


@pytest.mark.parametrize(("share", "count"), [(0.5, 4), (0.6, 5), (1.0, 8)])
@pytest.mark.parametrize(("epoch", "memory"), [(0, 0.2), (1, 0.2), (3, 0.6)])
def test_prototypes_are_means_of_a_random_share_and_remember(
    share: float, count: int, epoch: int, memory: float
) -> None:
    made, split = method(12, prototype_share=share, prototype_memory=memory), Split()
    old = made.network.prototypes.numpy().copy()
    made.network.train()
    made.draws.manual_seed(5)
    made.before_epoch(epoch, split)
    assert made.network.training
    chosen = torch.randperm(8, generator=torch.Generator().manual_seed(5))[:count].tolist()
    assert split.asked == [100 + i for i in chosen]
    _, features, _ = network_by_hand(made, split.batch)
    classes = [0, 1, 0, 2, 0, 3, 0, 1]
    for m in range(3):
        for number in range(4):
            own = [features[i, 6 * m : 6 * m + 6] for i in chosen if classes[i] == number]
            new = np.mean(own, 0) if own else np.zeros(6)
            expected = memory * old[m, number] + (1 - memory) * new if epoch else new
            np.testing.assert_allclose(made.network.prototypes[m, number].numpy(), expected, rtol=1e-9, atol=1e-10)


def test_prototypes_of_the_released_code_beyond_its_data_sets_stay_zero() -> None:
    made = method(13, preset="released", test_draws=0)
    made.network.prototypes.zero_()
    for epoch in range(2):
        made.before_epoch(epoch, Split())
    assert not made.network.prototypes[:, 4].any()


# Its training and options


def test_batches_are_balanced_or_shuffled_and_the_rate_stays() -> None:
    training = SimpleNamespace(sampler="everybody's", train=np.arange(10))
    assert method().sampler(training) == "everybody's"
    shuffled = method(preset="released").sampler(training)
    assert isinstance(shuffled, ShuffledSampler)
    assert (shuffled.count, shuffled.batch_size, shuffled.seed) == (10, 16, 0)
    optimiser = torch.optim.SGD([torch.zeros(1)], lr=0.5)
    method().schedule(optimiser, samples(), training)
    assert optimiser.param_groups[0]["lr"] == 0.5


def test_presets_part_where_their_sources_do() -> None:
    table, described, released = (options(preset=preset) for preset in ("table", "described", "released"))
    assert [(x.draws, x.test_draws) for x in (table, described, released)] == [(20, 0), (20, 0), (20, 20)]
    assert [x.spread for x in (table, described, released)] == ["deviation", "variance", "deviation"]
    assert [x.trunk for x in (table, described, released)] == ["trains", "frozen", "trains"]
    assert [x.positions for x in (table, described, released)] == ["anew", "kept", "anew"]
    assert [x.embedding for x in (table, described, released)] == ["shared", "shared", "own"]
    assert [x.merged for x in (table, described, released)] == ["owned", "owned", "tokens"]
    assert [x.unowned for x in (table, described, released)] == ["sum", "sum", "none"]
    assert [x.prototypes for x in (table, described, released)] == [0, 0, 5]
    assert [x.sampling for x in (table, described, released)] == ["balanced", "balanced", "shuffled"]
    for x in (table, described, released):
        assert (x.drop, x.steepness, x.tempered, x.trained) == (0.3, 2.25, "logits", "last")
        assert (x.prototype_weight, x.prototype_share, x.prototype_memory) == (0.3, 0.5, 0.2)
        assert (x.learning_rate, x.weight_decay, x.batch_size, x.epochs) == (5e-5, 5e-5, 16, 80)
        assert (x.optimiser, x.augmentation, x.protocol, x.weights) == ("adam_l2", "flip", "official", "none")
        x.check()


@pytest.mark.parametrize(
    ("chosen", "sentence"),
    [
        ({"draws": -1}, "--draws -1: give at least 0"),
        ({"draws": 1}, "--draws 1: one draw has no deviation; give at least 2, or 0 for what to expect"),
        ({"test_draws": 1}, "--test-draws 1: one draw has no deviation; give at least 2, or 0 for what to expect"),
        ({"test_draws": -2}, "--test-draws -2: give at least 0"),
        ({"drop": 1.0}, "--drop 1.0: it is a probability; give a number from 0 to below 1"),
        ({"drop": -0.1}, "--drop -0.1: it is a probability; give a number from 0 to below 1"),
        ({"steepness": -1.0}, "--steepness -1.0: give at least 0"),
        ({"prototype_weight": -0.1}, "--prototype-weight -0.1: give at least 0"),
        ({"prototypes": -1}, "--prototypes -1: give at least 0"),
        ({"prototype_share": 0.0}, "--prototype-share 0.0: it is a share; give a number above 0, at most 1"),
        ({"prototype_share": 1.5}, "--prototype-share 1.5: it is a share; give a number above 0, at most 1"),
        ({"prototype_memory": 1.0}, "--prototype-memory 1.0: it is a share; give a number from 0 to below 1"),
        ({"prototype_memory": -0.5}, "--prototype-memory -0.5: it is a share; give a number from 0 to below 1"),
        (
            {"merged": "tokens", "trunk": "frozen"},
            "--merged tokens: no token trains with --trunk frozen; give --merged owned",
        ),
        ({"width": 7}, "--width 7: give a multiple of --heads 2"),
    ],
)
def test_options_that_cannot_be_are_refused_in_one_sentence(chosen: dict[str, Any], sentence: str) -> None:
    with pytest.raises(BadInput) as refused:
        options(**chosen).check()
    assert str(refused.value) == sentence


def test_the_ends_of_what_options_may_be() -> None:
    options(draws=2, drop=0.0, prototype_share=1.0, prototype_memory=0.0, steepness=0.0, prototype_weight=0.0).check()
    options(merged="tokens", trunk="trains").check()
