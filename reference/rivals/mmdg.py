"""MMDG, a row of MMDA's Tables 1 to 3: certain tokens teach those of another modality, and slow modalities come first.

Lin, Wang, Cai, Liu, Fu, Yu, Tang, Kot: Suppress and Rebalance: Towards Generalized Multi-Modal Face Anti-Spoofing. CVPR
2024, arXiv 2402.19298. The tables are its own: MMDA's and DADM's took them over.

    python -m reference.rivals.mmdg --index build/…/index.csv --run-dir build/runs/mmdg --weights torchvision

A ViT-B/16 sees one modality at a time, each with a class token and positions of its own (blocks/vit_trunk.py). The
three class tokens, after the final norm, go side by side through a linear layer to two logits. Three ideas are added:

  - Certainty. Dropout of p = 0.3 is drawn twenty times of what a layer's attention gives, without a gradient. Where the
    draws lie apart the modality is uncertain:   U = exp(-2.25 standard deviation),   for each channel of each token.
  - U-Adapter. In each layer RGB takes from depth and from infrared, depth from RGB, infrared from RGB; depth and
    infrared take nothing from each other. The tokens of both before the layer's MLP become eight channels. Queries of
    the other modality attend to keys and values of the receiving one, each channel a head; the logits of a query are
    multiplied by the mean U of its token's channels. What comes out is added to the receiver's eight channels, and goes
    through layer norm, a central-difference convolution of theta 0.5 over the patches as a map, and up to 768 again,
    beside the MLP.
  - Single-side prototypes and ReGrad. Before an epoch the mean class token of all bona fide faces is taken, and that of
    each data set's attacks, for each modality. SSP is the cross-entropy of minus the distances from them. The gradients
    of the modalities' SSP are merged before they are added (blocks/gradient_merge.py); the modality of the smallest SSP
    is the fastest, and a modality's weight is the mean U of its class tokens in the last layer.

    loss = CE + 0.3 (SSP of RGB + SSP of depth + SSP of infrared)

Input is 224 x 224, (x - 127.5) / 128, which the network makes of [-1, 1] itself.

Parameters at 224 x 224 with the preset `released`, our counts:

    three patch embeddings             1 771 776   frozen
    eleven layers                     77 966 592   frozen
    last layer, final norm             7 089 408
    class tokens, positions              456 192   2 304 and 453 888
    48 U-Adapters of 20 072              963 456   down 2 x 6 152, attention 264, norm 16, convolution 576, up 6 912
    linear layer                           4 610
    on the path                       88 252 034   of which train 8 513 666; the same in the original's state
    with one patch embedding          87 070 850   the presets `table` (8 513 666 train) and `described` (968 066)

Nothing published trains it: the authors' code holds the network, the prototypes and the merging, of which the last does
not run. `released` is that code after the smallest mend, the removal of an argument that nothing defines, in the loop
of DADM, by the same laboratory. `table` follows the code, with which its numbers were made, unless the code fails to do
what it sets out to do.

Readings:

  R1  A draw of dropout makes of a number x either 0 or x / (1 - p): its deviation is |x| sqrt(p / (1 - p)) whatever the
      network, and twenty draws estimate what is known. In training they are drawn, as published: `--draws 20`. The
      code's dropout stays on at test, so that a score differs from one evaluation to the next and with the place of
      the sample in its batch (`released`, `--test-draws 20`). A score of our tables is to be the sample's own and
      repeatable: there the known deviation takes the place of its estimate, `--test-draws 0`, also for prototypes.
  R2  p = 0.3 and twenty draws are the code's defaults. We draw how many of the twenty keep a number, which is binomial,
      instead of twenty masks: the deviation follows from it alone.
  R3  The paper takes the draws' variance, the code their standard deviation, with n - 1. `table` has the code's, from
      which 2.25 is known, `described` the paper's.
  R4  U multiplies logits, and the logits of one query alike: it is the reciprocal of a temperature. A query that is not
      certain at all takes the mean of all values rather than nothing. `--tempered weights` multiplies after the
      softmax, so that it takes nothing.
  R5  In the code the trunk's last layer, the final norm, class tokens and positions train, too (`--trained last`, T1),
      in the paper's figure adapters and classifier alone (`described`, `--trunk frozen`). `--trained all` is for a
      trunk without trained weights. In the code positions begin anew (T2); `described`, where they never change, keeps
      those of the weights. The code's three copies of the frozen patch embedding (T3) are one thing.
  R6  Merged is what belongs to one modality: class tokens, positions, adapters of the modality that receives, patch
      embeddings of its own where they train. The code names the same parameters, but stops counting at the first that
      has no gradient, so that it finds the class tokens and positions alone, six tensors of 832: in `released` no SSP
      reaches an adapter (`--merged tokens`). Counting on would fail at the next step twice: the last layer's adapters
      have no gradient of the other modalities' SSP, for which nothing stands there and 0 here, and what all modalities
      share has no rule (R7). Of several equally small SSP the code takes all for the fastest, ours the first.
      To the squared length that a projection divides by the code adds 1e-8 (`--merge-epsilon`), which is more than the
      squared length of many a tensor's gradient: of such a tensor what agrees is almost lost, and what is opposed is
      added whole. The paper is not known to add anything, and ours adds nothing.
  R7  What all modalities share, the last layer and the final norm, gets the sum of the SSP gradients, which is what the
      loss says where nothing is merged; in the code as it counts it gets none. That is our decision: the paper is not
      known to say it.
  R8  The weight 0.3 is the code's default. What computes SSP is missing there; DADM's has Euclidean distances.
  R9  Prototypes are of a half of the frames, seen in evaluation mode, and of an epoch's the old ones are 0.2; the first
      ones are new altogether. The code throws a coin for each batch; we take exactly a half of the training frames.
      A class none of whose frames was chosen pulls its prototype to zero, in the code and here. What makes them in the
      code takes the old ones in the order RGB, infrared, depth, gives the new ones in the order RGB, depth, infrared,
      and leaves the network in evaluation; whether its caller minds either is not known. DADM's, of the like, does not:
      depth's prototypes keep infrared's there, and nothing is dropped out in training. Here each keeps its own, and the
      network trains again, in `released`, too.
  R10 The code has five prototypes whatever trains: with three data sets one is always zero, a class that no sample has
      (`released`). Elsewhere there are as many as data sets, and one.
  R11 Before the prototypes are taken the code makes infrared's three channels of its grey values, HOG and PLGF; what
      trains sees infrared alike in all three, at least in DADM's loop. Here infrared is plain in both, in `released`,
      too, where that is a deviation.
  R12 Training is published nowhere: DADM's is taken, Adam at 5e-5 with weight decay 5e-5 in the gradient, batches of
      16, 80 epochs, flips, a constant rate. That is our decision. Batches are balanced by class as everywhere here;
      DADM's are shuffled (`released`).
  R0  First weights: ImageNet's in the code, `--weights torchvision`. Adapters give nothing at first.

Sizes are those of ViT-B/16 unless `--patch`, `--width`, `--depth` and `--heads` narrow it, which no published weights
fit; adapters have eight channels.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from data_manifests.errors import BadInput
from reference.batches import Batch, Sampler, ShuffledSampler
from reference.options import CountOrNone, Weight, option, reading
from reference.processes import own_generator
from reference.rivals import method
from reference.rivals.blocks import vit_trunk
from reference.rivals.blocks.central_difference import CentralDifference
from reference.rivals.blocks.domains import places
from reference.rivals.blocks.gradient_merge import add_merged_gradients
from reference.rivals.blocks.precision import at_least_float32
from reference.rivals.blocks.prototypes import class_means, moved_prototypes, prototype_classes, prototype_loss
from reference.rivals.blocks.start import FRESH, Start, StartedMethod
from reference.rivals.blocks.stem import SHARED_SCALE
from reference.rivals.blocks.token_maps import convolved_tokens, narrowing, quick_gelu, widening
from reference.rivals.blocks.two_logits import cross_entropy, logit_difference
from reference.rivals.blocks.vit_trunk import MODALITIES, SharedTrunk, side_by_side
from reference.runs import HEADLINE
from reference.training import Training

NAMES = ("rgb", "depth", "ir")  # of the modalities, by place
PAIRS = ((0, 1), (0, 2), (1, 0), (2, 0))  # modalities of each layer's adapters: the receiving one, the other
CHANNELS = 8  # within an adapter, each a head of its attention
THETA = 0.5
DROPOUT = 0.2


@dataclass(frozen=True, kw_only=True)
class Options(vit_trunk.Options):
    """Train and evaluate MMDG on RGB, depth and infrared of one to three data sets."""

    draws: CountOrNone = reading(20)
    """R1: draws of dropout that the deviation is taken of in training; 0 takes the expected deviation."""

    test_draws: CountOrNone = reading(0, released=20)
    """R1: the same at test, and where prototypes are computed."""

    drop: float = reading(0.3)
    """R2: probability with which a draw of dropout drops a number."""

    spread: Literal["deviation", "variance"] = reading("deviation", described="variance")
    """R3: certainty falls with the draws' standard deviation or with its square."""

    steepness: Weight = reading(2.25)
    """R3: how fast certainty falls."""

    tempered: Literal["logits", "weights"] = reading("logits")
    """R4: certainty multiplies a query's logits before the softmax, or what comes out after it."""

    trunk: Literal["trains", "frozen"] = reading("trains", described="frozen")
    """R5: of the trunk trains what --trained says, or nothing: adapters and classifier alone."""

    positions: Literal["kept", "anew"] = reading("anew", described="kept")
    """T2: the modalities' positions begin as --weights has them, or each anew from a normal law of deviation 0.02."""

    embedding: Literal["shared", "own"] = reading("shared", released="own")
    """T3: one patch embedding for all modalities, or a copy for each."""

    merged: Literal["owned", "tokens"] = reading("owned", released="tokens")
    """R6: gradients are merged for all that belongs to one modality, or for class tokens and positions alone."""

    merge_epsilon: Weight = reading(0.0, released=1e-8)
    """R6: what a projection adds to the squared length of its base."""

    unowned: Literal["sum", "none"] = reading("sum", released="none")
    """R7: what trained parameters that are not merged get of the prototypes' gradients: their sum, or nothing."""

    prototype_weight: Weight = reading(0.3)
    """R8: weight of the prototypes' losses."""

    prototype_share: float = reading(0.5)
    """R9: share of the training frames whose features make an epoch's prototypes."""

    prototype_memory: float = reading(0.2)
    """R9: share of the prototypes before that stays in an epoch's."""

    prototypes: CountOrNone = reading(0, released=5)
    """R10: prototypes of each modality, of which those without a data set stay zero; at least one for bona fide and
    one for each data set."""

    optimiser: Literal["adamw", "adam_l2", "sgd"] = reading("adam_l2")
    """R12: adamw decays weights apart from the gradient, adam_l2 adds the decay to the gradient."""

    learning_rate: float = reading(5e-5)
    """R12: the learning rate, which stays."""

    weight_decay: float = reading(5e-5)
    """R12: weight decay of all parameters that train."""

    batch_size: int = reading(16)
    """R12: samples a step, half of them bona fide where they are balanced; also used to evaluate."""

    epochs: int = reading(80)
    """R12: passes over the training split."""

    augmentation: Literal["none", "flip"] = reading("flip")
    """R12: flip mirrors each training sample with probability 1/2, all its modalities alike."""

    sampling: Literal["balanced", "shuffled"] = reading("balanced", released="shuffled")
    """R12: batches hold as many bona fide as attacks, or an epoch is a shuffle of all frames."""

    protocol: str = "official"
    """Protocol of the index whose splits train, val and test are used."""

    def check(self) -> None:
        super().check()
        for name in ("draws", "test_draws"):
            if getattr(self, name) == 1:
                raise BadInput(f"{option(name)} 1: one draw has no deviation; give at least 2, or 0 for what to expect")
        if not 0 <= self.drop < 1:
            raise BadInput(f"--drop {self.drop}: it is a probability; give a number from 0 to below 1")
        if not 0 < self.prototype_share <= 1:
            raise BadInput(f"--prototype-share {self.prototype_share}: it is a share; give a number above 0, at most 1")
        if not 0 <= self.prototype_memory < 1:
            raise BadInput(
                f"--prototype-memory {self.prototype_memory}: it is a share; give a number from 0 to below 1"
            )
        if self.merged == "tokens" and self.trunk == "frozen":
            raise BadInput("--merged tokens: no token trains with --trunk frozen; give --merged owned")


