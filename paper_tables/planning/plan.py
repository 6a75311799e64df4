"""What a table consists of, what a profile means, and which runs a table needs.

A run's folder is named after what it is - method, profile, seed, and a hash over its options, the index and
every project file its command imports - and not after the table: tables that need the same run share it, and
a changed line of source gives a new folder instead of a mixture of two versions.
"""

import hashlib
import json
import shlex
import sys
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

from data_manifests.errors import BadInput
from reference.sources import ROOT, sources

PROFILES = ROOT / "paper_tables" / "declarations" / "profiles.toml"


@dataclass(frozen=True)
class Method:
    """A table's row. `published` names its row in the paper's table, `module` what `python -m` runs."""

    name: str
    label: str
    module: str | None  # None: not implemented yet
    options: tuple[str, ...] = ()
    published: str | None = None
    trains: bool = True  # False: a fixed rule, which knows no training options
    sees: bool = True  # False: looks at no image either, and knows no device
    seeded: bool = True  # False: the same whatever the seed, so that one run says it all
    settings: str = "training"  # which of the profile's settings it is trained with


@dataclass(frozen=True)
class Part:
    """One of the runs that a row consists of: what it adds to the row's options, and the test sets it scores."""

    sets: tuple[str, ...]
    name: str = ""  # stands in the folder's name; a row of one run needs none
    options: tuple[str, ...] = ()


HEADLINE = "cls"  # the output of a model with several, fixed before anything is seen; the only one of the others


@dataclass(frozen=True)
class Place:
    """Where a number comes from: test sets of one part, judged together as one set, and a model's output."""

    part: str
    sets: tuple[str, ...]
    head: str = HEADLINE

    @property
    def tested(self) -> str:
        return "+".join(self.sets)


@dataclass(frozen=True)
class Column:
    """A table's column: the mean over its places, plain or by their numbers of tested images."""

    name: str
    label: str
    places: tuple[Place, ...]
    weighted: bool = False
    dataset: bool = False  # the label names a data set, which a stand-in must not be called by

    @property
    def parts(self) -> set[str]:
        return {place.part for place in self.places}


@dataclass(frozen=True)
class Curves:
    """A figure of FPR-FNR curves, a panel a test set."""

    name: str
    title: str


@dataclass(frozen=True)
class Point:
    """A number of the table as a point of a sweep: at `x` the cell of a row and a column."""

    x: float
    method: str
    column: str


@dataclass(frozen=True)
class Sweep:
    """A figure of numbers over an option's values: a line a series, a panel for each of `kinds`."""

    name: str
    title: str
    x_label: str
    series: dict[str, tuple[Point, ...]]
    kinds: tuple[str, ...]


@dataclass(frozen=True)
class NumberGrid(Sweep):
    """A sweep of too many series for lines, drawn as a grid of shaded numbers: a row a series, the best of each row
    framed, and the point at x = `marked[series]` underlined, which `marked_label` explains."""

    y_label: str
    marked: dict[str, float]
    marked_label: str


KINDS = ("hter", "auc", "accuracy")


@dataclass(frozen=True)
class Table:
    """A paper's table or the numbers of its figure: rows, the runs of each row, and columns.

    `sets` are the tested data sets by letter with their short names. The columns show the kinds of metric
    `shown`; `kinds` are those computed, all of which the long form and the JSON file hold.
    """

    name: str
    title: str
    methods: tuple[Method, ...]
    parts: tuple[Part, ...]
    columns: tuple[Column, ...]
    sets: dict[str, str]
    kinds: tuple[str, ...] = KINDS
    shown: tuple[str, ...] = KINDS
    rules: tuple[str, ...] = ("source_val", "last", "oracle")  # the last one is the published way
    published: Path | None = None
    printed: dict[str, tuple[str, str]] = field(default_factory=dict)  # a flat table's columns: (column, kind)
    published_note: str = ""
    notes: tuple[str, ...] = ()  # sentences for its caption
    protocols: tuple[str, ...] = ()  # the first that the index has is used; none: the programs' own default
    clip: bool = False  # its runs take --clip
    counted: bool = False  # its parameters are those of the model's leaf modules, whether it was run or not
    gap: bool = False  # says how far the published way of choosing is from the honest one
    baseline: str | None = None  # the row that every other one is compared with, seed by seed
    figure: Curves | Sweep | None = None


