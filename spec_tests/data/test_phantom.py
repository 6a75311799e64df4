"""The stand-in data: deterministic, in the public layouts, true to the physics it claims, free of shortcuts."""

import csv
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from data_manifests.errors import BadInput
from data_manifests.index import FAMILIES as INDEX_FAMILIES
from data_manifests.phantom import attacks, camera
from data_manifests.phantom.build import render as render_profile
from data_manifests.phantom.heads import NEUTRAL, head_height
from data_manifests.phantom.materials import BANDS, printed, reflectance, skin
from data_manifests.phantom.recordings import generator, plan
from data_manifests.phantom.render import grid_of, lost_modality, person, render
from data_manifests.phantom.sets import DOMAINS, PROFILES, SETS, VERSION
from data_manifests.phantom.writers import CDIT_PACKAGE, RGB_PACKAGE, is_written
from reference import phantom_controls as controls

TINY = PROFILES["tiny"]
RECORDINGS = {s: plan(s, TINY) for s in SETS}
ALL = [recording for s in SETS for recording in RECORDINGS[s]]


def cast(dataset: str, seed: int) -> attacks.Cast:
    domain = DOMAINS[dataset]
    wearer, victim = person(dataset, f"wearer {seed}", seed), person(dataset, f"victim {seed}", seed)
    return attacks.Cast(wearer, victim, grid_of(domain, TINY), domain.bands)


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    out = tmp_path_factory.mktemp("phantom") / "tiny"
    render_profile("tiny", out, workers=1)
    return out


def arrays(path: Path) -> dict[str, np.ndarray]:
    """Every array of a file of the tree, decoded."""
    if path.suffix == ".jpg":
        return {"image": np.asarray(Image.open(path))}
    if path.suffix == ".npz":
        with np.load(path, allow_pickle=False) as archive:
            return dict(archive)
    arrays = {}
    with h5py.File(path) as f:
        f.visititems(lambda name, x: arrays.update({name: x[...]}) if isinstance(x, h5py.Dataset) else None)
    return arrays


def data_files(root: Path) -> list[Path]:
    return sorted(p.relative_to(root) for p in root.rglob("*") if p.suffix in (".jpg", ".npz", ".h5", ".hdf5"))


def assert_same_trees(a: Path, b: Path, sets: str) -> None:
    for s in sets:
        assert data_files(a / s) == data_files(b / s) != []
        for name in data_files(a / s):
            x, y = arrays(a / s / name), arrays(b / s / name)
            assert x.keys() == y.keys()
            for key in x:
                np.testing.assert_array_equal(x[key], y[key], err_msg=f"{name} {key}")


# -- determinism --------------------------------------------------------------------------------------------------


@settings(max_examples=6)
@given(st.integers(0, len(ALL) - 1), st.integers(0, len(ALL) - 1))
def test_a_recording_is_the_same_whatever_was_rendered_before(i, j):
    first = render(ALL[i], TINY)
    person.cache_clear()
    render(ALL[j], TINY)
    again = render(ALL[i], TINY)
    assert first.jpeg == again.jpeg
    for a, b in zip(first.frames, again.frames, strict=True):
        np.testing.assert_array_equal(a.rgb, b.rgb)
        np.testing.assert_array_equal(a.depth, b.depth)
        np.testing.assert_array_equal(a.thermal, b.thermal)
        for band in a.infrared:
            np.testing.assert_array_equal(a.infrared[band], b.infrared[band])
        assert a.lost == b.lost


def test_one_worker_and_two_give_the_same_pixels(tree, tmp_path):
    render_profile("tiny", tmp_path / "two", sets="W", workers=2)
    assert_same_trees(tree, tmp_path / "two", "W")


def test_two_recordings_of_a_set_differ():
    for s in SETS:
        a, b = (render(replace(c, frames=c.frames[:1]), TINY).frames[0].rgb for c in RECORDINGS[s][:2])
        assert a.shape == b.shape
        assert (a != b).mean() > 0.2


# -- writing ------------------------------------------------------------------------------------------------------

