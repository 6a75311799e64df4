"""The canonical index: round trip, every kind of bad row, the adapters on real file names, the protocols."""

import csv
import dataclasses
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import types
from collections import Counter
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from data_manifests import index as index_module
from data_manifests import mapped, sums
from data_manifests import parallel as parallel_module
from data_manifests.__main__ import main
from data_manifests.adapters import Options, index_tree
from data_manifests.adapters.cefa import official_split
from data_manifests.errors import BadInput
from data_manifests.index import (
    COLUMNS,
    FAMILIES,
    Reference,
    Row,
    load_index,
    parse_reference,
    save_index,
)
from data_manifests.parallel import as_done, parallel
from data_manifests.protocols import MMFAS_RATIO, check_subjects, draw_by_subject, mmfas, one_class
from reference import sources
from spec_tests.support import trees
from spec_tests.support.index_rows import row

OPTIONS = Options(workers=1, frames=4)

line_text = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\r\n\0"), max_size=12)
some_text = line_text.filter(bool)


@st.composite
def rows(draw: st.DrawFn) -> list[Row]:
    ids = draw(st.lists(some_text, min_size=1, max_size=5, unique=True))
    result = []
    for i, sample in enumerate(ids):
        free = {name: draw(line_text) for name in ("presenter_id", "source_id", "attack_code")}
        named = {name: draw(some_text) for name in ("layout", "clip_id", "subject_id")}
        label = draw(st.sampled_from(["bonafide", "attack"]))
        family = draw(st.sampled_from(FAMILIES)) if label == "attack" else ""
        frame, nm = draw(st.integers(0, 10**12)), draw(st.integers(1, 5000))
        result.append(
            row(i, sample_id=sample, label=label, attack_family=family, frame=frame, ir_nm=nm, **free, **named)
        )
    return result


class TestRoundTrip:
    @given(rows())
    @example([row(0, sample_id='a,"b"', subject_id="\ufeffx", clip_id=" ", attack_code="'")])
    def test_rows_protocols_and_roots_come_back(self, tmp_path_factory, index_rows):
        folder = tmp_path_factory.mktemp("index")
        ids = [r.sample_id for r in index_rows]
        protocols = {"p,q": {"train": ids[::-1], "te\tst": ids[:1]}, "r": {"train": ids}}
        assert save_index(folder, index_rows, protocols, {"C": '../some where/é"\\'})
        index = load_index(folder / "index.csv")
        assert [*index.rows] == index_rows
        assert {p: {s: v.tolist() for s, v in splits.items()} for p, splits in index.protocols.items()} == {
            "p,q": {"train": list(range(len(ids))), "te\tst": [0]},
            "r": {"train": list(range(len(ids)))},
        }
        assert index.split("p,q", "te\tst").dtype == np.int64
        assert index.roots == {"C": (folder / '../some where/é"\\').resolve()}

    def test_files_are_plain_csv_with_lf(self, tmp_path):
        save_index(tmp_path, [row(0), row(1)], {"p": {"train": [row(1).sample_id]}}, {"C": "/c"})
        data = (tmp_path / "index.csv").read_bytes()
        assert b"\r" not in data
        assert data.decode().splitlines()[0] == ",".join(COLUMNS)
        with (tmp_path / "index.csv").open(newline="") as f:
            lines = list(csv.DictReader(f))
        assert lines[1]["class"] == "attack"
        assert lines[1]["ir_nm"] == "860"
        assert lines[0]["depth"] == ""
        assert (tmp_path / "protocols.csv").read_text() == "protocol,split,sample_id\np,train,C:1_001_1_1_1:1\n"

    def test_sha256_is_of_rows_and_protocols_not_of_roots(self, tmp_path):
        def sha(rows_, protocols, roots):
            save_index(tmp_path, rows_, protocols, roots)
            return load_index(tmp_path / "index.csv").sha256

        p = {"p": {"train": [row().sample_id]}}
        first = sha([row()], p, {"C": "/c"})
        assert re.fullmatch("[0-9a-f]{64}", first)
        assert sha([row()], p, {"C": "/d"}) == first
        assert sha([row(0, attack_code="x")], p, {"C": "/c"}) != first
        assert sha([row()], {"p": {"val": [row().sample_id]}}, {"C": "/c"}) != first

    def test_an_identical_index_is_left_untouched(self, tmp_path):
        arguments = (tmp_path, [row()], {}, {"C": "/c"})
        assert save_index(*arguments) is True
        before = {p.name: p.stat().st_mtime_ns for p in tmp_path.iterdir()}
        assert save_index(*arguments) is False
        assert {p.name: p.stat().st_mtime_ns for p in tmp_path.iterdir()} == before
        assert save_index(tmp_path, [row(0, attack_code="x")], {}, {"C": "/c"}) is True

    def test_a_failed_write_leaves_the_old_index_whole(self, tmp_path, monkeypatch):
        save_index(tmp_path, [row()], {}, {"C": "/c"})
        before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}

        def full(fd):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("os.fsync", full)
        with pytest.raises(OSError, match="No space"):
            save_index(tmp_path, [row(), row(1)], {}, {"C": "/c"})
        assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before

    @given(
        st.from_regex(r"[a-z0-9_# -]{1,8}(/[a-zA-Z0-9_.-]{1,8}){0,2}", fullmatch=True).filter(lambda p: ".." not in p),
        st.sampled_from([".hdf5", ".h5", ".npz"]),
        st.from_regex(r"[A-Za-z_]{1,6}(/[a-z#0-9]{1,5})?", fullmatch=True),
        st.lists(st.integers(0, 10**6), max_size=3),
        st.lists(st.integers(0, 99), min_size=1, max_size=4),
    )
    def test_references(self, path, suffix, member, at, channels):
        path = path.replace("#", "_") + suffix
        reference = Reference(path, member, tuple(at), tuple(channels))
        assert parse_reference(str(reference)) == reference

    def test_references_of_the_data_sheet(self):
        assert parse_reference("face-station/x/002_01_000_0_00.hdf5#Frame_12/array[0,1,2]") == Reference(
            "face-station/x/002_01_000_0_00.hdf5", "Frame_12/array", (), (0, 1, 2)
        )
        assert parse_reference("rec.h5#BASLER_BGR[12][2,1,0]") == Reference("rec.h5", "BASLER_BGR", (12,), (2, 1, 0))
        assert parse_reference("ID_x.npz#data[0][4]") == Reference("ID_x.npz", "data", (0,), (4,))
        assert parse_reference("a/no#1.jpg") == Reference("a/no#1.jpg")


BAD_FIELDS = {
    ("sample_id", ""): "is empty",
    ("subject_id", ""): "is empty",
    ("dataset", "X"): "'X' is not one of C, S, W, H, P",
    ("frame", "-1"): "negative",
    ("frame", "1.5"): "'1.5' is not a whole number",
    ("frame", ""): "is not a whole number",
    ("class", "live"): "'live' is not one of bonafide, attack",
    ("attack_family", "mask"): "'mask' is not one of",
    ("attack_family", ""): "'' is not one of",
    ("rgb", "../secret.jpg"): "below the root",
    ("rgb", "/etc/passwd"): "below the root",
    ("rgb", "x.h5"): "#member",
    ("rgb", "x.h5#a[1]"): "pick 3",
    ("rgb", "x.h5#a"): "#member",
    ("rgb", ""): "fill both or neither",
    ("rgb_shape", ""): "fill both or neither",
    ("rgb_shape", "24x16"): "HxW:dtype",
    ("rgb_shape", "0x16:uint8"): "HxW:dtype",
    ("ir", "x.h5#a[0,1,2]"): "pick 1",
    ("ir_nm", ""): "wavelength",
    ("ir_nm", "0"): "wavelength",
    ("ir_nm", "near"): "not a whole number",
}


