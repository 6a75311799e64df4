"""CLIP as MMDA uses it: one image tower for all three modalities, one text tower for the captions of the classes.

`load_clip` opens the published OpenAI ViT-B/16, another model that open_clip knows, or the stand-in CLIP that
`python -m reference.standin_clip` trains where neither network nor weights are at hand. `load_captions` reads the
sentences of a class, `image_features` computes a frozen tower's features of a whole index once.

Input range. The released code of MMDA feeds (x - 127.5) / 128 (`released`, the default here), not the mean and
standard deviation with which CLIP was trained (`clip`).
"""

import hashlib
import time
import zipfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from data_manifests.errors import BadInput, replacing
from data_manifests.parallel import progress
from reference.faces import Faces, locked
from reference.sources import sha256

InputRange = Literal["released", "clip"]
Freeze = Literal["none", "all", "text"]

CLASSES = ("spoof", "real")  # MMDA's class order: 0, 1
CAPTIONS = Path(__file__).parent / "captions"
CAPTION_SETS = ("extended", "templates", "single")

# CLIP's own mean and standard deviation of R, G and B (Radford et al. 2021), for pixels 0 to 1.
_MEAN = (0.48145466, 0.4578275, 0.40821073)
_STD = (0.26862954, 0.26130258, 0.27577711)


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

    model: open_clip's `CLIP`; image_size: side of its images, S; dim: width of the shared space, D; name: for
    tables and captions, says "stand-in" where it is; sha256: of the weights file it was read from.
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

        Raises `BadInput` for no sentence, and for one that the text tower could read only in part.
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
            used = len(_tokenizer().encode(sentence)) + 2  # between the start and the end token
            if used > length:
                raise BadInput(f"caption {sentence!r}: {used} tokens, but {self.name} reads {length}; shorten it")
        return _tokenizer()(list(sentences), context_length=length)

    def freeze(self, which: Freeze) -> None:
        """What training leaves as it is. `none`: nothing; `all`: both towers and the logit scale; `text`: the text
        tower only (the logit scale belongs to neither tower and goes on learning)."""
        self.requires_grad_(which != "all")
        if which == "text":
            for name, parameter in self.model.named_parameters():
                if not name.startswith("visual.") and name != "logit_scale":
                    parameter.requires_grad_(False)


def load_clip(clip: str = "openai", weights: Path | None = None, device: torch.device | str = "cpu") -> Clip:
    """The CLIP of that name, on `device`, everything trainable.

    `clip` is `openai` (ViT-B/16 with OpenAI's weights), `MODEL/PRETRAINED` as `open_clip.list_pretrained()` names
    them, or `phantom` (the stand-in CLIP). Without `weights` the published file is taken from the local cache or
    downloaded, and the stand-in from build/clip; `weights` is a checkpoint of that architecture: a `.safetensors`
    file or one of `torch.save`, read with `weights_only`, bare or under `state_dict`.

    Raises `BadInput` with a remedy: unknown name, no file and no network, or a file that is not exactly this model.
    """
    if clip == "phantom":
        from reference import standin_clip  # here because that module is built on this one

        file = weights or standin_clip.find()
        return _open(standin_clip.ARCHITECTURE, file, standin_clip.NAME, device)
    model, _, tag = ("ViT-B-16/openai" if clip == "openai" else clip).partition("/")
    architecture, published = _published(clip, model, tag)
    if weights is not None:
        return _open(architecture, weights, f"{model} ({weights.name})", device)
    return _open(architecture, _download(clip, published), f"{model}/{tag}", device)


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
    wanted = model.state_dict()
    if "logit_scale" in state and state["logit_scale"].numel() == 1:  # some files hold it as (1,)
        state["logit_scale"] = state["logit_scale"].reshape(wanted["logit_scale"].shape)
    remedy = f"give the weights of the model that --clip names ({name})"
    for what, keys in (("lacks", wanted.keys() - state.keys()), ("has the unknown", state.keys() - wanted.keys())):
        if keys:
            more = f" and {len(keys) - 1} more" if len(keys) > 1 else ""
            raise BadInput(f"{file}: {what} {min(keys)}{more}; {remedy}")
    for key, tensor in state.items():
        if tensor.shape != wanted[key].shape:
            raise BadInput(f"{file}: {key} is {tuple(tensor.shape)}, not {tuple(wanted[key].shape)}; {remedy}")
        if not tensor.is_floating_point() or not tensor.isfinite().all():
            raise BadInput(f"{file}: {key} holds values that are no finite floats; copy or export the file again")
    model.load_state_dict(state)
    return Clip(model, name, sha256(file)).to(device)


