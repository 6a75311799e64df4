"""The encoder of DeepPixBiS and of what grew from it: the first eight modules of DenseNet-161.

George, Marcel: Deep Pixel-wise Binary Supervision for Face Presentation Attack Detection. ICB 2019, arXiv 1907.04047,
after Huang, Liu, van der Maaten, Weinberger: Densely Connected Convolutional Networks. CVPR 2017, arXiv 1608.06993.
"""

from torch import nn

from reference.rivals.blocks.start import FRESH, Start

TRUNK = "densenet161"
GROWTH = 48  # channels that each dense layer adds
LAYERS = (6, 12, 36, 24)  # of each dense block, the two that are cut off included
STRIDE, WIDENING = 16, 8  # of the encoder's output; its channels are so many for each of GROWTH
WIDTH = WIDENING * GROWTH


def densenet161_encoder(begun: Start = FRESH, growth: int = GROWTH) -> nn.Sequential:
    """(B, 3, S, S) to (B, 8 growth, S/16, S/16): a stem and two dense blocks of 6 and 12 layers, each followed by a
    transition that halves width and resolution; torchvision's, with the weights `begun`.

    No published weights fit a `growth` other than 48: raises BadInput.
    """
    from torchvision.models import DenseNet  # takes seconds that a finished run need not spend

    whole = DenseNet(growth, LAYERS, 2 * growth)
    return nn.Sequential(*list(begun.into(whole).features.children())[:8])
