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
    reconstruction: bool = False
    module: str = ""
    options: tuple[str, ...] = ()
    sees: str = "RDI"
    parameters: dict[str, int] | None = None
    cost: dict[str, float] = field(default_factory=dict)
    training: dict[str, dict[str, Any]] = field(default_factory=dict)
    first: bool = True
    trains: bool = True
    seeded: bool = True
    alone: bool = True
    clip: bool = False
    smallest: dict[str, Any] = field(default_factory=dict)
    narrow: dict[str, Any] = field(default_factory=dict)

    @property
    def implemented(self) -> bool:
        return self.parameters is not None

    @property
    def title(self) -> str:
        """What tables call the row: a reconstruction never goes by the bare name of the method."""
        return f"{self.label} (reconstruction)" if self.reconstruction else self.label

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


def _row(file: Path, name: str, stanza: Any) -> Row:
    where = f"{file}: [{name}]"
    if not isinstance(stanza, dict):
        raise BadInput(f"{where} is no stanza; write [{name}] and its keys below")
    if missing := sorted({"label", "tables"} - set(stanza)):
        raise BadInput(f"{where} has no {missing[0]}; add it")
    empty = vars(Row("", "", {}))
    kinds = {key: type(value) for key, value in empty.items() if key != "name"} | {"options": list, "parameters": dict}
    for key, value in stanza.items():
        if key not in kinds:
            raise BadInput(f"{where} has the unknown key {key}; the file's head lists the keys")
        if not isinstance(value, kind := kinds[key]):
            raise BadInput(f"{where} {key} is {value!r}; it must be a {kind.__name__}")
    inner_kinds: dict[str, tuple[tuple[str, ...], Any, str]] = {
        "cost": (PROFILES, int | float, "numbers"),
        "parameters": (("on_path", "state"), int | float, "numbers"),
        "training": (PROFILES, dict, "options"),
    }
    for key, (allowed, kind, words) in inner_kinds.items():
        for inner, value in stanza.get(key, {}).items():
            if inner not in allowed or not isinstance(value, kind):
                raise BadInput(f"{where} {key} names {inner} = {value!r}; give {words} for {', '.join(allowed)}")
    row = Row(name, **(stanza | {"options": tuple(map(str, stanza.get("options", ())))}))
    if row.implemented and len(row.parameters or {}) != 2:
        raise BadInput(f"{where} parameters needs on_path and state; count both")
    if not set(row.sees) <= set("RDI"):
        raise BadInput(f"{where} sees {row.sees!r}; name some of R, D and I")
    path = file.with_name(f"{row.module or name}.py")
    if row.implemented != path.is_file():
        has, lacks = ("parameters", f"no file {path.name}") if row.implemented else (path.name, "no parameters")
        raise BadInput(f"{where} has {has} but {lacks}; a row needs both, or neither while it is not implemented")
    return row
