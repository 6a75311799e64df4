"""Adaptive instance normalisation, and the statistics that it replaces."""

import math

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from spec_tests.equations.adapter import call, gradients, spec
from spec_tests.equations.strategies import draws, exact_draws
from spec_tests.equations.tolerances import close, f64

SIZES, SIDES = st.integers(1, 4), st.integers(2, 4)
SCALES = st.sampled_from([0.003, 1.0])  # of the first the default epsilon changes the deviation
EPSILONS = st.sampled_from([1e-5, 0.5])


def statistics(x, epsilon):
    """In float64, one channel of one sample at a time."""
    mean, deviation = np.empty(x.shape[:2]), np.empty(x.shape[:2])
    for place in np.ndindex(x.shape[:2]):
        values = x[place].ravel().tolist()
        mean[place] = math.fsum(values) / len(values)
        squares = math.fsum((v - mean[place]) ** 2 for v in values)
        deviation[place] = math.sqrt(squares / (len(values) - 1) + epsilon)
    return mean, deviation


def restyled(x, scale, shift, epsilon):
    """In float64, one number at a time; also the steepest slope, which makes roundings larger."""
    mean, deviation = statistics(x, epsilon)
    out = np.empty_like(x)
    for b, c, h, w in np.ndindex(x.shape):
        out[b, c, h, w] = scale[b, c] * ((x[b, c, h, w] - mean[b, c]) / deviation[b, c]) + shift[b, c]
    return out, np.abs(scale / deviation).max() * np.abs(x).max()


def content_and_style(draw, batch, channels, height, width, scale=1.0):
    return (
        draw.normal(batch, channels, height, width, scale=scale),
        draw.normal(batch, channels),
        draw.normal(batch, channels),
    )


@spec("adaptive-norm", "instance_statistics")
@given(draw=draws(), batch=SIZES, channels=SIZES, height=SIDES, width=SIDES, scale=SCALES, epsilon=EPSILONS)
def test_statistics_are_of_each_channel_of_each_sample(draw, batch, channels, height, width, scale, epsilon):
    x = draw.normal(batch, channels, height, width, scale=scale)
    for got, expected in zip(call("instance_statistics", x, epsilon=epsilon), statistics(f64(x), epsilon), strict=True):
        close(got, expected)


@spec("adaptive-norm", "instance_statistics")
@given(draw=draws())
def test_statistics_take_their_epsilon_when_none_is_named(draw):
    x = draw.normal(2, 3, 2, 3, scale=0.003)
    mean, deviation = call("instance_statistics", x)
    for got, expected in zip((mean, deviation), statistics(f64(x), 1e-5), strict=True):
        close(1000 * got, 1000 * expected)


@spec("adaptive-norm", "instance_statistics", "adaptive_instance_norm")
def test_adaptive_norm_worked_by_hand():
    x = torch.tensor([[[[0.0, 0.0], [2.0, 2.0]], [[5.0, 5.0], [5.0, 5.0]]]], dtype=torch.float64)
    mean, deviation = call("instance_statistics", x, epsilon=8 / 3)  # variances 4 / 3 and 0
    close(mean, [[1.0, 5.0]])
    close(deviation, [[2.0, math.sqrt(8 / 3)]])
    scale, shift = (torch.tensor(y, dtype=torch.float64) for y in ([[6.0, 7.0]], [[10.0, -1.0]]))
    out = call("adaptive_instance_norm", x, scale, shift, epsilon=8 / 3)
    close(out, [[[[7.0, 7.0], [13.0, 13.0]], [[-1.0, -1.0], [-1.0, -1.0]]]])


@spec("adaptive-norm", "adaptive_instance_norm")
@given(
    draw=draws(),
    batch=SIZES,
    channels=SIZES,
    height=SIDES,
    width=SIDES,
    scale=SCALES,
    epsilon=EPSILONS,
    detached=st.booleans(),
)
def test_each_channel_takes_the_styles_mean_and_deviation(
    draw, batch, channels, height, width, scale, epsilon, detached
):
    given_ = content_and_style(draw, batch, channels, height, width, scale)
    expected, size = restyled(*map(f64, given_), epsilon)
    out = call("adaptive_instance_norm", *given_, epsilon=epsilon, detached=detached)
    close(out, expected, magnitude=2 * size)


@spec("adaptive-norm", "adaptive_instance_norm")
@given(draw=draws())
def test_adaptive_norm_takes_its_epsilon_when_none_is_named(draw):
    given_ = content_and_style(draw, 2, 3, 2, 3, 0.003)
    expected, size = restyled(*map(f64, given_), 1e-5)
    close(call("adaptive_instance_norm", *given_), expected, magnitude=2 * size)


@spec("adaptive-norm", "adaptive_instance_norm")
@given(draw=exact_draws(), batch=SIZES, channels=SIZES)
def test_the_inputs_own_scale_and_shift_of_a_channel_do_not_matter(draw, batch, channels):
    x, scale, shift = content_and_style(draw, batch, channels, 3, 3)
    own_scale, own_shift = draw.sizes(channels).view(1, -1, 1, 1), draw.normal(1, channels, 1, 1)
    changed = call("adaptive_instance_norm", own_scale * x + own_shift, scale, shift, epsilon=1e-16)
    close(changed, call("adaptive_instance_norm", x, scale, shift, epsilon=1e-16), magnitude=1e4)


@spec("adaptive-norm", "instance_statistics", "adaptive_instance_norm")
@given(draw=exact_draws(), batch=SIZES, channels=SIZES)
def test_what_comes_out_has_the_styles_mean_and_deviation(draw, batch, channels):
    x, scale, shift = content_and_style(draw, batch, channels, 3, 3)
    out = call("adaptive_instance_norm", x, scale, shift, epsilon=1e-16)
    mean, deviation = call("instance_statistics", out, epsilon=0.0)
    close(mean, shift, magnitude=100)
    close(deviation, scale.abs(), magnitude=100)


@spec("adaptive-norm", "adaptive_instance_norm")
@given(draw=exact_draws())
def test_adaptive_norm_has_the_gradient_of_content_and_style(draw):
    gradients(lambda *given_: call("adaptive_instance_norm", *given_), *content_and_style(draw, 2, 2, 2, 3))


@spec("adaptive-norm", "instance_statistics")
@given(draw=exact_draws())
def test_statistics_have_a_gradient(draw):
    gradients(lambda x: call("instance_statistics", x), draw.normal(2, 2, 2, 3))


@spec("adaptive-norm", "adaptive_instance_norm")
@given(draw=exact_draws())
def test_detached_statistics_are_constants_to_the_gradient(draw):
    x, scale, shift = (y.requires_grad_() for y in content_and_style(draw, 2, 2, 2, 3))
    weights = draw.normal(2, 2, 2, 3)
    out = call("adaptive_instance_norm", x, scale, shift, detached=True)
    of_x, of_scale, of_shift = torch.autograd.grad((weights * out).sum(), (x, scale, shift))
    mean, deviation = (y[:, :, None, None] for y in statistics(f64(x), 1e-5))
    w = f64(weights)
    close(of_x, w * f64(scale)[:, :, None, None] / deviation, magnitude=10)
    close(of_scale, (w * (f64(x) - mean) / deviation).sum((2, 3)), magnitude=10)
    close(of_shift, w.sum((2, 3)), magnitude=10)
