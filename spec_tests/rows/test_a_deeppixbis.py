"""A-DeepPixBis: what its network computes from the encoder's features, what its readings change, what it refuses."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from data_manifests.errors import BadInput
from reference.rivals import a_deeppixbis
from reference.rivals.a_deeppixbis import ADeepPixBis, Method, Options
from reference.rivals.blocks import pixel_wise
from reference.runs import HEADLINE
from spec_tests.support.networks import batch_of, images, scrambled, torch_settings_kept

BATCH = 3


@pytest.fixture(autouse=True)
def torch_settings() -> Iterator[None]:
    with torch_settings_kept():
        yield


def options(**changes: Any) -> Options:
    return Options(**{"index": Path(), "run_dir": Path(), "device": "cpu", "image_size": 32, "batch_size": 4} | changes)


def method_of(**changes: Any) -> Method:
    return Method(options(**changes), torch.device("cpu"))


def output(seed: int = 0, reach: float = 1.0) -> tuple[Tensor, Tensor, Tensor]:
    """Cosines of maps (B, 2, 2) and images (B,), and what the cells count (4,)."""
    rng = np.random.default_rng(seed)
    parts = rng.uniform(-reach, reach, (BATCH, 2, 2)), rng.uniform(-reach, reach, BATCH), rng.normal(size=4)
    cells, image, attention = (torch.from_numpy(x) for x in parts)
    return cells, image, attention


LABEL = torch.tensor([0.0, 1.0, 1.0], dtype=torch.float64)


# The network


@pytest.fixture(scope="module")
def trained() -> ADeepPixBis:
    """Weights as after some training: random, and directions of length 3."""
    model = scrambled(ADeepPixBis(32), 4).eval()
    with torch.no_grad():
        for layer in (model.map.direction, model.image):
            layer.weight.mul_(3 / layer.weight.norm())
    return model


@pytest.fixture(params=[True, False], ids=["unit", "free"])
def model(trained: ADeepPixBis, request: pytest.FixtureRequest) -> ADeepPixBis:
    trained.normalise = trained.map.normalise = request.param
    return trained


def passed_through(model: ADeepPixBis, *pictures: Tensor) -> tuple[a_deeppixbis.Output, dict[str, tuple[Any, Tensor]]]:
    """The network's output, and what went in and out of its encoder and its embedding."""
    seen = {}

    def watch(name: str) -> Callable[[nn.Module, Any, Tensor], None]:
        return lambda _, given, out: seen.update({name: (given[0], out)})

    hooks = [getattr(model, name).register_forward_hook(watch(name)) for name in ("encoder", "embedding")]
    with torch.inference_mode():
        out = model(*pictures)
    for hook in hooks:
        hook.remove()
    return out, seen


def cosines(vectors: np.ndarray, direction: Tensor, normalise: bool) -> np.ndarray:
    """(…,) of vectors (…, C)."""
    towards = direction.detach().double().numpy().ravel()
    length = np.linalg.norm(towards) if normalise else 1.0
    return vectors @ towards / np.linalg.norm(vectors, axis=-1) / length


def test_both_branches_against_float64(model: ADeepPixBis) -> None:
    rgb, depth, ir = images(5, 32)
    (cells, image, attention), seen = passed_through(model, rgb, depth, ir)
    torch.testing.assert_close(seen["encoder"][0], model.input(rgb), rtol=0, atol=0)
    x = seen["encoder"][1].double().numpy()
    w = {name: value.double().numpy() for name, value in model.state_dict().items()}
    expected = cosines(np.moveaxis(x, 1, -1), model.map.direction.weight, model.normalise)
    np.testing.assert_allclose(cells.numpy(), expected, rtol=1e-4, atol=1e-5)
    plane = np.einsum("bcyx,c->byx", x, w["plane.weight"].ravel()) + w["plane.bias"]
    embedding = plane.reshape(2, 4) @ w["embedding.weight"].T + w["embedding.bias"]
    expected = cosines(embedding, model.image.weight, model.normalise)
    np.testing.assert_allclose(image.numpy(), expected, rtol=1e-4, atol=1e-5)
    assert attention is model.map.attention


def test_cosines_keep_float32_in_any_arithmetic(model: ADeepPixBis) -> None:
    with torch.autocast("cpu", torch.bfloat16):
        (cells, image, _), seen = passed_through(model, *images(6, 32))
    features, embedding = (seen[name][1] for name in ("encoder", "embedding"))
    assert features.dtype == embedding.dtype == torch.bfloat16
    expected = cosines(np.moveaxis(features.double().numpy(), 1, -1), model.map.direction.weight, model.normalise)
    np.testing.assert_allclose(cells.numpy(), expected, rtol=1e-5, atol=1e-6)
    expected = cosines(embedding.double().numpy(), model.image.weight, model.normalise)
    np.testing.assert_allclose(image.numpy(), expected, rtol=1e-5, atol=1e-6)


def test_all_cells_count_alike_at_first() -> None:
    assert a_deeppixbis.CosineMap(4, True).attention.tolist() == [1.0] * 4


@pytest.mark.parametrize("direction", ["unit", "free"])
def test_the_option_decides_whether_directions_have_length_1(direction: str) -> None:
    with torch.device("meta"):
        made = method_of(direction=direction).build()
    assert isinstance(made, ADeepPixBis)
    assert made.normalise == made.map.normalise == (direction == "unit")


# The loss


def binary_cross_entropy(cosine: float, attack: bool, margin: float, side: str) -> float:
    theta = np.arccos(cosine)
    if attack:
        return float(-np.log(1 - 1 / (1 + np.exp(-np.cos(theta - margin * (side != "bona_fide"))))))
    return float(-np.log(1 / (1 + np.exp(-np.cos(theta + margin * (side != "attack"))))))


