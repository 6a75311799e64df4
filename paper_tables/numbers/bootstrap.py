"""Confidence intervals by resampling subjects (percentile bootstrap over clusters).

The frames of one person are alike, so a resample draws subjects, with all their frames, with replacement.
Subjects are drawn within three strata - those seen only bona fide, only attacking, and both - so that every
resample holds both classes and as many subjects of each kind as the test set. What is resampled is the test
set alone: the trained model, the chosen epoch and every threshold that was fixed on the source's validation
set stay; a threshold that a metric takes from the test set is found anew in each resample.
"""

import hashlib
from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from paper_tables.numbers.released import chosen_threshold

# A fixed number, or found in the set at hand: its EER's, the strictest of at most 1 % BPCER, or that of released.py.
Threshold = float | Literal["eer", "bpcer1", "released"]

RESAMPLES = 1000
_SEED = 20250225


def draw(
    subject: NDArray[np.str_], bonafide: NDArray[np.bool_], name: str, resamples: int = RESAMPLES
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return (counts (resamples, subjects), number (N,)): how often each resample holds each subject, and the
    subject of each sample. A pure function of its arguments; `name` (of the test set) seeds it, so that all
    rows and seeds meet the same resamples."""
    names, number = np.unique(subject, return_inverse=True)
    seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little")
    generator = np.random.default_rng([_SEED, seed])
    counts = np.zeros((resamples, names.size), np.int64)
    for members in strata(number, bonafide, names.size):
        counts[:, members] = generator.multinomial(
            members.size, np.full(members.size, 1 / members.size), size=resamples
        )
    return counts, number


def strata(number: NDArray[np.int64], bonafide: NDArray[np.bool_], subjects: int) -> list[NDArray[np.int64]]:
    """The numbers of the subjects seen only bona fide, only attacking, and both, as far as there are any; `number` and
    `bonafide` (N,) are of the samples."""
    live = np.bincount(number[bonafide], minlength=subjects) > 0
    attack = np.bincount(number[~bonafide], minlength=subjects) > 0
    found = [np.flatnonzero(stratum) for stratum in (live & ~attack, attack & ~live, live & attack)]
    return [members for members in found if members.size]


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

    The samples are sorted once. A resample then costs two running sums over them, and the memory of those.
    """
    ranking = ranked(scores, bonafide, number)
    fixed = {t: int(np.searchsorted(ranking.thresholds, t)) for t in thresholds.values() if not isinstance(t, str)}
    found = [_metrics(Resample(ranking, count), thresholds, fixed) for count in counts]
    return {name: np.array([values[name] for values in found]) for name in found[0]}


def ranked(scores: NDArray[np.float64], bonafide: NDArray[np.bool_], number: NDArray[np.int64]) -> "Ranking":
    """scores, bonafide and number, the subject, of each sample (N,)."""
    order = np.argsort(scores, kind="stable")
    live, attack = order[bonafide[order]], order[~bonafide[order]]
    distinct = np.unique(scores)
    below, not_above = (np.searchsorted(scores[attack], scores[live], side) for side in ("left", "right"))
    live_at, attacks_at = (np.append(np.searchsorted(scores[c], distinct), c.size) for c in (live, attack))
    return Ranking(number[live], number[attack], below, not_above, live_at, attacks_at, np.append(distinct, np.inf))


@dataclass(frozen=True)
class Ranking:
    """A set in ascending order of score, its classes apart; thresholds are its G distinct scores and then +inf."""

    live_subject: NDArray[np.int64]
    """(L,) the number of each bona fide sample's subject."""
    attack_subject: NDArray[np.int64]
    """(A,) as above."""
    attacks_below: NDArray[np.int64]
    """(L,) how many attacks score less than each bona fide sample."""
    attacks_not_above: NDArray[np.int64]
    """(L,) how many score less or the same."""
    live_at: NDArray[np.int64]
    """(G + 1,) how many bona fide samples score less than each threshold."""
    attacks_at: NDArray[np.int64]
    """(G + 1,) as above."""
    thresholds: NDArray[np.float64]
    """(G + 1,) themselves."""


class Resample:
    """The errors of one resample, whose subjects were drawn `count` (subjects,) times, at any threshold."""

    def __init__(self, ranking: Ranking, count: NDArray[np.int64]) -> None:
        self.ranking = ranking
        self.weight = count[ranking.live_subject]  # (L,)
        self.live = np.append(0, self.weight.cumsum())  # (L + 1,) bona fide samples among the lowest 0, 1, … L
        self.attacks = np.append(0, count[ranking.attack_subject].cumsum())  # (A + 1,)
        self.n_live, self.n_attack = int(self.live[-1]), int(self.attacks[-1])

    def auc(self) -> float:
        beaten = self.attacks[self.ranking.attacks_below] + self.attacks[self.ranking.attacks_not_above]  # (L,)
        return int(self.weight @ beaten) / (2 * self.n_live * self.n_attack)

    def rejected(self, at: int) -> int:
        """Bona fide samples below threshold number `at`."""
        return int(self.live[self.ranking.live_at[at]])

    def errors(self, at: int) -> tuple[int, int]:
        """Attacks accepted and bona fide samples rejected at threshold number `at`."""
        return self.n_attack - int(self.attacks[self.ranking.attacks_at[at]]), self.rejected(at)

    def difference(self, at: int) -> int:
        """FAR − FRR, times both classes' sizes; it never rises from one threshold to the next."""
        accepted, rejected = self.errors(at)
        return accepted * self.n_live - rejected * self.n_attack

    def threshold(self, kind: str) -> int:
        """The number of the threshold that is found in the resample itself."""
        every = range(self.ranking.live_at.size)
        if kind == "eer":
            crossing = bisect_left(every, 0, key=lambda at: -self.difference(at))
            return min(max(crossing - 1, 0), crossing, key=self._inequality)
        if kind == "bpcer1":
            return bisect_right(every, 0.01, key=lambda at: self.rejected(at) / self.n_live) - 1
        of_class = (self.attacks[self.ranking.attacks_at], self.live[self.ranking.live_at])
        return _released(*(np.diff(below) for below in of_class))

    def _inequality(self, at: int) -> tuple[int, int]:
        accepted, rejected = self.errors(at)
        return abs(self.difference(at)), accepted * self.n_live + rejected * self.n_attack


def _metrics(resample: Resample, thresholds: dict[str, Threshold], fixed: dict[float, int]) -> dict[str, float]:
    """The metrics of one resample by name; `fixed` numbers the thresholds that were fixed elsewhere."""
    own = {t: resample.threshold(t) for t in set(thresholds.values()) if isinstance(t, str)}
    out = {"auc": resample.auc()}
    for metric, threshold in thresholds.items():
        at = own[threshold] if isinstance(threshold, str) else fixed[threshold]
        accepted, rejected = resample.errors(at)
        n_live, n_attack = resample.n_live, resample.n_attack
        if metric.startswith("hter:"):
            out[metric] = (accepted / n_attack + rejected / n_live) / 2
        else:
            out[metric] = 1 - (accepted + rejected) / (n_live + n_attack)
    return out


def _released(attack: NDArray[np.int64], live: NDArray[np.int64]) -> int:
    """The column of the released script's threshold; attack, live (G,) count a resample at each distinct score."""
    drawn = np.flatnonzero(attack + live)[::-1]
    return int(drawn[chosen_threshold(attack[drawn].cumsum(), live[drawn].cumsum())])


def interval(values: NDArray[np.float64]) -> tuple[float, float]:
    """The 95 % percentile interval of (resamples,) values."""
    low, high = np.percentile(values, [2.5, 97.5])
    return float(low), float(high)
