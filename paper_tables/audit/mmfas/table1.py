"""Claims of mmFAS's Table 1: the Weighted columns, the bold marks, and HTER beside AUC.

The Weighted columns are recomputed with weights recovered from the table itself. A bold mark is compared with the
ranked column. HTER and AUC are held against the bounds that one ROC curve obeys.
"""

from collections.abc import Iterator
from decimal import Decimal
from fractions import Fraction
from functools import partial
from itertools import product

from paper_tables.audit import bounds, comparisons
from paper_tables.audit.claim import OBSERVATION, Claim, Family, Result, claim, holds, observed, undetermined
from paper_tables.audit.counts import fits, fitting_totals, least_count
from paper_tables.audit.mmfas.names import HOME, METRIC_NAMES, SET_NAMES, SETS
from paper_tables.audit.mmfas.weights import WEIGHTS, solve
from paper_tables.audit.numbers import LAST_DIGIT, Numbers

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


def weighted_cell(n: Numbers, row: str, metric: str) -> Result:
    values = n.mmfas1.rows[row].values
    mean = sum((WEIGHTS[s] * values[s][metric] for s in SETS), Decimal(0))
    gap = values["weighted"][metric] - mean
    terms = " + ".join(f"{WEIGHTS[s]} × {values[s][metric]}" for s in SETS)
    return holds(abs(gap) <= LAST_DIGIT, f"{gap:+.4f}", f"{terms} = {mean:.4f}; printed {values['weighted'][metric]}")


@claim(
    "mmfas.t1.weighted.one_vector",
    place="Section 4, Comparison Results; Table 1, Weighted",
    kind="arithmetic",
    says="one weight a data set produces all 33 Weighted cells",
    quote="the weight is the ratio of the number of images",
)
def one_vector(n: Numbers) -> Result:
    w = solve(n.mmfas1, float(LAST_DIGIT))
    if w.low is None or w.high is None:
        return holds(False, "none", f"no weights keep the {w.cells} cells within {LAST_DIGIT}; least {w.least:.4f}")
    inside = all(w.low[s] <= float(WEIGHTS[s]) <= w.high[s] for s in SETS)
    ranges = "; ".join(f"{s} {w.low[s]:.5f} to {w.high[s]:.5f}" for s in SETS)
    return holds(
        inside,
        f"least bound {w.least:.4f}",
        f"Weights that keep all {w.cells} cells within {LAST_DIGIT}, as rounded or cut numbers need: {ranges}.",
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
def weights_sum(n: Numbers) -> Result:
    w = solve(n.mmfas1, float(LAST_DIGIT), shares=False)
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


def mark(n: Numbers, group: str, metric: str) -> Result:
    value = {row: x.values[group][metric] for row, x in n.mmfas1.rows.items()}
    ranked, best = comparisons.ranked(value, metric), comparisons.best(value, metric)
    runner_up = value[ranked[1]]
    listing = ", ".join(f"{n.mmfas1.rows[row].printed} {value[row]}" for row in ranked)
    if len(best) > 1 and n.bold[group][metric] in best:
        return undetermined(f"{len(best)} rows at {value[ranked[0]]}", f"Ranked: {listing}")
    return holds(best == [n.bold[group][metric]], f"{value[ranked[0]]} before {runner_up}", f"Ranked: {listing}")


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
            explains="an HTER at a threshold found elsewhere, or a slip in the unit",
            settles="the scores, or both metrics with more digits",
        )


def eer_and_auc_of(n: Numbers, row: str) -> Result:
    lines, rooms, broken = [], [], []
    for s in SETS:
        printed = n.mmfas1.rows[row].values[s]
        low, high, room = bounds.auc_room(n.fractions(printed["hter"]), n.fractions(printed["auc"]))
        rooms.append(100 * room)
        if rooms[-1] < 0:
            broken.append(SET_NAMES[s])
        lines.append(f"{SET_NAMES[s]}: EER {printed['hter']} % allows AUC {low:.4%} to {high:.4%}; {printed['auc']} %")
    listing = ", ".join(f"{x:+.4f}" for x in rooms)
    return holds(not broken, f"room {listing}" + "".join(f"; {s}" for s in broken), *lines)


@claim(
    "mmfas.t1.flexmodal_shape",
    place="Table 1, FlexModal-FAS, HQ-WMCA HTER and AUC",
    kind=OBSERVATION,
    says="an HTER of 57.70 % with an AUC of 66.17 % is near the limit of what one score set can give",
    explains="the HTER is the one printed for FeatherNet, whose AUC it fits",
    settles="the method's scores on HQ-WMCA",
)
def flexmodal_shape(n: Numbers) -> Result:
    printed = n.mmfas1.rows["flexmodal"].values["H"]
    eer, auc = float(printed["hter"]) / 100, float(printed["auc"]) / 100
    top, typical = bounds.auc_range(eer)[1], bounds.binormal_auc(eer)
    return observed(
        f"{100 * (top - auc):.2f} below the maximum",
        f"With EER {eer:.2%} the AUC is at most 1 − e² = {top:.2%}; printed {auc:.2%}.",
        f"Two normal distributions would give {typical:.2%}: possible, but only in the extreme.",
    )


