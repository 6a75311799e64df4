"""Portable kernels: how a process knows them, and how a program starts again with them."""

import os
import subprocess
import sys

import pytest

from reference import kernels
from reference.options import Options, parse
from reference.sources import ROOT
from reference.standin_clip import weights


@pytest.fixture(autouse=True)
def fastest(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in kernels.PORTABLE:
        monkeypatch.delenv(name, raising=False)


def test_kernels_are_portable_where_every_variable_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    assert kernels.kernels() == "fastest"
    for name, value in kernels.PORTABLE.items():
        assert kernels.kernels() == "fastest"
        monkeypatch.setenv(name, value)
    assert kernels.kernels() == "portable"
    monkeypatch.setenv("ATEN_CPU_CAPABILITY", "avx512")
    assert kernels.kernels() == "fastest"


def test_a_program_starts_again_once_with_its_own_command_line() -> None:
    text = (
        "import os, sys; from reference.kernels import kernels, start_again_for; print('here', kernels());"
        "start_again_for('portable'); print(kernels(), sys.argv[1:], 'torch' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", text, "a b", "--c"], capture_output=True, text=True, cwd=ROOT)
    # The first line is lost with the first process where output is buffered; what counts is the second process.
    assert run.stdout.splitlines()[-1] == "portable ['a b', '--c'] False"
    assert run.returncode == 0


def test_only_who_asks_for_them_is_started_again(monkeypatch: pytest.MonkeyPatch) -> None:
    started = []
    monkeypatch.setattr(os, "execve", lambda *given: started.append(given))
    words = ["--index", "index.csv", "--run-dir", "run"]
    assert parse(Options, "program", "", words).kernels == "fastest"
    assert started == []
    parse(Options, "program", "", [*words, "--kernels", "portable"])
    ((program, command, environment),) = started
    assert command == [program, *sys.orig_argv[1:]]
    assert environment == os.environ | kernels.PORTABLE
    for name, value in kernels.PORTABLE.items():
        monkeypatch.setenv(name, value)
    parse(Options, "program", "", [*words, "--kernels", "portable"])
    assert len(started) == 1


def test_a_stand_in_clip_of_other_kernels_is_another_file(monkeypatch: pytest.MonkeyPatch) -> None:
    before = weights.place()
    for name, value in kernels.PORTABLE.items():
        monkeypatch.setenv(name, value)
    assert weights.place() != before
