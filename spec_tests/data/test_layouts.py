"""Every layout on its miniature tree: indexed, decoded, by names only, collecting, and told from the others."""

import dataclasses
import os
import re
import shutil
import stat
from collections import Counter
from contextlib import suppress
from pathlib import Path

import h5py
import joblib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from data_manifests import decode
from data_manifests.adapters import LAYOUTS, Options, detect, index_tree
from data_manifests.adapters.common import printable
from data_manifests.adapters.illustrations import check_illustration
from data_manifests.adapters.subjects import salt_file, subject_code
from data_manifests.errors import BadInput
from data_manifests.index import MODALITIES, load_index, parse_reference, read_lists, read_roots, save_index
from data_manifests.protocols import check_subjects
from spec_tests.support import trees

OPTIONS = Options(workers=1, frames=4)
HDF5 = ("wmca-hdf5", "hqwmca-hdf5")


@pytest.fixture(scope="module")
def tree_of(tmp_path_factory):
    """Each layout's miniature tree; not to be changed. PADISI-Face's joblib file is unpacked already."""
    top = tmp_path_factory.mktemp("layouts")
    roots = {layout: write(top / layout) for layout, (_, write) in trees.LAYOUTS.items()}
    index_tree("P", roots["padisi-joblib"], Options(workers=1, unpickle=True))
    return roots


def indexed(tree_of, layout, options=OPTIONS):
    return index_tree(trees.LAYOUTS[layout][0], tree_of[layout], options)


def pixels(root: Path, row, modality: str) -> np.ndarray:
    """One modality of a row as the licensee's training sees it, uint8 (C, 8, 8)."""
    reference = parse_reference(getattr(row, modality))
    requests = [(reference, modality, getattr(row, f"{modality}_shape"), row.depth_encoding)]
    (planes,) = decode.decode(root, requests, 8)
    return planes


class TestEveryLayout:
    def test_every_layout_has_a_tree(self):
        known = {layout.id: letter for letter, layouts in LAYOUTS.items() for layout in layouts}
        assert known == {layout: letter for layout, (letter, _) in trees.LAYOUTS.items()}

    @pytest.mark.parametrize("layout", trees.LAYOUTS)
    def test_rows_and_protocols_can_be_saved_and_read(self, tree_of, tmp_path, layout):
        letter = trees.LAYOUTS[layout][0]
        result = indexed(tree_of, layout)
        assert result.layout == layout
        assert (result.problems, result.ignored) == ([], [])
        save_index(tmp_path, result.rows, result.protocols, {letter: tree_of[layout]})
        index = load_index(tmp_path / "index.csv")
        assert [*index.rows] == result.rows
        assert {r.layout for r in result.rows} == {layout}
        assert {r.label for r in result.rows} == {"bonafide", "attack"}
        by_id = {r.sample_id: r for r in result.rows}
        assert result.protocols
        for name, splits in result.protocols.items():
            check_subjects(name, splits, by_id)

    @pytest.mark.parametrize("layout", trees.LAYOUTS)
    def test_every_modality_decodes_to_its_own_pixels(self, tree_of, layout):
        """A swapped modality, channel or byte order cannot pass: all five planes differ by 40 levels or more."""
        for row in indexed(tree_of, layout).rows[::3]:
            rgb = pixels(tree_of[layout], row, "rgb")
            assert np.abs(rgb.mean(axis=(1, 2)) - trees.COLOUR).max() < 3
            if layout == "padisi-joblib":
                assert (row.depth, row.ir) == ("", "")
            elif layout == "hqwmca-hdf5":  # sensor counts, a ramp
                depth, ir = (pixels(tree_of[layout], row, m)[0].astype(int) for m in ("depth", "ir"))
                assert depth[0, 0] < 60 < 195 < depth[-1, -1]
                assert ir[0, 0] < 60 < 195 < ir[-1, -1]
            else:
                assert abs(pixels(tree_of[layout], row, "depth").mean() - trees.DEPTH) < 2
                assert abs(pixels(tree_of[layout], row, "ir").mean() - trees.INFRARED) < 2

    @pytest.mark.parametrize("layout", trees.LAYOUTS)
    def test_collecting_a_sound_tree_gives_the_same(self, tree_of, layout):
        plain = indexed(tree_of, layout)
        collecting = indexed(tree_of, layout, dataclasses.replace(OPTIONS, collect=True))
        assert dataclasses.replace(collecting, collect=False) == plain

    @pytest.mark.parametrize("layout", [layout for layout in trees.LAYOUTS if layout not in HDF5])
    def test_names_only_gives_the_same_rows_without_shapes(self, tree_of, layout):
        empty = dict.fromkeys((f"{m}_shape" for m in MODALITIES), "")
        expected = [dataclasses.replace(row, **empty) for row in indexed(tree_of, layout).rows]
        named = indexed(tree_of, layout, dataclasses.replace(OPTIONS, names_only=True))
        assert named.rows == expected
        assert named.protocols == indexed(tree_of, layout).protocols
        assert all(row.names_only for row in named.rows)

    @pytest.mark.parametrize("layout", HDF5)
    def test_names_only_gives_a_row_an_hdf5_recording(self, tree_of, layout):
        full = indexed(tree_of, layout)
        named = indexed(tree_of, layout, dataclasses.replace(OPTIONS, names_only=True))
        columns = ("clip_id", "subject_id", "presenter_id", "source_id", "label", "attack_family", "attack_code")
        assert {tuple(getattr(r, c) for c in columns) for r in named.rows} == {
            tuple(getattr(r, c) for c in columns) for r in full.rows
        }
        assert len(named.rows) == len({r.clip_id for r in full.rows})
        assert all((tree_of[layout] / r.rgb).is_file() and (tree_of[layout] / r.depth).is_file() for r in named.rows)
        assert {name: list(splits) for name, splits in named.protocols.items()} == {
            name: list(splits) for name, splits in full.protocols.items()
        }

    @pytest.mark.parametrize("layout", ["surf-crop", "wmca-hdf5", "padisi-npz"])
    def test_names_only_opens_nothing_saves_and_refuses_to_decode(self, tmp_path, layout):
        letter, write = trees.LAYOUTS[layout]
        root = write(tmp_path / "tree")
        for path in root.rglob("*"):
            if path.suffix in (".jpg", ".hdf5", ".npz"):
                path.write_bytes(b"")
        result = index_tree(letter, root, Options(workers=1, names_only=True))
        save_index(tmp_path / "index", result.rows, result.protocols, {letter: root})
        index = load_index(tmp_path / "index" / "index.csv")
        assert [*index.rows] == result.rows
        row = index.rows[0]
        if layout == "wmca-hdf5":
            with pytest.raises(BadInput, match=r"names a container; .*indexed by names only"):
                parse_reference(row.rgb)
        else:
            with pytest.raises(BadInput, match="was indexed by names only; index the data set again"):
                pixels(root, row, "rgb")
        with pytest.raises(BadInput, match=r"empty \(0 bytes\)|not a complete HDF5|not an \.npz"):
            index_tree(letter, root, OPTIONS)


