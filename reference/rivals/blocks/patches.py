"""Bags of patches: a network sees small squares of a face, one at random in training, a grid of them at test.

Shen, Huang, Tong: FaceBagNet. CVPRW 2019, doi 10.1109/CVPRW.2019.00203. PipeNet (CVPRW 2020) takes all of it over.

Every random choice here is a function of `lots`, uniform numbers that the caller draws, or of a generator.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from reference.batches import BLACK

# (down, right), in patches, of each place of the grid from its centre: the centre, a cross, the corners.
PLACES = ((0, 0), (-1, 0), (0, -1), (1, 0), (0, 1), (1, 1), (-1, -1), (-1, 1), (1, -1))
MIRRORS: tuple[list[int], ...] = ([], [-1], [-2], [-1, -2])  # axes: none, left to right, upside down, both
LOTS = 7  # uniform numbers of a random view: two mirrorings, an angle, whether coarsened, how coarse, a place
LARGEST_ANGLE, COARSEST = 30.0, 0.2  # degrees to either side; the smallest share of the side


def crop_grid(side: int, patch: int, places: int = 9, short: bool = False) -> list[tuple[int, int]]:
    """Top and left pixel of each square of `patch` pixels on an image of `side` pixels.

    The centre comes first, then a cross, then the corners: 1, 5 or 9 places. Neighbours are one patch apart, or less
    where the image ends. `short` ends it one pixel early, as released.
    """
    centre, last = (side - patch) // 2, side - patch - short
    return [
        (min(max(centre + down * patch, 0), last), min(max(centre + right * patch, 0), last))
        for down, right in PLACES[:places]
    ]


def grid_crops(x: Tensor, patch: int, places: int = 9, mirrors: int = 4, short: bool = False) -> Tensor:
    """Squares (N, B, C, P, P) of images (B, C, S, S): each place of the grid in each of 1, 2 or 4 mirrorings, as it is
    first, then left to right, upside down, and both."""
    grid = crop_grid(x.shape[-1], patch, places, short)
    squares = [x[:, :, top : top + patch, left : left + patch] for top, left in grid]
    return torch.stack([square.flip(axes) for square in squares for axes in MIRRORS[:mirrors]])


def modal_erasing(count: int, generator: torch.Generator, probability: float = 0.5, alone: float = 0.5) -> Tensor:
    """Which modalities each sample keeps: bool (count, 3), on the generator's device.

    With `probability` a sample loses something: one modality that is drawn evenly, or, for the share `alone` of these
    samples, the two others.
    """
    erased, lone = torch.rand(2, count, generator=generator, device=generator.device)
    chosen = F.one_hot(torch.randint(3, (count,), generator=generator, device=generator.device), 3).bool()  # (count, 3)
    kept = torch.where(lone[:, None] < alone, chosen, ~chosen)
    return kept | (erased[:, None] >= probability)


def without(images: tuple[Tensor, ...], kept: Tensor, nothing: float = 0.0) -> tuple[Tensor, ...]:
    """The modalities' tensors (B, C, H, W), with `nothing` where a sample does not keep one; kept (B, 3)."""
    return tuple(torch.where(k[:, None, None, None], x, nothing) for x, k in zip(images, kept.unbind(1), strict=True))


def resized(x: Tensor, side: int) -> Tensor:
    """x (B, C, S, S) with `side` pixels, bilinear between the centres of pixels, without smoothing before."""
    return F.interpolate(x, size=(side, side), mode="bilinear", align_corners=False)


def turned(x: Tensor, lots: Tensor) -> Tensor:
    """x (B, C, S, S) in [-1, 1], each mirrored left to right and upside down or not, and turned by up to 30 degrees to
    either side, black where the image ends; lots (B, 3)."""
    across, down = (1 - 2 * (lots[:, :2] < 0.5).to(x.dtype)).unbind(1)
    angle = math.radians(LARGEST_ANGLE) * (2 * lots[:, 2].to(x.dtype) - 1)
    zero = torch.zeros_like(angle)
    rows = (across * angle.cos(), -across * angle.sin(), zero), (down * angle.sin(), down * angle.cos(), zero)
    grid = F.affine_grid(torch.stack([torch.stack(row, 1) for row in rows], 1), list(x.shape), align_corners=False)
    return F.grid_sample(x - BLACK, grid, align_corners=False) + BLACK


def coarsened(x: Tensor, lots: Tensor) -> Tensor:
    """x (B, C, S, S), half of them made smaller, to a share of their side from 0.2 to 1, and large again; lots (B,
    2)."""
    side, images = x.shape[-1], []
    for image, (whether, share) in zip(x.split(1), lots.tolist(), strict=True):
        if whether < 0.5:
            image = resized(resized(image, max(1, int(side * (COARSEST + (1 - COARSEST) * share)))), side)
        images.append(image)
    return torch.cat(images)


def patches(x: Tensor, patch: int, lots: Tensor) -> Tensor:
    """A square (B, C, P, P) of each image (B, C, S, S), every place as likely; lots (B, 2)."""
    room = x.shape[-1] - patch
    starts = (lots * (room + 1)).long().clamp_max(room)  # (B, 2)
    down, right = (starts[:, :, None] + torch.arange(patch, device=x.device)).unbind(1)  # (B, P) each
    samples = torch.arange(len(x), device=x.device)[:, None, None]
    return x.permute(0, 2, 3, 1)[samples, down[:, :, None], right[:, None, :]].permute(0, 3, 1, 2)


def random_view(x: Tensor, patch: int, lots: Tensor, distorted: bool) -> Tensor:
    """A random square (B, C, P, P) of images (B, C, S, S) in [-1, 1], after mirroring, turning and coarsening where
    they are `distorted`; lots (B, 7)."""
    if distorted:
        x = coarsened(turned(x, lots[:, :3]), lots[:, 3:5])
    return patches(x, patch, lots[:, 5:])
