"""MMDA Eq. 6: the alignment losses of all states and both classification losses, summed with weight 1."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from spec_tests.equations.adapter import call, gradients, spec
from spec_tests.equations.strategies import draws, exact_draws, fewer
from spec_tests.equations.tolerances import close, f64

STATES = st.integers(1, 15)


@spec("mmda-eq6", "rs2_loss")
@given(draw=draws(), states=STATES)
def test_rs2_loss_is_the_plain_sum(draw, states):
    align, visual, text = [draw.normal() for _ in range(states)], draw.normal(), draw.normal()
    expected = sum(float(f64(x)) for x in (*align, visual, text))
    close(call("rs2_loss", align, visual, text), expected, magnitude=10)


@spec("mmda-eq6", "rs2_loss")
@given(draw=draws(), states=STATES)
def test_rs2_loss_ignores_the_order_of_the_states(draw, states):
    align, visual, text = [draw.normal() for _ in range(states)], draw.normal(), draw.normal()
    shuffled = [align[i] for i in draw.permutation(states).tolist()]
    close(call("rs2_loss", shuffled, visual, text), call("rs2_loss", align, visual, text), magnitude=10)


@spec("mmda-eq6", "rs2_loss")
@fewer(5)
@given(draw=exact_draws(), states=STATES)
def test_rs2_loss_has_gradient_one_for_every_term(draw, states):
    terms = [draw.normal().requires_grad_() for _ in range(states + 2)]
    call("rs2_loss", terms[2:], terms[0], terms[1]).backward()
    assert all(term.grad is not None and torch.equal(term.grad, torch.ones_like(term)) for term in terms)
    gradients(lambda visual, text, *align: call("rs2_loss", list(align), visual, text), *terms)
