"""PipeNet: the limited frame vote, three rules and the released loop that skips."""

import math

import numpy as np
import pytest
import torch
from hypothesis import assume, example, given
from hypothesis import strategies as st

from spec_tests.equations.adapter import call, gradients, spec
from spec_tests.equations.strategies import Draw, draws, exact_draws
from spec_tests.equations.tolerances import close, f64

RULES = st.sampled_from(["sigma", "mad", "trimmed"])
MANY, RARELY, OFTEN = 40, 0.05, 0.3


def median(values: list[float]) -> float:
    ordered, half = sorted(values), len(values) // 2
    return ordered[half] if len(values) % 2 else (ordered[half - 1] + ordered[half]) / 2


def voted(values: list[float], rule: str, skips: bool) -> float:
    """The vote in Python's own numbers; a list that shrinks while it is walked along skips by itself."""
    count = len(values)
    if rule == "trimmed":
        cut = math.floor(count / 10)
        left = sorted(values)[cut : count - cut]
    else:
        if rule == "sigma":
            centre = math.fsum(values) / count
            reach = 3 * math.sqrt(math.fsum((v - centre) ** 2 for v in values) / count)
        else:
            centre = median(values)
            reach = 3 * 1.4826 * median([abs(v - centre) for v in values])
        left, walked = list(values), list(values)
        place = 0
        while place < len(walked):
            if abs(walked[place] - centre) > reach:
                left.remove(walked[place])
                if skips:
                    walked.pop(place)
            place += 1
    return math.fsum(left) / len(left)


def frames(draw: Draw, count: int, far: float) -> torch.Tensor:
    """Scores of `count` frames, a share `far` of them far from the others, to either side."""
    near, lots = draw.normal(count), draw.normal(count).abs() / 3
    return torch.where(lots > 1 - far, 60 * near.sign() + near, near)


@spec("pipenet-vote", "limited_frame_vote")
@given(draw=draws(), count=st.integers(1, MANY), far=st.sampled_from([RARELY, OFTEN]), rule=RULES, skips=st.booleans())
@example(draw=Draw(0), count=40, far=RARELY, rule="sigma", skips=False)
@example(draw=Draw(1), count=40, far=OFTEN, rule="sigma", skips=True)
@example(draw=Draw(2), count=40, far=OFTEN, rule="mad", skips=True)
@example(draw=Draw(3), count=39, far=OFTEN, rule="mad", skips=False)
@example(draw=Draw(4), count=40, far=OFTEN, rule="mad", skips=False)
@example(draw=Draw(5), count=39, far=OFTEN, rule="trimmed", skips=False)
def test_a_vote_is_the_mean_of_the_frames_that_count(draw, count, far, rule, skips):
    x = frames(draw, count, far)
    close(call("limited_frame_vote", x, rule=rule, skips=skips), voted(f64(x).tolist(), rule, skips), magnitude=60)


