"""A-DeepPixBis: cosines with a learned direction, binary cross-entropy with an angular margin, attended cells."""

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
PLACES = st.sampled_from([(), (3,), (2, 3), (3, 1)])
SIDES = ["bona_fide", "attack", "both"]
MARGINS = st.floats(0, 1.5)


# Cosines


def cosine(vector, direction, normalise):
    dot = math.fsum(a * b for a, b in zip(vector, direction, strict=True))
    length = math.sqrt(math.fsum(a * a for a in vector))
    return dot / (length * (math.sqrt(math.fsum(b * b for b in direction)) if normalise else 1))


def vectors(draw, batch, channels, places):
    """(B, C, …) with vectors of very different lengths, and a direction (C,)."""
    x = draw.rows(batch * math.prod(places), channels).reshape(batch, *places, channels).movedim(-1, 1)
    return draw.place(x), draw.rows(1, channels)[0]


@spec("a_deeppixbis-cosine", "cosines_with")
@given(draw=draws(), batch=SIZES, channels=SIZES, places=PLACES, normalise=st.booleans())
def test_every_place_has_the_cosine_of_its_vector_with_the_direction(draw, batch, channels, places, normalise):
    x, direction = vectors(draw, batch, channels, places)
    given_, length = f64(x), float(np.linalg.norm(f64(direction)))
    expected = np.empty((batch, *places))
    for n, *place in np.ndindex(batch, *places):
        expected[n, *place] = cosine(given_[n, :, *place], f64(direction), normalise)
    close(call("cosines_with", x, direction, normalise=normalise), expected, magnitude=1 if normalise else length)
    if normalise:
        close(call("cosines_with", x, direction), expected)


@spec("a_deeppixbis-cosine", "cosines_with")
def test_cosines_worked_by_hand():
    x = torch.tensor([[[3.0, 0.0], [4.0, -2.0]]], dtype=torch.float64)  # (1, 2, 2): the vectors (3, 4) and (0, -2)
    direction = torch.tensor([0.0, 5.0], dtype=torch.float64)
    close(call("cosines_with", x, direction), [[0.8, -1.0]])
    close(call("cosines_with", x, direction, normalise=False), [[4.0, -5.0]])


@spec("a_deeppixbis-cosine", "cosines_with")
@given(draw=draws(), normalise=st.booleans())
def test_cosines_ignore_the_length_of_a_vector_and_only_released_code_sees_the_directions(draw, normalise):
    x, direction = vectors(draw, 3, 4, (2,))
    longer = draw.place(x * draw.sizes(6).reshape(3, 1, 2))
    found = call("cosines_with", x, direction, normalise=normalise)
    size = 4 * max(1.0, float(direction.norm()))
    close(call("cosines_with", longer, direction, normalise=normalise), found, magnitude=size)
    times = 3 * direction
    close(call("cosines_with", x, times, normalise=normalise), found if normalise else 3 * found, magnitude=3 * size)


@spec("a_deeppixbis-cosine", "cosines_with")
@pytest.mark.parametrize("normalise", [True, False])
def test_a_vector_of_zeros_has_the_cosine_zero(normalise):
    x, direction = torch.zeros(2, 3, 2, 2), torch.tensor([1.0, -2.0, 0.5])
    close(call("cosines_with", x, direction, normalise=normalise), np.zeros((2, 2, 2)))


@spec("a_deeppixbis-cosine", "cosines_with")
@given(draw=exact_draws(), normalise=st.booleans())
def test_cosines_have_the_gradient_of_vectors_and_direction(draw, normalise):
    x, direction = draw.normal(2, 3, 2, 1) + 0.1, draw.normal(3)
    gradients(lambda *given_: call("cosines_with", *given_, normalise=normalise), x, direction)


# Binary cross-entropy with a margin


def cost(c, bonafide, margin, side, nearest=1e-7):
    """-log of the probability of what the sample is, its angle turned away from what it should be."""
    theta = math.acos(min(max(c, -1 + nearest), 1 - nearest))
    if bonafide:
        turned = theta + margin if side in ("bona_fide", "both") else theta
        return -math.log(1 / (1 + math.exp(-math.cos(turned))))
    turned = theta - margin if side in ("attack", "both") else theta
    return -math.log(1 - 1 / (1 + math.exp(-math.cos(turned))))


def costs(cosines, bonafide, margin, side):
    out = np.empty(cosines.shape)
    for place in np.ndindex(cosines.shape):
        out[place] = cost(cosines[place], bonafide[place[0]], margin, side)
    return out


def cosines_of(draw, *shape):
    """Cosines from -0.99 to 0.99."""
    return draw.place(0.99 * torch.sin(draw.normal(*shape, scale=3.0)))


@spec("a_deeppixbis-margin", "margin_cross_entropy")
@given(draw=draws(), batch=SIZES, places=PLACES, margin=MARGINS, side=st.sampled_from(SIDES))
def test_each_cosine_costs_what_its_turned_angle_says(draw, batch, places, margin, side):
    cosines, bonafide = cosines_of(draw, batch, *places), draw.integers(batch, 2)
    expected = costs(f64(cosines), f64(bonafide), margin, side)
    close(call("margin_cross_entropy", cosines, bonafide, margin=margin, side=side), expected)
    floats = bonafide.to(cosines.dtype)
    close(call("margin_cross_entropy", cosines, floats, margin=margin, side=side), expected)


@spec("a_deeppixbis-margin", "margin_cross_entropy")
@given(draw=draws())
def test_the_margin_is_half_a_radian_for_bona_fide_samples_unless_told(draw):
    cosines, bonafide = cosines_of(draw, 4, 2), torch.tensor([1, 0, 0, 1]).to(draw.device)
    close(call("margin_cross_entropy", cosines, bonafide), costs(f64(cosines), f64(bonafide), 0.5, "bona_fide"))


