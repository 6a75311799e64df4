"""CASIA-SURF CeFA (C): layout `cefa-full`, ethnicities and masks (data-set sheet, section 3.2).

`CeFA/CeFA-Race/{AF,CA,EA}/AF-000/1_000_1_1_1/{profile,depth,ir}/0026.jpg`, the name being
Race_ID_AcqDevice_Session_PAI, and `CeFA/CeFA-Mask/{3D-Mask,Silicone-Mask}/008/2_008_1_1_2_1_4/…`, the name
being Mask_ID_Dresses_Glasses_AcqDevice_Session_AttackType.

Raw copies name a subject's folder `EA-012-<birth date and sex>`. What follows the three digits is personal
data: it is dropped here and appears in no row, note or message; `decode.locate` finds the folder again.
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

TOP = "CeFA"
FOLDERS = {"rgb": "profile", "depth": "depth", "ir": "ir"}
RACES = {"AF": "1", "CA": "2", "EA": "3"}
MASKS = {"3D-Mask": ("1", "3dmask"), "Silicone-Mask": ("2", "silicone")}
PAI = {"1": "", "2": "print", "3": "print", "4": "replay"}  # real, cloth print, picture, screen
SR300_NM, D435I_NM = 860, 850

_RACE_CLIP = re.compile(r"([123])_([0-9]{3})_[1-4]_[123]_([1-4])")
_MASK_CLIP = re.compile(r"([12])_([0-9]{3})_[0-9]_[0-9]_([12])_[0-9]_[1-4]")


def _prefix(root: Path) -> str:
    """`CeFA/`, or nothing where the root is that folder itself."""
    return f"{TOP}/" if (root / TOP).is_dir() else ""


def detect(root: Path) -> bool:
    return (root / _prefix(root) / "CeFA-Race").is_dir()


def _race_clips(root: Path, ignored: list[str]) -> list[tuple[Clip, str, str, int]]:
    """(clip, subject, family, infrared nm) of the clips in CeFA-Race."""
    clips = []
    top = f"{_prefix(root)}CeFA-Race"
    for race in entries(root / top, top, ignored):
        if race.name not in RACES:
            raise BadInput(f"{top}/{race.name}: not one of {', '.join(RACES)}; remove it")
        subjects: set[str] = set()
        for folder in entries(race, f"{top}/{race.name}", ignored):
            m = re.fullmatch(rf"({race.name}-([0-9]{{3}}))(?:-.*)?", folder.name)
            if m is None:  # the name is not shown: it may hold personal data
                raise BadInput(f"{top}/{race.name}: a folder is not named {race.name}-<three digits>; rename it")
            subject = m[1]
            if subject in subjects:
                raise BadInput(f"{top}/{race.name}: two folders for subject {subject}; keep one")
            subjects.add(subject)
            shown = f"{top}/{race.name}/{subject}"
            for clip in entries(folder, shown, ignored):
                name = _RACE_CLIP.fullmatch(clip.name)
                if name is None or (name[1], name[2]) != (RACES[race.name], m[2]):
                    form = f"{RACES[race.name]}_{m[2]}_<device>_<session>_<PAI>"
                    raise BadInput(f"{shown}/{clip.name}: a clip here is named {form}; rename or remove it")
                clips.append((Clip(clip, f"{shown}/{clip.name}", FOLDERS), subject, PAI[name[3]], SR300_NM))
    return clips


def _mask_clips(root: Path, ignored: list[str]) -> list[tuple[Clip, str, str, int]]:
    """(clip, mask, family, infrared nm) of the clips in CeFA-Mask; none where that folder is not there."""
    clips = []
    top = f"{_prefix(root)}CeFA-Mask"
    for kind in entries(root / top, top, ignored) if (root / top).is_dir() else ():
        if kind.name not in MASKS:
            raise BadInput(f"{top}/{kind.name}: not one of {', '.join(MASKS)}; remove it")
        digit, family = MASKS[kind.name]
        for folder in entries(kind, f"{top}/{kind.name}", ignored):
            shown = f"{top}/{kind.name}/{folder.name}"
            if not re.fullmatch("[0-9]{3}", folder.name):
                raise BadInput(f"{top}/{kind.name}: a mask's folder is not named by three digits; rename it")
            for clip in entries(folder, shown, ignored):
                name = _MASK_CLIP.fullmatch(clip.name)
                if name is None or (name[1], name[2]) != (digit, folder.name):
                    form = f"{digit}_{folder.name}_<dresses>_<glasses>_<device>_<session>_<light>"
                    raise BadInput(f"{shown}/{clip.name}: a clip here is named {form}; rename or remove it")
                nm = D435I_NM if name[3] == "2" else SR300_NM
                clips.append((Clip(clip, f"{shown}/{clip.name}", FOLDERS), f"{kind.name}-{folder.name}", family, nm))
    return clips


def official_split(subject: str) -> str:
    """The split of a subject by its number, 000–199 train, 200–299 val, 300–499 test; masks are always test."""
    if subject.startswith(tuple(MASKS)):
        return "test"
    number = int(subject[-3:])
    return "train" if number < 200 else "val" if number < 300 else "test"


def index(root: Path, options: Options) -> AdapterResult:
    result = AdapterResult()
    clips = _race_clips(root, result.ignored) + _mask_clips(root, result.ignored)
    splits: dict[str, list[str]] = {"train": [], "val": [], "test": []}
    frames_of = read_image_clips([c[0] for c in clips], "CeFA", options, result)
    for (clip, subject, family, nm), frames in zip(clips, frames_of, strict=True):
        clip_id = clip.folder.name
        for frame, images in frames.items():
            sample = f"C:{clip_id}:{frame}"
            splits[official_split(subject)].append(sample)
            result.rows.append(
                Row(
                    sample_id=sample,
                    dataset="C",
                    layout="cefa-full",
                    clip_id=clip_id,
                    frame=frame,
                    subject_id=f"C:{subject}",
                    presenter_id="",
                    source_id=f"C:{subject}" if family in ("3dmask", "silicone") else "",
                    label="attack" if family else "bonafide",
                    attack_family=family,
                    attack_code=clip_id.split("_", 2)[2] if family else "",
                    **modality_columns(images),
                    depth_encoding="8bit_unknown" if "depth" in images else "",
                    ir_nm=nm if "ir" in images else None,
                )
            )
    result.protocols["C-id-ranges"] = splits
    return result


LAYOUT = Layout("cefa-full", f"{TOP}/CeFA-Race/AF/AF-000/1_000_1_1_1/profile/0001.jpg", detect, index)
