"""The public lists: each format's golden line, every hazard of such files, their defects, and MMDG's protocol.

Pitfalls are those of the data-set sheet's section 10, loader bugs those of its section 7.
"""

import hashlib
import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_manifests import lists
from data_manifests.__main__ import main
from data_manifests.errors import BadInput
from data_manifests.index import Row, load_index
from data_manifests.lists import FORMATS, defects, differences, label_of, mmdg, read_list, subject_of
from data_manifests.manifests import PublishedList, manifest
from spec_tests.support import trees
from spec_tests.support.list_lines import CEFA, CEFA_LIVE, GOLDEN_LINES, GOLDEN_TABLES, SURF, SURF_LIVE, frames


@pytest.mark.parametrize(("format", "line", "dataset", "recording", "frame", "label"), GOLDEN_LINES)
def test_pitfall_01_golden_line_of_every_layout(tmp_path, format, line, dataset, recording, frame, label):
    path = tmp_path / "list.txt"
    path.write_text(line)
    (entry,) = read_list(path, format)
    assert (entry.line, entry.dataset, entry.clip_id, entry.frame, entry.label) == (1, dataset, recording, frame, label)
    assert entry.paired


@pytest.mark.parametrize(("format", "text", "expected"), GOLDEN_TABLES)
def test_pitfall_01_golden_row_of_every_table(tmp_path, format, text, expected):
    path = tmp_path / "list.csv"
    path.write_text(text)
    (entry,) = read_list(path, format)
    assert (entry.dataset, entry.clip_id, entry.label, entry.split) == expected
    assert entry.frame is None


def test_every_format_has_a_golden_line():
    assert {format for format, *_ in (*GOLDEN_LINES, *GOLDEN_TABLES)} == set(FORMATS)


@pytest.mark.parametrize(("format", "line"), [(g[0], g[1]) for g in GOLDEN_LINES if g[5] and g[3] not in ("003000",)])
def test_pitfall_01_a_list_of_the_other_polarity_is_refused(tmp_path, format, line):
    path = tmp_path / "list.txt"
    path.write_text(line[:-1] + {"0": "1", "1": "0"}[line[-1]])
    if "npz" in line or "Val/0000" in line:  # these names do not tell the class: only the format does
        assert read_list(path, format)
        return
    with pytest.raises(BadInput, match="every label is the opposite of what the names say"):
        read_list(path, format)
    other = {"frames": "frames", "colour": "recordings-2020", "recordings-2020": "colour"}[format]
    if other != format:  # read as what it is, the inverted line is right
        assert read_list(path, other)


def test_a_single_contradicting_label_is_named(tmp_path):
    path = tmp_path / "list.txt"
    path.write_text(f"{frames(SURF, '1.jpg', '0')}\n\n{frames(SURF_LIVE, '1.jpg', '0')}\n")
    with pytest.raises(BadInput, match=r"row 3: 1 labels contradict .* CLKJ_AS0001/real.rssdk:1, labelled attack"):
        read_list(path, "frames")


LINES = [frames(SURF_LIVE, "1.jpg", "1"), frames(SURF, "11.jpg", "0"), frames(SURF, "101.jpg", "0")]


