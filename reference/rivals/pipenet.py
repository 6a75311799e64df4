"""PipeNet, a multimodal row of mmFAS Table 1.

Yang, Zhu, Fwu, Ye, You, Zhu: PipeNet: Selective Modal Pipeline of Fusion Network for Multi-modal Face Anti-spoofing.
CVPRW 2020, arXiv 2004.11744.

    python -m reference.rivals.pipenet --index build/…/index.csv --run-dir build/runs/pipenet

Colour, depth and infrared of a small square of a face each pass a pipeline, squeeze-and-excitation weighs its 128
channels, and two residual stages, mean pooling and two linear layers with dropout between judge all 384. In the
released code the three pipelines are one and the same: batch norm of the pixels and ResNet-18 up to its second stage,
with max pooling over 2 x 2. Patches, crops and the erasing of modalities are FaceBagNet's (CVPRW 2019).

    loss = cross-entropy of the two logits of a random patch
    score = difference of the two logits, each the mean over 36 crops: nine places, four mirrorings

Limited frame vote: a recording's score is the mean over its frames' probabilities p of bona fide, without

    sigma     those farther than 3 standard deviations from their mean
    mad       those farther than 3 * 1.4826 median absolute deviations from their median
    trimmed   the tenth with the lowest and the tenth with the highest

Original input: 112 x 112 pixels of each modality from 0 to 1, colours as blue, green, red, of which squares of 24.
Released class 1 is bona fide, here class 0.

Parameters: 11 970 272 on the path. The original's module holds 123 697 040. It builds pipelines that its forward pass
does not take, an Xception (23 837 904), an SENet-154 of one block a stage (35 049 368) and two SE-ResNeXt (16 790 280
and 25 042 776), and the rest of ResNet-18: its third stage (2 099 712), its fourth (8 393 728) and its 1000 classes
(513 000).

Readings (R1 to R7 are FaceBagNet's, whose file argues for them; what differs is said here):

  R0  First weights of the pipelines' ResNet-18: fresh ones in every preset, as mmFAS trained all models from scratch;
      `--weights torchvision` begins from ImageNet's, as the authors did.
  R1  Erased modalities are black patches in the code; what the paper erases is not known here.
  R3  Patches of 24 pixels, the default of the code's program. Its grid then shows only the middle of a face: places 20,
      44 and 68, up to pixel 92 of 112.
  R7  The code's 5 cycles have 50 epochs each, from 0.1 to 0.00001, with batches of 256.
  R8  Pipelines. The paper wants one for each modality, and its table of them was not accessible. The code leaves it at
      one for all three (`--pipelines shared`: `table`, because it is what was run, and `released`). `own`, of
      `described`, takes the same pipeline three times, each with weights of its own (13 336 428 parameters in all).
  R9  At test, and never in training, the code leaves out of each image the rows and columns that hold nothing brighter
      than 7 of 255, and takes the colour out of the RGB image. That training and test differ looks like an oversight:
      `--test-images as_trained` is the default, `lit_and_grey` is `released`.
  R10 Tables score frames, so `table` has no vote. Where there is one (`sigma`, the code's for what it submits),
      the score of every frame is its recording's vote in its set, and rates still count frames.
  R11 The code takes far frames out of the list that it walks along, and so never looks at the frame behind one that it
      has taken out: of two far frames in a row the second stays. `--vote-skips` does the same (`released`).

What the code does otherwise, too small for a reading, beside what FaceBagNet's file lists: its vote loses the first
frame of every recording but the first; its SENet.py does not parse as it is published, for a stray word behind an
`else:`, and was read without it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from data_manifests.errors import BadInput
from reference.batches import Batch
from reference.evaluation import Rows, Scores
from reference.options import reading
from reference.rivals import method
from reference.rivals.blocks import bags, start
from reference.rivals.blocks.bags import BagMethod, Head, intensities, stage
from reference.rivals.blocks.patches import resized, without
from reference.rivals.blocks.squeeze_excitation import SqueezeExcitation
from reference.rivals.blocks.start import FRESH, NONE, Start, StartedMethod
from reference.training import Training

REDUCTION = 16
WIDTH = 64  # channels of ResNet-18's stem
DEVIATIONS, MAD_TO_SD, TRIMMED = 3.0, 1.4826, 10  # of the vote; it trims one frame of ten at either end
DARK = 7  # of 255: the brightest grey of what a lit image leaves out
GREY = (0.299, 0.587, 0.114)  # of red, green and blue


@dataclass(frozen=True, kw_only=True)
class Options(bags.Options, start.Options):
    """Train and evaluate PipeNet on RGB, depth and infrared."""

    erasing: Literal["patch", "features", "none"] = reading("patch")
    """R1: training loses modalities as pixels of the patch, as features before they meet, or not at all."""

    patch: int = reading(24)
    """R3: side of the square that the network sees, in pixels of the resized image."""

    batch_size: int = reading(256, table=128)
    """R7: samples a step, half of them bona fide; also used to evaluate."""

    epochs: int = reading(250, table=30)
    """R7: passes over the training split."""

    cycles: int = reading(5)
    """R7: falls of the learning rate, where it restarts."""

    lowest_rate: float = reading(1e-5)
    """R7: learning rate at the end of each cycle, where it restarts."""

    pipelines: Literal["shared", "own"] = reading("own", table="shared", released="shared")
    """R8: one pipeline for the three modalities, or one for each."""

    test_images: Literal["as_trained", "lit_and_grey"] = reading("as_trained", released="lit_and_grey")
    """R9: images at test as in training, or without dark rows and columns and without colour."""

    vote: Literal["none", "sigma", "mad", "trimmed"] = reading("sigma", table="none")
    """R10: whether and how the frames of a recording vote on its score."""

    vote_skips: bool = reading(False, released=True)
    """R11: whether the vote never looks at the frame behind one that it has left out."""

    def check(self) -> None:
        super().check()
        if self.weights != NONE and self.width != WIDTH:
            raise BadInput(
                f"--width {self.width}: the weights of --weights {self.weights} are of {WIDTH} channels; give --width "
                f"{WIDTH}, or --weights {NONE}"
            )


def pipeline(width: int, begun: Start = FRESH) -> nn.Sequential:
    """One modality's pixels (B, 3, P, P) in [0, 1] to features (B, 2 w, P / 8, P / 8), for w channels of the stem: the
    first stages of ResNet-18, with the weights `begun` (R0)."""
    made = nn.Sequential(
        nn.BatchNorm2d(3),
        nn.Conv2d(3, width, 7, stride=2, padding=3, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(),
        nn.MaxPool2d(2, 2),
        stage(width, width, 1),
        stage(width, 2 * width, 2),
    )
    for module in made.modules():
        if isinstance(module, nn.Conv2d):  # as torchvision's ResNet begins
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    if begun.state is not None:
        from torchvision.models import resnet18

        whole = begun.into(resnet18())
        for place, part in ((1, whole.conv1), (2, whole.bn1), (5, whole.layer1), (6, whole.layer2)):
            made[place].load_state_dict(part.state_dict())
    return made


class PipeNet(nn.Module):
    """rgb, depth, ir (B, 3, P, P) in [-1, 1] to logits (B, 2): bona fide, attack.

    `kept` (B, 3) says whose features each sample keeps; None keeps all.
    """

    def __init__(self, width: int, shared: bool, begun: Start = FRESH) -> None:
        super().__init__()
        self.pipelines = nn.ModuleList(pipeline(width, begun) for _ in range(1 if shared else 3))
        self.excitations = nn.ModuleList(SqueezeExcitation(2 * width, REDUCTION) for _ in range(3))
        self.head = Head(width)

    def forward(self, rgb: Tensor, depth: Tensor, ir: Tensor, kept: Tensor | None = None) -> Tensor:
        pipelines = [*self.pipelines] if len(self.pipelines) == 3 else [self.pipelines[0]] * 3
        features = tuple(
            excite(encode(x))
            for x, encode, excite in zip(intensities(rgb, depth, ir), pipelines, self.excitations, strict=True)
        )
        if kept is not None:
            features = without(features, kept)
        return self.head(torch.cat(features, 1))


def grey(x: Tensor, weights: tuple[float, float, float] = GREY) -> Tensor:
    """x (B, 3, H, W), red, green and blue, to one plane (B, 1, H, W)."""
    return torch.einsum("bchw,c->bhw", x, x.new_tensor(weights))[:, None]


def lit(x: Tensor) -> Tensor:
    """An image (1, 3, H, W) in [-1, 1] without the rows and columns in which nothing is brighter than 7 of 255; the
    image itself when nothing is left. As released, the grey that counts takes red for blue."""
    bright = (255 * (grey(x, GREY[::-1])[0, 0] + 1) / 2).round() > DARK  # (H, W)
    return x[:, :, bright.any(1)][:, :, :, bright.any(0)] if bright.any() else x


def limited_frame_vote(scores: Tensor, rule: str = "sigma", skips: bool = False) -> Tensor:
    """Score () of a recording of which `scores` (N,) are its frames': their mean without the outer ones, by the rule
    sigma, mad or trimmed. `skips` never looks at the frame behind one that it has left out; trimmed skips none."""
    x = scores.double()
    if rule == "trimmed":
        cut = len(x) // TRIMMED
        return x.sort().values[cut : len(x) - cut].mean().to(scores.dtype)
    centre = x.mean() if rule == "sigma" else x.quantile(0.5)
    distances = (x - centre).abs()
    spread = distances.square().mean().sqrt() if rule == "sigma" else MAD_TO_SD * distances.quantile(0.5)
    out = distances > DEVIATIONS * spread
    if skips:
        for place in range(1, len(out)):
            out[place] &= ~out[place - 1]
    return x[~out].mean().to(scores.dtype)


def voted(scores: NDArray[np.float32], recordings: NDArray[np.int64], rule: str, skips: bool) -> NDArray[np.float32]:
    """For each frame (N,) the vote, a probability, of the recording (N,) that it belongs to; scores (N,) are log-odds,
    a recording's frames in their order."""
    probabilities, out = torch.from_numpy(scores).sigmoid(), np.empty_like(scores)
    for recording in np.unique(recordings):
        places = np.flatnonzero(recordings == recording)
        out[places] = limited_frame_vote(probabilities[places], rule, skips).item()
    return out


class Method(StartedMethod[Options], BagMethod[Options]):
    """PipeNet under cross-entropy; at test the frames of a recording may vote."""

    TRUNK = "resnet18"

    def build(self) -> nn.Module:
        return PipeNet(self.options.width, self.options.pipelines == "shared", self.start)

    def images_at_test(self, batch: Batch) -> tuple[Tensor, ...]:
        if self.options.test_images == "as_trained":
            return batch.images
        side = self.options.resize
        rgb, depth, ir = (torch.cat([resized(lit(image), side) for image in x.split(1)]) for x in batch.images)
        return grey(rgb).expand_as(rgb), depth, ir

    def evaluate(self, training: Training, sets: Mapping[str, Rows]) -> Scores:
        scores, options = super().evaluate(training, sets), self.options
        if options.vote == "none":
            return scores
        recordings = {name: training.faces.recording[rows] for name, rows in sets.items()}

        def of_set(name: str, heads: Mapping[str, NDArray[np.float32]]) -> dict[str, NDArray[np.float32]]:
            return {head: voted(x, recordings[name], options.vote, options.vote_skips) for head, x in heads.items()}

        return {name: of_set(name, heads) for name, heads in scores.items()}


if __name__ == "__main__":
    method.main(Method, Options, __doc__)
