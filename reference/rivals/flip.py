"""FLIP, a row of MMDA's Tables 1 to 3 that was made for RGB.

Srivatsan, Naseer, Nandakumar: FLIP: Cross-domain Face Anti-spoofing with Language Guidance. ICCV 2023,
arXiv 2309.16649.

    python -m reference.rivals.flip --index build/…/index.csv --sources CPS --targets W --clip phantom \\
        --run-dir build/runs/flip

CLIP's ViT-B/16 with OpenAI's weights is tuned as a whole, in one of three variants (R1):

    v     the class token before its projection (768), a linear layer to 512, ReLU, dropout 1/2, division by the root of
          twice its length, a linear layer to two logits
    it    logits = s cos(f, t_c), f the image's feature (512), t_c the mean of the features of the captions of class c,
          s the exponential of CLIP's logit scale
    mcl   it, and two random views of each image: their features f1 and f2, their embeddings z = MLP(f),
          512-4096-4096-256 with batch norm and ReLU twice

    v, it   loss = cross-entropy of the two classes
    mcl     loss = cross-entropy + SimCLR + consistency, with
            SimCLR      = mean over the 2B embeddings of -log exp(cos(z_i, z_i')/τ) / Σ_{j ≠ i} exp(cos(z_i, z_j)/τ),
                          z_i' the other view of the same image, τ = 0.1
            consistency = mean over the images of (cos(f1, h1) - cos(f2, h2))², h1 and h2 the mean features of two
                          halves of the captions of the image's own class, drawn anew for each image

The score is the difference of the two logits; all captions take part at test, views and MLP do not. The original input
is RGB, 224 x 224, with ImageNet's mean and deviation; the network makes it of [-1, 1] itself. The captions are their
authors' sentences: `--captions FOLDER` takes a copy of theirs, the default is a set of ours of the same size, six a
class.

Which variant MMDA trained is published nowhere, nor what it changed for three modalities; the first version of MMDA
cites another paper for this row (MA-ViT, IJCAI 2022). The fullest, mcl, is the default here.

Parameters with the preset `released`, our counts; the stem adds 30 in the preset `table`:

    CLIP                149 620 737   both towers and the logit scale
    MLP                  19 947 776   2 101 248 + 8 192 + 16 781 312 + 8 192 + 1 048 832, in training alone
    on the path         169 568 513
    state of the original 169 568 513

Readings:

  R1  `--variant`, as above.
  R2  How three modalities enter: `--fusion stem` makes one image of three as blocks/stem.py says (S1 to S4); `mean`
      takes the mean of the three images' features, as the row "CLIP" does. At a rate of 1e-6 the stem hardly moves
      from its first weights, which are therefore the mean of the modalities here, and not random (S3).
  R3  CLIP was trained with its own mean and deviation of colours, FLIP feeds it with ImageNet's: `--input-range`. The
      stem takes (x - 127.5) / 128 instead, unless `--stem-range own` says otherwise (S4).
  R4  A class is the mean of its captions' features as they come; only the mean is divided by its length.
      `--class-mean normalised` divides each caption's feature by its length first, as CLIP's authors do. A half of the
      captions is always a mean of features as they come.
  R5  Halves of captions: a partition into two equal halves (the first has one less of an odd number). The code draws
      the first with replacement and takes the second to be all that was not drawn, so that of six captions 3 to 5
      stand in it and 1 to 3 in the first, some of them twice: `--halves overdrawn`.
  R6  The views are SimCLR's, the code's: a crop of 8 to 100 % of the area, brought back to the size of the image;
      with probability 0.8 brightness, contrast and saturation changed by up to 40 %, hue by up to 0.1, in random order;
      grey with probability 0.2; blurred with probability 0.5, with a deviation of 0.1 to 2 pixels of 224; mirrored
      with probability 0.5. All modalities of a sample share its lots. Theirs are Pillow's, whose blur is made of
      boxes and which rounds to whole grey values after every step; ours round nothing.
  R7  The code also changes the colour saturation of half of the training images by up to 20 %, views included. What
      it makes of a channel below black is a number far above it, since whole numbers from 0 to 255 wrap round:
      `--saturation wrapped`; `clipped` ends at black. Of this the paper says nothing that we know.
  R8  In variant v the code gives each column of the last layer's weights (2 x 512) the length 1 before every pass:
      `--last-layer unit_columns`; `free` leaves them as they were learned. The division by the root is the code's.
  R9  Training: Adam at a constant 1e-6 with weight decay 1e-6, 4000 steps (the code's loop takes one more), evaluated
      after every 100, which are an epoch here. The code takes 3 images of each class of a data set, 24 in all where
      there are four with CelebA-Spoof; 24 are 4 of each class of three data sets. For its benchmark of WMCA, CeFA and
      SURF a comment gives 8 for the variants v and it. Images are mirrored with probability 1/2.
      The code of mcl cannot be run as it is published: its evaluation calls the network without the arguments that it
      needs, and on WMCA, CeFA and SURF its views come from one data set more than its labels.
      The code scores a video by the mean probability of two frames, at the target's equal-error threshold, and reports
      the evaluation with the least HTER on its target; frames, threshold and epoch are the tables' business here.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from data_manifests.errors import BadInput
from reference.batches import Batch
from reference.clip import Clip, normalise
from reference.options import Count, Weight, reading
from reference.processes import Shared
from reference.reuse import Reusable
from reference.rivals import method
from reference.rivals.blocks import clip_classifier, domains, stem
from reference.rivals.blocks.imagenet_input import ImageNetInput
from reference.rivals.blocks.precision import at_least_float32
from reference.rivals.blocks.root_classifier import RootClassifier
from reference.rivals.blocks.saturation import some_saturated
from reference.rivals.blocks.two_logits import cross_entropy, logit_difference
from reference.runs import HEADLINE
from reference.training import Training

CROP_AREA, CROP_RATIO, CROP_TRIES = (0.08, 1.0), 4 / 3, 10
JITTER, HUE, JITTERED, GREYED, BLURRED = 0.4, 0.1, 0.8, 0.2, 0.5
BLUR, BLUR_SIDE, BLUR_TAPS = (0.1, 2.0), 224, 13  # deviation in pixels of an image of that side; width of the kernel


@dataclass(frozen=True, kw_only=True)
class Options(clip_classifier.CaptionOptions, domains.Options, stem.Options):
    """Train and evaluate FLIP on some data sets of a protocol and score others."""

    captions: str = "templates"

    mlp: Count = 4096
    """Width of the two hidden layers of the MLP on the views' features."""

    embedding: Count = 256
    """Length of what the MLP makes of a view."""

    temperature: float = 0.1
    """τ of the SimCLR loss."""

    simclr_weight: Weight = 1.0
    """Weight of the SimCLR loss."""

    consistency_weight: Weight = 1.0
    """Weight of the consistency of views and halves of captions."""

    variant: Literal["mcl", "it", "v"] = reading("mcl")
    """R1: captions and contrasted views, captions alone, or a classifier without captions."""

    stem_start: Literal["random", "mean", "rgb"] = reading("mean")
    """S3: the stem's first weights: the mean of the three modalities, random ones, or those that let RGB pass alone."""

    fusion: Literal["stem", "mean"] = reading("stem")
    """R2: one image is made of three, or the features of three images are averaged."""

    input_range: Literal["imagenet", "clip"] = reading("imagenet")
    """R3: whose mean and deviation of colours is taken out of an image."""

    class_mean: Literal["raw", "normalised"] = reading("raw")
    """R4: whether each caption's feature is divided by its length before a class's mean is taken."""

    halves: Literal["equal", "overdrawn"] = reading("equal", released="overdrawn")
    """R5: a class's captions are parted, or the first half is drawn with replacement and the second is the rest."""

    saturation: Literal["none", "clipped", "wrapped"] = reading("none", released="wrapped")
    """R7: whether half of the images change their colour saturation, and what becomes of a channel below black."""

    last_layer: Literal["free", "unit_columns"] = reading("free", released="unit_columns")
    """R8: whether each column of the weights of variant v's last layer has the length 1."""

    rate: Literal["constant", "cosine"] = reading("constant")
    """R9: the learning rate stays, or rises and falls as mmFAS's."""

    optimiser: Literal["adamw", "adam_l2", "sgd"] = reading("adam_l2")
    """R9: adamw decays weights apart from the gradient, adam_l2 adds the decay to the gradient."""

    learning_rate: float = reading(1e-6)
    """R9: highest learning rate."""

    weight_decay: float = reading(1e-6)
    """R9: weight decay of all parameters."""

    batch_size: int = reading(24)
    """R9: samples a step, equally many of each class of each data set; also used to evaluate."""

    steps: int = reading(100)
    """R9: steps of an epoch; 0: as many as show so many samples as the training split has."""

    epochs: int = reading(40)
    """R9: epochs of `steps` steps."""

    augmentation: Literal["none", "flip"] = reading("flip")
    """R9: flip mirrors each training sample with probability 1/2, all its modalities alike."""

    @property
    def sees(self) -> str:
        return "RDI" if self.fusion == "mean" else super().sees

    def check(self) -> None:
        super().check()
        if not 0 < self.temperature < math.inf:
            raise BadInput(f"--temperature {self.temperature}: cosines are divided by it; give a number above 0")


