"""Evaluate score files of any model: error rates with intervals, by ISO/IEC 30107-3, and differences between methods.

    python -m paper_tables evaluate scores.csv --higher bona-fide --development dev --test test
    python -m paper_tables evaluate ours.npz theirs.csv --files methods --higher bona-fide --higher theirs=attack
    python -m paper_tables evaluate build/runs/mmfas-0 --epoch development

A file is CSV, .npz or Parquet with the columns score and label (or bonafide), and, where known, sample_id, family,
subject, set, split, epoch, seed and method; or the folder of a finished run. What no file says is asked for.
"""

import argparse
import shlex
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from data_manifests.errors import BadInput, replacing
from paper_tables.evaluation.array_files import read_npz, read_parquet
from paper_tables.evaluation.columns import NAMES, File
from paper_tables.evaluation.csv_file import read_csv
from paper_tables.evaluation.evaluation import Evaluation, evaluate
from paper_tables.evaluation.forms import as_json, latex, markdown, text
from paper_tables.evaluation.meaning import understood
from paper_tables.evaluation.run_folder import is_run, read_run_folder
from paper_tables.evaluation.stated import HIGHER, REPLICATES, Stated
from reference.options import MOST, Within
from reference.sources import ROOT

_READERS = {".csv": read_csv, ".npz": read_npz, ".parquet": read_parquet}
_LEAST = 100  # resamples, of which 2.5 % are two
_SOON = 20.0  # seconds, in which nobody asks how far it is
T = TypeVar("T")


