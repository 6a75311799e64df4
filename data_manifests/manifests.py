"""Manifests hold what is published about each data set: `<set>.toml` beside this file, read strictly.

A manifest holds counts, rules, hashes of public list files and known defects (data-set sheet, sections 2 to 7). It
holds no list, image, name or demographic. A number that nobody published is absent, never zero.
"""

import re
import tomllib
import types
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

from data_manifests.errors import BadInput
from data_manifests.index import DATASETS, FAMILIES, LABELS

FOLDER = Path(__file__).parent
FILES = {"C": "cefa", "S": "casia_surf", "W": "wmca", "H": "hq_wmca", "P": "padisi"}
SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class Modality:
    name: str
    sensor: str
    detail: str


@dataclass(frozen=True)
class LayoutRule:
    """One form on disk. `id` is that of the adapter's `Layout`, `files` a glob of its files, `media` their type."""

    id: str
    files: str
    media: str
    tree: str
    note: str


@dataclass(frozen=True)
class Attack:
    """Codes of the data set that mean one family; `a..b` is a range over the last number."""

    codes: tuple[str, ...]
    family: str
    what: str

    def each_code(self) -> list[str]:
        return [code for text in self.codes for code in expand(text)]


@dataclass(frozen=True)
class ProtocolRule:
    """A protocol's definition in a sentence, and how many recordings and frames its splits have as published.

    A frame is a triplet: the colour, depth and infrared image of one moment count once.
    """

    name: str
    what: str
    recordings: Mapping[str, int]
    frames: Mapping[str, int]


QUANTITIES = ("subjects", "recordings", "frames")


@dataclass(frozen=True)
class Count:
    """Published numbers of one group of rows; an empty `split`, `label` or `family` stands for all of them.

    frames: distinct frames. A line that a list repeats counts once, and the three images of a moment are one frame.
    """

    split: str = ""
    label: str = ""
    family: str = ""
    subjects: int | None = None
    recordings: int | None = None
    frames: int | None = None


@dataclass(frozen=True)
class Expected:
    """What a tree in one of `layouts` should hold. The splits in `count` are those of `protocol`.

    source, date: where the numbers stand or what they were counted from, and the day of that version.
    at_least: the quantities that are lower bounds, since lists name only a part of what a tree may hold.
    frames_a_recording: how many frames every recording has at least; None where a recording may have any number.
    """

    name: str
    layouts: tuple[str, ...]
    source: str
    count: tuple[Count, ...]
    protocol: str = ""
    date: str = ""
    at_least: tuple[str, ...] = ()
    frames_a_recording: int | None = None


@dataclass(frozen=True)
class PublishedList:
    """A public list file: how to read it (`format`, see `lists.FORMATS`), which label means bona fide (`live`), and how
    to tell that a copy is the published one. `sha1` is a prefix of the hash of the file's bytes.

    lines, bonafide and attack count lines, of which a list may repeat some; frames counts the distinct frames.
    """

    file: str
    benchmark: str
    format: str
    layouts: tuple[str, ...]
    live: str
    split: str = ""
    sha1: str = ""
    line_end: str = ""
    last_line_end: bool = True
    lines: int | None = None
    bonafide: int | None = None
    attack: int | None = None
    frames: int | None = None
    recordings: int | None = None


@dataclass(frozen=True)
class Defect:
    """A known defect. `unpaired` names frames `<clip_id>:<frame>` of public lists that the release cannot pair."""

    name: str
    what: str
    unpaired: tuple[str, ...] = ()


@dataclass(frozen=True)
class Manifest:
    code: str
    name: str
    year: int
    owner: str
    publication: str
    url: str
    access: str
    licence: str
    figures: str
    personal_data: str
    modality: tuple[Modality, ...]
    layout: tuple[LayoutRule, ...]
    attack: tuple[Attack, ...]
    protocol: tuple[ProtocolRule, ...]
    expected: tuple[Expected, ...]
    list: tuple[PublishedList, ...]
    defect: tuple[Defect, ...]

    def expectations(self, layout: str) -> tuple[Expected, ...]:
        """The published counts of a layout; empty where nothing is published."""
        return tuple(e for e in self.expected if layout in e.layouts)

    def expectation(self, layout: str, name: str = "release") -> Expected:
        """The published counts of a layout that are called `name`. Raises `BadInput`, with those that there are."""
        candidates = self.expectations(layout)
        for e in candidates:
            if e.name == name:
                return e
        known = ", ".join(e.name for e in candidates) or "none"
        raise BadInput(f"no expectation {name!r} for {self.name} in the layout {layout}; there is {known}")

    def lists(self, benchmark: str) -> dict[str, PublishedList]:
        """File name → list, for one benchmark such as `mmdg`."""
        return {entry.file: entry for entry in self.list if entry.benchmark == benchmark}

    @property
    def unpaired(self) -> frozenset[tuple[str, int]]:
        """(clip_id, frame) of the frames that public lists name although their modalities cannot be paired."""
        frames = (text.rpartition(":") for defect in self.defect for text in defect.unpaired)
        return frozenset((recording, int(frame)) for recording, _, frame in frames)


_NAMES = {"label": "class"}  # a field of a dataclass cannot be called `class`, as it is in the file
_OPTIONAL = {"recordings", "frames"}  # fields of a ProtocolRule that the file may leave out


def expand(text: str) -> list[str]:
    """The five codes of `1_03..1_07`; any other text is one code itself. Raises `BadInput` on an empty range."""
    first, dots, last = text.partition("..")
    if not dots:
        return [text]
    heads = [re.fullmatch(r"(.*?)([0-9]+)", part) for part in (first, last)]
    if heads[0] is None or heads[1] is None or heads[0][1] != heads[1][1] or int(heads[0][2]) >= int(heads[1][2]):
        raise BadInput(f"codes {text!r} are no range; write first..last with the same beginning")
    width = len(heads[0][2])
    return [f"{heads[0][1]}{n:0{width}}" for n in range(int(heads[0][2]), int(heads[1][2]) + 1)]


