"""Claims of mmFAS's Table 2, accuracy columns: what the ablations are said to show.

Each claim compares accuracies of the table's rows with one another, with the text or with Table 1.
"""

from collections.abc import Callable, Iterator
from decimal import Decimal
from functools import partial
from itertools import product

from paper_tables.audit.claim import Claim, Family, Result, claim, holds
from paper_tables.audit.mmfas.names import text
from paper_tables.audit.numbers import Numbers

ABLATION = "Section 4, Ablation Study; Table 2"
ALIGNMENT = "Section 4, Effect of alignment setting; Table 2"
ATTENTION = "Section 4, Effect of attention selection; Table 2"
MINING = "Section 3, Hard Negative Mining; Table 2"
MINING_QUOTE = "increases the training speed while maintaining performance"
MODULES_QUOTE = "validate the effectiveness of the proposed alignment and fusion modules"
ALIGNED = ("icl", "cm", "hcm", "icl_cm", "icl_hcm")  # rows with alignment and no fusion module
ATTENTIONS = {"ma": "merge", "ca": "cross"}


def accuracy(n: Numbers, row: str, column: str = "weighted_accuracy") -> Decimal:
    return n.mmfas2.values[row][column]


def lower(n: Numbers, row: str, than: str, column: str = "weighted_accuracy") -> Result:
    """`row` is lower than `than` in a column."""
    a, b = accuracy(n, row, column), accuracy(n, than, column)
    return holds(a < b, f"{b - a:+}", f"{n.mmfas2.printed[row]} {a}, {n.mmfas2.printed[than]} {b}.")


@claim(
    "mmfas.t2.rows",
    place=ABLATION,
    kind="text against table",
    says="there are 18 ablations",
    quote="18 independent ablation experiments",
)
def rows(n: Numbers) -> Result:
    count = len(n.mmfas2.values)
    return holds(count == text(n, "ablations"), f"{count} rows", "7 of modalities, 5 of alignment, 6 of attention.")


@claim(
    "mmfas.t2.trimodal_best",
    place="Section 4, Impact of modality choice; Table 2",
    kind="ranking",
    says="all three modalities beat any one or two",
    quote="the trimodal configuration achieves the best weighted accuracy",
)
def trimodal_best(n: Numbers) -> Result:
    rival = max(("r", "d", "i", "rd", "ri", "di"), key=lambda row: accuracy(n, row))
    return lower(n, rival, "rdi")


# --- alignment --------------------------------------------------------------------------------------------


@Family
def alignment_drops(n: Numbers) -> Iterator[Claim]:
    for name, pick, side in (("least", min, "smallest"), ("most", max, "largest")):
        yield Claim(
            id=f"mmfas.t2.alignment_drop.{name}",
            place=ALIGNMENT,
            kind="text against table",
            says=f"the {side} loss of weighted accuracy by alignment without fusion is as stated",
            decide=partial(alignment_drop, name=name, pick=pick),
            quote="between 8.75% and 17.74%",
        )


def alignment_drop(n: Numbers, name: str, pick: Callable[[list[Decimal]], Decimal]) -> Result:
    plain, stated = accuracy(n, "rdi"), text(n, f"alignment_drop_{name}")
    drops = [plain - accuracy(n, row) for row in ALIGNED]
    return holds(
        pick(drops) == stated,
        f"{pick(drops)}",
        f"{plain} less each of five rows: {', '.join(map(str, drops))} (percentage points); text {stated}.",
    )


@Family
def alignment_alone(n: Numbers) -> Iterator[Claim]:
    for row in ALIGNED:
        yield Claim(
            id=f"mmfas.t2.alignment_alone.{row}",
            place=ALIGNMENT,
            kind="direction",
            says="alignment without a fusion module lowers the weighted accuracy",
            decide=partial(lower, row=row, than="rdi"),
            quote="there is a varying reduction in weighted accuracy",
        )


# --- attention --------------------------------------------------------------------------------------------


@Family
def switch_with_alignment(n: Numbers) -> Iterator[Claim]:
    for rival, name in ATTENTIONS.items():
        yield Claim(
            id=f"mmfas.t2.switch_with_alignment.{rival}",
            place=ATTENTION,
            kind="ranking",
            says=f"with alignment, switch-attention beats {name}-attention",
            decide=partial(lower, row=f"{rival}_aligned", than="sa_aligned"),
            quote="our switch-attention outperforms merge-attention and cross-attention",
        )


@Family
def switch_without_alignment(n: Numbers) -> Iterator[Claim]:
    for rival, name in ATTENTIONS.items():
        yield Claim(
            id=f"mmfas.t2.switch_without_alignment.{rival}",
            place=ATTENTION,
            kind="ranking",
            says=f"without alignment, switch-attention beats {name}-attention",
            decide=partial(lower, row=rival, than="sa"),
            quote="our switch-attention outperforms merge-attention and cross-attention",
            assumes="the rows are told apart by their printed parameter counts",
            explains="the sentence may mean the setting with alignment, or MmFA's accuracy, where it holds",
            settles="naming the setting and the column that the sentence means",
        )


