"""The questions asked of any table: what its printed numbers and its file state, and whether that can hold.

A statement can be contradicted only by printed numbers and by what the file states (`Table.states`, `counts`,
`averages`, `gains`); where a check would need more, it ends as undetermined and says what to state.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from decimal import Decimal
from fractions import Fraction
from functools import partial
from itertools import product

from paper_tables.audit import bounds, comparisons, counts, weights
from paper_tables.audit.check.table import Average, Cell, Column, Counts, Gain, Table
from paper_tables.audit.claim import OBSERVATION, Claim, Result, Verdict, holds, needs_data, observed, undetermined
from paper_tables.audit.metrics import METRICS
from paper_tables.audit.printing import PRINTINGS, Printed

FEWEST = 100  # samples of a class: with fewer, or without a number, a bound of equal error rates decides nothing
MOST = 10_000  # the greatest N tried; of that many, every share with two decimals is one
SAME_SCORES = "both numbers are of the same scores: one system, one epoch, or means over the same runs"


def claims(t: Table) -> Iterator[Claim[Table]]:
    """Every statement that can be asked of this table."""
    for ask in (averages, weighted, half_sums, auc_bounds, auc_points, whole_counts, shares, marks, gains):
        yield from ask(t)
    for note in (totals, cells_alike, missing):
        yield from note(t)


def unless(stated: bool) -> Verdict:
    """What a failed check is worth: contradicted if the file states what it rests on."""
    return "contradicted" if stated else "undetermined"


# --- averages ---------------------------------------------------------------------------------------------


def averages(t: Table) -> Iterator[Claim[Table]]:
    for a in t.averages:
        if a.weights is None:
            continue
        for own, parts in _averaged(t, a):
            for row, _ in t.pairs(own, *parts):
                yield Claim(
                    id=f"average/{row}/{own.name}",
                    place=f"{row}, {own.name}",
                    kind="arithmetic",
                    says=f"the {'mean' if a.equal else 'weighted mean'} of {', '.join(a.of)}",
                    decide=partial(average, row=row, own=own, parts=parts, of=a),
                    between="the average and the columns of the same row",
                    assumes=f"the heading “{a.set}” means the plain mean of {', '.join(a.of)}" * (not a.stated),
                    explains="an average of another version of the row, of other columns, or with other weights",
                    settles="the average computed again" if a.stated else f"[averages] with an entry {a.set}",
                )


def _averaged(t: Table, a: Average) -> Iterator[tuple[Column, list[Column]]]:
    """Each column of an average with the columns that it averages; none where one is not in the table."""
    for own in t.columns:
        parts = [t.column(s, own.metric, own.at) for s in a.of] if own.set == a.set else []
        if parts and all(parts):
            yield own, [c for c in parts if c]


def average(t: Table, row: str, own: Column, parts: list[Column], of: Average) -> Result:
    assert of.weights is not None
    printed, cells = t.rows[row][own.name].value, [t.rows[row][c.name].value for c in parts]
    total = sum(of.weights.values())
    share = [Fraction(of.weights[s]) / Fraction(total) for s in of.of]
    mean = sum(w * Fraction(x) for w, x in zip(share, cells, strict=True))
    terms = " + ".join(
        map(str, cells) if of.equal else (f"{of.weights[s]} × {x}" for s, x in zip(of.of, cells, strict=True))
    )
    lines = [f"({terms}) / {len(cells) if of.equal else total} = {float(mean):.4f}; printed {printed}."]
    if not min(cells) <= printed <= max(cells):
        lines.append("The printed value lies outside the range of its own columns, so that no weights give it.")
    possible = comparisons.mean_range([t.points(x) for x in cells], share)
    return holds(
        comparisons.overlap(t.points(printed), possible),
        f"{float(Fraction(printed) - mean):+.4f}",
        *lines,
        otherwise=unless(of.stated),
    )


def weighted(t: Table) -> Iterator[Claim[Table]]:
    """Whether any weights give the averages whose weights are not printed, and which would give those that fail."""
    for a in t.averages:
        if a.weights is None:
            for own, parts in _averaged(t, a):
                for row, _ in t.pairs(own, *parts):
                    yield Claim(
                        id=f"average/{row}/{own.name}",
                        place=f"{row}, {own.name}",
                        kind="arithmetic",
                        says=f"a weighted mean of {', '.join(a.of)}, whatever the weights",
                        decide=partial(between_columns, row=row, own=own, parts=parts),
                        between="the average and the columns of the same row",
                        explains="an average of another version of the row, or of other columns",
                        settles="the weights",
                    )
            yield Claim(
                id=f"weights/{a.set}",
                place=a.set,
                kind="arithmetic",
                says="one weight a set gives all printed averages",
                decide=partial(one_vector, a=a),
                between="all averages and their columns",
                assumes="all rows and metrics are averaged with the same weights",
                explains="weights that differ between metrics, or rows scored on other samples",
                settles="the weights",
            )
        elif any(
            average(t, row, *x, a).verdict != "confirmed" for x in _averaged(t, a) for row, _ in t.pairs(*x[:1], *x[1])
        ):
            yield Claim(
                id=f"weights/{a.set}",
                place=a.set,
                kind=OBSERVATION,
                says="which weights, one a set, would give all printed averages",
                decide=partial(explaining, a=a),
                settles="the weights, or the averages computed again",
            )


def between_columns(t: Table, row: str, own: Column, parts: list[Column]) -> Result:
    printed, cells = t.rows[row][own.name].value, [t.rows[row][c.name].value for c in parts]
    ranges = [t.points(x) for x in cells]
    return holds(
        comparisons.overlap(t.points(printed), (min(x for x, _ in ranges), max(x for _, x in ranges))),
        f"{printed} of {min(cells)} to {max(cells)}",
        f"The columns print {', '.join(map(str, cells))}; the average {printed}.",
    )


def _system(t: Table, a: Average) -> tuple[list[list[float]], list[list[float]], list[float], list[float]]:
    """What the cells and the averages of all rows and metrics stand for, least and greatest."""
    low, high, least, most = [], [], [], []
    for own, parts in _averaged(t, a):
        for _, (mine, *cells) in t.pairs(own, *parts):
            ranges = [t.points(c.value) for c in cells]
            low.append([float(x) for x, _ in ranges])
            high.append([float(x) for _, x in ranges])
            least.append(float(t.points(mine.value)[0]))
            most.append(float(t.points(mine.value)[1]))
    return low, high, least, most


def one_vector(t: Table, a: Average) -> Result:
    system = _system(t, a)
    if not system[2]:
        return undetermined("no row", "No row prints the average and all of its columns.")
    found = weights.ranges(*system)
    if found is None:
        return holds(False, "none", _misses(t, a), otherwise=unless(t.states.same_samples))
    return holds(True, _ranges(a, found), f"They give all {len(system[2])} averages: {_ranges(a, found)}.")


def explaining(t: Table, a: Average) -> Result:
    found = weights.ranges(*_system(t, a))
    return observed(
        "none" if found is None else _ranges(a, found), _misses(t, a) if found is None else "They give all."
    )


def _ranges(a: Average, found: list[tuple[float, float]]) -> str:
    return ", ".join(f"{s} {low:.4f} to {high:.4f}" for s, (low, high) in zip(a.of, found, strict=True))


def _misses(t: Table, a: Average) -> str:
    system = _system(t, a)
    error, vector = weights.least_error(*system)
    best = ", ".join(f"{s} {w:.3f}" for s, w in zip(a.of, vector, strict=True))
    return (
        f"No weights give all {len(system[2])} averages; those that miss by the least, {best}, miss one by {error:.2f}."
    )


# --- half sums --------------------------------------------------------------------------------------------


def half_sums(t: Table) -> Iterator[Claim[Table]]:
    for group, (metric, parts) in product(t.sets, (("acer", ("apcer", "bpcer")), ("hter", ("far", "frr")))):
        own, *both = (t.column(group, m) for m in (metric, *parts))
        for row, _ in t.pairs(own, *both):
            names = " and ".join(METRICS[m].printed for m in parts)
            yield Claim(
                id=f"half sum/{row}/{own.name if own else ''}",
                place=f"{row}, {own.name if own else ''}",
                kind="arithmetic",
                says=f"{METRICS[metric].printed} is half the sum of {names}",
                decide=partial(half_sum, row=row, columns=[c for c in (own, *both) if c]),
                between=f"{METRICS[metric].printed} and the {names} of the same row",
                assumes="all three are taken at one threshold, and means are taken over the same runs",
                explains="a half sum of other rates, such as the mean over kinds of attack, or a slip",
                settles="the rates at the threshold" if t.states.half_sums else "half_sums = true in [states]",
            )


def half_sum(t: Table, row: str, columns: list[Column]) -> Result:
    own, first, second = (t.rows[row][c.name].value for c in columns)
    half = comparisons.mean_range([t.points(first), t.points(second)], [Fraction(1, 2)] * 2)
    return holds(
        comparisons.overlap(t.points(own), half),
        f"{own - (first + second) / 2:+}",
        f"({first} + {second}) / 2 = {(first + second) / 2}; printed {own}.",
        otherwise=unless(t.states.half_sums),
    )


# --- an error rate beside the AUC -------------------------------------------------------------------------


def auc_bounds(t: Table) -> Iterator[Claim[Table]]:
    for group, metric in product(t.tested, ("hter", "eer")):
        columns = [c for c in (t.column(group, metric), t.column(group, "auc")) if c]
        if len(columns) < 2:
            continue
        for row, _ in t.pairs(*columns):
            yield Claim(
                id=f"auc/{row}/{columns[0].name}",
                place=f"{row}, {columns[0].name} and {columns[1].name}",
                kind="bound between metrics",
                says=f"this {METRICS[metric].printed} and this AUC can come from one set of scores",
                decide=partial(auc_bound, row=row, columns=columns),
                between="the two numbers of the same row",
                assumes=_threshold(t, group, metric),
                explains="numbers of two epochs or outputs, another threshold, or a misplaced decimal point",
                settles=_settles(t, group, metric),
            )


def _threshold(t: Table, group: str, metric: str) -> str:
    if metric == "eer" or t.states.hter == "eer":
        return f"{SAME_SCORES}; at the threshold the two rates differ by one of {_fewest(t, group)} samples at most"
    if t.states.hter == "lowest":
        return f"{SAME_SCORES}; the HTER is the lowest over all thresholds, as the file states"
    return f"{SAME_SCORES}; the threshold may be any"


def _fewest(t: Table, group: str) -> int:
    """The smaller number of samples of a class, as the file states it; FEWEST where it does not."""
    own = t.counts.get(group, Counts())
    return min(own.bonafide, own.attack) if own.bonafide and own.attack else t.states.each_class or FEWEST


def _settles(t: Table, group: str, metric: str) -> str:
    if metric == "hter" and not t.states.hter:
        return 'hter = "eer", "lowest" or "fixed" in [states]'
    if (metric == "eer" or t.states.hter == "eer") and not _enough(t, group):
        return f"[counts] of the set, or each_class in [states], {FEWEST} samples or more"
    return "the scores, or both numbers with more digits"


def _enough(t: Table, group: str) -> bool:
    """The file states that each class has FEWEST samples or more, so that one of them moves a rate by little."""
    return _fewest(t, group) >= FEWEST and bool(t.states.each_class or t.counts.get(group))


def auc_bound(t: Table, row: str, columns: list[Column]) -> Result:
    rate_column = columns[0]
    printed, printed_auc = (t.rows[row][c.name].value for c in columns)
    rate, auc = t.fractions(printed), t.fractions(printed_auc)
    name = METRICS[rate_column.metric].printed
    low, high = bounds.auc_range_of_half_sum(rate[1])[0], bounds.auc_range_of_half_sum(rate[0])[1]
    room = min(auc[1] - low, high - auc[0])
    line = f"{name} {printed} at any threshold allows an AUC of {low:.4%} to {high:.4%}; printed {printed_auc}."
    if room < -1e-12:
        return holds(False, f"room {100 * room:+.4f}", line)
    if t.states.hter == "fixed" and rate_column.metric == "hter":
        return holds(True, f"room {100 * room:+.4f}", line)
    if t.states.hter == "lowest" and rate_column.metric == "hter":
        high = bounds.youden_auc(min(rate[0], 0.5))
        line = f"HTER {printed} as the lowest of all leaves an AUC of at most {high:.4%}; printed {printed_auc}."
        return holds(high - auc[0] >= -1e-12, f"room {100 * (high - auc[0]):+.4f}", line)
    group = rate_column.set
    low, high, room = bounds.auc_room(rate, auc, 1 / _fewest(t, group))
    stated = rate_column.metric == "eer" or t.states.hter == "eer"
    enough = _enough(t, group)
    lines = [
        f"{name} {printed} as the equal error rate allows an AUC of {low:.4%} to {high:.4%}; printed {printed_auc}."
    ]
    if room < -1e-12 and not enough:
        lines.append(f"In a class of fewer than {FEWEST} samples ties and single ones can move the rates further.")
    if room < -1e-12 and not stated:
        lines.append("A threshold fixed elsewhere allows more; the file does not state which it was.")
    return holds(room >= -1e-12, f"room {100 * room:+.4f}", *lines, otherwise=unless(stated and enough))


def auc_points(t: Table) -> Iterator[Claim[Table]]:
    """The true positive rate at a stated false positive rate is a point of the ROC curve."""
    for column in t.columns:
        auc = t.column(column.set, "auc")
        if column.metric == "tpr" and column.at and column.at[0] == "far" and auc:
            for row, _ in t.pairs(column, auc):
                yield Claim(
                    id=f"auc/{row}/{column.name}",
                    place=f"{row}, {column.name} and {auc.name}",
                    kind="bound between metrics",
                    says="this point of the ROC curve and this AUC can come from one set of scores",
                    decide=partial(auc_point, row=row, column=column, auc=auc),
                    between="the two numbers of the same row",
                    assumes=f"{SAME_SCORES}; FPR is not above the stated one by more than one of "
                    f"{_fewest(t, column.set)} samples",
                    explains="numbers of two epochs or outputs, or a slip",
                    settles="the scores",
                )


def auc_point(t: Table, row: str, column: Column, auc: Column) -> Result:
    assert column.at is not None
    printed, printed_auc = t.rows[row][column.name].value, t.rows[row][auc.name].value
    tpr, far, area = t.fractions(printed), t.fractions(column.at[1]), t.fractions(printed_auc)
    low = bounds.auc_range_of_point(min(1.0, far[1] + 1 / _fewest(t, column.set)), 1 - tpr[0])[0]
    room = area[1] - low
    line = f"{column.label} {printed} makes an AUC of {low:.4%} at least; printed {printed_auc}."
    return holds(room >= -1e-12, f"room {100 * room:+.4f}", line)


# --- whole numbers of samples -----------------------------------------------------------------------------


def whole_counts(t: Table) -> Iterator[Claim[Table]]:
    for column in t.columns:
        own = t.counts.get(column.set)
        if own is None or not _countable(own, column):
            continue
        for row, cell in t.cells(column).items():
            if cell.spread is None:
                yield Claim(
                    id=f"counts/{row}/{column.name}",
                    place=f"{row}, {column.name}",
                    kind="feasibility on integer counts",
                    says="the rate is one of whole numbers of the stated samples",
                    decide=partial(whole_count, row=row, column=column, own=own),
                    between="the printed rate and the stated numbers of samples",
                    assumes="the rate is counted over the stated samples, in one run",
                    explains="a mean over runs or folds, an interpolated rate, or another number of samples",
                    settles="the number of samples, or the errors"
                    if t.states.same_samples
                    else "same_samples = true in [states]",
                )


def _countable(own: Counts, column: Column) -> bool:
    over = METRICS[column.metric].over
    if over == "both":
        return bool(own.totals("bona fide") and own.totals("attack"))
    return over != "none" and bool(own.totals(over))


def whole_count(t: Table, row: str, column: Column, own: Counts) -> Result:
    printed, over = t.rows[row][column.name].value, METRICS[column.metric].over
    share = t.shares(printed)
    if over == "both":
        live, attacks = own.totals("bona fide")[0], own.totals("attack")[: 1 if column.metric == "hter" else None]
        for attack in attacks:
            pair = next(bounds.hter_counts(t.fractions(printed), live, attack), None)
            if pair:
                line = f"{pair[0]} of {attack} attacks and {pair[1]} of {live} bona fide samples give {printed}."
                return holds(True, f"{pair[0]}/{attack}, {pair[1]}/{live}", line)
        return _no_counts(t, column, f"No errors among {_either(attacks)} attacks and {live} bona fide give {printed}.")
    totals = own.totals(over)
    for total in totals:
        k = counts.count_within(share, total)
        if k is not None:
            line = f"{k} of {total} is {100 * k / total:.4f} %; printed {printed}."
            return holds(True, f"{k}/{total}", line, _either_way(printed, totals))
    near = min((abs(Fraction(k, n) - Fraction(printed) / 100), k, n) for n in totals for k in _around(printed, n))
    line = f"No k of {_either(totals)} prints as {printed}; {near[1]} of {near[2]} is {100 * near[1] / near[2]:.4f} %."
    return _no_counts(t, column, line)


def _either_way(printed: Decimal, totals: list[int]) -> str:
    """Which counts print as the rate if it was rounded, and which if it was cut."""
    found = []
    for way in PRINTINGS:
        fitting = ((counts.count_within(Printed(printing=way).shares(printed), total), total) for total in totals)
        found.append(next((f"{way} {k} of {total}" for k, total in fitting if k is not None), f"{way} none"))
    return f"Read as {', as '.join(found)}."


def _no_counts(t: Table, column: Column, line: str) -> Result:
    """No whole numbers give the rate: impossible only for a rate that nobody interpolates, on stated samples."""
    interpolated = column.at is not None or (column.metric == "hter" and t.states.hter in ("", "eer"))
    lines = [line]
    if interpolated:
        lines.append("A rate that is read off an interpolated ROC curve need not be one of whole numbers.")
    if not t.states.same_samples:
        lines.append("The file does not state that all rows are scored on these samples.")
    return holds(False, "none", *lines, otherwise=unless(t.states.same_samples and not interpolated))


def _around(printed: Decimal, total: int) -> list[int]:
    k = counts.least_count(Fraction(printed) / 100, total)
    return [x for x in (k - 1, k) if 0 <= x <= total]


def _either(totals: list[int]) -> str:
    return " or ".join(map(str, totals))


def totals(t: Table) -> Iterator[Claim[Table]]:
    """Which N fits all rates of a set that are shares of the same samples."""
    for group, over in product(t.tested, ("all", "bona fide", "attack")):
        columns = [c for c in t.columns if c.set == group and METRICS[c.metric].over == over and not c.at]
        printed = {x.value for c in columns for x in t.cells(c).values() if x.spread is None}
        if len(printed) > 1:
            yield Claim(
                id=f"total/{', '.join(c.name for c in columns)}",
                place=", ".join(c.name for c in columns),
                kind=OBSERVATION,
                says="which N, a number of samples, fits all rates of the column",
                decide=partial(fitting, printed=printed),
                assumes="all rows are scored on the same samples, in one run each"
                + "; an APCER that is the greatest of several kinds of attack is of one kind" * (over == "attack"),
                settles="the number of samples",
            )


def fitting(t: Table, printed: set[Decimal]) -> Result:
    cut, rounded = (counts.fitting_totals(printed, p, MOST) for p in ("cut", "rounded"))
    figure = ", ".join(
        f"{name} {found[0] if found else 'none'}" for name, found in (("cut", cut), ("rounded", rounded))
    )
    return observed(
        figure,
        *(
            f"{name}: {len(found):,} of the numbers up to {MOST:,} fit all {len(printed)} different rates"
            + (f", the least {', '.join(map(str, found[:5]))}." if found else ".")
            for name, found in (("Cut", cut), ("Rounded", rounded))
        ),
    )


# --- accuracies at a stated operating point ---------------------------------------------------------------


def shares(t: Table) -> Iterator[Claim[Table]]:
    for group in t.tested:
        columns = [c for c in t.columns if (c.set, c.metric) == (group, "accuracy") and _point(t, c)]
        for column in columns:
            rows = list(t.cells(column))
            for row in rows:
                yield Claim(
                    id=f"operating point/{row}/{column.name}",
                    place=f"{row}, {column.name}",
                    kind="bound between metrics",
                    says="the accuracy can be taken at the stated operating point",
                    decide=partial(one_accuracy, row=row, column=column),
                    between="the numbers of the row and the stated operating point",
                    assumes=_at_the_point(t, column),
                    explains="a threshold that was fixed on another set and carried over",
                    settles="the set on which the threshold was taken",
                )
            if len(rows) > 1:
                yield Claim(
                    id=f"operating point/{column.name}",
                    place=column.name,
                    kind="bound between metrics",
                    says="one share of bona fide samples fits the accuracies of all rows at the stated operating point",
                    decide=partial(all_accuracies, column=column),
                    between="the accuracies of the column and the stated operating point",
                    assumes=f"{_at_the_point(t, column)}; all rows are scored on the same samples",
                    explains="a threshold that was fixed on another set and carried over, or rows of other samples",
                    settles="the set on which the threshold was taken"
                    if t.states.same_samples
                    else "same_samples = true in [states]",
                )


def _point(t: Table, column: Column) -> tuple[str, Decimal] | None:
    return column.at or t.states.accuracy


def _at_the_point(t: Table, column: Column) -> str:
    metric, value = _point(t, column) or ("", Decimal(0))
    printed, samples = METRICS[metric].printed, _fewest(t, column.set)
    return f"the threshold is taken on the tested set, where {printed} is {value} %, to one of {samples} samples"


def live_shares(t: Table, row: str, column: Column) -> tuple[float, float]:
    """The least and the greatest share of bona fide samples that a row's numbers allow at the operating point."""
    metric, value = _point(t, column) or ("", Decimal(0))
    cells = t.rows[row]
    eer_column = t.column(column.set, "eer") or (t.column(column.set, "hter") if t.states.hter == "eer" else None)
    eer, auc = _printed(t, cells, eer_column), _printed(t, cells, t.column(column.set, "auc"))
    gap = 1 / _fewest(t, column.set)
    eer = (max(0.0, eer[0] - gap / 2), min(1.0, eer[1] + gap / 2)) if _enough(t, column.set) else (0.0, 1.0)
    held = t.fractions(value)
    step = 1 / _fewest(t, column.set)
    # An APCER may be the greatest of several kinds of attack, and the share of all attacks is then smaller.
    held = (0.0 if metric == "apcer" else max(0.0, held[0] - step), min(1.0, held[1] + step))
    low, high = bounds.live_shares(t.fractions(cells[column.name].value), eer, auc, held)
    return (low, high) if metric in ("bpcer", "frr") else (1 - high, 1 - low)


