"""The stand-in's architecture and settings, and the file of its weights, which is named by all that decides them."""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from data_manifests.errors import BadInput
from reference.captions import CAPTION_SETS, load_captions
from reference.sources import sources

NAME = "stand-in CLIP"
FOLDER = Path("build/clip")
IMAGE_SIZE = 48

ARCHITECTURE: dict[str, Any] = {
    "embed_dim": 64,
    "vision_cfg": {"image_size": IMAGE_SIZE, "patch_size": 12, "width": 96, "head_width": 32, "layers": 3},
    "text_cfg": {"context_length": 24, "vocab_size": 49408, "width": 64, "heads": 4, "layers": 2},
}


@dataclass(frozen=True)
class Settings:
    """What decides the weights beside the sources; no command line sets it.

    Each of the `people` who are learned from, and of the `held_out` people whom the weights are measured on, has
    `recordings` recordings of one frame each, half of them bona fide.
    """

    people: int = 500
    held_out: int = 150
    recordings: int = 4
    steps: int = 700
    batch: int = 96
    learning_rate: float = 1e-3
    warmup: float = 0.1
    weight_decay: float = 0.1
    seed: int = 0


SETTINGS = Settings()


def place(folder: Path = FOLDER, settings: Settings = SETTINGS) -> Path:
    """Where the weights of these settings, captions and sources lie once they are trained."""
    # The module that trains is named and not imported, since it imports the towers, and the towers this file.
    files = sources("reference.standin_clip.training")
    captions = {name: load_captions(name) for name in CAPTION_SETS}
    identity = json.dumps([asdict(settings), ARCHITECTURE, captions, files], sort_keys=True)
    return folder / f"standin-{hashlib.sha256(identity.encode()).hexdigest()[:16]}.safetensors"


def find() -> Path:
    """The weights in build/clip. Raises `BadInput` with the command that trains them."""
    path = place()
    if not path.exists():
        raise BadInput(f"{path}: the stand-in CLIP is not there; make it with python -m reference.standin_clip")
    return path
