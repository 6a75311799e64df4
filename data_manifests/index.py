"""The index: a row for each frame, with the same columns for every data set (data-set sheet, section 11).

An index is three text files in one folder, which people can read, compare and correct by hand:

- `index.csv`: a row for each frame. RFC 4180, UTF-8, LF, a header with exactly the names of `COLUMNS`.
- `protocols.csv`: a line `protocol,split,sample_id` for each member of a split, so that one frame can train in one
  protocol and test in another.
- `roots.toml`: a line `C = "…"` for each data set's tree, absolute or relative to the file. It does not count in
  `Index.sha256`: the same data in another place is the same index.

A reference relative to the data set's root names an image (see `Reference`); an empty reference says that this frame
lacks the modality. A row whose `*_shape` columns are all empty was indexed by names only: nobody opened its images,
so it can be counted and split but not decoded.

An index may have millions of rows. It is read once, line by line, and checked; what was found lies then beside it in
`.index.columns`: where each line begins, the columns that are asked for of many rows, and the splits. Later starts map
that file, as long as it stands for the very bytes of the text files and of this module and is whole; the text stays
the truth. A `Row` is read from the text when somebody asks for it.
"""

import csv
import errno
import hashlib
import io
import json
import os
import re
import sys
import tomllib
import weakref
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property, lru_cache
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, overload

import numpy as np
from numpy.typing import NDArray

from data_manifests import mapped, sums
from data_manifests.errors import BadInput, naming, refuse_irregular
from data_manifests.locks import locked
from data_manifests.parallel import shown

DATASETS = {"C": "CASIA-SURF CeFA", "S": "CASIA-SURF", "W": "WMCA", "H": "HQ-WMCA", "P": "PADISI-Face"}
LABELS = ("bonafide", "attack")
FAMILIES = (
    "print",
    "print_cut",
    "replay",
    "papermask",
    "rigidmask",
    "flexiblemask",
    "fakehead",
    "glasses",
    "makeup",
    "tattoo",
    "wig",
    "transparentmask",
    "halfmask",
    "3dmask",
    "silicone",
)
# 8bit_ceil: ⌈255·x⌉ of a float 0 … 1, stored as JPG; 8bit_estimated: a network's estimate from the colour image.
DEPTH_ENCODINGS = ("8bit_unknown", "8bit_mad", "z16_mm", "unit_float", "8bit_ceil", "8bit_estimated")
MODALITIES = ("rgb", "depth", "ir")


@dataclass(frozen=True, slots=True)
class Reference:
    """Where the pixels of one modality of one frame are, relative to the data set's root.

    `path` alone is an image file. `path#member[i]…[c,…]` is an array in an HDF5 file (member = the dataset's
    path) or an .npz file (member = the key). Each bracket group but the last holds one integer, an index into the
    leading axis that is left; the last picks channels of the remaining (C, H, W) array, in their order.
    """

    path: str
    member: str = ""
    at: tuple[int, ...] = ()
    channels: tuple[int, ...] = ()

    def __str__(self) -> str:
        if not self.member:
            return self.path
        at = "".join(f"[{i}]" for i in self.at)
        return f"{self.path}#{self.member}{at}[{','.join(map(str, self.channels))}]"


_CONTAINER = re.compile(r"\.(hdf5|h5|npz)$", re.IGNORECASE)
_N = "(?:0|[1-9][0-9]{0,17})"
_MEMBER = re.compile(rf"(?P<member>[^\[\]]+)(?P<at>(?:\[{_N}\])*)\[(?P<channels>{_N}(?:,{_N})*)\]")
UNWRITABLE = re.compile("[\r\n\0\ud800-\udfff]")  # a surrogate stands for a byte of a file name that is no text
_SHAPE = re.compile(r"[1-9][0-9]*x[1-9][0-9]*:(?:u?int(?:8|16|32|64)|float(?:16|32|64))")


def _below_root(path: str) -> bool:
    """Whether a path is relative, has `/` between its folders and does not climb out with `..`."""
    climbs = ".." in path and ".." in path.split("/")
    return bool(path) and path[0] != "/" and "\\" not in path and "\0" not in path and not climbs


