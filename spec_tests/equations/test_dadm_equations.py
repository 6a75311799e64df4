"""DADM: masked tokens, the bound of information, angles between sources, modalities whose gradients give way."""

import math
from itertools import combinations, product

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from spec_tests.equations.adapter import call, gradients, spec
from spec_tests.equations.strategies import draws, exact_draws, fewer
from spec_tests.equations.tolerances import close, f64

SIZES = st.integers(1, 4)


# Masks


@spec("dadm-masks", "masked_tokens")
@given(draw=draws(), batch=SIZES, height=SIZES, width=SIZES, channels=SIZES)
def test_each_patch_is_multiplied_by_the_mask_of_its_place(draw, batch, height, width, channels):
    tokens, mask = draw.normal(batch, 1 + height * width, channels), draw.normal(batch, channels, height, width)
    expected, weights = f64(tokens), f64(mask)
    for b, row, column, c in product(range(batch), range(height), range(width), range(channels)):
        expected[b, 1 + row * width + column, c] *= weights[b, c, row, column]
    close(call("masked_tokens", tokens, mask), expected)


@spec("dadm-masks", "masked_tokens")
def test_masks_worked_by_hand():
    tokens = torch.tensor([[5.0], [1], [2], [3], [4]], dtype=torch.float64)[None]
    mask = torch.tensor([[0.0, 10], [100, 1000]], dtype=torch.float64)[None, None]
    close(call("masked_tokens", tokens, mask), np.array([5.0, 0, 20, 300, 4000])[None, :, None])


@spec("dadm-masks", "masked_tokens")
@given(draw=exact_draws(), batch=st.integers(1, 2))
def test_masking_has_the_gradient_of_tokens_and_mask(draw, batch):
    def masked(tokens, mask):
        return call("masked_tokens", tokens, mask)

    gradients(masked, draw.normal(batch, 5, 2), draw.normal(batch, 2, 2, 2))


# Information


def bound(a, b, order_a, order_b):
    """In float64, one number at a time."""
    count = a.size
    joint = math.fsum((x + y) / 2 for x, y in zip(a.flat, b.flat, strict=True)) / count
    apart = [(x + y) / 2 for i, j in zip(order_a, order_b, strict=True) for x, y in zip(a[i], b[j], strict=True)]
    top = max(apart)
    return top + math.log(math.fsum(math.exp(x - top) for x in apart) / count) - joint


@spec("dadm-information", "information_bound")
@given(draw=draws(), count=st.integers(1, 6), width=SIZES, scale=st.sampled_from([0.1, 1.0, 200.0]))
def test_the_bound_is_the_joint_mean_less_the_logarithm_of_the_mean_exponential(draw, count, width, scale):
    a, b = draw.normal(count, width, scale=scale), draw.normal(count, width, scale=scale)
    orders = draw.permutation(count), draw.permutation(count)
    expected = bound(f64(a), f64(b), *(order.tolist() for order in orders))
    close(call("information_bound", a, b, *orders), expected, magnitude=4 * scale)


@spec("dadm-information", "information_bound")
def test_the_bound_worked_by_hand():
    a, b = torch.tensor([[0.0], [2.0]], dtype=torch.float64), torch.tensor([[0.0], [4.0]], dtype=torch.float64)
    same, turned = torch.tensor([0, 1]), torch.tensor([1, 0])
    close(call("information_bound", a, b, same, same), math.log((1 + math.exp(3)) / 2) - 1.5)
    close(call("information_bound", a, b, turned, turned), math.log((1 + math.exp(3)) / 2) - 1.5)
    close(call("information_bound", a, b, turned, same), math.log((math.exp(1) + math.exp(2)) / 2) - 1.5)
    close(call("information_bound", a, b, same, turned), math.log((math.exp(2) + math.exp(1)) / 2) - 1.5)


@spec("dadm-information", "information_bound")
@given(draw=draws(), count=st.integers(1, 6), width=SIZES, shared=st.sampled_from([0.0, 0.5, 1.0]))
def test_the_bound_promises_no_information_however_much_there_is(draw, count, width, shared):
    """By Jensen's inequality it never falls below 0 here, where it is turned round; b may be a itself."""
    a = draw.normal(count, width, scale=3)
    b = shared * a + (1 - shared) * draw.normal(count, width, scale=3)
    loss = call("information_bound", a, b, draw.permutation(count), draw.permutation(count))
    assert loss.item() >= -1e-5


@spec("dadm-information", "information_bound")
@given(draw=draws(), count=st.integers(1, 6), width=SIZES)
def test_the_bound_is_zero_for_constant_tokens_and_ignores_what_is_added_to_all(draw, count, width):
    orders = draw.permutation(count), draw.permutation(count)
    constant = draw.normal(1, 1).expand(count, width)
    close(call("information_bound", constant, 2 * constant, *orders), 0.0, magnitude=10)
    a, b = draw.normal(count, width), draw.normal(count, width)
    loss = f64(call("information_bound", a, b, *orders))
    close(call("information_bound", a + 3, b - 7, *orders), loss, magnitude=10)


