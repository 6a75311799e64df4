"""mmFAS Eq. 4: whether two samples share a class, and the two-way cross-entropy of that, summed over the pairs."""

import math

import torch
from hypothesis import given
from hypothesis import strategies as st

from spec_tests.equations import formula_oracles as oracles
from spec_tests.equations.adapter import call, gradients, spec
from spec_tests.equations.strategies import draws, exact_draws, fewer
from spec_tests.equations.tolerances import close, f64

M = st.integers(1, 7)


@spec("mmfas-eq4", "same_class")
@given(draw=draws(), m=M)
def test_same_class_is_one_exactly_where_the_labels_agree(draw, m):
    a, b = draw.integers(m, 2), draw.integers(m, 2)
    got = call("same_class", a, b)
    assert got.dtype == torch.int64
    assert got.tolist() == [1 if x == y else 0 for x, y in zip(a.tolist(), b.tolist(), strict=True)]


@spec("mmfas-eq4", "same_class")
def test_same_class_of_the_four_cases():
    got = call("same_class", torch.tensor([0, 0, 1, 1]), torch.tensor([0, 1, 0, 1]))
    assert got.dtype == torch.int64
    assert got.tolist() == [1, 0, 0, 1]


def pairs(draw, m_rd, m_ri, scale=2.0):
    return (
        draw.normal(m_rd, 2, scale=scale),
        draw.integers(m_rd, 2),
        draw.normal(m_ri, 2, scale=scale),
        draw.integers(m_ri, 2),
    )


@spec("mmfas-eq4", "cm_loss")
@given(draw=draws(), m_rd=M, m_ri=M)
def test_cm_loss_is_the_sum_of_the_mean_cross_entropies_of_the_pair_kinds(draw, m_rd, m_ri):
    given_pairs = pairs(draw, m_rd, m_ri)
    close(call("cm_loss", *given_pairs), oracles.cm_loss(*map(f64, given_pairs)))


@spec("mmfas-eq4", "cm_loss")
@given(draw=draws(), m=M)
def test_cm_loss_reads_column_one_as_same_class(draw, m):
    same = draw.integers(m, 2)
    right = draw.place(torch.stack((1.0 - same.cpu(), same.cpu().double()), dim=1) * 50)
    close(call("cm_loss", right, same, right, same), 0.0)
    close(call("cm_loss", -right, same, -right, same), 100.0)


@spec("mmfas-eq4", "cm_loss")
@given(draw=draws(), m_rd=M, m_ri=M)
def test_cm_loss_of_undecided_logits_is_twice_ln_2(draw, m_rd, m_ri):
    _, same_rd, _, same_ri = pairs(draw, m_rd, m_ri)
    flat_rd, flat_ri = draw.normal(m_rd, 1).repeat(1, 2), draw.normal(m_ri, 1).repeat(1, 2)
    close(call("cm_loss", flat_rd, same_rd, flat_ri, same_ri), 2 * math.log(2))


@spec("mmfas-eq4", "cm_loss")
@given(draw=draws(), m_rd=M, m_ri=M)
def test_cm_loss_treats_both_pair_kinds_alike(draw, m_rd, m_ri):
    rd, same_rd, ri, same_ri = pairs(draw, m_rd, m_ri)
    close(call("cm_loss", rd, same_rd, ri, same_ri), call("cm_loss", ri, same_ri, rd, same_rd))


@spec("mmfas-eq4", "cm_loss")
@given(draw=draws(), m=M)
def test_cm_loss_ignores_a_constant_added_to_both_logits(draw, m):
    rd, same_rd, ri, same_ri = pairs(draw, m, m)
    moved = call("cm_loss", rd + draw.normal(m, 1, scale=10), same_rd, ri, same_ri)
    close(moved, call("cm_loss", rd, same_rd, ri, same_ri), magnitude=40)


@spec("mmfas-eq4", "cm_loss")
@given(draw=draws(), m=M)
def test_cm_loss_of_huge_wrong_logits_is_their_gap(draw, m):
    same = draw.integers(m, 2)
    wrong = draw.place(torch.stack((2.0 * same.cpu() - 1, 1.0 - 2 * same.cpu()), dim=1) * 1e4)
    close(call("cm_loss", wrong, same, -wrong, same), 2e4)


@spec("mmfas-eq4", "cm_loss")
@fewer(5)
@given(draw=exact_draws())
def test_cm_loss_has_the_gradient_of_both_logits(draw):
    rd, same_rd, ri, same_ri = pairs(draw, 3, 4, scale=1.0)
    gradients(lambda x, y: call("cm_loss", x, same_rd, y, same_ri), rd, ri)