@lru_cache(maxsize=1 << 14)  # frames of recordings are numbered alike
def _selection(text: str) -> tuple[str, tuple[int, ...], tuple[int, ...]] | None:
    """Member, indices and channels that the part of a reference behind `#` names; None where it breaks the grammar."""
    m = _MEMBER.fullmatch(text)
    if m is None:
        return None
    at, channels = re.findall("[0-9]+", m["at"]), m["channels"].split(",")
    return m["member"], tuple(map(int, at)), tuple(map(int, channels))


def file_of(reference: str) -> str:
    """The path of a reference, without what it selects there."""
    path, hash_sign, _ = reference.partition("#")
    return path if hash_sign and _CONTAINER.search(path) else reference  # "#" may be in an image file's own name


def parse_reference(text: str) -> Reference:
    """Read an image reference; `str` of the result is `text` again.

    Raises `BadInput` on a reference that is absolute, climbs out of the root or breaks the grammar.
    """
    path = file_of(text)
    hash_sign, selection = text[len(path) : len(path) + 1], text[len(path) + 1 :]
    if not _below_root(path):
        raise BadInput(f"image reference {text!r} must be a path below the root, with / between folders")
    if not hash_sign:
        if _CONTAINER.search(path):
            raise BadInput(
                f"image reference {text!r} names a container; write {path}#member[channels], "
                "or index again if it was indexed by names only"
            )
        return Reference(path)
    selected = _selection(selection)
    if selected is None:
        raise BadInput(f"image reference {text!r} must go on #member[channels] or #member[i][channels]")
    return Reference(path, *selected)


@dataclass(frozen=True, slots=True)
class Row:
    """One frame. A text field is empty where the data set does not say; `label` is the column `class`.

    `clip_id` names the recording. `attack_code` is the data set's own code, which bona fide rows may have too (WMCA's
    0_02: the person wears glasses).
    """

    sample_id: str
    dataset: str
    layout: str
    clip_id: str
    frame: int
    subject_id: str
    presenter_id: str
    source_id: str
    label: str
    attack_family: str
    attack_code: str
    rgb: str
    rgb_shape: str
    depth: str
    depth_shape: str
    ir: str
    ir_shape: str
    depth_encoding: str
    ir_nm: int | None

    @property
    def bonafide(self) -> bool:
        return self.label == "bonafide"

    @property
    def names_only(self) -> bool:
        """Whether the row was indexed without opening any of its images."""
        return not (self.rgb_shape or self.depth_shape or self.ir_shape)


_ATTRIBUTES = tuple(f.name for f in fields(Row))
COLUMNS = tuple("class" if name == "label" else name for name in _ATTRIBUTES)
_FRAME, _WAVELENGTH = COLUMNS.index("frame"), COLUMNS.index("ir_nm")
_IMAGES = slice(COLUMNS.index("rgb"), COLUMNS.index("depth_encoding") + 1)  # all that is said of a row's images
NUMBERED = ("dataset", "clip_id", "subject_id", "class", "attack_family")  # asked for of many rows at once


def _flaw(row: Row) -> tuple[str, str] | None:
    """The first flaw of a row, as (column, what is wrong and what to write instead); None when it has none."""
    for name in ("sample_id", "layout", "clip_id", "subject_id"):
        if not getattr(row, name):
            return name, "is empty; give every frame one"
    for name, column in zip(_ATTRIBUTES, COLUMNS, strict=True):
        value = getattr(row, name)
        if isinstance(value, str) and UNWRITABLE.search(value):
            return column, f"{value!r} holds a line break, a NUL or half a character; rename what it names"
    if row.dataset not in DATASETS:
        return "dataset", f"{row.dataset!r} is not one of {', '.join(DATASETS)}"
    if row.frame < 0:
        return "frame", f"{row.frame} is negative; number frames from 0"
    if row.label not in LABELS:
        return "class", f"{row.label!r} is not one of {', '.join(LABELS)}"
    if row.bonafide and row.attack_family:
        return "attack_family", f"is {row.attack_family!r} on a bona fide row; leave it empty there"
    if not row.bonafide and row.attack_family not in FAMILIES:
        return "attack_family", f"{row.attack_family!r} is not one of {', '.join(FAMILIES)}"
    if not (row.rgb or row.depth or row.ir):
        return "rgb", "depth and ir are all empty; a frame has at least one modality"
    for modality in MODALITIES:
        text, shape = getattr(row, modality), getattr(row, f"{modality}_shape")
        if bool(text) != bool(shape) and not row.names_only:
            return f"{modality}_shape", f"is {shape!r} while {modality} is {text!r}; fill both or neither"
        if not text or (row.names_only and _CONTAINER.search(text) and _below_root(text)):
            continue
        try:
            reference = parse_reference(text)
        except BadInput as e:
            return modality, f"is wrong: {e}"
        channels = 3 if modality == "rgb" else 1
        if reference.member and len(reference.channels) != channels:
            return modality, f"{text!r} picks {len(reference.channels)} channels; pick {channels}"
        if not row.names_only and not _SHAPE.fullmatch(shape):
            return f"{modality}_shape", f"{shape!r} is not HxW:dtype such as 112x96:uint8"
    if row.depth and row.depth_encoding not in DEPTH_ENCODINGS:
        return "depth_encoding", f"{row.depth_encoding!r} is not one of {', '.join(DEPTH_ENCODINGS)}"
    if row.ir and not row.ir_nm:
        return "ir_nm", "is empty while ir is not; write the nominal wavelength in nanometres"
    if row.ir_nm is not None and row.ir_nm <= 0:
        return "ir_nm", f"{row.ir_nm} is not a wavelength in nanometres"
    return None


