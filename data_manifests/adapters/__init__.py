"""Adapters turn a data set's tree on disk into rows of the index: a module for each data set, a `Layout` for each form.

A caller needs only `index_tree(dataset, root, options) -> AdapterResult`:

- `Options()` opens the header of every image and container, and raises `BadInput` at the first file that is
  wrong. `AdapterResult.notes` are sentences on states that the adapter handles (a frame in only one package, a list
  line without a recording, recordings without a published label); `AdapterResult.ignored` names files of the
  operating system.
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
from data_manifests.adapters.common import AdapterResult, Layout, Options, Problem
from data_manifests.errors import BadInput
from data_manifests.index import DATASETS, Row

__all__ = ["LAYOUTS", "AdapterResult", "Layout", "Options", "Problem", "detect", "index_tree"]

LAYOUTS: dict[str, tuple[Layout, ...]] = {
    "C": (cefa.FULL, cefa.RELEASE_2026, cefa_2020.LAYOUT),
    "S": (casia_surf.CROP, casia_surf.RELEASE_2026, casia_surf_2019.LAYOUT),
    "W": (wmca.LAYOUT, wmca_jpg.LAYOUT),
    "H": (hq_wmca.LAYOUT,),
    "P": (padisi.LAYOUT, padisi_joblib.LAYOUT, padisi_jpg.LAYOUT),
}


def detect(dataset: str, root: Path, layouts: tuple[str, ...] = ()) -> Layout:
    """The layout of the tree at `root`; where it holds several, the one whose id is in `layouts`.

    Raises `BadInput` when the root is no folder, has none of the known layouts (naming them) or several.
    """
    if not root.is_dir():
        raise BadInput(f"root {dataset} = {root}: no such folder; correct roots.toml")
    matching = [layout for layout in LAYOUTS[dataset] if layout.detect(root)]
    chosen = [layout for layout in matching if layout.id in layouts]
    if len(matching) == 1:
        return matching[0]
    if len(chosen) == 1:
        return chosen[0]
    if matching:
        ids = " and ".join(layout.id for layout in matching)
        raise BadInput(
            f"root {dataset} = {root}: holds {DATASETS[dataset]} as {ids}, which would count recordings twice; "
            "choose one with --layout or name the folder of one in roots.toml"
        )
    known = "; ".join(f"{layout.id}: {layout.tree}" for layout in LAYOUTS[dataset])
    raise BadInput(f"root {dataset} = {root}: not a known form of {DATASETS[dataset]} ({known}); correct roots.toml")


def _keep_one_of_each(result: AdapterResult) -> None:
    """Report each frame that the tree holds twice as a problem, and keep its first place."""
    first: dict[str, Row] = {}
    for row in result.rows:
        if row.sample_id in first:
            here, there = ((r.rgb or r.depth or r.ir).partition("#")[0] for r in (row, first[row.sample_id]))
            result.problem(here, f"holds {row.sample_id} like {there}; keep one")
        first.setdefault(row.sample_id, row)
    result.rows = list(first.values())
    for splits in result.protocols.values():
        splits.update({split: list(dict.fromkeys(samples)) for split, samples in splits.items()})


def index_tree(dataset: str, root: Path, options: Options) -> AdapterResult:
    """Rows, official protocols, notes and problems of one tree.

    Raises `BadInput` naming the file that is wrong; with `options.collect` only when the layout is not clear.
    """
    layout = detect(dataset, root, options.layouts)
    result = layout.index(root, options)
    result.layout = layout.id
    _keep_one_of_each(result)
    if not result.rows and not result.problems:
        result.problem(f"root {dataset} = {root}", "no frame found; correct roots.toml or restore the files")
    return result
