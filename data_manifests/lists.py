"""Public list files: how to read each, which label means bona fide, and what is wrong with a copy.

A line names files of a data set's tree in one of its layouts. It becomes (data set, recording, frame), by which an
index names frames, so that one list serves every layout that numbers frames alike. Users fetch the lists themselves;
the manifests hold their hashes and counts (data-set sheet, sections 3 to 5).

The lists do not agree on the label of live: it is 1 in the challenges' lists, Flex-Modal and MMDG, 0 in CASIA's
repository of 2026 and Idiap's tables, `m00000` in PADISI's. Each `Format` says which. Where a file's name tells the
class, a label that contradicts it is an error.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from data_manifests.adapters.common import SPLITS, AdapterResult, Problem, counted, read_lines
from data_manifests.errors import BadInput, line_of, refuse_irregular
from data_manifests.index import DATASETS, Row
from data_manifests.manifests import Manifest, PublishedList, manifest

_FIRST = 3  # how many names a message gives of a longer list

RACES = {"1": "AF", "2": "CA", "3": "EA"}
MASKS = {"1": "3D-Mask", "2": "Silicone-Mask"}
CUT_OUTS = ("01_e_s", "02_e_b", "03_en_s", "04_en_b", "05_enm_s", "06_enm_b")

_RACE = re.compile("([123])_([0-9]{3})_[1-4]_[123]_([1-4])")
_MASK = re.compile("([12])_([0-9]{3})_[0-9]_[0-9]_[12]_[0-9]_[1-4]")
_SUBJECT = re.compile("CLKJ_[A-Z]{1,2}[0-9]{4}")
_RSSDK = re.compile(r"(real|0[1-6]_[a-z]+_[a-z])\.rssdk")
_WMCA = re.compile(r"([0-9]{3})_[0-9]{2}_[0-9]{3}_([0-9])_[0-9]{2}")
_HQ = re.compile("[0-9]+_[0-9]+_([0-9]+)_[0-9]+_([0-9]+)_[0-9]+_[0-9]+-[0-9A-Za-z]+")
_PADISI = re.compile(r"(?:ID_[^_/]+_)?([0-9A-Za-z]{8})(?:_[^/]+)?\.npz")
_IMAGE = re.compile(r"([0-9]{1,9})\.(?:jpg|jpeg|png)", re.IGNORECASE)
_TRIPLET = re.compile(r"([0-9]+)-(color|depth|ir)\.(?:jpg|jpeg|png)", re.IGNORECASE)
MODALITY_OF = {"color": "rgb", "profile": "rgb", "depth": "depth", "ir": "ir"}


@dataclass(frozen=True)
class Entry:
    """A line of a list. `frame` is None for a whole recording; `label` and `split` are empty where the list has none.

    `paired` is False when the depth or infrared file is of another recording or frame than the colour file.
    """

    line: int
    dataset: str
    clip_id: str
    frame: int | None
    label: str
    split: str = ""
    paired: bool = True

    @property
    def name(self) -> str:
        return self.clip_id if self.frame is None else f"{self.clip_id}:{self.frame}"

    @property
    def subject(self) -> str:
        """The subject in the recording's name, or the empty text."""
        return subject_of(self.dataset, self.clip_id)


def recording_of(parts: Sequence[str]) -> tuple[str, str]:
    """(data set, clip_id) of a recording's path, as the adapters name it. Raises `BadInput` on an unknown name."""
    name = parts[-1] if parts else ""
    if _RSSDK.fullmatch(name) and len(parts) > 1 and _SUBJECT.fullmatch(parts[-2]):
        return "S", f"{parts[-2]}/{name}"
    if _RACE.fullmatch(name) or _MASK.fullmatch(name) or re.fullmatch("[0-9]{6}", name):
        return "C", name
    if _WMCA.fullmatch(name.removesuffix(".hdf5")):
        return "W", name.removesuffix(".hdf5")
    if _HQ.fullmatch(name.removesuffix(".h5")):
        return "H", name.removesuffix(".h5")
    raise BadInput(f"{'/'.join(parts)!r} is no recording of {', '.join(DATASETS.values())}")


