"""Which runs a table needs.

A run's folder is named after what it is - row, profile, seed, and a hash over its options, the index and every
project file its command imports - and not after the table: tables that need the same run share it, and a changed line
of source gives a new folder instead of a mixture of two versions.
"""

import hashlib
import json
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from paper_tables.declarations.profile import Profile, Settings
from paper_tables.declarations.table import Row, Table
from reference.kernels import Kernels
from reference.sources import ROOT, sources

EVERY_EPOCH = ("--score-tests", "every")


@dataclass(frozen=True)
class Job:
    """One run: the command that makes or continues `folder`, and what it costs (mmFAS epochs)."""

    row: Row
    seed: int
    folder: Path
    command: tuple[str, ...]
    epochs: int
    epoch_cost: float
    part: str = ""
    again: bool = False  # there is a finished run, but not with the test sets' scores of every epoch

    @property
    def done(self) -> bool:
        return (self.folder / "done").exists()

    @property
    def name(self) -> str:
        """The row's name, and the part's where the row consists of several."""
        return f"{self.row.name} {self.part}".rstrip()

    @property
    def title(self) -> str:
        return f"{self.name} seed {self.seed}"


def plan(
    table: Table,
    profile: Profile,
    seeds: int,
    index: Path,
    index_sha256: str | None,
    runs: Path,
    device: str,
    common: Sequence[str] = (),
    clip: Settings | None = None,
    kernels: Kernels = "fastest",
    oracle: bool = False,
) -> list[Job]:
    """The runs of every implemented row, seeds 0 … seeds-1, one run for each part.

    With `oracle`, or where profile or table ask for it, they score the test sets at every evaluated epoch; without, a
    finished run that did so is as good. `common` are options of all of them, `clip` of those whose rows take a CLIP,
    `kernels` of those that look at images.
    Without `index_sha256` (nothing is indexed yet) the hash in each folder's name is `XXXXXXXX`.
    """
    jobs = []
    for row in table.rows:
        if row.program is None:
            continue
        settings: list[str] = []
        epochs, cost = 1, 0.0
        if row.sees:
            training = profile.options(table, row) | (dict(clip or {}) if row.clip else {})
            if row.trains:
                epochs, cost = int(training["epochs"]), row.cost.get(profile.name, 1.0)
            else:
                training = {name: training[name] for name in ("image-size", "clip") if name in training}
            for name, value in training.items():
                settings += [f"--{name}", str(value)]
            settings += ["--threads", str(profile.threads), "--device", device]
            settings += ["--kernels", kernels] if kernels != "fastest" else []
        for seed in range(seeds if row.seeded else 1):
            weights = ["--no-keep-weights"] if row.sees and row.trains and seed >= profile.keep_weights else []
            for part in table.parts:
                options = [*row.options, *part.options, *common, *settings, *weights]
                name = f"{row.name}-{part.name}" if part.name else row.name
                place = runs / f"{name}-{profile.name}-seed{seed}"
                lean, every = (
                    Job(row, seed, *_run(row.program, words, seed, place, index, index_sha256), epochs, cost, part.name)
                    for words in (options, [*options, *EVERY_EPOCH])
                )
                if not (row.sees and row.trains):
                    jobs.append(lean)
                elif oracle or profile.oracle or table.every_epoch:
                    jobs.append(replace(every, again=lean.done))
                else:
                    jobs.append(every if every.done else lean)
    return jobs


def _run(
    program: str, options: Sequence[str], seed: int, place: Path, index: Path, index_sha256: str | None
) -> tuple[Path, tuple[str, ...]]:
    """The folder of a run, which is `place` and a hash of all that decides the run, and its command."""
    identity = "XXXXXXXX"
    if index_sha256:
        identity = _hash([program, *options, str(seed), index_sha256, sources(program)])
    folder = place.with_name(f"{place.name}-{identity}")
    where = ("--index", str(index), "--run-dir", str(folder))
    return folder, (sys.executable, "-m", program, *where, *options, "--seed", str(seed))


def _hash(identity: Any) -> str:
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:8]


def command_line(command: Sequence[str]) -> str:
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
