"""How much of a released MMDA score is owed to the batch it was computed in?

    python -m reference.probes.batch_leak --index build/…/index.csv --run-dirs build/runs/… \\
        --out build/tables/mmda-batch-leak

The authors' code scores test lists in file order and batches of three. Its noise reference is the batch's first
sample and its attention runs across the batch, and the public lists are grouped by class and recording: nearly every
batch holds one class, so a score is told by its batch-mates what they all are. Here one trained model scores one
list in four ways, and nothing else changes:

  list      sorted by class, then recording, then frame, as the public lists are; batches of three
  shuffled  the same batches' size, the order permuted (the mean over several permutations; their SD is given)
  mixed     every batch of both classes, as evenly as the list allows
  single    one by one: what a deployed model could do

The validation list, which gives the honest threshold, is scored in the same way as the test list. The router's draws
(M10) come from generators of their own, so a part of what shuffling changes comes from other draws: `redrawn` is
`single` with other draws.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro
from matplotlib.figure import Figure
from numpy.typing import NDArray

from data_manifests.errors import BadInput, cli_errors
from data_manifests.index import Index
from reference import metrics, mmda
from reference.mmda import MMDA, Tower, inputs_in_words, restore, score
from reference.pictures import encoded
from reference.probes.finished_run import FinishedRun, ProbeOptions, open_run, write

BATCH = 3  # the released micro-batch, also where a run was trained with another
WAYS = {
    "list": "list order, batches of 3",
    "shuffled": "shuffled, batches of 3",
    "mixed": "classes mixed, batches of 3",
    "single": "one by one",
    "redrawn": "one by one, router drawn again",
}
COLUMNS = {
    "auc": "AUC",
    "hter_source_val": "HTER, threshold of source validation",
    "hter_target_eer": "HTER, target EER threshold",
    "one_class_batches": "batches of one class",
}


@dataclass(frozen=True, kw_only=True)
class Options(ProbeOptions):
    """Score finished MMDA runs in several orders and batch sizes."""

    run_dirs: list[Path]
    """Finished runs of reference.mmda; the first one is drawn."""
    out: Path
    """Folder that receives table.json, table.md and the picture (SVG and PNG)."""
    head: str = "cls"
    """Whose scores: cls or align0, align1 ..."""
    repeats: int = 5
    """Permutations, and redraws of the router."""


def list_order(index: Index, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """`rows` (N,) as public lists have them: bona fide first, then by recording and frame."""
    return np.array(sorted(rows, key=lambda i: _place(index, i)), np.int64)


def _place(index: Index, i: int) -> tuple[bool, str, int]:
    row = index.rows[i]
    return (not row.bonafide, row.clip_id, row.frame)


def mixed_order(bonafide: NDArray[np.bool_], rng: np.random.Generator) -> NDArray[np.int64]:
    """Positions in `bonafide` (N,), the rarer class spread evenly among the other, each in random order."""
    order = rng.permutation(bonafide.size)
    place = np.empty(bonafide.size)
    for label in (True, False):
        members = order[bonafide[order] == label]
        place[members] = (np.arange(members.size) + 0.5) / members.size
    return np.argsort(place, kind="stable")


def one_class_share(bonafide: NDArray[np.bool_], size: int) -> float:
    """The share of batches of `size` samples that hold one class only; `bonafide` (N,) in the order of scoring."""
    batches = [bonafide[i : i + size] for i in range(0, bonafide.size, size)]
    return float(np.mean([b.all() or not b.any() for b in batches]))


def orders(way: str, labels: NDArray[np.bool_], repeats: int) -> Iterator[tuple[NDArray[np.int64], int, int]]:
    """(order, samples in a batch, seed of the draws) of each repeat of a way; `labels` are in list order."""
    for i in range(1 if way in ("list", "single") else repeats):
        rng = np.random.default_rng(i)
        if way == "shuffled":
            yield rng.permutation(labels.size), BATCH, 0
        elif way == "mixed":
            yield mixed_order(labels, rng), BATCH, 0
        else:
            yield np.arange(labels.size), BATCH if way == "list" else 1, i + 1 if way == "redrawn" else 0


@dataclass
class Probe:
    """A finished run and the two lists it scores, in list order."""

    run: FinishedRun[MMDA, mmda.Options]
    lists: dict[str, NDArray[np.int64]]
    inputs: dict[str, tuple[torch.Tensor, torch.Tensor | None]] = field(default_factory=dict)

    def labels(self, name: str) -> NDArray[np.bool_]:
        return self.run.faces.bonafide[self.lists[name]]

    def scores(self, name: str, order: NDArray[np.int64], size: int, seed: int, head: str) -> NDArray[np.float32]:
        """Scores (N,) in list order, computed in `order` and in batches of `size`."""
        run, rows = self.run, self.lists[name]
        if name not in self.inputs:
            tower = Tower(run.model, run.faces, run.options.missing_as, run.cache_dir, run.device)
            self.inputs[name] = tower.without(rows, tower.features(rows), "")
        tokens, present = self.inputs[name]
        domains = torch.from_numpy(run.faces.domain[rows]).to(run.device)
        with torch.inference_mode():
            captions = run.model.encode_captions()
        at = torch.from_numpy(order).to(run.device)
        draws = torch.Generator(run.device).manual_seed(seed)
        heads = score(
            run.model, tokens[at], None if present is None else present[at], domains[at], captions, draws, size
        )
        if head not in heads:
            raise BadInput(f"--head {head}: this run has {', '.join(heads)}")
        scores = np.empty_like(heads[head])
        scores[order] = heads[head]
        return scores


def open_probe(options: Options, run_dir: Path) -> Probe:
    """Open a run with its validation and its test list. Raises BadInput as `open_run` does."""
    run = open_run(restore, run_dir, options)
    return Probe(run, {"val": list_order(run.index, run.rows("val")), "test": list_order(run.index, run.rows("test"))})


def measure(probe: Probe, options: Options) -> dict[str, dict[str, Any]]:
    """For each way its figures (means over repeats, with SD where there are several), and the first repeat's
    scores."""
    bonafide = probe.labels("test")
    ways: dict[str, dict[str, Any]] = {}
    for way in WAYS:
        repeats = []
        plans = zip(
            orders(way, probe.labels("val"), options.repeats), orders(way, bonafide, options.repeats), strict=True
        )
        for on_val, on_test in plans:
            val = probe.scores("val", *on_val, options.head)
            test = probe.scores("test", *on_test, options.head)
            honest = metrics.eer(val, probe.labels("val"))[1]
            own = metrics.eer(test, bonafide)[1]
            figures = {
                "auc": 100 * metrics.auc(test, bonafide),
                "hter_source_val": 100 * metrics.hter(test, bonafide, honest),
                "hter_target_eer": 100 * metrics.hter(test, bonafide, own),
                "one_class_batches": 100 * one_class_share(bonafide[on_test[0]], on_test[1]),
            }
            repeats.append(figures)
            ways.setdefault(way, {"scores": test})
        for name in COLUMNS:
            values = [figures[name] for figures in repeats]
            sd = float(np.std(values, ddof=1)) if len(values) > 1 else None
            ways[way][name] = {"mean": float(np.mean(values)), "sd": sd, "n": len(values)}
    return ways


def cells(results: dict[str, dict[str, Any]]) -> list[list[str]]:
    """The table's header, and a row for each way of each run; every ± is a sample SD over the n stated."""

    def cell(value: dict[str, Any]) -> str:
        sd = "" if value["sd"] is None else f" ± {value['sd']:.2f} (n = {value['n']})"
        return f"{value['mean']:.2f}{sd}"

    header = ["run", "scored", *COLUMNS.values()]
    return [header] + [
        [run, WAYS[way], *(cell(figures[name]) for name in COLUMNS)]
        for run, ways in results.items()
        for way, figures in ways.items()
    ]


