"""IADG, a row of MMDA Tables 1 to 3: features whose style-sensitive correlations are whitened away.

Zhou, Zhang, Yao, Lu, Yi, Ding, Ma: Instance-Aware Domain Generalization for Face Anti-Spoofing. CVPR 2023, arXiv
2304.05640.

    python -m reference.rivals.iadg --index build/…/index.csv --run-dir build/runs/iadg

A convolution and three blocks of three make maps of 128 channels at a half, a quarter and an eighth of the image's
side; the first two are pooled to the third's side, 32 at 256 x 256, and the 384 channels together are the features x.
Every convolution, a dynamic block counting as one, is followed by instance norm without parameters and ReLU. Three
ideas stand on this trunk:

  - Dynamic kernels. The middle convolution of each block splits its channels in two halves. The second goes through an
    ordinary 3 x 3 convolution. Each channel of the first, of each sample, has a 3 x 3 kernel of its own, made of the
    channel's mean m over the map: s (w_k m + b_k) + t for the kernel's nine places k. A 1 x 1 convolution joins both.
  - Style assembly. Before an epoch the style of every training frame, the means and deviations of its 384 channels, is
    taken, and L of them are chosen for each class, each one farthest from those chosen before it. In training a
    sample's style becomes a mixture of the bases of its class, of weights drawn from a Dirichlet distribution of
    concentration 1 / L:   x <- x + deviation' (x - mean) / deviation + mean',   and that twice.
  - Asymmetric whitening. f is a 3 x 3 convolution with batch norm on x and on the styled x. Before an epoch the
    variance of each covariance of two channels of f is taken over a class's originals and styled samples of a batch,
    and averaged over batches. The 0.3 % of the entries of the largest variance are to vanish in bona fide samples,
    0.06 % in attacks.

    loss = CE(x) + 0.1 depth(x) + CE(f') + 0.1 depth(f') + whitening(f) + whitening(f'),   f' of the styled x,
    depth = mean squared error of a map that a second head predicts,
    whitening = the mean over chosen pairs of |covariance|, the mean over a class's samples, the mean of both classes.

No part of it looks at the data sets' names. The original's input is RGB at 256 x 256, (x - 127.5) / 127.5; its code can
also take HSV beside RGB, six channels, but none of its configurations does. Here the three channels of the stem take
RGB's place, whose thirty parameters are not counted below.

Parameters with the preset `released`, our counts:

    first convolution                 1 792
    three blocks                  1 233 480   of which the makers of kernels 3 x 22
    classifier                    1 918 850
    depth                           516 865
    f: convolution, batch norm    1 327 872   training alone
    on the path                   4 998 859   3 670 987 at test
    convolutions without use          3 096   1 x 1, 128 to 8 channels, one in each dynamic block; nothing calls them
    state of the original         5 001 955

Readings:

  R1  L: the code's configurations have 128 for Oulu-NPU as target, 64 for CASIA and for MSU, 256 for Replay-Attack.
      None of them is a target here; 64 is what two of four have. Where a class has fewer frames than L, its frames come
      again in the order of their choice: every one of them is a base, some more than once.
  R2  The Dirichlet distribution's concentration is 1 / L in every configuration: nearly all weight is on few bases.
  R3  The code takes no gradient through the mean and deviation that are replaced; `--content attached` does.
  R4  The code's covariances are mean products of two maps, from which no mean is subtracted, although its batch norm
      leaves each sample a mean of its own. The paper's formula was not read again; `--covariance centred` subtracts.
  R5  0.3 % and 0.06 % are of all 384 x 384 entries, 442 and 88, of which those on and below the diagonal cannot be
      chosen; `--share-of pairs` takes the shares of the 73 536 others.
  R6  Both heads learn from x and from f(styled x), which are different things, and are tested on x. The code does so;
      with `--final all` they see f alone, in training and at test.
  R7  The code's first epoch is plain: neither styles nor whitening. The same number says how often bases and masks are
      taken anew, which is every epoch. One configuration sets it to 0 and fails at a division by it; we take 0 at its
      word. The code does not forget an epoch's variances before the next one: their mean counts there as one batch
      among the new ones, `--variances kept`.
  R8  The code reads the depth maps of bona fide faces beside their images; no public source of them is known to us, and
      the tables do not say what took their place. `flat` is 1 everywhere; `sample` is the sample's own depth image,
      where it has one.
  R9  The depth map goes through instance norm, too: its mean is 0 before the ReLU, so that no map can be 1 everywhere,
      and flat ones are approached, not reached. `--depth-head plain` leaves the norm out.
  R10 Score: the code adds the mean of the depth map to the probability of bona fide. It then averages over the frames
      of a video, which is not done here: tables judge frames. `--score classifier` is the classifier alone. The code
      keeps the checkpoint of the best AUC on its target, judged several times an epoch; tables choose here.
  R11 Training: Adam with weight decay 1e-5, its rate 1e-4 divided by ten after every ten epochs, 50 epochs, by the
      code. Its epoch ends with the smaller one of the largest data sets of both classes; `--steps` (D1) decides here.
  R12 Batches: five of each class of three data sets (six for one target). The table takes six, for 36 are also nine of
      each class of two.
  R13 The original is trained at 256 x 256 without augmentation; the tables have 224 x 224 and flips. The map's side is
      an eighth of the image's, where the code pools to 32 whatever it is given.
  R14 First weights: Kaiming's normal ones for every convolution, as in the code; batch norm's scales uniform between
      0.02 and 1. The code passes its heads' options one place too far to the left, which happens to change nothing.
  R15 Bases come from the training split once; the code's from as many repetitions as make all data sets equally long,
      which only changes which style is likely to be drawn first. Covariances come from the batches of the epoch that
      begins; the code shuffles anew. The code tells classes apart by their halves of the batch, we by labels. Where a
      class has fewer frames than L the code repeats its first base.

The crops of the original's faces, of three sizes for three targets, belong to its files.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from data_manifests.errors import BadInput
from reference.batches import Batch
from reference.options import Count, CountOrNone, Weight, divisible, option, reading
from reference.rivals import method
from reference.rivals.blocks import domains, stem
from reference.rivals.blocks.adaptive_norm import adaptive_instance_norm, instance_statistics
from reference.rivals.blocks.precision import at_least_float32
from reference.rivals.blocks.stem import Stem
from reference.rivals.blocks.step_rate import stepped_rate
from reference.rivals.blocks.two_logits import cross_entropy, logit_difference
from reference.runs import HEADLINE
from reference.training import Training

STRIDE = 8  # of the map
SCALES = 3
MIDDLE = 196 / 64  # channels within a block, per channel of the first layer
ASSEMBLIES = 2
FACTOR = 0.1  # of the learning rate
CLASSES = 2  # bona fide, attack, as labels count them


@dataclass(frozen=True, kw_only=True)
class Options(stem.Options, domains.Options):
    """Train and evaluate IADG on one to three data sets."""

    width: Count = 64
    """Channels of the first layer; all others are in proportion."""

    pools: CountOrNone = 2
    """How often the classifier halves its map, which has an eighth of the image's side; 1 for images below 64."""

    statistics: CountOrNone = 0
    """Before an epoch styles and covariances are taken of so many of its frames, in whole batches; 0: of all."""

    depth_weight: Weight = 0.1
    """Weight of the depth losses."""

    styles: Count = reading(64)
    """R1: L, the number of base styles of each class."""

    concentration: Weight = reading(0.0)
    """R2: the Dirichlet distribution's, of every base style; 0 takes 1 / L."""

    content: Literal["detached", "attached"] = reading("detached")
    """R3: whether a gradient flows through the mean and deviation that a style replaces."""

    covariance: Literal["raw", "centred"] = reading("raw")
    """R4: mean products of two channels as they are, or after each sample's own means are subtracted."""

    bonafide_share: float = reading(0.003)
    """R5: the share of entries that whitening chooses in bona fide samples."""

    attack_share: float = reading(0.0006)
    """R5: the share of entries that whitening chooses in attacks."""

    share_of: Literal["matrix", "pairs"] = reading("matrix")
    """R5: the shares are of all entries of the matrix, or of its pairs of different channels, half as many."""

    final: Literal["styled", "all"] = reading("styled")
    """R6: what goes through the convolution f before it is judged: styled features alone, or all, at test too."""

    variances: Literal["fresh", "kept"] = reading("fresh", released="kept")
    """R7: an epoch's pairs are chosen by its own batches, or also by what the epochs before it had found."""

    plain_epochs: CountOrNone = reading(1)
    """R7: epochs at the start without styles and whitening."""

    depth_target: Literal["flat", "sample"] = reading("flat")
    """R8: the map of a bona fide face: 1 everywhere, or the sample's own depth image; an attack's is 0."""

    depth_head: Literal["normalised", "plain"] = reading("normalised")
    """R9: whether the depth map itself goes through instance norm before its ReLU."""

    score: Literal["both", "classifier"] = reading("both")
    """R10: the probability of bona fide plus the mean of the depth map, or the classifier's log-odds."""

    decay_every: Count = reading(10)
    """R11: epochs after which the learning rate is multiplied by 0.1, again and again."""

    optimiser: Literal["adamw", "adam_l2", "sgd"] = reading("adam_l2")
    """R11: adamw decays weights apart from the gradient, adam_l2 adds the decay to the gradient; sgd has momentum."""

    learning_rate: float = reading(1e-4)
    """R11: the learning rate at the start."""

    weight_decay: float = reading(1e-5)
    """R11: weight decay of all parameters."""

    epochs: int = reading(50)
    """R11: passes over the training split."""

    batch_size: int = reading(30, table=36)
    """R12: samples a step, equally many of each class of each data set; also used to evaluate."""

    image_size: int = reading(256, table=224)
    """R13: side of the square images, in pixels, a multiple of 8."""

    augmentation: Literal["none", "flip"] = reading("none", table="flip")
    """R13: flip mirrors each training sample with probability 1/2, all its modalities alike."""

    protocol: str = "official"
    """Protocol of the index whose splits train, val and test are used."""

    @property
    def side(self) -> int:
        """Of the map."""
        return divisible(self.image_size, STRIDE)

    @property
    def sees(self) -> str:
        return super().sees if self.depth_target == "flat" or "D" in super().sees else "RD"

    def check(self) -> None:
        super().check()
        for name in ("bonafide_share", "attack_share"):
            if not 0 < getattr(self, name) <= 1:
                raise BadInput(f"{option(name)} {getattr(self, name)}: it is a share; give a number above 0, at most 1")
        if self.side >> self.pools < 2:
            raise BadInput(
                f"--image-size {self.image_size}: --pools {self.pools} leave less than 2 x 2 cells to instance norm; "
                f"give at least {2 * STRIDE * 2**self.pools}, or fewer pools"
            )


