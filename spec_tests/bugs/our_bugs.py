"""Single bugs of reference/: of its equations, and of how networks, losses and training are wired from them; and of
how paper_tables/ measures what MMDA's released script measures.

(M1) to (M12) mark the twelve that were found in published code of this field.
"""

# ruff: noqa: E501 — a piece of code that replaces another stays in one piece

from __future__ import annotations

from spec_tests.bugs import disk, of_rows, scale, score_files, tables
from spec_tests.bugs.campaign import Mutant, mutants


def mmfas(function: str, *changes: tuple[str, str, str], tests: str = "test_mmfas_model.py") -> list[Mutant]:
    return mutants("reference.mmfas", tests, function, *changes)


def in_mmfas_model(*names: str) -> str:
    return " ".join(f"test_mmfas_model.py::test_{name}" for name in names)


NETWORK = in_mmfas_model(
    "the_network_is_the_one_written_down",
    "parameter_counts_are_those_of_table_2",
    "a_score_depends_on_its_own_sample_alone",
)
CROSS, MERGE = (in_mmfas_model(f"the_network_is_the_one_written_down[{f}]") for f in ("cross", "merge"))
TRAINING = in_mmfas_model("training_is_what_is_written_down")
LOSSES = in_mmfas_model(
    "alignment_is_equations_3_and_4_of_the_mined_pairs",
    "alignment_teaches_features_predictors_and_temperature",
    "both_ways_mines_negatives_for_every_row_and_every_column",
    "random_pairs_come_from_the_generator",
    "pairs_of_each_composition",
    "the_hardest_pairs_are_the_extremes",
    "alignment_in_parts_is_alignment_of_the_whole",
    "matching_predictors_are_two_or_one",
    "the_contrastive_loss_can_be_left_out",
    "temperature_readings_part_ways",
    "a_batch_of_one_class_leaves_anchors_out_and_stays_finite",
    "every_reading_trains_and_is_not_the_default",
)


def mmda(function: str, *changes: tuple[str, str, str], tests: str = "test_mmda_model.py") -> list[Mutant]:
    return mutants("reference.mmda", tests, function, *changes)


def brightness(function: str, *changes: tuple[str, str, str]) -> list[Mutant]:
    return mutants("reference.brightness", "test_brightness.py", function, *changes)


def metrics(equation: str, function: str, *changes: tuple[str, str, str]) -> list[Mutant]:
    return mutants("reference.metrics", equation, function, *changes)


EQUATIONS = [
    *mmfas(
        "similarity",
        ("columns_normalised", "F.normalize(a, dim=-1)", "F.normalize(a, dim=0)"),
        ("short_rows_kept_short", "F.normalize(b, dim=-1)", "F.normalize(b, dim=-1, eps=0.1)"),
        tests="mmfas-eq1",
    ),
    *mmfas("match_probabilities", ("over_columns", "dim=-1", "dim=0"), tests="mmfas-eq2"),
    *mmfas(
        "icl_loss",
        ("half_dropped", ") / 2\n", ")\n"),
        ("one_direction_twice", "_matching_entropy(s.T", "_matching_entropy(s"),
        ("tau_detached", ".expand(2)", ".expand(2).detach()"),
        ("infrared_left_out", "(f_ir, tau_ir)", "(f_depth, tau_ir)"),
        tests="mmfas-eq3",
    ),
    *mmfas("_matching_entropy", ("sum_over_rows", "diagonal().mean()", "diagonal().sum()"), tests="mmfas-eq3"),
    *mmfas("same_class", ("both_spoof", "label_a == label_b", "label_a * label_b"), tests="mmfas-eq4"),
    *mmfas("cm_loss", ("mean_of_kinds", "return loss", "return loss / 2"), tests="mmfas-eq4"),
    *mmfas(
        "mine_pairs",
        ("positives_drawn_as_negatives", "draw(-s, positive)", "draw(s, positive)"),
        ("leaked_randomness", "one_of_each_row(p, generator)", "one_of_each_row(p, None)"),
        ("hardest_only", "one_of_each_row(p, generator)", "p.argmax(-1)"),
        (
            "draws_from_the_mean_row",
            "one_of_each_row(p,",
            "one_of_each_row(p.mean(0, keepdim=True).expand_as(p),",
        ),
        tests="mmfas-mining",
    ),
    *mmfas("_candidates", ("own_row_allowed", "same & ~own", "same"), tests="mmfas-mining"),
    *mmfas("shallow_fusion", ("sum", " / 2", ""), tests="mmfas-shallow"),
    *mmfas(
        "attention",
        ("scale_of_the_model (M5)", "math.sqrt(k.shape[-1])", "math.sqrt(6 * k.shape[-1])"),
        ("softmax_over_queries", "dim=-1", "dim=-2"),
        tests="mmfas-eq5",
    ),
    *mmfas(
        "switch",
        ("shifts_right", "layer % 3", "-layer % 3"),
        ("keys_and_values_swapped", "q, k, v = (", "q, v, k = ("),
        tests="mmfas-eq6",
    ),
    *mmfas(
        "switch_attention",
        ("layer_off_by_one", "layer, order)", "layer + 1, order)"),
        ("depth_and_infrared_swapped", "(rgb, depth, ir)", "(rgb, ir, depth)"),
        tests="mmfas-eq6",
    ),
    *mmfas(
        "multi_head",
        (
            "heads_interleaved",
            "unflatten(-1, (heads, -1)).transpose(-3, -2)",
            "unflatten(-1, (-1, heads)).movedim(-1, -3)",
        ),
        ("keys_through_the_values_map", "split(k_src, wk)", "split(k_src, wv)"),
        tests="mmfas-eq7",
    ),
    *mmfas("multi_head", ("bias_dropped", "flatten(-2), wo, bo)", "flatten(-2), wo)"), tests="mmfas-eq8"),
    *mmfas("total_loss", ("weights_swapped", "alpha * icl + beta * cm", "beta * icl + alpha * cm"), tests="mmfas-eq9"),
    *mmda(
        "domain_partner",
        ("first_for_random (M4)", 'if rule == "first"', 'if rule != "self"'),
        (
            "only_others",
            "one_of_each_row(same.float()",
            "one_of_each_row((same & ~torch.eye(len(rows)).bool()).float() + 1e-30",
        ),
        tests="mmda-eq1",
    ),
    *mmda(
        "differential_attention",
        ("sign", "- lam *", "+ lam *"),
        ("scale_of_a_head (M5)", "(-2, -1) / temperature", "(-2, -1) / math.sqrt(q.shape[-1])"),
        ("domain_keys_only", "attend(q_dom, k_dom)", "attend(q, k_dom)"),
        tests="mmda-eq2",
    ),
    *mmda("lambda_full", ("pairs_added", "- torch.exp(", "+ torch.exp("), tests="mmda-eq2"),
    *mmda(
        "alignment_logits",
        ("mean_for_max", 'if pooling == "max"', 'if pooling == "mean"'),
        ("captions_as_long_as_they_are", "F.normalize(t, dim=-1)", "t"),
        tests="mmda-eq3",
    ),
    *mmda("smooth_targets", ("sums_to_1.1 (M2)", "eps / classes if normalised", "eps if normalised"), tests="mmda-eq4"),
    *mmda("soft_cross_entropy", ("mean_over_classes_too", ".sum(-1).mean()", ".mean()"), tests="mmda-eq4"),
    *mmda("text_targets", ("as_released_for_faces", "eps * (1 - hot)", "eps"), tests="mmda-eq5"),
    *mmda("rs2_loss", ("visual_twice", "visual_cls + text_cls", "visual_cls + visual_cls"), tests="mmda-eq6"),
    *mmda(
        "u_dsa",
        ("released_for_chained", 'if rule == "chained"', 'if rule != "chained"'),
        ("skip_off_by_one", "down[place] + remap", "down[place + 1] + remap"),
        ("deepest_state_twice", "down + up[1:]", "down + up"),
        tests="mmda-eq7",
    ),
    *metrics(
        "metrics-far_frr",
        "far_frr",
        ("strict (M10)", "attack >= t", "attack > t"),
        ("rejects_equal (M10)", "live < t", "live <= t"),
    ),
    *metrics(
        "metrics-eer",
        "eer",
        ("greatest_threshold_of_a_tie (M10)", "rejected * n_attack, t\n", "rejected * n_attack, -t\n"),
        (
            "sum_of_rates_ignored (M10)",
            "abs(difference(t)), accepted * n_live + rejected * n_attack, t",
            "abs(difference(t)), t",
        ),
        ("thresholds_of_bona_fide", "for ordered in (live, attack):", "for ordered in (live,):"),
        (
            "binned (M11)",
            "best = min(candidates",
            "candidates = np.linspace(min(live[0], attack[0]), max(live[-1], attack[-1]), 5).tolist()\n"
            "    best = min(candidates",
        ),
        ("rates_unweighted", "accepted * n_live - rejected * n_attack", "accepted - rejected"),
    ),
    *metrics(
        "metrics-hter",
        "hter",
        (
            "own_threshold (M9)",
            "far_frr(scores, bonafide, threshold)",
            "far_frr(scores, bonafide, eer(scores, bonafide)[1])",
        ),
        ("sum", " / 2", ""),
    ),
    *metrics("metrics-auc", "auc", ("ties_lose", "int(below) + int(not_above)", "2 * int(below)")),
    *metrics(
        "metrics-threshold_at_bpcer",
        "threshold_at_bpcer",
        ("below_the_rate (M10)", 'bpcer, side="right"', 'bpcer, side="left"'),
    ),
    *metrics("metrics-apcer", "apcer", ("pooled", "np.mean(accepted[f == name])", "np.mean(accepted)")),
    *metrics(
        "metrics-acer",
        "acer",
        ("bpcer_never_counted (M8)", "threshold).values()) + frr) / 2", "threshold).values())) / 2"),
        (
            "mean_of_families",
            "max(apcer(s[~b], f[~b], threshold).values())",
            "np.mean(list(apcer(s[~b], f[~b], threshold).values()))",
        ),
        ("pooled", "apcer(s[~b], f[~b], threshold)", 'apcer(s[~b], ["all"] * int((~b).sum()), threshold)'),
    ),
    *metrics("metrics-auc", "_checked", ("not_finite_let_through", "if not np.isfinite(s).all()", "if False")),
]

