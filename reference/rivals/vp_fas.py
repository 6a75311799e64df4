"""VP-FAS, a row of MMDA's Tables 1 to 3, as a reconstruction: visual prompts for a frozen vision transformer.

Yu, Cai, Cui, Liu, Chen: Visual Prompt Flexible-Modal Face Anti-Spoofing. TDSC 2024, arXiv 2307.13958.

    python -m reference.rivals.vp_fas --index build/…/index.csv --run-dir build/runs/vp_fas --weights torchvision

This is not the authors' method. No code of theirs is public, and of the paper the abstract alone was at hand. What it
fixes is built, everything else is a decision of ours, and nothing is claimed of the original: every table with this row
says so (`reconstruction` in rows.toml). No comparison with an original is possible. With no released code, the preset
`released` is the same as `described`; and since nobody published how the row was trained for the tables, so is `table`.

The abstract fixes four things:

  - a pre-trained vision transformer, which stays frozen;
  - vanilla visual prompts and residual contextual prompts, which are plugged into it;
  - that less than 4 % of the parameters learn, compared with training the entire model;
  - a regularisation by which the embedding is to stay the same when some modalities are missing.

What is built: one ViT-B/16 sees one modality at a time, a class token and patches. Before each of its first layers
prompts are put in front of the tokens, and what the layer made of them is taken away behind it. The prompts of modality
m before layer l are

    vanilla_lm + W' relu(W c + b) + b',     c the mean of all patches of the three modalities that enter the layer.

The vanilla ones are learned, a set for each modality and layer. The rest is the residual, the same for all prompts of a
sample; W, b, W' and b' are the layer's, and W' and b' begin at zero, so that contextual prompts begin as the vanilla
ones. The class tokens after the final norm are put side by side, which is the embedding z; a linear layer makes two
logits of it. In training every sample is seen twice, as it is and with modalities dropped, which gives z~:

    loss = cross-entropy of both + w consistency,
    consistency = the mean over samples of which a modality was dropped of the mean squared difference of z~ and z,

where no gradient goes through z. The score is the difference of the logits. The network is not told what is missing.

Parameters at 224 x 224, our counts; there is no original whose state could differ:

    the frozen transformer           85 798 656   ViT-B/16 without its classifier
    vanilla prompts                     221 184   6 layers x 3 modalities x 16 prompts x 768
    makers of the residual              447 264   6 x (768 x 48 + 48 + 48 x 768 + 768)
    linear layer                          4 610
    on the path, and the state       86 471 714   of which train 673 058, 0.78 %

Decisions, all of them ours. Where it helps, they follow a public relative that prompts under missing modalities, Lee et
al., CVPR 2023, arXiv 2303.03369 (code at YiLunLee/missing_aware_prompts 9aa5381).

  R0  First weights: fresh unless `--weights torchvision` or a file says otherwise. The abstract's transformer is
      pre-trained and the paper profile takes ImageNet's weights, though the abstract does not say which.
  T1  `--trained prompts`: the transformer is frozen, as the abstract says. That asks for trained weights; the cpu
      profile has none and trains `all`.
  R1  One modality at a time, as in Flex-Modal-FAS by the same first author, whose task the abstract takes up: frozen
      layers then meet sequences about as long as those they were trained on, and prompts can adapt them to each
      modality apart. The alternative, all patches in one sequence, is what the first author's AMA does. Class token,
      positions and patch embedding are one for all modalities, since frozen copies of one thing are one thing.
  R2  Sixteen prompts before each of the first six layers, as in the relative, which has a set for each combination of
      missing modalities and must be told which. Its prompts stay in the sequence, so that the last prompted layer sees
      96; here each layer has its own alone, as in visual prompt tuning (Jia et al., ECCV 2022, arXiv 2203.12119).
      Vanilla prompts begin normal with deviation 0.02, as torchvision draws positions.
  R3  The residual: two linear layers, 48 = 768 / 16 numbers between them, and one vector for all prompts, as the
      conditional prompts of CoCoOp (Zhou et al., CVPR 2022, arXiv 2203.05557). Its input is the mean of all three
      modalities: nothing else before the linear layer lets a modality know of the others. With `--context own` it is
      the mean of the modality itself.
  R4  Depth and infrared are dropped in training with probability 1/2, independently, as Flex-Modal-FAS does; RGB never
      is, and no table lacks it. What is dropped is black, as what is missing at test (N0).
  R5  Consistency: of squares, which are zero for equal embeddings alone; `--consistency cosine` compares directions.
      Its weight is 1. The complete embedding is a fixed target, else it might become equal by forgetting depth and
      infrared; `--consistency-target attached` lets it move.
  R6  Both views of a sample are classified, and equally: the score has to hold with and without modalities.
  R7  Training: DADM's (ICCV 2025, arXiv 2503.00429), whose tables hold this row: Adam at 5e-5 with weight decay 5e-5 in
      the gradient, batches of 16, 80 epochs, flips; batches are balanced by class, as everywhere here.
  R8  The rate is constant, for no schedule is named with DADM's settings.

Input is 224 x 224, (x - 127.5) / 128, as the tables' loaders have it; the network makes it of [-1, 1] itself. Sizes are
those of ViT-B/16 unless `--patch`, `--width`, `--depth` and `--heads` narrow it, which no published weights fit.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from data_manifests.errors import BadInput
from reference.batches import Batch
from reference.options import Count, Weight, reading
from reference.processes import Shared
from reference.rivals import method
from reference.rivals.blocks import vit_trunk
from reference.rivals.blocks.flex_modal import drop_modalities
from reference.rivals.blocks.precision import at_least_float32
from reference.rivals.blocks.start import FRESH, Start, StartedMethod
from reference.rivals.blocks.stem import SHARED_SCALE
from reference.rivals.blocks.two_logits import cross_entropy, logit_difference
from reference.rivals.blocks.vit_trunk import MODALITIES, modality_tokens, side_by_side, torchvision_vit
from reference.runs import HEADLINE
from reference.training import Training

PROMPT_SD = 0.02  # of the vanilla prompts' first values


@dataclass(frozen=True, kw_only=True)
class Options(vit_trunk.Sizes):
    """Train and evaluate the reconstruction of VP-FAS on RGB, depth and infrared."""

    trained: Literal["prompts", "all"] = reading("prompts")
    """T1: prompts, what makes their residuals, and the linear layer train, or the transformer as well."""

    prompt_length: Count = reading(16)
    """R2: prompts of each modality before a layer."""

    prompt_layers: Count = reading(6)
    """R2: so many first layers of the transformer see prompts."""

    context: Literal["shared", "own"] = reading("shared")
    """R3: a modality's residual is made of the patches of all three modalities, or of its own."""

    hidden: Count = reading(48)
    """R3: numbers between the two linear layers that make the residual."""

    drop_modality: float = reading(0.5)
    """R4: probability with which a training sample's depth becomes black, and as well its infrared."""

    consistency: Literal["squared", "cosine"] = reading("squared")
    """R5: embeddings are compared by their mean squared difference, or by 1 minus their cosine."""

    consistency_weight: Weight = reading(1.0)
    """R5: weight of the regularisation beside the cross-entropy."""

    consistency_target: Literal["detached", "attached"] = reading("detached")
    """R5: whether the embedding of the complete sample stays where it is, or learns from the regularisation too."""

    optimiser: Literal["adamw", "adam_l2", "sgd"] = reading("adam_l2")
    """R7: adamw decays weights apart from the gradient, adam_l2 adds the decay to the gradient."""

    learning_rate: float = reading(5e-5)
    """R7: highest learning rate."""

    weight_decay: float = reading(5e-5)
    """R7: weight decay of all parameters that train."""

    batch_size: int = reading(16)
    """R7: samples a step, half of them bona fide; also used to evaluate."""

    epochs: int = reading(80)
    """R7: passes over the training split."""

    augmentation: Literal["none", "flip"] = reading("flip")
    """R7: flip mirrors each training sample with probability 1/2, all its modalities alike."""

    rate: Literal["constant", "cosine"] = reading("constant")
    """R8: the learning rate stays, or rises and falls as mmFAS's."""

    protocol: str = "official"
    """Protocol of the index whose splits train, val and test are used."""

    def check(self) -> None:
        super().check()
        if self.prompt_layers > self.depth:
            raise BadInput(
                f"--prompt-layers {self.prompt_layers}: the transformer has --depth {self.depth}; give at most that"
            )
        if not 0 <= self.drop_modality <= 1:
            raise BadInput(f"--drop-modality {self.drop_modality}: it is a probability; give a number from 0 to 1")


