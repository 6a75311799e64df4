"""A table's results as Markdown, LaTeX, JSON and on the terminal (the page is `page.py`)."""

import json
import re
from dataclasses import asdict, replace
from typing import Any

from rich.console import Console
from rich.table import Table as Grid
from rich.text import Text

from paper_tables.numbers.cells import main_metrics, metrics_of
from paper_tables.numbers.results import Results, RowResult
from paper_tables.rendering.findings import Section, differences, sections
from paper_tables.rendering.wording import (
    HEADS,
    HONEST,
    HTER_SENTENCES,
    NOT_IMPLEMENTED,
    POLICY_SENTENCES,
    RULE_NAMES,
    RULE_SENTENCES,
    View,
    caption,
    cell_text,
    column_names,
    footnotes,
    n_text,
    parameters_text,
    reconstruction_sentences,
    set_names,
    threshold_sentences,
    view_of,
)

_EMPTY = "–"


def _published_cells(result: RowResult, results: Results) -> list[str]:
    assert result.published is not None
    return [_printed(result, column, kind) for column in column_names(results) for kind in results.table.visible]


def _printed(result: RowResult, column: str, kind: str) -> str:
    """The published number of a place, empty where the paper has none."""
    return str(result.published.values.get(column, {}).get(kind, "")) if result.published else ""


def _our_cells(result: RowResult, results: Results, view: View, plus_minus: str) -> list[str]:
    keys = [(view.rule, c, view.metric(kind)) for c in column_names(results) for kind in results.table.visible]
    return [cell_text(result.cells[key], plus_minus) if key in result.cells else _EMPTY for key in keys]


def _printed_parameters(result: RowResult) -> str:
    return f"{result.published.parameters} M" if result.published and result.published.parameters is not None else ""


# ------------------------------------------------------------------------------------------------ Markdown


_MARKDOWN = re.compile(r"([\\`*_<>#~])|(?<=\])(\()")


def md_escape(text: str) -> str:
    """Text, on one line, of which Markdown makes nothing but that text; `md_row` sees to the bars of a table."""
    return _MARKDOWN.sub(r"\\\g<0>", " ".join(text.split()).replace("&", "&amp;"))


def _without_markup(results: Results) -> Results:
    """The results, whose names of data and last words of runs Markdown shows as they are."""
    rows = [
        replace(row, missing=tuple(replace(run, reason=md_escape(run.reason)) for run in row.missing))
        for row in results.rows
    ]
    return replace(results, data=md_escape(results.data), rows=tuple(rows))


def md_row(cells: list[str]) -> str:
    return "| " + " | ".join(c.replace("|", "\\|") for c in cells) + " |"


def markdown(results: Results) -> str:
    """The table in the paper's shape under the honest view, then every rule and threshold in long form."""
    results = _without_markup(results)
    names, table = column_names(results), results.table
    notes = footnotes(results)
    out = [f"# {results.table.title}", ""]
    out += [f"> {sentence}" for sentence in caption(results, HONEST)[1:2]] + [""]

    heads = [f"{name} {HEADS[kind]}" for name in names.values() for kind in table.visible]
    out += [md_row(["method", "parameters", "n", *heads]), md_row(["---", *["---:"] * (2 + len(heads))])]
    for result in results.rows:
        label, n = result.row.label, n_text(result)
        if result.row.program is None:
            label += f" ({NOT_IMPLEMENTED})"
        if result.row.name in notes:
            n += f" [{notes[result.row.name][0]}]"
        out.append(md_row([label, parameters_text(result), n, *_our_cells(result, results, HONEST, "±")]))
        if result.published:
            printed = [f"*{x}*" if x else "" for x in _published_cells(result, results)]
            size = f"*{_printed_parameters(result)}*" if _printed_parameters(result) else ""
            out.append(md_row(["*– published*", size, "", *printed]))
    out += ["", *[f"- {sentence}" for sentence in caption(results, HONEST)], ""]
    if notes:
        out += ["Missing runs; each command fills its row:", ""]
        for mark, lines in notes.values():
            out += [f"- [{mark}] {line}" for line in lines]
        out.append("")

    for section in sections(results):
        out += _md_section(section)
    out += ["## Every selection rule and threshold, side by side", ""]
    out += [f"- {sentence}" for sentence in threshold_sentences(table)]
    out.append("")
    metrics = main_metrics(table.kinds)
    heads = [f"{HEADS[kind][:-2]} {where}".rstrip() for kind, _, where in (m.partition(":") for m in metrics)]
    for rule in table.rules:
        out += [f"### {RULE_NAMES[rule]}", "", RULE_SENTENCES[rule], ""]
        out += [
            md_row(["method", "set" if _sets_only(results) else "column", "n", *heads]),
            md_row(["---", "---", *["---:"] * (1 + len(heads))]),
        ]
        for result in results.rows:
            for column, name in names.items():
                row_cells = [result.cells.get((rule, column, metric)) for metric in metrics]
                if all(row_cells):
                    values = [cell_text(cell) for cell in row_cells if cell]
                    out.append(md_row([result.row.label, name, n_text(result), *values]))
        out.append("")
    return "\n".join(out)