def _printed(t: Table, cells: Mapping[str, Cell], column: Column | None) -> tuple[float, float]:
    return t.fractions(cells[column.name].value) if column and column.name in cells else (0.0, 1.0)


def one_accuracy(t: Table, row: str, column: Column) -> Result:
    low, high = live_shares(t, row, column)
    own = t.counts.get(column.set, Counts())
    if low > high + 1e-9:
        return holds(False, "no share", "No share of bona fide samples allows the numbers of the row.")
    if own.bonafide and own.samples:
        share = own.bonafide / own.samples
        possible = low - 1e-9 <= share <= high + 1e-9
        line = f"Possible with {low:.2%} to {high:.2%} bona fide; stated {own.bonafide} of {own.samples}, {share:.2%}."
        return (
            undetermined(f"{share:.1%} of {low:.1%} to {high:.1%}", line)
            if possible
            else holds(False, f"{share:.1%} is not {low:.1%} to {high:.1%}", line)
        )
    return undetermined(
        f"{low:.1%} to {high:.1%} bona fide",
        f"Possible with {low:.2%} to {high:.2%} bona fide samples, which does not show that it was done.",
    )


def all_accuracies(t: Table, column: Column) -> Result:
    found = {row: live_shares(t, row, column) for row in t.cells(column)}
    least, most, first, above = comparisons.one_for_all(found)
    above = [(low, row) for low, row in above if low > most + 1e-9]
    if not above:
        return undetermined(
            f"{least:.1%} to {most:.1%} fits all", f"Every row is possible with {least:.2%} to {most:.2%} bona fide."
        )
    listing = ", ".join(f"{row} {low:.2%}" for low, row in above)
    return holds(
        False,
        f"at most {most:.1%}, at least {above[0][0]:.1%} to {above[-1][0]:.1%}",
        f"{first} needs at most {most:.2%} bona fide samples; {len(above)} rows need at least: {listing}.",
        otherwise=unless(t.states.same_samples),
    )


