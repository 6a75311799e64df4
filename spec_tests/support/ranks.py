"""Several processes: played by one, and real ones."""

import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.multiprocessing as mp


class Ranks:
    """Stands in for torch.distributed in one process: `handed_in` are the ranks' parts, in the order of gatherings."""

    def __init__(self, handed_in: list[list[torch.Tensor]], rank: int) -> None:
        self.handed_in, self.rank = iter(handed_in), rank
        self.ranks = len(handed_in[0])

    def is_available(self) -> bool:
        return True

    is_initialized = is_available

    def get_rank(self) -> int:
        return self.rank

    def get_world_size(self) -> int:
        return self.ranks

    def all_gather(self, out: list[torch.Tensor], mine: torch.Tensor) -> None:
        parts = next(self.handed_in)
        assert torch.equal(mine, parts[self.rank])
        assert not mine.requires_grad
        assert mine.is_contiguous()
        for place, part in zip(out, parts, strict=True):
            place.copy_(part.detach())


def run_in_processes(function: Callable[..., None], folder: Path, count: int, seconds: float) -> None:
    """Call function(rank, folder) in `count` processes of their own; raises what one of them raised, and AssertionError
    where they have not ended after `seconds`."""
    spawned = mp.start_processes(function, (str(folder),), count, join=False, start_method="spawn")
    end = time.monotonic() + seconds
    try:
        while not spawned.join(1):
            assert time.monotonic() < end, f"{count} processes did not end within {seconds} s"
    finally:
        for process in spawned.processes:
            process.kill()
