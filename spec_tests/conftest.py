"""The conformance suite's command line: which implementation, which tests, which report.

`pytest spec_tests/` tests this project. `pytest spec_tests/ --implementation=their.module` tests the equation and
metric functions of any importable module. `pytest spec_tests/ --help` lists the options under "conformance".

Of this project only spec_tests/equations/ is imported here: the two together are the public suite.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, Phase, settings

from spec_tests.equations import adapter, conformance_matrix
from spec_tests.equations.strategies import DEVICES, DTYPES

HERE = Path(__file__).parent
EQUATIONS = HERE / "equations"

# The default is derandomised: the same implementation gets the same verdict every time. `thorough` searches anew
# each time and prints what repeats a failure. `quick` does not shrink a failure: it is for runs over many mutants.
COMMON: dict[str, Any] = {
    "deadline": None,
    "print_blob": True,
    "suppress_health_check": [HealthCheck.too_slow, HealthCheck.data_too_large],
}
settings.register_profile("conformance", max_examples=25, derandomize=True, **COMMON)
settings.register_profile("thorough", max_examples=500, derandomize=False, **COMMON)
settings.register_profile("quick", max_examples=10, derandomize=True, phases=[Phase.explicit, Phase.generate], **COMMON)
settings.load_profile("conformance")

MATRIX = pytest.StashKey[conformance_matrix.Matrix]()
XFAILS = pytest.StashKey[dict[str, str]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("conformance", "conformance of an implementation with the published equations")
    group.addoption(
        "--implementation",
        metavar="MODULE",
        help="importable module whose functions are tested (default: $FAS_SPEC_MODULE, else this project's own); "
        "a function it lacks is skipped as not provided",
    )
    group.addoption(
        "--conformance-report",
        metavar="FILE",
        help="write the verdict on every equation to FILE.json or FILE.html, or to both when FILE has no extension",
    )
    group.addoption(
        "--xfails-file",
        metavar="FILE",
        help="tests known to fail, one a line: test-id  # reason; one that passes nevertheless is a failure",
    )


def pytest_configure(config: pytest.Config) -> None:
    # The tests' arrays are tiny: threads that wait for each other would take most of the time. Children inherit it.
    torch.set_num_threads(1)
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    config.addinivalue_line("markers", "equation(id, *functions): the equation a test checks, the functions it calls")
    name = config.getoption("implementation") or os.environ.get("FAS_SPEC_MODULE") or adapter.OURS
    here = str(config.invocation_params.dir)
    if here not in sys.path:
        sys.path.append(here)
    try:
        adapter.active = adapter.load(name)
        report_files(config)
    except (adapter.CannotImport, ValueError) as e:
        raise pytest.UsageError(str(e)) from e
    config.stash[MATRIX] = matrix = conformance_matrix.Matrix(adapter.active)
    config.pluginmanager.register(Reports(matrix))
    config.stash[XFAILS] = read_xfails(config.getoption("xfails_file"))


def report_files(config: pytest.Config) -> list[Path]:
    """The files that this run's report goes to."""
    name = config.getoption("conformance_report")
    files = conformance_matrix.targets(name) if name else []
    for path in files:
        if path.is_dir():
            raise ValueError(f"--conformance-report={name}: {path} is a folder; name a file in it")
    return files


def read_xfails(name: str | None) -> dict[str, str]:
    """Test id → reason; `pytest.UsageError` names the line that has no reason, and a file that cannot be read."""
    if name is None:
        return {}
    try:
        lines = Path(name).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as e:
        raise pytest.UsageError(f"cannot read the xfails file {name}: {e}") from e
    xfails = {}
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        test, _, reason = (part.strip() for part in line.partition("#"))
        if not reason:
            raise pytest.UsageError(f"{name}:{number}: {test} needs a reason: test-id  # reason")
        xfails[test] = reason
    return xfails


