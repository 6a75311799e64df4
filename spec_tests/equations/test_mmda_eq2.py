"""MMDA Eq. 2: the difference of two attention maps, and the λ between them."""

import math

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from spec_tests.equations import formula_oracles as oracles
from spec_tests.equations.adapter import call, gradients, spec
from spec_tests.equations.strategies import draws, exact_draws, fewer
from spec_tests.equations.tolerances import close, f64

B, HEADS, TOKENS, SIZE = st.integers(1, 2), st.integers(1, 3), st.integers(1, 4), st.integers(1, 4)
LAM, TEMPERATURE = st.sampled_from([-0.4, 0.0, 0.3, 0.78, 1.5]), st.sampled_from([0.5, 1.0, 2.0, 22.6])


@spec("mmda-eq2", "lambda_full")
@given(
    draw=draws(), width=st.integers(1, 8), init=st.sampled_from([0.2, 0.78361, -0.5]), scale=st.sampled_from([0.5, 2])
)
def test_lambda_full_is_the_difference_of_the_exponentials_plus_its_start(draw, width, init, scale):
    vectors = [draw.normal(width, scale=scale) for _ in range(4)]
    expected = oracles.lambda_full(*map(f64, vectors), init)
    largest = max(math.exp(float(f64(vectors[i]) @ f64(vectors[i + 1]))) for i in (0, 2))
    close(call("lambda_full", *vectors, init), expected, magnitude=largest * width)


@spec("mmda-eq2", "lambda_full")
@given(draw=draws(), width=st.integers(1, 8), init=st.sampled_from([0.2, 0.78361]))
def test_lambda_full_of_equal_pairs_is_its_start(draw, width, init):
    a, b = draw.normal(width, scale=0.5), draw.normal(width, scale=0.5)
    close(call("lambda_full", a, b, b, a, init), init, magnitude=10 * math.exp(abs(float(f64(a) @ f64(b)))))


@spec("mmda-eq2", "lambda_full")
@given(draw=draws(), width=st.integers(1, 8))
def test_lambda_full_changes_sign_when_the_pairs_change_places(draw, width):
    a, b, c, d = (draw.normal(width, scale=0.5) for _ in range(4))
    largest = math.exp(max(abs(float(f64(a) @ f64(b))), abs(float(f64(c) @ f64(d)))))
    close(call("lambda_full", a, b, c, d, 0.0), -call("lambda_full", c, d, a, b, 0.0), magnitude=10 * largest)


@spec("mmda-eq2", "lambda_full")
@fewer(5)
@given(draw=exact_draws())
def test_lambda_full_has_the_gradient_of_all_four_vectors(draw):
    gradients(lambda *v: call("lambda_full", *v, 0.78), *(draw.normal(3, scale=0.5) for _ in range(4)))


def tensors(draw, batch, heads, tokens, size):
    return [draw.normal(batch, heads, tokens, size) for _ in range(5)]  # q, k, v, q_dom, k_dom


@spec("mmda-eq2", "differential_attention")
@given(draw=draws(), batch=B, heads=HEADS, tokens=TOKENS, size=SIZE, lam=LAM, temperature=TEMPERATURE)
def test_differential_attention_subtracts_lambda_times_the_domain_map(
    draw, batch, heads, tokens, size, lam, temperature
):
    given_tensors = tensors(draw, batch, heads, tokens, size)
    expected = oracles.differential_attention(*map(f64, given_tensors), lam, temperature)
    close(call("differential_attention", *given_tensors, lam, temperature), expected, magnitude=4 * size / temperature)


@spec("mmda-eq2", "differential_attention")
@given(draw=draws(), batch=B, heads=HEADS, tokens=TOKENS, size=SIZE, lam=LAM, temperature=TEMPERATURE)
def test_differential_attention_takes_a_learnt_lambda(draw, batch, heads, tokens, size, lam, temperature):
    given_tensors = tensors(draw, batch, heads, tokens, size)
    learnt = draw.place(torch.tensor(lam, dtype=torch.float64))
    expected = oracles.differential_attention(*map(f64, given_tensors), float(learnt), temperature)
    got = call("differential_attention", *given_tensors, learnt, temperature)
    close(got, expected, magnitude=4 * size / temperature)


