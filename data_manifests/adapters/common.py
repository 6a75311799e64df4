"""What the adapters share: their result, walking a tree, reading image folders and official list files."""

import csv
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from data_manifests.decode import image_shape
from data_manifests.errors import BadInput
from data_manifests.index import MODALITIES, UNWRITABLE, Row
from data_manifests.parallel import parallel

SPLITS = {"train": "train", "dev": "val", "val": "val", "valid": "val", "eval": "test", "test": "test"}
JUNK = {"Thumbs.db", ".DS_Store", "desktop.ini", "__MACOSX"}
DERIVED = {"HOG_ir", "PLGF_ir"}  # made from the infrared images by DADM's scripts, opened and not used by MMDA's
_FRAME = re.compile(r"([0-9]{1,9})\.(?:jpg|jpeg|png)", re.IGNORECASE)


@dataclass(frozen=True)
class Options:
    """How a tree is indexed. The defaults open every file's header and raise at the first file that is wrong.

    workers: processes that read files (default: one a core).
    swir_nm: the HQ-WMCA band that stands for infrared.
    frames: moments taken evenly from a HQ-WMCA recording.
    names_only: open no image and no container, see `data_manifests.adapters`.
    collect: list what is wrong in `AdapterResult.problems` and go on, instead of raising at the first.
    layouts: ids of the layouts to read where a root holds several.
    depth_maps: folder below the HQ-WMCA root with depth maps that take the place of the sensor's.
    unpickle: read PADISI-Face's joblib file, which is a pickle, with a reader that builds plain arrays only.
    salt: for the hashes of identities; default: this installation's own (`data_manifests.adapters.subjects`).
    """

    workers: int | None = None
    swir_nm: int = 1300
    frames: int = 10
    names_only: bool = False
    collect: bool = False
    layouts: tuple[str, ...] = ()
    depth_maps: str = ""
    unpickle: bool = False
    salt: bytes | None = None


def printable(text: str) -> str:
    """`text` on one line, with the bytes of a file name that are no UTF-8 spelled out: to be printed and saved."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8").replace("\n", "\\n").replace("\r", "\\r")


@dataclass(frozen=True)
class Problem:
    """Something wrong with one file or folder. `path` is relative to the root; `what` says what to do about it."""

    path: str
    what: str

    def __str__(self) -> str:
        return f"{self.path}: {self.what}"


@dataclass
class Findings:
    """What a tree holds besides data.

    `ignored` names what is no data (files of the operating system, folders derived by scripts); `notes` are
    sentences on states that are handled, such as frames in one package only; `problems` is what must be
    repaired. Without `collect` the first problem is raised as `BadInput` instead.
    """

    collect: bool = False
    ignored: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    def problem(self, path: str, what: str) -> None:
        """Keep a problem, or raise it as `BadInput`."""
        found = Problem(printable(path), printable(what))
        if not self.collect:
            raise BadInput(str(found))
        self.problems.append(found)

    @contextmanager
    def collecting(self, path: str) -> Iterator[None]:
        """What raises `BadInput` inside is a problem of `path`; the rest of the block is left out then."""
        try:
            yield
        except BadInput as e:
            if not self.collect:
                raise
            self.problem(path, str(e).removeprefix(f"{path}: "))

    def absorb(self, other: "Findings") -> None:
        self.ignored += other.ignored
        self.notes += other.notes
        self.problems += other.problems


@dataclass
class AdapterResult(Findings):
    """Rows of one tree and its official protocols: `protocols[name][split]` = sample ids. `layout` is the id."""

    layout: str = ""
    rows: list[Row] = field(default_factory=list)
    protocols: dict[str, dict[str, list[str]]] = field(default_factory=dict)


@dataclass(frozen=True)
class Layout:
    """One on-disk form of one data set. `tree` shows it in messages; a new form is a new `Layout`."""

    id: str
    tree: str
    detect: Callable[[Path], bool]
    index: Callable[[Path, Options], AdapterResult]


def _junk(name: str) -> bool:
    return name.startswith("._") or name in JUNK


def list_files(folder: Path, pattern: str) -> list[Path]:
    """The owners' list files in `folder`, by name, without what an operating system left beside them."""
    return sorted(path for path in folder.glob(pattern) if not _junk(path.name))


def _listing(folder: Path, shown: str, found: Findings) -> list[os.DirEntry[str]]:
    """What lies in `folder`, by name; empty, and a problem, when it cannot be listed (a link to itself, say)."""
    try:
        with os.scandir(folder) as listing:
            return sorted(listing, key=lambda entry: entry.name)
    except OSError as e:
        found.problem(shown, f"cannot be listed ({e.strerror}); restore the folder or remove it")
        return []


def folders(
    folder: Path, shown: str, found: Findings, named: Callable[[str], str] = printable
) -> list[tuple[str, str, Path]]:
    """The sub-folders of `folder` by name: (name, path to show, path).

    Files of the operating system are ignored, any other file is a problem. `named` gives the name to show
    where the real one may hold personal data.
    """
    kept = []
    for entry in _listing(folder, shown, found):
        path = f"{shown}/{named(entry.name)}" if shown else named(entry.name)
        if _junk(entry.name):
            found.ignored.append(path)
        elif not _is_folder(entry):
            found.problem(path, "is not a folder as everything else here; remove it")
        else:
            kept.append((entry.name, path, Path(entry.path)))
    return kept


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link in a circle
        return False


