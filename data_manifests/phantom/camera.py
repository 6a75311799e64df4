"""From a posed surface to the images of the colour, infrared and depth cameras.

Geometry: a pinhole at `distance` mm looks at the surface turned by yaw, pitch and roll; each pixel's ray is
followed to the height field by relaxation. Shading: Lambert with a wrap term for sub-surface light and a Blinn
lobe; up to three visible lights and an ambient term; the infrared lamp sits at the camera and falls off with 1/z².
"""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from data_manifests.phantom.materials import Array, reflectance
from data_manifests.phantom.sets import Depth, Domain, Infrared
from data_manifests.phantom.surface import CHANNELS, Surface, ramp

_LAMP = np.array((0.04, -0.02, 0.0), np.float32)[:, None, None]  # the infrared lamp sits 20 mm beside the lens
_PIVOT = np.array((0.0, 20.0, -60.0), np.float32)
_MAP = {name: 5 + i for i, name in enumerate(CHANNELS)}  # rows of the gathered stack: 3 normal, 2 light, maps


@dataclass(frozen=True)
class Scene:
    """The conditions of a recording: everything that stays fixed over its frames."""

    distance: float
    pose: tuple[float, float, float]
    zoom: float
    shift: tuple[float, float]
    lights: tuple[tuple[Array, Array], ...]  # (direction towards the light (3,), colour (3,))
    ambient: Array
    exposure: float
    white_balance: Array
    contrast: float
    blur: float
    noise: float
    jpeg: int
    wall: str
    wall_mm: float
    offset: tuple[int, int]
    ir_target: float
    ir_ambient: float
    depth_scale: float
    depth_offset: float


def draw_scene(domain: Domain, rng: np.random.Generator) -> Scene:
    """Draw a recording's conditions. The draws do not depend on the class."""
    warmth = rng.uniform(*domain.light.warmth)
    tint = np.array((1.0 + 0.25 * warmth, 1.0, 1.0 - 0.35 * warmth), np.float32)
    lights = []
    for strength in (1.0, 0.35, 0.2)[: int(rng.integers(1, 4))]:
        side, up = rng.uniform(-0.9, 0.9), rng.uniform(0.05, 0.9)
        towards = np.array((side, -up, 1.0), np.float32)
        lights.append((towards / np.linalg.norm(towards), tint * np.float32(strength * rng.uniform(*domain.light.key))))
    border = 1.0 + rng.uniform(*domain.borders)
    slack = 0.5 * domain.width_mm * (border - 1.0) * rng.uniform(-0.6, 0.6, 2)
    return Scene(
        distance=rng.uniform(*domain.stance.distance),
        pose=tuple(np.deg2rad(rng.normal(0.0, (domain.stance.yaw, domain.stance.pitch, domain.stance.roll)))),
        zoom=border * (1.0 + domain.stance.zoom_jitter * np.clip(rng.normal(), -2, 2)),
        shift=tuple(slack + domain.width_mm * domain.stance.shift_jitter * np.clip(rng.normal(size=2), -2, 2)),
        lights=tuple(lights),
        ambient=tint * np.float32(rng.uniform(*domain.light.ambient)),
        exposure=rng.uniform(*domain.photo.exposure),
        white_balance=(1.0 + domain.photo.white_balance * rng.normal(size=3) * (1.0, 0.3, 1.0)).astype(np.float32),
        contrast=rng.uniform(*domain.photo.contrast),
        blur=rng.uniform(*domain.photo.blur),
        noise=rng.uniform(*domain.photo.noise),
        jpeg=int(rng.integers(domain.photo.jpeg[0], domain.photo.jpeg[1] + 1)),
        wall=str(rng.choice(domain.walls)),
        wall_mm=rng.uniform(600.0, 1600.0),
        offset=(int(rng.integers(-1, 2) * domain.registration), int(rng.integers(-1, 2) * domain.registration)),
        ir_target=rng.uniform(*domain.infrared.target) * rng.uniform(*domain.infrared.gain),
        ir_ambient=rng.uniform(*domain.infrared.ambient),
        depth_scale=rng.uniform(*domain.depth.scale),
        depth_offset=rng.uniform(*domain.depth.offset),
    )


