"""AMA, a row of MMDA Tables 1 to 3: one vision transformer over the patches of all modalities, which adapters teach.

Yu et al.: Rethinking Vision Transformer and Masked Autoencoder in Multimodal Face Anti-Spoofing. IJCV
2024, arXiv 2302.05744.

    python -m reference.rivals.ama --index build/…/index.csv --run-dir build/runs/ama --weights torchvision

A ViT-B/16 sees one class token and three times 196 patches: RGB's, depth's and infrared's, of one patch embedding. All
of it is frozen. Beside the attention and beside the MLP of each layer stands an adapter. It reads what they read, the
layer norm's output y, and what it makes of it is added to theirs. It narrows y to D channels, z = quick_gelu(down(y)),
in which the patches of each modality are a map of 14 x 14, and computes

    shared map          m = 3 x 3 convolution, 3 D to D channels, of the three maps together
    gates               (g_1, g_2, g_3) = sigmoid(W mean of the three maps together),   W of 3 x 3 D
    patches             g_i m for modality i: the same map three times, each as bright as its gate says
    class token         its D channels three times, as a map of one cell through the same convolution
    output              up(dropout(quick_gelu(…))), dropout 0.1

`up` begins at zero, so that the network begins as the ViT. The class token leaves the final norm through a linear layer
to two logits.

    loss = cross-entropy of the two classes

No code is published under AMA's name. Its adapter and its layer stand in a file of DADM's repository, twice under two
names, that nothing calls; which tokens, positions and head surround them is in no code, nor how they were trained. The
file's other adapters convolve two modalities or each one alone. M2A2E, the pre-training that the paper proposes beside
AMA, is not part of this row.

Input is 224 x 224, (x - 127.5) / 128, as the tables' loaders have it; the network makes it of [-1, 1] itself.

Parameters at 224 x 224, our counts:

                                    64 channels      8 channels (preset released)
    24 adapters                       5 047 296         356 736   of 210 304 or 14 864 each
      down                               49 216           6 152
      convolution, gates          110 592 + 576      1 728 + 72
      up                                 49 920           6 912
    linear layer                          1 538           1 538
    trained                           5 048 834         358 274
    frozen ViT                       86 099 712      86 099 712
      patch embedding 590 592, class token 768, positions 452 352, twelve layers 85 054 464, final norm 1 536
    on the path                      91 148 546      86 457 986   and all of the state

A plain ViT has 301 056 positions less: 196 patches instead of 588.

Readings:

  R0  First weights: fresh unless `--weights torchvision` or a file says otherwise. The paper compares its pre-training
      with ImageNet's, from which AMA alone began; so does the paper profile.
  R1  D: the file has 8 as the default of this adapter and of its layer, and 64 where layers combine it with others.
      Which of the two the row's numbers had is published nowhere; the table takes the larger one.
  R2  What trains: adapters and the linear layer. Class token, positions and final norm are the ViT's and stay frozen
      with it, which is our decision. Behind a frozen trunk of random weights adapters learn next to nothing; the cpu
      profile, which has no weights, trains `all`.
  R3  A ViT has positions for 196 patches; how they became 588 is published nowhere. `tiled` gives a patch of each
      modality the position of its place, so that only gates and pixels tell modalities apart. `anew` draws all
      positions from a normal law of deviation 0.02; new ones also train.
  R4  Infrared: the paper's transformer sees its grey values, its HOG and its PLGF as three channels
      (blocks/infrared_stack.py), which `stack` is. The tables' loaders feed infrared three times.
  R5  Dropped modalities: the tables test with depth or infrared black. Whether the row had seen that in training is
      not published; by default it has not.
  R6  No code says how AMA was trained, and the paper's text was not at hand. AdamW at 1e-5 with weight decay 0.05, the
      rate halved after every 20 of 30 epochs, and batches of 64 are Flex-Modal-FAS's, whose first author is the same;
      flips are the tables' loaders'. To train so is our decision. Batches are balanced by class, as everywhere here.

Sizes are those of ViT-B/16 unless `--patch`, `--width`, `--depth` and `--heads` narrow it, which no published weights
fit.
"""

