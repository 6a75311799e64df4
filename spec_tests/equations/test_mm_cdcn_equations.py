"""MM-CDCN: contrast depth loss, the mask of a face, what a map scores, erased rectangles."""

import math
from collections import Counter
from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from spec_tests.equations.adapter import call, gradients, spec
from spec_tests.equations.strategies import draws, exact_draws, fewer
from spec_tests.equations.tolerances import close, close_counts, f64

SIZES = st.integers(1, 4)
SIDES = st.integers(3, 6)
KINDS = st.sampled_from(["capped", "uncapped", "mean"])


# Contrast depth loss


def contrast_error(predicted, target):
    """In float64, one neighbour of one cell at a time."""
    terms = []
    for b, row, column in np.ndindex(predicted.shape):
        if 0 < row < predicted.shape[1] - 1 and 0 < column < predicted.shape[2] - 1:
            for down, right in product((-1, 0, 1), repeat=2):
                if (down, right) != (0, 0):
                    two = [m[b, row + down, column + right] - m[b, row, column] for m in (predicted, target)]
                    terms.append((two[0] - two[1]) ** 2)
    return math.fsum(terms) / len(terms)


@spec("mm-cdcn-contrast", "contrast_depth_loss")
@given(draw=draws(), batch=SIZES, height=SIDES, width=SIDES)
def test_the_contrast_loss_is_of_eight_differences_of_each_inner_cell(draw, batch, height, width):
    predicted, target = draw.normal(batch, height, width), draw.normal(batch, height, width)
    expected = contrast_error(f64(predicted), f64(target))
    close(call("contrast_depth_loss", predicted, target), expected, magnitude=10)


@spec("mm-cdcn-contrast", "contrast_depth_loss")
@pytest.mark.parametrize(("row", "column"), [*product(range(3), repeat=2)])
def test_each_of_eight_neighbours_counts_once_and_the_cell_itself_in_all_of_them(row, column):
    predicted = torch.zeros(1, 3, 3, dtype=torch.float64)
    predicted[0, row, column] = 4.0
    expected = 16.0 if (row, column) == (1, 1) else 2.0  # 16 / 8
    close(call("contrast_depth_loss", predicted, torch.zeros_like(predicted)), expected)
    close(call("contrast_depth_loss", torch.zeros_like(predicted), predicted), expected)


@spec("mm-cdcn-contrast", "contrast_depth_loss")
@given(draw=draws(), batch=SIZES, height=SIDES, width=SIDES)
def test_maps_that_differ_by_a_constant_of_each_sample_have_no_contrast_loss(draw, batch, height, width):
    target = draw.normal(batch, height, width)
    predicted = draw.place(target + draw.normal(batch, 1, 1))
    # In float32 a constant leaves roundings of a part in ten million, whose squares are far below.
    assert call("contrast_depth_loss", predicted, target).item() <= 1e-11


@spec("mm-cdcn-contrast", "contrast_depth_loss")
@given(draw=draws(), height=SIDES, width=SIDES)
def test_the_contrast_loss_is_blind_to_constants_and_to_which_map_is_which(draw, height, width):
    predicted, target = draw.normal(2, height, width), draw.normal(2, height, width)
    before = f64(call("contrast_depth_loss", predicted, target))
    moved = draw.place(predicted + draw.normal(2, 1, 1)), draw.place(target + draw.normal(2, 1, 1))
    close(call("contrast_depth_loss", *moved), before, magnitude=50)
    close(call("contrast_depth_loss", target, predicted), before, magnitude=10)


@spec("mm-cdcn-contrast", "contrast_depth_loss")
@given(draw=draws(), batch=st.integers(2, 4), factor=st.sampled_from([-2.0, 0.5, 3.0]))
def test_the_contrast_loss_is_a_mean_over_samples_and_a_square(draw, batch, factor):
    predicted, target = draw.normal(batch, 4, 3), draw.normal(batch, 4, 3)
    alone = [float(call("contrast_depth_loss", predicted[i : i + 1], target[i : i + 1])) for i in range(batch)]
    close(call("contrast_depth_loss", predicted, target), math.fsum(alone) / batch, magnitude=10)
    larger = call("contrast_depth_loss", draw.place(factor * predicted), draw.place(factor * target))
    close(larger, factor**2 * math.fsum(alone) / batch, magnitude=100)


