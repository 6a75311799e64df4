"""Parametric heads: an ellipsoid with a tapering jaw, Gaussian features, skin, eyes, brows, lips and hair.

Sizes in mm follow common adult anthropometry (face width about 140, sellion to chin about 118, nose protrusion
about 20, pupils about 63 apart), each with a few percent of variation from person to person.
"""

from dataclasses import dataclass

import numpy as np

from data_manifests.phantom.materials import Array, reflectance, skin
from data_manifests.phantom.surface import NOTHING, Grid, Surface, noise, ramp


@dataclass(frozen=True)
class Identity:
    """What stays the same between two recordings of one person. Lengths in mm, shares 0 to 1."""

    seed: int
    male: bool
    age: float
    melanin: float
    redness: float
    half_width: float
    chin: float
    jaw: float
    nose: float
    nose_width: float
    eyes_apart: float
    eye_width: float
    eye_height: float
    eye_tilt: float
    brow: float
    brow_height: float
    lips: float
    mouth: float
    cheeks: float
    iris: str
    hair: str
    hair_style: str
    hairline: float
    beard: str
    own_glasses: bool
    freckles: float


def draw_identity(
    rng: np.random.Generator, melanin: tuple[float, float], age: tuple[float, float], glasses: float
) -> Identity:
    """One person from a set's people: melanin and age ranges, share who wear glasses."""
    male = bool(rng.random() < 0.55)
    mel = float(rng.uniform(*melanin))
    years = float(rng.uniform(*age))

    def vary(mean: float, percent: float) -> float:
        return float(mean * (1.0 + percent / 100.0 * np.clip(rng.standard_normal(), -2.2, 2.2)))

    if rng.random() < max(0.0, years - 0.6) * 1.2:
        hair = "hair_grey"
    elif mel < 0.22 and rng.random() < 0.5:
        hair = str(rng.choice(["hair_brown", "hair_blond"], p=[0.7, 0.3]))
    else:
        hair = "hair_black" if rng.random() < 0.8 else "hair_brown"
    styles, odds = (
        (("short", "fringe", "bald", "crop"), (0.5, 0.2, 0.1 + 0.1 * years, 0.2 - 0.1 * years))
        if male
        else (("long", "tied", "fringe_long", "short"), (0.45, 0.25, 0.2, 0.1))
    )
    beard = str(rng.choice(["none", "stubble", "moustache", "full"], p=[0.5, 0.25, 0.1, 0.15])) if male else "none"
    light_eyes = mel < 0.2 and rng.random() < 0.45
    return Identity(
        seed=int(rng.integers(2**62)),
        male=male,
        age=years,
        melanin=mel,
        redness=float(rng.uniform(0.1, 0.5)),
        half_width=vary(71.5 if male else 68.0, 4),
        chin=vary(119.0 if male else 112.0, 3.5),
        jaw=float(rng.uniform(0.33, 0.42) if male else rng.uniform(0.40, 0.50)),
        nose=vary(20.5 if male else 18.5, 12),
        nose_width=vary(1.0 + 0.25 * max(0.0, mel - 0.3), 8),
        eyes_apart=vary(32.0 if male else 31.0, 4),
        eye_width=vary(15.0, 5),
        eye_height=vary(5.3 if male else 5.9, 10),
        eye_tilt=float(rng.normal(0.06, 0.05)),
        brow=vary(1.0 if male else 0.7, 20),
        brow_height=vary(15.0 if male else 17.5, 8),
        lips=vary(0.9 + 0.35 * mel, 14) * (1.0 if male else 1.12),
        mouth=vary(25.5 if male else 24.0, 6),
        cheeks=vary(5.0, 30),
        iris=str(rng.choice(["iris_blue", "iris_green"])) if light_eyes else "iris_brown",
        hair=hair,
        hair_style=str(rng.choice(styles, p=np.array(odds) / sum(odds))),
        hairline=vary(66.0 if male else 63.0, 6) + (8.0 * years if male else 0.0),
        beard=beard,
        own_glasses=bool(rng.random() < glasses),
        freckles=float(max(0.0, rng.normal(0.0, 0.5))) if mel < 0.3 else 0.0,
    )


