"""`python -m data_manifests VERB`: check licensed data sets, index them and make the papers' protocols.

list                                      the data sets and where they come from
describe SET                              everything published about one: layouts, codes, counts, lists, defects
verify SET --root DIR                     compare a tree with what is published; exit status 1 when anything is wrong
index SET --root DIR --out FOLDER         make an index of one tree
index --roots roots.toml --out FOLDER     make one index of all trees that a file names
protocol NAME [--index FILE]              say what a protocol is, or add it to an index
croissant SET [--index FILE]              the description as Croissant 1.0 metadata

SET is the letter or the name of a data set: C CASIA-SURF CeFA, S CASIA-SURF, W WMCA, H HQ-WMCA, P PADISI-Face.
`roots.toml` names each tree, `C = "/data/cefa"`, and under `[lists]` the folder of the public lists,
`mmdg = "/data/mmdg"`.
"""

import argparse
import hashlib
import json
import os
import re
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from data_manifests.adapters import LAYOUTS, AdapterResult, Options, index_tree
from data_manifests.croissant import croissant
from data_manifests.errors import BadInput, cli_errors, refuse_unwritable
from data_manifests.index import (
    DATASETS,
    MODALITIES,
    Row,
    load_index,
    read_lists,
    read_roots,
    resolved,
    root_texts,
    save_index,
)
from data_manifests.lists import mmdg
from data_manifests.manifests import FILES, SPLITS, Count, Manifest, ProtocolRule, letter, manifest
from data_manifests.parallel import shown
from data_manifests.protocols import (
    CROSSING,
    DERIVED,
    MMFAS_SEED,
    SOURCE,
    check_subjects,
    derive,
    mmfas,
    official,
    one_class,
)
from data_manifests.verify import save, verify

_FIRST = 3  # how many file names a message lists of a longer list
_STATES = Path("build/verify")

Protocols = dict[str, dict[str, list[str]]]


def coverage(rows: Sequence[Row]) -> list[list[str]]:
    """Table lines, header first: recordings, subjects, frames and missing modalities of each set, class and family."""
    groups: dict[tuple[str, str, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row.dataset, row.label, row.attack_family), []).append(row)
    lines = [["set", "class", "family", "recordings", "subjects", "frames", "no rgb", "no depth", "no ir"]]
    for (dataset, label, family), members in groups.items():
        counts = [len({r.clip_id for r in members}), len({r.subject_id for r in members}), len(members)]
        counts += [sum(not getattr(r, modality) for r in members) for modality in MODALITIES]
        lines.append([dataset, label, family or "-", *map(str, counts)])
    return lines


