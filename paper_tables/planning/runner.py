"""Runs what is missing or unfinished, each run as a child process of its own.

Every step is a command, so that a table can be made again by hand. This process imports no torch: looking over a
finished table takes seconds.
"""

import heapq
import os
import signal
import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.table import Table as Grid

from data_manifests.errors import BadInput
from data_manifests.json_files import json_lines
from data_manifests.parallel import end_with_parent
from paper_tables.planning.places import Places
from paper_tables.planning.plan import Job, command_line
from reference.runs import chosen_line
from reference.sources import ROOT

_PLAIN_EVERY = 10.0  # seconds between lines when nobody watches a terminal
_GRACE = 20.0  # seconds a child has to end after SIGTERM


def prepare(commands: Iterable[Sequence[str]], product: Path | None = None) -> None:
    """Run commands one after the other. Raises BadInput when one fails, or leaves `product` unwritten."""
    for command in commands:
        print(f"$ {command_line(command)}", flush=True)
        with _children() as children:
            child = _start(children, command)
            if child.wait():
                raise BadInput(
                    f"`{command_line(command)}` failed with exit status {child.returncode}; see its message above"
                )
    if product and not product.exists():
        raise BadInput(f"{product}: the commands above ended without writing it; run them again")


@dataclass
class _Running:
    job: Job
    process: subprocess.Popen[bytes]
    errors: Path
    place: Mapping[str, str] = field(default_factory=dict)
    started: float = field(default_factory=time.monotonic)
    epochs_before: int = 0
    lines: list[dict[str, Any]] = field(default_factory=list)

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def elapsed(self) -> float:
        return time.monotonic() - self.started

    @property
    def epochs_here(self) -> int:
        return len(self.lines) - self.epochs_before

    @property
    def spent(self) -> float:
        """Seconds on the epochs done here as the run counts them, so that starting up is no part of its pace;
        before the first epoch's end, or from a run that does not count, the time since its start."""
        here = self.lines[self.epochs_before :]
        seconds = sum(line.get("seconds", 0.0) + line.get("evaluation_seconds", 0.0) for line in here)
        return seconds or self.elapsed


@dataclass(frozen=True)
class Failure:
    """A run that did not finish, and its own last words."""

    job: Job
    reason: str


def run_all(jobs: Sequence[Job], places: Places, logs: Path, console: Console) -> list[Failure]:
    """Run every unfinished job, the most expensive first, as many side by side as there are places; return those that
    failed.

    A failure stops nothing else. Output goes to `logs`. Ctrl-C and SIGTERM end the children and are raised on
    as KeyboardInterrupt; a run so ended continues when its command is given again.
    """
    waiting = sorted((j for j in jobs if not j.done), key=_work_left, reverse=True)
    if not waiting:
        return []
    logs.mkdir(parents=True, exist_ok=True)
    running: list[_Running] = []
    finished: list[_Running] = []
    failures: list[Failure] = []
    began = time.monotonic()

    with _children() as children, _display(console) as show:
        while waiting or running:
            while waiting and (place := places.free(running)) is not None:
                running.append(_launch(children, waiting.pop(0), logs, place))
            time.sleep(0.2)
            for r in list(running):
                r.lines = read_metrics(r.job.folder)
                if r.process.poll() is None:
                    continue
                running.remove(r)
                children.remove(r.process)
                if r.process.returncode == 0 and r.job.done:
                    r.lines = read_metrics(r.job.folder)
                    finished.append(r)
                    console.print(numbers(r.job), markup=False, highlight=False, soft_wrap=True)
                else:
                    failures.append(Failure(r.job, reason(r.process.returncode, r.errors)))
                    console.print(f"[red]failed[/red] {r.job.title}: ", end="")
                    console.print(failures[-1].reason, markup=False, highlight=False)
            left = time_left(
                [(r.job.epoch_cost, r.job.epochs - len(r.lines), r.epochs_here, r.spent) for r in running],
                [(j.epoch_cost, j.epochs - len(read_metrics(j.folder))) for j in waiting],
                [(r.job.epoch_cost * r.epochs_here, r.spent) for r in finished],
                places.most,
            )
            show(running, len(waiting), len(finished), len(failures), time.monotonic() - began, left)
    return failures


def _work_left(job: Job) -> float:
    return job.epoch_cost * (job.epochs - len(read_metrics(job.folder)))


def _launch(children: list[subprocess.Popen[bytes]], job: Job, logs: Path, place: Mapping[str, str]) -> _Running:
    errors = logs / f"{job.folder.name}.stderr"
    with (logs / f"{job.folder.name}.stdout").open("ab") as out, errors.open("wb") as err:
        process = _start(children, job.command, out, err, place)
    lines = read_metrics(job.folder)
    return _Running(job, process, errors, place, epochs_before=len(lines), lines=lines)


def reason(code: int, errors: Path) -> str:
    """One sentence: how a run that did not finish ended, and the last line of its file `errors`."""
    text = errors.read_text(errors="replace") if errors.exists() else ""
    messages = [line.strip() for line in text.splitlines() if line.strip()]
    if code == 0:
        how = "ended without finishing"
    elif code < 0:
        how = f"was ended by signal {-code} ({signal.Signals(-code).name})"
    else:
        how = f"ended with exit status {code}"
    last = messages[-1].removeprefix("error: ") if messages else "it wrote no error message"
    return f"{how}: {last} (all of it: {command_line([str(errors)])})"


