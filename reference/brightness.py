"""Brightness added to 8-bit images in one of six colour spaces, as MMDA's released augmentation does (M12).

imgaug, which that code calls, has OpenCV convert an image to the colour space, adds to the channel that stands for
brightness there, and has it converted back; in between all three channels are kept as eight bits. `SPACES` holds the
way there and the way back of each colour space, in torch: the formulas of OpenCV's manual ("Color conversions"), with
decimals cut off where OpenCV cuts them. What stays different is that OpenCV reads parts of them from coarse tables. Of
colours drawn uniformly, 15 values of 100 are a level apart in Lab or more, 16 in Luv, 2 in HSV, fewer in the others; of
greys 7, 11 and none.
"""

from collections.abc import Callable

import torch
from torch import Tensor

Planes = tuple[Tensor, Tensor, Tensor]
Conversion = Callable[[Tensor, Tensor, Tensor], Planes]


def brightened(pixels: Tensor, added: Tensor, space: str) -> Tensor:
    """`pixels` (B, 3, S, S), R, G and B of 0 … 255, with `added` (B, 1, 1) to the brightness that `space`, one of
    `SPACES`, has for it. All three are float32 of whole numbers, and so is the result."""
    there, back = SPACES[space]
    bright, *colour = there(*pixels.unbind(1))
    return torch.stack(back((bright + added).clamp(0, 255), *colour), 1).round().clamp(0, 255)


# --- YCrCb and YUV: luma, and how far red and blue are from it -------------------------------------------------


def luma_space(red: float, blue: float, back: tuple[float, float, float, float]) -> tuple[Conversion, Conversion]:
    """The two differences are stored times `red` and `blue`; `back` are their factors in R, in G (two) and in B."""

    def there(r: Tensor, g: Tensor, b: Tensor) -> Planes:
        luma = (0.299 * r + 0.587 * g + 0.114 * b).round()
        return luma, (red * (r - luma)).round().clamp(-128, 127), (blue * (b - luma)).round().clamp(-128, 127)

    def again(luma: Tensor, v: Tensor, u: Tensor) -> Planes:
        return luma + back[0] * v, luma + back[1] * v + back[2] * u, luma + back[3] * u

    return there, again


# --- HSV and HLS: hue, and how far a colour is from grey -------------------------------------------------------


def _hue(r: Tensor, g: Tensor, b: Tensor, high: Tensor, low: Tensor) -> Tensor:
    """Hue in sixths of a turn, 0 up to 6, kept in steps of two degrees."""
    turn = torch.where(high == r, g - b, torch.where(high == g, b - r, r - g)) / (high - low).clamp(min=1)
    sixth = torch.where(high == r, 0, torch.where(high == g, 2, 4))
    return (30 * (turn + sixth)).round() % 180 / 30


def _lacks(hue: Tensor) -> Planes:
    """The shares, 0 … 1, of R, G and B that the pure colour of a hue is without."""
    return (2 - (hue - 3).abs()).clamp(0, 1), ((hue - 2).abs() - 1).clamp(0, 1), ((hue - 4).abs() - 1).clamp(0, 1)


def to_hsv(r: Tensor, g: Tensor, b: Tensor) -> Planes:
    high, low = r.maximum(g).maximum(b), r.minimum(g).minimum(b)
    return high, _hue(r, g, b, high, low), (255 * (high - low) / high.clamp(min=1)).round() / 255


def from_hsv(value: Tensor, hue: Tensor, saturation: Tensor) -> Planes:
    r, g, b = ((value * (1 - saturation * lack)).floor() for lack in _lacks(hue))
    return r, g, b


def to_hls(r: Tensor, g: Tensor, b: Tensor) -> Planes:
    high, low = r.maximum(g).maximum(b), r.minimum(g).minimum(b)
    # Every other sum has a half to round. OpenCV leaves its direction to the errors of this very arithmetic.
    lightness = ((high * (1 / 255) + low * (1 / 255)) * 0.5 * 255).round()
    reach = torch.minimum(high + low, 510 - (high + low))
    return lightness, _hue(r, g, b, high, low), (255 * (high - low) / reach.clamp(min=1)).round() / 255


def from_hls(lightness: Tensor, hue: Tensor, saturation: Tensor) -> Planes:
    reach = saturation * torch.minimum(lightness, 255 - lightness)
    r, g, b = (lightness + reach * (1 - 2 * lack) for lack in _lacks(hue))
    return r, g, b


# --- Lab and Luv: CIE's lightness, and two axes of colour ------------------------------------------------------

