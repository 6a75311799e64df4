"""Check every recorded claim of the two papers against their printed numbers, and say what the checks come to.

    python -m paper_tables.audit
    python -m paper_tables.audit --claim mmda.counts.one_model.W
    python -m paper_tables.audit --json paper_tables/audit/ledger.json --discrepancies DISCREPANCIES.md
    python -m paper_tables.audit check TABLE

Exit status 0 when every verdict and figure is the recorded one, 1 when any has changed, 2 on unusable input. `check`
asks of anybody's table what it asks of these two papers: 1 when something in it cannot be.
"""

import argparse
import dataclasses
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from data_manifests.errors import BadInput, cli_errors, replacing
from paper_tables.audit import discrepancies
from paper_tables.audit.check import command as check
from paper_tables.audit.claim import OBSERVATION, PAPERS, Verdict, described
from paper_tables.audit.findings import Finding, counted, findings, records
from paper_tables.audit.ledger import Entry, decide, expected
from paper_tables.audit.numbers import read

COLOURS = {"confirmed": "green", "contradicted": "red", "disputed": "magenta"} | {
    "undetermined": "yellow", "needs data": "blue", "observed": "white",
}  # fmt: skip


def read_options(argv: Sequence[str]) -> argparse.Namespace:
    p = argparse.ArgumentParser(
        prog="python -m paper_tables.audit",
        description="Check the papers' claims.",
        epilog="`python -m paper_tables.audit check --help` says how to check any other table.",
    )
    p.add_argument("--claim", metavar="ID", help="print this check, observation or finding in full")
    p.add_argument("--json", type=Path, metavar="FILE", help="write the ledger as JSON")
    p.add_argument("--discrepancies", type=Path, metavar="FILE", help="write findings and observations as Markdown")
    return p.parse_args(argv)


def as_record(entry: Entry) -> dict[str, object]:
    """The claim and its result as plain JSON values."""
    c, f = entry.claim, entry.result
    return {
        **{name: getattr(c, name) for name in
           ("id", "paper", "place", "kind", "says", "quote", "between", "assumes", "explains", "settles")},
        "verdict": f.verdict,
        "figure": f.figure,
        "computation": list(f.computation),
        "expected": list(entry.expected),
        "as_expected": entry.as_expected,
    }  # fmt: skip


def as_json(found: list[Finding], entries: list[Entry]) -> bytes:
    """The ledger in its three layers."""
    layers = {
        "findings": [
            {
                **dataclasses.asdict(f.record),
                "paper": f.record.paper,
                "verdict": f.verdict,
                "checks": [e.claim.id for e in f.checks],
                "observations": [e.claim.id for e in f.observations],
                "run": [f"python -m paper_tables.audit --claim {e.claim.id}" for e in f.checks],
            }
            for f in found
        ],
        "checks": [as_record(e) for e in entries if e.claim.kind != OBSERVATION],
        "observations": [as_record(e) for e in entries if e.claim.kind == OBSERVATION],
    }
    return (json.dumps(layers, ensure_ascii=False, indent=1) + "\n").encode()


def print_claim(entry: Entry, console: Console) -> None:
    """One claim in full, and what was recorded for it if that is something else."""
    c, f = entry.claim, entry.result
    console.print(f"{c.id}\n{c.paper}, {c.place} ({c.kind})", markup=False, highlight=False)
    for label, text in described(c, f):
        console.print(f"  {label:<11}{text}", markup=False, highlight=False, soft_wrap=True)
        if label == "verdict" and not entry.as_expected:
            console.print(f"  recorded   {entry.expected[0]} ({entry.expected[1]})", markup=False, highlight=False)


def print_ledger(found: list[Finding], entries: list[Entry], console: Console) -> None:
    """For each paper its checks and observations, its findings, and the counts."""
    for paper in PAPERS.values():
        rows = [(e.result.verdict, e.claim.id, e.result.figure) for e in entries if e.claim.paper == paper]
        heads = [(f.verdict, f.record.id, f.record.title) for f in found if f.record.paper == paper]
        title = f"{paper}: {counted(found, entries, paper)}"
        if console.is_terminal:
            console.print(_table("Checks and observations (--claim prints one in full)", "Figure", rows))
            console.print(_table("Findings (--claim prints one in full)", "What", heads))
        else:
            for verdict, name, words in rows + heads:
                print(f"{verdict:<13}{name}  {words}")
        console.print(title, markup=False, highlight=False, soft_wrap=True)


def _table(title: str, words: str, rows: list[tuple[Verdict, str, str]]) -> Table:
    table = Table(title=title, title_justify="left")
    table.add_column("Id", no_wrap=True)
    table.add_column("Verdict", no_wrap=True)
    table.add_column(words, overflow="fold")
    for verdict, name, text in rows:
        table.add_row(name, f"[{COLOURS[verdict]}]{verdict}[/]", escape(text))
    return table


def main(argv: Sequence[str]) -> int:
    if argv[:1] == ["check"]:
        return check.main(argv[1:])
    options = read_options(argv)
    entries = list(decide(read(), expected()))
    changed = [e for e in entries if not e.as_expected]
    for e in changed:
        print(
            f"changed: {e.claim.id} is {e.result.verdict} ({e.result.figure}), "
            f"recorded {e.expected[0]} ({e.expected[1]}); check the digits of {e.claim.place}",
            file=sys.stderr,
        )
    if changed and options.claim is None:
        return 1
    found = [] if changed else findings(entries, records())
    console = Console()
    if options.claim is not None:
        chosen = [e for e in entries if e.claim.id == options.claim]
        record = [f for f in found if f.record.id == options.claim]
        if not (chosen or record):
            raise BadInput(f"--claim {options.claim}: no such claim or finding; run without options to list them")
        if chosen:
            print_claim(chosen[0], console)
        else:
            print("".join(discrepancies.section(record[0])).strip())
    else:
        print_ledger(found, entries, console)
    if options.json and not changed:
        with replacing(options.json) as f:
            f.write(as_json(found, entries))
    if options.discrepancies and not changed:
        with replacing(options.discrepancies) as f:
            f.write(discrepancies.markdown(found, entries, discrepancies.own()).encode())
    return 1 if changed else 0


if __name__ == "__main__":
    with cli_errors():
        sys.exit(main(sys.argv[1:]))
