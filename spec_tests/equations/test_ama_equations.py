"""AMA: gates, one map of all modalities, and infrared as three pictures."""

import math
from itertools import product

import numpy as np
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from spec_tests.equations.adapter import call, gradients, spec
from spec_tests.equations.strategies import Draw, draws, exact_draws
from spec_tests.equations.tolerances import close, f64

SIZES = st.integers(1, 3)
SIDES = st.integers(3, 20)


def sigmoid(x):
    return (1 + math.tanh(x / 2)) / 2


# Gates


def opened(patches, weight):
    """In float64, one gate of one sample at a time."""
    out = np.empty((len(patches), len(weight)))
    for b, m in np.ndindex(out.shape):
        means = [math.fsum(column) / len(column) for column in patches[b].T]
        out[b, m] = sigmoid(math.fsum(w * x for w, x in zip(weight[m], means, strict=True)))
    return out


@spec("ama-gates", "modality_gates")
@given(draw=draws(), batch=SIZES, patches=st.integers(1, 5), modalities=SIZES, dim=SIZES)
def test_a_gate_is_the_sigmoid_of_the_mean_patch(draw, batch, patches, modalities, dim):
    given_ = draw.normal(batch, patches, modalities * dim), draw.normal(modalities, modalities * dim)
    close(call("modality_gates", *given_), opened(*map(f64, given_)), magnitude=10)


@spec("ama-gates", "modality_gates")
def test_gates_worked_by_hand():
    # The mean patch is (1, -1): W gives ln 3 and -ln 3.
    patches = torch.tensor([[[0.0, 0], [2, -2]]], dtype=torch.float64)
    weight = math.log(3) * torch.tensor([[1.0, 0], [0, 1]], dtype=torch.float64)
    close(call("modality_gates", patches, weight), [[0.75, 0.25]])


@spec("ama-gates", "modality_gates")
@given(draw=exact_draws())
def test_gates_have_the_gradient_of_patches_and_weight(draw):
    gradients(lambda *given_: call("modality_gates", *given_), draw.normal(2, 3, 4), draw.normal(2, 4))


# One map of all modalities


def adapted(tokens, kernel, weight):
    """In float64, one channel of one token at a time."""
    (modalities, _), dim = weight.shape, kernel.shape[0]
    count = (tokens.shape[1] - 1) // modalities
    side = math.isqrt(count)
    out = np.full(tokens.shape, np.nan)
    for b, d in product(range(len(tokens)), range(dim)):
        maps = tokens[b, 1:].reshape(modalities, side, side, dim)
        of_class = [kernel[d, m * dim + c, 1, 1] * tokens[b, 0, c] for m in range(modalities) for c in range(dim)]
        out[b, 0, d] = math.fsum(of_class)
        means = [math.fsum(maps[m, :, :, c].ravel()) / count for m in range(modalities) for c in range(dim)]
        gates = [sigmoid(math.fsum(w * x for w, x in zip(row, means, strict=True))) for row in weight]
        for y, x in product(range(side), repeat=2):
            terms = [
                kernel[d, m * dim + c, i + 1, j + 1] * maps[m, y + i, x + j, c]
                for m, c, i, j in product(range(modalities), range(dim), (-1, 0, 1), (-1, 0, 1))
                if 0 <= y + i < side and 0 <= x + j < side
            ]
            for m in range(modalities):
                out[b, 1 + m * count + y * side + x, d] = gates[m] * math.fsum(terms)
    return out


def parts(draw, batch, modalities, side, dim):
    tokens = draw.normal(batch, 1 + modalities * side**2, dim)
    return tokens, draw.normal(dim, modalities * dim, 3, 3), draw.normal(modalities, modalities * dim)


@spec("ama-adapter", "gated_tokens")
@given(draw=draws(), batch=SIZES, modalities=SIZES, side=SIZES, dim=SIZES)
def test_tokens_are_one_map_as_bright_as_each_modalitys_gate(draw, batch, modalities, side, dim):
    given_ = parts(draw, batch, modalities, side, dim)
    close(call("gated_tokens", *given_), adapted(*map(f64, given_)), magnitude=60)


