"""The campaign against broken code: what counts as killed, and whether its lists still fit the code."""

import contextlib
import io
import signal

import pytest

from spec_tests.bugs import campaign, mutants, operators, our_bugs, second_implementation_bugs
from spec_tests.bugs.campaign import SECOND, Mutant
from spec_tests.bugs.forked import clean_processes
from spec_tests.equations import adapter

EVERY = [m for group in mutants.COLLECTIONS.values() for m in group]


def judged(chosen: list[Mutant]) -> list[tuple[str, str]]:
    """(killer, other equation that noticed) of each mutant."""
    verdicts: list[campaign.Verdict] = []
    with contextlib.redirect_stdout(io.StringIO()):
        campaign.run(chosen, verdicts.append)
    return [(v.killer, v.others) for v in verdicts]


BUGS = [
    "second_implementation:icl_loss:half_dropped",
    "second_implementation:gumbel_choice:argmax",
    "second_implementation:domain_partner:first_for_random",
    "second_implementation:differential_attention:root_of_the_temperature",
    "second_implementation:eer:ties_by_greatest_threshold (M10)",
    "mmfas:attention:softmax_over_queries",
    "metrics:auc:ties_lose",
    "mmda:rs2_loss:visual_cls + text_cls → visual_cls - text_cls",
    "mmfas:Alignment._targets:not_a_distribution",
    "adapter:_with_snippet:failures_swallowed (M12)",
]
SAME = Mutant("reference.mmfas", ("mmfas-eq9",), "total_loss", "reordered", "bce + alpha * icl", "alpha * icl + bce")
ELSEWHERE = Mutant(SECOND, ("mmfas-eq9",), "similarity", "doubled", "return dots\n", "return 2 * dots\n")
BROKEN = Mutant(SECOND, ("mmfas-eq9",), "", "broken", "import math\n", "import no_such_thing\n")


@pytest.fixture(scope="module")
def outcomes() -> dict[str, tuple[str, str]]:
    chosen = [*(m for m in EVERY if m.id in BUGS), SAME, ELSEWHERE]
    assert len(chosen) == len(BUGS) + 2
    with clean_processes() as in_clean_process:
        return {m.id: o for m, o in zip(chosen, next(iter(in_clean_process(judged, [chosen]))), strict=True)}


@pytest.mark.parametrize("bug", BUGS)
def test_a_bug_is_killed_by_tests_of_what_it_breaks(outcomes, bug):
    mutant = next(m for m in EVERY if m.id == bug)
    files = {e["id"]: e["tests"] for e in adapter.REGISTRY}
    assert outcomes[bug][0].partition("::")[0] in {files.get(t, t.partition("::")[0]) for t in mutant.tests}


def test_a_variant_that_is_no_bug_survives_and_another_equations_test_is_no_kill(outcomes):
    assert outcomes[SAME.id] == ("", "")
    assert outcomes[ELSEWHERE.id] == ("", "mmfas-eq1")


def test_a_bug_that_never_ends_is_stopped_by_the_clock():
    def endless():
        while True:
            pass

    assert campaign._forked(endless, 1)[0] == -signal.SIGXCPU


def test_a_bug_that_does_not_even_run_is_told_apart_from_one_that_a_test_notices():
    status, message = campaign._forked(lambda: campaign.install(BROKEN), 60)
    assert status == 1
    assert "ModuleNotFoundError" in message


def test_every_bug_is_named_once_and_fits_the_code_as_it_is():
    ids = [m.id for m in EVERY]
    assert len(set(ids)) == len(ids)
    for mutant in EVERY:
        assert mutant.source() != campaign.source_of(mutant.module)


def test_every_equation_has_bugs_of_both_kinds():
    ids = {e["id"] for e in adapter.REGISTRY}
    assert {m.tests[0] for m in second_implementation_bugs.BUGS} == ids
    assert {test for m in our_bugs.BUGS for test in m.tests if test in ids} == ids
    assert {f"M{n}" for n in range(1, 13)} == {
        m.name.rpartition("(")[2].removesuffix(")") for m in our_bugs.BUGS if "(M" in m.name
    }


def test_what_is_called_equivalent_is_there_and_argued_for():
    assert operators.equivalent().keys() <= {m.id for m in operators.every()}


def test_an_unknown_mutant_is_one_sentence(capsys):
    assert mutants.main(["--only", "no_such"]) == 2
    assert capsys.readouterr().err == "error: no mutant is called no_such; see --list\n"


def test_no_two_test_files_share_a_name():
    """A bug names the file whose tests must notice it, wherever that file lies."""
    names = [path.name for path in campaign.HERE.parent.rglob("test_*.py")]
    assert len(set(names)) == len(names)
