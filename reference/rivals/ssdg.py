"""SSDG, a row of MMDA Tables 1 to 3, made for RGB.

Jia, Zhang, Shan, Chen: Single-Side Domain Generalization for Face Anti-Spoofing. CVPR 2020, arXiv 2004.14043. The
variant on a ResNet-18; the one on MADDG's convolutions is not built here.

    python -m reference.rivals.ssdg --index build/…/index.csv --run-dir build/runs/ssdg --protocol official

ResNet-18 without its classifier, a linear layer from 512 to 512 with ReLU, and dropout (1/2) make a feature f, which
is normalised (R1). A linear layer whose weight is normalised (R2) gives two logits. In training a second head, of two
linear layers with ReLU and dropout between them, tells from f which data set a sample is from.

    loss = cross-entropy of the two classes
         + a * mean over the active triplets of (|f_i - f_j| - |f_i - f_k| + 0.1)
         + b * mean over the bona fide samples of cross-entropy of their data sets

A triplet is an anchor i, another sample j of its class and a sample k of another class, where all bona fide samples are
one class, and the attacks of each data set one of their own; it is active where its term is above 0. The gradient of
the last loss is turned round, and multiplied by 2 / (1 + exp(-10 p)) - 1, before it reaches f (R6): bona fide faces
become alike across data sets, attacks need not. That is the single side of the name. The original input is 256 x 256,
RGB, in [0, 1] with ImageNet's mean and deviation taken out; the network makes it of [-1, 1] itself.

Parameters with the preset `released` and three data sets, our counts:

    ResNet-18 without its classifier    11 176 512
    feature                                262 656
    two classes                              1 026
    data sets: 262 656 and 1 539           264 195
    on the path, and state              11 704 389

The authors' script builds the head of data sets twice, and neither feeds nor trains the second one. Their layer that
turns gradients round is of a kind that current PyTorch refuses to run; here it is written in the present way. The 30
parameters of the preset `table`'s stem (S1, S2) stand in no published count.

The paper was not read again for this file. Of its training we recall SGD at 0.01, of its normalisation that features
and the classes' weights have length 1; where nothing is recalled `described` is the code. Readings:

  R0  First weights of the trunk: `--weights torchvision` begins from ImageNet's, as the authors did, and as the tables'
      paper profile asks for; without it they are fresh. The authors' fourth stage is fresh in either case, because it
      belongs to their embedder and not to their generator: `--fourth-stage fresh`; `begun` begins it like the others.
  R1  The feature's length. `--features unit` makes it 1, as the paper's normalisation. `root` is the code's: it divides
      by the root of twice the length, so that long features stay longer than short ones. `off` leaves them.
  R2  The classifier's weight. `--classifier class` gives each of the two classes a weight of length 1. `input` is the
      code's: its axis is the other one, so that the two weights of each of the 512 inputs have length 1 together, and a
      class's vector has a length of about 16. `off` leaves the weight. A bias is added in each case.
  R3  The code replaces the weight by the normalised one before each pass, outside of the gradient:
      `--weight-norm in_place`. `gradient` normalises a weight that is free and takes the gradient through it.
  R4  Learning rate: `--rate nominal` keeps 0.01 for 150 epochs and then a tenth. The code's first boundary is 0, so
      that its nominal 0.01 is never used: `as_run` has a tenth for 150 epochs and then a hundredth. The 150
      are the code's number where the target is OULU-NPU or MSU-MFSD; it is 50 for the other two targets.
  R5  Weights of the losses: a = 1 and b = 1/2 in three of the code's four protocols, 2 and 0.1 in the one with
      OULU-NPU as its target. MMDA's data sets are none of these; all presets take the majority.
  R6  p is the share of training that is done before a step: `--reversal share`. The code counts passes of the head from
      1 and divides them by a constant 4000 that does not follow the length of training: `counted`, which needs
      `--steps`.
  R7  `--adversary bona_fide` trains the head of data sets on bona fide samples alone, as the paper and the code; `all`
      on attacks too, the two-sided learning that the paper argues against.
  R8  Training is the code's: SGD with momentum 0.9 and weight decay 5e-4, 4000 steps of 10 bona fide samples and 10
      attacks of each of three data sets, mirrored by chance. It calls 10 steps an epoch and evaluates after each, which
      `--steps 10 --epochs 400` repeats; a step that it takes after its last evaluation is not repeated. With two data
      sets a batch of 60 holds 15 of each instead.
  R9  First weights of the linear layers are the code's: normal ones of deviation 0.005 with a bias of 0.1 for the
      feature, 0.01 for the classes, 0.01 and 0.3 for the head of data sets, with biases of 0.

  R10 The authors train on one frame of each recording, always the seventh: `--frames one`, which takes the last where
      there are fewer. The tables' lists hold some frames of each recording, all of which are shown otherwise.

At test the authors take the mean probability of two frames; the tables score each. The end of a list may give the
authors a smaller batch, which ours never are. They compute distances from dot products, which in float32 keeps few
digits for features that are close together; ours are computed from differences. Without an active triplet the second
loss is 0, as theirs. Of the two outputs the authors' second is bona fide. The score is the difference of logits, which
orders frames as their probability does.
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from data_manifests.errors import BadInput
from reference.batches import BalancedSampler, Batch, Sampler
from reference.options import CountOrNone, Weight, reading
from reference.rivals import method
from reference.rivals.blocks import domains, resnet18, stem
from reference.rivals.blocks.domains import places
from reference.rivals.blocks.gradient_reversal import reversal_coefficient, reverse_gradient
from reference.rivals.blocks.imagenet_input import ImageNetInput
from reference.rivals.blocks.precision import at_least_float32
from reference.rivals.blocks.recordings import SamplerAmong, frame_of_each
from reference.rivals.blocks.resnet18 import resnet18_trunk
from reference.rivals.blocks.root_norm import root_normalised
from reference.rivals.blocks.start import FRESH, Start, StartedMethod
from reference.rivals.blocks.stem import Stem
from reference.rivals.blocks.two_logits import cross_entropy, logit_difference
from reference.runs import HEADLINE
from reference.training import Training

DROPOUT = 0.5
COUNTED = 4000  # passes in which the code's reversal becomes full (R6)
FRAME = 6  # of a recording, counted from 0 (R10)
FALL = 0.1  # what the rate is multiplied by


@dataclass(frozen=True, kw_only=True)
class Options(domains.Options, resnet18.Options, stem.Options):
    """Train and evaluate SSDG on RGB, or on three modalities through a stem."""

    protocol: str = "official"
    """Protocol of the index whose splits train, val and test are used."""

    fourth_stage: Literal["fresh", "begun"] = reading("fresh")
    """R0: the fourth stage is fresh whatever the trunk begins from, or begins like the others."""

    features: Literal["unit", "root", "off"] = reading("unit", released="root")
    """R1: features are divided by their length, by the root of twice their length, or by nothing."""

    classifier: Literal["class", "input", "off"] = reading("class", released="input")
    """R2: length 1 for each class's weights, for those of each input over the classes, or for none."""

    weight_norm: Literal["gradient", "in_place"] = reading("gradient", released="in_place")
    """R3: the gradient goes through the weight's normalisation, or the weight is replaced before each pass."""

    rate: Literal["nominal", "as_run"] = reading("nominal", released="as_run")
    """R4: --learning-rate and then a tenth of it, or a tenth and then a hundredth."""

    fall_after: CountOrNone = reading(150)
    """R4: epochs after which the rate falls."""

    triplet_weight: Weight = reading(1.0)
    """R5: weight of the triplets' loss."""

    adversarial_weight: Weight = reading(0.5)
    """R5: weight of the data sets' cross-entropy."""

    margin: Weight = 0.1
    """By how much farther than a sample of its class an anchor's other samples are to be."""

    reversal: Literal["share", "counted"] = reading("share", released="counted")
    """R6: the reversal grows with the share of training that is done, or with the passes counted up to 4000."""

    frames: Literal["all", "one"] = reading("all", released="one")
    """R10: training shows every frame of the lists, or the seventh of each recording."""

    adversary: Literal["bona_fide", "all"] = reading("bona_fide")
    """R7: which samples the head of data sets is trained on."""

    steps: int = reading(10)
    """R8: steps of an epoch; 0: as many as show so many samples as the training split has."""

    image_size: int = reading(256, table=224)
    """R8: side of the square images, in pixels."""

    optimiser: Literal["adamw", "adam_l2", "sgd"] = reading("sgd")
    """R8: adamw decays weights apart from the gradient, adam_l2 adds the decay to it; sgd has momentum 0.9."""

    learning_rate: float = reading(0.01)
    """R8: the nominal learning rate."""

    weight_decay: float = reading(5e-4)
    """R8: weight decay of all parameters."""

    batch_size: int = reading(60)
    """R8: samples a step, equally many of each class of each data set; also used to evaluate."""

    epochs: int = reading(400)
    """R8: how many times --steps steps are taken."""

    augmentation: Literal["none", "flip"] = reading("flip")
    """R8: flip mirrors each training sample with probability 1/2, all its modalities alike."""

    def check(self) -> None:
        super().check()
        if self.reversal == "counted" and not self.steps:
            raise BadInput("--reversal counted: it counts steps, and --steps 0 does not say how many; give --steps 10")