@spec("ama-adapter", "gated_tokens")
def test_an_adapter_worked_by_hand():
    # Two modalities of one channel on maps of 2 x 2. The kernel takes a cell of the first, half of the second's, and
    # ten times the second's right neighbour. The means are 1 and 2, which makes the gates 1/2 and 3/4.
    tokens = torch.tensor([[7.0, 1, 1, 1, 1, 2, 0, 6, 0]], dtype=torch.float64)[:, :, None]
    kernel = torch.zeros(1, 2, 3, 3, dtype=torch.float64)
    kernel[0, 0, 1, 1], kernel[0, 1, 1, 2], kernel[0, 1, 1, 1] = 1, 10, 0.5
    weight = torch.tensor([[2.0, -1], [0, math.log(3) / 2]], dtype=torch.float64)
    shared = np.array([1 + 1, 1 + 0, 1 + 3, 1 + 0])
    close(call("gated_tokens", tokens, kernel, weight)[0, :, 0], [10.5, *shared / 2, *shared * 0.75])
    tokens[0, 5:, 0] = torch.tensor([0.0, 2, 0, 6])
    shared = np.array([1 + 20, 1 + 1, 1 + 60, 1 + 3])
    close(call("gated_tokens", tokens, kernel, weight)[0, :, 0], [10.5, *shared / 2, *shared * 0.75])


@spec("ama-adapter", "gated_tokens")
@given(draw=draws(), side=st.integers(1, 2))
def test_a_sample_feels_no_other_and_no_patch_feels_the_class_token(draw, side):
    tokens, *weights = parts(draw, 3, 2, side, 2)
    before = call("gated_tokens", tokens, *weights)
    moved = tokens.clone()
    moved[1, 0] += 1
    after = call("gated_tokens", moved, *weights)
    changed = (after != before).any(2)
    assert not changed[[0, 2]].any()
    assert changed[1].tolist() == [True] + [False] * (2 * side**2)


@spec("ama-adapter", "gated_tokens")
@given(draw=exact_draws(), side=st.integers(1, 2))
def test_an_adapter_has_the_gradient_of_tokens_kernel_and_gates(draw, side):
    gradients(lambda *given_: call("gated_tokens", *given_), *parts(draw, 1, 2, side, 2))


# Histograms of oriented gradients, drawn


def grey_values(draw, batch, height, width, levels):
    """Whole numbers from 0 to 255: so many levels, of which each is so much brighter than the one before it."""
    count, step = levels
    values = draw.integers(batch * height * width, count).reshape(batch, height, width)
    return draw.place((values * step).double())


LEVELS = st.sampled_from([(256, 1), (6, 51), (3, 1), (2, 255)])


def line(start, end):
    """The pixels from one to another: the longer way one by one, the other way when half a pixel is due."""
    way = [b - a for a, b in zip(start, end, strict=True)]
    longer = 0 if abs(way[0]) > abs(way[1]) else 1
    steps, due, at, pixels = abs(way[longer]), abs(way[1 - longer]), [*start], []
    debt = 2 * due - steps
    for _ in range(steps + 1):
        pixels.append(tuple(at))
        while debt >= 0:
            at[1 - longer] += 1 if way[1 - longer] > 0 else -1
            debt -= 2 * steps
        at[longer] += 1 if way[longer] > 0 else -1
        debt += 2 * due
    return pixels


def histogram(picture, top, left):
    """Of the cell of 8 x 8 pixels there: mean length of the gradients of each 20 degrees."""
    bins = np.zeros(9)
    for y, x in product(range(top, top + 8), range(left, left + 8)):
        down = picture[y + 1, x] - picture[y - 1, x] if 0 < y < picture.shape[0] - 1 else 0.0
        right = picture[y, x + 1] - picture[y, x - 1] if 0 < x < picture.shape[1] - 1 else 0.0
        degrees = math.degrees(math.atan2(down, right)) % 180
        bins[[n for n in range(9) if 20 * n <= degrees < 20 * n + 20]] += math.hypot(down, right) / 64
    return bins


