"""CMFL, a row of MMDA Tables 1 to 3: a stream for each modality, whose losses count less the surer the other one is.

George, Marcel: Cross Modal Focal Loss for RGBD Face Anti-Spoofing. CVPR 2021, arXiv 2103.00948.

    python -m reference.rivals.cmfl --index build/…/index.csv --run-dir build/runs/cmfl

Each modality goes through DeepPixBiS's encoder, the first eight modules of DenseNet-161: 384 channels of 14 x 14 cells
at 224 x 224, averaged over the cells, and a sigmoid on each average. On every stream's 384 features stands a linear
layer of one output, a branch; on all streams' features side by side another one, the joint head, whose sigmoid is the
probability r of a bona fide face. Depth and infrared have one plane: the first convolution of their encoders is RGB's,
its kernels averaged over the three planes.

Let p and q be the probabilities that two branches give to what a sample really is. Then

    w(p, q) = q * 2 p q / (p + q),
    CMFL(p, q) = the mean over samples of 1/2 [-alpha (1 - w(p, q))^gamma log p - alpha (1 - w(q, p))^gamma log q],
    loss = lambda * CMFL + (1 - lambda) * binary cross-entropy of r,      alpha = 1, gamma = 3, lambda = 1/2.

w is near 1 where both branches are sure and right, near 0 where one of them is not. Gradients go through w as well.
Where one branch fails for good the other's loss is plain cross-entropy. CMFL does not change when its branches swap
places, but w does: it favours the probability of the other branch.

Parameters at 224 x 224, our counts, the same in the original's state:

    encoder of RGB                    3 198 144
    encoder of depth                  3 188 736   its first convolution has a third of the weights
    two branches                            770
    joint head                              769
    preset released, RGB and depth    6 388 419
    with infrared (R1)                9 577 924   another 3 188 736, a third branch 385, 384 more of the joint head

Readings:

  R0  First weights of all encoders: fresh unless `--weights torchvision` or a file says otherwise. The authors began
      from ImageNet's, and the paper profile does.
  R1  Infrared. The method is one of RGB and depth. MMDA's tables, after MMDG's, head its row "RGB, depth, IR" and do
      not say what became of infrared; nobody published an extension. That it was looked at their numbers suggest: HTER
      is 28.26 in the mean of Table 1 and 30.55 in Table 2 when infrared is missing, 31.37 when depth is, 31.89 when
      both are; a network without infrared would have the first two alike, and the last two. How is our decision:
      `pairs` makes a third stream as depth's is made, takes CMFL of each of the three pairs of branches and averages,
      and puts three features under the joint head. No modality is special in it, the loss keeps its scale, and of two
      streams it is the paper's own. `none` is the paper's network; without infrared it scores as with it.
  R2  Pixels: the code feeds [0, 1]; the tables' loaders have (x - 127.5) / 128. Nothing takes out ImageNet's mean and
      deviation, although the weights were trained with it; `imagenet` does, of depth and infrared with the mean of the
      three planes' values.
  R3  The sigmoid on the features is in the code, and so in the network whose results were published. Without it,
      `--features plain`, the heads see the averages themselves.
  R4  The code has a switch, off in its configuration, that keeps the gradient of w(p, q) from the branch of q, and that
      of w(q, p) from the branch of p: `--partner detached`.
  R5  Another switch, off there too, makes w vanish for bona fide samples, whose loss is cross-entropy then:
      `--modulated attacks`.
  R6  The code adds 1e-9 to q and to p + q in w(p, q) lest it divide by nothing. A second public copy of its loss does
      so for w(p, q) alone and takes (q + 1e-9) 2 p p / (p + q + 1e-9) for w(q, p), which is the same but for 1e-9:
      `--epsilon asymmetric`. Neither moves a weight by more than 2e-9. Without either, w is computed from the
      logarithms of p and q and is 0 where both are.
  R7  alpha, gamma and lambda: the code's. The paper's text was not read again.
  R8  Score: the joint head's, as the code has it; it can also take the mean of the branches' probabilities, or of all
      heads'. Every branch's own score is kept beside it, by its modality's name: where depth is missing, that of `rgb`
      is one that did not look at black images.
  R9  Training: Adam at a constant 1e-4 with weight decay 1e-6 in the gradient, batches of 64, 25 epochs, flips, by the
      code's configuration for HQ-WMCA. How the tables' row was trained is published nowhere.
  R10 The code shuffles all frames; the tables' batches are balanced by class, as everywhere here.

The original's crops, and what makes 8 bits of its depth, belong to the images: data_manifests/preprocessing.py, `cmfl`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import Annotated, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from data_manifests.errors import BadInput
from reference.batches import Batch, Sampler, ShuffledSampler
from reference.options import Count, Weight, Within, reading
from reference.reuse import Reusable
from reference.rivals import method
from reference.rivals.blocks import start
from reference.rivals.blocks.densenet161 import GROWTH, TRUNK, WIDENING, densenet161_encoder
from reference.rivals.blocks.imagenet_input import ImageNetInput
from reference.rivals.blocks.precision import at_least_float32
from reference.rivals.blocks.start import FRESH, Start, StartedMethod
from reference.rivals.blocks.stem import SHARED_SCALE
from reference.runs import HEADLINE
from reference.training import Training

EPSILON = 1e-9
SMALLEST = 13  # pixels: the encoder halves four times, of which two round up
MODALITIES = ("rgb", "depth", "ir")

Output = tuple[Tensor, Tensor]


@dataclass(frozen=True, kw_only=True)
class Options(start.Options):
    """Train and evaluate CMFL on RGB and depth, with infrared or without."""

    growth: Count = GROWTH
    """Channels that each dense layer adds; all others are in proportion."""

    infrared: Literal["pairs", "none"] = reading("none", table="pairs")
    """R1: a third stream, with the loss of every pair of branches, or left away."""

    pixels: Literal["unit", "shared", "imagenet"] = reading("unit", table="shared")
    """R2: encoders are fed [0, 1], (x - 127.5) / 128, or [0, 1] less ImageNet's mean and over its deviation."""

    features: Literal["sigmoid", "plain"] = reading("sigmoid")
    """R3: heads see the sigmoid of each channel's average, or the average."""

    partner: Literal["attached", "detached"] = reading("attached")
    """R4: whether the gradient of a branch's weight reaches the other branch too."""

    modulated: Literal["both", "attacks"] = reading("both")
    """R5: the classes whose samples are weighted; others have cross-entropy."""

    epsilon: Literal["none", "both", "asymmetric"] = reading("none", released="both")
    """R6: where 1e-9 is added within the weights."""

    alpha: Weight = reading(1.0)
    """R7: factor of the cross-modal focal loss."""

    gamma: Weight = reading(3.0)
    """R7: its exponent, 0 or at least 1; 0 is cross-entropy of each branch."""

    balance: float = reading(0.5)
    """R7: lambda, the weight of the cross-modal focal loss; the joint head's is 1 - lambda."""

    score: Literal["joint", "branches", "all"] = reading("joint")
    """R8: the joint head's log-odds, the branches' mean probability, or that of all heads."""

    optimiser: Literal["adamw", "adam_l2", "sgd"] = reading("adam_l2")
    """R9: adamw decays weights apart from the gradient, adam_l2 adds the decay to the gradient; sgd has momentum."""

    learning_rate: float = reading(1e-4)
    """R9: the learning rate, which stays."""

    weight_decay: float = reading(1e-6)
    """R9: weight decay of all parameters."""

    batch_size: int = reading(64)
    """R9: samples a step, half of them bona fide where they are balanced; also used to evaluate."""

    epochs: int = reading(25)
    """R9: passes over the training split."""

    augmentation: Literal["none", "flip"] = reading("flip")
    """R9: flip mirrors each training sample with probability 1/2, all its modalities alike."""

    sampling: Literal["balanced", "shuffled"] = reading("shuffled", table="balanced")
    """R10: batches hold as many bona fide as attacks, or an epoch is a shuffle of all frames."""

    protocol: str = "official"
    """Protocol of the index whose splits train, val and test are used."""

    image_size: Annotated[int, Within(SMALLEST, 4096)] = 224
    """Side of the square images, in pixels; the encoder halves them four times."""

    @property
    def sees(self) -> str:
        return "RD" if self.infrared == "none" else super().sees

    def check(self) -> None:
        super().check()
        if 0 < self.gamma < 1:
            raise BadInput(
                f"--gamma {self.gamma}: a power below 1 has no gradient where both branches are certain; "
                "give at least 1, or 0 for cross-entropy"
            )
        if not 0 <= self.balance <= 1:
            raise BadInput(f"--balance {self.balance}: it is a share; give a number from 0 to 1")


