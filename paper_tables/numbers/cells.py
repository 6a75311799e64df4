"""From run folders to table cells; nothing else goes in.

A cell is the mean over the seeds of one row of one metric in one column: on one test set, or the mean over
several, of one run or of several trained on different sources, with the epoch (and the head, where a model has
several outputs) chosen by one rule (`selection`). Everything is computed from `scores/*.npz`; `args.json` says
what the run was, and `done` that it is complete and how many parameters it trained.

Metrics (%, scores grow with bona-fide-ness, accepted = score >= threshold), by where the threshold comes from:

  hter:source_val               EER threshold of the source's validation set: what a deployment would get
  hter:target                   EER threshold of the test set itself, hence that set's EER: the papers' way
  auc                           needs no threshold
  accuracy:source_dev@BPCER1%   strictest threshold that rejects at most 1 % of the source's bona fide
  accuracy:target@BPCER1%       the same of the test set itself
  accuracy:source_dev@EER       EER threshold of the source's validation set
  balanced_accuracy, apcer_max, bpcer
                                100 - HTER, the worst attack family's APCER, and BPCER, at each of accuracy's thresholds

A predictor that carries its own threshold (`fixed_threshold` in args.json) is judged at that one throughout. Only under
the rule `released` are `hter:target` and `auc` something else: what MMDA's released script measures (released.py).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_manifests.errors import BadInput
from data_manifests.json_files import json_object
from paper_tables.declarations.table import KINDS, Column
from paper_tables.numbers import bootstrap, released
from paper_tables.numbers.bootstrap import Threshold
from paper_tables.numbers.selection import ON_TEST_SET, OVER_HEADS, RULES, Record, measured, source_val
from reference import metrics
from reference.runs import HEADLINE
from reference.sources import sha256

HTER_THRESHOLDS = ("source_val", "target")
POLICIES = ("source_dev@BPCER1%", "target@BPCER1%", "source_dev@EER")
DETAILS = ("balanced_accuracy", "apcer_max", "bpcer")

MAIN = (*(f"hter:{t}" for t in HTER_THRESHOLDS), "auc", *(f"accuracy:{p}" for p in POLICIES))
METRICS = (*MAIN, *(f"{d}:{p}" for d in DETAILS for p in POLICIES))


def main_metrics(kinds: Sequence[str]) -> tuple[str, ...]:
    """Those of `MAIN` that are of `kinds`."""
    return tuple(metric for metric in MAIN if metric.partition(":")[0] in kinds)


def metrics_of(kinds: Sequence[str]) -> tuple[str, ...]:
    """Every metric of a table of `kinds`; the errors behind the accuracy go with it."""
    return METRICS if "accuracy" in kinds else main_metrics(kinds)


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
    """The content of a finished run folder. `sets` has `val` and the test sets with the scores of the headline head.
    `epochs` (E,) are those of `val`; the test sets share `tested`, some of them at least: the one that validation
    chooses, and the last. `heads` names every output of a model whose heads were kept; it is empty otherwise."""

    folder: Path
    arguments: dict[str, Any]
    index_sha256: str
    git_commit: str
    environment: dict[str, Any]
    parameters: int
    finished: str
    epochs: NDArray[np.int64]
    tested: NDArray[np.int64]
    sets: dict[str, Scores]
    heads: tuple[str, ...] = ()

    @property
    def fixed_threshold(self) -> float | None:
        return self.arguments.get("fixed_threshold")

    @property
    def targets(self) -> list[str]:
        return [name for name in self.sets if name != "val"]

    def samples(self, sets: Sequence[str]) -> Scores:
        """The samples of `sets`, one set after the other, with the headline head's scores."""
        if len(sets) == 1:
            return self.sets[sets[0]]
        parts = [self.sets[name] for name in sets]
        joined = {
            key: np.concatenate([getattr(part, key) for part in parts])
            for key in ("bonafide", "family", "subject", "sample_id")
        }
        return Scores(np.concatenate([part.scores for part in parts], axis=1), **joined)

    def outputs(self, sets: Sequence[str]) -> dict[str, NDArray[np.floating[Any]]]:
        """Each head's scores (E, N) of those samples. Read anew each time: sixteen heads of eighty epochs are
        too much to keep. Raises BadInput for a damaged file."""
        if not self.heads:
            return {HEADLINE: self.samples(sets).scores}
        parts = [_head_scores(self.folder / "scores" / f"{name}.npz", self.sets[name].scores) for name in sets]
        every = np.concatenate(parts, axis=2)  # (E, H, N)
        return {head: every[:, i] for i, head in enumerate(self.heads)}

    @cached_property
    def validated(self) -> list[Record]:
        """Every evaluated epoch by the headline head, without test sets."""
        val = self.sets["val"]
        return [
            Record(int(epoch), *_eer_auc(scores, val.bonafide), {})
            for epoch, scores in zip(self.epochs, val.scores, strict=True)
        ]

    @property
    def chosen_epoch(self) -> int:
        """The epoch that source validation chooses, by the headline head."""
        return source_val(self.validated, "", "").epoch

    @property
    def tied(self) -> tuple[int, int]:
        """How many evaluated epochs have the least EER of validation, and how many of them the highest AUC there."""
        least = [r for r in self.validated if r.val_eer == min(r.val_eer for r in self.validated)]
        return len(least), sum(r.val_auc == max(r.val_auc for r in least) for r in least)

    @property
    def every_epoch(self) -> bool:
        """Whether the test sets were scored at every evaluated epoch."""
        return np.array_equal(self.epochs, self.tested)


