"""What printed numbers are beside one another: means, ranks, cells alike, one share for all rows."""

from collections.abc import Hashable, Mapping, Sequence
from decimal import Decimal
from fractions import Fraction
from itertools import combinations
from typing import TypeVar

from paper_tables.audit.metrics import sign

Row = TypeVar("Row", bound=Hashable)
Cell = TypeVar("Cell", bound=Hashable)


Range = tuple[Fraction, Fraction]  # the least and the greatest value that a printed number can stand for


def mean_range(cells: Sequence[Range], shares: Sequence[Fraction]) -> Range:
    """The least and the greatest weighted mean of what the cells can stand for; the shares sum to 1."""
    low, high = (sum((w * x[i] for w, x in zip(shares, cells, strict=True)), Fraction(0)) for i in (0, 1))
    return low, high


def overlap(a: Range, b: Range) -> bool:
    """Both can stand for one value."""
    return a[0] <= b[1] and b[0] <= a[1]


def ranked(column: Mapping[Row, Decimal], metric: str) -> list[Row]:
    """The rows from the best to the worst; rows that print the same keep their order."""
    return sorted(column, key=lambda row: sign(metric) * column[row])


def best(column: Mapping[Row, Decimal], metric: str) -> list[Row]:
    """The row whose value is the best of the column, or all that print it."""
    order = ranked(column, metric)
    return [row for row in order if column[row] == column[order[0]]]


def lead(ours: Decimal, theirs: Decimal, metric: str) -> Decimal:
    """By how many points `ours` is better than `theirs`."""
    return theirs - ours if sign(metric) == 1 else ours - theirs


def alike(
    cells: Mapping[Row, Mapping[Cell, Decimal]], common: Decimal | None = None
) -> dict[tuple[Row, Row], list[Cell]]:
    """For each pair of rows the cells that print the same number, `common` aside."""
    return {
        (a, b): [k for k, x in cells[a].items() if x == cells[b].get(k) and x != common]
        for a, b in combinations(cells, 2)
    }


def one_for_all(ranges: Mapping[Row, tuple[float, float]]) -> tuple[float, float, Row, list[tuple[float, Row]]]:
    """What every row's range allows: the greatest least and the least greatest value, the row that sets the second,
    and each row whose range lies above that, with its least value, in order."""
    most = min(high for _, high in ranges.values())
    first = next(row for row, (_, high) in ranges.items() if high == most)
    above = sorted(((low, row) for row, (low, _) in ranges.items() if low > most), key=lambda x: x[0])
    return max(low for low, _ in ranges.values()), most, first, above
