"""How often the intervals hold the truth, on simulated scores whose true rates are known; a benchmark, not a test.

    python -m paper_tables.evaluation.coverage --out paper_tables/evaluation/coverage.json

Each class has some subjects of five samples each. A score is the class's mean, a normal deviate of the subject and one
of the sample, of equal variance and of variance 1 together; the means lie so that at the threshold 0 either class errs
at the rate of the cell. That makes APCER, BPCER, HTER and EER that rate, AUC Φ(√2 z) and BPCER at APCER 5 %
Φ(1.645 − 2 z), where z is the rate's normal quantile. Cells of at least 100 subjects and 5 to 30 % have 2 000 draws.

The cells `families` have attacks of four families that are equally hard, where the worst one is hardest to tell; APCER
max and ACER are the rate. In the cells `differences` a second method of half the rate scores the same samples.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.progress import track
from scipy.stats import norm

from data_manifests.errors import cli_errors, replacing
from paper_tables.evaluation.estimates import Interval, combined, interval
from paper_tables.evaluation.measures import GIVEN, Missing, Value, measured
from paper_tables.evaluation.resamples import Resampled, estimates, units_of
from paper_tables.evaluation.samples import Samples
from paper_tables.evaluation.stated import REPLICATES

SUBJECTS = (10, 20, 50, 100, 200)
CELL_RATES = (0.01, 0.05, 0.15, 0.30)
FRAMES = 5
DRAWS, ELSEWHERE = 2000, 500
FAMILIES = ("1", "2", "3", "4")
PLAIN, OF_FAMILIES, DIFFERENCES = "cells", "families", "differences"
METRICS = {
    PLAIN: (f"apcer:{GIVEN}", f"bpcer:{GIVEN}", f"hter:{GIVEN}", "eer", "auc", "bpcer_at_5:oracle"),
    OF_FAMILIES: (f"apcer_max:{GIVEN}", f"acer:{GIVEN}"),
    DIFFERENCES: (f"apcer:{GIVEN}", f"hter:{GIVEN}", "eer", "auc"),
}
Floats = NDArray[np.float64]


def drawn(subjects: int, rate: float, generator: np.random.Generator, families: Sequence[str] = ()) -> Samples:
    """One simulated test set; each attacking subject shows one of `families`."""
    subject = np.repeat(np.arange(2 * subjects, dtype=np.int32), FRAMES)
    bonafide = subject < subjects
    score = _noise(subject, generator) + _means(bonafide, rate)
    family = np.where(bonafide, -1, subject % len(families) if families else -1).astype(np.int32)
    return Samples(score, bonafide, family, subject, None)


def other(first: Samples, rate: float, generator: np.random.Generator) -> Samples:
    """A second method's scores of the same samples, of half the rate; its noise correlates by 0.6 with the first's."""
    noise = 0.6 * (first.score - _means(first.bonafide, rate)) + 0.8 * _noise(first.subject, generator)
    return replace(first, score=noise + _means(first.bonafide, rate / 2))


def _noise(subject: NDArray[np.int32], generator: np.random.Generator) -> Floats:
    of_subject = generator.normal(size=int(subject.max()) + 1)
    noise: Floats = (of_subject[subject] + generator.normal(size=subject.size)) / np.sqrt(2)
    return noise


def _means(bonafide: NDArray[np.bool_], rate: float) -> Floats:
    means: Floats = np.where(bonafide, 1, -1) * norm.isf(rate)
    return means


def truth(rate: float) -> dict[str, float]:
    """The true value of each metric."""
    z = norm.isf(rate)
    known = dict.fromkeys((*METRICS[PLAIN], *METRICS[OF_FAMILIES]), rate)
    known["auc"] = float(norm.cdf(np.sqrt(2) * z))
    known["bpcer_at_5:oracle"] = float(norm.cdf(norm.isf(0.05) - 2 * z))
    return known


def held(
    subjects: int, rate: float, seed: int, kind: str = PLAIN, replicates: int = REPLICATES
) -> dict[str, tuple[bool, bool]]:
    """For each metric of a kind of cells whether the interval of one draw lies below the truth, and whether above it;
    both where there is no interval."""
    generator = np.random.default_rng([seed, subjects, round(1000 * rate)])
    families = FAMILIES if kind == OF_FAMILIES else ()
    samples = drawn(subjects, rate, generator, families)
    sets = {"": samples} | ({"other": other(samples, rate, generator)} if kind == DIFFERENCES else {})
    units = units_of("subject", [samples])
    fixed: tuple[dict[str, Value], dict[float, Value]] = ({GIVEN: 0.0}, {})
    resampled = {}
    for name, one in sets.items():
        values = measured(one.score, one.bonafide, one.family, families, *fixed)
        resampled[name] = Resampled(one, units, families, *fixed, values)
    found = estimates(resampled, units, replicates, lambda n: None)
    known, out = truth(rate), {}
    for metric in METRICS[kind]:
        bounds: Interval | Missing = Missing("no number")
        value = known[metric]
        if kind == DIFFERENCES:
            value -= truth(rate / 2)[metric]
            bounds = interval(combined([(1.0, found[""][metric]), (-1.0, found["other"][metric])]), -1.0)
        elif metric in found[""]:
            bounds = interval(found[""][metric])
        out[metric] = (bounds.high < value, bounds.low > value) if isinstance(bounds, Interval) else (True, True)
    return out


def cell(subjects: int, rate: float, draws: int, pool: ProcessPoolExecutor, kind: str = PLAIN) -> dict[str, Any]:
    """The share of draws whose interval holds the truth, and of those that lie below and above it."""
    every = list(pool.map(held, [subjects] * draws, [rate] * draws, range(draws), [kind] * draws, chunksize=20))
    missed = {name: np.mean([one[name] for one in every], axis=0).tolist() for name in every[0]}
    coverage = {name: float(np.mean([one[name] == (False, False) for one in every])) for name in every[0]}
    return {"subjects": subjects, "rate": rate, "draws": draws, "coverage": coverage, "below_and_above": missed}


def main(argv: Sequence[str]) -> int:
    p = argparse.ArgumentParser(prog="python -m paper_tables.evaluation.coverage", description="Measure coverage.")
    p.add_argument("--out", type=Path, required=True, help="the JSON file to write")
    p.add_argument("--draws", type=int, default=DRAWS, help=f"of the cells asked for (default {DRAWS})")
    given = p.parse_args(argv)
    cells: dict[str, list[dict[str, Any]]] = {kind: [] for kind in METRICS}
    elsewhere = min(given.draws, ELSEWHERE)
    with ProcessPoolExecutor() as pool:
        for subjects, rate in track([(s, r) for s in SUBJECTS for r in CELL_RATES], "cells"):
            asked = subjects >= 100 and rate >= 0.05
            cells[PLAIN].append(cell(subjects, rate, given.draws if asked else elsewhere, pool))
            for kind in (OF_FAMILIES, DIFFERENCES) if asked else ():
                cells[kind].append(cell(subjects, rate, elsewhere, pool, kind))
    whole = {"frames": FRAMES, "replicates": REPLICATES, **cells}
    with replacing(given.out) as f:
        f.write((json.dumps(whole, indent=1) + "\n").encode())
    return 0


if __name__ == "__main__":
    with cli_errors():
        sys.exit(main(sys.argv[1:]))
