"""Make the papers' tables and figures: data, index, runs, and each as text, Markdown, LaTeX, JSON and a page.

    python -m paper_tables mmfas-table1
    python -m paper_tables mmfas-table1 mmda-table1 --data roots.toml --profile paper --seeds 3 --ci
    python -m paper_tables mmfas-figure7

What is there already is kept: a second call takes seconds, and an interrupted one goes on where it was.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from data_manifests.errors import BadInput, cli_errors, replacing
from data_manifests.index import Index, load_index
from paper_tables.declarations import mmda, mmfas
from paper_tables.declarations.probes import PROBES, Probe
from paper_tables.numbers.results import Results, gather
from paper_tables.planning.counts import counted
from paper_tables.planning.plan import ROOT, Job, Method, Table, load_profile, plan, shown
from paper_tables.planning.runner import Data, cores, has_cuda, locate, prepare, run_all, standin_clip
from paper_tables.rendering import render

TABLES = {table.name: table for table in (*mmfas.TABLES, *mmda.TABLES)}
STANDIN_CLIP, REAL_CLIP = "phantom", "openai"
STANDIN_SIDE = 48  # pixels of the images that the stand-in CLIP takes, whatever the profile says


def arguments(argv: Sequence[str]) -> argparse.Namespace:
    p = argparse.ArgumentParser(prog="python -m paper_tables", description="Make the papers' tables.")
    names = [*TABLES, *PROBES]
    p.add_argument("tables", nargs="+", choices=names, metavar="TABLE", help=", ".join(names))
    p.add_argument("--profile", default="auto", help="cpu, paper, or auto: paper on CUDA, cpu without (default auto)")
    p.add_argument("--data", default="phantom", help="phantom (default), or a roots.toml naming data sets' folders")
    p.add_argument("--seeds", type=_positive, help="runs a method (default: the profile's)")
    p.add_argument("--methods", help="run only these rows, by name, with commas between (default: all)")
    p.add_argument("--clip", help="MMDA's CLIP (default: the stand-in for stand-in data, OpenAI's otherwise)")
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


def choose(tables: Sequence[Table], names: str | None) -> list[Method]:
    """The methods to run, of all tables. Raises BadInput on a name that is no row, or one that cannot be run."""
    able = [method for table in tables for method in table.methods if method.module]
    if names is None:
        return able
    known = dict.fromkeys(method.name for method in able)
    for name in names.split(","):
        if name not in known:
            raise BadInput(f"--methods {name}: not a method that can be run here; choose from {', '.join(known)}")
    return [method for method in able if method.name in names.split(",")]


def write(results: Results, folder: Path) -> list[Path]:
    """Write every form of the table; each file is replaced whole."""
    from paper_tables.rendering import figures  # matplotlib takes a second to load, and not every command draws
    from paper_tables.rendering.page import page

    files = {"table.md": render.markdown(results), "table.tex": render.latex(results)}
    files |= {"table.html": page(results), "table.json": render.as_json(results)}
    contents = {name: text.encode() for name, text in files.items()}
    figure = results.table.figure
    if figure and figures.legend(results):
        drawn = figures.files(results)
        contents |= {f"{figure.name}.{kind}": data for kind, data in drawn.items()}
    for name, content in contents.items():
        with replacing(folder / name) as f:
            f.write(content)
    return [folder / name for name in contents]


def main(argv: Sequence[str]) -> int:
    """Run one command line; the exit status is 1 if a run failed. Raises BadInput."""
    args = arguments(argv)
    build, names = args.build.absolute(), dict.fromkeys(args.tables)
    tables = [TABLES[name] for name in names if name in TABLES]
    probes = [PROBES[name] for name in names if name in PROBES]
    if probes and args.methods:
        raise BadInput(f"--methods {args.methods}: {probes[0].name} needs runs of its own; leave --methods out")
    console = Console()
    chosen = choose(tables, args.methods)
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
    clip = args.clip or (STANDIN_CLIP if data.stand_in else REAL_CLIP)
    if clip == STANDIN_CLIP:
        profile = replace(profile, mmda=profile.mmda | {"image-size": STANDIN_SIDE})

    def jobs(table: Table, index: Index | None) -> list[Job]:
        common = [*(("--protocol", protocol_of(table, index)) if table.protocols else ())]
        common += ["--clip", clip] if table.clip else []
        sha256 = index.sha256 if index else None
        return plan(table, profile.of(table), seeds, data.index, sha256, build / "runs", device, common)

    def looked_at(probe: Probe, index: Index | None) -> list[Job]:
        return probe.select(jobs(probe.table, index))

    def command(probe: Probe, index: Index | None) -> tuple[str, ...]:
        return probe.command(looked_at(probe, index), data.index, build / "tables" / probe.name, device)

    def wanted(index: Index | None) -> list[Job]:
        """The runs asked for, each once: tables and probes share them."""
        every = {job.folder: job for table in tables for job in jobs(table, index) if job.method in chosen}
        every |= {job.folder: job for probe in probes for job in looked_at(probe, index)}
        return [job for job in every.values() if not job.done]

    if args.dry_run:
        index = load_index(data.index) if data.index.exists() else None
        used = [*tables, *(probe.table for probe in probes)]
        dry_run(data, used, wanted(index), index, [command(probe, index) for probe in probes])
        return 0
    prepare(data.commands, data.index)
    if args.prepare_only:
        print(f"{data.index} is ready")
        return 0
    index = load_index(data.index)
    waiting = wanted(index)
    prepare(standin_clip(waiting))
    failures = run_all(waiting, at_once, build / "runs" / "logs", console)
    for table in tables:
        protocol = protocol_of(table, index) if table.protocols else None
        counts = counted(table, build / "tables") if table.counted else None
        every = jobs(table, index)
        where = (profile.of(table), seeds, data.name, data.stand_in, index.sha256)
        results = gather(table, *where, every, failures, args.ci, protocol, clip if table.clip else None, counts)
        written = write(results, build / "tables" / table.name)
        render.terminal(results, console)
        print("\nWritten:")
        for path in written:
            print(f"  {path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path}")
    for probe in probes:
        if all(job.done for job in looked_at(probe, index)):
            print(f"\n{probe.title}")
            prepare([command(probe, index)])
    for failure in failures:
        print(f"error: {failure.job.title} {failure.reason}", file=sys.stderr)
    return 1 if failures else 0


def protocol_of(table: Table, index: Index | None) -> str:
    """The first of the table's protocols that the index has; before there is an index, the last. Raises BadInput
    when the index has none of them."""
    if index is None:
        return table.protocols[-1]
    for protocol in table.protocols:
        if protocol in index.protocols:
            return protocol
    raise BadInput(
        f"{index.path}: has no protocol {' or '.join(table.protocols)}, which {table.name} needs; index at least two "
        "of the sets C, S, W and P again"
    )


def dry_run(
    data: Data, tables: Sequence[Table], jobs: Sequence[Job], index: Index | None, after: Sequence[tuple[str, ...]] = ()
) -> None:
    """Print what would be run, as one would type it; `after` are the commands that follow the runs."""
    for command in data.commands:
        print(shown(command))
    if index is None:
        print("# nothing is indexed yet; XXXXXXXX stands for a hash that the index decides")
        if any(len(table.protocols) > 1 for table in tables):
            print("# and the index decides the protocol: mmdg where it names MMDG's lists, official otherwise")
    for command in (*standin_clip(jobs), *(job.command for job in jobs), *after):
        print(shown(command))


if __name__ == "__main__":
    with cli_errors():
        try:
            sys.exit(main(sys.argv[1:]))
        except KeyboardInterrupt:
            print("interrupted; the same command goes on from here", file=sys.stderr)
            sys.exit(130)