def files_below(root: Path, suffixes: Sequence[str], found: Findings) -> list[str]:
    """Files with one of the suffixes anywhere below `root`, as sorted paths relative to it with `/` between
    folders.

    Links are followed, but a link to a folder it lies in is a problem, and so is a name that an index cannot
    hold; files of the operating system are ignored.
    """
    kept: list[str] = []

    def walk(folder: Path, shown: str, above: frozenset[tuple[int, int]]) -> None:
        stat = folder.stat()
        here = (stat.st_dev, stat.st_ino)
        if here in above:
            found.problem(shown, "is a link to a folder that it lies in; remove it")
            return
        for entry in _listing(folder, shown or ".", found):
            path = f"{shown}/{entry.name}" if shown else entry.name
            if _junk(entry.name):
                found.ignored.append(printable(path))
            elif _is_folder(entry):
                walk(Path(entry.path), path, above | {here})
            elif path.lower().endswith(tuple(suffixes)):
                if UNWRITABLE.search(path) or "\\" in path or "#" in path:
                    found.problem(path, "the name holds \\, #, a line break or bytes that are no UTF-8; rename it")
                else:
                    kept.append(path)

    walk(root, "", frozenset())
    return sorted(kept)


def holds(root: Path, suffixes: Sequence[str], matches: Callable[[str], object]) -> bool:
    """Whether any of `files_below` has a path that `matches`; for `detect`, which does not care for problems."""
    return any(map(matches, files_below(root, suffixes, Findings(collect=True))))


@dataclass(frozen=True)
class Clip:
    """A folder of images: where it is, how its path reads in the index, modality → sub-folder, and how names of
    files that are no frames are shown."""

    folder: Path
    shown: str
    folders: Mapping[str, str]
    named: Callable[[str], str] = printable


Frames = dict[int, dict[str, tuple[str, str]]]  # frame → modality → (reference, shape or empty)


def _image_clip(job: tuple[Clip, bool, bool]) -> tuple[Frames, Findings]:
    """Frames of a clip in numerical order.

    A modality without a file for a frame is absent from that frame. A problem is: a sub-folder or file that
    the layout does not know, two files for one frame, an empty clip, and a file that is no image.
    """
    clip, names_only, collect = job
    found = Findings(collect)
    frames: Frames = {}
    modality_of = {name: modality for modality, name in clip.folders.items()}
    for entry in _listing(clip.folder, clip.shown, found):
        below = f"{clip.shown}/{clip.named(entry.name)}"
        if _junk(entry.name) or entry.name in DERIVED:
            found.ignored.append(below)
        elif entry.name not in modality_of or not _is_folder(entry):
            found.problem(below, f"not one of the folders {', '.join(modality_of)} of this layout; remove it")
        else:
            folder = Clip(Path(entry.path), f"{clip.shown}/{entry.name}", {}, clip.named)
            for frame, images in image_frames(folder, modality_of[entry.name], names_only, found).items():
                frames.setdefault(frame, {}).update(images)
    if not frames and not found.problems:
        found.problem(clip.shown, "holds no image; restore the clip or remove its folder")
    return dict(sorted(frames.items())), found


def image_frames(clip: Clip, modality: str, names_only: bool, found: Findings) -> Frames:
    """The images `<number>.jpg` or `.png` in the folder itself, as the frames of one modality."""
    frames: Frames = {}
    for entry in _listing(clip.folder, clip.shown, found):
        shown = f"{clip.shown}/{clip.named(entry.name)}"
        m = _FRAME.fullmatch(entry.name)
        if _junk(entry.name):
            found.ignored.append(shown)
        elif m is None:
            found.problem(shown, "a frame is named <number>.jpg or .png; rename or remove this file")
        elif int(m[1]) in frames:
            found.problem(shown, f"is frame {int(m[1])} like {frames[int(m[1])][modality][0]}; remove one of them")
        else:
            path = f"{clip.shown}/{entry.name}"
            with found.collecting(path):
                frames[int(m[1])] = {modality: (path, "" if names_only else image_shape(Path(entry.path), path))}
    return frames


def read_image_clips(clips: Sequence[Clip], title: str, options: Options, result: AdapterResult) -> list[Frames]:
    """The frames of every clip, in parallel; what else they hold is added to `result`."""
    jobs = [(clip, options.names_only, options.collect) for clip in clips]
    frames_of = parallel(_image_clip, jobs, title, options.workers)
    for _, found in frames_of:
        result.absorb(found)
    return [frames for frames, _ in frames_of]


def modality_columns(images: Mapping[str, tuple[str, str]]) -> dict[str, str]:
    """The six image columns of a row: empty where a modality is not in `images`."""
    columns = {}
    for modality in MODALITIES:
        columns[modality], columns[f"{modality}_shape"] = images.get(modality, ("", ""))
    return columns


def read_lines(path: Path) -> list[list[str]]:
    """Fields of the lines of an official CSV list; a BOM, CRLF and blank lines are fine. All values stay text."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as f:
            return [line for line in csv.reader(f, strict=True) if line]
    except (UnicodeDecodeError, csv.Error) as e:
        raise BadInput(f"{path}: not a CSV file in UTF-8 ({e}); restore it from the data set") from None
    except OSError as e:
        raise BadInput(f"{path}: cannot be read ({e.strerror}); restore it from the data set") from None


def read_words(path: Path) -> list[list[str]]:
    """Words of the lines of a challenge's list: a BOM, CRLF, tabs, blank lines, no final line end and `\\`
    between folders are fine. Raises `BadInput` when the file is no text in UTF-8."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as e:
        raise BadInput(f"{path}: not a text file in UTF-8 ({e}); restore it from the data set") from None
    except OSError as e:
        raise BadInput(f"{path}: cannot be read ({e.strerror}); restore it from the data set") from None
    return [words for line in text.split("\n") if (words := line.replace("\\", "/").split())]


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
