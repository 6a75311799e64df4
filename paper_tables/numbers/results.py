"""All that a rendered table says, gathered from the run folders: rows with their cells, and what is missing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from data_manifests.errors import BadInput
from paper_tables.declarations.profile import Profile, Settings
from paper_tables.declarations.published import Published, PublishedRow, load
from paper_tables.declarations.table import Row, Table
from paper_tables.numbers.cells import Cell, RunScores, cells, read_run
from paper_tables.numbers.gaps import Gaps, resampled_gaps
from paper_tables.planning.plan import Job, command_line
from paper_tables.planning.runner import Failure

Key = tuple[str, str, str]  # rule, column, metric


@dataclass(frozen=True)
class MissingRun:
    """A run that is not finished: which, why, and the command that makes it."""

    title: str
    seed: int
    reason: str
    command: str


@dataclass(frozen=True)
class FinishedRun:
    """A finished run: which, its scores, and the command that repeats it beside the first."""

    title: str
    seed: int
    part: str
    command: str
    scores: RunScores


@dataclass(frozen=True)
class RowResult:
    """A row of the table with its numbers. `cells` lacks what no finished run says; `published` is None for a row that
    the paper does not have."""

    row: Row
    finished: tuple[FinishedRun, ...]
    missing: tuple[MissingRun, ...]
    cells: dict[Key, Cell]
    published: PublishedRow | None
    leaf_parameters: int | None = None  # where the table counts those
    gaps: Gaps | None = None  # of the last column, where intervals are asked for and the table tells gaps

    @property
    def runs(self) -> list[RunScores]:
        return [run.scores for run in self.finished]

    @property
    def parameters(self) -> int | None:
        if self.leaf_parameters is not None:
            return self.leaf_parameters
        return self.finished[0].scores.parameters if self.finished else None


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
    rows: tuple[RowResult, ...]
    images: dict[str, tuple[int, int]]
    protocol: str | None = None
    clip: str | None = None  # the weights that the runs were told to use, as `--clip` names them

    def row(self, name: str) -> RowResult:
        return next(result for result in self.rows if result.row.name == name)

    @property
    def trained(self) -> list[Row]:
        return [row for row in self.table.rows if row.trains and row.program]

    @property
    def settings(self) -> Settings:
        """What the profile trains this table's rows with."""
        return self.profile.settings(self.table)


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
    leaf_parameters: Mapping[str, int] | None = None,
) -> Results:
    """Read every finished run of `jobs` and compute its row; `leaf_parameters` are those by row, where the table counts
    them. Raises BadInput for a damaged run folder, or one that used another index than `index_sha256`."""
    published = load(table.published, table.flat_columns) if table.published else None
    failed = {failure.job.folder: failure.reason for failure in failures}
    tested = {part.name: list(part.sets) for part in table.parts}
    rows = []
    images: dict[str, tuple[int, int]] = {}
    for row in table.rows:
        own = [job for job in jobs if job.row == row]
        finished = [_finished(job, tested[job.part], index_sha256) for job in own if job.done]
        missing = [
            MissingRun(job.title, job.seed, failed.get(job.folder, "not run"), command_line(job.command))
            for job in own
            if not job.done
        ]
        by_seed: dict[int, dict[str, RunScores]] = {}
        for run in finished:
            by_seed.setdefault(run.seed, {})[run.part] = run.scores
            for name in run.scores.targets:
                bonafide = run.scores.sets[name].bonafide
                live = int(bonafide.sum())
                images.setdefault(name, (live, bonafide.size - live))
        numbers = cells(by_seed, table.columns, ci, table.rules, table.kinds)
        printed = published.rows[row.published] if published and row.published else None
        parameters = (leaf_parameters or {}).get(row.name)
        gaps = None
        if ci and table.gap and finished and not missing and all(run.scores.every_epoch for run in finished):
            gaps = resampled_gaps(by_seed, table.columns[-1], table.kinds)
        rows.append(RowResult(row, tuple(finished), tuple(missing), numbers, printed, parameters, gaps))
    return Results(table, profile, seeds, data, stand_in, ci, published, tuple(rows), images, protocol, clip)


def _finished(job: Job, targets: Sequence[str], index_sha256: str) -> FinishedRun:
    scores = read_run(job.folder, targets)
    if scores.index_sha256 != index_sha256:
        raise BadInput(f"{job.folder}: was run on another index; move the folder away and run it again")
    # Given again as it was, the command would find its folder finished and do nothing.
    again = str(job.folder.parent.parent / "again" / job.folder.name)
    command = [again if word == str(job.folder) else word for word in job.command]
    return FinishedRun(job.title, job.seed, job.part, command_line(command), scores)
