"""Files of tensors that prove themselves when they are read: checkpoints and weights.

A checkpoint is PyTorch's own file, whose zip archive holds a checksum of each of its parts, which PyTorch does not
read; it says whose it is. Weights are a safetensors file whose metadata hold a digest of all its tensors. Nothing is
unpickled but tensors and plain values.
"""

import hashlib
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from data_manifests.errors import BadInput, first_line, refuse_irregular, replacing

_DIGEST = "sha256"
_AGAIN = "train that run again, in another folder, or put the file back from a copy"


def digest(tensors: Mapping[str, Tensor]) -> str:
    """Of names, shapes, types and numbers of tensors on the CPU."""
    found = hashlib.sha256()
    for name in sorted(tensors):
        x = tensors[name].contiguous()
        found.update(f"{name} {x.dtype} {tuple(x.shape)}\n".encode())
        found.update(memoryview(x.reshape(-1).view(torch.uint8).numpy()))  # type: ignore[arg-type]
    return found.hexdigest()


def write_weights(path: Path, weights: Mapping[str, Tensor]) -> str:
    """Write tensors by name, whole or not at all; returns their digest."""
    tensors = {name: x.detach().cpu().contiguous() for name, x in weights.items()}
    found = digest(tensors)
    with replacing(path) as f:
        f.write(save(tensors, {_DIGEST: found}))
    return found


def digest_said(path: Path) -> str:
    """The digest that a file of weights says it has. Raises BadInput where it cannot be read."""
    with _opened(path) as f:
        return str((f.metadata() or {}).get(_DIGEST, ""))


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    refuse_irregular(path, _AGAIN)
    try:
        with safe_open(path, "pt") as f:
            yield f
    except OSError as e:
        raise BadInput(f"{path}: cannot be read ({e.strerror or e}); {_AGAIN}") from e
    except (SafetensorError, ValueError, UnicodeDecodeError) as e:
        raise BadInput(f"{path}: no weights that can be read ({e}); {_AGAIN}") from e


def read_weights(path: Path) -> dict[str, Tensor]:
    """What `write_weights` wrote, on the CPU. Raises BadInput for anything else."""
    with _opened(path) as f:
        said = (f.metadata() or {}).get(_DIGEST)
        tensors = {name: f.get_tensor(name) for name in f.keys()}  # noqa: SIM118  # it is no dict
    if said is None:
        raise BadInput(f"{path}: has no digest: version 0.1.0 or another program wrote it; {_AGAIN}")
    if said != digest(tensors):
        raise BadInput(f"{path}: damaged, its numbers are not those that its digest was made of; {_AGAIN}")
    return tensors


def load(path: Path) -> Any:
    """What torch.save wrote, tensors and plain values, on the CPU. Raises OSError, and ValueError for other files and
    where a checksum of its zip archive is wrong; a file from before PyTorch 1.6 has none."""
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                damaged = archive.testzip()
            if damaged:
                raise ValueError(f"the checksum of {damaged} is wrong")
        return torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, ValueError):
        raise
    except Exception as e:  # of many kinds, and with advice that may hurt
        raise ValueError(f"PyTorch finds no tensors and plain values in it ({type(e).__name__})") from e


def write_checkpoint(path: Path, state: Mapping[str, Any], owner: str) -> None:
    """Write a state that `owner`, the digest of a run's identity, can go on from, whole or not at all."""
    with replacing(path) as f:
        torch.save({**state, "owner": owner}, f)


def read_checkpoint(path: Path, owner: str) -> dict[str, Any]:
    """The state that `write_checkpoint` wrote, on the CPU. Raises BadInput where the file is damaged, no checkpoint, or
    another run's."""
    again = "put it back from a copy, or delete it to train this run from its start"
    refuse_irregular(path, again)
    try:
        state = load(path)
    except OSError as e:
        raise BadInput(f"{path}: cannot be read ({e.strerror or e}); {again}") from e
    except Exception as e:  # torch and zipfile raise many kinds for a damaged file; each means the same here
        raise BadInput(f"{path}: damaged or no checkpoint ({first_line(e)}); {again}") from e
    kinds = {"epoch": int, "step": int, "sums": dict, "log": str, "scores": dict, "owner": str}
    if not isinstance(state, dict) or any(type(state.get(key)) is not kind for key, kind in kinds.items()):
        raise BadInput(f"{path}: no checkpoint of this project; {again}")
    if state["owner"] != owner:
        raise BadInput(f"{path}: another run's checkpoint; {again}")
    return state
