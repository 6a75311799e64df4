"""A licensee's losses: `verify` names what is missing by recording and modality, in every layout, and passes a tree
that holds exactly what the lists name. Trees are miniatures, whose numbers are far from the published ones, so these
tests look at the problems; whole numbers are compared with counts made for the tree."""

import re
import shutil
from dataclasses import replace

import h5py
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_manifests import lists as list_module
from data_manifests.adapters import Options, index_tree
from data_manifests.decode import image_shape
from data_manifests.lists import read_list
from data_manifests.manifests import Count, Expected, Manifest, manifest
from data_manifests.verify import verify
from spec_tests.support import trees

OPTIONS = Options(workers=1, frames=2)
SUBJECT = "CASIA-SURF-CROP/real_part/real_train_part/CLKJ_AS0001"
CDIT = "preprocessed-face-station_CDIT"
FOLDERS = {"rgb": ("color", "profile"), "depth": ("depth",), "ir": ("ir",)}
IMAGES = sorted(set(trees.LAYOUTS) - {"wmca-hdf5", "hqwmca-hdf5", "padisi-npz", "padisi-joblib"})


def tree_of(layout, root):
    letter, write = trees.LAYOUTS[layout]
    write(root)
    if layout == "padisi-joblib":
        index_tree(letter, root, replace(OPTIONS, unpickle=True))
    return letter, root


def problems(letter, root, depth="headers", **more):
    """Path → what is wrong there, without protocols that a miniature is too small for."""
    found = verify(letter, root, depth, OPTIONS, **more).problems
    return {problem.path: problem.what for problem in found if "; restore the missing recordings" not in problem.what}


def images_of(root, modality):
    """The files of one modality, in an image layout."""
    names = FOLDERS[modality]
    files = (path for path in root.rglob("*.jpg") if "test/004000" not in path.as_posix())  # has no class
    return sorted(p for p in files if p.parent.name in names or p.stem.split("-")[-1] in names)


@pytest.mark.parametrize("layout", trees.LAYOUTS)
@pytest.mark.parametrize("depth", ["fast", "headers"])
def test_a_whole_tree_has_no_problem(tmp_path, layout, depth):
    assert problems(*tree_of(layout, tmp_path), depth) == {}