NAMES = {
    "C": r"CeFA/(CeFA-Race/(AF|CA|EA)/\2-(\d{3})/([123])_\3_(1_1_1|3_1_2|3_2_2|3_1_4)"
    r"|CeFA-Mask/(3D-Mask|Silicone-Mask)/(\d{3})/([12])_\7_[12]_[12]_2_[12]_[1-4])/(profile|depth|ir)/\d{4}\.jpg",
    "S": r"CASIA-SURF-CROP/(real_part/real_(train|val|test)_part/CLKJ_[ABC]S\d{4}/real\.rssdk"
    r"|fake_part/fake_(train|val|test)_part/CLKJ_[ABC]S\d{4}/0[1-6]_(e|en|enm)_[sb]\.rssdk)"
    r"/(color|depth|ir)/[1-9]\d*1\.jpg",
    "W": r"preprocessed-face-station_(RGB|CDIT)/face-station/\d\d\.\d\d\.\d\d/\d{3}_0[1-7]_\d{3}_[0-5]_\d\d\.hdf5",
    "H": r"\d_0[1-3]_\d{4}_\d{4}_\d\d_\d\d_\d{3}-[0-9a-f]{8}\.h5",
    "P": r"\w+/ID_\d+_[0-9a-z]{8}_FACE_(NEUTRAL|SMILE|FROWN)_(WITH|WITHOUT)_GLASS\.npz",
}


@pytest.mark.parametrize("dataset", SETS)
def test_every_file_is_named_as_in_the_public_set(tree, dataset):
    names = [p.as_posix() for p in data_files(tree / dataset)]
    assert names
    for name in names:
        assert re.fullmatch(NAMES[dataset], name), name


def test_containers_hold_what_the_sheets_say(tree):
    stem = RECORDINGS["W"][0].name
    colour = arrays(tree / "W" / RGB_PACKAGE / f"{stem}.hdf5")
    others = arrays(tree / "W" / CDIT_PACKAGE / f"{stem}.hdf5")
    for values, channels in ((colour, 3), (others, 4)):
        for key, a in values.items():
            assert re.fullmatch(r"Frame_\d+/array", key)
            assert a.dtype == np.uint8
            assert a.shape[0] == channels
    h = arrays(tree / "H" / f"{RECORDINGS['H'][0].name}.h5")
    assert {"BASLER_BGR", "INTEL_DEPTH", "BASLER_LEFT_NIR_850nm"} < h.keys()
    assert {k for k in h if k.startswith("BOBCAT")} == {"BOBCAT_1050nm", "BOBCAT_1300nm", "BOBCAT_1550nm"}
    assert h["BASLER_BGR"].dtype == np.uint8
    assert h["BASLER_BGR"].shape[1] == 3
    assert h["INTEL_DEPTH"].dtype == h["BOBCAT_1300nm"].dtype == np.uint16
    p = arrays(next((tree / "P").rglob("*.npz")))["data"]
    assert p.shape[:2] == (1, 22)
    assert p.dtype == np.float32
    assert 0.0 <= p.min() < p.max() <= 1.0


def test_the_lists_name_every_recording_and_no_demographics(tree):
    with (tree / "W/documentation/PROTOCOL-grandtest.csv").open() as f:
        rows = list(csv.DictReader(f))
    assert list(rows[0]) == ["", "client_id", "filepath", "group", "label"]
    assert {r["filepath"] for r in rows} == {c.name for c in RECORDINGS["W"]}
    assert {r["group"] for r in rows if r["label"] == "attack/papermask"} == {"eval"}
    with (tree / "P/face_partitions/padisi_USC_FACE_ground_truth.csv").open() as f:
        header = next(csv.reader(f))
    assert header == ["transaction_id", "trial_id", "trial_name", "modality", "ground_truth", "participant_id"]
    with (tree / "H/PROTOCOL-grand_test-curated.csv").open() as f:
        curated = list(csv.DictReader(f))
    wigs = {c.name for c in RECORDINGS["H"] if c.species == "wig"}
    assert {r["video_name"] for r in curated} == {c.name for c in RECORDINGS["H"]} - wigs
    assert {r["label"] for r in curated if r["attack"] != "bonafide"} == {"1"}


