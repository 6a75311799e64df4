"""DeepPixBiS: its map, its losses and scores."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from reference.rivals import deeppixbis
from reference.rivals.blocks import pixel_wise
from spec_tests.support.logits import bce, labels, logit_arrays
from spec_tests.support.networks import images, scrambled


def test_the_encoder_has_the_papers_size() -> None:
    with torch.device("meta"):
        assert sum(p.numel() for p in deeppixbis.DeepPixBiS(224).encoder.parameters()) == 3_198_144


def test_deeppixbis_normalises_and_judges_the_map() -> None:
    model = scrambled(deeppixbis.DeepPixBiS(32), 4).eval()
    seen = {}
    model.encoder.register_forward_hook(lambda _, args, out: seen.update(input=args[0], features=out))
    rgb = images(5, 32)[0]
    with torch.inference_mode():
        cells, image = model(rgb, rgb, rgb)
    pixels = (rgb.double().numpy() * 127.5 + 127.5) / 255  # what `batches` made [-1, 1] from
    for channel, (mean, sd) in enumerate(((0.485, 0.229), (0.456, 0.224), (0.406, 0.225))):
        expected = (pixels[:, channel] - mean) / sd
        np.testing.assert_allclose(seen["input"][:, channel].numpy(), expected, rtol=1e-4, atol=1e-5)
    assert seen["features"].shape == (2, 384, 2, 2)
    features, w = (
        seen["features"].double().numpy(),
        {k: v.double().numpy() for k, v in model.state_dict().items()},
    )
    logits = np.einsum("bcyx,c->byx", features, w["map.weight"][0, :, 0, 0]) + w["map.bias"]
    np.testing.assert_allclose(cells.numpy(), logits, rtol=1e-4, atol=1e-4)
    whole = (1 / (1 + np.exp(-logits))).reshape(2, 4) @ w["image.weight"][0] + w["image.bias"]
    np.testing.assert_allclose(image.numpy(), whole, rtol=1e-4, atol=1e-4)


@given(cells=logit_arrays(3, 2, 2), image=logit_arrays(3), label=labels(3), balance=st.floats(0, 1))
def test_deeppixbis_loss_and_scores(cells: np.ndarray, image: np.ndarray, label: np.ndarray, balance: float) -> None:
    output = (torch.from_numpy(cells), torch.from_numpy(image))
    of_image = bce(image, 1 - label).mean()
    of_map = np.mean([bce(cell, 1 - label).mean() for cell in cells.reshape(3, 4).T])
    parts = deeppixbis.loss(output, torch.from_numpy(label), balance)
    expected = {"loss": balance * of_image + (1 - balance) * of_map, "image": of_image, "map": of_map}
    assert {k: v.item() for k, v in parts.items()} == pytest.approx(expected, rel=1e-4, abs=1e-5)
    half = deeppixbis.loss(output, torch.from_numpy(label))["loss"].item()
    assert half == pytest.approx((of_image + of_map) / 2, rel=1e-4, abs=1e-5)

    probability = 1 / (1 + np.exp(-image.astype(np.float64)))
    mean = (1 / (1 + np.exp(-cells.astype(np.float64)))).mean((1, 2))
    scores = {"pixel_mean": mean, "binary": probability, "combined": (mean + probability) / 2}
    for kind, expected_score in scores.items():
        np.testing.assert_allclose(pixel_wise.score(*output, kind).numpy(), expected_score, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(pixel_wise.score(*output).numpy(), pixel_wise.score(*output, "pixel_mean").numpy())
