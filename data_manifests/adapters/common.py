"""What the adapters share: their result, the walk through a tree, and readers of image folders and official lists."""

import csv
import difflib
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from data_manifests.decode import image_shape
from data_manifests.errors import BadInput, refuse_irregular
from data_manifests.index import MODALITIES, UNWRITABLE, Row
from data_manifests.parallel import parallel

SPLITS = {"train": "train", "dev": "val", "val": "val", "valid": "val", "eval": "test", "test": "test"}
# Of operating systems, of a Synology disk station, of Jupyter; "._" and ".nfs" begin names of macOS and of NFS.
JUNK = {"Thumbs.db", ".DS_Store", "desktop.ini", "__MACOSX", "@eaDir", ".ipynb_checkpoints"}
# DADM's scripts make these folders from the infrared images; MMDA's code opens them and does not use them.
DERIVED = {"HOG_ir", "PLGF_ir"}
_MANY = 10_000  # files between two words on the progress of a search
_FRAME = re.compile(r"([0-9]{1,9})\.(?:jpg|jpeg|png)", re.IGNORECASE)


@dataclass(frozen=True)
class Options:
    """How a tree is indexed. The defaults open every file's header and raise at the first file that is wrong.

    workers: processes that read files (default: one a core).
    swir_nm: the HQ-WMCA band, in nm, that stands for infrared.
    frames: how many frames to take from a HQ-WMCA recording, evenly over its length.
    names_only: open no image and no container, see `data_manifests.adapters`.
    collect: list every problem in `AdapterResult.problems` and go on, instead of raising the first one.
    layouts: ids of the layouts to read where a root holds several.
    depth_maps: folder below the HQ-WMCA root with depth maps that replace the sensor's depth.
    unpickle: read PADISI-Face's joblib file, which is a pickle, with a reader that builds only plain arrays.
    salt: the salt of hashed identities (default: this installation's own, see `adapters.subjects`).
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
    """`text` on one line, with each byte of a file name that is not UTF-8 written as an escape."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8").replace("\n", "\\n").replace("\r", "\\r")


def counted(number: int, noun: str) -> str:
    """`1 frame`, `2 frames`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


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

    `ignored` names files and folders that are no data: those of the operating system and those that scripts
    derived. `notes` are sentences on states that the adapter handles, such as frames in only one package.
    `problems` must be repaired. Without `collect` the first problem is raised as `BadInput`. `losses` are what an index
    does without and a whole tree would hold.
    """

    collect: bool = False
    ignored: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    losses: list[Problem] = field(default_factory=list)

    def problem(self, path: str, what: str) -> None:
        """Record a problem, or raise it as `BadInput` without `collect`."""
        problem = Problem(printable(path), printable(what))
        if not self.collect:
            raise BadInput(str(problem))
        self.problems.append(problem)

    @contextmanager
    def collecting(self, path: str) -> Iterator[None]:
        """Record a `BadInput` raised inside the block as a problem of `path`; the rest of the block does not run."""
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
        self.losses += other.losses


@dataclass
class AdapterResult(Findings):
    """The rows of one tree, its official protocols (`protocols[name][split]` = sample ids) and its layout's id.

    modalities: what every frame of the layout holds. absent: recordings, or single frames `<recording>:<frame>`, that
    the tree lacks, and the owner's list that names each.
    """

    layout: str = ""
    modalities: tuple[str, ...] = MODALITIES
    rows: list[Row] = field(default_factory=list)
    protocols: dict[str, dict[str, list[str]]] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Layout:
    """One form of one data set on disk. `tree` is an example path for messages; a new form is a new `Layout`.

    modalities: what every frame holds.
    """

    id: str
    tree: str
    detect: Callable[[Path], bool]
    index: Callable[[Path, Options], AdapterResult]
    modalities: tuple[str, ...] = MODALITIES


def _junk(name: str) -> bool:
    return name.startswith(("._", ".nfs")) or name in JUNK