from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from data_manifests.errors import BadInput
from reference.batches import Batch
from reference.options import Count, reading
from reference.rivals import method
from reference.rivals.blocks import vit_trunk
from reference.rivals.blocks.flex_modal import drop_modalities
from reference.rivals.blocks.infrared_stack import infrared_stack
from reference.rivals.blocks.start import FRESH, Start, StartedMethod
from reference.rivals.blocks.stem import SHARED_SCALE
from reference.rivals.blocks.step_rate import stepped_rate
from reference.rivals.blocks.token_maps import convolved_tokens, narrowing, quick_gelu, widening
from reference.rivals.blocks.two_logits import cross_entropy, logit_difference
from reference.rivals.blocks.vit_trunk import MODALITIES, POSITION_SD, torchvision_vit
from reference.runs import HEADLINE
from reference.training import Training

DROPOUT = 0.1
FACTOR = 0.5  # of the learning rate


@dataclass(frozen=True, kw_only=True)
class Options(vit_trunk.Sizes):
    """Train and evaluate AMA on RGB, depth and infrared."""

    adapter_width: Count = reading(64, released=8)
    """R1: D, the channels within an adapter."""

    trained: Literal["adapters", "all"] = reading("adapters")
    """R2: adapters and the linear layer train, with positions that are drawn anew, or all of the network."""

    positions: Literal["tiled", "anew"] = reading("tiled")
    """R3: the patches of each modality have the positions of --weights at first, or all have new ones."""

    infrared: Literal["plain", "stack"] = reading("plain", described="stack")
    """R4: infrared as three equal channels, or as its grey values, HOG and PLGF."""

    drop_modality: float = reading(0.0)
    """R5: probability with which a training sample's depth becomes black, and as well its infrared."""

    optimiser: Literal["adamw", "adam_l2", "sgd"] = reading("adamw")
    """R6: adamw decays weights apart from the gradient, adam_l2 adds the decay to the gradient; sgd has momentum."""

    learning_rate: float = reading(1e-5)
    """R6: the learning rate at the start."""

    weight_decay: float = reading(0.05)
    """R6: weight decay of all parameters that train."""

    batch_size: int = reading(64)
    """R6: samples a step, half of them bona fide; also used to evaluate."""

    epochs: int = reading(30)
    """R6: passes over the training split."""

    halve_every: Count = reading(20)
    """R6: epochs after which the learning rate is halved, again and again."""

    augmentation: Literal["none", "flip"] = reading("flip")
    """R6: flip mirrors each training sample with probability 1/2, all its modalities alike."""

    protocol: str = "official"
    """Protocol of the index whose splits train, val and test are used."""

    def check(self) -> None:
        super().check()
        if not 0 <= self.drop_modality <= 1:
            raise BadInput(f"--drop-modality {self.drop_modality}: it is a probability; give a number from 0 to 1")


def modality_gates(patches: Tensor, weight: Tensor) -> Tensor:
    """A number (B, M) between 0 and 1 for each modality, of the patches (B, N, M D) of all modalities side by side: the
    sigmoid of weight (M, M D) times their mean."""
    return (patches.mean(1) @ weight.mT).sigmoid()


def gated_tokens(tokens: Tensor, kernel: Tensor, weight: Tensor) -> Tensor:
    """What an adapter makes of its narrow tokens: one map of all modalities, as bright in each as its gate says.

    tokens (B, 1 + M N, D): the class token, and each modality's patches, a square map row by row. kernel
    (D, M D, 3, 3) convolves the maps together, outside of which there are zeros, and the class token M times as a map
    of one cell; weight (M, M D) is that of the gates, which the class token goes without. (B, 1 + M N, D).
    """
    modalities = len(weight)
    patches = torch.cat(tokens[:, 1:].chunk(modalities, 1), 2)  # (B, N, M D)
    together = torch.cat([tokens[:, :1].repeat(1, 1, modalities), patches], 1)
    shared = convolved_tokens(together, lambda x: F.conv2d(x, kernel, padding=1))
    gates = modality_gates(patches, weight)[:, :, None, None]
    return torch.cat([shared[:, :1], (gates * shared[:, None, 1:]).flatten(1, 2)], 1)


