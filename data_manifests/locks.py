"""A folder that one process at a time writes.

The lock is on the file `.lock`, in which its holder stands. The system frees it when that process ends, however it
ends; the workers that it has started by then hold nothing. Nobody waits inside the system, where one could not be told
what for: a lock that is taken is tried again every second.
"""

import errno
import fcntl
import os
import socket
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from data_manifests.errors import refuse_irregular

_AGAIN_S, _SAID_EVERY_S = 1.0, 60.0
_held: dict[Path, TextIO] = {}


class Taken(Exception):
    """Another process holds the lock; the text says which, as far as it is known."""


def _forget() -> None:
    """In a forked child: it must not keep a lock that its parent gives up."""
    while _held:
        _held.popitem()[1].close()


os.register_at_fork(after_in_child=_forget)


def _opened(path: Path) -> TextIO:
    try:
        return path.open("a+", encoding="utf-8")
    except OSError as e:
        if e.errno not in (errno.EROFS, errno.EACCES):
            raise
        return tempfile.TemporaryFile("w+", encoding="utf-8")


def take(folder: Path) -> TextIO:
    """Lock the folder until `give` is called. Raises Taken where it is taken.

    On a file system without locks nothing is locked, and stderr says so. Where nobody can write, as in a cache that is
    shared read-only, nothing need be.
    """
    refuse_irregular(folder / ".lock", "delete it")
    handle = _opened(folder / ".lock")
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        handle.seek(0)
        holder = handle.read(200).strip() or "another process"
        handle.close()
        raise Taken(holder) from None
    except OSError as e:
        print(
            f"{folder}: its file system has no locks ({e.strerror}); see to it that no other process uses this folder",
            file=sys.stderr,
            flush=True,
        )
    handle.truncate(0)
    handle.write(f"process {os.getpid()} on {socket.gethostname()}, since {time.strftime('%Y-%m-%d %H:%M:%S')}")
    handle.flush()
    _held[folder.resolve()] = handle
    return handle


def give(handle: TextIO) -> None:
    """Free what `take` has locked, once."""
    if handle.closed:
        return
    for folder in [folder for folder, own in _held.items() if own is handle]:
        del _held[folder]
    handle.truncate(0)
    handle.close()


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the folder's lock, after whoever has it; stderr says who that is, once a minute. A folder that this process
    has locked already stays so."""
    if folder.resolve() in _held:
        yield
        return
    said = -_SAID_EVERY_S
    while True:
        try:
            handle = take(folder)
            break
        except Taken as holder:
            if time.monotonic() - said >= _SAID_EVERY_S:
                print(f"{folder}: waiting for {holder}, which is filling it", file=sys.stderr, flush=True)
                said = time.monotonic()
            time.sleep(_AGAIN_S)
    try:
        yield
    finally:
        give(handle)