def rotation(yaw: float, pitch: float, roll: float) -> Array:
    """Rotation matrix (3, 3) from the surface's axes to the camera's; angles in radians."""
    cy, sy, cp, sp, cr, sr = np.cos(yaw), np.sin(yaw), np.cos(pitch), np.sin(pitch), np.cos(roll), np.sin(roll)
    turn = np.array(((cy, 0, sy), (0, 1, 0), (-sy, 0, cy)))
    nod = np.array(((1, 0, 0), (0, cp, -sp), (0, sp, cp)))
    tilt = np.array(((cr, -sr, 0), (sr, cr, 0), (0, 0, 1)))
    return np.asarray(tilt @ nod @ turn, np.float32)


@dataclass
class View:
    """What each pixel (h, w) sees: stack (K, h, w) of gathered maps, `z` distance from the camera in mm,
    `cover` 1 on the surface, `grid_x`, `grid_y` the surface point in mm, `normal` and the unit vector to the
    camera `ahead`, each (3, h, w) in the camera's axes."""

    stack: Array
    z: Array
    cover: Array
    grid_x: Array
    grid_y: Array
    normal: Array
    ahead: Array


class Studio:
    """A surface under one scene, ready for several views: it computes the derived maps once."""

    def __init__(self, surface: Surface, scene: Scene) -> None:
        self.surface, self.scene = surface, scene
        key = rotation(*scene.pose).T @ scene.lights[0][0]
        maps = [*surface.normals(), surface.occlusion(), surface.shadow(key)]
        maps += [surface.maps[c] for c in CHANNELS]
        maps += list(surface.albedo)
        if surface.emission is not None:
            maps += list(surface.emission)
        solid = surface.solid()
        self.stack = np.stack([*maps, solid.astype(np.float32)], axis=-1).reshape(-1, len(maps) + 1)
        self.march = _filled(surface.height, solid)

    def view(self, domain: Domain, size: tuple[int, int], rng: np.random.Generator) -> View:
        """One frame: the recording's pose with a little hand and head movement, at `size` (height, width)."""
        scene, grid = self.scene, self.surface.grid
        turn = rotation(*(np.array(scene.pose) + np.deg2rad(rng.normal(0.0, 1.2, 3))))
        mm = domain.width_mm * scene.zoom / size[1]
        xs = (np.arange(size[1], dtype=np.float32) - 0.5 * (size[1] - 1)) * mm
        ys = (np.arange(size[0], dtype=np.float32) - 0.5 * (size[0] - 1)) * mm
        jitter = rng.normal(0.0, 1.0, 2)
        xs = np.broadcast_to((xs + scene.shift[0] + jitter[0])[None, :], size).reshape(-1).astype(np.float32)
        ys = np.broadcast_to((ys + scene.shift[1] + jitter[1] + domain.centre_y)[:, None], size)
        ys = ys.reshape(-1).astype(np.float32)
        z = np.full(xs.shape, -20.0, np.float32)
        h_max, w_max = grid.shape[0] - 1, grid.shape[1] - 1
        flat = self.march.reshape(-1)
        x0, y0, inv = float(grid.x[0]), float(grid.y[0]), 1.0 / grid.step
        near, d = np.float32(scene.distance), _PIVOT
        for _ in range(8):
            k = 1.0 - z / near
            ax, ay, az = xs * k - d[0], ys * k - d[1], z - d[2]
            px = turn[0, 0] * ax + turn[1, 0] * ay + turn[2, 0] * az + d[0]
            py = turn[0, 1] * ax + turn[1, 1] * ay + turn[2, 1] * az + d[1]
            pz = turn[0, 2] * ax + turn[1, 2] * ay + turn[2, 2] * az + d[2]
            col = np.clip((px - x0) * inv + 0.5, 0, w_max).astype(np.int32)
            row = np.clip((py - y0) * inv + 0.5, 0, h_max).astype(np.int32)
            z += np.float32(0.75) * (flat.take(row * np.int32(w_max + 1) + col, mode="clip") - pz)
        k = 1.0 - z / near
        ax, ay, az = xs * k - d[0], ys * k - d[1], z - d[2]
        px = turn[0, 0] * ax + turn[1, 0] * ay + turn[2, 0] * az + d[0]
        py = turn[0, 1] * ax + turn[1, 1] * ay + turn[2, 1] * az + d[1]
        fx, fy = np.clip((px - x0) * inv, 0, w_max - 1e-3), np.clip((py - y0) * inv, 0, h_max - 1e-3)
        col, row = fx.astype(np.int32), fy.astype(np.int32)
        fx, fy = (fx - col)[:, None], (fy - row)[:, None]
        at = row * (w_max + 1) + col
        gathered = self.stack.take(at, axis=0, mode="clip") * ((1 - fx) * (1 - fy))
        for step, weight in ((1, fx * (1 - fy)), (w_max + 1, (1 - fx) * fy), (w_max + 2, fx * fy)):
            corner = self.stack.take(at + step, axis=0, mode="clip")
            corner *= weight
            gathered += corner
        stack = np.ascontiguousarray(gathered.T).reshape(-1, *size)
        edge = (px < x0) | (px > grid.x[-1]) | (py < y0) | (py > grid.y[-1])
        cover = ramp(stack[-1], 0.25, 0.75) * ~edge.reshape(size)
        normal = np.tensordot(turn, stack[:3], axes=1)
        normal /= np.maximum(np.sqrt((normal * normal).sum(axis=0)), 1e-6)
        depth = np.where(cover > 0.5, near - z.reshape(size), near + np.float32(scene.wall_mm))
        ahead = np.stack((-xs * k, -ys * k, near - z)).reshape(3, *size)
        ahead /= np.sqrt((ahead * ahead).sum(axis=0))
        return View(stack, depth.astype(np.float32), cover, px.reshape(size), py.reshape(size), normal, ahead)


