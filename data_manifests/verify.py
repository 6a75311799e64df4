"""Compare a licensee's tree with what is published, and list everything that is wrong with it, file by file.

A check has one of three depths: `fast` goes by names, `headers` (the default) opens every file's header, `full`
decodes every image. A full check writes a line for each decoded file (path, size, modification time, problem) into a
state file, so that an interrupted check continues where it stopped and no unchanged file is decoded twice.
"""

import hashlib
import json
import re
import zlib
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from data_manifests import decode as decoder
from data_manifests.adapters import AdapterResult, Options, Problem, index_tree
from data_manifests.adapters.common import counted, printable
from data_manifests.decode import damage_of_image, decode, locate
from data_manifests.errors import BadInput, replacing
from data_manifests.index import MODALITIES, Reference, Row, parse_reference
from data_manifests.lists import CUT_OUTS, MODALITY_OF, RACES, check_lists, is_unopened
from data_manifests.manifests import QUANTITIES, SPLITS, Count, Expected, Manifest, manifest
from data_manifests.parallel import as_done
from data_manifests.protocols import check_subjects, one_class

DEPTHS = ("fast", "headers", "full")
_SIDE = 16  # px; the decoded images are thrown away, but decoding includes resizing
_FIRST = 3  # how many frames or groups a message names of a longer list
_MANY = 50  # how many recordings
_DECODER = hashlib.sha256(Path(decoder.__file__).read_bytes()).hexdigest()  # another one may find other damage


@dataclass(frozen=True)
class Comparison:
    """One number of one group of rows: `expected` as published (None where it is not), `found` in the tree.

    what: subjects, recordings, frames (distinct moments), or images of one modality (`rgb`, `depth`, `ir`), of which
    every frame has one. at_least: the published number is a lower bound.
    """

    group: str
    what: str
    expected: int | None
    found: int
    at_least: bool = False

    @property
    def difference(self) -> int | None:
        return None if self.expected is None else self.found - self.expected

    @property
    def wrong(self) -> bool:
        return (self.difference or 0) < 0 if self.at_least else bool(self.difference)

    def __str__(self) -> str:
        return f"{self.group} {self.what} {self.difference:+}"


@dataclass
class Report:
    """The result of `verify`. It is `ok` when the tree meets every published number and has no problem.

    Paths of `problems` are below `root`. expectation: name of the published counts that `counts` compares with.
    """

    dataset: str
    name: str
    root: str
    layout: str
    depth: str
    expectation: str
    counts: list[Comparison] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    ignored: list[str] = field(default_factory=list)

    @property
    def wrong(self) -> list[Comparison]:
        return [count for count in self.counts if count.wrong]

    @property
    def ok(self) -> bool:
        return not self.problems and not self.wrong

    def as_json(self) -> dict[str, Any]:
        counts = [{**asdict(count), "difference": count.difference, "wrong": count.wrong} for count in self.counts]
        return {"ok": self.ok, **asdict(self), "counts": counts}

    def table(self) -> list[list[str]]:
        """Table lines, header first: group, what, expected, found, difference."""
        lines = [["group", "what", "expected", "found", "difference"]]
        for count in self.counts:
            bound = "at least " if count.at_least else ""
            expected = "not published" if count.expected is None else f"{bound}{count.expected}"
            difference = {None: "-", 0: "0"}.get(count.difference) or f"{count.difference:+}"
            lines.append([count.group, count.what, expected, str(count.found), difference])
        return lines


@dataclass
class _Numbers:
    """What a group of rows holds. Where nobody opened the files, `frames` and `images` count recordings."""

    subjects: set[str] = field(default_factory=set)
    recordings: set[str] = field(default_factory=set)
    frames: int = 0
    images: Counter[str] = field(default_factory=Counter)

    def of(self, what: str) -> int:
        return self.frames if what == "frames" else len(getattr(self, what))

    def add(self, other: "_Numbers") -> None:
        self.subjects |= other.subjects
        self.recordings |= other.recordings
        self.frames += other.frames
        self.images += other.images


_Groups = dict[tuple[str, str, str], _Numbers]  # split, class, family


