"""FeatherNet A and B, a row of mmFAS Table 1 that looks at depth and infrared.

Zhang, Zou, Wu, Dai, Skarpness, Fu, Zhao, Li: FeatherNets: Convolutional Neural Networks as Light as Feather for Face
Anti-spoofing. CVPRW 2019, arXiv 1904.09290.

    python -m reference.rivals.feathernet --index build/…/index.csv --run-dir build/runs/feathernet

A network for one modality: a strided convolution to 32 channels, then MobileNetV2's inverted residuals in stages of 1,
2, 6 and 3 with 16, 32, 48 and 64 channels, each stage halving the map and ending in squeeze-and-excitation (r = 8).
B's halving blocks add a shortcut of average pooling, batch normalisation and a 1 x 1 convolution; A's have none. The
*streaming module* takes the place of global pooling: a strided depthwise convolution, 7 x 7 to 4 x 4 cells at
224 x 224, whose 64 x 16 = 1024 values are the feature. Class 1 is bona fide, as in the authors' lists:

    focal = mean over the batch of -(1 - p)^gamma log p,   p = softmax(logits)[class],  gamma = 3
    loss  = focal(depth) + focal(infrared),                score = softmax(logits)[1] of both networks, fused

The networks share nothing, so that the sum trains each as if it were alone. The authors feed one modality as three
equal channels, 224 x 224, train on CASIA-SURF and on data of their own, and start from fresh weights.

Parameters, all of them on the path: B 351 220, A 345 332 (the 5 888 of B's four shortcuts less), as many as the
released modules hold; the paper prints 0.35 M for both. rows.toml counts the preset `released`: one published network,
on depth. `table` has two networks, each with a linear layer of 2 050 at 224 x 224: 706 540.

Readings:

  R1  The variant: B, the better one of the paper (ACER 0.00168 against 0.00261 on its validation set).
  R2  What the softmax is over. `linear` maps the feature to two logits, since there are two classes. The released code
      has no such layer (`none`): the 1024 values themselves are logits of a 1024-way softmax, of which classes 0 and 1
      alone occur. Both are cells of one channel, neighbours in the map's upper left corner, and the other 1022 values
      learn nothing but to be small. The paper's 0.35 M fit both.
  R3  How depth and infrared make one score; mmFAS names both modalities and no rule. `mean`, the default, prefers
      neither. `cascade` is the paper's, recalled of it and not read again: depth judges where it is certain; elsewhere
      infrared, and where infrared sees a bona fide face, the mean of both. The authors' depth is an ensemble of many
      networks, ours is one. `ensemble` is the released rule over ten networks: the greatest score where their mean is
      above a threshold, else the least. `depth`, the released training, has one network.
  R4  The threshold of `ensemble`: 1/2, the boundary between the classes. The released code takes whichever of 0, 0.01,
      … 0.99 makes fewest errors on the labels of the test set, which nobody has before a test.
  R5  How near to 0 or 1 depth is certain in `cascade`: no source gives a number. At 0.1 nine in ten must speak for it.
  R6  Normalisation: mmFAS names none, so that `table` takes pixels in [-1, 1] as they come. The authors subtract mean
      0.143 and divide by 0.1005, found on CASIA-SURF's depth, and use both for infrared too.
  R7  What is seen at test: the whole image, or (`centre`, the released code) its inner seven eighths, enlarged to the
      same size. mmFAS names no crop.
  R8  Training: `table` is mmFAS's. The authors take SGD at 0.01 with weight decay 1e-4, a tenth of the rate after every
      60 epochs, batches of 32 as a shuffle puts them, 200 epochs by default of their program. The paper was not read
      again for its own numbers: `described` has the same.
  R9  Augmentation of the authors: flips; crops of 8 to 100 per cent of the area with sides of 3:4 to 4:3, enlarged;
      a shift of all pixels along the directions of colour of ImageNet (`lighting`, 0.1). The released product uses
      rows of the matrix of directions where columns are directions, and tints a grey picture (`rows`); `described`
      has the shift that was meant (`principal`).

In every preset: the focal loss comes from logits, the same function without its overflow; initial weights are the
authors' (normal, of variance 2 / (k k C) for C outputs of a k x k kernel, of deviation 0.01 for linear layers); a
shortcut pools what an odd map has left at its edge, which changes nothing at multiples of 32 and lets B take 48 x 48.
"""

