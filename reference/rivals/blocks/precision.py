"""In what losses and scores are computed."""

import torch
from torch import Tensor


def at_least_float32(x: Tensor) -> Tensor:
    """x, in float32 where a forward pass left it in less (bfloat16); float64 stays float64."""
    return x if x.dtype in (torch.float32, torch.float64) else x.float()
