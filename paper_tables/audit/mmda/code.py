"""Claims of MMDA's text beside the released code: each is a fact of released.toml, confirmed where the two agree."""

from collections.abc import Iterator
from functools import partial

from paper_tables.audit.claim import Claim, Family, Finding, holds, undetermined
from paper_tables.audit.numbers import Numbers


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
            assumes="the released code is the one that made the tables",
            explains="the text describes the intention, or the code changed after the runs",
            settles="the command lines and the commit of the published runs",
        )


def agrees(n: Numbers, name: str) -> Finding:
    fact = n.released[name]
    lines = (fact.detail, f"Where: {fact.where}, murInJ/MMDA at 547f9b2.")
    figure = f"text: {fact.text}; code: {fact.code}"
    if fact.text != fact.code and fact.adjustable:
        return undetermined(figure, *lines)
    return holds(fact.text == fact.code, figure, *lines)