class TestColumns:
    """What is kept beside the text: the text is the truth, and the file that was made from it is never believed."""

    @pytest.fixture
    def path(self, tmp_path):
        index_rows = [row(i) for i in range(6)]
        save_index(tmp_path, index_rows, {"p": {"train": [r.sample_id for r in index_rows[::2]]}}, {"C": "/c"})
        return tmp_path / "index.csv"

    def content(self, index):
        protocols = {p: {s: v.tolist() for s, v in splits.items()} for p, splits in index.protocols.items()}
        return [*index.rows], protocols, index.sha256

    def test_a_text_is_checked_once(self, path, monkeypatch):
        first = self.content(load_index(path))
        monkeypatch.setattr(index_module, "_checked", lambda file, path: pytest.fail("checked again"))
        assert self.content(load_index(path)) == first

    @pytest.mark.parametrize("file", ["index.csv", "protocols.csv"])
    def test_a_text_that_was_edited_is_read_again(self, path, file, capsys):
        load_index(path)
        text = (path.parent / file).read_text()
        lines = text.splitlines(True)
        (path.parent / file).write_text("".join([*lines[:-1], lines[-1].replace("860", "870").replace("p,", "q,")]))
        index = load_index(path)
        assert f"{file}: was changed since it was written, as SHA256SUMS shows" in capsys.readouterr().err
        assert index.rows[5].ir_nm == (870 if file == "index.csv" else 860)
        assert set(index.protocols) == ({"p"} if file == "index.csv" else {"p", "q"})
        (path.parent / sums.NAME).unlink()
        load_index(path)
        assert "was changed" not in capsys.readouterr().err
        (path.parent / file).write_text(text.replace("860", "near").replace("p,", ","))
        with pytest.raises(BadInput, match="row 2"):
            load_index(path)

    @pytest.mark.parametrize("file", ["index.csv", "protocols.csv", "roots.toml"])
    def test_what_editors_add_to_a_text_changes_nothing(self, path, file):
        sound, plain = load_index(path), (path.parent / file).read_bytes()
        rows = [*sound.rows]
        (path.parent / file).write_bytes(b"\xef\xbb\xbf" + plain.replace(b"\n", b"\r\n") + b"\r\n\r\n")
        edited = load_index(path)
        assert [*edited.rows] == rows
        assert edited.rows[2:4] == rows[2:4]
        assert edited.roots == sound.roots
        assert {p: {s: [*r] for s, r in of.items()} for p, of in edited.protocols.items()} == {
            p: {s: [*r] for s, r in of.items()} for p, of in sound.protocols.items()
        }
        if file != "roots.toml":
            first, rest = plain.split(b"\n", 1)
            (path.parent / file).write_bytes(first + b"\n\n" + rest)
            with pytest.raises(BadInput, match="row 2: 0 fields"):
                load_index(path)

    def test_a_home_is_written_out(self, path, monkeypatch):
        monkeypatch.setenv("HOME", "/home/somebody")
        (path.parent / "roots.toml").write_text('C = "~/cefa"\n')
        assert load_index(path).roots == {"C": Path("/home/somebody/cefa")}
        assert index_module.root_texts(path.parent / "roots.toml") == {"C": "/home/somebody/cefa"}

    def test_what_another_text_of_the_module_has_checked_is_checked_again(self, path, monkeypatch):
        load_index(path)
        monkeypatch.setattr(index_module, "_THIS", "another")
        checked = []
        original = index_module._checked
        monkeypatch.setattr(index_module, "_checked", lambda file, path: checked.append(path) or original(file, path))
        load_index(path)
        assert checked == [path]

    @given(st.data())
    def test_a_damaged_file_is_made_again(self, tmp_path_factory, data):
        path = tmp_path_factory.mktemp("index") / "index.csv"
        save_index(path.parent, [row(i) for i in range(3)], {"p": {"a": [row(1).sample_id]}}, {"C": "/c"})
        wanted = self.content(load_index(path))
        columns = path.with_name(".index.columns")
        whole = columns.read_bytes()
        damaged = bytearray(whole)
        kind = data.draw(st.sampled_from(["flip", "cut", "add", "other"]))
        if kind == "flip":
            damaged[data.draw(st.integers(0, len(whole) - 1))] ^= data.draw(st.integers(1, 255))
        elif kind == "other":
            damaged[:] = data.draw(st.sampled_from([b"", b"\n", b"[]\n", b"[" * 100_000, b'{"arrays": 3}\n', b"\x80"]))
        else:
            at = data.draw(st.integers(0, len(whole) - 1))
            damaged[at:] = b"" if kind == "cut" else damaged[at:] + b"x"
        columns.write_bytes(damaged)
        assert self.content(load_index(path)) == wanted
        assert self.content(load_index(path)) == wanted

    def test_a_folder_that_cannot_be_written_is_read_and_nothing_stays_of_a_full_disk(self, path, monkeypatch, capsys):
        before = sorted(path.parent.iterdir())

        def refuse(*arguments, **names):
            raise OSError(30, "Read-only file system")

        for name in ("mkstemp", "fsync"):
            with monkeypatch.context() as m:
                m.setattr(mapped.tempfile if name == "mkstemp" else mapped.os, name, refuse)
                found = self.content(load_index(path))
            assert "Read-only file system, so what it would spare is done again" in capsys.readouterr().err
            assert sorted(path.parent.iterdir()) == before
        assert self.content(load_index(path)) == found

    @given(st.data())
    def test_rows_are_a_sequence_and_columns_are_arrays(self, tmp_path_factory, data):
        folder = tmp_path_factory.mktemp("index")
        wanted = data.draw(rows())
        save_index(folder, wanted, {}, {"C": "/c"})
        found = load_index(folder / "index.csv").rows
        count, end = len(wanted), st.none() | st.integers(-7, 7)
        piece = data.draw(st.builds(slice, end, end, end.filter(lambda step: step != 0)))
        assert len(found) == count
        assert found[piece] == wanted[piece]
        i = data.draw(st.integers(-count, count - 1))
        assert found[i] == wanted[i]
        assert i >= 0 or np.array_equal(found.column("clip_id")[i], wanted[i].clip_id)
        for beyond in (count, -count - 1):
            with pytest.raises(IndexError):
                found[beyond]
        chosen = data.draw(st.lists(st.integers(0, count - 1), max_size=9))
        mask = np.array(data.draw(st.lists(st.booleans(), min_size=count, max_size=count)))
        for name in COLUMNS:
            values = [getattr(r, "label" if name == "class" else name) for r in wanted]
            texts = np.array(["" if value is None else str(value) for value in values])
            column = found.column(name)
            assert len(column) == count
            assert column[np.array(chosen, int)].tolist() == texts[np.array(chosen, int)].tolist()
            assert column[mask].tolist() == texts[mask].tolist()
            assert np.asarray(column).tolist() == column[:].tolist() == texts.tolist()
        for name in ("clip_id", "subject_id", "class"):
            names, numbers = np.unique(np.asarray(found.column(name)), return_inverse=True)
            assert found.names(name).tolist() == names.tolist()
            assert found.numbered(name).tolist() == numbers.tolist()
        with pytest.raises(ValueError, match="no column 'nothing'"):
            found.column("nothing")

    def test_a_text_that_is_written_into_while_it_is_in_use_is_refused(self, path):
        index = load_index(path)
        time.sleep(0.02)
        path.touch()
        assert [*index.rows] == [row(i) for i in range(6)]
        path.write_text(path.read_text().replace("870", "860").replace("860", "870"))
        with pytest.raises(BadInput, match=r"index.csv: was changed while it was in use"):
            index.rows[0]

    def test_a_text_that_is_replaced_while_it_is_in_use_is_read_as_it_was(self, path):
        index = load_index(path)
        save_index(path.parent, [row(9)], {}, {"C": "/c"})
        assert [*index.rows] == [row(i) for i in range(6)]
        assert [*load_index(path).rows] == [row(9)]

    def test_memory_does_not_grow_with_the_index(self, tmp_path):
        """What a process holds of its own after it has loaded 200 rows, and 30 000 (which took 30 MB as objects)."""
        script = (
            "import sys; from data_manifests.index import load_index; index = load_index(sys.argv[1]);"
            "print(*[l.split()[1] for l in open('/proc/self/status') if l.startswith('RssAnon')])"
        )
        megabytes = []
        for count in (200, 30_000):
            folder = tmp_path / str(count)
            lines = [",".join(str(x) for x in dataclasses.astuple(row(i, ir=f"{i}.png"))) for i in range(count)]
            folder.mkdir()
            (folder / "index.csv").write_text("\n".join([",".join(COLUMNS), *lines, ""]))
            (folder / "protocols.csv").write_text("protocol,split,sample_id\n")
            (folder / "roots.toml").write_text('C = "/c"\n')
            for _ in range(2):
                out = subprocess.run(
                    [sys.executable, "-c", script, folder / "index.csv"],
                    capture_output=True,
                    check=True,
                    cwd=sources.ROOT,
                )
            megabytes.append(int(out.stdout) / 1024)
        assert megabytes[1] - megabytes[0] < 3


