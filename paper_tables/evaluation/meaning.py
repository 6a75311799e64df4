"""From columns to samples: which are bona fide, which way scores point, what each split is for.

Everything here was said by the file or by its owner. Where neither says it, the error shows what the data look like
and names the option that says it.
"""

from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data_manifests.errors import BadInput
from paper_tables.evaluation.columns import File, Floats, Ids, Words
from paper_tables.evaluation.run_folder import DEVELOPMENT, TEST
from paper_tables.evaluation.stated import Stated
from reference import metrics

BONA_FIDE = ("bona fide", "bonafide", "bona-fide", "bona_fide")
ATTACK = ("attack",)
_YES, _NO = ("1", "1.0", "true"), ("0", "0.0", "false")
_ALL_OR_NONE = ("set", "split")
_NEEDED = ("label", "bonafide", "set", "split", "epoch", "seed", "method")  # an empty word in these says nothing
_SPELLED = ("label", "set", "split", "method", "family")
_OTHER_SCALE = 4  # times as wide, and of another kind of numbers


@dataclass(frozen=True)
class Pool:
    """The samples of all files, whose meaning is known; scores grow with bona-fide-ness."""

    score: Floats
    bonafide: NDArray[np.bool_]
    words: dict[str, Words]  # family, subject, set, split, epoch, seed, method
    ids: Ids | None
    place: Callable[[int], str]
    turned: Mapping[str, bool]  # by method: whether its scores were negated
    thresholds: Mapping[str, float]  # by method: the one that it carries or that was stated, in the file's own scores
    unused: dict[str, tuple[str, ...]]  # columns that nothing asks for, by file
    folders: tuple[str, ...]  # those that are runs of this project

    def rows(self, within: NDArray[np.int64] | None = None, **said: int) -> NDArray[np.int64]:
        """The samples, of those `within`, that have these codes."""
        chosen = None
        for column, code in said.items():
            codes = self.words[column].codes
            here = (codes if within is None else codes[within]) == code
            chosen = here if chosen is None else chosen & here
        assert chosen is not None
        found = np.flatnonzero(chosen)
        return found if within is None else within[found]


def understood(files: Sequence[File], stated: Stated) -> Pool:
    """All samples, as the files and `stated` say. Raises BadInput where neither says enough."""
    for file in files:
        _spelling(file)
    files = [_with_method(file, stated, files) for file in files]
    for column in _ALL_OR_NONE:
        having = [file for file in files if column in file.words]
        if having and len(having) < len(files):
            lacking = next(file for file in files if column not in file.words)
            raise BadInput(f"{lacking.path}: has no column {column}, which {having[0].path} has; add it")
    starts = np.cumsum([0, *(file.score.size for file in files)]).tolist()

    def place(i: int) -> str:
        number = bisect_right(starts, i) - 1
        return files[number].at(i - starts[number])

    bonafide = np.concatenate([_bonafide(file, stated) for file in files])
    score = np.concatenate([file.score for file in files]) if len(files) > 1 else files[0].score
    words = {
        column: _joined(files, column) for column in ("family", "subject", "set", "split", "epoch", "seed", "method")
    }
    known = [file.ids for file in files]
    ids = None if any(x is None for x in known) else np.concatenate([x for x in known if x is not None])
    _one_scale(files, stated)
    words["split"] = _split(files, words["split"], stated)
    pool = Pool(
        score,
        bonafide,
        words,
        ids,
        place,
        {},
        _thresholds(files, words["method"], stated),
        {str(file.path): file.unused for file in files if file.unused},
        tuple(str(file.path) for file in files if file.grows),
    )
    turned = _polarity(pool, files, stated)
    if any(turned.values()):
        codes = np.array([-1.0 if turned[name] else 1.0 for name in words["method"].names])
        score = score * codes[words["method"].codes]
    return replace(pool, score=score, turned=turned)


def _thresholds(files: Sequence[File], methods: Words, stated: Stated) -> dict[str, float]:
    carried = {
        name: file.threshold for file in files if file.threshold is not None for name in file.words["method"].names
    }
    said = {name: stated.threshold_of(name) for name in methods.names}
    return carried | {name: threshold for name, threshold in said.items() if threshold is not None}


def _spelling(file: File) -> None:
    """Refuse a word that is empty where it must say something, and one that is written in two ways."""
    for column in _NEEDED:
        words = file.words.get(column)
        if words is None or not words.codes.size:
            continue
        for code, name in enumerate(words.names):
            if not name.strip():
                raise BadInput(f"{file.at(_first(words, code))}: its {column} is empty; fill it in")
    for column in _SPELLED:
        spelled: dict[str, str] = {}
        for name in file.words[column].names if column in file.words else ():
            other = spelled.setdefault(name.strip().casefold(), name)
            if other != name:
                raise BadInput(
                    f"{file.at(_first(file.words[column], file.words[column].code(name)))}: {column} is {name!r}, and "
                    f"elsewhere {other!r}; write it in one way"
                )


