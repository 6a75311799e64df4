"""What our equation functions and metrics promise beyond the contract: empty input, and what they refuse."""

import math

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from reference import metrics, mmda, mmfas
from spec_tests.equations import formula_oracles as oracles
from spec_tests.equations.strategies import scored


def zeros(*shape: int) -> torch.Tensor:
    return torch.zeros(*shape)


def test_pairs_of_a_kind_that_has_none_add_nothing() -> None:
    logits, same = torch.tensor([[0.3, -1.0]]), torch.tensor([1])
    none = zeros(0, 2), torch.zeros(0, dtype=torch.int64)
    once = mmfas.cm_loss(logits, same, *none)
    torch.testing.assert_close(once, torch.nn.functional.cross_entropy(logits, same))
    torch.testing.assert_close(mmfas.cm_loss(*none, logits, same), once)
    assert mmfas.cm_loss(*none, *none) == 0


@given(seed=st.integers(0, 2**31))
def test_a_sample_may_be_its_own_hard_positive_when_told(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    alone = torch.tensor([0, 1])
    assert mmfas.mine_pairs(zeros(2, 2), alone, generator)[1].tolist() == [-1, -1]
    assert mmfas.mine_pairs(zeros(2, 2), alone, generator, own_positive=True)[1].tolist() == [0, 1]


def test_mining_of_half_precision_is_drawn_in_single() -> None:
    s = torch.zeros(2, 2, dtype=torch.float16)
    negative, positive = mmfas.mine_pairs(s, torch.tensor([0, 1]), torch.Generator().manual_seed(0))
    assert negative.tolist() == [1, 0]
    assert positive.tolist() == [-1, -1]


def test_a_temperature_for_each_pair_kind() -> None:
    generator = torch.Generator().manual_seed(0)
    rgb, depth, ir = torch.randn(3, 5, 4, generator=generator)
    each = [mmfas.icl_loss(rgb, other, other, tau) / 2 for other, tau in ((depth, 0.3), (ir, 0.9))]
    torch.testing.assert_close(mmfas.icl_loss(rgb, depth, ir, torch.tensor([0.3, 0.9])), sum(each))


def test_an_empty_batch_has_no_partners() -> None:
    for rule in ("random", "self"):
        assert mmda.domain_partner(torch.zeros(0, dtype=torch.int64), None, rule).tolist() == []


@pytest.mark.parametrize("pooling", ["max", "mean"])
def test_alignment_takes_several_passes_side_by_side(pooling: str) -> None:
    generator = torch.Generator().manual_seed(0)
    v, spoof, real = (torch.randn(2, n, 5, generator=generator) for n in (3, 4, 2))
    each = [mmda.alignment_logits(v[i], [spoof[i], real[i]], 10.0, pooling) for i in (0, 1)]
    torch.testing.assert_close(mmda.alignment_logits(v, [spoof, real], 10.0, pooling), torch.stack(each))


def test_keys_and_queries_may_be_of_different_numbers() -> None:
    q, k, v = torch.randn(3, 2, 5, 4, generator=torch.Generator().manual_seed(0))
    k, v = k[:, :3], v[:, :3]
    expected = torch.nn.functional.scaled_dot_product_attention(q, k, v)
    torch.testing.assert_close(mmfas.attention(q, k, v), expected)


def test_indices_are_made_where_the_labels_are() -> None:
    labels = torch.zeros(3, dtype=torch.int64, device="meta")  # a device without numbers, that mixes with no other
    assert mmda.domain_partner(labels, None, "self").device.type == "meta"
    for own in (False, True):
        assert all(mask.device.type == "meta" for mask in mmfas._candidates(labels, own))


@pytest.mark.parametrize(
    ("refused", "said"),
    [
        (lambda: mmfas.switch((zeros(1),) * 3, 0, "RRD"), "order must name R, D and I once each"),
        (lambda: mmfas.switch((zeros(1),) * 2, 0), "zip"),
        (lambda: mmda.domain_partner(torch.zeros(2), None, "last"), "rule must be random, first or self"),
        (lambda: mmda.alignment_logits(zeros(1, 2), [zeros(1, 2)], 1.0, "sum"), "pooling must be max or mean"),
        (lambda: mmda.u_dsa(zeros(1), [], [], "both"), "rule must be chained or released"),
        (lambda: mmda.u_dsa(zeros(1), [abs], []), "as many remap as adapt layers"),
        (lambda: metrics.auc([[0.1], [0.2]], [[True], [False]]), "one-dimensional, not of shape \\(2, 1\\)"),
        (lambda: metrics.auc([], []), "scores are empty"),
        (lambda: metrics.auc([0.1, math.nan, math.inf], [True, False, True]), "NaN score at position 1"),
        (lambda: metrics.auc([0.1, -math.inf], [True, False]), "infinite score at position 1"),
        (lambda: metrics.auc([0.1, 0.2], [True]), "2 scores but 1 class labels"),
        (lambda: metrics.auc([0.1, 0.2], [True, True]), "no attack among"),
        (lambda: metrics.auc([0.1, 0.2], [False, False]), "no bona fide among"),
        (lambda: metrics.hter([0.1, 0.2], [True, False], math.nan), "the threshold is NaN"),
        (lambda: metrics.apcer([0.1], ["a"], math.nan), "the threshold is NaN"),
        (lambda: metrics.apcer([0.1], ["a", "b"], 0.5), "1 scores but 2 attack families"),
        (lambda: metrics.acer([0.1, 0.2], [True, False], ["a"], 0.5), "2 scores but 1 attack families"),
        (lambda: metrics.threshold_at_bpcer([0.1, 0.2], [True, False], -0.1), "bpcer must be a rate >= 0"),
        (lambda: metrics.threshold_at_bpcer([0.1, 0.2], [True, False], math.nan), "bpcer must be a rate >= 0"),
    ],
)
def test_what_cannot_be_meant_is_refused(refused, said) -> None:
    with pytest.raises(ValueError, match=said):
        refused()


@given(sample=scored())
@example(sample=(np.array([0.0, 2, 3, 1, 4]), np.array([False, False, False, True, True])))
def test_ties_of_the_eer_are_decided_on_counts_whatever_the_class_sizes(sample) -> None:
    """The gaps |2/3 - 1/2| and |1/3 - 1/2| of the example are equal, but not as floats."""
    rate, threshold = metrics.eer(*sample)
    expected = oracles.eer(*sample)
    assert rate == pytest.approx(float(expected[0]), abs=1e-12)
    assert threshold == expected[1]


def test_metrics_take_lists_integers_single_precision_and_a_rate_above_one() -> None:
    assert metrics.far_frr([1, 2, 3, 4], [0, 0, 1, 1], 2) == (0.5, 0.0)
    assert metrics.threshold_at_bpcer([1, 2], [0, 1], 2.5) == math.inf
    assert metrics.apcer([1, 2], ["a", "b"], 2) == {"a": 0.0, "b": 1.0}
    assert metrics.acer([1, 2, 3], [0, 0, 1], ["a", "b", ""], 2) == 0.5
    # 0.7 is above the nearest number that float32 has
    assert metrics.far_frr(np.array([0.7, 0.2], dtype=np.float32), [True, False], 0.7) == (0.0, 1.0)
    assert all(isinstance(rate, float) for rate in metrics.far_frr(np.array([1.0, 2.0]), np.array([True, False]), 1))
