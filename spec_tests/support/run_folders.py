"""What a test reads from the folder of a finished run."""

import json
from pathlib import Path
from typing import Any

import numpy as np

_TIMES = {"seconds", "samples_per_second", "waiting_for_data", "evaluation_seconds"}


def lines(run_dir: Path) -> list[dict[str, Any]]:
    """metrics.jsonl, a line an epoch."""
    return [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]


def content(run_dir: Path, heads: bool = True) -> dict[str, Any]:
    """All of a run that an interruption must not change: weights, scores, and lines without their times. Without
    `heads` the scores are those of the headline alone."""
    whole: dict[str, Any] = {"weights": (run_dir / "model.safetensors").read_bytes()}
    for path in sorted((run_dir / "scores").iterdir()):
        with np.load(path, allow_pickle=False) as arrays:
            names = [name for name in arrays.files if heads or name not in ("heads", "head_scores")]
            whole[path.name] = {name: arrays[name].tobytes() for name in names}
    return whole | {"lines": [{k: v for k, v in line.items() if k not in _TIMES} for line in lines(run_dir)]}