def kept_draws(x: Tensor, count: int, drop: float, generator: torch.Generator) -> Tensor:
    """How many of `count` draws of dropout keep each number of x: whole numbers of its shape and kind."""
    return torch.binomial(torch.full_like(x, count), torch.full_like(x, 1 - drop), generator=generator)


def drawn_deviation(x: Tensor, kept: Tensor, count: int, drop: float) -> Tensor:
    """The standard deviation, of x's shape, of `count` draws of dropout of x, of which `kept` are x / (1 - drop) and
    the others 0."""
    return x.abs() / (1 - drop) * (kept * (count - kept) / (count * (count - 1))).sqrt()


def expected_deviation(x: Tensor, drop: float) -> Tensor:
    """The standard deviation of dropout of x, of its shape."""
    return x.abs() * (drop / (1 - drop)) ** 0.5


def certainty(deviation: Tensor, steepness: float, squared: bool = False) -> Tensor:
    """1 where the draws agree, less the further they lie apart; with `squared` by their variance."""
    return torch.exp(-steepness * (deviation.square() if squared else deviation))


def tempered_attention(q: Tensor, k: Tensor, v: Tensor, certain: Tensor, after: bool = False) -> Tensor:
    """Attention (B, H, T, D) of q to k and v (B, H, T, D), whose row of each query is tempered by its certainty (B, T).

    Certainty multiplies the row's logits q k / sqrt(D), so that an uncertain query takes the mean of all values, or,
    with `after`, what the row has made of the values.
    """
    row = certain[:, None, :, None].to(q.dtype)
    if after:
        return row * F.scaled_dot_product_attention(q, k, v)
    return F.scaled_dot_product_attention(row * q, k, v)


