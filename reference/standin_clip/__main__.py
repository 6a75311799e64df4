"""Train the stand-in CLIP: python -m reference.standin_clip."""

from dataclasses import replace
from pathlib import Path

import tyro

from data_manifests.errors import cli_errors
from data_manifests.json_files import json_object
from reference.kernels import Kernels, start_again_for
from reference.standin_clip.training import make
from reference.standin_clip.weights import FOLDER, SETTINGS


def main(out: Path = FOLDER, seed: int = SETTINGS.seed, kernels: Kernels = "fastest") -> None:
    """Train the stand-in CLIP, or find it trained.

    Args:
        out: folder for its weights and their JSON file; `--clip phantom` looks in the default one.
        seed: decides its first weights and what it learns from; `--clip phantom/SEED` takes it.
        kernels: the machine's fastest, or portable; a run with `--kernels portable` takes a stand-in that has them too.
    """
    start_again_for(kernels)
    path = make(out, replace(SETTINGS, seed=seed))
    about = path.with_suffix(".json")
    zero_shot = json_object(about, "delete it and its weights, and give this command again")["held_out_people"][
        "zero_shot"
    ]
    for name, modalities in zero_shot.items():
        figures = ", ".join(f"{m} {f['accuracy']:.1%} (AUC {f['auc']:.3f})" for m, f in modalities.items())
        print(f"zero-shot accuracy on people held out, captions {name}: {figures}")
    print(path)


if __name__ == "__main__":
    with cli_errors():
        tyro.cli(main, prog="python -m reference.standin_clip")
