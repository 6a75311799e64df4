"""SA-FAS: squares of a face, turned faces, the two losses, aligned heads, the score."""

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

SIZES = st.integers(1, 5)


# Squares at random places


def law(side, least, most):
    """Each square that can be, and its probability: areas are uniform, and then places are."""
    chances = Counter()
    for box in range(1, side + 1):
        low = least if box == 1 else min(max(((box - 0.5) / side) ** 2, least), most)
        high = min(max(((box + 0.5) / side) ** 2, least), most)
        whole = max(1, round(side * math.sqrt(least))) == box
        share = (high - low) / (most - least) if most > least else float(whole)
        for top, left in product(range(side + 1 - box), repeat=2):
            chances[top, left, box] = share / (side + 1 - box) ** 2
    return chances


BOXES = st.sampled_from([(1, 0.2, 1.0), (3, 0.2, 1.0), (4, 0.05, 0.4), (5, 0.2, 1.0), (6, 0.5, 0.9), (4, 0.5, 0.5)])


@spec("sa-fas-squares", "random_boxes")
@fewer(4)
@given(draw=draws(), sizes=BOXES)
@example(draw=Draw(0), sizes=(2, 0.01, 0.02))
@example(draw=Draw(1), sizes=(3, 0.2, 1.0))
@example(draw=Draw(2), sizes=(5, 0.2, 1.0))
@example(draw=Draw(3), sizes=(6, 0.5, 0.9))
@example(draw=Draw(4), sizes=(4, 0.5, 0.5))
def test_areas_are_uniform_and_places_are(draw, sizes):
    boxes = call("random_boxes", 6000, *sizes, draw.generator())
    assert boxes.shape == (6000, 3)
    assert boxes.dtype == torch.int64
    close_counts(Counter(map(tuple, boxes.tolist())), law(*sizes))


@spec("sa-fas-squares", "random_boxes")
@given(draw=draws(), count=SIZES, side=st.integers(1, 300), least=st.floats(0.001, 1), more=st.floats(0, 1))
def test_squares_lie_within_the_image(draw, count, side, least, more):
    boxes = call("random_boxes", count, side, least, least + (1 - least) * more, draw.generator()).tolist()
    assert len(boxes) == count
    for top, left, box in boxes:
        assert top >= 0
        assert left >= 0
        assert max(1, math.floor(side * least**0.5)) <= box <= side - max(top, left)


@spec("sa-fas-squares", "random_boxes")
def test_random_squares_worked_by_hand():
    # 0.9 of 256 x 256 is a side of 242.9, and 14 places along each axis.
    boxes = call("random_boxes", 4000, 256, 0.9, 0.9, torch.Generator().manual_seed(0))
    assert boxes[:, 2].unique().tolist() == [243]
    for starts in boxes[:, :2].unbind(1):
        assert starts.unique().tolist() == list(range(14))


@spec("sa-fas-squares", "random_boxes")
@given(draw=draws(), seed=st.integers(0, 2**31), least=st.sampled_from([0.2, 0.5]))
def test_squares_repeat_themselves_from_the_same_state_and_are_drawn_afresh_after(draw, seed, least):
    generator = torch.Generator(draw.device).manual_seed(seed)
    first, next_ = (call("random_boxes", 50, 40, least, 0.5, generator) for _ in range(2))
    again = call("random_boxes", 50, 40, least, 0.5, torch.Generator(draw.device).manual_seed(seed))
    assert torch.equal(first, again)
    for lots in range(2 if least == 0.5 else 3):
        assert not torch.equal(first[:, lots], next_[:, lots])


@spec("sa-fas-squares", "centred_boxes")
@given(count=SIZES, side=st.integers(1, 300), area=st.floats(0.001, 1))
@example(count=1, side=1, area=0.01)
@example(count=2, side=1, area=1.0)
def test_a_centred_square_is_as_far_from_all_sides(count, side, area):
    boxes = call("centred_boxes", count, side, area)
    assert boxes.dtype == torch.int64
    assert boxes.shape == (count, 3)
    for top, left, box in boxes.tolist():
        assert abs(box - side * area**0.5) <= 0.5 + 1e-9 or box == 1
        assert box >= 1
        assert top == left
        assert side - box - top - top in (0, 1)