def _value(kind: Any, value: Any, where: str) -> Any:
    """`value` as an instance of the type `kind`. Raises `BadInput` naming `where` when it is of another type."""
    origin = get_origin(kind)
    if origin is tuple:
        if not isinstance(value, list):
            raise BadInput(f"{where} must be a list")
        return tuple(_value(get_args(kind)[0], v, f"{where}, entry {i}") for i, v in enumerate(value, 1))
    if origin is types.UnionType:
        kind = get_args(kind)[0]  # `int | None`: an absent number is not in the file at all
    elif origin is not None:  # Mapping[str, int]
        if not isinstance(value, dict) or not set(value) <= set(SPLITS):
            raise BadInput(f"{where} must name {', '.join(SPLITS)}")
        return {split: _value(int, number, f"{where}, {split}") for split, number in value.items()}
    if hasattr(kind, "__dataclass_fields__"):
        return _table(kind, value, where)
    if type(value) is not kind:
        raise BadInput(f"{where} is {value!r} and must be {kind.__name__}")
    if kind is int and value < 0:
        raise BadInput(f"{where} is {value} and cannot be negative")
    return value


def _table(kind: Any, table: Any, where: str) -> Any:
    if not isinstance(table, dict):
        raise BadInput(f"{where} must be a table")
    hints = get_type_hints(kind)
    rest = dict(table)
    values = {}
    for field in fields(kind):
        name = _NAMES.get(field.name, field.name)
        if name in rest:
            values[field.name] = _value(hints[field.name], rest.pop(name), f"{where}: {name}")
        elif get_origin(hints[field.name]) is tuple and kind is Manifest:
            values[field.name] = ()
        elif kind is ProtocolRule and name in _OPTIONAL:
            values[field.name] = {}
        elif field.default is MISSING:
            raise BadInput(f"{where}: {name} is missing")
    if rest:
        known = ", ".join(_NAMES.get(f.name, f.name) for f in fields(kind))
        raise BadInput(f"{where}: {sorted(rest)[0]!r} is no field; there are {known}")
    return kind(**values)


def _check(manifest: Manifest, where: str) -> None:
    if manifest.code not in DATASETS:
        raise BadInput(f"{where}: code {manifest.code!r} is not one of {', '.join(DATASETS)}")
    layouts = {layout.id for layout in manifest.layout}
    for attack in manifest.attack:
        if attack.family not in FAMILIES:
            raise BadInput(f"{where}: attack family {attack.family!r} is not one of {', '.join(FAMILIES)}")
        try:
            attack.each_code()
        except BadInput as e:
            raise BadInput(f"{where}: {e}") from None
    for used in (*(e.layouts for e in manifest.expected), *(entry.layouts for entry in manifest.list)):
        if unknown := set(used) - layouts:
            raise BadInput(f"{where}: layout {sorted(unknown)[0]!r} is not described")
    for entry in manifest.list:
        if entry.split not in ("", *SPLITS):
            raise BadInput(f"{where}: list {entry.file} has the split {entry.split!r}")
        if entry.sha1 and (not re.fullmatch("[0-9a-f]{12,40}", entry.sha1) or entry.line_end not in ("LF", "CRLF")):
            raise BadInput(f"{where}: list {entry.file} needs 12 to 40 hex digits of sha1 and line_end LF or CRLF")
    for expected in manifest.expected:
        if not re.fullmatch(r"[0-9]{4}(-[0-9]{2}(-[0-9]{2})?)?", expected.date):
            raise BadInput(
                f"{where}: expected {expected.name} has the date {expected.date!r}; write 2026-05-12 or 2026"
            )
        if unknown := set(expected.at_least) - set(QUANTITIES):
            raise BadInput(
                f"{where}: expected {expected.name}: {sorted(unknown)[0]!r} is not in {', '.join(QUANTITIES)}"
            )
        for count in expected.count:
            if count.split not in ("", *SPLITS) or count.label not in ("", *LABELS):
                raise BadInput(f"{where}: expected {expected.name} has split {count.split!r}, class {count.label!r}")
            if count.family and count.family not in FAMILIES:
                raise BadInput(f"{where}: expected {expected.name} has the family {count.family!r}")
            if count.split and not expected.protocol:
                raise BadInput(f"{where}: expected {expected.name} counts splits but names no protocol")
    for defect in manifest.defect:
        if not all(re.fullmatch(".+:[0-9]+", text) for text in defect.unpaired):
            raise BadInput(f"{where}: defect {defect.name}: unpaired must be <clip_id>:<frame>")


def read_manifest(path: Path) -> Manifest:
    """Read one manifest. Raises `BadInput` naming file and field on anything unknown, missing or of another type."""
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as e:
        raise BadInput(f"{path}: not a readable TOML file ({e})") from None
    manifest: Manifest = _table(Manifest, table, path.name)
    _check(manifest, path.name)
    return manifest


@cache
def manifest(dataset: str) -> Manifest:
    """The manifest of the data set with this letter."""
    return read_manifest(FOLDER / f"{FILES[dataset]}.toml")


def letter(text: str) -> str:
    """The letter of a data set named by letter, name or file name, in upper or lower case.

    Raises `BadInput`, with the names to choose from, on an unknown one.
    """
    for code, stem in FILES.items():
        if text.casefold() in (code.casefold(), stem, DATASETS[code].casefold()):
            return code
    known = ", ".join(f"{code} ({DATASETS[code]})" for code in FILES)
    raise BadInput(f"no data set {text!r}; there are {known}")