def token_context(tokens: Tensor, modalities: int = MODALITIES, shared: bool = True) -> Tensor:
    """What a residual is made of (R3): for each sequence the mean of its sample's patches, of all modalities or, unless
    `shared`, of its own.

    tokens (M B, 1 + N, C), a class token before N patches, all samples of a modality before those of the next;
    (M B, C).
    """
    means = tokens[:, 1:].mean(1)
    if not shared:
        return means
    return means.unflatten(0, (modalities, -1)).mean(0).repeat(modalities, 1)


def contextual_prompts(vanilla: Tensor, residual: Tensor) -> Tensor:
    """Each modality's vanilla prompts plus the residual of each sample.

    vanilla (M, L, C); residual (M B, C), all samples of a modality before those of the next; (M B, L, C).
    """
    return vanilla.repeat_interleave(len(residual) // len(vanilla), 0) + residual[:, None]


def missing_modality_loss(
    complete: Tensor, dropped: Tensor, missing: Tensor, cosine: bool = False, attached: bool = False
) -> Tensor:
    """The regularisation (): how far a sample's embedding moves when modalities are dropped, the mean over the samples
    of which one was; 0 where none was.

    complete and dropped (B, C); missing (B,) bool says of which samples a modality was dropped. The distance of a
    sample is the mean squared difference, or 1 minus the `cosine`. Unless `attached`, the gradient goes to `dropped`
    alone.
    """
    target = complete if attached else complete.detach()
    if cosine:
        distances = 1 - F.cosine_similarity(dropped, target)
    else:
        distances = (dropped - target).square().mean(1)
    return (distances * missing).sum() / missing.sum().clamp(min=1)


class Prompts(nn.Module):
    """The prompts before one layer: tokens (3 B, 1 + N, C) that enter it to prompts (3 B, L, C)."""

    def __init__(self, options: Options) -> None:
        super().__init__()
        self.shared = options.context == "shared"
        vanilla = torch.empty(MODALITIES, options.prompt_length, options.width).normal_(std=PROMPT_SD)
        self.vanilla = nn.Parameter(vanilla)
        self.down, self.up = nn.Linear(options.width, options.hidden), nn.Linear(options.hidden, options.width)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, tokens: Tensor) -> Tensor:
        residual = self.up(F.relu(self.down(token_context(tokens, shared=self.shared))))
        return contextual_prompts(self.vanilla, residual)


