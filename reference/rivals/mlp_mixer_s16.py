"""MLP-Mixer S/16, an RGB-only row of mmFAS Table 1.

Tolstikhin et al.: MLP-Mixer: An all-MLP Architecture for Vision. NeurIPS 2021, arXiv 2105.01601.

    python -m reference.rivals.mlp_mixer_s16 --index build/…/index.csv --run-dir build/runs/mlp_mixer_s16

Of the network mmFAS says that "only the last fully-connected layers are modified", that it sees RGB, and that
binary cross-entropy supervises it. Sizes are those of the Mixer paper's Table 1, column S/16: patches of
16 x 16, width 512, 8 layers, token-mixing width 256, channel-mixing width 2048. At 224 x 224 that makes
18 528 264 parameters with 1000 outputs (the paper: 18 M) and 18 016 290 with two.

Readings:

  R1  Size: mmFAS names none. S/16 stands nearest to ViT-S/16, the size it does name.
  R2  GELU in its tanh form, LayerNorm with epsilon 1e-6, initial weights a truncated normal of variance
      1/fan_in, biases and the head 0: as in the authors' code (google-research/vision_transformer).
  R3  Two outputs with softmax cross-entropy: binary cross-entropy on their difference, which is the score.
  R4  Input as it comes, in [-1, 1].

The presets `described` and `released` are `table` here: neither paper nor code trained it for anti-spoofing.
"""

import math
from dataclasses import dataclass

from torch import Tensor, nn

from reference.batches import Batch
from reference.options import divisible
from reference.rivals import method
from reference.rivals.blocks.two_logits import cross_entropy, logit_difference
from reference.runs import HEADLINE

PATCH, WIDTH, LAYERS, TOKEN_WIDTH, CHANNEL_WIDTH = 16, 512, 8, 256, 2048
# Standard deviation of a standard normal cut off at ±2, so that what is drawn has the variance asked for.
TRUNCATED_SD = 0.87962566103423978


@dataclass(frozen=True, kw_only=True)
class Options(method.Options):
    """Train and evaluate MLP-Mixer S/16 on RGB."""

    def check(self) -> None:
        super().check()
        divisible(self.image_size, PATCH)


def mlp(width: int, hidden: int) -> nn.Sequential:
    """Over the last axis: width -> hidden -> width."""
    return nn.Sequential(nn.Linear(width, hidden), nn.GELU(approximate="tanh"), nn.Linear(hidden, width))


class MixerLayer(nn.Module):
    """x + token MLP over the patches of each channel, then x + channel MLP over each patch's channels."""

    def __init__(self, tokens: int) -> None:
        super().__init__()
        self.norm_tokens, self.mix_tokens = nn.LayerNorm(WIDTH, eps=1e-6), mlp(tokens, TOKEN_WIDTH)
        self.norm_channels, self.mix_channels = nn.LayerNorm(WIDTH, eps=1e-6), mlp(WIDTH, CHANNEL_WIDTH)

    def forward(self, x: Tensor) -> Tensor:  # (B, T, 512) -> (B, T, 512)
        x = x + self.mix_tokens(self.norm_tokens(x).transpose(1, 2)).transpose(1, 2)
        return x + self.mix_channels(self.norm_channels(x))


class Mixer(nn.Module):
    """rgb (B, 3, S, S) to logits (B, 2): bona fide, spoof. The other modalities are ignored."""

    def __init__(self, image_size: int, classes: int = 2) -> None:
        super().__init__()
        tokens = divisible(image_size, PATCH) ** 2
        self.stem = nn.Conv2d(3, WIDTH, PATCH, stride=PATCH)
        self.layers = nn.Sequential(*(MixerLayer(tokens) for _ in range(LAYERS)))
        self.norm = nn.LayerNorm(WIDTH, eps=1e-6)
        self.head = nn.Linear(WIDTH, classes)
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Conv2d):
                sd = math.sqrt(1 / module.weight[0].numel()) / TRUNCATED_SD
                nn.init.trunc_normal_(module.weight, std=sd, a=-2 * sd, b=2 * sd)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        nn.init.zeros_(self.head.weight)

    def forward(self, rgb: Tensor, depth: Tensor, ir: Tensor) -> Tensor:
        x = self.stem(rgb).flatten(2).transpose(1, 2)  # (B, T, 512)
        return self.head(self.norm(self.layers(x)).mean(1))


class Method(method.Method[Options]):
    """MLP-Mixer S/16 under cross-entropy."""

    def build(self) -> nn.Module:
        return Mixer(self.options.image_size)

    def losses(self, output: Tensor, batch: Batch) -> dict[str, Tensor]:
        return {"loss": cross_entropy(output, batch.label)}

    def scores(self, output: Tensor) -> dict[str, Tensor]:
        return {HEADLINE: logit_difference(output)}


if __name__ == "__main__":
    method.main(Method, Options, __doc__)