def _groups(rows: Sequence[Row], splits: Mapping[str, Sequence[str]], halved: Collection[str]) -> _Groups:
    """The numbers of each split, class and family. In a recording of `halved` a frame's colour has another number than
    its depth and infrared, so only rows with a colour image are counted as frames there."""
    split_of = {sample: split for split, samples in splits.items() for sample in samples}
    groups: _Groups = {}
    for row in rows:
        key = (split_of.get(row.sample_id, ""), row.label, row.attack_family)
        numbers = groups.setdefault(key, _Numbers())
        numbers.subjects.add(row.subject_id)
        numbers.recordings.add(row.clip_id)
        numbers.frames += bool(row.rgb) or row.clip_id not in halved
        numbers.images.update(modality for modality in MODALITIES if getattr(row, modality))
    return groups


def _merged(groups: _Groups, split: str = "", label: str = "", family: str = "") -> _Numbers:
    """The numbers of all groups of this split, class and family; an empty text stands for all of them."""
    merged = _Numbers()
    for key, numbers in groups.items():
        if all(wanted in ("", own) for wanted, own in zip((split, label, family), key, strict=True)):
            merged.add(numbers)
    return merged


def _summed(expected: Expected) -> list[Count]:
    """Counts without splits: the sum over the splits for each class and family that all three have.

    Subjects are not summed, since the splits publish them only for some groups.
    """
    groups: dict[tuple[str, str], list[Count]] = {}
    for count in expected.count:
        if count.split:
            groups.setdefault((count.label, count.family), []).append(count)
    summed = [count for count in expected.count if not count.split]
    for (label, family), counts in groups.items():
        published = any((count.label, count.family) == (label, family) for count in summed)
        if {count.split for count in counts} == set(SPLITS) and not published:
            sums = {}
            for what in ("recordings", "frames"):
                values = [v for count in counts if (v := getattr(count, what)) is not None]
                sums[what] = sum(values) if len(values) == len(SPLITS) else None
            summed.append(Count("", label, family, None, **sums))
    return summed


def compare(
    rows: Sequence[Row],
    splits: Mapping[str, Sequence[str]],
    expected: Expected | None,
    modalities: Sequence[str] = MODALITIES,
    halved: Collection[str] = (),
) -> list[Comparison]:
    """Compare each published group, then each class and family without published numbers, then everything.

    `splits` is the protocol that `expected` counts by, empty where the tree does not tell it. Every frame must have an
    image of each of `modalities`: a published group says so where one is short, and the last lines always do. Frames of
    an index by names only are not compared where containers hold them (see `adapters`). For `halved` see `_groups`.
    """
    groups = _groups(rows, splits, halved)
    unopened = any(map(is_unopened, rows))
    counts: Sequence[Count] = ()
    if expected is not None:
        counts = expected.count if any(splits.values()) or not expected.protocol else _summed(expected)
    bounds = expected.at_least if expected else ()
    comparisons = []
    totals: dict[str, int | None] = dict.fromkeys(QUANTITIES)
    for count in counts:
        numbers = _merged(groups, count.split, count.label, count.family)
        group = " ".join(filter(None, (count.split, count.label, count.family)))
        for what in QUANTITIES:
            published = getattr(count, what)
            if published is None or (what == "frames" and unopened):
                continue
            if group:
                comparisons.append(Comparison(group, what, published, numbers.of(what), what in bounds))
            else:
                totals[what] = published
        if group:
            images = [Comparison(group, modality, numbers.frames, numbers.images[modality]) for modality in modalities]
            comparisons += [comparison for comparison in images if comparison.wrong]
    named = {(count.label, count.family) for count in counts}
    for label, family in sorted({(label, family) for _, label, family in groups}):
        if (label, family) not in named:
            recordings = _merged(groups, "", label, family).of("recordings")
            comparisons.append(Comparison(f"{label} {family}".strip(), "recordings", None, recordings))
    every = _merged(groups)
    for what in QUANTITIES:
        bound = totals[what] is not None and what in bounds
        comparisons.append(Comparison("all", what, totals[what], every.of(what), bound))
    return comparisons + [Comparison("all", modality, every.frames, every.images[modality]) for modality in modalities]


def _halved(about: Manifest) -> frozenset[str]:
    """The recordings whose release numbers the colour of a frame otherwise than its depth and infrared."""
    return frozenset(recording for recording, _ in about.unpaired)


