"""mmFAS hard negative and hard positive mining: one of each for every anchor, drawn by its similarity."""

import numpy as np
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from scipy.stats import binom

from spec_tests.equations import formula_oracles as oracles
from spec_tests.equations.adapter import call, spec
from spec_tests.equations.strategies import Draw, draws, fewer
from spec_tests.equations.tolerances import FALSE_ALARM, f64

N = st.integers(1, 8)


def check_counts(counts, probabilities):
    """Reject when any cell of a multinomial count has an exact binomial tail below FALSE_ALARM."""
    total = int(np.sum(counts))
    for cell, (count, p) in enumerate(zip(counts, probabilities, strict=True)):
        tail = min(binom.cdf(count, total, p), binom.sf(count - 1, total, p))
        assert tail >= FALSE_ALARM, f"candidate {cell} drawn {count} of {total} times, expected {p * total:.1f}"


@spec("mmfas-mining", "mine_pairs")
@given(draw=draws(), n=N)
@example(draw=Draw(0), n=1)
def test_mine_pairs_takes_only_candidates_and_minus_one_where_there_are_none(draw, n):
    labels = draw.integers(n, 2)
    neg, pos = call("mine_pairs", draw.normal(n, n, scale=3), labels, draw.generator())
    assert neg.shape == pos.shape == (n,)
    for i in range(n):
        assert neg[i].item() in (oracles.negatives(labels.tolist(), i) or [-1])
        assert pos[i].item() in (oracles.positives(labels.tolist(), i) or [-1])


@spec("mmfas-mining", "mine_pairs")
@given(draw=draws(), n=N, label=st.integers(0, 1))
def test_mine_pairs_finds_no_negative_in_a_batch_of_one_class(draw, n, label):
    labels = torch.full((n,), label, device=draw.device)
    neg, pos = call("mine_pairs", draw.normal(n, n), labels, draw.generator())
    assert neg.tolist() == [-1] * n
    assert all(0 <= j < n and j != i for i, j in enumerate(pos.tolist())) if n > 1 else pos.tolist() == [-1]


@spec("mmfas-mining", "mine_pairs")
@given(draw=draws(), common=st.integers(1, 5))
def test_mine_pairs_finds_no_positive_for_the_only_sample_of_a_class(draw, common):
    labels = torch.tensor([0] * common + [1], device=draw.device)
    neg, pos = call("mine_pairs", draw.normal(common + 1, common + 1), labels, draw.generator())
    assert pos[-1].item() == -1
    assert 0 <= neg[-1].item() < common
    assert neg[:-1].tolist() == [common] * common


@spec("mmfas-mining", "mine_pairs")
@given(draw=draws(), n=st.integers(2, 8), offset=st.sampled_from([0.0, 1e4, -1e4]))
def test_mine_pairs_is_certain_of_the_hardest_when_scores_are_far_apart(draw, n, offset):
    labels = draw.integers(n, 2)
    # gaps of at least 500 in every row: any other candidate has probability below exp(−500)
    ranks = torch.stack([draw.permutation(n) for _ in range(n)]).cpu()
    s = draw.place(500.0 * ranks + offset)
    neg, pos = call("mine_pairs", s, labels, draw.generator())
    for i in range(n):
        others = oracles.negatives(labels.tolist(), i)
        fellows = oracles.positives(labels.tolist(), i)
        assert neg[i].item() == (max(others, key=lambda j: s[i, j].item()) if others else -1)
        assert pos[i].item() == (min(fellows, key=lambda j: s[i, j].item()) if fellows else -1)


