"""SA-FAS, a row of MMDA Tables 1 to 3: sources that may differ, and one direction from attack to bona fide in all.

Sun, Liu, Liu, Li, Chu: Rethinking Domain Generalization for Face Anti-spoofing: Separability and Alignment. CVPR 2023,
arXiv 2303.13662.

    python -m reference.rivals.sa_fas --index build/…/index.csv --run-dir build/runs/sa_fas

A ResNet-18 gives each face 512 features. Each of the E sources that train has a logistic head of its own, a weight
vector w_e and a bias. Faces of a source are judged by its own head alone, and features are pulled together by source
and class:

    loss = 1/E sum over sources of the mean BCE of its faces under its own head
           + 0.1 * supervised contrastive loss of two views, classes = source x liveness

    contrastive loss = t/b * mean over anchors i of -1/|P(i)| sum over p in P(i) of
                       log exp(z_i z_p / t) / (sum over a other than i of exp(z_i z_a / t)),     t = 0.1, b = 0.07

with z the features divided by their length, and P(i) all other views of the anchor's class. The heads themselves are
aligned by projected gradient descent (PG-IRM): from epoch 20 on, after every step of the optimiser, each head turns a
little towards the one that points most differently, as all of them were before, and keeps its length and its bias:

    w_e  <-  |w_e| * unit(alpha * unit(w_e) + (1 - alpha) * unit(w_f)),     f = argmin of cos(w_e, w_f),  alpha = 0.995

The score is the mean of all heads' probabilities. A training face is seen twice, each time turned by an angle of its
own, cropped to a random square of 0.2 to 1 of its area and enlarged again, and mirrored or not. The original input is
RGB at 256 x 256 with ImageNet's mean and standard deviation taken out.

Parameters with three sources and the preset `released`, our counts (the stem of preset `table` has 30 more):

    ResNet-18 without its linear layer  11 176 512
    three heads                              1 539   512 weights and a bias each
    on the path                         11 178 051
    bn_scale                                     2   these two are computed and then replaced by ones, times the
    fc_scale                                   513   scale that the command line gives, 1
    proj                                   262 656   never called
    state of the original               11 441 222

Readings (the paper's settings are recalled, and are those of the code's command line; its text was not read again, and
where it is silent `described` is the code):

  R0  First weights of the trunk: the authors began from ImageNet's, `--weights torchvision`. Without them they are
      fresh ones, torchvision's as the original's.
  R1  When heads are aligned, and how far: from epoch 20, alpha 0.995. The authors' script of a search tries alpha 0.99
      and 0.999, and to begin at 0 and 10. It is not known which numbers the paper's tables are of. The code aligns
      exactly three heads; its step for two is there and not called. Ours takes any number; one head stays as it is.
      The code adds 1e-10 to the lengths that it divides by, ours does not.
  R2  The weight of the contrastive loss, 0.1; the script tries 0.4 to 0.6.
  R3  Its temperatures: 0.1, and the factor 0.1 / 0.07, with which the loss is written in the code that it is from.
      `--base-temperature` equal to `--temperature` leaves the factor out. The script tries 0.07 as a temperature. An
      anchor without another view of its class, which two views exclude, is left out.
  R4  Crop at test: a square of 0.9 of the image's area. The code takes it at a random place of a face as its
      detector cut it out, so that a score is another one each time, unless the face is much higher than wide, where
      its crop falls back to the middle: `--test-crop random`. The presets `table` and `described` take the middle.
  R5  Training views: angles up to 180 degrees, areas from 0.2. The script tries no angle at all. The code turns with
      the nearest pixel, before it crops; `--turning bilinear` mixes four. It crops a face in its own resolution and
      resizes once, where ours crops the square image; it rounds to whole grey values after both. All three modalities
      of a view are turned and cropped alike. The code mirrors last, ours first, which is the same by chance.
  R6  Normalisation: ImageNet's in every preset, which the code takes with ImageNet's weights; with other weights it
      takes mean and standard deviation 0.5, `--normalise half`.
  R7  Training: SGD with momentum 0.9, weight decay 5e-4, rate 0.005, halved after every 40 epochs, 100 epochs, batches
      of 96. Where OULU is the target the code triples both numbers of epochs, and not that of R1: give `--epochs 300
      --halve-every 120`. The script tries rates from 0.01 to 0.02, and batches of 128.
  R8  What an epoch is: the code shows one random frame of each video, in an order of chance and without a balance of
      sources or classes, `--sampling recordings`. The preset `table` shows every frame of the tables' lists so,
      `frames`. `balanced` holds equally many of each source and class. The code's filter of splits is commented out, so
      that it trains on all videos of a source, and tests on all of the target; ours keeps to the index's splits.
  R9  A source without a face in a batch adds nothing to the loss, and is counted in its mean, as in the code.
  R10 Losses are computed from logits: the same as of probabilities, whose logarithms the code cuts off at -100.
      The script of the search also tries to multiply logits by 0.5, which is not built.
  S1 to S4 are the readings of blocks/stem.py.

The code also scores one random frame of each video at test, and picks the best epoch by the target's own scores; which
images are scored, and how an epoch is chosen, is the tables' here.
"""

