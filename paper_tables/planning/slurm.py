"""Runs as jobs of a Slurm cluster, submitted by submitit (`pip install submitit`), from a folder that all machines see.

    make reproduce-table1 ENGINE=slurm          with slurm.toml beside the Makefile, or SLURM=other.toml

    partition = "gpu"
    minutes = 720            # of one run; one that needs longer goes on in another job
    gpus = 1
    cpus = 8
    memory_gb = 64
    at_once = 8              # jobs in the queue together; 0: all of them
    [sbatch]                 # whatever else sbatch is to be told, in its own words
    account = "faces"

A job is one run's own command. When Slurm takes its machine away or its time is up, submitit puts it in the queue
again, and the run goes on from its checkpoint. The table's command waits for all of them; it may be ended and given
again, and submits nothing that is finished, running or in the queue: which job is whose stands in the logs' folder.
"""

import signal
import subprocess
import time
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from data_manifests.errors import BadInput, refuse_irregular, replacing
from data_manifests.json_files import json_object, sealed
from paper_tables.planning.plan import Job
from paper_tables.planning.runner import Failure, numbers, read_metrics, reason, summary
from reference.sources import ROOT

_ASK_EVERY_S = 10.0
_ENDED_BY_SLURM = (-signal.SIGTERM, -signal.SIGUSR2)
_GRACE_S = 60.0


@dataclass(frozen=True)
class Cluster:
    """What the TOML file says; see the head of this file."""

    partition: str
    minutes: int
    gpus: int = 1
    cpus: int = 8
    memory_gb: int = 64
    at_once: int = 0
    sbatch: dict[str, Any] = field(default_factory=dict)


def load_cluster(path: Path) -> Cluster:
    """Read the TOML file. Raises BadInput."""
    refuse_irregular(path, "write it as paper_tables/planning/slurm.py shows")
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as e:
        raise BadInput(
            f"{path}: {e.strerror}; write it as paper_tables/planning/slurm.py shows, or name another with SLURM="
        ) from e
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as e:
        raise BadInput(f"{path}: no TOML ({e}); write it as paper_tables/planning/slurm.py shows") from e
    known = [f.name for f in fields(Cluster)]
    for name in ("partition", "minutes"):
        if name not in found:
            raise BadInput(f"{path}: {name} is missing; paper_tables/planning/slurm.py shows what it says")
    for name, value in found.items():
        if name not in known:
            raise BadInput(f"{path}: {name} is unknown; choose from {', '.join(known)}")
        kind = {"partition": str, "sbatch": dict}.get(name, int)
        if type(value) is not kind:
            raise BadInput(f"{path}: {name} = {value!r} is no {_KIND[kind]}")
        least = {"minutes": 1, "cpus": 1, "memory_gb": 1}.get(name, 0)
        if kind is int and value < least:
            raise BadInput(f"{path}: {name} = {value} is below {least}")
    return Cluster(**found)


_KIND = {str: "text", int: "whole number", dict: "table"}


class Command:
    """A run's command, as a job carries it out."""

    def __init__(self, words: Sequence[str]) -> None:
        self.words = tuple(words)
        self.child: subprocess.Popen[bytes] | None = None

    def __call__(self) -> None:
        self.child = subprocess.Popen(self.words, cwd=ROOT)
        code = self.child.wait()
        if code in _ENDED_BY_SLURM:
            time.sleep(_GRACE_S)  # the signal that ended it reaches this process as well, and queues the job again
        if code:
            raise RuntimeError(f"the run ended with exit status {code}")

    def checkpoint(self) -> Any:
        """For submitit, when the job is to be queued again: the run's own checkpoint is whole at any moment."""
        from submitit.helpers import DelayedSubmission

        if self.child is not None:
            self.child.kill()  # `wait` would wait for the one that this signal has interrupted
        return DelayedSubmission(Command(self.words))


