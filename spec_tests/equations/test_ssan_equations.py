"""SSAN: contents that are given styles, the contrast between assemblies, and whose style a content meets."""

import math
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from spec_tests.equations.adapter import call, gradients, spec
from spec_tests.equations.strategies import Draw, draws, exact_draws, fewer
from spec_tests.equations.tolerances import close, close_counts, f64

SIZES, SIDES, BIASED = st.integers(1, 3), st.integers(2, 4), st.booleans()
EPSILON = 1e-5


# A content that is given a style


def styled(x, scale, shift, biased):
    """In float64, one channel of one sample at a time; also how much the division enlarges roundings."""
    out, slope = np.empty_like(x), 0.0
    for place in np.ndindex(x.shape[:2]):
        values = x[place].ravel().tolist()
        mean = math.fsum(values) / len(values)
        squares = math.fsum((v - mean) ** 2 for v in values)
        deviation = math.sqrt(squares / (len(values) if biased else len(values) - 1) + EPSILON)
        out[place] = scale[place] * (x[place] - mean) / deviation + shift[place]
        slope = max(slope, abs(scale[place]) / deviation)
    return out, slope


def convolved(x, weight):
    """A 3 x 3 convolution of a map with a border of zeros, one position of one channel at a time."""
    framed = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    out = np.empty_like(x)
    for b, c, row, column in np.ndindex(x.shape):
        seen = framed[b, :, row : row + 3, column : column + 3]
        out[b, c, row, column] = math.fsum((seen * weight[c]).ravel())
    return out


def assembled(x, scale, shift, first, second, biased):
    once, steep = styled(convolved(x, first), scale, shift, biased)
    hidden = np.maximum(once, 0)
    twice, steeper = styled(convolved(hidden, second), scale, shift, biased)
    largest = max(np.abs(x).max(), np.abs(once).max())
    return x + twice, (1 + steep) * (1 + steeper) * largest * 9 * x.shape[1]


def content_and_style(draw, batch, channels, height, width):
    return (
        draw.normal(batch, channels, height, width),
        draw.normal(batch, channels),
        draw.normal(batch, channels),
    )


def weights(draw, channels):
    return [draw.normal(channels, channels, 3, 3, scale=0.5) for _ in range(2)]


@spec("ssan-assembly", "live_assembly")
@given(draw=draws(), batch=SIZES, channels=SIZES, height=SIDES, width=SIDES, biased=BIASED)
def test_a_live_block_adds_what_two_restyled_convolutions_make(draw, batch, channels, height, width, biased):
    given_ = [*content_and_style(draw, batch, channels, height, width), *weights(draw, channels)]
    expected, size = assembled(*map(f64, given_), biased)
    close(call("live_assembly", *given_, biased=biased), expected, magnitude=size)


@spec("ssan-assembly", "dead_assembly")
@given(draw=draws(), batch=SIZES, channels=SIZES, height=SIDES, width=SIDES, biased=BIASED)
def test_a_dead_block_adds_the_restyled_content_itself(draw, batch, channels, height, width, biased):
    given_ = content_and_style(draw, batch, channels, height, width)
    x, scale, shift = map(f64, given_)
    restyled, slope = styled(x, scale, shift, biased)
    close(call("dead_assembly", *given_, biased=biased), x + restyled, magnitude=2 * slope * np.abs(x).max())


@spec("ssan-assembly", "dead_assembly")
@given(draw=draws())
def test_a_nearly_flat_content_is_divided_by_the_root_of_epsilon_too(draw):
    x, scale, shift = content_and_style(draw, 2, 2, 3, 2)
    x = draw.place(0.003 * x)
    restyled, slope = styled(f64(x), f64(scale), f64(shift), True)
    close(call("dead_assembly", x, scale, shift, biased=True), f64(x) + restyled, magnitude=0.02 * slope)


@spec("ssan-assembly", "live_assembly", "dead_assembly")
@given(draw=draws(), channels=SIZES)
def test_the_variance_divides_by_one_less_unless_told(draw, channels):
    given_, convolutions = content_and_style(draw, 2, channels, 2, 2), weights(draw, channels)
    expected, size = assembled(*map(f64, (*given_, *convolutions)), False)
    close(call("live_assembly", *given_, *convolutions), expected, magnitude=size)
    x, scale, shift = map(f64, given_)
    restyled, slope = styled(x, scale, shift, False)
    close(call("dead_assembly", *given_), x + restyled, magnitude=2 * slope * np.abs(x).max())


