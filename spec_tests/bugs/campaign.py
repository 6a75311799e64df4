"""Runs the tests over broken code: pytest collects them once, then a fork of the process judges each mutant."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import json
import os
import resource
import signal
import sys
import time
import traceback
import types
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch

from spec_tests.equations import adapter

HERE = Path(__file__).parent
SECOND = "spec_tests.bugs.second_implementation"
MODULE = "conformance_mutant"
LIMIT = 120  # seconds of processor time for one mutant: a mutated loop may never end


@dataclass(frozen=True)
class Mutant:
    """A single bug: `old` becomes `new` in `function` of `module`, and then one of `tests` must fail.

    `function` is a dotted name (`Alignment._pairs`), or empty for the module's top level. Each of `tests` is the id of
    an equation, a test file, or one test as file::name.
    """

    module: str
    tests: tuple[str, ...]
    function: str
    name: str
    old: str
    new: str

    @property
    def id(self) -> str:
        return f"{self.module.rpartition('.')[2]}:{self.function}:{self.name}"

    def source(self) -> str:
        """The whole module with the one change; `ValueError` when it does not hold `old` exactly once."""
        text = source_of(self.module)
        start, end = span(self.module, self.function)
        part = text[start:end]
        if part.count(self.old) != 1:
            raise ValueError(f"{self.id}: {self.old!r} is {part.count(self.old)} times in it, not once")
        return text[:start] + part.replace(self.old, self.new) + text[end:]


def mutants(module: str, tests: str, function: str, *changes: tuple[str, str, str]) -> list[Mutant]:
    """One for each (name, old, new); `tests` separated by spaces."""
    return [Mutant(module, tuple(tests.split()), function, *change) for change in changes]


@cache
def source_of(module: str) -> str:
    spec = importlib.util.find_spec(module)
    assert spec is not None, f"there is no module {module}"
    assert spec.origin is not None, f"{module} is no file"
    return Path(spec.origin).read_text(encoding="utf-8")


@cache
def tree_of(module: str) -> ast.Module:
    return ast.parse(source_of(module))


def node_of(module: str, function: str) -> Any:
    """The syntax tree of a function or class of a module; of the module itself for an empty name."""
    node: Any = tree_of(module)
    for name in filter(None, function.split(".")):
        matches = [n for n in node.body if isinstance(n, ast.FunctionDef | ast.ClassDef) and n.name == name]
        if len(matches) != 1:
            raise ValueError(f"{module} has no {function}")
        node = matches[0]
    return node


@cache
def span(module: str, function: str) -> tuple[int, int]:
    """Where a function's text begins and ends in its module's text."""
    text = source_of(module)
    if not function:
        return 0, len(text)
    node = node_of(module, function)
    lines = text.splitlines(keepends=True)

    def place(line: int, column: int) -> int:  # the syntax tree counts a line's UTF-8 bytes
        return sum(map(len, lines[: line - 1])) + len(lines[line - 1].encode()[:column].decode())

    return place(node.lineno, node.col_offset), place(node.end_lineno, node.end_col_offset)


def install(mutant: Mutant) -> None:
    """Put the mutant in the place of the code that it breaks. For a process of its own."""
    code = compile(mutant.source(), mutant.id, "exec")
    if mutant.module == SECOND:
        module = types.ModuleType(MODULE)
        exec(code, module.__dict__)
        sys.modules[MODULE] = module
        adapter.active = adapter.load(MODULE)
        return
    module = importlib.import_module(mutant.module)
    before = dict(vars(module))
    exec(code, module.__dict__)
    # Whoever imported a function, class or table by name gets the new one too.
    after = {id(old): vars(module)[name] for name, old in before.items() if _importable(old, mutant.module)}
    for other in list(sys.modules.values()):
        if other is not module and getattr(other, "__name__", "").startswith(("spec_tests.", "reference.")):
            for name, value in list(vars(other).items()):
                if id(value) in after:
                    setattr(other, name, after[id(value)])
    adapter.active = adapter.load(adapter.OURS)


def _importable(value: Any, module: str) -> bool:
    return getattr(value, "__module__", None) == module or isinstance(value, dict)


@dataclass(frozen=True)
class Verdict:
    """What became of a mutant."""

    mutant: Mutant
    killer: str  # the first of its tests that failed, empty when none did
    others: str  # another equation whose tests noticed although its own did not
    seconds: float

    @property
    def killed(self) -> bool:
        return bool(self.killer)


class Campaign:
    """A pytest plugin that, instead of running every test once, runs the tests of each mutant until one fails."""

    def __init__(self, chosen: list[Mutant], report: Callable[[Verdict], None]) -> None:
        self.chosen, self.report = chosen, report
        self.failed: list[tuple[str, str]] = []
        self.broken: RuntimeError | None = None

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        try:
            if session.testsfailed:
                raise RuntimeError("the tests cannot be collected")
            self.check(session.items)
            for mutant in self.chosen:
                self.report(self.trial(session.items, mutant))
        except RuntimeError as e:
            self.broken = e
        return True

    def check(self, items: list[pytest.Item]) -> None:
        """Raise RuntimeError unless every test that is to notice a bug passes without one."""
        names = {test for mutant in self.chosen for test in mutant.tests}
        status, message = _forked(
            lambda: self._first_failure([i for i in items if any(_names(n, i) for n in names)]), 0
        )
        if status or json.loads(message)[0]:
            raise RuntimeError(f"the tests fail without a bug: {message}")

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            equation = dict(report.user_properties).get("equation", "")
            self.failed.append((report.nodeid.rpartition("/")[2], equation))

    def trial(self, items: list[pytest.Item], mutant: Mutant) -> Verdict:
        """Judge one mutant in a fork of this process."""
        mine = [item for test in mutant.tests for item in items if _names(test, item)]
        if not mine:
            raise RuntimeError(f"{mutant.id}: no test is called {', '.join(mutant.tests)}")
        # A bug of the second implementation must fail in its own equation's tests; others that notice are only named.
        theirs = [item for item in items if item not in mine] if mutant.module == SECOND else []

        def judge() -> tuple[str, str]:
            install(mutant)
            killer, _ = self._first_failure(mine)
            return killer, "" if killer else self._first_failure(theirs)[1]

        began = time.perf_counter()
        status, message = _forked(judge, LIMIT)
        seconds = time.perf_counter() - began
        if status == -signal.SIGXCPU:
            return Verdict(mutant, f"no end within {LIMIT} s", "", seconds)
        if status:
            raise RuntimeError(f"{mutant.id}: status {status}\n{message}")
        return Verdict(mutant, *json.loads(message), seconds)

    def _first_failure(self, items: list[pytest.Item]) -> tuple[str, str]:
        """The first test that fails and its equation, or two empty strings."""
        for item, following in zip(items, [*items[1:], None], strict=False):
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            if self.failed:
                return self.failed[0]
        return "", ""


def _forked(work: Callable[[], tuple[str, str]], limit: int) -> tuple[int, str]:
    """Do `work` in a fork of this process, in silence and, unless 0, for at most `limit` seconds of processor time.

    Returns its exit status, negative for a signal, and its result as JSON, or else the traceback.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.close(reading)
            silence = os.open(os.devnull, os.O_WRONLY)
            os.dup2(silence, 1)
            os.dup2(silence, 2)
            if limit:
                resource.setrlimit(resource.RLIMIT_CPU, (limit, limit + 1))
            os.write(writing, json.dumps(work()).encode())
            status = 0
        except BaseException:
            os.write(writing, traceback.format_exc().encode())
        finally:
            os._exit(status)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        message = pipe.read().decode()
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), message


