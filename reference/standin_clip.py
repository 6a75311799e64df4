"""The stand-in CLIP: a small CLIP trained on procedural faces, for where OpenAI's weights cannot be had.

    python -m reference.standin_clip [--out build/clip]

trains it in a few minutes on a CPU, once, and prints where it lies; `load_clip("phantom")` finds it there. It lets
MMDA run from end to end on stand-in data with towers that know something of faces, materials and sensors before
they see any of it, as CLIP's do. It is no CLIP: it never saw a photograph, and nothing measured with it is evidence
about faces.

What it learns from. Pictures of phantom people (`data_manifests/phantom`) whom no data set shows: their draws have
a name space of their own. Every clip has its own camera and light, drawn from wide ranges; the sets' own domains,
subjects and splits are not used, and nothing here was tuned on them. All families of attacks are among the
pictures, as they are among what CLIP saw on the web. Every picture is one modality, as three channels, with a
caption put together from what is true of it: modality, bona fide or attack, medium and material, the person's
looks, light. Its words, and often the whole sentence, are on purpose those of `reference/captions`, so that those
sets mean something to the text tower: zero-shot figures are about new people, not about new words.

How. open_clip's own model, tokenizer and `ClipLoss`; AdamW, cosine schedule; input range `released` (see
`reference/clip.py`). Seeded and on one thread: the same weights again on the same machine and libraries. The file's
name is a hash of the settings and of every source that shapes the result. A JSON file beside it holds settings and
figures, measured on people it was not trained on; the settings had been chosen on yet other people.
"""

import hashlib
import inspect
import json
import platform
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
import tyro
from torch import Tensor

from data_manifests import decode
from data_manifests.errors import BadInput, cli_errors, replacing
from data_manifests.parallel import parallel
from data_manifests.phantom import attacks, camera, heads, materials, recordings, sets, surface
from reference import environment, metrics
from reference.clip import CAPTION_SETS, CAPTIONS, CLASSES, Clip, load_captions, normalise
from reference.data import locked
from reference.training import learning_rate

NAME = "stand-in CLIP"
OUT = Path("build/clip")
NAMESPACE = "standin-clip"  # of every draw: the sets' own draws begin with their letter
IMAGE_SIZE = 48
NATIVE = (112, 112)  # pixels rendered, before they are resized as an index's images are
MODALITIES = ("rgb", "depth", "ir")

ARCHITECTURE: dict[str, Any] = {
    "embed_dim": 64,
    "vision_cfg": {"image_size": IMAGE_SIZE, "patch_size": 12, "width": 96, "head_width": 32, "layers": 3},
    "text_cfg": {"context_length": 24, "vocab_size": 49408, "width": 64, "heads": 4, "layers": 2},
}


@dataclass(frozen=True)
class Settings:
    """What decides the result beside the sources. Each person has `clips` clips of one frame, half bona fide."""

    people: int = 500
    held_out: int = 150
    clips: int = 4
    steps: int = 700
    batch: int = 96
    learning_rate: float = 1e-3
    warmup: float = 0.1
    weight_decay: float = 0.1
    seed: int = 0


# --------------------------------------------------------------------------------------------------------------
# Words
# --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Kind:
    """One kind of what stands before the camera: its species in `attacks.FAMILIES`, adjectives ("a … face") and
    phrases for it, and which looks it has of whom ("wearer" or "victim")."""

    species: tuple[str, ...]
    adjectives: tuple[str, ...]
    phrases: tuple[str, ...]
    whose: str
    looks: tuple[str, ...]


_ALL = ("sex", "skin", "hair", "beard", "glasses")
_CUT = ("cut_e_still", "cut_e_bent", "cut_en_still", "cut_en_bent", "cut_enm_still", "cut_enm_bent")
_RIGID = ("rigidmask", "3dmask", "3dmask_wig", "3dmask_wig_glasses")