@dataclass(frozen=True)
class Expression:
    """smile −0.3 to 1, mouth opening in mm, eye opening 0.2 to 1.2, brows raised in mm, gaze (x, y) in mm."""

    smile: float = 0.0
    opening: float = 0.0
    eyes: float = 1.0
    brows: float = 0.0
    gaze: tuple[float, float] = (0.0, 0.0)


def draw_expression(rng: np.random.Generator) -> Expression:
    """A recording's expression: mostly neutral, sometimes smiling, talking or with narrowed eyes."""
    return Expression(
        smile=float(np.clip(rng.normal(0.25, 0.3), -0.15, 1.0)),
        opening=float(max(0.0, rng.normal(-1.5, 2.0))),
        eyes=float(np.clip(rng.normal(1.0, 0.12), 0.55, 1.2)),
        brows=float(rng.normal(0.0, 1.0)),
        gaze=(float(rng.normal(0.0, 0.9)), float(rng.normal(0.0, 0.4))),
    )


NEUTRAL = Expression()
EYE_Y, NOSE_Y, MOUTH_Y = 6.0, 46.0, 76.0  # heights of the pupils, the nose tip and the mouth line, in mm


def outline(who: Identity, grid: Grid, scale: float = 1.0) -> Array:
    """r (H, W): 1 on the frontal silhouette of the bald head, below 1 inside. `scale` enlarges the head."""
    y = grid.y
    t = np.clip(y / who.chin, 0.0, 1.4)
    half = who.half_width * np.where(y < 0, 1.0 - 0.04 * np.clip(-y / 110, 0, 1) ** 2, 1.0 - who.jaw * t**1.6)
    vertical = np.where(y < 0, np.abs(y / 108.0) ** 2.5, t**5.0)
    side = np.abs(grid.x)[None, :] / (scale * np.maximum(half, 8.0))[:, None]
    return ((side**2.4) + (vertical / scale**2.5)[:, None]).astype(np.float32)


def _relief(who: Identity, face: Expression, grid: Grid) -> Array:
    """Height of the face's features over the head's ellipsoid, (H, W) mm."""
    g, s = grid, max(face.smile, 0.0)
    e = who.eyes_apart
    h = np.zeros(grid.shape, np.float32)
    # Nose: a ridge whose height and width follow the profile, and the two wings.
    rows, cols = g.window(0.0, 22.0, 42.0, 50.0)
    y, x = g.y[rows], g.x[cols]
    profile = np.interp(y, (-16, -6, 6, 24, 38, NOSE_Y, 50, 54, 60), (0, 0.14, 0.22, 0.56, 0.88, 1.0, 0.92, 0.62, 0.1))
    width = who.nose_width * np.interp(y, (-12, 6, 28, NOSE_Y), (6.0, 5.0, 7.0, 9.5))
    h[rows, cols] += (who.nose * profile[:, None] * np.exp(-0.5 * (x[None, :] / width[:, None]) ** 2)).astype(
        np.float32
    )
    h += 0.36 * who.nose * g.pair(13.0 * who.nose_width, NOSE_Y + 1.0, 4.6 * who.nose_width, 5.2)
    h -= 3.5 * g.pair(6.3 * who.nose_width, NOSE_Y + 8.0, 3.0, 2.0)
    # Brow ridge, sockets, eyeballs, cheekbones.
    h += (5.0 if who.male else 3.2) * g.pair(28.0, -12.0 - face.brows, 18.0, 6.5)
    h -= 8.0 * g.pair(e, 4.0, 14.5, 8.5)
    h -= 3.5 * g.pair(14.5, 5.0, 4.5, 7.0)
    h += 5.5 * g.pair(e, EYE_Y, 9.5, 7.0)
    h += (who.cheeks + 2.5 * s) * g.pair(41.0, 29.0 - 2 * s, 17.0, 15.0)
    h -= 2.5 * who.age * g.pair(e, 21.0, 14.0, 3.5)
    # Mouth and chin.
    drop = face.opening
    h += 5.0 * g.bump(0.0, MOUTH_Y - 1.0, 23.0, 13.0)
    h += 2.6 * who.lips * g.bump(0.0, MOUTH_Y - 4.0, 15.0, 3.0)
    h += 3.6 * who.lips * g.bump(0.0, MOUTH_Y + 6.0 + drop, 14.0, 4.0)
    h -= 1.8 * g.bump(0.0, 62.0, 3.2, 7.0)
    h -= 3.6 * g.bump(0.0, 92.0 + drop, 17.0, 4.5)
    h += 11.0 * g.bump(0.0, who.chin - 10.0 + 0.6 * drop, 18.0, 11.0)
    # Folds from the nose's wings to the mouth's corners.
    fold = _fold(grid, 17.0 * who.nose_width, NOSE_Y + 2.0, 32.0 + 4 * s, MOUTH_Y + 2.0)
    h -= (0.8 + 2.0 * s + 2.0 * who.age) * fold
    return h


