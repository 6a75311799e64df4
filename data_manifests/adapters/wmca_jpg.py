"""WMCA (W), layout `wmca-jpg`: the community's dump of the two packages as JPG files (data-set sheet, section
3.3).

`WMCA-Image/R_CDIT/<recording>/{color,depth,ir}/0012.jpg`: the recording has the name of its HDF5 file, the frame the
number of its `Frame_<k>`. The depth was normalised by MAD before, so it stays `8bit_mad`, now with JPG's losses.

In two recordings of the dump depth and infrared have another number than the colour (frames 12 and 20 of
100_03_015_2_10 and 101_06_067_1_02). Frames are paired by number alone, so one such frame has no depth and infrared
and the other no colour, and a note names both.
"""

from pathlib import Path

from data_manifests.adapters.common import AdapterResult, Frames, ImageFolder, Layout, Options, folders, read_frames
from data_manifests.adapters.wmca import add_protocols, name_flaw, recording_rows

TOP = "WMCA-Image/R_CDIT"
FOLDERS = {"rgb": "color", "depth": "depth", "ir": "ir"}


def _prefix(root: Path) -> str:
    """`WMCA-Image/R_CDIT/`, `R_CDIT/` or the empty text: the root may be any of these folders."""
    return next((f"{top}/" for top in (TOP, "R_CDIT") if (root / top).is_dir()), "")


def _detect(root: Path) -> bool:
    clips = (root / _prefix(root)).glob("[0-9]*_*/")
    return any(not name_flaw(path.name) and any((path / name).is_dir() for name in FOLDERS.values()) for path in clips)


def _unpaired(recording: str, frames: Frames) -> str:
    """A note on frames whose depth and infrared have another number, or the empty text."""
    colour = [k for k, images in frames.items() if set(images) == {"rgb"}]
    others = [k for k, images in frames.items() if "rgb" not in images]
    if not colour or not others:
        return ""
    numbers = ", ".join([*(f"{k} (colour)" for k in colour), *(f"{k} (depth, infrared)" for k in others)])
    return f"{recording}: frames of different numbers are not paired: {numbers}"


def _index(root: Path, options: Options) -> AdapterResult:
    result = AdapterResult(options.collect)
    recordings = []
    top = _prefix(root)
    for name, place, path in folders(root / top, top.rstrip("/"), result):
        if flaw := name_flaw(name):
            result.problem(place, flaw)
        else:
            recordings.append(ImageFolder(path, place, FOLDERS))
    for recording, frames in zip(recordings, read_frames(recordings, "WMCA", options, result), strict=True):
        if note := _unpaired(recording.path.name, frames):
            result.notes.append(note)
        result.rows += recording_rows("wmca-jpg", recording.path.name, frames, "8bit_mad")
    add_protocols(root, result)
    return result


LAYOUT = Layout("wmca-jpg", f"{TOP}/002_01_000_0_00/color/0012.jpg", _detect, _index)
