"""Compare a licensee's tree with what is published, and list everything that is wrong with it, file by file.

A check has one of three depths: `fast` goes by names, `headers` (the default) opens every file's header, `full`
decodes every image. A full check writes a line for each decoded file (path, size, modification time, problem) into a
state file, so that an interrupted check continues where it stopped and no unchanged file is decoded twice.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from data_manifests.adapters import AdapterResult, Options, Problem, index_tree
from data_manifests.decode import decode, locate
from data_manifests.errors import BadInput, replacing
from data_manifests.index import MODALITIES, Reference, Row, parse_reference
from data_manifests.lists import RACES, mmdg
from data_manifests.manifests import SPLITS, Count, Expected, manifest
from data_manifests.parallel import as_done
from data_manifests.protocols import check_subjects, one_class

DEPTHS = ("fast", "headers", "full")
_QUANTITIES = ("subjects", "recordings", "frames")
_SIDE = 16  # px; the decoded images are thrown away, but decoding includes resizing


@dataclass(frozen=True)
class Comparison:
    """One number of one group of rows: `expected` as published (None where it is not), `found` in the tree."""

    group: str
    what: str
    expected: int | None
    found: int

    @property
    def difference(self) -> int | None:
        return None if self.expected is None else self.found - self.expected


@dataclass
class Report:
    """The result of `verify`. It is `ok` when the tree meets every published number and has no problem."""

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
    def ok(self) -> bool:
        return not self.problems and not any(count.difference for count in self.counts)

    def as_json(self) -> dict[str, Any]:
        counts = [{**asdict(count), "difference": count.difference} for count in self.counts]
        return {"ok": self.ok, **asdict(self), "counts": counts}

    def table(self) -> list[list[str]]:
        """Table lines, header first: group, what, expected, found, difference."""
        lines = [["group", "what", "expected", "found", "difference"]]
        for count in self.counts:
            expected = "not published" if count.expected is None else str(count.expected)
            difference = {None: "-", 0: "0"}.get(count.difference) or f"{count.difference:+}"
            lines.append([count.group, count.what, expected, str(count.found), difference])
        return lines


def _numbers(rows: Sequence[Row]) -> dict[str, int]:
    return {
        "subjects": len({row.subject_id for row in rows}),
        "recordings": len({row.clip_id for row in rows}),
        "frames": len(rows),
    }


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


def compare(rows: Sequence[Row], splits: Mapping[str, Sequence[str]], expected: Expected | None) -> list[Comparison]:
    """Compare each published group, then each class and family without published numbers, then everything.

    `splits` is the protocol that `expected` counts by, empty where the tree does not tell it. Frames of an index by
    names only are not compared where containers hold them (see `adapters`).
    """
    split_of = {sample: split for split, samples in splits.items() for sample in samples}
    unopened = any(row.names_only and row.rgb.lower().endswith((".h5", ".hdf5")) for row in rows)
    counts: Sequence[Count] = ()
    if expected is not None:
        counts = expected.count if split_of or not expected.protocol else _summed(expected)
    comparisons = []
    totals: dict[str, int | None] = dict.fromkeys(_QUANTITIES)
    for count in counts:
        members = [
            row
            for row in rows
            if (not count.split or split_of.get(row.sample_id) == count.split)
            and (not count.label or row.label == count.label)
            and (not count.family or row.attack_family == count.family)
        ]
        numbers = _numbers(members)
        group = " ".join(filter(None, (count.split, count.label, count.family)))
        for what in _QUANTITIES:
            published = getattr(count, what)
            if published is None or (what == "frames" and unopened):
                continue
            if group:
                comparisons.append(Comparison(group, what, published, numbers[what]))
            else:
                totals[what] = published
    named = {(count.label, count.family) for count in counts}
    for label, family in sorted({(row.label, row.attack_family) for row in rows}):
        if (label, family) not in named:
            numbers = _numbers([row for row in rows if (row.label, row.attack_family) == (label, family)])
            group = f"{label} {family}".strip()
            comparisons.append(Comparison(group, "recordings", None, numbers["recordings"]))
    return comparisons + [Comparison("all", what, totals[what], n) for what, n in _numbers(rows).items()]


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
    try:
        for _ in decode(root, images, _SIDE):
            pass
    except BadInput as e:
        return str(e)
    except OSError as e:
        return f"{images[0][0].path}: cannot be read ({e.strerror}); check the disk and the permissions"
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


def _read_state(state: Path) -> dict[str, list[Any]]:
    """Path → [size, mtime_ns, hash of the images, problem]. A last line that was cut short does not count."""
    known = {}
    with suppress(FileNotFoundError):
        for line in state.read_bytes().split(b"\n"):
            with suppress(ValueError, RecursionError):  # a line that was cut short or belongs to another kind of file
                entry = json.loads(line)
                if isinstance(entry, list) and len(entry) == 5 and isinstance(entry[0], str):
                    known[entry[0]] = entry[1:]
    return known


def decode_all(root: Path, rows: Sequence[Row], state: Path, workers: int | None = None) -> tuple[list[Problem], int]:
    """Decode every image of `rows`; return the problems and how many files `state` knew already.

    A file is decoded again when its size, its modification time or the images that rows take from it changed.
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
        images_hash = hashlib.sha256(repr(images).encode("utf-8", "surrogatepass")).hexdigest()[:16]
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
            f.write(json.dumps([path, *key, what]).encode() + b"\n")
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

    depth: one of `DEPTHS`; `full` needs `state`. expect: name of the manifest's published counts, where a layout has
    several. lists: folder of MMDG's lists, to check them against the tree too. Raises `BadInput` when the tree has no
    known layout; the report holds every other problem.
    """
    about = manifest(dataset)
    result = index_tree(dataset, root, replace(options or Options(), collect=True, names_only=depth == "fast"))
    expected = about.expectation(result.layout, expect)
    report = Report(dataset, about.name, str(root), result.layout, depth, expected.name if expected else "")
    report.problems, report.notes, report.ignored = list(result.problems), list(result.notes), list(result.ignored)
    splits = result.protocols.get(expected.protocol, {}) if expected else {}
    if expected is None:
        report.notes.append(f"no numbers are published for the layout {result.layout}")
    elif expected.protocol and not splits:
        report.notes.append(f"the tree does not tell the splits of {expected.protocol}; their sums are compared")
    report.counts = compare(result.rows, splits, expected)
    report.notes += _missing(dataset, result.rows)
    for finding in _protocol_problems(result):
        (report.problems if isinstance(finding, Problem) else report.notes).append(finding)  # type: ignore[arg-type]
    if lists is not None:
        try:
            benchmark = mmdg(result.rows, lists)
        except BadInput as e:
            report.problems.append(Problem(str(lists), str(e)))
        else:
            report.problems += [Problem(str(lists), f"not the published list: {text}") for text in benchmark.altered]
            report.notes += benchmark.notes
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
