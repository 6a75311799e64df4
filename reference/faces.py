"""The images of an index as 8-bit planes: each frame that a run asks for is decoded once, for all runs of the index.

The planes lie in one memory-mapped file with a place for every row, which runs of different protocols fill together
(`reference.kept_rows`). A row's *content* is the SHA-256 of its images' bytes and of what the index says of them. A
place is filled once: when an image has changed, the file is begun anew, and those who have the old one mapped keep it.
"""

import hashlib
import json
import os
import time
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import PIL
from numpy.typing import NDArray

from data_manifests import decode
from data_manifests.errors import BadInput
from data_manifests.index import COLUMNS, DATASETS, MODALITIES, Column, Index, Reference, file_of, parse_reference
from data_manifests.locks import locked
from data_manifests.parallel import as_done
from reference.kept_rows import CONTENT, table, write
from reference.sources import sources

OURS = "antialiased"  # how images are resized unless a run asks for another
PLANES = 5  # R, G, B, depth, infrared
_FIRST_PLANE = {"rgb": 0, "depth": 3, "ir": 4}
PLANES_OF = {"R": (0, 1, 2), "D": (3,), "I": (4,)}
_CLOCK_STEP_NS = 2_000_000_000  # the coarsest file clock in use (FAT); a younger file may change unseen
_STRETCH = 16  # rows that a worker takes together: neighbours are often in one container
_FEW = 4  # stretches that are not worth other processes
_SAVE_S = 30.0  # a killed process loses at most this much

# Of each row: its planes' content, which modalities they show, and a checksum of both; and its content with a hash that
# binds it to the size and times of the files in which it was found.
_SHOWN = np.dtype([CONTENT, ("present", np.bool_, (3,)), ("crc", np.uint32)])
_SEEN = np.dtype([CONTENT, ("when", np.uint8, (16,))])


