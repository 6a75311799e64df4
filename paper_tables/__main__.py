"""Make the papers' tables and figures: data, index, runs, and each as text, Markdown, LaTeX, JSON and a page.

    python -m paper_tables mmfas-table1
    python -m paper_tables mmfas-table1 mmda-table1 --data roots.toml --profile paper --seeds 3 --ci
    python -m paper_tables mmfas-figure7
    python -m paper_tables evaluate scores.csv --higher bona-fide

Finished runs are kept: a second call takes seconds, and an interrupted one goes on where it was.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from data_manifests.errors import cli_errors
from data_manifests.index import load_index
from paper_tables.declarations.probes import PROBES
from paper_tables.declarations.tables import TABLES
from paper_tables.evaluation import command
from paper_tables.numbers.results import gather
from paper_tables.planning.counts import leaf_parameters
from paper_tables.planning.data import protocol_of, standin_clip
from paper_tables.planning.request import ASKED, request
from paper_tables.planning.runner import prepare
from paper_tables.rendering.files import write
from paper_tables.rendering.render import terminal
from reference.kernels import KERNELS
from reference.sources import ROOT

EVALUATE = "evaluate SCORES judges score files of any model; evaluate --help says how."


def arguments(argv: Sequence[str]) -> argparse.Namespace:
    p = argparse.ArgumentParser(prog="python -m paper_tables", description="Make the papers' tables.", epilog=EVALUATE)
    names = [*TABLES, *PROBES]
    p.add_argument("tables", nargs="+", choices=names, metavar="TABLE", help=", ".join(names))
    p.add_argument("--profile", default="auto", help="cpu, paper, or auto: paper on CUDA, cpu without (default auto)")
    p.add_argument("--data", default="phantom", help="phantom (default), or a roots.toml naming data sets' folders")
    p.add_argument("--seeds", type=_positive, help="runs a row (default: the profile's)")
    p.add_argument("--methods", help="only these rows, by name, with commas between, or all (default: the profile's)")
    p.add_argument("--clip", help="MMDA's CLIP (default: the stand-in for stand-in data, OpenAI's otherwise)")
    p.add_argument("--jobs", type=_positive, help="runs side by side (default: one more than the CPU holds; one a GPU)")
    p.add_argument("--slurm", dest="cluster", type=Path, metavar="TOML", help="runs as jobs of a Slurm cluster")
    p.add_argument("--kernels", default=KERNELS[0], choices=KERNELS, help="portable: the same on every CPU; slower")
    p.add_argument("--oracle", action="store_true", help="score test sets at every epoch (the cpu profile always does)")
    p.add_argument("--ci", action="store_true", help="add 95 %% bootstrap intervals over subjects")
    p.add_argument("--dry-run", action="store_true", help="print the commands and do nothing")
    p.add_argument("--prepare-only", action="store_true", help="make the data and its index, and no runs")
    p.add_argument("--build", type=Path, default=ROOT / "build", help="where everything is kept (default build)")
    return p.parse_args(argv)


def _positive(text: str) -> int:
    if not text.isdecimal() or len(text) > 6 or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a whole number from 1 to 999999")
    return int(text)


def main(argv: Sequence[str]) -> int:
    """Run one command line; the exit status is 1 if a run failed. Raises BadInput."""
    if argv[:1] == ["evaluate"]:
        return command.main(argv[1:])
    given = arguments(argv)
    options = {key: getattr(given, key) for key in ASKED}
    r = request(given.tables, given.build.absolute(), **options)
    if given.dry_run:
        for line in r.lines(load_index(r.data.index) if r.data.index.exists() else None):
            print(line)
        return 0
    prepare(r.data.commands, r.data.index)
    if given.prepare_only:
        print(f"{r.data.index} is ready")
        return 0
    index, console = load_index(r.data.index), Console()
    jobs = r.unfinished(index)
    prepare(standin_clip(jobs))
    print("\n".join(r.announcement(index)), flush=True)
    failures = r.run(jobs, console)
    for table in r.tables:
        where = (r.profile, r.seeds, r.data.name, r.data.stand_in, index.sha256)
        protocol, clip = protocol_of(table, index) if table.protocols else None, r.clip if table.clip else None
        counts = leaf_parameters(table, r.build / "tables") if table.leaf_parameters else None
        results = gather(table, *where, r.jobs(table, index), failures, given.ci, protocol, clip, counts)
        paths = write(results, r.build / "tables" / table.name)
        terminal(results, console)
        print("\nWritten:")
        for path in paths:
            print(f"  {path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path}")
    for probe in r.probes:
        if all(job.done for job in r.probe_jobs(probe, index)):
            print(f"\n{probe.title}")
            prepare([r.probe_command(probe, index)])
    for failure in failures:
        print(f"error: {failure.job.title} {failure.reason}", file=sys.stderr)
    return 1 if failures else 0


if __name__ == "__main__":
    with cli_errors():
        sys.exit(main(sys.argv[1:]))
