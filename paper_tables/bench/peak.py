"""What the device can do at most, measured in the same run: matrix products, and moving memory."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import torch

from paper_tables.bench.items import Group, Item, Setting
from paper_tables.bench.steps import has_amx

NAME = "peak"
COPY = "copy"


@contextmanager
def peak(setting: Setting) -> Iterator[Sequence[Item]]:
    """A square matrix product in each precision that trainings use here, and a copy of what no cache holds."""
    n = 64 if setting.tiny else 8192 if setting.cuda else 1536
    draws = torch.Generator(setting.device).manual_seed(0)
    a, b = (torch.randn(n, n, device=setting.device, generator=draws) for _ in range(2))
    items = [Item("float32", partial(torch.matmul, a, b), n**3, "MACs", {"precision": "float32", "macs": n**3})]
    if setting.cuda or has_amx():
        work = partial(torch.matmul, a.bfloat16(), b.bfloat16())
        items.append(Item("bf16", work, n**3, "MACs", {"precision": "bf16", "macs": n**3}))
    source = torch.zeros(n**2 if setting.tiny else 2**27 if setting.cuda else 2**25, device=setting.device)
    target = torch.empty_like(source)
    moved = 2 * source.numel() * source.element_size()
    items.append(Item(COPY, partial(target.copy_, source), moved, "bytes"))
    yield items


GROUP = Group(NAME, "What the device can do: a square matrix product, a copy", peak, seconds=5)
