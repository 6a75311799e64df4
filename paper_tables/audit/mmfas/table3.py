"""Claims of mmFAS's Table 3, the weighted AUC of the six switch orders.

An order is compared with the other orders, with the rival methods of Table 1, and with chance.
"""

from collections.abc import Iterator
from decimal import Decimal
from functools import partial

from paper_tables.audit.claim import OBSERVATION, Claim, Family, Result, claim, holds, observed
from paper_tables.audit.numbers import Numbers

PLACE = "Section 4, Ablation of switch mode; Table 3"
LEAST_QUOTE = "even our least effective configuration surpasses all other methods"
RIVAL_ORDERS = ("rid", "dri", "idr", "dir", "ird")  # all but the proposed one, RDI


def auc(n: Numbers, order: str) -> Decimal:
    return n.mmfas3.values[order]["weighted_auc"]


@Family
def rdi_best(n: Numbers) -> Iterator[Claim]:
    for order in RIVAL_ORDERS:
        yield Claim(
            id=f"mmfas.t3.rdi_best.{order}",
            place=PLACE,
            kind="ranking",
            says=f"the order RDI is better than {order.upper()}",
            decide=partial(rdi_above, order=order),
            quote="this sequence order RDI achieves the best performance",
        )


def rdi_above(n: Numbers, order: str) -> Result:
    ours, other = auc(n, "rdi"), auc(n, order)
    return holds(ours > other, f"{ours - other:+}", f"{ours} against {other}, one run each.")


@Family
def beats_all(n: Numbers) -> Iterator[Claim]:
    for order in RIVAL_ORDERS:
        yield Claim(
            id=f"mmfas.t3.beats_all.{order}",
            place=PLACE,
            kind="ranking",
            says=f"even with the order {order.upper()} the weighted AUC is above every other method's",
            decide=partial(above_rival_methods, order=order),
            quote=LEAST_QUOTE,
        )


def above_rival_methods(n: Numbers, order: str) -> Result:
    value = auc(n, order)
    rivals = {row: x.values["weighted"]["auc"] for row, x in n.mmfas1.rows.items() if row != "mmfas"}
    best = max(rivals, key=lambda row: rivals[row])
    return holds(value > rivals[best], f"{value - rivals[best]:+}", f"{value} against {best}'s {rivals[best]}.")


@claim(
    "mmfas.t3.least_configuration",
    place=PLACE,
    kind="ranking",
    says="the least effective configuration surpasses every other method, the ablations' configurations included",
    quote=LEAST_QUOTE,
    settles="naming the configurations meant; for the six switch orders it holds",
)
def least_configuration(n: Numbers) -> Result:
    least = n.mmfas2.values["sa"]["weighted_accuracy"]
    rivals = [x for row, x in n.mmfas1.rows.items() if row != "mmfas"]
    above = [x.printed for x in rivals if x.values["weighted"]["accuracy"] > least]
    return holds(
        not above,
        f"below {len(above)} of 10",
        f"Switch-attention without alignment has {least} % weighted accuracy; above it: {', '.join(above)}.",
        otherwise="undetermined",
    )


@claim(
    "mmfas.t3.same_as_table1",
    place=PLACE,
    kind="text against table",
    says="RDI's value is the weighted AUC of Table 1",
    between="RDI in Table 3 and the proposed method's weighted AUC in Table 1",
)
def same_as_table1(n: Numbers) -> Result:
    here, there = auc(n, "rdi"), n.mmfas1.rows["mmfas"].values["weighted"]["auc"]
    return holds(here == there, f"{here - there:+}", f"{here} here, {there} there.")


@claim(
    "mmfas.t3.bold",
    place="Table 3, bold",
    kind="ranking",
    says="the order in bold is the best of the six",
    quote="this sequence order RDI achieves the best performance",
)
def mark(n: Numbers) -> Result:
    ranked = sorted(n.mmfas3.values, key=lambda order: auc(n, order), reverse=True)
    best, second = (auc(n, order) for order in ranked[:2])
    return holds(
        ranked[0] == n.bold_order and best > second,
        f"{best} before {second}",
        f"Ranked: {', '.join(f'{order.upper()} {auc(n, order)}' for order in ranked)}.",
    )


@claim(
    "mmfas.t3.direction",
    place=PLACE,
    kind=OBSERVATION,
    says="the six orders do not differ by the direction of their cycle",
    settles="several seeds an order",
)
def cycles(n: Numbers) -> Result:
    values = [auc(n, order) for order in n.mmfas3.values]
    forward = sum((auc(n, order) for order in ("rdi", "dir", "ird")), Decimal(0)) / 3
    backward = sum((auc(n, order) for order in ("rid", "idr", "dri")), Decimal(0)) / 3
    return observed(
        f"{forward - backward:+.2f} between cycles",
        f"Mean of RDI, DIR, IRD {forward:.2f}; of RID, IDR, DRI {backward:.2f}; "
        f"spread of all six {max(values) - min(values)}.",
        "One run an order and no spread over seeds: the differences cannot be told from chance.",
    )