@spec("sa-fas-squares", "centred_boxes")
def test_centred_squares_worked_by_hand():
    assert call("centred_boxes", 2, 256, 0.9).tolist() == [[6, 6, 243], [6, 6, 243]]
    assert call("centred_boxes", 1, 224, 0.9).tolist() == [[5, 5, 213]]  # 212.51
    assert call("centred_boxes", 1, 10, 1.0).tolist() == [[0, 0, 10]]
    assert call("centred_boxes", 1, 3, 0.01).tolist() == [[1, 1, 1]]


def enlarged(x, boxes):
    """Each pixel of the squares x[top : top + n, left : left + n], enlarged bilinearly, in float64."""
    side, out = x.shape[-1], np.empty_like(x)
    for sample, (top, left, box) in enumerate(boxes):
        places = []
        for pixel in range(side):
            at = min(max((pixel + 0.5) * box / side - 0.5, 0.0), box - 1.0)
            low = min(math.floor(at), box - 1)
            places.append((low, min(low + 1, box - 1), at - low))
        for channel, (r, c) in product(range(x.shape[1]), product(range(side), repeat=2)):
            (above, below, down), (before, behind, across) = places[r], places[c]
            square = x[sample, channel, top : top + box, left : left + box]
            upper = (1 - across) * square[above, before] + across * square[above, behind]
            lower = (1 - across) * square[below, before] + across * square[below, behind]
            out[sample, channel, r, c] = (1 - down) * upper + down * lower
    return out


@st.composite
def images_and_boxes(draw, strategy):
    """Images and a square of each."""
    drawn, side = draw(strategy), draw(st.integers(1, 6))
    boxes = []
    for _ in range(draw(st.integers(1, 3))):
        box = draw(st.integers(1, side))
        top, left = draw(st.integers(0, side - box)), draw(st.integers(0, side - box))
        boxes.append([top, left, box])
    return drawn.normal(len(boxes), 2, side, side), torch.tensor(boxes, device=drawn.device)


@spec("sa-fas-squares", "enlarged_boxes")
@given(both=images_and_boxes(draws()))
def test_a_square_is_enlarged_between_the_centres_of_its_own_pixels(both):
    x, boxes = both
    close(call("enlarged_boxes", x, boxes), enlarged(f64(x), boxes.tolist()), magnitude=20)


@spec("sa-fas-squares", "enlarged_boxes")
def test_enlarging_worked_by_hand():
    x = torch.arange(16.0, dtype=torch.float64).view(1, 1, 4, 4)
    row = torch.tensor([9.0, 9.25, 9.75, 10.0], dtype=torch.float64)
    out = call("enlarged_boxes", x, torch.tensor([[2, 1, 2]]))  # 9 10 over 13 14
    close(out, torch.stack([row, row + 1, row + 3, row + 4]).view(1, 1, 4, 4))
    close(call("enlarged_boxes", x, torch.tensor([[3, 0, 1]])), torch.full((1, 1, 4, 4), 12.0))


@spec("sa-fas-squares", "enlarged_boxes")
@given(draw=draws(), count=SIZES, side=SIZES)
def test_the_whole_image_stays_as_it_is(draw, count, side):
    x = draw.normal(count, 3, side, side)
    close(call("enlarged_boxes", x, torch.tensor([[0, 0, side]], device=x.device).expand(count, -1)), x, magnitude=20)


@spec("sa-fas-squares", "enlarged_boxes")
@fewer(3)
@given(both=images_and_boxes(exact_draws()))
def test_enlarging_has_the_gradient_of_the_image(both):
    x, boxes = both
    gradients(lambda image: call("enlarged_boxes", image, boxes), x)