def frame_of(path: str) -> tuple[str, str, int | None]:
    """(data set, clip_id, frame) of an image, a stack or a recording's folder; a folder's frame is None."""
    parts = path.split("/")
    if m := _PADISI.fullmatch(parts[-1]):
        return "P", m[1], 0
    if (m := _TRIPLET.fullmatch(parts[-1])) and parts[0] in ("Val", "Testing"):
        return "S", "/".join((*parts[:-1], m[1])), 0
    if m := _IMAGE.fullmatch(parts[-1]):
        if len(parts) < 3 or parts[-2] not in MODALITY_OF:
            raise BadInput(f"{path!r} is not <recording>/<{'|'.join(MODALITY_OF)}>/<number>.jpg")
        return (*recording_of(parts[:-2]), int(m[1]))
    return (*recording_of(parts[:-1] if parts[-1] in MODALITY_OF else parts), None)


def _modality(path: str) -> str:
    """`rgb`, `depth` or `ir` from an image's folder or, in a triplet, its name; the empty text for other files."""
    parts = path.split("/")
    if m := _TRIPLET.fullmatch(parts[-1]):
        return MODALITY_OF[m[2].lower()]
    return MODALITY_OF.get(parts[-2], "") if len(parts) > 1 and _IMAGE.fullmatch(parts[-1]) else ""


def subject_of(dataset: str, clip_id: str) -> str:
    """`AF-000`, `3D-Mask-012`, `CLKJ_AS0001`, a client's number; the empty text where the name tells none."""
    if m := _RACE.fullmatch(clip_id):
        return f"{RACES[m[1]]}-{m[2]}"
    if m := _MASK.fullmatch(clip_id):
        return f"{MASKS[m[1]]}-{m[2]}"
    if dataset == "S" and _SUBJECT.fullmatch(clip_id.split("/")[0]):
        return clip_id.split("/")[0]
    m = _WMCA.fullmatch(clip_id) or _HQ.fullmatch(clip_id)
    return m[1] if m and dataset in "WH" else ""


def label_of(dataset: str, clip_id: str) -> str:
    """`bonafide` or `attack` from the recording's name, or the empty text where the name does not tell."""
    if m := _RACE.fullmatch(clip_id):
        return "bonafide" if m[3] == "1" else "attack"
    if _MASK.fullmatch(clip_id):
        return "attack"
    if dataset == "S" and (m := _RSSDK.fullmatch(clip_id.split("/")[-1])):
        return "bonafide" if m[1] == "real" else "attack"
    m = _WMCA.fullmatch(clip_id) or _HQ.fullmatch(clip_id)
    return ("attack" if int(m[2]) else "bonafide") if m and dataset in "WH" else ""


def safe_path(text: str) -> str:
    """A path of a list, with `/` between folders. Raises `BadInput` when it is absolute or climbs out with `..`."""
    path = text.replace("\\", "/")
    if path.startswith("/") or re.match("[A-Za-z]:", path) or {"..", ".", ""} & set(path.split("/")) or "\0" in path:
        raise BadInput(f"{text!r} must be a path below the data set's folder, without empty, . and .. parts")
    return path


def text_lines(path: Path) -> Iterator[tuple[int, list[str]]]:
    """(number, words) of the lines that are not blank. A BOM, CR, CRLF, tabs, a missing last line end are allowed."""
    refuse_irregular(path, "fetch the list again")
    try:
        data = path.read_bytes()
    except (OSError, ValueError) as e:
        raise BadInput(f"{path}: cannot be read ({e}); fetch the list again") from None
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as e:
        raise BadInput(f"{path}, row {line_of(e)}: not UTF-8; fetch the list again") from None
    for number, line in enumerate(text.replace("\r\n", "\n").replace("\r", "\n").split("\n"), 1):
        if words := line.split():
            yield number, words


