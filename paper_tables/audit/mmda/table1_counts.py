"""Claims of MMDA's Table 1 on integer counts: what whole numbers of errors on the public test lists can give.

The lists (facts.toml) hold few frames, so that an HTER fixes the errors, or nearly, and these limit the AUC.
"""

from collections.abc import Iterator
from functools import partial

from paper_tables.audit import bounds
from paper_tables.audit.claim import Claim, Family, Finding, claim, holds, undetermined
from paper_tables.audit.mmda.columns import COLUMNS, OURS, name
from paper_tables.audit.numbers import Numbers

LIST_ASSUMED = "the public MMDG test list is the one used (W 345 + 1,326, P 363 + 304 frames)"


@Family
def reachable(n: Numbers) -> Iterator[Claim]:
    for column in COLUMNS[1]:
        yield Claim(
            id=f"mmda.counts.hter.{column}",
            place="Table 1",
            kind="feasibility on integer counts",
            says="MMDA's HTER is one that whole numbers of errors give on this list",
            decide=partial(reachable_on, column=column),
            assumes=LIST_ASSUMED,
            settles="the numbers of false accepts and false rejects",
        )


def reachable_on(n: Numbers, column: str) -> Finding:
    hter, (live, attack) = n.mmda1.rows[OURS].values[column]["hter"], n.lists[column]
    pairs = bounds.hter_counts(float(hter) / 100, live, attack)
    near = min(pairs, key=lambda p: abs(p[0] / attack - p[1] / live), default=None)
    example = f"nearest to equal rates: {near[0]} false accepts, {near[1]} false rejects" if near else "none"
    return holds(
        bool(pairs), f"solutions: {len(pairs)}", f"HTER {hter} on {live} live and {attack} attacks; {example}."
    )


@claim(
    "mmda.counts.one_model.W",
    place="Table 1",
    kind="feasibility on integer counts",
    says="1.22 % HTER and 99.99 % AUC on WMCA belong to one score set",
    assumes=LIST_ASSUMED,
    explains="the released training script keeps the best HTER and the best AUC of all epochs separately",
    settles="the scores of one epoch and output",
)
def one_model(n: Numbers) -> Finding:
    cell, (live, attack) = n.mmda1.rows[OURS].values["W"], n.lists["W"]
    pairs = bounds.hter_counts(float(cell["hter"]) / 100, live, attack)
    allowed = int((1 - (float(cell["auc"]) / 100 - bounds.AUC_HALF)) * live * attack)
    needed = min((accepts * rejects for accepts, rejects in pairs), default=None)
    if needed is None:
        line = f"no whole numbers give HTER {cell['hter']} on {live} live and {attack} attacks"
        return holds(False, "no counts", line)
    counts = "; ".join(f"{a} false accepts and {r} false rejects" for a, r in pairs)
    top = 1 - needed / (live * attack)
    lines = (
        f"HTER {cell['hter']} % on {live} live and {attack} attacks: {counts}.",
        f"Each accepted attack then outranks each rejected live frame: at least {needed} of {live * attack:,} pairs "
        f"are misordered, so AUC ≤ {top:.4%}.",
        f"AUC {cell['auc']} % as printed allows at most {allowed} misordered pairs.",
    )
    if needed > allowed:
        return Finding("contradicted", f"{needed} > {allowed} pairs", lines)
    only = " Only the one extremal ordering fits." if needed == allowed else ""
    return undetermined(f"{needed} of at most {allowed} pairs", *lines, f"Possible.{only}")


@Family
def lattices(n: Numbers) -> Iterator[Claim]:
    for column in ("W", "P"):
        yield Claim(
            id=f"mmda.counts.lattice.{column}",
            place="Table 1",
            kind="feasibility on integer counts",
            says="the methods' HTERs are frame-level test-EER values on the MMDG list",
            decide=partial(lattice, column=column),
            quote="We employ the MMDG [21] testing protocol",
            assumes=LIST_ASSUMED,
            settles="the scores of the methods off the lattice (ties, straight runs of the ROC or another list)",
        )


def lattice(n: Numbers, column: str) -> Finding:
    points = bounds.eer_lattice(*n.lists[column])
    values = {row: int(x.values[column]["hter"] * 100) for row, x in n.mmda1.rows.items()}
    off = [row for row, x in values.items() if x not in points]
    hits, chance = len(values) - len(off), len(points) / 5001
    p = bounds.binomial_tail(hits, len(values), chance)
    return holds(
        p < 0.001,
        f"{hits} of {len(values)}",
        f"{hits} of {len(values)} HTERs lie on the lattice of equal-error points; {chance:.0%} of all values do "
        f"(p = {p:.0e}). Off it: {', '.join(name(n, row) for row in off)}.",
    )
