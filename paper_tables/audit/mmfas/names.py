"""How the claims of mmFAS name data sets and metrics, and the numbers of its text."""

from decimal import Decimal

from paper_tables.audit.numbers import Numbers

HOME = "C"  # the data set that every method is trained on
CROSS = ("S", "W", "H")
SETS = (HOME, *CROSS)
SET_NAMES = {"C": "CeFa", "S": "MmFA", "W": "WMCA", "H": "HQ-WMCA", "weighted": "Weighted"}
METRIC_NAMES = {"hter": "HTER", "auc": "AUC", "accuracy": "Acc"}


def text(n: Numbers, name: str) -> Decimal:
    """A number of the running text."""
    return n.mmfas_text[name].value