def _image_line(words: Sequence[str], live: str, labelled: bool, modalities: int) -> Entry:
    """Read a line of `modalities` paths and, in a labelled list, a label, of which `live` means bona fide."""
    columns = ["colour", "depth", "infrared"][:modalities] + ["label"] * labelled
    if len(words) != len(columns):
        raise BadInput(f"has {len(words)} fields, not {' '.join(columns)}")
    label = ""
    if labelled:
        if words[-1] not in ("0", "1"):
            raise BadInput(f"has the label {words[-1]!r}, which is neither 0 nor 1")
        label = "bonafide" if words[-1] == live else "attack"
    paths = [safe_path(word) for word in words[:modalities]]
    frames = [frame_of(path) for path in paths]
    images = [_modality(path) for path in paths]
    if images != ["rgb", "depth", "ir"][:modalities] and images != [""]:  # [""]: a stack or a recording's folder
        raise BadInput(f"has {', '.join(c or 'no' for c in images)} images where {' '.join(columns)} stand")
    return Entry(0, *frames[0], label, paired=len(set(frames)) == 1)


def _idiap_label(text: str) -> str:
    if text.strip().lower() in ("0", "", "bonafide", "real"):
        return "bonafide"
    if re.fullmatch(r"attack(/\S*)?|[1-9][0-9]*", text.strip()):
        return "attack"
    raise BadInput(f"has the label {text!r}, which is neither 0 or bonafide nor attack")


def _split(text: str) -> str:
    if text.strip() not in SPLITS:
        raise BadInput(f"has the split {text!r}, which is not one of {', '.join(SPLITS)}")
    return SPLITS[text.strip()]


def _table(path: Path, columns: Sequence[str], read: Callable[[Sequence[str]], Entry]) -> list[Entry]:
    """The rows of a CSV file with a header; `read` makes an entry of the named columns."""
    header, *rows = read_lines(path) or [[]]
    for column in columns:
        if column not in header:
            raise BadInput(f"{path}: no column {column}; restore the list from the data set")
    at = [header.index(column) for column in columns]
    entries = []
    for number, row in enumerate(rows, 2):
        try:
            if len(row) != len(header):
                raise BadInput(f"has {len(row)} fields, not {len(header)}")
            entries.append(_at(number, read([row[i] for i in at])))
        except BadInput as e:
            raise BadInput(f"{path}, row {number}: {e}; restore the list from the data set") from None
    return entries


def _at(number: int, entry: Entry) -> Entry:
    return Entry(number, entry.dataset, entry.clip_id, entry.frame, entry.label, entry.split, entry.paired)


def _row(name: str, label: str, split: str) -> Entry:
    dataset, recording, _ = frame_of(safe_path(name))
    return Entry(0, dataset, recording, None, label, split)


def _idiap(path: Path) -> list[Entry]:
    return _table(path, ("filepath", "group", "label"), lambda r: _row(r[0], _idiap_label(r[2]), _split(r[1])))


def _idiap_hq(path: Path) -> list[Entry]:
    """`video_name,label,type,split`, with a header or without."""
    entries = []
    for number, row in enumerate(read_lines(path), 1):
        fits = len(row) == 4 and row[1].strip().isdecimal()
        if number == 1 and not fits:
            continue
        try:
            if not fits:
                raise BadInput("is not video_name,label,type,split")
            entries.append(_at(number, _row(row[0].strip(), _idiap_label(row[1]), _split(row[3]))))
        except BadInput as e:
            raise BadInput(f"{path}, row {number}: {e}; restore the list from the data set") from None
    return entries


def _trial(text: str) -> str:
    if not re.fullmatch("[0-9A-Za-z]{8}", text):
        raise BadInput(f"has the trial {text!r}, which is not eight letters and digits; read ids as text")
    return text


def _padisi(path: Path) -> list[Entry]:
    return _table(path, ("trial_id", "partition_name"), lambda r: Entry(0, "P", _trial(r[0]), None, "", _split(r[1])))