@Family
def alignment_helps(n: Numbers) -> Iterator[Claim]:
    for row, column in product(("ma", "ca", "sa"), ("weighted_accuracy", "mmfa_accuracy")):
        yield Claim(
            id=f"mmfas.t2.alignment_helps.{row}.{column}",
            place=ATTENTION,
            kind="direction",
            says=f"alignment before {row.upper()} fusion raises the {column.replace('_', ' ')}",
            decide=partial(lower, row=row, than=f"{row}_aligned", column=column),
            quote="the significance of aligning multimodal features prior to fusion",
        )


# --- the two modules --------------------------------------------------------------------------------------


@claim(
    "mmfas.t2.modules_apart",
    place=ABLATION,
    kind="direction",
    says="each of the two proposed modules is effective by itself",
    quote=MODULES_QUOTE,
    settles="saying whether the modules are meant apart or together; repeated runs",
)
def modules_apart(n: Numbers) -> Result:
    plain = accuracy(n, "rdi")
    apart = {name: accuracy(n, row) - plain for name, row in (("alignment", "icl_cm"), ("switch-attention", "sa"))}
    others = ", ".join(f"{row} {accuracy(n, f'{row}_aligned')}" for row in ATTENTIONS)
    return holds(
        min(apart.values()) >= 0,
        ", ".join(f"{name} {x:+}" for name, x in apart.items()),
        f"The plain mean of three modalities reaches {plain}; each module alone lowers it, and so does alignment with "
        f"the other attentions ({others}). Together they reach {accuracy(n, 'sa_aligned')}.",
        otherwise="undetermined",
    )


@claim(
    "mmfas.t2.fusion_helps.sa",
    place=ABLATION,
    kind="direction",
    says="alignment with switch-attention beats the plain mean of three modalities",
    quote=MODULES_QUOTE,
)
def modules_together(n: Numbers) -> Result:
    return lower(n, "rdi", "sa_aligned")


@claim(
    "mmfas.t2.worse_than_unimodal",
    place="Section 5; Table 2",
    kind="direction",
    says="fusion without alignment can be worse than a single modality",
    quote="multimodal models without alignment may result in even poorer generalization",
)
def worse_than_unimodal(n: Numbers) -> Result:
    best = max(accuracy(n, row) for row in ("r", "d", "i"))
    values = {row: accuracy(n, row) for row in ("ma", "ca", "sa")}
    below = [row for row, x in values.items() if x < best]
    listing = ", ".join(f"{row.upper()} {x}" for row, x in values.items())
    return holds(bool(below), f"{len(below)} of 3", f"Best single modality {best}; without alignment {listing}.")


# --- mining -----------------------------------------------------------------------------------------------


@claim(
    "mmfas.t2.mining",
    place=MINING,
    kind="direction",
    says="mining hard pairs keeps the performance (with ICL)",
    quote=MINING_QUOTE,
    assumes="rows 11 and 12 are ICL+CM and ICL+CM+HNM+HPM, in the table's order",
    explains="the comparison is without fusion; with it no row without mining is printed",
    settles="the full model trained without mining",
)
def mining(n: Numbers) -> Result:
    without, with_it = accuracy(n, "icl_cm"), accuracy(n, "icl_hcm")
    return holds(
        with_it >= without,
        f"{with_it - without:+}",
        f"{without} without, {with_it} with mining, one run each, if the rows are read in the table's order.",
        otherwise="undetermined",
    )


@claim(
    "mmfas.t2.mining_alone",
    place=MINING,
    kind="direction",
    says="mining hard pairs keeps the performance (CM alone)",
    quote=MINING_QUOTE,
    assumes="rows 9 and 10 are CM and CM+HNM+HPM, in the table's order",
)
def mining_alone(n: Numbers) -> Result:
    return lower(n, "cm", "hcm")


# --- beside Table 1 ---------------------------------------------------------------------------------------


@Family
def full_model(n: Numbers) -> Iterator[Claim]:
    for name, words, group in (("mmfa", "MmFA", "S"), ("weighted", "weighted", "weighted")):
        yield Claim(
            id=f"mmfas.t2.full.{name}",
            place="Table 1, Ours; Table 2",
            kind="text against table",
            says=f"the full model's {words} accuracy is the one of Table 1",
            between="the full model's accuracy in Table 1 and in Table 2",
            decide=partial(as_in_table1, column=f"{name}_accuracy", group=group),
        )


def as_in_table1(n: Numbers, column: str, group: str) -> Result:
    here, there = accuracy(n, "sa_aligned", column), n.mmfas1.rows["mmfas"].values[group]["accuracy"]
    return holds(here == there, f"{here - there:+}", f"{here} here, {there} there.")
