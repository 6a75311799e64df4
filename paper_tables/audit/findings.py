"""Findings: what the checks and observations of the ledger come to, one cause each, with what speaks for the authors.

findings.toml holds a record for each. A finding has the verdict of its checks: contradicted if one of them is. Where
the authors have answered and the answer is not settled, its status is `disputed`, and so is its verdict.
"""

import tomllib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, fields
from fnmatch import fnmatchcase
from pathlib import Path

from data_manifests.errors import BadInput
from paper_tables.audit.claim import OBSERVATION, PAPERS, Verdict
from paper_tables.audit.ledger import Entry
from paper_tables.audit.numbers import HERE

PATH = HERE / "findings.toml"
STATUSES = ("open", "disputed", "accepted", "withdrawn")


@dataclass(frozen=True, kw_only=True)
class Record:
    """One record of findings.toml.

    `claim` is the paper's sentence or the two printed numbers, with `place`; `checks` are ids of the ledger or patterns
    of ids; `flips` says how far the assumption can move before the verdict flips; `innocent` is the most innocent
    explanation found; `settles` what would decide the matter; `history` what has happened since `date`, oldest first.
    """

    id: str
    title: str
    claim: str
    place: str
    checks: list[str]
    assumes: str
    flips: str
    innocent: str
    settles: str
    date: str
    status: str
    history: list[str]

    @property
    def paper(self) -> str:
        """The paper whose finding it is, from the id."""
        return PAPERS[self.id.split("-")[0]]


@dataclass(frozen=True)
class Finding:
    """A record with the checks and the observations that it names."""

    record: Record
    checks: tuple[Entry, ...]
    observations: tuple[Entry, ...]

    @property
    def verdict(self) -> Verdict:
        """contradicted, undetermined or disputed."""
        verdicts = {e.result.verdict for e in self.checks}
        found: Verdict = "contradicted" if "contradicted" in verdicts else "undetermined"
        return "disputed" if self.record.status == "disputed" else found


def records(path: Path = PATH) -> list[Record]:
    """All records. Raises BadInput unless each has every field and a known status."""
    names = {f.name for f in fields(Record)}
    try:
        parsed = tomllib.loads(path.read_text(encoding="utf-8"))["finding"]
    except (tomllib.TOMLDecodeError, KeyError) as e:
        raise BadInput(f"{path}: not a list of [[finding]] records ({e}); restore it from the repository") from e
    for i, x in enumerate(parsed):
        where = f"{path}: finding {x.get('id', i + 1)}"
        if set(x) != names:
            raise BadInput(f"{where} must have exactly {', '.join(sorted(names))}")
        if x["status"] not in STATUSES or x["id"].split("-")[0] not in PAPERS:
            raise BadInput(f"{where}: status must be one of {', '.join(STATUSES)}, and the id begin with a paper")
    found = [Record(**x) for x in parsed]
    for name, count in Counter(r.id for r in found).items():
        if count > 1:
            raise BadInput(f"{path}: finding {name} is recorded {count} times; give each an id of its own")
    return found


def findings(entries: Sequence[Entry], recorded: Sequence[Record]) -> list[Finding]:
    """The findings that stand (not withdrawn), in the order of the records.

    Raises BadInput unless every pattern names something and every contradicted check has exactly one finding.
    """
    owners: Counter[str] = Counter()
    found = []
    for record in recorded:
        named = []
        for pattern in record.checks:
            some = [e for e in entries if fnmatchcase(e.claim.id, pattern)]
            if not some:
                raise BadInput(f"{PATH}: finding {record.id} names {pattern}, which no check or observation has")
            named += some
        if record.status == "withdrawn":
            continue
        observations = tuple(e for e in named if e.claim.kind == OBSERVATION)
        checks = tuple(
            e for e in named if e.claim.kind != OBSERVATION and e.result.verdict in ("contradicted", "undetermined")
        )
        owners.update(e.claim.id for e in checks if e.result.verdict == "contradicted")
        found.append(Finding(record, checks, observations))
    contradicted = {e.claim.id for e in entries if e.result.verdict == "contradicted"}
    if odd := sorted(x for x in contradicted if owners[x] != 1):
        raise BadInput(f"{PATH}: each contradicted check belongs to one finding; not so {', '.join(odd)}")
    return found


def counted(found: Sequence[Finding], entries: Sequence[Entry], paper: str) -> str:
    """What is said of a paper in one line, findings first."""
    own, checks = [f for f in found if f.record.paper == paper], [e for e in entries if e.claim.paper == paper]
    judged = [e for e in checks if e.claim.kind != OBSERVATION]
    verdicts, results = Counter(f.verdict for f in own), Counter(e.result.verdict for e in judged)
    listed = ", ".join(f"{results[v]} {v}" for v in ("confirmed", "contradicted", "undetermined", "needs data"))
    return (
        f"{len(own)} findings ({', '.join(f'{n} {v}' for v, n in verdicts.items())}) from {len(judged)} checks "
        f"({listed}); {len(checks) - len(judged)} observations"
    )
