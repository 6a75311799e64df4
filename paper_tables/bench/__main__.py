"""Measure speed: `python -m paper_tables.bench --out build/bench` (README.md says what is measured and how to read it).

The JSON file is written after each group, so that a device that is gone before the end leaves what was measured. A
group that fails is named with its error, the others go on, and the command ends with status 1.
"""

import argparse
import json
import sys
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from data_manifests.errors import BadInput, cli_errors, replacing
from paper_tables.bench import loading, page, peak, scoring, steps, together
from paper_tables.bench.items import Group, Setting, measure
from paper_tables.declarations import profile as profiles
from paper_tables.planning.data import locate
from paper_tables.planning.request import cores, has_cuda
from reference.environment import environment, seed_everything
from reference.sources import ROOT


def groups(setting: Setting) -> list[Group]:
    """All groups, in the order in which they are measured."""
    several = [] if setting.cuda or setting.tiny else [together.group()]  # a second GPU is seldom at hand
    return [peak.GROUP, *steps.groups(setting), *several, *loading.groups(), *scoring.groups(setting)]


def setting_of(device: str, index: Path, threads: int, tiny: bool = False) -> Setting:
    cuda = device == "cuda"
    side, samples = (32, 4) if tiny else (224, 128) if cuda else (112, 16)
    return Setting(torch.device(device), threads, side, samples, index, tiny)


def run(setting: Setting, names: str | None, seconds: float, out: Path, command: str) -> dict[str, Any]:
    """Measure the groups, writing bench.json into `out` after each; those that begin after `seconds` are left out."""
    chosen = groups(setting)
    known = [group.name for group in chosen]
    wanted = names.split(",") if names else known
    for name in wanted:
        if name not in known:
            raise BadInput(f"--groups {name}: no such group; choose from {', '.join(known)}")
    chosen = [group for group in chosen if group.name in wanted or group.name == peak.NAME]
    report = described(setting, command)
    began = time.monotonic()
    for group in chosen:
        if time.monotonic() - began > seconds:
            report["left_out"].append(group.name)
            continue
        seed_everything(0, setting.threads)
        try:
            report["groups"].append(measure(group, setting))
        except Exception as e:  # whatever fails on one device is to be known, and the others be measured
            error = f"{type(e).__name__}: {e}".splitlines()[0]
            report["groups"].append({"name": group.name, "title": group.title, "error": error})
        with replacing(out / "bench.json") as f:
            f.write((json.dumps(report, indent=1) + "\n").encode())
        print(f"{group.title}: {said(report['groups'][-1])}", flush=True)
    return report


def described(setting: Setting, command: str) -> dict[str, Any]:
    """The head of a report: the machine and the command."""
    here = environment(setting.device, "")
    kept = {key: here[key] for key in ("device", "cpu", "threads", "torch", "python", "cuda", "kernels")}
    date = datetime.now(UTC).date().isoformat()
    return {"command": command, "date": date, **kept, "groups": [], "left_out": []}


def said(group: Mapping[str, Any]) -> str:
    """A group in a line: every item's time, beside the first one's."""
    if "error" in group:
        return group["error"]
    return "; ".join(
        f"{item['name']} {1000 * item['seconds']['median']:.4g} ms" + (f" ({item['ratio']['median']:.2f})" if i else "")
        for i, item in enumerate(group["items"])
    )


def write(report: Mapping[str, Any], out: Path) -> None:
    """bench.md and the roofline's picture, beside bench.json."""
    contents = {"bench.md": page.markdown(report).encode()}
    if page.peaks(report):
        contents |= {f"roofline.{kind}": picture for kind, picture in page.roofline(report).items()}
    for name, content in contents.items():
        with replacing(out / name) as f:
            f.write(content)


def main(argv: Sequence[str] | None = None) -> None:
    p = argparse.ArgumentParser(prog="python -m paper_tables.bench", description="Measure speed.")
    p.add_argument("--profile", default="auto", help="cpu, paper, or auto (default): whose device is measured")
    p.add_argument("--groups", help="only these, with commas between them (default: all)")
    p.add_argument("--seconds", type=float, default=600, help="no group begins after so many (default %(default)s)")
    p.add_argument("--out", type=Path, required=True, help="folder for bench.json, bench.md and the roofline")
    p.add_argument("--page", type=Path, metavar="JSON", help="measure nothing: tables and picture of this bench.json")
    given = p.parse_args(argv)
    if given.page:
        write(json.loads(given.page.read_bytes()), given.out)
        return
    name = given.profile if given.profile != "auto" else "paper" if has_cuda() else "cpu"
    device = "cuda" if name == "paper" else "cpu"
    if device == "cuda" and not has_cuda():
        raise BadInput("--profile paper: this torch sees no CUDA device; give --profile cpu or auto")
    data = locate("phantom", profiles.load("cpu"), ROOT / "build")
    if not data.index.exists():
        raise BadInput(f"{data.index}: not made yet; `make phantom PROFILE=cpu` renders and indexes the stand-in faces")
    command = " ".join(["python -m paper_tables.bench", *(argv if argv is not None else sys.argv[1:])])
    setting = setting_of(device, data.index, cores())
    report = run(setting, given.groups, given.seconds, given.out, command)
    write(report, given.out)
    Console().print(f"Written: {given.out}")
    sys.exit(int(any("error" in group for group in report["groups"])))


if __name__ == "__main__":
    with cli_errors():
        main()
