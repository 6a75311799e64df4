"""Run one function over many files in worker processes, with progress."""

import ctypes
import multiprocessing
import multiprocessing.context
import multiprocessing.synchronize
import os
import signal
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from itertools import islice
from typing import TypeVar, cast

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from data_manifests.errors import BadInput

Job = TypeVar("Job")
Result = TypeVar("Result")

# Below this many jobs the pool costs more than it saves.
_FEW = 64
_CHUNKS_PER_WORKER = 8
_MANY = 10_000  # items that take about a second

# Linux tells a process when its parent has ended; on other systems a killed parent leaves its children running.
_control_process = ctypes.CDLL(None, use_errno=True).prctl if sys.platform == "linux" else None
_PARENT_ENDED = 1  # prctl's PR_SET_PDEATHSIG


def end_with_parent(parent: int, signum: int) -> None:
    """In a child: be sent the signal as soon as the process `parent`, however that ends, is no more."""
    if _control_process:
        _control_process(_PARENT_ENDED, signum)
        if os.getppid() != parent:  # it ended before it could be watched
            os.kill(os.getpid(), signum)


@contextmanager
def progress(title: str, total: int) -> Iterator[Callable[[int], None]]:
    """Show on stderr how many of `total` are done: a bar on a terminal, otherwise a plain line at each tenth."""
    console = Console(stderr=True)
    if console.is_terminal:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=console, transient=True) as bar:
            task = bar.add_task(title, total=total)
            yield lambda n: bar.advance(task, n)
        return
    done, tenths = 0, 0

    def advance(n: int) -> None:
        nonlocal done, tenths
        done += n
        if done * 10 // max(total, 1) > tenths:
            tenths = done * 10 // max(total, 1)
            print(f"{title}: {done}/{total}", file=sys.stderr, flush=True)

    yield advance


def shown(items: Sequence[Job], title: str) -> Iterator[Job]:
    """The items in their order, with progress where they are many."""
    if len(items) < _MANY:
        yield from items
        return
    with progress(title, len(items)) as advance:
        for item in items:
            yield item
            advance(1)


def _as_worker(parent: int, stopped: multiprocessing.synchronize.Event) -> None:
    """A worker leaves Ctrl-C to its parent, and holds nothing that would have to be saved when that is killed."""
    global _stopped
    _stopped = stopped
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_parent(parent, signal.SIGKILL)


_stopped: multiprocessing.synchronize.Event  # in a worker: whether nobody wants its results any more


def _chunk(function: Callable[[Job], Result], jobs: Sequence[Job]) -> list[Result]:
    return [function(job) for job in jobs if not _stopped.is_set()]


def as_done(
    function: Callable[[Job], Result],
    jobs: Iterable[Job],
    title: str,
    workers: int | None = None,
    total: int | None = None,
    few: int = _FEW,
) -> Iterator[tuple[int, Result]]:
    """Yield (number of the job, `function(job)`) from `workers` processes (default: one for each core) as jobs end.

    `function` and the jobs must be picklable. `jobs` may make them when they are needed, if `total` says how many
    there are; only a few wait for a worker at a time. Up to `few` jobs are done in this process, without a word. The
    first exception of a job stops the others and is raised.
    """
    workers = workers or os.cpu_count() or 1
    total = len(cast(Sized, jobs)) if total is None else total
    if total <= few:
        yield from ((i, function(job)) for i, job in enumerate(jobs))
        return
    if workers == 1:
        with progress(title, total) as advance:
            for i, job in enumerate(jobs):
                yield i, function(job)
                advance(1)
        return
    size = max(1, min(256, -(-total // (workers * _CHUNKS_PER_WORKER))))
    source, started = iter(jobs), 0
    context = _start()
    stopped = context.Event()
    waiting: dict[Future[list[Result]], int] = {}  # the number of each chunk's first job
    with (
        ProcessPoolExecutor(min(workers, -(-total // size)), context, _as_worker, (os.getpid(), stopped)) as pool,
        progress(title, total) as advance,
    ):
        try:
            while True:
                while len(waiting) < 2 * workers and (chunk := list(islice(source, size))):
                    waiting[pool.submit(_chunk, function, chunk)] = started
                    started += len(chunk)
                if not waiting:
                    return
                for future in wait(waiting, return_when=FIRST_COMPLETED).done:
                    results = future.result()
                    yield from enumerate(results, waiting.pop(future))
                    advance(len(results))
        except BaseException as e:
            stopped.set()
            pool.shutdown(wait=True, cancel_futures=True)
            if isinstance(e, BrokenProcessPool):
                raise BadInput(
                    f"{title}: a worker process ended suddenly; see what it said above, if anything, and the system's "
                    "log, then give the same command again"
                ) from e
            raise


def _start() -> multiprocessing.context.BaseContext:
    """How workers begin. A forked one starts at once and does not import the caller's main module again, which may
    import torch; it runs only Pillow, h5py and numpy code. But a GPU that this process has opened must not be forked
    with it, and on other systems the platform's own way of starting is the safe one."""
    torch = sys.modules.get("torch")  # whoever has not imported it has opened nothing
    if sys.platform != "linux" or (torch is not None and torch.cuda.is_initialized()):
        return multiprocessing.get_context("spawn")
    return multiprocessing.get_context("fork")


def parallel(
    function: Callable[[Job], Result], jobs: Sequence[Job], title: str, workers: int | None = None
) -> list[Result]:
    """`[function(job) for job in jobs]`, computed by `as_done`, with its exceptions."""
    results = dict(as_done(function, jobs, title, workers))
    return [results[i] for i in range(len(jobs))]
