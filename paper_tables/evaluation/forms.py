"""An evaluation as text, Markdown, LaTeX and JSON (the page is `page.py`)."""

import json
from collections.abc import Sequence
from typing import Any

from paper_tables.evaluation.estimates import Interval
from paper_tables.evaluation.evaluation import Evaluation, Figure, Figures
from paper_tables.evaluation.measures import Missing
from paper_tables.evaluation.wording import TITLE, Sheet, metric_name, sentences, sheets, warnings
from paper_tables.rendering.render import md_escape, md_row, tex_escape


def text(evaluation: Evaluation) -> str:
    """Tables of aligned columns, then the sentences."""
    blocks = ["\n".join(warnings(evaluation))] if warnings(evaluation) else []
    blocks += [_text_sheet(sheet) for sheet in sheets(evaluation)]
    notes = "\n".join(f"- {sentence}" for sentence in sentences(evaluation))
    return "\n\n".join([*blocks, notes]) + "\n"


def _text_sheet(sheet: Sheet) -> str:
    lines = [sheet.title, *sheet.sentences]
    if sheet.rows:
        table = [sheet.head, *sheet.rows]
        widths = [max(len(row[i]) for row in table) for i in range(len(sheet.head))]
        lines += [
            "  " + "  ".join(cell.ljust(n) for cell, n in zip(row, widths, strict=True)).rstrip() for row in table
        ]
    return "\n".join(lines)


def markdown(evaluation: Evaluation) -> str:
    out = [f"# {TITLE}", ""]
    for sentence in warnings(evaluation):
        out += [f"> {md_escape(sentence)}", ""]
    for sheet in sheets(evaluation):
        out += [f"## {md_escape(sheet.title)}", ""]
        for sentence in sheet.sentences:
            out += [md_escape(sentence), ""]
        if sheet.rows:
            out += [_md_row(sheet.head), md_row(["---", *["---:"] * (len(sheet.head) - 1)])]
            out += [*map(_md_row, sheet.rows), ""]
    return (
        "\n".join([*out, "## What the numbers are", "", *(f"- {md_escape(s)}" for s in sentences(evaluation))]) + "\n"
    )


def _md_row(cells: Sequence[str]) -> str:
    return md_row([md_escape(cell) for cell in cells])


def latex(evaluation: Evaluation) -> str:
    """A float for each table, for a document that loads booktabs and graphicx."""
    blocks = ["% needs \\usepackage{booktabs,graphicx}; generated, do not edit"]
    every = [sheet for sheet in sheets(evaluation) if sheet.rows]
    said_once = [*warnings(evaluation), *sentences(evaluation)]
    for i, sheet in enumerate(every, start=1):
        said = [f"{sheet.title}.", *sheet.sentences, *(said_once if i == 1 else ())]
        lines = [r"\begin{table*}", r"\centering", r"\resizebox{\ifdim\width>\textwidth\textwidth\else\width\fi}{!}{%"]
        lines += [rf"\begin{{tabular}}{{l{'r' * (len(sheet.head) - 1)}}}", r"\toprule"]
        lines += [_tex_row(sheet.head), r"\midrule", *map(_tex_row, sheet.rows), r"\bottomrule", r"\end{tabular}}"]
        lines += [rf"\caption{{{tex_escape(' '.join(said))}}}", rf"\label{{tab:evaluation-{i}}}", r"\end{table*}"]
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks) + "\n"


def _tex_row(cells: Sequence[str]) -> str:
    # A row that begins with a bracket would be taken for an option of the \\ before it.
    return (
        " & ".join(f"{{}}{tex_escape(cell)}" if cell.startswith("[") else tex_escape(cell) for cell in cells) + r" \\"
    )


def as_json(evaluation: Evaluation) -> str:
    """Every number in %, unrounded, and what is lacking."""
    whole: dict[str, Any] = {
        "title": TITLE,
        "warnings": warnings(evaluation),
        "sentences": sentences(evaluation),
        "command": evaluation.command,
        "replicates": evaluation.replicates,
        "runs": [
            {
                "method": run.method,
                "seed": run.seed,
                "epoch": run.epoch,
                "scores_grow_with": "attack" if evaluation.turned[run.method] else "bona-fide",
                "threshold_given": _own(evaluation, run.method, run.given),
                "development": {
                    name: {
                        "bona_fide": fixed.bona_fide,
                        "attacks": fixed.attacks,
                        "eer": 100 * fixed.eer,
                        "threshold": _own(evaluation, run.method, fixed.threshold),
                    }
                    for name, fixed in run.development.items()
                },
            }
            for run in evaluation.runs
        ],
        "sets": [
            {
                "set": result.name,
                "bona_fide": result.bona_fide,
                "attacks": result.attacks,
                "resampled": "subjects" if result.kind == "subject" else "samples",
                "units": result.subjects,
                "methods": {method: _figures(figures) for method, figures in result.figures.items()},
            }
            for result in evaluation.sets
        ],
        "averages": {
            kind: {method: _figures(figures) for method, figures in of_kind.items()}
            for kind, of_kind in evaluation.averages.items()
        },
        "differences": [
            {
                "set": d.set,
                "first": d.first,
                "second": d.second,
                "samples": d.samples,
                "left_out": d.left_out,
            }
            | ({"missing": d.figures} if isinstance(d.figures, Missing) else {"figures": _figures(d.figures)})
            for d in evaluation.differences
        ],
    }
    return json.dumps(whole, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _own(evaluation: Evaluation, method: str, threshold: float | None) -> float | str | None:
    """A threshold in the file's own scores; where it rejects everything, JSON has no number for it."""
    if threshold is None:
        return None
    own = -threshold if evaluation.turned[method] else threshold
    return own if abs(own) < float("inf") else "rejects everything"


def _figures(figures: Figures) -> dict[str, Any]:
    return {key: {"name": metric_name(key), **_figure(figure)} for key, figure in figures.items()}


def _figure(figure: Figure) -> dict[str, Any]:
    if isinstance(figure.value, Missing):
        return {"missing": figure.value}
    out: dict[str, Any] = {"value": 100 * figure.value, "n": figure.n}
    out |= {"sd": 100 * figure.sd} if figure.sd is not None else {}
    if isinstance(figure.interval, Interval):
        out["ci95"] = [100 * figure.interval.low, 100 * figure.interval.high]
        out |= {"exact": figure.interval.exact, "widened": figure.interval.widened}
    else:
        out["no_interval"] = figure.interval
    return out
