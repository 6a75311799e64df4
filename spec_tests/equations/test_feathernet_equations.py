"""FeatherNet: its focal loss, its streaming module, and the rules that make one score of several networks'."""

import math

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from spec_tests.equations.adapter import call, gradients, spec
from spec_tests.equations.strategies import Draw, draws, exact_draws
from spec_tests.equations.tolerances import close, f64

SIZES = st.integers(1, 4)
GAMMAS = st.sampled_from([0.0, 1.0, 2.0, 3.0, 4.5])


# The focal loss


def focal(logits, classes, gamma):
    """The mean of -(1 - p)^gamma log p in float64, one sample at a time."""
    terms = []
    for row, own in zip(logits, classes, strict=True):
        odds_against = math.fsum(math.exp(x - row[own]) for i, x in enumerate(row) if i != own)
        p = 1 / (1 + odds_against)
        terms.append(-((odds_against * p) ** gamma) * math.log(p))
    return math.fsum(terms) / len(terms)


@spec("feathernet-focal", "focal_loss")
@given(draw=draws(), batch=SIZES, n=st.integers(2, 6), gamma=GAMMAS, scale=st.sampled_from([0.1, 1.0, 5.0]))
def test_the_focal_loss_is_cross_entropy_weighted_by_doubt(draw, batch, n, gamma, scale):
    logits, classes = draw.normal(batch, n, scale=scale), draw.integers(batch, n)
    close(call("focal_loss", logits, classes, gamma), focal(f64(logits), f64(classes), gamma), magnitude=8 * scale)


@spec("feathernet-focal", "focal_loss")
def test_the_focal_loss_worked_by_hand():
    logits = torch.tensor([[math.log(3), 0.0], [0.0, 0.0]], dtype=torch.float64)  # p = 3/4 and 1/2
    classes = torch.tensor([0, 1])
    expected = (math.log(4 / 3) / 64 + math.log(2) / 8) / 2
    close(call("focal_loss", logits, classes, 3.0), expected)


@spec("feathernet-focal", "focal_loss")
@given(draw=draws(), n=st.integers(2, 6))
def test_gamma_0_is_cross_entropy(draw, n):
    logits, classes = draw.normal(3, n), draw.integers(3, n)
    rows = zip(f64(logits), f64(classes), strict=True)
    expected = math.fsum(math.log(math.fsum(math.exp(x) for x in row)) - row[own] for row, own in rows) / 3
    close(call("focal_loss", logits, classes, 0.0), expected, magnitude=8)


@spec("feathernet-focal", "focal_loss")
@given(draw=draws(), n=st.integers(2, 5), gamma=GAMMAS)
def test_the_focal_loss_knows_no_order_and_no_common_summand(draw, n, gamma):
    logits, classes = draw.normal(4, n), draw.integers(4, n)
    expected = focal(f64(logits), f64(classes), gamma)
    order = draw.permutation(4)
    close(call("focal_loss", logits[order], classes[order], gamma), expected, magnitude=8)
    names = draw.permutation(n)  # the class called names[i] before is called i
    close(call("focal_loss", logits[:, names], names.argsort()[classes], gamma), expected, magnitude=8)
    close(call("focal_loss", logits + 2.0, classes, gamma), expected, magnitude=8)


@spec("feathernet-focal", "focal_loss")
@given(draw=draws(), gamma=GAMMAS, gap=st.sampled_from([200.0, 500.0]))
@example(draw=Draw(0, "float32"), gamma=0.0, gap=500.0)
def test_a_sure_sample_costs_nothing_and_a_sure_mistake_its_gap(draw, gamma, gap):
    logits = draw.place(torch.tensor([[gap, 0.0]], dtype=torch.float64)).requires_grad_()
    for own, expected in ((0, 0.0), (1, gap)):
        loss = call("focal_loss", logits, torch.tensor([own], device=logits.device), gamma)
        close(loss, expected)
        (gradient,) = torch.autograd.grad(loss, logits)
        close(gradient, [[0.0, 0.0]] if own == 0 else [[1.0, -1.0]])