@pytest.mark.parametrize(
    "write",
    [
        lambda lines: "\n".join(lines),
        lambda lines: "\r\n".join(lines),
        lambda lines: "\r".join(lines),
        lambda lines: "\r\n".join(lines) + "\r\n\r\n",
        lambda lines: "\n\n".join(lines) + "\n \n",
        lambda lines: "\n".join(lines).replace(" ", "\t"),
        lambda lines: "\ufeff" + "\n".join(lines),
        lambda lines: "\n".join(lines).replace("/", "\\"),
        lambda lines: "  " + "  \n".join(lines).replace(" ", "   "),
    ],
)
def test_pitfall_06_line_ends_tabs_bom_blank_lines_and_windows_separators(tmp_path, write):
    plain, other = tmp_path / "plain.txt", tmp_path / "other.txt"
    plain.write_text("\n".join(LINES) + "\n")
    other.write_bytes(write(LINES).encode())

    def named(path, format="frames"):
        return [(e.dataset, e.clip_id, e.frame, e.label, e.paired) for e in read_list(path, format)]

    assert named(other) == named(plain)
    stacks = ["zc7db0ae.npz 1", "1e234567.npz 0"]
    plain.write_text("\n".join(stacks) + "\n")
    other.write_bytes(write(stacks).encode())
    assert named(other, "stack") == named(plain, "stack")


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        (LINES[0].replace("CASIA", "/CASIA"), "must be a path below"),
        (LINES[0].replace("CASIA", "C:/CASIA"), "must be a path below"),
        (LINES[0].replace("CASIA", "\\\\server\\CASIA"), "must be a path below"),
        (LINES[0].replace("real_part/", "../", 1), "must be a path below"),
        (LINES[0].replace("real_part/", "/", 1), "must be a path below"),
        (LINES[0].replace("real_part/", "..\\", 1), "must be a path below"),
        (LINES[0][:-2], "has 3 fields, not colour depth infrared label"),
        (LINES[0] + " 1", "has 5 fields"),
        (LINES[0][:-1] + "2", "neither 0 nor 1"),
        (LINES[0].replace("real.rssdk", "fake.rssdk"), "is no recording of"),
        (LINES[0].replace("/1.jpg", "/one.jpg"), "is no recording of"),
        (LINES[0].replace("/1.jpg", "/1_resized.jpg"), "is no recording of"),
        (LINES[0].replace("/1.jpg", "/12345678901.jpg"), "is no recording of"),
        (f"{SURF} {SURF} {SURF} 0", "has no, no, no images where colour depth infrared label stand"),
        (LINES[0].replace("/1.jpg", "/1.jpg\0"), "below the data set's folder"),
    ],
)
def test_a_line_that_is_none_is_named(tmp_path, line, sentence):
    path = tmp_path / "list.txt"
    path.write_text(f"{LINES[1]}\n{line}\n")
    with pytest.raises(BadInput, match=re.escape(sentence)) as e:
        read_list(path, "frames")
    assert str(e.value).startswith(f"{path}, row 2: ")


def test_files_that_are_no_list(tmp_path):
    path = tmp_path / "list.txt"
    with pytest.raises(BadInput, match="cannot be read"):
        read_list(path, "frames")
    with pytest.raises(BadInput, match="cannot be read"):
        read_list(tmp_path, "frames")
    path.write_bytes(LINES[0].encode() + b"\n\xff\xfe")
    with pytest.raises(BadInput, match="row 2: not UTF-8"):
        read_list(path, "frames")
    path.write_text("\r\n \n")
    with pytest.raises(BadInput, match="holds no line"):
        read_list(path, "frames")
    path.write_text("filepath,group\nx,dev\n")
    with pytest.raises(BadInput, match="no column label"):
        read_list(path, "idiap")
    path.write_text("filepath,group,label\nface-station/1/002_01_000_0_00,develop,0\n")
    with pytest.raises(BadInput, match="row 2: has the split 'develop'"):
        read_list(path, "idiap")
    path.write_text("filepath,group,label\nface-station/1/002_01_000_0_00,dev,live\n")
    with pytest.raises(BadInput, match="row 2: has the label 'live'"):
        read_list(path, "idiap")
    path.write_text("trial_id,partition_name\n1e+23,valid\n")
    with pytest.raises(BadInput, match="read ids as text"):
        read_list(path, "padisi")


