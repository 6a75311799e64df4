"""PADISI-Face, USC part (P): layout `padisi-npz`, one .npz a capture (data-set sheet, section 3.5).

`ID_<transaction>_<trial>_<trial_name>.npz` or `<trial>.npz`, key `data`, float 0 … 1 of shape (1, 22, H, W):
0–2 blue, green, red, 3 RealSense near infrared, 4 RealSense depth, then channels not used here. Labels and
splits are in `face_partitions/*_ground_truth.csv` and `*_partition_*.csv`; of the first only the ids and the
code are read, never the demographic columns.
"""

import re
from pathlib import Path

from data_manifests.adapters.common import (
    AdapterResult,
    Layout,
    Options,
    clip_protocol,
    files_below,
    modality_columns,
    read_list,
    samples_by_clip,
)
from data_manifests.decode import npz_shape, shape_text
from data_manifests.errors import BadInput
from data_manifests.index import Row
from data_manifests.parallel import parallel

LISTS = "face_partitions"
CHANNELS = 22
IR_NM = 850  # RealSense
BONAFIDE = "m00000"
FAMILIES = {
    "01": "glasses",
    "02": "print",
    "03": "fakehead",
    "04": "halfmask",
    "05": "transparentmask",
    "06": "makeup",
    "07": "silicone",
    "08": "glasses",
    "09": "tattoo",
}
_IDENTIFIER = re.compile(r"ID_([^_]+)_([^_]+)_(.+)")


def detect(root: Path) -> bool:
    return (root / LISTS).is_dir()


def _shape(job: tuple[Path, str]) -> str:
    root, name = job
    shape, dtype = npz_shape(root / name, "data", name)
    if len(shape) != 4 or shape[:2] != (1, CHANNELS):
        raise BadInput(f"{name}: data is {shape}, not (1, {CHANNELS}, H, W); copy it again")
    return shape_text(shape[2], shape[3], dtype)


def _family(code: str, path: Path) -> str:
    if code == BONAFIDE:
        return ""
    if not re.fullmatch("m5[0-9]{4}", code) or code[2:4] not in FAMILIES:
        raise BadInput(f"{path}: ground_truth {code!r} is unknown; restore the list")
    return FAMILIES[code[2:4]]


def index(root: Path, options: Options) -> AdapterResult:
    result = AdapterResult()
    tables = sorted((root / LISTS).glob("*ground_truth.csv"))
    if len(tables) != 1:
        raise BadInput(f"{root / LISTS}: {len(tables)} files *ground_truth.csv; put exactly one there")
    truth: dict[str, dict[str, str]] = {}
    for row in read_list(tables[0], ("transaction_id", "trial_id", "ground_truth", "participant_id")):
        if row["trial_id"] in truth:
            raise BadInput(f"{tables[0]}: trial_id {row['trial_id']} is there twice; restore the list")
        truth[row["trial_id"]] = row
    names = [path.relative_to(root).as_posix() for path in files_below(root, (".npz",), result.ignored)]
    shapes = parallel(_shape, [(root, name) for name in names], "PADISI-Face", options.workers)
    for name, shape in zip(names, shapes, strict=True):
        stem = Path(name).stem
        m = _IDENTIFIER.fullmatch(stem)
        trial = m[2] if m else stem
        if trial not in truth or (m and truth[trial]["transaction_id"] != m[1]):
            raise BadInput(f"{name}: not in {tables[0]}; restore the list or remove the file")
        code = truth[trial]["ground_truth"]
        family = _family(code, tables[0])
        images = {
            "rgb": (f"{name}#data[0][2,1,0]", shape),
            "depth": (f"{name}#data[0][4]", shape),
            "ir": (f"{name}#data[0][3]", shape),
        }
        result.rows.append(
            Row(
                sample_id=f"P:{trial}:0",
                dataset="P",
                layout="padisi-npz",
                clip_id=trial,
                frame=0,
                subject_id=f"P:{truth[trial]['participant_id']}",
                presenter_id="",
                source_id="",
                label="attack" if family else "bonafide",
                attack_family=family,
                attack_code=code,
                **modality_columns(images),
                depth_encoding="unit_float",
                ir_nm=IR_NM,
            )
        )
    samples = samples_by_clip(result.rows)
    for path in sorted((root / LISTS).glob("*partition_*.csv")):
        name = f"P-{path.stem.split('partition_', 1)[1]}"
        clips = ((row["trial_id"], row["partition_name"]) for row in read_list(path, ("trial_id", "partition_name")))
        result.protocols[name] = clip_protocol(name, path, clips, samples, result.notes)
    return result


LAYOUT = Layout("padisi-npz", f"ID_<transaction>_<trial>_<name>.npz and {LISTS}/*_ground_truth.csv", detect, index)
