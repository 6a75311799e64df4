"""CLIP fine-tuned on the captions of the two classes: MMDA's row "CLIP", "standard fine-tuning".

    python -m reference.rivals.clip_finetuned --index build/…/index.csv --sources CPS --targets W --clip phantom \\
        --run-dir build/runs/finetuned

The objective is FLIP's image-text one (Srivatsan et al., ICCV 2023): cross-entropy over the cosines of a sample with
each class's mean caption, everything trainable. Decisions of this project, since the paper names none: a sample is
the mean of its three images' features, batches are class-balanced, and the schedule is that of `reference.training`.
FLIP's own rate and decay, 1e-6, are the defaults of all presets, since no other source describes this row.
"""

from dataclasses import dataclass

from torch import Tensor

from reference.batches import Batch
from reference.rivals import method
from reference.rivals.blocks import clip_classifier
from reference.rivals.blocks.two_logits import cross_entropy


@dataclass(frozen=True, kw_only=True)
class Options(clip_classifier.Options):
    """Fine-tune CLIP on some data sets of a protocol and score others."""

    batch_size: int = 24
    learning_rate: float = 1e-6
    weight_decay: float = 1e-6


class Method(clip_classifier.ClipMethod):
    """CLIP under cross-entropy."""

    def losses(self, output: Tensor, batch: Batch) -> dict[str, Tensor]:
        return {"loss": cross_entropy(output, batch.label)}


if __name__ == "__main__":
    method.main(Method, Options, __doc__)