# Turned faces


def source(side, degrees, r, c):
    """Row and column, between pixels, from where pixel (r, c) of an image comes that was turned counter-clockwise."""
    middle, angle = (side - 1) / 2, math.radians(degrees)
    right, up = c - middle, middle - r
    before_right = right * math.cos(angle) + up * math.sin(angle)
    before_up = up * math.cos(angle) - right * math.sin(angle)
    return middle - before_up, middle + before_right


def pixel(image, r, c):
    """Of channels (C, S, S); black outside."""
    side = image.shape[-1]
    return image[:, r, c] if 0 <= r < side and 0 <= c < side else np.full(len(image), -1.0)


def mixed(image, r, c):
    """Bilinear between four pixels."""
    up, left = math.floor(r), math.floor(c)
    down, across = r - up, c - left
    upper = (1 - across) * pixel(image, up, left) + across * pixel(image, up, left + 1)
    lower = (1 - across) * pixel(image, up + 1, left) + across * pixel(image, up + 1, left + 1)
    return (1 - down) * upper + down * lower


def nearest(image, r, c):
    """The pixels that may be the nearest one: several, where two are equally near but for rounding."""
    slack = 0.5 + 1e-3
    rows = range(math.ceil(r - slack), math.floor(r + slack) + 1)
    return [pixel(image, i, j) for i in rows for j in range(math.ceil(c - slack), math.floor(c + slack) + 1)]


ANGLES = st.one_of(st.floats(-180, 180), st.sampled_from([-180.0, -90.0, -45.0, 0.0, 30.0, 90.0, 180.0]))


@st.composite
def images_and_angles(draw, strategy, sides=SIZES):
    """Images, the angle of each, as a list and as a tensor."""
    drawn, side, degrees = draw(strategy), draw(sides), draw(st.lists(ANGLES, min_size=1, max_size=3))
    return drawn.normal(len(degrees), 2, side, side), degrees, drawn.place(torch.tensor(degrees, dtype=torch.float64))


@spec("sa-fas-turning", "turned_faces")
@given(given_=images_and_angles(draws()))
def test_a_turned_pixel_is_the_nearest_one_of_where_it_comes_from(given_):
    x, degrees, placed = given_
    out, before = f64(call("turned_faces", x, placed)), f64(x)
    assert out.shape == before.shape
    for sample, (r, c) in product(range(len(x)), product(range(x.shape[-1]), repeat=2)):
        may_be = nearest(before[sample], *source(x.shape[-1], degrees[sample], r, c))
        assert any(np.allclose(out[sample, :, r, c], each, rtol=1e-6, atol=1e-6) for each in may_be)


@spec("sa-fas-turning", "turned_faces")
@given(given_=images_and_angles(draws()))
def test_or_mixed_of_the_four_around_that_place(given_):
    x, degrees, placed = given_
    expected, before = np.empty(x.shape), f64(x)
    for sample, (r, c) in product(range(len(x)), product(range(x.shape[-1]), repeat=2)):
        expected[sample, :, r, c] = mixed(before[sample], *source(x.shape[-1], degrees[sample], r, c))
    close(call("turned_faces", x, placed, by="bilinear"), expected, magnitude=40)


@spec("sa-fas-turning", "turned_faces")
def test_turning_worked_by_hand():
    x = torch.tensor([[[[0.1, 0.2], [0.3, 0.4]]]], dtype=torch.float64)
    quarter = torch.tensor([90.0], dtype=torch.float64)
    for by in ("nearest", "bilinear"):
        close(call("turned_faces", x, quarter, by=by), [[[[0.2, 0.4], [0.1, 0.3]]]])
        close(call("turned_faces", x, -quarter, by=by), [[[[0.3, 0.1], [0.4, 0.2]]]])
    # An eighth of a turn: the corners of 3 x 3 pixels lie outside, and half a pixel's width between pixels.
    white = torch.ones(1, 1, 3, 3, dtype=torch.float64)
    corner = 2 * (2 - math.sqrt(2)) - 1  # 1.414 pixels from the middle: 0.414 of the way to black
    edge = [corner, 1.0, corner]
    close(call("turned_faces", white, quarter / 2, by="bilinear"), [[[edge, [1.0, 1.0, 1.0], edge]]])
    close(call("turned_faces", white, quarter / 2), torch.ones(1, 1, 3, 3))