class PromptedViT(nn.Module):
    """rgb, depth, ir (B, 3, S, S) in [-1, 1] to logits (B, 2): bona fide, attack.

    The transformer's parts are torchvision's and are named as there.
    """

    def __init__(self, options: Options, begun: Start = FRESH) -> None:
        super().__init__()
        vit = torchvision_vit(options, begun)
        self.class_token, self.conv_proj, self.pos_embedding = vit.class_token, vit.conv_proj, vit.encoder.pos_embedding
        self.layers, self.ln = vit.encoder.layers, vit.encoder.ln
        if options.trained == "prompts":
            self.requires_grad_(False)
        self.prompts = nn.ModuleList(Prompts(options) for _ in range(options.prompt_layers))
        self.classes = nn.Linear(MODALITIES * options.width, 2)

    def embedding(self, rgb: Tensor, depth: Tensor, ir: Tensor) -> Tensor:
        """What the linear layer classifies: the class tokens (B, 3 C) side by side."""
        patches = self.conv_proj(SHARED_SCALE * torch.cat([rgb, depth, ir])).flatten(2).mT
        tokens = modality_tokens(patches, self.class_token, self.pos_embedding)
        prompted = len(self.prompts)
        for prompts_of, layer in zip(self.prompts, self.layers[:prompted], strict=True):
            prompts = prompts_of(tokens)
            tokens = layer(torch.cat([prompts, tokens], 1))[:, prompts.shape[1] :]
        return side_by_side(self.ln(self.layers[prompted:](tokens))[:, 0])

    def forward(self, rgb: Tensor, depth: Tensor, ir: Tensor) -> Tensor:
        logits: Tensor = self.classes(self.embedding(rgb, depth, ir))
        return logits


class Learned(NamedTuple):
    """What a step of training learns from. The first B rows are of the complete samples, the others of the same samples
    with modalities dropped."""

    logits: Tensor  # (2 B, 2)
    embedding: Tensor  # (2 B, 3 C)
    missing: Tensor  # (B,) bool: whether dropping changed the sample


def differ(one: Tensor, other: Tensor) -> Tensor:
    """Which samples (B,) bool of two batches of images (B, 3, H, W) are not the same."""
    return (one != other).flatten(1).any(1)


class Method(StartedMethod[Options]):
    """The prompts under cross-entropy and the regularisation."""

    TRUNK = "vit_b_16"
    network: PromptedViT

    def build(self) -> nn.Module:
        return PromptedViT(self.options, self.start)

    def forward(self, batch: Batch) -> Learned:
        rgb, depth, ir = batch.images
        less_depth, less_ir = drop_modalities(depth, ir, self.options.drop_modality, self.draws)
        missing = differ(depth, less_depth) | differ(ir, less_ir)
        embedding = self.network.embedding(
            torch.cat([rgb, rgb]), torch.cat([depth, less_depth]), torch.cat([ir, less_ir])
        )
        return Learned(self.network.classes(embedding), embedding, missing)

    def shared(self) -> Sequence[Shared]:
        return [(self.network, "embedding")]

    def losses(self, output: Learned, batch: Batch) -> dict[str, Tensor]:
        options = self.options
        classes = cross_entropy(output.logits, batch.label.repeat(2))
        complete, dropped = at_least_float32(output.embedding).chunk(2)
        consistency = missing_modality_loss(
            complete, dropped, output.missing, options.consistency == "cosine", options.consistency_target == "attached"
        )
        total = classes + options.consistency_weight * consistency
        return {"loss": total, "classes": classes, "consistency": consistency}

    def scores(self, output: Tensor) -> dict[str, Tensor]:
        return {HEADLINE: logit_difference(output)}

    def predict(self, batch: Batch) -> dict[str, Tensor]:
        return self.scores(self.network(*batch.images))

    def optimiser(self, training: Training) -> torch.optim.Optimizer:
        return training.optimiser(p for p in self.network.parameters() if p.requires_grad)

    def schedule(self, optimiser: torch.optim.Optimizer, batch: Batch, training: Training) -> None:
        if self.options.rate == "cosine":
            super().schedule(optimiser, batch, training)


if __name__ == "__main__":
    method.main(Method, Options, __doc__)
