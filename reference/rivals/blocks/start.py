"""The weights that a row's trunk starts from: fresh ones, torchvision's, or those of a file (`--weights`)."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, TypeVar

import torch
from torch import Tensor, nn

from data_manifests.errors import BadInput, first_line
from reference.proven import load
from reference.rivals import method

NONE, TORCHVISION = "none", "torchvision"


N = TypeVar("N", bound=nn.Module)


@dataclass(frozen=True)
class Start:
    """What `--weights` names. `identity` belongs to the run; `state`, unless the weights are fresh, is that of
    torchvision's whole network `name`, by its own keys."""

    name: str
    choice: str
    identity: str
    state: Mapping[str, Tensor] | None

    def into(self, network: N) -> N:
        """Give torchvision's network these weights. Raises BadInput unless keys and shapes are the network's."""
        if self.state is None:
            return network
        wanted = {key: tuple(x.shape) for key, x in network.state_dict().items()}
        offered = {key: tuple(x.shape) for key, x in self.state.items()}
        for key in sorted(wanted.keys() | offered.keys()):
            if wanted.get(key) != offered.get(key):
                has, needs = _shape(offered.get(key)), _shape(wanted.get(key))
                raise BadInput(
                    f"--weights {self.choice}: {key} is {has}, but {needs} in the network to be trained; take the "
                    f"published sizes and a file of torchvision's {self.name}, or --weights {NONE}"
                )
        if not next(network.parameters()).is_meta:  # there it is only tried whether they fit
            network.load_state_dict(dict(self.state))
        return network


FRESH = Start("", NONE, NONE, None)


@dataclass(frozen=True, kw_only=True)
class Options(method.Options):
    """What rows have whose authors began from ImageNet's weights."""

    weights: str = NONE
    """R0: the trunk's first weights: none (fresh ones), torchvision (ImageNet's), or a file of that network's state."""


T = TypeVar("T", bound=Options)


class StartedMethod(method.Method[T]):
    """A method whose network has a trunk that may begin from the weights of torchvision's network `TRUNK`."""

    TRUNK: ClassVar[str]

    def __init__(self, options: T, device: torch.device) -> None:
        super().__init__(options, device)
        self.start = start(options.weights, self.TRUNK)
        self.inputs = {"weights": self.start.identity}
        if self.start.state is not None:  # weights of another network are refused before a folder is made
            self.domains = (0,)
            with torch.device("meta"):
                self.build()


def _shape(shape: tuple[int, ...] | None) -> str:
    return "absent" if shape is None else str(list(shape))


def start(choice: str, name: str) -> Start:
    """Open what `--weights` names for torchvision's network `name`: none, torchvision (weights of ImageNet, which are
    downloaded once), or a file with the network's state, as torch.save or safetensors writes it. Raises BadInput."""
    if choice == NONE:
        return Start(name, choice, NONE, None)
    if choice == TORCHVISION:
        return _published(name)
    path = Path(choice)
    try:
        content = path.read_bytes()
        state = _read(path)
    except OSError as e:
        raise BadInput(
            f"--weights {choice}: cannot be read ({e.strerror or e}); name a file of torchvision's {name}, "
            f"{TORCHVISION}, or {NONE}"
        ) from e
    return Start(name, choice, f"sha256 {hashlib.sha256(content).hexdigest()}", state)


def _read(path: Path) -> Mapping[str, Tensor]:
    """The tensors of a file by name. Raises BadInput for a file that holds anything else."""
    if path.suffix == ".safetensors":
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            return load_file(path)
        except SafetensorError as e:
            raise BadInput(f"--weights {path}: no safetensors file ({e}); save the network's state again") from e
    try:
        state = load(path)
    except OSError:
        raise
    except Exception as e:  # torch names no common class for what a damaged or foreign file raises
        reason = first_line(e)
        raise BadInput(
            f"--weights {path}: holds no tensors that torch can read safely ({reason}); save the network's state "
            "with torch.save(network.state_dict(), FILE)"
        ) from e
    if not isinstance(state, dict) or not all(isinstance(x, Tensor) for x in state.values()):
        raise BadInput(
            f"--weights {path}: holds no state of a network, which is tensors by name; save it with "
            "torch.save(network.state_dict(), FILE)"
        )
    return state


def _published(name: str) -> Start:
    from torchvision.models import get_model, get_model_weights

    weights = get_model_weights(name)["IMAGENET1K_V1"]
    try:
        state = get_model(name, weights=weights).state_dict()
    except (OSError, RuntimeError) as e:
        reason = first_line(e)
        raise BadInput(
            f"--weights {TORCHVISION}: {weights.url} cannot be downloaded ({reason}); train with --weights {NONE}, or "
            f"give a FILE with that network's state"
        ) from e
    return Start(name, TORCHVISION, weights.url.rpartition("/")[2], state)