import math
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from data_manifests.errors import BadInput
from reference.batches import Batch, Sampler, ShuffledSampler
from reference.options import Count, option, reading
from reference.rivals import method
from reference.rivals.blocks.precision import at_least_float32
from reference.rivals.blocks.squeeze_excitation import SqueezeExcitation
from reference.rivals.blocks.step_rate import stepped_rate
from reference.runs import HEADLINE
from reference.training import Training

STEM = 32  # channels of the first convolution
STAGES = [[1, 16, 1], [6, 32, 2], [6, 48, 6], [6, 64, 3]]  # expansion, channels and blocks of each; each halves the map
REDUCTION = 8  # of squeeze-and-excitation
DEPTH_MEAN, DEPTH_SD = (0.14300402, 0.1434545, 0.14277956), (0.10050353, 0.100842826, 0.10034215)
COLOUR_SD = (0.2175, 0.0188, 0.0045)  # of ImageNet's pixels along each row below
COLOURS = ((-0.5675, -0.5808, -0.5836), (0.7192, -0.0045, -0.6948), (0.4009, -0.8140, 0.4203))

Output = dict[str, Tensor]


@dataclass(frozen=True, kw_only=True)
class Options(method.Options):
    """Train and evaluate FeatherNet on depth and infrared."""

    gamma: float = 3.0
    """Exponent of the focal loss; 0 is cross-entropy."""

    variant: Literal["A", "B"] = reading("B")
    """R1: B has shortcuts around the blocks that halve the map, A has none."""

    classifier: Literal["linear", "none"] = reading("linear", released="none")
    """R2: two logits of a linear layer, or every value of the feature as a logit."""

    fusion: Literal["mean", "cascade", "ensemble", "depth"] = reading("mean", described="cascade", released="depth")
    """R3: how the scores of depth and infrared make one, or depth alone."""

    threshold: float = reading(0.5)
    """R4: mean score above which `ensemble` takes the greatest score."""

    certain: float = reading(0.1)
    """R5: distance from 0 or 1 within which depth alone judges in `cascade`."""

    normalisation: Literal["none", "depth"] = reading("depth", table="none")
    """R6: pixels in [-1, 1], or by the mean and deviation of CASIA-SURF's depth."""

    test_view: Literal["whole", "centre"] = reading("whole", released="centre")
    """R7: the whole image at test, or its inner seven eighths, enlarged."""

    rate: Literal["cosine", "steps"] = reading("steps", table="cosine")
    """R8: the learning rate rises and falls as mmFAS's, or falls to a tenth after every --decay-every epochs."""

    decay_every: Count = 60
    """Epochs from one fall of the learning rate to the next, where it falls in steps."""

    sampling: Literal["balanced", "shuffled"] = reading("shuffled", table="balanced")
    """R8: batches of both classes alike, or as a shuffle puts the frames."""

    optimiser: Literal["adamw", "adam_l2", "sgd"] = reading("sgd", table="adamw")
    """R8: adamw decays weights apart from the gradient, adam_l2 adds the decay to the gradient; sgd has momentum."""

    learning_rate: float = reading(1e-2, table=1e-4)
    """R8: highest learning rate."""

    weight_decay: float = reading(1e-4, table=1e-2)
    """R8: weight decay of all parameters."""

    batch_size: int = reading(32, table=128)
    """R8: samples a step; also used to evaluate."""

    epochs: int = reading(200, table=30)
    """R8: passes over the training split."""

    augmentation: Literal["none", "flip"] = reading("flip", table="none")
    """R9: flip mirrors each training sample with probability 1/2."""

    crop: Literal["whole", "random"] = reading("random", table="whole")
    """R9: training sees whole images, or a part of each, enlarged."""

    lighting: Literal["none", "principal", "rows"] = reading("principal", table="none", released="rows")
    """R9: no shift of colours, along ImageNet's principal directions, or along the rows of the released product."""

    @property
    def sees(self) -> str:
        return "D" if self.fusion == "depth" else "DI"

    def check(self) -> None:
        super().check()
        least = 2 ** (1 + len(STAGES)) + 1
        if self.image_size < least:
            raise BadInput(
                f"--image-size {self.image_size}: its last map would be a single cell; give at least {least}"
            )
        for name, most in {"threshold": 1, "certain": 0.5}.items():
            if not 0 <= getattr(self, name) <= most:
                raise BadInput(f"{option(name)} {getattr(self, name)}: scores lie in [0, 1]; give 0 to {most}")
        if not (self.gamma == 0 or 1 <= self.gamma < math.inf):
            raise BadInput(f"--gamma {self.gamma}: certain samples have no finite gradient; give 0, or 1 and more")


