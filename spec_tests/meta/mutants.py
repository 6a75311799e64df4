"""Single-bug variants of `independent.py`, and whether the suite names the right equation for each.

`python -m spec_tests.meta.mutants` prints the kill table and exits with 1 when a mutant survives, or falls only to
the tests of another equation. `--only NAME,NAME` runs some of them; `--list` lists them.
"""

from __future__ import annotations

import ast
import sys
import time
import types
from dataclasses import dataclass
from pathlib import Path

import pytest

from spec_tests.adapter import REGISTRY
from spec_tests.meta.forked import clean_processes, run_pytest

HERE = Path(__file__).parent
SOURCE = HERE.joinpath("independent.py").read_text(encoding="utf-8")
MODULE = "conformance_mutant"


@dataclass(frozen=True)
class Mutant:
    """`old` becomes `new` in `function`, and the tests of `equation` must fail."""

    equation: str
    name: str
    function: str
    old: str
    new: str

    def source(self) -> str:
        """The whole module with the one change; `ValueError` when `old` is not there exactly once."""
        node = next(n for n in ast.parse(SOURCE).body if isinstance(n, ast.FunctionDef) and n.name == self.function)
        text = ast.get_source_segment(SOURCE, node)
        if text.count(self.old) != 1:
            raise ValueError(f"{self.name}: {self.old!r} is {text.count(self.old)} times in {self.function}, not once")
        return SOURCE.replace(text, text.replace(self.old, self.new))


def of(equation: str, function: str, *changes: tuple[str, str, str]) -> list[Mutant]:
    return [Mutant(equation, name, function, old, new) for name, old, new in changes]


