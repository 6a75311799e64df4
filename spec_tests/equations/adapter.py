"""Finds the implementation under test, and calls it under watch.

An implementation is an importable module that offers any subset of the contract's functions, either as its own
attributes or in submodules (`mmfas`, `mmda`, `metrics`, and whatever else `equations.toml` names). Every call a test
makes goes through `call`, which holds the function to what the contract says of all of them (it is pure, keeps dtype
and device, and draws from the generator it is handed alone) and remembers the arguments, so that a failing test can
print a snippet that repeats it.
"""

from __future__ import annotations

import base64
import difflib
import functools
import importlib
import importlib.util
import inspect
import random
import sys
import tomllib
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import hypothesis.errors
import numpy as np
import pytest
import torch

from spec_tests.equations.tolerances import GRADIENT_ATOL, GRADIENT_RTOL, STEP

OURS = "reference"
CONTRACT = tomllib.loads(Path(__file__).with_name("equations.toml").read_text(encoding="utf-8"))
REGISTRY, SIGNATURES = CONTRACT["equation"], CONTRACT["signatures"]
EQUATION_FILES = {equation["tests"] for equation in REGISTRY}


class CannotImport(Exception):
    """The named implementation, or a submodule of it, does not import; the message says why."""


@dataclass
class Implementation:
    """An importable module, and which functions of the contract it provides."""

    name: str
    functions: dict[str, Callable] = field(default_factory=dict)
    homes: dict[str, str] = field(default_factory=dict)  # function → the module that has it
    missing: list[str] = field(default_factory=list)

    @property
    def foreign(self) -> bool:
        """Whether it is somebody else's, for which only the equation tests mean anything."""
        return self.name != OURS


def submodule_of(equation: dict[str, Any]) -> str:
    """The dotted name, below the implementation's own, of the submodule that may hold an equation's functions."""
    return equation.get("module", equation["paper"])


def load(name: str, registry: Sequence[dict[str, Any]] = REGISTRY) -> Implementation:
    """Import the implementation and look up every function of the registry; raises `CannotImport`, also where it has
    none of them."""
    if name.endswith(".py") or "/" in name:
        path = Path(name)
        raise CannotImport(
            f"{name} is a path: give the name that Python imports, from the folder of the file "
            f"(cd {path.parent}; pytest … --implementation={path.stem})"
        )
    implementation = Implementation(name)
    root = _import(name)
    try:
        _look_up(implementation, root, registry)
    except CannotImport:
        raise
    except Exception as e:  # a module may answer for its names itself
        raise CannotImport(f"{name} cannot be asked for its functions: {type(e).__name__}: {e}") from e
    if not implementation.functions:
        raise CannotImport(_nothing_found(root, implementation.missing))
    return implementation


def _look_up(implementation: Implementation, root: ModuleType, registry: Sequence[dict[str, Any]]) -> None:
    """Find each function of the registry, or note that it is missing."""
    for equation in registry:
        places = (root, _submodule(root, submodule_of(equation)))
        for function in equation["functions"]:
            if function in implementation.functions or function in implementation.missing:
                continue
            place = next((m for m in places if callable(getattr(m, function, None))), None)
            if place is None:
                implementation.missing.append(function)
            else:
                implementation.functions[function] = getattr(place, function)
                implementation.homes[function] = place.__name__


def _nothing_found(root: ModuleType, wanted: Sequence[str]) -> str:
    """Why a module with no function of the contract cannot be tested, and what its author may have meant."""
    own = {name: value for name, value in vars(root).items() if callable(value) and not name.startswith("_")}
    inside = {
        f"{name}.{method}": method
        for name, value in own.items()
        if inspect.isclass(value) and value.__module__.startswith(root.__name__)
        for method in vars(value)
    }
    said = f"{root.__name__} has no function of the contract (spec_tests/equations/equations.toml lists them)"
    for place, method in inside.items():
        if method in wanted:
            kind = place.partition(".")[0]
            return (
                f"{said}, but a class has one, {place}: hand it over from a module of functions, "
                f"such as a file theirs.py with `from {root.__name__} import {kind}` and `{method} = {kind}().{method}`"
            )
    near = {name: close for name in own if (close := difflib.get_close_matches(name, wanted, 1, 0.75))}
    if near:
        return f"{said}; of like names are {', '.join(f'{name} (contract: {near[name][0]})' for name in near)}"
    return f"{said}; it has {', '.join(sorted(own)[:8]) or 'no function at all'}"


def misfit(function: str) -> str:
    """What keeps the active implementation's function from being called as the contract says; empty when nothing."""
    parameters = [p.partition("=")[::2] for p in SIGNATURES[function].strip("()").split(", ")]
    named = {name: default for name, default in parameters if default}
    try:
        inspect.signature(active.functions[function]).bind(*[n for n, default in parameters if not default], **named)
    except TypeError as e:
        return str(e)
    except ValueError:  # a function written in C may have no signature to look at
        pass
    return ""