def convolution(before: int, after: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    """A convolution without bias that keeps the map but for its stride, and batch normalisation."""
    conv = nn.Conv2d(before, after, kernel, stride, kernel // 2, groups=groups, bias=False)
    return [conv, nn.BatchNorm2d(after)]


class InvertedResidual(nn.Module):
    """shortcut(x) + body(x), or body(x) alone; the body widens, convolves each channel and narrows again."""

    def __init__(self, before: int, after: int, expansion: int, stride: int, shortcut: nn.Module | None) -> None:
        super().__init__()
        inner = expansion * before
        widening = [*convolution(before, inner), nn.ReLU6()] if expansion > 1 else []
        depthwise = [*convolution(inner, inner, 3, stride, groups=inner), nn.ReLU6()]
        self.shortcut = shortcut
        self.body = nn.Sequential(*widening, *depthwise, *convolution(inner, after))

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x) if self.shortcut is None else self.shortcut(x) + self.body(x)


def halving_shortcut(before: int, after: int) -> nn.Module:
    """Variant B's way around a block that halves the map."""
    pool = nn.AvgPool2d(2, ceil_mode=True)
    return nn.Sequential(pool, nn.BatchNorm2d(before), nn.Conv2d(before, after, 1, bias=False))


def streaming_module(x: Tensor, weight: Tensor) -> Tensor:
    """Streaming module: each channel of x (B, C, H, W) by its own kernel of weight (C, 1, 3, 3) at every second place,
    zeros around the map; the values in one row (B, C * ceil(H/2) * ceil(W/2)), channel by channel."""
    return F.conv2d(x, weight, stride=2, padding=1, groups=len(weight)).flatten(1)


class FeatherNet(nn.Module):
    """One modality (B, 3, S, S) to logits (B, 2), or without a classifier to as many as the feature has values."""

    def __init__(self, image_size: int, variant: str = "B", classifier: str = "none") -> None:
        super().__init__()
        layers: list[nn.Module] = [*convolution(3, STEM, 3, 2), nn.ReLU6()]
        widths = [STEM, *(channels for _, channels, _ in STAGES)]
        for (before, after), (expansion, _, blocks) in zip(pairwise(widths), STAGES, strict=True):
            shortcut = halving_shortcut(before, after) if variant == "B" else None
            layers.append(InvertedResidual(before, after, expansion, 2, shortcut))
            layers += [InvertedResidual(after, after, expansion, 1, nn.Identity()) for _ in range(blocks - 1)]
            layers.append(SqueezeExcitation(after, REDUCTION))
        self.trunk, width = nn.Sequential(*layers), widths[-1]
        self.kernels = nn.Conv2d(width, width, 3, groups=width, bias=False)  # of the streaming module
        side = math.ceil(image_size / 2 ** (2 + len(STAGES)))
        self.classifier = nn.Linear(width * side * side, 2) if classifier == "linear" else nn.Identity()
        self.apply(initialise)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(streaming_module(self.trunk(x), self.kernels.weight))


def initialise(module: nn.Module) -> None:
    """The authors' initial weights; batch normalisation begins at 1 and 0 by itself."""
    if isinstance(module, nn.Conv2d):
        nn.init.normal_(module.weight, 0, math.sqrt(2 / (module.weight[0, 0].numel() * module.out_channels)))
    elif isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, 0, 0.01)
        nn.init.zeros_(module.bias)


