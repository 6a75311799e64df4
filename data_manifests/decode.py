"""From an image reference to 8-bit planes: read the image, check it against the index, convert and resize it.

Nothing here guesses: a file that is absent, empty, cut short, no image, of a kind that has no one reading (CMYK, colour
of 16 bits) or of another shape than in the index is a `BadInput`. A photograph is turned as its EXIF orientation says.
A message names the reference, never the folder itself, whose name holds personal data in raw copies of CeFA.
"""

import hashlib
import io
import struct
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from PIL import Image, ImageOps

from data_manifests import hdf5
from data_manifests.errors import BadInput
from data_manifests.index import Reference

IMAGE_FORMATS = ("JPEG", "PNG")
HOLE = 1  # sensor values up to this one mean "no measurement" (data-set sheet, section 6)

_DTYPES = {"1": "uint8", "L": "uint8", "P": "uint8", "RGB": "uint8", "RGBA": "uint8", "LA": "uint8"}
_DTYPES |= {"I;16": "uint16", "I;16B": "uint16", "I;16L": "uint16"}
_ORIENTATION, _SIDEWAYS = 0x0112, (5, 6, 7, 8)  # the EXIF tag, and its values that exchange height and width
_DARKEST = 1e-3  # floats 0 … 1 none of which reaches this, but that are not all 0, have another byte order
# Pillow raises these, by format and place, on bytes that are no complete image.
_BROKEN = (OSError, SyntaxError, ValueError, EOFError, IndexError, Image.DecompressionBombError)


def locate(root: Path, path: str) -> Path:
    """The file that a reference's path names.

    On disk a folder of the path may have a suffix `-…`: raw copies of CeFA name a subject's folder
    `EA-012-<birth date and sex>`, of which an index holds only `EA-012`.
    """
    full = root / path
    if full.exists():
        return full
    full = root
    for part in path.split("/"):
        if not (full / part).exists() and full.is_dir():
            longer = [p for p in full.iterdir() if p.name.startswith(f"{part}-")]
            if len(longer) == 1:
                full = longer[0]
                continue
        full = full / part
    return full


@contextmanager
def damage_as(sentence: str) -> Iterator[None]:
    """Turn any exception of h5py, zipfile or numpy into `BadInput` with `sentence`, whose `{}` is its message.

    On damaged bytes these libraries raise almost any exception (OSError, RuntimeError, KeyError,
    NotImplementedError, TokenError, zlib.error, MemoryError, …), so all of them are caught.
    """
    try:
        yield
    except BadInput:
        raise
    except Exception as e:
        raise BadInput(sentence.replace("{}", " ".join(str(e).split()))) from None


def shape_text(height: int, width: int, dtype: str | np.dtype) -> str:
    """`HxW:dtype`, as the index's `*_shape` columns hold it."""
    return f"{height}x{width}:{dtype if isinstance(dtype, str) else dtype.name}"


def _open_image(path: Path, name: str) -> Image.Image:
    hdf5.regular(path, name)
    try:
        return Image.open(path, formats=IMAGE_FORMATS)
    except _BROKEN as e:
        if isinstance(e, OSError) and e.errno is not None:
            raise BadInput(f"{name}: cannot be read ({e.strerror}); check the disk and the permissions") from None
        what = "is empty (0 bytes)" if path.stat().st_size == 0 else "is not a JPEG or PNG image"
        raise BadInput(f"{name}: {what}; copy it again from the original") from None


def image_shape(path: Path, name: str, modality: str) -> str:
    """`HxW:dtype` of an image file as it is turned, from its header alone; messages call it `name`. Raises `BadInput`
    without one, and for an image that cannot be read as `modality`."""
    with _open_image(path, name) as image:
        _refuse_kind(image, name, modality == "rgb")
        sides = (image.width, image.height) if _orientation(image) in _SIDEWAYS else (image.height, image.width)
        return shape_text(*sides, _DTYPES[image.mode])


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(_ORIENTATION, 1)) if "exif" in image.info else 1
    except (*_BROKEN, TypeError, KeyError, struct.error):  # an EXIF block that is damaged says nothing
        return 1


def _refuse_kind(image: Image.Image, name: str, colour: bool) -> None:
    """Raise `BadInput` where 8 bits of colour or one plane of grey cannot be read without a guess."""
    if image.mode not in _DTYPES:
        raise BadInput(f"{name}: is a {image.mode} image, whose colours depend on a profile; convert it to RGB or grey")
    deep = "16B" in str(getattr(image, "tile", ""))  # the form in which Pillow finds the pixels in the file
    if deep and (colour or _DTYPES[image.mode] != "uint16"):
        kind = "colour" if colour else "grey of one channel"
        raise BadInput(f"{name}: has channels of 16 bits, which cannot be read as {kind}; convert it to 8 bits")


