"""Squeeze-and-excitation: every channel is scaled by what the means of all channels say.

Hu, Shen, Sun: Squeeze-and-Excitation Networks. CVPR 2018, arXiv 1709.01507, Eq. 2 to 4.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def squeeze_excitation(x: Tensor, w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor) -> Tensor:
    """x (B, C, H, W), each channel times sigmoid(w2 relu(w1 m + b1) + b2), where m (B, C) are the channels' means.

    w1 (C/r, C), b1 (C/r,), w2 (C, C/r), b2 (C,).
    """
    means = x.mean((2, 3))
    return x * torch.sigmoid(F.linear(F.relu(F.linear(means, w1, b1)), w2, b2))[:, :, None, None]


class SqueezeExcitation(nn.Module):
    """Squeeze-and-excitation of C channels by way of C / reduction: (B, C, H, W) to the same shape."""

    def __init__(self, channels: int, reduction: int) -> None:
        super().__init__()
        self.squeeze = nn.Linear(channels, channels // reduction)
        self.excite = nn.Linear(channels // reduction, channels)

    def forward(self, x: Tensor) -> Tensor:
        return squeeze_excitation(x, self.squeeze.weight, self.squeeze.bias, self.excite.weight, self.excite.bias)
