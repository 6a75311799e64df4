"""The report as one HTML file: no network, light and dark, on paper, on a phone, by keyboard, with or without script.

Without a script every part is there to read; the ledger's filters and the copy buttons appear with it.
"""

import base64
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from paper_tables.audit.claim import KINDS, VERDICTS
from paper_tables.audit.ledger import Entry
from paper_tables.planning.plan import Table
from paper_tables.rendering import page as table_page
from paper_tables.rendering.page import command
from paper_tables.report.found import Drawn, Made, Picture, target

_HERE = Path(__file__).resolve().parent
TITLE = "mmFAS and MMDA: rebuilt, run and audited"
CONFORMANCE = "make report CONFORMANCE=1"
PAPERS = ("mmFAS", "MMDA")


@dataclass(frozen=True)
class Contents:
    """All that the report shows. `tables` and `pictures` are in the order declared; what was not made is None, or
    empty."""

    tables: Mapping[str, tuple[Table, Made | None]]
    pictures: Sequence[tuple[Picture, Sequence[Drawn]]]
    leak: list[list[str]]
    conformance: dict[str, Any] | None
    claims: Sequence[Entry]

    def kind(self, kind: str) -> list[tuple[Table, Made | None]]:
        """The declared tables called `<paper>-<kind>…`."""
        return [pair for name, pair in self.tables.items() if name.partition("-")[2].startswith(kind)]


def page(c: Contents) -> str:
    """The whole document."""
    css = (_HERE / "style.css").read_text(encoding="utf-8")
    choices = "\n".join(table_page.style(table) for table, found in c.tables.values() if found)
    script = (_HERE / "script.js").read_text(encoding="utf-8")
    parts = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        '<meta name="color-scheme" content="light dark">',
        f"<title>{TITLE}</title>",
        '<link rel="icon" href="data:,">',  # or the browser asks for a favicon
        f"<style>{table_page.CSS}\n{css}\n{choices}</style></head>",
        '<body class="report"><a class="skip" href="#content">Skip to the content</a>',
        _navigation(),
        '<main id="content" tabindex="-1">',
        _top(c),
        _section("tables", "Tables", _TABLES_SAID, _index(c) + "".join(_table(*pair) for pair in c.kind("table"))),
        _section("figures", "Figures", _FIGURES_SAID, _figures(c)),
        _section("conformance", "Conformance", _CONFORMANCE_SAID, _conformance(c.conformance)),
        _section("claims", "Claims of the papers", _CLAIMS_SAID, _claims(c.claims)),
        _section("readings", "Readings", _READINGS_SAID, "".join(_table(*pair) for pair in c.kind("readings"))),
        _section("again", "Run it again", _AGAIN_SAID, _again()),
        _section("origin", "Where the numbers come from", _ORIGIN_SAID, _origin(c)),
        "</main>",
        f"<script>{script}\n{table_page.COPY}</script>",
        "</body></html>",
    ]
    return "\n".join(parts) + "\n"


_SECTIONS = {
    "tables": "Tables",
    "figures": "Figures",
    "conformance": "Conformance",
    "claims": "Claims",
    "readings": "Readings",
    "again": "Run it again",
    "origin": "Origin",
}
_TABLES_SAID = (
    "Published numbers stand in italics under ours. “n” is the number of trainings; ± is the sample standard deviation "
    "over them, and [low, high], where it was asked for, a 95 % bootstrap interval over subjects. The choices over a "
    "table say who picked the epoch and the threshold; what is shown first never looks at the test set."
)
_FIGURES_SAID = (
    "Numbers of the papers' figures were not printed, so these have nothing to be compared with digit by digit."
)
_CONFORMANCE_SAID = (
    "Every numbered equation of both papers, and every metric, has property tests that any implementation can be held "
    "to. “Passed” means that no counterexample was found among the examples drawn."
)
_CLAIMS_SAID = (
    "What the papers say in numbers, decided from their own printed digits and the released code; no data and no "
    "training is involved. “Contradicted” means that two printed statements cannot both hold as we read them: by how "
    "much, under which assumption, and what would settle it is in each entry. It says nothing about why."
)
_READINGS_SAID = (
    "Where mmFAS's paper leaves something open, one reading is the default and the others are options. This table "
    "replaces one at a time and says whether the difference exceeds what another seed alone would do."
)
_AGAIN_SAID = (
    "Each number's own command is under its table, at “Run a cell again”. These make whole parts; whatever exists is "
    "kept, and what was cut off goes on."
)
_ORIGIN_SAID = (
    "As the runs and the tests recorded it themselves. “+changes”: the working copy differed from the commit."
)


