"""SSDG: the triplets of its asymmetric classes, its one-sided adversary, its classifier's weight."""

import math
from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from spec_tests.equations.adapter import call, gradients, spec
from spec_tests.equations.strategies import draws, exact_draws
from spec_tests.equations.tolerances import close, f64

COUNTS = st.integers(1, 8)
SIZES = st.integers(1, 4)
MARGINS = st.floats(0, 3)
CLEAR = 1e-4  # no term is nearer to 0: rounding must not decide whether a triplet is active

# The triplets


def terms(features, bonafide, place, margin):
    """|f_i - f_j| - |f_i - f_k| + margin of each triplet, in float64."""

    def distance(i, j):
        return math.sqrt(math.fsum((a - b) ** 2 for a, b in zip(features[i], features[j], strict=True)))

    named = ["bona fide" if live else f"attack of {where}" for live, where in zip(bonafide, place, strict=True)]
    return [
        distance(i, j) - distance(i, k) + margin
        for i, j, k in product(range(len(features)), repeat=3)
        if i != j and named[i] == named[j] and named[i] != named[k]
    ]


def triplet_loss(*given_):
    active = [t for t in terms(*given_) if t > 0]
    return math.fsum(active) / len(active) if active else 0.0


def samples(draw, count, width, sets=3):
    return draw.normal(count, width), draw.integers(count, 2), draw.integers(count, sets)


@spec("ssdg-triplets", "asymmetric_triplet_loss")
@given(draw=draws(), count=COUNTS, width=SIZES, margin=MARGINS)
def test_it_is_the_mean_over_active_triplets(draw, count, width, margin):
    features, bonafide, place = samples(draw, count, width)
    given_ = f64(features), bonafide.tolist(), place.tolist(), margin
    assume(min(map(abs, terms(*given_)), default=1.0) > CLEAR)
    got = call("asymmetric_triplet_loss", features, bonafide, place, margin=margin)
    close(got, triplet_loss(*given_), magnitude=20)


@spec("ssdg-triplets", "asymmetric_triplet_loss")
@given(draw=draws(), count=COUNTS)
def test_the_margin_is_a_tenth_unless_it_is_named(draw, count):
    given_ = samples(draw, count, 3)
    default = call("asymmetric_triplet_loss", *given_)
    close(default, call("asymmetric_triplet_loss", *given_, margin=0.1))


def line(*points):
    return torch.tensor(points, dtype=torch.float64).unsqueeze(1)


@spec("ssdg-triplets", "asymmetric_triplet_loss")
def test_triplets_worked_by_hand():
    # Bona fide at 0 and 3 of two data sets, attacks at 4 and 8 of one of them and at 10 of the other.
    features = line(0.0, 3.0, 4.0, 8.0, 10.0)
    bonafide, place = torch.tensor([1, 1, 0, 0, 0]), torch.tensor([0, 1, 0, 0, 1])
    # Anchor 0, its like 3: to 4 it is 3 - 4 + 1.5 = 0.5, to 8 and 10 below 0.
    # Anchor 3, its like 0: to 4 it is 3 - 1 + 1.5 = 3.5, to 8 and 10 below 0.
    # Anchor 4, its like 8: to 0 it is 4 - 4 + 1.5 = 1.5, to 3 it is 4 - 1 + 1.5 = 4.5, to 10 below 0.
    # Anchor 8, its like 4: to 3 it is 4 - 5 + 1.5 = 0.5, to 10 it is 4 - 2 + 1.5 = 3.5, to 0 below 0.
    # 10 is alone in its class.
    expected = (0.5 + 3.5 + 1.5 + 4.5 + 0.5 + 3.5) / 6
    close(call("asymmetric_triplet_loss", features, bonafide, place, margin=1.5), expected)


@spec("ssdg-triplets", "asymmetric_triplet_loss")
def test_a_single_active_triplet_is_the_mean():
    features, bonafide = line(0.0, 1.0, -1.5), torch.tensor([1, 1, 0])
    # 1 - 1.5 + 1 = 0.5 for the anchor 0; for the anchor 1: 1 - 2.5 + 1 below 0.
    close(call("asymmetric_triplet_loss", features, bonafide, torch.tensor([0, 1, 0]), margin=1.0), 0.5)


@spec("ssdg-triplets", "asymmetric_triplet_loss")
def test_a_triplet_exactly_at_the_margin_does_not_count():
    features, bonafide = line(0.0, 1.0, -2.0, -6.0), torch.tensor([1, 1, 0, 0])
    # Bona fide anchors: 1 - 2 + 1 = 0, 1 - 6 + 1, 1 - 3 + 1, 1 - 7 + 1. Attacks at -2: 4 - 2 + 1 = 3, 4 - 3 + 1 = 2; at
    # -6: 4 - 6 + 1, 4 - 7 + 1 below 0.
    close(call("asymmetric_triplet_loss", features, bonafide, torch.tensor([0, 1, 1, 1]), margin=1.0), 2.5)


