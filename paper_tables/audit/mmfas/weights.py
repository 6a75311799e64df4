"""The weights behind mmFAS Table 1's Weighted columns, by linear programming over all cells at once."""

from dataclasses import dataclass
from decimal import Decimal

import numpy as np
from scipy.optimize import linprog

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
    slack = np.ones((len(y), 1))
    both = np.vstack([np.hstack([x, -slack]), np.hstack([-x, -slack])])
    total = {"A_eq": [[1, 1, 1, 1, 0]], "b_eq": [1]} if shares else {}
    least = linprog([0, 0, 0, 0, 1], A_ub=both, b_ub=np.concatenate([y, -y]), method="highs", **total)
    a, b = np.vstack([x, -x]), np.concatenate([y + tolerance, tolerance - y])
    total = {"A_eq": [[1, 1, 1, 1]], "b_eq": [1]} if shares else {}
    low, high = {}, {}
    for i, s in enumerate(SETS):
        pick = np.eye(len(SETS))[i]
        down, up = (linprog(sign * pick, A_ub=a, b_ub=b, method="highs", **total) for sign in (1, -1))
        if not (down.success and up.success):
            return Weights(len(y), tolerance, float(least.fun), None, None)
        low[s], high[s] = float(down.fun), -float(up.fun)
    return Weights(len(y), tolerance, float(least.fun), low, high)