# --- marks, gains, cells alike ----------------------------------------------------------------------------


def marks(t: Table) -> Iterator[Claim[Table]]:
    for column in t.columns:
        bold = [row for row, cell in t.cells(column).items() if cell.bold]
        if bold:
            yield Claim(
                id=f"bold/{column.name}",
                place=f"{column.name}, bold",
                kind="ranking",
                says=f"{' and '.join(bold)}, in bold, has the best {column.label}",
                decide=partial(mark, column=column, bold=bold),
                between="the numbers of the column",
                explains="a mark with another meaning, or of another version of the table",
                settles="more digits, or the mark corrected" if t.states.bold else 'bold = "best" in [states]',
            )


def mark(t: Table, column: Column, bold: list[str]) -> Result:
    value = t.values(column)
    ranked, best = comparisons.ranked(value, column.metric), comparisons.best(value, column.metric)
    listing = f"Ranked: {', '.join(f'{row} {value[row]}' for row in ranked)}."
    if set(bold) == set(best):
        other = next((f" before {value[row]}" for row in ranked if row not in best), "")
        return holds(True, f"{value[best[0]]}{other}", listing)
    worse = [row for row in bold if row not in best and _worse(t, value[row], value[best[0]], column)]
    if not worse:
        return undetermined(f"{len(best)} rows at {value[best[0]]}", listing)
    return holds(
        False, f"{value[worse[0]]} in bold, {value[best[0]]} printed", listing, otherwise=unless(bool(t.states.bold))
    )


