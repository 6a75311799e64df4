"""mmFAS's tables, its Figures 5 and 6, and the readings of what its paper leaves open: one declaration each.

Every model is trained on CeFA and tested on the rest of it and, untouched, on three other data sets.
"""

from typing import Any

from paper_tables.declarations.published import FOLDER
from paper_tables.declarations.table import Column, Curves, Part, Place, Point, Row, Sweep, Table

SETS = {"C": "CeFA", "S": "MmFA", "W": "WMCA", "H": "HQ-WMCA"}
COMMON: dict[str, Any] = {"parts": (Part(tuple(SETS)),), "sets": SETS}
COLUMNS = tuple(Column(letter, name, (Place("", (letter,)),), dataset=True) for letter, name in SETS.items())
WEIGHTED = Column("weighted", "Weighted", tuple(Place("", (letter,)) for letter in SETS), weighted=True)

PROGRAM, TABLE2 = "reference.mmfas", ("--preset", "table2")
SWITCH = (*TABLE2, "--fusion", "switch")
UNALIGNED = ("--no-icl", "--cm", "off")
NOTHING_STATED = "states neither seeds nor spread nor how the epoch was selected."


TABLE_1 = Table(
    name="mmfas-table1",
    title="mmFAS, Table 1: comparison with other methods, trained on CeFA",
    own_rows=(Row("mmfas", "mmFAS (ours)", PROGRAM, SWITCH, "mmfas"),),
    columns=(*COLUMNS, WEIGHTED),
    **COMMON,
    published=FOLDER / "mmfas_table1.toml",
    published_note=f"its Weighted column weighs by the original image counts. It {NOTHING_STATED}",
    figure=Curves("figure5", "FPR–FNR curves, as in mmFAS, Figure 5"),
)


def _ablation(name: str, label: str, *options: str, cost: float = 1.0) -> Row:
    """A row of mmFAS's ablation; `cost` is that of an epoch in the cpu profile, relative to mmFAS's."""
    return Row(name, label, PROGRAM, (*TABLE2, *options), name, cost={"cpu": cost})


def _mean(name: str, modalities: str, label: str, *losses: str, cost: float = 0.5) -> Row:
    """A row without attention across modalities: the mean of the encoders' features."""
    return _ablation(name, label, "--fusion", "mean", "--modalities", modalities, *losses, cost=cost)


TABLE_2 = Table(
    name="mmfas-table2",
    title="mmFAS, Table 2: ablation of modalities, alignment losses and attention",
    own_rows=(
        *(_mean(m.lower(), m, m, *UNALIGNED, cost=0.2) for m in ("R", "D", "I")),
        *(_mean(m.lower(), m, "+".join(m), *UNALIGNED, cost=0.3) for m in ("RD", "RI", "DI")),
        _mean("rdi", "RDI", "R+D+I", *UNALIGNED),
        _mean("icl", "RDI", "R+D+I, ICL", "--icl", "--cm", "off"),
        _mean("cm", "RDI", "R+D+I, CM", "--no-icl", "--cm", "all"),
        _mean("hcm", "RDI", "R+D+I, CM+HNM+HPM", "--no-icl", "--cm", "mined"),
        _mean("icl_cm", "RDI", "R+D+I, ICL, CM", "--icl", "--cm", "all"),
        _mean("icl_hcm", "RDI", "R+D+I, ICL, CM+HNM+HPM", "--icl", "--cm", "mined"),
        # Merge-attention runs over the tokens of all three modalities at once, cross-attention over pairs of them.
        _ablation("ma", "R+D+I, MA", "--fusion", "merge", *UNALIGNED, cost=3.0),
        _ablation("ca", "R+D+I, CA", "--fusion", "cross", *UNALIGNED, cost=2.0),
        _ablation("sa", "R+D+I, SA", "--fusion", "switch", *UNALIGNED),
        _ablation("ma_aligned", "R+D+I, alignment, MA", "--fusion", "merge", cost=3.0),
        _ablation("ca_aligned", "R+D+I, alignment, CA", "--fusion", "cross", cost=2.0),
        Row("mmfas", "R+D+I, alignment, SA (mmFAS)", PROGRAM, SWITCH, "sa_aligned"),
    ),
    columns=(COLUMNS[list(SETS).index("S")], WEIGHTED),
    **COMMON,
    visible=("accuracy",),
    published=FOLDER / "mmfas_table2.toml",
    flat_columns={"mmfa_accuracy": ("S", "accuracy"), "weighted_accuracy": ("weighted", "accuracy")},
    published_note=f"it {NOTHING_STATED}",
    notes=(
        "Parameters: those of leaf modules, the count that fits all published ones; class tokens, position tables and "
        "what only training uses (temperature, matching predictors) are not in it.",
        "ICL: contrastive loss; CM: class matching on all pairs, HNM+HPM: on hard pairs; alignment: ICL and "
        "CM+HNM+HPM; MA, CA, SA: merge-, cross- and switch-attention. Which of the five alignment rows is which "
        "follows the table's order, its tick marks being unreliable.",
    ),
    leaf_parameters=True,
)

