"""What rows that train on several data sets share: gradient reversal, the root norm, a rate that falls in steps."""

import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from spec_tests.equations.adapter import call, gradients, spec
from spec_tests.equations.strategies import draws, exact_draws
from spec_tests.equations.tolerances import close, f64

SIZES = st.integers(1, 4)
COEFFICIENTS = st.floats(0, 2)

# Gradient reversal


@spec("gradient-reversal", "reversal_coefficient")
@given(progress=st.floats(0, 1))
@example(progress=0.25)
def test_the_coefficient_is_its_formula(progress):
    expected = (1 - math.exp(-10 * progress)) / (1 + math.exp(-10 * progress))
    assert call("reversal_coefficient", progress) == pytest.approx(expected, rel=1e-9, abs=1e-12)


@spec("gradient-reversal", "reversal_coefficient")
def test_the_coefficient_worked_by_hand():
    assert call("reversal_coefficient", 0.0) == pytest.approx(0, abs=1e-15)
    assert call("reversal_coefficient", math.log(3) / 10) == pytest.approx(0.5, rel=1e-12)
    assert call("reversal_coefficient", 1.0) == pytest.approx(0.99990920426, rel=1e-10)


@spec("gradient-reversal", "reversal_coefficient")
@given(a=st.floats(0, 1), b=st.floats(0, 1))
def test_the_coefficient_rises_from_0_and_stays_below_1(a, b):
    low, high = (call("reversal_coefficient", p) for p in sorted((a, b)))
    assert 0 <= low <= high < 1


def gradient(function, x, upstream):
    leaf = x.detach().clone().requires_grad_()
    (got,) = torch.autograd.grad(function(leaf), leaf, upstream)
    return got


@spec("gradient-reversal", "reverse_gradient")
@given(draw=draws(), batch=SIZES, width=SIZES, coefficient=COEFFICIENTS)
def test_values_stay_and_gradients_are_turned(draw, batch, width, coefficient):
    x, upstream = draw.rows(batch, width), draw.normal(batch, width)
    assert torch.equal(call("reverse_gradient", x, coefficient), x)
    got = gradient(lambda leaf: call("reverse_gradient", leaf, coefficient), x, upstream)
    close(got, -coefficient * f64(upstream))


@spec("gradient-reversal", "reverse_gradient")
def test_reversal_worked_by_hand():
    x = torch.tensor([2.0, -3.0], dtype=torch.float64, requires_grad=True)
    y = call("reverse_gradient", x, 0.5)
    (got,) = torch.autograd.grad((y**2).sum(), x)  # 2 y = (4, -6), turned and halved
    close(y, [2.0, -3.0])
    close(got, [-2.0, 3.0])


@spec("gradient-reversal", "reverse_gradient")
@given(draw=draws(), first=COEFFICIENTS, second=COEFFICIENTS)
def test_two_reversals_multiply(draw, first, second):
    x, upstream = draw.normal(3, 2), draw.normal(3, 2)
    got = gradient(lambda leaf: call("reverse_gradient", call("reverse_gradient", leaf, first), second), x, upstream)
    close(got, first * second * f64(upstream))


@spec("gradient-reversal", "reverse_gradient")
@given(draw=draws())
def test_a_coefficient_of_0_stops_the_gradient_and_minus_1_lets_it_pass(draw):
    x, upstream = draw.normal(3, 2), draw.normal(3, 2)
    for coefficient, share in ((0.0, 0.0), (-1.0, 1.0)):
        got = gradient(lambda leaf, c=coefficient: call("reverse_gradient", leaf, c), x, upstream)
        close(got, share * f64(upstream))


@spec("gradient-reversal", "reverse_gradient")
@given(draw=draws())
def test_what_stands_behind_the_reversal_has_its_usual_gradient(draw):
    x, w = draw.normal(4, 3), draw.normal(3, 2).detach().clone().requires_grad_()
    (got,) = torch.autograd.grad((call("reverse_gradient", x, 0.7) @ w).sum(), w)
    close(got, np.repeat(f64(x).sum(0)[:, None], 2, axis=1))


# The root norm


