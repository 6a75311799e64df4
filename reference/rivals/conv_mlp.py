"""Conv-MLP, a row of mmFAS Table 1 that sees all three modalities.

Wang, Wen, Zheng, Ying, Liu: Conv-MLP: A Convolution and MLP Mixed Model for Multi-Modal Face Anti-Spoofing.
TIFS 17 (2022) 2284-2297, doi 10.1109/TIFS.2022.3183398.

    python -m reference.rivals.conv_mlp --index build/…/index.csv --run-dir build/runs/conv_mlp

Convolutions look within patches of the face, and a mixing across patches joins them. The images, resized to
112 x 112, become five planes (depth, infrared, blue, green, red, from 0 to 1), of which nine overlapping patches of
48 x 48 are cut on a grid of 3 x 3. A stem shared by all patches (5 x 5 convolution with stride 2, batch norm, two
basic blocks of ResNet) makes 64 maps of 24 x 24 of each. Then four mixings take turns with three stages of three basic
blocks, each of which halves the maps and doubles their number:

    mixing(x) = max(0, batch norm(W2 (W1 layer norm(x) + b1) + b2)),

where W1 and W2 (9 x 9) act across the patches, at each pixel of each map alike; the layer norm is over the pixels of
one map. Nothing stands between the two products, and nothing goes past a mixing. The mean over patches and pixels
(512 values) is classified by two linear layers, after dropout with probability 1/2.

    loss = CE + (m_bonafide + m_attack) / 2,   m_c = mean over the samples of class c of max(0, 1 - z_c),

with the cross-entropy CE and the logit z_c of the sample's own class. The second part is the moat between the classes;
a class without samples adds nothing to it (in the authors' code it makes the loss NaN).

17 440 084 parameters. The authors' module holds 28 652 968, because three of its parts are never used:

    a ResNet-18 of two classes                                                             11 177 538
    a norm after the last mixing: layer norm of 3 x 3 pixels, batch norm of 512 maps            1 042
    a shortcut from the stem's output: 1 x 1 convolution of 64 to 512 maps, batch norm         34 304

Readings. The paper's text was not at hand: `described` is what the released code shows of its intention, without what
that code does by an evident slip.

  R1  Input: whatever size the images have, the network resizes them (bilinear, half-pixel centres, no smoothing), as
      the authors do on loading. The score is the difference of the two logits, of which the authors take the softmax.
  R2  The grid: patches begin at 0, 32 and 64, so that the last ends with the image. `short` (released) begins the last
      at 63, by a comparison that is off by one.
  R3  The moat: a loss has a gradient. `value` (released) computes it from numbers cut off from the network, so that it
      is added to the loss that is reported and changes no weight.
  R4  The released code blackens one sample in a thousand, in all modalities, and calls it an attack. Nothing else
      speaks of it: 0 in the other presets.
  R5  Moves: mirrored left to right and up to down, each with probability 1/2, and turned by up to 30 degrees, black
      coming in from outside. The released code draws anew for each modality (`apart`), which tears their pixels from
      one another; `together` moves a sample's modalities alike. Mirrors and turn are drawn in any order there; as the
      angle's law is symmetric, one order has the same law. None in `table`, as mmFAS names no augmentation.
  R6  Coarsening: with probability 1/2 a modality of a sample is shrunk to between 0.2 and 1 of each side, drawn apart
      for height and width, and enlarged again. None in `table`, for the same reason.
  R7  Batches: the authors shuffle (and drop the last, smaller batch, which is kept here); mmFAS balances classes.
  R8  Training: `table` is mmFAS's. The authors': SGD at 1e-3 with momentum 0.9 and weight decay 5e-3, two cycles of 50
      epochs in each of which the rate falls along half a cosine to 1e-5, batches of 128. Here it falls from step to
      step; in their code from epoch to epoch, and the first epoch of a cycle already has the second step of the
      cosine. Weights start afresh, as the authors' do.
"""

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Annotated, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from data_manifests.errors import BadInput
from reference.batches import Batch, Sampler, ShuffledSampler
from reference.options import MOST, Count, Within, option, reading
from reference.rivals import method
from reference.rivals.blocks.patches import resized, turned
from reference.rivals.blocks.precision import at_least_float32
from reference.rivals.blocks.restarts import restarted_rate
from reference.rivals.blocks.two_logits import cross_entropy, logit_difference
from reference.runs import HEADLINE
from reference.training import Training

