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
import tyro
from numpy.typing import NDArray

from data_manifests.errors import cli_errors
from data_manifests.index import Index, load_index
from reference import environment, metrics, runs
from reference.data import Faces, described

THRESHOLD = 0.0


@dataclass(frozen=True, kw_only=True)
class Options:
    """Score an index without looking at its images."""

    index: Path
    """The index.csv to score; its images are not read."""

    run_dir: Path
    """Where the run is kept; a finished run is left as it is."""

    predictor: Literal["all_spoof", "all_live", "coin"]
    """What is said of every sample."""

    protocol: str = "mmfas"
    """Which of the index's protocols gives the val and test splits."""

    seed: int = 0
    """Seeds the coin."""


def decide(predictor: str, sample_id: NDArray[np.str_], seed: int) -> NDArray[np.float32]:
    """The decisions (N,) on the samples `sample_id` (N,): +1 bona fide, -1 attack."""
    if predictor == "coin":
        bits = [blake2b(f"{seed}:{name}".encode()).digest()[-1] & 1 for name in sample_id]
        return np.array(bits, np.float32) * 2 - 1
    return np.full(sample_id.size, {"all_spoof": -1, "all_live": 1}[predictor], np.float32)


def unseen(index: Index) -> Faces:
    """The index's frames without their pixels."""
    rows = index.rows
    return Faces(
        images=np.zeros((len(rows), 5, 0, 0), np.uint8),  # type: ignore[arg-type]  # nothing to map
        present=np.array([[bool(r.rgb), bool(r.depth), bool(r.ir)] for r in rows]),
        sha256="",
        **described(index),
    )


def run(options: Options) -> None:
    """Write the run folder. Raises BadInput for unusable input."""
    index = load_index(options.index)
    faces = unseen(index)
    val, test = (index.split(options.protocol, split) for split in ("val", "test"))
    sets = runs.evaluation_sets(faces, val, test)
    arguments = {
        "method": options.predictor,
        "predictor": options.predictor,
        "protocol": options.protocol,
        "seed": options.seed,
        "fixed_threshold": THRESHOLD,
    }
    sources = [Path(__file__), *(Path(str(module.__file__)) for module in (metrics, runs))]
    env = environment.environment(torch.device("cpu"), "none")
    folder = runs.Run(options.run_dir, arguments, index.sha256, sources, env)
    if folder.done:
        print(f"{options.run_dir}: already finished")
        return
    folder.load_checkpoint(torch.device("cpu"))  # there is none: what a killed process had written is cut off
    scores = {name: decide(options.predictor, faces.sample_id[rows], options.seed) for name, rows in sets.items()}
    for name, rows in sets.items():
        folder.save_scores(name, 0, scores[name], faces, rows)
    evaluated = runs.evaluate(scores, {name: faces.bonafide[rows] for name, rows in sets.items()})
    folder.log({"epoch": 0, "sets": evaluated})
    folder.finish({})
    print(f"{options.run_dir}: finished")


def main() -> None:
    options = tyro.cli(Options, prog="python -m reference.rivals.trivial")
    with cli_errors():
        run(options)


if __name__ == "__main__":
    main()
