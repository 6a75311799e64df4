"""What a score file holds, by column: numbers as they are and words as codes, so that ten million samples fit into
memory."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data_manifests.errors import BadInput

SCORE, SAMPLE = "score", "sample_id"
WORDS = ("label", "bonafide", "family", "subject", "set", "split", "epoch", "seed", "method")
NAMES = (SCORE, SAMPLE, *WORDS)
_LONGEST = 200  # characters of a name that stands in tables

Floats = NDArray[np.float64]
Ids = NDArray[np.int64]  # (N, 2): the two halves of a hash of each sample's id


@dataclass(frozen=True)
class Words:
    """A column of N words: codes (N,) int32, and the word of each code."""

    codes: NDArray[np.int32]
    names: tuple[str, ...]

    def code(self, name: str) -> int:
        """The code of a word, or -1 where no sample has it."""
        return self.names.index(name) if name in self.names else -1

    def counted(self) -> dict[str, int]:
        """How many samples have each word."""
        counts = np.bincount(self.codes, minlength=len(self.names))
        return {name: int(n) for name, n in zip(self.names, counts, strict=True) if n}


class Encoder:
    """Gives the words of a column their codes, in the order of their first appearance."""

    def __init__(self) -> None:
        self._codes: defaultdict[str, int] = defaultdict()
        self._codes.default_factory = self._codes.__len__
        self._parts: list[NDArray[np.int32]] = []

    def add(self, words: Sequence[str]) -> None:
        self._parts.append(np.fromiter(map(self._codes.__getitem__, words), np.int32, len(words)))

    def words(self) -> Words:
        codes = np.concatenate(self._parts) if self._parts else np.zeros(0, np.int32)
        return Words(codes, tuple(self._codes))


class Hasher:
    """Keeps a hash of 128 bits in place of each sample's id: long enough that no two ids are taken for one."""

    def __init__(self) -> None:
        self._parts: list[Ids] = []

    def add(self, ids: Sequence[str]) -> None:
        hashes = b"".join([blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest() for text in ids])
        self._parts.append(np.frombuffer(hashes, np.int64).reshape(-1, 2))

    def ids(self) -> Ids:
        return np.concatenate(self._parts)


@dataclass(frozen=True)
class File:
    """The samples of one file, in its order. `place(i)` says where sample i stands, as an error calls it."""

    path: Path
    score: Floats
    words: dict[str, Words]
    ids: Ids | None
    place: Callable[[int], str]
    unused: tuple[str, ...] = ()
    grows: bool = False  # known to grow with bona-fide-ness, as the scores of our own runs do
    threshold: float | None = None  # which a run carries that was trained to none

    def at(self, i: int) -> str:
        return f"{self.path}, {self.place(i)}"


def checked(file: File) -> File:
    """The file, if its scores are numbers and its words can stand in a table. Raises BadInput."""
    if not file.score.size:
        raise BadInput(f"{file.path}: holds no sample; name a file with scores")
    bad = np.flatnonzero(~np.isfinite(file.score))
    if bad.size:
        first = int(bad[0])
        kind = "NaN" if np.isnan(file.score[first]) else "infinite"
        more = f" ({bad.size} such scores in all)" if bad.size > 1 else ""
        raise BadInput(
            f"{file.at(first)}: the score is {kind}{more}; give every sample a finite score, or leave it out"
        )
    for column, words in file.words.items():
        for code, name in enumerate(words.names):
            if not name.isprintable() or len(name) > _LONGEST:
                first = int(np.flatnonzero(words.codes == code)[0])
                what = "holds a control character" if not name.isprintable() else f"has over {_LONGEST} characters"
                raise BadInput(f"{file.at(first)}: {column} {what}; write it as a short plain word")
    return file


def known_columns(path: Path, columns: Iterable[str], renamed: dict[str, str]) -> dict[str, str]:
    """For each of `NAMES` that a file has, the file's own name of it. `renamed` gives those that are called
    otherwise. Raises BadInput where the file lacks a column that it must have."""
    there = list(columns)
    twice = sorted({name for name in there if there.count(name) > 1})
    if twice:
        raise BadInput(f"{path}: has two columns {twice[0]}; leave one of them out")
    for name, own in renamed.items():
        if own not in there:
            raise BadInput(f"{path}: has no column {own}, which --column {name}={own} names; it has {_list(there)}")
    found = {name: renamed.get(name, name) for name in NAMES if renamed.get(name, name) in there}
    if SCORE not in found and {"epochs", "scores"} <= set(there):
        raise BadInput(f"{path}: is a file of a run of this project; name the run's folder, two levels up")
    if SCORE not in found:
        raise BadInput(
            f"{path}: has no column score; name the one that holds the scores with --column score=NAME; it has "
            f"{_list(there)}"
        )
    if not {"label", "bonafide"} & found.keys():
        raise BadInput(
            f"{path}: has neither a column label nor bonafide; name the one that tells bona fide from attacks with "
            f"--column label=NAME; it has {_list(there)}"
        )
    return found


def _list(names: Sequence[str]) -> str:
    shown = ", ".join(repr(name) for name in names[:12])
    return (f"{shown} and {len(names) - 12} more" if len(names) > 12 else shown) or "no column"
