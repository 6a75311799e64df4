"""Mechanical bugs: the syntax tree of each equation function and metric of ours, changed in one place at a time."""

from __future__ import annotations

import ast
import copy
import tomllib
from collections.abc import Iterator, Sequence
from typing import Any

from spec_tests.bugs.campaign import HERE, Mutant, node_of, source_of, span
from spec_tests.equations import adapter

# (Submodule, helper that only equation functions call) → what answers for it.
HELPERS = {
    ("mmfas", "_matching_entropy"): ("mmfas-eq3",),
    ("mmfas", "_candidates"): ("mmfas-mining",),
    ("mmfas", "multi_head"): ("mmfas-eq7", "mmfas-eq8"),
    ("metrics", "_checked"): ("test_metrics.py",),
    ("metrics", "_threshold"): ("test_metrics.py",),
    ("metrics", "_classes"): ("test_metrics.py",),
}
# Ours take more arguments than the contract asks for: the tests of what uses them answer for those.
MORE = {
    ("mmfas", "icl_loss"): ("test_mmfas_model.py::test_contrastive_targets_may_be_any_distribution",),
    ("mmfas", "_matching_entropy"): ("test_mmfas_model.py::test_contrastive_targets_may_be_any_distribution",),
    ("mmfas", "mine_pairs"): ("test_mmfas_model.py::test_alignment_is_equations_3_and_4_of_the_mined_pairs",),
    ("mmfas", "_candidates"): ("test_mmfas_model.py::test_the_hardest_pairs_are_the_extremes",),
    ("mmda", "differential_attention"): (
        "test_mmda_model.py::test_a_masked_modality_has_no_influence",
        "test_mmda_model.py::test_dropout_of_the_maps_is_nothing_on_average",
    ),
}
BEYOND = "test_beyond_the_contract.py"

SWAPS: dict[type, list[type]] = {
    ast.Lt: [ast.LtE, ast.Gt],
    ast.LtE: [ast.Lt, ast.Gt],
    ast.Gt: [ast.GtE, ast.Lt],
    ast.GtE: [ast.Gt, ast.Lt],
    ast.Eq: [ast.NotEq],
    ast.NotEq: [ast.Eq],
    ast.Is: [ast.IsNot],
    ast.IsNot: [ast.Is],
    ast.In: [ast.NotIn],
    ast.NotIn: [ast.In],
    ast.Add: [ast.Sub, ast.Mult],
    ast.Sub: [ast.Add, ast.Mult],
    ast.Mult: [ast.Div, ast.Add],
    ast.Div: [ast.Mult, ast.Sub],
    ast.FloorDiv: [ast.Mult, ast.Mod],
    ast.Mod: [ast.FloorDiv],
    ast.MatMult: [ast.Mult],
    ast.BitAnd: [ast.BitOr],
    ast.BitOr: [ast.BitAnd],
    ast.And: [ast.Or],
    ast.Or: [ast.And],
}

# Too little to tell what changed: such a node is named by the expression around it.
FRAGMENTS = ast.Constant | ast.UnaryOp | ast.Slice | ast.Tuple | ast.keyword


def targets(registry: Sequence[dict[str, Any]] = adapter.REGISTRY) -> dict[tuple[str, str], tuple[str, ...]]:
    """(Submodule, function) → what must fail when it changes."""
    tests: dict[tuple[str, str], tuple[str, ...]] = {}
    for equation in registry:
        for function in equation["functions"]:
            key = adapter.submodule_of(equation), function
            tests[key] = (*tests.get(key, ()), equation["id"])
    submodules = {submodule for submodule, _ in tests}
    tests |= {key: answers for key, answers in HELPERS.items() if key[0] in submodules}
    return {key: (*answers, *MORE.get(key, ()), BEYOND) for key, answers in tests.items()}


def every(registry: Sequence[dict[str, Any]] = adapter.REGISTRY) -> list[Mutant]:
    """All of them, in the order of the registry; names are `old → new`, numbered where one function has two alike."""
    mutants = []
    for (submodule, function), tests in targets(registry).items():
        module = f"{adapter.OURS}.{submodule}"
        start, end = span(module, function)
        old = source_of(module)[start:end]
        tree = node_of(module, function)
        times: dict[str, int] = {}
        for name, changed in changes(tree):
            times[name] = times.get(name, 0) + 1
            label = name if times[name] == 1 else f"{name} #{times[name]}"
            mutants.append(Mutant(module, tests, function, label, old, ast.unparse(changed)))
    return mutants


def changes(tree: ast.FunctionDef) -> Iterator[tuple[str, ast.AST]]:
    """Every (name, whole function with one change). Docstring, annotations and error messages stay as they are."""
    paths = list(_paths(tree))
    for path in paths:
        for replacement in _alternatives(_at(tree, path)):
            changed = copy.deepcopy(tree)
            _put(changed, path, replacement)
            around = path
            while len(around) > 1 and isinstance(_at(tree, around), FRAGMENTS):
                around = around[:-1]
            yield f"{_short(_at(tree, around))} → {_short(_at(changed, around))}", ast.fix_missing_locations(changed)


