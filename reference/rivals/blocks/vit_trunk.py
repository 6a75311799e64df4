"""A vision transformer that three modalities share: the skeleton of MMDG and DADM, without what either adds to it.

Dosovitskiy et al.: An Image is Worth 16x16 Words. ICLR 2021, arXiv 2010.11929. MMDG: CVPR 2024, arXiv 2402.19298.
DADM: ICCV 2025, arXiv 2503.00429.

One encoder sees the patches of RGB, of depth and of infrared one modality at a time. Of its own a modality has a class
token and the positions, in MMDG's code also the patch embedding. The class tokens leave the final norm side by side.
Only the last layer, the final norm, class tokens and positions are trained, the rest keeps the weights it started from.

The parts are torchvision's and are named as there; where a modality has a part of its own, its number follows the name.
"""

import copy
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from data_manifests.errors import BadInput
from reference.options import Count, divisible, reading
from reference.rivals.blocks import start
from reference.rivals.blocks.start import FRESH, Start

MODALITIES = 3
POSITION_SD = 0.02  # of positions that begin anew


@dataclass(frozen=True, kw_only=True)
class Sizes(start.Options):
    """The sizes of a vision transformer; those of ViT-B/16 unless others are given."""

    patch: Count = 16
    """Side of the transformer's patches, in pixels; it divides --image-size."""

    width: Count = 768
    """Length of the transformer's tokens, a multiple of --heads."""

    depth: Count = 12
    """Number of the transformer's layers."""

    heads: Count = 12
    """Number of heads of each layer."""

    def check(self) -> None:
        super().check()
        if self.patch > self.image_size:
            raise BadInput(
                f"--patch {self.patch}: the image has {self.image_size} pixels; give at most {self.image_size}"
            )
        divisible(self.image_size, self.patch)
        if self.width % self.heads:
            raise BadInput(f"--width {self.width}: give a multiple of --heads {self.heads}")


@dataclass(frozen=True, kw_only=True)
class Options(Sizes):
    """How the three modalities share the transformer."""

    trained: Literal["last", "all"] = reading("last")
    """T1: of the shared transformer the last layer, the final norm, class tokens and positions train, or all of it."""

    positions: Literal["kept", "anew"] = reading("kept", table="anew")
    """T2: the modalities' positions begin as --weights has them, or each anew from a normal law of deviation 0.02."""

    embedding: Literal["shared", "own"] = reading("shared")
    """T3: one patch embedding for all modalities, or a copy for each, as MMDG's code has it."""


def torchvision_vit(sizes: Sizes, begun: Start = FRESH) -> Any:
    """torchvision's vision transformer of these sizes with the weights that `begun` names. Raises BadInput unless they
    are of these sizes."""
    from torchvision.models import VisionTransformer  # takes seconds that a finished run need not spend

    return begun.into(
        VisionTransformer(sizes.image_size, sizes.patch, sizes.depth, sizes.heads, sizes.width, 4 * sizes.width)
    )


def modality_tokens(patches: Tensor, class_tokens: Tensor, positions: Tensor) -> Tensor:
    """Each image's patches behind the class token of its modality, plus the positions of its modality.

    patches (M B, N, C), all samples of a modality before those of the next; class_tokens (M, 1, C), positions
    (M, 1 + N, C); (M B, 1 + N, C).
    """
    count = len(patches) // len(class_tokens)
    first = class_tokens.repeat_interleave(count, 0)  # (M B, 1, C)
    return torch.cat([first, patches], 1) + positions.repeat_interleave(count, 0)


def side_by_side(features: Tensor, modalities: int = MODALITIES) -> Tensor:
    """Features (M B, C), all samples of a modality before those of the next, to those (B, M C) of the samples."""
    return torch.cat(features.chunk(modalities), 1)


class SharedTrunk(nn.Module):
    """rgb, depth, ir (B, 3, S, S), as the transformer takes them, to the class tokens (B, 3 C) side by side."""

    def __init__(self, options: Options, begun: Start = FRESH) -> None:
        super().__init__()
        vit = torchvision_vit(options, begun)
        positions = [vit.encoder.pos_embedding.detach().clone() for _ in range(MODALITIES)]
        if options.positions == "anew":
            positions = [torch.empty_like(x).normal_(std=POSITION_SD) for x in positions]
        self.class_token = nn.ParameterList(vit.class_token.detach().clone() for _ in range(MODALITIES))
        self.conv_proj = nn.ModuleList([vit.conv_proj])
        if options.embedding == "own":
            self.conv_proj.extend(copy.deepcopy(vit.conv_proj) for _ in range(MODALITIES - 1))
        self.pos_embedding = nn.ParameterList(positions)
        self.layers, self.ln = vit.encoder.layers, vit.encoder.ln
        if options.trained == "last":
            for part in (self.conv_proj, self.layers[:-1]):
                part.requires_grad_(False)

    def embed(self, rgb: Tensor, depth: Tensor, ir: Tensor) -> Tensor:
        """The sequences (3 B, 1 + N, C) of all samples' RGB, of their depth, and of their infrared."""
        images = [rgb, depth, ir] if len(self.conv_proj) > 1 else [torch.cat([rgb, depth, ir])]
        patches = torch.cat([embed(x) for embed, x in zip(self.conv_proj, images, strict=True)]).flatten(2).mT
        return modality_tokens(patches, torch.cat([*self.class_token]), torch.cat([*self.pos_embedding]))

    def forward(self, rgb: Tensor, depth: Tensor, ir: Tensor) -> Tensor:
        return side_by_side(self.ln(self.layers(self.embed(rgb, depth, ir)))[:, 0])
