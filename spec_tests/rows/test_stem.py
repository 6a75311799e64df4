"""Nine channels to three, in every reading, and what enters them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from reference.rivals.blocks import stem
from spec_tests.support.networks import images


def made(**given: Any) -> stem.Stem:
    torch.manual_seed(0)
    return stem.Stem(stem.Options(index=Path(), run_dir=Path(), **given), nn.Softplus())


def softplus(x: np.ndarray) -> np.ndarray:
    return np.log1p(np.exp(x))


@given(st.integers(0, 2**32 - 1), st.sampled_from(["shared", "own"]), st.sampled_from(["with", "without"]))
def test_each_channel_is_a_weighted_sum_of_nine(seed: int, fed: str, bias: str) -> None:
    block = made(stem_range=fed, stem_bias=bias)
    pictures = images(seed, 3)
    assert block.conv is not None
    weight = block.conv.weight.detach().double().numpy()[:, :, 0, 0]
    shift = np.zeros(3) if block.conv.bias is None else block.conv.bias.detach().double().numpy()
    assert (block.conv.bias is None) == (bias == "without")
    nine = np.concatenate([x.double().numpy() for x in pictures], 1)
    pixels = (nine + 1) / 2 * 255
    fed_in = (pixels - 127.5) / 128 if fed == "shared" else softplus(nine)
    expected = np.zeros((2, 3, 3, 3))
    for out in range(3):
        expected[:, out] = shift[out] + sum(weight[out, i] * fed_in[:, i] for i in range(9))
    np.testing.assert_allclose(block(*pictures).detach().numpy(), expected, atol=1e-5)


@pytest.mark.parametrize(("start", "shares"), [("rgb", (1, 0, 0)), ("mean", (1 / 3, 1 / 3, 1 / 3))])
def test_it_may_begin_as_a_mean_or_as_rgb(start: str, shares: tuple[float, ...]) -> None:
    block, pictures = made(stem_start=start), images(0, 4)
    expected = sum(share * 127.5 / 128 * x.double() for share, x in zip(shares, pictures, strict=True))
    assert isinstance(expected, torch.Tensor)
    torch.testing.assert_close(block(*pictures).double(), expected, atol=1e-6, rtol=0)


def test_it_has_thirty_parameters_or_none() -> None:
    counts = [sum(p.numel() for p in made(**options).parameters()) for options in ({}, {"stem_bias": "without"})]
    assert counts == [30, 27]
    rgb, depth, ir = images(1, 4)
    alone = made(stem="rgb")
    assert not list(alone.parameters())
    assert torch.equal(alone(rgb, depth, ir), nn.Softplus()(rgb))


def test_a_row_of_rgb_alone_asks_an_index_for_rgb_alone() -> None:
    assert [stem.Options(index=Path(), run_dir=Path(), stem=s).sees for s in ("conv", "rgb")] == ["RDI", "R"]


def test_the_tables_rows_see_three_modalities_and_the_papers_own_see_rgb() -> None:
    kind = {preset: stem.Options(index=Path(), run_dir=Path(), preset=preset) for preset in ("table", "described")}
    assert [options.stem for options in kind.values()] == ["conv", "rgb"]
    assert stem.Options(index=Path(), run_dir=Path(), preset="released").stem == "rgb"