import math
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from data_manifests.errors import BadInput
from reference.batches import BLACK, Batch, Sampler, ShuffledSampler
from reference.options import Count, CountOrNone, Weight, option, reading
from reference.rivals import method
from reference.rivals.blocks import domains, resnet18, stem
from reference.rivals.blocks.aligned_heads import aligned_heads
from reference.rivals.blocks.domains import places
from reference.rivals.blocks.imagenet_input import ImageNetInput
from reference.rivals.blocks.precision import at_least_float32
from reference.rivals.blocks.recordings import RecordingSampler
from reference.rivals.blocks.resnet18 import resnet18_trunk
from reference.rivals.blocks.start import FRESH, Start, StartedMethod
from reference.rivals.blocks.stem import Stem
from reference.rivals.blocks.step_rate import stepped_rate
from reference.runs import HEADLINE
from reference.training import Training

Output = tuple[Tensor, Tensor]


@dataclass(frozen=True, kw_only=True)
class Options(stem.Options, domains.Options, resnet18.Options):
    """Train and evaluate SA-FAS on RGB, depth and infrared put side by side."""

    align_from: CountOrNone = reading(20)
    """R1: epochs before the first alignment of heads."""

    alpha: float = reading(0.995)
    """R1: share of its own direction that a head keeps when it is aligned; 1 leaves all heads as they are."""

    contrast: Weight = reading(0.1)
    """R2: weight of the contrastive loss."""

    temperature: float = reading(0.1)
    """R3: what cosines are divided by in the contrastive loss."""

    base_temperature: float = reading(0.07)
    """R3: the contrastive loss is multiplied by --temperature divided by this."""

    test_crop: Literal["centred", "random"] = reading("centred", released="random")
    """R4: where the square is that is scored: in the middle, or at a random place."""

    test_area: float = reading(0.9)
    """R4: its share of the image's area."""

    rotation: Weight = reading(180.0)
    """R5: training views are turned by up to so many degrees to either side; 0 turns none."""

    turning: Literal["nearest", "bilinear"] = reading("nearest")
    """R5: pixels of a turned view are the nearest of the image, or mixed of four."""

    least_area: float = reading(0.2)
    """R5: the smallest share of the image's area that a training view shows; 1 always shows all of it."""

    normalise: Literal["imagenet", "half"] = reading("imagenet")
    """R6: mean and standard deviation that are taken out of an image in [0, 1]: ImageNet's, or 0.5 of all channels."""

    sampling: Literal["frames", "recordings", "balanced"] = reading("recordings", table="frames")
    """R8: an epoch is a shuffle of all frames, or of one random frame of each recording, or balanced batches."""

    halve_every: Count = reading(40)
    """R7: epochs after which the learning rate is halved, again and again."""

    optimiser: Literal["adamw", "adam_l2", "sgd"] = reading("sgd")
    """R7: sgd has momentum 0.9; adamw decays weights apart from the gradient, adam_l2 adds the decay to it."""

    learning_rate: float = reading(0.005)
    """R7: learning rate of the first epochs."""

    weight_decay: float = reading(5e-4)
    """R7: weight decay of all parameters."""

    batch_size: int = reading(96)
    """R7: samples a step, each of which is seen in two views; also used to evaluate."""

    epochs: int = reading(100)
    """R7: how often an epoch's frames (R8) are shown."""

    augmentation: Literal["none", "flip"] = reading("flip")
    """R5: flip mirrors each training view with probability 1/2, all its modalities alike."""

    image_size: int = reading(256, table=224)
    """R5: side of the square images and of what is cropped and enlarged of them, in pixels."""

    protocol: str = "official"

    @property
    def per_domain(self) -> bool:
        return self.sampling == "balanced"

    def check(self) -> None:
        super().check()
        if not 0 <= self.alpha <= 1:
            raise BadInput(f"--alpha {self.alpha}: it is a share; give a number from 0 to 1")
        for name in ("temperature", "base_temperature"):
            if not 0 < getattr(self, name) < math.inf:
                raise BadInput(f"{option(name)} {getattr(self, name)}: give a finite number above 0")
        for name in ("test_area", "least_area"):
            if not 0 < getattr(self, name) <= 1:
                raise BadInput(f"{option(name)} {getattr(self, name)}: it is a share; give one above 0, at most 1")
        if self.steps and not self.per_domain:
            raise BadInput(
                f"--steps {self.steps}: an epoch of --sampling {self.sampling} shows all there is; give 0, or "
                "--sampling balanced"
            )