def _section(name: str, title: str, said: str, content: str) -> str:
    return f'<section id="{name}" class="part"><h2>{title}</h2><p>{said}</p>{content}</section>'


def _navigation() -> str:
    links = "".join(f'<li><a href="#{name}">{words}</a></li>' for name, words in _SECTIONS.items())
    return f'<nav aria-label="Parts of the report"><ul>{links}</ul></nav>'


def _top(c: Contents) -> str:
    made = [found for _, found in c.tables.values() if found]
    drawn = sum(bool(files) for _, files in c.pictures)
    equations = _counted(c.conformance["verdicts"]) if c.conformance else "not run"
    verdicts = Counter(e.finding.verdict for e in c.claims)
    facts = (
        ("Tables and plots", "#tables", f"{len(made)} of {len(c.tables)} run"),
        ("Pictures", "#figures", f"{drawn} of {len(c.pictures)} drawn"),
        ("Equations", "#conformance", equations),
        ("Claims", "#claims", f"{len(c.claims)}: " + _counted({v: verdicts[v] for v in VERDICTS})),
    )
    glance = "".join(
        f'<div><dt><a href="{link}">{name}</a></dt><dd>{escape(words)}</dd></div>' for name, link, words in facts
    )
    note = ""
    if any(found.stand_in for found in made):
        note = (
            '<p class="note standin">Data here are <b>phantom</b>: procedural heads, materials and sensors, rendered; '
            "no person was photographed. Such runs show that the programs work from end to end. How methods compare on "
            "them is no evidence about faces, and none of these numbers confirms or refutes a published one.</p>"
        )
    return (
        f"<header><h1>{TITLE}</h1>"
        "<p>Two papers on telling a live face before RGB, depth and infrared cameras from a print, a screen or a mask: "
        "<cite>mmFAS</cite> (AAAI 2025, doi 10.1609/aaai.v39i1.31980) and <cite>MMDA</cite> (arXiv 2505.09484). This "
        "page holds what their reference implementation produced: each table beside the published one, the figures, "
        "the verdict on each equation, and the check of each claim. It is a file of its own and asks nothing of a "
        f'network.</p>{note}</header><dl class="glance">{glance}</dl>'
    )


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{n} {what}" for what, n in counts.items() if n)


# ----------------------------------------------------------------------------------------- tables and figures


def _make(table: Table, found: Made | None) -> str:
    """What to type for the whole table, with the settings that it was made with."""
    if found is None:
        return f"make {target(table)}"
    data = "" if found.data.startswith("phantom ") else f" DATA={found.data}.toml"
    return f"make {target(table)}{data} PROFILE={found.profile} SEEDS={found.seeds}"


def _short(table: Table) -> str:
    paper, _, name = table.title.partition(":")[0].partition(", ")
    return f"{paper}, {name or 'readings'}"


def _runs(found: Made) -> str:
    return f"{found.done} of {found.done + found.missing} runs" if found.missing else f"{found.done} runs"


def _data(found: Made) -> str:
    return found.data if found.data.startswith("phantom") or not found.stand_in else f"phantom ({found.data})"


def _index(c: Contents) -> str:
    """Every table and plot with its state, to jump to."""
    items = "".join(
        f'<li><a href="#at-{table.name}">{escape(_short(table))}</a> '
        f'<span class="facts">{_runs(found) if found else "not run"}</span></li>'
        for table, found in c.tables.values()
    )
    return f'<ul class="index">{items}</ul>'


def _table(table: Table, found: Made | None) -> str:
    title = f'<h3 id="at-{table.name}">{escape(table.title)}</h3>'
    if found is None:
        published = table_page.published_alone(table)
        if published:
            note = "<p>In %, on the original data, as printed.</p>"
            published = f"<details><summary>The published numbers</summary>{note}{published}</details>"
        return f'<article class="absent">{title}{_absent(target(table))}{published}</article>'
    facts = f"Data: {_data(found)} · profile {found.profile} · seeds: {found.seeds} · {_runs(found)}"
    return (
        f'<article>{title}<p class="facts">{escape(facts)}</p>{command(_make(table, found))}'
        f"<details open><summary>{'Ours and published' if table.published else 'Ours'}</summary>{found.shown}</details>"
        "</article>"
    )


def _absent(make: str) -> str:
    return f'<p class="facts">Not run yet. To fill it:</p>{command(f"make {make}")}'


