"""How well the hours of budget.py fit real runs, and what a run takes beside them, as the data grow.

    python -m paper_tables.planning.scale --out paper_tables/declarations/scale.json

mmFAS is trained for one epoch, by its own command, on the stand-in data of the cpu profile taken 1, 4, 8 and 16 times:
rows are repeated under other names, and each run decodes all its images. The seconds of a sample are measured as
`make cost` does. What a run takes beside its samples - starting, reading the index, decoding - is fitted as a constant
and a number for each row of the index to the runs at 1, 4 and 16 times; so is the memory of the process. The run at 8
times, which nothing was fitted to, says how far off the model is.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from data_manifests.errors import BadInput, cli_errors, replacing
from data_manifests.index import Index, load_index, save_index
from paper_tables.planning import budget, cost
from paper_tables.planning.plan import Job
from paper_tables.planning.request import request
from reference.environment import environment
from reference.sources import ROOT

TABLE = "mmfas-table1"
FITTED, CHECKED = (1, 4, 16), 8  # times
SETTINGS = ("--image-size", "32", "--batch-size", "32", "--epochs", "1", "--threads", "1", "--device", "cpu")


@dataclass(frozen=True)
class Run:
    """A measured run: how many rows its index has, samples trained and scored, wall seconds, and peak memory."""

    times: int
    rows: int
    trained: int
    scored: int
    seconds: float
    memory_bytes: int


def repeated(index: Index, times: int, folder: Path) -> Index:
    """The index with every row and every member of a split `times` times, each time under other names."""
    rows = [
        replace(row, sample_id=f"{row.sample_id}~{i}", clip_id=f"{row.clip_id}~{i}")
        for i in range(times)
        for row in index.rows
    ]
    ids = [row.sample_id for row in index.rows]
    protocols = {
        protocol: {
            split: [f"{ids[member]}~{i}" for i in range(times) for member in members]
            for split, members in splits.items()
        }
        for protocol, splits in index.protocols.items()
    }
    save_index(folder, rows, protocols, index.roots)
    return load_index(folder / "index.csv")


def measured(index: Index, times: int, folder: Path) -> Run:
    """A run of mmFAS on the repeated index, in a process of its own."""
    grown = repeated(index, times, folder / "index")
    where = ("--index", str(grown.path), "--run-dir", str(folder / "run"), "--cache-dir", str(folder / "cache"))
    command = (sys.executable, "-m", "reference.mmfas", *where, *SETTINGS)
    began = time.monotonic()
    child = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    assert child.stderr is not None
    said = child.stderr.read()
    _, status, usage = os.wait4(child.pid, 0)
    seconds = time.monotonic() - began
    if status:
        raise BadInput(f"`{' '.join(command[1:])}` failed: {(said.strip().splitlines() or ['no message'])[-1]}")
    work = budget.work(Job(cost.BASE, 0, folder / "run", command, 1, 1.0), grown, 0)
    return Run(times, len(grown.rows), work.trained, work.scored, seconds, usage.ru_maxrss * 1024)


def seconds_of_a_sample(rounds: int = cost.ROUNDS) -> tuple[float, float]:
    """Of training and of scoring, as `make cost` measures them."""
    torch.set_num_threads(1)
    made, batch = cost.trial(cost.BASE, cost.CPU, *SETTINGS), cost.noise(32, 32, cost.CPU)
    assert made.step is not None
    taken: tuple[list[float], list[float]] = [], []
    for number in range(10 * rounds):
        made.network.train()
        step = cost.seconds_of(lambda: made.step(batch), cost.CPU)  # type: ignore[misc]
        made.network.eval()
        with torch.inference_mode():
            score = cost.seconds_of(lambda: made.score(batch), cost.CPU)
        if number:
            taken[0].append(step / len(batch))
            taken[1].append(score / len(batch))
    return statistics.median(taken[0]), statistics.median(taken[1])


def fit(runs: Sequence[Run], training: float, scoring: float) -> dict[str, Any]:
    """The model: seconds of a sample as measured; beside them a constant and a number for each row, of seconds and of
    bytes, by least squares of relative errors."""

    def line(values: Sequence[float]) -> list[float]:
        rows = np.array([run.rows for run in runs], np.float64)
        weight = 1 / np.array([run.seconds for run in runs])
        design = np.stack([np.ones_like(rows), rows], 1) * weight[:, None]
        return [float(x) for x in np.linalg.lstsq(design, np.array(values) * weight, rcond=None)[0]]

    beside = [run.seconds - run.trained * training - run.scored * scoring for run in runs]
    return {
        "training_seconds": training,
        "scoring_seconds": scoring,
        "beside": line(beside),
        "memory": line([run.memory_bytes for run in runs]),
    }


def predicted(model: dict[str, Any], run: Run) -> tuple[float, float]:
    """Seconds and bytes of a run by the model."""
    constant, of_a_row = model["beside"]
    samples = run.trained * model["training_seconds"] + run.scored * model["scoring_seconds"]
    memory, more = model["memory"]
    return samples + constant + of_a_row * run.rows, memory + more * run.rows


def main(argv: Sequence[str] | None = None) -> None:
    p = argparse.ArgumentParser(prog="python -m paper_tables.planning.scale", description=__doc__.splitlines()[0])
    p.add_argument("--out", type=Path, required=True, help="the JSON file to write")
    given = p.parse_args(argv)
    r = request([TABLE], ROOT / "build", data="phantom", profile="cpu", methods=None, seeds=None, jobs=None, clip=None)
    if not r.data.index.exists():
        raise BadInput(f"{r.data.index}: no such file; make phantom renders and indexes the stand-in data")
    index, runs = load_index(r.data.index), []
    training, scoring = seconds_of_a_sample()
    for times in sorted({*FITTED, CHECKED}):
        with TemporaryDirectory(dir=r.build) as folder:
            runs.append(measured(index, times, Path(folder)))
        print(f"{times} x: {runs[-1].rows} rows, {runs[-1].seconds:.1f} s", flush=True)
    model = fit([run for run in runs if run.times in FITTED], training, scoring)
    (checked,) = (run for run in runs if run.times == CHECKED)
    seconds, memory = predicted(model, checked)
    here = environment(cost.CPU, "")
    report = {
        "command": "python -m paper_tables.planning.scale",
        "device": here["cpu"],
        "torch": here["torch"],
        "settings": " ".join(SETTINGS),
        "runs": [asdict(run) for run in runs],
        "model": model,
        "error": {"seconds": seconds / checked.seconds - 1, "memory": memory / checked.memory_bytes - 1},
    }
    with replacing(given.out) as f:
        f.write((json.dumps(report, indent=1) + "\n").encode())
    print(budget.checked(report))


if __name__ == "__main__":
    with cli_errors():
        main()
