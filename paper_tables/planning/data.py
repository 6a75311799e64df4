"""Where the data and their index lie, and the commands that bring what is missing of them into being."""

import hashlib
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from data_manifests.errors import BadInput
from data_manifests.index import Index, read_roots
from data_manifests.phantom.sets import VERSION
from paper_tables.declarations.profile import Profile
from paper_tables.declarations.table import Table
from paper_tables.planning.plan import Job
from reference.standin_clip.weights import command, is_standin

_PHANTOM_MARKER = "phantom.json"  # lies beside the trees that `data_manifests.phantom render` wrote
_PYTHON = (sys.executable, "-m")


@dataclass(frozen=True)
class Data:
    """What the runs are trained and tested on. `commands` build it where it is missing."""

    name: str
    stand_in: bool
    index: Path
    commands: tuple[tuple[str, ...], ...]


def locate(data: str, profile: Profile, build: Path) -> Data:
    """`phantom`, or the path of a roots.toml. Raises BadInput if there is no such file."""
    if data == "phantom":
        name = f"{VERSION}-{profile.phantom}"
        images, folder = build / "phantom" / name, build / "index" / f"phantom-{name}"
        roots = images / "roots.toml"
        render = (*_PYTHON, "data_manifests.phantom", "render", "--profile", profile.phantom, "--out", str(images))
        commands = () if roots.exists() else (render,)
        return Data(f"phantom {name}", True, folder / "index.csv", (*commands, *_index(roots, folder)))
    roots = Path(data).expanduser()
    if not roots.is_file():
        raise BadInput(
            f'--data {data}: neither `phantom` nor a file; write a roots.toml with lines such as C = "/data/cefa"'
        )
    # Named after its content too: other roots are another index.
    folder = build / "index" / f"{roots.stem}-{hashlib.sha256(roots.read_bytes()).hexdigest()[:8]}"
    rendered = any((root.parent / _PHANTOM_MARKER).exists() for root in read_roots(roots).values())
    return Data(roots.stem, rendered, folder / "index.csv", _index(roots, folder))


def _index(roots: Path, folder: Path) -> tuple[tuple[str, ...], ...]:
    """The command that writes the index, where there is none yet."""
    if (folder / "index.csv").exists():
        return ()
    return ((*_PYTHON, "data_manifests", "index", "--roots", str(roots), "--out", str(folder)),)


def standin_clip(jobs: Iterable[Job]) -> tuple[tuple[str, ...], ...]:
    """The command that trains each stand-in CLIP that one of the runs takes; once trained, it ends at once."""
    words: dict[tuple[str, ...], None] = {}
    for job in jobs:
        options = dict(pairwise(job.command))
        if is_standin(options.get("--clip", "")):
            kernels = ("--kernels", options["--kernels"]) if "--kernels" in options else ()
            words[(*_PYTHON, *command(options["--clip"]), *kernels)] = None
    return tuple(words)


def protocol_of(table: Table, index: Index | None) -> str:
    """The first of the table's protocols that the index has; before there is an index, the last. Raises BadInput
    when the index has none of them."""
    if index is None:
        return table.protocols[-1]
    for protocol in table.protocols:
        if protocol in index.protocols:
            return protocol
    raise BadInput(
        f"{index.path}: has no protocol {' or '.join(table.protocols)}, which {table.name} needs; index at least two "
        "of the sets C, S, W and P again"
    )