@spec("ssan-assembly", "live_assembly", "dead_assembly")
@pytest.mark.parametrize(("biased", "divisor"), [(False, 3), (True, 4)])
def test_assemblies_worked_by_hand(biased, divisor):
    # The squares of -3, -1, 1, 3 add up to 20. What is left of them above zero, 0, 0, 1, 3 over the deviation d, has
    # the mean 1 / d and squares that add up to 6 / d^2.
    x = torch.tensor([[[[-3.0, -1.0], [1.0, 3.0]]]], dtype=torch.float64)
    scale, shift = torch.ones(1, 1, dtype=torch.float64), torch.zeros(1, 1, dtype=torch.float64)
    d = math.sqrt(20 / divisor + EPSILON)
    dead = call("dead_assembly", x, 2 * scale, shift + 1, biased=biased)
    close(dead, [[[[1 - 3 - 6 / d, 1 - 1 - 2 / d], [1 + 1 + 2 / d, 1 + 3 + 6 / d]]]])
    same = torch.zeros(1, 1, 3, 3, dtype=torch.float64)
    same[0, 0, 1, 1] = 1  # a convolution that changes nothing
    e = d * math.sqrt(6 / divisor / d**2 + EPSILON)
    live = call("live_assembly", x, scale, shift, same, same, biased=biased)
    close(live, [[[[-3 - 1 / e, -1 - 1 / e], [1.0, 3 + 2 / e]]]])


@spec("ssan-assembly", "live_assembly", "dead_assembly")
@given(draw=draws(), batch=SIZES, channels=SIZES, biased=BIASED)
def test_a_style_without_scale_only_shifts(draw, batch, channels, biased):
    x, _, shift = content_and_style(draw, batch, channels, 3, 2)
    still = draw.place(torch.zeros(batch, channels))
    shifted = f64(x) + f64(shift)[:, :, None, None]
    close(call("dead_assembly", x, still, shift, biased=biased), shifted)
    close(call("live_assembly", x, still, shift, *weights(draw, channels), biased=biased), shifted)


@spec("ssan-assembly", "live_assembly", "dead_assembly")
@given(draw=exact_draws(), channels=SIZES, biased=BIASED)
def test_an_assembly_of_a_sample_ignores_its_batch(draw, channels, biased):
    given_, convolutions = content_and_style(draw, 3, channels, 2, 3), weights(draw, channels)
    alone = [y[1:2] for y in given_]
    together = call("live_assembly", *given_, *convolutions, biased=biased)
    close(call("live_assembly", *alone, *convolutions, biased=biased), together[1:2], magnitude=1e3)
    close(call("dead_assembly", *alone, biased=biased), call("dead_assembly", *given_, biased=biased)[1:2])


@spec("ssan-assembly", "live_assembly", "dead_assembly")
@fewer(4)
@given(draw=exact_draws(), biased=BIASED)
def test_assemblies_have_the_gradient_of_content_style_and_weights(draw, biased):
    given_ = content_and_style(draw, 1, 2, 2, 3)
    gradients(lambda *x: call("dead_assembly", *x, biased=biased), *given_)
    gradients(lambda *x: call("live_assembly", *x, biased=biased), *smooth(draw), *weights(draw, 2))


def smooth(draw):
    """A content and a style of which nothing in the block is near zero where its gradient would jump."""
    x, scale, _ = content_and_style(draw, 1, 2, 2, 3)
    return x, draw.place(scale.sign() * 0.5), draw.place(torch.full((1, 2), 3.0))


# The contrast between assemblies


def contrast(own, mixed, same):
    terms = []
    for a, b, alike in zip(own, mixed, same, strict=True):
        dot = math.fsum(p * q for p, q in zip(a, b, strict=True))
        lengths = math.sqrt(math.fsum(a * a)) * math.sqrt(math.fsum(b * b))
        terms.append(-dot / lengths if alike else dot / lengths)
    return math.fsum(terms) / len(terms)


def flags(draw, count):
    return draw.integers(count, 2) == 1


@spec("ssan-contrast", "style_contrast")
@given(draw=draws(), count=st.integers(1, 6), width=st.integers(1, 5))
def test_the_contrast_is_the_mean_of_signed_cosines(draw, count, width):
    own, mixed, same = draw.rows(count, width), draw.rows(count, width), flags(draw, count)
    close(call("style_contrast", own, mixed, same), contrast(f64(own), f64(mixed), same.tolist()))


@spec("ssan-contrast", "style_contrast")
def test_the_contrast_worked_by_hand():
    own = torch.tensor([[1.0, 0], [3, 4], [2, 0], [0, 5]], dtype=torch.float64)
    mixed = torch.tensor([[3.0, 0], [4, 3], [-1, 0], [1, 0]], dtype=torch.float64)  # cosines 1, 24 / 25, -1, 0
    same = torch.tensor([True, False, False, True])
    close(call("style_contrast", own, mixed, same), (-1 + 0.96 - 1 - 0) / 4)


