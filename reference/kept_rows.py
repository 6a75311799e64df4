"""Rows that were computed once for an index and are kept in a file for all runs: decoded images, features.

The file has a place for each row of the index, and is a hole where a row is not known. Beside it `<name>.rows` holds
what each known row was made from, its *content*, and what else is said of it. A row counts as known only when that is
written, which happens after the row itself has reached the disk: a killed process leaves rows that are made again.
Whoever writes holds the folder's lock.
"""

import os
from pathlib import Path

import numpy as np
from numpy.typing import DTypeLike, NDArray

from data_manifests.errors import BadInput, naming

CONTENT = ("content", np.uint8, (32,))  # a SHA-256; zeros where a row is not known


def table(path: Path, count: int, dtype: DTypeLike) -> np.memmap:
    """The `count` entries of a file, all of zeros where there was none, mapped to be read. They are written by
    `write`, since a full disk would kill a process that writes into the mapping.

    Raises `BadInput` for a file of another size.
    """
    size = count * np.dtype(dtype).itemsize
    try:
        with path.open("xb") as f:
            f.truncate(size)
    except FileExistsError:
        known = path.stat().st_size
        if known not in (0, size):
            raise BadInput(f"{path}: damaged, of another size than it should be; delete it, it is made again") from None
        if not known:  # a process was killed in between
            os.truncate(path, size)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return np.memmap(path, dtype, "r", shape=(count,))


def write(path: Path, rows: NDArray[np.int64], entries: NDArray) -> None:
    """Write `entries` (n, …) of the rows `rows` (n,) in ascending order, and wait until they are on the disk."""
    if not len(rows):
        return
    descriptor = os.open(path, os.O_WRONLY)
    try:
        # Neighbours are written together.
        ends = np.append(np.flatnonzero(np.diff(rows) != 1) + 1, len(rows))
        for start, end in zip(np.append(0, ends[:-1]), ends, strict=True):
            data = memoryview(entries[start:end].tobytes())
            at = int(rows[start]) * (entries.nbytes // len(entries))
            while data:
                with naming(path):
                    written = os.pwrite(descriptor, data, at)
                data, at = data[written:], at + written
        os.fdatasync(descriptor)
    finally:
        os.close(descriptor)