def _print_table(lines: Sequence[Sequence[str]], words: int) -> None:
    """Print aligned columns: the first `words` of them to the left, the others, numbers, to the right."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        cells = (c.ljust(w) if i < words else c.rjust(w) for i, (c, w) in enumerate(zip(line, widths, strict=True)))
        print("  ".join(cells).rstrip())


def _relative_as_before(path: Path, roots: Mapping[str, Path], out: Path) -> dict[str, str]:
    """The roots for the roots.toml in `out`; a relative root stays relative, so that trees and index can move."""
    texts = root_texts(path)
    return {
        letter: str(root) if Path(texts[letter]).is_absolute() else os.path.relpath(root, out.resolve())
        for letter, root in roots.items()
    }


def _tree_options(options: argparse.Namespace) -> Options:
    return Options(
        workers=options.workers,
        swir_nm=options.swir_nm,
        names_only=getattr(options, "names_only", False),
        layouts=tuple(options.layout),
        depth_maps=options.depth_maps,
        unpickle=options.unpickle,
    )


def _ignored(names: Sequence[str]) -> str:
    first = ", ".join(names[:_FIRST]) + (", …" if len(names) > _FIRST else "")
    return f"{len(names)} files of the operating system ignored: {first}"


def _gather(roots: Mapping[str, Path], file: Path | None, options: Options) -> tuple[list[Row], Protocols, list[str]]:
    """The rows, the usable official protocols and the notes of every tree. `file` names the roots, if one does."""
    rows: list[Row] = []
    protocols: Protocols = {}
    notes: list[str] = []
    for code, root in roots.items():
        try:
            result: AdapterResult = index_tree(code, root, options)
        except BadInput as e:
            raise BadInput(f"{file}: {e}" if file else str(e)) from None
        rows += result.rows
        protocols |= result.protocols
        notes += result.notes
        if result.ignored:
            notes.append(f"{code}: {_ignored(result.ignored)}")
    by_id = {row.sample_id: row for row in rows}
    for name, splits in list(protocols.items()):  # what is left of a partial copy is still of use
        flaw = one_class(splits, by_id)
        try:
            check_subjects(name, splits, by_id)
        except BadInput as e:
            flaw = str(e).removeprefix(f"protocol {name}: ")
        if flaw:
            notes.append(f"{name}: left out, since {flaw}")
            del protocols[name]
    return rows, protocols, notes


def _print_protocols(protocols: Mapping[str, Mapping[str, Sequence[str]]], rows: Mapping[str, Row]) -> None:
    lines = [["protocol", "split", "subjects", "frames", "of them bona fide"]]
    for name, splits in protocols.items():
        for split, samples in splits.items():
            labels = Counter(rows[s].label for s in samples)
            subjects = len({rows[s].subject_id for s in samples})
            lines.append([name, split, str(subjects), str(len(samples)), str(labels["bonafide"])])
    _print_table(lines, words=2)


def index(options: argparse.Namespace) -> None:
    """Index one tree (SET --root DIR --out FOLDER) or every tree named in a file (--roots FILE --out FOLDER)."""
    lists: Mapping[str, Path] = {}
    if options.set is not None:
        if options.root is None or options.roots is not None:
            raise BadInput("index SET takes --root DIR, not --roots; several trees at once are named in a roots.toml")
        out = options.out.parent if options.out.suffix == ".csv" else options.out
        if options.out.suffix == ".csv" and options.out.name != "index.csv":
            folder = options.out.with_suffix("")
            raise BadInput(f"--out {options.out}: an index is called index.csv; give {folder}/index.csv")
        roots = {letter(options.set): resolved(options.root)}
        written = {code: str(root) for code, root in roots.items()}
    else:
        if options.roots is None or options.root is not None:
            raise BadInput("index takes either SET --root DIR or --roots FILE")
        out = options.out
        roots, lists = read_roots(options.roots), read_lists(options.roots)
        if not roots:
            raise BadInput(f'{options.roots}: names no data set; write lines such as C = "/data/cefa"')
        written = _relative_as_before(options.roots, roots, out)
    refuse_unwritable(out)
    if unknown := set(lists) - {"mmdg"}:
        raise BadInput(f"{options.roots}: lists {sorted(unknown)[0]!r} are not known; there is mmdg")
    rows, protocols, notes = _gather(roots, options.roots, _tree_options(options))
    by_id = {row.sample_id: row for row in rows}
    union, left_out = official(rows, protocols)
    notes += left_out
    if union:
        check_subjects("official", union, by_id)
        protocols["official"] = union
    if "mmdg" in lists:
        benchmark = mmdg(rows, lists["mmdg"])
        protocols[benchmark.name] = benchmark.splits
        notes += benchmark.notes
    try:
        protocols["mmfas"], left_out = mmfas(rows, seed=options.mmfas_seed)
        notes += left_out
    except BadInput as e:
        notes.append(f"mmfas left out: {e}")
    is_new = save_index(out, rows, protocols, written)
    _print_table(coverage(rows), words=3)
    for note in notes:
        print(f"note: {note}")
    _print_protocols(protocols, by_id)
    state = "written" if is_new else "already there and identical, left untouched"
    print(f"{out / 'index.csv'}: {len(rows)} frames, {state}")


def list_sets(options: argparse.Namespace) -> None:
    """List the data sets: year, owner, modalities, layouts."""
    lines = [["set", "name", "year", "modalities", "layouts", "owner"]]
    for code in FILES:
        about = manifest(code)
        modalities = ", ".join(modality.name for modality in about.modality)
        layouts = ", ".join(layout.id for layout in about.layout)
        lines.append([code, about.name, str(about.year), modalities, layouts, about.owner])
    _print_table(lines, words=6)


def _number(value: int | None) -> str:
    return "not published" if value is None else str(value)


def _group(count: Count) -> str:
    return " ".join(filter(None, (count.split, count.label, count.family))) or "all"


def _size(rule: ProtocolRule) -> str:
    sizes = ((what, getattr(rule, what)) for what in ("recordings", "frames"))
    texts = [f"{what} {' / '.join(_number(n.get(split)) for split in SPLITS)}" for what, n in sizes if n]
    return "; ".join(texts) or "size not published"


def describe(options: argparse.Namespace) -> None:
    """Print everything published about a data set."""
    about = manifest(letter(options.set))
    print(f"{about.name} ({about.code}), {about.year}, {about.publication}")
    for what in ("owner", "url", "access", "licence", "figures", "personal_data"):
        print(f"  {what.replace('_', ' ')}: {getattr(about, what)}")
    _describe_parts(about)


def _describe_parts(about: Manifest) -> None:
    print("modalities")
    for modality in about.modality:
        print(f"  {modality.name}: {modality.sensor}; {modality.detail}")
    print("layouts")
    for layout in about.layout:
        print(f"  {layout.id}: {layout.tree}\n    {layout.note}")
    print("attacks")
    for attack in about.attack:
        print(f"  {attack.family}: {', '.join(attack.codes)}: {attack.what}")
    print("protocols")
    for rule in about.protocol:
        print(f"  {rule.name}: {rule.what} ({_size(rule)})")
    for expected in about.expected:
        bounds = f"; {' and '.join(expected.at_least)} are lower bounds" if expected.at_least else ""
        where = f"{expected.name}; {expected.source}; {expected.date}{bounds}"
        print(f"expected in {', '.join(expected.layouts)} ({where})")
        lines = [["group", "subjects", "recordings", "frames"]]
        lines += [[_group(c), *(_number(v) for v in (c.subjects, c.recordings, c.frames))] for c in expected.count]
        _print_table(lines, words=1)
    if about.list:
        print("public lists")
        lines = [["file", "of", "live is", "lines", "bona fide", "attack", "frames", "recordings", "sha1"]]
        for entry in about.list:
            counts = [_number(v) for v in (entry.lines, entry.bonafide, entry.attack, entry.frames, entry.recordings)]
            lines.append([entry.file, entry.benchmark, entry.live, *counts, f"{entry.sha1}…" if entry.sha1 else "-"])
        _print_table(lines, words=3)
    print("known defects")
    for defect in about.defect:
        print(f"  {defect.name}: {defect.what}")


def verify_tree(options: argparse.Namespace) -> None:
    """Compare a tree with what is published; exit status 1 when anything is wrong."""
    code = letter(options.set)
    depth = "fast" if options.fast else "full" if options.full else "headers"
    root = resolved(options.root)
    state = options.state
    if depth == "full" and state is None:
        state = _STATES / f"{code}-{hashlib.sha256(str(root).encode('utf-8', 'surrogateescape')).hexdigest()[:8]}.jsonl"
    report = verify(code, root, depth, _tree_options(options), options.expect, options.lists, state)
    if options.json is not None:
        save(report, options.json)
    print(f"{report.name} at {report.root}, layout {report.layout}, {report.depth}")
    _print_table(report.table(), words=2)
    for note in report.notes:
        print(f"note: {note}")
    if report.ignored:
        print(f"note: {_ignored(report.ignored)}")
    for problem in report.problems:
        print(f"problem: {problem}")
    against = f", compared with the counts {report.expectation}" if report.expectation else ""
    verdict = f"{len(report.wrong)} numbers differ, {len(report.problems)} problems{against}"
    print(f"{'verified' if report.ok else 'not verified'}: {verdict}")
    if not report.ok:
        raise SystemExit(1)


def protocol(options: argparse.Namespace) -> None:
    """Say what a protocol is or, with --index, add it to an index and count it."""
    rules = {rule.name: (code, rule) for code in FILES for rule in manifest(code).protocol}
    code, rule = rules.get(options.name, ("", None))
    if rule is not None:
        print(f"{rule.name} of {DATASETS[code]}: {rule.what} ({_size(rule)})")
    elif options.name in _GENERAL:
        print(_GENERAL[options.name])
    elif rules.get(options.name.removeprefix("mmfas-"), ("",))[0] == SOURCE:
        print(f"mmFAS trained, validated and tested on C by {options.name.removeprefix('mmfas-')}.")
    elif options.index is None:
        known = ", ".join([*rules, *_GENERAL])
        raise BadInput(f"no protocol {options.name!r}; there is {known}, and mmfas-<protocol of C>")
    if options.index is None:
        return
    index = load_index(options.index)
    if rule is not None and rule.name not in index.protocols and rule.name not in DERIVED:
        made = f"made when {code} is indexed with the owner's folders and lists"
        raise BadInput(f"no protocol {rule.name!r} in {options.index}; it is {made}, so index {code} again with them")
    rows = [*shown(index.rows, f"reading {options.index}")]
    by_id = {row.sample_id: row for row in rows}
    ids = [row.sample_id for row in rows]
    protocols: Protocols = {
        name: {split: [ids[i] for i in numbers] for split, numbers in splits.items()}
        for name, splits in index.protocols.items()
    }
    name = options.name
    if name == "mmdg" and name not in protocols:
        if options.lists is None:
            raise BadInput("protocol mmdg needs the folder of MMDG's lists; name it with --lists")
        benchmark = mmdg(rows, options.lists)
        name, splits, notes = benchmark.name, benchmark.splits, benchmark.notes
    else:
        splits, notes = derive(name, rows, protocols, options.mmfas_seed)
    if name not in CROSSING:
        check_subjects(name, splits, by_id)
    if flaw := one_class(splits, by_id):
        raise BadInput(f"protocol {name}: {flaw} in this index; restore the missing recordings of the data set")
    added = protocols.get(name) != splits
    protocols[name] = splits
    if added:
        save_index(options.index.parent, rows, protocols, root_texts(options.index.parent / "roots.toml"))
    for note in notes:
        print(f"note: {note}")
    _print_protocols({name: splits}, by_id)
    if rule is not None:
        for what in ("recordings", "frames"):
            for split, published in getattr(rule, what).items():
                members = splits.get(split, [])
                n = len({by_id[s].clip_id for s in members}) if what == "recordings" else len(members)
                print(f"{split}: {n} {what}, published are {published}, difference {n - published:+}")
    print(f"{options.index}: {name} {'added' if added else 'already there, left untouched'}")


_GENERAL = {
    "mmfas": "mmFAS: whole subjects of C, 6 : 1 : 13 in images, and all of S, W and H to test.",
    "mmfas-subjects": "mmFAS with 6 : 1 : 13 counted in subjects.",
    "mmfas-images": "mmFAS with single images drawn 6 : 1 : 13, so that subjects are in several splits.",
    "official": "Train, val and test of C, S, W and P by one protocol of each owner, for leave-one-set-out training.",
    "mmdg": "MMDG's lists of C, S, W and P; takes the folder of the lists.",
}


def print_croissant(options: argparse.Namespace) -> None:
    """Print a data set's description as Croissant 1.0 (JSON-LD)."""
    print(json.dumps(croissant(manifest(letter(options.set)), options.index), indent=1, ensure_ascii=False))
    if options.index is None:
        remedy = "put this beside an index.csv or name one with --index, or a reader finds no records"
        print(f"note: {remedy}", file=sys.stderr)


