"""Drawing by weights on the device."""

import torch
from torch import Tensor


def one_of_each_row(weights: Tensor, generator: torch.Generator | None) -> Tensor:
    """For each row of weights (N, M), of zero or more, a column (N,) int64, drawn with probability proportional to its
    weight. A row of zeros gives any column.

    The numbers that torch.multinomial draws, without its look at the weights, for which it would wait for the device:
    of exponential clocks that run as fast as the weights say, the first to ring.
    """
    return (weights / torch.empty_like(weights).exponential_(generator=generator)).argmax(-1)
