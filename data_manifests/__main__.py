"""`python -m data_manifests VERB`: from a licensee's trees to verified indexes and the papers' protocols.

list                                      the data sets and where they come from
describe SET                              everything published about one: layouts, codes, counts, lists, defects
verify SET --root DIR                     a tree against what is published; exit status 1 when anything is wrong
index SET --root DIR --out FILE           one tree to an index
index --roots roots.toml --out FOLDER     every tree named in a file to one index
protocol NAME [--index FILE]              what a protocol is, or that protocol added to an index
croissant SET                             the description as Croissant 1.0 metadata

SET is C CASIA-SURF CeFA, S CASIA-SURF, W WMCA, H HQ-WMCA, P PADISI-Face, by letter or name. `roots.toml` names each
tree, `C = "/data/cefa"`, and under `[lists]` the folder of the public lists, `mmdg = "/data/mmdg"`.
"""

import argparse
import hashlib
import json
import os
import sys
import tomllib
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from data_manifests.adapters import AdapterResult, Options, index_tree
from data_manifests.croissant import croissant
from data_manifests.errors import BadInput, cli_errors
from data_manifests.index import DATASETS, MODALITIES, Row, load_index, read_lists, read_roots, save_index
from data_manifests.lists import mmdg
from data_manifests.manifests import FILES, SPLITS, Count, Manifest, ProtocolRule, letter, manifest
from data_manifests.protocols import (
    CROSSING,
    MMFAS_SEED,
    check_subjects,
    derive,
    mmfas,
    official,
    one_class,
)
from data_manifests.verify import save, verify

_SHOWN = 3  # file names listed of a longer list
_STATES = Path("build/verify")

Protocols = dict[str, dict[str, list[str]]]


def coverage(rows: Sequence[Row]) -> list[list[str]]:
    """Table lines, header first: set × class × family with clips, subjects, frames and missing modalities."""
    groups: dict[tuple[str, str, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row.dataset, row.label, row.attack_family), []).append(row)
    lines = [["set", "class", "family", "clips", "subjects", "frames", "no rgb", "no depth", "no ir"]]
    for (dataset, label, family), members in groups.items():
        counts = [len({r.clip_id for r in members}), len({r.subject_id for r in members}), len(members)]
        counts += [sum(not getattr(r, modality) for r in members) for modality in MODALITIES]
        lines.append([dataset, label, family or "-", *map(str, counts)])
    return lines


def _print_table(lines: Sequence[Sequence[str]], words: int) -> None:
    """Columns aligned, the first `words` of them to the left, the numbers to the right."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        cells = (c.ljust(w) if i < words else c.rjust(w) for i, (c, w) in enumerate(zip(line, widths, strict=True)))
        print("  ".join(cells).rstrip())


def _kept_relative(path: Path, roots: Mapping[str, Path], out: Path) -> dict[str, str]:
    """The roots as FOLDER's roots.toml names them: a relative root stays relative, so the whole can be moved."""
    written = tomllib.loads(path.read_text(encoding="utf-8"))
    return {
        letter: str(root) if Path(written[letter]).is_absolute() else os.path.relpath(root, out.resolve())
        for letter, root in roots.items()
    }


def _options(args: argparse.Namespace) -> Options:
    return Options(
        workers=args.workers,
        swir_nm=args.swir_nm,
        names_only=getattr(args, "names_only", False),
        layouts=tuple(args.layout),
        depth_maps=args.depth_maps,
        unpickle=args.unpickle,
    )


def _gather(roots: Mapping[str, Path], options: Options) -> tuple[list[Row], Protocols, list[str]]:
    """Rows, usable official protocols and notes of every tree."""
    rows: list[Row] = []
    protocols: Protocols = {}
    notes: list[str] = []
    for code, root in roots.items():
        result: AdapterResult = index_tree(code, root, options)
        rows += result.rows
        protocols |= result.protocols
        notes += result.notes
        if result.ignored:
            shown = ", ".join(result.ignored[:_SHOWN]) + (", …" if len(result.ignored) > _SHOWN else "")
            notes.append(f"{code}: {len(result.ignored)} files of the operating system ignored: {shown}")
    by_id = {row.sample_id: row for row in rows}
    for name, splits in list(protocols.items()):
        check_subjects(name, splits, by_id)
        if flaw := one_class(splits, by_id):  # a partial copy of a data set is no reason not to use it
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


