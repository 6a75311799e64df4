"""What Hypothesis draws for the equation tests: seeds with a dtype, a memory layout and a device; scores."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from hypothesis import settings
from hypothesis import strategies as st

DEVICES = ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]
DTYPES = ["float64", "float32"]
LAYOUTS = ["plain", "strided", "transposed"]


@dataclass
class Draw:
    """A drawn seed and the dtype, layout and device of every tensor made from it; paste its repr to redo it."""

    seed: int
    dtype: str = "float64"
    layout: str = "plain"
    device: str = "cpu"

    def __post_init__(self) -> None:
        self._rng = torch.Generator().manual_seed(self.seed)

    def normal(self, *shape: int, scale: float = 1.0) -> torch.Tensor:
        """Normal numbers of mean 0 and standard deviation `scale`."""
        return self.place(scale * torch.randn(shape, generator=self._rng, dtype=torch.float64))

    def rows(self, n: int, width: int) -> torch.Tensor:
        """Rows whose norms lie between 0.01 and 100, none of them zero."""
        directions = torch.randn(n, width, generator=self._rng, dtype=torch.float64)
        directions /= directions.norm(dim=-1, keepdim=True)
        return self.place(directions * self._sizes(n))

    def _sizes(self, n: int) -> torch.Tensor:
        return 10.0 ** (4 * torch.rand(n, 1, generator=self._rng, dtype=torch.float64) - 2)

    def sizes(self, n: int) -> torch.Tensor:
        """A column of n positive factors between 0.01 and 100."""
        return self.place(self._sizes(n))

    def number(self, low: float, high: float) -> float:
        """One Python float, uniform between the two."""
        return low + (high - low) * float(torch.rand((), generator=self._rng, dtype=torch.float64))

    def integers(self, n: int, below: int) -> torch.Tensor:
        """n int64 numbers from 0 to below − 1."""
        return torch.randint(below, (n,), generator=self._rng).to(self.device)

    def permutation(self, n: int) -> torch.Tensor:
        """A random order of n rows."""
        return torch.randperm(n, generator=self._rng).to(self.device)

    def generator(self) -> torch.Generator:
        """A generator on the tensors' device, to hand to the function under test."""
        seed = int(torch.randint(2**31, (), generator=self._rng))
        return torch.Generator(self.device).manual_seed(seed)

    def place(self, values: torch.Tensor) -> torch.Tensor:
        """The values in this draw's dtype, on its device, in its memory layout."""
        tensor = values.to(self.device, getattr(torch, self.dtype))
        if self.layout == "strided" and tensor.ndim >= 1:
            return tensor.repeat_interleave(2, -1)[..., ::2]
        if self.layout == "transposed" and tensor.ndim >= 2:
            return tensor.mT.contiguous().mT
        return tensor.contiguous()


SEEDS = st.integers(0, 2**32 - 1)


def draws(dtypes: list[str] = DTYPES, layouts: list[str] = LAYOUTS) -> st.SearchStrategy[Draw]:
    """A seed with one of the dtypes, layouts and devices of this machine."""
    return st.builds(
        Draw,
        seed=SEEDS,
        dtype=st.sampled_from(dtypes),
        layout=st.sampled_from(layouts),
        device=st.sampled_from(DEVICES),
    )


def exact_draws() -> st.SearchStrategy[Draw]:
    """Draws for finite differences, which need float64."""
    return draws(dtypes=["float64"], layouts=["plain"])


def fewer(times: int) -> settings:
    """The active profile with that many times fewer examples: for tests that repeat their call many times."""
    return settings(max_examples=max(3, settings().max_examples // times))


@st.composite
def scored(draw: st.DrawFn, counts: tuple[int, ...] | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Scores and their `bonafide` flags, both classes present, often tied, in any order and memory layout.

    `counts` limits the size of each class; by default 1 to 9 samples. Scores are multiples of 1/8, so that
    float32 holds them exactly and order-preserving maps keep their ties.
    """
    sizes = st.sampled_from(counts) if counts else st.integers(1, 9)
    n_bonafide, n_attack = draw(sizes), draw(sizes)
    total = n_bonafide + n_attack
    reach = draw(st.sampled_from([2, 6, 40]))
    steps = draw(st.lists(st.integers(-reach, reach), min_size=total, max_size=total))
    flags = np.array(draw(st.permutations([True] * n_bonafide + [False] * n_attack)))
    scores = np.array(steps, dtype=draw(st.sampled_from([np.float64, np.float32]))) / 8
    if draw(st.booleans()):
        return np.repeat(scores, 2)[::2], np.repeat(flags, 2)[::2]
    return scores, flags
