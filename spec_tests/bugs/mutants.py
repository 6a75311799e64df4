"""Do the tests notice bugs? Breaks code in one place at a time, and shows which test fails.

    python -m spec_tests.bugs.mutants [second | ours | operators …] [--only ID …] [--list]

  second     bugs of the second implementation (second_implementation_bugs.py): each must fail in the tests of the very
             equation that it breaks
  ours       bugs of this project: networks, losses and their wiring included (our_bugs.py)
  operators  every comparison, operator, constant, condition, index and return of the equation functions and metrics of
             reference/, changed mechanically (operators.py); equivalent.toml says why some of them change nothing

Prints a line for each bug and a table of counts, writes build/mutants.json (not with --only), and exits with 1 when a
bug survives, when a mechanical change survives that equivalent.toml does not name, or when one that it names does not.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter
from dataclasses import dataclass, field

from data_manifests.errors import replacing
from spec_tests.bugs import operators, our_bugs, second_implementation_bugs
from spec_tests.bugs.campaign import HERE, Mutant, Verdict, run

REPORT = HERE.parent.parent / "build" / "mutants.json"
COLLECTIONS = {"second": second_implementation_bugs.BUGS, "ours": our_bugs.BUGS, "operators": operators.every()}


@dataclass
class Table:
    """The verdicts so far, a printed line each."""

    equivalent: dict[str, str] = field(default_factory=operators.equivalent)
    rows: dict[str, list[Verdict]] = field(default_factory=dict)

    def hear(self, collection: str, verdict: Verdict) -> None:
        self.rows.setdefault(collection, []).append(verdict)
        end = verdict.killer or ("SURVIVED" + (f", but {verdict.others} notices" if verdict.others else ""))
        if not verdict.killed and verdict.mutant.id in self.equivalent:
            end = "equivalent"
        print(f"{verdict.mutant.id}  {end}  {verdict.seconds:.1f} s", flush=True)

    def wrong(self) -> list[str]:
        """What makes this campaign a failure."""
        every = [v for verdicts in self.rows.values() for v in verdicts]
        survived = [f"survived: {v.mutant.id}" for v in every if not v.killed and v.mutant.id not in self.equivalent]
        return survived + [
            f"killed by {v.killer}, although equivalent.toml calls it equivalent: {v.mutant.id}"
            for v in every
            if v.killed and v.mutant.id in self.equivalent
        ]

    def lines(self) -> list[str]:
        """Counts for each collection, and within it for each function."""
        out = []
        for collection, verdicts in self.rows.items():
            killed = sum(v.killed for v in verdicts)
            out.append(f"{collection}: {killed} of {len(verdicts)} killed ({killed / len(verdicts):.1%})")
            total = Counter(f"{v.mutant.module}.{v.mutant.function}" for v in verdicts)
            dead = Counter(f"{v.mutant.module}.{v.mutant.function}" for v in verdicts if v.killed)
            out += [f"  {name:<50} {dead[name]:>3} of {n:>3}" for name, n in total.items()]
        return out

    def save(self, seconds: float) -> None:
        rows = [
            {
                "collection": collection,
                "id": v.mutant.id,
                "tests": v.mutant.tests,
                "old": v.mutant.old,
                "new": v.mutant.new,
                "killed_by": v.killer,
                "equivalent": self.equivalent.get(v.mutant.id, ""),
                "seconds": round(v.seconds, 2),
            }
            for collection, verdicts in self.rows.items()
            for v in verdicts
        ]
        REPORT.parent.mkdir(exist_ok=True)
        with replacing(REPORT) as f:
            f.write(json.dumps({"seconds": round(seconds), "mutants": rows}, indent=1, ensure_ascii=False).encode())


def pick(collections: list[str], only: list[str] | None) -> dict[str, list[Mutant]]:
    """The mutants of these collections, by collection; `ValueError` for a collection or an id that does not exist."""
    unknown = set(collections) - COLLECTIONS.keys()
    if unknown:
        raise ValueError(f"no collection is called {', '.join(sorted(unknown))}; there are {', '.join(COLLECTIONS)}")
    chosen = {name: list(COLLECTIONS[name]) for name in collections or COLLECTIONS}
    if only is None:
        return chosen
    ids = set(only)
    unknown = ids - {m.id for group in chosen.values() for m in group}
    if unknown:
        raise ValueError(f"no mutant is called {', '.join(sorted(unknown))}; see --list")
    return {name: [m for m in group if m.id in ids] for name, group in chosen.items()}


def main(arguments: list[str]) -> int:
    """Run the mutants, print their verdicts and counts, and return 1 unless the tests noticed every one."""
    assert __doc__
    parser = argparse.ArgumentParser(prog="python -m spec_tests.bugs.mutants", description=__doc__.splitlines()[0])
    parser.add_argument("collections", nargs="*", help="which; default: all")
    parser.add_argument("--only", metavar="ID", nargs="+", help="only these mutants")
    parser.add_argument("--list", action="store_true", help="list them and run none")
    options = parser.parse_args(arguments)
    try:
        chosen = pick(options.collections, options.only)
    except ValueError as e:
        print(f"error: {e}", file=sys.stderr)
        return 2
    if options.list:
        print("\n".join(f"{name} {m.id}" for name, group in chosen.items() for m in group))
        return 0
    table, began = Table(), time.perf_counter()
    try:
        for name, group in chosen.items():
            if group:
                run(group, lambda verdict, name=name: table.hear(name, verdict))
    except (RuntimeError, ValueError) as e:
        print(f"error: {e}", file=sys.stderr)
        return 2
    seconds = time.perf_counter() - began
    wrong = table.wrong()
    print("", *table.lines(), *wrong, f"{seconds:.0f} s", sep="\n")
    if not options.only:
        table.save(seconds)
        print(REPORT.relative_to(HERE.parent.parent))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