def test_sample_ids_are_told_apart_though_their_first_hashes_are_equal(tmp_path, monkeypatch):
    monkeypatch.setattr(index_module, "hash", lambda s: hash(s) if s[-1] == "\0" else len(s) % 2, raising=False)
    index_rows = [row(i, sample_id="x" * (i % 3 + 1) + str(i)) for i in range(12)]
    ids = [r.sample_id for r in index_rows]
    save_index(tmp_path, index_rows, {"p": {"a": ids[::-3], "b": ids}}, {"C": "/c"})
    index = load_index(tmp_path / "index.csv")
    assert index.split("p", "a").tolist() == [*range(12)][2::3]
    assert index.split("p", "b").tolist() == [*range(12)]
    with pytest.raises(BadInput, match=r"row 4: sample_id 'nobody' is not in index.csv"):
        save_index(tmp_path, index_rows, {"p": {"a": [*ids[:2], "nobody"]}}, {"C": "/c"})
    with pytest.raises(BadInput, match=r"row 14: sample_id 'xx1' is in row 3 too"):
        save_index(tmp_path, [*index_rows, row(12, sample_id="xx1")], {}, {"C": "/c"})


class TestBadFiles:
    @pytest.fixture
    def path(self, tmp_path):
        index_rows = [row(0), row(1), row(2)]
        save_index(tmp_path, index_rows, {"p": {"train": [r.sample_id for r in index_rows]}}, {"C": "/c"})
        return tmp_path / "index.csv"

    def edit(self, path, number, column, value):
        with path.open(newline="") as f:
            lines = list(csv.reader(f))
        lines[number - 1][COLUMNS.index(column)] = value
        with path.open("w", newline="") as f:
            csv.writer(f, lineterminator="\n").writerows(lines)

    @pytest.mark.parametrize(("column", "value"), BAD_FIELDS)
    def test_a_bad_field_is_named(self, path, column, value):
        self.edit(path, 3, column, value)
        with pytest.raises(BadInput) as e:
            load_index(path)
        message = str(e.value)
        assert message.startswith(f"{path}, row 3")
        assert re.search(rf"\b{column}\b", message)
        assert BAD_FIELDS[column, value] in message

    @pytest.mark.parametrize(("column", "value"), BAD_FIELDS)
    def test_a_bad_field_is_named_behind_a_sound_row_of_its_kind(self, tmp_path, column, value):
        odd = row(0, rgb="no#1.jpg")  # sound, and of no kind
        save_index(tmp_path, [odd, *(row(i) for i in range(1, 4))], {}, {"C": "/c"})
        self.edit(tmp_path / "index.csv", 5, column, value)
        with pytest.raises(BadInput, match=rf"index\.csv, row 5.*\b{column}\b.*{re.escape(BAD_FIELDS[column, value])}"):
            load_index(tmp_path / "index.csv")

    @pytest.mark.parametrize("text", ["a\nb", "a\rb", "a\r\nb", "a\0b"])
    def test_a_line_break_in_a_field_is_named_behind_a_sound_row(self, path, text):
        self.edit(path, 4, "attack_code", text)
        with pytest.raises(BadInput, match=r"row 4.*(attack_code .* holds a line break, a NUL|new-line character)"):
            load_index(path)

    def test_a_family_on_bona_fide(self, path):
        self.edit(path, 2, "attack_family", "print")
        with pytest.raises(BadInput, match=r"row 2 .*attack_family .*bona fide"):
            load_index(path)

    def test_no_modality_at_all(self, path):
        for column in ("rgb", "rgb_shape", "ir", "ir_shape"):
            self.edit(path, 4, column, "")
        with pytest.raises(BadInput, match=r"row 4 .*at least one modality"):
            load_index(path)

    def test_depth_without_encoding(self, path):
        self.edit(path, 2, "depth", "d.jpg")
        self.edit(path, 2, "depth_shape", "4x4:uint8")
        with pytest.raises(BadInput, match=r"row 2 .*depth_encoding ''"):
            load_index(path)

    def test_a_sample_twice(self, path):
        self.edit(path, 4, "sample_id", row(0).sample_id)
        with pytest.raises(BadInput, match=r"row 4: sample_id .* is in row 2 too"):
            load_index(path)

    @pytest.mark.parametrize(
        ("change", "sentence"),
        [
            (lambda text: text.replace("class", "label", 1), "row 1: the header must be sample_id,"),
            (lambda text: text.replace("cefa-full,", "", 1), "row 2: 18 fields"),
            (lambda text: text.replace("\n", "\n\n", 1), "row 2: 0 fields"),
            (lambda text: text.replace("cefa-full", '"cefa-full', 1), "RFC 4180"),
            (lambda text: "", "row 1: the header"),
            (lambda text: text.splitlines(True)[0], "has no rows"),
        ],
    )
    def test_broken_csv(self, path, change, sentence):
        path.write_text(change(path.read_text()))
        with pytest.raises(BadInput, match=re.escape(sentence)) as e:
            load_index(path)
        assert str(path) in str(e.value)

    def test_not_utf8(self, path):
        lines = path.read_bytes().splitlines(True)
        path.write_bytes(b"".join([*lines[:2], b"\xff" + lines[2]]))
        with pytest.raises(BadInput, match=r"index.csv, row 3: not UTF-8"):
            load_index(path)

    @pytest.mark.parametrize(
        ("text", "sentence"),
        [
            ("protocol,split,sample_id\np,train,nobody\n", "row 2: sample_id 'nobody' is not in index.csv"),
            (f"protocol,split,sample_id\np,,{row().sample_id}\n", "row 2: split is empty"),
            (f"protocol,split,sample_id\n,a,{row().sample_id}\n", "row 2: protocol is empty"),
            (
                f"protocol,split,sample_id\np,a,{row().sample_id}\np,a,{row().sample_id}\n",
                r"row 3: sample_id .*\(row 2\)",
            ),
            ("a,b\n", "row 1: the header"),
        ],
    )
    def test_bad_protocols(self, path, text, sentence):
        (path.parent / "protocols.csv").write_text(text)
        with pytest.raises(BadInput, match=rf"protocols\.csv, {sentence}"):
            load_index(path)

    @pytest.mark.parametrize(
        ("text", "sentence"),
        [
            ("C = /c\n", "is not TOML"),
            ('X = "/x"\n', "'X' is not a data set"),
            ("C = 3\n", "C must be a folder"),
            ('S = "/s"\n', "no root for C"),
        ],
    )
    def test_bad_roots(self, path, text, sentence):
        (path.parent / "roots.toml").write_text(text)
        with pytest.raises(BadInput, match=rf"roots\.toml.*{sentence}"):
            load_index(path)

    @pytest.mark.parametrize("name", ["index.csv", "protocols.csv", "roots.toml"])
    def test_a_file_is_missing(self, path, name):
        (path.parent / name).unlink()
        with pytest.raises(BadInput, match=rf"no file .*{name}"):
            load_index(path)

    def test_unknown_protocol_and_split_name_what_there_is(self, path):
        index = load_index(path)
        with pytest.raises(BadInput, match=r"no protocol 'q'; there is p"):
            index.split("q", "train")
        with pytest.raises(BadInput, match=r"'p' has no split 'val'; it has train"):
            index.split("p", "val")

    @pytest.mark.parametrize(
        "bad", [row(1, attack_family="mask"), row(0), row(1, clip_id="a\nb"), row(1, rgb="\udcff")]
    )
    def test_save_refuses_what_load_would(self, tmp_path, bad):
        with pytest.raises(BadInput, match=r"index\.csv, row 3"):
            save_index(tmp_path, [row(0), bad], {}, {"C": "/c"})
        with pytest.raises(BadInput, match="rows of C but no root"):
            save_index(tmp_path, [row(0)], {}, {})
        with pytest.raises(BadInput, match="no frame was found"):
            save_index(tmp_path, [], {}, {})
        assert not any(tmp_path.iterdir())