def _worse(t: Table, marked: Decimal, best: Decimal, column: Column) -> bool:
    """A marked number is worse than the best one, also if the one with fewer digits hides what would make it better."""
    if marked.as_tuple().exponent == best.as_tuple().exponent:
        return True
    (low, high), (best_low, best_high) = t.points(marked), t.points(best)
    return low > best_high if METRICS[column.metric].lower_is_better else high < best_low


def gains(t: Table) -> Iterator[Claim[Table]]:
    for i, g in enumerate(t.gains, 1):
        yield Claim(
            id=f"gain/{i}",
            place=f"{g.row}, {g.column}",
            kind="text against table",
            says=f"the stated gain of {g.value} is that over {g.over or 'the best of the others (no row is named)'}",
            decide=partial(gain, g=g),
            quote=g.quote,
            explains="a row that was added or changed after the sentence was written",
            settles="the gain restated" if g.over else "over, the row that is meant, in the [[gain]]",
        )


def gain(t: Table, g: Gain) -> Result:
    column = next(c for c in t.columns if c.name == g.column)
    value = t.values(column)
    rivals = [row for row in value if row != g.row]
    second = min(rivals, key=lambda row: comparisons.ranked(value, column.metric).index(row), default=None)
    rival = second if g.over in ("", "second best") else g.over
    if rival is None:
        return undetermined("no other row", "The column holds no other number.")
    ahead = comparisons.lead(value[g.row], value[rival], column.metric)
    meant = [row for row in rivals if _is_gain(t, g, value[g.row], value[row], column)]
    others = f"; it is to {', '.join(meant)}" if meant else "; it is to no row of the column"
    fits = rival in meant
    return holds(
        fits,
        f"{g.value} stated, {ahead} to {rival}",
        f"{g.row} {value[g.row]}, {rival} {value[rival]}: {ahead} points, {_percent(ahead, value[rival])} of "
        f"{value[rival]}. Stated {g.value}{'' if fits else others}.",
        otherwise=unless(bool(g.over)),
    )