def _read(file: Path) -> dict[str, Tensor]:
    """The named tensors of a checkpoint, without running anything that it may hold."""
    if not file.is_file():
        raise BadInput(f"{file}: no such file; name a checkpoint with --clip-weights")
    if _is_torchscript(file):
        raise BadInput(
            f"{file}: is a TorchScript archive, which holds code; if you trust it, save its tensors once with "
            f"torch.save(torch.jit.load({file.name!r}).state_dict(), …) and name that file"
        )
    try:
        if file.suffix == ".safetensors":
            from safetensors.torch import load_file

            content: Any = load_file(file)
        else:
            content = torch.load(file, map_location="cpu", weights_only=True)
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


_DAMAGED = "damaged, cut short or no file of weights (.safetensors, or tensors by torch.save); copy it again"


def _is_torchscript(file: Path) -> bool:
    if not zipfile.is_zipfile(file):
        return False
    with zipfile.ZipFile(file) as archive:
        return any(name.endswith("/constants.pkl") for name in archive.namelist())


def load_captions(source: str | Path) -> list[list[str]]:
    """The captions of a class, [spoof, real].

    `source` is one of the sets kept here (`extended`, `templates`, `single`) or a folder with `spoof.txt` and
    `real.txt`: UTF-8, one caption a line; a byte-order mark, CRLF line ends and empty lines at the end are
    accepted, spaces around a caption dropped.

    Raises `BadInput` with file and line: no such set or folder, a file missing or not UTF-8, no caption in it, an
    empty line between captions, control characters, a caption that is there twice (upper and lower case alike: CLIP's
    tokenizer sees no difference).
    """
    folder = CAPTIONS / source if source in CAPTION_SETS else Path(source)
    if not folder.is_dir():
        raise BadInput(
            f"--captions {source}: neither a set ({', '.join(CAPTION_SETS)}) nor a folder; "
            "name one that holds spoof.txt and real.txt"
        )
    seen: dict[str, str] = {}
    return [_captions(folder / f"{name}.txt", seen) for name in CLASSES]


def _captions(file: Path, seen: dict[str, str]) -> list[str]:
    """The lines of one class; `seen` maps each caption read so far, in lower case, to where it stands."""
    try:
        content = file.read_bytes()
    except OSError as e:
        raise BadInput(f"{file}: cannot be read ({e.strerror}); write the captions there, one a line") from e
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as e:
        number = content[: e.start].count(b"\n") + 1
        raise BadInput(f"{file}, line {number}: not UTF-8; save the file with that encoding") from e
    lines = [line.strip() for line in text.replace("\r\n", "\n").rstrip().split("\n")]
    if lines == [""]:
        raise BadInput(f"{file}: holds no caption; write at least one")
    for number, line in enumerate(lines, 1):
        where = f"{file}, line {number}"
        if not line:
            raise BadInput(f"{where}: is empty; delete it or write the caption that is missing")
        if not line.isprintable():
            raise BadInput(f"{where}: has characters that cannot be printed; save the file as plain UTF-8 text")
        key = " ".join(line.lower().split())
        if key in seen:
            raise BadInput(f"{where}: {line!r} is there already ({seen[key]}); keep one of them")
        seen[key] = where
    return lines


_BLOCK = 64  # samples computed together, three images each
_SAVE_S = 60.0  # a killed computation loses at most this much