def test_a_long_search_says_how_far_it_is(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("data_manifests.adapters.common._MANY", 2)
    index_tree("P", trees.padisi(tmp_path), dataclasses.replace(OPTIONS, names_only=True))
    said = capsys.readouterr().err
    assert [int(n) for n in re.findall(r": ([0-9]+) files found", said)] == [2, 4, 6]


class TestDetection:
    @pytest.mark.parametrize("layout", trees.LAYOUTS)
    def test_exactly_one_layout_matches_each_tree(self, tree_of, layout):
        letter = trees.LAYOUTS[layout][0]
        assert [known.id for known in LAYOUTS[letter] if known.detect(tree_of[layout])] == [layout]

    @pytest.mark.parametrize(
        ("layout", "below"),
        [
            ("cefa-full", "CeFA"),
            ("cefa-2026", "CASIA_CeFA"),
            ("cefa-2020", "phase1"),
            ("surf-crop", "CASIA-SURF-CROP"),
            ("surf-2026", "CASIA_SURF"),
            ("surf-2026", "CASIA_SURF/Data"),
            ("wmca-jpg", "WMCA-Image"),
            ("wmca-jpg", "WMCA-Image/R_CDIT"),
        ],
    )
    def test_the_root_may_be_the_folder_inside(self, tree_of, layout, below):
        letter = trees.LAYOUTS[layout][0]
        inner = index_tree(letter, tree_of[layout] / below, OPTIONS)
        assert inner.layout == layout
        outer = {r.sample_id for r in indexed(tree_of, layout).rows}
        assert {r.sample_id for r in inner.rows} == outer
        assert (tree_of[layout] / below / inner.rows[0].rgb).is_file()

    @pytest.mark.parametrize(
        ("one", "other"),
        [
            ("cefa-full", "cefa-2026"),
            ("surf-crop", "surf-2019"),
            ("wmca-hdf5", "wmca-jpg"),
            ("padisi-npz", "padisi-jpg"),
        ],
    )
    def test_two_layouts_are_one_sentence_and_one_can_be_chosen(self, tmp_path, one, other):
        letter = trees.LAYOUTS[one][0]
        for layout in (one, other):
            trees.LAYOUTS[layout][1](tmp_path)
        with pytest.raises(BadInput, match=rf"root {letter} = .*: holds .* as {one} and {other}, .*--layout") as e:
            detect(letter, tmp_path)
        assert str(e.value).count(". ") == 0
        assert detect(letter, tmp_path, (other, "somebody-elses")).id == other
        with pytest.raises(BadInput, match="choose one with --layout"):
            detect(letter, tmp_path, ("somebody-elses",))

    @pytest.mark.parametrize("letter", LAYOUTS)
    def test_none_names_them_all(self, tmp_path, letter):
        with pytest.raises(BadInput, match=f"root {letter}") as e:
            detect(letter, tmp_path)
        assert all(layout.id in str(e.value) for layout in LAYOUTS[letter])


class TestSurf:
    def test_2026_names_the_split_by_folder(self, tree_of):
        result = indexed(tree_of, "surf-2026")
        assert Counter((r.subject_id, r.label) for r in result.rows) == {
            ("S:CLKJ_BS0001", "bonafide"): 3,
            ("S:CLKJ_BS0001", "attack"): 6,
            ("S:CLKJ_BS0002", "bonafide"): 3,
            ("S:CLKJ_BS0002", "attack"): 3,
            ("S:CLKJ_BS0003", "bonafide"): 3,
            ("S:CLKJ_BS0003", "attack"): 9,
        }
        assert {s: len(v) for s, v in result.protocols["S-folders"].items()} == {"train": 9, "val": 6, "test": 12}
        assert [r.frame for r in result.rows[:3]] == [9, 15, 101]

    def test_2019_takes_classes_of_anonymous_triplets_from_the_private_lists(self, tree_of):
        result = indexed(tree_of, "surf-2019")
        assert Counter((r.subject_id, r.label, r.attack_family) for r in result.rows) == {
            ("S:CLKJ_AS0005", "bonafide", ""): 3,
            ("S:CLKJ_AS0005", "attack", "print_cut"): 9,
            ("S:Val", "bonafide", ""): 1,
            ("S:Val", "attack", "print_cut"): 2,
            ("S:Testing", "bonafide", ""): 1,
            ("S:Testing", "attack", "print_cut"): 1,
        }
        live = {triplet for triplet, label in trees.SURF_2019_TRIPLETS.items() if label == "1"}
        assert {r.clip_id for r in result.rows if r.bonafide and r.subject_id != "S:CLKJ_AS0005"} == live
        assert {s: len(v) for s, v in result.protocols["S-folders"].items()} == {"train": 12, "val": 3, "test": 2}

    def test_2019_without_a_private_list_leaves_the_part_out_and_says_so(self, tmp_path):
        root = trees.surf_2019(tmp_path)
        (root / "val_private_list.txt").rename(root / "val_public_list.txt")
        result = index_tree("S", root, OPTIONS)
        assert result.notes == ["Val: 3 triplets have no label and are left out, as val_private_list.txt is absent"]
        assert list(result.protocols["S-folders"]) == ["train", "test"]
        assert not any(r.subject_id == "S:Val" for r in result.rows)

    @pytest.mark.parametrize(
        ("line", "sentence"),
        [
            ("Val/0000/000000-color.jpg Val/0000/000001-depth.jpg Val/0000/000000-ir.jpg 1", "row 1 is not the colour"),
            ("Val/0000/000000-color.jpg Val/0000/000000-depth.jpg Val/0000/000000-ir.jpg 2", "row 1 is not the colour"),
            ("Val/0000/000000-color.jpg 1", "row 1 is not the colour"),
            ("Testing/0/1-color.jpg Testing/0/1-depth.jpg Testing/0/1-ir.jpg 1", "which is not below Val"),
        ],
    )
    def test_2019_bad_list_lines_are_named(self, tmp_path, line, sentence):
        root = trees.surf_2019(tmp_path)
        (root / "val_private_list.txt").write_text(line)
        with pytest.raises(BadInput, match=rf"val_private_list\.txt: .*{sentence}"):
            index_tree("S", root, OPTIONS)

    def test_2019_a_line_twice_and_triplets_without_a_line(self, tmp_path):
        root = trees.surf_2019(tmp_path)
        first, *rest = (root / "val_private_list.txt").read_text().splitlines()
        (root / "val_private_list.txt").write_text("\n".join([first, *rest[1:]]).replace("0000/000000", "0000/000777"))
        notes = index_tree("S", root, OPTIONS).notes
        assert "val_private_list.txt: 2 triplets are not listed and left out, first Val/0000/000000" in notes
        assert "val_private_list.txt: 1 listed triplets are not in the tree, first Val/0000/000777" in notes
        (root / "val_private_list.txt").write_text(f"{first}\n{first}\n")
        with pytest.raises(BadInput, match=r"val_private_list\.txt: row 2 lists Val/0000/000000 again"):
            index_tree("S", root, OPTIONS)


class TestCefa:
    def test_2026_reads_as_the_full_release_under_other_names(self, tree_of):
        result = indexed(tree_of, "cefa-2026")
        kinds = Counter((r.subject_id, r.attack_family) for r in result.rows)
        assert kinds["C:AF-120", ""] == kinds["C:CA-201", "replay"] == 2
        assert kinds["C:EA-300", "print"] == 4
        assert kinds["C:3D-Mask-002", "3dmask"] == kinds["C:Silicone-Mask-001", "silicone"] == 1
        assert result.rows[0].rgb == "CASIA_CeFA/Ethnicity/AF/AF-120/1_120_1_1_1/color/0001.jpg"
        assert {s: len(v) for s, v in result.protocols["C-id-ranges"].items()} == {"train": 8, "val": 8, "test": 10}

    def test_2020_takes_anonymous_classes_from_the_dev_lists(self, tree_of):
        result = indexed(tree_of, "cefa-2020")
        facts = {r.clip_id: (r.subject_id, r.label, r.attack_family) for r in result.rows}
        assert facts["1_000_1_1_1"] == ("C:AF-000", "bonafide", "")
        assert facts["2_007_3_1_4"] == ("C:CA-007", "attack", "replay")
        for name, label in trees.CEFA_2020_DEV.items():
            assert facts[name] == ("C:dev", *(("bonafide", "") if label == "1" else ("attack", "replay")))
        assert "004000" not in facts
        assert result.notes == [
            "test: 1 anonymous recordings have no published attack family, so they are left out",
        ]
        splits = {name: {s: len(v) for s, v in p.items()} for name, p in result.protocols.items()}
        assert splits == {
            "C-4@1": {"train": 4, "val": 2},
            "C-4@2": {"train": 4, "val": 1},
            "C-4@3": {"val": 1},
            "C-id-ranges": {"train": 8, "val": 4},
        }

    def test_2020_a_development_label_is_not_the_test_recordings_of_that_number(self, tmp_path):
        root = trees.cefa_2020(tmp_path)
        before = index_tree("C", root, OPTIONS)
        (root / "test" / "004000").rename(root / "test" / "003000")
        assert index_tree("C", root, OPTIONS) == before

    def test_2020_lists_that_contradict(self, tmp_path):
        root = trees.cefa_2020(tmp_path)
        path = root / "phase1" / "4@1_train.txt"
        text = path.read_text()
        path.write_text(text.replace("1_000_1_1_1/profile/0002.jpg 1", "1_000_1_1_1/profile/0002.jpg 0"))
        with pytest.raises(BadInput, match=r"phase1/4@1_train\.txt: row 2 gives 1_000_1_1_1 another label"):
            index_tree("C", root, OPTIONS)
        path.write_text(text.replace(" 1", " 0"))
        with pytest.raises(BadInput, match=r"phase1/4@1_train\.txt: gives 1_000_1_1_1 another label than its name"):
            index_tree("C", root, OPTIONS)
        path.write_text("train/1_000_1_1_1/profile/0001.jpg\n")
        with pytest.raises(BadInput, match=r"4@1_train\.txt: row 1 is not a recording's or frame's path"):
            index_tree("C", root, OPTIONS)

    def test_2020_dev_without_its_list_is_left_out_and_said(self, tmp_path):
        root = trees.cefa_2020(tmp_path)
        (root / "phase1" / "4@1_dev_ref.txt").unlink()
        result = index_tree("C", root, OPTIONS)
        assert "dev: 2 recordings are in no 4@k_dev_ref.txt, so they are left out" in result.notes
        assert {"003200", "003400"} == {r.clip_id for r in result.rows if r.subject_id == "C:dev"}


class TestWmcaJpg:
    def test_rows_are_those_of_the_packages(self, tree_of):
        jpg, hdf5 = indexed(tree_of, "wmca-jpg"), indexed(tree_of, "wmca-hdf5")
        columns = ("clip_id", "subject_id", "presenter_id", "label", "attack_family", "attack_code", "depth_encoding")
        assert {tuple(getattr(r, c) for c in columns) for r in jpg.rows} == {
            tuple(getattr(r, c) for c in columns) for r in hdf5.rows
        }
        assert {r.frame for r in jpg.rows} == {12, 24, 36}
        assert {s: len(v) for s, v in jpg.protocols["W-grandtest"].items()} == {"train": 9, "val": 9, "test": 12}


class TestHqWmcaDepthMaps:
    @pytest.fixture
    def root(self, tmp_path):
        root = trees.hq_wmca(tmp_path)
        for name in trees.HQ_RECORDINGS:
            for frame in (0, 6, 13):
                path = root / "prnet" / name / f"{frame:04}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.new("L", (20, 10), 77).save(path)
        return root

    def test_supplied_maps_take_the_sensors_place(self, root):
        result = index_tree("H", root, dataclasses.replace(OPTIONS, depth_maps="prnet"))
        row, *_, last = result.rows[:4]
        assert row.depth == f"prnet/{row.clip_id}/0000.png"
        assert (row.depth_shape, row.depth_encoding) == ("10x20:uint8", "8bit_estimated")
        assert (pixels(root, row, "depth") == 77).all()
        assert (last.frame, last.depth, last.depth_encoding) == (19, "", "")
        sensor = index_tree("H", root, OPTIONS)
        assert [(r.rgb, r.ir) for r in sensor.rows] == [(r.rgb, r.ir) for r in result.rows]
        assert {r.depth_encoding for r in sensor.rows} == {"z16_mm"}

    def test_a_map_of_more_bits_and_a_missing_folder_are_refused(self, root):
        with pytest.raises(BadInput, match=r"--depth-maps nowhere: no such folder"):
            index_tree("H", root, dataclasses.replace(OPTIONS, depth_maps="nowhere"))
        for outside in ("..", str(root / "prnet")):
            with pytest.raises(BadInput, match=r"--depth-maps .*: no such folder below"):
                index_tree("H", root, dataclasses.replace(OPTIONS, depth_maps=outside))
        name = next(iter(trees.HQ_RECORDINGS))
        Image.fromarray(trees.ramp(1, 999)[0]).save(root / "prnet" / name / "0006.png")
        with pytest.raises(BadInput, match=r"prnet/.*/0006\.png: is 24x16:uint16, and a supplied depth map has 8 bits"):
            index_tree("H", root, dataclasses.replace(OPTIONS, depth_maps="prnet"))


class TestPadisiJoblib:
    def test_refused_unless_the_user_opts_in(self, tmp_path):
        root = trees.padisi_joblib(tmp_path)
        with pytest.raises(BadInput, match=r"preprocessed\.bz2: is a pickle, .*add --unpickle"):
            index_tree("P", root, OPTIONS)
        assert sorted(p.name for p in root.iterdir()) == ["face_partitions", "padisi_USC_FACE_preprocessed.bz2"]

    def test_once_unpacked_the_pickle_is_not_needed(self, tree_of, tmp_path):
        root = tmp_path / "p"
        shutil.copytree(tree_of["padisi-joblib"], root)
        (root / "padisi_USC_FACE_preprocessed.bz2").unlink()
        result = index_tree("P", root, OPTIONS)
        assert len(result.rows) == len(trees.PADISI_CAPTURES)
        assert result.rows == indexed(tree_of, "padisi-joblib").rows

    @pytest.mark.parametrize("large", [False, True])
    @pytest.mark.parametrize("order", ["C", "F"])
    def test_pixels_are_the_dumps(self, tmp_path, monkeypatch, order, large):
        if large:
            monkeypatch.setattr("data_manifests.adapters.padisi_joblib._LARGE", 100)
        root = trees.padisi_joblib(tmp_path)
        dump = trees.padisi_dump()
        data = np.random.default_rng(3).random(np.shape(dump["data"]))
        dump["data"] = np.asarray(data, order=order)
        joblib.dump(dump, root / "padisi_USC_FACE_preprocessed.bz2", compress=("bz2", 3))
        result = index_tree("P", root, dataclasses.replace(OPTIONS, unpickle=True))
        for row in result.rows:
            i = list(trees.PADISI_CAPTURES).index(row.clip_id)
            reference = parse_reference(row.rgb)
            (planes,) = decode.raw(root, [(reference, "rgb")])
            assert np.array_equal(planes, data[i, ::-1])
        assert len(list((root / "padisi_USC_FACE_unpickled").iterdir())) == len(trees.PADISI_CAPTURES)

    @pytest.mark.parametrize(
        ("change", "sentence"),
        [
            ({"labels": [True] * 6}, "label and code 'm00000' of .* disagree"),
            ({"identifiers": ["../x"] * 6}, "differ in length"),
            ({"identifiers": ["../x", "b", "c", "d", "e", "f"]}, r"identifier '\.\./x' is no file name"),
            ({"pai_codes": ["m00000"]}, "differ in length"),
            ({"data": [[1.0], [1.0, 2.0]]}, "not a dictionary of data, identifiers, labels"),
            ({"data": np.zeros((6, 4, 2, 2))}, r"data is \(6, 4, 2, 2\) float64, not"),
            ({"data": np.zeros((6, 3, 2, 2), np.uint8)}, "uint8, not"),
            ({"labels": None}, "not a dictionary of data, identifiers, labels"),
            ({"pai_codes": np.array([object()] * 6)}, "holds an array of objects"),
            ({"pai_codes": Path("x")}, r"asks for pathlib"),
        ],
    )
    def test_a_dump_that_is_not_as_published_is_named(self, tmp_path, change, sentence):
        root = trees.padisi_joblib(tmp_path)
        path = root / "padisi_USC_FACE_preprocessed.bz2"
        joblib.dump({**trees.padisi_dump(), **change}, path, compress=("bz2", 3))
        with pytest.raises(BadInput, match=rf"preprocessed\.bz2: .*({sentence})"):
            index_tree("P", root, dataclasses.replace(OPTIONS, unpickle=True))
        assert not [p for p in root.iterdir() if "unpickled" in p.name]

    @pytest.mark.parametrize("keep", [0, 40, 400, -20])
    def test_a_dump_cut_short_is_named_and_nothing_is_left(self, tmp_path, keep):
        root = trees.padisi_joblib(tmp_path)
        path = root / "padisi_USC_FACE_preprocessed.bz2"
        path.write_bytes(path.read_bytes()[:keep])
        with pytest.raises(BadInput, match=r"preprocessed\.bz2: not read, since it is damaged"):
            index_tree("P", root, dataclasses.replace(OPTIONS, unpickle=True))
        assert not [p for p in root.iterdir() if "unpickled" in p.name]


class TestCollecting:
    def test_every_problem_is_listed_by_file_and_the_rest_is_indexed(self, tmp_path):
        root = trees.surf(tmp_path)
        top = "CASIA-SURF-CROP/real_part/real_train_part/CLKJ_AS0001/real.rssdk"
        (root / top / "ir/9.jpg").write_bytes(b"")
        (root / top / "depth/31.jpg").write_bytes((root / top / "depth/31.jpg").read_bytes()[:30])
        (root / top / "notes.txt").write_text("x")
        trees.jpg(root / top / "color/9_resized.jpg", 3)
        (root / "CASIA-SURF-CROP/fake_part/fake_val_part/CLKJ_AS0002/07_x.rssdk").mkdir()
        with pytest.raises(BadInput):
            index_tree("S", root, OPTIONS)
        result = index_tree("S", root, dataclasses.replace(OPTIONS, collect=True))
        assert {p.path.removeprefix("CASIA-SURF-CROP/").removeprefix(top[16:] + "/") for p in result.problems} == {
            "ir/9.jpg",
            "depth/31.jpg",
            "notes.txt",
            "color/9_resized.jpg",
            "fake_part/fake_val_part/CLKJ_AS0002/07_x.rssdk",
        }
        assert len(result.rows) == 27
        (row,) = [r for r in result.rows if r.sample_id == "S:CLKJ_AS0001/real.rssdk:9"]
        assert (bool(row.rgb), bool(row.depth), bool(row.ir)) == (True, True, False)

    @pytest.mark.parametrize("layout", trees.LAYOUTS)
    def test_a_damaged_file_is_one_problem_and_the_other_recordings_stay(self, tmp_path, layout):
        letter, write = trees.LAYOUTS[layout]
        root = write(tmp_path)
        if layout == "padisi-joblib":
            index_tree(letter, root, Options(workers=1, unpickle=True))
        before = index_tree(letter, root, OPTIONS)
        victim = parse_reference(before.rows[-1].rgb).path
        (root / victim).write_bytes(b"\x89damaged")
        with pytest.raises(BadInput, match=re.escape(victim)):
            index_tree(letter, root, OPTIONS)
        after = index_tree(letter, root, dataclasses.replace(OPTIONS, collect=True))
        assert [p.path for p in after.problems] == [victim]
        others = [r for r in before.rows if r.clip_id != before.rows[-1].clip_id]
        assert [r for r in after.rows if r.clip_id != before.rows[-1].clip_id] == others
        assert before.rows[-1] not in after.rows

    @pytest.mark.parametrize("layout", ["wmca-hdf5", "hqwmca-hdf5", "padisi-npz", "wmca-jpg"])
    def test_a_damaged_list_is_one_problem_and_the_rows_stay(self, tmp_path, layout):
        letter, write = trees.LAYOUTS[layout]
        root = write(tmp_path)
        before = index_tree(letter, root, OPTIONS)
        (path,) = [p for p in root.rglob("*.csv") if "truth" not in p.name]
        path.write_bytes(b"\xff\xfe")
        after = index_tree(letter, root, dataclasses.replace(OPTIONS, collect=True))
        assert [p.path for p in after.problems] == [path.relative_to(root).as_posix()]
        assert after.rows == before.rows
        assert after.protocols == {}

    def test_an_empty_tree_is_a_problem(self, tmp_path):
        for part in ("real_part", "fake_part"):
            (tmp_path / part).mkdir()
        with pytest.raises(BadInput, match="no frame found"):
            index_tree("S", tmp_path, OPTIONS)
        result = index_tree("S", tmp_path, dataclasses.replace(OPTIONS, collect=True))
        assert [p.what for p in result.problems] == [
            "no frame found; restore the files or correct the path of the root"
        ]


class TestSubjectCodes:
    def test_official_counters_stay_and_anything_else_is_hashed(self):
        options = Options(salt=b"one")
        assert [subject_code(code, options) for code in ("1015", "p01", "AF00012")] == ["1015", "p01", "AF00012"]
        for code in ("Jane Doe", "19900203", "19900203M", "jane@example.org", "EA-012-19900203M", "123456", "ünal"):
            hashed = subject_code(code, options)
            assert re.fullmatch("x[a-p]{16}", hashed)
            assert hashed == subject_code(code, options)
            assert hashed != subject_code(code, Options(salt=b"two"))
        assert len({subject_code(f"19900{i:03}", options) for i in range(1000)}) == 1000

    def test_the_salt_is_drawn_once_for_the_owner_only(self, tmp_path, monkeypatch):
        monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
        monkeypatch.delenv("FAS_REFERENCE_SALT", raising=False)
        assert subject_code("1015", Options()) == "1015"
        assert not salt_file().exists()
        first = subject_code("19900203", Options())
        assert stat.S_IMODE(salt_file().stat().st_mode) == 0o600
        drawn = salt_file().read_bytes()
        assert len(drawn) == 64
        assert subject_code("19900203", Options()) == first
        assert salt_file().read_bytes() == drawn
        assert [p.name for p in salt_file().parent.iterdir()] == ["salt"]
        salt_file().unlink()
        assert subject_code("19900203", Options()) != first
        monkeypatch.setenv("FAS_REFERENCE_SALT", drawn.decode())
        assert subject_code("19900203", Options()) == first
        assert subject_code("19900203", Options(salt=drawn)) == first

    def test_a_salt_that_cannot_be_kept_or_is_empty_is_an_error(self, tmp_path, monkeypatch):
        monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
        monkeypatch.delenv("FAS_REFERENCE_SALT", raising=False)
        salt_file().parent.mkdir()
        salt_file().touch()
        with pytest.raises(BadInput, match="salt: is empty; remove it"):
            subject_code("19900203", Options())
        shutil.rmtree(salt_file().parent)
        salt_file().parent.touch()
        with pytest.raises(BadInput, match=r"cannot hold the salt .*set FAS_REFERENCE_SALT instead"):
            subject_code("19900203", Options())

    def test_a_drawn_salt_is_only_read(self, tmp_path, monkeypatch):
        monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
        monkeypatch.delenv("FAS_REFERENCE_SALT", raising=False)
        first = subject_code("Jane Doe", Options())
        monkeypatch.setattr(os, "fsync", None)  # a call would raise
        assert subject_code("Jane Doe", Options()) == first

    def test_padisi_participants_go_through_it(self, tmp_path, monkeypatch):
        root = trees.padisi(tmp_path)
        path = root / "face_partitions" / "padisi_USC_FACE_ground_truth.csv"
        path.write_text(path.read_text().replace(",p02,", ",Jane Doe,"))
        result = index_tree("P", root, dataclasses.replace(OPTIONS, salt=b"s"))
        assert {r.subject_id for r in result.rows} == {
            "P:p01",
            "P:p03",
            f"P:{subject_code('Jane Doe', Options(salt=b's'))}",
        }


class TestIllustrations:
    def test_only_listed_recordings_of_wmca_may_be_shown(self, tree_of, tmp_path):
        root = trees.wmca(tmp_path)
        first, second = (r for r in index_tree("W", root, OPTIONS).rows[:4] if r.frame == 3)
        with pytest.raises(BadInput, match=f"{first.sample_id}: not on the owner's lists"):
            check_illustration(first, root)
        trees.write_csv(
            root / "documentation" / "bonafide_illustration_files.csv",
            [["path"], [f"face-station/17.01.18/{first.clip_id}.hdf5"]],
        )
        check_illustration(first, root)
        with pytest.raises(BadInput, match="not on the owner's lists"):
            check_illustration(second, root)

    @pytest.mark.parametrize("layout", ["surf-crop", "cefa-full", "padisi-npz"])
    def test_no_person_of_the_other_sets(self, tree_of, layout):
        with pytest.raises(BadInput, match="allows no picture of a person"):
            check_illustration(indexed(tree_of, layout).rows[0], tree_of[layout])


class TestRoots:
    def test_lists_are_a_table_of_their_own(self, tmp_path):
        path = tmp_path / "roots.toml"
        path.write_text('C = "c"\n[lists]\nmmdg = "MMDG/protocol"\n')
        assert read_roots(path) == {"C": tmp_path / "c"}
        assert read_lists(path) == {"mmdg": tmp_path / "MMDG" / "protocol"}
        path.write_text('C = "c"\n')
        assert read_lists(path) == {}
        path.write_text("lists = 3\n")
        with pytest.raises(BadInput, match=r"roots\.toml: lists must be a table"):
            read_lists(path)
        path.write_text("[lists]\nmmdg = 3\n")
        with pytest.raises(BadInput, match=r"roots\.toml: mmdg must be a folder in quotes"):
            read_lists(path)

    @pytest.mark.parametrize("text", ["C = " + "[" * 5000, "C = " + "9" * 5000, 'C = "a\\u0000b"', "C = 1979-99-99"])
    def test_hostile_toml_is_a_plain_error(self, tmp_path, text):
        path = tmp_path / "roots.toml"
        path.write_text(text)
        with pytest.raises(BadInput, match=r"roots\.toml"):
            read_roots(path)


@pytest.mark.skipif(os.name != "posix", reason="links and byte names as POSIX has them")
class TestOddTrees:
    def test_a_link_in_a_circle_is_a_problem_and_not_a_hang(self, tmp_path):
        root = trees.wmca(tmp_path / "w")
        (root / "preprocessed-face-station_RGB" / "again").symlink_to(root / "preprocessed-face-station_RGB")
        with pytest.raises(BadInput, match="again: is a link to a folder that it lies in"):
            index_tree("W", root, OPTIONS)
        root = trees.surf(tmp_path / "s")
        real = root / "CASIA-SURF-CROP/real_part/real_train_part/CLKJ_AS0001/real.rssdk"
        shutil.rmtree(real / "ir")
        (real / "ir").symlink_to(real / "ir")
        with pytest.raises(BadInput, match=r"real\.rssdk/ir: is not a folder of images"):
            index_tree("S", root, OPTIONS)

    def test_a_linked_folder_is_followed(self, tmp_path):
        root = trees.wmca(tmp_path / "w")
        before = index_tree("W", root, OPTIONS)
        package = root / "preprocessed-face-station_RGB"
        package.rename(tmp_path / "elsewhere")
        package.symlink_to(tmp_path / "elsewhere")
        assert index_tree("W", root, OPTIONS) == before

    @pytest.mark.parametrize("name", [b"\xff_x.hdf5", b"a\nb.hdf5", b"a\\b.hdf5", b"a#b.hdf5"])
    def test_a_name_an_index_cannot_hold_is_a_problem_that_can_be_printed(self, tmp_path, name):
        root = trees.wmca(tmp_path)
        bad = os.path.join(os.fsencode(root), b"preprocessed-face-station_RGB", name)  # noqa: PTH118 - bytes
        os.rename(next((root / "preprocessed-face-station_RGB").rglob("*.hdf5")), bad)  # noqa: PTH104
        result = index_tree("W", root, dataclasses.replace(OPTIONS, collect=True))
        (problem,) = result.problems
        assert "rename it" in problem.what
        str(problem).encode("utf-8")

    def test_byte_order_is_the_files_own(self, tmp_path):
        root = trees.hq_wmca(tmp_path)
        before = index_tree("H", root, OPTIONS).rows[:4]
        expected = [pixels(root, row, "depth") for row in before]
        with h5py.File(root / parse_reference(before[0].depth).path, "r+") as f:
            depth = f["INTEL_DEPTH"][...]
            del f["INTEL_DEPTH"]
            f["INTEL_DEPTH"] = depth.astype(">u2")
        after = index_tree("H", root, OPTIONS).rows[:4]
        assert after == before
        assert all(np.array_equal(pixels(root, r, "depth"), w) for r, w in zip(after, expected, strict=True))

    @pytest.mark.parametrize("shape", [(3, 0, 16), (3, 24), (1, 24, 16), None])
    def test_an_hdf5_array_of_another_kind_is_named(self, tmp_path, shape):
        root = trees.wmca(tmp_path)
        name = f"preprocessed-face-station_RGB/face-station/17.01.18/{next(iter(trees.WMCA_RECORDINGS))}.hdf5"
        with h5py.File(root / name, "w") as f:
            f["Frame_3/array"] = (
                np.zeros(shape, np.uint8) if shape else np.full((3, 24, 16), "x", dtype=h5py.string_dtype())
            )
        with pytest.raises(BadInput, match=r"\.hdf5: Frame_3/array is not an array of 3 channels"):
            index_tree("W", root, OPTIONS)

    @given(st.integers(0, 2**32 - 1), st.sampled_from(["wmca-hdf5", "hqwmca-hdf5", "padisi-npz", "surf-crop"]))
    def test_damaged_bytes_give_the_documented_error_and_no_other(self, tree_of, tmp_path_factory, seed, layout):
        """h5py, zipfile, numpy and Pillow raise almost anything on them; indexing and decoding only `BadInput`."""
        letter = trees.LAYOUTS[layout][0]
        row = indexed(tree_of, layout).rows[0]
        reference = parse_reference(row.depth)
        path = tree_of[layout] / reference.path
        sound = path.read_bytes()
        rng = np.random.default_rng(seed)
        damaged = bytearray(sound)
        for place in rng.integers(0, rng.choice([len(sound), min(len(sound), 2048)]), 4):
            damaged[place] = rng.integers(0, 256)
        try:
            path.write_bytes(bytes(damaged[: None if rng.random() < 0.8 else rng.integers(len(sound))]))
            index_tree(letter, tree_of[layout], dataclasses.replace(OPTIONS, collect=True))
            with suppress(BadInput):
                pixels(tree_of[layout], row, "depth")
        finally:
            path.write_bytes(sound)

    def test_missing_frames_and_case_changes_in_hdf5(self, tmp_path):
        root = trees.wmca(tmp_path)
        name = "face-station/17.01.18/017_01_000_0_00.hdf5"
        with h5py.File(root / "preprocessed-face-station_CDIT" / name, "r+") as f:
            f.move("Frame_3", "frame_3")
            del f["Frame_12/array"]
        with pytest.raises(BadInput, match=r"CDIT/.*: no array Frame_12/array"):
            index_tree("W", root, OPTIONS)
        with h5py.File(root / "preprocessed-face-station_CDIT" / name, "r+") as f:
            del f["Frame_12"]
        frames = [r for r in index_tree("W", root, OPTIONS).rows if r.clip_id == "017_01_000_0_00"]
        assert [r.frame for r in frames] == [3, 40]
        assert pixels(root, frames[0], "depth").mean() == trees.DEPTH


def test_a_name_with_a_line_break_is_shown_on_one_line():
    assert printable("a\nb\r\udcff") == "a\\nb\\r\\udcff"
