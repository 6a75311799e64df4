"""Claims of MMDA's Table 4, the adaptors: the numbers the text repeats, and which row improves which."""

from functools import partial

from paper_tables.audit.claim import Family
from paper_tables.audit.mmda import questions

texts = Family(partial(questions.ablation_texts, number=4, rows=("dense", "dense_md2a", "moe", "moe_md2a")))
MD2A = "MD2A significantly enhances the model’s generalization capability"
OVER_DA = "its superiority over traditional Differential Attention (DA)"
EXPERTS = "the MoE structure has a stronger capability in learning complex representations"
ORDERS = (
    ("dense_md2a", "dense", "MD2A improves the dense adaptor", MD2A),
    ("moe_md2a", "moe", "MD2A improves the mixture-of-experts adaptor", MD2A),
    ("dense_md2a", "dense_da", "MD2A is better than differential attention on the dense adaptor", OVER_DA),
    ("moe_md2a", "moe_da", "MD2A is better than differential attention on the mixture of experts", OVER_DA),
    ("moe", "dense", "the mixture of experts is better than the dense adaptor", EXPERTS),
    ("moe_md2a", "dense_md2a", "the mixture of experts is better than the dense adaptor, both with MD2A", EXPERTS),
)
orders = Family(partial(questions.ablation_orders, number=4, orders=ORDERS))
steps = Family(partial(questions.small_steps, number=4, steps=(("moe", "dense"), ("moe_da", "moe_mhsa"))))
eer_and_auc = Family(partial(questions.ablations_eer_and_auc, number=4))