@spec("mm-cdcn-contrast", "contrast_depth_loss")
@given(draw=exact_draws())
def test_the_contrast_loss_has_the_gradient_of_both_maps(draw):
    gradients(lambda *maps: call("contrast_depth_loss", *maps), draw.normal(2, 4, 3), draw.normal(2, 4, 3))


# Mask and target


def pictures(draw, count, height, width, brightest):
    """Whole levels of 255 from 0 to `brightest`, half of the pixels black; and what a network is fed of them."""
    levels = draw.integers(count * 3 * height * width, brightest + 1).view(count, 3, height, width)
    levels = levels * draw.integers(count * height * width, 2).view(count, 1, height, width)
    return f64(levels), draw.place((levels.double() - 127.5) / 127.5)


def resized(grey, side):
    """Bilinear interpolation of one map (S, S), a cell at a time; no filter, and the border goes on outside."""
    last, out = len(grey) - 1, np.empty((side, side))
    for cell in np.ndindex(side, side):
        ends = []
        for place in cell:
            position = min(max((place + 0.5) * len(grey) / side - 0.5, 0.0), last)
            low = int(position)
            ends.append([(low, 1 - (position - low)), (min(low + 1, last), position - low)])
        out[cell] = math.fsum(p * q * grey[i, j] for (i, p), (j, q) in product(*ends))
    return out


def masks(levels, side):
    """The mask, and where a level is so near to one half that its rounding may fall either way."""
    grey = np.rint(np.einsum("bchw,c->bhw", levels, [0.299, 0.587, 0.114]))
    small = np.stack([resized(each, side) for each in grey])
    return (small >= 0.5).astype(float), np.abs(small - 0.5) < 1e-4


@spec("mm-cdcn-mask", "face_mask")
@given(draw=draws(), count=st.integers(1, 3), size=st.integers(1, 9), side=st.integers(1, 5))
def test_the_mask_is_of_what_is_not_black_after_it_is_resized(draw, count, size, side):
    levels, rgb = pictures(draw, count, size, size, 3)
    expected, doubtful = masks(levels, side)
    mask = call("face_mask", rgb, side)
    close(torch.where(torch.from_numpy(doubtful).to(mask.device), 0, mask), np.where(doubtful, 0, expected))
    assert set(mask.unique().tolist()) <= {0.0, 1.0}


@spec("mm-cdcn-mask", "face_mask")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_mask_worked_by_hand(dtype):
    """Pairs of pixels make a cell; grey levels of a half, after rounding, are no longer black."""
    levels = torch.zeros(1, 3, 2, 8, dtype=dtype)
    levels[0, 1, :, 0] = 1  # green 1: grey 0.587, so 1, of which half is left
    levels[0, 0, :, 2] = 1  # red 1: grey 0.299, so 0
    levels[0, 2, :, 4:6] = 4  # blue 4: grey 0.456, so 0
    levels[0, 2, 0, 6] = 5  # blue 5: grey 0.57, so 1, of which a quarter is left
    rgb = (levels - 127.5) / 127.5
    rows = torch.cat([rgb, torch.full((1, 3, 6, 8), -1.0, dtype=dtype)], 2)
    close(call("face_mask", rows, 4)[0, 0], [1.0, 0, 0, 0])


@spec("mm-cdcn-mask", "face_mask")
@pytest.mark.parametrize(
    ("pixel", "seen"),
    [((5, 0, 0), 0.0), ((2, 0, 8), 1.0), ((0, 0, 0), 0.0), ((255, 255, 255), 1.0)],  # greys 1.495 and 1.51: 1 and 2
)
def test_a_quarter_of_a_rounded_grey_has_to_be_a_half(pixel, seen):
    levels = torch.zeros(1, 3, 4, 4, dtype=torch.float64)
    levels[0, :, 1, 2] = torch.tensor(pixel, dtype=torch.float64)
    close(call("face_mask", (levels - 127.5) / 127.5, 1), [[[seen]]])


