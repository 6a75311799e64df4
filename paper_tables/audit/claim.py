"""What a claim is, how it is declared, and what a result is.

A single claim is a function with `@claim(...)` above it. Claims that are alike, one for each row or cell, are a
generator with `@Family` above it. Both stand at module level in the file of their table, where the ledger finds them.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, Literal, TypeVar, get_args

from paper_tables.audit.numbers import Numbers
from paper_tables.audit.printing import PRINTINGS, Printed, Printing

Verdict = Literal["confirmed", "contradicted", "undetermined", "needs data", "disputed", "observed"]
Kind = Literal[
    "arithmetic",
    "parameter count",
    "bound between metrics",
    "feasibility on integer counts",
    "ranking",
    "direction",
    "text against table",
    "text against released code",
    "text against outside fact",
    "observation",
]
OBSERVATION: Kind = "observation"  # of a statement that is ours, not the paper's: it is observed, never judged
OBSERVED: Verdict = "observed"
VERDICTS: tuple[Verdict, ...] = get_args(Verdict)
KINDS: tuple[Kind, ...] = get_args(Kind)
N = TypeVar("N", bound=Printed)
PAPERS = {"mmfas": "mmFAS", "mmda": "MMDA"}  # by the first word of a claim's id


@dataclass(frozen=True)
class Result:
    """A decided claim: the verdict, the one figure that sums it up, and the computation, a line each."""

    verdict: Verdict
    figure: str
    computation: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Claim(Generic[N]):
    """One claim of a paper and the function that decides it from its printed numbers, or an observation of ours.

    `says` is the claim in our words, `quote` the paper's, verbatim; `between` names the two printed numbers that are
    compared, where the claim is no sentence; `assumes` what the decision needs beyond the paper's own numbers;
    `explains` what may lie behind a contradiction; `settles` what would decide the matter.
    """

    id: str
    place: str
    kind: Kind
    says: str
    decide: Callable[[N], Result]
    quote: str = ""
    between: str = ""
    assumes: str = ""
    explains: str = ""
    settles: str = ""

    @property
    def paper(self) -> str:
        """The paper whose claim it is, from the id."""
        return PAPERS[self.id.split(".")[0]]


@dataclass(frozen=True)
class Family:
    """Claims that are alike: `members` yields them from the published numbers."""

    members: Callable[[Numbers], Iterator[Claim[Numbers]]]


def claim(
    id: str, *, place: str, kind: Kind, says: str, **more: str
) -> Callable[[Callable[[Numbers], Result]], Claim[Numbers]]:
    """Turn the function below into the claim that it decides. `more`: quote, between, assumes, explains, settles."""
    return lambda decide: Claim(id=id, place=place, kind=kind, says=says, decide=decide, **more)


def holds(condition: bool, figure: str, *computation: str, otherwise: Verdict = "contradicted") -> Result:
    """Confirmed if `condition`, else `otherwise`."""
    return Result("confirmed" if condition else otherwise, figure, computation)


def undetermined(figure: str, *computation: str) -> Result:
    """The printed numbers cannot decide the claim."""
    return Result("undetermined", figure, computation)


def observed(figure: str, *computation: str) -> Result:
    """What an observation found: a statement of ours about printed numbers, which no paper made."""
    return Result(OBSERVED, figure, computation)


def needs_data(
    id: str, place: str, says: str, why: str, figure: str = "no number printed", settles: str = "the runs behind it"
) -> Claim[Any]:
    """A claim that no printed number decides: by default one about a figure or a run."""
    result = Result("needs data", figure, (why,))
    return Claim(id=id, place=place, kind="direction", says=says, decide=lambda _: result, settles=settles)


def described(claim: Claim[N], result: Result) -> Iterator[tuple[str, str]]:
    """A decided claim in lines, a label and a text each; what has no content is left out."""
    open_ = result.verdict != "confirmed"
    for label, text in (
        ("claim", claim.says),
        ("quoted", f"“{claim.quote}”" if claim.quote else ""),
        ("verdict", f"{result.verdict} ({result.figure})"),
        *(("computed", line) for line in result.computation),
        ("assumes", claim.assumes),
        ("may be", claim.explains if open_ else ""),
        ("settled by", claim.settles if open_ else ""),
    ):
        if text:
            yield label, text


def settle(claim: Claim[N], n: N, printings: Sequence[Printing] = PRINTINGS) -> Result:
    """The claim decided with the printed numbers read as rounded; if that contradicts it, also as cut.

    It is contradicted only if it is so in every reading of `printings`. Raises ValueError if a claim is called
    contradicted that is neither a quoted sentence nor a comparison of two printed numbers, or if an observation is
    judged.
    """
    for printing in printings:
        result = claim.decide(replace(n, printing=printing))
        if result.verdict != "contradicted":
            break
    if result.verdict == "contradicted" and not (claim.quote or claim.between):
        raise ValueError(f"{claim.id}: contradicted, but neither a quotation nor two printed numbers are named")
    if (result.verdict == OBSERVED) != (claim.kind == OBSERVATION):
        raise ValueError(f"{claim.id}: an observation, and nothing else, is observed; it is {result.verdict}")
    return result
