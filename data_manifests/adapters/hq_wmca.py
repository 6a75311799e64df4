"""HQ-WMCA (H), layout `hqwmca-hdf5`: an HDF5 file for each recording, a dataset for each stream (data-set sheet,
section 3.4).

`<site>_<session>_<client>_<presenter>_<type>_<subtype>_<pai>-<hash>.h5` holds `BASLER_BGR` (T, 3, H, W),
`INTEL_DEPTH` (T, 1, H, W) in millimetres and the short-wave infrared bands `BOBCAT_<nm>nm` (T, 1, H, W).
Streams have their own frame rates: `Options.frames` moments are taken evenly from the colour stream and the
other streams give their frame at the same share of the recording.

mmFAS takes SWIR as its infrared and does not say which band. 1300 nm is the default: the longest
band before the water absorption around 1450 nm, where skin still reflects as brightly as in the near infrared
that the source set is taken in, while inks, dyes and skin tones no longer show.

An option chooses between two kinds of depth: the sensor's own, or maps that the user supplies. mmFAS made maps
with PRNet, since it calls the sensor's depth inaccessible. Maps are 8-bit images
`<Options.depth_maps>/<recording>/<frame>.png` below the root, under the colour frame's number. They are read
unchanged, so whoever makes them must zero those of prints and replays, as mmFAS says it did. A frame without a map
has no depth.
"""

import re
from pathlib import Path

import numpy as np

from data_manifests import hdf5
from data_manifests.adapters.common import (
    AdapterResult,
    Findings,
    Frames,
    ImageFolder,
    Layout,
    Options,
    files_below,
    holds,
    image_frames,
    modality_columns,
    read_lines,
    recording_protocol,
    samples_by_recording,
)
from data_manifests.decode import is_planes, shape_text
from data_manifests.errors import BadInput
from data_manifests.index import Row
from data_manifests.parallel import parallel

COLOUR, DEPTH = "BASLER_BGR", "INTEL_DEPTH"
FAMILIES = {
    0: "",
    1: "glasses",
    2: "fakehead",
    3: "print",
    4: "replay",
    5: "rigidmask",
    6: "flexiblemask",
    7: "papermask",
    8: "wig",
    9: "tattoo",
    10: "makeup",
}
_NAME = re.compile(r"[0-9]+_[0-9]+_([0-9]+)_([0-9]+)_(([0-9]+)_[0-9]+_[0-9]+)-[0-9A-Za-z]+")


def _detect(root: Path) -> bool:
    return holds(root, (".h5", ".hdf5"), lambda name: _NAME.fullmatch(Path(name).stem))


def _recording(job: tuple[Path, str, Options]) -> tuple[Frames, list[str], Findings]:
    """The frames of one recording and, when it lacks the chosen infrared band, the bands that it has.

    By names only it has one frame, 0, which is the container's bare path.
    """
    root, name, options = job
    findings = Findings(options.collect)
    frames: Frames = {}
    bands: list[str] = []
    if options.names_only:
        frames = {0: dict.fromkeys(("rgb", "depth", "ir"), (name, ""))}
    else:
        with findings.collecting(name):
            frames, bands = _moments(root, name, options)
    if options.depth_maps:
        _supplied_depth(root, name, options, frames, findings)
    return frames, bands, findings


def _moments(root: Path, name: str, options: Options) -> tuple[Frames, list[str]]:
    infrared = f"BOBCAT_{options.swir_nm}nm"
    streams = {"rgb": (COLOUR, "[2,1,0]", 3), "depth": (DEPTH, "[0]", 1), "ir": (infrared, "[0]", 1)}
    sizes: dict[str, tuple[int, str]] = {}
    with hdf5.opened(root / name, name) as file:
        bands = sorted(key for key in file if key.startswith("BOBCAT_"))
        for modality, (stream, _, channels) in streams.items():
            if stream not in file:
                continue
            array = hdf5.array(file, stream, name)
            if array.ndim == 4 and array.shape[0] == 0:
                continue  # a stream that was switched off
            if not is_planes(array, 4) or array.shape[1] != channels:
                raise BadInput(f"{name}: {stream} is not an array (frames, {channels}, H, W); copy it again")
            sizes[modality] = array.shape[0], shape_text(array.shape[2], array.shape[3], array.dtype)
    if not sizes:
        raise BadInput(f"{name}: holds none of {COLOUR}, {DEPTH}, {infrared}; copy it again")
    length = next(iter(sizes.values()))[0]
    frames: Frames = {}
    for moment in np.linspace(0.0, 1.0, min(options.frames, length)):
        images = {}
        for modality, (own, shape) in sizes.items():
            stream, channels_text, _ = streams[modality]
            images[modality] = (f"{name}#{stream}[{_nearest(moment, own)}]{channels_text}", shape)
        frames[_nearest(moment, length)] = images
    return frames, [] if "ir" in sizes else bands


