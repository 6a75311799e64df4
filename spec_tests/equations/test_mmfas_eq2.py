"""mmFAS Eq. 2: p[i, j] = exp(s[i, j] / τ) / Σ_k exp(s[i, k] / τ)."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from spec_tests.equations import formula_oracles as oracles
from spec_tests.equations.adapter import call, gradients, spec
from spec_tests.equations.strategies import draws, exact_draws, fewer
from spec_tests.equations.tolerances import close, f64

N, TAU = st.integers(1, 7), st.sampled_from([0.001, 0.07, 0.5, 1.0, 3.0])


@spec("mmfas-eq2", "match_probabilities")
@given(draw=draws(), n=N, tau=TAU)
def test_match_probabilities_is_the_softmax_of_each_row_over_tau(draw, n, tau):
    s = draw.normal(n, n)
    close(call("match_probabilities", s, tau), oracles.match_probabilities(f64(s), tau), s.abs().max().item() / tau)


@spec("mmfas-eq2", "match_probabilities")
@given(draw=draws(), n=N, tau=TAU)
def test_match_probabilities_takes_a_learnable_temperature(draw, n, tau):
    s, learnt = draw.normal(n, n), draw.place(torch.tensor(tau).double())
    got = call("match_probabilities", s, learnt)
    close(got, oracles.match_probabilities(f64(s), float(learnt)), s.abs().max().item() / tau)


@spec("mmfas-eq2", "match_probabilities")
@given(draw=draws(), n=N, tau=TAU)
def test_match_probabilities_rows_sum_to_one(draw, n, tau):
    s = draw.normal(n, n)
    p = call("match_probabilities", s, tau)
    close(p.sum(-1), torch.ones(n), magnitude=s.abs().max().item() / tau)
    assert p.min() >= 0


@spec("mmfas-eq2", "match_probabilities")
@given(draw=draws(), n=N)
def test_match_probabilities_ignores_a_constant_added_to_a_row(draw, n):
    s, shift = draw.normal(n, n), draw.normal(n, 1, scale=10)
    close(call("match_probabilities", s + shift, 0.5), call("match_probabilities", s, 0.5), magnitude=100)


@spec("mmfas-eq2", "match_probabilities")
@given(draw=draws(), n=N, size_and_tau=st.sampled_from([(1e4, 1.0), (1.0, 0.001)]))
def test_match_probabilities_survives_huge_logits_and_shares_ties_evenly(draw, n, size_and_tau):
    size, tau = size_and_tau
    s = draw.place(size * (draw.integers(n * n, 3).reshape(n, n) - 1.0))
    top = f64(s) == f64(s).max(axis=1, keepdims=True)
    close(call("match_probabilities", s, tau), top / top.sum(axis=1, keepdims=True), magnitude=size / tau)


@spec("mmfas-eq2", "match_probabilities")
@given(draw=draws(), n=st.integers(2, 7))
def test_match_probabilities_of_a_row_do_not_depend_on_how_large_other_rows_are(draw, n):
    s = draw.normal(n, n)
    s[0] += 2000
    small = call("match_probabilities", s, 1.0)[1:]
    close(small, oracles.match_probabilities(f64(s[1:]), 1.0), magnitude=4)


@spec("mmfas-eq2", "match_probabilities")
@fewer(5)
@given(draw=exact_draws(), tau=st.sampled_from([0.5, 2.0]))
def test_match_probabilities_has_the_gradient_of_scores_and_temperature(draw, tau):
    gradients(lambda s, t: call("match_probabilities", s, t), draw.normal(3, 3), torch.tensor(tau).double())
