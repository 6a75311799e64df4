"""What a claim and a finding are."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

from paper_tables.audit.numbers import Numbers

Verdict = Literal["confirmed", "contradicted", "undetermined", "needs data"]
Kind = Literal[
    "arithmetic",
    "parameter count",
    "bound between metrics",
    "feasibility on integer counts",
    "ranking",
    "direction",
    "text against table",
    "text against released code",
]
VERDICTS: tuple[Verdict, ...] = get_args(Verdict)
KINDS: tuple[Kind, ...] = get_args(Kind)


@dataclass(frozen=True)
class Finding:
    """A decided claim: the verdict, the one figure that sums it up, and the computation, a line each."""

    verdict: Verdict
    figure: str
    computation: tuple[str, ...]


@dataclass(frozen=True)
class Claim:
    """One claim of a paper and the function that decides it from the published numbers.

    `says` is the claim in our words; `assumes` what the check needs beyond the paper's own numbers; `explains` what may
    lie behind a contradiction; `settles` what would decide the matter.
    """

    id: str
    paper: Literal["mmFAS", "MMDA"]
    place: str
    kind: Kind
    says: str
    decide: Callable[[Numbers], Finding]
    quote: str = ""
    assumes: str = ""
    explains: str = ""
    settles: str = ""


def holds(condition: bool, figure: str, *computation: str) -> Finding:
    """Confirmed if `condition`, else contradicted."""
    return Finding("confirmed" if condition else "contradicted", figure, computation)


def needs_data(why: str) -> Callable[[Numbers], Finding]:
    """A claim about a figure or a run, of which no number is printed."""
    return lambda _: Finding("needs data", "no number printed", (why,))