def _refuse(row: Row, path: Path, number: int) -> None:
    """Raise `BadInput` where a row has a flaw. Messages count lines, of which the first row is number 2."""
    if flaw := _flaw(row):
        column, what = flaw
        raise BadInput(f"{path}, row {number} ({row.sample_id}): {column} {what}")


# A row's kind is all of it that decides whether it is sound, but for its frame and its unwritable characters: `_flaw`
# need not look at a second row of a kind. Where a part has a flaw of its own there is no kind, and `_flaw` looks.


@lru_cache(maxsize=1 << 14)
def _kind_of_shape(text: str) -> bool | None:
    return None if text and not _SHAPE.fullmatch(text) else bool(text)


def _kind_of_reference(text: str) -> int | None:
    """How many channels a reference picks of a container, 0 for an image file; −1 of a container without a member,
    −2 of no reference."""
    if not text:
        return -2
    path, hash_sign, selection = text.partition("#")
    if not _below_root(path):
        return None
    if not _CONTAINER.search(path):
        return None if hash_sign else 0  # a "#" in a file's own name
    if not hash_sign:
        return -1
    selected = _selection(selection)
    return None if selected is None else len(selected[2])


def _kind(line: Sequence[str]) -> tuple[object, ...] | None:
    """The kind of the row that a line of the index holds."""
    sample, dataset, layout, recording, frame, subject, _, _, label, family, _, *images, encoding, wavelength = line
    if not (sample and layout and recording and subject and frame.isascii() and frame.isdigit() and len(frame) < 19):
        return None
    kinds = (*map(_kind_of_reference, images[::2]), *map(_kind_of_shape, images[1::2]))
    return None if None in kinds else (dataset, label, family, encoding, wavelength, *kinds)


class _Numbers:
    """Which row has which sample id: two 64-bit hashes of each id (SipHash, keyed anew in each process) instead of the
    ids themselves, so that a million of them take 32 MB."""

    def __init__(self) -> None:
        self._first, self._second = array("q"), array("q")

    def add(self, sample: str) -> None:
        self._first.append(hash(sample))
        self._second.append(hash(sample + "\0"))

    @cached_property
    def _sorted(self) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """Both hashes in ascending order, and the row (N,) of each; equal ones stay in the order of rows."""
        first, second = np.frombuffer(self._first, np.int64), np.frombuffer(self._second, np.int64)
        order = np.lexsort((second, first))
        return first[order], second[order], order

    def refuse_doubles(self, path: Path, ids: "Sequence[str] | Column") -> None:
        """Raise `BadInput` where two rows have one of `ids` (N,)."""
        first, second, order = self._sorted
        again = np.flatnonzero((first[1:] == first[:-1]) & (second[1:] == second[:-1])) + 1
        if again.size:
            place = again[order[again].argmin()]
            row, earlier = int(order[place]), int(order[place - 1])
            raise BadInput(f"{path}, row {row + 2}: sample_id {str(ids[row])!r} is in row {earlier + 2} too; keep one")

    def rows_of(self, samples: "_Numbers") -> NDArray[np.int64]:
        """The row (n,) of each of other ids; −1 where no row has it."""
        first, second, order = self._sorted
        wanted, wanted_second = (np.frombuffer(x, np.int64) for x in (samples._first, samples._second))
        place = np.searchsorted(first, wanted)
        last = max(len(first) - 1, 0)
        while True:
            here = np.minimum(place, last)
            other = (first[here] == wanted) & (second[here] != wanted_second) & (place < last)
            if not other.any():
                break
            place = place + other
        found = (first[here] == wanted) & (second[here] == wanted_second)
        return np.where(found, order[here], -1)


