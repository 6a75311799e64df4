"""CLIP as MMDA uses it: one image tower for all three modalities, one text tower for the captions of the classes.

`load_clip` opens the published OpenAI ViT-B/16, another model that open_clip knows, or the stand-in CLIP that
`python -m reference.standin_clip` trains where neither network nor weights are at hand. The captions' sentences are
in `reference/captions`; `reference/clip_features.py` computes a frozen tower's features of a whole index once.

Input range. The released code of MMDA feeds (x - 127.5) / 128 (`released`, the default here), not the mean and
standard deviation with which CLIP was trained (`clip`).
"""

import hashlib
import shlex
import sys
import zipfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from data_manifests.errors import BadInput
from reference.proven import load
from reference.sources import sha256
from reference.standin_clip import weights as standin

_OPENAI = "ViT-B-16/openai"
_UNTRAINED = {"untrained": "openai", f"untrained/{standin.CHOICE}": standin.CHOICE}  # and whose architecture it has

InputRange = Literal["released", "clip"]
Freeze = Literal["none", "all", "text"]

# CLIP's own mean and standard deviation of R, G and B (Radford et al. 2021), for pixels 0 to 1.
_MEAN = (0.48145466, 0.4578275, 0.40821073)
_STD = (0.26862954, 0.26130258, 0.27577711)

# Opens an archive that was saved on a GPU without one, too, and never writes over a file.
_TENSORS_ALONE = (
    "import sys, torch; "
    'torch.save(torch.jit.load(sys.argv[1], map_location="cpu").state_dict(), open(sys.argv[2], "xb"))'
)

_DAMAGED = "damaged, cut short or no file of weights (.safetensors, or tensors by torch.save); copy it again"


def normalise(pixels: Tensor, input_range: InputRange = "released") -> Tensor:
    """Pixels 0 to 255 (..., 3, S, S), any dtype, to float32 as the image tower is fed.

    `released`: (x - 127.5) / 128, the released code's; `clip`: (x / 255 - mean) / std, CLIP's own.
    """
    if input_range == "released":
        return (pixels.float() - 127.5) / 128.0
    mean, std = (torch.tensor(v, device=pixels.device)[:, None, None] for v in (_MEAN, _STD))
    return (pixels.float() / 255.0 - mean) / std


@cache
def _tokenizer() -> Any:
    from open_clip.tokenizer import SimpleTokenizer  # takes seconds to import, and MMDA's equations need none of it

    return SimpleTokenizer()


class Clip(nn.Module):
    """Both towers of a CLIP, in float32.

    model: open_clip's `CLIP`; image_size: side of its images, S; dim: width of the shared space, D; name: what
    tables and pictures call it, "stand-in CLIP" for the stand-in; sha256: of the weights file it was read from.
    """

    def __init__(self, model: Any, name: str, sha256: str) -> None:
        super().__init__()
        self.model = model.float()
        self.name, self.sha256 = name, sha256
        self.image_size = int(model.visual.image_size[0])
        self.dim = int(model.visual.output_dim)
        self._tokens: dict[tuple[str, ...], Tensor] = {}

    @property
    def scale(self) -> Tensor:
        """exp of the learned logit scale, ()."""
        return self.model.logit_scale.exp().reshape(())

    def takes(self, image_size: int) -> None:
        """Raise `BadInput` unless this tower's images are `image_size` wide."""
        if image_size != self.image_size:
            raise BadInput(f"--image-size {image_size}: {self.name} takes images of {self.image_size}; give that")

    def encode_image(self, pixels: Tensor) -> Tensor:
        """(B, 3, S, S), normalised as `normalise` does, to (B, D): class token, projected, not L2-normalised."""
        if pixels.shape[1:] != (3, self.image_size, self.image_size):
            raise BadInput(
                f"images are {tuple(pixels.shape[1:])}, but {self.name} takes (3, {self.image_size}, "
                f"{self.image_size}); give --image-size {self.image_size}"
            )
        return self.model.encode_image(pixels)

    def encode_text(self, sentences: Sequence[str]) -> Tensor:
        """n sentences to (n, D), not L2-normalised. Their tokens are kept for the next call.

        Raises `BadInput` where there is no sentence, and for a sentence longer than the text tower reads.
        """
        key = tuple(sentences)
        if key not in self._tokens:
            self._tokens[key] = self._tokenise(key)
        device = self.model.logit_scale.device
        self._tokens[key] = self._tokens[key].to(device)
        return self.model.encode_text(self._tokens[key])

    def _tokenise(self, sentences: tuple[str, ...]) -> Tensor:
        if not sentences:
            raise BadInput("no caption to encode; every class needs at least one")
        length = self.model.context_length
        for sentence in sentences:
            count = len(_tokenizer().encode(sentence)) + 2  # between the start and the end token
            if count > length:
                raise BadInput(f"caption {sentence!r}: {count} tokens, but {self.name} reads {length}; shorten it")
        return _tokenizer()(list(sentences), context_length=length)

    def freeze(self, which: Freeze) -> None:
        """Choose what training leaves as it is. `none`: nothing; `all`: both towers and the logit scale; `text`: the
        text tower only (the logit scale belongs to neither tower and goes on learning)."""
        self.requires_grad_(which != "all")
        if which == "text":
            for name, parameter in self.model.named_parameters():
                if not name.startswith("visual.") and name != "logit_scale":
                    parameter.requires_grad_(False)


