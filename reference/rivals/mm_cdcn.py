"""MM-CDCN, a row of MMDA Tables 1 to 3: three branches of central-difference convolutions that predict a mask of the
face.

Yu, Qin, Li, Wang, Zhao, Lei, Zhao: Multi-Modal Face Anti-Spoofing Based on Central Difference Networks. CVPRW 2020,
arXiv 2004.08388.

    python -m reference.rivals.mm_cdcn --index build/…/index.csv --run-dir build/runs/mm_cdcn

Every convolution is a central-difference convolution without bias, blocks/central_difference.py, and all but the last
are followed by batch norm and ReLU. RGB, depth and infrared each have a branch of their own: a layer of 64 channels and
three stages of 128, 196 and 128, of which each ends in a max pooling of stride 2. What the three stages give is resized
to the map's side and put side by side, 384 channels; a layer makes 128 of them. The 128 of each modality go side by
side through a layer of 128 and a last convolution to one channel, whose ReLU leaves a map p of numbers from 0 upwards.

    loss = mean over cells of (p - t)^2 + mean over cells and neighbours of (dp - dt)^2

where t, the target, is 1 for each cell of a bona fide face that is not black, and 0 elsewhere, so in all of an attack;
and where d are the differences of a cell's eight neighbours from the cell itself, of all cells that have eight.

    score = sum of p / sum of m, at most 1

where m is 1 for each cell of the sample that is not black, attack or not. Input is 256 x 256, (x - 127.5) / 128; the
network makes it of [-1, 1] itself.

Parameters with the preset `released`, our counts:

    three branches                      5 183 880   of 1 856 + 526 216 + 2 x 599 944 each
    a layer of each modality's scales   1 327 872   3 x 442 624
    layer of all modalities               442 624
    last convolution                        1 152
    on the path                         6 955 528
    state of the original               6 955 528   it holds nothing that it does not use

Readings. The paper was not read again for this file; where it is not known to say otherwise, `described` is the code.

  R1  The depth branch. In the authors' code its middle scale is RGB's: `--depth-middle rgb`. Depth's own second stage
      is used all the same, for the third is made of it. Nothing describes that; `own` is depth's own.
  R2  theta, the share of the central difference, is 0.7 in the code, the same everywhere.
  R3  The order of modalities is RGB, infrared, depth in the code and RGB, depth, infrared here. It decides which weight
      is whose, and nothing else.
  R4  The map's side. The code resizes to 32 whatever it is given, which is an eighth of its 256 pixels, and of our 224
      a little more than the third stage's 28. `--map-side 0` is what the third stage gives. Larger maps are made
      smaller by bilinear interpolation without a filter: where four rows become one, the middle two count.
  R5  The mask. The code reads RGB's file once more as grey, resizes it to the map in the same way, and takes what is
      above 0 of 255 after rounding. Neither depth nor infrared decides, in training or at test. Colours that are
      changed and areas that are erased do not change the mask; a flip does.
  R6  Score. `--score capped` is the code's. `uncapped` leaves the limit out, which makes samples equal whose maps are
      large; `mean` is the mean of the map, whatever the mask. The code's test averages eight frames of a recording and
      then caps; tables judge frames, and each is capped. Where all of RGB is black the code divides by 0, and its cap
      makes 1 of what is infinite; here, by our decision, an empty mask counts as a full one.
  R7  Rate: Adam at 1e-4, weight decay 5e-5 in the gradient, the rate halved after every 20 epochs of 50. The code's
      scheduler takes its step before an epoch instead of after it, so that the rate falls after 19 epochs and 39,
      `--rate halved_early`; by PyTorch before 1.1 it was 20 and 40.
  R8  Batches: 9 in the code, of frames that are shuffled once an epoch. Batches are even here; 8 is the nearest, and
      what the paper is recalled to name. `table` balances them by class, as everywhere here.
  R9  Changes of training images, beside flips. The code adds up to 40 of 255 to each channel of each image or takes it
      away, raises each image to a power from 0.5 to 1.5, makes one or two rectangles of half of the samples black, and
      a square of every sample: `--changes released`. The rectangles are meant to be grey, but their value, about 0.48
      of 1, is written into whole numbers up to 255, which makes it 0. `none` leaves images as the tables' loaders flip
      them.
  R10 Images have 256 pixels in the code and 224 in the tables. First weights are PyTorch's in either; nothing begins
      from trained ones.

The authors entered this network, after 33 epochs, for one of their challenge's three protocols, and weighted means of
three other networks' scores for the two others, which are not built. The mask presumes faces on black, as that
challenge's files have them; where nothing around a face is black, the mask is all of the image.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from data_manifests.errors import BadInput
from reference.batches import BLACK, Batch, Sampler, ShuffledSampler
from reference.options import Count, CountOrNone, reading
from reference.reuse import Reusable
from reference.rivals import method
from reference.rivals.blocks.central_difference import CentralDifference
from reference.rivals.blocks.flex_modal import cut_out, recoloured
from reference.rivals.blocks.precision import at_least_float32
from reference.rivals.blocks.stem import SHARED_SCALE
from reference.rivals.blocks.step_rate import stepped_rate
from reference.runs import HEADLINE
from reference.training import Training

MODALITIES = 3
SCALES = 3
STRIDE = 8  # of the third stage
MIDDLE = 196 / 64  # channels within a stage, per channel of the first layer
LEAST_SIDE = 3  # of a map in which a cell has eight neighbours
LUMINANCE = (0.299, 0.587, 0.114)  # of red, green, blue in grey
BRIGHTNESS, GAMMA = 40, 0.5  # R9: changes of colours, in grey values of 255 and of an exponent of 1
ERASED = 0.5  # R9: probability that a training sample has black rectangles
BOXES = 2  # R9: of which it has at most so many
AREA, RATIO = (0.01, 0.05), (0.5, 2.0)  # R9: of a rectangle, as a share of the image, and of its height to its width
CUTOUT = 50  # R9: the side of a sample's black square, in pixels, stays below this number

Images = tuple[Tensor, Tensor, Tensor]


@dataclass(frozen=True, kw_only=True)
class Options(method.Options):
    """Train and evaluate MM-CDCN on RGB, depth and infrared."""

    width: Count = 64
    """Channels of the first layer; all others are in proportion."""

    depth_middle: Literal["own", "rgb"] = reading("own", released="rgb")
    """R1: the middle scale of the depth branch is depth's, or RGB's as in the authors' code."""

    theta: float = reading(0.7)
    """R2: share of the central difference in every convolution; 0 makes them ordinary ones."""

    map_side: CountOrNone = reading(0, released=32)
    """R4: cells along a side of the map; 0: an eighth of the image's pixels, rounded up."""

    score: Literal["capped", "uncapped", "mean"] = reading("capped")
    """R6: the map's sum over the mask's, at most 1 or without a limit, or the map's mean."""

    rate: Literal["halved", "halved_early"] = reading("halved", released="halved_early")
    """R7: the learning rate is halved after so many epochs, or one epoch earlier, as the authors' code does."""

    halve_every: Count = reading(20)
    """R7: epochs after which the learning rate is halved, again and again."""

    optimiser: Literal["adamw", "adam_l2", "sgd"] = reading("adam_l2")
    """R7: adamw decays weights apart from the gradient, adam_l2 adds the decay to the gradient; sgd has momentum."""

    learning_rate: float = reading(1e-4)
    """R7: the learning rate at the start."""

    weight_decay: float = reading(5e-5)
    """R7: weight decay of all parameters."""

    epochs: int = reading(50)
    """R7: passes over the training split."""

    batch_size: int = reading(8)
    """R8: samples a step, half of them bona fide where they are balanced; also used to evaluate."""

    sampling: Literal["balanced", "shuffled"] = reading("shuffled", table="balanced")
    """R8: batches hold as many bona fide as attacks, or an epoch is a shuffle of all frames."""

    changes: Literal["none", "released"] = reading("released", table="none")
    """R9: training images keep their colours and all their pixels, or they change as in the authors' code."""

    augmentation: Literal["none", "flip"] = reading("flip")
    """R9: flip mirrors each training sample with probability 1/2, all its modalities alike."""

    image_size: int = reading(256, table=224)
    """R10: side of the square images, in pixels."""

    protocol: str = "official"
    """Protocol of the index whose splits train, val and test are used."""

    @property
    def side(self) -> int:
        """Of the map."""
        return self.map_side or -(-self.image_size // STRIDE)

    def check(self) -> None:
        super().check()
        if not 0 <= self.theta <= 1:
            raise BadInput(f"--theta {self.theta}: it is a share; give a number from 0 to 1")
        if self.side < LEAST_SIDE:
            enough = STRIDE * (LEAST_SIDE - 1) + 1
            given, remedy = (
                (f"--map-side {self.map_side}", f"{LEAST_SIDE}, or 0 for an eighth of the image's pixels")
                if self.map_side
                else (f"--image-size {self.image_size}", f"{enough}, or name a --map-side of {LEAST_SIDE}")
            )
            raise BadInput(f"{given}: no cell of so small a map has eight neighbours; give at least {remedy}")


def contrast_depth_loss(predicted: Tensor, target: Tensor) -> Tensor:
    """The mean squared error () of the differences of eight neighbours from their cell, of maps (B, H, W).

    Cells of the border, which lack neighbours, only are neighbours. H and W are at least 3.
    """
    error = predicted - target  # its differences are the errors of differences
    height, width = error.shape[1] - 2, error.shape[2] - 2
    cells = error[:, 1:-1, 1:-1]
    places = [(i, j) for i in range(3) for j in range(3) if (i, j) != (1, 1)]
    return torch.stack([error[:, i : i + height, j : j + width] - cells for i, j in places]).square().mean()


def face_mask(rgb: Tensor, side: int) -> Tensor:
    """1 where an image is not black and 0 where it is, (B, side, side), of rgb (B, 3, S, S) in [-1, 1] (R5).

    Grey values of 255 are rounded before they are resized and after, halves upwards, as in images of whole numbers.
    """
    pixels = (rgb + 1) * 127.5
    grey = torch.einsum("bchw,c->bhw", pixels, pixels.new_tensor(LUMINANCE)).round()
    resized = F.interpolate(grey[:, None], (side, side), mode="bilinear", align_corners=False).squeeze(1)
    return (resized >= 0.5).to(rgb)


def mask_target(mask: Tensor, label: Tensor) -> Tensor:
    """What the map (B, M, M) should be: the mask of bona fide samples, 0 for attacks; label (B,), 1 = attack."""
    return mask * (1 - label.to(mask))[:, None, None]


def map_score(predicted: Tensor, mask: Tensor, kind: str = "capped") -> Tensor:
    """The score (B,) of a map, by a mask, both (B, M, M) (R6): the map's sum over the mask's, at most 1 (`capped`) or
    without a limit (`uncapped`), or the map's `mean`. An empty mask counts as a full one."""
    if kind == "mean":
        return predicted.mean((1, 2))
    cells = mask.sum((1, 2))
    share = predicted.sum((1, 2)) / torch.where(cells > 0, cells, mask[0].numel())
    return share.clamp(max=1) if kind == "capped" else share


def erasing_boxes(count: int, side: int, probability: float, generator: torch.Generator) -> Tensor:
    """Rectangles (count, 2, 4) int64 to erase of images of this side: top, left, height and width in pixels.

    With this probability a sample has rectangles, one or two of them; what it has not is of height and width 0. Each
    covers 1 to 5 % of the image and is half to twice as high as wide, before its sides are rounded; any place within
    the image is as likely as any other. Zhong et al., arXiv 1708.04896.
    """

    def drawn(low: float, high: float, boxes: int = BOXES) -> Tensor:
        numbers = torch.empty(count, boxes, dtype=torch.float64, device=generator.device)
        return numbers.uniform_(low, high, generator=generator)

    area, ratio = side**2 * drawn(*AREA), drawn(*RATIO)
    height, width = (area * ratio).sqrt().round(), (area / ratio).sqrt().round()
    top, left = ((drawn(0, 1) * (side + 1 - extent)).floor() for extent in (height, width))
    thresholds = torch.tensor([probability, probability / 2], dtype=torch.float64, device=generator.device)
    there = drawn(0, 1, boxes=1) < thresholds  # (count, 2): a second one only beside a first
    return torch.stack([x * there for x in (top, left, height, width)], 2).long()


def erased(image: Tensor, boxes: Tensor) -> Tensor:
    """image (B, 3, S, S) in [-1, 1] with rectangles (B, N, 4) made black: top, left, height and width in pixels."""
    top, left, height, width = boxes[..., None, None].unbind(2)  # (B, N, 1, 1)
    column = torch.arange(image.shape[-1], device=image.device)
    row = column[:, None]
    inside = (top <= row) & (row < top + height) & (left <= column) & (column < left + width)
    return image.masked_fill(inside.any(1, keepdim=True), BLACK)


def layer(channels: int, out: int, theta: float) -> nn.Sequential:
    return nn.Sequential(CentralDifference(channels, out, theta), nn.BatchNorm2d(out), nn.ReLU(inplace=True))


def stage(channels: int, middle: int, out: int, theta: float) -> nn.Sequential:
    """(B, C, H, W) to (B, C', H/2, W/2), rounded up."""
    return nn.Sequential(
        layer(channels, out, theta),
        layer(out, middle, theta),
        layer(middle, out, theta),
        nn.MaxPool2d(3, stride=2, padding=1),
    )


class Branch(nn.Module):
    """An image (B, 3, S, S) to maps of 2 widths of channels at a half, a quarter and an eighth of its side."""

    def __init__(self, options: Options) -> None:
        super().__init__()
        width, wide, theta = options.width, 2 * options.width, options.theta
        middle = int(width * MIDDLE)
        self.first = layer(3, width, theta)
        self.stages = nn.ModuleList(stage(wide if i else width, middle, wide, theta) for i in range(SCALES))

    def forward(self, image: Tensor) -> list[Tensor]:
        x, scales = self.first(image), []
        for each in self.stages:
            x = each(x)
            scales.append(x)
        return scales


class MMCDCN(nn.Module):
    """rgb, depth, ir (B, 3, S, S) in [-1, 1] to the map (B, M, M), of numbers from 0 upwards."""

    def __init__(self, options: Options) -> None:
        super().__init__()
        wide, theta = 2 * options.width, options.theta
        self.side, self.borrowed = options.side, options.depth_middle == "rgb"
        self.branches = nn.ModuleList(Branch(options) for _ in range(MODALITIES))
        self.joins = nn.ModuleList(layer(SCALES * wide, wide, theta) for _ in range(MODALITIES))
        self.fuse = nn.Sequential(
            layer(MODALITIES * wide, wide, theta), CentralDifference(wide, 1, theta), nn.ReLU(inplace=True)
        )

    def forward(self, rgb: Tensor, depth: Tensor, ir: Tensor) -> Tensor:
        images = (rgb, depth, ir)
        found = [branch(SHARED_SCALE * image) for branch, image in zip(self.branches, images, strict=True)]
        if self.borrowed:
            of_rgb, of_depth, _ = found
            of_depth[1] = of_rgb[1]
        joined = [join(self.side_by_side(scales)) for join, scales in zip(self.joins, found, strict=True)]
        fused: Tensor = self.fuse(torch.cat(joined, 1))
        return fused[:, 0]

    def side_by_side(self, scales: list[Tensor]) -> Tensor:
        size = (self.side, self.side)
        return torch.cat([F.interpolate(x, size, mode="bilinear", align_corners=False) for x in scales], 1)


class Output(NamedTuple):
    """What losses and scores are computed from."""

    map: Tensor
    """(B, M, M), as predicted."""
    mask: Tensor
    """(B, M, M): where RGB is not black."""


class Method(method.Method[Options]):
    """MM-CDCN: the map of a bona fide face is its mask, that of an attack nothing."""

    network: MMCDCN

    def build(self) -> nn.Module:
        return MMCDCN(self.options)

    def reused(self) -> Sequence[Reusable]:
        return [(branch, "forward") for branch in self.network.branches]

    def sampler(self, training: Training) -> Sampler:
        if self.options.sampling == "balanced":
            return super().sampler(training)
        return ShuffledSampler(training.train.size, self.options.batch_size, self.options.seed)

    def forward(self, batch: Batch) -> Output:
        """In training the network sees changed images (R9), of which the mask knows nothing (R5)."""
        changing = self.network.training and self.options.changes == "released"
        images = self.changed(batch.images) if changing else batch.images
        return Output(self.network(*images), face_mask(batch.rgb, self.options.side))

    def changed(self, images: Images) -> Images:
        """Images (B, 3, S, S) in [-1, 1] with other colours each, and with the same areas black in all three."""
        rgb, depth, ir = (recoloured(x, BRIGHTNESS, GAMMA, self.draws) for x in images)
        boxes = erasing_boxes(len(rgb), self.options.image_size, ERASED, self.draws)
        return cut_out(erased(rgb, boxes), erased(depth, boxes), erased(ir, boxes), CUTOUT, self.draws)

    def losses(self, output: Output, batch: Batch) -> dict[str, Tensor]:
        predicted, target = at_least_float32(output.map), mask_target(output.mask, batch.label)
        mask, contrast = F.mse_loss(predicted, target), contrast_depth_loss(predicted, target)
        return {"loss": mask + contrast, "mask": mask, "contrast": contrast}

    def scores(self, output: Output) -> dict[str, Tensor]:
        return {HEADLINE: map_score(at_least_float32(output.map), output.mask, self.options.score)}

    def schedule(self, optimiser: torch.optim.Optimizer, batch: Batch, training: Training) -> None:
        done = training.epoch + (self.options.rate == "halved_early")
        for group in optimiser.param_groups:
            group["lr"] = stepped_rate(done, self.options.learning_rate, self.options.halve_every, 0.5)


if __name__ == "__main__":
    method.main(Method, Options, __doc__)
