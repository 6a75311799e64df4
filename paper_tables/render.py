"""A table's results as Markdown, LaTeX, JSON and on the terminal (the page is `page.py`)."""

import json
from typing import Any

from rich.console import Console
from rich.table import Table as Grid
from rich.text import Text

from paper_tables.cells import HTER_THRESHOLDS, METRICS, POLICIES
from paper_tables.results import Results, Row
from paper_tables.selection import RULES
from paper_tables.wording import (
    HEADS,
    HONEST,
    HTER_SAID,
    LAST,
    NOT_IMPLEMENTED,
    PAPERS,
    POLICY_SAID,
    RULE_NAMES,
    RULES_SAID,
    View,
    caption,
    cell_text,
    footnotes,
    n_text,
    parameters_text,
    set_names,
)

_EMPTY = "–"


def _published_cells(row: Row, results: Results) -> list[str]:
    assert row.published is not None
    return [str(row.published.values[s][kind]) for s in set_names(results) for kind in results.table.kinds]


def _our_cells(row: Row, results: Results, view: View, plus_minus: str) -> list[str]:
    keys = [(view.rule, s, view.metric(kind)) for s in set_names(results) for kind in results.table.kinds]
    return [cell_text(row.cells[key], plus_minus) if row.cells else _EMPTY for key in keys]


# ------------------------------------------------------------------------------------------------ Markdown


def _md_row(cells: list[str]) -> str:
    return "| " + " | ".join(c.replace("|", "\\|") for c in cells) + " |"


def markdown(results: Results) -> str:
    """The table in the paper's shape under the honest view, then every rule and threshold in long form."""
    names = set_names(results)
    notes = footnotes(results)
    out = [f"# {results.table.title}", ""]
    out += [f"> {sentence}" for sentence in caption(results, HONEST)[1:2]] + [""]

    heads = [f"{name} {HEADS[kind]}" for name in names.values() for kind in results.table.kinds]
    out += [_md_row(["method", "parameters", "n", *heads]), _md_row(["---", *["---:"] * (2 + len(heads))])]
    for row in results.rows:
        label, n = row.method.label, n_text(row)
        if row.method.module is None:
            label += f" ({NOT_IMPLEMENTED})"
        if row.method.name in notes:
            n += f" [{notes[row.method.name][0]}]"
        out.append(_md_row([label, parameters_text(row), n, *_our_cells(row, results, HONEST, "±")]))
        if row.published:
            printed = [f"*{x}*" for x in _published_cells(row, results)]
            out.append(_md_row(["*– published*", "", "", *printed]))
    out += ["", *[f"- {sentence}" for sentence in caption(results, HONEST)], ""]
    if notes:
        out += ["Missing runs; each command fills its row:", ""]
        for mark, lines in notes.values():
            out += [f"- [{mark}] {line}" for line in lines]
        out.append("")

    out += ["## Every selection rule and threshold, side by side", ""]
    for said in (*HTER_SAID.values(), *POLICY_SAID.values()):
        out.append(f"- {said}")
    out.append("")
    heads = [f"HTER {t}" for t in HTER_THRESHOLDS] + ["AUC"] + [f"Acc {p}" for p in POLICIES]
    metrics = [f"hter:{t}" for t in HTER_THRESHOLDS] + ["auc"] + [f"accuracy:{p}" for p in POLICIES]
    for rule in RULES:
        out += [f"### {RULE_NAMES[rule]}", "", RULES_SAID[rule], ""]
        out += [
            _md_row(["method", "set", "n", *heads]),
            _md_row(["---", "---", *["---:"] * (1 + len(heads))]),
        ]
        for row in results.rows:
            for s, name in names.items() if row.cells else ():
                values = [cell_text(row.cells[rule, s, metric]) for metric in metrics]
                out.append(_md_row([row.method.label, name, n_text(row), *values]))
        out.append("")
    return "\n".join(out)


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
    """Three floats - honest, last epoch, and the papers' way - for a document that loads booktabs and
    graphicx."""
    blocks = ["% needs \\usepackage{booktabs,graphicx}; generated, do not edit"]
    blocks += [_float(results, view) for view in (HONEST, LAST, PAPERS)]
    return "\n\n".join(blocks) + "\n"