# What training does to the images


def random_boxes(count: int, side: int, least: float, most: float, generator: torch.Generator) -> Tensor:
    """Random squares within an image of `side` pixels: int64 (count, 3) of top, left and side.

    The share of the image's area is uniform between `least` and `most`, its root rounded to whole pixels, 1 at least;
    every place that the square has room for is as likely. On the generator's device.
    """
    lots = torch.rand(count, 3, generator=generator, device=generator.device)
    sides = (side * (least + (most - least) * lots[:, 0]).sqrt()).round().clamp(min=1)  # (count,)
    starts = lots[:, 1:] * (side + 1 - sides)[:, None]
    return torch.cat([starts, sides[:, None]], 1).long()


def centred_boxes(count: int, side: int, area: float) -> Tensor:
    """As `random_boxes`, all of the share `area` and in the middle, a pixel to the upper left where there is none."""
    box = max(1, round(side * area**0.5))
    start = (side - box) // 2
    return torch.tensor([[start, start, box]]).expand(count, -1)


def enlarged_boxes(x: Tensor, boxes: Tensor) -> Tensor:
    """The square boxes (B, 3) of images x (B, C, S, S), as `random_boxes` gives them, enlarged to S pixels: bilinear
    between the centres of the square's own pixels, and at its border the outermost ones."""
    side = x.shape[-1]
    starts, sides = boxes[:, :2, None].to(x), boxes[:, 2:, None].to(x)
    centres = torch.arange(side, device=x.device) + 0.5
    within = (centres * sides / side - 0.5).clamp(min=0).minimum(sides - 1)  # (B, 1, S)
    down, across = ((2 * (starts + within) + 1) / side - 1).unbind(1)  # (B, S) each, in [-1, 1]
    grid = torch.stack(torch.broadcast_tensors(across[:, None, :], down[:, :, None]), -1)
    return F.grid_sample(x, grid, align_corners=False)


def turned_faces(x: Tensor, degrees: Tensor, by: str = "nearest") -> Tensor:
    """Images x (B, C, S, S) in [-1, 1] turned counter-clockwise about their middles by degrees (B,), black where they
    end. `by` is nearest, the nearest pixel, or bilinear."""
    angle = degrees.to(x).deg2rad()
    cos, sin, zero = angle.cos(), angle.sin(), torch.zeros_like(angle)
    rows = torch.stack([cos, -sin, zero], 1), torch.stack([sin, cos, zero], 1)
    grid = F.affine_grid(torch.stack(rows, 1), list(x.shape), align_corners=False)
    return F.grid_sample(x - BLACK, grid, mode=by, align_corners=False) + BLACK


# Losses, score


def mean_of_risks(logits: Tensor, place: Tensor, bonafide: Tensor) -> Tensor:
    """The mean over sources of the mean binary cross-entropy () of a source's samples under its own head.

    logits (B, E) of all heads, place (B,) int64 of each sample's source among the E, bonafide (B,): 1 = bona fide. A
    source without samples adds 0.
    """
    own = logits.gather(1, place[:, None]).squeeze(1)
    costs = F.binary_cross_entropy_with_logits(own, bonafide.to(logits), reduction="none")
    members = F.one_hot(place, logits.shape[1]).to(logits)  # (B, E)
    return (costs @ members / members.sum(0).clamp(min=1)).mean()


def supervised_contrast(
    features: Tensor, classes: Tensor, temperature: float = 0.1, base_temperature: float = 0.07
) -> Tensor:
    """Supervised contrastive loss () of features (N, D), which are divided by their lengths, and classes (N,).

    Of each anchor with others of its class: minus the mean, over those, of the logarithm of their share in the sum of
    exp(cosine / temperature) over all but the anchor; averaged over anchors, times temperature / base_temperature. 0
    without any such anchor. Khosla et al., arXiv 2004.11362, Eq. 2, with the factor of its code.
    """
    z = F.normalize(features)
    positives = (classes[:, None] == classes).fill_diagonal_(False)
    anchors = positives.any(1)
    positives = positives[anchors]
    log_shares = (z @ z.T / temperature).fill_diagonal_(-torch.inf)[anchors].log_softmax(1)
    means = log_shares.where(positives, 0).sum(1) / positives.sum(1)
    return -temperature / base_temperature * means.sum() / max(len(means), 1)


