"""Bugs of PipeNet."""

from spec_tests.bugs.campaign import SECOND as TWIN
from spec_tests.bugs.campaign import mutants

_VOTE, _ROW, _FILE = "pipenet-vote", "reference.rivals.pipenet", "test_pipenet.py"

SECOND = [
    *mutants(
        TWIN,
        _VOTE,
        "limited_frame_vote",
        ("two_deviations", "<= 9 * squares", "<= 4 * squares"),
        ("variance_of_a_sample", "9 * squares.sum() / count", "9 * squares.sum() / max(count - 1, 1)"),
        ("lower_median", "(ordered[(count - 1) // 2] + ordered[count // 2]) * 0.5", "ordered[(count - 1) // 2]"),
        ("without_the_normal_factor", "4.4478", "3"),
        ("one_factor_only", "4.4478", "1.4826"),
        ("fifth_trimmed", "scores[(ranks >= count // 10)", "scores[(ranks >= count // 5)"),
        ("trimmed_below_only", " & (ranks < count - count // 10)", ""),
        ("at_least_one_trimmed", "ranks >= count // 10", "ranks >= (count // 10 or int(count > 1))"),
        ("trimmed_by_place_in_time", "x.argsort().argsort()", "torch.arange(count, device=x.device)"),
        ("always_skips", "if skips:", "if True:"),
        ("never_skips", "if skips:", "if False:"),
        ("one_of_each_run", "in_its_run % 2 == 0", "in_its_run != 1"),
        ("others_of_each_run", "stays = in_its_run % 2 == 0", "stays = stays | (in_its_run % 2 == 1)"),
        ("median_of_the_rest", "return scores[stays].mean()", "return scores[stays].median()"),
        ("outer_frames_vote", "return scores[stays].mean()", "return scores.mean() + 0 * scores[stays].mean()"),
        ("other_default", 'rule="sigma"', 'rule="mad"'),
        ("detached", "return scores[stays].mean()", "return scores[stays].detach().mean()"),
    )
]

OURS = [
    *mutants(
        _ROW,
        _VOTE,
        "limited_frame_vote",
        ("whole_runs_skipped", "range(1, len(out))", "range(len(out) - 1, 0, -1)"),
        ("deviation_of_the_mean", "distances.square().mean().sqrt()", "distances.mean()"),
    ),
    *mutants(
        _ROW,
        f"{_FILE}::test_three_pipelines_meet_and_are_judged",
        "",
        ("resnets_pooling", "nn.MaxPool2d(2, 2)", "nn.MaxPool2d(3, 2, padding=1)"),
        ("always_shared", "[*self.pipelines] if len(self.pipelines) == 3 else", ""),
        ("one_excitation", "pipelines, self.excitations", "pipelines, [self.excitations[0]] * 3"),
        ("kept_ignored", "features = without(features, kept)", "pass"),
        (
            "colours_as_they_come",
            "in zip(intensities(rgb, depth, ir)",
            "in zip(((rgb + 1) / 2, (depth + 1) / 2, (ir + 1) / 2)",
        ),
        ("infrared_first", "torch.cat(features, 1)", "torch.cat(features[::-1], 1)"),
    ),
    *mutants(
        _ROW,
        f"{_FILE}::test_a_pipeline_begins_as_torchvisions_resnet",
        "",
        ("plain_initial_weights", "isinstance(module, nn.Conv2d)", "False"),
    ),
    *mutants(
        _ROW,
        f"{_FILE}::test_which_preset_shares_its_pipeline",
        "",
        ("shared_in_every_preset", 'reading("own", table', 'reading("shared", table'),
        ("own_where_shared", '== "shared",', '== "own",'),
    ),
    *mutants(
        _ROW,
        _FILE,
        "lit",
        ("border_only_of_rows", "[:, :, :, bright.any(0)]", ""),
        ("other_axes", "bright.any(1)][:, :, :, bright.any(0)]", "bright.any(0)][:, :, :, bright.any(1)]"),
        ("grey_of_its_own_colours", "GREY[::-1]", "GREY"),
        ("seven_counts", "> DARK", ">= DARK"),
        ("nothing_left", " if bright.any() else x", ""),
    ),
    *mutants(
        _ROW,
        _FILE,
        "Method.images_at_test",
        ("colours_stay", "grey(rgb).expand_as(rgb)", "rgb"),
        ("dark_stays", "resized(lit(image), side)", "resized(image, side)"),
        ("always_lit", 'self.options.test_images == "as_trained"', "False"),
    ),
    *mutants(
        _ROW,
        _FILE,
        "voted",
        ("votes_on_log_odds", ".sigmoid()", ""),
        ("all_frames_together", "np.flatnonzero(recordings == recording)", "np.flatnonzero(recordings >= 0)"),
        ("skips_ignored", "rule, skips).item()", "rule, False).item()"),
    ),
    *mutants(
        _ROW,
        _FILE,
        "Method.evaluate",
        ("vote_though_none", 'options.vote == "none"', "False"),
        ("never_votes", 'options.vote == "none"', "True"),
        ("recordings_of_other_frames", "training.faces.recording[rows]", "training.faces.recording[: len(rows)]"),
        ("skips_forgotten", "options.vote_skips", "False"),
    ),
    *mutants(
        "reference.rivals.method",
        f"{_FILE}::test_a_run_keeps_the_votes",
        "train",
        (
            "sets_scored_by_batches_alone",
            "method.evaluate(training, sets)",
            "training.predict(method.network, method.predict, sets)",
        ),
    ),
]
