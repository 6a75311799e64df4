"""What one command line asks for, and the runs and commands that follow from it."""

import ctypes
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from rich.console import Console

from data_manifests.errors import BadInput
from data_manifests.index import Index
from paper_tables.declarations import profile as profiles
from paper_tables.declarations.probes import PROBES, Probe
from paper_tables.declarations.profile import Profile
from paper_tables.declarations.table import Row, Table
from paper_tables.declarations.tables import TABLES
from paper_tables.planning import probes, slurm
from paper_tables.planning.data import Data, locate, protocol_of, standin_clip
from paper_tables.planning.places import Cores, Gpus, Places
from paper_tables.planning.plan import Job, command_line, plan
from paper_tables.planning.runner import Failure, run_all
from paper_tables.planning.slurm import Cluster
from reference.kernels import Kernels
from reference.standin_clip.weights import CHOICE, IMAGE_SIZE, is_standin

REAL_CLIP = "openai"
# What a command line says of a request, apart from the tables.
ASKED = ("data", "profile", "methods", "seeds", "jobs", "clip", "kernels", "oracle", "cluster")


@cache
def has_cuda() -> bool:
    """Whether torch can train on CUDA here. Without an NVIDIA driver that is known without loading torch."""
    try:
        driver = ctypes.CDLL("libcuda.so.1" if os.name == "posix" else "nvcuda.dll")
    except OSError:
        return False
    count = ctypes.c_int(0)
    if driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count)) or not count.value:
        return False
    question = "import torch, sys; sys.exit(not torch.cuda.is_available())"
    return subprocess.run([sys.executable, "-c", question], capture_output=True).returncode == 0


def cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def choose(tables: Sequence[Table], names: str | None, profile: str) -> list[Row]:
    """The rows to run, of all tables: those named with commas between, `all` implemented ones, or by default those
    that the profile trains first. Raises BadInput on a name that is no row, or one that cannot be run."""
    implemented = [row for table in tables for row in table.rows if row.program]
    if names is None:
        return [row for row in implemented if row.first or profile != "cpu"]
    if names == "all":
        return implemented
    known = dict.fromkeys(row.name for row in implemented)
    for name in names.split(","):
        if name not in known:
            raise BadInput(f"--methods {name}: not a row that can be run here; choose from all, {', '.join(known)}")
    return [row for row in implemented if row.name in names.split(",")]


