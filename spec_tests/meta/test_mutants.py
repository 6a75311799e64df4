"""The campaign against broken code: what counts as killed, and whether its lists still fit the code."""

import contextlib
import io

import pytest

from spec_tests import adapter
from spec_tests.meta import campaign, independent_bugs, mutants, operators, our_bugs
from spec_tests.meta.campaign import INDEPENDENT, Mutant
from spec_tests.meta.forked import clean_processes

EVERY = [m for group in mutants.COLLECTIONS.values() for m in group]


def judged(job: tuple[list[Mutant], int]) -> list[tuple[str, str]]:
    """(killer, other equation that noticed) of each mutant; `job` holds them and the seconds one may take."""
    chosen, campaign.LIMIT = job
    verdicts: list[campaign.Verdict] = []
    with contextlib.redirect_stdout(io.StringIO()):
        campaign.run(chosen, verdicts.append)
    return [(v.killer, v.others) for v in verdicts]


def judge(*chosen: Mutant, limit: int = 60) -> list[tuple[str, str]]:
    with clean_processes() as in_clean_process:
        return next(iter(in_clean_process(judged, [([*chosen], limit)])))


def named(*ids: str) -> list[Mutant]:
    found = [m for m in EVERY if m.id in ids]
    assert len(found) == len(ids)
    return found


def test_bugs_are_killed_by_tests_of_the_equation_that_they_break():
    chosen = named(
        "independent:icl_loss:half_dropped",
        "independent:gumbel_choice:argmax",
        "independent:domain_partner:first_for_random",
        "independent:differential_attention:root_of_the_temperature",
        "independent:eer:ties_by_greatest_threshold (M10)",
        "mmfas:attention:softmax_over_queries",
        "metrics:auc:ties_lose",
        "mmda:rs2_loss:visual_cls + text_cls → visual_cls - text_cls",
        "mmfas:Alignment._targets:not_a_distribution",
        "adapter:_with_snippet:failures_swallowed (M12)",
    )
    files = {e["id"]: e["tests"] for e in adapter.REGISTRY}
    for mutant, (killer, _) in zip(chosen, judge(*chosen), strict=True):
        where = {files.get(test, test.partition("::")[0]) for test in mutant.tests}
        assert killer.partition("::")[0] in where, mutant.id


def test_a_variant_that_is_no_bug_survives_and_another_equations_test_is_no_kill():
    same = Mutant(INDEPENDENT, ("mmfas-eq9",), "total_loss", "reordered", "bce + alpha * icl", "alpha * icl + bce")
    elsewhere = Mutant(INDEPENDENT, ("mmfas-eq9",), "similarity", "doubled", "return dots\n", "return 2 * dots\n")
    assert judge(same, elsewhere) == [("", ""), ("", "mmfas-eq1")]


def test_a_bug_that_never_ends_is_killed_by_the_clock():
    endless = Mutant(
        INDEPENDENT, ("mmfas-eq9",), "total_loss", "endless", "    return", "    while True: pass\n    return"
    )
    assert judge(endless, limit=3) == [("no end within 3 s", "")]


def test_a_bug_that_does_not_run_is_no_kill():
    broken = Mutant(INDEPENDENT, ("mmfas-eq9",), "", "broken", "import math\n", "import math_\n")
    with pytest.raises(RuntimeError, match="status 1"):
        judge(broken)


def test_every_bug_is_named_once_and_fits_the_code_as_it_is():
    ids = [m.id for m in EVERY]
    assert len(set(ids)) == len(ids)
    for mutant in EVERY:
        assert mutant.source() != campaign.source_of(mutant.module)


def test_every_equation_has_bugs_of_both_kinds():
    ids = {e["id"] for e in adapter.REGISTRY}
    assert {m.tests[0] for m in independent_bugs.BUGS} == ids
    assert {test for m in our_bugs.BUGS for test in m.tests if test in ids} == ids
    assert {f"M{n}" for n in range(1, 13)} == {
        m.name.rpartition("(")[2].removesuffix(")") for m in our_bugs.BUGS if "(M" in m.name
    }


def test_what_is_called_equivalent_is_there_and_argued_for():
    assert operators.equivalent().keys() <= {m.id for m in operators.every()}


def test_an_unknown_mutant_is_one_sentence(capsys):
    assert mutants.main(["--only", "no_such"]) == 2
    assert capsys.readouterr().err == "error: no mutant is called no_such; see --list\n"
