"""Single bugs of `check`, which reads anybody's printed table and asks whether it can be true."""

from __future__ import annotations

from spec_tests.bugs.campaign import Mutant, mutants


def check(file: str, function: str, *changes: tuple[str, str, str]) -> list[Mutant]:
    return mutants(f"paper_tables.audit.check.{file}", "test_check.py", function, *changes)


BUGS = [
    *check(
        "questions",
        "average",
        ("cells_exact", "(t.points(printed), possible)", "(t.points(printed), (mean, mean))"),
        ("weights_left_out", "Fraction(of.weights[s]) / Fraction(total)", "Fraction(1, len(of.of))"),
        ("headings_believed", "otherwise=unless(of.stated)", "otherwise=unless(True)"),
    ),
    *check(
        "questions",
        "weighted",
        ("weights_never_explained", '.verdict != "confirmed"', '.verdict == "observed"'),
    ),
    *check(
        "questions",
        "half_sum",
        ("definition_not_asked_for", "unless(t.states.half_sums)", "unless(True)"),
        ("whole_sum", "[Fraction(1, 2)] * 2", "[Fraction(1)] * 2"),
    ),
    *check(
        "questions",
        "auc_bound",
        ("threshold_not_asked_for", "stated and enough", "enough"),
        ("few_samples_enough", "stated and enough", "stated"),
        ("every_hter_an_eer", 't.states.hter == "fixed"', 't.states.hter == "never"'),
        ("lowest_as_any", "bounds.youden_auc(min(rate[0], 0.5))", "1.0"),
        ("rates_exactly_equal", "1 / _fewest(t, group)", "0"),
    ),
    *check("questions", "auc_point", ("rate_of_attacks_ignored", "far[1] + 1", "0 * far[1] + 1")),
    *check(
        "questions",
        "_no_counts",
        ("interpolated_rates_accused", "column.at is not None or ", ""),
        ("samples_of_others", "t.states.same_samples and not interpolated", "not interpolated"),
    ),
    *check("questions", "whole_count", ("first_total_alone", "for total in totals:", "for total in totals[:1]:")),
    *check(
        "questions",
        "live_shares",
        ("classes_not_exchanged", "else (1 - high, 1 - low)", "else (low, high)"),
        ("point_met_exactly", "held[0] - step", "held[1]"),
    ),
    *check("questions", "all_accuracies", ("other_samples_accused", "unless(t.states.same_samples)", "unless(True)")),
    *check(
        "questions",
        "mark",
        ("any_mark_is_best", "unless(bool(t.states.bold))", "unless(True)"),
        ("ties_accused", "if row not in best and", "if"),
    ),
    *check("questions", "_is_gain", ("relative_left_out", 'relative and g.kind != "points"', "False")),
    *check("questions", "alike", ("common_numbers_counted", "== 2}", ">= 2}")),
    *check("command", "_decide", ("readings_of_the_ledger_alone", "ALL_PRINTINGS", '("rounded",)')),
    *check("command", "main", ("never_fails", 'x.result.verdict == "contradicted"', "False")),
    *check(
        "reading",
        "_in_percent",
        ("fractions_taken_for_percentages", "0 < most <= 1", "0 < most < 0"),
        ("fractions_kept", 'each.get(k) == "fraction"', "False"),
    ),
    *check("reading", "_positive", ("weight_of_zero", "if value == 0", "if False")),
    *check("reading", "_cells", ("rows_with_one_name", "if row[0] in rows", "if False")),
    *check("reading", "text_of", ("mark_of_byte_order_kept", '"utf-8-sig"', '"utf-8"')),
    *check("cells", "parse", ("bold_lost", "Cell(value, bold,", "Cell(value, False,")),
    *check("headings", "metrics_in", ("metrics_inside_words", "(?<![A-Za-z])", "")),
    *mutants(
        "paper_tables.audit.counts", "test_check.py", "count_within", ("end_left_out", "<= shares[1]", "< shares[1]")
    ),
    *mutants(
        "paper_tables.audit.bounds",
        "test_check.py test_audit.py",
        "auc_range_of_half_sum",
        ("always_possible", "max(0.0, 1 - 2 * hter)", "0.0"),
    ),
]
