"""The stand-in's pictures: phantom people whom no data set shows, each before cameras and lights of their own."""

from dataclasses import dataclass

import numpy as np

from data_manifests import decode
from data_manifests.index import MODALITIES
from data_manifests.parallel import parallel
from data_manifests.phantom import attacks, camera, heads, recordings, sets, surface
from reference.standin_clip import words
from reference.standin_clip.weights import IMAGE_SIZE, Settings

NAMESPACE = "standin-clip"  # of every draw: the sets' own draws begin with their letter
NATIVE = (112, 112)  # pixels rendered, before they are resized as an index's images are


@dataclass(frozen=True)
class Shot:
    """One frame of a recording: planes uint8 (5, S, S) as in `Faces.images`, what it is, and the details that can be
    seen in each modality."""

    planes: np.ndarray
    kind: words.Kind
    details: dict[str, list[str]]

    @property
    def bonafide(self) -> bool:
        return self.kind == words.BONAFIDE  # a worker process hands over a copy

    def caption(self, modality: str, rng: np.random.Generator, full: bool = False) -> str:
        """A sentence true of one modality, as `words.sentence` draws it."""
        return words.sentence(self.kind, modality, self.details[modality], rng, full)


def person(key: str) -> heads.Identity:
    """The person of that key: of any skin tone and age, and in no data set, since their draws begin otherwise."""
    return heads.draw_identity(recordings.generator(NAMESPACE, "person", key), (0.0, 1.0), (0.0, 0.9), 0.25)


def people(settings: Settings) -> tuple[list[str], list[str]]:
    """Keys of the people who are learned from and of those who are held out."""

    def keys(part: str, count: int) -> list[str]:
        return [f"{part}-{settings.seed}-{i}" for i in range(count)]

    return keys("learned", settings.people), keys("held-out", settings.held_out)


def _domain(rng: np.random.Generator) -> sets.Domain:
    """One recording's camera, light and depth habit."""
    encoding = str(rng.choice(["near_bright", "far_bright", "mad", "unit"]))
    scale, offset = {
        "near_bright": ((0.35, 1.7), (40.0, 190.0)),
        "far_bright": ((0.35, 1.7), (40.0, 190.0)),
        "mad": ((1.0, 1.0), (0.0, 0.0)),
        "unit": ((1 / 300.0, 1 / 150.0), (0.2, 0.6)),
    }[encoding]
    band = str(rng.choice(["850", "850", "850", "940", "1050", "1300"]))
    return sets.Domain(
        bands=("R", "G", "B", band),
        ir_band=band,
        width_mm=rng.uniform(150.0, 195.0),
        centre_y=rng.uniform(16.0, 26.0),
        face_only=bool(rng.random() < 0.4),
        borders=(0.0, 0.25),
        people=sets.People(melanin=((0.0, 1.0),), age=(0.0, 0.9), glasses=0.25),
        stance=sets.Stance((300.0, 900.0), yaw=9.0, pitch=6.0, roll=5.0, zoom_jitter=0.07, shift_jitter=0.03),
        light=sets.Light(ambient=(0.15, 0.9), key=(0.2, 1.3), warmth=(-0.4, 0.9)),
        photo=sets.Photo(
            (0.11, 0.34), 0.08, contrast=(0.85, 1.2), blur=(0.3, 1.2), noise=(0.002, 0.016), jpeg=(75, 95)
        ),
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
    """The one frame of a person's recording: (wearer, victim, number). Even numbers are bona fide."""
    wearer, victim, number = job
    rng = recordings.generator(NAMESPACE, "clip", wearer, number)
    domain = _domain(rng)
    scene = camera.draw_scene(domain, rng)
    kind = words.BONAFIDE if number % 2 == 0 else words.ATTACKS[int(rng.integers(len(words.ATTACKS)))]
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
    visible = face if domain.face_only else np.ones_like(face)
    depth8 = decode.unit_to_8bit(depth) if domain.depth.encoding == "unit" else depth
    planes = np.stack([*rgb.transpose(2, 0, 1), depth8, np.rint(ir).astype(np.uint8)]) * visible.astype(np.uint8)

    who = cast.victim if kind.whose == "victim" else cast.wearer
    details = {m: words.looks(kind, who, m) + words.light(domain, scene, m) for m in MODALITIES}
    return Shot(decode.resize(planes, IMAGE_SIZE), kind, details)


def shoot_all(keys: list[str], settings: Settings, title: str) -> list[Shot]:
    """All recordings of these people; whom an attack imitates is one of them too."""
    jobs = [
        (key, keys[(i + 1 + number) % len(keys)], number)
        for i, key in enumerate(keys)
        for number in range(settings.recordings)
    ]
    return parallel(shoot, jobs, title)
