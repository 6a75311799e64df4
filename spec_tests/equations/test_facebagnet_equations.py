"""FaceBagNet: modal feature erasing, the crops of a face at test."""

import math

import numpy as np
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from spec_tests.equations.adapter import call, gradients, spec
from spec_tests.equations.strategies import Draw, draws, exact_draws, fewer
from spec_tests.equations.tolerances import FALSE_ALARM, close, f64

SHARES = st.sampled_from([0.0, 0.2, 0.5, 0.9, 1.0])


def tail(count: int, total: int, p: float) -> float:
    """The smaller of the two exact binomial tails at `count`."""
    if p in (0.0, 1.0):
        return float(count == p * total)
    logs = [
        math.lgamma(total + 1) - math.lgamma(k + 1) - math.lgamma(total - k + 1)
        + k * math.log(p) + (total - k) * math.log1p(-p)
        for k in range(total + 1)
    ]  # fmt: skip
    law = [math.exp(x) for x in logs]
    return min(math.fsum(law[: count + 1]), math.fsum(law[count:]))


def chances(probability: float, alone: float) -> dict[tuple[int, ...], float]:
    """How likely each set of kept modalities is."""
    law = {}
    for r in (0, 1):
        for d in (0, 1):
            for i in (0, 1):
                left = r + d + i
                shares = {0: 0.0, 1: probability * alone / 3, 2: probability * (1 - alone) / 3, 3: 1 - probability}
                law[r, d, i] = shares[left]
    return law


def check(kept: torch.Tensor, law: dict[tuple[int, ...], float]) -> None:
    outcomes = [tuple(map(int, row)) for row in kept.tolist()]
    for outcome, p in law.items():
        count = outcomes.count(outcome)
        assert tail(count, len(outcomes), p) >= FALSE_ALARM, f"{outcome}: {count} of {len(outcomes)}, expected {p}"


@spec("facebagnet-erasing", "modal_erasing")
@fewer(4)
@given(draw=draws(), probability=SHARES, alone=SHARES)
@example(draw=Draw(0), probability=1.0, alone=0.5)
@example(draw=Draw(1), probability=0.5, alone=0.2)
@example(draw=Draw(2), probability=0.2, alone=1.0)
@example(draw=Draw(3), probability=0.9, alone=0.0)
def test_every_outcome_of_erasing_has_its_probability(draw, probability, alone):
    kept = call("modal_erasing", 2000, draw.generator(), probability=probability, alone=alone)
    assert kept.shape == (2000, 3)
    assert kept.dtype == torch.bool
    assert kept.device.type == draw.device
    check(kept, chances(probability, alone))


@spec("facebagnet-erasing", "modal_erasing")
@fewer(4)
@given(draw=draws())
@example(draw=Draw(0))
def test_by_default_half_lose_something_and_half_of_these_two_modalities(draw):
    kept = call("modal_erasing", 6000, draw.generator())
    twelfth = 1 / 12
    check(kept, {(1, 1, 1): 0.5, (0, 1, 1): twelfth, (1, 0, 1): twelfth, (1, 1, 0): twelfth})
    check(kept, {(1, 0, 0): twelfth, (0, 1, 0): twelfth, (0, 0, 1): twelfth, (0, 0, 0): 0.0})


@spec("facebagnet-erasing", "modal_erasing")
@given(draw=draws(), count=st.integers(1, 5), seed=st.integers(0, 2**31))
def test_erasing_repeats_itself_and_then_goes_on(draw, count, seed):
    first, second = (torch.Generator(draw.device).manual_seed(seed) for _ in range(2))
    assert call("modal_erasing", count, first).tolist() == call("modal_erasing", count, second).tolist()
    assert call("modal_erasing", 200, first).tolist() != call("modal_erasing", 200, first).tolist()


@spec("facebagnet-erasing", "modal_erasing")
@fewer(4)
@given(draw=draws())
@example(draw=Draw(0))
def test_neighbours_are_erased_independently(draw):
    kept = call("modal_erasing", 4000, draw.generator())
    whole = kept.all(1).tolist()
    pairs = list(zip(whole[::2], whole[1::2], strict=True))
    for pair in ((True, True), (True, False), (False, True), (False, False)):
        assert tail(pairs.count(pair), len(pairs), 0.25) >= FALSE_ALARM


# Crops

ORDER = [(0, 0), (-1, 0), (0, -1), (1, 0), (0, 1), (1, 1), (-1, -1), (-1, 1), (1, -1)]