class Output(NamedTuple):
    logits: Tensor
    """(B, 2): bona fide, attack."""
    features: Tensor
    """(B, 512)."""


def normalised_weight(weight: Tensor, per: Literal["class", "input"] = "class") -> Tensor:
    """A classifier's weight (C, N), C classes and N inputs, whose rows have length 1, or with per = "input" its columns
    (R2). Lengths below 1e-12 count as that."""
    return F.normalize(weight, dim=1 if per == "class" else 0)


def asymmetric_triplet_loss(features: Tensor, bonafide: Tensor, place: Tensor, margin: float = 0.1) -> Tensor:
    """The mean () over active triplets of |f_i - f_j| - |f_i - f_k| + margin; 0 without any.

    features (B, N); bonafide (B,), 1 or 0; place (B,), each sample's data set. i and j are two samples of a class, k is
    of another; the bona fide samples of all data sets are one class, the attacks of each another one. A triplet is
    active where its term is above 0.
    """
    live = bonafide.bool()
    alike = (live[:, None] & live) | (~live[:, None] & ~live & (place[:, None] == place))
    pairs = alike.clone().fill_diagonal_(False)  # nobody is its own like
    distances = (features[:, None] - features).norm(dim=2)
    terms = distances[:, :, None] - distances[:, None] + margin  # (B, B, B): anchor i, its like j, another k
    costs = terms.relu() * (pairs[:, :, None] & ~alike[:, None])
    return costs.sum() / (costs > 0).sum().clamp(min=1)


