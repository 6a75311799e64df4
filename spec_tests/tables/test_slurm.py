"""Runs as jobs of a cluster, by submitit's executor for this machine: killed ones go on, finished ones rest."""

import os
import signal
import sys
import time
from pathlib import Path

import pytest
from rich.console import Console

from data_manifests.errors import BadInput
from data_manifests.json_files import json_object
from paper_tables.declarations.mmfas import TABLE_1
from paper_tables.planning import plan, slurm
from paper_tables.planning.slurm import Cluster

pytest.importorskip("submitit")
HERE = Cluster(partition="here", minutes=600, gpus=0)
# A run in small: it counts its starts, is slow the first time, and finishes.
RUN = """
import json, os, pathlib, sys, time
folder = pathlib.Path(sys.argv[1]); folder.mkdir(exist_ok=True)
with (folder / "started").open("a") as f: f.write("x")
(folder / "pid").write_text(str(os.getpid()))
if len((folder / "started").read_text()) == 1 and sys.argv[2] == "slow": time.sleep(120)
if sys.argv[2] == "fails": sys.exit("error: no such index; make it")
sets = {"val": {"eer": 0.1, "auc": 0.9}, "W": {"hter_source_val": 0.3, "auc": 0.9}}
(folder / "metrics.jsonl").write_text(json.dumps({"epoch": 0, "sets": sets}) + "\\n")
(folder / "done").write_text("")
"""


def job(folder: Path, how: str = "") -> plan.Job:
    return plan.Job(TABLE_1.rows[0], 0, folder, (sys.executable, "-c", RUN, str(folder), how), 1, 1.0)


def waited(there: Path) -> str:
    end = time.monotonic() + 60
    while not (there.exists() and there.read_text()):
        assert time.monotonic() < end
        time.sleep(0.05)
    return there.read_text()