def image_features(
    clip: Clip,
    faces: Faces,
    rows: np.ndarray,
    input_range: InputRange = "released",
    cache_dir: str | Path | None = None,
) -> Tensor:
    """Features of RGB, depth and infrared of the samples `rows` (n,): float32 (n, 3, D) on the CPU, not normalised.

    For a frozen image tower; `ValueError` when one of its parameters can still learn, or for a row that is not
    there. A missing modality is a black image here as everywhere, with the feature the tower gives it.

    With `cache_dir` what was computed is kept in a file named by the tower's weights, the images, the input range
    and the kind of device, so that a later call, of this or another process, computes only what is new. Samples
    are computed in fixed blocks of neighbours, so a row's feature is the same bits whatever was asked for before.
    """
    if any(p.requires_grad for p in clip.model.visual.parameters()):
        raise ValueError("features can be kept for a frozen image tower only; call clip.freeze('all') first")
    rows = np.asarray(rows, dtype=np.int64)
    count = len(faces.images)
    if rows.size and (rows.min() < 0 or rows.max() >= count):
        raise ValueError(f"rows outside 0 … {count - 1}: {rows}")
    if cache_dir is None:
        return torch.from_numpy(_Features(clip, faces, input_range, None).of(rows))
    folder = Path(cache_dir) / "clip"  # with a lock of its own: decoding need not wait for a tower
    folder.mkdir(parents=True, exist_ok=True)
    device = clip.model.logit_scale.device.type
    key = hashlib.sha256(f"{_tower_sha256(clip)} {faces.sha256} {input_range} {device}".encode()).hexdigest()
    with locked(folder):
        return torch.from_numpy(_Features(clip, faces, input_range, folder / f"{key}.npz").of(rows))


def _tower_sha256(clip: Clip) -> str:
    """Of the image tower as it is in memory, not of the file it once came from: it may have been trained since."""
    h = hashlib.sha256(repr(clip.model.visual).encode())
    for name, tensor in sorted(clip.model.visual.state_dict().items()):
        h.update(name.encode())
        h.update(tensor.cpu().contiguous().numpy().tobytes())
    return h.hexdigest()


class _Features:
    """Features (N, 3, D) of all samples, block by block as they are asked for; kept in `file` if there is one."""

    def __init__(self, clip: Clip, faces: Faces, input_range: InputRange, file: Path | None) -> None:
        self.clip, self.faces, self.input_range, self.file = clip, faces, input_range, file
        count = len(faces.images)
        self.features = np.zeros((count, 3, clip.dim), np.float32)
        self.done = np.zeros(-(-count // _BLOCK), bool)
        if file is not None and file.exists():
            try:
                with np.load(file, allow_pickle=False) as kept:
                    self.features[:], self.done[:] = kept["features"], kept["done"]
            except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as e:
                raise BadInput(f"{file}: damaged; delete it, it is computed again") from e

    def of(self, rows: np.ndarray) -> np.ndarray:
        wanted = np.unique(rows // _BLOCK)
        wanted = wanted[~self.done[wanted]]
        if len(wanted):
            saved = time.monotonic()
            with progress(f"features by {self.clip.name}", len(wanted)) as advance:
                for block in wanted:
                    self._compute(int(block))
                    advance(1)
                    if time.monotonic() - saved > _SAVE_S:
                        self._save()
                        saved = time.monotonic()
            self._save()
        return self.features[rows]

    @torch.no_grad()
    def _compute(self, block: int) -> None:
        at = slice(block * _BLOCK, (block + 1) * _BLOCK)
        planes = torch.from_numpy(np.array(self.faces.images[at])).to(self.clip.model.logit_scale.device)
        pictures = [planes[:, :3], *(planes[:, i : i + 1].expand(-1, 3, -1, -1) for i in (3, 4))]
        pixels = normalise(torch.stack(pictures, 1).flatten(0, 1), self.input_range)  # (3 B, 3, S, S)
        features = self.clip.encode_image(pixels).unflatten(0, (-1, 3))
        self.features[at] = features.cpu().numpy()
        self.done[block] = True

    def _save(self) -> None:
        if self.file is not None:
            with replacing(self.file) as f:
                np.savez(f, features=self.features, done=self.done)


def black_feature(clip: Clip, input_range: InputRange = "released") -> Tensor:
    """The image tower's feature of a missing modality, (D,): that of a black image, x = 0."""
    black = torch.zeros(1, 3, clip.image_size, clip.image_size, device=clip.model.logit_scale.device)
    return clip.encode_image(normalise(black, input_range))[0]