@spec("mmfas-mining", "mine_pairs")
@fewer(4)
@given(draw=draws(), offset=st.sampled_from([0.0, 3000.0, -3000.0]))
def test_mine_pairs_draws_in_proportion_to_the_exponentials(draw, offset):
    # Forty anchors of class 0 see the same twelve likely negatives and the same twelve likely positives; each other
    # and thirty more negatives they see with exp(−60), never: a floor under the probabilities would show.
    anchors, likely, unlikely, calls = 40, 12, 30, 40
    n = anchors + 2 * likely + unlikely
    labels = torch.tensor([0] * (anchors + likely) + [1] * (likely + unlikely), device=draw.device)
    near_positive, near_negative = draw.normal(likely), draw.normal(likely)
    s = torch.zeros(n, n, dtype=torch.float64)
    s[:, :anchors] = 60
    s[:, anchors : anchors + likely] = near_positive.cpu()
    s[:, anchors + likely : -unlikely] = near_negative.cpu()
    s[:, -unlikely:] = -60
    s[anchors:] = s[anchors:].flip(1)  # the other rows differ: a transposed or column-wise reading shows
    s = draw.place(s + offset)
    generator = draw.generator()
    drawn = [call("mine_pairs", s, labels, generator) for _ in range(calls)]
    neg = torch.cat([d[0][:anchors] for d in drawn]).cpu().numpy()
    pos = torch.cat([d[1][:anchors] for d in drawn]).cpu().numpy()
    row = f64(s)[0]
    for partners, first, sign in ((pos, anchors, -1), (neg, anchors + likely, 1)):
        counts = np.bincount(partners, minlength=n)[first : first + likely]
        assert counts.sum() == anchors * calls, "a candidate of probability exp(−60) was drawn"
        check_counts(counts, oracles.softmax(list(sign * row[first : first + likely])))


@spec("mmfas-mining", "mine_pairs")
@fewer(4)
@given(draw=draws())
def test_mine_pairs_draws_every_anchor_by_its_own_row(draw):
    n, calls = 6, 300
    labels = torch.tensor([0, 1, 0, 1, 0, 1], device=draw.device)
    s, generator = draw.normal(n, n, scale=1.5), draw.generator()
    drawn = [call("mine_pairs", s, labels, generator) for _ in range(calls)]
    for i in range(n):
        for kind, candidates, sign in (
            (0, oracles.negatives(labels.tolist(), i), 1),
            (1, oracles.positives(labels.tolist(), i), -1),
        ):
            partners = [d[kind][i].item() for d in drawn]
            weights = oracles.softmax([sign * s[i, j].item() for j in candidates])
            check_counts([partners.count(j) for j in candidates], weights)


@spec("mmfas-mining", "mine_pairs")
@given(draw=draws(), n=st.integers(2, 8), seed=st.integers(0, 2**31))
def test_mine_pairs_repeats_itself_from_the_same_generator_state(draw, n, seed):
    labels, s = draw.integers(n, 2), draw.normal(n, n)
    first, second = (call("mine_pairs", s, labels, torch.Generator(draw.device).manual_seed(seed)) for _ in range(2))
    assert first[0].tolist() == second[0].tolist()
    assert first[1].tolist() == second[1].tolist()


@spec("mmfas-mining", "mine_pairs")
@given(draw=draws())
def test_mine_pairs_draws_afresh_at_every_call_and_for_every_anchor(draw):
    n = 64  # equal scores: 32 negatives and 31 positives each, so an accidental repetition has p < 1e-40
    labels, generator = torch.arange(n, device=draw.device) % 2, draw.generator()
    s = draw.place(torch.zeros(n, n))
    first, second = (call("mine_pairs", s, labels, generator) for _ in range(2))
    for kind in (0, 1):
        assert first[kind].tolist() != second[kind].tolist()
        assert len(set(first[kind][::2].tolist())) > 2


@spec("mmfas-mining", "mine_pairs")
@given(draw=draws(), n=N)
def test_mine_pairs_gives_no_gradient(draw, n):
    s = draw.normal(n, n).requires_grad_()
    neg, pos = call("mine_pairs", s, draw.integers(n, 2), draw.generator())
    assert not neg.requires_grad
    assert not pos.requires_grad
    assert not neg.is_floating_point()
    assert not pos.is_floating_point()