Protocols = dict[str, dict[str, NDArray[np.int64]]]


class Column:
    """One column of an index, whose values are looked up when rows are named: `column[rows]`, `column[:]`."""

    def __init__(self, rows: "Rows", name: str) -> None:
        self._rows, self._name = rows, name

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, key: Any) -> Any:
        """The values (n,) of the rows that `key`, as of a numpy array (N,), names; of one row, its value. As text,
        whatever the column holds."""
        rows = np.arange(len(self._rows))[key]
        values = self._rows._values(self._name, np.atleast_1d(rows))
        return values if rows.ndim else values[0]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.asarray(self[:], dtype)


class Rows(Sequence[Row]):
    """The rows of an index, in its order. Each is read from the text when it is asked for.

    A text that is replaced by another file goes on to be read as it was; one that is written into is `BadInput`.
    """

    def __init__(
        self,
        path: Path,
        file: io.BufferedReader,
        written: tuple[int, int],
        sha256: str,
        arrays: Mapping[str, NDArray[Any]],
    ) -> None:
        """`written` and `sha256` are of the file when it was read, `arrays` are `_checked`'s."""
        self._path, self._written, self._sha256, self._arrays = path, written, sha256, arrays
        self._file = os.fdopen(os.dup(file.fileno()), "rb")
        weakref.finalize(self, self._file.close)
        self._begins = arrays["begins"]  # (N + 1,)

    def __len__(self) -> int:
        return len(self._begins) - 1

    @overload
    def __getitem__(self, key: int) -> Row: ...
    @overload
    def __getitem__(self, key: slice) -> list[Row]: ...
    def __getitem__(self, key: int | slice) -> Row | list[Row]:
        numbers = range(len(self))[key]
        if isinstance(numbers, range):
            return [_row(line) for line in self.lines(np.arange(numbers.start, numbers.stop, numbers.step))]
        return _row(next(self.lines(np.array([numbers]))))

    def __iter__(self) -> Iterator[Row]:
        return map(_row, self.lines(np.arange(len(self))))

    def column(self, name: str) -> Column:
        """One of `COLUMNS` by its name; `ValueError` for another."""
        if name not in COLUMNS:
            raise ValueError(f"an index has no column {name!r}; it has {', '.join(COLUMNS)}")
        return Column(self, name)

    def numbered(self, name: str) -> NDArray[np.integer]:
        """A number (N,) for each value of a column of `NUMBERED`: values are numbered in ascending order."""
        return self._arrays[name]

    def names(self, name: str) -> NDArray[np.str_]:
        """The values that a column of `NUMBERED` has, in ascending order."""
        return np.array(bytes(self._arrays[f"names of {name}"]).decode().split("\n"))

    @property
    def images_sha256(self) -> str:
        """Of all that the rows say of their images."""
        return bytes(self._arrays["images"]).hex()

    def lines(self, rows: NDArray[np.int64]) -> Iterator[list[str]]:
        """The fields of some rows (n,), in their order, as they stand in the text."""
        for at in range(0, len(rows), 1024):
            texts = self._texts(rows[at : at + 1024])
            yield from csv.reader(text.decode() for text in texts)

    def _texts(self, rows: NDArray[np.int64]) -> list[bytes]:
        begins, ends = self._begins[rows].tolist(), self._begins[rows + 1].tolist()
        low, high, descriptor = min(begins), max(ends), self._file.fileno()
        if high - low < 1 << 22:  # near each other
            block = os.pread(descriptor, high - low, low)
            texts = [block[begin - low : end - low] for begin, end in zip(begins, ends, strict=True)]
        else:
            texts = [os.pread(descriptor, end - begin, begin) for begin, end in zip(begins, ends, strict=True)]
        if (now := _written(self._file)) != self._written:
            self._file.seek(0)
            if hashlib.file_digest(self._file, "sha256").hexdigest() != self._sha256:
                raise BadInput(f"{self._path}: was changed while it was in use; start again")
            self._written = now
        return texts

    def _values(self, name: str, rows: NDArray[np.int64]) -> NDArray[Any]:
        if name in NUMBERED:
            return self.names(name)[self.numbered(name)[rows]]
        place = COLUMNS.index(name)
        return np.array([line[place] for line in self.lines(rows)], np.str_)


