"""Presentation attacks: each family is a function from the people involved to the surface the cameras see.

Every function takes a `Cast` (wearer or holder, imitated person, grid, bands) and a random generator, and
returns a `Surface`. What a family changes is material, geometry and light, never the recording.
"""

from collections.abc import Callable
from dataclasses import dataclass
from dataclasses import replace as dataclass_replace

import numpy as np
from scipy import ndimage

from data_manifests.phantom.heads import (
    EYE_Y,
    MOUTH_Y,
    NEUTRAL,
    Expression,
    Identity,
    add_hair,
    add_spectacles,
    draw_expression,
    eye_opening,
    face_oval,
    head_surface,
    outline,
)
from data_manifests.phantom.materials import Array, printed, reflectance, skin
from data_manifests.phantom.surface import NOTHING, Grid, Surface, noise, ramp


@dataclass(frozen=True)
class Cast:
    """Who takes part: `wearer` in front of the camera, `victim` who is imitated (may be the same)."""

    wearer: Identity
    victim: Identity
    grid: Grid
    bands: tuple[str, ...]

    def live(self, rng: np.random.Generator) -> Surface:
        """The wearer's own head."""
        return head_surface(self.wearer, draw_expression(rng), self.grid, self.bands, self.wearer.own_glasses)


Attack = Callable[[Cast, np.random.Generator], Surface]


def bonafide(cast: Cast, rng: np.random.Generator) -> Surface:
    """The wearer's own head, no attack."""
    return cast.live(rng)


# -- pictures of faces ------------------------------------------------------------------------------------------


def photo(cast: Cast, rng: np.random.Generator) -> Array:
    """A frontal colour photograph of the victim on the grid, (3, H, W) linear 0 to 1, with its own light."""
    colours = ("R", "G", "B")
    head = head_surface(cast.victim, draw_expression(rng), cast.grid, colours, cast.victim.own_glasses)
    normal = head.normals()
    towards = np.array((rng.uniform(-0.6, 0.6), -rng.uniform(0.1, 0.6), 1.0), np.float32)
    towards /= np.linalg.norm(towards)
    light = 0.45 * head.occlusion() + 0.75 * head.shadow(towards) * np.maximum(
        0.0, (np.tensordot(towards, normal, axes=1) + 0.15) / 1.15
    )
    picture = head.albedo * light * rng.uniform(0.9, 1.25) + 0.6 * head.maps["glint"]
    wall = reflectance(str(rng.choice(["wall", "shirt_light", "wall_green", "shirt_dark"])), colours) * 0.8
    picture = np.where(head.solid(), picture, wall[:, None, None])
    tint = 1.0 + 0.08 * rng.normal(size=(3, 1, 1))
    return np.asarray(np.clip(picture * tint, 0.0, 1.0), np.float32)


def _sheet_edges(cast: Cast, rng: np.random.Generator, half: tuple[float, float]) -> tuple[Array, Array]:
    """Signed distance-like field (positive inside) and the white margin of a held sheet, each (H, W)."""
    g = cast.grid
    cx, cy = rng.normal(0.0, 4.0), 18.0 + rng.normal(0.0, 5.0)
    inside = np.minimum(half[0] - np.abs(g.x - cx)[None, :], half[1] - np.abs(g.y - cy)[:, None])
    margin = ramp(inside, 7.0, 5.0)
    return inside.astype(np.float32), margin


def _fingers(surface: Surface, cast: Cast, rng: np.random.Generator, inside: Array) -> Surface:
    """The holder's fingertips over the left, right or lower edge of a sheet or device."""
    g = cast.grid
    hand = Surface.empty(g, cast.bands)
    tone = np.full(g.shape, cast.wearer.melanin, np.float32) + 0.03 * noise(g, rng, 8.0)
    hand.albedo = skin(np.clip(tone, 0, 1), np.full(g.shape, 0.6, np.float32), cast.bands)
    hand.set(np.ones(g.shape, np.float32), gloss=0.02, wrap=1.0, warm=0.9, live=1.0)
    shape = np.full(g.shape, 9.0, np.float32)
    rows, cols = np.nonzero(inside > 0)
    left, right, bottom = g.x[cols.min()], g.x[cols.max()], g.y[rows.max()]
    for side in (-1, 1):
        edge = left if side < 0 else right
        height = rng.uniform(20.0, 90.0)
        for k in range(int(rng.integers(1, 4))):
            tip = edge - side * rng.uniform(4.0, 16.0)
            y = height + 17.0 * k
            along = np.clip((g.x - tip) * -side, 0.0, None)
            d = np.hypot(along[None, :], g.y[:, None] - y)
            shape = np.minimum(shape, d - 7.0)
    if rng.random() < 0.3:
        d = np.hypot(g.x[None, :] - rng.uniform(-30, 30), np.clip(bottom - 12 - g.y, 0.0, None)[:, None])
        shape = np.minimum(shape, d - 8.0)
    base = float(surface.height[inside > 0].max())
    hand.height = (base + 2.0 + 1.0 * np.sqrt(np.clip(50.0 - (shape + 7.0) ** 2, 0.0, None))).astype(np.float32)
    hand.maps["oval"] = surface.maps["oval"]
    mask = ramp(shape, 0.6, -0.6)
    shadow = 1.0 - 0.45 * ramp(shape, 6.0, 0.0)
    surface.albedo = surface.albedo * shadow
    return hand.over(surface, mask)


