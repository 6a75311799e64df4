"""How often a step of training waits for the device: for a number, a list, or a size that depends on values.

There need be no GPU: the operations that would wait on one are counted as the CPU computes them.
"""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from reference import mmda, mmfas, training
from reference.draws import one_of_each_row
from reference.rivals import method
from reference.rivals.rows import Row
from spec_tests.support.networks import batch_of, images, torch_settings_kept
from spec_tests.support.tiny_clip import SIDE, tiny_clip
from spec_tests.support.tiny_rows import TRAINED, batch_for, tiny_row

CPU = torch.device("cpu")
_ATEN = torch.ops.aten
_WAITING = {
    _ATEN._local_scalar_dense.default, _ATEN.nonzero.default, _ATEN.masked_select.default, _ATEN.equal.default,
    _ATEN._unique2.default, _ATEN.unique_dim.default, _ATEN.unique_consecutive.default, _ATEN.bincount.default,
    _ATEN.repeat_interleave.Tensor, _ATEN.multinomial.default,
}  # fmt: skip
_INDEXING = {
    _ATEN.index.Tensor, _ATEN.index_put.default, _ATEN.index_put_.default, _ATEN._index_put_impl_.default,
}  # fmt: skip
_FETCHING = {"tolist", "numpy", "cpu"}


class _Operations(TorchDispatchMode):
    def __init__(self, found: list[str]) -> None:
        super().__init__()
        self.found = found

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        chosen = func in _INDEXING and any(x is not None and x.dtype == torch.bool for x in args[1])
        if func in _WAITING or chosen:
            self.found.append(str(func))
        return func(*args, **(kwargs or {}))


class _Calls(TorchFunctionMode):
    def __init__(self, found: list[str]) -> None:
        super().__init__()
        self.found = found

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.nn.functional.one_hot:  # on CUDA it does not look at its values
            with torch._C.DisableTorchFunction():
                classes = torch.arange(args[1])
                return (args[0][..., None] == classes).long()
        if getattr(func, "__name__", "") in _FETCHING:
            self.found.append(func.__name__)
        return func(*args, **(kwargs or {}))


def waits(step: Any) -> list[str]:
    """The operations of `step()` for which it would wait."""
    found: list[str] = []
    with _Calls(found), _Operations(found):
        step()
    return found


@pytest.fixture(autouse=True)
def torch_settings() -> Iterator[None]:
    with torch_settings_kept():
        yield


def test_what_waits_is_counted_and_what_does_not_is_not() -> None:
    x = torch.arange(4.0)
    for waiting in (lambda: x.sum().item(), lambda: x[x > 1], lambda: (x > 1).nonzero(), x.tolist, x.cpu,
                    lambda: bool((x > 1).any()), x.unique, lambda: torch.multinomial(x, 1)):  # fmt: skip
        assert len(waits(waiting)) >= 1
    assert waits(lambda: [x[torch.tensor([0, 1])], torch.where(x > 1, x, 0), x.argmax(), x.topk(2)]) == []


@given(st.integers(0, 2**31), st.integers(1, 9), st.integers(1, 9), st.floats(0, 1))
@example(0, 1, 1, 1.0)
def test_one_of_each_row_draws_the_numbers_of_multinomial(seed: int, n: int, m: int, zeros: float) -> None:
    g = torch.Generator().manual_seed(seed)
    weights = torch.rand(n, m, generator=g) * (torch.rand(n, m, generator=g) >= zeros)
    weights[:, seed % m] = 1.0
    drawn = one_of_each_row(weights, torch.Generator().manual_seed(seed))
    theirs = torch.multinomial(weights, 1, generator=torch.Generator().manual_seed(seed))[:, 0]
    assert drawn.tolist() == theirs.tolist()
    assert (weights.gather(1, drawn[:, None]) > 0).all()


@pytest.mark.parametrize("cm", ["mined", "all", "random", "off"])
def test_a_step_of_mmfas_waits_once_for_its_losses(cm: str) -> None:
    options = mmfas.Options(index=training.Path(), run_dir=training.Path(), image_size=16, batch_size=4, cm=cm)
    model, alignment = options.model(), mmfas.Alignment(options)
    optimiser = torch.optim.AdamW([*model.parameters(), *alignment.parameters()], fused=True)
    label = torch.tensor([0.0, 1.0, 0.0, 1.0])
    batch, draws = batch_of(images(0, 16, batch=4), label), torch.Generator().manual_seed(0)

    def step() -> None:
        losses = mmfas.step(model, alignment, optimiser, batch, options, draws, training.arithmetic(CPU, False))
        torch.stack([*losses.values()]).tolist()  # as Training.log reads them

    assert waits(step) == ["tolist"]


@pytest.mark.parametrize("preset", ["paper", "released", "batch_free"])
def test_a_step_of_mmda_does_not_wait(preset: str) -> None:
    readings = mmda.Readings(preset=preset)
    clip = tiny_clip()
    captions = [["a mask", "a print"], ["a face"]]
    model = mmda.MMDA(clip, captions, mmda.Adaptor(layers=1, dim=clip.dim, readings=readings)).train()
    optimiser = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], fused=True)
    batch = batch_of(images(0, SIDE, batch=6), torch.tensor([0.0, 1.0] * 3))
    draws = torch.Generator().manual_seed(0)
    fixed = [t.detach() for t in model.encode_captions()] if readings.freeze != "none" else None

    def tokens(piece: Any) -> Tensor:
        return model.encode(mmda.augmented(piece.images, "none"))

    tokens(batch)  # captions and kernels are made ready by the first call
    mmda.step(model, optimiser, batch, tokens, fixed, draws, 3)
    assert waits(lambda: mmda.step(model, optimiser, batch, tokens, fixed, draws, 3)) == []


# Where a row chooses by values: which samples of a batch are of a class or a source, which part has the most to learn
# or gives way, and how large a part of a picture is cut out.
CHOOSING = {"sa_fas": 3, "iadg": 8, "flip": 8, "mmdg": 1, "dadm": 31}


@pytest.mark.parametrize("row", TRAINED, ids=[row.name for row in TRAINED])
def test_a_step_of_a_row_waits_only_where_it_chooses_by_values(row: Row) -> None:
    with tiny_row(row) as made:
        batch, optimiser = batch_for(row), torch.optim.AdamW(made.network.parameters(), fused=True)
        method.step(made, optimiser, batch, torch.autocast("cpu", enabled=False))
        found = waits(lambda: method.step(made, optimiser, batch, torch.autocast("cpu", enabled=False)))
    assert len(found) == CHOOSING.get(row.name, 0), found
