"""How the stand-in data sets differ: every number of the domain gap, in one place.

The five sets have the public sets' letters (C, S, W, H, P) and imitate their sensors, crops, people, light,
depth scale, offset and polarity, infrared gain, borders, resolution, white balance, JPEG quality and attack mix.
"""

from dataclasses import dataclass

from data_manifests.errors import BadInput

VERSION = "1"
SETS = ("C", "S", "W", "H", "P")

Range = tuple[float, float]


@dataclass(frozen=True)
class Depth:
    """A depth camera and how it encodes its values.

    noise: axial noise in mm at 500 mm, growing with the square of the distance; step: quantum in mm;
    holes: factor on the surfaces' hole chances; smooth: blur in mm; encoding: near_bright, far_bright, mad,
    millimetres or unit; scale: grey levels per mm; offset: grey level of the face plane;
    reach: distance in mm beyond which nothing comes back.
    """

    noise: float
    step: float
    holes: float
    smooth: float
    encoding: str
    scale: Range
    offset: Range
    reach: float


@dataclass(frozen=True)
class Infrared:
    """An infrared camera with its lamp. target: mean grey the gain control aims at; ambient: share of room light;
    gain: jitter of the gain; agc: the largest amplification; blur in px; noise in grey levels."""

    target: Range
    ambient: Range
    gain: Range
    agc: float
    blur: float
    noise: float


@dataclass(frozen=True)
class People:
    """Who comes before the camera. melanin: a range for each group of people; age; glasses: share that wears them."""

    melanin: tuple[Range, ...]
    age: Range
    glasses: float


@dataclass(frozen=True)
class Stance:
    """How they stand: distance in mm, turns of the head (SD in degrees), jitter as shares of the width."""

    distance: Range
    yaw: float
    pitch: float
    roll: float
    zoom_jitter: float
    shift_jitter: float


@dataclass(frozen=True)
class Light:
    """The room's light, the lamp's, and how warm their colour is."""

    ambient: Range
    key: Range
    warmth: Range


@dataclass(frozen=True)
class Photo:
    """How the colour camera takes and saves the picture. white_balance: SD of the gains; jpeg: quality."""

    exposure: Range
    white_balance: float
    contrast: Range
    blur: Range
    noise: Range
    jpeg: tuple[int, int]


@dataclass(frozen=True)
class Domain:
    """One set. Sizes are in px as (height, width), lengths in mm, shares 0 to 1."""

    bands: tuple[str, ...]
    ir_band: str
    width_mm: float
    centre_y: float
    face_only: bool
    borders: Range
    people: People
    stance: Stance
    light: Light
    photo: Photo
    walls: tuple[str, ...]
    registration: int
    missing: float
    depth: Depth
    infrared: Infrared
    size: tuple[int, int]
    side_size: tuple[int, int]


_RGB_NIR = ("R", "G", "B", "850")

