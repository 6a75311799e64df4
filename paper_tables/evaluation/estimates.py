"""A metric with all that its interval takes, and sums of such metrics: means over seeds and sets, differences.

An interval is a bootstrap's, bias-corrected and accelerated (BCa: Efron 1987), at levels that are widened for the
number of subjects as Student's t is beside the normal distribution (Hesterberg 2015). It holds what it says where
errors were seen. Where none was seen, no resample shows one either: an exact bound over subjects (Clopper and Pearson
1934) is added there.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm, t

from paper_tables.evaluation.measures import Missing

LEVEL = 0.95
MOST_LEFT_OUT = 0.05  # share of the resamples that may lack what is measured
Floats = NDArray[np.float64]


def exact_bound(units: int) -> float:
    """The greatest rate that `units` independent subjects without an error leave possible, two-sided."""
    return float(1 - ((1 - LEVEL) / 2) ** (1 / units))


@dataclass(frozen=True)
class Estimate:
    """A metric's value; its value in each of R resamples; for each draw, by name, what leaving out some subjects of it
    would change (J,), centred by stratum; how far exact bounds widen the interval below and above; and how many
    subjects it rests on. `why` says why there is no interval."""

    value: float
    resampled: Floats | None = None
    influence: Mapping[str, Floats] = field(default_factory=dict)
    below: float = 0.0
    above: float = 0.0
    units: int = 0
    why: Missing | None = None


@dataclass(frozen=True)
class Interval:
    """The 95 % interval; `exact` where it is a bound over subjects alone, `widened` where one was added."""

    low: float
    high: float
    exact: bool
    widened: bool


def combined(terms: Sequence[tuple[float, Estimate]]) -> Estimate:
    """The sum of the estimates, each times its weight."""
    influence: dict[str, Floats] = {}
    for weight, term in terms:
        for name, change in term.influence.items():
            influence[name] = influence.get(name, 0) + weight * change
    below = sum(abs(w) * (term.below if w > 0 else term.above) for w, term in terms)
    above = sum(abs(w) * (term.above if w > 0 else term.below) for w, term in terms)
    resampled = [(weight, term.resampled) for weight, term in terms]
    return Estimate(
        sum(weight * term.value for weight, term in terms),
        None if any(x is None for _, x in resampled) else sum((w * x for w, x in resampled if x is not None), 0.0),  # type: ignore[arg-type]
        influence,
        below,
        above,
        min(term.units for _, term in terms),
        next((term.why for _, term in terms if term.why), None),
    )


def mean(estimates: Sequence[Estimate], weights: Sequence[float] | None = None) -> Estimate:
    """Their mean, by `weights` if there are any."""
    weights = [1.0] * len(estimates) if weights is None else weights
    return combined([(weight / sum(weights), estimate) for weight, estimate in zip(weights, estimates, strict=True)])


def interval(estimate: Estimate, least: float = 0.0) -> Interval | Missing:
    """The interval of an estimate that lies between `least` and 1, or why there is none."""
    if estimate.why:
        return estimate.why
    if estimate.resampled is None:
        return Missing("no resamples were asked for")
    values = estimate.resampled[np.isfinite(estimate.resampled)]
    if values.size < (1 - MOST_LEFT_OUT) * estimate.resampled.size:
        return Missing("too few subjects: a resample often holds none of them")
    widened = estimate.below > 0 or estimate.above > 0
    constant = float(np.ptp(values)) < 1e-12
    if constant and not widened:
        if least == 0.0 or estimate.value != 0:
            return Missing("all resamples give the same number")
        return Interval(-exact_bound(estimate.units), exact_bound(estimate.units), True, True)  # no subject differs
    low, high = (estimate.value, estimate.value) if constant else _bca(estimate, values)
    return Interval(max(low - estimate.below, least), min(high + estimate.above, 1.0), constant, widened)


def _bca(estimate: Estimate, values: Floats) -> tuple[float, float]:
    centre = norm.ppf(np.clip(_rank(values, estimate.value), 1 / values.size, 1 - 1 / values.size))
    change = np.concatenate([*estimate.influence.values(), np.zeros(1)])
    change = change[np.isfinite(change)]
    power = float((change**2).sum()) ** 1.5
    acceleration = float((change**3).sum()) / (6 * power) if power > 0 else 0.0
    n = max(estimate.units, 2)
    reach = math.sqrt(n / (n - 1)) * t.ppf((1 + LEVEL) / 2, n - 1)
    levels = []
    for z in (-reach, reach):
        shifted = centre + z
        levels.append(float(norm.cdf(centre + shifted / max(1 - acceleration * shifted, 1e-6))))
    low, high = np.quantile(values, levels)
    return float(low), float(high)


def _rank(values: Floats, value: float) -> float:
    """The share of resamples below the value; those that equal it count half."""
    return float(np.mean(values < value - 1e-12) + np.mean(values <= value + 1e-12)) / 2