def read_run(folder: Path, targets: Sequence[str]) -> RunScores:
    """Read a finished run. Raises BadInput if it is unfinished, damaged, or lacks `val` or one of
    `targets`."""
    if not (folder / "done").exists():
        raise BadInput(f"{folder}: this run is not finished (no file done); start its command again")
    args, env, done = (json_object(folder / name, _again(folder)) for name in ("args.json", "env.json", "done"))
    for name, file, key, kind in (
        ("args.json", args, "arguments", dict),
        ("args.json", args, "index_sha256", str),
        ("args.json", args, "git_commit", str),
        ("env.json", env, "device", str),
        ("env.json", env, "cpu", str),
        ("env.json", env, "torch", str),
        ("done", done, "parameters", int),
        ("done", done, "finished", str),
    ):
        if type(file.get(key)) is not kind:
            raise BadInput(f"{folder / name}: no {key!r}, or another kind of value; {_again(folder)}")
    digests = done.get("scores") or {}  # a run of an earlier version has none
    if not isinstance(digests, dict):
        raise BadInput(f"{folder / 'done'}: its scores are no digests by name; {_again(folder)}")
    sets: dict[str, Scores] = {}
    epochs: dict[str, NDArray[np.int64]] = {}
    heads: dict[str, tuple[str, ...]] = {}
    for name in ("val", *targets):
        path = folder / "scores" / f"{name}.npz"
        epochs[name], heads[name], sets[name] = _scores(path)
        if heads["val"] != heads[name]:
            raise BadInput(f"{path}: holds other heads than val.npz; {_again(folder)}")
    arguments, index_sha256, commit = (args[key] for key in ("arguments", "index_sha256", "git_commit"))
    parameters, finished = done["parameters"], done["finished"]
    tested = epochs[targets[0]] if targets else epochs["val"]
    run = RunScores(
        folder, arguments, index_sha256, commit, env, parameters, finished, epochs["val"], tested, sets, heads["val"]
    )
    for name in targets:
        path = folder / "scores" / f"{name}.npz"
        if not np.array_equal(epochs[name], tested) or not np.isin(tested, run.epochs).all():
            raise BadInput(f"{path}: holds other epochs than its neighbours; {_again(folder)}")
        if not np.isin([run.chosen_epoch, run.epochs[-1]], tested).all():
            raise BadInput(f"{path}: lacks the epoch that validation chooses, or the last; {_again(folder)}")
    for name in sets if digests else ():
        path = folder / "scores" / f"{name}.npz"
        if digests.get(path.name) != sha256(path):
            raise BadInput(f"{path}: is not the file that the finished run left; {_again(folder)}")
    return run


def _again(folder: Path) -> str:
    return f"put it back from a copy, or delete {folder} and run it again"


