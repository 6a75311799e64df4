"""Bugs of what several rows share."""

from spec_tests.bugs.campaign import SECOND as TWIN
from spec_tests.bugs.campaign import mutants

_SE, _RATE = "squeeze-excitation", "restarted-rate"
_REVERSAL, _ROOT, _STEPPED = "gradient-reversal", "root-norm", "stepped-rate"
_TURNED = "reference.rivals.blocks.gradient_reversal"
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
    *mutants(
        TWIN,
        _REVERSAL,
        "reversal_coefficient",
        ("half_as_steep", "5 *", "2.5 *"),
        ("twice_as_steep", "5 *", "10 *"),
        ("sigmoid", "math.tanh(5 * progress)", "1 / (1 + math.exp(-10 * progress))"),
        ("linear", "math.tanh(5 * progress)", "progress"),
        ("full_at_once", "math.tanh(5 * progress)", "1.0"),
        ("falls", "5 * progress", "5 * (1 - progress)"),
        ("from_the_middle", "5 * progress", "10 * (progress - 0.5)"),
        ("negative", "5 *", "-5 *"),
    ),
    *mutants(
        TWIN,
        _REVERSAL,
        "reverse_gradient",
        ("not_turned", "* -coefficient", "* coefficient"),
        ("not_scaled", "* -coefficient", "* -1.0"),
        ("stopped", "turned - turned.detach()", "(turned - turned).detach()"),
        ("value_turned", "x.detach() + (turned - turned.detach())", "turned"),
        ("value_doubled", "x.detach() + (", "2 * x.detach() + ("),
        ("value_kept_in_the_gradient", "x.detach() + (", "x + ("),
        ("squared", "* -coefficient", "* -(coefficient**2)"),
        ("in_place", "    turned = ", "    x.detach().mul_(-1)\n    turned = "),
    ),
    *mutants(
        TWIN,
        _ROOT,
        "root_normalised",
        ("unit_length", "torch.rsqrt(lengths + lengths)", "1 / lengths"),
        ("root_of_the_length_alone", "lengths + lengths", "lengths"),
        ("times_the_root", "torch.rsqrt(lengths + lengths)", "torch.sqrt(lengths + lengths)"),
        ("twice_outside_of_the_root", "torch.rsqrt(lengths + lengths)", "torch.rsqrt(lengths) / 2"),
        ("over_the_batch", "torch.linalg.vector_norm(x, dim=1)", "torch.linalg.vector_norm(x).expand(len(x))"),
        ("sum_of_sizes", "torch.linalg.vector_norm(x, dim=1)", "torch.linalg.vector_norm(x, 1, dim=1)"),
        ("length_detached", ".clamp_min(1e-12)", ".clamp_min(1e-12).detach()"),
        ("no_least_length", ".clamp_min(1e-12)", ""),
        ("large_least_length", "1e-12", "1e-6"),
    ),
    *mutants(
        TWIN,
        _STEPPED,
        "stepped_rate",
        ("one_step_late", "done + 1", "done"),
        ("one_step_early", "done + 1", "done + 2"),
        ("falls_at_the_start", "range(every,", "range(0,"),
        ("every_epoch", "done + 1, every)", "done + 1)"),
        ("once", "rate *= factor", "rate = highest * factor"),
        ("divides", "rate *= factor", "rate /= factor"),
        ("tenths", "rate *= factor", "rate *= 0.1"),
        ("never", "rate *= factor", "rate *= 1"),
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
    *mutants(
        _TURNED,
        _REVERSAL,
        "reversal_coefficient",
        ("less_steep", "-STEEPNESS", "-STEEPNESS / 2"),
        (
            "a_sigmoid",
            "return 2 / (1 + math.exp(-STEEPNESS * progress)) - 1",
            "return 1 / (1 + math.exp(-STEEPNESS * progress))",
        ),
    ),
    *mutants(
        _TURNED,
        _REVERSAL,
        "_Reversal",
        ("passes_as_it_is", "return -ctx.coefficient * gradients[0]", "return ctx.coefficient * gradients[0]"),
        ("always_full", "return -ctx.coefficient * gradients[0]", "return -gradients[0]"),
        ("value_scaled", "return x.view_as(x)", "return coefficient * x"),
    ),
    *mutants(
        "reference.rivals.blocks.root_norm",
        _ROOT,
        "root_normalised",
        ("length_for_root", " ** 0.5", ""),
        ("of_the_batch", "dim=1", "dim=0"),
    ),
    *mutants(
        "reference.rivals.blocks.step_rate",
        _STEPPED,
        "stepped_rate",
        ("in_between", "done // every", "done / every"),
        ("an_epoch_early", "done // every", "(done + 1) // every"),
    ),
]
