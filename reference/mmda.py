"""MMDA: Denoising and Alignment: Rethinking Domain Generalization for Multimodal Face Anti-Spoofing.

arXiv 2505.09484, version 1. The text lost formulas that the authors' code (murInJ/MMDA at 547f9b2, MIT) and the
reviews restore; text and code disagree in much that decides a score. This file follows the paper's order. Run it
on any index (data_manifests/README.md):

    python -m reference.mmda --index build/…/index.csv --protocol official --sources CPS --targets W --clip phantom \\
        --run-dir build/runs/mine

  Eq. 1   domain_partner            whose tokens say what noise looks like in a domain
  Eq. 2   lambda_full, differential_attention    MD2A: attention minus the noise's attention
  Eq. 3   alignment_logits          cosine with the nearest caption of each class
  Eq. 4   smooth_targets, soft_cross_entropy
  Eq. 5   text_targets              the classifier also judges the captions
  Eq. 6   rs2_loss
  Eq. 7   u_dsa                     adapt down, remap up

Labels are those of its class order: 0 = spoof, 1 = bona fide ("real"). A *score*, as saved and as taken by
reference/metrics.py, is the bona fide logit minus the spoof logit: the order of the released softmax, without the
ties that a saturated softmax has in float32.

Readings. What the text leaves open, or the code does otherwise, is one option each. `--preset` chooses a complete
set, any single option replaces one of its readings:

  paper       the words of version 1; where they are silent, the reading argued for below
  released    the authors' code, bugs included: what it computes, whatever was meant
  batch_free  as released, but no sample's score depends on another sample; the default, for numbers to believe

                                            paper      released   batch_free
  M1  --partner (Eq. 1, training)           random     first      first
      `first` is the first row of that domain in the batch, the row itself included. The code calls it random.
  M2  --partner-at-test                     self       first      self
      The code keeps `first` at test, where a batch is of one domain: every sample is compared with the batch's
      first. With `self` the module "functions as differential attention", in the paper's words.
  M3  --domain-weights                      separate   separate   separate
      Maps of Q', K' of their own, or Q's and K's (`shared`), which contradicts that sentence.
  M4  --freeze                              all        none       none
      Nothing, all of CLIP, or its text tower only (`text`, a later figure). The code misspells the attribute that
      would freeze, so that all of CLIP is trained.
  M5  --remap (Eq. 7)                       chained    released   released
      The code remaps V_l instead of V'_l: the up path is not chained, and layers 2 to L reach the classifier
      through no path at all.
  M6  --batch-attention                     no         yes        no
      The code hands (B, 1, D) to an attention that takes (T, B, D): samples attend to their batch-mates.
  M7  --pooling (Eq. 3)                     max        max        max
      The nearest caption of a class, or the mean over its captions.
  M8  --smoothing (Eq. 4)                   normalised released   released
      0.9 onehot + 0.05, or 0.9 onehot + 0.1 as the code has it, which sums to 1.1.
  M9  --block (Adapt, Remap)                mlp        mha_moe    mha_moe
      "Simple MLP", or attention and mixture of experts with skips, as in code and later figure.
  M10 --router-at-test                      expected   draw       expected
      The second expert is kept with a probability. The code draws at test too; `expected` is the mean over all
      draws, `always` keeps it.
  M11 --micro-batch                         24         3          24
      Rows that meet in one forward pass; gradients of `batch_size` rows are summed. 0 is the whole batch. The code
      tests in the same small batches, in list order.
  M12 --augmentation                        none       released   released
      The text names none. The code changes each modality by draws of its own: one plane of noise, brightness in a
      colour space drawn from six, shifts of the channels and gamma, all in eight bits; then mirroring of all alike.
      `released` is equal to it in distribution but for roundings of OpenCV's (brightness.py). No draw comes twice
      here; there each of four loading processes begins every epoch with the same draws, of all but the mirroring.
  M13 --missing-as                          black      black      black
      How a modality that is missing at test comes in: black pixels, `grey` (zeros after normalisation) or `masked`
      (its token takes no part in the attention and is zero in the concatenation).
  M14 --input-range                         released   released   released
      (x - 127.5) / 128 instead of CLIP's own mean and deviation (`clip`).
  M15 --captions                            extended   extended   extended
      The released sentences are their authors'; ours are of the same number and structure. Or a folder of yours.
  M16 --adapter                             moe        moe        moe
      `dense` puts one expert's network in the place of every mixture (Table 4; its width is unstated).
  M17 --denoise                             md2a       md2a       md2a
      Table 4: `none` (no attention), `mhsa` (lambda = 0), `da` (partner = self, in training too), `md2a`.
  M18 --alignment                           rs2        rs2        rs2
      Table 5: `vanilla` (hard targets, mean over captions, captions not classified), `smooth` (the same with
      smoothed targets), `rs2`.
  M19 head and epoch                        not chosen here: the scores of all 2L + 2 heads are kept for every
      evaluated epoch. `scores` is `cls`, which is fixed before anything is seen.
  M20 --epochs, --learning-rate             80 of the text, 5e-6 and weight decay 5e-5 of the code (the text's
      numbers are lost; the code's default is 300 epochs). No schedule.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from data_manifests.errors import BadInput
from data_manifests.index import Index
from reference import options as base
from reference.batches import Batch, ShuffledSampler, batches
from reference.brightness import SPACES, brightened
from reference.captions import load_captions
from reference.clip import Clip, InputRange, black_feature, load_clip, normalise
from reference.clip_features import image_features
from reference.draws import one_of_each_row
from reference.environment import pick_device
from reference.evaluation import Rows, Scores, command_errors, missing_in
from reference.faces import Faces
from reference.options import CountOrNone, Presets, reading
from reference.processes import average_gradients, first_alone, in_order, sharing, turns
from reference.proven import read_weights
from reference.runs import finished
from reference.training import Training, mirror

# --------------------------------------------------------------------------------------------------------------
# Options
# --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Readings(Presets):
    """The readings that decide the network and its losses: M1-M12 and M16-M18 above."""

    preset: Literal["paper", "released", "batch_free"] = "batch_free"
    """A complete set of the readings above."""
    partner: Literal["random", "first", "self"] = reading("first", paper="random")
    """M1: which row of the same domain gives Q' and K' in training."""
    partner_at_test: Literal["random", "first", "self"] = reading("self", released="first")
    """M2: and which at test."""
    domain_weights: Literal["separate", "shared"] = reading("separate")
    """M3: Q' and K' by maps of their own, or by Q's and K's."""
    freeze: Literal["none", "all", "text"] = reading("none", paper="all")
    """M4: what of CLIP is not trained."""
    remap: Literal["chained", "released"] = reading("released", paper="chained")
    """M5: Eq. 7's up path as printed, or as released."""
    batch_attention: bool = reading(False, released=True)
    """M6: attention across the batch inside U-DSA."""
    pooling: Literal["max", "mean"] = reading("max")
    """M7: over the captions of a class."""
    smoothing: Literal["normalised", "released"] = reading("released", paper="normalised")
    """M8: targets that sum to 1, or to 1.1."""
    block: Literal["mha_moe", "mlp"] = reading("mha_moe", paper="mlp")
    """M9: what Adapt and Remap are."""
    router_at_test: Literal["draw", "expected", "always"] = reading("expected", released="draw")
    """M10: what becomes of the second expert at test."""
    micro_batch: CountOrNone = reading(0, released=3)
    """M11: rows in one forward pass; 0 for the whole batch."""
    augmentation: Literal["none", "flip", "released"] = reading("released", paper="none")
    """M12: flip mirrors a sample's images alike; released adds noise, brightness, channel shifts and gamma."""
    adapter: Literal["moe", "dense"] = reading("moe")
    """M16: mixture of experts, or one expert's network instead."""
    denoise: Literal["none", "mhsa", "da", "md2a"] = reading("md2a")
    """M17: the fusion's attention."""
    alignment: Literal["vanilla", "smooth", "rs2"] = reading("rs2")
    """M18: which parts of the alignment loss."""


