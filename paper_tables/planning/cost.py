"""What the rows of a table cost: parameters, multiply-accumulates, and measured speed beside mmFAS.

    python -m paper_tables.planning.cost mmfas-table1 --out build/cost/mmfas-table1.json

Parameters and multiply-accumulates are those of the published network scoring one sample of 224 x 224, counted by
torch's FlopCounterMode with attention written out as matrix products; the seconds are those of the profile's settings,
narrowed where rows.toml narrows a row, always with fresh weights. Rows that start from a CLIP are left out. Every
round takes one training step and scores one batch of each row in turn, so that a busy machine slows all of them alike;
medians over the rounds. What a row computes before an epoch is not counted. A process of its own: `paper_tables` loads
no torch.
"""

import argparse
import importlib
import json
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table as Grid
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from data_manifests.errors import BadInput, cli_errors, replacing
from paper_tables.declarations import mmfas as mmfas_table
from paper_tables.declarations import profile as profiles
from paper_tables.declarations.table import Row, Table
from paper_tables.declarations.tables import TABLES
from reference import mmfas
from reference import options as base
from reference.batches import Batch
from reference.environment import environment
from reference.rivals import method
from reference.training import arithmetic

SIDE = 224
ROUNDS = 5
WIDTH = 100  # columns of the printed table
CPU = torch.device("cpu")
BASE = next(row for row in mmfas_table.TABLE_1.own_rows if row.program == mmfas.__name__)
DOMAINS = (0, 1, 2)  # of the data sets that train, in the measurements
HALFWAY = 0.5  # of a training: what begins later than at its start is at work


@dataclass(frozen=True)
class Trial:
    """A row's network, one training step on a batch, and the scores of a batch."""

    network: nn.Module
    step: Callable[[Batch], Any]
    score: Callable[[Batch], Any]


def measurable(table: Table) -> list[Row]:
    """mmFAS, and the table's rows that are implemented, look at images and need no CLIP. Raises BadInput where there is
    none of these."""
    rows = [row for row in table.rows if row.program and row.sees and not row.clip]
    if not rows:
        raise BadInput(f"{table.name}: all its rows start from CLIP, whose cost is not measured; name mmfas-table1")
    return rows if BASE in rows else [BASE, *rows]


def trial(row: Row, device: torch.device, *words: str) -> Trial:
    """The row as its program would train it, with further options."""
    assert row.program is not None
    torch.manual_seed(0)
    torch.backends.mha.set_fastpath_enabled(False)  # as in every run; its kernels would escape the count besides
    module = importlib.import_module(row.program)
    nowhere = ["--index", "none", "--run-dir", "none", "--device", str(device)]
    options = base.parse(module.Options, row.program, None, [*nowhere, *row.options, *words])
    return _mmfas(options, device) if module is mmfas else _comparison(module, options, device)


def _mmfas(options: mmfas.Options, device: torch.device) -> Trial:
    model, alignment = options.model().to(device), mmfas.Alignment(options).to(device)
    optimiser = torch.optim.AdamW([*model.parameters(), *alignment.parameters()], lr=1e-4)
    draws = torch.Generator(device).manual_seed(0)

    def step(batch: Batch) -> dict[str, Tensor]:
        return mmfas.step(model, alignment, optimiser, batch, options, draws, _arithmetic(device))

    return Trial(model, step, lambda batch: model(*batch.images))


def _comparison(module: Any, options: Any, device: torch.device) -> Trial:
    made: method.Method[Any] = module.Method(options, device)
    made.domains = DOMAINS
    made.network, made.draws = made.build().to(device), torch.Generator(device).manual_seed(0)
    optimiser = torch.optim.AdamW(made.network.parameters(), lr=1e-4)
    return Trial(made.network, lambda batch: method.step(made, optimiser, batch, _arithmetic(device)), made.predict)


def _arithmetic(device: torch.device) -> AbstractContextManager[None]:
    return arithmetic(device, device.type == "cuda")


