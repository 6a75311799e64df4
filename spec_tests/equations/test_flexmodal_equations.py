"""FlexModal-FAS: the attention between channels, dropped modalities, cutout."""

import math
from collections import Counter
from fractions import Fraction
from itertools import product

import numpy as np
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from spec_tests.equations.adapter import call, gradients, spec
from spec_tests.equations.strategies import Draw, draws, exact_draws, fewer
from spec_tests.equations.tolerances import close, close_counts, f64

SIZES = st.integers(1, 5)
SCALED = st.booleans()


# Attention between channels


def attended(x, rgb, scaled):
    """In float64, one channel of one sample at a time; also the largest product, which the softmax rounds."""
    out, largest = np.empty_like(x), 0.0
    for b, sample in enumerate(x):
        for c, channel in enumerate(sample):
            products = [math.fsum(p * q for p, q in zip(channel, other, strict=True)) for other in rgb[b]]
            if scaled:
                products = [p / math.sqrt(len(channel)) for p in products]
            weights = [math.exp(p - max(products)) for p in products]
            for n in range(len(channel)):
                column = [w * other[n] for w, other in zip(weights, rgb[b], strict=True)]
                out[b, c, n] = math.fsum(column) / math.fsum(weights)
            largest = max(largest, *map(abs, products))
    return out, largest


@spec("flexmodal-attention", "channel_cross_attention")
@given(draw=draws(), batch=SIZES, channels=SIZES, positions=SIZES, scaled=SCALED)
def test_each_channel_is_a_mean_of_rgbs_channels_by_their_products(draw, batch, channels, positions, scaled):
    x, rgb = draw.normal(batch, channels, positions), draw.normal(batch, channels, positions)
    expected, largest = attended(f64(x), f64(rgb), scaled)
    close(call("channel_cross_attention", x, rgb, scaled=scaled), expected, magnitude=4 * largest)


@spec("flexmodal-attention", "channel_cross_attention")
def test_channel_attention_worked_by_hand():
    # At four positions the first of two channels has products ln 3 and 0 or, where sqrt(4) divides them, ln 9 and 0.
    # Its weights are 3/4 and 1/4. The second has products of 0.
    rgb = torch.tensor([[[4.0, 0, 0, 8], [0.0, 4, 0, 0]]], dtype=torch.float64)
    for factor, scaled in ((1, False), (2, True)):
        x = torch.tensor([[[factor * math.log(3) / 4, 0, 0, 0], [0, 0, 5.0, 0]]], dtype=torch.float64)
        expected = [[[3.0, 1, 0, 6], [2.0, 2, 0, 4]]]
        close(call("channel_cross_attention", x, rgb, scaled=scaled), expected)


@spec("flexmodal-attention", "channel_cross_attention")
@given(draw=draws(), channels=SIZES, positions=st.integers(2, 5))
def test_channel_attention_is_unscaled_unless_told(draw, channels, positions):
    x, rgb = draw.normal(2, channels, positions), draw.normal(2, channels, positions)
    expected, largest = attended(f64(x), f64(rgb), False)
    close(call("channel_cross_attention", x, rgb), expected, magnitude=4 * largest)


@spec("flexmodal-attention", "channel_cross_attention")
@given(draw=draws(), channels=st.integers(2, 5), positions=SIZES, scaled=SCALED)
def test_the_order_of_rgbs_channels_does_not_matter_and_that_of_the_others_is_kept(draw, channels, positions, scaled):
    x, rgb = draw.normal(2, channels, positions), draw.normal(2, channels, positions)
    order, other = draw.permutation(channels), draw.permutation(channels)
    shuffled = call("channel_cross_attention", x[:, order], rgb[:, other], scaled=scaled)
    close(shuffled, call("channel_cross_attention", x, rgb, scaled=scaled)[:, order], magnitude=50)


@spec("flexmodal-attention", "channel_cross_attention")
@given(draw=draws(), channels=SIZES, positions=SIZES, scaled=SCALED)
def test_a_black_map_sees_the_mean_of_all_channels(draw, channels, positions, scaled):
    rgb = draw.normal(2, channels, positions)
    seen = call("channel_cross_attention", draw.place(torch.zeros(2, channels, positions)), rgb, scaled=scaled)
    close(seen, np.repeat(f64(rgb).mean(1, keepdims=True), channels, axis=1))


