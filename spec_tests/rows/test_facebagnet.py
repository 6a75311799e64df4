"""FaceBagNet: its bottleneck, its streams that meet, its erased features."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from reference.rivals import facebagnet
from spec_tests.support.layers import excited, normalised, residual_stage
from spec_tests.support.networks import images, scrambled


def bottleneck(x: Tensor, block: nn.Module, stride: int) -> Tensor:
    """A bottleneck, written out: 1 x 1, 3 x 3 in 32 groups, 1 x 1, channels weighed, and what passes by."""
    first, norm_1, _, second, norm_2, _, third, norm_3, excite = block.get_submodule("residue").children()
    y = normalised(F.conv2d(x, first.weight), norm_1).clamp_min(0)
    groups = [
        F.conv2d(part, weight, stride=stride, padding=1)
        for part, weight in zip(y.chunk(32, 1), second.weight.chunk(32), strict=True)
    ]
    y = normalised(torch.cat(groups, 1), norm_2).clamp_min(0)
    y = excited(normalised(F.conv2d(y, third.weight), norm_3), excite)
    if beside := [*block.get_submodule("shortcut").children()]:
        x = normalised(F.conv2d(x, beside[0].weight, stride=stride), beside[1])
    return (y + x).clamp_min(0)


def pooled(x: Tensor) -> Tensor:
    """Maxima over squares of three, two apart; the last one takes what the image still has."""
    places = range(-(-(x.shape[-1] - 3) // 2) + 1)
    rows = [[x[:, :, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3].amax((2, 3)) for j in places] for i in places]
    return torch.stack([torch.stack(row, -1) for row in rows], -2)


def features(x: Tensor, stream: nn.Module) -> Tensor:
    norm, stem, norm_stem, _, _, *blocks = stream.children()
    y = pooled(normalised(F.conv2d(normalised(x, norm), stem.weight, stride=2, padding=3), norm_stem).clamp_min(0))
    for block, stride in zip(blocks, (1, 1, 2, 1), strict=True):
        y = bottleneck(y, block, stride)
    return y


def judged(x: Tensor, model: facebagnet.FaceBagNet) -> Tensor:
    meeting, norm, _ = model.meeting
    return model.head(normalised(F.conv2d(x, meeting.weight, meeting.bias), norm).clamp_min(0))


def test_three_streams_meet_and_are_judged() -> None:
    model = scrambled(facebagnet.FaceBagNet(16), 1).eval().double()
    rgb, depth, ir = (x.double() for x in images(2, 24))
    inputs = [(rgb[:, [2, 1, 0]] + 1) / 2, (depth + 1) / 2, (ir + 1) / 2]
    kept = torch.tensor([[True, False, True], [False, True, False]])
    with torch.inference_mode():
        streams = zip(inputs, model.streams, model.excitations, strict=True)
        parts = [excited(features(x, stream), excite) for x, stream, excite in streams]
        assert parts[0].shape == (2, 128, 3, 3)
        torch.testing.assert_close(model(rgb, depth, ir), judged(torch.cat(parts, 1), model), rtol=1e-8, atol=1e-8)
        left = [part * kept[:, i].view(2, 1, 1, 1) for i, part in enumerate(parts)]
        torch.testing.assert_close(model(rgb, depth, ir, kept), judged(torch.cat(left, 1), model), rtol=1e-8, atol=1e-8)


def test_the_head_halves_twice_and_takes_means() -> None:
    model = scrambled(facebagnet.FaceBagNet(16), 3).eval().double()
    x = torch.cat([x.double() for x in images(4, 8)] * 11, 1)[:, :96]
    with torch.inference_mode():
        y = x
        for stage in model.head.stages:
            y = residual_stage(y, stage, 2)
        assert y.shape == (2, 128, 2, 2)
        dropout, first, _, second = model.head.classifier
        assert dropout.p == 0.5
        hidden = (y.sum((2, 3)) / 4 @ first.weight.T + first.bias).clamp_min(0)
        torch.testing.assert_close(model.head(x), hidden @ second.weight.T + second.bias, rtol=1e-8, atol=1e-8)
