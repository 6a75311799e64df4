"""DADM, a row of MMDA's Tables 1 to 3 that sees all three modalities: modalities that mask each other, and sources
whose hyperplanes and angles are aligned.

Yang, Lin, Yu, Zhang, Liu, Li, Yuan, Cao: DADM: Dual Alignment of Domain and Modality for Face Anti-spoofing. ICCV 2025,
arXiv 2503.00429.

    python -m reference.rivals.dadm --index build/…/index.csv --run-dir build/runs/dadm --weights torchvision

One ViT-B/16 sees RGB, depth and infrared one at a time (blocks/vit_trunk.py). In each of its twelve layers, for each
pair of modalities, a mask module takes the two attention outputs. Their patches, as maps side by side, go through
convolutions to 256 channels, in which the modalities meet, and on to a mask of numbers between 0 and 1 for every
channel of both: a patch is multiplied by its mask, the class token is not. Each modality then takes half of the 256
channels beside its own and joins both by a linear layer. A modality has two such views, from its two pairs; their mean
goes through an adapter of eight channels with a central-difference convolution (blocks/central_difference.py, theta
0.7), whose output is added to that of the layer's MLP. The adapter begins at zero, so that the trunk begins as it was.
The mean over class token and patches, masked and not yet joined, is a modality's information token of the pair.

The class tokens z of the three modalities, after the final norm and side by side, are judged by a hyperplane of each
source, two logits without bias; a sample in training by that of its own source, at test by the mean of all.

    loss      cross-entropy + 0.3 angles,
              angles = mean over pairs of sources e, f, of the sum over classes, modalities m and n, and samples, of
                       (cos(z_i^m, z_j^m) - target)^2,  i of e and j of f,  target 1 for bona fide, 0.85 for attacks
                       + (cos(z_i^m, z_k^n) - cos(z_j^m, z_l^n))^2,  m before n,  i and k of e, j and l of f
    of each   0.3 prototypes - 0.1 sum over layers of bound,
    modality  prototypes = cross-entropy of the distances to the mean of all bona fide and to each source's attacks,
              bound = mean((a + b) / 2) - log mean exp((a' + b') / 2),  a and b a pair's information tokens, a' and b'
                      the same in random orders of the samples; the modalities have the pairs of RGB and depth, of RGB
                      and infrared, and of depth and infrared, in this order

The gradients of the three modalities' losses are merged (blocks/gradient_merge.py) before they are added to that of the
loss. The modality whose information, the mean of its information tokens, is largest keeps its gradient and takes from
the others what agrees with it; the other two give way. MMDG, from which this comes, has it the other way round: one
modality gives way. After each step every hyperplane turns a little to the one that is least like it
(blocks/aligned_heads.py).

What the bound can be: it is never above 0, whatever a and b, by Jensen's inequality, for the orders do not change the
mean; it is 0 where a' + b' is the same everywhere. For normal a and b of variances v and w it tends to -(v + w) / 8,
independent or not: (a + b) / 2 is a sum, whose mean does not tell whether a and b belong together. To raise the bound
is to make information tokens constant.

Parameters at 224 x 224 with three sources, our counts:

    trunk, one patch embedding               86 102 784   of which train 7 545 600
    36 masks of 4 991 488                   179 693 568
      meet 1 003 008, class token 393 472, weigh 2 217 216, two linear layers 1 377 792
    36 adapters of 13 640                       491 040
    three hyperplanes                            13 824
    on the path                             266 301 216   of which train 187 744 032
    two more patch embeddings                 1 181 184   frozen copies of the first (T3)
    mean hyperplane                               4 608   kept beside the three, and written after each step
    two priors                                  301 056   images that a missing modality was to be; nothing reads them
    state of the original                   267 788 064   of which train 188 045 088, the priors' among them in name

The paper was not read for this file, but for a third-party note on it; where that is silent, `described` is the code.
Readings:

  R0  First weights: fresh unless `--weights torchvision` or a file says otherwise. The authors began from ImageNet's,
      and the paper profile does. Masks and adapters begin as PyTorch's layers do, the adapters' ways as said above.
  T1  What of the trunk trains: by the code the last layer, the final norm, class tokens and positions (`--trained
      last`), by the note masks and adapters alone (`described`, `--trunk frozen`). `--trained all` is for a trunk
      without trained weights.
  T2  The code draws the positions anew, as MMDG's: `--positions anew`. `described`, where they never change, keeps
      those of the weights.
  T3  The code's three patch embeddings are frozen copies of one, which one is as well.
  R1  Which gradients are merged: those of what belongs to one modality, class tokens, positions, adapters, patch
      embeddings of its own where they train, and masks, which by the code's names belong to the later modality of
      their pair. The code walks through the parameters with a counter that stays behind at the first one without a
      gradient: it reaches class tokens and positions, 6 tensors of 1424, and the modalities' losses teach nothing else,
      no mask and no adapter: `--merged tokens --unowned none`. With the counter mended it would stop at what a loss
      does not reach, which has a gradient of zeros here, and at what all modalities share, for which it has no rule;
      and it would leave out the masks' linear layers, which are called fc as the hyperplanes are. What all share gets
      the sum here, which is what the loss says where nothing is merged. That is our decision, as for MMDG. To the
      squared length that a projection divides by the code adds 1e-8 (`--merge-epsilon`), which is more than the squared
      length of many a tensor's gradient; ours adds nothing.
  R2  The code puts the network to evaluation before each step, to make prototypes, and never back: batch norm keeps
      mean 0 and variance 1, and nothing is dropped out: `--mode evaluation`. With `training` each step trains, and only
      the prototypes are made in evaluation.
  R3  The code has exactly three hyperplanes and five prototypes, whatever the number of sources: `--counts wired`. With
      two sources one hyperplane is never taught; it is a third of the mean all the same, and the others turn to it.
      Prototypes of data sets that do not train are zeros, one class more of the loss each.
  R4  Weights. The note has 0.3 for angles and 0.1 for the bound; the code has 0.2 for angles, and for each modality 0.3
      times the prototype loss plus half of the bound. The note does not name the prototypes' weight. Sums over pairs of
      pairs grow with the fourth power of the batch; the paper has sums too. The code divides by three where three
      sources are present, and leaves a class out altogether which one of those present lacks. Its loss of mean
      directions is not in use, and not built.
  R5  Prototypes are the class means of the step's own batch, zeros for a class that is not in it; from the second epoch
      on they keep 0.2 of those of the step before. So the code; MMDG made them once an epoch. The code hands those of
      depth and infrared over in each other's place, so that new ones of depth are mixed with old ones of infrared, and
      the other way round: `--memory crossed`. Before it makes them, the code fills infrared's three channels with its
      grey values, HOG and PLGF, while all else sees infrared alike in all three: `--prototype-infrared stack`. With
      plain infrared and `--mode evaluation` a class of one sample lies on its prototype in the first epoch, where the
      code's distance would have no finite gradient; ours has zeros.
  R6  alpha, by which hyperplanes turn, is 0.995, from the first step on. The code adds 1e-10 to the lengths that it
      divides by, ours does not.
  R7  A missing modality is black at test. The code's loader for training with missing ones makes depth and infrared
      black by chance, together and apart, anew each epoch, with a rate of 0.3, and calls these further sources; it
      stops where it is to drop none. Its loader for testing so has a rate of 0.7, and lists of the target's training
      split. None of it belongs to the tables' main setting: `--drop-modality` is 0 by default and drops each apart.
  R8  The code changes brightness by up to 40 of 255 in each channel, and gamma by up to a half, each modality apart,
      and flips all alike. It rounds to whole grey values between the two, and changes the files of HOG and PLGF apart,
      too; ours rounds nothing, and makes both of the infrared that was changed. The preset `table` only flips, as the
      tables' other rows.
  R9  Training: Adam at 5e-5, a constant rate, with weight decay 5e-5 in the gradient, batches of 16, 80 epochs,
      shuffled frames, by the code and the command of its README; the preset `table` balances batches by class, as
      everywhere here. The code picks the best epoch by the target's scores.

The code numbers bona fide and WMCA's attacks the other way round in its loaders for training and for testing, which is
harmless: at test nothing reads the number. Its model factory reads an option that its command line does not have; the
smallest mend is to leave it out, for the model keeps its value and never reads it. Input is 224 x 224, (x - 127.5) /
128; the network makes it of [-1, 1] itself. The score is bona fide minus attack.

Sizes are the published ones unless options narrow them.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Annotated, Any, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from data_manifests.errors import BadInput
from reference.batches import Batch, Sampler, ShuffledSampler
from reference.options import MOST, Count, Weight, Within, option, reading
from reference.rivals import method
from reference.rivals.blocks import vit_trunk
from reference.rivals.blocks.aligned_heads import aligned_heads
from reference.rivals.blocks.central_difference import CentralDifference
from reference.rivals.blocks.domains import places
from reference.rivals.blocks.flex_modal import drop_modalities, recoloured
from reference.rivals.blocks.gradient_merge import add_merged_gradients
from reference.rivals.blocks.infrared_stack import infrared_stack
from reference.rivals.blocks.precision import at_least_float32
from reference.rivals.blocks.prototypes import class_means, moved_prototypes, prototype_classes, prototype_loss
from reference.rivals.blocks.start import FRESH, Start, StartedMethod
from reference.rivals.blocks.stem import SHARED_SCALE
from reference.rivals.blocks.token_maps import convolved_tokens, narrowing, quick_gelu, widening
from reference.rivals.blocks.two_logits import cross_entropy, logit_difference
from reference.rivals.blocks.vit_trunk import MODALITIES, SharedTrunk, side_by_side
from reference.runs import HEADLINE
from reference.training import Training

NAMES = ("rgb", "depth", "infrared")
PAIRS = ((0, 1), (0, 2), (1, 2))
CROSSED = [0, 2, 1]  # of which modality the code mixes in the old prototypes (R5)
THETA, DROPOUT = 0.7, 0.1  # of the adapters
WIRED_HYPERPLANES, WIRED_PROTOTYPES = 3, 5  # of the code (R3)


@dataclass(frozen=True, kw_only=True)
class Options(vit_trunk.Options):
    """Train and evaluate DADM on RGB, depth and infrared."""

    interaction: Annotated[int, Within(2, MOST)] = 256
    """Channels in which the maps of two modalities meet, an even number; half of them go to either modality."""

    adapter: Count = 8
    """Channels of the adapters."""

    positions: Literal["kept", "anew"] = reading("anew", described="kept")
    """T2: the modalities' positions begin as --weights has them, or each anew from a normal law of deviation 0.02."""

    trunk: Literal["trains", "frozen"] = reading("trains", described="frozen")
    """T1: of the trunk trains what --trained says, or nothing: masks, adapters and hyperplanes alone."""

    merged: Literal["owned", "tokens"] = reading("owned", released="tokens")
    """R1: gradients are merged for all that belongs to one modality, or for class tokens and positions alone."""

    merge_epsilon: Weight = reading(0.0, released=1e-8)
    """R1: what a projection adds to the squared length of its base."""

    unowned: Literal["sum", "none"] = reading("sum", released="none")
    """R1: what is not merged gets the sum of the gradients of the modalities' losses, or nothing of them."""

    mode: Literal["training", "evaluation"] = reading("training", released="evaluation")
    """R2: in which mode the network trains: evaluation keeps batch norm's first statistics and drops nothing out."""

    counts: Literal["sources", "wired"] = reading("sources", released="wired")
    """R3: a hyperplane for each source and one prototype more, or the code's three hyperplanes and five prototypes."""

    angle: Weight = reading(0.3, released=0.2)
    """R4: weight of the angle loss."""

    information: Weight = reading(0.1, released=0.15)
    """R4: weight of the information bound of each pair of modalities."""

    prototype: Weight = reading(0.3)
    """R4: weight of each modality's prototype loss."""

    kept: float = reading(0.2)
    """R5: from the second epoch on, the share that prototypes keep of those of the step before."""

    memory: Literal["own", "crossed"] = reading("own", released="crossed")
    """R5: what prototypes keep is of their own modality, or depth's are mixed with infrared's old ones and back."""

    prototype_infrared: Literal["plain", "stack"] = reading("plain", released="stack")
    """R5: prototypes are made of infrared as it trains, or of its grey values, HOG and PLGF in its three channels."""

    alpha: float = reading(0.995)
    """R6: the share of its own direction that a hyperplane keeps after each step; 1 leaves all as they are."""

    drop_modality: float = reading(0.0)
    """R7: probability with which a training sample's depth becomes black, and as well its infrared."""

    brightness: int = reading(40, table=0)
    """R8: each channel of a training image becomes brighter or darker by up to so many of 255 grey values."""

    gamma: float = reading(0.5, table=0.0)
    """R8: the exponent of a training image differs from 1 by up to this number."""

    augmentation: Literal["none", "flip"] = reading("flip")
    """R8: flip mirrors each training sample with probability 1/2, all its modalities alike."""

    sampling: Literal["balanced", "shuffled"] = reading("shuffled", table="balanced")
    """R9: an epoch is a shuffle of all frames, or its batches hold as many bona fide as attacks."""

    optimiser: Literal["adamw", "adam_l2", "sgd"] = reading("adam_l2")
    """R9: adam_l2 adds the decay of weights to the gradient, adamw decays apart from it; sgd has momentum 0.9."""

    learning_rate: float = reading(5e-5)
    """R9: learning rate, of all steps."""

    weight_decay: float = reading(5e-5)
    """R9: weight decay of all parameters that train."""

    batch_size: int = reading(16)
    """R9: samples a step; also used to evaluate."""

    epochs: int = reading(80)
    """R9: how often all training frames are shown."""

    protocol: str = "official"
    """Protocol of the index whose splits train, val and test are used."""

    def check(self) -> None:
        super().check()
        if self.interaction % 2:
            raise BadInput(f"--interaction {self.interaction}: give an even number, for either modality takes a half")
        for name in ("kept", "alpha", "drop_modality"):
            if not 0 <= getattr(self, name) <= 1:
                raise BadInput(f"{option(name)} {getattr(self, name)}: give a number from 0 to 1")
        for name, most in {"brightness": 255, "gamma": 0.99}.items():
            if not 0 <= getattr(self, name) <= most:
                raise BadInput(f"{option(name)} {getattr(self, name)}: give a number from 0 to {most}")
        if self.merged == "tokens" and self.trunk == "frozen":
            raise BadInput("--merged tokens: no token trains with --trunk frozen; give --merged owned")
        if self.mode == "training" and self.patch >= self.image_size:
            raise BadInput(
                f"--patch {self.patch}: one patch is an image, and in a batch of one such image batch norm has nothing "
                f"to normalise by; give at most {self.image_size // 2}, or --mode evaluation"
            )