def test_a_killed_run_leaves_whole_recordings_and_resumes(tree, tmp_path):
    out = tmp_path / "killed"
    command = [sys.executable, "-m", "data_manifests.phantom", "render", "--profile", "tiny", "--out", str(out)]
    root = Path(__file__).parents[2]
    run = subprocess.Popen([*command, "--sets", "S", "--workers", "1"], cwd=root, stdout=subprocess.PIPE)
    give_up = time.monotonic() + 60
    while sum(is_written(c, out) for c in RECORDINGS["S"]) < 3 and time.monotonic() < give_up:
        time.sleep(0.01)
    os.kill(run.pid, signal.SIGKILL)
    run.wait()
    done = [c for c in RECORDINGS["S"] if is_written(c, out)]
    assert 3 <= len(done) < len(RECORDINGS["S"])
    kept = {p: (out / "S" / p).stat().st_mtime_ns for p in data_files(out / "S")}
    expected = {p for p in data_files(tree / "S") if any(c.name in p.as_posix() for c in done)}
    assert set(kept) == expected
    assert_done = subprocess.run([*command, "--sets", "S", "--workers", "1"], cwd=root, capture_output=True, check=True)
    assert f"({len(RECORDINGS['S']) - len(done)} recordings rendered now" in assert_done.stdout.decode()
    assert kept.items() <= {p: (out / "S" / p).stat().st_mtime_ns for p in data_files(out / "S")}.items()
    assert not (out / ".partial").exists()
    assert_same_trees(tree, out, "S")


def test_a_folder_of_something_else_is_refused(tree, tmp_path):
    with pytest.raises(BadInput, match="tiny"):
        render_profile("cpu", tree)
    (tmp_path / "mine.txt").write_text("keep me")
    with pytest.raises(BadInput, match="not empty"):
        render_profile("tiny", tmp_path)
    with pytest.raises(BadInput, match="no set 'X'"):
        render_profile("tiny", tmp_path / "new", sets="C,X")
    with pytest.raises(BadInput, match="--profile"):
        render_profile("huge", tmp_path / "new")
    assert not (tmp_path / "new").exists()


# -- no shortcut --------------------------------------------------------------------------------------------------


@settings(max_examples=8)
@given(st.sampled_from(ALL), st.sampled_from(sorted(attacks.FAMILIES)))
def test_the_recording_does_not_depend_on_the_species(recording, species):
    """Same recording name, other species: scene, JPEG quality, sizes, dtypes and lost modalities must not move."""
    short = replace(recording, frames=recording.frames[:1])
    as_it_is, as_other = render(short, TINY), render(replace(short, species=species), TINY)
    assert as_it_is.jpeg == as_other.jpeg
    for a, b in zip(as_it_is.frames, as_other.frames, strict=True):
        assert (a.rgb.shape, a.depth.shape, a.depth.dtype) == (b.rgb.shape, b.depth.shape, b.depth.dtype)
        assert {k: v.shape for k, v in a.infrared.items()} == {k: v.shape for k, v in b.infrared.items()}


def test_a_modality_is_missing_as_often_in_both_classes():
    profile = PROFILES["cpu"]
    for s in SETS:
        for bonafide in (True, False):
            recordings = [c for c in plan(s, profile) if c.bonafide == bonafide]
            draws = [lost_modality(DOMAINS[s], generator(s, c.name, n, "lost")) for c in recordings for n in c.frames]
            rate, n = np.mean([d != "" for d in draws]), len(draws)
            expected = DOMAINS[s].missing
            assert abs(rate - expected) < 4 * np.sqrt(expected * (1 - expected) / n), (s, bonafide, rate)


def test_every_family_of_the_sheets_is_there():
    species = {s: {c.species for c in plan(s, PROFILES["cpu"])} for s in SETS}
    assert species["C"] == {"bonafide", "cloth", "replay", "3dmask", "3dmask_wig", "3dmask_wig_glasses", "silicone"}
    assert len(species["S"]) == 7
    assert {"print", "replay", "papermask", "rigidmask", "flexiblemask", "fakehead"} < species["W"]
    assert {"wig", "tattoo", "makeup", "print", "replay", "papermask"} < species["H"]
    assert "halfmask" in species["P"]
    assert "replay" not in species["P"]
    assert set(controls.SHOWN_BY) == set(INDEX_FAMILIES)


def test_no_person_is_in_two_groups_and_recording_names_are_unique():
    for profile in (PROFILES["cpu"], PROFILES["paper"]):
        for s in SETS:
            recordings = plan(s, profile)
            assert len({c.name for c in recordings}) == len(recordings)
            groups: dict[str, set[str]] = {}
            for c in recordings:
                groups.setdefault(c.wearer, set()).add(c.group)
                groups.setdefault(c.victim, set()).add(c.group)
            assert all(len(g) == 1 for g in groups.values()), s