@pytest.fixture(scope="module")
def trees_of(tmp_path_factory):
    """Each data set's miniature tree, for reading only."""
    top = tmp_path_factory.mktemp("trees")
    return {letter: write(top / letter) for letter, write in trees.TREES.items()}


def of_recording(result, clip_id):
    return [r for r in result.rows if r.clip_id == clip_id]


class TestAdapters:
    @pytest.mark.parametrize("letter", trees.TREES)
    def test_rows_are_valid_and_complete(self, trees_of, tmp_path, letter):
        result = index_tree(letter, trees_of[letter], OPTIONS)
        assert result.notes == []
        assert result.ignored == []
        assert save_index(tmp_path, result.rows, result.protocols, {letter: trees_of[letter]})
        for r in result.rows:
            assert r.dataset == letter
            assert r.subject_id.startswith(f"{letter}:")
            assert r.sample_id.startswith(f"{letter}:")
            assert r.rgb
            assert r.depth
            assert r.ir
            assert r.rgb_shape.startswith("24x16:")
        assert result.protocols
        for name, splits in result.protocols.items():
            by_id = {r.sample_id: r for r in result.rows}
            check_subjects(name, splits, by_id)
            assert one_class(splits, by_id) == ""
            assert list(splits) == ["train", "val", "test"]

    def test_surf(self, trees_of):
        result = index_tree("S", trees_of["S"], OPTIONS)
        assert [r.frame for r in of_recording(result, "CLKJ_AS0001/real.rssdk")] == [9, 31, 101]
        families = {(r.clip_id.split("/")[1], r.label, r.attack_family) for r in result.rows}
        attacks = ("01_e_s", "02_e_b", "03_en_s", "04_en_b", "05_enm_s", "06_enm_b")
        wanted = {(f"{a}.rssdk", "attack", "print_cut") for a in attacks}
        assert families == wanted | {("real.rssdk", "bonafide", "")}
        first = of_recording(result, "CLKJ_AS0003/06_enm_b.rssdk")[0]
        assert first.attack_code == "06_enm_b"
        assert first.subject_id == "S:CLKJ_AS0003"
        assert first.layout == "surf-crop"
        assert first.ir == "CASIA-SURF-CROP/fake_part/fake_test_part/CLKJ_AS0003/06_enm_b.rssdk/ir/9.jpg"
        assert (first.depth_encoding, first.ir_nm) == ("8bit_unknown", 860)
        splits = result.protocols["S-folders"]
        assert {s: len(v) for s, v in splits.items()} == {"train": 9, "val": 6, "test": 12}
        assert all("CLKJ_AS0002" in s for s in splits["val"])

    def test_surf_from_its_own_folder(self, trees_of):
        inner = index_tree("S", trees_of["S"] / "CASIA-SURF-CROP", OPTIONS)
        outer = index_tree("S", trees_of["S"], OPTIONS)
        assert [r.sample_id for r in inner.rows] == [r.sample_id for r in outer.rows]
        assert (trees_of["S"] / "CASIA-SURF-CROP" / inner.rows[0].rgb).is_file()

    def test_cefa(self, trees_of):
        result = index_tree("C", trees_of["C"], OPTIONS)
        kinds = {r.clip_id: (r.subject_id, r.attack_family, r.attack_code, r.ir_nm) for r in result.rows}
        assert kinds["1_000_1_1_1"] == ("C:AF-000", "", "", 860)
        assert kinds["2_301_3_1_2"] == ("C:CA-301", "print", "3_1_2", 860)
        assert kinds["3_499_3_1_4"] == ("C:EA-499", "replay", "3_1_4", 860)
        assert kinds["1_002_1_1_2_1_3"] == ("C:3D-Mask-002", "3dmask", "1_1_2_1_3", 850)
        assert kinds["1_002_1_1_1_1_2"] == ("C:3D-Mask-002", "3dmask", "1_1_1_1_2", 860)
        assert kinds["2_001_1_1_2_1_3"] == ("C:Silicone-Mask-001", "silicone", "1_1_2_1_3", 850)
        first = of_recording(result, "1_000_1_1_1")[0]
        assert first.rgb == "CeFA/CeFA-Race/AF/AF-000/1_000_1_1_1/profile/0026.jpg"
        assert first.frame == 26
        split_of = {s.split(":")[1]: name for name, samples in result.protocols["C-id-ranges"].items() for s in samples}
        assert split_of["1_000_1_1_1"] == split_of["2_001_1_1_1"] == split_of["3_012_3_1_4"] == "train"
        assert split_of["1_250_1_1_1"] == "val"
        assert split_of["2_301_1_1_1"] == split_of["3_499_1_1_1"] == split_of["1_002_1_1_2_1_3"] == "test"

    def test_cefa_id_ranges(self):
        ends = {"000": "train", "199": "train", "200": "val", "299": "val", "300": "test", "499": "test"}
        for race in ("AF", "CA", "EA"):
            assert {number: official_split(f"{race}-{number}") for number in ends} == ends
        assert official_split("3D-Mask-002") == official_split("Silicone-Mask-001") == "test"

    def test_cefa_drops_personal_data_and_still_finds_the_files(self, tmp_path, capsys):
        root = trees.cefa(tmp_path / "c", ("AF-000", "CA-001", "EA-012-19900203M", "EA-013-19910203F"))
        trees.jpg(root / "CeFA/CeFA-Race/EA/EA-013-19910203F/3_013_1_1_1/ir/._0026.jpg", 0)
        (tmp_path / "roots.toml").write_text('C = "c"\n')
        main(["index", "--roots", str(tmp_path / "roots.toml"), "--out", str(tmp_path / "out"), "--workers", "1"])
        printed = capsys.readouterr()
        files = [p for p in (tmp_path / "out").iterdir() if p.name != sums.NAME]  # digests hold any digits
        text = "".join(p.read_text() for p in files) + printed.out + printed.err
        assert "EA-012/3_012_1_1_1" in text
        assert "EA-013/3_013_1_1_1/ir/._0026.jpg" in text
        assert not re.search("[0-9]{8}|203", text)

        from data_manifests.decode import locate

        personal = [r for r in load_index(tmp_path / "out" / "index.csv").rows if r.subject_id == "C:EA-012"]
        assert personal
        assert all(locate(root, r.depth).is_file() for r in personal)

    def test_cefa_errors_do_not_show_personal_data(self, tmp_path):
        root = trees.cefa(tmp_path / "c", ("AF-000", "EA-012-19900203M"))
        folder = root / "CeFA/CeFA-Race/EA/EA-012-19900203M"
        (folder / "3_012_1_1_1/depth/0026.jpg").write_bytes(b"")
        with pytest.raises(BadInput, match=r"EA-012/3_012_1_1_1/depth/0026\.jpg: is empty") as e:
            index_tree("C", root, OPTIONS)
        assert "1990" not in str(e.value)
        folder.rename(folder.with_name("EA-12-19900203M"))
        with pytest.raises(BadInput, match="EA-<three digits>") as e:
            index_tree("C", root, OPTIONS)
        assert "1990" not in str(e.value)

    def test_cefa_refuses_two_folders_for_a_subject(self, tmp_path):
        root = trees.cefa(tmp_path / "c", ("EA-012", "EA-012-19900203M"))
        with pytest.raises(BadInput, match="two folders for subject EA-012"):
            index_tree("C", root, OPTIONS)

    def test_wmca(self, trees_of):
        result = index_tree("W", trees_of["W"], OPTIONS)
        for name, (group, family) in trees.WMCA_RECORDINGS.items():
            members = of_recording(result, name)
            assert [r.frame for r in members] == [3, 12, 40]
            assert {(r.attack_family, r.label) for r in members} == {(family, "attack" if family else "bonafide")}
            split = {"train": "train", "dev": "val", "eval": "test"}[group]
            assert {r.sample_id for r in members} <= set(result.protocols["W-grandtest"][split])
        mask = of_recording(result, "017_01_003_2_81")[1]
        below = "face-station/17.01.18/017_01_003_2_81.hdf5#Frame_12/array"
        assert mask.rgb == f"preprocessed-face-station_RGB/{below}[0,1,2]"
        assert mask.depth == f"preprocessed-face-station_CDIT/{below}[1]"
        assert mask.ir == f"preprocessed-face-station_CDIT/{below}[2]"
        assert (mask.subject_id, mask.presenter_id, mask.source_id) == ("W:017", "W:003", "W:017")
        assert (mask.attack_code, mask.depth_encoding) == ("2_81", "8bit_mad")

    def test_wmca_pairs_frames_on_the_intersection_and_reports_the_rest(self, tmp_path):
        root = trees.wmca(tmp_path)
        name = "face-station/17.01.18/017_01_000_0_00.hdf5"
        with h5py.File(root / "preprocessed-face-station_CDIT" / name, "r+") as f:
            f.move("Frame_12", "Frame_13")
        (root / "preprocessed-face-station_RGB/face-station/17.01.18/018_01_000_3_05.hdf5").unlink()
        result = index_tree("W", root, OPTIONS)
        assert [r.frame for r in of_recording(result, "017_01_000_0_00")] == [3, 40]
        assert [bool(r.rgb) for r in of_recording(result, "018_01_000_3_05")] == [False] * 3
        notes = "\n".join(result.notes)
        assert f"{name}: frames in one package only are left out: 12 (RGB), 13 (CDIT)" in notes
        assert "RGB/face-station/17.01.18/018_01_000_3_05.hdf5: not there" in notes
        with h5py.File(root / "preprocessed-face-station_CDIT" / name, "w") as f:
            f["Frame_7/array"] = np.zeros((4, 8, 8), np.uint8)
        with pytest.raises(BadInput, match=r"017_01_000_0_00.*share no frame"):
            index_tree("W", root, OPTIONS)

    @pytest.mark.parametrize(
        ("code", "family"),
        [
            ("0_02", ""),
            ("1_01", "glasses"),
            ("1_02", "rigidmask"),
            ("1_07", "glasses"),
            ("1_08", "wig"),
            ("1_12", "wig"),
            ("1_13", "rigidmask"),
            ("1_16", "glasses"),
            ("2_01", "fakehead"),
            ("2_07", "fakehead"),
            ("2_08", "papermask"),
            ("2_11", "papermask"),
            ("2_12", "rigidmask"),
            ("2_17", "rigidmask"),
            ("2_18", "flexiblemask"),
            ("2_75", "flexiblemask"),
            ("2_99", "flexiblemask"),
            ("3_04", "print"),
            ("3_05", "replay"),
            ("3_14", "print"),
            ("3_15", "replay"),
            ("4_18", "replay"),
            ("5_01", "makeup"),
            ("0_03", None),
            ("1_17", None),
            ("2_19", None),
            ("2_74", None),
            ("3_16", None),
            ("4_19", None),
        ],
    )
    def test_wmca_attack_codes(self, code, family):
        from data_manifests.adapters.wmca import FAMILIES as TABLE

        assert TABLE.get(code) == family

    def test_wmca_refuses_an_unknown_code(self, tmp_path):
        root = trees.wmca(tmp_path)
        for package in ("RGB", "CDIT"):
            path = root / f"preprocessed-face-station_{package}/face-station/17.01.18/017_01_003_2_81.hdf5"
            path.rename(path.with_name("017_01_003_2_50.hdf5"))
        with pytest.raises(BadInput, match=r"017_01_003_2_50\.hdf5: attack code 2_50 is unknown"):
            index_tree("W", root, OPTIONS)

    def test_hq_wmca(self, trees_of):
        result = index_tree("H", trees_of["H"], OPTIONS)
        for name, (group, family) in trees.HQ_RECORDINGS.items():
            members = of_recording(result, name)
            # moments 0, 1/3, 2/3 and 1 of 20 colour, 10 depth and 5 infrared frames
            assert [r.frame for r in members] == [0, 6, 13, 19]
            assert [r.rgb for r in members] == [f"{name}.h5#BASLER_BGR[{i}][2,1,0]" for i in (0, 6, 13, 19)]
            assert [r.depth for r in members] == [f"{name}.h5#INTEL_DEPTH[{i}][0]" for i in (0, 3, 6, 9)]
            assert [r.ir for r in members] == [f"{name}.h5#BOBCAT_1300nm[{i}][0]" for i in (0, 1, 3, 4)]
            assert {r.attack_family for r in members} == {family}
            assert {(r.depth_encoding, r.depth_shape, r.ir_nm) for r in members} == {("z16_mm", "24x16:uint16", 1300)}
            split = {"train": "train", "dev": "val", "eval": "test"}[group]
            assert {r.sample_id for r in members} <= set(result.protocols["H-grand_test-curated"][split])
        assert of_recording(result, "1_03_0002_0007_02_01_001-3a1b2c3d")[0].attack_code == "02_01_001"

    def test_hq_wmca_band_is_an_option(self, trees_of):
        result = index_tree("H", trees_of["H"], Options(workers=1, swir_nm=1050))
        assert all("BOBCAT_1050nm" in r.ir and r.ir_nm == 1050 for r in result.rows)
        with pytest.raises(BadInput, match=r"BOBCAT_1550nm; choose --swir-nm among BOBCAT_1050nm, BOBCAT_1300nm"):
            index_tree("H", trees_of["H"], Options(workers=1, swir_nm=1550))

    def test_hq_wmca_a_stream_is_missing(self, tmp_path):
        root = trees.hq_wmca(tmp_path)
        name = next(iter(trees.HQ_RECORDINGS))
        with h5py.File(root / f"{name}.h5", "r+") as f:
            del f["INTEL_DEPTH"]
        members = of_recording(index_tree("H", root, OPTIONS), name)
        assert {(r.depth, r.depth_shape, r.depth_encoding) for r in members} == {("", "", "")}
        assert all(r.rgb and r.ir for r in members)

    def test_hq_wmca_list_and_name_disagree(self, tmp_path):
        root = trees.hq_wmca(tmp_path)
        path = root / "PROTOCOL-grand_test-curated.csv"
        path.write_text(path.read_text().replace("2a1b2c3d,0,", "2a1b2c3d,1,"))
        with pytest.raises(BadInput, match=r"PROTOCOL.*2a1b2c3d is not that of its name"):
            index_tree("H", root, OPTIONS)

    def test_padisi(self, trees_of):
        result = index_tree("P", trees_of["P"], OPTIONS)
        for trial, (person, code, group, family) in trees.PADISI_CAPTURES.items():
            (r,) = of_recording(result, trial)
            assert (r.subject_id, r.attack_code, r.attack_family) == (f"P:{person}", code, family)
            assert r.label == ("attack" if family else "bonafide")
            path = r.rgb.partition("#")[0]
            assert (r.rgb, r.depth, r.ir) == (f"{path}#data[0][2,1,0]", f"{path}#data[0][4]", f"{path}#data[0][3]")
            assert (r.depth_encoding, r.rgb_shape) == ("unit_float", "24x16:float32")
            split = {"train": "train", "valid": "val", "test": "test"}[group]
            assert r.sample_id in result.protocols["P-3folds_part0"][split]

    def test_padisi_demographics_stay_out(self, trees_of, tmp_path):
        result = index_tree("P", trees_of["P"], OPTIONS)
        save_index(tmp_path, result.rows, result.protocols, {"P": "/p"})
        assert not any("SECRET" in p.read_text() for p in tmp_path.iterdir())

    @pytest.mark.parametrize(
        ("old", "new", "sentence"),
        [
            ("m50302", "m51302", "ground_truth 'm51302' is unknown"),
            ("y0a11111", "x0a11111", "y0a11111.*npz: not in"),
            ("participant_id", "person", "no column participant_id"),
            ("c0a44444", "1e234567", "1e234567 is there twice"),
        ],
    )
    def test_padisi_bad_truth(self, tmp_path, old, new, sentence):
        root = trees.padisi(tmp_path)
        path = root / "face_partitions" / "padisi_USC_FACE_ground_truth.csv"
        path.write_text(path.read_text().replace(old, new))
        with pytest.raises(BadInput, match=sentence):
            index_tree("P", root, OPTIONS)

    def test_padisi_refuses_pickled_objects(self, tmp_path):
        root = trees.padisi(tmp_path)
        np.savez(root / "npz" / "1e234567.npz", data=np.array([[object()]], dtype=object))
        with pytest.raises(BadInput, match=r"1e234567\.npz: 'data' holds pickled objects"):
            index_tree("P", root, OPTIONS)

    @pytest.mark.parametrize(
        ("letter", "path"),
        [
            ("W", "documentation/PROTOCOL-grandtest.csv"),
            ("H", "PROTOCOL-grand_test-curated.csv"),
            ("P", "face_partitions/padisi_USC_FACE_dataset_partition_3folds_part0.csv"),
        ],
    )
    def test_a_damaged_list_names_file_and_row(self, tmp_path, letter, path):
        root = trees.TREES[letter](tmp_path)
        text = (root / path).read_text()
        number = 3 if letter == "H" else 4
        lines = text.splitlines()
        lines[number - 1] = lines[number - 1].rpartition(",")[0]
        (root / path).write_text("\n".join(lines))
        if letter != "W":  # in W's list the last column is the label, which the file's name says
            with pytest.raises(BadInput, match=rf"{path}, row {number}: .*restore the list"):
                index_tree(letter, root, OPTIONS)
        (root / path).write_bytes(text.encode() + b"\xff")
        with pytest.raises(BadInput, match=rf"{path}: not a CSV file in UTF-8"):
            index_tree(letter, root, OPTIONS)

    @pytest.mark.parametrize("text", ["", "video_name,label,type,split\n"])
    def test_a_list_of_hq_wmca_without_a_recording_is_refused(self, tmp_path, text):
        root = trees.TREES["H"](tmp_path)
        (root / "PROTOCOL-grand_test-curated.csv").write_text(text)
        with pytest.raises(BadInput, match=r"PROTOCOL-grand_test-curated.csv: names no recording; restore the list"):
            index_tree("H", root, OPTIONS)

    def test_lists_with_a_byte_order_mark_or_lf_read_the_same(self, tmp_path):
        before = {letter: index_tree(letter, trees.TREES[letter](tmp_path / letter), OPTIONS) for letter in "WHP"}
        for path in tmp_path.rglob("*.csv"):
            path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\r\n", b"\n"))
        for letter, result in before.items():
            assert index_tree(letter, tmp_path / letter, OPTIONS) == result

    def test_a_missing_image_is_a_missing_modality(self, tmp_path):
        root = trees.surf(tmp_path)
        real = root / "CASIA-SURF-CROP/real_part/real_train_part/CLKJ_AS0001/real.rssdk"
        (real / "depth/31.jpg").unlink()
        shutil.rmtree(real / "ir")
        members = of_recording(index_tree("S", root, OPTIONS), "CLKJ_AS0001/real.rssdk")
        assert [bool(r.depth) for r in members] == [True, False, True]
        assert [r.depth_encoding for r in members] == ["8bit_unknown", "", "8bit_unknown"]
        assert [(r.ir, r.ir_nm) for r in members] == [("", None)] * 3
        assert all(r.rgb for r in members)

    def test_sizes_may_differ_between_modalities(self, tmp_path):
        root = trees.surf(tmp_path)
        real = root / "CASIA-SURF-CROP/real_part/real_train_part/CLKJ_AS0001/real.rssdk"
        trees.jpg(real / "ir/9.jpg", 7, (10, 30))
        first = of_recording(index_tree("S", root, OPTIONS), "CLKJ_AS0001/real.rssdk")[0]
        assert (first.rgb_shape, first.ir_shape) == ("24x16:uint8", "10x30:uint8")

    @pytest.mark.parametrize(
        ("damage", "sentence"),
        [
            (lambda recording: (recording / "ir/9.jpg").write_bytes(b""), r"ir/9\.jpg: is empty"),
            (lambda recording: (recording / "ir/9.jpg").write_text("no image"), r"ir/9\.jpg: is not a JPEG or PNG"),
            (lambda recording: trees.jpg(recording / "ir/0009.jpg", 1), r"ir/9\.jpg: is frame 9 like .*0009\.jpg"),
            (lambda recording: trees.jpg(recording / "ir/9_resized.jpg", 1), r"9_resized\.jpg: a frame is named"),
            (
                lambda recording: (recording / "color").rename(recording / "profile"),
                "profile: not one of the folders color",
            ),
            (
                lambda recording: recording.rename(recording.with_name("07_x.rssdk")),
                "07_x.rssdk: not one of real.rssdk",
            ),
            (lambda recording: [shutil.rmtree(p) for p in recording.iterdir()], "real.rssdk: holds no image"),
            (lambda recording: recording.parent.rename(recording.parent.with_name("Bob")), "Bob: a subject's folder"),
            (
                lambda recording: recording.parents[1].rename(recording.parents[1].with_name("real_dev_part")),
                "real_dev_part: not one of real_train_part, real_val_part",
            ),
        ],
    )
    def test_a_damaged_tree_names_the_file(self, tmp_path, damage, sentence):
        root = trees.surf(tmp_path)
        damage(root / "CASIA-SURF-CROP/real_part/real_train_part/CLKJ_AS0001/real.rssdk")
        with pytest.raises(BadInput, match=sentence):
            index_tree("S", root, OPTIONS)

    @pytest.mark.parametrize("letter", ["W", "H"])
    def test_a_truncated_hdf5_file_is_named(self, tmp_path, letter):
        root = trees.TREES[letter](tmp_path)
        path = next(p for p in sorted(root.rglob("*")) if p.suffix in (".h5", ".hdf5"))
        path.write_bytes(path.read_bytes()[:-500])
        with pytest.raises(BadInput, match=rf"{path.name}: not a complete HDF5 file"):
            index_tree(letter, root, OPTIONS)

    def test_files_of_the_operating_system_are_ignored_and_reported(self, tmp_path):
        root = trees.surf(tmp_path)
        real = root / "CASIA-SURF-CROP/real_part/real_train_part/CLKJ_AS0001/real.rssdk"
        before = index_tree("S", root, OPTIONS).rows
        names = (".DS_Store", "ir/.ipynb_checkpoints", "ir/.nfs00000000a1", "ir/._9.jpg", "ir/@eaDir", "ir/Thumbs.db")
        for name in names:
            (real / name).write_bytes(b"\0")
        result = index_tree("S", root, OPTIONS)
        assert result.rows == before
        assert sorted(p.split("real.rssdk/")[1] for p in result.ignored) == sorted(names)
        root = trees.wmca(tmp_path / "w")
        (root / "preprocessed-face-station_RGB/._x.hdf5").write_bytes(b"\0")
        assert index_tree("W", root, OPTIONS).ignored == ["._x.hdf5"]

    @pytest.mark.parametrize("letter", trees.TREES)
    def test_not_such_a_tree(self, tmp_path, letter):
        with pytest.raises(BadInput, match=rf"root {letter} = .*: not a known form of"):
            index_tree(letter, tmp_path, OPTIONS)
        with pytest.raises(BadInput, match=rf"root {letter} = .*: no such folder"):
            index_tree(letter, tmp_path / "nowhere", OPTIONS)

    def test_list_lines_without_a_recording_and_recordings_without_a_line_are_reported(self, tmp_path):
        root = trees.wmca(tmp_path)
        path = root / "documentation" / "PROTOCOL-grandtest.csv"
        text = path.read_text().replace("017_02_000_0_02", "017_09_000_0_02")
        path.write_bytes(b"\xef\xbb\xbf" + text.encode())
        notes = "\n".join(index_tree("W", root, OPTIONS).notes)
        assert "1 of 10 listed recordings are not in the tree, first 017_09_000_0_02" in notes
        assert "1 of 10 recordings in the tree are not listed, first 017_02_000_0_02" in notes
        path.write_text(path.read_text(encoding="utf-8-sig").replace(",dev,", ",develop,"))
        with pytest.raises(BadInput, match=r"PROTOCOL-grandtest\.csv: split 'develop'"):
            index_tree("W", root, OPTIONS)


