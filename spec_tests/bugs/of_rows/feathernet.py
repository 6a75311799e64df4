"""Bugs of FeatherNet."""

from spec_tests.bugs.campaign import SECOND as TWIN
from spec_tests.bugs.campaign import Mutant, mutants

_FOCAL, _STREAMING = "feathernet-focal", "feathernet-streaming"
_ENSEMBLE, _CASCADE = "feathernet-ensemble", "feathernet-cascade"


def _ours(function: str, *changes: tuple[str, str, str], tests: str = "test_feathernet.py") -> list[Mutant]:
    return mutants("reference.rivals.feathernet", tests, function, *changes)


SECOND: list[Mutant] = [
    *mutants(
        TWIN,
        _FOCAL,
        "focal_loss",
        ("cross_entropy", "doubt.pow(gamma)", "doubt.pow(0)"),
        ("gamma_2_whatever_is_asked", "doubt.pow(gamma)", "doubt.pow(2 if gamma else 0)"),
        ("sure_samples_count_most", "-torch.expm1(-surprise)", "torch.exp(-surprise)"),
        ("doubt_detached", "doubt.pow(gamma)", "doubt.detach().pow(gamma)"),
        ("sum_over_the_batch", " / len(logits)", ""),
        ("mean_over_the_classes", " / len(logits)", " / logits.numel()"),
        ("weights_divide", " / len(logits)", " / doubt.pow(gamma).sum()"),
        ("overflow", "torch.logsumexp(logits - own.unsqueeze(1), dim=1)", "logits.exp().sum(1).log() - own"),
        ("first_class_always", "device=logits.device), classes]", "device=logits.device), classes * 0]"),
        ("two_classes", "torch.logsumexp(logits - own", "torch.logsumexp(logits[:, :2] - own"),
        ("softmax_over_the_batch", "dim=1)", "dim=0)[classes % logits.shape[1]]"),
    ),
    *mutants(
        TWIN,
        _STREAMING,
        "streaming_module",
        (
            "every_place",
            "row : row + height : 2, column : column + width : 2",
            "row : row + height, column : column + width",
        ),
        ("rows_halved_alone", "column : column + width : 2", "column : column + width"),
        ("no_zeros_above_and_left", "(1, 1, 1, 1)", "(0, 2, 0, 2)"),
        ("edges_repeated", "(1, 1, 1, 1))", '(1, 1, 1, 1), mode="replicate")'),
        ("kernel_turned_over", "weight[:, 0, row, column]", "weight[:, 0, 2 - row, 2 - column]"),
        ("kernel_transposed", "weight[:, 0, row, column]", "weight[:, 0, column, row]"),
        ("one_kernel_for_all", "weight[:, 0, row, column]", "weight[:1, 0, row, column].expand(len(weight))"),
        ("channels_mixed", '"bchw,c->bchw", seen', '"bchw,c->bchw", seen.mean(1, keepdim=True).expand_as(seen)'),
        ("places_before_channels", "out.reshape(", "out.movedim(1, 3).reshape("),
        ("columns_before_rows", "out.reshape(", "out.mT.reshape("),
        ("last_row_of_the_kernel_lost", "for row in range(3)", "for row in range(2)"),
        ("mean", "out.reshape(len(x), -1)", "out.mean((2, 3))"),
    ),
    *mutants(
        TWIN,
        _ENSEMBLE,
        "ensembled_score",
        ("at_the_threshold_too", " > threshold", " >= threshold"),
        ("turned_round", " > threshold", " < threshold"),
        ("threshold_of_the_sum", "threshold * scores.shape[1]", "threshold"),
        ("a_half_whatever_is_asked", "threshold * scores", "0.5 * scores"),
        ("second_greatest", "live * (scores.shape[1] - 1)", "live * max(scores.shape[1] - 2, 0)"),
        ("always_the_greatest", "live * (", "(live | ~live) * ("),
        ("always_the_least", "live * (", "(live & ~live) * ("),
        ("not_sorted", "scores.sort(dim=1).values", "scores"),
        ("sorted_over_samples", "sort(dim=1)", "sort(dim=0)"),
        ("the_batchs_mean", "scores.sum(dim=1)", "scores.sum(dim=1).mean()"),
    ),
    *mutants(
        TWIN,
        _CASCADE,
        "cascaded_score",
        ("doubtful_at_the_edge", " < 0.5 - certain", " <= 0.5 - certain"),
        ("certain_in_the_middle", " < 0.5 - certain", " > 0.5 - certain"),
        ("certainty_ignored", "0.5 - certain", "0.5"),
        ("twice_as_certain", "0.5 - certain", "0.5 - 2 * certain"),
        ("attacks_alone_are_certain", "(depth - 0.5).abs()", "(0.5 - depth)"),
        ("spoof_at_a_half", "ir >= 0.5", "ir > 0.5"),
        ("infrareds_spoof_is_averaged", "0.5, 1.0)", "0.5, 0.5)"),
        ("infrareds_live_is_believed", "0.5, 1.0)", "1.0, 1.0)"),
        ("branches_swapped", "0.5, 1.0)", "1.0, 0.5)"),
        ("depth_for_infrared", "lerp(depth, ir, weight)", "lerp(depth, depth, weight)"),
        ("weights_turned", "lerp(depth, ir, weight)", "lerp(ir, depth, weight)"),
    ),
]

