"""The frames that a bench loads: some of the CeFA-like set, whose images are files of their own."""

from pathlib import Path

from data_manifests.index import Index, Row, load_index, parse_reference, save_index
from paper_tables.bench.items import Setting

SET, FRAMES = "C", 512
SPLITS = ("train", "train", "val", "test")  # of each four frames of a class


def some(rows: list[Row], count: int) -> list[Row]:
    """`count` of the rows, evenly from first to last."""
    return rows[:: max(1, len(rows) // count)][:count]


def small_index(setting: Setting, folder: Path) -> Index:
    """An index below `folder` of some of the setting's frames, half of them bona fide, in every split of `mmfas`."""
    whole = load_index(setting.index)
    own_set = [r for r in whole.rows if r.dataset == SET]
    complete = [r for r in own_set if r.rgb and r.depth and r.ir and not parse_reference(r.rgb).member]
    rows: list[Row] = []
    splits: dict[str, list[str]] = {name: [] for name in SPLITS}
    for live in (True, False):
        own = some([r for r in complete if r.bonafide == live], 8 if setting.tiny else FRAMES // 2)
        rows += own
        for number, row in enumerate(own):
            splits[SPLITS[number % len(SPLITS)]].append(row.sample_id)
    save_index(folder, rows, {"mmfas": splits}, whole.roots)
    return load_index(folder / "index.csv")