def index(args: argparse.Namespace) -> None:
    """Index one tree (SET --root DIR --out FILE) or every tree named in a file (--roots FILE --out FOLDER)."""
    lists: Mapping[str, Path] = {}
    if args.set is not None:
        if args.root is None or args.roots is not None:
            raise BadInput("index SET takes --root DIR, not --roots; several trees at once are named in a roots.toml")
        out = args.out.parent if args.out.suffix == ".csv" else args.out
        if args.out.suffix == ".csv" and args.out.name != "index.csv":
            raise BadInput(f"--out {args.out}: an index is called index.csv; give {args.out.with_suffix('')}/index.csv")
        roots = {letter(args.set): args.root.resolve()}
        written_roots = {code: str(root) for code, root in roots.items()}
    else:
        if args.roots is None or args.root is not None:
            raise BadInput("index takes either SET --root DIR or --roots FILE")
        out = args.out
        roots, lists = read_roots(args.roots), read_lists(args.roots)
        if not roots:
            raise BadInput(f'{args.roots}: names no data set; write lines such as C = "/data/cefa"')
        written_roots = _kept_relative(args.roots, roots, out)
    if unknown := set(lists) - {"mmdg"}:
        raise BadInput(f"{args.roots}: lists {sorted(unknown)[0]!r} are not known; there is mmdg")
    rows, protocols, notes = _gather(roots, _options(args))
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
        protocols["mmfas"], left_out = mmfas(rows, seed=args.mmfas_seed)
        notes += left_out
    except BadInput as e:
        if args.set is None:
            raise
        notes.append(f"mmfas left out: {e}")  # one set is indexed for its own protocols
    written = save_index(out, rows, protocols, written_roots)
    _print_table(coverage(rows), words=3)
    for note in notes:
        print(f"note: {note}")
    _print_protocols(protocols, by_id)
    state = "written" if written else "already there and identical, left untouched"
    print(f"{out / 'index.csv'}: {len(rows)} frames, {state}")


def list_sets(args: argparse.Namespace) -> None:
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
    sizes = ((what, getattr(rule, what)) for what in ("clips", "frames"))
    told = [f"{what} {' / '.join(_number(n.get(split)) for split in SPLITS)}" for what, n in sizes if n]
    return "; ".join(told) or "size not published"


def describe(args: argparse.Namespace) -> None:
    """Print everything published about a data set."""
    about = manifest(letter(args.set))
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
        print(f"expected in {', '.join(expected.layouts)} ({expected.name}; {expected.source})")
        lines = [["group", "subjects", "clips", "frames"]]
        lines += [[_group(c), *(_number(v) for v in (c.subjects, c.clips, c.frames))] for c in expected.count]
        _print_table(lines, words=1)
    if about.list:
        print("public lists")
        lines = [["file", "of", "live is", "lines", "bona fide", "attack", "clips", "sha1"]]
        for entry in about.list:
            counts = [_number(v) for v in (entry.lines, entry.bonafide, entry.attack, entry.clips)]
            lines.append([entry.file, entry.benchmark, entry.live, *counts, f"{entry.sha1}…" if entry.sha1 else "-"])
        _print_table(lines, words=3)
    print("known defects")
    for defect in about.defect:
        print(f"  {defect.name}: {defect.what}")


def verify_tree(args: argparse.Namespace) -> None:
    """Compare a tree with what is published; exit status 1 when anything is wrong."""
    code = letter(args.set)
    depth = "fast" if args.fast else "full" if args.full else "headers"
    root = args.root.resolve()
    state = args.state
    if depth == "full" and state is None:
        state = _STATES / f"{code}-{hashlib.sha256(str(root).encode('utf-8', 'surrogateescape')).hexdigest()[:8]}.jsonl"
    report = verify(code, root, depth, _options(args), args.expect, args.lists, state)
    if args.json is not None:
        save(report, args.json)
    print(f"{report.name}, layout {report.layout}, {report.depth}")
    _print_table(report.table(), words=2)
    for note in report.notes:
        print(f"note: {note}")
    if report.ignored:
        shown = ", ".join(report.ignored[:_SHOWN]) + (", …" if len(report.ignored) > _SHOWN else "")
        print(f"note: {len(report.ignored)} files of the operating system ignored: {shown}")
    for problem in report.problems:
        print(f"problem: {problem}")
    wrong = sum(bool(count.difference) for count in report.counts)
    print(f"{'verified' if report.ok else 'not verified'}: {wrong} numbers differ, {len(report.problems)} problems")
    if not report.ok:
        raise SystemExit(1)