def drawn(pictures):
    """In float64, one pixel's gradient and one line at a time."""
    out = np.zeros_like(pictures)
    for b, picture in enumerate(pictures):
        for top, left in product(range(0, picture.shape[0] - 7, 8), range(0, picture.shape[1] - 7, 8)):
            for n, height in enumerate(histogram(picture, top, left)):
                along = math.pi * (2 * n + 1) / 18
                down, right = 3 * math.cos(along), 3 * math.sin(along)
                ends = (int(4 - down), int(4 + right)), (int(4 + down), int(4 - right))
                for y, x in line(*ends):
                    out[b, top + y, left + x] += height
    return np.minimum(out, 255)


@spec("ama-hog", "oriented_gradients")
@given(draw=draws(), batch=SIZES, height=st.integers(1, 20), width=st.integers(1, 20), levels=LEVELS)
@example(draw=Draw(0), batch=2, height=17, width=25, levels=(2, 255))
@example(draw=Draw(0), batch=2, height=16, width=16, levels=(3, 1))
@example(draw=Draw(1), batch=1, height=24, width=16, levels=(256, 1))
@example(draw=Draw(2), batch=1, height=7, width=16, levels=(256, 1))
@example(draw=Draw(3), batch=1, height=16, width=7, levels=(256, 1))
def test_each_cell_shows_its_histogram_as_lines(draw, batch, height, width, levels):
    grey = grey_values(draw, batch, height, width, levels)
    close(call("oriented_gradients", grey), drawn(f64(grey)), magnitude=255)


@spec("ama-hog", "oriented_gradients")
def test_hog_worked_by_hand():
    # A ramp to the right: 48 of 64 pixels have a gradient of 20 to the right. The line is upright, nearly.
    ramp = (10 * torch.arange(8.0, dtype=torch.float64)).expand(1, 8, 8).contiguous()
    expected = np.zeros((8, 8))
    expected[1:4, 4] = expected[4:7, 3] = 48 * 20 / 64
    close(call("oriented_gradients", ramp), [expected])
    close(call("oriented_gradients", 70 - ramp), [expected])  # a gradient has no sign
    # A ramp to the bottom has gradients of 90 degrees, the fifth bin.
    expected = np.zeros((8, 8))
    expected[4, 1:8] = 15
    close(call("oriented_gradients", ramp.mT), [expected])


@spec("ama-hog", "oriented_gradients")
def test_a_gradient_that_is_all_but_level_falls_into_the_last_bin():
    # Its angle is that of a level one, to all digits. The bright pixel also makes a gradient to the right, one down and
    # one up.
    grey = torch.zeros(1, 8, 8, dtype=torch.float64)
    grey[0, 3, 2], grey[0, 4, 3] = 64, 1e-30
    expected = np.zeros((8, 8))
    expected[[1, 2, 3, 4, 5, 6], [4, 4, 4, 3, 3, 3]] += 1
    expected[4, 1:8] += 2
    expected[[1, 2, 3, 4, 5, 6], [3, 3, 3, 4, 4, 4]] += 1
    close(call("oriented_gradients", grey), [expected])


@spec("ama-hog", "oriented_gradients")
def test_what_is_brighter_than_white_is_white():
    # Stripes of two pixels that fall to the left: every gradient in the middle cell is 255 down and 255 to the right,
    # or the opposite, and 361 long.
    place = torch.arange(24)
    stripes = 255.0 * ((place[:, None] + place) % 4 < 2).double()[None]
    out = call("oriented_gradients", stripes)[0, 8:16, 8:16]
    expected = np.zeros((8, 8))
    expected[[2, 3, 3, 4, 4, 5], [6, 5, 4, 3, 2, 1]] = 255
    close(out, expected)