class TestAModality:
    @pytest.mark.parametrize("layout", IMAGES)
    @pytest.mark.parametrize("modality", FOLDERS)
    @pytest.mark.parametrize("depth", ["fast", "headers"])
    def test_of_every_recording(self, tmp_path, layout, modality, depth):
        letter, root = tree_of(layout, tmp_path)
        whole = {row.clip_id for row in index_tree(letter, root, OPTIONS).rows}
        for path in images_of(root, modality):
            path.unlink()
        found = problems(letter, root, depth)
        assert len(found) == len(whole)
        assert all(any(place.endswith(recording) for place in found) for recording in whole)
        assert set(found.values()) == {f"holds no {modality}; restore the images"}
        report = verify(letter, root, depth, OPTIONS)
        assert {c.what: c.found for c in report.counts if c.group == "all"}[modality] == 0
        assert modality in {c.what for c in report.wrong}

    @pytest.mark.parametrize("layout", IMAGES)
    @settings(max_examples=15)
    @given(data=st.data())
    def test_of_some_frames(self, tmp_path_factory, layout, data):
        letter, root = tree_of(layout, tmp_path_factory.mktemp("some"))
        rows = {row.sample_id: row for row in index_tree(letter, root, OPTIONS).rows}
        lost = data.draw(
            st.lists(st.tuples(st.sampled_from(sorted(rows)), st.sampled_from(("depth", "ir"))), max_size=5)
        )
        for sample, modality in set(lost):
            (root / getattr(rows[sample], modality)).unlink()
        found = problems(letter, root, "fast")
        assert set(found) == {
            next(place for place in found if place.endswith(rows[sample].clip_id)) for sample, _ in lost
        }
        for place, what in found.items():
            own = {(rows[s].frame, m) for s, m in lost if place.endswith(rows[s].clip_id)}
            assert {m for m in FOLDERS if re.search(rf"\b{m}\b", what)} == {m for _, m in own}
        shutil.rmtree(root)

    def test_a_folder_of_one_recording_is_named_with_its_frames(self, tmp_path):
        letter, root = tree_of("wmca-jpg", tmp_path)
        clip = root / "WMCA-Image/R_CDIT/017_01_003_2_81"
        shutil.rmtree(clip / "ir")
        (clip / "depth/0024.jpg").unlink()
        place = "WMCA-Image/R_CDIT/017_01_003_2_81"
        assert problems(letter, root) == {place: "lacks depth of 1 frame (24), holds no ir; restore the images"}

    def test_a_broken_image_is_one_problem(self, tmp_path):
        letter, root = tree_of("surf-crop", tmp_path)
        below = "CASIA-SURF-CROP/real_part/real_train_part/CLKJ_AS0001/real.rssdk"
        (root / below / "ir/9.jpg").write_bytes(b"")
        assert set(problems(letter, root)) == {f"{below}/ir/9.jpg"}
        (root / below / "depth/9.jpg").unlink()
        assert problems(letter, root)[below] == "lacks depth of 1 frame (9); restore the images"

    @pytest.mark.parametrize("depth", ["fast", "headers"])
    def test_a_package_of_wmca(self, tmp_path, depth):
        letter, root = tree_of("wmca-hdf5", tmp_path)
        below = "face-station/17.01.18/{}.hdf5"
        (root / "preprocessed-face-station_CDIT" / below.format("017_01_000_0_00")).unlink()
        (root / "preprocessed-face-station_RGB" / below.format("018_01_000_0_01")).unlink()
        assert problems(letter, root, depth) == {
            "017_01_000_0_00": "holds no depth, holds no ir; restore the images",
            "018_01_000_0_01": "holds no rgb; restore the images",
        }

    def test_frames_in_one_package_of_wmca(self, tmp_path):
        letter, root = tree_of("wmca-hdf5", tmp_path)
        for package, name, frame in (("CDIT", "017_01_000_0_00", 12), ("RGB", "018_01_000_0_01", 3)):
            path = root / f"preprocessed-face-station_{package}/face-station/17.01.18/{name}.hdf5"
            with h5py.File(path, "r+") as f:
                del f[f"Frame_{frame}"]
        assert problems(letter, root) == {
            "017_01_000_0_00": "lacks depth and ir of 1 frame (12); restore the images",
            "018_01_000_0_01": "lacks rgb of 1 frame (3); restore the images",
        }

    def test_a_stream_of_hq_wmca(self, tmp_path):
        letter, root = tree_of("hqwmca-hdf5", tmp_path)
        name, *_ = trees.HQ_RECORDINGS
        with h5py.File(root / f"{name}.h5", "r+") as f:
            del f["INTEL_DEPTH"]
        assert problems(letter, root) == {name: "holds no depth; restore the images"}

    def test_colour_alone_is_whole_where_the_package_has_no_more(self, tmp_path):
        letter, root = tree_of("padisi-joblib", tmp_path)
        report = verify(letter, root, "headers", OPTIONS)
        assert report.problems == []
        assert [c.what for c in report.counts if c.group == "all"][3:] == ["rgb"]


