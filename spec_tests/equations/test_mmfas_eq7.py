"""mmFAS Eq. 7: every head attends with its own part of the projected queries, keys and values."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from spec_tests.equations import formula_oracles as oracles
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
    streams = tuple(draw.normal(batch, tokens, width) for _ in range(3))
    return streams, tuple(draw.normal(width, width) for _ in range(3))


def heads_only(draw, streams, layer, weights, heads):
    """A layer whose output projection is the identity: the concatenated heads."""
    width = streams[0].shape[-1]
    eye, zero = draw.place(torch.eye(width)), draw.place(torch.zeros(width))
    return call("switch_attention", *streams, layer, *weights, eye, zero, heads)


@spec("mmfas-eq7", "switch_attention")
@given(draw=draws(), batch=B, tokens=TOKENS, heads=HEADS, size=SIZE, layer=LAYER)
def test_switch_attention_concatenates_the_heads_in_order(draw, batch, tokens, heads, size, layer):
    width = heads * size
    streams, weights = make(draw, batch, tokens, width)
    sources = oracles.switch([f64(s) for s in streams], layer, "RDI")
    expected = oracles.heads_concatenated(*sources, *map(f64, weights), heads)
    close(heads_only(draw, streams, layer, weights, heads), expected, magnitude=width * width * 4)


@spec("mmfas-eq7", "switch_attention")
@given(draw=draws(), batch=B, tokens=TOKENS, size=SIZE, layer=LAYER)
def test_switch_attention_head_reads_only_its_own_rows_of_the_projections(draw, batch, tokens, size, layer):
    heads, width = 3, 3 * size
    streams, weights = make(draw, batch, tokens, width)
    out = heads_only(draw, streams, layer, weights, heads)
    other = [w.clone() for w in weights]
    for w in other:
        w[size : 2 * size] = draw.normal(size, width)  # the second head's rows
    moved = heads_only(draw, streams, layer, other, heads)
    close(moved[..., :size], out[..., :size], magnitude=width * width * 4)
    close(moved[..., 2 * size :], out[..., 2 * size :], magnitude=width * width * 4)


@spec("mmfas-eq7", "switch_attention")
@given(draw=draws(), batch=B, tokens=TOKENS, heads=HEADS, size=SIZE)
def test_switch_attention_of_a_sample_ignores_the_rest_of_its_batch(draw, batch, tokens, heads, size):
    streams, weights = make(draw, batch + 1, tokens, heads * size)
    out = heads_only(draw, streams, 0, weights, heads)
    p = draw.permutation(batch + 1)
    close(heads_only(draw, [s[p] for s in streams], 0, weights, heads), out[p], magnitude=(heads * size) ** 2 * 4)
    close(heads_only(draw, [s[:1] for s in streams], 0, weights, heads), out[:1], magnitude=(heads * size) ** 2 * 4)


@spec("mmfas-eq7", "switch_attention")
@given(draw=draws(), tokens=TOKENS, heads=HEADS, size=SIZE)
def test_switch_attention_is_linear_in_the_value_projection(draw, tokens, heads, size):
    streams, (wq, wk, wv) = make(draw, 2, tokens, heads * size)
    out = heads_only(draw, streams, 1, (wq, wk, wv), heads)
    close(heads_only(draw, streams, 1, (wq, wk, -2 * wv), heads), -2 * out, magnitude=(heads * size) ** 2 * 8)


@spec("mmfas-eq7", "switch_attention")
@given(draw=draws(), heads=HEADS, size=SIZE)
def test_switch_attention_survives_huge_logits(draw, heads, size):
    streams, (wq, wk, wv) = make(draw, 2, 3, heads * size)
    out = heads_only(draw, streams, 0, (100 * wq, 100 * wk, wv), heads)
    expected = oracles.heads_concatenated(*map(f64, streams), f64(100 * wq), f64(100 * wk), f64(wv), heads)
    close(out, expected, magnitude=1e4 * (heads * size) ** 2 * 4)
    assert torch.isfinite(out).all()
    values = f64(streams[2]) @ f64(wv).T
    assert (f64(out) <= values.max(axis=1, keepdims=True) + 1e-4).all()
    assert (f64(out) >= values.min(axis=1, keepdims=True) - 1e-4).all()


@spec("mmfas-eq7", "switch_attention")
@fewer(5)
@given(draw=exact_draws(), layer=st.integers(0, 2))
def test_switch_attention_has_the_gradient_of_streams_and_projections(draw, layer):
    streams, weights = make(draw, 1, 2, 4)
    gradients(lambda *x: heads_only(draw, x[:3], layer, x[3:], 2), *streams, *weights)
