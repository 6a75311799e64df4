"""A table's results as one HTML file: no network, no script needed, light and dark, wide and narrow.

Every value of every view is in the file; radio buttons and `:has()` show one view at a time. A browser
without `:has()` shows the honest view. The only script adds copy buttons to the commands. Every id begins with the
table's name, so that one page can hold several tables (`fragment`).
"""

from html import escape
from pathlib import Path

from paper_tables.declarations.published import Published, load
from paper_tables.declarations.table import Column, Curves, NumberGrid, Table
from paper_tables.numbers.cells import DETAILS, HTER_THRESHOLDS, POLICIES, Cell
from paper_tables.numbers.results import Results, RowResult
from paper_tables.rendering import figures
from paper_tables.rendering.findings import sections
from paper_tables.rendering.wording import (
    HEADS,
    HONEST,
    HTER_SENTENCES,
    NOT_IMPLEMENTED,
    POLICY_SENTENCES,
    RULE_NAMES,
    RULE_SENTENCES,
    cell_text,
    column_names,
    column_sentences,
    data_sentence,
    n_text,
    number,
    parameters_text,
    profile_sentence,
    reconstruction_sentences,
    run_sentences,
)

HTER_NAMES = {"source_val": "source validation EER", "target": "test set’s own EER"}
POLICY_NAMES = {
    "source_dev@BPCER1%": "source, BPCER 1 %",
    "target@BPCER1%": "test set, BPCER 1 %",
    "source_dev@EER": "source, EER",
}
_MANY = 8  # more columns than this do not fit on paper side by side
DETAIL_HEADS = {"balanced_accuracy": "Bal. acc ↑", "apcer_max": "APCER max ↓", "bpcer": "BPCER ↓"}


def _choices_of(table: Table) -> list[tuple[str, str, dict[str, str], str]]:
    """The table's choices: name, legend, values with their names, default. A value carries the classes of the
    choices it belongs to, and hides unless all are made."""
    choices = [("rule", "Epoch chosen by", {rule: RULE_NAMES[rule] for rule in table.rules}, HONEST.rule)]
    if "hter" in table.visible:
        choices.append(("hter", "HTER threshold from", HTER_NAMES, HONEST.hter))
    if "accuracy" in table.kinds:
        choices.append(("acc", "Accuracy threshold from", POLICY_NAMES, HONEST.policy))
    return choices


def _key(choice: str, value: str) -> str:
    """`rule-source_val` and the like, fit for an id and a class."""
    return f"{choice}-{value.replace('@', '-').replace('%', '')}"


def style(table: Table) -> str:
    """For each choice, hide what belongs to its other values, within the element that has the table's name."""
    rules, fallback = [], []
    for choice, _, values, default in _choices_of(table):
        for chosen in values:
            hidden = ",".join(f".{_key(choice, v)}" for v in values if v != chosen)
            checked = f"#{table.name}:has(#{table.name}-{_key(choice, chosen)}:checked)"
            rules.append(f"{checked} :is({hidden}){{display:none}}")
        fallback += [f"#{table.name} .{_key(choice, v)}" for v in values if v != default]
    without = f"@supports not selector(:has(a)){{{','.join(fallback)},.choices{{display:none}}}}"
    return "\n".join([*rules, without])


def head(title: str, styles: str, *elements: str) -> str:
    """A document's start, up to its body: `styles` come after those that every page has, `elements` after all."""
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<style>{CSS}
{styles}</style>{"".join(elements)}</head>"""


def page(results: Results) -> str:
    """The whole document."""
    title = escape(results.table.title)
    parts = [
        head(title, style(results.table)),
        f'<body><main id="{results.table.name}"{_ci(results)}><h1>{title}</h1>',
        _content(results, 2),
        "</main>",
        f"<script>{COPY}</script>",
        "</body></html>",
    ]
    return "\n".join(parts) + "\n"


def fragment(results: Results) -> str:
    """What the page shows under its title, as an element named after the table, for a page that has `CSS` and
    `style(table)` and gives the table a heading of level 3."""
    return f'<div id="{results.table.name}"{_ci(results)}>{_content(results, 4)}</div>'


def _ci(results: Results) -> str:
    return " class=ci" if results.ci else ""


def _content(results: Results, level: int) -> str:
    """Everything under the title; `level` is that of the sections' headings."""
    names = column_names(results)
    parts = [
        f'<p class="note{" standin" if results.stand_in else ""}">{escape(data_sentence(results))}</p>',
        _choices(results.table),
        _main_table(results, names),
        _meaning(results),
        _findings(results, level),
        _figure(results, names, level),
        _detail_table(results, names, level),
        _commands(results, level),
        _again(results, level),
        _provenance(results),
    ]
    return "\n".join(part for part in parts if part)