@dataclass(frozen=True, kw_only=True)
class Options(Readings, base.Options):
    """Train MMDA on some data sets of a protocol and score others by all its heads. A reading that is not given is the
    preset's."""

    clip: str = "openai"
    """CLIP's weights: openai, another open_clip MODEL/PRETRAINED, or phantom, the stand-in trained on phantom."""
    clip_weights: Path | None = None
    """A local file with the weights of --clip's architecture."""
    captions: str = "extended"
    """M15: extended, templates, single, or a folder with spoof.txt and real.txt, one caption a line."""
    layers: Annotated[int, base.Within(0, 1000)] = 7
    """L of Eq. 7: the number of Adapt and of Remap layers."""
    input_range: Literal["released", "clip"] = "released"
    """M14: (x - 127.5) / 128, or CLIP's own mean and deviation."""
    missing_as: Literal["black", "grey", "masked"] = "black"
    """M13: how a modality named by --missing comes in."""

    protocol: str = "official"
    batch_size: int = 24
    epochs: int = 80
    learning_rate: float = 5e-6
    weight_decay: float = 5e-5
    warmup: float = 0.0

    def check(self) -> None:
        """Raise BadInput for a value that no run can use."""
        super().check()
        if self.warmup:
            raise BadInput(f"--warmup {self.warmup}: MMDA trains at a constant rate; leave this option out")


# --------------------------------------------------------------------------------------------------------------
# Denoising: Eq. 1 and 2
# --------------------------------------------------------------------------------------------------------------


def domain_partner(domains: Tensor, generator: torch.Generator | None, rule: str = "random") -> Tensor:
    """Eq. 1: for each row a row of the same domain. domains (B,) of ids; result (B,) int64.

    `random` draws uniformly from all rows of that domain, the row itself included; `first` takes the first of
    them; `self` the row itself. Raises ValueError for another rule.
    """
    rows = torch.arange(len(domains), device=domains.device)
    if rule == "self":
        return rows
    same = domains[:, None] == domains[None, :]  # (B, B)
    if rule == "first":
        return same.int().argmax(-1)
    if rule != "random":
        raise ValueError(f"rule must be random, first or self, not {rule!r}")
    return one_of_each_row(same.float(), generator) if len(domains) else rows


def lambda_full(lq1: Tensor, lk1: Tensor, lq2: Tensor, lk2: Tensor, lambda_init: float) -> Tensor:
    """Eq. 2's lambda: exp(lq1 . lk1) - exp(lq2 . lk2) + lambda_init. Vectors (D,); result (). May be negative."""
    return torch.exp(lq1 @ lk1) - torch.exp(lq2 @ lk2) + lambda_init


def differential_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    q_dom: Tensor,
    k_dom: Tensor,
    lam: float | Tensor,
    temperature: float,
    weigh: Callable[[Tensor], Tensor] = lambda attention: attention,
    keys: Tensor | None = None,
) -> Tensor:
    """Eq. 2 on split heads: (softmax(q k^T / temperature) - lam softmax(q_dom k_dom^T / temperature)) v.

    All (B, h, T, d), and so is the result. `weigh` is applied to each map before the subtraction (the model's
    dropout). `keys` (B, T) of bool leaves the other tokens out of both maps (M13 `masked`).
    """

    def attend(queries: Tensor, others: Tensor) -> Tensor:
        logits = queries @ others.transpose(-2, -1) / temperature  # (B, h, T, T)
        if keys is not None:
            logits = logits.masked_fill(~keys[:, None, None, :], -math.inf)
        return weigh(torch.softmax(logits, dim=-1))

    return (attend(q, k) - lam * attend(q_dom, k_dom)) @ v