@st.composite
def subjects(draw: st.DrawFn) -> list[Row]:
    """CeFA-like rows: 3 … 40 subjects with both classes and a few masks, of uneven image counts."""
    triples = []
    for race in ("AF", "CA", "EA"):
        for s in range(draw(st.integers(1, 13))):
            for k in range(draw(st.integers(2, 9))):
                label = "bonafide" if k % 4 == 0 else "attack"
                triples.append((f"C:{race}-{s:03}", label, k))
    for m in range(draw(st.integers(0, 6))):
        triples += [(f"C:3D-Mask-{m:03}", "attack", k) for k in range(draw(st.integers(1, 9)))]
    return [
        row(
            0,
            sample_id=f"{subject}/{k}",
            subject_id=subject,
            label=label,
            attack_family="" if label[0] == "b" else "print",
        )
        for subject, label, k in triples
    ]


class TestProtocols:
    @given(subjects(), st.integers(0, 10**6), st.randoms(use_true_random=False))
    def test_mmfas_split_of_cefa(self, index_rows, seed, random):
        splits = draw_by_subject(index_rows, MMFAS_RATIO, seed)
        by_id = {r.sample_id: r for r in index_rows}
        assert sorted(s for v in splits.values() for s in v) == sorted(by_id)
        check_subjects("mmfas", splits, by_id)
        assert one_class(splits, by_id) == ""
        assert {by_id[s].label for s in splits["test"]} == {"bonafide", "attack"}
        sizes = Counter(r.subject_id for r in index_rows)
        largest = max(sizes.values())
        for split, share in zip(("train", "val", "test"), (6, 1, 13), strict=True):
            behind = share * len(index_rows) / 20 - len(splits[split])
            assert -largest < behind < 2 * largest
        shuffled = list(index_rows)
        random.shuffle(shuffled)
        assert draw_by_subject(shuffled, MMFAS_RATIO, seed) == splits

    def test_ratio_is_near_exact_on_many_equal_subjects(self):
        index_rows = [
            row(k, sample_id=f"{s}/{k}", subject_id=f"C:{race}-{s:03}")
            for race in ("AF", "CA", "EA")
            for s in range({"AF": 0, "CA": 200, "EA": 400}[race], {"AF": 0, "CA": 200, "EA": 400}[race] + 100)
            for k in range(4)
        ]
        splits = draw_by_subject(index_rows, MMFAS_RATIO, 1)
        assert [len(splits[s]) / 4 for s in ("train", "val", "test")] == pytest.approx([90, 15, 195], abs=1)
        races = Counter(r.subject_id[2:4] for r in index_rows if r.sample_id in set(splits["val"]))
        assert all(abs(races[race] / 4 - 5) <= 2 for race in ("AF", "CA", "EA"))

    def test_the_seed_decides(self):
        index_rows = [row(k, sample_id=f"{s}/{k}", subject_id=f"C:AF-{s:03}") for s in range(30) for k in range(2)]
        one, two = draw_by_subject(index_rows, seed=1), draw_by_subject(index_rows, seed=2)
        assert one != two
        assert one == draw_by_subject(index_rows, seed=1)

    def test_the_published_draw_stays(self):
        """The list drawn from the published seed is part of the protocol: a change of this test is a new protocol."""
        index_rows = [
            row(k, sample_id=f"{race}-{s}/{k}", subject_id=f"C:{race}-{s:03}")
            for race in ("AF", "CA", "EA", "3D-Mask")
            for s in range(7)
            for k in ((1,) if race == "3D-Mask" else (0, 1))
        ]
        drawn, _ = mmfas(index_rows)
        assert {s.split("/")[0] for s in drawn["train"]} == {
            "3D-Mask-2",
            "AF-2",
            "AF-5",
            "CA-1",
            "CA-2",
            "CA-3",
            "EA-0",
            "EA-3",
        }
        assert {s.split("/")[0] for s in drawn["val"]} == {"CA-0"}

    def test_targets_are_tested_whole_and_absent_ones_reported(self):
        source = [row(k, sample_id=f"{s}/{k}", subject_id=f"C:AF-{s:03}") for s in range(4) for k in range(2)]
        targets = [row(i, sample_id=f"{d}{i}", dataset=d, subject_id=f"{d}:1") for d in "SWP" for i in range(3)]
        splits, notes = mmfas(targets[:3] + source + targets[3:])
        assert {s for s in splits["test"] if s[0] in "SWHP"} == {"S0", "S1", "S2", "W0", "W1", "W2"}
        assert not any(s[0] in "SWP" for s in splits["train"] + splits["val"])
        assert notes == ["mmfas: target H is not indexed, so its test is left out"]
        with pytest.raises(BadInput, match=r"CeFA \(C\) is not indexed"):
            mmfas(targets)

    @pytest.mark.parametrize("label", ["bonafide", "attack"])
    def test_too_few_subjects(self, label):
        index_rows = [row(s, sample_id=f"{s}", subject_id=f"C:AF-{s:03}") for s in range(12)]
        fewer = [r for r in index_rows if r.label == label or r.frame < 4]
        with pytest.raises(BadInput, match=r"too few subjects with (bonafide|attack) images"):
            draw_by_subject(fewer)

    def test_a_leaking_subject_and_a_missing_class_are_named(self):
        by_id = {r.sample_id: r for r in (row(i, subject_id=f"C:{i // 2}") for i in range(6))}
        ids = list(by_id)
        check_subjects("p", {"train": ids[:2], "val": ids[2:4], "test": ids[4:]}, by_id)
        with pytest.raises(BadInput, match="protocol p: subject C:1 is in train and val"):
            check_subjects("p", {"train": ids[:3], "val": ids[3:6]}, by_id)
        assert one_class({"train": ids[:2], "val": ids[2:4], "test": ids[4:5]}, by_id) == ""
        assert one_class({"test": ids[:1]}, by_id) == ""
        assert one_class({"train": ids[:2], "val": ids[2:3]}, by_id) == "val holds no attack frame"
        assert one_class({"train": ids[1:2], "val": ids[2:4]}, by_id) == "train holds no bonafide frame"
        assert one_class({"train": ids[:2], "val": []}, by_id) == "val holds no bonafide frame"


