"""FaceBagNet, a multimodal row of mmFAS Table 1.

Shen, Huang, Tong: FaceBagNet: Bag-of-local-features Model for Multi-modal Face Anti-spoofing. CVPRW 2019,
doi 10.1109/CVPRW.2019.00203.

    python -m reference.rivals.facebagnet --index build/…/index.csv --run-dir build/runs/facebagnet

A network that sees a small square of a face cannot know the face, only its texture. Colour, depth and infrared of one
square pass a stream each: batch norm of the pixels, a 7 x 7 convolution, max pooling, and the first two stages (2 and 2
bottlenecks, 32 groups) of an SE-ResNeXt. Squeeze-and-excitation weighs the 512 channels of each, a 1 x 1 convolution
makes 384 of all 1536, and two residual stages, mean pooling and two linear layers with dropout between judge them.

    loss = cross-entropy of the two logits of a random patch
    score = difference of the two logits, each the mean over 36 crops: nine places, four mirrorings

Modal feature erasing: half of the training samples lose modalities, one of them or all but one.

Original input: 112 x 112 pixels of each modality from 0 to 1, colours as blue, green, red, of which squares of 48.
Released class 1 is bona fide, here class 0.

Parameters: 14 550 228 on the path. The original's module holds 64 198 806: its three streams are whole networks, each
with a third stage of 2 781 312, a fourth of 11 100 416, a last layer of 2 049 000 for 1000 classes and the heads of a
stream alone, 4 098 for attacks and 614 700 for 300 subjects. None of these 3 * 16 549 526 takes part in the fused
network.

Readings:

  R1  Erasing. The paper speaks of erased features, `--erasing features` (`described`): they are zero where the
      modalities meet. The code blackens the patch of pixels, `patch`, which batch norm then shifts (`released`, and
      `table`: what was run).
  R2  Half of the samples lose something, and half of these keep one modality only: the code's numbers, for the paper's
      are not known here.
  R3  Patches of 48 pixels, the best of three sizes by the ACER published for CASIA-SURF's validation (0.0009 for 32,
      0.0006 for 48, 0.0007 for 64).
  R4  In training each modality shows a place of its own, turned in its own way, as the code draws them; at test all
      three show the same. The paper does not say; `--together` shows the same in training too.
  R5  The code mirrors both ways, turns by up to 30 degrees and makes half of the images coarse. mmFAS trained all
      models alike: `table` has none of it.
  R6  The code's grid ends one pixel before the image does: places 0, 32 and 63 where 64 would be the last. `table` and
      `described` go to the edge. A patch as large as the image has no place in the code's grid.
  R7  Training: `table` is mmFAS's. The code trains by SGD with momentum, 10 cycles of 50 epochs, each from 0.1 to
      0.001. What the paper says of it is not known here: `described` is as `released`.

What the code does otherwise, too small for a reading: it draws each sample's class by a coin, where batches here hold
both classes alike; it changes the rate once an epoch, here every step; it rounds pixels to whole numbers after it
resizes, turns or coarsens. Turning mirrors the pixels and then rotates them in one sampling here, in two there.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from reference.rivals import method
from reference.rivals.blocks import bags
from reference.rivals.blocks.bags import BagMethod, Head, intensities
from reference.rivals.blocks.patches import without
from reference.rivals.blocks.squeeze_excitation import SqueezeExcitation

GROUPS, REDUCTION = 32, 16


@dataclass(frozen=True, kw_only=True)
class Options(bags.Options):
    """Train and evaluate FaceBagNet on RGB, depth and infrared."""


class Bottleneck(nn.Module):
    """A bottleneck of SE-ResNeXt: (B, channels, H, W) to (B, 2 inner, H / stride, W / stride)."""

    def __init__(self, channels: int, inner: int, stride: int, shortcut: bool) -> None:
        super().__init__()
        self.residue = nn.Sequential(
            nn.Conv2d(channels, inner, 1, bias=False),
            nn.BatchNorm2d(inner),
            nn.ReLU(),
            nn.Conv2d(inner, inner, 3, stride, padding=1, groups=GROUPS, bias=False),
            nn.BatchNorm2d(inner),
            nn.ReLU(),
            nn.Conv2d(inner, 2 * inner, 1, bias=False),
            nn.BatchNorm2d(2 * inner),
            SqueezeExcitation(2 * inner, REDUCTION),
        )
        self.shortcut = (
            nn.Identity()
            if not shortcut
            else nn.Sequential(nn.Conv2d(channels, 2 * inner, 1, stride, bias=False), nn.BatchNorm2d(2 * inner))
        )

    def forward(self, x: Tensor) -> Tensor:
        return (self.residue(x) + self.shortcut(x)).relu()


def stream(width: int) -> nn.Sequential:
    """One modality's pixels (B, 3, P, P) in [0, 1] to features (B, 8 w, P / 8, P / 8), for w channels of the stem."""
    return nn.Sequential(
        nn.BatchNorm2d(3),
        nn.Conv2d(3, width, 7, stride=2, padding=3, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(),
        nn.MaxPool2d(3, stride=2, ceil_mode=True),
        Bottleneck(width, 2 * width, 1, shortcut=True),
        Bottleneck(4 * width, 2 * width, 1, shortcut=False),
        Bottleneck(4 * width, 4 * width, 2, shortcut=True),
        Bottleneck(8 * width, 4 * width, 1, shortcut=False),
    )


class FaceBagNet(nn.Module):
    """rgb, depth, ir (B, 3, P, P) in [-1, 1] to logits (B, 2): bona fide, attack.

    `kept` (B, 3) says whose features each sample keeps; None keeps all.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.streams = nn.ModuleList(stream(width) for _ in range(3))
        self.excitations = nn.ModuleList(SqueezeExcitation(8 * width, REDUCTION) for _ in range(3))
        self.meeting = nn.Sequential(nn.Conv2d(24 * width, 6 * width, 1), nn.BatchNorm2d(6 * width), nn.ReLU())
        self.head = Head(width)

    def forward(self, rgb: Tensor, depth: Tensor, ir: Tensor, kept: Tensor | None = None) -> Tensor:
        features = tuple(
            excite(encode(x))
            for x, encode, excite in zip(intensities(rgb, depth, ir), self.streams, self.excitations, strict=True)
        )
        if kept is not None:
            features = without(features, kept)
        return self.head(self.meeting(torch.cat(features, 1)))


class Method(BagMethod[Options]):
    """FaceBagNet under cross-entropy."""

    def build(self) -> nn.Module:
        return FaceBagNet(self.options.width)


if __name__ == "__main__":
    method.main(Method, Options, __doc__)