ALIGNMENT = [
    *mmfas(
        "hardest_pairs",
        ("least_similar_negative", "return top(s, negative)", "return top(-s, negative)"),
        ("most_similar_positive", "top(-s, positive)", "top(s, positive)"),
        ("none_is_the_first_row", ".where(allowed.any(-1), -1)", ""),
        tests=LOSSES,
    ),
    *mmfas(
        "Alignment.__init__",
        ("one_predictor_for_both", "else 2)]", "else 1)]"),
        (
            "logarithm_left_out",
            'math.log(readings.tau) if readings.tau_form == "exp" else readings.tau',
            "readings.tau",
        ),
        tests=LOSSES,
    ),
    *mmfas("Alignment.tau", ("exponential_left_out", "self.tau_parameter.exp()", "self.tau_parameter"), tests=LOSSES),
    *mmfas(
        "Alignment.clamp_tau",
        ("floor", "clamp_(0.001", "clamp_(0.01"),
        ("no_ceiling", "0.001, 0.5", "0.001"),
        ("also_the_logarithm", 'if self.r.tau_form == "clamp"', "if True"),
        tests=LOSSES,
    ),
    *mmfas(
        "Alignment.forward",
        (
            "parts_compared_apart",
            "map(gathered, (f_rgb, f_depth, f_ir, labels, recordings))",
            "f_rgb, f_depth, f_ir, labels, recordings",
        ),
        ("tau_detached", "icl_loss(rgb, depth, ir, self.tau,", "icl_loss(rgb, depth, ir, self.tau.detach(),"),
        ("recordings_ignored", "self._targets(recordings)) if", "None) if"),
        ("switch_of_icl_ignored", "if self.icl else zero", ""),
        ("normalised_always", "depth, ir, self.tau, self.r.normalise", "depth, ir, self.tau, True"),
        ("mines_unscaled_similarities", " / tau  # (N, N)", "  # (N, N)"),
        ("mines_by_the_first_temperature", "expand(2)[kind]", "expand(2)[0]"),
        ("mines_unnormalised", "projected, self.r.normalise)", "projected, False)"),
        ("infrared_left_out", "((f_depth, depth), (f_ir, ir))", "((f_depth, depth), (f_depth, depth))"),
        ("one_predictor", "self.predict[kind]", "self.predict[0]"),
        ("rows_crossed", "f_rgb[i], f_other[j]", "f_rgb[j], f_other[i]"),
        ("matched_pairs_always", "f_rgb[i], f_other[j]", "f_rgb[i], f_other[i]"),
        ("sides_swapped", "[f_rgb[i], f_other[j]]", "[f_other[j], f_rgb[i]]"),
        ("rgb_detached", "[f_rgb[i], f_other[j]]", "[f_rgb[i].detach(), f_other[j]]"),
        ("other_detached", "[f_rgb[i], f_other[j]]", "[f_rgb[i], f_other[j].detach()]"),
        ("labels_of_the_anchor_twice", "same_class(labels[i], labels[j])", "same_class(labels[i], labels[i])"),
        ("off_is_on", 'self.r.cm == "off"', "False"),
        tests=LOSSES,
    ),
    *mmfas(
        "Alignment._targets",
        ("another_recording_matches", "recordings[:, None] == recordings", "recordings[:, None] != recordings"),
        ("not_a_distribution", "y / y.sum(-1, keepdim=True)", "y"),
        tests=LOSSES,
    ),
    *mmfas(
        "Alignment._pairs",
        ("all_is_matched_only", "n.repeat_interleave(len(n)), n.repeat(len(n))", "n.repeat(len(n)), n.repeat(len(n))"),
        ("random_is_matched", "torch.randperm(len(n), generator=generator, device=generator.device).to(n.device)", "n"),
        ("leaked_randomness", "torch.randperm(len(n), generator=generator,", "torch.randperm(len(n),"),
        ("own_positive_never", '"allowed"', '"never"'),
        ("top_is_drawn", '"top"', '"never"'),
        ("positives_left_out", "pairs = [(n, negative), (n, positive)]", "pairs = [(n, negative)]"),
        ("negatives_twice", "pairs = [(n, negative), (n, positive)]", "pairs = [(n, negative), (n, negative)]"),
        ("both_ways_is_one_way", "mine(s.T)", "mine(s)"),
        ("matched_are_positives", "(n, negative), (n, n)", "(n, negative), (n, positive)"),
        tests=LOSSES,
    ),
]

