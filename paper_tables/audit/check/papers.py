"""The two papers' own tables in the form that `check` reads, written from the published numbers."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from paper_tables.audit.metrics import METRICS
from paper_tables.audit.mmda.columns import COLUMNS, OURS
from paper_tables.audit.mmfas.names import SETS
from paper_tables.audit.numbers import Flat, Numbers
from paper_tables.audit.numbers import read as read_numbers
from paper_tables.declarations.published import PARAMETERS, Published

NAMES = (*(f"mmfas-table{i}" for i in (1, 2, 3)), *(f"mmda-table{i}" for i in (1, 2, 3, 4, 5)))
# The gains that MMDA's text states, by table: their name, the set, and over whom they are.
GAINS = {
    1: (("p1", "average", "second best"),),
    2: (("p2", "average", "second best"),),
    3: (("p3_ps", "PS", ""), ("p3_cw", "CW", "")),
}


def toml(name: str) -> str:
    """One of NAMES as the text of a TOML file."""
    n = read_numbers()
    paper, number = name.split("-table")
    table = getattr(n, f"{paper}{number}")
    bold = {(s, m): row for s, own in n.bold.items() for m, row in own.items()} if name == "mmfas-table1" else {}
    content = _flat(table, name) if isinstance(table, Flat) else _sets(table, name, bold)
    if name == "mmfas-table1":
        content |= _mmfas1(n, table)
    if paper == "mmda" and int(number) in GAINS:
        content |= _mmda(n, table, int(number))
    return "\n".join(_lines(content)) + "\n"


def _sets(t: Published, name: str, bold: Mapping[tuple[str, str], str]) -> dict[str, Any]:
    """Headings and rows of a table with sets; `bold`: the row in bold by set and metric."""
    columns = [(s, m) for s in t.sets for m in t.metrics]

    def printed(row: str, s: str, m: str) -> str:
        x = str(t.rows[row].values[s][m])
        return f"**{x}**" if bold.get((s, m)) == row else x

    return {
        "title": f"{t.place} of {t.paper}",
        "source": f"paper_tables/declarations/published/{name.replace('-', '_')}.toml",
        "columns": [f"{t.sets[s]} {METRICS[m].printed}" for s, m in columns],
        "rows": [[x.printed, *(printed(row, s, m) for s, m in columns)] for row, x in t.rows.items()],
        "unit": "percent",
    }


def _flat(t: Flat, name: str) -> dict[str, Any]:
    """A table without sets: a column is called metric, or set_metric."""
    columns = [c for c in t.columns if c != PARAMETERS]

    def heading(column: str) -> str:
        group, _, metric = column.rpartition("_")
        return f"{group} {METRICS[metric].printed}".strip()

    return {
        "title": f"{t.place} of {name.split('-')[0]}",
        "source": f"paper_tables/declarations/published/{name.replace('-', '_')}.toml",
        "columns": [heading(c) for c in columns],
        "rows": [[t.printed[row], *(str(values[c]) for c in columns)] for row, values in t.values.items()],
        "unit": "percent",
    }


def _mmfas1(n: Numbers, t: Published) -> dict[str, Any]:
    return {
        "averages": {t.sets["weighted"]: {"of": [t.sets[s] for s in SETS], "weights": "unknown"}},
        "states": {
            "hter": "eer",
            "accuracy": {"bpcer": str(n.mmfas_text["bpcer"].value)},
            "bold": "best",
            "same_samples": True,  # as the finding mmfas-operating-point assumes
            "each_class": min(live for live, _, _ in n.live.values()),  # bona fide clips of WMCA, the fewest
        },
    }


def _mmda(n: Numbers, t: Published, number: int) -> dict[str, Any]:
    gains = [
        {
            "quote": stated.quote,
            "value": str(stated.value),
            "row": t.rows[OURS].printed,
            "column": f"{t.sets[s]} {METRICS[m].printed}",
            "over": over,
        }
        for label, s, over in GAINS[number]
        for m in t.metrics
        for stated in [n.mmda_text[f"{label}_{m}_gain"]]
    ]
    averages = {
        t.sets[s]: {"of": [t.sets[c] for c in COLUMNS[number]], "weights": "equal"} for s in t.sets if s == "average"
    }
    return {"averages": averages, "gain": gains}


def _lines(content: Mapping[str, Any]) -> Iterator[str]:
    """The content as TOML: plain keys first, then its tables."""
    for key, value in content.items():
        if key == "rows":
            yield "rows = ["
            yield from (f"  {_value(row)}," for row in value)
            yield "]"
        elif not isinstance(value, dict) and key != "gain":
            yield f"{key} = {_value(value)}"
    for key, value in content.items():
        for own in value if key == "gain" else [value] if isinstance(value, dict) else []:
            yield f"\n[[{key}]]" if key == "gain" else f"\n[{key}]"
            yield from (f"{_key(k)} = {_value(v)}" for k, v in own.items())


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else _value(name)


def _value(x: object) -> str:
    """Texts, whether-or-nots, lists and tables of them; JSON writes the first two as TOML does."""
    if isinstance(x, dict):
        return "{ " + ", ".join(f"{_key(k)} = {_value(v)}" for k, v in x.items()) + " }"
    if isinstance(x, list):
        return "[" + ", ".join(map(_value, x)) + "]"
    return json.dumps(x, ensure_ascii=False)