BONAFIDE = Kind(
    ("bonafide",),
    (
        *("real", "live", "living", "genuine", "bona fide", "authentic", "natural", "actual", "true", "human"),
        *("original", "bare", "uncovered", "unmasked", "unaltered", "breathing", "honest"),
    ),
    ("a living person", "a real person", "somebody alive", "a bona fide presentation", "a person in the flesh"),
    "wearer",
    _ALL,
)
ATTACKS = (
    Kind(("print",), ("printed", "paper"), ("a face printed on paper", "a print attack"), "victim", _ALL),
    Kind(("cloth",), ("cloth", "printed"), ("a face printed on cloth", "a cloth print attack"), "victim", _ALL),
    Kind(("replay",), ("replayed", "on-screen"), ("a face shown on a screen", "a replay attack"), "victim", _ALL),
    Kind(_CUT, ("cut-out", "paper"), ("a paper face with openings", "a cut-out attack"), "victim", _ALL),
    Kind(_RIGID, ("masked", "resin"), ("a rigid mask of resin", "a rigid mask attack"), "victim", ("skin",)),
    Kind(("silicone",), ("silicone", "masked"), ("a silicone mask", "a silicone mask attack"), "victim", ("skin",)),
    Kind(("papermask",), ("paper", "masked"), ("a paper mask", "a paper mask attack"), "victim", ("skin", "beard")),
    Kind(
        ("transparentmask",), ("plastic", "masked"), ("a clear plastic mask", "a plastic mask attack"), "wearer", _ALL
    ),
    Kind(
        ("halfmask",),
        ("half-masked", "masked"),
        ("a half mask", "a half mask attack"),
        "wearer",
        ("sex", "skin", "hair"),
    ),
    Kind(("fakehead",), ("mannequin", "plastic"), ("a mannequin head", "a fake head attack"), "wearer", ()),
    Kind(
        ("funny_glasses",),
        ("disguised",),
        ("a face behind toy glasses", "a toy glasses attack"),
        "wearer",
        ("sex", "skin", "hair", "beard"),
    ),
    Kind(
        ("paper_glasses",),
        ("disguised",),
        ("a face behind paper glasses", "a paper glasses attack"),
        "wearer",
        ("sex", "skin", "hair", "beard"),
    ),
    Kind(("makeup",), ("made-up", "disguised"), ("a face in make-up", "a make-up attack"), "wearer", ("hair", "beard")),
    Kind(("tattoo",), ("tattooed", "disguised"), ("a face with ink lines", "a tattoo attack"), "wearer", _ALL),
    Kind(("wig",), ("disguised",), ("a head under a wig", "a wig attack"), "wearer", ("skin", "beard")),
)
ANY_ATTACK = (
    ("spoofed", "fake", "counterfeit", "imitated", "copied", "false", "artificial", "pretended"),
    ("a presentation attack", "an attack", "a spoof", "an artefact", "a copy of a face"),
)
_PICTURES = {"rgb": "colour ", "depth": "depth ", "ir": "infrared "}


def _article(words: str) -> str:
    return f"{'an' if words[0] in 'aeiou' else 'a'} {words}"


def _frames(sensor: str, what: str) -> tuple[str, ...]:
    """The ways to say that a sensor ("", "colour ", …) shows `what`."""
    return (
        f"{_article(sensor + 'picture')} of {what}",
        f"{_article(sensor + 'camera picture')} of {what}",
        f"{_article(sensor + 'view')} of {what}",
        f"the {sensor}camera sees {what}",
        f"what the {sensor}camera sees is {what}",
        f"{what} is before the {sensor}camera",
        f"somebody presents {what} to the {sensor}camera",
        f"this {sensor}picture shows {what}",
    )


def _looks(kind: Kind, who: heads.Identity, modality: str) -> list[str]:
    """What can be seen of a person in a modality: infrared has no colours, depth only what has relief."""
    rgb, depth = modality == "rgb", modality == "depth"
    words = []
    if "sex" in kind.looks:
        words.append("man" if who.male else "woman")
    if "skin" in kind.looks and rgb:
        words.append("light skin" if who.melanin < 0.3 else "brown skin" if who.melanin < 0.6 else "dark skin")
    if "hair" in kind.looks:
        colour = f"{who.hair.removeprefix('hair_')} " if rgb else ""
        if who.hair_style == "bald":
            words.append("bald head")
        elif who.hair_style in ("long", "fringe_long"):
            words.append(f"long {colour}hair")
        elif rgb:
            words.append(f"{colour}hair")
    if "beard" in kind.looks and who.beard != "none" and not (depth and who.beard != "full"):
        words.append({"full": "full beard", "moustache": "moustache", "stubble": "stubble"}[who.beard])
    if "glasses" in kind.looks and who.own_glasses and not (depth and kind.whose == "victim"):
        words.append("glasses")
    return words


