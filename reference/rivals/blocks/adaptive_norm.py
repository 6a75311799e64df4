"""Adaptive instance normalisation: a feature map's own mean and deviation are replaced by those of a style.

Huang, Belongie: Arbitrary Style Transfer in Real-time with Adaptive Instance Normalization. ICCV 2017, arXiv
1703.06868.
"""

import torch
from torch import Tensor

EPSILON = 1e-5


def instance_statistics(x: Tensor, epsilon: float = EPSILON) -> tuple[Tensor, Tensor]:
    """Mean and deviation (B, C) of each channel of each sample of x (B, C, H, W).

    The deviation is sqrt(variance + epsilon); the variance divides by H W - 1.
    """
    variance, mean = torch.var_mean(x, dim=(2, 3), correction=1)
    return mean, (variance + epsilon).sqrt()


def adaptive_instance_norm(
    x: Tensor, scale: Tensor, shift: Tensor, epsilon: float = EPSILON, detached: bool = False
) -> Tensor:
    """scale (x - mean) / deviation + shift, of x (B, C, H, W); scale and shift (B, C).

    `detached` takes no gradient through x's own mean and deviation.
    """
    mean, deviation = instance_statistics(x, epsilon)
    if detached:
        mean, deviation = mean.detach(), deviation.detach()
    return scale[..., None, None] * ((x - mean[..., None, None]) / deviation[..., None, None]) + shift[..., None, None]