def _filled(height: Array, solid: Array) -> Array:
    """Heights with the empty surroundings lowered gently, so that rays past the silhouette settle."""
    if solid.all():
        return height
    floor = float(height[solid].min())
    return np.where(solid, height, max(floor, -110.0)).astype(np.float32)


def _lobe(view: View, towards: Array) -> Array:
    """Blinn lobe (h, w) for light from `towards` ((3,) or (3, h, w)), normalised for energy."""
    half = view.ahead + (towards[:, None, None] if towards.ndim == 1 else towards)
    half /= np.sqrt((half * half).sum(axis=0))
    power = 2.0 / np.maximum(view.stack[_MAP["rough"]], 0.06) ** 2
    cosine = (half * view.normal).sum(axis=0)
    return np.asarray((power + 2.0) / 8.0 * np.exp(power * np.minimum(cosine - 1.0, 0.0)), np.float32)


def colour(view: View, surface: Surface, scene: Scene, pitch_mm: float, rng: np.random.Generator) -> Array:
    """Linear colour radiance (3, h, w), before the camera's exposure."""
    albedo = view.stack[13:16]
    ao, shade = view.stack[3], view.stack[4]
    gloss, wrap = view.stack[_MAP["gloss"]], view.stack[_MAP["wrap"]]
    sky = 0.75 - 0.25 * view.normal[1]
    light = [scene.ambient[c] * ao * sky for c in range(3)]
    shine = np.zeros_like(ao)
    for i, (towards, tint) in enumerate(scene.lights):
        cosine = np.tensordot(towards, view.normal, axes=1)
        seen = shade if i == 0 else ao
        for c, soften in enumerate((0.32, 0.16, 0.12)):
            w = soften * wrap
            light[c] += tint[c] * seen * np.maximum(0.0, (cosine + w) / (1.0 + w))
        shine += tint[1] * seen * _lobe(view, towards)
    shine = gloss * shine + view.stack[_MAP["glint"]] * 0.8
    out = np.stack([albedo[c] * light[c] + shine for c in range(3)])
    if surface.emission is not None:
        glow = view.stack[-4:-1]
        amplitude = surface.notes.get("moire", 0.0)
        if amplitude:
            beat = (1.0 + surface.notes["beat"]) / pitch_mm
            phase = rng.uniform(0, 2 * np.pi)
            columns = 2 * np.pi * beat * view.grid_x + 0.9 * np.sin(view.grid_y / 37.0)
            rows = np.sin(2 * np.pi * beat * 1.07 * view.grid_y + phase)
            glow = np.stack(
                [g * (1.0 + amplitude * (np.sin(columns + phase + 2.1 * c) + 0.6 * rows)) for c, g in enumerate(glow)]
            )
        out += np.maximum(glow, 0.0)
    wall = _wall(view, scene, reflectance(scene.wall, surface.bands)[:3])
    return np.asarray(wall + view.cover * (out - wall), np.float32)