# Special operators and losses


def masked_tokens(tokens: Tensor, mask: Tensor) -> Tensor:
    """Class token and patches (B, 1 + N, C), the patches multiplied by a mask (B, C, H, W) of N = H W places, row by
    row; the class token stays."""
    return torch.cat([tokens[:, :1], tokens[:, 1:] * mask.flatten(2).mT], 1)


def information_bound(a: Tensor, b: Tensor, order_a: Tensor, order_b: Tensor) -> Tensor:
    """Minus the bound () by which information between a and b (B, C) is to be raised; never negative.

    The mean of (a + b) / 2 over samples and channels, less the logarithm of the mean of exp((a' + b') / 2), where the
    samples of a' are those of a in the order order_a (B,), and b' likewise; and that times -1.
    """
    kind, a, b = a.dtype, a.double(), b.double()  # float32 has few digits left of what may be far below its terms
    apart = (a[order_a] + b[order_b]) / 2
    bound = apart.logsumexp((0, 1)) - math.log(apart.numel()) - ((a + b) / 2).mean()
    return bound.to(kind)


def modality_information(tokens: Tensor) -> Tensor:
    """The information (3,) of RGB, depth and infrared: the mean of all of a modality's information tokens.

    tokens (L, 3, B, 2, C) of each layer, of the pairs RGB and depth, RGB and infrared, depth and infrared.
    """
    of_pair = tokens.mean((0, 2, 4))  # (3, 2)
    found = [of_pair[pair, PAIRS[pair].index(m)] for m in range(MODALITIES) for pair in _pairs_of(m)]
    return torch.stack(found).unflatten(0, (MODALITIES, -1)).mean(1)