def _percent(ahead: Decimal, rival: Decimal) -> str:
    return f"{float(100 * ahead / rival):.2f} %" if rival else "no share"


def _is_gain(t: Table, g: Gain, ours: Decimal, theirs: Decimal, column: Column) -> bool:
    """The stated number is the difference of the two, in points or as a share of the other, as far as digits tell."""
    low, high = t.points(g.value)
    own, other = t.points(ours), t.points(theirs)
    least, most = (other[0] - own[1], other[1] - own[0])
    if not METRICS[column.metric].lower_is_better:
        least, most = own[0] - other[1], own[1] - other[0]
    points = least <= high and low <= most
    ends = [100 * x / y for x in (least, most) for y in other if y > 0]
    relative = bool(ends) and min(ends) <= high and low <= max(ends)
    return (points and g.kind != "relative") or (relative and g.kind != "points")


def cells_alike(t: Table) -> Iterator[Claim[Table]]:
    if len(t.rows) > 1:
        yield Claim(
            id="identical cells",
            place="all columns",
            kind=OBSERVATION,
            says="which two rows print the same numbers most often",
            decide=alike,
            explains="methods that are alike, or a slip when the table was put together",
            settles="the scores of the two methods",
        )


def alike(t: Table) -> Result:
    often = {c.name: Counter(t.values(c).values()) for c in t.columns}
    own = {
        row: {name: x.value for name, x in cells.items() if often[name][x.value] == 2} for row, cells in t.rows.items()
    }
    pairs = {rows: names for rows, names in comparisons.alike(own).items() if names}
    most = max((len(names) for names in pairs.values()), default=0)
    if not most:
        return observed("none", "No two rows print the same number in a column, numbers of three rows and more aside.")
    lines = (
        f"{a} and {b}: {', '.join(f'{name} {own[a][name]}' for name in names)}."
        for (a, b), names in pairs.items()
        if len(names) == most
    )
    return observed(
        f"{most} alike",
        *lines,
        f"{len(pairs)} pairs of rows share a number; those of three rows and more are left out.",
    )