@pytest.fixture(scope="module")
def out(trees_of):
    """The index of all five trees, by the command line; its roots are relative to a roots.toml beside the trees."""
    top = trees_of["C"].parent
    (top / "roots.toml").write_text("".join(f'{letter} = "{letter}"\n' for letter in trees.TREES))
    out = top / "out" / "index"
    main(["index", "--roots", str(top / "roots.toml"), "--out", str(out), "--workers", "1"])
    return out


class TestCommandLine:
    def test_everything_is_in_the_index(self, out, trees_of):
        index = load_index(out / "index.csv")
        assert Counter(r.dataset for r in index.rows) == {"C": 39, "S": 27, "W": 30, "H": 60, "P": 6}
        assert index.roots == {letter: path.resolve() for letter, path in trees_of.items()}
        assert 'C = "../../C"' in (out / "roots.toml").read_text()
        tested = {index.rows[i].dataset for i in index.split("mmfas", "test")}
        assert tested == {"C", "S", "W", "H"}
        assert {index.rows[i].dataset for i in index.split("mmfas", "train")} == {"C"}
        assert set(index.protocols) == {
            "C-id-ranges",
            "S-folders",
            "W-grandtest",
            "H-grand_test-curated",
            "P-3folds_part0",
            "official",
            "mmfas",
        }

    def test_a_second_run_says_so_and_touches_nothing(self, out, trees_of, capsys):
        before = {p: p.stat().st_mtime_ns for p in out.iterdir()}
        main(["index", "--roots", str(trees_of["C"].parent / "roots.toml"), "--out", str(out), "--workers", "1"])
        printed = capsys.readouterr().out
        assert "162 frames, already there and identical, left untouched" in printed
        assert {p: p.stat().st_mtime_ns for p in out.iterdir()} == before
        table = {tuple(line.split()[:3]): line.split()[3:] for line in printed.splitlines()}
        assert table["set", "class", "family"][:3] == ["recordings", "subjects", "frames"]
        assert table["S", "attack", "print_cut"] == ["6", "3", "18", "0", "0", "0"]
        assert table["C", "bonafide", "-"] == ["6", "6", "12", "0", "0", "0"]

    def test_missing_modalities_are_counted(self, tmp_path, capsys):
        trees.cefa(tmp_path / "C")
        (tmp_path / "C/CeFA/CeFA-Race/AF/AF-000/1_000_1_1_1/depth/0026.jpg").unlink()
        (tmp_path / "roots.toml").write_text('C = "C"\n')
        main(["index", "--roots", str(tmp_path / "roots.toml"), "--out", str(tmp_path / "out"), "--workers", "1"])
        printed = capsys.readouterr().out
        assert re.search(r"C +bonafide +- +6 +6 +12 +0 +1 +0\n", printed)
        assert "note: mmfas: target S is not indexed" in printed

    def test_an_official_split_without_a_class_is_left_out_and_said(self, tmp_path, capsys):
        trees.cefa(tmp_path / "C", ("AF-000", "AF-001", "CA-301"))
        (tmp_path / "roots.toml").write_text('C = "C"\n')
        main(["index", "--roots", str(tmp_path / "roots.toml"), "--out", str(tmp_path / "out"), "--workers", "1"])
        assert "note: C-id-ranges: left out, since val holds no bonafide frame" in capsys.readouterr().out
        assert list(load_index(tmp_path / "out" / "index.csv").protocols) == ["mmfas"]

    def test_without_cefa_mmfas_is_left_out_and_the_rest_is_indexed(self, trees_of, tmp_path, capsys):
        lines = [f'{letter} = "{trees_of[letter]}"\n' for letter in "SWP"]
        (tmp_path / "roots.toml").write_text("\ufeff" + "".join(lines))
        main(["index", "--roots", str(tmp_path / "roots.toml"), "--out", str(tmp_path / "out"), "--workers", "1"])
        assert "note: mmfas left out: protocol mmfas: CASIA-SURF CeFA (C) is not indexed" in capsys.readouterr().out
        index = load_index(tmp_path / "out" / "index.csv")
        assert {"S-folders", "W-grandtest", "P-3folds_part0", "official"} == set(index.protocols)
        assert {row.dataset for row in index.rows} == {"S", "W", "P"}

    @pytest.mark.parametrize(
        ("text", "sentence"),
        [
            (None, "roots.toml; write it, with lines such as"),
            ("", "names no data set"),
            ('C = "nowhere"\n', "no such folder"),
            ('\ufeffC = "nowhere"\n', "roots.toml: root C = "),
        ],
    )
    def test_errors_are_one_sentence_and_status_2(self, trees_of, tmp_path, capsys, text, sentence):
        if text is not None:
            (tmp_path / "roots.toml").write_text(text.replace('"S"', f'"{trees_of["S"]}"'))
        with pytest.raises(SystemExit) as e:
            main(["index", "--roots", str(tmp_path / "roots.toml"), "--out", str(tmp_path / "out"), "--workers", "1"])
        assert e.value.code == 2
        error = capsys.readouterr().err.splitlines()[-1]
        assert error.startswith("error: ")
        assert sentence in error
        assert not (tmp_path / "out").exists()


