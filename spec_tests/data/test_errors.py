"""How commands end: a sentence, a status, and nothing half-written."""

import errno
import io
import os
import signal
import subprocess
import sys
import time

import pytest
import torch

from data_manifests import locks
from data_manifests.errors import BadInput, cli_errors, refuse_unwritable, replacing
from data_manifests.index import load_index, read_roots
from data_manifests.json_files import json_lines, json_object
from data_manifests.lists import text_lines
from data_manifests.sums import checked
from paper_tables.planning.slurm import load_cluster
from reference.proven import read_checkpoint, read_weights
from reference.sources import ROOT, sha256


@pytest.mark.parametrize(("error", "status", "says"), [
    (BadInput("x.csv: no rows; index again"), 2, "error: x.csv: no rows; index again\n"),
    (KeyboardInterrupt(), 130, "interrupted; nothing already saved was changed; give the same command"),
    (MemoryError(), 2, "error: memory is short (no more is to be had); nothing already"),
    (torch.OutOfMemoryError("CUDA: full\nmore"), 2, "error: memory is short (CUDA: full); nothing"),
    (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried 9 bytes"), 2, "error: memory is short"),
    (PermissionError(errno.EACCES, "no", "a/b"), 2, "error: Permission denied (a/b); nothing already"),
    (OSError(errno.ENOSPC, "no"), 2, "error: No space left on device; nothing already saved"),
])  # fmt: skip
def test_what_ends_a_command_is_a_sentence(capsys, error, status, says):
    with pytest.raises(SystemExit) as ended, cli_errors():
        raise error
    assert ended.value.code == status
    said = capsys.readouterr().err
    assert said.startswith(says)
    assert said.count("\n") == 1


class Ending(io.BytesIO):
    """A file whose third write ends in an error."""

    def __init__(self, error):
        super().__init__()
        self.errors = [error, None, None]

    def write(self, data):
        if self.errors and (error := self.errors.pop()):
            raise error
        return super().write(data)


@pytest.mark.parametrize(
    ("error", "status", "says"),
    [
        (KeyboardInterrupt(), 130, "interrupted; nothing already saved was changed"),
        (OSError(errno.ENOSPC, "no", "checkpoint.pt"), 2, "error: No space left on device (checkpoint.pt)"),
    ],
)
def test_what_ends_torch_save_is_said_and_not_what_torch_makes_of_it(capsys, error, status, says):
    with pytest.raises(RuntimeError), Ending(error) as file:
        torch.save({"x": torch.zeros(9), "y": torch.zeros(9)}, file)
    with pytest.raises(SystemExit) as ended, cli_errors(), Ending(error) as file:
        torch.save({"x": torch.zeros(9), "y": torch.zeros(9)}, file)
    assert ended.value.code == status
    assert capsys.readouterr().err.startswith(says)


@pytest.mark.parametrize("error", [RuntimeError("a bug"), OSError("of a library"), ValueError("a bug")])
def test_what_is_our_own_fault_stays_a_traceback(error):
    with pytest.raises(type(error), match=str(error)), cli_errors():
        raise error


def test_a_full_disk_names_the_file_and_leaves_the_old_one(tmp_path, monkeypatch, capsys):
    path = tmp_path / "a.json"
    path.write_text("old")

    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(SystemExit), cli_errors(), replacing(path) as f:
        f.write(b"new")
    assert capsys.readouterr().err.startswith(f"error: No space left on device ({path}); nothing already saved")
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]
    assert path.read_text() == "old"


def test_a_reader_that_leaves_early_is_no_error():
    code = "from data_manifests.errors import cli_errors\nwith cli_errors():\n    for i in range(10**6): print(i)"
    child = subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert child.stdout.readline() == "0\n"
    child.stdout.close()
    assert child.stderr.read() == ""
    child.stderr.close()
    assert child.wait(60) == 141


def test_ctrl_c_is_a_sentence():
    # A shell starts what runs in its background with Ctrl-C ignored, and these tests may run there.
    heard = "import signal, time\nsignal.signal(signal.SIGINT, signal.default_int_handler)\n"
    wait = "    print(flush=True); time.sleep(60)"
    code = f"{heard}from data_manifests.errors import cli_errors\nwith cli_errors():\n{wait}"
    child = subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    child.stdout.readline()
    time.sleep(0.1)
    child.send_signal(signal.SIGINT)
    _, said = child.communicate(timeout=60)
    assert (child.returncode, said) == (
        130,
        "interrupted; nothing already saved was changed; give the same command again to go on\n",
    )


def test_a_terminal_without_our_letters_shows_others():
    env = os.environ | {"PYTHONIOENCODING": "ascii", "LC_ALL": "C"}
    code = "from data_manifests.errors import cli_errors\nwith cli_errors():\n    print('τ · 1 ± 2')"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=env, capture_output=True, text=True, check=True)
    assert done.stdout == "\\u03c4 \\xb7 1 \\xb1 2\n"


@pytest.mark.parametrize("module", ["reference.mmfas", "paper_tables.report", "data_manifests.phantom"])
def test_ctrl_c_while_a_command_loads_its_libraries_ends_it_without_a_word(module):
    code = f"""
import signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.path.insert(0, "")
sys.argv, sys.orig_argv = ["-m"], ["python", "-m", "{module}"]
import {module.partition(".")[0]}
print(flush=True)
time.sleep(60)
"""
    child = subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    child.stdout.readline()
    child.send_signal(signal.SIGINT)
    _, said = child.communicate(timeout=60)
    assert (child.returncode, said) == (-signal.SIGINT, "")


def test_importing_the_project_leaves_ctrl_c_as_it_is():
    code = "import signal; signal.signal(2, signal.default_int_handler); "
    code += "import data_manifests, reference, paper_tables; assert signal.getsignal(2) is signal.default_int_handler"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


@pytest.mark.parametrize("kind", ["pipe", "device", "folder"])
def test_what_is_no_file_is_neither_opened_nor_replaced(tmp_path, kind):
    path = tmp_path / "x.json"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    else:
        path.mkdir()
    readers = (
        lambda: json_object(path, "put it back"),
        lambda: json_lines(path, "put it back"),
        lambda: checked(path, "put it back"),
        lambda: load_index(path),
        lambda: read_roots(path),
        lambda: sha256(path),
        lambda: read_checkpoint(path, "mine"),
        lambda: read_weights(path),
        lambda: text_lines(path).__next__(),
        lambda: load_cluster(path),
        lambda: replacing(path).__enter__(),
    )
    for read in readers:
        with pytest.raises(BadInput, match=r"x\.json: cannot be read or written as a file, since it is a"):
            read()
    path.rename(tmp_path / ".lock")
    with pytest.raises(BadInput, match=r"\.lock: cannot be read or written"):
        locks.take(tmp_path)


def test_a_file_that_is_all_hole_is_not_read(tmp_path):
    path = tmp_path / "args.json"
    path.touch()
    os.truncate(path, 60 << 30)
    for read in (json_object, json_lines):
        with pytest.raises(
            BadInput, match=r"args.json: has 64424509440 bytes, far more than it can have to say; delete it"
        ):
            read(path, "delete it")


def test_a_place_that_cannot_be_written_is_said_before_the_work(tmp_path, monkeypatch):
    refuse_unwritable(tmp_path / "new" / "x.json")
    refuse_unwritable(tmp_path)
    monkeypatch.setattr(os, "access", lambda path, how: False)  # whoever runs this test may write anywhere
    for path in (tmp_path / "new" / "x.json", tmp_path):
        with pytest.raises(BadInput, match=f"{path}: cannot be written; name a place that can"):
            refuse_unwritable(path)