def _supplied_depth(root: Path, name: str, options: Options, frames: Frames, findings: Findings) -> None:
    """Replace the sensor's depth by the supplied maps; by names only, by the first of them."""
    place = f"{options.depth_maps}/{Path(name).stem}"
    maps: Frames = {}
    if (root / place).is_dir():
        maps = image_frames(ImageFolder(root / place, place, {}), "depth", options.names_only, findings)
    if options.names_only and maps:
        maps = {0: maps[min(maps)]}
    for frame, images in frames.items():
        images.pop("depth", None)
        if frame not in maps:
            continue
        path, shape = maps[frame]["depth"]
        if shape.endswith("uint8") or options.names_only:
            images["depth"] = maps[frame]["depth"]
        else:
            findings.problem(path, f"is {shape}, and a supplied depth map has 8 bits; convert it")


def _nearest(moment: float, length: int) -> int:
    return int(np.floor(moment * (length - 1) + 0.5))


def _protocol_lines(path: Path) -> list[tuple[str, bool, str]]:
    """(recording, bona fide, split) of an official list `video_name,label,attack/<Type>,split`, header or not."""
    listed = []
    for number, fields in enumerate(read_lines(path), 1):
        labelled = len(fields) == 4 and fields[1].strip().isdigit()
        if number == 1 and not labelled:
            continue  # the header
        if not labelled:
            raise BadInput(f"{path}, row {number}: not video_name,label,type,split; restore the list")
        video = fields[0].strip().rsplit("/", 1)[-1].removesuffix(".h5")
        listed.append((video, fields[1].strip() == "0", fields[3].strip()))
    if not listed:
        raise BadInput(f"{path}: names no recording; restore the list, or delete it to go without its protocol")
    return listed


def _index(root: Path, options: Options) -> AdapterResult:
    result = AdapterResult(options.collect)
    maps = Path(options.depth_maps)
    if options.depth_maps and (maps.is_absolute() or ".." in maps.parts or not (root / maps).is_dir()):
        raise BadInput(f"--depth-maps {options.depth_maps}: no such folder below {root}; name one with the maps")
    names = []
    for name in files_below(root, (".h5", ".hdf5"), result):
        if flaw := _name_flaw(Path(name).stem):
            result.problem(name, flaw)
        else:
            names.append(name)
    recordings = parallel(_recording, [(root, name, options) for name in names], "HQ-WMCA", options.workers)
    images = [images for frames, _, _ in recordings for images in frames.values()]
    if images and not any("ir" in modalities for modalities in images):
        bands = ", ".join(sorted({band for _, other, _ in recordings for band in other})) or "none"
        result.problem(str(root), f"no recording has BOBCAT_{options.swir_nm}nm; choose --swir-nm among {bands}")
    for name, (frames, _, findings) in zip(names, recordings, strict=True):
        result.absorb(findings)
        result.rows += _rows(Path(name).stem, frames, options)
    _add_protocols(root, result)
    return result


def _name_flaw(stem: str) -> str:
    """What is wrong with a recording's name, else the empty text."""
    m = _NAME.fullmatch(stem)
    if m is None:
        pattern = "<site>_<session>_<client>_<presenter>_<type>_<subtype>_<pai>-<hash>.h5"
        return f"not named {pattern}; rename it or move it elsewhere"
    if int(m[4]) not in FAMILIES:
        return f"attack type {m[4]} is unknown; correct the name or move the file elsewhere"
    return ""


def _rows(stem: str, frames: Frames, options: Options) -> list[Row]:
    m = _NAME.fullmatch(stem)
    assert m is not None  # _name_flaw
    client, presenter, code, kind = m.groups()
    family = FAMILIES[int(kind)]
    return [
        Row(
            sample_id=f"H:{stem}:{frame}",
            dataset="H",
            layout="hqwmca-hdf5",
            clip_id=stem,
            frame=frame,
            subject_id=f"H:{client}",
            presenter_id="" if int(presenter) == 0 else f"H:{presenter}",
            source_id=f"H:{client}" if family else "",
            label="attack" if family else "bonafide",
            attack_family=family,
            attack_code=code,
            **modality_columns(images),
            depth_encoding=("8bit_estimated" if options.depth_maps else "z16_mm") if "depth" in images else "",
            ir_nm=options.swir_nm if "ir" in images else None,
        )
        for frame, images in frames.items()
    ]


def _add_protocols(root: Path, result: AdapterResult) -> None:
    """`H-<name>` of every official `PROTOCOL-<name>.csv` at the root or one folder below."""
    samples = samples_by_recording(result.rows)
    bonafide = {row.clip_id: row.bonafide for row in result.rows}
    for path in sorted([*root.glob("PROTOCOL-*.csv"), *root.glob("*/PROTOCOL-*.csv")]):
        name = f"H-{path.stem.removeprefix('PROTOCOL-')}"
        with result.collecting(path.relative_to(root).as_posix()):
            listed = _protocol_lines(path)
            for video, live, _ in listed:
                if bonafide.get(video, live) != live:
                    raise BadInput(
                        f"{path}: the label of {video} is not that of its name (0 is bona fide); restore the list"
                    )
            splits = ((video, split) for video, _, split in listed)
            result.protocols[name] = recording_protocol(name, path, splits, samples, result)


LAYOUT = Layout("hqwmca-hdf5", "1_01_0002_0000_00_00_000-0123abcd.h5", _detect, _index)