def arguments(argv: Sequence[str]) -> argparse.Namespace:
    assert __doc__
    first, _, rest = __doc__.partition("\n")
    p = argparse.ArgumentParser(
        prog="python -m paper_tables evaluate",
        description=first,
        epilog=rest,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    p.add_argument("scores", nargs="+", type=Path, metavar="SCORES", help="CSV, .npz or Parquet files, or run folders")
    many: dict[str, Any] = {"action": "append", "default": [], "metavar": "NAME"}
    p.add_argument("--higher", action="append", default=[], metavar="[METHOD=]bona-fide|attack",
                   help="what a higher score means, of all methods or of one")  # fmt: skip
    p.add_argument("--bona-fide-label", **many, help="a label that means bona fide (bonafide is understood)")
    p.add_argument("--attack-label", **many, help="a label that means attack (attack is understood)")
    p.add_argument("--development", **many, help="a split that fixes thresholds and chooses epochs")
    p.add_argument("--test", **many, help="a split that is judged")
    p.add_argument("--leave-out", **many, help="a split that is neither, such as train")
    p.add_argument("--development-sets", choices=("own", "all"),
                   help="each test set has the threshold of its own development samples, or one of all")  # fmt: skip
    p.add_argument("--epoch", default="", help="last, development (of least EER there), or one epoch")
    p.add_argument("--files", choices=("methods", "parts"),
                   help="whether files without a column method are a method each, or parts of one")  # fmt: skip
    p.add_argument("--threshold", action="append", default=[], metavar="[METHOD=]NUMBER",
                   help="a threshold that was fixed beforehand, in the scores of the file")  # fmt: skip
    p.add_argument("--column", action="append", default=[], metavar="NAME=COLUMN",
                   help=f"a column that is called otherwise; NAME is one of {', '.join(NAMES)}")  # fmt: skip
    p.add_argument(
        "--same-scale", action="store_true", help="the files of a method are of one scale, unlike as they look"
    )
    p.add_argument("--replicates", type=int, default=REPLICATES, metavar="N",
                   help=f"resamples for the intervals (default {REPLICATES}); 0: no intervals")  # fmt: skip
    p.add_argument("--out", type=Path, default=ROOT / "build" / "evaluation", metavar="FOLDER",
                   help="where the five forms are written (default build/evaluation)")  # fmt: skip
    return p.parse_args(argv)


def stated(given: argparse.Namespace) -> Stated:
    """What the command line says. Raises BadInput."""
    higher = _by_name(given.higher, "--higher", _one_of(HIGHER))
    threshold = _by_name(given.threshold, "--threshold", _number)
    columns = _by_name(given.column, "--column", str)
    for name in columns:
        if name not in NAMES:
            raise BadInput(f"--column {name}=…: give NAME=COLUMN, NAME being one of {', '.join(NAMES)}")
    if given.replicates:
        Within(_LEAST, MOST).refuse("replicates", given.replicates)
    return Stated(
        higher,
        tuple(given.bona_fide_label),
        tuple(given.attack_label),
        tuple(given.development),
        tuple(given.test),
        tuple(given.leave_out),
        given.development_sets,
        given.epoch,
        given.files,
        threshold,
        given.same_scale,
        columns,
        given.replicates,
    )


def _by_name(words: Sequence[str], option: str, read: Callable[[str], T]) -> dict[str, T]:
    """`NAME=VALUE` by name, and a plain value under the empty name."""
    found: dict[str, T] = {}
    for word in words:
        name, _, value = word.rpartition("=")
        if name in found:
            raise BadInput(f"{option} {word}: is given twice{f' for {name}' if name else ''}; give it once")
        try:
            found[name] = read(value)
        except ValueError as e:
            raise BadInput(f"{option} {word}: {e}") from e
    return found


def _one_of(choices: Sequence[str]) -> Callable[[str], str]:
    def read(value: str) -> str:
        if value not in choices:
            raise ValueError(f"give {' or '.join(choices)}")
        return value

    return read


def _number(value: str) -> float:
    try:
        found = float(value)
    except ValueError:
        found = float("nan")
    if not abs(found) < float("inf"):
        raise ValueError("give a finite number")
    return found


def read(path: Path, columns: dict[str, str]) -> File:
    """One file of scores, or one run. Raises BadInput."""
    if is_run(path):
        return read_run_folder(path)
    if path.is_dir():
        raise BadInput(f"{path}: is a folder without args.json, so no run; name files of scores")
    if not path.exists():
        raise BadInput(f"{path}: does not exist; name a file of scores or the folder of a run")
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise BadInput(f"{path}: its name ends in none of {', '.join(_READERS)}; save the scores as one of these")
    if not path.stat().st_size:
        raise BadInput(f"{path}: is empty; name a file with scores")
    return reader(path, columns)


def write(evaluation: Evaluation, folder: Path) -> list[Path]:
    """Write every form; each file is replaced in one piece."""
    from paper_tables.evaluation.page import page  # matplotlib takes a second to load, and a refusal needs none

    forms = {"txt": text, "md": markdown, "tex": latex, "json": as_json, "html": page}
    contents = {f"evaluation.{ending}": form(evaluation).encode() for ending, form in forms.items()}
    for name, content in contents.items():
        with replacing(folder / name) as f:
            f.write(content)
    return [folder / name for name in contents]


@contextmanager
def _progress(console: Console) -> Iterator[Callable[[int, int], None]]:
    """What is told how many resamples are done, of how many: a bar on a terminal, else a line every tenth part."""
    if not console.is_terminal:
        said, began = 0, time.monotonic()

        def line(done: int, total: int) -> None:
            nonlocal said
            if 10 * done // total > said and time.monotonic() - began > _SOON:
                said = 10 * done // total
                console.print(f"{done} of {total} resamples for the intervals", highlight=False)

        yield line
        return
    columns = (TextColumn("resamples for the intervals"), BarColumn(), TextColumn("{task.completed} of {task.total}"))
    with Progress(*columns, TimeRemainingColumn(), console=console, transient=True) as bar:
        task = bar.add_task("", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def main(argv: Sequence[str]) -> int:
    """Run one command line. Raises BadInput."""
    given = arguments(argv)
    asked = stated(given)
    twice = next((path for path in given.scores if given.scores.count(path) > 1), None)
    if twice:
        raise BadInput(f"{twice}: is named twice; name each file once")
    pool = understood([read(path, dict(asked.columns)) for path in given.scores], asked)
    with _progress(Console(stderr=True)) as progress:
        found = evaluate(pool, asked, shlex.join(["python", "-m", "paper_tables", "evaluate", *argv]), progress)
    sys.stdout.write(text(found))
    print("\nWritten:")
    for path in write(found, given.out):
        print(f"  {path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path}")
    return 0