def published_alone(table: Table) -> str:
    """The published numbers of a table of which nothing was run, as an HTML table, under the names that the paper
    prints; empty where it prints none."""
    if table.published is None:
        return ""
    published = load(table.published, table.flat_columns)
    places = [(c, kind) for c in table.columns for kind in table.visible if _printed(published, c.name, kind)]
    heads = "".join(f'<th scope="col">{escape(c.label)} {HEADS[kind]}</th>' for c, kind in places)
    out = [f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(table.title)}, published">']
    out.append(f'<table class="plain numbers"><thead><tr><th scope="col">Method</th>{heads}</tr></thead><tbody>')
    for row in table.rows:
        if row.published:
            theirs = published.rows[row.published]
            cells = "".join(f"<td>{theirs.values.get(c.name, {}).get(kind, '')}</td>" for c, kind in places)
            out.append(f'<tr><th scope="row">{escape(theirs.printed)}</th>{cells}</tr>')
    notes = "".join(f"<p>{escape(sentence)}</p>" for sentence in reconstruction_sentences(table))
    return "".join(out) + f"</tbody></table></div>{notes}"


def _printed(published: Published, column: str, kind: str) -> bool:
    return any(kind in row.values.get(column, {}) for row in published.rows.values())


def _choices(table: Table) -> str:
    out = ['<form class="choices" aria-label="What the tables show">']
    for choice, legend, values, default in _choices_of(table):
        out.append(f"<fieldset><legend>{legend}</legend><div>")
        for value, name in values.items():
            checked = " checked" if value == default else ""
            key = f"{table.name}-{_key(choice, value)}"
            out.append(f'<label><input type="radio" name="{choice}" id="{key}"{checked}><span>{name}</span></label>')
        out.append("</div></fieldset>")
    return "".join(out) + "</form>"


def _value(cell: Cell, classes: list[str]) -> str:
    text = f"<b>{number(cell.mean)}</b>"
    if cell.sd is not None:
        text += f"<i>± {number(cell.sd)}</i>"
    if cell.ci:
        text += f"<i>[{number(cell.ci[0])}, {number(cell.ci[1])}]</i>"
    return f'<span class="v {" ".join(classes)}">{text}</span>'


def _ours(result: RowResult, table: Table, column: str, metrics: dict[str, list[str]]) -> str:
    """Every view's value of one place; `metrics` maps a metric to the classes of the choices it belongs
    to."""
    values = "".join(
        _value(cell, [_key("rule", rule), *classes])
        for rule in table.rules
        for metric, classes in metrics.items()
        if (cell := result.cells.get((rule, column, metric)))
    )
    return values or '<span class="none">–</span>'


def _method_cell(result: RowResult, table: Table, heads: tuple[str, ...]) -> str:
    """The row's name and facts; `heads` stand over its numbers where the screen is too narrow for columns."""
    text = f'<th scope="row" role="rowheader"><span class="name">{escape(result.row.label)}</span>'
    facts = []
    if parameters_text(result):
        facts.append(f"{parameters_text(result)} parameters")
    if result.published and result.published.parameters is not None:
        facts.append(f"published {result.published.parameters} M")
    if result.runs:
        facts.append(f"n = {n_text(result)}")
    if facts:
        text += f'<span class="facts">{escape(" · ".join(facts))}</span>'
    if result.row.program is None:
        text += f'<span class="facts">{NOT_IMPLEMENTED}</span>'
    if result.missing:
        some = "some runs missing" if result.runs else "no run yet"
        text += f'<span class="facts"><a href="#{table.name}-run-{result.row.name}">{some}: command</a></span>'
    if result.finished:
        text += f'<span class="facts"><a href="#{table.name}-again-{result.row.name}">run again</a></span>'
    trio = "".join(f"<span>{head}</span>" for head in heads)
    return f'{text}<span class="heads" aria-hidden="true"><span></span><span class="trio">{trio}</span></span></th>'


