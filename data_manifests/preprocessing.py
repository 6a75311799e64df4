"""The preprocessing of papers and baselines, as named pipelines of small steps (data-set sheet, section 6).

`PIPELINES[name](rgb, depth, ir)` takes the three images of a frame as `decode.raw` gives them in 8 bits (for
`mc_cnn` and `cmfl` also sensor counts), each of its own size, to three float32 (3, S, S), depth and infrared
repeated to three channels. Face detection, alignment and augmentation are not here: the released sets are cropped
already, and augmentation belongs to the method. `Pipeline.unknown` says what a source does not state.

Differences between the sources stay different here on purpose:

- cv2 reads B, G, R and public loaders flip it back before the network; Pillow starts with R, G, B. Either way
  the network sees R, G, B, which is what everything here means.
- cv2's `resize` is bilinear without antialiasing (`decode.resize_plain`); `decode.resize` antialiases.
- a modality that is dropped is zero before (`black`) or after (`grey`) the values are normalised; these are
  different inputs: -1 and 0 under (x − 127.5)/127.5.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from data_manifests.decode import HOLE, mad_to_8bit, resize, resize_plain

Planes = np.ndarray
Box = tuple[int, int, int, int]  # top, bottom, left, right; bottom and right are one past the last

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)  # R, G, B; of the released CLIP weights' own transform
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)


# --- sensor counts to 8 bit ---------------------------------------------------------------------------------


def std_to_8bit(x: np.ndarray, n_sigma: float = 3.0) -> np.ndarray:
    """Like `decode.mad_to_8bit` with mean and (population) standard deviation: y = 255 · (x − m + n·s) / (2·n·s).

    The sheet names the alternative without its details. To agree with MAD, this function leaves holes out and sets
    them to 0, and takes one sensor step as s in a flat scene (s = 0).
    """
    x = np.asarray(x, dtype=np.float64)
    measured = x > HOLE
    if not measured.any():
        return np.zeros(x.shape, np.uint8)
    m, s = x[measured].mean(), x[measured].std() or 1.0
    y = 255.0 * (x - m + n_sigma * s) / (2.0 * n_sigma * s)
    return np.where(measured, np.clip(y, 0.0, 255.0), 0.0).astype(np.uint8)


def minmax_to_8bit(x: np.ndarray) -> np.ndarray:
    """The measured range (x > 1) to 0 … 255, cut to whole numbers; holes are 0.

    A flat scene has no range, so it becomes mid-grey, 127, as under MAD. All holes give all zeros. As for
    `std_to_8bit`, the source does not state these details.
    """
    x = np.asarray(x, dtype=np.float64)
    measured = x > HOLE
    if not measured.any():
        return np.zeros(x.shape, np.uint8)
    low, high = x[measured].min(), x[measured].max()
    y = 255.0 * (x - low) / (high - low) if high > low else np.full(x.shape, 127.5)
    return np.where(measured, y, 0.0).astype(np.uint8)


def unit_to_8bit_ceil(x: np.ndarray) -> np.ndarray:
    """Floats in 0 … 1 to uint8 by ⌈255·x⌉, as DADM and MMDA convert PADISI-Face before they save it as JPG.

    `decode.unit_to_8bit` rounds instead; where 255·x is not whole, this is up to one level brighter.
    """
    if not (np.all(x >= 0.0) and np.all(x <= 1.0)):
        raise ValueError("holds values outside 0 … 1 or NaN")
    return np.ceil(255.0 * np.asarray(x, dtype=np.float64)).astype(np.uint8)


TO_8BIT: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "mad": mad_to_8bit,  # Idiap's default: nσ = 3
    "std": std_to_8bit,
    "minmax": minmax_to_8bit,
}


# --- black borders and squares ------------------------------------------------------------------------------


def content_box(planes: Planes, above: int = 0) -> Box | None:
    """The smallest box of (C, H, W) that holds every pixel with a channel > `above`; None without such a pixel."""
    lit = np.any(planes > above, axis=0)
    rows, columns = np.flatnonzero(lit.any(axis=1)), np.flatnonzero(lit.any(axis=0))
    if not rows.size:
        return None
    return int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1


def crop(planes: Planes, box: Box) -> Planes:
    top, bottom, left, right = box
    return planes[:, top:bottom, left:right]


def remove_black_borders_released(planes: Planes) -> Planes:
    """`RemoveBlackBorders` as DADM released it, with its bugs, in order to reproduce its results.

    DADM runs it on each modality by itself, so the three are cropped to different boxes and lose their registration.
    It cuts off the last lit row and column, since it takes the box's last index as a slice's end. An image without
    a lit pixel raises `ValueError`, here as there.
    """
    box = content_box(planes)
    if box is None:
        raise ValueError("an all-black image has no border to remove; the released script stops here")
    top, bottom, left, right = box
    return crop(planes, (top, bottom - 1, left, right - 1))


def remove_black_borders(modalities: Sequence[Planes], above: int = 0) -> list[Planes]:
    """One box for all modalities, so that they stay registered: the smallest that loses no lit pixel of any.

    Boxes are shares of each image, since sizes differ between modalities, and are rounded outwards. A modality
    without a lit pixel does not count; when none has one, nothing is cropped. A pixel is lit when a channel is
    > `above`: JPG leaves grey levels of 1 to 3 in borders that were black.
    """
    boxes = [(content_box(planes, above), planes.shape[1:]) for planes in modalities]
    shares = [
        (box[0] / height, box[1] / height, box[2] / width, box[3] / width)
        for box, (height, width) in boxes
        if box is not None
    ]
    if not shares:
        return list(modalities)
    top, left = min(s[0] for s in shares), min(s[2] for s in shares)
    bottom, right = max(s[1] for s in shares), max(s[3] for s in shares)

    def box_in(height: int, width: int) -> Box:
        tiny = 1e-9  # a share such as 3/7 times 7 must not round past 3
        return (
            int(np.floor(top * height + tiny)),
            int(np.ceil(bottom * height - tiny)),
            int(np.floor(left * width + tiny)),
            int(np.ceil(right * width - tiny)),
        )

    return [crop(planes, box_in(*planes.shape[1:])) for planes in modalities]


def square_pad(planes: Planes) -> Planes:
    """(C, H, W) to (C, L, L), L the longer side, black on both ends; an odd pixel goes to the bottom or right."""
    _, height, width = planes.shape
    side = max(height, width)
    top, left = (side - height) // 2, (side - width) // 2
    return np.pad(planes, ((0, 0), (top, side - height - top), (left, side - width - left)))


# --- values -------------------------------------------------------------------------------------------------


def signed_unit(planes: Planes) -> np.ndarray:
    """(x − 127.5) / 127.5: exactly -1 … 1."""
    return (planes.astype(np.float32) - np.float32(127.5)) / np.float32(127.5)


def flex_values(planes: Planes) -> np.ndarray:
    """(x − 127.5) / 128, as Flex-Modal, DADM and MMDA's code: -0.996 … 0.996."""
    return (planes.astype(np.float32) - np.float32(127.5)) / np.float32(128.0)


