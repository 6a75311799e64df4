"""How the project refuses an input: one sentence, exit status 2, nothing half-written."""

import errno
import io
import os
import signal
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, NoReturn


class BadInput(ValueError):
    """An input that cannot be used. The message is one sentence naming file, field and remedy."""


_FULL = (errno.ENOSPC, errno.EFBIG, errno.EDQUOT)
_SAFE = "nothing already saved was changed"


@contextmanager
def cli_errors() -> Iterator[None]:
    """Let a command end in a sentence, whatever ends it: status 2 for unusable input and for a system that refuses,
    130 for Ctrl-C, 141 where nobody reads its output any more."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
        signal.signal(signal.SIGINT, signal.default_int_handler)  # see data_manifests/__init__.py
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal may lack letters
    try:
        with _unhidden():
            yield
    except BadInput as e:
        _end(f"error: {e}", 2, e)
    except BrokenPipeError as e:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what is still to be flushed
        raise SystemExit(141) from e
    except OSError as e:
        if e.errno is None:
            raise
        where = f" ({e.filename})" if e.filename else ""
        remedy = "; free some space and give the same command again" if e.errno in _FULL else ""
        _end(f"error: {os.strerror(e.errno)}{where}; {_SAFE}{remedy}", 2, e)
    except KeyboardInterrupt as e:
        _end(f"interrupted; {_SAFE}; give the same command again to go on", 130, e)
    except (MemoryError, RuntimeError) as e:
        if not _lacks_memory(e):
            raise
        why = (str(e).splitlines() or ["no more is to be had"])[0]
        _end(f"error: memory is short ({why}); {_SAFE}; give it fewer samples at a time or fewer jobs", 2, e)


@contextmanager
def _unhidden() -> Iterator[None]:
    """Ctrl-C and a full disk as they came: where one of them ends `torch.save`, that raises an error of its own."""
    try:
        yield
    except RuntimeError as e:
        hidden = e.__context__
        while hidden:
            if isinstance(hidden, KeyboardInterrupt) or (isinstance(hidden, OSError) and hidden.errno in _FULL):
                raise hidden from e
            hidden = hidden.__context__
        raise


def _lacks_memory(e: BaseException) -> bool:
    """Whether Python, or PyTorch, which is not loaded to ask, was refused memory."""
    return isinstance(e, MemoryError) or type(e).__name__ == "OutOfMemoryError" or "can't allocate memory" in str(e)


def _end(said: str, status: int, cause: BaseException) -> NoReturn:
    with suppress(OSError):
        print(said, file=sys.stderr)
    raise SystemExit(status) from cause


def line_of(e: UnicodeDecodeError) -> int:
    """The number, from 1 on, of the line that could not be decoded."""
    return e.object[: e.start].count(b"\n") + 1


def refuse_unwritable(path: Path) -> None:
    """Before long work whose result goes to `path`. Raises BadInput where it could not be written."""
    there = next(place for place in path.absolute().parents if place.exists())
    if not os.access(path if path.is_dir() else there, os.W_OK):
        raise BadInput(f"{path}: cannot be written; name a place that can")


def first_line(e: BaseException) -> str:
    """The first line of an error's text, or its kind where it has none."""
    return (str(e).splitlines() or [type(e).__name__])[0]


def refuse_irregular(path: Path, remedy: str) -> None:
    """Before a file is opened or replaced: a pipe would be waited for, and a device read without end. Raises BadInput,
    which ends in `remedy`, for what is there and no regular file; whoever opens it says what else may be wrong."""
    try:
        kind = path.stat().st_mode
    except OSError:
        return
    if not stat.S_ISREG(kind):
        what = "a folder" if stat.S_ISDIR(kind) else "a pipe or a device"
        raise BadInput(f"{path}: cannot be read or written as a file, since it is {what}; {remedy}")


def bytes_of(path: Path, remedy: str) -> bytes:
    """What a file holds. Raises BadInput, which ends in `remedy`, where it cannot be read."""
    refuse_irregular(path, remedy)
    try:
        return path.read_bytes()
    except OSError as e:
        raise BadInput(f"{path}: cannot be read ({e.strerror}); {remedy}") from e


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Let an error of the system be one of `path`: a write does not say of which file it was."""
    try:
        yield
    except OSError as e:
        if e.errno is not None and e.filename is None:
            e.filename = str(path)
        raise


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Open a new version of `path` for writing; it replaces the old one only when it is complete on disk.

    A full disk or an exception leaves the old file unchanged and no temporary file behind. Only a killed process
    can leave a `.tmp` file, which the next writer overwrites.
    """
    refuse_irregular(path, "name another place")
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with naming(path):
            with temporary.open("wb") as f:
                yield f
                f.flush()
                os.fsync(f.fileno())
            temporary.replace(path)
    except BaseException:
        with suppress(FileNotFoundError):
            temporary.unlink()
        raise