def _padisi_truth(path: Path) -> list[Entry]:
    """Read only the labels, never the columns on persons."""

    def read(row: Sequence[str]) -> Entry:
        if not re.fullmatch("m[0-9]{5}", row[1]):
            raise BadInput(f"has the code {row[1]!r}, which is not m and five digits")
        return Entry(0, "P", _trial(row[0]), None, "bonafide" if row[1] == "m00000" else "attack")

    return _table(path, ("trial_id", "ground_truth"), read)


def _bob(path: Path) -> list[Entry]:
    """Read a list of bob.pad's interface, where an empty `attack_type` means bona fide."""
    return _table(path, ("filename", "attack_type"), lambda r: _row(r[0], "attack" if r[1].strip() else "bonafide", ""))


def _text(live: str, labelled: bool, modalities: int) -> Callable[[Path], list[Entry]]:
    def read(path: Path) -> list[Entry]:
        entries = []
        for number, words in text_lines(path):
            try:
                entries.append(_at(number, _image_line(words, live, labelled, modalities)))
            except BadInput as e:
                raise BadInput(f"{path}, row {number}: {e}; fetch the list again") from None
        return entries

    return read


@dataclass(frozen=True)
class Format:
    """How to read one kind of list. `live` says in words which label means bona fide."""

    what: str
    live: str
    read: Callable[[Path], list[Entry]]


FORMATS = {
    "frames": Format("colour depth infrared label (MMDG, Flex-Modal, challenge 2019)", "1", _text("1", True, 3)),
    "frames-unlabelled": Format("colour depth infrared (challenge 2019, public lists)", "none", _text("", False, 3)),
    "stack": Format("stack label (MMDG, PADISI)", "1", _text("1", True, 1)),
    "recordings-2020": Format("frame or recording, label (challenge 2020)", "1", _text("1", True, 1)),
    "recordings-2020-unlabelled": Format("recording (challenge 2020, *_res.txt)", "none", _text("", False, 1)),
    "colour": Format("colour frame or recording, label (CASIA's repository of 2026)", "0", _text("0", True, 1)),
    "idiap": Format("CSV filepath, group, label (WMCA)", "0 or bonafide", _idiap),
    "idiap-hq": Format("CSV video_name, label, type, split (HQ-WMCA)", "0", _idiap_hq),
    "bob": Format("CSV filename, attack_type (bob.pad)", "empty attack_type", _bob),
    "padisi": Format("CSV trial_id, partition_name (PADISI folds)", "none", _padisi),
    "padisi-truth": Format("CSV trial_id, ground_truth (PADISI)", "m00000", _padisi_truth),
}


def read_list(path: Path, format: str) -> list[Entry]:
    """Read a public list.

    Raises `BadInput` naming file and row on a line of another form, and on labels that contradict the names of the
    files, so that no list of the other polarity is read as this one.
    """
    entries = FORMATS[format].read(path)
    if not entries:
        raise BadInput(f"{path}: holds no line; fetch the list again")
    named = [label_of(entry.dataset, entry.clip_id) for entry in entries]
    labels = [(entry, name) for entry, name in zip(entries, named, strict=True) if entry.label and name]
    wrong = [(entry, name) for entry, name in labels if entry.label != name]
    if wrong and len(wrong) == len(labels):
        raise BadInput(
            f"{path}: every label is the opposite of what the names say, so this is no list of the format {format}, "
            f"where live is {FORMATS[format].live}"
        )
    if wrong:
        entry, name = wrong[0]
        raise BadInput(
            f"{path}, row {entry.line}: {len(wrong)} labels contradict the names, first {entry.name}, labelled "
            f"{entry.label} but named {name}; fetch the list again"
        )
    return entries


def _some(names: Iterable[object]) -> str:
    listed = [str(name) for name in names]
    return ", ".join(listed[:_FIRST]) + (", …" if len(listed) > _FIRST else "")


