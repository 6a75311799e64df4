"""The metrics of one set of samples: from scores and thresholds to rates, in fractions.

Rates are those of `reference.metrics`, whose convention holds: scores grow with bona-fide-ness, and a sample is
accepted when its score >= the threshold. A metric's name is `kind` or `kind:threshold`; `apcer/print` is the APCER of
the family print. What cannot be computed is a `Missing`, which says what is lacking.
"""

import math
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reference import metrics

RATES = (0.01, 0.05, 0.10)  # the APCERs at which BPCER is asked for
LEAST = 10  # attacks of a family, of which one more or less would otherwise move its rate by more than ten points
DEVELOPMENT, GIVEN, ORACLE = "development", "given", "oracle"


class Missing(str):
    """Why there is no number."""

    __slots__ = ()


Value = float | Missing
Floats = NDArray[np.float64]


def parted(metric: str) -> tuple[str, str]:
    """The kind and the threshold of a metric's name; a family's name may hold a colon, a threshold's does not."""
    kind, colon, threshold = metric.rpartition(":")
    return (kind, threshold) if colon else (metric, "")


def percent(rate: float) -> str:
    return f"{100 * rate:g}"


@dataclass(frozen=True)
class Families:
    """The attacks' families: the name and the number of attacks of each, and how many attacks have none."""

    sizes: Mapping[str, int]
    unnamed: int

    @property
    def lacking(self) -> Missing | None:
        """Why there is no worst family, or None where there is one."""
        if not self.sizes:
            return Missing("no family is known")
        if self.unnamed:
            return Missing(f"{self.unnamed} attacks have no family")
        if all(n < LEAST for n in self.sizes.values()):
            return Missing(f"no family has {LEAST} attacks")
        return None

    def few(self, name: str) -> Missing | None:
        """Why a family's rate is not given, or None where it is."""
        n = self.sizes.get(name, 0)
        if not n:
            return Missing("no attack of this family")
        return Missing(f"{n} attack{'s' if n > 1 else ''} of at least {LEAST}") if n < LEAST else None


def families_of(family: NDArray[np.int32], bonafide: NDArray[np.bool_], names: Sequence[str]) -> Families:
    """family (N,) codes, -1 for none."""
    counts = np.bincount(family[~bonafide] + 1, minlength=len(names) + 1).tolist()
    return Families({names[code]: n for code, n in enumerate(counts[1:]) if n}, counts[0])


def threshold_at_apcer(scores: Floats, bonafide: NDArray[np.bool_], apcer: float) -> float | Missing:
    """The least candidate threshold (a distinct score of either class, or +inf) whose APCER <= apcer.

    Missing where there are too few attacks to tell such a rate from none.
    """
    attack = np.sort(scores[~bonafide])
    if missing := too_few(attack.size, apcer):
        return missing
    rejected = least_rejected(attack.size, np.arange(attack.size + 1), apcer)
    if not rejected:
        return float(scores.min())
    above = scores[scores > attack[rejected - 1]]
    return float(above.min()) if above.size else math.inf


def too_few(attacks: int, apcer: float) -> Missing | None:
    """Why an APCER so small cannot be told from none, or None where it can."""
    least = math.ceil(1 / apcer - 1e-9)
    return Missing(f"{attacks} attacks of at least {least}") if attacks < least else None


def least_rejected(total: int, below: NDArray[np.int64], apcer: float) -> int:
    """How many of the lowest attacks have to be rejected for an APCER <= apcer, by the very division that reports it.

    below (n + 1,): the attacks, or their weights, among the lowest 0, 1, … n; total is the last of them.
    """
    return bisect_left(range(below.size), True, key=lambda j: (total - int(below[j])) / total <= apcer)


def bpcer_at_apcer(scores: Floats, bonafide: NDArray[np.bool_], groups: Sequence[Floats], apcer: float) -> float:
    """The least BPCER at which no group of attacks has an APCER above `apcer`, over the thresholds of the set itself.

    groups: the scores of all attacks, or of each family apart.
    """
    cut = -math.inf  # the highest attack that must be rejected
    for group in groups:
        ordered = np.sort(group)
        rejected = least_rejected(ordered.size, np.arange(ordered.size + 1), apcer)
        cut = max(cut, float(ordered[rejected - 1])) if rejected else cut
    live = scores[bonafide]
    return float(np.count_nonzero(live <= cut) / live.size)