def black_feature(clip: Clip, input_range: InputRange = "released") -> Tensor:
    """The image tower's feature of a missing modality, (D,): that of a black image, x = 0."""
    black = torch.zeros(1, 3, clip.image_size, clip.image_size, device=clip.model.logit_scale.device)
    return clip.encode_image(normalise(black, input_range))[0]


def load_clip(clip: str = "openai", weights: Path | None = None, device: torch.device | str = "cpu") -> Clip:
    """The CLIP of that name, on `device`, everything trainable.

    `clip` is `openai` (ViT-B/16 with OpenAI's weights), `MODEL/PRETRAINED` as `open_clip.list_pretrained()` names
    them, `phantom` (the stand-in CLIP; `phantom/1` for the one of seed 1), or, for measuring what they cost,
    `untrained` and `untrained/phantom`: fresh weights in the place of those of `openai` and `phantom`. Without
    `weights` the published file is taken from the local cache or downloaded, and the stand-in from build/clip;
    `weights` is a checkpoint of that architecture: a `.safetensors` file or one of `torch.save`, read with
    `weights_only`, bare or under `state_dict`.

    Raises `BadInput` with a remedy: unknown name, no file and no network, or a file that is not exactly this model.
    """
    if clip in _UNTRAINED:
        return _fresh(_UNTRAINED[clip], device)
    if standin.is_standin(clip):
        return _open(standin.ARCHITECTURE, weights or standin.find(clip), standin.NAME, device)
    model, _, tag = (_OPENAI if clip == "openai" else clip).partition("/")
    architecture, published = _published(clip, model, tag)
    if weights is not None:
        return _open(architecture, weights, f"{model} ({weights.name})", device)
    return _open(architecture, _download(clip, published), f"{model}/{tag}", device)


def _fresh(like: str, device: torch.device | str) -> Clip:
    """A CLIP of `like`'s architecture that learned nothing, always the same."""
    from open_clip.model import CLIP

    if standin.is_standin(like):
        architecture, name = standin.ARCHITECTURE, standin.NAME
    else:
        name, _, tag = _OPENAI.partition("/")
        architecture = _published(like, name, tag)[0]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = CLIP(**architecture)
    return Clip(model, f"{name}, untrained", hashlib.sha256(repr(architecture).encode()).hexdigest()).to(device)


