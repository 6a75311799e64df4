"""mmFAS Eq. 8: the concatenated heads through the output projection, `concat @ wo.T + bo`."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from spec_tests.equations.adapter import call, gradients, spec
from spec_tests.equations.strategies import draws, exact_draws, fewer
from spec_tests.equations.tolerances import close, f64

B, TOKENS, HEADS, SIZE, LAYER = (
    st.integers(1, 3),
    st.integers(1, 4),
    st.integers(1, 3),
    st.integers(1, 3),
    st.integers(0, 5),
)


def make(draw, batch, tokens, width):
    """Three streams and three projections, and the identity in place of the output projection."""
    inside = [draw.normal(batch, tokens, width) for _ in range(3)], [draw.normal(width, width) for _ in range(3)]
    return *inside, draw.place(torch.eye(width)), draw.place(torch.zeros(width))


@spec("mmfas-eq8", "switch_attention")
@given(draw=draws(), batch=B, tokens=TOKENS, heads=HEADS, size=SIZE, layer=LAYER)
def test_switch_attention_projects_the_concatenated_heads(draw, batch, tokens, heads, size, layer):
    width = heads * size
    streams, weights, eye, zero = make(draw, batch, tokens, width)
    wo, bo = draw.normal(width, width), draw.normal(width)
    concatenated = call("switch_attention", *streams, layer, *weights, eye, zero, heads)
    got = call("switch_attention", *streams, layer, *weights, wo, bo, heads)
    assert got.shape == (batch, tokens, width)
    close(got, f64(concatenated) @ f64(wo).T + f64(bo), magnitude=width**3 * 4)


@spec("mmfas-eq8", "switch_attention")
@given(draw=draws(), batch=B, tokens=TOKENS, heads=HEADS, size=SIZE)
def test_switch_attention_adds_the_bias_once_to_every_token(draw, batch, tokens, heads, size):
    width = heads * size
    streams, weights, eye, zero = make(draw, batch, tokens, width)
    bo = draw.normal(width)
    close(call("switch_attention", *streams, 0, *weights, zero * eye, bo, heads), bo.expand(batch, tokens, width))


@spec("mmfas-eq8", "switch_attention")
@given(draw=draws(), tokens=TOKENS, heads=HEADS, size=SIZE)
def test_switch_attention_has_no_residual_and_no_norm(draw, tokens, heads, size):
    width = heads * size
    streams, (wq, wk, wv), eye, zero = make(draw, 2, tokens, width)
    without = call("switch_attention", *streams, 0, wq, wk, 0 * wv, eye, zero, heads)
    close(without, torch.zeros(2, tokens, width))
    out = call("switch_attention", *streams, 0, wq, wk, wv, eye, zero, heads)
    close(call("switch_attention", *streams, 0, wq, wk, wv, 5 * eye, zero, heads), 5 * out, magnitude=width**2 * 20)
    close(call("switch_attention", *streams, 0, wq, wk, 5 * wv, eye, zero, heads), 5 * out, magnitude=width**2 * 20)


@spec("mmfas-eq8", "switch_attention")
@fewer(5)
@given(draw=exact_draws())
def test_switch_attention_has_the_gradient_of_the_output_projection_and_bias(draw):
    streams, weights, _, _ = make(draw, 1, 2, 4)
    gradients(
        lambda wo, bo: call("switch_attention", *streams, 1, *weights, wo, bo, 2), draw.normal(4, 4), draw.normal(4)
    )
