"""Jitter of colours: brightness, contrast and saturation of every training image change a little, each by a lot of its
own."""

import torch
from torch import Tensor


def jittered(rgb: Tensor, share: float, draws: torch.Generator) -> Tensor:
    """rgb (B, 3, S, S) in [-1, 1] with brightness, contrast and saturation of each image changed by up to `share`."""
    from torchvision.transforms.v2 import functional as change

    images = []
    lots = torch.rand(len(rgb), 3, generator=draws, device=draws.device)
    factors = (1 + share * (2 * lots - 1)).tolist()
    for x, (brightness, contrast, saturation) in zip((rgb + 1) / 2, factors, strict=True):
        x = change.adjust_contrast(change.adjust_brightness(x, brightness), contrast)
        images.append(change.adjust_saturation(x, saturation))
    return 2 * torch.stack(images) - 1
