"""A table as somebody typed it in: its numbers as printed, and what its paper states about them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Literal

from paper_tables.audit.metrics import METRICS
from paper_tables.audit.printing import Printed

Point = tuple[str, Decimal]  # a metric and the value, in percent, at which the threshold holds it


@dataclass(frozen=True)
class Cell:
    """`value` in percent with its printed digits; `spread` what stands behind a ±."""

    value: Decimal
    bold: bool = False
    spread: Decimal | None = None


@dataclass(frozen=True)
class Column:
    """`name` is the heading; `set` what it says beside the metric, empty for the metric alone."""

    name: str
    set: str
    metric: str
    at: Point | None = None

    @property
    def label(self) -> str:
        """The metric with its operating point, as printed in a computation."""
        printed = METRICS[self.metric].printed
        return f"{printed}@{METRICS[self.at[0]].printed}={self.at[1]}%" if self.at else printed


@dataclass(frozen=True)
class Counts:
    """How many samples each rate of a set is counted over, in one run; `families` splits the attacks."""

    bonafide: int | None = None
    attack: int | None = None
    samples: int | None = None
    families: Mapping[str, int] = field(default_factory=dict)

    def totals(self, over: str) -> list[int]:
        """The numbers of samples that a share over all, the bona fide or the attack samples may be of.

        All attacks stand before the kinds of attack, of which APCER is the greatest; none where nothing is stated.
        """
        if over == "bona fide":
            return [self.bonafide] if self.bonafide else []
        if over == "attack":
            return list(dict.fromkeys([*([self.attack] if self.attack else []), *self.families.values()]))
        return [self.samples] if self.samples else []


@dataclass(frozen=True)
class Average:
    """A column group that averages others: `weights` by set, or None where they are not printed.

    `stated`: the file says so; otherwise it was read from the heading alone.
    """

    set: str
    of: tuple[str, ...]
    weights: Mapping[str, Decimal] | None
    stated: bool

    @property
    def equal(self) -> bool:
        return self.weights is not None and len(set(self.weights.values())) == 1


@dataclass(frozen=True)
class Gain:
    """A sentence about how much better `row` is than another row, or than the second best, in a column."""

    quote: str
    value: Decimal
    row: str
    column: str
    over: Literal["", "second best"] | str
    kind: Literal["", "points", "relative"]


@dataclass(frozen=True)
class States:
    """What the paper states, as the file says: see the keys of [states] in the README."""

    hter: Literal["", "eer", "lowest", "fixed"] = ""
    accuracy: Point | None = None
    half_sums: bool = False
    bold: Literal["", "best"] = ""
    same_samples: bool = False
    each_class: int = 0  # samples of each class, at least, in every set


@dataclass(frozen=True, kw_only=True)
class Table(Printed):
    """`rows[row][column name]`, without the cells in which nothing is printed. `taken`: how cells were read."""

    title: str
    source: str
    columns: tuple[Column, ...]
    rows: Mapping[str, Mapping[str, Cell]]
    counts: Mapping[str, Counts] = field(default_factory=dict)
    averages: tuple[Average, ...] = ()
    states: States = field(default_factory=States)
    gains: tuple[Gain, ...] = ()
    taken: tuple[str, ...] = ()

    @property
    def sets(self) -> list[str]:
        """The sets of the headings, averages included."""
        return list(dict.fromkeys(c.set for c in self.columns))

    @property
    def tested(self) -> list[str]:
        """The sets that are no averages of others."""
        return [s for s in self.sets if s not in {a.set for a in self.averages}]

    def column(self, group: str, metric: str, at: Point | None = None) -> Column | None:
        """The column of a set and metric, or None."""
        return next((c for c in self.columns if (c.set, c.metric, c.at) == (group, metric, at)), None)

    def cells(self, column: Column) -> dict[str, Cell]:
        """The printed cells of a column, by row."""
        return {row: cells[column.name] for row, cells in self.rows.items() if column.name in cells}

    def values(self, column: Column) -> dict[str, Decimal]:
        return {row: cell.value for row, cell in self.cells(column).items()}

    def pairs(self, *columns: Column | None) -> Iterator[tuple[str, list[Cell]]]:
        """Each row that prints a number in all of these columns, with its cells; none if one of them is missing."""
        if all(columns):
            for row, cells in self.rows.items():
                if all(c.name in cells for c in columns if c):
                    yield row, [cells[c.name] for c in columns if c]
