"""FlexModal-FAS, a row of mmFAS Table 1 that sees all three modalities.

Yu, Liu, Zhao, Cheng, Cheng, Zhao: Flexible-Modal Face Anti-Spoofing: A Benchmark. CVPRW 2023, arXiv 2202.08192.

    python -m reference.rivals.flexmodal --index build/…/index.csv --run-dir build/runs/flexmodal

One ViT-B/16, shared by the modalities, makes a map H of 768 channels at 14 x 14 positions (at 224 x 224) of each image:
its patch tokens, without the class token. Depth and infrared then ask the channels of RGB, without projections:

    H'_m = softmax(H_m H_RGB^T) H_RGB        for m = depth, infrared; the softmax runs over the channels of RGB

What the three maps become together (R1) goes through channel dropout (0.3), a 3 x 3 convolution, batch norm and
ReLU, is averaged over positions, and after dropout (0.3) a linear layer gives two logits.

    loss = cross-entropy of the two classes

The point of the paper is one network for whatever modalities a deployment has: in training depth and infrared are each
replaced by black with probability 1/2, at test what is missing is black. The original input is 224 x 224, RGB,
(x - 127.5) / 128; the network makes it of [-1, 1] itself.

Parameters at 224 x 224 with the preset `released`, our counts:

    trunk                   85 797 120   class token 768, positions 151 296, patch embedding 590 592, 12 x 7 087 872
    linear layer                 1 538
    convolution, batch norm  5 310 720
    on the path             91 109 378
    the trunk's final norm       1 536   held by the original, never applied (R3)
    state of the original   91 110 914

Readings:

  R0  First weights of the trunk: fresh ones in every preset, as mmFAS trained all models from scratch;
      `--weights torchvision` begins from ImageNet's, as the authors did. The authors' were timm's
      for their transformer, `torchvision` names torchvision's.
  R1  How the maps meet: `--fusion sum` adds H_RGB, H'_depth and H'_infrared, as the authors' code does; `concat` puts
      their channels side by side before the convolution. `described` takes `concat`, which is not read in the paper
      again: public notes on it give the sum for cross-attention and `concat` for a fusion without attention. mmFAS does
      not say which of the paper's fusions it trained; cross-attention is the one whose code was released.
  R2  The attention's logits are not divided by anything in paper and code, although each is a sum over all positions.
      `--attention scaled` divides them by the square root of the number of positions.
  R3  The code takes the tokens before the transformer's final LayerNorm, which it keeps and never applies; the paper
      says nothing of it. `--final-norm applied` applies it.
  R4  Dropping modalities belongs to the authors' reading of files, not to their network. mmFAS trained every row in the
      same way, so the preset `table` drops nothing; `--drop-modality 0.5` is theirs.
  R5  So does cutout: a black square, the same in all modalities, at a random place, of a side below `--cutout`.
  R6  So do brightness, of every channel by up to 40 of 255, and gamma, from 0.5 to 1.5, drawn anew for each image of a
      sample. The authors round to whole grey values between the two, we do not.
  R7  Training: the preset `table` is mmFAS's. `described` and `released`: AdamW at 1e-5 with weight decay 0.05, 30
      epochs, batches of 64, flips, shuffled frames; where the paper is silent `described` is the code.
  R8  The rate is halved after 20 epochs. The authors' code halves it one epoch early, because it moves the scheduler
      before the epoch and not after it: `--rate halved_early`.
  R9  The transformer is timm's, as in the code, with timm's initialisation; what stands behind it has PyTorch's.
      The score is the difference of the logits, whose order is the authors' softmax probability's.
"""

import math
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor, nn

from data_manifests.errors import BadInput
from reference.batches import Batch, Sampler, ShuffledSampler
from reference.options import divisible, option, reading
from reference.rivals import method
from reference.rivals.blocks import start
from reference.rivals.blocks.start import FRESH, Start, StartedMethod
from reference.rivals.blocks.two_logits import cross_entropy, logit_difference
from reference.runs import HEADLINE
from reference.training import Training

