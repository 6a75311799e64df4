"""What the claims of MMDA read: columns and their means, the best rival, names, and the numbers of the text."""

from decimal import Decimal

from paper_tables.audit import comparisons
from paper_tables.audit.numbers import Numbers
from paper_tables.declarations.published import Published

OURS = "mmda"
METRIC_NAMES = {"hter": "HTER", "auc": "AUC"}
COLUMNS = {1: ("W", "S", "P", "C"), 2: ("D", "I", "DI"), 3: ("PS", "CW")}  # of each table, the average left out


def table(n: Numbers, number: int) -> Published:
    """Table 1, 2 or 3."""
    return {1: n.mmda1, 2: n.mmda2, 3: n.mmda3}[number]


def name(n: Numbers, row: str) -> str:
    """The method's name without its reference number."""
    return n.mmda1.rows[row].printed.split(" [")[0]


def text(n: Numbers, name: str) -> Decimal:
    """A number of the running text."""
    return n.mmda_text[name].value


def true_mean(n: Numbers, number: int, row: str, metric: str) -> Decimal:
    """The mean of a row's printed columns."""
    values = [table(n, number).rows[row].values[c][metric] for c in COLUMNS[number]]
    return sum(values, Decimal(0)) / len(values)


def best_rival(n: Numbers, number: int, column: str, metric: str) -> str:
    """The best method but MMDA in a column (averages as printed)."""
    rows = table(n, number).rows
    rivals = {row: x.values[column][metric] for row, x in rows.items() if row != OURS}
    return comparisons.ranked(rivals, metric)[0]


def lead(n: Numbers, number: int, column: str, metric: str, rival: str) -> Decimal:
    """By how many points MMDA is better than `rival` in a column."""
    theirs, ours = (table(n, number).rows[row].values[column][metric] for row in (rival, OURS))
    return comparisons.lead(ours, theirs, metric)