MMFAS = [
    *mmfas(
        "MultiHead.forward",
        ("queries_and_keys_swapped", "(self.q.weight, self.k.weight", "(self.k.weight, self.q.weight"),
        (
            "attends_across_the_batch (M1)",
            "return multi_head(q_src, k_src, v_src, *weights, self.heads, attend)",
            "return multi_head(*(x.transpose(0, 1) for x in (q_src, k_src, v_src)), *weights, self.heads).transpose(0, 1)",
        ),
        ("one_head", "*weights, self.heads", "*weights, 1"),
        tests=NETWORK,
    ),
    *mmfas(
        "SelfAttention.forward",
        ("skip_left_out", "x + self", "self"),
        ("skip_twice (M6)", "return x + self", "return x + x + self"),
        ("values_not_normed", "(y, y, y)", "(y, y, x)"),
        tests=NETWORK,
    ),
    *mmfas("FeedForward.forward", ("skip_left_out", "x + self", "self"), tests=NETWORK),
    *mmfas(
        "FeedForward.__init__",
        ("relu", "nn.GELU()", "nn.ReLU()"),
        ("gelu_approximated", "nn.GELU()", 'nn.GELU("tanh")'),
        ("norm_left_out", "nn.LayerNorm(dim), Linear", "nn.Identity(), Linear"),
        tests=NETWORK,
    ),
    *mmfas(
        "Encoder.forward",
        ("patches_transposed", "PATCH).flatten(2)", "PATCH).transpose(2, 3).flatten(2)"),
        ("positions_left_out", "tokens = tokens + self.positions", "pass"),
        ("last_norm_left_out", "self.norm(self.blocks(tokens))", "self.blocks(tokens)"),
        (
            "class_token_last",
            "[self.cls.expand(len(image), -1, -1), self.stem(patches)]",
            "[self.stem(patches), self.cls.expand(len(image), -1, -1)]",
        ),
        tests=NETWORK,
    ),
    *mmfas(
        "SwitchBlock.forward",
        ("all_streams_by_the_layers_roles", "order.index(name), order", "layer, order"),
        ("rgb_always", 'place = 0 if self.update == "rgb" else "RDI".index(order[layer % 3])', "place = 0"),
        ("depth_updated_too", "return new[0], new[1], new[2]", "return new[0], new[1] + new[0], new[2]"),
        ("infrared_updated_instead", "return new[0], new[1], new[2]", "return streams[0], new[1], new[0]"),
        tests=NETWORK,
    ),
    *mmfas(
        "SwitchBlock._one",
        ("self_attention_left_out", "own[place] = self.self_attention(own[place])", "pass"),
        (
            "self_attention_of_all",
            "own[place] = self.self_attention(own[place])",
            "own = [self.self_attention(x) for x in own]",
        ),
        ("norms_swapped", "self.norm_q(q), self.norm_k(k)", "self.norm_k(q), self.norm_q(k)"),
        ("keys_and_values_swapped", "self.norm_k(k), self.norm_v(v)", "self.norm_k(v), self.norm_v(k)"),
        ("keys_not_normed", "self.norm_k(k)", "k"),
        ("skip_left_out", "base + self.attend", "self.attend"),
        ("skip_twice (M6)", "base + self.attend", "base + base + self.attend"),
        ("skip_of_the_queries", 'q if self.residual == "query" else own[place]', "q"),
        ("skip_of_the_stream", 'q if self.residual == "query" else own[place]', "own[place]"),
        ("skip_before_self_attention", "else own[place]", "else streams[place]"),
        ("feed_forward_left_out", "return self.feed_forward(", "return ("),
        ("default_order", "layer, order)", "layer)"),
        tests=NETWORK,
    ),
    *mmfas(
        "SwitchFusion.streams",
        ("first_layer_ignored", "start=self.first", "start=0"),
        ("one_layer_less", "enumerate(self.blocks,", "enumerate(self.blocks[:-1],"),
        ("never_switches", "block(streams, layer, self.order)", "block(streams, self.first, self.order)"),
        ("order_ignored", "block(streams, layer, self.order)", 'block(streams, layer, "RDI")'),
        tests=NETWORK,
    ),
    *mmfas(
        "SwitchFusion.forward",
        ("rgb_always", 'streams[0] if self.output == "rgb" else torch.stack(streams).mean(0)', "streams[0]"),
        (
            "mean_always",
            'streams[0] if self.output == "rgb" else torch.stack(streams).mean(0)',
            "torch.stack(streams).mean(0)",
        ),
        ("sum", ".mean(0)", ".sum(0)"),
        ("inputs_averaged", "torch.stack(streams)", "torch.stack((streams[0], depth, streams[0]))"),
        tests=NETWORK,
    ),
    *mmfas(
        "CrossBlock.forward",
        ("queries_not_normed", "self.attend(self.norm(own)", "self.attend(own"),
        ("others_not_normed", "self.norm(others)", "others"),
        ("self_attention_left_out", "self.self_attention(own), self.norm", "own, self.norm"),
        ("looks_at_itself", "others, others))", "self.norm(own), self.norm(own)))"),
        tests=CROSS,
    ),
    *mmfas(
        "CrossFusion.forward",
        ("sees_itself_too", "if j != i", ""),
        ("sees_the_next_only", "if j != i", "if j == (i + 1) % 3"),
        ("rgb_comes_out", "torch.stack(streams).mean(0)", "streams[0]"),
        tests=CROSS,
    ),
    *mmfas(
        "MergeFusion.forward",
        ("another_order", "[rgb, depth, ir]", "[depth, rgb, ir]"),
        ("infrared_left_out", "[rgb, depth, ir]", "[rgb, depth, depth]"),
        tests=MERGE,
    ),
    *mmfas("MeanFusion.forward", ("sum", ".mean(0)", ".sum(0)"), tests=NETWORK),
    *mmfas(
        "MmFAS.encode",
        ("encoders_shared", "self.encoders[m](images[m])", "self.encoders[self.modalities[0]](images[m])"),
        ("depth_and_infrared_swapped", '{"R": rgb, "D": depth, "I": ir}', '{"R": rgb, "D": ir, "I": depth}'),
        ("order_of_the_option", 'for m in "RDI" if m in self.modalities', "for m in self.modalities"),
        tests=NETWORK,
    ),
    *mmfas(
        "MmFAS.pool",
        ("class_token_always", 'tokens[:, 0] if self.pooling == "cls" else tokens.mean(1)', "tokens[:, 0]"),
        ("last_token", "tokens[:, 0]", "tokens[:, -1]"),
        ("mean_over_the_batch", "tokens.mean(1)", "tokens.mean(1).mean(0, keepdim=True).expand(len(tokens), -1)"),
        tests=NETWORK,
    ),
    *mmfas(
        "MmFAS.classify",
        ("rgb_doubled", "shallow_fusion(streams[0], streams[0])", "streams[0] + streams[0]"),
        ("last_norm_left_out", "self.norm(self.fusion(*streams))", "self.fusion(*streams)"),
        ("two_outputs_reversed", "outputs[:, -1] - outputs[:, 0]", "outputs[:, 0] - outputs[:, -1]"),
        tests=NETWORK,
    ),
    *mmfas(
        "MmFAS.__init__",
        ("preset_ignored", "SwitchFusion(SHAPES[preset]", 'SwitchFusion(SHAPES["table2"]'),
        ("head_without_relu", "nn.ReLU()", "nn.Identity()"),
        ("fusion_norm_ignored", "if readings.fusion_norm", "if False"),
        tests=NETWORK,
    ),
    *mmfas(
        "",
        ("five_layers", '"table2": Shape(6', '"table2": Shape(5'),
        ("self_attention_dropped", "Shape(6, True)", "Shape(6, False)"),
        ("encoder_of_two_layers", "ENCODER_DEPTH, PATCH = 3", "ENCODER_DEPTH, PATCH = 2"),
        tests=NETWORK,
    ),
    *mmfas(
        "step",
        ("weights_swapped", "icl, cm, options.alpha, options.beta)", "icl, cm, options.beta, options.alpha)"),
        ("gradients_pile_up", "optimiser.zero_grad()", "pass"),
        ("temperature_never_clamped", "alignment.clamp_tau()", "pass"),
        ("labels_reversed", "with_logits(logits.float(), batch.label)", "with_logits(logits.float(), 1 - batch.label)"),
        ("recordings_of_the_rows", "batch.recording, draws)", "batch.rows, draws)"),
        tests=TRAINING,
    ),
    *mmfas(
        "train",
        ("rate_never_changes", "training.set_rate(optimiser)", "pass"),
        ("alignment_not_trained", "*(alignment.parameters() if options.aligned else [])", ""),
        ("score_is_the_spoof_logit", "HEADLINE: -model", "HEADLINE: model"),
        tests=TRAINING,
    ),
    *mutants(
        "reference.training",
        TRAINING,
        "Training.augment",
        ("augmentation_always", 'if self.options.augmentation == "none"', "if False"),
    ),
    *mutants(
        "reference.training",
        TRAINING,
        "Training.set_rate",
        ("rate_of_an_epoch", "self._epoch * self.sampler.steps + self._step", "self._epoch * self.sampler.steps"),
    ),
    *mutants(
        "reference.training",
        TRAINING,
        "Training.batches",
        ("same_batches_every_epoch", "self.sampler.epoch(self._epoch)", "self.sampler.epoch(0)"),
        (
            "first_batch_again_and_again",
            "epoch(self._epoch)[self._step :]]",
            "epoch(self._epoch)[self._step :]][:1] * steps",
        ),
    ),
    *mutants(
        "reference.training",
        TRAINING,
        "Training.optimiser",
        ("weight_decay_left_out", '"weight_decay": options.weight_decay', '"weight_decay": 0.0'),
        ("decay_in_the_gradient", 'if options.optimiser == "adamw"', "if False"),
    ),
    *mutants(
        "reference.training",
        TRAINING,
        "Training.predict",
        (
            "scores_training_rows",
            "self.pieces(sets[names[0]])",
            "self.pieces(self.train)",
        ),
    ),
    *mutants(
        "reference.reuse",
        "test_rows.py::test_a_missing_modality_costs_no_second_look_at_the_others",
        "",
        ("whatever_was_given", "torch.equal(x, y)", "True"),
        ("never_again", "torch.equal(x, y)", "False"),
        ("one_remembered", "_KEPT = 4", "_KEPT = 1"),
    ),
    *mutants(
        "reference.training",
        "test_rows.py::test_a_missing_modality_costs_no_second_look_at_the_others",
        "Training.predict",
        ("lots_go_on", "draws.manual_seed(self.options.seed * 100_003 + number)", "pass"),
    ),
    *mutants(
        "reference.draws",
        "test_waits.py",
        "one_of_each_row",
        ("other_clocks", "weights / torch.empty_like(weights)", "weights * torch.empty_like(weights)"),
    ),
    *mutants(
        "reference.mmfas",
        "test_waits.py",
        "Alignment.forward",
        ("looks_whether_there_are_pairs", "logits.append(", "assert (i >= 0).any()\n            logits.append("),
    ),
    *mutants(
        "reference.mmfas",
        "test_mmfas_model.py::test_a_batch_of_one_class_leaves_anchors_out_and_stays_finite",
        "Alignment.forward",
        ("anchors_without_candidates_count", ".where((i >= 0) & (j >= 0), NO_PAIR)", ""),
    ),
    *mutants(
        "reference.training",
        "test_training.py::test_test_sets_are_scored_by_the_chosen_and_the_last_weights",
        "Training._score_tests",
        ("last_weights_for_the_chosen", 'self._model.load_state_dict(self.run.load_weights("best"))', "pass"),
        ("the_last_alone", "dict.fromkeys((last, chosen))", "(last,)"),
        ("the_chosen_alone", "dict.fromkeys((last, chosen))", "(chosen,)"),
    ),
    *mutants(
        "reference.training",
        "test_training.py::test_test_sets_are_scored_by_the_chosen_and_the_last_weights",
        "Training.epochs",
        ("last_weights_kept_as_best", "chosen_line(self.run.lines) is line", "True"),
        ("first_weights_kept_as_best", "chosen_line(self.run.lines) is line", "epoch == 0"),
        ("tests_scored_every_epoch", 'options.score_tests == "every" else', "True else"),
        ("no_parameters", "sum(x.numel() for", "sum(0 * x.numel() for"),
    ),
    *mutants(
        "reference.training",
        "test_training.py::test_test_sets_are_scored_by_the_chosen_and_the_last_weights",
        "Training.kept",
        ("every_head", 'self.options.score_tests == "every"', "True"),
    ),
    *mutants(
        "reference.runs",
        "test_training.py::test_test_sets_are_scored_by_the_chosen_and_the_last_weights",
        "chosen_line",
        ("the_latest_of_equals", ', line["epoch"])', ', -line["epoch"])'),
    ),
    *mutants(
        "reference.runs",
        "test_training.py::test_test_sets_are_scored_by_the_chosen_and_the_last_weights",
        "Run.tidy",
        ("weights_always_kept", "if not self._keeps_weights", "if False"),
        ("weights_never_kept", "if not self._keeps_weights", "if True"),
        ("checkpoint_stays", '(self.folder / "checkpoint.pt").unlink(missing_ok=True)', "pass"),
    ),
    *mutants(
        "paper_tables.numbers.cells",
        "test_paper_tables.py::test_a_run_that_scored_its_tests_by_two_epochs_fills_all_but_what_a_test_set_chooses",
        "evaluate",
        ("first_tested_epoch_for_all", "of_head[head][place[0]]", "of_head[head][0]"),
    ),
    *mutants(
        "paper_tables.numbers.cells",
        "test_paper_tables.py::test_a_run_that_scored_its_tests_by_two_epochs_fills_all_but_what_a_test_set_chooses",
        "cells",
        ("oracle_over_two_epochs", "rule not in ON_TEST_SET or", "True or"),
    ),
    *mutants(
        "paper_tables.numbers.cells",
        "test_paper_tables.py::test_ties_of_validation_at_its_best_epoch_are_counted",
        "RunScores.tied",
        ("all_epochs", "if r.val_eer == min(r.val_eer for r in self.validated)", "if True"),
    ),
    *mutants(
        "paper_tables.planning.plan",
        "test_paper_tables.py::test_a_run_of_every_epochs_test_scores_serves_a_table_without_an_oracle_but_not_the_reverse",
        "plan",
        ("oracle_not_asked_for", "oracle or profile.oracle", "profile.oracle"),
        ("finished_oracle_forgotten", "every if every.done else lean", "lean"),
        ("again_unsaid", "again=lean.done", "again=False"),
    ),
    *mutants(
        "reference.training",
        "test_training.py::test_an_interrupted_training_goes_on_with_every_part_and_generator",
        "Training.remember",
        ("draws_begin_again", "self.draws.set_state", "torch.Generator().set_state"),
        ("augmentations_begin_again", "self.image_draws.set_state", "torch.Generator().set_state"),
        ("dropout_begins_again", 'set_random_state(state["random"], self.device)', "pass"),
        (
            "optimiser_begins_again",
            "part.load_state_dict(state[name])",
            "isinstance(part, nn.Module) and part.load_state_dict(state[name])",
        ),
        (
            "losses_of_an_epoch_lost",
            'self._step, self._sums = state["epoch"], state["step"], state["sums"]',
            'self._step, self._sums = state["epoch"], state["step"], {}',
        ),
    ),
    *mutants(
        "reference.training",
        "test_training.py::test_progress_runs_from_0_towards_1",
        "Training.batches",
        ("progress_of_an_epoch", "(steps * self.options.epochs)", "steps"),
    ),
    *mutants(
        "reference.batches",
        "test_data.py",
        "ShuffledSampler.epoch",
        ("one_order_for_all_epochs", "[self.seed, e]", "[self.seed]"),
    ),
    *mutants(
        "reference.batches",
        "test_data.py",
        "Batch.__getitem__",
        ("progress_lost", "return replace(self, **parts)", "return replace(self, progress=0.0, **parts)"),
    ),
]