# -- physics ------------------------------------------------------------------------------------------------------


def contrast(a: np.ndarray) -> float:
    return float(a.std() / a.mean())


@settings(max_examples=5)
@given(st.integers(0, 1000))
def test_dye_ink_vanishes_in_infrared_and_carbon_does_not(seed):
    people = cast("W", seed)
    picture = attacks.photo(people, np.random.default_rng(seed))
    dye, carbon = (printed(picture, people.bands, share) for share in (0.0, 1.0))
    np.testing.assert_array_equal(dye[:3], carbon[:3])
    assert contrast(dye[3]) < 0.25 * contrast(carbon[3])
    assert dye[3].min() > 0.7
    assert carbon[3].min() < 0.4


@settings(max_examples=4)
@given(st.integers(0, 1000))
def test_a_replay_shines_in_colour_and_is_black_in_infrared(seed):
    people = cast("C", seed)
    rng = np.random.default_rng(seed)
    screen, live = attacks.replay(people, rng), attacks.bonafide(people, rng)
    middle = np.ix_(*(np.flatnonzero(np.abs(a - 20) < 40) for a in (people.grid.y, people.grid.x)))
    assert screen.emission[:, *middle].mean() > 0.03
    assert screen.albedo[3][middle].mean() < 0.1
    assert live.albedo[3][middle].mean() > 0.3


def off_plane(height: np.ndarray, grid) -> float:
    """SD in mm of heights within 45 mm of the face's middle from their best plane (least squares, float64)."""
    rows, cols = (np.flatnonzero(np.abs(a - c) < 45) for a, c in ((grid.y, 40), (grid.x, 0)))
    x, y = np.meshgrid(grid.x[cols], grid.y[rows])
    design = np.stack((x.ravel(), y.ravel(), np.ones(x.size)), 1).astype(np.float64)
    z = height[np.ix_(rows, cols)].ravel().astype(np.float64)
    return float(np.std(z - design @ np.linalg.lstsq(design, z, rcond=None)[0]))


@settings(max_examples=4)
@given(st.integers(0, 1000))
def test_flat_prints_are_planes_and_heads_masks_and_silicone_are_not(seed):
    people = replace(cast("W", seed))
    rng = np.random.default_rng(seed)
    relief = {
        f: off_plane(attacks.FAMILIES[f](people, rng).height, people.grid) for f in ("bonafide", "silicone", "fakehead")
    }
    assert min(relief.values()) > 4.0
    flat = attacks.held_print(people, rng, np.full((4, *people.grid.shape), 0.5, np.float32), bent=False)
    no_fingers = np.where(flat.maps["live"] > 0, np.nan, flat.height)
    rows = np.abs(people.grid.y - 40) < 30
    inner = no_fingers[rows][:, np.abs(people.grid.x) < 45]
    assert np.nanstd(inner) < 2.5


@settings(max_examples=4)
@given(st.integers(0, 1000))
def test_silicone_follows_the_imitated_face(seed):
    people = cast("W", seed)
    worn = attacks.silicone_mask(people, np.random.default_rng(seed))
    target, _ = head_height(people.victim, NEUTRAL, people.grid)
    rows, cols = (np.flatnonzero(np.abs(a - c) < 40) for a, c in ((people.grid.y, 50), (people.grid.x, 0)))
    pair = [h[np.ix_(rows, cols)].ravel() for h in (worn.height, target)]
    assert np.corrcoef(pair)[0, 1] > 0.85


@settings(max_examples=4)
@given(st.integers(0, 1000), st.booleans())
@example(0, True)
def test_the_openings_of_a_cut_out_show_the_wearer(seed, bent):
    people = cast("S", seed)
    grid = people.grid
    live = {}
    for parts in ("e", "en", "enm"):
        worn = attacks.cutout(parts, bent)(people, np.random.default_rng(seed))
        live[parts] = worn.maps["live"] > 0.5
        cut = attacks.cut_regions(people.victim, grid, parts) > 0.99
        assert live[parts][cut].mean() > 0.9
        whole = np.abs(grid.y + 40)[:, None] + 0 * grid.x[None, :] < 10
        assert not live[parts][whole & (np.abs(grid.x) < 50)[None, :]].any()
    assert live["e"].sum() < live["en"].sum() < live["enm"].sum()


