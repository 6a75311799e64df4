"""Which samples are judged together: of each method and seed the test sets, at the epoch that was asked for, and the
thresholds that its development split fixes."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_manifests.errors import BadInput
from paper_tables.evaluation.columns import Floats, Ids, Words
from paper_tables.evaluation.meaning import Pool
from paper_tables.evaluation.measures import RATES, Missing, threshold_at_apcer
from paper_tables.evaluation.run_folder import DEVELOPMENT, TEST
from paper_tables.evaluation.stated import Stated
from paper_tables.numbers.selection import Record, source_val
from reference import metrics

NO_DEVELOPMENT = Missing("no development split")
_NUMBER = re.compile(r"[+-]?\d+(\.\d*)?")


@dataclass(frozen=True)
class Samples:
    """Samples of one method, seed, epoch and set; scores grow with bona-fide-ness. `family` and `subject` are codes,
    -1 where nothing is known."""

    score: Floats
    bonafide: NDArray[np.bool_]
    family: NDArray[np.int32]
    subject: NDArray[np.int32]
    ids: Ids | None

    def only(self, rows: NDArray[np.int64]) -> "Samples":
        ids = None if self.ids is None else self.ids[rows]
        return Samples(self.score[rows], self.bonafide[rows], self.family[rows], self.subject[rows], ids)


@dataclass(frozen=True)
class Development:
    """What the development samples fix: the threshold of their EER and, for each APCER of `RATES`, the least threshold
    that keeps to it there."""

    bona_fide: int
    attacks: int
    eer: float
    threshold: float
    at_apcer: dict[float, float | Missing]


@dataclass(frozen=True)
class Judged:
    """One method and seed: the epoch, and for each test set its samples and the development samples' thresholds."""

    method: str
    seed: str
    epoch: str
    tests: dict[str, Samples]
    development: dict[str, Development]
    given: float | None  # a threshold that was fixed beforehand
    notes: tuple[str, ...] = ()


def judged(pool: Pool, stated: Stated) -> list[Judged]:
    """Every method and seed in the order of the files. Raises BadInput."""
    return [_judged(pool, stated, *key) for key in _runs(pool)]


def _runs(pool: Pool) -> Iterator[tuple[int, int]]:
    method, seed = pool.words["method"], pool.words["seed"]
    pairs = method.codes.astype(np.int64) * len(seed.names) + seed.codes
    for pair in _in_order(pairs):
        yield divmod(pair, len(seed.names))


def _judged(pool: Pool, stated: Stated, method: int, seed: int) -> Judged:
    words = pool.words
    of_run = pool.rows(method=method, seed=seed)
    name = words["method"].names[method]
    who = name + (f", seed {words['seed'].names[seed]}" if words["seed"].names[seed] else "")
    split = {s: pool.rows(of_run, split=words["split"].code(s)) for s in (DEVELOPMENT, TEST)}
    if not split[TEST].size:
        raise BadInput(f"{pool.place(int(of_run[0]))}: {who} has no sample of the test split; add them or leave it out")
    epoch = _epoch(pool, stated, split, who)
    for part, rows in split.items():
        split[part] = pool.rows(rows, epoch=epoch)
        if rows.size and not split[part].size:
            raise BadInput(
                f"{pool.place(int(rows[0]))}: {who} has no {part} scores of epoch {words['epoch'].names[epoch]}; "
                "choose an epoch that has them with --epoch"
            )
    tests = _by_set(pool, split[TEST], who)
    development = _development(pool, stated, split[DEVELOPMENT], tests, who)
    given = pool.thresholds.get(name)
    sign = -1 if pool.turned[name] else 1
    return Judged(
        name,
        words["seed"].names[seed],
        words["epoch"].names[epoch],
        tests,
        development,
        None if given is None else sign * given,
        tuple(_overlaps(pool, split, who)),
    )


