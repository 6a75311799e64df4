"""Whether a training that is killed goes on to the same bits on the device at hand.

    python -m paper_tables.planning.kill_and_resume --out build/gpu/kill-and-resume.json

Each of the three loops, mmFAS's, MMDA's and that of the comparison rows, runs on the stand-in data of the cpu profile:
once undisturbed, and once killed, without warning, as soon as it has saved its first checkpoint, and started again.
Weights and scores of both are compared byte by byte. Ends with status 1 where they differ.
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from data_manifests.errors import BadInput, cli_errors, replacing
from data_manifests.json_files import json_object
from paper_tables.planning.kills import content
from paper_tables.planning.request import has_cuda, request
from reference.sources import ROOT

SMALL = ("--image-size", "48", "--batch-size", "24", "--epochs", "2", "--checkpoint-every", "3", "--targets", "C")
MMDA = ("--protocol", "official", "--sources", "W", "--learning-rate", "1e-4")
LOOPS = {
    "mmFAS": ("reference.mmfas", *SMALL, "--augmentation", "flip"),
    "MMDA, as released": ("reference.mmda", *SMALL, *MMDA, "--preset", "released", "--clip", "untrained/phantom"),
    "ResNet-50": ("reference.rivals.resnet50", *SMALL, "--augmentation", "flip"),
}
PATIENCE_S = 300.0


def _start(command: Sequence[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def _finish(child: subprocess.Popen[str]) -> None:
    _, said = child.communicate()
    if child.returncode:
        words = " ".join(map(str, child.args[1:]))  # type: ignore[index]
        raise BadInput(f"`python {words}` failed: {(said.strip().splitlines() or ['no message'])[-1]}")


def _killed(command: Sequence[str], folder: Path) -> None:
    """Start a run in `folder`, and kill it when it has a checkpoint. Raises BadInput where it ends before."""
    child = _start(command)
    deadline = time.monotonic() + PATIENCE_S
    while not (folder / "checkpoint.pt").exists():
        if child.poll() is not None or time.monotonic() > deadline:
            child.kill()
            _finish(child)
            raise BadInput(f"{folder}: the run ended, or {PATIENCE_S:.0f} s passed, before its first checkpoint")
        time.sleep(0.01)
    os.kill(child.pid, signal.SIGKILL)
    child.communicate()
    if (folder / "done").exists():
        raise BadInput(f"{folder}: the run was over before it could be killed; give it more to do")


def differences(one: Path, other: Path) -> list[str]:
    """The files of two finished runs that differ: weights by their bytes, scores by their arrays."""
    names = sorted(p.relative_to(one).as_posix() for p in (*one.glob("*.safetensors"), *one.glob("scores/*.npz")))
    return [name for name in names if content(one / name) != content(other / name)]


def tried(words: Sequence[str], index: Path, folder: Path, device: str) -> dict[str, Any]:
    """One loop, undisturbed and killed."""
    began = time.monotonic()
    runs = {name: folder / name for name in ("whole", "killed")}
    where = ["--index", str(index), "--cache-dir", str(folder / "cache"), "--device", device]
    commands = {n: [sys.executable, "-m", *words, *where, "--run-dir", str(run)] for n, run in runs.items()}
    _finish(_start(commands["whole"]))
    _killed(commands["killed"], runs["killed"])
    _finish(_start(commands["killed"]))
    differing = differences(runs["whole"], runs["killed"])
    return {"command": " ".join(words), "differing": differing, "seconds": time.monotonic() - began}


def main(argv: Sequence[str] | None = None) -> None:
    summary = (__doc__ or "").splitlines()[0]
    p = argparse.ArgumentParser(prog="python -m paper_tables.planning.kill_and_resume", description=summary)
    p.add_argument("--loops", nargs="+", choices=LOOPS, default=list(LOOPS), metavar="LOOP", help=", ".join(LOOPS))
    p.add_argument("--out", type=Path, required=True, help="the JSON file to write")
    given = p.parse_args(argv)
    r = request(["mmfas-table1"], ROOT / "build", data="phantom", profile="cpu", methods=None, seeds=None, jobs=None,
                clip=None)  # fmt: skip
    if not r.data.index.exists():
        raise BadInput(f"{r.data.index}: no such file; `make phantom PROFILE=cpu` renders and indexes them")
    device, folder = "cuda" if has_cuda() else "cpu", r.build / "kill-and-resume"
    report: dict[str, Any] = {"device": device, "loops": {}}
    for name in given.loops:
        shutil.rmtree(folder, ignore_errors=True)
        report["loops"][name] = found = tried(LOOPS[name], r.data.index, folder, device)
        env = json_object(folder / "whole" / "env.json", "run it again")
        report |= {key: env[key] for key in ("device", "cpu", "torch")}
        with replacing(given.out) as f:
            f.write((json.dumps(report, indent=1) + "\n").encode())
        verdict = f"differs in {', '.join(found['differing'])}" if found["differing"] else "the same bits"
        print(f"{name}: {verdict}, {found['seconds']:.0f} s", flush=True)
    shutil.rmtree(folder)
    sys.exit(int(any(found["differing"] for found in report["loops"].values())))


if __name__ == "__main__":
    with cli_errors():
        main()
