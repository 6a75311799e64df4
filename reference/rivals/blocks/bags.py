"""What rows share that see three modalities in bags of patches: options, the network's last stages, training and test.

Shen, Huang, Tong: FaceBagNet. CVPRW 2019, doi 10.1109/CVPRW.2019.00203.
"""

from dataclasses import dataclass, replace
from typing import Literal, TypeVar

import torch
from torch import Tensor, nn

from data_manifests.errors import BadInput
from reference.batches import Batch
from reference.options import Count, Weight, reading
from reference.rivals import method
from reference.rivals.blocks.patches import (
    BLACK,
    LOTS,
    grid_crops,
    modal_erasing,
    random_view,
    resized,
    without,
)
from reference.rivals.blocks.restarts import restarted_rate
from reference.rivals.blocks.two_logits import cross_entropy, logit_difference
from reference.runs import HEADLINE
from reference.training import Training

SMALLEST_PATCH = 3  # of which a stem that halves twice leaves anything


@dataclass(frozen=True, kw_only=True)
class Options(method.Options):
    """What rows of bags of patches have beside every row's options."""

    resize: Count = 112
    """Side to which images are brought before patches are taken, in pixels."""

    places: Literal[1, 5, 9] = 9
    """Places of the grid at test: its centre, with a cross, or with the corners too."""

    mirrors: Literal[1, 2, 4] = 4
    """Mirrorings of each place at test: none, left to right, or upside down too."""

    width: int = 64
    """Channels of the stem; all other widths grow and shrink with it."""

    erasing: Literal["patch", "features", "none"] = reading("features", table="patch", released="patch")
    """R1: training loses modalities as pixels of the patch, as features before they meet, or not at all."""

    erase_probability: float = reading(0.5)
    """R2: share of the training samples that lose one modality or two."""

    patch: int = reading(48)
    """R3: side of the square that the network sees, in pixels of the resized image."""

    together: bool = reading(False)
    """R4: whether a sample's three modalities show the same place, mirrored and turned alike, in training."""

    distortions: bool = reading(True, table=False)
    """R5: whether training mirrors, turns and coarsens each image."""

    last_place: Literal["edge", "short"] = reading("edge", released="short")
    """R6: the grid's last place ends where the image ends, or one pixel before."""

    rate: Literal["cosine", "restarts"] = reading("restarts", table="cosine")
    """R7: the learning rate rises and falls as mmFAS's, or falls along a cosine in every cycle."""

    optimiser: Literal["adamw", "adam_l2", "sgd"] = reading("sgd", table="adamw")
    """R7: adamw decays weights apart from the gradient, adam_l2 adds the decay to the gradient; sgd has momentum."""

    learning_rate: float = reading(0.1, table=1e-4)
    """R7: highest learning rate, at the start of each cycle or the end of the warm-up."""

    weight_decay: float = reading(5e-4, table=1e-2)
    """R7: weight decay of all parameters."""

    batch_size: int = reading(128)
    """R7: samples a step, half of them bona fide; also used to evaluate."""

    epochs: int = reading(500, table=30)
    """R7: passes over the training split."""

    cycles: Count = reading(10)
    """R7: falls of the learning rate, where it restarts."""

    lowest_rate: Weight = reading(1e-3)
    """R7: learning rate at the end of each cycle, where it restarts."""

    def check(self) -> None:
        super().check()
        if self.resize > self.image_size:
            raise BadInput(
                f"--resize {self.resize}: the images have {self.image_size} pixels; give at most {self.image_size}"
            )
        largest = self.resize - (self.last_place == "short")
        if not SMALLEST_PATCH <= self.patch <= largest:
            raise BadInput(
                f"--patch {self.patch}: the images are resized to {self.resize} pixels; "
                f"give {SMALLEST_PATCH} to {largest}"
            )
        if self.width < 1 or self.width % 16:
            raise BadInput(
                f"--width {self.width}: the groups of its convolutions need a multiple of 16; give 16, 32, 48 or 64"
            )
        if not 0 <= self.erase_probability <= 1:
            raise BadInput(f"--erase-probability {self.erase_probability}: it is a share; give a number from 0 to 1")


