"""A whole index of tiny synthetic triplets, written to disk by the tests that train on it in seconds.

Bona fide infrared images are striped across and attacks down, so that a working method learns them within a few
steps; everything else is noise. (Brightness would not do: mmFAS's stem normalises each patch and cannot see it.)
Nothing here is shared with the phantom renderer.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from data_manifests.index import Row, save_index

SIDE = 32


def write_index(
    folder: Path,
    seed: int = 0,
    subjects: int = 4,
    frames: int = 2,
    sets: str = "CSW",
    gap: int = 80,
    without: str = "",
) -> Path:
    """Write images and an index with the protocols `mmfas` and `official` below `folder`; return its index.csv.

    Each set has `subjects` subjects, each with a bona fide and an attack recording of `frames` frames. The first half
    of a set's subjects train, the next validates, the rest tests: of every set in `official`, of C alone in
    `mmfas`, where all of the other sets tests. `gap` is the stripes' height, of 255; 0 leaves nothing to learn.
    No sample has the modality `without`.
    """
    rng = np.random.default_rng(seed)
    lost: dict[str, Any] = {without: "", f"{without}_shape": ""} if without else {}
    rows: list[Row] = []
    mmfas: dict[str, list[str]] = {"train": [], "val": [], "test": []}
    official: dict[str, list[str]] = {"train": [], "val": [], "test": []}
    for dataset in sets:
        for subject in range(subjects):
            for label in ("bonafide", "attack"):
                for frame in range(frames):
                    row = _frame(folder / dataset, dataset, subject, label, frame, rng, gap)
                    rows.append(replace(row, **lost))
                    half = subjects // 2
                    part = "train" if subject < half else "val" if subject == half else "test"
                    official[part].append(row.sample_id)
                    mmfas[part if dataset == "C" else "test"].append(row.sample_id)
    roots = {d: folder / d for d in sets}
    save_index(folder / "index", rows, {"mmfas": mmfas, "official": official}, roots)
    return folder / "index" / "index.csv"


def _frame(root: Path, dataset: str, subject: int, label: str, frame: int, rng: np.random.Generator, gap: int) -> Row:
    recording = f"s{subject}-{label}"
    names = {}
    for modality in ("rgb", "depth", "ir"):
        noise = rng.normal(128, 20, (SIDE, SIDE, 3) if modality == "rgb" else (SIDE, SIDE))
        if modality == "ir":
            across, down = np.indices((SIDE, SIDE)) % 8 < 4
            noise += gap * ((across if label == "bonafide" else down) - 0.5)
        pixels = np.clip(noise, 0, 255).astype(np.uint8)
        path = root / recording / f"{modality}-{frame:04}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
        names[modality] = str(path.relative_to(root))
    shape_text = f"{SIDE}x{SIDE}:uint8"
    return Row(
        sample_id=f"{dataset}/{recording}/{frame}",
        dataset=dataset,
        layout="miniature",
        clip_id=f"{dataset}/{recording}",
        frame=frame,
        subject_id=f"{dataset}:{subject}",
        presenter_id="",
        source_id="",
        label=label,
        attack_family="" if label == "bonafide" else "print",
        attack_code="",
        rgb=names["rgb"],
        rgb_shape=shape_text,
        depth=names["depth"],
        depth_shape=shape_text,
        ir=names["ir"],
        ir_shape=shape_text,
        depth_encoding="8bit_unknown",
        ir_nm=850,
    )
