"""Brightness in six colour spaces: against OpenCV's own numbers, and against formulas by other means in float64."""

import colorsys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from reference.brightness import SPACES, brightened

# What OpenCV 4.11 makes of colours on its way to each colour space and back, with a number added in between: some of
# those colours for which its tables and the formulas agree.
OPENCV = """\
colour      added   YCrCb          HSV            HLS            Lab            Luv            YUV
  0   0   0    30    30  30  30     30  30  30     30  30  30     31  31  31     30  31  32     30  30  30
 14  14  14    12    26  26  26     26  26  26     26  26  26     25  25  25     23  25  25     26  26  26
100 100 100    -9    91  91  91     91  91  91     91  91  91     91  91  91     90  92  92     91  91  91
230 230 230    17   247 247 247    247 247 247    247 247 247    249 249 249    247 248 249    247 247 247
224 172 140   -28   197 144 112    196 149 122    212 138  96    193 143 112    193 142 109    196 144 111
141  85  54    21   162 105  75    162  98  62    172 105  66    164 105  73    162 105  76    162 106  74
 10  35 103   -24     0  11  78      7  26  79      6  20  60      0  17  80      0  32   0      0  11  78
 20  18 184   -26     0   0 157     15  15 158     13  13 137      0   0 156      0  49   0      0   0 158
 25  84  43   -18     8  66  24     19  66  33     17  57  29      5  68  27      0  68  22      8  66  26
235 233  50   -21   214 212  29    214 214  45    222 222  22    212 210   9    211 210   0    214 213  29
 62 199 134   -15    48 184 118     57 184 124     52 180 120     36 183 120     32 182 118     47 184 120
 72 165 209    28   100 193 237     81 185 237    117 186 221    106 196 242    109 194 238    100 192 237
213  16  48   -19   195   0  30    194  14  44    178  14  41    189   0  33    189   0  18    195   0  30
"""


def changed(colours: NDArray[np.int64], added: NDArray[np.int64], space: str) -> NDArray[np.int64]:
    """`brightened` of colours (N, 3), a picture of one pixel each."""
    pixels = torch.from_numpy(colours).float()[:, :, None, None]
    found = brightened(pixels, torch.from_numpy(added).float()[:, None, None], space)
    assert found.shape == pixels.shape
    assert torch.equal(found, found.round().clamp(0, 255))
    return found[:, :, 0, 0].long().numpy()


@pytest.mark.parametrize("space", SPACES)
def test_opencv_gives_the_same_numbers(space: str) -> None:
    names, *lines = OPENCV.splitlines()
    numbers = np.array([line.split() for line in lines], int)  # (13, 22)
    first = 4 + 3 * (names.split().index(space) - 2)
    np.testing.assert_array_equal(changed(numbers[:, :3], numbers[:, 3], space), numbers[:, first : first + 3])


# ----------------------------------------------------------------------------------- the formulas by other means

# The primaries and the white of sRGB in CIE's x and y, from which its matrix follows.
PRIMARIES, WHITE = np.array([[0.64, 0.33], [0.30, 0.60], [0.15, 0.06]]), np.array([0.3127, 0.3290])


def _light(xy: NDArray[np.float64]) -> NDArray[np.float64]:
    """XYZ (…, 3) of Y = 1."""
    return np.stack([xy[..., 0] / xy[..., 1], np.ones(xy.shape[:-1]), (1 - xy.sum(-1)) / xy[..., 1]], -1)


_XYZ = _light(PRIMARIES).T * np.linalg.solve(_light(PRIMARIES).T, _light(WHITE))


def _of_luma(rgb: NDArray[np.float64], added: float, red: float, blue: float) -> NDArray[np.float64]:
    there = np.array([[0.299, 0.587, 0.114], [red * 0.701, -red * 0.587, -red * 0.114]])
    there = np.vstack([there, [-blue * 0.299, -blue * 0.587, blue * 0.886]])
    stored = np.clip(np.round(there @ rgb), [0, -128, -128], [255, 127, 127])
    stored[0] = np.clip(stored[0] + added, 0, 255)
    return np.linalg.solve(there, stored)


