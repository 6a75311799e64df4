"""Resamples of a test set's subjects, and every metric in each.

The frames of one person are alike, so a resample draws subjects with all their samples, as `numbers.bootstrap` does,
whose strata these are; where subjects are not known, samples. Methods and seeds meet the same resamples of a set, and
so do sets of the same subjects. Thresholds that were fixed elsewhere stay; those of the test set are found anew.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from paper_tables.evaluation.estimates import Estimate, Number, Worst, combined, exact_bound
from paper_tables.evaluation.measures import (
    DEVELOPMENT,
    LEAST,
    ORACLE,
    RATES,
    Families,
    Missing,
    Value,
    bpcer_at_apcer,
    families_of,
    least_rejected,
    parted,
    percent,
    too_few,
    worst_lacking,
)
from paper_tables.evaluation.samples import Samples
from paper_tables.numbers.bootstrap import Resample, ranked, strata

_BLOCK = 2**23  # numbers that are drawn at a time
_PARTS = 100  # in which the subjects of a stratum are left out, one after another
Floats = NDArray[np.float64]
Counts = NDArray[np.int64]
Name = TypeVar("Name")
Sum = list[tuple[float, str]]  # of metrics by name, each with its weight


@dataclass(frozen=True)
class Units:
    """Who is resampled of a set: `kind` is subject or sample. `keys` (U,) are their codes or hashes, ascending."""

    kind: str
    keys: NDArray[np.int64]
    strata: tuple[NDArray[np.int64], ...]

    @property
    def name(self) -> str:
        """What seeds the draws: the same for the same subjects in the same classes."""
        digest = hashlib.sha256(self.keys.tobytes())
        for members in self.strata:
            digest.update(members.tobytes() + b"|")
        return digest.hexdigest()

    def numbers(self, samples: Samples) -> NDArray[np.int64]:
        """The number of each sample's unit (N,)."""
        keys = _keys(self.kind, samples)
        return np.searchsorted(self.keys, keys)


def units_of(kind: str, several: Sequence[Samples]) -> Units:
    """The units of a set that all of `several` are samples of."""
    keys = np.concatenate([_keys(kind, samples) for samples in several])
    bonafide = np.concatenate([samples.bonafide for samples in several])
    distinct, number = np.unique(keys, return_inverse=True)
    return Units(kind, distinct, tuple(strata(number, bonafide, distinct.size)))


def kind_of(several: Sequence[Samples]) -> str:
    """By what a set can be resampled: subject, sample where some subject is unknown, row where there are no ids."""
    if all((samples.subject >= 0).all() for samples in several):
        return "subject"
    return "sample" if all(samples.ids is not None for samples in several) else "row"


def _keys(kind: str, samples: Samples) -> NDArray[np.int64]:
    if kind == "subject":
        return samples.subject.astype(np.int64)
    if kind == "sample":
        assert samples.ids is not None
        return samples.ids[:, 0]
    return np.arange(samples.score.size)