def _light(domain: sets.Domain, scene: camera.Scene, modality: str) -> list[str]:
    words = ["black ground"] if domain.face_only else []
    if modality == "rgb":
        warmth = float(scene.ambient[0] / scene.ambient[2])
        words += ["warm light"] if warmth > 1.25 else ["cold light"] if warmth < 0.95 else []
        words += ["dark"] if scene.exposure < 0.15 else ["bright"] if scene.exposure > 0.27 else []
    elif modality == "depth":
        words.append("near is bright" if domain.depth.encoding == "near_bright" else "near is dark")
    return words


@dataclass(frozen=True)
class Shot:
    """One frame of a clip: planes uint8 (5, S, S) as in `Faces.images`, what it is, and what its captions may say
    of each modality."""

    planes: np.ndarray
    kind: Kind
    seen: dict[str, list[str]]

    @property
    def bonafide(self) -> bool:
        return self.kind == BONAFIDE  # a worker process hands over a copy


def caption(shot: Shot, modality: str, rng: np.random.Generator, full: bool = False) -> str:
    """A sentence true of one modality of a shot; `full`: with its own kind's name and all that can be seen."""
    adjectives, phrases = shot.kind.adjectives, shot.kind.phrases
    if not shot.bonafide and not full and rng.random() < 0.5:
        adjectives, phrases = ANY_ATTACK
    if full or rng.random() < 0.5:
        what = str(rng.choice(phrases))
    else:
        what = _article(f"{rng.choice(adjectives)} face")
    frames = _frames(_PICTURES[modality] if full or rng.random() < 0.5 else "", what)
    seen = shot.seen[modality]
    said = sorted(rng.permutation(len(seen))[: len(seen) if full else int(rng.integers(0, len(seen) + 1))])
    # No commas between them: each would be a token.
    return " ".join([frames[0] if full else str(rng.choice(frames)), *(seen[i] for i in said)])


def vocabulary() -> set[str]:
    """Every word that a caption of the training may hold, in lower case."""
    kinds = (BONAFIDE, *ATTACKS)
    said = [w for k in kinds for w in (*k.adjectives, *k.phrases)] + [w for words in ANY_ATTACK for w in words]
    said += [f for sensor in ("", *_PICTURES.values()) for f in _frames(sensor, "a face")]
    return {word for text in said for word in text.lower().split()}


# --------------------------------------------------------------------------------------------------------------
# Pictures
# --------------------------------------------------------------------------------------------------------------


def person(key: str) -> heads.Identity:
    """The person of that key: of any skin tone and age; nobody of any set, whose draws begin with its letter."""
    return heads.draw_identity(recordings.generator(NAMESPACE, "person", key), (0.0, 1.0), (0.0, 0.9), 0.25)


def people(settings: Settings) -> tuple[list[str], list[str]]:
    """Keys of the people who are learned from and of those who are held out."""

    def keys(part: str, count: int) -> list[str]:
        return [f"{part}-{settings.seed}-{i}" for i in range(count)]

    return keys("learned", settings.people), keys("held-out", settings.held_out)


