"""The questions asked of more than one of MMDA's tables: each function yields the claims of one table, or decides one.

Tables 1 to 3 print HTER and AUC of fifteen methods a column; Tables 4 and 5 are ablations of MMDA.
"""

from collections.abc import Iterator
from decimal import ROUND_DOWN, ROUND_HALF_UP, Decimal
from fractions import Fraction
from functools import partial
from itertools import product

from paper_tables.audit import bounds, comparisons
from paper_tables.audit.claim import OBSERVATION, Claim, Result, holds, observed
from paper_tables.audit.mmda.columns import COLUMNS, METRIC_NAMES, OURS, best_rival, lead, name, table, text, true_mean
from paper_tables.audit.numbers import LAST_DIGIT, Numbers

# --- Average columns --------------------------------------------------------------------------------------


def averages(n: Numbers, number: int) -> Iterator[Claim]:
    t = table(n, number)
    for row, metric in product(t.rows, t.metrics):
        yield Claim(
            id=f"mmda.t{number}.average.{row}.{metric}",
            place=f"{t.place}, {t.rows[row].printed}, Average {METRIC_NAMES[metric]}",
            kind="arithmetic",
            says="the printed average is the mean of the row's columns",
            decide=partial(average, number=number, row=row, metric=metric),
            between="the average and the columns of the same row",
            explains="averages taken over from another version of the row, or typed by hand",
            settles="the averages recomputed from the printed columns, or the columns the averages belong to",
        )


def average(n: Numbers, number: int, row: str, metric: str) -> Result:
    values = table(n, number).rows[row].values
    columns = [values[c][metric] for c in COLUMNS[number]]
    printed, true = values["average"][metric], true_mean(n, number, row, metric)
    lines = [f"({' + '.join(map(str, columns))}) / {len(columns)} = {true:.4f}; printed {printed}"]
    if not min(columns) <= printed <= max(columns):
        lines.append("The printed value lies outside the range of its own columns, so it is no mean of them.")
    possible = comparisons.mean_range([n.points(x) for x in columns], [Fraction(1, len(columns))] * len(columns))
    return holds(comparisons.overlap(n.points(printed), possible), f"{printed - true:+.4f}", *lines)


def is_mean(printed: Decimal, true: Decimal) -> bool:
    """A mean that one table prints is that of the numbers of another, all rounded or all cut after two decimals."""
    return abs(printed - true) <= LAST_DIGIT


def one_digit_off(printed: Decimal, true: Decimal) -> bool:
    """One digit of the printed number, changed, makes it the mean, rounded or cut."""
    means = {f"{x:05.2f}" for x in (true.quantize(LAST_DIGIT, ROUND_HALF_UP), true.quantize(LAST_DIGIT, ROUND_DOWN))}
    return any(sum(a != b for a, b in zip(f"{printed:05.2f}", mean, strict=True)) == 1 for mean in means)


def rankings(n: Numbers, number: int) -> Iterator[Claim]:
    for metric in METRIC_NAMES:
        yield Claim(
            id=f"mmda.t{number}.ranking.{metric}",
            place=f"{table(n, number).place}, Average {METRIC_NAMES[metric]}",
            kind=OBSERVATION,
            says="the averages, recomputed from the columns, rank the methods otherwise",
            decide=partial(ranking, number=number, metric=metric),
            settles="the averages recomputed from the printed columns",
        )


def ranking(n: Numbers, number: int, metric: str) -> Result:
    rows = table(n, number).rows
    printed = comparisons.ranked({row: rows[row].values["average"][metric] for row in rows}, metric)
    true = comparisons.ranked({row: true_mean(n, number, row, metric) for row in rows}, metric)
    kept = [name(n, a) for a, b in zip(printed, true, strict=True) if a == b]
    listing = ", ".join(f"{name(n, row)} {true_mean(n, number, row, metric):.2f}" for row in true)
    return observed(
        f"{len(rows) - len(kept)} of {len(rows)} places",
        f"By the columns: {listing}.",
        f"In their place by either: {', '.join(kept)}.",
    )


