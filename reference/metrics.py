"""Face anti-spoofing metrics (ISO/IEC 30107-3 wording), exact and O(n log n), in numpy alone.

One convention everywhere: a score grows with bona-fide-ness, and a sample is accepted as bona fide when
its score >= threshold. Candidate thresholds are the distinct scores and +inf (reject everything).

  far_frr             attacks accepted / attacks, bona fide rejected / bona fide
  eer                 the operating point where those two are nearest, and its threshold
  hter                (FAR + FRR)/2 at a threshold that was fixed elsewhere
  auc                 P(bona fide score > attack score) + 1/2 P(equal)
  threshold_at_bpcer  the strictest threshold that rejects at most a given share of bona fide
  apcer, acer         per attack family, and the worst family's mean with BPCER

Every function raises `ValueError`, saying which, on NaN or infinite scores, unequal lengths, an empty
input, or a missing class.
"""

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


def _checked(scores: ArrayLike) -> Floats:
    s = np.asarray(scores, dtype=np.float64)
    if s.ndim != 1:
        raise ValueError(f"scores must be one-dimensional, not of shape {s.shape}")
    if s.size == 0:
        raise ValueError("scores are empty")
    if not np.isfinite(s).all():
        kind = "NaN" if np.isnan(s).any() else "infinite"
        raise ValueError(f"{kind} score at position {int(np.flatnonzero(~np.isfinite(s))[0])}")
    return s


def _threshold(threshold: float) -> float:
    if math.isnan(threshold):
        raise ValueError("the threshold is NaN")
    return float(threshold)


def _classes(scores: ArrayLike, bonafide: ArrayLike) -> tuple[Floats, Floats]:
    """Split into the scores of bona fide and of attacks, both non-empty."""
    s = _checked(scores)
    b = np.asarray(bonafide).astype(bool)
    if b.shape != s.shape:
        raise ValueError(f"{s.size} scores but {b.size} class labels")
    if b.all():
        raise ValueError("no attack among the samples")
    if not b.any():
        raise ValueError("no bona fide among the samples")
    return np.compress(b, s), np.compress(~b, s)  # s[b] takes four times as long


def far_frr(scores: ArrayLike, bonafide: ArrayLike, threshold: float) -> tuple[float, float]:
    """FAR = attacks with score >= threshold / attacks; FRR = bona fide with score < threshold / bona fide.

    scores (N,) float, bonafide (N,) bool; both rates in [0, 1].
    """
    live, attack = _classes(scores, bonafide)
    t = _threshold(threshold)
    return float(np.count_nonzero(attack >= t) / attack.size), float(np.count_nonzero(live < t) / live.size)


def eer(scores: ArrayLike, bonafide: ArrayLike) -> tuple[float, float]:
    """Equal error rate: ((FAR + FRR)/2, threshold) at the threshold of least |FAR - FRR|.

    Thresholds are all distinct scores and +inf; ties go to the least FAR + FRR, then the least threshold.
    FAR - FRR falls strictly from one distinct score to the next, so its sign change is found by bisection
    between the sorted classes, and at most the two thresholds around it have to be compared. Counts are
    compared as integers: no rounding decides a tie.
    """
    live, attack = _classes(scores, bonafide)
    live.sort()
    attack.sort()
    n_live, n_attack = live.size, attack.size

    def errors(t: float) -> tuple[int, int]:
        """Attacks accepted and bona fide rejected at t."""
        accepted = n_attack - int(np.searchsorted(attack, t, side="left"))
        return accepted, int(np.searchsorted(live, t, side="left"))

    def difference(t: float) -> int:
        """FAR - FRR, times both class sizes."""
        accepted, rejected = errors(t)
        return accepted * n_live - rejected * n_attack

    # The crossing is where FAR - FRR first is <= 0: bisect each class's scores for the first such one.
    def first_crossing(ordered: Floats) -> int:
        low, high = 0, ordered.size
        while low < high:
            mid = (low + high) // 2
            if difference(float(ordered[mid])) <= 0:
                high = mid
            else:
                low = mid + 1
        return low

    candidates = [math.inf]
    for ordered in (live, attack):
        i = first_crossing(ordered)
        candidates += [float(ordered[j]) for j in (i - 1, i) if 0 <= j < ordered.size]

    def preference(t: float) -> tuple[int, int, float]:
        accepted, rejected = errors(t)
        return abs(difference(t)), accepted * n_live + rejected * n_attack, t

    best = min(candidates, key=preference)
    accepted, rejected = errors(best)
    return (accepted / n_attack + rejected / n_live) / 2, best


def hter(scores: ArrayLike, bonafide: ArrayLike, threshold: float) -> float:
    """Half total error rate (FAR + FRR)/2 at a given threshold."""
    far, frr = far_frr(scores, bonafide, threshold)
    return (far + frr) / 2


def auc(scores: ArrayLike, bonafide: ArrayLike) -> float:
    """Area under the ROC curve: P(bona fide score > attack score) + 1/2 P(equal), over all pairs."""
    live, attack = _classes(scores, bonafide)
    live.sort()  # the answers do not need it, but in order the searches below stay in the processor's cache
    attack.sort()
    below = np.searchsorted(attack, live, side="left").sum(dtype=np.int64)  # attacks strictly below
    not_above = np.searchsorted(attack, live, side="right").sum(dtype=np.int64)  # attacks below or equal
    return float((int(below) + int(not_above)) / (2 * live.size * attack.size))


def threshold_at_bpcer(scores: ArrayLike, bonafide: ArrayLike, bpcer: float) -> float:
    """The largest candidate threshold (a distinct score of either class, or +inf) whose FRR <= bpcer."""
    live, _ = _classes(scores, bonafide)
    if not bpcer >= 0:
        raise ValueError(f"bpcer must be a rate >= 0, not {bpcer}")
    live.sort()
    # The largest count k with k / n <= bpcer, judged by the very division that far_frr reports.
    rates = np.arange(live.size + 1) / live.size
    allowed = int(np.searchsorted(rates, bpcer, side="right")) - 1
    if allowed == live.size:
        return math.inf
    # At most `allowed` bona fide lie strictly below t exactly when t <= live[allowed], which is a score itself.
    return float(live[allowed])


def apcer(scores: ArrayLike, families: ArrayLike, threshold: float) -> dict[str, float]:
    """Accepted share of each attack family. `scores` and `families` (N,) are of attacks only."""
    s = _checked(scores)
    f = np.asarray(families)
    if f.shape != s.shape:
        raise ValueError(f"{s.size} scores but {f.size} attack families")
    accepted = s >= _threshold(threshold)
    return {str(name): float(np.mean(accepted[f == name])) for name in np.unique(f)}


def acer(scores: ArrayLike, bonafide: ArrayLike, families: ArrayLike, threshold: float) -> float:
    """(largest APCER over the attack families + BPCER)/2; families[i] is ignored where bonafide[i]."""
    _, frr = far_frr(scores, bonafide, threshold)
    s, b, f = np.asarray(scores), np.asarray(bonafide).astype(bool), np.asarray(families)
    if f.shape != s.shape:
        raise ValueError(f"{s.size} scores but {f.size} attack families")
    return (max(apcer(s[~b], f[~b], threshold).values()) + frr) / 2
