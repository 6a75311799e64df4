"""What the adapters of AMA, MMDG and DADM share: narrow tokens that go through a convolution as maps.

Jie, Deng: Convolutional Bypasses Are Better Vision Transformer Adapters. arXiv 2207.07039, from which all three take
the shape: down to a few channels, a 3 x 3 convolution over the patches as a map, and up again. The way up begins at
zero, so that the transformer begins as it was.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn


def quick_gelu(x: Tensor) -> Tensor:
    """x times the sigmoid of 1.702 x: the GELU of CLIP, of any shape."""
    return x * torch.sigmoid(1.702 * x)


def convolved_tokens(tokens: Tensor, convolution: Callable[[Tensor], Tensor]) -> Tensor:
    """Class token and patches (B, 1 + N, C), N a square, each through `convolution`, (B, C, H, W) to (B, C', H, W).

    The patches are one map, row by row; the class token is a map of one cell. (B, 1 + N, C').
    """
    first, patches = tokens[:, :1], tokens[:, 1:]
    side = round(patches.shape[1] ** 0.5)
    of_map = convolution(patches.mT.unflatten(2, (side, side))).flatten(2).mT
    return torch.cat([convolution(first.mT[..., None])[..., 0].mT, of_map], 1)


def narrowing(width: int, dim: int) -> nn.Linear:
    """The way down, (…, width) to (…, dim): Xavier's weights, no bias at first."""
    layer = nn.Linear(width, dim)
    nn.init.xavier_uniform_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


def widening(dim: int, width: int) -> nn.Linear:
    """The way up, (…, dim) to (…, width), which gives nothing at first."""
    layer = nn.Linear(dim, width)
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer
