"""Training on several data sets: batches that may hold equally many samples of each class of each, and their places."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from reference.options import CountOrNone, reading
from reference.rivals import method


@dataclass(frozen=True, kw_only=True)
class Options(method.Options):
    """What rows have that train on several data sets.

    Batches are balanced by data set and class unless a row says otherwise. A published "n of each class of each source"
    is meant for three sources, and `--batch-size` is their sum; with two sources each gives half as many again.
    """

    steps: CountOrNone = reading(0)
    """D1: steps of an epoch; 0: as many as show so many samples as the training split has."""

    @property
    def per_domain(self) -> bool:
        return True


def places(domain: Tensor, domains: Sequence[int]) -> Tensor:
    """The place (B,) int64 of each sample's data set, domain (B,), among those that train, `domains` in ascending
    order. A data set that is not among them raises RuntimeError, on CUDA when a later result is read."""
    known = torch.tensor(domains, device=domain.device)
    place = torch.searchsorted(known, domain.contiguous()).clamp(max=len(known) - 1)
    torch._assert_async((known[place] == domain).all(), f"a batch holds other data sets than {list(domains)}")
    return place