def markdown(text: list[list[str]], title: str) -> str:
    """The table of these cells."""
    header, *rows = [f"| {' | '.join(row)} |" for row in text]
    lines = [title, "", header, "|---" * len(text[0]) + "|", *rows]
    return "\n".join(lines) + "\n\nAll in %. ± is the sample SD over n permutations or redraws of one trained model.\n"


def picture(figures: dict[str, dict[str, Any]], bonafide: NDArray[np.bool_], title: str) -> dict[str, bytes]:
    """The distributions of bona fide and attack scores in three of the ways, as SVG and PNG."""
    ways = ("list", "shuffled", "single")
    figure = Figure(figsize=(7, 5.4), layout="constrained")
    axes = figure.subplots(len(ways), 1, sharex=True)
    every = np.concatenate([figures[way]["scores"] for way in ways])
    bins = np.linspace(every.min(), every.max(), 41).tolist()
    for ax, way in zip(axes, ways, strict=True):
        scores = figures[way]["scores"]
        for label, name, colour, hatch in ((True, "bona fide", "#2b7bd6", ""), (False, "attack", "#c2410c", "////")):
            share = np.full((bonafide == label).sum(), 100 / (bonafide == label).sum())
            ax.hist(
                scores[bonafide == label], bins, weights=share, label=name, color=colour, alpha=0.55, hatch=hatch,
                edgecolor=colour,
            )  # fmt: skip
        auc, hter = (figures[way][name]["mean"] for name in ("auc", "hter_source_val"))
        ax.set_title(f"{WAYS[way]}: AUC {auc:.1f} %, HTER {hter:.1f} %", loc="left", fontsize=10)
        ax.set_ylabel("share of class, %")
    axes[0].legend(frameon=False)
    axes[-1].set_xlabel("score: bona fide logit minus spoof logit")
    figure.suptitle(title, fontsize=11)
    return encoded(figure)


def run(options: Options) -> None:
    """Measure every run and write the table and the picture of the first. Raises BadInput."""
    results, probes = {}, []
    for run_dir in options.run_dirs:
        probe = open_probe(options, run_dir)
        run_options = probe.run.options
        name = f"{run_options.preset}, {run_options.sources or 'all'} → {run_options.targets or 'all'}"
        if name in results:
            raise BadInput(f"--run-dirs: two runs are {name}; give each preset and protocol once")
        print(f"scoring {name}", flush=True)
        results[name] = measure(probe, options)
        probes.append(probe)
    inputs = inputs_in_words(probes[0].run.index, probes[0].run.model)
    title = f"Scores of {options.head} and the batch they are computed in ({inputs})"
    text = cells(results)
    first = next(iter(results))
    pictures = picture(results[first], probes[0].labels("test"), f"{first} ({inputs})")
    figures = {
        name: {way: {column: values[column] for column in COLUMNS} for way, values in ways.items()}
        for name, ways in results.items()
    }
    table = {"title": title, "head": options.head, "runs": figures, "text": text}
    print(markdown(text, title))
    write(
        options.out,
        {"table.md": markdown(text, title).encode()}
        | {f"scores.{kind}": content for kind, content in pictures.items()}
        | {"table.json": (json.dumps(table, indent=1) + "\n").encode()},
    )


def main() -> None:
    options = tyro.cli(Options, prog="python -m reference.probes.batch_leak", description=__doc__)
    with cli_errors():
        run(options)


if __name__ == "__main__":
    main()
