"""Bugs of gradients that are projected onto each other and merged."""

from spec_tests.bugs.campaign import SECOND as TWIN
from spec_tests.bugs.campaign import mutants

_MERGE = "gradient-merge"
_BLOCK = "reference.rivals.blocks.gradient_merge"

SECOND = [
    *mutants(
        TWIN,
        _MERGE,
        "projected_gradient",
        ("along_always", "torch.where(share > 0, agreeing, aside)", "(b * share)"),
        ("agreeing_alone", "torch.where(share > 0, agreeing, aside)", "agreeing"),
        ("aside_always", "torch.where(share > 0, agreeing, aside)", "aside"),
        ("kept_where_they_agree", "agreeing, aside)", "a, aside)"),
        ("turned", "share > 0", "share < 0"),
        ("no_epsilon", " + 1e-8)", ")"),
        ("large_epsilon", "1e-8", "1e-4"),
        ("of_the_gradients_length", '"n,n->", b, b', '"n,n->", a, a'),
        ("onto_the_gradient", "agreeing = b *", "agreeing = a *"),
        ("cosine", '(torch.einsum("n,n->", b, b) + 1e-8)', '(torch.einsum("n,n->", b, b) + 1e-8).sqrt()'),
        ("added_aside", "a - b * share", "a + b * share"),
        ("base_detached", "base.flatten()", "base.detach().flatten()"),
        (
            "row_by_row",
            'share = torch.einsum("n,n->", a, b) / (torch.einsum("n,n->", b, b) + 1e-8)',
            "share = a * b / (b * b + 1e-8)",
        ),
    ),
    *mutants(
        TWIN,
        _MERGE,
        "merged_gradient",
        ("always_slow", "if own == fastest:", "if False:"),
        ("always_fast", "if own == fastest:", "if True:"),
        ("slow_and_fast_change_places", "own == fastest", "own != fastest"),
        (
            "fast_keeps_its_own",
            "rest + weights[own] * projected_gradient(gradients[own], rest)",
            "rest + weights[own] * gradients[own]",
        ),
        ("fast_alone", "return rest + weights", "return weights"),
        ("fast_unweighted", "rest + weights[own] *", "rest +"),
        ("onto_the_fastest", "projected_gradient(gradients[own], rest)", "projected_gradient(rest, gradients[own])"),
        ("rest_with_its_own", " - gradients[own]\n", "\n"),
        ("slow_forgets_its_own", "total = gradients[own].clone()", "total = 0 * gradients[own]"),
        ("slow_unweighted", "total + weights[other] *", "total +"),
        ("weight_of_its_own", "weights[other]", "weights[own]"),
        ("not_projected", "projected_gradient(gradient, gradients[own])", "gradient"),
        (
            "its_own_projected",
            "projected_gradient(gradient, gradients[own])",
            "projected_gradient(gradients[own], gradient)",
        ),
        ("its_own_twice", "if other != own:", "if True:"),
        ("the_fastest_left_out", "if other != own:", "if other not in (own, fastest):"),
        ("weight_of_the_fastest", "weights[other]", "weights[fastest]"),
    ),
    *mutants(
        TWIN,
        _MERGE,
        "add_merged_gradients",
        ("replaced", "parameter.grad = before + added", "parameter.grad = added"),
        ("subtracted", "before + added", "before - added"),
        ("graph_freed", "retain_graph=True", "retain_graph=parameter is not owned[-1][0]"),
        ("first_loss_alone", "for loss in losses:", "for loss in losses[:1] * len(losses):"),
        ("unseen_refused", ", allow_unused=True", ""),
        ("unseen_counts_one", "torch.zeros_like(parameter) if gradient", "torch.ones_like(parameter) if gradient"),
        ("shared_gets_nothing", "sum(of_each) if own is None", "torch.zeros_like(parameter) if own is None"),
        ("shared_gets_the_mean", "sum(of_each) if own is None", "sum(of_each) / len(of_each) if own is None"),
        (
            "shared_is_the_firsts",
            "sum(of_each) if own is None else merged_gradient(of_each, own,",
            "merged_gradient(of_each, own or 0,",
        ),
        ("first_is_shared", "if own is None else", "if not own else"),
        ("always_the_first", "merged_gradient(of_each, own,", "merged_gradient(of_each, 0,"),
        ("first_is_fastest", "own, fastest, weights)\n", "own, 0, weights)\n"),
        ("unweighted", "fastest, weights)\n        before", "fastest, [w / w for w in weights])\n        before"),
        ("weights_reversed", "fastest, weights)\n        before", "fastest, weights[::-1])\n        before"),
        (
            "last_parameter_left_out",
            "for parameter, own in owned:",
            "for parameter, own in owned[: max(1, len(owned) - 1)]:",
        ),
    ),
]

OURS = [
    *mutants(
        _BLOCK,
        _MERGE,
        "projected_gradient",
        ("agreeing_alone", "gradient - along)", "0 * along)"),
        ("along_always", "torch.where(dot > 0, along, gradient - along)", "along"),
        ("no_epsilon", " + EPSILON", ""),
        ("turned", "dot > 0", "dot < 0"),
    ),
    *mutants(
        _BLOCK,
        _MERGE,
        "merged_gradient",
        ("slow_and_fast_change_places", "own != fastest", "own == fastest"),
        ("fast_alone", ", rest) + rest", ", rest)"),
        ("weights_by_place", "weights[j] * projected", "weights[own] * projected"),
        ("its_own_among_the_others", " if j != own]", "]"),
    ),
    *mutants(
        _BLOCK,
        _MERGE,
        "add_merged_gradients",
        ("nothing_owned", "    if not owned:\n        return\n", ""),
        ("replaced", "added if parameter.grad is None else parameter.grad + added", "added"),
        ("shared_gets_the_mean", ".sum(0)", ".mean(0)"),
        ("graph_freed", "retain_graph=True", "retain_graph=loss is not losses[-1]"),
        ("unseen_stays_nothing", ", materialize_grads=True", ""),
    ),
]
