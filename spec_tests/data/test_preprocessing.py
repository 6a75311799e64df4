"""Preprocessing against hand-worked numbers and oracles in plain Python floats that share nothing with it."""

import math
import statistics

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image

from data_manifests import decode
from data_manifests import preprocessing as pre
from data_manifests.index import parse_reference
from spec_tests.support import trees

seeds = st.integers(0, 2**32 - 1)


def noise(seed: int, *shape: int, high: int = 256, dtype: type = np.uint8) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, high, shape).astype(dtype)


class TestEightBit:
    """MAD, standard deviation and range: to 8 bit, holes (values up to 1) left out."""

    def test_mad_by_hand(self):
        # measured 2 4 6 8 20: median 6, deviations 4 2 0 2 14, mad 2; y = 255 (x − 6 + 6) / 12 = 21.25 x
        x = np.array([0, 1, 2, 4, 6, 8, 20], np.uint16)
        assert decode.mad_to_8bit(x).tolist() == [0, 0, 42, 85, 127, 170, 255]

    def test_std_by_hand(self):
        # measured 2 4 6: mean 4, population variance 8/3, s = 1.633; y = 255 (x − 4 + 4.899) / 9.798
        assert pre.std_to_8bit(np.array([0, 2, 4, 6], np.uint16)).tolist() == [0, 75, 127, 179]

    def test_minmax_by_hand(self):
        # measured 10 … 20: y = 25.5 (x − 10)
        assert pre.minmax_to_8bit(np.array([1, 10, 12, 20], np.uint16)).tolist() == [0, 0, 51, 255]

    @given(st.lists(st.integers(0, 65535), min_size=1, max_size=30), st.sampled_from(["mad", "std", "minmax"]))
    @example([5, 5, 5], "mad")
    @example([5, 5, 5, 5, 9], "mad")
    @example([0, 1, 0], "mad")
    def test_against_plain_floats(self, values, kind):
        measured = [float(v) for v in values if v > 1]
        if not measured:
            expected = [0.0] * len(values)
        elif kind == "minmax":
            low, high = min(measured), max(measured)
            expected = [127.5 if high == low else 255 * (v - low) / (high - low) for v in values]
        else:
            m = statistics.median(measured) if kind == "mad" else math.fsum(measured) / len(measured)
            spread = statistics.median(abs(v - m) for v in measured) if kind == "mad" else statistics.pstdev(measured)
            spread = spread or 1.0
            expected = [255 * (v - m + 3 * spread) / (6 * spread) for v in values]
        result = pre.TO_8BIT[kind](np.array(values, np.uint16))
        assert result.dtype == np.uint8
        for value, y, got in zip(values, expected, result, strict=True):
            y = 0.0 if value <= 1 else min(max(y, 0.0), 255.0)
            assert y - 1 - 1e-6 < got <= y + 1e-6  # cut to whole numbers

    @pytest.mark.parametrize("kind", pre.TO_8BIT)
    def test_the_degenerate_cases(self, kind):
        flat = np.full((4, 4), 500, np.uint16)
        assert (pre.TO_8BIT[kind](flat) == 127).all()  # mad, s or range = 0: mid-grey, no division by zero
        flat[0, 0] = 0
        assert pre.TO_8BIT[kind](flat)[0, 0] == 0  # a hole stays a hole
        for holes in (0, 1):
            assert not pre.TO_8BIT[kind](np.full((4, 4), holes, np.uint16)).any()

    def test_mad_of_a_flat_scene_counts_sensor_steps(self):
        # mad 0 is taken as one step: 3 steps above the median is white, 3 below black
        x = np.array([500] * 9 + [501, 503, 504, 497], np.uint16)
        assert decode.mad_to_8bit(x).tolist()[-5:] == [127, 170, 255, 255, 0]

    def test_mad_is_of_the_shape_not_the_place(self):
        x = noise(1, 5, 7, high=60000, dtype=np.uint16)
        assert np.array_equal(decode.mad_to_8bit(x).ravel(), decode.mad_to_8bit(x.ravel()))

    def test_ceil_differs_from_rounding(self):
        x = np.array([0.0, 0.1, 0.5, 1.0])
        assert pre.unit_to_8bit_ceil(x).tolist() == [0, 26, 128, 255]  # 255 · 0.1 = 25.5, 255 · 0.5 = 127.5
        assert pre.unit_to_8bit_ceil(np.array([0.001])).tolist() == [1]
        assert decode.unit_to_8bit(np.array([0.001])).tolist() == [0]
        with pytest.raises(ValueError, match="outside 0 … 1"):
            pre.unit_to_8bit_ceil(np.array([np.nan]))


