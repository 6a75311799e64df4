"""Pictures and measurements that need trained models: each a command over finished runs of a table's rows.

    python -m paper_tables mmda-batch-leak

A probe takes the table's own runs of seed 0, whatever the number of seeds; what is missing of them is run first, and
its outputs lie in `build/tables/NAME`.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from paper_tables.declarations import mmda, mmfas
from paper_tables.planning.plan import Job, Table


@dataclass(frozen=True)
class Probe:
    """`python -m module --index … OPTION folder(s) … --out …` on the runs that `needs` names, in that order."""

    name: str
    title: str
    table: Table
    needs: tuple[tuple[str, str], ...]  # a row's method and its part
    module: str
    option: str = "--run-dir"

    def select(self, jobs: Sequence[Job]) -> list[Job]:
        """Of the table's planned jobs, those of seed 0 that the probe looks at."""
        named = {(job.method.name, job.part): job for job in jobs if not job.seed}
        return [named[need] for need in self.needs]

    def command(self, jobs: Sequence[Job], index: Path, out: Path, device: str) -> tuple[str, ...]:
        """What to run once `jobs`, those selected, are done."""
        where = ("--index", str(index), self.option, *(str(job.folder) for job in jobs), "--out", str(out))
        return (sys.executable, "-m", self.module, *where, "--device", device)


MMFAS_FIGURE_7 = Probe(
    "mmfas-figure7",
    "mmFAS, Figure 7: where it looks, by Grad-CAM",
    mmfas.TABLE_1,
    (("mmfas", ""),),
    "reference.probes.grad_cam",
)

# The paper names no run. PSW→C is where all its ablations are, and batch-free: a released model's features of a
# sample would be others beside other samples.
MMDA_EMBEDDINGS = Probe(
    "mmda-embeddings",
    "MMDA, Figures 5 and 6: t-SNE of CLIP and MMDA, and before and after U-DSA",
    mmda.TABLE_1,
    (("mmda_batch_free", "PSW-C"),),
    "reference.probes.embeddings",
)

MMDA_BATCH_LEAK = Probe(
    "mmda-batch-leak",
    "MMDA: how much of a score is owed to the batch it is computed in",
    mmda.TABLE_1,
    (("mmda_released", "CPS-W"), ("mmda_batch_free", "CPS-W")),
    "reference.probes.batch_leak",
    "--run-dirs",
)

PROBES = {probe.name: probe for probe in (MMFAS_FIGURE_7, MMDA_EMBEDDINGS, MMDA_BATCH_LEAK)}