def _summary(column: Column) -> str:
    """The class of a column that is a mean over others."""
    return ' class="weighted"' if len(column.places) > 1 else ""


def _head(results: Results, names: dict[str, str], heads: tuple[str, ...]) -> str:
    trio = "".join(f"<span>{head}</span>" for head in heads)
    cells = "".join(
        f'<th scope="col" role="columnheader"{_summary(c)}>{escape(names[c.name])}<span class="trio">{trio}</span></th>'
        for c in results.table.columns
    )
    return (
        '<thead role="rowgroup"><tr role="row"><th scope="col" role="columnheader" class="corner">Method</th>'
        f"{cells}</tr></thead>"
    )


def _main_table(results: Results, names: dict[str, str]) -> str:
    views: dict[str, dict[str, list[str]]] = {
        "hter": {f"hter:{t}": [_key("hter", t)] for t in HTER_THRESHOLDS},
        "auc": {"auc": []},
        "accuracy": {f"accuracy:{p}": [_key("acc", p)] for p in POLICIES},
    }
    heads = tuple(HEADS[kind] for kind in results.table.visible)
    out = [_caption_of_view(results), '<div class="scroll" tabindex="0" role="region" aria-label="Table">']
    many = ' class="many"' if len(results.table.columns) > _MANY else ""
    out += [f'<table role="table"{many}>', _head(results, names, heads), '<tbody role="rowgroup">']
    for result in results.rows:
        kind = "" if result.cells else ' class="absent"'
        if not result.row.trains:
            kind = ' class="rule"'
        out.append(f'<tr role="row"{kind}>{_method_cell(result, results.table, heads)}')
        for column in results.table.columns:
            trio = []
            for kind in results.table.visible:
                ours = _ours(result, results.table, column.name, views[kind])
                paper = ""
                if result.published and (printed := result.published.values.get(column.name, {}).get(kind)) is not None:
                    paper = f'<span class="pub"><span class="sr">published </span>{printed}</span>'
                trio.append(f'<span class="m"><span class="sr">{HEADS[kind][:-2]} </span>{ours}{paper}</span>')
            name = escape(names[column.name])
            out.append(
                f'<td role="cell" data-set="{name}"{_summary(column)}><span class="trio">{"".join(trio)}</span></td>'
            )
        out.append("</tr>")
    out.append("</tbody></table></div>")
    return "".join(out)


def _caption_of_view(results: Results) -> str:
    table = results.table
    sentences = [f'<span class="{_key("rule", k)}">{escape(RULE_SENTENCES[k])}</span>' for k in table.rules]
    if "hter" in table.visible:
        sentences += [f' <span class="{_key("hter", k)}">{escape(v)}</span>' for k, v in HTER_SENTENCES.items()]
    if "accuracy" in table.visible:
        sentences += [f' <span class="{_key("acc", k)}">{escape(v)}</span>' for k, v in POLICY_SENTENCES.items()]
    key = "All numbers in %."
    if results.published:
        other = "published, other data: not comparable" if results.stand_in else "published"
        key += f' <b>Measured here</b>, and below it <span class="pub">{other}</span>.'
    return f'<p class="view" aria-live="polite">{"".join(sentences)}</p><p class="key">{key}</p>'


def _meaning(results: Results) -> str:
    items = "".join(
        f"<li>{escape(sentence)}</li>" for sentence in (*run_sentences(results), *column_sentences(results))
    )
    return f'<ul class="meaning">{items}</ul>'


def _findings(results: Results, level: int) -> str:
    out = []
    for section in sections(results):
        items = "".join(f"<li>{escape(sentence)}</li>" for sentence in section.sentences)
        out.append(f'<section><h{level}>{escape(section.title)}</h{level}><ul class="meaning">{items}</ul>')
        out.append(f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(section.title)}">')
        out.append('<table class="plain"><thead><tr>')
        out += [f'<th scope="col">{escape(head)}</th>' for head in section.head]
        out.append("</tr></thead><tbody>")
        for first, *words in section.rows:
            cells = "".join(f"<td>{escape(word)}</td>" for word in words)
            out.append(f'<tr><th scope="row">{escape(first)}</th>{cells}</tr>')
        out.append("</tbody></table></div></section>")
    return "".join(out)


