"""mmFAS shallow fusion: the mean of the two aligned RGB features."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from spec_tests.equations.adapter import call, gradients, spec
from spec_tests.equations.strategies import draws, exact_draws, fewer
from spec_tests.equations.tolerances import close, f64

SHAPE = st.lists(st.integers(1, 4), min_size=2, max_size=3)


@spec("mmfas-shallow", "shallow_fusion")
@given(draw=draws(), shape=SHAPE)
def test_shallow_fusion_is_the_mean_of_both(draw, shape):
    a, b = draw.normal(*shape), draw.normal(*shape)
    close(call("shallow_fusion", a, b), (f64(a) + f64(b)) / 2)


@spec("mmfas-shallow", "shallow_fusion")
@given(draw=draws(), shape=SHAPE)
def test_shallow_fusion_of_a_feature_with_itself_is_that_feature(draw, shape):
    a = draw.normal(*shape)
    assert torch.equal(call("shallow_fusion", a, a), a)


@spec("mmfas-shallow", "shallow_fusion")
@given(draw=draws(), shape=SHAPE)
def test_shallow_fusion_treats_both_alike(draw, shape):
    a, b = draw.normal(*shape), draw.normal(*shape)
    close(call("shallow_fusion", a, b), call("shallow_fusion", b, a))


@spec("mmfas-shallow", "shallow_fusion")
@fewer(5)
@given(draw=exact_draws())
def test_shallow_fusion_has_the_gradient_of_both(draw):
    gradients(lambda a, b: call("shallow_fusion", a, b), draw.normal(2, 3), draw.normal(2, 3))
