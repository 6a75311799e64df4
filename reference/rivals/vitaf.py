"""ViTAF, a row of MMDA's Tables 1 to 3 that was made for RGB: adapters in a frozen vision transformer.

Huang, Sun, Liu, Chu, Xiao, Yuan, Adam, Yang: Adaptive Transformers for Robust Few-shot Cross-domain Face Anti-spoofing.
ECCV 2022, arXiv 2203.12175.

    python -m reference.rivals.vitaf --index build/…/index.csv --run-dir build/runs/vitaf --weights torchvision

A trained ViT-B/16 stays as it is. In each of its layers two adapters stand behind the attention and two behind the MLP,
before the addition that closes either. An adapter is a bottleneck with a residual,

    A(x) = x + W' GELU(W x + b) + b',        768-64-768, weights from N(0, 0.0002), biases 0,

and what goes on is the sum of both, A1(x) + A2(x). Since x is in each of them, attention and MLP count twice from the
first step on. In training, and only there, a feature-wise transformation ends each layer:

    x <- x (1 + n softplus(γ)) + m softplus(β),      softplus(z) = log(1 + exp(100 z)) / 100.

γ and β are learned, a number a channel. n and m are drawn from N(0, 1) for each channel, anew in each step and layer,
the same for all tokens and samples.

Behind the class token, after the final norm, stands the classifier: a linear layer to 512, ReLU, dropout 1/2, division
by the root of twice the length, a linear layer to two logits. Training has two stages. First the classifier learns
alone, from class tokens of the transformer without adapters and transformation, and then stays as it is (R4). Then
adapters, γ and β learn:

    first    loss = cross-entropy
    second   loss = cross-entropy + λ Σ over the 24 pairs of the mean over samples and tokens of cos(A1(x), A2(x))²

At first the sum is almost 24 and its gradient almost 0, because the two adapters of a pair do almost the same.

The original is made for five shots: five bona fide frames and five attacks of the target train with the sources. The
tables know no shots, and no preset has them. The original input is RGB, 224 x 224, without any crop, with ImageNet's
mean and deviation; the network makes it of [-1, 1] itself.

Parameters with the preset `released`, our counts; the stem adds 30 in the preset `table`:

    transformer                           85 798 656
    adapters, 48 of 99 136                 4 758 528   second stage
    γ and β of 12 layers                      18 432   second stage, which trains 4 776 960 in all
    classifier, 393 728 and 1 026            394 754   first stage
    on the path                           90 970 370
    layer of a thousand classes              769 000   nothing calls it
    state of the original                 91 739 370

The paper was not read again for this file; where nothing is recalled `described` is the code. Readings:

  S3  The first stage takes no gradient through the transformer, so that a stem before it learns in the second alone,
      when the classifier is already made for what it gave at first. It begins as the mean of the three modalities
      here, which a transformer that knows photographs can read, and not at random.
  R0  First weights: fresh unless `--weights torchvision` or a file says otherwise. The original's are timm's. Those had
      been trained on images with mean and deviation 0.5 and are fed with ImageNet's; torchvision's were trained so.
  R1  The code computes the cosines and never adds them: what it hands on as a layer's loss stays 0, `--cosines
      dropped`. We recall that the paper adds them.
  R2  λ: the code's configurations have 1 where the target is CeFA, 0.1 for CASIA-SURF, 0.01 for WMCA, and 0.03 or 1 for
      the four sets of RGB alone. All parts of a table have one number here, which cannot follow a target; 0.1 is the
      middle one. The code hands one number from layer to layer, so a sum over all pairs is meant; who means their
      mean divides λ by 24.
  R3  γ and β begin at 0.1 where the code's target is CeFA, CASIA-SURF or WMCA, at 0.3 and 0.5 for the four sets of RGB
      alone. The tables' sets are nearer to the first.
  R4  `--trained adapters` as above, which asks for trained weights: between frozen random layers adapters learn next to
      nothing. With `all` the second stage trains everything, classifier and transformer too. That is our own; the cpu
      profile, which has no weights, does so.
  R5  The first stage takes 100 of 4100 steps, the first of 41 epochs here. Scores are always those of the transformer
      with adapters, even after that epoch, when the code takes none.
  R6  The code gives each column of the last layer's weights (2 x 512) the length 1 before every pass: `--last-layer
      unit_columns`, here in every preset. `free` leaves them as they were learned: they begin at N(0, 0.01), 100 steps
      of Adam at 1e-4 move each by 0.01 or so, and logits so small, fixed from then on, leave adapters little to gain.
  R7  The code changes the colour saturation of half of the training images by up to 20 %. What it makes of a channel
      below black is a number far above it, since whole numbers from 0 to 255 wrap round: `--saturation wrapped`;
      `clipped` ends at black. Of this the paper says nothing that we know.
  R8  Training: Adam at a constant 1e-4 with weight decay 1e-6 in the gradient. The code has an optimiser for each
      stage; one is the same, because nothing learns in both. It takes 3 images of each class of four sets, two sources,
      CelebA-Spoof and the shots of the target; that is 24, which are 4 of each class of three data sets. It evaluates
      after every 100 steps, which are an epoch here, and each of its two loops takes one step more than its number.
      Images are mirrored with probability 1/2.

A layer of the code takes any two things for features and a loss, so that a batch of exactly two images ends in an
error; here it does not. The code averages the probability of two frames of a video, at the equal-error threshold of its
target, and keeps the evaluation with the least HTER there; frames, threshold and epoch are the tables' business here.

Sizes are those of ViT-B/16 unless `--patch`, `--width`, `--depth`, `--heads` and `--bottleneck` narrow it, which no
published weights fit.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from data_manifests.errors import BadInput
from reference.batches import Batch
from reference.options import Count, CountOrNone, Weight, reading
from reference.processes import Shared
from reference.rivals import method
from reference.rivals.blocks import domains, stem, vit_trunk
from reference.rivals.blocks.imagenet_input import ImageNetInput
from reference.rivals.blocks.precision import at_least_float32
from reference.rivals.blocks.root_classifier import RootClassifier
from reference.rivals.blocks.saturation import some_saturated
from reference.rivals.blocks.start import FRESH, Start, StartedMethod
from reference.rivals.blocks.stem import Stem
from reference.rivals.blocks.two_logits import cross_entropy, logit_difference
from reference.rivals.blocks.vit_trunk import modality_tokens, torchvision_vit
from reference.runs import HEADLINE
from reference.training import Training

ADAPTERS = 2  # behind each attention and each MLP
ADAPTER_SD = 0.0002  # of their first weights
SHARPNESS = 100  # of the softplus


@dataclass(frozen=True, kw_only=True)
class Options(domains.Options, vit_trunk.Sizes, stem.Options):
    """Train and evaluate ViTAF on RGB, or on three modalities through a stem."""

    bottleneck: Count = 64
    """Width of the adapters' middle layer."""

    stem_start: Literal["random", "mean", "rgb"] = reading("mean")
    """S3: the stem's first weights: the mean of the three modalities, random ones, or those that let RGB pass alone."""

    cosines: Literal["added", "dropped"] = reading("added", released="dropped")
    """R1: the squared cosines of each pair of adapters are added to the loss, or computed and left out."""

    cosine_weight: Weight = reading(0.1)
    """R2: λ, the weight of the squared cosines."""

    gamma: Weight = reading(0.1)
    """R3: where γ begins, the spread by which training scales each channel."""

    beta: Weight = reading(0.1)
    """R3: where β begins, the spread by which training shifts each channel."""

    trained: Literal["adapters", "all"] = reading("adapters")
    """R4: after the first stage adapters, γ and β train, and the stem if there is one; or everything."""

    classifier_epochs: CountOrNone = reading(1)
    """R5: epochs of the first stage, in which the classifier trains alone."""

    last_layer: Literal["free", "unit_columns"] = reading("unit_columns")
    """R6: whether each column of the last layer's weights has the length 1."""

    saturation: Literal["none", "clipped", "wrapped"] = reading("none", released="wrapped")
    """R7: whether half of the images change their colour saturation, and what becomes of a channel below black."""

    rate: Literal["constant", "cosine"] = reading("constant")
    """R8: the learning rate stays, or rises and falls as mmFAS's."""

    optimiser: Literal["adamw", "adam_l2", "sgd"] = reading("adam_l2")
    """R8: adamw decays weights apart from the gradient, adam_l2 adds the decay to the gradient."""

    learning_rate: float = reading(1e-4)
    """R8: highest learning rate."""

    weight_decay: float = reading(1e-6)
    """R8: weight decay of all parameters that train."""

    batch_size: int = reading(24)
    """R8: samples a step, equally many of each class of each data set; also used to evaluate."""

    steps: int = reading(100)
    """R8: steps of an epoch; 0: as many as show so many samples as the training split has."""

    epochs: int = reading(41)
    """R8: epochs of `steps` steps, those of the first stage included."""

    augmentation: Literal["none", "flip"] = reading("flip")
    """R8: flip mirrors each training sample with probability 1/2, all its modalities alike."""

    protocol: str = "official"
    """Protocol of the index whose splits train, val and test are used."""

    def check(self) -> None:
        super().check()
        if self.classifier_epochs >= self.epochs:
            raise BadInput(
                f"--classifier-epochs {self.classifier_epochs}: none of {self.epochs} epochs is left to the adapters; "
                f"give at most {self.epochs - 1}, or more --epochs"
            )


