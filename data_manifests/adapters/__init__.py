"""From a data set's tree on disk to rows of the index: one module a data set, one `Layout` an on-disk form."""

from pathlib import Path

from data_manifests.adapters import casia_surf, cefa, hq_wmca, padisi, wmca
from data_manifests.adapters.common import AdapterResult, Layout, Options
from data_manifests.errors import BadInput
from data_manifests.index import DATASETS

LAYOUTS: dict[str, tuple[Layout, ...]] = {
    "C": (cefa.LAYOUT,),
    "S": (casia_surf.LAYOUT,),
    "W": (wmca.LAYOUT,),
    "H": (hq_wmca.LAYOUT,),
    "P": (padisi.LAYOUT,),
}


def detect(dataset: str, root: Path) -> Layout:
    """The layout of the tree at `root`. Raises `BadInput` naming the layouts known when it has none of them."""
    if not root.is_dir():
        raise BadInput(f"root {dataset} = {root}: no such folder; correct roots.toml")
    for layout in LAYOUTS[dataset]:
        if layout.detect(root):
            return layout
    known = "; ".join(f"{layout.id}: {layout.tree}" for layout in LAYOUTS[dataset])
    raise BadInput(f"root {dataset} = {root}: not a known form of {DATASETS[dataset]} ({known}); correct roots.toml")


def index_tree(dataset: str, root: Path, options: Options) -> AdapterResult:
    """Rows, official protocols and notes of one tree. Raises `BadInput` naming the file that is wrong."""
    result = detect(dataset, root).index(root, options)
    if not result.rows:
        raise BadInput(f"root {dataset} = {root}: no frame found; correct roots.toml or restore the files")
    return result
