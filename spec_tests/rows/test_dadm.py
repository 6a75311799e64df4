"""DADM: its network, prototypes, losses, merged gradients and hyperplanes."""

import math
from dataclasses import replace
from itertools import product
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import torchvision.models
from torch import Tensor, nn

from data_manifests.errors import BadInput
from reference.batches import Batch, ShuffledSampler
from reference.rivals import dadm, method
from reference.rivals.blocks import flex_modal
from reference.rivals.blocks.aligned_heads import aligned_heads
from reference.rivals.blocks.infrared_stack import infrared_stack
from reference.rivals.blocks.start import FRESH, Start
from reference.runs import HEADLINE
from spec_tests.support.networks import batch_of, images, scrambled

CPU = torch.device("cpu")
SMALL = {"image_size": 12, "patch": 4, "width": 6, "depth": 2, "heads": 2, "interaction": 4, "adapter": 3}
PAIRS = [(0, 1), (0, 2), (1, 2)]


def options(**chosen: Any) -> dadm.Options:
    return dadm.Options(index=Path(), run_dir=Path(), **(SMALL | chosen))


def network(sources: int = 3, begun: Start = FRESH, **chosen: Any) -> dadm.Dadm:
    torch.manual_seed(0)
    return dadm.Dadm(options(**chosen), sources, begun)


def varied(model: nn.Module, seed: int = 1) -> nn.Module:
    """Random weights, and random statistics of batch norm."""
    scrambled(model, seed)
    draws = torch.Generator().manual_seed(seed)
    for norm in model.modules():
        if isinstance(norm, nn.BatchNorm2d):
            assert norm.running_mean is not None
            assert norm.running_var is not None
            norm.running_mean.normal_(generator=draws)
            norm.running_var.uniform_(0.5, 2, generator=draws)
    return model


def built(domains: tuple[int, ...] = (0, 1, 2), **chosen: Any) -> dadm.Method:
    """The method with a network of random weights, in training mode."""
    made = dadm.Method(options(**chosen), CPU)
    made.domains, made.draws = domains, torch.Generator().manual_seed(3)
    made.network = made.build().train()
    varied(made.network)
    return made


def float64(pictures: list[Tensor]) -> list[Tensor]:
    return [x.double() for x in pictures]


# The network


def numbers(model: nn.Module) -> dict[str, np.ndarray]:
    return {name: x.numpy() for name, x in model.state_dict().items()}


