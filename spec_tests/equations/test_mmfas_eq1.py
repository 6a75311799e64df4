"""mmFAS Eq. 1: s[i, j] = a_i · b_j, of L2-normalised rows unless `normalise` is off."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from spec_tests.equations import formula_oracles as oracles
from spec_tests.equations.adapter import call, gradients, spec
from spec_tests.equations.strategies import draws, exact_draws, fewer
from spec_tests.equations.tolerances import close, f64

N, WIDTH = st.integers(1, 6), st.integers(1, 9)


@spec("mmfas-eq1", "similarity")
@given(draw=draws(), n=N, width=WIDTH)
def test_similarity_is_the_cosine_of_every_pair(draw, n, width):
    a, b = draw.rows(n, width), draw.rows(n, width)
    expected = oracles.similarity(f64(a), f64(b), True)
    close(call("similarity", a, b), expected)
    close(call("similarity", a, b, normalise=True), expected)


@spec("mmfas-eq1", "similarity")
@given(draw=draws(), n=N, width=WIDTH)
def test_similarity_without_normalising_is_the_dot_product_of_every_pair(draw, n, width):
    a, b = draw.normal(n, width), draw.normal(n, width)
    expected = oracles.similarity(f64(a), f64(b), False)
    close(call("similarity", a, b, normalise=False), expected, magnitude=width)
    close(call("similarity", a, b, False), expected, magnitude=width)


@spec("mmfas-eq1", "similarity")
@given(draw=draws(), n=N, width=WIDTH, normalise=st.booleans())
def test_similarity_swapping_the_arguments_transposes(draw, n, width, normalise):
    a, b = draw.normal(n, width), draw.normal(n, width)
    forth, back = call("similarity", a, b, normalise=normalise), call("similarity", b, a, normalise=normalise)
    close(forth, back.mT, magnitude=width)


@spec("mmfas-eq1", "similarity")
@given(draw=draws(), n=N, width=WIDTH)
def test_similarity_normalised_ignores_the_length_of_every_row(draw, n, width):
    a, b = draw.rows(n, width), draw.rows(n, width)
    stretched = call("similarity", a * draw.sizes(n), b * draw.sizes(n))
    close(stretched, call("similarity", a, b))


@spec("mmfas-eq1", "similarity")
@given(draw=draws(), n=N, width=WIDTH)
def test_similarity_of_a_row_with_itself_is_one_and_none_is_greater(draw, n, width):
    a = draw.rows(n, width)
    s = call("similarity", a, a)
    close(s.diagonal(), torch.ones(n))
    assert s.abs().max() <= 1 + 1e-5


@spec("mmfas-eq1", "similarity")
@given(draw=draws(), n=N, width=WIDTH, normalise=st.booleans())
def test_similarity_follows_a_permutation_of_either_batch(draw, n, width, normalise):
    a, b = draw.normal(n, width), draw.normal(n, width)
    p, q = draw.permutation(n), draw.permutation(n)
    s = call("similarity", a, b, normalise=normalise)
    close(call("similarity", a[p], b[q], normalise=normalise), s[p][:, q], magnitude=width)


@spec("mmfas-eq1", "similarity")
@fewer(5)
@given(draw=exact_draws(), normalise=st.booleans())
def test_similarity_has_the_gradient_of_both_arguments(draw, normalise):
    gradients(lambda a, b: call("similarity", a, b, normalise=normalise), draw.normal(3, 4), draw.normal(3, 4))
