"""Which runs a probe looks at, and the command that starts it on them."""

import sys
from collections.abc import Sequence
from pathlib import Path

from paper_tables.declarations.probes import Probe
from paper_tables.planning.plan import Job


def select(probe: Probe, jobs: Sequence[Job]) -> list[Job]:
    """Of its table's planned jobs, those of seed 0 that the probe looks at."""
    by_name = {(job.row.name, job.part): job for job in jobs if not job.seed}
    return [by_name[need] for need in probe.needs]


def command(probe: Probe, jobs: Sequence[Job], index: Path, out: Path, device: str) -> tuple[str, ...]:
    """What to run once `jobs`, those selected, are done."""
    where = ("--index", str(index), probe.option, *(str(job.folder) for job in jobs), "--out", str(out))
    return (sys.executable, "-m", probe.program, *where, "--device", device)
