"""CLIP fine-tuned on the captions of the two classes: MMDA's row "CLIP", "standard fine-tuning".

    python -m reference.rivals.clip_finetuned --index build/…/index.csv --sources CPS --targets W --clip phantom \\
        --run-dir build/runs/finetuned

The objective is FLIP's image-text one (Srivatsan et al., ICCV 2023): cross-entropy over the cosines of a sample with
each class's mean caption, everything trainable. Decisions of this project, since the paper names none: a sample is
the mean of its three images' features, batches are class-balanced, and the schedule is that of `reference.training`.
FLIP's own rate and decay, 1e-6, are the defaults.
"""

from dataclasses import dataclass
from pathlib import Path

import tyro

from reference import clip as clip_towers
from reference import environment
from reference.rivals import clip_zero_shot
from reference.rivals.clip_zero_shot import ClipOptions, open_classifier
from reference.rivals.loop import cross_entropy, logit_difference, train
from reference.training import command_errors


@dataclass(frozen=True, kw_only=True)
class Options(ClipOptions):
    """Fine-tune CLIP on some data sets of a protocol and score others."""

    batch_size: int = 24
    learning_rate: float = 1e-6
    weight_decay: float = 1e-6


def main() -> None:
    options = tyro.cli(Options, prog="python -m reference.rivals.clip_finetuned", description=__doc__)
    with command_errors():
        options.check()
        model, inputs = open_classifier(options, environment.pick_device(options.device))
        files = [Path(str(module.__file__)) for module in (clip_zero_shot, clip_towers)]
        train(options, Path(__file__), lambda: model, cross_entropy, logit_difference, files, inputs)


if __name__ == "__main__":
    main()
