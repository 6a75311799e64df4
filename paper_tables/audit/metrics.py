"""The metrics of face anti-spoofing tables: their names, which end is the best, and what they are counted over."""

from dataclasses import dataclass
from typing import Literal

Over = Literal["all", "bona fide", "attack", "both", "none"]


@dataclass(frozen=True)
class Metric:
    """`over`: a share of all samples, of the bona fide ones or of the attacks; `both`: half the sum of a share of the
    bona fide ones and a share of the attacks; `none`: no share of samples. `spellings` are in lower case."""

    printed: str
    lower_is_better: bool
    over: Over
    spellings: tuple[str, ...]


METRICS = {
    "hter": Metric("HTER", True, "both", ("hter",)),
    "eer": Metric("EER", True, "none", ("eer", "d-eer")),
    "auc": Metric("AUC", False, "none", ("auc", "auroc", "auc-roc")),
    "accuracy": Metric("Acc", False, "all", ("accuracy", "acc", "acc.")),
    "apcer": Metric("APCER", True, "attack", ("apcer",)),
    "bpcer": Metric("BPCER", True, "bona fide", ("bpcer", "npcer")),
    "acer": Metric("ACER", True, "both", ("acer",)),
    "far": Metric("FAR", True, "attack", ("far", "fpr", "sfar")),
    "frr": Metric("FRR", True, "bona fide", ("frr", "fnr")),
    "tpr": Metric("TPR", False, "bona fide", ("tpr", "tar", "tdr")),
}


def sign(metric: str) -> int:
    """The sign that makes the best value of a metric the least: 1 for HTER, −1 for AUC and accuracy."""
    return 1 if METRICS[metric].lower_is_better else -1


def named(spelling: str) -> str | None:
    """The key of the metric that is spelt so, or None."""
    return next((name for name, m in METRICS.items() if spelling.strip().lower() in m.spellings), None)
