"""The encoder of DeepPixBiS and of what grew from it: the first eight modules of DenseNet-161, and their input.

George, Marcel: Deep Pixel-wise Binary Supervision for Face Presentation Attack Detection. ICB 2019, arXiv 1907.04047,
after Huang, Liu, van der Maaten, Weinberger: Densely Connected Convolutional Networks. CVPR 2017, arXiv 1608.06993.
"""

import torch
from torch import Tensor, nn

from reference.rivals.blocks.start import FRESH, Start

TRUNK = "densenet161"
STRIDE, WIDTH = 16, 384  # of the encoder's output
IMAGENET_MEAN, IMAGENET_SD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class ImageNetInput(nn.Module):
    """rgb (B, 3, S, S) in [-1, 1] to the same with ImageNet's mean and standard deviation taken out."""

    mean: Tensor
    sd: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("sd", torch.tensor(IMAGENET_SD).view(1, 3, 1, 1), persistent=False)

    def forward(self, rgb: Tensor) -> Tensor:
        return ((rgb + 1) / 2 - self.mean) / self.sd


def densenet161_encoder(begun: Start = FRESH) -> nn.Sequential:
    """(B, 3, S, S) to (B, 384, S/16, S/16): a stem and two dense blocks of 6 and 12 layers, each followed by a
    transition that halves width and resolution; torchvision's, with the weights `begun`."""
    from torchvision.models import densenet161  # takes seconds that a finished run need not spend

    return nn.Sequential(*list(begun.into(densenet161(weights=None)).features.children())[:8])
