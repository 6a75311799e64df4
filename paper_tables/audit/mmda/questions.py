"""The questions asked of more than one of MMDA's tables: each function yields the claims of one table, or decides one.

Tables 1 to 3 print HTER and AUC of fifteen methods a column; Tables 4 and 5 are ablations of MMDA.
"""

from collections.abc import Iterator
from functools import partial
from itertools import product

from paper_tables.audit import bounds
from paper_tables.audit.claim import Claim, Finding, holds, undetermined
from paper_tables.audit.mmda.columns import COLUMNS, METRIC_NAMES, OURS, best_rival, lead, name, table, text, true_mean
from paper_tables.audit.numbers import ROUNDING, Numbers, sign

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
            quote="Average",
            explains="averages taken over from another version of the row, or typed by hand; the columns agree "
            "with the source papers where those could be compared",
            settles="the averages recomputed from the printed columns, or the columns the averages belong to",
        )


def average(n: Numbers, number: int, row: str, metric: str) -> Finding:
    values = table(n, number).rows[row].values
    columns = [values[c][metric] for c in COLUMNS[number]]
    printed, true = values["average"][metric], true_mean(n, number, row, metric)
    lines = [f"({' + '.join(map(str, columns))}) / {len(columns)} = {true:.4f}; printed {printed}"]
    if not min(columns) <= printed <= max(columns):
        lines.append("The printed value lies outside the range of its own columns, so it is no mean of them.")
    return holds(abs(printed - true) <= ROUNDING, f"{printed - true:+.4f}", *lines)


def rankings(n: Numbers, number: int) -> Iterator[Claim]:
    for metric in METRIC_NAMES:
        yield Claim(
            id=f"mmda.t{number}.ranking.{metric}",
            place=f"{table(n, number).place}, Average {METRIC_NAMES[metric]}",
            kind="ranking",
            says="the averages rank the methods",
            decide=partial(ranking, number=number, metric=metric),
            quote="Average",
            explains="the wrong averages of single rows",
            settles="the averages recomputed from the printed columns",
        )


def ranking(n: Numbers, number: int, metric: str) -> Finding:
    rows = table(n, number).rows
    printed = sorted(rows, key=lambda row: sign(metric) * rows[row].values["average"][metric])
    true = sorted(rows, key=lambda row: sign(metric) * true_mean(n, number, row, metric))
    moved = sum(a != b for a, b in zip(printed, true, strict=True))
    listing = ", ".join(f"{name(n, row)} {true_mean(n, number, row, metric):.2f}" for row in true)
    return holds(moved == 0, f"{moved} of {len(rows)} places", f"By the columns: {listing}.")


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


def best(n: Numbers, number: int, column: str, metric: str) -> Finding:
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
            quote="HTER(%) AUC(%)",
            assumes="the threshold is the target's EER point; the released evaluation's is near it, and may allow more",
        )


def eer_and_auc_of(n: Numbers, number: int, row: str) -> Finding:
    t, lines, tightest = table(n, number), [], 100.0
    for c in COLUMNS[number]:
        printed = t.rows[row].values[c]
        eer, auc = float(printed["hter"]) / 100, float(printed["auc"]) / 100
        low, high = bounds.auc_range(eer + bounds.AUC_HALF)[0], bounds.auc_range(eer - bounds.AUC_HALF)[1]
        room = min(auc + bounds.AUC_HALF - low, high - auc + bounds.AUC_HALF)
        tightest = min(tightest, 100 * room)
        lines.append(
            f"{t.sets[c]}: HTER {printed['hter']} allows AUC {low:.4%} to {high:.4%}; printed {printed['auc']}"
        )
    return holds(tightest >= 0, f"room {tightest:+.4f}", *lines)


def best_threshold(n: Numbers, number: int) -> Iterator[Claim]:
    yield Claim(
        id=f"mmda.t{number}.best_threshold",
        place=f"{table(n, number).place}, HTER and AUC",
        kind="bound between metrics",
        says="HTER is printed without its threshold rule; it could be the lowest over thresholds",
        decide=partial(lowest_hter, number=number),
        quote="HTER(%)",
        settles="the threshold rule; an EER threshold on the tested set fits every cell",
    )


def lowest_hter(n: Numbers, number: int) -> Finding:
    t, broken = table(n, number), []
    for row, c in product(t.rows, COLUMNS[number]):
        printed = t.rows[row].values[c]
        top = bounds.youden_auc(float(printed["hter"]) / 100 - bounds.AUC_HALF)
        if float(printed["auc"]) / 100 - bounds.AUC_HALF > top:
            broken.append(f"{name(n, row)} {t.sets[c]} {printed['hter']}/{printed['auc']} (AUC at most {top:.2%})")
    return undetermined(
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


def ablation_text(n: Numbers, number: int, row: str, metric: str) -> Finding:
    stated, printed = text(n, f"{row}_{metric}"), {4: n.mmda4, 5: n.mmda5}[number].values[row][metric]
    return holds(stated == printed, f"{stated - printed:+}", f"Text {stated}, table {printed}.")


def ablation_orders(n: Numbers, number: int, orders: tuple[tuple[str, str, str], ...]) -> Iterator[Claim]:
    """`orders`: the better row, the worse one, and the claim in words."""
    for better, worse, says in orders:
        yield Claim(
            id=f"mmda.t{number}.order.{better}.{worse}",
            place=f"Section 4.2; Table {number}",
            kind="direction",
            says=says,
            decide=partial(ablation_order, number=number, better=better, worse=worse),
            settles="repeated runs; one run a row is printed",
        )


def ablation_order(n: Numbers, number: int, better: str, worse: str) -> Finding:
    rows = {4: n.mmda4, 5: n.mmda5}[number].values
    a, b = rows[worse], rows[better]
    hter, auc = a["hter"] - b["hter"], b["auc"] - a["auc"]
    steps = f"{a['hter']}/{a['auc']} to {b['hter']}/{b['auc']}"
    return holds(hter > 0 and auc > 0, f"HTER −{hter}, AUC +{auc}", f"{steps}, one run each.")
