"""What the rows of a table cost: parameters, multiply-accumulates, measured speed beside mmFAS, and what the table's
runs on an index take altogether (budget.py).

    python -m paper_tables.planning.cost mmfas-table1 --out build/cost/mmfas-table1.json

Parameters and multiply-accumulates are those of the published network scoring one sample of 224 x 224, counted by
torch's FlopCounterMode with attention written out as matrix products; the seconds are those of the profile's settings,
narrowed where rows.toml narrows a row, always with fresh weights, CLIP's too. Every round takes one training step and
scores one batch of each row in turn, so that a busy machine slows all of them alike; medians over the rounds. What a
row computes before an epoch is not counted. A process of its own: `paper_tables` loads no torch.
"""

import argparse
import importlib
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

from data_manifests.errors import cli_errors, refuse_unwritable, replacing
from data_manifests.index import load_index
from data_manifests.json_files import sealed
from paper_tables.declarations import mmfas as mmfas_table
from paper_tables.declarations import profile as profiles
from paper_tables.declarations.table import Row, Table
from paper_tables.declarations.tables import TABLES
from paper_tables.planning import budget
from paper_tables.planning.request import request
from reference import mmda, mmfas
from reference import options as base
from reference.batches import Batch
from reference.captions import load_captions
from reference.clip import load_clip
from reference.environment import environment
from reference.reuse import Reusable, reusing
from reference.rivals import method
from reference.sources import ROOT
from reference.training import arithmetic

SIDE = 224
ROUNDS = 5
WIDTH = 112  # columns of the printed table
CPU = torch.device("cpu")
BASE = next(row for row in mmfas_table.TABLE_1.own_rows if row.program == mmfas.__name__)
DOMAINS = (0, 1, 2)  # of the data sets that train, in the measurements
HALFWAY = 0.5  # of a training: what begins later than at its start is at work


Precision = Callable[[], AbstractContextManager[None]]


@dataclass(frozen=True)
class Trial:
    """A row's network, one training step on a batch, the scores of a batch, and, of a row that keeps the features of a
    frozen tower, how a batch's are computed once. A row that does not train has no step. `captions` are the functions
    that an evaluation calls once."""

    network: nn.Module
    step: Callable[[Batch], Any] | None
    score: Callable[[Batch], Any]
    once: Callable[[Batch], Any] | None = None
    captions: Sequence[Reusable] = ()


def measurable(table: Table) -> list[Row]:
    """mmFAS, and the table's rows that are implemented and look at images."""
    rows = [row for row in table.rows if row.program and row.sees]
    return rows if BASE in rows else [BASE, *rows]


def trial(row: Row, device: torch.device, *words: str, bf16: bool | None = None) -> Trial:
    """The row as its program would train it, with further options; `bf16` where trainings use it, unless it is told."""
    assert row.program is not None
    torch.manual_seed(0)
    torch.backends.mha.set_fastpath_enabled(False)  # as in every run; its kernels would escape the count besides
    module = importlib.import_module(row.program)
    nowhere = ["--index", "none", "--run-dir", "none", "--device", str(device)]
    options = base.parse(module.Options, row.program, None, [*nowhere, *row.options, *words])
    bf16 = device.type == "cuda" if bf16 is None else bf16

    def precision() -> AbstractContextManager[None]:
        return arithmetic(device, bf16)

    if module is mmfas:
        return _mmfas(options, device, precision)
    if module is mmda:
        return _mmda(options, device, precision)
    return _comparison(module, options, device, precision)


def _mmfas(options: mmfas.Options, device: torch.device, precision: Precision) -> Trial:
    model, alignment = options.model().to(device), mmfas.Alignment(options).to(device)
    optimiser = torch.optim.AdamW([*model.parameters(), *alignment.parameters()], lr=1e-4)
    draws = torch.Generator(device).manual_seed(0)

    def step(batch: Batch) -> dict[str, Tensor]:
        return mmfas.step(model, alignment, optimiser, batch, options, draws, precision())

    return Trial(model, step, lambda batch: model(*batch.images))


