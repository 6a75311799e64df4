"""What is timed, and the one runner that times it.

An `Item` is one piece of work; a `Group` holds items that are taken in turn, round after round, so that a busy machine
slows all of them alike. The first item is what the others are compared with: a ratio is the median, over the rounds, of
an item's seconds over the first one's in the same round. Its interval lies between two order statistics of these ratios
and covers their median with at least 95 %, whatever their distribution (the sign test's); it takes six rounds.
"""

import gc
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.stats import binom

CONFIDENCE = 0.95
LEAST_ROUNDS = 6  # fewer pairs give no interval of 95 %


@dataclass(frozen=True)
class Setting:
    """Where and how large: the device, CPU threads, side and samples of a batch, and the stand-in faces' index."""

    device: torch.device
    threads: int
    side: int
    samples: int
    index: Path
    tiny: bool = False
    """Everything once, as small as it goes: for the tests."""

    @property
    def cuda(self) -> bool:
        return self.device.type == "cuda"


@dataclass(frozen=True)
class Item:
    """One piece of work, called once a round; it handles `units` of `unit`. `facts` go to the report as they are;
    `waited` gives the seconds that all calls so far stood still for data."""

    name: str
    work: Callable[[], Any]
    units: int
    unit: str = "samples"
    facts: Mapping[str, Any] = field(default_factory=dict)
    waited: Callable[[], float] | None = None


@dataclass(frozen=True)
class Group:
    """Items that are compared. `items` makes them and frees what they hold; `seconds` is how long rounds go on, and
    `rounds` how many there are at most."""

    name: str
    title: str
    items: Callable[[Setting], AbstractContextManager[Sequence[Item]]]
    seconds: float = 15.0
    rounds: int = 15


def median_interval(values: Sequence[float]) -> tuple[float, float] | None:
    """Two of the values (n,) between which the median of what they were drawn from lies with at least 95 %; None for
    fewer than six."""
    ordered, n = sorted(values), len(values)
    place = int(binom.ppf((1 - CONFIDENCE) / 2, n, 0.5))  # how many may lie beyond either end
    return (ordered[place - 1], ordered[n - place]) if place else None


def _peak_reset(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    else:
        try:
            Path("/proc/self/clear_refs").write_text("5")  # forgets the process's peak
        except OSError:
            return  # then the peak is the whole process's so far


def _peak_bytes(device: torch.device) -> int | None:
    """The most memory since `_peak_reset`: of the device, or of the whole process where it is the CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    status = Path("/proc/self/status")
    if not status.exists():
        return None
    (line,) = (line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


def _timed(item: Item, device: torch.device) -> float:
    began = time.perf_counter()
    item.work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - began


def measure(group: Group, setting: Setting) -> dict[str, Any]:
    """The report of a group, ready for JSON; see the head of this file and README.md for its fields."""
    taken: dict[str, list[float]] = {}
    memory: dict[str, int] = {}
    with group.items(setting) as items:
        first_call = {item.name: _timed(item, setting.device) for item in items}  # which compiles, or loads
        waited = {item.name: item.waited() for item in items if item.waited}
        began = time.perf_counter()
        for number in range(1 if setting.tiny else group.rounds):
            if number >= LEAST_ROUNDS and time.perf_counter() - began > group.seconds:
                break
            for item in items:
                _peak_reset(setting.device)
                taken.setdefault(item.name, []).append(_timed(item, setting.device))
                memory[item.name] = max(memory.get(item.name, 0), _peak_bytes(setting.device) or 0)
        report = [
            _described(item, taken[item.name], taken[items[0].name], memory[item.name])
            | {"first_call_seconds": first_call[item.name]}
            | ({"waiting_share": (item.waited() - waited[item.name]) / sum(taken[item.name])} if item.waited else {})
            for item in items
        ]
    gc.collect()
    if setting.cuda:
        torch.cuda.empty_cache()
    return {"name": group.name, "title": group.title, "items": report}


def _described(item: Item, seconds: Sequence[float], first: Sequence[float], memory: int) -> dict[str, Any]:
    low, middle, high = np.percentile(seconds, [25, 50, 75]).tolist()
    ratios = [a / b for a, b in zip(seconds, first, strict=True)]
    interval = None if first is seconds else median_interval(ratios)
    return {
        "name": item.name,
        "n": len(seconds),
        "seconds": {"lower_quartile": low, "median": middle, "upper_quartile": high},
        "units": item.units,
        "unit": item.unit,
        "per_second": item.units / middle,
        "ratio": {"median": statistics.median(ratios), "interval": interval},
        "memory_bytes": memory or None,
        **item.facts,
    }