@spec("sa-fas-turning", "turned_faces")
@pytest.mark.parametrize("by", ["nearest", "bilinear"])
def test_black_stays_black(by):
    black = torch.full((3, 2, 5, 5), -1.0)
    assert torch.equal(call("turned_faces", black, torch.tensor([10.0, -77.0, 180.0]), by=by), black)


@spec("sa-fas-turning", "turned_faces")
@given(draw=draws(), side=SIZES, times=st.integers(0, 4), by=st.sampled_from(["nearest", "bilinear"]))
def test_quarter_turns_move_whole_pixels(draw, side, times, by):
    x = draw.normal(2, 3, side, side)
    degrees = draw.place(torch.tensor([90.0 * times, -90.0 * times]))
    out = call("turned_faces", x, degrees, by=by)
    close(out[0], x[0].rot90(times, (1, 2)), magnitude=40)
    close(out[1], x[1].rot90(-times, (1, 2)), magnitude=40)


@spec("sa-fas-turning", "turned_faces")
@fewer(3)
@given(given_=images_and_angles(exact_draws(), st.integers(1, 4)))
def test_turning_has_the_gradient_of_the_image(given_):
    x, _, placed = given_
    gradients(lambda image: call("turned_faces", image, placed, by="bilinear"), x)


# The mean of the sources' risks


def risks(logits, place, bonafide):
    """The risk of each source that has samples."""
    found = {}
    for row, source_, live in zip(logits, place, bonafide, strict=True):
        logit = row[source_] if live else -row[source_]
        found.setdefault(source_, []).append(max(-logit, 0.0) + math.log1p(math.exp(-abs(logit))))
    return [math.fsum(costs) / len(costs) for costs in found.values()]


@spec("sa-fas-risk", "mean_of_risks")
@given(draw=draws(), count=st.integers(1, 9), sources=st.integers(1, 4), scale=st.sampled_from([1.0, 30.0]))
def test_every_source_is_judged_by_its_own_head_and_counts_alike(draw, count, sources, scale):
    logits = draw.normal(count, sources, scale=scale)
    place, bonafide = draw.integers(count, sources), draw.integers(count, 2)
    expected = math.fsum(risks(f64(logits), place.tolist(), bonafide.tolist())) / sources
    close(call("mean_of_risks", logits, place, bonafide), expected, magnitude=scale)


@spec("sa-fas-risk", "mean_of_risks")
def test_risks_worked_by_hand():
    a, b = math.log(3), math.log(7)  # probabilities 3/4 and 7/8
    logits = torch.tensor([[a, 9.0, 9.0], [a, 9.0, 9.0], [9.0, b, 9.0]], dtype=torch.float64)
    loss = call("mean_of_risks", logits, torch.tensor([0, 0, 1]), torch.tensor([1, 0, 1]))
    # The first source: (log 4/3 + log 4) / 2; the second: log 8/7; the third, without samples, counts with 0.
    close(loss, ((math.log(4 / 3) + math.log(4)) / 2 + math.log(8 / 7)) / 3)


@spec("sa-fas-risk", "mean_of_risks")
@given(draw=draws(), count=st.integers(1, 6))
def test_other_heads_have_no_say(draw, count):
    logits, place, bonafide = draw.normal(count, 3), draw.integers(count, 3), draw.integers(count, 2)
    own = torch.nn.functional.one_hot(place, 3).bool()
    changed = torch.where(own, logits, draw.normal(count, 3, scale=50))
    loss = call("mean_of_risks", logits, place, bonafide)
    close(call("mean_of_risks", changed, place, bonafide), loss)


