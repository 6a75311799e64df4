"""Adapters turn a data set's tree on disk into rows of the index: a module for each data set, a `Layout` for each form.

A caller needs only `index_tree(dataset, root, options) -> AdapterResult`:

- `Options()` opens the header of every image and container, and raises `BadInput`, which names the root, at the first
  file that is wrong. `AdapterResult.notes` are sentences on states that the adapter handles (a frame in only one
  package, a list line without a recording, recordings without a published label); `AdapterResult.ignored` names
  files of the operating system. What a whole tree would hold besides is in `AdapterResult.absent` and `.losses`.
- `Options(collect=True)` turns each wrong file, folder or list inside the tree into a `Problem(path, what)` of
  `AdapterResult.problems`, leaves out its rows or its protocol, and indexes the rest. It raises only when the root is
  no folder or does not have exactly one known layout.
- `Options(names_only=True)` reads recordings, classes, families, subjects and pairing from names alone: it opens no
  image and no container, so it does not notice an empty or damaged file. The `*_shape` columns are empty.
  Image folders and PADISI-Face give the same rows otherwise. Only an HDF5 file itself (WMCA, HQ-WMCA) knows its
  frames, so such a recording becomes one row, frame 0, whose references are the container's bare path. Such an index
  can be saved, loaded, split and counted; `decode` refuses its rows (`Row.names_only`).

A row's modality is empty where its file is absent or has another frame number (two recordings of the WMCA dump).
`sample_id` is `<letter>:<clip_id>:<frame>`. Messages name these options of the
command line: `--layout ID` (`Options.layouts`), `--swir-nm`, `--depth-maps FOLDER`, `--unpickle`.
"""

import re
from pathlib import Path

from data_manifests.adapters import (
    casia_surf,
    casia_surf_2019,
    cefa,
    cefa_2020,
    hq_wmca,
    padisi,
    padisi_joblib,
    padisi_jpg,
    wmca,
    wmca_jpg,
)
from data_manifests.adapters.common import AdapterResult, Layout, Options, Problem, alike
from data_manifests.errors import BadInput
from data_manifests.index import DATASETS, Row

_FIRST = 3  # how many names a message gives of a longer list

__all__ = ["LAYOUTS", "AdapterResult", "Layout", "Options", "Problem", "detect", "index_tree"]

LAYOUTS: dict[str, tuple[Layout, ...]] = {
    "C": (cefa.FULL, cefa.RELEASE_2026, cefa_2020.LAYOUT),
    "S": (casia_surf.CROP, casia_surf.RELEASE_2026, casia_surf_2019.LAYOUT),
    "W": (wmca.LAYOUT, wmca_jpg.LAYOUT),
    "H": (hq_wmca.LAYOUT,),
    "P": (padisi.LAYOUT, padisi_joblib.LAYOUT, padisi_jpg.LAYOUT),
}


def detect(dataset: str, root: Path, layouts: tuple[str, ...] = ()) -> Layout:
    """The layelsewhere at `root`, which must be in `layouts` if ids of this data set are there.

    Raises `BadInput` when the root is no folder, has none of the known layouts (naming them), several, or another than
    the one that was asked for.
    """
    where = f"root {dataset} = {root}"
    if not root.is_dir():
        raise BadInput(f"{where}: no such folder; correct its path")
    matching = [layout for layout in LAYOUTS[dataset] if layout.detect(root)]
    wanted = [layout.id for layout in LAYOUTS[dataset] if layout.id in layouts]
    chosen = [layout for layout in matching if layout.id in wanted]
    if wanted and matching and not chosen:
        ids = " and ".join(layout.id for layout in matching)
        raise BadInput(f"{where}: holds {ids}, not {' or '.join(wanted)}; leave --layout out or name another folder")
    if len(chosen) == 1:
        return chosen[0]
    if len(matching) == 1:
        return matching[0]
    if matching:
        ids = " and ".join(layout.id for layout in matching)
        raise BadInput(
            f"{where}: holds {DATASETS[dataset]} as {ids}, which would count recordings twice; "
            "choose one with --layout or name the folder of one as the root"
        )
    if misnamed := _misnamed(dataset, root):
        raise BadInput(f"{where}: not a known form of {DATASETS[dataset]}; {misnamed}")
    known = "; ".join(f"{layout.id}: {layout.tree}" for layout in LAYOUTS[dataset])
    raise BadInput(f"{where}: not a known form of {DATASETS[dataset]} ({known}); name the folder that holds one")


def _misnamed(dataset: str, root: Path) -> str:
    """What to rename where folders at the root, or one below, are nearly called as in a known layout, else empty."""
    words = [word for layout in LAYOUTS[dataset] for word in layout.tree.split(" ")]
    parts = {part for word in words for part in word.split("/")[:-1] if not re.search("[0-9]{3}|<", part)}
    found = sorted(path for pattern in ("*", "*/*") for path in root.glob(pattern) if path.is_dir())
    wrong = {path: right for path in found if (right := alike(path.name, parts)) and path.name not in parts}
    renames = [f"{path.relative_to(root).as_posix()} to {right}" for path, right in wrong.items()]
    return f"rename {', '.join(renames[:_FIRST])}" if renames else ""


def _keep_one_of_each(result: AdapterResult) -> None:
    """Report each frame that the tree holds twice as a problem, and keep its first place."""
    first: dict[str, Row] = {}
    for row in result.rows:
        if row.sample_id in first:
            here, there = ((r.rgb or r.depth or r.ir).partition("#")[0] for r in (row, first[row.sample_id]))
            result.problem(here, f"holds {row.sample_id} like {there}; move one of them elsewhere")
        first.setdefault(row.sample_id, row)
    result.rows = list(first.values())
    for splits in result.protocols.values():
        splits.update({split: list(dict.fromkeys(samples)) for split, samples in splits.items()})


def index_tree(dataset: str, root: Path, options: Options) -> AdapterResult:
    """Rows, official protocols, notes and problems of one tree.

    Raises `BadInput` naming the file that is wrong; with `options.collect` only when the layout is not clear.
    """
    where = f"root {dataset} = {root}"
    try:
        layout = detect(dataset, root, options.layouts)
        result = layout.index(root, options)
        result.layout, result.modalities = layout.id, layout.modalities
        _keep_one_of_each(result)
        if not result.rows and not result.problems:
            result.problem(".", "no frame found; restore the files or correct the path of the root")
    except BadInput as e:
        raise BadInput(str(e) if str(root) in str(e) else f"{where}: {e}") from None
    except OSError as e:
        raise BadInput(f"{where}: a folder cannot be read ({e.strerror}); check links and permissions") from None
    return result
