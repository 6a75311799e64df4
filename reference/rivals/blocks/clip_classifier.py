"""CLIP and captions as what a row starts from; and CLIP as a classifier of three images: each class is the mean of its
captions' features, a sample the mean of its images'."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reference.captions import load_captions
from reference.clip import Clip, InputRange, load_clip, normalise
from reference.reuse import Reusable
from reference.rivals import method
from reference.rivals.blocks.precision import at_least_float32
from reference.rivals.blocks.two_logits import logit_difference
from reference.runs import HEADLINE


@dataclass(frozen=True, kw_only=True)
class CaptionOptions(method.Options):
    """What rows have beside every row's options that start from CLIP and captions."""

    clip: str = "openai"
    """CLIP's weights: openai, another open_clip MODEL/PRETRAINED, or phantom, the stand-in trained on phantom."""
    clip_weights: Path | None = None
    """A local file with the weights of --clip's architecture."""
    captions: str = "extended"
    """extended, templates, single, or a folder with spoof.txt and real.txt, one caption a line."""
    protocol: str = "official"


@dataclass(frozen=True, kw_only=True)
class Options(CaptionOptions):
    """What rows have whose network is a `ClipClassifier`."""

    input_range: Literal["released", "clip"] = "released"
    """(x - 127.5) / 128 as MMDA's code feeds it, or CLIP's own mean and deviation."""


class ClipClassifier(nn.Module):
    """CLIP as a classifier of three images and two sets of captions."""

    def __init__(self, clip: Clip, captions: list[list[str]], input_range: InputRange) -> None:
        super().__init__()
        self.clip, self.captions, self.input_range = clip, captions, input_range

    def classes(self) -> Tensor:
        """(2, D), of length 1: spoof, bona fide."""
        texts = [
            F.normalize(at_least_float32(self.clip.encode_text(sentences)), dim=-1).mean(0)
            for sentences in self.captions
        ]
        return F.normalize(torch.stack(texts), dim=-1)

    def forward(self, rgb: Tensor, depth: Tensor, ir: Tensor) -> Tensor:
        """Images (B, 3, S, S) in [-1, 1]; cosines (B, 2) times CLIP's scale: bona fide, spoof."""
        # In training three images a sample go through the tower together; at test each by itself may be known already.
        groups = [torch.cat([rgb, depth, ir])] if self.training else [rgb, depth, ir]
        pixels = [normalise(255 * (x + 1) / 2, self.input_range) for x in groups]
        features = F.normalize(at_least_float32(torch.cat([self.clip.encode_image(x) for x in pixels])), dim=-1)
        sample = F.normalize(torch.stack(features.chunk(3)).mean(0), dim=-1)  # (B, D)
        classes = self.classes()
        with torch.autocast(sample.device.type, enabled=False):  # a hundred cosines: too coarse in bfloat16
            return self.clip.scale * (sample @ classes.T).flip(-1)


T = TypeVar("T", bound=CaptionOptions)


class CaptionMethod(method.Method[T]):
    """A row that starts from CLIP and the captions of the two classes, which both belong to the run's identity."""

    def __init__(self, options: T, device: torch.device) -> None:
        super().__init__(options, device)
        self.clip = load_clip(options.clip, options.clip_weights, device)
        self.clip.takes(options.image_size)
        self.captions = load_captions(options.captions)
        self.inputs = {"clip_sha256": self.clip.sha256, "caption_sentences": self.captions}


class ClipMethod(CaptionMethod[Options]):
    """A row whose score is the cosine with the bona fide class minus that with the spoof class, times CLIP's scale."""

    def build(self) -> nn.Module:
        return ClipClassifier(self.clip, self.captions, self.options.input_range)

    def reused(self) -> Sequence[Reusable]:
        return [(self.clip.model.visual, "forward"), (self.network, "classes")]

    def scores(self, output: Tensor) -> dict[str, Tensor]:
        return {HEADLINE: logit_difference(output)}
