"""CASIA-SURF CeFA (C), layouts `cefa-full` and `cefa-2026`: ethnicities and masks (data-set sheet, section 3.2).

- `cefa-full`: `CeFA/CeFA-Race/{AF,CA,EA}/AF-000/1_000_1_1_1/{profile,depth,ir}/0026.jpg` and
  `CeFA/CeFA-Mask/{3D-Mask,Silicone-Mask}/008/2_008_1_1_2_1_4/…`
- `cefa-2026`: `CASIA_CeFA/Ethnicity/…/{color,depth,ir}/0001.jpg` and `CASIA_CeFA/Mask/…`, otherwise the same.

A recording is named Race_ID_AcqDevice_Session_PAI or Mask_ID_Dresses_Glasses_AcqDevice_Session_AttackType; the
name says the class, not the lists, whose polarities are opposite: 1 is live, but 0 in those of 2026.

Raw copies name a subject's folder `EA-012-<birth date and sex>`. What follows the three digits is personal
data: it is dropped here and appears in no row, note or message. `decode.locate` finds the folder all the same.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from data_manifests.adapters.common import (
    JUNK,
    AdapterResult,
    Findings,
    Frames,
    ImageFolder,
    Layout,
    Options,
    alike,
    folders,
    modality_columns,
    no_folder,
    read_frames,
    stranger,
)
from data_manifests.index import Row

RACES = {"AF": "1", "CA": "2", "EA": "3"}
MASKS = {"3D-Mask": ("1", "3dmask"), "Silicone-Mask": ("2", "silicone")}
PAI = {"1": "", "2": "print", "3": "print", "4": "replay"}  # real, cloth print, picture, screen
SR300_NM, D435I_NM = 860, 850

_RACE_NAME = re.compile(r"([123])_([0-9]{3})_[1-4]_[123]_([1-4])")
_MASK_NAME = re.compile(r"([12])_([0-9]{3})_[0-9]_[0-9]_([12])_[0-9]_[1-4]")


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
        """`top/`, or the empty text where the root is that folder itself."""
        return f"{self.top}/" if (root / self.top).is_dir() else ""

    def detect(self, root: Path) -> bool:
        return (root / self.prefix(root) / self.races).is_dir()

    def index(self, root: Path, options: Options) -> AdapterResult:
        result = AdapterResult(options.collect)
        recordings = _race_recordings(self, root, result) + _mask_recordings(self, root, result)
        splits = result.protocols.setdefault("C-id-ranges", {"train": [], "val": [], "test": []})
        frames_of = read_frames([recording.images for recording in recordings], "CeFA", options, result)
        for recording, frames in zip(recordings, frames_of, strict=True):
            rows = named_rows(self.id, recording, frames)
            splits[official_split(recording.subject)] += [row.sample_id for row in rows]
            result.rows += rows
        return result


@dataclass(frozen=True)
class NamedRecording:
    """A recording whose name says what it shows: subject without its letter, attack family, infrared nm."""

    images: ImageFolder
    subject: str
    family: str
    nm: int


_WORDS = {*RACES, *MASKS, "profile", "color", "depth", "ir", *JUNK}
_NUMBERED = re.compile(r"(\._)?[0-9]{1,5}(_[0-9]{1,5})*(\.[a-z]{1,4})?", re.IGNORECASE)


def scrubbed(name: str) -> str:
    """What messages may show of a name: `…` replaces what follows a subject's number, and any name that is neither
    like one of the data set's words nor made of short numbers, since it may be personal."""
    if m := re.match(r"(?:\._)?(?:AF|CA|EA)-[0-9]{3}(?![0-9])", name):
        return m[0] if m[0] == name else f"{m[0]}-…"
    return name if alike(name, _WORDS) or _NUMBERED.fullmatch(name) else "…"


def race_recording(images: ImageFolder) -> NamedRecording | None:
    """The recording in a folder named Race_ID_AcqDevice_Session_PAI; None when it has another name."""
    name = _RACE_NAME.fullmatch(images.path.name)
    if name is None:
        return None
    race = next(race for race, digit in RACES.items() if digit == name[1])
    return NamedRecording(images, f"{race}-{name[2]}", PAI[name[3]], SR300_NM)


