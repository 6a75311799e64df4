"""Claims of MMDA's Table 5, the alignments: numbers the text repeats, which row improves which, and the first row."""

from functools import partial

from paper_tables.audit.claim import Family, Result, claim, holds
from paper_tables.audit.mmda import questions
from paper_tables.audit.numbers import Numbers

texts = Family(partial(questions.ablation_texts, number=5, rows=("vanilla", "smooth", "rs2")))
ORDERS = (
    (
        "smooth",
        "vanilla",
        "smooth alignment is better than the conventional one",
        "Smooth alignment reduced the HTER to 9.17%",
    ),
    ("rs2", "smooth", "RS2 is better than smooth alignment", "the RS2 method further optimized these results"),
)
orders = Family(partial(questions.ablation_orders, number=5, orders=ORDERS))
steps = Family(partial(questions.small_steps, number=5, steps=(("smooth", "vanilla"), ("rs2", "smooth"))))
eer_and_auc = Family(partial(questions.ablations_eer_and_auc, number=5))


@claim(
    "mmda.t5.starts_where_t4_ends",
    place="Tables 4 and 5",
    kind="text against table",
    between="the last row of Table 4 and the first of Table 5",
    says="Table 5 starts from Table 4's best row",
)
def starts_where_table4_ends(n: Numbers) -> Result:
    last, first = n.mmda4.values["moe_md2a"], n.mmda5.values["vanilla"]
    return holds(
        last == first,
        f"{first['hter']}/{first['auc']}",
        "Table 4's last row and Table 5's first, HTER/AUC; so U-DSA is not in either.",
    )
