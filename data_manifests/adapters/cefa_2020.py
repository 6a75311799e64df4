"""CASIA-SURF CeFA (C), layout `cefa-2020`: the challenge's release (data-set sheet, section 3.2).

`phase1/{train,dev}/<recording>/{profile,depth,ir}/0001.jpg` and `test/<recording>/…`, each part below `phase1`,
`phase2` or the root. A recording's name is `1_000_1_1_1` as in `cefa`, or six digits, which say nothing: then its
class stands only in `4@1_dev_ref.txt` …, whose lines are `dev/003000 label`, 1 = live. The lists
`4@1_train.txt` …, whose lines are a frame's path and its label, say which of the three sub-protocols trains on it.

- Development attacks are replays: sub-protocols of protocol 4 train and validate on replay alone.
- Who an anonymous recording shows is not published: the part counts as one subject.
- The test's attacks are of several families that no list names, so anonymous test recordings are left out and noted.
"""

import re
from pathlib import Path

from data_manifests.adapters.cefa import NamedRecording, named_rows, official_split, race_recording, scrubbed
from data_manifests.adapters.common import (
    AdapterResult,
    ImageFolder,
    Layout,
    Options,
    folders,
    listed_frames,
    modality_columns,
    read_frames,
    read_words,
    samples_by_recording,
)
from data_manifests.index import Row

FOLDERS = {"rgb": "profile", "depth": "depth", "ir": "ir"}
PARTS = ("train", "dev", "test")
SUB_PROTOCOLS = ("4@1", "4@2", "4@3")
IR_NM = 860  # RealSense SR300
_LABELS = {"1": "bonafide", "0": "attack"}

RecordingList = tuple[str, dict[str, str]]  # the list's path to show, recording → class


def _parts(root: Path) -> dict[str, str]:
    """Those of `train`, `dev` and `test` that the tree has → their folder relative to the root."""
    folders: dict[str, str] = {}
    for part in PARTS:
        for above in ("", "phase1/", "phase2/"):
            if (root / above / part).is_dir():
                folders.setdefault(part, f"{above}{part}")
    return folders


def _is_recording_name(name: str) -> bool:
    return re.fullmatch(r"[123]_[0-9]{3}_[1-4]_[123]_[1-4]|[0-9]{6}", name) is not None


def _detect(root: Path) -> bool:
    return any(
        _is_recording_name(recording.name) for part in _parts(root).values() for recording in (root / part).iterdir()
    )


def _lists(root: Path, suffix: str) -> dict[str, Path]:
    """Sub-protocol → its list `4@k_<suffix>.txt`, beside or below one of the folders of the release."""
    places = ("", "phase1", "phase2")
    names = ((sub, root / place / f"{sub}_{suffix}.txt") for sub in SUB_PROTOCOLS for place in places)
    return {sub: path for sub, path in names if path.is_file()}


def _recording_labels(path: Path, place: str, result: AdapterResult) -> dict[str, str]:
    """Recording → class of a list of lines `dev/003000 1` or `train/1_000_1_1_1/profile/0001.jpg 1`."""
    labels: dict[str, str] = {}
    for number, words in enumerate(read_words(path), 1):
        recording = next((part for part in words[0].split("/") if _is_recording_name(part)), "")
        if len(words) != 2 or not recording or words[1] not in _LABELS:
            result.problem(place, f"row {number} is not a recording's or frame's path and 0 or 1; restore the list")
            continue
        if labels.setdefault(recording, _LABELS[words[1]]) != _LABELS[words[1]]:
            result.problem(place, f"row {number} gives {recording} another label than a row before; restore the list")
    return labels


