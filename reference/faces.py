"""The images of an index: every frame decoded once into one memory-mapped file of 8-bit planes, for all runs."""

import fcntl
import hashlib
import json
import os
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import PIL

from data_manifests import decode
from data_manifests.errors import BadInput, replacing
from data_manifests.index import DATASETS, MODALITIES, Index, Reference, parse_reference
from data_manifests.parallel import parallel
from reference.sources import sources

PLANES = 5  # R, G, B, depth, infrared
_FIRST_PLANE = {"rgb": 0, "depth": 3, "ir": 4}
PLANES_OF = {"R": (0, 1, 2), "D": (3,), "I": (4,)}
_CLOCK_STEP_NS = 2_000_000_000  # the coarsest file clock in use (FAT); a younger file may change unseen


@dataclass(frozen=True)
class Faces:
    """All N frames of an index, in its order.

    `images` uint8 (N, 5, S, S): planes R, G, B, depth, infrared; all zeros where a modality is missing.
    `present` bool (N, 3): which of RGB, depth and infrared exist and are not zero all over, as some sensors
    deliver a frame they lost. `bonafide` bool (N,); `dataset` (the letter), `family` (empty for bona fide), `subject`
    and `sample_id` str (N,). `domain` int64 (N,) numbers the data sets, `recording` int64 (N,) the recordings.
    `sha256` is of what was decoded and how.
    """

    images: np.memmap
    present: np.ndarray
    bonafide: np.ndarray
    dataset: np.ndarray
    family: np.ndarray
    subject: np.ndarray
    sample_id: np.ndarray
    domain: np.ndarray
    recording: np.ndarray
    sha256: str

    def missing_report(self) -> dict[str, dict[str, int]]:
        """Frames without a modality (fed black), `{data set: {"rgb": n, "depth": n, "ir": n}}`."""
        return {
            str(d): dict(zip(MODALITIES, (~self.present[self.dataset == d]).sum(0).tolist(), strict=True))
            for d in np.unique(self.dataset)
        }


def without_pixels(index: Index) -> dict[str, np.ndarray]:
    """The fields of `Faces` that an index knows without a look at any pixel, by name, each (N,)."""
    rows = index.rows
    return {
        "bonafide": np.array([r.bonafide for r in rows]),
        "dataset": np.array([r.dataset for r in rows]),
        "family": np.array([r.attack_family for r in rows]),
        "subject": np.array([r.subject_id for r in rows]),
        "sample_id": np.array([r.sample_id for r in rows]),
        "domain": np.array([[*DATASETS].index(r.dataset) for r in rows], np.int64),
        "recording": np.unique([r.clip_id for r in rows], return_inverse=True)[1].astype(np.int64),
    }


@dataclass(frozen=True)
class _ImageFile:
    """One file and the planes taken from it: (row, modality, reference, shape of the index, depth_encoding)."""

    root: Path
    path: str
    planes: list[tuple[int, str, Reference, str, str]]


def _image_files(index: Index) -> dict[str, _ImageFile]:
    files: dict[str, _ImageFile] = {}
    for i, row in enumerate(index.rows):
        for modality in MODALITIES:
            if text := getattr(row, modality):
                reference = parse_reference(text)
                key = f"{row.dataset}:{reference.path}"
                if key not in files:
                    files[key] = _ImageFile(index.roots[row.dataset], reference.path, [])
                shape = getattr(row, f"{modality}_shape")
                files[key].planes.append((i, modality, reference, shape, row.depth_encoding))
    return files


def _stat(file: _ImageFile) -> tuple[int, int, int]:
    full = f"{file.root}/{file.path}"
    try:
        try:
            s = os.stat(full)  # noqa: PTH116 - a third of pathlib's time, and opening a cache is mostly this
        except FileNotFoundError:
            s = decode.locate(file.root, file.path).stat()
    except OSError as e:
        raise BadInput(f"{file.path}: {e.strerror} below {file.root}; restore it or index again") from None
    return s.st_size, s.st_mtime_ns, s.st_ctime_ns


def _digest(file: _ImageFile) -> str:
    return decode.digest(file.root, [(reference, modality) for _, modality, reference, _, _ in file.planes])


