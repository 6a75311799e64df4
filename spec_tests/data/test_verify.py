"""`verify`: published against found, every problem by file, JSON, exit status, and a full run that goes on where it
was cut off. Trees are miniatures, or of the published size from the naming rules with empty files."""

import json
import os
import re

import numpy as np
import pytest
from PIL import Image

from data_manifests import verify as module
from data_manifests.__main__ import main
from data_manifests.adapters import Options, index_tree
from data_manifests.errors import BadInput
from data_manifests.index import load_index
from data_manifests.manifests import SPLITS, Count, Expected, manifest
from data_manifests.verify import Comparison, compare, decode_all, verify
from spec_tests.support import trees

OPTIONS = Options(workers=1, frames=2)
CUT_OUTS = ("01_e_s", "02_e_b", "03_en_s", "04_en_b", "05_enm_s", "06_enm_b")


def status(*arguments):
    """Exit status of a command."""
    try:
        main(list(map(str, arguments)))
    except SystemExit as e:
        return e.code
    return 0


def numbers(report):
    return {(c.group, c.what): (c.expected, c.found) for c in report.counts}


@pytest.fixture
def tree(tmp_path):
    return trees.surf(tmp_path / "S")


def cut_short(path):
    """An image whose header is whole and whose pixels end in the middle."""
    noise = np.random.default_rng(0).integers(0, 256, (48, 32, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path, "JPEG", quality=95)
    path.write_bytes(path.read_bytes()[:-1000])


def recording(tree):
    return tree / "CASIA-SURF-CROP/real_part/real_train_part/CLKJ_AS0001/real.rssdk"


class TestReport:
    def test_counts_and_differences(self, tree):
        report = verify("S", tree, "headers", OPTIONS)
        assert (report.layout, report.expectation, report.problems) == ("surf-crop", "release", [])
        found = numbers(report)
        assert found["train bonafide", "subjects"] == (300, 1)
        assert found["train attack print_cut", "frames"] == (5379, 6)
        assert found["all", "recordings"] == (None, 9)
        assert not report.ok
        lines = {tuple(line[:2]): line[2:] for line in report.table()}
        assert lines["group", "what"] == ["expected", "found", "difference"]
        assert lines["train bonafide", "subjects"] == ["300", "1", "-299"]
        assert lines["all", "recordings"] == ["not published", "9", "-"]

    def test_difference(self):
        assert Comparison("g", "recordings", 3, 5).difference == 2
        assert Comparison("g", "recordings", 3, 3).difference == 0
        assert Comparison("g", "recordings", None, 3).difference is None

    @pytest.mark.parametrize("letter", trees.TREES)
    @pytest.mark.parametrize("depth", ["fast", "headers", "full"])
    def test_every_miniature_at_every_depth(self, tmp_path, letter, depth):
        root = trees.TREES[letter](tmp_path / letter)
        report = verify(letter, root, depth, OPTIONS, state=tmp_path / "state")
        assert report.problems == []
        counts = numbers(report)
        rows = index_tree(letter, root, Options(workers=1, frames=2, names_only=depth == "fast")).rows
        assert counts["all", "recordings"][1] == len({r.clip_id for r in rows})
        assert counts["all", "frames"][1] == len(rows)
        assert (tmp_path / "state").exists() == (depth == "full")

    def test_an_unknown_depth_of_expectation_and_a_tree_that_is_none(self, tree, tmp_path):
        with pytest.raises(BadInput, match="no expectation 'mmdg' for CASIA-SURF in the layout surf-crop"):
            verify("S", tree, "fast", OPTIONS, expect="mmdg")
        with pytest.raises(BadInput, match="not a known form of"):
            verify("S", tmp_path / "S" / "CASIA-SURF-CROP" / "real_part", "fast", OPTIONS)
        with pytest.raises(BadInput, match="needs a state file"):
            verify("S", tree, "full", OPTIONS)

    def test_groups_without_published_numbers_are_shown(self, tmp_path):
        rows = index_tree("W", trees.wmca(tmp_path), OPTIONS).rows
        found = compare(rows, {}, Expected("x", ("wmca-hdf5",), "", (Count(label="bonafide", recordings=4),)))
        shown = {(c.group, c.what): (c.expected, c.found) for c in found}
        assert shown["bonafide", "recordings"] == (4, 4)
        assert shown["attack papermask", "recordings"] == (None, 1)
        assert shown["all", "recordings"] == (None, 10)

    def test_without_the_owner_s_list_the_splits_are_added_up(self, tmp_path):
        root = trees.wmca(tmp_path / "W")
        (root / "documentation" / "PROTOCOL-grandtest.csv").unlink()
        report = verify("W", root, "headers", OPTIONS)
        found = numbers(report)
        assert found["bonafide", "recordings"] == (347, 4)
        assert found["attack papermask", "recordings"] == (71, 1)
        assert ("all", "subjects") in found
        assert "the tree does not tell the splits of W-grandtest; their sums are compared" in report.notes
        assert not any(group.startswith(SPLITS) for group, _ in found)

    def test_pitfall_09_what_is_missing_altogether(self, tmp_path):
        root = trees.cefa(tmp_path / "C", ("AF-000", "AF-250", "AF-301", "CA-001"))
        report = verify("C", root, "fast", OPTIONS)
        assert "no subject of EA in the tree" in report.notes
        assert "no recording of" not in "".join(report.notes)
        report = verify("W", trees.wmca(tmp_path / "W"), "fast", OPTIONS)
        assert "no recording of glasses, makeup, wig in the tree" in report.notes
        assert "W-grandtest: train holds no fakehead, papermask, print, replay, rigidmask" in report.notes

    def test_pitfall_08_a_leaking_subject_of_the_owner_s_list_is_a_problem(self, tmp_path):
        root = trees.wmca(tmp_path / "W")
        path = root / "documentation" / "PROTOCOL-grandtest.csv"
        path.write_text(path.read_text().replace("017_02_000_0_02,train", "017_02_000_0_02,eval"))
        report = verify("W", root, "fast", OPTIONS)
        assert [p.path for p in report.problems] == ["W-grandtest"]
        assert "subject W:017 is in train and test" in report.problems[0].what

    def test_a_split_without_a_class_is_a_problem(self, tmp_path):
        root = trees.cefa(tmp_path / "C", ("AF-000", "AF-001", "CA-301"))
        report = verify("C", root, "fast", OPTIONS)
        assert any("val holds no bonafide frame" in str(problem) for problem in report.problems)


class TestProblems:
    def damage(self, tree):
        real = recording(tree)
        (real / "ir/9.jpg").write_bytes(b"")
        (real / "depth/31.jpg").write_text("no image")
        cut_short(real / "color/101.jpg")
        (real / "color/note.txt").write_text("x")

    def test_each_depth_finds_what_it_can(self, tree, tmp_path):
        self.damage(tree)
        live = "CASIA-SURF-CROP/real_part/real_train_part/CLKJ_AS0001/real.rssdk"
        paths = {}
        for depth in ("fast", "headers", "full"):
            problems = verify("S", tree, depth, OPTIONS, state=tmp_path / "s").problems
            paths[depth] = {problem.path.removeprefix(f"{live}/") for problem in problems}
        assert paths["fast"] == {"color/note.txt"}
        assert paths["headers"] == {"color/note.txt", "ir/9.jpg", "depth/31.jpg"}
        assert paths["full"] == {"color/note.txt", "ir/9.jpg", "depth/31.jpg", "color/101.jpg"}

    def test_full_finds_what_decodes_and_is_not_intact(self, tree, tmp_path):
        rng = np.random.default_rng(0)
        victims = [recording(tree) / name for name in ("color/9.jpg", "color/31.jpg", "depth/9.jpg", "ir/9.jpg")]
        for victim in victims:
            noise = Image.fromarray(rng.integers(0, 256, (48, 32, 3), dtype=np.uint8))
            noise.convert("CMYK" if victim == victims[3] else "RGB").save(victim, "JPEG", quality=95)
        data = victims[0].read_bytes()
        victims[0].write_bytes(data[: len(data) // 3] + bytes(len(data) - len(data) // 3))
        data = victims[1].read_bytes()
        victims[1].write_bytes(data[:1500] + bytes(400) + data[1900:])
        problems = {p.path: p.what for p in verify("S", tree, "full", OPTIONS, state=tmp_path / "s").problems}
        names = ["/".join(path.split("/")[-2:]) for path in problems]
        assert sorted(names) == ["color/31.jpg", "color/9.jpg", "ir/9.jpg"]
        assert all(re.search("damaged|CMYK", what) for what in problems.values())

    def test_the_command_lists_them_writes_json_and_fails(self, tree, tmp_path, capsys):
        self.damage(tree)
        out = tmp_path / "report" / "s.json"
        assert status("verify", "S", "--root", tree, "--json", out, "--workers", 1) == 1
        printed = capsys.readouterr().out
        assert re.search(r"problem: \S+real\.rssdk/ir/9\.jpg: is empty \(0 bytes\)", printed)
        assert re.search(r"not verified: [0-9]+ numbers differ, 3 problems", printed)
        report = json.loads(out.read_text())
        assert report["ok"] is False
        assert report["layout"] == "surf-crop"
        assert len(report["problems"]) == 3
        assert {
            "group": "train bonafide",
            "what": "subjects",
            "expected": 300,
            "found": 1,
            "at_least": False,
            "difference": -299,
            "wrong": True,
        } in report["counts"]
        assert [path.name for path in out.parent.iterdir()] == ["s.json"]

    def test_numbers_alone_make_it_fail_and_a_complete_tree_passes(self, tree, monkeypatch, capsys):
        assert status("verify", "S", "--root", tree, "--fast", "--workers", 1) == 1
        assert "problem: " not in capsys.readouterr().out
        whole = Expected("release", ("surf-crop",), "", (Count(recordings=9),))
        monkeypatch.setattr(type(manifest("S")), "expectations", lambda *_: [whole])
        assert status("verify", "S", "--root", tree, "--fast", "--workers", 1) == 0
        assert "verified: 0 numbers differ, 0 problems" in capsys.readouterr().out

    def test_no_personal_data_in_any_output(self, tmp_path, capsys):
        root = trees.cefa(tmp_path / "C", ("AF-000", "AF-250", "CA-301", "EA-012-19900203M"))
        folder = root / "CeFA/CeFA-Race/EA/EA-012-19900203M/3_012_1_1_1"
        (folder / "depth/0026.jpg").write_bytes(b"")
        cut_short(folder / "ir/0026.jpg")
        arguments = ("verify", "C", "--root", root, "--full", "--json", tmp_path / "r", "--state", tmp_path / "s")
        assert status(*arguments, "--workers", 1) == 1
        printed = capsys.readouterr()
        text = (tmp_path / "r").read_text() + (tmp_path / "s").read_text() + printed.out + printed.err
        assert "EA-012/3_012_1_1_1/depth/0026.jpg" in text
        assert "EA-012/3_012_1_1_1/ir/0026.jpg" in text
        assert not re.search(r"(?<!\d)1990(?!\d)", text)  # a time stamp may hold these digits
        assert "203M" not in text

    def test_lists_are_checked_against_the_tree(self, tree, tmp_path):
        folder = tmp_path / "lists"
        folder.mkdir()
        part = "CASIA-SURF-CROP/real_part/real_{0}_part/CLKJ_AS000{1}/real.rssdk"
        for number, split in enumerate(SPLITS, 1):
            below = part.format(split, number)
            line = f"{below}/color/9.jpg {below}/depth/9.jpg {below}/ir/9.jpg 1"
            (folder / f"S-{split}.txt").write_text(line)
        report = verify("S", tree, "fast", OPTIONS, lists=folder)
        assert any("S-train.txt: 1 lines, published are 6297" in p.what for p in report.problems)
        assert not any(problem.path.startswith("CLKJ") for problem in report.problems)
        (folder / "S-val.txt").write_text((folder / "S-val.txt").read_text().replace("9.jpg", "10.jpg"))
        report = verify("S", tree, "fast", OPTIONS, lists=folder)
        lacking = {problem.path: problem.what for problem in report.problems if problem.path.startswith("CLKJ")}
        what = "lacks 1 frame (10), though named in S-val.txt; restore rgb, depth, ir"
        assert lacking == {"CLKJ_AS0002/real.rssdk": what}


class TestResuming:
    @pytest.fixture
    def counted(self, monkeypatch):
        """The files that were decoded."""
        seen = []
        decoded = module._decoding_problem

        def counting(job):
            seen.append(job[1][0][0].path)
            return decoded(job)

        monkeypatch.setattr(module, "_decoding_problem", counting)
        return seen

    def rows(self, tree):
        return index_tree("S", tree, OPTIONS).rows

    def test_a_second_run_decodes_nothing_and_says_the_same(self, tree, tmp_path, counted):
        cut_short(recording(tree) / "color/101.jpg")
        rows = self.rows(tree)
        first, already = decode_all(tree, rows, tmp_path / "state", 1)
        assert (len(first), already, len(counted)) == (1, 0, 81)
        second, already = decode_all(tree, rows, tmp_path / "state", 1)
        assert (second, already, len(counted)) == (first, 81, 81)
        report = verify("S", tree, "full", OPTIONS, state=tmp_path / "state")
        assert any(note.startswith("81 files were decoded before") for note in report.notes)

    def test_a_line_of_the_state_that_was_changed_does_not_count(self, tree, tmp_path, counted):
        cut_short(recording(tree) / "color/101.jpg")
        rows, state = self.rows(tree), tmp_path / "state"
        first, _ = decode_all(tree, rows, state, 1)
        state.write_text(state.read_text().replace("color/101.jpg: ", "color/101.jpg: no! "))
        counted.clear()
        assert decode_all(tree, rows, state, 1) == (first, 80)
        assert counted == ["CASIA-SURF-CROP/" + first[0].path.partition("CASIA-SURF-CROP/")[2]]

    def test_a_changed_file_is_decoded_again(self, tree, tmp_path, counted):
        rows = self.rows(tree)
        broken = recording(tree) / "ir/9.jpg"
        whole = broken.read_bytes()
        broken.write_bytes(whole[:-200])
        assert len(decode_all(tree, rows, tmp_path / "state", 1)[0]) == 1
        broken.write_bytes(whole)
        counted.clear()
        assert decode_all(tree, rows, tmp_path / "state", 1) == ([], 80)
        assert counted == [broken.relative_to(tree).as_posix()]
        os.utime(broken, (1, 1))
        counted.clear()
        decode_all(tree, rows, tmp_path / "state", 1)
        assert len(counted) == 1

    def test_a_run_that_was_cut_off_goes_on(self, tree, tmp_path, counted, monkeypatch):
        rows = self.rows(tree)
        decoded = module._decoding_problem

        def dying(job):
            if len(counted) == 30:
                raise KeyboardInterrupt
            return decoded(job)

        with monkeypatch.context() as m:
            m.setattr(module, "_decoding_problem", dying)
            with pytest.raises(KeyboardInterrupt):
                decode_all(tree, rows, tmp_path / "state", 1)
        with (tmp_path / "state").open("r+b") as f:
            f.truncate(f.seek(0, 2) - 7)  # the last line was cut short
        counted.clear()
        assert decode_all(tree, rows, tmp_path / "state", 1) == ([], 29)
        assert len(counted) == 52
        counted.clear()
        assert decode_all(tree, rows, tmp_path / "state", 1) == ([], 81)

    @pytest.mark.parametrize("text", [b"\xff\xfe", b"[1]\n{}\n5\nnull\n", b'["a"]', b'[[],1,2,"","" ]\n', b"[" * 5000])
    def test_a_state_file_of_something_else_is_as_good_as_none(self, tree, tmp_path, counted, text):
        (tmp_path / "state").write_bytes(text)
        assert decode_all(tree, self.rows(tree), tmp_path / "state", 1) == ([], 0)
        assert len(counted) == 81

    def test_a_file_gone_since_indexing(self, tree, tmp_path):
        rows = self.rows(tree)
        (recording(tree) / "ir/9.jpg").unlink()
        (problem,), _ = decode_all(tree, rows, tmp_path / "state", 1)
        assert problem.path.endswith("real.rssdk/ir/9.jpg")
        assert "no such file" in problem.what

    def test_workers_change_nothing(self, tree, tmp_path):
        cut_short(recording(tree) / "color/101.jpg")
        rows = self.rows(tree)
        one, _ = decode_all(tree, rows, tmp_path / "one", 1)
        two, _ = decode_all(tree, rows, tmp_path / "two", 2)
        assert one == two
        assert sorted((tmp_path / "one").read_bytes().splitlines()) == sorted(
            (tmp_path / "two").read_bytes().splitlines()
        )

    def test_the_default_state_is_below_build(self, tree, tmp_path, monkeypatch, capsys):
        monkeypatch.chdir(tmp_path)
        status("verify", "S", "--root", tree, "--full", "--workers", 1)
        (state,) = (tmp_path / "build" / "verify").iterdir()
        assert re.fullmatch(r"S-[0-9a-f]{8}\.jsonl", state.name)
        assert len([line for line in state.read_bytes().splitlines() if line]) == 81


def empty(root, names):
    folders = set()
    for name in names:
        folder = name.rpartition("/")[0]
        if folder not in folders:
            (root / folder).mkdir(parents=True, exist_ok=True)
            folders.add(folder)
        os.close(os.open(f"{root}/{name}", os.O_CREAT | os.O_WRONLY))


def wmca_names():
    """Recordings with the published number of every family in every split, as (name, split), from the naming rule."""
    code = {"": "0_00", "fakehead": "2_01", "flexiblemask": "2_78", "glasses": "1_01", "papermask": "2_08",
            "print": "3_01", "replay": "4_01", "rigidmask": "1_02"}  # fmt: skip
    clients = {"train": (1, 35), "val": (36, 34), "test": (70, 34)}
    for count in manifest("W").expectation("wmca-hdf5").count:
        if count.label:
            first, many = clients[count.split]
            for i in range(count.recordings):
                name = f"{first + i % many:03}_{1 + i // many % 7:02}_{i // many // 7:03}_{code[count.family]}"
                yield name, count.split, count.family


@pytest.fixture(scope="module")
def wmca(tmp_path_factory):
    root = tmp_path_factory.mktemp("W")
    group = {"train": "train", "val": "dev", "test": "eval"}
    lines = [",client_id,filepath,group,label"]
    for name, split, family in wmca_names():
        below = f"WMCA-Image/R_CDIT/{name}"
        empty(root, [f"{below}/{m}/{f}.jpg" for m in ("color", "depth", "ir") for f in ("0012", "0024", "0036")])
        label = f"attack/{family}" if family else "bonafide"
        lines.append(f"{len(lines)},{name[:3]},face-station/17.01.18/{name},{group[split]},{label}")
    (root / "PROTOCOL-grandtest.csv").write_bytes("\r\n".join(lines).encode())
    return root


class TestPublishedSize:
    """Trees of as many recordings as the sets have, empty files under the names that the rules give."""

    def test_wmca_comes_out_as_published(self, wmca, capsys):
        assert status("verify", "W", "--root", wmca, "--fast") == 0
        printed = capsys.readouterr().out
        assert "verified: 0 numbers differ, 0 problems" in printed
        assert "note: W-grandtest: val holds no papermask" in printed
        assert re.search(r"all +frames +at least 5037 +5037 +0\n", printed)
        assert re.search(r"all +depth +5037 +5037 +0\n", printed)

    def test_one_recording_less_is_found(self, wmca, tmp_path, capsys):
        gone = next((wmca / "WMCA-Image/R_CDIT").glob("*_2_08"))
        gone.rename(tmp_path / gone.name)
        try:
            assert status("verify", "W", "--root", wmca, "--fast") == 1
        finally:
            (tmp_path / gone.name).rename(gone)
        assert re.search(r"attack papermask +recordings +71 +70 +-1\n", capsys.readouterr().out)

    def test_it_is_indexed_and_split(self, wmca, tmp_path, capsys):
        out = tmp_path / "out" / "index.csv"
        assert status("index", "W", "--root", wmca, "--out", out, "--names-only") == 0
        index = load_index(out)
        assert {split: len(index.split("W-grandtest", split)) for split in SPLITS} == {
            "train": 1695, "val": 1671, "test": 1671
        }  # fmt: skip
        bonafide = [sum(index.rows[i].bonafide for i in index.split("W-grandtest", split)) for split in SPLITS]
        assert bonafide == [372, 324, 345]
        assert all(row.rgb and row.depth and row.ir for row in index.rows)
        assert "mmfas left out" in capsys.readouterr().out

    def test_casia_surf_validation_part(self, tmp_path):
        names = []
        for subject in range(100):
            for kind, recordings in (("real", ("real",)), ("fake", CUT_OUTS)):
                for code in recordings:
                    below = f"CASIA-SURF-CROP/{kind}_part/{kind}_val_part/CLKJ_CS{subject:04}/{code}.rssdk"
                    names += [f"{below}/{m}/{f}.jpg" for m in ("color", "depth", "ir") for f in (41, 141, 201)]
        empty(tmp_path, names)
        counts = numbers(verify("S", tmp_path, "fast", Options(workers=1)))
        assert [v for (group, _), v in counts.items() if group.startswith("val ")] == [
            (100, 100), (100, 100), (300, 300), (100, 100), (600, 600), (1800, 1800)
        ]  # fmt: skip


class TestBadArguments:
    @pytest.mark.parametrize("verb", ["verify", "index"])
    @pytest.mark.parametrize(
        ("arguments", "sentence"),
        [
            (["--workers", "-3"], "argument --workers: -3 is not a number from 1 up"),
            (["--workers", "0"], "argument --workers: 0 is not a number from 1 up"),
            (["--swir-nm", "long"], "argument --swir-nm: long is not a number from 1 up"),
            (["--layout", "surf"], "argument --layout: no layout 'surf'; there is cefa-full"),
            (["--layout", "surf-2026"], "holds surf-crop, not surf-2026; leave --layout out or name another folder"),
        ],
    )
    def test_one_sentence_names_argument_and_remedy(self, tree, tmp_path, capsys, verb, arguments, sentence):
        out = ["--out", tmp_path / "out"] if verb == "index" else []
        assert status(verb, "S", "--root", tree, *out, *arguments) == 2
        assert sentence in capsys.readouterr().err
        assert not (tmp_path / "out").exists()

    @pytest.mark.parametrize("verb", ["verify", "index"])
    def test_a_root_that_links_to_itself(self, tmp_path, capsys, verb):
        (tmp_path / "loop").symlink_to(tmp_path / "loop")
        out = ["--out", tmp_path / "out"] if verb == "index" else []
        assert status(verb, "S", "--root", tmp_path / "loop", *out) == 2
        assert "loop: is a link that leads back to itself" in capsys.readouterr().err

    def test_a_message_says_where_its_paths_begin(self, tree, tmp_path, capsys):
        (recording(tree) / "ir/9.jpg").write_bytes(b"")
        assert status("index", "S", "--root", tree, "--out", tmp_path / "out", "--workers", 1) == 2
        error = capsys.readouterr().err
        assert f"error: root S = {tree}: CASIA-SURF-CROP/" in error
        assert "roots.toml" not in error
        assert status("verify", "S", "--root", tree, "--workers", 1) == 1
        assert f"CASIA-SURF at {tree}, layout surf-crop, headers" in capsys.readouterr().out


class TestIndexOfOneSet:
    def test_out_is_a_folder_or_its_index(self, tree, tmp_path, capsys):
        for out in (tmp_path / "a", tmp_path / "b" / "index.csv"):
            assert status("index", "S", "--root", tree, "--out", out, "--workers", 1) == 0
        a, b = (load_index(tmp_path / name / "index.csv") for name in "ab")
        assert [*a.rows] == [*b.rows]
        assert a.roots == {"S": tree}
        assert list(a.protocols) == ["S-folders"]

    @pytest.mark.parametrize(
        ("arguments", "sentence"),
        [
            (["S", "--root", "x", "--out", "y/s.csv"], "an index is called index.csv; give y/s/index.csv"),
            (["S", "--out", "y"], "index SET takes --root DIR"),
            (["S", "--root", "x", "--roots", "z", "--out", "y"], "index SET takes --root DIR"),
            (["--out", "y"], "index takes either SET --root DIR or --roots FILE"),
            (["--root", "x", "--roots", "z", "--out", "y"], "index takes either SET --root DIR or --roots FILE"),
            (["Q", "--root", "x", "--out", "y"], "no data set 'Q'"),
            (["S", "--root", "nowhere", "--out", "y"], "no such folder"),
        ],
    )
    def test_errors(self, tmp_path, monkeypatch, capsys, arguments, sentence):
        monkeypatch.chdir(tmp_path)
        assert status("index", *arguments) == 2
        assert sentence in capsys.readouterr().err
        assert list(tmp_path.iterdir()) == []
