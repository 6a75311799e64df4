"""CLIP for MMDA: towers, weights files, captions, features in the cache, and the stand-in CLIP."""

import hashlib
import json
import os
import pickle
import re
import shlex
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from open_clip.model import CLIP
from safetensors.torch import save_file
from scipy.special import erf, expit, softmax

from data_manifests.errors import BadInput
from data_manifests.index import MODALITIES
from data_manifests.phantom.recordings import plan
from data_manifests.phantom.render import person as protocol_person
from data_manifests.phantom.sets import PROFILES, SETS
from reference import clip as clip_module
from reference import clip_features
from reference.captions import CAPTION_SETS, load_captions
from reference.clip import Clip, black_feature, load_clip, normalise
from reference.clip_features import image_features
from reference.faces import Faces
from reference.sources import sources
from reference.standin_clip import training, weights, words
from reference.standin_clip.shots import NAMESPACE, Shot, people, person, shoot, shoot_all
from reference.standin_clip.training import make, measure
from reference.standin_clip.weights import ARCHITECTURE, IMAGE_SIZE, NAME, SETTINGS, Settings, place
from reference.standin_clip.words import ATTACKS, BONAFIDE, Kind, vocabulary

ROOT = Path(__file__).parents[2]
SIDE = 16
TINY: dict[str, Any] = {
    "embed_dim": 12,
    "vision_cfg": {"image_size": SIDE, "patch_size": 8, "width": 16, "head_width": 8, "layers": 2},
    "text_cfg": {"context_length": 12, "vocab_size": 49408, "width": 8, "heads": 2, "layers": 2},
}
MINIATURE = Settings(people=4, held_out=3, recordings=2, steps=3, batch=6)


def drawn_model(seed: int, **changes: Any) -> CLIP:
    """A tiny CLIP with every parameter drawn, biases and norms too."""
    model = CLIP(**TINY, **changes)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, p in model.named_parameters():
            p.copy_(0.3 * torch.randn(p.shape, generator=generator) + float("ln_" in name and "weight" in name))
    return model


def tiny(seed: int = 0, **changes: Any) -> Clip:
    return Clip(drawn_model(seed, **changes), "tiny CLIP", "0" * 64)


def pixels(seed: int, count: int, side: int = SIDE) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).integers(0, 256, (count, 3, side, side), dtype=np.uint8))


# -- the towers, against a second implementation in float64 ---------------------------------------------------------


def layer_norm(x: np.ndarray, w: dict[str, np.ndarray], name: str) -> np.ndarray:
    centred = x - x.mean(-1, keepdims=True)
    return centred / np.sqrt(x.var(-1, keepdims=True) + 1e-5) * w[f"{name}.weight"] + w[f"{name}.bias"]