def _figures(c: Contents) -> str:
    """Figures in the order of the papers; one that is made with a table stands there and is named here."""
    numeric = {table.name: _table(table, found) for table, found in c.kind("figure")}
    for table, _ in c.kind("table"):
        if table.figure:
            paper = table.name.partition("-")[0]
            numeric[f"{paper}-{table.figure.name}"] = (
                f"<article><h3>{escape(table.figure.title)}</h3><p>Made with, and shown under, "
                f'<a href="#at-{table.name}">{escape(table.title)}</a>.</p></article>'
            )
    drawn = {wanted.name: _picture(wanted, files, c.leak) for wanted, files in c.pictures}
    every = numeric | drawn
    papers = [paper.lower() for paper in PAPERS]
    order = sorted(every, key=lambda name: (papers.index(name.partition("-")[0]), not name[-1].isdigit(), name))
    return "".join(every[name] for name in order)


def _picture(wanted: Picture, files: Sequence[Drawn], leak: list[list[str]]) -> str:
    title = f'<h3 id="at-{wanted.name}">{escape(wanted.title)}</h3>'
    if not files:
        return f'<article class="absent">{title}<p>{escape(wanted.said)}</p>{_absent(wanted.target)}</article>'
    images = "".join(
        f'<img alt="{escape(wanted.title)}" src="data:{kind};base64,{base64.b64encode(content).decode()}">'
        for kind, content in files
    )
    numbers = ""
    if wanted.name == "mmda-batch-leak" and leak:
        head, *rows = leak
        numbers = plain(wanted.title, head, [[escape(word) for word in row] for row in rows])
    return (
        f'<article>{title}<figure class="picture"><div class="scroll" tabindex="0" role="region" '
        f'aria-label="{escape(wanted.title)}">{images}</div>'
        f"<figcaption>{escape(wanted.said)} The picture names its data; phantom data are no evidence about faces."
        f"</figcaption></figure>{numbers}{command(f'make {wanted.target}')}</article>"
    )


def plain(label: str, head: Sequence[str], rows: Iterable[Sequence[str]], kinds: Sequence[str] = ()) -> str:
    """A table that scrolls in its own box; `rows` are HTML, `head` is text, `kinds` are the columns' classes."""
    kinds = kinds or [""] * len(head)
    marks = [f' class="{kind}"' if kind else "" for kind in kinds]
    heads = "".join(f'<th scope="col"{m}>{escape(word)}</th>' for word, m in zip(head, marks, strict=True))
    body = "".join(
        f'<tr><th scope="row"{marks[0]}>{first}</th>'
        + "".join(f"<td{m}>{cell}</td>" for cell, m in zip(rest, marks[1:], strict=True))
        + "</tr>"
        for first, *rest in rows
    )
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(label)}"><table class="plain">'
        f"<thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table></div>"
    )


# --------------------------------------------------------------------------------------------- conformance


def _conformance(found: dict[str, Any] | None) -> str:
    if found is None:
        return f'<p class="facts">Not run yet. To fill it (property tests, minutes):</p>{command(CONFORMANCE)}'
    rows = []
    for row in found["equations"]:
        functions = ", ".join(
            f"<s>{escape(f)}</s>" if f in row["not_provided"] else escape(f) for f in row["functions"]
        )
        failures = "".join(
            f"<details><summary>{escape(f['test'])}</summary><pre>{escape(f['details'])}</pre></details>"
            for f in row["failures"]
        )
        tests = _counted(row["tests"])
        rows.append(
            [
                escape(row["equation"]),
                escape(row["title"]) + failures,
                f"<code>{functions}</code>",
                _verdict(row["verdict"]),
                escape(tests),
            ]
        )
    head = ("Equation", "What it is", "Functions", "Verdict", "Tests")
    about = {
        "implementation": found["implementation"],
        "torch": found.get("torch", "not recorded"),
        "devices": ", ".join(found.get("devices", [])),
        "dtypes": ", ".join(found.get("dtypes", [])),
        "examples a property": str(found.get("examples_per_property", "not recorded")),
    }
    said = " · ".join(f"{name}: {escape(value)}" for name, value in about.items())
    kinds = ("", "words", "words", "", "")
    return f'<p class="facts">{said}</p>{plain("Equations and verdicts", head, rows, kinds)}'


_MARKS = {"confirmed": "✓", "passed": "✓", "contradicted": "✗", "FAILED": "✗", "undetermined": "?", "xfailed": "!"}


def _verdict(verdict: str) -> str:
    """A verdict with a mark of its own, so that colour is not all that tells it."""
    mark = f'<span aria-hidden="true">{_MARKS.get(verdict, "·")} </span>'
    return f'<span class="verdict {verdict.lower().replace(" ", "-")}">{mark}{escape(verdict)}</span>'


# --------------------------------------------------------------------------------------------------- claims