def _fold(grid: Grid, x0: float, y0: float, x1: float, y1: float) -> Array:
    """Soft mirrored crease between two points, 1 on the line, (H, W)."""
    rows, cols = grid.window(0.0, (y0 + y1) / 2, max(x0, x1) + 8, abs(y1 - y0) / 2 + 8)
    y, x = grid.y[rows][:, None], np.abs(grid.x[cols])[None, :]
    dx, dy = x1 - x0, y1 - y0
    t = np.clip(((x - x0) * dx + (y - y0) * dy) / (dx * dx + dy * dy), 0.0, 1.0)
    d2 = (x - x0 - t * dx - 3.0 * np.sin(np.pi * t)) ** 2 + (y - y0 - t * dy) ** 2
    out = np.zeros(grid.shape, np.float32)
    out[rows, cols] = np.exp(-d2 / (2 * 2.2**2))
    return out


def head_height(who: Identity, face: Expression, grid: Grid) -> tuple[Array, Array]:
    """Height (H, W) mm of face, ears and neck (`NOTHING` elsewhere) and the outline r (H, W)."""
    r = outline(who, grid)
    ellipsoid = 88.0 * (np.sqrt(np.clip(1.0 - r, 0.0, 1.0)) - 1.0) + 2.0
    head = np.where(r < 1.0, ellipsoid + _relief(who, face, grid), NOTHING)
    ear_x, ear_y = who.half_width + 4.5, 20.0
    ear = np.zeros(grid.shape, np.float32)
    for side in (-1.0, 1.0):
        rows, cols = grid.window(side * ear_x, ear_y, 14.0, 34.0)
        d = ((grid.x[cols][None, :] - side * ear_x) / 10.0) ** 2 + ((grid.y[rows][:, None] - ear_y) / 31.0) ** 2
        ear[rows, cols] = np.where(d < 1.0, 1.0 + 0.5 * np.exp(-((d - 0.75) ** 2) / 0.03), 0.0)
    head = np.maximum(head, np.where(ear > 0, -88.0 + 9.0 * ear, NOTHING))
    across = np.clip(1.0 - (grid.x / (54.0 if who.male else 46.0)) ** 2, 0.0, 1.0)
    neck = np.where(across > 0, -104.0 + 50.0 * np.sqrt(across), NOTHING)[None, :] + 0.0 * grid.y[:, None]
    head = np.maximum(head, np.where((grid.y > 70.0)[:, None], neck, NOTHING))
    return head.astype(np.float32), r


def head_surface(who: Identity, face: Expression, grid: Grid, bands: tuple[str, ...], glasses: bool = False) -> Surface:
    """The whole live head, with neck, shirt and hair; all of it is `live` and `warm`."""
    rng = np.random.Generator(np.random.PCG64(who.seed))
    surface = Surface.empty(grid, bands)
    surface.height, r = head_height(who, face, grid)
    _paint_skin(surface, who, face, r, rng)
    _paint_lips(surface, who, face)
    for side in (-1.0, 1.0):
        _paint_eye(surface, who, face, side)
    _paint_brows(surface, who, face, rng)
    _paint_beard(surface, who, r, rng)
    _add_shirt(surface, rng)
    add_hair(surface, who, r, who.hair_style, reflectance(who.hair, bands), rng)
    solid = surface.solid().astype(np.float32)
    surface.maps["live"], surface.maps["warm"] = solid, solid * (1.0 - 0.35 * surface.maps["holes"])
    surface.maps["oval"] = face_oval(who, grid)
    if glasses:
        add_spectacles(surface, who, rng)
    return surface


