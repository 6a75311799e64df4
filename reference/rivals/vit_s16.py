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

Training is `reference.rivals.loop`'s.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
import tyro
from torch import Tensor, nn

from reference import training
from reference.rivals import loop

PATCH, WIDTH, DEPTH, HEADS, MLP = 16, 384, 12, 6, 1536


@dataclass(frozen=True, kw_only=True)
class Options(training.Training):
    """Train and evaluate ViT-S/16 on RGB, depth and infrared."""

    modalities: Literal["nine_channels", "score_average"] = "nine_channels"
    """One network that sees nine channels, or three networks of one modality whose scores are averaged."""

    def check(self) -> None:
        super().check()
        training.divisible(self.image_size, PATCH)


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


def loss(logits: Tensor, spoof: Tensor) -> dict[str, Tensor]:
    """The networks' cross-entropies (`loop.cross_entropy`), summed: none feels another's."""
    return {"loss": torch.stack([loop.cross_entropy(one, spoof)["loss"] for one in logits.unbind(1)]).sum()}


def score(logits: Tensor) -> Tensor:
    """The mean (B,) of the networks' logit differences."""
    return torch.stack([loop.logit_difference(one) for one in logits.unbind(1)]).mean(0)


def main() -> None:
    options = tyro.cli(Options, prog="python -m reference.rivals.vit_s16")
    with training.command_errors():
        loop.train(options, Path(__file__), lambda: ViT(options.image_size, options.modalities), loss, score)


if __name__ == "__main__":
    main()