@dataclass(frozen=True)
class Faces:
    """All N frames of an index, in its order, of which `rows` were asked for.

    `images` uint8 (N, 5, S, S): planes R, G, B, depth, infrared; all zeros where a modality is missing, and in rows
    that nobody asked for. `present` bool (N, 3): which of RGB, depth and infrared exist and are not zero all over, as
    some sensors deliver a frame they lost. `bonafide` bool (N,); `dataset` (the letter), `family` (empty for bona
    fide), `subject` and `sample_id` str (N,). `domain` int64 (N,) numbers the data sets, `recording` int64 (N,) the
    recordings. `sha256` is of what was decoded of the rows asked for, and how. `rows` int64 (n,) ascend; None is all.
    `content` uint8 (N, 32) is what each row's images are made from.
    """

    images: np.memmap
    present: np.ndarray
    bonafide: np.ndarray
    dataset: np.ndarray
    family: np.ndarray | Column
    subject: np.ndarray | Column
    sample_id: np.ndarray | Column
    domain: np.ndarray
    recording: np.ndarray
    sha256: str
    rows: NDArray[np.int64] | None = None
    content: NDArray[np.uint8] | None = None
    crc: NDArray[np.uint32] | None = None
    """(N,): checksums of planes and `present`, for the rows that are in `rows`; None where nothing is to be proved."""

    @cached_property
    def _proved(self) -> NDArray[np.bool_]:
        """(N,): which rows this process has read and found to be what was written."""
        return np.zeros(len(self.images), bool)

    def prove(self, rows: NDArray[np.int64], planes: NDArray[np.uint8]) -> None:
        """Compare the planes (n, 5, S, S) that were read of `rows` with what was written, the first time that each is
        read. Raises BadInput for a damaged file."""
        if self.crc is None:
            return
        for place in np.flatnonzero(~self._proved[rows]).tolist():
            row = rows[place]
            if _checksum(planes[place].tobytes(), self.present[row]) != self.crc[row]:
                raise BadInput(
                    f"{self.images.filename}: damaged at the images of {self.sample_id[row]}; delete this file, and "
                    "all images are decoded again"
                )
        self._proved[rows] = True

    def planes(self, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Planes (n, 5, S, S) of rows (n,), proved. Raises BadInput for a damaged file."""
        planes = self.images[rows]
        self.prove(rows, planes)
        return planes

    def has(self, rows: NDArray[np.int64]) -> bool:
        """Whether each of `rows` (n,) is there and was asked for: the images of any other are black."""
        if rows.size == 0 or rows.min() < 0 or rows.max() >= len(self.images):
            return False
        if self.rows is None:
            return True
        place = np.searchsorted(self.rows, rows).clip(max=len(self.rows) - 1)
        return bool((self.rows[place] == rows).all())

    def missing_report(self) -> dict[str, dict[str, int]]:
        """Frames asked for without a modality (fed black), `{data set: {"rgb": n, "depth": n, "ir": n}}`."""
        rows = np.arange(len(self.present)) if self.rows is None else self.rows
        present, dataset = self.present[rows], self.dataset[rows]
        return {
            str(d): dict(zip(MODALITIES, (~present[dataset == d]).sum(0).tolist(), strict=True))
            for d in np.unique(dataset)
        }


def _checksum(planes: bytes, present: Sequence[bool] | NDArray[np.bool_]) -> int:
    return zlib.crc32(bytes([*map(bool, present)]), zlib.crc32(planes))


def without_pixels(index: Index) -> dict[str, Any]:
    """The fields of `Faces` that an index knows without a look at any pixel, by name, each (N,)."""
    rows = index.rows
    letters, labels = rows.names("dataset"), rows.names("class")
    numbers = np.array([[*DATASETS].index(letter) for letter in letters], np.int64)
    return {
        "bonafide": (labels == "bonafide")[rows.numbered("class")],
        "dataset": letters[rows.numbered("dataset")],
        "family": rows.column("attack_family"),
        "subject": rows.column("subject_id"),
        "sample_id": rows.column("sample_id"),
        "domain": numbers[rows.numbered("dataset")],
        "recording": rows.numbered("clip_id").astype(np.int64),
    }


@dataclass(frozen=True)
class _Image:
    """One modality of a frame: where it is, and what the index says of it."""

    root: Path
    modality: str
    reference: Reference
    shape: str
    encoding: str


_DATASET, _ENCODING = COLUMNS.index("dataset"), COLUMNS.index("depth_encoding")
_PLACES = [(m, COLUMNS.index(m), COLUMNS.index(f"{m}_shape")) for m in MODALITIES]


def _images(line: Sequence[str], roots: dict[str, Path]) -> list[_Image]:
    return [
        _Image(roots[line[_DATASET]], modality, parse_reference(line[at]), line[shape], line[_ENCODING])
        for modality, at, shape in _PLACES
        if line[at]
    ]


def _stat(root: Path, path: str) -> tuple[int, int, int]:
    """Size and times of a file below the root of its data set."""
    try:
        try:
            s = os.stat(f"{root}/{path}")  # noqa: PTH116 - a third of pathlib's time, and opening a cache is mostly this
        except FileNotFoundError:
            s = decode.locate(root, path).stat()
    except OSError as e:
        raise BadInput(f"{path}: {e.strerror} below {root}; restore it or index again") from None
    return s.st_size, s.st_mtime_ns, s.st_ctime_ns


def _times(line: Sequence[str], roots: dict[str, Path]) -> tuple[tuple[int, int, int], ...]:
    """Size and times of each file that a row takes images from."""
    root = roots[line[_DATASET]]
    paths = dict.fromkeys([file_of(line[at]) for _, at, _ in _PLACES if line[at]])
    return tuple([_stat(root, path) for path in paths])


def _when(times: tuple[tuple[int, int, int], ...], content: bytes) -> bytes:
    return hashlib.blake2b(repr(times).encode() + content, digest_size=16).digest()


def _contents(images: Sequence[Sequence[_Image]], resizing: str) -> list[bytes]:
    """The content of each row, whose images are given; each file is opened once."""
    digests = dict(_by_file(images, _digests))
    contents = []
    for number, own in enumerate(images):
        content = hashlib.sha256(_another(resizing))
        for place, image in enumerate(own):
            content.update(f"{image.modality}\n{image.reference}\n{image.shape}\n{image.encoding}\n".encode())
            content.update(digests[number, place])
        contents.append(content.digest())
    return contents


def _another(resizing: str) -> bytes:
    """What tells files of another resizing than ours from those of ours, which were kept before there was another."""
    return b"" if resizing == OURS else resizing.encode()


def _by_file(images: Sequence[Sequence[_Image]], read: Any) -> Iterator[tuple[tuple[int, int], Any]]:
    """((row's number, image's number), what `read` gives for the image), file by file."""
    files: dict[tuple[Path, str], list[tuple[int, int]]] = {}
    for number, own in enumerate(images):
        for place, image in enumerate(own):
            files.setdefault((image.root, image.reference.path), []).append((number, place))
    for (root, _), places in files.items():
        found = read(root, [images[number][place] for number, place in places])
        yield from zip(places, found, strict=True)


_Job = tuple[list[int], list[list[str]], list[bytes]]
_Shown = tuple[tuple[bool, bool, bool], int]  # which modalities the planes show, and the checksum
_Made = tuple[int, tuple[tuple[int, int, int], ...], bytes, _Shown | None]


def _make(path: Path, size: int, resizing: str, roots: dict[str, Path], job: _Job) -> list[_Made]:
    """Find the content of some rows, and decode those whose place in the file `path` is empty.

    The job is the rows, their lines of the index, and the content that is in their places. Gives, of each row, the
    times of its files, its content, and what its planes show, None where it was not decoded.
    """
    rows, lines, filled = job
    images = [_images(line, roots) for line in lines]
    times = [_times(line, roots) for line in lines]
    contents = _contents(images, resizing)
    empty = [number for number, content in enumerate(filled) if not any(content)]
    shown: dict[int, dict[str, bool]] = {number: {} for number in empty}
    read = partial(_decoded, size, resizing)
    with path.open("r+b") as file:
        for (number, place), planes in _by_file([images[n] for n in empty], read):
            image, row = images[empty[number]][place], rows[empty[number]]
            file.seek((row * PLANES + _FIRST_PLANE[image.modality]) * size * size)
            file.write(planes.tobytes())
            shown[empty[number]][image.modality] = bool(planes.any())
        known = {number: _known(file, rows[number], size, shown[number]) for number in empty}
    for line, before, own in zip(lines, times, images, strict=True):
        if _times(line, roots) != before:
            raise BadInput(f"{own[0].reference.path}: changed while it was read; start again when nothing writes it")
    return [
        (row, when, content, known.get(n))
        for n, (row, when, content) in enumerate(zip(rows, times, contents, strict=True))
    ]


def _known(file: BinaryIO, row: int, size: int, shown: dict[str, bool]) -> _Shown:
    """What is kept of a row that was decoded into the file; its place may begin with what a killed process left."""
    rgb, depth, ir = (shown.get(m, False) for m in MODALITIES)
    file.seek(row * PLANES * size * size)
    return (rgb, depth, ir), _checksum(file.read(PLANES * size * size), (rgb, depth, ir))


def _digests(root: Path, images: Sequence[_Image]) -> Iterator[bytes]:
    return decode.digests(root, [(image.reference, image.modality) for image in images])


def _decoded(size: int, resizing: str, root: Path, images: Sequence[_Image]) -> Iterator[np.ndarray]:
    return decode.decode(root, [(i.reference, i.modality, i.shape, i.encoding) for i in images], size, resizing)


def open_faces(
    index: Index,
    image_size: int,
    cache_dir: str | Path,
    workers: int | None = None,
    rows: NDArray[np.int64] | None = None,
    resizing: str = OURS,
) -> Faces:
    """The images of `rows` (n,) of `index`, or of all, as 8-bit planes of `image_size` pixels square, resized as
    `decode.RESIZES[resizing]` does.

    Those that no run has asked for before are decoded now. The cache file's name is a hash of what the index says of
    its images and of the sources of the decoder, and each row's content is compared with the images on disk, so a
    changed image, index or decoder is never answered with old pixels. Processes that ask at the same time wait for
    the one that decodes. Raises `BadInput` naming the image that cannot be used, `OSError` when the disk is full; what
    was decoded till then stays.
    """
    if image_size < 1:
        raise BadInput(f"image_size {image_size} is not a positive number of pixels")
    rows = np.arange(len(index.rows)) if rows is None else np.unique(rows)
    how = f"{image_size} {PIL.__version__}\n{json.dumps(sources(decode.__name__), sort_keys=True)}"
    how += _another(resizing).decode()
    folder = Path(cache_dir)
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder):
        cache = _Cache(index, image_size, resizing, folder, how)
        cache.fill(rows, workers)
        digest = hashlib.sha256(how.encode())
        for at in range(0, len(rows), 4096):
            digest.update(cache.shown["content"][rows[at : at + 4096]].tobytes())
        present = np.zeros((len(index.rows), 3), bool)
        present[rows] = cache.shown["present"][rows]
        images = np.memmap(cache.path, np.uint8, "r", shape=(len(present), PLANES, image_size, image_size))
    return Faces(
        images=images,
        present=present,
        sha256=digest.hexdigest(),
        rows=rows,
        content=cache.shown["content"],
        crc=cache.shown["crc"],
        **without_pixels(index),
    )


class _Cache:
    """The decoded rows of an index in one size, and what is known of its images on disk."""

    def __init__(self, index: Index, size: int, resizing: str, folder: Path, how: str) -> None:
        self.index, self.size, self.resizing, self.roots = index, size, resizing, index.roots
        images = index.rows.images_sha256
        place = "".join(f"{letter}\n{root}\n" for letter, root in sorted(index.roots.items()))
        self.path = folder / f"{hashlib.sha256(f'{images} {how}'.encode()).hexdigest()}.u8"
        self.shown_path = self.path.with_suffix(".rows")
        seen = f"{images} {place}".encode() + _another(resizing)
        self.seen_path = folder / f"{hashlib.sha256(seen).hexdigest()[:32]}.seen"
        self.open()

    def open(self) -> None:
        count = len(self.index.rows)
        if not self.path.exists():
            self.shown_path.unlink(missing_ok=True)  # what it says is there was deleted
        table(self.path, count, (np.uint8, PLANES * self.size**2))
        self.shown = table(self.shown_path, count, _SHOWN)
        self.seen = table(self.seen_path, count, _SEEN)

    def fill(self, rows: NDArray[np.int64], workers: int | None) -> None:
        """Bring the rows (n,) up to date with the images on disk."""
        while self.make(self.unsure(rows), workers):
            self.shown_path.unlink()
            self.path.unlink()  # whoever maps it keeps it
            self.open()

    def unsure(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Those of the rows whose files are not as they were last seen, or whose content is not in its place."""
        unsure = np.ones(len(rows), bool)
        for at in range(0, len(rows), 1024):
            some = rows[at : at + 1024]
            contents, whens = (np.array(self.seen[field][some]) for field in ("content", "when"))
            filled = (contents == self.shown["content"][some]).all(axis=1) & contents.any(axis=1)
            known = np.flatnonzero(filled)
            for place, line in zip(known.tolist(), self.index.rows.lines(some[known]), strict=True):
                when = _when(_times(line, self.roots), contents[place].tobytes())
                unsure[at + place] = when != whens[place].tobytes()
        return rows[unsure]

    def jobs(self, rows: NDArray[np.int64]) -> Iterator[_Job]:
        for at in range(0, len(rows), _STRETCH):
            some = rows[at : at + _STRETCH]
            filled = [content.tobytes() for content in self.shown["content"][some]]
            yield some.tolist(), [*self.index.rows.lines(some)], filled

    def make(self, rows: NDArray[np.int64], workers: int | None) -> bool:
        """Decode the rows that have none in their place; whether one has another in its place."""
        changed, total = False, -(-len(rows) // _STRETCH)
        made: list[_Made] = []
        began = time.monotonic()
        function = partial(_make, self.path, self.size, self.resizing, self.roots)
        title = f"decoding, {_STRETCH} frames at a time"
        try:
            for _, some in as_done(function, self.jobs(rows), title, workers, total, _FEW):
                made += some
                if time.monotonic() - began > _SAVE_S:
                    changed |= self.save(made)
                    made, began = [], time.monotonic()
        finally:
            changed |= self.save(made)
        return changed

    def save(self, made: list[_Made]) -> bool:
        """Keep what was found of some rows, once their planes have reached the disk; whether one had changed."""
        if not made:
            return False
        made = sorted(made)
        rows = np.array([row for row, *_ in made], np.int64)
        contents = np.frombuffer(b"".join(content for _, _, content, _ in made), np.uint8).reshape(-1, 32)
        now = time.time_ns()
        seen = np.zeros(len(made), _SEEN)
        seen["content"] = contents
        for entry, (_, times, content, _) in zip(seen, made, strict=True):
            if now - max(max(written, changed) for _, written, changed in times) > _CLOCK_STEP_NS:
                entry["when"] = np.frombuffer(_when(times, content), np.uint8)
        write(self.seen_path, rows, seen)
        new = np.array([known is not None for *_, known in made], bool)
        shown = np.zeros(int(new.sum()), _SHOWN)
        shown["content"] = contents[new]
        for entry, (present, crc) in zip(shown, [m[3] for m in made if m[3] is not None], strict=True):
            entry["present"], entry["crc"] = present, crc
        with self.path.open("rb") as file:
            os.fdatasync(file.fileno())
        write(self.shown_path, rows[new], shown)
        return bool((self.shown["content"][rows] != contents).any())