class FeatherNets(nn.Module):
    """depth and ir (B, 3, S, S) to the logits of a network for each, by name; rgb is ignored."""

    mean: Tensor
    sd: Tensor

    def __init__(self, options: Options) -> None:
        super().__init__()
        names = ["depth"] if options.fusion == "depth" else ["depth", "infrared"]
        shape = options.image_size, options.variant, options.classifier
        self.nets = nn.ModuleDict({name: FeatherNet(*shape) for name in names})
        mean, sd = (DEPTH_MEAN, DEPTH_SD) if options.normalisation == "depth" else ([0.5] * 3, [0.5] * 3)
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("sd", torch.tensor(sd).view(1, 3, 1, 1), persistent=False)

    def forward(self, rgb: Tensor, depth: Tensor, ir: Tensor) -> Output:
        images = {"depth": depth, "infrared": ir}
        return {name: net(((images[name] + 1) / 2 - self.mean) / self.sd) for name, net in self.nets.items()}  # R6


def focal_loss(logits: Tensor, classes: Tensor, gamma: float) -> Tensor:
    """Focal loss () of logits (B, C) and classes (B,) int64: the mean of -(1 - p)^gamma log p, p the class's softmax.

    gamma 0 is cross-entropy. Lin et al., arXiv 1708.02002, Eq. 4.
    """
    surprise = F.cross_entropy(logits, classes, reduction="none")  # -log p
    return ((1 - torch.exp(-surprise)) ** gamma * surprise).mean()


def ensembled_score(scores: Tensor, threshold: float) -> Tensor:
    """Of scores (B, N) of N networks the greatest where their mean is above the threshold, else the least: (B,)."""
    return torch.where(scores.mean(1) > threshold, scores.amax(1), scores.amin(1))


def cascaded_score(depth: Tensor, ir: Tensor, certain: float) -> Tensor:
    """Depth's score (B,) in [0, 1] within `certain` of 0 or 1; elsewhere infrared's where it is below 1/2, and the mean
    of both where it is not."""
    second = torch.where(ir < 0.5, ir, (depth + ir) / 2)
    return torch.where((depth <= certain) | (depth >= 1 - certain), depth, second)


def fused_score(output: Output, options: Options) -> Tensor:
    """Score (B,) in [0, 1] of the networks' logits: the probability of class 1, fused (R3)."""
    scores = torch.stack([at_least_float32(logits).softmax(1)[:, 1] for logits in output.values()], 1)  # (B, networks)
    if options.fusion == "cascade":
        return cascaded_score(scores[:, 0], scores[:, 1], options.certain)
    if options.fusion == "ensemble":
        return ensembled_score(scores, options.threshold)
    return scores.mean(1)


def random_boxes(count: int, size: int, draws: torch.Generator) -> list[tuple[int, int, int, int]]:
    """Top, left, height and width of a random part of each of `count` images of `size` pixels.

    Area uniform from 8 to 100 per cent, the sides' quotient log-uniform from 3/4 to 4/3; the first of ten draws that
    fits, or else the whole image.
    """
    lots = torch.rand(count, 10, 2, generator=draws, device=draws.device, dtype=torch.float64).cpu()
    area, quotient = size**2 * (0.08 + 0.92 * lots[..., 0]), (4 / 3) ** (2 * lots[..., 1] - 1)
    sides = torch.stack([area / quotient, area * quotient], -1).sqrt().round().long()  # (count, 10, 2)
    sides = torch.cat([sides, torch.full((count, 1, 2), size)], 1)
    first = (sides.amax(-1) <= size).int().argmax(1)
    sides = sides[torch.arange(count), first]  # (count, 2)
    places = torch.rand(count, 2, generator=draws, device=draws.device, dtype=torch.float64).cpu()
    corners = (places * (size + 1 - sides)).long()
    return [tuple(box) for box in torch.cat([corners, sides], 1).tolist()]


