"""Heads of several sources that turn towards each other: projected gradient descent for PG-IRM.

Sun et al.: Rethinking Domain Generalization for Face Anti-spoofing (SA-FAS). CVPR 2023, arXiv 2303.13662, whose heads
are vectors. DADM, ICCV 2025, arXiv 2503.00429, takes it over for heads of one row for each class.
"""

from torch import Tensor
from torch.nn import functional as F


def aligned_heads(weights: Tensor, alpha: float) -> Tensor:
    """The heads, vectors (E, D) or matrices (E, R, D) of R rows, each turned towards the one that is least like it.

    That is the head with the smallest cosine to it, of matrices the smallest sum of the rows' cosines, the first of
    several. A row takes the direction of alpha times its own direction plus 1 - alpha times that of the other head's
    row, and keeps its length.
    """
    directions = F.normalize(weights, dim=-1)
    flat = directions.flatten(1)
    farthest = (flat @ flat.T).argmin(1)  # itself only where there is no other direction
    turned = F.normalize(alpha * directions + (1 - alpha) * directions[farthest], dim=-1)
    return weights.norm(dim=-1, keepdim=True) * turned
