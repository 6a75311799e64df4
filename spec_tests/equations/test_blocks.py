"""What several comparison rows share: squeeze-and-excitation, warm restarts."""

import math

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from spec_tests.equations.adapter import call, gradients, spec
from spec_tests.equations.strategies import draws, exact_draws
from spec_tests.equations.tolerances import close, f64

SIZES = st.integers(1, 4)


def excited(x, w1, b1, w2, b2):
    """Squeeze-and-excitation in float64, one channel of one sample at a time."""
    out = np.empty_like(x)
    for n, sample in enumerate(x):
        means = [math.fsum(channel.ravel()) / channel.size for channel in sample]
        sums = [math.fsum(w * m for w, m in zip(row, means, strict=True)) for row in w1]
        hidden = [max(0.0, total + b) for total, b in zip(sums, b1, strict=True)]
        for c, channel in enumerate(sample):
            logit = math.fsum(w * h for w, h in zip(w2[c], hidden, strict=True)) + b2[c]
            out[n, c] = channel / (1 + math.exp(-logit))
    return out


def inputs(draw, batch, channels, inner, height, width):
    x = draw.normal(batch, channels, height, width)
    weights = draw.normal(inner, channels), draw.normal(inner), draw.normal(channels, inner), draw.normal(channels)
    return x, *weights


@spec("squeeze-excitation", "squeeze_excitation")
@given(draw=draws(), batch=SIZES, channels=SIZES, inner=SIZES, height=SIZES, width=SIZES)
def test_each_channel_is_scaled_by_what_the_means_of_all_say(draw, batch, channels, inner, height, width):
    given_ = inputs(draw, batch, channels, inner, height, width)
    close(call("squeeze_excitation", *given_), excited(*map(f64, given_)), magnitude=4 * channels * inner)


@spec("squeeze-excitation", "squeeze_excitation")
def test_squeeze_excitation_worked_by_hand():
    x = torch.tensor([[[[1.0, 3.0]], [[4.0, 8.0]]]], dtype=torch.float64)  # means 2 and 6
    w1, b1 = [[1.0, 0.5], [-1.0, 0.0]], [-4.0, 1.0]  # hidden 1 and, cut at zero, 0
    w2, b2 = [[math.log(3), 5.0], [0.0, 5.0]], [0.0, 0.0]  # scales 3/4 and 1/2
    out = call("squeeze_excitation", x, *(torch.tensor(t, dtype=torch.float64) for t in (w1, b1, w2, b2)))
    close(out, [[[[0.75, 2.25]], [[2.0, 4.0]]]])


@spec("squeeze-excitation", "squeeze_excitation")
@given(draw=draws(), channels=SIZES, inner=SIZES)
def test_squeeze_excitation_of_a_sample_ignores_its_batch(draw, channels, inner):
    x, *weights = inputs(draw, 3, channels, inner, 2, 3)
    close(call("squeeze_excitation", x[:1], *weights), call("squeeze_excitation", x, *weights)[:1], magnitude=8)


@spec("squeeze-excitation", "squeeze_excitation")
@given(draw=exact_draws())
def test_squeeze_excitation_has_the_gradient_of_input_and_weights(draw):
    gradients(lambda *given_: call("squeeze_excitation", *given_), *inputs(draw, 2, 3, 2, 2, 2))


RATES = st.floats(1e-6, 1.0)


@spec("restarted-rate", "restarted_rate")
@given(progress=st.floats(0, 1, exclude_max=True), cycles=st.integers(1, 12), highest=RATES, lowest=RATES)
@example(progress=0.5, cycles=2, highest=0.1, lowest=0.001)
def test_the_rate_falls_along_half_a_cosine_in_every_cycle(progress, cycles, highest, lowest):
    position = progress * cycles
    within = position - math.floor(position)
    expected = lowest + 0.5 * (highest - lowest) * (1 + math.cos(math.pi * within))
    assert call("restarted_rate", progress, cycles, highest, lowest) == pytest.approx(expected, rel=1e-9, abs=1e-12)


@spec("restarted-rate", "restarted_rate")
@given(cycles=st.integers(1, 12), highest=RATES, lowest=RATES)
def test_every_cycle_begins_at_the_highest_rate_and_is_half_way_in_its_middle(cycles, highest, lowest):
    for cycle in range(cycles):
        middle = call("restarted_rate", (cycle + 0.5) / cycles, cycles, highest, lowest)
        assert middle == pytest.approx((highest + lowest) / 2, rel=1e-6)
    assert call("restarted_rate", 0.0, cycles, highest, lowest) == pytest.approx(highest, rel=1e-12)
    end = call("restarted_rate", 1 - 1e-9, cycles, highest, lowest)
    assert end == pytest.approx(lowest, rel=1e-6, abs=1e-9)
