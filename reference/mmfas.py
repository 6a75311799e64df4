"""mmFAS: Multimodal Face Anti-Spoofing Using Multi-Level Alignment and Switch-Attention Fusion.

Chen, Xie, Lin, Liu, Wang. AAAI 2025, doi 10.1609/aaai.v39i1.31980. No code was published: the paper is the
whole specification, and this file follows its order. Run it on any index (data_manifests/README.md):

    python -m reference.mmfas --index build/…/index.csv --run-dir build/runs/mine

  Eq. 1   similarity            rows of RGB against rows of depth or infrared
  Eq. 2   match_probabilities   softmax over each row, with temperature
  Eq. 3   icl_loss              instance-level contrastive learning
  Eq. 4   same_class, cm_loss   class-level matching; mine_pairs: its hard negatives and hard positives
          shallow_fusion        "Shallow Fusion": the mean of the two aligned RGB features
  Eq. 5   attention
  Eq. 6   switch                which modality gives queries, keys and values at a layer
  Eq. 6-8 switch_attention      one multi-head layer of it
  Eq. 9   total_loss

Labels are the paper's: 0 = bona fide, 1 = spoof. The model's output is a spoof logit; a *score*, as saved
and as taken by reference/metrics.py, is its negative: higher = more bona fide.

Eq. 3 and 4 speak of the whole batch: where several processes train together (reference/processes.py; equal parts of
the batch in each, the mining's generators in the same state) Alignment compares all of its samples, and averaged
gradients are those of one process.

Readings. What the paper leaves open is one option each; the default stands first.

  A1  the network's shape, by Table 2   --preset table2 | text | depth8. `table2` adds a self-attention to each
      fusion block: the one reading of "depth 6" that meets all six printed counts. `text` is the words taken
      literally (13.87 M against the printed 15.63 M). `depth8` meets 15.63 and 29.66 with the text's block, but
      contradicts its depth.
  A2  what a feature vector is          --pooling cls | mean. Eq. 1-4 need one vector an image, Eq. 5-8 a sequence.
  A3  normalised similarity             --normalise | --no-normalise. Eq. 1 prints a raw dot product; after a
      LayerNorm 270 wide, raw products near 270 over tau = 0.07 would saturate Eq. 2.
  A4  projection before Eq. 1           --projection 0 | WIDTH. The counts leave no room for one.
  A5  the learnable temperature         --tau 0.07, --tau-form clamp | exp, --tau-scope shared | pair.
      `clamp` keeps tau in [0.001, 0.5]; `exp` learns its logarithm.
  A6  Eq. 3's target                    --icl-target instance | recording. The paper: two shots of a person are two
      instances. `recording` makes all frames of a recording positives of each other.
  A7  the factor 1/2 of Eq. 3           as printed: two ALBEF losses summed, not averaged (--alpha 0.5 averages).
  A8  Eq. 4's predictor                 --cm-predictor pair | shared: 540 -> 2, for each pair kind or for both.
  A9  Eq. 4's pairs                     --cm mined | all | random | off. `all` and `random` are Table 2's "CM"
      without mining: every one of the N x N pairs, or N partners by a random permutation.
  A10 hard means                        --mining draw | top. Drawn with probability ~ exp(+-s/tau), or the extreme.
  A11 the "2N pairs" of mining          --mining-pairs anchored | both_ways | matched. One negative and one positive
      for each RGB anchor; or negatives from both sides, N positives beside them (3N); or N negatives and the N
      matched pairs (no hard positive).
  A12 a sample as its own hard positive --own-positive excluded | allowed.
  A13 "update ... the color feature"    --update rgb | query | all. A layer's output goes to the RGB stream; or to
      the stream that gave the queries; or every stream is updated, as seen from its own place in the cycle.
  A14 the residual of a layer           --residual stream | query: added to the updated stream itself, or to the
      tokens that gave the queries (different only with --update rgb).
  A15 first layer                       --first-layer 0 | 1: Table 3's RDI -> DIR -> IRD says 0.
  A16 the fused feature                 --output mean | rgb: "the mean of three modal features", or RGB's alone.
  A17 the head's outputs                --head-outputs 1 | 2. Not separable by the counts; with 2 the spoof logit is
      the difference, which makes softmax cross-entropy and binary cross-entropy the same loss.
  A18 positions                         --positions learned | none. A learned table escapes a count of leaf modules.
  A19 a LayerNorm after the fusion      --no-fusion-norm | --fusion-norm: the counts round alike.
  A20 "Adam ... weight decay 1e-2"      --optimiser adamw | adam_l2: decoupled, or added to the gradient.
  A21 augmentation                      --augmentation none | flip: the paper names none.
  A22 input range                       [-1, 1]: unspecified. Depth and infrared repeat their plane three times: the
      counts force three input channels for every modality.
  A23 cross-attention of three streams  each branch's queries meet the tokens of the other two, side by side.
  A24 a missing modality                black pixels, counted in the report: the paper tests complete samples.
  A25 epoch and threshold               not chosen here: every evaluated epoch's scores are kept, and paper_tables/
      applies each selection rule and threshold policy to them.
"""