def adapter_outputs(x: Tensor, down: Tensor, down_bias: Tensor, up: Tensor, up_bias: Tensor) -> Tensor:
    """What each of K adapters makes of x (B, N, C): x itself plus a bottleneck with exact GELU; (K, B, N, C).

    down (K, H, C), down_bias (K, H), up (K, C, H), up_bias (K, C).
    """
    hidden = F.gelu(x @ down.mT[:, None] + down_bias[:, None, None])  # (K, B, N, H)
    return x + hidden @ up.mT[:, None] + up_bias[:, None, None]


def pair_cosine_loss(first: Tensor, second: Tensor) -> Tensor:
    """The mean () over samples and tokens of the squared cosine of what two adapters make of a token, first and second
    (B, N, C). Tokens shorter than 1e-8 count as that long."""
    return F.cosine_similarity(first, second, dim=2).square().mean()


def feature_wise_transformation(
    x: Tensor, gamma: Tensor, beta: Tensor, gamma_lots: Tensor, beta_lots: Tensor
) -> Tensor:
    """x (B, N, C) with each channel scaled and shifted at random: x (1 + n softplus(γ)) + m softplus(β).

    gamma and beta (C,); gamma_lots n and beta_lots m (C,), of a standard normal law;
    softplus(z) = log(1 + exp(100 z)) / 100.
    """
    scale, shift = (F.softplus(spread, beta=SHARPNESS) for spread in (gamma, beta))
    return x * (1 + gamma_lots * scale) + beta_lots * shift


