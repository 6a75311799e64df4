"""Confidence intervals by resampling subjects (percentile bootstrap over clusters).

The frames of one person are alike, so a resample draws subjects, with all their frames, with replacement.
Subjects are drawn within three strata - those seen only bona fide, only attacking, and both - so that every
resample holds both classes and as many subjects of each kind as the test set. What is resampled is the test
set alone: the trained model, the chosen epoch and every threshold that was fixed on the source's validation
set stay; a threshold that a metric takes from the test set is found anew in each resample.
"""

import hashlib
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from paper_tables.numbers.released import chosen_threshold

# A fixed number, or found in the set at hand: its EER's, the strictest of at most 1 % BPCER, or that of released.py.
Threshold = float | Literal["eer", "bpcer1", "released"]

RESAMPLES = 1000
_SEED = 20250225
_ELEMENTS = 4_000_000  # of the largest temporary array: 32 MB


def draw(
    subject: NDArray[np.str_], bonafide: NDArray[np.bool_], name: str, resamples: int = RESAMPLES
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return (counts (resamples, subjects), number (N,)): how often each resample holds each subject, and the
    subject of each sample. A pure function of its arguments; `name` (of the test set) seeds it, so that all
    rows and seeds meet the same resamples."""
    names, number = np.unique(subject, return_inverse=True)
    live = np.bincount(number, weights=bonafide, minlength=names.size) > 0
    attack = np.bincount(number, weights=~bonafide, minlength=names.size) > 0
    seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little")
    generator = np.random.default_rng([_SEED, seed])
    counts = np.zeros((resamples, names.size), np.int64)
    for stratum in (live & ~attack, attack & ~live, live & attack):
        members = np.flatnonzero(stratum)
        if members.size:
            counts[:, members] = generator.multinomial(
                members.size, np.full(members.size, 1 / members.size), size=resamples
            )
    return counts, number


def resampled(
    scores: NDArray[np.float64],
    bonafide: NDArray[np.bool_],
    counts: NDArray[np.int64],
    number: NDArray[np.int64],
    thresholds: dict[str, Threshold],
) -> dict[str, NDArray[np.float64]]:
    """`auc` and every metric of `thresholds` in each resample: (resamples,) each, in [0, 1].

    scores (N,), bonafide (N,); counts and number as from `draw`. A metric is `hter:…` or `accuracy:…`. Equal
    to `reference.metrics` on a set in which each sample is repeated as often as its subject was drawn.
    """
    order = np.argsort(scores, kind="stable")
    ordered = scores[order]
    first = np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1]))  # of each distinct score
    distinct = ordered[first]
    parts = [
        _chunk(chunk[:, number[order]], bonafide[order], first, distinct, thresholds)
        for chunk in np.array_split(counts, max(1, counts.shape[0] * scores.size // _ELEMENTS))
    ]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _chunk(
    weight: NDArray[np.int64],
    bonafide: NDArray[np.bool_],
    first: NDArray[np.int64],
    distinct: NDArray[np.float64],
    thresholds: dict[str, Threshold],
) -> dict[str, NDArray[np.float64]]:
    """The same for some resamples; weight (r, N) counts each sample, in ascending order of score."""
    live = np.add.reduceat(weight * bonafide, first, axis=1)  # (r, G) at each distinct score
    attack = np.add.reduceat(weight * ~bonafide, first, axis=1)  # (r, G)
    none = np.zeros((weight.shape[0], 1), np.int64)
    # Column g holds the errors at threshold distinct[g], the last column those at +inf.
    rejected = np.concatenate([none, live.cumsum(1)], axis=1)  # (r, G + 1) bona fide below
    below = np.concatenate([none, attack.cumsum(1)], axis=1)  # (r, G + 1) attacks below
    n_live, n_attack = rejected[:, -1:], below[:, -1:]  # (r, 1)
    accepted = n_attack - below

    wins = (live * (2 * below[:, :-1] + attack)).sum(1, keepdims=True)
    out = {"auc": (wins / (2 * n_live * n_attack))[:, 0]}
    for metric, threshold in thresholds.items():
        if threshold == "eer":
            difference = np.abs(accepted * n_live - rejected * n_attack)
            errors = accepted * n_live + rejected * n_attack
            nearest = difference == difference.min(1, keepdims=True)
            column = np.where(nearest, errors, np.iinfo(np.int64).max).argmin(1)
        elif threshold == "bpcer1":
            column = (rejected / n_live <= 0.01).sum(1) - 1
        elif threshold == "released":
            column = np.array([_released(*counts) for counts in zip(attack, live, strict=True)])
        else:
            column = np.full(weight.shape[0], np.searchsorted(distinct, threshold, side="left"))
        a = np.take_along_axis(accepted, column[:, None], 1)
        b = np.take_along_axis(rejected, column[:, None], 1)
        if metric.startswith("hter:"):
            value = (a / n_attack + b / n_live) / 2
        else:
            value = 1 - (a + b) / (n_live + n_attack)
        out[metric] = value[:, 0]
    return out


def _released(attack: NDArray[np.int64], live: NDArray[np.int64]) -> int:
    """The column of the released script's threshold; attack, live (G,) count a resample at each distinct score."""
    drawn = np.flatnonzero(attack + live)[::-1]
    return int(drawn[chosen_threshold(attack[drawn].cumsum(), live[drawn].cumsum())])


def interval(values: NDArray[np.float64]) -> tuple[float, float]:
    """The 95 % percentile interval of (resamples,) values."""
    low, high = np.percentile(values, [2.5, 97.5])
    return float(low), float(high)
