"""Features of a frozen CLIP image tower: computed once for an index, then read from the cache."""

import hashlib
import time
import zipfile
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from data_manifests.errors import BadInput, replacing
from data_manifests.parallel import progress
from reference.clip import Clip, InputRange, normalise
from reference.faces import Faces, locked

_BLOCK = 64  # samples computed together, three images each
_SAVE_S = 60.0  # a killed computation loses at most this much


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

    With `cache_dir` the features are kept in a file named by the tower's weights, the images, the input range and
    the kind of device, so that a later call, of this or another process, computes only what is new. Samples are
    computed in fixed blocks of neighbours, so a row's feature is the same bits whichever rows were computed before.
    """
    if any(p.requires_grad for p in clip.model.visual.parameters()):
        raise ValueError("features can be kept for a frozen image tower only; call clip.freeze('all') first")
    rows = np.asarray(rows, dtype=np.int64)
    count = len(faces.images)
    if rows.size and (rows.min() < 0 or rows.max() >= count):
        raise ValueError(f"rows outside 0 … {count - 1}: {rows}")
    if cache_dir is None:
        return torch.from_numpy(_Features(clip, faces, input_range, None).of(rows))
    folder = Path(cache_dir) / "clip"  # with a lock of its own: decoding need not wait for a tower
    folder.mkdir(parents=True, exist_ok=True)
    device = clip.model.logit_scale.device.type
    key = hashlib.sha256(f"{_tower_sha256(clip)} {faces.sha256} {input_range} {device}".encode()).hexdigest()
    with locked(folder):
        return torch.from_numpy(_Features(clip, faces, input_range, folder / f"{key}.npz").of(rows))


def _tower_sha256(clip: Clip) -> str:
    """Of the image tower as it is in memory, not of the file it once came from: it may have been trained since."""
    h = hashlib.sha256(repr(clip.model.visual).encode())
    for name, tensor in sorted(clip.model.visual.state_dict().items()):
        h.update(name.encode())
        h.update(tensor.cpu().contiguous().numpy().tobytes())
    return h.hexdigest()


class _Features:
    """Features (N, 3, D) of all samples, computed block by block when a row of the block is asked for.

    They are kept in `file`, unless it is None. `complete` (blocks,) says which blocks have been computed.
    """

    def __init__(self, clip: Clip, faces: Faces, input_range: InputRange, file: Path | None) -> None:
        self.clip, self.faces, self.input_range, self.file = clip, faces, input_range, file
        count = len(faces.images)
        self.features = np.zeros((count, 3, clip.dim), np.float32)
        self.complete = np.zeros(-(-count // _BLOCK), bool)
        if file is not None and file.exists():
            try:
                with np.load(file, allow_pickle=False) as archive:
                    self.features[:], self.complete[:] = archive["features"], archive["done"]
            except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as e:
                raise BadInput(f"{file}: damaged; delete it, it is computed again") from e

    def of(self, rows: np.ndarray) -> np.ndarray:
        """Features (n, 3, D) of `rows` (n,)."""
        blocks = np.unique(rows // _BLOCK)
        blocks = blocks[~self.complete[blocks]]
        if len(blocks):
            last_save = time.monotonic()
            with progress(f"features by {self.clip.name}", len(blocks)) as advance:
                for block in blocks:
                    self._compute(int(block))
                    advance(1)
                    if time.monotonic() - last_save > _SAVE_S:
                        self._save()
                        last_save = time.monotonic()
            self._save()
        return self.features[rows]

    @torch.no_grad()
    def _compute(self, block: int) -> None:
        at = slice(block * _BLOCK, (block + 1) * _BLOCK)
        planes = torch.from_numpy(np.array(self.faces.images[at])).to(self.clip.model.logit_scale.device)
        pictures = [planes[:, :3], *(planes[:, i : i + 1].expand(-1, 3, -1, -1) for i in (3, 4))]
        pixels = normalise(torch.stack(pictures, 1).flatten(0, 1), self.input_range)  # (3 B, 3, S, S)
        features = self.clip.encode_image(pixels).unflatten(0, (-1, 3))
        self.features[at] = features.cpu().numpy()
        self.complete[block] = True

    def _save(self) -> None:
        if self.file is not None:
            with replacing(self.file) as f:
                np.savez(f, features=self.features, done=self.complete)