@spec("feathernet-focal", "focal_loss")
@given(draw=draws(), gamma=st.floats(0, 4), more=st.floats(0.5, 2))
def test_a_greater_gamma_makes_every_loss_smaller(draw, gamma, more):
    logits, classes = draw.normal(1, 3), draw.integers(1, 3)
    assert call("focal_loss", logits, classes, gamma + more) < call("focal_loss", logits, classes, gamma)


@spec("feathernet-focal", "focal_loss")
@given(draw=exact_draws(), gamma=GAMMAS)
def test_the_focal_loss_has_the_gradient_of_its_logits(draw, gamma):
    logits, classes = draw.normal(3, 4), draw.integers(3, 4)
    gradients(lambda x: call("focal_loss", x, classes, gamma), logits)


# The streaming module


def streamed(x, weight):
    """The strided depthwise convolution in float64, one value at a time, in the order of the feature."""
    rows = []
    for sample in x:
        values = []
        for channel, (kernel,) in zip(sample, weight, strict=True):
            framed = np.pad(channel, 1)
            for top in range(0, channel.shape[0], 2):
                for left in range(0, channel.shape[1], 2):
                    seen = framed[top : top + 3, left : left + 3]
                    values.append(math.fsum((seen * kernel).ravel()))
        rows.append(values)
    return np.array(rows)


@spec("feathernet-streaming", "streaming_module")
@given(draw=draws(), batch=SIZES, channels=SIZES, height=st.integers(1, 7), width=st.integers(1, 7))
@example(draw=Draw(1), batch=2, channels=3, height=7, width=7)
@example(draw=Draw(2), batch=1, channels=2, height=2, width=5)
def test_each_channel_is_convolved_by_its_own_kernel_at_every_second_place(draw, batch, channels, height, width):
    x, weight = draw.normal(batch, channels, height, width), draw.normal(channels, 1, 3, 3)
    close(call("streaming_module", x, weight), streamed(f64(x), f64(weight)), magnitude=9)


@spec("feathernet-streaming", "streaming_module")
def test_the_streaming_module_worked_by_hand():
    x = torch.arange(1.0, 10.0, dtype=torch.float64).reshape(1, 1, 3, 3).repeat(1, 2, 1, 1)
    ones, left = torch.ones(1, 3, 3, dtype=torch.float64), torch.zeros(1, 3, 3, dtype=torch.float64)
    left[0, 1, 0] = 1  # each place takes its left neighbour
    expected = [[12.0, 16.0, 24.0, 28.0, 0.0, 2.0, 0.0, 8.0]]
    close(call("streaming_module", x, torch.stack([ones, left])), expected)


@spec("feathernet-streaming", "streaming_module")
@given(draw=draws(), height=st.integers(1, 7), width=st.integers(1, 7))
def test_a_kernel_with_its_middle_alone_takes_every_second_pixel(draw, height, width):
    x = draw.normal(2, 3, height, width)
    middle = np.zeros((3, 1, 3, 3))
    middle[:, 0, 1, 1] = 1
    close(
        call("streaming_module", x, draw.place(torch.from_numpy(middle))),
        f64(x)[:, :, ::2, ::2].reshape(2, -1),
    )


@spec("feathernet-streaming", "streaming_module")
@given(draw=draws(), channel=st.integers(0, 2))
def test_a_channel_reaches_its_own_values_alone(draw, channel):
    x, weight = draw.normal(2, 3, 4, 4), draw.normal(3, 1, 3, 3)
    before = call("streaming_module", x, weight)
    changed = x.clone()
    changed[:, channel] += 1
    moved = (call("streaming_module", changed, weight) != before).reshape(2, 3, 4).any(2)
    assert moved.tolist() == [[each == channel for each in range(3)]] * 2