def block(x: np.ndarray, w: dict[str, np.ndarray], name: str, heads: int, mask: np.ndarray, quick: bool) -> np.ndarray:
    """One pre-norm transformer block on x (T, D); mask (T, T) is added to the attention's logits."""
    length, width = x.shape
    qkv = layer_norm(x, w, f"{name}.ln_1") @ w[f"{name}.attn.in_proj_weight"].T + w[f"{name}.attn.in_proj_bias"]
    q, k, v = (part.reshape(length, heads, -1).transpose(1, 0, 2) for part in np.split(qkv, 3, axis=1))
    maps = softmax(q @ k.transpose(0, 2, 1) / np.sqrt(width // heads) + mask, axis=-1)
    joined = (maps @ v).transpose(1, 0, 2).reshape(length, width)
    x = x + joined @ w[f"{name}.attn.out_proj.weight"].T + w[f"{name}.attn.out_proj.bias"]
    inner = layer_norm(x, w, f"{name}.ln_2") @ w[f"{name}.mlp.c_fc.weight"].T + w[f"{name}.mlp.c_fc.bias"]
    inner = inner * (expit(1.702 * inner) if quick else 0.5 * (1 + erf(inner / np.sqrt(2))))
    return x + inner @ w[f"{name}.mlp.c_proj.weight"].T + w[f"{name}.mlp.c_proj.bias"]


def arrays(model: CLIP) -> dict[str, np.ndarray]:
    return {k: v.double().numpy() for k, v in model.state_dict().items()}


@settings(max_examples=10)
@given(st.integers(0, 2**32 - 1), st.booleans())
def test_an_image_s_feature_is_the_projected_class_token_not_normalised(seed, quick):
    clip = tiny(seed, quick_gelu=quick)
    w = arrays(clip.model)
    image = normalise(pixels(seed, 1))[0].double().numpy()
    patches = image.reshape(3, 2, 8, 2, 8).transpose(1, 3, 0, 2, 4).reshape(4, -1)
    tokens = patches @ w["visual.conv1.weight"].reshape(16, -1).T
    x = np.concatenate((w["visual.class_embedding"][None], tokens)) + w["visual.positional_embedding"]
    x = layer_norm(x, w, "visual.ln_pre")
    for i in range(2):
        x = block(x, w, f"visual.transformer.resblocks.{i}", 2, np.zeros((5, 5)), quick)
    expected = layer_norm(x[0], w, "visual.ln_post") @ w["visual.proj"]
    feature = clip.encode_image(normalise(pixels(seed, 1)))[0].detach()
    np.testing.assert_allclose(feature.double().numpy(), expected, rtol=2e-4, atol=2e-4)
    assert clip.dim == len(expected)


@settings(max_examples=10)
@given(st.integers(0, 2**32 - 1), st.booleans())
def test_a_sentence_s_feature_is_its_end_token_projected_not_normalised(seed, quick):
    clip = tiny(seed, quick_gelu=quick)
    w = arrays(clip.model)
    tokens = [49406, 518, 1674, 539, 320, 1710, 49407]  # of the sentence below in CLIP's published vocabulary
    x = w["token_embedding.weight"][tokens] + w["positional_embedding"][: len(tokens)]
    for i in range(2):
        mask = np.triu(np.full((len(tokens), len(tokens)), -np.inf), 1)
        x = block(x, w, f"transformer.resblocks.{i}", 2, mask, quick)
    expected = layer_norm(x[-1], w, "ln_final") @ w["text_projection"]
    feature = clip.encode_text(["The picture of a  face"])[0].detach()
    np.testing.assert_allclose(feature.double().numpy(), expected, rtol=2e-4, atol=2e-4)


@given(hnp.arrays(np.uint8, (2, 3, 4, 4)))
def test_the_input_ranges(image):
    x = image.astype(np.float64)
    mean = np.array((0.48145466, 0.4578275, 0.40821073))[:, None, None]
    std = np.array((0.26862954, 0.26130258, 0.27577711))[:, None, None]
    fed = [normalise(torch.from_numpy(image), r) for r in ("released", "clip")]
    assert all(f.dtype == torch.float32 for f in fed)
    np.testing.assert_allclose(fed[0].double().numpy(), (x - 127.5) / 128, atol=1e-6)
    np.testing.assert_allclose(fed[1].double().numpy(), (x / 255 - mean) / std, atol=1e-5)


@settings(max_examples=10)
@given(st.permutations(["a face", "a mask", "the face of a man", "paper", "a printed face"]))
def test_a_sentence_is_encoded_alone(sentences):
    clip = tiny()
    together = clip.encode_text(sentences)
    for sentence, row in zip(sentences, together, strict=True):
        torch.testing.assert_close(clip.encode_text([sentence])[0], row, rtol=1e-4, atol=1e-5)


def test_sentences_are_tokenised_once():
    clip = tiny()
    calls = []
    tokenise = clip._tokenise
    clip._tokenise = lambda key: calls.append(key) or tokenise(key)
    first = clip.encode_text(["a face", "a mask"])
    torch.testing.assert_close(clip.encode_text(("a face", "a mask")), first, rtol=0, atol=0)
    assert calls == [("a face", "a mask")]
    assert not torch.equal(clip.encode_text(["a mask", "a face"]), first)


def test_the_text_tower_is_not_fed_half_a_sentence_or_none():
    clip = tiny()
    clip.encode_text(["a " * 10])  # ten words and two marks are the twelve tokens this one reads
    with pytest.raises(BadInput, match=r"'a a a.*': 13 tokens, but tiny CLIP reads 12; shorten it"):
        clip.encode_text(["a face", "a " * 11])
    with pytest.raises(BadInput, match="no caption"):
        clip.encode_text([])


def test_images_of_another_size_are_refused_with_the_right_one():
    with pytest.raises(BadInput, match="--image-size 16"):
        tiny().encode_image(normalise(pixels(0, 2, side=24)))
    with pytest.raises(BadInput, match=r"takes \(3, 16, 16\)"):
        tiny().encode_image(normalise(pixels(0, 2))[:, :1])


@pytest.mark.parametrize(
    ("which", "image", "text", "scale"),
    [("none", True, True, True), ("text", True, False, True), ("all", False, False, False)],
)
def test_freezing(which, image, text, scale):
    clip = tiny()
    for earlier in ("all", "none"):
        clip.freeze(earlier)
        clip.freeze(which)
        v, t = clip.encode_image(normalise(pixels(1, 2))), clip.encode_text(["a face", "a mask"])
        assert (v.requires_grad, t.requires_grad, clip.scale.requires_grad) == (image, text, scale)
        learning = {n for n, p in clip.model.named_parameters() if p.requires_grad}
        visual = {n for n, _ in clip.model.named_parameters() if n.startswith("visual.")}
        rest = {n for n, _ in clip.model.named_parameters()} - visual - {"logit_scale"}
        assert learning == (visual if image else set()) | (rest if text else set()) | (
            {"logit_scale"} if scale else set()
        )


def test_scale_is_exp_of_the_logit_scale_and_all_is_float32():
    clip = Clip(drawn_model(3).half(), "half", "")
    assert {p.dtype for p in clip.parameters()} == {torch.float32}
    assert clip.scale.shape == ()
    assert clip.scale.item() == pytest.approx(float(np.exp(np.float64(clip.model.logit_scale.item()))))


# -- weights files -----------------------------------------------------------------------------------------------


@pytest.fixture
def architecture(monkeypatch):
    """`phantom` names the tiny architecture here, so that its files are small."""
    monkeypatch.setattr(weights, "ARCHITECTURE", TINY)


def state(seed: int = 5) -> dict[str, torch.Tensor]:
    return dict(drawn_model(seed).state_dict())


OPENAI_EXTRAS = {k: torch.tensor(v) for k, v in (("input_resolution", SIDE), ("context_length", 12), ("vocab_size", 9))}


@pytest.mark.parametrize(
    ("suffix", "changed"),
    [
        (".safetensors", lambda s: s),
        (".pt", lambda s: s),
        (".pt", lambda s: {"epoch": 3, "state_dict": {f"module.{k}": v for k, v in s.items()}}),
        (".bin", lambda s: s | {"logit_scale": s["logit_scale"].reshape(1)}),
        (".pt", lambda s: s | OPENAI_EXTRAS),
    ],
)
def test_a_weights_file_gives_its_weights(tmp_path, architecture, suffix, changed):
    file = tmp_path / f"weights{suffix}"
    (save_file if suffix == ".safetensors" else torch.save)(changed(state()), file)
    before = torch.get_rng_state()
    clip = load_clip("phantom", file)
    assert torch.equal(torch.get_rng_state(), before)
    written = state()
    assert all(torch.equal(v, written[k]) for k, v in clip.model.state_dict().items())
    assert clip.sha256 == hashlib.sha256(file.read_bytes()).hexdigest()
    assert clip.image_size == SIDE
    assert "stand-in" in clip.name


def test_half_precision_weights_are_widened(tmp_path, architecture):
    file = tmp_path / "half.pt"
    halves = {k: v.half() for k, v in state().items()}
    torch.save(halves, file)
    for k, v in load_clip("phantom", file).model.state_dict().items():
        assert v.dtype == torch.float32
        assert torch.equal(v, halves[k].float())


class Trap:
    """A pickle that makes a file when it is executed."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.path,))


def broken_files(folder: Path) -> dict[str, tuple[Path, str]]:
    """Files that are no weights of the tiny CLIP, and the message for each."""
    files: dict[str, tuple[Path, str]] = {}

    def add(name: str, write: Any, message: str) -> None:
        write(folder / name)
        files[name] = (folder / name, message)

    good = state()
    less = {k: v for k, v in good.items() if not k.startswith("visual.ln_post")}
    add("lacking.pt", lambda f: torch.save(less, f), r"lacks visual.ln_post.bias and 1 more; give the weights of")
    add("more.pt", lambda f: torch.save(good | {"z": torch.zeros(1)}, f), "has the unknown z; give the weights of")
    wide = good | {"visual.proj": torch.zeros(16, 24)}
    add("shape.pt", lambda f: torch.save(wide, f), r"visual.proj is \(16, 24\), not \(16, 12\)")
    nan = good | {"visual.proj": torch.full((16, 12), torch.nan)}
    add("nan.safetensors", lambda f: save_file(nan, f), "visual.proj holds values that are no finite floats")
    whole = good | {"visual.proj": torch.zeros(16, 12, dtype=torch.int64)}
    add("whole.pt", lambda f: torch.save(whole, f), "no finite floats")
    damaged = "damaged, cut short or no file of weights"
    for suffix, save in (("pt", torch.save), ("safetensors", save_file)):
        save(good, folder / "good")
        content = (folder / "good").read_bytes()
        add(f"cut.{suffix}", lambda f, c=content: f.write_bytes(c[: len(c) // 2]), damaged)
        if suffix == "pt":  # one of its numbers is another
            at = content.index(good["visual.proj"].numpy().tobytes())
            flipped = content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]
            add("flipped.pt", lambda f, c=flipped: f.write_bytes(c), damaged)
        add(f"empty.{suffix}", lambda f: f.write_bytes(b""), damaged)
        add(f"text.{suffix}", lambda f: f.write_text("<html>404</html>"), damaged)
    add("list.pt", lambda f: torch.save([1, 2], f), damaged)
    add("number.pt", lambda f: torch.save({"epoch": 3}, f), damaged)
    add("trap.pt", lambda f: torch.save({"x": Trap(folder / "executed")}, f), damaged)
    add("trap.bin", lambda f: f.write_bytes(pickle.dumps(Trap(folder / "executed"))), damaged)
    add("folder.pt", lambda f: f.mkdir(), "no such file")
    with torch.no_grad():
        traced = torch.jit.trace(torch.nn.Linear(2, 2), torch.zeros(1, 2))
    add("script.pt", lambda f: torch.jit.save(traced, f), "TorchScript archive, which holds code")
    files["absent.pt"] = (folder / "absent.pt", "no such file; name a checkpoint with --clip-weights")
    return files


@pytest.mark.filterwarnings("ignore:.*(torch.jit|pickle protocol)")
def test_a_file_that_is_not_exactly_these_weights_is_refused_and_never_executed(tmp_path, architecture):
    for file, message in broken_files(tmp_path).values():
        with pytest.raises(BadInput, match=message) as e:
            load_clip("phantom", file)
        assert str(file) in str(e.value)
        assert "\n" not in str(e.value)
    assert not (tmp_path / "executed").exists()
    # The trap works where pickles are executed:
    torch.load(tmp_path / "trap.pt", weights_only=False)
    assert (tmp_path / "executed").exists()


def archived(tensors: dict[str, torch.Tensor]) -> torch.jit.ScriptModule:
    """A TorchScript module of these tensors under these names."""
    root = torch.nn.Identity()
    for name, tensor in tensors.items():
        *path, last = name.split(".")
        module = root
        for step in path:
            if step not in dict(module.named_children()):
                module.add_module(step, torch.nn.Identity())
            module = module.get_submodule(step)
        module.register_buffer(last, tensor)
    return torch.jit.trace(root, torch.zeros(1))


@pytest.mark.filterwarnings("ignore:.*torch.jit")
def test_the_remedy_for_a_torchscript_archive_writes_a_file_that_is_taken(tmp_path, architecture):
    """The command as it is printed, from another folder, on a path that a shell would take apart."""
    folder = tmp_path / "it's a folder"
    folder.mkdir()
    archive, tensors = folder / "ViT-B.16.pt", folder / "ViT-B.16.tensors.pt"
    torch.jit.save(archived(state() | OPENAI_EXTRAS), archive)
    before = archive.read_bytes()
    with pytest.raises(BadInput) as e:
        load_clip("phantom", archive)
    named, command = re.fullmatch(r".* give --clip-weights (.*), a file of .*: (.*)", str(e.value)).groups()
    assert shlex.split(named) == [str(tensors)]
    assert 'map_location="cpu"' in command
    assert str(archive) in shlex.split(command)
    done = subprocess.run(command, shell=True, cwd="/", capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    written = state()
    loaded = load_clip("phantom", tensors).model.state_dict()
    assert loaded.keys() == written.keys()
    assert all(torch.equal(v, written[k]) for k, v in loaded.items())
    # Given again it writes over nothing, and the archive is as it was.
    content = tensors.read_bytes()
    again = subprocess.run(command, shell=True, cwd="/", capture_output=True, text=True)
    assert again.returncode != 0
    assert "FileExistsError" in again.stderr
    assert (tensors.read_bytes(), archive.read_bytes()) == (content, before)


@pytest.mark.parametrize("suffix", ["pt", "safetensors"])
@settings(max_examples=15)
@given(st.integers(0, 2**32 - 1))
def test_a_file_cut_anywhere_is_refused(tmp_path_factory, suffix, seed):
    folder = tmp_path_factory.mktemp("cut")
    small = {"a": torch.arange(40.0), "b": torch.ones(3)}
    file = folder / f"w.{suffix}"
    (save_file if suffix == "safetensors" else torch.save)(small, file)
    content = file.read_bytes()
    file.write_bytes(content[: seed % len(content)])
    with pytest.raises(BadInput, match="damaged, cut short"):
        clip_module._read(file)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("openia", "no such CLIP; choose openai, phantom or MODEL/PRETRAINED"),
        ("ViT-B-16", "no such CLIP"),
        ("ViT-B-17/openai", "no such CLIP"),
        ("ViT-B-16/opnai", "knows no weights opnai of ViT-B-16; choose one of: openai, .*laion2b_s34b_b88k"),
        ("RN50/openai", "RN50 is not a plain CLIP with a class token"),
        ("ViT-B-16-SigLIP/webli", "not a plain CLIP"),
        ("coca_ViT-B-32/laion2b_s13b_b90k", "not a plain CLIP"),
        ("", "no such CLIP"),
    ],
)
def test_an_unknown_or_unsuited_clip_is_refused(name, message):
    with pytest.raises(BadInput, match=message):
        load_clip(name)


@pytest.mark.parametrize(
    ("name", "quick"), [("openai", True), ("ViT-B-16/openai", True), ("ViT-B-32/laion2b_e16", False)]
)
def test_the_activation_is_the_weights_own(monkeypatch, tmp_path, name, quick):
    opened = []
    monkeypatch.setattr(clip_module, "_open", lambda architecture, *rest: opened.append((architecture, *rest)))
    load_clip(name, tmp_path / "mine.pt")
    (architecture, file, title, _), *_ = opened
    assert architecture["quick_gelu"] is quick
    assert architecture["embed_dim"] == 512
    assert file == tmp_path / "mine.pt"
    assert title == f"ViT-B-{'32' if '32' in name else '16'} (mine.pt)"


@pytest.mark.parametrize("error", [FileNotFoundError("hub"), OSError(101, "unreachable"), RuntimeError("sha256")])
def test_without_network_the_remedies_are_named(monkeypatch, error):
    def fail(published):
        raise error

    monkeypatch.setattr("open_clip.pretrained.download_pretrained", fail)
    with pytest.raises(BadInput, match=r"cannot be downloaded.*--clip-weights, or .* --clip phantom"):
        load_clip("openai")


def test_without_a_stand_in_its_command_is_named(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BadInput, match=r"make it with python -m reference\.standin_clip"):
        load_clip("phantom")
    with pytest.raises(BadInput, match=r"make it with python -m reference\.standin_clip --seed 2"):
        load_clip("phantom/2")


def test_a_stand_in_of_another_seed_is_asked_for_by_number() -> None:
    assert weights.settings_of("phantom") == weights.settings_of("phantom/0") == SETTINGS
    assert weights.settings_of("phantom/12") == replace(SETTINGS, seed=12)
    assert weights.command("phantom/0") == ("reference.standin_clip",)
    assert weights.command("phantom/12") == ("reference.standin_clip", "--seed", "12")
    assert len({place(settings=weights.settings_of(f"phantom/{seed}")) for seed in range(3)}) == 3
    assert [weights.is_standin(clip) for clip in ("phantom", "phantom/3", "openai", "ViT-B-16/openai")] == [
        True, True, False, False,
    ]  # fmt: skip
    for wrong in ("phantom/", "phantom/one", "phantom/-1"):
        with pytest.raises(BadInput, match=f"--clip {wrong}: .* is no seed of the stand-in; give phantom, or"):
            load_clip(wrong)


# -- captions ------------------------------------------------------------------------------------------------------


def test_the_sets_have_the_released_sizes_and_structure():
    assert {n: [len(c) for c in load_captions(n)] for n in CAPTION_SETS} == {
        "extended": [24, 23],
        "templates": [6, 6],
        "single": [1, 1],
    }
    for extended, templates in zip(load_captions("extended"), load_captions("templates"), strict=True):
        assert extended[-6:] == templates
        assert all(re.fullmatch(r"a camera picture of an? [a-z -]+ face", s) for s in extended[:-6])
    flat = [s for n in ("extended", "single") for c in load_captions(n) for s in c]
    assert len(set(flat)) == len(flat)


lines = st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z")), min_size=1, max_size=8)
caption_lists = st.lists(lines, min_size=2, max_size=6, unique_by=str.lower)


@given(caption_lists, st.sampled_from(["\n", "\r\n"]), st.booleans(), st.sampled_from(["", "\n", "\n\n \n"]), st.data())
@example(["a face", "ein Gesicht ß"], "\r\n", True, "\n\n", None)
def test_captions_written_are_captions_read(tmp_path_factory, texts, newline, mark, end, data):
    folder = tmp_path_factory.mktemp("captions")
    cut = 1 if data is None else data.draw(st.integers(1, len(texts) - 1))
    for name, part in (("spoof", texts[:cut]), ("real", texts[cut:])):
        content = newline.join(f" {t}\t" for t in part) + end.replace("\n", newline)
        (folder / f"{name}.txt").write_bytes(content.encode("utf-8-sig" if mark else "utf-8"))
    assert load_captions(folder) == load_captions(str(folder)) == [texts[:cut], texts[cut:]]


@pytest.mark.parametrize(
    ("spoof", "message"),
    [
        (b"a mask\n\na print\n", r"spoof.txt, line 2: is empty; delete it or write"),
        (b"", r"spoof.txt: holds no caption"),
        (b"\xef\xbb\xbf\r\n \r\n", r"spoof.txt: holds no caption"),
        (b"a mask\na m\xe4sk\n", r"spoof.txt, line 2: not UTF-8; save"),
        ("a mask\n".encode("utf-16"), r"spoof.txt, line 1: not UTF-8"),
        ("a mask\nb\n".encode("utf-16-le"), r"spoof.txt, line 1: has characters that cannot be printed"),
        (b"a mask\ra print\n", r"spoof.txt, line 1: has characters"),
        (b"a mask\nA  Mask\n", r"spoof.txt, line 2: 'A  Mask' is there already \(.*spoof.txt, line 1\)"),
        (b"a mask\nA FACE\n", r"real.txt, line 1: 'a face' is there already \(.*spoof.txt, line 2\)"),
        (None, r"spoof.txt: cannot be read \(No such file"),
    ],
)
def test_captions_that_cannot_be_meant_are_refused_with_file_and_line(tmp_path, spoof, message):
    (tmp_path / "real.txt").write_text("a face\n")
    if spoof is not None:
        (tmp_path / "spoof.txt").write_bytes(spoof)
    with pytest.raises(BadInput, match=message):
        load_captions(tmp_path)


def test_an_unknown_set_or_folder_of_captions_is_refused(tmp_path):
    for source in ("extendet", tmp_path / "none"):
        with pytest.raises(BadInput, match="neither a set"):
            load_captions(source)


# -- features in the cache -------------------------------------------------------------------------------------------


def drawn_faces(seed: int, count: int, side: int = SIDE) -> Faces:
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (count, 5, side, side), dtype=np.uint8)
    images[rng.random(count) < 0.2, 3] = 0  # depth missing
    words = np.array(["x"] * count)
    zeros = np.zeros(count, np.int64)
    return Faces(
        images,
        images.any((2, 3))[:, 2:],
        np.ones(count, bool),
        words,
        words,
        words,
        words,
        zeros,
        zeros,
        f"{seed:064x}",
        content=np.frombuffer(b"".join(hashlib.sha256(x.tobytes()).digest() for x in images), np.uint8).reshape(-1, 32),
    )


def direct(clip: Clip, faces: Faces, row: int, input_range: str) -> torch.Tensor:
    """Features (3, D) of one sample, encoded by itself."""
    planes = torch.from_numpy(faces.images[row])
    triples = (planes[:3], planes[3].expand(3, -1, -1), planes[4].expand(3, -1, -1))
    return torch.cat([clip.encode_image(normalise(t[None], input_range)) for t in triples]).detach()


def frozen(seed: int = 0, **changes: Any) -> Clip:
    clip = tiny(seed, **changes)
    clip.freeze("all")
    return clip


@pytest.fixture
def blocks_of_four(monkeypatch):
    monkeypatch.setattr(clip_features, "_BLOCK", 4)


def counting(clip: Clip) -> list[int]:
    """How many images each later call of the tower encodes."""
    calls: list[int] = []
    encode = clip.encode_image
    clip.encode_image = lambda x: calls.append(len(x)) or encode(x)
    return calls


@settings(max_examples=15)
@given(st.integers(0, 2**32 - 1), st.integers(1, 11), st.sampled_from(["released", "clip"]), st.booleans())
def test_kept_features_are_those_of_encoding_each_image(tmp_path_factory, seed, count, input_range, disk):
    faces, clip = drawn_faces(seed, count), frozen()
    rows = np.random.default_rng(seed).integers(0, count, 6)
    with pytest.MonkeyPatch.context() as m:
        m.setattr(clip_features, "_BLOCK", 4)
        features = image_features(clip, faces, rows, input_range, tmp_path_factory.mktemp("cache") if disk else None)
    assert features.dtype == torch.float32
    assert not features.requires_grad
    torch.testing.assert_close(
        features, torch.stack([direct(clip, faces, r, input_range) for r in rows]), rtol=1e-4, atol=1e-5
    )
    for r, row in zip(rows, features, strict=True):
        if not faces.present[r, 1]:
            torch.testing.assert_close(row[1], black_feature(clip, input_range).detach(), rtol=1e-4, atol=1e-5)


def test_a_later_call_computes_only_what_is_new_and_to_the_same_bits(tmp_path, blocks_of_four):
    faces = drawn_faces(1, 11)
    whole = image_features(frozen(), faces, np.arange(11))
    clip = frozen()
    calls = counting(clip)
    first = image_features(clip, faces, np.array([1, 2]), cache_dir=tmp_path)
    assert calls == [12]
    later = image_features(clip, faces, np.array([10, 2, 0, 2]), cache_dir=tmp_path)
    assert calls == [12, 9]
    again = frozen()
    again_calls = counting(again)
    everything = image_features(again, faces, np.arange(11), cache_dir=tmp_path)
    assert again_calls == [12]
    image_features(again, faces, np.arange(11), cache_dir=tmp_path)
    assert again_calls == [12]
    assert torch.equal(everything, whole)
    assert torch.equal(first, whole[[1, 2]])
    assert torch.equal(later, whole[[10, 2, 0, 2]])


def test_other_weights_images_ranges_and_activations_have_features_of_their_own(tmp_path):
    rows = np.arange(3)
    clip, faces = frozen(), drawn_faces(1, 3)
    features = [
        image_features(clip, faces, rows, cache_dir=tmp_path),
        image_features(clip, faces, rows, "clip", cache_dir=tmp_path),
        image_features(clip, drawn_faces(2, 3), rows, cache_dir=tmp_path),
        image_features(frozen(9), faces, rows, cache_dir=tmp_path),
        image_features(frozen(quick_gelu=True), faces, rows, cache_dir=tmp_path),
    ]
    with torch.no_grad():  # trained since it was read from its file
        clip.model.visual.proj += 0.01
    features.append(image_features(clip, faces, rows, cache_dir=tmp_path))
    assert len(list(tmp_path.rglob("*.f32"))) == len(features) - 1  # other images have their place in the same file
    for i, a in enumerate(features):
        for b in features[:i]:
            assert not torch.allclose(a, b, atol=1e-4)


def test_features_are_kept_of_a_frozen_tower_and_of_rows_that_are_there(tmp_path):
    faces, clip = drawn_faces(1, 3), tiny()
    for which in ("none", "text"):
        clip.freeze(which)
        with pytest.raises(ValueError, match="frozen image tower"):
            image_features(clip, faces, np.arange(3))
    for rows in ([3], [-1]):
        with pytest.raises(ValueError, match="rows outside 0 … 2"):
            image_features(frozen(), faces, np.array(rows))
    with pytest.raises(BadInput, match="--image-size 16"):
        image_features(frozen(), drawn_faces(1, 3, side=24), np.arange(3))
    assert image_features(frozen(), faces, np.array([], dtype=np.int64), cache_dir=tmp_path).shape == (0, 3, 12)


def test_an_interrupted_computation_keeps_what_was_saved_and_nothing_half(tmp_path, blocks_of_four, monkeypatch):
    monkeypatch.setattr(clip_features, "_SAVE_S", -1.0)
    faces, clip = drawn_faces(1, 11), frozen()
    encode, calls = clip.encode_image, []

    def fail_at_third(x: torch.Tensor) -> torch.Tensor:
        calls.append(len(x))
        if len(calls) == 3:
            raise KeyboardInterrupt
        return encode(x)

    clip.encode_image = fail_at_third
    with pytest.raises(KeyboardInterrupt):
        image_features(clip, faces, np.arange(11), cache_dir=tmp_path)
    clip = frozen()
    calls = counting(clip)
    features = image_features(clip, faces, np.arange(11), cache_dir=tmp_path)
    assert calls == [9]
    assert torch.equal(features, image_features(frozen(), faces, np.arange(11)))
    assert not list(tmp_path.rglob(".*.tmp"))


def test_a_file_of_features_that_was_cut_short_is_named(tmp_path):
    faces = drawn_faces(1, 3)
    image_features(frozen(), faces, np.arange(3), cache_dir=tmp_path)
    for suffix in (".f32", ".rows"):
        (file,) = tmp_path.rglob(f"*{suffix}")
        content = file.read_bytes()
        file.write_bytes(content[: len(content) // 2])
        with pytest.raises(BadInput, match=f"{file.name}: damaged"):
            image_features(frozen(), faces, np.arange(3), cache_dir=tmp_path)
        file.write_bytes(content)


@settings(max_examples=15)
@given(st.data())
def test_damaged_features_are_computed_again(tmp_path_factory, data):
    folder, faces = tmp_path_factory.mktemp("cache"), drawn_faces(1, 5)
    whole = image_features(frozen(), faces, np.arange(5), cache_dir=folder)
    file = data.draw(st.sampled_from([*folder.rglob("*.f32"), *folder.rglob("*.rows")]))
    content = bytearray(file.read_bytes())
    content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    file.write_bytes(content)
    clip = frozen()
    calls = counting(clip)
    assert torch.equal(image_features(clip, faces, np.arange(5), cache_dir=folder), whole)
    assert len(calls) == 1
    assert torch.equal(image_features(clip, faces, np.arange(5), cache_dir=folder), whole)
    assert len(calls) == 1


@settings(max_examples=15)
@given(st.permutations(range(11)), st.integers(1, 10))
def test_features_are_the_same_bits_in_whichever_order_they_were_asked_for(tmp_path_factory, order, cut):
    folder, faces, clip = tmp_path_factory.mktemp("cache"), drawn_faces(1, 11), frozen()
    with pytest.MonkeyPatch.context() as m:
        m.setattr(clip_features, "_BLOCK", 4)
        image_features(clip, faces, np.array(order[:cut]), cache_dir=folder)
        image_features(clip, faces, np.array(order[cut:]), cache_dir=folder)
        assert torch.equal(
            image_features(clip, faces, np.arange(11), cache_dir=folder), image_features(clip, faces, np.arange(11))
        )


def test_a_tower_is_hashed_once_and_again_when_it_was_trained(tmp_path, monkeypatch):
    clip, faces = frozen(), drawn_faces(1, 3)
    hashed = []
    monkeypatch.setattr(torch.Tensor, "cpu", lambda x, cpu=torch.Tensor.cpu: hashed.append(x) or cpu(x))
    first = clip_features._tower_sha256(clip)
    assert len(hashed) == len(clip.model.visual.state_dict())
    image_features(clip, faces, np.arange(3), cache_dir=tmp_path)
    assert clip_features._tower_sha256(clip) == first
    assert len(hashed) == len(clip.model.visual.state_dict()) + 1  # the features themselves
    with torch.no_grad():
        clip.model.visual.proj += 0.01
    assert clip_features._tower_sha256(clip) != first


# -- the stand-in ----------------------------------------------------------------------------------------------------


def test_none_of_the_stand_in_s_people_is_in_any_set():
    learned, held_out = people(SETTINGS)
    assert len(set(learned)) == SETTINGS.people
    assert not set(learned) & set(held_out)
    mine = {person(key).seed for key in (*learned, *held_out)}
    assert len(mine) == SETTINGS.people + SETTINGS.held_out
    keys = {
        (s, key, c.people)
        for p in (PROFILES["cpu"], PROFILES["paper"])
        for s in SETS
        for c in plan(s, p)
        for key in (c.wearer, c.victim)
    }
    assert len(keys) > 5000
    assert not mine & {protocol_person(*key).seed for key in keys}
    assert not set(SETS) & {NAMESPACE}


# Every caption of one class holds a word of its row, and none of the other's.
LIVE = (
    "real live living genuine bona fide authentic natural actual true human original bare uncovered unmasked "
    "unaltered breathing honest alive flesh"
)
ATTACK = (
    "attack spoof spoofed fake counterfeit imitated copied false artificial pretended artefact copy printed paper "
    "cloth replayed on-screen screen cut-out masked resin mask silicone plastic half-masked mannequin disguised toy "
    "made-up make-up tattooed ink wig"
)


@settings(max_examples=8)
@given(st.integers(0, 200), st.integers(0, 3))
def test_a_shot_is_the_same_again_and_its_captions_say_what_it_is(person_number, number):
    job = (f"0-{person_number}", "0-victim", number)
    shot, again = shoot(job), shoot(job)
    np.testing.assert_array_equal(shot.planes, again.planes)
    assert shot.planes.shape == (5, IMAGE_SIZE, IMAGE_SIZE)
    assert shot.planes.dtype == np.uint8
    assert shot.planes.any((1, 2)).all()
    assert shot.bonafide is (number % 2 == 0)
    rng = np.random.default_rng(number)
    colours = {"skin", "light", "dark", "brown", "black hair", "warm", "cold"}
    for modality in MODALITIES:
        for full in (True, False, False, False):
            caption = shot.caption(modality, rng, full)
            used = set(caption.replace("black ground", "").replace("near is dark", "").split())
            others = {"rgb": {"depth", "infrared"}, "depth": {"colour", "infrared"}, "ir": {"colour", "depth"}}
            assert not used & others[modality]
            assert modality == "rgb" or not used & colours
            tokens = len(clip_module._tokenizer().encode(caption)) + 2
            assert tokens <= ARCHITECTURE["text_cfg"]["context_length"]


@pytest.mark.parametrize("kind", [BONAFIDE, *ATTACKS], ids=lambda kind: kind.species[0])
def test_the_text_tower_reads_the_longest_caption_whole(kind):
    wordy = replace(
        person("0-0"),
        male=False,
        melanin=0.9,
        hair="hair_black",
        hair_style="long",
        beard="full",
        own_glasses=True,
    )
    for modality, light in (("rgb", "black ground warm light bright"), ("depth", "black ground near is bright")):
        details = [*words.looks(kind, wordy, modality), light]
        names = [f"a {adjective} face" for adjective in (*kind.adjectives, *words.ANY_ATTACK[0])]
        for name in (*names, *kind.phrases, *words.ANY_ATTACK[1]):
            for frame in words._frames(words._SENSORS[modality], name):
                caption = " ".join([frame, *details])
                tokens = len(clip_module._tokenizer().encode(caption)) + 2
                assert tokens <= ARCHITECTURE["text_cfg"]["context_length"], caption


@settings(max_examples=25)
@given(st.sampled_from([BONAFIDE, *ATTACKS]), st.integers(0, 2**32 - 1), st.booleans())
def test_a_caption_s_class_is_in_its_words(kind, seed, full):
    rng = np.random.default_rng(seed)
    for modality in MODALITIES * 4:
        used = set(words.sentence(kind, modality, [], rng, full).split())
        assert bool(used & set(LIVE.split())) is (kind.species == ("bonafide",))
        assert bool(used & set(ATTACK.split())) is (kind.species != ("bonafide",))


def test_worker_processes_hand_over_the_same_shots():
    keys = [f"0-{i}" for i in range(33)]
    shots = shoot_all(keys, MINIATURE, "many")  # more than are rendered without workers
    assert [shot.bonafide for shot in shots] == [True, False] * 33
    alone = shoot(("0-32", "0-1", 1))
    np.testing.assert_array_equal(shots[-1].planes, alone.planes)
    assert shots[-1].kind == alone.kind


def test_every_word_of_the_caption_sets_is_learned_and_fits():
    known = vocabulary()
    for name in CAPTION_SETS:
        for captions in load_captions(name):
            for sentence in captions:
                assert set(sentence.lower().split()) <= known, sentence


def mini(folder: Path) -> Path:
    return make(folder, MINIATURE)


@pytest.fixture(scope="module")
def standin(tmp_path_factory):
    return mini(tmp_path_factory.mktemp("clip"))


def test_the_stand_in_is_the_same_bytes_again_and_found_at_once(standin, tmp_path, monkeypatch):
    torch.manual_seed(1)
    second = mini(tmp_path)
    assert second.name == standin.name == place(tmp_path, MINIATURE).name
    assert second.read_bytes() == standin.read_bytes()
    assert second.with_suffix(".json").read_bytes() == standin.with_suffix(".json").read_bytes()
    assert {p.name for p in tmp_path.iterdir()} == {second.name, second.with_suffix(".json").name, ".lock"}

    def never(*args: Any) -> None:
        raise AssertionError("trained or rendered although it is there")

    monkeypatch.setattr(training, "train", never)
    monkeypatch.setattr(training, "shoot_all", never)
    assert mini(tmp_path) == second


def test_the_stand_in_is_loaded_by_name_and_says_what_it_is(standin, monkeypatch):
    monkeypatch.setattr(weights, "find", lambda clip: standin)
    clip = load_clip("phantom")
    description = json.loads(standin.with_suffix(".json").read_text())
    assert clip.name == NAME
    assert "stand-in" in NAME
    assert NAME in description["what"]
    assert "no evidence about faces" in description["what"]
    assert description["sha256"] == clip.sha256 == hashlib.sha256(standin.read_bytes()).hexdigest()
    assert description["parameters"] == sum(p.numel() for p in clip.parameters())
    assert clip.image_size == IMAGE_SIZE
    assert clip.dim % 16 == 0
    assert set(description["held_out_people"]["zero_shot"]) == set(CAPTION_SETS)
    # The weights are those that were measured.
    held_out = shoot_all(people(MINIATURE)[1], MINIATURE, "again")
    assert measure(clip, held_out, MINIATURE) == description["held_out_people"]


def test_training_changes_the_weights_and_follows_the_settings(standin, tmp_path):
    other = make(tmp_path, replace(MINIATURE, steps=MINIATURE.steps + 1))
    assert other.name != standin.name
    assert other.read_bytes() != standin.read_bytes()


def test_a_changed_source_caption_architecture_or_setting_is_another_stand_in(tmp_path, monkeypatch):
    names = {place(tmp_path), place(tmp_path, replace(SETTINGS, seed=1))}
    asked = []

    def other_text(module):
        asked.append(module)
        return {file: digest[::-1] for file, digest in sources(module).items()}

    with monkeypatch.context() as m:
        m.setattr(weights, "sources", other_text)
        names.add(place(tmp_path))
    with monkeypatch.context() as m:
        m.setattr(weights, "load_captions", lambda name: [*load_captions(name)[::-1]])
        names.add(place(tmp_path))
    with monkeypatch.context() as m:
        m.setitem(ARCHITECTURE, "embed_dim", 65)
        names.add(place(tmp_path))
    assert len(names) == 5
    assert asked == [training.__name__]


def test_its_sources_are_all_that_it_draws_learns_and_measures_by():
    files = set(sources(training.__name__))
    ours = {f"reference/standin_clip/{name}.py" for name in ("training", "shots", "words", "weights")}
    phantom = {f"data_manifests/phantom/{name}.py" for name in ("attacks", "camera", "heads", "materials", "surface")}
    shared = {"data_manifests/decode.py", "reference/clip.py", "reference/captions/__init__.py", "reference/metrics.py"}
    assert ours | phantom | shared <= files


def test_the_towers_do_not_depend_on_how_the_stand_in_is_trained():
    """No circle: what is computed with a CLIP keeps its weights' hash, and the stand-in's sources decide those."""
    files = set(sources(clip_module.__name__))
    assert "reference/standin_clip/weights.py" in files
    assert not [file for file in files if file.endswith("training.py") or "phantom" in file]


def test_a_killed_training_leaves_nothing_and_starts_afresh(standin, tmp_path):
    program = (
        "import sys, time; from pathlib import Path; from reference.standin_clip import training as t\n"
        "t.train = lambda *a: print('training', flush=True) or time.sleep(60)\n"
        f"t.make(Path(sys.argv[1]), t.{MINIATURE!r})"
    )
    command = [sys.executable, "-c", program, str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        assert run.stdout.readline() == "training\n"
        os.kill(run.pid, signal.SIGKILL)
    assert {p.name for p in tmp_path.iterdir()} == {".lock"}
    assert mini(tmp_path).read_bytes() == standin.read_bytes()


def numbered(kinds: list[Kind]) -> list[Shot]:
    """A shot of each kind, of which nothing can be seen; picture i is i all over."""
    nothing: dict[str, list[str]] = {modality: [] for modality in MODALITIES}
    return [Shot(np.full((5, IMAGE_SIZE, IMAGE_SIZE), i, np.uint8), kind, nothing) for i, kind in enumerate(kinds)]


class Oracle:
    """A CLIP that knows: an image's feature is that of its right caption where `right` says so, else of the other
    class's. Images are told apart by their first value."""

    def __init__(self, right: np.ndarray, bonafide: np.ndarray) -> None:
        self.real = torch.from_numpy(right == bonafide)

    def encode_image(self, images: torch.Tensor) -> torch.Tensor:
        at = (images[:, 0, 0, 0] * 128 + 127.5).round().long()
        return torch.stack((self.real[at], ~self.real[at]), 1).float() * 3

    def encode_text(self, sentences: list[str]) -> torch.Tensor:
        real = torch.tensor([bool(set(s.split()) & set(LIVE.split())) for s in sentences])
        return torch.stack((real, ~real), 1).float() * 2


@settings(max_examples=20)
@given(st.integers(2, 40), st.integers(0, 2**32 - 1))
def test_zero_shot_figures_are_shares_of_right_classes(count, seed):
    rng = np.random.default_rng(seed)
    bonafide, right = np.arange(count) % 2 == 0, rng.random(count) < 0.7
    shots = numbered([BONAFIDE if b else ATTACKS[0] for b in bonafide])
    result = measure(Oracle(right, bonafide), shots, MINIATURE)
    assert result["pictures"] == count
    for by_modality in result["zero_shot"].values():
        for figures in by_modality.values():
            assert figures["accuracy"] == pytest.approx(right.mean(), abs=1e-4)
            # One score each way: AUC = (TPR + TNR) / 2
            assert figures["auc"] == pytest.approx((right[bonafide].mean() + right[~bonafide].mean()) / 2, abs=1e-4)


class Numbered(Oracle):
    """A CLIP for which picture i goes with the caption "number i" if `right`, else with no caption."""

    def __init__(self, right: np.ndarray) -> None:
        self.right = torch.from_numpy(right)

    def encode_image(self, images: torch.Tensor) -> torch.Tensor:
        at = (images[:, 0, 0, 0] * 128 + 127.5).round().long()
        return torch.eye(len(self.right))[at] * torch.where(self.right[at], 1, -1)[:, None]

    def encode_text(self, sentences: list[str]) -> torch.Tensor:
        numbers = [int(s.split()[1]) if s.startswith("number") else 0 for s in sentences]
        return torch.eye(len(self.right))[numbers] * 2


@settings(max_examples=20)
@given(st.integers(8, 40), st.integers(0, 2**32 - 1))
def test_retrieval_figures_are_shares_of_own_captions_found(count, seed):
    right = np.random.default_rng(seed).random(count) < 0.6
    shots = numbered([(BONAFIDE, ATTACKS[0])[i % 2] for i in range(count)])
    with pytest.MonkeyPatch.context() as m:
        m.setattr(Shot, "caption", lambda shot, modality, rng, full: f"number {shot.planes[0, 0, 0]}")
        result = measure(Numbered(right), shots, MINIATURE)
    for figures in result["retrieval"].values():
        assert figures["captions"] == count
        # A picture of the wrong kind is as far from its own caption as can be.
        assert figures["at_1"] == pytest.approx(right.mean(), abs=1e-4)
        assert figures["at_5"] == pytest.approx(right.mean(), abs=1e-4)