def _import(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except (Exception, SystemExit) as e:  # whatever a foreign module raises while it is imported, or ends with
        module, _, last = name.rpartition(".")
        if last in vars(sys.modules.get(module, object)):
            raise CannotImport(
                f"{name} is no module, but stands in {module}: hand its functions over from a module of functions, "
                f"such as a file theirs.py with `from {module} import {last}` and `icl_loss = {last}().icl_loss`"
            ) from e
        raise CannotImport(f"cannot import the implementation {name}: {type(e).__name__}: {e}") from e


def _submodule(root: ModuleType, dotted: str) -> ModuleType | None:
    """The submodule of that name; None when any part of the way to it is not there."""
    module = root
    for part in dotted.split("."):
        name = f"{module.__name__}.{part}"
        if not hasattr(module, "__path__") or importlib.util.find_spec(name) is None:
            return None
        module = _import(name)
    return module


active = Implementation("")  # conftest.py puts the loaded one here, once a session
calls: list[Call] = []  # of the example that is running


def spec(equation: str, *functions: str) -> Callable:
    """Decorator of an equation test, above `@given`: names the equation and the functions that it needs.

    A failure of the test carries, as a note, a snippet that repeats its calls.
    """

    def decorate(test: Callable) -> Callable:
        if hasattr(test, "hypothesis"):
            test.hypothesis.inner_test = _with_snippet(test.hypothesis.inner_test)
        else:
            test = _with_snippet(test)
        return pytest.mark.equation(equation, *functions)(test)

    return decorate


def _with_snippet(test: Callable) -> Callable:
    @functools.wraps(test)
    def noted(*args: Any, **kwargs: Any) -> None:
        calls.clear()
        try:
            test(*args, **kwargs)
        except hypothesis.errors.HypothesisException:
            raise
        except Exception as e:
            if calls:
                e.add_note(snippet(e))
            raise

    return noted


@dataclass
class Call:
    """One call: copies of its arguments, for the checks and for the snippet, and the objects themselves."""

    name: str
    args: tuple
    kwargs: dict
    originals: tuple
    times: int = 1

    def repeats(self, other: Call) -> bool:
        """Whether both are the same function on the very same objects."""
        return (
            (self.name, list(self.kwargs)) == (other.name, list(other.kwargs))
            and len(self.originals) == len(other.originals)
            and all(a is b for a, b in zip(self.originals, other.originals, strict=True))
        )


def call(name: str, *args: Any, **kwargs: Any) -> Any:
    """Call a function of the implementation and check what every function promises."""
    current = Call(name, _copy(args), _copy(kwargs), (*args, *kwargs.values()))
    if calls and current.repeats(calls[-1]):
        calls[-1].times += 1
    else:
        calls.append(current)
    states = _global_states()
    out = active.functions[name](*args, **kwargs)
    for what, before, after in zip(("torch", "numpy", "random"), states, _global_states(), strict=True):
        assert before == after, f"{name} used or set the global random state of {what}"
    for place, (before, after) in enumerate(
        zip(_leaves((current.args, current.kwargs)), _leaves((args, kwargs)), strict=True)
    ):
        assert _same(before, after), f"{name} changed its input {place} in place"
    _check_kind(name, out, list(_leaves((args, kwargs))))
    return out


def _check_kind(name: str, out: Any, inputs: list) -> None:
    tensors = [x for x in inputs if isinstance(x, torch.Tensor)]
    dtypes = {t.dtype for t in tensors if t.is_floating_point()}
    for result in _leaves(out):
        if not isinstance(result, torch.Tensor) or not tensors:
            continue
        assert result.device == tensors[0].device, f"{name} took {tensors[0].device} and gave {result.device}"
        if result.is_floating_point() and dtypes:
            assert result.dtype in dtypes, f"{name} took {dtypes} and gave {result.dtype}"


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list | tuple):
        for each in value:
            yield from _leaves(each)
    else:
        yield value