def _sheet(cast: Cast, albedo: Array, height: Array, inside: Array, gloss: float) -> Surface:
    surface = Surface.empty(cast.grid, cast.bands)
    surface.albedo = albedo
    surface.height = np.where(inside > 0, height, NOTHING).astype(np.float32)
    surface.maps["gloss"] += gloss
    surface.maps["rough"][:] = 0.35
    surface.maps["warm"] += 0.15
    surface.maps["oval"] = face_oval(cast.victim, cast.grid)
    return surface


def _bend(cast: Cast, rng: np.random.Generator, bent: bool) -> Array:
    """Height (H, W) of a flat or cylindrically bent sheet with a slight ripple, in mm."""
    g = cast.grid
    ripple = rng.uniform(0.2, 0.9) * noise(g, rng, 60.0)
    if not bent:
        return ripple
    radius = rng.uniform(80.0, 200.0)
    curve = radius - np.sqrt(
        np.clip(radius**2 - np.clip(g.x - rng.normal(0, 6), -0.9 * radius, 0.9 * radius) ** 2, 0, None)
    )
    if rng.random() < 0.15:
        along = g.y - 20.0
        return ripple - (along**2 / (2.5 * radius)).astype(np.float32)[:, None]
    return (ripple - curve.astype(np.float32)[None, :]).astype(np.float32)


def paper_print(cast: Cast, rng: np.random.Generator) -> Surface:
    """A colour print of the victim on office paper held up by hand: laser (carbon) or ink-jet (dye), flat or bent."""
    picture = photo(cast, rng)
    carbon = rng.uniform(0.75, 1.0) if rng.random() < 0.5 else rng.uniform(0.0, 0.08)
    return held_print(cast, rng, printed(picture, cast.bands, carbon), rng.random() < 0.4)


def held_print(cast: Cast, rng: np.random.Generator, ink: Array, bent: bool) -> Surface:
    """A sheet with the reflectance `ink` (B, H, W), a white margin and the holder's fingertips, flat or bent."""
    half = (rng.uniform(88.0, 105.0), rng.uniform(118.0, 140.0))
    inside, margin = _sheet_edges(cast, rng, half)
    ink += margin * (reflectance("paper", cast.bands)[:, None, None] - ink)
    surface = _sheet(cast, ink, _bend(cast, rng, bent), inside, rng.uniform(0.01, 0.035))
    return _fingers(surface, cast, rng, inside)


def cloth_print(cast: Cast, rng: np.random.Generator) -> Surface:
    """The victim's face printed on cloth: low contrast, weave, soft folds."""
    g = cast.grid
    picture = photo(cast, rng)
    picture = 0.04 + 0.90 * picture
    picture = ndimage.gaussian_filter(picture, (0, 0.7 / g.step, 0.7 / g.step)).astype(np.float32)
    carbon = rng.uniform(0.3, 0.7) if rng.random() < 0.5 else rng.uniform(0.0, 0.1)
    ink = printed(picture, cast.bands, carbon, "cloth")
    weave = 1.0 + 0.05 * noise(g, rng, 1.6, (4.0, 1.0)) + 0.05 * noise(g, rng, 1.6, (1.0, 4.0))
    ink *= weave.astype(np.float32)
    half = (rng.uniform(92.0, 120.0), rng.uniform(120.0, 145.0))
    inside, _ = _sheet_edges(cast, rng, half)
    folds = rng.uniform(1.0, 3.5) * noise(g, rng, 34.0, (1.0, 2.5)) + rng.uniform(0.3, 1.2) * noise(g, rng, 16.0)
    surface = _sheet(cast, ink, _bend(cast, rng, rng.random() < 0.4) + folds, inside, 0.004)
    surface.maps["rough"][:] = 0.7
    return _fingers(surface, cast, rng, inside)