@spec("dadm-information", "information_bound")
@fewer(3)
@given(draw=draws(["float64"]), v=st.sampled_from([0.25, 1.0]), w=st.sampled_from([0.25, 1.0]))
def test_the_bound_of_normal_tokens_is_an_eighth_of_their_variances(draw, v, w):
    """Of 200 x 200 quantiles each pair once, so that a and b are independent but for the orders, which are of whole
    rows: a runs along the rows, b along the columns."""
    law = torch.distributions.Normal(0.0, 1.0)
    quantiles = draw.place(law.icdf((torch.arange(200, dtype=torch.float64) + 0.5) / 200))
    a = v**0.5 * quantiles[:, None].expand(200, 200)
    b = w**0.5 * quantiles.expand(200, 200)
    loss = call("information_bound", a, b, draw.permutation(200), draw.permutation(200))
    assert loss.item() == pytest.approx((v + w) / 8, rel=0.02)


@spec("dadm-information", "information_bound")
@given(draw=exact_draws(), count=st.integers(1, 4))
def test_the_bound_has_the_gradient_of_both_tokens(draw, count):
    orders = draw.permutation(count), draw.permutation(count)
    gradients(lambda a, b: call("information_bound", a, b, *orders), draw.normal(count, 2), draw.normal(count, 2))


@spec("dadm-information", "modality_information")
@given(draw=draws(), layers=SIZES, batch=SIZES, width=SIZES)
def test_a_modalitys_information_is_the_mean_of_its_tokens_in_both_of_its_pairs(draw, layers, batch, width):
    tokens = draw.normal(layers, 3, batch, 2, width)
    x, expected = f64(tokens), []
    for modality in range(3):
        own = [
            x[layer, place, sample, pair.index(modality), channel]
            for place, pair in enumerate([(0, 1), (0, 2), (1, 2)])
            if modality in pair
            for layer, sample, channel in product(range(layers), range(batch), range(width))
        ]
        expected.append(math.fsum(own) / (2 * layers * batch * width))
    close(call("modality_information", tokens), expected)


@spec("dadm-information", "modality_information")
def test_information_worked_by_hand():
    tokens = torch.tensor([[1.0, 10], [100, 1000], [10_000, 100_000]], dtype=torch.float64).view(1, 3, 1, 2, 1)
    close(call("modality_information", tokens), [101 / 2, 10_010 / 2, 101_000 / 2])
    close(call("modality_information", torch.cat([tokens, 3 * tokens])), [101, 10_010, 101_000])


@spec("dadm-information", "modality_information")
@given(draw=exact_draws(), batch=SIZES)
def test_information_has_the_gradient_of_every_token(draw, batch):
    gradients(lambda tokens: call("modality_information", tokens), draw.normal(1, 3, batch, 2, 2))


# Angles


