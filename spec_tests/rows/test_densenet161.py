"""The encoder that DeepPixBiS, A-DeepPixBis and CMFL share, and its input."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.models import densenet161

from reference.rivals.blocks.densenet161 import GROWTH, STRIDE, WIDENING, WIDTH, densenet161_encoder
from reference.rivals.blocks.imagenet_input import ImageNetInput
from spec_tests.support.layers import normalised
from spec_tests.support.networks import images, scrambled


def test_the_encoder_has_deeppixbis_size_and_the_width_and_stride_it_names() -> None:
    with torch.device("meta"):
        encoder = densenet161_encoder().eval()
        assert sum(p.numel() for p in encoder.parameters()) == 3_198_144
        assert encoder(torch.empty(2, 3, 64, 48)).shape == (2, WIDTH, 64 // STRIDE, 48 // STRIDE)


def rectified(x: Tensor, norm: Any) -> Tensor:
    return normalised(x, norm).clamp_min(0)


@pytest.mark.parametrize("growth", [2, 3])
def test_the_encoder_is_the_one_written_down_at_any_growth(growth: int) -> None:
    encoder: Any = scrambled(densenet161_encoder(growth=growth), 1).double().eval()
    image = images(2, 40)[0].double()
    with torch.no_grad():
        found = encoder(image)
        x = rectified(F.conv2d(image, encoder[0].weight, stride=2, padding=3), encoder[1])
        x = F.max_pool2d(x, 3, 2, 1)
        for block, transition, layers in ((encoder[4], encoder[5], 6), (encoder[6], encoder[7], 12)):
            assert len(block) == layers
            for layer in block.values():
                inner = F.conv2d(rectified(x, layer.norm1), layer.conv1.weight)
                new = F.conv2d(rectified(inner, layer.norm2), layer.conv2.weight, padding=1)
                assert new.shape[1] == growth
                x = torch.cat([x, new], 1)
            half = F.conv2d(rectified(x, transition.norm), transition.conv.weight)
            assert 2 * half.shape[1] == x.shape[1]
            x = F.avg_pool2d(half, 2)
    torch.testing.assert_close(found, x, rtol=1e-9, atol=1e-11)
    assert found.shape == (2, WIDENING * growth, 2, 2)


def test_the_published_growth_begins_with_torchvisions_own_draws() -> None:
    torch.manual_seed(0)
    theirs = densenet161(weights=None).features
    torch.manual_seed(0)
    ours = densenet161_encoder()
    assert (WIDTH, GROWTH) == (384, 48)
    for a, b in zip(ours.state_dict().values(), theirs[:8].state_dict().values(), strict=True):
        assert torch.equal(a, b)


def test_the_input_has_imagenets_mean_and_deviation_taken_out() -> None:
    rgb = images(0, 4)[0]
    pixels = (rgb.double().numpy() * 127.5 + 127.5) / 255  # what `batches` made [-1, 1] from
    found = ImageNetInput()(rgb).numpy()
    for channel, (mean, sd) in enumerate(((0.485, 0.229), (0.456, 0.224), (0.406, 0.225))):
        np.testing.assert_allclose(found[:, channel], (pixels[:, channel] - mean) / sd, rtol=1e-5, atol=1e-6)
