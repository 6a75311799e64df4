"""The stand-in's architecture and settings, and the file of its weights, which is named by all that decides them."""

import hashlib
import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from data_manifests.errors import BadInput
from data_manifests.json_files import json_object
from reference.captions import CAPTION_SETS, load_captions
from reference.kernels import kernels
from reference.sources import sha256, sources

NAME, CHOICE = "stand-in CLIP", "phantom"  # in words, and for `--clip`
FOLDER = Path("build/clip")
IMAGE_SIZE = 48

ARCHITECTURE: dict[str, Any] = {
    "embed_dim": 64,
    "vision_cfg": {"image_size": IMAGE_SIZE, "patch_size": 12, "width": 96, "head_width": 32, "layers": 3},
    "text_cfg": {"context_length": 32, "vocab_size": 49408, "width": 64, "heads": 4, "layers": 2},
}


@dataclass(frozen=True)
class Settings:
    """What decides the weights beside the sources and the kernels; a command line sets the seed alone.

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
    identity = json.dumps([asdict(settings), ARCHITECTURE, captions, files, kernels()], sort_keys=True)
    return folder / f"standin-{hashlib.sha256(identity.encode()).hexdigest()[:16]}.safetensors"


def is_standin(clip: str) -> bool:
    """Whether `--clip` asks for the stand-in: `phantom`, or `phantom/SEED` for one that began otherwise."""
    return clip.partition("/")[0] == CHOICE


def settings_of(clip: str) -> Settings:
    """The settings of the stand-in that `--clip` asks for. Raises `BadInput`."""
    _, slash, seed = clip.partition("/")
    if slash and not seed.isdecimal():
        raise BadInput(f"--clip {clip}: {seed!r} is no seed of the stand-in; give {CHOICE}, or {CHOICE}/1 for seed 1")
    return replace(SETTINGS, seed=int(seed or SETTINGS.seed))


def command(clip: str) -> tuple[str, ...]:
    """What `python -m` runs to train that stand-in."""
    seed = settings_of(clip).seed
    return ("reference.standin_clip", *(("--seed", str(seed)) if seed != SETTINGS.seed else ()))


def find(clip: str = CHOICE) -> Path:
    """The weights in build/clip. Raises `BadInput` with the command that trains them."""
    path = place(settings=settings_of(clip))
    if not path.exists():
        raise BadInput(f"{path}: the stand-in CLIP is not there; make it with python -m {' '.join(command(clip))}")
    again = f"delete both, and make them again with python -m {' '.join(command(clip))}"
    about = path.with_suffix(".json")
    if json_object(about, again).get("sha256") != sha256(path):
        raise BadInput(f"{path}: is not the file that {about.name} describes; {again}")
    return path
