"""Score files of arrays: .npz of numpy, an array a column, and Parquet."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_manifests.errors import BadInput, first_line
from paper_tables.evaluation.columns import SAMPLE, SCORE, Encoder, File, Floats, Hasher, Words, checked, known_columns

_BLOCK = 1_000_000  # words that are Python's own at a time


def read_npz(path: Path, renamed: dict[str, str]) -> File:
    """Read an archive of arrays (N,). Raises BadInput."""
    try:
        archive = np.load(path, allow_pickle=False)
    except Exception as e:  # numpy raises many kinds for a damaged file; each means the same here
        raise BadInput(f"{path}: is no sound .npz file ({first_line(e)}); write it again with numpy.savez") from e
    if not isinstance(archive, np.lib.npyio.NpzFile):
        raise BadInput(f"{path}: holds one array, not an archive of them; write it with numpy.savez(path, score=…)")
    with archive:
        columns = known_columns(path, archive.files, renamed)

        def take(name: str) -> NDArray[Any]:
            try:
                return archive[columns[name]]
            except Exception as e:  # as above; an array of Python objects is refused here too
                raise BadInput(
                    f"{path}: its array {columns[name]} cannot be read ({first_line(e)}); write it again as numbers "
                    "or as text, with numpy.savez"
                ) from e

        return _file(path, columns, take, archive.files, "position")


def read_parquet(path: Path, renamed: dict[str, str]) -> File:
    """Read a Parquet file, which takes pyarrow. Raises BadInput."""
    try:
        from pyarrow import parquet
    except ImportError as e:
        raise BadInput(
            f"{path}: to read Parquet takes pyarrow, which is not installed; give `pip install pyarrow`, or save the "
            "scores as CSV or .npz"
        ) from e
    try:
        names = parquet.ParquetFile(path).schema_arrow.names
        columns = known_columns(path, names, renamed)
        table = parquet.read_table(path, columns=sorted(set(columns.values())))
    except BadInput:
        raise
    except Exception as e:  # pyarrow's errors have no common kind
        raise BadInput(f"{path}: is no sound Parquet file ({first_line(e)}); write it again") from e

    def take(name: str) -> NDArray[Any]:
        column = table.column(columns[name])
        if column.null_count:
            place = column.is_null().to_numpy().argmax()
            raise BadInput(f"{path}, row {place}: {columns[name]} is null; give it a value, or leave the sample out")
        values = column.to_numpy()
        return values.astype(str) if values.dtype == object else values

    return _file(path, columns, take, names, "row")


def _file(
    path: Path, columns: Mapping[str, str], take: Callable[[str], NDArray[Any]], there: list[str], called: str
) -> File:
    score = _scores(path, columns[SCORE], take(SCORE))
    words: dict[str, Words] = {}
    ids = None
    for name, own in columns.items():
        if name == SCORE:
            continue
        values = take(name)
        if values.shape != score.shape:
            raise BadInput(
                f"{path}: {columns[SCORE]} has {score.size} values and {own} is of shape {values.shape}; give every "
                "sample one value of each"
            )
        if name == SAMPLE:
            hasher = Hasher()
            for i in range(0, values.size, _BLOCK):
                hasher.add(list(map(str, values[i : i + _BLOCK].tolist())))
            ids = hasher.ids() if values.size else None
        else:
            words[name] = _words(path, own, values)
    unused = tuple(name for name in there if name not in columns.values())
    return checked(File(path, score, words, ids, lambda i: f"{called} {i}", unused))


def _scores(path: Path, own: str, values: NDArray[Any]) -> Floats:
    if values.ndim != 1:
        raise BadInput(f"{path}: {own} is of shape {values.shape}; give one score a sample, an array (N,)")
    if values.dtype.kind not in "fiu":
        raise BadInput(f"{path}: {own} holds {values.dtype}, not numbers; write the scores as float32 or float64")
    return values.astype(np.float64, copy=False)


def _words(path: Path, own: str, values: NDArray[Any]) -> Words:
    if values.dtype.kind in "iub":
        distinct, codes = np.unique(values, return_inverse=True)
        return Words(codes.astype(np.int32), tuple(str(value) for value in distinct.tolist()))
    if values.dtype.kind not in "UST":
        raise BadInput(f"{path}: {own} holds {values.dtype}; write it as text or as whole numbers")
    encoder = Encoder()
    for i in range(0, values.size, _BLOCK):
        block = values[i : i + _BLOCK]
        try:
            encoder.add((np.char.decode(block, "utf-8") if block.dtype.kind == "S" else block).tolist())
        except UnicodeDecodeError as e:
            raise BadInput(f"{path}: {own} holds bytes that are not UTF-8; write it as text") from e
    return encoder.words()
