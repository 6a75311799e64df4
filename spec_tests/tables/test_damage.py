"""Damage to any file that a command reads back ends in the same result or in one sentence, and changes nothing.

Hypothesis draws the kind of file, one of its kind, what happens to it and where: 100 times; `make damage` 2 000 times.
Files that users write (lists, roots, captions) can say anything: for them test_fuzz.py asks that no reader stumbles.
"""

import hashlib
import os
import shutil
from collections.abc import Callable
from contextlib import redirect_stderr
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from data_manifests.errors import BadInput
from data_manifests.index import load_index
from data_manifests.json_files import sealed
from data_manifests.phantom.build import claim
from data_manifests.phantom.sets import profile_named
from data_manifests.sums import write_together
from data_manifests.verify import decode_all
from paper_tables.declarations import mmfas
from paper_tables.declarations.profile import load as load_profile
from paper_tables.numbers.results import Results, gather
from paper_tables.planning import plan
from paper_tables.rendering.files import write
from paper_tables.rendering.render import as_json
from paper_tables.report import __main__ as report
from reference.faces import open_faces
from reference.proven import write_weights
from reference.sources import sha256
from reference.standin_clip import weights as standin
from spec_tests.equations import adapter, conformance_matrix
from spec_tests.support.fake_runs import fill
from spec_tests.support.miniature import SIDE, write_index

MANY = settings(max_examples=4 * settings().max_examples, suppress_health_check=list(HealthCheck))


@dataclass(frozen=True)
class Kind:
    """What commands have left in a folder, the patterns of the files that are damaged, and what is read from them."""

    leave: Callable[[Path], object]
    damaged: tuple[str, ...]
    read: Callable[[Path], Any]
    made_again: tuple[str, ...] = ()  # patterns of caches, which a reader may write
    optional: tuple[str, ...] = ()  # patterns of what may be absent: then there is less to read, which is said


def leave_images(folder: Path) -> None:
    read_images_of(write_index(folder, sets="C"))


def read_images_of(path: Path) -> Any:
    index = load_index(path)
    faces = open_faces(index, SIDE, path.parent.parent / "cache", 1)
    planes = faces.planes(np.arange(len(index.rows)))
    splits = {(p, s): rows.tolist() for p, of_p in index.protocols.items() for s, rows in of_p.items()}
    return [*index.rows], splits, planes.tobytes()


def leave_state(folder: Path) -> None:
    read_state(write_index(folder, sets="C").parent.parent)


def read_state(folder: Path) -> Any:
    index = load_index(folder / "index" / "index.csv")
    return decode_all(index.roots["C"], [*index.rows], folder / "state", 1)[0]


def results(folder: Path) -> Results:
    """Table 1 of mmFAS with two finished rows."""
    table, profile = mmfas.TABLE_1, load_profile("cpu")
    jobs = plan.plan(table, profile, 1, Path("index.csv"), "f" * 64, folder / "runs", "cpu")
    if not folder.exists():
        fill(table, [job for job in jobs if job.row.name in ("mmfas", "coin")])
    return gather(table, profile, 1, "phantom 1-cpu", True, "f" * 64, jobs, [], False)


def leave_report(folder: Path) -> None:
    whole = results(folder / "of runs")
    shutil.rmtree(folder / "of runs")
    write(whole, folder / "tables" / mmfas.TABLE_1.name)
    leak = {"text": [["run", "AUC"], ["released", "91.20"]]}
    picture = b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>'
    write_together(folder / "tables" / "mmda-batch-leak", {"scores.svg": picture, "table.json": sealed(leak)})
    cost = {"title": "Some rows", "profile": "cpu", "device": "a CPU", "threads": 1, "torch": "2.11", "text": [["row"]]}
    (folder / "cost").mkdir()
    (folder / "cost" / "mmfas-table1.json").write_bytes(sealed(cost))
    about = {"implementation": "x", "torch": "2.11", "devices": ["cpu"], "dtypes": ["float64"]}
    matrix = conformance_matrix.Matrix(adapter.Implementation("x"))
    conformance_matrix.write(folder / "conformance" / "x.json", matrix.as_dict(about | {"examples_per_property": 25}))
    (folder / "report.html").write_text("the old one")


def read_report(folder: Path) -> Any:
    assert report.main(["--build", str(folder)]) == 0
    return (folder / "report.html").read_bytes()


def leave_standin(folder: Path) -> None:
    path = standin.place(folder / standin.FOLDER)
    path.parent.mkdir(parents=True)
    write_weights(path, {"x": torch.arange(100.0)})
    path.with_suffix(".json").write_bytes(sealed({"sha256": sha256(path), "what": "a stand-in"}))


def read_standin(folder: Path) -> Any:
    with patch.object(standin.place, "__defaults__", (folder / standin.FOLDER, standin.SETTINGS)):
        return standin.find().read_bytes()


def leave_standin_data(folder: Path) -> None:
    claim(folder, TINY)
    (folder / "roots.toml").write_text("")