def _index(root: Path, options: Options) -> AdapterResult:
    result = AdapterResult(options.collect)
    named: list[NamedRecording] = []
    anonymous: list[ImageFolder] = []
    labels: dict[str, str] = {}
    lists: dict[str, dict[str, RecordingList]] = {}
    listed_in: dict[tuple[str, int], str] = {}
    for suffix, split in (("train", "train"), ("dev_ref", "val")):
        for sub, path in _lists(root, suffix).items():
            place = path.relative_to(root).as_posix()
            with result.collecting(place):
                listed = _recording_labels(path, place, result)
                lists.setdefault(sub, {})[split] = (place, listed)
                listed_in |= {(folder.rpartition("/")[2], frame): place for folder, frame in listed_frames(path)}
                labels |= listed if split == "val" else {}
    unknown: dict[str, list[str]] = {"dev": [], "test": []}
    for part, top in _parts(root).items():
        for name, place, path in folders(root / top, top, result, scrubbed):
            images = ImageFolder(path, f"{top}/{name}", FOLDERS, scrubbed)
            if recording := race_recording(images):
                named.append(recording)
            elif part == "train" or not re.fullmatch("[0-9]{6}", name):
                result.problem(place, "a recording is named 1_000_1_1_1 or, in dev and test, by six digits; rename it")
            elif part == "test" or name not in labels:
                unknown[part].append(name)
            else:
                anonymous.append(images)
    if unknown["dev"]:
        result.notes.append(f"dev: {len(unknown['dev'])} recordings are in no 4@k_dev_ref.txt, so they are left out")
    if unknown["test"]:
        what = "have no published attack family, so they are left out"
        result.notes.append(f"test: {len(unknown['test'])} anonymous recordings {what}")
    frames_of = read_frames([*(recording.images for recording in named), *anonymous], "CeFA", options, result)
    for recording, frames in zip(named, frames_of, strict=False):
        result.rows += named_rows("cefa-2020", recording, frames)
    for images, frames in zip(anonymous, frames_of[len(named) :], strict=True):
        clip_id = images.path.name
        for frame, modalities in frames.items():
            result.rows.append(
                Row(
                    sample_id=f"C:{clip_id}:{frame}",
                    dataset="C",
                    layout="cefa-2020",
                    clip_id=clip_id,
                    frame=frame,
                    subject_id="C:dev",
                    presenter_id="",
                    source_id="",
                    label=labels[clip_id],
                    attack_family="replay" if labels[clip_id] == "attack" else "",
                    attack_code="",
                    **modality_columns(modalities),
                    depth_encoding="8bit_unknown" if "depth" in modalities else "",
                    ir_nm=IR_NM if "ir" in modalities else None,
                )
            )
    _add_protocols(lists, result)
    present = {(row.clip_id, row.frame) for row in result.rows}
    recordings = {recording for recording, _ in present}
    for (name, frame), place in listed_in.items():
        if name in recordings and (name, frame) not in present:
            result.absent[f"{name}:{frame}"] = place
    return result


def _add_protocols(lists: dict[str, dict[str, RecordingList]], result: AdapterResult) -> None:
    """`C-4@k` for each sub-protocol with a list, and `C-id-ranges` from the official ranges of subject numbers."""
    samples_of = samples_by_recording(result.rows)
    label_of = {row.clip_id: row.label for row in result.rows}
    for sub, splits in sorted(lists.items()):
        members: dict[str, list[str]] = {}
        for split, (place, labels) in splits.items():
            for recording, label in labels.items():
                if label_of.get(recording, label) != label:
                    result.problem(place, f"gives {recording} another label than its name; restore the list")
            members[split] = [s for recording in labels for s in samples_of.get(recording, ())]
            if absent := [recording for recording in labels if recording not in samples_of]:
                result.absent |= dict.fromkeys(absent, place)
                result.notes.append(
                    f"C-{sub} {split}: {len(absent)} of {len(labels)} listed recordings are not in the tree, "
                    f"first {absent[0]}"
                )
        result.protocols[f"C-{sub}"] = {split: samples for split, samples in members.items() if samples}
    ranges: dict[str, list[str]] = {"train": [], "val": [], "test": []}
    for row in result.rows:
        split = "val" if row.subject_id == "C:dev" else official_split(row.subject_id.removeprefix("C:"))
        ranges[split].append(row.sample_id)
    result.protocols["C-id-ranges"] = {split: samples for split, samples in ranges.items() if samples}


LAYOUT = Layout("cefa-2020", "phase1/train/1_000_1_1_1/profile/0001.jpg", _detect, _index)