@dataclass(frozen=True)
class Index:
    """An index. `protocols[protocol][split]` holds ascending row numbers, int64."""

    path: Path
    rows: Rows
    protocols: Protocols
    roots: dict[str, Path]
    sha256: str

    def split(self, protocol: str, split: str) -> np.ndarray:
        """Row numbers (n,) int64 of one split. Raises `BadInput`, with the names to choose from, on an unknown one."""
        if protocol not in self.protocols:
            known = ", ".join(self.protocols) or "none"
            raise BadInput(f"{self.path.parent / 'protocols.csv'}: no protocol {protocol!r}; there is {known}")
        splits = self.protocols[protocol]
        if split not in splits:
            raise BadInput(
                f"{self.path.parent / 'protocols.csv'}: protocol {protocol!r} has no split {split!r}; "
                f"it has {', '.join(splits)}"
            )
        return splits[split]


def _written(file: BinaryIO) -> tuple[int, int]:
    """When a file was last written, and its size."""
    status = os.fstat(file.fileno())
    return status.st_mtime_ns, status.st_size


_BUILD = "build the index with: python -m data_manifests index"
_AGAIN = f"index again where nobody meant to, and delete {sums.NAME} where somebody did"


def _opened(path: Path, remedy: str = _BUILD) -> io.BufferedReader:
    refuse_irregular(path, remedy)
    try:
        return path.open("rb")
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        raise BadInput(f"no file {path}; {remedy}") from None


@dataclass
class _Place:
    """How far a text has been read: where the last line ends, in bytes, the line's number, and whether it is without
    NULs and carriage returns."""

    end: int = 0
    line: int = 0
    plain: bool = True


def _table(file: BinaryIO, path: Path, columns: Sequence[str]) -> Iterator[tuple[list[str], _Place]]:
    """The fields of each line behind the header, and how far the table has been read with it."""
    place = _Place()

    def texts() -> Iterator[str]:
        for line in file:
            place.line += 1
            try:
                text = line.decode("utf-8" if place.line > 1 else "utf-8-sig")
            except UnicodeDecodeError:
                raise BadInput(f"{path}, row {place.line}: not UTF-8; save the file as UTF-8") from None
            place.end += len(line)
            place.plain = b"\0" not in line and b"\r" not in line[:-2]
            yield text

    number, header, empty = 0, ",".join(columns), 0
    try:
        for number, line in enumerate(csv.reader(texts(), strict=True), 1):
            if number == 1 and line != list(columns):
                break
            if not line:  # as at the end of many texts
                empty = empty or number
                continue
            if empty:
                raise BadInput(f"{path}, row {empty}: 0 fields, not the {len(columns)} of {header}")
            if len(line) != len(columns):
                raise BadInput(f"{path}, row {number}: {len(line)} fields, not the {len(columns)} of {header}")
            yield line, place
        else:
            if number:
                return
    except csv.Error as e:
        raise BadInput(f"{path}, row {number + 1}: {e}; quote fields as RFC 4180 says") from None
    raise BadInput(f"{path}, row 1: the header must be {header}")


def _row(line: Sequence[str]) -> Row:
    """The row that a line of the index holds. Raises `ValueError` naming the column that is no whole number."""
    values: list[str | int | None] = list(line)
    values[_FRAME] = _integer(line[_FRAME], "frame")
    values[_WAVELENGTH] = _integer(line[_WAVELENGTH], "ir_nm") if line[_WAVELENGTH] else None
    return Row(*values)  # type: ignore[arg-type]