import math
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from data_manifests.errors import BadInput
from reference import options as base
from reference.batches import Batch
from reference.draws import one_of_each_row
from reference.evaluation import Rows, Scores, command_errors
from reference.processes import average_gradients, gathered, share
from reference.proven import read_weights
from reference.runs import HEADLINE, finished
from reference.training import Training

# --------------------------------------------------------------------------------------------------------------
# Options
# --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Readings:
    """What the paper leaves open (A1-A21 above). Every default is the reading argued for there."""

    pooling: Literal["cls", "mean"] = "cls"
    """A2: an image's feature vector is its class token, or the mean of its tokens."""
    normalise: bool = True
    """A3: L2-normalise features before Eq. 1."""
    projection: Annotated[int, base.Within(0, 2**16)] = 0
    """A4: width of a linear projection before Eq. 1; 0 for none."""
    tau: Annotated[float, base.Within(0, above=True)] = 0.07
    """A5: the temperature's first value."""
    tau_form: Literal["clamp", "exp"] = "clamp"
    """A5: clamp the temperature to [0.001, 0.5], or learn its logarithm."""
    tau_scope: Literal["shared", "pair"] = "shared"
    """A5: one temperature, or one each for RGB-depth and RGB-infrared."""
    icl_target: Literal["instance", "recording"] = "instance"
    """A6: what matches in Eq. 3: the same instance, or any frame of the same recording."""
    cm_predictor: Literal["pair", "shared"] = "pair"
    """A8: a matching predictor for each pair kind, or one for both."""
    cm: Literal["mined", "all", "random", "off"] = "mined"
    """A9: the pairs of Eq. 4."""
    mining: Literal["draw", "top"] = "draw"
    """A10: draw hard pairs in proportion to exp(similarity), or take the hardest."""
    mining_pairs: Literal["anchored", "both_ways", "matched"] = "anchored"
    """A11: what makes up the 2N pairs."""
    own_positive: Literal["excluded", "allowed"] = "excluded"
    """A12: whether a sample may be its own hard positive."""
    update: Literal["rgb", "query", "all"] = "rgb"
    """A13: which stream a fusion layer updates."""
    residual: Literal["stream", "query"] = "stream"
    """A14: what a fusion layer's output is added to."""
    first_layer: Literal[0, 1] = 0
    """A15: the number of the first fusion layer in Eq. 6."""
    output: Literal["mean", "rgb"] = "mean"
    """A16: the fused feature: the mean of the three streams, or RGB's."""
    head_outputs: Literal[1, 2] = 1
    """A17: one logit, or two whose difference is the spoof logit."""
    positions: Literal["learned", "none"] = "learned"
    """A18: learned position table, or none."""
    fusion_norm: bool = False
    """A19: a last LayerNorm after the fusion."""


@dataclass(frozen=True, kw_only=True)
class Options(Readings, base.Options):
    """Train mmFAS on an index's training split, and score its validation and test samples."""

    preset: Literal["table2", "text", "depth8"] = "table2"
    """A1: the network's shape: the fusion block and its depth."""
    fusion: Literal["switch", "cross", "merge", "mean"] = "switch"
    """Deep fusion: switch-attention, or the ablation's cross-attention, merge-attention or plain mean."""
    modalities: str = "RDI"
    """Which of R, D and I the model sees; fewer than three need --fusion mean."""
    order: str = "RDI"
    """Which modalities give queries, keys and values in layer 0 (Table 3)."""
    icl: bool = True
    """Train with the contrastive loss, Eq. 3."""
    alpha: base.Weight = 1.0
    """Eq. 9's weight of the contrastive loss."""
    beta: base.Weight = 1.0
    """Eq. 9's weight of the matching loss."""

    @property
    def sees(self) -> str:
        return self.modalities

    def check(self) -> None:
        """Raise BadInput for a value that no training can use."""
        super().check()
        try:
            with torch.device("meta"):
                self.model()
        except ValueError as e:
            raise BadInput(f"{e}") from e

    @property
    def aligned(self) -> bool:
        """Whether the alignment losses are trained; they need all three modalities."""
        return self.modalities == "RDI" and (self.icl or self.cm != "off")

    def model(self) -> "MmFAS":
        """The network these options ask for, with fresh weights."""
        readings = Readings(**{f.name: getattr(self, f.name) for f in fields(Readings)})
        return build(self.preset, self.fusion, self.modalities, self.order, self.image_size, readings)


# --------------------------------------------------------------------------------------------------------------
# Multiple-level alignment
# --------------------------------------------------------------------------------------------------------------


def similarity(a: Tensor, b: Tensor, normalise: bool = True) -> Tensor:
    """Eq. 1: s[i, j] = a_i . b_j, of L2-normalised rows when `normalise`. a, b (N, D); s (N, N)."""
    if normalise:
        a, b = F.normalize(a, dim=-1), F.normalize(b, dim=-1)
    return a @ b.T


def match_probabilities(s: Tensor, tau: float | Tensor) -> Tensor:
    """Eq. 2: softmax of s / tau over each row. s (N, N); each row of the result sums to 1."""
    return torch.softmax(s / tau, dim=-1)