def differences(published: PublishedList, path: Path, entries: Sequence[Entry]) -> list[str]:
    """How a copy differs from the published list in hash and counts; empty when it is that list.

    Other line ends, a BOM or another last line end, which version control makes, do not count.
    """
    counts = {
        "lines": len(entries),
        "bonafide": sum(entry.label == "bonafide" for entry in entries),
        "attack": sum(entry.label == "attack" for entry in entries),
        "frames": len({(entry.clip_id, entry.frame) for entry in entries}),
        "recordings": len({entry.clip_id for entry in entries}),
    }
    wrong = [
        f"{path.name}: {count} {what}, published are {expected}"
        for what, count in counts.items()
        if (expected := getattr(published, what)) is not None and expected != count
    ]
    data = path.read_bytes()
    if published.sha1 and not any(
        hashlib.sha1(version, usedforsecurity=False).hexdigest().startswith(published.sha1)
        for version in (data, _as_published(data, published))
    ):
        digest = hashlib.sha1(data, usedforsecurity=False).hexdigest()
        wrong.append(f"{path.name}: sha1 {digest[: len(published.sha1)]}…, published is {published.sha1}…")
    return wrong


def _as_published(data: bytes, published: PublishedList) -> bytes:
    """The same lines with the published line ends."""
    end = b"\r\n" if published.line_end == "CRLF" else b"\n"
    lines = data.removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n").rstrip(b"\n").split(b"\n")
    return end.join(lines) + (end if published.last_line_end else b"")


def defects(lists: Mapping[str, Sequence[Entry]]) -> list[str]:
    """The defects of a benchmark's lists of one data set, a sentence each. `lists` is split → entries.

    Defects are duplicate lines, frames and subjects in two splits, modalities of different frames, an ethnicity of
    CeFA that is in no list, and the same cut-outs of CASIA-SURF in every split.
    """
    flaws = []
    for split, entries in lists.items():
        count = Counter(entry.name for entry in entries)
        if twice := [name for name, n in count.items() if n > 1]:
            flaws.append(f"{split}: duplicate lines: {len(twice)} frames, first {_some(twice)}")
        if apart := [entry.name for entry in entries if not entry.paired]:
            flaws.append(f"{split}: lines that pair modalities of different frames: {len(apart)}, first {_some(apart)}")
    splits = list(lists)
    for i, first in enumerate(splits):
        for second in splits[i + 1 :]:
            frames = {entry.name for entry in lists[first]} & {entry.name for entry in lists[second]}
            if frames:
                flaws.append(f"frames in {first} and {second}: {len(frames)}, first {_some(sorted(frames))}")
            shared = {e.subject for e in lists[first]} & {e.subject for e in lists[second]} - {""}
            for subject in sorted(shared)[:_FIRST]:
                n, m = (sum(e.subject == subject for e in lists[split]) for split in (first, second))
                flaws.append(f"subject {subject} is in {first} ({n} lines) and {second} ({m} lines)")
            if len(shared) > _FIRST:
                flaws.append(f"{len(shared)} subjects in all are in {first} and {second}")
    everything = [entry for entries in lists.values() for entry in entries]
    races = {entry.subject[:2] for entry in everything if _RACE.fullmatch(entry.clip_id)}
    if races and (missing := [race for race in RACES.values() if race not in races]):
        flaws.append(f"no subject of {', '.join(missing)} in any list; there are {', '.join(sorted(races))}")
    cuts = [{e.clip_id.split("/")[-1].removesuffix(".rssdk") for e in entries} for entries in lists.values()]
    if len(cuts) > 1 and all(set(CUT_OUTS) <= codes for codes in cuts):
        flaws.append(f"all six cut-outs are in every split ({', '.join(lists)}), so no attack is unseen")
    return flaws


@dataclass(frozen=True)
class Benchmark:
    """A benchmark's protocol over an index: split → sample ids, and notes on the copies of its lists and their defects.

    `altered` says how copies differ from the published lists.
    """

    splits: dict[str, list[str]]
    notes: list[str]
    altered: list[str]

    @property
    def name(self) -> str:
        return "mmdg-altered" if self.altered else "mmdg"


