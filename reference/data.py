"""Images for training: every frame of an index decoded once into one memory-mapped file, drawn in balanced
batches.

`open_faces` turns the images an index names into a cache of 8-bit planes; `BalancedSampler` decides which
frames make a batch (mmFAS, "ensuring that the number of bona fide and spoofing images is roughly equal within
the same batch"); `batches` hands them over as tensors, one batch ahead of the training step.
"""

import fcntl
import hashlib
import json
import os
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import PIL
import torch

from data_manifests import decode
from data_manifests.errors import BadInput, replacing
from data_manifests.index import MODALITIES, Index, Reference, parse_reference
from data_manifests.parallel import parallel

PLANES = 5  # R, G, B, depth, infrared
_FIRST_PLANE = {"rgb": 0, "depth": 3, "ir": 4}
_PLANES_OF = {"R": (0, 1, 2), "D": (3,), "I": (4,)}
_CLOCK_STEP_NS = 2_000_000_000  # the coarsest file clock in use (FAT); a younger file may change unseen


@dataclass(frozen=True)
class Faces:
    """All N frames of an index, in its order.

    `images` uint8 (N, 5, S, S): planes R, G, B, depth, infrared; all zeros where a modality is missing.
    `present` bool (N, 3): which of RGB, depth and infrared exist and are not zero all over, as some sensors
    deliver a frame they lost. `bonafide` bool (N,); `dataset` (the
    letter), `family` (empty for bona fide), `subject` and `sample_id` str (N,). `sha256` is of what was
    decoded and how.
    """

    images: np.memmap
    present: np.ndarray
    bonafide: np.ndarray
    dataset: np.ndarray
    family: np.ndarray
    subject: np.ndarray
    sample_id: np.ndarray
    sha256: str

    def missing_report(self) -> dict[str, dict[str, int]]:
        """Frames without a modality (fed black), `{data set: {"rgb": n, "depth": n, "ir": n}}`."""
        return {
            str(d): dict(zip(MODALITIES, (~self.present[self.dataset == d]).sum(0).tolist(), strict=True))
            for d in np.unique(self.dataset)
        }


def described(index: Index) -> dict[str, np.ndarray]:
    """What an index says of its N frames without a look at their pixels: the fields of `Faces` by name, each (N,)."""
    rows = index.rows
    return {
        "bonafide": np.array([r.bonafide for r in rows]),
        "dataset": np.array([r.dataset for r in rows]),
        "family": np.array([r.attack_family for r in rows]),
        "subject": np.array([r.subject_id for r in rows]),
        "sample_id": np.array([r.sample_id for r in rows]),
    }


@dataclass(frozen=True)
class _Source:
    """One file and the planes taken from it: (row, modality, reference, shape of the index, depth_encoding)."""

    root: Path
    path: str
    planes: list[tuple[int, str, Reference, str, str]]


def _sources(index: Index) -> dict[str, _Source]:
    sources: dict[str, _Source] = {}
    for i, row in enumerate(index.rows):
        for modality in MODALITIES:
            if text := getattr(row, modality):
                reference = parse_reference(text)
                key = f"{row.dataset}:{reference.path}"
                if key not in sources:
                    sources[key] = _Source(index.roots[row.dataset], reference.path, [])
                shape = getattr(row, f"{modality}_shape")
                sources[key].planes.append((i, modality, reference, shape, row.depth_encoding))
    return sources


def _stat(source: _Source) -> tuple[int, int, int]:
    full = f"{source.root}/{source.path}"
    try:
        try:
            s = os.stat(full)  # noqa: PTH116 - a third of pathlib's time, and opening a cache is mostly this
        except FileNotFoundError:
            s = decode.locate(source.root, source.path).stat()
    except OSError as e:
        raise BadInput(f"{source.path}: {e.strerror} below {source.root}; restore it or index again") from None
    return s.st_size, s.st_mtime_ns, s.st_ctime_ns


def _digest(source: _Source) -> str:
    return decode.digest(source.root, [(reference, modality) for _, modality, reference, _, _ in source.planes])


def _decode_into(job: tuple[Path, _Source, int]) -> None:
    path, source, size = job
    wanted = [(reference, modality, shape, encoding) for _, modality, reference, shape, encoding in source.planes]
    with path.open("r+b") as f:
        for (row, modality, *_), planes in zip(source.planes, decode.decode(source.root, wanted, size), strict=True):
            f.seek((row * PLANES + _FIRST_PLANE[modality]) * size * size)
            f.write(planes.tobytes())


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the cache folder's lock; the system frees it when the process ends, however it ends."""
    with (folder / ".lock").open("w") as f:
        try:
            fcntl.flock(f, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"waiting for another process that is filling {folder}", file=sys.stderr, flush=True)
            fcntl.flock(f, fcntl.LOCK_EX)
        yield


