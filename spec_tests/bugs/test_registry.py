"""The registry, the test files and the contract's functions agree with each other."""

import inspect
from pathlib import Path

import pytest

from spec_tests.bugs import registry
from spec_tests.bugs import second_implementation as independent
from spec_tests.bugs.registry import marked_tests
from spec_tests.equations import adapter

HERE = Path(adapter.__file__).parent
FUNCTIONS = {f for e in adapter.REGISTRY for f in e["functions"]}
NOT_IN_THE_CONTRACT = {"gumbel_choice", "checked", "split"}  # independent.py's own helpers


def test_equations_have_unique_names():
    for key in ("id", "label"):
        values = [e[key] for e in adapter.REGISTRY]
        assert len(set(values)) == len(values)
    assert {e["paper"] for e in adapter.REGISTRY} == {"mmfas", "mmda", "metrics"}


def test_every_equation_file_is_registered():
    written = {path.name for pattern in ("test_mmfas_eq*.py", "test_mmda_eq*.py") for path in HERE.glob(pattern)}
    assert written | {"test_metrics.py"} <= adapter.EQUATION_FILES
    assert all((HERE / file).exists() for file in adapter.EQUATION_FILES)


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
        for name, value in vars(independent).items()
        if inspect.isfunction(value) and name not in NOT_IN_THE_CONTRACT
    }
    assert offered == FUNCTIONS


@pytest.mark.parametrize("implementation", ["reference", "spec_tests.bugs.second_implementation"])
def test_the_signatures_are_those_of_both_implementations(implementation):
    assert adapter.SIGNATURES.keys() == FUNCTIONS
    for name, function in adapter.load(implementation).functions.items():
        parameters = [str(p.replace(annotation=p.empty)) for p in inspect.signature(function).parameters.values()]
        wanted = adapter.SIGNATURES[name].strip("()").split(", ")
        assert parameters[: len(wanted)] == wanted
        assert all("=" in more for more in parameters[len(wanted) :]), f"{name} asks for more than the contract has"


def test_no_test_draws_unseeded_tensors():
    for file in adapter.EQUATION_FILES:
        text = (HERE / file).read_text(encoding="utf-8")
        for bare in ("torch.rand", "torch.randn", "np.random.rand", "np.random.normal"):
            assert bare not in text, f"{file} draws from {bare}; draw a seed and use strategies.Draw"


def test_the_readme_shows_this_section():
    _, shown, _ = registry.parts(registry.README.read_text(encoding="utf-8"))
    assert shown == registry.section(), "write it anew with: python -m spec_tests.bugs.registry"
