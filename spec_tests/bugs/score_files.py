"""Single bugs of the evaluation of score files."""

from __future__ import annotations

from spec_tests.bugs.campaign import Mutant, mutants

_ROOM, _NUMBERS, _COMMAND = "paper_tables.evaluation", "test_evaluation_numbers.py", "test_evaluation.py"


def numbers(file: str, function: str, *changes: tuple[str, str, str]) -> list[Mutant]:
    return mutants(f"{_ROOM}.{file}", _NUMBERS, function, *changes)


def command(file: str, function: str, *changes: tuple[str, str, str]) -> list[Mutant]:
    return mutants(f"{_ROOM}.{file}", _COMMAND, function, *changes)


BUGS = [
    *numbers("measures", "least_rejected", ("fewer_than_the_rate", "/ total <= apcer", "/ total < apcer")),
    *numbers(
        "measures",
        "bpcer_at_apcer",
        ("the_last_family_decides", "cut = max(cut, float(", "cut = max(-math.inf, float("),
    ),
    *numbers("measures", "threshold_at_apcer", ("the_attack_itself_passes", "scores > attack", "scores >= attack")),
    *numbers(
        "measures",
        "_at",
        (
            "accuracy_is_balanced",
            "1 - (far * (bonafide.size - live) + frr * live) / bonafide.size",
            "1 - (far + frr) / 2",
        ),
        ("few_attacks_count_as_the_worst", " if not families.few(name)", ""),
    ),
    *numbers(
        "estimates",
        "_of_worst",
        ("the_error_is_not_shared", "_TAIL / len(number.plus)", "_TAIL"),
        ("the_least_bad_family", "low = max(min(", "low = min(min("),
    ),
    *numbers(
        "estimates",
        "_bca",
        ("never_corrected_for_bias", "norm.ppf(np.clip(", "0 * norm.ppf(np.clip("),
        ("never_accelerated", "1 - acceleration * shifted", "1 + 0 * shifted"),
        ("as_if_subjects_were_many", "math.sqrt(n / (n - 1)) * t.ppf(tail, n - 1)", "norm.ppf(tail)"),
    ),
    *numbers("estimates", "exact_bound", ("one_sided", "_TAIL **", "(2 * _TAIL) **")),
    *numbers(
        "estimates", "_sum", ("a_difference_keeps_its_sides", "(term.below if w > 0 else term.above)", "term.below")
    ),
    *numbers(
        "resamples",
        "Resampled.slack",
        ("no_errors_no_doubt", "return (attacks[0] + live[0]) / 2, (attacks[1] + live[1]) / 2", "return 0.0, 0.0"),
        ("of_the_larger_class", "exact_bound(min(", "exact_bound(max("),
    ),
    *numbers(
        "resamples",
        "draws",
        ("of_all_subjects_alike", "for members in units.strata:", "for members in [np.arange(units.keys.size)]:"),
    ),
    *command(
        "samples",
        "_epoch",
        ("the_test_chooses", "pool.rows(split[DEVELOPMENT], epoch=code)", "pool.rows(split[TEST], epoch=code)"),
        ("epochs_in_the_order_of_the_alphabet", "key=lambda item: float(item[0])", "key=lambda item: item[0]"),
    ),
    *command("samples", "_fixed", ("a_threshold_of_half", "metrics.eer(score, bonafide)\n", "0.5, 0.5\n")),
    *command("meaning", "_polarity", ("attacks_are_low", 'said == "attack"', "False")),
    *command("meaning", "_differ", ("any_scale_will_do", "_kind(a) != _kind(b) and", "False and")),
    *command("evaluation", "_average", ("sets_weigh_alike", "if kind == WEIGHTED else 1.0", "if False else 1.0")),
    *command(
        "evaluation",
        "_Set._pair",
        ("in_the_order_of_the_file", 'rows[np.argsort(own[rows, 0], kind="stable")]', "rows"),
    ),
    *command("csv_file", "_numbers", ("one_line_off", "line {first + i}", "line {first + i + 1}")),
    *mutants(
        "paper_tables.rendering.render",
        "test_paper_tables.py::test_names_of_others_are_shown_in_markdown_as_they_are",
        "md_escape",
        ("marks_stay", "_MARKDOWN.sub(", "re.sub('never', "),
        ("entities_stay", '.replace("&", "&amp;")', ""),
    ),
]