def face_oval(who: Identity, grid: Grid) -> Array:
    """> 0 inside the outline that a face-mask tool keeps (forehead to chin, ear to ear), (H, W)."""
    y = grid.y
    half = 0.97 * who.half_width * np.where(y < 0, 1.0, 1.0 - 0.95 * who.jaw * np.clip(y / who.chin, 0, 1.4) ** 1.7)
    reach = np.where(y < 0, np.abs(y / 66.0) ** 3.2, np.abs(y / who.chin) ** 6.0)
    return (1.0 - reach[:, None] - (np.abs(grid.x)[None, :] / half[:, None]) ** 2.6).astype(np.float32)


def _paint_skin(surface: Surface, who: Identity, face: Expression, r: Array, rng: np.random.Generator) -> None:
    g, e = surface.grid, who.eyes_apart
    melanin = who.melanin + 0.035 * noise(g, rng, 22.0) + 0.02 * noise(g, rng, 5.0)
    melanin += 0.10 * g.pair(e, EYE_Y + 10.0, 12.0, 4.5) * (0.5 + who.age) + 0.08 * g.pair(e, EYE_Y - 4.0, 15.0, 5.0)
    if who.freckles > 0:
        spots = np.clip(noise(g, rng, 2.6) - 1.5, 0.0, 1.0) * ramp(np.abs(g.y - 28.0), 30.0, 8.0)[:, None]
        melanin += 0.25 * who.freckles * spots
    for _ in range(rng.integers(0, 5)):
        melanin += rng.uniform(0.3, 0.7) * g.bump(rng.uniform(-55, 55), rng.uniform(-50, 105), 1.3, 1.3)
    blood = who.redness + 0.10 * noise(g, rng, 14.0) + 0.06 * noise(g, rng, 2.5)
    blood += 0.35 * g.pair(38.0, 32.0, 14.0, 12.0) + 0.45 * g.bump(0.0, NOSE_Y, 11.0, 9.0)
    blood += 0.3 * g.pair(who.half_width + 4, 20.0, 8.0, 24.0) + 0.2 * g.bump(0.0, who.chin - 8, 12.0, 8.0)
    tone = skin(np.clip(melanin, 0.0, 1.15), np.clip(blood, 0.0, 1.6), surface.bands)
    # Folds, creases and pores: small shading that a height map of this resolution cannot carry.
    lines = 0.32 * (0.35 + who.age) * _fold(g, 18.0 * who.nose_width, NOSE_Y + 3, 33.0, MOUTH_Y + 3)
    for k, yy in enumerate((-48.0, -39.0, -31.0)):
        bend = 3.0 * np.cos(g.x / 24.0 + k)
        wrinkle = np.exp(-(((g.y[:, None] - yy - bend[None, :]) / 1.1) ** 2)) * ramp(np.abs(g.x), 42.0, 25.0)[None, :]
        lines += (max(0.0, who.age - 0.3) * 0.5 + max(0.0, face.brows) * 0.08) * wrinkle
    lines += who.age * 0.2 * g.pair(e, EYE_Y + 13.0, 11.0, 1.2)
    lines += 0.75 * g.pair(6.4 * who.nose_width, NOSE_Y + 8.6, 3.3, 1.9)
    lines += 0.28 * g.pair(18.0 * who.nose_width, NOSE_Y + 1.0, 1.7, 5.0) + 0.25 * g.bump(0.0, NOSE_Y + 12.0, 9.0, 2.0)
    lines += 0.30 * g.bump(0.0, MOUTH_Y + 17.0, 14.0, 3.0)
    shade = np.clip(1.0 - lines, 0.12, 1.0) * (1.0 + 0.035 * noise(g, rng, 1.8))
    # The jaw keeps light off the neck.
    under = 1.0 - 0.5 * ramp(r, 0.98, 1.06) * ramp(g.y, who.chin + 45.0, who.chin + 5.0)[:, None]
    under = np.where((np.abs(g.x) < 60.0)[None, :] & (g.y > 60.0)[:, None], under, 1.0)
    surface.albedo = tone * (shade * under).astype(np.float32)
    surface.height += 0.25 * noise(g, rng, 4.0)
    oily = rng.uniform(0.6, 1.5)
    surface.maps["gloss"] += 0.028 * oily * (1.0 + 0.8 * g.bump(0, 30, 12, 45) + 0.6 * g.bump(0, -45, 35, 18))
    surface.maps["rough"][:] = np.clip(0.40 + 0.04 * noise(g, rng, 8.0), 0.25, 0.6)
    surface.maps["wrap"] += 1.0


