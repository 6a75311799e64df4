"""Claims of mmFAS's text that no table's file holds: Section 4, Comparison Results, and the figures.

What the text says of a column of Table 1 is compared with the column. Of the figures no number is printed.
"""

import re
from collections.abc import Iterator
from decimal import Decimal
from functools import partial
from itertools import product

from paper_tables.audit.claim import Claim, Family, Result, claim, holds, needs_data, undetermined
from paper_tables.audit.metrics import sign
from paper_tables.audit.mmfas.names import CROSS, HOME, METRIC_NAMES, SET_NAMES, text
from paper_tables.audit.numbers import Numbers

PLACE = "Section 4, Comparison Results"


@Family
def best_weighted(n: Numbers) -> Iterator[Claim]:
    for metric in METRIC_NAMES:
        yield Claim(
            id=f"mmfas.text.best_weighted.{metric}",
            place=PLACE,
            kind="ranking",
            says=f"the proposed method has the best weighted {METRIC_NAMES[metric]} of all 11",
            decide=partial(best, group="weighted", metric=metric),
            quote="outperforms all generic models and FAS-specific methods",
        )


def best(n: Numbers, group: str, metric: str) -> Result:
    """mmFAS is better than every other row in a column of Table 1."""
    values = {row: sign(metric) * x.values[group][metric] for row, x in n.mmfas1.rows.items()}
    ours = values.pop("mmfas")
    rival = min(values.values())
    return holds(ours < rival, f"{rival - ours:+}", f"{abs(ours)} against {abs(rival)}, the best of the others.")


@Family
def drops(n: Numbers) -> Iterator[Claim]:
    for metric in METRIC_NAMES:
        yield Claim(
            id=f"mmfas.text.drop.{metric}",
            place=PLACE,
            kind="direction",
            says=f"every method's {METRIC_NAMES[metric]} is worse on each of the three other sets than on CeFa",
            decide=partial(drop, metric=metric),
            quote="of all models drop significantly",
        )


def drop(n: Numbers, metric: str) -> Result:
    rows = n.mmfas1.rows.values()
    least = min(sign(metric) * (row.values[s][metric] - row.values[HOME][metric]) for row in rows for s in CROSS)
    return holds(least > 0, f"least {least}", f"The smallest fall over 11 rows and 3 sets is {least} points.")


@claim(
    "mmfas.text.outperforms_everywhere",
    place=PLACE,
    kind="ranking",
    says="the proposed method beats all ten in every column of the table",
    quote="outperforming 10 representative methods",
    settles="naming the columns meant; in the weighted ones it holds",
)
def best_everywhere(n: Numbers) -> Result:
    cells = product(n.mmfas1.sets, n.mmfas1.metrics)
    lost = [f"{SET_NAMES[s]} {METRIC_NAMES[m]}" for s, m in cells if best(n, s, m).verdict != "confirmed"]
    figure = f"not first in {len(lost)} of 15"
    return holds(not lost, figure, f"Tied or behind in: {', '.join(lost)}.", otherwise="undetermined")


@claim(
    "mmfas.text.worse_than_random.some",
    place=PLACE,
    kind="text against table",
    says="some models fall below random prediction on another data set",
    quote="some models even perform worse than random prediction",
)
def some_worse_than_random(n: Numbers) -> Result:
    below = [(row, s) for row, s in product(n.mmfas1.rows.values(), CROSS) if row.values[s]["auc"] < 50]
    cells = ", ".join(f"{row.printed} on {SET_NAMES[s]} {row.values[s]['auc']}" for row, s in below)
    return holds(bool(below), f"{len(below)} cells", f"AUC below 50: {cells}.")


@Family
def worse_than_random(n: Numbers) -> Iterator[Claim]:
    for row, name in (("deeppixbis", "DeepPixBiS"), ("a_deeppixbis", "ADeepPixBiS")):
        yield Claim(
            id=f"mmfas.text.worse_than_random.{row}",
            place=PLACE,
            kind="text against table",
            says=f"{name} is worse than random prediction on MmFA",
            decide=partial(row_worse_than_random, row=row),
            quote="even perform worse than random prediction",
            explains="its accuracy may be meant, which is below 50 %",
            settles="naming the metric meant",
        )


def row_worse_than_random(n: Numbers, row: str) -> Result:
    values = n.mmfas1.rows[row].values["S"]
    worse = {"HTER": values["hter"] > 50, "AUC": values["auc"] < 50, "Acc": values["accuracy"] < 50}
    line = (
        f"Random scores give AUC 50 and HTER 50; a coin gives Acc 50. Printed: AUC {values['auc']}, HTER "
        f"{values['hter']}, Acc {values['accuracy']}. The sentence names all three metrics."
    )
    figure = f"AUC {values['auc']}, HTER {values['hter']}, Acc {values['accuracy']}"
    if any(worse.values()) and not all(worse.values()):
        return undetermined(figure, line, f"Worse by {', '.join(m for m, x in worse.items() if x)} alone.")
    return holds(all(worse.values()), figure, line)