# --------------------------------------------------------------------------------------------------------------
# Representation space soft alignment: Eq. 3 to 6
# --------------------------------------------------------------------------------------------------------------


def alignment_logits(v: Tensor, captions: Sequence[Tensor], scale: float | Tensor, pooling: str = "max") -> Tensor:
    """Eq. 3: for each class the `max` or `mean` over its captions of cos(v, t), times `scale`.

    v (B, D), captions one (n_c, D) for each of the C classes; result (B, C). All may have leading axes, alike.
    Raises ValueError for another pooling.
    """
    if pooling not in ("max", "mean"):
        raise ValueError(f"pooling must be max or mean, not {pooling!r}")
    v = F.normalize(v, dim=-1)
    cosines = [v @ F.normalize(t, dim=-1).mT for t in captions]  # (B, n_c) each
    return scale * torch.stack([c.amax(-1) if pooling == "max" else c.mean(-1) for c in cosines], dim=-1)


def smooth_targets(labels: Tensor, eps: float = 0.1, normalised: bool = True, classes: int = 2) -> Tensor:
    """Eq. 4's targets: (1 - eps) onehot + eps / C, which sum to 1, or + eps as released. labels (B,); (B, C)."""
    hot = F.one_hot(labels.long(), classes).to(torch.get_default_dtype())
    return (1 - eps) * hot + (eps / classes if normalised else eps)


def soft_cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Eq. 4: minus the mean over rows of sum_c target_c log softmax(logits)_c. Both (B, C); result ()."""
    return -(targets * torch.log_softmax(logits, dim=-1)).sum(-1).mean()


def text_targets(classes: Tensor, eps: float = 0.1) -> Tensor:
    """Eq. 5's targets of captions: 1 - eps for the own class, eps for the other. classes (n,) of 0, 1; (n, 2)."""
    hot = F.one_hot(classes.long(), 2).to(torch.get_default_dtype())
    return (1 - eps) * hot + eps * (1 - hot)


def rs2_loss(align_losses: Sequence[Tensor], visual_cls: Tensor, text_cls: Tensor) -> Tensor:
    """Eq. 6: the sum of the alignment losses of all states and the two classification losses."""
    return sum(align_losses, visual_cls + text_cls)


# --------------------------------------------------------------------------------------------------------------
# U-shaped dual-space adaptation: Eq. 7
# --------------------------------------------------------------------------------------------------------------


def u_dsa(
    v0: Tensor,
    adapt: Sequence[Callable[[Tensor], Tensor]],
    remap: Sequence[Callable[[Tensor], Tensor]],
    rule: str = "chained",
) -> list[Tensor]:
    """Eq. 7: [V_0, V_1 ... V_L, V'_{L-1} ... V'_0], of v0's shape each; for L = 0 just [V_0].

    V_l = adapt[l-1](V_{l-1}); `chained`: V'_{l-1} = V_{l-1} + remap[l-1](V'_l) with V'_L = V_L; `released`: from
    V_l instead of V'_l. Raises ValueError for another rule or lists of different lengths.
    """
    if rule not in ("chained", "released"):
        raise ValueError(f"rule must be chained or released, not {rule!r}")
    if len(adapt) != len(remap):
        raise ValueError(f"as many remap as adapt layers are needed, not {len(remap)} and {len(adapt)}")
    down = [v0]
    for layer in adapt:
        down.append(layer(down[-1]))
    up = [down[-1]]
    for place in reversed(range(len(adapt))):
        up.append(down[place] + remap[place](up[-1] if rule == "chained" else down[place + 1]))
    return down + up[1:]


# --------------------------------------------------------------------------------------------------------------
# The adaptor: all of MMDA behind CLIP
# --------------------------------------------------------------------------------------------------------------

HEADS = 16
DROPOUT = 0.1  # of MD2A's maps
LAMBDA_INIT = 0.8 - 0.6 * math.exp(-0.3 * 12)  # as for layer 12 of a Differential Transformer
SMOOTHING = 0.1
EXPERTS, CONSTANTS = 4, 3
KEEP = 0.2  # a second expert of at least this weight is always kept
BALANCE, ROUTER = 1e-2, 1e-3  # weights of the router's two losses


@dataclass
class Pass:
    """What a computation hands down: where randomness comes from, how many forward passes of equal size are computed
    side by side (their rows stand one after another), and where the routers leave their losses."""

    generator: torch.Generator | None
    passes: int = 1
    router_losses: list[Tensor] = field(default_factory=list)


class Experts(nn.Module):
    """E feed-forward networks side by side: RMSNorm, a gated GELU whose product has a learned factor, and back.

    (E, N, D) -> (E, N, D), network e for slice e: a few large products instead of many small ones.
    """

    def __init__(self, dim: int, count: int) -> None:
        super().__init__()
        hidden = int(dim * 4 * 2 / 3)

        def uniform(fan_in: int, *shape: int) -> nn.Parameter:  # as nn.Linear begins
            return nn.Parameter((2 * torch.rand(count, *shape) - 1) / math.sqrt(fan_in))

        self.gain = nn.Parameter(torch.ones(count, dim))
        self.w_in, self.b_in = uniform(dim, 2 * hidden, dim), uniform(dim, 2 * hidden)
        self.factor = nn.Parameter(torch.ones(count, hidden))
        self.w_out, self.b_out = uniform(hidden, dim, hidden), uniform(hidden, dim)

    def forward(self, x: Tensor) -> Tensor:
        x = F.rms_norm(x, x.shape[-1:], eps=1e-6) * self.gain[:, None]
        value, gate = torch.baddbmm(self.b_in[:, None], x, self.w_in.mT).chunk(2, dim=-1)
        return torch.baddbmm(self.b_out[:, None], F.gelu(gate) * value * self.factor[:, None], self.w_out.mT)


