"""IADG: dynamic kernels, base styles, their mixtures, whitening."""

import math
from collections import Counter
from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from spec_tests.equations.adapter import call, gradients, spec
from spec_tests.equations.strategies import Draw, draws, exact_draws, fewer
from spec_tests.equations.tolerances import close, close_counts, f64

SIZES = st.integers(1, 4)


# Kernels


def made(x, weight, bias, scale, shift):
    """In float64, one place of one kernel at a time."""
    out = np.empty((*x.shape[:2], 3, 3))
    for b, c, i, j in np.ndindex(out.shape):
        mean = math.fsum(x[b, c].ravel()) / x[b, c].size
        out[b, c, i, j] = scale * (weight[3 * i + j] * mean + bias[3 * i + j]) + shift
    return out


def makers(draw):
    return draw.normal(9), draw.normal(9), draw.normal(1)[0], draw.normal(1)[0]


@spec("iadg-kernels", "dynamic_kernels")
@given(draw=draws(), batch=SIZES, channels=SIZES, height=SIZES, width=SIZES)
def test_each_channel_has_a_kernel_made_of_its_mean(draw, batch, channels, height, width):
    given_ = draw.normal(batch, channels, height, width), *makers(draw)
    close(call("dynamic_kernels", *given_), made(*map(f64, given_)), magnitude=8)


@spec("iadg-kernels", "dynamic_kernels")
def test_a_kernel_worked_by_hand():
    x = torch.tensor([[[[1.0, 3.0]], [[0.0, -2.0]]]], dtype=torch.float64)  # means 2 and -1
    weight, bias = torch.arange(9.0, dtype=torch.float64), torch.ones(9, dtype=torch.float64)
    scale, shift = torch.tensor(10.0, dtype=torch.float64), torch.tensor(0.5, dtype=torch.float64)
    expected = [[[10.5, 30.5, 50.5], [70.5, 90.5, 110.5], [130.5, 150.5, 170.5]]]
    expected.append([[10.5, 0.5, -9.5], [-19.5, -29.5, -39.5], [-49.5, -59.5, -69.5]])
    close(call("dynamic_kernels", x, weight, bias, scale, shift), [expected])


@spec("iadg-kernels", "dynamic_kernels")
@given(draw=exact_draws())
def test_kernels_have_the_gradient_of_map_and_makers(draw):
    gradients(lambda *given_: call("dynamic_kernels", *given_), draw.normal(2, 2, 2, 3), *makers(draw))


def convolved(x, kernels):
    """In float64, one pixel of one channel of one sample at a time; what lies outside is left out of the sum."""
    out, (height, width) = np.empty_like(x), x.shape[2:]
    for b, c, y, z in np.ndindex(x.shape):
        terms = [
            kernels[b, c, i, j] * x[b, c, y + i - 1, z + j - 1]
            for i, j in product(range(3), repeat=2)
            if 0 <= y + i - 1 < height and 0 <= z + j - 1 < width
        ]
        out[b, c, y, z] = math.fsum(terms)
    return out


@spec("iadg-kernels", "own_kernel_convolution")
@given(draw=draws(), batch=SIZES, channels=SIZES, height=SIZES, width=SIZES)
def test_each_channel_of_each_sample_goes_through_its_own_kernel(draw, batch, channels, height, width):
    given_ = draw.normal(batch, channels, height, width), draw.normal(batch, channels, 3, 3)
    close(call("own_kernel_convolution", *given_), convolved(*map(f64, given_)), magnitude=30)


@spec("iadg-kernels", "own_kernel_convolution")
def test_a_convolution_worked_by_hand():
    x = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]], dtype=torch.float64)
    kernel = torch.tensor([[[[0.0, 0, 0], [0, 1, 10], [0, 100, 1000]]]], dtype=torch.float64)
    close(call("own_kernel_convolution", x, kernel), [[[[4321.0, 402], [43, 4]]]])


@spec("iadg-kernels", "own_kernel_convolution")
@given(draw=exact_draws())
def test_the_convolution_has_the_gradient_of_map_and_kernels(draw):
    gradients(lambda *given_: call("own_kernel_convolution", *given_), draw.normal(2, 2, 2, 3), draw.normal(2, 2, 3, 3))


# Base styles


def grid(draw, number, width, reach=3.0):
    """Points of whole numbers, whose distances are exact and often tie."""
    return draw.place(draw.normal(number, width, scale=reach).round())


