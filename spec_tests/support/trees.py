"""Miniature trees with the public data sets' real file names, for the tests of the adapters and the decoder.

Every picture is one colour, another in every channel and modality, so that a test sees a swapped channel or modality.
Nothing here is shared with the adapters or with the phantom renderer: names are spelled out as the sheets give them.
"""

import csv
from pathlib import Path

import h5py
import joblib
import numpy as np
from PIL import Image

# What each modality of each tree must decode to: (R, G, B), depth, infrared.
COLOUR, DEPTH, INFRARED = (200, 100, 50), 90, 160
SIZE = (24, 16)  # height, width


def jpg(path: Path, colour: int | tuple[int, int, int], size: tuple[int, int] = SIZE) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    three = colour if isinstance(colour, tuple) else (colour,) * 3  # depth and infrared are 3-channel JPGs too
    Image.new("RGB", size[::-1], three).save(path, "JPEG", quality=100, subsampling=0)


def recording(folder: Path, colour_folder: str, frames: list[str]) -> None:
    for frame in frames:
        jpg(folder / colour_folder / frame, COLOUR)
        jpg(folder / "depth" / frame, DEPTH)
        jpg(folder / "ir" / frame, INFRARED)


def surf(root: Path) -> Path:
    """CASIA-SURF, layout surf-crop: a subject in train, one in val, one in test, with the frames 9, 31 and 101."""
    recordings = {"train": ("04_en_b", "05_enm_s"), "val": ("01_e_s",), "test": ("02_e_b", "03_en_s", "06_enm_b")}
    for number, (split, attacks) in enumerate(recordings.items(), 1):
        for kind, names in (("real", ("real",)), ("fake", attacks)):
            for name in names:
                part = root / "CASIA-SURF-CROP" / f"{kind}_part" / f"{kind}_{split}_part"
                recording(part / f"CLKJ_AS000{number}" / f"{name}.rssdk", "color", ["101.jpg", "31.jpg", "9.jpg"])
    return root


RACES = {"AF": 1, "CA": 2, "EA": 3}


def cefa(root: Path, subjects: tuple[str, ...] = ("AF-000", "AF-250", "CA-001", "CA-301", "EA-012", "EA-499")) -> Path:
    """CeFA, layout cefa-full: a live recording, a cloth print and a replay a subject, and three mask recordings."""
    for subject in subjects:
        race, number = subject[:2], subject[3:6]
        for rest in ("1_1_1", "3_1_2", "3_1_4"):
            folder = root / "CeFA" / "CeFA-Race" / race / subject / f"{RACES[race]}_{number}_{rest}"
            recording(folder, "profile", ["0026.jpg", "0051.jpg"])
    masks = root / "CeFA" / "CeFA-Mask"
    recording(masks / "3D-Mask" / "002" / "1_002_1_1_2_1_3", "profile", ["0001.jpg"])
    recording(masks / "3D-Mask" / "002" / "1_002_1_1_1_1_2", "profile", ["0001.jpg"])
    recording(masks / "Silicone-Mask" / "001" / "2_001_1_1_2_1_3", "profile", ["0001.jpg"])
    return root


WMCA_RECORDINGS = {
    "017_01_000_0_00": ("train", ""),
    "017_02_000_0_02": ("train", ""),
    "017_01_003_2_81": ("train", "flexiblemask"),
    "018_01_000_0_01": ("dev", ""),
    "018_01_000_3_05": ("dev", "replay"),
    "018_03_000_3_04": ("dev", "print"),
    "501_01_000_2_03": ("eval", "fakehead"),
    "019_01_000_0_00": ("eval", ""),
    "019_01_004_2_09": ("eval", "papermask"),
    "019_01_004_1_02": ("eval", "rigidmask"),
}


