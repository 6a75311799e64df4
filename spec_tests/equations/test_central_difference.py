"""Central-difference convolution: what kernels see of values and of differences."""

import math

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from spec_tests.equations.adapter import call, gradients, spec
from spec_tests.equations.strategies import draws, exact_draws
from spec_tests.equations.tolerances import close, f64

SIZES = st.integers(1, 4)
THETAS = st.sampled_from([0.0, 0.3, 0.7, 1.0])


def convolved(x, weight, theta):
    """In float64, one position of one channel at a time: theta times the weighted differences from the middle, and
    1 - theta times the weighted values."""
    framed = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    out = np.empty((len(x), len(weight), *x.shape[2:]))
    for b, o, row, column in np.ndindex(out.shape):
        seen, middle = framed[b, :, row : row + 3, column : column + 3], x[b, :, row, column][:, None, None]
        differences = math.fsum((weight[o] * (seen - middle)).ravel())
        out[b, o, row, column] = theta * differences + (1 - theta) * math.fsum((weight[o] * seen).ravel())
    return out


def inputs(draw, batch, channels, out, height, width):
    return draw.normal(batch, channels, height, width), draw.normal(out, channels, 3, 3)


@spec("central-difference", "central_difference")
@given(draw=draws(), batch=SIZES, channels=SIZES, out=SIZES, height=SIZES, width=SIZES, theta=THETAS)
def test_a_share_of_theta_is_of_differences_and_the_rest_of_values(draw, batch, channels, out, height, width, theta):
    x, weight = inputs(draw, batch, channels, out, height, width)
    expected = convolved(f64(x), f64(weight), theta)
    close(call("central_difference", x, weight, theta), expected, magnitude=18 * channels)


@spec("central-difference", "central_difference")
def test_central_difference_worked_by_hand():
    x = torch.arange(1.0, 10.0, dtype=torch.float64).view(1, 1, 3, 3)
    weight = torch.zeros(1, 1, 3, 3, dtype=torch.float64)
    weight[0, 0, 0, 1], weight[0, 0, 1, 1], weight[0, 0, 1, 2] = 2.0, 10.0, 1.0  # above, middle, right; their sum is 13
    values = [[12.0, 23, 30], [47, 60, 66], [86, 99, 102]]  # of the middle: 2 x 2 + 10 x 5 + 6 = 60
    close(call("central_difference", x, weight, 0.0), [[values]])
    half = np.array(values) - 0.5 * 13 * np.arange(1.0, 10).reshape(3, 3)
    close(call("central_difference", x, weight, 0.5), [[half]])


@spec("central-difference", "central_difference")
@given(draw=draws(), channels=SIZES, out=SIZES, height=SIZES, width=SIZES)
def test_theta_zero_is_a_convolution(draw, channels, out, height, width):
    """Summed place by place of the kernel, in float64."""
    x, weight = inputs(draw, 2, channels, out, height, width)
    framed, w = np.pad(f64(x), ((0, 0), (0, 0), (1, 1), (1, 1))), f64(weight)
    expected = sum(
        np.einsum("bchw,oc->bohw", framed[:, :, i : i + height, j : j + width], w[:, :, i, j])
        for i in range(3)
        for j in range(3)
    )
    close(call("central_difference", x, weight, 0.0), expected, magnitude=9 * channels)


@spec("central-difference", "central_difference")
@given(draw=draws(), channels=SIZES, out=SIZES)
def test_theta_one_ignores_constants_away_from_the_border(draw, channels, out):
    x, weight = inputs(draw, 2, channels, out, 5, 4)
    constants = draw.normal(2, channels, 1, 1)
    before, after = (call("central_difference", y, weight, 1.0) for y in (x, draw.place(x + constants)))
    close(after[:, :, 1:-1, 1:-1], before[:, :, 1:-1, 1:-1], magnitude=50 * channels)
    flat = call("central_difference", draw.place(constants.expand(2, channels, 5, 4)), weight, 1.0)
    close(flat[:, :, 1:-1, 1:-1], np.zeros((2, out, 3, 2)), magnitude=50 * channels)


@spec("central-difference", "central_difference")
@given(draw=draws(), channels=SIZES, out=SIZES, theta=THETAS, other=THETAS)
def test_what_theta_takes_away_is_each_kernels_sum_at_its_own_channel(draw, channels, out, theta, other):
    x, weight = inputs(draw, 2, channels, out, 3, 4)
    sums = np.array([[math.fsum(kernel.ravel()) for kernel in kernels] for kernels in f64(weight)])
    apart = (other - theta) * np.einsum("oc,bchw->bohw", sums, f64(x))
    first, second = (call("central_difference", x, weight, t) for t in (theta, other))
    close(second, f64(first) - apart, magnitude=50 * channels)


@spec("central-difference", "central_difference")
@given(draw=draws(), theta=THETAS)
def test_of_kernels_whose_sum_is_zero_theta_takes_nothing(draw, theta):
    x, weight = inputs(draw, 2, 2, 3, 4, 3)
    balanced = draw.place(weight - weight.mean((2, 3), keepdim=True))
    plain = call("central_difference", x, balanced, 0.0)
    close(call("central_difference", x, balanced, theta), plain, magnitude=50)


@spec("central-difference", "central_difference")
@given(draw=draws(), theta=THETAS)
def test_it_is_linear_in_maps_and_in_kernels(draw, theta):
    x, weight = inputs(draw, 2, 2, 3, 4, 3)
    y, other = inputs(draw, 2, 2, 3, 4, 3)
    of_x, of_y = (f64(call("central_difference", z, weight, theta)) for z in (x, y))
    close(call("central_difference", draw.place(2 * x - 3 * y), weight, theta), 2 * of_x - 3 * of_y, magnitude=200)
    of_other = f64(call("central_difference", x, other, theta))
    close(call("central_difference", x, draw.place(weight + other), theta), of_x + of_other, magnitude=200)


@spec("central-difference", "central_difference")
@given(draw=exact_draws(), theta=THETAS)
def test_central_difference_of_a_sample_ignores_its_batch(draw, theta):
    x, weight = inputs(draw, 3, 2, 3, 3, 4)
    together = call("central_difference", x, weight, theta)
    close(call("central_difference", x[1:2], weight, theta), together[1:2], magnitude=50)


@spec("central-difference", "central_difference")
@given(draw=exact_draws(), theta=THETAS)
def test_central_difference_has_the_gradient_of_maps_and_kernels(draw, theta):
    gradients(lambda x, weight: call("central_difference", x, weight, theta), *inputs(draw, 1, 2, 2, 3, 3))