OURS: list[Mutant] = [
    *_ours(
        "focal_loss",
        ("doubt_without_gradient", "torch.exp(-surprise)", "torch.exp(-surprise.detach())"),
        ("probability_clamped", "torch.exp(-surprise)", "torch.exp(-surprise).clamp(0.05, 0.95)"),
        tests=_FOCAL,
    ),
    *_ours("streaming_module", ("pooled", ".flatten(1)", ".mean((2, 3))"), tests=_STREAMING),
    *_ours("ensembled_score", ("mean_instead", "scores.amax(1)", "scores.mean(1)"), tests=_ENSEMBLE),
    *_ours("cascaded_score", ("infrared_first", "depth, second)", "ir, second)"), tests=_CASCADE),
    *_ours(
        "FeatherNet.__init__",
        ("excitation_of_16", "REDUCTION)", "16 // 2 * 2)"),
        ("shortcuts_in_a", 'if variant == "B"', 'if variant == "A"'),
        ("plain_last_convolution", "3, groups=width, bias=False)", "3, bias=False)"),
        ("bias_in_the_streaming_module", "groups=width, bias=False)", "groups=width)"),
        ("excitation_after_the_first_block", "range(blocks - 1)", "range(blocks)"),
        ("classifier_in_the_released_network", '== "linear"', '!= ""'),
        ("torchs_initial_weights", "self.apply(initialise)", "self.modules()"),
        ("stride_everywhere", "expansion, 1, nn.Identity()", "expansion, 2, nn.Identity()"),
        ("no_skip_in_later_blocks", "expansion, 1, nn.Identity()", "expansion, 1, None"),
    ),
    *_ours(
        "initialise",
        ("fan_in", "module.out_channels", "module.in_channels"),
        ("linear_as_convolutions", "module.weight, 0, 0.01", "module.weight, 0, 0.1"),
    ),
    *_ours("halving_shortcut", ("odd_maps_cut", "2, ceil_mode=True", "2")),
    *_ours(
        "halving_shortcut",
        (
            "normalised_behind",
            "pool, nn.BatchNorm2d(before), nn.Conv2d(before, after, 1, bias=False)",
            "pool, nn.Conv2d(before, after, 1, bias=False), nn.BatchNorm2d(after)",
        ),
    ),
    *_ours(
        "InvertedResidual.__init__",
        ("relu", "groups=inner), nn.ReLU6()]", "groups=inner), nn.ReLU()]"),
        ("relu_in_the_widening", "inner), nn.ReLU6()] if", "inner), nn.ReLU()] if"),
        ("rectified_at_the_end", "*convolution(inner, after))", "*convolution(inner, after), nn.ReLU6())"),
        ("stride_in_the_narrowing", "inner, 3, stride, groups=inner", "inner, 3, 1, groups=inner"),
    ),
    *_ours("InvertedResidual.forward", ("shortcut_lost", "self.shortcut(x) + self.body(x)", "self.body(x)")),
    *_ours(
        "FeatherNets.forward",
        ("infrared_is_depth", '"infrared": ir', '"infrared": depth'),
        ("normalised_in_the_wrong_range", "(images[name] + 1) / 2", "images[name]"),
        ("bytes", "(images[name] + 1) / 2", "127.5 * (images[name] + 1)"),
    ),
    *_ours(
        "fused_score",
        ("class_0_is_bona_fide", "[:, 1] for", "[:, 0] for"),
        ("last_class_is_bona_fide", "[:, 1] for", "[:, -1] for"),
        ("two_of_all_logits", "at_least_float32(logits).softmax(1)", "at_least_float32(logits)[:, :2].softmax(1)"),
        ("sigmoid", "softmax(1)", "sigmoid()"),
        ("geometric_mean", "scores.mean(1)", "scores.prod(1).sqrt()"),
        ("cascade_begins_with_infrared", "scores[:, 0], scores[:, 1], options", "scores[:, 1], scores[:, 0], options"),
        ("threshold_for_certainty", "options.certain", "options.threshold"),
    ),
    *_ours(
        "Method.losses",
        ("attack_is_class_1", "batch.bonafide", "batch.label.long()"),
        ("infrared_untrained", "torch.stack([*parts.values()]).sum()", 'parts["depth"]'),
        ("mean_of_both", "torch.stack([*parts.values()]).sum()", "torch.stack([*parts.values()]).mean()"),
        ("cross_entropy", "self.options.gamma", "0"),
    ),
    *_ours("Method.predict", ("infrared_whole", "ir=central(batch.ir)", "ir=batch.ir")),
    *_ours("Method.sampler", ("always_balanced", '== "balanced"', '!= ""')),
    *_ours(
        "Method.views",
        ("boxes_of_their_own", "cropped(ir, boxes)", "cropped(ir, boxes[::-1])"),
        ("depth_not_shifted", "depth + shifts", "depth"),
        ("rows_for_all", "self.options.lighting, self.draws", '"rows", self.draws'),
        ("whole_where_a_crop_is_asked", 'if self.options.crop == "random"', 'if self.options.crop == "whole"'),
    ),
    *_ours(
        "Method.schedule",
        ("cosine_for_all", '== "cosine"', '!= ""'),
        ("a_half", "decay_every, 0.1", "decay_every, 0.5"),
        ("an_epoch_early", "training.epoch,", "training.epoch + 1,"),
    ),
    *_ours(
        "random_boxes",
        ("area_of_the_side", "0.08 + 0.92", "0.28 + 0.72"),
        ("all_wide", "2 * lots[..., 1] - 1", "lots[..., 1]"),
        ("last_that_fits", ".argmax(1)", ".flip(1).argmax(1)"),
        ("corner_of_the_centre", "(places * (size + 1 - sides)).long()", "(size - sides) // 2"),
        ("one_short", "size + 1 - sides", "size - sides"),
        ("global_randomness", "10, 2, generator=draws", "10, 2"),
    ),
    *_ours(
        "cropped",
        ("sides_exchanged", "(y, z, height, width)", "(y, z, width, height)"),
        ("aligned_corners", "align_corners=False", "align_corners=True"),
    ),
    *_ours(
        "central",
        ("crop_without_enlarging", "round(size * 8 / 7)", "size"),
        ("corner", "(enlarged - size) // 2", "0"),
        ("aligned_corners", "align_corners=False", "align_corners=True"),
    ),
    *_ours(
        "colour_shifts",
        ("transposed_for_all", 'along == "rows"', "along"),
        ("order_of_directions", ".T.flip(1)", ".T"),
        ("in_unit_range", "2 * shifts[", "shifts["),
        ("ten_times_as_strong", "0.1 * torch.randn", "torch.randn"),
    ),
    *_ours(
        "Options.check",
        ("single_cell_taken", "least = 2 ** (1 + len(STAGES)) + 1", "least = 2 ** (1 + len(STAGES))"),
        ("infinite_gradient_taken", "1 <= self.gamma", "0 <= self.gamma"),
    ),
]
