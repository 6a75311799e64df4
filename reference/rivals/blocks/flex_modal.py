"""Flex-Modal-FAS: a vision transformer shared by the modalities, whose channels ask those of RGB, and what its training
does to images.

Yu, Liu, Zhao, Cheng, Cheng, Zhao: Flexible-Modal Face Anti-Spoofing: A Benchmark. CVPRW 2023, arXiv 2202.08192.

It is a row of mmFAS's table, and one of two readings of the row that MMDA's tables call ViT. Either row's head says
what stands behind its readings.
"""

import math
from dataclasses import dataclass, replace
from typing import Literal, TypeVar

import torch
from torch import Tensor, nn

from data_manifests.errors import BadInput
from reference.batches import BLACK, Batch, Sampler, ShuffledSampler
from reference.options import CountOrNone, divisible, option, reading
from reference.rivals.blocks import vit_trunk
from reference.rivals.blocks.start import FRESH, Start, StartedMethod
from reference.rivals.blocks.stem import SHARED_SCALE
from reference.rivals.blocks.step_rate import stepped_rate
from reference.rivals.blocks.two_logits import cross_entropy, logit_difference
from reference.runs import HEADLINE
from reference.training import Training

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
class Options(vit_trunk.Sizes):
    """Sizes and readings of Flex-Modal-FAS."""

    fusion: Literal["sum", "concat"] = reading("sum", described="concat")
    """R1: the three maps are added, or their channels put side by side."""

    attention: Literal["unscaled", "scaled"] = reading("unscaled")
    """R2: scaled divides the logits of the channel attention by the square root of the number of positions."""

    final_norm: Literal["skipped", "applied"] = reading("skipped")
    """R3: whether the transformer's final LayerNorm is applied to its tokens."""

    missing_as: Literal["black", "grey"] = reading("black", released="grey")
    """R4: a modality that is missing at test is black, as one that was dropped in training, or grey, as in the code."""

    infrared_at_test: Literal["own", "rgb"] = reading("own", released="rgb")
    """R4: at test infrared's place holds the sample's infrared, or its RGB, as in the code."""

    drop_modality: float = reading(0.5, table=0.0)
    """R4: probability with which a training sample's depth becomes black, and as well its infrared."""

    cutout: CountOrNone = reading(30, table=0)
    """R5: the side of a training sample's black square, in pixels, stays below this number; 0 cuts out nothing."""

    brightness: int = reading(40, table=0)
    """R6: each channel of a training image becomes brighter or darker by up to so many of 255 grey values."""

    gamma: float = reading(0.5, table=0.0)
    """R6: the exponent of a training image differs from 1 by up to this number."""

    rate: Literal["cosine", "constant", "halved", "halved_early"] = reading(
        "halved", table="cosine", released="halved_early"
    )
    """R8: the learning rate rises and falls as mmFAS's, or stays, or is halved after 20 epochs, or after 19, as the
    authors' code does."""

    sampling: Literal["balanced", "shuffled"] = reading("shuffled", table="balanced")
    """R7: batches hold as many bona fide as attacks, or an epoch is a shuffle of all frames."""

    def check(self) -> None:
        super().check()
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


def copied(begun: Start, trunk: nn.Module, options: Options) -> None:
    """Give timm's transformer the weights of torchvision's (R0), which has the same parts under other names. Raises
    BadInput unless they are of its sizes."""
    state = vit_trunk.torchvision_vit(options, begun).state_dict()
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
        tokens = self.vit.forward_features(SHARED_SCALE * torch.cat([rgb, depth, ir]))[:, 1:]  # without the class token
        h_rgb, h_depth, h_ir = tokens.mT.chunk(3)  # (B, C, N) each
        with torch.autocast(rgb.device.type, enabled=False):  # sums over all positions: too large for bfloat16
            maps = [h_rgb, *(channel_cross_attention(h, h_rgb, self.scaled) for h in (h_depth, h_ir))]
        together = torch.cat(maps, 1) if self.concat else maps[0] + maps[1] + maps[2]
        fused = self.fuse(self.drop_channels(together.unflatten(2, (self.side, self.side))))
        return self.classes(self.drop(fused.mean((2, 3)))).flip(-1)  # the original counts attack, bona fide


T = TypeVar("T", bound=Options)


class FlexModalMethod(StartedMethod[T]):
    """Flex-Modal-FAS under cross-entropy."""

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
        """In this order: flip, colours, dropped modalities, cutout."""
        options = self.options
        rgb, depth, ir = super().views(batch, training).images
        if options.brightness or options.gamma:
            rgb, depth, ir = (recoloured(x, options.brightness, options.gamma, self.draws) for x in (rgb, depth, ir))
        if options.drop_modality:
            depth, ir = drop_modalities(depth, ir, options.drop_modality, self.draws)
        if options.cutout:
            rgb, depth, ir = cut_out(rgb, depth, ir, options.cutout, self.draws)
        return replace(batch, rgb=rgb, depth=depth, ir=ir)

    def predict(self, batch: Batch) -> dict[str, Tensor]:
        return super().predict(replace(batch, ir=batch.rgb) if self.options.infrared_at_test == "rgb" else batch)

    def schedule(self, optimiser: torch.optim.Optimizer, batch: Batch, training: Training) -> None:
        options = self.options
        if options.rate == "cosine":
            super().schedule(optimiser, batch, training)
        elif options.rate != "constant":
            done = training.epoch + (options.rate == "halved_early")
            for group in optimiser.param_groups:
                group["lr"] = stepped_rate(done, options.learning_rate, HALVED_AFTER, 0.5)
