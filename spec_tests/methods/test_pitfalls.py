"""The data sheet's pitfalls (section 10) and the bugs of public loaders (section 7) that concern trees, decoding,
pairing and preprocessing: each is built into a miniature tree and is handled as stated, or named.

Pitfalls of lists, labels and protocols are in test_lists.py and test_protocols.py.
"""

import csv
import dataclasses
import io
import json
import pickle
import re
import shutil
from pathlib import Path

import h5py
import joblib
import numpy as np
import pytest
from PIL import Image

from data_manifests import decode
from data_manifests import preprocessing as pre
from data_manifests.__main__ import main
from data_manifests.adapters import Options, index_tree
from data_manifests.errors import BadInput
from data_manifests.index import COLUMNS, Row, load_index, parse_reference, save_index
from reference.faces import Faces, open_faces
from spec_tests.support import trees

OPTIONS = Options(workers=1, frames=4)
COLLECT = dataclasses.replace(OPTIONS, collect=True)
S_REAL = "CASIA-SURF-CROP/real_part/real_train_part/CLKJ_AS0001/real.rssdk"
C_LIVE = "CeFA/CeFA-Race/AF/AF-000/1_000_1_1_1"
W_CLIP = "face-station/17.01.18/017_01_000_0_00.hdf5"


def faces_of(letter: str, root: Path, work: Path, options: Options = OPTIONS) -> tuple[list[Row], Faces]:
    """The rows of a tree and their images, through the code that every training uses."""
    result = index_tree(letter, root, options)
    save_index(work / "index", result.rows, result.protocols, {letter: root})
    return result.rows, open_faces(load_index(work / "index" / "index.csv"), 8, work / "cache", workers=1)


def at(rows: list[Row], clip: str) -> list[int]:
    """Row numbers of a clip."""
    return [i for i, row in enumerate(rows) if row.clip_id == clip]


S_CLIP, C_CLIP = "CLKJ_AS0001/real.rssdk", "1_000_1_1_1"


