"""SSAN, a row of MMDA Tables 1 to 3, made for RGB.

Wang et al.: Domain Generalization via Shuffled Style Assembly for Face Anti-Spoofing. CVPR 2022, arXiv 2203.05340.
The variant R, on a ResNet-18; the variant M, with convolutions of its own and a map of depth as its target, is not
built here.

    python -m reference.rivals.ssan --index build/…/index.csv --run-dir build/runs/ssan --protocol official

ResNet-18 to its third stage sees the image. A convolution of stride 2 with batch norm and ReLU makes the content c of
its last map, 256 channels at 7 x 7 positions (at 224 x 224). The style begins with the first stage's map: convolutions
of stride 2 with instance norm bring it to the size of the second stage's, which is added, and then of the third's; a
last one, the largest value of each channel, and a linear layer with ReLU make a vector of 256 of it, and two linear
layers of that a scale g and a shift b for each channel of the content. Two blocks assemble a content and a style:

    x  ->  x + AdaIN(K2 * ReLU(AdaIN(K1 * x; g, b)); g, b),     AdaIN(x; g, b) = g (x - mean(x)) / deviation(x) + b

with mean and deviation over the positions of each channel of each sample, and 3 x 3 convolutions K1, K2. A convolution
of stride 2 with batch norm, and the mean over positions, make a feature of 512 of what comes out. f(c, s) is the
feature of a content and a style. A linear layer on the feature of a sample's own content and own style gives two
logits: that is all that happens at test. In training each content also meets another sample's style (R6).

    loss = cross-entropy of the two classes
         + mean_i -y_i cos(stop(f(c_i, s_i)), f(c_i, s_p(i))),   y_i = 1 where i and p(i) are of the same class, or -1
         + cross-entropy of the data sets, by a head on the mean of c over positions

where no gradient passes stop(·), and where the gradient of the last term is turned round before it reaches the content,
which so loses what tells the data sets apart. The original input is 256 x 256, RGB, (x - 127.5) / 128; the network
makes it of [-1, 1] itself.

Parameters with the preset `released` and three data sets, our counts:

    ResNet-18 to its third stage          2 782 784
    convolution and norm of the content     590 336
    feature's convolution and norm        1 180 672
    two classes                               1 026
    scale, shift                            131 072
    style: vector                            65 536
    style: three convolutions               958 464
    data sets: 65 792 and 771                66 563
    on the path                           5 776 453
    K1 and K2 of two blocks               2 359 296   held by the original and computed, but never used (R2)
    state of the original                 8 135 749

The 30 parameters of the preset `table`'s stem (S1, S2) stand in no published count.

Where the paper is not known to say otherwise, `described` is the code; the paper was not read again for this file.
Readings:

  R0  First weights of the trunk: `--weights torchvision` begins from ImageNet's, as the authors did, and as the tables'
      paper profile asks for; without it they are fresh.
  R1  The gradient of the third term: `--reversal reversed` turns it round, with Ganin's rising coefficient; `plain`
      does not, as the authors' code. Its layer is a module with a method `backward`, which PyTorch never calls, so that
      the content learns to tell the data sets apart. Did it call it, the code would count training steps up to the
      number of all of them, from 1 where we count from 0; its class's default of 4000 is not used.
  R2  `--convolutions live` is the block above. In the authors' block each line takes x again instead of what the line
      before made, which leaves x + AdaIN(x; g, b): `dead`. Their four convolutions get no gradient and are not built.
  R3  The variance of AdaIN divides by one less than the number of positions, as the code does; no formula says so.
      `--variance biased` divides by their number. At 7 x 7 they differ by one in fifty, at 2 x 2 by a third.
  R4  The input: (x - 127.5) / 128, which is the code's default, although its trunk was trained on images in ImageNet's
      mean and deviation; `--input-range imagenet` makes these, as the code does when told `--trans I`.
  R5  Batches: the code shuffles the recordings of all data sets together and takes one frame of each at random, with no
      regard to data sets or classes: `--sampling recordings`. The tables' lists hold three frames of each recording,
      and the preset `table` takes all of them in an epoch: `frames`. `balanced` takes equally many of each data set and
      class. A last batch of one frame is left out, since a batch norm may be unable to take statistics of it.
  R6  Whose style: the code permutes the batch at random, so that a sample may meet its own style, `--partners any`;
      `others` rules that out. No source has another rule.
  R7  Weights of the two further terms: 1 and 1, as in the code; the paper's, if it has others, are not known here.
  R8  Training is the code's: Adam at 1e-4 with weight decay 5e-5, batches of 16, 1200 epochs, the rate halved after
      every 500. An epoch being one frame of a recording, these are 400 passes over three frames of each. The preset
      `table` takes the 80 passes of MMDA's own training, and halves the rate after the same share of it, every 33.
  R9  Images are mirrored, which is the code's default (`--trans p`). Its other choices, brightness and contrast with
      cutout, are not built; nor is its cropping, of 1 to 1.4 times the face in training and 1.3 times at test, because
      an index holds too little of what surrounds a face.

A permuted batch has the statistics of the batch it was made of. The network therefore looks at each image once, where
the authors' looks at every image and at every partner's, and its batch norms move their running statistics as far as
two passes would (`TWICE`). The authors' script spreads a batch over two devices, each with statistics of its own; ours
is their network on one.

Of the two outputs the authors' second is bona fide. The score is the difference of logits, which orders frames as their
probability does. They average that over eight frames of a recording; the tables score each frame.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from data_manifests.errors import BadInput
from reference.batches import Batch, Sampler
from reference.options import Count, Weight, reading
from reference.rivals import method
from reference.rivals.blocks import domains, resnet18, stem
from reference.rivals.blocks.adaptive_norm import EPSILON, adaptive_instance_norm
from reference.rivals.blocks.domains import places
from reference.rivals.blocks.gradient_reversal import reversal_coefficient, reverse_gradient
from reference.rivals.blocks.imagenet_input import ImageNetInput
from reference.rivals.blocks.precision import at_least_float32
from reference.rivals.blocks.recordings import RecordingSampler
from reference.rivals.blocks.resnet18 import resnet18_trunk
from reference.rivals.blocks.start import FRESH, Start, StartedMethod
from reference.rivals.blocks.stem import SHARED_SCALE, Stem
from reference.rivals.blocks.step_rate import stepped_rate
from reference.rivals.blocks.two_logits import cross_entropy, logit_difference
from reference.runs import HEADLINE
from reference.training import Training

ASSEMBLIES = 2
DROPOUT = 0.5  # in the head of the data sets
TWICE = 1 - (1 - 0.1) ** 2  # a running average's share of the new after two steps of 0.1
LEAST_BATCH = 2  # of one frame a batch norm may be unable to take statistics (R5)
LEAST_SIZE = 33  # smaller images leave the content one position, which has no variance
UNTURNED = -1.0  # the coefficient with which a turned gradient is as it was


@dataclass(frozen=True, kw_only=True)
class Options(domains.Options, resnet18.Options, stem.Options):
    """Train and evaluate SSAN on RGB, or on three modalities through a stem."""

    protocol: str = "official"
    """Protocol of the index whose splits train, val and test are used."""

    reversal: Literal["reversed", "plain"] = reading("reversed", released="plain")
    """R1: whether the gradient of the data sets' cross-entropy is turned round before it reaches the content."""

    convolutions: Literal["live", "dead"] = reading("live", released="dead")
    """R2: whether the convolutions of the assembling blocks are used."""

    variance: Literal["unbiased", "biased"] = reading("unbiased")
    """R3: AdaIN's variance divides by one less than the number of positions, or by their number."""

    input_range: Literal["released", "imagenet"] = reading("released")
    """R4: the network takes (x - 127.5) / 128, or images with ImageNet's mean and deviation taken out."""

    sampling: Literal["recordings", "frames", "balanced"] = reading("recordings", table="frames")
    """R5: an epoch is a shuffle of the recordings, with a frame of each, or of all frames; or its batches hold equally
    many frames of each data set and class."""

    partners: Literal["any", "others"] = reading("any")
    """R6: whose style a content meets in training: any sample's of the batch, or another's than its own."""

    contrast_weight: Weight = reading(1.0)
    """R7: weight of the contrast between assemblies."""

    adversarial_weight: Weight = reading(1.0)
    """R7: weight of the data sets' cross-entropy."""

    halved_after: Count = reading(500, table=33)
    """R8: epochs after which the learning rate is halved, again and again."""

    optimiser: Literal["adamw", "adam_l2", "sgd"] = reading("adam_l2")
    """R8: adamw decays weights apart from the gradient, adam_l2 adds the decay to the gradient."""

    learning_rate: float = reading(1e-4)
    """R8: learning rate of the first epochs."""

    weight_decay: float = reading(5e-5)
    """R8: weight decay of all parameters."""

    batch_size: int = reading(16)
    """R8: samples a step; also used to evaluate."""

    epochs: int = reading(1200, table=80)
    """R8: passes over the recordings of the training split, or over its frames."""

    augmentation: Literal["none", "flip"] = reading("flip")
    """R9: flip mirrors each training sample with probability 1/2, all its modalities alike."""

    image_size: int = reading(256, table=224)
    """R9: side of the square images, in pixels."""

    @property
    def per_domain(self) -> bool:
        return self.sampling == "balanced"

    def check(self) -> None:
        super().check()
        if self.image_size < LEAST_SIZE:
            raise BadInput(
                f"--image-size {self.image_size}: the content would have one position, which has no variance; "
                f"give at least {LEAST_SIZE}"
            )
        if self.steps and not self.per_domain:
            raise BadInput(
                f"--steps {self.steps}: an epoch of --sampling {self.sampling} ends when all have come; "
                "give 0, or --sampling balanced"
            )


