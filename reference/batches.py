"""Which frames make each step of an epoch, and their images as tensors.

`BalancedSampler` makes batches of both classes alike (mmFAS, "ensuring that the number of bona fide and spoofing images
is roughly equal within the same batch"), and of all data sets alike where that is asked for; `ShuffledSampler` takes
the frames as a shuffle puts them. `batches` hands them over as `Batch`, one ahead of the training step.
"""

import time
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, fields, replace
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from data_manifests.errors import BadInput
from data_manifests.index import DATASETS
from reference.faces import PLANES_OF, Faces

_IMAGES = {"R": "rgb", "D": "depth", "I": "ir"}
BLACK, GREY = -1.0, 0.0  # pixels 0 and 127.5 of 255, as a batch holds them


class Sampler(Protocol):
    """What a training asks for the order of its frames: a pure function of the seed and the epoch."""

    steps: int

    def epoch(self, e: int) -> Any:
        """Positions in the training split, int64 (B,) for each of the `steps` steps of epoch `e` counted from 0."""


class BalancedSampler:
    """Which frames make each batch of an epoch: half bona fide, half attacks, a pure function of (seed, epoch).

    With `domain`, the number of each frame's data set, a batch holds equally many bona fide frames and attacks of each
    data set. An epoch has `steps` steps, or, where that is 0, ceil(n / batch_size). Each group, which is a class or a
    class of a data set, is an endless row of shuffles of all its frames, read on from where the epoch before stopped:
    no frame of a group comes again before every other one of it has come. Raises `BadInput` when a group has no frame
    or the batch size is no positive multiple of the number of groups.
    """

    def __init__(
        self,
        bonafide: np.ndarray,
        batch_size: int,
        seed: int,
        domain: NDArray[np.int64] | None = None,
        steps: int = 0,
    ) -> None:
        bonafide = np.asarray(bonafide, dtype=bool)
        self.groups = []
        for number in [None] if domain is None else np.unique(domain):
            here, of = (True, "") if number is None else (domain == number, f" of {[*DATASETS.values()][number]}")
            for name, chosen in (("bona fide", bonafide), ("attack", ~bonafide)):
                self.groups.append(np.flatnonzero(here & chosen))
                if not len(self.groups[-1]):
                    raise BadInput(f"the training split holds no {name} frame{of}; train on a split with both classes")
        count = len(self.groups)
        if batch_size < count or batch_size % count:
            of_each = "" if domain is None else f" of each of {count // 2} data sets"
            raise BadInput(
                f"--batch-size {batch_size}: holds no equal share of bona fide and attacks{of_each}; "
                f"give a multiple of {count}"
            )
        self.batch_size, self.seed = batch_size, seed
        self.steps = steps or -(-len(bonafide) // batch_size)

    def epoch(self, e: int) -> np.ndarray:
        """Positions in `bonafide`, int64 (steps, batch_size), of epoch `e` counted from 0."""
        share = self.batch_size // len(self.groups)
        length = self.steps * share
        parts = [self._stretch(i, e * length, length).reshape(self.steps, share) for i in range(len(self.groups))]
        order = np.random.default_rng([self.seed, len(self.groups), e])
        return order.permuted(np.concatenate(parts, axis=1), axis=1)

    def _stretch(self, which: int, start: int, length: int) -> np.ndarray:
        members = self.groups[which]
        first, last = start // len(members), (start + length - 1) // len(members)
        shuffles = [np.random.default_rng([self.seed, which, k]).permutation(members) for k in range(first, last + 1)]
        offset = start - first * len(members)
        return np.concatenate(shuffles)[offset : offset + length]


class ShuffledSampler:
    """All `count` frames once an epoch, in an order drawn from (seed, epoch); the last batch may be smaller."""

    def __init__(self, count: int, batch_size: int, seed: int) -> None:
        self.count, self.batch_size, self.seed = count, batch_size, seed
        self.steps = -(-count // batch_size)

    def epoch(self, e: int) -> list[NDArray[np.int64]]:
        """Positions, int64 (B,) of each step, of epoch `e` counted from 0."""
        order = np.random.default_rng([self.seed, e]).permutation(self.count)
        return [order[i : i + self.batch_size] for i in range(0, self.count, self.batch_size)]


@dataclass(frozen=True)
class Batch:
    """B samples on the device that computes."""

    rgb: Tensor
    """(B, 3, S, S) float32 in [-1, 1]; where no pixels were asked for, S = 0."""
    depth: Tensor
    """As rgb, its one plane three times."""
    ir: Tensor
    """As rgb, its one plane three times."""
    label: Tensor
    """(B,) float32: 1 = attack, 0 = bona fide, as mmFAS counts."""
    domain: Tensor
    """(B,) int64: the number of the sample's data set."""
    recording: Tensor
    """(B,) int64: the number of the recording that the frame is from."""
    rows: Tensor
    """(B,) int64: the samples' rows of the index."""
    progress: float = 0.0
    """How far training has come before this step: 0 at its start, 1 at its end."""

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, places: Tensor | slice) -> "Batch":
        """Some of the samples, by their places in the batch."""
        parts = {f.name: getattr(self, f.name)[places] for f in fields(self) if f.name != "progress"}
        return replace(self, **parts)

    def without(self, missing: str, nothing: float) -> "Batch":
        """The same samples without the modalities `missing`, of R, D and I: `nothing` everywhere in their images."""
        gone: dict[str, Any] = {_IMAGES[m]: torch.full_like(getattr(self, _IMAGES[m]), nothing) for m in missing}
        return replace(self, **gone)

    @property
    def images(self) -> tuple[Tensor, Tensor, Tensor]:
        return self.rgb, self.depth, self.ir

    @property
    def bonafide(self) -> Tensor:
        """(B,) int64: 1 = bona fide, 0 = attack, as MMDA counts."""
        return (1 - self.label).long()


class Batches:
    """Iterator over `Batch`, see `batches`; `waited` sums the seconds `next` stood still."""

    def __init__(
        self,
        faces: Faces,
        order: Iterable[np.ndarray],
        device: torch.device,
        pixels: bool,
        nothing: float,
    ) -> None:
        self.waited = 0.0
        self._faces, self._device, self._pixels, self._nothing = faces, device, pixels, nothing
        self._order = iter(order)
        self._thread = ThreadPoolExecutor(1, "batches")
        self._ahead = self._start()

    def __iter__(self) -> "Batches":
        return self

    def __next__(self) -> Batch:
        if self._ahead is None:
            self._thread.shutdown()
            raise StopIteration
        began = time.perf_counter()
        pixels, *facts = self._ahead.result()
        self._ahead = self._start()
        self.waited += time.perf_counter() - began
        if self._device.type != "cpu":
            pixels = _normalise(pixels.to(self._device, non_blocking=True))
            facts = [x.to(self._device, non_blocking=True) for x in facts]
        label, domain, recording, rows, lost = facts
        if self._nothing != BLACK:
            for place, modality in enumerate("RDI"):
                pixels[:, PLANES_OF[modality]] = pixels[:, PLANES_OF[modality]].masked_fill(
                    lost[:, place, None, None, None], self._nothing
                )
        depth, ir = (pixels[:, i : i + 1].expand(-1, 3, -1, -1).contiguous() for i in (3, 4))
        return Batch(pixels[:, :3].contiguous(), depth, ir, label, domain, recording, rows)

    def _start(self) -> Future[list[Tensor]] | None:
        rows = next(self._order, None)
        return None if rows is None else self._thread.submit(self._gather, np.asarray(rows))

    def _gather(self, rows: np.ndarray) -> list[Tensor]:
        """Pixels (B, 5, S, S), label, domain, recording, rows, and whether each modality is missing (B, 3)."""
        faces, images = self._faces, self._faces.images
        if not faces.has(rows):
            raise ValueError(f"a batch names rows outside 0 … {len(images) - 1}, or none, or rows not decoded: {rows}")
        pinned = self._device.type == "cuda"
        shape = images.shape[1:] if self._pixels else (images.shape[1], 0, 0)
        pixels = torch.empty((len(rows), *shape), dtype=torch.uint8, pin_memory=pinned)
        if self._pixels:
            # "clip" writes straight into `out`; "raise" would go through a second buffer. The check is above.
            np.take(images, rows, axis=0, out=pixels.numpy(), mode="clip")
            faces.prove(rows, pixels.numpy())
        label = (~faces.bonafide[rows]).astype(np.float32)
        lost = ~faces.present[rows]
        facts = [
            torch.from_numpy(x) for x in (label, faces.domain[rows], faces.recording[rows], rows.astype(np.int64), lost)
        ]
        if pinned:
            return [pixels, *(x.pin_memory() for x in facts)]
        return [_normalise(pixels) if self._device.type == "cpu" else pixels, *facts]


def _normalise(pixels: Tensor) -> Tensor:
    return pixels.float().sub_(127.5).div_(127.5)


def batches(
    faces: Faces,
    order: Iterable[np.ndarray],
    device: torch.device | str,
    pixels: bool = True,
    nothing: float = BLACK,
) -> Batches:
    """Iterate over batches of rows of `faces`, one batch gathered ahead in a thread.

    `order` holds int64 row numbers (B,) for each batch. Pixels become (x − 127.5)/127.5. A missing modality is
    `nothing` everywhere, black by default. Without `pixels` images of side 0 come, for those who know the samples'
    features. Copies to CUDA are from pinned memory and asynchronous. Raises `ValueError` on a row number that is not
    there.
    """
    return Batches(faces, order, torch.device(device), pixels, nothing)
