"""FaceBagNet: its bottleneck, its streams that meet, its erased features."""

import torch
from torch.nn import functional as F

from reference.rivals import facebagnet
from reference.rivals.blocks.squeeze_excitation import squeeze_excitation
from spec_tests.support.networks import images, scrambled


def normalised(x: torch.Tensor, norm: torch.nn.BatchNorm2d) -> torch.Tensor:
    """Batch norm as it is at test, (B, C, H, W)."""
    mean, variance, weight, bias = (
        t.detach().view(1, -1, 1, 1) for t in (norm.running_mean, norm.running_var, norm.weight, norm.bias)
    )
    return (x - mean) / (variance + 1e-5).sqrt() * weight + bias


def excited(x: torch.Tensor, module: facebagnet.SqueezeExcitation) -> torch.Tensor:
    return squeeze_excitation(x, module.squeeze.weight, module.squeeze.bias, module.excite.weight, module.excite.bias)


def bottleneck(x: torch.Tensor, block: facebagnet.Bottleneck) -> torch.Tensor:
    """A bottleneck, written out: 1 x 1, 3 x 3 in 32 groups, 1 x 1, channels weighed, and what passes by."""
    first, norm_1, _, second, norm_2, _, third, norm_3, excite = block.residue
    y = normalised(F.conv2d(x, first.weight), norm_1).relu()
    groups = [
        F.conv2d(part, weight, stride=second.stride, padding=1)
        for part, weight in zip(y.chunk(32, 1), second.weight.chunk(32), strict=True)
    ]
    y = normalised(torch.cat(groups, 1), norm_2).relu()
    y = excited(normalised(F.conv2d(y, third.weight), norm_3), excite)
    if not isinstance(block.shortcut, torch.nn.Identity):
        convolution, norm = block.shortcut
        x = normalised(F.conv2d(x, convolution.weight, stride=second.stride), norm)
    return (y + x).clamp_min(0)


def features(x: torch.Tensor, stream: torch.nn.Sequential) -> torch.Tensor:
    """A stream, written out: the last column and row of the pooling see what there is."""
    norm, stem, norm_stem, _, _, *blocks = stream
    y = normalised(F.conv2d(normalised(x, norm), stem.weight, stride=2, padding=3), norm_stem).relu()
    rows = -(-(y.shape[-1] - 3) // 2) + 1
    y = torch.stack(
        [torch.stack([y[:, :, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3].amax((2, 3)) for j in range(rows)], -1)
         for i in range(rows)], -2,
    )  # fmt: skip
    for block in blocks:
        y = bottleneck(y, block)
    return y


def judged(x: torch.Tensor, model: facebagnet.FaceBagNet) -> torch.Tensor:
    meeting, norm, _ = model.meeting
    return model.head(normalised(F.conv2d(x, meeting.weight, meeting.bias), norm).relu())


def test_three_streams_meet_and_are_judged() -> None:
    model = scrambled(facebagnet.FaceBagNet(16), 1).eval().double()
    rgb, depth, ir = (x.double() for x in images(2, 24))
    inputs = [(rgb[:, [2, 1, 0]] + 1) / 2, (depth + 1) / 2, (ir + 1) / 2]
    kept = torch.tensor([[True, False, True], [False, True, False]])
    with torch.inference_mode():
        parts = [
            excited(features(x, stream), excite)
            for x, stream, excite in zip(inputs, model.streams, model.excitations, strict=True)
        ]
        assert parts[0].shape == (2, 128, 3, 3)
        torch.testing.assert_close(model(rgb, depth, ir), judged(torch.cat(parts, 1), model), rtol=1e-8, atol=1e-8)
        left = [part * kept[:, i].view(2, 1, 1, 1) for i, part in enumerate(parts)]
        torch.testing.assert_close(model(rgb, depth, ir, kept), judged(torch.cat(left, 1), model), rtol=1e-8, atol=1e-8)


def test_the_head_halves_twice_and_takes_means() -> None:
    model = scrambled(facebagnet.FaceBagNet(16), 3).eval().double()
    x = torch.from_numpy(images(4, 8)[0].double().numpy()).repeat(1, 32, 1, 1)
    y = x
    with torch.inference_mode():
        for first, second in model.head.stages:
            for block in (first, second):
                past = y
                if block.downsample is not None:
                    past = normalised(F.conv2d(y, block.downsample[0].weight, stride=2), block.downsample[1])
                inner = F.conv2d(y, block.conv1.weight, stride=1 if block.downsample is None else 2, padding=1)
                inner = F.conv2d(normalised(inner, block.bn1).relu(), block.conv2.weight, padding=1)
                y = (normalised(inner, block.bn2) + past).relu()
        assert y.shape == (2, 128, 2, 2)
        dropout, first, _, second = model.head.classifier
        assert dropout.p == 0.5
        expected = (y.sum((2, 3)) / 4 @ first.weight.T + first.bias).relu() @ second.weight.T + second.bias
        torch.testing.assert_close(model.head(x), expected, rtol=1e-8, atol=1e-8)