def _wall(view: View, scene: Scene, tone: Array) -> Array:
    h, w = view.z.shape
    across = np.linspace(-1, 1, w, dtype=np.float32)[None, :] * np.sign(scene.lights[0][0][0])
    down = np.linspace(1, -1, h, dtype=np.float32)[:, None]
    level = 0.45 * (1.0 + 0.25 * across + 0.15 * down)
    return np.asarray((scene.ambient + 0.6 * scene.lights[0][1])[:, None, None] * tone[:, None, None] * level)


def develop(radiance: Array, scene: Scene, rng: np.random.Generator) -> Array:
    """The colour camera: auto-exposure, white balance, blur, shot and read noise, contrast, gamma. uint8 (h, w, 3)."""
    mid = radiance[
        :, radiance.shape[1] // 6 : -radiance.shape[1] // 6, radiance.shape[2] // 6 : -radiance.shape[2] // 6
    ]
    gain = scene.exposure / max(float(mid.mean()), 1e-3) ** 0.8
    image = np.minimum(radiance * gain * scene.white_balance[:, None, None], 1.3)
    image = ndimage.gaussian_filter(image, (0.0, scene.blur, scene.blur))
    noisy = rng.standard_normal(image.shape, dtype=np.float32)
    image += noisy * (scene.noise * (0.4 + 1.6 * np.sqrt(np.maximum(image, 0.0))))
    image = np.clip(image, 0.0, 1.0) ** np.float32(scene.contrast / 2.2)
    return np.asarray(np.rint(image * 255.0), np.uint8).transpose(1, 2, 0)