MUTANTS = [
    *of(
        "mmfas-eq1",
        "similarity",
        ("cosine_by_default_lost", "normalise=True", "normalise=False"),
        ("only_a_normalised", "b.pow(2).sum(-1).sqrt())", "torch.ones_like(b[:, 0]))"),
        ("norm_not_rooted", "b.pow(2).sum(-1).sqrt()", "b.pow(2).sum(-1)"),
        (
            "norm_of_columns",
            "/ torch.outer(a.pow(2).sum(-1).sqrt(), b.pow(2)",
            "/ a.norm(dim=0).norm() / torch.outer(torch.ones_like(a[:, 0]), b.pow(2)",
        ),
        ("transposed", '"ik,jk->ij"', '"ik,jk->ji"'),
        ("l1_norm", "a.pow(2).sum(-1).sqrt()", "a.abs().sum(-1)"),
        ("eps_added", "b.pow(2).sum(-1).sqrt())", "b.pow(2).sum(-1).sqrt() + 1e-6)"),
        ("b_detached", "a, b)\n", "a, b.detach())\n"),
        ("absolute", "return dots\n", "return dots.abs()\n"),
        ("normalised_in_place", "    if not normalise:", "    a /= a.norm(dim=1, keepdim=True)\n    if not normalise:"),
    ),
    *of(
        "mmfas-eq2",
        "match_probabilities",
        ("times_tau", "s / tau", "s * tau"),
        ("softmax_of_columns", "dim=1", "dim=0"),
        ("softmax_of_everything", "dim=1", "dim=(0, 1)"),
        ("sign", "s / tau", "-s / tau"),
        ("tau_ignored", "s / tau", "s / 1"),
        ("tau_detached", "s / tau", "s / (tau.detach() if isinstance(tau, torch.Tensor) else tau)"),
        (
            "overflows",
            "scaled - torch.logsumexp(scaled, dim=1, keepdim=True)",
            "scaled) / torch.exp(scaled).sum(1, keepdim=True",
        ),
        ("float32_inside", "s / tau", "s.float() / tau"),
        ("logs", "torch.exp(scaled", "(scaled"),
        ("tau_floored", "s / tau", "s / (tau + 1e-4)"),
    ),
    *of(
        "mmfas-eq3",
        "icl_loss",
        ("half_dropped", "0.5 * torch", "1.0 * torch"),
        ("mean_of_four", "0.5 * torch.stack(terms).sum()", "torch.stack(terms).mean()"),
        ("one_direction_twice", "dim=0", "dim=1"),
        ("sum_over_rows", "(scaled.logsumexp(dim=1) - own).mean()", "(scaled.logsumexp(dim=1) - own).sum()"),
        ("infrared_left_out", "(f_depth, f_ir)", "(f_depth, f_depth)"),
        ("not_normalised", "normalise) / tau", "False) / tau"),
        ("always_normalised", "normalise) / tau", "True) / tau"),
        ("times_tau", "normalise) / tau", "normalise) * tau"),
        ("other_detached", "f_rgb, other, n", "f_rgb, other.detach(), n"),
        ("depth_with_infrared", "similarity(f_rgb, other", "similarity(f_rgb if other is f_depth else f_depth, other"),
        ("target_shifted", "scaled.diagonal()", "scaled.roll(1, 1).diagonal()"),
        (
            "log_of_clamped",
            "(scaled.logsumexp(dim=1) - own).mean()",
            "-(own - scaled.logsumexp(dim=1)).exp().clamp_min(1e-12).log().mean()",
        ),
        ("normalise_default", "normalise=True", "normalise=False"),
    ),
    *of(
        "mmfas-eq4",
        "same_class",
        ("different", "torch.eq", "torch.ne"),
        ("both_spoof", "torch.eq(label_a, label_b)", "(label_a * label_b)"),
        ("bool", ".to(torch.int64)", ""),
        ("int32", "torch.int64", "torch.int32"),
    ),
    *of(
        "mmfas-eq4",
        "cm_loss",
        ("column_zero_is_same", "logits[:, 1] - logits[:, 0]", "logits[:, 0] - logits[:, 1]"),
        ("mean_of_kinds", "return loss", "return loss / 2"),
        ("sum_over_pairs", ".mean()", ".sum()"),
        ("second_kind_left_out", "(logits_ri, same_ri)", "(logits_rd, same_rd)"),
        ("pooled", ".mean()", ".sum() * 2 / (len(logits_rd) + len(logits_ri))"),
        ("clamped", "logsigmoid(margin)", "logsigmoid(margin.clamp(-100, 100))"),
        (
            "labels_crossed",
            "((logits_rd, same_rd), (logits_ri, same_ri))",
            "((logits_rd, same_ri[:1].expand(len(logits_rd))), (logits_ri, same_ri))",
        ),
        ("binary_of_one_column", "logits[:, 1] - logits[:, 0]", "logits[:, 1]"),
    ),
    *of(
        "mmfas-mining",
        "mine_pairs",
        ("negative_sign", "neg = gumbel_choice(s,", "neg = gumbel_choice(-s,"),
        ("positive_sign", "gumbel_choice(-s,", "gumbel_choice(s,"),
        ("diagonal_allowed", "same & ~itself", "same"),
        ("classes_swapped", "gumbel_choice(s, ~same", "gumbel_choice(s, same & ~itself"),
        ("transposed", "s = s.detach()", "s = s.detach().T"),
        ("normalised_over_columns", "s = s.detach()", "s = s.detach(); s = s - s.logsumexp(0, keepdim=True)"),
        ("positive_over_everything", "same & ~itself", "~itself"),
        ("pair_swapped", "return neg, pos", "return pos, neg"),
        ("global_seed", "s = s.detach()", "s = s.detach(); torch.manual_seed(0)"),
        ("halved_scores", "neg = gumbel_choice(s,", "neg = gumbel_choice(s / 2,"),
    ),
    *of(
        "mmfas-mining",
        "gumbel_choice",
        ("argmax", "logits.double() + noise", "logits.double() + 0 * noise"),
        ("uniform", "logits.double() + noise", "0 * logits.double() + noise"),
        ("leaked_randomness", "generator=generator, ", ""),
        ("same_noise_for_all_rows", "torch.rand(logits.shape", "torch.rand((1, logits.shape[1])"),
        ("generator_reset", "uniform = torch", "generator.manual_seed(1); uniform = torch"),
        ("no_minus_one", "torch.full_like(best, -1)", "best"),
        ("overflows", "logits.double() + noise", "logits.double().exp().log() + noise"),
        (
            "floor_of_1e-4",
            "logits.double() + noise",
            "(logits.double().masked_fill(~allowed, -math.inf).softmax(1) + 1e-4).log() + noise",
        ),
        ("second_best", ".argmax(dim=1)", ".argsort(dim=1)[:, -2:][:, 0]"),
    ),
    *of(
        "mmfas-shallow",
        "shallow_fusion",
        ("sum", "torch.lerp(rgb_1, rgb_2, 0.5)", "rgb_1 + rgb_2"),
        ("first_only", "0.5", "0.0"),
        ("maximum", "torch.lerp(rgb_1, rgb_2, 0.5)", "torch.maximum(rgb_1, rgb_2)"),
        ("in_place", "torch.lerp(rgb_1, rgb_2, 0.5)", "rgb_1.lerp_(rgb_2, 0.5)"),
        ("unequal", "0.5", "0.4999"),
    ),
    *of(
        "mmfas-eq5",
        "attention",
        ("scale_dropped", " / k.shape[-1] ** 0.5", ""),
        ("scale_not_rooted", "** 0.5", "** 1.0"),
        ("scale_of_values", "k.shape[-1]", "v.shape[-1]"),
        ("scale_of_tokens", "k.shape[-1]", "k.shape[-2]"),
        ("softmax_over_queries", "logsumexp(dim=-1", "logsumexp(dim=-2"),
        ("queries_as_keys", 'einsum("...td,...ud->...tu", q, k)', 'einsum("...td,...ud->...tu", k, q)'),
        (
            "causal",
            "    weights",
            "    logits = logits.masked_fill(torch.ones_like(logits).triu(1).bool(), -1e30)\n    weights",
        ),
        (
            "overflows",
            "torch.exp(logits - logits.logsumexp(dim=-1, keepdim=True))",
            "torch.exp(logits) / torch.exp(logits).sum(-1, keepdim=True)",
        ),
        ("scaled_in_place", "    logits = torch", "    q *= 1.5\n    logits = torch"),
        ("half_precision", "    weights", "    logits = logits.bfloat16().to(q.dtype)\n    weights"),
        ("eps_in_denominator", 'return torch.einsum("...tu', 'return 0.99999 * torch.einsum("...tu'),
    ),
    *of(
        "mmfas-eq6",
        "switch",
        ("shifts_right", "(layer + role) % 3", "(role - layer) % 3"),
        ("layers_from_one", "(layer + role) % 3", "(layer + role + 2) % 3"),
        ("modulo_two", "(layer + role) % 3", "(layer % 2 + role) % 3"),
        (
            "keys_and_values_swapped",
            "return tuple(streams[place] for place in places)",
            "return streams[places[0]], streams[places[2]], streams[places[1]]",
        ),
        ("order_ignored", "order[(", '"RDI"[('),
        ("order_inverted", '"RDI".index(order[(layer + role) % 3])', 'order.index("RDI"[(layer + role) % 3])'),
        ("never_switches", "(layer + role) % 3", "role"),
        ("default_order", 'order="RDI"', 'order="DIR"'),
        (
            "values_detached",
            "streams[place] for place in places)",
            "streams[place].detach() if n == 2 else streams[place] for n, place in enumerate(places))",
        ),
    ),
    *of(
        "mmfas-eq6",
        "switch_attention",
        ("streams_misplaced", "switch((rgb, depth, ir)", "switch((rgb, ir, depth)"),
        ("keys_and_values_swapped", "q_src, k_src, v_src =", "q_src, v_src, k_src ="),
        ("layer_off_by_one", "layer, order)", "layer + 1, order)"),
        ("order_dropped", "layer, order)", "layer)"),
        ("default_order", 'order="RDI"', 'order="IRD"'),
    ),
    *of(
        "mmfas-eq7",
        "switch_attention",
        ("scale_of_model", "math.sqrt(size)", "math.sqrt(width)"),
        ("scale_dropped", " / math.sqrt(size)", ""),
        ("heads_interleaved", "wq.reshape(heads, size, width))", "wq.reshape(size, heads, width).transpose(0, 1))"),
        (
            "value_heads_interleaved",
            "wv.reshape(heads, size, width))",
            "wv.reshape(size, heads, width).transpose(0, 1))",
        ),
        ("query_projection_not_transposed", "wq.reshape", "wq.T.reshape"),
        ("value_projection_not_transposed", "wv.reshape", "wv.T.reshape"),
        (
            "query_and_key_projections_swapped",
            'q_src, wq.reshape(heads, size, width))\n    k = torch.einsum("btd,hed->bhte", k_src, wk',
            'q_src, wk.reshape(heads, size, width))\n    k = torch.einsum("btd,hed->bhte", k_src, wq',
        ),
        ("joined_token_wise", '->bthe", weights, v)', '->bhte", weights, v)'),
        ("softmax_over_heads", "logsumexp(dim=-1", "logsumexp(dim=1"),
        ("softmax_over_queries", "logsumexp(dim=-1", "logsumexp(dim=2"),
        ("one_head", "size = width // heads", "heads = 1; size = width // heads"),
        (
            "keys_not_projected",
            "k_src, wk.reshape(heads, size, width))",
            "k_src, torch.eye(width).to(wk).reshape(heads, size, width))",
        ),
        ("projection_detached", "v_src, wv.reshape", "v_src, wv.detach().reshape"),
    ),
    *of(
        "mmfas-eq8",
        "switch_attention",
        ("output_not_transposed", '"btd,ed->bte"', '"btd,de->bte"'),
        ("bias_dropped", ", wo) + bo", ", wo)"),
        ("bias_for_every_head", ", wo) + bo", ", wo) + heads * bo"),
        ("bias_subtracted", ", wo) + bo", ", wo) - bo"),
        ("residual", ", wo) + bo", ", wo) + bo + q_src"),
        (
            "bias_before_projection",
            'return torch.einsum("btd,ed->bte", joined, wo) + bo',
            'return torch.einsum("btd,ed->bte", joined + bo, wo)',
        ),
        ("normalised_output", "joined, wo) + bo", "torch.nn.functional.normalize(joined, dim=-1), wo) + bo"),
        ("bias_detached", ", wo) + bo", ", wo) + bo.detach()"),
        ("no_output_projection", 'return torch.einsum("btd,ed->bte", joined, wo) + bo', "return joined + bo"),
    ),
    *of(
        "mmfas-eq9",
        "total_loss",
        ("weights_swapped", "alpha * icl + beta * cm", "beta * icl + alpha * cm"),
        ("alpha_on_bce", "bce + alpha", "alpha * bce + alpha"),
        ("beta_default", "beta=1.0", "beta=0.5"),
        ("icl_left_out", "alpha * icl", "0 * icl"),
        ("icl_detached", "alpha * icl", "alpha * icl.detach()"),
        (
            "averaged",
            "return bce + alpha * icl + beta * cm",
            "return (bce + alpha * icl + beta * cm) / (1 + alpha + beta)",
        ),
        ("minus", "+ beta", "- beta"),
    ),
    *of(
        "mmda-eq1",
        "domain_partner",
        ("first_for_random", "lots.masked_fill(~same, -1.0)", "same.to(torch.int64)"),
        ("itself_excluded", "~same, -1.0)", "~same, -1.0).masked_fill(torch.eye(b, device=same.device).bool(), -0.5)"),
        ("domain_ignored", "lots.masked_fill(~same, -1.0)", "lots"),
        ("one_draw_for_all", "torch.rand(b, b,", "torch.rand(1, b,"),
        ("leaked_randomness", "generator=generator, ", ""),
        (
            "last_for_first",
            "return same.to(torch.int64).argmax(dim=1)",
            "return b - 1 - same.to(torch.int64).flip(1).argmax(dim=1)",
        ),
        ("first_of_the_batch", "return same.to(torch.int64).argmax(dim=1)", "return torch.zeros_like(domains)"),
        ("default_rule", 'rule="random"', 'rule="first"'),
        (
            "squared_odds",
            "lots.masked_fill",
            "(lots * torch.linspace(1, 0.9, b, dtype=lots.dtype, device=lots.device)).masked_fill",
        ),
        ("reseeded", "lots = torch", "generator.manual_seed(5); lots = torch"),
    ),
    *of(
        "mmda-eq2",
        "lambda_full",
        ("plus", ".exp() - (", ".exp() + ("),
        ("start_dropped", " + lambda_init", ""),
        ("start_subtracted", "+ lambda_init", "- lambda_init"),
        ("mean_of_products", "(lq1 * lk1).sum()", "(lq1 * lk1).mean()"),
        ("crossed", "(lq1 * lk1)", "(lq1 * lk2)"),
        ("no_exponential", "(lq2 * lk2).sum().exp()", "(lq2 * lk2).sum()"),
    ),
    *of(
        "mmda-eq2",
        "differential_attention",
        ("plus", "- lam", "+ lam"),
        ("lambda_on_the_first", "attend(q, k) - lam * attend", "lam * attend(q, k) - attend"),
        ("root_of_the_temperature", "/ temperature", "/ temperature**0.5"),
        ("temperature_multiplied", "/ temperature", "* temperature"),
        ("scale_of_heads", "/ temperature", "/ queries.shape[-1] ** 0.5"),
        ("domain_queries_only", "attend(q_dom, k_dom)", "attend(q_dom, k)"),
        ("own_map_twice", "attend(q_dom, k_dom)", "attend(q, k)"),
        ("domain_swapped", "attend(q_dom, k_dom)", "attend(k_dom, q_dom)"),
        ("softmax_over_queries", "dim=-1", "dim=-2"),
        ("rescaled", 'return torch.einsum("bhtu,', 'return (1 - lam) * torch.einsum("bhtu,'),
        ("lambda_detached", "lam * attend", "(lam.detach() if isinstance(lam, torch.Tensor) else lam) * attend"),
        ("lambda_clamped", "lam * attend", "max(lam, 0) * attend"),
        (
            "difference_before_softmax",
            "attend(q, k) - lam * attend(q_dom, k_dom)",
            "attend(q - lam * q_dom, k - lam * k_dom)",
        ),
        ("rectified", "attend(q_dom, k_dom)\n", "attend(q_dom, k_dom)\n    difference = difference.relu()\n"),
    ),
    *of(
        "mmda-eq3",
        "alignment_logits",
        ("mean_for_max", 'cosines.amax(dim=1) if pooling == "max"', 'cosines.mean(dim=1) if pooling == "max"'),
        ("default_pooling", 'pooling="max"', 'pooling="mean"'),
        ("min_for_max", "amax", "amin"),
        (
            "cosine_of_mean",
            "cosines.mean(dim=1)",
            "cosines.new_tensor(0) + torch.cosine_similarity(v, texts.mean(0, keepdim=True))",
        ),
        ("dot_products", "/ lengths", "/ 1"),
        ("captions_not_normalised", "texts.norm(dim=1)", "torch.ones_like(texts[:, 0])"),
        ("scale_dropped", " * scale", ""),
        ("scale_divided", "* scale", "/ scale"),
        ("scale_exponentiated", "* scale", "* math.exp(float(scale) / 50)"),
        ("classes_reversed", "in captions:", "in reversed(captions):"),
        ("log_sum_exp", "cosines.amax(dim=1)", "cosines.logsumexp(dim=1)"),
        ("sum_for_mean", "cosines.mean(dim=1)", "cosines.sum(dim=1)"),
        ("max_over_batch", "cosines.amax(dim=1)", "cosines.amax().expand(len(v))"),
        ("captions_detached", "v, texts) /", "v, texts.detach()) /"),
        ("distance", "cosines.amax(dim=1)", "(cosines - 1).amax(dim=1)"),
    ),
    *of(
        "mmda-eq4",
        "smooth_targets",
        ("released_as_normalised (M2)", "eps / classes if normalised else eps", "eps"),
        ("normalised_as_released", "eps / classes if normalised else eps", "eps / classes"),
        ("over_other_classes", "eps / classes", "eps / (classes - 1)"),
        ("default_eps", "eps=0.1", "eps=0.2"),
        ("default_rule", "normalised=True", "normalised=False"),
        ("default_classes", "classes=2", "classes=3"),
        ("own_class_keeps_one", "= 1 - eps", "= 1"),
        ("always_two", "eps / classes if", "eps / 2 if"),
        ("classes_reversed", "device=labels.device), labels]", "device=labels.device), classes - 1 - labels]"),
    ),
    *of(
        "mmda-eq4",
        "soft_cross_entropy",
        ("sum_over_rows", " / len(logits)", ""),
        ("mean_over_everything", "/ len(logits)", "/ logits.numel()"),
        ("sign", "return -torch", "return torch"),
        ("targets_renormalised", "targets, log_p", "targets / targets.sum(-1, keepdim=True).clamp_min(1e-9), log_p"),
        ("softmax_over_batch", "dim=-1", "dim=0"),
        ("no_log_softmax", "logits - logits.logsumexp(dim=-1, keepdim=True)", "logits"),
        (
            "probabilities_clamped",
            "logits - logits.logsumexp(dim=-1, keepdim=True)",
            "logits.softmax(-1).clamp_min(1e-8).log()",
        ),
        ("hard_targets", "targets, log_p", "torch.eye(targets.shape[1]).to(targets)[targets.argmax(1)], log_p"),
        ("targets_detached", "targets, log_p", "targets.detach(), log_p"),
    ),
    *of(
        "mmda-eq5",
        "text_targets",
        ("classes_swapped", "[spoof, real]", "[real, spoof]"),
        ("default_eps", "eps=0.1", "eps=0.05"),
        ("released_visual_targets", "[1 - eps, eps], [eps, 1 - eps]", "[1.0, eps], [eps, 1.0]"),
        ("eps_halved", "[1 - eps, eps], [eps, 1 - eps]", "[1 - eps / 2, eps / 2], [eps / 2, 1 - eps / 2]"),
        ("hard", "[1 - eps, eps], [eps, 1 - eps]", "[1.0, 0.0], [0.0, 1.0]"),
    ),
    *of(
        "mmda-eq6",
        "rs2_loss",
        ("mean_of_states", ".sum() +", ".mean() +"),
        ("text_left_out", "+ text_cls", "+ 0 * text_cls"),
        ("last_state_left_out", "list(align_losses)", "list(align_losses)[: max(1, len(align_losses) - 1)]"),
        ("halved", "visual_cls + text_cls", "0.5 * (visual_cls + text_cls)"),
        ("visual_detached", "visual_cls +", "visual_cls.detach() +"),
        ("classification_swapped_sign", "+ text_cls", "- text_cls"),
    ),
    *of(
        "mmda-eq7",
        "u_dsa",
        ("default_rule", 'rule="chained"', 'rule="released"'),
        ("rules_swapped", 'rule == "chained"', 'rule != "chained"'),
        ("no_skip", "states[place] + remap", "remap"),
        ("remaps_reversed", "remap[place]", "remap[depth - 1 - place]"),
        ("remap_off_by_one", "states[place] + remap[place]", "states[place] + remap[max(place - 1, 0)]"),
        ("adapts_reversed", "in adapt:", "in reversed(adapt):"),
        ("reads_the_start", "layer(states[-1])", "layer(v0)"),
        ("deepest_repeated", "    for step,", "    states.append(states[-1])\n    for step,"),
        ("skip_of_the_wrong_level", "states[place] + remap", "states[place + 1] + remap"),
        ("released_reads_its_own_level", "else states[place + 1]", "else states[place]"),
        ("up_path_reversed", "    return states", "    return states[: depth + 1] + states[depth + 1 :][::-1]"),
        ("start_left_out", "    return states", "    return states[1:] if depth else states"),
        ("adapt_with_residual", "layer(states[-1])", "states[-1] + layer(states[-1])"),
        ("empty_for_no_layers", "    return states", "    return states if depth else []"),
    ),
    *of(
        "metrics-far_frr",
        "far_frr",
        ("strict (M10)", 'attacks, threshold, side="left"', 'attacks, threshold, side="right"'),
        ("rejects_equal (M10)", 'genuine, threshold, side="left"', 'genuine, threshold, side="right"'),
        ("swapped", "float(far), float(frr)", "float(frr), float(far)"),
        ("share_of_all", 'side="left") / len(genuine)', 'side="left") / (len(genuine) + len(attacks))'),
        (
            "sign (M10)",
            '(len(attacks) - np.searchsorted(attacks, threshold, side="left"))',
            'np.searchsorted(attacks, threshold, side="left")',
        ),
    ),
    *of(
        "metrics-eer",
        "eer",
        ("bona_fide_scores_only", "np.concatenate((genuine, attacks))", "genuine"),
        ("ties_by_threshold_only", "(grid, far + frr, np", "(grid, np"),
        ("ties_by_greatest_threshold (M10)", "(grid, far", "(-grid, far"),
        ("ties_by_greatest_sum", "far + frr, np", "-far - frr, np"),
        ("far_only", "(far[best] + frr[best]) / 2", "far[best]"),
        ("youden", "np.abs(far - frr)", "far + frr"),
        ("strict (M10)", 'attacks, grid, side="left"', 'attacks, grid, side="right"'),
        (
            "binned (M11)",
            "np.append(np.unique(np.concatenate((genuine, attacks))), np.inf)",
            "np.linspace(min(genuine[0], attacks[0]), max(genuine[-1], attacks[-1]), 5)",
        ),
        ("rate_is_the_gap", "(far[best] + frr[best]) / 2", "abs(far[best] - frr[best])"),
        (
            "midpoints",
            "np.unique(np.concatenate((genuine, attacks)))",
            "np.unique(np.concatenate((genuine, attacks))) - 1e-9",
        ),
    ),
    *of(
        "metrics-hter",
        "hter",
        ("sum", ") / 2", ")"),
        (
            "accuracy",
            "(np.mean(attacks >= threshold) + np.mean(genuine < threshold)) / 2",
            "(np.sum(attacks >= threshold) + np.sum(genuine < threshold)) / (len(attacks) + len(genuine))",
        ),
        ("strict (M10)", "attacks >= threshold", "attacks > threshold"),
        ("rejects_equal (M10)", "genuine < threshold", "genuine <= threshold"),
        (
            "own_threshold (M9)",
            "genuine, attacks = split(scores, bonafide)",
            "genuine, attacks = split(scores, bonafide); threshold = eer(scores, bonafide)[1]",
        ),
    ),
    *of(
        "metrics-auc",
        "auc",
        ("ties_lose", "(below + upto).sum()", "(2 * below).sum()"),
        ("ties_win", "(below + upto).sum()", "(2 * upto).sum()"),
        ("reversed", "return float((", "return 1 - float(("),
        (
            "folded",
            "return float((below + upto).sum() / (2 * len(genuine) * len(attacks)))",
            "area = float((below + upto).sum() / (2 * len(genuine) * len(attacks))); return max(area, 1 - area)",
        ),
        ("divided_by_all", "(2 * len(genuine) * len(attacks))", "(2 * len(genuine) * (len(attacks) + 1))"),
    ),
    *of(
        "metrics-threshold_at_bpcer",
        "threshold_at_bpcer",
        ("below_bpcer", "frr <= bpcer", "frr < max(bpcer, 1e-300)"),
        ("smallest", "[-1]", "[0]"),
        (
            "no_infinity",
            "np.append(np.unique(np.concatenate((genuine, attacks))), np.inf)",
            "np.unique(np.concatenate((genuine, attacks)))",
        ),
        (
            "attacks_rejected",
            'np.searchsorted(genuine, grid, side="left") / len(genuine)',
            'np.searchsorted(attacks, grid, side="left") / len(attacks)',
        ),
        ("rejects_equal (M10)", 'genuine, grid, side="left"', 'genuine, grid, side="right"'),
        ("quantile", "return float(grid[frr <= bpcer][-1])", "return float(np.quantile(genuine, bpcer))"),
    ),
    *of(
        "metrics-apcer",
        "apcer",
        ("pooled", "(accepted / np.bincount(which)).tolist()", "[accepted.sum() / len(which)] * len(names)"),
        ("strict (M10)", "scores >= threshold", "scores > threshold"),
        ("rejected", "scores >= threshold", "scores < threshold"),
        ("share_of_all", "accepted / np.bincount(which)", "accepted / len(which)"),
        ("counts", "accepted / np.bincount(which)", "accepted"),
    ),
    *of(
        "metrics-acer",
        "acer",
        (
            "mean_of_families",
            "max(apcer(scores[attacks], families[attacks], threshold).values())",
            "float(np.mean(list(apcer(scores[attacks], families[attacks], threshold).values())))",
        ),
        (
            "pooled",
            "max(apcer(scores[attacks], families[attacks], threshold).values())",
            "float(np.mean(scores[attacks] >= threshold))",
        ),
        ("bpcer_never_counted (M8)", "float(np.mean(genuine < threshold))", "0"),
        ("bona_fide_families_counted", "scores[attacks], families[attacks], threshold", "scores, families, threshold"),
        ("sum", "threshold))) / 2", "threshold)))"),
        ("rejects_equal (M10)", "genuine < threshold", "genuine <= threshold"),
        ("min_of_families", "worst = max", "worst = min"),
    ),
    *of(
        "metrics-eer",
        "checked",
        ("not_finite_accepted", "if not np.isfinite(scores).all()", "if False"),
        ("infinite_accepted", "if not np.isfinite(scores).all()", "if np.isnan(scores).any()"),
    ),
    *of(
        "metrics-far_frr",
        "checked",
        ("lengths_not_compared", "if len(scores) != len(other)", "if False"),
    ),
    *of(
        "metrics-apcer",
        "checked",
        ("empty_accepted", "if len(scores) == 0", "if False"),
    ),
    *of(
        "metrics-auc",
        "split",
        ("one_class_accepted", "if len(attacks) == 0", "if False"),
        (
            "sorted_in_place",
            "    scores, bonafide = checked(scores, bonafide)",
            "    scores.sort()\n    scores, bonafide = checked(scores, bonafide)",
        ),
    ),
]


