"""Bugs of what several rows share."""

from spec_tests.bugs.campaign import SECOND as TWIN
from spec_tests.bugs.campaign import mutants

_SE, _RATE = "squeeze-excitation", "restarted-rate"
_EXCITATION = "reference.rivals.blocks.squeeze_excitation"

SECOND = [
    *mutants(
        TWIN,
        _SE,
        "squeeze_excitation",
        ("sum_for_mean", " / (x.shape[2] * x.shape[3])", ""),
        ("mean_of_one_side", "(x.shape[2] * x.shape[3])", "x.shape[2]"),
        ("first_bias_dropped", " + b1)", ")"),
        ("second_bias_dropped", " + b2)", ")"),
        ("no_rectifier", ".clamp_min(0)", ""),
        ("rectified_at_six", ".clamp_min(0)", ".clamp(0, 0.5)"),
        ("weights_added", '"bchw,bc->bchw", x, weights)', '"bchw,bc->bchw", torch.ones_like(x), weights) + x'),
        ("sign", "torch.exp(-(", "torch.exp((hidden @ w2.T * 0) + ("),
        ("means_over_the_batch", '"bchw,kc->bk", x, w1)', '"bchw,kc->bk", x.mean(0, True).expand_as(x), w1)'),
        ("weights_detached", '->bchw", x, weights)', '->bchw", x, weights.detach())'),
        ("doubled", '->bchw", x, weights)', '->bchw", x, 2 * weights)'),
    ),
    *mutants(
        TWIN,
        _RATE,
        "restarted_rate",
        ("no_restart", "math.fmod(progress * cycles, 1.0)", "progress"),
        ("one_cycle_more", "progress * cycles", "progress * (cycles + 1)"),
        ("ends_at_zero", "lowest + (highest - lowest)", "highest"),
        ("not_squared", " ** 2", ""),
        ("full_cosine", "phase / 2", "phase"),
        ("rises", "math.cos", "math.sin"),
        ("back_and_forth", "math.fmod(progress * cycles, 1.0)", "progress * cycles"),
    ),
]

OURS = [
    *mutants(
        _EXCITATION,
        _SE,
        "squeeze_excitation",
        ("mean_of_rows", "x.mean((2, 3))", "x.mean(3)[:, :, 0]"),
        ("inner_rectifier_lost", "F.relu(F.linear(means, w1, b1))", "F.linear(means, w1, b1)"),
    ),
    *mutants(
        "reference.rivals.blocks.restarts",
        _RATE,
        "restarted_rate",
        ("lowest_forgotten", "lowest + (", "0 * lowest + ("),
    ),
]
