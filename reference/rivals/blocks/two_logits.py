"""A classifier's head of two logits: class 0 bona fide, class 1 attack."""

from torch import Tensor
from torch.nn import functional as F

from reference.rivals.blocks.precision import at_least_float32


def cross_entropy(logits: Tensor, label: Tensor) -> Tensor:
    """Two-way cross-entropy () of logits (B, 2), the mean over the batch; label (B,), 1 = attack.

    It equals binary cross-entropy on the difference of the two logits.
    """
    return F.cross_entropy(at_least_float32(logits), label.long())


def logit_difference(logits: Tensor) -> Tensor:
    """Score (B,) of logits (B, 2): bona fide minus attack, the log-odds of bona fide."""
    bonafide, attack = at_least_float32(logits).unbind(1)
    return bonafide - attack