def _claims(claims: Sequence[Entry]) -> str:
    return (
        f'<div class="filters" hidden>{_filters(claims)}</div>'
        f'<p class="count" role="status" data-all="{len(claims)}">{len(claims)} claims</p>'
        f'<ol class="claims">{"".join(map(_claim, claims))}</ol>'
        '<p class="facts">All of them again, in seconds:</p>' + command("make audit")
    )


def _filters(claims: Sequence[Entry]) -> str:
    groups: tuple[tuple[str, str, Sequence[str], Counter[str]], ...] = (
        ("paper", "Paper", PAPERS, Counter(e.claim.paper for e in claims)),
        ("verdict", "Verdict", VERDICTS, Counter(e.finding.verdict for e in claims)),
        ("kind", "Kind", KINDS, Counter(e.claim.kind for e in claims)),
    )
    out = []
    for name, title, values, counts in groups:
        buttons = f'<button type="button" data-filter="{name}" data-value="" aria-pressed="true">all</button>'
        buttons += "".join(
            f'<button type="button" data-filter="{name}" data-value="{value}" aria-pressed="false">'
            f"{value} <small>{counts[value]}</small></button>"
            for value in values
        )
        out.append(_group(title, buttons))
    sorts = {"": "the papers", "verdict": "verdict", "kind": "kind"}
    buttons = "".join(
        f'<button type="button" data-sort="{key}" aria-pressed="{"false" if key else "true"}">{words}</button>'
        for key, words in sorts.items()
    )
    out.append(_group("Order of", buttons))
    field = '<input type="search" id="words" autocomplete="off" spellcheck="false">'
    return "".join(out) + f"<label><span>Words</span>{field}</label>"


def _group(title: str, buttons: str) -> str:
    return f'<div role="group" aria-label="{title}"><span>{title}</span><div>{buttons}</div></div>'


def _claim(entry: Entry) -> str:
    c, f = entry.claim, entry.finding
    contradicted, open_ = f.verdict == "contradicted", f.verdict != "confirmed"
    told = (
        ("Quoted", f"“{c.quote}”" if c.quote else ""),
        *(("Computed", line) for line in f.computation),
        ("Assumes", c.assumes),
        ("May be", c.explains if contradicted else ""),
        ("Settled by", c.settles if open_ else ""),
        (
            "Recorded",
            "" if entry.as_expected else f"{entry.expected[0]} ({entry.expected[1]}): the finding has changed",
        ),
    )
    items = "".join(f"<dt>{name}</dt><dd>{escape(words)}</dd>" for name, words in told if words)
    says = escape(c.says[0].upper() + c.says[1:])
    return (
        f'<li id="claim-{c.id}" data-paper="{c.paper}" data-kind="{c.kind}" data-verdict="{f.verdict}"><details>'
        f"<summary>{_verdict(f.verdict)}<span>{says}"
        f'<span class="facts">{c.paper} · {escape(c.place)} · {c.kind}</span></span>'
        f'<span class="figure">{escape(f.figure)}</span></summary><dl>{items}</dl>'
        f"{command(f'python -m paper_tables.audit --claim {c.id}')}</details></li>"
    )


# ------------------------------------------------------------------------------------------ again and origin


def _again() -> str:
    commands = {
        "Table 1 of both papers on phantom data; likewise tables 2 to 5": "make reproduce-table1",
        "With the papers' own settings and three seeds, on your copies of the data sets (README)": "make "
        "reproduce-table1 DATA=roots.toml PROFILE=paper SEEDS=3",
        "One row of a table": "make reproduce-mmfas-table1 METHODS=mmfas",
        "The commands themselves, without running them": "make reproduce-table1 DRY=1",
        "The equations and this page": CONFORMANCE,
        "The equations of your own implementation": "pytest spec_tests/ --implementation=your.module "
        "--conformance-report=build/conformance/yours.json",
        "This page from what there is": "make report",
    }
    return "".join(f"<p>{escape(words)}:</p>{command(text)}" for words, text in commands.items())


def _origin(c: Contents) -> str:
    rows = [
        [
            f'<a href="#at-{table.name}">{escape(_short(table))}</a>',
            escape(_data(found)),
            escape(f"{found.profile}, seeds: {found.seeds}"),
            str(found.done),
            escape(", ".join(found.commits)),
            escape("; ".join(found.environments)),
            escape(" to ".join(dict.fromkeys((found.finished[0], found.finished[-1])))),
        ]
        for table, found in c.tables.values()
        if found
    ]
    if not rows:
        return '<p class="facts">No table has been run yet.</p>'
    head = ("Table", "Data", "Profile", "Runs", "Commits", "Machines", "Finished")
    kinds = ("", "", "", "", "words", "words", "words")
    return plain("Origin of the runs", head, rows, kinds)