# The losses


def ensemble_logits(image: Tensor, spoof: Tensor, real: Tensor, scale: Tensor, normalised: bool = False) -> Tensor:
    """Logits (B, 2), bona fide and attack: `scale` () times the cosine of each image's feature with the mean of the
    features of the class's captions.

    image (B, D), spoof (m, D), real (n, D); of any length. `normalised` gives each caption's feature
    the length 1 before the mean (R4).
    """
    means = [(F.normalize(captions) if normalised else captions).mean(0) for captions in (real, spoof)]
    return scale * F.normalize(image) @ F.normalize(torch.stack(means)).T


def simclr_loss(first: Tensor, second: Tensor, temperature: float = 0.1) -> Tensor:
    """SimCLR's loss () of two views, first and second (B, E), row i of both of the same image; Chen et al., ICML 2020.

    The mean over all 2B rows of the cross-entropy that tells a row's other view among all rows but itself by the
    cosines divided by `temperature`.
    """
    rows = F.normalize(torch.cat([first, second]))
    cosines = (rows @ rows.T / temperature).fill_diagonal_(-math.inf)
    return cosines.logsumexp(1).mean() - cosines.diagonal(len(first)).mean()


def caption_halves(
    owner: Tensor, classes: Tensor, generator: torch.Generator, replacement: bool = False
) -> tuple[Tensor, Tensor]:
    """How often each caption stands in the first and in the second half of each sample's captions (R5).

    owner (N,) int64, the class of each caption; classes (B,) int64, those of the samples, each of which owns at least
    two captions; twice (B, N) int64. The first half of n captions are n // 2, drawn without replacement unless told
    otherwise; the second are those of the class that were not drawn, once each.
    """
    own = owner == classes[:, None]  # (B, N)
    size = own.sum(1, keepdim=True)
    lots = own.new_empty(own.shape, dtype=torch.float64).uniform_(generator=generator)
    if replacement:
        # Each lot is the place of a caption in its class; the first n // 2 of them count.
        drawn = (lots * size).long()  # (B, N)
        counts = torch.ones_like(own).cumsum(1) <= size // 2
        place = own.cumsum(1) - 1
        first = ((drawn[:, :, None] == place[:, None]) & own[:, None] & counts[:, :, None]).sum(1)
    else:
        rank = lots.masked_fill(~own, math.inf).argsort(1).argsort(1)
        first = (rank < size // 2).long()
    return first, (own & (first == 0)).long()


def text_view_consistency(
    first: Tensor, second: Tensor, captions: Tensor, first_half: Tensor, second_half: Tensor
) -> Tensor:
    """The mean () over samples of the squared difference of two cosines: of the first view's feature with the mean of
    the first half of captions, and of the second view's with that of the second.

    first and second (B, D); captions (N, D), none of the length 1 by need; the halves (B, N) as `caption_halves` counts
    them, neither empty.
    """

    def cosine(view: Tensor, half: Tensor) -> Tensor:
        return F.cosine_similarity(view, half.to(captions.dtype) @ captions)  # a sum has the direction of its mean

    return F.mse_loss(cosine(first, first_half), cosine(second, second_half))


# What training does to the images


class ViewLot(NamedTuple):
    """What makes one view of a sample (R6)."""

    box: tuple[int, int, int, int]  # top, left, height, width of the crop
    colours: tuple[tuple[int, float], ...]  # changes of COLOUR_CHANGES in their order, each with its factor; or none
    grey: bool
    blur: float  # deviation in pixels; 0: none
    mirrored: bool


def crop_box(tries: list[list[float]], place: tuple[float, float], side: int) -> tuple[int, int, int, int]:
    """Top, left, height and width of a crop of a square image; every number given is from 0 to 1.

    The first of `tries`, a share of the area and a ratio of width to height, whose crop fits; the whole image if none.
    """
    for area, ratio in tries:
        size = side**2 * (CROP_AREA[0] + area * (CROP_AREA[1] - CROP_AREA[0]))
        aspect = CROP_RATIO ** (2 * ratio - 1)
        height, width = round(math.sqrt(size / aspect)), round(math.sqrt(size * aspect))
        if 0 < height <= side and 0 < width <= side:
            return int(place[0] * (side - height + 1)), int(place[1] * (side - width + 1)), height, width
    return 0, 0, side, side


def view_lots(count: int, side: int, generator: torch.Generator) -> list[ViewLot]:
    """What makes a view of each of `count` samples of `side` pixels."""

    def uniform(*shape: int) -> list[list]:
        lots: list[list] = torch.rand(
            count, *shape, generator=generator, device=generator.device, dtype=torch.float64
        ).tolist()
        return lots

    lots = []
    for tries, rest, factors, order in zip(uniform(CROP_TRIES, 2), uniform(7), uniform(4), uniform(4), strict=True):
        top, left, jittered, greyed, blurred, blur, mirrored = rest
        changes = [1 + JITTER * (2 * f - 1) for f in factors[:3]] + [HUE * (2 * factors[3] - 1)]
        in_order = tuple((i, changes[i]) for i in sorted(range(4), key=order.__getitem__))
        lots.append(
            ViewLot(
                crop_box(tries, (top, left), side),
                in_order if jittered < JITTERED else (),
                greyed < GREYED,
                (BLUR[0] + blur * (BLUR[1] - BLUR[0])) * side / BLUR_SIDE if blurred < BLURRED else 0.0,
                mirrored < 0.5,
            )
        )
    return lots


def view_of(images: Tensor, lot: ViewLot) -> Tensor:
    """One view of a sample's images (M, 3, S, S) in [-1, 1], the same changes in all of them."""
    from torchvision.transforms.v2 import functional as change

    colour_changes = (change.adjust_brightness, change.adjust_contrast, change.adjust_saturation, change.adjust_hue)
    side = images.shape[-1]
    x = change.resized_crop((images + 1) / 2, *lot.box, [side, side], antialias=True)
    for which, factor in lot.colours:
        x = colour_changes[which](x, factor)
    if lot.grey:
        x = change.rgb_to_grayscale(x, 3)
    if lot.blur:
        x = change.gaussian_blur(x, [BLUR_TAPS, BLUR_TAPS], [lot.blur, lot.blur])
    if lot.mirrored:
        x = x.flip(-1)
    return 2 * x - 1


def random_view(images: tuple[Tensor, ...], generator: torch.Generator) -> tuple[Tensor, ...]:
    """A random view of each sample's images (B, 3, S, S) in [-1, 1] (R6)."""
    samples = torch.stack(images, 1)  # (B, M, 3, S, S)
    lots = view_lots(len(samples), samples.shape[-1], generator)
    views = [view_of(sample, lot) for sample, lot in zip(samples, lots, strict=True)]
    return torch.stack(views, 1).unbind()


# The networks


class ClipInput(nn.Module):
    """An image (B, 3, S, S) in [-1, 1] to the same with CLIP's own mean and standard deviation taken out."""

    def forward(self, image: Tensor) -> Tensor:
        return normalise(127.5 * (image + 1), "clip")


class Images(nn.Module):
    """What CLIP is fed: RGB, depth and infrared (B, 3, S, S) in [-1, 1] to one image of each sample, or three (R2)."""

    def __init__(self, options: Options) -> None:
        super().__init__()
        self.own = ImageNetInput() if options.input_range == "imagenet" else ClipInput()
        self.stem = stem.Stem(options, self.own) if options.fusion == "stem" else None

    def forward(self, rgb: Tensor, depth: Tensor, ir: Tensor) -> list[Tensor]:
        return [self.own(x) for x in (rgb, depth, ir)] if self.stem is None else [self.stem(rgb, depth, ir)]


class FlipV(nn.Module):
    """Images (B, 3, S, S) in [-1, 1] to logits (B, 2), bona fide and attack, by CLIP's image tower alone."""

    def __init__(self, clip: Clip, options: Options) -> None:
        super().__init__()
        self.images = Images(options)
        self.visual = clip.model.visual
        self.visual.proj = None  # the class token before its projection
        self.classifier = RootClassifier(self.visual.conv1.out_channels, options.last_layer == "unit_columns")

    def forward(self, rgb: Tensor, depth: Tensor, ir: Tensor) -> Tensor:
        token = torch.stack([self.visual(x) for x in self.images(rgb, depth, ir)]).mean(0)  # (B, 768)
        return self.classifier(token)


class FlipIT(nn.Module):
    """Images (B, 3, S, S) in [-1, 1] to logits (B, 2), bona fide and attack, by their cosines with the classes."""

    owner: Tensor  # (N,): the class of each caption, 1 = attack

    def __init__(self, clip: Clip, captions: list[list[str]], options: Options) -> None:
        super().__init__()
        self.images, self.clip = Images(options), clip
        self.normalised = options.class_mean == "normalised"
        spoof, real = captions
        self.sentences, self.spoof_count = [*spoof, *real], len(spoof)
        self.register_buffer("owner", torch.tensor([1] * len(spoof) + [0] * len(real)), persistent=False)

    def features(self, rgb: Tensor, depth: Tensor, ir: Tensor) -> Tensor:
        """A sample's feature (B, D): that of its one image, or the mean of those of its three, each of length 1."""
        each = [at_least_float32(self.clip.encode_image(x)) for x in self.images(rgb, depth, ir)]
        return each[0] if len(each) == 1 else torch.stack([F.normalize(x, dim=1) for x in each]).mean(0)

    def text(self) -> Tensor:
        """The captions' features (N, D), spoof before bona fide."""
        return at_least_float32(self.clip.encode_text(self.sentences))

    def logits(self, features: Tensor, text: Tensor) -> Tensor:
        spoof, real = text[: self.spoof_count], text[self.spoof_count :]
        with torch.autocast(features.device.type, enabled=False):  # a hundred cosines: too coarse in bfloat16
            return ensemble_logits(features, spoof, real, self.clip.scale, self.normalised)

    def forward(self, rgb: Tensor, depth: Tensor, ir: Tensor) -> Tensor:
        return self.logits(self.features(rgb, depth, ir), self.text())


class FlipMCL(FlipIT):
    """As `FlipIT`, with the MLP that training puts behind the features of two views."""

    def __init__(self, clip: Clip, captions: list[list[str]], options: Options) -> None:
        super().__init__(clip, captions, options)
        widths = clip.dim, options.mlp, options.mlp, options.embedding
        layers: list[nn.Module] = [nn.Linear(widths[0], widths[1])]
        for ins, outs in pairwise(widths[1:]):
            layers += [nn.BatchNorm1d(ins), nn.ReLU(), nn.Linear(ins, outs)]
        self.mlp = nn.Sequential(*layers)


# The method


class Learned(NamedTuple):
    """What the losses of a step of mcl are computed from."""

    logits: Tensor  # (B, 2): bona fide, attack
    text: Tensor  # (N, D): the captions' features
    views: tuple[Tensor, Tensor]  # (B, D): the features of either view
    embedded: tuple[Tensor, Tensor]  # (B, E): what the MLP makes of them


class Method(clip_classifier.CaptionMethod[Options]):
    """FLIP in one of its variants."""

    def __init__(self, options: Options, device: torch.device) -> None:
        super().__init__(options, device)
        for name, sentences in zip(("spoof", "real"), self.captions, strict=True):
            if options.variant == "mcl" and len(sentences) < 2:
                raise BadInput(
                    f"--captions {options.captions}: one caption of the class {name} has no halves; "
                    "give at least two of each class, or --variant it"
                )

    def build(self) -> nn.Module:
        options = self.options
        if options.variant == "v":
            return FlipV(self.clip, options)
        return (FlipMCL if options.variant == "mcl" else FlipIT)(self.clip, self.captions, options)

    def reused(self) -> Sequence[Reusable]:
        captions: list[Reusable] = [(self.network, "text")] if isinstance(self.network, FlipIT) else []
        return [(self.clip.model.visual, "forward"), *captions]

    def shared(self) -> Sequence[Shared]:
        return [(self.network, "features")] if isinstance(self.network, FlipMCL) else super().shared()

    def views(self, batch: Batch, training: Training) -> Batch:
        batch, options = super().views(batch, training), self.options
        if options.saturation == "none":
            return batch
        return replace(batch, rgb=some_saturated(batch.rgb, self.draws, options.saturation == "wrapped"))

    def schedule(self, optimiser: torch.optim.Optimizer, batch: Batch, training: Training) -> None:
        if self.options.rate == "cosine":
            super().schedule(optimiser, batch, training)

    def forward(self, batch: Batch) -> Tensor | Learned:
        network = self.network
        if not isinstance(network, FlipMCL):
            return super().forward(batch)
        text = network.text()
        logits = network.logits(network.features(*batch.images), text)
        with torch.autocast(batch.rgb.device.type, enabled=False):  # blurs in full precision
            first, second = (random_view(batch.images, self.draws) for _ in range(2))
        views = network.features(*first), network.features(*second)
        embedded = network.mlp(views[0]), network.mlp(views[1])
        return Learned(logits, text, views, embedded)

    def losses(self, output: Tensor | Learned, batch: Batch) -> dict[str, Tensor]:
        if not isinstance(output, Learned):
            return {"loss": cross_entropy(output, batch.label)}
        options = self.options
        first, second = map(at_least_float32, output.embedded)
        halves = caption_halves(
            self.network.get_buffer("owner"), batch.label.long(), self.draws, options.halves == "overdrawn"
        )
        classes = cross_entropy(output.logits, batch.label)
        simclr = simclr_loss(first, second, options.temperature)
        consistency = text_view_consistency(*output.views, output.text, *halves)
        total = classes + options.simclr_weight * simclr + options.consistency_weight * consistency
        return {"loss": total, "classes": classes, "simclr": simclr, "consistency": consistency}

    def scores(self, output: Tensor) -> dict[str, Tensor]:
        return {HEADLINE: logit_difference(output)}

    def predict(self, batch: Batch) -> dict[str, Tensor]:
        return self.scores(self.network(*batch.images))


if __name__ == "__main__":
    method.main(Method, Options, __doc__)