def _paint_lips(surface: Surface, who: Identity, face: Expression) -> None:
    g = surface.grid
    s, drop = face.smile, face.opening
    half = who.mouth * (1.0 + 0.16 * max(s, 0.0))
    rows, cols = g.window(0.0, MOUTH_Y + 4.0, half + 6.0, 26.0 + drop)
    at = (rows, cols)
    x, y = g.x[cols][None, :], g.y[rows][:, None]
    u = np.clip(np.abs(x) / half, 0.0, 1.0)
    line = MOUTH_Y - (1.5 + 5.0 * s) * u**2 + 0.8 * np.cos(np.pi * u)
    taper = np.sqrt(np.clip(1.0 - u**2, 0.0, 1.0))
    cupid = 1.0 + 0.22 * np.exp(-(((np.abs(x) - 6.0) / 4.0) ** 2)) - 0.10 * np.exp(-((x / 2.5) ** 2))
    top = line - 7.2 * who.lips * cupid * taper**1.2 * (1.0 - 0.15 * max(s, 0.0))
    bottom = line + drop + 9.0 * who.lips * taper * (1.0 - 0.12 * max(s, 0.0))
    soft = 1.0
    lip = ramp(y - top, -soft, soft) * ramp(bottom - y, -soft, soft) * (u < 1.0)
    red = skin(
        np.full(lip.shape, np.clip(who.melanin * 0.95 + 0.12, 0, 1), np.float32),
        np.full(lip.shape, (1.5 if who.male else 1.75) - 0.5 * who.melanin, np.float32),
        surface.bands,
    )
    red *= (1.0 + 0.07 * np.sin(x * 2.4) + 0.10 * np.clip((y - line) / 8.0, -1, 1)).astype(np.float32)
    surface.tint(lip, red, at)
    surface.set(lip, at, gloss=0.045, rough=0.28)
    if drop > 0.3:
        gap = ramp(y - line, -0.6, 0.6) * ramp(line + drop * taper - y, -0.6, 0.6) * (u < 0.96)
        surface.paint(gap, "mouth_inside", at)
        teeth = gap * ramp(line + min(drop, 5.5) - y, -0.4, 0.4) * ramp(u, 0.85, 0.7) * min(1.0, drop / 3)
        surface.paint(teeth * 0.9, "teeth", at)
        surface.height[at] -= 5.0 * gap
    slit = np.exp(-(((y - line) / 0.95) ** 2)) * ramp(u, 1.05, 0.95)
    surface.tint(0.72 * slit * (1.0 if drop < 0.3 else 0.5), reflectance("mouth_inside", surface.bands), at)
    surface.height[at] -= 1.6 * slit
    corner = np.exp(-(((np.abs(x) - half) / 2.6) ** 2 + ((y - line) / 2.2) ** 2)).astype(np.float32)
    surface.albedo[:, rows, cols] *= 1.0 - 0.35 * corner


def eye_centre(who: Identity, side: float) -> tuple[float, float]:
    """Centre of an eye's opening (x, y) in mm; `side` −1 image left, +1 image right."""
    return side * who.eyes_apart, EYE_Y


