"""One process at a time writes a folder, and those who wait are told for whom."""

import errno
import fcntl
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from data_manifests import locks
from reference.sources import ROOT

HOLD = """
import multiprocessing, os, sys, time
from pathlib import Path
from data_manifests import locks

def sleep():
    print(os.getpid(), flush=True)  # by now it holds nothing
    time.sleep(60)

handle = locks.take(Path(sys.argv[1]))
worker = multiprocessing.get_context("fork").Process(target=sleep)
worker.start()
time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that holds the folder's lock and has forked a worker; and the worker's number."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    worker = int(process.stdout.readline())
    yield process, worker
    os.kill(worker, signal.SIGKILL)
    process.kill()
    process.communicate()


def test_a_lock_is_taken_once_and_names_its_holder(tmp_path, holder):
    process, _ = holder
    with pytest.raises(locks.Taken, match=rf"^process {process.pid} on .+, since 20\d\d-"):
        locks.take(tmp_path)


def test_a_killed_process_leaves_no_lock_though_its_workers_live_on(tmp_path, holder):
    process, worker = holder
    process.kill()
    process.wait()
    os.kill(worker, 0)  # it lives
    locks.give(locks.take(tmp_path))


def test_who_waits_says_for_whom_and_goes_on_when_that_one_ends(tmp_path, holder, capsys, monkeypatch):
    process, _ = holder
    slept = []

    def sleep(seconds):
        slept.append(seconds)
        if len(slept) == 3:
            process.kill()
            process.wait()

    monkeypatch.setattr(locks.time, "sleep", sleep)
    with locks.locked(tmp_path):
        assert len(slept) == 3
    said = capsys.readouterr().err
    assert said.count(f"{tmp_path}: waiting for process {process.pid} on ") == 1


def test_a_process_does_not_wait_for_itself(tmp_path):
    handle = locks.take(tmp_path)
    with pytest.raises(locks.Taken, match=f"process {os.getpid()} on"):
        locks.take(tmp_path)
    with locks.locked(tmp_path / "." / ""), locks.locked(tmp_path):
        pass
    with pytest.raises(locks.Taken):
        locks.take(tmp_path)
    locks.give(handle)
    locks.give(locks.take(tmp_path))


def test_a_file_system_without_locks_is_no_process_that_writes(tmp_path, capsys, monkeypatch):
    def unsupported(*_):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(fcntl, "flock", unsupported)
    with locks.locked(tmp_path):
        pass
    assert "its file system has no locks (Operation not supported); see to it" in capsys.readouterr().err


def _inside(folder: str, log: str) -> None:
    with locks.locked(Path(folder)):
        with Path(log).open("a") as f:
            f.write("in\n")
        time.sleep(0.05)
        with Path(log).open("a") as f:
            f.write("out\n")


def test_no_two_are_inside_together(tmp_path):
    log = tmp_path / "log"
    every = [multiprocessing.get_context("fork").Process(target=_inside, args=(tmp_path, log)) for _ in range(3)]
    for process in every:
        process.start()
    for process in every:
        process.join(30)
    assert log.read_text() == "in\nout\n" * 3


@pytest.mark.parametrize(("number", "fine"), [(errno.EROFS, True), (errno.EACCES, True), (errno.ENOSPC, False)])
def test_where_nobody_can_write_nothing_need_be_locked(tmp_path, monkeypatch, number, fine):
    def refuse(*_, **__):
        raise OSError(number, "no")

    monkeypatch.setattr(Path, "open", refuse)
    if fine:
        with locks.locked(tmp_path):
            assert not (tmp_path / ".lock").exists()
    else:
        with pytest.raises(OSError, match="no"):
            locks.take(tmp_path)


def test_two_that_render_and_two_that_index_at_once_leave_what_one_leaves(tmp_path):
    def together(*commands):
        started = [subprocess.Popen([sys.executable, "-m", *command], cwd=ROOT, stdout=subprocess.DEVNULL,
                                    stderr=subprocess.PIPE, text=True) for command in commands]  # fmt: skip
        for process in started:
            said = process.communicate()[1]
            assert process.returncode == 0, said

    def content(folder):
        return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file() and p.name != ".lock"}

    render = ("data_manifests.phantom", "render", "--profile", "tiny", "--sets", "C", "--workers", "1", "--out")
    together((*render, str(tmp_path / "one")), (*render, str(tmp_path / "two")), (*render, str(tmp_path / "two")))
    assert content(tmp_path / "one") == content(tmp_path / "two")
    index = ("data_manifests", "index", "--roots", str(tmp_path / "one" / "roots.toml"), "--out")
    together((*index, str(tmp_path / "1")), (*index, str(tmp_path / "2")), (*index, str(tmp_path / "2")))
    assert content(tmp_path / "1") == content(tmp_path / "2")
    assert (tmp_path / "1" / "index.csv").exists()