class TestLoaderBugs:
    """Section 7.1, as far as lists are concerned."""

    @pytest.mark.parametrize("order", [("color", "ir", "depth"), ("depth", "color", "ir"), ("ir", "ir", "ir")])
    def test_depth_and_infrared_columns_exchanged(self, tmp_path, order):
        """bob.db.casiasurf names the columns colour, infrared, depth."""
        path = tmp_path / "list.txt"
        path.write_text(" ".join([*(f"{SURF}/{folder}/1.jpg" for folder in order), "0"]))
        with pytest.raises(BadInput, match="images where colour depth infrared label stand"):
            read_list(path, "frames")

    def test_infrared_column_repeats_colour(self, tmp_path):
        """Flex-Modal's and MMDG-Bench's test loaders feed colour in the place of infrared."""
        path = tmp_path / "list.txt"
        path.write_text(f"{SURF}/color/1.jpg {SURF}/depth/1.jpg {SURF}/color/1.jpg 0")
        with pytest.raises(BadInput, match="rgb, depth, rgb images"):
            read_list(path, "frames")

    def test_modalities_sorted_independently(self, tmp_path):
        """CEFA_Multi sorts each modality's list by itself: the frames of a line may differ."""
        path = tmp_path / "list.txt"
        path.write_text(f"{SURF}/color/1.jpg {SURF}/depth/101.jpg {SURF}/ir/11.jpg 0\n{LINES[1]}")
        apart, together = read_list(path, "frames")
        assert not apart.paired
        assert together.paired
        assert defects({"train": [apart, together]}) == [
            "train: lines that pair modalities of different frames: 1, first CLKJ_AS0001/04_en_b.rssdk:1"
        ]

    def test_failed_image_becomes_nothing(self, tmp_path):
        """MMDG-Bench turns a file that is not there into a black image; here the protocol is refused."""
        rows, folder = indexed("C", {"C-train.txt": [frames(CEFA_LIVE, "0026.jpg", "1", "profile")]}, tmp_path)
        (folder / "C-train.txt").write_text(frames(CEFA_LIVE, "0051.jpg", "1", "profile"))
        with pytest.raises(BadInput, match=r"lack frames .* 1 of 1 of C-train.txt, first 1_000_1_1_1:51"):
            mmdg(rows, folder)

    def test_leave_one_out_lists_with_bona_fide_in_train_and_test(self, tmp_path):
        """The p2@k lists of the CASIA-FAS-Dataset repository: train equals val, bona fide in train and test."""
        path = tmp_path / "list.csv"
        path.write_text(
            "filepath,group,label\nface-station/17.01.18/002_01_000_0_00,train,0\n"
            "face-station/17.01.18/003_01_003_2_81,train,attack/flexiblemask\n"
        )
        train = read_list(path, "idiap")
        sentences = defects({"train": train, "val": train, "test": train[:1]})
        assert "frames in train and val: 2, first 002_01_000_0_00, 003_01_003_2_81" in sentences
        assert "subject 002 is in train (1 lines) and test (1 lines)" in sentences


def entries_of(tmp_path, lines):
    path = tmp_path / "some.txt"
    path.write_text("\n".join(lines))
    return read_list(path, "frames")


class TestDefects:
    def test_pitfall_08_a_subject_in_two_splits(self, tmp_path):
        val = [
            frames("CeFA/CeFA-Race/AF/AF-300/1_300_1_1_1", "0026.jpg", "1", "profile"),
            frames(CEFA, "0026.jpg", "0"),
        ]
        test = [frames("CeFA/CeFA-Race/AF/AF-300/1_300_3_1_2", f"{i:04}.jpg", "0", "profile") for i in (26, 51)]
        texts = defects({"val": entries_of(tmp_path, val), "test": entries_of(tmp_path, test)})
        assert texts == ["subject AF-300 is in val (1 lines) and test (2 lines)", "no subject of CA, EA in any list; "
                         "there are AF"]  # fmt: skip

    def test_pitfall_09_a_missing_ethnicity(self, tmp_path):
        lines = [frames(f"CeFA/CeFA-Race/{r}/{r}-000/{n}_000_1_1_1", "0026.jpg", "1", "profile") for r, n in
                 (("AF", 1), ("CA", 2), ("EA", 3))]  # fmt: skip
        assert defects({"train": entries_of(tmp_path, lines)}) == []
        assert defects({"train": entries_of(tmp_path, lines[:2])}) == ["no subject of EA in any list; there are AF, CA"]

    def test_pitfall_10_duplicate_lines(self, tmp_path):
        sentences = defects({"train": entries_of(tmp_path, [LINES[0], LINES[1], LINES[0]])})
        assert sentences == ["train: duplicate lines: 1 frames, first CLKJ_AS0001/real.rssdk:1"]

    def test_pitfall_10_cut_outs_in_every_split(self, tmp_path):
        def split(subject, codes):
            lines = [frames(f"x/CLKJ_AS{subject}/{code}.rssdk", "1.jpg", "0") for code in codes]
            return entries_of(tmp_path, lines)

        six = lists.CUT_OUTS
        everywhere = {"train": split("0001", six), "val": split("0002", six), "test": split("0003", six)}
        assert defects(everywhere) == ["all six cut-outs are in every split (train, val, test), so no attack is unseen"]
        official = {"train": split("0001", six[3:]), "val": split("0002", six[:3]), "test": split("0003", six[:3])}
        assert defects(official) == []

    @given(st.data())
    def test_none_in_disjoint_lists(self, tmp_path_factory, data):
        """Subjects of all three ethnicities, each in one split with some of its recordings: nothing to report."""
        folder = tmp_path_factory.mktemp("lists")
        entries, number = {}, 0
        for split in ("train", "val", "test"):
            lines = []
            for race, code in (("AF", 1), ("CA", 2), ("EA", 3)):
                for _ in range(data.draw(st.integers(1, 3))):
                    number += 1
                    for pai in data.draw(st.sets(st.sampled_from(["1_1_1", "3_1_2", "3_1_4"]), min_size=1)):
                        recording = f"CeFA/CeFA-Race/{race}/{race}-{number:03}/{code}_{number:03}_{pai}"
                        lines.append(frames(recording, "0026.jpg", str(int(pai == "1_1_1")), "profile"))
            entries[split] = entries_of(folder, lines)
        assert defects(entries) == []
        moved = data.draw(st.sampled_from(entries["train"]))
        assert any(moved.subject in text for text in defects({**entries, "test": [*entries["test"], moved]}))