MMDA = [
    *mmda(
        "Readings",
        ("paper_keeps_the_first_partner", 'reading("first", paper="random")', 'reading("first")'),
        tests="test_mmda_model.py::test_the_head_of_the_file_says_what_every_preset_is",
    ),
    *mmda(
        "",
        ("lambda_of_layer_11 (M7)", "-0.3 * 12)", "-0.3 * 11)"),
        ("every_second_expert", "KEEP = 0.2", "KEEP = 0.02"),
    ),
    *mmda(
        "Experts.forward",
        ("value_and_gate_swapped", "value, gate = torch", "gate, value = torch"),
        ("factor_left_out", " * self.factor[:, None]", ""),
        ("gate_not_bent", "F.gelu(gate)", "gate"),
        ("networks_in_another_order", "self.w_out.mT)", "self.w_out.flip(0).mT)"),
        ("gain_left_out", " * self.gain[:, None]", ""),
    ),
    *mmda(
        "MixtureOfExperts.forward",
        ("gates_not_renormalised", "two = two / two.sum(-1, keepdim=True)", "pass"),
        ("first_expert_only", "two * self._shares(two, context)", "two * torch.tensor([1.0, 0.0]).to(two)"),
        ("second_expert_always", "two * self._shares(two, context)", "two"),
        ("constants_of_the_experts", "weight[..., EXPERTS:] @", "weight[..., :CONSTANTS] @"),
        ("constants_left_out", " + weight[..., EXPERTS:] @ self.constants", ""),
        ("gate_learns_nothing_from_inputs", "w - w.detach()", "w.detach() - w.detach()"),
        ("pays_at_test_too", "if self.training:", "if True:"),
        (
            "balance_over_the_batch",
            "(gates.mean(1) * first.mean(1)).mean()",
            "(gates.mean((0, 1)) * first.mean((0, 1))).mean()",
        ),
        ("router_loss_not_squared", ".square().mean()", ".mean()"),
    ),
    *mmda(
        "MixtureOfExperts._shares",
        ("draws_at_test", '"draw" if self.training else self.at_test', '"draw"'),
        ("expects_in_training", '"draw" if self.training else self.at_test', "self.at_test"),
        ("kept_when_unlikely", "lot < probability", "lot >= probability"),
        ("leaked_randomness", "generator=context.generator, device", "device"),
        ("first_expert_loses", "torch.stack([torch.ones_like(second), second]", "torch.stack([second, second]"),
    ),
    *mmda(
        "MD2A.forward",
        ("scale_of_a_head (M5)", "math.sqrt(x.shape[-1])", "math.sqrt(x.shape[-1] // HEADS)"),
        ("domain_reads_the_sample", "split(self.q_dom(x_dom))", "split(self.q_dom(x))"),
        ("domain_keys_of_the_sample", "split(self.k_dom(x_dom))", "split(self.k_dom(x))"),
        ("domain_maps_swapped", "split(self.q_dom(x_dom))", "split(self.k_dom(x_dom))"),
        (
            "lambda_pairs_crossed",
            "self.lambda_q1, self.lambda_k1, self.lambda_q2",
            "self.lambda_q2, self.lambda_k1, self.lambda_q1",
        ),
        ("mhsa_keeps_lambda", "0.0 if self.plain else lam", "lam"),
        ("last_scale_left_out", " * (1 - LAMBDA_INIT)", ""),
        (
            "heads_normed_apart",
            "self.norm(heads.transpose(-3, -2).flatten(-2))",
            "(self.norm.weight * F.rms_norm(heads, heads.shape[-1:], eps=1e-5).transpose(-3, -2).flatten(-2))",
        ),
        ("drops_at_test", "if not self.training:", "if False:"),
        ("dropout_not_rescaled", " / (1 - DROPOUT)", ""),
        ("mask_left_out", "            drop,\n            keys,", "            drop,\n            None,"),
    ),
    *mmda(
        "Fusion.forward",
        ("skip_once (M6)", "y = x + x_1 + self.adapt", "y = x_1 + self.adapt"),
        ("norms_swapped", "self.adapt(self.norm_2(x_1)", "self.adapt(self.norm_1(x_1)"),
        ("domain_not_normed", "self.norm_1(x_dom)", "x_dom"),
        ("missing_modality_counted", "y = y * present[..., None]", "pass"),
        (
            "tokens_averaged",
            "self.narrow(y.flatten(1))",
            "self.narrow(y.mean(1, keepdim=True).expand_as(y).flatten(1))",
        ),
    ),
    *mmda(
        "AttentionBlock.__init__",
        ("attends_across_the_batch (M1)", "self.across = r.batch_attention", "self.across = True"),
    ),
    *mmda(
        "AttentionBlock.forward",
        ("skip_once (M6)", "return x + x_1 + self.adapt", "return x_1 + self.adapt"),
        ("queries_for_values", "q, k, v = self.qkv", "v, k, q = self.qkv"),
        ("batch_mates_left_out", "if self.across:", "if False:"),
        ("output_map_left_out", "x_1 = x + self.out(v)", "x_1 = x + v"),
        ("mixture_before_the_norm", "self.adapt(self.norm_2(x_1)[:, None]", "self.adapt(x_1[:, None]"),
    ),
    *mmda(
        "UDSA.forward",
        ("remaps_for_adapts", "in (self.adapt, self.remap)", "in (self.remap, self.adapt)"),
        ("rule_ignored", "down, up, self.rule)", "down, up)"),
    ),
    *mmda(
        "UDSA.text",
        ("captions_remapped", "in self.adapt:", "in self.remap:"),
        ("captions_not_adapted", "states.append(layer(states[-1], context=context))", "states.append(t0)"),
        ("way_up_reversed", "states[-2::-1]", "states[:-1]"),
    ),
    *mmda(
        "Adaptor.outputs",
        ("training_partner_at_test (M4)", "r.partner if self.training else r.partner_at_test", "r.partner"),
        ("da_looks_around", '"self" if r.denoise == "da" else rule', "rule"),
        ("partner_ignored", "tokens[partner]", "tokens"),
        ("classifies_the_first_state", "self.classifier(states[-1], context)", "self.classifier(states[0], context)"),
        ("aligned_with_the_first_space", "alignment_logits(apart, text,", "alignment_logits(apart, texts[0],"),
        ("scale_left_out", "text, scale, pooling)", "text, 1.0, pooling)"),
        ("nearest_caption_always", 'r.pooling if r.alignment == "rs2" else "mean"', "r.pooling"),
        ("captions_judged_always", 'if self.training and r.alignment == "rs2":', "if True:"),
        (
            "passes_meet",
            "met = domains * context.passes + torch.arange(len(tokens), device=domains.device) // size",
            "met = domains",
        ),
        ("routers_forgotten", "sum(context.router_losses, tokens.new_zeros(()))", "tokens.new_zeros(())"),
        ("present_ignored", "tokens[partner], present, context)", "tokens[partner], None, context)"),
    ),
    *mmda(
        "Adaptor.losses",
        ("hard_targets", '0.0 if r.alignment == "vanilla" else SMOOTHING', "0.0"),
        ("smoothed_always", '0.0 if r.alignment == "vanilla" else SMOOTHING', "SMOOTHING"),
        ("smoothing_rule_reversed (M2)", 'r.smoothing == "normalised"', 'r.smoothing != "normalised"'),
        ("classifier_aligned_too", 'if name != "cls"]', "]"),
        ("labels_reversed", "smooth_targets(labels,", "smooth_targets(1 - labels,"),
        ("captions_classes_reversed", "(len(logits),), c,", "(len(logits),), 1 - c,"),
        ("routers_left_out", " + output.routers, **parts", ", **parts"),
        ("caption_losses_averaged", "text = text + soft_cross_entropy", "text = text + 0.5 * soft_cross_entropy"),
    ),
    *mmda(
        "step",
        ("gradients_not_divided", '(losses["loss"] * share)', 'losses["loss"]'),
        ("captions_learn_nothing", "[t.grad for t in captions]", "[0 * t.grad for t in captions]"),
        tests="test_mmda_training.py::test_the_text_tower_once_a_step_has_the_gradient_of_once_a_micro_batch",
    ),
    *mmda(
        "photometric",
        ("noise_of_each_channel", "torch.randn(count, 1, *", "torch.randn(count, 3, *"),
        ("noise_not_rounded", " * normal).round())", " * normal))"),
        ("noise_not_cut", " * normal).round()).clamp(0, 255)", " * normal).round())"),
        ("one_deviation", "uniform(0, 51, count, 1, 1, 1)", "uniform(0, 51, 1)"),
        ("twice_the_deviation", "uniform(0, 51,", "uniform(0, 102,"),
        ("brightness_not_rounded", "uniform(-30, 30, count, 1, 1).round()", "uniform(-30, 30, count, 1, 1)"),
        ("no_brightness", "brightened(pixels[rows], brighter[rows], space)", "pixels[rows]"),
        ("first_space_alone", "torch.randint(len(SPACES), (count,)", "torch.randint(1, (count,)"),
        ("red_for_red", "pixels = pixels.flip(1)  # the", "pixels = pixels  # the"),
        ("blue_for_red_ever_after", "pixels = pixels.flip(1)\n\n", "\n"),
        ("channels_shifted_alike", "uniform(-40, 40, count, 3, 1)", "uniform(-40, 40, count, 1, 1).expand(-1, 3, -1)"),
        ("gamma_of_each_channel", "uniform(0.5, 1.5, count, 1, 1)", "uniform(0.5, 1.5, count, 3, 1)"),
        ("gamma_never_darkens", "uniform(0.5, 1.5,", "uniform(0.5, 1,"),
        ("gamma_of_255ths_left_out", "(table.clamp(0, 255) / 255) **", "(table.clamp(0, 255) / 256) **"),
        ("one_image_like_another", "uniform(-40, 40, count, 3, 1)", "uniform(-40, 40, 1, 3, 1)"),
        tests=" ".join(
            f"test_mmda_training.py::test_{name}"
            for name in (
                "flat_images_become_as_bright_and_as_noisy_as_in_the_released_code",
                "augmentation_leaves_whole_numbers_and_changes_every_image_by_draws_of_its_own",
                "noise_is_one_plane_for_all_three_channels",
                "the_colour_spaces_are_drawn_alike_and_take_blue_for_red",
            )
        ),
    ),
    *brightness(
        "brightened",
        ("not_added", "(bright + added)", "bright"),
        ("not_cut", "(bright + added).clamp(0, 255)", "(bright + added)"),
        ("cut_off", ".round().clamp(0, 255)", ".floor().clamp(0, 255)"),
    ),
    *brightness(
        "luma_space",
        ("luma_is_the_mean", "0.299 * r + 0.587 * g + 0.114 * b", "(r + g + b) / 3"),
        ("luma_not_kept_as_bits", "+ 0.114 * b).round()", "+ 0.114 * b)"),
        ("differences_not_cut", ".clamp(-128, 127), (blue", ", (blue"),
        ("green_of_blue_left_out", " + back[2] * u", ""),
    ),
    *brightness("_hue", ("no_steps", "(30 * (turn + sixth)).round()", "(30 * (turn + sixth))")),
    *brightness("_lacks", ("green_for_blue", "(hue - 4).abs()", "(hue - 2).abs()")),
    *brightness("to_hsv", ("saturation_of_the_range", "high.clamp(min=1)", "(high + low).clamp(min=1)")),
    *brightness("from_hsv", ("rounded", ".floor()", ".round()")),
    *brightness(
        "to_hls",
        ("the_brightest", "(high * (1 / 255) + low * (1 / 255)) * 0.5", "high * (1 / 255)"),
        ("halves_to_even", "((high * (1 / 255) + low * (1 / 255)) * 0.5 * 255)", "((high + low) * 0.5)"),
        ("pale_colours_too_grey", "torch.minimum(high + low, 510 - (high + low))", "high + low"),
    ),
    *brightness("from_hls", ("reach_of_dark_alone", "torch.minimum(lightness, 255 - lightness)", "lightness")),
    *brightness("_xyz", ("not_linear", "((share + 0.055) / 1.055) ** 2.4", "share")),
    *brightness("_rgb", ("power_of_two", "(1 / 2.4) - 0.055", "(1 / 2) - 0.055")),
    *brightness("_root", ("square", "t ** (1 / 3)", "t ** (1 / 2)")),
    *brightness("_cube", ("straight", "torch.where(root > 6 / 29,", "torch.where(root > 2,")),
    *brightness(
        "to_lab",
        ("full_light_is_256", "_xyz(r, g, b, 255)", "_xyz(r, g, b, 256)"),
        ("the_formulas_own_factor", "296 * y", "295.8 * y"),
        ("white_of_equal_energy", "_root(x / _WHITE_X)", "_root(x)"),
        ("blue_not_kept_as_bits", "(200 * (y - z)).round()", "200 * (y - z)"),
    ),
    *brightness("from_lab", ("yellow_for_blue", "y - b / 200", "y + b / 200")),
    *brightness(
        "to_luv",
        ("full_light_is_255", "_xyz(r, g, b, 256)", "_xyz(r, g, b, 255)"),
        ("rounded", "(256 * (u + 134) / 354).floor()", "(256 * (u + 134) / 354).round()"),
        ("lightness_left_out", "13 * lightness * (9", "13 * (9"),
    ),
    *brightness("from_luv", ("red_of_no_light", "(3 * y * up * vp).clamp(0, 2)", "3 * y * up * vp")),
]

