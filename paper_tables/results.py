"""All that a rendered table says, gathered from the run folders: rows with their cells, and what is
missing."""

from collections.abc import Sequence
from dataclasses import dataclass

from data_manifests.errors import BadInput
from paper_tables.cells import Cell, RunScores, cells, read_run
from paper_tables.plan import Job, Method, Profile, Table, shown
from paper_tables.published import Published, PublishedRow, load
from paper_tables.runner import Failure

Key = tuple[str, str, str]  # rule, test set or `weighted`, metric


@dataclass(frozen=True)
class Missing:
    """A run that is not there: why, and the command that makes it."""

    seed: int
    reason: str
    command: str


@dataclass(frozen=True)
class Row:
    """`cells` is empty while there is no finished run; `published` is None for a row that the paper has
    not."""

    method: Method
    runs: tuple[RunScores, ...]
    cells: dict[Key, Cell]
    missing: tuple[Missing, ...]
    published: PublishedRow | None

    @property
    def parameters(self) -> int | None:
        return self.runs[0].parameters if self.runs else None


@dataclass(frozen=True)
class Results:
    """`images[set]` counts the tested images as (bona fide, attack); empty while there is no finished run."""

    table: Table
    profile: Profile
    seeds: int
    data: str
    stand_in: bool
    ci: bool
    published: Published
    rows: tuple[Row, ...]
    images: dict[str, tuple[int, int]]


def gather(
    table: Table,
    profile: Profile,
    seeds: int,
    data: str,
    stand_in: bool,
    index_sha256: str,
    jobs: Sequence[Job],
    failures: Sequence[Failure],
    ci: bool,
) -> Results:
    """Read every finished run of `jobs` and compute its row. Raises BadInput for a damaged run folder, or one
    that used another index than `index_sha256`."""
    published = load(table.published)
    failed = {failure.job.folder: failure.reason for failure in failures}
    rows = []
    for method in table.methods:
        mine = [job for job in jobs if job.method == method]
        runs = tuple(read_run(job.folder, list(table.sets)) for job in mine if job.done)
        for run in runs:
            if run.index_sha256 != index_sha256:
                raise BadInput(f"{run.folder}: was run on another index; delete the folder and run it again")
        missing = tuple(
            Missing(job.seed, failed.get(job.folder, "not run"), shown(job.command)) for job in mine if not job.done
        )
        row = published.rows[method.published] if method.published else None
        rows.append(Row(method, runs, cells(runs, ci) if runs else {}, missing, row))
    tested = next((row.runs[0] for row in rows if row.runs), None)
    images = {}
    if tested:
        for name in tested.targets:
            live = int(tested.sets[name].bonafide.sum())
            images[name] = (live, tested.sets[name].bonafide.size - live)
    return Results(table, profile, seeds, data, stand_in, ci, published, tuple(rows), images)
