"""Bugs of the central-difference convolution."""

from spec_tests.bugs.campaign import SECOND as TWIN
from spec_tests.bugs.campaign import mutants

_EQUATION = "central-difference"
_BLOCK = "reference.rivals.blocks.central_difference"

SECOND = mutants(
    TWIN,
    _EQUATION,
    "central_difference",
    ("plain_convolution", "windows - theta * x[:, :, None, None]", "windows"),
    ("always_full", "theta * x[", "x["),
    ("added", "windows - theta", "windows + theta"),
    ("theta_of_values", "windows - theta * x", "theta * windows - theta * x"),
    ("other_share", "theta * x[", "(1 - theta) * x["),
    ("values_shrink_too", "windows - theta * x", "(1 - theta) * windows - theta * x"),
    ("theta_squared", "theta * x[", "theta**2 * x["),
    ("kernels_turned", "bcijhw,ocij", "bcjihw,ocij"),
    ("kernels_flipped", ", weight)", ", weight.flip(2, 3))"),
    ("channels_mixed", "x[:, :, None, None]", "x.mean(1, True)[:, :, None, None]"),
    ("border_repeated", "(1, 1, 1, 1))", '(1, 1, 1, 1), mode="replicate")'),
    ("border_of_ones", "(1, 1, 1, 1))", "(1, 1, 1, 1), value=1.0)"),
    ("mean_of_the_map", "x[:, :, None, None]", "x.mean((2, 3), True)[:, :, None, None]"),
    ("of_the_first_sample", "x[:, :, None, None]", "x[:1, :, None, None]"),
    ("middle_detached", "theta * x[", "theta * x.detach()["),
    ("kernels_detached", ", weight)", ", weight.detach())"),
)

OURS = [
    *mutants(
        _BLOCK,
        _EQUATION,
        "central_difference",
        ("kernels_mean", "weight.sum((2, 3), keepdim=True)", "weight.mean((2, 3), keepdim=True)"),
        ("sum_of_all_inputs", "weight.sum((2, 3), keepdim=True)", "weight.sum((1, 2, 3), keepdim=True)"),
        ("sum_everywhere", "F.pad(weight.sum((2, 3), keepdim=True), (1, 1, 1, 1))", "weight.sum((2, 3), keepdim=True)"),
        ("in_the_corner", "(1, 1, 1, 1))  #", "(0, 2, 0, 2))  #"),
        ("added", "weight - theta", "weight + theta"),
        ("theta_forgotten", "theta * middle", "middle"),
        ("smaller_map", ", padding=1)", ")"),
    ),
    *mutants(
        _BLOCK,
        "test_mm_cdcn.py",
        "CentralDifference",
        (
            "with_bias",
            "self.weight, self.theta = nn.Conv2d(channels, out, 3, bias=False).weight",
            "self.weight, self.theta = nn.Conv2d(channels, out, 3).weight * 1",
        ),
        ("fixed_theta", ".weight, theta", ".weight, 0.7"),
        ("small_kernels_first", "bias=False).weight", "bias=False).weight.data.mul_(0.1)"),
    ),
]