def _best_fit(
    about: Manifest, result: AdapterResult, expect: str, notes: list[str]
) -> tuple[Expected | None, list[Comparison]]:
    """The published counts that the tree fits best, in numbers that differ and then in how much, and the comparison.

    `notes` say which counts these are, and what differs from each of the others.
    """
    fits = []
    candidates = (about.expectation(result.layout, expect),) if expect else about.expectations(result.layout)
    for expected in candidates:
        splits = result.protocols.get(expected.protocol, {})
        counts = compare(result.rows, splits, expected, result.modalities, _halved(about))
        wrong = [count for count in counts if count.wrong]
        fits.append((len(wrong), sum(abs(count.difference or 0) for count in wrong), expected, counts, wrong))
    if not fits:
        notes.append(f"no numbers are published for the layout {result.layout}")
        return None, compare(result.rows, {}, None, result.modalities, _halved(about))
    best = min(fits, key=lambda fit: fit[:2])
    for fit in fits:
        _, _, expected, _, wrong = fit
        chosen = "compared with the" if fit is best else "other"
        differ = f"{len(wrong)} numbers differ" + (f": {_some(map(str, wrong))}" if wrong else "")
        notes.append(f"{chosen} counts {expected.name} ({expected.source}; {expected.date}): {differ}")
    return best[2], best[3]


def _some(texts: Iterable[str]) -> str:
    listed = list(texts)
    return ", ".join(listed[:_FIRST]) + (", …" if len(listed) > _FIRST else "")


def _place(row: Row) -> str:
    """How a message calls the row's recording: by its folder below the root, or by its name where a file holds it."""
    path = row.rgb or row.depth or row.ir
    below = path.rpartition("/")[0]
    candidates = () if "#" in path else (below, below.rpartition("/")[0])
    return next((place for place in candidates if place.endswith(row.clip_id)), row.clip_id)


def _image_of(path: str) -> tuple[str, int, str] | None:
    """The recording's place, the frame and the modality of an image file in an image layout; None for another file."""
    folder, _, name = path.rpartition("/")
    stem = name.rpartition(".")[0]
    above, _, last = folder.rpartition("/")
    if last in MODALITY_OF and re.fullmatch("[0-9]{1,9}", stem):
        return above, int(stem), MODALITY_OF[last]
    if stem in MODALITY_OF:
        return folder, 0, MODALITY_OF[stem]
    triplet, _, modality = stem.rpartition("-")
    return (f"{folder}/{triplet}", 0, MODALITY_OF[modality]) if modality in MODALITY_OF else None


def _missing_images(about: Manifest, result: AdapterResult, at_least: int | None) -> Iterator[Problem]:
    """A problem for each recording that lacks a modality, in some frames or in all, or that has too few frames.

    A broken image has a problem of its own and is not called missing too.
    """
    broken = {_image_of(problem.path) for problem in result.problems}
    halved = _halved(about)
    recordings: dict[str, list[Row]] = {}
    for row in result.rows:
        recordings.setdefault(row.clip_id, []).append(row)
    for recording, rows in recordings.items():
        place = _place(rows[0])
        frames = sum(bool(row.rgb) for row in rows) if recording in halved else len(rows)
        lacks = []
        for modality in result.modalities:
            without = [row.frame for row in rows if not getattr(row, modality)]
            if recording in halved and len(rows) - len(without) == frames:
                continue
            without = [frame for frame in without if (place, frame, modality) not in broken]
            if len(without) == len(rows):
                lacks.append(f"holds no {modality}")
            elif without:
                lacks.append(f"lacks {modality} of {counted(len(without), 'frame')} ({_some(map(str, without))})")
        if at_least and frames < at_least:
            lacks.append(f"holds {counted(frames, 'frame')}, at least {at_least} are expected")
        if lacks:
            yield Problem(printable(place), f"{', '.join(lacks)}; restore the images")


def _absent_recordings(result: AdapterResult) -> Iterator[Problem]:
    """A problem for each recording or frame that an owner's list names and the tree lacks, unless another says why."""
    known = "\n".join(problem.path for problem in result.problems)
    modalities = ", ".join(result.modalities)
    for place, name in result.absent.items():
        recording, _, frame = place.partition(":")
        if recording not in known:
            what = "is not in the tree" if frame else "has no frame in the tree"
            yield Problem(printable(place), f"{what}, though {name} names it; restore {modalities}")


_CEFA = ("1_1_1", "3_1_2", "3_2_2", "3_1_4")  # the recordings of every subject
_SURF = {"train": ("real", *CUT_OUTS[3:]), "val": ("real", *CUT_OUTS[:3]), "test": ("real", *CUT_OUTS[:3])}