def _sets_only(results: Results) -> bool:
    return any(column.dataset for column in results.table.columns)


def _md_section(section: Section) -> list[str]:
    out = [f"## {section.title}", "", *[f"- {sentence}" for sentence in section.sentences], ""]
    out += [md_row([*section.head]), md_row(["---"] * len(section.head))]
    return [*out, *[md_row([*row]) for row in section.rows], ""]


# --------------------------------------------------------------------------------------------------- LaTeX

_TEX = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "Δ": r"$\Delta$",
    "α": r"$\alpha$",
    "β": r"$\beta$",
    "→": r"$\to$",
    "–": "--",
    "−": "$-$",
    "×": r"$\times$",
    "±": r"$\pm$",
    "↓": r"$\downarrow$",
    "↑": r"$\uparrow$",
    "“": "``",
    "”": "''",
    "…": r"\ldots{}",
}


def tex_escape(text: str) -> str:
    """Text as LaTeX prints it. `--` keeps both dashes, which most fonts would join."""
    return "".join(_TEX.get(c, c) for c in text.replace("--", "-\0-")).replace("\0", "{}")


def latex(results: Results) -> str:
    """A float for each selection rule and each finding, for a document that loads booktabs and graphicx."""
    blocks = ["% needs \\usepackage{booktabs,graphicx}; generated, do not edit"]
    blocks += [_float(results, view_of(rule)) for rule in results.table.rules]
    blocks += [_tex_section(results, section, i) for i, section in enumerate(sections(results), start=1)]
    return "\n\n".join(blocks) + "\n"