def _domain(rng: np.random.Generator) -> sets.Domain:
    """One clip's camera, light and depth habit."""
    encoding = str(rng.choice(["near_bright", "far_bright", "mad", "unit"]))
    scale, offset = {
        "near_bright": ((0.35, 1.7), (40.0, 190.0)),
        "far_bright": ((0.35, 1.7), (40.0, 190.0)),
        "mad": ((1.0, 1.0), (0.0, 0.0)),
        "unit": ((1 / 300.0, 1 / 150.0), (0.2, 0.6)),
    }[encoding]
    band = str(rng.choice(["850", "850", "850", "940", "1050", "1300"]))
    return sets.Domain(
        code=NAMESPACE,
        bands=("R", "G", "B", band),
        ir_band=band,
        width_mm=rng.uniform(150.0, 195.0),
        centre_y=rng.uniform(16.0, 26.0),
        face_only=bool(rng.random() < 0.4),
        borders=(0.0, 0.25),
        melanin=((0.0, 1.0),),
        age=(0.0, 0.9),
        glasses=0.25,
        distance=(300.0, 900.0),
        yaw=9.0,
        pitch=6.0,
        roll=5.0,
        zoom_jitter=0.07,
        shift_jitter=0.03,
        ambient=(0.15, 0.9),
        key=(0.2, 1.3),
        warmth=(-0.4, 0.9),
        exposure=(0.11, 0.34),
        white_balance=0.08,
        contrast=(0.85, 1.2),
        blur=(0.3, 1.2),
        noise=(0.002, 0.016),
        jpeg=(75, 95),
        walls=("wall", "wall_green", "shirt_dark"),
        registration=1,
        missing=0.0,
        depth=sets.Depth(
            rng.uniform(0.4, 1.2), 0.5, rng.uniform(0.3, 1.0), rng.uniform(0.5, 3.0), encoding, scale, offset, 9000.0
        ),
        infrared=sets.Infrared((0.14, 0.42), (0.0, 0.3), (0.7, 1.4), 7.0, rng.uniform(0.5, 0.8), 3.0),
        size=NATIVE,
        side_size=NATIVE,
    )


def shoot(job: tuple[str, str, int]) -> Shot:
    """The one frame of a person's clip: (wearer, victim, number). Even numbers are bona fide."""
    wearer, victim, number = job
    rng = recordings.generator(NAMESPACE, "clip", wearer, number)
    domain = _domain(rng)
    scene = camera.draw_scene(domain, rng)
    kind = BONAFIDE if number % 2 == 0 else ATTACKS[int(rng.integers(len(ATTACKS)))]
    half, step = 0.62 * domain.width_mm, 0.85 * domain.width_mm / NATIVE[1]
    grid = surface.Grid.of(-half, half, domain.centre_y - half, domain.centre_y + half, step)
    cast = attacks.Cast(person(wearer), person(victim), grid, domain.bands)
    scenery = attacks.FAMILIES[str(rng.choice(kind.species))](cast, rng)

    view = camera.Studio(scenery, scene).view(domain, NATIVE, rng)
    mm = domain.width_mm * scene.zoom / NATIVE[1]
    rgb = camera.develop(camera.colour(view, scenery, scene, mm, rng), scene, rng)
    face = camera.oval(view)
    depth = camera.encode_depth(camera.ranges(view, scenery, domain.depth, scene, mm, rng), face, domain.depth, scene)
    ir = camera.infrared(view, scenery, scene, domain.ir_band, domain.infrared, rng)
    shown = face if domain.face_only else np.ones_like(face)
    depth8 = decode.unit_to_8bit(depth) if domain.depth.encoding == "unit" else depth
    planes = np.stack([*rgb.transpose(2, 0, 1), depth8, np.rint(ir).astype(np.uint8)]) * shown.astype(np.uint8)

    who = cast.victim if kind.whose == "victim" else cast.wearer
    seen = {m: _looks(kind, who, m) + _light(domain, scene, m) for m in MODALITIES}
    return Shot(decode.resize(planes, IMAGE_SIZE), kind, seen)


def shots(keys: list[str], settings: Settings, title: str) -> list[Shot]:
    """All clips of these people; whom an attack imitates is one of them too."""
    jobs = [
        (key, keys[(i + 1 + number) % len(keys)], number)
        for i, key in enumerate(keys)
        for number in range(settings.clips)
    ]
    return parallel(shoot, jobs, title)


# --------------------------------------------------------------------------------------------------------------
# Training
# --------------------------------------------------------------------------------------------------------------


def _pixels(taken: list[Shot], which: np.ndarray, modality: np.ndarray) -> Tensor:
    """Pictures uint8 (B, 3, S, S) of the shots `which` (B,), each in its modality (B,), 0 to 2."""
    planes = np.array([(0, 1, 2), (3, 3, 3), (4, 4, 4)])
    return torch.from_numpy(np.stack([taken[i].planes[planes[m]] for i, m in zip(which, modality, strict=True)]))


