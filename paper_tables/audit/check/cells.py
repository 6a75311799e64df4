"""A cell as it is pasted from a PDF: its number, its mark, its spread, and what was taken for what."""

import re
from decimal import Decimal

from paper_tables.audit.check.table import Cell

MISSING = {"", "-", "–", "—", "−", "--", "---", "/", "n/a", "na", "n.a.", "none", "nan"}
SPACES = "\u00a0\u2007\u2008\u2009\u200a\u200b\u202f\u2060\ufeff"
FOOTNOTES = "*†‡§¶#¹²³⁴⁵⁶⁷⁸⁹⁰"
LONGEST = 20  # characters of a number; what is longer was not printed in a table
NUMBER = r"(?:[0-9]+(?:[.,][0-9]*)?|[.,][0-9]+)(?:[eE]-[0-9])?"
SPREAD = re.compile(rf"({NUMBER}) *\(? *(?:±|\+/-|\+-|\\pm) *({NUMBER}) *\)?")
BOLD = re.compile(r"\*\*|__|</?b>|</?strong>|\\(?:textbf|mathbf|bm|bf)\b *")
UNDERLINED = re.compile(r"</?u>|\\(?:underline|uline)\b *")


def parse(text: str) -> tuple[Cell | None, list[str]]:
    """The cell, None where nothing is printed, and what was taken for what. Raises ValueError for no number."""
    taken = []
    rest = text.strip()
    if any(ch in SPACES for ch in rest):
        rest = "".join(ch for ch in rest if ch not in SPACES)
        taken.append("spaces that a PDF leaves were taken out")
    bold = bool(BOLD.search(rest))
    if bold:
        rest = BOLD.sub("", rest)
        taken.append("marked as bold")
    if UNDERLINED.search(rest):
        rest = UNDERLINED.sub("", rest)
        taken.append("the underline was left out")
    rest = re.sub(r"[{}$\\]", "", rest.replace("\\pm", "±")).strip()
    if rest.lower() in MISSING:
        return None, [*taken, "nothing is printed"] if text.strip() else []
    if rest[-1] in FOOTNOTES:
        rest = rest.rstrip(FOOTNOTES + " ")
        taken.append("the mark of a footnote was left out")
    if "%" in rest:
        rest = rest.replace("%", "").strip()
        taken.append("the percent sign was left out")
    found = SPREAD.fullmatch(rest)
    if found:
        taken.append("a mean and its spread")
    numbers = found.groups() if found else (rest,)
    if not all(re.fullmatch(NUMBER, x) for x in numbers):
        raise ValueError(text)
    if any("," in x for x in numbers):
        taken.append("the comma was taken for a decimal point")
    if any(len(x) > LONGEST for x in numbers):
        raise ValueError(text)
    value, *spread = (Decimal(x.replace(",", ".")) for x in numbers)
    return Cell(value, bold, spread[0] if spread else None), taken
