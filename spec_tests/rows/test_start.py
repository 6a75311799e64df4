"""The weights that a row's trunk starts from: none, torchvision's, or a file's; what is refused, and in which words."""

import importlib
import urllib.error
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision.models
from safetensors.torch import save_file
from torch import Tensor, nn

from data_manifests.errors import BadInput
from reference.rivals import rows
from reference.rivals.blocks.start import start
from spec_tests.support.networks import images, scrambled


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
        (
            network().state_dict() | {"0.weight": torch.zeros(4, 3, 5, 5)},
            r"0.weight is \[4, 3, 5, 5\], but \[4, 3, 3, 3\] in",
        ),
        (without(network().state_dict(), "1.bias"), r"1.bias is absent, but \[4\] in the network"),
        (network().state_dict() | {"more": torch.zeros(2)}, r"more is \[2\], but absent in the network"),
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


ROWS = {  # the rows that may begin so, the part of the network that does, and torchvision's network
    "deeppixbis": ("encoder", "densenet161"),
    "a_deeppixbis": ("encoder", "densenet161"),
    "pipenet": ("pipelines.0", "resnet18"),
    "ssdg": ("trunk", "resnet18"),
    "ssan": ("trunk", "resnet18"),
    "sa_fas": ("trunk", "resnet18"),
    "flexmodal": ("vit", "vit_b_16"),
    "vit": ("trunk", "vit_b_16"),
}


ELSEWHERE = {"ama", "cmfl", "dadm", "mmdg", "vitaf", "vp_fas"}  # their own files compare what begins from the weights


def test_these_are_the_rows_that_may_begin_from_weights() -> None:
    kinds = {row.name: importlib.import_module(row.program) for row in rows.load().values() if row.implemented}
    assert {name for name, module in kinds.items() if hasattr(module.Options, "weights")} == set(ROWS) | ELSEWHERE


@pytest.mark.parametrize("name", ROWS)
def test_a_rows_trunk_computes_what_torchvisions_does(tmp_path: Path, name: str) -> None:
    """Behind the row's own input: the trunk's features are those of torchvision's network with the file's weights."""
    part, network_name = ROWS[name]
    module = importlib.import_module(f"reference.rivals.{name}")
    torch.manual_seed(5)
    sizes: dict[str, Any] = {"image_size": 32}
    if network_name == "vit_b_16":
        sizes |= {"width": 32, "depth": 2, "heads": 2}
        theirs: Any = torchvision.models.VisionTransformer(32, 16, 2, 2, 32, 128)
    else:
        theirs = torchvision.models.get_model(network_name)
    if name == "pipenet":
        sizes |= {"resize": 24, "patch": 16}
    if name == "vit":
        sizes |= {"positions": "kept"}
    scrambled(theirs, 6)
    choice = saved(tmp_path, theirs.state_dict())
    made = module.Method(module.Options(index=Path(), run_dir=Path(), weights=choice, **sizes), torch.device("cpu"))
    made.domains = (0, 1, 2)
    assert made.inputs["weights"].startswith("sha256 ")
    trunk = made.build().get_submodule(part).eval()
    theirs.eval()
    x = images(7, 32)[0]
    with torch.inference_mode():
        if network_name == "densenet161":
            ours, expected = trunk(x), theirs.features[:8](x)
        elif name != "pipenet" and network_name == "resnet18":
            ours = trunk(x)[2]
            stem = theirs.maxpool(torch.relu(theirs.bn1(theirs.conv1(x))))
            expected = theirs.layer3(theirs.layer2(theirs.layer1(stem)))
        elif network_name == "resnet18":
            ours = trunk[1:](x)
            stem = torch.relu(theirs.bn1(theirs.conv1(x)))
            expected = theirs.layer2(theirs.layer1(nn.functional.max_pool2d(stem, 2)))
        else:
            tokens = theirs._process_input(x)
            tokens = torch.cat([theirs.class_token.expand(len(x), -1, -1), tokens], 1) + theirs.encoder.pos_embedding
            tokens = theirs.encoder.layers(tokens)
            if name == "flexmodal":
                ours, expected = trunk.forward_features(x), tokens
            else:
                ours, expected = trunk(x, x, x), theirs.encoder.ln(tokens[:, 0]).repeat(1, 3)
    torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-5)


def test_weights_of_another_size_are_refused(tmp_path: Path) -> None:
    choice = saved(tmp_path, torchvision.models.VisionTransformer(32, 16, 2, 2, 32, 128).state_dict())
    module = importlib.import_module("reference.rivals.flexmodal")
    given = {"index": Path(), "run_dir": Path(), "weights": choice, "image_size": 32}
    given |= {"width": 64, "depth": 2, "heads": 2}
    with pytest.raises(BadInput, match=r"class_token is \[1, 1, 32\], but \[1, 1, 64\] in the network to be trained"):
        module.Method(module.Options(**given), torch.device("cpu"))  # before anything is built or written
    module = importlib.import_module("reference.rivals.pipenet")
    with pytest.raises(BadInput, match=r"--width 32: the weights of --weights .* are of 64 channels"):
        module.Options(index=Path(), run_dir=Path(), weights=choice, width=32).check()