def one_sided_loss(logits: Tensor, place: Tensor, counted: Tensor) -> Tensor:
    """Cross-entropy () of logits (B, D) with the data sets place (B,), the mean over the samples that `counted` (B,)
    names with 1 and not with 0; 0 where it names none."""
    chosen = counted.to(logits)
    return (F.cross_entropy(logits, place, reduction="none") * chosen).sum() / chosen.sum().clamp(min=1)


def fallen_rate(epoch: int, nominal: float, fall_after: int, as_run: bool) -> float:
    """The rate of an epoch counted from 0 (R4)."""
    return nominal * FALL ** ((epoch >= fall_after) + as_run)


def begun_linear(inputs: int, outputs: int, deviation: float, bias: float = 0.0) -> nn.Linear:
    """A linear layer with normal weights of this deviation and the same bias everywhere (R9)."""
    layer = nn.Linear(inputs, outputs)
    nn.init.normal_(layer.weight, 0, deviation)
    nn.init.constant_(layer.bias, bias)
    return layer


class SSDG(nn.Module):
    """rgb, depth, ir (B, 3, S, S) in [-1, 1] to logits and features; `datasets` tells `count` data sets apart by
    features (B, 512): logits (B, count)."""

    def __init__(self, options: Options, count: int, begun: Start = FRESH) -> None:
        super().__init__()
        self.unit, self.root = options.features == "unit", options.features == "root"
        self.per = None if options.classifier == "off" else options.classifier
        self.in_place = options.weight_norm == "in_place"
        self.stem = Stem(options, ImageNetInput())
        self.trunk = resnet18_trunk(
            options.width, begun=begun, begun_stages=3 if options.fourth_stage == "fresh" else 4
        )
        width = 8 * options.width  # of the feature, and of the hidden layer that tells data sets apart
        self.feature = begun_linear(width, width, 0.005, 0.1)
        self.drop = nn.Dropout(DROPOUT)
        self.classes = begun_linear(width, 2, 0.01)
        self.datasets = nn.Sequential(
            begun_linear(width, width, 0.01), nn.ReLU(), nn.Dropout(DROPOUT), begun_linear(width, count, 0.3)
        )

    def forward(self, rgb: Tensor, depth: Tensor, ir: Tensor) -> Output:
        maps = self.trunk(self.stem(rgb, depth, ir))[-1]  # (B, 512, S/32, S/32)
        features = at_least_float32(self.drop(self.feature(maps.mean((2, 3))).relu()))
        if self.unit:
            features = F.normalize(features)
        elif self.root:
            features = root_normalised(features)
        return Output(F.linear(features, self.weight(), self.classes.bias).flip(-1), features)

    def weight(self) -> Tensor:
        """The classifier's weight (2, 512): attack, bona fide, as the original counts."""
        weight = self.classes.weight
        if self.per is None:
            return weight
        if not (self.in_place and self.training):  # at test the weights stay, however often one evaluates
            return normalised_weight(weight, self.per)
        with torch.no_grad():
            weight.copy_(normalised_weight(weight, self.per))
        return weight


