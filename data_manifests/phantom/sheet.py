"""The contact sheet: every family of every set, in colour, depth and infrared, at native size with labels."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from data_manifests.decode import mad_to_8bit, unit_to_8bit
from data_manifests.errors import replacing
from data_manifests.phantom.build import letters_of
from data_manifests.phantom.recordings import Recording, plan
from data_manifests.phantom.render import Frame, native_size, render
from data_manifests.phantom.sets import DOMAINS, Profile, profile_named

_LABEL = 13
_GAP = 4


def _grey(image: np.ndarray) -> np.ndarray:
    """Depth or infrared (h, w) in any encoding as 8 bits, (h, w, 3), for the eye; millimetres as models see them."""
    if image.dtype == np.uint16:
        grey = mad_to_8bit(image)
    elif image.dtype == np.float32 and image.max() <= 1.0:
        grey = unit_to_8bit(image)
    else:
        grey = np.asarray(np.rint(image), np.uint8)
    return np.repeat(grey[..., None], 3, axis=2)


def triplet(frame: Frame, band: str, size: tuple[int, int]) -> np.ndarray:
    """Colour over depth over infrared, (3·h, w, 3) uint8 on grey."""
    tiles = [frame.rgb, _grey(frame.depth), _grey(frame.infrared[band])]
    out = np.full((3 * size[0], size[1], 3), 60, np.uint8)
    for i, tile in enumerate(tiles):
        out[i * size[0] : i * size[0] + tile.shape[0], : tile.shape[1]] = tile
    return out


def _selection(recordings: list[Recording], people: int) -> list[Recording]:
    """The first `people` recordings of each species with different wearers or victims, bona fide first."""
    by_species: dict[str, list[Recording]] = {}
    for recording in sorted(recordings, key=lambda c: not c.bonafide):
        by_species.setdefault(recording.species, []).append(recording)
    out = []
    for group in by_species.values():
        step = max(1, len(group) // people)
        out += group[::step][:people]
    return out


def draw(dataset: str, profile: Profile, people: int) -> Image.Image:
    """One set's sheet: a column for each recording under its species' name; rows colour, depth, infrared."""
    domain = DOMAINS[dataset]
    size = native_size(domain.size, profile)
    recordings = _selection(plan(dataset, profile), people)
    per_row = 14
    rows = -(-len(recordings) // per_row)
    cell_w, cell_h = size[1] + _GAP, 3 * size[0] + _LABEL + _GAP
    sheet = Image.new("RGB", (per_row * cell_w, rows * cell_h + _LABEL), (60, 60, 60))
    pen = ImageDraw.Draw(sheet)
    pen.text(
        (2, 0), f"set {dataset}: colour, depth, infrared ({domain.ir_band} nm) - procedural stand-in", fill="white"
    )
    for i, recording in enumerate(recordings):
        frame = render(recording, profile).frames[0]
        x, y = i % per_row * cell_w, i // per_row * cell_h + _LABEL
        pen.text((x + 1, y), recording.species[: size[1] // 6], fill="yellow" if recording.bonafide else "white")
        sheet.paste(Image.fromarray(triplet(frame, domain.ir_band, size)), (x, y + _LABEL))
    return sheet


def sheet(out: Path, profile: str = "cpu", people: int = 3, sets: str = "C,S,W,H,P") -> None:
    """Draw the contact sheet: one picture a set, and `phantom.png` with all of them.

    Args:
        out: folder for the pictures.
        profile: native size to draw at.
        people: recordings of each species.
        sets: letters of the sets, separated by commas.
    """
    chosen = profile_named(profile)
    pictures = {f"phantom-{letter}": draw(letter, chosen, people) for letter in letters_of(sets)}
    whole = Image.new("RGB", (max(p.width for p in pictures.values()), sum(p.height for p in pictures.values())))
    below = 0
    for picture in pictures.values():
        whole.paste(picture, (0, below))
        below += picture.height
    for name, picture in {**pictures, "phantom": whole}.items():
        path = out / f"{name}.png"
        with replacing(path) as f:
            picture.save(f, "PNG")
        print(path)