def replay(cast: Cast, rng: np.random.Generator) -> Surface:
    """A phone, tablet or monitor showing the victim: lit in colour, black in infrared but for the lamp's reflection."""
    g = cast.grid
    picture = np.clip(photo(cast, rng), 0.0, 1.0) ** np.float32(rng.uniform(1.0, 1.25))
    tablet = rng.random() < 0.6
    half = (rng.uniform(76.0, 90.0), rng.uniform(102.0, 118.0)) if tablet else (132.0, 165.0)
    inside, _ = _sheet_edges(cast, rng, half)
    bezel = ramp(inside, 10.5, 9.5)
    surface = _sheet(
        cast, np.zeros((len(cast.bands), *g.shape), np.float32), np.zeros(g.shape, np.float32), inside, 0.04
    )
    surface.paint(np.ones(g.shape, np.float32), "panel")
    white = rng.random() < 0.25
    surface.paint(bezel, "white_plastic" if white else "bezel")
    surface.maps["rough"][:] = 0.05
    surface.set(bezel, gloss=0.02, rough=0.3)
    surface.set(np.ones(g.shape, np.float32), warm=0.35)
    lit = 1.0 - bezel
    tint = np.array((0.92, 1.0, 1.12 + 0.1 * rng.random()), np.float32)[:, None, None]
    surface.emission = (0.02 + picture * tint * rng.uniform(0.55, 1.0)).astype(np.float32) * lit * (inside > 0)
    # Depth cameras often lose the glass; a window or lamp shows as a soft patch in the glass.
    surface.set(lit, holes=float(rng.choice([0.05, 0.35, 0.75])))
    cx, cy = rng.uniform(-50, 50), rng.uniform(-60, 60)
    patch = (
        ramp(np.abs(g.x - cx)[None, :] + 0.0 * g.y[:, None], 22.0, 16.0) * ramp(np.abs(g.y - cy), 32.0, 26.0)[:, None]
    )
    surface.maps["glint"] += np.float32(rng.choice([0.0, 0.03, 0.08])) * patch * lit
    surface.notes.update(moire=float(rng.uniform(0.03, 0.10)), beat=float(rng.uniform(-0.12, 0.12)))
    return _fingers(surface, cast, rng, inside) if tablet else surface


# -- cut-outs -----------------------------------------------------------------------------------------------------


def cut_regions(who: Identity, grid: Grid, parts: str) -> Array:
    """Openings cut in a printed face, 1 where cut, (H, W). `parts`: e eyes, n nose, m mouth."""
    x, y = grid.x[None, :], grid.y[:, None]
    cut = np.zeros(grid.shape, np.float32)
    if "e" in parts:
        d = (np.abs(np.abs(x) - who.eyes_apart) / (who.eye_width + 3.5)) ** 2.5 + (np.abs(y - EYE_Y) / 9.5) ** 2.5
        cut = np.maximum(cut, ramp(d, 1.08, 0.92))
    if "n" in parts:
        half = np.interp(y, (0, 14, 54, 60), (7.0, 9.0, 20.0, 17.0))
        cut = np.maximum(cut, ramp(np.abs(x) - half, 1.0, -1.0) * ramp(y, 4.0, 7.0) * ramp(y, 61.0, 58.0))
    if "m" in parts:
        d = (np.abs(x) / (who.mouth + 5.0)) ** 2.3 + (np.abs(y - MOUTH_Y - 1.0) / 12.5) ** 2.3
        cut = np.maximum(cut, ramp(d, 1.08, 0.92))
    return cut


def cutout(parts: str, bent: bool) -> Attack:
    """A4 print worn before the face with `parts` cut out, so that the wearer's skin shows; held still or bent."""

    def build(cast: Cast, rng: np.random.Generator) -> Surface:
        g = cast.grid
        below = head_surface(cast.wearer, draw_expression(rng), g, cast.bands)
        carbon = rng.uniform(0.75, 1.0) if rng.random() < 0.5 else rng.uniform(0.0, 0.08)
        ink = printed(photo(cast, rng), cast.bands, carbon)
        half = (105.0, 148.0)
        inside, margin = _sheet_edges(cast, rng, half)
        ink += margin * (reflectance("paper", cast.bands)[:, None, None] - ink)
        cut = cut_regions(cast.victim, g, parts)
        lip = np.clip(ndimage.gaussian_filter(cut, 1.2 / g.step) * 2.0, 0.0, 1.0) * (1.0 - cut)
        ink += 0.75 * lip * (reflectance("paper", cast.bands)[:, None, None] - ink)
        height = _bend(cast, rng, bent) + (8.0 if "n" in parts else 15.0) + rng.uniform(-2.0, 3.0) + 2.5 * lip
        sheet = _sheet(cast, ink.astype(np.float32), height, inside, rng.uniform(0.01, 0.03))
        below.albedo *= 1.0 - 0.3 * np.clip(ndimage.gaussian_filter(1.0 - cut, 3.0 / g.step), 0.0, 1.0)
        worn = sheet.over(below, (1.0 - cut) * (inside > 0))
        worn.maps["oval"] = sheet.maps["oval"]
        return worn

    return build


