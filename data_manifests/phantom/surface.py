"""The surface in front of the camera: a height field over a grid in millimetres, and its materials.

x runs to the image's right, y down, height h towards the camera; the origin lies between the eyes of the
(real or depicted) face. Heads, sheets, screens and masks are all such surfaces; an attack turns one into another.
"""

from dataclasses import dataclass, field, replace
from functools import cache

import numpy as np
from scipy import ndimage

from data_manifests.phantom.materials import Array, reflectance

NOTHING = -400.0  # height of "no surface here", in mm: the background shows
CHANNELS = ("gloss", "rough", "wrap", "holes", "warm", "live", "oval", "glint")


@dataclass(frozen=True)
class Grid:
    """Sampling points of a surface: `x` (W,) and `y` (H,) in mm, `step` apart."""

    x: Array
    y: Array
    step: float

    @staticmethod
    def of(left: float, right: float, top: float, bottom: float, step: float) -> "Grid":
        """The grid covering the given box in mm."""
        return Grid(
            np.arange(left, right, step, dtype=np.float32), np.arange(top, bottom, step, dtype=np.float32), step
        )

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.y), len(self.x)

    def bump(self, x: float, y: float, sx: float, sy: float) -> Array:
        """A Gaussian of height 1 at (x, y), (H, W)."""
        return np.outer(_gauss(self.y, y, sy), _gauss(self.x, x, sx))

    def pair(self, x: float, y: float, sx: float, sy: float) -> Array:
        """Two Gaussians, at (−x, y) and (x, y), (H, W)."""
        return np.outer(_gauss(self.y, y, sy), _gauss(self.x, x, sx) + _gauss(self.x, -x, sx))

    def window(self, x: float, y: float, rx: float, ry: float) -> tuple[slice, slice]:
        """Slices (rows, columns) of the box of half-sizes rx, ry around (x, y)."""
        c = np.searchsorted(self.x, (x - rx, x + rx))
        r = np.searchsorted(self.y, (y - ry, y + ry))
        return slice(int(r[0]), int(r[1])), slice(int(c[0]), int(c[1]))


def _gauss(a: Array, centre: float, sigma: float) -> Array:
    return np.exp(-0.5 * ((a - centre) / sigma) ** 2).astype(np.float32)


def ramp(a: Array, low: float | Array, high: float | Array) -> Array:
    """Smooth step (float32): 0 where a ≤ low, 1 where a ≥ high (swap the two for a falling step)."""
    t = np.clip((a - low) / (high - low), 0.0, 1.0)
    return (t * t * (3.0 - 2.0 * t)).astype(np.float32)


@cache
def _noise_bank(sigma: float) -> Array:
    raw = np.random.Generator(np.random.PCG64(20200313)).standard_normal((512, 512), dtype=np.float32)
    smooth = ndimage.gaussian_filter(raw, sigma, mode="wrap")
    return np.asarray(smooth / smooth.std(), np.float32)


def noise(grid: Grid, rng: np.random.Generator, scale: float, stretch: tuple[float, float] = (1.0, 1.0)) -> Array:
    """Smooth random field (H, W), zero mean, unit variance, features about `scale` mm (times stretch in x, y)."""
    bank = _noise_bank(2.0)
    ox, oy = rng.integers(0, 512, 2)
    cols = (grid.x - grid.x[0]) * (2.0 / (scale * stretch[0])) + ox
    rows = (grid.y - grid.y[0]) * (2.0 / (scale * stretch[1])) + oy
    c, r = cols.astype(np.int64), rows.astype(np.int64)
    fc, fr = (cols - c).astype(np.float32), (rows - r).astype(np.float32)[:, None]
    patch = bank[np.arange(r[0], r[-1] + 2) & 511][:, np.arange(c[0], c[-1] + 2) & 511]
    c, r = c - c[0], r - r[0]
    lines = patch[:, c] * (1 - fc) + patch[:, c + 1] * fc
    return np.asarray(lines[r] * (1 - fr) + lines[r + 1] * fr, np.float32)


