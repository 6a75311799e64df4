"""CMFL: the weight of a branch, the cross-modal focal loss, and its sum with the joint head's loss."""

import itertools
import math

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from spec_tests.equations.adapter import call, gradients, spec
from spec_tests.equations.strategies import Draw, draws, exact_draws
from spec_tests.equations.tolerances import GRADIENT_RTOL, STEP, close, f64

SIZES = st.integers(1, 4)
BRANCHES = st.integers(2, 4)
GAMMAS = st.sampled_from([0.0, 1.0, 2.0, 3.0, 4.5])
ALPHAS = st.sampled_from([0.25, 1.0, 2.0])
PLACES = ["none", "other", "own"]
EPSILONS = st.sampled_from(["none", "both", "asymmetric"])
CLASSES = st.sampled_from(["both", "attacks"])
PARTNERS = st.sampled_from(["attached", "detached"])


# The weight


def weight(p, q, place):
    """w(p, q) in float64, of a branch's probability p and the other one's q, as the paper and as the code write it."""
    if place == "none":
        return q * (2 * p * q) / (p + q)
    if place == "other":
        return (q + 1e-9) * (2 * p * q) / (p + q + 1e-9)
    return (p + 1e-9) * (2 * q * q) / (p + q + 1e-9)


def costs_of(draw, count, most):
    """Costs (N,) of two branches, -log p and -log q, from 0 to `most`."""
    return tuple(draw.place(most * torch.sin(draw.normal(count, scale=3.0)).double().square()) for _ in range(2))


def weights(own, other, place):
    return [weight(math.exp(-a), math.exp(-b), place) for a, b in zip(f64(own), f64(other), strict=True)]


@spec("cmfl-weight", "cross_modal_weight")
@given(draw=draws(), count=SIZES, place=st.sampled_from(PLACES), most=st.sampled_from([1.0, 6.0, 24.0]))
def test_the_weight_is_the_other_probability_times_the_harmonic_mean_of_both(draw, count, place, most):
    own, other = costs_of(draw, count, most)
    found, expected = call("cross_modal_weight", own, other, epsilon=place), weights(own, other, place)
    close(found, expected)
    proportion = found.double().cpu() / torch.tensor(expected, dtype=torch.float64)
    close(draw.place(proportion), [1.0] * count)  # small weights count as well
    if place == "none":
        close(call("cross_modal_weight", own, other), expected)


@spec("cmfl-weight", "cross_modal_weight")
def test_the_weight_worked_by_hand():
    own, other = (torch.tensor([math.log(4 / 3), math.log(4)], dtype=torch.float64) for _ in range(2))
    found = call("cross_modal_weight", own, other.flip(0))  # 3/4 and 1/4, then 1/4 and 3/4
    close(found, [3 / 32, 9 / 32])


@spec("cmfl-weight", "cross_modal_weight")
@given(draw=draws(), count=SIZES)
def test_exchanged_branches_have_other_weights_in_the_proportion_of_their_probabilities(draw, count):
    own, other = costs_of(draw, count, 4.0)
    there, back = call("cross_modal_weight", own, other), call("cross_modal_weight", other, own)
    p, q = (torch.exp(-x) for x in (own, other))
    close(there * p, f64(back * q))
    apart = (p - q).abs() > 0.01
    assert (there != back)[apart].all()


@spec("cmfl-weight", "cross_modal_weight")
@given(draw=draws(), count=SIZES, place=st.sampled_from(PLACES))
def test_limits_of_the_weight(draw, count, place):
    cost, _ = costs_of(draw, count, 6.0)
    p, sure, lost = torch.exp(-cost), torch.zeros_like(cost), torch.full_like(cost, 1e4)
    for own, other, expected in (
        (cost, cost, p * p),
        (cost, sure, 2 * p / (1 + p)),
        (sure, cost, 2 * p * p / (1 + p)),
        (sure, sure, torch.ones_like(p)),
        (cost, lost, torch.zeros_like(p)),
        (lost, cost, torch.zeros_like(p)),
        (lost, lost, torch.zeros_like(p)),
    ):
        found = call("cross_modal_weight", own, other, epsilon=place)
        close(found, f64(expected), magnitude=1000)  # 1e-9 moves it by less
        if place == "none":
            close(found, f64(expected))


