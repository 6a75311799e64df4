"""What a printed number can stand for: it was rounded, or cut, after its last digit."""

import re
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Literal, get_args

Printing = Literal["rounded", "cut", "either"]
# One paper prints all its numbers alike: rounded or cut. `either` is for a table whose rows come from several papers.
PRINTINGS: tuple[Printing, ...] = ("rounded", "cut")
ALL_PRINTINGS: tuple[Printing, ...] = get_args(Printing)


def unit(printed: Decimal) -> Decimal:
    """What one step of the last printed digit is worth: 0.01 for 1.20."""
    return Decimal(1).scaleb(int(printed.as_tuple().exponent))


def stands_for(printed: Decimal, printing: Printing) -> tuple[Fraction, Fraction]:
    """The least and the greatest value that `printed`, whose last digit is worth u, can stand for.

    Rounded: within u/2 of it. Cut: from it to u above it. Either: from u/2 below it to u above it. Both ends count,
    because a tie is rounded up by some and down by others, and because a quotient in floating point can lie a little
    below the decimal that it equals and is then cut by a whole step.
    """
    x, u = Fraction(printed), Fraction(unit(printed))
    return x if printing == "cut" else x - u / 2, x + (u / 2 if printing == "rounded" else u)


def stands_in(printed: str, quote: str) -> bool:
    """Whether a quotation holds the number, or word, as one of its own and not as a part of another."""
    return bool(re.search(rf"(?<![\w.]){re.escape(printed)}(?!\.?\d)", quote, re.IGNORECASE))


@dataclass(frozen=True, kw_only=True)
class Printed:
    """Numbers as printed, all in percent, and how they are read at the moment."""

    printing: Printing = "rounded"

    def points(self, printed: Decimal) -> tuple[Fraction, Fraction]:
        """The least and the greatest value, in points, that a printed number can stand for."""
        return stands_for(printed, self.printing)

    def shares(self, printed: Decimal) -> tuple[Fraction, Fraction]:
        """The least and the greatest value, between 0 and 1, that a printed percentage can stand for."""
        low, high = stands_for(printed, self.printing)
        return max(low, Fraction(0)) / 100, min(high, Fraction(100)) / 100

    def fractions(self, printed: Decimal) -> tuple[float, float]:
        """`shares` in floating point."""
        low, high = self.shares(printed)
        return float(low), float(high)