class Adapter(nn.Module):
    """What the receiving modality takes from another one: own, other (B, 1 + N, C) and the other's certainty (B, 1 + N)
    to (B, 1 + N, C)."""

    def __init__(self, width: int, after: bool) -> None:
        super().__init__()
        self.after = after
        self.down_own, self.down_other = narrowing(width, CHANNELS), narrowing(width, CHANNELS)
        self.queries, self.keys, self.values = (nn.Linear(CHANNELS, CHANNELS, bias=False) for _ in range(3))
        self.mix = nn.Linear(CHANNELS, CHANNELS)
        self.norm = nn.LayerNorm(CHANNELS)
        self.convolution = CentralDifference(CHANNELS, CHANNELS, THETA)
        self.dropout = nn.Dropout(DROPOUT)
        self.up = widening(CHANNELS, width)

    def forward(self, own: Tensor, other: Tensor, certain: Tensor) -> Tensor:
        x, y = quick_gelu(self.down_own(own)), quick_gelu(self.down_other(other))
        q, k, v = (each.mT[..., None] for each in (self.queries(y), self.keys(x), self.values(x)))  # (B, 8, 1 + N, 1)
        taken = self.mix(tempered_attention(q, k, v, certain, self.after)[..., 0].mT)
        x = convolved_tokens(self.norm(x + taken), self.convolution)
        out: Tensor = self.up(self.dropout(quick_gelu(x)))
        return out