def _integer(text: str, column: str) -> int:
    if not re.fullmatch(r"-?[0-9]{1,18}", text):
        raise ValueError(f"{column} {text!r} is not a whole number")
    return int(text)


def _checked(file: BinaryIO, path: Path) -> tuple[dict[str, NDArray[Any]], _Numbers]:
    """What `Rows` needs to know of an index, and who is in it. Raises `BadInput` at its first flaw."""
    numbers, begins, images = _Numbers(), array("q"), hashlib.sha256()
    names: dict[str, dict[str, int]] = {name: {} for name in NUMBERED}
    codes = {name: array("i") for name in NUMBERED}
    numbering = [(COLUMNS.index(name), names[name], codes[name].append) for name in NUMBERED]
    sound: set[object] = set()
    for number, (line, place) in enumerate(_table(file, path, COLUMNS), 1):
        if number > 1:
            kind = _kind(line)
            if kind not in sound or not place.plain or place.line != number:  # a field holds a line break
                try:
                    row = _row(line)
                except ValueError as e:
                    raise BadInput(f"{path}, row {number}: {e}") from None
                _refuse(row, path, number)
                if kind is not None:
                    sound.add(kind)
            numbers.add(line[0])
            images.update("\n".join([line[1], *line[_IMAGES], ""]).encode())
            for column, known, append in numbering:
                append(known.setdefault(line[column], len(known)))
        begins.append(place.end)
    if len(begins) < 2:
        raise BadInput(f"{path} has no rows; index a data set with: python -m data_manifests index")
    arrays: dict[str, NDArray[Any]] = {
        "begins": np.frombuffer(begins, np.int64),
        "images": np.frombuffer(images.digest(), np.uint8),
    }
    for name in NUMBERED:
        values = sorted(names[name])
        rank = np.empty(len(values), np.int32)
        rank[[names[name][value] for value in values]] = np.arange(len(values))
        arrays[name] = rank[np.frombuffer(codes[name], np.int32)]
        arrays[f"names of {name}"] = np.frombuffer("\n".join(values).encode(), np.uint8)
    return arrays, numbers


def _protocols(file: BinaryIO, path: Path, numbers: _Numbers) -> Protocols:
    columns = ("protocol", "split", "sample_id")
    members: dict[str, dict[str, tuple[_Numbers, array[int]]]] = {}
    for number, ((protocol, split, sample), _) in islice(enumerate(_table(file, path, columns), 1), 1, None):
        if not protocol or not split:
            raise BadInput(f"{path}, row {number}: {'split' if protocol else 'protocol'} is empty; name it")
        splits = members.setdefault(protocol, {})
        if split not in splits:
            splits[split] = (_Numbers(), array("q"))
        samples, lines = splits[split]
        samples.add(sample)
        lines.append(number)
    return {
        protocol: {split: _ascending(file, path, protocol, split, *own, numbers) for split, own in splits.items()}
        for protocol, splits in members.items()
    }


def _ascending(
    file: BinaryIO, path: Path, protocol: str, split: str, samples: _Numbers, lines: "array[int]", numbers: _Numbers
) -> NDArray[np.int64]:
    """The rows of a split in ascending order. Raises `BadInput` for a sample that is no row, or is named twice."""
    rows = numbers.rows_of(samples)

    def name(member: int) -> str:
        """How a message calls a member: by its row, and by its name, for which the file is read again."""
        file.seek(0)
        (line, _), *_ = islice(_table(file, path, ("protocol", "split", "sample_id")), lines[member] - 1, lines[member])
        return f"{path}, row {lines[member]}: sample_id {line[2]!r}"

    if (rows < 0).any():
        raise BadInput(f"{name(int(rows.argmin()))} is not in index.csv; index again")
    order = np.argsort(rows, kind="stable")
    ascending = rows[order]
    again = np.flatnonzero(ascending[1:] == ascending[:-1]) + 1
    if again.size:
        place = again[order[again].argmin()]
        raise BadInput(
            f"{name(int(order[place]))} is already in {protocol} {split} (row {lines[order[place - 1]]}); keep one"
        )
    return ascending