@spec("a_deeppixbis-margin", "margin_cross_entropy")
def test_margin_cross_entropy_worked_by_hand():
    third = math.pi / 3
    cosines = torch.tensor([0.5, 0.5], dtype=torch.float64)  # 60 degrees, turned by 30 to 90 and to 30
    turned = call("margin_cross_entropy", cosines, torch.tensor([1, 0]), margin=third / 2, side="both")
    close(turned, [math.log(2), math.log(1 + math.exp(math.sqrt(3) / 2))])
    one = call("margin_cross_entropy", cosines, torch.tensor([1, 0]), margin=third / 2)
    close(one, [math.log(2), math.log(1 + math.exp(0.5))])


@spec("a_deeppixbis-margin", "margin_cross_entropy")
@given(draw=draws())
@example(draw=None)
def test_no_attack_costs_less_than_0_313_and_no_bona_fide_sample_less_than_0_348(draw):
    ends = torch.tensor([1.0, -1.0], dtype=torch.float64) if draw is None else cosines_of(draw, 2)
    found = call("margin_cross_entropy", ends, torch.tensor([1, 0]).to(ends.device))
    live, attack = math.log(1 + math.exp(-math.cos(0.5))), math.log(1 + math.exp(-1.0))
    assert (round(live, 3), round(attack, 3)) == (0.348, 0.313)
    assert found[0] > live - 1e-6
    assert found[1] > attack - 1e-6
    if draw is None:
        assert found.tolist() == pytest.approx([live, attack], abs=2e-4)


@spec("a_deeppixbis-margin", "margin_cross_entropy")
@pytest.mark.parametrize("side", SIDES)
def test_what_no_angle_has_is_clamped_and_has_no_gradient(side):
    cosines = torch.tensor([1.5, -1.5, 1.0, -1.0, 1.5, -1.5, 1.0, -1.0], dtype=torch.float64, requires_grad=True)
    bonafide = torch.tensor([1, 1, 1, 1, 0, 0, 0, 0])
    found = call("margin_cross_entropy", cosines, bonafide, margin=0.5, side=side)
    close(found, costs(f64(cosines), f64(bonafide), 0.5, side))
    (gradient,) = torch.autograd.grad(found.sum(), cosines)
    assert not gradient.any()


@spec("a_deeppixbis-margin", "margin_cross_entropy")
@given(draw=draws(), margin=MARGINS)
def test_a_margin_on_attacks_is_one_on_bona_fide_samples_with_classes_and_signs_exchanged(draw, margin):
    cosines, bonafide = cosines_of(draw, 4, 3), draw.integers(4, 2)
    exchanged = call("margin_cross_entropy", -cosines, 1 - bonafide, margin=margin, side="attack")
    close(call("margin_cross_entropy", cosines, bonafide, margin=margin), exchanged)


@spec("a_deeppixbis-margin", "margin_cross_entropy")
@given(draw=exact_draws(), margin=MARGINS, side=st.sampled_from(SIDES))
def test_margin_cross_entropy_has_the_gradient_of_cosines(draw, margin, side):
    cosines, bonafide = 0.9 * cosines_of(draw, 4, 2), torch.tensor([0, 1, 1, 0])
    gradients(lambda c: call("margin_cross_entropy", c, bonafide, margin=margin, side=side), cosines)


# Attended cells


def attended(costs_, attention, reduction):
    highest = max(attention)
    weights = [math.exp(a - highest) for a in attention]
    total = math.fsum(weights)
    sums = [math.fsum(w * c for w, c in zip(weights, cells.ravel(), strict=True)) / total for cells in costs_]
    return math.fsum(sums) / (len(sums) if reduction == "mean" else 1)


@spec("a_deeppixbis-attention", "attended_loss")
@given(draw=draws(), batch=SIZES, height=SIZES, width=SIZES, reduction=st.sampled_from(["mean", "sum"]))
def test_cells_count_by_the_softmax_of_their_attention(draw, batch, height, width, reduction):
    cells, attention = draw.normal(batch, height, width), draw.normal(height * width, scale=3.0)
    expected = attended(f64(cells), f64(attention), reduction)
    close(call("attended_loss", cells, attention, reduction=reduction), expected, magnitude=4 * batch)
    if reduction == "mean":
        close(call("attended_loss", cells, attention), expected, magnitude=4)


@spec("a_deeppixbis-attention", "attended_loss")
def test_attended_loss_worked_by_hand():
    cells = torch.tensor([[[1.0, 5.0]], [[2.0, 2.0]]], dtype=torch.float64)
    attention = torch.tensor([0.0, math.log(3)], dtype=torch.float64)  # weights 1/4 and 3/4: 4 and 2
    close(call("attended_loss", cells, attention), 3.0)
    close(call("attended_loss", cells, attention, reduction="sum"), 6.0)


@spec("a_deeppixbis-attention", "attended_loss")
@given(draw=draws(), shift=st.floats(-500, 500))
def test_equal_attention_whatever_its_size_is_the_mean_of_all_cells(draw, shift):
    cells = draw.normal(3, 2, 4)
    attention = draw.place(torch.full((8,), shift))
    close(call("attended_loss", cells, attention), f64(cells).mean(), magnitude=4)


@spec("a_deeppixbis-attention", "attended_loss")
@given(draw=exact_draws(), reduction=st.sampled_from(["mean", "sum"]))
def test_attended_loss_has_the_gradient_of_costs_and_attention(draw, reduction):
    inputs = draw.normal(3, 2, 2), draw.normal(4)
    gradients(lambda *given_: call("attended_loss", *given_, reduction=reduction), *inputs)
