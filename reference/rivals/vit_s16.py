"""ViT-S/16, the generic multimodal row of mmFAS Table 1.

Dosovitskiy et al.: An Image is Worth 16x16 Words. ICLR 2021, arXiv 2010.11929. The size S is DeiT's (Touvron
et al., ICML 2021, arXiv 2012.12877): patches of 16 x 16, width 384, depth 12, 6 heads, MLP 1536.

    python -m reference.rivals.vit_s16 --index build/…/index.csv --run-dir build/runs/vit_s16

Parameters at 224 x 224, our counts: 22 050 664 with an RGB stem and 1000 outputs (DeiT: 22 M), 21 666 434
with two, 22 256 258 with the stem of nine channels.

Readings:

  R1  mmFAS gives ViT three modalities and does not say how. `--modalities nine_channels` (default) stacks
      them before the patch embedding and leaves the rest alone; `score_average` trains one ViT a modality,
      each under its own loss, and averages their scores (three times the parameters).
  R2  The network is torchvision's (class token, learned positions, LayerNorm before each part, epsilon 1e-6,
      exact GELU, no dropout), with its initialisation, the wider stem's by the same rule.
  R3  Two outputs with softmax cross-entropy: binary cross-entropy on their difference, which is the score.
  R4  Input as it comes, in [-1, 1].

The presets `described` and `released` are `table` here: neither paper nor code trained it for anti-spoofing.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from reference.batches import Batch
from reference.options import divisible, reading
from reference.reuse import Reusable
from reference.rivals import method
from reference.rivals.blocks.two_logits import cross_entropy, logit_difference
from reference.runs import HEADLINE

PATCH, WIDTH, DEPTH, HEADS, MLP = 16, 384, 12, 6, 1536


@dataclass(frozen=True, kw_only=True)
class Options(method.Options):
    """Train and evaluate ViT-S/16 on RGB, depth and infrared."""

    modalities: Literal["nine_channels", "score_average"] = reading("nine_channels")
    """R1: one network that sees nine channels, or three networks of one modality whose scores are averaged."""

    def check(self) -> None:
        super().check()
        divisible(self.image_size, PATCH)


def vit(image_size: int, channels: int, classes: int = 2) -> nn.Module:
    """ViT-S/16: (B, channels, S, S) to logits (B, classes)."""
    from torchvision.models import VisionTransformer  # takes seconds that a finished run need not spend

    net = VisionTransformer(image_size, PATCH, DEPTH, HEADS, WIDTH, MLP, num_classes=classes)
    if channels != 3:
        net.conv_proj = nn.Conv2d(channels, WIDTH, PATCH, stride=PATCH)
        nn.init.trunc_normal_(net.conv_proj.weight, std=math.sqrt(1 / (channels * PATCH**2)))
        nn.init.zeros_(net.conv_proj.bias)
    return net


class ViT(nn.Module):
    """rgb, depth, ir (B, 3, S, S) to logits (B, M, 2) of M = 1 or 3 networks: bona fide, spoof."""

    def __init__(self, image_size: int, modalities: str = "nine_channels") -> None:
        super().__init__()
        channels = [9] if modalities == "nine_channels" else [3, 3, 3]
        self.nets = nn.ModuleList(vit(image_size, c) for c in channels)

    def forward(self, rgb: Tensor, depth: Tensor, ir: Tensor) -> Tensor:
        inputs = [torch.cat([rgb, depth, ir], 1)] if len(self.nets) == 1 else [rgb, depth, ir]
        return torch.stack([net(x) for net, x in zip(self.nets, inputs, strict=True)], 1)


class Method(method.Method[Options]):
    """ViT-S/16, or three of them, under cross-entropy."""

    network: ViT

    def build(self) -> nn.Module:
        return ViT(self.options.image_size, self.options.modalities)

    def reused(self) -> Sequence[Reusable]:
        return [(net, "forward") for net in self.network.nets]

    def losses(self, output: Tensor, batch: Batch) -> dict[str, Tensor]:
        """The networks' cross-entropies, summed: none feels another's."""
        return {"loss": torch.stack([cross_entropy(logits, batch.label) for logits in output.unbind(1)]).sum()}

    def scores(self, output: Tensor) -> dict[str, Tensor]:
        """The mean of the networks' logit differences."""
        return {HEADLINE: torch.stack([logit_difference(logits) for logits in output.unbind(1)]).mean(0)}


if __name__ == "__main__":
    method.main(Method, Options, __doc__)