class Watch:
    """A pytest plugin that keeps the tests of some equations and notes which equations fail."""

    def __init__(self, equations: set[str]) -> None:
        self.equations = equations
        self.failed: list[str] = []
        self.ran = 0

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list) -> None:
        items[:] = [i for i in items if i.get_closest_marker("equation").args[0] in self.equations]

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.ran += report.when == "call"
        if report.failed:
            self.failed.append(dict(report.user_properties)["equation"])


def failures(equations: set[str]) -> list[str]:
    """The equations whose tests fail for the module under `MODULE`, the first failure ending the run."""
    watch = Watch(equations)
    files = sorted({str(HERE.parent / e["tests"]) for e in REGISTRY if e["id"] in equations})
    status, printed = run_pytest(["-x", f"--implementation={MODULE}", "--hypothesis-profile=quick", *files], [watch])
    if status not in (0, 1) or not watch.ran:
        raise RuntimeError(f"pytest ended with {status}:\n{printed}")
    return watch.failed


def killed_by_its_own(mutant: Mutant) -> bool:
    """Put the mutant in the place of `MODULE` and run its own equation's tests. For a process of its own."""
    module = types.ModuleType(MODULE)
    exec(compile(mutant.source(), MODULE, "exec"), module.__dict__)
    sys.modules[MODULE] = module
    return bool(failures({mutant.equation}))


