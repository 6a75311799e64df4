"""ReGrad: gradients of the modalities' own losses that are projected onto each other before they are added.

MMDG: CVPR 2024, arXiv 2402.19298, Eq. 5. DADM: ICCV 2025, arXiv 2503.00429, takes it over with other weights, and
takes two of three modalities for fast ones.

What belongs to a modality (its tokens, its adapters) is reached by the losses of all three. The fastest modality is the
one that learns most easily. A slow one keeps its own gradient and takes from the others what agrees with it; the fast
one gives way to the others.
"""

from collections.abc import Collection, Sequence

import torch
from torch import Tensor, nn

from reference.processes import average

NONE = -1  # where no modality is the fastest


def projected_gradient(gradient: Tensor, base: Tensor, epsilon: float = 0.0) -> Tensor:
    """What of a gradient agrees with `base`, of the same shape: its part along base where both point the same way,
    otherwise its part at a right angle to base; the gradient itself where base is zero.

    `epsilon` is added to base's squared length, by which the part along base is divided: a base whose square is small
    beside it counts as none.
    """
    tiny = torch.finfo(base.dtype).tiny
    if epsilon == 0:
        base = base / base.abs().max().clamp(min=tiny)  # its length does not matter, and its square may underflow
    dot = (gradient * base).sum()
    along = dot / (base.square().sum() + epsilon).clamp(min=tiny) * base
    return torch.where(dot > 0, along, gradient - along)


def merged_gradient(
    gradients: Sequence[Tensor], own: int, fastest: int, weights: Sequence[Tensor], epsilon: float = 0.0
) -> Tensor:
    """What a parameter of modality `own` gets of the gradients of all modalities' losses, each of its shape.

    g_own + sum of w_j P(g_j onto g_own) over the others j where own is not the fastest; where it is,
    w_own P(g_own onto the sum of the others) + that sum. `weights` w () of each modality; `epsilon` is P's.
    """
    mine = gradients[own]
    others = [j for j in range(len(gradients)) if j != own]
    if own != fastest:
        return mine + torch.stack([weights[j] * projected_gradient(gradients[j], mine, epsilon) for j in others]).sum(0)
    rest = torch.stack([gradients[j] for j in others]).sum(0)
    return weights[own] * projected_gradient(mine, rest, epsilon) + rest


def add_merged_gradients(
    losses: Sequence[Tensor],
    owned: Sequence[tuple[nn.Parameter, int | None]],
    fast: Collection[int],
    weights: Sequence[Tensor],
    epsilon: float = 0.0,
) -> None:
    """Add to each owned parameter, which comes with its modality, what it gets of the gradients of the modalities'
    losses (); of a modality among `fast` it gives way. One that comes with None belongs to all modalities and gets the
    plain sum. A loss that does not reach a parameter has a gradient of zeros there. The losses' graph stays.
    `epsilon` is the projections'."""
    if not owned:
        return
    parameters = [parameter for parameter, _ in owned]
    of_each = [
        average(torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True, materialize_grads=True))
        for loss in losses
    ]
    for place, (parameter, own) in enumerate(owned):
        gradients = [of_loss[place] for of_loss in of_each]
        if own is None:
            added = torch.stack(gradients).sum(0)
        else:
            added = merged_gradient(gradients, own, own if own in fast else NONE, weights, epsilon)
        parameter.grad = added if parameter.grad is None else parameter.grad + added
