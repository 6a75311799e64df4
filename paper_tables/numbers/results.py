"""All that a rendered table says, gathered from the run folders: rows with their cells, and what is
missing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from data_manifests.errors import BadInput
from paper_tables.declarations.published import Published, PublishedRow, load
from paper_tables.numbers.cells import Cell, RunScores, cells, read_run
from paper_tables.planning.plan import Job, Method, Profile, Table, shown
from paper_tables.planning.runner import Failure

Key = tuple[str, str, str]  # rule, column, metric


@dataclass(frozen=True)
class Missing:
    """A run that is not there: which, why, and the command that makes it."""

    title: str
    seed: int
    reason: str
    command: str


@dataclass(frozen=True)
class Made:
    """A run that is there: which, when it ended, and the command that makes it once more beside the first."""

    title: str
    seed: int
    part: str
    finished: str
    command: str


@dataclass(frozen=True)
class Row:
    """`cells` lacks what no finished run says; `published` is None for a row that the paper has not. `made` says of
    each of `runs` how."""

    method: Method
    runs: tuple[RunScores, ...]
    made: tuple[Made, ...]
    cells: dict[Key, Cell]
    missing: tuple[Missing, ...]
    published: PublishedRow | None
    counted: int | None = None  # parameters of the model's leaf modules, where the table counts those

    @property
    def parameters(self) -> int | None:
        if self.counted is not None:
            return self.counted
        return self.runs[0].parameters if self.runs else None


@dataclass(frozen=True)
class Results:
    """`images[set]` counts the tested images as (bona fide, attack); empty while there is no finished run.
    `protocol` is the index's protocol that the runs were told to use, or None for the programs' own."""

    table: Table
    profile: Profile
    seeds: int
    data: str
    stand_in: bool
    ci: bool
    published: Published | None
    rows: tuple[Row, ...]
    images: dict[str, tuple[int, int]]
    protocol: str | None = None
    clip: str | None = None  # the weights that the runs were told to use, as `--clip` names them

    def row(self, method: str) -> Row:
        return next(row for row in self.rows if row.method.name == method)

    @property
    def trained(self) -> list[Method]:
        return [method for method in self.table.methods if method.trains and method.module]

    @property
    def settings(self) -> dict[str, int | float | str]:
        """What the profile trains this table's methods with."""
        return self.profile.settings(self.trained[0].settings)


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
    protocol: str | None = None,
    clip: str | None = None,
    counts: Mapping[str, int] | None = None,
) -> Results:
    """Read every finished run of `jobs` and compute its row; `counts` are parameters by method, where the table
    wants them counted. Raises BadInput for a damaged run folder, or one that used another index than
    `index_sha256`."""
    published = load(table.published, table.printed) if table.published else None
    failed = {failure.job.folder: failure.reason for failure in failures}
    tested = {part.name: list(part.sets) for part in table.parts}
    rows = []
    images: dict[str, tuple[int, int]] = {}
    for method in table.methods:
        mine = [job for job in jobs if job.method == method]
        by_seed: dict[int, dict[str, RunScores]] = {}
        made = []
        for job in mine:
            if job.done:
                run = read_run(job.folder, tested[job.part])
                if run.index_sha256 != index_sha256:
                    raise BadInput(f"{run.folder}: was run on another index; delete the folder and run it again")
                by_seed.setdefault(job.seed, {})[job.part] = run
                made.append(_made(job))
                for name in run.targets:
                    live = int(run.sets[name].bonafide.sum())
                    images.setdefault(name, (live, run.sets[name].bonafide.size - live))
        missing = tuple(
            Missing(job.title, job.seed, failed.get(job.folder, "not run"), shown(job.command))
            for job in mine
            if not job.done
        )
        runs = tuple(run for parts in by_seed.values() for run in parts.values())
        found = cells(by_seed, table.columns, ci, table.rules, table.kinds)
        row = published.rows[method.published] if published and method.published else None
        rows.append(Row(method, runs, tuple(made), found, missing, row, (counts or {}).get(method.name)))
    return Results(table, profile, seeds, data, stand_in, ci, published, tuple(rows), images, protocol, clip)


def _made(job: Job) -> Made:
    # Given again as it was, the command would find its folder finished and do nothing.
    again = str(job.folder.parent.parent / "again" / job.folder.name)
    command = [again if word == str(job.folder) else word for word in job.command]
    finished = (job.folder / "done").read_text(encoding="utf-8").strip()
    return Made(job.title, job.seed, job.part, finished, shown(command))