def cross_modal_weight(own: Tensor, other: Tensor, epsilon: str = "none") -> Tensor:
    """w(p, q) = q * 2 p q / (p + q), (…), of what a sample's class costs two branches: own = -log p, other = -log q.

    `epsilon` says whether 1e-9 is added to p + q, and to the factor that "other" or "own" names (R6).
    """
    if epsilon == "none":
        return 2 * torch.exp(-2 * other) * torch.sigmoid(other - own)  # 2 q q * p / (p + q)
    p, q = torch.exp(-own), torch.exp(-other)
    product = p * (q + EPSILON) if epsilon == "other" else (p + EPSILON) * q
    return 2 * q * product / (p + q + EPSILON)


def cross_modal_focal_loss(
    branches: Tensor,
    bonafide: Tensor,
    alpha: float,
    gamma: float,
    epsilon: str = "none",
    partner: str = "attached",
    modulated: str = "both",
) -> Tensor:
    """The mean (), over samples and ordered pairs of branches, of alpha (1 - w)^gamma times the first's cross-entropy.

    branches (B, M) are logits of bona fide, M at least 2, bonafide (B,) is 1 or 0; `epsilon`, `partner` and `modulated`
    as of R6, R4 and R5.
    """
    target = bonafide.to(branches)
    costs = F.binary_cross_entropy_with_logits(branches, target[:, None].expand_as(branches), reduction="none")
    terms = []
    for i, j in permutations(range(costs.shape[1]), 2):
        own, other = costs[:, i], costs[:, j]
        place = {"none": "none", "both": "other", "asymmetric": "other" if i < j else "own"}[epsilon]
        weight = cross_modal_weight(own, other.detach() if partner == "detached" else other, place)
        if modulated == "attacks":
            weight = weight * (1 - target)
        terms.append(alpha * (1 - weight).clamp_min(0) ** gamma * own)  # EPSILON takes a weight past 1
    return torch.stack(terms).mean()