def _by_rule(dataset: str, result: AdapterResult) -> Iterator[str]:
    """The recordings that the tree should hold by the owner's rule for names: of CeFA those of subjects 000 to 499 of
    the ethnicities that are there, of CASIA-SURF those of the subjects that are there."""
    if dataset == "C":
        races = {m[1] for row in result.rows if (m := re.fullmatch("C:([A-Z]{2})-[0-9]{3}", row.subject_id))}
        for number, race in RACES.items():
            yield from (f"{number}_{i:03}_{code}" for i in range(500) for code in _CEFA if race in races)
    for split, samples in result.protocols.get("S-folders", {}).items():
        codes = ("real", *CUT_OUTS) if result.layout == "surf-crop" else _SURF[split]
        subjects = {m[1] for sample in samples if (m := re.match("S:(CLKJ_[A-Z]+[0-9]{4})/", sample))}
        yield from (f"{subject}/{code}.rssdk" for subject in sorted(subjects) for code in codes)


def _absent_by_rule(dataset: str, result: AdapterResult, wrong: Sequence[Comparison]) -> Iterator[str]:
    """Where recordings are too few, a note on those that the rule names and the tree lacks. It is no problem of its
    own, since public lists lack some recordings too: CASIA-SURF's thirteen."""
    if any(count.what == "recordings" and (count.difference or 0) < 0 for count in wrong):
        known = {row.clip_id for row in result.rows}
        if lacking := [recording for recording in _by_rule(dataset, result) if recording not in known]:
            listed = ", ".join(lacking[:_MANY]) + (", …" if len(lacking) > _MANY else "")
            yield f"{len(lacking)} recordings are not in the tree, though the rule for names has them: {listed}"


def _missing(dataset: str, rows: Sequence[Row]) -> Iterator[str]:
    """A note for families and, of CeFA, ethnicities that the data set has and the tree lacks altogether."""
    families = {row.attack_family for row in rows}
    if missing := sorted({attack.family for attack in manifest(dataset).attack} - families):
        yield f"no recording of {', '.join(missing)} in the tree"
    races = {m[1] for row in rows if (m := re.fullmatch("C:([A-Z]{2})-[0-9]{3}", row.subject_id))}
    if races and (absent := [race for race in RACES.values() if race not in races]):
        yield f"no subject of {', '.join(absent)} in the tree"


def _protocol_problems(result: AdapterResult) -> Iterator[Problem | str]:
    """For the official protocols: subjects in two splits and missing classes as problems, missing families as notes."""
    by_id = {row.sample_id: row for row in result.rows}
    for name, splits in result.protocols.items():
        try:
            check_subjects(name, splits, by_id)
        except BadInput as e:
            yield Problem(name, str(e).removeprefix(f"protocol {name}: "))
        if flaw := one_class(splits, by_id):
            yield Problem(name, f"{flaw}; restore the missing recordings")
        families = {split: {by_id[s].attack_family for s in samples} - {""} for split, samples in splits.items()}
        for split in families:
            if missing := sorted(set().union(*families.values()) - families[split]):
                yield f"{name}: {split} holds no {', '.join(missing)}"


_Images = list[tuple[Reference, str, str, str]]  # reference, modality, shape in the index, depth encoding


def _decoding_problem(job: tuple[Path, _Images]) -> str:
    """Decode the images of one file and say what is wrong, or return the empty text."""
    root, images = job
    reference = images[0][0]
    try:
        for _ in decode(root, images, _SIDE):
            pass
        if not reference.member and (damage := damage_of_image(locate(root, reference.path))):
            return f"{reference.path}: {damage}; copy it again"
    except BadInput as e:
        return str(e)
    except OSError as e:
        return f"{reference.path}: cannot be read ({e.strerror}); check the disk and the permissions"
    return ""


def _files(rows: Sequence[Row]) -> dict[str, _Images]:
    """Path below the root → the images that the rows take from that file."""
    files: dict[str, _Images] = {}
    for row in rows:
        for modality in MODALITIES:
            if text := getattr(row, modality):
                reference = parse_reference(text)
                shape = getattr(row, f"{modality}_shape")
                files.setdefault(reference.path, []).append((reference, modality, shape, row.depth_encoding))
    return files


def _line(entry: list[Any]) -> bytes:
    """A line of the state: what was found of a file, and a checksum of that."""
    return json.dumps([*entry, zlib.crc32(json.dumps(entry).encode())]).encode()


def _read_state(state: Path) -> dict[str, list[Any]]:
    """Path → [size, mtime_ns, hash of the images, problem]. A line that was cut short or changed does not count."""
    known = {}
    with suppress(FileNotFoundError):
        for line in state.read_bytes().split(b"\n"):
            with suppress(ValueError, RecursionError):  # a line that was cut short or belongs to another kind of file
                entry = json.loads(line)
                if isinstance(entry, list) and len(entry) == 6 and line == _line(entry[:-1]):
                    known[entry[0]] = entry[1:-1]
    return known