def _comparison(module: Any, options: Any, device: torch.device, precision: Precision) -> Trial:
    made: method.Method[Any] = module.Method(options, device)
    made.domains = DOMAINS
    made.network, made.draws = made.build().to(device), torch.Generator(device).manual_seed(0)
    optimiser = torch.optim.AdamW(made.network.parameters(), lr=1e-4)

    def step(batch: Batch) -> dict[str, Tensor]:
        return method.step(made, optimiser, batch, precision())

    captions = [(owner, name) for owner, name in made.reused() if name != "forward"]
    return Trial(made.network, step if made.trains() else None, made.predict, None, captions)


def _mmda(options: mmda.Options, device: torch.device, precision: Precision) -> Trial:
    """A frozen tower's features are known where it trains and scores; the captions' are, where the text tower rests,
    and at test, where they are encoded once an evaluation."""
    clip = load_clip(options.clip, options.clip_weights, device)
    adaptor = mmda.Adaptor(layers=options.layers, dim=clip.dim, readings=options)
    model = mmda.MMDA(clip, load_captions(options.captions), adaptor, options.input_range).to(device)
    optimiser = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-4)
    draws, image_draws = (torch.Generator(device).manual_seed(0) for _ in range(2))
    with torch.no_grad():
        captions = model.encode_captions()
    frozen = options.freeze == "all"
    known: dict[int, Tensor] = {}

    def encoded(batch: Batch) -> Tensor:
        return model.encode(mmda.augmented(batch.images, "none"))

    def features(batch: Batch) -> Tensor:
        if len(batch) not in known:
            with torch.no_grad():
                known[len(batch)] = encoded(batch)
        return known[len(batch)]

    def tokens(piece: Batch) -> Tensor:
        if frozen and options.augmentation == "none":
            return features(piece)
        with precision():
            return model.encode(mmda.augmented(piece.images, options.augmentation, image_draws)).float()

    def step(batch: Batch) -> dict[str, Tensor]:
        fixed = captions if options.freeze != "none" else None
        return mmda.step(model, optimiser, batch, tokens, fixed, draws, options.micro_batch or len(batch))

    def score(batch: Batch) -> Any:
        seen = features(batch) if frozen else encoded(batch)
        return mmda.score(model, seen, None, batch.domain, captions, draws, options.micro_batch or len(batch))

    return Trial(model.trained, step, score, encoded if frozen else None)


