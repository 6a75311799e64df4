"""CASIA-SURF (S), layouts `surf-crop` and `surf-2026`: folders named for split, class, subject and recording
(data-set sheet, section 3.1).

- `surf-crop`: `CASIA-SURF-CROP/{real,fake}_part/{real,fake}_{train,val,test}_part/<subject>/<recording>/`
- `surf-2026`: `CASIA_SURF/Data/{Training,Val,Testing}/{real_part,fake_part}/<subject>/<recording>/`

Below either lies `{color,depth,ir}/<number>.jpg`: unpadded (131) in the first, four digits (0015) in the second.

A recording is `real.rssdk` or one of six cut-outs, `01_e_s.rssdk` … `06_enm_b.rssdk`. The folders say
the class, not the lists, whose polarities are opposite: 1 is live in 2019's and surf-crop's, 0 in 2026's.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from data_manifests.adapters.common import (
    AdapterResult,
    Findings,
    ImageFolder,
    Layout,
    Options,
    folders,
    modality_columns,
    no_folder,
    read_frames,
    stranger,
)
from data_manifests.index import Row

FOLDERS = {"rgb": "color", "depth": "depth", "ir": "ir"}
IR_NM = 860  # RealSense SR300
PROTOCOL = "S-folders"

# Six A4 print cut-outs: eyes, +nose, +mouth cut away; flat (s) or bent (b).
ATTACKS = ("01_e_s", "02_e_b", "03_en_s", "04_en_b", "05_enm_s", "06_enm_b")
CLASSES = {"real_part": "real", "fake_part": "fake"}
PARTS = {"Training": "train", "Val": "val", "Testing": "test"}
_SUBJECT = re.compile(r"CLKJ_[A-Z]{1,2}[0-9]{4}")


@dataclass(frozen=True)
class RssdkRecording:
    """A recording whose folders name its subject and attack. `code` is `real` or one of `ATTACKS`."""

    images: ImageFolder
    split: str
    subject: str
    code: str


def rssdk_recordings(folder: Path, top: str, kind: str, split: str, findings: Findings) -> list[RssdkRecording]:
    """The recordings of one split and class (`real`, `fake`): `folder/<subject>/<recording>.rssdk`."""
    recordings = []
    for subject, subject_place, subject_path in folders(folder, top, findings):
        if not _SUBJECT.fullmatch(subject):
            findings.problem(subject_place, "a subject's folder is named CLKJ_AS0001; rename it")
            continue
        for name, place, path in folders(subject_path, subject_place, findings):
            code = name.removesuffix(".rssdk")
            if code not in (ATTACKS if kind == "fake" else ("real",)):
                names = [f"{known}.rssdk" for known in (ATTACKS if kind == "fake" else ("real",))]
                findings.problem(place, stranger(name, names))
                continue
            recordings.append(RssdkRecording(ImageFolder(path, place, FOLDERS), split, subject, code))
    return recordings


def rssdk_result(
    layout: str, recordings: list[RssdkRecording], options: Options, result: AdapterResult
) -> AdapterResult:
    """Add a row for every frame of the recordings, and the protocol that the folders name."""
    splits = result.protocols.setdefault(PROTOCOL, {"train": [], "val": [], "test": []})
    frames_of = read_frames([recording.images for recording in recordings], "CASIA-SURF", options, result)
    for recording, frames in zip(recordings, frames_of, strict=True):
        clip_id = f"{recording.subject}/{recording.images.path.name}"
        for frame, images in frames.items():
            sample = f"S:{clip_id}:{frame}"
            splits[recording.split].append(sample)
            result.rows.append(
                Row(
                    sample_id=sample,
                    dataset="S",
                    layout=layout,
                    clip_id=clip_id,
                    frame=frame,
                    subject_id=f"S:{recording.subject}",
                    presenter_id="",
                    source_id="",
                    label="bonafide" if recording.code == "real" else "attack",
                    attack_family="" if recording.code == "real" else "print_cut",
                    attack_code="" if recording.code == "real" else recording.code,
                    **modality_columns(images),
                    depth_encoding="8bit_unknown" if "depth" in images else "",
                    ir_nm=IR_NM if "ir" in images else None,
                )
            )
    return result


def _below(root: Path, top: str) -> str:
    """`top/`, or the empty text where the root is that folder itself."""
    return f"{top}/" if (root / top).is_dir() else ""


CROP_TOP = "CASIA-SURF-CROP"


def _detect_crop(root: Path) -> bool:
    top = root / _below(root, CROP_TOP)
    return any((top / part).is_dir() for part in CLASSES)


def _index_crop(root: Path, options: Options) -> AdapterResult:
    result = AdapterResult(options.collect)
    recordings = []
    for part, kind in CLASSES.items():
        place = f"{_below(root, CROP_TOP)}{part}"
        if not (root / place).is_dir():
            result.problem(place, no_folder(root, place))
            continue
        for name, split_place, path in folders(root / place, place, result):
            m = re.fullmatch(rf"{kind}_(train|val|test)_part", name)
            if m is None:
                result.problem(split_place, stranger(name, [f"{kind}_{split}_part" for split in PARTS.values()]))
                continue
            recordings += rssdk_recordings(path, split_place, kind, m[1], result)
    return rssdk_result("surf-crop", recordings, options, result)


TOP_2026 = "CASIA_SURF/Data"


def _top_2026(root: Path) -> str:
    """`CASIA_SURF/Data/`, `Data/` or the empty text: the root may be any of these folders."""
    return _below(root, TOP_2026) or _below(root, "Data")


def _detect_2026(root: Path) -> bool:
    """Whether frames have names of four digits (0015.jpg). The release of 2019 has the same folders and 31.jpg."""
    for part in PARTS:
        for image in (root / _top_2026(root) / part).glob("*_part/*/*/*/[0-9]*"):
            return len(image.stem) == 4
    return False


def _index_2026(root: Path, options: Options) -> AdapterResult:
    result = AdapterResult(options.collect)
    recordings = []
    for part, split in PARTS.items():
        for folder, kind in CLASSES.items():
            place = f"{_top_2026(root)}{part}/{folder}"
            if not (root / place).is_dir():
                result.problem(place, no_folder(root, place))
                continue
            recordings += rssdk_recordings(root / place, place, kind, split, result)
    return rssdk_result("surf-2026", recordings, options, result)


CROP = Layout(
    "surf-crop", f"{CROP_TOP}/real_part/real_train_part/<subject>/real.rssdk/color/1.jpg", _detect_crop, _index_crop
)
RELEASE_2026 = Layout(
    "surf-2026", f"{TOP_2026}/Training/real_part/<subject>/real.rssdk/color/0015.jpg", _detect_2026, _index_2026
)