@spec("flexmodal-attention", "channel_cross_attention")
@given(draw=draws(), scaled=SCALED, size=st.sampled_from([30.0, 1e3]))
def test_large_maps_choose_one_channel_without_overflow(draw, scaled, size):
    channels = 4
    chosen = draw.permutation(channels)
    rgb = draw.place(size * torch.eye(channels)[None])
    x = draw.place(size * torch.eye(channels, device=chosen.device)[chosen][None])
    seen = call("channel_cross_attention", x, rgb, scaled=scaled)
    close(seen, rgb[:, chosen])


@spec("flexmodal-attention", "channel_cross_attention")
@given(draw=exact_draws(), scaled=SCALED)
def test_channel_attention_has_the_gradient_of_both_maps(draw, scaled):
    def attend(x, rgb):
        return call("channel_cross_attention", x, rgb, scaled=scaled)

    gradients(attend, draw.normal(2, 2, 3, scale=0.5), draw.normal(2, 2, 3, scale=0.5))


# Dropped modalities


def pictures(draw, count, height=2, width=3):
    """RGB, depth and infrared whose pixels lie between -0.9 and 1, so that black is no pixel of theirs."""
    return [draw.place(draw.normal(count, 3, height, width).sigmoid() * 1.9 - 0.9) for _ in range(3)]


def blackened(before, after):
    """For each sample whether it is black as a whole; any other change is an error."""
    assert after.shape == before.shape
    black = (after == -1).flatten(1).all(1)
    assert same(after[~black], before[~black])
    return black.tolist()


def same(now, was):
    return torch.allclose(now, was, rtol=1e-6, atol=1e-6)


@spec("flexmodal-dropping", "drop_modalities")
@given(draw=draws(), count=SIZES, probability=st.sampled_from([0.0, 0.3, 1.0]))
@example(draw=Draw(0), count=1, probability=0.0)
def test_a_modality_is_black_or_as_it_was(draw, count, probability):
    _, depth, ir = pictures(draw, count)
    after = call("drop_modalities", depth, ir, probability, draw.generator())
    for before, now in zip((depth, ir), after, strict=True):
        black = blackened(before, now)
        if probability in (0, 1):
            assert black == [bool(probability)] * count


@spec("flexmodal-dropping", "drop_modalities")
def test_dropping_worked_by_hand():
    depth, ir = torch.full((1, 3, 1, 2), 0.5), torch.linspace(-1, 1, 6).view(1, 3, 1, 2)
    for probability, expected in ((0.0, (depth, ir)), (1.0, (-torch.ones_like(depth), -torch.ones_like(ir)))):
        after = call("drop_modalities", depth, ir, probability, torch.Generator().manual_seed(0))
        for now, then in zip(after, expected, strict=True):
            close(now, then)


@spec("flexmodal-dropping", "drop_modalities")
@fewer(4)
@given(draw=draws(), probability=st.sampled_from([0.1, 0.5, 0.8]))
def test_depth_and_infrared_of_every_sample_are_dropped_independently(draw, probability):
    count = 2000
    _, depth, ir = pictures(draw, count, 1, 1)
    after = call("drop_modalities", depth, ir, probability, draw.generator())
    dropped = list(zip(*(blackened(*pair) for pair in zip((depth, ir), after, strict=True)), strict=True))
    p = {True: probability, False: 1 - probability}
    pairs = list(product(p, p))
    close_counts(Counter(dropped), {(a, b): p[a] * p[b] for a, b in pairs})
    neighbours = list(zip(dropped[::2], dropped[1::2], strict=True))
    joint = {(a, b): p[a[0]] * p[a[1]] * p[b[0]] * p[b[1]] for a in pairs for b in pairs}
    close_counts(Counter(neighbours), joint)


@spec("flexmodal-dropping", "drop_modalities")
@given(draw=draws(), seed=st.integers(0, 2**31))
def test_dropping_repeats_itself_from_the_same_state_and_draws_afresh_after(draw, seed):
    _, depth, ir = pictures(draw, 64, 1, 1)
    generator = torch.Generator(draw.device).manual_seed(seed)
    first, next_ = (call("drop_modalities", depth, ir, 0.5, generator) for _ in range(2))
    again = call("drop_modalities", depth, ir, 0.5, torch.Generator(draw.device).manual_seed(seed))
    for one, two, three in zip(first, again, next_, strict=True):
        assert torch.equal(one, two)
        assert not torch.equal(one, three)


