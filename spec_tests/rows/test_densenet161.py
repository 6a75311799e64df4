"""The encoder that DeepPixBiS and A-DeepPixBis share, and its input."""

import numpy as np
import torch

from reference.rivals.blocks.densenet161 import STRIDE, WIDTH, densenet161_encoder
from reference.rivals.blocks.imagenet_input import ImageNetInput
from spec_tests.support.networks import images


def test_the_encoder_has_deeppixbis_size_and_the_width_and_stride_it_names() -> None:
    with torch.device("meta"):
        encoder = densenet161_encoder().eval()
        assert sum(p.numel() for p in encoder.parameters()) == 3_198_144
        assert encoder(torch.empty(2, 3, 64, 48)).shape == (2, WIDTH, 64 // STRIDE, 48 // STRIDE)


def test_the_input_has_imagenets_mean_and_deviation_taken_out() -> None:
    rgb = images(0, 4)[0]
    pixels = (rgb.double().numpy() * 127.5 + 127.5) / 255  # what `batches` made [-1, 1] from
    found = ImageNetInput()(rgb).numpy()
    for channel, (mean, sd) in enumerate(((0.485, 0.229), (0.456, 0.224), (0.406, 0.225))):
        np.testing.assert_allclose(found[:, channel], (pixels[:, channel] - mean) / sd, rtol=1e-5, atol=1e-6)
