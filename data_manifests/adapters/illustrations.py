"""Which licensed frames a figure may show: of WMCA and HQ-WMCA the recordings on the owner's lists, of the other sets
none (data-set sheet, sections 3.3 and 10). This project's own pictures show stand-in faces.
"""

from pathlib import Path

from data_manifests.adapters.common import read_lines
from data_manifests.errors import BadInput
from data_manifests.index import DATASETS, Row

LISTS = ("attack_illustration_files.csv", "bonafide_illustration_files.csv")
LISTED_SETS = ("W", "H")


def illustration_recordings(root: Path) -> set[str]:
    """Recordings that the owner's lists in `documentation` (or at the root) allow in figures; none without the lists.

    The names of the lists' columns are not published, so every field that is a path counts by its file's stem.
    """
    paths = [root / folder / name for folder in ("documentation", "") for name in LISTS]
    fields = (field.strip() for path in paths if path.is_file() for line in read_lines(path) for field in line)
    return {name.removesuffix(".hdf5").removesuffix(".h5") for field in fields if (name := field.rsplit("/", 1)[-1])}


def check_illustration(row: Row, root: Path) -> None:
    """Raise `BadInput` unless the licence allows this frame in a figure. Call it before drawing any licensed row."""
    if row.dataset not in LISTED_SETS:
        raise BadInput(f"{row.sample_id}: {DATASETS[row.dataset]} allows no picture of a person; show stand-in faces")
    if row.clip_id not in illustration_recordings(root):
        raise BadInput(f"{row.sample_id}: not on the owner's lists {' and '.join(LISTS)}; show a recording that is")
