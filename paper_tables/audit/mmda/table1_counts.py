"""Claims of MMDA's Table 1 on integer counts: what whole numbers of errors on the public test lists can give.

The lists (facts.toml) hold few frames, so that an HTER fixes the errors, or nearly, and these limit the AUC.
"""

from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from functools import partial

from paper_tables.audit import bounds
from paper_tables.audit.claim import OBSERVATION, Claim, Family, Result, claim, observed
from paper_tables.audit.mmda.columns import COLUMNS, OURS, name
from paper_tables.audit.numbers import Numbers
from paper_tables.audit.printing import PRINTINGS

LIST_ASSUMED = "the public MMDG test list is the one used (W 345 + 1,326, P 363 + 304 frames)"


@Family
def reachable(n: Numbers) -> Iterator[Claim]:
    for column in COLUMNS[1]:
        yield Claim(
            id=f"mmda.counts.hter.{column}",
            place="Table 1",
            kind=OBSERVATION,
            says="how many pairs of whole numbers of errors give MMDA's HTER on the list, and how few values have none",
            decide=partial(reachable_on, column=column),
            assumes=LIST_ASSUMED,
            settles="the numbers of false accepts and false rejects",
        )


def reachable_on(n: Numbers, column: str) -> Result:
    hter, (live, attack) = n.mmda1.rows[OURS].values[column]["hter"], n.lists[column]
    pairs = list(bounds.hter_counts(n.fractions(hter), live, attack))
    near = min(pairs, key=lambda p: abs(p[0] / attack - p[1] / live), default=None)
    example = f"nearest to equal rates: {near[0]} false accepts, {near[1]} false rejects" if near else "none"
    below = sum(
        any(True for _ in bounds.hter_counts(n.fractions(Decimal(x) / 100), live, attack)) for x in range(1, 1000, 45)
    )
    return observed(
        f"solutions: {len(pairs)}",
        f"HTER {hter} on {live} live and {attack} attacks; {example}.",
        f"Of 23 values below 10 %, {below} have a solution.",
    )


@claim(
    "mmda.counts.one_model.W",
    place="Table 1, MMDA, CPS→W",
    kind=OBSERVATION,
    says="1.22 % HTER and 99.99 % AUC on WMCA are both given by one score set only in one extremal ordering if the AUC "
    "is rounded, and by none if it is cut",
    assumes=LIST_ASSUMED,
    explains="the released training script keeps the best HTER and the best AUC of all epochs separately",
    settles="the scores of one epoch and output",
)
def one_model(n: Numbers) -> Result:
    cell, (live, attack) = n.mmda1.rows[OURS].values["W"], n.lists["W"]
    pairs = list(bounds.hter_counts(n.fractions(cell["hter"]), live, attack))
    allowed, if_cut = (
        int((1 - replace(n, printing=printing).fractions(cell["auc"])[0]) * live * attack + 1e-6)
        for printing in PRINTINGS
    )
    needed = min((accepts * rejects for accepts, rejects in pairs), default=None)
    if needed is None:
        return observed("no counts", f"no whole numbers give HTER {cell['hter']} on {live} live and {attack} attacks")
    counts = "; ".join(f"{a} false accepts and {r} false rejects" for a, r in pairs)
    return observed(
        f"{needed} of at most {allowed} pairs; {if_cut} if cut",
        f"HTER {cell['hter']} % on {live} live and {attack} attacks: {counts}.",
        f"Each accepted attack then outranks each rejected live frame: at least {needed} of {live * attack:,} pairs "
        f"are misordered, so AUC ≤ {1 - needed / (live * attack):.4%}.",
        f"AUC {cell['auc']} % allows at most {allowed} misordered pairs if it was rounded, {if_cut} if it was cut.",
    )


@Family
def lattices(n: Numbers) -> Iterator[Claim]:
    for column in ("W", "P"):
        yield Claim(
            id=f"mmda.counts.lattice.{column}",
            place="Table 1",
            kind=OBSERVATION,
            says="more HTERs than chance would give are equal-error points of single frames on the MMDG list",
            decide=partial(lattice, column=column),
            assumes=LIST_ASSUMED,
            settles="the scores of the methods off the lattice (ties, straight runs of the ROC or another list)",
        )


def lattice(n: Numbers, column: str) -> Result:
    points = bounds.eer_lattice(*n.lists[column])
    values = {row: int(x.values[column]["hter"] * 100) for row, x in n.mmda1.rows.items()}
    off = [row for row, x in values.items() if x not in points]
    hits, chance = len(values) - len(off), len(points) / 5001
    p = bounds.binomial_tail(hits, len(values), chance)
    return observed(
        f"{hits} of {len(values)}",
        f"{hits} of {len(values)} HTERs lie on the lattice of equal-error points; {chance:.0%} of all values do "
        f"(p = {p:.0e}). Off it: {', '.join(name(n, row) for row in off)}.",
    )