@claim(
    "mmfas.t1.identical_cells",
    place="Table 1, FeatherNet and FlexModal-FAS",
    kind=OBSERVATION,
    says="FeatherNet and FlexModal-FAS share more cells to the last digit than any other two rows",
    explains="a slip when the table was put together; the Weighted columns agree with the cells as printed",
    settles="the two methods' scores",
)
def identical_cells(n: Numbers) -> Result:
    cells = {row: {(s, m): x.values[s][m] for s in SETS for m in n.mmfas1.metrics} for row, x in n.mmfas1.rows.items()}
    shared = comparisons.alike(cells, common=Decimal("99.99"))
    own = shared.pop(("feathernet", "flexmodal"))
    most = max(len(keys) for keys in shared.values())
    where = ", ".join(f"{SET_NAMES[s]} {METRIC_NAMES[m]} {cells['feathernet'][s, m]}" for s, m in own)
    return observed(
        f"{len(own)} cells alike, other pairs {most}",
        f"Alike to the last digit, 99.99 aside: {where}. Any other pair of rows shares at most {most}.",
    )


# --- how the numbers were printed -------------------------------------------------------------------------


@claim(
    "mmfas.t1.cut",
    place="Table 1, HQ-WMCA Acc",
    kind=OBSERVATION,
    says="the HQ-WMCA accuracies are shares of one number of images if they were cut after two decimals, and of no "
    "number below 5767 if they were rounded",
    assumes="every row is scored on the same images",
    settles="the number of HQ-WMCA images used",
)
def cut_not_rounded(n: Numbers) -> Result:
    printed = hq_accuracies(n)
    cut, rounded = (next(iter(fitting_totals(printed, p)), 0) for p in ("cut", "rounded"))
    w, frames = solve(n.mmfas1, float(LAST_DIGIT)), 50 * n.sizes["wmca_clips"]
    lines = [f"{len(printed)} different accuracies. Cut: first fitted by {cut} images; rounded: by {rounded}."]
    if cut:
        counts = ", ".join(f"{x} = {images_right(x, cut)}" for x in sorted(printed))
        lines.append(f"Right of {cut} images: {counts}.")
    if w.low and w.high:
        low, high = frames * w.low["H"] / w.high["W"], frames * w.high["H"] / w.low["W"]
        also = [str(x) for x in range(int(low), int(high) + 1) if fits(printed, x, "cut")]
        lines.append(
            f"The weights give HQ-WMCA {low:,.0f} to {high:,.0f} images if WMCA is 50 frames of each of "
            f"{n.sizes['wmca_clips']:,} clips; the totals in that range that fit, cut: {', '.join(also) or 'none'}."
        )
    return observed(f"cut {cut}, rounded {rounded}", *lines)


def hq_accuracies(n: Numbers) -> set[Decimal]:
    """The distinct HQ-WMCA accuracies."""
    return {row.values["H"]["accuracy"] for row in n.mmfas1.rows.values()}


def images_right(accuracy: Decimal, total: int) -> int:
    """The least k for which k of `total` is not below the accuracy."""
    return least_count(Fraction(accuracy) / 100, total)


@Family
def hq_shares(n: Numbers) -> Iterator[Claim]:
    for row in n.mmfas1.rows:
        yield Claim(
            id=f"mmfas.t1.hq_share.{row}",
            place=f"Table 1, {n.mmfas1.rows[row].printed}, HQ-WMCA Acc",
            kind="feasibility on integer counts",
            says="the accuracy is a whole number of HQ-WMCA's images",
            decide=partial(hq_share, row=row),
            quote="Accuracy refers to the percentage of images correctly classified",
            assumes="HQ-WMCA counts 2,024 images, the number that the accuracies and the weights both fit",
            explains="another number of images",
            settles="the number of HQ-WMCA images used",
        )


def hq_share(n: Numbers, row: str) -> Result:
    printed, total = n.mmfas1.rows[row].values["H"]["accuracy"], n.sizes["hq_images"]
    right = images_right(printed, total)
    fitting = fits({printed}, total, n.printing)
    return holds(
        fitting, f"{right} of {total}", f"{right} of {total} is {100 * right / total:.4f} %; printed {printed}."
    )


@claim(
    "mmfas.t1.one_image",
    place="Table 1, HQ-WMCA Acc, bold",
    kind=OBSERVATION,
    says="the best accuracy on HQ-WMCA is ahead of the second by one image of 2,024",
    assumes="HQ-WMCA counts 2,024 images, the number that the accuracies and the weights both fit",
    settles="the number of HQ-WMCA images used, or intervals beside the accuracies",
)
def one_image(n: Numbers) -> Result:
    second, first = sorted(hq_accuracies(n))[-2:]
    total = n.sizes["hq_images"]
    a, b = images_right(first, total), images_right(second, total)
    return observed(f"{a - b} image", f"{first} % of {total} is {a} images, {second} % is {b}.")


@claim(
    "mmfas.t1.below_one_error",
    place="Table 1, CeFa HTER",
    kind=OBSERVATION,
    says="an HTER of 0.0001 % is less than one error among the images tested",
    assumes="WMCA is 50 frames of each of its 1,679 clips, which with the weights gives CeFa's images",
    explains="an EER that is interpolated between two points of the ROC curve can be smaller than one error",
    settles="how the EER was computed",
)
def below_one_error(n: Numbers) -> Result:
    least = min(row.values[HOME]["hter"] for row in n.mmfas1.rows.values())
    images = 50 * n.sizes["wmca_clips"] * float(WEIGHTS[HOME] / WEIGHTS["W"])
    one = 50 / images
    needed = 0.5 / n.fractions(least)[1]
    return observed(
        f"{least} against {one:.4f}",
        f"One error among all of about {images:,.0f} images, were they of one class, is an HTER of {one:.4f} %.",
        f"An HTER that prints as {least} % needs more than {needed:,.0f} images of one class.",
    )
