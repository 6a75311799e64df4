"""A classifier's head of two logits: class 0 bona fide, class 1 attack."""

from torch import Tensor
from torch.nn import functional as F


def cross_entropy(logits: Tensor, label: Tensor) -> Tensor:
    """Two-way cross-entropy () of logits (B, 2), the mean over the batch; label (B,), 1 = attack.

    It equals binary cross-entropy on the difference of the two logits.
    """
    return F.cross_entropy(logits.float(), label.long())


def logit_difference(logits: Tensor) -> Tensor:
    """Score (B,) of logits (B, 2): bona fide minus attack, the log-odds of bona fide."""
    return logits[:, 0].float() - logits[:, 1].float()
