"""WMCA (W), layout `wmca-hdf5`: two HDF5 packages, colour and the other channels (data-set sheet, section
3.3).

`preprocessed-face-station_RGB/…/<client>_<session>_<presenter>_<type>_<pai>.hdf5` and the same below
`preprocessed-face-station_CDIT/`, each with `Frame_<k>/array`, uint8 (C, H, W): R, G, B in the one; grey,
depth, infrared, thermal in the other. The numbers k have gaps and differ between the packages: frames are paired by
the numbers that both have, and the others are noted.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from data_manifests import hdf5
from data_manifests.adapters.common import (
    AdapterResult,
    Findings,
    Frames,
    Layout,
    Options,
    Problem,
    counted,
    files_below,
    modality_columns,
    no_folder,
    read_list,
    recording_protocol,
    samples_by_recording,
)
from data_manifests.decode import is_planes, shape_text
from data_manifests.errors import BadInput
from data_manifests.index import Row
from data_manifests.parallel import parallel

COLOUR, OTHERS = "preprocessed-face-station_RGB", "preprocessed-face-station_CDIT"
DEPTH_CHANNEL, IR_CHANNEL = 1, 2
IR_NM = 860  # RealSense SR300
_FIRST = 3  # how many frames a message names of a longer list


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


def _arrays(path: Path, place: str, channels: int) -> dict[int, tuple[str, str]]:
    """Frame number → (member, shape) of one file. Raises `BadInput` naming the group that is wrong."""
    arrays: dict[int, tuple[str, str]] = {}
    with hdf5.opened(path, place) as file:
        for key in file:
            m = _FRAME.fullmatch(key)
            if m is None:
                raise BadInput(f"{place}: group {key!r} is not named Frame_<number>; copy the file again")
            array = hdf5.array(file, f"{key}/array", place)
            if not is_planes(array, 3) or array.shape[0] < channels:
                raise BadInput(f"{place}: {key}/array is not an array of {channels} channels; copy it again")
            if int(m[1]) in arrays:
                raise BadInput(f"{place}: {key} is frame {int(m[1])} a second time; copy the file again")
            arrays[int(m[1])] = (f"{key}/array", shape_text(array.shape[1], array.shape[2], array.dtype))
    return arrays


@dataclass(frozen=True)
class _Job:
    """A recording's name and its path in each package, empty where the package lacks it."""

    root: Path
    name: str
    colour: str
    others: str
    options: Options


def _recording(job: _Job) -> tuple[Frames, Findings]:
    """The frames of one recording; by names only one frame, 0, which is the containers' bare paths."""
    root, name, colour, others = job.root, job.name, job.colour, job.others
    findings = Findings(job.options.collect)
    if job.options.names_only:
        paths = {"rgb": colour, "depth": others, "ir": others}
        return {0: {modality: (path, "") for modality, path in paths.items() if path}}, findings
    rgb: dict[int, tuple[str, str]] = {}
    rest: dict[int, tuple[str, str]] = {}
    with findings.collecting(colour):
        rgb = _arrays(root / colour, colour, 3) if colour else {}
    with findings.collecting(others):
        rest = _arrays(root / others, others, IR_CHANNEL + 1) if others else {}
    if findings.problems:
        return {}, findings
    numbers = sorted(set(rgb) | set(rest))
    if colour and others:
        numbers = sorted(set(rgb) & set(rest))
        alone = [f"{k} (RGB)" if k in rgb else f"{k} (CDIT)" for k in sorted(set(rgb) ^ set(rest))]
        if alone and numbers:
            findings.notes.append(f"{name}: frames in one package only are left out: {', '.join(alone)}")
        for modalities, alone_in, other in (("rgb", rest, rgb), ("depth and ir", rgb, rest)):
            if lost := [str(k) for k in alone_in if k not in other]:
                some = ", ".join(lost[:_FIRST]) + (", …" if len(lost) > _FIRST else "")
                what = f"lacks {modalities} of {counted(len(lost), 'frame')} ({some}); restore the images"
                findings.losses.append(Problem(_stem(name), what))
    if not numbers:
        what = "the two packages share no frame" if colour and others else "holds no frame"
        findings.problem(name, f"{what}; copy the recording again")
    frames: Frames = {}
    for k in numbers:
        frames[k] = {}
        if k in rgb:
            frames[k]["rgb"] = (f"{colour}#{rgb[k][0]}[0,1,2]", rgb[k][1])
        if k in rest:
            frames[k]["depth"] = (f"{others}#{rest[k][0]}[{DEPTH_CHANNEL}]", rest[k][1])
            frames[k]["ir"] = (f"{others}#{rest[k][0]}[{IR_CHANNEL}]", rest[k][1])
    return frames, findings