class Adapter(nn.Module):
    """Tokens (B, 1 + 3 N, C) to what is added to them, which is nothing at first."""

    def __init__(self, width: int, dim: int) -> None:
        super().__init__()
        self.down = narrowing(width, dim)
        self.conv = nn.Conv2d(MODALITIES * dim, dim, 3, bias=False)
        self.gates = nn.Linear(MODALITIES * dim, MODALITIES, bias=False)
        self.drop = nn.Dropout(DROPOUT)
        self.up = widening(dim, width)

    def forward(self, x: Tensor) -> Tensor:
        x = gated_tokens(quick_gelu(self.down(x)), self.conv.weight, self.gates.weight)
        return self.up(self.drop(quick_gelu(x)))


class AdaptedLayer(nn.Module):
    """A layer of torchvision's transformer, (B, 1 + 3 N, C) to as many tokens, with an adapter beside its attention and
    one beside its MLP."""

    def __init__(self, layer: Any, width: int, dim: int) -> None:
        super().__init__()
        self.layer = layer
        self.beside_attention, self.beside_mlp = Adapter(width, dim), Adapter(width, dim)

    def forward(self, x: Tensor) -> Tensor:
        layer = self.layer
        y = layer.ln_1(x)
        attention, _ = layer.self_attention(y, y, y, need_weights=False)
        x = x + attention + self.beside_attention(y)
        y = layer.ln_2(x)
        return x + layer.mlp(y) + self.beside_mlp(y)


class AMA(nn.Module):
    """rgb, depth, ir (B, 3, S, S) in [-1, 1] to logits (B, 2): bona fide, attack."""

    def __init__(self, options: Options, begun: Start = FRESH) -> None:
        super().__init__()
        vit = torchvision_vit(options, begun)
        self.stack = options.infrared == "stack"
        self.conv_proj, self.class_token = vit.conv_proj, vit.class_token
        first, others = vit.encoder.pos_embedding.detach().split([1, vit.seq_length - 1], 1)
        positions = torch.cat([first, *[others] * MODALITIES], 1)
        if options.positions == "anew":
            positions.normal_(std=POSITION_SD)
        self.pos_embedding = nn.Parameter(positions)
        self.ln = vit.encoder.ln
        if options.trained == "adapters":
            vit.requires_grad_(False)
            self.pos_embedding.requires_grad_(options.positions == "anew")
        self.layers = nn.Sequential(
            *(AdaptedLayer(layer, options.width, options.adapter_width) for layer in vit.encoder.layers)
        )
        self.classes = nn.Linear(options.width, 2)

    def forward(self, rgb: Tensor, depth: Tensor, ir: Tensor) -> Tensor:
        images = rgb, depth, infrared_stack(ir) if self.stack else ir
        patches = [self.conv_proj(SHARED_SCALE * x).flatten(2).mT for x in images]
        tokens = torch.cat([self.class_token.expand(len(rgb), -1, -1), *patches], 1) + self.pos_embedding
        logits: Tensor = self.classes(self.ln(self.layers(tokens)[:, 0]))
        return logits


class Method(StartedMethod[Options]):
    """AMA under cross-entropy."""

    TRUNK = "vit_b_16"

    def build(self) -> nn.Module:
        return AMA(self.options, self.start)

    def losses(self, output: Tensor, batch: Batch) -> dict[str, Tensor]:
        return {"loss": cross_entropy(output, batch.label)}

    def scores(self, output: Tensor) -> dict[str, Tensor]:
        return {HEADLINE: logit_difference(output)}

    def views(self, batch: Batch, training: Training) -> Batch:
        batch = super().views(batch, training)
        depth, ir = drop_modalities(batch.depth, batch.ir, self.options.drop_modality, self.draws)
        return replace(batch, depth=depth, ir=ir)

    def optimiser(self, training: Training) -> torch.optim.Optimizer:
        return training.optimiser(p for p in self.network.parameters() if p.requires_grad)

    def schedule(self, optimiser: torch.optim.Optimizer, batch: Batch, training: Training) -> None:
        options = self.options
        for group in optimiser.param_groups:
            group["lr"] = stepped_rate(training.epoch, options.learning_rate, options.halve_every, FACTOR)


if __name__ == "__main__":
    method.main(Method, Options, __doc__)
