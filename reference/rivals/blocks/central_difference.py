"""Central-difference convolution: a kernel that sees less of what it lies on and more of how that changes.

Yu et al.: Searching Central Difference Convolutional Networks for Face Anti-Spoofing. CVPR 2020, arXiv 2003.04092,
section 3.1. MM-CDCN consists of it; the adapters of MMDG and of DADM end in it.
"""

from torch import Tensor, nn
from torch.nn import functional as F


def central_difference(x: Tensor, weight: Tensor, theta: float) -> Tensor:
    """The convolution of x (B, C, H, W) with weight (C', C, 3, 3), less theta times each kernel's sum at its middle.

    (B, C', H, W): outside of the map there are zeros. theta 0 is a convolution; at theta 1 a constant map gives 0
    wherever the kernel lies within the map.
    """
    middle = F.pad(weight.sum((2, 3), keepdim=True), (1, 1, 1, 1))  # (C', C, 3, 3): two convolutions in one kernel
    return F.conv2d(x, weight - theta * middle, padding=1)


class CentralDifference(nn.Module):
    """(B, C, H, W) to (B, C', H, W) by `central_difference`, without bias; fresh weights are PyTorch's."""

    def __init__(self, channels: int, out: int, theta: float) -> None:
        super().__init__()
        self.weight, self.theta = nn.Conv2d(channels, out, 3, bias=False).weight, theta

    def forward(self, x: Tensor) -> Tensor:
        return central_difference(x, self.weight, self.theta)
