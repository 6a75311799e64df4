"""MMDA Eq. 3: per class the greatest (or mean) cosine with its captions, times the scale."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from spec_tests.equations import formula_oracles as oracles
from spec_tests.equations.adapter import call, gradients, spec
from spec_tests.equations.strategies import draws, exact_draws, fewer
from spec_tests.equations.tolerances import close, f64

B, WIDTH = st.integers(1, 5), st.integers(1, 8)
COUNTS = st.lists(st.integers(1, 6), min_size=1, max_size=4)
SCALE, POOLING = st.sampled_from([1.0, 14.3, 100.0]), st.sampled_from(["max", "mean"])


def make(draw, b, width, counts):
    return draw.rows(b, width), [draw.rows(n, width) for n in counts]


@spec("mmda-eq3", "alignment_logits")
@given(draw=draws(), b=B, width=WIDTH, counts=COUNTS, scale=SCALE, pooling=POOLING)
def test_alignment_logits_pools_the_cosines_of_each_class(draw, b, width, counts, scale, pooling):
    v, captions = make(draw, b, width, counts)
    expected = oracles.alignment_logits(f64(v), [f64(c) for c in captions], scale, pooling)
    close(call("alignment_logits", v, captions, scale, pooling=pooling), expected, magnitude=scale)
    got = call("alignment_logits", v, captions, draw.place(torch.tensor(scale, dtype=torch.float64)), pooling)
    close(got, expected, magnitude=2 * scale)


@spec("mmda-eq3", "alignment_logits")
@given(draw=draws(), b=B, width=WIDTH, counts=COUNTS)
def test_alignment_logits_takes_the_nearest_caption_unless_told(draw, b, width, counts):
    v, captions = make(draw, b, width, counts)
    close(
        call("alignment_logits", v, captions, 10.0),
        oracles.alignment_logits(f64(v), [f64(c) for c in captions], 10.0, "max"),
        magnitude=10,
    )


@spec("mmda-eq3", "alignment_logits")
@given(draw=draws(), b=B, width=WIDTH, counts=COUNTS, pooling=POOLING)
def test_alignment_logits_ignores_every_length(draw, b, width, counts, pooling):
    v, captions = make(draw, b, width, counts)
    stretched = [c * draw.sizes(len(c)) for c in captions]
    moved = call("alignment_logits", v * draw.sizes(b), stretched, 10.0, pooling=pooling)
    close(moved, call("alignment_logits", v, captions, 10.0, pooling=pooling), magnitude=10)


@spec("mmda-eq3", "alignment_logits")
@given(draw=draws(), b=B, width=WIDTH, counts=COUNTS, pooling=POOLING)
def test_alignment_logits_columns_follow_the_classes_and_ignore_the_order_of_captions(draw, b, width, counts, pooling):
    v, captions = make(draw, b, width, counts)
    out = call("alignment_logits", v, captions, 10.0, pooling=pooling)
    shuffled = [c[draw.permutation(len(c))] for c in reversed(captions)]
    close(call("alignment_logits", v, shuffled, 10.0, pooling=pooling), out.flip(1), magnitude=10)


@spec("mmda-eq3", "alignment_logits")
@given(draw=draws(), b=B, width=WIDTH, n=st.integers(1, 4))
def test_alignment_logits_of_max_ignores_a_repeated_caption_and_finds_the_sample_itself(draw, b, width, n):
    v, captions = make(draw, b, width, [n, n])
    out = call("alignment_logits", v, captions, 10.0)
    longer = [torch.cat((captions[0], captions[0][:1])), torch.cat((captions[1], v))]
    got = call("alignment_logits", v, longer, 10.0)
    close(got[:, 0], out[:, 0], magnitude=10)
    close(got[:, 1], torch.full((b,), 10.0), magnitude=10)


@spec("mmda-eq3", "alignment_logits")
@given(draw=draws(), b=B, width=WIDTH, counts=COUNTS, pooling=POOLING)
def test_alignment_logits_of_a_sample_ignores_the_rest_of_its_batch(draw, b, width, counts, pooling):
    v, captions = make(draw, b, width, counts)
    out = call("alignment_logits", v, captions, 10.0, pooling=pooling)
    close(call("alignment_logits", v[:1], captions, 10.0, pooling=pooling), out[:1], magnitude=10)


@spec("mmda-eq3", "alignment_logits")
@fewer(5)
@given(draw=exact_draws(), pooling=POOLING)
def test_alignment_logits_has_the_gradient_of_samples_captions_and_scale(draw, pooling):
    gradients(
        lambda v, spoof, real, scale: call("alignment_logits", v, [spoof, real], scale, pooling=pooling),
        draw.normal(2, 3),
        draw.normal(2, 3),
        draw.normal(3, 3),
        torch.tensor(2.0).double(),
    )
