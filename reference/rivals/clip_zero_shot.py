"""CLIP without any training: the row that MMDA's tables call CLIP, at its least.

    python -m reference.rivals.clip_zero_shot --index build/…/index.csv --targets W --clip phantom \\
        --run-dir build/runs/zero

Each class is the mean of its captions' L2-normalised text features; each sample the mean of the L2-normalised
features of its three images. The score is the cosine with the bona fide class minus that with the spoof class.
How the published row fuses modalities and what it was asked is stated nowhere; these are decisions of this project.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
import tyro
from torch import Tensor, nn

from reference import clip as clip_towers
from reference import environment, runs
from reference.captions import load_captions
from reference.clip import Clip, InputRange, load_clip, normalise
from reference.training import Training, command_errors, predict, prepare


@dataclass(frozen=True, kw_only=True)
class ClipOptions(Training):
    """What CLIP rows have beside every method's options."""

    clip: str = "openai"
    """CLIP's weights: openai, another open_clip MODEL/PRETRAINED, or phantom, the stand-in trained on phantom."""
    clip_weights: Path | None = None
    """A local file with the weights of --clip's architecture."""
    captions: str = "extended"
    """extended, templates, single, or a folder with spoof.txt and real.txt, one caption a line."""
    input_range: InputRange = "released"
    """(x - 127.5) / 128 as MMDA's code feeds it, or CLIP's own mean and deviation."""
    protocol: str = "official"


class ClipClassifier(nn.Module):
    """CLIP as a classifier of three images and two sets of captions."""

    def __init__(self, clip: Clip, captions: list[list[str]], input_range: InputRange) -> None:
        super().__init__()
        self.clip, self.captions, self.input_range = clip, captions, input_range

    def classes(self) -> Tensor:
        """(2, D), of length 1: spoof, bona fide."""
        texts = [F.normalize(self.clip.encode_text(sentences).float(), dim=-1).mean(0) for sentences in self.captions]
        return F.normalize(torch.stack(texts), dim=-1)

    def forward(self, rgb: Tensor, depth: Tensor, ir: Tensor) -> Tensor:
        """Images (B, 3, S, S) in [-1, 1]; cosines (B, 2) times CLIP's scale: bona fide, spoof."""
        pixels = 255 * (torch.cat([rgb, depth, ir]) + 1) / 2
        features = F.normalize(self.clip.encode_image(normalise(pixels, self.input_range)).float(), dim=-1)
        sample = F.normalize(torch.stack(features.chunk(3)).mean(0), dim=-1)  # (B, D)
        return self.clip.scale * (sample @ self.classes().T).flip(-1)


def open_classifier(options: ClipOptions, device: torch.device) -> tuple[ClipClassifier, dict[str, Any]]:
    """The model, and what else than options decides a run."""
    clip = load_clip(options.clip, options.clip_weights, device)
    clip.takes(options.image_size)
    captions = load_captions(options.captions)
    inputs = {"clip_sha256": clip.sha256, "caption_sentences": captions}
    return ClipClassifier(clip, captions, options.input_range).to(device), inputs


def run(options: ClipOptions) -> None:
    """Write the run folder: one epoch of scores, no weights. Raises BadInput for unusable input."""
    options.check()
    device = environment.pick_device(options.device)
    model, inputs = open_classifier(options, device)
    prepared = prepare(options, "clip_zero_shot", [Path(__file__), Path(str(clip_towers.__file__))], inputs)
    folder = prepared.run
    if folder.done:
        print(f"{options.run_dir}: already finished")
        return
    folder.load_checkpoint(device)  # there is none: what a killed process had written is cut off
    faces, sets = prepared.images()
    model.eval()

    def score(*images: Tensor) -> Tensor:
        cosines = model(*images)
        return cosines[:, 0] - cosines[:, 1]

    scores = {
        name: predict(score, faces, rows, options.batch_size, device, runs.missing_in(name))
        for name, rows in sets.items()
    }
    for name, rows in sets.items():
        folder.save_scores(name, 0, scores[name], faces, rows)
    folder.log({"epoch": 0, "sets": runs.evaluate(scores, {name: faces.bonafide[rows] for name, rows in sets.items()})})
    folder.finish({})
    print(f"{options.run_dir}: finished")


def main() -> None:
    options = tyro.cli(ClipOptions, prog="python -m reference.rivals.clip_zero_shot", description=__doc__)
    with command_errors():
        run(options)


if __name__ == "__main__":
    main()
