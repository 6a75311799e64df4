"""Gather everything under build/ in one page.

    python -m paper_tables.report
    python -m paper_tables.report --conformance --out report.html

Nothing is trained: a table that was not run shows the command that fills it.
"""

import argparse
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from data_manifests.errors import BadInput, cli_errors, replacing
from data_manifests.parallel import end_with_parent
from paper_tables.audit.findings import findings, records
from paper_tables.audit.ledger import decide, expected
from paper_tables.audit.numbers import read
from paper_tables.declarations.probes import PROBES
from paper_tables.declarations.tables import TABLES
from paper_tables.planning.plan import command_line
from paper_tables.report import collect
from paper_tables.report.page import Contents, page
from reference.sources import ROOT

LARGEST = 5_000_000  # bytes


def arguments(argv: Sequence[str]) -> argparse.Namespace:
    p = argparse.ArgumentParser(prog="python -m paper_tables.report", description="Write the report, one HTML file.")
    p.add_argument("--build", type=Path, default=ROOT / "build", help="where everything is kept (default build)")
    p.add_argument("--out", type=Path, help="the file to write (default report.html in --build)")
    p.add_argument("--conformance", action="store_true", help="test this project's equations first, quickly")
    return p.parse_args(argv)


def contents(build: Path) -> Contents:
    """Everything that the report shows. Raises BadInput for a file that this version of the project did not write."""
    entries = list(decide(read(), expected()))
    return Contents(
        {name: (table, collect.table_files(table, build)) for name, table in TABLES.items()},
        [
            (picture, collect.picture_files(probe, picture, build))
            for probe in PROBES.values()
            for picture in probe.pictures
        ],
        collect.costs(build),
        collect.conformance(build),
        entries,
        findings(entries, records()),
    )


def conformance_command(build: Path) -> tuple[str, ...]:
    """Tests every equation with a few examples each, and writes the verdicts where the report looks for them."""
    where = build / "conformance" / "reference.json"
    what = ("-m", "equation", "--hypothesis-profile=quick", f"--conformance-report={where}")
    return (sys.executable, "-m", "pytest", "spec_tests", *what)


def main(argv: Sequence[str]) -> int:
    """Run one command line. Raises BadInput."""
    args = arguments(argv)
    build = args.build.absolute()
    if build.exists() and not build.is_dir():
        raise BadInput(f"--build {args.build}: is no folder; name the one that holds tables and runs")
    if args.conformance:
        command = conformance_command(build)
        print(f"$ {command_line(command)}", flush=True)
        with_this = partial(end_with_parent, os.getpid(), signal.SIGTERM)
        status = subprocess.run(command, cwd=ROOT, stdin=subprocess.DEVNULL, preexec_fn=with_this).returncode
        if status not in (0, 1):  # 1: some test failed, which the report is to show
            raise BadInput(f"`{command_line(command)}` ended with exit status {status}; see its message above")
    text = page(contents(build)).encode()
    if len(text) > LARGEST:
        raise BadInput(f"the report would weigh {len(text) / 1e6:.1f} MB, more than 5; make fewer seeds or tables")
    path = args.out or build / "report.html"
    with replacing(path) as f:
        f.write(text)
    print(f"Written: {path} ({len(text) / 1e6:.1f} MB)")
    return 0


if __name__ == "__main__":
    with cli_errors():
        sys.exit(main(sys.argv[1:]))