def _float(results: Results, view: View) -> str:
    names = column_names(results)
    notes = footnotes(results)
    lines = [r"\begin{table*}", r"\centering", r"\resizebox{\textwidth}{!}{%"]
    k = len(results.table.visible)
    lines += [rf"\begin{{tabular}}{{lrr{'r' * k * len(names)}}}", r"\toprule"]
    groups = [rf"\multicolumn{{{k}}}{{c}}{{{tex_escape(name)}}}" for name in names.values()]
    lines.append(" & ".join(["", "", "", *groups]) + r" \\")
    lines.append("".join(rf"\cmidrule(lr){{{4 + k * i}-{3 + k * (i + 1)}}}" for i in range(len(names))))
    heads = [tex_escape(HEADS[kind]) for kind in results.table.visible] * len(names)
    lines.append(" & ".join(["method", "parameters", "$n$", *heads]) + r" \\")
    lines.append(r"\midrule")
    for result in results.rows:
        label, n = tex_escape(result.row.label), tex_escape(n_text(result))
        if result.row.program is None:
            label += f" ({NOT_IMPLEMENTED})"
        if result.row.name in notes:
            n += rf"\,[{notes[result.row.name][0]}]"
        ours = [tex_escape(c) for c in _our_cells(result, results, view, "±")]
        lines.append(" & ".join([label, tex_escape(parameters_text(result)), n, *ours]) + r" \\")
        if result.published:
            printed = [rf"\textit{{{x}}}" if x else "" for x in _published_cells(result, results)]
            size = rf"\textit{{{_printed_parameters(result)}}}" if _printed_parameters(result) else ""
            lines.append(" & ".join([r"\quad\textit{published}", size, "", *printed]) + r" \\")
    lines += [r"\bottomrule", r"\end{tabular}}"]
    lines.append(rf"\caption{{{tex_escape(' '.join(caption(results, view)))}}}")
    lines.append(rf"\label{{tab:{results.table.name}-{view.rule.replace('_', '-')}}}")
    if notes:
        # Paragraphs, not lines ended by \\, which would take a following [1] as its argument.
        lines += [r"\par\raggedright\footnotesize", r"Missing runs; each command fills its row:\par"]
        for mark, missing in notes.values():
            for line in missing:
                which, _, command = line.partition(": `")
                lines.append(rf"[{mark}] {tex_escape(which)}: \texttt{{{tex_escape(command.removesuffix('`'))}}}\par")
    lines.append(r"\end{table*}")
    return "\n".join(lines)


def _tex_section(results: Results, section: Section, number: int) -> str:
    lines = [r"\begin{table*}", r"\centering", r"\resizebox{\textwidth}{!}{%"]
    lines += [rf"\begin{{tabular}}{{{'l' * len(section.head)}}}", r"\toprule"]
    lines.append(" & ".join(map(tex_escape, section.head)) + r" \\")
    lines.append(r"\midrule")
    lines += [" & ".join(map(tex_escape, row)) + r" \\" for row in section.rows]
    lines += [r"\bottomrule", r"\end{tabular}}"]
    sentences = [f"{results.table.title}. {section.title}.", *caption(results, HONEST)[1:2], *section.sentences]
    sentences += reconstruction_sentences(results.table)
    lines.append(rf"\caption{{{tex_escape(' '.join(sentences))}}}")
    lines += [rf"\label{{tab:{results.table.name}-finding-{number}}}", r"\end{table*}"]
    return "\n".join(lines)


# ---------------------------------------------------------------------------------------------------- JSON


def as_json(results: Results) -> str:
    """Every number of every view, unrounded, and where it comes from."""
    rows: list[dict[str, Any]] = []
    for result in results.rows:
        cells: dict[str, Any] = {}
        for (rule, target, metric), cell in result.cells.items():
            values: dict[str, Any] = {"mean": cell.mean, "sd": cell.sd, "n": len(cell.values), "values": cell.values}
            values |= {"epochs": cell.epochs} if cell.epochs is not None else {}
            values |= {"heads": cell.heads} if cell.heads is not None else {}
            values |= {"ci95": cell.ci} if cell.ci else {}
            cells.setdefault(rule, {}).setdefault(target, {})[metric] = values
        runs = [
            {
                "folder": run.scores.folder.name,
                "seed": run.seed,
                "part": run.part,
                "finished": run.scores.finished,
                "tested_epochs": run.scores.tested.tolist(),
                "epochs_tied_at_best_validation": dict(zip(("eer", "eer_and_auc"), run.scores.tied, strict=True)),
                "again": run.command,
                "arguments": run.scores.arguments,
                "environment": run.scores.environment,
                "git_commit": run.scores.git_commit,
                "index_sha256": run.scores.index_sha256,
            }
            for run in result.finished
        ]
        rows.append(
            {
                "method": result.row.name,
                "label": result.row.label,
                "implemented": result.row.program is not None,
                "reconstruction": result.row.reconstruction,
                "parameters": result.parameters,
                "runs": runs,
                "missing": [{"seed": m.seed, "reason": m.reason, "command": m.command} for m in result.missing],
                "cells": cells,
                "published": {
                    s: {m: str(x) for m, x in values.items()} for s, values in result.published.values.items()
                }
                if result.published
                else None,
            }
        )
        if result.published and result.published.parameters is not None:
            rows[-1]["published_parameters_in_millions"] = str(result.published.parameters)
        if results.table.baseline:
            rows[-1]["difference"] = {m: asdict(d) for m, d in differences(results, result).items()}
    images = {s: {"bonafide": live, "attack": attack} for s, (live, attack) in results.images.items()}
    whole = {
        "table": results.table.name,
        "title": results.table.title,
        "data": results.data,
        "stand_in": results.stand_in,
        "profile": {"name": results.profile.name, **results.settings},
        "protocol": results.protocol,
        "clip": results.clip,
        "seeds": results.seeds,
        "caption": caption(results, HONEST),
        "selection_rules": {rule: RULE_SENTENCES[rule] for rule in results.table.rules},
        "metrics": metrics_of(results.table.kinds),
        "thresholds": {"hter": HTER_SENTENCES, "accuracy": POLICY_SENTENCES},
        "sets": set_names(results),
        "images": images,
        "columns": column_names(results),
        "published_source": {"paper": results.published.paper, "place": results.published.place}
        if results.published
        else None,
        "rows": rows,
    }
    return json.dumps(whole, indent=1, ensure_ascii=False) + "\n"