def _pairs_of(modality: int) -> list[int]:
    return [place for place, pair in enumerate(PAIRS) if modality in pair]


def angle_loss(
    features: Tensor, bonafide: Tensor, place: Tensor, bonafide_cosine: float = 1.0, attack_cosine: float = 0.85
) -> Tensor:
    """How much the angles between features of different sources differ from what they should be, ().

    features (M, B, C) of each modality; bonafide (B,) bool; place (B,) of each sample's source. For two sources and a
    class: the squared differences from the class's cosine of the cosines of all features of one source with those of
    the other, a modality at a time; and the squared differences between the cosines of two modalities' features within
    one source, of whichever samples, and those within the other; all of them added up. The loss is the mean over pairs
    of the sources present of what both classes add up to, 0 for a single source. A class that any source present lacks
    adds nothing.
    """
    directions, loss = F.normalize(features, dim=2), 0 * features.sum()
    present = place.unique()
    for target, of_class in ((bonafide_cosine, bonafide), (attack_cosine, ~bonafide)):
        members = [directions[:, of_class & (place == source)] for source in present]
        if not all(each.shape[1] for each in members):
            continue
        for one, other in combinations(members, 2):
            loss = loss + (one @ other.mT - target).square().sum()
            for m, n in combinations(range(len(features)), 2):
                within_one, within_other = ((each[m] @ each[n].T).flatten() for each in (one, other))
                loss = loss + (within_one[:, None] - within_other).square().sum()
    return loss / max(math.comb(len(present), 2), 1)


