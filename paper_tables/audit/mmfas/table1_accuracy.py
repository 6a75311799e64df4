"""Claims of mmFAS's Table 1, Acc columns: whether a threshold at BPCER = 1 % on each tested set can give them.

At BPCER = 1 % an accuracy, the EER and the AUC limit the share of bona fide images. All rows of a column are scored on
one set, so that one share must fit them all. Beside them stand the accuracies of predictors that look at nothing.
"""

from collections.abc import Iterator
from functools import partial
from itertools import product

from paper_tables.audit import bounds
from paper_tables.audit.claim import OBSERVATION, Claim, Family, Result, claim, holds, observed, undetermined
from paper_tables.audit.comparisons import one_for_all
from paper_tables.audit.mmfas.names import CROSS, HOME, SET_NAMES, SETS
from paper_tables.audit.mmfas.weights import WEIGHTS
from paper_tables.audit.numbers import Numbers

BPCER = 0.01
QUOTE = "Accuracy is measured under the BPCER=1%"
LIVE_ASSUMED = "the share of bona fide images (facts.toml gives the counts); the computation says how far it can move"
CARRIED_OVER = "the threshold was fixed on CeFa and carried over, so that BPCER on the tested set is not 1 %"


def live_fraction(n: Numbers, group: str) -> float:
    bonafide, images, _ = n.live[group]
    return bonafide / images


def live_shares(n: Numbers, row: str, group: str) -> tuple[float, float]:
    """The least and the greatest share of bona fide images that the row's three numbers allow at BPCER = 1 %."""
    values = n.mmfas1.rows[row].values[group]
    accuracy, eer, auc = (n.fractions(values[metric]) for metric in ("accuracy", "hter", "auc"))
    return bounds.live_shares(accuracy, eer, auc, (BPCER, BPCER))


@Family
def operating_points(n: Numbers) -> Iterator[Claim]:
    for group, row in product(SETS, n.mmfas1.rows):
        yield Claim(
            id=f"mmfas.t1.operating_point.{row}.{group}",
            place=f"Table 1, {n.mmfas1.rows[row].printed}, {SET_NAMES[group]}; Section 4, Evaluation Protocols",
            kind="bound between metrics",
            says=f"the accuracy on {SET_NAMES[group]} is taken where BPCER = 1 % on that set",
            decide=partial(operating_point, row=row, group=group),
            quote=QUOTE,
            explains=CARRIED_OVER,
            settles="the thresholds used, or the scores",
        )


def operating_point(n: Numbers, row: str, group: str) -> Result:
    low, high = live_shares(n, row, group)
    if low > high:
        return holds(False, "no share", "No share of bona fide images allows the three numbers of the row.")
    return undetermined(
        f"{low:.2%} to {high:.2%} bona fide",
        f"Possible with {low:.2%} to {high:.2%} bona fide images, which does not show that it was done.",
    )


@Family
def one_share(n: Numbers) -> Iterator[Claim]:
    for group in SETS:
        yield Claim(
            id=f"mmfas.t1.one_share.{group}",
            place=f"Section 4, Evaluation Protocols; Table 1, {SET_NAMES[group]}",
            kind="bound between metrics",
            says="read with the threshold taken on the tested set, which the text does not say: one share of bona fide "
            f"images in {SET_NAMES[group]} fits the accuracies of all eleven rows",
            decide=partial(one_share_of, group=group),
            quote=QUOTE,
            explains=CARRIED_OVER,
            settles="the set on which the threshold was taken",
        )


def one_share_of(n: Numbers, group: str) -> Result:
    shares = {row: live_shares(n, row, group) for row in n.mmfas1.rows}
    least, most, first, above = one_for_all(shares)
    if not above:
        return undetermined(
            f"{least:.1%} to {most:.1%} fits all", f"Every row is possible with {least:.2%} to {most:.2%} bona fide."
        )
    name = n.mmfas1.rows[first].printed
    nearest, furthest = above[0], above[-1]
    listing = ", ".join(f"{n.mmfas1.rows[row].printed} {low:.2%}" for low, row in above)
    return holds(
        False,
        f"at most {most:.1%}, at least {nearest[0]:.1%} to {furthest[0]:.1%}",
        f"{name} needs at most {most:.2%} bona fide images; {len(above)} rows need at least: {listing}.",
        f"The reading holds only if {name} or all of these {len(above)} rows are misprinted or scored otherwise.",
    )


@claim(
    "mmfas.t1.constant_predictor",
    place="Table 1, Weighted Acc",
    kind=OBSERVATION,
    says="the weighted accuracy does not tell a method that generalises from one that calls every image of another set "
    "an attack",
    assumes=LIVE_ASSUMED,
    settles="balanced accuracy, or APCER and BPCER, beside the accuracy",
)
def constant_predictor(n: Numbers) -> Result:
    home, ours = 99.9, float(n.mmfas1.rows["mmfas"].values["weighted"]["accuracy"])
    share = {s: float(WEIGHTS[s]) for s in SETS}
    live = {s: live_fraction(n, s) for s in CROSS}
    score = share[HOME] * home + sum(share[s] * 100 * (1 - live[s]) for s in CROSS)
    best = max(float(row.values["weighted"]["accuracy"]) for row in n.mmfas1.rows.values())
    room = [f"{SET_NAMES[s]} from {live[s]:.2%} to {live[s] + (score - best) / 100 / share[s]:.2%}" for s in ("S", "W")]
    near = [
        f"{row.printed} on {SET_NAMES[s]} {row.values[s]['accuracy']}"
        for row in n.mmfas1.rows.values()
        for s in CROSS
        for rate in (live[s], 1 - live[s])
        if abs(float(row.values[s]["accuracy"]) - 100 * rate) < 0.5
    ]
    return observed(
        f"{score:.2f} against {ours:.2f}",
        f"A model right on {home} % of CeFa that calls everything else an attack scores {score:.2f}; "
        f"the best row prints {best:.2f}.",
        f"It would score no more than that if one share alone rose: {'; '.join(room)}.",
        f"Printed accuracies within half a point of a predictor without input: {', '.join(near)}.",
    )


@Family
def beside_constant(n: Numbers) -> Iterator[Claim]:
    for group in CROSS:
        yield Claim(
            id=f"mmfas.t1.beats_constant.{group}",
            place=f"Table 1, Ours, {SET_NAMES[group]} Acc",
            kind=OBSERVATION,
            says="the proposed method's accuracy is no higher than that of calling every image an attack",
            decide=partial(beside_constant_on, group=group),
            assumes=LIVE_ASSUMED,
            settles="APCER and BPCER at the threshold used",
        )


def beside_constant_on(n: Numbers, group: str) -> Result:
    ours, live = float(n.mmfas1.rows["mmfas"].values[group]["accuracy"]), live_fraction(n, group)
    constant = 100 * max(live, 1 - live)
    return observed(
        f"{ours - constant:+.2f}",
        f"Calling everything an attack scores {100 * (1 - live):.2f} %, everything bona fide {100 * live:.2f} %; "
        f"printed {ours:.2f} %. The two are equal at a share of {1 - ours / 100:.2%} bona fide.",
    )