RELEASED_EVALUATION = [
    *mutants(
        "paper_tables.numbers.released",
        "test_released.py",
        "softmax",
        ("not_in_float32", "scores.astype(np.float32)", "scores.astype(np.float64)"),
        ("of_the_other_class", "difference < 0", "difference > 0"),
    ),
    *mutants(
        "paper_tables.numbers.released",
        "test_released.py",
        "chosen_threshold",
        ("whole_curve", "(np.diff(attacks, 2) != 0) | (np.diff(live, 2) != 0)", "True"),
        ("corners_of_one_class", "(np.diff(attacks, 2) != 0) | (np.diff(live, 2) != 0)", "np.diff(live, 2) != 0"),
        (
            "laxest_of_equals",
            "    left = np.flatnonzero(kept)\n    return int(left[np.argmin(np.abs(live[left] / live[-1] + attacks[left] / attacks[-1] - 1))])",
            "    left = np.flatnonzero(kept)[::-1]\n    return int(left[np.argmin(np.abs(live[left] / live[-1] + attacks[left] / attacks[-1] - 1))])",
        ),
        (
            "youdens_threshold",
            "np.argmin(np.abs(live[left] / live[-1] + attacks[left] / attacks[-1] - 1))",
            "np.argmax(live[left] / live[-1] - attacks[left] / attacks[-1])",
        ),
    ),
    *mutants(
        "paper_tables.numbers.released",
        "test_released.py",
        "hter_auc",
        (
            "false_positives_alone",
            "(attacks[at] / attacks[-1] + (1 - live[at] / live[-1])) / 2",
            "attacks[at] / attacks[-1]",
        ),
        ("ties_taken_apart", "np.append(falling[1:] != falling[:-1], True)", "np.full(falling.size, True)"),
    ),
    *mutants(
        "paper_tables.numbers.selection",
        "test_released.py",
        "measured",
        ("exact_numbers", 'if rule == "released" else metric', 'if rule == "" else metric'),
        ("oracles_too", 'rule == "released"', 'rule != "last"'),
    ),
    *mutants(
        "paper_tables.numbers.cells",
        "test_released.py",
        "_judged",
        ("softmax_of_every_method", ' if run.arguments.get("method") == "mmda" else scores', ""),
        ("softmax_of_none", 'released.softmax(scores) if run.arguments.get("method") == "mmda" else scores', "scores"),
    ),
    *mutants(
        "paper_tables.numbers.cells",
        "test_released.py",
        "_cell",
        ("chooses_by_the_exact_number", "place.tested, reported, place.head", "place.tested, metric, place.head"),
        ("reports_the_exact_number", "c.targets[place.tested][reported]", "c.targets[place.tested][metric]"),
    ),
    *mutants(
        "paper_tables.numbers.cells",
        "test_released.py",
        "Resamples.of",
        ("resamples_other_scores", "scores, of_metric = _judged(run, scores), {", "scores, of_metric = scores, {"),
    ),
    *mutants(
        "paper_tables.numbers.bootstrap",
        "test_released.py::test_a_resample_has_no_threshold_at_scores_that_it_lacks "
        "test_paper_tables.py::test_a_resample_equals_the_metric_of_the_set_with_samples_repeated",
        "_released",
        ("scores_nobody_has", "np.flatnonzero(attack + live)[::-1]", "np.arange(attack.size)[::-1]"),
        ("one_threshold_too_strict", "live[drawn].cumsum())])", "live[drawn].cumsum())]) + 1"),
    ),
]