class Method(StartedMethod[Options]):
    """SSDG: bona fide faces are alike across data sets, attacks are alike within theirs."""

    TRUNK = resnet18.TRUNK
    network: SSDG

    def build(self) -> nn.Module:
        return SSDG(self.options, len(self.domains), self.start)

    def losses(self, output: Output, batch: Batch) -> dict[str, Tensor]:
        options, features, bonafide = self.options, output.features, batch.bonafide
        place = places(batch.domain, self.domains)
        counted = bonafide if options.adversary == "bona_fide" else torch.ones_like(bonafide)
        guesses = self.network.datasets(reverse_gradient(features, self.coefficient(batch.progress)))
        classes = cross_entropy(output.logits, batch.label)
        triplets = asymmetric_triplet_loss(features, bonafide, place, options.margin)
        adversarial = one_sided_loss(guesses, place, counted)
        loss = classes + options.triplet_weight * triplets + options.adversarial_weight * adversarial
        return {"loss": loss, "classes": classes, "triplets": triplets, "adversarial": adversarial}

    def coefficient(self, progress: float) -> float:
        """Of the reversal, where this share of training is done (R6)."""
        if self.options.reversal == "share":
            return reversal_coefficient(progress)
        done = round(progress * self.options.steps * self.options.epochs)
        return reversal_coefficient((done + 1) / COUNTED)

    def scores(self, output: Output) -> dict[str, Tensor]:
        return {HEADLINE: logit_difference(output.logits)}

    def sampler(self, training: Training) -> Sampler:
        if self.options.frames == "all":
            return super().sampler(training)
        options, rows = self.options, training.train
        chosen = frame_of_each(training.faces.recording[rows], FRAME)
        bonafide, domain = training.faces.bonafide[rows[chosen]], training.faces.domain[rows[chosen]]
        balanced = BalancedSampler(bonafide, options.batch_size, options.seed, domain, options.steps)
        return SamplerAmong(chosen, balanced)

    def schedule(self, optimiser: torch.optim.Optimizer, batch: Batch, training: Training) -> None:
        options = self.options
        for group in optimiser.param_groups:
            group["lr"] = fallen_rate(
                training.epoch, options.learning_rate, options.fall_after, options.rate == "as_run"
            )


if __name__ == "__main__":
    method.main(Method, Options, __doc__)