def _figure(results: Results, names: dict[str, str], level: int) -> str:
    figure = results.table.figure
    if figure is None or not figures.legend(results):
        return ""
    legend = "".join(
        '<li><svg viewBox="0 0 44 8" width="44" height="8" aria-hidden="true">'
        f'<line x1="1" y1="4" x2="43" y2="4" stroke="{_ink(look)}" '
        f'stroke-width="{look.width}" '
        f'stroke-dasharray="{" ".join(f"{d * look.width:g}" for d in look.dashes) or "none"}"/>{_marker(look)}</svg>'
        f"{escape(label)}</li>"
        for label, look in figures.legend(results).items()
        if not isinstance(figure, NumberGrid)
    )
    runs = "one run" if results.seeds == 1 else "mean over the runs of FNR at each FPR"
    if isinstance(figure, Curves):
        legend += (
            '<li><svg viewBox="0 0 44 8" width="44" height="8" aria-hidden="true"><line x1="1" y1="4" x2="43" y2="4" '
            'stroke="currentColor" stroke-width="0.8" opacity="0.55"/></svg>chance</li>'
        )
        labels = {t: _panel_label(results, t, names) for t in results.images}
        note = (
            f"{data_sentence(results)} {profile_sentence(results)} Epochs by source validation; {runs}. "
            "Nearer the origin is better. Axes are linear up to 1 % and logarithmic above."
        )
        note = " ".join([note, *reconstruction_sentences(results.table)])
    else:
        labels = {kind: _sweep_label(results, kind) for kind in figure.kinds}
        note = f"{data_sentence(results)} {profile_sentence(results)} {figures.sweep_sentences(results)}"
    panels = "".join(
        f'<div class="panel" role="img" aria-label="{escape(label)}">{figures.panel_svg(results, panel)}</div>'
        for panel, label in labels.items()
    )
    wide = ' wide scroll" tabindex="0" role="region" aria-label="Figure' if isinstance(figure, NumberGrid) else ""
    return (
        f'<section><h{level}>{escape(figure.title)}</h{level}><figure><ul class="legend">{legend}</ul>'
        f'<div class="panels{wide}">{panels}</div><figcaption>{escape(note)}</figcaption></figure></section>'
    )


def _ink(look: figures.Look) -> str:
    return f"var(--m{figures.COLOURS.index(look.colour)})"


def _marker(look: figures.Look) -> str:
    """The mark of a sweep's points in its legend; curves have none."""
    mark = {"o": "●", "s": "■", "^": "▲", "D": "◆", "v": "▼", "P": "✚", "X": "✖", "*": "★"}.get(look.marker, "")
    return f'<text x="22" y="7.5" text-anchor="middle" font-size="9" fill="{_ink(look)}">{mark}</text>' if mark else ""


def _panel_label(results: Results, target: str, names: dict[str, str]) -> str:
    rates = ", ".join(
        f"{line.result.row.label} {number(line.result.cells['source_val', target, 'hter:target'].mean)} %"
        for line in figures.lines(results)
    )
    return f"FPR-FNR curves on {names[target]}. Equal error rates: {rates}"


def _sweep_label(results: Results, kind: str) -> str:
    lines = [
        f"{label}: " + ", ".join(f"{x:g} {cell_text(cell)} %" for x, cell in points)
        for label, points in figures.sweep_points(results, kind).items()
    ]
    return f"{HEADS[kind][:-2]} over {results.table.figure.x_label}. {'; '.join(lines)}"  # type: ignore[union-attr]


