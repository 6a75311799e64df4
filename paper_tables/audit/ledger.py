"""The ledger: every check and observation with the result recorded for it, and which results have changed.

The claims are the module-level `Claim`s and `Family`s of FILES. Their order is that of expected.toml.
"""

import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from data_manifests.errors import BadInput
from paper_tables.audit.claim import VERDICTS, Claim, Family, Result, settle
from paper_tables.audit.mmda import code as mmda_code
from paper_tables.audit.mmda import table1 as mmda_table1
from paper_tables.audit.mmda import table1_counts as mmda_table1_counts
from paper_tables.audit.mmda import table2 as mmda_table2
from paper_tables.audit.mmda import table3 as mmda_table3
from paper_tables.audit.mmda import table4 as mmda_table4
from paper_tables.audit.mmda import table5 as mmda_table5
from paper_tables.audit.mmda import text as mmda_text
from paper_tables.audit.mmfas import datasets as mmfas_datasets
from paper_tables.audit.mmfas import table1 as mmfas_table1
from paper_tables.audit.mmfas import table1_accuracy as mmfas_table1_accuracy
from paper_tables.audit.mmfas import table2 as mmfas_table2
from paper_tables.audit.mmfas import table2_parameters as mmfas_table2_parameters
from paper_tables.audit.mmfas import table3 as mmfas_table3
from paper_tables.audit.mmfas import text as mmfas_text
from paper_tables.audit.numbers import HERE, Numbers

EXPECTED = HERE / "expected.toml"
FILES = (
    *(mmfas_table1, mmfas_table1_accuracy, mmfas_table2, mmfas_table2_parameters, mmfas_table3),
    *(mmfas_datasets, mmfas_text),
    *(mmda_table1, mmda_table1_counts, mmda_table2, mmda_table3, mmda_table4, mmda_table5, mmda_text, mmda_code),
)


@dataclass(frozen=True)
class Entry:
    """A claim, its result now, and the verdict and figure recorded in expected.toml."""

    claim: Claim
    result: Result
    expected: tuple[str, str]

    @property
    def as_expected(self) -> bool:
        return (self.result.verdict, self.result.figure) == self.expected


def claims(n: Numbers) -> Iterator[Claim]:
    """All claims of both papers, file by file. `n` names the rows and columns; nothing is decided yet."""
    for file in FILES:
        for declaration in vars(file).values():
            if isinstance(declaration, Claim):
                yield declaration
            elif isinstance(declaration, Family):
                yield from declaration.members(n)


def expected(path: Path = EXPECTED) -> dict[str, tuple[str, str]]:
    """The recorded (verdict, figure) of each claim. Raises BadInput on a malformed file."""
    try:
        records = tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as e:
        raise BadInput(f"{path}: not valid TOML ({e}); restore it from the repository") from e
    for name, pair in records.items():
        if not isinstance(pair, list) or len(pair) != 2 or pair[0] not in VERDICTS:
            raise BadInput(f"{path}: {name} must be [verdict, figure], the verdict one of {', '.join(VERDICTS)}")
    return {name: (pair[0], pair[1]) for name, pair in records.items()}


def decide(n: Numbers, recorded: dict[str, tuple[str, str]]) -> Iterator[Entry]:
    """Decide every claim from `n`, in the order of `recorded`. Raises BadInput unless both have the same ids."""
    by_id = {c.id: c for c in claims(n)}
    if odd := sorted(set(by_id) ^ set(recorded)):
        raise BadInput(f"{EXPECTED}: claims and recorded results differ in {', '.join(odd)}; record each claim once")
    for name, pair in recorded.items():
        yield Entry(by_id[name], settle(by_id[name], n), pair)
