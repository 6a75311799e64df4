"""FPR-FNR curves of each test set: one figure for the files, single panels for the page."""

import re
from dataclasses import dataclass
from io import BytesIO, StringIO
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator
from numpy.typing import NDArray

from paper_tables.cells import RunScores
from paper_tables.results import Results, Row
from paper_tables.wording import set_names

# Told apart by dashes and width first, by colour second; colours of even lightness that bear both backgrounds.
_DASHES: tuple[tuple[float, ...], ...] = (
    (1, 1),
    (5, 1.5),
    (6, 1.5, 1, 1.5),
    (2.5, 1.5),
    (8, 1.5, 1, 1.5, 1, 1.5),
    (),
)
COLOURS = ("#b8860b", "#c2410c", "#0f8a6d", "#9b4fc4", "#2b7bd6", "#d1336b")
_INK, _GRID = "#222222", "#d9d9d9"
_POINTS = 500
_TICKS = (0, 1, 2, 5, 10, 20, 50, 100)


@dataclass(frozen=True)
class Line:
    """How one method is drawn."""

    row: Row
    colour: str
    dashes: tuple[float, ...]
    width: float


def lines(results: Results) -> list[Line]:
    """Every trained method with runs; a method keeps its look in every figure of its table."""
    trained = [row for row in results.rows if row.method.trains and row.method.module]
    looks = {}
    for i, row in enumerate(trained):
        k = len(_DASHES) - len(trained) + i  # the last row, the paper's own method, is the solid line
        looks[row.method.name] = Line(row, COLOURS[k % 6], _DASHES[k % 6], 2.2 if i == len(trained) - 1 else 1.5)
    return [looks[row.method.name] for row in trained if row.runs]


def chosen_epoch(row: Row, target: str) -> tuple[int, ...]:
    """The epoch of each run that source validation chooses."""
    epochs = row.cells["source_val", target, "auc"].epochs
    assert epochs is not None
    return epochs