PLANES, PATCHES = 5, 9
STEM_BLOCKS, STAGE_BLOCKS, STAGES = 2, 3, 3  # basic blocks of the stem and of each stage, and the stages
SMALLEST = 2**STAGES * 2 + 1  # pixels along a patch: of fewer a single one is left, and layer norm erases it
DROPOUT = 0.5
MOAT_WEIGHT = 0.5
COARSEST = 0.2  # of a side, of R6
CYCLES, LOWEST_RATE = 2, 1e-5  # of R8


@dataclass(frozen=True, kw_only=True)
class Options(method.Options):
    """Train and evaluate Conv-MLP on RGB, depth and infrared."""

    side: int = 112
    """Side in pixels to which the images are resized before patches are cut."""

    patch: Annotated[int, Within(SMALLEST, MOST)] = 48
    """Side of a patch in pixels."""

    width: Count = 64
    """Maps that the stem makes; each of the three stages has twice as many as the one before."""

    grid: Literal["whole", "short"] = reading("whole", released="short")
    """R2: whole lets the last patches end with the image, short one pixel before its end."""

    moat: Literal["gradient", "value"] = reading("gradient", released="value")
    """R3: whether the moat's part of the loss trains the network, or is only added to the reported loss."""

    blackout: float = reading(0.0, released=0.001)
    """R4: probability with which a training sample becomes black, and an attack."""

    moves: Literal["none", "together", "apart"] = reading("together", table="none", released="apart")
    """R5: mirrors and turns of training samples: of all modalities together, of each apart, or none."""

    coarsening: float = reading(0.5, table=0.0)
    """R6: probability with which a modality of a training sample is shrunk and enlarged again."""

    order: Literal["balanced", "shuffled"] = reading("shuffled", table="balanced")
    """R7: batches half of bona fide samples, or of all samples as a shuffle puts them."""

    rate: Literal["cosine", "restarts"] = reading("restarts", table="cosine")
    """R8: the learning rate rises and falls as mmFAS's, or falls twice from its highest."""

    learning_rate: float = reading(1e-3, table=1e-4)
    """R8: highest learning rate."""

    optimiser: Literal["adamw", "adam_l2", "sgd"] = reading("sgd", table="adamw")
    """R8: sgd has momentum 0.9; adamw decays weights apart from the gradient, adam_l2 adds the decay to it."""

    weight_decay: float = reading(5e-3, table=1e-2)
    """R8: weight decay of all parameters."""

    epochs: int = reading(100, table=30)
    """R8: passes over the training split."""

    def check(self) -> None:
        super().check()
        if self.patch + (self.grid == "short") > self.side:
            raise BadInput(
                f"--patch {self.patch}: the images of --side {self.side} are too small for --grid {self.grid}; "
                "give a smaller patch or a larger side"
            )
        for name in ("blackout", "coarsening"):
            if not 0 <= getattr(self, name) <= 1:
                raise BadInput(f"{option(name)} {getattr(self, name)}: it is a probability; give a number from 0 to 1")


def crop_starts(side: int, patch: int, short: bool = False) -> list[int]:
    """Where the three patches along a side begin, in pixels: one in the middle, and one on either side of it, next to
    it where there is room and else at the image's edge; `short` keeps one pixel from its end (R2)."""
    middle = (side - patch) // 2
    return [max(middle - patch, 0), middle, min(middle + patch, side - patch - short)]


def patches_of(images: Tensor, patch: int, short: bool = False) -> Tensor:
    """The nine patches (B, 9, C, p, p) of square images (B, C, S, S), row by row of the grid."""
    starts = crop_starts(images.shape[-1], patch, short)
    return torch.stack([images[..., y : y + patch, x : x + patch] for y in starts for x in starts], dim=1)


