"""Which file may import which: no circles, no floor that imports from one above it, and the list of rows in README."""

import ast
from pathlib import Path

import pytest

from paper_tables.declarations.tables import rows_list
from reference.sources import ROOT

FOLDERS = ("data_manifests", "reference", "paper_tables")  # from the ground up
LADDER = ("declarations", "planning", "numbers", "rendering", "report")
AUDIT_MAY_IMPORT = ("audit", "declarations")


def module(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(source, name, modules, package=False):
    """The modules among `modules` that the text `source` of the module `name` imports, within functions too."""
    names = set()
    parents = name.split(".") if package else name.split(".")[:-1]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = parents[: len(parents) + 1 - node.level] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            submodules = {f"{base}.{alias.name}" for alias in node.names} & modules
            # Of `from package import module` it is the module that is meant, unless the package has the name itself.
            names |= submodules if len(submodules) == len(node.names) else {base, *submodules}
    return (names & modules) - {name}


def graph():
    paths = [path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py"))]
    modules = {module(path) for path in paths}
    return {
        module(path): imports(path.read_text(encoding="utf-8"), module(path), modules, path.name == "__init__.py")
        for path in paths
    }


GRAPH = graph()


def circle(edges):
    """The names along one circle of the graph, or none."""
    finished = set()

    def walk(name, trail):
        if name in trail:
            return [*trail[trail.index(name) :], name]
        if name in finished:
            return []
        for other in sorted(edges[name]):
            if found := walk(other, [*trail, name]):
                return found
        finished.add(name)
        return []

    return next((names for name in edges if (names := walk(name, []))), [])


def test_an_import_is_seen_in_each_of_its_forms():
    modules = {"a", "a.b", "a.c", "a.c.d"}
    for text in (
        "import a.b",
        "from a import b",
        "def f():\n    from a.b import x",
        "from . import b",
        "from .b import x",
    ):
        assert imports(text, "a.e", modules) == {"a.b"}, text
    assert imports("from ..b import x", "a.c.d", modules) == {"a.b"}
    assert imports("from .d import x", "a.c", modules, package=True) == {"a.c.d"}
    assert imports("from a.c import d, x", "a.b", modules) == {"a.c", "a.c.d"}
    assert imports("import json", "a.b", modules) == set()


def test_a_circle_is_found():
    assert circle({"a": {"b"}, "b": {"c"}, "c": set()}) == []
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c", "b"]


def test_no_files_import_each_other_in_a_circle():
    assert len(GRAPH) > 90
    assert " -> ".join(circle(GRAPH)) == ""


@pytest.mark.parametrize(("folder", "above"), [(f, FOLDERS[i + 1 :]) for i, f in enumerate(FOLDERS[:-1])])
def test_a_folder_imports_nothing_of_those_above_it(folder, above):
    wrong = [
        f"{name} imports {other}"
        for name, others in GRAPH.items()
        if name.partition(".")[0] == folder
        for other in others
        if other.partition(".")[0] in above
    ]
    assert wrong == []


def test_each_floor_of_the_tables_imports_only_floors_below_it():
    def floor(name):
        parts = name.split(".")
        return parts[1] if parts[0] == "paper_tables" and len(parts) > 1 else ""

    allowed = {room: LADDER[: i + 1] for i, room in enumerate(LADDER)} | {"audit": AUDIT_MAY_IMPORT}
    allowed["report"] = (*LADDER, "audit")
    allowed["bench"] = ("bench", *LADDER[:-1])
    allowed["evaluation"] = ("evaluation", "numbers", "rendering")
    allowed["spread"] = LADDER[:-1]
    allowed["__main__"] = (*LADDER[:-1], "evaluation")
    wrong = [
        f"{name} imports {other}"
        for name, others in GRAPH.items()
        if floor(name)
        for other in others
        if floor(other) and floor(other) not in allowed[floor(name)]
    ]
    assert wrong == []


def test_the_entrance_stays_short():
    lines = (ROOT / "paper_tables" / "__main__.py").read_text(encoding="utf-8").splitlines()
    assert len(lines) < 110


def test_the_readme_lists_the_rows_of_rows_toml():
    text = Path(ROOT / "paper_tables" / "README.md").read_text(encoding="utf-8")
    _, begin, rest = text.partition("<!-- comparison rows, from reference/rivals/rows.toml -->\n")
    written, end, _ = rest.partition("\n<!-- end of comparison rows -->")
    command = "from paper_tables.declarations.tables import rows_list; print(rows_list())"
    assert begin, "no mark before the list"
    assert end, "no mark after the list"
    assert written == rows_list(), f"put into paper_tables/README.md what this prints: python -c '{command}'"
