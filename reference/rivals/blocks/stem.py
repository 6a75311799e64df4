"""How a network made for RGB alone sees three modalities: nine channels become three before its first layer.

MMDG's tables, from which MMDA's take these rows, say of their uni-modal methods that the three modalities are put side
by side, nine channels, and that a 1 x 1 convolution makes three of them; nothing more. The rest are readings here, S1
to S4. The convolution has thirty parameters with its bias, which no published count of such a row contains.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from reference.options import reading
from reference.rivals import method

SHARED_SCALE = 127.5 / 128  # from (x - 127.5) / 127.5 to the (x - 127.5) / 128 of the tables' loaders


@dataclass(frozen=True, kw_only=True)
class Options(method.Options):
    """How a row made for RGB takes its images."""

    stem: Literal["conv", "rgb"] = reading("rgb", table="conv")
    """S1: conv makes three channels of the nine of RGB, depth and infrared; rgb leaves the other two away."""

    stem_bias: Literal["with", "without"] = reading("with")
    """S2: whether the stem's convolution has a bias."""

    stem_start: Literal["random", "mean", "rgb"] = reading("random")
    """S3: its first weights: PyTorch's, the mean of the three modalities, or those that let RGB pass alone."""

    stem_range: Literal["shared", "own"] = reading("shared")
    """S4: it is fed (x - 127.5) / 128, as the tables' loaders make it, or what the row feeds its own network."""

    @property
    def sees(self) -> str:
        return "R" if self.stem == "rgb" else super().sees


class Stem(nn.Module):
    """RGB, depth and infrared (B, 3, S, S) in [-1, 1] to the three channels (B, 3, S, S) of a network of RGB.

    `own` is how the row's own network takes an image in [-1, 1]; it is all that happens where the row sees RGB alone.
    """

    def __init__(self, options: Options, own: nn.Module) -> None:
        super().__init__()
        self.own, self.shared = own, options.stem_range == "shared"
        self.conv = nn.Conv2d(9, 3, 1, bias=options.stem_bias == "with") if options.stem == "conv" else None
        if self.conv is not None and options.stem_start != "random":
            passing = torch.eye(3)
            others = passing if options.stem_start == "mean" else torch.zeros(3, 3)
            weight = torch.cat([passing, others, others], 1)  # (3, 9)
            with torch.no_grad():
                self.conv.weight.copy_((weight / weight.sum(1, keepdim=True))[:, :, None, None])
                if self.conv.bias is not None:
                    self.conv.bias.zero_()

    def forward(self, rgb: Tensor, depth: Tensor, ir: Tensor) -> Tensor:
        if self.conv is None:
            return self.own(rgb)
        images = (rgb, depth, ir)
        return self.conv(torch.cat([SHARED_SCALE * x if self.shared else self.own(x) for x in images], 1))
