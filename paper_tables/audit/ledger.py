"""The ledger: every claim with the finding recorded for it, and which findings have changed."""

import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from data_manifests.errors import BadInput
from paper_tables.audit import mmda, mmfas
from paper_tables.audit.claim import VERDICTS, Claim, Finding
from paper_tables.audit.numbers import HERE, Numbers

EXPECTED = HERE / "expected.toml"


@dataclass(frozen=True)
class Entry:
    """A claim, what it was decided to be now, and the verdict and figure recorded in expected.toml."""

    claim: Claim
    finding: Finding
    expected: tuple[str, str]

    @property
    def as_expected(self) -> bool:
        return (self.finding.verdict, self.finding.figure) == self.expected


def claims(n: Numbers) -> list[Claim]:
    """All claims of both papers, in the order of their tables."""
    return [*mmfas.claims(n), *mmda.claims(n)]


def expected(path: Path = EXPECTED) -> dict[str, tuple[str, str]]:
    """The recorded (verdict, figure) of each claim. Raises BadInput on a malformed file."""
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as e:
        raise BadInput(f"{path}: not valid TOML ({e}); restore it from the repository") from e
    for name, pair in found.items():
        if not isinstance(pair, list) or len(pair) != 2 or pair[0] not in VERDICTS:
            raise BadInput(f"{path}: {name} must be [verdict, figure], the verdict one of {', '.join(VERDICTS)}")
    return {name: (pair[0], pair[1]) for name, pair in found.items()}


def decide(n: Numbers, recorded: dict[str, tuple[str, str]]) -> Iterator[Entry]:
    """Decide every claim from `n`. Raises BadInput unless claims and recorded findings are of the same names."""
    listed = claims(n)
    if odd := sorted({c.id for c in listed} ^ set(recorded)):
        raise BadInput(f"{EXPECTED}: claims and recorded findings differ in {', '.join(odd)}; record each claim once")
    for claim in listed:
        yield Entry(claim, claim.decide(n), recorded[claim.id])
