"""Prototypes of MMDG and DADM: a mean feature of all bona fide faces, and one of the attacks of each data set.

Lin et al.: Suppress and Rebalance (MMDG). CVPR 2024, arXiv 2402.19298. DADM: ICCV 2025, arXiv 2503.00429. The loss is
called SSP there, single-side prototypical: attacks of different data sets stay apart, bona fide faces do not.
"""

import torch
from torch import Tensor
from torch.nn import functional as F


def prototype_classes(bonafide: Tensor, place: Tensor) -> Tensor:
    """Which prototype each sample belongs to (B,) int64: 0 for bona fide, 1 + place for an attack.

    bonafide (B,) bool; place (B,) int64 is that of the sample's data set among those that train.
    """
    return torch.where(bonafide, 0, 1 + place)


def class_means(features: Tensor, classes: Tensor, count: int) -> Tensor:
    """The mean feature (count, D) of each class of features (B, D); zeros for a class without samples."""
    of_class = F.one_hot(classes, count).to(features)  # (B, count)
    return of_class.T @ features / of_class.sum(0).clamp_min(1)[:, None]


def moved_prototypes(old: Tensor, new: Tensor, kept: float) -> Tensor:
    """Prototypes (P, D) that keep the share `kept` of the old ones and take the rest from the new."""
    return kept * old + (1 - kept) * new


def prototype_loss(features: Tensor, prototypes: Tensor, classes: Tensor) -> Tensor:
    """Cross-entropy () of features (B, D) whose logits are minus their Euclidean distances from prototypes (P, D)."""
    distances = torch.linalg.vector_norm(features[:, None] - prototypes, dim=2)  # (B, P)
    return F.cross_entropy(-distances, classes)
