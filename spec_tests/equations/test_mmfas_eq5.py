"""mmFAS Eq. 5: softmax(q kᵀ / √d_k) v."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from spec_tests.equations import formula_oracles as oracles
from spec_tests.equations.adapter import call, gradients, spec
from spec_tests.equations.strategies import draws, exact_draws, fewer
from spec_tests.equations.tolerances import close, f64

LEADING = st.lists(st.integers(1, 3), max_size=2)
TOKENS, WIDTH = st.integers(1, 5), st.integers(1, 6)


def qkv(draw, leading, tokens, width, values=None):
    shape = (*leading, tokens)
    return draw.normal(*shape, width), draw.normal(*shape, width), draw.normal(*shape, values or width)


@spec("mmfas-eq5", "attention")
@given(draw=draws(), leading=LEADING, tokens=TOKENS, width=WIDTH, values=WIDTH)
def test_attention_is_the_softmax_over_keys_of_the_scaled_products_times_the_values(
    draw, leading, tokens, width, values
):
    q, k, v = qkv(draw, leading, tokens, width, values)
    close(call("attention", q, k, v), oracles.attention(f64(q), f64(k), f64(v)), magnitude=width)


@spec("mmfas-eq5", "attention")
@given(draw=draws(), leading=LEADING, tokens=TOKENS, width=WIDTH)
def test_attention_weights_of_a_query_sum_to_one(draw, leading, tokens, width):
    q, k, v = qkv(draw, leading, tokens, width)
    close(call("attention", q, k, torch.ones_like(v)), torch.ones(v.shape), magnitude=4 * width)
    identity = draw.place(torch.eye(tokens)).expand(*leading, tokens, tokens)
    weights = call("attention", q, k, identity)
    close(weights.sum(-1), torch.ones(*leading, tokens), magnitude=4 * width)
    assert weights.min() >= 0


@spec("mmfas-eq5", "attention")
@given(draw=draws(), leading=LEADING, tokens=TOKENS, width=WIDTH)
def test_attention_of_zero_queries_is_the_mean_of_the_values(draw, leading, tokens, width):
    q, k, v = qkv(draw, leading, tokens, width)
    close(call("attention", torch.zeros_like(q), k, v), v.mean(-2, keepdim=True).expand(v.shape))


@spec("mmfas-eq5", "attention")
@given(draw=draws(), tokens=TOKENS, width=WIDTH)
def test_attention_follows_the_order_of_the_queries_and_not_that_of_the_keys(draw, tokens, width):
    q, k, v = qkv(draw, [2], tokens, width)
    out = call("attention", q, k, v)
    p = draw.permutation(tokens)
    close(call("attention", q[:, p], k, v), out[:, p], magnitude=width)
    close(call("attention", q, k[:, p], v[:, p]), out, magnitude=width)


@spec("mmfas-eq5", "attention")
@given(draw=draws(), tokens=TOKENS, width=WIDTH)
def test_attention_ignores_a_vector_added_to_every_key(draw, tokens, width):
    q, k, v = qkv(draw, [2], tokens, width)
    close(call("attention", q, k + draw.normal(1, 1, width), v), call("attention", q, k, v), magnitude=4 * width)


@spec("mmfas-eq5", "attention")
@given(draw=draws(), tokens=TOKENS, width=WIDTH)
def test_attention_of_a_sample_ignores_the_rest_of_its_batch(draw, tokens, width):
    q, k, v = qkv(draw, [3], tokens, width)
    close(call("attention", q[:1], k[:1], v[:1]), call("attention", q, k, v)[:1], magnitude=width)


@spec("mmfas-eq5", "attention")
@given(draw=draws(), tokens=st.integers(2, 5))
def test_attention_survives_huge_logits_and_shares_ties_evenly(draw, tokens):
    v = draw.normal(tokens, 3)
    q = draw.place(torch.full((tokens, 1), 1e2))
    k = draw.place(torch.tensor([[1e2], [1e2], [99.0], [-1e2], [0.0]])[:tokens])  # logits ±1e4, and 9900
    close(call("attention", q, k, v), ((v[0] + v[1]) / 2).expand(tokens, 3), magnitude=1e4)


@spec("mmfas-eq5", "attention")
@given(draw=draws(), tokens=TOKENS)
def test_attention_of_a_query_does_not_depend_on_how_large_the_logits_of_others_are(draw, tokens):
    q, k, v = draw.normal(tokens, 1), draw.normal(tokens, 1), draw.normal(tokens, 2)
    k[0], q[0] = 30.0, 30.0
    q[1:] = -q[1:].abs() - 1
    close(call("attention", q, k, v), oracles.attention(f64(q), f64(k), f64(v)), magnitude=1e3)


@spec("mmfas-eq5", "attention")
@fewer(5)
@given(draw=exact_draws())
def test_attention_has_the_gradient_of_queries_keys_and_values(draw):
    gradients(lambda q, k, v: call("attention", q, k, v), *qkv(draw, [2], 3, 2))
