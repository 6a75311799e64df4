"""CASIA-SURF (S), layout `surf-2019`: the challenge's release, of which only the training part names subjects
(data-set sheet, section 3.1).

- `Training/{real_part,fake_part}/<subject>/<recording>/{color,depth,ir}/31.jpg`, as in `casia_surf`
- `Val/0000/000000-{color,depth,ir}.jpg` and `Testing/…` likewise, anonymous: neither recording nor subject is
  named, and the class stands in `val_private_list.txt` and `test_private_list.txt` only, a line being
  `colour depth infrared label`, 1 = live.

`train_list.txt` names the frames of the training part; what it names and the tree lacks is absent. Without its private
list a part has no label, so it is left out and noted. Each anonymous triplet is a recording of
its own. Nobody published whom it shows, so a part counts as one subject, and no statistic by subject claims more
than is known.
"""

import re
from pathlib import Path

from data_manifests.adapters.casia_surf import CLASSES, IR_NM, PROTOCOL, rssdk_recordings, rssdk_result
from data_manifests.adapters.common import (
    AdapterResult,
    Findings,
    Layout,
    Options,
    files_below,
    listed_frames,
    modality_columns,
    no_folder,
    read_words,
)
from data_manifests.decode import image_shape
from data_manifests.index import Row
from data_manifests.parallel import parallel

ANONYMOUS = {"Val": ("val", "val_private_list.txt"), "Testing": ("test", "test_private_list.txt")}
TRAIN_LIST = "train_list.txt"
_IMAGE = re.compile(r"(.+)-(color|depth|ir)\.(?:jpg|jpeg|png)", re.IGNORECASE)
_MODALITY = {"color": "rgb", "depth": "depth", "ir": "ir"}
_LABELS = {"1": "bonafide", "0": "attack"}


def _detect(root: Path) -> bool:
    """Training frames are named 31.jpg (the release of 2026 has the same folders and 0031.jpg), or a part is
    anonymous."""
    for image in (root / "Training").glob("*_part/*/*/*/[0-9]*"):
        return not re.fullmatch("0[0-9]{3}", image.stem)
    return any(_IMAGE.fullmatch(path.name) for part in ANONYMOUS for path in (root / part).glob("*/*-*.*"))


def _labels(root: Path, part: str, name: str, result: AdapterResult) -> dict[str, str]:
    """Triplet → class from one private list. A triplet's name is the path of its images without `-color.jpg`."""
    labels: dict[str, str] = {}
    for number, words in enumerate(read_words(root / name), 1):
        triplets = {m[1] for m in map(_IMAGE.fullmatch, words[:3]) if m}
        if len(words) != 4 or len(triplets) != 1 or words[3] not in _LABELS:
            result.problem(name, f"row {number} is not the colour, depth and infrared of one triplet and 0 or 1")
            continue
        triplet = triplets.pop()
        if triplet in labels:
            result.problem(name, f"row {number} lists {triplet} again; keep one line")
            continue
        labels[triplet] = _LABELS[words[3]]
        if not triplet.startswith(f"{part}/"):
            result.problem(name, f"row {number} names {triplet}, which is not below {part}; restore the list")
    return labels


def _triplet(job: tuple[Path, dict[str, str], bool, bool]) -> tuple[dict[str, tuple[str, str]], Findings]:
    """The readable images of one triplet: modality → (reference, shape)."""
    root, names, names_only, collect = job
    findings = Findings(collect)
    images = {}
    for modality, name in names.items():
        with findings.collecting(name):
            images[modality] = (name, "" if names_only else image_shape(root / name, name, modality))
    return images, findings


def _anonymous(root: Path, part: str, options: Options, result: AdapterResult) -> None:
    split, list_name = ANONYMOUS[part]
    triplets: dict[str, dict[str, str]] = {}
    for below in files_below(root / part, (".jpg", ".jpeg", ".png"), result):
        m = _IMAGE.fullmatch(below)
        if m is None:
            result.problem(f"{part}/{below}", "an image here is named <number>-color, -depth or -ir; rename it")
            continue
        triplets.setdefault(f"{part}/{m[1]}", {})[_MODALITY[m[2].lower()]] = f"{part}/{below}"
    if not triplets:
        return
    if not (root / list_name).is_file():
        result.notes.append(
            f"{part}: {len(triplets)} triplets have no label and are left out, as {list_name} is absent"
        )
        return
    labels = _labels(root, part, list_name, result)
    if unlisted := sorted(triplets.keys() - labels.keys()):
        result.notes.append(f"{list_name}: {len(unlisted)} triplets are not listed and left out, first {unlisted[0]}")
    if absent := sorted(labels.keys() - triplets.keys()):
        result.absent |= dict.fromkeys(absent, list_name)
        result.notes.append(f"{list_name}: {len(absent)} listed triplets are not in the tree, first {absent[0]}")
    labelled = sorted(triplets.keys() & labels.keys())
    jobs = [(root, triplets[triplet], options.names_only, options.collect) for triplet in labelled]
    for triplet, (images, findings) in zip(labelled, parallel(_triplet, jobs, part, options.workers), strict=True):
        result.absorb(findings)
        if not images:
            continue
        sample = f"S:{triplet}:0"
        result.protocols[PROTOCOL][split].append(sample)
        result.rows.append(
            Row(
                sample_id=sample,
                dataset="S",
                layout="surf-2019",
                clip_id=triplet,
                frame=0,
                subject_id=f"S:{part}",
                presenter_id="",
                source_id="",
                label=labels[triplet],
                attack_family="print_cut" if labels[triplet] == "attack" else "",
                attack_code="",
                **modality_columns(images),
                depth_encoding="8bit_unknown" if "depth" in images else "",
                ir_nm=IR_NM if "ir" in images else None,
            )
        )


def _index(root: Path, options: Options) -> AdapterResult:
    result = AdapterResult(options.collect)
    recordings = []
    for folder, kind in CLASSES.items():
        place = f"Training/{folder}"
        if not (root / place).is_dir():
            result.problem(place, no_folder(root, place))
            continue
        recordings += rssdk_recordings(root / place, place, kind, "train", result)
    rssdk_result("surf-2019", recordings, options, result)
    if (root / TRAIN_LIST).is_file():
        present = {(row.clip_id, row.frame) for row in result.rows}
        listed = (("/".join(folder.split("/")[-2:]), frame) for folder, frame in listed_frames(root / TRAIN_LIST))
        result.absent |= {f"{r}:{frame}": TRAIN_LIST for r, frame in listed if (r, frame) not in present}
    for part in ANONYMOUS:
        if (root / part).is_dir():
            _anonymous(root, part, options, result)
    splits = result.protocols[PROTOCOL]
    result.protocols[PROTOCOL] = {split: samples for split, samples in splits.items() if samples}
    return result


LAYOUT = Layout("surf-2019", "Training/real_part/<subject>/real.rssdk/color/31.jpg", _detect, _index)
