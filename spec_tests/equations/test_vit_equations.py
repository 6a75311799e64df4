"""ViT: the sequences of three modalities that share a transformer, and their features side by side."""

import math
from itertools import product

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from spec_tests.equations.adapter import call, gradients, spec
from spec_tests.equations.strategies import draws, exact_draws
from spec_tests.equations.tolerances import close, f64

SIZES = st.integers(1, 4)


def parts(draw, modalities, batch, count, width):
    patches = draw.normal(modalities * batch, count, width)
    return patches, draw.normal(modalities, 1, width), draw.normal(modalities, 1 + count, width)


def sequences(patches, class_tokens, positions):
    """In float64, one number at a time."""
    modalities, batch = len(class_tokens), len(patches) // len(class_tokens)
    out = np.full((len(patches), patches.shape[1] + 1, patches.shape[2]), np.nan)
    for m, b, c in product(range(modalities), range(batch), range(patches.shape[2])):
        image = m * batch + b
        out[image, 0, c] = math.fsum([class_tokens[m, 0, c], positions[m, 0, c]])
        for n in range(patches.shape[1]):
            out[image, n + 1, c] = math.fsum([patches[image, n, c], positions[m, n + 1, c]])
    return out


@spec("vit-tokens", "modality_tokens")
@given(draw=draws(), modalities=SIZES, batch=SIZES, count=SIZES, width=SIZES)
def test_each_image_has_class_token_and_positions_of_its_modality(draw, modalities, batch, count, width):
    given_ = parts(draw, modalities, batch, count, width)
    close(call("modality_tokens", *given_), sequences(*map(f64, given_)))


@spec("vit-tokens", "modality_tokens")
def test_sequences_worked_by_hand():
    # Two modalities of two samples, one patch each: class tokens 10 and 20, positions 0.1, 0.2 and 0.3, 0.4.
    patches = torch.tensor([1.0, 2, 3, 4], dtype=torch.float64).view(4, 1, 1)
    class_tokens = torch.tensor([10.0, 20], dtype=torch.float64).view(2, 1, 1)
    positions = torch.tensor([[0.1, 0.2], [0.3, 0.4]], dtype=torch.float64).view(2, 2, 1)
    out = call("modality_tokens", patches, class_tokens, positions)
    close(out, np.array([[10.1, 1.2], [10.1, 2.2], [20.3, 3.4], [20.3, 4.4]])[:, :, None])


@spec("vit-tokens", "modality_tokens")
@given(draw=draws(), modalities=SIZES, batch=st.integers(2, 4))
def test_a_modality_does_not_feel_anothers_token_and_positions(draw, modalities, batch):
    patches, class_tokens, positions = parts(draw, modalities, batch, 2, 3)
    before = call("modality_tokens", patches, class_tokens, positions)
    for m in range(modalities):
        class_moved, positions_moved = class_tokens.clone(), positions.clone()
        class_moved[m] += 1
        positions_moved[m] += 1
        moved = call("modality_tokens", patches, class_moved, positions_moved)
        changed = (moved != before).flatten(1).any(1)
        assert changed.tolist() == [image // batch == m for image in range(modalities * batch)]


@spec("vit-tokens", "modality_tokens")
@given(draw=exact_draws(), modalities=st.integers(1, 3))
def test_sequences_have_the_gradient_of_patches_tokens_and_positions(draw, modalities):
    def sequence(patches, class_tokens, positions):
        return call("modality_tokens", patches, class_tokens, positions)

    gradients(sequence, *parts(draw, modalities, 2, 2, 2))


@spec("vit-side-by-side", "side_by_side")
@given(draw=draws(), modalities=SIZES, batch=SIZES, width=SIZES)
def test_a_samples_features_stand_in_the_order_of_the_modalities(draw, modalities, batch, width):
    features = draw.normal(modalities * batch, width)
    x, expected = f64(features), np.full((batch, modalities * width), np.nan)
    for m, b, c in product(range(modalities), range(batch), range(width)):
        expected[b, m * width + c] = x[m * batch + b, c]
    close(call("side_by_side", features, modalities=modalities), expected)


@spec("vit-side-by-side", "side_by_side")
def test_side_by_side_worked_by_hand():
    features = torch.tensor([[1.0, 2], [3, 4], [5, 6], [7, 8], [9, 10], [11, 12]], dtype=torch.float64)
    close(call("side_by_side", features), [[1, 2, 5, 6, 9, 10], [3, 4, 7, 8, 11, 12]])
    close(call("side_by_side", features, modalities=2), [[1, 2, 7, 8], [3, 4, 9, 10], [5, 6, 11, 12]])


@spec("vit-side-by-side", "side_by_side")
@given(draw=exact_draws(), modalities=st.integers(1, 3))
def test_side_by_side_has_the_gradient_of_every_feature(draw, modalities):
    gradients(lambda x: call("side_by_side", x, modalities=modalities), draw.normal(2 * modalities, 2))