def _published(clip: str, model: str, tag: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """open_clip's configuration of a model, and its entry of where the weights of that tag lie."""
    import open_clip

    if not tag or model not in open_clip.list_models():
        raise BadInput(f"--clip {clip}: no such CLIP; choose openai, phantom or MODEL/PRETRAINED of open_clip's list")
    published = open_clip.get_pretrained_cfg(model, tag)
    if not published:
        known = ", ".join(open_clip.list_pretrained_tags_by_model(model)) or "none"
        raise BadInput(f"--clip {clip}: open_clip knows no weights {tag} of {model}; choose one of: {known}")
    architecture = open_clip.get_model_config(model)
    vision, text = architecture["vision_cfg"], architecture["text_cfg"]
    # MMDA is defined on a projected class token, a text tower with CLIP's own tokens, and one logit scale.
    plain = (
        architecture.keys() <= {"embed_dim", "vision_cfg", "text_cfg", "quick_gelu"}
        and vision.keys() <= {"image_size", "layers", "width", "head_width", "mlp_ratio", "patch_size"}
        and text.keys() <= {"context_length", "vocab_size", "width", "heads", "layers"}
        and isinstance(vision["layers"], int)
        and isinstance(vision["image_size"], int)
    )
    if not plain:
        raise BadInput(f"--clip {clip}: {model} is not a plain CLIP with a class token; choose a ViT such as ViT-B-16")
    # The weights' own activation, whatever the model's name says: with the other one the features are wrong.
    architecture["quick_gelu"] = bool(published.get("quick_gelu", False))
    return architecture, published


def _download(clip: str, published: dict[str, Any]) -> Path:
    from open_clip.pretrained import download_pretrained

    try:
        return Path(download_pretrained(published))
    except (OSError, RuntimeError, ValueError) as e:
        raise BadInput(
            f"--clip {clip}: its weights are not in the local cache and cannot be downloaded ({type(e).__name__}); "
            "name a file with --clip-weights, or take the stand-in with --clip phantom"
        ) from e


def _open(architecture: dict[str, Any], file: Path, name: str, device: torch.device | str) -> Clip:
    """A CLIP of open_clip's `architecture` with exactly the weights of `file`."""
    from open_clip.model import CLIP

    state = _read(file)
    with torch.random.fork_rng(devices=[]):  # the weights drawn here are all replaced
        model = CLIP(**architecture)
    expected = model.state_dict()
    if "logit_scale" in state and state["logit_scale"].numel() == 1:  # some files hold it as (1,)
        state["logit_scale"] = state["logit_scale"].reshape(expected["logit_scale"].shape)
    remedy = f"give the weights of the model that --clip names ({name})"
    for what, keys in (("lacks", expected.keys() - state.keys()), ("has the unknown", state.keys() - expected.keys())):
        if keys:
            more = f" and {len(keys) - 1} more" if len(keys) > 1 else ""
            raise BadInput(f"{file}: {what} {min(keys)}{more}; {remedy}")
    for key, tensor in state.items():
        if tensor.shape != expected[key].shape:
            raise BadInput(f"{file}: {key} is {tuple(tensor.shape)}, not {tuple(expected[key].shape)}; {remedy}")
        if not tensor.is_floating_point() or not tensor.isfinite().all():
            raise BadInput(f"{file}: {key} holds values that are no finite floats; copy or export the file again")
    model.load_state_dict(state)
    return Clip(model, name, sha256(file)).to(device)


def _read(file: Path) -> dict[str, Tensor]:
    """The named tensors of a checkpoint, without running anything that it may hold."""
    if not file.is_file():
        raise BadInput(f"{file}: no such file; name a checkpoint with --clip-weights")
    if _is_torchscript(file):
        tensors = file.absolute().with_suffix(".tensors.pt")
        command = shlex.join([sys.executable, "-c", _TENSORS_ALONE, str(file.absolute()), str(tensors)])
        raise BadInput(
            f"{file}: is a TorchScript archive, which holds code; if you trust it, give --clip-weights "
            f"{shlex.quote(str(tensors))}, a file of its tensors alone, which this writes: {command}"
        )
    try:
        if file.suffix == ".safetensors":
            from safetensors.torch import load_file

            content: Any = load_file(file)
        else:
            content = load(file)
    except OSError as e:
        if e.errno is None:
            raise BadInput(f"{file}: {_DAMAGED}") from e
        raise BadInput(f"{file}: cannot be read ({e.strerror}); check the disk and the permissions") from e
    except Exception as e:  # torch and safetensors raise many kinds for a damaged file; each means the same here
        raise BadInput(f"{file}: {_DAMAGED}") from e
    if isinstance(content, dict) and isinstance(content.get("state_dict"), dict):
        content = content["state_dict"]
    if not isinstance(content, dict) or not content or not all(isinstance(v, Tensor) for v in content.values()):
        raise BadInput(f"{file}: {_DAMAGED}")
    # `module.` is left by data-parallel training; the three numbers stand in OpenAI's own files beside the weights.
    state = {str(key).removeprefix("module."): value for key, value in content.items()}
    return {k: v for k, v in state.items() if k not in ("input_resolution", "context_length", "vocab_size")}


def _is_torchscript(file: Path) -> bool:
    if not zipfile.is_zipfile(file):
        return False
    with zipfile.ZipFile(file) as archive:
        return any(name.endswith("/constants.pkl") for name in archive.namelist())