def _epoch(pool: Pool, stated: Stated, split: Mapping[str, NDArray[np.int64]], who: str) -> int:
    """The code of the epoch that is judged. Raises BadInput where there are several and nothing says which."""
    epochs = pool.words["epoch"]
    every = np.concatenate([split[TEST], split[DEVELOPMENT]])
    there = _in_order(epochs.codes[every])
    if len(there) == 1:
        return there[0]
    first = pool.place(int(every[0]))
    names = {epochs.names[code]: code for code in there}
    if not stated.epoch:
        raise BadInput(
            f"{first}: {who} has {len(names)} epochs ({', '.join([*names][:8])}{', …' if len(names) > 8 else ''}); say "
            "which is judged: --epoch last, --epoch development (the one of least EER on the development split) or "
            "--epoch NUMBER; the test split chooses none"
        )
    if stated.epoch not in ("last", "development"):
        if stated.epoch not in names:
            raise BadInput(f"--epoch {stated.epoch}: {who} has the epochs {', '.join(names)}")
        return names[stated.epoch]
    odd = [text for text in names if not _NUMBER.fullmatch(text)]
    if odd:
        raise BadInput(f"{first}: epoch {odd[0]!r} of {who} is no number, so no epoch is the last; say --epoch NAME")
    if stated.epoch == "last":
        return names[max(names, key=float)]
    if not split[DEVELOPMENT].size:
        raise BadInput(
            f"--epoch development: {who} has no development split to choose by; say --epoch last or a number"
        )
    scored: list[int] = []
    records: list[Record] = []
    for text, code in sorted(names.items(), key=lambda item: float(item[0])):
        rows = pool.rows(split[DEVELOPMENT], epoch=code)
        if rows.size:
            _both_classes(pool, rows, f"the development split of {who}, epoch {text},")
            score, bonafide = pool.score[rows], pool.bonafide[rows]
            scored.append(code)
            records.append(Record(len(records), metrics.eer(score, bonafide)[0], metrics.auc(score, bonafide), {}))
    return scored[source_val(records, "", "").epoch]


def _by_set(pool: Pool, rows: NDArray[np.int64], who: str) -> dict[str, Samples]:
    sets = pool.words["set"]
    found = {}
    for code in _in_order(sets.codes[rows]):
        within = pool.rows(rows, set=code) if len(sets.names) > 1 else rows
        what = f"the test set {sets.names[code]} of {who}" if sets.names[code] else f"the test split of {who}"
        _both_classes(pool, within, what)
        _no_duplicates(pool, within, what)
        found[sets.names[code]] = _samples(pool, within)
    return found


def _in_order(codes: NDArray[np.integer[Any]]) -> list[int]:
    """The codes that occur, ascending; words have their codes in the order in which the files name them."""
    there: list[int] = np.flatnonzero(np.bincount(codes)).tolist()
    return there


def _samples(pool: Pool, rows: NDArray[np.int64]) -> Samples:
    whole = rows.size == pool.score.size

    def of(values: NDArray[Any]) -> NDArray[Any]:
        return values if whole else values[rows]

    family, subject = (_known(pool.words[name], of(pool.words[name].codes)) for name in ("family", "subject"))
    return Samples(of(pool.score), of(pool.bonafide), family, subject, None if pool.ids is None else of(pool.ids))


def _known(words: Words, codes: NDArray[np.int32]) -> NDArray[np.int32]:
    nothing = [i for i, name in enumerate(words.names) if not name.strip()]
    return np.where(np.isin(codes, nothing), np.int32(-1), codes) if nothing else codes


def _both_classes(pool: Pool, rows: NDArray[np.int64], what: str) -> None:
    live = int(np.count_nonzero(pool.bonafide[rows]))
    if live in (0, rows.size):
        kind, other = ("bona fide", "attacks") if live else ("attacks", "bona fide samples")
        raise BadInput(
            f"{pool.place(int(rows[0]))}: {what} holds {kind} alone ({rows.size} samples), and error rates take both; "
            f"add its {other}, or leave it out of the file"
        )