def verdict(mutant: Mutant) -> tuple[str, float]:
    """("killed", "survived" or "killed by <another equation>", seconds). For a process of its own."""
    began = time.perf_counter()
    if killed_by_its_own(mutant):
        return "killed", time.perf_counter() - began
    others = failures({e["id"] for e in REGISTRY} - {mutant.equation})
    return f"killed by {others[0]}" if others else "survived", time.perf_counter() - began


def main(arguments: list[str]) -> int:
    """Run the mutants, print the kill table, and return 1 unless the right equation killed every one."""
    chosen = MUTANTS
    if arguments[:1] == ["--list"]:
        print("\n".join(f"{m.equation} {m.function} {m.name}" for m in chosen))
        return 0
    if arguments:
        if arguments[0] != "--only" or len(arguments) != 2:
            print("usage: python -m spec_tests.meta.mutants [--list | --only EQUATION:NAME,…]", file=sys.stderr)
            return 2
        names = set(arguments[1].split(","))
        chosen = [m for m in MUTANTS if f"{m.equation}:{m.name}" in names]
        unknown = names - {f"{m.equation}:{m.name}" for m in chosen}
        if unknown:
            print(f"error: no mutant is called {', '.join(sorted(unknown))}; see --list", file=sys.stderr)
            return 2
    for mutant in chosen:
        compile(mutant.source(), mutant.name, "exec")
    killed = 0
    began = time.perf_counter()
    with clean_processes() as in_clean_process:
        for mutant, (outcome, seconds) in zip(chosen, in_clean_process(verdict, chosen), strict=True):
            killed += outcome == "killed"
            line = f"{mutant.equation:<27} {mutant.function:<23} {mutant.name:<36} {outcome:<10} {seconds:5.1f} s"
            print(line, flush=True)
    print(
        f"{killed} of {len(chosen)} mutants killed by their own equation's tests; {time.perf_counter() - began:.0f} s"
    )
    return 0 if killed == len(chosen) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