def _first(words: Words, code: int) -> int:
    return int(np.flatnonzero(words.codes == code)[0])


def _with_method(file: File, stated: Stated, files: Sequence[File]) -> File:
    if "method" in file.words:
        return file
    nameless = [other for other in files if "method" not in other.words]
    if len(nameless) > 1 and stated.files is None:
        ranges = "; ".join(f"{other.path}: scores {_range(other.score)}" for other in nameless)
        raise BadInput(
            f"{nameless[0].path} and {nameless[1].path}: have no column method; say --files methods if each file is of "
            f"a method of its own, which then has the file's name, or --files parts if together they are one ({ranges})"
        )
    name = file.path.stem
    if len(nameless) > 1 and stated.files == "parts":
        name = nameless[0].path.stem
    elif sum(other.path.stem == name for other in nameless) > 1:
        name = str(file.path)
    if any(name in other.words["method"].names for other in files if "method" in other.words):
        raise BadInput(f"{file.path}: another file has a method {name}; add a column method that says whose it is")
    words = file.words | {"method": Words(np.zeros(file.score.size, np.int32), (name,))}
    return File(file.path, file.score, words, file.ids, file.place, file.unused, file.grows)


def _range(score: Floats) -> str:
    return f"{score.min():.4g} to {score.max():.4g}"


def _joined(files: Sequence[File], column: str) -> Words:
    """A column of all files; empty words where a file lacks it."""
    if len(files) == 1 and column in files[0].words:
        return files[0].words[column]
    codes: dict[str, int] = {}
    parts = []
    for file in files:
        words = file.words.get(column, Words(np.zeros(file.score.size, np.int32), ("",)))
        table = np.array([codes.setdefault(name, len(codes)) for name in words.names], np.int32)
        parts.append(table[words.codes])
    return Words(np.concatenate(parts), tuple(codes))


# ------------------------------------------------------------------------------------------------------ class


def _bonafide(file: File, stated: Stated) -> NDArray[np.bool_]:
    if "bonafide" in file.words:
        words = file.words["bonafide"]
        values = []
        for code, name in enumerate(words.names):
            if name.strip().casefold() not in (*_YES, *_NO):
                where = file.at(_first(words, code))
                raise BadInput(f"{where}: bonafide is {name!r}; write 1 or true for bona fide, 0 or false for attacks")
            values.append(name.strip().casefold() in _YES)
        return np.array(values)[words.codes]
    words = file.words["label"]
    live = stated.bona_fide_labels or BONA_FIDE
    attack = stated.attack_labels or ATTACK
    others = [name for name in words.names if name not in live]
    if stated.bona_fide_labels and not stated.attack_labels and len(others) <= 1:
        attack = tuple(others)
    unknown = [name for name in others if name not in attack]
    if both := set(live) & set(attack):
        raise BadInput(f"--bona-fide-label {min(both)}: is an --attack-label too; say which it is")
    if unknown:
        counted = words.counted()
        shown = ", ".join(
            f"{name!r} ({counted[name]}, median score {_median(file, words, name):.4g})"
            for name in words.names[:8]
            if name in counted
        )
        raise BadInput(
            f"{file.path}: the labels are {shown}{' and more' if len(words.names) > 8 else ''}; say which are bona "
            "fide and which are attacks with --bona-fide-label NAME and --attack-label NAME, once for each"
        )
    return np.array([name in live for name in words.names])[words.codes]


def _median(file: File, words: Words, name: str) -> float:
    return float(np.median(file.score[words.codes == words.code(name)]))


# ------------------------------------------------------------------------------------------------------ split


