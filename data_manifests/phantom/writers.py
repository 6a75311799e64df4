"""Write footage as files in its set's public layout (data-set sheet, section 3; one layout for each set).

A recording is first written as a whole under `<out>/.partial/` and then moved to its place, so no part of one appears.
"""

import csv
import io
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
from PIL import Image

from data_manifests.errors import replacing
from data_manifests.phantom.recordings import HQ_TYPES, Recording, seed_of
from data_manifests.phantom.render import Footage, Frame

RGB_PACKAGE, CDIT_PACKAGE = "preprocessed-face-station_RGB", "preprocessed-face-station_CDIT"
MULTISPECTRAL = "padisi_USC_FACE_multispectral"
PARTIAL = ".partial"


def _jpeg(image: np.ndarray, quality: int) -> bytes:
    grey = np.asarray(np.rint(image), np.uint8) if image.dtype != np.uint8 else image
    rgb = grey if grey.ndim == 3 else np.repeat(grey[..., None], 3, axis=2)
    out = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(rgb)).save(out, "JPEG", quality=quality, subsampling=2)
    return out.getvalue()


def _jpegs(footage: Footage, folder: Path, colour: str, name: str) -> None:
    for frame in footage.frames:
        pictures = {colour: frame.rgb, "depth": frame.depth, "ir": frame.infrared["850"]}
        for modality, picture in pictures.items():
            if modality != frame.lost:
                path = folder / modality / name.format(frame.number)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(_jpeg(picture, footage.jpeg))


