"""What a profile means: how large and how long the trainings of a table are on the machine at hand."""

import tomllib
from dataclasses import dataclass
from pathlib import Path

from data_manifests.errors import BadInput
from paper_tables.declarations.table import Row, Table

FILE = Path(__file__).with_name("profiles.toml")
Settings = dict[str, int | float | str]


@dataclass(frozen=True)
class Profile:
    """What PROFILE=name means; see profiles.toml."""

    name: str
    seeds: int
    device: str
    threads: int
    phantom: str
    oracle: bool
    keep_weights: int
    training: Settings
    mmda: Settings
    tables: dict[str, Settings]

    def settings(self, table: Table) -> Settings:
        """What the table's rows are trained with."""
        return {"training": self.training, "mmda": self.mmda}[table.settings] | self.tables.get(table.name, {})

    def options(self, table: Table, row: Row) -> Settings:
        """What one of its rows is trained with."""
        return self.settings(table) | dict(row.training.get(self.name, {}))


def load(name: str, path: Path = FILE) -> Profile:
    """Read one profile. Raises BadInput on an unknown name or a field that is missing or of another kind."""
    try:
        profiles = tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as e:
        raise BadInput(f"{path}: not valid TOML: {e}") from e
    if name not in profiles:
        raise BadInput(f"--profile {name}: there is {', '.join(['auto', *profiles])}")
    profile = {"tables": {}} | {key.replace("-", "_"): value for key, value in profiles[name].items()}
    kinds = {
        "seeds": int,
        "device": str,
        "threads": int,
        "phantom": str,
        "oracle": bool,
        "keep_weights": int,
        "training": dict,
        "mmda": dict,
        "tables": dict,
    }
    for key, kind in kinds.items():
        if not isinstance(profile.get(key), kind):
            raise BadInput(f"{path}: [{name}] needs {key.replace('_', '-')}, of kind {kind.__name__}")
    if odd := sorted(set(profile) - set(kinds)):
        raise BadInput(f"{path}: [{name}] has no use for {odd[0]}; remove it")
    for table, options in profile["tables"].items():
        if odd := sorted(set(options) - set(profile["training"])):
            raise BadInput(f"{path}: [{name}.tables.{table}] replaces {odd[0]}, which [{name}.training] lacks")
    return Profile(name, **profile)