def about() -> dict[str, Any]:
    """What the verdicts are about, for the run's header and the head of the report."""
    implementation = adapter.active
    return {
        "implementation": implementation.name,
        "torch": torch.__version__,
        "devices": [torch.cuda.get_device_name() if d == "cuda" else d for d in DEVICES],
        "dtypes": DTYPES,
        "examples_per_property": settings().max_examples,
        "provided": list(implementation.functions),
        "not_provided": implementation.missing,
    }


@pytest.hookimpl(trylast=True)
def pytest_sessionstart(session: pytest.Session) -> None:
    # pyproject.toml asks for -q, which hides what pytest_report_header returns; this header is not to be hidden
    terminal = session.config.pluginmanager.get_plugin("terminalreporter")
    if terminal is None or session.config.get_verbosity() < -1:
        return
    facts = about()
    provided, missing = facts["provided"], facts["not_provided"]
    terminal.write_line(
        f"implementation: {facts['implementation']}; torch {facts['torch']}; "
        f"{', '.join(facts['devices'])}; {', '.join(facts['dtypes'])}"
    )
    terminal.write_line(f"provided ({len(provided)}): {', '.join(provided) or 'no function'}")
    if missing:
        terminal.write_line(f"not provided ({len(missing)}): {', '.join(missing)}")
    for function in provided:
        if misfit := adapter.misfit(function):
            signature = f"{function}{adapter.SIGNATURES[function]}"
            terminal.write_line(f"{function} cannot be called as {signature}: {misfit}", red=True)
    if adapter.active.foreign:
        terminal.write_line("only the equation and metric tests run; this project's own tests are left out")


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    ours = collection_path.name.startswith("test_") and HERE in collection_path.parents
    public = collection_path.parent == EQUATIONS and collection_path.name in adapter.EQUATION_FILES
    return True if adapter.active.foreign and ours and not public else None


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        marker = item.get_closest_marker("equation")
        if marker is not None:
            item.user_properties.append(("equation", marker.args[0]))
    apply_xfails(config.stash[XFAILS], items, config.getoption("xfails_file"))


def apply_xfails(xfails: dict[str, str], items: list[pytest.Item], name: str | None) -> None:
    """Mark the listed tests; an id that can match no test is a `pytest.UsageError`.

    An id is `test_file.py::test_name`, with or without the folder before it and the [parameters] after it.
    """
    collected = {item.path.name for item in items}
    for test, reason in xfails.items():
        path, _, function = test.partition("::")
        file = Path(path).name
        matching = [i for i in items if i.path.name == file and function in (i.name, i.name.partition("[")[0])]
        if not matching and (file in collected or not any(HERE.rglob(file))):
            raise pytest.UsageError(f"{name}: {test} matches no test; give test_file.py::test_name or remove the line")
        for item in matching:
            item.add_marker(pytest.mark.xfail(reason=reason, strict=True))


def pytest_runtest_setup(item: pytest.Item) -> None:
    marker = item.get_closest_marker("equation")
    if marker is None:
        return
    missing = ", ".join(f for f in marker.args[1:] if f in adapter.active.missing)
    if missing and adapter.active.foreign:
        pytest.skip(f"not provided: {missing}")
    if missing:
        pytest.fail(f"{adapter.active.name} must have every function of the contract, but has no {missing}", False)


class Reports:
    """Hands every test's reports to the matrix. With `-n` of pytest-xdist they come from the workers, whose own
    matrices nobody sees."""

    def __init__(self, matrix: conformance_matrix.Matrix) -> None:
        self.matrix = matrix

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.matrix.add(report)


def pytest_sessionfinish(session: pytest.Session) -> None:
    if session.config.option.collectonly or hasattr(session.config, "workerinput"):
        return
    content = session.config.stash[MATRIX].as_dict(about())
    for path in report_files(session.config):
        conformance_matrix.write(path, content)


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    matrix = config.stash[MATRIX]
    if not matrix.any_counted():
        return
    terminalreporter.section(f"conformance of {adapter.active.name}")
    for line in matrix.lines():
        terminalreporter.write_line(line, red=f"  {conformance_matrix.FAILED}" in line)
    for path in report_files(config):
        terminalreporter.write_line(f"report: {path}")