def angles(features, bonafide, place, of_bonafide, of_attacks):
    """In float64, a pair of samples at a time."""

    def cosine(x, y):
        return math.fsum(x * y) / math.sqrt(math.fsum(x * x) * math.fsum(y * y))

    modalities, sources, terms = range(len(features)), sorted(set(place)), []
    for live in (True, False):
        of = {e: [i for i in range(len(place)) if place[i] == e and bool(bonafide[i]) == live] for e in sources}
        if not all(of.values()):
            continue
        target = of_bonafide if live else of_attacks
        for e, f in combinations(sources, 2):
            for m in modalities:
                for i, j in product(of[e], of[f]):
                    terms.append((cosine(features[m][i], features[m][j]) - target) ** 2)
            for m, n in combinations(modalities, 2):
                within = [[cosine(features[m][i], features[n][k]) for i, k in product(of[s], of[s])] for s in (e, f)]
                terms += [(x - y) ** 2 for x, y in product(*within)]
    return math.fsum(terms) / max(len(sources) * (len(sources) - 1) // 2, 1)


@spec("dadm-angles", "angle_loss")
@fewer(2)
@given(draw=draws(), count=st.integers(1, 8), width=st.integers(2, 4), sources=SIZES, modalities=st.integers(1, 3))
def test_angles_are_the_squared_differences_of_every_pair_of_sources(draw, count, width, sources, modalities):
    features = torch.stack([draw.rows(count, width) for _ in range(modalities)])
    bonafide, place = draw.integers(count, 2) == 1, 3 * draw.integers(count, sources)
    given_ = features, bonafide, place
    plain = f64(features), bonafide.tolist(), place.tolist()
    close(call("angle_loss", *given_), angles(*plain, 1.0, 0.85), magnitude=20)
    moved = call("angle_loss", *given_, bonafide_cosine=0.3, attack_cosine=-0.4)
    close(moved, angles(*plain, 0.3, -0.4), magnitude=20)


@spec("dadm-angles", "angle_loss")
def test_angles_worked_by_hand():
    # One modality. Bona fide: (1, 0) of source 0, (0, 1) and (3, 4) / 5 of source 1. One attack in each.
    features = torch.tensor([[[2.0, 0], [0, 3], [0.6, 0.8], [1, 0], [0.8, 0.6]]], dtype=torch.float64)
    bonafide, place = torch.tensor([True, True, True, False, False]), torch.tensor([0, 1, 1, 0, 1])
    expected = 1 + 0.4**2 + 0.05**2
    close(call("angle_loss", features, bonafide, place), expected)
    # A third source at whose place only attacks are: bona fide faces are left out, and three pairs are averaged.
    features = torch.cat([features, torch.tensor([[[0.0, 5]]], dtype=torch.float64)], 1)
    bonafide, place = torch.cat([bonafide, torch.tensor([False])]), torch.cat([place, torch.tensor([7])])
    expected = (0.05**2 + 0.85**2 + 0.25**2) / 3
    close(call("angle_loss", features, bonafide, place), expected)
    # Two modalities, a sample of each of two sources: cosines 1 and 0 across modalities.
    features = torch.tensor([[[1.0, 0], [1, 0]], [[1, 0], [0, 1]]], dtype=torch.float64)
    close(call("angle_loss", features, torch.tensor([True, True]), torch.tensor([0, 1])), 0 + 1 + 1)


@spec("dadm-angles", "angle_loss")
@given(draw=draws(), count=st.integers(2, 6), live=st.booleans())
def test_one_source_and_classes_that_a_source_lacks_add_nothing_and_a_gradient_of_zeros(draw, count, live):
    features = torch.stack([draw.rows(count, 3) for _ in range(3)])
    first = torch.arange(count, device=features.device) == 0
    one_source = draw.integers(count, 2) == 1, 0 * first.long()
    apart = first == live, first.long()  # the first sample's source has its class alone, and the other source the other
    for bonafide, place in (one_source, apart):
        leaf = features.detach().clone().requires_grad_()
        loss = call("angle_loss", leaf, bonafide, place)
        close(loss, 0.0)
        close(torch.autograd.grad(loss, leaf)[0], torch.zeros_like(leaf))


@spec("dadm-angles", "angle_loss")
@given(draw=draws(), count=st.integers(2, 7))
def test_angles_ignore_lengths_and_the_order_and_names_of_samples_and_sources(draw, count):
    features = torch.stack([draw.rows(count, 3) for _ in range(3)])
    bonafide, place, order = draw.integers(count, 2) == 1, draw.integers(count, 3), draw.permutation(count)
    loss = f64(call("angle_loss", features, bonafide, place))
    close(call("angle_loss", features * draw.sizes(count), bonafide, place), loss, magnitude=100)
    close(call("angle_loss", features[:, order], bonafide[order], place[order]), loss, magnitude=100)
    close(call("angle_loss", features, bonafide, 9 - 4 * place), loss, magnitude=100)
    close(call("angle_loss", features.flip(0), bonafide, place), loss, magnitude=100)


@spec("dadm-angles", "angle_loss")
@fewer(3)
@given(draw=exact_draws(), sources=st.integers(2, 3))
def test_angles_have_the_gradient_of_the_features(draw, sources):
    bonafide, place = torch.arange(6) % 2 == 0, torch.arange(6) // 2 % sources
    gradients(lambda x: call("angle_loss", x, bonafide, place), draw.normal(2, 6, 2) + 1)


# Gradients


@spec("dadm-gradients", "giving_way")
@given(draw=draws(), modalities=st.integers(1, 5), ties=st.booleans())
def test_all_modalities_give_way_that_have_less_information_than_another(draw, modalities, ties):
    information = draw.normal(modalities)
    if ties:
        information = information.sign()
    x = f64(information).tolist()
    expected = [m for m in range(modalities) if any(other > x[m] for other in x)]
    assert list(call("giving_way", information)) == expected


@spec("dadm-gradients", "giving_way")
def test_giving_way_worked_by_hand():
    for information, expected in (
        ([0.5, 0.25, -2.0], [1, 2]),
        ([-3.0, -1.0, -2.0], [0, 2]),
        ([1.0, 2.0, 2.0], [0]),
        ([0.0, 0.0, 0.0], []),
        ([1.0, 1.0 + 2**-40, 0.0], [0, 2]),
    ):
        assert list(call("giving_way", torch.tensor(information, dtype=torch.float64))) == expected