def _names(test: str, item: pytest.Item) -> bool:
    marker = item.get_closest_marker("equation")
    file = item.path.name
    return test in (file, f"{file}::{item.name}", f"{file}::{item.name.partition('[')[0]}") or (
        marker is not None and marker.args[0] == test
    )


def run(chosen: list[Mutant], report: Callable[[Verdict], None]) -> None:
    """Judge every mutant of `chosen`, in order, and call `report` with each verdict.

    Raises RuntimeError when pytest cannot run, or when the tests fail without any bug.
    """
    torch.set_num_threads(1)
    for mutant in chosen:
        compile(mutant.source(), mutant.id, "exec")
    equations = {e["id"]: e["tests"] for e in adapter.REGISTRY}
    files = {equations.get(test, test.partition("::")[0]) for mutant in chosen for test in mutant.tests}
    if any(mutant.module == SECOND for mutant in chosen):
        files |= adapter.EQUATION_FILES
    paths = [str(next(HERE.parent.rglob(file))) for file in sorted(files)]
    options = [
        "-qq",
        "--capture=no",
        "-p",
        "no:cacheprovider",
        "--hypothesis-profile=quick",
        "--implementation=reference",
    ]
    campaign = Campaign(chosen, report)
    status = pytest.main([*options, *paths], plugins=[campaign])
    if campaign.broken:
        raise campaign.broken
    if status not in (0, 5):
        raise RuntimeError(f"pytest ended with {status!r}")
