"""How the project refuses an input: one sentence, exit status 2, nothing half-written."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO


class BadInput(ValueError):
    """An input that cannot be used. The message is one sentence naming file, field and remedy."""


@contextmanager
def cli_errors() -> Iterator[None]:
    """Turn a `BadInput` (or a full disk) inside a command's `main` into `error: …` and exit status 2."""
    try:
        yield
    except BadInput as e:
        print(f"error: {e}", file=sys.stderr)
        raise SystemExit(2) from e
    except OSError as e:
        if e.errno is None:
            raise
        where = f" on {e.filename}" if e.filename else ""
        print(f"error: {os.strerror(e.errno)}{where}; nothing already saved was changed", file=sys.stderr)
        raise SystemExit(2) from e


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Open a new version of `path` for writing; it replaces the old one only when it is complete on disk.

    A full disk or an exception leaves the old file unchanged and no temporary file behind. Only a killed process
    can leave a `.tmp` file, which the next writer overwrites.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with temporary.open("wb") as f:
            yield f
            f.flush()
            os.fsync(f.fileno())
        temporary.replace(path)
    except BaseException:
        with suppress(FileNotFoundError):
            temporary.unlink()
        raise