def _decode_into(job: tuple[Path, _ImageFile, int]) -> None:
    path, file, size = job
    images = [(reference, modality, shape, encoding) for _, modality, reference, shape, encoding in file.planes]
    with path.open("r+b") as cache:
        for (row, modality, *_), planes in zip(file.planes, decode.decode(file.root, images, size), strict=True):
            cache.seek((row * PLANES + _FIRST_PLANE[modality]) * size * size)
            cache.write(planes.tobytes())


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
    record: Path, files: Mapping[str, _ImageFile], workers: int | None
) -> tuple[dict[str, str], dict[str, tuple[int, int, int]]]:
    """SHA-256 of each file's content, taken from `record` where size and times of the file are unchanged."""
    known = json.loads(record.read_bytes()) if record.exists() else {}
    stats = {key: _stat(file) for key, file in files.items()}
    digests = {k: known[k][3] for k, stat in stats.items() if k in known and tuple(known[k][:3]) == stat}
    changed = [key for key in files if key not in digests]
    if changed:
        now = time.time_ns()
        new = parallel(_digest, [files[key] for key in changed], "checking images", workers)
        digests |= dict(zip(changed, new, strict=True))
        settled = {k: [*s, digests[k]] for k, s in stats.items() if now - max(s[1], s[2]) > _CLOCK_STEP_NS}
        with replacing(record) as f:
            f.write(json.dumps(settled, indent=0).encode())
    return digests, stats


def open_faces(index: Index, image_size: int, cache_dir: str | Path, workers: int | None = None) -> Faces:
    """Every image of `index` as 8-bit planes of `image_size` pixels square, decoded on the first call only.

    The cache file's name is a hash of the images' content, of what the index says of them and of the
    sources of the decoder, so a changed image, index or decoder is never answered with old pixels. It appears
    under that name only when complete; processes that ask at the same time wait for the one that decodes.
    Raises `BadInput` naming the image that cannot be used, `OSError` when the disk is full; nothing is left
    behind then.
    """
    if image_size < 1:
        raise BadInput(f"image_size {image_size} is not a positive number of pixels")
    folder = Path(cache_dir)
    folder.mkdir(parents=True, exist_ok=True)
    rows = index.rows
    files = _image_files(index)
    layout = hashlib.sha256(f"{image_size} {PIL.__version__}\n".encode())
    layout.update(json.dumps(sources(decode.__name__), sort_keys=True).encode())
    for r in rows:
        columns = (r.dataset, r.rgb, r.rgb_shape, r.depth, r.depth_shape, r.ir, r.ir_shape, r.depth_encoding)
        layout.update(("\n".join(columns) + "\n").encode())
    place = layout.copy()
    place.update("".join(f"{letter}\n{root}\n" for letter, root in sorted(index.roots.items())).encode())
    with locked(folder):
        digests, stats = _digests(folder / f"{place.hexdigest()[:32]}.json", files, workers)
        for digest in digests.values():
            layout.update(digest.encode())
        path = folder / f"{layout.hexdigest()}.u8"
        if not path.exists():
            _build(path, image_size, len(rows), files, stats, workers)
    images = np.memmap(path, np.uint8, "r", shape=(len(rows), PLANES, image_size, image_size))
    return Faces(
        images=images,
        present=np.fromfile(path, bool, offset=images.size).reshape(len(rows), len(MODALITIES)),
        sha256=layout.hexdigest(),
        **without_pixels(index),
    )


def _build(
    path: Path,
    size: int,
    n: int,
    files: Mapping[str, _ImageFile],
    stats: Mapping[str, tuple[int, int, int]],
    workers: int | None,
) -> None:
    for left in path.parent.glob(".*.u8.tmp"):  # of a killed process: the lock says that nobody writes it now
        left.unlink()
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with temporary.open("wb") as f:
            f.truncate(n * PLANES * size * size)
        parallel(_decode_into, [(temporary, file, size) for file in files.values()], "decoding", workers)
        for key, file in files.items():
            if _stat(file) != stats[key]:
                raise BadInput(f"{file.path}: changed while it was read; start again when nothing writes it")
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