def read_roots(path: Path) -> dict[str, Path]:
    """Read `roots.toml`: letter of a data set → its folder, absolute. Raises `BadInput` on anything else.

    A folder that does not exist is noticed only when something is read from it.
    """
    table = _toml(path)
    for key in table:
        if key not in DATASETS and key != "lists":
            raise BadInput(f"{path}: {key!r} is not a data set; use the letters {', '.join(DATASETS)}")
    return {key: _folder(path, key, value) for key, value in table.items() if key != "lists"}


def read_lists(path: Path) -> dict[str, Path]:
    """Read the table `[lists]` of `roots.toml`: name of a collection of public lists → its folder, absolute.

    Empty where the file has no such table. Raises `BadInput` on anything else.
    """
    table = _toml(path).get("lists", {})
    if not isinstance(table, dict):
        raise BadInput(f'{path}: lists must be a table; write [lists] and lines such as mmdg = "/data/mmdg"')
    return {key: _folder(path, key, value) for key, value in table.items()}


def _toml(path: Path) -> dict[str, object]:
    with _opened(path, 'write it, with lines such as C = "/data/cefa"') as file:
        data = file.read()
    try:
        return tomllib.loads(data.decode("utf-8-sig"))
    except (ValueError, RecursionError) as e:  # broken syntax or UTF-8, endless numbers, endless brackets
        raise BadInput(f'{path} is not TOML ({e}); write lines such as C = "/data/cefa"') from None


def root_texts(path: Path) -> dict[str, str]:
    """Letter of a data set → its folder as `roots.toml` writes it, absolute (`~` is written out) or relative to the
    file."""
    return {key: _at_home(str(value)) for key, value in _toml(path).items() if key in DATASETS}


def _folder(path: Path, key: str, value: object) -> Path:
    if not isinstance(value, str) or not value or "\0" in value:
        raise BadInput(f'{path}: {key} must be a folder in quotes, such as {key} = "/data/{key.lower()}"')
    return resolved(path.parent / _at_home(value))


def _at_home(folder: str) -> str:
    """With `~` written out, as a shell does it."""
    return os.path.expanduser(folder)  # noqa: PTH111  # Path would raise for a user whom nobody knows


def resolved(folder: Path) -> Path:
    """The absolute path without links. Raises `BadInput` for a link that leads back to itself."""
    try:
        folder.stat()
    except OSError as e:
        if e.errno == errno.ELOOP:
            raise BadInput(f"{folder}: is a link that leads back to itself; link it to the data") from None
    return folder.resolve()


_THIS = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()
_LONG = 1 << 25  # bytes of text that take more than a second to check


def load_index(path: str | Path) -> Index:
    """Read an index by the path of its `index.csv`; `protocols.csv` and `roots.toml` lie beside it.

    Raises `BadInput` naming file, row and field of the first flaw. An index that was changed by hand is as good as any,
    but it is another one, and stderr says so.
    """
    path = Path(path)
    protocol_path, roots_path = path.parent / "protocols.csv", path.parent / "roots.toml"
    with _opened(path) as index, _opened(protocol_path) as protocols:
        written = [_written(file) for file in (index, protocols)]
        own, of_protocols = (hashlib.file_digest(file, "sha256") for file in (index, protocols))
        sha256 = hashlib.sha256(own.digest() + of_protocols.digest()).hexdigest()
        columns = path.with_name(".index.columns")
        arrays: Mapping[str, NDArray[Any]] | None = mapped.read(columns, f"{sha256} {_THIS}")
        if arrays is None:
            if index.tell() + protocols.tell() > _LONG:
                print(f"checking {path}, since it is new or was changed", file=sys.stderr, flush=True)
            index.seek(0)
            protocols.seek(0)
            found, numbers = _checked(index, path)
            numbers.refuse_doubles(path, Rows(path, index, written[0], own.hexdigest(), found).column("sample_id"))
            found |= _as_arrays(_protocols(protocols, protocol_path, numbers))
            if [_written(file) for file in (index, protocols)] != written:
                raise BadInput(f"{path.parent}: the index was changed while it was read; start again")
            arrays = mapped.keep(columns, f"{sha256} {_THIS}", found)
        rows = Rows(path, index, written[0], own.hexdigest(), arrays)
        for file, digest in ((path, own), (protocol_path, of_protocols)):
            if not sums.is_as_written(file, digest.hexdigest()):
                changed = f"{file}: was changed since it was written, as {sums.NAME} shows"
                print(f"{changed}; {_AGAIN}", file=sys.stderr, flush=True)
    roots = read_roots(roots_path)
    for dataset in sorted({*rows.names("dataset").tolist()} - set(roots)):
        raise BadInput(f'{roots_path}: no root for {dataset}; add a line {dataset} = "folder"')
    return Index(path, rows, _as_protocols(arrays), roots, sha256)


