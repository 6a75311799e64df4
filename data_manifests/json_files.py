"""The one reader and writer of JSON files that are read again.

What is written holds the SHA-256 of all else that it says, under a key of its own, so that a later reader notices what
the syntax cannot: a changed digit. A file without that key, as another program or an earlier version wrote it, is taken
as it is.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from data_manifests.errors import BadInput, bytes_of, first_line

SEAL = "sha256_of_the_rest"
LARGEST = 1 << 30  # bytes; a file with a hole can claim any size


def sealed(content: Mapping[str, Any]) -> bytes:
    """The text of an object, with its seal."""
    plain = json.loads(json.dumps(content))
    return (json.dumps(plain | {SEAL: _digest(plain)}, indent=1, ensure_ascii=False) + "\n").encode()


def json_object(path: Path, remedy: str) -> dict[str, Any]:
    """The object in a JSON file, without its seal. Raises BadInput, which ends in `remedy`, where the file holds none,
    or another one than was written."""
    content = _object(path, "", _bytes(path, remedy), remedy)
    seal = content.pop(SEAL, None)
    if seal is not None and seal != _digest(content):
        raise BadInput(f"{path}: was changed or damaged after it was written; {remedy}")
    return content


def json_lines(path: Path, remedy: str) -> list[dict[str, Any]]:
    """The objects in a file that holds one a line, without what stands behind the last line's end: a killed process may
    have left the beginning of a line. Raises BadInput, which ends in `remedy`, for anything else."""
    *lines, _ = _bytes(path, remedy).split(b"\n")
    return [_object(path, f", line {number}", line, remedy) for number, line in enumerate(lines, 1)]


def _bytes(path: Path, remedy: str) -> bytes:
    if path.exists() and path.stat().st_size > LARGEST:
        raise BadInput(f"{path}: has {path.stat().st_size} bytes, far more than it can have to say; {remedy}")
    return bytes_of(path, remedy)


def _object(path: Path, place: str, data: bytes, remedy: str) -> dict[str, Any]:
    try:
        content = json.loads(data.decode("utf-8-sig"))
    except (ValueError, RecursionError) as e:
        raise BadInput(f"{path}{place}: not valid JSON ({first_line(e)}); {remedy}") from e
    if not isinstance(content, dict):
        raise BadInput(f"{path}{place}: not a JSON object; {remedy}")
    return content


def _digest(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