def alike(name: str, expected: Iterable[str]) -> str:
    """The expected name that `name` is nearly, such as `color` for `Color` or `colour`; else the empty text.

    Only plain words may differ by a letter: `01_e_s` and `02_e_b`, or `real_part` and `fake_part`, are two things.
    """
    names = list(expected)
    if same := [word for word in names if word.casefold() == name.casefold()]:
        return same[0]
    words = {word.casefold(): word for word in names if word.isalpha() and len(word) > 4}
    close = difflib.get_close_matches(name.casefold(), words, 1, 0.75)
    return words[close[0]] if close else ""


def stranger(name: str, expected: Iterable[str], kind: str = "") -> str:
    """What a message says of something in the tree that has none of the expected names, and the remedy. `kind` goes
    before the names, such as `the folders `."""
    names = list(expected)
    known = f"not one of {kind}{', '.join(names)}"
    if right := alike(name, names):
        return f"{known}, but nearly {right}; rename it to {right}"
    return f"{known}; rename it, or move it elsewhere if it is no part of the data set"


def no_folder(root: Path, place: str) -> str:
    """What a message says of a folder that the layout needs and the tree lacks."""
    folder = root
    for part in place.split("/"):
        if not (folder / part).is_dir():
            names = sorted(path.name for path in folder.iterdir() if path.is_dir())
            if found := [name for name in names if alike(name, [part])]:
                return f"no such folder, but {found[0]} in its place; rename that to {part}"
            break
        folder = folder / part
    return f"no such folder below {root}; restore it"


def list_files(folder: Path, pattern: str) -> list[Path]:
    """The owners' list files in `folder`, by name, without what an operating system left beside them."""
    return sorted(path for path in folder.glob(pattern) if not _junk(path.name))


def _listing(folder: Path, place: str, findings: Findings) -> list[os.DirEntry[str]]:
    """The entries of `folder` by name; none, and a problem, when it cannot be listed, such as a link to itself."""
    try:
        with os.scandir(folder) as listing:
            return sorted(listing, key=lambda entry: entry.name)
    except OSError as e:
        findings.problem(place, f"cannot be listed ({e.strerror}); restore the folder")
        return []


def folders(
    folder: Path, place: str, findings: Findings, show: Callable[[str], str] = printable
) -> list[tuple[str, str, Path]]:
    """The sub-folders of `folder` by name, each as (name, place, path); the place is the path that messages show.

    Files of the operating system are ignored; any other file is a problem. `show` gives what messages may show of
    a name, since a real name may hold personal data.
    """
    subfolders = []
    for entry in _listing(folder, place, findings):
        path = f"{place}/{show(entry.name)}" if place else show(entry.name)
        if _junk(entry.name):
            findings.ignored.append(path)
        elif not _is_folder(entry):
            findings.problem(path, "is not a folder as everything else here; move it elsewhere")
        else:
            subfolders.append((entry.name, path, Path(entry.path)))
    return subfolders


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link in a circle
        return False


def _walk(root: Path, suffixes: Sequence[str], findings: Findings) -> Iterator[str]:
    """The paths of `files_below`, in no order, as they are found."""

    def walk(folder: Path, place: str, above: frozenset[tuple[int, int]]) -> Iterator[str]:
        stat = folder.stat()
        here = (stat.st_dev, stat.st_ino)
        if here in above:
            findings.problem(place, "is a link to a folder that it lies in; link to the data itself instead")
            return
        for entry in _listing(folder, place or ".", findings):
            path = f"{place}/{entry.name}" if place else entry.name
            if _junk(entry.name):
                findings.ignored.append(printable(path))
            elif _is_folder(entry):
                yield from walk(Path(entry.path), path, above | {here})
            elif path.lower().endswith(tuple(suffixes)):
                if UNWRITABLE.search(path) or "\\" in path or "#" in path:
                    findings.problem(path, "the name holds \\, #, a line break or bytes that are no UTF-8; rename it")
                else:
                    yield path

    yield from walk(root, "", frozenset())