DEAD_GRADIENTS = [
    *mutants(
        "reference.probes.dead_gradients",
        "test_dead_gradients.py",
        "merged_parts",
        ("the_sum_keeps_the_part", "losses[TOTAL] - weight * part", "losses[TOTAL]"),
        ("the_part_stays", "{without: 0 * part}", "{without: part}"),
        ("draws_go_on", "        made.draws.set_state(own)\n", ""),
        ("buffers_go_on", "buffer.copy_(before[name])", "before[name]"),
    ),
    *mutants(
        "reference.probes.dead_gradients",
        "test_dead_gradients.py",
        "added_parts",
        ("weights_forgotten", "Part(float(weight))", "Part(1.0)"),
        ("what_is_not_added_moves", "if found[name].weight:", "if True:"),
    ),
    *mutants(
        "reference.probes.dead_gradients",
        "test_dead_gradients.py",
        "look",
        ("the_start_is_missed", "progress=number / STEPS", "progress=(number + 0.5) / STEPS"),
    ),
]

SUITE = [
    *mutants(
        "reference.clip",
        "test_clip.py::test_the_remedy_for_a_torchscript_archive_writes_a_file_that_is_taken",
        "",
        ("opens_on_the_device_that_saved", 'sys.argv[1], map_location="cpu"', "sys.argv[1]"),
        ("writes_over_a_file", '"xb"', '"wb"'),
        ("names_the_file_alone", "_TENSORS_ALONE, str(file.absolute())", "_TENSORS_ALONE, file.name"),
        ("path_not_quoted", "shlex.join([sys.executable", '" ".join([sys.executable'),
    ),
    *mutants(
        "reference.captions",
        "test_clip.py::test_the_sets_have_the_released_sizes_and_structure",
        "_captions",
        (
            "missing_comma (M3)",
            "    return lines",
            "    return [lines[0] + lines[1], *lines[2:]] if lines[1:] else lines",
        ),
    ),
    *mutants(
        "spec_tests.equations.adapter",
        "test_watch.py",
        "_with_snippet",
        (
            "failures_swallowed (M12)",
            "                e.add_note(snippet(e))\n            raise",
            "                return",
        ),
    ),
]

