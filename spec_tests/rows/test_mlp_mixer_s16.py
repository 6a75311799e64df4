"""MLP-Mixer's layers and first weights."""

import numpy as np
import pytest
import torch
from torch import nn

from reference.rivals import mlp_mixer_s16
from spec_tests.support.networks import images, scrambled


@pytest.fixture(autouse=True)
def shallow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two layers: depth would only cost time."""
    monkeypatch.setattr(mlp_mixer_s16, "LAYERS", 2)


def test_with_a_thousand_outputs_it_has_the_papers_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mlp_mixer_s16, "LAYERS", 8)
    with torch.device("meta"):
        assert sum(p.numel() for p in mlp_mixer_s16.Mixer(224, 1000).parameters()) == 18_528_264


def test_mixer_is_its_formula() -> None:
    """Against the layer equations (paper, Eq. 1) as einsums in float64."""
    model = scrambled(mlp_mixer_s16.Mixer(32), 2).double()
    w = {k: v.numpy() for k, v in model.state_dict().items()}
    rgb = images(3, 32)[0].double()

    def norm(x: np.ndarray, name: str) -> np.ndarray:
        x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-6)
        return x * w[f"{name}.weight"] + w[f"{name}.bias"]

    def gelu(x: np.ndarray) -> np.ndarray:
        return x / 2 * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))

    patches = rgb.numpy().reshape(2, 3, 2, 16, 2, 16)  # batch, channel, row, y, column, x
    x = np.einsum("bcryqx,dcyx->brqd", patches, w["stem.weight"]).reshape(2, 4, 512) + w["stem.bias"]
    for i in range(2):
        n = f"layers.{i}."
        t = n + "mix_tokens."
        y = np.einsum("btd,ht->bhd", norm(x, n + "norm_tokens"), w[t + "0.weight"]) + w[t + "0.bias"][:, None]
        x = x + np.einsum("bhd,th->btd", gelu(y), w[t + "2.weight"]) + w[t + "2.bias"][:, None]
        c = n + "mix_channels."
        y = np.einsum("btd,hd->bth", norm(x, n + "norm_channels"), w[c + "0.weight"]) + w[c + "0.bias"]
        x = x + np.einsum("bth,dh->btd", gelu(y), w[c + "2.weight"]) + w[c + "2.bias"]
    expected = norm(x, "norm").mean(1) @ w["head.weight"].T + w["head.bias"]
    with torch.inference_mode():
        np.testing.assert_allclose(model(rgb, rgb, rgb).numpy(), expected, rtol=1e-9, atol=1e-9)


def test_mixers_first_weights() -> None:
    torch.manual_seed(0)
    model = mlp_mixer_s16.Mixer(64)
    for module in model.modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            assert not module.bias.any()
            if module is not model.head:
                fan_in = module.weight[0].numel()
                assert module.weight.std().item() == pytest.approx(fan_in**-0.5, rel=0.05)
    assert not model.head.weight.any()