def files_below(root: Path, suffixes: Sequence[str], findings: Findings) -> list[str]:
    """Sorted paths, relative to `root` and with `/` between folders, of all files below it with one of the suffixes.

    Links are followed, but a link to a folder that holds it is a problem, and so is a name that an index cannot
    hold. Files of the operating system are ignored. How many were found is said on stderr from time to time.
    """
    paths: list[str] = []
    for path in _walk(root, suffixes, findings):
        paths.append(path)
        if len(paths) % _MANY == 0:
            print(f"{root}: {len(paths)} files found", file=sys.stderr, flush=True)
    return sorted(paths)


def holds(root: Path, suffixes: Sequence[str], matches: Callable[[str], object]) -> bool:
    """Whether a path of `files_below` matches; for `detect`, which ignores problems."""
    return any(map(matches, _walk(root, suffixes, Findings(collect=True))))


@dataclass(frozen=True)
class ImageFolder:
    """The images of one recording, or of one of its modalities.

    path: where the folder is. place: the same relative to the root, as index and messages name it. folders:
    modality → sub-folder. show: what messages may show of the name of a file that is no frame.
    """

    path: Path
    place: str
    folders: Mapping[str, str]
    show: Callable[[str], str] = printable


Frames = dict[int, dict[str, tuple[str, str]]]  # frame → modality → (reference, shape or empty)


def _frames_of_folder(job: tuple[ImageFolder, bool, bool]) -> tuple[Frames, Findings]:
    """The frames of a recording in numerical order.

    A modality without a file for a frame is absent from that frame. A problem is: a sub-folder or file that
    the layout does not know, two files for one frame, an empty recording, and a file that is no image.
    """
    folder, names_only, collect = job
    findings = Findings(collect)
    frames: Frames = {}
    modality_of = {name: modality for modality, name in folder.folders.items()}
    for entry in _listing(folder.path, folder.place, findings):
        place = f"{folder.place}/{folder.show(entry.name)}"
        if _junk(entry.name) or entry.name in DERIVED:
            findings.ignored.append(place)
        elif entry.name in modality_of and not _is_folder(entry):
            findings.problem(place, "is not a folder of images; restore it")
        elif entry.name not in modality_of:
            findings.problem(place, stranger(entry.name, modality_of, "the folders "))
        else:
            below = ImageFolder(Path(entry.path), f"{folder.place}/{entry.name}", {}, folder.show)
            for frame, images in image_frames(below, modality_of[entry.name], names_only, findings).items():
                frames.setdefault(frame, {}).update(images)
    if not frames and not findings.problems:
        findings.problem(folder.place, "holds no image; restore the recording")
    return dict(sorted(frames.items())), findings


def image_frames(folder: ImageFolder, modality: str, names_only: bool, findings: Findings) -> Frames:
    """The images `<number>.jpg` or `.png` in the folder itself, as the frames of one modality."""
    frames: Frames = {}
    for entry in _listing(folder.path, folder.place, findings):
        place = f"{folder.place}/{folder.show(entry.name)}"
        m = _FRAME.fullmatch(entry.name)
        if _junk(entry.name):
            findings.ignored.append(place)
        elif m is None:
            findings.problem(place, "a frame is named <number>.jpg or .png; rename this file or move it elsewhere")
        elif int(m[1]) in frames:
            other = frames[int(m[1])][modality][0]
            findings.problem(place, f"is frame {int(m[1])} like {other}; move one of them elsewhere")
        else:
            path = f"{folder.place}/{entry.name}"
            with findings.collecting(path):
                frames[int(m[1])] = {
                    modality: (path, "" if names_only else image_shape(Path(entry.path), path, modality))
                }
    return frames


def read_frames(folders: Sequence[ImageFolder], title: str, options: Options, result: AdapterResult) -> list[Frames]:
    """Read the frames of every folder in parallel; what else the folders hold goes into `result`."""
    jobs = [(folder, options.names_only, options.collect) for folder in folders]
    frames_of = parallel(_frames_of_folder, jobs, title, options.workers)
    for _, findings in frames_of:
        result.absorb(findings)
    return [frames for frames, _ in frames_of]


