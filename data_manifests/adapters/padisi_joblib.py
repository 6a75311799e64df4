"""PADISI-Face (P), layout `padisi-joblib`: the colour images in one file that is a pickle (data-set sheet,
section 3.5).

`padisi_USC_FACE_preprocessed.bz2` is a joblib dump of a dictionary: `data` (n, 3, H, W) blue, green, red in
0 … 1, `identifiers` `ID_<transaction>_<trial>_<trial_name>`, `labels` (False = bona fide), `pai_codes`.
A pickle can run any program while it is read, so the file is refused unless `Options.unpickle` is set. Then a
reader that knows only numbers, texts, lists and numpy arrays reads it once and refuses everything else. Each sample
is written below the root as `padisi_USC_FACE_unpickled/<identifier>.npz`, which the index names. This package has
no depth and no infrared.
"""

import bz2
import io
import pickle
import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from data_manifests.adapters.common import AdapterResult, Layout, Options, files_below
from data_manifests.adapters.padisi import (
    BONAFIDE,
    LISTS,
    UNPICKLED,
    add_protocols,
    capture_row,
    captures_by_trial,
    npz_images,
    read_shapes,
    read_truth,
)
from data_manifests.errors import BadInput
from data_manifests.parallel import progress

NAME = "padisi_USC_FACE_preprocessed.bz2"
CHANNELS = 3
_LARGE = 1 << 26  # bytes; a larger array goes to disk instead of memory
_PIECE = 1 << 20


class _Wrapper:
    """Precedes an array's raw bytes in the pickle and holds its shape, order, dtype and padding."""

    shape: tuple[int, ...]
    order: str
    dtype: np.dtype
    numpy_array_alignment_bytes: int | None = None


def _scalar(dtype: np.dtype, data: bytes) -> Any:
    return np.frombuffer(data, dtype)[0]


_ALLOWED: Mapping[tuple[str, str], Callable[..., Any]] = {
    ("joblib.numpy_pickle", "NumpyArrayWrapper"): _Wrapper,
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    **{(f"numpy.{core}.multiarray", "scalar"): _scalar for core in ("core", "_core")},
}


_Unpickler: Any = pickle._Unpickler  # the unpickler in C has no hook for BUILD


class _Reader(_Unpickler):
    """Unpickle a joblib dump of plain data. Raises `pickle.UnpicklingError` on anything that could run code."""

    dispatch: ClassVar[dict[int, Callable[..., None]]] = dict(_Unpickler.dispatch)

    def __init__(self, file: bz2.BZ2File, spill: Path) -> None:
        super().__init__(file)
        self._file, self._spill = file, spill

    def find_class(self, module: str, name: str) -> Callable[..., Any]:
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"asks for {module}.{name}, which is no plain data")
        return _ALLOWED[module, name]

    def load_build(self) -> None:
        super().load_build()
        if isinstance(self.stack[-1], _Wrapper):
            self.stack[-1] = self._array(self.stack[-1])

    dispatch[pickle.BUILD[0]] = load_build

    def _array(self, wrapper: _Wrapper) -> np.ndarray:
        if wrapper.dtype.hasobject:
            raise pickle.UnpicklingError("holds an array of objects, which is no plain data")
        if wrapper.numpy_array_alignment_bytes is not None:
            self._exactly(self._exactly(1)[0])  # padding
        shape = wrapper.shape if wrapper.order == "C" else wrapper.shape[::-1]
        size = int(np.prod(shape, dtype=np.int64)) * wrapper.dtype.itemsize
        if size <= _LARGE:
            array: np.ndarray = np.frombuffer(self._exactly(size), wrapper.dtype).reshape(shape)
        else:
            with self._spill.open("wb") as f:
                for start in range(0, size, _PIECE):
                    f.write(self._exactly(min(_PIECE, size - start)))
            array = np.memmap(self._spill, wrapper.dtype, "r", shape=shape)
        return array if wrapper.order == "C" else array.T

    def _exactly(self, size: int) -> bytes:
        data = io.BytesIO()
        while data.tell() < size:
            piece = self._file.read(size - data.tell())
            if not piece:
                raise EOFError("the file is cut short")
            data.write(piece)
        return data.getvalue()