@spec("cmfl-weight", "cross_modal_weight")
@given(draw=draws(), place=st.sampled_from(PLACES))
def test_a_weight_is_a_share_and_grows_with_either_probability(draw, place):
    own, other = costs_of(draw, 4, 6.0)
    found = call("cross_modal_weight", own, other, epsilon=place)
    assert (found > 0).all()
    assert (found < 1 + 1e-9).all()
    assert (call("cross_modal_weight", own + 0.5, other, epsilon=place) < found).all()
    assert (call("cross_modal_weight", own, other + 0.5, epsilon=place) < found).all()


@spec("cmfl-weight", "cross_modal_weight")
@given(draw=exact_draws(), place=st.sampled_from(PLACES))
def test_the_weight_has_the_gradient_of_both_costs(draw, place):
    own, other = costs_of(draw, 3, 3.0)
    gradients(lambda *given_: call("cross_modal_weight", *given_, epsilon=place), own, other)


@spec("cmfl-weight", "cross_modal_weight")
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_two_branches_that_fail_for_good_have_a_gradient(place, dtype):
    own, other = (torch.tensor([cost, 1e4], dtype=dtype, requires_grad=True) for cost in (800.0, 1e4))
    found = call("cross_modal_weight", own, other, epsilon=place)
    for gradient in torch.autograd.grad(found.sum(), (own, other)):
        close(gradient, [0.0, 0.0])


# The cross-modal focal loss


def probability(logit, live):
    return 1 / (1 + math.exp(-logit if live else logit))


def term(p, q, live, gamma, place="none", modulated="both"):
    """What one branch pays for one sample, before alpha."""
    w = weight(p, q, place) if modulated == "both" or not live else 0.0
    return max(1 - w, 0.0) ** gamma * -math.log(p)


def focal(logits, bonafide, alpha, gamma, epsilon="none", modulated="both"):
    """The loss in float64: the mean over pairs of branches of the mean over samples of half of either branch's term."""
    pairs = []
    for i, j in itertools.combinations(range(logits.shape[1]), 2):
        terms = []
        for row, live in zip(logits, bonafide, strict=True):
            p, q = probability(row[i], live), probability(row[j], live)
            first, second = {"none": ("none",) * 2, "both": ("other",) * 2, "asymmetric": ("other", "own")}[epsilon]
            terms += [term(p, q, live, gamma, first, modulated) / 2, term(q, p, live, gamma, second, modulated) / 2]
        pairs.append(math.fsum(terms) / len(logits))
    return alpha * math.fsum(pairs) / len(pairs)


def drawn(draw, batch, branches):
    """Logits (B, M) and which samples (B,) are bona fide."""
    return draw.normal(batch, branches, scale=2.0), draw.integers(batch, 2)


@spec("cmfl-focal", "cross_modal_focal_loss")
@given(
    draw=draws(), batch=SIZES, branches=BRANCHES, alpha=ALPHAS, gamma=GAMMAS,
    epsilon=EPSILONS, partner=PARTNERS, modulated=CLASSES,
)  # fmt: skip
def test_each_branch_pays_its_cross_entropy_less_the_surer_both_are(
    draw, batch, branches, alpha, gamma, epsilon, partner, modulated
):
    logits, bonafide = drawn(draw, batch, branches)
    how = {"epsilon": epsilon, "partner": partner, "modulated": modulated}
    expected = focal(f64(logits), f64(bonafide), alpha, gamma, epsilon, modulated)
    for label in (bonafide, bonafide.to(logits.dtype)):
        close(call("cross_modal_focal_loss", logits, label, alpha, gamma, **how), expected, magnitude=8)
    usual = focal(f64(logits), f64(bonafide), alpha, gamma)
    close(call("cross_modal_focal_loss", logits, bonafide, alpha, gamma), usual, magnitude=8)


