"""The trunk of several rows is torchvision's ResNet-18, whole or narrower, with the weights it is begun from."""

from pathlib import Path

import pytest
import torch
from torchvision.models import resnet18

from data_manifests.errors import BadInput
from reference.rivals.blocks.resnet18 import Options, resnet18_trunk
from reference.rivals.blocks.start import Start
from spec_tests.support.networks import images, scrambled


def test_a_trunk_begins_from_torchvisions_weights_and_is_torchvisions() -> None:
    whole = scrambled(resnet18(), 5).eval()
    begun = Start("resnet18", "a file", "", whole.state_dict())
    image = images(6, 40)[0]
    with torch.inference_mode():
        expected = [whole.layer1(whole.maxpool(whole.relu(whole.bn1(whole.conv1(image)))))]
        for stage in (whole.layer2, whole.layer3, whole.layer4):
            expected.append(stage(expected[-1]))
        for stages in (3, 4):
            found = resnet18_trunk(stages=stages, begun=begun).eval()(image)
            assert len(found) == stages
            assert all(torch.equal(got, wanted) for got, wanted in zip(found, expected, strict=False))
    assert [tuple(x.shape) for x in expected] == [(2, 64, 10, 10), (2, 128, 5, 5), (2, 256, 3, 3), (2, 512, 2, 2)]


def test_later_stages_may_be_fresh() -> None:
    state = scrambled(resnet18(), 7).state_dict()
    begun = resnet18_trunk(begun=Start("resnet18", "a file", "", state), begun_stages=3).state_dict()
    for name, weight in begun.items():
        if "weight" in name:
            assert torch.equal(weight, state[name]) != name.startswith("layer4."), name


def test_fresh_weights_are_spread_as_torchvisions() -> None:
    torch.manual_seed(0)
    ours, theirs = resnet18_trunk().state_dict(), resnet18().state_dict()
    assert [*ours] == [name for name in theirs if not name.startswith("fc.")]
    for name, weight in ours.items():
        assert weight.shape == theirs[name].shape
        if weight.ndim == 4:
            assert weight.std().item() == pytest.approx(theirs[name].std().item(), rel=0.1), name


def test_a_narrow_trunk_has_fewer_channels_and_no_published_weights() -> None:
    assert [x.shape[1] for x in resnet18_trunk(width=3)(images(0, 33)[0])] == [3, 6, 12, 24]
    for wrong, sentence in (
        ({"width": 0}, "--width 0"),
        ({"width": 8, "weights": "torchvision"}, "--width 8: --weights torchvision have 64; give that, or"),
    ):
        with pytest.raises(BadInput, match=sentence):
            Options(index=Path(), run_dir=Path(), **wrong).check()  # type: ignore[arg-type]
    Options(index=Path(), run_dir=Path(), width=8).check()
    Options(index=Path(), run_dir=Path(), weights="torchvision").check()
