"""Arrays that are kept in one file and mapped at later starts: what is slow to make of a text, and small beside it.

The file is a line of JSON and then the arrays, each begun at a multiple of 8 bytes. The line holds the arrays' names,
types and lengths, and the SHA-256 of that, of the *key*, which says what they were made from, and of their bytes.
A file of another key, or whose bytes have another hash, is as good as none.
"""

import hashlib
import json
import mmap
import os
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


def keep(path: Path, key: str, arrays: Mapping[str, NDArray[Any]]) -> Mapping[str, NDArray[Any]]:
    """The arrays (n,), kept in the file `path` for `key` and mapped; as they are handed over where it cannot be
    written."""
    parts = {name: [array.dtype.str, array.size] for name, array in arrays.items()}
    digest = hashlib.sha256(json.dumps([key, parts]).encode())
    padded = [part for array in arrays.values() for part in (array.data, bytes(-array.nbytes % 8))]
    for part in padded:
        digest.update(part)
    head = json.dumps({"arrays": parts, "sha256": digest.hexdigest()}).encode()
    try:
        # Under a name of its own first: another process may be at the same work.
        descriptor, temporary = tempfile.mkstemp(prefix=f"{path.name}.", dir=path.parent)
        try:
            with open(descriptor, "wb") as file:  # noqa: PTH123 - no path, but what mkstemp opened
                file.writelines([head, b" " * (-(len(head) + 1) % 8), b"\n", *padded])
                file.flush()
                os.fchmod(descriptor, 0o644)  # whoever may read the index may read this
                os.fsync(descriptor)
            Path(temporary).replace(path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
    except OSError as e:
        print(f"{path}: {e.strerror}, so what it would spare is done again at each start", file=sys.stderr, flush=True)
        return arrays
    return read(path, key) or arrays


def read(path: Path, key: str) -> dict[str, NDArray[Any]] | None:
    """The arrays that the file `path` keeps for `key`; None where it does not, or is damaged."""
    try:
        with path.open("rb") as file:
            line = file.readline()
            head = json.loads(line)
            parts, wanted = head["arrays"], head["sha256"]
            digest = hashlib.sha256(json.dumps([key, parts]).encode())
            while block := file.read(1 << 20):
                digest.update(block)
            if digest.hexdigest() != wanted:
                return None
            content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError, KeyError, TypeError, RecursionError):  # absent, or damaged beyond its hash
        return None
    arrays, at = {}, len(line)
    for name, (dtype, size) in parts.items():
        arrays[name] = np.frombuffer(content, dtype, size, at)
        at += arrays[name].nbytes + -arrays[name].nbytes % 8
    return arrays