def read_benchmark(dataset: str, folder: Path, benchmark: str = "mmdg") -> dict[str, tuple[PublishedList, list[Entry]]]:
    """Split → (published list, entries of the user's copy); empty when the folder has none of the set's files.

    Raises `BadInput` when only some of them are there, and on a list that `read_list` refuses.
    """
    if not folder.is_dir():
        raise BadInput(f"lists {benchmark} = {folder}: no such folder; correct its path")
    published = manifest(dataset).lists(benchmark)
    present = [file for file in published if (folder / file).exists()]
    if not present:
        return {}
    if missing := [file for file in published if file not in present]:
        raise BadInput(f"{folder}: {', '.join(present)} but no {', '.join(missing)}; fetch the missing lists")
    read = {}
    for file, entry in published.items():
        entries = read_list(folder / file, entry.format)
        if strangers := [e for e in entries if e.dataset != dataset]:
            raise BadInput(
                f"{folder / file}, row {strangers[0].line}: {strangers[0].name} is not of {DATASETS[dataset]}"
            )
        read[entry.split] = (entry, entries)
    return read


def mmdg(rows: Sequence[Row], folder: Path) -> Benchmark:
    """MMDG's protocol over the indexed sets of C, S, W and P whose lists are in `folder` (`C-train.txt` and so on).

    The lists stay as they are: notes report their defects and nothing repairs them. Only a line that cannot be a
    frame of an index is left out and noted: it pairs modalities of different frames, it repeats a line, or the
    manifest names it as one that the release cannot pair and the tree does not hold it whole. In an index by names only
    a line stands for the recording where containers hold the frames (see `adapters`). Raises `BadInput`, with counts
    and first names, when the lists name frames that the tree lacks, or a frame of the other class.
    """
    splits: dict[str, list[str]] = {"train": [], "val": [], "test": []}
    notes: list[str] = []
    altered: list[str] = []
    absent: list[str] = []
    used = False
    for dataset in dict.fromkeys(row.dataset for row in rows):
        about = manifest(dataset)
        if not about.lists("mmdg"):
            continue
        read = read_benchmark(dataset, folder)
        if not read:
            notes.append(f"mmdg: no lists of {dataset} in {folder}, so it is left out")
            continue
        used = True
        own = _Own(row for row in rows if row.dataset == dataset)
        for split, (published, entries) in read.items():
            _fits(dataset, own.rows, published, folder)
            altered += differences(published, folder / published.file, entries)
            splits[split] += _joined(own, published, entries, about, notes, absent)
        notes += [f"mmdg: {dataset}: {text}" for text in defects({split: e for split, (_, e) in read.items()})]
    if absent:
        raise BadInput(f"protocol mmdg: the trees lack frames that the lists name: {'; '.join(absent)}; restore them")
    if not used:
        raise BadInput(f"{folder}: holds no list of an indexed set, such as C-train.txt; correct its path")
    notes += [f"mmdg: not the published list: {text}" for text in altered]
    return Benchmark(splits, notes, altered)


def _fits(dataset: str, rows: Iterable[Row], published: PublishedList, folder: Path) -> None:
    """Raise `BadInput` when the list numbers frames in another way than the indexed layout."""
    for row in rows:
        if row.layout not in published.layouts:
            raise BadInput(
                f"{folder / published.file} numbers the frames of {' and '.join(published.layouts)}, but {dataset} is "
                f"indexed from {row.layout}, where frames have other numbers; index the other layout"
            )


class _Own:
    """The rows of one data set, by recording and frame."""

    def __init__(self, rows: Iterable[Row]) -> None:
        self.rows = list(rows)
        self.recordings = {row.clip_id: row for row in self.rows}
        self._frames = {(row.clip_id, row.frame): row for row in self.rows}

    def row(self, entry: Entry) -> Row | None:
        """The row of a list's line. A recording has one row for all of its lines where nobody opened its container."""
        recording = self.recordings.get(entry.clip_id)
        if recording is None or entry.frame is None or is_unopened(recording):
            return recording
        return self._frames.get((entry.clip_id, entry.frame))


def is_unopened(row: Row) -> bool:
    """Whether the row stands for a whole recording, whose container nobody opened."""
    return row.names_only and (row.rgb or row.depth or row.ir).lower().endswith((".h5", ".hdf5"))