# The pattern of local gravitational force


def pulled(pictures):
    """In float64, one neighbour of one pixel at a time; and how much the stretching to 1 to 255 magnifies rounding."""
    out, magnified = np.empty_like(pictures), 1.0
    for b, picture in enumerate(pictures):
        masses = np.maximum(picture, 2)
        for y, x in np.ndindex(picture.shape):
            forces = []
            for i, j in product(range(-2, 3), repeat=2):
                if (i or j) and 0 <= y + i < picture.shape[0] and 0 <= x + j < picture.shape[1]:
                    size, angle = masses[y + i, x + j] / (i * i + j * j), math.atan2(i, j)
                    forces.append((size * math.cos(angle), size * math.sin(angle)))
            pull = math.hypot(*(math.fsum(part) for part in zip(*forces, strict=True)))
            out[b, y, x] = math.atan(pull / (masses[y, x] + 0.0001))
        span = out[b].max() - out[b].min()
        magnified = max(magnified, 255 * out[b].max() / span)
        out[b] = 1 + 254 * (out[b] - out[b].min()) / span
    return out, magnified


@spec("ama-plgf", "gravitational_force")
@given(draw=draws(), batch=SIZES, height=SIDES, width=SIDES, levels=LEVELS)
def test_a_pixel_is_as_bright_as_its_neighbours_pull(draw, batch, height, width, levels):
    grey = grey_values(draw, batch, height, width, levels)
    expected, magnified = pulled(f64(grey))
    close(call("gravitational_force", grey), expected, magnitude=magnified)


@spec("ama-plgf", "gravitational_force")
def test_plgf_worked_by_hand():
    # Three pixels in a row: neighbours at distances 1 and 2 pull by masses of 8 and 2 (from 0) and 4.
    row = torch.tensor([[[8.0, 0, 4]]], dtype=torch.float64)
    pulls = [(2 + 4 / 4) / 8.0001, (8 - 4) / 2.0001, (2 + 8 / 4) / 4.0001]
    forces = np.arctan(pulls)
    expected = 1 + 254 * (forces - forces.min()) / (forces.max() - forces.min())
    close(call("gravitational_force", row), [[expected]], magnitude=255)
    close(call("gravitational_force", row.mT), [expected[:, None]], magnitude=255)


@spec("ama-plgf", "gravitational_force")
def test_where_nothing_differs_everything_is_one():
    close(call("gravitational_force", torch.full((2, 1, 1), 9.0)), np.ones((2, 1, 1)))


# Infrared as three pictures


@spec("ama-stack", "infrared_stack")
@given(draw=draws(), batch=SIZES, height=SIDES, width=SIDES, levels=LEVELS)
@example(draw=Draw(5, "float32"), batch=1, height=16, width=16, levels=(6, 51))
def test_infrared_is_its_grey_values_its_gradients_and_its_forces(draw, batch, height, width, levels):
    grey = grey_values(draw, batch, height, width, levels)
    ir = draw.place(((grey.double() - 127.5) / 127.5)[:, None].expand(-1, 3, -1, -1))
    forces, magnified = pulled(f64(grey))
    expected = np.stack([f64(grey), drawn(f64(grey)), forces], 1) / 127.5 - 1
    close(call("infrared_stack", ir), expected, magnitude=magnified / 100)


@spec("ama-stack", "infrared_stack")
def test_a_missing_infrared_has_no_gradients_and_pulls_at_its_edge_alone():
    out = call("infrared_stack", -torch.ones(1, 3, 16, 16, dtype=torch.float64))
    assert (out[:, :2] == -1).all()
    inside = out[0, 2, 2:-2, 2:-2]
    close(inside, np.full((12, 12), 1 / 127.5 - 1))
    assert out[0, 2, 0].min() > 0
