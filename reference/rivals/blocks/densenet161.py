"""The encoder of DeepPixBiS and of what grew from it: the first eight modules of DenseNet-161.

George, Marcel: Deep Pixel-wise Binary Supervision for Face Presentation Attack Detection. ICB 2019, arXiv 1907.04047,
after Huang, Liu, van der Maaten, Weinberger: Densely Connected Convolutional Networks. CVPR 2017, arXiv 1608.06993.
"""

from torch import nn

from reference.rivals.blocks.start import FRESH, Start

TRUNK = "densenet161"
STRIDE, WIDTH = 16, 384  # of the encoder's output


def densenet161_encoder(begun: Start = FRESH) -> nn.Sequential:
    """(B, 3, S, S) to (B, 384, S/16, S/16): a stem and two dense blocks of 6 and 12 layers, each followed by a
    transition that halves width and resolution; torchvision's, with the weights `begun`."""
    from torchvision.models import densenet161  # takes seconds that a finished run need not spend

    return nn.Sequential(*list(begun.into(densenet161(weights=None)).features.children())[:8])