def _scores(path: Path) -> tuple[NDArray[np.int64], tuple[str, ...], Scores]:
    try:
        with np.load(path, allow_pickle=False) as f:
            epochs, scores = f["epochs"].astype(np.int64), f["scores"].astype(np.float64)
            heads = tuple(map(str, f["heads"])) if "heads" in f else ()
            rest = {key: f[key] for key in ("bonafide", "family", "subject", "sample_id")}
    except Exception as e:  # numpy raises many kinds for a damaged file; each means the same here
        raise BadInput(f"{path}: missing or damaged; {_again(path.parent.parent)}") from e
    samples = {value.shape for value in rest.values()}
    if rest["bonafide"].dtype != bool or len(samples) > 1 or epochs.ndim != 1:
        raise BadInput(f"{path}: its arrays are not those of a run's scores; {_again(path.parent.parent)}")
    if not epochs.size or scores.shape != (epochs.size, rest["bonafide"].size):
        raise BadInput(
            f"{path}: scores of shape {scores.shape} do not fit {epochs.size} epochs of "
            f"{rest['bonafide'].size} samples; {_again(path.parent.parent)}"
        )
    if not np.isfinite(scores).all():
        raise BadInput(f"{path}: holds a score that is not a number; the training diverged, see its metrics.jsonl")
    if heads and HEADLINE not in heads:
        raise BadInput(f"{path}: has no head {HEADLINE}; {_again(path.parent.parent)}")
    return epochs, heads, Scores(scores, **rest)


def _head_scores(path: Path, headline: NDArray[np.float64]) -> NDArray[np.float32]:
    """head_scores (E, H, N), of which one head's must be `headline` (E, N)."""
    again = _again(path.parent.parent)
    try:
        with np.load(path, allow_pickle=False) as f:
            heads, scores = list(map(str, f["heads"])), f["head_scores"]
    except Exception as e:  # as above
        raise BadInput(f"{path}: its head_scores are missing or damaged; {again}") from e
    if scores.shape != (headline.shape[0], len(heads), headline.shape[1]):
        raise BadInput(f"{path}: head_scores of shape {scores.shape} do not fit its heads, epochs and samples; {again}")
    if not np.isfinite(scores).all():
        raise BadInput(f"{path}: holds a score that is not a number; the training diverged, see its metrics.jsonl")
    if not np.array_equal(scores[:, heads.index(HEADLINE)], headline):
        raise BadInput(f"{path}: its scores are not those of its head {HEADLINE}; {again}")
    return scores


def thresholds(
    val: NDArray[np.floating[Any]], bonafide: NDArray[np.bool_], kinds: Sequence[str], fixed: float | None
) -> dict[str, Threshold]:
    """Threshold of every metric but `auc` that `main_metrics` names, from the scores `val` (N,) of the source's
    validation set, or `fixed` throughout."""
    names = [metric for metric in main_metrics(kinds) if metric != "auc"]
    if fixed is not None:
        return dict.fromkeys(names, fixed)
    _, eer = metrics.eer(val, bonafide)
    of_metric: dict[str, Threshold] = {
        "hter:source_val": eer,
        "hter:target": "eer",
        "accuracy:source_dev@BPCER1%": metrics.threshold_at_bpcer(val, bonafide, 0.01),
        "accuracy:target@BPCER1%": "bpcer1",
        "accuracy:source_dev@EER": eer,
    }
    return {metric: of_metric[metric] for metric in names}


def _eer_auc(scores: NDArray[np.floating[Any]], bonafide: NDArray[np.bool_]) -> tuple[float, float]:
    return 100 * metrics.eer(scores, bonafide)[0], 100 * metrics.auc(scores, bonafide)


def evaluate(
    run: RunScores,
    tests: Sequence[Sequence[str]],
    kinds: Sequence[str] = KINDS,
    heads: Sequence[str] = (HEADLINE,),
    as_released: bool = False,
) -> list[Record]:
    """Every metric of `kinds` of every evaluated epoch and each of `heads` that the run has, on each of `tests`:
    one test set, or several judged together (`S+W`), where the epoch's test scores exist. `as_released` adds what
    MMDA's released script measures."""
    val = run.sets["val"]
    only_headline = tuple(heads) == (HEADLINE,)

    def outputs(sets: Sequence[str]) -> dict[str, NDArray[np.floating[Any]]]:
        return {HEADLINE: run.samples(sets).scores} if only_headline else run.outputs(sets)

    of_val, of_tests = outputs(("val",)), [(sets, run.samples(sets), outputs(sets)) for sets in tests]
    records = []
    for head in heads:
        if head not in of_val:
            continue
        for i, validated in enumerate(run.validated):
            scores = of_val[head][i]
            figures = (validated.val_eer, validated.val_auc) if head == HEADLINE else _eer_auc(scores, val.bonafide)
            records.append(record := Record(validated.epoch, *figures, {}, head))
            place = np.flatnonzero(run.tested == record.epoch)
            if not place.size:
                continue
            of_metric = thresholds(scores, val.bonafide, kinds, run.fixed_threshold)
            for sets, samples, of_head in of_tests:
                here = of_head[head][place[0]]
                record.targets["+".join(sets)] = of_target = _metrics(here, samples, of_metric, kinds)
                if as_released:
                    hter, auc = released.hter_auc(_judged(run, here), samples.bonafide)
                    of_target |= {"hter:released": 100 * hter, "auc:released": 100 * auc}
    return records


