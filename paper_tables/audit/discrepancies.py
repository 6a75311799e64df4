"""DISCREPANCIES.md: our own errors, then the findings of both papers with their checks, and the observations."""

import tomllib
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path

from data_manifests.errors import BadInput
from paper_tables.audit.claim import OBSERVATION, PAPERS
from paper_tables.audit.findings import Finding, counted
from paper_tables.audit.ledger import Entry
from paper_tables.audit.numbers import HERE

OWN = HERE / "own_errors.toml"
FIELDS = ("date", "place", "was", "is", "found_by")
INTRODUCTION = """# Discrepancies

Written by `make discrepancies`; do not edit. This page lists our own errors first, then places where two printed
numbers of a paper, or a sentence and a number, do not go together, as far as we can see. Errata are the authors' to
issue; these are questions from readers who recomputed the tables. We say of a paper only what its own text and numbers
show, with the outside facts that we name, and every finding gives the most innocent explanation that we could think of.
Nothing here says why a difference arose.

[The method](paper_tables/audit/METHOD.md) explains the verdicts and every threshold.
`python -m paper_tables.audit --claim ID` repeats a computation. If you are an author or know better, open an issue with
the template *Contest a finding*: the finding is marked disputed on the day we read it, your answer is quoted beside it
in your words, and we correct or withdraw what it settles.
"""


def own(path: Path = OWN) -> list[dict[str, str]]:
    """This project's errors. Raises BadInput unless each has every field."""
    try:
        entries = tomllib.loads(path.read_text(encoding="utf-8"))["error"]
    except (tomllib.TOMLDecodeError, KeyError) as e:
        raise BadInput(f"{path}: not a list of [[error]] entries ({e}); restore it from the repository") from e
    for i, entry in enumerate(entries):
        if set(entry) != set(FIELDS):
            raise BadInput(f"{path}: error {i + 1} must have exactly {', '.join(FIELDS)}")
    return list(entries)


def markdown(found: Sequence[Finding], entries: Sequence[Entry], ours: Sequence[dict[str, str]]) -> str:
    """The whole page."""
    parts = [INTRODUCTION, "\n## This project's own errors\n\n"]
    parts += [f"* {x['date']}, {x['place']}: was {x['was']}; is {x['is']} (found by {x['found_by']}).\n" for x in ours]
    parts += [] if ours else ["None known yet.\n"]
    for paper in PAPERS.values():
        parts.append(f"\n## {paper}\n\n{counted(found, entries, paper)}.\n")
        for finding in found:
            if finding.record.paper == paper:
                parts += section(finding)
        parts.append(f"\n### Observations on {paper}\n\nThe paper does not say otherwise; we noticed:\n\n")
        seen = [e for e in entries if e.claim.paper == paper and e.claim.kind == OBSERVATION]
        for _, alike in groupby(seen, key=lambda e: e.claim.says):
            parts += _observation(list(alike))
    return "".join(parts)


def section(finding: Finding) -> Iterator[str]:
    """One finding in full, as Markdown."""
    r = finding.record
    yield f"\n### {r.title}\n\n`{r.id}`, **{finding.verdict}**, {r.status} since {r.date}. {r.place}: {r.claim}\n\n"
    for e in finding.checks:
        yield f"* {e.claim.place} (`{e.claim.id}`): {e.result.verdict}, **{e.result.figure}**. {_sentences(e)}\n"
    if finding.observations:
        yield f"\nSee also: {', '.join(f'`{e.claim.id}`' for e in finding.observations)}.\n"
    yield "\n"
    for label, text in (
        ("Assumes", r.assumes),
        ("The verdict flips", r.flips),
        ("Most innocent explanation", r.innocent),
        ("Settled by", r.settles),
        *(("Since then", line) for line in r.history),
    ):
        if text:
            yield f"{label}: {text}.\n"


def _observation(alike: list[Entry]) -> Iterator[str]:
    says = alike[0].claim.says
    yield f"* {says[0].upper()}{says[1:]}.\n"
    for e in alike:
        yield f"  * {e.claim.place} (`{e.claim.id}`): **{e.result.figure}**. {_sentences(e)}\n"
    for label, text in (("Assumes", alike[0].claim.assumes), ("May be", alike[0].claim.explains)):
        if text:
            yield f"  * {label}: {text}.\n"


def _sentences(e: Entry) -> str:
    return " ".join(line if line.endswith(".") else f"{line}." for line in e.result.computation)
