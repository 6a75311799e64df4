"""MMDG: the deviation of dropout, the certainty that it leaves, and attention that certainty tempers."""

import math
import statistics
from collections import Counter
from itertools import pairwise

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from spec_tests.equations.adapter import call, gradients, spec
from spec_tests.equations.strategies import draws, exact_draws, fewer
from spec_tests.equations.tolerances import close, close_counts, f64

SIZES, COUNTS = st.integers(1, 4), st.integers(2, 20)
DROPS = st.floats(0.05, 0.9)


def binomial(count, p):
    return {k: math.comb(count, k) * p**k * (1 - p) ** (count - k) for k in range(count + 1)}


@spec("mmdg-certainty", "kept_draws")
@fewer(5)
@given(draw=draws(), count=st.integers(1, 5), drop=DROPS)
def test_how_many_draws_keep_a_number_is_binomial(draw, count, drop):
    x = draw.normal(40, 50)
    kept = call("kept_draws", x, count, drop, draw.generator())
    assert kept.shape == x.shape
    close_counts(Counter(kept.flatten().int().tolist()), binomial(count, 1 - drop))


@spec("mmdg-certainty", "kept_draws")
@fewer(5)
@given(draw=draws(), drop=DROPS)
def test_numbers_are_kept_independently(draw, drop):
    kept = call("kept_draws", draw.normal(40, 51), 1, drop, draw.generator())
    keep = binomial(1, 1 - drop)
    both = {(a, b): keep[a] * keep[b] for a in (0, 1) for b in (0, 1)}
    for one in (kept, kept.T):  # neighbours of a row, then of a column, that share no number
        pairs = [pair for row in one.int().tolist() for pair in [*pairwise(row)][::2]]
        close_counts(Counter(pairs), both)


@spec("mmdg-certainty", "kept_draws")
@given(draw=draws(), count=COUNTS)
def test_draws_that_drop_nothing_keep_everything_and_a_generator_repeats_itself(draw, count):
    x, generator = draw.normal(10, 20), draw.generator()
    assert (call("kept_draws", x, count, 0.0, generator) == count).all()
    state = generator.get_state()
    first, second = (call("kept_draws", x, count, 0.5, generator) for _ in range(2))
    generator.set_state(state)
    assert torch.equal(first, call("kept_draws", x, count, 0.5, generator))
    assert not torch.equal(first, second)


def deviation_of(value, kept, count, drop):
    return statistics.stdev([value / (1 - drop)] * kept + [0.0] * (count - kept))


@spec("mmdg-certainty", "drawn_deviation")
@given(draw=draws(), rows=SIZES, width=SIZES, count=COUNTS, drop=DROPS)
def test_a_drawn_deviation_is_that_of_the_draws_written_out(draw, rows, width, count, drop):
    x, whole = draw.normal(rows, width), draw.integers(rows * width, count + 1).view(rows, width)
    expected = np.empty(x.shape)
    for place in np.ndindex(*x.shape):
        expected[place] = deviation_of(float(f64(x)[place]), int(whole[place]), count, drop)
    close(call("drawn_deviation", x, draw.place(whole.double()), count, drop), expected)


@spec("mmdg-certainty", "drawn_deviation")
def test_a_drawn_deviation_worked_by_hand():
    # Of four draws at one half, two are 2 x and two 0: their squares from the mean x add up to 4 x^2.
    x, kept = torch.tensor([3.0, -3.0, 3.0, 3.0], dtype=torch.float64), torch.tensor([2.0, 2, 4, 0]).double()
    size = 3 * math.sqrt(4 / 3)
    close(call("drawn_deviation", x, kept, 4, 0.5), [size, size, 0, 0])


@spec("mmdg-certainty", "expected_deviation")
@given(draw=draws(), rows=SIZES, width=SIZES, drop=st.just(0.0) | st.floats(0.01, 0.9))
def test_the_expected_deviation_is_that_of_a_number_that_stays_or_goes(draw, rows, width, drop):
    x = draw.normal(rows, width)
    expected = np.empty(x.shape)
    for place, value in np.ndenumerate(f64(x)):
        outcomes = ((1 - drop, value / (1 - drop)), (drop, 0.0))
        mean = math.fsum(p * y for p, y in outcomes)
        expected[place] = math.sqrt(math.fsum(p * (y - mean) ** 2 for p, y in outcomes))
    close(call("expected_deviation", x, drop), expected)


@spec("mmdg-certainty", "expected_deviation")
def test_an_expected_deviation_worked_by_hand():
    x = torch.tensor([3.0, -2.0, 0.0], dtype=torch.float64)
    close(call("expected_deviation", x, 0.5), [3, 2, 0])
    close(call("expected_deviation", x, 0.8), [6, 4, 0])
    close(call("expected_deviation", x, 0.0), [0, 0, 0])


@spec("mmdg-certainty", "drawn_deviation", "expected_deviation")
@given(draw=exact_draws(), count=COUNTS, drop=DROPS)
def test_the_drawn_variance_is_right_in_the_mean(draw, count, drop):
    x = draw.normal(3, 2)
    mean = torch.zeros_like(x)
    for k, p in binomial(count, 1 - drop).items():
        mean += p * call("drawn_deviation", x, torch.full_like(x, k), count, drop).square()
    close(mean, f64(call("expected_deviation", x, drop)) ** 2)


