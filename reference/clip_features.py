"""Features of a frozen CLIP image tower: computed once for an index, then read from the cache."""

import hashlib
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from weakref import WeakKeyDictionary

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from data_manifests.locks import locked
from data_manifests.parallel import progress
from reference.clip import Clip, InputRange, normalise
from reference.faces import Faces
from reference.kept_rows import CONTENT, table, write

_BLOCK = 64  # samples computed together, three images each
_SAVE_S = 60.0  # a killed computation loses at most this much
_KEPT = np.dtype([CONTENT, ("crc", np.uint32)])  # of each row: what its images are made from, and of its features

# Of each tower the SHA-256, and the place and the number of writes of each of its tensors when that was computed.
_towers: WeakKeyDictionary[nn.Module, tuple[list[tuple[int, int]], str]] = WeakKeyDictionary()


def image_features(
    clip: Clip,
    faces: Faces,
    rows: np.ndarray,
    input_range: InputRange = "released",
    cache_dir: str | Path | None = None,
) -> Tensor:
    """Features of RGB, depth and infrared of the samples `rows` (n,): float32 (n, 3, D) on the CPU, not normalised.

    For a frozen image tower; `ValueError` when one of its parameters can still learn, or for a row that is not
    there. A missing modality is a black image here as everywhere, with the feature the tower gives it.

    With `cache_dir` the features are kept in a file named by the tower's weights, the input range and the kind of
    device, each with the content of its images, so that a later call, of this or another process, computes only what
    is new or damaged. Samples are computed in fixed blocks of neighbours, each in its own place of the block, so a
    row's feature is the same bits whichever rows were computed before.
    """
    if any(p.requires_grad for p in clip.model.visual.parameters()):
        raise ValueError("features can be kept for a frozen image tower only; call clip.freeze('all') first")
    rows = np.asarray(rows, dtype=np.int64)
    count = len(faces.images)
    if rows.size and (rows.min() < 0 or rows.max() >= count):
        raise ValueError(f"rows outside 0 … {count - 1}: {rows}")
    wanted = np.unique(rows)
    if cache_dir is None:
        parts = [values for _, values in _computed(clip, faces, wanted, input_range)]
        features = np.concatenate([np.empty((0, 3, clip.dim), np.float32), *parts])
    else:
        folder = Path(cache_dir) / "clip"  # with a lock of its own: decoding need not wait for a tower
        folder.mkdir(parents=True, exist_ok=True)
        device = clip.model.logit_scale.device.type
        key = hashlib.sha256(f"{_tower_sha256(clip)} {count} {input_range} {device}".encode()).hexdigest()
        with locked(folder):
            features = _kept(folder / f"{key}.f32", clip, faces, wanted, input_range)
    return torch.from_numpy(features if np.array_equal(wanted, rows) else features[np.searchsorted(wanted, rows)])


def _tower_sha256(clip: Clip) -> str:
    """Of the image tower as it is in memory, not of the file it once came from: it may have been trained since. It is
    computed anew only when a tensor was written or replaced."""
    visual = clip.model.visual
    state = sorted(visual.state_dict(keep_vars=True).items())
    written = [(tensor.data_ptr(), tensor._version) for _, tensor in state]
    if visual not in _towers or _towers[visual][0] != written:
        h = hashlib.sha256(repr(visual).encode())
        for name, tensor in state:
            h.update(name.encode())
            h.update(tensor.detach().cpu().contiguous().numpy().tobytes())
        _towers[visual] = (written, h.hexdigest())
    return _towers[visual][1]


def _kept(
    file: Path, clip: Clip, faces: Faces, rows: NDArray[np.int64], input_range: InputRange
) -> NDArray[np.float32]:
    """Features (n, 3, D) of `rows` (n,), ascending, from `file`. Those that it lacks are computed and added to it, with
    those of their neighbours that are decoded."""
    if faces.content is None:
        raise ValueError("features of images of unknown content cannot be kept; leave cache_dir out")
    if not faces.content[rows].any(axis=1).all():
        raise ValueError("features of rows that nobody has asked for: their images are not decoded")
    count, of_rows = len(faces.images), file.with_suffix(".rows")
    features, entries = table(file, count, (np.float32, (3, clip.dim))), table(of_rows, count, _KEPT)
    known = (entries["content"][rows] == faces.content[rows]).all(axis=1)
    known &= entries["crc"][rows] == _checksums(features, rows)
    neighbours = np.unique(rows[~known] // _BLOCK)[:, None] * _BLOCK + np.arange(_BLOCK)  # (blocks, _BLOCK)
    new = neighbours[neighbours < count]
    new = new[faces.content[new].any(axis=1)]
    done: list[tuple[NDArray[np.int64], NDArray[np.float32]]] = []

    def save() -> None:
        own, values = (np.concatenate(parts) for parts in zip(*done, strict=True))
        done.clear()
        entries = np.zeros(len(own), _KEPT)
        entries["content"], entries["crc"] = faces.content[own], _checksums(values, np.arange(len(own)))  # type: ignore[index]
        write(file, own, values)
        write(of_rows, own, entries)

    last_save = time.monotonic()
    for computed in _computed(clip, faces, new, input_range):
        done.append(computed)
        if time.monotonic() - last_save > _SAVE_S:
            save()
            last_save = time.monotonic()
    if done:
        save()
    return np.array(features[rows])


def _checksums(features: NDArray[np.float32], rows: NDArray[np.int64]) -> NDArray[np.uint32]:
    """CRC-32 (n,) of the features (N, 3, D) of each of the rows (n,)."""
    plain = np.asarray(features)  # to take a row of a mapped array costs several times as much
    return np.array([zlib.crc32(plain[row]) for row in rows], np.uint32)


@torch.no_grad()
def _computed(
    clip: Clip, faces: Faces, rows: NDArray[np.int64], input_range: InputRange
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
    """Rows (n,) of one block and their features (n, 3, D), block by block, of all `rows`, ascending."""
    if not len(rows):
        return
    device, side = clip.model.logit_scale.device, faces.images.shape[2]
    blocks = np.split(rows, np.flatnonzero(np.diff(rows // _BLOCK)) + 1)
    with progress(f"features by {clip.name}", len(blocks)) as advance:
        for own in blocks:
            first = int(own[0]) // _BLOCK * _BLOCK
            planes = np.zeros((min(_BLOCK, len(faces.images) - first), 5, side, side), np.uint8)
            planes[own - first] = faces.planes(own)
            images = torch.from_numpy(planes).to(device)
            pictures = [images[:, :3], *(images[:, i : i + 1].expand(-1, 3, -1, -1) for i in (3, 4))]
            pixels = normalise(torch.stack(pictures, 1).flatten(0, 1), input_range)  # (3 B, 3, S, S)
            features = clip.encode_image(pixels).unflatten(0, (-1, 3)).cpu().numpy()
            yield own, features[own - first]
            advance(1)
