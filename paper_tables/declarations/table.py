"""What a table consists of: rows, the runs of each row, columns, and the figure that goes with it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from reference.rivals import rows as comparison_rows
from reference.runs import HEADLINE

KINDS = ("hter", "auc", "accuracy")  # of metric


@dataclass(frozen=True)
class Row:
    """Where a method stands in a table. `published` names its row in the paper's table, `program` what `python -m`
    runs. `cost` is the time of one epoch relative to mmFAS's, by profile: it only orders runs and estimates their
    time. `training` holds, by profile, training options that replace the profile's own for this row."""

    name: str
    label: str
    program: str | None  # None: not implemented yet
    options: tuple[str, ...] = ()
    published: str | None = None
    trains: bool = True  # False: a fixed rule, which knows no training options
    clip: bool = False  # whether it takes --clip, and images as large as that CLIP's
    sees: bool = True  # False: looks at no image either, and knows no device
    seeded: bool = True  # False: the same whatever the seed, so that one run says it all
    first: bool = True  # whether the cpu profile trains it when no rows are named
    reconstruction: bool = False  # True: written from an abstract alone, and not its authors' method
    cost: Mapping[str, float] = field(default_factory=dict)
    training: Mapping[str, Mapping[str, int | float | str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Part:
    """One of the runs that a row consists of: what it adds to the row's options, and the test sets it scores."""

    sets: tuple[str, ...]
    name: str = ""  # stands in the folder's name; a row of one run needs none
    options: tuple[str, ...] = ()


@dataclass(frozen=True)
class Place:
    """Where a number comes from: test sets of one part, judged together as one set, and a head of the model."""

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
    """A figure of FPR-FNR curves, a panel for each test set."""

    name: str
    title: str


@dataclass(frozen=True)
class Point:
    """A number of the table as a point of a sweep: at `x` the cell of a row and a column."""

    x: float
    row: str
    column: str


@dataclass(frozen=True)
class Sweep:
    """A figure of numbers over an option's values: a line for each series, a panel for each of `kinds`."""

    name: str
    title: str
    x_label: str
    series: dict[str, tuple[Point, ...]]
    kinds: tuple[str, ...]


@dataclass(frozen=True)
class NumberGrid(Sweep):
    """A sweep of too many series for lines, drawn as a grid of shaded numbers: a row for each series, the best of each
    row framed, and the point at x = `marked[series]` underlined, which `marked_label` explains."""

    y_label: str
    marked: dict[str, float]
    marked_label: str


@dataclass(frozen=True)
class Table:
    """A paper's table or the numbers of its figure: rows, the runs of each row, and columns.

    `sets` are the tested data sets by letter with their short names. `kinds` are the kinds of metric that are
    computed, all of which the long form and the JSON file hold; the columns show those of them in `visible`.
    """

    name: str
    title: str
    own_rows: tuple[Row, ...]  # the rows of this paper's own method; `rows` adds those of rows.toml
    parts: tuple[Part, ...]
    columns: tuple[Column, ...]
    sets: dict[str, str]
    settings: str = "training"  # which of a profile's settings its rows are trained with
    kinds: tuple[str, ...] = KINDS
    visible: tuple[str, ...] = KINDS
    rules: tuple[str, ...] = ("source_val", "last", "oracle")  # the last one is the published way
    published: Path | None = None
    flat_columns: dict[str, tuple[str, str]] = field(default_factory=dict)  # of a flat published table: (column, kind)
    published_note: str = ""
    notes: tuple[str, ...] = ()  # sentences for its caption
    protocols: tuple[str, ...] = ()  # the first that the index has is used; none: the programs' own default
    leaf_parameters: bool = False  # its parameters are those of the model's leaf modules, whether it was run or not
    every_epoch: bool = False  # needs the test sets' scores of every epoch, whoever chooses among them
    gap: bool = False  # says how far the published way of choosing is from the honest one
    baseline: str | None = None  # the row that every other one is compared with, seed by seed
    figure: Curves | Sweep | None = None

    @property
    def clip(self) -> bool:
        """Whether some of its rows take --clip."""
        return any(row.clip for row in self.rows)

    @property
    def rows(self) -> tuple[Row, ...]:
        """The table's rows from top to bottom: comparison rows that look at images, the paper's own rows, and the
        predictors that look at nothing. The first and the last are those that rows.toml puts in this table."""
        comparisons = [_row(row, self.name) for row in comparison_rows.in_table(self.name, comparison_rows.FILE)]
        above, below = ([row for row in comparisons if row.sees == sees] for sees in (True, False))
        return (*above, *self.own_rows, *below)


def _row(declared: comparison_rows.Row, table: str) -> Row:
    """A stanza of rows.toml as a row of the table."""
    return Row(
        declared.name,
        declared.title,
        declared.program if declared.implemented else None,
        declared.options,
        declared.tables[table] or None,
        declared.trains,
        declared.clip,
        bool(declared.sees),
        declared.seeded,
        declared.first,
        declared.reconstruction,
        declared.cost,
        declared.training,
    )