def _float(results: Results, view: View) -> str:
    names = set_names(results)
    notes = footnotes(results)
    lines = [r"\begin{table*}", r"\centering", r"\resizebox{\textwidth}{!}{%"]
    k = len(results.table.kinds)
    lines += [rf"\begin{{tabular}}{{lrr{'r' * k * len(names)}}}", r"\toprule"]
    groups = [rf"\multicolumn{{{k}}}{{c}}{{{tex_escape(name)}}}" for name in names.values()]
    lines.append(" & ".join(["", "", "", *groups]) + r" \\")
    lines.append("".join(rf"\cmidrule(lr){{{4 + k * i}-{3 + k * (i + 1)}}}" for i in range(len(names))))
    heads = [tex_escape(HEADS[kind]) for kind in results.table.kinds] * len(names)
    lines.append(" & ".join(["method", "parameters", "$n$", *heads]) + r" \\")
    lines.append(r"\midrule")
    for row in results.rows:
        label, n = tex_escape(row.method.label), tex_escape(n_text(row))
        if row.method.module is None:
            label += f" ({NOT_IMPLEMENTED})"
        if row.method.name in notes:
            n += rf"\,[{notes[row.method.name][0]}]"
        ours = [tex_escape(c) for c in _our_cells(row, results, view, "±")]
        lines.append(" & ".join([label, tex_escape(parameters_text(row)), n, *ours]) + r" \\")
        if row.published:
            printed = [rf"\textit{{{x}}}" for x in _published_cells(row, results)]
            lines.append(" & ".join([r"\quad\textit{published}", "", "", *printed]) + r" \\")
    lines += [r"\bottomrule", r"\end{tabular}}"]
    lines.append(rf"\caption{{{tex_escape(' '.join(caption(results, view)))}}}")
    lines.append(rf"\label{{tab:{results.table.name}-{view.rule.replace('_', '-')}}}")
    if notes:
        # Paragraphs, not lines ended by \\, which would take a following [1] as its argument.
        lines += [r"\par\raggedright\footnotesize", r"Missing runs; each command fills its row:\par"]
        for mark, missing in notes.values():
            for line in missing:
                said, _, command = line.partition(": `")
                lines.append(rf"[{mark}] {tex_escape(said)}: \texttt{{{tex_escape(command.removesuffix('`'))}}}\par")
    lines.append(r"\end{table*}")
    return "\n".join(lines)


# ---------------------------------------------------------------------------------------------------- JSON


def as_json(results: Results) -> str:
    """Every number of every view, unrounded, and where it comes from."""
    rows: list[dict[str, Any]] = []
    for row in results.rows:
        cells: dict[str, Any] = {}
        for (rule, target, metric), cell in row.cells.items():
            values = {"mean": cell.mean, "sd": cell.sd, "n": len(cell.values), "values": cell.values}
            values |= {"epochs": cell.epochs} if cell.epochs is not None else {}
            values |= {"ci95": cell.ci} if cell.ci else {}
            cells.setdefault(rule, {}).setdefault(target, {})[metric] = values
        runs = [
            {
                "folder": run.folder.name,
                "arguments": run.arguments,
                "environment": run.environment,
                "git_commit": run.git_commit,
                "index_sha256": run.index_sha256,
            }
            for run in row.runs
        ]
        rows.append(
            {
                "method": row.method.name,
                "label": row.method.label,
                "implemented": row.method.module is not None,
                "parameters": row.parameters,
                "runs": runs,
                "missing": [{"seed": m.seed, "reason": m.reason, "command": m.command} for m in row.missing],
                "cells": cells,
                "published": {s: {m: str(x) for m, x in values.items()} for s, values in row.published.values.items()}
                if row.published
                else None,
            }
        )
    images = {s: {"bonafide": live, "attack": attack} for s, (live, attack) in results.images.items()}
    whole = {
        "table": results.table.name,
        "title": results.table.title,
        "data": results.data,
        "stand_in": results.stand_in,
        "profile": {"name": results.profile.name, **results.profile.training},
        "seeds": results.seeds,
        "caption": caption(results, HONEST),
        "selection_rules": RULES_SAID,
        "metrics": METRICS,
        "thresholds": {"hter": HTER_SAID, "accuracy": POLICY_SAID},
        "sets": set_names(results),
        "images": images,
        "published_source": {"paper": results.published.paper, "place": results.published.place},
        "rows": rows,
    }
    return json.dumps(whole, indent=1, ensure_ascii=False) + "\n"


# ------------------------------------------------------------------------------------------------ terminal


def terminal(results: Results, console: Console) -> None:
    """The honest view, a block a metric, with the published number dimmed beside ours where there is room."""
    names = set_names(results)
    wide = console.width >= 110
    for kind in results.table.kinds:
        metric = HONEST.metric(kind)
        grid = Grid(title=f"{HEADS[kind]}  %", title_justify="left", title_style="bold", box=None, padding=(0, 1, 0, 0))
        grid.add_column("method", header_style="dim", no_wrap=True)
        for name in names.values():
            grid.add_column(name, header_style="dim", justify="right")
        for row in results.rows:
            if row.method.module is None and not wide:
                continue
            cells = []
            for s in names:
                text = Text(_EMPTY)
                if row.cells:
                    value, _, interval = cell_text(row.cells[HONEST.rule, s, metric]).partition(" [")
                    text = Text(value.replace(" ± ", "±"))  # five such columns fit 80 characters
                if wide and row.published:
                    text.append(f"  ({row.published.values[s][kind]})", style="dim")
                if row.cells and interval:
                    text.append(f"\n[{interval}")
                cells.append(text)
            grid.add_row(row.method.label, *cells)
        console.print(grid)
        console.print()
    if wide:
        console.print("(in parentheses: published)", style="dim", highlight=False)
    for sentence in caption(results, HONEST):
        console.print(f"· {sentence}", style="dim", highlight=False, markup=False)
    for mark, lines in footnotes(results).values():
        for line in lines:
            console.print(f"[{mark}] {line}", markup=False, highlight=False, soft_wrap=True)
