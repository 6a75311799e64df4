"""HDF5 files as this project reads them: only what lies in the file itself, and each failure by its own name.

An HDF5 file may point elsewhere: to another file, to raw bytes of any path, or to pieces of other files that it puts
together. None of these is followed.
"""

import errno
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np

from data_manifests.errors import BadInput, first_line

_SIGNATURE = b"\x89HDF\r\n\x1a\n"
LARGEST = 2**28  # bytes of an image's plane, far beyond any camera's: a larger claim is refused before memory is taken


def regular(path: Path, name: str) -> None:
    """Raise BadInput unless this is a file that can be read: a pipe or a device would be waited for."""
    try:
        kind = path.stat().st_mode
    except FileNotFoundError:
        raise BadInput(f"{name}: no such file; restore it or index the data set again") from None
    except OSError as e:
        raise BadInput(f"{name}: cannot be read ({e.strerror}); check the disk and the permissions") from None
    if not stat.S_ISREG(kind):
        what = "a folder" if stat.S_ISDIR(kind) else "no regular file"
        raise BadInput(f"{name}: is {what}; put the data set's own file there or index it again")


@contextmanager
def opened(path: Path, name: str) -> Iterator[h5py.File]:
    """The file, to be read; messages call it `name`. Raises BadInput where it cannot be opened."""
    regular(path, name)
    try:
        with path.open("rb") as f:
            begins = f.read(len(_SIGNATURE))
        if begins != _SIGNATURE:
            what = "is empty (0 bytes)" if not begins else "is no HDF5 file: it begins with other bytes"
            raise BadInput(f"{name}: {what}; copy it again")
        file = h5py.File(path, "r", locking="best-effort")
    except OSError as e:
        if e.errno in (errno.EAGAIN, errno.EACCES, errno.EWOULDBLOCK) and "lock" in str(e):
            raise BadInput(f"{name}: another program is writing it; close that program first") from None
        if e.errno is not None and "truncated" not in str(e):
            raise BadInput(f"{name}: cannot be read ({e.strerror or first_line(e)})") from None
        raise BadInput(f"{name}: not a complete HDF5 file ({first_line(e)}); copy it again") from None
    except BadInput:
        raise
    except Exception as e:  # as in `reading`
        raise BadInput(f"{name}: not a complete HDF5 file ({first_line(e)}); copy it again") from None
    with file, reading(name):
        yield file


def array(file: h5py.File, member: str, name: str) -> h5py.Dataset:
    """The file's own array of numbers `member`, like `data/rgb`. Raises BadInput where there is none, where it or its
    numbers lie elsewhere, and where it claims planes that no camera gives."""
    found: object = file
    for part in [part for part in member.split("/") if part]:
        if not isinstance(found, h5py.Group):
            raise BadInput(f"{name}: no array {member}; index the data set again")
        try:
            link = found.get(part, getlink=True)
            found = found.get(part) if isinstance(link, h5py.HardLink) else link
        except Exception as e:  # as in `reading`
            raise BadInput(f"{name}: damaged at {member} ({first_line(e)}); copy it again") from None
        if isinstance(found, h5py.ExternalLink | h5py.SoftLink):
            raise BadInput(f"{name}: {member} is a link to {found.path}; only what lies in the file itself is read")
    if not isinstance(found, h5py.Dataset):
        raise BadInput(f"{name}: no array {member}; index the data set again")
    if found.is_virtual or found.external:
        raise BadInput(f"{name}: the numbers of {member} lie in other files; only what lies in the file itself is read")
    if found.ndim >= 2 and int(np.prod(found.shape[-2:], dtype=object)) * found.dtype.itemsize > LARGEST:
        raise BadInput(f"{name}: {member} claims to be {found.shape}, larger than any image; copy it again")
    return found


@contextmanager
def reading(name: str) -> Iterator[None]:
    """Inside, a file is looked through or an array's numbers are read. Raises BadInput where they cannot be, saying
    why: h5py raises almost anything for damaged bytes."""
    try:
        yield
    except BadInput:
        raise
    except Exception as e:
        why = first_line(e)
        if "filter" in why:
            raise BadInput(
                f"{name}: is compressed in a way that h5py here cannot read ({why}); save it uncompressed, as "
                "`h5repack -f NONE` does"
            ) from None
        raise BadInput(f"{name}: the HDF5 file is damaged ({why}); copy it again") from None
