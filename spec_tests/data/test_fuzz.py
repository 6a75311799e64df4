"""Anything may stand in a file or a tree: the readers return what is valid or raise `BadInput`, and nothing else.

With `--hypothesis-profile=thorough` each reader of text gets 10 000 examples.
"""

import csv
import json
import os
import shutil

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from data_manifests.adapters import Options, index_tree
from data_manifests.errors import BadInput
from data_manifests.index import COLUMNS, load_index, parse_reference, read_lists, read_roots, save_index
from data_manifests.lists import FORMATS, defects, read_list
from data_manifests.verify import verify
from spec_tests.support import trees
from spec_tests.support.index_rows import row
from spec_tests.support.list_lines import GOLDEN_LINES, GOLDEN_TABLES

# A text reader takes milliseconds, so a multiple of the profile's examples: 100, and 10 000 in `thorough`.
_PROFILE = settings().max_examples
MANY = settings(max_examples=_PROFILE * (20 if _PROFILE >= 500 else 4), suppress_health_check=list(HealthCheck))
TREES = settings(suppress_health_check=list(HealthCheck))  # trees are files: the profile's own number

HAZARDS = [
    b"\r\n", b"\r", b"\n\n", b"\t", b"\xef\xbb\xbf", b"\\", b"../", b"..\\", b"/", b"C:\\", b"//", b"\0", b"\xff",
    b'"', b"'", b",", b"#", b"[", b"]", b"[[", b"=", b" ", b"\xed\xb3\xbf", b"\xe2\x80\xa8", b"\x1a", b"-1",
    b"9" * 40, b"1e9", b"m00000", b"._", b".jpg", b".npz", b".hdf5#Frame_1/array[0]", b"\xc3\xa9", b"\xd9\xa3",
    b"[lists]\n", b"nan",
]  # fmt: skip


def says(error, name):
    """A refusal names what it is about and can be printed."""
    assert name in str(error)
    str(error).encode()


@st.composite
def mutated(draw, originals):
    """One of some valid files after a few cuts, repeats, insertions and exchanges."""
    data = draw(st.sampled_from(originals))
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(data)))
        end = draw(st.integers(at, min(len(data), at + 40)))
        kind = draw(st.sampled_from(["insert", "cut", "truncate", "repeat", "swap", "bytes", "line"]))
        if kind == "insert":
            data = data[:at] + draw(st.sampled_from(HAZARDS)) + data[at:]
        elif kind == "cut":
            data = data[:at] + data[end:]
        elif kind == "truncate":
            data = data[:at]
        elif kind == "repeat":
            data = data[:end] + data[at:]
        elif kind == "swap":
            old, new = draw(st.sampled_from(HAZARDS)), draw(st.sampled_from(HAZARDS))
            data = data.replace(old, new) if old in data else data.replace(b"\n", new)
        elif kind == "bytes":
            data = data[:at] + draw(st.binary(max_size=6)) + data[end:]
        else:
            lines = data.splitlines(True) or [b""]
            data += draw(st.sampled_from(lines))  # a duplicate, perhaps after a line without its end
    return data


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    with pytest.MonkeyPatch.context() as m:
        m.setattr(os, "fsync", lambda fd: None)  # thousands of files that nobody keeps
        yield tmp_path_factory.mktemp("fuzz")


def index_bytes(tmp_path_factory):
    """The three files of a valid index with every kind of reference, unknown wavelengths and odd names."""
    path = tmp_path_factory.mktemp("valid")
    rows = [
        row(0, attack_code='a,"b"', presenter_id="é\t"),
        row(1, rgb="x y.jpg", depth="a/b.npz#data[0][4]", depth_shape="2x2:float32", depth_encoding="unit_float"),
        row(2, rgb="", rgb_shape="", ir="r.h5#BOBCAT_1300nm[3][0]", ir_nm=1300),
    ]
    ids = [r.sample_id for r in rows]
    save_index(path, rows, {"mmfas": {"train": ids[:2], "val": ids[2:], "test": ids}}, {"C": "/data/cefa"})
    return {name: (path / name).read_bytes() for name in ("index.csv", "protocols.csv", "roots.toml")}


@pytest.fixture(scope="module")
def valid(tmp_path_factory):
    return index_bytes(tmp_path_factory)


