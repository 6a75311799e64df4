"""ViTAF: adapters with a residual, the cosine of two of them, the feature-wise transformation."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from spec_tests.equations.adapter import call, gradients, spec
from spec_tests.equations.strategies import draws, exact_draws
from spec_tests.equations.tolerances import close, f64

SIZES = st.integers(1, 4)

# Adapters


def weights(draw, adapters, width, middle):
    return (
        draw.normal(adapters, middle, width),
        draw.normal(adapters, middle),
        draw.normal(adapters, width, middle),
        draw.normal(adapters, width),
    )


def gelu(z):
    return z * (1 + math.erf(z / math.sqrt(2))) / 2


def one_output(token, down, down_bias, up, up_bias):
    """One adapter on one token (C,), in float64, one number at a time."""
    hidden = [
        gelu(math.fsum([*(w * t for w, t in zip(row, token, strict=True)), b]))
        for row, b in zip(down, down_bias, strict=True)
    ]
    return [
        math.fsum([t, b, *(w * h for w, h in zip(row, hidden, strict=True))])
        for t, row, b in zip(token, up, up_bias, strict=True)
    ]


@spec("vitaf-adapters", "adapter_outputs")
@given(draw=draws(), adapters=SIZES, batch=SIZES, tokens=SIZES, width=SIZES, middle=SIZES)
def test_an_adapter_adds_a_bottleneck_to_what_it_is_given(draw, adapters, batch, tokens, width, middle):
    x, parts = draw.normal(batch, tokens, width), weights(draw, adapters, width, middle)
    expected = [
        [[one_output(token, *(p[k] for p in map(f64, parts))) for token in sample] for sample in f64(x)]
        for k in range(adapters)
    ]
    close(call("adapter_outputs", x, *parts), expected, magnitude=20)


@spec("vitaf-adapters", "adapter_outputs")
def test_adapters_worked_by_hand():
    # One channel, one hidden unit: the first adapter adds 3 GELU(2 x - 1) + 0.5, the second nothing.
    def of(*values):
        return torch.tensor(values, dtype=torch.float64)

    x = of(1.0, 0.5, -20.0).view(1, 3, 1)
    parts = of(2, 1).view(2, 1, 1), of(-1, 0).view(2, 1), of(3, 0).view(2, 1, 1), of(0.5, 0).view(2, 1)
    close(call("adapter_outputs", x, *parts)[0, 0, :, 0], [1 + 3 * 0.8413447460685429 + 0.5, 1.0, -19.5])
    close(call("adapter_outputs", x, *parts)[1], f64(x))


@spec("vitaf-adapters", "adapter_outputs")
@given(draw=draws(), adapters=SIZES)
def test_adapters_without_weights_hand_on_as_often_as_they_are_what_they_are_given(draw, adapters):
    """So that their sum begins as a multiple: two of them double."""
    x, parts = draw.normal(2, 3, 4), [0 * p for p in weights(draw, adapters, 4, 2)]
    outputs = call("adapter_outputs", x, *parts)
    close(outputs.sum(0), adapters * f64(x))


@spec("vitaf-adapters", "adapter_outputs")
@given(draw=exact_draws())
def test_adapters_have_the_gradient_of_input_and_weights(draw):
    gradients(lambda x, *parts: call("adapter_outputs", x, *parts), draw.normal(2, 2, 3), *weights(draw, 2, 3, 2))


# The cosine of a pair


def mean_of_squared_cosines(first, second):
    squares = []
    for a, b in zip(first.reshape(-1, first.shape[2]), second.reshape(-1, second.shape[2]), strict=True):
        dot = math.fsum(p * q for p, q in zip(a, b, strict=True))
        squares.append((dot / (max(math.hypot(*a), 1e-8) * max(math.hypot(*b), 1e-8))) ** 2)
    return math.fsum(squares) / len(squares)


@spec("vitaf-cosine", "pair_cosine_loss")
@given(draw=draws(), batch=SIZES, tokens=SIZES, width=SIZES)
def test_the_loss_is_the_mean_squared_cosine_of_tokens(draw, batch, tokens, width):
    first, second = (draw.place(draw.rows(batch * tokens, width).reshape(batch, tokens, width)) for _ in range(2))
    close(call("pair_cosine_loss", first, second), mean_of_squared_cosines(f64(first), f64(second)))


@spec("vitaf-cosine", "pair_cosine_loss")
def test_the_loss_worked_by_hand():
    # Two samples of two tokens: cosines 1, -1, 0 and 0.6.
    first = torch.tensor([[[2.0, 0], [0, 3]], [[1, 0], [5, 0]]], dtype=torch.float64)
    second = torch.tensor([[[7.0, 0], [0, -1]], [[0, 4], [3, 4]]], dtype=torch.float64)
    close(call("pair_cosine_loss", first, second), (1 + 1 + 0 + 0.36) / 4)
    zero = torch.zeros(1, 1, 2, dtype=torch.float64)
    close(call("pair_cosine_loss", zero, zero + 1), 0)
    close(call("pair_cosine_loss", torch.tensor([[[1e-9, 0.0]]], dtype=torch.float64), zero + 1), 0.005)


@spec("vitaf-cosine", "pair_cosine_loss")
@given(draw=draws(), batch=SIZES, tokens=SIZES)
def test_the_length_and_the_sign_of_a_token_do_not_matter(draw, batch, tokens):
    first, second = draw.normal(batch, tokens, 4), draw.normal(batch, tokens, 4)
    scaled = draw.place(-draw.sizes(batch * tokens).reshape(batch, tokens, 1) * second)
    value = call("pair_cosine_loss", first, second)
    close(call("pair_cosine_loss", first, scaled), f64(value))
    close(call("pair_cosine_loss", second, first), f64(value))
    close(call("pair_cosine_loss", first, first), 1.0)
    assert 0 <= float(value) <= 1 + 1e-6


@spec("vitaf-cosine", "pair_cosine_loss")
@given(draw=exact_draws(), batch=SIZES, tokens=SIZES)
def test_the_loss_has_the_gradient_of_either_adapter(draw, batch, tokens):
    gradients(lambda a, b: call("pair_cosine_loss", a, b), draw.normal(batch, tokens, 3), draw.normal(batch, tokens, 3))


# The feature-wise transformation


def softplus(z):
    return max(z, 0.0) + math.log1p(math.exp(-100 * abs(z))) / 100


SPREADS = st.sampled_from([0.003, 0.05, 1.0])


def parts_of(draw, batch, tokens, width, spread):
    return draw.normal(batch, tokens, width), *(draw.normal(width, scale=s) for s in (spread, spread, 1, 1))


@spec("vitaf-transformation", "feature_wise_transformation")
@given(draw=draws(), batch=SIZES, tokens=SIZES, width=SIZES, spread=SPREADS)
def test_each_channel_is_scaled_and_shifted_by_its_own_lots(draw, batch, tokens, width, spread):
    given_ = parts_of(draw, batch, tokens, width, spread)
    x, gamma, beta, n, m = map(f64, given_)
    expected = np.full(x.shape, np.nan)
    for c in range(width):
        expected[:, :, c] = x[:, :, c] * (1 + n[c] * softplus(gamma[c])) + m[c] * softplus(beta[c])
    close(call("feature_wise_transformation", *given_), expected, magnitude=10)


@spec("vitaf-transformation", "feature_wise_transformation")
def test_the_transformation_worked_by_hand():
    def of(*values):
        return torch.tensor(values, dtype=torch.float64)

    # softplus: 0.3, 0 with log(2) / 100, and 0 far below.
    x, gamma, beta = of(2, 2, 2).view(1, 1, 3), of(0.3, 0, -5), of(0.5, -5, 0)
    got = call("feature_wise_transformation", x, gamma, beta, of(1, -1, 4), of(-2, 7, 3))
    close(got[0, 0], [2 * 1.3 - 1, 2 * (1 - math.log(2) / 100), 2 + 3 * math.log(2) / 100])


@spec("vitaf-transformation", "feature_wise_transformation")
@given(draw=draws(), batch=SIZES, tokens=SIZES)
def test_without_lots_nothing_changes(draw, batch, tokens):
    x, gamma, beta, n, m = parts_of(draw, batch, tokens, 3, 1.0)
    close(call("feature_wise_transformation", x, gamma, beta, 0 * n, 0 * m), f64(x))


@spec("vitaf-transformation", "feature_wise_transformation")
@given(draw=exact_draws(), spread=SPREADS)
def test_the_transformation_has_the_gradient_of_features_and_spreads(draw, spread):
    x, gamma, beta, n, m = parts_of(draw, 2, 2, 3, spread)
    gradients(lambda *moved: call("feature_wise_transformation", *moved, n, m), x, gamma, beta)


@spec("vitaf-transformation", "feature_wise_transformation")
@pytest.mark.parametrize("size", [1e4, -1e4])
def test_large_spreads_stay_finite(size):
    ones = torch.ones(1, dtype=torch.float64)
    got = call("feature_wise_transformation", ones.view(1, 1, 1), size * ones, 0.3 * ones, ones, ones)
    close(got, [[[1 + max(size, 0) + 0.3]]], magnitude=1e4)
