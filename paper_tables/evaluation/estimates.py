"""A metric with all that its interval takes, and sums of such metrics: means over seeds and sets, differences.

An interval is a bootstrap's, bias-corrected and accelerated (BCa: Efron 1987), at levels that are widened for the
number of subjects as Student's t is beside the normal distribution (Hesterberg 2015). It holds what it says where
errors were seen. Where none was seen, no resample shows one either: an exact bound over subjects (Clopper and Pearson
1934) is added there.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm, t

from paper_tables.evaluation.measures import Missing

LEVEL = 0.95
_TAIL = (1 - LEVEL) / 2
MOST_PAIRS = 400  # of families that may be the worst ones, in a difference or a mean
MOST_LEFT_OUT = 0.05  # share of the resamples that may lack what is measured
Floats = NDArray[np.float64]


def exact_bound(units: int) -> float:
    """The greatest rate that `units` independent subjects without an error leave possible, two-sided."""
    return float(1 - _TAIL ** (1 / units))


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


NOTHING = Estimate(0.0)  # what adds nothing to a sum


@dataclass(frozen=True)
class Worst:
    """The greatest of `plus` less the greatest of `minus`, such as the APCER of the worst family.

    Which family is truly the worst is not known, and the resamples of a maximum lie too high where several are alike,
    so its interval is made of those of the families.
    """

    value: float
    plus: tuple[Estimate, ...]
    minus: tuple[Estimate, ...] = (NOTHING,)


Number = Estimate | Worst


@dataclass(frozen=True)
class Interval:
    """The 95 % interval; `exact` where it is a bound over subjects alone, `widened` where one was added."""

    low: float
    high: float
    exact: bool
    widened: bool


def combined(terms: Sequence[tuple[float, Number]]) -> Number:
    """The sum of the estimates, each times its weight."""
    simple = [(weight, term) for weight, term in terms if isinstance(term, Estimate)]
    whole = _sum(simple) if simple else NOTHING
    several = [(weight, term) for weight, term in terms if isinstance(term, Worst)]
    if not several:
        return whole
    plus, minus = [whole], [NOTHING]
    for weight, term in several:
        gains, losses = (term.plus, term.minus) if weight > 0 else (term.minus, term.plus)
        plus = [_sum([(1.0, one), (abs(weight), gain)]) for one in plus for gain in gains]
        minus = [_sum([(1.0, one), (abs(weight), loss)]) for one in minus for loss in losses]
        if len(plus) * len(minus) > MOST_PAIRS:
            why = Missing("too many families may be the worst ones")
            plus, minus = [replace(plus[0], why=why)], [NOTHING]
    return Worst(sum(weight * term.value for weight, term in terms), tuple(plus), tuple(minus))


def _sum(terms: Sequence[tuple[float, Estimate]]) -> Estimate:
    terms = [(weight, term) for weight, term in terms if term is not NOTHING]
    if not terms:
        return NOTHING
    influence: dict[str, Floats] = {}
    for weight, term in terms:
        for name, change in term.influence.items():
            influence[name] = influence.get(name, 0) + weight * change
    resampled = [(weight, term.resampled) for weight, term in terms]
    known = [weight * values for weight, values in resampled if values is not None]
    return Estimate(
        sum(weight * term.value for weight, term in terms),
        np.sum(known, axis=0) if len(known) == len(terms) else None,
        influence,
        sum(abs(w) * (term.below if w > 0 else term.above) for w, term in terms),
        sum(abs(w) * (term.above if w > 0 else term.below) for w, term in terms),
        min(term.units for _, term in terms),
        next((term.why for _, term in terms if term.why), None),
    )


def mean(estimates: Sequence[Number], weights: Sequence[float] | None = None) -> Number:
    """Their mean, by `weights` if there are any."""
    weights = [1.0] * len(estimates) if weights is None else weights
    return combined([(weight / sum(weights), estimate) for weight, estimate in zip(weights, estimates, strict=True)])


def interval(number: Number, least: float = 0.0) -> Interval | Missing:
    """The interval of a number that lies between `least` and 1, or why there is none."""
    return _of_worst(number, least) if isinstance(number, Worst) else _interval(number, least, _TAIL, _TAIL)


def _of_worst(number: Worst, least: float) -> Interval | Missing:
    """The lower end is the highest that holds for one of `plus`, whichever of `minus` is subtracted, at levels that
    share the error among `plus`; the upper end likewise the other way round."""
    rows = []
    for plus in number.plus:
        of_plus = []
        for minus in number.minus:
            pair = _sum([(1.0, plus), (-1.0, minus)])
            found = _interval(pair, least, _TAIL / len(number.plus), _TAIL / len(number.minus))
            if isinstance(found, Missing):
                return found
            of_plus.append(found)
        rows.append(of_plus)
    low = max(min(one.low for one in of_plus) for of_plus in rows)
    high = min(max(of_plus[j].high for of_plus in rows) for j in range(len(number.minus)))
    every = [one for of_plus in rows for one in of_plus]
    return Interval(low, high, all(one.exact for one in every), any(one.widened for one in every))


def _interval(estimate: Estimate, least: float, below: float, above: float) -> Interval | Missing:
    """`below` and `above`: how often the interval may lie above and below the truth."""
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
    low, high = (estimate.value, estimate.value) if constant else _bca(estimate, values, below, above)
    return Interval(max(low - estimate.below, least), min(high + estimate.above, 1.0), constant, widened)


def _bca(estimate: Estimate, values: Floats, below: float, above: float) -> tuple[float, float]:
    centre = norm.ppf(np.clip(_rank(values, estimate.value), 1 / values.size, 1 - 1 / values.size))
    change = np.concatenate([*estimate.influence.values(), np.zeros(1)])
    change = change[np.isfinite(change)]
    power = float((change**2).sum()) ** 1.5
    acceleration = float((change**3).sum()) / (6 * power) if power > 0 else 0.0
    n = max(estimate.units, 2)
    levels = []
    for tail, side in ((below, -1), (above, 1)):
        shifted = centre - side * math.sqrt(n / (n - 1)) * t.ppf(tail, n - 1)
        levels.append(float(norm.cdf(centre + shifted / max(1 - acceleration * shifted, 1e-6))))
    low, high = np.quantile(values, levels)
    return float(low), float(high)


def _rank(values: Floats, value: float) -> float:
    """The share of resamples below the value; those that equal it count half."""
    return float(np.mean(values < value - 1e-12) + np.mean(values <= value + 1e-12)) / 2
