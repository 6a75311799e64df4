"""FLIP: cosines with the mean of a class's captions, contrasted views, halves of captions, consistency."""

import math
from collections import Counter
from fractions import Fraction
from itertools import combinations, product

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from spec_tests.equations.adapter import call, gradients, spec
from spec_tests.equations.strategies import Draw, draws, exact_draws, fewer
from spec_tests.equations.tolerances import close, close_counts, f64

SIZES = st.integers(1, 5)
WIDTHS = st.integers(2, 6)
FLAGS = st.booleans()


def dot(a, b):
    return math.fsum(p * q for p, q in zip(a, b, strict=True))


def length(a):
    return math.sqrt(dot(a, a))


def cosine(a, b):
    return dot(a, b) / (length(a) * length(b))


def mean(rows, weights):
    """The weighted mean of rows, element by element."""
    total = math.fsum(weights)
    return [
        math.fsum(w * x for w, x in zip(weights, column, strict=True)) / total for column in zip(*rows, strict=True)
    ]


# Cosines with the mean of a class's captions


def logits_of(image, spoof, real, scale, normalised):
    means = []
    for captions in (real, spoof):
        rows = [[x / length(row) for x in row] if normalised else list(row) for row in captions]
        means.append(mean(rows, [1.0] * len(rows)))
    return [[scale * cosine(x, m) for m in means] for x in image]


@spec("flip-logits", "ensemble_logits")
@given(draw=draws(), batch=SIZES, width=WIDTHS, spoofs=SIZES, reals=SIZES, normalised=FLAGS)
def test_logits_are_cosines_with_the_means_of_the_captions(draw, batch, width, spoofs, reals, normalised):
    image = draw.rows(batch, width)
    spoof, real = (draw.normal(n, width) * draw.sizes(n).clamp(0.2, 5) for n in (spoofs, reals))
    scale = draw.place(torch.tensor(draw.number(0.5, 100)))
    expected = logits_of(*map(f64, (image, spoof, real)), float(scale), normalised)
    # Captions that nearly cancel lose digits in proportion.
    lost = max(
        max(length(row) for row in f64(c)) / length(mean(f64(c), [1.0] * len(c))) for c in (spoof, real)
    )  # fmt: skip
    close(
        call("ensemble_logits", image, spoof, real, scale, normalised=normalised),
        expected,
        magnitude=20 * float(scale) * lost,
    )


@spec("flip-logits", "ensemble_logits")
def test_logits_worked_by_hand():
    # The mean of (8, 0) and (0, 6) is (4, 3), of length 5; that of their directions lies on the diagonal.
    image = torch.tensor([[2.0, 0], [0, 0.5]], dtype=torch.float64)
    spoof, real = torch.tensor([[8.0, 0], [0, 6]]).double(), torch.tensor([[0.0, 3]]).double()
    scale = torch.tensor(10.0, dtype=torch.float64)
    close(call("ensemble_logits", image, spoof, real, scale, normalised=False), [[0.0, 8], [10, 6]])
    half = 10 * math.sqrt(0.5)
    close(call("ensemble_logits", image, spoof, real, scale, normalised=True), [[0.0, half], [10, half]])


@spec("flip-logits", "ensemble_logits")
@given(draw=draws(), width=WIDTHS)
def test_captions_count_as_they_come_unless_told(draw, width):
    image, spoof, real = draw.normal(3, width), draw.normal(4, width), draw.normal(3, width) * draw.sizes(3)
    scale = draw.place(torch.tensor(5.0))
    told = call("ensemble_logits", image, spoof, real, scale, normalised=False)
    assert torch.equal(call("ensemble_logits", image, spoof, real, scale), told)


@spec("flip-logits", "ensemble_logits")
@given(draw=exact_draws(), normalised=FLAGS)
def test_logits_have_the_gradient_of_images_captions_and_scale(draw, normalised):
    def logits(*given_):
        return call("ensemble_logits", *given_, normalised=normalised)

    gradients(logits, draw.normal(2, 3), draw.normal(3, 3), draw.normal(2, 3), draw.place(torch.tensor(3.0)))


# Contrasted views