def _samples(path: Path, spill: Path) -> tuple[np.ndarray, list[str]]:
    """The images (n, 3, H, W) and their identifiers. Raises `BadInput` naming what is wrong with the file."""
    try:
        with bz2.open(path) as f:
            content = _Reader(f, spill).load()
    except Exception as e:  # a broken pickle can raise whatever its operations raise
        raise BadInput(f"{path.name}: not read, since it {_reason(e)}; get it again from its owner") from None
    keys = ("data", "identifiers", "labels", "pai_codes")
    values: list[Any] = [content.get(key) for key in keys] if isinstance(content, dict) else [None]
    data, *columns = values
    if not isinstance(data, np.ndarray) or not all(isinstance(column, list | tuple | np.ndarray) for column in columns):
        raise BadInput(f"{path.name}: not a dictionary of {', '.join(keys)} as published; get it again")
    identifiers, spoof, codes = list(map(str, columns[0])), list(map(bool, columns[1])), list(map(str, columns[2]))
    if data.ndim != 4 or data.shape[1] != CHANNELS or data.dtype.kind != "f":
        raise BadInput(f"{path.name}: data is {data.shape} {data.dtype}, not (n, 3, H, W) floats; get it again")
    if not len(data) == len(identifiers) == len(codes) == len(spoof) == len(set(identifiers)):
        raise BadInput(f"{path.name}: data, identifiers, labels and pai_codes differ in length; get it again")
    for identifier, code, is_spoof in zip(identifiers, codes, spoof, strict=True):
        if not re.fullmatch("[A-Za-z0-9_]{1,200}", identifier):
            raise BadInput(f"{path.name}: identifier {identifier!r} is no file name; get it again")
        if is_spoof != (code != BONAFIDE):
            raise BadInput(f"{path.name}: label and code {code!r} of {identifier} disagree; get it again")
    return data, identifiers


def _reason(e: Exception) -> str:
    if isinstance(e, pickle.UnpicklingError) and str(e).startswith(("asks for", "holds an array")):
        return str(e)
    return f"is damaged ({type(e).__name__}: {e})"


def _unpack(path: Path, folder: Path) -> None:
    """Write every sample as an .npz file into `folder`, which appears complete or not at all."""
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    try:
        spill = partial / "data.raw"
        data, identifiers = _samples(path, spill)
        with progress("unpacking PADISI-Face", len(data)) as advance:
            for image, identifier in zip(data, identifiers, strict=True):
                np.savez_compressed(partial / f"{identifier}.npz", data=image[None])
                advance(1)
        del data, image
        spill.unlink(missing_ok=True)
        partial.replace(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _file(root: Path) -> Path | None:
    return next((path for path in (root / NAME, root / "data" / NAME) if path.is_file()), None)


def _detect(root: Path) -> bool:
    return _file(root) is not None or (root / UNPICKLED).is_dir()


def _index(root: Path, options: Options) -> AdapterResult:
    result = AdapterResult(options.collect)
    truth = read_truth(root, options, result)
    path = _file(root)
    if path and not (root / UNPICKLED).is_dir():
        if not options.unpickle:
            result.problem(
                path.relative_to(root).as_posix(),
                "is a pickle, which can run any program while it is read, so it is not opened; "
                f"add --unpickle to have its plain arrays copied to {UNPICKLED}, or use the multispectral .npz files",
            )
            return result
        _unpack(path, root / UNPICKLED)
    names = [f"{UNPICKLED}/{name}" for name in files_below(root / UNPICKLED, (".npz",), result)]
    trials = captures_by_trial(names, truth, result)
    for name, shape in read_shapes(root, list(trials), CHANNELS, options, result).items():
        images = npz_images(name, shape, {"rgb": "2,1,0"})
        result.rows.append(capture_row("padisi-joblib", trials[name], truth.captures[trials[name]], images, ""))
    add_protocols(root, result)
    return result


LAYOUT = Layout("padisi-joblib", f"{NAME} and {LISTS[0]}/*_ground_truth.csv", _detect, _index, modalities=("rgb",))