def _matching_entropy(s: Tensor, tau: float | Tensor, targets: Tensor | None) -> Tensor:
    """H(y, p) of Eq. 3 for one direction: the mean over rows of -sum_j y_ij log p_ij."""
    log_p = torch.log_softmax(s / tau, dim=-1)  # the logarithm of Eq. 2, which underflows for small tau
    if targets is None:  # y is the identity: the diagonal
        return -log_p.diagonal().mean()
    return -(targets * log_p).sum(-1).mean()


def icl_loss(
    f_rgb: Tensor,
    f_depth: Tensor,
    f_ir: Tensor,
    tau: float | Tensor,
    normalise: bool = True,
    targets: Tensor | None = None,
) -> Tensor:
    """Eq. 3: 1/2 [H(R2D) + H(D2R)] + 1/2 [H(R2I) + H(I2R)].

    f_* (N, D), row i of each the same instance. tau () or (2,), the second form one for each pair kind (A5).
    targets (N, N), rows summing to 1, replaces the identity as y (A6).
    """
    tau_depth, tau_ir = torch.as_tensor(tau, dtype=f_rgb.dtype, device=f_rgb.device).expand(2).unbind()
    loss = f_rgb.new_zeros(())
    for other, t in ((f_depth, tau_depth), (f_ir, tau_ir)):
        s = similarity(f_rgb, other, normalise)  # (N, N)
        y_back = None if targets is None else targets.T / targets.T.sum(-1, keepdim=True)
        loss = loss + (_matching_entropy(s, t, targets) + _matching_entropy(s.T, t, y_back)) / 2
    return loss


NO_PAIR = -100  # in the place of 0 or 1: this row of Eq. 4 is no pair


def same_class(label_a: Tensor, label_b: Tensor) -> Tensor:
    """y of Eq. 4: 1 where two labels (M,) agree, else 0; int64."""
    return (label_a == label_b).long()


def cm_loss(logits_rd: Tensor, same_rd: Tensor, logits_ri: Tensor, same_ri: Tensor) -> Tensor:
    """Eq. 4: mean two-way cross-entropy of the RGB-depth pairs plus that of the RGB-infrared pairs.

    logits (M, 2), column 1 = "same class"; same (M,) of 0 and 1, or NO_PAIR for a row that is no pair and does not
    count. A kind without any pair adds nothing.
    """
    loss = logits_rd.new_zeros(())
    for logits, same in ((logits_rd, same_rd), (logits_ri, same_ri)):
        costs = F.cross_entropy(logits, same.long(), ignore_index=NO_PAIR, reduction="sum")
        loss = loss + costs / (same != NO_PAIR).sum().clamp(min=1)
    return loss


def _candidates(labels: Tensor, own_positive: bool) -> tuple[Tensor, Tensor]:
    """Which columns may be row i's hard negative, and which its hard positive: two (N, N) of bool."""
    same = labels[:, None] == labels[None, :]
    own = torch.eye(labels.shape[0], dtype=torch.bool, device=labels.device)
    return ~same, same if own_positive else same & ~own


@torch.no_grad()
def mine_pairs(
    s: Tensor, labels: Tensor, generator: torch.Generator, own_positive: bool = False
) -> tuple[Tensor, Tensor]:
    """Hard negatives and hard positives, by drawing (Sec. 3, HNM and HPM). No gradient.

    For each row i of s (N, N): one j of another class with probability ~ exp(s[i, j]), and one j != i of the
    same class with probability ~ exp(-s[i, j]); -1 where there is no candidate. labels (N,); both results (N,)
    int64. `own_positive` lets j = i be a positive (A12). The model hands in s / tau.
    """

    def draw(weight: Tensor, allowed: Tensor) -> Tensor:
        weight = weight.to(torch.promote_types(weight.dtype, torch.float32))
        some = allowed.any(-1)
        # A row without candidates draws from a uniform law, and its draw is thrown away.
        p = torch.softmax(weight.masked_fill(~allowed, -math.inf).masked_fill(~some[:, None], 0), dim=-1)
        return one_of_each_row(p, generator).where(some, -1)

    negative, positive = _candidates(labels, own_positive)
    return draw(s, negative), draw(-s, positive)


@torch.no_grad()
def hardest_pairs(s: Tensor, labels: Tensor, own_positive: bool = False) -> tuple[Tensor, Tensor]:
    """A10 `top`: as mine_pairs, but the most similar negative and the least similar positive."""

    def top(weight: Tensor, allowed: Tensor) -> Tensor:
        return weight.masked_fill(~allowed, -math.inf).argmax(-1).where(allowed.any(-1), -1)

    negative, positive = _candidates(labels, own_positive)
    return top(s, negative), top(-s, positive)


