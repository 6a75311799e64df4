"""Claims of mmFAS's Table 1: the Weighted columns, the bold marks, and HTER beside AUC.

The Weighted columns are recomputed with weights recovered from the table itself. A bold mark is compared with the
ranked column. HTER and AUC are held against the bounds that one ROC curve obeys.
"""

from collections.abc import Iterator
from decimal import Decimal
from functools import partial
from itertools import combinations, product

from paper_tables.audit import bounds
from paper_tables.audit.claim import Claim, Family, Finding, claim, holds
from paper_tables.audit.mmfas.names import METRIC_NAMES, SET_NAMES, SETS
from paper_tables.audit.mmfas.weights import WEIGHTS, solve
from paper_tables.audit.numbers import ROUNDING, Numbers, sign

# --- Weighted ---------------------------------------------------------------------------------------------


@Family
def weighted_cells(n: Numbers) -> Iterator[Claim]:
    for row, metric in product(n.mmfas1.rows, n.mmfas1.metrics):
        yield Claim(
            id=f"mmfas.t1.weighted.{row}.{metric}",
            place=f"Table 1, {n.mmfas1.rows[row].printed}, Weighted {METRIC_NAMES[metric]}",
            kind="arithmetic",
            says="the cell is the mean of the row's four sets, weighted by their numbers of images",
            decide=partial(weighted_cell, row=row, metric=metric),
            quote="weighted average results (i.e., in terms of image numbers)",
            assumes="one weight vector for all cells; it is recovered from the 33 cells themselves",
        )


def weighted_cell(n: Numbers, row: str, metric: str) -> Finding:
    values = n.mmfas1.rows[row].values
    mean = sum((WEIGHTS[s] * values[s][metric] for s in SETS), Decimal(0))
    gap = values["weighted"][metric] - mean
    terms = " + ".join(f"{WEIGHTS[s]} × {values[s][metric]}" for s in SETS)
    return holds(abs(gap) <= ROUNDING, f"{gap:+.4f}", f"{terms} = {mean:.4f}; printed {values['weighted'][metric]}")


@claim(
    "mmfas.t1.weighted.one_vector",
    place="Section 4, Comparison Results; Table 1, Weighted",
    kind="arithmetic",
    says="one weight a data set produces all 33 Weighted cells",
    quote="the weight is the ratio of the number of images",
)
def one_vector(n: Numbers) -> Finding:
    w = solve(n.mmfas1, float(ROUNDING))
    if w.low is None or w.high is None:
        return holds(False, "none", f"no weights keep all {w.cells} cells within {ROUNDING}; least bound {w.least:.4f}")
    inside = all(w.low[s] <= float(WEIGHTS[s]) <= w.high[s] for s in SETS)
    ranges = "; ".join(f"{s} {w.low[s]:.5f} to {w.high[s]:.5f}" for s in SETS)
    return holds(
        inside,
        f"least bound {w.least:.4f}",
        f"Weights that keep all {w.cells} cells within rounding ({ROUNDING}): {ranges}.",
        f"The tightest error bound any vector can keep is {w.least:.4f}. The vector used for the single cells, "
        f"{', '.join(str(WEIGHTS[s]) for s in SETS)}, is {'inside' if inside else 'outside'}.",
    )


@claim(
    "mmfas.t1.weighted.sum",
    place="Section 4, Comparison Results",
    kind="arithmetic",
    says="the four weights are shares of one total, so they sum to 1",
    quote="the total number of images in all four datasets",
)
def weights_sum(n: Numbers) -> Finding:
    w = solve(n.mmfas1, float(ROUNDING), shares=False)
    if w.low is None or w.high is None:
        return holds(False, "none", "no weight vector fits")
    low, high = sum(w.low.values()), sum(w.high.values())
    return holds(
        low <= 1 <= high,
        f"{low:.4f} to {high:.4f}",
        "Sums of the single weights' bounds, fitted without any constraint on the sum.",
    )


# --- bold marks -------------------------------------------------------------------------------------------


@Family
def marks(n: Numbers) -> Iterator[Claim]:
    for group, metric in product(n.mmfas1.sets, n.mmfas1.metrics):
        yield Claim(
            id=f"mmfas.t1.bold.{group}.{metric}",
            place=f"Table 1, {SET_NAMES[group]} {METRIC_NAMES[metric]}, bold",
            kind="ranking",
            says=f"{n.mmfas1.rows[n.bold[group][metric]].printed} alone has the best {METRIC_NAMES[metric]} "
            f"on {SET_NAMES[group]}",
            decide=partial(mark, group=group, metric=metric),
            quote="The best results are highlighted in bold",
            explains="the printed digits cannot separate the rows; more digits may have",
            settles="unrounded values",
        )