def _restyled(x: Tensor, scale: Tensor, shift: Tensor, biased: bool) -> Tensor:
    x = at_least_float32(x)  # differences from a mean, which bfloat16 would round away
    if biased:
        return scale[..., None, None] * F.instance_norm(x, eps=EPSILON) + shift[..., None, None]
    return adaptive_instance_norm(x, scale, shift)


def live_assembly(
    x: Tensor, scale: Tensor, shift: Tensor, first: Tensor, second: Tensor, biased: bool = False
) -> Tensor:
    """x + AdaIN(second * ReLU(AdaIN(first * x))), of x (B, C, H, W), with the style scale, shift (B, C).

    `first` and `second` (C, C, 3, 3) are convolutions with padding 1. `biased` divides the variance by H W (R3).
    """
    inner = _restyled(F.conv2d(x, first, padding=1), scale, shift, biased).relu()
    return x + _restyled(F.conv2d(inner, second, padding=1), scale, shift, biased)


def dead_assembly(x: Tensor, scale: Tensor, shift: Tensor, biased: bool = False) -> Tensor:
    """x + AdaIN(x), of x (B, C, H, W), with the style scale, shift (B, C): what the authors' block computes (R2)."""
    return x + _restyled(x, scale, shift, biased)


def style_contrast(own: Tensor, mixed: Tensor, same: Tensor) -> Tensor:
    """Mean () over samples of -y times the cosine of own and mixed (B, D); y is 1 where `same` (B,) is true, or -1.

    No gradient reaches `own`.
    """
    agreement = -F.cosine_similarity(own.detach(), mixed, dim=-1)
    return torch.where(same, agreement, -agreement).mean()