def _digests(
    record: Path, sources: Mapping[str, _Source], workers: int | None
) -> tuple[dict[str, str], dict[str, tuple[int, int, int]]]:
    """SHA-256 of each source's content, taken from `record` where size and times of the file are unchanged."""
    known = json.loads(record.read_bytes()) if record.exists() else {}
    stats = {key: _stat(source) for key, source in sources.items()}
    digests = {k: known[k][3] for k, stat in stats.items() if k in known and tuple(known[k][:3]) == stat}
    changed = [key for key in sources if key not in digests]
    if changed:
        now = time.time_ns()
        found = parallel(_digest, [sources[key] for key in changed], "checking images", workers)
        digests |= dict(zip(changed, found, strict=True))
        settled = {k: [*s, digests[k]] for k, s in stats.items() if now - max(s[1], s[2]) > _CLOCK_STEP_NS}
        with replacing(record) as f:
            f.write(json.dumps(settled, indent=0).encode())
    return digests, stats


def open_faces(index: Index, image_size: int, cache_dir: str | Path, workers: int | None = None) -> Faces:
    """Every image of `index` as 8-bit planes of `image_size` pixels square, decoded on the first call only.

    The cache file's name is a hash of the images' content, of what the index says of them and of the
    decoder's own source, so a changed image, index or decoder is never answered with old pixels. It appears
    under that name only when complete; processes that ask at the same time wait for the one that decodes.
    Raises `BadInput` naming the image that cannot be used, `OSError` when the disk is full; nothing is left
    behind then.
    """
    if image_size < 1:
        raise BadInput(f"image_size {image_size} is not a positive number of pixels")
    folder = Path(cache_dir)
    folder.mkdir(parents=True, exist_ok=True)
    rows = index.rows
    sources = _sources(index)
    layout = hashlib.sha256(f"{image_size} {PIL.__version__}\n".encode())
    layout.update(Path(decode.__file__).read_bytes())
    for r in rows:
        columns = (r.dataset, r.rgb, r.rgb_shape, r.depth, r.depth_shape, r.ir, r.ir_shape, r.depth_encoding)
        layout.update(("\n".join(columns) + "\n").encode())
    place = layout.copy()
    place.update("".join(f"{letter}\n{root}\n" for letter, root in sorted(index.roots.items())).encode())
    with locked(folder):
        digests, stats = _digests(folder / f"{place.hexdigest()[:32]}.json", sources, workers)
        for digest in digests.values():
            layout.update(digest.encode())
        path = folder / f"{layout.hexdigest()}.u8"
        if not path.exists():
            _build(path, image_size, len(rows), sources, stats, workers)
    images = np.memmap(path, np.uint8, "r", shape=(len(rows), PLANES, image_size, image_size))
    return Faces(
        images=images,
        present=np.fromfile(path, bool, offset=images.size).reshape(len(rows), len(MODALITIES)),
        sha256=layout.hexdigest(),
        **described(index),
    )