def mark(n: Numbers, group: str, metric: str) -> Finding:
    ranked = sorted(n.mmfas1.rows, key=lambda row: sign(metric) * n.mmfas1.rows[row].values[group][metric])
    value = {row: n.mmfas1.rows[row].values[group][metric] for row in ranked}
    best = [row for row in ranked if value[row] == value[ranked[0]]]
    runner_up = value[ranked[1]]
    listing = ", ".join(f"{n.mmfas1.rows[row].printed} {value[row]}" for row in ranked)
    return holds(
        best == [n.bold[group][metric]],
        f"{len(best)} rows at {value[ranked[0]]}" if len(best) > 1 else f"{value[ranked[0]]} before {runner_up}",
        f"Ranked: {listing}",
    )


# --- HTER and AUC of one score set ------------------------------------------------------------------------


@Family
def eer_and_auc(n: Numbers) -> Iterator[Claim]:
    for row in n.mmfas1.rows:
        yield Claim(
            id=f"mmfas.t1.eer_auc.{row}",
            place=f"Table 1, {n.mmfas1.rows[row].printed}, HTER and AUC",
            kind="bound between metrics",
            says="in each of the four sets, the HTER (at the EER threshold) and the AUC can come from the same scores",
            decide=partial(eer_and_auc_of, row=row),
            quote="HTER is measured under the equal error rate (EER) threshold",
            assumes="the threshold is the tested set's own EER point",
            explains="AUC cut or capped at 99.99, an HTER at a threshold found elsewhere, or a slip in the unit",
            settles="the scores, or both metrics with more digits",
        )


def eer_and_auc_of(n: Numbers, row: str) -> Finding:
    lines, tightest, broken = [], 1.0, []
    for s in SETS:
        printed = n.mmfas1.rows[row].values[s]
        digit = 10 ** float(printed["hter"].as_tuple().exponent) / 200  # half the last printed digit, as a fraction
        eer, auc = float(printed["hter"]) / 100, float(printed["auc"]) / 100
        low, high = bounds.auc_range(eer + digit)[0], bounds.auc_range(max(0.0, eer - digit))[1]
        room = min(auc + bounds.AUC_HALF - low, high - (auc - bounds.AUC_HALF))
        tightest = min(tightest, room)
        if room < 0:
            broken.append(SET_NAMES[s])
        lines.append(f"{SET_NAMES[s]}: EER {printed['hter']} % allows AUC {low:.4%} to {high:.4%}; {printed['auc']} %")
    return holds(not broken, f"room {100 * tightest:+.4f}" + "".join(f", {s}" for s in broken), *lines)


@claim(
    "mmfas.t1.flexmodal_shape",
    place="Table 1, FlexModal-FAS, HQ-WMCA HTER and AUC",
    kind="bound between metrics",
    says="one score set gives an HTER of 57.70 % and an AUC of 66.17 %",
    explains="the HTER is the one printed for FeatherNet, whose AUC it fits",
    settles="the method's scores on HQ-WMCA",
)
def flexmodal_shape(n: Numbers) -> Finding:
    printed = n.mmfas1.rows["flexmodal"].values["H"]
    eer, auc = float(printed["hter"]) / 100, float(printed["auc"]) / 100
    top, typical = bounds.auc_range(eer)[1], bounds.binormal_auc(eer)
    return Finding(
        "contradicted" if auc > top + bounds.AUC_HALF else "undetermined",
        f"{100 * (top - auc):.2f} below the maximum",
        (
            f"With EER {eer:.2%} the AUC is at most 1 − e² = {top:.2%}; printed {auc:.2%}.",
            f"Two normal distributions would give {typical:.2%}: possible, but only in the extreme.",
        ),
    )


@claim(
    "mmfas.t1.identical_cells",
    place="Table 1, FeatherNet and FlexModal-FAS",
    kind="text against table",
    says="the two rows are results of two different methods",
    quote="which uses only depth and infrared",
    assumes="that two trainings do not agree to the last digit in several sets by chance",
    explains="cells of one row were carried to the other before the Weighted columns were computed",
    settles="the two methods' scores",
)
def identical_cells(n: Numbers) -> Finding:
    cells = {row: {(s, m): x.values[s][m] for s in SETS for m in n.mmfas1.metrics} for row, x in n.mmfas1.rows.items()}
    shared = {
        (a, b): [k for k, x in cells[a].items() if x == cells[b][k] and x != Decimal("99.99")]
        for a, b in combinations(cells, 2)
    }
    own = shared.pop(("feathernet", "flexmodal"))
    most = max(len(keys) for keys in shared.values())
    where = ", ".join(f"{SET_NAMES[s]} {METRIC_NAMES[m]} {cells['feathernet'][s, m]}" for s, m in own)
    return holds(
        len(own) <= 1,
        f"{len(own)} cells alike, other pairs {most}",
        f"Alike to the last digit, 99.99 aside: {where}. Any other pair of rows shares at most {most}.",
    )