def _copy(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        copy = value.detach().clone()
        return copy if value.is_contiguous() else _spread(copy)
    if isinstance(value, np.ndarray):
        return value.copy()
    if isinstance(value, list | tuple):
        return type(value)(_copy(each) for each in value)
    if isinstance(value, dict):
        return {key: _copy(each) for key, each in value.items()}
    return value


def _spread(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.repeat_interleave(2, -1)[..., ::2]


def _same(before: Any, after: Any) -> bool:
    if isinstance(before, torch.Tensor):
        return before.shape == after.shape and torch.equal(before, after.detach())
    if isinstance(before, np.ndarray):
        return before.shape == after.shape and before.tobytes() == after.tobytes()
    return True


def _global_states() -> tuple:
    states = [torch.get_rng_state().numpy().tobytes()]
    if torch.cuda.is_available():
        states.append(torch.cuda.get_rng_state().numpy().tobytes())
    _, keys, *rest = np.random.get_state()  # noqa: NPY002 — the state that no function may touch
    return tuple(states), (keys.tobytes(), *rest), random.getstate()


def gradients(function: Callable, *inputs: torch.Tensor) -> None:
    """Assert that the float64 gradients with respect to every input agree with central differences.

    Written out because `torch.autograd.gradcheck` imports sympy, which takes longer than all the gradient tests.
    """
    leaves = [x.detach().clone().requires_grad_() for x in inputs]
    weights = torch.Generator().manual_seed(0)
    mixed = [
        torch.randn(out.shape, generator=weights, dtype=torch.float64).to(out.device)
        for out in _leaves(function(*leaves))
    ]

    def total(*points: torch.Tensor) -> torch.Tensor:
        return sum((w * out).sum() for w, out in zip(mixed, _leaves(function(*points)), strict=True))

    value = total(*leaves)
    assert value.requires_grad, "the result has no gradient"
    got = torch.autograd.grad(value, leaves, allow_unused=True)
    for place, (leaf, gradient) in enumerate(zip(leaves, got, strict=True)):
        numeric = torch.zeros_like(leaf)
        for element in range(leaf.numel()):
            sides = []
            for step in (STEP, -STEP):
                moved = leaf.detach().clone()
                moved.view(-1)[element] += step
                with torch.no_grad():
                    points = [moved if x is leaf else x.detach() for x in leaves]
                    sides.append(float(total(*points)))
            numeric.view(-1)[element] = (sides[0] - sides[1]) / (2 * STEP)
        assert gradient is not None or not numeric.any(), f"no gradient reaches input {place}"
        if gradient is not None:
            wrong = (gradient - numeric).abs() > GRADIENT_RTOL * numeric.abs() + GRADIENT_ATOL
            wrong |= ~gradient.isfinite()
            assert not wrong.any(), f"the gradient of input {place} is {gradient.tolist()}, expected {numeric.tolist()}"


# The snippet

HEAD = "import numpy as np, torch, zlib, base64\nfrom math import inf, nan"
LAST_CALLS = 4  # that a snippet repeats
LISTED_VALUES = 256  # of a tensor; a larger one is packed


def snippet(error: Exception) -> str:
    """Python that repeats the last calls of the failing example, with the failure as a comment."""
    lines = ["Repeat it with:", HEAD]
    last = calls[-LAST_CALLS:]
    lines += [f"from {active.homes[name]} import {name}" for name in dict.fromkeys(c.name for c in last)]
    generators: dict[int, str] = {}
    for number, each in enumerate(last, 1):
        for value in each.originals:
            if isinstance(value, torch.Generator) and id(value) not in generators:
                name = f"generator_{len(generators) + 1}"
                lines.append(f"{name} = {_expression(value, {})}")
                generators[id(value)] = name
        arguments = [_expression(a, generators) for a in each.args]
        arguments += [f"{key}={_expression(a, generators)}" for key, a in each.kwargs.items()]
        indent = ""
        if each.times > 1:
            lines.append(f"for _ in range({each.times}):")
            indent = "    "
        lines.append(f"{indent}out_{number} = {each.name}({', '.join(arguments)})")
    lines.append(f"print(out_{len(last)})")
    lines += [f"# {line}" for line in f"{type(error).__name__}: {error}".splitlines()]
    return "\n".join(lines)


def _expression(value: Any, generators: dict[int, str]) -> str:
    if isinstance(value, torch.Generator):
        new = f'torch.Generator("{value.device}").manual_seed({value.initial_seed()})'
        return generators.get(id(value), new)
    if isinstance(value, torch.Tensor):
        device = "" if value.device.type == "cpu" else f', device="{value.device.type}"'
        spread = "" if value.is_contiguous() else ".repeat_interleave(2, -1)[..., ::2]"
        if value.numel() <= LISTED_VALUES:
            return f"torch.tensor({value.tolist()}, dtype={value.dtype}{device}){spread}"
        packed = base64.b64encode(zlib.compress(value.cpu().contiguous().numpy().tobytes(), 9)).decode()
        to = f".to({device[9:]})" if device else ""
        return (
            f'torch.frombuffer(bytearray(zlib.decompress(base64.b64decode("{packed}"))), '
            f"dtype={value.dtype}).reshape({tuple(value.shape)}){to}{spread}"
        )
    if isinstance(value, np.ndarray):
        dtype = "" if value.dtype.kind in "USO" else f', dtype="{value.dtype}"'
        return f"np.array({value.tolist()}{dtype})"
    if isinstance(value, list):
        return f"[{', '.join(_expression(each, generators) for each in value)}]"
    if isinstance(value, tuple):
        return f"({', '.join(_expression(each, generators) for each in value)},)"
    return repr(value)
