"""How much of a released MMDA score is owed to the batch it was computed in?

    python -m reference.probes.batch_leak --index build/…/index.csv --run-dirs build/runs/… \\
        --out build/tables/mmda-batch-leak

The authors' code scores test lists in file order and batches of three. Its noise reference is the batch's first
sample and its attention runs across the batch, and the public lists are grouped by class and clip: nearly every
batch holds one class, so a score is told by its batch-mates what they all are. Here one trained model scores one
list in four ways, and nothing else changes:

  list      sorted by class, then clip, then frame, as the public lists are; batches of the run's micro-batch
  shuffled  the same batches' size, the order permuted (the mean over several permutations; their SD is given)
  mixed     every batch of both classes, as evenly as the list allows
  single    one by one: what a deployed model could do

The validation list, which gives the honest threshold, is scored in the same way as the test list. The router's draws
(M10) come from generators of their own, so that part of what shuffling moves is the draw: `redrawn` is `single` with
other draws.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro
from numpy.typing import NDArray

from data_manifests.errors import BadInput, cli_errors, replacing
from data_manifests.index import Index, load_index
from reference import environment, metrics
from reference.data import Faces, open_faces
from reference.mmda import DOMAINS, MMDA, Args, Seen, described_inputs, restore, score

WAYS = ("list", "shuffled", "mixed", "single", "redrawn")
TOGETHER = 3  # the released micro-batch, also where a run was trained with another


@dataclass(frozen=True, kw_only=True)
class Options:
    """Score finished MMDA runs in several orders and batch sizes."""

    index: Path
    """The index.csv the runs were trained on."""
    run_dirs: list[Path]
    """Finished runs of reference.mmda; the first one is drawn."""
    out: Path
    """Folder that receives table.json, table.md and the picture (SVG and PNG)."""
    head: str = "cls"
    """Whose scores: cls or align0, align1 ..."""
    repeats: int = 5
    """Permutations, and redraws of the router."""
    cache_dir: Path = Path("build/cache")
    """Where decoded images are kept."""
    device: str = "auto"
    """cpu, cuda, cuda:N, or auto."""


def list_order(index: Index, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """`rows` (N,) as public lists have them: bona fide first, then by clip and frame."""
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


def pure(bonafide: NDArray[np.bool_], together: int) -> float:
    """The share of batches that hold one class only, of labels in the order scored."""
    batches = [bonafide[i : i + together] for i in range(0, bonafide.size, together)]
    return float(np.mean([b.all() or not b.any() for b in batches]))


def orders(way: str, labels: NDArray[np.bool_], repeats: int) -> Iterator[tuple[NDArray[np.int64], int, int]]:
    """(order, rows together, seed of the draws) of each repeat of a way; `labels` are in list order."""
    straight = np.arange(labels.size)
    for i in range(1 if way in ("list", "single") else repeats):
        rng = np.random.default_rng(i)
        if way == "shuffled":
            yield rng.permutation(labels.size), TOGETHER, 0
        elif way == "mixed":
            yield mixed_order(labels, rng), TOGETHER, 0
        else:
            yield straight, TOGETHER if way == "list" else 1, i + 1 if way == "redrawn" else 0


@dataclass
class Probe:
    """A restored run and the two lists it scores, in list order."""

    index: Index
    model: MMDA
    args: Args
    faces: Faces
    lists: dict[str, NDArray[np.int64]]
    features: dict[str, torch.Tensor] = field(default_factory=dict)

    def labels(self, name: str) -> NDArray[np.bool_]:
        return self.faces.bonafide[self.lists[name]]

    def scores(self, name: str, order: NDArray[np.int64], together: int, seed: int, head: str) -> NDArray[np.float32]:
        """Scores (N,) in list order, computed in `order`."""
        rows, device = self.lists[name], self.model.clip.scale.device
        seen = Seen(self.model, self.faces, self.args.missing_as, self.args.cache_dir, device)
        if name not in self.features:
            self.features[name] = seen.features(rows)
        tokens, present = seen.without(rows, self.features[name], "")
        domains = torch.tensor([DOMAINS.index(d) for d in self.faces.dataset[rows]], device=device)
        with torch.inference_mode():
            captions = self.model.encode_captions()
        at = torch.from_numpy(order).to(device)
        shown = None if present is None else present[at]
        draws = torch.Generator(device).manual_seed(seed)
        computed = score(self.model, tokens[at], shown, domains[at], captions, draws, together)
        if head not in computed:
            raise BadInput(f"--head {head}: this run has {', '.join(computed)}")
        back = np.empty_like(computed[head])
        back[order] = computed[head]
        return back


def open_probe(options: Options, run_dir: Path) -> Probe:
    """Restore a run. Raises BadInput when it is not of this index or tested on several sets."""
    device = environment.pick_device(options.device)
    model, args = restore(run_dir, device)
    index = load_index(options.index)
    if json.loads((run_dir / "args.json").read_text())["index_sha256"] != index.sha256:
        raise BadInput(f"{run_dir}: was trained on another index than --index {options.index}; name that one")
    faces = open_faces(index, args.image_size, options.cache_dir)
    val, test = (index.split(args.protocol, split) for split in ("val", "test"))
    val = val[np.isin(faces.dataset[val], list(args.sources))] if args.sources else val
    test = test[np.isin(faces.dataset[test], list(args.targets))] if args.targets else test
    lists = {"val": list_order(index, val), "test": list_order(index, test)}
    return Probe(index, model, args, faces, lists)


def measure(probe: Probe, options: Options) -> dict[str, Any]:
    """For each way its figures (means over repeats, with SD where there are several), and the first repeat's
    scores."""
    live = probe.labels("test")
    found: dict[str, Any] = {}
    for way in WAYS:
        repeats = []
        plans = zip(orders(way, probe.labels("val"), options.repeats), orders(way, live, options.repeats), strict=True)
        for on_val, on_test in plans:
            val = probe.scores("val", *on_val, options.head)
            test = probe.scores("test", *on_test, options.head)
            honest = metrics.eer(val, probe.labels("val"))[1]
            own = metrics.eer(test, live)[1]
            one = {
                "auc": 100 * metrics.auc(test, live),
                "hter_source_val": 100 * metrics.hter(test, live, honest),
                "hter_target_eer": 100 * metrics.hter(test, live, own),
                "one_class_batches": 100 * pure(live[on_test[0]], on_test[1]),
            }
            repeats.append(one)
            found.setdefault(way, {"scores": test})
        for name in repeats[0]:
            values = [one[name] for one in repeats]
            sd = float(np.std(values, ddof=1)) if len(values) > 1 else None
            found[way][name] = {"mean": float(np.mean(values)), "sd": sd, "n": len(values)}
    return found


COLUMNS = {
    "auc": "AUC",
    "hter_source_val": "HTER, threshold of source validation",
    "hter_target_eer": "HTER, target EER threshold",
    "one_class_batches": "batches of one class",
}
SAID = {
    "list": "list order, batches of 3",
    "shuffled": "shuffled, batches of 3",
    "mixed": "classes mixed, batches of 3",
    "single": "one by one",
    "redrawn": "one by one, router drawn again",
}


def markdown(results: dict[str, dict[str, Any]], title: str) -> str:
    """The table; every ± is a sample SD over the n stated."""

    def cell(value: dict[str, Any]) -> str:
        sd = "" if value["sd"] is None else f" ± {value['sd']:.2f} (n = {value['n']})"
        return f"{value['mean']:.2f}{sd}"

    lines = [title, "", "| run | scored | " + " | ".join(COLUMNS.values()) + " |", "|---" * (2 + len(COLUMNS)) + "|"]
    for run, ways in results.items():
        for way, found in ways.items():
            lines.append(f"| {run} | {SAID[way]} | " + " | ".join(cell(found[name]) for name in COLUMNS) + " |")
    return "\n".join(lines) + "\n\nAll in %. ± is the sample SD over n permutations or redraws of one trained model.\n"


def picture(found: dict[str, Any], live: NDArray[np.bool_], title: str) -> dict[str, bytes]:
    """The distributions of bona fide and attack scores in three of the ways, as SVG and PNG."""
    import matplotlib
    from matplotlib.figure import Figure

    matplotlib.rcParams["svg.hashsalt"] = "fas"
    shown = ("list", "shuffled", "single")
    figure = Figure(figsize=(7, 5.4), layout="constrained")
    axes = figure.subplots(len(shown), 1, sharex=True)
    every = np.concatenate([found[way]["scores"] for way in shown])
    bins = np.linspace(every.min(), every.max(), 41).tolist()
    for ax, way in zip(axes, shown, strict=True):
        values = found[way]["scores"]
        for label, name, colour, hatch in ((True, "bona fide", "#2b7bd6", ""), (False, "attack", "#c2410c", "////")):
            share = np.full((live == label).sum(), 100 / (live == label).sum())
            ax.hist(
                values[live == label], bins, weights=share, label=name, color=colour, alpha=0.55, hatch=hatch,
                edgecolor=colour,
            )  # fmt: skip
        figures = f"AUC {found[way]['auc']['mean']:.1f} %, HTER {found[way]['hter_source_val']['mean']:.1f} %"
        ax.set_title(f"{SAID[way]}: {figures}", loc="left", fontsize=10)
        ax.set_ylabel("share of class, %")
    axes[0].legend(frameon=False)
    axes[-1].set_xlabel("score: bona fide logit minus spoof logit")
    figure.suptitle(title, fontsize=11)
    drawn = {}
    for kind in ("svg", "png"):
        buffer = BytesIO()
        figure.savefig(buffer, format=kind, dpi=150, metadata={"Date": None} if kind == "svg" else None)
        drawn[kind] = buffer.getvalue()
    return drawn


def run(options: Options) -> None:
    """Measure every run and write the table and the picture of the first. Raises BadInput."""
    results, probes = {}, []
    for run_dir in options.run_dirs:
        probe = open_probe(options, run_dir)
        name = f"{probe.args.preset}, {probe.args.sources or 'all'} → {probe.args.targets or 'all'}"
        if name in results:
            raise BadInput(f"--run-dirs: two runs are {name}; give each preset and protocol once")
        print(f"scoring {name}", flush=True)
        results[name] = measure(probe, options)
        probes.append(probe)
    inputs = described_inputs(probes[0].index, probes[0].model)
    title = f"Scores of {options.head} and the batch they are computed in ({inputs})"
    contents = {"table.md": markdown(results, title).encode()}
    first = next(iter(results))
    drawn = picture(results[first], probes[0].labels("test"), f"{first} ({inputs})")
    contents |= {f"scores.{kind}": data for kind, data in drawn.items()}
    plain = {
        run: {way: {k: v for k, v in found.items() if k != "scores"} for way, found in ways.items()}
        for run, ways in results.items()
    }
    contents["table.json"] = (
        json.dumps({"title": title, "head": options.head, "runs": plain}, indent=1) + "\n"
    ).encode()
    for name, content in contents.items():
        with replacing(options.out / name) as f:
            f.write(content)
    print(markdown(results, title))
    print(f"Written: {', '.join(str(options.out / name) for name in contents)}")


def main() -> None:
    options = tyro.cli(Options, prog="python -m reference.probes.batch_leak", description=__doc__)
    with cli_errors():
        run(options)


if __name__ == "__main__":
    main()