@pytest.mark.parametrize("side", ["bona_fide", "attack", "both"])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize(("balance", "margin"), [(0.5, 0.5), (0.2, 0.3)])
def test_the_loss_is_both_branches_costs(side: str, reduction: str, balance: float, margin: float) -> None:
    cells, image, attention = output()
    costs = np.array(
        [
            [binary_cross_entropy(float(c), bool(y), margin, side) for c in (*of_cells.flatten(), of_image)]
            for of_cells, of_image, y in zip(cells, image, LABEL, strict=True)
        ]
    )
    weights = np.exp(attention.numpy()) / np.exp(attention.numpy()).sum()
    of_map = (costs[:, :4] @ weights).sum() / (BATCH if reduction == "mean" else 1)
    of_image = costs[:, 4].mean()
    expected = {"loss": balance * of_image + (1 - balance) * of_map, "image": of_image, "map": of_map}
    found = a_deeppixbis.loss((cells, image, attention), LABEL, balance, margin, side, reduction)
    assert {name: value.item() for name, value in found.items()} == pytest.approx(expected, rel=1e-9)
    made = method_of(balance=balance, margin=margin, margin_side=side, map_reduction=reduction)
    by_method = made.losses((cells, image, attention), replace(batch_of(images(0, 2, BATCH)), label=LABEL))
    assert {name: value.item() for name, value in by_method.items()} == pytest.approx(expected, rel=1e-9)


def test_the_loss_never_falls_below_its_floor() -> None:
    """At best 0.348 for a bona fide sample and 0.313 for an attack, in either branch."""
    for attack, floor in ((False, 0.3476), (True, 0.3133)):
        best = torch.full((2, 2, 2), -1.0 if attack else 1.0), torch.full((2,), -1.0 if attack else 1.0), torch.ones(4)
        for part in a_deeppixbis.loss(best, torch.full((2,), float(attack))).values():
            assert part.item() == pytest.approx(floor, abs=3e-4)


def test_released_is_as_the_code_is_and_table_as_the_formulas_are() -> None:
    declared = {p: options(preset=p) for p in ("table", "described", "released")}
    assert {p: (o.direction, o.map_reduction) for p, o in declared.items()} == {
        "table": ("unit", "mean"),
        "described": ("unit", "mean"),
        "released": ("free", "sum"),
    }


def test_what_is_clamped_has_a_cost_without_gradient() -> None:
    cells, image, attention = output(1, reach=3.0)
    cells.requires_grad_()
    made = a_deeppixbis.loss((cells, image, attention), LABEL)["loss"]
    (gradient,) = torch.autograd.grad(made, cells)
    assert ((gradient != 0) == (cells.abs() < 1)).all()


# Scores, views, the rate


@pytest.mark.parametrize("kind", ["pixel_mean", "binary", "combined"])
def test_scores(kind: str) -> None:
    cells, image, attention = output(2)
    probabilities = 1 / (1 + np.exp(-cells.numpy())), 1 / (1 + np.exp(-image.numpy()))
    mean = probabilities[0].reshape(BATCH, 4).mean(1)
    expected = {"pixel_mean": mean, "binary": probabilities[1], "combined": (mean + probabilities[1]) / 2}[kind]
    (found,) = method_of(score=kind).scores((cells, image, attention)).values()
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-5)
    assert list(method_of().scores((cells, image, attention))) == [HEADLINE]
    np.testing.assert_allclose(method_of().scores((cells, image, attention))[HEADLINE].numpy(), mean, rtol=1e-5)
    np.testing.assert_allclose(pixel_wise.score(cells, image).numpy(), mean, rtol=1e-5)


class FakeTraining:
    """What a row asks of the loop."""

    def __init__(self) -> None:
        self.rates = 0

    def augment(self, batch: Any) -> Any:
        return batch

    def set_rate(self, optimiser: Any) -> None:
        self.rates += 1


@pytest.mark.parametrize(("jitter", "changes"), [(0.0, False), (0.15, True)])
def test_jitter_changes_rgb_alone(jitter: float, changes: bool) -> None:
    made = method_of(jitter=jitter)
    made.draws = torch.Generator().manual_seed(0)
    batch = batch_of(images(3, 4))
    seen = made.views(batch, FakeTraining())  # type: ignore[arg-type]
    assert torch.equal(seen.rgb, batch.rgb) != changes
    assert seen.depth is batch.depth
    assert seen.ir is batch.ir


@pytest.mark.parametrize(("rate", "times"), [("cosine", 1), ("constant", 0)])
def test_a_constant_rate_is_left_alone(rate: str, times: int) -> None:
    training = FakeTraining()
    method_of(rate=rate).schedule(SimpleNamespace(), batch_of(images(3, 4)), training)  # type: ignore[arg-type]
    assert training.rates == times


# What it refuses


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"image_size": 40}, "--image-size 40: this network needs a multiple of 16"),
        ({"margin": -0.1}, "--margin -0.1: it is an angle"),
        ({"margin": 4.0}, "--margin 4.0: it is an angle"),
        ({"margin": float("nan")}, "--margin nan: give a finite number"),
        ({"balance": 1.5}, "--balance 1.5: it is a share"),
        ({"jitter": -0.5}, "--jitter -0.5: it is a share"),
    ],
)
def test_options_that_cannot_be_used_are_refused(change: dict[str, Any], sentence: str) -> None:
    options().check()
    with pytest.raises(BadInput, match=sentence):
        options(**change).check()