class Adapters(nn.Module):
    """Tokens (B, N, C) to what each of two adapters makes of them (2, B, N, C)."""

    def __init__(self, options: Options) -> None:
        super().__init__()
        width, middle = options.width, options.bottleneck
        self.down = nn.Parameter(torch.empty(ADAPTERS, middle, width).normal_(std=ADAPTER_SD))
        self.down_bias = nn.Parameter(torch.zeros(ADAPTERS, middle))
        self.up = nn.Parameter(torch.empty(ADAPTERS, width, middle).normal_(std=ADAPTER_SD))
        self.up_bias = nn.Parameter(torch.zeros(ADAPTERS, width))

    def forward(self, x: Tensor) -> Tensor:
        return adapter_outputs(x, self.down, self.down_bias, self.up, self.up_bias)


class Adaptation(nn.Module):
    """What stands in and behind one of the transformer's layers."""

    def __init__(self, options: Options) -> None:
        super().__init__()
        self.after_attention, self.after_mlp = Adapters(options), Adapters(options)
        self.gamma = nn.Parameter(torch.full((options.width,), options.gamma))
        self.beta = nn.Parameter(torch.full((options.width,), options.beta))

    def forward(self, x: Tensor, layer: Any, draws: torch.Generator | None) -> tuple[Tensor, Tensor]:
        """Tokens x (B, N, C) through torchvision's `layer`, and the loss () of the two pairs of adapters. With `draws`
        the layer ends in the feature-wise transformation."""
        y = layer.ln_1(x)
        attended = self.after_attention(layer.self_attention(y, y, y, need_weights=False)[0])
        x = x + attended.sum(0)
        mixed = self.after_mlp(layer.mlp(layer.ln_2(x)))
        x = x + mixed.sum(0)
        if draws is not None:
            lots = x.new_empty(2, x.shape[2]).normal_(generator=draws)
            x = feature_wise_transformation(x, self.gamma, self.beta, *lots)
        return x, pair_cosine_loss(*at_least_float32(attended)) + pair_cosine_loss(*at_least_float32(mixed))


