"""MMDA Eq. 5: targets (1 − ε, ε) for spoof captions and (ε, 1 − ε) for real ones."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from spec_tests.equations import formula_oracles as oracles
from spec_tests.equations.adapter import call, spec
from spec_tests.equations.strategies import draws
from spec_tests.equations.tolerances import close, f64

N, EPS = st.integers(1, 7), st.sampled_from([0.0, 0.1, 0.25, 0.5])


def near(got, expected):
    # the dtype of targets made from integer labels is the implementation's choice: float32 is enough
    assert got.is_floating_point()
    close(got.float(), expected)


@spec("mmda-eq5", "text_targets")
@given(draw=draws(), n=N, eps=EPS)
def test_text_targets_gives_the_own_class_all_but_eps(draw, n, eps):
    classes = draw.integers(n, 2)
    near(call("text_targets", classes, eps=eps), oracles.text_targets(f64(classes), eps))
    near(call("text_targets", classes, eps), oracles.text_targets(f64(classes), eps))


@spec("mmda-eq5", "text_targets")
@given(draw=draws(), n=N)
def test_text_targets_keeps_a_tenth_for_the_other_class_unless_told(draw, n):
    classes = draw.integers(n, 2)
    near(call("text_targets", classes), oracles.text_targets(f64(classes), 0.1))


@spec("mmda-eq5", "text_targets")
@given(draw=draws(), n=N, eps=EPS)
def test_text_targets_sums_to_one_and_mirrors_the_classes(draw, n, eps):
    classes = draw.integers(n, 2)
    targets = call("text_targets", classes, eps=eps)
    near(targets.sum(-1), torch.ones(n))
    near(call("text_targets", 1 - classes, eps=eps), targets.flip(1))