# -- masks --------------------------------------------------------------------------------------------------------


def _mask_shape(cast: Cast, rng: np.random.Generator, smooth: float, out: float) -> tuple[Array, Surface]:
    """The victim's neutral head with its relief smoothed by `smooth` mm and moved forward by `out` mm."""
    shaved = dataclass_replace(cast.victim, beard="none", freckles=0.0)
    model = head_surface(shaved, NEUTRAL, cast.grid, cast.bands)
    height = np.maximum(model.height, -110.0)
    height = ndimage.gaussian_filter(height, smooth / cast.grid.step)
    return (height + out).astype(np.float32), model


def _eye_holes(cast: Cast, widen: float) -> Array:
    hole = np.zeros(cast.grid.shape, np.float32)
    who = cast.victim
    for side in (-1.0, 1.0):
        at = cast.grid.window(side * who.eyes_apart, EYE_Y, who.eye_width + 8, 16.0)
        *_, opening = eye_opening(who, Expression(eyes=widen), cast.grid, side, at)
        hole[at] = np.maximum(hole[at], opening)
    return hole


def _worn(mask: Surface, below: Surface, edge: Array, holes: Array) -> Surface:
    """Put a mask over the wearer's head: its outline `edge` > 0, openings `holes`; the edge shows as a dark gap."""
    gap = np.exp(-((edge / 0.03) ** 2))
    below.albedo *= 1.0 - 0.4 * gap
    below.albedo *= 1.0 - 0.35 * holes
    cover = ramp(edge, -0.02, 0.02) * (1.0 - holes)
    worn = mask.over(below, cover)
    worn.maps["oval"] = mask.maps["oval"]
    return worn


def rigid_mask(cast: Cast, rng: np.random.Generator) -> Surface:
    """A painted resin or plaster mask: the victim's relief smoothed, openings at the eyes, a visible edge."""
    g = cast.grid
    height, model = _mask_shape(cast, rng, rng.uniform(2.0, 4.0), rng.uniform(4.0, 8.0))
    base = str(rng.choice(["resin", "plaster", "white_plastic"], p=[0.65, 0.25, 0.10]))
    mask = Surface.empty(g, cast.bands)
    mask.height = height
    painted = reflectance(base, cast.bands)[:, None, None] * np.ones((1, *g.shape), np.float32)
    tint = ndimage.gaussian_filter(model.albedo[:3], (0, 1.2 / g.step, 1.2 / g.step))
    strength = {"resin": 0.85, "plaster": 0.6, "white_plastic": 0.12}[base]
    painted[:3] += strength * (tint * rng.uniform(0.9, 1.15) - painted[:3])
    grey = tint.mean(axis=0) / max(float(tint.mean()), 1e-3)
    painted[3:] *= np.clip(0.85 + 0.15 * grey, 0.5, 1.1)
    mask.albedo = painted
    everywhere = np.ones(g.shape, np.float32)
    mask.set(everywhere, gloss=rng.uniform(0.045, 0.085), rough=rng.uniform(0.18, 0.30), warm=0.3)
    mask.maps["oval"] = face_oval(cast.victim, g)
    edge = face_oval(cast.victim, g) + 0.04
    holes = _eye_holes(cast, 1.1)
    return _worn(mask, cast.live(rng), edge, holes)


def dressed_mask(wig: bool, glasses: bool) -> Attack:
    """A 3-D printed mask as in CeFA: alone, with a wig, or with a wig and glasses."""

    def build(cast: Cast, rng: np.random.Generator) -> Surface:
        worn = rigid_mask(cast, rng)
        if wig:
            style = str(rng.choice(["short", "fringe", "long", "fringe_long"]))
            colour = reflectance(str(rng.choice(["hair_black", "hair_brown"])), cast.bands) * 1.2
            add_hair(worn, cast.victim, outline(cast.victim, cast.grid, 1.05), style, colour, rng)
        if glasses:
            add_spectacles(worn, cast.victim, rng)
        return worn

    return build


