"""The normalisation of SSDG's features, which FLIP and ViTAF took over with its code."""

from torch import Tensor


def root_normalised(x: Tensor) -> Tensor:
    """Features (B, C) divided by sqrt(2 |x|): by the root of their length, not by their length, so that the longer of
    two parallel features stays the longer one. Lengths below 1e-12 count as that."""
    return x / (2 * x.norm(dim=1, keepdim=True).clamp(min=1e-12)) ** 0.5
