"""ResNet-50, an RGB-only row of mmFAS Table 1.

He, Zhang, Ren, Sun: Deep Residual Learning for Image Recognition. CVPR 2016, arXiv 1512.03385.

    python -m reference.rivals.resnet50 --index build/…/index.csv --run-dir build/runs/resnet50

Of the network mmFAS says that "only the last fully-connected layers are modified", that it sees RGB, and that
binary cross-entropy supervises it. Bottlenecks in stages of 3, 4, 6 and 3; two outputs make 23 512 130
parameters (our count; neither paper prints one).

Readings:

  R1  The network is torchvision's (stride in a bottleneck's 3 x 3 convolution), with its initialisation.
  R2  Two outputs with softmax cross-entropy: binary cross-entropy on their difference, which is the score.
  R3  Input as it comes, in [-1, 1]: mmFAS names no normalisation.

The presets `described` and `released` are `table` here: neither paper nor code trained it for anti-spoofing.
"""

from dataclasses import dataclass

from torch import Tensor, nn

from reference.batches import Batch
from reference.rivals import method
from reference.rivals.blocks.two_logits import cross_entropy, logit_difference
from reference.runs import HEADLINE

LAYERS = [3, 4, 6, 3]  # bottlenecks of each stage


@dataclass(frozen=True, kw_only=True)
class Options(method.Options):
    """Train and evaluate ResNet-50 on RGB."""


class ResNet50(nn.Module):
    """rgb (B, 3, S, S) to logits (B, 2): bona fide, spoof. The other modalities are ignored."""

    def __init__(self, classes: int = 2) -> None:
        super().__init__()
        from torchvision.models.resnet import Bottleneck, ResNet  # takes seconds that a finished run need not spend

        self.net = ResNet(Bottleneck, LAYERS, num_classes=classes)

    def forward(self, rgb: Tensor, depth: Tensor, ir: Tensor) -> Tensor:
        return self.net(rgb)


class Method(method.Method[Options]):
    """ResNet-50 under cross-entropy."""

    def build(self) -> nn.Module:
        return ResNet50()

    def losses(self, output: Tensor, batch: Batch) -> dict[str, Tensor]:
        return {"loss": cross_entropy(output, batch.label)}

    def scores(self, output: Tensor) -> dict[str, Tensor]:
        return {HEADLINE: logit_difference(output)}


if __name__ == "__main__":
    method.main(Method, Options, __doc__)