Path = tuple[tuple[str, int | None], ...]


def _paths(node: ast.AST, path: Path = ()) -> Iterator[Path]:
    """The way to every node that may change."""
    if path:
        yield path
    negative = isinstance(node, ast.UnaryOp) and isinstance(node.operand, ast.Constant)
    if negative or isinstance(node, ast.Raise | ast.JoinedStr):
        return  # a negative number changes as one, and the text of an error never
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns", "decorator_list", "ctx", "type_params"):
            continue
        for place, child in enumerate(value) if isinstance(value, list) else [(None, value)]:
            docstring = name == "body" and place == 0 and isinstance(child, ast.Expr)
            if isinstance(child, ast.AST) and not (docstring and isinstance(child.value, ast.Constant)):
                yield from _paths(child, (*path, (name, place)))


def _at(node: Any, path: Path) -> Any:
    for name, place in path:
        node = getattr(node, name) if place is None else getattr(node, name)[place]
    return node


def _put(node: Any, path: Path, replacement: ast.AST) -> None:
    *way, (name, place) = path
    parent = _at(node, tuple(way))
    if place is None:
        setattr(parent, name, replacement)
    else:
        getattr(parent, name)[place] = replacement


def _short(node: ast.AST) -> str:
    first, *rest = ast.unparse(node).splitlines()
    return f"{first} …" if rest else first


def _with(node: Any, **changed: Any) -> Any:
    new = copy.deepcopy(node)
    for name, value in changed.items():
        setattr(new, name, value)
    return new


def _alternatives(node: Any) -> Iterator[ast.AST]:
    """Every node that may stand in the place of this one."""
    match node:
        case ast.Compare():
            for place, op in enumerate(node.ops):
                for other in SWAPS[type(op)]:
                    yield _with(node, ops=[*node.ops[:place], other(), *node.ops[place + 1 :]])
        case ast.BinOp() | ast.AugAssign():
            for other in SWAPS.get(type(node.op), []):
                yield _with(node, op=other())
        case ast.BoolOp():
            for other in SWAPS[type(node.op)]:
                yield _with(node, op=other())
            for place in range(len(node.values)):
                rest = [v for i, v in enumerate(node.values) if i != place]
                yield rest[0] if len(rest) == 1 else _with(node, values=rest)
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int(value))):
            yield ast.Constant(1 - value)
            yield ast.UnaryOp(ast.USub(), ast.Constant(value + 1))
        case ast.UnaryOp():
            yield node.operand
        case ast.Constant(value=bool(value)):
            yield ast.Constant(not value)
        case ast.Constant(value=int(value) | float(value)):
            yield ast.Constant(value + 1)
            yield ast.Constant(value - 1)
        case ast.Constant(value=str(value)):
            yield ast.Constant({"left": "right", "right": "left"}.get(value, f"{value}_"))
        case ast.If() | ast.While() | ast.IfExp():
            yield _with(node, test=ast.Constant(False))
            if not isinstance(node, ast.While):
                yield _with(node, test=ast.Constant(True))
        case ast.Return(value=value) if value is not None:
            yield ast.Return(ast.Constant(None))
            if isinstance(value, ast.Tuple):
                yield ast.Return(_with(value, elts=value.elts[::-1]))
        case ast.Raise() | ast.Expr():
            yield ast.Pass()
        case ast.Slice():
            for side in ("lower", "upper", "step"):
                if getattr(node, side) is not None:
                    yield _with(node, **{side: None})
        case ast.Call():
            for place in range(len(node.keywords)):
                yield _with(node, keywords=[k for i, k in enumerate(node.keywords) if i != place])
            if isinstance(node.func, ast.Name) and node.func.id in ("min", "max"):
                yield _with(node, func=ast.Name("max" if node.func.id == "min" else "min"))
            if isinstance(node.func, ast.Name) and node.func.id == "reversed":
                yield node.args[0]


def equivalent() -> dict[str, str]:
    """Mutant id → the argument that it computes the same; a `ValueError` names an entry without one, and a table that
    is called otherwise than `mutant`."""
    content = tomllib.loads(HERE.joinpath("equivalent.toml").read_text(encoding="utf-8"))
    if odd := sorted(content.keys() - {"mutant"}):
        raise ValueError(f"equivalent.toml has [[{odd[0]}]]; each of its tables is called [[mutant]]")
    entries = content.get("mutant", [])
    for entry in entries:
        if not entry["why"].strip():
            raise ValueError(f"equivalent.toml gives no reason for {entry['id']}")
    return {entry["id"]: entry["why"] for entry in entries}