@dataclass(frozen=True)
class Profile:
    """What PROFILE=name means; see profiles.toml."""

    name: str
    seeds: int
    device: str
    threads: int
    phantom: str
    training: dict[str, int | float | str]
    mmda: dict[str, int | float | str]
    cost: dict[str, float]
    methods: dict[str, dict[str, int | float | str]]
    tables: dict[str, dict[str, int | float | str]]

    def of(self, table: Table) -> Self:
        """This profile as it is for one table."""
        return replace(self, training=self.training | self.tables.get(table.name, {}))

    def settings(self, name: str) -> dict[str, int | float | str]:
        return {"training": self.training, "mmda": self.mmda}[name]

    def options(self, method: Method) -> dict[str, int | float | str]:
        return self.settings(method.settings) | self.methods.get(method.name, {})


def load_profile(name: str, path: Path = PROFILES) -> Profile:
    """Read one profile. Raises BadInput on an unknown name or a field that is missing or of another kind."""
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as e:
        raise BadInput(f"{path}: not valid TOML: {e}") from e
    if name not in found:
        raise BadInput(f"--profile {name}: there is {', '.join(['auto', *found])}")
    table = found[name]
    kinds = {"seeds": int, "device": str, "threads": int, "phantom": str, "training": dict, "mmda": dict}
    kinds["cost"] = dict
    for key, kind in kinds.items():
        if not isinstance(table.get(key), kind):
            raise BadInput(f"{path}: [{name}] needs {key}, of kind {kind.__name__}")
    replacing = {key: table.get(key, {}) for key in ("methods", "tables")}
    if odd := sorted(set(table) - set(kinds) - set(replacing)):
        raise BadInput(f"{path}: [{name}] has no use for {odd[0]}; remove it")
    for key, replaced in replacing.items():
        for what, options in replaced.items():
            if odd := sorted(set(options) - set(table["training"])):
                raise BadInput(f"{path}: [{name}.{key}.{what}] replaces {odd[0]}, which [{name}.training] lacks")
    return Profile(name, **{key: table[key] for key in kinds}, **replacing)


@dataclass(frozen=True)
class Job:
    """One run: the command that makes or continues `folder`, and what it costs (mmFAS epochs)."""

    method: Method
    seed: int
    folder: Path
    command: tuple[str, ...]
    epochs: int
    epoch_cost: float
    part: str = ""

    @property
    def done(self) -> bool:
        return (self.folder / "done").exists()

    @property
    def row(self) -> str:
        return f"{self.method.name} {self.part}".rstrip()

    @property
    def title(self) -> str:
        return f"{self.row} seed {self.seed}"


def plan(
    table: Table,
    profile: Profile,
    seeds: int,
    index: Path,
    index_sha256: str | None,
    runs: Path,
    device: str,
    common: Sequence[str] = (),
) -> list[Job]:
    """The runs of every implemented method, seeds 0 … seeds-1, a run a part. `common` are options of all of
    them. Without `index_sha256` (nothing is indexed yet) the hash in each folder's name is `XXXXXXXX`."""
    jobs = []
    for method in table.methods:
        if method.module is None:
            continue
        settings: list[str] = []
        epochs, cost = 1, 0.0
        if method.sees:
            training = profile.options(method)
            if method.trains:
                epochs, cost = int(training["epochs"]), profile.cost.get(method.name, 1.0)
            else:
                training = {"image-size": training["image-size"]}
            for name, value in training.items():
                settings += [f"--{name}", str(value)]
            settings += ["--threads", str(profile.threads), "--device", device]
        for seed in range(seeds if method.seeded else 1):
            for part in table.parts:
                options = [*method.options, *part.options, *common, *settings]
                identity = "XXXXXXXX"
                if index_sha256:
                    identity = _hash([method.module, *options, str(seed), index_sha256, sources(method.module)])
                name = f"{method.name}-{part.name}" if part.name else method.name
                folder = runs / f"{name}-{profile.name}-seed{seed}-{identity}"
                where = ["--index", str(index), "--run-dir", str(folder)]
                command = (sys.executable, "-m", method.module, *where, *options, "--seed", str(seed))
                jobs.append(Job(method, seed, folder, command, epochs, cost, part.name))
    return jobs


def _hash(identity: Any) -> str:
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:8]


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
