"""What metrics of one score set can be together, and what integer counts can give; all rates in [0, 1]."""

from math import comb, sqrt
from statistics import NormalDist

AUC_HALF = 0.00005 + 1e-12  # half of the last printed digit of a percentage with two decimals, as a fraction


def auc_range(eer: float) -> tuple[float, float]:
    """The least and greatest AUC of a score set with this equal error rate.

    The ROC is monotone and passes (e, 1 − e): at least the rectangle (1 − e)², at most all but the corners, 1 − e².
    """
    return (1 - eer) ** 2, 1 - eer**2


def youden_auc(hter: float) -> float:
    """The greatest AUC of a score set whose *lowest* HTER over thresholds is `hter` ≤ ½.

    Then TPR − FPR ≤ 1 − 2h everywhere, so the ROC lies under min(1, FPR + 1 − 2h): area 1 − 2h².
    """
    return 1 - 2 * hter**2


def binormal_auc(eer: float) -> float:
    """The AUC of two normal score distributions of equal variance with this equal error rate."""
    return NormalDist().cdf(sqrt(2) * NormalDist().inv_cdf(1 - eer))


def tnr_at(accuracy: float, live: float, bpcer: float) -> float:
    """The spoof-side accuracy that `accuracy` implies when a fraction `bpcer` of the `live` part is rejected."""
    return (accuracy - (1 - bpcer) * live) / (1 - live)


def live_limit(accuracy: float, tnr: float, bpcer: float) -> float:
    """The live fraction at which `tnr_at` falls to `tnr`: above it the accuracy is possible."""
    return (accuracy - tnr) / ((1 - bpcer) - tnr)


def hter_counts(hter: float, live: int, attack: int) -> list[tuple[int, int]]:
    """All (false accepts, false rejects) whose HTER prints as `hter` (two decimals of a percentage)."""
    pairs = []
    for rejects in range(live + 1):
        rest = 2 * hter - rejects / live
        low, high = ((rest - 2 * AUC_HALF) * attack, (rest + 2 * AUC_HALF) * attack)
        pairs += [(accepts, rejects) for accepts in range(max(0, int(low)), min(attack, int(high) + 1) + 1)
                  if low <= accepts <= high]  # fmt: skip
    return pairs


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


def binomial_tail(hits: int, trials: int, chance: float) -> float:
    """The probability of at least `hits` successes in `trials`."""
    return sum(comb(trials, k) * chance**k * (1 - chance) ** (trials - k) for k in range(hits, trials + 1))
