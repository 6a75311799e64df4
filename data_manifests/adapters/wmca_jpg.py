"""WMCA (W), layout `wmca-jpg`: the community's dump of the two packages as JPG files (data-set sheet, section
3.3).

`WMCA-Image/R_CDIT/<clip>/{color,depth,ir}/0012.jpg`: the clip is the HDF5 file's stem, the number that of its
`Frame_<k>`. The depth's MAD normalisation was done before, so it stays `8bit_mad`, now with JPG's losses.

In two clips of the dump depth and infrared bear another number than the colour (frames 12 and 20 of
100_03_015_2_10 and 101_06_067_1_02). Frames are paired by number alone: such a frame has no depth and
infrared, the other no colour, and a note names both.
"""

from pathlib import Path

from data_manifests.adapters.common import AdapterResult, Clip, Frames, Layout, Options, folders, read_image_clips
from data_manifests.adapters.wmca import add_protocols, clip_flaw, clip_rows

TOP = "WMCA-Image/R_CDIT"
FOLDERS = {"rgb": "color", "depth": "depth", "ir": "ir"}


def _prefix(root: Path) -> str:
    """`WMCA-Image/R_CDIT/`, `R_CDIT/` or nothing: the root may be any of these folders."""
    return next((f"{top}/" for top in (TOP, "R_CDIT") if (root / top).is_dir()), "")


def _detect(root: Path) -> bool:
    return any(not clip_flaw(path.parent.name) for path in (root / _prefix(root)).glob("[0-9]*_*/color"))


def _unpaired(clip: str, frames: Frames) -> str:
    """The note on frames of which another number stands in for depth and infrared; else the empty text."""
    colour = [k for k, images in frames.items() if set(images) == {"rgb"}]
    others = [k for k, images in frames.items() if "rgb" not in images]
    if not colour or not others:
        return ""
    numbers = ", ".join([*(f"{k} (colour)" for k in colour), *(f"{k} (depth, infrared)" for k in others)])
    return f"{clip}: frames of different numbers are not paired: {numbers}"


def _index(root: Path, options: Options) -> AdapterResult:
    result = AdapterResult(options.collect)
    clips = []
    top = _prefix(root)
    for name, shown, path in folders(root / top, top.rstrip("/"), result):
        if flaw := clip_flaw(name):
            result.problem(shown, flaw)
        else:
            clips.append(Clip(path, shown, FOLDERS))
    for clip, frames in zip(clips, read_image_clips(clips, "WMCA", options, result), strict=True):
        if note := _unpaired(clip.folder.name, frames):
            result.notes.append(note)
        result.rows += clip_rows("wmca-jpg", clip.folder.name, frames, "8bit_mad")
    add_protocols(root, result)
    return result


LAYOUT = Layout("wmca-jpg", f"{TOP}/002_01_000_0_00/color/0012.jpg", _detect, _index)