def infrared(
    view: View, surface: Surface, scene: Scene, band: str, sensor: Infrared, rng: np.random.Generator
) -> Array:
    """The infrared camera with its own lamp and gain control, for one band. Grey levels (h, w), 0 to 255, float."""
    index = surface.bands.index(band)
    albedo = view.stack[13 + index]
    facing = np.maximum(view.normal[2], 0.0)
    wrap = 0.4 * view.stack[_MAP["wrap"]]
    lamp = (scene.distance / view.z) ** 2 * (0.7 + 0.3 * view.stack[3])
    image = albedo * lamp * (facing + wrap) / (1.0 + wrap)
    image += lamp * view.stack[_MAP["gloss"]] * 0.8 * _lobe(view, view.ahead + _LAMP)
    image += 0.5 * view.stack[_MAP["glint"]]
    towards, _ = scene.lights[0]
    image += scene.ir_ambient * albedo * np.maximum(np.tensordot(towards, view.normal, axes=1), 0.0) * view.stack[4]
    wall = (
        reflectance(scene.wall, surface.bands)[index] * 0.6 * (scene.distance / (scene.distance + scene.wall_mm)) ** 2
    )
    image = wall + view.cover * (image - wall)
    h, w = image.shape
    level = float(image[h // 6 : -h // 6, w // 6 : -w // 6].mean())
    reference = 0.55 if band in ("660", "780", "850", "940", "1050") else 0.25
    gain = np.clip(scene.ir_target / max(level, 1e-3), 0.5, sensor.agc * scene.ir_target / reference / 2.0)
    image = ndimage.gaussian_filter(image * gain, sensor.blur).astype(np.float32) * 255.0
    image += rng.standard_normal(image.shape, dtype=np.float32) * (
        sensor.noise * (0.5 + np.sqrt(np.maximum(image, 0.0) / 128.0)) * max(1.0, gain / 2.0) ** 0.5
    )
    return np.asarray(np.clip(image, 0.0, 255.0), np.float32)


def ranges(view: View, surface: Surface, sensor: Depth, scene: Scene, mm: float, rng: np.random.Generator) -> Array:
    """The depth camera: distances (h, w) in mm with noise, mixed pixels at edges and 0 where nothing came back."""
    z = view.z
    if sensor.smooth * 0.3 > 0.3 * mm:
        z = ndimage.gaussian_filter(z, sensor.smooth / mm).astype(np.float32)
    steps = ndimage.maximum_filter(z, 3) - ndimage.minimum_filter(z, 3)
    mixed = (steps > 10.0) & (rng.random(z.shape, dtype=np.float32) < 0.5)
    z = np.where(mixed, ndimage.uniform_filter(z, 3), z)
    grain = rng.standard_normal(z.shape, dtype=np.float32)
    grain = 0.5 * grain + 1.6 * ndimage.uniform_filter(grain, 3)
    z = z + sensor.noise * (z / 500.0) ** 2 * grain
    z = np.rint(z / sensor.step) * sensor.step
    patches = ndimage.gaussian_filter(rng.standard_normal(z.shape, dtype=np.float32), 1.5)
    patches /= max(float(patches.std()), 1e-6)
    chance = np.clip(sensor.holes * view.stack[_MAP["holes"]] * view.cover, 0.0, 1.0)
    lost = patches > 2.6 - 3.4 * chance
    lost |= (view.normal[2] < 0.26) & (view.cover > 0.5) & (patches > -0.6)
    width = max(1, round(8.0 / mm))
    behind = view.z - np.roll(view.z, width, axis=1) > 25.0
    behind[:, :width] = False
    lost |= behind & (patches > -0.8)
    lost |= z > sensor.reach
    return np.where(lost, 0.0, np.maximum(z, 0.0)).astype(np.float32)


def encode_depth(z: Array, inside: Array, sensor: Depth, scene: Scene) -> Array:
    """The set's own 8-bit (or millimetre, or 0 to 1) depth image (h, w) from distances in mm; 0 stays 0."""
    valid = (z > 0) & inside
    if sensor.encoding == "millimetres":
        return np.asarray(np.where(z > 0, np.clip(np.rint(z), 1, 65535), 0), np.uint16)
    plane = float(np.median(z[valid])) if valid.any() else scene.distance
    if sensor.encoding == "unit":
        unit = np.clip(scene.depth_offset + scene.depth_scale * (z - plane), 0.001, 1.0)
        return np.asarray(np.where(z > 0, unit, 0.0), np.float32)
    if sensor.encoding == "mad":
        spread = 3.0 * max(float(np.median(np.abs(z[valid] - plane))) if valid.any() else 1.0, 0.5)
        grey = 255.0 * (z - plane + spread) / (2.0 * spread)
        return np.asarray(np.where(z > 0, np.clip(grey, 0.0, 255.0), 0.0), np.uint8)
    sign = 1.0 if sensor.encoding == "far_bright" else -1.0
    grey = np.clip(np.rint(scene.depth_offset + sign * scene.depth_scale * (z - plane)), 1.0, 255.0)
    return np.asarray(np.where(z > 0, grey, 0.0), np.uint8)


def oval(view: View) -> Array:
    """The pixels that a face-mask tool keeps, bool (h, w)."""
    return np.asarray((view.stack[_MAP["oval"]] > 0.0) & (view.cover > 0.5))


def warmth(view: View, rng: np.random.Generator) -> Array:
    """Thermal image (h, w), 0 to 1."""
    heat = 0.22 + 0.55 * view.stack[_MAP["warm"]] * view.cover * (0.9 + 0.1 * view.normal[2])
    heat = ndimage.gaussian_filter(heat, 1.2).astype(np.float32)
    return np.asarray(np.clip(heat + 0.01 * rng.standard_normal(heat.shape, dtype=np.float32), 0, 1), np.float32)