WHAT_A_CHOICE_IS_WORTH = [
    *mutants(
        "paper_tables.numbers.gaps",
        "test_table_heads.py::test_a_resampled_gap_is_that_of_a_set_which_repeats_its_subjects",
        "resampled_gaps",
        ("chooses_once_for_all", "np.lexsort((-auc, hter), axis=0)[:1]", "np.zeros((1, hter.shape[1]), int)"),
        ("worst_pair", "np.lexsort((-auc, hter), axis=0)[:1]", "np.lexsort((-auc, hter), axis=0)[-1:]"),
        ("lowest_auc_of_equals", "np.lexsort((-auc, hter), axis=0)", "np.lexsort((auc, hter), axis=0)"),
        ("headline_alone", "run.heads or (HEADLINE,)", "(HEADLINE,)"),
        ("honest_at_its_own_threshold", "honest[HONEST[metric]]", "honest[CHOSEN[metric]]"),
        ("chosen_at_the_sources_threshold", "of[CHOSEN[metric]]", "of[HONEST[metric]]"),
        ("the_other_way_round", "np.take_along_axis(values, best, 0)[0] - honest", "honest"),
    ),
    *mutants(
        "paper_tables.rendering.findings",
        "test_table_heads.py::test_a_gap_beyond_the_mean_of_all_rows_is_named",
        "_favour",
        ("against_zero", "own - every.mean(0)", "own"),
        ("upper_side_alone", "if low > 0 or high < 0:", "if low > 0:"),
    ),
    *mutants(
        "paper_tables.spread",
        "test_spread.py",
        "values_of",
        ("one_seed_for_all", "list(cells[0].values)", "list(cells[0].values[:1] * len(cells[0].values))"),
        ("other_seeds_of_the_stand_in", "[cell.values[0] for cell in cells]", "[cell.values[-1] for cell in cells]"),
    ),
    *mutants(
        "paper_tables.rendering.wording",
        "test_spread.py",
        "worth_sentence",
        ("of_any_table", "named and results.stand_in", "results.stand_in"),
        ("of_original_data", "named and results.stand_in", "named"),
    ),
]

