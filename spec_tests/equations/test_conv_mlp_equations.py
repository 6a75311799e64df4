"""Conv-MLP: the grid of patches, the mixing across patches, the moat between the classes."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from spec_tests.equations.adapter import call, gradients, spec
from spec_tests.equations.strategies import draws, exact_draws
from spec_tests.equations.tolerances import close, f64

SIZES = st.integers(1, 4)


# The grid


def pushed_inside(side, patch, short):
    """The three starts, one pixel at a time: beside the middle one, then towards it until the image holds them."""
    middle = 0
    while (side - patch - middle) - middle > 1:
        middle += 1
    first, last = middle - patch, middle + patch
    while first < 0:
        first += 1
    while last + patch > (side - 1 if short else side):
        last -= 1
    return [first, middle, last]


@spec("conv-mlp-crops", "crop_starts")
@given(patch=st.integers(1, 40), more=st.integers(1, 100), short=st.booleans())
def test_patches_begin_beside_the_middle_one_or_at_the_edge(patch, more, short):
    assert call("crop_starts", patch + more, patch, short=short) == pushed_inside(patch + more, patch, short)


@spec("conv-mlp-crops", "crop_starts")
def test_starts_of_the_published_sizes():
    assert call("crop_starts", 112, 48) == [0, 32, 64]
    assert call("crop_starts", 112, 48, short=True) == [0, 32, 63]
    assert call("crop_starts", 112, 24) == call("crop_starts", 112, 24, short=True) == [20, 44, 68]
    assert call("crop_starts", 113, 48) == [0, 32, 65]


@spec("conv-mlp-crops", "crop_starts")
@pytest.mark.parametrize(("side", "patch"), [(4, 4), (9, 3), (10, 3), (12, 4), (13, 5)])
def test_starts_where_the_grid_only_just_fits(side, patch):
    assert call("crop_starts", side, patch) == pushed_inside(side, patch, False)
    if side > patch:
        assert call("crop_starts", side, patch, short=True) == pushed_inside(side, patch, True)


@spec("conv-mlp-crops", "patches_of")
@given(
    draw=draws(),
    batch=st.integers(1, 2),
    channels=SIZES,
    patch=st.integers(1, 5),
    more=st.integers(1, 8),
    short=st.booleans(),
)
def test_patches_hold_the_pixels_of_their_places_row_by_row(draw, batch, channels, patch, more, short):
    images = draw.normal(batch, channels, patch + more, patch + more)
    starts, pixels = pushed_inside(patch + more, patch, short), f64(images)
    expected = np.empty((batch, 9, channels, patch, patch))
    for place in range(9):
        for y in range(patch):
            for x in range(patch):
                expected[:, place, :, y, x] = pixels[:, :, starts[place // 3] + y, starts[place % 3] + x]
    close(call("patches_of", images, patch, short=short), expected)


@spec("conv-mlp-crops", "patches_of")
def test_patches_worked_by_hand():
    image = torch.arange(16.0, dtype=torch.float64).reshape(1, 1, 4, 4)
    whole = call("patches_of", image, 2)[0, :, 0]  # begin at 0, 1 and 2
    assert whole[0].tolist() == [[0, 1], [4, 5]]
    assert whole[1].tolist() == [[1, 2], [5, 6]]
    assert whole[5].tolist() == [[6, 7], [10, 11]]
    assert whole[8].tolist() == [[10, 11], [14, 15]]
    short = call("patches_of", image, 2, short=True)[0, :, 0]  # begin at 0, 1 and 1
    assert short[2].tolist() == [[1, 2], [5, 6]]
    assert short[8].tolist() == [[5, 6], [9, 10]]


@spec("conv-mlp-crops", "patches_of")
@given(draw=exact_draws())
def test_patches_pass_the_gradient_to_their_pixels(draw):
    gradients(lambda images: call("patches_of", images, 3), draw.normal(1, 2, 5, 5))


# The mixing


def normed(mean, variance, gain, offset):
    """Batch norm of patches (N, P, H, W) by given statistics (P,)."""

    def norm(y):
        over = [t.view(1, -1, 1, 1) for t in (mean, variance, gain, offset)]
        return (y - over[0]) / (over[1] + 1e-5).sqrt() * over[2] + over[3]

    return norm


def mixed(x, scale, shift, w1, b1, w2, b2, mean, variance, gain, offset):
    """The mixing in float64, one number at a time."""
    n, patches, height, width = x.shape
    within, out = np.empty_like(x), np.empty_like(x)
    for i in range(n):
        for p in range(patches):
            values = x[i, p].ravel()
            centre = math.fsum(values) / values.size
            spread = math.fsum((v - centre) ** 2 for v in values) / values.size
            within[i, p] = (x[i, p] - centre) / math.sqrt(spread + 1e-5) * scale + shift
    for i in range(n):
        for y in range(height):
            for z in range(width):
                pixel = within[i, :, y, z]
                for w, b in ((w1, b1), (w2, b2)):
                    pixel = [math.fsum(u * v for u, v in zip(w[q], pixel, strict=True)) + b[q] for q in range(patches)]
                for q in range(patches):
                    value = (pixel[q] - mean[q]) / math.sqrt(variance[q] + 1e-5) * gain[q] + offset[q]
                    out[i, q, y, z] = max(0.0, value)
    return out


def weights(draw, patches, height, width):
    """What a mixing needs beside its input: layer norm and products; statistics and weights of the batch norm."""
    of_patches = [draw.normal(patches, patches), draw.normal(patches)]
    inner = [draw.normal(height, width), draw.normal(height, width), *of_patches]
    inner += [draw.normal(patches, patches), draw.normal(patches)]
    outer = [draw.normal(patches), draw.normal(patches) ** 2 + 0.5, draw.normal(patches), draw.normal(patches)]
    return inner, outer


@spec("conv-mlp-mixing", "patch_mixing")
@given(draw=draws(), n=st.integers(1, 3), patches=SIZES, height=SIZES, width=SIZES)
def test_patches_are_mixed_at_each_pixel(draw, n, patches, height, width):
    x = draw.normal(n, patches, height, width, scale=3.0)
    inner, outer = weights(draw, patches, height, width)
    out = call("patch_mixing", x, *inner, normed(*outer))
    close(out, mixed(f64(x), *map(f64, inner), *map(f64, outer)), magnitude=50 * patches**2)


@spec("conv-mlp-mixing", "patch_mixing")
def test_mixing_worked_by_hand():
    # Deviations of 0.0015 divided by the root of 0.0015 ** 2 + 1e-5, which is 0.0035: 3/7 and -3/7; the other patch, 0.
    x = torch.tensor([[[[5.0015, 4.9985]], [[2.0, 2.0]]]], dtype=torch.float64)
    scale, shift = [[7.0, 14.0]], [[1.0, 2.0]]  # 4 and -4; 1 and 2
    w1, b1 = [[1.0, 2.0], [-1.0, 1.0]], [1.0, 0.0]  # 7 and 1; -3 and 6
    w2, b2 = [[1.0, 1.0], [2.0, 0.0]], [0.0, -2.0]  # 4 and 7; 12 and 0
    tensors = (torch.tensor(t, dtype=torch.float64) for t in (scale, shift, w1, b1, w2, b2))
    out = call("patch_mixing", x, *tensors, lambda y: y - 5)  # -1 and 2; 7 and -5
    close(out, [[[[0.0, 2.0]], [[7.0, 0.0]]]], magnitude=100)


@spec("conv-mlp-mixing", "patch_mixing")
@given(draw=draws(), patches=SIZES)
def test_a_mixing_of_one_map_ignores_the_others(draw, patches):
    x = draw.normal(3, patches, 2, 3)
    inner, outer = weights(draw, patches, 2, 3)
    norm = normed(*outer)
    magnitude = 50 * patches**2
    close(call("patch_mixing", x[:1], *inner, norm), call("patch_mixing", x, *inner, norm)[:1], magnitude)


@spec("conv-mlp-mixing", "patch_mixing")
@given(draw=draws(layouts=["plain"]), patches=SIZES)
def test_the_mean_of_a_patchs_map_changes_nothing(draw, patches):
    x, means = draw.normal(2, patches, 2, 3), draw.normal(2, patches, 1, 1)
    inner, outer = weights(draw, patches, 2, 3)
    norm = normed(*outer)
    expected = call("patch_mixing", x, *inner, norm)
    close(call("patch_mixing", x + means, *inner, norm), expected, magnitude=500 * patches**2)


@spec("conv-mlp-mixing", "patch_mixing")
@given(draw=draws(), patches=SIZES)
def test_the_order_of_patches_matters_only_to_the_first_product(draw, patches):
    x, order = draw.normal(2, patches, 2, 2), draw.permutation(patches)
    (scale, shift, w1, *rest), outer = weights(draw, patches, 2, 2)
    norm = normed(*outer)
    expected = call("patch_mixing", x, scale, shift, w1, *rest, norm)
    reordered = call("patch_mixing", x[:, order], scale, shift, w1[:, order], *rest, norm)
    close(reordered, expected, magnitude=50 * patches**2)


@spec("conv-mlp-mixing", "patch_mixing")
@given(draw=exact_draws())
def test_a_mixing_has_the_gradient_of_input_and_weights(draw):
    inner, outer = weights(draw, 2, 2, 2)
    norm = normed(*outer)
    gradients(lambda *tensors: call("patch_mixing", *tensors, norm), draw.normal(2, 2, 2, 2), *inner)


# The moat


def shortfalls(logits, label):
    """The sum of both classes' mean shortfalls in float64; a class without samples has none."""
    total = 0.0
    for kind in (0, 1):
        own = [max(0.0, 1.0 - z[kind]) for z, of in zip(logits, label, strict=True) if of == kind]
        total += math.fsum(own) / max(len(own), 1)
    return total


