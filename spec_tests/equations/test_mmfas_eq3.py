"""mmFAS Eq. 3: ½[H(R2D) + H(D2R)] + ½[H(R2I) + H(I2R)], the diagonal being the target of every row."""

import math

import torch
from hypothesis import given
from hypothesis import strategies as st

from spec_tests.equations import formula_oracles as oracles
from spec_tests.equations.adapter import call, gradients, spec
from spec_tests.equations.strategies import draws, exact_draws, fewer
from spec_tests.equations.tolerances import close, f64

N, WIDTH, TAU = st.integers(1, 6), st.integers(1, 8), st.sampled_from([0.001, 0.07, 0.5, 2.0])


def three(draw, n, width):
    return draw.rows(n, width), draw.rows(n, width), draw.rows(n, width)


@spec("mmfas-eq3", "icl_loss")
@given(draw=draws(), n=N, width=WIDTH, tau=TAU)
def test_icl_loss_is_half_the_cross_entropies_of_both_directions_of_both_pairs(draw, n, width, tau):
    rgb, depth, ir = three(draw, n, width)
    expected = oracles.icl_loss(f64(rgb), f64(depth), f64(ir), tau, True)
    close(call("icl_loss", rgb, depth, ir, tau), expected, magnitude=1 / tau)
    close(
        call("icl_loss", rgb, depth, ir, draw.place(torch.tensor(tau, dtype=torch.float64)), normalise=True),
        expected,
        magnitude=2 / tau,
    )


@spec("mmfas-eq3", "icl_loss")
@given(draw=draws(), n=N, width=WIDTH, tau=st.sampled_from([0.07, 1.0]), size=st.sampled_from([1, 30]))
def test_icl_loss_without_normalising_reads_the_raw_dot_products(draw, n, width, tau, size):
    rgb, depth, ir = (draw.normal(n, width, scale=size) for _ in range(3))
    expected = oracles.icl_loss(f64(rgb), f64(depth), f64(ir), tau, False)
    largest = max(abs(oracles.similarity(f64(rgb), f64(x), False)).max() for x in (depth, ir))
    close(call("icl_loss", rgb, depth, ir, tau, normalise=False), expected, magnitude=width * largest / tau)
    close(call("icl_loss", rgb, depth, ir, tau, False), expected, magnitude=width * largest / tau)


@spec("mmfas-eq3", "icl_loss")
@given(draw=draws(), n=N, width=WIDTH)
def test_icl_loss_treats_depth_and_infrared_alike(draw, n, width):
    rgb, depth, ir = three(draw, n, width)
    close(call("icl_loss", rgb, depth, ir, 0.5), call("icl_loss", rgb, ir, depth, 0.5))


@spec("mmfas-eq3", "icl_loss")
@given(draw=draws(), n=N, width=WIDTH)
def test_icl_loss_of_a_pair_is_the_same_from_either_side(draw, n, width):
    rgb, depth, _ = three(draw, n, width)
    close(call("icl_loss", rgb, depth, depth, 0.5), call("icl_loss", depth, rgb, rgb, 0.5))


@spec("mmfas-eq3", "icl_loss")
@given(draw=draws(), n=N, width=WIDTH)
def test_icl_loss_is_the_sum_of_its_two_pairs(draw, n, width):
    rgb, depth, ir = three(draw, n, width)
    pairs = call("icl_loss", rgb, depth, depth, 0.5), call("icl_loss", rgb, ir, ir, 0.5)
    close(call("icl_loss", rgb, depth, ir, 0.5), (pairs[0] + pairs[1]) / 2)


@spec("mmfas-eq3", "icl_loss")
@given(draw=draws(), n=N, width=WIDTH, normalise=st.booleans())
def test_icl_loss_of_constant_features_is_twice_ln_n(draw, n, width, normalise):
    row = draw.normal(1, width)
    same = row.repeat(n, 1)
    close(call("icl_loss", same, same, same, 0.5, normalise=normalise), 2 * math.log(n), magnitude=2 * width)


@spec("mmfas-eq3", "icl_loss")
@given(draw=draws(), n=st.integers(2, 6), tau=st.sampled_from([0.2, 1.0]))
def test_icl_loss_is_least_for_aligned_orthogonal_features(draw, n, tau):
    eye = draw.place(torch.eye(n))
    aligned = call("icl_loss", eye, eye, eye, tau)
    close(aligned, 2 * math.log1p((n - 1) * math.exp(-1 / tau)))
    assert call("icl_loss", eye, eye.roll(1, 0), eye, tau) > aligned
    assert call("icl_loss", eye, eye, eye.roll(1, 0), tau) > aligned


@spec("mmfas-eq3", "icl_loss")
@given(draw=draws(), n=N, width=WIDTH)
def test_icl_loss_ignores_the_order_of_the_batch(draw, n, width):
    rgb, depth, ir = three(draw, n, width)
    p = draw.permutation(n)
    close(call("icl_loss", rgb[p], depth[p], ir[p], 0.5), call("icl_loss", rgb, depth, ir, 0.5))


@spec("mmfas-eq3", "icl_loss")
@given(draw=draws(), n=st.integers(2, 5))
def test_icl_loss_of_misaligned_features_at_a_tiny_temperature_is_large_and_finite(draw, n):
    eye = draw.place(torch.eye(n))
    # every row's own similarity is 0 and one other row's is 1: a cross-entropy of 1/τ each
    close(call("icl_loss", eye, eye.roll(1, 0), eye.roll(1, 0), 0.001), 2000.0)


@spec("mmfas-eq3", "icl_loss")
@fewer(5)
@given(draw=exact_draws(), normalise=st.booleans())
def test_icl_loss_has_the_gradient_of_features_and_temperature(draw, normalise):
    features = [draw.normal(3, 4) for _ in range(3)]
    gradients(
        lambda rgb, depth, ir, tau: call("icl_loss", rgb, depth, ir, tau, normalise=normalise),
        *features,
        torch.tensor(0.7).double(),
    )