def divided(x):
    """In float64, one sample at a time."""
    out = np.empty_like(x)
    for b, row in enumerate(x):
        length = max(math.sqrt(math.fsum(value * value for value in row)), 1e-12)
        out[b] = [value / math.sqrt(2 * length) for value in row]
    return out


@spec("root-norm", "root_normalised")
@given(draw=draws(), batch=SIZES, width=SIZES)
def test_features_are_divided_by_the_root_of_twice_their_length(draw, batch, width):
    x = draw.rows(batch, width)
    close(call("root_normalised", x), divided(f64(x)), magnitude=10)


@spec("root-norm", "root_normalised")
def test_the_root_norm_worked_by_hand():
    x = torch.tensor([[3.0, 4.0], [0.0, 2.0], [24.0, 7.0]], dtype=torch.float64)  # lengths 5, 2, 25
    root = math.sqrt(10)
    close(call("root_normalised", x), [[3 / root, 4 / root], [0.0, 1.0], [24 / math.sqrt(50), 7 / math.sqrt(50)]])


@spec("root-norm", "root_normalised")
@given(draw=draws(), batch=SIZES, width=SIZES)
def test_a_features_factor_becomes_its_root(draw, batch, width):
    x, factors = draw.normal(batch, width), draw.sizes(batch)
    scaled = call("root_normalised", draw.place(x * factors))
    close(scaled, f64(call("root_normalised", x)) * np.sqrt(f64(factors)), magnitude=10)


@spec("root-norm", "root_normalised")
@given(draw=draws(), width=SIZES)
def test_the_root_norm_of_a_sample_ignores_its_batch(draw, width):
    x = draw.normal(3, width)
    close(call("root_normalised", x[:1]), f64(call("root_normalised", x)[:1]))


@spec("root-norm", "root_normalised")
def test_a_feature_without_length_stays_and_has_a_gradient():
    x = torch.tensor([[0.0, 0.0], [1e-14, 0.0], [2e-12, 0.0]], dtype=torch.float64, requires_grad=True)
    out = call("root_normalised", x)
    close(out * 1e6, [[0.0, 0.0], [1e-8 / math.sqrt(2e-12), 0.0], [1.0, 0.0]])
    (got,) = torch.autograd.grad(out[:2].sum(), x)
    close(got, [[1 / math.sqrt(2e-12)] * 2] * 2 + [[0.0, 0.0]])


@spec("root-norm", "root_normalised")
@given(draw=exact_draws())
def test_the_root_norm_has_its_gradient(draw):
    gradients(lambda x: call("root_normalised", x), draw.normal(3, 3))


# A rate that falls in steps

STEPS = st.integers(1, 50)
RATES = st.floats(1e-6, 10.0)
FACTORS = st.sampled_from([0.1, 0.5, 0.9])


@spec("stepped-rate", "stepped_rate")
@given(done=st.integers(0, 300), highest=RATES, every=STEPS, factor=FACTORS)
@example(done=40, highest=0.01, every=40, factor=0.5)
@example(done=39, highest=0.01, every=40, factor=0.5)
@example(done=80, highest=0.01, every=40, factor=0.1)
def test_it_is_multiplied_once_for_every_full_count(done, highest, every, factor):
    exact = Fraction(highest)
    for epoch in range(1, done + 1):
        if epoch % every == 0:
            exact *= Fraction(factor)
    assert call("stepped_rate", done, highest, every, factor) == pytest.approx(float(exact), rel=1e-9)


@spec("stepped-rate", "stepped_rate")
def test_the_stepped_rate_worked_by_hand():
    got = [call("stepped_rate", done, 0.8, 2, 0.5) for done in range(7)]
    assert got == pytest.approx([0.8, 0.8, 0.4, 0.4, 0.2, 0.2, 0.1], rel=1e-12)


@spec("stepped-rate", "stepped_rate")
@given(done=st.integers(0, 60), highest=RATES, every=STEPS, factor=FACTORS)
def test_a_full_count_later_it_is_the_factor_of_what_it_was(done, highest, every, factor):
    before, after = (call("stepped_rate", d, highest, every, factor) for d in (done, done + every))
    assert after == pytest.approx(factor * before, rel=1e-9)
    assert call("stepped_rate", done, highest, every, 1.0) == highest
