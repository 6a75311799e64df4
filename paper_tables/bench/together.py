"""A step of mmFAS by several processes of one thread each, beside one process of one thread.

The processes stand ready and take a step when they are told to, so that what is timed is the step alone, the exchange
of features and gradients included.
"""

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any

import torch
import torch.distributed as dist

from paper_tables.bench.items import Group, Item, Setting

TWO = 2


def _stand_ready(rank: int, world: int, store: str, setting: Setting, told: Connection) -> None:
    """What each process does: a step for every word that comes, until none does."""
    from paper_tables.bench.steps import mmfas_on_noise

    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    if world > 1:
        dist.init_process_group("gloo", f"file://{store}", rank=rank, world_size=world)
    step, _, _ = mmfas_on_noise(setting, None)
    while told.recv():
        step()
        told.send(True)
    if world > 1:
        dist.destroy_process_group()


@contextmanager
def _processes(count: int, setting: Setting) -> Iterator[Any]:
    """A function that lets `count` processes take a step together, and waits for them."""
    spawn = get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        pipes = [spawn.Pipe() for _ in range(count)]
        started = [
            spawn.Process(target=_stand_ready, args=(rank, count, f"{folder}/store", setting, theirs), daemon=True)
            for rank, (_, theirs) in enumerate(pipes)
        ]
        for process in started:
            process.start()

        def step() -> None:
            for ours, _ in pipes:
                ours.send(True)
            for (ours, _), process in zip(pipes, started, strict=True):
                while not ours.poll(1):
                    if not process.is_alive():
                        raise RuntimeError(f"a process ended with exit status {process.exitcode}")
                ours.recv()

        try:
            yield step
            for ours, _ in pipes:
                ours.send(False)
            for process in started:
                process.join(30)
        finally:
            for process in started:
                process.kill()


@contextmanager
def together(setting: Setting) -> Iterator[Sequence[Item]]:
    here = replace(setting, device=torch.device("cpu"), threads=1)
    with ExitStack() as stack:
        one, two = (stack.enter_context(_processes(count, here)) for count in (1, TWO))
        yield [
            Item("two processes of one thread", two, here.samples),
            Item("one process of one thread", one, here.samples),
        ]


def group() -> Group:
    side, samples = 224, 32

    def items(here: Setting) -> Any:
        return together(replace(here, side=side, samples=samples))

    title = f"mmFAS's step by several processes, {side} x {side}, batch {samples}, float32"
    return Group("processes", title, items, seconds=30, rounds=10)