def is_planes(array: object, axes: int) -> bool:
    """Whether this is an HDF5 array of numbers with `axes` axes, none of them empty."""
    return isinstance(array, h5py.Dataset) and array.ndim == axes and array.size > 0 and array.dtype.kind in "uif"


def npz_shape(path: Path, key: str, name: str) -> tuple[tuple[int, ...], np.dtype]:
    """Shape and dtype of one array of an .npz file, from its header alone; objects (pickles) are refused."""
    hdf5.regular(path, name)
    with (
        damage_as(f"{name}: not an .npz file with an array {key!r} ({{}}); copy it again"),
        zipfile.ZipFile(path) as archive,
        archive.open(f"{key}.npy") as f,
    ):
        version = np.lib.format.read_magic(f)
        read = {1: np.lib.format.read_array_header_1_0, 2: np.lib.format.read_array_header_2_0}[version[0]]
        shape, _, dtype = read(f)
    if int(np.prod(shape, dtype=object)) * dtype.itemsize > hdf5.LARGEST * 64:
        raise BadInput(f"{name}: {key!r} claims to be {shape}, larger than any recording; copy it again")
    if dtype.hasobject:
        raise BadInput(f"{name}: {key!r} holds pickled objects, which are never loaded; save plain numbers")
    return shape, dtype


def _image(path: Path, name: str, colour: bool) -> np.ndarray:
    with _open_image(path, name) as image:
        _refuse_kind(image, name, colour)
        sixteen = _DTYPES[image.mode] == "uint16"
        orientation = _orientation(image)
        try:
            if image.format == "JPEG" and not jpeg_scans(path.read_bytes())[1]:
                raise ValueError("it has no end marker")
            image.load()
            if orientation != 1:
                image = ImageOps.exif_transpose(image)
            if colour:
                return np.asarray(image.convert("RGB")).transpose(2, 0, 1)
            return np.asarray(image if sixteen else image.convert("L"))[None]
        except _BROKEN as e:
            raise BadInput(f"{name}: the image is damaged or cut short ({e}); copy it again") from None


def jpeg_scans(data: bytes) -> tuple[list[tuple[int, int]], bool]:
    """Where the compressed pixels of a JPEG file begin and end, scan by scan, and whether its end marker follows."""
    scans: list[tuple[int, int]] = []
    at = 2
    while 0 <= (at := data.find(b"\xff", at)) < len(data) - 1:
        marker = data[at + 1]
        if marker == 0xD9:
            return scans, True
        if marker == 0xFF:
            at += 1
        elif marker <= 0x01 or 0xD0 <= marker <= 0xD8:  # markers without a length
            at += 2
        else:
            at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
            if marker == 0xDA:
                begin = at
                while 0 <= (at := data.find(b"\xff", at)) < len(data) - 1 and _within_scan(data[at + 1]):
                    at += 2
                at = len(data) if at < 0 else at
                scans.append((begin, at))
    return scans, False


def _within_scan(marker: int) -> bool:
    """Whether 0xFF and this byte stand for pixels: an escaped 0xFF, or a restart."""
    return marker == 0 or 0xD0 <= marker <= 0xD7


def damage_of_image(path: Path) -> str:
    """What is wrong with an image file that decodes all the same, or the empty text.

    A PNG file has checksums. A JPEG file has none, but each byte of a sound one is needed: where a block was
    overwritten, for instance by zeros, the decoder finishes before the last bytes or asks for more. Some damage stays
    unseen.
    """
    with Image.open(path, formats=IMAGE_FORMATS) as image:
        if image.format == "PNG":
            try:
                image.verify()
            except _BROKEN as e:
                return f"the image is damaged ({e})"
            return ""
    data = path.read_bytes()
    scans, _ = jpeg_scans(data)
    if len(scans) != 1:
        return ""
    end = scans[0][1]
    last = 2 if data[end - 2 : end] == b"\xff\0" else 1
    if _decodes(data[: end - last]):
        return "the image is damaged: its pixels end before its data does"
    if not _decodes(data[:end] + b"\x7f" * 16):  # more than the decoder looks ahead
        return "the image is damaged: its data ends before its pixels do"
    return ""