# --- the best method of a column --------------------------------------------------------------------------


def best_columns(n: Numbers, number: int) -> Iterator[Claim]:
    t = table(n, number)
    for column, metric in product(COLUMNS[number], METRIC_NAMES):
        yield Claim(
            id=f"mmda.t{number}.best.{column}.{metric}",
            place=f"{t.place}, {t.sets[column]} {METRIC_NAMES[metric]}",
            kind="ranking",
            says=f"MMDA is the best in this column ({t.sets[column]})",
            decide=partial(best, number=number, column=column, metric=metric),
            quote="our method achieved the best results across all sub-protocols",
        )


def best(n: Numbers, number: int, column: str, metric: str) -> Result:
    rows, rival = table(n, number).rows, best_rival(n, number, column, metric)
    ours, theirs = rows[OURS].values[column][metric], rows[rival].values[column][metric]
    ahead = lead(n, number, column, metric, rival)
    return holds(ahead > 0, f"{ahead:+}", f"{ours} against {theirs} of {name(n, rival)}.")


# --- HTER and AUC of one score set ------------------------------------------------------------------------


def eer_and_auc(n: Numbers, number: int) -> Iterator[Claim]:
    t = table(n, number)
    for row in t.rows:
        yield Claim(
            id=f"mmda.t{number}.eer_auc.{row}",
            place=f"{t.place}, {t.rows[row].printed}, HTER and AUC",
            kind="bound between metrics",
            says="in each column, an HTER at the equal-error threshold and the AUC can come from one score set",
            decide=partial(eer_and_auc_of, number=number, row=row),
            between="the HTER and the AUC of the same column",
            assumes="the threshold is the target's EER point; the released evaluation's is near it, and may allow more",
        )


def eer_and_auc_of(n: Numbers, number: int, row: str) -> Result:
    t = table(n, number)
    return within_bounds(n, {t.sets[c]: t.rows[row].values[c] for c in COLUMNS[number]})


def within_bounds(n: Numbers, cells: dict[str, dict[str, Decimal]]) -> Result:
    """In each cell the AUC is one that the HTER allows, read as the equal error rate."""
    lines, rooms = [], []
    for where, printed in cells.items():
        low, high, room = bounds.auc_room(n.fractions(printed["hter"]), n.fractions(printed["auc"]))
        rooms.append(100 * room)
        lines.append(f"{where}: HTER {printed['hter']} allows AUC {low:.4%} to {high:.4%}; printed {printed['auc']}")
    return holds(min(rooms) >= 0, f"room {', '.join(f'{x:+.4f}' for x in rooms)}", *lines)


def ablations_eer_and_auc(n: Numbers, number: int) -> Iterator[Claim]:
    t = {4: n.mmda4, 5: n.mmda5}[number]
    for row, values in t.values.items():
        yield Claim(
            id=f"mmda.t{number}.eer_auc.{row}",
            place=f"{t.place}, {t.printed[row]}, HTER and AUC",
            kind="bound between metrics",
            says="an HTER at the equal-error threshold and the AUC can come from one score set",
            decide=partial(within_bounds, cells={t.printed[row]: values}),
            between="the HTER and the AUC of the same row",
            assumes="the threshold is the target's EER point; the released evaluation's is near it, and may allow more",
        )


def best_threshold(n: Numbers, number: int) -> Iterator[Claim]:
    yield Claim(
        id=f"mmda.t{number}.best_threshold",
        place=f"{table(n, number).place}, HTER and AUC",
        kind=OBSERVATION,
        says="the HTERs, which are printed without a threshold rule, are not all the lowest over thresholds",
        decide=partial(lowest_hter, number=number),
        settles="the threshold rule; an EER threshold on the tested set fits every cell",
    )


