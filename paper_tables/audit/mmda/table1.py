"""Claims of MMDA's Table 1, fixed modalities: its averages, their ranking, the best of each column, HTER beside AUC.

Averages are recomputed from the columns and compared with other columns and with the table they were repeated from.
"""

from collections.abc import Iterator
from decimal import Decimal
from functools import partial
from itertools import combinations, product

import numpy as np

from paper_tables.audit import bounds
from paper_tables.audit.claim import OBSERVATION, Claim, Family, Result, claim, holds, observed
from paper_tables.audit.metrics import sign
from paper_tables.audit.mmda import questions
from paper_tables.audit.mmda.columns import COLUMNS, METRIC_NAMES, OURS, name, table, true_mean
from paper_tables.audit.mmda.questions import is_mean, one_digit_off
from paper_tables.audit.numbers import Numbers

averages = Family(partial(questions.averages, number=1))
rankings = Family(partial(questions.rankings, number=1))
best_columns = Family(partial(questions.best_columns, number=1))
eer_and_auc = Family(partial(questions.eer_and_auc, number=1))
best_threshold = Family(partial(questions.best_threshold, number=1))


def wrong_averages(n: Numbers, metric: str) -> list[str]:
    """The rows whose printed average is not the mean of their columns."""
    return [row for row in n.mmda1.rows if questions.average(n, 1, row, metric).verdict == "contradicted"]


@claim(
    "mmda.t1.average.other_columns",
    place="Tables 1 to 3, Average",
    kind=OBSERVATION,
    says="the averages that are not the means of their own columns are not means of other printed columns either, nor "
    "means weighted by numbers of images",
    assumes="for the weighting, the sizes of the public MMDG test lists",
    settles="the numbers that were averaged",
)
def other_columns(n: Numbers) -> Result:
    sources = [(number, c) for number in COLUMNS for c in COLUMNS[number]]
    wrong = wrong_averages(n, "hter")
    if not wrong:
        return observed("none differs", "every average is the mean of its own columns")
    hter = np.array([[float(table(n, number).rows[row].values[c]["hter"]) for number, c in sources] for row in wrong])
    printed = np.array([float(n.mmda1.rows[row].values["average"]["hter"]) for row in wrong])
    best = min(
        (float(np.abs(hter[:, subset].mean(axis=1) - printed).mean()), subset)
        for size in range(1, len(sources) + 1)
        for subset in map(list, combinations(range(len(sources)), size))
    )
    sizes = {c: sum(n.lists[c]) for c in COLUMNS[1]}
    fitted = sum(
        is_mean(n.mmda1.rows[row].values["average"][m], weighted(n, row, m, sizes))
        for m in METRIC_NAMES
        for row in wrong_averages(n, m)
    )
    return observed(
        f"best mean error {best[0]:.2f}, weighted {fitted} of {sum(len(wrong_averages(n, m)) for m in METRIC_NAMES)}",
        f"Of all {2 ** len(sources) - 1} choices among the columns of Tables 1 to 3, "
        f"{', '.join(sources[i][1] for i in best[1])} comes nearest to the {len(wrong)} HTER averages that differ: "
        f"{best[0]:.3f} off on average.",
        f"Weighted by {', '.join(f'{c} {x}' for c, x in sizes.items())} frames, {fitted} of them are met.",
    )


def weighted(n: Numbers, row: str, metric: str, sizes: dict[str, int]) -> Decimal:
    """The mean of a row's columns, weighted."""
    total = sum((size * n.mmda1.rows[row].values[c][metric] for c, size in sizes.items()), Decimal(0))
    return total / sum(sizes.values())


@claim(
    "mmda.t1.average.source",
    place="Table 1, the ten rows that MMDG (CVPR 2024, Table 1) prints too",
    kind=OBSERVATION,
    says="MMDG prints other averages for the ten rows that both tables have, and they are the means of the columns",
    assumes="MMDG's averages as recorded in facts.toml, read from a picture of its table",
    settles="the two tables side by side",
)
def source_averages(n: Numbers) -> Result:
    differ, not_means = [], 0
    for row, source in n.mmdg_averages.items():
        for metric, there in zip(METRIC_NAMES, source, strict=True):
            here = n.mmda1.rows[row].values["average"][metric]
            if there != here:
                differ.append(f"{name(n, row)} {METRIC_NAMES[metric]} {here} for {there}")
            not_means += not is_mean(there, true_mean(n, 1, row, metric))
    total = len(METRIC_NAMES) * len(n.mmdg_averages)
    return observed(
        f"{len(differ)} of {total} differ, {total - not_means} equal the columns' means",
        f"Here for there: {', '.join(differ)}.",
        f"MMDG's averages are the means of the columns printed here in {total - not_means} of {total} cases.",
    )