def train(taken: list[Shot], settings: Settings) -> Any:
    """open_clip's `CLIP` of `ARCHITECTURE`, trained on these shots. Seeds torch and leaves it on one thread."""
    from open_clip.loss import ClipLoss
    from open_clip.model import CLIP
    from open_clip.tokenizer import SimpleTokenizer

    environment.seed_everything(settings.seed, 1)
    model = CLIP(**ARCHITECTURE)
    tokenizer = SimpleTokenizer(context_length=model.context_length)
    loss_of = ClipLoss()
    decayed = [p for n, p in model.named_parameters() if p.ndim >= 2 and "embedding" not in n]
    rest = [p for n, p in model.named_parameters() if p.ndim < 2 or "embedding" in n]
    groups = [{"params": decayed, "weight_decay": settings.weight_decay}, {"params": rest, "weight_decay": 0.0}]
    optimiser = torch.optim.AdamW(groups, lr=0.0, betas=(0.9, 0.98), eps=1e-6, fused=True)
    rng = recordings.generator(NAMESPACE, "training", settings.seed)
    began = time.monotonic()
    for step in range(settings.steps):
        which, modality = rng.integers(0, len(taken), settings.batch), rng.integers(0, 3, settings.batch)
        said = [caption(taken[i], MODALITIES[m], rng) for i, m in zip(which, modality, strict=True)]
        pictures = _pixels(taken, which, modality)
        mirrored = torch.from_numpy(rng.random(settings.batch) < 0.5)[:, None, None, None]
        images = normalise(torch.where(mirrored, pictures.flip(-1), pictures))
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(step, settings.steps, settings.learning_rate, settings.warmup)
        loss = loss_of(*model(images, tokenizer(said)))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        with torch.no_grad():
            model.logit_scale.clamp_(0.0, float(np.log(100.0)))  # as CLIP was trained
        if (step + 1) % 50 == 0 or step + 1 == settings.steps:
            left = (time.monotonic() - began) / (step + 1) * (settings.steps - step - 1)
            print(
                f"training · step {step + 1}/{settings.steps} · loss {loss:.3f} · about {left:.0f} s left", flush=True
            )
    return model


# --------------------------------------------------------------------------------------------------------------
# What it is worth
# --------------------------------------------------------------------------------------------------------------


@torch.no_grad()
def measure(clip: Clip, taken: list[Shot], settings: Settings) -> dict[str, Any]:
    """Figures on shots of people that were not learned from.

    zero_shot: for each caption set and modality, a picture's class is that of the caption nearest to it; accuracy
    over all pictures (half of them bona fide) and AUC of the two classes' difference. retrieval: how often a
    picture's own full caption is the nearest, or among the nearest five, of all different captions of its modality.
    """
    which = np.arange(len(taken))
    bonafide = np.array([shot.bonafide for shot in taken])
    rng = recordings.generator(NAMESPACE, "measure", settings.seed)
    images, retrieval = {}, {}
    for m, modality in enumerate(MODALITIES):
        pixels = normalise(_pixels(taken, which, np.full(len(taken), m)))
        images[modality] = F.normalize(torch.cat([clip.encode_image(part) for part in pixels.split(256)]), dim=-1)
        said = [caption(shot, modality, rng, full=True) for shot in taken]
        different = sorted(set(said))
        texts = F.normalize(clip.encode_text(different), dim=-1)
        nearest = (images[modality] @ texts.T).topk(min(5, len(different))).indices.numpy()
        hit = nearest == np.array([different.index(s) for s in said])[:, None]
        retrieval[modality] = {"captions": len(different), "at_1": hit[:, 0].mean(), "at_5": hit.any(axis=1).mean()}
    zero_shot: dict[str, Any] = {}
    for name in CAPTION_SETS:
        spoof, real = (F.normalize(clip.encode_text(captions), dim=-1) for captions in load_captions(name))
        zero_shot[name] = {}
        for modality, found in images.items():
            score = ((found @ real.T).amax(1) - (found @ spoof.T).amax(1)).numpy()
            accuracy = float(((score > 0) == bonafide).mean())
            zero_shot[name][modality] = {"accuracy": accuracy, "auc": metrics.auc(score, bonafide)}
    return _rounded({"pictures": len(taken), "zero_shot": zero_shot, "retrieval": retrieval})


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _rounded(v) for k, v in value.items()}
    return round(float(value), 4) if isinstance(value, float) else value


