"""FlexModal-FAS, a row of mmFAS Table 1 that sees all three modalities.

Yu, Liu, Zhao, Cheng, Cheng, Zhao: Flexible-Modal Face Anti-Spoofing: A Benchmark. CVPRW 2023, arXiv 2202.08192.

    python -m reference.rivals.flexmodal --index build/…/index.csv --run-dir build/runs/flexmodal

One ViT-B/16, shared by the modalities, makes a map H of 768 channels at 14 x 14 positions (at 224 x 224) of each image:
its patch tokens, without the class token. Depth and infrared then ask the channels of RGB, without projections:

    H'_m = softmax(H_m H_RGB^T) H_RGB        for m = depth, infrared; the softmax runs over the channels of RGB

What the three maps become together (R1) goes through channel dropout (0.3), a 3 x 3 convolution, batch norm and
ReLU, is averaged over positions, and after dropout (0.3) a linear layer gives two logits.

    loss = cross-entropy of the two classes

The point of the paper is one network for whatever modalities a deployment has: in training depth and infrared are each
replaced by black with probability 1/2, at test what is missing is black. The original input is 224 x 224, RGB,
(x - 127.5) / 128; the network makes it of [-1, 1] itself.

Parameters at 224 x 224 with the preset `released`, our counts:

    trunk                   85 797 120   class token 768, positions 151 296, patch embedding 590 592, 12 x 7 087 872
    linear layer                 1 538
    convolution, batch norm  5 310 720
    on the path             91 109 378
    the trunk's final norm       1 536   held by the original, never applied (R3)
    state of the original   91 110 914

Network, training and most of the readings stand in blocks/flex_modal.py, because MMDA's ViT may be read as this
network too.

Readings:

  R0  First weights of the trunk: fresh ones in every preset, as mmFAS trained all models from scratch;
      `--weights torchvision` begins from ImageNet's, as the authors did. The authors' were timm's
      for their transformer, `torchvision` names torchvision's.
  R1  How the maps meet: `--fusion sum` adds H_RGB, H'_depth and H'_infrared, as the authors' code does; `concat` puts
      their channels side by side before the convolution. `described` takes `concat`, which is not read in the paper
      again: public notes on it give the sum for cross-attention and `concat` for a fusion without attention. mmFAS does
      not say which of the paper's fusions it trained; cross-attention is the one whose code was released.
  R2  The attention's logits are not divided by anything in paper and code, although each is a sum over all positions.
      `--attention scaled` divides them by the square root of the number of positions.
  R3  The code takes the tokens before the transformer's final LayerNorm, which it keeps and never applies; the paper
      says nothing of it. `--final-norm applied` applies it.
  R4  Dropping modalities belongs to the authors' reading of files, not to their network. mmFAS trained every row in the
      same way, so the preset `table` drops nothing; `--drop-modality 0.5` is theirs. What is missing at test is black
      as in training; their code feeds zeros after normalising, `--missing-as grey`. At test it also reads RGB a second
      time where infrared belongs, which it does not do in training: `--infrared-at-test rgb`.
  R5  So does cutout: a black square, the same in all modalities, at a random place, of a side below `--cutout`.
  R6  So do brightness, of every channel by up to 40 of 255, and gamma, from 0.5 to 1.5, drawn anew for each image of a
      sample. The authors round to whole grey values between the two, we do not.
  R7  Training: the preset `table` is mmFAS's. `described` and `released`: AdamW at 1e-5 with weight decay 0.05, 30
      epochs, batches of 64, flips, shuffled frames; where the paper is silent `described` is the code.
  R8  The rate is halved after 20 epochs. The authors' code halves it one epoch early, because it moves the scheduler
      before the epoch and not after it: `--rate halved_early`. `constant` is no source's of this row.
  R9  The transformer is timm's, as in the code, with timm's initialisation; what stands behind it has PyTorch's.
      The score is the difference of the logits, whose order is the authors' softmax probability's.
"""

from dataclasses import dataclass
from typing import Literal

from reference.options import reading
from reference.rivals import method
from reference.rivals.blocks import flex_modal
from reference.rivals.blocks.flex_modal import FlexModalMethod


@dataclass(frozen=True, kw_only=True)
class Options(flex_modal.Options):
    """Train and evaluate FlexModal-FAS on RGB, depth and infrared."""

    weight_decay: float = reading(0.05, table=1e-2)
    """R7: weight decay of all parameters."""

    learning_rate: float = reading(1e-5, table=1e-4)
    """R7: highest learning rate."""

    batch_size: int = reading(64, table=128)
    """R7: samples a step, half of them bona fide where they are balanced; also used to evaluate."""

    augmentation: Literal["none", "flip"] = reading("flip", table="none")
    """R7: flip mirrors each training sample with probability 1/2, all its modalities alike."""


class Method(FlexModalMethod[Options]):
    """FlexModal-FAS, its network and its training."""


if __name__ == "__main__":
    method.main(Method, Options, __doc__)