def labelled(draw, n, floating):
    label = draw.integers(n, 2)
    return draw.place(label) if floating else label


@spec("conv-mlp-moat", "moat_term")
@given(draw=draws(), n=st.integers(1, 8), floating=st.booleans())
def test_the_moat_is_the_mean_shortfall_of_each_class(draw, n, floating):
    logits, label = draw.normal(n, 2, scale=2.0), labelled(draw, n, floating)
    close(call("moat_term", logits, label), shortfalls(f64(logits), f64(label)), magnitude=8)


@spec("conv-mlp-moat", "moat_term")
def test_the_moat_worked_by_hand():
    logits = [[-1.0, 9.0], [0.5, 9.0], [1.5, -9.0], [9.0, -3.0]]  # bona fide short of 1 by 2, 1/2, 0; the attack by 4
    label = torch.tensor([0, 0, 0, 1])
    assert float(call("moat_term", torch.tensor(logits, dtype=torch.float64), label)) == pytest.approx(2.5 / 3 + 4)


@spec("conv-mlp-moat", "moat_term")
@given(draw=draws(), n=st.integers(1, 5), kind=st.sampled_from([0, 1]))
def test_a_class_without_samples_adds_nothing_to_the_moat(draw, n, kind):
    logits = draw.normal(n, 2, scale=2.0)
    label = torch.full((n,), kind, device=logits.device)
    expected = math.fsum(max(0.0, 1 - z) for z in f64(logits)[:, kind]) / n
    close(call("moat_term", logits, label), expected, magnitude=8)