def unit(planes: Planes) -> np.ndarray:
    """x / 255: 0 … 1."""
    return planes.astype(np.float32) / np.float32(255.0)


def clip_values(planes: Planes) -> np.ndarray:
    """(x / 255 − mean) / std per channel with CLIP's statistics; (3, H, W) only. MMDA's code does not do this."""
    if planes.shape[0] != 3:
        raise ValueError(f"CLIP's mean and std are of 3 channels, not {planes.shape[0]}")
    mean, std = (np.array(values, np.float32)[:, None, None] for values in (CLIP_MEAN, CLIP_STD))
    return (unit(planes) - mean) / std


# --- pipelines ----------------------------------------------------------------------------------------------


def three_channels(planes: Planes) -> Planes:
    """(1, H, W) repeated to (3, H, W); (3, H, W) as it is."""
    return np.repeat(planes, 3, axis=0) if planes.shape[0] == 1 else planes


def centre(planes: Planes, size: int) -> Planes:
    """The middle (C, size, size) of an image at least that large; an odd pixel is cut from the bottom or right."""
    top, left = (planes.shape[1] - size) // 2, (planes.shape[2] - size) // 2
    return crop(planes, (top, top + size, left, left + size))


@dataclass(frozen=True)
class Pipeline:
    """From decoded triplets to the network's input.

    `together` maps the three images to three images. Then `pad` may make each square, `resize` brings it to
    (C, size, size), it is repeated to three channels, and `values` maps its grey levels. `source` names where the
    pipeline comes from, and `unknown` what that source does not state and this project chose.
    """

    source: str
    size: int
    values: Callable[[Planes], np.ndarray]
    together: Callable[[Sequence[Planes]], Sequence[Planes]] = list
    pad: Callable[[Planes], Planes] = np.asarray
    resize: Callable[[Planes, int], Planes] = resize_plain
    unknown: str = ""

    def __call__(self, rgb: Planes, depth: Planes, ir: Planes) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(3, H, W), (1, H, W), (1, H, W), each of its own size, to three float32 (3, size, size)."""
        first, second, third = (
            self.values(three_channels(self.resize(self.pad(planes), self.size)))
            for planes in self.together([rgb, depth, ir])
        )
        return first, second, third


def _each_released(modalities: Sequence[Planes]) -> list[Planes]:
    return [remove_black_borders_released(planes) for planes in modalities]


def _counts_by_mad(modalities: Sequence[Planes]) -> list[Planes]:
    """Sensor counts to 8 bits by MAD; images of 8 bits (colour, WMCA's packages) stay."""
    return [planes if planes.dtype == np.uint8 else mad_to_8bit(planes) for planes in modalities]


def _centre_of_eight_sevenths(planes: Planes, size: int) -> Planes:
    return centre(resize_plain(planes, size * 8 // 7), size)


_NO_VALUES = "value normalisation is not stated; x / 255 here"
_DADM = "DADM (border removal is an optional script, for CeFA)"
_MMDA_CODE = "MMDA, released code: as DADM; not CLIP's mean and std"

PIPELINES: Mapping[str, Pipeline] = {
    "mmfas": Pipeline("mmFAS", 224, signed_unit, resize=resize, unknown="all but the size of 224"),
    "mmda_paper": Pipeline(
        "MMDA, paper", 224, clip_values, resize=resize, unknown="all but the size; CLIP's own values here"
    ),
    "mmda_code": Pipeline(_MMDA_CODE, 224, flex_values),
    "mmda_code_borders": Pipeline(_MMDA_CODE, 224, flex_values, _each_released),
    "dadm": Pipeline(_DADM, 224, flex_values),
    "dadm_borders": Pipeline(_DADM, 224, flex_values, _each_released),
    "dadm_borders_registered": Pipeline(f"{_DADM}, with one box for all", 224, flex_values, remove_black_borders),
    "flex_modal": Pipeline("Flex-Modal-FAS", 224, flex_values),
    "mmdg": Pipeline("MMDG's README", 224, flex_values, unknown="its loader is not released; as Flex-Modal here"),
    "casia_surf_baseline": Pipeline(
        "CASIA-SURF's baseline, behind Dlib and a PRNet mask, which the release has applied",
        112,
        unit,
        unknown=_NO_VALUES,
    ),
    "cefa_baseline": Pipeline(
        "CeFA's baseline, behind a 3DDFA mask, which the release has applied", 112, unit, unknown=_NO_VALUES
    ),
    "mc_cnn": Pipeline("MC-CNN, behind MTCNN and eye alignment", 128, unit, _counts_by_mad, unknown=_NO_VALUES),
    "cmfl": Pipeline("CMFL, behind MTCNN and eye alignment", 224, unit, _counts_by_mad, unknown=_NO_VALUES),
    "ca_mmdg": Pipeline("CA-MMDG, which stacks the three to 9 channels", 112, unit),
    "facebagnet": Pipeline("FaceBagNet, 9 channels and patches of 32, 48 or 64 from them", 112, unit),
    "feathernets": Pipeline(
        "FeatherNets, depth only, 256 to 224",
        224,
        unit,
        resize=_centre_of_eight_sevenths,
        unknown="the test-time crop, the centre here; a mean near .143 is known for depth and no deviation, so x / 255",
    ),
    "cefa_winner": Pipeline(
        "AlexanderParkin, winner on CeFA: RemoveBlackBorders, SquarePad, 112",
        112,
        unit,
        remove_black_borders,
        square_pad,
        unknown=f"whether each image is cropped by itself, one box for all here; {_NO_VALUES}",
    ),
    "fm_vit": Pipeline("FM-ViT (from memory of the paper, not re-checked)", 224, unit, unknown=_NO_VALUES),
}