def contrasted(first, second, temperature):
    """The loss in float64, one row at a time."""
    rows, count = [*first, *second], len(first)
    losses = []
    for i, row in enumerate(rows):
        logits = {j: cosine(row, other) / temperature for j, other in enumerate(rows) if j != i}
        top = max(logits.values())
        total = math.fsum(math.exp(x - top) for x in logits.values())
        losses.append(top + math.log(total) - logits[(i + count) % (2 * count)])
    return math.fsum(losses) / len(losses)


@spec("flip-simclr", "simclr_loss")
@given(draw=draws(), batch=SIZES, width=WIDTHS, temperature=st.sampled_from([0.05, 0.1, 0.5, 1.0, 3.0]))
def test_a_view_is_told_among_all_other_rows(draw, batch, width, temperature):
    first, second = draw.rows(batch, width), draw.rows(batch, width)
    expected = contrasted(f64(first), f64(second), temperature)
    close(call("simclr_loss", first, second, temperature=temperature), expected, magnitude=4 / temperature)


@spec("flip-simclr", "simclr_loss")
def test_contrasted_views_worked_by_hand():
    # Each row sees its other view at cosine 1 and, of a batch of two, two other rows at 0.
    rows = torch.eye(2, dtype=torch.float64)
    close(call("simclr_loss", rows, 3 * rows, temperature=1.0), math.log(1 + 2 / math.e))
    # Views at right angles and images that are the same: all logits are 0 or 1/τ, the own ones 0.
    a, b = torch.tensor([[1.0, 0], [1, 0]]).double(), torch.tensor([[0.0, 1], [0, 2]]).double()
    close(call("simclr_loss", a, b, temperature=0.5), math.log(2 + math.exp(2)))
    close(call("simclr_loss", a[:1], b[:1], temperature=0.5), 0.0)


@spec("flip-simclr", "simclr_loss")
@given(draw=draws(), batch=SIZES, width=WIDTHS)
def test_the_temperature_is_a_tenth_unless_told(draw, batch, width):
    first, second = draw.normal(batch, width), draw.normal(batch, width)
    told = call("simclr_loss", first, second, temperature=0.1)
    assert torch.equal(call("simclr_loss", first, second), told)


@spec("flip-simclr", "simclr_loss")
@given(draw=draws(), batch=st.integers(2, 5), width=WIDTHS)
def test_neither_the_order_of_views_nor_that_of_images_nor_their_lengths_matter(draw, batch, width):
    first, second = draw.normal(batch, width), draw.normal(batch, width)
    loss = call("simclr_loss", first, second)
    close(call("simclr_loss", second, first), loss, magnitude=100)
    order = draw.permutation(batch)
    close(call("simclr_loss", first[order], second[order]), loss, magnitude=100)
    close(call("simclr_loss", first * draw.sizes(batch), second * draw.sizes(batch)), loss, magnitude=100)


@spec("flip-simclr", "simclr_loss")
@given(draw=draws(), width=WIDTHS)
def test_small_temperatures_do_not_overflow(draw, width):
    first, second = draw.normal(4, width), draw.normal(4, width)
    expected = contrasted(f64(first), f64(second), 1e-3)
    close(call("simclr_loss", first, second, temperature=1e-3), expected, magnitude=4000)


@spec("flip-simclr", "simclr_loss")
@given(draw=exact_draws(), batch=st.integers(2, 3))
def test_contrasted_views_have_the_gradient_of_both(draw, batch):
    def loss(first, second):
        return call("simclr_loss", first, second, temperature=0.5)

    gradients(loss, draw.normal(batch, 3), draw.normal(batch, 3))


# Halves of captions


@st.composite
def captioned(draw):
    """The classes of captions in any order, at least two of each, and those of some samples."""
    sizes = draw(st.lists(st.integers(2, 7), min_size=2, max_size=2))
    owner = draw(st.permutations([0] * sizes[0] + [1] * sizes[1]))
    return owner, draw(st.lists(st.integers(0, 1), min_size=1, max_size=6))


def halves_of(draw, owner, classes, **told):
    owner, classes = (torch.tensor(x, device=draw.device) for x in (owner, classes))
    return call("caption_halves", owner, classes, draw.generator(), **told)