def silicone_mask(cast: Cast, rng: np.random.Generator) -> Surface:
    """A full flexible mask: skin-like paint, the relief kept but soft, no pores, open eyes, fabric-like wig hair."""
    g = cast.grid
    height, model = _mask_shape(cast, rng, rng.uniform(1.2, 2.2), rng.uniform(3.0, 6.0))
    mask = Surface.empty(g, cast.bands)
    mask.height = np.where(height > -95.0, height, NOTHING).astype(np.float32)
    mask.albedo = reflectance("silicone", cast.bands)[:, None, None] * np.ones((1, *g.shape), np.float32)
    paint = ndimage.gaussian_filter(model.albedo[:3], (0, 2.0 / g.step, 2.0 / g.step))
    mask.albedo[:3] = paint * np.array((1.04, 0.97, 0.93), np.float32)[:, None, None] * rng.uniform(0.85, 1.1)
    mask.albedo[:3] *= 1.0 + 0.05 * noise(g, rng, 18.0)
    level = np.clip(paint.mean(axis=0) / max(float(paint.mean()), 1e-3), 0.3, 1.2)
    mask.albedo[3:] *= 0.85 + 0.15 * level
    everywhere = np.ones(g.shape, np.float32)
    mask.set(everywhere, gloss=rng.uniform(0.045, 0.07), rough=rng.uniform(0.40, 0.52), wrap=0.7, warm=0.45)
    mask.height += 0.8 * noise(g, rng, 20.0)
    mask.maps["oval"] = face_oval(cast.victim, g)
    edge = np.where(outline(cast.victim, g) < 1.0, 1.0, -1.0).astype(np.float32)
    edge = np.maximum(edge, np.where((g.y > 80)[:, None] & (np.abs(g.x) < 52)[None, :], 1.0, -1.0))
    below = head_surface(cast.wearer, draw_expression(rng), g, cast.bands)
    worn = _worn(mask, below, edge.astype(np.float32), _eye_holes(cast, 1.05))
    if rng.random() < 0.5:
        add_hair(
            worn,
            cast.victim,
            outline(cast.victim, g),
            cast.victim.hair_style,
            reflectance(cast.victim.hair, cast.bands),
            rng,
        )
    return worn


def paper_mask(cast: Cast, rng: np.random.Generator) -> Surface:
    """A folded or die-cut paper face: printed skin on coarse facets, white cut edges, holes at the eyes."""
    g = cast.grid
    height, _ = _mask_shape(cast, rng, 5.0, rng.uniform(5.0, 9.0))
    cell = rng.uniform(18.0, 26.0)
    ny, nx = max(4, round((g.y[-1] - g.y[0]) / cell)), max(4, round((g.x[-1] - g.x[0]) / cell))
    rows, cols = np.linspace(0, g.shape[0] - 1, ny), np.linspace(0, g.shape[1] - 1, nx)
    coarse = height[np.ix_(rows.astype(int), cols.astype(int))]
    facets = _bilinear(coarse, g.shape)
    mask = Surface.empty(g, cast.bands)
    mask.height = (0.85 * facets + 0.15 * height).astype(np.float32)
    carbon = 0.9 if rng.random() < 0.5 else 0.05
    mask.albedo = printed(photo(cast, rng), cast.bands, carbon)
    edge = face_oval(cast.victim, g) + 0.06
    holes = _eye_holes(cast, 1.25)
    rim = np.maximum(ramp(edge, 0.10, 0.05), np.clip(2.0 * ndimage.gaussian_filter(holes, 1.0 / g.step), 0, 1))
    mask.paint(0.85 * rim, "paper")
    mask.set(np.ones(g.shape, np.float32), gloss=0.015, rough=0.45, warm=0.4)
    mask.maps["oval"] = face_oval(cast.victim, g)
    return _worn(mask, cast.live(rng), edge, holes)


def _bilinear(coarse: Array, shape: tuple[int, int]) -> Array:
    r = np.linspace(0, coarse.shape[0] - 1.001, shape[0])
    c = np.linspace(0, coarse.shape[1] - 1.001, shape[1])
    ri, ci = r.astype(int), c.astype(int)
    fr, fc = (r - ri)[:, None], (c - ci)[None, :]
    top = coarse[np.ix_(ri, ci)] * (1 - fc) + coarse[np.ix_(ri, ci + 1)] * fc
    low = coarse[np.ix_(ri + 1, ci)] * (1 - fc) + coarse[np.ix_(ri + 1, ci + 1)] * fc
    return np.asarray(top * (1 - fr) + low * fr, np.float32)


