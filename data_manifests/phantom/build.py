"""Rendering a whole profile: resumable, in parallel, the same bytes whatever the order or the number of workers."""

import json
import os
import shutil
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from data_manifests.errors import BadInput, replacing
from data_manifests.phantom.clips import Clip, plan
from data_manifests.phantom.render import render as render_clip
from data_manifests.phantom.sets import SETS, VERSION, Profile, profile_named
from data_manifests.phantom.writers import is_written, write, write_lists

_MARKER = "phantom.json"


def render(profile: str, out: Path, sets: str = "C,S,W,H,P", workers: int = 0) -> None:
    """Render the stand-in sets into a folder, in the public sets' own layouts.

    Args:
        profile: cpu, paper or tiny.
        out: folder to fill; a finished clip in it is kept, a folder of another version or profile is refused.
        sets: letters of the sets, separated by commas.
        workers: processes; 0 takes one per core.
    """
    chosen = profile_named(profile)
    letters = _letters(sets)
    claim(out, chosen)
    clips = {s: plan(s, chosen) for s in letters}
    todo = [c for s in letters for c in clips[s] if not is_written(c, out)]
    start = time.monotonic()
    _render_all(todo, chosen, out, workers or os.cpu_count() or 1)
    for s in letters:
        write_lists(s, clips[s], out)
    shutil.rmtree(out / ".partial", ignore_errors=True)
    total = sum(len(c) for c in clips.values())
    frames = sum(len(c.frames) for s in letters for c in clips[s])
    print(
        f"{out}: phantom {VERSION}, profile {profile}, sets {','.join(letters)}: {total} clips, {frames} frames "
        f"({len(todo)} clips rendered now, {time.monotonic() - start:.0f} s)"
    )


def _letters(sets: str) -> list[str]:
    letters = [s.strip() for s in sets.split(",") if s.strip()]
    for letter in letters:
        if letter not in SETS:
            raise BadInput(f"--sets {sets!r}: there is no set {letter!r}; choose from {','.join(SETS)}")
    if not letters:
        raise BadInput(f"--sets {sets!r} names no set; choose from {','.join(SETS)}")
    return letters


def claim(out: Path, profile: Profile) -> None:
    """Mark `out` as this version's and profile's folder; `BadInput` if it already holds something else."""
    marker = out / _MARKER
    mine = {"version": VERSION, "profile": profile.name}
    if marker.exists():
        try:
            found = json.loads(marker.read_text())
        except ValueError as e:
            raise BadInput(f"{marker} is not valid JSON; delete the folder and render again") from e
        if found != mine:
            raise BadInput(
                f"{marker} says {found} but this is {mine}; give another --out or delete that folder"
            )
        return
    if out.exists() and any(p.name != ".partial" for p in out.iterdir()):
        raise BadInput(f"{out} is not empty and holds no {_MARKER}; give another --out")
    with replacing(marker) as f:
        f.write((json.dumps(mine) + "\n").encode())


def _render_one(clip: Clip, profile: Profile, out: Path) -> None:
    write(render_clip(clip, profile), out)


def _render_all(todo: list[Clip], profile: Profile, out: Path, workers: int) -> None:
    columns = (TextColumn("rendering"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns) as progress:
        task = progress.add_task("clips", total=len(todo))
        job = partial(_render_one, profile=profile, out=out)
        if workers == 1:
            for clip in todo:
                job(clip)
                progress.advance(task)
            return
        with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
            for _ in pool.map(job, todo, chunksize=4):
                progress.advance(task)
