"""One training by several processes, as PyTorch's `torchrun` starts them: on each GPU of a machine, or of several.

    torchrun --nproc-per-node 8 -m reference.mmfas --index … --run-dir …

The numbers are those of one process but for rounding. Every process holds the network and has the whole batch, changed
by the same draws, so that pairs, partners and losses are those of the whole batch. What takes the time, the network's
work on each sample, is shared: each process does it for its part of the batch, `gathered` brings the results together,
and the gradients are averaged before the optimiser's step. Networks that normalise by the batch do it by the whole
one on CUDA (SyncBatchNorm); PyTorch has no such kernel on a CPU. Dropout is drawn by each process for itself, so that
methods with dropout have other lots than one process draws, of the same law. In scoring the processes take batches in
turn. The first process alone prints and writes the run folder.

Outside `torchrun` there is one process, and nothing here does anything.
"""

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar
from unittest.mock import patch

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten, tree_map, tree_unflatten

from data_manifests.errors import BadInput

R = TypeVar("R")
Shared = tuple[object, str]  # an object, and the name of a function of it

PATIENCE = timedelta(days=1)  # how long others wait for what one process does alone, decoding for example

_waiting: Any = None  # the group by which processes wait that long; other waits have PyTorch's own limits


def count() -> int:
    """How many processes train together."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """The number of this process among them, from 0; the first one leads."""
    return dist.get_rank() if count() > 1 else 0


def begin() -> None:
    """Join the processes that `torchrun` has started; all but the first say nothing from here on."""
    global _waiting
    if not (dist.is_available() and dist.is_torchelastic_launched()) or dist.is_initialized():
        return
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    dist.init_process_group(backend)
    _waiting = dist.new_group(backend="gloo", timeout=PATIENCE)
    if dist.get_rank():
        sys.stdout = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115  # until the process ends


def end() -> None:
    """Leave the others."""
    if count() > 1:
        dist.destroy_process_group()


@contextmanager
def first_alone() -> Iterator[None]:
    """The first process runs the body alone, the others after it: what is there already they need not make. Where the
    first one fails, `torchrun` ends them all."""
    if rank():
        _meet()
    yield
    if count() > 1 and not rank():
        _meet()


def _meet() -> None:
    dist.monitored_barrier(_waiting, PATIENCE, wait_all_ranks=True)  # which names those who did not come


def share(whole: int, number: int | None = None) -> slice:
    """The part of `whole` samples that is this process's, or that of process `number`: as equal as can be, in order.
    Fewer samples than processes are everybody's."""
    processes, number = count(), rank() if number is None else number
    if whole < processes:
        return slice(0, whole)
    return slice(whole * number // processes, whole * (number + 1) // processes)


def gathered(x: Tensor, whole: int | None = None) -> Tensor:
    """x (n, …) of every process, in the order of processes: (N, …); alone, x itself.

    Each process hands in the rows that are its `share` of `whole`, or, where that is None, as many as every other. Only
    its own rows pass a gradient on, multiplied by the number of processes, since `average` divides the sum over
    processes by it. Weights behind the gathering receive the whole gradient in every process, which that average
    leaves as it is.
    """
    processes = count()
    if processes == 1 or (whole is not None and whole < processes):
        return x
    sizes = [len(x)] * processes
    if whole is not None:
        places = [share(whole, number) for number in range(processes)]
        sizes = [place.stop - place.start for place in places]
    mine = x.detach().contiguous()
    if len(mine) < max(sizes):  # all hand in as many rows
        mine = torch.cat([mine, mine.new_zeros(max(sizes) - len(mine), *mine.shape[1:])])
    parts = [torch.empty_like(mine) for _ in range(processes)]
    dist.all_gather(parts, mine)
    parts = [part[:size] for part, size in zip(parts, sizes, strict=True)]
    own = x.view_as(x)
    if own.requires_grad:
        own.register_hook(lambda gradient: gradient * processes)
    parts[rank()] = own
    return torch.cat(parts)


@contextmanager
def sharing(functions: Iterable[Shared]) -> Iterator[None]:
    """Inside, each of `functions` is computed by all processes together, each for its part of the samples.

    Their arguments that are tensors, and what they return, must have a row for each sample; but a parameter is returned
    as it is, and a result of one number is taken for a mean over the samples. Raises ValueError for other results.
    """
    with ExitStack() as stack:
        for owner, name in functions if count() > 1 else ():
            stack.enter_context(patch.object(owner, name, _in_parts(getattr(owner, name))))
        yield


def _in_parts(function: Callable[..., Any]) -> Callable[..., Any]:
    def together(*arguments: Any) -> Any:
        flat, _ = tree_flatten(arguments)
        whole = next(len(x) for x in flat if isinstance(x, Tensor))
        own = share(whole)
        parts = tree_map(lambda x: x[own] if isinstance(x, Tensor) else x, arguments)
        results, form = tree_flatten(function(*parts))
        return tree_unflatten([_whole(x, own.stop - own.start, whole) for x in results], form)

    return together


def _whole(x: Tensor | None, part: int, whole: int) -> Tensor | None:
    """A result of all samples, from that of this process's part of them."""
    if x is None or part == whole or isinstance(x, nn.Parameter):
        return x
    if not x.ndim:
        return gathered((x * (part / whole))[None]).sum()
    if len(x) != part:
        raise ValueError(f"a result of {tuple(x.shape)} for {part} samples cannot be shared among processes")
    return gathered(x, whole)


def average(tensors: Sequence[Tensor]) -> Sequence[Tensor]:
    """`tensors` with the mean over the processes in place of what each has; alone, as they are."""
    if count() == 1 or not tensors:
        return tensors
    flat = torch.cat([x.reshape(-1) for x in tensors])
    dist.all_reduce(flat)
    flat /= count()
    for x, mean in zip(tensors, flat.split([x.numel() for x in tensors]), strict=True):
        x.copy_(mean.view_as(x))
    return tensors


def average_gradients(optimiser: torch.optim.Optimizer) -> None:
    """Give all processes the mean of their gradients, which is that of the whole batch."""
    if count() > 1:
        parameters = (p for group in optimiser.param_groups for p in group["params"])
        average([p.grad for p in parameters if p.grad is not None])


def own_lots(seed: int, step: int) -> None:
    """Let dropout draw, in each process, what no other one draws; alone, as it would have done."""
    if count() > 1:
        torch.manual_seed((seed * 1_000_003 + step) * count() + rank())


def own_generator(draws: torch.Generator) -> torch.Generator:
    """A generator of what this process draws for its own samples, seeded by a draw from that of all; alone, that one.
    So all go on alike, however much each one draws."""
    if count() == 1:
        return draws
    seed = torch.randint(2**62, (), generator=draws, device=draws.device)
    return torch.Generator(draws.device).manual_seed(int(seed) + rank())


def turns(pieces: int) -> range:
    """Which of `pieces`, by number, are this process's to do."""
    return range(rank(), pieces, count())


def in_order(done: list[R], pieces: int) -> list[R]:
    """What all processes have `done` in their turns, in the order of the pieces; the others' tensors on the CPU."""
    if count() == 1:
        return done
    of_all: list[Any] = [None] * count()
    dist.all_gather_object(of_all, tree_map(lambda x: x.cpu() if isinstance(x, Tensor) else x, done))
    return [of_all[number % count()][number // count()] for number in range(pieces)]


def synchronised(network: nn.Module, method: str) -> nn.Module:
    """The network, whose batch norms take their means over the batches of all processes. Raises BadInput where PyTorch
    cannot do so, on a CPU."""
    if count() == 1 or not any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in network.modules()):
        return network
    if not torch.cuda.is_available():
        raise BadInput(
            f"{method} normalises by the batch, which several processes cannot do together on a CPU; train it by one "
            "process, or on CUDA"
        )
    return nn.SyncBatchNorm.convert_sync_batchnorm(network)