class Alignment(nn.Module):
    """The training-only part: temperature, matching predictors, and the two losses. "Disabled" at test."""

    def __init__(self, readings: Readings, icl: bool = True, dim: int = 270) -> None:
        super().__init__()
        self.r, self.icl = readings, icl
        shape = (2,) if readings.tau_scope == "pair" else ()
        first = math.log(readings.tau) if readings.tau_form == "exp" else readings.tau
        self.tau_parameter = nn.Parameter(torch.full(shape, first))
        self.project = nn.ModuleList(
            nn.Linear(dim, readings.projection) if readings.projection else nn.Identity() for _ in range(3)
        )
        predictors = [nn.Linear(2 * dim, 2) for _ in range(1 if readings.cm_predictor == "shared" else 2)]
        self.predict = nn.ModuleList([predictors[0], predictors[-1]])  # RGB-depth, RGB-infrared

    @property
    def tau(self) -> Tensor:
        """() or (2,)."""
        return self.tau_parameter.exp() if self.r.tau_form == "exp" else self.tau_parameter

    @torch.no_grad()
    def clamp_tau(self) -> None:
        """A5 `clamp`: called after each optimiser step, so that the limit takes no gradient away."""
        if self.r.tau_form == "clamp":
            self.tau_parameter.clamp_(0.001, 0.5)

    def forward(
        self,
        f_rgb: Tensor,
        f_depth: Tensor,
        f_ir: Tensor,
        labels: Tensor,
        recordings: Tensor,
        generator: torch.Generator,
    ) -> tuple[Tensor, Tensor]:
        """(L_ICL, L_CM) of a batch: f_* (N, D) pooled features, labels (N,), recordings (N,) numbers.

        With a process group each process hands in its equal part of the batch, and a generator in the same state as
        everybody's: all draw the same pairs of the whole batch and get its losses.
        """
        f_rgb, f_depth, f_ir, labels, recordings = map(gathered, (f_rgb, f_depth, f_ir, labels, recordings))
        rgb, depth, ir = (p(f) for p, f in zip(self.project, (f_rgb, f_depth, f_ir), strict=True))
        zero = f_rgb.new_zeros(())
        icl = icl_loss(rgb, depth, ir, self.tau, self.r.normalise, self._targets(recordings)) if self.icl else zero
        if self.r.cm == "off":
            return icl, zero
        logits, same = [], []
        for kind, (f_other, projected) in enumerate(((f_depth, depth), (f_ir, ir))):
            tau = self.tau.expand(2)[kind]
            s = similarity(rgb, projected, self.r.normalise) / tau  # (N, N)
            i, j = self._pairs(s.detach(), labels, generator)  # (M,) rows of RGB and of the other modality
            logits.append(self.predict[kind](torch.cat([f_rgb[i], f_other[j]], dim=-1)))  # (M, 2)
            # An anchor without a candidate is left out; to cut its row out, one would have to wait for the device.
            same.append(same_class(labels[i], labels[j]).where((i >= 0) & (j >= 0), NO_PAIR))
        return icl, cm_loss(logits[0], same[0], logits[1], same[1])

    def _targets(self, recordings: Tensor) -> Tensor | None:
        if self.r.icl_target == "instance":
            return None
        y = (recordings[:, None] == recordings[None, :]).float()
        return y / y.sum(-1, keepdim=True)

    def _pairs(self, s: Tensor, labels: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Eq. 4's pairs (i of RGB, j of the other modality) under A9-A12; -1 for an anchor without a candidate."""
        n = torch.arange(len(labels), device=labels.device)
        if self.r.cm == "all":
            return n.repeat_interleave(len(n)), n.repeat(len(n))
        if self.r.cm == "random":
            # Drawn where the generator lives, so that CPU and CUDA runs each repeat themselves.
            return n, torch.randperm(len(n), generator=generator, device=generator.device).to(n.device)

        def mine(weights: Tensor) -> tuple[Tensor, Tensor]:
            own = self.r.own_positive == "allowed"
            if self.r.mining == "top":
                return hardest_pairs(weights, labels, own)
            return mine_pairs(weights, labels, generator, own)

        negative, positive = mine(s)
        if self.r.mining_pairs == "matched":
            pairs = [(n, negative), (n, n)]
        elif self.r.mining_pairs == "both_ways":
            back, _ = mine(s.T)
            pairs = [(n, negative), (back, n), (n, positive)]
        else:
            pairs = [(n, negative), (n, positive)]
        i, j = (torch.cat(side) for side in zip(*pairs, strict=True))
        return i, j


# --------------------------------------------------------------------------------------------------------------
# Switch-attention fusion: the equations
# --------------------------------------------------------------------------------------------------------------


def shallow_fusion(rgb_1: Tensor, rgb_2: Tensor) -> Tensor:
    """Shallow fusion: the mean of the RGB feature aligned with depth and the one aligned with infrared."""
    return (rgb_1 + rgb_2) / 2


def attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Eq. 5: softmax(q k^T / sqrt(d_k)) v. q (..., T, d_k), k (..., S, d_k), v (..., S, d); result (..., T, d)."""
    return torch.softmax(q @ k.transpose(-2, -1) / math.sqrt(k.shape[-1]), dim=-1) @ v


def switch(streams: tuple[Tensor, Tensor, Tensor], layer: int, order: str = "RDI") -> tuple[Tensor, Tensor, Tensor]:
    """Eq. 6's choice: which of `streams` (rgb, depth, ir) give queries, keys and values at `layer`.

    Layer 0 takes them in `order`; every further layer shifts that order left by one.
    Raises ValueError for an order that is not a permutation of R, D and I.
    """
    if sorted(order) != sorted("RDI"):
        raise ValueError(f"order must name R, D and I once each, not {order!r}")
    by_name = dict(zip("RDI", streams, strict=True))
    shift = layer % 3
    q, k, v = (by_name[m] for m in order[shift:] + order[:shift])
    return q, k, v


def multi_head(
    q_src: Tensor,
    k_src: Tensor,
    v_src: Tensor,
    wq: Tensor,
    wk: Tensor,
    wv: Tensor,
    wo: Tensor,
    bo: Tensor,
    heads: int,
    attend: Callable[[Tensor, Tensor, Tensor], Tensor] = attention,
) -> Tensor:
    """Eq. 7 and 8: project, split the last axis into `heads` in order, attend, join, project with bias.

    q_src (B, T, D), k_src and v_src (B, S, D); weights (D, D) applied as x @ w.T; result (B, T, D).
    """

    def split(x: Tensor, w: Tensor) -> Tensor:
        return F.linear(x, w).unflatten(-1, (heads, -1)).transpose(-3, -2)  # (B, h, T, D/h)

    joined = attend(split(q_src, wq), split(k_src, wk), split(v_src, wv))  # (B, h, T, D/h)
    return F.linear(joined.transpose(-3, -2).flatten(-2), wo, bo)  # (B, T, D)


def switch_attention(
    rgb: Tensor,
    depth: Tensor,
    ir: Tensor,
    layer: int,
    wq: Tensor,
    wk: Tensor,
    wv: Tensor,
    wo: Tensor,
    bo: Tensor,
    heads: int,
    order: str = "RDI",
) -> Tensor:
    """Eq. 6-8: one multi-head layer of switch-attention, no norm, no residual. Streams and result (B, T, D)."""
    q, k, v = switch((rgb, depth, ir), layer, order)
    return multi_head(q, k, v, wq, wk, wv, wo, bo, heads)


def total_loss(bce: Tensor, icl: Tensor, cm: Tensor, alpha: float = 1.0, beta: float = 1.0) -> Tensor:
    """Eq. 9: L_BCE + alpha L_ICL + beta L_CM."""
    return bce + alpha * icl + beta * cm


# --------------------------------------------------------------------------------------------------------------
# The network
# --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Shape:
    """A1: how deep switch- and cross-attention fusion are, and whether a block also has a self-attention."""

    depth: int
    self_attention: bool


SHAPES = {"table2": Shape(6, True), "text": Shape(6, False), "depth8": Shape(8, False)}
DIM, HEADS, FFN = 270, 6, 1080  # Sec. 4: "dimension of 270", 6 heads of 45; Fig. 4: 270 x 1080 x 270
ENCODER_DEPTH, PATCH = 3, 16
# The count of merge-attention fixes its depth in every shape; 18 heads of 45.
MERGE_DEPTH, MERGE_HEADS = 6, 18


# Where shapes are padded: on these devices 270 features and heads of 45 keep matrix units and fused kernels from their
# work, which ask for multiples of 8. Zeros are added for the products and cut off again, so that the mathematics is the
# same; parameters keep their shapes.
PADDED = frozenset({"cuda"})
MULTIPLE = 8
FUSED_FROM = 32  # tokens; a CPU's fused kernel of attention is faster for so many


def _to_multiple(x: Tensor, dim: int = -1) -> Tensor:
    """x with zeros at the end of the axis `dim` (-1 or -2), up to a multiple of 8."""
    missing = -x.shape[dim] % MULTIPLE
    return F.pad(x, (0, missing) if dim == -1 else (0, 0, 0, missing)) if missing else x


class Linear(nn.Linear):
    """A linear layer, padded on the devices of PADDED."""

    def forward(self, x: Tensor) -> Tensor:
        if x.device.type not in PADDED:
            return super().forward(x)
        weight, bias = _to_multiple(_to_multiple(self.weight), -2), _to_multiple(self.bias)
        return F.linear(_to_multiple(x), weight, bias)[..., : self.out_features]


class MultiHead(nn.Module):
    """Eq. 7-8 with its own weights. The fused kernel computes Eq. 5, but for few tokens on a CPU; a test holds the two
    together."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q, self.k, self.v = (nn.Linear(dim, dim, bias=False) for _ in range(3))
        self.out = nn.Linear(dim, dim)

    def forward(self, q_src: Tensor, k_src: Tensor, v_src: Tensor) -> Tensor:
        weights = (self.q.weight, self.k.weight, self.v.weight, self.out.weight, self.out.bias)
        if q_src.device.type in PADDED:
            return self._padded(q_src, k_src, v_src, *weights)
        fused = q_src.is_cuda or k_src.shape[1] >= FUSED_FROM
        attend = F.scaled_dot_product_attention if fused else attention
        return multi_head(q_src, k_src, v_src, *weights, self.heads, attend)

    def _padded(
        self, q_src: Tensor, k_src: Tensor, v_src: Tensor, wq: Tensor, wk: Tensor, wv: Tensor, wo: Tensor, bo: Tensor
    ) -> Tensor:
        """The same with features and heads of padded widths: the zeros of a head add nothing to q k^T."""
        dim, heads = wo.shape[0], self.heads

        def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            return F.scaled_dot_product_attention(q, k, v, scale=(dim / heads) ** -0.5)

        def of_heads(w: Tensor) -> Tensor:
            return _to_multiple(_to_multiple(w.unflatten(0, (heads, -1))), -2).flatten(0, 1)

        out = _to_multiple(_to_multiple(wo.unflatten(1, (heads, -1))).flatten(1), -2)
        sources = {id(x): _to_multiple(x) for x in (q_src, k_src, v_src)}
        q, k, v = (sources[id(x)] for x in (q_src, k_src, v_src))
        weights = (of_heads(wq), of_heads(wk), of_heads(wv), out, _to_multiple(bo))
        return multi_head(q, k, v, *weights, heads, attend)[..., :dim]


class SelfAttention(nn.Module):
    """x + MultiHead(LN x)."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.norm, self.attend = nn.LayerNorm(dim), MultiHead(dim, heads)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(x)
        return x + self.attend(y, y, y)


class FeedForward(nn.Module):
    """x + W2 gelu(W1 LN x)."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.LayerNorm(dim), Linear(dim, hidden), nn.GELU(), Linear(hidden, dim))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.net(x)


class Encoder(nn.Module):
    """F_enc: a ViT of depth 3 and width 270 over patches of 16 x 16. (B, 3, H, W) -> (B, 1 + HW/256, 270).

    The stem's first LayerNorm, which Table 2's counts call for, takes each patch's own brightness and contrast
    away: only the pattern inside a patch reaches the network.
    """

    def __init__(self, image_size: int, positions: str) -> None:
        super().__init__()
        if image_size <= 0 or image_size % PATCH:
            raise ValueError(f"image_size must be a positive multiple of {PATCH}, not {image_size}")
        patch_width = 3 * PATCH * PATCH
        self.stem = nn.Sequential(nn.LayerNorm(patch_width), Linear(patch_width, DIM), nn.LayerNorm(DIM))
        self.cls = nn.Parameter(torch.zeros(1, 1, DIM))
        tokens = 1 + (image_size // PATCH) ** 2
        learned = positions == "learned"
        self.positions = nn.Parameter(torch.randn(1, tokens, DIM) * 0.02) if learned else None
        self.blocks = nn.Sequential(
            *(layer for _ in range(ENCODER_DEPTH) for layer in (SelfAttention(DIM, HEADS), FeedForward(DIM, FFN)))
        )
        self.norm = nn.LayerNorm(DIM)

    def forward(self, image: Tensor) -> Tensor:
        patches = F.pixel_unshuffle(image, PATCH).flatten(2).transpose(1, 2)  # (B, HW/256, 768)
        tokens = torch.cat([self.cls.expand(len(image), -1, -1), self.stem(patches)], dim=1)  # (B, T, 270)
        if self.positions is not None:
            tokens = tokens + self.positions
        return self.norm(self.blocks(tokens))


class SwitchBlock(nn.Module):
    """One fusion layer (Fig. 4): self-attention (A1), switch-attention over normed q, k, v, feed-forward."""

    def __init__(self, self_attention: bool, readings: Readings) -> None:
        super().__init__()
        self.update, self.residual = readings.update, readings.residual
        self.self_attention = SelfAttention(DIM, HEADS) if self_attention else nn.Identity()
        self.norm_q, self.norm_k, self.norm_v = (nn.LayerNorm(DIM) for _ in range(3))
        self.attend = MultiHead(DIM, HEADS)
        self.feed_forward = FeedForward(DIM, FFN)

    def forward(self, streams: tuple[Tensor, Tensor, Tensor], layer: int, order: str) -> tuple[Tensor, Tensor, Tensor]:
        new = list(streams)
        if self.update == "all":  # each stream in the rotation in which it gives the queries
            for place, name in enumerate("RDI"):
                new[place] = self._one(streams, place, order.index(name), order)
        else:
            place = 0 if self.update == "rgb" else "RDI".index(order[layer % 3])
            new[place] = self._one(streams, place, layer, order)
        return new[0], new[1], new[2]

    def _one(self, streams: tuple[Tensor, Tensor, Tensor], place: int, layer: int, order: str) -> Tensor:
        """The stream at `place` after this block."""
        own = list(streams)
        own[place] = self.self_attention(own[place])
        q, k, v = switch((own[0], own[1], own[2]), layer, order)
        base = q if self.residual == "query" else own[place]
        return self.feed_forward(base + self.attend(self.norm_q(q), self.norm_k(k), self.norm_v(v)))


class SwitchFusion(nn.Module):
    """Deep switch-attention fusion: only RGB's stream changes from layer to layer (A13)."""

    def __init__(self, preset: Shape, order: str, readings: Readings) -> None:
        super().__init__()
        self.order, self.first, self.output = order, readings.first_layer, readings.output
        self.blocks = nn.ModuleList(SwitchBlock(preset.self_attention, readings) for _ in range(preset.depth))

    def streams(self, rgb: Tensor, depth: Tensor, ir: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The three streams (B, T, D) after the last layer."""
        streams = (rgb, depth, ir)
        for layer, block in enumerate(self.blocks, start=self.first):
            streams = block(streams, layer, self.order)
        return streams

    def forward(self, rgb: Tensor, depth: Tensor, ir: Tensor) -> Tensor:
        streams = self.streams(rgb, depth, ir)
        return streams[0] if self.output == "rgb" else torch.stack(streams).mean(0)


class CrossBlock(nn.Module):
    """One layer of one branch: self-attention (A1), cross-attention to the other branches, feed-forward."""

    def __init__(self, self_attention: bool) -> None:
        super().__init__()
        self.self_attention = SelfAttention(DIM, HEADS) if self_attention else nn.Identity()
        self.norm, self.attend = nn.LayerNorm(DIM), MultiHead(DIM, HEADS)
        self.feed_forward = FeedForward(DIM, FFN)

    def forward(self, own: Tensor, others: Tensor) -> Tensor:
        own, others = self.self_attention(own), self.norm(others)
        return self.feed_forward(own + self.attend(self.norm(own), others, others))


class CrossFusion(nn.Module):
    """The ablation's cross-attention: three branches that look at each other (A23); their mean comes out."""

    def __init__(self, preset: Shape) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            nn.ModuleList(CrossBlock(preset.self_attention) for _ in range(3)) for _ in range(preset.depth)
        )

    def forward(self, rgb: Tensor, depth: Tensor, ir: Tensor) -> Tensor:
        streams = [rgb, depth, ir]
        for branches in self.layers:
            others = [torch.cat([x for j, x in enumerate(streams) if j != i], dim=1) for i in range(3)]
            streams = [branch(x, o) for branch, x, o in zip(branches.children(), streams, others, strict=True)]
        return torch.stack(streams).mean(0)


class MergeFusion(nn.Module):
    """The ablation's merge-attention: channels side by side (810), six plain blocks, one FC back to 270."""

    def __init__(self) -> None:
        super().__init__()
        wide = 3 * DIM
        layers = [(SelfAttention(wide, MERGE_HEADS), FeedForward(wide, 3 * FFN)) for _ in range(MERGE_DEPTH)]
        self.blocks = nn.Sequential(*(layer for block in layers for layer in block))
        self.narrow = nn.Linear(wide, DIM)

    def forward(self, rgb: Tensor, depth: Tensor, ir: Tensor) -> Tensor:
        return self.narrow(self.blocks(torch.cat([rgb, depth, ir], dim=-1)))


class MeanFusion(nn.Module):
    """No attention: the mean of whichever modalities there are (Table 2, rows 1-12)."""

    def forward(self, *streams: Tensor) -> Tensor:
        return torch.stack(streams).mean(0)


class MmFAS(nn.Module):
    """Encoders, fusion, head: what runs at test."""

    def __init__(
        self, preset: str, fusion: str, modalities: str, order: str, image_size: int, readings: Readings
    ) -> None:
        super().__init__()
        self.modalities, self.pooling = modalities, readings.pooling
        self.encoders = nn.ModuleDict({m: Encoder(image_size, readings.positions) for m in modalities})
        self.fusion = {
            "switch": lambda: SwitchFusion(SHAPES[preset], order, readings),
            "cross": lambda: CrossFusion(SHAPES[preset]),
            "merge": MergeFusion,
            "mean": MeanFusion,
        }[fusion]()
        self.norm = nn.LayerNorm(DIM) if readings.fusion_norm else nn.Identity()
        self.head = nn.Sequential(nn.Linear(DIM, DIM), nn.ReLU(), nn.Linear(DIM, readings.head_outputs))

    def encode(self, rgb: Tensor, depth: Tensor, ir: Tensor) -> list[Tensor]:
        """Token sequences (B, T, 270) of the modalities this model sees, in the order R, D, I."""
        images = {"R": rgb, "D": depth, "I": ir}
        return [self.encoders[m](images[m]) for m in "RDI" if m in self.modalities]

    def pool(self, tokens: Tensor) -> Tensor:
        """A2: (B, T, D) -> (B, D)."""
        return tokens[:, 0] if self.pooling == "cls" else tokens.mean(1)

    def classify(self, streams: list[Tensor]) -> Tensor:
        """Fuse and judge: spoof logits (B,)."""
        if "R" in self.modalities:
            # Without weights of its own on the RGB path, alignment yields the same RGB feature twice.
            streams = [shallow_fusion(streams[0], streams[0]), *streams[1:]]
        outputs = self.head(self.pool(self.norm(self.fusion(*streams))))  # (B, 1 or 2)
        return outputs[:, -1] - outputs[:, 0] if outputs.shape[1] == 2 else outputs[:, 0]

    def forward(self, rgb: Tensor, depth: Tensor, ir: Tensor) -> Tensor:
        """rgb, depth, ir (B, 3, H, W) in [-1, 1]; spoof logits (B,): positive = spoof, the paper's label 1."""
        return self.classify(self.encode(rgb, depth, ir))


def build(
    preset: str = "table2",
    fusion: str = "switch",
    modalities: str = "RDI",
    order: str = "RDI",
    image_size: int = 224,
    readings: Readings | None = None,
) -> MmFAS:
    """The model whose shape `preset` names (A1). Raises ValueError for an unknown or contradictory choice."""
    if preset not in SHAPES:
        raise ValueError(f"preset must be one of {', '.join(SHAPES)}, not {preset!r}")
    if fusion not in ("switch", "cross", "merge", "mean"):
        raise ValueError(f"fusion must be switch, cross, merge or mean, not {fusion!r}")
    if not modalities or not set(modalities) <= set("RDI") or len(set(modalities)) < len(modalities):
        raise ValueError(f"modalities must name some of R, D and I once each, not {modalities!r}")
    if fusion != "mean" and len(modalities) < 3:
        raise ValueError(f"fusion {fusion!r} needs all three modalities, not {modalities!r}; use fusion 'mean'")
    if sorted(order) != sorted("RDI"):
        raise ValueError(f"order must name R, D and I once each, not {order!r}")
    return MmFAS(preset, fusion, modalities, order, image_size, readings or Readings())


def restore(run_dir: Path, device: torch.device) -> tuple[MmFAS, Options]:
    """The trained model of a finished run, in evaluation mode, and its options (whose paths are not the run's).

    Raises BadInput when the folder is not a finished run of this file.
    """
    arguments = finished(run_dir, "mmfas")
    known = {f.name for f in fields(Options)} - {"device", "missing"}
    options = Options(index=Path(), run_dir=run_dir, **{k: v for k, v in arguments.items() if k in known})
    model = options.model()
    model.load_state_dict(read_weights(run_dir / "model.safetensors"))
    return model.to(device).eval(), options


def count_parameters(model: nn.Module, leaf_modules_only: bool = True) -> int:
    """Parameters of leaf modules, as the tool counts that fits Table 2 (class tokens and position tables, which
    no leaf module owns, escape it), or all."""
    modules = model.modules() if not leaf_modules_only else (m for m in model.modules() if not any(m.children()))
    return sum(p.numel() for m in modules for p in m.parameters(recurse=False))


# --------------------------------------------------------------------------------------------------------------
# Training and evaluation (Sec. 4, "Implementation details")
# --------------------------------------------------------------------------------------------------------------


def step(
    model: MmFAS,
    alignment: Alignment,
    optimiser: torch.optim.Optimizer,
    batch: Batch,
    options: Options,
    draws: torch.Generator,
    arithmetic: AbstractContextManager[None],
) -> dict[str, Tensor]:
    """One step of training on a batch: the forward pass in `arithmetic`, the losses in float32, backward, and the
    optimiser's step. Returns Eq. 9 as "loss", and its parts."""
    with arithmetic:
        streams = model.encode(*batch.images)  # three (B, T, D)
        logits = model.classify(streams)  # (B,)
    bce = F.binary_cross_entropy_with_logits(logits.float(), batch.label)
    icl = cm = bce.new_zeros(())
    if options.aligned:
        pooled = [model.pool(x).float() for x in streams]  # three (B, D)
        icl, cm = alignment(*pooled, batch.label, batch.recording, draws)
    loss = total_loss(bce, icl, cm, options.alpha, options.beta)
    optimiser.zero_grad()
    loss.backward()
    average_gradients(optimiser)
    optimiser.step()
    alignment.clamp_tau()
    return {"loss": loss.detach(), "bce": bce.detach(), "icl": icl.detach(), "cm": cm.detach()}


def train(options: Options) -> None:
    """Run one training to its end, or on from its last checkpoint, and leave a finished run folder.

    Raises BadInput for unusable input and FloatingPointError when training diverges.
    """
    with Training(options, "mmfas", Path(__file__)) as training:
        if training.done:
            return
        model = options.model().to(training.device)
        alignment = Alignment(options, options.icl).to(training.device)
        parameters = [*model.parameters(), *(alignment.parameters() if options.aligned else [])]
        optimiser = training.optimiser(parameters)  # A20
        training.remember(model=model, alignment=alignment, optimiser=optimiser)

        def evaluate(_: int, sets: Mapping[str, Rows]) -> Scores:
            encoders = [(encoder, "forward") for encoder in model.encoders.values()]
            return training.predict(model, lambda batch: {HEADLINE: -model(*batch.images)}, sets, encoders)

        for _ in training.epochs(evaluate, lambda: {"tau": alignment.tau.tolist()}):
            model.train()
            for batch in training.batches():
                batch = training.augment(batch)  # A21
                batch = batch[share(len(batch))]  # all of it, unless several processes train together
                training.set_rate(optimiser)
                training.log(step(model, alignment, optimiser, batch, options, training.draws, training.arithmetic()))


def main() -> None:
    options = base.parse(Options, "reference.mmfas", __doc__)
    with command_errors():
        train(options)


if __name__ == "__main__":
    main()
