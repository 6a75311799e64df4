"""Changes of colour saturation, as the code of FLIP and ViTAF makes them: half of the training images have up to 20 %
more or less of it."""

import torch
from torch import Tensor

MOST, CHANGED = 0.2, 0.5  # by how much of its saturation, and how many of the images


def saturated(rgb: Tensor, factors: Tensor, wrapped: bool) -> Tensor:
    """rgb (B, 3, S, S) in [-1, 1] with the saturation of each image, as HSV has it, times its factor (B,).

    The brightest channel stays, the distance of the others to it is multiplied. What falls below black ends there, or,
    `wrapped`, whole grey values are taken modulo 256.
    """
    grey = (127.5 * (rgb + 1)).round()  # whole numbers again: an image comes from 8 bits
    brightest = grey.amax(1, keepdim=True)
    changed = brightest - factors[:, None, None, None] * (brightest - grey)
    changed = changed.trunc().remainder(256) if wrapped else changed.clamp(min=0)
    return changed / 127.5 - 1


def some_saturated(rgb: Tensor, draws: torch.Generator, wrapped: bool) -> Tensor:
    """rgb (B, 3, S, S) in [-1, 1], where each image has another saturation with probability 1/2."""
    lots = torch.rand(2, len(rgb), generator=draws, device=draws.device)
    changed = saturated(rgb, 1 + MOST * (2 * lots[0] - 1), wrapped)
    return torch.where(lots[1][:, None, None, None] < CHANGED, changed, rgb)