@spec("mm-cdcn-mask", "face_mask")
@given(draw=draws(), side=st.integers(1, 6))
def test_one_pixel_that_is_not_black_fills_a_map_of_any_size(draw, side):
    rgb = draw.place(torch.full((1, 3, 1, 1), 1 / 127.5 - 1))
    close(call("face_mask", rgb, side), np.ones((1, side, side)))


@spec("mm-cdcn-mask", "face_mask")
@given(draw=draws(), size=st.integers(3, 9), side=st.integers(1, 5))
def test_white_is_a_full_mask_and_black_an_empty_one(draw, size, side):
    for level in (-1.0, 1.0):
        rgb = draw.place(torch.full((2, 3, size, size), level))
        close(call("face_mask", rgb, side), np.full((2, side, side), (level + 1) / 2))


@spec("mm-cdcn-mask", "face_mask")
@given(draw=draws(), size=st.sampled_from([6, 8, 10]))
def test_a_mirrored_face_has_a_mirrored_mask(draw, size):
    _, rgb = pictures(draw, 2, size, size, 255)
    mask = call("face_mask", rgb, size // 2)
    close(call("face_mask", draw.place(rgb.flip(-1)), size // 2), mask.flip(-1))


@spec("mm-cdcn-mask", "mask_target")
@given(draw=draws(), count=SIZES, side=SIZES)
def test_the_target_of_a_bona_fide_face_is_its_mask_and_of_an_attack_nothing(draw, count, side):
    mask = draw.place(draw.integers(count * side * side, 2).view(count, side, side))
    label = draw.place(draw.integers(count, 2))
    expected = [np.zeros((side, side)) if attack else own for own, attack in zip(f64(mask), f64(label), strict=True)]
    close(call("mask_target", mask, label), np.stack(expected))
    close(call("mask_target", mask, label.float()), np.stack(expected))


@spec("mm-cdcn-mask", "mask_target")
def test_targets_worked_by_hand():
    mask = torch.tensor([[[1.0, 0], [1, 1]], [[1, 1], [0, 1]], [[0, 0], [0, 1]]], dtype=torch.float64)
    target = call("mask_target", mask, torch.tensor([0.0, 1.0, 0.0], dtype=torch.float64))
    close(target, [[[1.0, 0], [1, 1]], [[0, 0], [0, 0]], [[0, 0], [0, 1]]])


# Score


def scored(predicted, mask, kind):
    """In float64, one sample at a time."""
    out = []
    for own, cells in zip(predicted, mask, strict=True):
        total = math.fsum(own.ravel())
        if kind == "mean":
            out.append(total / own.size)
            continue
        share = total / (math.fsum(cells.ravel()) or own.size)
        out.append(min(share, 1.0) if kind == "capped" else share)
    return np.array(out)


def maps(draw, count, side, scale=1.0):
    predicted = draw.place(draw.normal(count, side, side, scale=scale).abs())
    return predicted, draw.place(draw.integers(count * side * side, 2).view(count, side, side))


@spec("mm-cdcn-score", "map_score")
@given(draw=draws(), count=SIZES, side=SIZES, scale=st.sampled_from([0.1, 1.0]), kind=KINDS)
def test_the_score_is_the_maps_share_of_the_mask(draw, count, side, scale, kind):
    predicted, mask = maps(draw, count, side, scale)
    close(call("map_score", predicted, mask, kind=kind), scored(f64(predicted), f64(mask), kind), magnitude=50)


@spec("mm-cdcn-score", "map_score")
def test_scores_worked_by_hand():
    predicted = torch.tensor([[[0.25, 0.5], [0, 0]], [[1, 2], [0.5, 0.5]], [[0.5, 0.5], [1, 0]]], dtype=torch.float64)
    mask = torch.tensor([[[1.0, 1], [0, 1]], [[1, 1], [0, 0]], [[0, 0], [0, 0]]], dtype=torch.float64)
    close(call("map_score", predicted, mask, kind="capped"), [0.25, 1.0, 0.5])
    close(call("map_score", predicted, mask, kind="uncapped"), [0.25, 2.0, 0.5])
    close(call("map_score", predicted, mask, kind="mean"), [0.1875, 1.0, 0.5])


@spec("mm-cdcn-score", "map_score")
@given(draw=draws(), count=SIZES, side=SIZES)
def test_the_score_is_capped_unless_told(draw, count, side):
    predicted, mask = maps(draw, count, side, 2.0)
    close(call("map_score", predicted, mask), scored(f64(predicted), f64(mask), "capped"))


@spec("mm-cdcn-score", "map_score")
@given(draw=draws(), side=SIZES, kind=KINDS)
def test_an_empty_mask_counts_as_a_full_one(draw, side, kind):
    predicted, mask = maps(draw, 2, side)
    empty, full = (call("map_score", predicted, draw.place(torch.full_like(mask, x)), kind=kind) for x in (0, 1))
    close(empty, full)
    nothing = draw.place(torch.zeros_like(mask))
    close(call("map_score", nothing, nothing, kind=kind), np.zeros(2))


@spec("mm-cdcn-score", "map_score")
@given(draw=draws(), kind=KINDS)
def test_a_samples_score_ignores_its_batch_and_where_its_cells_lie(draw, kind):
    predicted, mask = maps(draw, 3, 3)
    together = call("map_score", predicted, mask, kind=kind)
    close(call("map_score", predicted[1:2], mask[1:2], kind=kind), together[1:2])
    moved = [draw.place(x.flatten(1)[:, draw.permutation(9)].view(3, 3, 3)) for x in (predicted, mask)]
    close(call("map_score", *moved, kind=kind), together, magnitude=10)


@spec("mm-cdcn-score", "map_score")
@given(draw=exact_draws(), kind=st.sampled_from(["uncapped", "mean"]))
def test_the_score_has_the_gradient_of_the_map(draw, kind):
    predicted, mask = maps(draw, 2, 3)
    gradients(lambda x: call("map_score", x, mask, kind=kind), predicted)


# Erasing


def extents(side, steps=600):
    """The probability of each height and width of a rectangle, by a grid of areas and ratios."""
    middle = (np.arange(steps) + 0.5) / steps
    area, ratio = np.meshgrid(side**2 * (0.01 + 0.04 * middle), 0.5 + 1.5 * middle)
    both = np.stack([np.rint(np.sqrt(area * ratio)), np.rint(np.sqrt(area / ratio))], -1).reshape(-1, 2)
    found, counts = np.unique(both.astype(int), axis=0, return_counts=True)
    return {tuple(pair): n / len(both) for pair, n in zip(found.tolist(), counts.tolist(), strict=True)}


@spec("mm-cdcn-erasing", "erasing_boxes")
@given(draw=draws(), count=SIZES, side=st.integers(1, 300), probability=st.sampled_from([0.0, 0.5, 1.0]))
def test_rectangles_lie_within_the_image_and_cover_a_small_share_of_it(draw, count, side, probability):
    boxes = call("erasing_boxes", count, side, probability, draw.generator())
    assert boxes.dtype == torch.int64
    assert boxes.shape == (count, 2, 4)
    for top, left, height, width in boxes.view(-1, 4).tolist():
        assert 0 <= top <= side - height
        assert 0 <= left <= side - width
        if height and width:
            assert (height - 0.5) * (width - 0.5) <= 0.05 * side**2 + 1e-6
            assert (height + 0.5) * (width + 0.5) >= 0.01 * side**2 - 1e-6
            assert (height - 0.5) / (width + 0.5) <= 2 + 1e-6
            assert (width - 0.5) / (height + 0.5) <= 2 + 1e-6


@spec("mm-cdcn-erasing", "erasing_boxes")
@fewer(8)
@given(draw=draws())
def test_a_sample_has_none_one_or_two_rectangles(draw):
    for probability in (0.0, 0.3, 0.5, 1.0):
        boxes = call("erasing_boxes", 2000, 50, probability, draw.generator())
        there = (boxes[:, :, 2:] > 0).all(2)
        assert not boxes[~there].any()
        expected = {(False, False): 1 - probability, (True, False): probability / 2, (True, True): probability / 2}
        close_counts(Counter(map(tuple, there.tolist())), expected)


@spec("mm-cdcn-erasing", "erasing_boxes")
@fewer(5)
@given(draw=draws(), side=st.sampled_from([9, 14, 20]))
def test_areas_and_ratios_are_uniform_between_their_ends(draw, side):
    boxes = call("erasing_boxes", 2000, side, 1.0, draw.generator())
    second = boxes[:, 1][boxes[:, 1].any(1)]
    for each in (boxes[:, 0], second[(second[:, 2:] > 0).all(1)]):
        close_counts(Counter(map(tuple, each[:, 2:].tolist())), extents(side))


@spec("mm-cdcn-erasing", "erasing_boxes")
@fewer(5)
@given(draw=draws(), side=st.sampled_from([7, 9]))
def test_every_place_within_the_image_is_as_likely(draw, side):
    boxes = call("erasing_boxes", 3000, side, 1.0, draw.generator())[:, 0].tolist()
    for axis in (0, 1):
        expected: Counter = Counter()
        for pair, chance in extents(side).items():
            places = side + 1 - pair[axis]
            expected.update({(place, pair[axis]): chance / places for place in range(places)})
        close_counts(Counter((box[axis], box[axis + 2]) for box in boxes), expected)
    places = [*product(range(side), repeat=2)]
    single = Counter((top, left) for top, left, height, width in boxes if height == width == 1)
    close_counts(single, dict.fromkeys(places, 1 / len(places)))


@spec("mm-cdcn-erasing", "erasing_boxes")
@given(draw=draws(), seed=st.integers(0, 2**31))
def test_rectangles_are_drawn_apart_and_repeat_themselves_from_the_same_state(draw, seed):
    generator = torch.Generator(draw.device).manual_seed(seed)
    first, next_ = (call("erasing_boxes", 60, 200, 1.0, generator) for _ in range(2))
    again = call("erasing_boxes", 60, 200, 1.0, torch.Generator(draw.device).manual_seed(seed))
    assert first.device == generator.device
    assert torch.equal(first, again)
    assert not torch.equal(first, next_)
    both = first[first[:, 1].any(1)]
    for column in range(4):
        assert not torch.equal(both[:, 0, column], both[:, 1, column])
        assert len(first[:, 0, column].unique()) > 10
    assert not torch.equal(first[:, 0, 0], first[:, 0, 1])


@spec("mm-cdcn-erasing", "erased")
@given(draw=draws(), count=SIZES, number=st.integers(1, 3), side=st.integers(1, 7))
def test_what_lies_in_a_rectangle_is_black_and_nothing_else(draw, count, number, side):
    image = draw.normal(count, 3, side, side)
    corners = draw.integers(count * number * 4, side + 1).view(count, number, 4)
    expected = f64(image).copy()
    for sample, boxes in enumerate(corners.tolist()):
        for top, left, height, width in boxes:
            expected[sample, :, top : top + height, left : left + width] = -1
    close(call("erased", image, corners), expected)


@spec("mm-cdcn-erasing", "erased")
def test_erasing_worked_by_hand():
    boxes = torch.tensor([[[0, 1, 2, 1], [1, 0, 1, 2]], [[2, 2, 1, 1], [0, 0, 0, 0]]])
    black = call("erased", torch.zeros(2, 3, 3, 3, dtype=torch.float64), boxes)
    for channel in range(3):
        close(black[0, channel], [[0.0, -1, 0], [-1, -1, 0], [0, 0, 0]])
        close(black[1, channel], [[0.0, 0, 0], [0, 0, 0], [0, 0, -1]])