def test_names_tell_subject_and_class():
    cases = {
        ("C", "1_000_1_1_1"): ("AF-000", "bonafide"),
        ("C", "3_499_3_1_4"): ("EA-499", "attack"),
        ("C", "1_002_1_1_2_1_3"): ("3D-Mask-002", "attack"),
        ("C", "2_001_1_1_2_1_3"): ("Silicone-Mask-001", "attack"),
        ("C", "003000"): ("", ""),
        ("S", "CLKJ_CS0116/06_enm_b.rssdk"): ("CLKJ_CS0116", "attack"),
        ("S", "Val/0000/000000"): ("", ""),
        ("W", "534_07_019_1_15"): ("534", "attack"),
        ("W", "017_02_000_0_02"): ("017", "bonafide"),
        ("H", "1_01_0002_0000_00_02_000-2a1b2c3d"): ("0002", "bonafide"),
        ("P", "1e234567"): ("", ""),
    }
    assert {key: (subject_of(*key), label_of(*key)) for key in cases} == cases


class TestDifferences:
    def published(self, data: bytes, **changes):
        values = {
            "file": "C-train.txt", "benchmark": "mmdg", "format": "frames", "layouts": ("cefa-full",), "live": "1",
            "split": "train", "sha1": hashlib.sha1(data).hexdigest()[:12], "line_end": "CRLF", "last_line_end": False,
            "lines": 3, "bonafide": 1, "attack": 2, "recordings": 2,
        }  # fmt: skip
        return PublishedList(**{**values, **changes})

    def test_the_published_list_and_its_rewritten_line_ends(self, tmp_path):
        data = "\r\n".join(LINES).encode()
        path = tmp_path / "S-train.txt"
        for version in (
            data, data.replace(b"\r", b""), data + b"\r\n", b"\xef\xbb\xbf" + data.replace(b"\r", b"") + b"\n"
        ):  # fmt: skip
            path.write_bytes(version)
            assert differences(self.published(data), path, read_list(path, "frames")) == []
        tabs = "\n".join(LINES).encode() + b"\n"
        path.write_bytes(tabs)
        expected = self.published(tabs, line_end="LF", last_line_end=True)
        assert differences(expected, path, read_list(path, "frames")) == []

    def test_another_list_by_hash_and_by_counts(self, tmp_path):
        data = "\r\n".join(LINES).encode()
        path = tmp_path / "S-train.txt"
        path.write_bytes(data.replace(b"/101.jpg", b"/111.jpg"))
        (wrong,) = differences(self.published(data), path, read_list(path, "frames"))
        assert re.fullmatch(r"S-train\.txt: sha1 [0-9a-f]{12}…, published is [0-9a-f]{12}…", wrong)
        path.write_bytes("\r\n".join(LINES[:2]).encode())
        assert differences(self.published(data), path, read_list(path, "frames"))[:2] == [
            "S-train.txt: 2 lines, published are 3",
            "S-train.txt: 1 attack, published are 2",
        ]
        unknown = self.published(data, sha1="", lines=None, bonafide=None, attack=None, recordings=None)
        assert differences(unknown, path, read_list(path, "frames")) == []


def row(dataset, layout, clip_id, frame, label, subject):
    return Row(
        sample_id=f"{dataset}:{clip_id}:{frame}", dataset=dataset, layout=layout, clip_id=clip_id, frame=frame,
        subject_id=f"{dataset}:{subject}", presenter_id="", source_id="", label=label,
        attack_family="" if label == "bonafide" else "print", attack_code="", rgb="x.jpg", rgb_shape="", depth="",
        depth_shape="", ir="", ir_shape="", depth_encoding="", ir_nm=None,
    )  # fmt: skip