def _no_duplicates(pool: Pool, rows: NDArray[np.int64], what: str) -> None:
    if pool.ids is None:
        return
    both = twice(pool.ids[rows])
    if both is not None:
        first, second = sorted(int(rows[i]) for i in both)
        raise BadInput(
            f"{pool.place(second)}: has the sample_id of {pool.place(first)} in {what}; give each sample one score, or "
            "tell methods, seeds and epochs apart by columns of their own"
        )


def twice(ids: Ids) -> tuple[int, int] | None:
    """Two places with the same id, or None where all differ."""
    ordered = np.sort(ids[:, 0])  # a quarter of the time of finding the order
    if not (ordered[1:] == ordered[:-1]).any():
        return None
    order = np.argsort(ids[:, 0], kind="stable")
    same = np.flatnonzero(ids[order[1:], 0] == ids[order[:-1], 0])
    for i in same.tolist():  # half a hash is not enough to call two ids equal
        if ids[order[i], 1] == ids[order[i + 1], 1]:
            return int(order[i]), int(order[i + 1])
    return None


def _development(
    pool: Pool, stated: Stated, rows: NDArray[np.int64], tests: Mapping[str, Samples], who: str
) -> dict[str, Development]:
    """For each test set what fixes its thresholds; none where there is no development split."""
    if not rows.size:
        return {}
    sets = pool.words["set"]
    there = {sets.names[code]: pool.rows(rows, set=code) for code in _in_order(sets.codes[rows])}
    for name, within in there.items():
        _no_duplicates(pool, within, f"the development samples {name} of {who}".replace("  ", " "))
    if len(there) == 1 or stated.development_sets == "all":
        return dict.fromkeys(tests, _fixed(pool, rows, f"the development split of {who}"))
    if stated.development_sets is None:
        raise BadInput(
            f"{pool.place(int(rows[0]))}: the development split of {who} has several sets ({', '.join(there)}); say "
            "--development-sets own if each test set has the threshold of its own development samples, or "
            "--development-sets all if one threshold of all of them serves every test set"
        )
    lacking = [name for name in tests if name not in there]
    if lacking:
        raise BadInput(
            f"--development-sets own: {who} has no development samples of the set {lacking[0]}; add them, or say "
            "--development-sets all"
        )
    return {name: _fixed(pool, there[name], f"the development samples {name} of {who}") for name in tests}


def _fixed(pool: Pool, rows: NDArray[np.int64], what: str) -> Development:
    _both_classes(pool, rows, what)
    score, bonafide = pool.score[rows], pool.bonafide[rows]
    rate, threshold = metrics.eer(score, bonafide)
    at_apcer = {x: threshold_at_apcer(score, bonafide, x) for x in RATES}
    live = int(np.count_nonzero(bonafide))
    return Development(live, rows.size - live, rate, threshold, at_apcer)


def _overlaps(pool: Pool, split: Mapping[str, NDArray[np.int64]], who: str) -> Iterator[str]:
    """What of the development split is in the test split too, so that its threshold has seen the test."""
    if not split[DEVELOPMENT].size:
        return
    if pool.ids is not None:
        own, tested = (np.sort(pool.ids[split[part], 0]) for part in (DEVELOPMENT, TEST))
        nearest = np.minimum(np.searchsorted(tested, own), tested.size - 1)
        shared = int(np.count_nonzero(tested[nearest] == own))
        if shared:
            yield (f"{shared} sample ids of {who} are in its development split and in its test split; if they are the "
                   "same samples, the threshold has seen the test set.")  # fmt: skip
    subject = pool.words["subject"]
    known = [np.bincount(_known(subject, subject.codes[rows]) + 1, minlength=len(subject.names) + 1)[1:] > 0
             for rows in split.values()]  # fmt: skip
    shared = int(np.count_nonzero(np.logical_and(*known)))
    if shared:
        yield f"{shared} subjects of {who} are in its development split and in its test split."


def sets_of(runs: Sequence[Judged]) -> list[str]:
    """The test sets of all methods, in the order of their first appearance."""
    return list(dict.fromkeys(name for run in runs for name in run.tests))