class TestARecording:
    @pytest.mark.parametrize(
        "layout", ["padisi-npz", "padisi-joblib", "padisi-jpg", "wmca-jpg", "wmca-hdf5", "hqwmca-hdf5"]
    )
    @pytest.mark.parametrize("depth", ["fast", "headers"])
    def test_that_the_owner_s_list_names(self, tmp_path, layout, depth):
        letter, root = tree_of(layout, tmp_path)
        row = index_tree(letter, root, OPTIONS).rows[0]
        for path in [p for p in root.rglob("*") if row.clip_id in p.name]:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        found = problems(letter, root, depth)
        assert re.fullmatch(
            r"has no frame in the tree, though \S+\.csv names it; restore rgb.*", found.pop(row.clip_id)
        )
        assert found == {}

    def test_that_a_private_list_names(self, tmp_path):
        letter, root = tree_of("surf-2019", tmp_path)
        for modality in ("color", "depth", "ir"):
            (root / f"Val/0000/000001-{modality}.jpg").unlink()
        what = "has no frame in the tree, though val_private_list.txt names it; restore rgb, depth, ir"
        assert problems(letter, root) == {"Val/0000/000001": what}

    @pytest.mark.parametrize("layout", ["surf-2019", "cefa-2020"])
    def test_of_which_a_training_list_names_a_lost_frame(self, tmp_path, layout):
        letter, root = tree_of(layout, tmp_path)
        rows = index_tree(letter, root, OPTIONS).rows
        if layout == "surf-2019":
            named = (r for r in rows if r.subject_id == "S:CLKJ_AS0005")
            (root / "train_list.txt").write_text(
                "\n".join(f"{r.rgb} {r.depth} {r.ir} {int(r.bonafide)}" for r in named)
            )
        assert problems(letter, root, "fast") == {}
        for modality in FOLDERS:
            (root / getattr(rows[0], modality)).unlink()
        name = "train_list.txt" if layout == "surf-2019" else "phase1/4@1_train.txt"
        what = f"is not in the tree, though {name} names it; restore rgb, depth, ir"
        assert problems(letter, root, "fast") == {f"{rows[0].clip_id}:{rows[0].frame}": what}

    def test_with_too_few_frames(self, tmp_path, monkeypatch):
        letter, root = tree_of("wmca-jpg", tmp_path)
        for modality in ("color", "depth", "ir"):
            (root / f"WMCA-Image/R_CDIT/017_01_003_2_81/{modality}/0024.jpg").unlink()
        what = "holds 2 frames, at least 3 are expected; restore the images"
        assert problems(letter, root) == {"WMCA-Image/R_CDIT/017_01_003_2_81": what}


class TestByRule:
    """Without any list, the owner's rule for names tells which recordings the tree lacks."""

    @pytest.mark.parametrize(
        ("layout", "lost", "first"),
        [
            ("cefa-2026", "CASIA_CeFA/Ethnicity/AF/AF-000/1_000_3_2_2", "5985 .*: 1_000_3_2_2, 1_001_1_1_1"),
            ("surf-crop", "CASIA-SURF-CROP/real_part/real_val_part/CLKJ_AS0002", "13 .*, CLKJ_AS0002/real.rssdk"),
            ("surf-2026", "CASIA_SURF/Data/Val/fake_part/CLKJ_BS0002/01_e_s.rssdk", "5 .*, CLKJ_BS0002/01_e_s.rssdk"),
        ],
    )
    def test_a_note_names_them(self, tmp_path, layout, lost, first):
        letter, root = tree_of(layout, tmp_path)
        if letter == "C":
            ethnicity = root / "CASIA_CeFA/Ethnicity"
            shutil.copytree(ethnicity / "AF/AF-120", ethnicity / "AF/AF-000")
            for path in sorted((ethnicity / "AF/AF-000").iterdir()):
                path.rename(path.with_name(path.name.replace("120", "000")))
        shutil.rmtree(root / lost)
        notes = verify(letter, root, "fast", OPTIONS).notes
        assert any(re.match(first.replace(" .*", " recordings are not in the tree.*"), note) for note in notes), notes

    def test_a_whole_tree_has_no_such_note(self, tmp_path, monkeypatch):
        letter, root = tree_of("surf-crop", tmp_path)
        whole = Expected("whole", ("surf-crop",), "", (Count(recordings=9),), date="2026")
        monkeypatch.setattr(Manifest, "expectations", lambda *_: [whole])
        assert not any("rule for names" in note for note in verify(letter, root, "fast", OPTIONS).notes)


