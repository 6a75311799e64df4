"""Inputs and weights for tests of networks."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn

from reference.batches import Batch


def images(seed: int, size: int, batch: int = 2) -> list[Tensor]:
    """RGB, depth and infrared (B, 3, S, S) in [-1, 1]."""
    rng = np.random.default_rng(seed)
    return [torch.from_numpy(rng.uniform(-1, 1, (batch, 3, size, size)).astype(np.float32)) for _ in range(3)]


def batch_of(pictures: list[Tensor], label: Tensor | None = None, domains: int = 3) -> Batch:
    """A batch of these images: attacks and bona fide in turn unless labels (B,) are given, the data sets in turn, every
    sample a recording of its own."""
    rows = torch.arange(len(pictures[0]))
    label = rows.remainder(2).float() if label is None else label
    return Batch(*pictures, label, rows // 2 % domains, rows, rows)


def scrambled(model: nn.Module, seed: int) -> nn.Module:
    """Random numbers for all weights: heads start at zero, which would hide what reaches them."""
    rng = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(torch.randn(p.shape, generator=rng) * (0.3 if p.ndim <= 1 else p[0].numel() ** -0.5))
    return model


@contextmanager
def torch_settings_kept() -> Iterator[None]:
    """A run sets these for its process; other tests are not to feel it."""
    threads, deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    tf32, fast = torch.backends.cudnn.allow_tf32, torch.backends.mha.get_fastpath_enabled()
    matmul = torch.backends.cuda.matmul.allow_tf32
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(deterministic)
    torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = tf32, matmul
    torch.backends.mha.set_fastpath_enabled(fast)
