"""Which files of spec_tests/ may import which."""

import ast
from pathlib import Path

import pytest

SUITE = Path(__file__).parent.parent
TEST_FILES = sorted(SUITE.rglob("test_*.py"))
PROJECT = {"data_manifests", "paper_tables", "reference", "spec_tests"}


def imports(path: Path) -> set[str]:
    """The dotted names of everything that a file imports, of each name the module as well as the name within it."""
    names: set[str] = set()
    package = path.relative_to(SUITE.parent).parent.parts
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join([*above, *filter(None, [node.module])])
            names |= {module, *(f"{module}.{alias.name}" for alias in node.names)}
    return names


@pytest.mark.parametrize(
    "text", ["from spec_tests.data.test_x import a", "from .test_x import a", "from . import test_x"]
)
def test_an_import_is_read_in_each_of_its_forms(text, monkeypatch):
    monkeypatch.setattr(Path, "read_text", lambda *_, **__: text)
    assert "spec_tests.data.test_x" in imports(SUITE / "data" / "test_y.py")


@pytest.mark.parametrize("path", TEST_FILES, ids=lambda path: path.name)
def test_no_test_file_imports_from_another(path):
    modules = {".".join(file.relative_to(SUITE.parent).with_suffix("").parts) for file in TEST_FILES}
    assert not imports(path) & modules, "move what both need to a file in spec_tests/support/"


@pytest.mark.parametrize(
    "path", [SUITE / "conftest.py", *sorted((SUITE / "equations").glob("*.py"))], ids=lambda p: p.name
)
def test_the_public_suite_imports_nothing_else_of_this_project(path):
    own = {"spec_tests", "spec_tests.equations"}
    foreign = {name for name in imports(path) if name.partition(".")[0] in PROJECT} - own
    assert all(name.startswith("spec_tests.equations.") for name in foreign), foreign