@dataclass(frozen=True)
class Request:
    """Tables and probes, the chosen rows of those tables, and what they are run with and on. Everything is kept in
    `build`; runs go to `places` of this machine, or to a `cluster`."""

    tables: tuple[Table, ...]
    probes: tuple[Probe, ...]
    rows: list[Row]
    profile: Profile
    seeds: int
    device: str
    places: Places
    cluster: Cluster | None
    data: Data
    clip: str
    kernels: Kernels
    oracle: bool
    build: Path

    def jobs(self, table: Table, index: Index | None) -> list[Job]:
        """Every run of a table."""
        common = [*(("--protocol", protocol_of(table, index)) if table.protocols else ())]
        clip: profiles.Settings = {"clip": self.clip}
        if is_standin(self.clip):
            clip["image-size"] = IMAGE_SIZE  # whatever the profile says
        sha256 = index.sha256 if index else None
        runs = self.build / "runs"
        where = (self.data.index, sha256, runs, self.device)
        return plan(table, self.profile, self.seeds, *where, common, clip, self.kernels, self.oracle)

    def probe_jobs(self, probe: Probe, index: Index | None) -> list[Job]:
        """The runs that a probe looks at."""
        return probes.select(probe, self.jobs(probe.table, index))

    def probe_command(self, probe: Probe, index: Index | None) -> tuple[str, ...]:
        """What to run once they are done."""
        out = self.build / "tables" / probe.name
        return probes.command(probe, self.probe_jobs(probe, index), self.data.index, out, self.device)

    def unfinished(self, index: Index | None) -> list[Job]:
        """The runs asked for that are still to do, each once: tables and probes share them."""
        jobs = {job.folder: job for table in self.tables for job in self.jobs(table, index) if job.row in self.rows}
        jobs |= {job.folder: job for probe in self.probes for job in self.probe_jobs(probe, index)}
        return [job for job in jobs.values() if not job.done]

    def run(self, jobs: Sequence[Job], console: Console) -> list[Failure]:
        """Run them here or on the cluster; returns those that failed."""
        logs = self.build / "runs" / "logs"
        if self.cluster:
            return slurm.run_all(jobs, self.cluster, logs, console)
        return run_all(jobs, self.places, logs, console)

    def announcement(self, index: Index | None) -> list[str]:
        """What stands above the numbers that appear as runs finish: the data, and what the unfinished runs cost, a line
        a row, as so many epochs of mmFAS on the same machine."""
        stand_in = ", procedural stand-in faces: no number here confirms or refutes a published one"
        data = f"Data: {self.data.name}{stand_in if self.data.stand_in else ''}"
        epochs: dict[str, float] = {}
        runs: Counter[str] = Counter()
        for job in self.unfinished(index):
            epochs[job.row.label] = epochs.get(job.row.label, 0.0) + job.epochs * job.epoch_cost
            runs[job.row.label] += 1
        lines = [f"  {label}: {n} run{'s' * (n > 1)}, {epochs[label]:.0f} epochs" for label, n in runs.items()]
        again = sum(job.again for job in self.unfinished(index))
        if again:
            lines.append(f"  {again} are trained again: they are finished without the test sets' scores of every epoch")
        how_many = "1 run, which takes" if runs.total() == 1 else f"{runs.total()} runs, which take"
        total = f"{how_many} as long as about {sum(epochs.values()):.0f} epochs of mmFAS"
        advice = "METHODS= names fewer rows, `make cost` counts hours and space"
        return [data, *([f"{total}; {advice}", *lines] if lines else [])]

    def lines(self, index: Index | None) -> Iterator[str]:
        """What would be run, as one would type it, data first and probes last."""
        yield from map(command_line, self.data.commands)
        if index is None:
            yield "# nothing is indexed yet; XXXXXXXX stands for a hash that the index decides"
            if any(len(table.protocols) > 1 for table in (*self.tables, *(probe.table for probe in self.probes))):
                yield "# and the index decides the protocol: mmdg where it names MMDG's lists, official otherwise"
        jobs = self.unfinished(index)
        yield from map(command_line, (*standin_clip(jobs), *(job.command for job in jobs)))
        yield from (command_line(self.probe_command(probe, index)) for probe in self.probes)


def request(
    names: Sequence[str],
    build: Path,
    *,
    data: str,
    profile: str,
    methods: str | None,
    seeds: int | None,
    jobs: int | None,
    clip: str | None,
    kernels: Kernels = "fastest",
    oracle: bool = False,
    cluster: Path | None = None,
) -> Request:
    """Complete what a command line says, tables and probes by `names`, with what the profile and the machine say.
    Raises BadInput."""
    tables = tuple(TABLES[name] for name in dict.fromkeys(names) if name in TABLES)
    probes = tuple(PROBES[name] for name in dict.fromkeys(names) if name in PROBES)
    if probes and methods:
        raise BadInput(f"--methods {methods}: {probes[0].name} needs runs of its own; leave --methods out")
    there = slurm.load_cluster(cluster) if cluster else None
    cuda = there.gpus > 0 if there else None  # of the machine that trains, which is not this one
    if profile == "auto":
        profile = "paper" if (has_cuda() if cuda is None else cuda) else "cpu"
    chosen = choose(tables, methods, profile)
    settings = profiles.load(profile)
    device = settings.device
    if device == "auto":
        device = "cuda" if (has_cuda() if cuda is None else cuda) else "cpu"
    # One run more than the cores hold: five equal runs then fill two cores to the end, instead of leaving one idle.
    side_by_side = jobs or cores() // settings.threads + 1
    places = Gpus(jobs) if device == "cuda" and not there else Cores(side_by_side)
    located = locate(data, settings, build)
    clip = clip or (CHOICE if located.stand_in else REAL_CLIP)
    seeds = seeds or settings.seeds
    where = (device, places, there, located)
    return Request(tables, probes, chosen, settings, seeds, *where, clip, kernels, oracle, build)
