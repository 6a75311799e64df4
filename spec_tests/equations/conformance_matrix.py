"""The conformance matrix: the verdict on every equation, as text at the end of a run and in its JSON and HTML reports.

`fragment` alone renders it as HTML. The HTML report is that fragment with a page around it, and the JSON report
carries it under "fragment" for whoever wants it within a page of their own.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any

from spec_tests.equations.adapter import REGISTRY, Implementation

FAILED, PASSED, XFAILED, NOT_PROVIDED, NOT_RUN = "FAILED", "passed", "xfailed", "not provided", "not run"
MARKS = {PASSED: "✓", FAILED: "✗", XFAILED: "!"}  # so that colour is not all that tells one verdict from another
COLUMNS = {"Equation": "", "What it is": "words", "Functions": "words", "Verdict": "", "Tests": ""}  # title → class


@dataclass
class Equation:
    """One equation of the matrix: its entry in the registry, and what its tests came to."""

    id: str
    label: str
    title: str
    functions: list[str]
    not_provided: list[str]
    counts: Counter = field(default_factory=Counter)  # passed, failed, skipped, xfailed
    failures: list[dict[str, str]] = field(default_factory=list)  # test, details

    @property
    def verdict(self) -> str:
        """FAILED beats xfailed beats passed; an equation of which no test ran says why."""
        for outcome, verdict in (("failed", FAILED), ("xfailed", XFAILED), ("passed", PASSED)):
            if self.counts[outcome]:
                return verdict
        return NOT_PROVIDED if self.not_provided else NOT_RUN


class Matrix:
    """Collects pytest's reports, one for each phase of a test, into an `Equation` each."""

    def __init__(self, implementation: Implementation) -> None:
        self.equations = {
            entry["id"]: Equation(
                entry["id"],
                entry["label"],
                entry["title"],
                entry["functions"],
                [f for f in entry["functions"] if f in implementation.missing],
            )
            for entry in REGISTRY
        }

    def add(self, report: Any) -> None:
        """Count one phase of one test; a test counts as failed when any of its phases failed."""
        equation = self.equations.get(dict(report.user_properties).get("equation"))
        if equation is None:
            return
        if report.failed:
            equation.counts["failed"] += 1
            equation.failures.append({"test": report.nodeid, "details": str(report.longrepr)})
        elif report.skipped:
            equation.counts["xfailed" if hasattr(report, "wasxfail") else "skipped"] += 1
        elif report.when == "call":
            equation.counts["passed"] += 1

    def any_counted(self) -> bool:
        """Whether any equation test took part in this run."""
        return any(equation.counts for equation in self.equations.values())

    def lines(self) -> list[str]:
        """The matrix as text, a line an equation."""
        equations = self.equations.values()
        label_width = max(len(e.label) for e in equations)
        title_width = max(len(e.title) for e in equations)
        lines = []
        for e in equations:
            counts = ", ".join(f"{n} {outcome}" for outcome, n in sorted(e.counts.items()) if outcome != "skipped")
            lacks = f"not provided: {', '.join(e.not_provided)}" if e.not_provided else ""
            end = "; ".join(part for part in (counts, lacks) if part)
            lines.append(f"{e.label:<{label_width}}  {e.title:<{title_width}}  {e.verdict:<12}  {end}".rstrip())
        return lines

    def as_dict(self, about: dict[str, Any]) -> dict[str, Any]:
        """Everything a reader or a script may want from the run; `about` says what was tested, and with what."""
        equations = self.equations.values()
        return {
            **about,
            "verdicts": dict(Counter(e.verdict for e in equations)),
            "equations": [
                {
                    "id": e.id,
                    "equation": e.label,
                    "title": e.title,
                    "functions": e.functions,
                    "not_provided": e.not_provided,
                    "verdict": e.verdict,
                    "tests": dict(sorted(e.counts.items())),
                    "failures": e.failures,
                }
                for e in equations
            ],
            "fragment": fragment(equations, about),
        }


def targets(name: str) -> list[Path]:
    """The files that `--conformance-report=NAME` stands for; `ValueError` for an extension it does not know."""
    path = Path(name)
    if path.suffix in (".json", ".html"):
        return [path]
    if path.suffix:
        raise ValueError(f"--conformance-report={name}: the name must end in .json or .html, or in neither for both")
    return [path.with_suffix(".json"), path.with_suffix(".html")]


