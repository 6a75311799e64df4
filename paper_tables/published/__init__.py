"""The papers' tables as printed, one TOML file each, and the loader that refuses a malformed one."""

import tomllib
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path

from data_manifests.errors import BadInput

FOLDER = Path(__file__).resolve().parent


@dataclass(frozen=True)
class PublishedRow:
    """One row: `values[set][metric]` in %, with the printed number of digits."""

    printed: str
    modalities: str
    values: dict[str, dict[str, Decimal]]


@dataclass(frozen=True)
class Published:
    """One table: `sets` maps our letter (or `weighted`) to the heading in the paper."""

    paper: str
    place: str
    metrics: tuple[str, ...]
    sets: dict[str, str]
    rows: dict[str, PublishedRow]


def load(path: Path) -> Published:
    """Read one published table. Raises BadInput unless every row has every number, each in [0, 100]."""
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as e:
        raise BadInput(f"{path}: not valid TOML ({e}); restore it from the repository") from e
    for key, kind in {"paper": str, "place": str, "metrics": list, "sets": dict, "rows": dict}.items():
        if not isinstance(found.get(key), kind):
            raise BadInput(f"{path}: no {key}; restore the file from the repository")
    metrics, sets = tuple(found["metrics"]), dict(found["sets"])
    rows = {name: _row(path, name, row, sets, metrics) for name, row in found["rows"].items()}
    return Published(found["paper"], found["place"], metrics, sets, rows)


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


def _percent(path: Path, where: str, printed: object) -> Decimal:
    try:
        value = Decimal(printed) if isinstance(printed, str) else None
    except InvalidOperation:
        value = None
    if value is None or not value.is_finite() or not 0 <= value <= 100:
        raise BadInput(f"{path}: {where} holds {printed!r}; write a percentage as printed, in quotes")
    return value
