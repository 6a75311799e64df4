"""MMDA Eq. 1: for every row a row of the same domain."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from spec_tests.equations import formula_oracles as oracles
from spec_tests.equations.adapter import call, spec
from spec_tests.equations.strategies import draws, fewer
from spec_tests.equations.tolerances import FALSE_ALARM

B = st.integers(1, 12)


def ids(draw, b):
    """Numbers of four domains, such as data sets have in a table of more."""
    return 3 * draw.integers(b, 4)


@spec("mmda-eq1", "domain_partner")
@given(draw=draws(), b=B, rule=st.sampled_from(["random", "first", "self"]))
def test_domain_partner_is_of_the_same_domain(draw, b, rule):
    domains = ids(draw, b)
    partner = call("domain_partner", domains, draw.generator(), rule)
    assert partner.dtype == torch.int64
    assert partner.shape == (b,)
    assert ((partner >= 0) & (partner < b)).all()
    assert torch.equal(domains[partner], domains)


@spec("mmda-eq1", "domain_partner")
@given(draw=draws(), b=B)
def test_domain_partner_first_is_the_first_row_of_the_domain(draw, b):
    domains = ids(draw, b)
    got = call("domain_partner", domains, draw.generator(), rule="first")
    assert got.tolist() == oracles.first_partner(np.array(domains.tolist())).tolist()


@spec("mmda-eq1", "domain_partner")
@given(draw=draws(), b=B)
def test_domain_partner_self_is_the_row_itself(draw, b):
    assert call("domain_partner", draw.integers(b, 4), draw.generator(), rule="self").tolist() == list(range(b))


def check_share(count, total, p, what):
    tail = min(binom.cdf(count, total, p), binom.sf(count - 1, total, p))
    assert tail >= FALSE_ALARM, f"{what}: {count} of {total} times, expected {p * total:.1f}"


@spec("mmda-eq1", "domain_partner")
@fewer(4)
@given(draw=draws(), how=st.sampled_from([{}, {"rule": "random"}]))
def test_domain_partner_is_uniform_over_the_domain_the_row_itself_included(draw, how):
    domains = torch.tensor([3] * 2 + [1] * 5 + [4] + [2] * 12, device=draw.device)[draw.permutation(20)]
    generator, calls = draw.generator(), 250
    drawn = torch.stack([call("domain_partner", domains, generator, **how) for _ in range(calls)]).cpu()
    for domain in domains.unique():
        rows = (domains == domain).nonzero().flatten().cpu()
        share = 1 / len(rows)
        of_domain = drawn[:, rows]
        for row in rows:
            check_share(int((of_domain == row).sum()), of_domain.numel(), share, f"row {row} is a partner")
            for one in range(len(rows)):
                check_share(int((of_domain[:, one] == row).sum()), calls, share, f"row {row} is {rows[one]}'s")
        check_share(int((of_domain == rows).sum()), of_domain.numel(), share, "a row is its own partner")


@spec("mmda-eq1", "domain_partner")
@given(draw=draws())
def test_domain_partner_draws_afresh_at_every_call_and_for_every_row(draw):
    domains, generator = torch.zeros(64, dtype=torch.int64, device=draw.device), draw.generator()
    first, second = (call("domain_partner", domains, generator) for _ in range(2))
    assert first.tolist() != second.tolist()
    assert len(set(first.tolist())) > 2


@spec("mmda-eq1", "domain_partner")
@given(draw=draws(), b=B, seed=st.integers(0, 2**31))
def test_domain_partner_repeats_itself_from_the_same_generator_state(draw, b, seed):
    domains = draw.integers(b, 3)
    first, second = (call("domain_partner", domains, torch.Generator(draw.device).manual_seed(seed)) for _ in "12")
    assert first.tolist() == second.tolist()


@spec("mmda-eq1", "domain_partner")
@pytest.mark.parametrize(("rule", "expected"), [("first", [0, 1, 0, 1, 4]), ("self", [0, 1, 2, 3, 4])])
def test_domain_partner_of_a_worked_batch(rule, expected):
    got = call("domain_partner", torch.tensor([2, 1, 2, 1, 4]), torch.Generator().manual_seed(0), rule=rule)
    assert got.tolist() == expected