class TestLists:
    """Lists made from the tree itself: what they name is what the tree holds."""

    def written(self, letter, root, folder, layout, repeat=0):
        folder.mkdir()
        rows = index_tree(letter, root, OPTIONS).rows
        for split in ("train", "val", "test"):
            lines = [f"{r.rgb} {r.depth} {r.ir} {int(r.bonafide)}" for r in rows if self.split(r) == split]
            (folder / f"{letter}-{split}.txt").write_text("\n".join(lines + lines[:repeat]))
        return folder

    @staticmethod
    def split(row):
        return ("train", "val", "test")[sum(row.subject_id.encode()) % 3] if row.dataset == "C" else {
            "1": "train", "2": "val", "7": "train", "8": "val"}.get(row.subject_id[-1], "test")  # fmt: skip

    @pytest.fixture
    def published(self, monkeypatch):
        monkeypatch.setattr(list_module, "differences", lambda *_: [])

    @pytest.mark.parametrize("layout", ["cefa-full", "surf-crop", "wmca-jpg"])
    @pytest.mark.parametrize("depth", ["fast", "headers"])
    def test_what_they_name_verifies_though_they_repeat_lines(self, tmp_path, published, layout, depth):
        letter, root = tree_of(layout, tmp_path / "tree")
        folder = self.written(letter, root, tmp_path / "lists", layout, repeat=2)
        report = verify(letter, root, depth, OPTIONS, lists=folder)
        assert report.problems == []
        assert any("duplicate lines: 2 frames" in note for note in report.notes)

    @pytest.mark.parametrize("layout", ["cefa-full", "surf-crop", "wmca-jpg"])
    def test_a_lost_frame_and_a_lost_recording_are_named(self, tmp_path, published, layout):
        letter, root = tree_of(layout, tmp_path / "tree")
        folder = self.written(letter, root, tmp_path / "lists", layout)
        rows = index_tree(letter, root, OPTIONS).rows
        first, gone = rows[0], next(row for row in rows if row.clip_id != rows[0].clip_id)
        for modality in FOLDERS:
            (root / getattr(first, modality)).unlink()
        shutil.rmtree((root / gone.rgb).parents[1])
        found = problems(letter, root, "fast", lists=folder)
        assert re.match(rf"lacks 1 frame \({first.frame}\), though named in {letter}-", found[first.clip_id])
        assert found[gone.clip_id].startswith("has no frame in the tree, though ")

    def test_hdf5_files_by_name_alone_hold_what_the_lists_name(self, tmp_path, published):
        _, jpg = tree_of("wmca-jpg", tmp_path / "jpg")
        folder = self.written("W", jpg, tmp_path / "lists", "wmca-jpg")
        letter, root = tree_of("wmca-hdf5", tmp_path / "tree")
        assert problems(letter, root, "fast", lists=folder) == {}
        for path in root.rglob("017_01_003_2_81.hdf5"):
            path.unlink()
        assert list(problems(letter, root, "fast", lists=folder)) == ["017_01_003_2_81"]

    def test_lists_of_another_layout_are_a_note(self, tmp_path, published):
        _, crop = tree_of("surf-crop", tmp_path / "crop")
        folder = self.written("S", crop, tmp_path / "lists", "surf-crop")
        letter, root = tree_of("surf-2026", tmp_path / "tree")
        report = verify(letter, root, "fast", OPTIONS, lists=folder)
        assert report.problems == []
        assert "S-train.txt is not compared, since it numbers the frames of surf-crop" in report.notes

    def test_the_owner_s_lists_are_compared_too(self, tmp_path, published):
        letter, root = tree_of("surf-2026", tmp_path / "tree")
        rows = index_tree(letter, root, OPTIONS).rows
        (tmp_path / "lists").mkdir()
        path = tmp_path / "lists" / "CASIA_SURF@p1_image_train.txt"
        path.write_text("\n".join(f"{row.rgb} {int(not row.bonafide)}" for row in rows))
        assert len(read_list(path, "colour")) == len(rows)
        assert problems(letter, root, "fast", lists=path.parent) == {}
        shutil.rmtree((root / rows[0].rgb).parents[1])
        assert list(problems(letter, root, "fast", lists=path.parent)) == [rows[0].clip_id]


