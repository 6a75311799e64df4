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
from paper_tables.audit.findings import Finding
from paper_tables.audit.ledger import Entry
from paper_tables.declarations.probes import Picture
from paper_tables.declarations.table import Table
from paper_tables.rendering import page as table_page
from paper_tables.rendering.page import command
from paper_tables.report.collect import PictureFiles, TableFiles, target

_HERE = Path(__file__).resolve().parent
TITLE = "mmFAS and MMDA: rebuilt, run and audited"
CONFORMANCE = "make report CONFORMANCE=1"
PAPERS = ("mmFAS", "MMDA")


@dataclass(frozen=True)
class Contents:
    """Everything that the report shows. `tables` and `pictures` are in the order declared; what was not run is None,
    or empty."""

    tables: Mapping[str, tuple[Table, TableFiles | None]]
    pictures: Sequence[tuple[Picture, PictureFiles]]
    costs: Sequence[dict[str, Any]]
    conformance: dict[str, Any] | None
    claims: Sequence[Entry]
    findings: Sequence[Finding]

    def kind(self, kind: str) -> list[tuple[Table, TableFiles | None]]:
        """The declared tables called `<paper>-<kind>…`."""
        return [pair for name, pair in self.tables.items() if name.partition("-")[2].startswith(kind)]


def page(c: Contents) -> str:
    """The whole document."""
    css = (_HERE / "style.css").read_text(encoding="utf-8")
    choices = "\n".join(table_page.style(table) for table, files in c.tables.values() if files)
    script = (_HERE / "script.js").read_text(encoding="utf-8")
    parts = [
        table_page.head(TITLE, f"{css}\n{choices}", '<link rel="icon" href="data:,">'),  # or browsers ask for one
        '<body class="report"><a class="skip" href="#content">Skip to the content</a>',
        _navigation(),
        '<main id="content" tabindex="-1">',
        _top(c),
        _section("tables", "Tables", _TABLES_WORDS, _index(c) + "".join(_table(*pair) for pair in c.kind("table"))),
        _section("figures", "Figures", _FIGURES_WORDS, _figures(c)),
        _section("costs", "Costs", _COSTS_WORDS, _costs(c.costs)),
        _section("conformance", "Conformance", _CONFORMANCE_WORDS, _conformance(c.conformance)),
        _section("claims", "Claims of the papers", _CLAIMS_WORDS, _findings(c.findings) + _claims(c.claims)),
        _section("readings", "Readings", _READINGS_WORDS, "".join(_table(*pair) for pair in c.kind("readings"))),
        _section("again", "Run it again", _AGAIN_WORDS, _again()),
        _section("origin", "Where the numbers come from", _ORIGIN_WORDS, _origin(c)),
        "</main>",
        f"<script>{script}\n{table_page.COPY}</script>",
        "</body></html>",
    ]
    return "\n".join(parts) + "\n"


_SECTIONS = {
    "tables": "Tables",
    "figures": "Figures",
    "costs": "Costs",
    "conformance": "Conformance",
    "claims": "Claims",
    "readings": "Readings",
    "again": "Run it again",
    "origin": "Origin",
}
_TABLES_WORDS = (
    "Published numbers stand in italics under ours. “n” is the number of trainings; ± is the sample standard deviation "
    "over them, and [low, high], where it was asked for, a 95 % bootstrap interval over subjects. The choices over a "
    "table say who picked the epoch and the threshold; what is shown first never looks at the test set."
)
_FIGURES_WORDS = (
    "Numbers of the papers' figures were not printed, so these have nothing to be compared with digit by digit."
)
_COSTS_WORDS = (
    "What each row costs. Parameters and multiply-accumulates (MACs) are those of the published network scoring one "
    "sample of 224 × 224. Times are measured in turn, in one process, with the profile's settings, and are multiples "
    "of mmFAS's; a row that the profile narrows says how."
)
_CONFORMANCE_WORDS = (
    "Every numbered equation of both papers, and every metric, has property tests that any implementation can be held "
    "to. “Passed” means that no counterexample was found among the examples drawn."
)
_CLAIMS_WORDS = (
    "What the papers say in numbers, decided from their own printed digits and the released code; no data and no "
    "training is involved. A finding has one cause; below the findings stand the checks that they rest on, and "
    "observations, which no paper contradicts. “Contradicted” means that two printed statements, or a sentence and a "
    "number, cannot both hold as we read them. It says nothing about why. Authors are asked to answer: "
    "DISCREPANCIES.md says how, and what we do with an answer."
)
_READINGS_WORDS = (
    "Where mmFAS's paper leaves something open, one reading is the default and the others are options. This table "
    "replaces one at a time and says whether the difference exceeds what another seed alone would do."
)
_AGAIN_WORDS = (
    "Each number's own command is under its table, at “Run a cell again”. These make whole parts; whatever exists is "
    "kept, and what was cut off goes on."
)
_ORIGIN_WORDS = (
    "As the runs and the tests recorded it themselves. “+changes”: the working copy differed from the commit."
)