def dynamic_kernels(x: Tensor, weight: Tensor, bias: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """The 3 x 3 kernel (B, C, 3, 3) of each channel of each sample of x (B, C, H, W), from its mean m.

    Place k, row by row, is scale (weight_k m + bias_k) + shift; weight and bias (9,), scale and shift ().
    """
    places = x.mean((2, 3))[:, :, None] * weight + bias
    return (scale * places + shift).unflatten(2, (3, 3))


def own_kernel_convolution(x: Tensor, kernels: Tensor) -> Tensor:
    """x (B, C, H, W) with each channel of each sample under its own kernel of kernels (B, C, 3, 3), at the same size:
    outside of the map there are zeros."""
    count, channels = x.shape[:2]
    as_one = x.reshape(1, count * channels, *x.shape[2:])
    out = F.conv2d(as_one, kernels.reshape(count * channels, 1, 3, 3), padding=1, groups=count * channels)
    return out.view_as(x)


def farthest_points(points: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Places (count,) int64 of points (N, D): the first drawn, each other one farthest from all before it.

    Of points equally far the first is taken. When all N have been taken they come again in the same order.
    """
    place = points.new_empty(()).random_(len(points), generator=generator).long()
    chosen, distance = [], points.new_full((len(points),), torch.inf)
    for _ in range(min(count, len(points))):
        chosen.append(place)
        distance = torch.minimum(distance, (points - points[place]).square().sum(1))
        distance[place] = -1  # a twin of it is not yet taken
        place = distance.argmax()
    return torch.stack([chosen[i % len(chosen)] for i in range(count)])


def dirichlet_weights(concentration: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """`count` draws (count, L) from the Dirichlet distribution of concentration (L,): positive, with sum 1."""
    return torch._sample_dirichlet(concentration.expand(count, -1), generator=generator)


def assembled_styles(weights: Tensor, label: Tensor, bases: Tensor) -> Tensor:
    """Mixtures (B, D), by weights (B, L), of the base styles of each sample's class: bases (2, L, D), label (B,)."""
    return torch.einsum("bl,bld->bd", weights, bases[label.long()])


def pair_covariances(x: Tensor, centred: bool = False) -> Tensor:
    """Covariances (B, C, C) of the channels of x (B, C, H, W) over its positions, divided by H W - 1; those above the
    diagonal, all others 0. Unless `centred` they are products of the maps with their means in them."""
    maps = x.flatten(2)
    if centred:
        maps = maps - maps.mean(2, keepdim=True)
    return (maps @ maps.mT / (maps.shape[2] - 1)).triu(1)


def sensitive_pairs(variance: Tensor, share: float, of_pairs: bool = False) -> Tensor:
    """Which pairs of channels, (C, C) bool, have the largest variance (C, C) of those above the diagonal.

    As many as `share` of the C C entries, or, with `of_pairs`, of those above the diagonal; at least one.
    """
    channels = len(variance)
    pairs = channels * (channels - 1) // 2
    count = int(share * (pairs if of_pairs else channels**2))
    above = torch.ones_like(variance, dtype=torch.bool).triu(1)
    places = variance.masked_fill(~above, -torch.inf).flatten().topk(min(max(count, 1), pairs)).indices
    chosen = torch.zeros_like(above).flatten()
    chosen[places] = True
    return chosen.view_as(above)


def whitening_loss(covariances: Tensor, label: Tensor, masks: Tensor) -> Tensor:
    """The mean () of both classes, each the mean over its samples of the mean absolute covariance of its chosen pairs.

    covariances (B, C, C), label (B,), 1 = attack, masks (2, C, C) bool of bona fide and attacks. A class without
    samples or without a chosen pair counts as 0.
    """
    masks = masks.to(covariances)
    chosen = masks.sum((1, 2)).clamp_min(1)
    of_class = []
    for number in range(len(masks)):
        own = covariances[label == number]
        of_class.append((own.abs() * masks[number]).sum() / chosen[number] / max(len(own), 1))
    return torch.stack(of_class).mean()


def depth_target(depth: Tensor, label: Tensor, side: int, kind: str) -> Tensor:
    """The map (B, side, side) that each sample should have (R8): 0 for attacks, label 1; for bona fide samples 1, or,
    for `kind` "sample", their image depth (B, 3, S, S) made smaller, black 0 and white 1. One without depth has 1."""
    faces = torch.ones_like(depth[:, 0, :side, :side])
    if kind == "sample":
        own = F.interpolate((depth[:, :1] + 1) / 2, (side, side), mode="bilinear", align_corners=False)[:, 0]
        faces = torch.where((depth > -1).any(dim=(1, 2, 3))[:, None, None], own, faces)
    return faces * (1 - label.to(faces))[:, None, None]


class DynamicKernels(nn.Module):
    """(B, C, H, W) to (B, C', H, W): half of the channels under kernels of their own, half under fixed ones."""

    def __init__(self, channels: int, out: int) -> None:
        super().__init__()
        self.mix, self.make = nn.Conv2d(1, 1, 1), nn.Conv2d(1, 9, 1)
        self.fixed = nn.Conv2d(channels // 2, channels // 2, 3, padding=1)
        self.join = nn.Conv2d(channels, out, 1)

    def forward(self, x: Tensor) -> Tensor:
        own, others = x.chunk(2, 1)
        weight, bias, scale, shift = map(self.get_parameter, ("make.weight", "make.bias", "mix.weight", "mix.bias"))
        kernels = dynamic_kernels(own, weight.flatten(), bias, scale.squeeze(), shift.squeeze())
        moved = own_kernel_convolution(own, kernels.to(own.dtype))
        return self.join(torch.cat([moved, self.fixed(others)], 1))


def normalised(convolution: nn.Module, channels: int) -> nn.Sequential:
    return nn.Sequential(convolution, nn.InstanceNorm2d(channels), nn.ReLU(inplace=True))


def convolved(channels: int, out: int) -> nn.Sequential:
    return normalised(nn.Conv2d(channels, out, 3, padding=1), out)


def block(channels: int, middle: int, out: int) -> nn.Sequential:
    """(B, C, H, W) to (B, C', H/2, W/2)."""
    return nn.Sequential(
        convolved(channels, out),
        normalised(DynamicKernels(out, middle), middle),
        convolved(middle, out),
        nn.MaxPool2d(2),
    )


class Judged(NamedTuple):
    """What both heads say of B samples."""

    logits: Tensor
    """(B, 2): bona fide, attack."""
    depth: Tensor
    """(B, S/8, S/8)."""


class Styled(NamedTuple):
    """What training sees besides."""

    judged: Judged
    """Of the styled features."""
    features: tuple[Tensor, Tensor]
    """Those to be whitened, (B, C, S/8, S/8): the original ones and the styled ones."""


Output = tuple[Judged, Styled | None]


class IADG(nn.Module):
    """rgb, depth, ir (B, 3, S, S) in [-1, 1] to logits (B, 2) and the depth map (B, S/8, S/8)."""

    means: Tensor
    deviations: Tensor
    masks: Tensor
    variances: Tensor
    counted: Tensor

    def __init__(self, options: Options) -> None:
        super().__init__()
        width, middle, self.side = options.width, int(options.width * MIDDLE), options.side
        narrow, channels = 2 * width, 6 * width
        self.detached, self.all_final = options.content == "detached", options.final == "all"
        self.concentration = options.concentration or 1 / options.styles
        self.stem = Stem(options, nn.Identity())
        self.first = convolved(3, width)
        self.blocks = nn.ModuleList(block(width if i == 0 else narrow, middle, narrow) for i in range(SCALES))
        halving = [nn.MaxPool2d(2) if i < options.pools else nn.Identity() for i in range(2)]
        self.classifier = nn.Sequential(
            convolved(channels, narrow),
            halving[0],
            convolved(narrow, 2 * narrow),
            halving[1],
            convolved(2 * narrow, 4 * narrow),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(4 * narrow, CLASSES),
        )
        last = nn.Conv2d(width, 1, 3, padding=1)
        self.depth = nn.Sequential(
            convolved(channels, narrow),
            convolved(narrow, width),
            normalised(last, 1) if options.depth_head == "normalised" else nn.Sequential(last, nn.ReLU(inplace=True)),
        )
        norm = nn.BatchNorm2d(channels)
        self.final = nn.Sequential(nn.Conv2d(channels, channels, 3, padding=1, bias=False), norm)
        for part in (self.first, self.blocks, self.classifier, self.depth, self.final):  # R14
            for module in part.modules():
                if isinstance(module, nn.Conv2d):
                    nn.init.kaiming_normal_(module.weight)
        nn.init.uniform_(norm.weight, 0.02, 1)
        self.register_buffer("means", torch.zeros(CLASSES, options.styles, channels))
        self.register_buffer("deviations", torch.zeros(CLASSES, options.styles, channels))
        self.register_buffer("variances", torch.zeros(CLASSES, channels, channels))  # R7: means over `counted` batches
        self.register_buffer("counted", torch.tensor(0))
        self.register_buffer("masks", torch.zeros(CLASSES, channels, channels, dtype=torch.bool))

    def features(self, rgb: Tensor, depth: Tensor, ir: Tensor) -> Tensor:
        """(B, C, S/8, S/8)."""
        x = self.first(self.stem(rgb, depth, ir))
        scales = []
        for each in self.blocks:
            x = each(x)
            scales.append(F.avg_pool2d(x, x.shape[-1] // self.side))
        return torch.cat(scales, 1)

    def judge(self, features: Tensor) -> Judged:
        return Judged(self.classifier(features), self.depth(features)[:, 0])

    def restyled(self, features: Tensor, label: Tensor, draws: torch.Generator) -> Tensor:
        """Features (B, C, H, W) with a style of their class, label (B,), added to each twice."""
        with torch.autocast(features.device.type, enabled=False):
            x = at_least_float32(features)
            bases = torch.cat([self.deviations, self.means], 2)
            for _ in range(ASSEMBLIES):
                weights = dirichlet_weights(bases.new_full((bases.shape[1],), self.concentration), len(x), draws)
                scale, shift = assembled_styles(weights, label, bases).chunk(2, 1)
                x = x + adaptive_instance_norm(x, scale, shift, detached=self.detached)
        return x

    def forward(self, rgb: Tensor, depth: Tensor, ir: Tensor) -> Judged:
        features = self.features(rgb, depth, ir)
        return self.judge(self.final(features) if self.all_final else features)

    def taught(self, batch: Batch, draws: torch.Generator) -> tuple[Judged, Styled]:
        """As `forward`, and what a style of its class makes of each sample."""
        features = self.features(*batch.images)
        styled = self.final(self.restyled(features, batch.label, draws))
        original = self.final(features)
        return (
            self.judge(original if self.all_final else features),
            Styled(self.judge(styled), (original, styled)),
        )


class Method(method.Method[Options]):
    """IADG under its six losses."""

    network: IADG

    def build(self) -> nn.Module:
        return IADG(self.options)

    def epoch(self, batch: Batch) -> int:
        """The epoch of a training batch, counted from 0."""
        return int(batch.progress * self.options.epochs + 1e-6)  # a step is more than that

    def forward(self, batch: Batch) -> Output:
        if self.network.training and self.epoch(batch) >= self.options.plain_epochs:
            return self.network.taught(batch, self.draws)
        return self.network(*batch.images), None

    def predict(self, batch: Batch) -> dict[str, Tensor]:
        return self.scores((self.network(*batch.images), None))

    def losses(self, output: Output, batch: Batch) -> dict[str, Tensor]:
        judged, styled = output
        options = self.options
        target = depth_target(batch.depth, batch.label, options.side, options.depth_target)

        def of(judged: Judged, name: str) -> dict[str, Tensor]:
            return {
                name + "classes": cross_entropy(judged.logits, batch.label),
                name + "depth": F.mse_loss(at_least_float32(judged.depth), target),
            }

        parts = of(judged, "")
        if styled:
            parts |= of(styled.judged, "styled_")
            for name, features in zip(("whitening", "styled_whitening"), styled.features, strict=True):
                covariances = pair_covariances(at_least_float32(features), options.covariance == "centred")
                parts[name] = whitening_loss(covariances, batch.label, self.network.masks)
        weights = {"depth": options.depth_weight, "styled_depth": options.depth_weight}
        loss = torch.stack([weights.get(name, 1.0) * part for name, part in parts.items()]).sum()
        return {"loss": loss, **parts}

    def scores(self, output: Output) -> dict[str, Tensor]:
        judged = output[0]
        if self.options.score == "classifier":
            return {HEADLINE: logit_difference(judged.logits)}
        probability = at_least_float32(judged.logits).softmax(1)[:, 0]
        return {HEADLINE: probability + at_least_float32(judged.depth).mean((1, 2))}

    def schedule(self, optimiser: torch.optim.Optimizer, batch: Batch, training: Training) -> None:
        rate = stepped_rate(self.epoch(batch), self.options.learning_rate, self.options.decay_every, FACTOR)
        for group in optimiser.param_groups:
            group["lr"] = rate

    def before_epoch(self, epoch: int, training: Training) -> None:
        """Choose the base styles, and with them the pairs of channels to be whitened."""
        if epoch < self.options.plain_epochs:
            return
        drawn = training.train[training.sampler.epoch(epoch)]  # (steps, batch)
        some = -(-self.options.statistics // self.options.batch_size)  # batches
        order = drawn[: some or None].ravel()
        self.network.eval()
        with torch.no_grad():
            self.choose_styles(training.stream(order if some else training.train))
            self.choose_pairs(training.stream(order))
        self.network.train()

    def choose_styles(self, batches: Iterable[Batch]) -> None:
        styles, label = [], []
        for batch in batches:
            styles.append(torch.cat(instance_statistics(self.network.features(*batch.images)), 1))
            label.append(batch.label)
        found, of_class = torch.cat(styles), torch.cat(label)
        for number in range(CLASSES):
            own = found[of_class == number]
            bases = own[farthest_points(own, self.options.styles, self.draws)]
            self.network.means[number], self.network.deviations[number] = bases.chunk(2, 1)

    def choose_pairs(self, batches: Iterable[Batch]) -> None:
        options, network = self.options, self.network
        if options.variances == "fresh":
            network.variances.zero_()
            network.counted.zero_()
        for batch in batches:
            features = network.features(*batch.images)
            both = torch.cat([features, network.restyled(features, batch.label, self.draws)])
            covariances = pair_covariances(network.final(both), options.covariance == "centred")
            for number in range(CLASSES):
                network.variances[number] += covariances[batch.label.repeat(2) == number].var(0)
            network.counted += 1
        network.variances /= network.counted
        for number, share in enumerate((options.bonafide_share, options.attack_share)):
            network.masks[number] = sensitive_pairs(network.variances[number], share, options.share_of == "pairs")


if __name__ == "__main__":
    method.main(Method, Options, __doc__)
