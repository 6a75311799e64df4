"""Which loss of a comparison row trains which of its parameters, and which parameters does none of them train?

    make rivals-dead-gradients
    python -m reference.probes.dead_gradients --out build/tables/rivals-dead-gradients --methods ssdg,iadg

A code can compute a loss and never add it, merge gradients and stop at the sixth tensor, or hold layers that nothing
asks. A table of numbers does not show it; gradients do. Each row that trains takes a few steps in each of its presets:
its published network with fresh weights, the smallest images that it takes, a batch of its own sampler, and steps
spread over its whole training from its start on, so that what begins late is at work and what ends early, too.

A part of the loss *moves* a parameter if, in any of these steps, the optimiser would be given another gradient without
it. Where a row adds up its parts this is the part's own gradient times its weight in the loss; where a row merges
gradients by itself, the step is computed again without the part. Both look at values: a gradient of zeros moves
nothing. The first steps change what begins at zero, so that what lies before it is reached by the later ones.
"""

import importlib
import inspect
import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
import tyro
from torch import Tensor, nn

from data_manifests.errors import BadInput, cli_errors
from data_manifests.phantom.sets import VERSION
from reference import options as base
from reference.batches import Batch, batches
from reference.environment import pick_device, random_state, set_random_state
from reference.probes.finished_run import ProbeOptions, write
from reference.rivals import method, rows
from reference.rivals.rows import Row
from reference.standin_clip.weights import IMAGE_SIZE
from reference.training import Training

STEPS = 4
BATCH = 24  # equal shares of both classes of one to four data sets
TOTAL = "loss"
COLUMNS = ("row", "preset", "loss", "weight", "tensors moved", "parameters moved", "not moved")


@dataclass(frozen=True, kw_only=True)
class Options(ProbeOptions):
    """Find out which losses of the comparison rows reach which parameters."""

    index: Path = Path(f"build/index/phantom-{VERSION}-cpu/index.csv")
    """The index.csv to take steps on."""
    out: Path
    """Folder that receives table.json and table.md."""
    methods: str = ""
    """Only these rows, by their names in rows.toml, with commas between them."""


@dataclass
class Part:
    """A part of the loss: its weight in what is minimised, `None` where the row merges gradients by itself, and the
    names of the parameters that it moves."""

    weight: float | None = 0.0
    moved: set[str] = field(default_factory=set)


@dataclass
class Finding:
    """What some steps of one row with one preset showed: sizes by name of all parameters that train, those that
    received a gradient, the number of frozen ones, and the parts of the loss by name."""

    sizes: dict[str, int]
    frozen: int
    received: set[str] = field(default_factory=set)
    parts: dict[str, Part] = field(default_factory=dict)

    @property
    def never(self) -> list[str]:
        """Parameters that train and receive no gradient."""
        return [name for name in self.sizes if name not in self.received]


def reached(names: Iterable[str], gradients: Iterable[Tensor | None]) -> set[str]:
    """The names whose gradient is there and not zero everywhere."""
    return {name for name, g in zip(names, gradients, strict=True) if g is not None and bool(g.any())}


def added_parts(losses: Mapping[str, Tensor], parameters: Mapping[str, nn.Parameter]) -> dict[str, Part]:
    """The parts of a loss that is their weighted sum. A parameter that rests at this step is moved by none of them."""
    found, learning = {}, {name: p for name, p in parameters.items() if p.requires_grad}
    for name, part in losses.items():
        if name == TOTAL or not part.requires_grad:
            continue
        (weight,) = torch.autograd.grad(losses[TOTAL], part, retain_graph=True, allow_unused=True)
        found[name] = Part() if weight is None else Part(float(weight))
        if found[name].weight:
            gradients = torch.autograd.grad(part, [*learning.values()], retain_graph=True, allow_unused=True)
            found[name].moved = reached(learning, gradients)
    return found


def merged_parts(
    made: method.Method[Any], batch: Batch, parameters: Mapping[str, nn.Parameter], device: torch.device
) -> dict[str, Part]:
    """The parts of a loss whose gradients the row merges by itself: each is left out of the same step once, and of the
    sum as well where the sum has it."""
    torchs, own = random_state(device), made.draws.get_state()
    before = {name: buffer.clone() for name, buffer in made.network.named_buffers()}

    def gradients(without: str = "") -> tuple[list[Tensor | None], dict[str, Tensor]]:
        set_random_state(torchs, device)
        made.draws.set_state(own)
        for name, buffer in made.network.named_buffers():
            buffer.copy_(before[name])
        losses = made.losses(made.forward(batch), batch)
        made.network.zero_grad()
        given = dict(losses)
        if without:
            part = losses[without]
            (weight,) = torch.autograd.grad(losses[TOTAL], part, retain_graph=True, allow_unused=True)
            given |= {without: 0 * part} | ({} if weight is None else {TOTAL: losses[TOTAL] - weight * part})
        made.backward(given)
        return [p.grad for p in parameters.values()], losses

    whole, losses = gradients()
    found = {}
    for name in losses:
        if name == TOTAL or not losses[name].requires_grad:
            continue
        other = gradients(name)[0]
        changes = [b if a is None else a if b is None else a - b for a, b in zip(whole, other, strict=True)]
        found[name] = Part(None, reached(parameters, changes))
    return found