def test_columns_are_the_fields_of_a_row():
    assert [f.name for f in dataclasses.fields(Row)] == ["label" if c == "class" else c for c in COLUMNS]
    assert ",".join(COLUMNS) == (
        "sample_id,dataset,layout,clip_id,frame,subject_id,presenter_id,source_id,class,attack_family,attack_code,"
        "rgb,rgb_shape,depth,depth_shape,ir,ir_shape,depth_encoding,ir_nm"
    )


def slow_first(job: int) -> int:
    if job == 13:
        raise BadInput("job 13 is bad")
    time.sleep(0.2 if job == 0 else 0)
    return 2 * job


@pytest.mark.parametrize("workers", [1, 3])
def test_parallel_keeps_the_order_and_raises_what_a_job_raises(workers):
    jobs = [j for j in range(200) if j != 13]
    assert parallel(slow_first, jobs, "jobs", workers) == [2 * j for j in jobs]
    with pytest.raises(BadInput, match="job 13 is bad"):
        parallel(slow_first, range(200), "jobs", workers)


def _same(job):
    return job


@pytest.mark.parametrize("workers", [1, 2])
def test_jobs_are_made_when_they_are_needed(workers):
    made = []
    jobs = (made.append(j) or j for j in range(400))
    results = {}
    for number, result in as_done(_same, jobs, "jobs", workers, total=400):
        results[number] = result
        ahead = len(made) - len(results)
        assert ahead <= (0 if workers == 1 else 2 * workers * 25)
    assert results == {j: j for j in range(400)}


@pytest.mark.parametrize("opened", [False, True])
def test_a_gpu_that_is_open_is_not_forked(monkeypatch, opened):
    """A forked worker would inherit the driver's threads and memory."""
    torch = types.SimpleNamespace(cuda=types.SimpleNamespace(is_initialized=lambda: opened))
    monkeypatch.setitem(sys.modules, "torch", torch)
    assert parallel_module._start().get_start_method() == ("spawn" if opened else "fork")


def _killed_at_50(number):
    if number == 50:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def test_a_worker_that_is_killed_is_one_sentence():
    with pytest.raises(BadInput, match="jobs: a worker process ended suddenly"):
        parallel(_killed_at_50, range(100), "jobs", 2)
