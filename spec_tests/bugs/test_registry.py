"""The registry, the test files and the contract's functions agree with each other."""

import inspect
import re
import sys
from pathlib import Path

import pytest

from reference.rivals import rows
from spec_tests.bugs import operators, registry, second_implementation
from spec_tests.bugs.registry import marked_tests
from spec_tests.equations import adapter

HERE = Path(adapter.__file__).parent
FUNCTIONS = {f for e in adapter.REGISTRY for f in e["functions"]}
NOT_IN_THE_CONTRACT = {"gumbel_choice", "checked", "split"}  # helpers of the second implementation


def test_equations_have_unique_names():
    for key in ("id", "label"):
        values = [e[key] for e in adapter.REGISTRY]
        assert len(set(values)) == len(values)
    ours = {"mmfas", "mmda", "metrics"}
    assert ours <= {e["paper"] for e in adapter.REGISTRY} <= ours | {"blocks"} | rows.load().keys()


def test_a_function_has_one_submodule_in_all_its_equations():
    submodules = {f: {adapter.submodule_of(e) for e in adapter.REGISTRY if f in e["functions"]} for f in FUNCTIONS}
    assert all(len(of_function) == 1 for of_function in submodules.values())


def test_every_equation_file_is_registered():
    assert {path.name for path in HERE.glob("test_*.py")} == adapter.EQUATION_FILES


@pytest.mark.parametrize("file", sorted(adapter.EQUATION_FILES))
def test_every_test_names_an_equation_of_its_file_and_functions_of_that_equation(file):
    functions_of = {e["id"]: e["functions"] for e in adapter.REGISTRY if e["tests"] == file}
    tested = {equation: set() for equation in functions_of}
    for test, marker in marked_tests(file):
        assert marker is not None, f"{test.__name__} names no equation"
        equation, *functions = marker.args
        assert functions, f"{test.__name__} names no function"
        assert set(functions) <= set(functions_of[equation]), f"{test.__name__} names a function of another equation"
        tested[equation].update(functions)
    assert tested == {equation: set(functions) for equation, functions in functions_of.items()}


@pytest.mark.parametrize("equation", [e["id"] for e in adapter.REGISTRY])
def test_every_equation_has_a_property_test(equation):
    file = next(e["tests"] for e in adapter.REGISTRY if e["id"] == equation)
    marked = [test for test, marker in marked_tests(file) if marker is not None and marker.args[0] == equation]
    assert any(hasattr(test, "hypothesis") for test in marked)


def test_the_registry_holds_the_functions_of_the_contract():
    offered = {
        name
        for name, value in vars(second_implementation).items()
        if inspect.isfunction(value) and name not in NOT_IN_THE_CONTRACT
    }
    assert offered == FUNCTIONS


@pytest.mark.parametrize("implementation", ["reference", "spec_tests.bugs.second_implementation"])
def test_the_signatures_are_those_of_both_implementations(implementation):
    assert adapter.SIGNATURES.keys() == FUNCTIONS
    for name, function in adapter.load(implementation).functions.items():
        parameters = [str(p.replace(annotation=p.empty)) for p in inspect.signature(function).parameters.values()]
        contract = adapter.SIGNATURES[name].strip("()").split(", ")
        assert parameters[: len(contract)] == contract
        assert all("=" in more for more in parameters[len(contract) :]), f"{name} needs more than the contract gives"


def test_no_test_draws_unseeded_tensors():
    for file in adapter.EQUATION_FILES:
        text = (HERE / file).read_text(encoding="utf-8")
        for bare in ("torch.rand", "torch.randn", "np.random.rand", "np.random.normal"):
            assert bare not in text, f"{file} draws from {bare}; draw a seed and use strategies.Draw"


def test_the_readme_of_the_suite_shows_this_section():
    _, content, _ = registry.split(registry.README.read_text(encoding="utf-8"))
    assert content == registry.section(), "write it anew with: python -m spec_tests.bugs.registry"


def test_the_links_of_the_suites_readme_lead_somewhere():
    links = re.findall(r"\]\(([^)#]+)\)", registry.README.read_text(encoding="utf-8"))
    assert len(links) > 2 * len(adapter.REGISTRY)
    for link in links:
        assert (registry.README.parent / link).exists(), link


# As a comparison row will have them: mathematics of its own, and a block that other rows share.
ROW_EQUATIONS = [
    {"paper": "a_row", "module": "rivals.a_row", "functions": ["own", "absent"]},
    {"paper": "a_row", "module": "rivals.blocks.shared", "functions": ["half"]},
    {"paper": "a_row", "functions": ["beside"]},
    {"paper": "a_row", "module": "rivals.no_such.block", "functions": ["nowhere"]},
]
for _number, _equation in enumerate(ROW_EQUATIONS, 1):
    _equation |= {
        "id": f"a_row-eq{_number}",
        "label": f"A row Eq. {_number}",
        "title": "a sum",
        "tests": "test_metrics.py",
    }


@pytest.fixture
def their_package(tmp_path, monkeypatch):
    files = {
        "__init__": "",
        "a_row": "def beside(x):\n    return x\n",
        "rivals/__init__": "",
        "rivals/a_row": "def own(a, b):\n    return a + b\n",
        "rivals/blocks/__init__": "",
        "rivals/blocks/shared": "def half(x):\n    return x / 2\n",
    }
    for name, text in files.items():
        path = tmp_path / "their_rows" / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    yield "their_rows"
    for name in [name for name in sys.modules if name.partition(".")[0] == "their_rows"]:
        del sys.modules[name]


def test_an_equation_may_name_the_submodule_that_holds_its_functions(their_package):
    implementation = adapter.load(their_package, ROW_EQUATIONS)
    assert implementation.homes == {
        "own": "their_rows.rivals.a_row",
        "half": "their_rows.rivals.blocks.shared",
        "beside": "their_rows.a_row",
    }
    assert implementation.missing == ["absent", "nowhere"]
    assert implementation.functions["half"](4) == 2


def test_links_and_mechanical_bugs_follow_the_submodule(their_package, monkeypatch):
    monkeypatch.setattr(adapter, "OURS", their_package)
    _, _, *lines = registry.table(ROW_EQUATIONS[:3]).splitlines()
    assert [re.search(r"\]\((.+?)\)", line).group(1) for line in lines] == [
        "../their_rows/rivals/a_row.py",
        "../their_rows/rivals/blocks/shared.py",
        "../their_rows/a_row.py",
    ]
    bugs = operators.every([ROW_EQUATIONS[0] | {"functions": ["own"]}, ROW_EQUATIONS[1]])
    assert {bug.module for bug in bugs} == {"their_rows.rivals.a_row", "their_rows.rivals.blocks.shared"}
    assert "a_row:own:a + b → a - b" in {bug.id for bug in bugs}
    assert {bug.tests[0] for bug in bugs} == {"a_row-eq1", "a_row-eq2"}
    assert all(compile(bug.source(), bug.id, "exec") for bug in bugs)
