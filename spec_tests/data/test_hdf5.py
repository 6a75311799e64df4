"""HDF5 files: only what lies in the file is read, and each failure has its own sentence."""

import os
import shutil
import subprocess
import sys

import h5py
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from data_manifests import hdf5
from data_manifests.decode import raw
from data_manifests.errors import BadInput
from data_manifests.index import parse_reference

PIXELS = np.arange(3 * 4 * 5, dtype=np.uint8).reshape(3, 4, 5)


@pytest.fixture
def secret(tmp_path):
    """Bytes outside the data set, that must never come in as pixels."""
    path = tmp_path / "secret"
    path.write_bytes(bytes(range(120)))
    return path


def read(root, member="data"):
    return next(iter(raw(root, [(parse_reference(f"a.h5#{member}[0,1,2]"), "rgb")])))


def test_an_array_is_read(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as f:
        f["group/data"] = PIXELS
    assert (read(tmp_path, "group/data") == PIXELS).all()


def external_link(f, secret):
    with h5py.File(secret.with_name("other.h5"), "w") as other:
        other["data"] = PIXELS
    f["data"] = h5py.ExternalLink("other.h5", "data")


def soft_link(f, secret):
    f["own"] = PIXELS
    f["data"] = h5py.SoftLink("/own")


def link_on_the_way(f, secret):
    f["data"] = h5py.ExternalLink("other.h5", "/")


def raw_storage(f, secret):
    f.create_dataset("data", (3, 4, 5), np.uint8, external=[(str(secret), 0, h5py.h5f.UNLIMITED)])


def virtual(f, secret):
    with h5py.File(secret.with_name("other.h5"), "w") as other:
        other["data"] = PIXELS
    layout = h5py.VirtualLayout((3, 4, 5), np.uint8)
    layout[:] = h5py.VirtualSource("other.h5", "data", (3, 4, 5))
    f.create_virtual_dataset("data", layout)


def claim(f, secret):
    f.create_dataset("data", (3, 10**6, 10**6), np.uint8, chunks=(1, 8, 8))


def group(f, secret):
    f.create_group("data")


def nothing(f, secret):
    f["other"] = PIXELS


@pytest.mark.parametrize(("write", "says"), [
    (external_link, "data is a link to data; only what lies in the file"),
    (soft_link, "data is a link to /own; only what lies in the file"),
    (raw_storage, "the numbers of data lie in other files; only what"),
    (virtual, "the numbers of data lie in other files; only what"),
    (claim, r"data claims to be \(3, 1000000, 1000000\), larger than any image"),
    (group, "no array data; index the data set again"),
    (nothing, "no array data; index the data set again"),
])  # fmt: skip
def test_what_lies_elsewhere_is_not_followed(tmp_path, secret, write, says):
    with h5py.File(tmp_path / "a.h5", "w") as f:
        write(f, secret)
    with pytest.raises(BadInput, match=rf"^a\.h5: {says}"):
        read(tmp_path)


def test_a_link_on_the_way_is_not_followed(tmp_path, secret):
    with h5py.File(tmp_path / "a.h5", "w") as f:
        link_on_the_way(f, secret)
    with pytest.raises(BadInput, match=r"a\.h5: data/rgb is a link to /"):
        read(tmp_path, "data/rgb")


@pytest.mark.parametrize(("make", "says"), [
    (lambda path: None, "no such file"),
    (lambda path: path.mkdir(), "is a folder"),
    (os.mkfifo, "is no regular file"),
    (lambda path: path.symlink_to("/dev/zero"), "is no regular file"),
    (lambda path: path.symlink_to(path), "cannot be read"),
    (lambda path: path.write_bytes(b""), r"is empty \(0 bytes\)"),
    (lambda path: path.write_bytes(b"PK\3\4 something else"), "is no HDF5 file: it begins with other bytes"),
])  # fmt: skip
def test_what_is_no_file_is_refused_before_it_is_opened(tmp_path, make, says):
    make(tmp_path / "a.h5")
    with pytest.raises(BadInput, match=rf"a\.h5: .*{says}"):
        read(tmp_path)


def test_a_file_that_is_being_written_is_not_damaged(tmp_path):
    path = str(tmp_path / "a.h5")
    code = f"import h5py; f = h5py.File({path!r}, 'w'); f['data'] = 1; f.flush(); print(flush=True); input()"
    child = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    child.stdout.readline()
    try:
        with pytest.raises(BadInput, match=r"a\.h5: another program is writing it; close that program first"):
            read(tmp_path)
    finally:
        child.communicate("\n")


def test_a_compression_that_is_not_there_is_not_damage():
    with pytest.raises(BadInput, match=r"x: is compressed in a way .*\(required filter 'lz4' is not registered\)"), hdf5.reading("x"):  # fmt: skip  # noqa: E501
        raise OSError("required filter 'lz4' is not registered")


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    path = tmp_path_factory.mktemp("sound") / "a.h5"
    with h5py.File(path, "w") as f:
        f.create_dataset("data", data=PIXELS, chunks=(1, 4, 5), compression="gzip", fletcher32=True)
    return path


@given(place=st.floats(0, 1), bit=st.integers(0, 7), cut=st.booleans())
@example(place=0.0, bit=0, cut=False)
@example(place=0.99, bit=0, cut=True)
def test_a_damaged_file_gives_pixels_or_one_sentence(sound, tmp_path_factory, place, bit, cut):
    folder = tmp_path_factory.mktemp("damaged")
    shutil.copy(sound, folder)
    data = bytearray((folder / "a.h5").read_bytes())
    at = min(int(place * len(data)), len(data) - 1)
    if cut:
        del data[at:]
    else:
        data[at] ^= 1 << bit
    (folder / "a.h5").write_bytes(data)
    try:
        found = read(folder)
    except BadInput as e:
        said = str(e)
    else:
        said = "a.h5"
        assert len(found) == 3
    assert "a.h5" in said
    assert "\n" not in said