def cropped(images: Tensor, boxes: list[tuple[int, int, int, int]]) -> Tensor:
    """Each image's box, enlarged to the whole image: (B, C, S, S) to the same shape."""
    size = images.shape[-2:]
    parts = [x[None, :, y : y + height, z : z + width] for x, (y, z, height, width) in zip(images, boxes, strict=True)]
    return torch.cat([F.interpolate(part, size=size, mode="bilinear", align_corners=False) for part in parts])


def central(images: Tensor) -> Tensor:
    """The inner seven eighths of images (B, C, S, S), enlarged to S (R7)."""
    size = images.shape[-1]
    enlarged = round(size * 8 / 7)
    first = (enlarged - size) // 2
    images = F.interpolate(images, size=(enlarged, enlarged), mode="bilinear", align_corners=False)
    return images[..., first : first + size, first : first + size]


def colour_shifts(count: int, along: str, draws: torch.Generator) -> Tensor:
    """Shifts (count, 3, 1, 1) of pixels in [-1, 1] along ImageNet's principal directions of colour, or along the rows
    of the released product (R9)."""
    directions = torch.tensor(COLOURS, device=draws.device)
    if along == "rows":
        directions = directions.T.flip(1)
    lots = 0.1 * torch.randn(count, 3, generator=draws, device=draws.device)
    shifts = (lots * torch.tensor(COLOUR_SD, device=draws.device)) @ directions
    return 2 * shifts[:, :, None, None]


class Method(method.Method[Options]):
    """A network for depth and one for infrared, each under the focal loss."""

    def build(self) -> nn.Module:
        return FeatherNets(self.options)

    def losses(self, output: Output, batch: Batch) -> dict[str, Tensor]:
        parts = {
            name: focal_loss(at_least_float32(x), batch.bonafide, self.options.gamma) for name, x in output.items()
        }
        return {"loss": torch.stack([*parts.values()]).sum(), **parts}

    def scores(self, output: Output) -> dict[str, Tensor]:
        return {HEADLINE: fused_score(output, self.options)}

    def predict(self, batch: Batch) -> dict[str, Tensor]:
        if self.options.test_view == "centre":
            batch = replace(batch, depth=central(batch.depth), ir=central(batch.ir))
        return super().predict(batch)

    def sampler(self, training: Training) -> Sampler:
        if self.options.sampling == "balanced":
            return super().sampler(training)
        return ShuffledSampler(len(training.train), self.options.batch_size, self.options.seed)

    def views(self, batch: Batch, training: Training) -> Batch:
        batch = super().views(batch, training)
        depth, ir = batch.depth, batch.ir
        if self.options.crop == "random":
            boxes = random_boxes(len(batch), self.options.image_size, self.draws)
            depth, ir = cropped(depth, boxes), cropped(ir, boxes)
        if self.options.lighting != "none":
            shifts = colour_shifts(len(batch), self.options.lighting, self.draws)
            depth, ir = depth + shifts, ir + shifts
        return replace(batch, depth=depth, ir=ir)

    def schedule(self, optimiser: torch.optim.Optimizer, batch: Batch, training: Training) -> None:
        if self.options.rate == "cosine":
            super().schedule(optimiser, batch, training)
            return
        rate = stepped_rate(training.epoch, self.options.learning_rate, self.options.decay_every, 0.1)
        for group in optimiser.param_groups:
            group["lr"] = rate


if __name__ == "__main__":
    method.main(Method, Options, __doc__)
