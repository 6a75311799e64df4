"""Score files with commas: a line of column names, then a line a sample."""

import csv
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from data_manifests.errors import BadInput, first_line
from paper_tables.evaluation.columns import SAMPLE, SCORE, Encoder, File, Floats, Hasher, checked, known_columns

_BLOCK = 100_000  # lines that are kept as text at a time
_EMPTY_LINE = "is empty; leave empty lines out"


def read_csv(path: Path, renamed: dict[str, str]) -> File:
    """Read the file in one pass. Raises BadInput, which names the line."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as f:
            return _read(path, csv.reader(f, strict=True), renamed)
    except UnicodeDecodeError as e:
        raise BadInput(f"{path}: is not UTF-8 text ({first_line(e)}); save it as CSV in UTF-8") from e


def _read(path: Path, lines: Any, renamed: dict[str, str]) -> File:
    """`lines` is a csv.reader, whose type has no public name."""
    header = _header(path, lines)
    columns = {name: header.index(own) for name, own in known_columns(path, header, renamed).items()}
    scores: list[Floats] = []
    words, hasher = {name: Encoder() for name in columns if name not in (SCORE, SAMPLE)}, Hasher()
    first = 2  # the line of the block's first sample
    for block in _blocks(path, lines, len(header)):
        by_column = list(zip(*block, strict=True))
        scores.append(_numbers(path, by_column[columns[SCORE]], first))
        for name, encoder in words.items():
            encoder.add(by_column[columns[name]])
        if SAMPLE in columns:
            hasher.add(by_column[columns[SAMPLE]])
        first += len(block)
    if not scores:
        raise BadInput(f"{path}: holds column names and no sample; name a file with scores")
    ids = hasher.ids() if SAMPLE in columns else None
    unused = tuple(name for i, name in enumerate(header) if i not in columns.values())
    coded = {name: encoder.words() for name, encoder in words.items()}
    return checked(File(path, np.concatenate(scores), coded, ids, lambda i: f"line {i + 2}", unused))


def _header(path: Path, lines: Any) -> list[str]:
    try:
        header = [name.strip() for name in next(lines, [])]
    except csv.Error as e:
        raise BadInput(f"{path}, line 1: is not CSV ({first_line(e)}); begin with a line of column names") from e
    if not any(header):
        raise BadInput(f"{path}: is empty; begin with a line of column names, then a line a sample")
    if len(header) == 1:
        for mark, name in ((";", "semicolons"), ("\t", "tabs")):
            if mark in header[0]:
                raise BadInput(f"{path}: its fields are separated by {name}; save it with commas")
    return header


def _blocks(path: Path, lines: Any, width: int) -> Iterator[list[list[str]]]:
    """The lines behind the first, many at a time, all of `width` fields. Empty lines at the end are no samples."""
    before, ended = 1, False
    while True:
        try:
            block = list(islice(lines, _BLOCK))
        except csv.Error as e:
            raise BadInput(f"{path}, line {lines.line_num}: is not CSV ({first_line(e)}); mend that line") from e
        if not block:
            return
        odd = [i for i, row in enumerate(block) if len(row) != width]
        if odd and not any(block[odd[0] :]):
            block, ended, odd = block[: odd[0]], True, []
        elif ended:
            raise BadInput(f"{path}, line {before + 1}: the line before it {_EMPTY_LINE}")
        if odd:
            what = f"has {len(block[odd[0]])} fields, and line 1 has {width}; mend that line"
            raise BadInput(f"{path}, line {before + 1 + odd[0]}: {what if block[odd[0]] else _EMPTY_LINE}")
        before += len(block)
        if not ended and lines.line_num != before:
            raise BadInput(f"{path}: a field near line {before} holds a line break; write it in one line")
        if block:
            yield block


def _numbers(path: Path, texts: tuple[str, ...], first: int) -> Floats:
    try:
        return np.array(texts, dtype=np.float64)
    except ValueError:
        for i, text in enumerate(texts):
            try:
                float(text)
            except ValueError as e:
                what = f"the score {text!r} is no number" if text.strip() else "has no score"
                raise BadInput(f"{path}, line {first + i}: {what}; write it like 0.93 or -1.2e-3") from e
        raise