class TestPitfalls:
    @pytest.mark.parametrize("layout", trees.LAYOUTS)
    def test_pitfall_01_the_class_comes_from_the_tree_whatever_the_lists_polarity(self, tmp_path, layout):
        """1 is live in some lists and 0 in others; a golden clip of each class pins every layout."""
        letter, write = trees.LAYOUTS[layout]
        golden = {
            "cefa-full": ("1_000_1_1_1", "1_000_3_1_4"),
            "cefa-2020": ("003000", "003001"),
            "cefa-2026": ("1_120_1_1_1", "1_120_3_1_2"),
            "surf-crop": ("CLKJ_AS0001/real.rssdk", "CLKJ_AS0001/04_en_b.rssdk"),
            "surf-2019": ("Val/0000/000000", "Val/0000/000001"),
            "surf-2026": ("CLKJ_BS0001/real.rssdk", "CLKJ_BS0001/04_en_b.rssdk"),
            "wmca-hdf5": ("017_01_000_0_00", "017_01_003_2_81"),
            "wmca-jpg": ("017_01_000_0_00", "017_01_003_2_81"),
            "hqwmca-hdf5": ("1_01_0001_0000_00_00_000-0a1b2c3d", "1_02_0001_0000_03_01_002-1a1b2c3d"),
            "padisi-npz": ("1e234567", "y0a11111"),
            "padisi-jpg": ("1e234567", "y0a11111"),
            "padisi-joblib": ("1e234567", "y0a11111"),
        }
        rows = index_tree(letter, write(tmp_path), dataclasses.replace(OPTIONS, unpickle=True)).rows
        label_of = {row.clip_id: row.label for row in rows}
        live, spoof = golden[layout]
        assert (label_of[live], label_of[spoof]) == ("bonafide", "attack")

    def test_pitfall_02_profile_or_color_and_numbers_in_numerical_order(self, tmp_path):
        root = trees.cefa(tmp_path / "c")
        (root / C_LIVE / "profile").rename(root / C_LIVE / "color")
        with pytest.raises(BadInput, match=r"1_000_1_1_1/color: not one of the folders profile, depth, ir"):
            index_tree("C", root, OPTIONS)
        root = trees.cefa_2026(tmp_path / "new")
        live = root / "CASIA_CeFA/Ethnicity/AF/AF-120/1_120_1_1_1"
        (live / "color").rename(live / "profile")
        with pytest.raises(BadInput, match=r"1_120_1_1_1/profile: not one of the folders color, depth, ir"):
            index_tree("C", root, OPTIONS)
        root = trees.surf(tmp_path / "s")
        rows = index_tree("S", root, OPTIONS).rows
        first = at(rows, S_CLIP)
        assert [(rows[i].frame, rows[i].depth.rpartition("/")[2]) for i in first] == [
            (9, "9.jpg"),
            (31, "31.jpg"),
            (101, "101.jpg"),
        ]
        (root / S_REAL / "ir" / "9.jpg").rename(root / S_REAL / "ir" / "0009.jpg")
        row = index_tree("S", root, OPTIONS).rows[first[0]]
        assert (row.rgb, row.ir) == (f"{S_REAL}/color/9.jpg", f"{S_REAL}/ir/0009.jpg")  # paired by number, not by name

    @pytest.mark.parametrize(("clip", "frame"), [("100_03_015_2_10", 12), ("101_06_067_1_02", 20)])
    def test_pitfall_03_the_two_wmca_clips_whose_depth_has_another_number(self, tmp_path, clip, frame):
        root = trees.wmca_jpg(tmp_path / "w")
        folder = root / "WMCA-Image" / "R_CDIT" / clip
        trees.recording(folder, "color", [f"{frame:04}.jpg", "0036.jpg"])
        for modality in ("depth", "ir"):
            (folder / modality / f"{frame:04}.jpg").rename(folder / modality / f"{frame + 1:04}.jpg")
        result = index_tree("W", root, OPTIONS)
        rows = [r for r in result.rows if r.clip_id == clip]
        modalities = {r.frame: (bool(r.rgb), bool(r.depth), bool(r.ir)) for r in rows}
        assert modalities == {frame: (True, False, False), frame + 1: (False, True, True), 36: (True, True, True)}
        wanted = f"{clip}: frames of different numbers are not paired: {frame} (colour), {frame + 1} (depth, infrared)"
        assert wanted in result.notes

    def test_pitfall_03_a_missing_modality_is_a_state_that_is_counted_and_no_other_frames_image(self, tmp_path):
        root = trees.surf(tmp_path / "s")
        (root / S_REAL / "depth" / "31.jpg").unlink()
        rows, faces = faces_of("S", root, tmp_path)
        clip = at(rows, S_CLIP)
        assert [bool(rows[i].depth) for i in clip] == [True, False, True]
        assert faces.present[clip, 1].tolist() == [True, False, True]
        assert not faces.images[clip[1], 3].any()
        assert abs(faces.images[clip[0], 3].mean() - trees.DEPTH) < 2
        assert faces.missing_report()["S"] == {"rgb": 0, "depth": 1, "ir": 0}

    def test_pitfall_04_sizes_differ_between_modalities(self, tmp_path):
        root = trees.surf(tmp_path / "s")
        for path in (root / S_REAL / "depth").iterdir():
            trees.jpg(path, trees.DEPTH, (48, 31))
        rows, faces = faces_of("S", root, tmp_path)
        first = at(rows, S_CLIP)[0]
        assert (rows[first].rgb_shape, rows[first].depth_shape) == ("24x16:uint8", "48x31:uint8")
        assert abs(faces.images[first, 3].mean() - trees.DEPTH) < 2

    def test_pitfall_04_a_grey_image_stored_in_colours_with_chroma_noise_is_its_luminance(self, tmp_path):
        root = trees.surf(tmp_path / "s")
        rng = np.random.default_rng(4)
        noisy = np.full((24, 16, 3), 120, np.uint8)
        noisy[..., 0] += rng.integers(0, 9, (24, 16), dtype=np.uint8)
        noisy[..., 2] -= rng.integers(0, 9, (24, 16), dtype=np.uint8)
        Image.fromarray(noisy).save(root / S_REAL / "depth" / "9.jpg", quality=100, subsampling=0)
        rows, faces = faces_of("S", root, tmp_path)
        stored = np.asarray(Image.open(root / S_REAL / "depth" / "9.jpg"), np.float64)
        luminance = (stored @ [0.299, 0.587, 0.114]).mean()
        assert abs(faces.images[at(rows, S_CLIP)[0], 3].mean() - luminance) < 1

    def test_pitfall_05_all_zero_and_constant_depth(self, tmp_path):
        root = trees.hq_wmca(tmp_path / "h")
        names = list(trees.HQ_RECORDINGS)
        for name, value in zip(names[:3], (0, 1, 700), strict=True):
            with h5py.File(root / f"{name}.h5", "r+") as f:
                f["INTEL_DEPTH"][...] = value
        rows, faces = faces_of("H", root, tmp_path)
        zero, holes, constant = (at(rows, name) for name in names[:3])
        for clip in (zero, holes):
            assert not faces.images[clip, 3].any()
            assert not faces.present[clip, 1].any()  # nothing was measured: counted as missing
        assert (faces.images[constant, 3] == 127).all()  # mad = 0: mid-grey, no division by zero
        assert faces.present[constant, 1].all()
        assert faces.missing_report()["H"]["depth"] == len(zero) + len(holes)

    @pytest.mark.parametrize("name", ["._9.jpg", "Thumbs.db", ".DS_Store", "desktop.ini"])
    def test_pitfall_07_files_of_the_operating_system_are_ignored_and_named(self, tmp_path, name):
        root = trees.surf(tmp_path)
        before = index_tree("S", root, OPTIONS).rows
        for folder in (S_REAL, f"{S_REAL}/ir", S_REAL.rpartition("/")[0], "CASIA-SURF-CROP/real_part"):
            (root / folder / name).write_bytes(b"\0\5\x16\7")
        (root / S_REAL / "__MACOSX").mkdir()
        result = index_tree("S", root, OPTIONS)
        assert result.rows == before
        assert len(result.ignored) == 5

    def test_pitfall_07_zero_byte_images_are_named_when_indexing(self, tmp_path):
        root = trees.surf(tmp_path)
        (root / S_REAL / "ir" / "9.jpg").write_bytes(b"")
        with pytest.raises(BadInput, match=r"ir/9\.jpg: is empty \(0 bytes\)"):
            index_tree("S", root, OPTIONS)

    def test_pitfall_07_truncated_images_are_named_when_decoding(self, tmp_path):
        root = trees.surf(tmp_path / "s")
        path = root / S_REAL / "ir" / "9.jpg"
        Image.fromarray(np.random.default_rng(7).integers(0, 256, (24, 16, 3), np.uint8)).save(path, quality=95)
        path.write_bytes(path.read_bytes()[:-200])
        with pytest.raises(BadInput, match=r"ir/9\.jpg: the image is damaged or cut short"):
            faces_of("S", root, tmp_path)

    def test_pitfall_07_changed_case(self, tmp_path):
        root = trees.wmca(tmp_path / "w")
        before = index_tree("W", root, OPTIONS).rows
        with h5py.File(root / "preprocessed-face-station_RGB" / W_CLIP, "r+") as f:
            f.move("Frame_3", "FRAME_3")
        after = index_tree("W", root, OPTIONS).rows
        assert [r.frame for r in after] == [r.frame for r in before]
        assert sum("#FRAME_3/array" in r.rgb for r in after) == 1
        root = trees.surf(tmp_path / "s")
        (root / S_REAL / "ir" / "9.jpg").rename(root / S_REAL / "ir" / "9.JPG")
        rows = index_tree("S", root, OPTIONS).rows
        assert rows[at(rows, S_CLIP)[0]].ir.endswith("/ir/9.JPG")
        (root / S_REAL / "ir").rename(root / S_REAL / "IR")
        with pytest.raises(BadInput, match=r"real\.rssdk/IR: not one of the folders color, depth, ir"):
            index_tree("S", root, OPTIONS)

    def test_pitfall_10_the_same_clips_under_two_layouts_are_refused(self, tmp_path):
        trees.wmca(tmp_path)
        trees.wmca_jpg(tmp_path)
        with pytest.raises(BadInput, match="holds WMCA as wmca-hdf5 and wmca-jpg, which would count recordings twice"):
            index_tree("W", tmp_path, OPTIONS)

    def test_pitfall_10_a_clip_or_a_capture_in_two_places_is_named(self, tmp_path):
        root = trees.wmca(tmp_path / "w")
        for package in ("RGB", "CDIT"):
            path = root / f"preprocessed-face-station_{package}" / W_CLIP
            (path.parents[1] / "18.01.18").mkdir()
            shutil.copy(path, path.parents[1] / "18.01.18" / path.name)
        twice = r"18\.01\.18/.*: is recording 017_01_000_0_00 like .*17\.01\.18/.*; keep one"
        with pytest.raises(BadInput, match=twice):
            index_tree("W", root, OPTIONS)
        root = trees.hq_wmca(tmp_path / "h")
        before = index_tree("H", root, OPTIONS)
        name = next(iter(trees.HQ_RECORDINGS))
        (root / "again").mkdir()
        shutil.copy(root / f"{name}.h5", root / "again")
        with pytest.raises(BadInput, match=rf"again/{name}\.h5: holds H:{name}:0 like|{name}\.h5: holds .* like again"):
            index_tree("H", root, OPTIONS)
        after = index_tree("H", root, COLLECT)
        assert len(after.problems) == 4  # its frames
        assert {r.sample_id for r in after.rows} == {r.sample_id for r in before.rows}
        assert len(after.rows) == len(before.rows)
        assert {s: len(v) for p in after.protocols.values() for s, v in p.items()} == {
            s: len(v) for p in before.protocols.values() for s, v in p.items()
        }
        root = trees.padisi(tmp_path / "p")
        shutil.copy(root / "npz" / "1e234567.npz", root / "npz" / "ID_t00000_1e234567_FACE_NEUTRAL_WITHOUT_GLASS.npz")
        with pytest.raises(
            BadInput, match=r"ID_t00000_.*: is trial 1e234567 like|1e234567\.npz: is trial 1e234567 like"
        ):
            index_tree("P", root, OPTIONS)

    def test_pitfall_11_hdf5_frames_with_gaps_are_paired_on_what_both_packages_have(self, tmp_path):
        root = trees.wmca(tmp_path)
        colour, others = (root / f"preprocessed-face-station_{p}" / W_CLIP for p in ("RGB", "CDIT"))
        trees.h5_frames(colour, trees.COLOUR, (0, 2, 10, 11))
        trees.h5_frames(others, (9, trees.DEPTH, trees.INFRARED, 230), (2, 3, 9, 10, 11))
        result = index_tree("W", root, OPTIONS)
        rows = [r for r in result.rows if r.clip_id == "017_01_000_0_00"]
        assert [r.frame for r in rows] == [2, 10, 11]  # numerical: Frame_10 is before Frame_2 in the file
        for r in rows:
            assert {parse_reference(x).member for x in (r.rgb, r.depth, r.ir)} == {f"Frame_{r.frame}/array"}
        note = f"{W_CLIP}: frames in one package only are left out: 0 (RGB), 3 (CDIT), 9 (CDIT)"
        assert note in result.notes

    @pytest.mark.parametrize("opted_in", [False, True])
    def test_pitfall_12_no_pickle_can_run_code(self, tmp_path, opted_in):
        """A dump that would create a file when unpickled: refused as such, and by the reader when opted in."""
        root = trees.padisi_joblib(tmp_path / "p")
        proof = tmp_path / "ran"

        class Payload:
            def __reduce__(self):
                return Path.touch, (proof,)

        path = root / "padisi_USC_FACE_preprocessed.bz2"
        joblib.dump({**trees.padisi_dump(), "labels": Payload()}, path, compress=("bz2", 3))
        with pytest.raises(BadInput, match="asks for pathlib" if opted_in else "is a pickle, .*--unpickle"):
            index_tree("P", root, dataclasses.replace(OPTIONS, unpickle=opted_in))
        assert not proof.exists()
        joblib.load(path)
        assert proof.exists()  # the payload works: joblib itself would have run it

    def test_pitfall_12_an_npz_with_objects_is_refused(self, tmp_path):
        root = trees.padisi(tmp_path / "p")
        proof = tmp_path / "ran"

        class Payload:
            def __reduce__(self):
                return Path.touch, (proof,)

        np.savez(root / "npz" / "1e234567.npz", data=np.array([[Payload()]], dtype=object))
        with pytest.raises(BadInput, match=r"1e234567\.npz: 'data' holds pickled objects, which are never loaded"):
            index_tree("P", root, OPTIONS)
        reference = parse_reference("npz/1e234567.npz#data[0][4]")
        with pytest.raises(BadInput, match="holds pickled objects"):
            next(decode.raw(root, [(reference, "depth")]))
        pickled = io.BytesIO()
        pickle.dump({"data": np.zeros(3)}, pickled)
        (root / "npz" / "1e234567.npz").write_bytes(pickled.getvalue())
        with pytest.raises(BadInput, match=r"1e234567\.npz: not an \.npz file"):
            index_tree("P", root, OPTIONS)
        assert not proof.exists()

    def test_pitfall_13_no_output_holds_personal_data(self, tmp_path, capsys, monkeypatch):
        """Every file, line of output, note and problem of all sets: no run of 8 digits, no name, no demographics."""
        monkeypatch.setenv("FAS_REFERENCE_SALT", "a salt")
        roots = {letter: write(tmp_path / letter) for letter, write in trees.TREES.items()}
        personal = roots["C"] / "CeFA/CeFA-Race/EA/EA-012"
        personal.rename(personal.with_name("EA-012-19900203M"))
        personal = personal.with_name("EA-012-19900203M")
        race = personal.parent
        (race / "._EA-012-19900203M").write_bytes(b"\0")
        (personal / "._19900203-Jane").write_bytes(b"\0")
        (personal / "3_012_1_1_1" / "depth" / "._Jane Doe 19900203.jpg").write_bytes(b"\0")
        truth = roots["P"] / "face_partitions" / "padisi_USC_FACE_ground_truth.csv"
        truth.write_text(truth.read_text().replace(",p02,", ",Jane Doe 19900203,"))
        (tmp_path / "roots.toml").write_text("".join(f'{letter} = "{letter}"\n' for letter in trees.TREES))
        main(["index", "--roots", str(tmp_path / "roots.toml"), "--out", str(tmp_path / "out"), "--workers", "1"])
        shown = capsys.readouterr()
        files = {path.name: path.read_text() for path in (tmp_path / "out").iterdir()}

        # now with things that are wrong, in every mode
        (personal / "id-card 19900203 Jane Doe").mkdir()
        (personal / "Jane Doe.txt").touch()
        (race / "Jane Doe 19900203.zip").touch()
        (race / "EA-12-19900203M").mkdir()
        (race / "EA-500-19900203M").touch()
        (personal / "3_012_1_1_1" / "Jane Doe").mkdir()
        (personal / "3_012_1_1_1" / "ir" / "Jane Doe 19900203.jpg").touch()
        collected = index_tree("C", roots["C"], COLLECT)
        assert len(collected.problems) == 7
        named = index_tree("C", roots["C"], dataclasses.replace(COLLECT, names_only=True))
        with pytest.raises(BadInput) as e:
            index_tree("C", roots["C"], OPTIONS)
        everything = [*files.values(), shown.out, shown.err, str(e.value), repr(collected), repr(named)]
        for text in everything:
            text = text.replace(str(tmp_path), "").replace("1e234567", "").replace("0a1b2c3d", "")
            assert not re.search(
                "[0-9]{8}|1990|Jane|Doe|SECRET|gender|race|ethnicity|age[^a-z]", text.replace("Race", "")
            )
        with io.StringIO(files["index.csv"], newline="") as f:
            assert next(csv.reader(f)) == list(COLUMNS)  # a fixed list of columns, none of them a demographic
        assert json.dumps([str(p) for p in collected.problems])

    def test_pitfall_14_the_only_face_pictures_of_the_project_are_phantoms(self):
        top = Path(__file__).parents[2]
        pictures = {
            path.relative_to(top).as_posix()
            for folder in ("data_manifests", "paper_tables", "reference", "spec_tests")
            for path in (top / folder).rglob("*")
            if path.suffix.lower() in (".jpg", ".jpeg", ".png", ".gif", ".bmp", ".webp", ".npz", ".h5", ".hdf5")
        }
        assert pictures == {"data_manifests/phantom/sheet.jpg"}

    def test_pitfall_16_reencoded_depth_is_told_from_the_sensors(self, tmp_path):
        npz = index_tree("P", trees.padisi(tmp_path / "npz"), OPTIONS)
        jpg = index_tree("P", trees.padisi_jpg(tmp_path / "jpg"), OPTIONS)
        assert {r.depth_encoding for r in npz.rows} == {"unit_float"}
        assert {r.depth_encoding for r in jpg.rows} == {"8bit_ceil"}
        assert [r.sample_id for r in sorted(jpg.rows, key=lambda r: r.sample_id)] == [
            r.sample_id for r in sorted(npz.rows, key=lambda r: r.sample_id)
        ]