def framed(height: int, width: int, top: int, bottom: int, left: int, right: int, value: int = 9) -> np.ndarray:
    planes = np.zeros((3, height, width), np.uint8)
    planes[:, top:bottom, left:right] = value
    return planes


class TestBorders:
    def test_the_box_holds_every_lit_pixel_and_no_more(self):
        planes = np.zeros((3, 6, 8), np.uint8)
        planes[0, 1, 5] = planes[2, 4, 2] = 1
        assert pre.content_box(planes) == (1, 5, 2, 6)
        assert pre.content_box(planes, above=1) is None
        assert pre.content_box(framed(4, 5, 0, 4, 0, 5)) == (0, 4, 0, 5)

    def test_as_released_the_last_row_and_column_are_lost(self):
        """The off-by-one of the released script: the index of the last lit row is used as the slice's end."""
        planes = framed(10, 12, 2, 8, 3, 9)
        cropped = pre.remove_black_borders_released(planes)
        assert cropped.shape == (3, 5, 5)
        (registered,) = pre.remove_black_borders([planes])
        assert registered.shape == (3, 6, 6)
        assert np.array_equal(cropped, registered[:, :-1, :-1])

    def test_as_released_an_all_black_image_stops_it(self):
        black = np.zeros((1, 4, 4), np.uint8)
        with pytest.raises(ValueError, match="all-black"):
            pre.remove_black_borders_released(black)
        (image,) = pre.remove_black_borders([black])
        assert np.array_equal(image, black)

    def test_as_released_modalities_lose_their_registration_and_one_box_keeps_it(self):
        """A point marked in all modalities lies at one place afterwards, unless each is cropped by itself."""
        rgb, depth = framed(20, 20, 2, 18, 2, 18), framed(20, 20, 6, 14, 4, 12)[:1]
        rgb[:, 10, 8], depth[:, 10, 8] = 255, 255

        def mark(planes):
            return tuple(int(i) for i in np.argwhere(planes[0] == 255)[0])

        released = [pre.remove_black_borders_released(x) for x in (rgb, depth)]
        assert mark(released[0]) == (8, 6)
        assert mark(released[1]) == (4, 4)
        registered = pre.remove_black_borders([rgb, depth])
        assert mark(registered[0]) == mark(registered[1]) == (8, 6)
        assert registered[1].shape == (1, 16, 16)

    @given(seeds, st.integers(1, 4), st.integers(4, 9), st.integers(4, 9))
    def test_one_box_of_images_of_different_sizes(self, seed, factor, height, width):
        """An image enlarged by a whole factor is cropped to the enlarged crop, and no lit pixel is lost."""
        rng = np.random.default_rng(seed)
        top, left = int(rng.integers(0, height)), int(rng.integers(0, width))
        bottom, right = int(rng.integers(top, height)) + 1, int(rng.integers(left, width)) + 1
        small = framed(height, width, top, bottom, left, right)
        large = small.repeat(factor, axis=1).repeat(factor, axis=2)
        cropped = pre.remove_black_borders([large, small, np.zeros((1, 3, 3), np.uint8)])
        assert cropped[0].shape == (3, factor * (bottom - top), factor * (right - left))
        assert cropped[1].shape == (3, bottom - top, right - left)
        assert cropped[0].all()
        assert cropped[1].all()
        assert cropped[2].size

    def test_boxes_are_rounded_outwards(self):
        """Rows 3 … 6 of 10 are the shares 0.3 … 0.7, of 7 rows 2.1 … 4.9: rows 2, 3 and 4."""
        large, small = framed(10, 10, 3, 7, 3, 7), np.zeros((1, 7, 7), np.uint8)
        small[0, 3, 3] = 1
        cropped = pre.remove_black_borders([large, small])
        assert [x.shape for x in cropped] == [(3, 4, 4), (1, 3, 3)]
        assert cropped[1][0, 1, 1] == 1

    def test_noise_of_jpg_in_the_border_is_no_content(self):
        planes = framed(20, 20, 5, 15, 5, 15, value=200)
        planes[0, 0, 0] = planes[1, 19, 19] = 3
        assert pre.remove_black_borders([planes])[0].shape == (3, 20, 20)
        assert pre.remove_black_borders([planes], above=3)[0].shape == (3, 10, 10)

    @given(seeds, st.integers(1, 9), st.integers(1, 9))
    def test_square_pad(self, seed, height, width):
        planes = noise(seed, 3, height, width)
        padded = pre.square_pad(planes)
        side = max(height, width)
        assert padded.shape == (3, side, side)
        top, left = (side - height) // 2, (side - width) // 2
        assert np.array_equal(padded[:, top : top + height, left : left + width], planes)
        assert padded.sum(dtype=int) == planes.sum(dtype=int)
        assert 0 <= (side - height - top) - top <= 1
        assert 0 <= (side - width - left) - left <= 1


