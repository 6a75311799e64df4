"""The head of two logits, which several rows share."""

import numpy as np
import pytest
import torch
from hypothesis import example, given

from reference.rivals.blocks.two_logits import cross_entropy, logit_difference
from spec_tests.support.logits import bce, labels, logit_arrays


@given(logits=logit_arrays(5, 2), label=labels(5))
@example(logits=np.array([[3, -3]] * 5, np.float32), label=np.zeros(5, np.float32))
def test_two_way_cross_entropy_and_score(logits: np.ndarray, label: np.ndarray) -> None:
    expected = bce(logits[:, 1].astype(np.float64) - logits[:, 0], label).mean()
    drawn = torch.from_numpy(logits)
    assert cross_entropy(drawn, torch.from_numpy(label)).item() == pytest.approx(expected, rel=1e-5, abs=1e-6)
    np.testing.assert_array_equal(logit_difference(drawn).numpy(), logits[:, 0] - logits[:, 1])
