"""PADISI-Face, USC part (P), layout `padisi-npz`: one .npz file for each capture (data-set sheet, section 3.5).

`ID_<transaction>_<trial>_<trial_name>.npz` or `<trial>.npz` anywhere below the root, key `data`, float 0 … 1
of shape (1, 22, H, W): 0–2 blue, green, red, 3 RealSense near infrared, 4 RealSense depth, then channels that are
not read. `face_partitions/*_ground_truth.csv` holds the classes and `*_partition_*.csv` the splits. Only the ids and
the code of the first are read, never its demographic columns.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from data_manifests.adapters.common import (
    AdapterResult,
    Findings,
    Layout,
    Options,
    files_below,
    holds,
    list_files,
    modality_columns,
    read_list,
    recording_protocol,
    samples_by_recording,
)
from data_manifests.adapters.subjects import subject_code
from data_manifests.decode import npz_shape, shape_text
from data_manifests.errors import BadInput
from data_manifests.index import Row
from data_manifests.parallel import parallel

LISTS = ("face_partitions", "data/face_partitions")
UNPICKLED = "padisi_USC_FACE_unpickled"  # written by `padisi_joblib`
CHANNELS = 22
IR_NM = 850  # RealSense
BONAFIDE = "m00000"
FAMILIES = {
    "01": "glasses",
    "02": "print",
    "03": "fakehead",
    "04": "halfmask",
    "05": "transparentmask",
    "06": "makeup",
    "07": "silicone",
    "08": "glasses",
    "09": "tattoo",
}
_IDENTIFIER = re.compile(r"ID_([^_]+)_([^_]+)_(.+)")


@dataclass(frozen=True)
class Capture:
    """A trial as the ground-truth list has it, without the demographic columns."""

    transaction: str
    code: str
    family: str
    participant: str


@dataclass(frozen=True)
class Truth:
    """The ground-truth list: its path relative to the root, and trial → capture."""

    path: str
    captures: Mapping[str, Capture]

    def trial(self, stem: str) -> str | None:
        """The trial of a file named `ID_<transaction>_<trial>_<name>` or `<trial>`; None when it is not listed."""
        m = _IDENTIFIER.fullmatch(stem)
        trial = m[2] if m else stem
        capture = self.captures.get(trial)
        return None if capture is None or (m and capture.transaction != m[1]) else trial


def family_of(code: str) -> str | None:
    """The attack family of a code such as `m50302`, empty for bona fide; None when the code is unknown."""
    if code == BONAFIDE:
        return ""
    return FAMILIES.get(code[2:4]) if re.fullmatch("m5[0-9]{4}", code) else None


def read_truth(root: Path, options: Options, result: AdapterResult) -> Truth:
    """Read the one `*_ground_truth.csv`. Raises `BadInput` when there is not exactly one: without it no capture
    has a class."""
    tables = [path for folder in LISTS for path in list_files(root / folder, "*ground_truth.csv")]
    if len(tables) != 1:
        raise BadInput(f"{root / LISTS[0]}: {len(tables)} files *ground_truth.csv; put exactly one there")
    place = tables[0].relative_to(root).as_posix()
    captures: dict[str, Capture] = {}
    for row in read_list(tables[0], ("transaction_id", "trial_id", "ground_truth", "participant_id")):
        family = family_of(row["ground_truth"])
        if family is None:
            result.problem(place, f"ground_truth {row['ground_truth']!r} is unknown; restore the list")
        elif row["trial_id"] in captures:
            result.problem(place, f"trial_id {row['trial_id']} is there twice; restore the list")
        else:
            participant = subject_code(row["participant_id"], options)
            captures[row["trial_id"]] = Capture(row["transaction_id"], row["ground_truth"], family, participant)
    return Truth(place, captures)


def capture_row(
    layout: str, trial: str, capture: Capture, images: Mapping[str, tuple[str, str]], depth_encoding: str
) -> Row:
    """The row of a capture; it has one frame, 0."""
    return Row(
        sample_id=f"P:{trial}:0",
        dataset="P",
        layout=layout,
        clip_id=trial,
        frame=0,
        subject_id=f"P:{capture.participant}",
        presenter_id="",
        source_id="",
        label="attack" if capture.family else "bonafide",
        attack_family=capture.family,
        attack_code=capture.code,
        **modality_columns(images),
        depth_encoding=depth_encoding if "depth" in images else "",
        ir_nm=IR_NM if "ir" in images else None,
    )


def add_protocols(root: Path, result: AdapterResult) -> None:
    """`P-<name>` of every official `*_partition_<name>.csv`."""
    samples = samples_by_recording(result.rows)
    for path in (path for folder in LISTS for path in list_files(root / folder, "*partition_*.csv")):
        name = f"P-{path.stem.split('partition_', 1)[1]}"
        with result.collecting(path.relative_to(root).as_posix()):
            listed = read_list(path, ("trial_id", "partition_name"))
            splits = ((row["trial_id"], row["partition_name"]) for row in listed)
            result.protocols[name] = recording_protocol(name, path, splits, samples, result)


def captures_by_trial(names: list[str], truth: Truth, result: AdapterResult) -> dict[str, str]:
    """File → trial, for the files that the ground-truth list knows, one for each trial. The others are `absent`."""
    trials: dict[str, str] = {}
    files: dict[str, str] = {}
    for name in names:
        trial = truth.trial(Path(name).stem)
        if trial is None:
            result.problem(name, f"not in {truth.path}; restore the list or move the file elsewhere")
        elif trial in files:
            result.problem(name, f"is trial {trial} like {files[trial]}; keep one")
        else:
            trials[name] = trial
            files[trial] = name
    result.absent |= {trial: truth.path for trial in truth.captures if trial not in files}
    return trials


def npz_images(name: str, shape: str, channels: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """The images of one file: modality → (reference, shape) of the channels given as `2,1,0`."""
    return {modality: (f"{name}#data[0][{picked}]", shape) for modality, picked in channels.items()}


def read_shapes(root: Path, names: list[str], channels: int, options: Options, result: AdapterResult) -> dict[str, str]:
    """File → `HxW:dtype` of its array (1, channels, H, W), read in parallel; by names only, the empty text."""
    if options.names_only:
        return dict.fromkeys(names, "")
    jobs = [(root, name, channels, options.collect) for name in names]
    shapes = {}
    for name, (shape, findings) in zip(names, parallel(_shape, jobs, "PADISI-Face", options.workers), strict=True):
        result.absorb(findings)
        if shape:
            shapes[name] = shape
    return shapes


def _shape(job: tuple[Path, str, int, bool]) -> tuple[str, Findings]:
    root, name, channels, collect = job
    findings = Findings(collect)
    with findings.collecting(name):
        shape, dtype = npz_shape(root / name, "data", name)
        if len(shape) != 4 or shape[:2] != (1, channels) or 0 in shape or dtype.kind not in "uif":
            raise BadInput(f"{name}: data is {shape}, not (1, {channels}, H, W); copy it again")
        return shape_text(shape[2], shape[3], dtype), findings
    return "", findings


def _detect(root: Path) -> bool:
    return holds(root, (".npz",), lambda name: not name.startswith(f"{UNPICKLED}/"))


def _index(root: Path, options: Options) -> AdapterResult:
    result = AdapterResult(options.collect)
    truth = read_truth(root, options, result)
    names = [name for name in files_below(root, (".npz",), result) if not name.startswith(f"{UNPICKLED}/")]
    trials = captures_by_trial(names, truth, result)
    channels = {"rgb": "2,1,0", "depth": "4", "ir": "3"}
    for name, shape in read_shapes(root, list(trials), CHANNELS, options, result).items():
        trial = trials[name]
        images = npz_images(name, shape, channels)
        result.rows.append(capture_row("padisi-npz", trial, truth.captures[trial], images, "unit_float"))
    add_protocols(root, result)
    return result


LAYOUT = Layout("padisi-npz", f"ID_<transaction>_<trial>_<name>.npz and {LISTS[0]}/*_ground_truth.csv", _detect, _index)