@spec("mmdg-certainty", "expected_deviation")
@given(draw=exact_draws(), drop=DROPS)
def test_what_a_linear_layer_makes_of_dropout_varies_as_expected(draw, drop):
    # Outputs of a linear layer add up independent variances: of all masks of its inputs, each with its probability.
    x, weight = draw.normal(4), draw.normal(2, 4)
    values, mass = [], []
    for mask in np.ndindex(2, 2, 2, 2):
        values.append(f64(weight) @ (f64(x) * mask / (1 - drop)))
        mass.append(math.prod(1 - drop if kept else drop for kept in mask))
    mean = np.average(values, 0, mass)
    variance = np.average((np.array(values) - mean) ** 2, 0, mass)
    close(weight.square() @ call("expected_deviation", x, drop).square(), variance, magnitude=10)


@spec("mmdg-certainty", "certainty")
@given(draw=draws(), rows=SIZES, width=SIZES, steepness=st.floats(0, 5), squared=st.booleans())
def test_certainty_falls_with_the_deviation_or_its_square(draw, rows, width, steepness, squared):
    deviation = draw.normal(rows, width).abs()
    expected = [math.exp(-steepness * (d * d if squared else d)) for d in f64(deviation).ravel()]
    close(call("certainty", deviation, steepness, squared=squared), np.reshape(expected, deviation.shape))


@spec("mmdg-certainty", "certainty")
def test_certainty_worked_by_hand():
    deviation = torch.tensor([0.0, math.log(2), 2 * math.log(2)], dtype=torch.float64)
    close(call("certainty", deviation, 1.0), [1, 0.5, 0.25])
    close(call("certainty", deviation, 2.0), [1, 0.25, 0.0625])
    close(call("certainty", torch.tensor([3.0], dtype=torch.float64), 0.5, squared=True), [math.exp(-4.5)])


@spec("mmdg-certainty", "drawn_deviation", "expected_deviation", "certainty")
@given(draw=exact_draws())
def test_deviations_and_certainty_have_a_gradient(draw):
    kept = torch.tensor([[1.0, 2, 3], [4, 5, 3]], dtype=torch.float64)
    x = draw.normal(2, 3)
    x = x + 0.1 * x.sign()  # at 0 their gradient jumps
    gradients(lambda x: call("drawn_deviation", x, kept, 6, 0.3), x)
    gradients(lambda x: call("expected_deviation", x, 0.3), x)
    gradients(lambda d: call("certainty", d, 1.5), x)
    gradients(lambda d: call("certainty", d, 1.5, squared=True), x)


def attended(q, k, v, certain, after):
    """In float64, one query of one head at a time; also the greatest logit, which makes roundings larger."""
    out, greatest = np.empty((*q.shape[:3], v.shape[3])), 1.0
    for b, h, i in np.ndindex(q.shape[:3]):
        scale = certain[b, i]
        logits = [
            (1 if after else scale) * math.fsum((q[b, h, i] * k[b, h, j]).tolist()) / math.sqrt(q.shape[3])
            for j in range(k.shape[2])
        ]
        weights = [math.exp(x - max(logits)) for x in logits]
        row = np.array([w / math.fsum(weights) for w in weights]) @ v[b, h]
        out[b, h, i] = scale * row if after else row
        greatest = max(greatest, *map(abs, logits))
    return out, greatest


def parts(draw, batch, heads, tokens, width, scale=1.0):
    q, k, v = (draw.normal(batch, heads, tokens, width, scale=s) for s in (scale, scale, 1.0))
    return q, k, v, draw.place(torch.sigmoid(draw.normal(batch, tokens)))


@spec("mmdg-attention", "tempered_attention")
@given(
    draw=draws(),
    batch=SIZES,
    heads=SIZES,
    tokens=SIZES,
    width=SIZES,
    scale=st.sampled_from([1.0, 4.0]),
    after=st.booleans(),
)
def test_certainty_tempers_the_row_of_its_query(draw, batch, heads, tokens, width, scale, after):
    given_ = parts(draw, batch, heads, tokens, width, scale)
    expected, size = attended(*map(f64, given_), after)
    close(call("tempered_attention", *given_, after=after), expected, magnitude=5 * size)


@spec("mmdg-attention", "tempered_attention")
def test_tempered_attention_worked_by_hand():
    # Logits of the only query are 0 and log 16; at one half the second is log 4, whose weight is 4/5.
    q = torch.tensor([math.log(16)], dtype=torch.float64).view(1, 1, 1, 1)
    k = torch.tensor([0.0, 1], dtype=torch.float64).view(1, 1, 2, 1)
    v = torch.tensor([0.0, 10], dtype=torch.float64).view(1, 1, 2, 1)
    for certain, logits, after in ((1.0, 160 / 17, 160 / 17), (0.5, 8, 80 / 17), (0.0, 5, 0)):
        row = torch.full((1, 1), certain, dtype=torch.float64)
        close(call("tempered_attention", q, k, v, row).flatten(), [logits])
        close(call("tempered_attention", q, k, v, row, after=True).flatten(), [after])


@spec("mmdg-attention", "tempered_attention")
@given(draw=exact_draws(), tokens=st.integers(2, 4), after=st.booleans())
def test_a_token_does_not_feel_anothers_certainty(draw, tokens, after):
    q, k, v, certain = parts(draw, 2, 2, tokens, 2)
    before = call("tempered_attention", q, k, v, certain, after=after)
    for b, t in np.ndindex(2, tokens):
        moved = certain.clone()
        moved[b, t] += 0.5
        changed = (call("tempered_attention", q, k, v, moved, after=after) != before).any(3).any(1)
        assert changed.nonzero().tolist() == [[b, t]]


@spec("mmdg-attention", "tempered_attention")
@given(draw=exact_draws(), after=st.booleans())
def test_tempered_attention_has_the_gradient_of_all_it_takes(draw, after):
    gradients(lambda *given_: call("tempered_attention", *given_, after=after), *parts(draw, 1, 2, 2, 2))