# --------------------------------------------------------------------------------------------------------------
# The file
# --------------------------------------------------------------------------------------------------------------


def sources() -> list[Path]:
    """The files of this project that the weights or their figures depend on."""
    modules = (attacks, camera, recordings, heads, materials, sets, surface)
    texts = [CAPTIONS / name / f"{c}.txt" for name in CAPTION_SETS for c in CLASSES]
    return [Path(__file__), *(Path(str(m.__file__)) for m in modules), *texts]


def place(out: Path = OUT, settings: Settings = Settings()) -> Path:
    """Where the weights of these settings and sources lie, or would lie."""
    h = hashlib.sha256(json.dumps([asdict(settings), ARCHITECTURE], sort_keys=True).encode())
    for source in sources():
        h.update(hashlib.sha256(source.read_bytes()).digest())
    for function in (decode.resize, decode.unit_to_8bit, normalise, learning_rate):  # all that is used of their files
        h.update(inspect.getsource(function).encode())
    return out / f"standin-{h.hexdigest()[:16]}.safetensors"


def find() -> Path:
    """The weights in build/clip. Raises `BadInput` with the command that makes them."""
    path = place()
    if not path.exists():
        raise BadInput(f"{path}: the stand-in CLIP is not there; make it with python -m reference.standin_clip")
    return path


def make(out: Path = OUT, settings: Settings = Settings()) -> Path:
    """Train the stand-in unless it is there; its weights, with a JSON file of the same name beside them.

    A second process waits for the one that trains. An interrupted one leaves nothing and is started afresh.
    """
    from safetensors.torch import save

    path = place(out, settings)
    out.mkdir(parents=True, exist_ok=True)
    with locked(out):
        if path.exists():
            return path
        learned, held_out = people(settings)
        taken = shots(learned, settings, "rendering what is learned from")
        model = train(taken, settings)
        weights = save({k: v.contiguous() for k, v in model.state_dict().items()})
        clip = Clip(model, NAME, hashlib.sha256(weights).hexdigest())
        about = {
            "what": f"{NAME}: trained on procedural faces (phantom {sets.VERSION}), no person; no evidence about faces",
            "sha256": clip.sha256,
            "parameters": sum(p.numel() for p in model.parameters()),
            "architecture": ARCHITECTURE,
            "settings": asdict(settings),
            "input_range": "released",
            "pictures": {
                "clips": len(taken),
                "modalities": list(MODALITIES),
                "bonafide": sum(s.bonafide for s in taken),
            },
            "held_out_people": measure(clip, shots(held_out, settings, "rendering people held out"), settings),
            "made_with": {
                "python": platform.python_version(),
                "torch": torch.__version__,
                "cpu": environment.cpu_name(),
            },
        }
        with replacing(path.with_suffix(".json")) as f:
            f.write((json.dumps(about, indent=1) + "\n").encode())
        with replacing(path) as f:  # last: its being there says that all is done
            f.write(weights)
    return path


def main(out: Path = OUT) -> None:
    """Train the stand-in CLIP, or find it trained.

    Args:
        out: folder for its weights and their JSON file; `--clip phantom` looks in the default one.
    """
    path = make(out)
    about = json.loads(path.with_suffix(".json").read_text())["held_out_people"]
    for name, found in about["zero_shot"].items():
        said = ", ".join(f"{m} {f['accuracy']:.1%} (AUC {f['auc']:.3f})" for m, f in found.items())
        print(f"zero-shot accuracy on people held out, captions {name}: {said}")
    print(path)


if __name__ == "__main__":
    with cli_errors():
        tyro.cli(main, prog="python -m reference.standin_clip")