def style_partners(count: int, generator: torch.Generator, others: bool = False) -> Tensor:
    """A random permutation int64 (count,): the place of the sample whose style each sample meets.

    With `others` all samples stand in one random ring and each meets the one before it, none itself unless it is alone.
    """
    order = torch.randperm(count, generator=generator, device=generator.device)
    if not others:
        return order
    partners = torch.empty_like(order)
    partners[order] = order.roll(1)
    return partners


class SmallerInput(nn.Module):
    """An image in [-1, 1] to (x - 127.5) / 128 (R4)."""

    def forward(self, image: Tensor) -> Tensor:
        return SHARED_SCALE * image


class Assembly(nn.Module):
    """A block that gives a content (B, C, H, W) a style (B, C), (B, C); see `live_assembly` and `dead_assembly`."""

    def __init__(self, channels: int, options: Options) -> None:
        super().__init__()
        self.biased = options.variance == "biased"
        live = options.convolutions == "live"
        self.convolutions = nn.ModuleList(nn.Conv2d(channels, channels, 3, bias=False) for _ in range(2 * live))

    def forward(self, x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
        if not self.convolutions:
            return dead_assembly(x, scale, shift, self.biased)
        first, second = self.convolutions.parameters()
        return live_assembly(x, scale, shift, first, second, self.biased)


class Output(NamedTuple):
    """What the losses are computed from."""

    logits: Tensor
    """(B, 2): bona fide, attack, of each sample's content in its own style."""
    own: Tensor
    """(B, 8 widths): the feature of each sample's content in its own style."""
    mixed: Tensor
    """(B, 8 widths): the feature of its content in its partner's style."""
    domain: Tensor
    """(B, D): logits of the data sets."""
    partners: Tensor
    """(B,): the place of each sample's partner."""


def _halving(inside: int, outside: int, norm: type[nn.BatchNorm2d] | type[nn.InstanceNorm2d]) -> list[nn.Module]:
    return [nn.Conv2d(inside, outside, 3, stride=2, padding=1, bias=False), norm(outside)]


class SSAN(nn.Module):
    """rgb, depth, ir (B, 3, S, S) in [-1, 1] to logits (B, 2): bona fide, attack. `count` data sets train."""

    def __init__(self, options: Options, count: int, begun: Start = FRESH) -> None:
        super().__init__()
        low, middle, high, feature = (options.width * times for times in (1, 2, 4, 8))
        self.stem = Stem(options, SmallerInput() if options.input_range == "released" else ImageNetInput())
        self.trunk = resnet18_trunk(low, 3, begun)
        self.content = nn.Sequential(*_halving(high, high, nn.BatchNorm2d), nn.ReLU())
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = TWICE
        self.assemblies = nn.ModuleList(Assembly(high, options) for _ in range(ASSEMBLIES))
        self.feature = nn.Sequential(*_halving(high, feature, nn.BatchNorm2d))
        self.classes = nn.Linear(feature, 2)
        self.scale = nn.Linear(high, high, bias=False)
        self.shift = nn.Linear(high, high, bias=False)
        self.style = nn.Sequential(nn.Linear(high, high, bias=False), nn.ReLU())
        self.to_middle = nn.Sequential(*_halving(low, middle, nn.InstanceNorm2d), nn.ReLU())
        self.to_high = nn.Sequential(*_halving(middle, high, nn.InstanceNorm2d), nn.ReLU())
        self.to_style = nn.Sequential(*_halving(high, high, nn.InstanceNorm2d))
        self.domain = nn.Sequential(nn.Linear(high, high), nn.ReLU(), nn.Dropout(DROPOUT), nn.Linear(high, count))

    def encode(self, rgb: Tensor, depth: Tensor, ir: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Content (B, C, H, W), and the style's scale and shift (B, C), C four times the width."""
        low, middle, high = self.trunk(self.stem(rgb, depth, ir))
        joined = self.to_style(self.to_high(self.to_middle(low) + middle) + high)
        style = self.style(joined.amax((2, 3)))
        parts = (self.content(high), self.scale(style), self.shift(style))
        content, scale, shift = map(at_least_float32, parts)
        return content, scale, shift

    def assemble(self, content: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
        """The feature (B, 8 widths) of contents in styles."""
        for assembly in self.assemblies:
            content = assembly(content, scale, shift)
        return self.feature(content).mean((2, 3))

    def judge(self, feature: Tensor) -> Tensor:
        return self.classes(feature).flip(-1)  # the original counts attack, bona fide

    def forward(self, rgb: Tensor, depth: Tensor, ir: Tensor) -> Tensor:
        return self.judge(self.assemble(*self.encode(rgb, depth, ir)))

    def shuffled(self, rgb: Tensor, depth: Tensor, ir: Tensor, partners: Tensor, coefficient: float) -> Output:
        """As the loss needs it: each content also in the style of its partner (B,), and the data sets' logits, whose
        gradient is multiplied by -coefficient on its way to the content."""
        content, scale, shift = self.encode(rgb, depth, ir)
        own = self.assemble(content, scale, shift)
        mixed = self.assemble(content, scale[partners], shift[partners])
        invariant = reverse_gradient(content.mean((2, 3)), coefficient)
        return Output(self.judge(own), own, mixed, self.domain(invariant), partners)


class Method(StartedMethod[Options]):
    """SSAN: contents in their own styles are judged, and in those of others held to their class."""

    TRUNK = resnet18.TRUNK
    network: SSAN

    def build(self) -> nn.Module:
        return SSAN(self.options, len(self.domains), self.start)

    def forward(self, batch: Batch) -> Output:
        partners = style_partners(len(batch), self.draws, self.options.partners == "others")
        coefficient = reversal_coefficient(batch.progress) if self.options.reversal == "reversed" else UNTURNED
        return self.network.shuffled(*batch.images, partners, coefficient)

    def losses(self, output: Output, batch: Batch) -> dict[str, Tensor]:
        return loss(output, batch, self.domains, self.options)

    def scores(self, output: Tensor) -> dict[str, Tensor]:
        return {HEADLINE: logit_difference(output)}

    def predict(self, batch: Batch) -> dict[str, Tensor]:
        return self.scores(self.network(*batch.images))

    def sampler(self, training: Training) -> Sampler:
        options = self.options
        if options.sampling == "balanced":
            return super().sampler(training)
        every = np.arange(training.train.size)
        recording = training.faces.recording[training.train] if options.sampling == "recordings" else every
        return RecordingSampler(recording, options.batch_size, options.seed, LEAST_BATCH)

    def schedule(self, optimiser: torch.optim.Optimizer, batch: Batch, training: Training) -> None:
        for group in optimiser.param_groups:
            group["lr"] = stepped_rate(training.epoch, self.options.learning_rate, self.options.halved_after, 0.5)


def loss(output: Output, batch: Batch, known: Sequence[int], options: Options) -> dict[str, Tensor]:
    """The three terms and their weighted sum; `known` are the numbers of the data sets that train."""
    classes = cross_entropy(output.logits, batch.label)
    same = batch.label == batch.label[output.partners]
    contrast = style_contrast(at_least_float32(output.own), at_least_float32(output.mixed), same)
    adversarial = F.cross_entropy(at_least_float32(output.domain), places(batch.domain, known))
    total = classes + options.contrast_weight * contrast + options.adversarial_weight * adversarial
    return {"loss": total, "classes": classes, "contrast": contrast, "adversarial": adversarial}


if __name__ == "__main__":
    method.main(Method, Options, __doc__)