def numbers(job: Job) -> str:
    """One line: what a finished run reached on each whole test set, at the epoch that validation chooses."""
    best = chosen_line(read_metrics(job.folder))
    tests = {name: figures for name, figures in best["sets"].items() if name != "val" and "-" not in name}
    reached = ", ".join(
        f"{name} {100 * figures['hter_source_val']:.2f} / {100 * figures['auc']:.2f}" for name, figures in tests.items()
    )
    return f"finished {job.title}: HTER / AUC in %: {reached}"


def read_metrics(folder: Path) -> list[dict[str, Any]]:
    """The whole lines of a run's metrics.jsonl so far; none before its first epoch."""
    try:
        return json_lines(folder / "metrics.jsonl", "")
    except BadInput:
        return []  # the run itself judges its file when it continues; this only counts


def time_left(
    running: Sequence[tuple[float, int, int, float]],
    waiting: Sequence[tuple[float, int]],
    finished: Sequence[tuple[float, float]],
    at_once: int,
) -> float | None:
    """Seconds until the last job ends, or None before the first epoch of any is done.

    running: (cost of an epoch, epochs left, epochs done since its start, seconds spent on them or, before the
    first, since its start); waiting: (cost, epochs); finished: (cost of what was done, seconds it took). A
    running job with an epoch behind it keeps its own pace, the others take the common pace, in seconds a unit
    of cost. Waiting jobs start in order on whichever place is free.
    """
    paid = [(cost * done, seconds) for cost, _, done, seconds in running if done] + list(finished)
    cost_done = sum(cost for cost, _ in paid)
    if not cost_done:
        return None
    pace = sum(seconds for _, seconds in paid) / cost_done
    places = [0.0] * (at_once - len(running))
    for cost, left, done, seconds in running:
        places.append(seconds / done * left if done else max(0.0, pace * cost * left - seconds))
    heapq.heapify(places)
    for cost, epochs in waiting:
        heapq.heappush(places, heapq.heappop(places) + pace * cost * epochs)
    return max(places)


@contextmanager
def _children() -> Iterator[list[subprocess.Popen[bytes]]]:
    """Child processes that do not outlive the block: SIGTERM is taken as Ctrl-C, and both end them."""

    def interrupted(signum: int, frame: object) -> None:
        raise KeyboardInterrupt

    children: list[subprocess.Popen[bytes]] = []
    before = signal.signal(signal.SIGTERM, interrupted)
    try:
        yield children
    finally:
        alive = [child for child in children if child.poll() is None]
        for child in alive:
            os.killpg(child.pid, signal.SIGTERM)
        deadline = time.monotonic() + _GRACE
        for child in alive:
            try:
                child.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                os.killpg(child.pid, signal.SIGKILL)
                child.wait()
        signal.signal(signal.SIGTERM, before)


def _start(
    children: list[subprocess.Popen[bytes]],
    command: Sequence[str],
    out: Any = None,
    err: Any = None,
    place: Mapping[str, str] | None = None,
) -> subprocess.Popen[bytes]:
    # Its own process group: Ctrl-C reaches only this process, which then ends the children in order. Where it is killed
    # and cannot, the system does.
    child = subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=out, stderr=err, start_new_session=True,
        env=os.environ | dict(place or {}), preexec_fn=partial(end_with_parent, os.getpid(), signal.SIGTERM),
    )  # fmt: skip
    children.append(child)
    return child


def duration(seconds: float | None) -> str:
    if seconds is None:
        return "…"
    minutes, s = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {s:02} s" if minutes else f"{s} s"


def _columns(r: _Running) -> list[str]:
    """Run, seed, epoch, loss, val EER, elapsed, left."""
    last = r.lines[-1] if r.lines else {}
    loss = last.get("loss", last.get("bce"))
    evaluated = [line["sets"]["val"]["eer"] for line in r.lines if "sets" in line]
    left = time_left([(1.0, r.job.epochs - len(r.lines), r.epochs_here, r.spent)], [], [], 1)
    return [
        r.job.name,
        str(r.job.seed),
        f"{len(r.lines)}/{r.job.epochs}",
        "…" if loss is None else f"{loss:.4f}",
        f"{100 * evaluated[-1]:.1f} %" if evaluated else "…",
        duration(r.elapsed),
        duration(left),
    ]


@contextmanager
def _display(console: Console) -> Iterator[Any]:
    """A table that is redrawn in place on a terminal; lines every ten seconds elsewhere."""
    if not console.is_terminal:
        last = time.monotonic() - _PLAIN_EVERY

        def print_lines(running: list[_Running], *counts: Any) -> None:
            nonlocal last
            if time.monotonic() - last < _PLAIN_EVERY:
                return
            last = time.monotonic()
            for r in running:
                name, seed, epoch, loss, eer, elapsed, left = _columns(r)
                print(
                    f"{name} seed {seed} · epoch {epoch} · loss {loss} · val EER {eer} · {elapsed}, about {left} left"
                )
            print(summary(len(running), *counts), flush=True)

        yield print_lines
        return

    with Live(console=console, refresh_per_second=4, transient=True) as live:

        def redraw(running: list[_Running], *counts: Any) -> None:
            grid = Grid(
                caption=summary(len(running), *counts),
                caption_justify="left",
                box=None,
                padding=(0, 2, 0, 0),
            )
            for name in ("run", "seed", "epoch", "loss", "val EER", "elapsed", "left"):
                grid.add_column(name, justify="left" if name == "run" else "right", header_style="bold")
            for r in running:
                grid.add_row(*_columns(r))
            live.update(grid)

        yield redraw


def summary(running: int, waiting: int, finished: int, failed: int, elapsed: float, left: float | None) -> str:
    text = f"{running} running, {waiting} waiting, {finished} finished"
    if failed:
        text += f", {failed} failed"
    return f"{text} · {duration(elapsed)} so far · about {duration(left)} left in all"
