"""Narrow tokens that go through a convolution as maps."""

import math

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from spec_tests.equations.adapter import call, gradients, spec
from spec_tests.equations.strategies import draws, exact_draws
from spec_tests.equations.tolerances import close, f64

SIZES = st.integers(1, 3)


def convolution_by(kernel):
    """Of maps (B, C, H, W) by a kernel (C', C, 3, 3), zeros around them."""
    return lambda x: F.conv2d(x, kernel, padding=1)


def convolved(tokens, kernel):
    """In float64, one cell of one map at a time."""
    side = math.isqrt(tokens.shape[1] - 1)
    out = np.zeros((len(tokens), tokens.shape[1], len(kernel)))
    for sample, token, channel in np.ndindex(out.shape):
        terms = []
        row, column = divmod(token - 1, side)
        for down, right in np.ndindex(3, 3):
            r, c = row + down - 1, column + right - 1
            if token == 0:
                seen = tokens[sample, 0] if (down, right) == (1, 1) else None
            else:
                seen = tokens[sample, 1 + r * side + c] if 0 <= r < side and 0 <= c < side else None
            if seen is not None:
                terms += (seen * kernel[channel, :, down, right]).tolist()
        out[sample, token, channel] = math.fsum(terms)
    return out


@spec("token-maps", "quick_gelu")
@given(draw=draws(), rows=SIZES, width=SIZES, scale=st.sampled_from([0.1, 1.0, 30.0]))
def test_quick_gelu_is_a_number_times_the_sigmoid_of_it(draw, rows, width, scale):
    x = draw.normal(rows, width, scale=scale)
    expected = [value / (1 + math.exp(min(-1.702 * value, 700.0))) for value in f64(x).ravel()]
    close(call("quick_gelu", x), np.reshape(expected, x.shape), magnitude=scale)


@spec("token-maps", "quick_gelu")
def test_quick_gelu_worked_by_hand():
    x = torch.tensor([0.0, math.log(3) / 1.702, -math.log(3) / 1.702, 1e4, -1e4], dtype=torch.float64)
    close(call("quick_gelu", x), [0.0, 0.75 * math.log(3) / 1.702, -0.25 * math.log(3) / 1.702, 1e4, 0.0])


@spec("token-maps", "quick_gelu")
@given(draw=exact_draws())
def test_quick_gelu_has_a_gradient(draw):
    gradients(lambda x: call("quick_gelu", x), draw.normal(2, 3))


@spec("token-maps", "convolved_tokens")
@given(draw=draws(), batch=SIZES, side=st.integers(1, 4), channels=SIZES, out=SIZES)
def test_patches_are_one_map_and_the_class_token_another(draw, batch, side, channels, out):
    tokens, kernel = draw.normal(batch, 1 + side**2, channels), draw.normal(out, channels, 3, 3)
    got = call("convolved_tokens", tokens, convolution_by(kernel))
    close(got, convolved(f64(tokens), f64(kernel)), magnitude=10)


@spec("token-maps", "convolved_tokens")
def test_convolved_tokens_worked_by_hand():
    # The kernel takes what stands to the left, and half of the cell itself.
    kernel = torch.tensor([[0.0, 0, 0], [1, 0.5, 0], [0, 0, 0]], dtype=torch.float64).view(1, 1, 3, 3)
    tokens = torch.tensor([10.0, 1, 2, 3, 4], dtype=torch.float64).view(1, 5, 1)
    close(call("convolved_tokens", tokens, convolution_by(kernel)).flatten(), [5, 0.5, 2, 1.5, 5])


@spec("token-maps", "convolved_tokens")
@given(draw=exact_draws(), batch=SIZES, side=SIZES, channels=SIZES)
def test_a_convolution_that_does_nothing_leaves_the_tokens(draw, batch, side, channels):
    tokens = draw.normal(batch, 1 + side**2, channels)
    close(call("convolved_tokens", tokens, lambda x: x), f64(tokens))


@spec("token-maps", "convolved_tokens")
@given(draw=exact_draws())
def test_convolved_tokens_have_the_gradient_of_tokens_and_kernel(draw):
    def of(tokens, kernel):
        return call("convolved_tokens", tokens, convolution_by(kernel))

    gradients(of, draw.normal(2, 5, 2), draw.normal(2, 2, 3, 3))