@spec("sa-fas-risk", "mean_of_risks")
def test_risks_of_certain_heads_are_finite():
    logits = torch.tensor([[1000.0], [-1000.0]])
    place = torch.zeros(2, dtype=torch.int64)
    close(call("mean_of_risks", logits, place, torch.tensor([0, 1])), 1000.0)
    close(call("mean_of_risks", logits, place, torch.tensor([1, 0])), 0.0)


@spec("sa-fas-risk", "mean_of_risks")
@given(draw=exact_draws(), count=st.integers(1, 5))
def test_risks_have_the_gradient_of_the_logits(draw, count):
    place, bonafide = draw.integers(count, 3), draw.integers(count, 2)
    gradients(lambda logits: call("mean_of_risks", logits, place, bonafide), draw.normal(count, 3))


# The supervised contrastive loss


def contrast(features, classes, temperature, base):
    """One anchor and one pair at a time."""
    lengths = [max(math.sqrt(math.fsum(row**2)), 1e-12) for row in features]
    z = [row / length for row, length in zip(features, lengths, strict=True)]
    costs = []
    for i in range(len(z)):
        others = [j for j in range(len(z)) if j != i]
        logits = {j: math.fsum(z[i] * z[j]) / temperature for j in others}
        positives = [j for j in others if classes[j] == classes[i]]
        if positives:
            top = max(logits.values())
            total = top + math.log(math.fsum(math.exp(logits[j] - top) for j in others))
            costs.append(-math.fsum(logits[j] - total for j in positives) / len(positives))
    return temperature / base * math.fsum(costs) / len(costs) if costs else 0.0


TEMPERATURES = st.sampled_from([0.07, 0.1, 0.5, 2.0])


@spec("sa-fas-contrast", "supervised_contrast")
@given(draw=draws(), count=st.integers(1, 8), width=SIZES, kinds=SIZES, t=TEMPERATURES, b=TEMPERATURES)
@example(draw=Draw(0), count=1, width=2, kinds=1, t=0.1, b=0.07)
def test_a_view_is_told_from_others_by_those_of_its_class(draw, count, width, kinds, t, b):
    features, classes = draw.rows(count, width), draw.integers(count, kinds)
    expected = contrast(f64(features), classes.tolist(), t, b)
    loss = call("supervised_contrast", features, classes, temperature=t, base_temperature=b)
    close(loss, expected, magnitude=4 / min(t, b))


@spec("sa-fas-contrast", "supervised_contrast")
@given(draw=draws(), count=st.integers(2, 6))
def test_the_temperatures_are_the_codes_unless_others_are_given(draw, count):
    features, classes = draw.rows(count, 3), draw.integers(count, 2)
    close(call("supervised_contrast", features, classes), contrast(f64(features), classes.tolist(), 0.1, 0.07), 40)


@spec("sa-fas-contrast", "supervised_contrast")
def test_contrast_worked_by_hand():
    features = torch.tensor([[2.0, 0.0], [5.0, 0.0], [0.0, 1.0]], dtype=torch.float64)
    classes = torch.tensor([4, 4, 11])
    # The third has nobody of its class; each of the others has a cosine of 1 with its like and 0 with the third.
    loss = call("supervised_contrast", features, classes, temperature=0.5, base_temperature=0.25)
    close(loss, 2 * math.log((math.exp(2) + 1) / math.exp(2)))
    # All of one class and all alike: each other view has half of the sum.
    close(call("supervised_contrast", torch.ones(3, 2), torch.zeros(3), temperature=0.1), 0.1 / 0.07 * math.log(2))


