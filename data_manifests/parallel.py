"""Run one function over many files in worker processes, with progress."""

import multiprocessing
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

Job = TypeVar("Job")
Result = TypeVar("Result")

# Below this many jobs the pool costs more than it saves.
_FEW = 64
_CHUNKS_PER_WORKER = 8


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


def _chunk(function: Callable[[Job], Result], jobs: Sequence[Job]) -> list[Result]:
    return [function(job) for job in jobs]


def as_done(
    function: Callable[[Job], Result], jobs: Sequence[Job], title: str, workers: int | None = None
) -> Iterator[tuple[int, Result]]:
    """Yield (number of the job, `function(job)`) from `workers` processes (default: one for each core) as jobs end.

    `function` and the jobs must be picklable. The first exception of a job stops the others and is raised.
    """
    workers = workers or os.cpu_count() or 1
    if len(jobs) <= _FEW:
        yield from ((i, function(job)) for i, job in enumerate(jobs))
        return
    if workers == 1:
        with progress(title, len(jobs)) as advance:
            for i, job in enumerate(jobs):
                yield i, function(job)
                advance(1)
        return
    # A forked worker starts at once and does not import the caller's main module again, which may import torch; it
    # runs only Pillow, h5py and numpy code. On other systems the platform's own way of starting is the safe one.
    context = multiprocessing.get_context("fork" if sys.platform == "linux" else None)
    size = max(1, min(256, -(-len(jobs) // (workers * _CHUNKS_PER_WORKER))))
    starts = range(0, len(jobs), size)
    with ProcessPoolExecutor(min(workers, len(starts)), mp_context=context) as pool:
        futures = {pool.submit(_chunk, function, jobs[i : i + size]): i for i in starts}
        with progress(title, len(jobs)) as advance:
            try:
                for future in as_completed(futures):
                    results = future.result()
                    yield from enumerate(results, futures[future])
                    advance(len(results))
            except BaseException:
                pool.shutdown(wait=True, cancel_futures=True)
                raise


def parallel(
    function: Callable[[Job], Result], jobs: Sequence[Job], title: str, workers: int | None = None
) -> list[Result]:
    """`[function(job) for job in jobs]`, computed by `as_done`, with its exceptions."""
    results = dict(as_done(function, jobs, title, workers))
    return [results[i] for i in range(len(jobs))]