@spec("pipenet-vote", "limited_frame_vote")
def test_votes_worked_by_hand():
    def vote(values, **given_):
        return call("limited_frame_vote", torch.tensor(values, dtype=torch.float64), **given_).item()

    # One of twelve lies sqrt(11) = 3.3 deviations from the mean; one of nine only sqrt(8) = 2.8.
    assert vote([0.5] * 11 + [0.0]) == pytest.approx(0.5)
    assert vote([0.5] * 8 + [0.0]) == pytest.approx(4 / 9)
    # 20 lies 3.12 deviations from the mean of these eleven; it would be 2.97 were the variance divided by ten.
    assert vote([1.0, -1.0] * 5 + [20.0]) == pytest.approx(0, abs=1e-12)
    # Median 3, median deviation 1: out is what is farther than 4.4478.
    assert vote([1.0, 2.0, 3.0, 4.0, 100.0], rule="mad") == pytest.approx(2.5)
    assert vote([2.0, 2.0, 3.0, 4.0, 7.4], rule="mad") == pytest.approx(18.4 / 5)
    assert vote([2.0, 2.0, 3.0, 4.0, 7.5], rule="mad") == pytest.approx(11 / 4)
    assert vote([*map(float, range(9)), 90.0], rule="trimmed") == pytest.approx(36 / 8)
    assert vote([*map(float, range(8)), 90.0], rule="trimmed") == pytest.approx(118 / 9)
    # Behind the frame of 100, which is out, the frame of 101 is not looked at; of three in a row the third is.
    assert vote([1.0, 2.0, 3.0, 100.0, 101.0, 4.0, 3.0], rule="mad") == pytest.approx(13 / 5)
    assert vote([1.0, 2.0, 3.0, 100.0, 101.0, 4.0, 3.0], rule="mad", skips=True) == pytest.approx(114 / 6)
    assert vote([100.0, 101.0, 1.0, 2.0, 3.0, 4.0, 3.0], rule="mad", skips=True) == pytest.approx(114 / 6)
    assert vote([100.0, 1.0, 2.0, 3.0, 4.0, 3.0, 101.0], rule="mad", skips=True) == pytest.approx(13 / 5)
    three = [1.0, 2.0, 3.0, 100.0, 101.0, 102.0, 4.0, 3.0, 2.0]
    assert vote(three, rule="mad", skips=True) == pytest.approx(116 / 7)


@spec("pipenet-vote", "limited_frame_vote")
@given(draw=draws(), count=st.integers(1, MANY))
@example(draw=Draw(0), count=40)
@example(draw=Draw(9), count=30)
def test_by_default_the_rule_is_sigma_and_nothing_is_skipped(draw, count):
    x = frames(draw, count, 0.12)
    close(call("limited_frame_vote", x), voted(f64(x).tolist(), "sigma", False), magnitude=60)


@spec("pipenet-vote", "limited_frame_vote")
@given(draw=draws(), count=st.integers(1, MANY), rule=RULES, factor=st.sampled_from([-4.0, 0.5, 8.0]))
def test_a_vote_follows_shift_scale_and_sign(draw, count, rule, factor):
    x = frames(draw, count, RARELY)
    moved = call("limited_frame_vote", factor * x + 1, rule=rule)
    close(moved, factor * voted(f64(x).tolist(), rule, False) + 1, magnitude=480)


@spec("pipenet-vote", "limited_frame_vote")
@given(draw=draws(), count=st.integers(1, MANY), rule=RULES)
def test_without_skipping_the_order_of_frames_is_nothing(draw, count, rule):
    x = frames(draw, count, OFTEN)
    order = draw.permutation(count)
    close(call("limited_frame_vote", x[order], rule=rule), call("limited_frame_vote", x, rule=rule), magnitude=60)


@spec("pipenet-vote", "limited_frame_vote")
@given(draw=draws(), count=st.integers(1, MANY), rule=RULES, skips=st.booleans(), value=st.floats(-1, 1))
def test_frames_of_one_mind_all_count(draw, count, rule, skips, value):
    x = draw.place(torch.full((count,), value, dtype=torch.float64))
    close(call("limited_frame_vote", x, rule=rule, skips=skips), f64(x)[0])


@spec("pipenet-vote", "limited_frame_vote")
@given(draw=draws(), count=st.integers(3, MANY), skips=st.booleans())
def test_most_frames_agree_and_the_others_are_out_by_deviations_of_the_median(draw, count, skips):
    x = draw.place(torch.full((count,), 0.25, dtype=torch.float64))
    x[count // 3] = 7.0
    close(call("limited_frame_vote", x, rule="mad", skips=skips), 0.25)


@spec("pipenet-vote", "limited_frame_vote")
@given(draw=exact_draws(), count=st.integers(1, 12), rule=RULES, skips=st.booleans())
def test_only_frames_that_count_have_a_gradient(draw, count, rule, skips):
    x = frames(draw, count, OFTEN)
    distances = np.abs(f64(x) - median(f64(x).tolist()))
    assume(not np.isclose(distances, 3 * 1.4826 * median(distances.tolist()), atol=1e-3).any() or count == 1)
    gradients(lambda scores: call("limited_frame_vote", scores, rule=rule, skips=skips), x)