# Cutout


def cuts(before, after):
    """(top, bottom, left, right) of each sample's black pixels, the last ones not included, or None without any.

    Asserts that they are the same in all channels and images, that they fill that rectangle, and that nothing else
    has changed.
    """
    was, now = (np.stack([f64(x) for x in images], axis=1) for images in (before, after))  # (B, 3, 3, H, W)
    black = now == -1
    assert np.allclose(now[~black], was[~black], rtol=1e-6, atol=1e-6)
    assert (black == black[:, :1, :1]).all()
    found = []
    for mask in black[:, 0, 0]:
        rows, columns = np.flatnonzero(mask.any(1)).tolist(), np.flatnonzero(mask.any(0)).tolist()
        assert mask.sum() == len(rows) * len(columns), "no rectangle"
        found.append((rows[0], rows[-1] + 1, columns[0], columns[-1] + 1) if rows else None)
    return found


def rectangles(height, width, limit):
    """Each rectangle that can be, and its probability: every centre and every side is as likely as any other."""
    chances = Counter()
    for y, x, side in product(range(height), range(width), range(1, limit)):
        black = [
            (row, column)
            for row, column in product(range(height), range(width))
            if -(side // 2) <= row - y < side // 2 and -(side // 2) <= column - x < side // 2
        ]
        rows, columns = [row for row, _ in black], [column for _, column in black]
        place = (min(rows), max(rows) + 1, min(columns), max(columns) + 1) if black else None
        chances[place] += Fraction(1, height * width * (limit - 1))
    return chances


@spec("flexmodal-cutout", "cut_out")
@given(draw=draws(), count=SIZES, height=SIZES, width=SIZES, limit=st.integers(2, 9))
def test_cutout_blackens_one_possible_rectangle_of_all_modalities(draw, count, height, width, limit):
    images = pictures(draw, count, height, width)
    after = call("cut_out", *images, limit, draw.generator())
    assert set(cuts(images, after)) <= rectangles(height, width, limit).keys()


@spec("flexmodal-cutout", "cut_out")
@fewer(4)
@given(
    draw=draws(),
    size=st.sampled_from([(2, 3), (4, 1), (3, 3)]),
    limit=st.sampled_from([2, 3, 5, 6]),
)
@example(draw=Draw(0), size=(2, 3), limit=6)
@example(draw=Draw(1, "float32"), size=(4, 1), limit=5)
@example(draw=Draw(2), size=(3, 3), limit=4)
def test_every_centre_and_every_side_is_as_likely_as_any_other(draw, size, limit):
    images = pictures(draw, 1500, *size)
    after = call("cut_out", *images, limit, draw.generator())
    close_counts(Counter(cuts(images, after)), rectangles(*size, limit))


@spec("flexmodal-cutout", "cut_out")
def test_cutout_worked_by_hand():
    # A single row and column, and sides 1, 2, 3: the first covers nothing, the others the pixel.
    image = torch.zeros(3000, 3, 1, 1)
    after = call("cut_out", image, image, image, 4, torch.Generator().manual_seed(0))
    black = (after[0][:, 0, 0, 0] == -1).double().mean().item()
    assert abs(black - 2 / 3) < 0.06
    for now in after:
        assert set(now.unique().tolist()) == {-1.0, 0.0}


@spec("flexmodal-cutout", "cut_out")
@given(draw=draws(), height=SIZES, width=SIZES)
def test_a_limit_of_two_cuts_out_nothing(draw, height, width):
    images = pictures(draw, 3, height, width)
    for was, now in zip(images, call("cut_out", *images, 2, draw.generator()), strict=True):
        assert same(now, was)


@spec("flexmodal-cutout", "cut_out")
@given(draw=draws(), seed=st.integers(0, 2**31))
def test_cutout_repeats_itself_from_the_same_state_and_draws_afresh_after(draw, seed):
    images = pictures(draw, 16, 6, 5)
    generator = torch.Generator(draw.device).manual_seed(seed)
    first, next_ = (call("cut_out", *images, 6, generator) for _ in range(2))
    again = call("cut_out", *images, 6, torch.Generator(draw.device).manual_seed(seed))
    for one, two, three in zip(first, again, next_, strict=True):
        assert torch.equal(one, two)
        assert not torch.equal(one, three)