@spec("flip-halves", "caption_halves")
@given(draw=draws(), given_=captioned(), replacement=FLAGS)
def test_the_second_half_is_all_of_the_class_that_was_not_drawn(draw, given_, replacement):
    owner, classes = given_
    first, second = halves_of(draw, owner, classes, replacement=replacement)
    for half in (first, second):
        assert half.dtype == torch.int64
        assert half.shape == (len(classes), len(owner))
    for sample, (drawn, left) in enumerate(zip(first.tolist(), second.tolist(), strict=True)):
        size = owner.count(classes[sample])
        assert sum(drawn) == size // 2
        assert min(drawn) == 0
        assert replacement or max(drawn) == 1
        for caption, (count, rest) in enumerate(zip(drawn, left, strict=True)):
            own = owner[caption] == classes[sample]
            assert own or count == 0
            assert rest == (own and count == 0)


def outcomes(size, replacement):
    """Each first half of a class's captions, as counts, and its probability."""
    chances = Counter()
    k = size // 2
    picks = list(product(range(size), repeat=k) if replacement else combinations(range(size), k))
    for pick in picks:
        chances[tuple(pick.count(i) for i in range(size))] += Fraction(1, len(picks))
    return chances


@spec("flip-halves", "caption_halves")
@fewer(4)
@given(draw=draws(), size=st.integers(2, 5), replacement=FLAGS)
@example(draw=Draw(0), size=4, replacement=True)
@example(draw=Draw(1), size=4, replacement=False)
@example(draw=Draw(2), size=5, replacement=True)
@example(draw=Draw(3), size=5, replacement=False)
def test_every_draw_is_as_likely_as_any_other(draw, size, replacement):
    # The captions of the class stand between those of a larger one.
    owner = [1, 1, 0, 1, *[0] * (size - 1), 1, 1, 1, 1]
    first, _ = halves_of(draw, owner, [0] * 1500, replacement=replacement)
    own = [i for i, class_ in enumerate(owner) if class_ == 0]
    close_counts(Counter(map(tuple, first[:, own].tolist())), outcomes(size, replacement))


@spec("flip-halves", "caption_halves")
def test_halves_worked_by_hand():
    # Of two captions one stands in either half; of three the first half has one and the second the other two.
    for replacement in (False, True):
        first, second = halves_of(Draw(0), [0, 1, 1, 0, 0], [1] * 50 + [0] * 50, replacement=replacement)
        pairs = set(zip(map(tuple, first.tolist()), map(tuple, second.tolist()), strict=True))
        of_two = {((0, 1, 0, 0, 0), (0, 0, 1, 0, 0)), ((0, 0, 1, 0, 0), (0, 1, 0, 0, 0))}
        of_three = {
            ((1, 0, 0, 0, 0), (0, 0, 0, 1, 1)),
            ((0, 0, 0, 1, 0), (1, 0, 0, 0, 1)),
            ((0, 0, 0, 0, 1), (1, 0, 0, 1, 0)),
        }
        assert pairs == of_two | of_three


@spec("flip-halves", "caption_halves")
@given(draw=draws())
def test_halves_are_equal_unless_told(draw):
    first, second = halves_of(draw, [0] * 8, [0] * 20)
    assert first.sum(1).tolist() == second.sum(1).tolist() == [4] * 20


@spec("flip-halves", "caption_halves")
@given(draw=draws(), seed=st.integers(0, 2**31), replacement=FLAGS)
def test_halves_repeat_themselves_from_the_same_state_and_are_drawn_afresh_after(draw, seed, replacement):
    owner = torch.tensor([0] * 8 + [1] * 8, device=draw.device)
    classes = torch.tensor([0, 1] * 8, device=draw.device)
    generator = torch.Generator(draw.device).manual_seed(seed)
    one, next_ = (call("caption_halves", owner, classes, generator, replacement=replacement) for _ in range(2))
    same = torch.Generator(draw.device).manual_seed(seed)
    again = call("caption_halves", owner, classes, same, replacement=replacement)
    for half, repeated, later in zip(one, again, next_, strict=True):
        assert torch.equal(half, repeated)
        assert not torch.equal(half, later)