@spec("cmfl-focal", "cross_modal_focal_loss")
def test_the_cross_modal_focal_loss_worked_by_hand():
    logits = torch.tensor([[0.0, 0.0], [math.log(3), -math.log(3)]], dtype=torch.float64)
    even = (3 / 4) ** 3 * math.log(2)  # p = q = 1/2, w = 1/4
    uneven = ((29 / 32) ** 3 * math.log(4 / 3) + (23 / 32) ** 3 * math.log(4)) / 2  # p = 3/4, q = 1/4
    for label in ([1, 1], [0, 0]):
        close(call("cross_modal_focal_loss", logits, torch.tensor(label), 1.0, 3.0), (even + uneven) / 2)
    only_attacks = call("cross_modal_focal_loss", logits, torch.tensor([1, 0]), 1.0, 3.0, modulated="attacks")
    close(only_attacks, (math.log(2) + uneven) / 2)


@spec("cmfl-focal", "cross_modal_focal_loss")
@given(draw=draws(), branches=BRANCHES, gamma=GAMMAS, epsilon=st.sampled_from(["none", "both"]), modulated=CLASSES)
def test_it_does_not_change_when_branches_or_samples_swap_places(draw, branches, gamma, epsilon, modulated):
    logits, bonafide = drawn(draw, 4, branches)
    how = {"epsilon": epsilon, "modulated": modulated}
    expected = f64(call("cross_modal_focal_loss", logits, bonafide, 1.0, gamma, **how))
    close(call("cross_modal_focal_loss", logits.flip(1), bonafide, 1.0, gamma, **how), expected, magnitude=8)
    order, places = draw.permutation(4), draw.permutation(branches)
    moved = draw.place(logits[order][:, places])
    close(call("cross_modal_focal_loss", moved, bonafide[order], 1.0, gamma, **how), expected, magnitude=8)


@spec("cmfl-focal", "cross_modal_focal_loss")
@given(draw=draws(), gamma=GAMMAS)
def test_classes_and_signs_exchanged_cost_the_same_where_both_classes_are_weighted(draw, gamma):
    logits, bonafide = drawn(draw, 4, 3)
    expected = f64(call("cross_modal_focal_loss", logits, bonafide, 1.0, gamma))
    close(call("cross_modal_focal_loss", -logits, 1 - bonafide, 1.0, gamma), expected, magnitude=8)


@spec("cmfl-focal", "cross_modal_focal_loss")
@given(draw=draws(), gamma=GAMMAS, alpha=ALPHAS)
def test_of_three_branches_it_is_the_mean_of_every_two(draw, gamma, alpha):
    logits, bonafide = drawn(draw, 4, 3)
    pairs = [
        float(call("cross_modal_focal_loss", logits[:, pair], bonafide, alpha, gamma))
        for pair in ([0, 1], [0, 2], [1, 2])
    ]
    close(call("cross_modal_focal_loss", logits, bonafide, alpha, gamma), sum(pairs) / 3, magnitude=8)


@spec("cmfl-focal", "cross_modal_focal_loss")
@given(draw=draws(), branches=BRANCHES, alpha=ALPHAS, epsilon=EPSILONS)
def test_gamma_0_is_cross_entropy_of_every_branch_and_alpha_its_factor(draw, branches, alpha, epsilon):
    logits, bonafide = drawn(draw, 3, branches)
    terms = [-math.log(probability(x, live)) for row, live in zip(f64(logits), f64(bonafide), strict=True) for x in row]
    expected = alpha * math.fsum(terms) / len(terms)
    close(call("cross_modal_focal_loss", logits, bonafide, alpha, 0.0, epsilon=epsilon), expected, magnitude=8)


