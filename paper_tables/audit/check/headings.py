"""A column's heading: which metric it names, at which operating point, and of which set."""

import re
from decimal import Decimal

from paper_tables.audit.check.table import Column, Point
from paper_tables.audit.metrics import METRICS, named

KNOWN = ", ".join(m.printed for m in METRICS.values())
POINT = re.compile(r"([A-Za-z-]+\.?) *@ *\(?([A-Za-z-]+) *=? *([0-9][0-9.eE^-]*) *(%?)\)?")


def metrics_in(text: str) -> list[tuple[int, int, str]]:
    """Where a heading names a metric: begin, end and key; a longer spelling hides those inside it."""
    found: list[tuple[int, int, str]] = []
    for key, metric in METRICS.items():
        for spelling in metric.spellings:
            pattern = rf"(?<![A-Za-z]){re.escape(spelling)}(?![A-Za-z])"
            found += [(m.start(), m.end(), key) for m in re.finditer(pattern, text, re.IGNORECASE)]
    return sorted(x for x in found if not any(y != x and y[0] <= x[0] and x[1] <= y[1] for y in found))


def parse(heading: str, metric: str | None = None) -> Column:
    """The column of a heading; `metric` is the one stated for it elsewhere. Raises ValueError, saying what is wrong."""
    text, at = heading.strip(), None
    if point := POINT.search(text):
        at = _point(point)
        text = text.replace(point[0], point[1], 1)
    found = metrics_in(text)
    keys = {key for _, _, key in found}
    if metric is not None:
        if keys and keys != {metric}:
            raise ValueError(f"names {_list(keys)}, not {METRICS[metric].printed}, which was stated for it")
        keys = {metric}
    if not keys:
        raise ValueError("names no metric")
    if len(keys) > 1:
        raise ValueError(f"names {len(keys)} metrics, {_list(keys)}")
    for begin, end, _ in reversed(found):
        text = text[:begin] + " " + text[end:]
    group = " ".join(re.sub(r"\( *%? *\)|\[ *%? *\]|[%↓↑]", " ", text).split()).strip(" /|:,;-_@()[]")
    return Column(heading.strip(), group, keys.pop(), at)


def _point(found: re.Match[str]) -> Point:
    metric, value, percent = named(found[2]), found[3], found[4]
    if metric is None:
        raise ValueError(f"has its threshold at {found[2]}, which is no metric; known are {KNOWN}")
    try:
        number = Decimal(value)
    except ArithmeticError:
        number = Decimal(0)
    if not percent or not 0 < number < 100 or "e" in value.lower():
        raise ValueError(f"has its threshold at {found[2]} {value}; write it as a percentage, as in {found[2]}=1%")
    return metric, number


def _list(keys: set[str]) -> str:
    return " and ".join(METRICS[key].printed for key in METRICS if key in keys)