@claim(
    "mmfas.text.feathernet_best",
    place=PLACE,
    kind="text against table",
    says="FeatherNet has the best accuracy on MmFA, 69.65 %",
    quote="achieves the best Accuracy (69.65%)",
)
def feathernet_best(n: Numbers) -> Result:
    column = {row: x.values["S"]["accuracy"] for row, x in n.mmfas1.rows.items()}
    return feathernet(column, text(n, "feathernet_accuracy"), max(column.values()))


@claim(
    "mmfas.text.feathernet_last",
    place=PLACE,
    kind="text against table",
    says="FeatherNet has the lowest AUC on HQ-WMCA, 38.54 %",
    quote="ranks last on the HQ-WMCA dataset in terms of AUC (38.54%)",
)
def feathernet_last(n: Numbers) -> Result:
    column = {row: x.values["H"]["auc"] for row, x in n.mmfas1.rows.items()}
    return feathernet(column, text(n, "feathernet_auc"), min(column.values()))


def feathernet(column: dict[str, Decimal], stated: Decimal, end: Decimal) -> Result:
    """FeatherNet's value in a column is the one stated and the column's extreme, `end`."""
    ours = column["feathernet"]
    return holds(ours == end == stated, f"{end}", f"Text {stated}, table {ours}, column's extreme {end}.")


@claim(
    "mmfas.text.impressive_home",
    place=PLACE,
    kind="text against table",
    says="all methods are strong on CeFa itself",
    quote="all methods achieve impressive performance on the CeFa dataset",
)
def impressive_home(n: Numbers) -> Result:
    accuracy = min(row.values[HOME]["accuracy"] for row in n.mmfas1.rows.values())
    hter = max(row.values[HOME]["hter"] for row in n.mmfas1.rows.values())
    return holds(accuracy > 98 and hter < 2, f"least Acc {accuracy}", f"Largest HTER {hter} %.")


# --- numbers of the text beside one another ---------------------------------------------------------------


@Family
def agreements(n: Numbers) -> Iterator[Claim]:
    """Each stated number follows from other stated numbers or from a table."""
    rows = len(n.mmfas2.values)
    modal = sum(len(row) <= 3 and set(row) <= set("rdi") for row in n.mmfas2.values)
    generic = int(text(n, "unimodal_generic") + text(n, "multimodal_generic"))
    for name, says, other, computation in (
        ("switch_orders", "six orders of three modalities are possible", len(n.mmfas3.values), "columns of Table 3"),
        ("modality_rows", "the first seven rows of Table 2 choose the modalities", modal, f"of {rows} rows of Table 2"),
        (
            "general_methods",
            "three general methods are compared",
            generic,
            "one multimodal and two unimodal ones",
        ),
        ("head_layer_width", "the head is as wide as the features", int(text(n, "feature_width")), "the feature width"),
        ("datasets", "four data sets are used", len(CROSS) + 1, "sets of Table 1"),
        ("hq_modalities", "HQ-WMCA's modalities are those listed", listed(n, "hq_modalities"), "names in the list"),
        ("wmca_modalities", "WMCA's modalities are those listed", listed(n, "wmca_modalities"), "names in the list"),
        ("mmfa_modalities", "MmFA's modalities are those listed", listed(n, "mmfa_modalities"), "names in the list"),
        ("mmfa_attacks", "MmFA's attacks are those listed", listed(n, "mmfa_attacks"), "names in the list"),
    ):
        stated = n.mmfas_text[name]
        yield Claim(
            id=f"mmfas.text.{name}",
            place=stated.place,
            kind="text against table",
            says=says,
            decide=partial(agrees, name=name, other=other, computation=computation),
            quote=stated.quote,
        )


def agrees(n: Numbers, name: str, other: int, computation: str) -> Result:
    stated = text(n, name)
    return holds(stated == other, f"{other}", f"Text {stated}; {other} {computation}.")


def listed(n: Numbers, name: str) -> int:
    """How many names the quoted list holds, from the last “including”, “i.e.” or colon on."""
    names = re.split(r"including |i\.e\., |: ", n.mmfas_text[name].quote)[-1].rstrip(")")
    return len(re.split(r", and |, | and ", names))


# --- figures ----------------------------------------------------------------------------------------------


UNPRINTED = "Shown as a picture or stated; no number is printed that could be checked."
figure5 = needs_data(
    "mmfas.fig5",
    "Section 4, Figure 5",
    "the proposed method's FPR-FNR curve lies nearest the origin on the four sets",
    UNPRINTED,
)
figure6 = needs_data("mmfas.fig6", "Section 4, Figure 6", "α = β = 1 gives the highest AUC", UNPRINTED)
figure7 = needs_data("mmfas.fig7", "Section 4, Figure 7", "the gradient maps show resilience to noise", UNPRINTED)
convergence = needs_data(
    "mmfas.convergence", "Section 1", "hard negative and positive mining accelerates convergence", UNPRINTED
)
