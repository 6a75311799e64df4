"""Scoring the samples of an index into a run folder: which sets, by which heads, and what is kept of them.

A *set* is the sources' validation split (`val`), or a tested data set under its letter, or that set again without a
modality (`W-DI`). A *head* is a named output of a method. A method of one output calls it `cls`; of a method with
several, `cls` is the one whose scores count unless a table says otherwise.
"""

import sys
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray

from data_manifests.errors import BadInput, cli_errors
from data_manifests.index import Index, load_index
from reference import metrics
from reference.faces import Faces
from reference.options import RunOptions, option
from reference.runs import HEADLINE, Run
from reference.sources import module_of, sources

Rows = NDArray[np.int64]
Scores = Mapping[str, Mapping[str, NDArray[np.float32]]]  # of each set, of each head: (N,)
_PLACES = ("index", "run_dir", "cache_dir", "clip_weights")  # no choices: hashes stand for what these places hold


class Evaluation(ABC):
    """A run that gives the samples of an index their scores, as a context that holds its folder.

    with Evaluation(options, "coin", Path(__file__)) as evaluation:
        if not evaluation.done: ...

    `index` is the loaded index, `rows` its rows (n,) int64 of each split that is used, `sets` those of each set
    that is scored. Inside the context of a run that is not done: `faces`, the index's samples.
    """

    SPLITS: ClassVar[dict[str, Literal["sources", "targets"]]] = {"val": "sources", "test": "targets"}
    faces: Faces

    def __init__(
        self,
        options: RunOptions,
        method: str,
        file: Path,
        inputs: Mapping[str, Any] | None = None,
        environment: Mapping[str, Any] | None = None,
    ) -> None:
        """Check the options, find the splits, and open the run folder.

        `method` is the method's name, `file` its own file, which with all that it imports belongs to the run; `inputs`
        is what else, beside options, index and images, decides it. Raises BadInput for unusable input.
        """
        options.check()
        self.options, self.method = options, method
        self.index = load_index(options.index)
        self.rows = self.find_splits()
        self.sets = evaluation_sets(self.index, self.rows["val"], self.rows["test"], options.missing)
        arguments = asdict(options) | {"method": method} | dict(inputs or {})
        for place in _PLACES:
            arguments.pop(place, None)
        digests = sources(module_of(file))
        self.run = self.open_run(options.run_dir, arguments, self.index.sha256, digests, dict(environment or {}))

    def open_run(self, *arguments: Any) -> Run:
        """The run folder, of `Run`'s arguments."""
        return Run(*arguments)

    def find_splits(self) -> dict[str, Rows]:
        """Rows of the index (n,) of each split that is used. Raises BadInput for a data set that has none."""
        return {name: split_rows(self.index, self.options, name, side) for name, side in self.SPLITS.items()}

    @property
    def done(self) -> bool:
        return self.run.done

    def __enter__(self) -> Self:
        try:
            if self.done:
                self.run.tidy()
                print(f"{self.options.run_dir}: already finished")
            else:
                self.begin()
        except BaseException:
            self.run.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.run.close()

    @abstractmethod
    def begin(self) -> None:
        """What a run that is not done needs before anything is scored."""

    def record(self, epoch: int, scores: Scores, threshold: float | None = None) -> dict[str, Any]:
        """Keep an epoch's scores in the run folder; returns what metrics.jsonl says of each set.

        `threshold` is that of the validation set's EER where `scores` lack that set. Raises FloatingPointError when a
        score is not finite; nothing is kept then.
        """
        for name, heads in scores.items():
            for head, values in heads.items():
                if not np.isfinite(values).all():
                    raise diverged(f"a score of {name}{f' by {head}' if len(heads) > 1 else ''}", epoch)
        for name, heads in scores.items():
            self.run.save_scores(name, epoch, self.kept(heads))
        bonafide = {name: self.faces.bonafide[rows] for name, rows in self.sets.items()}
        return figures({name: heads[HEADLINE] for name, heads in scores.items()}, bonafide, threshold)

    def kept(self, heads: Mapping[str, NDArray[np.float32]]) -> Mapping[str, NDArray[np.float32]]:
        """The heads whose scores are kept."""
        return heads

    def _samples(self, name: str) -> dict[str, NDArray[Any]]:
        """What a score file says of the samples of a set."""
        faces, rows = self.faces, self.sets[name]
        present = faces.present[rows]
        present[:, ["RDI".index(modality) for modality in missing_in(name)]] = False
        samples = {key: getattr(faces, key)[rows] for key in ("sample_id", "bonafide", "family", "subject")}
        return samples | {"present": present}

    def score_once(self, scores: Scores) -> None:
        """Finish the run of a method that does not train: one epoch of scores, and no weights."""
        self.run.log({"epoch": 0, "sets": self.record(0, scores)})
        self.finish(0)

    def finish(self, parameters: int) -> None:
        """Join the scores of all epochs, and mark the run as finished; `parameters` have been trained."""
        for name in self.sets:
            self.run.join_scores(name, self._samples(name))
        self.run.finish(parameters)
        print(f"{self.options.run_dir}: finished")


