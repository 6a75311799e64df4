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

  R1  Score: the mean of the map, as the authors evaluate; `--score binary` takes the image's judgement,
      `combined` the mean of both.
  R2  Weights start afresh and training is mmFAS's, as it says of all models; the authors themselves began
      from ImageNet's weights and trained otherwise.
  R3  The network normalises its input with ImageNet's mean and standard deviation, the authors' way: it takes
      pixels in [-1, 1] like every row and converts them itself.
  R4  The encoder is torchvision's, with its initialisation.
  R5  Losses are computed from logits: the same function as on probabilities, without its overflow.

Training is `reference.rivals.loop`'s.
"""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import torch
import tyro
from torch import Tensor, nn
from torch.nn import functional as F

from data_manifests.errors import BadInput
from reference import training
from reference.rivals import loop

STRIDE, WIDTH = 16, 384  # of the encoder's output
IMAGENET_MEAN, IMAGENET_SD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

Output = tuple[Tensor, Tensor]


@dataclass(frozen=True, kw_only=True)
class Options(training.Training):
    """Train and evaluate DeepPixBiS on RGB."""

    balance: float = 0.5
    """lambda: the weight of the image's loss; the map's is 1 - lambda."""

    score: Literal["pixel_mean", "binary", "combined"] = "pixel_mean"
    """Mean of the map, the image's judgement, or the mean of both."""

    def check(self) -> None:
        super().check()
        training.divisible(self.image_size, STRIDE)
        if not 0 <= self.balance <= 1:
            raise BadInput(f"--balance {self.balance}: it is a share; give a number from 0 to 1")


class DeepPixBiS(nn.Module):
    """rgb (B, 3, S, S) to bona fide logits of the map (B, S/16, S/16) and of the image (B,).

    The other modalities are ignored.
    """

    mean: Tensor
    sd: Tensor

    def __init__(self, image_size: int) -> None:
        super().__init__()
        from torchvision.models import densenet161  # takes seconds that a finished run need not spend

        side = training.divisible(image_size, STRIDE)
        self.encoder = nn.Sequential(*list(densenet161(weights=None).features.children())[:8])
        self.map = nn.Conv2d(WIDTH, 1, 1)
        self.image = nn.Linear(side * side, 1)
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("sd", torch.tensor(IMAGENET_SD).view(1, 3, 1, 1), persistent=False)

    def forward(self, rgb: Tensor, depth: Tensor, ir: Tensor) -> Output:
        x = ((rgb + 1) / 2 - self.mean) / self.sd  # R3
        cells = self.map(self.encoder(x))[:, 0]  # (B, S/16, S/16)
        return cells, self.image(cells.sigmoid().flatten(1))[:, 0]


def loss(output: Output, spoof: Tensor, balance: float = 0.5) -> dict[str, Tensor]:
    """lambda * BCE(image) + (1 - lambda) * BCE(map); output as of `DeepPixBiS`, spoof (B,)."""
    cells, image = (x.float() for x in output)
    bonafide = 1 - spoof
    of_image = F.binary_cross_entropy_with_logits(image, bonafide)
    of_map = F.binary_cross_entropy_with_logits(cells, bonafide[:, None, None].expand_as(cells))
    return {"loss": balance * of_image + (1 - balance) * of_map, "image": of_image, "map": of_map}


def score(output: Output, kind: str = "pixel_mean") -> Tensor:
    """Score (B,) in [0, 1] (R1)."""
    cells, image = (x.float().sigmoid() for x in output)
    pixel_mean = cells.mean((1, 2))
    return {"pixel_mean": pixel_mean, "binary": image, "combined": (pixel_mean + image) / 2}[kind]


def main() -> None:
    options = tyro.cli(Options, prog="python -m reference.rivals.deeppixbis")
    with training.command_errors():
        loop.train(
            options,
            Path(__file__),
            lambda: DeepPixBiS(options.image_size),
            partial(loss, balance=options.balance),
            partial(score, kind=options.score),
        )


if __name__ == "__main__":
    main()
