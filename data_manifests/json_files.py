"""The one reader of JSON files."""

import json
from pathlib import Path
from typing import Any

from data_manifests.errors import BadInput, first_line


def json_object(path: Path, remedy: str) -> dict[str, Any]:
    """The object in a JSON file. Raises BadInput, which ends in `remedy`, where the file holds none."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as e:
        raise BadInput(f"{path}: cannot be read ({e.strerror}); {remedy}") from e
    except (ValueError, RecursionError) as e:
        raise BadInput(f"{path}: not valid JSON ({first_line(e)}); {remedy}") from e
    if not isinstance(content, dict):
        raise BadInput(f"{path}: not a JSON object; {remedy}")
    return content