def _decodes(data: bytes) -> bool:
    try:
        Image.open(io.BytesIO(data), formats=IMAGE_FORMATS).load()
    except _BROKEN:
        return False
    return True


def _pick(array: Any, reference: Reference, name: str) -> np.ndarray:
    """The reference's channels (C, H, W) of an HDF5 dataset or array, one by one so that no other frame is read."""
    if array.ndim != len(reference.at) + 3:
        raise BadInput(f"{name}: the array is {array.shape}, not {len(reference.at)} axes before (C, H, W)")
    for i, size in zip((*reference.at, max(reference.channels)), array.shape, strict=False):
        if i >= size:
            raise BadInput(f"{name}: the array is {array.shape}, too small; index the data set again")
    return np.stack([array[(*reference.at, c)] for c in reference.channels])


def _hdf5(path: Path, references: Sequence[Reference]) -> Iterator[np.ndarray]:
    with hdf5.opened(path, references[0].path) as file:
        for reference in references:
            dataset = hdf5.array(file, reference.member, references[0].path)
            with hdf5.reading(str(reference)):
                planes = _pick(dataset, reference, str(reference))
            yield planes


def _npz(path: Path, references: Sequence[Reference]) -> Iterator[np.ndarray]:
    loaded: dict[str, np.ndarray] = {}
    for reference in references:
        if reference.member not in loaded:
            npz_shape(path, reference.member, reference.path)
            damaged = f"{reference.path}: the .npz file is damaged ({{}}); copy it again"
            with damage_as(damaged), np.load(path, allow_pickle=False) as archive:
                loaded = {reference.member: archive[reference.member]}
        yield _pick(loaded[reference.member], reference, str(reference))


def raw(root: Path, images: Sequence[tuple[Reference, str]]) -> Iterator[np.ndarray]:
    """Read images, (reference, modality), of one file: open it once and yield each (C, H, W) as stored.

    C is 3 (R, G, B) for `rgb` and 1 for `depth` and `ir`; an 8-bit image file with colours gives its
    luminance there. Raises `BadInput` naming the reference.
    """
    references = [reference for reference, _ in images]
    path = locate(root, references[0].path)
    if not references[0].member:
        for reference, modality in images:
            yield _image(path, str(reference), modality == "rgb")
    elif path.suffix.lower() == ".npz":
        yield from _npz(path, references)
    else:
        yield from _hdf5(path, references)


def mad_to_8bit(x: np.ndarray, n_sigma: float = 3.0) -> np.ndarray:
    """Sensor counts (any shape) to uint8: median ± `n_sigma` median absolute deviations fill 0 … 255.

    y = 255 · (x − m + n·mad) / (2·n·mad), clipped and cut to whole numbers, where m and mad are taken over
    only the measured values (x > 1); holes become 0. A scene flatter than the sensor's step (mad = 0) takes one
    step as its mad, so that m is mid-grey (127) and a difference of `n_sigma` steps is black or white.
    All holes give all zeros. (Data-set sheet, section 6.)
    """
    x = np.asarray(x, dtype=np.float64)
    measured = x > HOLE
    if not measured.any():
        return np.zeros(x.shape, np.uint8)
    m = np.median(x[measured])
    mad = np.median(np.abs(x[measured] - m)) or 1.0
    y = 255.0 * (x - m + n_sigma * mad) / (2.0 * n_sigma * mad)
    return np.where(measured, np.clip(y, 0.0, 255.0), 0.0).astype(np.uint8)


def unit_to_8bit(x: np.ndarray) -> np.ndarray:
    """Floats in 0 … 1 (any shape) to uint8, 255·x rounded half up. Raises `ValueError` on other values."""
    if not (np.all(x >= 0.0) and np.all(x <= 1.0)):
        raise ValueError("holds values outside 0 … 1 or NaN")
    if x.any() and x.max() < _DARKEST:
        raise ValueError("holds no value that 8 bits can show, as after a change of byte order")
    return np.floor(255.0 * np.asarray(x, dtype=np.float64) + 0.5).astype(np.uint8)