BLACK = -1.0  # of images in [-1, 1]
INPUT_SCALE = 127.5 / 128  # from (x - 127.5) / 127.5 to the authors' (x - 127.5) / 128
DROPOUT = 0.3
TORCHVISION_NAMES = {  # of what timm calls by the first
    "cls_token": "class_token",
    "pos_embed": "encoder.pos_embedding",
    "patch_embed.proj.": "conv_proj.",
    "blocks.": "encoder.layers.encoder_layer_",
    ".norm1.": ".ln_1.",
    ".norm2.": ".ln_2.",
    ".attn.qkv.": ".self_attention.in_proj_",
    ".attn.proj.": ".self_attention.out_proj.",
    ".mlp.fc1.": ".mlp.0.",
    ".mlp.fc2.": ".mlp.3.",
    "norm.": "encoder.ln.",
}
HALVED_AFTER = 20  # epochs


@dataclass(frozen=True, kw_only=True)
class Options(start.Options):
    """Train and evaluate FlexModal-FAS on RGB, depth and infrared."""

    patch: int = 16
    """Side of the transformer's patches, in pixels; it divides --image-size."""

    width: int = 768
    """Length of the transformer's tokens, a multiple of --heads."""

    depth: int = 12
    """Number of the transformer's layers."""

    heads: int = 12
    """Number of heads of each layer."""

    fusion: Literal["sum", "concat"] = reading("sum", described="concat")
    """R1: the three maps are added, or their channels put side by side."""

    attention: Literal["unscaled", "scaled"] = reading("unscaled")
    """R2: scaled divides the logits of the channel attention by the square root of the number of positions."""

    final_norm: Literal["skipped", "applied"] = reading("skipped")
    """R3: whether the transformer's final LayerNorm is applied to its tokens."""

    drop_modality: float = reading(0.5, table=0.0)
    """R4: probability with which a training sample's depth becomes black, and as well its infrared."""

    cutout: int = reading(30, table=0)
    """R5: the side of a training sample's black square, in pixels, stays below this number; 0 cuts out nothing."""

    brightness: int = reading(40, table=0)
    """R6: each channel of a training image becomes brighter or darker by up to so many of 255 grey values."""

    gamma: float = reading(0.5, table=0.0)
    """R6: the exponent of a training image differs from 1 by up to this number."""

    rate: Literal["cosine", "halved", "halved_early"] = reading("halved", table="cosine", released="halved_early")
    """R8: the learning rate rises and falls as mmFAS's, or is halved after 20 epochs, or after 19, as the code does."""

    sampling: Literal["balanced", "shuffled"] = reading("shuffled", table="balanced")
    """R7: batches hold as many bona fide as attacks, or an epoch is a shuffle of all frames."""

    weight_decay: float = reading(0.05, table=1e-2)
    """R7: weight decay of all parameters."""

    learning_rate: float = reading(1e-5, table=1e-4)
    """R7: highest learning rate."""

    batch_size: int = reading(64, table=128)
    """R7: samples a step, half of them bona fide where they are balanced; also used to evaluate."""

    augmentation: Literal["none", "flip"] = reading("flip", table="none")
    """R7: flip mirrors each training sample with probability 1/2, all its modalities alike."""

    def check(self) -> None:
        super().check()
        self.at_least({"patch": 1, "width": 1, "depth": 1, "heads": 1, "cutout": 0})
        if self.patch > self.image_size:
            raise BadInput(
                f"--patch {self.patch}: the image has {self.image_size} pixels; give at most {self.image_size}"
            )
        divisible(self.image_size, self.patch)
        if self.width % self.heads:
            raise BadInput(f"--width {self.width}: give a multiple of --heads {self.heads}")
        if not 0 <= self.drop_modality <= 1:
            raise BadInput(f"--drop-modality {self.drop_modality}: it is a probability; give a number from 0 to 1")
        if self.cutout == 1:
            raise BadInput("--cutout 1: no square has a side below 1; give at least 2, or 0 to cut out nothing")
        for name, most in {"brightness": 255, "gamma": 0.99}.items():
            if not 0 <= getattr(self, name) <= most:
                raise BadInput(f"{option(name)} {getattr(self, name)}: give a number from 0 to {most}")