def _race_recordings(form: Form, root: Path, findings: Findings) -> list[NamedRecording]:
    recordings = []
    top = f"{form.prefix(root)}{form.races}"
    for race, race_place, race_path in folders(root / top, top, findings, scrubbed):
        if race not in RACES:
            findings.problem(race_place, stranger(race, RACES))
            continue
        subjects: set[str] = set()
        for folder, _, path in folders(race_path, race_place, findings, scrubbed):
            m = re.fullmatch(rf"({race}-[0-9]{{3}})(?:-.*)?", folder, re.DOTALL)
            if m is None:  # the name is kept out of the message: it may hold personal data
                findings.problem(race_place, f"a folder is not named {race}-<three digits>; rename it")
                continue
            subject, place = m[1], f"{race_place}/{m[1]}"
            if subject in subjects:
                findings.problem(race_place, f"two folders for subject {subject}; keep one")
                continue
            subjects.add(subject)
            for _, below, recording_path in folders(path, place, findings, scrubbed):
                recording = race_recording(ImageFolder(recording_path, below, form.images, scrubbed))
                if recording is None or recording.subject != subject:
                    pattern = f"{RACES[race]}_{subject[3:]}_<device>_<session>_<PAI>"
                    findings.problem(below, f"a recording here is named {pattern}; rename it or move it elsewhere")
                    continue
                recordings.append(recording)
    return recordings


def _mask_recordings(form: Form, root: Path, findings: Findings) -> list[NamedRecording]:
    """The recordings of masks; none where the tree lacks their folder, or calls it otherwise, which is a problem."""
    recordings: list[NamedRecording] = []
    top = f"{form.prefix(root)}{form.masks}"
    if not (root / top).is_dir():
        if (flaw := no_folder(root, top)).startswith("no such folder, but"):
            findings.problem(top, flaw)
        return recordings
    for kind, kind_place, kind_path in folders(root / top, top, findings, scrubbed):
        if kind not in MASKS:
            findings.problem(kind_place, stranger(kind, MASKS))
            continue
        digit, family = MASKS[kind]
        for number, place, path in folders(kind_path, kind_place, findings, scrubbed):
            if not re.fullmatch("[0-9]{3}", number):
                findings.problem(kind_place, "a mask's folder is not named by three digits; rename it")
                continue
            for recording, below, recording_path in folders(path, place, findings, scrubbed):
                name = _MASK_NAME.fullmatch(recording)
                if name is None or (name[1], name[2]) != (digit, number):
                    pattern = f"{digit}_{number}_<dresses>_<glasses>_<device>_<session>_<light>"
                    findings.problem(below, f"a recording here is named {pattern}; rename it or move it elsewhere")
                    continue
                nm = D435I_NM if name[3] == "2" else SR300_NM
                images = ImageFolder(recording_path, below, form.images, scrubbed)
                recordings.append(NamedRecording(images, f"{kind}-{number}", family, nm))
    return recordings


def named_rows(layout: str, recording: NamedRecording, frames: Frames) -> list[Row]:
    """A row for every frame of a recording whose name says what it shows."""
    clip_id = recording.images.path.name
    masked = recording.subject.startswith(tuple(MASKS))
    return [
        Row(
            sample_id=f"C:{clip_id}:{frame}",
            dataset="C",
            layout=layout,
            clip_id=clip_id,
            frame=frame,
            subject_id=f"C:{recording.subject}",
            presenter_id="",
            source_id=f"C:{recording.subject}" if masked else "",
            label="attack" if recording.family else "bonafide",
            attack_family=recording.family,
            attack_code=clip_id.split("_", 2)[2] if recording.family else "",
            **modality_columns(images),
            depth_encoding="8bit_unknown" if "depth" in images else "",
            ir_nm=recording.nm if "ir" in images else None,
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