def modality_columns(images: Mapping[str, tuple[str, str]]) -> dict[str, str]:
    """The six image columns of a row: empty where a modality is not in `images`."""
    columns = {}
    for modality in MODALITIES:
        columns[modality], columns[f"{modality}_shape"] = images.get(modality, ("", ""))
    return columns


def read_lines(path: Path) -> list[list[str]]:
    """The fields of each line of an official CSV list, as text. A BOM, CRLF and blank lines are allowed."""
    refuse_irregular(path, "restore it from the data set")
    try:
        with path.open(encoding="utf-8-sig", newline="") as f:
            return [line for line in csv.reader(f, strict=True) if line]
    except (UnicodeDecodeError, csv.Error) as e:
        raise BadInput(f"{path}: not a CSV file in UTF-8 ({e}); restore it from the data set") from None
    except OSError as e:
        raise BadInput(f"{path}: cannot be read ({e.strerror}); restore it from the data set") from None


def read_words(path: Path) -> list[list[str]]:
    """The words of each line of a challenge's list. A BOM, CRLF, tabs, blank lines, a missing last line end and
    `\\` between folders are allowed. Raises `BadInput` when the file is not text in UTF-8."""
    refuse_irregular(path, "restore it from the data set")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as e:
        raise BadInput(f"{path}: not a text file in UTF-8 ({e}); restore it from the data set") from None
    except OSError as e:
        raise BadInput(f"{path}: cannot be read ({e.strerror}); restore it from the data set") from None
    return [words for line in text.split("\n") if (words := line.replace("\\", "/").split())]


def read_list(path: Path, columns: Sequence[str]) -> list[dict[str, str]]:
    """The named columns of an official CSV list, row by row; its header may hold others, which are not returned.

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


def listed_frames(path: Path) -> Iterator[tuple[str, int]]:
    """(recording's folder, frame) of each line of a challenge's list that begins with a frame's path, such as
    `train/1_000_1_1_1/profile/0001.jpg`."""
    for words in read_words(path):
        folder, _, name = words[0].rpartition("/")
        if m := _FRAME.fullmatch(name):
            yield folder.rpartition("/")[0], int(m[1])


def recording_protocol(
    name: str,
    path: Path,
    listed: Iterable[tuple[str, str]],
    samples: Mapping[str, Sequence[str]],
    result: AdapterResult,
) -> dict[str, list[str]]:
    """Turn an official list of (recording, split) into a protocol of sample ids under our split names.

    Recordings that only the list has go into `result.absent`; those and the ones that only the tree has are counted in
    `result.notes`. Raises `BadInput` on an unknown split name and on a recording listed twice.
    """
    notes = result.notes
    splits: dict[str, list[str]] = {}
    names: set[str] = set()
    absent = []
    for recording, split in listed:
        if split not in SPLITS:
            known = ", ".join(SPLITS)
            raise BadInput(f"{path}: split {split!r} of {recording} is not one of {known}; correct the list")
        if recording in names:
            raise BadInput(f"{path}: {recording} is listed twice; keep one line")
        names.add(recording)
        if recording in samples:
            splits.setdefault(SPLITS[split], []).extend(samples[recording])
        else:
            absent.append(recording)
    result.absent |= {recording: path.name for recording in absent if recording not in result.absent}
    if absent:
        notes.append(f"{name}: {len(absent)} of {len(names)} listed recordings are not in the tree, first {absent[0]}")
    if rest := [recording for recording in samples if recording not in names]:
        notes.append(f"{name}: {len(rest)} of {len(samples)} recordings in the tree are not listed, first {rest[0]}")
    return {split: splits[split] for split in ("train", "val", "test") if split in splits}


def samples_by_recording(rows: Iterable[Row]) -> dict[str, list[str]]:
    """clip_id → sample ids, in the order of the rows."""
    samples: dict[str, list[str]] = {}
    for row in rows:
        samples.setdefault(row.clip_id, []).append(row.sample_id)
    return samples