@spec("conv-mlp-moat", "moat_term")
@given(draw=draws(), n=st.integers(1, 5))
def test_the_moat_weighs_classes_alike_however_many_samples_they_have(draw, n):
    logits = draw.normal(2 * n, 2)
    label = torch.arange(2 * n, device=logits.device) % 2
    attacks = torch.cat([torch.arange(2 * n), torch.arange(1, 2 * n, 2)]).to(logits.device)  # each attack twice
    close(call("moat_term", logits[attacks], label[attacks]), call("moat_term", logits, label), magnitude=8)


@spec("conv-mlp-moat", "moat_term")
@given(draw=draws(), n=st.integers(1, 6))
def test_the_moat_sees_the_own_logit_alone(draw, n):
    logits, label = draw.normal(n, 2), draw.integers(n, 2)
    other = logits.clone()
    other[torch.arange(n), 1 - label] += draw.normal(n)
    close(call("moat_term", other, label), call("moat_term", logits, label))


@spec("conv-mlp-moat", "moat_term")
def test_the_moats_gradient_is_minus_one_over_the_class_where_short_of_one():
    logits = torch.tensor([[0.0, 5.0], [0.5, 5.0], [2.0, 5.0], [5.0, -1.0]], dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(call("moat_term", logits, torch.tensor([0, 0, 0, 1])), logits)
    close(gradient, [[-1 / 3, 0], [-1 / 3, 0], [0, 0], [0, -1]])


@spec("conv-mlp-moat", "moat_term")
@given(draw=exact_draws(), n=st.integers(1, 5))
def test_the_moat_has_its_gradient(draw, n):
    label = draw.integers(n, 2)
    gradients(lambda logits: call("moat_term", logits, label), draw.normal(n, 2))
