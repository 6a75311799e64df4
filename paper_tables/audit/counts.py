"""Whole numbers behind printed rates: whether a rate can be k of N, and which N every rate of a column can share."""

from collections.abc import Iterable
from decimal import Decimal
from fractions import Fraction

import numpy as np

from paper_tables.audit.printing import Printed, Printing


def least_count(share: Fraction, total: int) -> int:
    """The least k for which k of `total` is not below the share."""
    return -(-share.numerator * total // share.denominator)


def count_within(shares: tuple[Fraction, Fraction], total: int) -> int | None:
    """The least k for which k of `total` is within the two shares, ends included, or None."""
    k = least_count(shares[0], total)
    return k if Fraction(k, total) <= shares[1] else None


def fits(printed: Iterable[Decimal], total: int, printing: Printing) -> bool:
    """Every printed percentage is k of `total` for some k."""
    read = Printed(printing=printing)
    return all(count_within(read.shares(x), total) is not None for x in printed)


def fitting_totals(printed: Iterable[Decimal], printing: Printing, most: int = 10_000) -> list[int]:
    """Every N from 2 to `most` of which each printed percentage is a share k of N."""
    read, totals = Printed(printing=printing), np.arange(2, most + 1, dtype=object)
    for x in set(printed):
        low, high = read.shares(x)
        k = -((-low.numerator * totals) // low.denominator)
        totals = totals[k * high.denominator <= high.numerator * totals]
    return [int(total) for total in totals]
