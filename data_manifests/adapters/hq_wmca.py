"""HQ-WMCA (H): layout `hqwmca-hdf5`, one HDF5 file a recording with a dataset a stream (data-set sheet,
section 3.4).

`<site>_<session>_<client>_<presenter>_<type>_<subtype>_<pai>-<hash>.h5` holds `BASLER_BGR` (T, 3, H, W),
`INTEL_DEPTH` (T, 1, H, W) in millimetres and the short-wave infrared bands `BOBCAT_<nm>nm` (T, 1, H, W).
Streams have their own frame rates: `Options.frames` moments are taken evenly from the colour stream and the
other streams give their frame at the same share of the recording.

mmFAS feeds SWIR in the place of infrared and does not say which band. 1300 nm is the default: the longest
band before the water absorption around 1450 nm, where skin still reflects as brightly as in the near infrared
that the source set is taken in, while inks, dyes and skin tones no longer show.
"""

import re
from pathlib import Path

import h5py
import numpy as np

from data_manifests.adapters.common import (
    AdapterResult,
    Frames,
    Layout,
    Options,
    clip_protocol,
    files_below,
    modality_columns,
    read_lines,
    samples_by_clip,
)
from data_manifests.decode import shape_text
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


def detect(root: Path) -> bool:
    return any(_NAME.fullmatch(path.stem) for path in root.rglob("*.h5"))


def _recording(job: tuple[Path, str, int, int]) -> tuple[Frames, list[str]]:
    """Frames of one recording, and the infrared bands it has when the wanted one is not there."""
    root, name, swir_nm, count = job
    infrared = f"BOBCAT_{swir_nm}nm"
    streams = {"rgb": (COLOUR, "[2,1,0]", 3), "depth": (DEPTH, "[0]", 1), "ir": (infrared, "[0]", 1)}
    found: dict[str, tuple[int, str]] = {}
    try:
        with h5py.File(root / name, "r") as file:
            bands = sorted(key for key in file if key.startswith("BOBCAT_"))
            for modality, (stream, _, channels) in streams.items():
                if stream not in file:
                    continue
                array = file[stream]
                if not isinstance(array, h5py.Dataset) or array.ndim != 4 or array.shape[1] != channels:
                    raise BadInput(f"{name}: {stream} is not an array (frames, {channels}, H, W); copy it again")
                if array.shape[0]:
                    found[modality] = array.shape[0], shape_text(array.shape[2], array.shape[3], array.dtype)
    except OSError:
        raise BadInput(f"{name}: not a complete HDF5 file; copy it again") from None
    if not found:
        raise BadInput(f"{name}: holds none of {COLOUR}, {DEPTH}, {infrared}; copy it again")
    length = next(iter(found.values()))[0]
    frames: Frames = {}
    for moment in np.linspace(0.0, 1.0, min(count, length)):
        images = {}
        for modality, (own, shape) in found.items():
            stream, channels_text, _ = streams[modality]
            images[modality] = (f"{name}#{stream}[{_nearest(moment, own)}]{channels_text}", shape)
        frames[_nearest(moment, length)] = images
    return frames, [] if "ir" in found else bands


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
    return listed


def index(root: Path, options: Options) -> AdapterResult:
    result = AdapterResult()
    names = [path.relative_to(root).as_posix() for path in files_below(root, (".h5", ".hdf5"), result.ignored)]
    for name in names:
        if not _NAME.fullmatch(Path(name).stem):
            raise BadInput(
                f"{name}: not named <site>_<session>_<client>_<presenter>_<type>_<subtype>_<pai>-<hash>.h5; "
                "rename or remove it"
            )
    jobs = [(root, name, options.swir_nm, options.frames) for name in names]
    recordings = parallel(_recording, jobs, "HQ-WMCA", options.workers)
    if not any("ir" in images for frames, _ in recordings for images in frames.values()):
        bands = ", ".join(sorted({band for _, other in recordings for band in other})) or "none"
        raise BadInput(f"{root}: no recording has BOBCAT_{options.swir_nm}nm; choose --swir-nm among {bands}")
    for name, (frames, _) in zip(names, recordings, strict=True):
        stem = Path(name).stem
        m = _NAME.fullmatch(stem)
        assert m is not None  # checked above
        client, presenter, code, kind = m.groups()
        if int(kind) not in FAMILIES:
            raise BadInput(f"{name}: attack type {kind} is unknown; correct the name or remove the file")
        family = FAMILIES[int(kind)]
        for frame, images in frames.items():
            result.rows.append(
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
                    depth_encoding="z16_mm" if "depth" in images else "",
                    ir_nm=options.swir_nm if "ir" in images else None,
                )
            )
    samples = samples_by_clip(result.rows)
    bonafide = {row.clip_id: row.bonafide for row in result.rows}
    for path in sorted([*root.glob("PROTOCOL-*.csv"), *root.glob("*/PROTOCOL-*.csv")]):
        name = f"H-{path.stem.removeprefix('PROTOCOL-')}"
        listed = _protocol_lines(path)
        for video, live, _ in listed:
            if video in bonafide and bonafide[video] != live:
                raise BadInput(
                    f"{path}: the label of {video} is not that of its name (0 is bona fide); restore the list"
                )
        clips = ((video, split) for video, _, split in listed)
        result.protocols[name] = clip_protocol(name, path, clips, samples, result.notes)
    return result


LAYOUT = Layout("hqwmca-hdf5", "1_01_0002_0000_00_00_000-0123abcd.h5", detect, index)