def _section(name: str, title: str, words: str, content: str) -> str:
    return f'<section id="{name}" class="part"><h2>{title}</h2><p>{words}</p>{content}</section>'


def _navigation() -> str:
    links = "".join(f'<li><a href="#{name}">{words}</a></li>' for name, words in _SECTIONS.items())
    return f'<nav aria-label="Parts of the report"><ul>{links}</ul></nav>'


def _top(c: Contents) -> str:
    tables = [files for _, files in c.tables.values() if files]
    pictures = sum(bool(files.images) for _, files in c.pictures)
    equations = _counts(c.conformance["verdicts"]) if c.conformance else "not run"
    verdicts: Counter[str] = Counter(f.verdict for f in c.findings)
    facts = (
        ("Tables and plots", "#tables", f"{len(tables)} of {len(c.tables)} run"),
        ("Pictures", "#figures", f"{pictures} of {len(c.pictures)} drawn"),
        ("Equations", "#conformance", equations),
        (
            "Findings",
            "#claims",
            f"{len(c.findings)}, from {len(c.claims)} checks and observations: {_counts(verdicts)}",
        ),
    )
    glance = "".join(
        f'<div><dt><a href="{link}">{name}</a></dt><dd>{escape(words)}</dd></div>' for name, link, words in facts
    )
    note = ""
    if any(files.stand_in for files in tables):
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


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{n} {what}" for what, n in counts.items() if n)


# ----------------------------------------------------------------------------------------- tables and figures


def _make(table: Table, files: TableFiles) -> str:
    """What to type for the whole table, with the settings of its runs."""
    data = "" if files.data.startswith("phantom ") else f" DATA={files.data}.toml"
    return f"make {target(table)}{data} PROFILE={files.profile} SEEDS={files.seeds}"


def _short(table: Table) -> str:
    paper, _, name = table.title.partition(":")[0].partition(", ")
    return f"{paper}, {name or 'readings'}"


def _runs(files: TableFiles) -> str:
    return f"{files.done} of {files.done + files.missing} runs" if files.missing else f"{files.done} runs"


def _data(files: TableFiles) -> str:
    return files.data if files.data.startswith("phantom") or not files.stand_in else f"phantom ({files.data})"


def _index(c: Contents) -> str:
    """Every table and plot with its state, to jump to."""
    items = "".join(
        f'<li><a href="#at-{table.name}">{escape(_short(table))}</a> '
        f'<span class="facts">{_runs(files) if files else "not run"}</span></li>'
        for table, files in c.tables.values()
    )
    return f'<ul class="index">{items}</ul>'