@spec("ssan-contrast", "style_contrast")
@given(draw=draws(), count=st.integers(1, 6), width=st.integers(2, 5))
def test_lengths_do_not_matter_and_classes_turn_the_sign(draw, count, width):
    own, mixed, same = draw.rows(count, width), draw.rows(count, width), flags(draw, count)
    value = call("style_contrast", own, mixed, same)
    longer = call("style_contrast", own * draw.sizes(count), mixed * draw.sizes(count), same)
    close(longer, value)
    close(call("style_contrast", own, mixed, ~same), -value)


@spec("ssan-contrast", "style_contrast")
@given(draw=draws(), width=st.integers(1, 5))
def test_a_feature_of_zeros_counts_as_at_right_angles(draw, width):
    own, mixed = draw.rows(2, width), draw.rows(2, width)
    same = torch.tensor([True, True], device=own.device)
    mask = draw.place(torch.tensor([[1.0], [0.0]]).expand(2, width))
    half = contrast(f64(own)[:1], f64(mixed)[:1], [True]) / 2
    close(call("style_contrast", own, mixed * mask, same), half)
    close(call("style_contrast", own * mask, mixed, same), half)


@spec("ssan-contrast", "style_contrast")
@given(draw=exact_draws(), count=st.integers(1, 4))
def test_the_gradient_reaches_the_mixed_features_alone(draw, count):
    own, mixed, same = draw.normal(count, 3), draw.normal(count, 3), flags(draw, count)
    gradients(lambda x: call("style_contrast", own, x, same), mixed)
    own, mixed = own.requires_grad_(), mixed.requires_grad_()
    of_own, of_mixed = torch.autograd.grad(call("style_contrast", own, mixed, same), (own, mixed), allow_unused=True)
    assert of_own is None or not of_own.any()
    assert of_mixed is not None


# Whose style a content meets


@spec("ssan-partners", "style_partners")
@given(draw=draws(), count=st.integers(1, 9), others=st.booleans())
@example(draw=Draw(0), count=1, others=True)
def test_every_sample_lends_its_style_once(draw, count, others):
    partners = call("style_partners", count, draw.generator(), others=others)
    assert partners.dtype == torch.int64
    assert sorted(partners.tolist()) == list(range(count))


@spec("ssan-partners", "style_partners")
@given(draw=draws(), count=st.integers(2, 9))
def test_others_stand_in_one_ring(draw, count):
    partners = call("style_partners", count, draw.generator(), others=True).tolist()
    seen, place = [], 0
    for _ in range(count):
        place = partners[place]
        seen.append(place)
    assert sorted(seen) == list(range(count))


@spec("ssan-partners", "style_partners")
def test_partners_worked_by_hand():
    generator = torch.Generator().manual_seed(0)
    assert call("style_partners", 1, generator).tolist() == [0]
    assert call("style_partners", 1, generator, others=True).tolist() == [0]
    assert call("style_partners", 2, generator, others=True).tolist() == [1, 0]


@spec("ssan-partners", "style_partners")
@fewer(10)
@given(draw=draws(), count=st.integers(2, 4), others=st.booleans())
def test_every_permutation_and_every_ring_is_as_likely(draw, count, others):
    generator, total = draw.generator(), 1500
    drawn = Counter(tuple(call("style_partners", count, generator, others=others).tolist()) for _ in range(total))
    outcomes = math.factorial(count - 1 if others else count)
    never = {f"outcome {i}": 1 / outcomes for i in range(len(drawn), outcomes)}
    close_counts(drawn, dict.fromkeys(drawn, 1 / outcomes) | never)


@spec("ssan-partners", "style_partners")
@given(draw=draws(), seed=st.integers(0, 2**31), others=st.booleans())
def test_partners_repeat_themselves_from_the_same_state_and_are_drawn_afresh_after(draw, seed, others):
    generator = torch.Generator(draw.device).manual_seed(seed)
    first, next_ = (call("style_partners", 40, generator, others=others) for _ in range(2))
    again = call("style_partners", 40, torch.Generator(draw.device).manual_seed(seed), others=others)
    assert first.device == generator.device
    assert torch.equal(first, again)
    assert not torch.equal(first, next_)


@spec("ssan-partners", "style_partners")
@given(draw=draws())
def test_a_sample_may_meet_itself_unless_told(draw):
    generator = draw.generator()
    drawn = [call("style_partners", 2, generator).tolist() for _ in range(60)]
    assert [0, 1] in drawn
