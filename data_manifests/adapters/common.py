"""What the adapters share: their result, walking a tree, reading image folders and official list files."""

import csv
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from data_manifests.decode import image_shape
from data_manifests.errors import BadInput
from data_manifests.index import Row
from data_manifests.parallel import parallel

SPLITS = {"train": "train", "dev": "val", "val": "val", "valid": "val", "eval": "test", "test": "test"}
_JUNK = {"Thumbs.db", ".DS_Store", "desktop.ini", "__MACOSX"}
_FRAME = re.compile(r"([0-9]+)\.(?:jpg|jpeg|png)", re.IGNORECASE)


@dataclass(frozen=True)
class Options:
    """`swir_nm`: the HQ-WMCA band that stands for infrared. `frames`: taken evenly from a HQ-WMCA recording."""

    workers: int | None = None
    swir_nm: int = 1300
    frames: int = 10


@dataclass
class AdapterResult:
    """Rows of one tree, its official protocols (`protocols[name][split]` = sample ids) and what was not
    plain.

    `ignored` names files of the operating system that are no data; `notes` are sentences on missing states.
    """

    rows: list[Row] = field(default_factory=list)
    protocols: dict[str, dict[str, list[str]]] = field(default_factory=dict)
    ignored: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Layout:
    """One on-disk form of one data set. `tree` shows it in messages; a new form is a new `Layout`."""

    id: str
    tree: str
    detect: Callable[[Path], bool]
    index: Callable[[Path, Options], AdapterResult]


def entries(folder: Path, shown: str, ignored: list[str]) -> list[Path]:
    """What lies in `folder`, by name; files of the operating system go to `ignored` instead."""
    kept = []
    for path in sorted(folder.iterdir()):
        if path.name.startswith("._") or path.name in _JUNK:
            ignored.append(f"{shown}/{path.name}")
        else:
            kept.append(path)
    return kept


def files_below(root: Path, suffixes: Sequence[str], ignored: list[str]) -> list[Path]:
    """Files with one of the suffixes anywhere below `root`, by path, without those of the operating system."""
    kept = []
    for path in sorted(p for p in root.rglob("*") if p.suffix.lower() in suffixes):
        parts = path.relative_to(root).parts
        if any(part.startswith("._") or part in _JUNK for part in parts):
            ignored.append("/".join(parts))
        else:
            kept.append(path)
    return kept


@dataclass(frozen=True)
class Clip:
    """A folder of images: where it is, how its path reads in the index, and modality → sub-folder."""

    folder: Path
    shown: str
    folders: Mapping[str, str]


Frames = dict[int, dict[str, tuple[str, str]]]  # frame → modality → (reference, shape)


def image_clip(clip: Clip) -> tuple[Frames, list[str]]:
    """Frames of a clip in numerical order, from the images' headers, and the ignored files.

    A modality without a file for a frame is absent from that frame. Raises `BadInput` on a sub-folder or file
    that the layout does not know, two files for one frame, an empty clip, and a file that is no image.
    """
    ignored: list[str] = []
    found: Frames = {}
    for folder in entries(clip.folder, clip.shown, ignored):
        modality = next((m for m, name in clip.folders.items() if name == folder.name), None)
        if modality is None or not folder.is_dir():
            names = ", ".join(clip.folders.values())
            raise BadInput(f"{clip.shown}/{folder.name}: not one of the folders {names} of this layout; remove it")
        for path in entries(folder, f"{clip.shown}/{folder.name}", ignored):
            shown = f"{clip.shown}/{folder.name}/{path.name}"
            m = _FRAME.fullmatch(path.name)
            if m is None:
                raise BadInput(f"{shown}: a frame is named <number>.jpg or .png; rename or remove this file")
            images = found.setdefault(int(m[1]), {})
            if modality in images:
                raise BadInput(f"{shown}: is frame {int(m[1])} like {images[modality][0]}; remove one of them")
            images[modality] = (shown, image_shape(path, shown))
    if not found:
        raise BadInput(f"{clip.shown}: holds no image; restore the clip or remove its folder")
    return dict(sorted(found.items())), ignored


def read_image_clips(clips: Sequence[Clip], title: str, options: Options, result: AdapterResult) -> list[Frames]:
    """`image_clip` of every clip in parallel; what they ignore is added to `result`."""
    clip_frames = parallel(image_clip, clips, title, options.workers)
    for _, ignored in clip_frames:
        result.ignored += ignored
    return [frames for frames, _ in clip_frames]


def modality_columns(images: Mapping[str, tuple[str, str]]) -> dict[str, str]:
    """The six image columns of a row: empty where a modality is not in `images`."""
    columns = {}
    for modality in ("rgb", "depth", "ir"):
        columns[modality], columns[f"{modality}_shape"] = images.get(modality, ("", ""))
    return columns


def read_lines(path: Path) -> list[list[str]]:
    """Fields of the lines of an official CSV list; a BOM, CRLF and blank lines are fine. All values stay text."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as f:
            return [line for line in csv.reader(f, strict=True) if line]
    except (UnicodeDecodeError, csv.Error) as e:
        raise BadInput(f"{path}: not a CSV file in UTF-8 ({e}); restore it from the data set") from None


def read_list(path: Path, columns: Sequence[str]) -> list[dict[str, str]]:
    """Rows of an official CSV list with a header that holds at least the named columns; only these are returned.

    Raises `BadInput` naming file and column, or file and row.
    """
    header, *lines = read_lines(path) or [[]]
    for column in columns:
        if column not in header:
            raise BadInput(f"{path}: no column {column}; restore the list from the data set")
    rows = []
    for number, line in enumerate(lines, 2):
        row = {column: value for column, value in zip(header, line, strict=False) if column in columns and value}
        if len(row) != len(columns):
            raise BadInput(f"{path}, row {number}: a field of {', '.join(columns)} is empty; restore the list")
        rows.append(row)
    return rows


def clip_protocol(
    name: str, path: Path, listed: Iterable[tuple[str, str]], samples: Mapping[str, Sequence[str]], notes: list[str]
) -> dict[str, list[str]]:
    """A protocol from an official list of (clip, split): the samples of each clip, split names as ours.

    Clips that only the list or only the tree has are counted in `notes`. Raises `BadInput` on a split name
    that is none and on a clip listed twice.
    """
    splits: dict[str, list[str]] = {}
    seen: set[str] = set()
    absent = []
    for clip, split in listed:
        if split not in SPLITS:
            raise BadInput(f"{path}: split {split!r} of {clip} is not one of {', '.join(SPLITS)}; correct the list")
        if clip in seen:
            raise BadInput(f"{path}: {clip} is listed twice; keep one line")
        seen.add(clip)
        if clip in samples:
            splits.setdefault(SPLITS[split], []).extend(samples[clip])
        else:
            absent.append(clip)
    if absent:
        notes.append(f"{name}: {len(absent)} of {len(seen)} listed clips are not in the tree, first {absent[0]}")
    if rest := [clip for clip in samples if clip not in seen]:
        notes.append(f"{name}: {len(rest)} of {len(samples)} clips in the tree are not listed, first {rest[0]}")
    return {split: splits[split] for split in ("train", "val", "test") if split in splits}


def samples_by_clip(rows: Iterable[Row]) -> dict[str, list[str]]:
    """clip_id → sample ids, in the order of the rows."""
    samples: dict[str, list[str]] = {}
    for row in rows:
        samples.setdefault(row.clip_id, []).append(row.sample_id)
    return samples
