"""ViT-S/16: its stems, and how three modalities enter."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from torch import nn

from reference.rivals import vit_s16
from reference.runs import HEADLINE
from spec_tests.support.logits import bce, labels, logit_arrays
from spec_tests.support.networks import batch_of, images, scrambled


@pytest.fixture
def shallow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two layers: depth would only cost time."""
    monkeypatch.setattr(vit_s16, "DEPTH", 2)


@pytest.mark.parametrize(
    ("build", "count"),
    [
        (lambda: vit_s16.vit(224, 3, 1000), 22_050_664),
        (lambda: vit_s16.vit(224, 3), 21_666_434),
        (lambda: vit_s16.ViT(224, "score_average"), 3 * 21_666_434),
    ],
)
def test_parameter_counts(build: Callable[[], nn.Module], count: int) -> None:
    with torch.device("meta"):
        assert sum(p.numel() for p in build().parameters()) == count


@pytest.mark.usefixtures("shallow")
def test_vit_sees_three_modalities() -> None:
    a, b = images(0, 32), images(1, 32)
    stacked = scrambled(vit_s16.ViT(32), 1).eval()
    separate = scrambled(vit_s16.ViT(32, "score_average"), 1).eval()
    with torch.inference_mode():
        for m in range(3):
            changed = [b[i] if i == m else a[i] for i in range(3)]
            assert not torch.equal(stacked(*a), stacked(*changed))
            same = [torch.equal(x, y) for x, y in zip(separate(*a)[0], separate(*changed)[0], strict=True)]
            assert same == [i != m for i in range(3)]


@pytest.mark.usefixtures("shallow")
def test_nine_channels_without_depth_and_infrared_are_the_rgb_vit() -> None:
    stacked, rgb = scrambled(vit_s16.vit(32, 9), 1).eval(), vit_s16.vit(32, 3).eval()
    weights = stacked.state_dict()
    weights["conv_proj.weight"][:, 3:] = 0
    rgb.load_state_dict(weights | {"conv_proj.weight": weights["conv_proj.weight"][:, :3]})
    x = images(0, 32)
    with torch.inference_mode():
        torch.testing.assert_close(stacked(torch.cat(x, 1)), rgb(x[0]), rtol=1e-5, atol=1e-6)


@pytest.mark.usefixtures("shallow")
def test_new_stem_is_drawn_like_torchvisions() -> None:
    torch.manual_seed(0)
    stem = vit_s16.vit(32, 9).conv_proj
    assert stem.weight.std().item() == pytest.approx((9 * 256) ** -0.5, rel=0.01)
    assert not stem.bias.any()


@given(logits=logit_arrays(4, 3, 2), label=labels(4))
def test_the_loss_is_a_sum_and_the_score_a_mean_over_networks(logits: np.ndarray, label: np.ndarray) -> None:
    difference = logits[..., 0].astype(np.float64) - logits[..., 1]  # (4, 3)
    expected = sum(bce(-difference[:, m], label).mean() for m in range(3))
    method = vit_s16.Method(vit_s16.Options(index=Path(), run_dir=Path()), torch.device("cpu"))
    output, batch = torch.from_numpy(logits), batch_of(images(0, 1, 4), torch.from_numpy(label))
    assert method.losses(output, batch)["loss"].item() == pytest.approx(expected, rel=1e-5, abs=1e-6)
    np.testing.assert_allclose(method.scores(output)[HEADLINE].numpy(), difference.mean(1), rtol=1e-5, atol=1e-5)