def _build(
    path: Path,
    size: int,
    n: int,
    sources: Mapping[str, _Source],
    stats: Mapping[str, tuple[int, int, int]],
    workers: int | None,
) -> None:
    for left in path.parent.glob(".*.u8.tmp"):  # of a killed process: the lock says that nobody writes it now
        left.unlink()
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with temporary.open("wb") as f:
            f.truncate(n * PLANES * size * size)
        parallel(_decode_into, [(temporary, source, size) for source in sources.values()], "decoding", workers)
        for key, source in sources.items():
            if _stat(source) != stats[key]:
                raise BadInput(f"{source.path}: changed while it was read; start again when nothing writes it")
        with temporary.open("ab") as f:
            f.write(_present(temporary, size, n).tobytes())
            f.flush()
            os.fsync(f.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _present(path: Path, size: int, n: int) -> np.ndarray:
    """Which modalities (N, 3) of the decoded file have a pixel above zero."""
    images = np.memmap(path, np.uint8, "r", shape=(n, PLANES, size * size))
    planes = np.concatenate([images[i : i + 1024].any(axis=2) for i in range(0, n, 1024)])  # (N, 5)
    return np.stack([planes[:, :3].any(axis=1), planes[:, 3], planes[:, 4]], axis=1)


class BalancedSampler:
    """Which frames make each batch of an epoch: half bona fide, half attacks, a pure function of (seed,
    epoch).

    An epoch has ceil(n / batch_size) steps. Each class is an endless row of shuffles of all its frames, read
    on from where the epoch before stopped: no frame of a class comes again before every other one of it has
    come. Raises `BadInput` when a class has no frame or the batch size is no positive even number.
    """

    def __init__(self, bonafide: np.ndarray, batch_size: int, seed: int) -> None:
        bonafide = np.asarray(bonafide, dtype=bool)
        if batch_size < 2 or batch_size % 2:
            raise BadInput(f"batch_size {batch_size} cannot hold as many bona fide as attacks; choose an even one")
        self.classes = [np.flatnonzero(bonafide), np.flatnonzero(~bonafide)]
        for name, members in zip(("bona fide", "attack"), self.classes, strict=True):
            if not len(members):
                raise BadInput(f"the training split holds no {name} frame; train on a split with both classes")
        self.batch_size, self.seed = batch_size, seed
        self.steps = -(-len(bonafide) // batch_size)

    def epoch(self, e: int) -> np.ndarray:
        """Positions in `bonafide`, int64 (steps, batch_size), of epoch `e` counted from 0."""
        half = self.batch_size // 2
        halves = [
            self._stretch(which, e * self.steps * half, self.steps * half).reshape(self.steps, half) for which in (0, 1)
        ]
        order = np.random.default_rng([self.seed, 2, e])
        return order.permuted(np.concatenate(halves, axis=1), axis=1)

    def _stretch(self, which: int, start: int, length: int) -> np.ndarray:
        members = self.classes[which]
        first, last = start // len(members), (start + length - 1) // len(members)
        shuffles = [np.random.default_rng([self.seed, which, k]).permutation(members) for k in range(first, last + 1)]
        offset = start - first * len(members)
        return np.concatenate(shuffles)[offset : offset + length]


Batch = tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]


class Batches:
    """Iterator over (rgb, depth, ir, spoof), see `batches`; `waited` sums the seconds `next` stood still."""

    def __init__(self, faces: Faces, order: Iterable[np.ndarray], device: torch.device, missing: str) -> None:
        self.waited = 0.0
        self._faces, self._device = faces, device
        self._black = [plane for modality in missing for plane in _PLANES_OF[modality]]
        self._order = iter(order)
        self._thread = ThreadPoolExecutor(1, "batches")
        self._ahead = self._start()

    def __iter__(self) -> "Batches":
        return self

    def __next__(self) -> Batch:
        if self._ahead is None:
            self._thread.shutdown()
            raise StopIteration
        asked = time.perf_counter()
        pixels, spoof = self._ahead.result()
        self._ahead = self._start()
        self.waited += time.perf_counter() - asked
        if self._device.type != "cpu":
            pixels = _normalise(pixels.to(self._device, non_blocking=True))
            spoof = spoof.to(self._device, non_blocking=True)
        depth, ir = (pixels[:, i : i + 1].expand(-1, 3, -1, -1).contiguous() for i in (3, 4))
        return pixels[:, :3].contiguous(), depth, ir, spoof

    def _start(self) -> Future[tuple[torch.Tensor, torch.Tensor]] | None:
        rows = next(self._order, None)
        return None if rows is None else self._thread.submit(self._gather, np.asarray(rows))

    def _gather(self, rows: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        images = self._faces.images
        if len(rows) == 0 or rows.min() < 0 or rows.max() >= len(images):
            raise ValueError(f"a batch names rows outside 0 … {len(images) - 1}: {rows}")
        pinned = self._device.type == "cuda"
        pixels = torch.empty((len(rows), *images.shape[1:]), dtype=torch.uint8, pin_memory=pinned)
        # "clip" writes straight into `out`; "raise" would go through a second buffer. The check is above.
        np.take(images, rows, axis=0, out=pixels.numpy(), mode="clip")
        pixels[:, self._black] = 0
        spoof = torch.from_numpy((~self._faces.bonafide[rows]).astype(np.float32))
        if pinned:
            return pixels, spoof.pin_memory()
        return (_normalise(pixels) if self._device.type == "cpu" else pixels), spoof


def _normalise(pixels: torch.Tensor) -> torch.Tensor:
    return (pixels.float() - 127.5) / 127.5


def batches(faces: Faces, order: Iterable[np.ndarray], device: torch.device | str, missing: str = "") -> Batches:
    """Iterate over batches of rows of `faces`, one batch gathered ahead in a thread.

    `order` is int64 (steps, B) or any iterable of row numbers (B,). Yields `rgb`, `depth`, `ir` float32
    (B, 3, S, S) in [−1, 1], (x − 127.5)/127.5, depth and infrared repeated on three channels, and `spoof`
    float32 (B,), 1 for attacks (mmFAS's label). A missing modality is black: −1 everywhere; `missing` makes
    those it names, of R, D and I, black in every sample. Copies to CUDA are from pinned memory and
    asynchronous. Raises `ValueError` on a row number that is not there.
    """
    return Batches(faces, order, torch.device(device), missing)
