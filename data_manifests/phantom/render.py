"""Render a recording into its footage: people, attack, scene, cameras."""

from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np

from data_manifests.phantom import camera
from data_manifests.phantom.attacks import FAMILIES, Cast
from data_manifests.phantom.heads import Identity, draw_identity
from data_manifests.phantom.materials import Array
from data_manifests.phantom.recordings import Recording, generator
from data_manifests.phantom.sets import DOMAINS, Domain, Profile
from data_manifests.phantom.surface import Grid


@dataclass
class Frame:
    """One moment. `rgb` (h, w, 3) uint8; `depth` (h', w') in the set's encoding (uint8, uint16 or float32);
    `infrared` by band, each (h', w') float32 grey levels 0 to 255; `thermal` (h', w') 0 to 1; `lost` names the
    modality that this frame lacks ("depth", "ir" or "")."""

    number: int
    rgb: np.ndarray
    depth: np.ndarray
    infrared: dict[str, Array]
    thermal: Array
    lost: str


@dataclass
class Footage:
    """What the cameras took of one recording: its frames, and the JPEG quality of the set's camera."""

    recording: Recording
    frames: list[Frame] = field(default_factory=list)
    jpeg: int = 95


@lru_cache(maxsize=256)
def person(dataset: str, key: str, people: int) -> Identity:
    """The person with this key in a set; `people` picks the group that gives the range of skin tones."""
    domain = DOMAINS[dataset]
    tones = domain.people.melanin[people % len(domain.people.melanin)]
    return draw_identity(generator(dataset, "person", key), tones, domain.people.age, domain.people.glasses)


def native_size(size: tuple[int, int], profile: Profile) -> tuple[int, int]:
    """Size (height, width) in px under a profile."""
    return round(size[0] * profile.scale), round(size[1] * profile.scale)


def grid_of(domain: Domain, profile: Profile) -> Grid:
    """The surface grid of a set: a little more than the crop, a little finer than its pixels."""
    height, width = native_size(domain.size, profile)
    half = 0.62 * domain.width_mm
    tall = half * height / width
    step = 0.85 * domain.width_mm / width
    return Grid.of(-half, half, domain.centre_y - tall, domain.centre_y + tall, step)


def render(recording: Recording, profile: Profile) -> Footage:
    """Render a recording. The pixels depend only on its name, its frame numbers, `VERSION` and the profile."""
    domain = DOMAINS[recording.dataset]
    rng = generator(recording.dataset, recording.name)
    scene = camera.draw_scene(domain, rng)
    cast = Cast(
        person(recording.dataset, recording.wearer, recording.people),
        person(recording.dataset, recording.victim, recording.people),
        grid_of(domain, profile),
        domain.bands,
    )
    surface = FAMILIES[recording.species](cast, rng)
    studio = camera.Studio(surface, scene)
    size, side = native_size(domain.size, profile), native_size(domain.side_size, profile)
    footage = Footage(recording, jpeg=scene.jpeg)
    for number in recording.frames:
        footage.frames.append(_frame(recording, number, domain, studio, size, side))
    return footage


def _moved(image: Any, by: tuple[int, int]) -> Any:
    """The picture shifted by whole pixels (right, down), its edge repeated: imperfect registration."""
    rows = np.clip(np.arange(image.shape[0]) - by[1], 0, image.shape[0] - 1)
    cols = np.clip(np.arange(image.shape[1]) - by[0], 0, image.shape[1] - 1)
    return image[np.ix_(rows, cols)]


def _frame(
    recording: Recording,
    number: int,
    domain: Domain,
    studio: camera.Studio,
    size: tuple[int, int],
    side: tuple[int, int],
) -> Frame:
    scene, surface = studio.scene, studio.surface
    rng = generator(recording.dataset, recording.name, number)
    pose_seed = int(rng.integers(2**62))
    mm = domain.width_mm * scene.zoom / size[1]
    side_mm = domain.width_mm * scene.zoom / side[1]
    view = studio.view(domain, size, np.random.Generator(np.random.PCG64(pose_seed)))
    rgb = camera.develop(camera.colour(view, surface, scene, mm, rng), scene, rng)
    if domain.face_only:
        rgb = rgb * camera.oval(view)[..., None].astype(np.uint8)
    aside = view
    if side != size:
        aside = studio.view(domain, side, np.random.Generator(np.random.PCG64(pose_seed)))
    face = camera.oval(aside)
    z = camera.ranges(aside, surface, domain.depth, scene, side_mm, rng)
    depth = camera.encode_depth(z, face, domain.depth, scene)
    infrared = {b: camera.infrared(aside, surface, scene, b, domain.infrared, rng) for b in domain.bands[3:]}
    if domain.face_only:
        depth = np.where(face, depth, depth.dtype.type(0))
        infrared = {b: image * face for b, image in infrared.items()}
    depth = _moved(depth, scene.offset)
    infrared = {b: _moved(image, scene.offset) for b, image in infrared.items()}
    thermal = camera.warmth(aside, rng)
    lost = lost_modality(domain, generator(recording.dataset, recording.name, number, "lost"))
    return Frame(number, rgb, depth, infrared, thermal, lost)


def lost_modality(domain: Domain, rng: np.random.Generator) -> str:
    """ "depth", "ir" or "": the modality that a frame lacks, at the set's rate and whatever the class."""
    draw = rng.random()
    return "" if draw >= domain.missing else "depth" if draw < 0.6 * domain.missing else "ir"