def _table(table: Table, files: TableFiles | None) -> str:
    title = f'<h3 id="at-{table.name}">{escape(table.title)}</h3>'
    if files is None:
        published = table_page.published_alone(table)
        if published:
            note = "<p>In %, on the original data, as printed.</p>"
            published = f"<details><summary>The published numbers</summary>{note}{published}</details>"
        return f'<article class="absent">{title}{_absent(target(table))}{published}</article>'
    facts = f"Data: {_data(files)} · profile {files.profile} · seeds: {files.seeds} · {_runs(files)}"
    summary = "Ours and published" if table.published else "Ours"
    return (
        f'<article>{title}<p class="facts">{escape(facts)}</p>{command(_make(table, files))}'
        f"<details open><summary>{summary}</summary>{files.fragment}</details></article>"
    )


def _absent(make: str) -> str:
    return f'<p class="facts">Not run yet. To fill it:</p>{command(f"make {make}")}'


def _figures(c: Contents) -> str:
    """Figures in the order of the papers; one that belongs to a table stands there and is named here."""
    numeric = {table.name: _table(table, files) for table, files in c.kind("figure")}
    for table, _ in c.kind("table"):
        if table.figure:
            paper = table.name.partition("-")[0]
            numeric[f"{paper}-{table.figure.name}"] = (
                f"<article><h3>{escape(table.figure.title)}</h3><p>Made with, and shown under, "
                f'<a href="#at-{table.name}">{escape(table.title)}</a>.</p></article>'
            )
    pictures = {picture.name: _picture(picture, files) for picture, files in c.pictures}
    every = numeric | pictures
    papers = [paper.lower() for paper in PAPERS]
    order = sorted(every, key=lambda name: (papers.index(name.partition("-")[0]), not name[-1].isdigit(), name))
    return "".join(every[name] for name in order)