class TestTheTwoRecordingsOfWmca:
    """Their depth and infrared sit at the next number: a defect that the manifest knows, and no loss."""

    @pytest.fixture
    def root(self, tmp_path):
        root = trees.wmca_jpg(tmp_path / "W")
        top = root / "WMCA-Image/R_CDIT"
        (top / "017_01_000_0_00").rename(top / "100_03_015_2_10")
        for modality in ("depth", "ir"):
            (top / f"100_03_015_2_10/{modality}/0012.jpg").rename(top / f"100_03_015_2_10/{modality}/0013.jpg")
        lines = (root / "documentation/PROTOCOL-grandtest.csv").read_text()
        (root / "documentation/PROTOCOL-grandtest.csv").write_text(lines.replace("017_01_000_0_00", "100_03_015_2_10"))
        return root

    def test_a_frame_in_two_halves_is_one(self, root):
        report = verify("W", root, "fast", OPTIONS)
        assert report.problems == []
        counts = {c.what: c.found for c in report.counts if c.group == "all"}
        assert {what: counts[what] for what in ("frames", "rgb", "depth", "ir")} == dict.fromkeys(
            ("frames", "rgb", "depth", "ir"), 30
        )

    def test_halves_elsewhere_and_a_lost_half_are_losses(self, root):
        top = root / "WMCA-Image/R_CDIT"
        (top / "100_03_015_2_10/ir/0013.jpg").unlink()
        for modality in ("depth", "ir"):
            (top / f"017_02_000_0_02/{modality}/0012.jpg").rename(top / f"017_02_000_0_02/{modality}/0013.jpg")
        found = problems("W", root, "fast")
        assert "ir" in found["WMCA-Image/R_CDIT/100_03_015_2_10"]
        assert "rgb" in found["WMCA-Image/R_CDIT/017_02_000_0_02"]


class TestBestFit:
    def expected(self, name, **numbers):
        return Expected(name, ("surf-crop",), f"source of {name}", (Count(label="bonafide", **numbers),), date="2026")

    def report(self, monkeypatch, tmp_path, *expected, expect=""):
        monkeypatch.setattr(Manifest, "expectations", lambda *_: list(expected))
        return verify("S", trees.surf(tmp_path), "fast", OPTIONS, expect)

    def test_the_nearest_is_used_and_the_others_are_named_with_their_difference(self, monkeypatch, tmp_path):
        far, near = self.expected("far", recordings=8, frames=9), self.expected("near", recordings=4, frames=9)
        report = self.report(monkeypatch, tmp_path, far, self.expected("other", subjects=9, frames=8), near)
        assert report.expectation == "near"
        notes = [note for note in report.notes if "counts" in note]
        assert notes == [
            "other counts far (source of far; 2026): 1 numbers differ: bonafide recordings -5",
            "other counts other (source of other; 2026): 2 numbers differ: bonafide subjects -6, bonafide frames +1",
            "compared with the counts near (source of near; 2026): 1 numbers differ: bonafide recordings -1",
        ]
        assert not report.ok
        assert self.report(monkeypatch, tmp_path, far, near, expect="far").expectation == "far"

    def test_a_lower_bound_is_met_by_more_and_not_by_less(self, monkeypatch, tmp_path):
        for frames, ok in ((8, True), (9, True), (10, False)):
            bound = replace(self.expected("bound", frames=frames), at_least=("frames",))
            assert self.report(monkeypatch, tmp_path, bound).ok == ok
            exact = self.expected("exact", frames=frames)
            assert self.report(monkeypatch, tmp_path, exact).ok == (frames == 9)

    def test_cefa_is_compared_with_the_lists_that_agree_before_the_paper(self):
        for layout in ("cefa-full", "cefa-2026"):
            first, second, *_ = manifest("C").expectations(layout)
            masks = [
                {c.family: c.recordings for c in e.count if c.family in ("3dmask", "silicone")} for e in (first, second)
            ]
            assert masks == [{"3dmask": 1595, "silicone": 60}, {"3dmask": 1782, "silicone": 64}]

    def test_frames_of_cefa_are_the_sums_that_the_owner_publishes(self):
        (counts,) = (e.count for e in manifest("C").expectations("cefa-2026") if e.name == "owner-frames")
        frames = {(c.split, c.family): c.frames for c in counts}
        rules = {rule.name: rule.frames for rule in manifest("C").protocol}
        masks = 42110  # of every test, of which the readme publishes the sum alone
        for split in ("train", "val", "test"):
            live, prints, replays = (frames[split, family] for family in ("", "print", "replay"))
            assert sum(rules[f"C-p1.{k}"][split] for k in (1, 3, 5)) == (
                live + prints + replays if split != "test" else 2 * (live + prints + replays) + 3 * masks
            )
            assert rules["C-p3"][split] == live + prints + replays
            tested = (
                (live + replays + masks, live + prints + masks) if split == "test" else (live + prints, live + replays)
            )
            assert (rules["C-p2.1"][split], rules["C-p2.2"][split]) == tested