@spec("cmfl-focal", "cross_modal_focal_loss")
@given(draw=draws(), gamma=st.sampled_from([1.0, 2.0, 3.0, 4.5]), live=st.integers(0, 1))
@example(draw=Draw(0, "float32"), gamma=3.0, live=1)
def test_limits_of_the_loss(draw, gamma, live):
    """One branch anywhere, the other one sure and right, sure and wrong, or of the same mind; both sure."""
    x, towards = draw.normal(3), 2 * live - 1
    bonafide = torch.full((3,), live, device=x.device)
    p = [probability(v, live) for v in f64(x)]
    far, same = torch.full_like(x, 300.0 * towards), x.clone()

    def loss(first, second):
        return call("cross_modal_focal_loss", torch.stack([first, second], 1), bonafide, 1.0, gamma)

    close(loss(x, far), math.fsum(((1 - v) / (1 + v)) ** gamma * -math.log(v) for v in p) / 6, magnitude=8)
    close(loss(x, -far), 150 + math.fsum(-math.log(v) for v in p) / 6)
    close(loss(x, same), math.fsum((1 - v * v) ** gamma * -math.log(v) for v in p) / 3, magnitude=8)
    close(loss(far, far), 0.0)
    close(loss(-far, -far), 300.0)
    close(loss(far, -far), 150.0)


@spec("cmfl-focal", "cross_modal_focal_loss")
@given(draw=draws(), gamma=GAMMAS, epsilon=EPSILONS, partner=PARTNERS)
@example(draw=Draw(0, "float32"), gamma=4.5, epsilon="both", partner="attached")
@example(draw=Draw(0, "float64"), gamma=4.5, epsilon="both", partner="attached")
@example(draw=Draw(0, "float64"), gamma=4.5, epsilon="asymmetric", partner="attached")
def test_branches_that_are_sure_have_a_gradient(draw, gamma, epsilon, partner):
    """Where both are right it vanishes, where one or both are wrong it is that of their cross-entropy."""
    logits = draw.place(300 * torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, -1.0]])).requires_grad_()
    bonafide = torch.ones(3, device=logits.device)
    loss = call("cross_modal_focal_loss", logits, bonafide, 1.0, gamma, epsilon=epsilon, partner=partner)
    share = (1 - weight(math.exp(-300), 1.0, "own")) ** gamma if epsilon == "asymmetric" else 1.0  # 1e-9 stays
    close(loss, 100 + 50 * share)
    (gradient,) = torch.autograd.grad(loss, logits)
    close(6 * gradient, [[0.0, 0.0], [0.0, -share], [-1.0, -1.0]])


@spec("cmfl-focal", "cross_modal_focal_loss")
@given(draw=draws(), gamma=st.sampled_from([1.0, 3.0]), more=st.floats(0.25, 2))
def test_a_surer_other_branch_and_a_greater_gamma_make_a_sample_cheaper(draw, gamma, more):
    logits = draw.normal(1, 2)
    bonafide = torch.ones(1, device=logits.device)
    at_rest = call("cross_modal_focal_loss", logits, bonafide, 1.0, gamma)
    surer = call("cross_modal_focal_loss", logits + draw.place(torch.tensor([[0.0, more]])), bonafide, 1.0, gamma)
    assert surer < at_rest
    assert call("cross_modal_focal_loss", logits, bonafide, 1.0, gamma + more) < at_rest


@spec("cmfl-focal", "cross_modal_focal_loss")
@pytest.mark.parametrize("epsilon", ["none", "both", "asymmetric"])
@pytest.mark.parametrize("less", [6e-7, 7e-4])
def test_a_large_exponent_shows_where_1e_9_is_added(epsilon, less):
    odds = [math.log(p / (1 - p)) for p in (0.9, less)]
    for pair in (odds, odds[::-1]):
        logits = torch.tensor([pair], dtype=torch.float64)
        found = call("cross_modal_focal_loss", logits, torch.tensor([1]), 1.0, 1e6, epsilon=epsilon)
        close(found, focal(f64(logits), [1], 1.0, 1e6, epsilon))
        if epsilon == "none":
            close(call("cross_modal_focal_loss", logits, torch.tensor([1]), 1.0, 1e6), f64(found))