# From linear RGB to XYZ and back, for the primaries of sRGB and a white of Y = 1.
_XYZ = ((0.412453, 0.357580, 0.180423), (0.212671, 0.715160, 0.072169), (0.019334, 0.119193, 0.950227))
_RGB = ((3.240479, -1.537150, -0.498535), (-0.969256, 1.875991, 0.041556), (0.055648, -0.204043, 1.057311))
_WHITE_X, _WHITE_Z = 0.950456, 1.088754
_WHITE_U, _WHITE_V = 0.19793943, 0.46831096


def _product(matrix: tuple[tuple[float, ...], ...], a: Tensor, b: Tensor, c: Tensor) -> Planes:
    # Written out, since autocast would compute a matrix product in bfloat16.
    x, y, z = (row[0] * a + row[1] * b + row[2] * c for row in matrix)
    return x, y, z


def _xyz(r: Tensor, g: Tensor, b: Tensor, full: int) -> Planes:
    """XYZ of sRGB planes of whole numbers, of which `full` is full light."""
    share = torch.arange(256, device=r.device) / full
    light = torch.where(share > 0.04045, ((share + 0.055) / 1.055) ** 2.4, share / 12.92)
    return _product(_XYZ, *(light.take(plane.long()) for plane in (r, g, b)))


def _rgb(x: Tensor, y: Tensor, z: Tensor) -> Planes:
    """sRGB planes, 0 … 255, of XYZ."""
    light = (plane.clamp(0, 1) for plane in _product(_RGB, x, y, z))
    r, g, b = (255 * torch.where(p > 0.0031308, 1.055 * p ** (1 / 2.4) - 0.055, 12.92 * p) for p in light)
    return r, g, b


def _root(t: Tensor) -> Tensor:
    """CIE's cube root, a straight line near zero."""
    return torch.where(t > 0.008856, t ** (1 / 3), 7.787 * t + 16 / 116)


def _cube(root: Tensor) -> Tensor:
    """What `_root` takes the root of."""
    return torch.where(root > 6 / 29, root**3, (root - 16 / 116) / 7.787)


def to_lab(r: Tensor, g: Tensor, b: Tensor) -> Planes:
    x, y, z = _xyz(r, g, b, 255)
    x, y, z = _root(x / _WHITE_X), _root(y), _root(z / _WHITE_Z)
    # OpenCV has the whole number 296 where the formula has 116 · 255 / 100 = 295.8.
    return (296 * y - 40.8).round().clamp(0, 255), (500 * (x - y)).round(), (200 * (y - z)).round()


def from_lab(lightness: Tensor, a: Tensor, b: Tensor) -> Planes:
    y = (lightness * 100 / 255 + 16) / 116
    return _rgb(_WHITE_X * _cube(y + a / 500), _cube(y), _WHITE_Z * _cube(y - b / 200))


def to_luv(r: Tensor, g: Tensor, b: Tensor) -> Planes:
    # On this way, but not back, OpenCV takes 256 for 255 in its numbers, those it reads and those it leaves.
    x, y, z = _xyz(r, g, b, 256)
    lightness, total = 116 * _root(y) - 16, (x + 15 * y + 3 * z).clamp(min=1e-7)
    u, v = 13 * lightness * (4 * x / total - _WHITE_U), 13 * lightness * (9 * y / total - _WHITE_V)
    lightness, u, v = (2.56 * lightness).floor(), (256 * (u + 134) / 354).floor(), (256 * (v + 140) / 262).floor()
    return lightness, u * 354 / 255 - 134, v * 262 / 255 - 140


def from_luv(lightness: Tensor, u: Tensor, v: Tensor) -> Planes:
    lightness = lightness * 100 / 255
    y = _cube((lightness + 16) / 116)
    # With L the lightness, 39 L u' and 1 / (52 L v'). The bounds are OpenCV's, for colours that no light has.
    up, vp = 3 * (u + 13 * _WHITE_U * lightness), (0.25 / (v + 13 * _WHITE_V * lightness)).clamp(-0.25, 0.25)
    return _rgb((3 * y * up * vp).clamp(0, 2), y, (y * ((156 * lightness - up) * vp - 5)).clamp(0, 2))


SPACES: dict[str, tuple[Conversion, Conversion]] = {
    "YCrCb": luma_space(0.713, 0.564, (1.403, -0.714, -0.344, 1.773)),
    "HSV": (to_hsv, from_hsv),
    "HLS": (to_hls, from_hls),
    "Lab": (to_lab, from_lab),
    "Luv": (to_luv, from_luv),
    "YUV": luma_space(0.877, 0.492, (1.140, -0.581, -0.395, 2.032)),
}