@dataclass
class Surface:
    """Height (H, W) mm; albedo (B, H, W); the per-point maps of `CHANNELS`, each (H, W); emission (3, H, W).

    gloss: specular reflectance at normal incidence; rough: lobe width; wrap: sub-surface softening;
    holes: chance that a depth camera returns nothing; warm: 1 body heat, 0 room; live: 1 where the wearer's
    own skin, hair or eye is seen; oval: > 0 inside the depicted face's outline; glint: catch-light strength.
    """

    grid: Grid
    bands: tuple[str, ...]
    height: Array
    albedo: Array
    maps: dict[str, Array]
    emission: Array | None = None
    notes: dict[str, float] = field(default_factory=dict)

    @staticmethod
    def empty(grid: Grid, bands: tuple[str, ...]) -> "Surface":
        """No surface anywhere."""
        maps = {name: np.zeros(grid.shape, np.float32) for name in CHANNELS}
        maps["rough"] += 0.5
        maps["oval"] -= 1.0
        return Surface(
            grid,
            bands,
            np.full(grid.shape, NOTHING, np.float32),
            np.full((len(bands), *grid.shape), 0.3, np.float32),
            maps,
        )

    def copy(self) -> "Surface":
        """An independent copy."""
        return replace(
            self,
            height=self.height.copy(),
            albedo=self.albedo.copy(),
            maps={k: v.copy() for k, v in self.maps.items()},
            emission=None if self.emission is None else self.emission.copy(),
            notes=dict(self.notes),
        )

    def tint(self, mask: Array, colour: Array, at: tuple[slice, slice] = (slice(None), slice(None))) -> None:
        """Mix `colour` ((B,) or (B, h, w)) into the albedo of the window `at` by `mask` (h, w)."""
        part = self.albedo[:, at[0], at[1]]
        part += mask * ((colour[:, None, None] if colour.ndim == 1 else colour) - part)

    def paint(self, mask: Array, material: str, at: tuple[slice, slice] = (slice(None), slice(None))) -> None:
        """`tint` with a material of the table."""
        self.tint(mask, reflectance(material, self.bands), at)

    def set(self, mask: Array, at: tuple[slice, slice] = (slice(None), slice(None)), **values: float | Array) -> None:
        """Mix values into the named per-point maps by `mask`."""
        for name, value in values.items():
            part = self.maps[name][at]
            part += mask * (value - part)

    def over(self, below: "Surface", mask: Array) -> "Surface":
        """This surface where `mask` is 1, `below` where it is 0; heights switch at one half."""
        mine = mask > 0.5
        emission = None
        if self.emission is not None or below.emission is not None:
            zero = np.zeros((3, *self.grid.shape), np.float32)
            upper = zero if self.emission is None else self.emission
            lower = zero if below.emission is None else below.emission
            emission = lower + mask * (upper - lower)
        return Surface(
            self.grid,
            self.bands,
            np.where(mine, self.height, below.height),
            below.albedo + mask * (self.albedo - below.albedo),
            {k: below.maps[k] + mask * (self.maps[k] - below.maps[k]) for k in CHANNELS},
            emission,
            {**below.notes, **self.notes},
        )

    def solid(self) -> np.ndarray:
        """The points that have a surface, bool (H, W)."""
        return self.height > 0.5 * NOTHING

    def normals(self) -> Array:
        """Unit normals (3, H, W) by finite differences."""
        filled = np.maximum(self.height, -140.0)
        dy, dx = np.gradient(filled, self.grid.step)
        np.clip(dx, -4.0, 4.0, out=dx)
        np.clip(dy, -4.0, 4.0, out=dy)
        n = np.stack((-dx, -dy, np.ones_like(dx)))
        return np.asarray(n / np.sqrt((n * n).sum(axis=0)), np.float32)

    def occlusion(self) -> Array:
        """Share of ambient light that reaches each point, from how far it lies below its neighbourhood."""
        filled = np.maximum(self.height, -140.0)
        small = filled[::2, ::2]
        deep = ndimage.gaussian_filter(small, 6.0 / (2 * self.grid.step)) - small
        wide = ndimage.gaussian_filter(small, 16.0 / (2 * self.grid.step)) - small
        open_small = 1.0 / (1.0 + 0.10 * np.maximum(deep, 0.0) + 0.02 * np.maximum(wide, 0.0))
        rows = np.minimum(np.arange(self.grid.shape[0]) // 2, small.shape[0] - 1)
        cols = np.minimum(np.arange(self.grid.shape[1]) // 2, small.shape[1] - 1)
        return np.asarray(ndimage.uniform_filter(open_small[np.ix_(rows, cols)], 3), np.float32)

    def shadow(self, light: Array) -> Array:
        """Visibility (H, W) of a light in direction `light` (x, y, z), by stepping through the height field."""
        filled = np.maximum(self.height, -140.0)
        across = float(np.hypot(light[0], light[1]))
        if across < 0.05:
            return np.ones_like(filled)
        blocked = np.zeros_like(filled)
        for mm in (4.0, 8.0, 13.0, 20.0, 30.0, 45.0):
            dx = round(float(light[0]) / across * mm / self.grid.step)
            dy = round(float(light[1]) / across * mm / self.grid.step)
            over = _shifted(filled, dy, dx) - filled - mm * float(light[2]) / across
            np.maximum(blocked, over, out=blocked)
        return np.asarray(1.0 - 0.75 * ndimage.uniform_filter(ramp(blocked, 0.0, 6.0), 3), np.float32)


def _shifted(a: Array, dy: int, dx: int) -> Array:
    rows = np.clip(np.arange(a.shape[0]) + dy, 0, a.shape[0] - 1)
    cols = np.clip(np.arange(a.shape[1]) + dx, 0, a.shape[1] - 1)
    return a[np.ix_(rows, cols)]