DOMAINS = {
    "C": Domain(
        bands=_RGB_NIR,
        ir_band="850",
        width_mm=178.0,
        centre_y=24.0,
        face_only=True,
        borders=(0.0, 0.25),
        people=People(melanin=((0.62, 1.0), (0.12, 0.42), (0.18, 0.48)), age=(0.0, 0.7), glasses=0.10),
        stance=Stance(distance=(420.0, 800.0), yaw=9.0, pitch=5.0, roll=3.5, zoom_jitter=0.05, shift_jitter=0.03),
        light=Light(ambient=(0.25, 0.55), key=(0.5, 1.1), warmth=(-0.3, 0.5)),
        photo=Photo((0.14, 0.30), 0.06, contrast=(0.9, 1.1), blur=(0.4, 0.9), noise=(0.004, 0.012), jpeg=(82, 95)),
        walls=("wall", "wall_green"),
        registration=1,
        missing=0.03,
        depth=Depth(0.8, 0.5, 0.5, 1.0, "far_bright", (1.1, 1.7), (160.0, 192.0), 1200.0),
        infrared=Infrared((0.16, 0.30), (0.02, 0.25), (0.7, 1.4), 6.0, 0.6, 3.0),
        size=(112, 112),
        side_size=(112, 112),
    ),
    "S": Domain(
        bands=_RGB_NIR,
        ir_band="850",
        width_mm=165.0,
        centre_y=24.0,
        face_only=True,
        borders=(0.0, 0.10),
        people=People(melanin=((0.08, 0.36),), age=(0.05, 0.8), glasses=0.18),
        stance=Stance(distance=(320.0, 900.0), yaw=11.0, pitch=6.0, roll=5.0, zoom_jitter=0.07, shift_jitter=0.02),
        light=Light(ambient=(0.5, 0.9), key=(0.2, 0.6), warmth=(-0.1, 0.3)),
        photo=Photo((0.11, 0.30), 0.04, contrast=(0.85, 1.0), blur=(0.7, 1.2), noise=(0.006, 0.016), jpeg=(75, 90)),
        walls=("wall",),
        registration=2,
        missing=0.03,
        depth=Depth(0.5, 0.25, 0.9, 0.5, "near_bright", (0.35, 0.8), (38.0, 75.0), 1200.0),
        infrared=Infrared((0.26, 0.40), (0.0, 0.05), (0.7, 1.4), 8.0, 0.8, 2.0),
        size=(104, 104),
        side_size=(96, 96),
    ),
    "W": Domain(
        bands=_RGB_NIR,
        ir_band="850",
        width_mm=184.0,
        centre_y=20.0,
        face_only=False,
        borders=(0.0, 0.0),
        people=People(melanin=((0.02, 0.3), (0.02, 0.35), (0.5, 0.9)), age=(0.1, 0.9), glasses=0.30),
        stance=Stance(distance=(380.0, 520.0), yaw=5.0, pitch=4.0, roll=3.0, zoom_jitter=0.06, shift_jitter=0.03),
        light=Light(ambient=(0.2, 0.8), key=(0.3, 1.3), warmth=(-0.2, 0.9)),
        photo=Photo((0.12, 0.34), 0.10, contrast=(1.0, 1.2), blur=(0.4, 0.7), noise=(0.003, 0.008), jpeg=(95, 95)),
        walls=("wall", "wall_green", "shirt_dark"),
        registration=1,
        missing=0.03,
        depth=Depth(0.7, 0.25, 0.8, 0.6, "mad", (1.0, 1.0), (0.0, 0.0), 1200.0),
        infrared=Infrared((0.22, 0.34), (0.02, 0.3), (0.8, 1.3), 8.0, 0.6, 2.5),
        size=(128, 112),
        side_size=(128, 112),
    ),
    "H": Domain(
        bands=("R", "G", "B", "850", "1050", "1300", "1550"),
        ir_band="1300",
        width_mm=158.0,
        centre_y=18.0,
        face_only=False,
        borders=(0.0, 0.0),
        people=People(melanin=((0.02, 0.3), (0.05, 0.4), (0.5, 0.85)), age=(0.1, 0.9), glasses=0.25),
        stance=Stance(distance=(480.0, 560.0), yaw=4.0, pitch=4.0, roll=1.5, zoom_jitter=0.03, shift_jitter=0.015),
        light=Light(ambient=(0.3, 0.5), key=(0.5, 0.8), warmth=(-0.4, 0.0)),
        photo=Photo((0.16, 0.24), 0.03, contrast=(0.95, 1.1), blur=(0.3, 0.5), noise=(0.002, 0.006), jpeg=(95, 95)),
        walls=("wall_green", "shirt_dark"),
        registration=1,
        missing=0.03,
        depth=Depth(1.0, 1.0, 0.4, 3.0, "millimetres", (1.0, 1.0), (0.0, 0.0), 9000.0),
        infrared=Infrared((0.26, 0.40), (0.0, 0.03), (0.8, 1.25), 6.0, 0.8, 2.5),
        size=(112, 112),
        side_size=(112, 112),
    ),
    "P": Domain(
        bands=("R", "G", "B", "660", "780", "850", "940", "1050", "1200", "1450", "1550", "1650"),
        ir_band="850",
        width_mm=184.0,
        centre_y=20.0,
        face_only=False,
        borders=(0.0, 0.0),
        people=People(
            melanin=((0.12, 0.38), (0.12, 0.38), (0.12, 0.38), (0.02, 0.25), (0.5, 0.85)), age=(0.0, 0.25), glasses=0.35
        ),
        stance=Stance(distance=(560.0, 700.0), yaw=4.0, pitch=4.0, roll=2.5, zoom_jitter=0.05, shift_jitter=0.025),
        light=Light(ambient=(0.15, 0.35), key=(0.7, 1.1), warmth=(-0.1, 0.2)),
        photo=Photo((0.12, 0.20), 0.04, contrast=(1.0, 1.15), blur=(0.4, 0.7), noise=(0.003, 0.008), jpeg=(95, 95)),
        walls=("wall", "shirt_dark"),
        registration=1,
        missing=0.03,
        depth=Depth(1.1, 1.0, 0.9, 0.8, "unit", (1 / 240.0, 1 / 190.0), (0.32, 0.45), 9000.0),
        infrared=Infrared((0.20, 0.30), (0.0, 0.1), (0.8, 1.25), 6.0, 0.5, 3.5),
        size=(120, 96),
        side_size=(120, 96),
    ),
}


@dataclass(frozen=True)
class Profile:
    """How much to render: `scale` times the native sizes, people and recordings of each set, and frames of each
    recording of C (`c_frames`) and of the other sets."""

    name: str
    scale: float
    c_subjects: int
    c_masks: int
    c_lightings: int
    s_subjects: int
    w_clients: int
    h_clients: int
    p_people: int
    c_frames: int
    frames: int


PROFILES = {
    "cpu": Profile("cpu", 1.0, 300, 36, 1, 36, 24, 24, 75, 2, 2),
    "paper": Profile("paper", 2.0, 600, 99, 6, 200, 72, 51, 360, 6, 6),
    "tiny": Profile("tiny", 0.5, 3, 1, 2, 3, 8, 3, 10, 2, 2),
}


def profile_named(name: str) -> Profile:
    """The profile with this name. Raises `BadInput` on an unknown one."""
    if name not in PROFILES:
        raise BadInput(f"--profile {name!r} does not exist; choose one of {', '.join(PROFILES)}")
    return PROFILES[name]