@spec("sa-fas-contrast", "supervised_contrast")
@given(draw=draws(), count=st.integers(2, 6))
def test_contrast_ignores_lengths_order_and_names_of_classes(draw, count):
    features, classes = draw.rows(count, 3), draw.integers(count, 3)
    loss, order = call("supervised_contrast", features, classes), draw.permutation(count)
    close(call("supervised_contrast", features * draw.sizes(count), classes), loss, magnitude=40)
    close(call("supervised_contrast", features[order], classes[order]), loss, magnitude=40)
    close(call("supervised_contrast", features, 7 - 3 * classes), loss, magnitude=40)


@spec("sa-fas-contrast", "supervised_contrast")
@given(draw=draws(), count=SIZES)
def test_without_two_of_a_class_there_is_no_contrast_and_a_gradient_of_zero(draw, count):
    features = draw.rows(count, 3).detach().requires_grad_()
    loss = call("supervised_contrast", features, torch.arange(count, device=features.device))
    close(loss, 0.0)
    (gradient,) = torch.autograd.grad(loss, features)
    close(gradient, torch.zeros_like(gradient))


@spec("sa-fas-contrast", "supervised_contrast")
@given(draw=exact_draws(), count=st.integers(2, 5))
def test_contrast_has_the_gradient_of_the_features(draw, count):
    classes = torch.arange(count) // 2
    gradients(lambda x: call("supervised_contrast", x, classes, temperature=0.5), draw.normal(count, 3) + 1)


# Aligned heads


def turned_heads(weights, alpha):
    """Each head, rows of numbers; those it turns to are as they were before."""

    def dot(one, other):
        return math.fsum(a * b for a, b in zip(one, other, strict=True))

    def unit(vector):
        return [v / math.sqrt(dot(vector, vector)) for v in vector]

    directions, out = [[unit(row) for row in head] for head in weights], []
    for e, own in enumerate(directions):
        others = [d for f, d in enumerate(directions) if f != e] or [own]
        other = min(others, key=lambda d: math.fsum(map(dot, own, d)))
        turned = []
        for row, a, b in zip(weights[e], own, other, strict=True):
            mean = unit([alpha * x + (1 - alpha) * y for x, y in zip(a, b, strict=True)])
            turned.append([math.sqrt(dot(row, row)) * m for m in mean])
        out.append(turned)
    return np.array(out)


SHARES = st.sampled_from([0.6, 0.9, 0.995])


@spec("sa-fas-heads", "aligned_heads")
@given(draw=draws(), heads=st.integers(1, 5), width=st.integers(3, 6), alpha=SHARES)
def test_each_head_turns_to_the_one_that_was_least_like_it(draw, heads, width, alpha):
    weights = draw.rows(heads, width)
    expected = turned_heads(f64(weights)[:, None], alpha)
    close(call("aligned_heads", weights, alpha), expected[:, 0], magnitude=100)


@spec("sa-fas-heads", "aligned_heads")
@given(draw=draws(), heads=st.integers(1, 5), rows=st.integers(1, 3), width=st.integers(3, 6), alpha=SHARES)
def test_of_a_head_of_several_rows_each_row_turns_to_that_of_the_head_least_like_it(draw, heads, rows, width, alpha):
    weights = torch.stack([draw.rows(rows, width) for _ in range(heads)])
    close(call("aligned_heads", weights, alpha), turned_heads(f64(weights), alpha), magnitude=100)


@spec("sa-fas-heads", "aligned_heads")
def test_alignment_of_rows_worked_by_hand():
    # The first head's rows have cosines -0.6 and 1 with the second's, 0 and 0 with the third's: the third is farther,
    # however long its rows are.
    weights = torch.tensor(
        [[[2.0, 0, 0], [0, 3, 0]], [[-0.6, 0.8, 0], [0, 100, 0]], [[0, 0, 9], [0, 0, 0.1]]], dtype=torch.float64
    )
    root = math.sqrt(0.5)
    out = call("aligned_heads", weights, 0.5)
    close(out[0], [[2 * root, 0, 2 * root], [0, 3 * root, 3 * root]])
    close(out[1], [[-0.6 * root, 0.8 * root, root], [0, 100 * root, 100 * root]], magnitude=100)
    close(out[2], [[9 * root, 0, 9 * root], [0, 0.1 * root, 0.1 * root]], magnitude=10)


