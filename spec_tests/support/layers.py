"""Layers of networks written out with elementary operations, for oracles of networks at test."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def normalised(x: Tensor, norm: nn.BatchNorm2d) -> Tensor:
    """Batch norm by the running statistics, (B, C, H, W)."""
    tensors = (norm.running_mean, norm.running_var, norm.weight, norm.bias)
    mean, variance, weight, bias = (t.detach().view(1, -1, 1, 1) for t in tensors if t is not None)
    return (x - mean) / (variance + 1e-5).sqrt() * weight + bias


def excited(x: Tensor, module: nn.Module) -> Tensor:
    """Squeeze-and-excitation of (B, C, H, W) by a module with the linear layers `squeeze` and `excite`."""
    squeeze, excite = (module.get_submodule(name) for name in ("squeeze", "excite"))
    hidden = torch.relu(x.sum((2, 3)) / x[0, 0].numel() @ squeeze.weight.T + squeeze.bias)
    return x / (1 + torch.exp(-(hidden @ excite.weight.T + excite.bias)))[:, :, None, None]


def residual_stage(x: Tensor, blocks: nn.Sequential, stride: int) -> Tensor:
    """ResNet's plain blocks, of which the first has the stride and, where that is not one, a convolution beside it."""
    for place, block in enumerate(blocks):
        step = stride if place == 0 else 1
        past = x
        if step != 1:
            past = normalised(F.conv2d(x, block.downsample[0].weight, stride=step), block.downsample[1])
        inner = normalised(F.conv2d(x, block.conv1.weight, stride=step, padding=1), block.bn1).clamp_min(0)
        x = (normalised(F.conv2d(inner, block.conv2.weight, padding=1), block.bn2) + past).clamp_min(0)
    return x