def patch_mixing(
    x: Tensor, scale: Tensor, shift: Tensor, w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor, norm: nn.Module
) -> Tensor:
    """Mix patches at each pixel of each map; see the head of this file.

    x (N, P, H, W) are N maps of each of P patches, scale and shift (H, W) the layer norm's, w1 and w2 (P, P) have a row
    for each patch that comes out, b1 and b2 (P,); `norm` is the batch norm of the patches, of tensors like x. Gives
    (N, P, H, W).
    """
    x = F.layer_norm(x, scale.shape, scale, shift)
    x = F.conv2d(F.conv2d(x, w1[:, :, None, None], b1), w2[:, :, None, None], b2)
    return F.relu(norm(x))


def moat_term(logits: Tensor, label: Tensor) -> Tensor:
    """m_bonafide + m_attack () of logits (B, 2), bona fide and attack; label (B,), 1 = attack."""
    own = label.long()[:, None]  # (B, 1)
    short = (1 - logits.gather(1, own)).clamp_min(0)  # (B, 1)
    member = torch.zeros_like(logits).scatter(1, own, 1.0)  # (B, 2)
    return ((short * member).sum(0) / member.sum(0).clamp_min(1)).sum()


class Mixing(nn.Module):
    """`patch_mixing` of maps (B, P, C, H, W) with weights of its own."""

    def __init__(self, side: int) -> None:
        super().__init__()
        self.layer_norm = nn.LayerNorm([side, side])
        self.first, self.second = nn.Linear(PATCHES, PATCHES), nn.Linear(PATCHES, PATCHES)
        self.norm = nn.BatchNorm2d(PATCHES)

    def forward(self, x: Tensor) -> Tensor:
        maps = x.transpose(1, 2)  # (B, C, P, H, W)
        mixed = patch_mixing(
            maps.flatten(0, 1),
            self.layer_norm.weight,
            self.layer_norm.bias,
            self.first.weight,
            self.first.bias,
            self.second.weight,
            self.second.bias,
            self.norm,
        )
        return mixed.view(maps.shape).transpose(1, 2)


