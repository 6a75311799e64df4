"""Check anybody's table: a TOML file, a CSV file pasted from a PDF, or one of the two papers' own tables.

    python -m paper_tables.audit check table.toml
    python -m paper_tables.audit check pasted.csv --metrics hter,auc --unit percent
    python -m paper_tables.audit check mmfas-table1

Exit status 0 when nothing in the table is impossible, 1 when something is, 2 on unusable input.
"""

import argparse
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from data_manifests.errors import BadInput
from paper_tables.audit.check import papers, reading
from paper_tables.audit.check.questions import claims
from paper_tables.audit.check.table import Table
from paper_tables.audit.claim import Claim, Result, Verdict, described, settle
from paper_tables.audit.printing import ALL_PRINTINGS

ORDER: tuple[Verdict, ...] = ("contradicted", "undetermined", "needs data", "observed", "confirmed")
READ = (
    "A number is read as rounded, as cut, and as either from cell to cell. What no reading allows is contradicted, "
    "and only by the printed numbers and by what the file states."
)


@dataclass(frozen=True)
class Checked:
    """A statement about a table, decided."""

    claim: Claim[Table]
    result: Result


def check(table: Table) -> list[Checked]:
    """Every statement, decided: what is contradicted first."""
    found = [Checked(c, _decide(c, table)) for c in claims(table)]
    return sorted(found, key=lambda x: ORDER.index(x.result.verdict))


def _decide(claim: Claim[Table], table: Table) -> Result:
    """Confirmed if one reading of the numbers confirms it, contradicted only if every one contradicts it."""
    results = [settle(claim, table, (printing,)) for printing in ALL_PRINTINGS]
    confirmed = [x for x in results if x.verdict == "confirmed"]
    possible = [x for x in results if x.verdict != "contradicted"]
    result = (confirmed or possible or results[-1:])[0]
    if results[0].verdict != result.verdict:
        line = "Not so if every number was rounded; so if numbers were cut after the last digit."
        return replace(result, computation=(*result.computation, line))
    return result


def counted(found: Sequence[Checked]) -> str:
    verdicts = Counter(x.result.verdict for x in found)
    return ", ".join(f"{verdicts[v]} {v}" for v in ORDER)


def as_text(table: Table, found: Sequence[Checked]) -> Iterator[str]:
    yield f"{table.title} (rows {len(table.rows)}, columns {len(table.columns)})"
    yield from ([f"source: {table.source}"] if table.source else [])
    yield from (f"taken: {line}" for line in table.taken)
    for x in found:
        yield f"\n{x.result.verdict:<13}{x.claim.id}: {x.result.figure}"
        for label, text in described(x.claim, x.result):
            if label != "verdict":
                yield f"  {label:<11}{text}"
    yield f"\n{READ}"
    yield f"{len(found)} statements: {counted(found)}"


def as_markdown(table: Table, found: Sequence[Checked]) -> Iterator[str]:
    yield f"# {table.title}\n"
    yield f"{table.source}\n" if table.source else ""
    yield f"{len(found)} statements: {counted(found)}. {READ}\n"
    yield from (f"* taken: {line}" for line in table.taken)
    for verdict in ORDER:
        some = [x for x in found if x.result.verdict == verdict]
        if some:
            yield f"\n## {verdict.capitalize()}\n"
        for x in some:
            lines = (f"{label}: {text}" for label, text in described(x.claim, x.result) if label != "verdict")
            yield f"* `{x.claim.id}`: **{x.result.figure}**\n" + "\n".join(f"  * {line}" for line in lines)


def as_json(table: Table, found: Sequence[Checked]) -> str:
    names = ("id", "place", "kind", "says", "quote", "between", "assumes", "explains", "settles")
    checks = [
        {name: getattr(x.claim, name) for name in names}
        | {"verdict": x.result.verdict, "figure": x.result.figure, "computation": list(x.result.computation)}
        for x in found
    ]
    content = {"title": table.title, "source": table.source, "taken": list(table.taken), "checks": checks}
    return json.dumps(content, ensure_ascii=False, indent=1)


def load(name: str, metrics: Sequence[str] = (), ignore: Sequence[str] = (), unit: str = "") -> Table:
    """A table by the name of its file, or one of the two papers' own by its name. Raises BadInput."""
    if name in papers.NAMES and not Path(name).exists():
        return reading.from_toml(papers.toml(name), name, Path(), metrics, ignore, unit)
    return reading.read(Path(name), metrics, ignore, unit)


def read_options(argv: Sequence[str]) -> argparse.Namespace:
    p = argparse.ArgumentParser(
        prog="python -m paper_tables.audit check",
        description="Check whether a printed table can be true.",
        epilog="paper_tables/audit/check/README.md shows a file and what it may state.",
    )
    p.add_argument("table", metavar="TABLE", help=f"a TOML or CSV file, or one of {', '.join(papers.NAMES)}")
    p.add_argument("--metrics", metavar="M,M", default="", help="the metrics of the columns, as in hter,auc")
    p.add_argument("--ignore", metavar="HEADING", action="append", default=[], help="leave this column out")
    p.add_argument("--unit", choices=reading.UNITS, default="", help="what all numbers are, where it is not plain")
    form = p.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print JSON")
    form.add_argument("--markdown", action="store_true", help="print Markdown")
    form.add_argument("--toml", action="store_true", help="print a table of the two papers as TOML, unchecked")
    return p.parse_args(argv)


def main(argv: Sequence[str]) -> int:
    options = read_options(argv)
    if options.toml:
        if options.table not in papers.NAMES:
            raise BadInput(f"--toml prints the papers' own tables, {', '.join(papers.NAMES)}; {options.table} is none")
        print(papers.toml(options.table), end="")
        return 0
    metrics = [x for x in options.metrics.split(",") if x]
    table = load(options.table, metrics, options.ignore, options.unit)
    found = check(table)
    if options.json:
        print(as_json(table, found))
    else:
        print("\n".join((as_markdown if options.markdown else as_text)(table, found)))
    return int(any(x.result.verdict == "contradicted" for x in found))
