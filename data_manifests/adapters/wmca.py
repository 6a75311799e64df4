"""WMCA (W), layout `wmca-hdf5`: two HDF5 packages, colour and the other channels (data-set sheet, section
3.3).

`preprocessed-face-station_RGB/…/<client>_<session>_<presenter>_<type>_<pai>.hdf5` and the same below
`preprocessed-face-station_CDIT/`, each with `Frame_<k>/array`, uint8 (C, H, W): R, G, B in the one; grey,
depth, infrared, thermal in the other. Numbers k have gaps and differ between the packages: frames are paired
on the numbers both have, and the others are noted.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import h5py

from data_manifests.adapters.common import (
    AdapterResult,
    Findings,
    Frames,
    Layout,
    Options,
    clip_protocol,
    files_below,
    modality_columns,
    read_list,
    samples_by_clip,
)
from data_manifests.decode import damage_as, is_planes, shape_text
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


def _detect(root: Path) -> bool:
    return (root / COLOUR).is_dir() or (root / OTHERS).is_dir()


def _arrays(path: Path, shown: str, channels: int) -> dict[int, tuple[str, str]]:
    """Frame number → (member, shape) of one file. Raises `BadInput` naming the group that is wrong."""
    found: dict[int, tuple[str, str]] = {}
    with damage_as(f"{shown}: not a complete HDF5 file; copy it again"), h5py.File(path, "r") as file:
        for key in file:
            m = _FRAME.fullmatch(key)
            if m is None:
                raise BadInput(f"{shown}: group {key!r} is not named Frame_<number>; copy the file again")
            array = file.get(f"{key}/array")
            if not is_planes(array, 3) or array.shape[0] < channels:
                raise BadInput(f"{shown}: {key}/array is not an array of {channels} channels; copy it again")
            if int(m[1]) in found:
                raise BadInput(f"{shown}: {key} is frame {int(m[1])} a second time; copy the file again")
            found[int(m[1])] = (f"{key}/array", shape_text(array.shape[1], array.shape[2], array.dtype))
    return found


@dataclass(frozen=True)
class _Job:
    """A clip's name, and its path in either package, empty where it is not there."""

    root: Path
    name: str
    colour: str
    others: str
    options: Options


def _clip(job: _Job) -> tuple[Frames, Findings]:
    """Frames of one clip; by names only one frame, 0, which is the containers' bare paths."""
    root, name, colour, others = job.root, job.name, job.colour, job.others
    found = Findings(job.options.collect)
    if job.options.names_only:
        paths = {"rgb": colour, "depth": others, "ir": others}
        return {0: {modality: (path, "") for modality, path in paths.items() if path}}, found
    rgb: dict[int, tuple[str, str]] = {}
    rest: dict[int, tuple[str, str]] = {}
    with found.collecting(colour):
        rgb = _arrays(root / colour, colour, 3) if colour else {}
    with found.collecting(others):
        rest = _arrays(root / others, others, IR_CHANNEL + 1) if others else {}
    if found.problems:
        return {}, found
    numbers = sorted(set(rgb) | set(rest))
    if colour and others:
        numbers = sorted(set(rgb) & set(rest))
        alone = [f"{k} (RGB)" if k in rgb else f"{k} (CDIT)" for k in sorted(set(rgb) ^ set(rest))]
        if alone and numbers:
            found.notes.append(f"{name}: frames in one package only are left out: {', '.join(alone)}")
    if not numbers:
        what = "the two packages share no frame" if colour and others else "holds no frame"
        found.problem(name, f"{what}; copy the clip again or remove it from both packages")
    frames: Frames = {}
    for k in numbers:
        frames[k] = {}
        if k in rgb:
            frames[k]["rgb"] = (f"{colour}#{rgb[k][0]}[0,1,2]", rgb[k][1])
        if k in rest:
            frames[k]["depth"] = (f"{others}#{rest[k][0]}[{DEPTH_CHANNEL}]", rest[k][1])
            frames[k]["ir"] = (f"{others}#{rest[k][0]}[{IR_CHANNEL}]", rest[k][1])
    return frames, found