def farthest(points, first, count):
    """The places that follow from the first one."""
    order = [first]
    while len(order) < min(count, len(points)):
        nearest = {
            i: min(sum((p - q) ** 2 for p, q in zip(points[i], points[j], strict=True)) for j in order)
            for i in range(len(points))
            if i not in order
        }
        order.append(max(nearest, key=nearest.__getitem__))  # the first of equal ones
    return [order[i % len(order)] for i in range(count)]


@spec("iadg-bases", "farthest_points")
@given(draw=draws(), number=st.integers(1, 9), width=SIZES, count=st.integers(1, 12), reach=st.sampled_from([0.3, 3.0]))
@example(draw=Draw(0), number=9, width=1, count=9, reach=3.0)
@example(draw=Draw(0), number=5, width=2, count=5, reach=0.0)
def test_each_base_is_farthest_from_those_before_it(draw, number, width, count, reach):
    points = grid(draw, number, width, reach)
    chosen = call("farthest_points", points, count, draw.generator())
    assert chosen.dtype == torch.int64
    places = chosen.tolist()
    assert 0 <= places[0] < number
    assert places == farthest(f64(points).tolist(), places[0], count)


@spec("iadg-bases", "farthest_points")
def test_bases_worked_by_hand():
    points = torch.tensor([[0.0], [1], [10], [4], [4]], dtype=torch.float64)
    after = {0: [2, 3, 1, 4], 1: [2, 3, 0, 4], 2: [0, 3, 1, 4], 3: [2, 0, 1, 4], 4: [2, 0, 1, 3]}
    for seed in range(8):
        chosen = call("farthest_points", points, 7, torch.Generator().manual_seed(seed)).tolist()
        order = [chosen[0], *after[chosen[0]]]
        assert chosen == order + order[:2]


@spec("iadg-bases", "farthest_points")
@fewer(4)
@given(draw=draws(), number=st.integers(1, 5))
def test_the_first_base_is_any_point(draw, number):
    points, generator = grid(draw, number, 2), draw.generator()
    counts = Counter(int(call("farthest_points", points, 1, generator)[0]) for _ in range(400))
    if number > 1:
        close_counts(counts, dict.fromkeys(range(number), 1 / number))


# Mixtures of styles

QUARTERS = {  # concentration → where the first weight's distribution has its quarters
    (1.0, 1.0): [0.25, 0.5, 0.75],
    (2.0, 1.0): [math.sqrt(k / 4) for k in (1, 2, 3)],
    (0.5, 0.5): [math.sin(math.pi * k / 8) ** 2 for k in (1, 2, 3)],
    (0.5, 0.25, 0.25): [math.sin(math.pi * k / 8) ** 2 for k in (1, 2, 3)],
    (1.0, 0.3, 0.5, 0.2): [0.25, 0.5, 0.75],
}


@spec("iadg-assembly", "dirichlet_weights")
@given(draw=draws(), styles=st.sampled_from([1, 2, 7, 64, 256]), count=SIZES)
def test_weights_are_shares_of_one(draw, styles, count):
    weights = call("dirichlet_weights", draw.place(torch.full((styles,), 1 / styles)), count, draw.generator())
    assert weights.shape == (count, styles)
    assert (weights >= 0).all()
    close(weights.sum(1), [1.0] * count)


@spec("iadg-assembly", "dirichlet_weights")
@fewer(3)
@given(draw=draws(), concentration=st.sampled_from([*QUARTERS]))
@example(draw=Draw(0), concentration=(2.0, 1.0))
@example(draw=Draw(1), concentration=(0.5, 0.25, 0.25))
def test_weights_have_dirichlets_distribution_and_samples_are_independent(draw, concentration):
    weights = call("dirichlet_weights", draw.place(torch.tensor(concentration)), 3000, draw.generator())
    quarter = np.digitize(f64(weights)[:, 0], QUARTERS[concentration]).tolist()
    close_counts(Counter(quarter), dict.fromkeys(range(4), 1 / 4))
    pairs = list(zip(quarter[::2], quarter[1::2], strict=True))
    close_counts(Counter(pairs), dict.fromkeys(product(range(4), repeat=2), 1 / 16))


@spec("iadg-assembly", "dirichlet_weights")
@fewer(3)
@given(draw=draws(), styles=st.sampled_from([2, 3, 5]))
def test_the_order_of_the_styles_does_not_matter_to_their_weights(draw, styles):
    weights = call("dirichlet_weights", draw.place(torch.full((styles,), 1 / styles)), 3000, draw.generator())
    close_counts(Counter(weights.argmax(1).tolist()), dict.fromkeys(range(styles), 1 / styles))


