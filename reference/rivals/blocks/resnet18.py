"""ResNet-18 without its classifier: the trunk that SSDG, SSAN and SA-FAS share, at its published width or narrower.

He, Zhang, Ren, Sun: Deep Residual Learning for Image Recognition. CVPR 2016, arXiv 1512.03385.
"""

from collections import OrderedDict
from dataclasses import dataclass

from torch import Tensor, nn

from data_manifests.errors import BadInput
from reference.options import Count
from reference.rivals.blocks import start
from reference.rivals.blocks.start import FRESH, Start

TRUNK = "resnet18"
WIDTH, STAGES, STAGE_BLOCKS = 64, 4, 2


@dataclass(frozen=True, kw_only=True)
class Options(start.Options):
    """What rows have whose trunk is a ResNet-18."""

    width: Count = WIDTH
    """Channels of the trunk's first stage; each further stage has twice as many."""

    def check(self) -> None:
        super().check()
        if self.width != WIDTH and self.weights != start.NONE:
            raise BadInput(f"--width {self.width}: --weights {self.weights} have {WIDTH}; give that, or --weights none")


class Trunk(nn.Sequential):
    """An image (B, 3, S, S) to the maps of its stages, of S/4, S/8, S/16 and S/32 positions a side, rounded up."""

    def forward(self, image: Tensor) -> list[Tensor]:
        stages = []
        for name, part in self.named_children():
            image = part(image)
            if name.startswith("layer"):
                stages.append(image)
        return stages


def resnet18_trunk(width: int = WIDTH, stages: int = STAGES, begun: Start = FRESH, begun_stages: int = STAGES) -> Trunk:
    """The first `stages` stages, of `width`, twice, four and eight times as many channels, called as torchvision's.

    All before stage `begun_stages` + 1, counted from 1, has the weights `begun`, the rest fresh ones. Raises BadInput
    unless these are of torchvision's ResNet-18.
    """
    from torchvision.models.resnet import BasicBlock, resnet18  # takes seconds that a finished run need not spend

    def stage(inside: int, outside: int) -> nn.Sequential:
        stride, past = 1, None
        if outside != inside:
            stride, past = 2, nn.Sequential(nn.Conv2d(inside, outside, 1, 2, bias=False), nn.BatchNorm2d(outside))
        later = (BasicBlock(outside, outside) for _ in range(STAGE_BLOCKS - 1))
        return nn.Sequential(BasicBlock(inside, outside, stride, past), *later)

    parts: dict[str, nn.Module] = {
        "conv1": nn.Conv2d(3, width, 7, stride=2, padding=3, bias=False),
        "bn1": nn.BatchNorm2d(width),
        "relu": nn.ReLU(),
        "maxpool": nn.MaxPool2d(3, stride=2, padding=1),
        "layer1": stage(width, width),
    }
    for number in range(2, stages + 1):
        inside = width * 2 ** (number - 2)
        parts[f"layer{number}"] = stage(inside, 2 * inside)
    trunk = Trunk(OrderedDict(parts))
    for module in trunk.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")  # as torchvision does
    if begun.state is not None:
        state = begun.into(resnet18()).state_dict()
        fresh = tuple(f"layer{number}." for number in range(begun_stages + 1, stages + 1))
        kept = {name: x if name.startswith(fresh) else state[name] for name, x in trunk.state_dict().items()}
        trunk.load_state_dict(kept)
    return trunk
