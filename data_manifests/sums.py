"""SHA256SUMS beside files that are read again: it tells a file that was changed from the one that was written.

The format is that of `sha256sum`, which checks a folder too: `sha256sum -c SHA256SUMS`. A file that no line names, as
another program wrote it, is taken as it is.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path

from data_manifests.errors import BadInput, bytes_of, refuse_irregular, replacing

NAME = "SHA256SUMS"


def text(contents: Mapping[str, bytes]) -> bytes:
    """The file's text for files of these names and contents."""
    return "".join(f"{hashlib.sha256(data).hexdigest()}  {name}\n" for name, data in contents.items()).encode()


def write_together(folder: Path, contents: Mapping[str, bytes]) -> None:
    """Write files of these names and contents, each replaced in one piece, and SHA256SUMS after them."""
    for name, data in {**contents, NAME: text(contents)}.items():
        with replacing(folder / name) as f:
            f.write(data)


def read(folder: Path) -> dict[str, str]:
    """SHA-256 by name of the files that the folder's SHA256SUMS lists; empty where it has none. Raises BadInput."""
    path = folder / NAME
    refuse_irregular(path, "delete it")
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as e:
        raise BadInput(f"{path}: cannot be read as text; put it back from a copy, or delete it") from e
    return {name: sha256 for sha256, _, name in (line.partition("  ") for line in lines)}


def checked(path: Path, remedy: str) -> bytes:
    """What the file holds. Raises BadInput, which ends in `remedy`, where it cannot be read, or where it is not the one
    that the SHA256SUMS beside it lists."""
    data = bytes_of(path, remedy)
    if not is_as_written(path, hashlib.sha256(data).hexdigest()):
        raise BadInput(f"{path}: was changed or damaged after it was written, as {NAME} beside it shows; {remedy}")
    return data


def is_as_written(path: Path, sha256: str) -> bool:
    """Whether the file, whose digest is `sha256`, is the one that the SHA256SUMS beside it lists, if that lists it."""
    return read(path.parent).get(path.name, sha256) == sha256