class ConvMLP(nn.Module):
    """rgb, depth and ir (B, 3, S, S) in [-1, 1] to logits (B, 2): bona fide, attack."""

    def __init__(self, side: int = 112, patch: int = 48, width: int = 64, short: bool = False) -> None:
        super().__init__()
        self.side, self.patch, self.short = side, patch, short
        pixels = [-(-patch // 2 ** (stage + 1)) for stage in range(STAGES + 1)]  # of a map's side before each mixing
        self.stem = nn.Sequential(
            nn.Conv2d(PLANES, width, 5, stride=2, padding=2, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            basic_blocks(width, width, STEM_BLOCKS),
        )
        widths = [width * 2**stage for stage in range(STAGES + 1)]
        self.stages = nn.ModuleList(basic_blocks(before, after, STAGE_BLOCKS) for before, after in pairwise(widths))
        self.mixings = nn.ModuleList(Mixing(p) for p in pixels)
        self.classifier = nn.Sequential(
            nn.Dropout(DROPOUT), nn.Linear(widths[-1], 2 * width), nn.ReLU(), nn.Linear(2 * width, 2)
        )

    def forward(self, rgb: Tensor, depth: Tensor, ir: Tensor) -> Tensor:
        planes = torch.cat([depth[:, :1], ir[:, :1], rgb.flip(1)], 1)
        patches = patches_of((resized(planes, self.side) + 1) / 2, self.patch, self.short)  # (B, P, 5, p, p)
        x = self.mixings[0](of_each(self.stem, patches))
        for stage, mixing in zip(self.stages, self.mixings[1:], strict=True):
            x = mixing(of_each(stage, x))
        logits = self.classifier(x.mean(1).mean((2, 3)))
        return logits.flip(1)  # the authors' classes are attack, bona fide


def basic_blocks(before: int, after: int, count: int) -> nn.Sequential:
    """`count` basic blocks of ResNet from `before` to `after` maps, which halve the sides where these differ."""
    from torchvision.models.resnet import BasicBlock  # takes seconds that a finished run need not spend

    if before == after:
        return nn.Sequential(*[BasicBlock(after, after) for _ in range(count)])
    shortcut = nn.Sequential(nn.Conv2d(before, after, 1, stride=2, bias=False), nn.BatchNorm2d(after))
    first = BasicBlock(before, after, 2, shortcut)
    return nn.Sequential(first, *[BasicBlock(after, after) for _ in range(count - 1)])


def of_each(network: nn.Module, patches: Tensor) -> Tensor:
    """`network` of every patch (B, P, C, H, W), with the same weights."""
    out: Tensor = network(patches.flatten(0, 1))
    return out.unflatten(0, patches.shape[:2])


def loss(logits: Tensor, label: Tensor, moat: str = "gradient") -> dict[str, Tensor]:
    """Cross-entropy with half the moat, and its parts; logits (B, 2) of bona fide and attack, label (B,), `moat` R3."""
    logits = at_least_float32(logits)
    entropy = cross_entropy(logits, label)
    between = moat_term(logits if moat == "gradient" else logits.detach(), label)
    return {"loss": entropy + MOAT_WEIGHT * between, "entropy": entropy, "moat": between}


def coarsened(images: Tensor, lots: Tensor, probability: float) -> Tensor:
    """Images (B, C, S, S), each coarser (R6) when the first of its three lots (B, 3) in [0, 1) is below `probability`;
    the others say how much, in height and in width."""
    side, out = images.shape[-1], []
    for image, (whether, *shares) in zip(images[:, None], lots.tolist(), strict=True):
        if whether < probability:
            sides = [int(side * (COARSEST + (1 - COARSEST) * share)) for share in shares]
            image = resized(F.interpolate(image, sides, mode="bilinear", align_corners=False), side)
        out.append(image)
    return torch.cat(out)


class Method(method.Method[Options]):
    """Conv-MLP: convolutions within patches, products across them."""

    def build(self) -> nn.Module:
        options = self.options
        return ConvMLP(options.side, options.patch, options.width, options.grid == "short")

    def losses(self, output: Tensor, batch: Batch) -> dict[str, Tensor]:
        return loss(output, batch.label, self.options.moat)

    def scores(self, output: Tensor) -> dict[str, Tensor]:
        return {HEADLINE: logit_difference(output)}

    def sampler(self, training: Training) -> Sampler:
        if self.options.order == "balanced":
            return super().sampler(training)
        return ShuffledSampler(len(training.train), self.options.batch_size, self.options.seed)

    def views(self, batch: Batch, training: Training) -> Batch:
        """Changed at the size at which patches are cut, as the authors do."""
        return self.changed(super().views(batch, training))

    def changed(self, batch: Batch) -> Batch:
        """The batch as R4 to R6 change it, with images of `side` pixels; as it is when they change nothing."""
        options, n = self.options, len(batch)
        if options.moves == "none" and not options.coarsening and not options.blackout:
            return batch
        images = [resized(x, options.side) for x in batch.images]
        if options.moves != "none":
            lots = self.lots(1 if options.moves == "together" else 3, n, 3).expand(3, -1, -1)
            images = [turned(x, of_modality) for x, of_modality in zip(images, lots, strict=True)]
        if options.coarsening:
            lots = self.lots(3, n, 3)
            images = [
                coarsened(x, of_modality, options.coarsening) for x, of_modality in zip(images, lots, strict=True)
            ]
        black = self.lots(n) < options.blackout
        rgb, depth, ir = (x.masked_fill(black[:, None, None, None], -1) for x in images)
        return replace(batch, rgb=rgb, depth=depth, ir=ir, label=batch.label.masked_fill(black, 1))

    def lots(self, *shape: int) -> Tensor:
        """Numbers from 0 to 1 from the method's generator."""
        return torch.rand(shape, generator=self.draws, device=self.draws.device)

    def schedule(self, optimiser: torch.optim.Optimizer, batch: Batch, training: Training) -> None:
        if self.options.rate == "cosine":
            super().schedule(optimiser, batch, training)
            return
        for group in optimiser.param_groups:
            group["lr"] = restarted_rate(batch.progress, CYCLES, self.options.learning_rate, LOWEST_RATE)


if __name__ == "__main__":
    method.main(Method, Options, __doc__)
