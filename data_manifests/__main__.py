"""`python -m data_manifests index --roots roots.toml --out FOLDER`: from the data sets' trees to one index.

`roots.toml` names each tree, `C = "/data/cefa"`; the letters are C CASIA-SURF CeFA, S CASIA-SURF, W WMCA,
H HQ-WMCA, P PADISI-Face. FOLDER receives `index.csv`, `protocols.csv` and `roots.toml`.
"""

import argparse
import os
import sys
import tomllib
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from data_manifests.adapters import Options, index_tree
from data_manifests.errors import BadInput, cli_errors
from data_manifests.index import MODALITIES, Row, read_roots, save_index
from data_manifests.protocols import MMFAS_SEED, check_subjects, mmfas, one_class

_SHOWN = 3  # file names listed of a longer list


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


def index(args: argparse.Namespace) -> None:
    """Index every tree named in `--roots` and write the index to `--out`."""
    options = Options(workers=args.workers, swir_nm=args.swir_nm)
    roots = read_roots(args.roots)
    if not roots:
        raise BadInput(f'{args.roots}: names no data set; write lines such as C = "/data/cefa"')
    rows: list[Row] = []
    protocols: dict[str, dict[str, list[str]]] = {}
    notes: list[str] = []
    for letter, root in roots.items():
        result = index_tree(letter, root, options)
        rows += result.rows
        protocols |= result.protocols
        notes += result.notes
        if result.ignored:
            shown = ", ".join(result.ignored[:_SHOWN]) + (", …" if len(result.ignored) > _SHOWN else "")
            notes.append(f"{letter}: {len(result.ignored)} files of the operating system ignored: {shown}")
    by_id = {row.sample_id: row for row in rows}
    for name, splits in list(protocols.items()):
        check_subjects(name, splits, by_id)
        if flaw := one_class(splits, by_id):  # a partial copy of a data set is no reason not to use it
            notes.append(f"{name}: left out, since {flaw}")
            del protocols[name]
    protocols["mmfas"], left_out = mmfas(rows, seed=args.mmfas_seed)
    written = save_index(args.out, rows, protocols, _kept_relative(args.roots, roots, args.out))
    _print_table(coverage(rows), words=3)
    for note in notes + left_out:
        print(f"note: {note}")
    lines = [["protocol", "split", "subjects", "frames", "of them bona fide"]]
    for name, splits in protocols.items():
        for split, samples in splits.items():
            labels = Counter(by_id[s].label for s in samples)
            subjects = len({by_id[s].subject_id for s in samples})
            lines.append([name, split, str(subjects), str(len(samples)), str(labels["bonafide"])])
    _print_table(lines, words=2)
    state = "written" if written else "already there and identical, left untouched"
    print(f"{args.out / 'index.csv'}: {len(rows)} frames, {state}")


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser("python -m data_manifests", description="Manifests of the data sets.")
    verbs = parser.add_subparsers(required=True, metavar="VERB")
    verb = verbs.add_parser("index", help=index.__doc__, description=index.__doc__)
    verb.set_defaults(run=index)
    verb.add_argument("--roots", type=Path, required=True, help='TOML file with lines such as C = "/data/cefa"')
    verb.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="folder of the index")
    verb.add_argument("--workers", type=int, help="processes that read files (default: one a core)")
    verb.add_argument("--swir-nm", type=int, default=1300, help="HQ-WMCA band in the place of infrared (default 1300)")
    verb.add_argument("--mmfas-seed", type=int, default=MMFAS_SEED, help=f"draws mmFAS's split (default {MMFAS_SEED})")
    args = parser.parse_args(argv)
    with cli_errors():
        args.run(args)


if __name__ == "__main__":
    main(sys.argv[1:])
