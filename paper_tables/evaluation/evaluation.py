"""Everything that an evaluation says: the numbers of each method on each set, their averages, and the differences
between methods."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations

import numpy as np

from data_manifests.errors import BadInput
from paper_tables.evaluation.estimates import Estimate, Interval, Number, combined, interval, mean
from paper_tables.evaluation.meaning import Pool
from paper_tables.evaluation.measures import DEVELOPMENT, GIVEN, Missing, Value, measured
from paper_tables.evaluation.resamples import Resampled, Units, estimates, kind_of, left_out, units_of
from paper_tables.evaluation.samples import NO_DEVELOPMENT, Judged, Samples, judged, sets_of
from paper_tables.evaluation.stated import Stated
from paper_tables.numbers.cells import mean_sd

WEIGHTED, PLAIN = "weighted", "plain"
Numbers = dict[str, "Number | Missing"]  # of each metric


@dataclass(frozen=True)
class Figure:
    """A metric as it is shown, in fractions: the mean over n seeds with their sample standard deviation, and the
    interval; or why one of them is lacking."""

    value: float | Missing
    sd: float | None = None
    n: int = 1
    interval: Interval | Missing | None = None


Figures = dict[str, Figure]


@dataclass(frozen=True)
class SetResult:
    """A test set: how many samples of each class and subjects the first method has there, by what it is resampled, and
    every method's figures."""

    name: str
    bona_fide: int
    attacks: int
    subjects: int
    kind: str
    least: int  # subjects of the class that has fewer
    figures: dict[str, Figures]


@dataclass(frozen=True)
class Difference:
    """The first method's figures less the second's, on the samples of a set that both have scores of."""

    set: str
    first: str
    second: str
    samples: int
    left_out: int
    figures: Figures | Missing


@dataclass(frozen=True)
class Evaluation:
    """The whole: `averages` by kind and method, empty for a single set."""

    runs: tuple[Judged, ...]
    turned: Mapping[str, bool]
    replicates: int
    sets: tuple[SetResult, ...]
    averages: dict[str, dict[str, Figures]]
    differences: tuple[Difference, ...]
    unused: Mapping[str, tuple[str, ...]]
    folders: tuple[str, ...]
    command: str

    @property
    def methods(self) -> list[str]:
        return list(dict.fromkeys(run.method for run in self.runs))


def evaluate(
    pool: Pool, stated: Stated, command: str, progress: Callable[[int, int], None] = lambda done, total: None
) -> Evaluation:
    """Judge everything. `command` is what the evaluation says that made it; `progress` is told how many resamples are
    done, of how many. Raises BadInput."""
    runs = judged(pool, stated)
    names = [name if name.strip() else "" for name in pool.words["family"].names]
    parts = [_Set(name, [run for run in runs if name in run.tests], names) for name in sets_of(runs)]
    total, done = sum(part.passes(stated.replicates) for part in parts), 0

    def tick(n: int) -> None:
        nonlocal done
        done += n
        progress(done, total)

    for part in parts:
        part.compute(stated.replicates, tick)
    methods = list(dict.fromkeys(run.method for run in runs))
    averages = {kind: _averages(parts, runs, methods, kind) for kind in (WEIGHTED, PLAIN)} if len(parts) > 1 else {}
    differences = tuple(difference for part in parts for difference in part.differences())
    results = tuple(part.result() for part in parts)
    of_files = (pool.unused, pool.folders, command)
    return Evaluation(tuple(runs), pool.turned, stated.replicates, results, averages, differences, *of_files)


Group = tuple[str, ...]  # the whole of a run: method, seed; the common part of a pair: method, seed, first, second


