"""ERRATA.md: the contradicted claims of both papers, and our own errors."""

import tomllib
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

from data_manifests.errors import BadInput
from paper_tables.audit.ledger import Entry
from paper_tables.audit.numbers import HERE

FIELDS = ("date", "place", "was", "is", "found_by")
INTRODUCTION = """# Errata

Written by `make errata` from the claims ledger; do not edit. Each entry is a claim of a published paper that its own
printed numbers, or the released code, contradict. A contradiction is not an accusation: every entry says by how much,
what it assumes, what may explain it and what would settle it. `python -m paper_tables.audit --claim ID` repeats the
computation.
"""


def own(path: Path = HERE / "own_errata.toml") -> list[dict[str, str]]:
    """This project's errors. Raises BadInput unless each has every field."""
    try:
        entries = tomllib.loads(path.read_text(encoding="utf-8"))["erratum"]
    except (tomllib.TOMLDecodeError, KeyError) as e:
        raise BadInput(f"{path}: not a list of [[erratum]] entries ({e}); restore it from the repository") from e
    for i, entry in enumerate(entries):
        if set(entry) != set(FIELDS):
            raise BadInput(f"{path}: erratum {i + 1} must have exactly {', '.join(FIELDS)}")
    return list(entries)


def markdown(entries: list[Entry], ours: list[dict[str, str]]) -> str:
    """The whole file. Neighbouring claims with the same quote, kind, assumption and explanation share one."""
    parts = [INTRODUCTION]
    for paper in ("mmFAS", "MMDA"):
        wrong = [e for e in entries if e.claim.paper == paper and e.finding.verdict == "contradicted"]
        parts.append(f"\n## {paper}: {len(wrong)} claims\n")
        for _, family in groupby(wrong, key=lambda e: (e.claim.kind, e.claim.quote, e.claim.explains, e.claim.assumes)):
            parts += _section(list(family))
    parts.append("\n## This project\n\n")
    parts += [f"* {x['date']}, {x['place']}: was {x['was']}; is {x['is']} (found by {x['found_by']}).\n" for x in ours]
    return "".join(parts if ours else [*parts, "None known yet.\n"])


def _section(family: list[Entry]) -> Iterator[str]:
    c = family[0].claim
    says = c.says if all(e.claim.says == c.says for e in family) else f"{c.says}, and {len(family) - 1} alike"
    yield f"\n### {says[0].upper()}{says[1:]}\n\n"
    if c.quote:
        yield f"Quoted: “{c.quote}”. "
    yield f"Kind: {c.kind}.\n\n"
    for e in family:
        computed = " ".join(line if line.endswith(".") else f"{line}." for line in e.finding.computation)
        yield f"* {e.claim.place} (`{e.claim.id}`): **{e.finding.figure}**. {computed}\n"
    yield "\n"
    for label, text in (("Assumes", c.assumes), ("May be", c.explains), ("Settled by", c.settles)):
        if text:
            yield f"{label}: {text}.\n"