def _at_least_one(text: str) -> int:
    if not re.fullmatch("[1-9][0-9]{0,5}", text):
        raise argparse.ArgumentTypeError(f"{text} is not a number from 1 up")
    return int(text)


def _layout(text: str) -> str:
    known = [layout.id for layouts in LAYOUTS.values() for layout in layouts]
    if text not in known:
        raise argparse.ArgumentTypeError(f"no layout {text!r}; there is {', '.join(known)}")
    return text


def _reading_options(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("--workers", type=_at_least_one, help="processes that read files (default: one for each core)")
    verb.add_argument(
        "--layout", type=_layout, action="append", default=[], help="layout to read, where a root holds several"
    )
    verb.add_argument(
        "--swir-nm", type=_at_least_one, default=1300, help="HQ-WMCA band, in nm, taken as infrared (default 1300)"
    )
    verb.add_argument("--depth-maps", default="", help="folder below the HQ-WMCA root with depth maps to use instead")
    verb.add_argument("--unpickle", action="store_true", help="allow PADISI-Face's joblib file, which is a pickle")


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        "python -m data_manifests", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    verbs = parser.add_subparsers(required=True, metavar="VERB")

    verb = verbs.add_parser("list", help=list_sets.__doc__, description=list_sets.__doc__)
    verb.set_defaults(run=list_sets)

    verb = verbs.add_parser("describe", help=describe.__doc__, description=describe.__doc__)
    verb.set_defaults(run=describe)
    verb.add_argument("set", metavar="SET", help="C, S, W, H, P or a name")

    verb = verbs.add_parser("verify", help=verify_tree.__doc__, description=verify_tree.__doc__)
    verb.set_defaults(run=verify_tree)
    verb.add_argument("set", metavar="SET", help="C, S, W, H, P or a name")
    verb.add_argument("--root", type=Path, required=True, help="the data set's tree")
    deep = verb.add_mutually_exclusive_group()
    deep.add_argument("--fast", action="store_true", help="go by names and open no image")
    deep.add_argument("--full", action="store_true", help="decode every image, or continue an interrupted --full")
    verb.add_argument("--expect", default="", help="published counts to compare with (default: what fits best)")
    verb.add_argument("--lists", type=Path, metavar="FOLDER", help="compare the tree with the public lists there too")
    verb.add_argument("--json", type=Path, metavar="FILE", help="write the report as JSON")
    verb.add_argument("--state", type=Path, metavar="FILE", help=f"record of --full (default in {_STATES})")
    _reading_options(verb)

    verb = verbs.add_parser("index", help=index.__doc__, description=index.__doc__)
    verb.set_defaults(run=index)
    verb.add_argument("set", metavar="SET", nargs="?", help="C, S, W, H, P or a name; leave it out with --roots")
    verb.add_argument("--root", type=Path, help="the tree of SET")
    verb.add_argument("--roots", type=Path, help='TOML file with lines such as C = "/data/cefa"')
    verb.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="folder of the index, or its index.csv")
    verb.add_argument("--names-only", action="store_true", help="open no image: rows can be counted, not decoded")
    verb.add_argument("--mmfas-seed", type=int, default=MMFAS_SEED, help=f"draws mmFAS's split (default {MMFAS_SEED})")
    _reading_options(verb)

    verb = verbs.add_parser("protocol", help=protocol.__doc__, description=protocol.__doc__)
    verb.set_defaults(run=protocol)
    verb.add_argument("name", metavar="NAME", help="such as official, mmfas-images, C-p4.1, W-LOO_prints, mmdg")
    verb.add_argument("--index", type=Path, metavar="FILE", help="index.csv that the protocol is added to")
    verb.add_argument("--lists", type=Path, metavar="FOLDER", help="MMDG's lists")
    verb.add_argument("--mmfas-seed", type=int, default=MMFAS_SEED, help=f"draws mmFAS's split (default {MMFAS_SEED})")

    verb = verbs.add_parser("croissant", help=print_croissant.__doc__, description=print_croissant.__doc__)
    verb.set_defaults(run=print_croissant)
    verb.add_argument("set", metavar="SET", help="C, S, W, H, P or a name")
    verb.add_argument("--index", type=Path, metavar="FILE", help="index.csv with the records, named with its hash")

    options = parser.parse_args(argv)
    with cli_errors():
        options.run(options)


if __name__ == "__main__":
    main(sys.argv[1:])
