"""The weights that a row's trunk starts from: none, torchvision's, or a file's; what is refused, and in which words."""

import urllib.error
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision.models
from safetensors.torch import save_file
from torch import Tensor, nn

from data_manifests.errors import BadInput
from reference.rivals.blocks.start import start


def network(seed: int = 0) -> nn.Module:
    """Stands for torchvision's resnet18: any network has a state."""
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))


def saved(folder: Path, state: Any, name: str = "trunk.pt") -> str:
    path = folder / name
    if path.suffix == ".safetensors":
        save_file(state, path)
    else:
        torch.save(state, path)
    return str(path)


def equal(a: nn.Module, b: nn.Module) -> bool:
    pairs = zip(a.state_dict().values(), b.state_dict().values(), strict=True)
    return all(torch.equal(x, y) for x, y in pairs)


def test_fresh_weights_stay_as_they_are() -> None:
    begun = start("none", "resnet18")
    assert begun.identity == "none"
    assert equal(begun.into(network(1)), network(1))


@pytest.mark.parametrize("name", ["trunk.pt", "trunk.safetensors"])
def test_a_files_weights_replace_fresh_ones_and_its_content_is_the_identity(tmp_path: Path, name: str) -> None:
    choice = saved(tmp_path, network(2).state_dict(), name)
    begun = start(choice, "resnet18")
    assert equal(begun.into(network(1)), network(2))
    moved = (tmp_path / f"moved-{name}").resolve()
    moved.write_bytes(Path(choice).read_bytes())
    assert start(str(moved), "resnet18").identity == begun.identity
    other = start(saved(tmp_path, network(3).state_dict(), f"other-{name}"), "resnet18")
    assert other.identity != begun.identity


def without(state: dict[str, Tensor], key: str) -> dict[str, Tensor]:
    return {k: x for k, x in state.items() if k != key}


@pytest.mark.parametrize(
    ("state", "sentence"),
    [
        (network().state_dict() | {"0.weight": torch.zeros(4, 3, 5, 5)}, r"0.weight is \[4, 3, 5, 5\].*\[4, 3, 3, 3\]"),
        (without(network().state_dict(), "1.bias"), r"1.bias is absent, but torchvision's resnet18 has \[4\]"),
        (network().state_dict() | {"more": torch.zeros(2)}, r"more is \[2\], but torchvision's resnet18 has absent"),
    ],
)
def test_weights_of_a_wrong_shape_are_refused_by_name(tmp_path: Path, state: Any, sentence: str) -> None:
    choice = saved(tmp_path, state)
    fresh = network(1)
    with pytest.raises(BadInput, match=sentence) as refused:
        start(choice, "resnet18").into(fresh)
    assert choice in str(refused.value)
    assert "or --weights none" in str(refused.value)
    assert equal(fresh, network(1))  # nothing was copied before the refusal


@pytest.mark.parametrize("content", [b"", b"no archive", [1, 2], {"a": 3}, network()])
def test_a_file_of_anything_else_is_refused(tmp_path: Path, content: Any) -> None:
    path = tmp_path / "trunk.pt"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        torch.save(content, path)
    with pytest.raises(BadInput, match=r"trunk.pt: holds no (tensors that torch can read safely|state of a network)"):
        start(str(path), "resnet18")
    bad = tmp_path / "trunk.safetensors"
    bad.write_bytes(b"nothing of the kind")
    with pytest.raises(BadInput, match="no safetensors file"):
        start(str(bad), "resnet18")


def test_a_file_that_is_not_there_is_refused_with_the_other_two_choices(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"cannot be read.*name a file of torchvision's resnet18, torchvision, or none"):
        start(str(tmp_path / "gone.pt"), "resnet18")


def test_a_download_that_fails_names_the_other_two_choices(monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*_: Any, **__: Any) -> nn.Module:
        raise urllib.error.URLError("no route to host")

    monkeypatch.setattr(torchvision.models, "get_model", offline)
    with pytest.raises(BadInput, match=r"no route to host.*--weights none, or give a FILE"):
        start("torchvision", "resnet18")


def test_torchvisions_weights_are_known_by_the_name_of_their_file(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def published(name: str, weights: Any) -> nn.Module:
        asked.append((name, str(weights)))
        return network(4)

    monkeypatch.setattr(torchvision.models, "get_model", published)
    begun = start("torchvision", "resnet18")
    assert asked == [("resnet18", "ResNet18_Weights.IMAGENET1K_V1")]
    assert begun.identity == "resnet18-f37072fd.pth"
    assert equal(begun.into(network(1)), network(4))
