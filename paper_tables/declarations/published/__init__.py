"""The papers' tables as printed, one TOML file each, and the loader that refuses a malformed one."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path

from data_manifests.errors import BadInput

FOLDER = Path(__file__).resolve().parent
PARAMETERS = "parameters"  # a flat table's column of model sizes, in millions


@dataclass(frozen=True)
class PublishedRow:
    """One row: `values[set][metric]` in %, and `parameters` in millions where the table has them, with the
    printed number of digits."""

    printed: str
    modalities: str
    values: dict[str, dict[str, Decimal]]
    parameters: Decimal | None = None


@dataclass(frozen=True)
class Published:
    """One table: `sets` maps our letter (or `weighted`) to the heading in the paper."""

    paper: str
    place: str
    metrics: tuple[str, ...]
    sets: dict[str, str]
    rows: dict[str, PublishedRow]


def load(path: Path, flat: Mapping[str, tuple[str, str]] | None = None) -> Published:
    """Read one published table. `flat` says of a table without data-set headings which set and metric each of
    its `columns` is; a column `parameters` needs no entry. Raises BadInput unless every row has every number, a
    percentage in [0, 100]."""
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as e:
        raise BadInput(f"{path}: not valid TOML ({e}); restore it from the repository") from e
    shape: dict[str, type] = {"columns": list} if flat else {"metrics": list, "sets": dict}
    for key, kind in ({"paper": str, "place": str} | shape | {"rows": dict}).items():
        if not isinstance(content.get(key), kind):
            raise BadInput(f"{path}: no {key}; restore the file from the repository")
    if flat:
        if odd := sorted((set(content["columns"]) ^ set(flat)) - {PARAMETERS}):
            raise BadInput(f"{path}: the columns of the file and of the table's declaration differ in {odd[0]}")
        rows = {name: _flat_row(path, name, row, content["columns"], flat) for name, row in content["rows"].items()}
        sets = {letter: letter for letter, _ in flat.values()}
        metrics = tuple(dict.fromkeys(metric for _, metric in flat.values()))
        return Published(content["paper"], content["place"], metrics, sets, rows)
    metrics, sets = tuple(content["metrics"]), dict(content["sets"])
    rows = {name: _row(path, name, row, sets, metrics) for name, row in content["rows"].items()}
    return Published(content["paper"], content["place"], metrics, sets, rows)


def _row(path: Path, name: str, row: dict[str, object], sets: dict[str, str], metrics: tuple[str, ...]) -> PublishedRow:
    expected = {"printed", "modalities", *sets}
    if set(row) != expected:
        odd = sorted(set(row) ^ expected)
        raise BadInput(f"{path}: row {name} and the file's sets differ in {', '.join(odd)}; type each set once")
    values = {}
    for letter in sets:
        printed = row[letter]
        if not isinstance(printed, list) or len(printed) != len(metrics):
            raise BadInput(f"{path}: row {name}, {letter} must list {len(metrics)} numbers: {', '.join(metrics)}")
        values[letter] = {m: _percent(path, f"row {name}, {letter}", x) for m, x in zip(metrics, printed, strict=True)}
    return PublishedRow(str(row["printed"]), str(row["modalities"]), values)


def _flat_row(
    path: Path, name: str, row: dict[str, object], columns: list[str], flat: Mapping[str, tuple[str, str]]
) -> PublishedRow:
    if set(row) != {"printed", "values"}:
        raise BadInput(f"{path}: row {name} must have printed and values, and nothing else")
    printed = row["values"]
    if not isinstance(printed, list) or len(printed) != len(columns):
        raise BadInput(f"{path}: row {name} must list {len(columns)} numbers: {', '.join(columns)}")
    values: dict[str, dict[str, Decimal]] = {}
    parameters = None
    for column, x in zip(columns, printed, strict=True):
        number = _percent(path, f"row {name}, {column}", x)  # a size in millions has the same form
        if column == PARAMETERS:
            parameters = number
        else:
            letter, metric = flat[column]
            values.setdefault(letter, {})[metric] = number
    return PublishedRow(str(row["printed"]), "", values, parameters)


def _percent(path: Path, where: str, printed: object) -> Decimal:
    try:
        value = Decimal(printed) if isinstance(printed, str) else None
    except InvalidOperation:
        value = None
    if value is None or not value.is_finite() or not 0 <= value <= 100:
        raise BadInput(f"{path}: {where} holds {printed!r}; write a percentage as printed, in quotes")
    return value