def draws(units: Units, replicates: int) -> Iterator[Counts]:
    """How often each unit stands in each resample, blocks of (B, U): `replicates` random ones in all."""
    generator = np.random.default_rng([20250225, int(units.name[:16], 16)])
    rows = max(1, min(replicates, _BLOCK // max(units.keys.size, 1)))
    for first in range(0, replicates, rows):
        block = np.zeros((min(rows, replicates - first), units.keys.size), np.int64)
        for counts in block:
            for members in units.strata:
                drawn = generator.integers(members.size, size=members.size)
                counts[members] = np.bincount(drawn, minlength=members.size)
        yield block


def left_out(units: Units) -> tuple[list[NDArray[np.int64]], NDArray[np.int64]]:
    """Parts of each stratum, to be left out one after another, and the number of each part's stratum (J,)."""
    parts, of_stratum = [], []
    for number, members in enumerate(units.strata):
        if members.size > 1:
            split = np.array_split(members, min(members.size, _PARTS))
            parts += split
            of_stratum += [number] * len(split)
    return parts, np.array(of_stratum, np.int64)


class Resampled:
    """The metrics of one set of samples in resamples of its units."""

    def __init__(
        self,
        samples: Samples,
        units: Units,
        names: Sequence[str],
        thresholds: Mapping[str, Value],
        at_apcer: Mapping[float, Value],
        values: Mapping[str, Value],
    ) -> None:
        """`names` of the families by code, and what `measures.measured` was given, and gave."""
        self.units = units
        score, bonafide, attack = samples.score, samples.bonafide, ~samples.bonafide
        number = units.numbers(samples)
        self.ranking = ranked(score, bonafide, number)
        self.live, self.attack = np.sort(score[bonafide]), np.sort(score[attack])
        families = families_of(samples.family, bonafide, names)
        self.families = {name: (samples.family == code) & attack for code, name in enumerate(names)
                         if name in families.sizes}  # fmt: skip
        self.of_family: dict[str, tuple[Floats, NDArray[np.int64]]] = {}
        for name, members in self.families.items():
            order = np.argsort(score[members], kind="stable")
            self.of_family[name] = score[members][order], number[members][order]
        self.pooled = [x for x in RATES if too_few(self.attack.size, x) is None]
        self.by_worst = [x for x in RATES if worst_lacking(families, x) is None]
        self.fixed = {name: value for name, value in thresholds.items() if not isinstance(value, Missing)}
        self.limits = {x: value for x, value in at_apcer.items() if not isinstance(value, Missing)}
        columns: list[Floats] = []  # a number a unit each: how many of its samples are, or are accepted

        def column(chosen: NDArray[np.bool_]) -> int:
            columns.append(np.bincount(number[chosen], minlength=units.keys.size).astype(np.float64))
            return len(columns) - 1

        self.totals = {"": column(attack), "bona fide": column(bonafide)}
        self.totals |= {f"/{name}": column(members) for name, members in self.families.items()}
        self.errors: dict[tuple[str, str], int] = {}
        for name, threshold in [*self.fixed.items(), *((f"@{x}", value) for x, value in self.limits.items())]:
            accepted = score >= threshold
            self.errors[name, ""] = column(attack & accepted)
            self.errors[name, "bona fide"] = column(bonafide & ~accepted)
            if name in self.fixed:
                for family, members in self.families.items():
                    self.errors[name, f"/{family}"] = column(members & accepted)
        self.columns = np.stack(columns, axis=1)  # (U, K)
        self.worst = self._worst(families, values)
        self.values = {key: value for key, value in values.items()
                       if not isinstance(value, Missing) and key not in self.worst}  # fmt: skip
        for x in self.by_worst:
            for name, (scores, _) in self.of_family.items():
                self.values[_alone(x, name)] = bpcer_at_apcer(score, bonafide, [scores], x)
        self.sizes = {
            which: int(np.count_nonzero(self.columns[:, place])) for which, place in self.totals.items()
        }  # how many units have samples of a class or family

    def _worst(self, families: Families, values: Mapping[str, Value]) -> dict[str, tuple[float, list[Sum]]]:
        """Each metric that is the greatest of a sum of others over the families: its value, and those sums."""
        counted = [name for name, n in families.sizes.items() if n >= LEAST]
        made: dict[str, list[Sum]] = {}
        for threshold in (*self.fixed, ORACLE):
            made[f"apcer_max:{threshold}"] = [[(1.0, f"apcer/{name}:{threshold}")] for name in counted]
            made[f"acer:{threshold}"] = [
                [(0.5, f"apcer/{name}:{threshold}"), (0.5, f"bpcer:{threshold}")] for name in counted
            ]
        for x in self.by_worst:  # the threshold that all families need is the highest that one needs
            made[f"bpcer_at_{percent(x)}_worst:{ORACLE}"] = [[(1.0, _alone(x, name))] for name in self.families]
        known = {key: values[key] for key in made}
        return {key: (value, made[key]) for key, value in known.items() if not isinstance(value, Missing)}

    def metrics(self, counts: Counts) -> dict[str, Floats]:
        """Every metric but the worst of families, in each of the resamples `counts` (B, U): (B,) each."""
        sums = counts @ self.columns  # (B, K); exact, as whole numbers below 2^53 are
        out: dict[str, Floats] = {}
        with np.errstate(invalid="ignore", divide="ignore"):
            for name in self.fixed:
                out |= self._fixed(name, sums)
            for x in self.limits:
                out[f"bpcer_at_{percent(x)}:{DEVELOPMENT}"] = self._rate(sums, f"@{x}", "bona fide")
                out[f"apcer_at_{percent(x)}:{DEVELOPMENT}"] = self._rate(sums, f"@{x}", "")
        own = [self._own(count) for count in counts]
        return {
            key: out[key] if key in out else np.array([values.get(key, np.nan) for values in own])
            for key in self.values
        }

    def _rate(self, sums: Floats, threshold: str, which: str) -> Floats:
        return sums[:, self.errors[threshold, which]] / sums[:, self.totals[which]]

    def _fixed(self, name: str, sums: Floats) -> dict[str, Floats]:
        far, frr = self._rate(sums, name, ""), self._rate(sums, name, "bona fide")
        wrong = sums[:, self.errors[name, ""]] + sums[:, self.errors[name, "bona fide"]]
        every = sums[:, self.totals[""]] + sums[:, self.totals["bona fide"]]
        by_family = {family: self._rate(sums, name, f"/{family}") for family in self.families}
        out = {"hter": (far + frr) / 2, "accuracy": 1 - wrong / every, "apcer": far, "bpcer": frr}
        out |= {f"apcer/{family}": rate for family, rate in by_family.items()}
        return {f"{kind}:{name}": rate for kind, rate in out.items()}

    def _own(self, count: Counts) -> dict[str, float]:
        """The metrics of one resample that take no threshold, or the resample's own."""
        resample = Resample(self.ranking, count)
        if not (resample.n_live and resample.n_attack):
            return {}  # of a method that was not tested on all of the set's subjects
        at = resample.threshold("eer")
        accepted, rejected = resample.errors(at)
        far, frr = accepted / resample.n_attack, rejected / resample.n_live
        out = {"auc": resample.auc(), "eer": (far + frr) / 2}
        below = {
            family: np.append(0, count[subject].cumsum()) for family, (_, subject) in self.of_family.items()
        }  # of each family: its samples among the lowest 0, 1, …
        threshold = self.ranking.thresholds[at]
        by_family = {}
        for family, (scores, _) in self.of_family.items():
            total = int(below[family][-1])
            passed = total - int(below[family][np.searchsorted(scores, threshold)])
            by_family[family] = passed / total if total else np.nan
        of_own = {"hter": (far + frr) / 2, "apcer": far, "bpcer": frr}
        of_own["accuracy"] = 1 - (accepted + rejected) / (resample.n_attack + resample.n_live)
        of_own |= {f"apcer/{family}": rate for family, rate in by_family.items()}
        out |= {f"{kind}:{ORACLE}": rate for kind, rate in of_own.items()}
        for x in self.pooled:
            out[f"bpcer_at_{percent(x)}:{ORACLE}"] = self._bpcer_at(resample, self.attack, resample.attacks, x)
        for x in self.by_worst:
            for family, (scores, _) in self.of_family.items():
                out[_alone(x, family)] = self._bpcer_at(resample, scores, below[family], x)
        return out

    def _bpcer_at(self, resample: Resample, scores: Floats, below: Counts, apcer: float) -> float:
        """Of attacks with these scores, ascending; below (n + 1,) counts those among the lowest 0, 1, …"""
        total = int(below[-1])
        if not total:
            return np.nan
        rejected = least_rejected(total, below, apcer)
        cut = scores[rejected - 1] if rejected else -np.inf
        return int(resample.live[np.searchsorted(self.live, cut, side="right")]) / resample.n_live

    def slack(self, key: str) -> tuple[float, float]:
        """How far exact bounds over subjects widen the interval of a metric, below and above: where a rate of it is 0
        or 1, no resample can show another."""
        kind, name = parted(key)
        family = kind.removeprefix("apcer") if kind.startswith("apcer/") else ""
        if kind in ("bpcer", "apcer") or family or kind.startswith(("bpcer_at", "apcer_at")):
            return self._of_rate(key, family or ("bona fide" if kind.startswith("bpcer") else ""))
        if kind in ("auc", "eer"):
            bound = exact_bound(min(self.sizes[""], self.sizes["bona fide"]))
            return (bound if self.values[key] == 1 else 0.0, bound if self.values[key] == 0 else 0.0)
        attacks, live = self.slack(f"apcer:{name}"), self.slack(f"bpcer:{name}")
        if kind == "accuracy":
            n_attack, n_live = self.attack.size, self.live.size
            below, above = ((n_attack * attacks[i] + n_live * live[i]) / (n_attack + n_live) for i in (1, 0))
            return below, above
        return (attacks[0] + live[0]) / 2, (attacks[1] + live[1]) / 2

    def _of_rate(self, key: str, which: str) -> tuple[float, float]:
        bound = exact_bound(self.sizes[which])
        return (bound if self.values[key] == 1 else 0.0, bound if self.values[key] == 0 else 0.0)

    def lacking(self, key: str) -> tuple[int, Missing | None]:
        """How many subjects a metric rests on, and why they are too few for an interval."""
        kind, _ = parted(key)
        rate, slash, family = kind.partition("/")
        which = ["bona fide"] if kind == "bpcer" else [slash + family]
        which += ["bona fide"] if rate not in ("apcer", "bpcer") else []
        n = min(self.sizes[w] for w in which)
        return n, Missing(
            "one subject alone" if self.units.kind == "subject" else "one sample alone"
        ) if n < 2 else None


def _alone(x: float, family: str) -> str:
    """The name of the BPCER at which one family alone has at most an APCER of x; no table shows it."""
    return f"bpcer_at_{percent(x)}/{family}:{ORACLE}"


def estimates(
    several: Mapping[Name, Resampled], units: Units, replicates: int, tick: Callable[[int], None]
) -> dict[Name, dict[str, Number]]:
    """Each metric of each of `several`, which share their units; `tick` is told how many passes are done."""
    found: dict[Name, list[dict[str, Floats]]] = {name: [] for name in several}
    for block in draws(units, replicates):
        for name, resampled in several.items():
            found[name].append(resampled.metrics(block))
            tick(block.shape[0])
    parts, of_stratum = left_out(units)
    for part in parts:
        counts = np.ones((1, units.keys.size), np.int64)
        counts[:, part] = 0
        for name, resampled in several.items():
            found[name].append(resampled.metrics(counts))
            tick(1)
    out: dict[Name, dict[str, Number]] = {}
    for name, resampled in several.items():
        out[name] = {}
        for key in found[name][0]:
            values = np.concatenate([block[key] for block in found[name]])
            change = values[replicates:]
            for number in np.unique(of_stratum):
                members = of_stratum == number
                change[members] = np.nanmean(change[members]) - change[members]
            n, why = resampled.lacking(key)
            below, above = resampled.slack(key)
            changes = {units.name: change}
            out[name][key] = Estimate(resampled.values[key], values[:replicates], changes, below, above, n, why)
        for key, (value, sums) in resampled.worst.items():
            out[name][key] = Worst(value, _ever_worst([_added(out[name], terms) for terms in sums]))
    return out


def _added(known: Mapping[str, Number], terms: Sum) -> Estimate:
    whole = combined([(weight, known[key]) for weight, key in terms])
    assert isinstance(whole, Estimate)
    return whole


def _ever_worst(families: Sequence[Estimate]) -> tuple[Estimate, ...]:
    """Those that are the greatest in some resample, or in the set itself."""
    values = np.stack([np.append(one.value, one.resampled) for one in families if one.resampled is not None])
    greatest = np.fmax.reduce(values)
    return tuple(one for one, own in zip(families, values, strict=True) if (own >= greatest).any())