class TestNames:
    """A folder under nearly its name is told from what it should be called, and nobody is told to delete data."""

    @pytest.mark.parametrize(
        ("layout", "folder", "wrong", "right"),
        [
            ("cefa-full", "CeFA/CeFA-Race/AF", "af", "AF"),
            ("cefa-full", "CeFA/CeFA-Mask", "CeFA-mask", "CeFA-Mask"),
            ("cefa-full", "CeFA/CeFA-Mask/3D-Mask", "3D-mask", "3D-Mask"),
            ("cefa-full", "CeFA/CeFA-Race", "cefa-race", "CeFA-Race"),
            ("cefa-full", "CeFA/CeFA-Race/AF/AF-000/1_000_1_1_1/profile", "Profile", "profile"),
            ("cefa-2026", "CASIA_CeFA/Ethnicity/AF/AF-120/1_120_1_1_1/color", "Color", "color"),
            ("cefa-2026", "CASIA_CeFA/Ethnicity/AF/AF-120/1_120_1_1_1/depth", "Depht", "depth"),
            ("surf-crop", "CASIA-SURF-CROP/fake_part", "Fake_part", "fake_part"),
            ("surf-crop", "CASIA-SURF-CROP/fake_part/fake_val_part", "fake_Val_part", "fake_val_part"),
            ("surf-crop", f"{SUBJECT}/real.rssdk", "Real.rssdk", "real.rssdk"),
            ("surf-2026", "CASIA_SURF/Data/Val", "val", "Val"),
            ("wmca-jpg", "WMCA-Image/R_CDIT/017_01_000_0_00/color", "colour", "color"),
            ("wmca-hdf5", CDIT, CDIT.lower(), CDIT),
        ],
    )  # fmt: skip
    def test_the_rename_is_suggested(self, tmp_path, capsys, layout, folder, wrong, right):
        letter, root = tree_of(layout, tmp_path)
        (root / folder).rename((root / folder).with_name(wrong))
        try:
            said = "\n".join(map(str, verify(letter, root, "fast", OPTIONS).problems))
        except ValueError as e:
            said = str(e)
        assert wrong in said
        assert re.search(rf"rename \S*( that)?.*to {re.escape(right)}", said)
        assert not re.search("remove|delete", said)

    def test_no_message_advises_to_delete(self, tmp_path):
        letter, root = tree_of("cefa-full", tmp_path)
        subject = root / "CeFA/CeFA-Race/AF/AF-000"
        for name in ("1_000_1_1_1/Photos", "2_000_1_1_1", "Anna"):
            (subject / name).mkdir()
        (subject / "notes.txt").touch()
        (subject / "1_000_3_1_2/depth/x.jpg").touch()
        found = problems(letter, root, "fast")
        assert len(found) > 3
        assert not re.search("remove|delete", "\n".join(found.values()))
        assert not re.search("Photos|Anna", "\n".join([*found, *found.values()]))


def test_an_index_shape_is_that_of_the_pixels(tmp_path):
    trees.jpg(tmp_path / "a.jpg", 3, (5, 7))
    assert image_shape(tmp_path / "a.jpg", "a.jpg", "rgb") == "5x7:uint8"
