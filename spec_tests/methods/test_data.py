"""Decoding, the cache of decoded faces, the balanced sampler and the batches."""

import dataclasses
import errno
import io
import itertools
import math
import multiprocessing
import os
import resource
import shutil
import signal
import statistics
import time
from collections import Counter
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image, ImageFile

import reference.faces as cache
from data_manifests import decode
from data_manifests.adapters import Options, index_tree
from data_manifests.errors import BadInput
from data_manifests.index import Index, Row, load_index, parse_reference, save_index
from reference import sources
from reference.batches import BLACK, GREY, BalancedSampler, Batch, Batches, ShuffledSampler, batches
from reference.faces import Faces, open_faces
from spec_tests.equations.strategies import DEVICES
from spec_tests.support import miniature, trees

SIDE = 12


def read(root: Path, text: str, modality: str) -> np.ndarray:
    (pixels,) = decode.raw(root, [(parse_reference(text), modality)])
    return pixels


def decoded(root: Path, text: str, modality: str, shape: str, encoding: str = "8bit_unknown") -> np.ndarray:
    (planes,) = decode.decode(root, [(parse_reference(text), modality, shape, encoding)], SIDE)
    return planes


class TestImages:
    @pytest.mark.parametrize("suffix", ["png", "jpg"])
    def test_modes(self, tmp_path, suffix):
        rng = np.random.default_rng(0)
        grey = np.repeat(np.repeat(rng.integers(0, 256, (3, 2), dtype=np.uint8), 8, 0), 8, 1)
        colour = np.stack([grey, grey // 2, 255 - grey], 2)
        tolerance = 0 if suffix == "png" else 4
        options = {} if suffix == "png" else {"quality": 100, "subsampling": 0}
        Image.fromarray(grey).save(tmp_path / f"grey.{suffix}", **options)
        Image.fromarray(colour).save(tmp_path / f"colour.{suffix}", **options)
        found = read(tmp_path, f"colour.{suffix}", "rgb").astype(int)
        assert np.abs(found - colour.transpose(2, 0, 1)).max() <= tolerance
        found = read(tmp_path, f"grey.{suffix}", "rgb").astype(int)
        assert np.abs(found - grey).max() <= tolerance
        assert found.shape == (3, 24, 16)
        luminance = colour.astype(float) @ (0.299, 0.587, 0.114)
        assert np.abs(read(tmp_path, f"colour.{suffix}", "depth")[0] - luminance).max() <= tolerance + 1
        assert np.abs(read(tmp_path, f"grey.{suffix}", "ir")[0].astype(int) - grey).max() <= tolerance

    def test_a_16_bit_depth_png_keeps_its_millimetres(self, tmp_path):
        depth = trees.ramp(500, 60000)[0]
        Image.fromarray(depth).save(tmp_path / "d.png")
        assert decode.image_shape(tmp_path / "d.png", "d.png", "depth") == "24x16:uint16"
        found = read(tmp_path, "d.png", "depth")
        assert found.dtype == np.uint16
        assert np.array_equal(found[0], depth)

    @given(st.sampled_from(["JPEG", "PNG"]), st.integers(0, 2**32 - 1), st.floats(0, 1, exclude_max=True))
    def test_a_truncated_image_is_never_half_decoded(self, tmp_path_factory, form, seed, cut):
        folder = tmp_path_factory.mktemp("cut")
        pixels = np.random.default_rng(seed).integers(0, 256, (40, 40, 3), dtype=np.uint8)
        out = io.BytesIO()
        Image.fromarray(pixels).save(out, form)
        whole = out.getvalue()
        (folder / "whole").write_bytes(whole)
        (folder / "cut").write_bytes(whole[: int(cut * len(whole))])
        message = ""
        try:
            found = read(folder, "cut", "rgb")
        except BadInput as e:
            message = str(e)
        if message:
            assert message.startswith("cut: ")
            assert "copy it again" in message
        else:  # only the end mark, which carries no pixels, is gone
            assert np.array_equal(found, read(folder, "whole", "rgb"))
            assert len(whole) - int(cut * len(whole)) <= 16
        assert not ImageFile.LOAD_TRUNCATED_IMAGES

    @pytest.mark.parametrize(
        ("content", "sentence"),
        [(None, "no such file"), (b"", "is empty"), (b"GIF89a" + bytes(64), "not a JPEG or PNG")],
    )
    def test_files_that_are_no_images(self, tmp_path, content, sentence):
        if content is not None:
            (tmp_path / "x.jpg").write_bytes(content)
        with pytest.raises(BadInput, match=rf"^x\.jpg: .*{sentence}"):
            read(tmp_path, "x.jpg", "rgb")

    def test_another_size_or_type_than_the_index_says(self, tmp_path):
        trees.jpg(tmp_path / "x.jpg", 5, (24, 16))
        assert (decoded(tmp_path, "x.jpg", "ir", "24x16:uint8") == 5).all()
        for shape in ("16x24:uint8", "24x16:uint16"):
            with pytest.raises(BadInput, match=rf"x\.jpg: is 24x16:uint8 but the index says {shape}; index"):
                decoded(tmp_path, "x.jpg", "ir", shape)

    def test_depth_type_and_encoding_must_fit(self, tmp_path):
        trees.jpg(tmp_path / "x.jpg", 5)
        with pytest.raises(BadInput, match=r"x\.jpg: depth is uint8 but depth_encoding z16_mm means uint16"):
            decoded(tmp_path, "x.jpg", "depth", "24x16:uint8", "z16_mm")
        Image.fromarray(trees.ramp(1, 999)[0]).save(tmp_path / "y.png")
        with pytest.raises(BadInput, match=r"y\.png: depth is uint16 but depth_encoding 8bit_mad means uint8"):
            decoded(tmp_path, "y.png", "depth", "24x16:uint16", "8bit_mad")


class TestContainers:
    def test_hdf5_frames_have_gaps_and_channels_are_picked_in_order(self, tmp_path):
        values = np.arange(2 * 4 * 3 * 2, dtype=np.uint16).reshape(2, 4, 3, 2)
        with h5py.File(tmp_path / "x.h5", "w") as f:
            f["Frame_12/array"], f["Frame_7/array"] = values[0], values[1]
            f["STREAM"] = values
        assert np.array_equal(read(tmp_path, "x.h5#Frame_12/array[2,0,1]", "rgb"), values[0][[2, 0, 1]])
        assert np.array_equal(read(tmp_path, "x.h5#Frame_7/array[3]", "ir"), values[1][3:])
        assert np.array_equal(read(tmp_path, "x.h5#STREAM[1][0]", "ir"), values[1][:1])
        for text, sentence in {
            "x.h5#Frame_8/array[0]": r"no array Frame_8/array",
            "x.h5#Frame_12[0]": r"no array Frame_12",
            "x.h5#STREAM[2][0]": r"too small",
            "x.h5#STREAM[1][4]": r"too small",
            "x.h5#STREAM[0]": r"not 0 axes before \(C, H, W\)",
        }.items():
            with pytest.raises(BadInput, match=sentence):
                read(tmp_path, text, "ir")

    def test_a_damaged_hdf5_file(self, tmp_path):
        trees.h5_frames(tmp_path / "x.h5", (1, 2, 3), (0, 1, 2))
        whole = (tmp_path / "x.h5").read_bytes()
        for content in (b"", b"no hdf5", whole[: len(whole) // 2]):
            (tmp_path / "x.h5").write_bytes(content)
            with pytest.raises(BadInput, match=r"^x\.h5.*copy it again"):
                read(tmp_path, "x.h5#Frame_1/array[0]", "ir")
        (tmp_path / "x.h5").unlink()
        with pytest.raises(BadInput, match=r"x\.h5: no such file"):
            read(tmp_path, "x.h5#Frame_1/array[0]", "ir")

    def test_pickles_in_npz_files_are_never_loaded(self, tmp_path):
        class Trap:
            def __reduce__(self):
                return (Path.touch, (tmp_path / "sprung",))

        np.savez(tmp_path / "x.npz", data=np.array([[Trap()]], dtype=object))
        with pytest.raises(BadInput, match=r"x\.npz: 'data' holds pickled objects, which are never loaded"):
            read(tmp_path, "x.npz#data[0][4]", "depth")
        assert not (tmp_path / "sprung").exists()

    def test_a_damaged_npz_file(self, tmp_path):
        trees.npz(tmp_path / "x.npz")
        whole = (tmp_path / "x.npz").read_bytes()
        middle = len(whole) // 2
        flipped = whole[:middle] + bytes(255 - b for b in whole[middle : middle + 40]) + whole[middle + 40 :]
        for content in (b"", whole[:middle], flipped):
            (tmp_path / "x.npz").write_bytes(content)
            with pytest.raises(BadInput, match=r"^x\.npz: .*copy it again"):
                read(tmp_path, "x.npz#data[0][4]", "depth")
        (tmp_path / "x.npz").write_bytes(whole)
        with pytest.raises(BadInput, match=r"x\.npz: .*'other'"):
            read(tmp_path, "x.npz#other[0][4]", "depth")

    def test_a_container_is_opened_once_for_all_its_frames(self, tmp_path, monkeypatch):
        trees.h5_frames(tmp_path / "x.h5", (1, 2, 3), (0, 1, 2))
        opened = []
        original = h5py.File
        monkeypatch.setattr(decode.h5py, "File", lambda *a, **k: opened.append(a) or original(*a, **k))
        wanted = [(parse_reference(f"x.h5#Frame_{k}/array[{c}]"), "ir") for k in range(3) for c in range(3)]
        assert [int(p[0, 0, 0]) for p in decode.raw(tmp_path, wanted)] == [1, 2, 3] * 3
        assert len(opened) == 1


def mad_oracle(values: list[float], n: float) -> list[int]:
    """Section 6's rule on plain numbers, value by value."""
    measured = [v for v in values if v > 1]
    if not measured:
        return [0] * len(values)
    m = statistics.median(measured)
    mad = statistics.median(abs(v - m) for v in measured)
    if mad == 0:
        mad = 1
    return [0 if v <= 1 else math.trunc(min(255, max(0, 255 * (v - m + n * mad) / (2 * n * mad)))) for v in values]


class TestConversions:
    @given(
        hnp.arrays(np.uint16, hnp.array_shapes(min_dims=1, max_dims=3, max_side=6)), st.sampled_from([1.0, 3.0, 4.5])
    )
    @example(np.array([0, 1, 0], np.uint16), 3.0)
    @example(np.array([500, 501], np.uint16), 3.0)  # mad 0.5: less than a step, but not nothing
    @example(np.array([500, 500, 500, 0], np.uint16), 3.0)
    @example(np.array([500, 500, 500, 502, 900], np.uint16), 3.0)
    def test_mad(self, x, n):
        assert decode.mad_to_8bit(x, n).ravel().tolist() == mad_oracle([float(v) for v in x.ravel()], n)

    def test_mad_by_hand(self):
        # median 600, deviations 200 100 0 100 200: mad 100, so 600 ± 300 fill the range; 0 and 1 are holes
        x = np.array([0, 1, 400, 500, 600, 700, 800], np.uint16)
        assert decode.mad_to_8bit(x).tolist() == [0, 0, 42, 85, 127, 170, 212]

    def test_a_flat_scene_takes_one_step_as_its_mad(self):
        x = np.array([700] * 9 + [0, 701, 699, 703, 697], np.uint16)
        assert decode.mad_to_8bit(x).tolist() == [127] * 9 + [0, 170, 85, 255, 0]
        assert decode.mad_to_8bit(np.zeros((2, 3), np.uint16)).tolist() == [[0] * 3] * 2

    @given(hnp.arrays(np.float32, (3, 4), elements=st.floats(0, 1, width=32)))
    @example(np.array([0.5 / 255, 0.4999 / 255, 1.0, 0.0], np.float32))
    def test_unit_floats_are_rounded_half_up(self, x):
        assert decode.unit_to_8bit(x).tolist() == np.vectorize(lambda v: math.floor(255 * float(v) + 0.5))(x).tolist()

    @given(st.one_of(st.just(float("nan")), st.floats(-2, -0.001), st.floats(1.001, 300)))
    def test_floats_outside_0_1_are_refused(self, tmp_path_factory, bad):
        root = tmp_path_factory.mktemp("float")
        array = np.full((1, 22, 4, 4), 0.5, np.float32)
        array[0, 4, 1, 1] = bad
        np.savez(root / "x.npz", data=array)
        with pytest.raises(BadInput, match=r"x\.npz#data\[0\]\[4\]: holds values outside 0 … 1 or NaN"):
            decoded(root, "x.npz#data[0][4]", "depth", "4x4:float32", "unit_float")
        assert (decoded(root, "x.npz#data[0][3]", "ir", "4x4:float32", "unit_float") == 128).all()

    @pytest.mark.parametrize("dtype", [np.int32, np.int8, np.uint32])
    def test_other_types_are_refused(self, dtype):
        with pytest.raises(BadInput, match="ir stored as"):
            decode.to_8bit(np.ones((1, 2, 2), dtype), "ir", "", "x")
        with pytest.raises(BadInput, match="rgb stored as uint16"):
            decode.to_8bit(np.ones((3, 2, 2), np.uint16), "rgb", "", "x")

    @given(hnp.arrays(np.uint8, hnp.array_shapes(min_dims=3, max_dims=3, min_side=1, max_side=24)), st.integers(1, 20))
    def test_resize(self, planes, size):
        found = decode.resize(planes, size)
        wanted = torch.nn.functional.interpolate(
            torch.from_numpy(planes)[None].double(), (size, size), mode="bilinear", antialias=True
        )[0]
        assert found.shape == (len(planes), size, size)
        assert found.dtype == np.uint8
        assert np.abs(found - wanted.numpy()).max() <= 1.01  # Pillow rounds after each of the two passes


@pytest.fixture(scope="module")
def five(tmp_path_factory) -> Index:
    """An index of all five miniature trees."""
    top = tmp_path_factory.mktemp("five")
    rows: list[Row] = []
    for letter, write in trees.TREES.items():
        rows += index_tree(letter, write(top / letter), Options(workers=1, frames=4)).rows
    save_index(top / "index", rows, {}, {letter: top / letter for letter in trees.TREES})
    return load_index(top / "index" / "index.csv")


def small(folder: Path, n: int = 6, seed: int = 0) -> Index:
    """n frames of random PNGs, uncompressed so that other pixels give a file of the same size; 1 lacks depth."""
    rng = np.random.default_rng(seed)
    (folder / "c").mkdir(parents=True, exist_ok=True)
    rows = []
    for i in range(n):
        missing = i == 1
        for m in ("rgb", "depth", "ir"):
            if not (missing and m == "depth"):
                write_png(folder / "c" / f"{i}{m}.png", rng.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8))
        shape = f"{SIDE}x{SIDE}:uint8"
        label, family = ("attack", "print") if i % 2 else ("bonafide", "")
        names = [f"{i}rgb.png", shape, *(("", "") if missing else (f"{i}depth.png", shape)), f"{i}ir.png", shape]
        encoding = "" if missing else "8bit_unknown"
        rows.append(Row(f"s{i}", "C", "x", f"c{i}", i, f"p{i}", "", "", label, family, "", *names, encoding, 860))
    save_index(folder / "index", rows, {}, {"C": folder / "c"})
    return load_index(folder / "index" / "index.csv")


def write_png(path: Path, pixels: np.ndarray) -> None:
    Image.fromarray(pixels).save(path, compress_level=0)


def direct(index: Index) -> np.ndarray:
    """What the cache must hold, image by image with Pillow alone."""
    images = np.zeros((len(index.rows), 5, SIDE, SIDE), np.uint8)
    for i, row in enumerate(index.rows):
        for m, planes in {"rgb": slice(0, 3), "depth": slice(3, 4), "ir": slice(4, 5)}.items():
            if name := getattr(row, m):
                image = Image.open(index.roots[row.dataset] / name).convert("RGB" if m == "rgb" else "L")
                images[i, planes] = np.atleast_3d(np.asarray(image)).transpose(2, 0, 1)
    return images


@pytest.fixture
def trusting(monkeypatch):
    """As if every image had been written long ago."""
    monkeypatch.setattr(cache, "_CLOCK_STEP_NS", -(10**12))


@pytest.fixture
def decodes(monkeypatch):
    """The images decoded since, by name; decoding stays in this process."""
    names: list[str] = []
    original = cache._decoded

    def recorded(size, resizing, root, images):
        names.extend(image.reference.path for image in images)
        return original(size, resizing, root, images)

    monkeypatch.setattr(cache, "_decoded", recorded)
    return names


def write_noise(folder):
    """An index of two frames of colour whose texture is finer than the images that runs see."""
    rows = []
    for number, label in enumerate(("bonafide", "attack")):
        noise = np.random.default_rng(number).integers(0, 256, (5 * SIDE, 5 * SIDE, 3), dtype=np.uint8)
        Image.fromarray(noise).save(folder / f"{number}.png")
        row = Row(
            sample_id=f"C:{number}", dataset="C", layout="own", clip_id=str(number), frame=0,
            subject_id=f"C:{number}", presenter_id="", source_id="", label=label,
            attack_family="print" if number else "", attack_code="", rgb=f"{number}.png",
            rgb_shape=f"{5 * SIDE}x{5 * SIDE}:uint8", depth="", depth_shape="", ir="", ir_shape="",
            depth_encoding="", ir_nm=None,
        )  # fmt: skip
        rows.append(row)
    save_index(folder, rows, {}, {"C": folder})
    return load_index(folder / "index.csv")


class TestCache:
    def test_every_data_set_gives_the_right_channel(self, five, tmp_path):
        faces = open_faces(five, SIDE, tmp_path, workers=1)
        assert faces.images.shape == (len(five.rows), 5, SIDE, SIDE)
        middle = faces.images[:, :, 4:8, 4:8].astype(int)
        for i, row in enumerate(five.rows):
            assert np.abs(middle[i, :3] - np.array(trees.COLOUR).reshape(3, 1, 1)).max() <= 2, row
            if row.dataset != "H":
                assert np.abs(middle[i, 3] - trees.DEPTH).max() <= 1, row
                assert np.abs(middle[i, 4] - trees.INFRARED).max() <= 1, row
        h = faces.dataset == "H"
        for plane, (low, high) in {3: (500, 560), 4: (1300, 5200)}.items():
            values = trees.ramp(low, high).ravel().astype(float).tolist()
            wanted = np.array(mad_oracle(values, 3.0), np.uint8).reshape(1, *trees.SIZE)
            assert (faces.images[h, plane] == decode.resize(wanted, SIDE)).all()

    def test_another_resizing_has_files_and_features_of_its_own(self, tmp_path):
        index = write_noise(tmp_path)
        ours = open_faces(index, SIDE, tmp_path / "cache", workers=1)
        released = open_faces(index, SIDE, tmp_path / "cache", workers=1, resizing="released")
        again = open_faces(index, SIDE, tmp_path / "cache", workers=1)
        pixels = np.asarray(Image.open(tmp_path / "0.png")).transpose(2, 0, 1)
        for faces, resize in ((ours, decode.resize), (released, decode.resize_plain), (again, decode.resize)):
            assert (faces.images[0, :3] == resize(pixels, SIDE)).all()
        assert np.abs(ours.images[0, :3].astype(int) - released.images[0, :3]).max() > 20
        assert ours.sha256 == again.sha256 != released.sha256
        assert (ours.content == again.content).all()
        assert not (ours.content == released.content).all(axis=1).any()

    def test_what_faces_say_of_each_frame(self, five, tmp_path):
        faces = open_faces(five, SIDE, tmp_path, workers=1)
        for name, column in {"dataset": "dataset", "family": "attack_family", "subject": "subject_id"}.items():
            assert getattr(faces, name)[:].tolist() == [getattr(r, column) for r in five.rows]
        assert faces.sample_id[:].tolist() == [r.sample_id for r in five.rows]
        for numbers, column in ((faces.domain, "dataset"), (faces.recording, "clip_id")):
            pairs = set(zip(numbers.tolist(), [getattr(r, column) for r in five.rows], strict=True))
            assert len(pairs) == len({number for number, _ in pairs}) == len({name for _, name in pairs})
            assert numbers.dtype == np.int64
        assert faces.bonafide.tolist() == [r.label == "bonafide" for r in five.rows]
        assert faces.present.shape == (len(five.rows), 3)
        assert faces.present.all()
        assert faces.missing_report() == {d: {"rgb": 0, "depth": 0, "ir": 0} for d in "CSWHP"}
        with pytest.raises(ValueError, match="read-only"):
            faces.images[0, 0, 0, 0] = 1

    @pytest.mark.parametrize("workers", [1, 2])
    def test_pixels_equal_a_direct_decode_and_a_missing_modality_is_zero(self, tmp_path, workers):
        index = small(tmp_path, n=30)
        faces = open_faces(index, SIDE, tmp_path / "cache", workers)
        assert np.array_equal(faces.images, direct(index))
        assert faces.present[1].tolist() == [True, False, True]
        assert faces.present.sum() == 3 * 30 - 1
        assert not faces.images[1, 3].any()
        assert faces.missing_report() == {"C": {"rgb": 0, "depth": 1, "ir": 0}}

    def test_a_second_open_decodes_and_reads_nothing(self, tmp_path, decodes, trusting, monkeypatch):
        index = small(tmp_path)
        first = open_faces(index, SIDE, tmp_path / "cache", 1)
        assert len(decodes) == 17
        monkeypatch.setattr(cache, "_digests", lambda root, images: pytest.fail(f"read {images[0].reference.path}"))
        again = open_faces(index, SIDE, tmp_path / "cache", 1)
        assert len(decodes) == 17
        assert again.sha256 == first.sha256
        assert np.array_equal(again.images, first.images)

    def test_the_times_of_a_file_written_just_now_are_not_trusted(self, tmp_path, monkeypatch):
        index = small(tmp_path)
        open_faces(index, SIDE, tmp_path / "cache", 1)
        read_again = []
        original = cache._digests
        monkeypatch.setattr(cache, "_digests", lambda root, images: read_again.append(root) or original(root, images))
        open_faces(index, SIDE, tmp_path / "cache", 1)
        assert len(read_again) == 17

    @pytest.mark.parametrize("same_time", [False, True])
    def test_a_changed_image_of_the_same_size_is_decoded_again(self, tmp_path, trusting, same_time):
        index = small(tmp_path)
        first = open_faces(index, SIDE, tmp_path / "cache", 1)
        path = tmp_path / "c" / "2ir.png"
        before = path.stat()
        pixels = np.asarray(Image.open(path)).copy()
        pixels[0, 0] ^= 255
        time.sleep(0.02)
        write_png(path, pixels)
        if same_time:
            os.utime(path, ns=(before.st_mtime_ns, before.st_mtime_ns))
        assert path.stat().st_size == before.st_size
        assert (path.stat().st_mtime_ns == before.st_mtime_ns) == same_time
        again = open_faces(index, SIDE, tmp_path / "cache", 1)
        assert np.array_equal(again.images, direct(index))
        assert not np.array_equal(again.images, first.images)
        assert again.sha256 != first.sha256

    def test_a_touched_or_moved_tree_is_not_decoded_again(self, tmp_path, decodes):
        index = small(tmp_path)
        first = open_faces(index, SIDE, tmp_path / "cache", 1)
        count = len(decodes)
        for touched in (["3ir.png"], [path.name for path in (tmp_path / "c").iterdir()]):
            for name in touched:
                (tmp_path / "c" / name).touch()
            assert open_faces(index, SIDE, tmp_path / "cache", 1).sha256 == first.sha256
        shutil.copytree(tmp_path / "c", tmp_path / "elsewhere")
        save_index(tmp_path / "index", index.rows, {}, {"C": tmp_path / "elsewhere"})
        moved = open_faces(load_index(index.path), SIDE, tmp_path / "cache", 1)
        assert moved.sha256 == first.sha256
        assert len(decodes) == count

    @pytest.mark.parametrize("file", ["decode.py", "index.py"])  # the decoder, and a file that it imports
    def test_another_decoder_is_another_cache(self, tmp_path, decodes, monkeypatch, file):
        index = small(tmp_path)
        first = open_faces(index, SIDE, tmp_path / "cache", 1)
        copy = tmp_path / "project" / "data_manifests"
        shutil.copytree(sources.ROOT / "data_manifests", copy, ignore=shutil.ignore_patterns("__pycache__"))
        monkeypatch.setattr(sources, "ROOT", copy.parent)
        monkeypatch.setattr(cache, "sources", sources.sources.__wrapped__)  # which reads the files each time
        assert open_faces(index, SIDE, tmp_path / "cache", 1).sha256 == first.sha256
        (copy / file).write_text((copy / file).read_text() + "# another text\n")
        assert open_faces(index, SIDE, tmp_path / "cache", 1).sha256 != first.sha256
        assert len(decodes) == 2 * 17

    def test_only_the_rows_that_are_asked_for_are_decoded(self, tmp_path, decodes, trusting):
        index = small(tmp_path)
        some = open_faces(index, SIDE, tmp_path / "cache", 1, np.array([4, 2]))
        assert sorted(decodes) == sorted(f"{i}{m}.png" for i in (2, 4) for m in ("rgb", "depth", "ir"))
        assert some.rows.tolist() == [2, 4]
        assert np.array_equal(some.images[[2, 4]], direct(index)[[2, 4]])
        assert some.missing_report() == {"C": {"rgb": 0, "depth": 0, "ir": 0}}
        (tmp_path / "c" / "0rgb.png").unlink()  # nobody asks for it
        more = open_faces(index, SIDE, tmp_path / "cache", 1, np.arange(1, 6))
        assert len(decodes) == 6 + 8
        assert more.missing_report() == {"C": {"rgb": 0, "depth": 1, "ir": 0}}
        assert more.sha256 != some.sha256

    @given(st.permutations(range(4)), st.integers(0, 3))
    @settings(max_examples=10)
    def test_the_order_in_which_rows_are_asked_for_changes_nothing(self, tmp_path_factory, order, touched):
        folder = tmp_path_factory.mktemp("order")
        index = small(folder, n=4)
        whole = open_faces(index, SIDE, folder / "cache", 1)
        for row in order:
            open_faces(index, SIDE, folder / "other", 1, np.array([row]))
        (folder / "c" / f"{touched}ir.png").touch()
        filled = open_faces(index, SIDE, folder / "other", 1, np.array(order))
        assert filled.sha256 == whole.sha256
        assert np.array_equal(filled.images, whole.images)
        assert np.array_equal(filled.present, whole.present)

    def test_a_changed_image_does_not_change_what_another_run_has_open(self, tmp_path):
        index = small(tmp_path)
        first = open_faces(index, SIDE, tmp_path / "cache", 1)
        before = direct(index)
        write_png(tmp_path / "c" / "2ir.png", np.zeros((SIDE, SIDE, 3), np.uint8))
        again = open_faces(index, SIDE, tmp_path / "cache", 1, np.array([2, 3]))
        assert not again.images[2, 4].any()
        assert again.present[2].tolist() == [True, True, False]
        assert np.array_equal(first.images, before)

    def test_damaged_notes_of_images_are_made_again(self, tmp_path, trusting):
        """What was noted of a file's content, its times or the place of its pixels may be lost with the power."""
        index = small(tmp_path)
        first = open_faces(index, SIDE, tmp_path / "cache", 1)
        for path, size in [(path, 48) for path in (tmp_path / "cache").glob("*.seen")] + [
            (path, 35) for path in (tmp_path / "cache").glob("*.rows")
        ]:
            for at in (3 * size, 3 * size + 31):  # of the content of row 3
                damaged = bytearray(path.read_bytes())
                damaged[at] ^= 1
                path.write_bytes(damaged)
                again = open_faces(index, SIDE, tmp_path / "cache", 1)
                assert again.sha256 == first.sha256
                assert np.array_equal(again.images, direct(index))

    def test_times_that_reached_the_disk_without_their_content_are_not_believed(self, tmp_path, trusting):
        index = small(tmp_path)
        open_faces(index, SIDE, tmp_path / "cache", 1)
        before = {path: path.read_bytes() for path in (tmp_path / "cache").iterdir()}
        write_png(tmp_path / "c" / "2ir.png", np.full((SIDE, SIDE, 3), 9, np.uint8))
        open_faces(index, SIDE, tmp_path / "cache", 1)
        for path, content in before.items():
            after = path.read_bytes()
            path.write_bytes(content)
            if path.suffix == ".seen":
                times = slice(2 * 48 + 32, 3 * 48)
                path.write_bytes(content[: times.start] + after[times] + content[times.stop :])
        assert np.array_equal(open_faces(index, SIDE, tmp_path / "cache", 1).images, direct(index))

    def test_a_file_of_the_cache_that_was_cut_short_is_named(self, tmp_path):
        index = small(tmp_path)
        open_faces(index, SIDE, tmp_path / "cache", 1)
        for path in sorted((tmp_path / "cache").iterdir()):
            if path.suffix:
                whole = path.read_bytes()
                path.write_bytes(whole[:-1])
                with pytest.raises(BadInput, match=f"{path.name}: damaged"):
                    open_faces(index, SIDE, tmp_path / "cache", 1)
                path.write_bytes(whole)

    def test_another_size_or_index_is_another_cache(self, tmp_path):
        index = small(tmp_path)
        one = open_faces(index, SIDE, tmp_path / "cache", 1)
        two = open_faces(index, 2 * SIDE, tmp_path / "cache", 1)
        assert two.images.shape == (6, 5, 2 * SIDE, 2 * SIDE)
        save_index(tmp_path / "index", index.rows[::-1], {}, {"C": tmp_path / "c"})
        three = open_faces(load_index(index.path), SIDE, tmp_path / "cache", 1)
        assert np.array_equal(three.images, one.images[::-1])
        with pytest.raises(BadInput, match="image_size 0"):
            open_faces(index, 0, tmp_path / "cache")

    @pytest.mark.parametrize("workers", [1, 2])
    def test_a_bad_image_is_named_and_what_was_decoded_before_it_stays(self, tmp_path, workers, decodes, monkeypatch):
        monkeypatch.setattr(cache, "_FEW", 1)
        index = small(tmp_path, n=50)
        path = tmp_path / "c" / "49ir.png"
        whole = path.read_bytes()
        path.write_bytes(whole[:-100])
        with pytest.raises(BadInput, match=r"49ir\.png: the image is damaged"):
            open_faces(index, SIDE, tmp_path / "cache", workers)
        path.unlink()
        with pytest.raises(BadInput, match=r"49ir\.png: No such file"):
            open_faces(index, SIDE, tmp_path / "cache", workers)
        path.write_bytes(whole)
        del decodes[:]
        assert np.array_equal(open_faces(index, SIDE, tmp_path / "cache", 1).images, direct(index))
        assert "49ir.png" in decodes
        if workers == 1:
            assert len(decodes) == 3 * 2  # of the last, unfinished stretch

    def test_an_image_that_changes_while_it_is_read(self, tmp_path, monkeypatch):
        index = small(tmp_path)
        original = cache._decoded

        def meddle(size, resizing, root, images):
            yield from original(size, resizing, root, images)
            write_png(tmp_path / "c" / "0rgb.png", np.full((SIDE, SIDE, 3), 9, np.uint8))

        time.sleep(0.02)
        with monkeypatch.context() as m:
            m.setattr(cache, "_decoded", meddle)
            with pytest.raises(BadInput, match=r"0rgb\.png: changed while it was read"):
                open_faces(index, SIDE, tmp_path / "cache", 1)
        assert np.array_equal(open_faces(index, SIDE, tmp_path / "cache", 1).images, direct(index))

    def test_a_full_disk_leaves_nothing_behind(self, tmp_path):
        index = small(tmp_path)

        def limited():
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # a write beyond the limit then fails, as on a full disk
            resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000))
            try:
                open_faces(index, SIDE, tmp_path / "cache", 1)
            except OSError as e:
                os._exit(100 if e.errno == errno.EFBIG else 1)
            os._exit(2)

        assert in_process(limited) == 100
        assert not list((tmp_path / "cache").glob("*.u8"))
        assert np.array_equal(open_faces(index, SIDE, tmp_path / "cache", 1).images, direct(index))

    def test_what_a_killed_process_had_not_kept_is_decoded_again(self, tmp_path, decodes, trusting):
        index = small(tmp_path, n=40)

        def killed():
            original = cache._decoded

            def decode_some(size, resizing, root, images):
                yield from original(size, resizing, root, images)
                if images[0].reference.path == "20rgb.png":
                    os.kill(os.getpid(), signal.SIGKILL)

            cache._SAVE_S = -1.0  # each stretch is kept as soon as it is decoded
            cache._decoded = decode_some
            open_faces(index, SIDE, tmp_path / "cache", 1)

        assert in_process(killed) == -signal.SIGKILL
        for changed in ("0rgb.png", "20rgb.png"):  # kept, and lost half-way
            write_png(tmp_path / "c" / changed, np.full((SIDE, SIDE, 3), 9, np.uint8))
        assert np.array_equal(open_faces(index, SIDE, tmp_path / "cache", 1).images, direct(index))

    def test_what_a_killed_process_had_kept_is_not_decoded_again(self, tmp_path, decodes):
        index = small(tmp_path, n=40)

        def killed():
            def decode_some(size, resizing, root, images):
                if images[0].reference.path == "16rgb.png":
                    os.kill(os.getpid(), signal.SIGKILL)
                return original(size, resizing, root, images)

            original, cache._decoded, cache._SAVE_S = cache._decoded, decode_some, -1.0
            open_faces(index, SIDE, tmp_path / "cache", 1)

        assert in_process(killed) == -signal.SIGKILL
        assert np.array_equal(open_faces(index, SIDE, tmp_path / "cache", 1).images, direct(index))
        assert len(decodes) == 3 * 24

    def test_processes_that_ask_together_decode_once(self, tmp_path):
        index = small(tmp_path)
        log = tmp_path / "decodes"

        def ask():
            original = cache._decoded

            def slow(size, resizing, root, images):
                time.sleep(0.02)
                with log.open("a") as f:
                    f.write("x")
                return original(size, resizing, root, images)

            cache._decoded = slow
            faces = open_faces(index, SIDE, tmp_path / "cache", 1)
            os._exit(0 if np.array_equal(faces.images, direct(index)) else 3)

        context = multiprocessing.get_context("fork")
        asking = [context.Process(target=ask) for _ in range(4)]
        for p in asking:
            p.start()
        for p in asking:
            p.join()
        assert [p.exitcode for p in asking] == [0] * 4
        assert log.read_text() == "x" * 17

    def test_a_finished_cache_opens_fast(self, tmp_path, trusting):
        """6 000 frames of three images open in less than a second: measured on a twentieth, with the same share."""
        index = small(tmp_path, n=300)
        open_faces(index, SIDE, tmp_path / "cache", 1)
        seconds = []
        for _ in range(5):
            start = time.perf_counter()
            open_faces(index, SIDE, tmp_path / "cache", 1)
            seconds.append(time.perf_counter() - start)
        assert min(seconds) < 0.05


def in_process(function) -> int | None:
    """Exit status of `function` run in a process of its own."""
    p = multiprocessing.get_context("fork").Process(target=function)
    p.start()
    p.join()
    return p.exitcode


mixed = hnp.arrays(bool, st.integers(2, 60)).filter(lambda x: x.any() and not x.all())


class TestBalancedSampler:
    @given(mixed, st.integers(1, 10), st.integers(0, 2**63 - 1), st.integers(0, 50))
    def test_every_batch_is_half_and_half(self, bonafide, half, seed, e):
        sampler = BalancedSampler(bonafide, 2 * half, seed)
        order = sampler.epoch(e)
        assert sampler.steps == math.ceil(len(bonafide) / (2 * half))
        assert order.shape == (sampler.steps, 2 * half)
        assert order.dtype == np.int64
        assert (bonafide[order].sum(1) == half).all()
        assert np.array_equal(order, BalancedSampler(bonafide.copy(), 2 * half, seed).epoch(e))

    @given(mixed, st.integers(1, 10), st.integers(0, 2**63 - 1), st.integers(1, 6))
    def test_no_frame_comes_again_before_all_of_its_class_came(self, bonafide, half, seed, epochs):
        sampler = BalancedSampler(bonafide, 2 * half, seed)
        drawn = np.concatenate([sampler.epoch(e).ravel() for e in range(epochs)])
        for label in (True, False):
            members = np.flatnonzero(bonafide == label)
            mine = Counter(drawn[bonafide[drawn] == label].tolist())
            times = [mine[int(i)] for i in members]
            assert max(times) - min(times) <= 1

    @given(st.integers(0, 1000))
    def test_classes_go_on_where_the_epoch_before_stopped(self, seed):
        bonafide = np.arange(100) < 30
        sampler = BalancedSampler(bonafide, 10, seed)  # 10 steps: 50 of 70 attacks, and 30 bona fide and 20 again
        epochs = [sampler.epoch(e) for e in range(7)]
        attacks = [e[~bonafide[e]].tolist() for e in epochs]
        live = [e[bonafide[e]].tolist() for e in epochs]
        assert len(set(attacks[0])) == 50
        assert len(set(attacks[0]) | set(attacks[1])) == 70
        assert sorted(a for epoch in attacks for a in epoch) == sorted(list(range(30, 100)) * 5)
        assert all(len(set(x)) == 30 for x in live)
        shared = [frozenset(batch[~bonafide[batch]].tolist()) for epoch in epochs for batch in epoch]
        assert set(shared[:14]) != set(shared[14:28])  # every pass over a class is shuffled anew

    def test_seed_and_epoch_change_the_order_and_positions_are_mixed(self):
        bonafide = np.arange(200) < 100
        one = BalancedSampler(bonafide, 20, 1)
        assert not np.array_equal(one.epoch(0), one.epoch(1))
        assert not np.array_equal(one.epoch(0), BalancedSampler(bonafide, 20, 2).epoch(0))
        share = np.mean([bonafide[one.epoch(e)].mean(0) for e in range(100)], axis=0)
        assert (np.abs(share - 0.5) < 0.1).all()

    @given(st.integers(1, 4), st.integers(1, 4), st.integers(0, 2**32 - 1), st.integers(0, 5), st.integers(0, 3))
    def test_every_batch_holds_equally_many_of_each_class_of_each_data_set(self, sets, share, seed, e, steps):
        rng = np.random.default_rng(seed)
        numbers = rng.choice(5, sets, replace=False)
        domain = np.concatenate([numbers, numbers, rng.choice(numbers, rng.integers(20))])
        bonafide = np.concatenate([np.arange(2 * sets) < sets, rng.random(len(domain) - 2 * sets) < 0.5])
        sampler = BalancedSampler(bonafide, 2 * sets * share, seed, domain, steps)
        assert sampler.steps == (steps or math.ceil(len(bonafide) / (2 * sets * share)))
        epochs = [sampler.epoch(i) for i in range(e + 1)]
        for batch in np.concatenate(epochs):
            groups = Counter(zip(domain[batch].tolist(), bonafide[batch].tolist(), strict=True))
            assert groups == dict.fromkeys(itertools.product(numbers.tolist(), (False, True)), share)
        times = Counter(np.concatenate(epochs).ravel().tolist())
        for number, live in itertools.product(numbers, (False, True)):
            mine = [times[i] for i in np.flatnonzero((domain == number) & (bonafide == live)).tolist()]
            assert max(mine) - min(mine) <= 1  # no frame again before every other one of its group came
        assert np.array_equal(epochs[e], BalancedSampler(bonafide, 2 * sets * share, seed, domain, steps).epoch(e))

    def test_a_data_set_with_one_class_and_an_uneven_batch_are_refused(self):
        domain, bonafide = np.array([0, 0, 4, 4]), np.array([True, False, True, True])
        with pytest.raises(BadInput, match="no attack frame of PADISI-Face"):
            BalancedSampler(bonafide, 4, 0, domain)
        with pytest.raises(BadInput, match=r"--batch-size 6: .* of each of 2 data sets; give a multiple of 4"):
            BalancedSampler(np.array([True, False, True, False]), 6, 0, domain)

    @pytest.mark.parametrize("batch_size", [0, -2, 1, 7])
    def test_odd_batches(self, batch_size):
        with pytest.raises(BadInput, match=f"--batch-size {batch_size}: holds no equal share"):
            BalancedSampler(np.array([True, False]), batch_size, 0)

    @pytest.mark.parametrize(("label", "name"), [(True, "attack"), (False, "bona fide")])
    def test_one_class(self, label, name):
        with pytest.raises(BadInput, match=f"no {name} frame"):
            BalancedSampler(np.full(5, label), 2, 0)


class TestShuffledSampler:
    @given(st.integers(0, 60), st.integers(1, 20), st.integers(0, 2**63 - 1), st.integers(0, 50))
    def test_an_epoch_is_every_frame_once(self, count, batch_size, seed, e):
        sampler = ShuffledSampler(count, batch_size, seed)
        order = sampler.epoch(e)
        assert sampler.steps == len(order) == math.ceil(count / batch_size)
        assert [len(x) for x in order[:-1]] == [batch_size] * (sampler.steps - 1 if count else 0)
        assert sorted(i for x in order for i in x.tolist()) == [*range(count)]
        assert all(x.dtype == np.int64 for x in order)
        again = ShuffledSampler(count, batch_size, seed).epoch(e)
        assert all(np.array_equal(a, b) for a, b in zip(order, again, strict=True))

    def test_seed_and_epoch_change_the_order(self):
        def order(seed, e):
            return np.concatenate(ShuffledSampler(100, 7, seed).epoch(e)).tolist()

        assert len({tuple(order(seed, e)) for seed in range(4) for e in range(4)}) == 16
        assert order(0, 0) != [*range(100)]


def faces_of(images: np.ndarray, bonafide: np.ndarray) -> Faces:
    """Faces of the domains 0, 1, 2 in turn and of recordings of two frames each."""
    text, number = np.full(len(images), "C"), np.arange(len(images))
    present = np.ones((len(images), 3), bool)
    return Faces(images, present, bonafide, text, text, text, text, number % 3, number // 2, "")


class TestBatches:
    @given(st.integers(0, 2**32 - 1), st.integers(1, 5), st.integers(1, 4))
    def test_content(self, seed, batch, steps):
        rng = np.random.default_rng(seed)
        images = rng.integers(0, 256, (9, 5, 4, 4), dtype=np.uint8)
        faces = faces_of(images, rng.random(9) < 0.5)
        order = rng.integers(0, 9, (steps, batch))
        for device in DEVICES:
            found = list(batches(faces, order, device))
            assert len(found) == steps
            for rows, piece in zip(order, found, strict=True):
                expected = (images[rows].astype(np.float64) - 127.5) / 127.5
                for tensor, planes in zip(piece.images, ([0, 1, 2], [3, 3, 3], [4, 4, 4]), strict=True):
                    assert tensor.device.type == device
                    assert tensor.dtype == torch.float32
                    assert tensor.is_contiguous()
                    np.testing.assert_allclose(tensor.cpu().numpy(), expected[:, planes], atol=1e-6)
                assert len(piece) == len(rows)
                assert piece.label.dtype == torch.float32
                assert piece.label.tolist() == (~faces.bonafide[rows]).astype(float).tolist()
                assert piece.bonafide.dtype == torch.int64
                assert piece.bonafide.tolist() == faces.bonafide[rows].tolist()
                facts = {"domain": rows % 3, "recording": rows // 2, "rows": rows}
                for name, values in facts.items():
                    assert getattr(piece, name).device.type == device
                    assert getattr(piece, name).dtype == torch.int64
                    assert getattr(piece, name).tolist() == values.tolist()

    @given(st.sets(st.integers(0, 8), min_size=1), st.lists(st.integers(-1, 9), min_size=1, max_size=4))
    @example({8}, [8])
    @example({0, 8}, [4])
    def test_a_row_that_was_not_decoded_is_no_black_image_but_an_error(self, decoded, wanted):
        images = np.ones((9, 5, 2, 2), np.uint8)
        faces = dataclasses.replace(faces_of(images, np.ones(9, bool)), rows=np.array(sorted(decoded)))
        if set(wanted) <= decoded:
            assert len(next(batches(faces, [np.array(wanted)], "cpu"))) == len(wanted)
        else:
            with pytest.raises(ValueError, match="a batch names rows"):
                next(batches(faces, [np.array(wanted)], "cpu"))

    @given(st.integers(0, 2**32 - 1), st.sampled_from(["", "R", "D", "I", "DI", "RDI"]))
    def test_named_modalities_are_black_in_every_sample(self, seed, missing):
        images = np.random.default_rng(seed).integers(1, 256, (4, 5, 3, 3), dtype=np.uint8)
        faces = faces_of(images, np.ones(4, bool))
        order = np.array([[3, 0, 2]])
        (whole,) = batches(faces, order, "cpu")
        lost = whole.without(missing, BLACK)
        for name, before, after in zip("RDI", whole.images, lost.images, strict=True):
            assert torch.equal(after, torch.full_like(after, -1) if name in missing else before)
        assert images.min() > 0  # the file itself is left as it is

    @given(st.integers(0, 2**32 - 1), st.sampled_from(["", "D", "DI"]), st.sampled_from([BLACK, GREY]))
    @example(0, "", GREY)
    def test_what_a_sample_never_had_is_fed_as_what_is_taken_away(self, seed, missing, nothing):
        rng = np.random.default_rng(seed)
        present = rng.random((4, 3)) < 0.5
        images = rng.integers(1, 256, (4, 5, 3, 3), dtype=np.uint8)
        images *= np.repeat(present, [3, 1, 1], axis=1)[:, :, None, None]
        faces = dataclasses.replace(faces_of(images, np.ones(4, bool)), present=present)
        (whole,) = batches(faces, [np.arange(4)], "cpu", nothing=nothing)
        batch = whole.without(missing, nothing)
        for place, (modality, found) in enumerate(zip("RDI", batch.images, strict=True)):
            gone = ~present[:, place] | (modality in missing)
            expected = (images[:, [[0, 1, 2], [3] * 3, [4] * 3][place]].astype(np.float64) - 127.5) / 127.5
            expected[gone] = nothing
            np.testing.assert_allclose(found.numpy(), expected, atol=1e-6)

    def test_without_pixels_only_the_facts_come(self):
        images = np.random.default_rng(0).integers(0, 256, (9, 5, 4, 4), dtype=np.uint8)
        faces, order = faces_of(images, np.arange(9) % 2 == 0), np.array([[1, 4, 8], [0, 3, 7]])
        pairs = zip(batches(faces, order, "cpu"), batches(faces, order, "cpu", pixels=False), strict=True)
        for whole, bare in pairs:
            assert all(x.shape == (3, 3, 0, 0) for x in bare.images)
            for name in ("label", "domain", "recording", "rows"):
                assert torch.equal(getattr(whole, name), getattr(bare, name))

    @given(st.integers(0, 2**32 - 1), st.integers(1, 8), st.data())
    def test_a_piece_of_a_batch_is_its_samples(self, seed, n, data):
        g = torch.Generator().manual_seed(seed)
        images = [torch.randn(n, 3, 2, 2, generator=g) for _ in range(3)]
        numbers = [torch.randint(5, (n,), generator=g) for _ in range(3)]
        batch = Batch(*images, torch.randint(2, (n,), generator=g).float(), *numbers, progress=0.25)
        places = data.draw(st.lists(st.integers(0, n - 1), max_size=2 * n))
        for at in (torch.tensor(places, dtype=torch.long), slice(1, None)):
            piece = batch[at]
            assert piece.progress == 0.25
            for field in dataclasses.fields(Batch):
                if field.name != "progress":
                    assert torch.equal(getattr(piece, field.name), getattr(batch, field.name)[at])
            assert len(piece) == len(batch.rows[at])

    def test_a_missing_modality_is_black(self, tmp_path):
        faces = open_faces(small(tmp_path), SIDE, tmp_path / "cache", 1)
        (batch,) = batches(faces, np.array([[1, 0]]), "cpu")
        assert (batch.depth[0] == -1).all()
        assert (batch.depth[1] != -1).any()

    @pytest.mark.parametrize("rows", [[0, 9], [-1, 0], []])
    def test_rows_that_are_not_there(self, rows):
        faces = faces_of(np.zeros((9, 5, 2, 2), np.uint8), np.ones(9, bool))
        with pytest.raises(ValueError, match="rows outside 0 … 8"):
            next(batches(faces, np.array([rows], np.int64), "cpu"))

    def test_one_batch_ahead_and_no_more(self):
        faces = faces_of(np.zeros((9, 5, 2, 2), np.uint8), np.ones(9, bool))
        taken = []

        def order():
            for i in range(5):
                taken.append(i)
                yield np.array([i])

        stream = batches(faces, order(), "cpu")
        assert taken == [0]
        next(stream)
        assert taken == [0, 1]
        assert sum(1 for _ in stream) == 4
        with pytest.raises(StopIteration):
            next(stream)

    def test_waiting_is_counted_and_hidden_behind_the_work(self, monkeypatch):
        original = Batches._gather

        def slow(self, rows):
            time.sleep(0.05)
            return original(self, rows)

        monkeypatch.setattr(Batches, "_gather", slow)
        faces = faces_of(np.zeros((9, 5, 2, 2), np.uint8), np.ones(9, bool))
        idle = batches(faces, np.zeros((6, 1), np.int64), "cpu")
        for _ in idle:
            pass
        assert idle.waited >= 0.29
        busy = batches(faces, np.zeros((6, 1), np.int64), "cpu")
        for _ in busy:
            time.sleep(0.15)
        assert busy.waited < 0.5 * idle.waited


def test_an_image_of_zeros_counts_as_a_missing_modality(tmp_path: Path) -> None:
    path = miniature.write_index(tmp_path, subjects=2, frames=1, sets="C")
    lost = tmp_path / "C" / "s1-attack" / "ir-0000.png"
    Image.fromarray(np.zeros((miniature.SIDE, miniature.SIDE), np.uint8)).save(lost)
    faces = open_faces(load_index(path), 16, tmp_path / "cache")
    assert faces.missing_report() == {"C": {"rgb": 0, "depth": 0, "ir": 1}}
    assert faces.sample_id[np.flatnonzero(~faces.present[:, 2])].tolist() == ["C/s1-attack/0"]
    again = open_faces(load_index(path), 16, tmp_path / "cache")
    np.testing.assert_array_equal(again.present, faces.present)


@settings(max_examples=15)
@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7), zeroed=st.booleans())
@example(place=0.5, bit=0, zeroed=True)
def test_damaged_pixels_are_never_fed(damageable, tmp_path_factory, place, bit, zeroed):
    index, sound = damageable
    kept = tmp_path_factory.mktemp("cache")
    path = Path(open_faces(index, 32, kept, 1).images.filename)
    data = bytearray(path.read_bytes())
    at = int(place * len(data))
    row = at // (5 * 32 * 32)
    if zeroed:
        data[row * 5 * 1024 : (row + 1) * 5 * 1024] = bytes(5 * 1024)
    else:
        data[at] ^= 1 << bit
    path.write_bytes(data)
    faces = open_faces(index, 32, kept, 1)
    name = faces.sample_id[row]
    with pytest.raises(BadInput, match=f"{path.name}: damaged at the images of {name}; delete this file"):
        list(batches(faces, [np.array([row])], "cpu"))
    with pytest.raises(BadInput, match="damaged"):
        faces.planes(np.array([row]))
    path.unlink()
    again = open_faces(index, 32, kept, 1)
    assert np.array_equal(again.planes(np.arange(len(sound))), sound)


@pytest.fixture(scope="module")
def damageable(tmp_path_factory):
    folder = tmp_path_factory.mktemp("damageable")
    index = load_index(miniature.write_index(folder, subjects=2, frames=1, sets="C"))
    return index, open_faces(index, 32, folder / "cache", 1).planes(np.arange(len(index.rows)))


def test_a_row_is_proved_once(damageable, monkeypatch):
    index, _ = damageable
    faces = open_faces(index, 32, Path(index.path).parent.parent / "cache", 1)
    found = []
    monkeypatch.setattr(cache, "_checksum", lambda *_: found.append(1) or 0)
    rows = np.array([0, 1])
    with pytest.raises(BadInput):
        faces.planes(rows)
    assert len(found) == 1
    monkeypatch.undo()
    faces.planes(rows)
    monkeypatch.setattr(cache, "_checksum", lambda *_: found.append(1) or 0)
    faces.planes(rows)
    assert len(found) == 1