def start(step: int, side: int, patch: int, short: bool) -> int:
    """First pixel of a square that lies `step` patches from the centre."""
    wanted = math.floor((side - patch) / 2) + step * patch
    if wanted < 0:
        return 0
    room = side - patch - 1 if short else side - patch
    return room if wanted > room else wanted


def cropped(x: np.ndarray, patch: int, places: int, mirrors: int, short: bool) -> np.ndarray:
    """Every pixel of every crop by itself."""
    samples, channels, side, _ = x.shape
    out = np.empty((places * mirrors, samples, channels, patch, patch))
    for place in range(places):
        top, left = (start(step, side, patch, short) for step in ORDER[place])
        for mirror in range(mirrors):
            for y in range(patch):
                for z in range(patch):
                    source_y = top + (patch - 1 - y if mirror >= 2 else y)
                    source_z = left + (patch - 1 - z if mirror % 2 else z)
                    out[place * mirrors + mirror, :, :, y, z] = x[:, :, source_y, source_z]
    return out


@st.composite
def sizes(draw):
    """A side, a patch that fits even where the grid is short."""
    side = draw(st.integers(2, 12))
    return side, draw(st.integers(1, side - 1))


@spec("facebagnet-crops", "crop_grid")
@given(size=sizes(), places=st.sampled_from([1, 5, 9]), short=st.booleans())
def test_places_are_a_patch_apart_and_end_with_the_image(size, places, short):
    side, patch = size
    expected = [(start(d, side, patch, short), start(r, side, patch, short)) for d, r in ORDER[:places]]
    grid = call("crop_grid", side, patch, places=places, short=short)
    assert [tuple(place) for place in grid] == expected


@spec("facebagnet-crops", "crop_grid")
def test_the_grid_worked_by_hand():
    assert call("crop_grid", 112, 48) == [
        (32, 32), (0, 32), (32, 0), (64, 32), (32, 64), (64, 64), (0, 0), (0, 64), (64, 0)
    ]  # fmt: skip
    assert call("crop_grid", 112, 48, short=True)[3:6] == [(63, 32), (32, 63), (63, 63)]
    assert call("crop_grid", 112, 24, places=5) == [(44, 44), (20, 44), (44, 20), (68, 44), (44, 68)]
    assert call("crop_grid", 7, 7) == [(0, 0)] * 9


@spec("facebagnet-crops", "crop_grid", "grid_crops")
@given(draw=draws(), size=sizes(), places=st.sampled_from([1, 5, 9]), mirrors=st.sampled_from([1, 2, 4]),
       short=st.booleans())  # fmt: skip
@example(draw=Draw(0), size=(7, 3), places=9, mirrors=4, short=True)
@example(draw=Draw(0), size=(6, 3), places=9, mirrors=4, short=False)
def test_crops_are_the_places_in_their_mirrorings(draw, size, places, mirrors, short):
    side, patch = size
    x = draw.normal(2, 2, side, side)
    got = call("grid_crops", x, patch, places=places, mirrors=mirrors, short=short)
    close(got, cropped(f64(x), patch, places, mirrors, short))


@spec("facebagnet-crops", "grid_crops")
@given(draw=draws(), size=sizes())
def test_by_default_there_are_thirty_six_crops_and_the_first_is_the_centre(draw, size):
    side, patch = size
    x = draw.normal(1, 3, side, side)
    got = call("grid_crops", x, patch)
    close(got, cropped(f64(x), patch, 9, 4, False))
    middle = (side - patch) // 2
    assert torch.equal(got[0], x[:, :, middle : middle + patch, middle : middle + patch])


@spec("facebagnet-crops", "grid_crops")
@given(draw=draws(), patch=st.integers(1, 6), half=st.integers(0, 4))
def test_a_mirrored_image_has_the_same_crops(draw, patch, half):
    x = draw.normal(1, 1, patch + 2 * half, patch + 2 * half)
    crops = sorted(call("grid_crops", x, patch).flatten(1).tolist())
    for axes in ([-1], [-2], [-1, -2]):
        assert sorted(call("grid_crops", x.flip(axes), patch).flatten(1).tolist()) == crops


@spec("facebagnet-crops", "grid_crops")
@given(draw=exact_draws())
def test_crops_pass_gradients_on(draw):
    gradients(lambda x: call("grid_crops", x, 2), draw.normal(1, 2, 5, 5))
