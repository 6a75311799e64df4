"""SSDG: its network, what its loss is put together of, its rates."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torchvision.models import resnet18

from data_manifests.errors import BadInput
from reference.batches import Batch
from reference.rivals import ssdg
from reference.rivals.blocks.start import Start
from reference.runs import HEADLINE
from spec_tests.support.networks import batch_of, images, scrambled

CPU = torch.device("cpu")
SIZE = 32
DOMAINS = (2, 5, 9)  # the data sets' own numbers


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


def options(**chosen: Any) -> ssdg.Options:
    return ssdg.Options(index=Path(), run_dir=Path(), **({"image_size": SIZE, "width": 4} | chosen))


def network(**chosen: Any) -> ssdg.SSDG:
    """In float64 and in evaluation mode, with random weights."""
    model = ssdg.SSDG(options(**chosen), len(DOMAINS))
    scrambled(model, 1)
    return model.double().eval()


def method(**chosen: Any) -> ssdg.Method:
    made = ssdg.Method(options(**chosen), CPU)
    made.domains = DOMAINS
    made.network = network(**chosen)
    return made


def normal(seed: int, *shape: int) -> Tensor:
    """Standard normal numbers of this shape, in float64."""
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape))


def mixed(count: int = 12) -> Batch:
    """As many samples of each class of each data set."""
    rows = torch.arange(count)
    batch = batch_of([x.double() for x in images(3, SIZE, count)], (rows % 2).float())
    return replace(batch, domain=torch.tensor(DOMAINS)[rows // 2 % 3])


# The network


def test_the_trunk_sees_images_as_imagenet_has_them() -> None:
    model, (rgb, depth, ir) = network(stem="rgb"), [x.double() for x in images(4, SIZE)]
    mean, sd = (torch.tensor(x)[:, None, None] for x in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))
    torch.testing.assert_close(model.stem(rgb, depth, ir), ((rgb + 1) / 2 - mean) / sd)


@pytest.mark.parametrize("fourth", ["fresh", "begun"])
def test_the_fourth_stage_begins_afresh_or_like_the_others(fourth: str) -> None:
    state = resnet18().state_dict()
    model = ssdg.SSDG(options(fourth_stage=fourth, width=64), 3, Start("resnet18", "a file", "", state))
    weights = model.trunk.state_dict()
    assert torch.equal(weights["layer3.0.conv1.weight"], state["layer3.0.conv1.weight"])
    assert torch.equal(weights["layer4.0.conv1.weight"], state["layer4.0.conv1.weight"]) == (fourth == "begun")


@pytest.mark.parametrize("features", ["unit", "root", "off"])
@pytest.mark.parametrize("classifier", ["class", "input", "off"])
@pytest.mark.parametrize("weight_norm", ["gradient", "in_place"])
def test_what_stands_behind_the_trunk(features: str, classifier: str, weight_norm: str) -> None:
    model = network(features=features, classifier=classifier, weight_norm=weight_norm)
    model.trunk = Maps()
    w = {name: x.detach().clone().numpy() for name, x in model.state_dict().items()}
    pictures = [x.double() for x in images(5, SIZE)]
    with torch.inference_mode():
        output = model(*pictures)
    means = Maps()(model.stem(*pictures))[-1].detach().numpy().mean((2, 3))
    f = np.maximum(means @ w["feature.weight"].T + w["feature.bias"], 0)
    length = np.sqrt((f**2).sum(1, keepdims=True))
    f = {"unit": f / length, "root": f / np.sqrt(2 * length), "off": f}[features]
    weight = w["classes.weight"]
    if classifier != "off":
        weight = weight / np.sqrt((weight**2).sum({"class": 1, "input": 0}[classifier], keepdims=True))
    attack, bonafide = (f @ weight.T + w["classes.bias"]).T
    np.testing.assert_allclose(output.features.numpy(), f, rtol=1e-10)
    np.testing.assert_allclose(output.logits.numpy(), np.stack([bonafide, attack], 1), rtol=1e-8, atol=1e-10)
    replaced = weight if weight_norm == "in_place" else w["classes.weight"]
    np.testing.assert_array_equal(model.classes.weight.detach().numpy(), w["classes.weight"])
    model.train()(*pictures)
    np.testing.assert_allclose(model.classes.weight.detach().numpy(), replaced, rtol=1e-12)


class Maps(nn.Module):
    """Stands for the trunk: its last stage has 32 maps of 2 x 2 that differ with the image."""

    def forward(self, image: Tensor) -> list[Tensor]:
        scale = torch.linspace(-1, 1, 32, dtype=image.dtype)[:, None, None]
        last = (scale * image[:, :1, :2, :2] + scale**2 * image[:, 1:2, :2, :2]).sin()
        return [last.exp(), last]


@pytest.mark.parametrize("weight_norm", ["gradient", "in_place"])
def test_the_gradient_goes_through_the_weights_norm_or_past_it(weight_norm: str) -> None:
    model = network(weight_norm=weight_norm, classifier="class").train()
    weight, x = model.classes.weight, torch.linspace(-1, 1, 32, dtype=torch.float64)
    (nn.functional.linear(x, model.weight()) * torch.tensor([1.0, -2.0])).sum().backward()
    assert weight.grad is not None
    along = (weight.grad * weight.detach()).sum(1).abs()  # of a length that makes no difference
    assert (along < 1e-12).all() == (weight_norm == "gradient")
    if weight_norm == "in_place":
        torch.testing.assert_close(weight.grad, torch.tensor([[1.0], [-2.0]]).double() * x)


def test_features_and_the_head_of_data_sets_drop_out_in_training_alone() -> None:
    model, pictures = network(), [x.double() for x in images(6, SIZE)]
    with torch.inference_mode():
        features = model(*pictures).features
        assert torch.equal(features, model(*pictures).features)
        model.drop.train()
        assert ((model(*pictures).features == 0).double().mean() - (features == 0).double().mean()) > 0.1
        assert torch.equal(model.datasets(features), model.datasets(features))
        model.datasets.train()
        assert not torch.equal(model.datasets(features), model.datasets(features))


def test_half_drops_out_and_the_head_of_data_sets_has_one_rectified_layer() -> None:
    model = network()
    assert model.drop.p == model.datasets[2].p == 0.5
    features = torch.linspace(-2, 2, 96, dtype=torch.float64).reshape(3, 32)
    w = {name: x.numpy() for name, x in model.datasets.state_dict().items()}
    hidden = np.maximum(features.numpy() @ w["0.weight"].T + w["0.bias"], 0)
    with torch.no_grad():
        np.testing.assert_allclose(model.datasets(features).numpy(), hidden @ w["3.weight"].T + w["3.bias"], rtol=1e-9)


def test_features_are_normalised_in_float32_where_the_rest_is_not() -> None:
    model, pictures = network().float(), images(8, SIZE)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        features = model(*pictures).features
    assert features.dtype == torch.float32
    torch.testing.assert_close(features.norm(dim=1), torch.ones(2), rtol=1e-5, atol=0)


def test_training_shows_all_frames_or_the_seventh_of_each_recording() -> None:
    recording = np.array([4] * 8 + [2] * 3 + [9] * 7 + [5] * 7)
    bonafide, domain = np.array([True] * 8 + [False] * 17), np.array([0] * 25)
    bonafide[18:] = True
    faces = SimpleNamespace(recording=recording, bonafide=bonafide, domain=domain)
    training: Any = SimpleNamespace(train=np.arange(25), faces=faces, sampler="everybody's")
    assert method(frames="all").sampler(training) == "everybody's"
    sampler = method(frames="one", batch_size=4, steps=3).sampler(training)
    assert sampler.steps == 3
    shown = [places.tolist() for e in range(4) for places in sampler.epoch(e)]
    assert all(bonafide[places].sum() == 2 for places in shown)
    assert {place for places in shown for place in places} == {6, 10, 17, 24}


def test_linear_layers_begin_as_the_authors() -> None:
    model = ssdg.SSDG(options(width=64), 3)
    for layer, deviation, bias in (
        (model.feature, 0.005, 0.1),
        (model.classes, 0.01, 0),
        (model.datasets[0], 0.01, 0),
        (model.datasets[3], 0.3, 0),
    ):
        assert layer.weight.std().item() == pytest.approx(deviation, rel=0.1)
        assert torch.equal(layer.bias, torch.full_like(layer.bias, bias))


# The loss


def entropies(logits: np.ndarray, target: np.ndarray) -> np.ndarray:
    shifted = logits - logits.max(1, keepdims=True)
    return np.log(np.exp(shifted).sum(1)) - shifted[np.arange(len(target)), target]


@pytest.mark.parametrize("adversary", ["bona_fide", "all"])
def test_the_loss_is_the_classes_the_triplets_and_the_adversary(adversary: str) -> None:
    made = method(adversary=adversary, triplet_weight=3.0, adversarial_weight=0.2, margin=0.4)
    batch = mixed()
    output = ssdg.Output(normal(0, 12, 2), nn.functional.normalize(normal(1, 12, 32)))
    losses = {name: x.item() for name, x in made.losses(output, batch).items()}
    place, attack = np.arange(12) // 2 % 3, np.arange(12) % 2
    classes = np.where(attack, 1 + place, 0)
    f = output.features.numpy()
    distance = np.sqrt(((f[:, None] - f) ** 2).sum(2))
    terms = [
        distance[i, j] - distance[i, k] + 0.4
        for i, j, k in np.ndindex(12, 12, 12)
        if i != j and classes[i] == classes[j] != classes[k]
    ]
    with torch.no_grad():
        costs = entropies(made.network.datasets(output.features).numpy(), place)
    expected = {
        "classes": entropies(output.logits.numpy(), attack).mean(),
        "triplets": np.mean([t for t in terms if t > 0]),
        "adversarial": (costs if adversary == "all" else costs[attack == 0]).mean(),
    }
    for name, value in expected.items():
        assert losses[name] == pytest.approx(value, rel=1e-9), name
    total = expected["classes"] + 3.0 * expected["triplets"] + 0.2 * expected["adversarial"]
    assert losses["loss"] == pytest.approx(total, rel=1e-9)


def test_the_adversarys_gradient_is_turned_before_it_reaches_features_alone() -> None:
    made, batch = method(), replace(mixed(), progress=0.3)
    features = normal(2, 12, 32).requires_grad_()
    last = made.network.datasets[3].weight
    output = ssdg.Output(torch.zeros(12, 2).double(), features)
    loss = made.losses(output, batch)["adversarial"]
    of_features, of_head = torch.autograd.grad(loss, [features, last])
    live = batch.label == 0
    place = torch.arange(12) // 2 % 3
    plain = nn.functional.cross_entropy(made.network.datasets(features)[live], place[live])
    plain_features, plain_head = torch.autograd.grad(plain, [features, last])
    torch.testing.assert_close(of_features, -np.tanh(1.5) * plain_features)
    torch.testing.assert_close(of_head, plain_head)


def test_the_reversal_grows_with_the_share_done_or_with_passes_counted_from_1() -> None:
    share, counted = method(), method(reversal="counted", steps=10, epochs=30)
    for progress in (0.0, 0.25, 0.99):
        assert share.coefficient(progress) == pytest.approx(np.tanh(5 * progress))
    got = [counted.coefficient(step / 300) for step in range(300)]  # quotients to either side of whole numbers
    assert got == pytest.approx([np.tanh(5 * (step + 1) / 4000) for step in range(300)])


@pytest.mark.parametrize("domains", [(3,), (0, 7), (1, 2, 4, 8)])
def test_the_head_has_as_many_outputs_as_data_sets_train(domains: tuple[int, ...]) -> None:
    made = ssdg.Method(options(), CPU)
    made.domains = domains
    made.network = made.build().double()
    batch = mixed(8)
    batch = replace(batch, domain=torch.tensor(domains)[torch.arange(8) // 2 % len(domains)])
    losses = made.losses(made.forward(batch), batch)
    assert made.network.datasets[3].out_features == len(domains)
    assert (losses["adversarial"].item() == 0) == (len(domains) == 1)
    losses["loss"].backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in made.network.parameters())


def test_a_score_is_bona_fide_minus_attack() -> None:
    output = ssdg.Output(torch.tensor([[3.0, 1.0], [-1.0, 0.5]]), torch.zeros(2, 32))
    assert method().scores(output)[HEADLINE].tolist() == [2.0, -1.5]


# Its rates and options


@pytest.mark.parametrize(
    ("chosen", "rates"),
    [
        ({}, [0.01] * 150 + [0.001] * 250),
        ({"preset": "released"}, [0.001] * 150 + [0.0001] * 250),
        ({"rate": "as_run", "fall_after": 50, "learning_rate": 1.0}, [0.1] * 50 + [0.01] * 350),
        ({"fall_after": 0}, [0.001] * 400),
    ],
)
def test_the_rate_falls_to_a_tenth_and_the_code_loses_a_tenth_before(
    chosen: dict[str, Any], rates: list[float]
) -> None:
    made, got = ssdg.Method(options(**chosen), CPU), []
    optimiser = torch.optim.SGD([{"params": [torch.zeros(1)]}, {"params": [torch.zeros(1)]}], lr=7.0)
    for epoch in range(400):
        made.schedule(optimiser, batch_of(images(0, 1)), SimpleNamespace(epoch=epoch))
        got.append([group["lr"] for group in optimiser.param_groups])
    np.testing.assert_allclose(got, np.array(rates)[:, None].repeat(2, 1), rtol=1e-12)


def test_presets_part_where_their_sources_do() -> None:
    presets = [ssdg.Options(index=Path(), run_dir=Path(), preset=p) for p in ("table", "described", "released")]
    assert [x.stem for x in presets] == ["conv", "rgb", "rgb"]
    assert [x.image_size for x in presets] == [224, 256, 256]
    assert [x.features for x in presets] == ["unit", "unit", "root"]
    assert [x.classifier for x in presets] == ["class", "class", "input"]
    assert [x.weight_norm for x in presets] == ["gradient", "gradient", "in_place"]
    assert [x.rate for x in presets] == ["nominal", "nominal", "as_run"]
    assert [x.reversal for x in presets] == ["share", "share", "counted"]
    for x in presets:
        assert (x.triplet_weight, x.adversarial_weight, x.margin, x.adversary) == (1, 0.5, 0.1, "bona_fide")
        assert (x.optimiser, x.learning_rate, x.weight_decay, x.fall_after) == ("sgd", 0.01, 5e-4, 150)
        assert (x.batch_size, x.steps, x.epochs, x.augmentation, x.fourth_stage) == (60, 10, 400, "flip", "fresh")
        assert x.per_domain
        x.check()


@pytest.mark.parametrize(
    ("chosen", "sentence"),
    [
        ({"fall_after": -1}, "--fall-after -1: give at least 0"),
        ({"triplet_weight": -1.0}, "--triplet-weight -1.0: give at least 0"),
        ({"adversarial_weight": -0.5}, "--adversarial-weight -0.5: give at least 0"),
        ({"margin": -0.1}, "--margin -0.1: give at least 0"),
        ({"steps": -1}, "--steps -1: give at least 0"),
        (
            {"reversal": "counted", "steps": 0},
            "--reversal counted: it counts steps, and --steps 0 does not say how many; give --steps 10",
        ),
    ],
)
def test_options_that_cannot_be_are_refused_in_one_sentence(chosen: dict[str, Any], sentence: str) -> None:
    with pytest.raises(BadInput) as refused:
        options(**chosen).check()
    assert str(refused.value) == sentence


def test_the_ends_of_what_options_may_be() -> None:
    options(fall_after=0, triplet_weight=0.0, adversarial_weight=0.0, margin=0.0, steps=0).check()
