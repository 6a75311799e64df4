"""Predictors that look at nothing: what a table's numbers mean when they are reached without any image.

    python -m reference.rivals.trivial --predictor coin --index build/…/index.csv --run-dir build/runs/coin

all_spoof calls every sample an attack, all_live every sample bona fide, coin decides by a fair coin thrown
once for each sample: the lowest bit of BLAKE2b of "seed:sample_id". A decision is saved as a score of -1
(attack) or +1 (bona fide), and `fixed_threshold` 0 in args.json is where to cut them: no equal-error
threshold of constant scores says "all attacks".

The run folder is a trained row's, with one epoch and no weights.
"""

from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from data_manifests.index import COLUMNS, MODALITIES, Index
from reference import options as base
from reference.environment import environment
from reference.evaluation import Evaluation, command_errors
from reference.faces import Faces, without_pixels
from reference.runs import HEADLINE

THRESHOLD = 0.0


@dataclass(frozen=True, kw_only=True)
class Options(base.RunOptions):
    """Score an index without looking at its images."""

    predictor: Literal["all_spoof", "all_live", "coin"]
    """What is said of every sample."""


def decide(predictor: str, sample_id: NDArray[np.str_], seed: int) -> NDArray[np.float32]:
    """The decisions (N,) on the samples `sample_id` (N,): +1 bona fide, -1 attack."""
    if predictor == "coin":
        bits = [blake2b(f"{seed}:{name}".encode()).digest()[-1] & 1 for name in sample_id]
        return np.array(bits, np.float32) * 2 - 1
    return np.full(sample_id.size, {"all_spoof": -1, "all_live": 1}[predictor], np.float32)


def unseen(index: Index) -> Faces:
    """The index's frames without their pixels."""
    places = [COLUMNS.index(modality) for modality in MODALITIES]
    lines = index.rows.lines(np.arange(len(index.rows)))
    return Faces(
        images=np.zeros((len(index.rows), 5, 0, 0), np.uint8),  # type: ignore[arg-type]  # nothing to map
        present=np.array([[bool(line[place]) for place in places] for line in lines]),
        sha256="",
        **without_pixels(index),
    )


class Blind(Evaluation):
    """A run that knows of its samples what the index says."""

    def begin(self) -> None:
        self.faces = unseen(self.index)
        self.run.cut(0)  # what a killed process had written


def run(options: Options) -> None:
    """Write the run folder. Raises BadInput for unusable input."""
    inputs, env = {"fixed_threshold": THRESHOLD}, environment(torch.device("cpu"), "none")
    with Blind(options, options.predictor, Path(__file__), inputs, env) as evaluation:
        if evaluation.done:
            return
        names = {name: evaluation.faces.sample_id[rows] for name, rows in evaluation.sets.items()}
        evaluation.score_once(
            {name: {HEADLINE: decide(options.predictor, ids, options.seed)} for name, ids in names.items()}
        )


def main() -> None:
    options = base.parse(Options, "reference.rivals.trivial", __doc__)
    with command_errors():
        run(options)


if __name__ == "__main__":
    main()
