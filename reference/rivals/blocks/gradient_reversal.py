"""A layer that turns gradients round, so that what is before it learns against what is behind it.

Ganin, Lempitsky: Unsupervised Domain Adaptation by Backpropagation. ICML 2015, arXiv 1409.7495.
"""

import math
from typing import Any

import torch
from torch import Tensor

STEEPNESS = 10.0


def reversal_coefficient(progress: float) -> float:
    """2 / (1 + exp(-10 progress)) - 1, which rises from 0 towards 1 while training goes from 0 to 1."""
    return 2 / (1 + math.exp(-STEEPNESS * progress)) - 1


class _Reversal(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, coefficient: float) -> Tensor:
        ctx.coefficient = coefficient
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return -ctx.coefficient * gradients[0], None


def reverse_gradient(x: Tensor, coefficient: float) -> Tensor:
    """x as it is; its gradient is multiplied by -coefficient."""
    out: Tensor = _Reversal.apply(x, coefficient)
    return out
