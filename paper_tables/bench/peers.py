"""mmFAS out of other libraries' layers: the same mathematics, to be timed beside reference/mmfas.py.

Stem, pooling, head, losses and optimiser are this project's own, so that what differs is the layers alone: PyTorch's
`TransformerEncoder` and `MultiheadAttention`, or timm's `Block`. timm has no attention with three sources, so that the
switch is PyTorch's there too. A peer is made from a network of ours and has its weights, in their type and on
their device.
"""

from copy import deepcopy
from typing import Any, Literal

import torch
from timm.models.vision_transformer import Attention, Block
from torch import Tensor, nn

from reference.mmfas import DIM, FFN, HEADS, MmFAS, MultiHead, SelfAttention, SwitchBlock, switch

Library = Literal["torch", "timm"]


def _attention(ours: MultiHead) -> nn.MultiheadAttention:
    """PyTorch's attention with our weights; its biases of q, k and v, which Eq. 7 lacks, stay zero."""
    theirs = nn.MultiheadAttention(DIM, HEADS, batch_first=True).to(ours.out.weight)
    assert theirs.in_proj_bias is not None
    theirs.in_proj_weight.data = _packed(ours)
    theirs.in_proj_bias.data.zero_()
    theirs.in_proj_bias.requires_grad_(False)
    theirs.out_proj.load_state_dict(ours.out.state_dict())
    return theirs


def _packed(ours: MultiHead) -> Tensor:
    return torch.cat([ours.q.weight.data, ours.k.weight.data, ours.v.weight.data])


class _TorchSelfAttention(nn.Module):
    def __init__(self, ours: SelfAttention) -> None:
        super().__init__()
        self.norm, self.attend = deepcopy(ours.norm), _attention(ours.attend)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(x)
        return x + self.attend(y, y, y, need_weights=False)[0]


class _TimmSelfAttention(nn.Module):
    def __init__(self, ours: SelfAttention) -> None:
        super().__init__()
        self.norm, self.attend = deepcopy(ours.norm), _timm_attention(ours.attend)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.attend(self.norm(x))


def _timm_attention(ours: MultiHead) -> Attention:
    theirs = Attention(DIM, HEADS).to(ours.out.weight)
    theirs.qkv.weight.data = _packed(ours)
    theirs.proj.load_state_dict(ours.out.state_dict())
    return theirs


def _torch_layer(attention: SelfAttention, mlp: Any) -> nn.TransformerEncoderLayer:
    layer: Any = nn.TransformerEncoderLayer(
        DIM, HEADS, FFN, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
    )
    layer.to(attention.norm.weight)
    norm, first, _, second = mlp.net
    layer.self_attn = _attention(attention.attend)
    pairs = ((layer.norm1, attention.norm), (layer.norm2, norm), (layer.linear1, first), (layer.linear2, second))
    for theirs, ours in pairs:
        theirs.load_state_dict(ours.state_dict())
    return layer


def _timm_layer(attention: SelfAttention, mlp: Any) -> Block:
    layer: Any = Block(DIM, HEADS, mlp_ratio=FFN / DIM, norm_layer=nn.LayerNorm)
    layer.to(attention.norm.weight)
    norm, first, _, second = mlp.net
    layer.attn = _timm_attention(attention.attend)
    pairs = ((layer.norm1, attention.norm), (layer.norm2, norm), (layer.mlp.fc1, first), (layer.mlp.fc2, second))
    for theirs, ours in pairs:
        theirs.load_state_dict(ours.state_dict())
    return layer


class _Switch(nn.Module):
    """A `SwitchBlock` in the default readings: RGB's stream is the one that changes, and what is added to."""

    def __init__(self, ours: SwitchBlock, library: Library) -> None:
        super().__init__()
        if (ours.update, ours.residual) != ("rgb", "stream") or not isinstance(ours.self_attention, SelfAttention):
            raise ValueError("the peers are written for mmFAS's default readings alone")
        wrap = _TorchSelfAttention if library == "torch" else _TimmSelfAttention
        self.self_attention = wrap(ours.self_attention)
        self.norm_q, self.norm_k, self.norm_v = (deepcopy(n) for n in (ours.norm_q, ours.norm_k, ours.norm_v))
        self.attend, self.feed_forward = _attention(ours.attend), deepcopy(ours.feed_forward)

    def forward(self, streams: tuple[Tensor, Tensor, Tensor], layer: int, order: str) -> tuple[Tensor, Tensor, Tensor]:
        rgb = self.self_attention(streams[0])
        q, k, v = switch((rgb, *streams[1:]), layer, order)
        attended = self.attend(self.norm_q(q), self.norm_k(k), self.norm_v(v), need_weights=False)[0]
        return self.feed_forward(rgb + attended), streams[1], streams[2]


def _blocks(ours: Any, library: Library) -> nn.Module:
    pairs: list[Any] = list(zip(ours.blocks[::2], ours.blocks[1::2], strict=True))
    if library == "timm":
        return nn.Sequential(*(_timm_layer(*pair) for pair in pairs))
    layers = [_torch_layer(*pair) for pair in pairs]
    encoder = nn.TransformerEncoder(layers[0], len(layers), enable_nested_tensor=False)
    encoder.layers = nn.ModuleList(layers)
    return encoder


def peer(ours: MmFAS, library: Library) -> MmFAS:
    """A copy of `ours` whose encoders and fusion are the library's layers. Raises ValueError for other readings."""
    theirs = deepcopy(ours)
    for encoder in theirs.encoders.values():
        encoder.blocks = _blocks(encoder, library)
    fusion: Any = theirs.fusion
    fusion.blocks = nn.ModuleList(_Switch(block, library) for block in fusion.blocks)
    return theirs
