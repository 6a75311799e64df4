"""What a table consists of, what a profile means, and which runs a table needs.

A run's folder is named after what it is - method, profile, seed, and a hash over its options, the index and
every project file its command imports - and not after the table: tables that need the same run share it, and
a changed line of source gives a new folder instead of a mixture of two versions.
"""

import ast
import hashlib
import json
import shlex
import sys
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from data_manifests.errors import BadInput

ROOT = Path(__file__).resolve().parent.parent
PROFILES = Path(__file__).resolve().parent / "profiles.toml"


@dataclass(frozen=True)
class Method:
    """A table's row. `published` names its row in the paper's table, `module` what `python -m` runs."""

    name: str
    label: str
    module: str | None  # None: not implemented yet
    options: tuple[str, ...] = ()
    published: str | None = None
    trains: bool = True  # False: a fixed rule, which knows neither training options nor device
    seeded: bool = True  # False: the same whatever the seed, so that one run says it all


@dataclass(frozen=True)
class Figure:
    """A paper's figure of FPR-FNR curves that belongs to a table: the files' name, and its title."""

    name: str
    title: str


@dataclass(frozen=True)
class Table:
    """A paper's table: its rows, the sets tested on by letter with their short names, and the printed
    numbers, whose sets are the columns shown (`weighted` is over all sets tested on)."""

    name: str
    title: str
    published: Path
    sets: dict[str, str]
    methods: tuple[Method, ...]
    kinds: tuple[str, ...] = ("hter", "auc", "accuracy")  # what a set's columns hold
    figure: Figure | None = None


@dataclass(frozen=True)
class Profile:
    """What PROFILE=name means; see profiles.toml."""

    name: str
    seeds: int
    device: str
    threads: int
    phantom: str
    training: dict[str, int | float | str]
    cost: dict[str, float]
    methods: dict[str, dict[str, int | float | str]]

    def options(self, method: Method) -> dict[str, int | float | str]:
        return self.training | self.methods.get(method.name, {})


def load_profile(name: str, path: Path = PROFILES) -> Profile:
    """Read one profile. Raises BadInput on an unknown name or a field that is missing or of another kind."""
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as e:
        raise BadInput(f"{path}: not valid TOML: {e}") from e
    if name not in found:
        raise BadInput(f"--profile {name}: there is {', '.join(['auto', *found])}")
    table = found[name]
    kinds = {"seeds": int, "device": str, "threads": int, "phantom": str, "training": dict, "cost": dict}
    for key, kind in kinds.items():
        if not isinstance(table.get(key), kind):
            raise BadInput(f"{path}: [{name}] needs {key}, of kind {kind.__name__}")
    if odd := sorted(set(table) - set(kinds) - {"methods"}):
        raise BadInput(f"{path}: [{name}] has no use for {odd[0]}; remove it")
    methods = table.get("methods", {})
    for method, options in methods.items():
        if odd := sorted(set(options) - set(table["training"])):
            raise BadInput(f"{path}: [{name}.methods.{method}] replaces {odd[0]}, which [{name}.training] lacks")
    return Profile(name, **{key: table[key] for key in kinds}, methods=methods)


@dataclass(frozen=True)
class Job:
    """One run: the command that makes or continues `folder`, and what it costs (mmFAS epochs)."""

    method: Method
    seed: int
    folder: Path
    command: tuple[str, ...]
    epochs: int
    epoch_cost: float

    @property
    def done(self) -> bool:
        return (self.folder / "done").exists()

    @property
    def title(self) -> str:
        return f"{self.method.name} seed {self.seed}"


def plan(
    methods: Sequence[Method],
    profile: Profile,
    seeds: int,
    index: Path,
    index_sha256: str | None,
    runs: Path,
    device: str,
) -> list[Job]:
    """The runs of every implemented method, seeds 0 … seeds-1. Without `index_sha256` (nothing is indexed
    yet) the hash in each folder's name is `XXXXXXXX`."""
    jobs = []
    for method in methods:
        if method.module is None:
            continue
        options = list(method.options)
        epochs, cost = 1, 0.0
        if method.trains:
            training = profile.options(method)
            epochs, cost = int(training["epochs"]), profile.cost.get(method.name, 1.0)
            for name, value in training.items():
                options += [f"--{name}", str(value)]
            options += ["--threads", str(profile.threads), "--device", device]
        for seed in range(seeds if method.seeded else 1):
            identity = "XXXXXXXX"
            if index_sha256:
                identity = _hash([method.module, *options, str(seed), index_sha256, sources(method.module)])
            folder = runs / f"{method.name}-{profile.name}-seed{seed}-{identity}"
            where = ["--index", str(index), "--run-dir", str(folder)]
            command = (sys.executable, "-m", method.module, *where, *options, "--seed", str(seed))
            jobs.append(Job(method, seed, folder, command, epochs, cost))
    return jobs


def _hash(identity: Any) -> str:
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:8]


@cache
def sources(module: str) -> dict[str, str]:
    """SHA-256 of every file of this project that `python -m module` imports, by its path. Reads the files'
    import statements; nothing is executed. Raises BadInput if there is no such module."""
    first = _file(module)
    if first is None:
        raise BadInput(f"{module}: no such module in {ROOT}; restore it from the repository")
    waiting, found = [first], dict[str, str]()
    while waiting:
        path = waiting.pop()
        key = path.relative_to(ROOT).as_posix()
        if key in found:
            continue
        text = path.read_bytes()
        found[key] = hashlib.sha256(text).hexdigest()
        for node in ast.walk(ast.parse(text, filename=str(path))):
            names: list[str] = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
            waiting += [file for name in names if (file := _file(name))]
    return found


def _file(module: str) -> Path | None:
    """A project module's file; None for a name outside the project, or inside a module."""
    base = ROOT.joinpath(*module.split("."))
    for path in (base.with_suffix(".py"), base / "__init__.py"):
        if path.is_file():
            return path
    return None


def shown(command: Sequence[str]) -> str:
    """A command as one types it in the project's folder: paths below it relative, python as
    `.venv/bin/python` or, from elsewhere, `python`."""
    words = []
    for i, word in enumerate(command):
        path = Path(word)
        if path.is_absolute() and path.is_relative_to(ROOT):
            word = str(path.relative_to(ROOT))
        elif i == 0 and word == sys.executable:
            word = "python"
        words.append(word)
    return shlex.join(words)
