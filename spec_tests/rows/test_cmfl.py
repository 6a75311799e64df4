"""CMFL: its streams and heads, what infrared becomes, its losses and scores, its readings."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torchvision.models import DenseNet

from data_manifests.errors import BadInput
from reference.batches import ShuffledSampler
from reference.options import readings
from reference.rivals import cmfl
from reference.rivals.blocks.densenet161 import densenet161_encoder
from reference.rivals.blocks.start import FRESH, Start
from reference.runs import HEADLINE
from spec_tests.support.logits import bce, labels, logit_arrays
from spec_tests.support.networks import batch_of, images, scrambled

CPU, SIDE, GROWTH, WIDTH = torch.device("cpu"), 32, 4, 32
INFRARED = pytest.mark.parametrize("infrared", ["pairs", "none"])


def options(**chosen: Any) -> cmfl.Options:
    return cmfl.Options(index=Path(), run_dir=Path(), **({"image_size": SIDE, "growth": GROWTH} | chosen))


def network(begun: Start = FRESH, **chosen: Any) -> cmfl.CMFL:
    torch.manual_seed(0)
    return cmfl.CMFL(options(**chosen), begun)


def method(**chosen: Any) -> cmfl.Method:
    torch.manual_seed(0)
    made = cmfl.Method(options(**chosen), CPU)
    made.network = made.build()
    return made


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def passed_through(model: cmfl.CMFL, pictures: list[Tensor]) -> tuple[cmfl.Output, list[Tensor], list[Tensor]]:
    """The network's output, and what went into and came out of each of its encoders."""
    given_: list[Tensor] = []
    got: list[Tensor] = []

    def watch(_: nn.Module, args: Any, out: Tensor) -> None:
        given_.append(args[0])
        got.append(out)

    for encoder in model.encoders:
        encoder.register_forward_hook(watch)
    with torch.no_grad():
        output = model(*pictures)
    return output, given_, got


# The network


@pytest.mark.parametrize(
    ("chosen", "count"),
    [
        ({"preset": "table"}, 9_577_924),
        ({"preset": "described"}, 6_388_419),
        ({"preset": "released"}, 6_388_419),
        ({"preset": "released", "infrared": "pairs"}, 9_577_924),
    ],
)
def test_parameter_counts(chosen: dict[str, Any], count: int) -> None:
    with torch.device("meta"):
        model = cmfl.CMFL(cmfl.Options(index=Path(), run_dir=Path(), **chosen))
    sizes = {name: sum(p.numel() for p in part.parameters()) for name, part in model.named_children()}
    streams = len(model.encoders)
    of_encoders = [sum(p.numel() for p in encoder.parameters()) for encoder in model.encoders]
    assert of_encoders == [3_198_144] + [3_188_736] * (streams - 1)
    assert (sizes["branches"], sizes["joint"]) == (385 * streams, 384 * streams + 1)
    assert sum(sizes.values()) == count