TINY = profile_named("tiny")
CACHES = ("cache/*", ".index.columns")
KINDS = {
    "an index": Kind(leave_images, ("index/*", "index/.*"), lambda f: read_images_of(f / "index/index.csv"), CACHES),
    "a cache of images": Kind(leave_images, ("cache/*.*",), lambda f: read_images_of(f / "index/index.csv"), CACHES),
    "what verify knows": Kind(leave_state, ("state",), read_state, ("state", ".index.columns")),
    "a finished run": Kind(results, ("runs/*/*", "runs/*/*/*"), lambda f: as_json(results(f)), (), ("done",)),
    "what the report shows": Kind(
        leave_report, ("*/*.json", "tables/*/*"), read_report, ("report.html",), ("*.json", "*.svg")
    ),
    "stand-in data": Kind(leave_standin_data, ("phantom.json",), lambda f: claim(f, TINY)),
    "a stand-in CLIP": Kind(leave_standin, ("build/clip/*",), read_standin),
}


@pytest.fixture(scope="module")
def left(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, list[str], Any]]:
    """Of each kind its folder, the files that are damaged, and what is read from sound ones. Copies lie in `sound`."""
    found = {}
    with patch.object(os, "fsync", lambda _: None):
        for name, kind in KINDS.items():
            folder = tmp_path_factory.mktemp("left") / "whole"
            kind.leave(folder)
            shutil.copytree(folder, folder.with_name("sound"))
            files = {
                path
                for pattern in kind.damaged
                for path in folder.glob(pattern)
                if path.is_file() and path.name != ".lock"
            }
            assert files
            found[name] = (
                folder,
                sorted(path.relative_to(folder).as_posix() for path in files),
                digest(kind.read(folder)),
            )
    return found


def digest(found: Any) -> str:
    """Of what was read, which may be too much to print."""
    return hashlib.sha256(repr(found).encode()).hexdigest()


def contents(folder: Path, without: tuple[str, ...]) -> dict[str, Any]:
    """What stands below a folder, but for files of these patterns."""
    found: dict[str, Any] = {}
    for path in sorted(folder.rglob("*")):
        if path.name != ".lock" and not any(path.match(pattern) for pattern in without):
            plain = path.is_file() and not path.is_symlink()
            found[path.relative_to(folder).as_posix()] = digest(path.read_bytes()) if plain else path.is_symlink()
    return found


def damage(path: Path, how: str, at: float, bit: int, other: bytes) -> None:
    data = bytearray(path.read_bytes())
    place = int(at * (len(data) - 1)) if data else 0
    path.unlink()
    if how == "folder":
        path.mkdir()
    elif how == "link to itself":
        path.symlink_to(path.name)
    elif how != "gone":
        if how == "flip" and data:
            data[place] ^= 1 << bit
        elif how == "another digit":
            for i, byte in enumerate(data[place:], place):
                if byte in b"0123456789":
                    data[i] = b"1234567890"[byte - ord("0")]
                    break
        elif how == "cut":
            del data[place:]
        elif how == "zeros":
            data[place : place + 64] = bytes(len(data[place : place + 64]))
        elif how == "more":
            data[place:place] = b"\xff\0{"
        elif how == "twice":
            data += bytes(data)
        elif how == "another":
            data[:] = other
        path.write_bytes(data)


HOWS = ("flip", "another digit", "cut", "zeros", "more", "twice", "another", "gone", "folder", "link to itself")


@MANY
@given(
    name=st.sampled_from(sorted(KINDS)), file=st.integers(0, 1000), how=st.sampled_from(HOWS), at=st.floats(0, 1),
    bit=st.integers(0, 7), other=st.integers(0, 1000),
)  # fmt: skip
def test_damage_is_the_same_result_or_one_sentence_and_nothing_changes(
    left: Any, name: str, file: int, how: str, at: float, bit: int, other: int
) -> None:
    outcome(left, name, file, how, at, bit, other)


@pytest.mark.parametrize("name", KINDS)
def test_another_digit_or_file_is_never_taken_for_the_one_that_was_written(left: Any, name: str) -> None:
    for file in range(len(left[name][1])):
        for at in (0.0, 0.6):
            outcome(left, name, file, "another digit", at, 0, 0)
        outcome(left, name, file, "another", 0, 0, file + 1)


def outcome(left: Any, name: str, file: int, how: str, at: float, bit: int, other: int) -> None:
    """Damage a file and read. Fails for another result, anything but one sentence, or another change on the disk."""
    kind, (folder, files, sound) = KINDS[name], left[name]
    shutil.rmtree(folder)
    shutil.copytree(folder.with_name("sound"), folder)
    path = folder / files[file % len(files)]
    damage(path, how, at, bit, (folder / files[other % len(files)]).read_bytes())
    before, said = contents(folder, kind.made_again), ""
    try:
        with patch.object(os, "fsync", lambda _: None), redirect_stderr(StringIO()) as noted:
            found = digest(kind.read(folder))
    except (BadInput, OSError) as e:  # of a system's error, cli_errors makes the sentence
        said = str(e) if isinstance(e, BadInput) or e.errno else ""
    if said:
        assert str(folder) in said or path.name == "roots.toml"  # which names other places
        assert "\n" not in said
        assert not (folder / "report.html").exists() or (folder / "report.html").read_text() == "the old one"
    elif how not in ("gone", "link to itself") or not any(path.match(pattern) for pattern in kind.optional):
        assert found == sound or f"{path.name}: was changed since it was written" in noted.getvalue()
    assert contents(folder, kind.made_again) == before
