"""MMDA Eq. 4: smoothed targets and the cross-entropy against them."""

import math

import torch
from hypothesis import given
from hypothesis import strategies as st

from spec_tests.equations import formula_oracles as oracles
from spec_tests.equations.adapter import call, gradients, spec
from spec_tests.equations.strategies import draws, exact_draws, fewer
from spec_tests.equations.tolerances import close, f64

B, CLASSES, EPS = st.integers(1, 6), st.integers(2, 5), st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.9])
ROUNDED = 1e-6  # the dtype of targets made from integer labels is the implementation's choice


def near(got, expected):
    assert got.is_floating_point()
    close(got.double(), f64(expected) + 0.0, magnitude=ROUNDED / 1e-11)


@spec("mmda-eq4", "smooth_targets")
@given(draw=draws(), b=B, classes=CLASSES, eps=EPS, normalised=st.booleans())
def test_smooth_targets_mixes_the_one_hot_target_with_a_constant(draw, b, classes, eps, normalised):
    labels = draw.integers(b, classes)
    got = call("smooth_targets", labels, eps=eps, normalised=normalised, classes=classes)
    near(got, oracles.smooth_targets(f64(labels), eps, normalised, classes))
    near(call("smooth_targets", labels, eps, normalised, classes), got)


@spec("mmda-eq4", "smooth_targets")
@given(draw=draws(), b=B)
def test_smooth_targets_is_normalised_over_two_classes_with_a_tenth_unless_told(draw, b):
    labels = draw.integers(b, 2)
    near(call("smooth_targets", labels), oracles.smooth_targets(f64(labels), 0.1, True, 2))
    near(call("smooth_targets", labels, normalised=False), oracles.smooth_targets(f64(labels), 0.1, False, 2))


@spec("mmda-eq4", "smooth_targets")
@given(draw=draws(), b=B, classes=CLASSES, eps=EPS)
def test_smooth_targets_sums_to_one_when_normalised_and_to_more_as_released(draw, b, classes, eps):
    labels = draw.integers(b, classes)
    one = call("smooth_targets", labels, eps=eps, normalised=True, classes=classes)
    near(one.sum(-1), torch.ones(b))
    more = call("smooth_targets", labels, eps=eps, normalised=False, classes=classes)
    near(more.sum(-1), torch.full((b,), 1 - eps + classes * eps).double())


@spec("mmda-eq4", "smooth_targets")
@given(draw=draws(), b=B, classes=CLASSES, normalised=st.booleans())
def test_smooth_targets_without_smoothing_is_one_hot(draw, b, classes, normalised):
    labels = draw.integers(b, classes)
    got = call("smooth_targets", labels, eps=0.0, normalised=normalised, classes=classes)
    assert got.tolist() == torch.eye(classes)[labels.cpu()].tolist()


@spec("mmda-eq4", "soft_cross_entropy")
@given(draw=draws(), b=B, classes=CLASSES)
def test_soft_cross_entropy_is_the_mean_over_rows_of_the_weighted_log_probabilities(draw, b, classes):
    logits, targets = draw.normal(b, classes, scale=2), draw.normal(b, classes).abs()
    close(call("soft_cross_entropy", logits, targets), oracles.soft_cross_entropy(f64(logits), f64(targets)), 10)


@spec("mmda-eq4", "soft_cross_entropy")
@given(draw=draws(), b=B, classes=CLASSES)
def test_soft_cross_entropy_of_one_hot_targets_is_the_cross_entropy(draw, b, classes):
    logits, labels = draw.normal(b, classes, scale=2), draw.integers(b, classes)
    targets = draw.place(torch.eye(classes)[labels.cpu()])
    expected = sum(oracles.cross_entropy(list(row), y) for row, y in zip(f64(logits), labels.tolist(), strict=True)) / b
    close(call("soft_cross_entropy", logits, targets), expected, magnitude=10)


@spec("mmda-eq4", "soft_cross_entropy")
@given(draw=draws(), b=B, classes=CLASSES, factor=st.sampled_from([0.5, 1.1, 3.0]))
def test_soft_cross_entropy_takes_the_targets_as_they_are(draw, b, classes, factor):
    logits, targets = draw.normal(b, classes), draw.normal(b, classes).abs()
    once = call("soft_cross_entropy", logits, targets)
    close(call("soft_cross_entropy", logits, factor * targets), factor * once, magnitude=30)
    flat = torch.zeros_like(logits)
    close(call("soft_cross_entropy", flat, targets), f64(targets).sum() / b * math.log(classes), magnitude=10)


@spec("mmda-eq4", "soft_cross_entropy")
@given(draw=draws(), b=B)
def test_soft_cross_entropy_of_huge_logits_is_finite(draw, b):
    labels = draw.integers(b, 2)
    hot = torch.eye(2)[labels.cpu()].double()
    wrong = draw.place(1e4 * (1 - 2 * hot))
    close(call("soft_cross_entropy", wrong, draw.place(hot)), 2e4)


@spec("mmda-eq4", "soft_cross_entropy")
@fewer(5)
@given(draw=exact_draws())
def test_soft_cross_entropy_has_the_gradient_of_logits_and_targets(draw):
    gradients(lambda x, y: call("soft_cross_entropy", x, y), draw.normal(3, 2), draw.normal(3, 2).abs())
