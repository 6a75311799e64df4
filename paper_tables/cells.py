"""From run folders to table cells; nothing else goes in.

A cell is the mean over the runs of one method (its seeds) of one metric, on one test set or weighted over
all, with the epoch chosen by one rule (`selection`). Everything is computed from `scores/*.npz`; `args.json`
says what the run was, `done` that it is whole, and `model.safetensors` how many parameters it has.

Metrics (%, scores grow with bona-fide-ness, accepted = score >= threshold), by where the threshold comes from:

  hter:source_val               EER threshold of the source's validation set: what a deployment would get
  hter:target                   EER threshold of the test set itself, hence that set's EER: the papers' way
  auc                           needs no threshold
  accuracy:source_dev@BPCER1%   strictest threshold that rejects at most 1 % of the source's bona fide
  accuracy:target@BPCER1%       the same of the test set itself
  accuracy:source_dev@EER       EER threshold of the source's validation set
  balanced_accuracy, apcer_max, bpcer
                                100 - HTER, the worst attack family's APCER, and BPCER, at each of accuracy's thresholds

A predictor that carries its own threshold (`fixed_threshold` in args.json) is judged at that one throughout.
"""

import json
import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_manifests.errors import BadInput
from paper_tables import bootstrap
from paper_tables.bootstrap import Threshold
from paper_tables.selection import RULES, Record
from reference import metrics

HTER_THRESHOLDS = ("source_val", "target")
POLICIES = ("source_dev@BPCER1%", "target@BPCER1%", "source_dev@EER")
DETAILS = ("balanced_accuracy", "apcer_max", "bpcer")

MAIN = (*(f"hter:{t}" for t in HTER_THRESHOLDS), "auc", *(f"accuracy:{p}" for p in POLICIES))
METRICS = (*MAIN, *(f"{d}:{p}" for d in DETAILS for p in POLICIES))

WEIGHTED = "weighted"


@dataclass(frozen=True)
class Scores:
    """scores/<set>.npz: scores (E, N) float64 of E evaluated epochs, and what is known of the N samples."""

    scores: NDArray[np.float64]
    bonafide: NDArray[np.bool_]
    family: NDArray[np.str_]
    subject: NDArray[np.str_]
    sample_id: NDArray[np.str_]


@dataclass(frozen=True)
class RunScores:
    """What a finished run folder says. `sets` has `val` and the test sets; all share `epochs` (E,)."""

    folder: Path
    arguments: dict[str, Any]
    index_sha256: str
    git_commit: str
    environment: dict[str, Any]
    parameters: int
    epochs: NDArray[np.int64]
    sets: dict[str, Scores]

    @property
    def fixed_threshold(self) -> float | None:
        return self.arguments.get("fixed_threshold")

    @property
    def targets(self) -> list[str]:
        return [name for name in self.sets if name != "val"]


def read_run(folder: Path, targets: Sequence[str]) -> RunScores:
    """Read a finished run. Raises BadInput if it is unfinished, damaged, or lacks `val` or one of
    `targets`."""
    if not (folder / "done").exists():
        raise BadInput(f"{folder}: this run is not finished (no file done); start its command again")
    args, env = _json(folder / "args.json"), _json(folder / "env.json")
    sets: dict[str, Scores] = {}
    epochs: NDArray[np.int64] | None = None
    for name in ("val", *targets):
        path = folder / "scores" / f"{name}.npz"
        evaluated, sets[name] = _scores(path)
        if epochs is not None and not np.array_equal(epochs, evaluated):
            raise BadInput(f"{path}: holds other epochs than val.npz; delete {folder} and run it again")
        epochs = evaluated
    assert epochs is not None
    try:
        arguments, index_sha256, commit = args["arguments"], args["index_sha256"], args["git_commit"]
    except KeyError as e:
        raise BadInput(f"{folder / 'args.json'}: no {e}; delete the folder and run it again") from e
    parameters = count_parameters(folder / "model.safetensors")
    return RunScores(folder, arguments, index_sha256, commit, env, parameters, epochs, sets)


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as e:
        raise BadInput(f"{path}: missing or not valid JSON; delete {path.parent} and run it again") from e
    if not isinstance(found, dict):
        raise BadInput(f"{path}: not a JSON object; delete {path.parent} and run it again")
    return found


