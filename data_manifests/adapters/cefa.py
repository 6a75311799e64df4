"""CASIA-SURF CeFA (C), layouts `cefa-full` and `cefa-2026`: ethnicities and masks (data-set sheet, section 3.2).

- `cefa-full`: `CeFA/CeFA-Race/{AF,CA,EA}/AF-000/1_000_1_1_1/{profile,depth,ir}/0026.jpg` and
  `CeFA/CeFA-Mask/{3D-Mask,Silicone-Mask}/008/2_008_1_1_2_1_4/…`
- `cefa-2026`: `CASIA_CeFA/Ethnicity/…/{color,depth,ir}/0001.jpg` and `CASIA_CeFA/Mask/…`, otherwise the same.

A clip is named Race_ID_AcqDevice_Session_PAI or Mask_ID_Dresses_Glasses_AcqDevice_Session_AttackType; the
name says the class, so the lists' opposite polarities (1 live, in 2026's 0 live) cannot matter.

Raw copies name a subject's folder `EA-012-<birth date and sex>`. What follows the three digits is personal
data: it is dropped here and appears in no row, note or message; `decode.locate` finds the folder again.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from data_manifests.adapters.common import (
    JUNK,
    AdapterResult,
    Clip,
    Findings,
    Frames,
    Layout,
    Options,
    folders,
    modality_columns,
    read_image_clips,
)
from data_manifests.index import Row

RACES = {"AF": "1", "CA": "2", "EA": "3"}
MASKS = {"3D-Mask": ("1", "3dmask"), "Silicone-Mask": ("2", "silicone")}
PAI = {"1": "", "2": "print", "3": "print", "4": "replay"}  # real, cloth print, picture, screen
SR300_NM, D435I_NM = 860, 850

_RACE_CLIP = re.compile(r"([123])_([0-9]{3})_[1-4]_[123]_([1-4])")
_MASK_CLIP = re.compile(r"([12])_([0-9]{3})_[0-9]_[0-9]_([12])_[0-9]_[1-4]")


@dataclass(frozen=True)
class Form:
    """What differs between the two layouts: their id and the names of their folders."""

    id: str
    top: str
    races: str
    masks: str
    colour: str

    @property
    def images(self) -> dict[str, str]:
        return {"rgb": self.colour, "depth": "depth", "ir": "ir"}

    def prefix(self, root: Path) -> str:
        """`top/`, or nothing where the root is that folder itself."""
        return f"{self.top}/" if (root / self.top).is_dir() else ""

    def detect(self, root: Path) -> bool:
        return (root / self.prefix(root) / self.races).is_dir()

    def index(self, root: Path, options: Options) -> AdapterResult:
        result = AdapterResult(options.collect)
        clips = _race_clips(self, root, result) + _mask_clips(self, root, result)
        splits = result.protocols.setdefault("C-id-ranges", {"train": [], "val": [], "test": []})
        frames_of = read_image_clips([clip.images for clip in clips], "CeFA", options, result)
        for clip, frames in zip(clips, frames_of, strict=True):
            rows = named_rows(self.id, clip, frames)
            splits[official_split(clip.subject)] += [row.sample_id for row in rows]
            result.rows += rows
        return result


@dataclass(frozen=True)
class NamedClip:
    """A clip whose name says what it shows: subject without its letter, attack family, infrared wavelength."""

    images: Clip
    subject: str
    family: str
    nm: int


_WORDS = {*RACES, *MASKS, "profile", "color", "depth", "ir", *JUNK}
_NUMBERED = re.compile(r"(\._)?[0-9]{1,5}(_[0-9]{1,5})*(\.[a-z]{1,4})?", re.IGNORECASE)


def scrubbed(name: str) -> str:
    """A name as messages may show it: what follows a subject's number, and any name that is neither one of the
    data set's words nor made of short numbers, may be personal and reads `…`."""
    if m := re.match(r"(?:\._)?(?:AF|CA|EA)-[0-9]{3}(?![0-9])", name):
        return m[0] if m[0] == name else f"{m[0]}-…"
    return name if name in _WORDS or _NUMBERED.fullmatch(name) else "…"


def race_clip(images: Clip) -> NamedClip | None:
    """The clip of a folder named Race_ID_AcqDevice_Session_PAI; None when it is named otherwise."""
    name = _RACE_CLIP.fullmatch(images.folder.name)
    if name is None:
        return None
    race = next(race for race, digit in RACES.items() if digit == name[1])
    return NamedClip(images, f"{race}-{name[2]}", PAI[name[3]], SR300_NM)


