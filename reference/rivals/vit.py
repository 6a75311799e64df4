"""ViT, a row of MMDA's Tables 1 to 3 that sees all three modalities: a plain vision transformer under cross-entropy.

Dosovitskiy et al.: An Image is Worth 16x16 Words. ICLR 2021, arXiv 2010.11929. As a baseline of anti-spoofing: MMDG,
CVPR 2024, arXiv 2402.19298, whose tables MMDA's and DADM's (ICCV 2025, arXiv 2503.00429) copy.

    python -m reference.rivals.vit --index build/…/index.csv --run-dir build/runs/vit --weights torchvision

Which network this row is, nobody says. MMDG calls it its baseline and published no script for it. At least two such
baselines exist: the row's four cells of Table 1 have a mean HTER of 35.16 and a mean AUC of 67.74 (MMDA prints 36.60
and 68.12), and a line "ViT + CE" of DADM's ablation has 31.14 and 74.81. Here are two as well:

shared     MMDG's and DADM's skeleton without what either adds to it, blocks/vit_trunk.py: one ViT-B/16 sees one
modality at a time, each with a class token and positions of its own; the three class tokens, after the final norm, go
side by side through a linear layer to two logits. The row's numbers are MMDG's and the ablation's DADM's: both come
from those who built on this skeleton, so it is the likelier network of the two. flexmodal  Flex-Modal-FAS's
cross-attention between channels, blocks/flex_modal.py: the nearest code with a licence. No number of MMDA's tables is
known to be its.

    loss = cross-entropy of the two classes                            of either

Input is 224 x 224, RGB, (x - 127.5) / 128, of either, as the tables' loaders and Flex-Modal-FAS have it; the network
makes it of [-1, 1] itself. No stem of nine channels stands before it: both networks take three images.

Parameters at 224 x 224, our counts:

    shared, one patch embedding                 86 107 394   of which train  7 550 210
      class tokens 2 304, positions 453 888, linear layer 4 610, last layer 7 087 872, final norm 1 536
      frozen: patch embedding 590 592, eleven layers 77 966 592
    shared, a patch embedding for each          87 288 578   with MMDG's adapters of 963 456 its 88.25 M, 8.51 M trained
    flexmodal, on the path (preset released)    91 109 378   itemised in the head of flexmodal.py; all train
    flexmodal, state of the original            91 110 914   the final norm, 1 536, is held and never applied (R3)

Readings:

  V1  `--baseline shared` (table, described) or `flexmodal` (released): above.
  T1  MMDG and DADM freeze all but the last layer, the final norm, class tokens and positions (`--trained last`), which
      asks for trained weights: behind a frozen trunk of random ones a last layer learns next to nothing. The cpu
      profile, which has no weights, trains `all`. Flex-Modal-FAS trains all of its network in any case.
  T2  MMDG's code draws the positions anew, N(0, 0.02), although they come with the weights; `table` does as the row's
      source does. `described` keeps them, as one does who fine-tunes a ViT.
  T3  MMDG copies the frozen patch embedding for each modality; frozen copies of one thing are one thing, which
      `--embedding shared` is. They part when all is trained.
  R0  First weights: fresh unless `--weights torchvision` or a file says otherwise. All sources began from ImageNet's,
      and the paper profile does. Flex-Modal-FAS's were timm's for its transformer, `torchvision` names torchvision's.
  R1  Of the flexmodal baseline: how its maps meet. R2: whether its attention is divided. R3: its final norm.
  R4  Of the preset `released`: depth and infrared are dropped in training; what is missing at test is grey there, and
      black elsewhere; and RGB stands there at test where infrared belongs, as in Flex-Modal-FAS's code. R5: cutout. R6:
      brightness and gamma.
  R7  Training. `table` and `described`: how the row was trained is published nowhere; these are DADM's, of the same
      skeleton: Adam at 5e-5 with weight decay 5e-5 in the gradient, batches of 16, 80 epochs, flips. `released`:
      Flex-Modal-FAS's AdamW at 1e-5 with weight decay 0.05, batches of 64, 30 epochs, flips, shuffled frames. Whether
      a batch of the skeleton is balanced is not said either; by class, as everywhere here.
  R8  No schedule is named with DADM's settings: the rate is constant. Flex-Modal-FAS halves it after 20 epochs, its
      code one epoch early.

Sizes are those of ViT-B/16 unless `--patch`, `--width`, `--depth` and `--heads` narrow it, which no published weights
fit.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from reference.options import reading
from reference.rivals import method
from reference.rivals.blocks import flex_modal, vit_trunk
from reference.rivals.blocks.flex_modal import FlexModalMethod
from reference.rivals.blocks.start import FRESH, Start
from reference.rivals.blocks.stem import SHARED_SCALE
from reference.rivals.blocks.vit_trunk import MODALITIES, SharedTrunk
from reference.training import Training


@dataclass(frozen=True, kw_only=True)
class Options(flex_modal.Options, vit_trunk.Options):
    """Train and evaluate ViT on RGB, depth and infrared."""

    baseline: Literal["shared", "flexmodal"] = reading("shared", released="flexmodal")
    """V1: the skeleton of MMDG and DADM, or Flex-Modal-FAS's network."""

    drop_modality: float = reading(0.0, released=0.5)
    """R4: probability with which a training sample's depth becomes black, and as well its infrared."""

    cutout: int = reading(0, released=30)
    """R5: the side of a training sample's black square, in pixels, stays below this number; 0 cuts out nothing."""

    brightness: int = reading(0, released=40)
    """R6: each channel of a training image becomes brighter or darker by up to so many of 255 grey values."""

    gamma: float = reading(0.0, released=0.5)
    """R6: the exponent of a training image differs from 1 by up to this number."""

    optimiser: Literal["adamw", "adam_l2", "sgd"] = reading("adam_l2", released="adamw")
    """R7: adamw decays weights apart from the gradient, adam_l2 adds the decay to the gradient."""

    learning_rate: float = reading(5e-5, released=1e-5)
    """R7: highest learning rate."""

    weight_decay: float = reading(5e-5, released=0.05)
    """R7: weight decay of all parameters that train."""

    batch_size: int = reading(16, released=64)
    """R7: samples a step, half of them bona fide where they are balanced; also used to evaluate."""

    epochs: int = reading(80, released=30)
    """R7: passes over the training split."""

    augmentation: Literal["none", "flip"] = reading("flip")
    """R7: flip mirrors each training sample with probability 1/2, all its modalities alike."""

    sampling: Literal["balanced", "shuffled"] = reading("balanced", released="shuffled")
    """R7: batches hold as many bona fide as attacks, or an epoch is a shuffle of all frames."""

    rate: Literal["cosine", "constant", "halved", "halved_early"] = reading("constant", released="halved_early")
    """R8: the learning rate stays, rises and falls as mmFAS's, or is halved after 20 epochs, or after 19."""

    protocol: str = "official"
    """Protocol of the index whose splits train, val and test are used."""


class SharedViT(nn.Module):
    """rgb, depth, ir (B, 3, S, S) in [-1, 1] to logits (B, 2): bona fide, attack."""

    def __init__(self, options: Options, begun: Start = FRESH) -> None:
        super().__init__()
        self.trunk = SharedTrunk(options, begun)
        self.classes = nn.Linear(MODALITIES * options.width, 2)

    def forward(self, rgb: Tensor, depth: Tensor, ir: Tensor) -> Tensor:
        logits: Tensor = self.classes(self.trunk(SHARED_SCALE * rgb, SHARED_SCALE * depth, SHARED_SCALE * ir))
        return logits


class Method(FlexModalMethod[Options]):
    """Either network under cross-entropy."""

    def build(self) -> nn.Module:
        return SharedViT(self.options, self.start) if self.options.baseline == "shared" else super().build()

    def optimiser(self, training: Training) -> torch.optim.Optimizer:
        return training.optimiser(p for p in self.network.parameters() if p.requires_grad)


if __name__ == "__main__":
    method.main(Method, Options, __doc__)