@spec("cmfl-focal", "cross_modal_focal_loss")
@given(draw=exact_draws(), branches=BRANCHES, gamma=GAMMAS, epsilon=EPSILONS, modulated=CLASSES)
def test_gradients_flow_through_the_weights(draw, branches, gamma, epsilon, modulated):
    logits, bonafide = draw.normal(3, branches), draw.integers(3, 2)
    how = {"epsilon": epsilon, "modulated": modulated}
    gradients(lambda x: call("cross_modal_focal_loss", x, bonafide, 0.5, gamma, **how), logits)


@spec("cmfl-focal", "cross_modal_focal_loss")
@given(draw=exact_draws(), gamma=GAMMAS, epsilon=EPSILONS)
def test_a_detached_partner_is_a_constant_of_the_others_terms(draw, gamma, epsilon):
    logits, bonafide = drawn(draw, 2, 3)
    leaf = logits.clone().requires_grad_()
    (found,) = torch.autograd.grad(
        call("cross_modal_focal_loss", leaf, bonafide, 1.0, gamma, epsilon=epsilon, partner="detached"), leaf
    )
    for (n, i), x in ((place, float(logits[place])) for place in itertools.product(range(2), range(3))):
        live = int(bonafide[n])
        others = [probability(float(logits[n, j]), live) for j in range(3) if j != i]
        sides = [math.fsum(term(probability(x + step, live), q, live, gamma) for q in others) for step in (STEP, -STEP)]
        expected = (sides[0] - sides[1]) / (2 * STEP) / 12  # two samples, six ordered pairs
        assert abs(float(found[n, i]) - expected) <= GRADIENT_RTOL * abs(expected) + 1e-7


# With the joint head


@spec("cmfl-joint", "joint_objective")
@given(draw=draws(), batch=SIZES, balance=st.floats(0, 1))
def test_the_objective_is_a_balance_of_the_branches_and_the_joint_heads_cross_entropy(draw, batch, balance):
    of_branches, joint, bonafide = draw.normal(1).square()[0], draw.normal(batch, scale=2.0), draw.integers(batch, 2)
    terms = [-math.log(probability(x, live)) for x, live in zip(f64(joint), f64(bonafide), strict=True)]
    of_joint, given_ = math.fsum(terms) / batch, float(of_branches)
    for label in (bonafide, bonafide.to(joint.dtype)):
        found = call("joint_objective", of_branches, joint, label, balance)
        assert set(found) == {"loss", "branches", "joint"}
        close(found["joint"], of_joint, magnitude=8)
        close(found["branches"], given_, magnitude=8)
        close(found["loss"], balance * given_ + (1 - balance) * of_joint, magnitude=8)


@spec("cmfl-joint", "joint_objective")
def test_the_objective_worked_by_hand():
    joint = torch.tensor([math.log(3), math.log(3)], dtype=torch.float64)  # r = 3/4 of a bona fide face and an attack
    found = call("joint_objective", torch.tensor(2.0, dtype=torch.float64), joint, torch.tensor([1, 0]), 0.25)
    of_joint = (math.log(4 / 3) + math.log(4)) / 2
    close(found["joint"], of_joint)
    close(found["loss"], 0.5 + 0.75 * of_joint)


@spec("cmfl-joint", "joint_objective")
@given(draw=draws())
@example(draw=Draw(0, "float32"))
def test_a_sure_joint_head_costs_nothing_or_its_gap(draw):
    none = draw.place(torch.zeros(1))[0]
    for sign, expected in ((1.0, 0.0), (-1.0, 300.0)):
        joint = draw.place(300 * sign * torch.tensor([1.0, -1.0]))
        found = call("joint_objective", none, joint, torch.tensor([1, 0], device=joint.device), 0.5)
        close(found["joint"], expected)
        close(found["loss"], expected / 2)


@spec("cmfl-joint", "joint_objective")
@given(draw=exact_draws(), balance=st.floats(0.1, 0.9))
def test_the_objective_has_the_gradient_of_both_losses(draw, balance):
    of_branches, joint, bonafide = draw.normal(1)[0], draw.normal(3), draw.integers(3, 2)
    gradients(lambda *given_: call("joint_objective", *given_, bonafide, balance)["loss"], of_branches, joint)