def _race_clips(form: Form, root: Path, found: Findings) -> list[NamedClip]:
    clips = []
    top = f"{form.prefix(root)}{form.races}"
    for race, race_shown, race_path in folders(root / top, top, found, scrubbed):
        if race not in RACES:
            found.problem(race_shown, f"not one of {', '.join(RACES)}; remove it")
            continue
        subjects: set[str] = set()
        for folder, _, path in folders(race_path, race_shown, found, scrubbed):
            m = re.fullmatch(rf"({race}-[0-9]{{3}})(?:-.*)?", folder, re.DOTALL)
            if m is None:  # the name is not shown: it may hold personal data
                found.problem(race_shown, f"a folder is not named {race}-<three digits>; rename it")
                continue
            subject, shown = m[1], f"{race_shown}/{m[1]}"
            if subject in subjects:
                found.problem(race_shown, f"two folders for subject {subject}; keep one")
                continue
            subjects.add(subject)
            for _, clip_shown, clip_path in folders(path, shown, found, scrubbed):
                clip = race_clip(Clip(clip_path, clip_shown, form.images, scrubbed))
                if clip is None or clip.subject != subject:
                    pattern = f"{RACES[race]}_{subject[3:]}_<device>_<session>_<PAI>"
                    found.problem(clip_shown, f"a clip here is named {pattern}; rename or remove it")
                    continue
                clips.append(clip)
    return clips


def _mask_clips(form: Form, root: Path, found: Findings) -> list[NamedClip]:
    """The clips of masks; none where their folder is not there."""
    clips = []
    top = f"{form.prefix(root)}{form.masks}"
    for kind, kind_shown, kind_path in folders(root / top, top, found, scrubbed) if (root / top).is_dir() else ():
        if kind not in MASKS:
            found.problem(kind_shown, f"not one of {', '.join(MASKS)}; remove it")
            continue
        digit, family = MASKS[kind]
        for number, shown, path in folders(kind_path, kind_shown, found, scrubbed):
            if not re.fullmatch("[0-9]{3}", number):
                found.problem(kind_shown, "a mask's folder is not named by three digits; rename it")
                continue
            for clip, clip_shown, clip_path in folders(path, shown, found, scrubbed):
                name = _MASK_CLIP.fullmatch(clip)
                if name is None or (name[1], name[2]) != (digit, number):
                    pattern = f"{digit}_{number}_<dresses>_<glasses>_<device>_<session>_<light>"
                    found.problem(clip_shown, f"a clip here is named {pattern}; rename or remove it")
                    continue
                nm = D435I_NM if name[3] == "2" else SR300_NM
                images = Clip(clip_path, clip_shown, form.images, scrubbed)
                clips.append(NamedClip(images, f"{kind}-{number}", family, nm))
    return clips


def named_rows(layout: str, clip: NamedClip, frames: Frames) -> list[Row]:
    """A row for every frame of a clip whose name says what it shows."""
    clip_id = clip.images.folder.name
    masked = clip.subject.startswith(tuple(MASKS))
    return [
        Row(
            sample_id=f"C:{clip_id}:{frame}",
            dataset="C",
            layout=layout,
            clip_id=clip_id,
            frame=frame,
            subject_id=f"C:{clip.subject}",
            presenter_id="",
            source_id=f"C:{clip.subject}" if masked else "",
            label="attack" if clip.family else "bonafide",
            attack_family=clip.family,
            attack_code=clip_id.split("_", 2)[2] if clip.family else "",
            **modality_columns(images),
            depth_encoding="8bit_unknown" if "depth" in images else "",
            ir_nm=clip.nm if "ir" in images else None,
        )
        for frame, images in frames.items()
    ]


def official_split(subject: str) -> str:
    """The split of a subject by its number, 000–199 train, 200–299 val, 300–499 test; masks are always test."""
    if subject.startswith(tuple(MASKS)):
        return "test"
    number = int(subject[-3:])
    return "train" if number < 200 else "val" if number < 300 else "test"


_FULL = Form("cefa-full", "CeFA", "CeFA-Race", "CeFA-Mask", "profile")
_2026 = Form("cefa-2026", "CASIA_CeFA", "Ethnicity", "Mask", "color")
FULL = Layout(_FULL.id, "CeFA/CeFA-Race/AF/AF-000/1_000_1_1_1/profile/0001.jpg", _FULL.detect, _FULL.index)
RELEASE_2026 = Layout(_2026.id, "CASIA_CeFA/Ethnicity/AF/AF-120/1_120_1_1_1/color/0001.jpg", _2026.detect, _2026.index)