class _Set:
    """One test set, of all runs that were tested on it."""

    def __init__(self, name: str, runs: Sequence[Judged], names: Sequence[str]) -> None:
        self.name, self.runs, self.names = name, runs, names
        self.samples: dict[Group, Samples] = {(run.method, run.seed): run.tests[name] for run in runs}
        self.of_run = {(run.method, run.seed): run for run in runs}
        self.kind = kind_of([*self.samples.values()])
        self.methods = list(dict.fromkeys(run.method for run in runs))
        self.pairs = [*combinations(self.methods, 2)]
        self.common: dict[tuple[str, str], tuple[int, int] | Missing] = {}  # samples that a pair has, and has not, both
        for pair in self.pairs:
            self.common[pair] = self._pair(*pair)
        self.numbers: dict[Group, Numbers] = {}

    @cached_property
    def units(self) -> dict[Group, Units]:
        """Who is resampled, of each group; the same for all where they can be told apart."""
        if self.kind == "row":
            return {group: units_of(self.kind, [samples]) for group, samples in self.samples.items()}
        return dict.fromkeys(self.samples, units_of(self.kind, [*self.samples.values()]))

    def passes(self, replicates: int) -> int:
        """How often the samples of a group are looked at for the intervals."""
        if not replicates:
            return 0
        return sum(replicates + len(left_out(units)[0]) for units in self.units.values())

    def _of(self, *methods: str) -> list[Group]:
        return [(run.method, run.seed) for run in self.runs if run.method in methods]

    def _pair(self, first: str, second: str) -> tuple[int, int] | Missing:
        """How many samples both methods have, in all their seeds; where those are not all, they become groups."""
        whole = self._of(first, second)
        ids = [self.samples[group].ids for group in whole]
        known = [x for x in ids if x is not None]
        if len(known) < len(ids):
            return Missing("no sample_id says which samples are the same")
        shared = known[0][:, 0]
        for other in known[1:]:
            shared = np.intersect1d(shared, other[:, 0])
        if not shared.size:
            return Missing("no sample in common")
        classes = []
        for group, own in zip(whole, known, strict=True):
            samples = self.samples[group]
            rows = np.flatnonzero(np.isin(own[:, 0], shared))
            rows = rows[np.argsort(own[rows, 0], kind="stable")]
            part = samples.only(rows)
            classes.append(part.bonafide)
            if (part.bonafide != classes[0]).any():
                where = f" of {self.name}" if self.name else ""
                n = int(np.count_nonzero(part.bonafide != classes[0]))
                raise BadInput(
                    f"{first} and {second}: {n} samples{where} are bona fide by one and attacks by the other; give "
                    "each sample_id one class"
                )
            if any(rows.size < len(x) for x in known):
                self.samples[*group, first, second] = part
        if classes[0].all() or not classes[0].any():
            return Missing("the samples in common are of one class")
        everyone = max(len(x) for x in known)
        return shared.size, everyone - shared.size

    def compute(self, replicates: int, tick: Callable[[int], None]) -> None:
        values: dict[Group, dict[str, Value]] = {}
        resampled: dict[Group, Callable[[Units], Resampled]] = {}
        for group, samples in self.samples.items():
            run = self.of_run[group[0], group[1]]
            development = run.development.get(self.name)
            thresholds: dict[str, Value] = {DEVELOPMENT: development.threshold if development else NO_DEVELOPMENT}
            thresholds |= {} if run.given is None else {GIVEN: run.given}
            at_apcer = development.at_apcer if development else {}
            values[group] = measured(samples.score, samples.bonafide, samples.family, self.names, thresholds, at_apcer)
            resampled[group] = _later(samples, self.names, thresholds, at_apcer, values[group])
        found: dict[Group, dict[str, Number]]
        if not replicates:
            found = {group: {k: Estimate(v) for k, v in of.items() if not isinstance(v, Missing)}
                     for group, of in values.items()}  # fmt: skip
        elif self.kind == "row":
            found = {}
            for group, units in self.units.items():
                found |= estimates({group: resampled[group](units)}, units, replicates, tick)
        else:
            several = {group: make(self.units[group]) for group, make in resampled.items()}
            found = estimates(several, next(iter(self.units.values())), replicates, tick)
        for group, of in values.items():
            self.numbers[group] = {k: v if isinstance(v, Missing) else found[group][k] for k, v in of.items()}

    def metrics(self) -> list[str]:
        """Every metric of any run, in the order in which they are shown."""
        return list(dict.fromkeys(key for numbers in self.numbers.values() for key in numbers))

    def mean(self, groups: Sequence[Group], key: str) -> "tuple[Number, list[float]] | Missing":
        """The mean over the seeds and each seed's value."""
        absent = Missing("no threshold was given" if key.endswith(f":{GIVEN}") else "no attack of this family")
        found = [self.numbers[group].get(key, absent) for group in groups]
        return _mean(found, self.kind)

    def result(self) -> SetResult:
        first = next(iter(self.samples.values()))
        attacks = int(np.count_nonzero(~first.bonafide))
        live, every = first.bonafide.size - attacks, first.bonafide.size
        classes = [live, attacks]  # how many of those who are resampled each class has
        if self.kind == "subject":
            every = int(np.count_nonzero(np.bincount(first.subject)))
            classes = [int(np.count_nonzero(np.bincount(first.subject[first.bonafide == b]))) for b in (True, False)]
        keys = self.metrics()
        figures = {name: {key: _figure(self.mean(self._of(name), key)) for key in keys} for name in self.methods}
        return SetResult(self.name, live, attacks, every, self.kind, min(classes), figures)

    def differences(self) -> Iterator[Difference]:
        for first, second in self.pairs:
            common = self.common[first, second]
            if isinstance(common, Missing):
                yield Difference(self.name, first, second, 0, 0, common)
                continue
            figures = {}
            for key in self.metrics():
                if not key.startswith("apcer/"):
                    of = [self.mean(self._part(method, first, second), key) for method in (first, second)]
                    figures[key] = _difference(*of)
            yield Difference(self.name, first, second, *common, figures)

    def _part(self, method: str, first: str, second: str) -> list[Group]:
        return [(*g, first, second) if (*g, first, second) in self.samples else g for g in self._of(method)]