class Output(NamedTuple):
    """What the network says of B samples."""

    logits: Tensor
    """(B, 2): bona fide, attack."""
    features: Tensor
    """(B, 3 C), the class tokens of RGB, depth and infrared."""
    certain: Tensor
    """(B, 3): how certain the last layer's class token of each modality is."""


class MMDG(nn.Module):
    """rgb, depth, ir (B, 3, S, S) in [-1, 1] to `Output`."""

    prototypes: Tensor

    def __init__(self, options: Options, data_sets: int, begun: Start = FRESH) -> None:
        super().__init__()
        self.options = options
        self.trunk = SharedTrunk(options, begun)
        if options.trunk == "frozen":
            self.trunk.requires_grad_(False)
        after = options.tempered == "weights"
        self.adapters = nn.ModuleList(Adapter(options.width, after) for _ in PAIRS * options.depth)  # by layer
        self.classes = nn.Linear(MODALITIES * options.width, 2)
        count = max(1 + data_sets, options.prototypes)
        self.register_buffer("prototypes", torch.zeros(MODALITIES, count, options.width))

    def certainty_of(self, tokens: Tensor, draws: torch.Generator) -> Tensor:
        """How certain tokens (…, C) are (…), in the mean of their channels."""
        options, x = self.options, at_least_float32(tokens.detach())
        count = options.draws if self.training else options.test_draws
        if count:
            deviation = drawn_deviation(x, kept_draws(x, count, options.drop, draws), count, options.drop)
        else:
            deviation = expected_deviation(x, options.drop)
        return certainty(deviation, options.steepness, options.spread == "variance").mean(-1)

    def forward(self, rgb: Tensor, depth: Tensor, ir: Tensor, draws: torch.Generator) -> Output:
        x = self.trunk.embed(SHARED_SCALE * rgb, SHARED_SCALE * depth, SHARED_SCALE * ir)  # (3 B, 1 + N, C)
        for number, layer in enumerate(self.trunk.layers):
            y = layer.ln_1(x)
            attended = layer.dropout(layer.self_attention(y, y, y, need_weights=False)[0])
            certain = self.certainty_of(attended, draws).chunk(MODALITIES)
            x = x + attended
            y = layer.ln_2(x)
            of = y.chunk(MODALITIES)
            adapters = self.adapters[len(PAIRS) * number : len(PAIRS) * (number + 1)]
            added = [adapter(of[m], of[n], certain[n]) for adapter, (m, n) in zip(adapters, PAIRS, strict=True)]
            x = x + layer.mlp(y) + torch.cat([added[0] + added[1], *added[2:]])
        features = side_by_side(self.trunk.ln(x)[:, 0])
        return Output(self.classes(features), features, torch.stack([of[:, 0] for of in certain], 1))

    def owned(self, tokens_alone: bool) -> Iterator[tuple[nn.Parameter, int]]:
        """The parameters that belong to one modality, each with its place: class tokens and positions, and, unless
        `tokens_alone`, patch embeddings of their own, and adapters, which belong to the modality that receives."""
        for each in (self.trunk.class_token, self.trunk.pos_embedding):
            yield from zip(each, range(MODALITIES), strict=True)
        if tokens_alone:
            return
        if self.options.embedding == "own":
            for place, embed in enumerate(self.trunk.conv_proj):
                yield from ((parameter, place) for parameter in embed.parameters())
        for adapter, (place, _) in zip(self.adapters, PAIRS * self.options.depth, strict=True):
            yield from ((parameter, place) for parameter in adapter.parameters())


