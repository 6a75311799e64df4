"""The verdict on every equation: the matrix at the end of a run, and the JSON and HTML reports."""

from __future__ import annotations

import html
import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from data_manifests.errors import replacing
from spec_tests.equations.adapter import REGISTRY, Implementation

FAILED, PASSED, XFAILED, NOT_PROVIDED, NOT_RUN = "FAILED", "passed", "xfailed", "not provided", "not run"


@dataclass
class Row:
    """One equation of the matrix."""

    id: str
    label: str
    title: str
    functions: list[str]
    not_provided: list[str]
    counts: Counter = field(default_factory=Counter)  # passed, failed, skipped, xfailed
    failures: list[dict[str, str]] = field(default_factory=list)

    @property
    def verdict(self) -> str:
        """FAILED beats xfailed beats passed; an equation of which no test ran says why."""
        for outcome, verdict in (("failed", FAILED), ("xfailed", XFAILED), ("passed", PASSED)):
            if self.counts[outcome]:
                return verdict
        return NOT_PROVIDED if self.not_provided else NOT_RUN


class Matrix:
    """Collects test reports (pytest's own, one per phase of a test) into a row per equation."""

    def __init__(self, implementation: Implementation) -> None:
        self.rows = {
            equation["id"]: Row(
                equation["id"],
                equation["label"],
                equation["title"],
                equation["functions"],
                [f for f in equation["functions"] if f in implementation.missing],
            )
            for equation in REGISTRY
        }

    def add(self, report: Any) -> None:
        """Count one phase of one test; a test counts as failed when any of its phases failed."""
        row = self.rows.get(dict(report.user_properties).get("equation"))
        if row is None:
            return
        if report.failed:
            row.counts["failed"] += 1
            row.failures.append({"test": report.nodeid, "details": str(report.longrepr)})
        elif report.skipped:
            row.counts["xfailed" if hasattr(report, "wasxfail") else "skipped"] += 1
        elif report.when == "call":
            row.counts["passed"] += 1

    def any_counted(self) -> bool:
        """Whether any equation test took part in this run."""
        return any(row.counts for row in self.rows.values())

    def lines(self) -> list[str]:
        """The matrix as text, a line an equation."""
        wide = max(len(row.label) for row in self.rows.values())
        titles = max(len(row.title) for row in self.rows.values())
        out = []
        for row in self.rows.values():
            counted = ", ".join(f"{n} {outcome}" for outcome, n in sorted(row.counts.items()) if outcome != "skipped")
            lacks = f"not provided: {', '.join(row.not_provided)}" if row.not_provided else ""
            tail = "; ".join(part for part in (counted, lacks) if part)
            out.append(f"{row.label:<{wide}}  {row.title:<{titles}}  {row.verdict:<12}  {tail}".rstrip())
        return out

    def as_dict(self, about: dict[str, Any]) -> dict[str, Any]:
        """Everything a reader or a script may want from the run."""
        rows = [
            {
                "id": row.id,
                "equation": row.label,
                "title": row.title,
                "functions": row.functions,
                "not_provided": row.not_provided,
                "verdict": row.verdict,
                "tests": dict(sorted(row.counts.items())),
                "failures": row.failures,
            }
            for row in self.rows.values()
        ]
        return {**about, "verdicts": dict(Counter(row["verdict"] for row in rows)), "equations": rows}


def targets(name: str) -> list[Path]:
    """The files that `--conformance-report=NAME` stands for; `ValueError` for an extension it does not know."""
    path = Path(name)
    if path.suffix in (".json", ".html"):
        return [path]
    if path.suffix:
        raise ValueError(f"--conformance-report={name}: the name must end in .json or .html, or in neither for both")
    return [path.with_suffix(".json"), path.with_suffix(".html")]


def write(path: Path, content: dict[str, Any]) -> None:
    """Write one report, JSON or HTML by the extension, in one piece."""
    text = json.dumps(content, indent=1, ensure_ascii=False) + "\n" if path.suffix == ".json" else page(content)
    with replacing(path) as f:
        f.write(text.encode())


def page(content: dict[str, Any]) -> str:
    """The report as one HTML page that needs nothing else: no network, no script."""
    rows = []
    for row in content["equations"]:
        kind = row["verdict"].lower().replace(" ", "-")
        tests = ", ".join(f"{n} {outcome}" for outcome, n in row["tests"].items())
        functions = ", ".join(
            f"<s>{html.escape(f)}</s>" if f in row["not_provided"] else html.escape(f) for f in row["functions"]
        )
        details = "".join(
            f"<details><summary>{html.escape(f['test'])}</summary><pre>{html.escape(f['details'])}</pre></details>"
            for f in row["failures"]
        )
        rows.append(
            f'<tr><th scope="row">{html.escape(row["equation"])}</th><td>{html.escape(row["title"])}{details}</td>'
            f'<td><code>{functions}</code></td><td class="{kind}">{html.escape(row["verdict"])}</td>'
            f"<td>{tests}</td></tr>"
        )
    about = "".join(
        f"<dt>{html.escape(key.replace('_', ' '))}</dt><dd>"
        f"{html.escape(', '.join(value) if isinstance(value, list) else str(value)) or 'none'}</dd>"
        for key, value in content.items()
        if key not in ("equations", "verdicts")
    )
    counts = ", ".join(f"{n} {verdict}" for verdict, n in content["verdicts"].items())
    title = f"Conformance of {html.escape(content['implementation'])}"
    return PAGE.format(title=title, counts=counts, about=about, rows="\n".join(rows))


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
.wide {{ overflow-x: auto }}
table {{ border-collapse: collapse; width: 100% }}
th, td {{ text-align: left; vertical-align: top; padding: .35rem .6rem; border-bottom: 1px solid var(--line) }}
th {{ white-space: nowrap }}
dt {{ font-weight: 600 }} dd {{ margin: 0 0 .4rem; overflow-wrap: anywhere }}
pre {{ overflow-x: auto; font-size: .8rem }}
.passed {{ color: var(--good) }} .failed {{ color: var(--bad); font-weight: 700 }} .xfailed {{ color: var(--warn) }}
.not-provided, .not-run {{ color: var(--dim) }}
</style></head><body>
<h1>{title}</h1><p>{counts}</p>
<div class="wide"><table>
<thead><tr><th>Equation</th><th>What it is</th><th>Functions</th><th>Verdict</th><th>Tests</th></tr></thead>
<tbody>
{rows}
</tbody></table></div>
<h2>This run</h2><dl>{about}</dl>
</body></html>
"""
