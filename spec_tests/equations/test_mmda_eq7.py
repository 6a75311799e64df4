"""MMDA Eq. 7: L steps of Adapt down, L steps of Remap up, and the list of all states."""

from dataclasses import dataclass

import torch
from hypothesis import given
from hypothesis import strategies as st

from spec_tests.equations import formula_oracles as oracles
from spec_tests.equations.adapter import call, gradients, spec
from spec_tests.equations.strategies import draws, exact_draws, fewer
from spec_tests.equations.tolerances import close, f64

LAYERS, RULE = st.integers(0, 4), st.sampled_from(["chained", "released"])


@dataclass
class Step:
    """x·factor + shift: a layer that a snippet can show, and that two different layers never share."""

    factor: float
    shift: float

    def __call__(self, x):
        return x * self.factor + self.shift

    def __repr__(self):
        return f"lambda x: x * {self.factor!r} + {self.shift!r}"


def steps(draw, layers):
    return [Step(draw.number(-1.5, 1.5), draw.number(-1, 1)) for _ in range(layers)]


def check(states, expected, magnitude=50):
    assert len(states) == len(expected)
    for got, want in zip(states, expected, strict=True):
        close(got, want, magnitude=magnitude)


@spec("mmda-eq7", "u_dsa")
@given(draw=draws(), layers=LAYERS, rule=RULE)
def test_u_dsa_lists_the_states_down_and_up(draw, layers, rule):
    v0, adapt, remap = draw.normal(2, 3), steps(draw, layers), steps(draw, layers)
    expected = oracles.u_dsa(f64(v0), adapt, remap, rule)
    check(call("u_dsa", v0, adapt, remap, rule=rule), expected)
    check(call("u_dsa", v0, adapt, remap, rule), expected)


@spec("mmda-eq7", "u_dsa")
@given(draw=draws(), layers=LAYERS)
def test_u_dsa_chains_the_way_up_unless_told(draw, layers):
    v0, adapt, remap = draw.normal(2, 3), steps(draw, layers), steps(draw, layers)
    check(call("u_dsa", v0, adapt, remap), oracles.u_dsa(f64(v0), adapt, remap, "chained"))


@spec("mmda-eq7", "u_dsa")
@given(draw=draws(), rule=RULE)
def test_u_dsa_of_no_layers_is_the_start_alone(draw, rule):
    v0 = draw.normal(2, 3)
    check(call("u_dsa", v0, [], [], rule=rule), [f64(v0)])


@spec("mmda-eq7", "u_dsa")
@given(draw=draws(), layers=LAYERS, rule=RULE)
def test_u_dsa_with_remaps_of_zero_comes_back_through_the_same_states(draw, layers, rule):
    v0, adapt = draw.normal(2, 3), steps(draw, layers)
    states = call("u_dsa", v0, adapt, [Step(0.0, 0.0)] * layers, rule=rule)
    assert len(states) == 2 * layers + 1
    for place in range(layers):
        close(states[-1 - place], f64(states[place]), magnitude=50)


@spec("mmda-eq7", "u_dsa")
@given(draw=draws(), layers=st.integers(2, 4))
def test_u_dsa_deep_layers_reach_the_last_state_only_when_chained(draw, layers):
    v0, adapt, remap = draw.normal(2, 3), steps(draw, layers), [Step(1.0, 0.0)] * layers
    deeper = [*adapt[:-1], Step(adapt[-1].factor, adapt[-1].shift + 1)]
    ends = {
        rule: [call("u_dsa", v0, down, remap, rule=rule)[-1] for down in (adapt, deeper)]
        for rule in ("chained", "released")
    }
    close(ends["chained"][1] - ends["chained"][0], torch.ones(2, 3), magnitude=100)
    close(ends["released"][1] - ends["released"][0], torch.zeros(2, 3), magnitude=100)


@spec("mmda-eq7", "u_dsa")
@fewer(5)
@given(draw=exact_draws(), rule=RULE)
def test_u_dsa_has_the_gradient_of_the_start_in_every_state(draw, rule):
    adapt, remap = steps(draw, 2), steps(draw, 2)
    gradients(lambda v0: tuple(call("u_dsa", v0, adapt, remap, rule=rule)), draw.normal(2, 2))
