"""A-DeepPixBis, an RGB-only row of mmFAS Table 1.

Hossain et al.: A-DeepPixBis: Attentional Angular Margin for Face Anti-Spoofing. DICTA 2020. The paper was not read;
what follows is its released code, and what that code visibly means to do where it does something else.

    python -m reference.rivals.a_deeppixbis --index build/…/index.csv --run-dir build/runs/a_deeppixbis

DeepPixBiS's encoder, the first eight modules of DenseNet-161, gives 384 features at each of 14 x 14 cells (at
224 x 224, RGB, ImageNet's mean and deviation taken out). Two branches judge by angles:

- map: the cosine of each cell's features with one learned direction of 384 numbers;
- image: a 1 x 1 convolution to one plane, a linear layer from its 196 cells to an embedding of 512 numbers, and the
  embedding's cosine with a second learned direction.

A cosine c with angle theta = arccos c costs

    bona fide:  -log sigmoid(cos(theta + m))        attack:  -log(1 - sigmoid(cos theta)),        m = 0.5 rad,

the cells weighted by softmax(a), with 196 learned numbers a that begin alike:

    loss = lambda * mean over the batch of the image's + (1 - lambda) * mean over the batch of
           sum over the cells of softmax(a) times the cell's,                                   lambda = 1/2.

No scale stands before the cosines, so that a sigmoid never leaves [0.27, 0.73], and no attack costs less than 0.313,
no bona fide sample less than 0.348. The numbers a are of the loss alone and do not enter the score.

Readings:

  R0  First weights of the encoder: fresh ones in every preset, as mmFAS trained all models from scratch;
      `--weights torchvision` begins from ImageNet's, as the authors did.
  R1  The learned directions have length 1, which makes the products cosines. In the released code the loop that
      normalises them assigns to its own variable: the directions keep their length, what leaves (-1, 1) is clamped
      before the arccosine and has no gradient there; `--direction free` does so.
  R2  The map's loss is a mean over the batch, as the image's is. The released code sums over the batch: its weight
      grows with the batch size, 64 to 1 against the image's in its own training; `--map-reduction sum`.
  R3  Score: the mean of the map's sigmoids, as DeepPixBiS's authors evaluate. The released evaluation is that of
      another network and says nothing; `--score binary` and `combined` are DeepPixBiS's others.
  R4  The margin makes bona fide samples harder, the class whose target is 1. Were attacks the ones, the same formulas
      would be `--margin-side attack`: -log(1 - sigmoid(cos(theta - m))) for an attack and no margin for a bona fide
      sample, as cosines here always grow with bona-fide-ness. `both` treats the classes alike.
  R6  Training: the preset `table` is mmFAS's, as it says of all models. `released`: Adam at a constant 1e-3 with weight
      decay 1e-5, batches of 64, 5 epochs, flips and jitter of colours (its order is drawn there and fixed here), the
      weights of the lowest validation loss kept; `described` takes the same, for want of another source. The released
      code chooses as many attacks as bona fide samples once, where each batch here is balanced.

3 300 485 parameters, in the original as here: encoder 3 198 144, convolution 385, embedding 100 864, directions
512 + 384, a 196.
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
from reference.rivals.blocks import pixel_wise, start
from reference.rivals.blocks.colour_jitter import jittered
from reference.rivals.blocks.densenet161 import STRIDE, TRUNK, WIDTH, densenet161_encoder
from reference.rivals.blocks.imagenet_input import ImageNetInput
from reference.rivals.blocks.start import FRESH, Start, StartedMethod
from reference.runs import HEADLINE
from reference.training import Training

EMBEDDING = 512  # numbers of the image branch
MARGIN = 0.5  # radians
NEAREST = 1e-7  # a cosine's least distance from -1 and 1, where the arccosine has no gradient

Output = tuple[Tensor, Tensor, Tensor]


@dataclass(frozen=True, kw_only=True)
class Options(start.Options):
    """Train and evaluate A-DeepPixBis on RGB."""

    balance: float = 0.5
    """lambda: the weight of the image's loss; the map's is 1 - lambda."""

    margin: float = MARGIN
    """m: how much further, in radians, an angle has to go to cost as little."""

    direction: Literal["unit", "free"] = reading("unit", released="free")
    """R1: learned directions have length 1, or any."""

    map_reduction: Literal["mean", "sum"] = reading("mean", released="sum")
    """R2: the map's loss is a mean over the batch, or a sum."""

    score: Literal["pixel_mean", "binary", "combined"] = reading("pixel_mean")
    """R3: mean of the map, the image's judgement, or the mean of both."""

    margin_side: Literal["bona_fide", "attack", "both"] = reading("bona_fide")
    """R4: which samples the margin makes harder."""

    rate: Literal["cosine", "constant"] = reading("constant", table="cosine")
    """R6: the learning rate rises and falls as mmFAS's, or stays."""

    jitter: float = reading(0.15, table=0.0)
    """R6: brightness, contrast and saturation of RGB change by up to this share."""

    optimiser: Literal["adamw", "adam_l2", "sgd"] = reading("adam_l2", table="adamw")
    """R6: adamw decays weights apart from the gradient, adam_l2 adds the decay to the gradient."""

    learning_rate: float = reading(1e-3, table=1e-4)
    """R6: the highest learning rate."""

    weight_decay: float = reading(1e-5, table=1e-2)
    """R6: weight decay of all parameters."""

    batch_size: int = reading(64, table=128)
    """R6: samples a step, half of them bona fide; also used to evaluate."""

    epochs: int = reading(5, table=30)
    """R6: passes over the training split."""

    augmentation: Literal["none", "flip"] = reading("flip", table="none")
    """R6: flip mirrors each training sample with probability 1/2."""

    def check(self) -> None:
        super().check()
        divisible(self.image_size, STRIDE)
        for name in ("balance", "jitter"):
            if not 0 <= getattr(self, name) <= 1:
                raise BadInput(f"--{name} {getattr(self, name)}: it is a share; give a number from 0 to 1")
        if not 0 <= self.margin <= torch.pi:
            raise BadInput(f"--margin {self.margin}: it is an angle; give radians from 0 to 3.14")