@spec("ssdg-triplets", "asymmetric_triplet_loss")
@given(draw=draws(), count=COUNTS, which=st.sampled_from(["bona fide", "attacks of one", "attacks of all", "far"]))
def test_without_an_active_triplet_it_is_0_and_so_is_its_gradient(draw, count, which):
    features, _, place = samples(draw, count, 2, count)
    bonafide = torch.full_like(place, int(which == "bona fide"))
    if which == "attacks of one":
        place = torch.zeros_like(place)
    elif which == "attacks of all":  # each sample is alone in its class
        place = torch.arange(count, device=place.device)
    elif which == "far":
        bonafide = torch.arange(count, device=place.device) % 2
        place = torch.zeros_like(place)
        features = features.clamp(-1, 1) + 100.0 * bonafide.to(features)[:, None]
    leaf = features.detach().clone().requires_grad_()
    loss = call("asymmetric_triplet_loss", leaf, bonafide, place)
    close(loss, 0.0)
    close(torch.autograd.grad(loss, leaf)[0], np.zeros(leaf.shape))


@spec("ssdg-triplets", "asymmetric_triplet_loss")
@given(draw=draws(), count=COUNTS)
def test_the_data_set_of_a_bona_fide_sample_does_not_matter(draw, count):
    features, bonafide, place = samples(draw, count, 3)
    moved = torch.where(bonafide == 1, draw.integers(count, 3), place)
    close(
        call("asymmetric_triplet_loss", features, bonafide, moved, margin=1.0),
        f64(call("asymmetric_triplet_loss", features, bonafide, place, margin=1.0)),
    )


@spec("ssdg-triplets", "asymmetric_triplet_loss")
@given(draw=draws(["float64"]), count=COUNTS, margin=MARGINS)
def test_neither_order_nor_names_nor_the_origin_matter(draw, count, margin):
    features, bonafide, place = samples(draw, count, 3)
    assume(min(map(abs, terms(f64(features), bonafide.tolist(), place.tolist(), margin)), default=1.0) > CLEAR)
    order, names = draw.permutation(count), draw.permutation(3)
    moved = draw.place((features + draw.normal(1, 3))[order])
    again = call("asymmetric_triplet_loss", moved, bonafide[order], names[place][order], margin=margin)
    before = call("asymmetric_triplet_loss", features, bonafide, place, margin=margin)
    close(again, f64(before), magnitude=20)


@spec("ssdg-triplets", "asymmetric_triplet_loss")
@given(draw=draws(), margin=st.floats(0.1, 2))
def test_equal_features_cost_the_margin_and_their_gradient_is_0(draw, margin):
    features = draw.place(draw.normal(1, 3).repeat(4, 1)).detach().requires_grad_()
    bonafide = torch.tensor([1, 1, 0, 0], device=features.device)
    loss = call("asymmetric_triplet_loss", features, bonafide, 1 - bonafide, margin=margin)
    close(loss, margin)
    close(torch.autograd.grad(loss, features)[0], np.zeros((4, 3)))


@spec("ssdg-triplets", "asymmetric_triplet_loss")
@given(draw=exact_draws(), margin=st.sampled_from([0.1, 1.0, 9.0]))
def test_the_triplets_have_the_gradient_of_the_features(draw, margin):
    features, bonafide, place = draw.normal(6, 3), draw.integers(6, 2), draw.integers(6, 2)
    given_ = f64(features), bonafide.tolist(), place.tolist(), margin
    assume(terms(*given_))
    assume(min(map(abs, terms(*given_))) > CLEAR)
    gradients(lambda f: call("asymmetric_triplet_loss", f, bonafide, place, margin=margin), features)


# The adversary


def cross_entropies(logits, place):
    """In float64, one sample at a time."""
    costs = []
    for row, own in zip(logits, place, strict=True):
        top = max(row)
        costs.append(top - row[own] + math.log(math.fsum(math.exp(x - top) for x in row)))
    return costs


@spec("ssdg-single-side", "one_sided_loss")
@given(draw=draws(), count=COUNTS, sets=SIZES, scale=st.sampled_from([1.0, 30.0]))
def test_it_is_the_mean_cross_entropy_of_the_counted(draw, count, sets, scale):
    logits, place, counted = draw.normal(count, sets, scale=scale), draw.integers(count, sets), draw.integers(count, 2)
    costs = [c for c, here in zip(cross_entropies(f64(logits), f64(place)), f64(counted), strict=True) if here]
    expected = math.fsum(costs) / len(costs) if costs else 0.0
    close(call("one_sided_loss", logits, place, counted), expected, magnitude=8 * scale)