def executor(cluster: Cluster, folder: Path, kind: str = "slurm") -> Any:
    """submitit's executor. Raises BadInput where it is not installed, or there is no Slurm."""
    try:
        import submitit
    except ImportError as e:
        raise BadInput("ENGINE=slurm needs submitit; install it beside this project: pip install submitit") from e
    try:
        made = submitit.AutoExecutor(folder=folder, cluster=kind)
    except RuntimeError as e:
        raise BadInput(f"ENGINE=slurm: {e}; call it where sbatch and srun are, or leave ENGINE out") from e
    asked = {
        "name": "fas-reference", "timeout_min": cluster.minutes, "cpus_per_task": cluster.cpus,
        "mem_gb": cluster.memory_gb, "gpus_per_node": cluster.gpus, "tasks_per_node": 1, "nodes": 1,
    }  # fmt: skip
    if kind == "slurm":
        asked |= {"slurm_partition": cluster.partition, "slurm_additional_parameters": cluster.sbatch}
    made.update_parameters(**asked)
    return made


class Queue:
    """The jobs of runs in the folder `logs`: submitted once, found again by a later call."""

    def __init__(self, cluster: Cluster, logs: Path, kind: str = "slurm") -> None:
        self.logs = logs
        logs.mkdir(parents=True, exist_ok=True)
        self.executor = executor(cluster, logs, kind)
        self._jobs: dict[Path, Any] = {}

    def _note(self, job: Job) -> Path:
        return self.logs / f"{job.folder.name}.json"

    def find(self, job: Job) -> Any:
        """The job that a former call has submitted and that has not ended, or None."""
        note = self._note(job)
        if not note.exists():
            return None
        again = "end the jobs that squeue names for this table, and delete it"
        number = json_object(note, again).get("job")
        if not isinstance(number, str):
            raise BadInput(f"{note}: names no job; {again}")
        found = self.executor.job_class(folder=self.logs, job_id=number)
        return None if self.ended(found) else found

    def submit(self, job: Job) -> None:
        submitted = self.find(job)
        if submitted is None:
            submitted = self.executor.submit(Command(job.command))
            with replacing(self._note(job)) as f:
                f.write(sealed({"job": submitted.job_id}))
        self._jobs[job.folder] = submitted

    def ended(self, submitted: Any) -> bool:
        return bool(submitted.done()) or submitted.state.upper() in ("NO PROCESS AND NO RESULT", "INTERRUPTED")

    def has_ended(self, job: Job) -> bool:
        return self.ended(self._jobs[job.folder])

    def errors(self, job: Job) -> Path:
        return Path(self._jobs[job.folder].paths.stderr)

    def numbers(self) -> list[str]:
        return [submitted.job_id for submitted in self._jobs.values()]


def run_all(
    jobs: Sequence[Job],
    cluster: Cluster,
    logs: Path,
    console: Console,
    kind: str = "slurm",
    every: float = _ASK_EVERY_S,
) -> list[Failure]:
    """Submit every unfinished job and wait for all of them; return those that failed. A failure stops nothing else.

    KeyboardInterrupt leaves the jobs in the queue, and says how to end them.
    """
    waiting = [job for job in jobs if not job.done]
    if not waiting:
        return []
    queue, queued, done, failures = Queue(cluster, logs / "slurm", kind), list[Job](), 0, list[Failure]()
    say = partial(console.print, markup=False, highlight=False, soft_wrap=True)
    began = time.monotonic()
    try:
        while waiting or queued:
            while waiting and (not cluster.at_once or len(queued) < cluster.at_once):
                queue.submit(waiting[0])
                queued.append(waiting.pop(0))
            time.sleep(every)
            for job in [job for job in queued if queue.has_ended(job)]:
                queued.remove(job)
                if job.done:
                    done += 1
                    say(numbers(job))
                else:
                    failures.append(Failure(job, reason(1, queue.errors(job))))
                    say(f"failed {job.title}: {failures[-1].reason}")
            epochs = sum(len(read_metrics(job.folder)) for job in queued)
            counts = summary(len(queued), len(waiting), done, len(failures), time.monotonic() - began, None)
            say(f"{counts} · {epochs} epochs of those that run")
    except KeyboardInterrupt:
        say(f"the jobs go on; the same command waits for them, and `scancel {' '.join(queue.numbers())}` ends them")
        raise
    return failures