def transparent_mask(cast: Cast, rng: np.random.Generator) -> Surface:
    """Clear plastic over the live face: skin × 0.85, strong broken glints, a shiny rim."""
    g = cast.grid
    live = cast.live(rng)
    shape, _ = _mask_shape(cast, rng, rng.uniform(3.0, 5.0), rng.uniform(4.0, 8.0))
    edge = face_oval(cast.victim, g) + 0.05
    holes = _eye_holes(cast, 1.2) * float(rng.random() < 0.7)
    cover = ramp(edge, -0.02, 0.02) * (1.0 - holes)
    rim = np.exp(-((edge / 0.05) ** 2))
    live.albedo *= 1.0 - 0.15 * cover
    live.albedo += 0.03 * cover
    live.tint(0.5 * rim, reflectance("white_plastic", cast.bands))
    live.height = np.where(cover > 0.5, 0.6 * np.maximum(live.height, -110) + 0.4 * shape, live.height).astype(
        np.float32
    )
    live.height += cover * 0.5 * noise(g, rng, 9.0)
    live.set(cover, gloss=rng.uniform(0.06, 0.10), rough=rng.uniform(0.13, 0.20), live=0.5, warm=0.6, holes=0.12)
    live.maps["oval"] = face_oval(cast.wearer, g)
    return live


def half_mask(cast: Cast, rng: np.random.Generator) -> Surface:
    """A rigid mask over the lower half of the live face, nose to chin."""
    g = cast.grid
    whole = rigid_mask(cast, rng)
    live = cast.live(rng)
    line = 26.0 - 14.0 * np.exp(-((g.x / 16.0) ** 2))
    side = g.y[:, None] - line[None, :]
    cover = ramp(side.astype(np.float32), -1.0, 1.0) * ramp(face_oval(cast.victim, g) + 0.04, -0.02, 0.02)
    live.albedo *= 1.0 - 0.5 * np.exp(-((side / 2.0) ** 2)).astype(np.float32)
    worn = whole.over(live, cover)
    worn.maps["oval"] = live.maps["oval"]
    return worn


def fake_head(cast: Cast, rng: np.random.Generator) -> Surface:
    """A mannequin or moulded head: smooth generic relief, painted eyes and lips, plastic skin, no warmth."""
    g = cast.grid
    bald = dataclass_replace(cast.victim, hair_style="bald", hairline=200.0, beard="none", age=0.0)
    model = head_surface(bald, NEUTRAL, g, cast.bands)
    height = ndimage.gaussian_filter(np.maximum(model.height, -130.0), rng.uniform(1.2, 2.5) / g.step)
    head = model.copy()
    head.height = np.where(model.solid(), height, NOTHING).astype(np.float32)
    material = str(rng.choice(["mannequin", "resin", "white_plastic"], p=[0.6, 0.3, 0.1]))
    body = reflectance(material, cast.bands)[:, None, None] * np.ones((1, *g.shape), np.float32)
    body[:3] *= rng.uniform(0.75, 1.1)
    painted = model.albedo[:3] / np.maximum(
        ndimage.gaussian_filter(model.albedo[:3], (0, 14 / g.step, 14 / g.step)), 0.02
    )
    body[:3] *= np.clip(painted, 0.08, 1.4)
    body[3:] *= np.clip(0.7 + 0.3 * painted.mean(axis=0), 0.4, 1.1)
    head.albedo = np.clip(body, 0.0, 0.95).astype(np.float32)
    everywhere = np.ones(g.shape, np.float32)
    head.set(
        everywhere,
        gloss=rng.uniform(0.04, 0.07),
        rough=rng.uniform(0.2, 0.35),
        wrap=0.15,
        warm=0.0,
        live=0.0,
        holes=0.0,
    )
    head.maps["glint"] *= 0.4
    if rng.random() < 0.6:
        colour = reflectance(str(rng.choice(["hair_black", "hair_brown", "hair_blond"])), cast.bands)
        style = str(rng.choice(["short", "fringe", "long", "fringe_long"]))
        add_hair(head, cast.victim, outline(cast.victim, g), style, colour, rng)
        head.set(everywhere, warm=0.0)
    return head


# -- partial attacks ----------------------------------------------------------------------------------------------