@spec("mmda-eq2", "differential_attention")
@given(draw=draws(), batch=B, heads=HEADS, tokens=TOKENS, size=SIZE, lam=LAM, temperature=TEMPERATURE)
def test_differential_attention_rows_of_the_map_sum_to_one_minus_lambda(
    draw, batch, heads, tokens, size, lam, temperature
):
    q, k, v, q_dom, k_dom = tensors(draw, batch, heads, tokens, size)
    eye = draw.place(torch.eye(tokens)).expand(batch, heads, tokens, tokens)
    shape = (batch, heads, tokens)
    maps = call("differential_attention", q, k, eye, q_dom, k_dom, lam, temperature)
    close(maps.sum(-1), np.full(shape, 1 - lam), magnitude=8 * size / temperature)
    ones = call("differential_attention", q, k, torch.ones_like(v), q_dom, k_dom, lam, temperature)
    close(ones, np.full((*shape, size), 1 - lam), magnitude=8 * size / temperature)


@spec("mmda-eq2", "differential_attention")
@given(draw=draws(), batch=B, heads=HEADS, tokens=TOKENS, size=SIZE, temperature=TEMPERATURE)
def test_differential_attention_without_lambda_is_plain_attention(draw, batch, heads, tokens, size, temperature):
    q, k, v, q_dom, k_dom = tensors(draw, batch, heads, tokens, size)
    expected = oracles.attention(f64(q), f64(k), f64(v), temperature)
    got = call("differential_attention", q, k, v, 100 * q_dom, 100 * k_dom, 0.0, temperature)
    close(got, expected, magnitude=4 * size / temperature)


@spec("mmda-eq2", "differential_attention")
@given(draw=draws(), batch=B, heads=HEADS, tokens=TOKENS, size=SIZE, lam=LAM, temperature=TEMPERATURE)
def test_differential_attention_of_equal_maps_is_plain_attention_times_one_minus_lambda(
    draw, batch, heads, tokens, size, lam, temperature
):
    q, k, v, _, _ = tensors(draw, batch, heads, tokens, size)
    expected = (1 - lam) * oracles.attention(f64(q), f64(k), f64(v), temperature)
    close(call("differential_attention", q, k, v, q, k, lam, temperature), expected, magnitude=8 * size / temperature)


@spec("mmda-eq2", "differential_attention")
@given(draw=draws(), batch=B, heads=HEADS, tokens=TOKENS, size=SIZE)
def test_differential_attention_is_linear_in_the_values_and_keeps_samples_and_heads_apart(
    draw, batch, heads, tokens, size
):
    q, k, v, q_dom, k_dom = tensors(draw, batch, heads, tokens, size)
    out = call("differential_attention", q, k, v, q_dom, k_dom, 0.5, 2.0)
    close(call("differential_attention", q, k, 3 * v, q_dom, k_dom, 0.5, 2.0), 3 * out, magnitude=12 * size)
    alone = call("differential_attention", *(x[:1, :1] for x in (q, k, v, q_dom, k_dom)), 0.5, 2.0)
    close(alone, out[:1, :1], magnitude=4 * size)


@spec("mmda-eq2", "differential_attention")
@given(draw=draws(), lam=LAM)
def test_differential_attention_survives_huge_logits_and_shares_ties_evenly(draw, lam):
    v = draw.normal(1, 1, 3, 2)
    q = draw.place(torch.full((1, 1, 3, 1), 1e2))
    k = draw.place(torch.tensor([[[[1e2], [1e2], [99.0]]]]))  # logits 1e4, 1e4, 9900
    rows = f64(v)[0, 0]
    expected = (rows[0] + rows[1]) / 2 - lam * rows[2]
    got = call("differential_attention", q, k, v, q, -k, lam, 1.0)
    close(got[0, 0], [expected] * 3, magnitude=1e4)


@spec("mmda-eq2", "differential_attention")
@fewer(5)
@given(draw=exact_draws())
def test_differential_attention_has_the_gradient_of_tensors_and_lambda(draw):
    gradients(
        lambda *x: call("differential_attention", *x, 1.5), *tensors(draw, 1, 2, 2, 2), torch.tensor(0.6).double()
    )
