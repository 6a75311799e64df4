"""Multiply-accumulates and bytes of a step: by formula, by counting, and how much of its time they take.

A multiply-accumulate is one addition of a product; PyTorch's FlopCounterMode counts two operations for it. Attention
counts as the products of Eq. 5, two forward and four backward, whichever kernel computes it.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from reference.mmfas import DIM, ENCODER_DEPTH, FFN, PATCH, SHAPES

_ATEN = torch.ops.aten
_FORWARD = (
    _ATEN._scaled_dot_product_flash_attention_for_cpu,
    _ATEN._scaled_dot_product_flash_attention,
    _ATEN._scaled_dot_product_efficient_attention,
)
_BACKWARD = (
    _ATEN._scaled_dot_product_flash_attention_for_cpu_backward,
    _ATEN._scaled_dot_product_flash_attention_backward,
    _ATEN._scaled_dot_product_efficient_attention_backward,
)
# The operations that a profile calls by these names are matrix products, or attention, which mostly consists of them.
MATRIX = (
    *("aten::mm", "aten::addmm", "aten::bmm", "aten::baddbmm", "aten::mkldnn_convolution", "aten::cudnn_convolution"),
    *("aten::_scaled_dot_product_", "aten::_flash_attention", "aten::_efficient_attention"),
)


def mmfas_forward(side: int) -> int:
    """Multiply-accumulates of one sample of side x side through mmFAS, in the shape of Table 2's counts."""
    patches = (side // PATCH) ** 2
    tokens = patches + 1
    attention = 4 * tokens * DIM**2 + 2 * tokens**2 * DIM
    block = attention + 2 * tokens * DIM * FFN
    encoder = patches * 3 * PATCH**2 * DIM + ENCODER_DEPTH * block
    return 3 * encoder + SHAPES["table2"].depth * (attention + block) + DIM**2 + DIM


def mmfas_step(side: int, samples: int) -> int:
    """Of a training step: three times the forward pass's, and the alignment's. Eq. 1 is computed for Eq. 3, with
    gradients of both sides, and for the mining, without, for either kind of pairs; 2N pairs of each are judged."""
    similarities = 2 * (3 + 1) * samples**2 * DIM
    matching = 2 * 3 * (2 * samples) * (2 * DIM) * 2
    return 3 * samples * mmfas_forward(side) + similarities + matching


def _attention_operations(products: int) -> Callable[..., int]:
    def count(q: Any, k: Any, v: Any, *args: Any, out_shape: Any = None, **kwargs: Any) -> int:
        b, heads, queries, width = q
        return 2 * b * heads * queries * k[-2] * (width + v[-1]) // 2 * products

    return count


def _backward_operations(grad: Any, q: Any, k: Any, v: Any, *args: Any, out_shape: Any = None, **kwargs: Any) -> int:
    return _attention_operations(4)(q, k, v)


def counted(work: Callable[[], Any]) -> int:
    """Multiply-accumulates of all matrix products and convolutions of a call."""
    mapping = dict.fromkeys(_FORWARD, _attention_operations(2)) | dict.fromkeys(_BACKWARD, _backward_operations)
    with FlopCounterMode(display=False, custom_mapping=mapping) as counter:
        work()
    return int(counter.get_total_flops()) // 2


class _Traffic(TorchDispatchMode):
    """Sums what operations read and write; those that only look at a tensor in another shape move nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        returns = func._schema.returns
        view = any(r.alias_info is not None and not r.alias_info.is_write for r in returns)
        if not view:
            tensors = [x for x in tree_leaves((args, kwargs, result)) if isinstance(x, torch.Tensor)]
            self.bytes += sum(x.numel() * x.element_size() for x in tensors)
        return result


def traffic(work: Callable[[], Any]) -> int:
    """Bytes that a call's operations read and write, one by one, were no cache to keep any of them."""
    with _Traffic() as mode:
        work()
    return mode.bytes


def matrix_share(work: Callable[[], Any], device: torch.device) -> float:
    """Which share of the operations' time a call's matrix products take, attention's kernels among them. Whoever does
    the same products as fast in no other time is at most 1 / share as fast."""
    cuda = device.type == "cuda"
    with profile(activities=[ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if cuda else [])]) as seen:
        work()
    kind = "self_device_time_total" if cuda else "self_cpu_time_total"
    times = {event.key: getattr(event, kind) for event in seen.key_averages() if event.key.startswith("aten::")}
    return sum(t for name, t in times.items() if name.startswith(MATRIX)) / sum(times.values())
