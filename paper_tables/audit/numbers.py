"""Everything the claims are decided from: the papers' numbers as printed, and the outside facts some checks need."""

import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, TypeVar

from data_manifests.errors import BadInput
from paper_tables.declarations import published
from paper_tables.declarations.published import Published

HERE = Path(__file__).resolve().parent
T = TypeVar("T")


@dataclass(frozen=True)
class Flat:
    """A table without data-set headings: `values[row][column]` as printed, `printed[row]` the row's label."""

    place: str
    columns: tuple[str, ...]
    printed: dict[str, str]
    values: dict[str, dict[str, Decimal]]


@dataclass(frozen=True)
class Said:
    """A number of the running text, with its place and a few quoted words."""

    value: Decimal
    place: str
    quote: str


@dataclass(frozen=True)
class Fact:
    """What the text says beside what the released code does, each in a few settled words."""

    says: str
    place: str
    quote: str
    text: str
    code: str
    detail: str
    where: str
    adjustable: bool = False  # a command-line default, which a run may have overridden


@dataclass(frozen=True)
class Numbers:
    """All tables and text numbers of both papers, and the facts of facts.toml and released.toml."""

    mmfas1: Published
    mmfas2: Flat
    mmfas3: Flat
    mmfas_text: dict[str, Said]
    bold: dict[str, dict[str, str]]
    mmda1: Published
    mmda2: Published
    mmda3: Published
    mmda4: Flat
    mmda5: Flat
    mmda_text: dict[str, Said]
    released: dict[str, Fact]
    live: dict[str, tuple[int, int, str]]
    sizes: dict[str, Any]
    lists: dict[str, tuple[int, int]]
    splits: dict[str, tuple[int, int, int]]
    mmdg_averages: dict[str, tuple[Decimal, Decimal]]


def read(folder: Path = published.FOLDER, facts: Path = HERE) -> Numbers:
    """Read the published numbers in `folder` and the outside facts in `facts`. Raises BadInput on a malformed file."""
    mmfas1 = published.load(folder / "mmfas_table1.toml")
    known = _checked(facts / "facts.toml", lambda found: found)
    mmda_text = _said(folder / "mmda_text.toml")
    return Numbers(
        mmfas1=mmfas1,
        mmfas2=load_flat(folder / "mmfas_table2.toml"),
        mmfas3=load_flat(folder / "mmfas_table3.toml"),
        mmfas_text=_said(folder / "mmfas_text.toml"),
        bold=_bold(folder / "mmfas_text.toml", mmfas1),
        mmda1=published.load(folder / "mmda_table1.toml"),
        mmda2=published.load(folder / "mmda_table2.toml"),
        mmda3=published.load(folder / "mmda_table3.toml"),
        mmda4=load_flat(folder / "mmda_table4.toml"),
        mmda5=load_flat(folder / "mmda_table5.toml"),
        mmda_text=mmda_text,
        released=_released(facts / "released.toml", mmda_text),
        live={s: (x["count"][0], x["count"][1], x["source"]) for s, x in known["live"].items()},
        sizes=known["sizes"],
        lists={s: (x[0], x[1]) for s, x in known["lists"].items()},
        splits={s: (x[0], x[1], x[2]) for s, x in known["splits"].items()},
        mmdg_averages={row: (Decimal(x[0]), Decimal(x[1])) for row, x in known["mmdg_averages"].items()},
    )


def _checked(path: Path, build: Callable[[dict[str, Any]], T]) -> T:
    """`build` applied to the parsed file; any missing or mistyped field becomes one BadInput sentence."""
    try:
        return build(tomllib.loads(path.read_text(encoding="utf-8")))
    except tomllib.TOMLDecodeError as e:
        raise BadInput(f"{path}: not valid TOML ({e}); restore it from the repository") from e
    except (KeyError, TypeError, InvalidOperation) as e:
        raise BadInput(f"{path}: a field is missing or mistyped ({e!r}); restore it from the repository") from e


def _number(path: Path, where: str, printed: object) -> Decimal:
    value = Decimal(printed) if isinstance(printed, str) else None
    if value is None or not value.is_finite() or value < 0:
        raise BadInput(f"{path}: {where} holds {printed!r}; write the number as printed, in quotes")
    return value


def load_flat(path: Path) -> Flat:
    """Read one table without data-set headings. Raises BadInput unless every row has every number."""

    def build(found: dict[str, Any]) -> Flat:
        columns = tuple(found["columns"])
        values = {}
        for name, row in found["rows"].items():
            if len(row["values"]) != len(columns):
                raise BadInput(f"{path}: row {name} must list {len(columns)} numbers: {', '.join(columns)}")
            cells = zip(columns, row["values"], strict=True)
            values[name] = {column: _number(path, f"row {name}, {column}", x) for column, x in cells}
        printed = {name: str(row["printed"]) for name, row in found["rows"].items()}
        return Flat(str(found["place"]), columns, printed, values)

    return _checked(path, build)


def _said(path: Path) -> dict[str, Said]:
    def build(found: dict[str, Any]) -> dict[str, Said]:
        return {
            name: Said(_number(path, name, x["value"]), str(x["place"]), str(x["quote"]))
            for name, x in found["numbers"].items()
        }

    return _checked(path, build)


def _bold(path: Path, table: Published) -> dict[str, dict[str, str]]:
    def build(found: dict[str, Any]) -> dict[str, dict[str, str]]:
        for group in table.sets:
            if len(found["bold"][group]) != len(table.metrics) or not set(found["bold"][group]) <= set(table.rows):
                raise BadInput(f"{path}: bold, {group} must name one row of Table 1 for each metric")
        return {group: dict(zip(table.metrics, found["bold"][group], strict=True)) for group in table.sets}

    return _checked(path, build)


def _released(path: Path, text: dict[str, Said]) -> dict[str, Fact]:
    def build(found: dict[str, Any]) -> dict[str, Fact]:
        facts = {name: Fact(**fields) for name, fields in found["facts"].items()}
        for name, x in found["numbers"].items():
            said = text[name]
            facts[name] = Fact(place=said.place, quote=said.quote, text=str(said.value), **x)
        return facts

    return _checked(path, build)