def h5_frames(path: Path, channels: tuple[int, ...], frames: tuple[int, ...]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    array = np.stack([np.full(SIZE, c, np.uint8) for c in channels])
    with h5py.File(path, "w") as f:
        for frame in frames:
            f.create_dataset(f"Frame_{frame}/array", data=array)


def wmca(root: Path) -> Path:
    """WMCA: frames 3, 12 and 40 of every recording in both packages."""
    for name in WMCA_RECORDINGS:
        below = f"face-station/17.01.18/{name}"
        h5_frames(root / "preprocessed-face-station_RGB" / f"{below}.hdf5", COLOUR, (3, 12, 40))
        others = (9, DEPTH, INFRARED, 230)  # grey, depth, infrared, thermal
        h5_frames(root / "preprocessed-face-station_CDIT" / f"{below}.hdf5", others, (3, 12, 40))
    write_wmca_list(root)
    return root


def write_wmca_list(root: Path) -> None:
    lines: list[list[object]] = [["", "client_id", "filepath", "group", "label"]]
    for i, (name, (group, family)) in enumerate(WMCA_RECORDINGS.items()):
        below = f"face-station/17.01.18/{name}"
        lines.append([i, name[:3], below, group, f"attack/{family}" if family else 0])
    write_csv(root / "documentation" / "PROTOCOL-grandtest.csv", lines)


HQ_RECORDINGS = {
    "1_01_0001_0000_00_00_000-0a1b2c3d": ("train", ""),
    "1_02_0001_0000_03_01_002-1a1b2c3d": ("train", "print"),
    "1_01_0002_0000_00_02_000-2a1b2c3d": ("dev", ""),
    "1_03_0002_0007_02_01_001-3a1b2c3d": ("dev", "fakehead"),
    "1_01_0003_0000_00_00_000-4a1b2c3d": ("eval", ""),
    "1_01_0003_0000_10_01_001-5a1b2c3d": ("eval", "makeup"),
}


def ramp(low: int, high: int) -> np.ndarray:
    """uint16 (1, H, W): what a sensor of more than 8 bits delivers."""
    return np.linspace(low, high, SIZE[0] * SIZE[1]).round().astype(np.uint16).reshape(1, *SIZE)


def hq_recording(path: Path, frames: int = 20, bands: tuple[int, ...] = (1050, 1300)) -> None:
    with h5py.File(path, "w") as f:
        bgr = np.stack([np.full(SIZE, c, np.uint8) for c in COLOUR[::-1]])
        f["BASLER_BGR"] = np.stack([bgr] * frames)
        f["INTEL_DEPTH"] = np.stack([ramp(500, 560)] * (frames // 2))
        for band in bands:
            f[f"BOBCAT_{band}nm"] = np.stack([ramp(band, 4 * band)] * (frames // 4))


def hq_wmca(root: Path) -> Path:
    """HQ-WMCA: recordings of 20 colour, 10 depth and 5 frames of each infrared band."""
    root.mkdir(parents=True, exist_ok=True)
    lines: list[list[object]] = []
    for name, (group, family) in HQ_RECORDINGS.items():
        hq_recording(root / f"{name}.h5")
        lines.append([name, int(bool(family)), f"attack/{family}" if family else "bonafide", group])
    write_csv(root / "PROTOCOL-grand_test-curated.csv", lines)
    return root


PADISI_CAPTURES = {
    "1e234567": ("p01", "m00000", "train", ""),
    "y0a11111": ("p01", "m50302", "train", "fakehead"),
    "z0a22222": ("p02", "m00000", "valid", ""),
    "b0a33333": ("p02", "m50101", "valid", "glasses"),
    "c0a44444": ("p03", "m00000", "test", ""),
    "d0a55555": ("p03", "m50701", "test", "silicone"),
}


def npz(path: Path, dtype: type = np.float32) -> None:
    """22 channels: blue, green, red, infrared, depth, and others that must not be taken for them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    values = [*COLOUR[::-1], INFRARED, DEPTH, *range(230, 247)]
    np.savez_compressed(path, data=np.stack([np.full(SIZE, v / 255, dtype) for v in values])[None])


def padisi(root: Path) -> Path:
    """PADISI-Face: half of the captures under their long name, half under the trial's."""
    for i, trial in enumerate(PADISI_CAPTURES):
        npz(root / "npz" / f"{padisi_identifier(i, trial) if i % 2 else trial}.npz")
    write_padisi_lists(root)
    return root


def write_padisi_lists(root: Path) -> None:
    truth: list[list[object]] = [
        ["transaction_id", "trial_id", "trial_name", "modality", "ground_truth", "participant_id", "gender", "age"]
    ]
    parts: list[list[object]] = [["transaction_id", "trial_id", "trial_name", "partition_name"]]
    for i, (trial, (person, code, group, _)) in enumerate(PADISI_CAPTURES.items()):
        truth.append([f"t{i:05}", trial, "FACE_NEUTRAL_WITHOUT_GLASS", "FACE", code, person, "SECRET", 99])
        parts.append([f"t{i:05}", trial, "FACE_NEUTRAL_WITHOUT_GLASS", group])
    write_csv(root / "face_partitions" / "padisi_USC_FACE_ground_truth.csv", truth)
    write_csv(root / "face_partitions" / "padisi_USC_FACE_dataset_partition_3folds_part0.csv", parts)


def surf_2026(root: Path) -> Path:
    """CASIA-SURF, layout surf-2026: the same three subjects, frames of four digits."""
    recordings = {"Training": ("04_en_b", "05_enm_s"), "Val": ("01_e_s",), "Testing": ("02_e_b", "03_en_s", "06_enm_b")}
    for number, (part, attacks) in enumerate(recordings.items(), 1):
        for kind, names in (("real", ("real",)), ("fake", attacks)):
            for name in names:
                folder = root / "CASIA_SURF" / "Data" / part / f"{kind}_part" / f"CLKJ_BS000{number}" / f"{name}.rssdk"
                recording(folder, "color", ["0101.jpg", "0015.jpg", "0009.jpg"])
    return root


SURF_2019_TRIPLETS = {  # with the label of the private list: 1 live, 0 fake
    "Val/0000/000000": "1",
    "Val/0000/000001": "0",
    "Val/0001/000100": "0",
    "Testing/0000/000000": "0",
    "Testing/0003/000301": "1",
}


def surf_2019(root: Path) -> Path:
    """CASIA-SURF, layout surf-2019: one subject with names, five anonymous triplets and their private lists."""
    for kind, names in (("real", ("real",)), ("fake", ("04_en_b", "05_enm_s", "06_enm_b"))):
        for name in names:
            folder = root / "Training" / f"{kind}_part" / "CLKJ_AS0005" / f"{name}.rssdk"
            recording(folder, "color", ["101.jpg", "31.jpg", "1.jpg"])
    lines: dict[str, list[str]] = {"Val": [], "Testing": []}
    for triplet, label in SURF_2019_TRIPLETS.items():
        names = [f"{triplet}-{modality}.jpg" for modality in ("color", "depth", "ir")]
        for name, colour in zip(names, (COLOUR, DEPTH, INFRARED), strict=True):
            jpg(root / name, colour)
        lines[triplet.split("/")[0]].append(" ".join([*names, label]))
    (root / "val_private_list.txt").write_text("\n".join(lines["Val"]))
    (root / "test_private_list.txt").write_text("\n".join(lines["Testing"]))
    return root


def cefa_2026(root: Path) -> Path:
    """CeFA, layout cefa-2026: the tree of `cefa` under the newer names."""
    for subject in ("AF-120", "CA-201", "EA-300"):
        race, number = subject.split("-")
        for rest in ("1_1_1", "3_1_2", "3_2_2", "3_1_4"):
            folder = root / "CASIA_CeFA" / "Ethnicity" / race / subject / f"{RACES[race]}_{number}_{rest}"
            recording(folder, "color", ["0001.jpg", "0002.jpg"])
    recording(root / "CASIA_CeFA" / "Mask" / "3D-Mask" / "002" / "1_002_1_1_2_1_3", "color", ["0001.jpg"])
    recording(root / "CASIA_CeFA" / "Mask" / "Silicone-Mask" / "001" / "2_001_1_1_1_1_3", "color", ["0001.jpg"])
    return root


CEFA_2020_DEV = {"003000": "1", "003001": "0", "003200": "0", "003400": "1"}


def cefa_2020(root: Path) -> Path:
    """CeFA, layout cefa-2020: two named subjects in train, anonymous dev with labels and test without."""
    train: dict[str, list[str]] = {}
    for sub, subject in (("4@1", "1_000"), ("4@2", "2_007")):
        for rest, label in (("1_1_1", "1"), ("3_1_4", "0")):
            recording(root / "phase1" / "train" / f"{subject}_{rest}", "profile", ["0001.jpg", "0002.jpg"])
            train.setdefault(sub, []).extend(
                f"train/{subject}_{rest}/profile/{f}.jpg {label}" for f in ("0001", "0002")
            )
    for name in CEFA_2020_DEV:
        recording(root / "phase1" / "dev" / name, "profile", ["0001.jpg"])
    recording(root / "test" / "004000", "profile", ["0001.jpg"])
    for k, block in (("1", "0030"), ("2", "0032"), ("3", "0034")):
        lines = [f"dev/{name} {label}" for name, label in CEFA_2020_DEV.items() if name.startswith(block)]
        (root / "phase1" / f"4@{k}_dev_ref.txt").write_text("\r\n".join(lines))
    for sub, lines in train.items():
        (root / "phase1" / f"{sub}_train.txt").write_text("\n".join(lines) + "\n")
    return root


def wmca_jpg(root: Path) -> Path:
    """WMCA, layout wmca-jpg: the recordings of `wmca`, frames 12, 24 and 36, and the official list beside them."""
    for name in WMCA_RECORDINGS:
        recording(root / "WMCA-Image" / "R_CDIT" / name, "color", ["0012.jpg", "0024.jpg", "0036.jpg"])
    write_wmca_list(root)
    return root


def padisi_jpg(root: Path) -> Path:
    """PADISI-Face, layout padisi-jpg: a folder a trial."""
    for trial in PADISI_CAPTURES:
        for name, colour in (("color", COLOUR), ("depth", DEPTH), ("ir", INFRARED)):
            jpg(root / trial / f"{name}.jpg", colour)
    write_padisi_lists(root)
    return root


def padisi_identifier(i: int, trial: str) -> str:
    return f"ID_t{i:05}_{trial}_FACE_NEUTRAL_WITHOUT_GLASS"


def padisi_dump() -> dict[str, object]:
    """What the joblib file holds."""
    image = np.stack([np.full(SIZE, v / 255, np.float32) for v in COLOUR[::-1]])
    return {
        "data": np.stack([image] * len(PADISI_CAPTURES)),
        "identifiers": [padisi_identifier(i, trial) for i, trial in enumerate(PADISI_CAPTURES)],
        "labels": np.array([code != "m00000" for _, code, _, _ in PADISI_CAPTURES.values()]),
        "pai_codes": [code for _, code, _, _ in PADISI_CAPTURES.values()],
    }


def padisi_joblib(root: Path) -> Path:
    """PADISI-Face, layout padisi-joblib: the one file with the colour images."""
    root.mkdir(parents=True, exist_ok=True)
    joblib.dump(padisi_dump(), root / "padisi_USC_FACE_preprocessed.bz2", compress=("bz2", 3))
    write_padisi_lists(root)
    return root


def write_csv(path: Path, lines: list[list[object]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as f:
        csv.writer(f).writerows(lines)  # CRLF, as the owners' files have it


# One tree a data set, and every other layout by its id.
TREES = {"C": cefa, "S": surf, "W": wmca, "H": hq_wmca, "P": padisi}
LAYOUTS = {
    "cefa-full": ("C", cefa),
    "cefa-2020": ("C", cefa_2020),
    "cefa-2026": ("C", cefa_2026),
    "surf-crop": ("S", surf),
    "surf-2019": ("S", surf_2019),
    "surf-2026": ("S", surf_2026),
    "wmca-hdf5": ("W", wmca),
    "wmca-jpg": ("W", wmca_jpg),
    "hqwmca-hdf5": ("H", hq_wmca),
    "padisi-npz": ("P", padisi),
    "padisi-jpg": ("P", padisi_jpg),
    "padisi-joblib": ("P", padisi_joblib),
}