def funny_glasses(cast: Cast, rng: np.random.Generator) -> Surface:
    """Thick toy glasses whose lenses are discs with printed eyes, over a live face."""
    g = cast.grid
    live = head_surface(cast.wearer, draw_expression(rng), g, cast.bands)
    e = cast.wearer.eyes_apart
    radius = rng.uniform(20.0, 24.0)
    x, y = np.abs(g.x)[None, :], g.y[:, None]
    d = np.hypot(x - e, y - EYE_Y).astype(np.float32)
    disc = ramp(d, radius, radius - 1.2)
    live.height = np.where(disc > 0.5, np.maximum(live.height, 14.0 - 0.002 * g.x[None, :] ** 2), live.height).astype(
        np.float32
    )
    live.paint(disc, "paper")
    look = rng.uniform(-5.0, 5.0, 2)
    centre = e + look[0] * np.sign(g.x)[None, :]
    di = np.hypot(x - centre, y - EYE_Y - look[1]).astype(np.float32)
    iris = printed(np.asarray(rng.uniform(0.05, 0.6, (3, 1, 1)) * np.ones((3, *g.shape)), np.float32), cast.bands, 0.5)
    live.tint(ramp(di, 11.0, 10.0), iris)
    live.tint(ramp(di, 5.5, 4.5), reflectance("carbon", cast.bands))
    rim = ramp(np.abs(d - radius), 3.2, 2.2)
    rim = np.maximum(rim, ramp(np.abs(y - 0.0), 3.5, 2.5) * ramp(x, e - radius + 3, e - radius))
    rim = np.maximum(rim, ramp(np.abs(y + 1.0), 3.5, 2.5) * ramp(x, e + radius - 3, e + radius) * ramp(x, 78, 75))
    live.height = np.where(rim > 0.5, np.maximum(live.height, 16.0 - 0.003 * g.x[None, :] ** 2), live.height).astype(
        np.float32
    )
    colour = reflectance("frame", cast.bands).copy()
    colour[:3] = rng.uniform(0.02, 0.5, 3)
    live.tint(rim, colour)
    both = np.maximum(rim, disc)
    live.set(both, gloss=0.05, rough=0.2, wrap=0.0, live=0.0, warm=0.3, holes=0.05, glint=0.0)
    return live


def paper_glasses(cast: Cast, rng: np.random.Generator) -> Surface:
    """A strip of paper with the victim's printed eye region, cut as glasses and worn on a live face."""
    g = cast.grid
    live = head_surface(cast.wearer, draw_expression(rng), g, cast.bands)
    x, y = np.abs(g.x)[None, :], g.y[:, None]
    shape = 23.0 - 6.0 * np.exp(-((x / 10.0) ** 2)) - 0.10 * np.clip(x - 40.0, 0, 60)
    inside = np.minimum(shape - np.abs(y - EYE_Y + 2.0), cast.wearer.half_width + 1.0 - x).astype(np.float32)
    strip = ramp(inside, -0.6, 0.6)
    carbon = 0.9 if rng.random() < 0.5 else 0.05
    ink = printed(photo(cast, rng), cast.bands, carbon)
    ink += 0.8 * ramp(inside, 3.0, 1.5) * (reflectance("paper", cast.bands)[:, None, None] - ink)
    curve = 15.0 - (g.x[None, :] ** 2) / (2 * rng.uniform(75.0, 130.0))
    live.height = np.where(strip > 0.5, np.maximum(curve, -100.0) + 0 * y, live.height).astype(np.float32)
    live.tint(strip, ink)
    live.set(strip, gloss=0.015, rough=0.45, wrap=0.0, live=0.0, warm=0.35, glint=0.0, holes=0.0)
    return live


def makeup(cast: Cast, rng: np.random.Generator) -> Surface:
    """Heavy make-up on a live face: foundation, contour, eye shadow, lipstick, sometimes painted age lines."""
    g = cast.grid
    live = head_surface(cast.wearer, draw_expression(rng), g, cast.bands)
    region = ramp(face_oval(cast.wearer, g), -0.05, 0.15)
    eyes = _eye_holes(Cast(cast.wearer, cast.wearer, g, cast.bands), 1.0)
    region = region * (1.0 - eyes)
    shift = rng.uniform(-0.25, 0.25)
    base = skin(
        np.full(g.shape, np.clip(cast.wearer.melanin + shift, 0, 1), np.float32),
        np.full(g.shape, 0.25, np.float32),
        cast.bands,
    )
    live.tint(0.65 * region, base * rng.uniform(0.9, 1.05))
    e = cast.wearer.eyes_apart
    dark = np.zeros(g.shape, np.float32)
    dark += 0.55 * g.pair(52.0, 48.0, 9.0, 18.0) + 0.35 * (g.bump(8.5, 30, 2.5, 16) + g.bump(-8.5, 30, 2.5, 16))
    if rng.random() < 0.5:
        for yy in (-50.0, -42.0, -34.0):
            dark += 0.55 * np.exp(-(((g.y - yy) / 1.6) ** 2))[:, None] * ramp(np.abs(g.x), 40, 26)[None, :]
        dark += 0.5 * g.pair(30.0, 62.0, 3.5, 14.0) + 0.5 * g.pair(e, 20.0, 13.0, 2.2)
    live.tint(
        np.clip(dark, 0, 1) * region,
        skin(np.full(g.shape, 0.95, np.float32), np.full(g.shape, 0.3, np.float32), cast.bands),
    )
    tone = np.array([rng.uniform(0.03, 0.35), rng.uniform(0.02, 0.12), rng.uniform(0.03, 0.35)], np.float32)
    shadow = np.concatenate((tone, reflectance("skin_light", cast.bands)[3:] * 0.85))
    live.tint(np.clip(0.85 * g.pair(e, -2.0, 14.0, 4.5), 0, 1) * (1 - eyes), shadow)
    lips = g.bump(0, MOUTH_Y + 1.0, 0.62 * cast.wearer.mouth, 5.5)
    lipstick = np.concatenate(
        (np.array((0.42, 0.03, 0.06), np.float32), reflectance("skin_light", cast.bands)[3:] * 0.9)
    )
    live.tint(np.clip(1.5 * lips - 0.35, 0, 0.85), lipstick)
    liner = np.clip(ndimage.gaussian_filter(eyes, 1.2 / g.step) * 2.5, 0, 1) * (1 - eyes)
    live.tint(0.9 * liner, reflectance("carbon", cast.bands))
    live.set(region, gloss=0.012, rough=0.55)
    return live


