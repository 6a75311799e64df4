"""Claims of MMDA's Table 1, fixed modalities: its averages, their ranking, the best of each column, HTER beside AUC.

Averages are recomputed from the columns and compared with other columns and with the table they were repeated from.
"""

from decimal import Decimal
from functools import partial
from itertools import combinations

from paper_tables.audit import bounds
from paper_tables.audit.claim import Family, Finding, claim, holds
from paper_tables.audit.mmda import questions
from paper_tables.audit.mmda.columns import COLUMNS, METRIC_NAMES, OURS, name, table, true_mean
from paper_tables.audit.numbers import ROUNDING, Numbers, sign

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
    place="Tables 1 to 3",
    kind="arithmetic",
    says="the column headed Average averages columns the paper prints",
    explains="no choice of printed columns gives them",
    settles="the numbers that were averaged",
)
def other_columns(n: Numbers) -> Finding:
    sources = [(number, c) for number in COLUMNS for c in COLUMNS[number]]
    wrong = wrong_averages(n, "hter")
    if not wrong:
        return holds(True, "none wrong", "every average is the mean of its own columns")
    best = (Decimal("Infinity"), "")
    for size in range(1, len(sources) + 1):
        for subset in combinations(sources, size):
            errors = [
                abs(
                    sum((table(n, number).rows[row].values[c]["hter"] for number, c in subset), Decimal(0)) / size
                    - n.mmda1.rows[row].values["average"]["hter"]
                )
                for row in wrong
            ]
            best = min(best, (sum(errors, Decimal(0)) / len(wrong), ", ".join(c for _, c in subset)))
    return holds(
        best[0] <= ROUNDING,
        f"best mean error {best[0]:.2f}",
        f"Of all {2 ** len(sources) - 1} choices among the columns of Tables 1 to 3, {best[1]} comes nearest to the "
        f"{len(wrong)} wrong HTER averages: {best[0]:.3f} off on average.",
    )


@claim(
    "mmda.t1.average.source",
    place="Table 1, the ten rows that MMDG (CVPR 2024, Table 1) prints too",
    kind="arithmetic",
    says="the rows repeated from MMDG have the averages they have there",
    quote="Average",
    assumes="MMDG's averages as recorded in facts.toml",
    explains="averages computed or typed anew; the columns of these rows are MMDG's",
    settles="the two tables side by side",
)
def source_averages(n: Numbers) -> Finding:
    differ, not_means = [], 0
    for row, source in n.mmdg_averages.items():
        for metric, there in zip(METRIC_NAMES, source, strict=True):
            here = n.mmda1.rows[row].values["average"][metric]
            if there != here:
                differ.append(f"{name(n, row)} {METRIC_NAMES[metric]} {here} for {there}")
            not_means += abs(there - true_mean(n, 1, row, metric)) > ROUNDING
    total = len(METRIC_NAMES) * len(n.mmdg_averages)
    return holds(
        not differ,
        f"{len(differ)} of {total} differ, {total - not_means} equal the columns' means",
        f"Here for there: {', '.join(differ)}.",
        f"MMDG's averages are the means of the columns printed here in {total - not_means} of {total} cases.",
    )


@claim(
    "mmda.t1.average.direction",
    place="Table 1, Average",
    kind="direction",
    says="the Average column leaves the comparison of the rivals with MMDA as their columns have it",
    explains="a shared mistake; nothing here shows intent",
    settles="the averages recomputed from the printed columns",
)
def error_direction(n: Numbers) -> Finding:
    worse = {}
    for metric in METRIC_NAMES:
        gaps = [
            sign(metric) * (n.mmda1.rows[row].values["average"][metric] - true_mean(n, 1, row, metric))
            for row in wrong_averages(n, metric)
            if row != OURS
        ]
        worse[metric] = (sum(gap > 0 for gap in gaps), len(gaps))
    figure = ", ".join(f"{METRIC_NAMES[m]} {a} of {b}" for m, (a, b) in worse.items())
    return holds(
        all(3 * a <= 2 * b for a, b in worse.values()),
        figure,
        f"Wrong averages of rival methods that make them look worse than their columns do: {figure}. "
        "Up to two thirds would pass here.",
    )


@claim(
    "mmda.t1.iadg_shape",
    place="Table 1, IADG, CPS→W",
    kind="bound between metrics",
    says="one score set gives IADG 27.02 % HTER and 86.50 % AUC on WMCA",
    settles="IADG's scores on the W list",
)
def iadg_shape(n: Numbers) -> Finding:
    printed = n.mmda1.rows["iadg"].values["W"]
    eer, auc = float(printed["hter"]) / 100, float(printed["auc"]) / 100
    typical, top = bounds.binormal_auc(eer), bounds.auc_range(eer)[1]
    return Finding(
        "undetermined" if auc <= top else "contradicted",
        f"{100 * (auc - typical):+.1f} from binormal",
        (f"Two normal distributions of equal variance with this EER give AUC {typical:.2%}; printed {auc:.2%}; "
         f"at most {top:.2%}. Possible, but the oddest shape in the table.",),
    )  # fmt: skip