class TestResize:
    def test_by_hand(self):
        # two pixels to four: centres at −0.25, 0.25, 0.75, 1.25 → 0, ¼, ¾, 1
        row = np.array([[[0, 100], [0, 100]]], np.uint8)
        assert decode.resize_plain(row, 4)[0, 0].tolist() == [0, 25, 75, 100]
        # four to two: centres at 0.5 and 2.5, halfway between two neighbours; the others have no say (no antialiasing)
        assert decode.resize_plain(np.array([[[0, 10, 200, 50]] * 4], np.uint8), 2)[0, 0].tolist() == [5, 125]
        assert decode.resize_plain(np.array([[[7]]], np.uint8), 3).tolist() == [[[7] * 3] * 3]

    @given(seeds, st.integers(1, 7), st.integers(1, 7), st.integers(1, 9))
    def test_against_a_loop_over_pixels(self, seed, height, width, size):
        planes = noise(seed, 1, height, width)
        result = decode.resize_plain(planes, size)[0]
        for i in range(size):
            for j in range(size):
                y = min(max((i + 0.5) * height / size - 0.5, 0), height - 1)
                x = min(max((j + 0.5) * width / size - 0.5, 0), width - 1)
                total = 0.0
                for r in range(height):
                    for c in range(width):
                        total += max(0, 1 - abs(r - y)) * max(0, 1 - abs(c - x)) * float(planes[0, r, c])
                assert abs(float(result[i, j]) - total) <= 0.5 + 1e-6

    def test_without_antialiasing_is_another_image(self):
        line = np.zeros((1, 30, 30), np.uint8)
        line[:, :, 4] = 255  # the first of three output pixels lies at 4.5, between this column and the next
        assert decode.resize_plain(line, 3)[0, 0].tolist() == [128, 0, 0]
        assert 0 < decode.resize(line, 3)[0, 0, 0] < 60

    def test_centre(self):
        planes = noise(5, 3, 9, 8)
        assert np.array_equal(pre.centre(planes, 4), planes[:, 2:6, 2:6])