class TestLoaderBugs:
    """Section 7. Colours of the miniature trees differ in all five planes by 40 levels and more."""

    @pytest.mark.parametrize("layout", ["cefa-full", "surf-crop", "wmca-hdf5", "wmca-jpg", "padisi-npz", "padisi-jpg"])
    def test_flex_modal_and_mmdg_bench_infrared_is_not_rgb(self, tmp_path, layout):
        """Their test loaders feed RGB in the place of infrared; bob.db.casiasurf exchanges depth and infrared;
        CA-MMDG overwrites the colour of PADISI-Face by infrared; cv2's BGR reaches the network unflipped."""
        letter, write = trees.LAYOUTS[layout]
        _, faces = faces_of(letter, write(tmp_path / "tree"), tmp_path)
        means = np.asarray(faces.images, np.float64).mean(axis=(2, 3))
        assert np.abs(means - [*trees.COLOUR, trees.DEPTH, trees.INFRARED]).max() < 3

    def test_mmdg_bench_infrared_is_not_stretched_to_its_maximum(self, tmp_path):
        root = trees.surf(tmp_path / "s")
        trees.jpg(root / S_REAL / "ir" / "9.jpg", 60)
        rows, faces = faces_of("S", root, tmp_path)
        assert abs(faces.images[at(rows, S_CLIP)[0], 4].mean() - 60) < 2

    @pytest.mark.parametrize("content", [b"", b"no image", None])
    def test_mmdg_bench_a_failed_image_is_an_error_and_not_black(self, tmp_path, content):
        """Theirs goes on with a black image; cv2.imread gives None on a missing file. Here the file is named."""
        root = trees.surf(tmp_path / "s")
        index_of = index_tree("S", root, OPTIONS)
        save_index(tmp_path / "index", index_of.rows, {}, {"S": root})
        path = root / S_REAL / "ir" / "9.jpg"
        path.unlink()
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(BadInput, match=r"ir/9\.jpg"):
            open_faces(load_index(tmp_path / "index" / "index.csv"), 8, tmp_path / "cache", workers=1)

    def test_dadm_a_replaced_folder_name_that_is_not_there_is_no_second_rgb(self, tmp_path):
        """DADM replaces /color/ in paths of CeFA, whose folder is /profile/: nothing is replaced and every modality
        silently is RGB. Here modalities come from their own folders only."""
        root = trees.cefa(tmp_path / "c")
        for folder in ("depth", "ir"):
            shutil.rmtree(root / C_LIVE / folder)
        rows, faces = faces_of("C", root, tmp_path)
        first = at(rows, C_CLIP)
        assert [(rows[i].depth, rows[i].ir) for i in first] == [("", "")] * 2
        assert not faces.present[first, 1:].any()
        assert not faces.images[first, 3:].any()

    def test_cefa_multi_modalities_are_not_sorted_apart(self, tmp_path):
        """A.J. Liu's loader sorts each modality's list by itself: one missing file shifts all that follow. Each
        frame here has its own grey level in all modalities, so a shifted pair shows."""
        root = trees.cefa(tmp_path / "c", ("AF-000", "AF-001", "CA-301", "EA-012"))
        level = 10
        for folder in sorted((root / "CeFA" / "CeFA-Race").glob("*/*/*")):
            for frame in ("0026.jpg", "0051.jpg"):
                for modality in ("profile", "depth", "ir"):
                    trees.jpg(folder / modality / frame, level)
                level += 9
        (root / C_LIVE / "depth" / "0026.jpg").unlink()
        rows, faces = faces_of("C", root, tmp_path)
        race = [i for i, r in enumerate(rows) if "CeFA-Race" in r.rgb]
        assert level == 10 + 9 * len(race)
        for position, i in enumerate(race):
            planes = np.asarray(faces.images[i], np.float64).mean(axis=(1, 2))
            kept = planes[[0, 4]] if position == 0 else planes[[0, 3, 4]]
            assert np.abs(kept - (10 + 9 * position)).max() < 2

    def test_dadm_border_removal_by_modality_loses_registration(self):
        """One pixel of the face, marked in all modalities, must stay at one place; and no lit row is lost."""
        rgb, depth = (np.zeros((c, 30, 30), np.uint8) for c in (3, 1))
        rgb[:, 4:26, 4:26], depth[:, 10:20, 8:18] = 90, 90
        rgb[:, 15, 12] = depth[:, 15, 12] = 255
        apart = [np.argwhere(pre.remove_black_borders_released(x)[0] == 255)[0].tolist() for x in (rgb, depth)]
        assert apart[0] != apart[1]
        together = [np.argwhere(x[0] == 255)[0].tolist() for x in pre.remove_black_borders([rgb, depth])]
        assert together[0] == together[1] == [11, 8]
        assert pre.remove_black_borders([rgb, depth])[0].shape == (3, 22, 22)

    def test_dadm_border_removal_survives_an_all_black_depth(self):
        rgb, black = np.full((3, 9, 9), 50, np.uint8), np.zeros((1, 9, 9), np.uint8)
        with pytest.raises(ValueError, match="all-black"):
            pre.remove_black_borders_released(black)
        assert [x.shape for x in pre.remove_black_borders([rgb, black])] == [(3, 9, 9), (1, 9, 9)]

    def test_mmda_needs_no_hog_or_plgf_images_and_ignores_those_of_dadms_scripts(self, tmp_path):
        root = trees.surf(tmp_path / "s")
        before = index_tree("S", root, OPTIONS).rows
        trees.jpg(root / S_REAL / "HOG_ir" / "9.jpg", 3)
        trees.jpg(root / S_REAL / "PLGF_ir" / "9.jpg", 3)
        result = index_tree("S", root, OPTIONS)
        assert result.rows == before
        assert result.ignored == [f"{S_REAL}/HOG_ir", f"{S_REAL}/PLGF_ir"]
        root = trees.padisi_jpg(tmp_path / "p")
        trees.jpg(root / "1e234567" / "HOG_ir.jpg", 3)
        assert index_tree("P", root, OPTIONS).ignored == ["1e234567/HOG_ir.jpg"]

    def test_padisi_trial_ids_stay_text(self, tmp_path):
        """pandas reads the trial 1e234567 as an infinite number."""
        rows = index_tree("P", trees.padisi(tmp_path), OPTIONS).rows
        assert "1e234567" in {r.clip_id for r in rows}

    def test_a_dropped_modality_is_black_and_not_mid_grey(self, tmp_path):
        """Zeros before the normalisation are black, -1; zeros after it are mid-grey, another input. Ours are black."""
        assert (pre.PIPELINES["mmfas"](*(np.zeros((c, 4, 4), np.uint8) for c in (3, 1, 1)))[1] == -1).all()