# --- what is not stated -----------------------------------------------------------------------------------


def missing(t: Table) -> Iterator[Claim[Table]]:
    """The checks that could not be made, and the statement that each of them needs."""
    countable = [s for s in t.tested if any(c.set == s and METRICS[c.metric].over != "none" for c in t.columns)]
    without = [s for s in countable if s not in t.counts]
    metrics = {c.metric for c in t.columns}
    unpointed = any(c.metric == "accuracy" and not _point(t, c) for c in t.columns)
    for name, says, lacking, key in (
        (
            "counts" if without else "",
            "each rate is one of whole numbers of samples",
            f"the numbers of samples of {_names(without)}",
            "{ bonafide = …, attack = … } for each set, in [counts]",
        ),
        (
            "operating point" if unpointed else "",
            "the accuracies can be taken at one operating point",
            "the operating point of the accuracies",
            'accuracy = { bpcer = "1" } in [states], if the paper says so',
        ),
        (
            "threshold" if {"hter", "auc"} <= metrics and not t.states.hter else "",
            "the HTERs go with the AUCs at the threshold that the paper uses",
            "the rule of the threshold",
            'hter = "eer", "lowest" or "fixed" in [states], if the paper says so',
        ),
    ):
        if name:
            why = f"The file does not state {lacking}."
            yield needs_data(f"needs/{name}", "the whole table", says, why, figure="not stated", settles=key)


def _names(sets: list[str]) -> str:
    return ", ".join(f"“{s}”" if s else "the columns that name no set (“”)" for s in sets)