# ------------------------------------------------------------------------------------------------ terminal


def terminal(results: Results, console: Console) -> None:
    """The honest view, a block for each metric, with the published number dimmed beside ours where there is room."""
    names = column_names(results)
    wide = console.width >= 110
    for kind in results.table.visible:
        metric = HONEST.metric(kind)
        grid = Grid(title=f"{HEADS[kind]}  %", title_justify="left", title_style="bold", box=None, padding=(0, 1, 0, 0))
        grid.add_column("method", header_style="dim")  # names may be broken, numbers not
        for name in names.values():
            grid.add_column(name, header_style="dim", justify="right", no_wrap=True)
        for result in results.rows:
            if result.row.program is None and not wide:
                continue
            cells = []
            for column in names:
                text, interval = Text(_EMPTY), ""
                if cell := result.cells.get((HONEST.rule, column, metric)):
                    value, _, interval = cell_text(cell).partition(" [")
                    text = Text(value.replace(" ± ", "±"))  # five such columns fit 80 characters
                if wide and _printed(result, column, kind):
                    text.append(f"  ({_printed(result, column, kind)})", style="dim")
                if interval:
                    text.append(f"\n[{interval}")
                cells.append(text)
            grid.add_row(result.row.label, *cells)
        console.print(grid)
        console.print()
    if results.table.leaf_parameters:
        _terminal_parameters(results, console)
    for section in sections(results):
        grid = Grid(title=section.title, title_justify="left", title_style="bold", box=None, padding=(0, 1, 0, 0))
        for head in section.head:
            grid.add_column(head, header_style="dim")
        for words in section.rows:
            grid.add_row(*words)
        if section.long:
            console.print(Text(section.title, style="bold"))
        else:
            console.print(grid)
        for sentence in section.sentences:
            console.print(f"· {sentence}", style="dim", highlight=False, markup=False)
        console.print()
    if wide and results.published:
        console.print("(in parentheses: published)", style="dim", highlight=False)
    for sentence in caption(results, HONEST):
        console.print(f"· {sentence}", style="dim", highlight=False, markup=False)
    for mark, lines in footnotes(results).values():
        for line in lines:
            console.print(f"[{mark}] {line}", markup=False, highlight=False, soft_wrap=True)


def _terminal_parameters(results: Results, console: Console) -> None:
    grid = Grid(title="Parameters", title_justify="left", title_style="bold", box=None, padding=(0, 1, 0, 0))
    grid.add_column("method", header_style="dim", no_wrap=True)
    for head in ("counted", "published"):
        grid.add_column(head, header_style="dim", justify="right")
    for result in results.rows:
        grid.add_row(result.row.label, parameters_text(result), _printed_parameters(result))
    console.print(grid)
    console.print()