def clip_flaw(stem: str) -> str:
    """What is wrong with a clip's name, else the empty text."""
    m = _NAME.fullmatch(stem)
    if m is None:
        return "not named <client>_<session>_<presenter>_<type>_<pai>; rename or remove it"
    if f"{m[4]}_{m[5]}" not in FAMILIES:
        return f"attack code {m[4]}_{m[5]} is unknown; correct the name or remove it"
    return ""


def clip_rows(layout: str, stem: str, frames: Frames, depth_encoding: str) -> list[Row]:
    """A row for every frame of a clip of a good name (`clip_flaw`)."""
    m = _NAME.fullmatch(stem)
    assert m is not None
    client, _, presenter, kind, pai = m.groups()
    code = f"{kind}_{pai}"
    family = FAMILIES[code]
    return [
        Row(
            sample_id=f"W:{stem}:{frame}",
            dataset="W",
            layout=layout,
            clip_id=stem,
            frame=frame,
            subject_id=f"W:{client}",
            presenter_id="" if presenter == "000" else f"W:{presenter}",
            source_id=f"W:{client}" if family else "",
            label="attack" if family else "bonafide",
            attack_family=family,
            attack_code=code,
            **modality_columns(images),
            depth_encoding=depth_encoding if "depth" in images else "",
            ir_nm=IR_NM if "ir" in images else None,
        )
        for frame, images in frames.items()
    ]


def add_protocols(root: Path, result: AdapterResult) -> None:
    """`W-<name>` of every official `PROTOCOL-<name>.csv` at the root or one folder below."""
    samples = samples_by_clip(result.rows)
    for path in sorted([*root.glob("PROTOCOL-*.csv"), *root.glob("*/PROTOCOL-*.csv")]):
        name = f"W-{path.stem.removeprefix('PROTOCOL-')}"
        with result.collecting(path.relative_to(root).as_posix()):
            listed = read_list(path, ("filepath", "group"))
            clips = ((row["filepath"].rsplit("/", 1)[-1].removesuffix(".hdf5"), row["group"]) for row in listed)
            result.protocols[name] = clip_protocol(name, path, clips, samples, result.notes)


def _stem(name: str) -> str:
    return name.rsplit("/", 1)[-1].rsplit(".", 1)[0]


def _index(root: Path, options: Options) -> AdapterResult:
    result = AdapterResult(options.collect)
    have: dict[str, set[str]] = {}
    for package in (COLOUR, OTHERS):
        have[package] = set()
        if not (root / package).is_dir():
            result.problem(package, f"no such folder below {root}; WMCA needs both HDF5 packages")
            continue
        have[package] = set(files_below(root / package, (".hdf5", ".h5"), result))
    names: list[str] = []
    places: dict[str, str] = {}
    for name in sorted(have[COLOUR] | have[OTHERS]):
        if flaw := clip_flaw(_stem(name)):
            result.problem(name, flaw)
        elif _stem(name) in places:
            result.problem(name, f"is clip {_stem(name)} like {places[_stem(name)]}; keep one")
        else:
            places[_stem(name)] = name
            names.append(name)
            for package in (COLOUR, OTHERS):
                if name not in have[package]:
                    result.notes.append(f"{package}/{name}: not there, so the modalities of this package are missing")
    jobs = [
        _Job(
            root,
            name,
            f"{COLOUR}/{name}" if name in have[COLOUR] else "",
            f"{OTHERS}/{name}" if name in have[OTHERS] else "",
            options,
        )
        for name in names
    ]
    clips = parallel(_clip, jobs, "WMCA", options.workers)
    for name, (frames, found) in zip(names, clips, strict=True):
        result.absorb(found)
        result.rows += clip_rows("wmca-hdf5", _stem(name), frames, "8bit_mad")
    add_protocols(root, result)
    return result


LAYOUT = Layout("wmca-hdf5", f"{COLOUR}/face-station/<date>/002_01_000_0_00.hdf5 and {OTHERS}/…", _detect, _index)