def curve(run: RunScores, target: str, epoch: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """FPR (share of attacks accepted) and FNR (share of bona fide rejected) in % at every threshold, FPR
    ascending."""
    found = run.sets[target]
    scores = found.scores[int(np.flatnonzero(run.epochs == epoch)[0])]
    at = np.append(np.unique(scores), np.inf)[::-1]
    live, attack = np.sort(scores[found.bonafide]), np.sort(scores[~found.bonafide])
    accepted = attack.size - np.searchsorted(attack, at, side="left")
    rejected = np.searchsorted(live, at, side="left")
    return 100 * accepted / attack.size, 100 * rejected / live.size


def mean_curve(row: Row, target: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean over runs of the least FNR at each FPR; both in %, FPR ascending from 0 to 100."""
    curves = [curve(r, target, e) for r, e in zip(row.runs, chosen_epoch(row, target), strict=True)]
    grid = np.unique(np.concatenate([fpr for fpr, _ in curves]))
    # FNR falls along a curve: the last threshold of at most this FPR is the best one.
    fnr = np.mean([f[np.searchsorted(x, grid, side="right") - 1] for x, f in curves], axis=0)
    if grid.size > _POINTS:
        keep = np.unique(np.linspace(0, grid.size - 1, _POINTS).round().astype(np.int64))
        grid, fnr = grid[keep], fnr[keep]
    return grid, fnr


def _draw(ax: Axes, results: Results, target: str) -> None:
    """One panel. Both axes are linear up to 1 % and logarithmic above: good and bad curves both can be
    read."""
    for line in lines(results):
        fpr, fnr = mean_curve(line.row, target)
        style = (0, line.dashes) if line.dashes else "-"
        ax.step(
            fpr,
            fnr,
            where="post",
            color=line.colour,
            linestyle=style,
            linewidth=line.width,
            label=line.row.method.label,
        )
    guide = np.linspace(0, 100, 401)
    ax.plot(guide, 100 - guide, color=_INK, linewidth=0.8, alpha=0.55, label="chance")
    ax.set_title(set_names(results)[target], color=_INK, fontsize=11, loc="left")
    ax.set_xscale("symlog", linthresh=1, linscale=0.5)
    ax.set_yscale("symlog", linthresh=1, linscale=0.5)
    for axis, name in ((ax.xaxis, "FPR: attacks accepted (%)"), (ax.yaxis, "FNR: bona fide rejected (%)")):
        axis.set_major_locator(FixedLocator(_TICKS))
        axis.set_minor_locator(NullLocator())
        axis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:g}"))
        axis.set_label_text(name, color=_INK, fontsize=9)
    ax.set_xlim(0, 100)
    ax.set_ylim(0, 100)
    ax.set_aspect("equal")
    ax.tick_params(colors=_INK, labelsize=8, length=3)
    ax.grid(color=_GRID, linewidth=0.6)
    ax.set_axisbelow(True)
    for side in ax.spines.values():
        side.set_color(_GRID)
    ax.set_facecolor("none")


_RC: Any = {"svg.fonttype": "none", "svg.hashsalt": "paper_tables", "font.family": "sans-serif"}
_NO_METADATA = {"Date": None, "Creator": None, "Format": None, "Type": None}


def panel_svg(results: Results, target: str) -> str:
    """One test set's panel as an <svg> element for the page, its colours left to the page's style sheet
    (`currentColor`, `--grid`, and `--m0` … `--m5`)."""
    with matplotlib.rc_context(_RC):
        figure = Figure(figsize=(4.2, 4.1), layout="constrained")
        figure.patch.set_visible(False)
        ax = figure.add_subplot()
        _draw(ax, results, target)
        text = StringIO()
        figure.savefig(text, format="svg", metadata=_NO_METADATA)
    svg = text.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r' xmlns(:xlink)?="[^"]*"', "", svg).replace("xlink:href", "href")
    svg = re.sub(r'<svg[^>]*viewBox="([^"]*)"[^>]*>', r'<svg viewBox="\1" aria-hidden="true">', svg, count=1)
    # Several panels share the page: ids must not meet.
    svg = re.sub(r'(id="|href="#|url\(#)', rf"\g<1>{target}-", svg)
    svg = re.sub(r"font: ([0-9.]+)px [^;\"]*", r"font-size: \1px", svg)
    svg = svg.replace(_INK, "currentColor").replace(_GRID, "var(--grid)")
    for i, colour in enumerate(COLOURS):
        svg = svg.replace(colour, f"var(--m{i})")
    return svg


def files(results: Results, title: str) -> dict[str, bytes]:
    """The whole figure, a panel a test set, as SVG and PNG."""
    targets = list(results.images)
    with matplotlib.rc_context(_RC):
        columns = min(2, len(targets))
        rows = -(-len(targets) // columns)
        figure = Figure(figsize=(4.2 * columns, 4.0 * rows + 1.1), layout="constrained")
        axes = figure.subplots(rows, columns, squeeze=False).ravel()
        for ax, target in zip(axes, targets, strict=False):
            _draw(ax, results, target)
        for ax in axes[len(targets) :]:
            ax.set_visible(False)
        handles, labels = axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=3, fontsize=9, frameon=False, handlelength=4)
        what = f"{results.data}{': procedural stand-in faces, no evidence about faces' if results.stand_in else ''}"
        n = "one run a method" if results.seeds == 1 else f"mean over up to {results.seeds} runs"
        heading = f"{title}\n{what}\nprofile {results.profile.name}, epoch by source validation, {n}"
        figure.suptitle(heading, fontsize=10)
        out = {}
        for kind, options in (
            ("svg", {"metadata": _NO_METADATA}),
            ("png", {"dpi": 160, "metadata": {"Software": None}}),
        ):
            buffer = BytesIO()
            figure.savefig(buffer, format=kind, **options)
            out[kind] = buffer.getvalue()
    return out