def noise(samples: int, side: int, device: torch.device) -> Batch:
    """A batch of noise: the gradients of blank images are denormal numbers, which are slow on a CPU."""
    generator = torch.Generator().manual_seed(0)
    rgb, depth, ir = (2 * torch.rand(3, samples, 3, side, side, generator=generator) - 1).to(device)
    number = torch.arange(samples, device=device)
    return Batch(rgb, depth, ir, 1.0 - number % 2, number // 2 % len(DOMAINS), number, number, HALFWAY)


def multiply_accumulates(made: Trial, side: int = SIDE) -> int:
    """Of scoring one sample of `side` x `side` pixels; an addition to a multiplication's result is no operation."""
    made.network.eval()
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        made.score(noise(1, side, CPU))
    return int(counter.get_total_flops()) // 2


def _seconds(work: Callable[[], Any], device: torch.device) -> float:
    began = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - began


def measure(table: Table, profile: profiles.Profile, device: torch.device, rounds: int = ROUNDS) -> dict[str, Any]:
    """What the head of this file says, ready for JSON."""
    torch.set_num_threads(profile.threads)
    chosen = measurable(table)
    report: dict[str, dict[str, Any]] = {}
    trials: dict[str, tuple[Trial, Batch]] = {}
    for row in track(chosen, "counting", transient=True):
        published = trial(row, CPU, "--image-size", str(SIDE))
        settings = {name: value for name, value in profile.options(table, row).items() if name != "weights"}
        words = [word for name, value in settings.items() for word in (f"--{name}", str(value))]
        side, samples = int(settings["image-size"]), int(settings["batch-size"])
        trials[row.name] = trial(row, device, *words), noise(samples, side, device)
        report[row.name] = {
            "label": row.label,
            "parameters": sum(p.numel() for p in published.network.parameters()),
            "multiply_accumulates": multiply_accumulates(published),
            "narrowed": {name: settings[name] for name in row.training.get(profile.name, {}) if name in settings},
        }
    taken: dict[str, tuple[list[float], list[float]]] = {name: ([], []) for name in trials}
    for number in track(range(rounds + 1), "measuring", transient=True):
        for name, (made, batch) in trials.items():
            made.network.train()
            step = _seconds(lambda: made.step(batch), device)  # noqa: B023 — called at once
            made.network.eval()
            with torch.inference_mode():
                score = _seconds(lambda: made.score(batch), device)  # noqa: B023 — called at once
            if number:  # the first round warms up
                taken[name][0].append(step / len(batch))
                taken[name][1].append(score / len(batch))
    for name, (steps, scores) in taken.items():
        report[name] |= {"training_seconds": statistics.median(steps), "scoring_seconds": statistics.median(scores)}
    here = environment(device, "")
    return {
        "title": table.title,
        "profile": profile.name,
        "device": here["cpu" if device.type == "cpu" else "device"],
        "threads": profile.threads,
        "torch": here["torch"],
        "rounds": rounds,
        "settings": profile.settings(table),
        "rows": report,
        "text": lines(report),
    }


def lines(report: Mapping[str, Mapping[str, Any]]) -> list[list[str]]:
    """Lines of the table, header first: times are multiples of mmFAS's."""
    own = report[BASE.name]
    out = [["row", "parameters", "MACs at 224", "training time", "samples/s", "scoring time", "samples/s", "narrowed"]]
    for row in report.values():
        cells = [row["label"], f"{row['parameters']:,}", f"{row['multiply_accumulates'] / 1e9:.2f} G"]
        for kind in ("training_seconds", "scoring_seconds"):
            cells += [f"{row[kind] / own[kind]:.2f}", f"{1 / row[kind]:.0f}"]
        narrowed = ", ".join(f"{name.replace('-', ' ')} {value}" for name, value in row["narrowed"].items())
        out.append([*cells, narrowed])
    return out


def main(argv: Sequence[str] | None = None) -> None:
    p = argparse.ArgumentParser(prog="python -m paper_tables.planning.cost", description="Measure what rows cost.")
    p.add_argument("table", choices=sorted(TABLES), metavar="TABLE", help=", ".join(sorted(TABLES)))
    p.add_argument("--profile", default="auto", help="whose settings are measured: cpu, paper, or auto (default)")
    p.add_argument("--out", type=Path, required=True, help="the JSON file to write")
    given = p.parse_args(argv)
    cuda = torch.cuda.is_available()
    profile = profiles.load(given.profile if given.profile != "auto" else "paper" if cuda else "cpu")
    device = torch.device("cuda" if cuda and profile.device == "auto" else "cpu")
    report = measure(TABLES[given.table], profile, device)
    with replacing(given.out) as f:
        f.write((json.dumps(report, indent=1) + "\n").encode())
    head, *rows = report["text"]
    grid = Grid(box=None)
    for word in head[:-1]:
        grid.add_column(word, justify="left" if word == "row" else "right", no_wrap=True)
    for row in rows:
        grid.add_row(*row[:-1])
    Console(width=WIDTH).print(grid)
    print(f"\nTimes are those of a sample, mmFAS's being 1; {given.out} has the seconds. Narrowed in this profile:")
    for label, *_, narrowed in rows:
        if narrowed:
            print(f"  {label}: {narrowed}")


if __name__ == "__main__":
    with cli_errors():
        main()