def write(path: Path, content: dict[str, Any]) -> None:
    """Write one report, JSON or HTML by the extension; it takes an older one's place only when it is complete."""
    if path.suffix == ".json":
        # The seal that data_manifests/json_files.py reads; this suite imports nothing else of the project.
        seal = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
        text = json.dumps(content | {"sha256_of_the_rest": seal}, indent=1, ensure_ascii=False) + "\n"
    else:
        text = page(content)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)


def page(content: dict[str, Any]) -> str:
    """The report as one HTML page that needs nothing else: no network, no script."""
    counts = ", ".join(f"{n} {verdict}" for verdict, n in content["verdicts"].items())
    title = f"Conformance of {escape(content['implementation'])}"
    return PAGE.format(title=title, counts=counts, fragment=content["fragment"])


def fragment(equations: Iterable[Equation], about: dict[str, Any]) -> str:
    """The matrix as HTML without a page around it; class names alone say how it is to look.

    `facts` is the line on what was tested; `scroll` a box wider than the window; `plain` the table, whose `words` may
    be broken into lines; `verdict` a verdict, which is also `passed`, `failed`, `xfailed`, `not-provided` or `not-run`.
    """
    facts = {
        "implementation": about["implementation"],
        "torch": about["torch"],
        "devices": ", ".join(about["devices"]),
        "dtypes": ", ".join(about["dtypes"]),
        "examples a property": str(about["examples_per_property"]),
    }
    line = " · ".join(f"{name}: {escape(value)}" for name, value in facts.items())
    marks = [f' class="{kind}"' if kind else "" for kind in COLUMNS.values()]
    head = "".join(f'<th scope="col"{mark}>{title}</th>' for title, mark in zip(COLUMNS, marks, strict=True))
    body = ""
    for first, *rest in map(_cells, equations):
        cells = "".join(f"<td{mark}>{cell}</td>" for cell, mark in zip(rest, marks[1:], strict=True))
        body += f'<tr><th scope="row">{first}</th>{cells}</tr>'
    return (
        f'<p class="facts">{line}</p>'
        '<div class="scroll" tabindex="0" role="region" aria-label="Equations and verdicts"><table class="plain">'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _cells(equation: Equation) -> tuple[str, ...]:
    """The HTML of one row, in the order of `COLUMNS`."""
    failures = "".join(
        f"<details><summary>{escape(f['test'])}</summary><pre>{escape(f['details'])}</pre></details>"
        for f in equation.failures
    )
    functions = ", ".join(f"<s>{f}</s>" if f in equation.not_provided else f for f in equation.functions)
    verdict = equation.verdict
    mark = f'<span aria-hidden="true">{MARKS.get(verdict, "·")} </span>'
    return (
        escape(equation.label),
        escape(equation.title) + failures,
        f"<code>{functions}</code>",
        f'<span class="verdict {verdict.lower().replace(" ", "-")}">{mark}{verdict}</span>',
        ", ".join(f"{n} {outcome}" for outcome, n in sorted(equation.counts.items()) if n),
    )


PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark"><title>{title}</title>
<style>
:root {{ --text: #1b1f24; --page: #fff; --line: #d0d7de;
  --good: #116329; --bad: #a40e26; --warn: #7d4e00; --dim: #57606a }}
@media (prefers-color-scheme: dark) {{
  :root {{ --text: #e6edf3; --page: #0d1117; --line: #30363d;
    --good: #56d364; --bad: #ff7b72; --warn: #e3b341; --dim: #9198a1 }}
}}
body {{ font: 1rem/1.5 system-ui, sans-serif; color: var(--text); background: var(--page);
  max-width: 70rem; margin: 2rem auto; padding: 0 1rem }}
.facts {{ font-size: .875rem; color: var(--dim) }}
.scroll {{ overflow-x: auto }}
.plain {{ border-collapse: collapse; width: 100% }}
th, td {{ text-align: left; vertical-align: top; padding: .35rem .6rem; border-bottom: 1px solid var(--line) }}
th {{ white-space: nowrap }}
pre {{ overflow-x: auto; font-size: .8rem }}
.verdict {{ white-space: nowrap }}
.passed {{ color: var(--good) }} .failed {{ color: var(--bad); font-weight: 700 }} .xfailed {{ color: var(--warn) }}
.not-provided, .not-run {{ color: var(--dim) }}
</style></head><body>
<h1>{title}</h1><p>{counts}</p>
{fragment}
</body></html>
"""