@spec("ssdg-single-side", "one_sided_loss")
def test_the_adversary_worked_by_hand():
    logits = torch.tensor([[0.0, math.log(3)], [7.0, -2.0], [math.log(7), 0.0]], dtype=torch.float64)
    place, counted = torch.tensor([0, 1, 1]), torch.tensor([1, 0, 1])
    close(call("one_sided_loss", logits, place, counted), (math.log(4) + math.log(8)) / 2)
    close(call("one_sided_loss", logits, place, torch.tensor([0, 0, 1])), math.log(8))


@spec("ssdg-single-side", "one_sided_loss")
@given(draw=draws(), count=COUNTS, sets=SIZES)
def test_what_is_not_counted_neither_counts_nor_learns(draw, count, sets):
    logits, place, counted = draw.normal(count, sets), draw.integers(count, sets), draw.integers(count, 2)
    other = draw.place(torch.where(counted[:, None] == 1, logits, draw.normal(count, sets)))
    first = logits.detach().clone().requires_grad_()
    before, after = (call("one_sided_loss", x, place, counted) for x in (first, other))
    close(after, f64(before))
    (gradient,) = torch.autograd.grad(before, first)
    assert not gradient[counted == 0].any()


@spec("ssdg-single-side", "one_sided_loss")
@given(draw=draws(), count=COUNTS)
def test_nobody_counted_costs_nothing_and_one_data_set_neither(draw, count):
    logits, place = draw.normal(count, 3), draw.integers(count, 3)
    close(call("one_sided_loss", logits, place, torch.zeros_like(place)), 0.0)
    close(call("one_sided_loss", logits[:, :1], torch.zeros_like(place), torch.ones_like(place)), 0.0)


@spec("ssdg-single-side", "one_sided_loss")
@given(draw=exact_draws())
def test_the_adversary_has_the_gradient_of_its_logits(draw):
    place = draw.integers(5, 3)
    counted = torch.tensor([1, 0, 1, 1, 0], device=place.device)
    gradients(lambda x: call("one_sided_loss", x, place, counted), draw.normal(5, 3))


# The classifier's weight

PER = st.sampled_from(["class", "input"])


def of_length_one(weight, per):
    out = np.zeros_like(weight)
    classes, inputs = weight.shape
    for c, n in product(range(classes), range(inputs)):
        together = [weight[c, j] for j in range(inputs)] if per == "class" else [weight[i, n] for i in range(classes)]
        out[c, n] = weight[c, n] / max(math.sqrt(math.fsum(x * x for x in together)), 1e-12)
    return out


@spec("ssdg-weight", "normalised_weight")
@given(draw=draws(), classes=SIZES, inputs=SIZES, per=PER)
def test_rows_or_columns_get_length_one(draw, classes, inputs, per):
    weight = draw.rows(classes, inputs)
    close(call("normalised_weight", weight, per=per), of_length_one(f64(weight), per))


@spec("ssdg-weight", "normalised_weight")
def test_the_weight_worked_by_hand():
    weight = torch.tensor([[3.0, 4.0], [0.0, 3.0]], dtype=torch.float64)
    close(call("normalised_weight", weight, per="class"), [[0.6, 0.8], [0.0, 1.0]])
    close(call("normalised_weight", weight, per="input"), [[1.0, 0.8], [0.0, 0.6]])
    close(call("normalised_weight", weight), [[0.6, 0.8], [0.0, 1.0]])


@spec("ssdg-weight", "normalised_weight")
@given(draw=draws(), classes=SIZES, inputs=SIZES, per=PER)
def test_positive_factors_of_what_is_normalised_together_cancel(draw, classes, inputs, per):
    weight = draw.normal(classes, inputs)
    factors = draw.sizes(classes) if per == "class" else draw.sizes(inputs).mT
    scaled = draw.place(weight * factors)
    close(call("normalised_weight", scaled, per=per), f64(call("normalised_weight", weight, per=per)))


@spec("ssdg-weight", "normalised_weight")
@pytest.mark.parametrize("per", ["class", "input"])
def test_lengths_below_the_least_count_as_that(per):
    weight = torch.zeros(2, 3, dtype=torch.float64)
    close(call("normalised_weight", weight, per=per), np.zeros((2, 3)))
    weight[0, 0], weight[1, 1] = 5e-13, 4e-12
    expected = np.zeros((2, 3))
    expected[0, 0], expected[1, 1] = 0.5, 1.0
    close(call("normalised_weight", weight, per=per), expected)


@spec("ssdg-weight", "normalised_weight")
@given(draw=exact_draws(), per=PER)
def test_the_weight_has_its_gradient(draw, per):
    gradients(lambda w: call("normalised_weight", w, per=per), draw.normal(2, 4))
