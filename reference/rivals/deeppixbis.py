"""DeepPixBiS, an RGB-only row of mmFAS Table 1.

George, Marcel: Deep Pixel-wise Binary Supervision for Face Presentation Attack Detection. ICB 2019,
arXiv 1907.04047.

    python -m reference.rivals.deeppixbis --index build/…/index.csv --run-dir build/runs/deeppixbis

The first eight modules of DenseNet-161: a stem and two dense blocks of 6 and 12 layers, each followed by a
transition that halves width and resolution. A 1 x 1 convolution and a sigmoid make a map of 14 x 14
judgements (at 224 x 224), a linear layer and a sigmoid on that map one judgement of the whole image.
3 198 726 parameters (our count; the paper speaks of about 3.2 M).

    loss = lambda * BCE(image) + (1 - lambda) * mean over the map of BCE(cell),  lambda = 1/2,

with target 1 for bona fide and 0 for an attack, at every cell alike.

Readings:

  R0  First weights of the encoder: fresh ones in every preset, as mmFAS trained all models from scratch;
      `--weights torchvision` begins from ImageNet's, as the authors did.
  R1  Score: the mean of the map, as the authors evaluate; `--score binary` takes the image's judgement,
      `combined` the mean of both.
  R3  The network normalises its input with ImageNet's mean and standard deviation, the authors' way: it takes
      pixels in [-1, 1] like every row and converts them itself.
  R4  The encoder is torchvision's, with its initialisation.
  R5  Losses are computed from logits: the same function as on probabilities, without its overflow.

  R6  Training: the preset `table` is mmFAS's, as it says of all models. `described`: Adam at a constant 1e-4 with
      weight decay 1e-5, batches of 32, 50 epochs, flips; recalled of the paper, not read again. `released`: the
      authors' training script was not read; this is a public port's (edjacob25/simple_deep_pix_bis at 968b8cd), with
      weight decay 1e-6, 5 epochs and jitter of colours.
"""

from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from data_manifests.errors import BadInput
from reference.batches import Batch
from reference.options import divisible, reading
from reference.rivals import method
from reference.rivals.blocks import start
from reference.rivals.blocks.colour_jitter import jittered
from reference.rivals.blocks.densenet161 import STRIDE, TRUNK, WIDTH, densenet161_encoder
from reference.rivals.blocks.imagenet_input import ImageNetInput
from reference.rivals.blocks.pixel_wise import score
from reference.rivals.blocks.precision import at_least_float32
from reference.rivals.blocks.start import FRESH, Start, StartedMethod
from reference.runs import HEADLINE
from reference.training import Training

Output = tuple[Tensor, Tensor]


@dataclass(frozen=True, kw_only=True)
class Options(start.Options):
    """Train and evaluate DeepPixBiS on RGB."""

    balance: float = 0.5
    """lambda: the weight of the image's loss; the map's is 1 - lambda."""

    score: Literal["pixel_mean", "binary", "combined"] = reading("pixel_mean")
    """R1: mean of the map, the image's judgement, or the mean of both."""

    rate: Literal["cosine", "constant"] = reading("constant", table="cosine")
    """R6: the learning rate rises and falls as mmFAS's, or stays."""

    jitter: float = reading(0.0, released=0.15)
    """R6: brightness, contrast and saturation of RGB change by up to this share."""

    optimiser: Literal["adamw", "adam_l2", "sgd"] = reading("adam_l2", table="adamw")
    """R6: adamw decays weights apart from the gradient, adam_l2 adds the decay to the gradient."""

    weight_decay: float = reading(1e-5, table=1e-2, released=1e-6)
    """R6: weight decay of all parameters."""

    batch_size: int = reading(32, table=128)
    """R6: samples a step, half of them bona fide; also used to evaluate."""

    epochs: int = reading(50, table=30, released=5)
    """R6: passes over the training split."""

    augmentation: Literal["none", "flip"] = reading("flip", table="none")
    """R6: flip mirrors each training sample with probability 1/2."""

    def check(self) -> None:
        super().check()
        divisible(self.image_size, STRIDE)
        for name in ("balance", "jitter"):
            if not 0 <= getattr(self, name) <= 1:
                raise BadInput(f"--{name} {getattr(self, name)}: it is a share; give a number from 0 to 1")


class DeepPixBiS(nn.Module):
    """rgb (B, 3, S, S) to bona fide logits of the map (B, S/16, S/16) and of the image (B,).

    The other modalities are ignored.
    """

    def __init__(self, image_size: int, begun: Start = FRESH) -> None:
        super().__init__()
        side = divisible(image_size, STRIDE)
        self.normalise = ImageNetInput()  # R3
        self.encoder = densenet161_encoder(begun)
        self.map = nn.Conv2d(WIDTH, 1, 1)
        self.image = nn.Linear(side * side, 1)

    def forward(self, rgb: Tensor, depth: Tensor, ir: Tensor) -> Output:
        cells = self.map(self.encoder(self.normalise(rgb)))[:, 0]  # (B, S/16, S/16)
        return cells, self.image(cells.sigmoid().flatten(1))[:, 0]


def loss(output: Output, label: Tensor, balance: float = 0.5) -> dict[str, Tensor]:
    """lambda * BCE(image) + (1 - lambda) * BCE(map), and its parts; output as of `DeepPixBiS`, label (B,)."""
    cells, image = (at_least_float32(x) for x in output)
    bonafide = (1 - label).to(image)
    of_image = F.binary_cross_entropy_with_logits(image, bonafide)
    of_map = F.binary_cross_entropy_with_logits(cells, bonafide[:, None, None].expand_as(cells))
    return {"loss": balance * of_image + (1 - balance) * of_map, "image": of_image, "map": of_map}


class Method(StartedMethod[Options]):
    """DeepPixBiS: every cell of the map and the whole image are judged."""

    TRUNK = TRUNK

    def build(self) -> nn.Module:
        return DeepPixBiS(self.options.image_size, self.start)

    def losses(self, output: Output, batch: Batch) -> dict[str, Tensor]:
        return loss(output, batch.label, self.options.balance)

    def scores(self, output: Output) -> dict[str, Tensor]:
        return {HEADLINE: score(*output, self.options.score)}

    def views(self, batch: Batch, training: Training) -> Batch:
        batch = super().views(batch, training)
        if self.options.jitter:
            batch = replace(batch, rgb=jittered(batch.rgb, self.options.jitter, self.draws))
        return batch

    def schedule(self, optimiser: torch.optim.Optimizer, batch: Batch, training: Training) -> None:
        if self.options.rate == "cosine":
            super().schedule(optimiser, batch, training)


if __name__ == "__main__":
    method.main(Method, Options, __doc__)