def channel_cross_attention(x: Tensor, rgb: Tensor, scaled: bool = False) -> Tensor:
    """Each channel of x as a mean of the channels of rgb, weighted by the softmax of its products with them.

    x and rgb (B, C, N), N positions; (B, C, N). `scaled` divides the products by sqrt(N).
    """
    products = x @ rgb.mT  # (B, C, C): the last axis counts RGB's channels
    if scaled:
        products = products / math.sqrt(x.shape[-1])
    return products.softmax(-1) @ rgb


def drop_modalities(depth: Tensor, ir: Tensor, probability: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """depth and ir (B, 3, H, W) in [-1, 1], each of each sample black with this probability, independently."""

    def dropped(image: Tensor) -> Tensor:
        lots = torch.bernoulli(image.new_full((len(image), 1, 1, 1), probability), generator=generator)
        return image.masked_fill(lots.bool(), BLACK)

    return dropped(depth), dropped(ir)


def cut_out(
    rgb: Tensor, depth: Tensor, ir: Tensor, limit: int, generator: torch.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """The images (B, 3, H, W) in [-1, 1] of each sample with one black square, the same in all three.

    Its centre is any pixel, its side twice the half of a number from 1 to limit - 1, rounded down; what would lie
    outside of the image is cut off. `limit` is at least 2. DeVries, Taylor, arXiv 1708.04552, with random sides.
    """
    count, _, height, width = rgb.shape

    def drawn(low: int, high: int) -> Tensor:
        return rgb.new_empty((count, 1, 1, 1)).random_(low, high, generator=generator)

    y, x, half = drawn(0, height), drawn(0, width), drawn(1, limit) // 2
    row, column = rgb.new_tensor(range(height))[:, None], rgb.new_tensor(range(width))
    inside = (y - half <= row) & (row < y + half) & (x - half <= column) & (column < x + half)  # (B, 1, H, W)
    return rgb.masked_fill(inside, BLACK), depth.masked_fill(inside, BLACK), ir.masked_fill(inside, BLACK)


def recoloured(image: Tensor, brightness: int, gamma: float, draws: torch.Generator) -> Tensor:
    """image (B, 3, H, W) in [-1, 1] with each channel brighter or darker by up to `brightness` of 255, cut off at black
    and white, and then raised to a power of each sample's own, from 1 - gamma to 1 + gamma (R6)."""
    count, channels = image.shape[:2]
    shifts = image.new_empty((count, channels, 1, 1)).random_(-brightness, brightness + 1, generator=draws) / 255
    exponents = image.new_empty((count, 1, 1, 1)).uniform_(1 - gamma, 1 + gamma, generator=draws)
    return 2 * ((image + 1) / 2 + shifts).clamp(0, 1) ** exponents - 1


def halved_rate(epoch: int, highest: float, early: bool) -> float:
    """The rate of an epoch counted from 0: halved after every 20 epochs, or each time one epoch before (R8)."""
    return highest * 0.5 ** ((epoch + early) // HALVED_AFTER)


def copied(begun: Start, trunk: nn.Module, options: Options) -> None:
    """Give timm's transformer the weights of torchvision's (R0), which has the same parts under other names. Raises
    BadInput unless they are of its sizes."""
    from torchvision.models import VisionTransformer

    sizes = options.image_size, options.patch, options.depth, options.heads, options.width, 4 * options.width
    state = begun.into(VisionTransformer(*sizes)).state_dict()
    renamed = {}
    for name in trunk.state_dict():
        theirs = name
        for ours, other in TORCHVISION_NAMES.items():
            theirs = theirs.replace(ours, other)
        renamed[name] = state[theirs]
    trunk.load_state_dict(renamed)


class FlexModal(nn.Module):
    """rgb, depth, ir (B, 3, S, S) in [-1, 1] to logits (B, 2): bona fide, attack."""

    def __init__(self, options: Options, begun: Start = FRESH) -> None:
        super().__init__()
        from timm.models.vision_transformer import VisionTransformer  # takes seconds that a finished run need not spend

        self.concat, self.scaled = options.fusion == "concat", options.attention == "scaled"
        self.side = divisible(options.image_size, options.patch)
        self.vit = VisionTransformer(
            options.image_size,
            options.patch,
            num_classes=0,
            embed_dim=options.width,
            depth=options.depth,
            num_heads=options.heads,
            final_norm=options.final_norm == "applied",
        )
        if begun.state is not None:
            copied(begun, self.vit, options)
        self.classes = nn.Linear(options.width, 2)
        self.fuse = nn.Sequential(
            nn.Conv2d((3 if self.concat else 1) * options.width, options.width, 3, padding=1),
            nn.BatchNorm2d(options.width),
            nn.ReLU(),
        )
        self.drop_channels, self.drop = nn.Dropout2d(DROPOUT), nn.Dropout(DROPOUT)

    def forward(self, rgb: Tensor, depth: Tensor, ir: Tensor) -> Tensor:
        tokens = self.vit.forward_features(INPUT_SCALE * torch.cat([rgb, depth, ir]))[:, 1:]  # without the class token
        h_rgb, h_depth, h_ir = tokens.mT.chunk(3)  # (B, C, N) each
        with torch.autocast(rgb.device.type, enabled=False):  # sums over all positions: too large for bfloat16
            maps = [h_rgb, *(channel_cross_attention(h, h_rgb, self.scaled) for h in (h_depth, h_ir))]
        together = torch.cat(maps, 1) if self.concat else maps[0] + maps[1] + maps[2]
        fused = self.fuse(self.drop_channels(together.unflatten(2, (self.side, self.side))))
        return self.classes(self.drop(fused.mean((2, 3)))).flip(-1)  # the original counts attack, bona fide


class Method(StartedMethod[Options]):
    """FlexModal-FAS under cross-entropy."""

    TRUNK = "vit_b_16"

    def build(self) -> nn.Module:
        return FlexModal(self.options, self.start)

    def losses(self, output: Tensor, batch: Batch) -> dict[str, Tensor]:
        return {"loss": cross_entropy(output, batch.label)}

    def scores(self, output: Tensor) -> dict[str, Tensor]:
        return {HEADLINE: logit_difference(output)}

    def sampler(self, training: Training) -> Sampler:
        if self.options.sampling == "balanced":
            return super().sampler(training)
        return ShuffledSampler(training.train.size, self.options.batch_size, self.options.seed)

    def views(self, batch: Batch, training: Training) -> Batch:
        """In the authors' order: flip, colours, dropped modalities, cutout."""
        options = self.options
        rgb, depth, ir = super().views(batch, training).images
        if options.brightness or options.gamma:
            rgb, depth, ir = (recoloured(x, options.brightness, options.gamma, self.draws) for x in (rgb, depth, ir))
        if options.drop_modality:
            depth, ir = drop_modalities(depth, ir, options.drop_modality, self.draws)
        if options.cutout:
            rgb, depth, ir = cut_out(rgb, depth, ir, options.cutout, self.draws)
        return replace(batch, rgb=rgb, depth=depth, ir=ir)

    def schedule(self, optimiser: torch.optim.Optimizer, batch: Batch, training: Training) -> None:
        options, steps = self.options, training.sampler.steps
        if options.rate == "cosine":
            super().schedule(optimiser, batch, training)
            return
        epoch = round(batch.progress * steps * options.epochs) // steps
        for group in optimiser.param_groups:
            group["lr"] = halved_rate(epoch, options.learning_rate, options.rate == "halved_early")


if __name__ == "__main__":
    method.main(Method, Options, __doc__)
