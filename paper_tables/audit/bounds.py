"""What metrics of one score set can be together, and what integer counts can give; all rates in [0, 1]."""

from collections.abc import Iterator
from math import ceil, comb, floor, inf, sqrt
from statistics import NormalDist


def auc_range(eer: float) -> tuple[float, float]:
    """The least and greatest AUC of a score set with this equal error rate.

    The ROC is monotone and passes (e, 1 − e): at least the rectangle (1 − e)², at most all but the corners, 1 − e².
    """
    return (1 - eer) ** 2, 1 - eer**2


def auc_room(eer: tuple[float, float], auc: tuple[float, float], gap: float = 0) -> tuple[float, float, float]:
    """The least and the greatest AUC that go with an equal error rate, and the room that the AUC has within them.

    `eer` and `auc` are the least and greatest values that the printed numbers stand for; negative room is how far they
    are from any that go together. If the two rates at the threshold differ by up to `gap`, instead of being equal, the
    corners of `auc_range` are smaller by (gap / 2)².
    """
    low, high = auc_range(eer[1])[0] - gap**2 / 4, auc_range(eer[0])[1] + gap**2 / 4
    return low, high, min(auc[1] - low, high - auc[0])


def auc_range_of_point(accepts: float, rejects: float) -> tuple[float, float]:
    """The least and greatest AUC of a score set that at some threshold has these false accept and reject rates."""
    return (1 - accepts) * (1 - rejects), 1 - accepts * rejects


def auc_range_of_half_sum(hter: float) -> tuple[float, float]:
    """The least and greatest AUC of a score set that at some threshold, whichever it is, has this HTER.

    `auc_range_of_point` over all pairs of rates whose half sum it is: the extremes have one rate at 0 or at 1.
    """
    return max(0.0, 1 - 2 * hter), min(1.0, 2 - 2 * hter)


def youden_auc(hter: float) -> float:
    """The greatest AUC of a score set whose *lowest* HTER over thresholds is `hter` ≤ ½.

    Then TPR − FPR ≤ 1 − 2h everywhere, so the ROC lies under min(1, FPR + 1 − 2h): area 1 − 2h².
    """
    return 1 - 2 * hter**2


def binormal_auc(eer: float) -> float:
    """The AUC of two normal score distributions of equal variance with this equal error rate."""
    return NormalDist().cdf(sqrt(2) * NormalDist().inv_cdf(1 - eer))


def live_shares(
    accuracy: tuple[float, float], eer: tuple[float, float], auc: tuple[float, float], bpcer: tuple[float, float]
) -> tuple[float, float]:
    """The least and the greatest share of bona fide images with which an accuracy is possible at this BPCER.

    Each argument is the least and the greatest value that the printed number stands for; (0, 1) where none is printed.
    At BPCER b and false accept rate f, Acc = (1 − b) L + (1 − f)(1 − L), which falls in f and in b. The ROC is
    monotone: it passes (e, 1 − e) and (f, 1 − b), so f ≥ e if b < e and f ≤ e if b > e; and AUC ≥ (1 − b)(1 − f). The
    first value is above the second where no share is possible.
    """
    least, most = 1 - min(1, auc[1] / (1 - bpcer[1])) if bpcer[1] < 1 else 0.0, 1.0
    if bpcer[1] < eer[0]:
        least = max(least, eer[0])
    if bpcer[0] > eer[1]:
        most = eer[1]
    # The accuracy with the least f must reach the printed one, and with the greatest f must not exceed it.
    low, high = _at_least((1 - bpcer[0]) - (1 - least), accuracy[0] - (1 - least))
    other_low, other_high = _at_least((1 - most) - (1 - bpcer[1]), (1 - most) - accuracy[1])
    return max(0.0, low, other_low), min(1.0, high, other_high)


def _at_least(slope: float, rest: float) -> tuple[float, float]:
    """The least and the greatest L with slope · L ≥ rest; infinite where there is no bound, or no such L."""
    if abs(slope) < 1e-12:
        return (-inf, inf) if rest <= 1e-12 else (inf, -inf)
    return (rest / slope, inf) if slope > 0 else (-inf, rest / slope)


def hter_counts(hter: tuple[float, float], live: int, attack: int) -> Iterator[tuple[int, int]]:
    """All (false accepts, false rejects) whose HTER is within the two values, as fractions."""
    for rejects in range(live + 1):
        low, high = ((2 * x - rejects / live) * attack for x in hter)
        for accepts in range(max(0, floor(low)), min(attack, ceil(high)) + 1):
            if low - 1e-9 <= accepts <= high + 1e-9:
                yield accepts, rejects


def eer_lattice(live: int, attack: int) -> set[int]:
    """The HTERs (in hundredths of a percent, as printed) that the point of nearly equal rates can give on a list.

    The two rates may differ by one step of each. A reduced ROC, which drops points inside straight runs, and ties can
    move the point further, so a value off the lattice is odd, not impossible.
    """
    gap = 1 / live + 1 / attack + 1e-12
    points = set()
    for rejects in range(live + 1):
        low, high = (rejects / live - gap) * attack, (rejects / live + gap) * attack
        for accepts in range(max(0, int(low)), min(attack, int(high) + 1) + 1):
            if abs(accepts / attack - rejects / live) <= gap:
                exact = 5000 * (accepts / attack + rejects / live)
                points |= {round(exact - 1e-7), round(exact + 1e-7)}
    return {x for x in points if 0 <= x <= 5000}


def sampling_error(hter: float, live: int, attack: int) -> float:
    """The standard error of an HTER whose two rates are alike, from `live` and `attack` independent samples."""
    return sqrt(hter * (1 - hter) / 4 * (1 / live + 1 / attack))


def binomial_tail(hits: int, trials: int, chance: float) -> float:
    """The probability of at least `hits` successes in `trials`."""
    return sum(comb(trials, k) * chance**k * (1 - chance) ** (trials - k) for k in range(hits, trials + 1))
