"""What is one run worth? The same rows trained from several seeds, and on several stand-in CLIPs.

    make mmda-spread
    python -m paper_tables.spread mmda-table1 --methods mmda,mmda_released --seeds 3 --out FILE.json

Two things are drawn anew, one at a time: the seed of the training, on the stand-in CLIP of seed 0, and the seed of the
stand-in, at the training's seed 0. What is left on one machine is what other draws would have given; another kind of
machine is such a draw too, since its kernels round otherwise (`--kernels portable`). An order of two rows is called
beyond seed noise by the rule of `rendering/findings.py`, and holds if both kinds of draws say so.
"""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

from rich.console import Console

from data_manifests.errors import BadInput, cli_errors, refuse_unwritable, replacing
from data_manifests.index import load_index
from paper_tables.declarations.table import Table
from paper_tables.declarations.tables import TABLES
from paper_tables.numbers.results import Results, gather
from paper_tables.planning.data import protocol_of, standin_clip
from paper_tables.planning.request import Request, request
from paper_tables.planning.runner import prepare
from paper_tables.rendering.findings import LEAST_SEEDS, Difference, difference, signed
from paper_tables.rendering.wording import HONEST, number
from reference.sources import ROOT
from reference.standin_clip.weights import CHOICE

KINDS = {"training": "seed of the training", "standin": "seed of the stand-in CLIP"}
Values = dict[str, dict[str, list[float]]]  # by what is drawn, then by metric: one number a draw, in %


def metrics_of(table: Table) -> dict[str, str]:
    """The metrics whose spread is told, as the honest view takes them."""
    return {kind: HONEST.metric(kind) for kind in table.visible}


def values_of(results: Sequence[Results], name: str) -> Values:
    """A row's numbers in the last column: over the training's seeds in the first results, and at the training's seed 0
    in each of them, which differ by their stand-in."""
    first = results[0]
    column = first.table.columns[-1].name
    out: Values = {kind: {} for kind in KINDS}
    for kind, metric in metrics_of(first.table).items():
        cells = [each.row(name).cells[HONEST.rule, column, metric] for each in results]
        out["training"][kind] = list(cells[0].values) if first.row(name).row.seeded else []
        out["standin"][kind] = [cell.values[0] for cell in cells]
    return out


def orders(rows: Mapping[str, Values]) -> dict[tuple[str, str, str], dict[str, Difference]]:
    """Of each two rows and each metric the difference by what is drawn; a row that no draw changes is the same number
    each time."""
    out = {}
    for (a, ours), (b, theirs) in combinations(rows.items(), 2):
        for metric in ours["standin"]:
            found = {}
            for kind in KINDS:
                count = max(len(ours[kind][metric]), len(theirs[kind][metric]))
                first, second = (
                    values[kind][metric] or values["standin"][metric][:1] * count for values in (ours, theirs)
                )
                found[kind] = difference(first, second)
            out[a, b, metric] = found
    return out


def report(results: Sequence[Results], names: Sequence[str], machine: Mapping[str, Any]) -> dict[str, Any]:
    """What is written: the machine, the number of draws, and every row's numbers."""
    first = results[0]
    return {
        "table": first.table.name,
        "profile": first.profile.name,
        "column": first.table.columns[-1].label,
        "machine": dict(machine),
        "draws": len(results),
        "rows": {name: {"label": first.row(name).row.label, **values_of(results, name)} for name in names},
    }


def lines(found: Mapping[str, Any]) -> list[str]:
    """The report in words."""
    rows = found["rows"]
    out = [f"{found['table']}, {found['column']}, mean ± sample standard deviation (n) over draws of the"]
    for name, row in rows.items():
        for kind, words in KINDS.items():
            parts = [f"{metric.upper()} {_mean(values)}" for metric, values in row[kind].items() if values]
            if parts:
                out.append(f"  {name}, {words}: {', '.join(parts)}")
    for (a, b, metric), by_kind in orders(rows).items():
        texts = [f"{signed(d.mean)}, {d.verdict} ({KINDS[kind]})" for kind, d in by_kind.items()]
        out.append(f"  {metric.upper()} of {a} less that of {b}: {'; '.join(texts)}")
    return out


def _mean(values: Sequence[float]) -> str:
    d = difference(values, [0.0] * len(values))
    return f"{number(d.mean)} ± {number(d.sd or 0.0)} ({d.n})"


def measure(requests: Sequence[Request], console: Console) -> list[Results]:
    """Run what is missing and gather the table under each request. Raises BadInput when a run fails."""
    first = requests[0]
    prepare(first.data.commands, first.data.index)
    index = load_index(first.data.index)
    jobs = {job.folder: job for each in requests for job in each.unfinished(index)}
    prepare(standin_clip(jobs.values()))
    failures = first.run([*jobs.values()], console)
    if failures:
        raise BadInput(f"{failures[0].job.title} {failures[0].reason}")
    (table,) = first.tables
    return [
        gather(
            table, each.profile, each.seeds, each.data.name, each.data.stand_in, index.sha256,
            each.jobs(table, index), [], False, protocol_of(table, index), each.clip,
        )
        for each in requests
    ]  # fmt: skip


def main(argv: Sequence[str]) -> None:
    p = argparse.ArgumentParser(prog="python -m paper_tables.spread", description="What one run of a row is worth.")
    p.add_argument("table", choices=sorted(name for name, table in TABLES.items() if table.clip), metavar="TABLE")
    p.add_argument("--methods", required=True, help="rows, with commas between them")
    p.add_argument("--seeds", type=int, default=LEAST_SEEDS, help="draws of either kind (default %(default)s)")
    p.add_argument("--jobs", type=int, help="runs side by side")
    p.add_argument("--build", type=Path, default=ROOT / "build", help="where everything is kept (default build)")
    p.add_argument("--out", type=Path, required=True, help="the JSON file to write")
    given = p.parse_args(argv)
    refuse_unwritable(given.out)
    if given.seeds < LEAST_SEEDS:
        raise BadInput(f"--seeds {given.seeds}: a spread of so few says nothing; give at least {LEAST_SEEDS}")
    common: dict[str, Any] = {"data": "phantom", "profile": "cpu", "methods": given.methods, "jobs": given.jobs}
    requests = [
        request(
            [given.table],
            given.build.absolute(),
            **common,
            seeds=1 if number else given.seeds,
            clip=f"{CHOICE}/{number}" if number else CHOICE,
        )
        for number in range(given.seeds)
    ]
    results = measure(requests, Console())
    names = [row.name for row in requests[0].rows]
    ran = next(run for row in results[0].rows for run in row.runs)
    machine = {key: ran.environment[key] for key in ("cpu", "torch", "kernels")}
    found = report(results, names, machine)
    with replacing(given.out) as f:
        f.write((json.dumps(found, indent=1) + "\n").encode())
    print("\n".join(lines(found)))
    print(f"Written: {given.out}")


if __name__ == "__main__":
    with cli_errors():
        main(sys.argv[1:])
