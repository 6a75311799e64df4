"""Make one of the papers' tables: data, index, runs, and the table as text, Markdown, LaTeX, JSON and a page.

    python -m paper_tables mmfas-table1
    python -m paper_tables mmfas-table1 --data roots.toml --profile paper --seeds 3 --ci

What is there already is kept: a second call takes seconds, and an interrupted one goes on where it was.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from data_manifests.errors import BadInput, cli_errors, replacing
from data_manifests.index import load_index
from paper_tables import mmfas_table1, render
from paper_tables.plan import ROOT, Job, Method, Table, load_profile, plan, shown
from paper_tables.results import Results, gather
from paper_tables.runner import Data, cores, has_cuda, locate, prepare, run_all

TABLES = {table.name: table for table in (mmfas_table1.TABLE,)}


def arguments(argv: Sequence[str]) -> argparse.Namespace:
    p = argparse.ArgumentParser(prog="python -m paper_tables", description="Make one of the papers' tables.")
    p.add_argument("table", choices=list(TABLES), help="which table")
    p.add_argument("--profile", default="auto", help="cpu, paper, or auto: paper on CUDA, cpu without (default auto)")
    p.add_argument("--data", default="phantom", help="phantom (default), or a roots.toml naming data sets' folders")
    p.add_argument("--seeds", type=_positive, help="runs a method (default: the profile's)")
    p.add_argument("--methods", help="run only these rows, by name, with commas between (default: all)")
    p.add_argument("--jobs", type=_positive, help="runs side by side (default: one more than the CPU holds; 1 on CUDA)")
    p.add_argument("--ci", action="store_true", help="add 95 %% bootstrap intervals over subjects")
    p.add_argument("--dry-run", action="store_true", help="print the commands and do nothing")
    p.add_argument("--prepare-only", action="store_true", help="make the data and its index, and no runs")
    p.add_argument("--build", type=Path, default=ROOT / "build", help="where everything is kept (default build)")
    return p.parse_args(argv)


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a whole number above 0")
    return int(text)


def choose(table: Table, names: str | None) -> list[Method]:
    """The methods to run. Raises BadInput on a name that is no row, or one that cannot be run."""
    if names is None:
        return list(table.methods)
    by_name = {method.name: method for method in table.methods}
    chosen = []
    for name in names.split(","):
        if name not in by_name or by_name[name].module is None:
            known = ", ".join(m.name for m in table.methods if m.module)
            raise BadInput(f"--methods {name}: not a method that can be run here; choose from {known}")
        chosen.append(by_name[name])
    return chosen


def write(results: Results, folder: Path) -> list[Path]:
    """Write every form of the table; each file is replaced whole."""
    from paper_tables import figures  # matplotlib takes a second to load, and not every command draws
    from paper_tables.page import page

    files = {"table.md": render.markdown(results), "table.tex": render.latex(results)}
    files |= {"table.html": page(results), "table.json": render.as_json(results)}
    contents = {name: text.encode() for name, text in files.items()}
    figure = results.table.figure
    if figure and figures.lines(results):
        drawn = figures.files(results, figure.title)
        contents |= {f"{figure.name}.{kind}": data for kind, data in drawn.items()}
    for name, content in contents.items():
        with replacing(folder / name) as f:
            f.write(content)
    return [folder / name for name in contents]


def main(argv: Sequence[str]) -> int:
    """Run one command line; the exit status is 1 if a run failed. Raises BadInput."""
    args = arguments(argv)
    table, build = TABLES[args.table], args.build.absolute()
    console = Console()
    chosen = choose(table, args.methods)
    name = args.profile
    if name == "auto":
        name = "paper" if has_cuda() else "cpu"
    profile = load_profile(name)
    device = profile.device
    if device == "auto":
        device = "cuda" if has_cuda() else "cpu"
    seeds = args.seeds or profile.seeds
    # One run more than the cores hold: five equal runs then fill two cores to the end, instead of leaving one idle.
    at_once = args.jobs or (1 if device == "cuda" else cores() // profile.threads + 1)
    data = locate(args.data, profile, build)

    def jobs(index_sha256: str | None) -> list[Job]:
        return plan(table.methods, profile, seeds, data.index, index_sha256, build / "runs", device)

    if args.dry_run:
        dry_run(data, [job for job in jobs(_hash_if_there(data)) if job.method in chosen])
        return 0
    prepare(data)
    if args.prepare_only:
        print(f"{data.index} is ready")
        return 0
    index_sha256 = load_index(data.index).sha256
    every = jobs(index_sha256)
    failures = run_all([job for job in every if job.method in chosen], at_once, build / "runs" / "logs", console)
    results = gather(table, profile, seeds, data.name, data.stand_in, index_sha256, every, failures, args.ci)
    written = write(results, build / "tables" / table.name)
    render.terminal(results, console)
    print("\nWritten:")
    for path in written:
        print(f"  {path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path}")
    for failure in failures:
        print(f"error: {failure.job.title} {failure.reason}", file=sys.stderr)
    return 1 if failures else 0


def _hash_if_there(data: Data) -> str | None:
    return load_index(data.index).sha256 if data.index.exists() else None


def dry_run(data: Data, jobs: list[Job]) -> None:
    """Print what would be run, as one would type it."""
    for command in data.commands:
        print(shown(command))
    if not data.index.exists():
        print("# nothing is indexed yet; XXXXXXXX stands for a hash that the index decides")
    for job in jobs:
        if not job.done:
            print(shown(job.command))


if __name__ == "__main__":
    with cli_errors():
        try:
            sys.exit(main(sys.argv[1:]))
        except KeyboardInterrupt:
            print("interrupted; the same command goes on from here", file=sys.stderr)
            sys.exit(130)
