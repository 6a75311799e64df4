"""MMDA's text beside the released code of its date: facts of released.toml, and what the code does beyond the text."""

from collections.abc import Iterator
from functools import partial

from paper_tables.audit.claim import OBSERVATION, Claim, Family, Result, holds, observed
from paper_tables.audit.numbers import Numbers

MADE_THE_TABLES = "the released code is the one that made the tables"
SETTLES = "the command lines and the commit of the published runs"


@Family
def facts(n: Numbers) -> Iterator[Claim]:
    for name, fact in n.released.items():
        yield Claim(
            id=f"mmda.code.{name}",
            place=fact.place,
            kind="text against released code",
            says=fact.says,
            decide=partial(agrees, name=name),
            quote=fact.quote,
            assumes=MADE_THE_TABLES,
            explains="the text describes another version of the method than the released one",
            settles=SETTLES,
        )


def agrees(n: Numbers, name: str) -> Result:
    fact = n.released[name]
    return holds(
        fact.text == fact.code,
        f"text: {fact.text}; code: {fact.code}",
        fact.detail,
        f"Where: {fact.where}, murInJ/MMDA at {n.commit}.",
        otherwise=fact.judge,
    )


@Family
def beyond_the_text(n: Numbers) -> Iterator[Claim]:
    for name, seen in n.code_observations.items():
        yield Claim(
            id=f"mmda.code.{name}",
            place=seen.place,
            kind=OBSERVATION,
            says=seen.says,
            decide=partial(seen_in_code, name=name),
            assumes=MADE_THE_TABLES,
            settles=SETTLES,
        )


def seen_in_code(n: Numbers, name: str) -> Result:
    seen = n.code_observations[name]
    return observed(seen.figure, seen.detail, f"Where: {seen.where}, murInJ/MMDA at {n.commit}.")