def _split(files: Sequence[File], words: Words, stated: Stated) -> Words:
    """The column with the words `development`, `test` and, for what is left out, an empty one."""
    asked = [("--development", stated.development), ("--test", stated.test), ("--leave-out", stated.left_out)]
    counted = words.counted()
    if all("split" not in file.words for file in files):
        for option, names in asked:
            if names:
                raise BadInput(f"{option} {names[0]}: {files[0].path} has no column split; add it, or name it with "
                               "--column split=NAME")  # fmt: skip
        return Words(np.zeros(words.codes.size, np.int32), (TEST,))
    meant: dict[str, str] = {DEVELOPMENT: DEVELOPMENT, TEST: TEST}
    given: dict[str, str] = {}
    for (option, names), meaning in zip(asked, (DEVELOPMENT, TEST, ""), strict=True):
        for name in names:
            if name not in counted:
                raise BadInput(f"{option} {name}: no sample is of this split; there are {_counts(counted)}")
            if given.setdefault(name, option) != option:
                raise BadInput(f"{option} {name}: is {given[name]} too; say which it is")
            meant[name] = meaning
    unknown = [name for name in counted if name not in meant]
    if unknown:
        raise BadInput(
            f"{files[0].path}: the splits are {_counts(counted)}; nothing says what {unknown[0]!r} is for: say "
            "--development NAME, --test NAME or --leave-out NAME, once for each; several names may be one split"
        )
    if TEST not in [meant[name] for name in counted]:
        raise BadInput(f"{files[0].path}: no sample is of the test split; name it with --test; there are "
                       f"{_counts(counted)}")  # fmt: skip
    table = {DEVELOPMENT: 0, TEST: 1, "": 2}
    codes = np.array([table[meant.get(name, "")] for name in words.names], np.int32)
    return Words(codes[words.codes], (DEVELOPMENT, TEST, ""))


def _counts(counted: Mapping[str, int]) -> str:
    return ", ".join(f"{name!r} ({n})" for name, n in counted.items())


# ---------------------------------------------------------------------------------------------------- scores


def _polarity(pool: Pool, files: Sequence[File], stated: Stated) -> dict[str, bool]:
    """For each method whether its scores grow with attack-ness. Raises BadInput where nothing says it."""
    ours = {name for file in files if file.grows for name in file.words["method"].names}
    for file in files:
        for name in ours.intersection(file.words["method"].names if not file.grows else ()):
            raise BadInput(f"{file.path}: a run folder has a method {name} too; give the one in the file another name")
    for option, named in (("--higher", stated.higher), ("--threshold", stated.threshold)):
        for method in named:
            if method and method not in pool.words["method"].names:
                raise BadInput(f"{option} {method}=…: no such method; there are "
                               f"{', '.join(pool.words['method'].names)}")  # fmt: skip
    turned = {}
    for code, method in enumerate(pool.words["method"].names):
        said = stated.higher.get(method, "bona-fide" if method in ours else stated.higher_of(method))
        if not said:
            rows = pool.rows(method=code)
            raise BadInput(_both_ways(pool, rows, method, files[0].path))
        turned[method] = said == "attack"
    return turned


def _both_ways(pool: Pool, rows: NDArray[np.int64], method: str, path: Path) -> str:
    score, bonafide = pool.score[rows], pool.bonafide[rows]
    if bonafide.all() or not bonafide.any():
        seen = "all samples are of one class"
    else:
        area = 100 * metrics.auc(score, bonafide)
        live, attack = score[bonafide], score[~bonafide]
        seen = (
            f"bona fide scores have median {np.median(live):.4g} ({_range(live)}), attacks' {np.median(attack):.4g} "
            f"({_range(attack)}), so that the AUC would be {area:.2f} % under bona-fide and {100 - area:.2f} % under "
            "attack"
        )
    return (
        f"{path}: nothing says which way the scores of {method} point; say --higher bona-fide if a higher score means "
        f"bona fide, or --higher attack ({seen}; say what they mean, not what looks better)"
    )


def _one_scale(files: Sequence[File], stated: Stated) -> None:
    """Refuse files of one method whose scores cannot be of one scale."""
    if stated.same_scale or len(files) == 1:
        return
    seen: dict[tuple[str, str], tuple[File, Floats]] = {}
    for file in files:
        of_seed = file.words.get("seed", Words(np.zeros(file.score.size, np.int32), ("",)))
        for code, method in enumerate(file.words["method"].names):
            for number, seed in enumerate(of_seed.names):
                score = file.score[(file.words["method"].codes == code) & (of_seed.codes == number)]
                if not score.size:
                    continue
                other, theirs = seen.setdefault((method, seed), (file, score))
                if other is not file and _differ(score, theirs):
                    raise BadInput(
                        f"{file.path}: the scores of {method} go from {_range(score)}, those in {other.path} from "
                        f"{_range(theirs)}, as if one were {_kind(score)} and the other {_kind(theirs)}; bring them to "
                        "one scale, or say --same-scale if they are of one"
                    )


def _kind(score: Floats) -> str:
    if score.min() < 0 or score.max() > 100:
        return "logits"
    return "percentages" if score.max() > 1 else "probabilities"


def _differ(a: Floats, b: Floats) -> bool:
    widths = [float(np.ptp(np.quantile(x, [0.05, 0.95]))) for x in (a, b)]
    return _kind(a) != _kind(b) and max(widths) >= _OTHER_SCALE * min(widths)