def test_skin_is_dark_and_paper_and_plaster_bright_beyond_1400_nm():
    ones = np.ones((1, 1), np.float32)
    tones = np.stack([skin(m * ones, 0.3 * ones, BANDS)[:, 0, 0] for m in (0.0, 0.5, 1.0)])
    band = BANDS.index("1550")
    assert tones[:, band].max() < 0.2 < 0.5 < min(reflectance(m, BANDS)[band] for m in ("paper", "plaster"))
    # Melanin: skin tones lie far apart in colour, closer at 850 nm, together above 1400 nm.
    spread = np.ptp(tones, axis=0)
    assert spread[BANDS.index("G")] > spread[BANDS.index("850")] > spread[band]


@settings(max_examples=10)
@given(st.integers(0, 1000), st.sampled_from(SETS))
def test_depth_polarity_and_range_are_the_sets_own(seed, dataset):
    """A plane tilted away to the right must brighten or darken as the set's encoding says; holes stay 0."""
    domain = DOMAINS[dataset]
    scene = camera.draw_scene(domain, np.random.default_rng(seed))
    z = np.tile(np.linspace(490, 510, 32, dtype=np.float32), (32, 1))
    z[3, 3] = 0.0
    encoded = camera.encode_depth(z, z > 0, domain.depth, scene).astype(np.float64)
    slope = np.sign(encoded[10, -1] - encoded[10, 0])
    assert slope == (-1 if domain.depth.encoding == "near_bright" else 1)
    assert encoded[3, 3] == 0
    assert encoded[z > 0].min() > 0 or domain.depth.encoding == "mad"


# -- controls -----------------------------------------------------------------------------------------------------


@settings(max_examples=5)
@given(st.integers(0, 2**32 - 1))
def test_shuffled_labels_give_chance_and_a_planted_cue_does_not(seed):
    rng = np.random.default_rng(seed)
    cues, labels = rng.normal(size=(400, 6)), np.arange(400) % 2 == 0
    subjects = np.arange(400).astype(str)
    bound = controls.chance_bounds(200, 200)
    assert abs(controls.held_out_auc(cues, labels, subjects, 1.0) - 0.5) < 1.5 * bound
    cues[:, 2] += 3.0 * labels
    assert controls.held_out_auc(cues, labels, subjects, 1.0) > 0.9
    train = np.arange(400) < 200
    assert controls.transfer(cues, labels, train, ~train) < 0.15


@settings(max_examples=10)
@given(st.integers(0, 2**32 - 1))
def test_trivial_cues_are_means_and_spreads(seed):
    images = np.random.default_rng(seed).integers(0, 256, (3, 5, 8, 8), dtype=np.uint8)
    cues = controls.trivial_cues(images)
    for row, image in zip(cues, images.astype(np.float64), strict=True):
        parts = (image[:3], image[3], image[4])
        expected = [f(p) for p in parts for f in (np.mean, np.std)]
        np.testing.assert_allclose(row, expected, rtol=1e-5)


# Mean colour, depth and infrared of the first frame of each set's first and last recording. Results are kept under the
# version's name, so a renderer that draws something else is another VERSION, with these numbers taken anew.
FROZEN = {
    ("C", 0): (40.11, 64.3490, 24.9887),
    ("C", -1): (47.10, 76.1272, 42.5915),
    ("S", 0): (61.08, 22.3479, 31.8235),
    ("S", -1): (85.67, 39.2441, 63.1829),
    ("W", 0): (102.91, 93.6569, 50.1685),
    ("W", -1): (106.89, 103.8650, 44.2309),
    ("H", 0): (68.50, 696.8434, 85.0924),
    ("H", -1): (81.87, 677.1629, 61.3573),
    ("P", 0): (69.07, 0.5857, 36.0385),
    ("P", -1): (51.46, 0.5732, 42.7127),
}


@pytest.mark.parametrize(("dataset", "which"), FROZEN)
def test_version_1_is_frozen(dataset: str, which: int):
    assert VERSION == "1"
    profile = PROFILES["cpu"]
    frame = render(plan(dataset, profile)[which], profile).frames[0]
    infrared = frame.infrared[DOMAINS[dataset].ir_band]
    means = [float(np.mean(image, dtype=np.float64)) for image in (frame.rgb, frame.depth, infrared)]
    # Half a per cent: libraries may round single pixels otherwise, never a whole picture.
    assert means == pytest.approx(FROZEN[dataset, which], rel=5e-3)
