"""What one mistyped digit changes: how far the papers' numbers check one another, and how far only our record does.

    python -m paper_tables.audit.digits

Each digit of every published number is changed once. A change is *caught* if the file is refused or a verdict changes:
then other printed numbers speak against it. It is *recorded* if only a figure of expected.toml is no longer the same,
which shows that the number was typed once and kept. Otherwise nothing notices it.
"""

import re
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from data_manifests.errors import BadInput, cli_errors
from paper_tables.audit.claim import settle
from paper_tables.audit.ledger import claims, expected
from paper_tables.audit.numbers import read
from paper_tables.declarations import published

Outcome = Literal["caught", "recorded", "unnoticed"]
NUMBER = re.compile(r'"(\d[\d.e-]*)"')


@dataclass(frozen=True)
class Change:
    """One digit of one file, changed: `where` names the number, `text` is the whole file."""

    file: str
    where: str
    text: str


def changes(file: str) -> Iterator[Change]:
    """Every digit of every number in a file of the published folder, each changed to another one."""
    lines = (published.FOLDER / file).read_text(encoding="utf-8").splitlines()
    row = ""
    for i, line in enumerate(lines):
        if heading := re.match(r"\[rows\.(\w+)\]", line):
            row = heading[1]
        if line.startswith(("#", "paper", "place", "columns")) or " = " not in line:
            continue
        name = f"{row} {line.split(' = ')[0]}".strip()
        numbers = [m for m in NUMBER.finditer(line) if not line[: m.start()].endswith(("place = ", "quote = "))]
        for k, number in enumerate(numbers):
            for j in range(number.start(1), number.end(1)):
                if line[j].isdigit():
                    new = line[:j] + str((int(line[j]) + 1 + (i + j) % 9) % 10) + line[j + 1 :]
                    where = f"{name}, number {k + 1}, {number[1]} as {new[number.start(1) : number.end(1)]}"
                    yield Change(file, where, "\n".join([*lines[:i], new, *lines[i + 1 :]]))


def outcome(change: Change) -> Outcome:
    """What the audit makes of the change; only the claims of the file's own paper are decided."""
    with tempfile.TemporaryDirectory() as folder:
        for path in published.FOLDER.glob("*.toml"):
            text = change.text if path.name == change.file else path.read_text(encoding="utf-8")
            (Path(folder) / path.name).write_text(text, encoding="utf-8")
        try:
            n = read(Path(folder))
        except BadInput:
            return "caught"
    recorded, found = expected(), "unnoticed"
    paper = change.file.split("_")[0]
    for claim in claims(n):
        if claim.id.split(".")[0] != paper:
            continue
        result = settle(claim, n)
        if claim.id not in recorded or result.verdict != recorded[claim.id][0]:
            return "caught"
        if result.figure != recorded[claim.id][1]:
            found = "recorded"
    return "recorded" if found == "recorded" else "unnoticed"


def main() -> int:
    """Print one line a file, and the numbers whose change nothing notices."""
    total: Counter[Outcome] = Counter()
    unnoticed = []
    with ProcessPoolExecutor() as pool:
        for path in sorted(published.FOLDER.glob("*.toml")):
            all_changes = list(changes(path.name))
            outcomes = list(pool.map(outcome, all_changes, chunksize=16))
            counts = Counter(outcomes)
            total += counts
            print(f"{path.stem:<14}{_line(counts)}", flush=True)
            pairs = zip(all_changes, outcomes, strict=True)
            unnoticed += [f"{path.stem}: {c.where}" for c, o in pairs if o == "unnoticed"]
    print(f"{'all':<14}{_line(total)}")
    print("\n".join(unnoticed))
    return 0


def _line(counts: Counter[Outcome]) -> str:
    n = sum(counts.values())
    shares = (f"{counts[o]} {o} ({counts[o] / n:.0%})" for o in ("caught", "recorded", "unnoticed"))
    return f"{n} digits: {', '.join(shares)}"


if __name__ == "__main__":
    with cli_errors():
        sys.exit(main())