class MixtureOfExperts(nn.Module):
    """Top-2 routing over four networks and three learned constants (of the code; the text gives none of it).

    x (B, T, D) -> (B, T, D). The two gates are renormalised; the second expert is kept with probability
    min(1, g2 / 0.2), and what it loses nobody gains. At most 2 T tokens of a sample meet an expert whose capacity
    is four, so that for T <= 3 no token is ever dropped.
    """

    def __init__(self, dim: int, router_at_test: str) -> None:
        super().__init__()
        self.at_test = router_at_test
        self.gate = nn.Linear(dim, EXPERTS + CONSTANTS, bias=False)
        self.experts = Experts(dim, EXPERTS)
        self.constants = nn.Parameter(0.02 * torch.randn(CONSTANTS, dim))

    def forward(self, x: Tensor, context: Pass) -> Tensor:
        logits = self.gate(x)  # (B, T, 7)
        gates = torch.softmax(logits, dim=-1)
        two, chosen = gates.topk(2, dim=-1)  # (B, T, 2)
        two = two / two.sum(-1, keepdim=True)
        weight = torch.zeros_like(gates).scatter(-1, chosen, two * self._shares(two, context))  # (B, T, 7)
        if self.training:
            first = F.one_hot(chosen[..., 0], EXPERTS + CONSTANTS).to(gates)  # (B, T, 7)
            balance = (gates.mean(1) * first.mean(1)).mean() * (EXPERTS + CONSTANTS) ** 2
            context.router_losses.append(BALANCE * balance + ROUTER * logits.logsumexp(-1).square().mean())
        w = weight[..., :EXPERTS].flatten(0, 1).T[..., None]  # (4, BT, 1)
        # A factor of one whose gradient lets the experts' input teach the gate ("straight through").
        routed = x.flatten(0, 1) * (1 + w - w.detach())  # (4, BT, D)
        return (w * self.experts(routed)).sum(0).view_as(x) + weight[..., EXPERTS:] @ self.constants

    def _shares(self, two: Tensor, context: Pass) -> Tensor:
        """(B, T, 2): how much of the two experts counts; of the first, all."""
        rule = "draw" if self.training else self.at_test
        probability = (two[..., 1].detach() / KEEP).clamp(max=1)
        if rule == "draw":
            # Drawn where the generator lives and in float32, as the released code draws.
            device = context.generator.device if context.generator is not None else two.device
            lot = torch.rand(probability.shape, generator=context.generator, device=device).to(two.device)
            second = (lot < probability).to(two)
        else:
            second = probability if rule == "expected" else torch.ones_like(probability)
        return torch.stack([torch.ones_like(second), second], dim=-1)