def noise(samples: int, side: int, device: torch.device) -> Batch:
    """A batch of noise: the gradients of blank images are denormal numbers, which are slow on a CPU."""
    generator = torch.Generator().manual_seed(0)
    rgb, depth, ir = (2 * torch.rand(3, samples, 3, side, side, generator=generator) - 1).to(device)
    number = torch.arange(samples, device=device)
    return Batch(rgb, depth, ir, 1.0 - number % 2, number // 2 % len(DOMAINS), number, number, HALFWAY)


def settings(table: Table, row: Row, profile: profiles.Profile) -> tuple[list[str], int, int]:
    """Options of the row's program in the profile, with a CLIP that learned nothing; side of its images; batch."""
    found = {name: value for name, value in profile.options(table, row).items() if name != "weights"}
    side, samples = int(found["image-size"]), int(found["batch-size"])
    if row.clip:
        found["clip"] = "untrained/phantom" if profile.device == "cpu" else "untrained"
    if not row.trains:
        found = {name: found[name] for name in ("image-size", "clip") if name in found}
    return [word for name, value in found.items() for word in (f"--{name}", str(value))], side, samples


def multiply_accumulates(made: Trial, side: int = SIDE) -> int:
    """Of scoring one sample of `side` x `side` pixels; an addition to a multiplication's result is no operation."""
    made.network.eval()
    with reusing(made.captions):
        return _counted(made.score, side) + computed_once(made, side)


def computed_once(made: Trial, side: int = SIDE) -> int:
    """Those of them that a sample takes once in a run, whose results are kept."""
    return _counted(made.once, side) if made.once else 0


def _counted(work: Callable[[Batch], Any], side: int) -> int:
    batch = noise(1, side, CPU)
    with torch.no_grad():
        work(batch)  # what it keeps is known from now on
        with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
            work(batch)
    return int(counter.get_total_flops()) // 2


def seconds_of(work: Callable[[], Any], device: torch.device) -> float:
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
        fresh = ["--clip", "untrained"] if row.clip else []
        published = trial(row, CPU, "--image-size", str(SIDE), *fresh)
        words, side, samples = settings(table, row, profile)
        trials[row.name] = trial(row, device, *words), noise(samples, side, device)
        report[row.name] = {
            "label": row.label,
            "parameters": sum(p.numel() for p in published.network.parameters()),
            "multiply_accumulates": multiply_accumulates(published),
            "computed_once": computed_once(published),
            "weights": sum(x.numel() for x in trials[row.name][0].network.state_dict().values()),
            "narrowed": {name: v for name, v in row.training.get(profile.name, {}).items() if name != "weights"},
        }
    seconds: dict[str, dict[str, list[float]]] = {name: {} for name in trials}
    memory = dict.fromkeys(trials, 0)
    for number in track(range(rounds + 1), "measuring", transient=True):
        for name, (made, batch) in trials.items():
            if device.type == "cuda":
                torch.cuda.reset_peak_memory_stats()
            for kind, work in (("training", made.step), ("scoring", made.score), ("once", made.once)):
                if work is None:
                    continue
                made.network.train(kind == "training")
                with torch.inference_mode(kind != "training"), reusing(made.captions if kind == "scoring" else ()):
                    for function in (getattr(owner, name) for owner, name in made.captions if kind == "scoring"):
                        function()
                    took = seconds_of(lambda: work(batch), device)  # noqa: B023 — called at once
                if number:  # the first round warms up
                    seconds[name].setdefault(kind, []).append(took / len(batch))
            if device.type == "cuda":
                memory[name] = torch.cuda.max_memory_allocated()
    for name, kinds in seconds.items():
        report[name] |= {f"{kind}_seconds": statistics.median(taken) for kind, taken in kinds.items()}
        report[name] |= {"gpu_memory_bytes": memory[name]} if memory[name] else {}
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
            cells += [f"{row[kind] / own[kind]:.2f}", f"{1 / row[kind]:.0f}"] if kind in row else ["", ""]
        narrowed = ", ".join(f"{name.replace('-', ' ')} {value}" for name, value in row["narrowed"].items())
        out.append([*cells, narrowed])
    return out


def main(argv: Sequence[str] | None = None) -> None:
    p = argparse.ArgumentParser(prog="python -m paper_tables.planning.cost", description="Measure what rows cost.")
    p.add_argument("table", choices=sorted(TABLES), metavar="TABLE", help=", ".join(sorted(TABLES)))
    p.add_argument("--profile", default="auto", help="whose settings are measured: cpu, paper, or auto (default)")
    p.add_argument("--data", default="phantom", help="phantom (default), or a roots.toml: whose index the runs are for")
    p.add_argument("--seeds", type=int, help="runs a row (default: the profile's)")
    p.add_argument("--oracle", action="store_true", help="as if test sets were scored at every epoch")
    p.add_argument("--out", type=Path, required=True, help="the JSON file to write")
    given = p.parse_args(argv)
    refuse_unwritable(given.out)
    r = request(
        [given.table], ROOT / "build", data=given.data, profile=given.profile, seeds=given.seeds, oracle=given.oracle,
        methods="all", jobs=None, clip=None,
    )  # fmt: skip
    (table,), device = r.tables, torch.device(r.device)
    report = measure(table, r.profile, device)
    words = [f"{r.data.index}: not made yet, so nothing is said of whole runs; `make phantom` renders and indexes"]
    if r.data.index.exists():
        index = load_index(r.data.index)
        report["budget"] = budget.of(r.jobs(table, index), index, report["rows"])
        words = budget.sentences(report["budget"], r, report["device"])
    with replacing(given.out) as f:
        f.write(sealed(report))
    head, *rows = report["text"]
    grid = Grid(box=None)
    for word in head[:-1]:
        grid.add_column(word, justify="left" if word == "row" else "right", no_wrap=True)
    for row in rows:
        grid.add_row(*row[:-1])
    console = Console(width=WIDTH)
    console.print(grid)
    print(f"\nTimes are those of a sample, mmFAS's being 1; {given.out} has the seconds. Narrowed in this profile:")
    for label, *_, narrowed in rows:
        if narrowed:
            print(f"  {label}: {narrowed}")
    print()
    if "budget" in report:
        console.print(budget.grid(report["budget"]))
    for sentence in words:
        print(f"· {sentence}")


if __name__ == "__main__":
    with cli_errors():
        main()
