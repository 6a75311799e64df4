"""The weights behind mmFAS Table 1's Weighted columns, by linear programming over all cells at once."""

from dataclasses import dataclass
from decimal import Decimal

import numpy as np

from paper_tables.audit import weights
from paper_tables.audit.mmfas.names import SETS
from paper_tables.declarations.published import Published

# One vector inside the feasible set of `solve` (a claim checks that it is), kept as a constant so that each cell is
# checked against the same weights and a mistyped digit shows in its own cell.
WEIGHTS = {"C": Decimal("0.22318"), "S": Decimal("0.38009"), "W": Decimal("0.38740"), "H": Decimal("0.00933")}


@dataclass(frozen=True)
class Weights:
    """`least` is the smallest error bound (percentage points) one weight vector can keep in every cell; `low` and
    `high` (per set) bound the weights that keep every cell within `tolerance`, or None where none do."""

    cells: int
    tolerance: float
    least: float
    low: dict[str, float] | None
    high: dict[str, float] | None


def solve(table: Published, tolerance: float, shares: bool = True) -> Weights:
    """Fit one non-negative weight vector to every Weighted cell of `table`, in percent; `shares`: with sum 1."""
    cells = [
        ([float(row.values[s][metric]) for s in SETS], float(row.values["weighted"][metric]))
        for row in table.rows.values()
        for metric in table.metrics
    ]
    x, y = np.array([c[0] for c in cells]), np.array([c[1] for c in cells])
    least, _ = weights.least_error(x, x, y, y, shares)
    found = weights.ranges(x, x, y - tolerance, y + tolerance, shares)
    if found is None:
        return Weights(len(y), tolerance, least, None, None)
    low, high = ({s: bounds[i] for s, bounds in zip(SETS, found, strict=True)} for i in (0, 1))
    return Weights(len(y), tolerance, least, low, high)