def eye_opening(who: Identity, face: Expression, grid: Grid, side: float, at: tuple[slice, slice]) -> tuple[Array, ...]:
    """Inside the window `at`: u (−1 inner to 1 outer corner), upper and lower lid lines, soft opening mask."""
    cx, cy = eye_centre(who, side)
    x, y = grid.x[at[1]][None, :], grid.y[at[0]][:, None]
    u = ((x - cx) * side / who.eye_width).astype(np.float32)
    inside = np.clip(1.0 - u * u, 0.0, 1.0)
    middle = cy - who.eye_tilt * who.eye_width * u + 0.6
    upper = middle - who.eye_height * face.eyes * inside**0.62 * (1.0 - 0.10 * u)
    lower = middle + 0.72 * who.eye_height * (0.5 + 0.5 * face.eyes) * inside**0.75
    lower = lower - 1.4 * max(face.smile, 0.0) * inside
    opening = ramp(y - upper, -0.7, 0.7) * ramp(lower - y, -0.7, 0.7) * (inside > 0)
    return u, upper, lower, opening


def _paint_eye(surface: Surface, who: Identity, face: Expression, side: float) -> None:
    g = surface.grid
    cx, cy = eye_centre(who, side)
    at = g.window(cx, cy, who.eye_width + 8.0, 20.0)
    x, y = g.x[at[1]][None, :], g.y[at[0]][:, None]
    u, upper, lower, opening = eye_opening(who, face, g, side, at)
    inside = (np.abs(u) < 1.05).astype(np.float32)
    # Lid crease above the lashes and the lid's own shade.
    crease = np.exp(-(((y - upper + 4.3) / 1.1) ** 2)) * ramp(np.abs(u), 1.1, 0.75)
    surface.albedo[:, at[0], at[1]] *= 1.0 - (0.30 * crease).astype(np.float32)
    surface.paint(0.9 * opening, "sclera", at)
    ix, iy = cx + face.gaze[0], cy - 0.4 + face.gaze[1]
    d = np.hypot(x - ix, y - iy).astype(np.float32)
    iris = opening * ramp(d, 6.8, 6.0)
    colour = reflectance(who.iris, surface.bands)[:, None, None] * (1.15 - 0.55 * ramp(d, 4.2, 6.0))
    surface.tint(iris, np.asarray(colour, np.float32), at)
    surface.paint(opening * ramp(d, 2.7, 1.9), "pupil", at)
    # The upper lid shades the ball; the ball's corners are pinker.
    surface.albedo[:, at[0], at[1]] *= 1.0 - opening * (0.25 + 0.5 * np.exp(-np.clip(y - upper, 0, 9) / 2.2)).astype(
        np.float32
    )
    surface.tint(
        opening * 0.45 * ramp(-u, 0.72, 0.95),
        skin(np.full(d.shape, who.melanin, np.float32), np.full(d.shape, 1.4, np.float32), surface.bands),
        at,
    )
    surface.set(opening, at, gloss=0.04, rough=0.12, wrap=0.2)
    surface.set(iris, at, holes=0.25)
    bright = 1.3
    for dx in (-1.6,):
        surface.maps["glint"][at] += bright * opening * np.exp(-(((x - ix - dx) ** 2 + (y - iy + 1.7) ** 2) / 1.1))
    lash = np.exp(-(((y - upper + 0.3) / (1.0 if who.male else 1.35)) ** 2)) * ramp(np.abs(u), 1.12, 0.9) * inside
    surface.paint(0.9 * lash, "hair_black", at)
    surface.paint(0.30 * np.exp(-(((y - lower - 0.3) / 0.8) ** 2)) * ramp(np.abs(u), 1.05, 0.8), "hair_black", at)


