"""Render a whole profile, resumably and in parallel: the bytes depend on neither order nor number of workers."""

import shutil
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from data_manifests.errors import BadInput, replacing
from data_manifests.json_files import json_object, sealed
from data_manifests.locks import locked
from data_manifests.parallel import parallel
from data_manifests.phantom.recordings import Recording, plan
from data_manifests.phantom.render import render as render_recording
from data_manifests.phantom.sets import SETS, VERSION, Profile, profile_named
from data_manifests.phantom.writers import PARTIAL, is_written, write, write_lists

MARKER = "phantom.json"


def render(profile: str, out: Path, sets: str = "C,S,W,H,P", workers: int = 0) -> None:
    """Render the stand-in sets into a folder, in the public sets' own layouts.

    Args:
        profile: cpu, paper or tiny.
        out: folder to fill; finished recordings in it stay, a folder of another version or profile is refused.
        sets: letters of the sets, separated by commas.
        workers: processes; 0 means one for each core.
    """
    start = time.monotonic()
    chosen = profile_named(profile)
    letters = letters_of(sets)
    out.mkdir(parents=True, exist_ok=True)
    with locked(out):
        _render(chosen, letters, out, workers or None, start)


def _render(chosen: Profile, letters: Sequence[str], out: Path, workers: int | None, start: float) -> None:
    claim(out, chosen)
    recordings = [recording for letter in letters for recording in plan(letter, chosen)]
    todo = [recording for recording in recordings if not is_written(recording, out)]
    parallel(partial(_render_one, profile=chosen, out=out), todo, "rendering", workers)
    for letter in letters:
        write_lists(letter, plan(letter, chosen), out)
    roots = "".join(f'{s} = "{s}"\n' for s in SETS if (out / s).is_dir())
    with replacing(out / "roots.toml") as f:
        f.write(roots.encode())
    shutil.rmtree(out / PARTIAL, ignore_errors=True)
    print(
        f"{out}: phantom {VERSION}, profile {chosen.name}, sets {','.join(letters)}: {len(recordings)} recordings, "
        f"{sum(len(c.frames) for c in recordings)} frames "
        f"({len(todo)} recordings rendered now in {time.monotonic() - start:.0f} s)"
    )


def letters_of(sets: str) -> list[str]:
    """The letters in a text such as `C,S`. Raises `BadInput` on an unknown letter or none."""
    letters = [s.strip() for s in sets.split(",") if s.strip()]
    for letter in letters:
        if letter not in SETS:
            raise BadInput(f"--sets {sets!r}: there is no set {letter!r}; choose from {','.join(SETS)}")
    if not letters:
        raise BadInput(f"--sets {sets!r} names no set; choose from {','.join(SETS)}")
    return letters


def claim(out: Path, profile: Profile) -> None:
    """Mark `out` as this version's and profile's folder. Raises `BadInput` when it holds something else already."""
    marker = out / MARKER
    mine = {"version": VERSION, "profile": profile.name}
    if marker.exists():
        owner = json_object(marker, "delete the folder and render again")
        if owner != mine:
            raise BadInput(f"{marker} says {owner}, not {mine}; give another --out or delete that folder")
        return
    if out.exists() and any(path.name != ".lock" for path in out.iterdir()):
        raise BadInput(f"{out} is not empty and holds no {MARKER}; give another --out")
    with replacing(marker) as f:
        f.write(sealed(mine))


def _render_one(recording: Recording, profile: Profile, out: Path) -> None:
    write(render_recording(recording, profile), out)
