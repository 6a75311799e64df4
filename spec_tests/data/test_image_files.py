"""Pictures as people have them: each is decoded to what a second decoder (torchvision's) reads, or refused by name."""

import io
import struct
import zlib

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torchvision.io import ImageReadMode, decode_image

from data_manifests import decode
from data_manifests.errors import BadInput
from data_manifests.index import Reference

HEIGHT, WIDTH = 12, 20


def noise(seed, *shape, dtype=np.uint8):
    return np.random.default_rng(seed).integers(0, np.iinfo(dtype).max + 1, shape, dtype=dtype)


def smooth(seed, height=HEIGHT, width=WIDTH):
    """A picture (H, W, 3) whose colours change slowly, so that a decoder's way with chroma matters little."""
    return np.asarray(Image.fromarray(noise(seed, 3, 3, 3)).resize((width, height), Image.Resampling.BICUBIC))


def saved(path, image, **options):
    image.save(path, **options)
    return path


def read(path, modality):
    """The planes (C, H, W), and the shape that an index gives the file."""
    (planes,) = decode.raw(path.parent, [(Reference(path.name), modality)])
    return planes, decode.image_shape(path, path.name, modality)


def second(path, mode):
    """The same file by another decoder (C, H, W)."""
    return decode_image(torch.frombuffer(bytearray(path.read_bytes()), dtype=torch.uint8), mode).numpy()


def png16(path, pixels):
    """A PNG file of 16 bits a channel (H, W, C), written by the standard's rules, whatever Pillow can write."""
    height, width, channels = pixels.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    header = struct.pack(">IIBBBBB", width, height, 16, {1: 0, 2: 4, 3: 2, 4: 6}[channels], 0, 0, 0)

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    content = (chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b""))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(content))
    return path


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "PA", "RGB", "RGBA"])
@pytest.mark.parametrize("modality", ["rgb", "depth"])
def test_every_png_of_8_bits(tmp_path, mode, modality):
    picture = Image.fromarray(noise(1, HEIGHT, WIDTH, 4), "RGBA").convert("RGB" if mode == "P" else "RGBA")
    if mode == "PA":
        path = saved(tmp_path / "a.png", picture.convert("RGB").convert("P"), transparency=3)
    else:
        path = saved(tmp_path / "a.png", picture.convert(mode))
    planes, shape = read(path, modality)
    expected = second(path, ImageReadMode.RGB)
    if modality == "depth":  # luminance of ITU-R 601
        weights = np.array([0.299, 0.587, 0.114])[:, None, None]
        expected = (expected * weights).sum(0, keepdims=True)
    assert shape == f"{HEIGHT}x{WIDTH}:uint8"
    assert planes.shape == ((3 if modality == "rgb" else 1), HEIGHT, WIDTH)
    assert np.abs(planes - expected).max() <= 1


@pytest.mark.parametrize("grey", [False, True])
@pytest.mark.parametrize("modality", ["rgb", "ir"])
def test_jpeg_grey_as_colour_and_colour_as_grey(tmp_path, grey, modality):
    picture = Image.fromarray(smooth(2)).convert("L" if grey else "RGB")
    path = saved(tmp_path / "a.jpg", picture, quality=95, subsampling=0)
    planes, _ = read(path, modality)
    expected = second(path, ImageReadMode.RGB if modality == "rgb" else ImageReadMode.GRAY)
    assert np.abs(planes.astype(int) - expected).max() <= 2


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("name", ["a.jpg", "a.png"])
def test_a_rotated_photograph_is_turned(tmp_path, orientation, name):
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"quality": 100, "subsampling": 0} if name.endswith("jpg") else {}
    path = saved(tmp_path / name, Image.fromarray(smooth(3)), exif=exif, **options)
    planes, shape = read(path, "rgb")
    turns = {1: lambda a: a, 2: lambda a: a[:, :, ::-1], 3: lambda a: a[:, ::-1, ::-1], 4: lambda a: a[:, ::-1],
             5: lambda a: a.transpose(0, 2, 1), 6: lambda a: a.transpose(0, 2, 1)[:, :, ::-1],
             7: lambda a: a[:, ::-1, ::-1].transpose(0, 2, 1), 8: lambda a: a.transpose(0, 2, 1)[:, ::-1]}  # fmt: skip
    expected = turns[orientation](smooth(3).transpose(2, 0, 1).astype(int))
    assert planes.shape == expected.shape
    assert np.abs(planes - expected).max() <= 4
    assert shape == f"{expected.shape[1]}x{expected.shape[2]}:uint8"


