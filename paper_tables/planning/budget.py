"""What the runs of a table take altogether: samples to train on and to score, hours, and files.

Counted exactly from the runs' own commands and the index: how often which samples are trained on and scored. Hours are
these counts times the measured seconds of a sample (cost.py); what a run needs besides, from loading torch to decoding
images, is not in them. On a GPU of another kind hours are multiply-accumulates at an assumed share of what its data
sheet promises, three times those of scoring for a sample that trains; they say how large a plan is, and were never
measured.
"""

import importlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import groupby
from pathlib import Path
from typing import Any

from rich.table import Table as Grid

from data_manifests.index import Index
from paper_tables.planning.plan import Job
from paper_tables.planning.request import Request
from reference import options as base
from reference.evaluation import split_rows

# Dense bfloat16 operations a second of the data sheets, and the share of them that is assumed.
SHEETS = {"A100": 312e12, "H100": 989e12}
SHARE = 0.25
HOUR = 3600.0
SCALE = Path(__file__).parent.parent / "declarations" / "scale.json"  # what scale.py measured
_FACTS = 8  # bytes of a sample's name, class and subject in a file of scores, once compressed; fewer in large files
_PLANES = 5


@dataclass(frozen=True)
class Work:
    """Of one run or several: samples trained on, scored, and encoded once; bytes kept, and at most while it runs."""

    trained: int = 0
    scored: int = 0
    once: int = 0
    kept_bytes: int = 0
    most_bytes: int = 0

    def __add__(self, other: "Work") -> "Work":
        return Work(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))


def work(job: Job, index: Index, weights: int) -> Work:
    """Of a job's run; its network has so many `weights`."""
    program = job.row.program
    assert program is not None
    options = base.parse(importlib.import_module(program).Options, program, None, job.command[3:])
    sides = (("train", "sources"), ("val", "sources"), ("test", "targets"))
    train, val, test = (split_rows(index, options, split, side).size for split, side in sides)  # type: ignore[arg-type]
    tests = test * (1 + len(options.missing))
    frozen = getattr(options, "freeze", "") == "all"
    once = train + val + test if frozen else 0
    if not job.row.trains:
        return Work(scored=val + tests, kept_bytes=(4 + _FACTS) * (val + tests), once=once)
    steps = options.steps or math.ceil(train / options.batch_size)
    evaluated = options.epochs // options.evaluate_every + bool(options.epochs % options.evaluate_every)
    every = options.score_tests == "every"
    tested = evaluated if every else min(2, evaluated)
    heads = 2 * options.layers + 3 if every and hasattr(options, "layers") and program == "reference.mmda" else 1
    scores = 4 * heads * (evaluated * val + tested * tests) + _FACTS * (val + tests)
    kept = scores + (8 * weights if options.keep_weights else 0)
    # While it runs: weights and both moments of Adam in the checkpoint and its successor, and the best weights.
    return Work(
        options.epochs * steps * options.batch_size, evaluated * val + tested * tests, once, kept, kept + 28 * weights
    )


def of(jobs: Sequence[Job], index: Index, costs: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """For each row of `costs`, as cost.py measured them, what its runs take."""
    found = []
    for name, own in groupby(sorted((j for j in jobs if j.row.name in costs), key=_row), _row):
        runs, cost = list(own), costs[name]
        each = [work(job, index, cost["weights"]) for job in runs]
        total = sum(each, Work())
        once, again = cost["computed_once"], cost["multiply_accumulates"] - cost["computed_once"]
        counts = {"training": total.trained, "scoring": total.scored, "once": total.once}
        found.append(
            {
                "row": cost["label"],
                "runs": len(runs),
                "trained": total.trained,
                "scored": total.scored,
                "hours": sum(n * cost.get(f"{kind}_seconds", 0.0) for kind, n in counts.items()) / HOUR,
                "operations": 2 * (again * (3 * total.trained + total.scored) + once * total.once),
                "kept_bytes": total.kept_bytes,
                "most_bytes": max(one.most_bytes for one in each),
            }
        )
    return found


def _row(job: Job) -> str:
    return job.row.name


def grid(rows: Iterable[Mapping[str, Any]]) -> Grid:
    """The budget as a table, a line a row and their sum."""
    rows = list(rows)
    out = Grid(box=None)
    for name in ("row", "runs", "samples trained", "samples scored", "hours here", "kept on disk"):
        out.add_column(name, justify="left" if name == "row" else "right", no_wrap=True)
    keys = ("runs", "trained", "scored", "hours", "kept_bytes")
    whole = {"row": "all", **{key: sum(row[key] for row in rows) for key in keys}}
    for row in (*rows, whole):
        out.add_row(
            row["row"], f"{row['runs']}", f"{row['trained']:,}", f"{row['scored']:,}", f"{row['hours']:.2f}",
            size(row["kept_bytes"]),
        )  # fmt: skip
    return out


def size(count: float) -> str:
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"


def sentences(rows: Sequence[Mapping[str, Any]], asked: Request, device: str) -> list[str]:
    """What stands under the budget's table."""
    operations = sum(row["operations"] for row in rows)
    assumed = ", ".join(f"{name} {operations / (SHARE * peak) / HOUR:.1f} h" for name, peak in SHEETS.items())
    side = int(asked.profile.settings(asked.tables[0])["image-size"])
    return [
        f"Hours here: measured seconds of a sample on {device}, one run after another, times the samples; starting a "
        "run and decoding images are not in them.",
        f"At 224 pixels and an assumed {SHARE:.0%} of the matrix peak of a data sheet, never measured: {assumed}.",
        f"While the largest run goes on it needs up to {size(max(row['most_bytes'] for row in rows))} on disk; the "
        f"cache of decoded images takes {size(_PLANES * side**2)} an indexed sample, once for all runs.",
        checked(json.loads(SCALE.read_text(encoding="utf-8"))),
    ]


def checked(report: Mapping[str, Any]) -> str:
    """How far off these hours were where that was measured (scale.py), in words."""
    constant, of_a_row = report["model"]["beside"]
    rows = max(run["rows"] for run in report["runs"])
    return (
        f"Where this was checked ({report['device']}, mmFAS, one epoch, up to {rows} indexed rows), samples by "
        f"measured seconds, {constant:.0f} s to start and {1000 * of_a_row:.1f} ms an indexed row were "
        f"{100 * report['error']['seconds']:+.0f} % off the whole run's time, and a like model of its memory "
        f"{100 * report['error']['memory']:+.0f} %."
    )