def _of_hsv(rgb: NDArray[np.float64], added: float) -> NDArray[np.float64]:
    hue, saturation, value = colorsys.rgb_to_hsv(*rgb / 255)
    kept = round(180 * hue) / 180, round(255 * saturation) / 255, np.clip(255 * value + added, 0, 255) / 255
    return np.floor(255 * np.array(colorsys.hsv_to_rgb(*kept)) + 1e-9)


def _of_hls(rgb: NDArray[np.float64], added: float) -> NDArray[np.float64]:
    hue, lightness, saturation = colorsys.rgb_to_hls(*rgb / 255)
    kept = round(180 * hue) / 180, np.clip(round(255 * lightness) + added, 0, 255) / 255, round(255 * saturation) / 255
    return 255 * np.array(colorsys.hls_to_rgb(*kept))


def _lightness(rgb: NDArray[np.float64]) -> NDArray[np.float64]:
    """CIE's L* of sRGB colours (N, 3)."""
    share = rgb / 255
    y = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4) @ _XYZ[1]
    return np.where(y > (6 / 29) ** 3, 116 * np.cbrt(y) - 16, y * (29 / 3) ** 3)


FORMULAS = {
    "YCrCb": lambda rgb, added: _of_luma(rgb, added, 0.713, 0.564),
    "YUV": lambda rgb, added: _of_luma(rgb, added, 0.877, 0.492),
    "HSV": _of_hsv,
    "HLS": _of_hls,
}
SEEDS = st.integers(0, 2**32 - 1)


def drawn(seed: int, low: int = 0, high: int = 255) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    rng = np.random.default_rng(seed)
    return rng.integers(low, high, (400, 3), endpoint=True), rng.integers(-30, 30, 400, endpoint=True)


@pytest.mark.parametrize("space", FORMULAS)
@given(seed=SEEDS)
def test_the_formulas_of_luma_and_of_hue_give_the_same_colours(space: str, seed: int) -> None:
    colours, added = drawn(seed)
    wanted = np.stack([FORMULAS[space](c, a) for c, a in zip(colours.astype(float), added, strict=True)])
    apart = np.abs(changed(colours, added, space) - np.clip(np.round(wanted), 0, 255))
    # OpenCV's factors of the way back are rounded; a half may go up or down, a hue between two steps to either.
    assert (apart > 2).mean() < 0.01
    assert (apart > 0).mean() < 0.25


@pytest.mark.parametrize("space", ["Lab", "Luv"])
@given(seed=SEEDS)
def test_lightness_rises_by_what_is_added_and_the_colour_stays(space: str, seed: int) -> None:
    """CIE's lightness by the primaries of sRGB, of colours that stay within what a screen can show."""
    colours, added = drawn(seed, 60, 190)
    found = changed(colours, added, space)
    inside = ((found > 3) & (found < 252)).all(1)
    rise = _lightness(found[inside].astype(float)) - _lightness(colours[inside].astype(float))
    np.testing.assert_allclose(rise, added[inside] * 100 / 255, atol=0.75)
    # Decimals that are cut off on the way to Luv lower a lightness of 0 … 100 by a fifth on average.
    assert np.mean(rise - added[inside] * 100 / 255) == pytest.approx({"Lab": 0, "Luv": -0.2}[space], abs=0.1)
    unchanged = changed(colours, 0 * added, space) - colours
    assert np.abs(unchanged).max() <= 8  # eight bits of Lab or Luv hold no more of a colour
    assert np.abs(unchanged.mean(0)).max() < 1


@pytest.mark.parametrize("space", SPACES)
def test_grey_stays_grey_as_nearly_as_it_does_in_opencv(space: str) -> None:
    grey = np.repeat(np.arange(256)[:, None], 3, axis=1)
    spread = {"Lab": 1, "Luv": 6}.get(space, 0)
    for added in (-30, 0, 17):
        found = changed(grey, np.full(256, added), space)
        assert np.ptp(found, axis=1).max() <= spread
        if not spread:
            np.testing.assert_array_equal(found[:, 0], np.clip(np.arange(256) + added, 0, 255))


@pytest.mark.parametrize("space", SPACES)
def test_autocast_changes_no_colour(space: str) -> None:
    colours, added = drawn(0)
    plain = changed(colours, added, space)
    with torch.autocast("cpu", torch.bfloat16):
        np.testing.assert_array_equal(changed(colours, added, space), plain)