def look(row: Row, options: Any) -> Finding:
    """Take the steps. Raises BadInput for an index that the row cannot be trained on."""
    module = importlib.import_module(row.program)
    made: method.Method[Any] = module.Method(options, pick_device(options.device))
    with Training(options, row.name, Path(inspect.getfile(module)), made.inputs) as training:
        method.enter(made, training)
        optimiser = made.optimiser(training)
        training.sampler = made.sampler(training)
        parameters = {name: p for name, p in made.network.named_parameters() if p.requires_grad}
        finding = Finding({name: p.numel() for name, p in parameters.items()}, _frozen(made.network))
        adds = type(made).backward is method.Method.backward
        made.network.train()
        made.before_epoch(options.epochs - 1, training)
        order = [places for epoch in range(STEPS) for places in training.sampler.epoch(epoch)[:STEPS]][:STEPS]
        for number, drawn in enumerate(batches(training.faces, [training.train[p] for p in order], training.device)):
            batch = made.views(replace(drawn, progress=number / STEPS), training)
            made.schedule(optimiser, batch, training)
            merged = {} if adds else merged_parts(made, batch, parameters, training.device)
            losses = made.losses(made.forward(batch), batch)
            for name, part in (added_parts(losses, parameters) if adds else merged).items():
                known = finding.parts.setdefault(name, part)
                known.moved |= part.moved
                if part.weight is not None and known.weight is not None:
                    known.weight = max(part.weight, known.weight, key=abs)
            optimiser.zero_grad()
            made.backward(losses)
            finding.received |= reached(parameters, [p.grad for p in parameters.values()])
            optimiser.step()
            made.after_step(batch)
    return finding


def _frozen(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters() if not p.requires_grad)


def of_row(row: Row, options: Options, preset: str) -> Finding:
    """The row's published network with one of its presets."""
    module = importlib.import_module(row.program)
    with TemporaryDirectory() as folder:
        chosen: dict[str, Any] = {name.replace("-", "_"): value for name, value in row.smallest.items()}
        if row.clip:
            chosen["image_size"] = IMAGE_SIZE  # the stand-in CLIP's
        chosen |= {
            "cache_dir": options.cache_dir,
            "device": options.device,
            "protocol": "official",
            "batch_size": BATCH,
        }
        run_dir = Path(folder) / "run"
        return look(row, module.Options(index=options.index, run_dir=run_dir, preset=preset, **chosen))


def grouped(names: Iterable[str]) -> str:
    """Names of parameters in words: those that differ by numbers or in their last part together, with their count."""
    counts = Counter(re.sub(r"\d+", "*", name.rpartition(".")[0] or name) for name in names)
    return ", ".join(f"{name} ({count})" for name, count in counts.items())


def text_of(row: Row, preset: str, finding: Finding) -> list[list[str]]:
    """Lines of the table: what is minimised first, then each part."""
    lines = []
    whole = Part(1.0, finding.received)
    for name, part in {TOTAL: whole, **finding.parts}.items():
        moved = [n for n in finding.sizes if n in part.moved]
        weight = "merged" if part.weight is None else f"{part.weight:.3g}" if part.weight else "not in the loss"
        left = "everything" if not moved else grouped(n for n in finding.sizes if n not in part.moved)
        tensors = f"{len(moved)} of {len(finding.sizes)}"
        lines.append(
            [row.title, preset, name, weight, tensors, f"{sum(finding.sizes[n] for n in moved):,}", left or "nothing"]
        )
    return lines


def markdown(text: Sequence[Sequence[str]]) -> str:
    head, rule = " | ".join(COLUMNS), "---|" * len(COLUMNS)
    body = "\n".join(f"| {' | '.join(line)} |" for line in text)
    return f"# {TITLE}\n\n{NOTE}\n\n| {head} |\n|{rule}\n{body}\n"


TITLE = "Which loss trains which parameters"
NOTE = (
    f"Published networks with fresh weights, the smallest images that each takes, {STEPS} steps on stand-in faces. A "
    "part of the loss moves a parameter if the optimiser would be given another gradient without it. `loss` is all "
    "that is minimised: what it does not move never trains. A weight is the greatest that was seen."
)


def run(options: Options) -> None:
    """Look at every row that trains, or at those that were named, and write the tables. Raises BadInput."""
    trained = {name: row for name, row in rows.load().items() if row.implemented and row.trains and row.sees}
    chosen = [name for name in options.methods.split(",") if name] or [*trained]
    for name in chosen:
        if name not in trained:
            raise BadInput(f"--methods {name}: no comparison row that trains; choose from {', '.join(trained)}")
    found: dict[str, dict[str, Any]] = {}
    text = []
    for name in chosen:
        for preset in base.presets(importlib.import_module(trained[name].program).Options):
            finding = of_row(trained[name], options, preset)
            lines = text_of(trained[name], preset, finding)
            text += lines
            print("\n".join(" · ".join(line) for line in lines), flush=True)
            found.setdefault(name, {})[preset] = {
                "tensors": len(finding.sizes),
                "parameters": sum(finding.sizes.values()),
                "frozen": finding.frozen,
                "never": finding.never,
                "parts": {
                    part: {"weight": of.weight, "moved": [n for n in finding.sizes if n in of.moved]}
                    for part, of in finding.parts.items()
                },
            }
    table = {"title": TITLE, "note": NOTE, "columns": COLUMNS, "rows": found, "text": text}
    write(
        options.out,
        {"table.md": markdown(text).encode(), "table.json": (json.dumps(table, indent=1) + "\n").encode()},
    )


def main() -> None:
    options = tyro.cli(Options, prog="python -m reference.probes.dead_gradients", description=__doc__)
    with cli_errors():
        run(options)


if __name__ == "__main__":
    main()