@Family
def columns(n: Numbers) -> Iterator[Claim]:
    for row, metric in product(n.mmdg_averages, METRIC_NAMES):
        yield Claim(
            id=f"mmda.t1.columns.{row}.{metric}",
            place=f"Table 1, {n.mmda1.rows[row].printed}, {METRIC_NAMES[metric]}",
            kind="text against outside fact",
            says="the columns of the row are those whose average MMDG (CVPR 2024, Table 1) prints",
            decide=partial(columns_of, row=row, metric=metric),
            between="the columns of the row and MMDG's average of it",
            assumes="MMDG's averages as recorded in facts.toml, read from a picture of its table",
            explains="the row was run anew",
            settles="the two tables side by side",
        )


def columns_of(n: Numbers, row: str, metric: str) -> Result:
    there, here = n.mmdg_averages[row][tuple(METRIC_NAMES).index(metric)], true_mean(n, 1, row, metric)
    return holds(is_mean(there, here), f"{there - here:+.4f}", f"Mean of the columns {here:.4f}; MMDG prints {there}.")


@claim(
    "mmda.t1.average.direction",
    place="Table 1, Average",
    kind=OBSERVATION,
    says="how many of the averages that differ from their columns make a rival look worse than its columns do",
    explains="a shared mistake; nothing here shows intent, and MMDA is first by either average",
    settles="the averages recomputed from the printed columns",
)
def error_direction(n: Numbers) -> Result:
    worse = {}
    for metric in METRIC_NAMES:
        gaps = [
            sign(metric) * (n.mmda1.rows[row].values["average"][metric] - true_mean(n, 1, row, metric))
            for row in wrong_averages(n, metric)
            if row != OURS
        ]
        worse[metric] = (sum(gap > 0 for gap in gaps), len(gaps))
    figure = ", ".join(f"{METRIC_NAMES[m]} {a} of {b}" for m, (a, b) in worse.items())
    return observed(figure, f"Averages of rivals that make them look worse than their columns do: {figure}.")


@claim(
    "mmda.t1.average.one_digit",
    place="Tables 1 and 2, Average",
    kind=OBSERVATION,
    says="some of the averages that differ from their columns are one mistyped digit away from them",
    settles="the averages recomputed from the printed columns",
)
def one_digit(n: Numbers) -> Result:
    found, others = [], 0
    for number, metric in product((1, 2), METRIC_NAMES):
        for row, x in table(n, number).rows.items():
            printed, true = x.values["average"][metric], true_mean(n, number, row, metric)
            if is_mean(printed, true):
                continue
            if one_digit_off(printed, true):
                cell = f"Table {number}, {name(n, row)} {METRIC_NAMES[metric]}"
                found.append(f"{cell}: {printed} for {true:.2f}")
            else:
                others += 1
    return observed(f"{len(found)} of {len(found) + others}", "; ".join(found) or "none")


@claim(
    "mmda.t1.iadg_shape",
    place="Table 1, IADG, CPS→W",
    kind=OBSERVATION,
    says="IADG's 27.02 % HTER and 86.50 % AUC on WMCA are far from those of two normal distributions",
    settles="IADG's scores on the W list",
)
def iadg_shape(n: Numbers) -> Result:
    printed = n.mmda1.rows["iadg"].values["W"]
    eer, auc = float(printed["hter"]) / 100, float(printed["auc"]) / 100
    typical, top = bounds.binormal_auc(eer), bounds.auc_range(eer)[1]
    return observed(
        f"{100 * (auc - typical):+.1f} from binormal",
        f"Two normal distributions of equal variance with this EER give AUC {typical:.2%}; printed {auc:.2%}; "
        f"at most {top:.2%}: possible.",
    )
