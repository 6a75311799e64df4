"""Everything the claims are decided from: the papers' numbers as printed, and the outside facts some checks need."""

import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, Literal, TypeVar

from data_manifests.errors import BadInput
from paper_tables.audit.printing import Printed, stands_in
from paper_tables.declarations import published
from paper_tables.declarations.published import Published

HERE = Path(__file__).resolve().parent
LAST_DIGIT = Decimal("0.01")  # how far a printed mean can be from the mean of printed numbers, rounded or cut
WORDS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]
T = TypeVar("T")


@dataclass(frozen=True)
class Flat:
    """A table without data-set headings: `values[row][column]` as printed, `printed[row]` the row's label."""

    place: str
    columns: tuple[str, ...]
    printed: dict[str, str]
    values: dict[str, dict[str, Decimal]]


@dataclass(frozen=True)
class TextNumber:
    """A number of the running text, with its place and a few quoted words."""

    value: Decimal
    place: str
    quote: str


@dataclass(frozen=True)
class Fact:
    """What the text says beside what the released code does: `text` and `code`, in words that compare as equal.

    `judge` is the verdict where they differ.
    """

    says: str
    place: str
    quote: str
    text: str
    code: str
    detail: str
    where: str
    judge: Literal["contradicted", "undetermined"] = "contradicted"


@dataclass(frozen=True)
class CodeObservation:
    """What the released code does and the text does not say."""

    says: str
    place: str
    figure: str
    detail: str
    where: str


@dataclass(frozen=True)
class Numbers(Printed):
    """All tables and text numbers of both papers, and the facts of facts.toml and released.toml."""

    mmfas1: Published
    mmfas2: Flat
    mmfas3: Flat
    mmfas_text: dict[str, TextNumber]
    bold: dict[str, dict[str, str]]
    bold_order: str
    mmda1: Published
    mmda2: Published
    mmda3: Published
    mmda4: Flat
    mmda5: Flat
    mmda_text: dict[str, TextNumber]
    released: dict[str, Fact]
    code_observations: dict[str, CodeObservation]
    commit: str
    live: dict[str, tuple[int, int, str]]
    sizes: dict[str, Any]
    lists: dict[str, tuple[int, int]]
    splits: dict[str, tuple[int, int, int]]
    mmdg_averages: dict[str, tuple[Decimal, Decimal]]


def read(folder: Path = published.FOLDER, facts: Path = HERE) -> Numbers:
    """Read the published numbers in `folder` and the outside facts in `facts`. Raises BadInput on a malformed file."""
    mmfas1 = published.load(folder / "mmfas_table1.toml")
    outside = _checked(facts / "facts.toml", dict)
    mmda_text = _text_numbers(folder / "mmda_text.toml")
    return Numbers(
        mmfas1=mmfas1,
        mmfas2=load_flat(folder / "mmfas_table2.toml"),
        mmfas3=load_flat(folder / "mmfas_table3.toml"),
        mmfas_text=_text_numbers(folder / "mmfas_text.toml"),
        bold=_bold(folder / "mmfas_text.toml", mmfas1),
        bold_order=_checked(folder / "mmfas_text.toml", lambda parsed: str(parsed["bold"]["order"])),
        mmda1=published.load(folder / "mmda_table1.toml"),
        mmda2=published.load(folder / "mmda_table2.toml"),
        mmda3=published.load(folder / "mmda_table3.toml"),
        mmda4=load_flat(folder / "mmda_table4.toml"),
        mmda5=load_flat(folder / "mmda_table5.toml"),
        mmda_text=mmda_text,
        released=_released(facts / "released.toml", mmda_text),
        code_observations=_checked(
            facts / "released.toml",
            lambda parsed: {name: CodeObservation(**x) for name, x in parsed["observations"].items()},
        ),
        commit=_checked(facts / "released.toml", lambda parsed: str(parsed["commit"])),
        live={s: (x["count"][0], x["count"][1], x["source"]) for s, x in outside["live"].items()},
        sizes=outside["sizes"],
        lists={s: (x[0], x[1]) for s, x in outside["lists"].items()},
        splits={s: (x[0], x[1], x[2]) for s, x in outside["splits"].items()},
        mmdg_averages={row: (Decimal(x[0]), Decimal(x[1])) for row, x in outside["mmdg_averages"].items()},
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


def _quoted(path: Path, name: str, printed: object, quote: str) -> Decimal:
    """The number, which must stand in its own quotation: as typed, or spelt out."""
    value = _number(path, name, printed)
    words = [WORDS[int(value)]] if value in range(len(WORDS)) else []
    if not any(stands_in(x, quote) for x in [str(printed), *words]):
        raise BadInput(f"{path}: {name}, {printed}, does not stand in its quotation “{quote}”; type both as printed")
    return value


def load_flat(path: Path) -> Flat:
    """Read one table without data-set headings. Raises BadInput unless every row has every number."""

    def build(parsed: dict[str, Any]) -> Flat:
        columns = tuple(parsed["columns"])
        values = {}
        for name, row in parsed["rows"].items():
            if len(row["values"]) != len(columns):
                raise BadInput(f"{path}: row {name} must list {len(columns)} numbers: {', '.join(columns)}")
            cells = zip(columns, row["values"], strict=True)
            values[name] = {column: _number(path, f"row {name}, {column}", x) for column, x in cells}
        printed = {name: str(row["printed"]) for name, row in parsed["rows"].items()}
        return Flat(str(parsed["place"]), columns, printed, values)

    return _checked(path, build)


def _text_numbers(path: Path) -> dict[str, TextNumber]:
    def build(parsed: dict[str, Any]) -> dict[str, TextNumber]:
        return {
            name: TextNumber(_quoted(path, name, x["value"], x["quote"]), str(x["place"]), str(x["quote"]))
            for name, x in parsed["numbers"].items()
        }

    return _checked(path, build)


def _bold(path: Path, table: Published) -> dict[str, dict[str, str]]:
    def build(parsed: dict[str, Any]) -> dict[str, dict[str, str]]:
        for group in table.sets:
            if len(parsed["bold"][group]) != len(table.metrics) or not set(parsed["bold"][group]) <= set(table.rows):
                raise BadInput(f"{path}: bold, {group} must name one row of Table 1 for each metric")
        return {group: dict(zip(table.metrics, parsed["bold"][group], strict=True)) for group in table.sets}

    return _checked(path, build)


def _released(path: Path, text: dict[str, TextNumber]) -> dict[str, Fact]:
    def build(parsed: dict[str, Any]) -> dict[str, Fact]:
        facts = {name: Fact(**fields) for name, fields in parsed["facts"].items()}
        for name, x in parsed["numbers"].items():
            number = text[name]
            facts[name] = Fact(place=number.place, quote=number.quote, text=str(number.value), **x)
        return facts

    return _checked(path, build)