def decode_all(root: Path, rows: Sequence[Row], state: Path, workers: int | None = None) -> tuple[list[Problem], int]:
    """Decode every image of `rows`; return the problems and how many files `state` knew already.

    A file is decoded again when its size, its modification time, the images that rows take from it or the decoder
    changed.
    """
    known = _read_state(state)
    problems: list[Problem] = []
    already = 0
    waiting: list[tuple[str, list[Any], tuple[Path, _Images]]] = []
    for path, images in _files(rows).items():
        try:
            stat = locate(root, path).stat()
        except OSError:
            problems.append(Problem(path, "no such file; restore it"))
            continue
        images_hash = hashlib.sha256(f"{_DECODER}{images!r}".encode("utf-8", "surrogatepass")).hexdigest()[:16]
        key = [stat.st_size, stat.st_mtime_ns, images_hash]
        if path in known and known[path][:3] == key:
            already += 1
            problems += _problem(path, known[path][3])
        else:
            waiting.append((path, key, (root, images)))
    state.parent.mkdir(parents=True, exist_ok=True)
    with state.open("ab") as f:
        if f.tell():
            f.write(b"\n")  # end a line that may have been cut short
        for i, what in as_done(_decoding_problem, [job for *_, job in waiting], "decoding", workers):
            path, key, _ = waiting[i]
            f.write(_line([path, *key, what]) + b"\n")
            f.flush()
            problems += _problem(path, what)
    return problems, already


def _problem(path: str, what: str) -> list[Problem]:
    return [Problem(path, what.removeprefix(f"{path}: "))] if what else []


def verify(
    dataset: str,
    root: Path,
    depth: str = "headers",
    options: Options | None = None,
    expect: str = "",
    lists: Path | None = None,
    state: Path | None = None,
) -> Report:
    """Compare the tree at `root` with what is published.

    depth: one of `DEPTHS`; `full` needs `state`. expect: name of the manifest's published counts; otherwise those that
    fit best. lists: folder of public lists, to check them against the tree too. Raises `BadInput` when the tree has no
    known layout; the report holds every other problem.
    """
    about = manifest(dataset)
    result = index_tree(dataset, root, replace(options or Options(), collect=True, names_only=depth == "fast"))
    report = Report(dataset, about.name, str(root), result.layout, depth, "")
    report.problems, report.notes, report.ignored = list(result.problems), list(result.notes), list(result.ignored)
    expected, report.counts = _best_fit(about, result, expect, report.notes)
    if expected is not None:
        report.expectation = expected.name
        if expected.protocol and not result.protocols.get(expected.protocol):
            report.notes.append(f"the tree does not tell the splits of {expected.protocol}; their sums are compared")
    unopened = any(map(is_unopened, result.rows))
    at_least = expected.frames_a_recording if expected and not unopened else None
    report.problems += [*_missing_images(about, result, at_least), *_absent_recordings(result)]
    report.problems += [loss for loss in result.losses if loss.path not in _halved(about)]
    report.notes += _absent_by_rule(dataset, result, report.wrong)
    if unopened:
        report.notes.append("--fast opens no file, so what the HDF5 files hold is not checked")
    report.notes += _missing(dataset, result.rows)
    for finding in _protocol_problems(result):
        (report.problems if isinstance(finding, Problem) else report.notes).append(finding)  # type: ignore[arg-type]
    if lists is not None:
        try:
            problems, notes = check_lists(dataset, result, lists)
        except BadInput as e:
            report.problems.append(Problem(str(lists), str(e).removeprefix(f"{lists}: ")))
        else:
            known = {problem.path for problem in report.problems}
            report.problems += [problem for problem in problems if problem.path not in known]
            report.notes += notes
    if depth == "full":
        if state is None:
            raise BadInput("verify --full needs a state file; name it with --state")
        broken, already = decode_all(root, result.rows, state, (options or Options()).workers)
        seen = {problem.path for problem in report.problems}
        report.problems += [problem for problem in broken if problem.path not in seen]
        if already:
            report.notes.append(f"{already} files were decoded before and have not changed ({state})")
    return report


def save(report: Report, path: Path) -> None:
    """Write the report as JSON, whole or not at all."""
    with replacing(path) as f:
        f.write(json.dumps(report.as_json(), indent=1, ensure_ascii=False).encode() + b"\n")