def giving_way(information: Tensor) -> list[int]:
    """The modalities, by number, that have less information (M,) than another: their gradients give way."""
    return torch.nonzero(information < information.max()).flatten().tolist()


# The network


def _convolution(
    channels: int, out: int, side: int = 3, groups: int = 1, last: type[nn.Module] = nn.ReLU
) -> tuple[nn.Module, ...]:
    convolution = nn.Conv2d(channels, out, side, padding=side // 2, groups=groups)
    return convolution, nn.BatchNorm2d(out), last()


class Mask(nn.Module):
    """Attention outputs of two modalities, (B, 1 + N, C) each, to what is left of each with what it learns from both,
    (B, 1 + N, C) each, and to the information tokens (B, 2, C) of the two."""

    def __init__(self, width: int, interaction: int) -> None:
        super().__init__()
        half = interaction // 2
        self.meet = nn.Sequential(
            *_convolution(2 * width, 2 * width, groups=2 * width),
            *_convolution(2 * width, interaction, side=1),
            *_convolution(interaction, interaction),
        )
        self.meet_class = nn.Linear(2 * width, interaction)
        self.weigh = nn.Sequential(
            *_convolution(interaction, half),
            *_convolution(half, half),
            *_convolution(half, 2 * width, last=nn.Sigmoid),
        )
        self.join = nn.ModuleList(nn.Linear(width + half, width) for _ in range(2))

    def forward(self, first: Tensor, second: Tensor) -> tuple[list[Tensor], Tensor]:
        both = torch.cat([first, second], 2)  # (B, 1 + N, 2 C)
        side = round((both.shape[1] - 1) ** 0.5)
        met = self.meet(both[:, 1:].mT.unflatten(2, (side, side)))
        learnt = torch.cat([self.meet_class(both[:, :1]), met.flatten(2).mT], 1)
        masked = masked_tokens(both, self.weigh(met))
        joined = [
            join(torch.cat([own, taken], 2))
            for join, own, taken in zip(self.join, masked.chunk(2, 2), learnt.chunk(2, 2), strict=True)
        ]
        return joined, masked.mean(1).unflatten(1, (2, -1))


class Adapter(nn.Module):
    """(B, 1 + N, C) to (B, 1 + N, C) through a central-difference convolution of few channels; zeros at first."""

    def __init__(self, width: int, dim: int) -> None:
        super().__init__()
        self.down, self.up = narrowing(width, dim), widening(dim, width)
        self.convolution, self.dropout = CentralDifference(dim, dim, THETA), nn.Dropout(DROPOUT)

    def forward(self, x: Tensor) -> Tensor:
        narrow = convolved_tokens(quick_gelu(self.down(x)), self.convolution)
        wide: Tensor = self.up(self.dropout(quick_gelu(narrow)))
        return wide


class Alignment(nn.Module):
    """What stands beside a layer's MLP: attention outputs (3 B, 1 + N, C) of all modalities to what is added to the
    layer's output, of that shape, and to the information tokens (3, B, 2, C) of PAIRS."""

    def __init__(self, options: Options) -> None:
        super().__init__()
        self.masks = nn.ModuleList(Mask(options.width, options.interaction) for _ in PAIRS)
        self.adapters = nn.ModuleList(Adapter(options.width, options.adapter) for _ in NAMES)

    def forward(self, attended: Tensor) -> tuple[Tensor, Tensor]:
        of_modality, tokens = attended.chunk(MODALITIES), []
        views: list[list[Tensor]] = [[] for _ in NAMES]
        for (first, second), mask in zip(PAIRS, self.masks, strict=True):
            joined, of_pair = mask(of_modality[first], of_modality[second])
            views[first].append(joined[0])
            views[second].append(joined[1])
            tokens.append(of_pair)
        adapted = [adapter((a + b) / 2) for adapter, (a, b) in zip(self.adapters, views, strict=True)]
        return torch.cat(adapted), torch.stack(tokens)

    def owned(self) -> Iterator[tuple[nn.Parameter, int]]:
        """The parameters with the modality of each. A pair's mask belongs to the later modality of the two."""
        for place, adapter in enumerate(self.adapters):
            yield from ((parameter, place) for parameter in adapter.parameters())
        for (_, later), mask in zip(PAIRS, self.masks, strict=True):
            yield from ((parameter, later) for parameter in mask.parameters())


class Output(NamedTuple):
    features: Tensor  # (B, 3 C)
    tokens: Tensor  # information tokens (B, L, 3, 2, C) of each layer and each of PAIRS


class Dadm(nn.Module):
    """rgb, depth, ir (B, 3, S, S) in [-1, 1] to features (B, 3 C) and information tokens (B, L, 3, 2, C).

    `prototypes` (3, P, C) are what the step before left of them.
    """

    def __init__(self, options: Options, sources: int, begun: Start = FRESH) -> None:
        super().__init__()
        wired = options.counts == "wired"
        hyperplanes = max(sources, WIRED_HYPERPLANES if wired else 0)
        prototypes = max(1 + sources, WIRED_PROTOTYPES if wired else 0)
        self.trunk = SharedTrunk(options, begun)
        if options.trunk == "frozen":
            self.trunk.requires_grad_(False)
        self.alignments = nn.ModuleList(Alignment(options) for _ in range(options.depth))
        self.hyperplanes = nn.ModuleList(
            nn.Linear(MODALITIES * options.width, 2, bias=False) for _ in range(hyperplanes)
        )
        self.prototypes: Tensor
        self.register_buffer("prototypes", torch.zeros(MODALITIES, prototypes, options.width))

    def forward(self, rgb: Tensor, depth: Tensor, ir: Tensor) -> Output:
        x = self.trunk.embed(SHARED_SCALE * rgb, SHARED_SCALE * depth, SHARED_SCALE * ir)
        tokens = []
        for layer, alignment in zip(self.trunk.layers, self.alignments, strict=True):
            normed = layer.ln_1(x)
            attended = layer.dropout(layer.self_attention(normed, normed, normed, need_weights=False)[0])
            adapted, of_layer = alignment(attended)
            x = x + attended
            x = x + layer.mlp(layer.ln_2(x)) + adapted
            tokens.append(of_layer)
        return Output(side_by_side(self.trunk.ln(x[:, 0])), torch.stack(tokens).movedim(2, 0))

    def own_logits(self, features: Tensor, place: Tensor) -> Tensor:
        """The logits (B, 2) of each sample under the hyperplane of its source, place (B,). A hyperplane whose source is
        not there gets no gradient, not even one of zeros, so that the optimiser leaves it alone."""
        logits = features.new_empty(len(features), 2)
        for source in place.unique().tolist():
            of_source = place == source
            logits[of_source] = self.hyperplanes[source](features[of_source])
        return logits

    def mean_logits(self, features: Tensor) -> Tensor:
        """The logits (B, 2) under the mean of all hyperplanes."""
        return F.linear(features, self.hyperplane_weights().mean(0))

    def hyperplane_weights(self) -> Tensor:
        """(E, 2, 3 C)."""
        return torch.stack([hyperplane.get_parameter("weight") for hyperplane in self.hyperplanes])

    def owned(self, tokens_alone: bool) -> Iterator[tuple[nn.Parameter, int]]:
        """The parameters that belong to one modality, each with its place: class tokens and positions, and, unless
        `tokens_alone`, patch embeddings of their own, masks and adapters."""
        for each in (self.trunk.class_token, self.trunk.pos_embedding):
            yield from zip(each, range(MODALITIES), strict=True)
        if tokens_alone:
            return
        if len(self.trunk.conv_proj) > 1:
            for place, embed in enumerate(self.trunk.conv_proj):
                yield from ((parameter, place) for parameter in embed.parameters())
        alignments: Any = self.alignments
        for alignment in alignments:
            yield from alignment.owned()


class Method(StartedMethod[Options]):
    """DADM: aligned modalities, hyperplanes and angles."""

    TRUNK = "vit_b_16"
    network: Dadm

    def __init__(self, options: Options, device: torch.device) -> None:
        super().__init__(options, device)
        self.kept = 0.0  # the share that prototypes keep at this step

    def build(self) -> nn.Module:
        return Dadm(self.options, len(self.domains), self.start)

    def forward(self, batch: Batch) -> Output:
        """In training; it moves the prototypes, which an evaluation of the batch makes, before the step's own pass."""
        network, training = self.network, self.network.training
        network.eval()
        with torch.no_grad():
            ir = infrared_stack(batch.ir) if self.options.prototype_infrared == "stack" else batch.ir
            features = at_least_float32(network(batch.rgb, batch.depth, ir).features)
            classes, count = self.prototype_classes(batch), network.prototypes.shape[1]
            new = torch.stack([class_means(of_modality, classes, count) for of_modality in features.chunk(3, 1)])
            old = network.prototypes[CROSSED] if self.options.memory == "crossed" else network.prototypes
            network.prototypes.copy_(moved_prototypes(old, new, self.kept))
        network.train(training and self.options.mode == "training")
        return network(*batch.images)

    def prototype_classes(self, batch: Batch) -> Tensor:
        return prototype_classes(batch.bonafide == 1, places(batch.domain, self.domains))

    def losses(self, output: Output, batch: Batch) -> dict[str, Tensor]:
        options, network = self.options, self.network
        features, tokens = at_least_float32(output.features), at_least_float32(output.tokens).movedim(0, 2)
        place, classes = places(batch.domain, self.domains), self.prototype_classes(batch)
        of_modality = torch.stack(features.chunk(MODALITIES, 1))
        found = {
            "classes": cross_entropy(network.own_logits(features, place), batch.label),
            "angles": angle_loss(of_modality, batch.bonafide == 1, place),
        }
        found = {"loss": found["classes"] + options.angle * found["angles"], **found}
        for m, name in enumerate(NAMES):
            nearest = prototype_loss(of_modality[m], network.prototypes[m], classes)
            bound = torch.stack([self.bound(of_layer) for of_layer in tokens[:, m]]).sum()
            found[name] = options.prototype * nearest + options.information * bound
        shares = modality_information(tokens.detach())
        return found | {f"information_{name}": share for name, share in zip(NAMES, shares, strict=True)}

    def bound(self, tokens: Tensor) -> Tensor:
        """The information bound () of a pair's tokens (B, 2, C), in random orders."""
        draws = self.draws
        orders = (torch.randperm(len(tokens), generator=draws, device=draws.device) for _ in range(2))
        return information_bound(*tokens.unbind(1), *orders)

    def scores(self, output: Output) -> dict[str, Tensor]:
        return {HEADLINE: logit_difference(self.network.mean_logits(at_least_float32(output.features)))}

    def predict(self, batch: Batch) -> dict[str, Tensor]:
        return self.scores(self.network(*batch.images))

    def sampler(self, training: Training) -> Sampler:
        if self.options.sampling == "balanced":
            return super().sampler(training)
        return ShuffledSampler(training.train.size, self.options.batch_size, self.options.seed)

    def views(self, batch: Batch, training: Training) -> Batch:
        """In this order: flip, colours, dropped modalities."""
        options = self.options
        rgb, depth, ir = super().views(batch, training).images
        if options.brightness or options.gamma:
            rgb, depth, ir = (recoloured(x, options.brightness, options.gamma, self.draws) for x in (rgb, depth, ir))
        if options.drop_modality:
            depth, ir = drop_modalities(depth, ir, options.drop_modality, self.draws)
        return replace(batch, rgb=rgb, depth=depth, ir=ir)

    def optimiser(self, training: Training) -> torch.optim.Optimizer:
        return training.optimiser(p for p in self.network.parameters() if p.requires_grad)

    def schedule(self, optimiser: torch.optim.Optimizer, batch: Batch, training: Training) -> None:
        """The rate stays; from the second epoch on prototypes keep a share of the step before's."""
        self.kept = self.options.kept if training.epoch else 0.0

    def backward(self, losses: Mapping[str, Tensor]) -> None:
        """Add the gradient of the loss to all that trains, and of those of the modalities' losses what R1 says."""
        losses["loss"].backward(retain_graph=True)
        network, options = self.network, self.options
        owned = dict(network.owned(options.merged == "tokens"))
        reached = [
            (parameter, owned.get(parameter))
            for part in (network.trunk, network.alignments)
            for parameter in part.parameters()
            if parameter.requires_grad and (parameter in owned or options.unowned == "sum")
        ]
        information = torch.stack([losses[f"information_{name}"] for name in NAMES])
        of_modalities = [losses[name] for name in NAMES]
        add_merged_gradients(
            of_modalities, reached, giving_way(information), information.unbind(), options.merge_epsilon
        )

    @torch.no_grad()
    def after_step(self, batch: Batch) -> None:
        weights = aligned_heads(self.network.hyperplane_weights(), self.options.alpha)
        for hyperplane, weight in zip(self.network.hyperplanes, weights, strict=True):
            hyperplane.get_parameter("weight").copy_(weight)


if __name__ == "__main__":
    method.main(Method, Options, __doc__)