def _joined(
    own: _Own,
    published: PublishedList,
    entries: Sequence[Entry],
    about: Manifest,
    notes: list[str],
    absent: list[str],
) -> list[str]:
    """The sample ids of one list's lines, in its order, each once."""
    samples: dict[str, None] = {}
    lacking: list[str] = []
    unpaired: list[str] = []
    for entry in entries:
        row = own.row(entry)
        whole = row is not None and bool(row.rgb and row.depth and row.ir)
        if not entry.paired or (not whole and (entry.clip_id, entry.frame) in about.unpaired):
            unpaired.append(entry.name)
        elif row is None:
            lacking.append(entry.name)
        elif row.label != entry.label:
            raise BadInput(f"{published.file}, {_other_class(entry, row)}")
        else:
            samples[row.sample_id] = None
    if lacking:
        absent.append(f"{len(lacking)} of {len(entries)} of {published.file}, first {_some(lacking)}")
    if unpaired:
        left_out = f"{len(unpaired)} lines, first {_some(unpaired)}"
        notes.append(f"mmdg: {published.file}: left out, as they cannot be paired: {left_out}")
    return list(samples)


def _other_class(entry: Entry, row: Row) -> str:
    return f"row {entry.line}: {entry.name} is {entry.label} there and {row.label} in the index; fetch the list again"


def check_lists(dataset: str, result: AdapterResult, folder: Path) -> tuple[list[Problem], list[str]]:
    """Compare a tree with every public list of its data set in `folder`; return problems and notes.

    A copy that differs from the published list is a problem of the list, and each recording that lacks frames which a
    list names is a problem too. Notes tell the lists' defects and the lists that number frames as another layout does.
    Raises `BadInput` when the folder has no list of the data set.
    """
    about = manifest(dataset)
    if not folder.is_dir():
        raise BadInput(f"{folder}: no such folder; name the folder of the lists")
    present = [published for published in about.list if (folder / published.file).is_file()]
    if not present:
        example = about.list[0].file
        raise BadInput(f"{folder}: holds no list of {about.name}, such as {example}; name the folder of the lists")
    problems: list[Problem] = []
    notes: list[str] = []
    own = _Own(result.rows)
    lacking: dict[str, list[tuple[str, Entry]]] = {}
    benchmarks: dict[str, dict[str, list[Entry]]] = {}
    for published in present:
        if result.layout not in published.layouts:
            layouts = " and ".join(published.layouts)
            notes.append(f"{published.file} is not compared, since it numbers the frames of {layouts}")
            continue
        try:
            entries = read_list(folder / published.file, published.format)
        except BadInput as e:
            problems.append(Problem(published.file, str(e).removeprefix(f"{folder / published.file}: ")))
            continue
        altered = differences(published, folder / published.file, entries)
        problems += [Problem(published.file, f"not the published list: {text}") for text in altered]
        benchmarks.setdefault(published.benchmark, {})[published.split] = entries
        for entry in entries:
            row = own.row(entry)
            if row is None and entry.paired and (entry.clip_id, entry.frame) not in about.unpaired:
                lacking.setdefault(entry.clip_id, []).append((published.file, entry))
            elif row is not None and entry.label and entry.label != row.label:
                problems.append(Problem(published.file, _other_class(entry, row)))
    for name, lists in benchmarks.items():
        notes += [f"{name}: {text}" for text in defects(lists)]
        files = {published.file for published in about.lists(name).values() if name == "mmdg"}
        absent = sorted(files - {published.file for published in present})
        problems += [Problem(file, f"no such list in {folder}; fetch it too") for file in absent]
    for recording, entries_of in lacking.items():
        files_named = " and ".join(dict.fromkeys(file for file, _ in entries_of))
        frames = dict.fromkeys(entry.frame for _, entry in entries_of)
        what = f"lacks {counted(len(frames), 'frame')} ({_some(frames)})"
        if recording not in own.recordings:
            what = "has no frame in the tree"
        modalities = ", ".join(result.modalities)
        problems.append(Problem(recording, f"{what}, though named in {files_named}; restore {modalities}"))
    return problems, notes