def lowest_hter(n: Numbers, number: int) -> Result:
    t, broken = table(n, number), []
    for row, c in product(t.rows, COLUMNS[number]):
        printed = t.rows[row].values[c]
        top = bounds.youden_auc(n.fractions(printed["hter"])[0])
        if n.fractions(printed["auc"])[0] > top:
            broken.append(f"{name(n, row)} {t.sets[c]} {printed['hter']}/{printed['auc']} (AUC at most {top:.2%})")
    return observed(
        f"cells that exclude it: {len(broken)}",
        f"The lowest HTER h leaves AUC ≤ 1 − 2h². Cells above it: {'; '.join(broken) or 'none'}.",
    )


# --- ablations --------------------------------------------------------------------------------------------


def ablation_texts(n: Numbers, number: int, rows: tuple[str, ...]) -> Iterator[Claim]:
    for row, metric in product(rows, METRIC_NAMES):
        stated = n.mmda_text[f"{row}_{metric}"]
        yield Claim(
            id=f"mmda.t{number}.text.{row}.{metric}",
            place=f"{stated.place}; Table {number}",
            kind="text against table",
            says=f"the text's {METRIC_NAMES[metric]} of this row is the table's",
            decide=partial(ablation_text, number=number, row=row, metric=metric),
            quote=stated.quote,
        )


def ablation_text(n: Numbers, number: int, row: str, metric: str) -> Result:
    stated, printed = text(n, f"{row}_{metric}"), {4: n.mmda4, 5: n.mmda5}[number].values[row][metric]
    return holds(stated == printed, f"{stated - printed:+}", f"Text {stated}, table {printed}.")


def ablation_orders(n: Numbers, number: int, orders: tuple[tuple[str, str, str, str], ...]) -> Iterator[Claim]:
    """`orders`: the better row, the worse one, the claim in words, and the paper's sentence."""
    for better, worse, says, quote in orders:
        yield Claim(
            id=f"mmda.t{number}.order.{better}.{worse}",
            place=f"Section 4.2; Table {number}",
            kind="direction",
            says=says,
            decide=partial(ablation_order, number=number, better=better, worse=worse),
            quote=quote,
            settles="repeated runs; one run a row is printed",
        )


def small_steps(n: Numbers, number: int, steps: tuple[tuple[str, str], ...]) -> Iterator[Claim]:
    """`steps`: the better row and the worse one of a difference that may be one HTER's sampling error."""
    for better, worse in steps:
        yield Claim(
            id=f"mmda.t{number}.step.{better}.{worse}",
            place=f"Table {number}",
            kind=OBSERVATION,
            says="the difference between the two rows is within the sampling error of one HTER",
            decide=partial(small_step, number=number, better=better, worse=worse),
            assumes="the frames of the public MMDG test lists of CeFA and WMCA are used, and are independent; frames "
            "of one video are not, which makes the error larger",
            settles="repeated runs, or an interval beside the HTER",
        )


def small_step(n: Numbers, number: int, better: str, worse: str) -> Result:
    rows = {4: n.mmda4, 5: n.mmda5}[number].values
    live, attack = (sum(n.lists[s][i] for s in ("C", "W")) for i in (0, 1))
    gap = rows[worse]["hter"] - rows[better]["hter"]
    half = 196 * bounds.sampling_error(float(rows[better]["hter"]) / 100, live, attack)
    return observed(
        f"{gap} against ±{half:.2f}",
        f"HTER {rows[worse]['hter']} to {rows[better]['hter']}; a 95 % interval of one HTER of {rows[better]['hter']} "
        f"% from {live} bona fide and {attack} attack frames is ±{half:.2f} points. "
        f"The difference is {'within' if gap <= Decimal(half) else 'beyond'} it.",
    )


def ablation_order(n: Numbers, number: int, better: str, worse: str) -> Result:
    rows = {4: n.mmda4, 5: n.mmda5}[number].values
    a, b = rows[worse], rows[better]
    hter, auc = a["hter"] - b["hter"], b["auc"] - a["auc"]
    steps = f"{a['hter']}/{a['auc']} to {b['hter']}/{b['auc']}"
    return holds(hter > 0 and auc > 0, f"HTER −{hter}, AUC +{auc}", f"{steps}, one run each.")