def _picture(picture: Picture, files: PictureFiles) -> str:
    title = f'<h3 id="at-{picture.name}">{escape(picture.title)}</h3>'
    if not files.images:
        return f'<article class="absent">{title}<p>{escape(picture.words)}</p>{_absent(picture.target)}</article>'
    images = "".join(
        f'<img alt="{escape(picture.title)}" src="data:{kind};base64,{base64.b64encode(content).decode()}">'
        for kind, content in files.images
    )
    numbers = ""
    if files.cells:
        head, *rows = files.cells
        numbers = plain(picture.title, head, [[escape(word) for word in row] for row in rows])
    return (
        f'<article>{title}<figure class="picture"><div class="scroll" tabindex="0" role="region" '
        f'aria-label="{escape(picture.title)}">{images}</div>'
        f"<figcaption>{escape(picture.words)} The picture names its data; phantom data are no evidence about faces."
        f"</figcaption></figure>{numbers}{command(f'make {picture.target}')}</article>"
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


# --------------------------------------------------------------------------------- costs and conformance


def _costs(reports: Sequence[dict[str, Any]]) -> str:
    if not reports:
        return _absent("cost")
    parts = []
    for report in reports:
        head, *rows = report["text"]
        facts = (
            f"profile {report['profile']} · {report['device']} · threads: {report['threads']} · torch {report['torch']}"
        )
        parts.append(
            f'<article><h3>{escape(report["title"])}</h3><p class="facts">{escape(facts)}</p>'
            + plain(report["title"], head, [[escape(word) for word in row] for row in rows])
            + "</article>"
        )
    return "".join(parts)


def _conformance(report: dict[str, Any] | None) -> str:
    """The matrix as spec_tests rendered it; style.css knows its classes."""
    if report is None:
        return f'<p class="facts">Not run yet. To fill it (property tests, minutes):</p>{command(CONFORMANCE)}'
    return str(report["fragment"])


# --------------------------------------------------------------------------------------------------- claims

_MARKS = {"confirmed": "✓", "contradicted": "✗", "undetermined": "?"}


def _verdict(verdict: str) -> str:
    """A verdict with a mark of its own, so that colour is not all that tells it."""
    mark = f'<span aria-hidden="true">{_MARKS.get(verdict, "·")} </span>'
    return f'<span class="verdict {escape(verdict.lower().replace(" ", "-"))}">{mark}{escape(verdict)}</span>'


def _claims(claims: Sequence[Entry]) -> str:
    return (
        f'<div class="filters" hidden>{_filters(claims)}</div>'
        f'<p class="count" role="status" data-all="{len(claims)}">{len(claims)} claims</p>'
        f'<ol class="claims" id="ledger">{"".join(map(_claim, claims))}</ol>'
        '<p class="facts">All of them again, in seconds:</p>' + command("make audit")
    )


def _findings(findings: Sequence[Finding]) -> str:
    """Each finding with its record; its checks are links to the list below."""
    return '<ol class="claims">' + "".join(map(_finding, findings)) + "</ol>"


def _finding(finding: Finding) -> str:
    r = finding.record
    told = (
        ("Claim", r.claim),
        ("Assumes", r.assumes),
        ("Flips", r.flips),
        ("May be", r.innocent),
        ("Settled by", r.settles),
        *(("Since then", line) for line in r.history),
    )
    items = "".join(f"<dt>{name}</dt><dd>{escape(words)}</dd>" for name, words in told if words)
    named = [e.claim.id for e in (*finding.checks, *finding.observations)]
    links = ", ".join(f'<a href="#claim-{name}">{name}</a>' for name in map(escape, named))
    return (
        f'<li id="finding-{escape(r.id)}"><details><summary>{_verdict(finding.verdict)}<span>{escape(r.title)}'
        f'<span class="facts">{escape(f"{r.paper} · {r.place} · {r.status} since {r.date}")}</span></span></summary>'
        f"<dl>{items}<dt>Rests on</dt><dd>{links}</dd></dl></details></li>"
    )


def _filters(claims: Sequence[Entry]) -> str:
    groups: tuple[tuple[str, str, Sequence[str], Counter[str]], ...] = (
        ("paper", "Paper", PAPERS, Counter(e.claim.paper for e in claims)),
        ("verdict", "Verdict", VERDICTS, Counter(e.result.verdict for e in claims)),
        ("kind", "Kind", KINDS, Counter(e.claim.kind for e in claims)),
    )
    out = []
    for name, title, values, counts in groups:
        buttons = f'<button type="button" data-filter="{name}" data-value="" aria-pressed="true">all</button>'
        buttons += "".join(
            f'<button type="button" data-filter="{name}" data-value="{escape(value)}" aria-pressed="false">'
            f"{escape(value)} <small>{counts[value]}</small></button>"
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
    c, f = entry.claim, entry.result
    open_ = f.verdict != "confirmed"
    told = (
        ("Quoted", f"“{c.quote}”" if c.quote else ""),
        *(("Computed", line) for line in f.computation),
        ("Assumes", c.assumes),
        ("May be", c.explains if open_ else ""),
        ("Settled by", c.settles if open_ else ""),
        (
            "Recorded",
            "" if entry.as_expected else f"{entry.expected[0]} ({entry.expected[1]}): the finding has changed",
        ),
    )
    items = "".join(f"<dt>{name}</dt><dd>{escape(words)}</dd>" for name, words in told if words)
    says = escape(c.says[0].upper() + c.says[1:])
    return (
        f'<li id="claim-{escape(c.id)}" data-paper="{escape(c.paper)}" data-kind="{escape(c.kind)}" '
        f'data-verdict="{escape(f.verdict)}"><details>'
        f"<summary>{_verdict(f.verdict)}<span>{says}"
        f'<span class="facts">{escape(f"{c.paper} · {c.place} · {c.kind}")}</span></span>'
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
            escape(_data(files)),
            escape(f"{files.profile}, seeds: {files.seeds}"),
            str(files.done),
            escape(", ".join(files.commits)),
            escape("; ".join(files.environments)),
            escape(" to ".join(dict.fromkeys((files.finished[0], files.finished[-1])))),
        ]
        for table, files in c.tables.values()
        if files
    ]
    if not rows:
        return '<p class="facts">No table has been run yet.</p>'
    head = ("Table", "Data", "Profile", "Runs", "Commits", "Machines", "Finished")
    kinds = ("", "", "", "", "words", "words", "words")
    return plain("Origin of the runs", head, rows, kinds)
