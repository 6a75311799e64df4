"""Which evaluated epoch of a run is reported, and which of a model's outputs (heads): rules that tables show
side by side.

source_val   the epoch of least EER on the source's validation set; among equals the one of highest AUC there,
             then the earliest. The only rule that a deployment could follow, hence the default.
last         the last epoch.
oracle       the epoch that is best on the test set itself, chosen anew for every metric and every test set
             (the earliest among equals). No model attains these numbers; they show what choosing on the test
             set, as published code does, is worth.
oracle_pair  the one pair of epoch and head of least HTER on the test set at that set's own EER threshold (then
             highest AUC, earliest, first head): what one model attains for whoever may look at the test set.
released     as `oracle`, but over all pairs of epoch and head, as MMDA's released code keeps its best HTER and its
             best AUC independently of each other, and of that code's own HTER and AUC (released.py): no single model
             attains these numbers, and the HTER is not the exact EER.

The first three keep to the head they are asked for, by default the one that was fixed before anything was seen.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from reference.runs import HEADLINE

HIGHER_IS_BETTER = {"auc": True, "accuracy": True, "balanced_accuracy": True}
HIGHER_IS_BETTER |= {"hter": False, "apcer_max": False, "bpcer": False}

# What the rule `released` reads and reports, where the others take exact numbers.
_OF_THE_SCRIPT = {"hter:target": "hter:released", "auc": "auc:released"}

# At one threshold these two trade against each other, so the oracle chooses both by the balance of the two.
_CHOSEN_BY = {"apcer_max": "balanced_accuracy", "bpcer": "balanced_accuracy"}


@dataclass(frozen=True)
class Record:
    """One evaluated epoch of one head. `targets[set][metric]` in %, a metric being `kind` or `kind:threshold`, or what
    `measured` names."""

    epoch: int
    val_eer: float
    val_auc: float
    targets: dict[str, dict[str, float]]
    head: str = HEADLINE


def _of(records: Sequence[Record], head: str) -> list[Record]:
    return [r for r in records if r.head == head]


def source_val(records: Sequence[Record], target: str, metric: str, head: str = HEADLINE) -> Record:
    return min(_of(records, head), key=lambda r: (r.val_eer, -r.val_auc, r.epoch))


def last(records: Sequence[Record], target: str, metric: str, head: str = HEADLINE) -> Record:
    return max(_of(records, head), key=lambda r: r.epoch)


def measured(rule: str, metric: str) -> str:
    """The metric of a record by which a rule chooses where `metric` is asked for, and which it then reports."""
    return _OF_THE_SCRIPT.get(metric, metric) if rule == "released" else metric


def oracle(records: Sequence[Record], target: str, metric: str, head: str = HEADLINE) -> Record:
    return released(_of(records, head), target, metric)


def oracle_pair(records: Sequence[Record], target: str, metric: str, head: str = HEADLINE) -> Record:
    # min keeps the first of equals: the heads' order decides last.
    return min(records, key=lambda r: (r.targets[target]["hter:target"], -r.targets[target]["auc"], r.epoch))


def released(records: Sequence[Record], target: str, metric: str, head: str = HEADLINE) -> Record:
    kind, colon, threshold = metric.partition(":")
    kind = _CHOSEN_BY.get(kind, kind)
    sign = -1 if HIGHER_IS_BETTER[kind] else 1
    return min(records, key=lambda r: (sign * r.targets[target][kind + colon + threshold], r.epoch))


Rule = Callable[[Sequence[Record], str, str, str], Record]
RULES: dict[str, Rule] = {
    "source_val": source_val,
    "last": last,
    "oracle": oracle,
    "oracle_pair": oracle_pair,
    "released": released,
}
OVER_HEADS = ("oracle_pair", "released")
ON_TEST_SET = ("oracle", *OVER_HEADS)
