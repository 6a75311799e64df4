"""Logits and labels to draw, and binary cross-entropy in float64, for tests of losses."""

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays


def logit_arrays(*shape: int) -> st.SearchStrategy[np.ndarray]:
    return arrays(np.float32, shape, elements=st.floats(-12, 12, width=32))


def labels(n: int) -> st.SearchStrategy[np.ndarray]:
    return arrays(np.float32, n, elements=st.sampled_from([0.0, 1.0]))


def bce(logit: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Binary cross-entropy of probabilities, in float64."""
    p = 1 / (1 + np.exp(-logit.astype(np.float64)))
    return -(target * np.log(p) + (1 - target) * np.log(1 - p))
