"""The one table of numerical tolerances, and the comparisons that read it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

# A result passes when |got − expected| ≤ rtol·|expected| + atol·magnitude, the expected value coming from a
# float64 oracle. `magnitude` (1 unless a test says otherwise) is the size of the largest number that the
# formula rounds on its way, e.g. the largest logit: the exponent of a softmax carries that rounding into its
# result. No rtol is looser than 1e-4 in float32 or 1e-9 in float64.
RTOL = {torch.float32: 5e-5, torch.float64: 1e-9}
ATOL = {torch.float32: 5e-6, torch.float64: 1e-11}

# Gradients are compared with central differences of this step, in float64: their truncation (step²) and
# cancellation (1e-16 / step), not the function under test, set these two.
STEP = 1e-5
GRADIENT_RTOL, GRADIENT_ATOL = 1e-5, 1e-7

# Rates are quotients of counts: one rounding each, a few when they are combined.
RATE = 1e-12

# A statistical test rejects when an exact binomial tail falls below this. The largest run (the thorough
# profile) makes fewer than 10,000 of these comparisons: a correct implementation fails one with p < 1e-6.
FALSE_ALARM = 1e-11


def f64(value: object) -> np.ndarray:
    """The same numbers as a float64 (or int64) numpy array: what the oracles read."""
    array = value.detach().cpu().numpy() if isinstance(value, torch.Tensor) else np.asarray(value)
    return array.astype(np.float64) if array.dtype.kind == "f" else array.astype(np.int64)


def close(got: torch.Tensor, expected: object, magnitude: float = 1.0) -> None:
    """Assert that a tensor has the oracle's shape and, within the tolerance of its dtype, its values."""
    want = np.asarray(f64(expected), dtype=np.float64)
    assert isinstance(got, torch.Tensor), f"got {type(got).__name__}, expected a tensor"
    assert tuple(got.shape) == want.shape, f"got shape {tuple(got.shape)}, expected {want.shape}"
    have = f64(got)
    rtol, atol = RTOL[got.dtype], ATOL[got.dtype]
    allowed = rtol * np.abs(want) + atol * max(1.0, magnitude)
    wrong = ~(np.abs(have - want) <= allowed)
    if wrong.any():
        with np.errstate(invalid="ignore"):
            excess = np.where(np.isnan(have), np.inf, np.abs(have - want) / allowed)
        at = tuple(int(i) for i in np.unravel_index(int(excess.argmax()), want.shape))
        raise AssertionError(
            f"got {float(have[at])!r}, expected {float(want[at])!r} at {list(at)} (tolerance {allowed[at]:.1e}; "
            f"{int(wrong.sum())} of {want.size} values differ)\ngot: {_short(have)}\nexpected: {_short(want)}"
        )


def close_rate(got: object, expected: object) -> None:
    """Assert that a rate or an area is the expected number, up to a few roundings in float64."""
    assert abs(float(got) - float(expected)) <= RATE, f"got {float(got)!r}, expected {float(expected)!r}"


def close_counts(counts: Mapping[Any, int], probabilities: Mapping[Any, float]) -> None:
    """Assert that no outcome was counted too far from its expectation: Chernoff's bound on its tail says how far.

    `counts` hold how often each outcome came, `probabilities` all outcomes that can be.
    """
    total = sum(counts.values())
    assert counts.keys() <= {outcome for outcome, p in probabilities.items() if p}, "an outcome that cannot be"
    assert math.isclose(sum(probabilities.values()), 1, rel_tol=1e-9)
    for outcome, p in probabilities.items():
        share = counts.get(outcome, 0) / total
        pairs = (share, float(p)), (1 - share, 1 - float(p))
        divergence = sum(q * (math.log(q / r) if r > 0 else math.inf) for q, r in pairs if q)
        assert math.exp(-total * divergence) >= FALSE_ALARM, (
            f"{outcome} came {share * total:.0f} of {total} times, expected {float(p) * total:.1f}"
        )


def _short(array: np.ndarray) -> str:
    return str(array.tolist()) if array.size <= 64 else f"{array.size} values, see the tensors of the call"
