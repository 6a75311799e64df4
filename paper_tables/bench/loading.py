"""Groups of everything before a step: loading a batch, decoding, opening the cache, rendering stand-in faces."""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from data_manifests.decode import decode
from data_manifests.index import MODALITIES, Index, parse_reference
from data_manifests.phantom.recordings import plan
from data_manifests.phantom.render import render
from data_manifests.phantom.sets import PROFILES
from paper_tables.bench.frames import small_index
from paper_tables.bench.items import Group, Item, Setting
from reference.batches import batches
from reference.faces import open_faces


class Pictures(Dataset[Tensor]):
    """The same frames opened by PIL, as a plain PyTorch data set does: three pictures, resized, in [-1, 1]."""

    def __init__(self, index: Index, side: int) -> None:
        # Paths alone: workers get a copy, and an index is mapped from its file.
        self.paths = [
            [index.roots[row.dataset] / parse_reference(getattr(row, m)).path for m in MODALITIES] for row in index.rows
        ]
        self.side = side

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, place: int) -> Tensor:
        planes = []
        for path in self.paths[place]:
            with Image.open(path) as picture:
                small = picture.convert("RGB").resize((self.side, self.side), Image.Resampling.BILINEAR)
            planes.append(torch.from_numpy(np.asarray(small).copy()).permute(2, 0, 1))
        return (torch.stack(planes).float() - 127.5) / 127.5


def _order(count: int, samples: int) -> Iterator[np.ndarray]:
    draws = np.random.default_rng(0)
    while True:
        yield draws.integers(count, size=samples)


@contextmanager
def loading(setting: Setting) -> Iterator[Sequence[Item]]:
    """Batches on the device, ten a round, from the cache and by PIL: in this process, and in workers, one a core."""
    with tempfile.TemporaryDirectory() as folder:
        index = small_index(setting, Path(folder))
        faces = open_faces(index, setting.side, Path(folder) / "cache", 1)
        cached = batches(faces, _order(len(index.rows), setting.samples), setting.device)
        sets = Pictures(index, setting.side)
        several = 1 if setting.tiny else 10
        items = [Item("the cache", partial(_take, cached, several), several * setting.samples)]
        for workers in (0,) if setting.tiny else (0, setting.threads):
            loader: DataLoader[Tensor] = DataLoader(
                sets, batch_sampler=[r.tolist() for r in islice(_order(len(sets), setting.samples), 10_000)],
                num_workers=workers, pin_memory=setting.cuda, multiprocessing_context="spawn" if workers else None,
            )  # fmt: skip
            stream = (batch.to(setting.device, non_blocking=True) for batch in loader)
            name = f"PIL and DataLoader, {workers} workers" if workers else "PIL and DataLoader, no workers"
            items.append(Item(name, partial(_take, stream, several), several * setting.samples))
        yield items


def _take(stream: Iterator[Any], count: int) -> None:
    for _ in range(count):
        next(stream)


@contextmanager
def decoding(setting: Setting) -> Iterator[Sequence[Item]]:
    """Frames' three images by data_manifests/decode.py, and the cache: built by one process, and opened."""
    with tempfile.TemporaryDirectory() as folder:
        index = small_index(setting, Path(folder))
        jobs = [(row, m, index.roots[row.dataset]) for row in index.rows[:64] for m in MODALITIES]
        numbers = iter(range(10**6))

        def build() -> None:
            open_faces(index, setting.side, Path(folder) / f"cache-{next(numbers)}", 1)

        def images() -> None:
            for row, m, root in jobs:
                image = (parse_reference(getattr(row, m)), m, getattr(row, f"{m}_shape"), row.depth_encoding)
                list(decode(root, [image], setting.side))

        build()
        opened = partial(open_faces, index, setting.side, Path(folder) / "cache-0", 1)
        yield [
            Item("decoding", images, len(jobs) // 3),
            Item("building the cache, one process", build, len(index.rows)),
            Item("opening the cache again", opened, len(index.rows)),
        ]


@contextmanager
def rendering(setting: Setting) -> Iterator[Sequence[Item]]:
    """The first recordings of the CeFA-like stand-in set, by one process."""
    profile = PROFILES["cpu"]
    recordings = plan("C", profile)[: 1 if setting.tiny else 4]
    frames = sum(len(r.frames) for r in recordings)
    yield [Item("rendering", lambda: [render(r, profile) for r in recordings], frames, "frames")]


def groups() -> list[Group]:
    return [
        Group("loading", "Batches from the cache, and by PIL and a DataLoader", loading, seconds=25),
        Group("decoding", "Images to the cache, and the cache's opening", decoding, seconds=10),
        Group("rendering", "Rendering of stand-in faces", rendering, seconds=10),
    ]
