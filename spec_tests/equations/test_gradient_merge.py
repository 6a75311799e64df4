"""Gradients of three modalities' losses, projected onto each other and merged."""

import math

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from spec_tests.equations.adapter import call, gradients, spec
from spec_tests.equations.strategies import draws, exact_draws
from spec_tests.equations.tolerances import close, f64

SIZES, MODALITIES = st.integers(1, 4), st.integers(2, 4)
EPSILONS = st.sampled_from([0.0, 1e-8])
SCALES = st.sampled_from([1e-25, 3e-5, 1.0, 100.0])  # at the first two an epsilon changes the projection


def dot(a, b):
    return math.fsum((a * b).ravel().tolist())


def projected(gradient, base, epsilon=0.0):
    """In float64: what of `gradient` agrees with `base`, which is not zero."""
    along = dot(gradient, base) / (dot(base, base) + epsilon) * base
    return along if dot(gradient, base) > 0 else gradient - along


def merged(gradients, own, fastest, weights, epsilon=0.0):
    others = [j for j in range(len(gradients)) if j != own]
    if own == fastest:
        rest = np.sum([gradients[j] for j in others], 0)
        return weights[own] * projected(gradients[own], rest, epsilon) + rest
    return gradients[own] + np.sum([weights[j] * projected(gradients[j], gradients[own], epsilon) for j in others], 0)


def many(draw, modalities, *shape):
    """Gradients of each modality and their weights."""
    weights = [draw.place(torch.tensor(draw.number(0.1, 1))) for _ in range(modalities)]
    return [draw.normal(*shape) for _ in range(modalities)], weights


@spec("gradient-merge", "projected_gradient")
@given(draw=draws(), rows=SIZES, width=SIZES, scale=SCALES, epsilon=EPSILONS)
def test_a_projection_is_what_agrees_with_the_base(draw, rows, width, scale, epsilon):
    gradient, base = draw.normal(rows, width), draw.normal(rows, width, scale=scale)
    got = call("projected_gradient", gradient, base, epsilon)
    close(got, projected(f64(gradient), f64(base), epsilon), magnitude=20)


@spec("gradient-merge", "projected_gradient")
def test_projections_worked_by_hand():
    base = torch.tensor([[2.0, 0], [0, 0]], dtype=torch.float64)
    for gradient, expected in (
        ([[3.0, 5], [0, 1]], [[3, 0], [0, 0]]),  # the same way: along base
        ([[-3.0, 5], [0, 1]], [[0, 5], [0, 1]]),  # against it: at a right angle to base
        ([[0.0, 5], [0, 1]], [[0, 5], [0, 1]]),  # at a right angle already
        ([[2.0, 0], [0, 0]], [[2, 0], [0, 0]]),  # equal
        ([[-2.0, 0], [0, 0]], [[0, 0], [0, 0]]),  # opposed
        ([[0.0, 0], [0, 0]], [[0, 0], [0, 0]]),
    ):
        got = call("projected_gradient", torch.tensor(gradient, dtype=torch.float64), base)
        close(got, expected)
    gradient = torch.tensor([[1.0, -2], [3, 4]], dtype=torch.float64)
    close(call("projected_gradient", gradient, torch.zeros_like(gradient)), f64(gradient))


@spec("gradient-merge", "projected_gradient")
def test_a_short_base_counts_less_with_an_epsilon_alone():
    base = torch.tensor([1e-4, 0.0], dtype=torch.float64)  # its square is 1e-8
    gradient = torch.tensor([1e-4, 7.0], dtype=torch.float64)
    close(1e4 * call("projected_gradient", gradient, base, 1e-8), [0.5, 0.0])
    close(1e4 * call("projected_gradient", gradient, base), [1.0, 0.0])


@spec("gradient-merge", "projected_gradient")
@given(draw=draws(), width=SIZES, length=st.sampled_from([1e-25, 1e-8, 1.0, 1e15]))
def test_without_an_epsilon_the_length_of_the_base_does_not_matter(draw, width, length):
    gradient, base = draw.normal(width), draw.normal(width)
    close(
        call("projected_gradient", gradient, length * base),
        f64(call("projected_gradient", gradient, base)),
        magnitude=20,
    )


@spec("gradient-merge", "projected_gradient")
@given(draw=exact_draws(), width=st.integers(2, 5))
def test_no_projection_points_against_its_base(draw, width):
    gradient, base = draw.normal(width), draw.normal(width)
    got = call("projected_gradient", gradient, base)
    assert dot(f64(got), f64(base)) >= -1e-7
    assert got.norm() <= gradient.norm() * (1 + 1e-7)


@spec("gradient-merge", "projected_gradient")
@given(draw=exact_draws())
def test_a_projection_has_the_gradient_of_both(draw):
    gradient, base = draw.normal(3), draw.normal(3)
    if abs(dot(f64(gradient), f64(base))) > 1e-3:  # where they are at a right angle it jumps
        gradients(lambda g, b: call("projected_gradient", g, b), gradient, base)