TABLE_3 = Table(
    name="mmfas-table3",
    title="mmFAS, Table 3: the order in which modalities give queries, keys and values",
    own_rows=(
        Row("mmfas", "RDI", PROGRAM, SWITCH, "rdi"),
        *(
            Row(order.lower(), order, PROGRAM, (*SWITCH, "--order", order), order.lower())
            for order in ("RID", "DRI", "IDR", "DIR", "IRD")
        ),
    ),
    columns=(WEIGHTED,),
    **COMMON,
    kinds=("hter", "auc"),
    visible=("auc",),
    published=FOLDER / "mmfas_table3.toml",
    flat_columns={"weighted_auc": ("weighted", "auc")},
    published_note=f"it names no metric; its value of RDI is Table 1's weighted AUC. It {NOTHING_STATED}",
)

WEIGHTS = (0.0, 0.25, 0.5, 1.0, 2.0, 4.0)


def _weight(loss: str, symbol: str, value: float) -> Row:
    """mmFAS with one loss weight replaced; with 1 it is mmFAS itself."""
    if value == 1:
        return Row("mmfas", "α = β = 1", PROGRAM, SWITCH)
    return Row(f"{loss}_{value:g}", f"{symbol} = {value:g}", PROGRAM, (*SWITCH, f"--{loss}", f"{value:g}"))


_ALPHA = tuple(_weight("alpha", "α", value) for value in WEIGHTS)
_BETA = tuple(_weight("beta", "β", value) for value in WEIGHTS)


def _along(rows: tuple[Row, ...]) -> tuple[Point, ...]:
    return tuple(Point(x, row.name, "weighted") for x, row in zip(WEIGHTS, rows, strict=True))


FIGURE_6 = Table(
    name="mmfas-figure6",
    title="mmFAS, Figure 6: the weights of the alignment losses",
    own_rows=(*_ALPHA, *(row for row in _BETA if row.name != "mmfas")),
    columns=(WEIGHTED,),
    **COMMON,
    kinds=("hter", "auc"),
    visible=("hter", "auc"),
    notes=(
        "α weighs the contrastive loss, β the matching loss; one is varied while the other is 1. The paper's own "
        "values of them are not printed.",
    ),
    figure=Sweep(
        "figure6",
        "Weights of the alignment losses, as in mmFAS, Figure 6 (weighted over the test sets)",
        "weight of the loss, the other being 1 (no unit)",
        {"α, contrastive loss": _along(_ALPHA), "β, matching loss": _along(_BETA)},
        ("auc", "hter"),
    ),
)


def _reading(number: str, name: str, words: str, *options: str) -> Row:
    return Row(name, f"{number}: {words}", PROGRAM, (*SWITCH, *options))


READINGS = Table(
    name="mmfas-readings",
    title="mmFAS: what the paper leaves open, one reading replaced at a time",
    own_rows=(
        Row("mmfas", "default", PROGRAM, SWITCH),
        Row("a1_text", "A1: the text's block, depth 6", PROGRAM, ("--preset", "text", "--fusion", "switch")),
        Row("a1_depth8", "A1: the text's block, depth 8", PROGRAM, ("--preset", "depth8", "--fusion", "switch")),
        _reading("A2", "a2_mean", "mean of tokens", "--pooling", "mean"),
        _reading("A3", "a3_raw", "raw dot products", "--no-normalise"),
        _reading("A4", "a4_projection", "projection 256 wide", "--projection", "256"),
        _reading("A5", "a5_exp", "logarithm of the temperature", "--tau-form", "exp"),
        _reading("A5", "a5_pair", "a temperature a pair", "--tau-scope", "pair"),
        _reading("A6", "a6_recording", "frames of a recording match", "--icl-target", "recording"),
        _reading("A7", "alpha_0.5", "losses of Eq. 3 averaged", "--alpha", "0.5"),
        _reading("A8", "a8_shared", "one matching predictor", "--cm-predictor", "shared"),
        _reading("A9", "a9_all", "all pairs", "--cm", "all"),
        _reading("A9", "a9_random", "random pairs", "--cm", "random"),
        _reading("A10", "a10_top", "hardest pairs", "--mining", "top"),
        _reading("A11", "a11_both_ways", "negatives both ways", "--mining-pairs", "both_ways"),
        _reading("A11", "a11_matched", "matched pairs as positives", "--mining-pairs", "matched"),
        _reading("A12", "a12_own", "own positive allowed", "--own-positive", "allowed"),
        _reading("A13", "a13_query", "the query stream is updated", "--update", "query"),
        _reading("A13", "a13_all", "all streams are updated", "--update", "all"),
        _reading("A14", "a14_query", "residual of the queries", "--residual", "query"),
        _reading("A15", "a15_one", "first layer 1", "--first-layer", "1"),
        _reading("A16", "a16_rgb", "RGB's stream comes out", "--output", "rgb"),
        _reading("A17", "a17_two", "two outputs", "--head-outputs", "2"),
        _reading("A18", "a18_none", "no positions", "--positions", "none"),
        _reading("A19", "a19_norm", "LayerNorm after the fusion", "--fusion-norm"),
        _reading("A20", "a20_l2", "decay in the gradient", "--optimiser", "adam_l2"),
        Row(
            "a21_augmentation",
            "A21: the other augmentation (profile)",
            PROGRAM,
            SWITCH,
            training={"cpu": {"augmentation": "none"}, "paper": {"augmentation": "flip"}},  # what the profile has not
        ),
    ),
    columns=(*COLUMNS, WEIGHTED),
    **COMMON,
    kinds=("hter", "auc"),
    visible=("hter", "auc"),
    notes=("Readings as numbered in reference/mmfas.py; each row is the default with one of them replaced.",),
    baseline="mmfas",
)

TABLES = (TABLE_1, TABLE_2, TABLE_3, FIGURE_6, READINGS)