def indexed(dataset, files, tmp_path):
    """Rows of every line of the three lists, which are written to a folder; `files` may name one of them only."""
    folder = tmp_path / "lists"
    folder.mkdir()
    rows = {}
    layout = manifest(dataset).lists("mmdg")[f"{dataset}-train.txt"].layouts[0]
    for split in ("train", "val", "test"):
        path = folder / f"{dataset}-{split}.txt"
        default = [frames(f"CeFA/CeFA-Race/CA/CA-{len(split)}00/2_{len(split)}00_1_1_1", "0026.jpg", "1", "profile")]
        path.write_text("\n".join(files.get(path.name, default)))
        for e in read_list(path, "frames" if dataset != "P" else "stack"):
            rows[e.name] = row(e.dataset, layout, e.clip_id, e.frame, e.label, e.subject or e.clip_id)
    return list(rows.values()), folder


def named(benchmark, split):
    return [sample.split(":", 1)[1] for sample in benchmark.splits[split]]


class TestMmdg:
    def test_lines_become_samples_in_the_list_s_order(self, tmp_path):
        train = [frames(CEFA, f"{i:04}.jpg", "0", "profile") for i in (76, 26, 51)]
        rows, folder = indexed("C", {"C-train.txt": train}, tmp_path)
        protocol = mmdg([*rows, row("C", "cefa-full", "1_000_3_1_2", 99, "attack", "AF-000")], folder)
        assert named(protocol, "train") == ["1_000_3_1_2:76", "1_000_3_1_2:26", "1_000_3_1_2:51"]
        assert named(protocol, "val") == ["2_300_1_1_1:26"]
        assert named(protocol, "test") == ["2_400_1_1_1:26"]

    def test_a_list_that_is_not_the_published_one_gives_another_name_and_says_why(self, tmp_path, monkeypatch):
        rows, folder = indexed("C", {}, tmp_path)
        protocol = mmdg(rows, folder)
        assert protocol.name == "mmdg-altered"
        assert "mmdg: not the published list: C-val.txt: 1 lines, published are 2401" in protocol.notes
        monkeypatch.setattr(lists, "differences", lambda *_: [])
        assert mmdg(rows, folder).name == "mmdg"

    def test_padisi_stacks_and_sets_without_lists(self, tmp_path):
        files = {f"P-{split}.txt": [f"{split[0]}0000001.npz\t1"] for split in ("train", "val", "test")}
        rows, folder = indexed("P", files, tmp_path)
        protocol = mmdg([*rows, row("W", "wmca-jpg", "002_01_000_0_00", 12, "bonafide", "002")], folder)
        assert protocol.splits == {"train": ["P:t0000001:0"], "val": ["P:v0000001:0"], "test": ["P:t0000001:0"]}
        assert any(text.startswith("mmdg: no lists of W in ") for text in protocol.notes)
        assert not any("mmdg: P:" in text and "subject" in text for text in protocol.notes)  # the lists name none
        with pytest.raises(BadInput, match="holds no list of an indexed set"):
            mmdg([row("W", "wmca-jpg", "002_01_000_0_00", 12, "bonafide", "002")], folder)

    def test_pitfall_08_the_leak_is_kept_as_published_and_reported(self, tmp_path):
        leaked = frames("CeFA/CeFA-Race/AF/AF-300/1_300_1_1_1", "0026.jpg", "1", "profile")
        rows, folder = indexed("C", {"C-val.txt": [leaked], "C-test.txt": [leaked]}, tmp_path)
        protocol = mmdg(rows, folder)
        assert named(protocol, "val") == named(protocol, "test") == ["1_300_1_1_1:26"]
        assert "mmdg: C: subject AF-300 is in val (1 lines) and test (1 lines)" in protocol.notes

    def test_pitfall_03_two_recordings_of_wmca_whose_modalities_have_other_frames(self, tmp_path):
        recording = "WMCA-Image/R_CDIT/100_03_015_2_10"
        shifted = f"{recording}/color/0012.jpg {recording}/depth/0013.jpg {recording}/ir/0013.jpg 0"
        known = frames("WMCA-Image/R_CDIT/101_06_067_1_02", "0020.jpg", "0")  # named by the list, not in the release
        files = {f"W-{s}.txt": [frames(f"a/{i:03}_01_000_0_00", "0012.jpg", "1")] for i, s in
                 enumerate(("train", "val", "test"))}  # fmt: skip
        files["W-test.txt"] += [shifted, known]
        rows, folder = indexed("W", files, tmp_path)
        rows = [r for r in rows if r.clip_id[:3] not in ("101",)]
        protocol = mmdg(rows, folder)
        assert named(protocol, "test") == ["002_01_000_0_00:12"]
        assert (
            "mmdg: W-test.txt: left out, as they cannot be paired: 2 lines, first 100_03_015_2_10:12, "
            "101_06_067_1_02:20" in protocol.notes
        )

    @pytest.mark.parametrize("whole", [False, True])
    def test_pitfall_03_a_known_defect_is_left_out_unless_the_tree_holds_the_frame_whole(self, tmp_path, whole):
        line = frames("WMCA-Image/R_CDIT/100_03_015_2_10", "0012.jpg", "0")
        files = {f"W-{s}.txt": [frames(f"a/{i:03}_01_000_0_00", "0012.jpg", "1")] for i, s in
                 enumerate(("train", "val", "test"))}  # fmt: skip
        files["W-test.txt"].append(line)
        rows, folder = indexed("W", files, tmp_path)
        images = {"depth": "x.jpg", "ir": "x.jpg"} if whole else {}
        rows = [replace(r, **images) if r.clip_id == "100_03_015_2_10" else r for r in rows]
        protocol = mmdg(rows, folder)
        assert named(protocol, "test") == ["002_01_000_0_00:12", *["100_03_015_2_10:12"] * whole]
        assert any("cannot be paired" in note for note in protocol.notes) != whole

    def test_an_index_by_names_takes_a_container_for_all_of_its_frames(self, tmp_path):
        lines = {f"W-{s}.txt": [frames(f"a/{i:03}_01_000_0_00", f"00{k}.jpg", "1") for k in (12, 24)] for i, s in
                 enumerate(("train", "val", "test"))}  # fmt: skip
        rows, folder = indexed("W", lines, tmp_path)
        stem = "preprocessed-face-station_RGB/{}.hdf5"
        rows = [
            replace(row("W", "wmca-hdf5", r.clip_id, 0, r.label, "x"), rgb=stem.format(r.clip_id))
            for r in rows if r.frame == 12
        ]  # fmt: skip
        protocol = mmdg(rows, folder)
        assert [named(protocol, split) for split in protocol.splits] == [
            ["000_01_000_0_00:0"], ["001_01_000_0_00:0"], ["002_01_000_0_00:0"]
        ]  # fmt: skip

    def test_pitfall_10_a_duplicate_line_counts_once(self, tmp_path):
        line = frames(CEFA, "0026.jpg", "0", "profile")
        rows, folder = indexed("C", {"C-train.txt": [line, line]}, tmp_path)
        protocol = mmdg(rows, folder)
        assert named(protocol, "train") == ["1_000_3_1_2:26"]
        assert "mmdg: C: train: duplicate lines: 1 frames, first 1_000_3_1_2:26" in protocol.notes

    def test_frames_the_tree_lacks_are_counted_and_named(self, tmp_path):
        train = [frames(CEFA, f"{i:04}.jpg", "0", "profile") for i in range(9)]
        rows, folder = indexed("C", {"C-train.txt": train}, tmp_path)
        fewer = [r for r in rows if r.frame not in (1, 3, 5, 7) and r.clip_id != "2_300_1_1_1"]
        with pytest.raises(BadInput) as e:
            mmdg(fewer, folder)
        assert str(e.value) == (
            "protocol mmdg: the trees lack frames that the lists name: 4 of 9 of C-train.txt, first 1_000_3_1_2:1, "
            "1_000_3_1_2:3, 1_000_3_1_2:5, …; 1 of 1 of C-val.txt, first 2_300_1_1_1:26; restore them"
        )

    def test_another_layout_numbers_frames_otherwise(self, tmp_path):
        rows, folder = indexed("C", {}, tmp_path)
        other = [row("C", "cefa-2026", r.clip_id, r.frame, r.label, "x") for r in rows]
        with pytest.raises(BadInput, match=r"numbers the frames of cefa-full, but C is indexed from cefa-2026"):
            mmdg(other, folder)

    def test_pitfall_01_padisi_labels_are_compared_with_the_index(self, tmp_path):
        files = {f"P-{split}.txt": [f"{split[0]}0000001.npz\t1"] for split in ("train", "val", "test")}
        rows, folder = indexed("P", files, tmp_path)
        (folder / "P-val.txt").write_text("v0000001.npz\t0\n")
        with pytest.raises(BadInput, match=r"P-val.txt, row 1: v0000001:0 is attack there and bonafide in the index"):
            mmdg(rows, folder)

    def test_a_part_of_a_set_s_lists_and_lists_of_another_set(self, tmp_path):
        rows, folder = indexed("C", {}, tmp_path)
        (folder / "C-val.txt").unlink()
        with pytest.raises(BadInput, match=r"C-train.txt, C-test.txt but no C-val.txt"):
            mmdg(rows, folder)
        (folder / "C-val.txt").write_text(LINES[0])
        with pytest.raises(BadInput, match=r"C-val.txt, row 1: CLKJ_AS0001/real.rssdk:1 is not of CASIA-SURF CeFA"):
            mmdg(rows, folder)
        with pytest.raises(BadInput, match=r"no such folder; correct its path"):
            mmdg(rows, tmp_path / "nowhere")