def below(w: dict[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    return {name.removeprefix(prefix): x for name, x in w.items() if name.startswith(prefix)}


def layer_norm(x: np.ndarray, w: dict[str, np.ndarray]) -> np.ndarray:
    centred = x - x.mean(-1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-6) * w["weight"] + w["bias"]


def convolved(x: np.ndarray, kernel: np.ndarray, bias: np.ndarray | float = 0.0, depthwise: bool = False) -> np.ndarray:
    """(C, H, W) by kernels (O, C, k, k), or by one (C, 1, k, k) for each channel, zeros around the map."""
    reach = kernel.shape[-1] // 2
    framed = np.pad(x, ((0, 0), (reach, reach), (reach, reach)))
    out = np.empty((len(kernel), *x.shape[1:]))
    for o, row, column in np.ndindex(*out.shape):
        window = framed[:, row : row + 2 * reach + 1, column : column + 2 * reach + 1]
        out[o, row, column] = (kernel[o] * (window[o : o + 1] if depthwise else window)).sum()
    return out + np.reshape(bias, (-1, 1, 1))


def stage(x: np.ndarray, w: dict[str, np.ndarray], first: int, depthwise: bool = False) -> np.ndarray:
    """A convolution and the batch norm behind it, by running statistics."""
    x = convolved(x, w[f"{first}.weight"], w[f"{first}.bias"], depthwise)
    mean, variance, scale, shift = (
        w[f"{first + 1}.{name}"][:, None, None] for name in ("running_mean", "running_var", "weight", "bias")
    )
    return (x - mean) / np.sqrt(variance + 1e-5) * scale + shift


def relu(x: np.ndarray) -> np.ndarray:
    return np.maximum(x, 0)


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def masked(first: np.ndarray, second: np.ndarray, w: dict[str, np.ndarray]) -> tuple[list[np.ndarray], np.ndarray]:
    """What a mask makes of a sample's two attention outputs (1 + N, C): both views, and both information tokens."""
    meet, weigh = below(w, "meet."), below(w, "weigh.")
    both = np.hstack([first, second])  # (1 + N, 2 C)
    maps = both[1:].T.reshape(both.shape[1], 3, 3)
    met = relu(stage(relu(stage(relu(stage(maps, meet, 0, depthwise=True)), meet, 3)), meet, 6))
    mask = sigmoid(stage(relu(stage(relu(stage(met, weigh, 0)), weigh, 3)), weigh, 6))
    of_class = w["meet_class.weight"] @ both[0] + w["meet_class.bias"]
    learnt = np.vstack([of_class, met.reshape(len(met), -1).T])
    kept = np.vstack([both[:1], both[1:] * mask.reshape(len(mask), -1).T])
    width, half = first.shape[1], learnt.shape[1] // 2
    views = []
    for place in (0, 1):
        own = kept[:, place * width : (place + 1) * width]
        taken = learnt[:, place * half : (place + 1) * half]
        views.append(np.hstack([own, taken]) @ w[f"join.{place}.weight"].T + w[f"join.{place}.bias"])
    return views, kept.mean(0).reshape(2, width)


def quick_gelu(x: np.ndarray) -> np.ndarray:
    return x * sigmoid(1.702 * x)


def adapted(x: np.ndarray, w: dict[str, np.ndarray]) -> np.ndarray:
    narrow = quick_gelu(x @ w["down.weight"].T + w["down.bias"])
    kernel, maps = w["convolution.weight"], narrow[1:].T.reshape(-1, 3, 3)
    out = []
    for cells in (narrow[0][:, None, None], maps):
        difference = convolved(cells, kernel) - 0.7 * convolved(cells, kernel.sum((2, 3), keepdims=True))
        out.append(difference.reshape(len(difference), -1).T)
    return quick_gelu(np.vstack(out)) @ w["up.weight"].T + w["up.bias"]


def attention(y: np.ndarray, w: dict[str, np.ndarray]) -> np.ndarray:
    qkv, heads = y @ w["in_proj_weight"].T + w["in_proj_bias"], []
    for first in (0, 3):
        q, k, v = (qkv[:, part + first : part + first + 3] for part in (0, 6, 12))
        weights = np.exp(q @ k.T / math.sqrt(3))
        heads.append(weights / weights.sum(1, keepdims=True) @ v)
    return np.hstack(heads) @ w["out_proj.weight"].T + w["out_proj.bias"]


def through(pictures: list[np.ndarray], w: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Features (3 C,) and information tokens (L, 3, 2, C) of one sample's images (3, S, S) as the trunk takes them."""
    streams, tokens = [], []
    for m, image in enumerate(pictures):
        x = [w[f"trunk.class_token.{m}"][0, 0]]
        for top, left in product(range(0, 12, 4), repeat=2):
            window = image[:, top : top + 4, left : left + 4]
            x.append((w["trunk.conv_proj.0.weight"] * window).sum((1, 2, 3)) + w["trunk.conv_proj.0.bias"])
        streams.append(np.stack(x) + w[f"trunk.pos_embedding.{m}"][0])
    for number in range(2):
        layer, added = below(w, f"trunk.layers.encoder_layer_{number}."), below(w, f"alignments.{number}.")
        attended = [attention(layer_norm(x, below(layer, "ln_1.")), below(layer, "self_attention.")) for x in streams]
        views: list[list[np.ndarray]] = [[], [], []]
        tokens.append([])
        for place, (first, second) in enumerate(PAIRS):
            pair, of_pair = masked(attended[first], attended[second], below(added, f"masks.{place}."))
            views[first].append(pair[0])
            views[second].append(pair[1])
            tokens[-1].append(of_pair)
        for m in range(3):
            x = streams[m] + attended[m]
            y = layer_norm(x, below(layer, "ln_2.")) @ layer["mlp.0.weight"].T + layer["mlp.0.bias"]
            y = y * (1 + np.vectorize(math.erf)(y / math.sqrt(2))) / 2
            streams[m] = x + y @ layer["mlp.3.weight"].T + layer["mlp.3.bias"]
            streams[m] += adapted((views[m][0] + views[m][1]) / 2, below(added, f"adapters.{m}."))
    return np.hstack([layer_norm(x[0], below(w, "trunk.ln.")) for x in streams]), np.array(tokens)


def test_the_network_is_the_one_written_down() -> None:
    model, pictures = varied(network()).double().eval(), images(2, 12)
    with torch.inference_mode():
        features, tokens = model(*float64(pictures))
    assert tokens.shape == (2, 2, 3, 2, 6)
    for sample in range(2):
        pixels = [x[sample].double().numpy() * 127.5 / 128 for x in pictures]
        expected, of_pairs = through(pixels, numbers(model))
        np.testing.assert_allclose(features[sample].numpy(), expected, rtol=1e-9, atol=1e-10)
        np.testing.assert_allclose(tokens[sample].numpy(), of_pairs, rtol=1e-9, atol=1e-10)


def test_adapters_that_begin_at_zero_leave_the_trunk_as_it_is() -> None:
    fresh, pictures = network().double().eval(), float64(images(3, 12))
    scaled = [127.5 / 128 * x for x in pictures]
    with torch.inference_mode():
        torch.testing.assert_close(fresh(*pictures).features, fresh.trunk(*scaled), rtol=1e-12, atol=1e-12)
        varied(fresh.alignments)
        assert not torch.allclose(fresh(*pictures).features, fresh.trunk(*scaled), atol=1e-3)


def test_the_trunk_begins_from_weights_but_for_its_positions() -> None:
    theirs = scrambled(torchvision.models.VisionTransformer(12, 4, 2, 2, 6, 24), 3)
    trunk = network(begun=Start("vit_b_16", "FILE", "", theirs.state_dict())).trunk
    assert torch.equal(trunk.ln.weight, theirs.encoder.ln.weight)
    assert not torch.equal(trunk.pos_embedding[0], theirs.encoder.pos_embedding)


@pytest.mark.parametrize(
    ("sources", "chosen", "count", "trained"),
    [
        (3, {"preset": "released"}, 266_301_216, 187_744_032),
        (3, {"preset": "released", "embedding": "own"}, 267_482_400, 187_744_032),
        (3, {"preset": "table"}, 266_301_216, 187_744_032),
        (2, {"preset": "table"}, 266_296_608, 187_739_424),
        (2, {"preset": "released"}, 266_301_216, 187_744_032),
        (3, {"trained": "all"}, 266_301_216, 266_301_216),
        (3, {"preset": "described"}, 266_301_216, 180_198_432),
    ],
)
def test_parameter_counts(sources: int, chosen: dict[str, Any], count: int, trained: int) -> None:
    with torch.device("meta"):
        made = dadm.Dadm(dadm.Options(index=Path(), run_dir=Path(), **chosen), sources)
    assert sum(p.numel() for p in made.parameters()) == count
    assert sum(p.numel() for p in made.parameters() if p.requires_grad) == trained


def test_counts_of_its_parts() -> None:
    def count(part: nn.Module) -> int:
        return sum(p.numel() for p in part.parameters())

    with torch.device("meta"):
        made = dadm.Dadm(dadm.Options(index=Path(), run_dir=Path()), 3)
    mask = made.alignments[0].masks[0]
    parts = [count(part) for part in (mask.meet, mask.meet_class, mask.weigh, mask.join)]
    assert parts == [1_003_008, 393_472, 2_217_216, 1_377_792]
    assert [count(mask), count(made.alignments[0].adapters[0])] == [4_991_488, 13_640]
    assert [count(part) for part in (made.trunk, made.alignments, made.hyperplanes)] == [
        86_102_784,
        36 * 4_991_488 + 36 * 13_640,
        13_824,
    ]


@pytest.mark.parametrize(("sources", "wired"), [(1, (3, 5)), (2, (3, 5)), (3, (3, 5)), (5, (5, 6))])
def test_hyperplanes_and_prototypes_are_as_many_as_sources_or_as_the_code_has(
    sources: int, wired: tuple[int, int]
) -> None:
    for counts, expected in (("sources", (sources, 1 + sources)), ("wired", wired)):
        made = network(sources, counts=counts)
        assert (len(made.hyperplanes), made.prototypes.shape) == (expected[0], (3, expected[1], 6))
        assert not made.prototypes.any()


# Hyperplanes


def test_a_sample_is_judged_by_the_hyperplane_of_its_source_and_by_the_mean_of_all() -> None:
    made, place = network(), torch.tensor([2, 0, 2, 0])
    features = torch.randn(4, 18, generator=torch.Generator().manual_seed(0))
    own, mean = made.own_logits(features, place), made.mean_logits(features)
    weights = [hyperplane.weight.detach().double().numpy() for hyperplane in made.hyperplanes]
    for sample, source in enumerate(place.tolist()):
        z = features[sample].double().numpy()
        np.testing.assert_allclose(own[sample].detach(), weights[source] @ z, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(mean[sample].detach(), sum(w @ z for w in weights) / 3, rtol=1e-5, atol=1e-5)
    own.square().sum().backward()
    assert [hyperplane.weight.grad is None for hyperplane in made.hyperplanes] == [False, True, False]
    assert all(hyperplane.bias is None for hyperplane in made.hyperplanes)


def test_the_score_is_the_difference_under_the_mean() -> None:
    made, pictures = built(), images(4, 12)
    made.network.eval()
    with torch.inference_mode():
        features = made.network(*pictures).features
        score = made.predict(batch_of(pictures))[HEADLINE]
    weights = sum(hyperplane.weight.detach().double() for hyperplane in made.network.hyperplanes) / 3
    expected = features.double() @ (weights[0] - weights[1])
    np.testing.assert_allclose(score, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("domains", "counts"), [((0,), "sources"), ((0, 1), "wired"), ((0, 1, 2), "sources")])
def test_hyperplanes_turn_after_the_optimisers_step(domains: tuple[int, ...], counts: Any) -> None:
    batch, weights = batch_of(images(5, 12, 8), domains=len(domains)), []
    for alpha in (1.0, 0.7):
        made = built(domains, counts=counts, alpha=alpha, mode="evaluation")
        untouched = made.network.hyperplanes[-1].weight.clone()
        method.step(
            made, torch.optim.SGD(made.network.parameters(), lr=0.1), batch, torch.autocast("cpu", enabled=False)
        )
        weights.append(made.network.hyperplane_weights().detach())
    before, after = weights
    torch.testing.assert_close(after, aligned_heads(before, 0.7), rtol=1e-5, atol=1e-6)
    assert torch.allclose(before, after, atol=1e-5) == (len(domains) == 1)
    assert torch.allclose(before[-1], untouched, atol=1e-6) == (counts == "wired")


# Prototypes and modes


@pytest.mark.parametrize("mode", ["training", "evaluation"])
def test_prototypes_are_made_in_evaluation_before_the_steps_own_pass(mode: Any) -> None:
    made = built(mode=mode)
    pictures, label = images(6, 12, 6), torch.tensor([0.0, 1, 1, 0, 1, 1])
    batch = replace(batch_of(pictures, label), domain=torch.tensor([0, 0, 2, 1, 2, 0]))
    made.network.eval()
    with torch.no_grad():
        features = made.network(*pictures).features.unflatten(1, (3, 6))
    statistics = [x.clone() for name, x in made.network.named_buffers() if "running" in name]
    members = [[0, 3], [1, 5], [], [2, 4]]
    expected = torch.stack([features[rows].mean(0) if rows else torch.zeros(3, 6) for rows in members], 1)
    made.network.train()
    output = made.forward(batch)
    torch.testing.assert_close(made.network.prototypes, expected, rtol=1e-5, atol=1e-5)
    assert not made.network.prototypes.requires_grad
    assert output.features.requires_grad
    assert made.network.training == (mode == "training")
    same = [
        torch.equal(a, b)
        for a, (_, b) in zip(
            statistics, [(n, x) for n, x in made.network.named_buffers() if "running" in n], strict=True
        )
    ]
    assert same == [mode == "evaluation"] * len(same)
    assert torch.allclose(output.features, features.flatten(1), atol=1e-5) == (mode == "evaluation")
    # From the second epoch on a share of those before is kept.
    made.kept = 0.2
    made.network.eval()
    made.forward(replace(batch, label=1 - label))
    with torch.no_grad():
        again = made.network(*pictures).features.unflatten(1, (3, 6))
    members = [[1, 2, 4, 5], [0], [3], []]
    new = torch.stack([again[rows].mean(0) if rows else torch.zeros(3, 6) for rows in members], 1)
    torch.testing.assert_close(made.network.prototypes, 0.2 * expected + 0.8 * new, rtol=1e-5, atol=1e-5)
    assert not made.network.training


@pytest.mark.parametrize(("memory", "mixed_with"), [("own", [0, 1, 2]), ("crossed", [0, 2, 1])])
def test_prototypes_keep_those_of_their_modality_or_depths_of_infrareds_and_back(
    memory: Any, mixed_with: list[int]
) -> None:
    batch = batch_of(images(6, 12, 6))
    made = built(memory=memory, mode="evaluation")
    made.forward(batch)
    new = made.network.prototypes.clone()  # there was nothing to keep: the same for either
    old = torch.randn(new.shape, generator=torch.Generator().manual_seed(4))
    made.network.prototypes.copy_(old)
    made.kept = 0.25
    made.forward(batch)
    torch.testing.assert_close(made.network.prototypes, 0.25 * old[mixed_with] + 0.75 * new)


def test_the_rate_stays_and_prototypes_are_kept_from_the_second_epoch_on() -> None:
    made = built(kept=0.3)
    assert made.kept == 0
    optimiser: Any = SimpleNamespace(param_groups=[{"lr": 0.5}])
    for epoch, kept in ((0, 0.0), (1, 0.3), (2, 0.3), (0, 0.0)):
        made.schedule(optimiser, batch_of(images(0, 12)), SimpleNamespace(epoch=epoch))
        assert made.kept == kept
    assert optimiser.param_groups == [{"lr": 0.5}]


def test_prototypes_may_be_made_of_infrareds_grey_values_hog_and_plgf() -> None:
    pictures, found = images(6, 12, 6), []
    pictures[2] = pictures[2][:, :1].expand(-1, 3, -1, -1)
    for chosen, ir in (("plain", pictures[2]), ("stack", infrared_stack(pictures[2]))):
        made = built(mode="evaluation", prototype_infrared=chosen)
        output = made.forward(batch_of(pictures))
        with torch.no_grad():
            features = made.network(pictures[0], pictures[1], ir).features.unflatten(1, (3, 6))
            own = made.network(*pictures).features
        torch.testing.assert_close(output.features, own)
        torch.testing.assert_close(made.network.prototypes[:, 0], features[[0, 2, 4]].mean(0), rtol=1e-5, atol=1e-5)
        found.append(made.network.prototypes)
    assert not torch.allclose(*found, atol=1e-3)


def test_adapters_drop_out_a_tenth_in_training() -> None:
    adapter = dadm.Adapter(6, 500).train()
    seen: list[Tensor] = []
    adapter.up.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    torch.manual_seed(0)
    adapter(torch.randn(4, 10, 6, generator=torch.Generator().manual_seed(1)))
    assert (seen[0] == 0).float().mean().item() == pytest.approx(0.1, abs=0.02)


# Losses


def test_the_losses_are_those_of_their_parts() -> None:
    made = built((1, 4, 5), angle=0.7, prototype=0.4, information=0.3)
    draws = torch.Generator().manual_seed(1)
    features, tokens = (
        torch.randn(6, 18, generator=draws).double(),
        torch.randn(2, 3, 6, 2, 6, generator=draws).double(),
    )
    made.network.double()
    made.network.prototypes.normal_(generator=draws)
    label = torch.tensor([0.0, 1, 0, 1, 0, 1])
    batch = replace(batch_of(images(0, 12, 6), label), domain=torch.tensor([1, 1, 4, 4, 5, 5]))
    found = {name: x.item() for name, x in made.losses(dadm.Output(features, tokens.movedim(2, 0)), batch).items()}
    place, live = torch.tensor([0, 0, 1, 1, 2, 2]), label == 0
    weights = made.network.hyperplane_weights().detach()
    logits = torch.einsum("bd,bkd->bk", features, weights[place])
    classes = -logits.log_softmax(1)[range(6), label.long()].mean().item()
    angles = dadm.angle_loss(torch.stack(features.chunk(3, 1)), live, place).item()
    expected = {"loss": classes + 0.7 * angles, "classes": classes, "angles": angles}
    again = torch.Generator().manual_seed(3)
    for m, name in enumerate(("rgb", "depth", "infrared")):
        own = features[:, 6 * m : 6 * m + 6]
        distances = (own[:, None] - made.network.prototypes[m]).square().sum(2).sqrt()
        nearest = -(-distances).log_softmax(1)[range(6), [0, 1, 0, 2, 0, 3]].mean().item()
        bound = 0.0
        for of_layer in tokens[:, m]:
            orders = [torch.randperm(6, generator=again) for _ in range(2)]
            bound += dadm.information_bound(of_layer[:, 0], of_layer[:, 1], *orders).item()
        expected[name] = 0.4 * nearest + 0.3 * bound
        shares = [tokens[:, place, :, pair.index(m)].mean() for place, pair in enumerate(PAIRS) if m in pair]
        expected[f"information_{name}"] = (sum(shares) / 2).item()
    assert found == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("spread", [0.01, 0.1, 1.0])
def test_the_bound_of_tokens_that_hardly_differ_has_all_digits_of_float32(spread: float) -> None:
    draws = torch.Generator().manual_seed(2)
    a, b = (0.3 + spread * torch.randn(6, 40, generator=draws) for _ in range(2))
    orders = [torch.randperm(6, generator=draws) for _ in range(2)]
    bound, exact = dadm.information_bound(a, b, *orders), dadm.information_bound(a.double(), b.double(), *orders)
    assert (bound.dtype, exact.dtype) == (torch.float32, torch.float64)
    apart = ((a.double()[orders[0]] + b.double()[orders[1]]) / 2).flatten().tolist()
    mean = math.fsum(apart) / len(apart)
    expected = math.log1p(math.fsum(math.expm1(x - mean) for x in apart) / len(apart))
    assert exact.item() == pytest.approx(expected, rel=1e-9)
    assert bound.item() == pytest.approx(expected, rel=1e-6)


def test_information_is_no_way_for_gradients() -> None:
    made = built()
    batch = batch_of(images(1, 12, 6))
    found = made.losses(made.forward(batch), batch)
    assert {name: x.requires_grad for name, x in found.items()} == {
        name: not name.startswith("information") for name in found
    }


def test_losses_and_scores_are_computed_in_float32_at_least() -> None:
    made, batch = built(), batch_of(images(1, 12, 6))
    output = dadm.Output(torch.ones(6, 18, dtype=torch.bfloat16), torch.ones(2, 3, 6, 2, 6, dtype=torch.bfloat16))
    found = made.losses(output, batch) | made.scores(output)
    assert {x.dtype for x in found.values()} == {torch.float32}


# Gradients


def owners(model: dadm.Dadm) -> dict[str, int]:
    """The modality of each parameter that has one, by its name."""
    found = {}
    for name, _ in model.named_parameters():
        parts = name.split(".")
        if parts[1] in ("class_token", "pos_embedding") or (parts[1] == "conv_proj" and len(model.trunk.conv_proj) > 1):
            found[name] = int(parts[2])
        elif parts[0] == "alignments":
            found[name] = int(parts[3]) if parts[2] == "adapters" else [1, 2, 2][int(parts[3])]
    return found


@pytest.mark.parametrize(("embedding", "count"), [("shared", 216), ("own", 222)])
def test_whose_each_parameter_is(embedding: Any, count: int) -> None:
    made = network(embedding=embedding)
    name_of = {id(p): name for name, p in made.named_parameters()}
    found = [(name_of[id(p)], m) for p, m in made.owned(tokens_alone=False)]
    assert dict(found) == owners(made)
    assert len(found) == count
    tokens = [(name_of[id(p)], m) for p, m in made.owned(tokens_alone=True)]
    parts = ("class_token", "pos_embedding")
    assert tokens == [(f"trunk.{part}.{m}", m) for part in parts for m in range(3)]


def projected(gradient: np.ndarray, base: np.ndarray, epsilon: float) -> np.ndarray:
    if not base.any():
        return gradient
    dot = (gradient * base).sum()
    along = dot / ((base**2).sum() + epsilon) * base
    return along if dot > 0 else gradient - along


def guided(of_each: list[np.ndarray], own: int, information: np.ndarray, epsilon: float) -> np.ndarray:
    """The merged gradient of a parameter of modality `own`."""
    others = [m for m in range(3) if m != own]
    if information[own] == information.max():
        return of_each[own] + sum(information[m] * projected(of_each[m], of_each[own], epsilon) for m in others)
    rest = sum(of_each[m] for m in others)
    return rest + information[own] * projected(of_each[own], rest, epsilon)


@pytest.mark.parametrize("unowned", ["sum", "none"])
@pytest.mark.parametrize(
    ("merged", "trunk", "epsilon"),
    [("tokens", "trains", 1e-8), ("owned", "trains", 1e-8), ("owned", "trains", 0.0), ("owned", "frozen", 0.0)],
)
def test_what_is_added_to_the_gradient_of_the_loss(merged: Any, unowned: Any, trunk: Any, epsilon: float) -> None:
    made = built(merged=merged, unowned=unowned, trunk=trunk, mode="evaluation", angle=0.0, merge_epsilon=epsilon)
    made.network.double()
    batch = batch_of(float64(images(7, 12, 6)))
    batch = replace(batch, domain=batch.domain.clamp(max=1))
    found = made.losses(made.forward(batch), batch)
    trained = {name: p for name, p in made.network.named_parameters() if p.requires_grad}

    def gradients(loss: Tensor) -> dict[str, np.ndarray]:
        given = torch.autograd.grad(
            loss, [*trained.values()], retain_graph=True, allow_unused=True, materialize_grads=True
        )
        return {name: gradient.numpy() for name, gradient in zip(trained, given, strict=True)}

    of_loss, *of_each = (gradients(found[name]) for name in ("loss", "rgb", "depth", "infrared"))
    information = np.array([found[f"information_{name}"].item() for name in ("rgb", "depth", "infrared")])
    made.backward(found)
    whose = {name: m for name, m in owners(made.network).items() if merged == "owned" or name.split(".")[0] == "trunk"}
    for name, parameter in trained.items():
        if name == "hyperplanes.2.weight":  # its source is not in the batch
            assert parameter.grad is None
            continue
        expected, of_modalities = of_loss[name], [each[name] for each in of_each]
        if name in whose:
            expected = expected + guided(of_modalities, whose[name], information, epsilon)
        elif unowned == "sum":
            expected = expected + sum(of_modalities)
        if parameter.grad is None:
            assert not expected.any()
        else:
            np.testing.assert_allclose(parameter.grad.numpy(), expected, rtol=1e-8, atol=1e-12, err_msg=name)
    assert any("trunk" in name for name in trained) == (trunk == "trains")
    assert all(each["alignments.0.masks.0.weigh.0.weight"].any() for each in of_each)


# What training shows and optimises


def test_images_are_flipped_then_recoloured_then_dropped() -> None:
    pictures = images(8, 12, 5)

    def augment(batch: Batch) -> Batch:
        return replace(batch, rgb=batch.rgb.flip(-1), depth=batch.depth.flip(-1), ir=batch.ir.flip(-1))

    training: Any = SimpleNamespace(augment=augment)
    table = built().views(batch_of(pictures), training)
    assert all(torch.equal(a, b.flip(-1)) for a, b in zip(table.images, pictures, strict=True))
    for brightness, gamma in ((40, 0.5), (40, 0.0), (0, 0.5)):
        seen = built(brightness=brightness, gamma=gamma, drop_modality=0.4).views(batch_of(pictures), training).images
        draws = torch.Generator().manual_seed(3)
        rgb, depth, ir = (flex_modal.recoloured(x.flip(-1), brightness, gamma, draws) for x in pictures)
        depth, ir = flex_modal.drop_modalities(depth, ir, 0.4, draws)
        assert all(torch.equal(a, b) for a, b in zip(seen, (rgb, depth, ir), strict=True))
    dropped = built(drop_modality=1.0).views(batch_of(pictures), training)
    assert (dropped.depth == -1).all()
    assert (dropped.ir == -1).all()
    assert torch.equal(dropped.rgb, pictures[0].flip(-1))


def test_frames_are_shuffled_unless_batches_are_balanced() -> None:
    training: Any = SimpleNamespace(sampler="everybody's", train=np.arange(10))
    sampler = built(batch_size=4, seed=2, sampling="shuffled").sampler(training)
    assert isinstance(sampler, ShuffledSampler)
    assert (sampler.count, sampler.batch_size, sampler.seed) == (10, 4, 2)
    assert built().sampler(training) == "everybody's"


def test_what_is_frozen_is_not_optimised() -> None:
    made, given = built(), []
    made.optimiser(SimpleNamespace(optimiser=lambda parameters: given.extend(parameters)))
    assert len(given) == sum(p.requires_grad for p in made.network.parameters())
    assert len(given) < len([*made.network.parameters()])
    assert all(p.requires_grad for p in given)


# Its options


def test_presets_part_where_their_sources_do() -> None:
    table, described, released = (
        dadm.Options(index=Path(), run_dir=Path(), preset=preset) for preset in ("table", "described", "released")
    )
    for x in (table, described):
        assert (x.merged, x.unowned, x.mode, x.counts) == ("owned", "sum", "training", "sources")
        assert (x.angle, x.information, x.prototype_infrared) == (0.3, 0.1, "plain")
        assert x.memory == "own"
    assert (released.merged, released.unowned, released.mode, released.counts) == (
        "tokens",
        "none",
        "evaluation",
        "wired",
    )
    assert (released.angle, released.information, released.prototype_infrared) == (0.2, 0.15, "stack")
    assert released.memory == "crossed"
    assert [x.trunk for x in (table, described, released)] == ["trains", "frozen", "trains"]
    assert [x.positions for x in (table, described, released)] == ["anew", "kept", "anew"]
    assert [x.sampling for x in (table, described, released)] == ["balanced", "shuffled", "shuffled"]
    assert [(x.brightness, x.gamma) for x in (table, described, released)] == [(0, 0.0), (40, 0.5), (40, 0.5)]
    for x in (table, described, released):
        assert (x.trained, x.embedding, x.weights) == ("last", "shared", "none")
        assert (x.prototype, x.kept, x.alpha, x.drop_modality) == (0.3, 0.2, 0.995, 0)
        assert (x.optimiser, x.learning_rate, x.weight_decay, x.batch_size) == ("adam_l2", 5e-5, 5e-5, 16)
        assert (x.epochs, x.augmentation, x.protocol) == (80, "flip", "official")
        assert (x.interaction, x.adapter, x.image_size, x.missing_as) == (256, 8, 224, "black")
        x.check()


BETWEEN = "give a number from 0 to"


@pytest.mark.parametrize(
    ("chosen", "sentence"),
    [
        ({"interaction": 0}, "--interaction 0: give at least 2"),
        ({"interaction": 5}, "--interaction 5: give an even number, for either modality takes a half"),
        ({"adapter": 0}, "--adapter 0: give at least 1"),
        ({"angle": -0.1}, "--angle -0.1: give at least 0"),
        ({"information": -0.1}, "--information -0.1: give at least 0"),
        ({"prototype": -0.1}, "--prototype -0.1: give at least 0"),
        ({"kept": 1.1}, f"--kept 1.1: {BETWEEN} 1"),
        ({"alpha": -0.1}, f"--alpha -0.1: {BETWEEN} 1"),
        ({"drop_modality": 2.0}, f"--drop-modality 2.0: {BETWEEN} 1"),
        ({"brightness": 256}, f"--brightness 256: {BETWEEN} 255"),
        ({"gamma": 1.0}, f"--gamma 1.0: {BETWEEN} 0.99"),
        ({"width": 7}, "--width 7: give a multiple of --heads 2"),
        (
            {"merged": "tokens", "trunk": "frozen"},
            "--merged tokens: no token trains with --trunk frozen; give --merged owned",
        ),
        (
            {"patch": 12, "mode": "training"},
            "--patch 12: one patch is an image, and in a batch of one such image batch norm has nothing to normalise "
            "by; give at most 6, or --mode evaluation",
        ),
    ],
)
def test_options_that_cannot_be_are_refused_in_one_sentence(chosen: dict[str, Any], sentence: str) -> None:
    with pytest.raises(BadInput) as refused:
        options(**chosen).check()
    assert str(refused.value) == sentence


def test_the_ends_of_what_options_may_be() -> None:
    options(
        interaction=2, adapter=1, angle=0.0, information=0.0, prototype=0.0, kept=0.0, alpha=0.0, gamma=0.99
    ).check()
    options(kept=1.0, alpha=1.0, drop_modality=1.0, brightness=255, gamma=0.0).check()
    options(patch=12, mode="evaluation").check()
