"""Bugs of FlexModal-FAS."""

from spec_tests.bugs.campaign import SECOND as TWIN
from spec_tests.bugs.campaign import mutants

_ATTENTION, _DROPPING, _CUTOUT = "flexmodal-attention", "flexmodal-dropping", "flexmodal-cutout"
_ROW = "reference.rivals.flexmodal"


def _in_file(*names: str) -> str:
    return " ".join(f"spec_tests_rows_flexmodal::{name}" for name in names)


SECOND = [
    *mutants(
        TWIN,
        _ATTENTION,
        "channel_cross_attention",
        ("scaled_by_default", "scaled=False", "scaled=True"),
        ("scaled_by_channels", "x.shape[2] ** -0.5", "x.shape[1] ** -0.5"),
        ("scaled_without_the_root", "** -0.5", "** -1.0"),
        ("softmax_over_the_askers", "logsumexp(dim=2", "logsumexp(dim=1"),
        ("rgb_asks", '"bcn,bdn->bcd", x, rgb', '"bcn,bdn->bcd", rgb, x'),
        ("means_of_itself", '"bcd,bdn->bcn", weights, rgb', '"bcd,bdn->bcn", weights, x'),
        ("transposed_weights", '"bcd,bdn->bcn"', '"bdc,bdn->bcn"'),
        ("weights_detached", '->bcn", weights', '->bcn", weights.detach()'),
        ("residual_kept", '->bcn", weights, rgb)', '->bcn", weights, rgb) + x'),
        (
            "overflows",
            "torch.exp(logits - logits.logsumexp(dim=2, keepdim=True))",
            "torch.exp(logits) / torch.exp(logits).sum(2, True)",
        ),
        ("whole_batch_asks", '"bcn,bdn->bcd", x, rgb', '"bcn,bdn->bcd", x, rgb.mean(0, True).expand_as(rgb)'),
    ),
    *mutants(
        TWIN,
        _DROPPING,
        "drop_modalities",
        ("kept_for_dropped", "uniform >= probability", "uniform < probability"),
        ("one_lot_for_both", "kept[:, place]", "kept[:, 0]"),
        ("one_lot_for_all", "kept[:, place]", "kept[:1, place].expand(len(x))"),
        (
            "grey_for_black",
            "(x + 1) * kept[:, place].reshape(-1, 1, 1, 1) - 1",
            "x * kept[:, place].reshape(-1, 1, 1, 1)",
        ),
        (
            "never_both",
            "kept = (uniform >= probability)",
            "kept = (uniform >= probability) | ((uniform < probability).all(1, True))",
        ),
        ("rather_rarely", "uniform >= probability", "uniform >= probability**2"),
        ("own_generator", "generator=generator", "generator=torch.Generator(depth.device).manual_seed(0)"),
        ("depth_alone", "enumerate((depth, ir))", "enumerate((depth, depth))"),
        ("channels_apart", "len(depth), 2, gen", "len(depth), 2 * 3, gen"),
        ("in_place", "    kept = ", "    depth -= 0.5\n    kept = "),
    ),
    *mutants(
        TWIN,
        _CUTOUT,
        "cut_out",
        ("sides_up_to_the_limit", "int(c * (limit - 1))", "int(c * limit)"),
        ("sides_not_halved", "(1 + int(c * (limit - 1))) // 2", "1 + int(c * (limit - 1))"),
        ("one_pixel_more", ": y + half,", ": y + half + 1,"),
        ("square_within_the_image", "max(y - half, 0)", "max(min(y, height - half) - half, 0)"),
        ("negative_start", "max(x - half, 0)", "(x - half)"),
        (
            "one_place_for_all",
            "for sample, (a, b, c) in enumerate(uniform)",
            "for sample, (a, b, c) in enumerate([uniform[0]] * count)",
        ),
        ("one_channel", "image[sample, :,", "image[sample, 0,"),
        ("modalities_apart", "for image in images", "for image in images[:2]"),
        ("height_for_width", "int(b * width)", "int(b * height)"),
        ("grey_for_black", " = -1\n", " = 0\n"),
        ("on_the_diagonal", "int(b * width)", "int(a * width)"),
        ("in_place", "rgb.clone(), ", "rgb, "),
        ("centre_away_from_the_edge", "int(a * height)", "1 + int(a * (height - 1))"),
    ),
]
