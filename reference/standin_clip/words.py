"""What the stand-in's pictures show, and the sentences that are true of them."""

from dataclasses import dataclass

import numpy as np

from data_manifests.phantom import camera, heads, sets


@dataclass(frozen=True)
class Kind:
    """One kind of what stands before the camera.

    species: its keys in `attacks.FAMILIES`; adjectives ("a … face") and phrases that name it; whose looks it has
    ("wearer" or "victim"), and which.
    """

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
_SENSORS = {"rgb": "colour ", "depth": "depth ", "ir": "infrared "}


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


def looks(kind: Kind, who: heads.Identity, modality: str) -> list[str]:
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


def light(domain: sets.Domain, scene: camera.Scene, modality: str) -> list[str]:
    """What can be seen of a recording's light, background and depth habit in a modality."""
    words = ["black ground"] if domain.face_only else []
    if modality == "rgb":
        warmth = float(scene.ambient[0] / scene.ambient[2])
        words += ["warm light"] if warmth > 1.25 else ["cold light"] if warmth < 0.95 else []
        words += ["dark"] if scene.exposure < 0.15 else ["bright"] if scene.exposure > 0.27 else []
    elif modality == "depth":
        words.append("near is bright" if domain.depth.encoding == "near_bright" else "near is dark")
    return words


def sentence(kind: Kind, modality: str, details: list[str], rng: np.random.Generator, full: bool = False) -> str:
    """A sentence true of one modality of a picture of `kind`, of which `details` can be seen.

    full: name the kind itself, the sensor and all details. Otherwise the draws decide: an attack's kind may be left
    open, the sensor left out, and some of the details are taken.
    """
    adjectives, phrases = kind.adjectives, kind.phrases
    if kind != BONAFIDE and not full and rng.random() < 0.5:
        adjectives, phrases = ANY_ATTACK
    if full or rng.random() < 0.5:
        what = str(rng.choice(phrases))
    else:
        what = _article(f"{rng.choice(adjectives)} face")
    frames = _frames(_SENSORS[modality] if full or rng.random() < 0.5 else "", what)
    count = len(details)
    places = sorted(rng.permutation(count)[: count if full else int(rng.integers(0, count + 1))])
    # No commas between them: each would be a token.
    return " ".join([frames[0] if full else str(rng.choice(frames)), *(details[i] for i in places)])


def vocabulary() -> set[str]:
    """Every word of the sentences' frames and of the names of kinds, in lower case."""
    names = [name for kind in (BONAFIDE, *ATTACKS) for name in (*kind.adjectives, *kind.phrases)]
    frames = [frame for sensor in ("", *_SENSORS.values()) for frame in _frames(sensor, "a face")]
    general = [name for group in ANY_ATTACK for name in group]
    return {word for text in (*names, *general, *frames) for word in text.lower().split()}
