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
"""

import csv
import hashlib
import io
import os
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from data_manifests.errors import BadInput

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
    return bool(path) and not path.startswith("/") and not {"\\", "\0"} & set(path) and ".." not in path.split("/")


def parse_reference(text: str) -> Reference:
    """Read an image reference; `str` of the result is `text` again.

    Raises `BadInput` on a reference that is absolute, climbs out of the root or breaks the grammar.
    """
    path, hash_sign, selection = text.partition("#")
    if hash_sign and not _CONTAINER.search(path):
        path, hash_sign = text, ""  # a "#" in an image file's own name
    if not _below_root(path):
        raise BadInput(f"image reference {text!r} must be a path below the root, with / between folders")
    if not hash_sign:
        if _CONTAINER.search(path):
            raise BadInput(
                f"image reference {text!r} names a container; write {path}#member[channels], "
                "or index again if it was indexed by names only"
            )
        return Reference(path)
    m = _MEMBER.fullmatch(selection)
    if m is None:
        raise BadInput(f"image reference {text!r} must go on #member[channels] or #member[i][channels]")
    return Reference(
        path,
        m["member"],
        tuple(int(i) for i in re.findall("[0-9]+", m["at"])),
        tuple(int(c) for c in m["channels"].split(",")),
    )


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


def _check_rows(rows: Sequence[Row], where: str) -> dict[str, int]:
    """Check every row and return sample_id → row number. Messages count lines, of which the first row is number 2."""
    numbers: dict[str, int] = {}
    for i, row in enumerate(rows):
        if flaw := _flaw(row):
            column, what = flaw
            raise BadInput(f"{where}, row {i + 2} ({row.sample_id}): {column} {what}")
        if row.sample_id in numbers:
            first = numbers[row.sample_id] + 2
            raise BadInput(f"{where}, row {i + 2}: sample_id {row.sample_id!r} is in row {first} too; keep one")
        numbers[row.sample_id] = i
    return numbers


@dataclass(frozen=True)
class Index:
    """An index in memory. `protocols[protocol][split]` holds ascending row numbers, int64."""

    path: Path
    rows: list[Row]
    protocols: dict[str, dict[str, np.ndarray]]
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


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        raise BadInput(f"no file {path}; build it with: python -m data_manifests index") from None


def _table(data: bytes, path: Path, columns: Sequence[str]) -> list[list[str]]:
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as e:
        line = data[: e.start].count(b"\n") + 1
        raise BadInput(f"{path}, row {line}: not UTF-8; save the file as UTF-8") from None
    lines: list[list[str]] = []
    try:
        for fields_of_line in csv.reader(io.StringIO(text, newline=""), strict=True):
            lines.append(fields_of_line)
    except csv.Error as e:
        raise BadInput(f"{path}, row {len(lines) + 1}: {e}; quote fields as RFC 4180 says") from None
    header = ",".join(columns)
    if not lines or lines[0] != list(columns):
        raise BadInput(f"{path}, row 1: the header must be {header}")
    for number, width in enumerate(map(len, lines), 1):
        if width != len(columns):
            raise BadInput(f"{path}, row {number}: {width} fields, not the {len(columns)} of {header}")
    return lines[1:]


def _integer(text: str, path: Path, number: int, column: str) -> int:
    if not re.fullmatch(r"-?[0-9]{1,18}", text):
        raise BadInput(f"{path}, row {number}: {column} {text!r} is not a whole number")
    return int(text)


def _rows(data: bytes, path: Path) -> list[Row]:
    rows = []
    frame, ir_nm = COLUMNS.index("frame"), COLUMNS.index("ir_nm")
    for number, line in enumerate(_table(data, path, COLUMNS), 2):
        values: list[str | int | None] = list(line)
        values[frame] = _integer(line[frame], path, number, "frame")
        values[ir_nm] = _integer(line[ir_nm], path, number, "ir_nm") if line[ir_nm] else None
        rows.append(Row(*values))  # type: ignore[arg-type]
    return rows


def _protocols(data: bytes, path: Path, numbers: Mapping[str, int]) -> dict[str, dict[str, np.ndarray]]:
    members: dict[str, dict[str, dict[int, int]]] = {}
    for line, (protocol, split, sample) in enumerate(_table(data, path, ("protocol", "split", "sample_id")), 2):
        if not protocol or not split:
            raise BadInput(f"{path}, row {line}: {'split' if protocol else 'protocol'} is empty; name it")
        if sample not in numbers:
            raise BadInput(f"{path}, row {line}: sample_id {sample!r} is not in index.csv; index again")
        line_of = members.setdefault(protocol, {}).setdefault(split, {})
        if numbers[sample] in line_of:
            raise BadInput(
                f"{path}, row {line}: sample_id {sample!r} is already in {protocol} {split} "
                f"(row {line_of[numbers[sample]]}); keep one"
            )
        line_of[numbers[sample]] = line
    return {
        protocol: {split: np.array(sorted(line_of), dtype=np.int64) for split, line_of in splits.items()}
        for protocol, splits in members.items()
    }


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
    data = _read(path)
    try:
        return tomllib.loads(data.decode("utf-8"))
    except (ValueError, RecursionError) as e:  # broken syntax or UTF-8, endless numbers, endless brackets
        raise BadInput(f'{path} is not TOML ({e}); write lines such as C = "/data/cefa"') from None


def _folder(path: Path, key: str, value: object) -> Path:
    if not isinstance(value, str) or not value or "\0" in value:
        raise BadInput(f'{path}: {key} must be a folder in quotes, such as {key} = "/data/{key.lower()}"')
    return (path.parent / value).resolve()


def _sha256(index: bytes, protocols: bytes) -> str:
    return hashlib.sha256(hashlib.sha256(index).digest() + hashlib.sha256(protocols).digest()).hexdigest()


def load_index(path: str | Path) -> Index:
    """Read an index by the path of its `index.csv`; `protocols.csv` and `roots.toml` lie beside it.

    Raises `BadInput` naming file, row and field of the first flaw.
    """
    path = Path(path)
    data, protocol_path, roots_path = _read(path), path.parent / "protocols.csv", path.parent / "roots.toml"
    rows = _rows(data, path)
    if not rows:
        raise BadInput(f"{path} has no rows; index a data set with: python -m data_manifests index")
    numbers = _check_rows(rows, str(path))
    protocol_data = _read(protocol_path)
    protocols = _protocols(protocol_data, protocol_path, numbers)
    roots = read_roots(roots_path)
    for dataset in sorted({row.dataset for row in rows} - set(roots)):
        raise BadInput(f'{roots_path}: no root for {dataset}; add a line {dataset} = "folder"')
    return Index(path, rows, protocols, roots, _sha256(data, protocol_data))


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
    """Write the three files of an index into `folder`; False when it holds the same files already, byte for byte.

    `protocols[protocol][split]` lists sample ids. `roots` stay as they are; a relative one is relative to
    `folder`. Rows keep their order. Raises `BadInput` on a row or protocol that `load_index` would refuse.
    All three new files are complete on disk before the first replaces an old one.
    """
    folder = Path(folder)
    path = folder / "index.csv"
    if not rows:
        raise BadInput(f"{path}: nothing to write; no frame was found")
    numbers = _check_rows(rows, str(path))
    index = _csv_bytes(COLUMNS, (["" if (v := getattr(row, n)) is None else v for n in _ATTRIBUTES] for row in rows))
    long = (
        (protocol, split, sample)
        for protocol, splits in protocols.items()
        for split, samples in splits.items()
        for sample in samples
    )
    table = _csv_bytes(("protocol", "split", "sample_id"), long)
    _protocols(table, folder / "protocols.csv", numbers)
    for dataset in sorted({row.dataset for row in rows} - set(roots)):
        raise BadInput(f"{path}: rows of {dataset} but no root for it; name its folder in the roots")
    for letter, root in roots.items():
        if UNWRITABLE.search(str(root)):
            raise BadInput(f"root {letter} {str(root)!r} holds a line break or half a character; rename it")
    lines = [f'{letter} = "{_toml_text(str(root))}"\n' for letter, root in roots.items()]
    return _replace_all(
        {path: index, folder / "protocols.csv": table, folder / "roots.toml": "".join(lines).encode("utf-8")}
    )


def _replace_all(files: Mapping[Path, bytes]) -> bool:
    if all(path.is_file() and path.read_bytes() == data for path, data in files.items()):
        return False
    temporary = {path: path.with_name(f".{path.name}.tmp") for path in files}
    try:
        for path, data in files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            with temporary[path].open("wb") as f:
                f.write(data)
                f.flush()
                os.fsync(f.fileno())
        for path in files:
            temporary[path].replace(path)
    finally:
        for t in temporary.values():
            t.unlink(missing_ok=True)
    return True
