"""Runs of pytest in forks of one clean process that has already imported torch: each takes a second, not many."""

from __future__ import annotations

import contextlib
import io
import multiprocessing
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import hypothesis.extra.numpy  # noqa: F401 — imported once, before forking
import pytest
import scipy.stats  # noqa: F401
import torch

ROOT = Path(__file__).parent.parent.parent


@contextlib.contextmanager
def clean_processes() -> Iterator[Callable[[Callable, Iterable], Iterator]]:
    """Give a `map(function, items)` whose every call runs in a process of its own, one at a time."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    with ProcessPoolExecutor(1, mp_context=context, max_tasks_per_child=1) as pool:
        yield pool.map


def run_pytest(arguments: list[str], plugins: Iterable[Any] = ()) -> tuple[int, str]:
    """Run pytest here, in the project's root; returns its exit status and all it printed.

    For a process made by `clean_processes` only: it changes the folder, the path and the imported modules.
    """
    torch.set_num_threads(1)
    os.chdir(ROOT)
    arguments = ["-p", "no:cacheprovider", *arguments]
    with contextlib.redirect_stdout(io.StringIO()) as printed, contextlib.redirect_stderr(printed):
        status = pytest.main(arguments, plugins=list(plugins))
    return int(status), printed.getvalue()


def run_with(job: tuple[list[str], dict[str, str], str | None]) -> tuple[int, str]:
    """`run_pytest` of (arguments, environment variables, a folder to import from)."""
    arguments, environment, folder = job
    for name in ("FAS_SPEC_MODULE", "PYTEST_ADDOPTS"):
        os.environ.pop(name, None)
    os.environ.update(environment)
    if folder:
        sys.path.insert(0, folder)
    return run_pytest(arguments)