def _later(
    samples: Samples,
    names: Sequence[str],
    thresholds: Mapping[str, Value],
    at_apcer: Mapping[float, Value],
    values: Mapping[str, Value],
) -> Callable[[Units], Resampled]:
    return lambda units: Resampled(samples, units, names, thresholds, at_apcer, values)


def _mean(found: Sequence[Number | Missing], kind: str) -> tuple[Number, list[float]] | Missing:
    known = [estimate for estimate in found if not isinstance(estimate, Missing)]
    if len(known) < len(found):
        return next(why for why in found if isinstance(why, Missing))
    whole = mean(known)
    if len(known) > 1 and kind == "row":
        tied = Missing("no sample_id or subject says which samples of the seeds are the same")
        whole = Estimate(whole.value, why=tied)
    return whole, [estimate.value for estimate in known]


def _figure(found: tuple[Number, list[float]] | Missing) -> Figure:
    if isinstance(found, Missing):
        return Figure(found)
    estimate, values = found
    return Figure(estimate.value, mean_sd(values)[1], len(values), interval(estimate))


def _difference(first: tuple[Number, list[float]] | Missing, second: tuple[Number, list[float]] | Missing) -> Figure:
    for one in (first, second):
        if isinstance(one, Missing):
            return Figure(one)
    assert not isinstance(first, Missing)
    assert not isinstance(second, Missing)
    whole = combined([(1.0, first[0]), (-1.0, second[0])])
    return Figure(whole.value, None, min(len(first[1]), len(second[1])), interval(whole, least=-1.0))


def _averages(parts: Sequence[_Set], runs: Sequence[Judged], methods: Sequence[str], kind: str) -> dict[str, Figures]:
    keys = list(dict.fromkeys(key for part in parts for key in part.metrics() if not key.startswith("apcer/")))
    out: dict[str, Figures] = {}
    for method in methods:
        seeds = [run for run in runs if run.method == method]
        out[method] = {}
        for key in keys:
            found = [_average(parts, run, key, kind) for run in seeds]
            out[method][key] = _figure(_mean(found, "row" if any(p.kind == "row" for p in parts) else ""))
    return out


def _average(parts: Sequence[_Set], run: Judged, key: str, kind: str) -> Number | Missing:
    found, weights = [], []
    for part in parts:
        if part.name not in run.tests:
            return Missing(f"not tested on {part.name}")
        number = part.numbers[run.method, run.seed].get(key, Missing("no threshold was given"))
        if isinstance(number, Missing):
            return Missing(f"{part.name}: {number}")
        found.append(number)
        weights.append(float(run.tests[part.name].score.size) if kind == WEIGHTED else 1.0)
    return mean(found, weights)


def samples_of(evaluation: Evaluation, name: str) -> dict[str, list[Samples]]:
    """The samples of a set by method, a seed each, for the curves."""
    return {
        method: [run.tests[name] for run in evaluation.runs if run.method == method and name in run.tests]
        for method in evaluation.methods
        if any(run.method == method and name in run.tests for run in evaluation.runs)
    }