@MANY
@given(data=st.data())
def test_index_reader(folder, valid, data):
    """What loads is a valid index: it can be saved, and comes back the same."""
    for file, content in valid.items():
        (folder / file).write_bytes(content)
    name = data.draw(st.sampled_from(sorted(valid)))
    (folder / name).write_bytes(data.draw(mutated([valid[name]])))
    try:
        index = load_index(folder / "index.csv")
    except BadInput as e:
        says(e, str(folder))
        return
    ids = [r.sample_id for r in index.rows]
    protocols = {p: {s: [ids[i] for i in n] for s, n in splits.items()} for p, splits in index.protocols.items()}
    save_index(folder / "again", index.rows, protocols, index.roots)
    again = load_index(folder / "again" / "index.csv")
    assert [*again.rows] == [*index.rows]
    assert again.roots == index.roots
    assert {p: {s: n.tolist() for s, n in splits.items()} for p, splits in again.protocols.items()} == {
        p: {s: n.tolist() for s, n in splits.items()} for p, splits in index.protocols.items()
    }


@MANY
@given(st.lists(st.lists(st.text(max_size=12), max_size=len(COLUMNS) + 1), max_size=3))
def test_index_reader_on_any_table(folder, lines):
    for file in ("protocols.csv", "roots.toml"):
        (folder / file).write_text("protocol,split,sample_id\n" if file[0] == "p" else 'C = "c"\n')
    with (folder / "index.csv").open("w", newline="", encoding="utf-8", errors="surrogatepass") as f:
        writer = csv.writer(f, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(lines)
    with pytest.raises(BadInput):  # no such table is an index: dataset, class and references are never right
        load_index(folder / "index.csv")


ROOTS = [
    b'C = "/data/cefa"\nS = "surf"\nW = "../wmca"\n\n[lists]\nmmdg = "/data/mmdg"\n',
    'P = "/data/p\u00e9/\\u0041"\n# a comment\nH = \'C:\\hq\'\n'.encode(),
    b'[lists]\nmmdg = "x"\n',
    b"",
]  # fmt: skip


@MANY
@given(mutated(ROOTS) | st.binary(max_size=60) | st.text(max_size=60).map(lambda t: t.encode(errors="surrogatepass")))
@example(b"C = " + b"[" * 3000)
@example(b"C = " + b"9" * 5000)
@example(b'C = "\\u0000"')
@example(b"lists = 3\n")
@example(b"lists = [1]\n")
@example(b"[lists]\nmmdg = 2020-01-01\n")
def test_roots_toml(folder, data):
    path = folder / "some-roots.toml"
    path.write_bytes(data)
    for read in (read_roots, read_lists):
        try:
            roots = read(path)
        except BadInput as e:
            says(e, str(path))
            continue
        assert all(isinstance(key, str) and root.is_absolute() for key, root in roots.items())
        if read is read_roots:
            assert set(roots) <= set("CSWHP")


reference_text = st.one_of(
    st.text(max_size=30),
    st.text("ab/.#[],0123456789-\\ ", max_size=30),
    st.from_regex(r"[a-z/.]{1,8}\.(h5|hdf5|npz|jpg)#?[A-Za-z_/0-9]{0,6}(\[[0-9,]{0,6}\]){0,3}", fullmatch=True),
)


@MANY
@given(reference_text)
@example("../x.jpg")
@example("/etc/passwd")
@example("C:\\x.jpg")
@example("a/../x.h5#m[0]")
@example("x.h5#m[" + "9" * 5000 + "]")
@example("x.h5#m[0]\n")
@example("x.npz#data[٣]")
def test_reference_grammar(text):
    """What is a reference is its own text, relative, and stays below the root."""
    try:
        reference = parse_reference(text)
    except BadInput as e:
        says(e, "image reference")
        return
    assert str(reference) == text
    assert not reference.path.startswith("/")
    assert ".." not in reference.path.split("/")
    assert "\\" not in reference.path
    assert bool(reference.member) == bool(reference.channels)


LISTS = {format: [] for format in FORMATS}
for _format, _line, *_ in GOLDEN_LINES:
    LISTS[_format] += [_line.encode(), (_line + "\r\n" + _line).encode(), b"\xef\xbb\xbf" + _line.encode() + b"\n"]
for _format, _text, _ in GOLDEN_TABLES:
    LISTS[_format].append(_text.encode())


@pytest.mark.parametrize("format", FORMATS)
@settings(MANY, max_examples=MANY.max_examples // 5)  # there are eleven formats: 20 000 examples in all
@given(data=st.data())
def test_list_readers(folder, format, data):
    path = folder / "list.txt"
    content = data.draw(mutated(LISTS[format]))
    path.write_bytes(content)
    try:
        entries = read_list(path, format)
    except BadInput as e:
        says(e, str(path))
        return
    assert entries
    for entry in entries:
        assert entry.dataset in "CSWHP"
        assert entry.clip_id
        assert ".." not in entry.clip_id.split("/")
        assert not entry.clip_id.startswith("/")
        assert entry.label in ("bonafide", "attack", "")
        assert entry.split in ("train", "val", "test", "")
        assert 1 <= entry.line <= content.count(b"\n") + content.count(b"\r") + 1
    assert all(isinstance(text, str) for text in defects({"train": entries, "test": entries[:1]}))


# What people, systems and copying do to a tree. Each takes the folder of one recording, or one file.
def _apple_double(path):
    path.with_name(f"._{path.name}").write_bytes(b"\0\5\26\7")


def _loop(path):
    path.with_name("loop").symlink_to(path.parent, target_is_directory=True)


def _self_link(path):
    path.unlink()
    path.symlink_to(path)


def _odd_name(path):
    path.with_name(os.fsdecode(b"\xff\xfe.jpg")).write_bytes(b"x")


def _objects(path):
    with path.open("wb") as f:
        np.savez(f, data=np.array([{"a": 1}], dtype=object))


def _missing_frames(path):
    if h5py.is_hdf5(path):
        with h5py.File(path, "r+") as f:
            for key in list(f)[1:]:
                del f[key]
            f["Frame_x"] = 1


HARM = {
    "AppleDouble": _apple_double,
    "zero bytes": lambda path: path.write_bytes(b""),
    "cut short": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "garbage": lambda path: path.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(range(256))),
    "gone": lambda path: path.unlink(),
    "a folder in its place": lambda path: (path.unlink(), path.mkdir()),
    "link in a circle": _self_link,
    "link to its own folder": _loop,
    "odd encoding": _odd_name,
    "objects": _objects,
    "missing frames": _missing_frames,
    "copied": lambda path: shutil.copyfile(path, path.with_name(f"copy of {path.name}")),
    "upper case": lambda path: path.rename(path.with_name(path.name.upper())),
    "line break": lambda path: path.rename(path.with_name(f"a\n{path.name}")),
    "Thumbs.db": lambda path: path.with_name("Thumbs.db").write_bytes(b"x"),
    "folder renamed": lambda path: path.parent.rename(path.parent.with_name("__MACOSX")),
    "tabs": lambda path: path.rename(path.with_name(f"\t{path.name}")),
}
IGNORABLE = {"AppleDouble", "Thumbs.db"}
PARTITIONS = "face_partitions"  # PADISI-Face's lists have a test of their own below


@pytest.fixture(scope="module")
def originals(tmp_path_factory):
    top = tmp_path_factory.mktemp("originals")
    return {letter: write(top / letter) for letter, write in trees.TREES.items()}


@pytest.mark.parametrize("letter", trees.TREES)
@settings(TREES, max_examples=max(4, TREES.max_examples // 5))
@given(data=st.data())
def test_trees(folder, originals, letter, data):
    """A harmed tree is indexed or refused in a sentence, and `verify` lists what is wrong without giving up."""
    root = folder / "tree" / letter
    shutil.rmtree(folder / "tree", ignore_errors=True)
    shutil.copytree(originals[letter], root)
    harms = []
    for _ in range(data.draw(st.integers(1, 3))):
        files = sorted(path for path in folder.glob(f"tree/{letter}/**/*") if path.is_file() and not path.is_symlink())
        if not files:  # the root itself was renamed
            break
        harm, path = data.draw(st.sampled_from(sorted(HARM))), data.draw(st.sampled_from(files))
        if harm != "link to its own folder" or not path.with_name("loop").is_symlink():
            HARM[harm](path)
            harms.append(harm)
    depth = data.draw(st.sampled_from(["fast", "headers", "full"]))
    options = Options(workers=1, frames=2, names_only=depth == "fast")
    rows = []
    try:
        rows = index_tree(letter, root, options).rows
    except BadInput as e:
        says(e, "")
    if rows:
        save_index(folder / "out", rows, {}, {letter: root})
    try:
        report = verify(letter, root, depth, options, state=folder / "state")
    except BadInput as e:
        says(e, str(root))  # no layout, or no table of classes, is left to speak of
        assert rows == []
        return
    json.dumps(report.as_json()).encode()
    for problem in report.problems:
        says(problem, problem.path)
    if set(harms) <= IGNORABLE and not (root / PARTITIONS).exists():
        assert not report.problems
    assert rows or report.problems


def test_apple_double_of_a_list(originals, tmp_path):
    root = tmp_path / "P"
    shutil.copytree(originals["P"], root)
    for path in sorted((root / PARTITIONS).iterdir()):
        _apple_double(path)
    assert verify("P", root, "fast", Options(workers=1)).problems == []