def _paint_brows(surface: Surface, who: Identity, face: Expression, rng: np.random.Generator) -> None:
    g = surface.grid
    strands = noise(g, rng, 2.0, (1.0, 1.6))
    colour = reflectance(who.hair, surface.bands) * 0.9
    for side in (-1.0, 1.0):
        cx = side * (who.eyes_apart + 1.5)
        at = g.window(cx, -who.brow_height + EYE_Y, 26.0, 14.0)
        x, y = g.x[at[1]][None, :], g.y[at[0]][:, None]
        u = (x - cx) * side / 21.0
        middle = (
            EYE_Y - who.brow_height - face.brows - 2.0 * np.cos(1.2 * (u - 0.3)) + 2.0 + 2.4 * np.clip(u, 0, 1) ** 2
        )
        thick = 3.1 * who.brow * np.clip(1.0 - 0.55 * np.clip(u, 0, 2), 0.15, 1.0)
        mask = np.exp(-(np.abs((y - middle) / thick) ** 2.5)) * ramp(np.abs(u), 1.05, 0.85)
        mask = mask * np.clip(0.85 + 0.25 * strands[at], 0.2, 1.0)
        surface.tint(mask.astype(np.float32), colour, at)
        surface.height[at] += 1.0 * mask
        surface.set(mask, at, gloss=0.01)


def _paint_beard(surface: Surface, who: Identity, r: Array, rng: np.random.Generator) -> None:
    if who.beard == "none":
        return
    g = surface.grid
    strands = noise(g, rng, 2.0, (0.8, 2.2))
    x, y = np.abs(g.x)[None, :], g.y[:, None]
    lip_free = 1.0 - g.bump(0.0, MOUTH_Y + 2.0, 0.62 * who.mouth, 6.0) ** 0.7
    tache = ramp(y, 57.0, 62.0) * ramp(y, 74.0, 69.0) * ramp(x, 31.0, 25.0) * ramp(x, 0.6, 3.0)
    edge = 66.0 + 5.0 * np.sin(x / 9.0) - 0.9 * np.clip(x - 30.0, 0.0, 40.0)
    jaw = ramp(y - edge, 0.0, 12.0) * ramp(x + 0.7 * (y - MOUTH_Y), 18.0, 32.0) * ramp(r, 1.05, 0.98)
    region = {"stubble": np.maximum(tache, jaw), "moustache": tache, "full": np.maximum(tache, jaw)}[who.beard]
    dense = {"stubble": 0.32, "moustache": 0.85, "full": 0.92}[who.beard]
    mask = np.clip(region * lip_free * dense * (0.9 + 0.28 * strands), 0.0, 1.0).astype(np.float32)
    surface.tint(mask, reflectance(who.hair, surface.bands) * 1.1)
    if who.beard != "stubble":
        surface.height += mask * (3.0 + 1.2 * strands)
        surface.set(mask, gloss=0.015, wrap=0.3, holes=0.12)


def add_hair(surface: Surface, who: Identity, r: Array, style: str, colour: Array, rng: np.random.Generator) -> None:
    """Lay hair of a style (short, crop, fringe, bald, long, fringe_long, tied) and colour (B,) over the head."""
    g = surface.grid
    x, y = np.abs(g.x)[None, :], g.y[:, None]
    wave = noise(g, rng, 9.0, (1.0, 3.0))
    up = {"fringe": 24.0, "fringe_long": 26.0, "bald": -60.0}.get(style, 0.0)
    across = np.interp(x, who.half_width * np.array((0, 0.5, 0.78, 0.9, 1.0, 1.2)), (0, 4, 20, 46, 84, 96))
    line = -who.hairline + up * ramp(x, 60.0, 35.0) + across + 1.8 * wave
    volume = {"bald": 0.0, "crop": 2.5, "tied": 5.0, "short": 10.0, "fringe": 11.0}.get(style, 13.0)
    crown = outline(who, g, 1.0 + volume / 90.0)
    mask = ramp(line - y, -2.0, 4.0) * ramp(crown, 1.02, 0.97)
    if style == "bald":
        mask = mask * 0.5
    long = style in ("long", "fringe_long")
    if long:
        inner = who.half_width * (0.93 - 0.10 * np.clip(y / 110.0, 0.0, 1.0))
        panel = ramp(x - inner - 1.5 * wave, 0.0, 5.0) * ramp(
            x, who.half_width + 24 + 2 * wave, who.half_width + 17 + 2 * wave
        )
        mask = np.maximum(mask, panel * ramp(y, -60.0, -40.0))
    fibre = noise(g, rng, 2.2, (0.9, 9.0))
    mask = np.clip(mask * (1.0 + 0.12 * fibre), 0.0, 1.0).astype(np.float32)
    shaded = colour[:, None, None] * np.exp(0.30 * fibre + 0.18 * wave)
    surface.tint(mask, shaded.astype(np.float32))
    side = -70.0 + 30.0 * np.sqrt(np.clip(1.0 - (x / (who.half_width + 26)) ** 2, 0.0, 1.0))
    cap = 88.0 * (np.sqrt(np.clip(1.0 - crown, 0.0, 1.0)) - 1.0) + 0.8 * volume
    cap = np.where(crown < 1.0, cap, side if long else NOTHING)
    cap = np.maximum(cap, side) if long else cap
    raised = np.maximum(surface.height, cap + 1.5 * fibre)
    surface.height = np.where(mask > 0.5, raised, surface.height).astype(np.float32)
    sheen = np.exp(-(((y + 85.0 + 6 * wave) / 14.0) ** 2))
    surface.set(mask, gloss=(0.02 + 0.05 * sheen).astype(np.float32), rough=0.35, wrap=0.2, holes=0.5, warm=0.6)