def measured(
    scores: Floats,
    bonafide: NDArray[np.bool_],
    family: NDArray[np.int32],
    names: Sequence[str],
    thresholds: Mapping[str, Value],
    at_apcer: Mapping[float, Value],
) -> dict[str, Value]:
    """Every metric of a set.

    scores, bonafide, family (N,); names of the families by code; `thresholds` those that were fixed elsewhere, by name;
    `at_apcer` the development's thresholds for `RATES`.
    """
    attack = ~bonafide
    rate, own = metrics.eer(scores, bonafide)
    out: dict[str, Value] = {"auc": metrics.auc(scores, bonafide), "eer": rate}
    families = families_of(family, bonafide, names)
    for name, threshold in (*thresholds.items(), (ORACLE, own)):
        of_threshold: dict[str, Value]
        if isinstance(threshold, Missing):
            kinds = ("hter", "accuracy", "apcer", *(f"apcer/{f}" for f in families.sizes), "apcer_max", "bpcer", "acer")
            of_threshold = dict.fromkeys(kinds, threshold)
        else:
            of_threshold = _at(scores, bonafide, family, names, families, threshold)
        out |= {f"{kind}:{name}": value for kind, value in of_threshold.items()}
    attacks = scores[attack]
    by_family = [attacks[family[attack] == code] for code, name in enumerate(names) if name in families.sizes]
    for x in RATES:
        out[f"bpcer_at_{percent(x)}:{DEVELOPMENT}"] = threshold = at_apcer.get(x, Missing("no development split"))
        out[f"apcer_at_{percent(x)}:{DEVELOPMENT}"] = threshold
        if not isinstance(threshold, Missing):
            far, frr = metrics.far_frr(scores, bonafide, threshold)
            out[f"bpcer_at_{percent(x)}:{DEVELOPMENT}"] = frr
            out[f"apcer_at_{percent(x)}:{DEVELOPMENT}"] = far
    for x in RATES:
        out[f"bpcer_at_{percent(x)}:{ORACLE}"] = too_few(attacks.size, x) or bpcer_at_apcer(
            scores, bonafide, [attacks], x
        )
        out[f"bpcer_at_{percent(x)}_worst:{ORACLE}"] = worst_lacking(families, x) or bpcer_at_apcer(
            scores, bonafide, by_family, x
        )
    return out


def worst_lacking(families: Families, apcer: float) -> Missing | None:
    """Why there is no BPCER at an APCER of the worst family, or None where there is one."""
    if not families.sizes or families.unnamed:
        return families.lacking
    name, n = min(families.sizes.items(), key=lambda item: item[1])
    missing = too_few(n, apcer)
    return Missing(f"{name}: {missing}") if missing else None


def _at(
    scores: Floats,
    bonafide: NDArray[np.bool_],
    family: NDArray[np.int32],
    names: Sequence[str],
    families: Families,
    threshold: float,
) -> dict[str, Value]:
    """The metrics of one threshold."""
    attack = ~bonafide
    far, frr = metrics.far_frr(scores, bonafide, threshold)
    live = int(np.count_nonzero(bonafide))
    out: dict[str, Value] = {
        "hter": (far + frr) / 2,
        "accuracy": 1 - (far * (bonafide.size - live) + frr * live) / bonafide.size,
        "apcer": far,
    }
    rates = metrics.apcer(scores[attack], family[attack], threshold)
    found = {name: rates[str(code)] for code, name in enumerate(names) if name in families.sizes}
    for name, value in found.items():
        out[f"apcer/{name}"] = families.few(name) or value
    worst = families.lacking or max(value for name, value in found.items() if not families.few(name))
    out["apcer_max"] = worst
    out["bpcer"] = frr
    out["acer"] = worst if isinstance(worst, Missing) else (worst + frr) / 2
    return out
