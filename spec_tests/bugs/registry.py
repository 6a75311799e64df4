"""The table in spec_tests/README.md from equation to functions, tests and bugs, and what stands behind its last column.

`python -m spec_tests.bugs.registry` writes that section anew from equations.toml, the tests and the lists of bugs; a
test holds the README to it.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from data_manifests.errors import replacing
from spec_tests.bugs import operators, our_bugs, second_implementation_bugs
from spec_tests.equations import adapter

README = Path(__file__).parent.parent / "README.md"
BEGIN, END = "<!-- written by python -m spec_tests.bugs.registry -->\n", "<!-- end -->\n"


def marked_tests(file: str) -> Iterator[tuple[Callable, Any]]:
    """(function, its equation marker or None) of every test of a file of spec_tests/equations/."""
    module = importlib.import_module(f"spec_tests.equations.{Path(file).stem}")
    for name, test in inspect.getmembers(module, inspect.isfunction):
        if name.startswith("test_") and test.__module__ == module.__name__:
            yield test, next((m for m in getattr(test, "pytestmark", []) if m.name == "equation"), None)


def table(registry: Sequence[dict[str, Any]] = adapter.REGISTRY) -> str:
    """A line an equation: functions, number of tests, number of single bugs that those tests must notice."""
    lines = ["| equation | what it is | functions | tests | bugs |", "|---|---|---|---|---|"]
    for equation in registry:
        file = equation["tests"]
        tests = sum(marker is not None and marker.args[0] == equation["id"] for _, marker in marked_tests(file))
        bugs = sum(equation["id"] in bug.tests for bug in (*second_implementation_bugs.BUGS, *our_bugs.BUGS))
        functions = ", ".join(f"`{name}`" for name in equation["functions"])
        source = f"../{adapter.OURS}/{adapter.submodule_of(equation).replace('.', '/')}.py"
        lines.append(
            f"| {equation['label']} | {equation['title']} | [{functions}]({source}) "
            f"| [{tests}](equations/{file}) | {bugs} |"
        )
    return "\n".join(lines) + "\n"


def section() -> str:
    """What stands in the README between the two marks."""
    return f"""{table()}
The last column counts the single bugs that these tests must notice. **Do they?** `make mutants` breaks code in one
place at a time, runs the tests that answer for it, prints a line for each bug and writes `build/mutants.json`:

- {len(second_implementation_bugs.BUGS)} bugs of the [second implementation](bugs/second_implementation.py), listed in
  [`second_implementation_bugs.py`](bugs/second_implementation_bugs.py): each must fail in the tests of the very
  equation that it breaks;
- {len(our_bugs.BUGS)} bugs of our own files, listed in [`our_bugs.py`](bugs/our_bugs.py): equations, networks, losses
  and the training loop, among them the twelve found in published code (M1 to M12);
- {len(operators.every())} mechanical changes of every comparison, operator, constant, condition, index and return in
  the equation functions and metrics, made by [`operators.py`](bugs/operators.py); {len(operators.equivalent())} of them
  change nothing that a number could show, and [`equivalent.toml`](bugs/equivalent.toml) says why of each.

A bug that survives, and a change called equivalent that a test does notice, is an error.
"""


def split(readme: str) -> tuple[str, str, str]:
    """The README before the section, the section, the README after it. Raises ValueError when the marks are missing."""
    before, begin, rest = readme.partition(BEGIN)
    content, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(
            f"{README.name} has no lines {BEGIN.strip()} and {END.strip()} for the section to stand between"
        )
    return before, content, after


def main() -> None:
    before, _, after = split(README.read_text(encoding="utf-8"))
    with replacing(README) as f:
        f.write((before + BEGIN + section() + END + after).encode())


if __name__ == "__main__":
    main()
