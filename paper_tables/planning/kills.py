"""Whether a command that is killed at any moment, and given again, leaves what it leaves undisturbed.

    python -m paper_tables.planning.kills --number 100 --out build/kills.json

Each kill draws a stage (rendering, indexing, mmFAS, MMDA and a comparison row with decoding and scoring, a table with
its runs, the report), a moment in it, a signal (SIGKILL, SIGTERM, Ctrl-C) and whom it reaches: the command's process
alone, or its group. Afterwards no process may be left. The command, given again, must end well within its patience,
and leave the same files as a stage that nobody disturbed: byte by byte, but for dates, durations and the compressed
form of arrays. Ends with status 1 where one of this is not so. The stand-in data are tiny, and lie below `--out`.
"""

import argparse
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from data_manifests import sums
from data_manifests.errors import BadInput, cli_errors, replacing
from data_manifests.parallel import progress
from reference.sources import ROOT

SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
PATIENCE_S = 60.0  # beside ten times what the stage takes undisturbed
ENDING_S = 30.0  # that a process has to end after its signal
LEAVING_S = 5.0  # that the processes have which it has started
_DATE = re.compile(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d{4}")
_DURATION = re.compile(rb'"(seconds|samples_per_second|waiting_for_data|evaluation_seconds)": [0-9.e+-]+')
_SEAL = re.compile(rb'"sha256_of_the_rest": "[0-9a-f]{64}"')


@dataclass(frozen=True)
class Stage:
    """A command, in words whose `{}` is the folder; what it takes there, of what the stages before it left; and what
    it leaves there."""

    name: str
    words: str
    takes: tuple[str, ...]
    leaves: tuple[str, ...]


_RUN = "--index {}/index/index.csv --cache-dir {}/cache --device cpu --checkpoint-every 2 --batch-size 8 --epochs 3"
_DATA = ("phantom", "index")
STAGES = (
    Stage(
        "rendering", "data_manifests.phantom render --profile tiny --sets C,S,W,H --out {}/phantom", (), ("phantom",)
    ),
    Stage("indexing", "data_manifests index --roots {}/phantom/roots.toml --out {}/index", ("phantom",), ("index",)),
    Stage(
        "mmFAS",
        f"reference.mmfas {_RUN} --run-dir {{}}/mmfas --image-size 32 --targets W --augmentation flip",
        _DATA,
        ("mmfas", "cache"),
    ),
    Stage(
        "MMDA",
        f"reference.mmda {_RUN} --run-dir {{}}/mmda --image-size 48 --protocol W-grandtest --clip untrained/phantom",
        _DATA,
        ("mmda", "cache"),
    ),
    Stage(
        "a comparison row",
        f"reference.rivals.ssdg {_RUN} --run-dir {{}}/ssdg --image-size 96 --width 4 --protocol W-grandtest",
        _DATA,
        ("ssdg", "cache"),
    ),
    Stage(
        "a table",
        "paper_tables mmfas-table1 --profile cpu --methods coin,all_live --data {}/phantom/roots.toml --build {}/build",
        ("phantom",),
        ("build",),
    ),
    Stage("the report", "paper_tables.report --build {}/build --out {}/report.html", ("build",), ("report.html",)),
)


@dataclass(frozen=True)
class Kill:
    """One kill: what was drawn, and what came of it; `wrong` is empty where all was as it should be."""

    stage: str
    signal: str
    group: bool
    after_s: float
    status: int | None
    wrong: str


class Campaign:
    """A folder in which the stages run, and what each of them left when nobody disturbed it."""

    def __init__(self, folder: Path, stages: Sequence[Stage] = STAGES) -> None:
        self.work, self.whole, self._said = folder / "work", folder / "whole", folder / "stderr"
        self.stages, self.seconds = stages, dict[str, float]()

    def undisturbed(self, advance: Callable[[int], None]) -> None:
        """Run each stage to its end, in turn. Raises BadInput where one fails."""
        for stage in self.stages:
            self._restore(stage)
            began = time.monotonic()
            if self._start(stage).wait():
                raise BadInput(f"`python -m {self._words(stage)}` fails undisturbed: {self.said}")
            self.seconds[stage.name] = time.monotonic() - began
            for name in stage.leaves:
                _copy(self.work / name, self.whole / stage.name / name)
            advance(1)

    def kill(self, stage: Stage, rng: np.random.Generator) -> Kill | None:
        """One kill of a stage and its repetition; None where it had ended before."""
        signum, group = SIGNALS[rng.integers(len(SIGNALS))], bool(rng.integers(2))
        from_start, moment = rng.random() < 0.25, rng.random()
        self._restore(stage)
        began, mark = time.monotonic(), uuid.uuid4().hex
        child = self._start(stage, mark)
        if from_start:
            time.sleep(moment * self.seconds[stage.name])
        else:  # what a command does before it writes anything needs no trying again and again
            while child.poll() is None and not any((self.work / name).exists() for name in stage.leaves):
                time.sleep(0.002)
            time.sleep(moment * (self.seconds[stage.name] - min(time.monotonic() - began, self.seconds[stage.name])))
        if child.poll() is not None:
            return None
        after = time.monotonic() - began
        (os.killpg if group else os.kill)(child.pid, signum)
        wrong, status = "", None
        try:
            status = child.wait(ENDING_S)
            if signum == signal.SIGINT and status not in (130, -signal.SIGINT):
                wrong = f"Ctrl-C ended it with status {status}: {self.said}"
            elif status == 130 and "Traceback" in self.said:
                wrong = f"Ctrl-C left a traceback: {self.said}"
        except subprocess.TimeoutExpired:
            wrong = f"did not end within {ENDING_S:.0f} s of its signal"
        left = _left(mark)
        if left and not wrong:
            wrong = f"left {len(left)} processes"
        for pid in left:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return Kill(stage.name, signum.name, group, after, status, wrong or self._again(stage))

    def _again(self, stage: Stage) -> str:
        """Give the command again; returns what is wrong with what it leaves."""
        patience = PATIENCE_S + 10 * self.seconds[stage.name]
        child = self._start(stage)
        try:
            child.wait(patience)
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()
            return f"given again, it did not end within {patience:.0f} s"
        if child.returncode:
            return f"given again, it ends with status {child.returncode}: {self.said}"
        differing = [d for name in stage.leaves for d in differences(self.whole / stage.name / name, self.work / name)]
        return f"given again, it leaves other files: {', '.join(differing[:5])}" if differing else ""

    def _restore(self, stage: Stage) -> None:
        """Leave in the folder what the stage takes, and nothing else."""
        shutil.rmtree(self.work, ignore_errors=True)
        self.work.mkdir(parents=True)
        for name in stage.takes:
            (whole,) = (self.whole / before.name / name for before in self.stages if name in before.leaves)
            _copy(whole, self.work / name)

    @property
    def said(self) -> str:
        """The end of what the last command wrote to stderr."""
        return self._said.read_text(errors="replace").strip()[-300:]

    def _words(self, stage: Stage) -> str:
        return stage.words.replace("{}", str(self.work))

    def _start(self, stage: Stage, mark: str = "") -> subprocess.Popen[bytes]:
        words = [word.replace("{}", str(self.work)) for word in stage.words.split()]
        with self._said.open("wb") as said:  # no pipe: a process that it leaves would keep that open
            return subprocess.Popen(
                [sys.executable, "-m", *words],
                cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=said,
                start_new_session=True, env=os.environ | {"KILLS_MARK": mark},
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a background shell ignores it
            )  # fmt: skip


def _copy(there: Path, here: Path) -> None:
    here.parent.mkdir(parents=True, exist_ok=True)
    if there.is_dir():
        shutil.copytree(there, here, symlinks=True)
    else:
        shutil.copy2(there, here)


def _left(mark: str) -> list[int]:
    """Processes, on Linux, that a killed command has started and that do not end within some seconds."""
    deadline, found = time.monotonic() + LEAVING_S, list[int]()
    while True:
        found.clear()
        for entry in Path("/proc").glob("[0-9]*/environ"):
            with suppress(OSError):
                if f"KILLS_MARK={mark}".encode() in entry.read_bytes():
                    found.append(int(entry.parent.name))
        if not found or time.monotonic() > deadline:
            return found
        time.sleep(0.1)


def differences(one: Path, other: Path) -> list[str]:
    """The files, of two folders or alone, that differ in more than dates, durations and how arrays are compressed;
    temporary files that a killed process left, as far as the next one overwrites them, count too."""
    if one.is_file() and other.is_file():
        return [] if content(one) == content(other) else [one.name]
    files = [{p.relative_to(f).as_posix(): p for p in f.rglob("*") if p.is_file()} for f in (one, other)]
    return sorted(
        name
        for name in files[0].keys() | files[1].keys()
        if name not in files[0] or name not in files[1] or content(files[0][name]) != content(files[1][name])
    )


def content(path: Path) -> Any:
    """What two commands of the same words leave alike in a file: without dates and durations, arrays as they are."""
    if path.name == ".lock" or path.suffix == ".seen" or path.parent.name == "logs":
        return None  # who held a lock, when images were last changed, what runs said
    if path.name == sums.NAME:
        return [*sums.read(path.parent)]  # digests of files with dates
    if path.suffix == ".npz":
        with np.load(path, allow_pickle=False) as arrays:
            return {name: arrays[name].tobytes() for name in arrays.files}
    data = path.read_bytes()
    if path.suffix in (".json", ".jsonl", ".html", ".md", ".tex", ""):
        data = _SEAL.sub(b"", _DURATION.sub(b"", _DATE.sub(b"", data)))
    return data


def main(argv: Sequence[str] | None = None) -> int:
    p = argparse.ArgumentParser(
        prog="python -m paper_tables.planning.kills", description=(__doc__ or "").split("\n")[0]
    )
    p.add_argument("--number", type=int, default=100, help="kills (default 100)")
    p.add_argument("--seed", type=int, default=0, help="draws stages, moments, signals (default 0)")
    p.add_argument("--stages", nargs="+", choices=[s.name for s in STAGES], metavar="STAGE", help="kill only these")
    p.add_argument("--out", type=Path, required=True, help="the JSON file to write")
    given = p.parse_args(argv)
    if given.number < 1:
        raise BadInput(f"--number {given.number}: give at least 1")
    given.out.parent.mkdir(parents=True, exist_ok=True)
    rng, kills = np.random.default_rng(given.seed), list[Kill]()
    wanted = [stage for stage in STAGES if not given.stages or stage.name in given.stages]
    with tempfile.TemporaryDirectory(dir=given.out.parent.absolute(), prefix="kills-") as folder:
        campaign = Campaign(Path(folder))
        with progress("undisturbed stages", len(STAGES)) as advance:
            campaign.undisturbed(advance)
        with progress("kills", given.number) as advance:
            while len(kills) < given.number:
                done = campaign.kill(wanted[len(kills) % len(wanted)], rng)
                if done:
                    kills.append(done)
                    if done.wrong:
                        print(f"{done.stage}, {done.signal} after {done.after_s:.1f} s: {done.wrong}", flush=True)
                    report = {"undisturbed_s": campaign.seconds, "kills": [asdict(kill) for kill in kills]}
                    with replacing(given.out) as f:
                        f.write((json.dumps(report, indent=1) + "\n").encode())
                    advance(1)
    return told(kills)


def told(kills: Sequence[Kill]) -> int:
    """Print how many kills of each stage went well; returns the exit status."""
    of_stage, well = Counter(kill.stage for kill in kills), Counter(kill.stage for kill in kills if not kill.wrong)
    for stage, number in of_stage.items():
        print(f"{stage}: {well[stage]} of {number} kills left the same files, no process, and nothing waiting")
    return int(well.total() < len(kills))


if __name__ == "__main__":
    with cli_errors():
        sys.exit(main())