def _scores(path: Path) -> tuple[NDArray[np.int64], Scores]:
    try:
        with np.load(path, allow_pickle=False) as f:
            epochs, scores = f["epochs"].astype(np.int64), f["scores"].astype(np.float64)
            rest = {key: f[key] for key in ("bonafide", "family", "subject", "sample_id")}
    except Exception as e:  # numpy raises many kinds for a damaged file; each means the same here
        raise BadInput(f"{path}: missing or damaged; delete {path.parent.parent} and run it again") from e
    if not epochs.size or scores.shape != (epochs.size, rest["bonafide"].size):
        raise BadInput(
            f"{path}: scores of shape {scores.shape} do not fit {epochs.size} epochs of "
            f"{rest['bonafide'].size} samples; delete {path.parent.parent} and run it again"
        )
    if not np.isfinite(scores).all():
        raise BadInput(f"{path}: holds a score that is not a number; the training diverged, see its metrics.jsonl")
    return epochs, Scores(scores, **rest)


def count_parameters(path: Path) -> int:
    """Numbers in model.safetensors that training sets: all tensors but batch-norm statistics, which are
    counted from the data. Reads the header alone."""
    statistics = ("running_mean", "running_var", "num_batches_tracked")
    try:
        with path.open("rb") as f:
            (size,) = struct.unpack("<Q", f.read(8))
            header = json.loads(f.read(size))
        shapes = {name: tensor["shape"] for name, tensor in header.items() if name != "__metadata__"}
    except (OSError, ValueError, KeyError, TypeError, struct.error) as e:
        raise BadInput(f"{path}: missing or damaged; delete {path.parent} and run it again") from e
    return sum(math.prod(shape) for name, shape in shapes.items() if not name.endswith(statistics))


def thresholds(run: RunScores, at: int) -> dict[str, Threshold]:
    """Threshold of every metric but `auc` that `MAIN` names, for the run's `at`-th evaluated epoch."""
    if run.fixed_threshold is not None:
        return {metric: run.fixed_threshold for metric in MAIN if metric != "auc"}
    val = run.sets["val"]
    _, eer = metrics.eer(val.scores[at], val.bonafide)
    return {
        "hter:source_val": eer,
        "hter:target": "eer",
        "accuracy:source_dev@BPCER1%": metrics.threshold_at_bpcer(val.scores[at], val.bonafide, 0.01),
        "accuracy:target@BPCER1%": "bpcer1",
        "accuracy:source_dev@EER": eer,
    }


def evaluate(run: RunScores) -> list[Record]:
    """Every metric of every evaluated epoch on every test set."""
    records = []
    for at, epoch in enumerate(run.epochs):
        val = run.sets["val"]
        eer, _ = metrics.eer(val.scores[at], val.bonafide)
        found = thresholds(run, at)
        targets = {name: _metrics(run.sets[name], at, found) for name in run.targets}
        records.append(Record(int(epoch), 100 * eer, 100 * metrics.auc(val.scores[at], val.bonafide), targets))
    return records


def _metrics(target: Scores, at: int, found: dict[str, Threshold]) -> dict[str, float]:
    scores, bonafide = target.scores[at], target.bonafide
    attacks = ~bonafide

    def resolve(threshold: Threshold) -> float:
        if threshold == "eer":
            return metrics.eer(scores, bonafide)[1]
        if threshold == "bpcer1":
            return metrics.threshold_at_bpcer(scores, bonafide, 0.01)
        return float(threshold)

    out = {"auc": metrics.auc(scores, bonafide)}
    for where in HTER_THRESHOLDS:
        out[f"hter:{where}"] = metrics.hter(scores, bonafide, resolve(found[f"hter:{where}"]))
    for policy in POLICIES:
        threshold = resolve(found[f"accuracy:{policy}"])
        far, frr = metrics.far_frr(scores, bonafide, threshold)
        families = metrics.apcer(scores[attacks], target.family[attacks], threshold)
        out[f"accuracy:{policy}"] = float(np.mean((scores >= threshold) == bonafide))
        out[f"balanced_accuracy:{policy}"] = 1 - (far + frr) / 2
        out[f"apcer_max:{policy}"] = max(families.values())
        out[f"bpcer:{policy}"] = frr
    return {metric: 100 * out[metric] for metric in METRICS}