def _chw(image: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(image.transpose(2, 0, 1))


def _cdit(frame: Frame) -> np.ndarray:
    """(4, H, W) uint8: grey, depth, infrared, thermal. A lost modality is all zero, as some sensors deliver it."""
    grey = frame.rgb @ np.array((0.299, 0.587, 0.114), np.float32)
    depth = frame.depth * (frame.lost != "depth")
    near = frame.infrared["850"] * (frame.lost != "ir")
    return np.stack([np.rint(a).astype(np.uint8) for a in (grey, depth, near, 255.0 * frame.thermal)])


def _write_c(footage: Footage, folders: list[Path]) -> None:
    _jpegs(footage, folders[0], "profile", "{:04d}.jpg")


def _write_s(footage: Footage, folders: list[Path]) -> None:
    _jpegs(footage, folders[0], "color", "{}.jpg")


def _write_w(footage: Footage, paths: list[Path]) -> None:
    """Write colour and the other channels. In one recording of thirty the second frame's key is one off between the two
    packages, as in two recordings of the public set, so that frames must be paired on the keys both have."""
    recording = footage.recording
    shifted = seed_of(recording.dataset, recording.name, "keys") % 30 == 0
    with h5py.File(paths[0], "w") as colour, h5py.File(paths[1], "w") as rest:
        for i, frame in enumerate(footage.frames):
            colour.create_dataset(f"Frame_{frame.number}/array", data=_chw(frame.rgb))
            key = frame.number + int(shifted and i == 1)
            rest.create_dataset(f"Frame_{key}/array", data=_cdit(frame))


def _write_h(footage: Footage, paths: list[Path]) -> None:
    """Write BGR 8-bit, NIR 10-bit, SWIR 14-bit, depth in mm; a lost modality is all zero."""
    frames = footage.frames
    with h5py.File(paths[0], "w") as f:
        f["BASLER_BGR"] = np.stack([_chw(x.rgb[..., ::-1]) for x in frames])
        depth = [x.depth[None] * (x.lost != "depth") for x in frames]
        f["INTEL_DEPTH"] = np.stack(depth).astype(np.uint16)
        for band in frames[0].infrared:
            name, top = ("BASLER_LEFT_NIR_850nm", 1023) if band == "850" else (f"BOBCAT_{band}nm", 16383)
            grey = np.stack([x.infrared[band][None] * (x.lost != "ir") for x in frames])
            f[name] = np.rint(grey / 255.0 * top).astype(np.uint16)


def _write_p(footage: Footage, paths: list[Path]) -> None:
    """Write 22 channels, 0 to 1: BGR, RealSense infrared and depth, thermal, left and right NIR × 5, SWIR × 6."""
    frame = footage.frames[0]
    ir = {band: image / 255.0 for band, image in frame.infrared.items()}
    bgr = [frame.rgb[..., c] / 255.0 for c in (2, 1, 0)]
    near = ir["850"] * (frame.lost != "ir")
    nir = [ir[b] for b in ("660", "780", "850", "940", "1050")]
    right = [np.roll(x, 2, axis=1) for x in nir]
    swir = [ir[b] for b in ("940", "1050", "1200", "1450", "1550", "1650")]
    stack = [*bgr, near, frame.depth * (frame.lost != "depth"), frame.thermal, *nir, *right, *swir]
    # Twelve bits are what such cameras deliver; the zeros behind them let the archive compress.
    data = np.rint(np.stack(stack)[None] * 4095.0).astype(np.float32) / np.float32(4096.0)
    np.savez_compressed(paths[0], data=data)


_WRITERS: dict[str, Callable[[Footage, list[Path]], None]] = {
    "C": _write_c,
    "S": _write_s,
    "W": _write_w,
    "H": _write_h,
    "P": _write_p,
}


def targets(recording: Recording) -> list[str]:
    """The recording's folder or files, relative to the set's root; it is complete when all exist."""
    if recording.dataset == "C":
        return [f"CeFA/{recording.name}"]
    if recording.dataset == "S":
        return [f"CASIA-SURF-CROP/{recording.name}"]
    if recording.dataset == "W":
        return [f"{package}/{recording.name}.hdf5" for package in (RGB_PACKAGE, CDIT_PACKAGE)]
    if recording.dataset == "H":
        return [f"{recording.name}.h5"]
    return [f"{MULTISPECTRAL}/{recording.name}.npz"]


def is_written(recording: Recording, out: Path) -> bool:
    """Whether the recording is already complete under `out`."""
    return all((out / recording.dataset / t).exists() for t in targets(recording))


def write(footage: Footage, out: Path) -> None:
    """Write a recording's footage into `<out>/<set letter>/…`; it appears there complete or not at all."""
    recording = footage.recording
    partial = out / PARTIAL / f"{os.getpid()}"
    shutil.rmtree(partial, ignore_errors=True)
    staged = [partial / target for target in targets(recording)]
    for path in staged:
        path.parent.mkdir(parents=True, exist_ok=True)
    _WRITERS[recording.dataset](footage, staged)
    for path, target in zip(staged, targets(recording), strict=True):
        place = out / recording.dataset / target
        place.parent.mkdir(parents=True, exist_ok=True)
        path.replace(place)
    shutil.rmtree(partial)


def write_lists(dataset: str, recordings: list[Recording], out: Path) -> None:
    """Write the protocol and ground-truth lists of W, H and P; the trees of S and C name their splits themselves."""
    root = out / dataset
    if dataset == "W":
        rows: list[list[object]] = [["", "client_id", "filepath", "group", "label"]]
        for i, recording in enumerate(recordings):
            client = int(recording.name.rsplit("/", 1)[1].split("_")[0])
            label = "0" if recording.bonafide else f"attack/{_W_LABEL.get(recording.species, recording.species)}"
            rows.append([i, client, recording.name, recording.group, label])
        _csv(root / "documentation" / "PROTOCOL-grandtest.csv", rows)
    elif dataset == "H":
        rows = [["video_name", "label", "attack", "group"]]
        for recording in recordings:
            kind = int(recording.code.split("_")[0])
            if HQ_TYPES[kind] != "Wig":
                attack = "bonafide" if recording.bonafide else f"attack/{HQ_TYPES[kind]}"
                rows.append([recording.name, int(not recording.bonafide), attack, recording.group])
        _csv(root / "PROTOCOL-grand_test-curated.csv", rows)
    elif dataset == "P":
        truth: list[list[object]] = [
            ["transaction_id", "trial_id", "trial_name", "modality", "ground_truth", "participant_id"]
        ]
        parts: list[list[object]] = [["transaction_id", "trial_id", "partition_name"]]
        for recording in recordings:
            _, transaction, trial, *rest = recording.name.split("_")
            holder = recording.wearer if recording.wearer.startswith("participant-") else recording.victim
            truth.append([transaction, trial, "_".join(rest), "FACE", recording.code, holder.split("-")[1]])
            parts.append([transaction, trial, recording.group])
        _csv(root / "face_partitions" / "padisi_USC_FACE_ground_truth.csv", truth)
        _csv(root / "face_partitions" / "padisi_USC_FACE_partition_3folds_part0.csv", parts)


_W_LABEL = {
    "funny_glasses": "glasses",
    "paper_glasses": "glasses",
    "print": "prints",
    "transparentmask": "rigidmask",
}


def _csv(path: Path, rows: list[list[object]]) -> None:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    with replacing(path) as f:
        f.write(text.getvalue().encode())