# Consistency of views and halves


def counts(draw, batch, captions):
    """How often captions stand in a half of each sample, none of which is empty."""
    half = draw.integers(batch * captions, 3).reshape(batch, captions)
    half[:, 0] += half.sum(1) == 0
    return half


def inconsistency(first, second, captions, first_half, second_half):
    squares = []
    for a, b, m, n in zip(first, second, first_half, second_half, strict=True):
        squares.append((cosine(a, mean(captions, m)) - cosine(b, mean(captions, n))) ** 2)
    return math.fsum(squares) / len(squares)


@spec("flip-consistency", "text_view_consistency")
@given(draw=draws(), batch=SIZES, captions=SIZES, width=WIDTHS)
def test_consistency_compares_each_views_cosine_with_its_own_half(draw, batch, captions, width):
    first, second = draw.rows(batch, width), draw.rows(batch, width)
    # Captions of various lengths that cannot cancel each other.
    text = 3 + draw.normal(captions, width)
    halves = counts(draw, batch, captions), counts(draw, batch, captions)
    expected = inconsistency(*map(f64, (first, second, text, *halves)))
    close(call("text_view_consistency", first, second, text, *halves), expected, magnitude=10)


@spec("flip-consistency", "text_view_consistency")
def test_consistency_worked_by_hand():
    # Means (2, 0) and, of (8, 0) once and (0, 3) twice, (8/3, 2), at a cosine of 4/5 with the first axis.
    text = torch.tensor([[2.0, 0], [8, 0], [0, 3]], dtype=torch.float64)
    first = torch.tensor([[7.0, 0], [0, 1]], dtype=torch.float64)
    second = torch.tensor([[0.5, 0], [1, 0]], dtype=torch.float64)
    half_1, half_2 = torch.tensor([[1, 0, 0], [1, 0, 0]]), torch.tensor([[0, 1, 2], [0, 1, 2]])
    # Cosines 1 and 4/5 of the first sample, 0 and 4/5 of the second.
    close(call("text_view_consistency", first, second, text, half_1, half_2), (0.04 + 0.64) / 2)


@spec("flip-consistency", "text_view_consistency")
@given(draw=draws(), batch=SIZES, width=WIDTHS)
def test_the_same_view_with_the_same_half_is_consistent(draw, batch, width):
    view, text, half = draw.normal(batch, width), 3 + draw.normal(4, width), counts(draw, batch, 4)
    close(call("text_view_consistency", view, view * draw.sizes(batch), text, half, 2 * half), 0.0)


@spec("flip-consistency", "text_view_consistency")
@given(draw=draws(), batch=SIZES, width=WIDTHS)
def test_consistency_is_symmetric_and_ignores_lengths(draw, batch, width):
    first, second, text = draw.normal(batch, width), draw.normal(batch, width), 3 + draw.normal(4, width)
    half_1, half_2 = counts(draw, batch, 4), counts(draw, batch, 4)
    loss = call("text_view_consistency", first, second, text, half_1, half_2)
    close(call("text_view_consistency", second, first, text, half_2, half_1), loss, magnitude=10)
    scaled = first * draw.sizes(batch), second * draw.sizes(batch), 7 * text
    close(call("text_view_consistency", *scaled, half_1, half_2), loss, magnitude=10)


@spec("flip-consistency", "text_view_consistency")
@given(draw=exact_draws())
def test_consistency_has_the_gradient_of_views_and_captions(draw):
    halves = counts(draw, 2, 3), counts(draw, 2, 3)

    def loss(*given_):
        return call("text_view_consistency", *given_, *halves)

    gradients(loss, draw.normal(2, 3), draw.normal(2, 3), 3 + draw.normal(3, 3))


@spec("flip-consistency", "text_view_consistency")
def test_consistency_of_opposite_views_is_four():
    text, half = torch.tensor([[1.0, 2]]), torch.tensor([[1]])
    got = call("text_view_consistency", text, -text, text, half, half)
    assert float(got) == pytest.approx(4, rel=1e-6)