DATA_AT_SCALE = [
    *mutants(
        "data_manifests.mapped",
        "test_index.py::test_a_damaged_file_is_made_again test_index.py::test_a_text_that_was_edited_is_read_again",
        "read",
        ("believes_what_is_damaged", "if digest.hexdigest() != wanted:", "if False:"),
    ),
    *mutants(
        "data_manifests.index",
        "test_index.py::test_a_text_that_was_edited_is_read_again test_index.py::test_a_text_is_checked_once",
        "load_index",
        ("protocols_do_not_count", "own.digest() + of_protocols.digest()", "own.digest()"),
        ("never_taken", 'mapped.read(columns, f"{sha256} {_THIS}")', "None"),
    ),
    *mutants(
        "data_manifests.index",
        "test_index.py::test_a_bad_field_is_named_behind_a_sound_row_of_its_kind "
        "test_index.py::test_a_line_break_in_a_field_is_named_behind_a_sound_row",
        "_checked",
        ("rows_without_a_kind_are_alike", "if kind is not None:", "if True:"),
        ("line_breaks_unseen", " or not place.plain or place.line != number", ""),
    ),
    *mutants(
        "data_manifests.index",
        "test_index.py::test_sample_ids_are_told_apart_though_their_first_hashes_are_equal",
        "_Numbers.rows_of",
        ("first_of_equal_hashes", "if not other.any():", "if True:"),
    ),
    *mutants(
        "data_manifests.index",
        "test_index.py::test_a_text_that_is_written_into_while_it_is_in_use_is_refused",
        "Rows._texts",
        ("another_text_is_read", "if (now := _written(self._file)) != self._written:", "if False:"),
        ("a_touched_text_is_another", 'self._file, "sha256").hexdigest() != self._sha256', 'self._file, "sha256")'),
    ),
    *mutants(
        "data_manifests.verify",
        "test_losses.py::test_a_frame_in_two_halves_is_one "
        "test_losses.py::test_halves_elsewhere_and_a_lost_half_are_losses",
        "_groups",
        ("two_halves_are_two_frames", "bool(row.rgb) or row.clip_id not in halved", "1"),
    ),
    *mutants(
        "data_manifests.verify",
        "test_losses.py::test_a_folder_of_one_recording_is_named_with_its_frames "
        "test_losses.py::test_a_broken_image_is_one_problem",
        "_missing_images",
        ("a_lost_folder_is_seen_in_the_colour_alone", "in result.modalities:", "in result.modalities[:1]:"),
        ("a_broken_image_is_missing_too", "if (place, frame, modality) not in broken", ""),
    ),
    *mutants(
        "data_manifests.decode",
        "test_image_files.py::test_zeros_in_its_last_part_are_refused "
        "test_image_files.py::test_a_rotated_photograph_is_turned",
        "_image",
        ("any_jpeg_is_whole", "not jpeg_scans(path.read_bytes())[1]", "False"),
        ("photographs_stay_sideways", "if orientation != 1:", "if False:"),
    ),
    *mutants(
        "data_manifests.lists",
        "test_lists.py::test_pitfall_03_a_known_defect_is_left_out_unless_the_tree_holds_the_frame_whole",
        "_joined",
        ("half_a_frame_is_listed", "(not whole and ", "(row is None and "),
    ),
    *mutants(
        "data_manifests.parallel",
        "test_index.py::test_a_gpu_that_is_open_is_not_forked",
        "_start",
        ("forks_an_open_gpu", " or (torch is not None and torch.cuda.is_initialized())", ""),
    ),
    *mutants(
        "data_manifests.parallel",
        "test_index.py::test_jobs_are_made_when_they_are_needed",
        "as_done",
        ("all_jobs_at_once", "len(waiting) < 2 * workers and ", ""),
    ),
    *mutants(
        "reference.faces",
        "test_data.py::test_only_the_rows_that_are_asked_for_are_decoded "
        "test_data.py::test_the_order_in_which_rows_are_asked_for_changes_nothing",
        "open_faces",
        ("every_row", "if rows is None else np.unique(rows)", ""),
        ("in_the_order_of_asking", "np.unique(rows)", "np.asarray(rows)"),
    ),
    *mutants(
        "reference.faces",
        "test_data.py::test_only_the_rows_that_are_asked_for_are_decoded",
        "Faces.missing_report",
        ("of_every_row", "if self.rows is None else self.rows", ""),
    ),
    *mutants(
        "reference.faces",
        "test_data.py::test_a_changed_image_of_the_same_size_is_decoded_again "
        "test_data.py::test_a_changed_image_does_not_change_what_another_run_has_open",
        "_Cache.fill",
        (
            "old_pixels_stay",
            "while self.make(self.unsure(rows), workers):",
            "if self.make(self.unsure(rows), workers):",
        ),
        ("under_the_feet_of_others", "self.path.unlink()", "os.truncate(self.path, 0)"),
    ),
    *mutants(
        "reference.faces",
        "test_data.py::test_a_changed_image_of_the_same_size_is_decoded_again "
        "test_data.py::test_times_that_reached_the_disk_without_their_content_are_not_believed",
        "",
        ("times_unseen", "unsure[at + place] = when != whens[place].tobytes()", "unsure[at + place] = False"),
        ("content_not_bound_to_times", "repr(times).encode() + content", "repr(times).encode()"),
    ),
    *mutants(
        "reference.faces",
        "test_data.py::test_the_times_of_a_file_written_just_now_are_not_trusted",
        "_Cache.save",
        ("young_times_trusted", "> _CLOCK_STEP_NS", "> -(10**18)"),
    ),
    *mutants(
        "reference.faces",
        "test_data.py::test_an_image_that_changes_while_it_is_read",
        "_make",
        ("changes_unseen", "if _times(line, roots) != before:", "if False:"),
    ),
    *mutants(
        "reference.clip_features",
        "test_clip.py::test_damaged_features_are_computed_again "
        "test_clip.py::test_other_weights_images_ranges_and_activations_have_features_of_their_own",
        "_kept",
        ("damage_unseen", "known &= entries", "known & entries"),
        ("of_other_images", '(entries["content"][rows] == faces.content[rows]).all', 'entries["content"][rows].any'),
    ),
    *mutants(
        "reference.clip_features",
        "test_clip.py::test_a_tower_is_hashed_once_and_again_when_it_was_trained",
        "_tower_sha256",
        ("training_unseen", " or _towers[visual][0] != written", ""),
        ("hashed_each_time", "visual not in _towers or _towers[visual][0] != written", "True"),
    ),
    *mutants(
        "paper_tables.numbers.bootstrap",
        "test_paper_tables.py::test_each_resample_equals_whole_arrays_of_all_to_the_bit "
        "test_paper_tables.py::test_one_bona_fide_frame_in_a_hundred_may_be_rejected "
        "test_paper_tables.py::test_a_resample_equals_the_metric_of_the_set_with_samples_repeated",
        "Resample",
        ("first_crossing_alone", "min(max(crossing - 1, 0), crossing, key=self._inequality)", "crossing"),
        ("fewer_than_one_percent", "bisect_right(", "bisect_left("),
        ("ties_are_lost", "self.ranking.attacks_not_above", "self.ranking.attacks_below"),
        ("errors_in_no_order", "accepted * self.n_live + rejected * self.n_attack", "0"),
    ),
]

BUGS = [
    *EQUATIONS,
    *ALIGNMENT,
    *MMFAS,
    *MMDA,
    *RELEASED_EVALUATION,
    *WHAT_A_CHOICE_IS_WORTH,
    *DEAD_GRADIENTS,
    *DATA_AT_SCALE,
    *scale.BUGS,
    *disk.BUGS,
    *score_files.BUGS,
    *SUITE,
    *of_rows.OURS,
    *tables.BUGS,
]