class TestSixteenBits:
    def test_grey_keeps_its_counts_in_their_byte_order(self, tmp_path):
        counts = noise(4, HEIGHT, WIDTH, 1, dtype=np.uint16)
        path = png16(tmp_path / "a.png", counts)
        planes, shape = read(path, "ir")
        assert np.array_equal(planes[0], counts[..., 0])
        assert np.array_equal(planes, second(path, ImageReadMode.UNCHANGED))
        assert shape == f"{HEIGHT}x{WIDTH}:uint16"

    @pytest.mark.parametrize(("channels", "modality"), [(1, "rgb"), (3, "rgb"), (4, "rgb"), (2, "ir"), (3, "depth")])
    def test_anything_else_is_refused_by_name(self, tmp_path, channels, modality):
        path = png16(tmp_path / "deep.png", noise(5, HEIGHT, WIDTH, channels, dtype=np.uint16))
        for refusing in (lambda: read(path, modality), lambda: decode.image_shape(path, path.name, modality)):
            with pytest.raises(BadInput, match=r"^deep\.png: has channels of 16 bits, .*; convert it to 8 bits"):
                refusing()


@pytest.mark.parametrize("modality", ["rgb", "ir"])
def test_cmyk_is_refused_by_name(tmp_path, modality):
    path = saved(tmp_path / "press.jpg", Image.fromarray(smooth(6)).convert("CMYK"))
    with pytest.raises(BadInput, match=r"^press\.jpg: is a CMYK image, .*; convert it to RGB"):
        read(path, modality)


def test_floats_of_another_byte_order_are_refused_and_black_is_not():
    right = np.full((1, 2, 2), 0.5, np.float32)
    with pytest.raises(BadInput, match="x: holds no value that 8 bits can show"):
        decode.to_8bit(right.byteswap(), "depth", "unit_float", "x")
    assert decode.to_8bit(right.astype(">f4"), "depth", "unit_float", "x").tolist() == [[[128, 128], [128, 128]]]
    assert not decode.to_8bit(np.zeros((1, 2, 2), np.float32), "depth", "unit_float", "x").any()


pytestmark = pytest.mark.filterwarnings("ignore:The image decoding and encoding")


def jpeg(seed, **options):
    rng = np.random.default_rng(seed)
    height, width = rng.integers(1, 80, 2)
    picture = Image.fromarray(smooth(seed, height, width) if rng.random() < 0.5 else noise(seed, height, width, 3))
    out = io.BytesIO()
    picture.convert("L" if rng.random() < 0.3 else "RGB").save(out, "JPEG", **options)
    return out.getvalue()


class TestIntactJpeg:
    @given(
        st.integers(0, 2**32 - 1), st.integers(1, 100), st.integers(0, 2), st.booleans(), st.booleans(),
        st.sampled_from([{}, {"restart_marker_blocks": 3}]), st.binary(max_size=9),
    )  # fmt: skip
    def test_a_sound_one_passes(self, tmp_path_factory, seed, quality, chroma, optimize, progressive, more, trail):
        data = jpeg(seed, quality=quality, subsampling=chroma, optimize=optimize, progressive=progressive, **more)
        path = tmp_path_factory.getbasetemp() / "sound.jpg"
        path.write_bytes(data + trail)  # cameras write behind the end marker
        assert decode.damage_of_image(path) == ""
        assert read(path, "rgb")[0].shape[0] == 3

    @given(st.integers(0, 2**32 - 1), st.floats(0.1, 0.9), st.booleans())
    def test_zeros_in_its_last_part_are_refused(self, tmp_path_factory, seed, share, progressive):
        data = jpeg(seed, quality=90, progressive=progressive)
        begin = decode.jpeg_scans(data)[0][0][0]
        keep = begin + int(share * (len(data) - begin - 2))
        path = tmp_path_factory.getbasetemp() / "zeros.jpg"
        path.write_bytes(data[:keep] + bytes(len(data) - keep))
        with pytest.raises(BadInput, match=r"^zeros\.jpg: the image is damaged or cut short"):
            read(path, "rgb")

    def test_a_thumbnail_s_end_is_not_the_picture_s(self, tmp_path):
        data = jpeg(7, quality=90, exif=b"Exif\0\0II*\0\x08\0\0\0\0\0" + jpeg(8, quality=50))
        path = tmp_path / "a.jpg"
        path.write_bytes(data[:-40] + bytes(40))
        with pytest.raises(BadInput, match="no end marker"):
            read(path, "rgb")

    def test_most_blocks_of_zeros_in_its_middle_are_found(self, tmp_path):
        found = []
        for seed in range(60):
            data = bytearray(jpeg(seed, quality=90))
            begin, end = decode.jpeg_scans(bytes(data))[0][0]
            if end - begin > 400:
                middle = (begin + end) // 2
                data[middle : middle + 100] = bytes(100)
                (tmp_path / "a.jpg").write_bytes(data)
                found.append(decode.damage_of_image(tmp_path / "a.jpg") != "")
        assert sum(found) > 0.6 * len(found) > 20

    def test_a_png_with_one_wrong_bit_is_found(self, tmp_path):
        path = saved(tmp_path / "a.png", Image.fromarray(noise(9, HEIGHT, WIDTH, 3)))
        assert decode.damage_of_image(path) == ""
        data = bytearray(path.read_bytes())
        data[data.index(b"IEND") - 6] ^= 1  # in the checksum of the pixels
        path.write_bytes(data)
        assert decode.damage_of_image(path) != ""