def cosines_with(x: Tensor, direction: Tensor, normalise: bool = True) -> Tensor:
    """Cosine (B, …) of each vector x (B, C, …) with one direction (C,); without `normalise` the direction keeps its
    length, which multiplies the cosines (R1)."""
    x = F.normalize(x.movedim(1, -1), dim=-1)
    if normalise:
        direction = F.normalize(direction, dim=0)
    return (x * direction).sum(-1)


def margin_cross_entropy(cosines: Tensor, bonafide: Tensor, margin: float = MARGIN, side: str = "bona_fide") -> Tensor:
    """What each cosine (B, …) costs, of the same shape: binary cross-entropy of sigmoid(cos(theta + margin)) for bona
    fide samples, of sigmoid(cos(theta)) for attacks; bonafide (B,) is 1 or 0, `side` as of R4."""
    target = bonafide.to(cosines).view(-1, *[1] * (cosines.ndim - 1)).expand_as(cosines)
    turned = {"bona_fide": target, "attack": target - 1, "both": 2 * target - 1}[side]
    theta = cosines.clamp(-1 + NEAREST, 1 - NEAREST).acos()
    return F.binary_cross_entropy_with_logits((theta + margin * turned).cos(), target, reduction="none")


def attended_loss(costs: Tensor, attention: Tensor, reduction: str = "mean") -> Tensor:
    """Costs (B, H, W) of the cells, weighted by softmax(attention (H W,)) and summed over the cells; then mean or sum
    over the batch (), as of R2."""
    of_samples = costs.flatten(1) @ attention.softmax(0)
    return {"mean": of_samples.mean(), "sum": of_samples.sum()}[reduction]


class CosineMap(nn.Module):
    """Features (B, 384, H, W) to their cosines (B, H, W) with one direction; `attention` says what each cell counts in
    the loss."""

    def __init__(self, cells: int, normalise: bool) -> None:
        super().__init__()
        self.attention = nn.Parameter(torch.ones(cells))
        self.direction = nn.Conv2d(WIDTH, 1, 1, bias=False)
        self.normalise = normalise

    def forward(self, features: Tensor) -> Tensor:
        direction = self.direction.weight.flatten()
        return cosines_with(features.to(direction), direction, self.normalise)  # never in bfloat16


class ADeepPixBis(nn.Module):
    """rgb (B, 3, S, S) to cosines of the map (B, S/16, S/16) and of the image (B,), larger for bona fide, and the
    logits (S/16 * S/16,) of what each cell of the map counts in the loss.

    The other modalities are ignored.
    """

    def __init__(self, image_size: int, normalise: bool = True, begun: Start = FRESH) -> None:
        super().__init__()
        cells = divisible(image_size, STRIDE) ** 2
        self.input = ImageNetInput()
        self.encoder = densenet161_encoder(begun)
        self.plane = nn.Conv2d(WIDTH, 1, 1)
        self.embedding = nn.Linear(cells, EMBEDDING)
        self.image = nn.Linear(EMBEDDING, 1, bias=False)
        self.map = CosineMap(cells, normalise)
        self.normalise = normalise

    def forward(self, rgb: Tensor, depth: Tensor, ir: Tensor) -> Output:
        features = self.encoder(self.input(rgb))  # (B, 384, S/16, S/16)
        embedding, direction = self.embedding(self.plane(features).flatten(1)), self.image.weight[0]
        return (
            self.map(features),
            cosines_with(embedding.to(direction), direction, self.normalise),
            self.map.attention,
        )


def loss(
    output: Output,
    label: Tensor,
    balance: float = 0.5,
    margin: float = MARGIN,
    side: str = "bona_fide",
    map_reduction: str = "mean",
) -> dict[str, Tensor]:
    """lambda * image + (1 - lambda) * map, and its parts; output as of `ADeepPixBis`, label (B,) with 1 = attack."""
    cells, image, attention = output
    of_image = margin_cross_entropy(image, 1 - label, margin, side).mean()
    of_map = attended_loss(margin_cross_entropy(cells, 1 - label, margin, side), attention, map_reduction)
    return {"loss": balance * of_image + (1 - balance) * of_map, "image": of_image, "map": of_map}


class Method(StartedMethod[Options]):
    """A-DeepPixBis: every cell of the map and the whole image are judged by an angle."""

    TRUNK = TRUNK

    def build(self) -> nn.Module:
        return ADeepPixBis(self.options.image_size, self.options.direction == "unit", self.start)

    def losses(self, output: Output, batch: Batch) -> dict[str, Tensor]:
        o = self.options
        return loss(output, batch.label, o.balance, o.margin, o.margin_side, o.map_reduction)

    def scores(self, output: Output) -> dict[str, Tensor]:
        cells, image, _ = output
        return {HEADLINE: pixel_wise.score(cells, image, self.options.score)}

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
