"""Check every recorded claim of the two papers against their printed numbers.

    python -m paper_tables.audit
    python -m paper_tables.audit --claim mmda.counts.one_model.W
    python -m paper_tables.audit --json build/audit.json --errata ERRATA.md

Exit status 0 when every verdict and figure is the recorded one, 1 when any has changed, 2 on unusable input.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from data_manifests.errors import BadInput, cli_errors, replacing
from paper_tables.audit import errata
from paper_tables.audit.claim import VERDICTS
from paper_tables.audit.ledger import Entry, decide, expected
from paper_tables.audit.numbers import read

COLOURS = {"confirmed": "green", "contradicted": "red", "undetermined": "yellow", "needs data": "blue"}


def read_options(argv: Sequence[str]) -> argparse.Namespace:
    p = argparse.ArgumentParser(prog="python -m paper_tables.audit", description="Check the papers' claims.")
    p.add_argument("--claim", metavar="ID", help="print this claim in full, with its computation")
    p.add_argument("--json", type=Path, metavar="FILE", help="write the ledger as JSON")
    p.add_argument("--errata", type=Path, metavar="FILE", help="write the contradicted claims as Markdown")
    return p.parse_args(argv)


def as_record(entry: Entry) -> dict[str, object]:
    """The claim and its finding as plain JSON values."""
    c, f = entry.claim, entry.finding
    return {
        **{name: getattr(c, name) for name in
           ("id", "paper", "place", "kind", "says", "quote", "assumes", "explains", "settles")},
        "verdict": f.verdict,
        "figure": f.figure,
        "computation": list(f.computation),
        "expected": list(entry.expected),
        "as_expected": entry.as_expected,
    }  # fmt: skip


def print_claim(entry: Entry, console: Console) -> None:
    """One claim in full; lines without content are left out."""
    c, f = entry.claim, entry.finding
    console.print(f"{c.id}\n{c.paper}, {c.place} ({c.kind})", markup=False, highlight=False)
    contradicted = f.verdict == "contradicted"
    for label, text in (
        ("claim", c.says),
        ("quoted", f"“{c.quote}”" if c.quote else ""),
        ("verdict", f"{f.verdict} ({f.figure})"),
        ("recorded", "" if entry.as_expected else f"{entry.expected[0]} ({entry.expected[1]})"),
        *(("computed", line) for line in f.computation),
        ("assumes", c.assumes),
        ("may be", c.explains if contradicted else ""),
        ("settled by", c.settles if f.verdict != "confirmed" else ""),
    ):
        if text:
            console.print(f"  {label:<11}{text}", markup=False, highlight=False, soft_wrap=True)


def print_ledger(entries: list[Entry], console: Console) -> None:
    """A table a paper on a terminal, plain lines elsewhere; then the counts."""
    for paper in ("mmFAS", "MMDA"):
        own = [e for e in entries if e.claim.paper == paper]
        counts = ", ".join(f"{sum(e.finding.verdict == v for e in own)} {v}" for v in VERDICTS)
        title = f"{paper}: {len(own)} claims, {counts}"
        if not console.is_terminal:
            for e in own:
                print(f"{e.finding.verdict:<13}{e.claim.id}  {e.finding.figure}")
            console.print(title, markup=False, highlight=False)
            continue
        table = Table(title=title, title_justify="left")
        table.add_column("Claim (--claim prints one in full)", no_wrap=True)
        table.add_column("Verdict", no_wrap=True)
        table.add_column("Figure", overflow="fold")
        for e in own:
            verdict = f"[{COLOURS[e.finding.verdict]}]{e.finding.verdict}[/]"
            table.add_row(e.claim.id, verdict, escape(e.finding.figure))
        console.print(table)


def main(argv: Sequence[str]) -> int:
    options = read_options(argv)
    entries = list(decide(read(), expected()))
    console = Console()
    if options.claim is not None:
        chosen = [e for e in entries if e.claim.id == options.claim]
        if not chosen:
            raise BadInput(f"--claim {options.claim}: no such claim; run without options to list them")
        print_claim(chosen[0], console)
    else:
        print_ledger(entries, console)
    if options.json:
        with replacing(options.json) as f:
            f.write((json.dumps([as_record(e) for e in entries], ensure_ascii=False, indent=1) + "\n").encode())
    if options.errata:
        with replacing(options.errata) as f:
            f.write(errata.markdown(entries, errata.own()).encode())
    changed = [e for e in entries if not e.as_expected]
    for e in changed:
        print(
            f"changed: {e.claim.id} is {e.finding.verdict} ({e.finding.figure}), "
            f"recorded {e.expected[0]} ({e.expected[1]}); check the digits of {e.claim.place}",
            file=sys.stderr,
        )
    return 1 if changed else 0


if __name__ == "__main__":
    with cli_errors():
        sys.exit(main(sys.argv[1:]))
