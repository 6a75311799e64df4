"""README's section from equation to function to tests, written from equations.toml, the tests and the lists of bugs.

`python -m spec_tests.bugs.registry` writes it anew; a test holds README to it.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from data_manifests.errors import replacing
from spec_tests.bugs import independent_bugs, operators, our_bugs
from spec_tests.equations import adapter

README = Path(adapter.__file__).parents[2] / "README.md"
BEGIN, END = "<!-- written by python -m spec_tests.bugs.registry -->\n", "<!-- end -->\n"


def marked_tests(file: str) -> Iterator[tuple[Callable, Any]]:
    """(function, its equation marker or None) of every test of a file of spec_tests/."""
    module = importlib.import_module(f"spec_tests.equations.{Path(file).stem}")
    for name, test in inspect.getmembers(module, inspect.isfunction):
        if name.startswith("test_") and test.__module__ == module.__name__:
            yield test, next((m for m in getattr(test, "pytestmark", []) if m.name == "equation"), None)


def table() -> str:
    """A row an equation: functions, number of tests, number of single bugs that those tests must notice."""
    lines = ["| equation | what it is | functions | tests | bugs |", "|---|---|---|---|---|"]
    for equation in adapter.REGISTRY:
        file = equation["tests"]
        tests = sum(marker is not None and marker.args[0] == equation["id"] for _, marker in marked_tests(file))
        bugs = sum(equation["id"] in bug.tests for bug in (*independent_bugs.BUGS, *our_bugs.BUGS))
        functions = ", ".join(f"`{name}`" for name in equation["functions"])
        lines.append(
            f"| {equation['label']} | {equation['title']} | [{functions}](reference/{equation['paper']}.py) "
            f"| [{tests}](spec_tests/equations/{file}) | {bugs} |"
        )
    return "\n".join(lines) + "\n"


def section() -> str:
    """The table, and what stands behind its last column."""
    return f"""{table()}
The last column counts the single bugs that these tests must notice. **Do they?** `make mutants` breaks code in one
place at a time, runs the tests that answer for it, prints a line for each bug and writes `build/mutants.json`:

- {len(independent_bugs.BUGS)} bugs of a second, independent implementation: each must fail in the tests of the very
  equation that it breaks;
- {len(our_bugs.BUGS)} bugs of our own files: equations, networks, losses and the training loop, and the twelve found
  in published code (M1 to M12 in [`our_bugs.py`](spec_tests/bugs/our_bugs.py));
- {len(operators.every())} mechanical changes of every comparison, operator, constant, condition, index and return in
  the equation functions and metrics; {len(operators.equivalent())} of them change nothing that a number could show,
  and [`equivalent.toml`](spec_tests/bugs/equivalent.toml) says why of each.

A bug that survives, and a change called equivalent that a test does notice, is an error.
"""


def parts(readme: str) -> tuple[str, str, str]:
    """README before the section, the section, README after it. Raises ValueError when the marks are not there."""
    before, begun, rest = readme.partition(BEGIN)
    shown, ended, after = rest.partition(END)
    if not begun or not ended:
        raise ValueError(
            f"{README.name} has no lines {BEGIN.strip()} and {END.strip()} for the section to stand between"
        )
    return before, shown, after


def main() -> None:
    before, _, after = parts(README.read_text(encoding="utf-8"))
    with replacing(README) as f:
        f.write((before + BEGIN + section() + END + after).encode())


if __name__ == "__main__":
    main()