def name_flaw(stem: str) -> str:
    """What is wrong with a recording's name, or the empty text."""
    m = _NAME.fullmatch(stem)
    if m is None:
        return "not named <client>_<session>_<presenter>_<type>_<pai>; rename it or move it elsewhere"
    if f"{m[4]}_{m[5]}" not in FAMILIES:
        return f"attack code {m[4]}_{m[5]} is unknown; correct the name or move the file elsewhere"
    return ""


def recording_rows(layout: str, stem: str, frames: Frames, depth_encoding: str) -> list[Row]:
    """A row for every frame of a recording whose name has no flaw (`name_flaw`)."""
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
    samples = samples_by_recording(result.rows)
    for path in sorted([*root.glob("PROTOCOL-*.csv"), *root.glob("*/PROTOCOL-*.csv")]):
        name = f"W-{path.stem.removeprefix('PROTOCOL-')}"
        with result.collecting(path.relative_to(root).as_posix()):
            listed = read_list(path, ("filepath", "group"))
            splits = ((row["filepath"].rsplit("/", 1)[-1].removesuffix(".hdf5"), row["group"]) for row in listed)
            result.protocols[name] = recording_protocol(name, path, splits, samples, result)


def _stem(name: str) -> str:
    return name.rsplit("/", 1)[-1].rsplit(".", 1)[0]


def _index(root: Path, options: Options) -> AdapterResult:
    result = AdapterResult(options.collect)
    files: dict[str, set[str]] = {}
    for package in (COLOUR, OTHERS):
        files[package] = set()
        if not (root / package).is_dir():
            result.problem(package, no_folder(root, package))
            continue
        files[package] = set(files_below(root / package, (".hdf5", ".h5"), result))
    names: list[str] = []
    places: dict[str, str] = {}
    for name in sorted(files[COLOUR] | files[OTHERS]):
        if flaw := name_flaw(_stem(name)):
            result.problem(name, flaw)
        elif _stem(name) in places:
            result.problem(name, f"is recording {_stem(name)} like {places[_stem(name)]}; keep one")
        else:
            places[_stem(name)] = name
            names.append(name)
            for package in (COLOUR, OTHERS):
                if name not in files[package]:
                    result.notes.append(f"{package}/{name}: not there, so the modalities of this package are missing")
    jobs = [
        _Job(
            root,
            name,
            f"{COLOUR}/{name}" if name in files[COLOUR] else "",
            f"{OTHERS}/{name}" if name in files[OTHERS] else "",
            options,
        )
        for name in names
    ]
    recordings = parallel(_recording, jobs, "WMCA", options.workers)
    for name, (frames, findings) in zip(names, recordings, strict=True):
        result.absorb(findings)
        result.rows += recording_rows("wmca-hdf5", _stem(name), frames, "8bit_mad")
    add_protocols(root, result)
    return result


LAYOUT = Layout("wmca-hdf5", f"{COLOUR}/face-station/<date>/002_01_000_0_00.hdf5 and {OTHERS}/…", _detect, _index)
