"""Bugs of narrow tokens that go through a convolution as maps."""

from spec_tests.bugs.campaign import SECOND as TWIN
from spec_tests.bugs.campaign import mutants

_MAPS = "token-maps"
_BLOCK = "reference.rivals.blocks.token_maps"

SECOND = [
    *mutants(
        TWIN,
        _MAPS,
        "quick_gelu",
        ("steeper", "0.851", "1.702"),
        ("sigmoid_of_it", "0.851", "0.5"),
        ("gelus_other_approximation", "0.851 * x", "0.7978845608 * (x + 0.044715 * x**3)"),
        ("not_halved", " / 2", ""),
        ("sigmoid_alone", "return x * (", "return ("),
        ("turned", "torch.tanh(0.851 * x)", "torch.tanh(-0.851 * x)"),
        ("gate_detached", "torch.tanh(0.851 * x)", "torch.tanh(0.851 * x.detach())"),
        ("number_detached", "return x * (", "return x.detach() * ("),
        ("rectified", "return x * (", "return x.clamp_min(0) * ("),
    ),
    *mutants(
        TWIN,
        _MAPS,
        "convolved_tokens",
        ("columns_first", ".reshape(len(tokens), -1, side, side)", ".reshape(len(tokens), -1, side, side).mT"),
        ("turned_back_wrongly", "patches.flatten(2)]", "patches.mT.flatten(2)]"),
        ("class_token_as_it_was", "convolution(grid[:, :, :1].unsqueeze(3))", "grid[:, :, :1].unsqueeze(3)"),
        ("patches_as_they_were", "patches = convolution(", "patches = ("),
        (
            "class_token_last",
            "torch.cat([cell.flatten(2), patches.flatten(2)]",
            "torch.cat([patches.flatten(2), cell.flatten(2)]",
        ),
        ("last_patch_as_class_token", "grid[:, :, :1]", "grid[:, :, -1:]"),
        ("one_row_of_patches", "-1, side, side)", "-1, 1, count)"),
        ("channels_as_places", "-1, side, side)", "side, side, -1).permute(0, 3, 1, 2)"),
        ("class_token_detached", "grid[:, :, :1]", "grid.detach()[:, :, :1]"),
        ("patches_detached", "grid[:, :, 1:]", "grid.detach()[:, :, 1:]"),
        ("mirrored", ", side, side))", ", side, side).flip(3)).flip(3)"),
        ("class_token_in_a_map", "unsqueeze(3))", "unsqueeze(3).expand(-1, -1, -1, 3))[..., 1:2]"),
    ),
]

OURS = [
    *mutants(
        _BLOCK,
        _MAPS,
        "quick_gelu",
        ("steeper", "1.702 * x)", "2.0 * x)"),
        ("sigmoid_alone", "return x * ", "return "),
    ),
    *mutants(
        _BLOCK,
        _MAPS,
        "convolved_tokens",
        ("columns_first", "(side, side)))", "(side, side)).mT)"),
        ("class_token_as_it_was", "convolution(first.mT[..., None])[..., 0].mT", "first"),
        ("class_token_last", "of_map], 1)", "of_map], 1).roll(-1, 1)"),
        ("class_token_among_the_patches", "tokens[:, 1:]", "tokens[:, :-1]"),
        ("side_rounded_down", "round(patches.shape[1] ** 0.5)", "int(patches.shape[1] ** 0.5 - 1e-9)"),
    ),
    *mutants(
        _BLOCK,
        "test_mmdg.py::test_adapters_give_nothing_at_first",
        "widening",
        ("begins_with_something", "    nn.init.zeros_(layer.weight)\n", ""),
        ("begins_with_a_bias", "    nn.init.zeros_(layer.bias)\n", ""),
    ),
]
