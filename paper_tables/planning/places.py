"""Where runs go on this machine, and how many fit.

On a CPU a run needs memory that nobody knows before it has run: another one starts where as much is free as the
largest run has taken so far, and at least LEAST. On CUDA each run has a GPU of its own, and starts where others leave
nearly all of its memory free.
"""

import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Protocol

from data_manifests.errors import BadInput

LEAST = 2 * 2**30  # bytes: what the runs of the cpu profile take at most, rounded up
FREE = 0.9  # of a GPU's memory, where a run may start
_SAY_EVERY_S = 60.0


class Running(Protocol):
    """What is known of a run that goes on: its process, and the variables of its environment that a place gave it."""

    @property
    def pid(self) -> int: ...

    @property
    def place(self) -> Mapping[str, str]: ...


class Places(Protocol):
    @property
    def most(self) -> int:
        """How many runs go on side by side at most."""

    def free(self, running: Sequence[Running]) -> Mapping[str, str] | None:
        """Variables of the environment for one more run, or None where it has to wait."""


def available_memory() -> int | None:
    """Bytes that new processes can have; None where the system does not say."""
    path = Path("/proc/meminfo")
    if not path.exists():
        return None
    (line,) = (line for line in path.read_text().splitlines() if line.startswith("MemAvailable:"))
    return int(line.split()[1]) * 1024


def resident(pid: int) -> tuple[int, int]:
    """Bytes that a process holds in memory, and the most that it has held; zeros once it has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0, 0
    found = dict(line.split(":", 1) for line in lines if line.startswith(("VmRSS", "VmHWM")))
    now, most = (int(found.get(name, "0 kB").split()[0]) * 1024 for name in ("VmRSS", "VmHWM"))
    return now, most


@dataclass
class Cores:
    """`most` runs side by side on the CPU, fewer where its memory is short."""

    most: int
    _largest: int = LEAST

    def free(self, running: Sequence[Running]) -> Mapping[str, str] | None:
        if len(running) >= self.most:
            return None
        held = [resident(run.pid) for run in running]
        self._largest = max([self._largest, *(most for _, most in held)])
        available = available_memory()
        growing = sum(max(0, self._largest - now) for now, _ in held)  # what those that run may still ask for
        if running and available is not None and available - growing < self._largest:
            return None  # alone it starts in any case: the system says best what it lacks
        return {}


@dataclass(frozen=True)
class Gpu:
    """A GPU by the name that CUDA_VISIBLE_DEVICES takes, and its memory in MiB."""

    name: str
    total: int
    free: int


def gpus(asked: str | None = None) -> list[Gpu]:
    """The GPUs of this machine, of those that CUDA_VISIBLE_DEVICES (`asked`) names where it is set.

    Raises BadInput where `nvidia-smi`, which comes with NVIDIA's driver, does not tell.
    """
    fields = "--query-gpu=index,uuid,memory.total,memory.free"
    try:
        done = subprocess.run(["nvidia-smi", fields, "--format=csv,noheader,nounits"], capture_output=True, text=True)
        lines = [[x.strip() for x in line.split(",")] for line in done.stdout.splitlines() if line.strip()]
        found = [(index, Gpu(uuid, int(total), int(free))) for index, uuid, total, free in lines]
        why = "" if found else done.stderr.strip() or done.stdout.strip()
    except (OSError, ValueError) as e:
        found, why = [], str(e)
    if asked is not None:
        names = [name.strip() for name in asked.split(",")]
        found = [(i, gpu) for i, gpu in found if any(n == i or (n and gpu.name.startswith(n)) for n in names)]
    if not found:
        why = why or "CUDA_VISIBLE_DEVICES leaves none"
        raise BadInput(f"nvidia-smi names no GPU ({why}); mend that, or take --profile cpu, which needs none")
    return [gpu for _, gpu in found]


@dataclass
class Gpus:
    """A run on each GPU, at most `jobs` of them."""

    jobs: int | None = None
    asked: str | None = field(default_factory=lambda: os.environ.get("CUDA_VISIBLE_DEVICES"))
    _said: float = -_SAY_EVERY_S

    @cached_property
    def most(self) -> int:  # asked for when runs start, not for a look at the plan
        """As of `Places`. Raises BadInput where there is no GPU."""
        count = len(gpus(self.asked))
        return min(self.jobs or count, count)

    def free(self, running: Sequence[Running]) -> Mapping[str, str] | None:
        if len(running) >= self.most:
            return None
        taken = {run.place.get("CUDA_VISIBLE_DEVICES") for run in running}
        others = [gpu for gpu in gpus(self.asked) if gpu.name not in taken]
        for gpu in others:
            if gpu.free >= FREE * gpu.total:
                return {"CUDA_VISIBLE_DEVICES": gpu.name}
        if not running and time.monotonic() - self._said >= _SAY_EVERY_S:
            self._said = time.monotonic()
            used = "; ".join(f"{gpu.name}: {gpu.total - gpu.free} of {gpu.total} MiB taken" for gpu in others)
            print(f"waiting for a GPU that others leave free ({used})", flush=True)
        return None