@spec("iadg-assembly", "dirichlet_weights")
@given(draw=draws(), seed=st.integers(0, 2**31))
def test_weights_repeat_themselves_from_the_same_state_and_are_drawn_afresh_after(draw, seed):
    concentration = draw.place(torch.ones(4))
    generator = torch.Generator(draw.device).manual_seed(seed)
    first, next_ = (call("dirichlet_weights", concentration, 3, generator) for _ in range(2))
    again = call("dirichlet_weights", concentration, 3, torch.Generator(draw.device).manual_seed(seed))
    assert torch.equal(first, again)
    assert not torch.equal(first, next_)


@spec("iadg-assembly", "assembled_styles")
@given(draw=draws(), batch=SIZES, styles=SIZES, width=SIZES)
def test_a_style_is_a_mixture_of_the_bases_of_its_class(draw, batch, styles, width):
    weights, bases = draw.normal(batch, styles), draw.normal(2, styles, width)
    label = draw.integers(batch, 2)
    w, all_bases, expected = f64(weights), f64(bases), np.empty((batch, width))
    for b, d in np.ndindex(expected.shape):
        expected[b, d] = math.fsum(w[b, n] * all_bases[label[b], n, d] for n in range(styles))
    close(call("assembled_styles", weights, draw.place(label), bases), expected, magnitude=20)


@spec("iadg-assembly", "assembled_styles")
def test_a_mixture_worked_by_hand():
    bases = torch.tensor([[[1.0, 0], [3, 8]], [[10.0, 20], [30, 40]]], dtype=torch.float64)
    weights = torch.tensor([[0.5, 0.5], [0.75, 0.25]], dtype=torch.float64)
    for label, expected in (([0.0, 1.0], [[2.0, 4], [15, 25]]), ([1.0, 0.0], [[20.0, 30], [1.5, 2]])):
        close(call("assembled_styles", weights, torch.tensor(label, dtype=torch.float64), bases), expected)


@spec("iadg-assembly", "assembled_styles")
@given(draw=exact_draws())
def test_a_mixture_has_the_gradient_of_weights_and_bases(draw):
    label = draw.place(torch.tensor([0, 1, 1]))
    gradients(lambda w, b: call("assembled_styles", w, label, b), draw.normal(3, 2), draw.normal(2, 2, 2))


# Whitening


def covariances(x, centred):
    """In float64, one pair of channels of one sample at a time."""
    count, channels, height, width = x.shape
    out = np.zeros((count, channels, channels))
    for b, i, j in np.ndindex(out.shape):
        one, other = x[b, i].ravel(), x[b, j].ravel()
        if centred:
            one, other = (m - math.fsum(m) / m.size for m in (one, other))
        if i < j:
            out[b, i, j] = math.fsum(p * q for p, q in zip(one, other, strict=True)) / (height * width - 1)
    return out


@spec("iadg-whitening", "pair_covariances")
@given(draw=draws(), batch=SIZES, channels=SIZES, height=SIZES, width=st.integers(2, 4), centred=st.booleans())
def test_covariances_are_those_of_pairs_of_channels_above_the_diagonal(draw, batch, channels, height, width, centred):
    x = draw.normal(batch, channels, height, width) + 1
    close(call("pair_covariances", x, centred=centred), covariances(f64(x), centred), magnitude=50)


@spec("iadg-whitening", "pair_covariances")
def test_covariances_worked_by_hand():
    x = torch.tensor([[[[1.0, 2], [3, 4]], [[2.0, 2], [2, 6]]]], dtype=torch.float64)
    close(call("pair_covariances", x), [[[0.0, 12], [0, 0]]])  # (2 + 4 + 6 + 24) / 3
    close(call("pair_covariances", x, centred=True), [[[0.0, 2], [0, 0]]])  # (36 - 4 * 2.5 * 3) / 3


@spec("iadg-whitening", "pair_covariances")
@given(draw=draws(), channels=SIZES)
def test_centred_covariances_know_nothing_of_the_means(draw, channels):
    x = draw.normal(2, channels, 2, 3)
    moved = x + draw.normal(2, channels)[:, :, None, None]
    close(call("pair_covariances", moved, centred=True), call("pair_covariances", x, centred=True), magnitude=50)


@spec("iadg-whitening", "pair_covariances")
@given(draw=exact_draws(), centred=st.booleans())
def test_covariances_have_the_gradient_of_the_maps(draw, centred):
    gradients(lambda x: call("pair_covariances", x, centred=centred), draw.normal(2, 3, 2, 2))


