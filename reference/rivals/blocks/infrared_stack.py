"""Infrared as three pictures: its grey values, its histograms of oriented gradients (HOG), and its pattern of local
gravitational force (PLGF).

Dalal, Triggs: Histograms of Oriented Gradients for Human Detection. CVPR 2005. Bhattacharjee, Roy: Pattern of Local
Gravitational Force (PLGF). TPAMI 43 (2021). That a vision transformer sees more in them than in infrared three times is
a finding of AMA (Yu et al., IJCV 2024, arXiv 2302.05744); MMDG and DADM make its prototypes of them.

The released preprocessing of DADM makes both pictures of the stored faces, keeps them as 8-bit files, and resizes and
flips those; here they are made of the image that the network sees, and keep their fractions. The HOG picture is the one
that scikit-image draws for people to look at: gradients are hard-assigned to bins, and histograms not normalised.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

CELL, BINS = 8, 9  # pixels of a cell's side; orientations, of 20 degrees each
DARKEST = 2  # PLGF takes darker pixels for this bright
SOFT = 1e-4  # added to the brightness that PLGF divides by
REACH = 2  # of PLGF, in pixels


def line_cells() -> Tensor:
    """For each bin of orientation a cell (BINS, CELL, CELL) that is 1 along a line, and 0 elsewhere.

    The line lies along the edge whose gradient has the bin's middle orientation. Its ends are rounded down to pixels,
    which makes one drawing of the bins 2 and 3, counted from 0, and one of 5 and 6.
    """
    cells = torch.zeros(BINS, CELL, CELL)
    centre, radius = CELL // 2, CELL // 2 - 1
    for number in range(BINS):
        angle = math.pi * (number + 0.5) / BINS
        down, right = radius * math.cos(angle), radius * math.sin(angle)
        first = [math.floor(centre - down), math.floor(centre + right)]
        steps = [math.floor(centre + down) - first[0], math.floor(centre - right) - first[1]]
        count = max(abs(step) for step in steps)
        for i in range(count + 1):
            row, column = (at + round(step * i / count) for at, step in zip(first, steps, strict=True))
            cells[number, row, column] = 1
    return cells


def oriented_gradients(grey: Tensor) -> Tensor:
    """The HOG picture (B, H, W) of grey values (B, H, W) from 0 to 255; what is above 255 in it becomes 255.

    The gradient of a pixel is the difference of its two neighbours, 0 at the image's edge. A cell of 8 x 8 pixels has a
    histogram of nine bins: the sum of the lengths of gradients of an orientation, which has no sign, divided by 64. It
    is drawn as nine lines whose brightness is the histogram's. What does not fill a cell, at the right and at the
    bottom, stays 0.
    """
    down, right = torch.zeros_like(grey), torch.zeros_like(grey)
    down[:, 1:-1] = grey[:, 2:] - grey[:, :-2]
    right[:, :, 1:-1] = grey[:, :, 2:] - grey[:, :, :-2]
    turned = (down < 0) | ((down == 0) & (right < 0))
    angle = torch.atan2(torch.where(turned, -down, down), torch.where(turned, -right, right))  # from 0 to pi
    bins = (angle * (BINS / math.pi)).long().clamp(max=BINS - 1)
    lengths = torch.hypot(down, right)[:, None] * F.one_hot(bins, BINS).movedim(-1, 1)  # (B, BINS, H, W)
    rows, columns = (side // CELL for side in grey.shape[1:])
    picture = torch.zeros_like(grey)
    if rows and columns:
        histograms = F.avg_pool2d(lengths, CELL)  # (B, BINS, rows, columns)
        drawn = torch.einsum("bnrc,nij->bricj", histograms, line_cells().to(grey))
        picture[:, : rows * CELL, : columns * CELL] = drawn.flatten(3).flatten(1, 2)
    return picture.clamp(max=255)


def gravitational_force(grey: Tensor) -> Tensor:
    """The PLGF picture (B, H, W) of grey values (B, H, W) from 0 to 255, each sample's stretched to 1 to 255.

    A pixel is pulled by its neighbours up to two rows and columns away, by their grey values divided by their squared
    distances; beyond the image's edge nothing pulls. The picture is the arc tangent of the sum's length over the
    pixel's own grey value. Where it is the same everywhere it is 1.
    """
    masses = grey.clamp(min=DARKEST)
    down = torch.arange(-REACH, REACH + 1).to(grey)[:, None].expand(-1, 2 * REACH + 1)
    right = down.mT
    distance = torch.hypot(down, right)
    kernels = torch.where(distance > 0, torch.stack([down, right])[:, None] / distance**3, 0)
    pull = F.conv2d(masses[:, None], kernels, padding=REACH)  # (B, 2, H, W)
    force = torch.atan(torch.hypot(pull[:, 0], pull[:, 1]) / (masses + SOFT))
    lowest, highest = force.amin((1, 2), keepdim=True), force.amax((1, 2), keepdim=True)
    return torch.where(highest > lowest, (force - lowest) / (highest - lowest), 0) * 254 + 1


def infrared_stack(ir: Tensor) -> Tensor:
    """Infrared (B, 3, H, W) in [-1, 1], one plane three times, to its grey values, HOG and PLGF (B, 3, H, W), likewise.

    Black infrared, which stands for a missing one, has a black HOG picture, and a PLGF picture of the image's edge.
    """
    grey = 127.5 * (ir[:, 0] + 1)
    with torch.autocast(ir.device.type, enabled=False):
        pictures = torch.stack([grey, oriented_gradients(grey), gravitational_force(grey)], 1)
    return pictures / 127.5 - 1
