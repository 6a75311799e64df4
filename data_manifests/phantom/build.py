"""Rendering a whole profile: resumable, in parallel, the same bytes whatever the order or the number of workers."""

import json
import shutil
import time
from functools import partial
from pathlib import Path

from data_manifests.errors import BadInput, replacing
from data_manifests.parallel import parallel
from data_manifests.phantom.clips import Clip, plan
from data_manifests.phantom.render import render as render_clip
from data_manifests.phantom.sets import SETS, VERSION, Profile, profile_named
from data_manifests.phantom.writers import PARTIAL, is_written, write, write_lists

MARKER = "phantom.json"


def render(profile: str, out: Path, sets: str = "C,S,W,H,P", workers: int = 0) -> None:
    """Render the stand-in sets into a folder, in the public sets' own layouts.

    Args:
        profile: cpu, paper or tiny.
        out: folder to fill; a finished clip in it is kept, a folder of another version or profile is refused.
        sets: letters of the sets, separated by commas.
        workers: processes; 0 takes one per core.
    """
    start = time.monotonic()
    chosen = profile_named(profile)
    letters = letters_of(sets)
    claim(out, chosen)
    clips = [clip for letter in letters for clip in plan(letter, chosen)]
    todo = [clip for clip in clips if not is_written(clip, out)]
    parallel(partial(_render_one, profile=chosen, out=out), todo, "rendering", workers or None)
    for letter in letters:
        write_lists(letter, plan(letter, chosen), out)
    roots = "".join(f'{s} = "{s}"\n' for s in SETS if (out / s).is_dir())
    with replacing(out / "roots.toml") as f:
        f.write(roots.encode())
    shutil.rmtree(out / PARTIAL, ignore_errors=True)
    print(
        f"{out}: phantom {VERSION}, profile {profile}, sets {','.join(letters)}: {len(clips)} clips, "
        f"{sum(len(c.frames) for c in clips)} frames "
        f"({len(todo)} clips rendered now in {time.monotonic() - start:.0f} s)"
    )


def letters_of(sets: str) -> list[str]:
    """`C,S` as a list of set letters; `BadInput` on an unknown letter or none."""
    letters = [s.strip() for s in sets.split(",") if s.strip()]
    for letter in letters:
        if letter not in SETS:
            raise BadInput(f"--sets {sets!r}: there is no set {letter!r}; choose from {','.join(SETS)}")
    if not letters:
        raise BadInput(f"--sets {sets!r} names no set; choose from {','.join(SETS)}")
    return letters


def claim(out: Path, profile: Profile) -> None:
    """Mark `out` as this version's and profile's folder; `BadInput` if it already holds something else."""
    marker = out / MARKER
    mine = {"version": VERSION, "profile": profile.name}
    if marker.exists():
        try:
            found = json.loads(marker.read_text())
        except ValueError:
            raise BadInput(f"{marker} is not valid JSON; delete the folder and render again") from None
        if found != mine:
            raise BadInput(f"{marker} says {found}, not {mine}; give another --out or delete that folder")
        return
    if out.exists() and any(out.iterdir()):
        raise BadInput(f"{out} is not empty and holds no {MARKER}; give another --out")
    with replacing(marker) as f:
        f.write((json.dumps(mine) + "\n").encode())


def _render_one(clip: Clip, profile: Profile, out: Path) -> None:
    write(render_clip(clip, profile), out)
