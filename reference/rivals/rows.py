"""The declaration of the comparison rows, rows.toml, as checked objects; read without torch."""

import tomllib
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from data_manifests.errors import BadInput

FILE = Path(__file__).with_name("rows.toml")
PROFILES = ("cpu", "paper")


@dataclass(frozen=True)
class Row:
    """One comparison row: a stanza of rows.toml, whose head says what each key means."""

    name: str
    label: str
    tables: dict[str, str]
    paper: str = ""
    code: dict[str, str] = field(default_factory=dict)
    module: str = ""
    options: tuple[str, ...] = ()
    sees: str = "RDI"
    parameters: dict[str, int] | None = None
    cost: dict[str, float] = field(default_factory=dict)
    rates: dict[str, float] = field(default_factory=dict)
    first: bool = True
    trains: bool = True
    seeded: bool = True
    alone: bool = True
    smallest: dict[str, Any] = field(default_factory=dict)
    narrow: dict[str, Any] = field(default_factory=dict)

    @property
    def implemented(self) -> bool:
        return self.parameters is not None

    @property
    def program(self) -> str:
        """What `python -m` runs."""
        return f"reference.rivals.{self.module or self.name}"


@cache
def load(file: Path = FILE) -> dict[str, Row]:
    """Every row by its name, in the file's order. Raises BadInput for a stanza that is not as the file's head says."""
    try:
        stanzas = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as e:
        raise BadInput(f"{file}: cannot be read as TOML ({e}); restore it from the repository") from e
    return {name: _row(file, name, stanza) for name, stanza in stanzas.items()}


def in_table(table: str, file: Path = FILE) -> list[Row]:
    """The rows that stand in a table, in order."""
    return [row for row in load(file).values() if table in row.tables]


# What each key holds; a dictionary's values are all of one kind.
_KINDS: dict[str, tuple[type, ...] | type] = {
    "label": str,
    "paper": str,
    "code": (dict, str),
    "module": str,
    "options": list,
    "tables": (dict, str),
    "sees": str,
    "parameters": (dict, int),
    "cost": (dict, float),
    "rates": (dict, float),
    "first": bool,
    "trains": bool,
    "seeded": bool,
    "alone": bool,
    "smallest": dict,
    "narrow": dict,
}


def _row(file: Path, name: str, stanza: Any) -> Row:
    where = f"{file}: [{name}]"
    if not isinstance(stanza, dict):
        raise BadInput(f"{where} is no stanza; write [{name}] and its keys below")
    for key, value in stanza.items():
        if key not in _KINDS:
            raise BadInput(f"{where} has the unknown key {key}; the file's head lists the keys")
        kind = _KINDS[key]
        outer, inner = kind if isinstance(kind, tuple) else (kind, object)
        if not isinstance(value, outer):
            raise BadInput(f"{where} {key} is {value!r}; it must be a {outer.__name__}")
        if isinstance(value, dict) and not all(isinstance(v, inner) for v in value.values()):
            raise BadInput(f"{where} {key} is {value!r}; every value in it must be a {inner.__name__}")
    for key in ("label", "tables"):
        if key not in stanza:
            raise BadInput(f"{where} has no {key}; add it")
    for key, allowed in {"cost": PROFILES, "rates": PROFILES, "parameters": ("on_path", "state")}.items():
        if odd := sorted(set(stanza.get(key, {})) - set(allowed)):
            raise BadInput(f"{where} {key} names {odd[0]}; choose from {', '.join(allowed)}")
    row = Row(name, **(stanza | {"options": tuple(map(str, stanza.get("options", ())))}))
    if row.implemented and set(row.parameters or {}) != {"on_path", "state"}:
        raise BadInput(f"{where} parameters needs on_path and state; count both")
    if not set(row.sees) <= set("RDI"):
        raise BadInput(f"{where} sees {row.sees!r}; name some of R, D and I")
    path = file.with_name(f"{row.module or name}.py")
    if row.implemented != path.is_file():
        has, lacks = ("parameters", f"no file {path.name}") if row.implemented else (path.name, "no parameters")
        raise BadInput(f"{where} has {has} but {lacks}; a row needs both, or neither while it is not implemented")
    return row