def to_8bit(pixels: np.ndarray, modality: str, depth_encoding: str, name: str) -> np.ndarray:
    """(C, H, W) as stored to uint8 (C, H, W), by the stored type and, for depth, the index's
    `depth_encoding`.

    uint8 stays; float is 0 … 1 (`unit_float`); uint16 infrared and depth in millimetres (`z16_mm`) go through
    `mad_to_8bit`. Raises `BadInput` when type and encoding do not fit.
    """
    kind = pixels.dtype.name
    if modality == "depth":
        stored = {"z16_mm": "uint16", "unit_float": "float"}.get(depth_encoding, "uint8")
        if not kind.startswith(stored):
            raise BadInput(
                f"{name}: depth is {kind} but depth_encoding {depth_encoding} means {stored}; correct the index"
            )
    if kind == "uint8":
        return pixels
    if kind == "uint16" and modality != "rgb":
        return mad_to_8bit(pixels)
    if kind.startswith("float"):
        try:
            return unit_to_8bit(pixels)
        except ValueError as e:
            raise BadInput(f"{name}: {e}; floats must be scaled to 0 … 1") from None
    raise BadInput(f"{name}: {modality} stored as {kind} cannot be read; convert it to uint8 or float 0 … 1")


def resize(planes: np.ndarray, size: int) -> np.ndarray:
    """uint8 (C, H, W) to uint8 (C, size, size), bilinear with antialiasing (Pillow)."""
    if planes.shape[1:] == (size, size):
        return planes
    box = (size, size)
    return np.stack([np.asarray(Image.fromarray(p).resize(box, Image.Resampling.BILINEAR)) for p in planes])


def resize_plain(planes: np.ndarray, size: int) -> np.ndarray:
    """uint8 (C, H, W) to (C, size, size), bilinear without antialiasing, as cv2's INTER_LINEAR samples it.

    Output pixel i takes the input at (i + ½)·n/size − ½, clamped to the image; rounded half up. cv2 computes
    in fixed point, so single grey levels may differ from it.
    """

    def weights(n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        at = np.clip((np.arange(size) + 0.5) * n / size - 0.5, 0, n - 1)
        first = np.minimum(np.floor(at).astype(np.int64), max(n - 2, 0))
        return first, np.minimum(first + 1, n - 1), at - first

    r0, r1, fr = weights(planes.shape[1])
    c0, c1, fc = weights(planes.shape[2])
    x = planes.astype(np.float64)
    rows = x[:, r0] * (1 - fr)[:, None] + x[:, r1] * fr[:, None]
    y = rows[:, :, c0] * (1 - fc) + rows[:, :, c1] * fc
    return np.floor(y + 0.5).astype(np.uint8)


# How an image comes to its size. The released loaders call cv2.resize, which keeps single pixels of a fine texture
# where the antialiased one takes their mean.
RESIZES: dict[str, Callable[[np.ndarray, int], np.ndarray]] = {"antialiased": resize, "released": resize_plain}


def decode(
    root: Path, images: Sequence[tuple[Reference, str, str, str]], size: int, resizing: str = "antialiased"
) -> Iterator[np.ndarray]:
    """Decode images, (reference, modality, shape in the index, depth_encoding), of one file to uint8 (C, size, size),
    resized as `RESIZES[resizing]` does.

    Raises `BadInput` naming the reference and what to do about it.
    """
    for reference, _, shape, _ in images:
        if not shape:
            raise BadInput(f"{reference}: was indexed by names only; index the data set again, opening its files")
    arrays = raw(root, [(reference, modality) for reference, modality, _, _ in images])
    for (reference, modality, shape, encoding), pixels in zip(images, arrays, strict=True):
        _, height, width = pixels.shape
        own_shape = shape_text(height, width, pixels.dtype)
        if own_shape != shape:
            raise BadInput(f"{reference}: is {own_shape} but the index says {shape}; index the data set again")
        yield RESIZES[resizing](to_8bit(pixels, modality, encoding, str(reference)), size)


def digests(root: Path, images: Sequence[tuple[Reference, str]]) -> Iterator[bytes]:
    """SHA-256 of each of the images, (reference, modality), of one file: of the file's bytes, or of its HDF5 array.

    An HDF5 file may hold gigabytes of other streams, so hashing all of it would take too long.
    """
    first = images[0][0]
    path = locate(root, first.path)
    if path.suffix.lower() in (".hdf5", ".h5"):
        for pixels in raw(root, images):
            h = hashlib.sha256(f"{pixels.shape} {pixels.dtype}\n".encode())
            h.update(np.ascontiguousarray(pixels).data)
            yield h.digest()
        return
    try:
        with path.open("rb") as f:
            digest = hashlib.file_digest(f, "sha256").digest()
    except OSError as e:
        raise BadInput(f"{first.path}: cannot be read ({e.strerror}); restore it or index again") from None
    yield from [digest] * len(images)
