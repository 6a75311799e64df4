"""PADISI-Face (P), layout `padisi-jpg`: the JPG files that public training code makes of the .npz files (data-set
sheet, section 3.5).

`<trial>/{color,depth,ir}.jpg` anywhere below the root. ⌈255·x⌉ of the floats and then JPG lose precision twice, so
`depth_encoding` is `8bit_ceil`, and nobody takes these for the sensor's values. Classes and splits are read as for
`padisi-npz`.
"""

from pathlib import Path

from data_manifests.adapters.common import (
    DERIVED,
    AdapterResult,
    Findings,
    Layout,
    Options,
    files_below,
    holds,
    stranger,
)
from data_manifests.adapters.padisi import LISTS, add_protocols, capture_row, captures_by_trial, read_truth
from data_manifests.decode import image_shape
from data_manifests.parallel import parallel

_MODALITY = {"color": "rgb", "depth": "depth", "ir": "ir"}


def _detect(root: Path) -> bool:
    return any((root / folder).is_dir() for folder in LISTS) and holds(
        root, (".jpg", ".jpeg"), lambda name: Path(name).stem in _MODALITY
    )


def _images(job: tuple[Path, str, tuple[str, ...], Options]) -> tuple[dict[str, tuple[str, str]], Findings]:
    root, folder, names, options = job
    findings = Findings(options.collect)
    images = {}
    for name in names:
        path = f"{folder}/{name}"
        with findings.collecting(path):
            modality = _MODALITY[Path(name).stem]
            images[modality] = (path, "" if options.names_only else image_shape(root / path, path, modality))
    return images, findings


def _index(root: Path, options: Options) -> AdapterResult:
    result = AdapterResult(options.collect)
    truth = read_truth(root, options, result)
    folders: dict[str, list[str]] = {}
    for path in files_below(root, (".jpg", ".jpeg"), result):
        folder, _, name = path.rpartition("/")
        if Path(name).stem in DERIVED:
            result.ignored.append(path)
        elif Path(name).stem not in _MODALITY:
            result.problem(path, stranger(name, [f"{stem}.jpg" for stem in _MODALITY]))
        else:
            folders.setdefault(folder, []).append(name)
    trials = captures_by_trial(list(folders), truth, result)
    jobs = [(root, folder, tuple(folders[folder]), options) for folder in trials]
    for folder, (images, findings) in zip(trials, parallel(_images, jobs, "PADISI-Face", options.workers), strict=True):
        result.absorb(findings)
        if images:
            trial = trials[folder]
            result.rows.append(capture_row("padisi-jpg", trial, truth.captures[trial], images, "8bit_ceil"))
    add_protocols(root, result)
    return result


LAYOUT = Layout("padisi-jpg", f"<trial>/color.jpg and {LISTS[0]}/*_ground_truth.csv", _detect, _index)
