"""Which weights, one for each column, give every printed weighted average, by linear programming over all cells."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import linprog


def ranges(
    low: ArrayLike, high: ArrayLike, least: ArrayLike, most: ArrayLike, shares: bool = True
) -> list[tuple[float, float]] | None:
    """The least and the greatest value of each weight, over all non-negative weights that give every average.

    `low` and `high` (averages × columns) bound what each cell stands for, `least` and `most` (averages) what each
    average does; `shares`: the weights sum to 1. None where no weights do.
    """
    cells_low, cells_high = np.asarray(low, float), np.asarray(high, float)
    a = np.vstack([cells_low, -cells_high])
    b = np.concatenate([np.asarray(most, float), -np.asarray(least, float)])
    columns = cells_low.shape[1]
    total = _total(columns, 0) if shares else {}
    found = []
    for i in range(columns):
        pick = np.eye(columns)[i]
        down, up = (linprog(sign * pick, A_ub=a, b_ub=b, method="highs", **total) for sign in (1, -1))
        if not (down.success and up.success):
            return None
        found.append((float(down.fun), -float(up.fun)))
    return found


def least_error(
    low: ArrayLike, high: ArrayLike, least: ArrayLike, most: ArrayLike, shares: bool = True
) -> tuple[float, list[float]]:
    """The smallest bound on how far any average is missed by one vector of weights, and such a vector."""
    cells_low, cells_high = np.asarray(low, float), np.asarray(high, float)
    slack = np.ones((len(cells_low), 1))
    a = np.vstack([np.hstack([cells_low, -slack]), np.hstack([-cells_high, -slack])])
    b = np.concatenate([np.asarray(most, float), -np.asarray(least, float)])
    columns = cells_low.shape[1]
    total = _total(columns, 1) if shares else {}
    found = linprog([0] * columns + [1], A_ub=a, b_ub=b, method="highs", **total)
    return float(found.fun), [float(x) for x in found.x[:columns]]


def _total(columns: int, others: int) -> dict[str, Any]:
    return {"A_eq": [[1] * columns + [0] * others], "b_eq": [1]}