@spec("iadg-whitening", "sensitive_pairs")
@given(draw=draws(), channels=st.integers(2, 8), share=st.floats(0.001, 1), of_pairs=st.booleans())
@example(draw=Draw(0), channels=4, share=0.25, of_pairs=False)
@example(draw=Draw(0), channels=4, share=0.5, of_pairs=True)
@example(draw=Draw(0), channels=8, share=0.001, of_pairs=True)
@example(draw=Draw(0), channels=5, share=1.0, of_pairs=False)
def test_the_pairs_of_largest_variance_are_chosen(draw, channels, share, of_pairs):
    variance = draw.place(draw.permutation(channels**2).view(channels, channels))  # no two are equal
    pairs = [(i, j) for i in range(channels) for j in range(i + 1, channels)]
    count = max(1, math.floor(share * (len(pairs) if of_pairs else channels**2)))
    best = sorted(pairs, key=lambda pair: -float(variance[pair]))[:count]
    mask = call("sensitive_pairs", variance, share, of_pairs=of_pairs)
    assert mask.dtype == torch.bool
    assert mask.shape == (channels, channels)
    assert mask.nonzero().tolist() == [list(pair) for pair in sorted(best)]


@spec("iadg-whitening", "sensitive_pairs")
@pytest.mark.parametrize(
    ("share", "of_pairs", "count"), [(0.003, None, 442), (0.0006, None, 88), (0.003, True, 220), (0.0006, True, 44)]
)
def test_how_many_of_384_channels_are_chosen(share, of_pairs, count):
    variance = torch.arange(384 * 384, dtype=torch.float64).view(384, 384)
    told = {} if of_pairs is None else {"of_pairs": of_pairs}
    assert int(call("sensitive_pairs", variance, share, **told).sum()) == count


def flags(draw, *shape):
    return draw.integers(math.prod(shape), 2).bool().view(shape)


@spec("iadg-whitening", "whitening_loss")
@given(draw=draws(), batch=SIZES, channels=SIZES)
@example(draw=Draw(0), batch=1, channels=3)
def test_chosen_covariances_are_averaged_over_pairs_samples_and_classes(draw, batch, channels):
    values, masks, label = (
        draw.normal(batch, channels, channels),
        flags(draw, 2, channels, channels),
        draw.integers(batch, 2),
    )
    halves = []
    for number in (0, 1):
        sizes = [
            math.fsum(
                abs(v) for v, chosen in zip(f64(values[b]).ravel(), masks[number].flatten(), strict=True) if chosen
            )
            / max(1, int(masks[number].sum()))
            for b in range(batch)
            if label[b] == number
        ]
        halves.append(math.fsum(sizes) / max(1, len(sizes)))
    close(call("whitening_loss", values, draw.place(label), masks), sum(halves) / 2, magnitude=4)


@spec("iadg-whitening", "whitening_loss")
def test_whitening_worked_by_hand():
    values = torch.tensor([[[0.0, -4], [9, 2]], [[0.0, 8], [9, 0]], [[7.0, -5], [0, 0]]], dtype=torch.float64)
    masks = torch.tensor([[[False, True], [False, True]], [[True, False], [False, False]]])
    # Bona fide: (4 + 2) / 2 and (8 + 0) / 2, whose mean is 3.5; the attack: 7.
    close(call("whitening_loss", values, torch.tensor([0.0, 0, 1], dtype=torch.float64), masks), 5.25)
    close(call("whitening_loss", values, torch.zeros(3, dtype=torch.float64), masks), 9.5 / 6)  # no attack
    close(call("whitening_loss", values, torch.ones(3, dtype=torch.float64), masks), 7 / 6)


@spec("iadg-whitening", "whitening_loss")
@given(draw=draws(), channels=SIZES)
def test_nothing_chosen_costs_nothing(draw, channels):
    values, label = draw.normal(3, channels, channels), draw.place(draw.integers(3, 2))
    masks = flags(draw, 2, channels, channels) & False
    close(call("whitening_loss", values, label, masks), 0.0)


@spec("iadg-whitening", "whitening_loss")
@given(draw=exact_draws(), label=st.sampled_from([[0, 1, 1], [0, 0, 0]]))
def test_whitening_has_the_gradient_of_the_covariances(draw, label):
    masks, labels = flags(draw, 2, 2, 2), draw.place(torch.tensor(label))
    values = draw.normal(3, 2, 2)
    gradients(lambda x: call("whitening_loss", x, labels, masks), values + values.sign() * 0.1)
