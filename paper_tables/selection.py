"""Which evaluated epoch of a run is reported: the three rules that every table shows side by side.

source_val  the epoch of least EER on the source's validation set; among equals the one of highest AUC there,
            then the earliest. The only rule that a deployment could follow, hence the default.
last        the last epoch.
oracle      the epoch that is best on the test set itself, chosen anew for every metric and every test set
            (the earliest among equals). No model attains these numbers; they show what choosing on the test
            set, as published code does, is worth.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

HIGHER_IS_BETTER = {"auc": True, "accuracy": True, "balanced_accuracy": True}
HIGHER_IS_BETTER |= {"hter": False, "apcer_max": False, "bpcer": False}

# At one threshold these two trade against each other, so the oracle chooses both by the balance of the two.
_CHOSEN_BY = {"apcer_max": "balanced_accuracy", "bpcer": "balanced_accuracy"}


@dataclass(frozen=True)
class Record:
    """One evaluated epoch. `targets[set][metric]` in %, a metric being `kind` or `kind:threshold`."""

    epoch: int
    val_eer: float
    val_auc: float
    targets: dict[str, dict[str, float]]


def source_val(records: Sequence[Record], target: str, metric: str) -> Record:
    return min(records, key=lambda r: (r.val_eer, -r.val_auc, r.epoch))


def last(records: Sequence[Record], target: str, metric: str) -> Record:
    return max(records, key=lambda r: r.epoch)


def oracle(records: Sequence[Record], target: str, metric: str) -> Record:
    kind, colon, threshold = metric.partition(":")
    kind = _CHOSEN_BY.get(kind, kind)
    sign = -1 if HIGHER_IS_BETTER[kind] else 1
    return min(records, key=lambda r: (sign * r.targets[target][kind + colon + threshold], r.epoch))


Rule = Callable[[Sequence[Record], str, str], Record]
RULES: dict[str, Rule] = {"source_val": source_val, "last": last, "oracle": oracle}