@spec("feathernet-streaming", "streaming_module")
@given(draw=exact_draws(), height=st.integers(1, 4))
def test_the_streaming_module_has_the_gradient_of_map_and_kernels(draw, height):
    gradients(lambda *given_: call("streaming_module", *given_), draw.normal(2, 2, height, 3), draw.normal(2, 1, 3, 3))


# Several networks' scores: in steps of 1/16, which every dtype holds, so that thresholds are met exactly


def sixteenths(draw, *shape):
    return draw.place(draw.integers(math.prod(shape), 17).cpu().double().reshape(shape) / 16)


NETWORKS = st.sampled_from([1, 2, 4])  # so that means are exact too


@spec("feathernet-ensemble", "ensembled_score")
@given(draw=draws(), batch=st.integers(1, 20), networks=NETWORKS, threshold=st.integers(0, 16))
@example(draw=Draw(0), batch=20, networks=2, threshold=8)
@example(draw=Draw(0), batch=3, networks=4, threshold=5)
def test_the_ensembles_score_is_the_greatest_or_the_least(draw, batch, networks, threshold):
    scores = sixteenths(draw, batch, networks)
    rows = f64(scores).tolist()
    expected = [max(row) if math.fsum(row) > threshold / 16 * networks else min(row) for row in rows]
    close(call("ensembled_score", scores, threshold / 16), expected)


@spec("feathernet-ensemble", "ensembled_score")
@pytest.mark.parametrize(("threshold", "expected"), [(0.5, [0.75, 0.25, 0.1]), (0.3, [0.75, 0.75, 0.1])])
def test_the_ensemble_worked_by_hand(threshold, expected):
    scores = torch.tensor([[0.5, 0.75, 0.5, 0.5], [0.25, 0.75, 0.5, 0.5], [0.1, 0.2, 0.3, 0.4]])
    close(call("ensembled_score", scores, threshold), expected)


@spec("feathernet-ensemble", "ensembled_score")
@given(draw=draws(), networks=NETWORKS, threshold=st.integers(0, 16))
def test_networks_have_no_order_and_a_single_one_is_believed(draw, networks, threshold):
    scores = sixteenths(draw, 5, networks)
    before = call("ensembled_score", scores, threshold / 16)
    close(call("ensembled_score", scores[:, draw.permutation(networks)], threshold / 16), f64(before))
    close(call("ensembled_score", scores[:, :1], threshold / 16), f64(scores[:, 0]))


@spec("feathernet-cascade", "cascaded_score")
@given(draw=draws(), certain=st.integers(0, 8))
@example(draw=Draw(0), certain=0)
@example(draw=Draw(0), certain=2)
@example(draw=Draw(0), certain=8)
def test_infrared_judges_where_depth_is_not_certain(draw, certain):
    """On every pair of scores there is."""
    pairs = [(d / 16, i / 16) for d in range(17) for i in range(17)]
    expected = []
    for depth, ir in pairs:
        if depth * 16 <= certain or depth * 16 >= 16 - certain:
            expected.append(depth)
        else:
            expected.append(ir if ir < 1 / 2 else (depth + ir) / 2)
    depth, ir = draw.place(torch.tensor(pairs, dtype=torch.float64)).T
    close(call("cascaded_score", depth, ir, certain / 16), expected)


@spec("feathernet-cascade", "cascaded_score")
def test_the_cascade_worked_by_hand():
    depth = torch.tensor([0.05, 0.95, 0.6, 0.6, 0.3], dtype=torch.float64)
    ir = torch.tensor([0.9, 0.1, 0.4, 0.8, 0.9], dtype=torch.float64)
    close(call("cascaded_score", depth, ir, 0.1), [0.05, 0.95, 0.4, 0.7, 0.6])


@spec("feathernet-cascade", "cascaded_score")
@given(draw=draws(), batch=st.integers(1, 20))
def test_depth_alone_judges_where_it_is_always_certain(draw, batch):
    depth, ir = sixteenths(draw, batch), sixteenths(draw, batch)
    close(call("cascaded_score", depth, ir, 0.5), f64(depth))