def _detail_table(results: Results, names: dict[str, str], level: int) -> str:
    rows = [result for result in results.rows if result.cells]
    if not rows or "accuracy" not in results.table.kinds:
        return ""
    policies = "".join(f'<span class="{_key("acc", k)}">{escape(v)}</span>' for k, v in POLICY_NAMES.items())
    out = [
        f"<section><h{level}>Errors behind the accuracy</h{level}>",
        "<p>Accuracy rewards whoever guesses the larger class: compare the three predictors that look at nothing. "
        f"Here are, at the same threshold ({policies}), the accuracy balanced over both classes, the share of attacks "
        "accepted of the worst attack family (APCER max), and the share of bona fide rejected (BPCER).</p>",
        '<div class="scroll" tabindex="0" role="region" aria-label="Errors"><table role="table">',
        _head(results, names, tuple(DETAIL_HEADS.values())),
        '<tbody role="rowgroup">',
    ]
    for result in rows:
        kind = "" if result.row.trains else ' class="rule"'
        out.append(f'<tr role="row"{kind}>{_method_cell(result, results.table, tuple(DETAIL_HEADS.values()))}')
        for column in results.table.columns:
            trio = "".join(
                f'<span class="m"><span class="sr">{DETAIL_HEADS[d][:-2]} </span>'
                f"{_ours(result, results.table, column.name, {f'{d}:{p}': [_key('acc', p)] for p in POLICIES})}</span>"
                for d in DETAILS
            )
            name = escape(names[column.name])
            out.append(f'<td role="cell" data-set="{name}"{_summary(column)}><span class="trio">{trio}</span></td>')
        out.append("</tr>")
    out.append("</tbody></table></div></section>")
    return "".join(out)


def _row_heading(results: Results, kind: str, result: RowResult, level: int) -> str:
    """The heading that a row's link to its commands leads to, a level below that of the section."""
    name = f"{results.table.name}-{kind}-{result.row.name}"
    return f'<h{level + 1} id="{name}">{escape(result.row.label)}</h{level + 1}>'


def _commands(results: Results, level: int) -> str:
    rows = [result for result in results.rows if result.missing]
    if not rows:
        return ""
    out = [f"<section><h{level}>Commands that fill what is missing</h{level}>"]
    for result in rows:
        out.append(_row_heading(results, "run", result, level))
        for m in result.missing:
            which = m.title.removeprefix(result.row.name).strip()
            out.append(f"<p>{escape(which)}, {escape(m.reason)}:</p>{command(m.command)}")
    return "".join(out) + "</section>"


def command(text: str) -> str:
    """A command to copy."""
    return f'<div class="command"><pre tabindex="0"><code>{escape(text)}</code></pre></div>'


def _again(results: Results, level: int) -> str:
    """How to repeat each number: the commands of the finished runs, each with the columns that it fills."""
    rows = [result for result in results.rows if result.finished]
    if not rows:
        return ""
    names = column_names(results)
    out = [
        "<section><details><summary>Run a cell again</summary>",
        "<p>Each command writes beside the run that these numbers come from, into build/again/. A column is made by "
        "the runs that name it; a mean over several by all of them.</p>",
    ]
    for result in rows:
        out.append(_row_heading(results, "again", result, level))
        for m in result.finished:
            columns = ", ".join(names[c.name] for c in results.table.columns if m.part in c.parts)
            out.append(f"<p>seed {m.seed}: {escape(columns)}</p>{command(m.command)}")
    return "".join(out) + "</details></section>"


def commit(text: str) -> str:
    """A run's commit, shortened; the mark of uncommitted changes stays."""
    name, plus, changes = text.partition("+")
    return name[:12] + plus + changes


_RUN_HEADS = ("run", "epoch chosen", "device", "threads", "torch", "commit", "finished")


def _provenance(results: Results) -> str:
    runs = [run for result in results.rows for run in result.finished]
    if not runs:
        return ""
    out = [
        "<section><details><summary>The runs behind these numbers</summary>",
        '<div class="scroll" tabindex="0" role="region" aria-label="Runs"><table class="plain"><thead><tr>',
        "".join(f'<th scope="col">{h}</th>' for h in _RUN_HEADS),
        "</tr></thead><tbody>",
    ]
    for run in runs:
        scores, env = run.scores, run.scores.environment
        device = env.get("device") if env.get("device") != "cpu" else env.get("cpu")
        cells = [
            f"{scores.chosen_epoch + 1} of {int(scores.epochs[-1]) + 1}",
            device,
            env.get("threads"),
            env.get("torch"),
            commit(scores.git_commit),
            run.scores.finished,
        ]
        out.append(f'<tr><th scope="row">{escape(scores.folder.name)}</th>')
        out += [f"<td>{escape(str(c))}</td>" for c in cells]
        out.append("</tr>")
    return "".join(out) + "</tbody></table></div></details></section>"


_HERE = Path(__file__).resolve().parent
CSS = (_HERE / "page.css").read_text(encoding="utf-8")
COPY = (_HERE / "copy.js").read_text(encoding="utf-8")  # adds the copy buttons: without a script there are none
