"""What a network made of the same images is used again, while test sets are scored with and without a modality."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor

Reusable = tuple[object, str]  # an object, and the name of a function of it

_KEPT = 4  # results of each function: of three images, and of what stands for a missing one


def _same(before: Sequence[Tensor], now: Sequence[Tensor]) -> bool:
    return all(x is y or (x.shape == y.shape and torch.equal(x, y)) for x, y in zip(before, now, strict=True))


def _remembering(function: Callable[..., Any]) -> Callable[..., Any]:
    known: list[tuple[Sequence[Tensor], Any]] = []  # arguments and result, the latest first

    def again(*arguments: Tensor) -> Any:
        found = [result for before, result in known if _same(before, arguments)]
        if not found:
            found = [function(*arguments)]
            known.insert(0, (arguments, found[0]))
            del known[_KEPT:]
        return [*found[0]] if isinstance(found[0], list) else found[0]  # a list may be changed by who gets it

    return again


@contextmanager
def reusing(functions: Sequence[Reusable]) -> Iterator[None]:
    """Inside, each of `functions` gives the result that it gave before where its arguments, tensors, hold the same
    numbers. They must have nothing to draw, and their networks must not change."""
    with ExitStack() as stack:
        for owner, name in functions:
            stack.enter_context(_replaced(owner, name, _remembering(getattr(owner, name))))
        yield


@contextmanager
def _replaced(owner: object, name: str, function: Callable[..., Any]) -> Iterator[None]:
    before = vars(owner).get(name)
    setattr(owner, name, function)
    try:
        yield
    finally:
        if before is None:
            delattr(owner, name)
        else:
            setattr(owner, name, before)