def _add_shirt(surface: Surface, rng: np.random.Generator) -> None:
    g = surface.grid
    cloth = str(rng.choice(["shirt_dark", "shirt_light", "shirt_red"]))
    collar = 150.0 + 16.0 * np.exp(-((g.x / 32.0) ** 2)) + 0.10 * np.abs(g.x)
    mask = ramp(g.y[:, None] - collar[None, :], 0.0, 3.0)
    surface.paint(mask, cloth)
    rise = ramp(g.y[:, None] - collar[None, :], 0.0, 14.0)
    body = -108.0 + 46.0 * rise + 2.0 * noise(g, rng, 18.0, (1.0, 3.0))
    surface.height = np.where(mask > 0.5, np.maximum(surface.height, body), surface.height)
    surface.set(mask, gloss=0.01, wrap=0.1)


def add_spectacles(surface: Surface, who: Identity, rng: np.random.Generator) -> None:
    """The wearer's own glasses: thin dark rims, faint lens glare, a bridge and side arms."""
    g = surface.grid
    rx, ry = who.eyes_apart * float(rng.uniform(0.66, 0.78)), float(rng.uniform(15.0, 19.0))
    power = float(rng.uniform(2.2, 4.0))
    thick = float(rng.uniform(0.05, 0.12))
    x, y = np.abs(g.x)[None, :], g.y[:, None]
    d = (np.abs((x - who.eyes_apart) / rx) ** power + np.abs((y - EYE_Y - 2.0) / ry) ** power) ** (1.0 / power)
    rim = ramp(np.abs(d - 1.0), thick + 0.05, thick)
    rim = np.maximum(rim, ramp(np.abs(y - 1.0), 1.9, 1.0) * ramp(x, who.eyes_apart - rx + 2, who.eyes_apart - rx))
    rim = np.maximum(
        rim, ramp(np.abs(y), 2.4, 1.4) * ramp(x, who.eyes_apart + rx - 2, who.eyes_apart + rx) * ramp(x, 76, 72)
    )
    lens = ramp(d, 1.0, 0.95)
    lens_height = np.maximum(surface.height, 8.0 - 0.0035 * g.x[None, :] ** 2)
    surface.height = np.where(rim > 0.5, lens_height, surface.height).astype(np.float32)
    surface.paint(rim, "frame")
    surface.set(rim, gloss=0.05, rough=0.25, wrap=0.0, live=0.0, warm=0.3, holes=0.3)
    glare = lens * np.exp(-(((g.x[None, :] * 0.8 + y - rng.uniform(-25, 25)) / 5.0) ** 2))
    surface.maps["glint"] += (0.10 * glare + 0.015 * lens).astype(np.float32)
    surface.maps["holes"] = np.maximum(surface.maps["holes"], 0.15 * lens)