def protocol(args: argparse.Namespace) -> None:
    """Say what a protocol is or, with --index, add it to an index and count it."""
    rules = {rule.name: (code, rule) for code in FILES for rule in manifest(code).protocol}
    code, rule = rules.get(args.name, ("", None))
    if rule is not None:
        print(f"{rule.name} of {DATASETS[code]}: {rule.what} ({_size(rule)})")
    elif args.name in _GENERAL or args.name.startswith("mmfas-C-"):
        print(_GENERAL.get(args.name) or f"mmFAS trained, validated and tested on C by {args.name[6:]}.")
    elif args.index is None:
        known = ", ".join([*rules, *_GENERAL])
        raise BadInput(f"no protocol {args.name!r}; there is {known}, and mmfas-<protocol of C>")
    if args.index is None:
        return
    index = load_index(args.index)
    by_id = {row.sample_id: row for row in index.rows}
    ids = [row.sample_id for row in index.rows]
    protocols: Protocols = {
        name: {split: [ids[i] for i in numbers] for split, numbers in splits.items()}
        for name, splits in index.protocols.items()
    }
    name = args.name
    if name == "mmdg" and name not in protocols:
        if args.lists is None:
            raise BadInput("protocol mmdg needs the folder of MMDG's lists; name it with --lists")
        benchmark = mmdg(index.rows, args.lists)
        name, splits, notes = benchmark.name, benchmark.splits, benchmark.notes
    else:
        splits, notes = derive(name, index.rows, protocols, args.mmfas_seed)
    if name not in CROSSING:
        check_subjects(name, splits, by_id)
    if flaw := one_class(splits, by_id):
        raise BadInput(f"protocol {name}: {flaw} in this index; restore the missing clips of the data set")
    added = protocols.get(name) != splits
    protocols[name] = splits
    if added:
        roots = tomllib.loads((args.index.parent / "roots.toml").read_text(encoding="utf-8"))
        save_index(args.index.parent, index.rows, protocols, {c: roots[c] for c in index.roots})
    for note in notes:
        print(f"note: {note}")
    _print_protocols({name: splits}, by_id)
    if rule is not None:
        for what in ("clips", "frames"):
            for split, wanted in getattr(rule, what).items():
                members = splits.get(split, [])
                found = len({by_id[s].clip_id for s in members}) if what == "clips" else len(members)
                print(f"{split}: {found} {what}, published are {wanted}, difference {found - wanted:+}")
    print(f"{args.index}: {name} {'added' if added else 'already there, left untouched'}")


_GENERAL = {
    "mmfas": "mmFAS: whole subjects of C, 6 : 1 : 13 in images, and all of S, W and H to test.",
    "mmfas-subjects": "mmFAS with 6 : 1 : 13 counted in subjects.",
    "mmfas-images": "mmFAS with single images drawn 6 : 1 : 13, so that subjects are in several splits.",
    "official": "Train, val and test of C, S, W and P by one protocol of each owner, for leave-one-set-out training.",
    "mmdg": "MMDG's lists of C, S, W and P; takes the folder of the lists.",
}


def print_croissant(args: argparse.Namespace) -> None:
    """Print a data set's description as Croissant 1.0 (JSON-LD)."""
    print(json.dumps(croissant(manifest(letter(args.set))), indent=1, ensure_ascii=False))


def _reading_options(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("--workers", type=int, help="processes that read files (default: one a core)")
    verb.add_argument("--layout", action="append", default=[], help="on-disk form, where a root holds several")
    verb.add_argument("--swir-nm", type=int, default=1300, help="HQ-WMCA band in the place of infrared (default 1300)")
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
    deep.add_argument("--fast", action="store_true", help="by names, opening no image")
    deep.add_argument("--full", action="store_true", help="decode every image; goes on where it was cut off")
    verb.add_argument("--expect", default="", help="expectation to compare with, where a layout has several")
    verb.add_argument("--lists", type=Path, metavar="FOLDER", help="check MMDG's lists against the tree too")
    verb.add_argument("--json", type=Path, metavar="FILE", help="write the report as JSON")
    verb.add_argument("--state", type=Path, metavar="FILE", help=f"what --full has decoded (default in {_STATES})")
    _reading_options(verb)

    verb = verbs.add_parser("index", help=index.__doc__, description=index.__doc__)
    verb.set_defaults(run=index)
    verb.add_argument("set", metavar="SET", nargs="?", help="C, S, W, H, P or a name; without it, --roots")
    verb.add_argument("--root", type=Path, help="the tree of SET")
    verb.add_argument("--roots", type=Path, help='TOML file with lines such as C = "/data/cefa"')
    verb.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="folder of the index, or its index.csv")
    verb.add_argument("--names-only", action="store_true", help="open no image: rows can be counted, not decoded")
    verb.add_argument("--mmfas-seed", type=int, default=MMFAS_SEED, help=f"draws mmFAS's split (default {MMFAS_SEED})")
    _reading_options(verb)

    verb = verbs.add_parser("protocol", help=protocol.__doc__, description=protocol.__doc__)
    verb.set_defaults(run=protocol)
    verb.add_argument("name", metavar="NAME", help="such as official, mmfas-images, C-p4.1, W-LOO_prints, mmdg")
    verb.add_argument("--index", type=Path, metavar="FILE", help="index.csv to add it to")
    verb.add_argument("--lists", type=Path, metavar="FOLDER", help="MMDG's lists")
    verb.add_argument("--mmfas-seed", type=int, default=MMFAS_SEED, help=f"draws mmFAS's split (default {MMFAS_SEED})")

    verb = verbs.add_parser("croissant", help=print_croissant.__doc__, description=print_croissant.__doc__)
    verb.set_defaults(run=print_croissant)
    verb.add_argument("set", metavar="SET", help="C, S, W, H, P or a name")

    args = parser.parse_args(argv)
    with cli_errors():
        args.run(args)


if __name__ == "__main__":
    main(sys.argv[1:])
