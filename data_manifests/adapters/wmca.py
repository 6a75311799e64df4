"""WMCA (W): layout `wmca-hdf5`, two HDF5 packages, colour and the other channels (data-set sheet, section
3.3).

`preprocessed-face-station_RGB/…/<client>_<session>_<presenter>_<type>_<pai>.hdf5` and the same below
`preprocessed-face-station_CDIT/`, each with `Frame_<k>/array`, uint8 (C, H, W): R, G, B in the one; grey,
depth, infrared, thermal in the other. Numbers k have gaps and differ between the packages: frames are paired
on the numbers both have, and the others are reported.
"""

import re
from collections.abc import Sequence
from pathlib import Path

import h5py

from data_manifests.adapters.common import (
    AdapterResult,
    Frames,
    Layout,
    Options,
    clip_protocol,
    files_below,
    modality_columns,
    read_list,
    samples_by_clip,
)
from data_manifests.decode import shape_text
from data_manifests.errors import BadInput
from data_manifests.index import Row
from data_manifests.parallel import parallel

COLOUR, OTHERS = "preprocessed-face-station_RGB", "preprocessed-face-station_CDIT"
DEPTH_CHANNEL, IR_CHANNEL = 1, 2
IR_NM = 860  # RealSense SR300


def _families() -> dict[str, str]:
    """`<type>_<pai>` → attack family, empty for bona fide (Idiap's converter table)."""
    numbers: dict[str, dict[int, Sequence[int]]] = {
        "": {0: (0, 1, 2)},
        "glasses": {1: (1, 3, 4, 5, 6, 7, 15, 16)},
        "rigidmask": {1: (2, 13, 14), 2: range(12, 18)},
        "wig": {1: range(8, 13)},
        "fakehead": {2: range(1, 8)},
        "papermask": {2: range(8, 12)},
        "flexiblemask": {2: (18, *range(75, 100))},
        "print": {3: (1, 2, 3, 4, 6, 7, 8, 9, 11, 12, 13, 14)},
        "replay": {3: (5, 10, 15), 4: range(1, 19)},
        "makeup": {5: range(100)},
    }
    return {
        f"{kind}_{pai:02}": family for family, kinds in numbers.items() for kind, pais in kinds.items() for pai in pais
    }


FAMILIES = _families()
_NAME = re.compile(r"([0-9]{3})_([0-9]{2})_([0-9]{3})_([0-9])_([0-9]{2})")
_FRAME = re.compile(r"frame_([0-9]+)", re.IGNORECASE)


def detect(root: Path) -> bool:
    return (root / COLOUR).is_dir() or (root / OTHERS).is_dir()


def _arrays(path: Path, shown: str, channels: int) -> dict[int, tuple[str, str]]:
    """Frame number → (member, shape) of one file."""
    found: dict[int, tuple[str, str]] = {}
    try:
        with h5py.File(path, "r") as file:
            for key in file:
                m = _FRAME.fullmatch(key)
                if m is None:
                    raise BadInput(f"{shown}: group {key!r} is not named Frame_<number>; copy the file again")
                array = file.get(f"{key}/array")
                if not isinstance(array, h5py.Dataset) or array.ndim != 3 or array.shape[0] < channels:
                    raise BadInput(f"{shown}: {key}/array is not an array of {channels} channels; copy it again")
                if int(m[1]) in found:
                    raise BadInput(f"{shown}: {key} is frame {int(m[1])} a second time; copy the file again")
                found[int(m[1])] = (f"{key}/array", shape_text(array.shape[1], array.shape[2], array.dtype))
    except OSError:
        raise BadInput(f"{shown}: not a complete HDF5 file; copy it again") from None
    return found