def joint_objective(of_branches: Tensor, joint: Tensor, bonafide: Tensor, balance: float) -> dict[str, Tensor]:
    """balance * the branches' loss () + (1 - balance) * binary cross-entropy of the joint head's logits (B,), as
    "loss", and both parts; bonafide (B,) is 1 or 0."""
    of_joint = F.binary_cross_entropy_with_logits(joint, bonafide.to(joint))
    return {"loss": balance * of_branches + (1 - balance) * of_joint, "branches": of_branches, "joint": of_joint}


class SharedInput(nn.Module):
    """An image in [-1, 1] as the tables' loaders make it."""

    def forward(self, image: Tensor) -> Tensor:
        return SHARED_SCALE * image


class UnitInput(nn.Module):
    """An image in [-1, 1] to [0, 1]."""

    def forward(self, image: Tensor) -> Tensor:
        return (image + 1) / 2


def with_one_plane(encoder: nn.Sequential) -> nn.Sequential:
    """The encoder for images of one plane: each kernel of its first convolution becomes its mean over the planes."""
    first = encoder[0]
    assert isinstance(first, nn.Conv2d)
    weight = first.weight.detach().mean(1, keepdim=True)
    first.in_channels, first.weight = 1, nn.Parameter(weight)
    return encoder


class CMFL(nn.Module):
    """rgb, depth, ir (B, 3, S, S) in [-1, 1] to logits of bona fide: of the branches (B, M), of the joint head (B,).

    M is 3, or 2 without infrared.
    """

    def __init__(self, options: Options, begun: Start = FRESH) -> None:
        super().__init__()
        streams, width = 2 + (options.infrared == "pairs"), WIDENING * options.growth
        self.squashed = options.features == "sigmoid"
        self.input = {"unit": UnitInput, "shared": SharedInput, "imagenet": ImageNetInput}[options.pixels]()
        encoders = [densenet161_encoder(begun, options.growth) for _ in range(streams)]
        self.encoders = nn.ModuleList([encoders[0], *map(with_one_plane, encoders[1:])])
        self.branches = nn.ModuleList(nn.Linear(width, 1) for _ in range(streams))
        self.joint = nn.Linear(streams * width, 1)

    def forward(self, rgb: Tensor, depth: Tensor, ir: Tensor) -> Output:
        images = [self.input(x) for x in (rgb, depth, ir)[: len(self.encoders)]]
        planes = [images[0], *(x.mean(1, keepdim=True) for x in images[1:])]
        features = [encoder(x).mean((2, 3)) for encoder, x in zip(self.encoders, planes, strict=True)]
        if self.squashed:
            features = [x.sigmoid() for x in features]
        branches = [branch(x) for branch, x in zip(self.branches, features, strict=True)]
        return torch.cat(branches, 1), self.joint(torch.cat(features, 1))[:, 0]


class Method(StartedMethod[Options]):
    """CMFL under its two losses."""

    TRUNK = TRUNK
    network: CMFL

    def build(self) -> nn.Module:
        return CMFL(self.options, self.start)

    def reused(self) -> Sequence[Reusable]:
        return [(encoder, "forward") for encoder in self.network.encoders]

    def losses(self, output: Output, batch: Batch) -> dict[str, Tensor]:
        branches, joint = (at_least_float32(x) for x in output)
        o, bonafide = self.options, 1 - batch.label
        of_branches = cross_modal_focal_loss(branches, bonafide, o.alpha, o.gamma, o.epsilon, o.partner, o.modulated)
        return joint_objective(of_branches, joint, bonafide, o.balance)

    def scores(self, output: Output) -> dict[str, Tensor]:
        branches, joint = (at_least_float32(x) for x in output)
        probabilities = torch.cat([branches, joint[:, None]], 1).sigmoid()
        of_all = {"joint": joint, "branches": probabilities[:, :-1].mean(1), "all": probabilities.mean(1)}
        return {HEADLINE: of_all[self.options.score], **dict(zip(MODALITIES, branches.unbind(1), strict=False))}

    def sampler(self, training: Training) -> Sampler:
        if self.options.sampling == "balanced":
            return super().sampler(training)
        return ShuffledSampler(training.train.size, self.options.batch_size, self.options.seed)

    def schedule(self, optimiser: torch.optim.Optimizer, batch: Batch, training: Training) -> None:
        """The rate stays (R9)."""


if __name__ == "__main__":
    method.main(Method, Options, __doc__)