@INFRARED
@pytest.mark.parametrize("features", ["sigmoid", "plain"])
@settings(max_examples=5)
@given(seed=st.integers(0, 2**16))
def test_heads_against_float64(infrared: str, features: str, seed: int) -> None:
    model = scrambled(network(infrared=infrared, features=features), seed).double().eval()
    pictures = [x.double() for x in images(seed, SIDE, batch=3)]
    (branches, joint), _, maps = passed_through(model, pictures)
    w = {name: value.numpy() for name, value in model.state_dict().items()}
    found = []
    for x in (x.numpy() for x in maps):
        assert x.shape == (3, WIDTH, 2, 2)
        means = (x[:, :, 0, 0] + x[:, :, 0, 1] + x[:, :, 1, 0] + x[:, :, 1, 1]) / 4
        found.append(sigmoid(means) if features == "sigmoid" else means)
    assert len(found) == (3 if infrared == "pairs" else 2)
    for place, x in enumerate(found):
        expected = x @ w[f"branches.{place}.weight"][0] + w[f"branches.{place}.bias"]
        np.testing.assert_allclose(branches[:, place].numpy(), expected, rtol=1e-10, atol=1e-12)
    expected = np.hstack(found) @ w["joint.weight"][0] + w["joint.bias"]
    np.testing.assert_allclose(joint.numpy(), expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("pixels", ["unit", "shared", "imagenet"])
def test_encoders_are_fed_what_the_reading_says(pixels: str) -> None:
    pictures = images(1, SIDE)
    pictures[1:] = [x[:, :1].expand(-1, 3, -1, -1) for x in pictures[1:]]  # as batches have them
    _, fed, _ = passed_through(network(pixels=pixels).eval(), pictures)
    mean, deviation = (np.array(x)[:, None, None] for x in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    for place, (image, x) in enumerate(zip(pictures, fed, strict=True)):
        values = image.double().numpy() * 127.5 + 127.5  # what `batches` made [-1, 1] from
        expected = {
            "unit": values / 255,
            "shared": (values - 127.5) / 128,
            "imagenet": (values / 255 - mean) / deviation,
        }[pixels]
        if place:
            expected = expected.mean(1, keepdims=True)
        np.testing.assert_allclose(x.numpy(), expected, rtol=1e-5, atol=1e-6)


def test_an_encoder_of_one_plane_is_that_of_three_that_share_it() -> None:
    torch.manual_seed(3)
    three = scrambled(densenet161_encoder(growth=GROWTH), 4).double().eval()
    one = densenet161_encoder(growth=GROWTH).double().eval()
    one.load_state_dict(three.state_dict())
    one = cmfl.with_one_plane(one)
    plane = images(2, SIDE)[0][:, :1].double()
    with torch.no_grad():
        torch.testing.assert_close(one(plane), three((plane / 3).expand(-1, 3, -1, -1)), rtol=1e-9, atol=1e-11)
    assert one[0].weight.requires_grad
    assert one[0].in_channels == 1


@INFRARED
def test_infrared_is_a_stream_of_its_own_or_not_looked_at(infrared: str) -> None:
    model = scrambled(network(infrared=infrared), 1).eval()
    (rgb, depth, ir), others = images(1, SIDE), images(2, SIDE)
    with torch.no_grad():
        branches, joint = model(rgb, depth, ir)
        for place, changed in enumerate(((others[0], depth, ir), (rgb, others[1], ir), (rgb, depth, others[2]))):
            moved, whole = model(*changed)
            expected = [i == place for i in range(branches.shape[1])]
            assert (moved != branches).any(0).tolist() == expected
            assert (whole != joint).all().item() == (place < branches.shape[1])
    assert options(infrared=infrared).sees == {"pairs": "RDI", "none": "RD"}[infrared]


def test_every_encoder_begins_from_the_weights_that_are_named_and_is_then_its_own() -> None:
    theirs = scrambled(DenseNet(GROWTH, (6, 12, 36, 24), 2 * GROWTH), 5)
    begun = Start("densenet161", "FILE", "", theirs.state_dict())
    model = network(begun, infrared="pairs")
    first = theirs.features.conv0.weight
    assert torch.equal(model.encoders[0][0].weight, first)
    for encoder in model.encoders[1:]:
        torch.testing.assert_close(encoder[0].weight, first.sum(1, keepdim=True) / 3)
    for encoder in model.encoders:
        for ours, other in zip(list(encoder.parameters())[1:], list(theirs.features[1:8].parameters()), strict=True):
            assert torch.equal(ours, other)
    assert len({p.data_ptr() for p in model.parameters()}) == len(list(model.parameters()))
    with pytest.raises(BadInput, match=r"--weights FILE: .* take the published sizes"):
        network(begun, growth=GROWTH + 1)


def test_encoders_begin_apart_where_nothing_is_named() -> None:
    model = network(infrared="pairs")
    fourth = [encoder[4].denselayer1.conv1.weight for encoder in model.encoders]
    assert not torch.equal(fourth[0], fourth[1])
    assert not torch.equal(fourth[1], fourth[2])


# Losses and scores


def confidence(logit: np.ndarray, bonafide: np.ndarray) -> np.ndarray:
    return sigmoid(np.where(bonafide == 1, logit, -logit).astype(np.float64))


@given(
    branches=logit_arrays(3, 3),
    joint=logit_arrays(3),
    label=labels(3),
    balance=st.floats(0, 1),
    alpha=st.floats(0.1, 2),
    gamma=st.sampled_from([0.0, 1.0, 3.0]),
    modulated=st.sampled_from(["both", "attacks"]),
    streams=st.integers(2, 3),
)
def test_the_loss_is_the_focal_loss_of_every_pair_and_the_joint_heads(
    branches: np.ndarray,
    joint: np.ndarray,
    label: np.ndarray,
    balance: float,
    alpha: float,
    gamma: float,
    modulated: str,
    streams: int,
) -> None:
    branches, bonafide = branches[:, :streams], 1 - label
    made = cmfl.Method(options(balance=balance, alpha=alpha, gamma=gamma, modulated=modulated), CPU)
    batch = replace(batch_of(images(0, 1, batch=3)), label=torch.from_numpy(label))
    losses = made.losses((torch.from_numpy(branches).double(), torch.from_numpy(joint).double()), batch)
    pairs = []
    for i in range(streams):
        for j in range(i):
            p, q = confidence(branches[:, i], bonafide), confidence(branches[:, j], bonafide)
            agreement = 2 * p * q / (p + q) * (label if modulated == "attacks" else 1)
            pairs.append((-((1 - q * agreement) ** gamma) * np.log(p) - (1 - p * agreement) ** gamma * np.log(q)) / 2)
    of_branches, of_joint = alpha * np.mean(pairs), bce(joint, bonafide).mean()
    expected = {
        "loss": balance * of_branches + (1 - balance) * of_joint,
        "branches": of_branches,
        "joint": of_joint,
    }
    assert {name: value.item() for name, value in losses.items()} == pytest.approx(expected, rel=1e-7, abs=1e-9)


def test_both_losses_weigh_alike_and_each_reading_of_the_weights_is_passed_on() -> None:
    batch = batch_of(images(0, 1, batch=4))
    # Attacks whose second branch gives them 6e-7 and 7e-4: so large an exponent makes 1e-9 matter.
    branches = torch.tensor([[0.3, 0.4], [-2.2, 14.3], [-0.5, 0.6], [-2.2, 7.26]], dtype=torch.float64)
    joint = torch.tensor([0.5, -0.5, 1.0, 2.0], dtype=torch.float64)

    def losses(**chosen: Any) -> dict[str, float]:
        return {k: v.item() for k, v in cmfl.Method(options(**chosen), CPU).losses((branches, joint), batch).items()}

    usual = losses()
    assert usual["loss"] == pytest.approx((usual["branches"] + usual["joint"]) / 2)
    found = [losses(gamma=1e6, epsilon=epsilon)["branches"] for epsilon in ("none", "both", "asymmetric")]
    expected = [
        cmfl.cross_modal_focal_loss(branches, 1 - batch.label, 1.0, 1e6, epsilon).item()
        for epsilon in ("none", "both", "asymmetric")
    ]
    assert found == expected
    assert len(set(found)) == 3
    gradients = []
    for partner in ("attached", "detached"):
        leaf = branches.clone().requires_grad_()
        made = cmfl.Method(options(partner=partner), CPU)
        gradients.append(torch.autograd.grad(made.losses((leaf, joint), batch)["branches"], leaf)[0])
    assert not torch.allclose(*gradients)


def test_losses_and_scores_are_of_float32_where_the_network_is_not() -> None:
    made = method(infrared="pairs")
    batch = batch_of(images(3, SIDE, batch=4))
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        output = made.forward(batch)
    assert {x.dtype for x in output} == {torch.bfloat16}
    assert {x.dtype for x in (made.losses(output, batch) | made.scores(output)).values()} == {torch.float32}


@pytest.mark.parametrize(("infrared", "names"), [("pairs", ["rgb", "depth", "ir"]), ("none", ["rgb", "depth"])])
def test_the_joint_head_scores_and_every_branch_beside_it(infrared: str, names: list[str]) -> None:
    output = torch.tensor([[2.0, -1.0, 0.5], [0.0, 3.0, -4.0]])[:, : len(names)], torch.tensor([1.5, -2.5])
    probabilities = sigmoid(torch.cat([output[0], output[1][:, None]], 1).double().numpy())
    for score, expected in (
        ("joint", [1.5, -2.5]),
        ("branches", probabilities[:, :-1].mean(1)),
        ("all", probabilities.mean(1)),
    ):
        heads = cmfl.Method(options(infrared=infrared, score=score), CPU).scores(output)
        assert list(heads) == [HEADLINE, *names]
        np.testing.assert_allclose(heads[HEADLINE].numpy(), expected, rtol=1e-6)
        for place, name in enumerate(names):
            assert torch.equal(heads[name], output[0][:, place])


def test_every_part_learns_and_heads_learn_to_score_bona_fide_faces_higher() -> None:
    made = method(infrared="pairs")
    batch = replace(batch_of(images(4, SIDE, batch=4)), label=torch.zeros(4))
    made.losses(made.forward(batch), batch)["loss"].backward()
    for name, p in made.network.named_parameters():
        assert p.grad is not None, name
        assert p.grad.any(), name
    for head in [*made.network.branches, made.network.joint]:
        assert head.bias.grad < 0


# Its training and options


def test_frames_come_balanced_or_shuffled_at_a_rate_that_stays() -> None:
    training: Any = SimpleNamespace(sampler="everybody's", train=np.arange(10))
    assert cmfl.Method(options(sampling="balanced"), CPU).sampler(training) == "everybody's"
    sampler = cmfl.Method(options(sampling="shuffled", batch_size=4, seed=3), CPU).sampler(training)
    assert isinstance(sampler, ShuffledSampler)
    assert (sampler.count, sampler.batch_size, sampler.seed) == (10, 4, 3)
    optimiser = torch.optim.SGD([torch.zeros(1)], lr=0.5)
    cmfl.Method(options(), CPU).schedule(optimiser, batch_of(images(0, 1)), training)
    assert optimiser.param_groups[0]["lr"] == 0.5


def test_presets_part_where_their_sources_do() -> None:
    table, described, released = (
        cmfl.Options(index=Path(), run_dir=Path(), preset=preset) for preset in ("table", "described", "released")
    )
    assert [x.infrared for x in (table, described, released)] == ["pairs", "none", "none"]
    assert [x.pixels for x in (table, described, released)] == ["shared", "unit", "unit"]
    assert [x.epsilon for x in (table, described, released)] == ["none", "none", "both"]
    assert [x.sampling for x in (table, described, released)] == ["balanced", "shuffled", "shuffled"]
    assert [x.sees for x in (table, described, released)] == ["RDI", "RD", "RD"]
    for x in (table, described, released):
        assert (x.features, x.partner, x.modulated, x.score) == ("sigmoid", "attached", "both", "joint")
        assert (x.alpha, x.gamma, x.balance) == (1, 3, 0.5)
        assert (x.optimiser, x.learning_rate, x.weight_decay, x.batch_size, x.epochs) == ("adam_l2", 1e-4, 1e-6, 64, 25)
        assert (x.image_size, x.augmentation, x.growth, x.weights, x.per_domain) == (224, "flip", 48, "none", False)
        x.check()
    parted = {name for name, values in readings(cmfl.Options).items() if len(set(values.values())) > 1}
    assert parted == {"infrared", "pixels", "epsilon", "sampling"}


@pytest.mark.parametrize(
    ("chosen", "sentence"),
    [
        ({"image_size": 12}, "--image-size 12: give at least 13"),
        ({"growth": 0}, "--growth 0: give at least 1"),
        ({"alpha": -1.0}, "--alpha -1.0: give at least 0"),
        ({"gamma": -1.0}, "--gamma -1.0: give at least 0"),
        (
            {"gamma": 0.5},
            "--gamma 0.5: a power below 1 has no gradient where both branches are certain; "
            "give at least 1, or 0 for cross-entropy",
        ),
        ({"balance": 1.1}, "--balance 1.1: it is a share; give a number from 0 to 1"),
        ({"balance": -0.1}, "--balance -0.1: it is a share; give a number from 0 to 1"),
    ],
)
def test_options_that_cannot_be_are_refused_in_one_sentence(chosen: dict[str, Any], sentence: str) -> None:
    with pytest.raises(BadInput) as refused:
        options(**chosen).check()
    assert str(refused.value) == sentence


def test_the_ends_of_what_options_may_be() -> None:
    for chosen in ({"balance": 0.0, "gamma": 0.0, "alpha": 0.0}, {"balance": 1.0, "gamma": 1.0}, {"growth": 1}):
        options(**chosen).check()
    smallest = method(image_size=13)
    smallest.options.check()
    smallest.network.eval()
    with torch.no_grad():
        assert smallest.predict(batch_of(images(0, 13)))[HEADLINE].isfinite().all()