def tattoo(cast: Cast, rng: np.random.Generator) -> Surface:
    """Dark tribal lines inked or stuck on a live face: carbon pigment stays dark in infrared, dye fades."""
    g = cast.grid
    live = cast.live(rng)
    x, y = g.x[None, :], g.y[:, None]
    pattern = np.zeros(g.shape, np.float32)
    # The species is one printed motif: its lines are fixed, placement and ink vary.
    motif = np.random.Generator(np.random.PCG64(1))
    side = float(motif.choice([-1.0, 1.0]))
    x, y = x - rng.normal(0.0, 2.0), y - rng.normal(0.0, 2.0)
    for k in range(8):
        cx, cy = side * motif.uniform(30, 50), motif.uniform(-45, 85)
        radius, turn, bend = motif.uniform(9, 24), motif.uniform(0, 2 * np.pi), motif.uniform(0.6, 1.8)
        dx = x - cx
        angle = (np.arctan2(y - cy, dx) - turn + np.pi) % (2 * np.pi) - np.pi
        d = np.abs(np.hypot(dx, y - cy) - radius * (1 + 0.25 * np.sin(2 * angle + k)))
        width = 4.6 * np.clip(1.0 - np.abs(angle) / bend, 0.0, 1.0)
        pattern = np.maximum(pattern, ramp(d - width, 0.6, -0.6) * (np.abs(angle) < bend))
    forehead = np.abs(x - 3 * np.sin(y / 4.0))
    pattern = np.maximum(pattern, ramp(forehead - 2.5, 0.5, -0.5) * ramp(y, -20, -24) * ramp(y, -62, -58))
    pattern *= ramp(face_oval(cast.wearer, g), -0.02, 0.08) * live.maps["live"]
    ink = "carbon" if rng.random() < 0.6 else "tattoo_dye"
    live.paint(0.9 * pattern, ink)
    return live


def wig(cast: Cast, rng: np.random.Generator) -> Surface:
    """Synthetic hair on a live head: glossy, too even, low over the forehead."""
    live = head_surface(cast.wearer, draw_expression(rng), cast.grid, cast.bands)
    colour = reflectance(str(rng.choice(["hair_blond", "hair_brown", "hair_black"])), cast.bands).copy()
    colour[:3] *= rng.uniform(0.8, 1.6, 3)
    colour[3:] = 0.55
    style = str(rng.choice(["fringe_long", "long", "fringe"]))
    add_hair(live, cast.wearer, outline(cast.wearer, cast.grid, 1.05), style, np.clip(colour, 0, 0.9), rng)
    return live


FAMILIES: dict[str, Attack] = {
    "bonafide": bonafide,
    "print": paper_print,
    "cloth": cloth_print,
    "replay": replay,
    "rigidmask": rigid_mask,
    "3dmask": dressed_mask(wig=False, glasses=False),
    "3dmask_wig": dressed_mask(wig=True, glasses=False),
    "3dmask_wig_glasses": dressed_mask(wig=True, glasses=True),
    "silicone": silicone_mask,
    "flexiblemask": silicone_mask,
    "papermask": paper_mask,
    "transparentmask": transparent_mask,
    "halfmask": half_mask,
    "fakehead": fake_head,
    "funny_glasses": funny_glasses,
    "paper_glasses": paper_glasses,
    "makeup": makeup,
    "tattoo": tattoo,
    "wig": wig,
    "cut_e_still": cutout("e", bent=False),
    "cut_e_bent": cutout("e", bent=True),
    "cut_en_still": cutout("en", bent=False),
    "cut_en_bent": cutout("en", bent=True),
    "cut_enm_still": cutout("enm", bent=False),
    "cut_enm_bent": cutout("enm", bent=True),
}
"""Species → its builder: the attack families of the data-set sheet, split where physics or geometry differ."""
