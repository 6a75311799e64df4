"""CASIA-SURF (S): layout `surf-crop`, face crops in folders named for split and class (data-set sheet,
section 3.1).

`CASIA-SURF-CROP/{real,fake}_part/{real,fake}_{train,val,test}_part/<subject>/<clip>.rssdk/{color,depth,ir}/131.jpg`
"""

import re
from pathlib import Path

from data_manifests.adapters.common import (
    AdapterResult,
    Clip,
    Layout,
    Options,
    entries,
    modality_columns,
    read_image_clips,
)
from data_manifests.errors import BadInput
from data_manifests.index import Row

TOP = "CASIA-SURF-CROP"
FOLDERS = {"rgb": "color", "depth": "depth", "ir": "ir"}
IR_NM = 860  # RealSense SR300

# Six A4 print cut-outs: eyes, +nose, +mouth cut away; flat (s) or bent (b).
ATTACKS = ("01_e_s", "02_e_b", "03_en_s", "04_en_b", "05_enm_s", "06_enm_b")
_SUBJECT = re.compile(r"CLKJ_[A-Z]{1,2}[0-9]{4}")


def _prefix(root: Path) -> str:
    """`CASIA-SURF-CROP/`, or nothing where the root is that folder itself."""
    return f"{TOP}/" if (root / TOP).is_dir() else ""


def detect(root: Path) -> bool:
    top = root / _prefix(root)
    return any((top / part).is_dir() for part in ("real_part", "fake_part"))


def _clips(root: Path, ignored: list[str]) -> list[tuple[Clip, str, str, str]]:
    """(clip, split, subject, code) of every clip folder; the code is `real` or one of `ATTACKS`."""
    clips = []
    for kind in ("real", "fake"):
        part = f"{_prefix(root)}{kind}_part"
        if not (root / part).is_dir():
            raise BadInput(f"{part}: no such folder below {root}; restore it, both classes are needed")
        for split_folder in entries(root / part, part, ignored):
            m = re.fullmatch(rf"{kind}_(train|val|test)_part", split_folder.name)
            shown = f"{part}/{split_folder.name}"
            if m is None:
                raise BadInput(f"{shown}: not one of {kind}_train_part, {kind}_val_part, {kind}_test_part; rename it")
            for subject in entries(split_folder, shown, ignored):
                if not _SUBJECT.fullmatch(subject.name):
                    raise BadInput(f"{shown}/{subject.name}: a subject's folder is named CLKJ_AS0001; rename it")
                for clip in entries(subject, f"{shown}/{subject.name}", ignored):
                    path = f"{shown}/{subject.name}/{clip.name}"
                    code = clip.name.removesuffix(".rssdk")
                    if code not in (ATTACKS if kind == "fake" else ("real",)):
                        raise BadInput(f"{path}: {code!r} is no clip of {part}; see the six attacks of CASIA-SURF")
                    clips.append((Clip(clip, path, FOLDERS), m[1], subject.name, code))
    return clips


def index(root: Path, options: Options) -> AdapterResult:
    result = AdapterResult()
    clips = _clips(root, result.ignored)
    splits: dict[str, list[str]] = {"train": [], "val": [], "test": []}
    frames_of = read_image_clips([c[0] for c in clips], "CASIA-SURF", options, result)
    for (clip, split, subject, code), frames in zip(clips, frames_of, strict=True):
        clip_id = f"{subject}/{clip.folder.name}"
        for frame, images in frames.items():
            sample = f"S:{clip_id}:{frame}"
            splits[split].append(sample)
            result.rows.append(
                Row(
                    sample_id=sample,
                    dataset="S",
                    layout="surf-crop",
                    clip_id=clip_id,
                    frame=frame,
                    subject_id=f"S:{subject}",
                    presenter_id="",
                    source_id="",
                    label="bonafide" if code == "real" else "attack",
                    attack_family="" if code == "real" else "print_cut",
                    attack_code="" if code == "real" else code,
                    **modality_columns(images),
                    depth_encoding="8bit_unknown" if "depth" in images else "",
                    ir_nm=IR_NM if "ir" in images else None,
                )
            )
    result.protocols["S-folders"] = splits
    return result


LAYOUT = Layout("surf-crop", f"{TOP}/real_part/real_train_part/<subject>/real.rssdk/color/1.jpg", detect, index)