@dataclass(frozen=True)
class Cell:
    """Mean over runs in %, sample SD (None for a single run), the runs' own values and the epochs they are
    of, and with `ci` the interval of the mean. A weighted value of the oracle mixes epochs: no epoch is
    given."""

    mean: float
    sd: float | None
    values: tuple[float, ...]
    epochs: tuple[int, ...] | None
    ci: tuple[float, float] | None = None


def mean_sd(values: Sequence[float]) -> tuple[float, float | None]:
    """Mean and sample standard deviation (ddof = 1), None for one value."""
    return float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else None


def cells(runs: Sequence[RunScores], ci: bool) -> dict[tuple[str, str, str], Cell]:
    """All cells of one method, keyed (rule, test set or `weighted`, metric). `runs` are its seeds, at least
    one.

    The weighted value is the mean of the sets' values by their numbers of tested images. With `ci`, each
    resample of subjects (`bootstrap`) gives the mean over the runs; sets are resampled apart from each other.
    Raises BadInput when the runs were not tested on the same samples.
    """
    for run in runs[1:]:
        for name, scores in run.sets.items():
            if not np.array_equal(scores.sample_id, runs[0].sets[name].sample_id):
                raise BadInput(f"{run.folder}: scores other {name} samples than {runs[0].folder}; delete the older")
    records = [evaluate(run) for run in runs]
    targets = runs[0].targets
    images = np.array([runs[0].sets[name].bonafide.size for name in targets], np.float64)
    resamples = _Resamples(runs) if ci else None

    out: dict[tuple[str, str, str], Cell] = {}
    for rule, choose in RULES.items():
        for metric in METRICS:
            with_ci = resamples if metric in MAIN else None
            values, drawn = [], []
            for name in targets:
                chosen = [choose(r, name, metric) for r in records]
                values.append([c.targets[name][metric] for c in chosen])
                epochs = tuple(c.epoch for c in chosen)
                interval = None
                if with_ci:
                    drawn.append(with_ci.mean(name, metric, epochs))
                    interval = bootstrap.interval(drawn[-1])
                out[rule, name, metric] = Cell(*mean_sd(values[-1]), tuple(values[-1]), epochs, interval)
            whole = np.average(values, axis=0, weights=images)  # (runs,)
            interval = bootstrap.interval(np.average(drawn, axis=0, weights=images)) if drawn else None
            epochs_of_all = None if rule == "oracle" else epochs
            out[rule, WEIGHTED, metric] = Cell(*mean_sd(whole.tolist()), tuple(whole.tolist()), epochs_of_all, interval)
    return out


class _Resamples:
    """Bootstrapped metrics of each run's epochs, computed when first asked for."""

    def __init__(self, runs: Sequence[RunScores]) -> None:
        self.runs = runs
        self.draws = {}
        for name in runs[0].targets:
            target = runs[0].sets[name]
            if (target.subject == "").any():
                sample = target.sample_id[target.subject == ""][0]
                raise BadInput(
                    f"{runs[0].folder}: sample {sample} of {name} has no subject, so --ci cannot resample "
                    "subjects; fill subject_id in the index, or leave --ci out"
                )
            self.draws[name] = bootstrap.draw(target.subject, target.bonafide, name)
        self.known: dict[tuple[int, str, int], dict[str, NDArray[np.float64]]] = {}

    def _of(self, number: int, name: str, epoch: int) -> dict[str, NDArray[np.float64]]:
        key = (number, name, epoch)
        if key not in self.known:
            run = self.runs[number]
            at = int(np.flatnonzero(run.epochs == epoch)[0])
            target = run.sets[name]
            self.known[key] = bootstrap.resampled(
                target.scores[at], target.bonafide, *self.draws[name], thresholds(run, at)
            )
        return self.known[key]

    def mean(self, name: str, metric: str, epochs: Sequence[int]) -> NDArray[np.float64]:
        """(resamples,) of the mean over runs, in %."""
        return 100 * np.mean([self._of(i, name, epoch)[metric] for i, epoch in enumerate(epochs)], axis=0)