class Method(StartedMethod[Options]):
    """MMDG under cross-entropy and the prototypes' losses, whose gradients are merged."""

    TRUNK = "vit_b_16"
    network: MMDG

    def build(self) -> nn.Module:
        return MMDG(self.options, len(self.domains), self.start)

    def forward(self, batch: Batch) -> Output:
        return self.network(*batch.images, own_generator(self.draws) if self.network.training else self.test_draws)

    def classes(self, batch: Batch) -> Tensor:
        """Which prototype each sample belongs to (B,)."""
        return prototype_classes(batch.label == 0, places(batch.domain, self.domains))

    def losses(self, output: Output, batch: Batch) -> dict[str, Tensor]:
        classes = self.classes(batch)
        parts = {"classes": cross_entropy(output.logits, batch.label)}
        features = at_least_float32(output.features).chunk(MODALITIES, 1)
        for name, own, prototypes in zip(NAMES, features, self.network.prototypes, strict=True):
            parts[f"prototypes_{name}"] = self.options.prototype_weight * prototype_loss(own, prototypes, classes)
        loss = torch.stack([*parts.values()]).sum()
        return {
            "loss": loss,
            **parts,
            **{f"certain_{n}": c for n, c in zip(NAMES, output.certain.mean(0), strict=True)},
        }

    def backward(self, losses: Mapping[str, Tensor]) -> None:
        """Add cross-entropy's gradient to all that trains, and of the prototypes' gradients what R6 and R7 say."""
        owned = dict(self.network.owned(self.options.merged == "tokens"))
        reached = [
            (parameter, owned.get(parameter))
            for parameter in self.network.parameters()
            if parameter.requires_grad and (parameter in owned or self.options.unowned == "sum")
        ]
        of_prototypes = [losses[f"prototypes_{name}"] for name in NAMES]
        fastest = int(torch.stack(of_prototypes).argmin())
        add_merged_gradients(
            of_prototypes, reached, [fastest], [losses[f"certain_{name}"] for name in NAMES], self.options.merge_epsilon
        )
        losses["classes"].backward()

    def scores(self, output: Output) -> dict[str, Tensor]:
        return {HEADLINE: logit_difference(output.logits)}

    def sampler(self, training: Training) -> Sampler:
        if self.options.sampling == "balanced":
            return super().sampler(training)
        return ShuffledSampler(training.train.size, self.options.batch_size, self.options.seed)

    def optimiser(self, training: Training) -> torch.optim.Optimizer:
        return training.optimiser(p for p in self.network.parameters() if p.requires_grad)

    def schedule(self, optimiser: torch.optim.Optimizer, batch: Batch, training: Training) -> None:
        """The learning rate stays."""

    def before_epoch(self, epoch: int, training: Training) -> None:
        """Take prototypes of the features that a random share of the training frames has now."""
        frames = len(training.train)
        order = torch.randperm(frames, generator=self.draws, device=self.device).cpu().numpy()
        chosen = training.train[order[: math.ceil(self.options.prototype_share * frames)]]
        features, classes = [], []
        self.network.eval()
        with torch.no_grad(), training.arithmetic():
            for batch in training.stream(chosen):
                features.append(at_least_float32(self.forward(batch).features))
                classes.append(self.classes(batch))
        self.network.train()
        old, found = self.network.prototypes, torch.cat(classes)
        new = [class_means(own, found, old.shape[1]) for own in torch.cat(features).chunk(MODALITIES, 1)]
        old.copy_(moved_prototypes(old, torch.stack(new), self.options.prototype_memory if epoch else 0.0))


if __name__ == "__main__":
    method.main(Method, Options, __doc__)