class TestValues:
    @pytest.mark.parametrize(
        ("values", "low", "middle", "high"),
        [
            (pre.signed_unit, -1.0, 1 / 255, 1.0),
            (pre.flex_values, -127.5 / 128, 0.5 / 128, 127.5 / 128),
            (pre.unit, 0.0, 128 / 255, 1.0),
        ],
    )
    def test_by_hand(self, values, low, middle, high):
        result = values(np.array([[[0, 128, 255]]], np.uint8))
        assert result.dtype == np.float32
        assert result[0, 0].tolist() == pytest.approx([low, middle, high], abs=1e-7)

    def test_clip(self):
        black = pre.clip_values(np.zeros((3, 1, 1), np.uint8)).ravel()
        assert black.tolist() == pytest.approx([-1.7922625, -1.7520971, -1.4802198], abs=1e-5)
        white = pre.clip_values(np.full((3, 1, 1), 255, np.uint8)).ravel()
        assert white.tolist() == pytest.approx([1.9303361, 2.0748838, 2.1458969], abs=1e-5)
        with pytest.raises(ValueError, match="3 channels, not 1"):
            pre.clip_values(np.zeros((1, 1, 1), np.uint8))


def triplet(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Three images of different sizes with black borders of 2 pixels."""
    images = [noise(seed + i, *shape, high=255) + np.uint8(1) for i, shape in enumerate([(3, 20, 16), (1, 14, 12)])]
    images.append(noise(seed + 2, 1, 10, 8, high=255) + np.uint8(1))
    rgb, depth, ir = (np.pad(x, ((0, 0), (2, 2), (2, 2))) for x in images)
    return rgb, depth, ir


def plain_resize(planes: np.ndarray, size: int) -> np.ndarray:
    """Bilinear by Pillow's affine transform, an implementation that shares nothing with ours."""
    _, height, width = planes.shape
    padded = np.pad(planes, ((0, 0), (1, 1), (1, 1)), mode="edge")
    matrix = (width / size, 0, 1, 0, height / size, 1)
    out = []
    for plane in padded:
        image = Image.fromarray(plane.astype(np.float32))
        out.append(np.asarray(image.transform((size, size), Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR)))
    return np.stack(out)


class TestPipelines:
    @pytest.mark.parametrize("name", pre.PIPELINES)
    def test_three_images_of_the_stated_size(self, name):
        pipeline = pre.PIPELINES[name]
        outputs = pipeline(*triplet(3))
        for x in outputs:
            assert x.shape == (3, pipeline.size, pipeline.size)
            assert x.dtype == np.float32
            assert np.isfinite(x).all()
        if pipeline.values is not pre.clip_values:
            for x in outputs[1:]:
                assert np.array_equal(x[0], x[1])
                assert np.array_equal(x[0], x[2])
        assert pipeline.source

    @pytest.mark.parametrize(
        ("names", "size", "low", "high"),
        [
            (("mmfas",), 224, -1.0, 1.0),
            (("mmda_paper",), 224, -1.7922625, 2.1458969),
            (("flex_modal", "mmdg", "dadm", "mmda_code"), 224, -127.5 / 128, 127.5 / 128),
            (("dadm_borders", "dadm_borders_registered", "mmda_code_borders"), 224, -127.5 / 128, 127.5 / 128),
            (("casia_surf_baseline", "cefa_baseline", "ca_mmdg", "facebagnet", "cefa_winner"), 112, 0.0, 1.0),
            (("mc_cnn",), 128, 0.0, 1.0),
            (("cmfl", "feathernets", "fm_vit"), 224, 0.0, 1.0),
        ],
    )
    def test_size_and_range_are_the_tables(self, names, size, low, high):
        """Black and white images come out as the table's value normalisation has them."""
        for name in names:
            grey = [np.full((c, 9, 7), 255, np.uint8) for c in (3, 1, 1)]
            assert pre.PIPELINES[name].size == size
            for x in pre.PIPELINES[name](*grey):
                if name != "cefa_winner":  # whose padding is black
                    assert x.max() == pytest.approx(high)
            if "borders" not in name:
                for x in pre.PIPELINES[name](*(g * np.uint8(0) for g in grey)):
                    assert x.min() == pytest.approx(low)
        listed = {
            n for mark in type(self).test_size_and_range_are_the_tables.pytestmark for c in mark.args[1] for n in c[0]
        }
        assert listed == set(pre.PIPELINES)

    @pytest.mark.parametrize("name", ["flex_modal", "mmdg", "dadm", "mmda_code"])
    def test_flex_and_its_heirs(self, name):
        result = pre.PIPELINES[name](*triplet(1))
        for x, image in zip(result, triplet(1), strict=True):
            assert np.abs(x * 128 + 127.5 - plain_resize(image, 224)).max() <= 0.51

    def test_mmfas_is_what_this_project_trains_on(self, tmp_path):
        trees.jpg(tmp_path / "x.jpg", trees.COLOUR, (40, 24))
        image = Image.fromarray(noise(2, 40, 24, 3))
        image.save(tmp_path / "y.png")
        reference = parse_reference("y.png")
        (planes,) = decode.decode(tmp_path, [(reference, "rgb", "40x24:uint8", "")], 224)
        grey = np.zeros((1, 4, 4), np.uint8)
        result = pre.PIPELINES["mmfas"](np.asarray(image).transpose(2, 0, 1), grey, grey)[0]
        assert np.array_equal(result, (planes.astype(np.float32) - np.float32(127.5)) / np.float32(127.5))

    @pytest.mark.parametrize("name", ["dadm_borders", "mmda_code_borders"])
    def test_dadms_borders_as_released(self, name):
        result = pre.PIPELINES[name](*triplet(4))
        for x, image in zip(result, triplet(4), strict=True):
            assert np.abs(x * 128 + 127.5 - plain_resize(image[:, 2:-3, 2:-3], 224)).max() <= 0.51

    def test_one_box_for_all(self):
        rgb, _, ir = triplet(4)
        result = pre.PIPELINES["dadm_borders_registered"](rgb, np.ones((1, 24, 20), np.uint8), ir)
        assert np.abs(result[0] * 128 + 127.5 - plain_resize(rgb, 224)).max() <= 0.51

    def test_the_winners(self):
        rgb = triplet(6)[0]
        result = pre.PIPELINES["cefa_winner"](rgb, rgb[:1], rgb[:1])
        square = np.pad(rgb[:, 2:-2, 2:-2], ((0, 0), (0, 0), (2, 2)))
        assert np.abs(result[0] * 255 - plain_resize(square, 112)).max() <= 0.51

    def test_feathernets_takes_the_centre_of_256(self):
        ir = triplet(7)[2]
        result = pre.PIPELINES["feathernets"](*triplet(7))[2]
        assert np.abs(result * 255 - plain_resize(ir, 256)[:, 16:240, 16:240]).max() <= 0.51

    @pytest.mark.parametrize("name", ["mc_cnn", "cmfl"])
    def test_idiaps_take_sensor_counts(self, name):
        rgb, depth, _ = triplet(8)
        counts = noise(9, 1, 30, 30, high=60000, dtype=np.uint16)
        result = pre.PIPELINES[name](rgb, counts, depth)
        size = pre.PIPELINES[name].size
        assert np.abs(result[1] * 255 - plain_resize(decode.mad_to_8bit(counts), size)).max() <= 0.51
        assert np.abs(result[2] * 255 - plain_resize(depth, size)).max() <= 0.51

    def test_a_dropped_modality_before_and_after_normalisation_are_two_inputs(self):
        """Zero pixels are black, -1; zeros put in after the normalisation are mid-grey."""
        black = np.zeros((3, 4, 4), np.uint8)
        assert (pre.signed_unit(black) == -1).all()
        assert (pre.flex_values(black) == -127.5 / 128).all()
        grey = np.array([127, 128], np.uint8)
        assert np.abs(pre.signed_unit(grey)).max() < 0.004