@spec("sa-fas-heads", "aligned_heads")
def test_alignment_worked_by_hand():
    weights = torch.tensor([[2.0, 0.0], [0.0, 3.0]], dtype=torch.float64)
    close(call("aligned_heads", weights, 0.5), [[math.sqrt(2), math.sqrt(2)], [3 / math.sqrt(2), 3 / math.sqrt(2)]])
    close(call("aligned_heads", weights, 0.6), [[2 * 0.6, 2 * 0.4], [3 * 0.4, 3 * 0.6]] / np.sqrt(0.6**2 + 0.4**2))
    # Three heads: the first and the last are the farthest apart, the one between is nearer to the last.
    weights = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]], dtype=torch.float64)
    s = math.sqrt(0.5)
    middle = np.array([1.6, 0.8]) / np.hypot(1.6, 0.8)
    close(call("aligned_heads", weights, 0.5), [[s, s], middle, [s, s]])


@spec("sa-fas-heads", "aligned_heads")
def test_of_several_that_are_as_far_the_first_is_taken():
    weights = torch.eye(4, dtype=torch.float64)
    expected = torch.eye(4, dtype=torch.float64) * 0.8
    expected[0, 1] = expected[1, 0] = expected[2, 0] = expected[3, 0] = 0.6
    close(call("aligned_heads", weights, 4 / 7), expected)


@spec("sa-fas-heads", "aligned_heads")
@given(draw=draws(), heads=st.integers(1, 5), alpha=SHARES)
def test_lengths_stay_and_two_heads_come_closer(draw, heads, alpha):
    weights = draw.rows(heads, 4)
    out = call("aligned_heads", weights, alpha)
    close(out.norm(dim=1), weights.norm(dim=1), magnitude=100)
    if heads == 2:
        before, after = (torch.cosine_similarity(w[0], w[1], dim=0).item() for w in (weights, out))
        assert after >= before - 1e-6


@spec("sa-fas-heads", "aligned_heads")
@given(draw=draws(), heads=SIZES, alpha=SHARES)
def test_equal_directions_one_head_and_a_share_of_one_leave_all_as_it_is(draw, heads, alpha):
    alike = draw.rows(1, 4) * draw.sizes(heads)
    close(call("aligned_heads", alike, alpha), alike, magnitude=1e3)
    weights = draw.rows(heads, 4)
    close(call("aligned_heads", weights, 1.0), weights, magnitude=100)
    close(call("aligned_heads", weights[:1], alpha), weights[:1], magnitude=100)


# The score


@spec("sa-fas-score", "mean_probability")
@given(draw=draws(), count=SIZES, heads=SIZES, scale=st.sampled_from([1.0, 20.0]))
def test_the_score_is_the_mean_of_all_heads_probabilities(draw, count, heads, scale):
    logits = draw.normal(count, heads, scale=scale)
    expected = [math.fsum(0.5 * (1 + math.tanh(v / 2)) for v in row) / heads for row in f64(logits)]
    close(call("mean_probability", logits), expected)


@spec("sa-fas-score", "mean_probability")
def test_the_score_worked_by_hand():
    # The mean of 3/4 and 7/8 is not the probability of the mean logit; certain heads stay finite.
    logits = torch.tensor([[math.log(3), math.log(7)], [-1000.0, 1000.0]], dtype=torch.float64)
    close(call("mean_probability", logits), [13 / 16, 0.5])


@spec("sa-fas-score", "mean_probability")
@given(draw=exact_draws(), heads=SIZES)
def test_the_score_has_the_gradient_of_the_logits(draw, heads):
    gradients(lambda logits: call("mean_probability", logits), draw.normal(2, heads))