def mean_probability(logits: Tensor) -> Tensor:
    """The mean (B,) of the probabilities that the logits (B, E) of all heads mean."""
    return logits.sigmoid().mean(1)


# The network and its training


class SaFas(nn.Module):
    """rgb, depth, ir (B, 3, S, S) in [-1, 1] to features (B, 512) and bona fide logits (B, E) of the sources' heads."""

    def __init__(self, options: Options, sources: int, begun: Start = FRESH) -> None:
        super().__init__()
        self.stem = Stem(options, ImageNetInput() if options.normalise == "imagenet" else nn.Identity())
        self.trunk = resnet18_trunk(options.width, begun=begun)
        self.heads = nn.ModuleList(nn.Linear(8 * options.width, 1) for _ in range(sources))

    def forward(self, rgb: Tensor, depth: Tensor, ir: Tensor) -> Output:
        features = self.trunk(self.stem(rgb, depth, ir))[-1].mean((2, 3))
        return features, torch.cat([head(features) for head in self.heads], 1)


class Method(StartedMethod[Options]):
    """SA-FAS: separable sources, aligned heads."""

    TRUNK = resnet18.TRUNK

    def __init__(self, options: Options, device: torch.device) -> None:
        super().__init__(options, device)
        self.aligns = False  # whether heads are aligned after this step

    def build(self) -> nn.Module:
        return SaFas(self.options, len(self.domains), self.start)

    def losses(self, output: Output, batch: Batch) -> dict[str, Tensor]:
        features, logits = (at_least_float32(x) for x in output)
        options, place = self.options, places(batch.domain, self.domains)
        risk = mean_of_risks(logits, place, batch.bonafide)
        classes = 2 * place + batch.bonafide
        contrast = supervised_contrast(features, classes, options.temperature, options.base_temperature)
        return {"loss": risk + options.contrast * contrast, "risk": risk, "contrast": contrast}

    def scores(self, output: Output) -> dict[str, Tensor]:
        return {HEADLINE: mean_probability(at_least_float32(output[1]))}

    def views(self, batch: Batch, training: Training) -> Batch:
        """All samples of the batch, and then all of them again, each mirrored, turned and cropped by chance."""
        options, draws = self.options, self.draws
        twice = super().views(batch[torch.arange(len(batch), device=batch.rgb.device).repeat(2)], training)
        faces = torch.cat(twice.images, 1)  # (2 B, 9, S, S)
        if options.rotation:
            lots = torch.rand(len(faces), generator=draws, device=draws.device)
            faces = turned_faces(faces, options.rotation * (2 * lots - 1), options.turning)
        boxes = random_boxes(len(faces), options.image_size, options.least_area, 1.0, draws)
        return _with_faces(twice, enlarged_boxes(faces, boxes))

    def predict(self, batch: Batch) -> dict[str, Tensor]:
        count, side, area = len(batch), batch.rgb.shape[-1], self.options.test_area
        if self.options.test_crop == "random":
            boxes = random_boxes(count, side, area, area, self.test_draws)
        else:
            boxes = centred_boxes(count, side, area).to(batch.rgb.device)
        return super().predict(_with_faces(batch, enlarged_boxes(torch.cat(batch.images, 1), boxes)))

    def sampler(self, training: Training) -> Sampler:
        options = self.options
        if options.sampling == "balanced":
            return super().sampler(training)
        if options.sampling == "frames":
            return ShuffledSampler(training.train.size, options.batch_size, options.seed)
        return RecordingSampler(training.faces.recording[training.train], options.batch_size, options.seed)

    def schedule(self, optimiser: torch.optim.Optimizer, batch: Batch, training: Training) -> None:
        options = self.options
        for group in optimiser.param_groups:
            group["lr"] = stepped_rate(training.epoch, options.learning_rate, options.halve_every, 0.5)
        self.aligns = training.epoch >= options.align_from

    @torch.no_grad()
    def after_step(self, batch: Batch) -> None:
        if not self.aligns:
            return
        heads: Any = self.network.heads
        weights = aligned_heads(torch.cat([head.weight for head in heads]), self.options.alpha)
        for head, weight in zip(heads, weights, strict=True):
            head.weight.copy_(weight[None])


def _with_faces(batch: Batch, faces: Tensor) -> Batch:
    """The batch with other images, those of all modalities side by side (B, 9, S, S)."""
    rgb, depth, ir = faces.split(3, 1)
    return replace(batch, rgb=rgb, depth=depth, ir=ir)


if __name__ == "__main__":
    method.main(Method, Options, __doc__)