def ended(pid: int) -> bool:
    """Whether a process has ended, were it that nobody has asked for its exit status yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except OSError:
        return True


def test_a_killed_job_is_queued_again_and_finishes(tmp_path):
    queue, run = slurm.Queue(HERE, tmp_path / "logs", "local"), job(tmp_path / "run", "slow")
    queue.submit(run)
    first = int(waited(run.folder / "pid"))
    controller = queue._jobs[run.folder]._process.pid
    (task,) = Path(f"/proc/{controller}/task/{controller}/children").read_text().split()
    os.kill(int(task), signal.SIGUSR2)  # as Slurm does before it takes a machine away
    end = time.monotonic() + 90
    while not queue.has_ended(run):
        assert time.monotonic() < end
        time.sleep(0.1)
    assert run.done
    assert (run.folder / "started").read_text() == "xx"
    assert ended(first)


def test_what_is_finished_never_runs_again_and_a_failure_costs_only_itself(tmp_path, capsys):
    good, bad, old = job(tmp_path / "good"), job(tmp_path / "bad", "fails"), job(tmp_path / "old")
    old.folder.mkdir()
    (old.folder / "done").write_text("")

    def called() -> list[str]:
        failures = slurm.run_all([good, bad, old], HERE, tmp_path / "logs", Console(), "local", every=0.1)
        return [f"{failure.job.folder.name} {failure.reason}" for failure in failures]

    (said,) = called()
    assert said.startswith("bad ended with exit status 1: ")
    assert "the run ended with exit status 1" in said
    assert not (old.folder / "started").exists()
    assert "finished deeppixbis seed 0: HTER / AUC in %: W 30.00 / 90.00" in capsys.readouterr().out
    assert len(called()) == 1
    assert (good.folder / "started").read_text() == "x"
    assert (bad.folder / "started").read_text() == "xx"


def test_a_job_that_runs_is_waited_for_and_not_submitted_again(tmp_path, monkeypatch):
    run, queue = job(tmp_path / "run", "slow"), slurm.Queue(HERE, tmp_path / "logs", "local")
    queue.submit(run)
    pid = int(waited(run.folder / "pid"))
    (running,) = queue._jobs.values()
    monkeypatch.setattr(queue.executor.job_class, "done", lambda self: self.job_id != running.job_id)
    monkeypatch.setattr(queue.executor.job_class, "state", "RUNNING")
    again = slurm.Queue(HERE, tmp_path / "logs", "local")  # another call of the command
    assert again.find(run).job_id == running.job_id
    again.submit(run)
    assert again.numbers() == [running.job_id]
    monkeypatch.undo()
    running._process.send_signal(signal.SIGTERM)
    os.kill(pid, signal.SIGKILL)
    running._process.wait(60)
    assert (run.folder / "started").read_text() == "x"


def test_a_damaged_note_is_said_in_a_sentence(tmp_path):
    queue, run = slurm.Queue(HERE, tmp_path, "local"), job(tmp_path / "run")
    (tmp_path / "run.json").write_text("{")
    with pytest.raises(BadInput, match=r"run.json: not valid JSON (.*); end the jobs that squeue names"):
        queue.submit(run)


def test_a_machine_without_slurm_is_said_in_a_sentence(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(BadInput, match=r"ENGINE=slurm: Could not detect .*; call it where sbatch and srun are"):
        slurm.Queue(HERE, tmp_path)
    monkeypatch.setitem(sys.modules, "submitit", None)
    with pytest.raises(BadInput, match="ENGINE=slurm needs submitit; install it"):
        slurm.Queue(HERE, tmp_path)


def test_the_settings_reach_sbatch(tmp_path, monkeypatch):
    (tmp_path / "srun").write_text("#!/bin/sh\n")
    (tmp_path / "sbatch").write_text(f"#!/bin/sh\ncp $1 {tmp_path}/asked\necho Submitted batch job 7\n")
    for name in ("srun", "sbatch"):
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    there = Cluster("gpu", 90, gpus=2, cpus=5, memory_gb=33, sbatch={"account": "faces"})
    queue, run = slurm.Queue(there, tmp_path / "logs"), job(tmp_path / "run")
    queue.submit(run)
    asked = (tmp_path / "asked").read_text()
    for line in ("--partition=gpu", "--time=90", "--gpus-per-node=2", "--cpus-per-task=5", "--mem=33GB",
                 "--account=faces", "--signal=USR2"):  # fmt: skip
        assert f"#SBATCH {line}" in asked, asked
    assert json_object(tmp_path / "logs" / "run.json", "") == {"job": "7"}


GOOD = 'partition = "gpu"\nminutes = 90\n'


def test_the_file_is_read_with_its_defaults(tmp_path):
    path = tmp_path / "slurm.toml"
    path.write_text("\ufeff" + GOOD + '[sbatch]\naccount = "x"\n', encoding="utf-8")
    assert slurm.load_cluster(path) == Cluster("gpu", 90, 1, 8, 64, 0, {"account": "x"})


@pytest.mark.parametrize(("text", "message"), [
    (None, "No such file or directory; write it as"),
    ("partition = ", "no TOML"),
    ("minutes = 9", "partition is missing"),
    (GOOD + "gpu = 1", "gpu is unknown; choose from partition, minutes, gpus"),
    (GOOD + 'gpus = "1"', "gpus = '1' is no whole number"),
    (GOOD + "gpus = true", "gpus = True is no whole number"),
    (GOOD + "cpus = 0", "cpus = 0 is below 1"),
    (GOOD + "gpus = -1", "gpus = -1 is below 0"),
    (GOOD + "sbatch = 1", "sbatch = 1 is no table"),
])  # fmt: skip
def test_a_wrong_file_is_said_in_a_sentence(tmp_path, text, message):
    path = tmp_path / "slurm.toml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(BadInput, match=f"slurm.toml: {message}"):
        slurm.load_cluster(path)
