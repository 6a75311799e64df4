"""Prototypes: whose mean they are, how they move, and the loss of distances from them."""

import math

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from spec_tests.equations.adapter import call, gradients, spec
from spec_tests.equations.strategies import draws, exact_draws
from spec_tests.equations.tolerances import close, f64

SIZES, COUNTS = st.integers(1, 4), st.integers(1, 6)


@spec("prototypes", "prototype_classes")
@given(samples=st.lists(st.tuples(st.booleans(), st.integers(0, 5)), min_size=1, max_size=12))
def test_bona_fide_faces_are_one_class_and_the_attacks_of_each_data_set_another(samples):
    bonafide, place = (torch.tensor(each) for each in zip(*samples, strict=True))
    got = call("prototype_classes", bonafide, place)
    assert got.dtype == torch.int64
    assert got.tolist() == [0 if live else place + 1 for live, place in samples]


@spec("prototypes", "prototype_classes")
def test_classes_worked_by_hand():
    bonafide, place = torch.tensor([True, False, True, False, False]), torch.tensor([2, 0, 0, 1, 2])
    assert call("prototype_classes", bonafide, place).tolist() == [0, 1, 0, 2, 3]


@spec("prototypes", "class_means")
@given(draw=draws(), samples=st.integers(1, 12), width=SIZES, count=COUNTS)
def test_a_prototype_is_the_mean_of_its_class_or_zero(draw, samples, width, count):
    features, classes = draw.normal(samples, width), draw.integers(samples, count)
    x, own, expected = f64(features), classes.tolist(), np.zeros((count, width))
    for number, channel in np.ndindex(count, width):
        values = [x[i, channel] for i in range(samples) if own[i] == number]
        expected[number, channel] = math.fsum(values) / max(len(values), 1)
    close(call("class_means", features, classes, count), expected)


@spec("prototypes", "class_means")
def test_means_worked_by_hand():
    features = torch.tensor([[1.0, 2], [3, 4], [5, 12]], dtype=torch.float64)
    close(call("class_means", features, torch.tensor([2, 0, 2]), 4), [[3, 4], [0, 0], [3, 7], [0, 0]])


@spec("prototypes", "class_means")
@given(draw=exact_draws())
def test_means_have_the_gradient_of_the_features(draw):
    classes = torch.tensor([0, 2, 2, 0, 2])
    gradients(lambda x: call("class_means", x, classes, 3), draw.normal(5, 2))


@spec("prototypes", "moved_prototypes")
@given(draw=draws(), count=COUNTS, width=SIZES, kept=st.floats(0, 1))
def test_prototypes_keep_their_share_of_the_old_ones(draw, count, width, kept):
    old, new = draw.normal(count, width), draw.normal(count, width)
    a, b = f64(old), f64(new)
    expected = [[math.fsum([kept * a[i, j], (1 - kept) * b[i, j]]) for j in range(width)] for i in range(count)]
    close(call("moved_prototypes", old, new, kept), expected)


@spec("prototypes", "moved_prototypes")
def test_a_move_worked_by_hand():
    old, new = torch.tensor([[10.0, 0]], dtype=torch.float64), torch.tensor([[0.0, 5]], dtype=torch.float64)
    close(call("moved_prototypes", old, new, 0.2), [[2, 4]])
    close(call("moved_prototypes", old, new, 0.0), [[0, 5]])
    close(call("moved_prototypes", old, new, 1.0), [[10, 0]])


@spec("prototypes", "moved_prototypes")
@given(draw=exact_draws())
def test_a_move_has_the_gradient_of_both(draw):
    gradients(lambda a, b: call("moved_prototypes", a, b, 0.3), draw.normal(2, 2), draw.normal(2, 2))


def distances_loss(features, prototypes, classes):
    """In float64, one sample at a time; also the greatest distance, which makes roundings larger."""
    losses, greatest = [], 0.0
    for x, own in zip(features.tolist(), classes.tolist(), strict=True):
        logits = [-math.dist(x, p) for p in prototypes.tolist()]
        top = max(logits)
        losses.append(math.log(math.fsum(math.exp(value - top) for value in logits)) + top - logits[own])
        greatest = max(greatest, -min(logits))
    return math.fsum(losses) / len(losses), greatest


@spec("prototypes", "prototype_loss")
@given(draw=draws(), samples=SIZES, width=SIZES, count=COUNTS, scale=st.sampled_from([0.01, 1.0, 300.0]))
def test_the_nearer_its_own_prototype_the_lower_a_samples_loss(draw, samples, width, count, scale):
    features, prototypes = draw.normal(samples, width, scale=scale), draw.normal(count, width, scale=scale)
    classes = draw.integers(samples, count)
    expected, size = distances_loss(f64(features), f64(prototypes), classes)
    close(call("prototype_loss", features, prototypes, classes), expected, magnitude=4 * size)


@spec("prototypes", "prototype_loss")
def test_the_prototypes_loss_worked_by_hand():
    # Distances 5 and 0, then 0 and 5: e^-5 against 1.
    features = torch.tensor([[3.0, 4], [0, 0]], dtype=torch.float64)
    prototypes = torch.tensor([[0.0, 0], [3, 4]], dtype=torch.float64)
    near, far = math.log1p(math.exp(-5)), 5 + math.log1p(math.exp(-5))
    for classes, expected in (([1, 0], near), ([0, 1], far), ([0, 0], (near + far) / 2)):
        close(call("prototype_loss", features, prototypes, torch.tensor(classes)), expected)


@spec("prototypes", "prototype_loss")
@given(draw=exact_draws(), samples=SIZES, count=COUNTS)
def test_a_common_shift_and_turn_do_not_matter(draw, samples, count):
    features, prototypes = draw.normal(samples, 3), draw.normal(count, 3)
    classes, shift = draw.integers(samples, count), draw.normal(1, 3)
    turn = torch.linalg.qr(draw.normal(3, 3))[0]
    loss = call("prototype_loss", features, prototypes, classes)
    moved = call("prototype_loss", (features + shift) @ turn, (prototypes + shift) @ turn, classes)
    close(moved, f64(loss), magnitude=10)


@spec("prototypes", "prototype_loss")
@given(draw=exact_draws(), count=st.integers(2, 4))
def test_the_prototypes_loss_has_the_gradient_of_features_and_prototypes(draw, count):
    classes = draw.integers(3, count)
    gradients(lambda x, p: call("prototype_loss", x, p, classes), draw.normal(3, 2), draw.normal(count, 2))


@spec("prototypes", "prototype_loss")
@given(draw=exact_draws())
def test_a_feature_on_its_prototype_has_a_finite_gradient(draw):
    features = draw.normal(2, 3).requires_grad_()
    loss = call("prototype_loss", features, features.detach().clone(), torch.tensor([0, 1]))
    (gradient,) = torch.autograd.grad(loss, features)
    assert gradient.isfinite().all()