class TestCommandLine:
    @pytest.fixture
    def tree(self, tmp_path):
        trees.cefa(tmp_path / "C")
        (tmp_path / "lists").mkdir()
        parts = {"train": ("AF-000", "CA-001"), "val": ("AF-250",), "test": ("CA-301",)}
        for split, subjects in parts.items():
            lines = []
            for subject in subjects:
                race = {"AF": 1, "CA": 2}[subject[:2]]
                for rest in ("1_1_1", "3_1_2"):
                    recording = f"CeFA/CeFA-Race/{subject[:2]}/{subject}/{race}_{subject[3:]}_{rest}"
                    lines.append(frames(recording, "0026.jpg", str(int(rest == "1_1_1")), "profile"))
            (tmp_path / "lists" / f"C-{split}.txt").write_bytes("\r\n".join(lines).encode())
        (tmp_path / "roots.toml").write_text('C = "C"\n[lists]\nmmdg = "lists"\n')
        return tmp_path

    def index(self, tree):
        main(["index", "--roots", str(tree / "roots.toml"), "--out", str(tree / "out"), "--workers", "1"])

    def test_lists_in_roots_toml_give_the_protocol(self, tree, capsys):
        self.index(tree)
        printed = capsys.readouterr().out
        index = load_index(tree / "out" / "index.csv")
        assert {s: len(index.split("mmdg-altered", s)) for s in ("train", "val", "test")} == {
            "train": 4, "val": 2, "test": 2
        }  # fmt: skip
        assert "note: mmdg: C: no subject of EA in any list; there are AF, CA" in printed
        assert "note: mmdg: not the published list: C-train.txt: 4 lines, published are 4800" in printed

    def test_a_frame_the_tree_lacks_stops_it_before_anything_is_written(self, tree, capsys):
        for modality in ("profile", "depth", "ir"):
            (tree / "C/CeFA/CeFA-Race/AF/AF-000/1_000_3_1_2" / modality / "0026.jpg").unlink()
        with pytest.raises(SystemExit) as e:
            self.index(tree)
        assert e.value.code == 2
        assert "1 of 4 of C-train.txt, first 1_000_3_1_2:26; restore them" in capsys.readouterr().err
        assert not (tree / "out").exists()

    def test_unknown_lists(self, tree, capsys):
        (tree / "roots.toml").write_text('C = "C"\n[lists]\nflex = "lists"\n')
        with pytest.raises(SystemExit):
            self.index(tree)
        assert "lists 'flex' are not known; there is mmdg" in capsys.readouterr().err

    def test_the_protocol_verb_adds_it_later(self, tree, capsys):
        (tree / "roots.toml").write_text('C = "C"\n')
        self.index(tree)
        path = tree / "out" / "index.csv"
        with pytest.raises(SystemExit):
            main(["protocol", "mmdg", "--index", str(path)])
        assert "name it with --lists" in capsys.readouterr().err
        main(["protocol", "mmdg", "--index", str(path), "--lists", str(tree / "lists")])
        assert "mmdg-altered added" in capsys.readouterr().out
        assert len(load_index(path).split("mmdg-altered", "train")) == 4