def split_rows(index: Index, options: RunOptions, split: str, side: Literal["sources", "targets"]) -> Rows:
    """Rows (n,) of a split of the options' protocol, of the data sets that the option `side` names.

    Raises BadInput for a data set that has none.
    """
    rows = index.split(options.protocol, split)
    letters: str = getattr(options, side)
    dataset = index.rows.column("dataset")[rows]
    for letter in letters:
        if letter not in dataset:
            raise BadInput(
                f"{index.path}: protocol {options.protocol} has no {letter} sample for {option(side)} {letters}; "
                "index that data set, or name another --protocol"
            )
    return rows[np.isin(dataset, list(letters))] if letters else rows


def figures(
    scores: Mapping[str, NDArray[np.float32]],
    bonafide: Mapping[str, NDArray[np.bool_]],
    source_threshold: float | None = None,
) -> dict[str, Any]:
    """What metrics.jsonl says of each set: EER and its threshold there, HTER at the validation set's EER
    threshold, AUC, and the share of samples whose score another one has too. `scores` and `bonafide` are keyed by set;
    `val` is the sources' validation set, which `source_threshold` stands for where it is not among them."""
    if source_threshold is None:
        _, source_threshold = metrics.eer(scores["val"], bonafide["val"])
    report = {}
    for name, s in scores.items():
        rate, threshold = metrics.eer(s, bonafide[name])
        _, counts = np.unique(s, return_counts=True)
        report[name] = {
            "eer": rate,
            "eer_threshold": threshold,
            "hter_source_val": metrics.hter(s, bonafide[name], source_threshold),
            "auc": metrics.auc(s, bonafide[name]),
            "tied": float(counts[counts > 1].sum() / s.size),
        }
    return report


def evaluation_sets(index: Index, val: Rows, test: Rows, missing: Sequence[str] = ()) -> dict[str, Rows]:
    """Rows of the sources' `val` and of each test data set, under its letter; each needs both classes.

    For each of `missing`, a test set appears once more: `W-DI` is W without depth and infrared. Raises BadInput.
    """
    dataset, label = index.rows.column("dataset")[test], index.rows.column("class")
    sets = {"val": val} | {str(d): test[dataset == d] for d in np.unique(dataset)}
    for name, rows in sets.items():
        live = label[rows] == "bonafide"
        if live.all() or not live.any():
            kind = "attack" if live.all() else "bona fide"
            raise BadInput(f"the index's split for {name} has no {kind} sample; both classes are needed to evaluate")
    return sets | {f"{name}-{lost}": rows for lost in missing for name, rows in sets.items() if name != "val"}


def missing_in(name: str) -> str:
    """The modalities that a set goes without: `DI` of `W-DI`, the empty text of `W`."""
    return name.partition("-")[2]


@contextmanager
def command_errors() -> Iterator[None]:
    """End a command with one sentence: status 2 for unusable input, 1 for a training that diverged."""
    with cli_errors():
        try:
            yield
        except FloatingPointError as e:
            print(f"error: {e}", file=sys.stderr)
            raise SystemExit(1) from e


def diverged(what: str, epoch: int) -> FloatingPointError:
    return FloatingPointError(
        f"{what} is not finite in epoch {epoch + 1}, and would be again if this run were continued; "
        "start another --run-dir with a lower --learning-rate or with --precision float32"
    )