def _clip(job: tuple[Path, str, bool, bool]) -> tuple[Frames, list[str]]:
    """Frames of one clip and notes; the flags say whether each package has the clip."""
    root, name, has_colour, has_others = job
    colour, others = f"{COLOUR}/{name}", f"{OTHERS}/{name}"
    rgb = _arrays(root / colour, colour, 3) if has_colour else {}
    rest = _arrays(root / others, others, IR_CHANNEL + 1) if has_others else {}
    notes = []
    numbers = sorted(set(rgb) | set(rest))
    if has_colour and has_others:
        numbers = sorted(set(rgb) & set(rest))
        alone = [f"{k} (RGB)" if k in rgb else f"{k} (CDIT)" for k in sorted(set(rgb) ^ set(rest))]
        if alone:
            notes.append(f"{name}: frames in one package only are left out: {', '.join(alone)}")
    if not numbers:
        raise BadInput(f"{name}: the two packages share no frame; copy the clip again or remove it from both")
    frames: Frames = {}
    for k in numbers:
        frames[k] = {}
        if k in rgb:
            frames[k]["rgb"] = (f"{colour}#{rgb[k][0]}[0,1,2]", rgb[k][1])
        if k in rest:
            frames[k]["depth"] = (f"{others}#{rest[k][0]}[{DEPTH_CHANNEL}]", rest[k][1])
            frames[k]["ir"] = (f"{others}#{rest[k][0]}[{IR_CHANNEL}]", rest[k][1])
    return frames, notes


def index(root: Path, options: Options) -> AdapterResult:
    result = AdapterResult()
    have: dict[str, set[str]] = {}
    for package in (COLOUR, OTHERS):
        if not (root / package).is_dir():
            raise BadInput(f"{package}: no such folder below {root}; WMCA needs both HDF5 packages")
        files = files_below(root / package, (".hdf5", ".h5"), result.ignored)
        have[package] = {path.relative_to(root / package).as_posix() for path in files}
    names = sorted(have[COLOUR] | have[OTHERS])
    for name in names:
        for package in (COLOUR, OTHERS):
            if name not in have[package]:
                result.notes.append(f"{package}/{name}: not there, so the modalities of this package are missing")
    jobs = [(root, name, name in have[COLOUR], name in have[OTHERS]) for name in names]
    for name, (frames, notes) in zip(names, parallel(_clip, jobs, "WMCA", options.workers), strict=True):
        result.notes += notes
        stem = Path(name).stem
        m = _NAME.fullmatch(stem)
        if m is None:
            raise BadInput(f"{name}: not named <client>_<session>_<presenter>_<type>_<pai>.hdf5; rename or remove it")
        client, _, presenter, kind, pai = m.groups()
        code = f"{kind}_{pai}"
        if code not in FAMILIES:
            raise BadInput(f"{name}: attack code {code} is unknown; correct the name or remove the file")
        family = FAMILIES[code]
        for frame, images in frames.items():
            result.rows.append(
                Row(
                    sample_id=f"W:{stem}:{frame}",
                    dataset="W",
                    layout="wmca-hdf5",
                    clip_id=stem,
                    frame=frame,
                    subject_id=f"W:{client}",
                    presenter_id="" if presenter == "000" else f"W:{presenter}",
                    source_id=f"W:{client}" if family else "",
                    label="attack" if family else "bonafide",
                    attack_family=family,
                    attack_code=code,
                    **modality_columns(images),
                    depth_encoding="8bit_mad" if "depth" in images else "",
                    ir_nm=IR_NM if "ir" in images else None,
                )
            )
    samples = samples_by_clip(result.rows)
    for path in sorted([*root.glob("PROTOCOL-*.csv"), *root.glob("*/PROTOCOL-*.csv")]):
        name = f"W-{path.stem.removeprefix('PROTOCOL-')}"
        listed = read_list(path, ("filepath", "group"))
        clips = ((row["filepath"].rsplit("/", 1)[-1].removesuffix(".hdf5"), row["group"]) for row in listed)
        result.protocols[name] = clip_protocol(name, path, clips, samples, result.notes)
    return result


LAYOUT = Layout("wmca-hdf5", f"{COLOUR}/face-station/<date>/002_01_000_0_00.hdf5 and {OTHERS}/…", detect, index)
