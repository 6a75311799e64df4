"""Bugs of adaptive instance normalisation."""

from spec_tests.bugs.campaign import SECOND as TWIN
from spec_tests.bugs.campaign import mutants

_ADAIN = "adaptive-norm"
_BLOCK = "reference.rivals.blocks.adaptive_norm"

SECOND = [
    *mutants(
        TWIN,
        _ADAIN,
        "instance_statistics",
        ("biased", "(count - 1)", "count"),
        ("epsilon_outside_the_root", "/ (count - 1) + epsilon)", "/ (count - 1)) + epsilon"),
        ("variance_for_deviation", "torch.sqrt(", "(lambda y: y)("),
        ("not_centred", "flat - mean.unsqueeze(2)", "flat - 0 * mean.unsqueeze(2)"),
        (
            "of_all_channels",
            "mean = flat.sum(2) / count",
            "mean = (flat.sum(2) / count).mean(1, True).expand(x.shape[:2])",
        ),
        (
            "of_the_batch",
            "mean = flat.sum(2) / count",
            "mean = (flat.sum(2) / count).mean(0, True).expand(x.shape[:2])",
        ),
        ("of_one_side", "count = flat.shape[2]", "count = x.shape[2] + 1"),
        ("smaller_epsilon", "epsilon=1e-05", "epsilon=1e-06"),
        ("squares_of_all_channels", '"bcn,bcn->bc", centred, centred', '"bcn,bdn->bc", centred, centred'),
    ),
    *mutants(
        TWIN,
        _ADAIN,
        "adaptive_instance_norm",
        ("always_detached", "x.detach() if detached else x", "x.detach()"),
        ("never_detached", "x.detach() if detached else x", "x"),
        ("detached_by_default", "detached=False", "detached=True"),
        ("style_detached", "scale / deviation", "scale.detach() / deviation"),
        ("shift_forgotten", " + shift[:, :, None, None]", ""),
        ("mean_kept", "x - mean[:, :, None, None]", "x"),
        ("shift_before_scale", "slope) + shift[:, :, None, None]", "slope) + (shift * scale)[:, :, None, None]"),
        ("times_the_deviation", "scale / deviation", "scale * deviation"),
        ("default_epsilon_always", "else x, epsilon)", "else x)"),
        ("smaller_epsilon", "epsilon=1e-05", "epsilon=1e-06"),
        ("scale_of_size_alone", "scale / deviation", "scale.abs() / deviation"),
    ),
]

OURS = [
    *mutants(
        _BLOCK,
        _ADAIN,
        "instance_statistics",
        ("biased", "correction=1", "correction=0"),
        ("epsilon_outside_the_root", "(variance + epsilon).sqrt()", "variance.sqrt() + epsilon"),
        ("of_layers", "dim=(2, 3)", "dim=(1, 2, 3)"),
    ),
    *mutants(
        _BLOCK,
        _ADAIN,
        "adaptive_instance_norm",
        ("detached_the_wrong_way", "if detached", "if not detached"),
        ("mean_not_detached", "mean.detach(), deviation.detach()", "mean, deviation.detach()"),
        ("deviation_not_detached", "mean.detach(), deviation.detach()", "mean.detach(), deviation"),
        ("epsilon_not_passed_on", "instance_statistics(x, epsilon)", "instance_statistics(x)"),
    ),
]