@spec("gradient-merge", "merged_gradient")
@given(
    draw=draws(), modalities=MODALITIES, width=SIZES, own=st.integers(0, 3), fastest=st.integers(0, 3),
    epsilon=st.sampled_from([0.0, 1.0]),
)  # fmt: skip
def test_a_slow_modality_keeps_its_gradient_and_the_fastest_gives_way(draw, modalities, width, own, fastest, epsilon):
    own, fastest = own % modalities, fastest % modalities
    of_each, weights = many(draw, modalities, 2, width)
    expected = merged([*map(f64, of_each)], own, fastest, [*map(float, weights)], epsilon)
    close(call("merged_gradient", of_each, own, fastest, weights, epsilon), expected, magnitude=20)


@spec("gradient-merge", "merged_gradient")
def test_merging_worked_by_hand():
    # Projected onto the first, the second is (3, 0) and the third (0, 4).
    of_each = [torch.tensor(g, dtype=torch.float64) for g in ([2.0, 0.0], [3.0, 1.0], [-5.0, 4.0])]
    weights = [torch.tensor(w, dtype=torch.float64) for w in (0.5, 0.25, 0.125)]
    slow = call("merged_gradient", of_each, 0, 1, weights)
    close(slow, [2 + 0.75, 0.5], magnitude=5)
    # The others' sum is (-2, 5), against which (2, 0) points: at a right angle to it (50, 20) / 29 is left.
    fast = call("merged_gradient", of_each, 0, 0, weights)
    close(fast, [-2 + 0.5 * 50 / 29, 5 + 0.5 * 20 / 29], magnitude=5)


@spec("gradient-merge", "merged_gradient")
@given(draw=exact_draws(), width=st.integers(2, 4))
def test_weights_count_for_others_of_the_slow_and_for_the_fastest_alone(draw, width):
    of_each, weights = many(draw, 3, width)
    for own, fastest, count in ((0, 0, {0}), (0, 1, {1, 2}), (2, 1, {0, 1})):
        before = call("merged_gradient", of_each, own, fastest, weights)
        for j in range(3):
            moved = [w + 0.5 * (k == j) for k, w in enumerate(weights)]
            assert torch.equal(before, call("merged_gradient", of_each, own, fastest, moved)) == (j not in count)


@spec("gradient-merge", "merged_gradient")
@given(draw=exact_draws(), own=st.integers(0, 2), fastest=st.integers(0, 2))
def test_a_merged_gradient_has_the_gradient_of_gradients_and_weights(draw, own, fastest):
    of_each, weights = many(draw, 3, 3)
    base = [g for j, g in enumerate(of_each) if j != own]
    pairs = [(of_each[own], sum(base))] if own == fastest else [(g, of_each[own]) for g in base]
    if all(abs(dot(f64(a), f64(b))) > 1e-3 for a, b in pairs):
        gradients(lambda *x: call("merged_gradient", list(x[:3]), own, fastest, list(x[3:])), *of_each, *weights)


def toy(draw, unseen):
    """Four parameters, and a loss of each modality that is linear in them with the gradients that are returned;
    the loss of modality `unseen` does not reach the first."""
    parameters = [nn.Parameter(draw.normal(2, 3)) for _ in range(4)]
    slopes = [[draw.normal(2, 3) for _ in parameters] for _ in range(3)]
    slopes[unseen][0] = torch.zeros_like(slopes[unseen][0])
    losses = [
        torch.stack(
            [(p * s).sum() for k, (p, s) in enumerate(zip(parameters, own, strict=True)) if (k, j) != (0, unseen)]
        ).sum()
        for j, own in enumerate(slopes)
    ]
    return parameters, losses, slopes


@spec("gradient-merge", "add_merged_gradients")
@given(
    draw=draws(), fast=st.sets(st.integers(0, 2)), unseen=st.integers(0, 2), before=st.booleans(),
    epsilon=st.sampled_from([0.0, 1.0]),
)  # fmt: skip
def test_each_parameter_gets_what_its_modality_gets(draw, fast, unseen, before, epsilon):
    parameters, losses, slopes = toy(draw, unseen)
    _, weights = many(draw, 3, 1)
    owns, old = [1, 0, 2, None], draw.normal(2, 3)
    if before:
        for parameter in parameters:
            parameter.grad = old.clone()
    call("add_merged_gradients", losses, [*zip(parameters, owns, strict=True)], fast, weights, epsilon)
    for place, (parameter, own) in enumerate(zip(parameters, owns, strict=True)):
        of_each = [f64(s[place]) for s in slopes]
        fastest = own if own in fast else None
        expected = np.sum(of_each, 0) if own is None else merged(of_each, own, fastest, [*map(float, weights)], epsilon)
        close(parameter.grad, expected + before * f64(old), magnitude=20)


@spec("gradient-merge", "add_merged_gradients")
@given(draw=exact_draws())
def test_the_graph_stays_and_others_get_nothing(draw):
    parameters, losses, slopes = toy(draw, 0)
    _, weights = many(draw, 3, 1)
    call("add_merged_gradients", losses, [(parameters[1], 2)], [0], weights)
    assert [p.grad is None for p in parameters] == [True, False, True, True]
    torch.stack(losses).sum().backward()
    close(parameters[2].grad, f64(sum(own[2] for own in slopes)), magnitude=3)


@spec("gradient-merge", "add_merged_gradients")
@given(draw=exact_draws())
def test_nothing_is_added_where_nothing_is_owned(draw):
    parameters, losses, _ = toy(draw, 0)
    _, weights = many(draw, 3, 1)
    call("add_merged_gradients", losses, [], [0], weights)
    assert all(p.grad is None for p in parameters)