def _judged(run: RunScores, scores: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
    """`scores` of a head as MMDA's released script would have them. Only MMDA's own are known to be differences of
    logits, whose softmax it takes."""
    return released.softmax(scores) if run.arguments.get("method") == "mmda" else scores


def _metrics(
    scores: NDArray[np.floating[Any]], target: Scores, of_metric: dict[str, Threshold], kinds: Sequence[str]
) -> dict[str, float]:
    bonafide = target.bonafide
    attacks = ~bonafide

    def resolve(threshold: Threshold) -> float:
        if threshold == "eer":
            return metrics.eer(scores, bonafide)[1]
        if threshold == "bpcer1":
            return metrics.threshold_at_bpcer(scores, bonafide, 0.01)
        return float(threshold)

    out = {"auc": metrics.auc(scores, bonafide)}
    for metric, threshold in of_metric.items():
        kind, _, policy = metric.partition(":")
        if kind == "hter":
            out[metric] = metrics.hter(scores, bonafide, resolve(threshold))
            continue
        t = resolve(threshold)
        far, frr = metrics.far_frr(scores, bonafide, t)
        families = metrics.apcer(scores[attacks], target.family[attacks], t)
        out[metric] = float(np.mean((scores >= t) == bonafide))
        out[f"balanced_accuracy:{policy}"] = 1 - (far + frr) / 2
        out[f"apcer_max:{policy}"] = max(families.values())
        out[f"bpcer:{policy}"] = frr
    return {metric: 100 * out[metric] for metric in metrics_of(kinds)}


@dataclass(frozen=True)
class Cell:
    """Mean over seeds in %, sample SD (None for a single one), the seeds and their own values, the epochs they are
    of and the heads where a model has several, and with `ci` the interval of the mean. A mean over places that
    chose apart from each other has no single epoch: none is given."""

    mean: float
    sd: float | None
    values: tuple[float, ...]
    epochs: tuple[int, ...] | None
    ci: tuple[float, float] | None = None
    heads: tuple[str, ...] | None = None
    seeds: tuple[int, ...] = ()


def mean_sd(values: Sequence[float]) -> tuple[float, float | None]:
    """Mean and sample standard deviation (ddof = 1), None for one value."""
    return float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else None


Runs = Mapping[str, RunScores]  # one seed's runs by part


def cells(
    seeds: Mapping[int, Runs],
    columns: Sequence[Column],
    ci: bool,
    rules: Sequence[str] = ("source_val", "last", "oracle"),
    kinds: Sequence[str] = KINDS,
) -> dict[tuple[str, str, str], Cell]:
    """All cells of one row, keyed (rule, column, metric). A column that no seed has all runs for, or whose head the
    model lacks, has none; nor has a rule that looks at the test sets where not every epoch scored them.

    A column's value is the mean of its places' values, by their numbers of tested images if it is weighted. With
    `ci`, each resample of subjects (`bootstrap`) gives the mean over the seeds; sets are resampled apart from each
    other. Raises BadInput when the runs were not tested on the same samples.
    """
    _same_samples(seeds.values())
    places = [place for column in columns for place in column.places]
    all_heads = any(rule in OVER_HEADS for rule in rules) or any(place.head != HEADLINE for place in places)
    records: dict[Path, list[Record]] = {}
    for runs in seeds.values():
        for part, run in runs.items():
            tests = list(dict.fromkeys(place.sets for place in places if place.part == part))
            heads = run.heads if all_heads and run.heads else (HEADLINE,)
            records[run.folder] = evaluate(run, tests, kinds, heads, "released" in rules)
    resamples = Resamples(kinds) if ci else None

    out: dict[tuple[str, str, str], Cell] = {}
    for rule in rules:
        for column in columns:
            complete = {
                seed: runs
                for seed, runs in seeds.items()
                if column.parts <= set(runs)
                and (rule not in ON_TEST_SET or all(runs[part].every_epoch for part in column.parts))
                and all(p.head == HEADLINE or p.head in runs[p.part].heads for p in column.places)
            }
            if complete:
                for metric in metrics_of(kinds):
                    out[rule, column.name, metric] = _cell(complete, column, rule, metric, records, resamples)
    return out


def _same_samples(seeds: Iterable[Runs]) -> None:
    first: dict[str, RunScores] = {}
    for runs in seeds:
        for part, run in runs.items():
            known = first.setdefault(part, run)
            for name, scores in run.sets.items():
                if not np.array_equal(scores.sample_id, known.sets[name].sample_id):
                    raise BadInput(f"{run.folder}: scores other {name} samples than {known.folder}; delete the older")


def _cell(
    seeds: Mapping[int, Runs],
    column: Column,
    rule: str,
    metric: str,
    records: Mapping[Path, list[Record]],
    resamples: "Resamples | None",
) -> Cell:
    values, resampled, images = [], [], []
    reported = measured(rule, metric)
    for place in column.places:
        runs = [by_part[place.part] for by_part in seeds.values()]
        chosen = [RULES[rule](records[run.folder], place.tested, reported, place.head) for run in runs]
        values.append([c.targets[place.tested][reported] for c in chosen])
        images.append(runs[0].samples(place.sets).bonafide.size if column.weighted else 1)
        if resamples and metric in MAIN:
            resampled.append(resamples.mean(runs, place.sets, reported, chosen))
    mean = np.average(values, axis=0, weights=images).tolist()  # (seeds,)
    interval = bootstrap.interval(np.average(resampled, axis=0, weights=images)) if resampled else None
    if len(column.places) > 1 and (rule in ON_TEST_SET or len(column.parts) > 1):
        return Cell(*mean_sd(mean), tuple(mean), None, interval, seeds=tuple(seeds))
    heads = tuple(c.head for c in chosen) if runs[0].heads else None
    return Cell(*mean_sd(mean), tuple(mean), tuple(c.epoch for c in chosen), interval, heads, tuple(seeds))


class Resamples:
    """Bootstrapped metrics of each run's epochs, computed when first asked for."""

    def __init__(self, kinds: Sequence[str]) -> None:
        self.kinds = kinds
        self.draws: dict[str, tuple[NDArray[np.int64], NDArray[np.int64]]] = {}
        self.known: dict[tuple[Path, str, int, str, bool], dict[str, NDArray[np.float64]]] = {}

    def _draws(self, run: RunScores, sets: Sequence[str]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        # W and W-DI are the same samples: the same resamples, so that a mean over both varies as it should.
        name = "+".join(s.partition("-")[0] for s in sets)
        if name not in self.draws:
            target = run.samples(sets)
            if (target.subject == "").any():
                sample = target.sample_id[target.subject == ""][0]
                raise BadInput(
                    f"{run.folder}: sample {sample} of {name} has no subject, so --ci cannot resample "
                    "subjects; fill subject_id in the index, or leave --ci out"
                )
            self.draws[name] = bootstrap.draw(target.subject, target.bonafide, name)
        return self.draws[name]

    def of(
        self, run: RunScores, sets: Sequence[str], chosen: Record, as_released: bool = False
    ) -> dict[str, NDArray[np.float64]]:
        """Every metric by its name in (resamples,); `as_released` has `hter:released` and `auc:released` alone."""
        key = (run.folder, "+".join(sets), chosen.epoch, chosen.head, as_released)
        if key not in self.known:
            val, target = run.sets["val"], run.samples(sets)
            of_val, scores = (
                (run.samples(names).scores if chosen.head == HEADLINE else run.outputs(names)[chosen.head])[
                    np.flatnonzero(epochs == chosen.epoch)[0]
                ]
                for names, epochs in ((("val",), run.epochs), (sets, run.tested))
            )
            of_metric = thresholds(of_val, val.bonafide, self.kinds, run.fixed_threshold)
            if as_released:
                scores, of_metric = _judged(run, scores), {"hter:released": "released"}
            found = bootstrap.resampled(scores.astype(np.float64), target.bonafide, *self._draws(run, sets), of_metric)
            self.known[key] = found | ({"auc:released": found["auc"]} if as_released else {})
        return self.known[key]

    def mean(
        self, runs: Sequence[RunScores], sets: Sequence[str], metric: str, chosen: Sequence[Record]
    ) -> NDArray[np.float64]:
        """(resamples,) of the mean over seeds, in %."""
        as_released = metric.endswith(":released")
        values = [self.of(run, sets, c, as_released)[metric] for run, c in zip(runs, chosen, strict=True)]
        return 100 * np.mean(values, axis=0)