class Dense(nn.Module):
    """One expert's network, where a mixture would be (M16) or as Adapt and Remap, "simple MLP" (M9). (..., D)."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.net = Experts(dim, 1)

    def forward(self, x: Tensor, context: Pass) -> Tensor:
        return self.net(x.flatten(0, -2)[None]).view_as(x)


def _adapter(dim: int, r: Readings) -> nn.Module:
    return MixtureOfExperts(dim, r.router_at_test) if r.adapter == "moe" else Dense(dim)


class MD2A(nn.Module):
    """Modality-domain joint differential attention: Eq. 2 over the three modality tokens of a sample.

    The temperature is the square root of D, not of D / 16. The joined heads are normalised together, then scaled
    by 1 - lambda_init; there is no output projection.
    """

    def __init__(self, dim: int, r: Readings) -> None:
        super().__init__()
        self.plain = r.denoise == "mhsa"
        self.lambda_q1, self.lambda_k1, self.lambda_q2, self.lambda_k2 = (
            nn.Parameter(0.1 * torch.randn(dim)) for _ in range(4)
        )
        self.q, self.k, self.v = (nn.Linear(dim, dim, bias=False) for _ in range(3))
        shared = r.domain_weights == "shared"
        self.q_dom = self.q if shared else nn.Linear(dim, dim, bias=False)
        self.k_dom = self.k if shared else nn.Linear(dim, dim, bias=False)
        self.norm = nn.RMSNorm(dim, eps=1e-5)

    def forward(self, x: Tensor, x_dom: Tensor, keys: Tensor | None, context: Pass) -> Tensor:
        """x, x_dom (B, T, D); keys (B, T) or None; result (B, T, D)."""

        def split(tokens: Tensor) -> Tensor:
            return tokens.unflatten(-1, (HEADS, -1)).transpose(-3, -2)  # (B, 16, T, D/16)

        def drop(attention: Tensor) -> Tensor:
            if not self.training:
                return attention
            device = context.generator.device if context.generator is not None else x.device
            lot = torch.rand(attention.shape, generator=context.generator, device=device).to(x.device)
            return attention * (lot >= DROPOUT) / (1 - DROPOUT)

        lam = lambda_full(self.lambda_q1, self.lambda_k1, self.lambda_q2, self.lambda_k2, LAMBDA_INIT)
        heads = differential_attention(
            split(self.q(x)),
            split(self.k(x)),
            split(self.v(x)),
            split(self.q_dom(x_dom)),
            split(self.k_dom(x_dom)),
            0.0 if self.plain else lam,
            math.sqrt(x.shape[-1]),
            drop,
            keys,
        )
        return self.norm(heads.transpose(-3, -2).flatten(-2)) * (1 - LAMBDA_INIT)


class Fusion(nn.Module):
    """V_0 of the modality tokens: MD2A, adapter, and two skips (the second skips both). (B, 3, D) -> (B, D)."""

    def __init__(self, dim: int, r: Readings) -> None:
        super().__init__()
        self.attend = MD2A(dim, r) if r.denoise != "none" else None
        self.adapt = _adapter(dim, r)
        self.norm_1, self.norm_2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.narrow = nn.Linear(3 * dim, dim)

    def forward(self, x: Tensor, x_dom: Tensor, present: Tensor | None, context: Pass) -> Tensor:
        x_1 = x
        if self.attend is not None:
            x_1 = x + self.attend(self.norm_1(x), self.norm_1(x_dom), present, context)
        y = x + x_1 + self.adapt(self.norm_2(x_1), context)
        if present is not None:
            y = y * present[..., None]
        return self.narrow(y.flatten(1))


class Classifier(nn.Module):
    """Adapter, then two logits. (B, D) -> (B, 2)."""

    def __init__(self, dim: int, r: Readings) -> None:
        super().__init__()
        self.adapt, self.out = _adapter(dim, r), nn.Linear(dim, 2)

    def forward(self, x: Tensor, context: Pass) -> Tensor:
        return self.out(self.adapt(x[:, None], context)[:, 0])


class AttentionBlock(nn.Module):
    """M9 `mha_moe`: Adapt or Remap as released. (B, D) -> (B, D); both skips start at x, so x counts twice.

    A sample attends to itself alone, which makes the attention a linear map of its values; or, as released, to its
    batch-mates (M6), captions to the other captions of their class.
    """

    def __init__(self, dim: int, r: Readings) -> None:
        super().__init__()
        self.across = r.batch_attention
        self.qkv, self.out = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        self.adapt = _adapter(dim, r)
        self.norm_1, self.norm_2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        nn.init.xavier_uniform_(self.qkv.weight)
        nn.init.zeros_(self.qkv.bias)
        nn.init.zeros_(self.out.bias)

    def forward(self, x: Tensor, context: Pass) -> Tensor:
        q, k, v = self.qkv(self.norm_1(x)).chunk(3, dim=-1)  # (B, D) each
        if self.across:
            apart = (context.passes, len(x) // context.passes, HEADS, -1)
            q, k, v = (y.reshape(apart).transpose(1, 2) for y in (q, k, v))  # (passes, 16, rows, D/16)
            v = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(x.shape)  # (B, D)
        x_1 = x + self.out(v)
        return x + x_1 + self.adapt(self.norm_2(x_1)[:, None], context)[:, 0]


class UDSA(nn.Module):
    """L Adapt and L Remap layers of Eq. 7."""

    def __init__(self, dim: int, layers: int, r: Readings) -> None:
        super().__init__()
        self.rule = r.remap

        def block() -> nn.Module:
            return AttentionBlock(dim, r) if r.block == "mha_moe" else Dense(dim)

        self.adapt = nn.ModuleList(block() for _ in range(layers))
        self.remap = nn.ModuleList(block() for _ in range(layers))

    def forward(self, v0: Tensor, context: Pass) -> list[Tensor]:
        """The 2L + 1 states of v0 (B, D)."""
        down, up = ([partial(layer, context=context) for layer in layers] for layers in (self.adapt, self.remap))
        return u_dsa(v0, down, up, self.rule)

    def text(self, t0: Tensor, context: Pass) -> list[Tensor]:
        """What each of those states is aligned with: [T_0 ... T_L, T_{L-1} ... T_0]; captions are not remapped."""
        states = [t0]
        for layer in self.adapt:
            states.append(layer(states[-1], context=context))
        return states + states[-2::-1]


@dataclass
class Output:
    """Of B rows: (B, 2) logits of each head; Eq. 7's 2L + 1 states (B, D); of the captions, one (passes n_c, 2) for
    each class, in training where they are classified; and the sum of the routers' losses."""

    logits: dict[str, Tensor]
    states: list[Tensor]
    text: list[Tensor]
    routers: Tensor