class Output(NamedTuple):
    logits: Tensor
    """(B, 2): bona fide, attack."""
    cosines: Tensor | None
    """(): the sum over all pairs of adapters, where there were any."""


class ViTAF(nn.Module):
    """rgb, depth, ir (B, 3, S, S) in [-1, 1] to logits (B, 2) and the loss of the adapters."""

    def __init__(self, options: Options, begun: Start = FRESH) -> None:
        super().__init__()
        vit = torchvision_vit(options, begun)
        self.stem = Stem(options, ImageNetInput())
        self.conv_proj, self.class_token, self.pos_embedding = vit.conv_proj, vit.class_token, vit.encoder.pos_embedding
        self.layers, self.ln = vit.encoder.layers, vit.encoder.ln
        if options.trained == "adapters":
            for part in (self.conv_proj, self.class_token, self.pos_embedding, self.layers, self.ln):
                part.requires_grad_(False)
        self.adaptations = nn.ModuleList(Adaptation(options) for _ in range(options.depth))
        self.classifier = RootClassifier(options.width, options.last_layer == "unit_columns")

    def embed(self, rgb: Tensor, depth: Tensor, ir: Tensor) -> Tensor:
        """The sequence (B, 1 + N, C) of the class token and the patches."""
        patches = self.conv_proj(self.stem(rgb, depth, ir)).flatten(2).mT
        return modality_tokens(patches, self.class_token, self.pos_embedding)

    def plain(self, rgb: Tensor, depth: Tensor, ir: Tensor) -> Output:
        """Without adapters, and no gradient beyond the classifier: the first stage."""
        with torch.no_grad():
            token = self.ln(self.layers(self.embed(rgb, depth, ir)))[:, 0]
        return Output(self.classifier(token), None)

    def forward(self, rgb: Tensor, depth: Tensor, ir: Tensor, draws: torch.Generator | None = None) -> Output:
        """With `draws` features are transformed, as in training."""
        x = self.embed(rgb, depth, ir)
        cosines = []
        for layer, adaptation in zip(self.layers, self.adaptations, strict=True):
            x, cosine = adaptation(x, layer, draws)
            cosines.append(cosine)
        return Output(self.classifier(self.ln(x)[:, 0]), torch.stack(cosines).sum())


class Method(StartedMethod[Options]):
    """ViTAF in its two stages."""

    TRUNK = "vit_b_16"
    network: ViTAF

    def build(self) -> nn.Module:
        return ViTAF(self.options, self.start)

    def classifier_alone(self, batch: Batch) -> bool:
        """Whether a training batch belongs to the first stage."""
        return batch.progress < self.options.classifier_epochs / self.options.epochs

    def forward(self, batch: Batch) -> Output:
        network = self.network
        if not network.training:
            return network(*batch.images)
        return network.plain(*batch.images) if self.classifier_alone(batch) else network(*batch.images, self.draws)

    def shared(self) -> Sequence[Shared]:
        return [*super().shared(), (self.network, "plain")]

    def predict(self, batch: Batch) -> dict[str, Tensor]:
        return self.scores(self.network(*batch.images))

    def losses(self, output: Output, batch: Batch) -> dict[str, Tensor]:
        classes = cross_entropy(output.logits, batch.label)
        if output.cosines is None:
            return {"loss": classes, "classes": classes}
        added = self.options.cosines == "added"
        loss = classes + self.options.cosine_weight * output.cosines if added else classes
        return {"loss": loss, "classes": classes, "cosines": output.cosines}

    def scores(self, output: Output) -> dict[str, Tensor]:
        return {HEADLINE: logit_difference(output.logits)}

    def views(self, batch: Batch, training: Training) -> Batch:
        batch, options = super().views(batch, training), self.options
        if options.saturation == "none":
            return batch
        return replace(batch, rgb=some_saturated(batch.rgb, self.draws, options.saturation == "wrapped"))

    def optimiser(self, training: Training) -> torch.optim.Optimizer:
        return training.optimiser(p for p in self.network.parameters() if p.requires_grad)

    def schedule(self, optimiser: torch.optim.Optimizer, batch: Batch, training: Training) -> None:
        """The learning rate, and whether the classifier trains."""
        if self.options.rate == "cosine":
            super().schedule(optimiser, batch, training)
        self.network.classifier.requires_grad_(self.options.trained == "all" or self.classifier_alone(batch))


if __name__ == "__main__":
    method.main(Method, Options, __doc__)
