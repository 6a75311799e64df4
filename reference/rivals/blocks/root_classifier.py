"""The classifier that FLIP's variant v and ViTAF put behind the class token of a vision transformer; SSDG's code had it
first."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from reference.rivals.blocks.precision import at_least_float32
from reference.rivals.blocks.root_norm import root_normalised

WIDTH, DROPOUT = 512, 0.5


class RootClassifier(nn.Module):
    """Tokens (B, C) to logits (B, 2), bona fide and attack: a linear layer, ReLU, dropout, the division by the root of
    twice the length, a linear layer. `unit_columns` gives each column of the last one's weights (2, 512) the length 1
    before every pass, outside of the gradient; a pass at test leaves the weights as they are, so that how often one
    evaluates changes no training."""

    def __init__(self, width: int, unit_columns: bool) -> None:
        super().__init__()
        self.unit_columns = unit_columns
        self.hidden, self.drop = nn.Linear(width, WIDTH), nn.Dropout(DROPOUT)
        self.classes = nn.Linear(WIDTH, 2)
        nn.init.normal_(self.hidden.weight, std=0.005)
        nn.init.constant_(self.hidden.bias, 0.1)
        nn.init.normal_(self.classes.weight, std=0.01)
        nn.init.zeros_(self.classes.bias)

    def forward(self, token: Tensor) -> Tensor:
        features = root_normalised(at_least_float32(self.drop(F.relu(self.hidden(token)))))
        weight = self.classes.weight
        if self.unit_columns:
            unit = F.normalize(weight.detach(), dim=0)
            if self.training:
                with torch.no_grad():
                    weight.copy_(unit)
            else:
                weight = unit
        return F.linear(features, weight, self.classes.bias).flip(-1)  # the original counts attack, bona fide