class Adaptor(nn.Module):
    """All of MMDA behind CLIP."""

    def __init__(
        self, preset: str = "paper", layers: int = 7, dim: int = 512, readings: Readings | None = None
    ) -> None:
        """`readings` replaces those of the preset. Raises ValueError for an unknown preset, or a width that 16
        heads cannot share."""
        super().__init__()
        if readings is None:
            readings = Readings(preset=preset)  # type: ignore[arg-type]  # which refuses another name
        if dim % HEADS:
            raise ValueError(f"dim must be a multiple of {HEADS}, not {dim}")
        self.r = r = readings
        self.fusion, self.classifier, self.u_dsa = Fusion(dim, r), Classifier(dim, r), UDSA(dim, layers, r)

    @property
    def heads(self) -> list[str]:
        """The names of the outputs: cls, align0 ... align{2L}."""
        return ["cls", *(f"align{i}" for i in range(2 * len(self.u_dsa.adapt) + 1))]

    def text_states(self, captions: Sequence[Tensor], context: Pass) -> list[list[Tensor]]:
        """For each of the 2L + 1 states, the captions of each class in that state's space: (passes, n_c, D)."""
        states = zip(*(self.u_dsa.text(t.repeat(context.passes, 1), context) for t in captions), strict=True)
        return [[t.unflatten(0, (context.passes, -1)) for t in state] for state in states]

    def outputs(
        self,
        tokens: Tensor,
        captions: Sequence[Tensor],
        domains: Tensor,
        scale: float | Tensor,
        generator: torch.Generator | None = None,
        present: Tensor | None = None,
        texts: list[list[Tensor]] | None = None,
        together: int | None = None,
    ) -> Output:
        """As forward, with what the losses need. `texts` are the captions' states where they are known already.

        `together` rows make one forward pass (M11), all of them if None; the passes are computed side by side and
        share nothing but the order of the draws. Raises ValueError unless it divides their number.
        """
        size = together or max(len(tokens), 1)
        if len(tokens) % size:
            raise ValueError(f"{len(tokens)} rows are no multiple of the {size} that make one forward pass")
        context, r = Pass(generator, max(len(tokens) // size, 1)), self.r
        rule = r.partner if self.training else r.partner_at_test
        met = domains * context.passes + torch.arange(len(tokens), device=domains.device) // size  # domain and pass
        partner = domain_partner(met, generator, "self" if r.denoise == "da" else rule)
        v0 = self.fusion(tokens, tokens[partner], present, context)
        states = self.u_dsa(v0, context)
        texts = self.text_states(captions, context) if texts is None else texts
        pooling = r.pooling if r.alignment == "rs2" else "mean"
        logits = {"cls": self.classifier(states[-1], context)}
        for i, (state, text) in enumerate(zip(states, texts, strict=True)):
            apart = state.unflatten(0, (context.passes, -1))
            logits[f"align{i}"] = alignment_logits(apart, text, scale, pooling).flatten(0, 1)
        judged: list[Tensor] = []
        if self.training and r.alignment == "rs2":
            judged = [self.classifier(t.repeat(context.passes, 1), context) for t in captions]
        return Output(logits, states, judged, sum(context.router_losses, tokens.new_zeros(())))

    def forward(
        self,
        tokens: Tensor,
        captions: Sequence[Tensor],
        domains: Tensor,
        scale: float | Tensor,
        generator: torch.Generator | None = None,
        present: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Logits (B, 2), spoof and bona fide, of `cls` and `align0` ... `align{2L}`.

        tokens (B, 3, D): RGB, depth, infrared. captions: (n_spoof, D) and (n_real, D). domains (B,) ids of data
        sets. scale: CLIP's, about 100. generator: of partners, routers and dropout. present (B, 3) of bool leaves
        missing modalities out (M13 `masked`).
        """
        return self.outputs(tokens, captions, domains, scale, generator, present).logits

    def losses(self, output: Output, labels: Tensor) -> dict[str, Tensor]:
        """The parts of Eq. 6, and under "loss" all of them with the routers'. labels (B,): 1 = bona fide."""
        r = self.r
        eps = 0.0 if r.alignment == "vanilla" else SMOOTHING
        y = smooth_targets(labels, eps, r.smoothing == "normalised").to(output.routers)
        align = [soft_cross_entropy(z, y) for name, z in output.logits.items() if name != "cls"]
        visual = soft_cross_entropy(output.logits["cls"], y)
        text = visual.new_zeros(())
        for c, logits in enumerate(output.text):
            classes = torch.full((len(logits),), c, device=logits.device)
            text = text + soft_cross_entropy(logits, text_targets(classes, SMOOTHING).to(logits))
        parts = {"align": sum(align, visual.new_zeros(())), "visual": visual, "text": text, "routers": output.routers}
        return {"loss": rs2_loss(align, visual, text) + output.routers, **parts}


def released_order(module: nn.Module) -> list[Tensor]:
    """Views of an adaptor's parameters one by one in the released module's order and shapes, where nothing is stacked.

    Weights are copied either way under `torch.no_grad()` by

        for ours, theirs in zip(released_order(adaptor), released.parameters(), strict=True): ours.copy_(theirs)
    """
    if isinstance(module, MixtureOfExperts):
        networks = zip(*(p.unbind() for p in module.experts.parameters()), strict=True)
        return [module.gate.weight, *(p for network in networks for p in network), *module.constants.unbind()]
    inner = (p for child in module.children() for p in released_order(child))
    return [*module.parameters(recurse=False), *inner]


class MMDA(nn.Module):
    """Both CLIP towers and the adaptor."""

    def __init__(
        self, clip: Clip, captions: list[list[str]], adaptor: Adaptor, input_range: InputRange = "released"
    ) -> None:
        super().__init__()
        self.clip, self.captions, self.adaptor, self.input_range = clip, captions, adaptor, input_range
        clip.freeze(adaptor.r.freeze)

    @property
    def trained(self) -> nn.Module:
        """What a run has to remember: the adaptor alone where all of CLIP is frozen (M4)."""
        return self.adaptor if self.adaptor.r.freeze == "all" else self

    def encode(self, images: Sequence[Tensor]) -> Tensor:
        """Modality tokens (B, 3, D) of rgb, depth and ir, each (B, 3, S, S) in 0 ... 255."""
        pixels = normalise(torch.cat([*images]), self.input_range)
        return torch.stack(self.clip.encode_image(pixels).float().chunk(3), dim=1)

    def encode_captions(self) -> list[Tensor]:
        """(n_spoof, D) and (n_real, D)."""
        return [self.clip.encode_text(sentences).float() for sentences in self.captions]

    def forward(
        self, rgb: Tensor, depth: Tensor, ir: Tensor, domains: Tensor, generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        """rgb, depth, ir (B, 3, S, S) in [-1, 1], domains (B,); logits (B, 2) of every head, as Adaptor's."""
        return self.adaptor(
            self.encode(augmented((rgb, depth, ir), "none")),
            self.encode_captions(),
            domains,
            self.clip.scale,
            generator,
        )


def build(
    preset: str = "paper",
    clip: str = "openai",
    layers: int = 7,
    captions: str = "extended",
    weights: Path | None = None,
    readings: Readings | None = None,
    input_range: InputRange = "released",
) -> MMDA:
    """The model with both towers. `clip`: openai, another open_clip MODEL/PRETRAINED, phantom, or with `weights`
    the architecture of a local file. Raises BadInput for weights or captions that cannot be used."""
    if Path(clip).is_file():
        clip, weights = "openai", Path(clip)
    towers = load_clip(clip, weights, torch.device("cpu"))
    return MMDA(towers, load_captions(captions), Adaptor(preset, layers, towers.dim, readings), input_range)


def restore(run_dir: Path, device: torch.device) -> tuple[MMDA, Options]:
    """The trained model of a finished run, in evaluation mode, and its options (whose paths are not the run's).

    Raises BadInput when the folder is not a finished run of this file, or CLIP is another than it was trained with.
    """
    arguments = finished(run_dir, "mmda")
    known = {f.name for f in fields(Options)} - {"device", "missing"}
    options = Options(index=Path(), run_dir=run_dir, **{k: v for k, v in arguments.items() if k in known})
    model = build(
        clip=options.clip,
        layers=options.layers,
        captions=options.captions,
        weights=options.clip_weights,
        readings=options,
        input_range=options.input_range,
    )
    if model.clip.sha256 != arguments["clip_sha256"]:
        raise BadInput(
            f"{run_dir}: trained with another CLIP than --clip {options.clip} is now; give it back those weights"
        )
    model.trained.load_state_dict(read_weights(run_dir / "model.safetensors"))
    return model.to(device).eval(), options


def inputs_in_words(index: Index, model: MMDA) -> str:
    """What a picture or table of `model` must say of its data and towers."""
    rendered = any((root.parent / "phantom.json").exists() for root in index.roots.values())
    return f"{'phantom stand-in faces, ' if rendered else ''}{model.clip.name}"


# --------------------------------------------------------------------------------------------------------------
# Training and evaluation (Sec. 4)
# --------------------------------------------------------------------------------------------------------------


def photometric(images: Sequence[Tensor], generator: torch.Generator) -> list[Tensor]:
    """M12 `released`: images (B, 3, S, S) in 0 … 255 of each modality, each image changed by draws of its own. Every
    step leaves whole numbers of 0 … 255, the last cuts decimals off where the others round.

    One plane of Gaussian noise for all three channels, of a deviation up to 51; up to 30 of brightness, in one of six
    colour spaces; up to 40 on each channel; a gamma of 0.5 to 1.5. Where the three channels are equal, as in depth and
    infrared, the first step leaves them so, the second nearly, and the third does not.
    """
    pixels = torch.cat([*images]).round()
    count, device = len(pixels), pixels.device

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return (low + (high - low) * torch.rand(*shape, generator=generator, device=generator.device)).to(device)

    normal = torch.randn(count, 1, *pixels.shape[2:], generator=generator, device=generator.device).to(device)
    pixels = (pixels + (uniform(0, 51, count, 1, 1, 1) * normal).round()).clamp(0, 255)

    brighter = uniform(-30, 30, count, 1, 1).round()
    spaces = torch.randint(len(SPACES), (count,), generator=generator, device=generator.device)
    pixels = pixels.flip(1)  # the code hands over blue, green and red, which are taken for red, green and blue
    for number, space in enumerate(SPACES):
        rows = (spaces == number).nonzero()[:, 0].to(device)
        pixels[rows] = brightened(pixels[rows], brighter[rows], space)
    pixels = pixels.flip(1)

    # The last two steps are a table of 256 numbers for each channel of each image.
    table = torch.arange(256.0, device=device) + uniform(-40, 40, count, 3, 1).round()
    table = (255 * (table.clamp(0, 255) / 255) ** uniform(0.5, 1.5, count, 1, 1)).floor()
    changed = table.gather(2, pixels.flatten(2).long()).view_as(pixels)
    return [*changed.chunk(len(images))]


def augmented(images: tuple[Tensor, ...], how: str, generator: torch.Generator | None = None) -> list[Tensor]:
    """Images (B, 3, S, S) in [-1, 1] -> 0 ... 255, with what M12 asks for; all but `none` draw."""
    if generator is not None and how != "none":
        images = mirror(images, generator)
    pixels = [255 * (x + 1) / 2 for x in images]
    return photometric(pixels, generator) if generator is not None and how == "released" else pixels


def passes(rows: Tensor, together: int, at_once: int) -> list[Tensor]:
    """`rows` (N,) in order, cut so that each piece is whole forward passes of `together` rows, about `at_once` in
    all, or, at the end, one smaller pass."""
    whole = len(rows) - len(rows) % together
    pieces = rows[:whole].split(max(at_once // together, 1) * together)
    return [piece for piece in (*pieces, rows[whole:]) if len(piece)]


@torch.inference_mode()
def score(
    model: MMDA,
    tokens: Tensor,
    present: Tensor | None,
    domains: Tensor,
    captions: list[Tensor],
    generator: torch.Generator,
    together: int,
) -> dict[str, NDArray[np.float32]]:
    """Scores (N,) of every head for tokens (N, 3, D), `together` rows in one forward pass, in the order given.

    captions: (n_spoof, D) and (n_real, D). present (N, 3), or None where M13 masks nothing.
    """
    adaptor, scale = model.adaptor, model.clip.scale
    settled = adaptor.r.adapter == "dense" or adaptor.r.router_at_test != "draw"  # the captions' states never change
    texts = adaptor.text_states(captions, Pass(generator)) if settled else None
    parts: dict[str, list[Tensor]] = {name: [] for name in adaptor.heads}
    for here in passes(torch.arange(len(tokens), device=tokens.device), together, at_once=256):
        there, size = None if present is None else present[here], min(together, len(here))
        out = adaptor.outputs(tokens[here], captions, domains[here], scale, generator, there, texts, size)
        for name, logits in out.logits.items():
            parts[name].append(logits[:, 1] - logits[:, 0])
    return {name: torch.cat(values).cpu().numpy() for name, values in parts.items()}


class Tower:
    """What a model's image tower makes of an index's samples, and of a missing modality (M13)."""

    def __init__(self, model: MMDA, faces: Faces, missing_as: str, cache_dir: Path, device: torch.device) -> None:
        self.model, self.faces, self.missing_as = model, faces, missing_as
        self.cache_dir, self.device = cache_dir, device

    @torch.inference_mode()
    def features(self, rows: Rows) -> Tensor:
        """Modality tokens (N, 3, D) without augmentation. A frozen tower's are kept in the cache."""
        model, size = self.model, 64
        if model.adaptor.r.freeze == "all":
            with first_alone():
                return image_features(model.clip, self.faces, rows, model.input_range, self.cache_dir).to(self.device)
        pieces = [rows[i : i + size] for i in range(0, rows.size, size)]
        stream = batches(self.faces, [pieces[number] for number in turns(len(pieces))], self.device)
        found = [model.encode(augmented(batch.images, "none")) for batch in stream]
        return torch.cat(in_order(found, len(pieces))).to(self.device)

    @torch.inference_mode()
    def without(self, rows: Rows, tokens: Tensor, missing: str) -> tuple[Tensor, Tensor | None]:
        """`tokens` of `rows` as they are without the modalities `missing` and without those that a sample never
        had; and for M13 `masked` which there are, (N, 3)."""
        there = self.faces.present[rows]
        there[:, ["RDI".index(modality) for modality in missing]] = False
        present = torch.from_numpy(there).to(self.device)
        clip, side = self.model.clip, self.model.clip.image_size
        if self.missing_as == "grey":
            void = clip.encode_image(torch.zeros(1, 3, side, side, device=self.device))[0]
        else:
            void = black_feature(clip, self.model.input_range)
        return torch.where(present[..., None], tokens, void), present if self.missing_as == "masked" else None


def evaluate(model: MMDA, tower: Tower, sets: Mapping[str, Rows], together: int, seed: int, epoch: int) -> Scores:
    """Scores (N,) of every set by every head."""
    model.eval()
    with torch.inference_mode():
        captions = model.encode_captions()
    features: dict[bytes, Tensor] = {}  # a set without a modality has the rows of the whole set
    scores = {}
    for name, rows in sets.items():
        key = rows.tobytes()
        if key not in features:
            features = {key: tower.features(rows)}
        tokens, present = tower.without(rows, features[key], missing_in(name))
        # Of its own, so that how often one evaluates changes no training.
        draws = torch.Generator(tokens.device).manual_seed(seed * 100_003 + epoch)
        domains = torch.from_numpy(tower.faces.domain[rows]).to(tokens.device)
        scores[name] = score(model, tokens, present, domains, captions, draws, together)
    return scores


def step(
    model: MMDA,
    optimiser: torch.optim.Optimizer,
    batch: Batch,
    tokens: Callable[[Batch], Tensor],
    fixed: list[Tensor] | None,
    draws: torch.Generator,
    together: int,
) -> dict[str, Tensor]:
    """One step of training on a batch: forward, losses and backward for each piece of it (M11), then the step.

    tokens: the modality tokens (b, 3, D) of a piece. fixed: the captions' embeddings where the text tower is frozen.
    Where it is not, it runs once a step: gradients are collected at its outputs and sent through it at the end.
    Returns Eq. 6 and its parts, means over the rows.
    """
    optimiser.zero_grad()
    outputs = fixed or model.encode_captions()
    captions = fixed or [t.detach().requires_grad_() for t in outputs]
    means: dict[str, Tensor] = {}
    for places in passes(torch.arange(len(batch), device=batch.rows.device), together, at_once=256):
        piece = batch[places]
        share, meeting = len(piece) / len(batch), min(together, len(piece))
        output = model.adaptor.outputs(tokens(piece), captions, piece.domain, model.clip.scale, draws, together=meeting)
        losses = model.adaptor.losses(output, piece.bonafide)
        (losses["loss"] * share).backward()
        means = {name: means.get(name, 0) + loss.detach() * share for name, loss in losses.items()}
    if not fixed:
        torch.autograd.backward(outputs, [t.grad for t in captions])
    average_gradients(optimiser)
    optimiser.step()
    return means


def train(options: Options) -> None:
    """Run one training to its end, or on from its last checkpoint, and leave a finished run folder.

    Raises BadInput for unusable input and FloatingPointError when training diverges.
    """
    options.check()
    clip = load_clip(options.clip, options.clip_weights, pick_device(options.device))
    captions = load_captions(options.captions)
    clip.takes(options.image_size)
    inputs = {"clip_sha256": clip.sha256, "caption_sentences": captions}
    with Training(options, "mmda", Path(__file__), inputs) as training:
        if training.done:
            return
        adaptor = Adaptor(layers=options.layers, dim=clip.dim, readings=options)
        model = MMDA(clip, captions, adaptor, options.input_range).to(training.device)
        optimiser = training.optimiser(p for p in model.parameters() if p.requires_grad)
        training.sampler = ShuffledSampler(training.train.size, options.batch_size, options.seed)
        training.remember(model=model.trained, optimiser=optimiser)
        tower = Tower(model, training.faces, options.missing_as, options.cache_dir, training.device)
        # A frozen tower looks at an image once; unless augmentation shows it another image each time.
        known = options.freeze == "all" and options.augmentation == "none"
        rows = np.sort(training.train)
        features = tower.features(rows) if known else None
        row_of = torch.from_numpy(rows).to(training.device)  # of each feature
        fixed = [t.detach() for t in model.encode_captions()] if options.freeze != "none" else None
        together = options.micro_batch or options.batch_size

        def tokens(piece: Batch) -> Tensor:
            if features is not None:
                return features[torch.searchsorted(row_of, piece.rows)]
            with training.arithmetic(), sharing([(model, "encode")]):
                encoded = model.encode(augmented(piece.images, options.augmentation, training.image_draws))
            return encoded.float()

        def evaluated(epoch: int, sets: Mapping[str, Rows]) -> Scores:
            with training.scoring():
                return evaluate(model, tower, sets, together, options.seed, epoch)

        for _ in training.epochs(evaluated, lambda: {"scale": float(clip.scale.detach())}):
            model.train()
            for batch in training.batches(pixels=features is None):
                training.log(step(model, optimiser, batch, tokens, fixed, training.draws, together))


def main() -> None:
    options = base.parse(Options, "reference.mmda", __doc__)
    with command_errors():
        train(options)


if __name__ == "__main__":
    main()
