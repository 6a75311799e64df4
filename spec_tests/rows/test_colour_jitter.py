"""Jitter of colours, which several rows share."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from reference.rivals.blocks.colour_jitter import jittered
from spec_tests.support.networks import images


@given(seed=st.integers(0, 2**31), share=st.floats(0, 1))
def test_jitter_stays_in_range_and_changes_nothing_at_zero(seed: int, share: float) -> None:
    (rgb, *_) = images(seed, 4, batch=3)

    def changed(share: float, first: int = 0) -> torch.Tensor:
        return jittered(rgb[first:], share, torch.Generator().manual_seed(seed))

    assert changed(share).shape == rgb.shape
    assert changed(share).abs().max() <= 1
    torch.testing.assert_close(changed(0.0), rgb, rtol=0, atol=1e-6)
    torch.testing.assert_close(changed(share), changed(share), rtol=0, atol=0)


def test_jitter_is_brightness_contrast_and_saturation_in_turn() -> None:
    """Against the same in float64 on one pixel pair, with the draws it takes."""
    rgb = torch.tensor([[[[0.2, -0.4]], [[0.0, 0.1]], [[-0.3, 0.5]]]])  # (1, 3, 1, 2)
    lots = torch.rand(1, 3, generator=torch.Generator().manual_seed(7)).double().numpy().ravel()
    brightness, contrast, saturation = 1 + 0.15 * (2 * lots - 1)
    weights = np.array([0.2989, 0.587, 0.114])[:, None]
    x = np.clip((rgb.double().numpy()[0, :, 0] + 1) / 2 * brightness, 0, 1)  # (3, 2)
    x = np.clip((weights * x).sum(0).mean() * (1 - contrast) + x * contrast, 0, 1)
    x = np.clip((weights * x).sum(0) * (1 - saturation) + x * saturation, 0, 1)
    found = jittered(rgb, 0.15, torch.Generator().manual_seed(7))
    np.testing.assert_allclose(found.numpy()[0, :, 0], 2 * x - 1, atol=1e-6)