def _as_arrays(protocols: Protocols) -> dict[str, NDArray[Any]]:
    names = [[protocol, split] for protocol, splits in protocols.items() for split in splits]
    members = {f"split {i}": protocols[protocol][split] for i, (protocol, split) in enumerate(names)}
    return members | {"splits": np.frombuffer(json.dumps(names).encode(), np.uint8)}


def _as_protocols(arrays: Mapping[str, NDArray[Any]]) -> Protocols:
    protocols: Protocols = {}
    for i, (protocol, split) in enumerate(json.loads(bytes(arrays["splits"]))):
        protocols.setdefault(protocol, {})[split] = arrays[f"split {i}"]
    return protocols


def _csv_bytes(header: Sequence[str], lines: Iterable[Sequence[object]]) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(lines)
    return text.getvalue().encode("utf-8")


def _toml_text(text: str) -> str:
    escapes = {'"': '\\"', "\\": "\\\\"}
    return "".join(escapes.get(c) or (c if c.isprintable() else f"\\U{ord(c):08X}") for c in text)


def save_index(
    folder: str | Path,
    rows: Sequence[Row],
    protocols: Mapping[str, Mapping[str, Sequence[str]]],
    roots: Mapping[str, str | Path],
) -> bool:
    """Write the three files of an index, and SHA256SUMS, into `folder`; False when it holds the same already.

    `protocols[protocol][split]` lists sample ids. `roots` stay as they are; a relative one is relative to
    `folder`. Rows keep their order. Raises `BadInput` on a row or protocol that `load_index` would refuse.
    All new files are complete on disk before the first replaces an old one; index.csv is the last, so that a killed
    process leaves no index, a whole one, or one that SHA256SUMS tells to be neither.
    """
    folder = Path(folder)
    path = folder / "index.csv"
    if not rows:
        raise BadInput(f"{path}: nothing to write; no frame was found")
    numbers = _Numbers()
    for i, row in enumerate(shown(rows, f"writing {path}")):
        _refuse(row, path, i + 2)
        numbers.add(row.sample_id)
    numbers.refuse_doubles(path, [row.sample_id for row in rows])
    index = _csv_bytes(COLUMNS, (["" if (v := getattr(row, n)) is None else v for n in _ATTRIBUTES] for row in rows))
    long = (
        (protocol, split, sample)
        for protocol, splits in protocols.items()
        for split, samples in splits.items()
        for sample in samples
    )
    table = _csv_bytes(("protocol", "split", "sample_id"), long)
    _protocols(io.BytesIO(table), folder / "protocols.csv", numbers)
    for dataset in sorted({row.dataset for row in rows} - set(roots)):
        raise BadInput(f"{path}: rows of {dataset} but no root for it; name its folder in the roots")
    for letter, root in roots.items():
        if UNWRITABLE.search(str(root)):
            raise BadInput(f"root {letter} {str(root)!r} holds a line break or half a character; rename it")
    lines = [f'{letter} = "{_toml_text(str(root))}"\n' for letter, root in roots.items()]
    listed = sums.text({path.name: index, "protocols.csv": table})  # roots.toml is to be edited where data move
    rest = {"protocols.csv": table, "roots.toml": "".join(lines).encode("utf-8"), sums.NAME: listed}
    files = {folder / name: data for name, data in rest.items()} | {path: index}
    if all(path.is_file() and path.read_bytes() == data for path, data in files.items()):
        return False
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder):
        _replace_all(files)
    return True


def _replace_all(files: Mapping[Path, bytes]) -> None:
    temporary = {path: path.with_name(f".{path.name}.tmp") for path in files}
    try:
        for path, data in files.items():
            with naming(path), temporary[path].open("wb") as f:
                f.write(data)
                f.flush()
                os.fsync(f.fileno())
        for path in files:
            temporary[path].replace(path)
    finally:
        for t in temporary.values():
            t.unlink(missing_ok=True)