def stage(channels: int, wider: int, stride: int) -> nn.Sequential:
    """Two of ResNet-18's blocks: (B, channels, H, W) to (B, wider, H / stride, W / stride)."""
    from torchvision.models.resnet import BasicBlock  # takes seconds that a finished run need not spend

    shortcut = None
    if stride > 1:
        shortcut = nn.Sequential(nn.Conv2d(channels, wider, 1, stride, bias=False), nn.BatchNorm2d(wider))
    return nn.Sequential(BasicBlock(channels, wider, stride, shortcut), BasicBlock(wider, wider))


class Head(nn.Module):
    """What follows where the modalities have met: (B, 6 w, H, W) to logits (B, 2), for w channels of the stem."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.stages = nn.Sequential(stage(6 * width, 4 * width, 2), stage(4 * width, 8 * width, 2))
        self.classifier = nn.Sequential(
            nn.Dropout(0.5), nn.Linear(8 * width, 4 * width), nn.ReLU(), nn.Linear(4 * width, 2)
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.stages(x).mean((2, 3)))


def intensities(rgb: Tensor, depth: Tensor, ir: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Images (B, 3, H, W) in [-1, 1] as these networks take them: from 0 to 1, the colours as blue, green, red."""
    return (rgb.flip(1) + 1) / 2, (depth + 1) / 2, (ir + 1) / 2


T = TypeVar("T", bound=Options)


class BagMethod(method.Method[T]):
    """A network of three modalities under cross-entropy: trained on random patches of which modalities are erased,
    scored by the mean logits of a grid of crops.

    The network takes images (B, 3, P, P) in [-1, 1] and, where features are erased, which modalities (B, 3) each sample
    keeps, and gives logits (B, 2): bona fide, attack.
    """

    def kept(self, count: int) -> Tensor:
        """Which modalities each of the samples keeps (count, 3)."""
        return modal_erasing(count, self.draws, self.options.erase_probability)

    def views(self, batch: Batch, training: Training) -> Batch:
        options, device, batch = self.options, batch.rgb.device, super().views(batch, training)
        lots = torch.rand(1 if options.together else 3, len(batch), LOTS, generator=self.draws, device=device)
        views = tuple(
            random_view(resized(x, options.resize), options.patch, of_modality, options.distortions)
            for x, of_modality in zip(batch.images, lots.expand(3, -1, -1), strict=True)
        )
        if options.erasing == "patch":
            views = without(views, self.kept(len(batch)), BLACK)
        rgb, depth, ir = views
        return replace(batch, rgb=rgb, depth=depth, ir=ir)

    def forward(self, batch: Batch) -> Tensor:
        kept = self.kept(len(batch)) if self.options.erasing == "features" else None
        return self.network(*batch.images, kept)

    def losses(self, output: Tensor, batch: Batch) -> dict[str, Tensor]:
        return {"loss": cross_entropy(output, batch.label)}

    def scores(self, output: Tensor) -> dict[str, Tensor]:
        return {HEADLINE: logit_difference(output)}

    def images_at_test(self, batch: Batch) -> tuple[Tensor, ...]:
        """The three images (B, 3, H, W) of which crops are taken, once they are resized."""
        return batch.images

    def predict(self, batch: Batch) -> dict[str, Tensor]:
        """Scores from the mean over all crops of their logits."""
        options = self.options
        of_modality = [
            grid_crops(
                resized(x, options.resize),
                options.patch,
                options.places,
                options.mirrors,
                options.last_place == "short",
            )
            for x in self.images_at_test(batch)
        ]
        logits = [self.network(*squares) for squares in zip(*of_modality, strict=True)]
        return self.scores(torch.stack(logits).mean(0))

    def schedule(self, optimiser: torch.optim.Optimizer, batch: Batch, training: Training) -> None:
        options = self.options
        if options.rate == "cosine":
            return super().schedule(optimiser, batch, training)
        for group in optimiser.param_groups:
            group["lr"] = restarted_rate(batch.progress, options.cycles, options.learning_rate, options.lowest_rate)
