"""The figures that are made of numbers: FPR-FNR curves of each test set, and sweeps over an option's values.
One figure for the files, single panels for the page."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from io import StringIO
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator
from numpy.typing import NDArray

from paper_tables.declarations.table import Curves, NumberGrid, Sweep
from paper_tables.numbers.cells import Cell, RunScores
from paper_tables.numbers.results import Results, RowResult
from paper_tables.rendering.wording import HEADS, HONEST, HTER_SENTENCES, POLICY_SENTENCES, RULE_SENTENCES, column_names
from reference.pictures import encoded

# Told apart by dashes and width first, by colour second; colours of even lightness that bear both backgrounds.
DASHES: tuple[tuple[float, ...], ...] = (
    (1, 1),
    (5, 1.5),
    (6, 1.5, 1, 1.5),
    (2.5, 1.5),
    (8, 1.5, 1, 1.5, 1, 1.5),
    (),
)
_MARKERS = "osD^vPX*"
COLOURS = ("#b8860b", "#c2410c", "#0f8a6d", "#9b4fc4", "#2b7bd6", "#d1336b")
INK, GRID = "#222222", "#d9d9d9"
_POINTS = 500
_TICKS = (0, 1, 2, 5, 10, 20, 50, 100)


@dataclass(frozen=True)
class Look:
    """How a line is drawn; `marker` is empty for a curve without points of its own."""

    colour: str
    dashes: tuple[float, ...]
    width: float
    marker: str = ""


@dataclass(frozen=True)
class Line:
    """A row's curve."""

    result: RowResult
    look: Look


def lines(results: Results) -> list[Line]:
    """Every trained row with runs; a row keeps its look in every figure of its table."""
    trained = [result for result in results.rows if result.row.trains and result.row.program]
    looks = {}
    for i, result in enumerate(trained):
        k = len(DASHES) - len(trained) + i  # the last row, the paper's own method, is the solid line
        looks[result.row.name] = Look(COLOURS[k % 6], DASHES[k % 6], 2.2 if i == len(trained) - 1 else 1.5)
    return [Line(result, looks[result.row.name]) for result in trained if result.runs]


def sweep_points(results: Results, kind: str) -> dict[str, list[tuple[float, Cell]]]:
    """For each series of the sweep its points (x, cell) under honest selection, as far as they were run."""
    sweep = results.table.figure
    assert isinstance(sweep, Sweep)
    by_series: dict[str, list[tuple[float, Cell]]] = {}
    for label, points in sweep.series.items():
        for point in points:
            cell = results.row(point.row).cells.get((HONEST.rule, point.column, HONEST.metric(kind)))
            if cell:
                by_series.setdefault(label, []).append((point.x, cell))
    return by_series


def legend(results: Results) -> dict[str, Look]:
    """The lines of the table's figure by their labels; none while nothing has been run."""
    figure = results.table.figure
    if isinstance(figure, Curves):
        return {line.result.row.label: line.look for line in lines(results)}
    if not isinstance(figure, Sweep):
        return {}
    with_points = {label for kind in figure.kinds for label in sweep_points(results, kind)}
    looks = {}
    for i, label in enumerate(figure.series):
        k = i - len(figure.series)  # counted from the end: the last series is the solid line
        looks[label] = Look(COLOURS[k % 6], DASHES[k % 6], 1.6, _MARKERS[i % len(_MARKERS)])
    return {label: look for label, look in looks.items() if label in with_points}


def sweep_sentences(results: Results) -> str:
    """The sentences that say what a sweep's points are."""
    figure = results.table.figure
    assert isinstance(figure, Sweep)
    sentences = [RULE_SENTENCES[HONEST.rule]]
    sentences += [HTER_SENTENCES[HONEST.hter]] if "hter" in figure.kinds else []
    sentences += [POLICY_SENTENCES[HONEST.policy]] if "accuracy" in figure.kinds else []
    several = "Points: mean over the seeds; bars: ± sample standard deviation."
    spread = "One run a point." if results.seeds == 1 else several
    if isinstance(figure, NumberGrid):
        spread = f"Framed: the best of its row; underlined: {figure.marked_label}. The stronger the shade, the better."
    return " ".join([*sentences, spread, "The numbers, and those of the other rules, are in the table."])


def chosen_epoch(result: RowResult, target: str) -> tuple[int, ...]:
    """The epoch of each run that source validation chooses."""
    epochs = result.cells["source_val", target, "auc"].epochs
    assert epochs is not None
    return epochs


def curve(run: RunScores, target: str, epoch: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """FPR (share of attacks accepted) and FNR (share of bona fide rejected) in % at every threshold, FPR
    ascending."""
    samples = run.sets[target]
    return error_rates(samples.scores[int(np.flatnonzero(run.epochs == epoch)[0])], samples.bonafide)


def error_rates(
    scores: NDArray[np.float64], bonafide: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """As `curve`, of scores and bonafide (N,)."""
    at = np.append(np.unique(scores), np.inf)[::-1]
    live, attack = np.sort(scores[bonafide]), np.sort(scores[~bonafide])
    accepted = attack.size - np.searchsorted(attack, at, side="left")
    rejected = np.searchsorted(live, at, side="left")
    return 100 * accepted / attack.size, 100 * rejected / live.size


def mean_curve(result: RowResult, target: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean over runs of the least FNR at each FPR; both in %, FPR ascending from 0 to 100."""
    curves = [curve(r, target, e) for r, e in zip(result.runs, chosen_epoch(result, target), strict=True)]
    grid, fnr = averaged(curves)
    if grid.size > _POINTS:
        keep = np.unique(np.linspace(0, grid.size - 1, _POINTS).round().astype(np.int64))
        grid, fnr = grid[keep], fnr[keep]
    return grid, fnr


def averaged(
    curves: Sequence[tuple[NDArray[np.float64], NDArray[np.float64]]],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The mean of the curves' least FNR at each FPR that one of them has."""
    grid = np.unique(np.concatenate([fpr for fpr, _ in curves]))
    # FNR falls along a curve: the last threshold of at most this FPR is the best one.
    return grid, np.mean([f[np.searchsorted(x, grid, side="right") - 1] for x, f in curves], axis=0)


def _draw(ax: Axes, results: Results, panel: str) -> None:
    """One panel: a test set of a figure of curves, a kind of metric of a sweep."""
    figure = results.table.figure
    if isinstance(figure, NumberGrid):
        _draw_numbers(ax, results, panel)
        return
    if isinstance(figure, Curves):
        _draw_curves(ax, results, panel)
    else:
        _draw_sweep(ax, results, panel)
    quiet(ax)


def quiet(ax: Axes) -> None:
    """A grid and a frame that leave the curves to be seen."""
    ax.tick_params(colors=INK, labelsize=8, length=3)
    ax.grid(color=GRID, linewidth=0.6)
    ax.set_axisbelow(True)
    for side in ax.spines.values():
        side.set_color(GRID)
    ax.set_facecolor("none")


def style(look: Look) -> Any:
    """The dashes as matplotlib has them."""
    return (0, look.dashes) if look.dashes else "-"


def _draw_curves(ax: Axes, results: Results, target: str) -> None:
    """Both axes are linear up to 1 % and logarithmic above: good and bad curves both can be read."""
    for line in lines(results):
        fpr, fnr = mean_curve(line.result, target)
        ax.step(
            fpr,
            fnr,
            where="post",
            color=line.look.colour,
            linestyle=style(line.look),
            linewidth=line.look.width,
            label=line.result.row.label,
        )
    guide = np.linspace(0, 100, 401)
    ax.plot(guide, 100 - guide, color=INK, linewidth=0.8, alpha=0.55, label="chance")
    rate_axes(ax, column_names(results)[target])


def rate_axes(ax: Axes, heading: str) -> None:
    """Axes of the two error rates in %, linear up to 1 % and logarithmic above."""
    ax.set_title(heading, color=INK, fontsize=11, loc="left")
    ax.set_xscale("symlog", linthresh=1, linscale=0.5)
    ax.set_yscale("symlog", linthresh=1, linscale=0.5)
    for axis, name in ((ax.xaxis, "FPR: attacks accepted (%)"), (ax.yaxis, "FNR: bona fide rejected (%)")):
        axis.set_major_locator(FixedLocator(_TICKS))
        axis.set_minor_locator(NullLocator())
        axis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:g}"))
        axis.set_label_text(name, color=INK, fontsize=9)
    ax.set_xlim(0, 100)
    ax.set_ylim(0, 100)
    ax.set_aspect("equal")


def _ticks(figure: Sweep) -> dict[float, int]:
    """Where each value of x stands: equally spaced, whatever the values, for weights such as 0, 1/4, 1/2, 1, 2, 4."""
    values = sorted({point.x for points in figure.series.values() for point in points})
    return {x: place for place, x in enumerate(values)}


def _heading(ax: Axes, figure: Sweep, kind: str) -> None:
    places = _ticks(figure)
    ax.set_xticks([*places.values()], [f"{x:g}" for x in places])
    ax.set_xlabel(figure.x_label, color=INK, fontsize=9)
    better = "lower is better" if HEADS[kind].endswith("↓") else "higher is better"
    ax.set_title(f"{HEADS[kind][:-2]} (%), {better}", color=INK, fontsize=11, loc="left")


def _draw_sweep(ax: Axes, results: Results, kind: str) -> None:
    figure = results.table.figure
    assert isinstance(figure, Sweep)
    looks, places, by_series = legend(results), _ticks(figure), sweep_points(results, kind)
    for i, (label, points) in enumerate(by_series.items()):
        look, aside = looks[label], 0.07 * (i - (len(by_series) - 1) / 2)  # so that bars do not hide each other
        x, cells = [places[x] + aside for x, _ in points], [cell for _, cell in points]
        y = [cell.mean for cell in cells]
        ax.plot(
            x,
            y,
            color=look.colour,
            linestyle=style(look),
            linewidth=look.width,
            marker=look.marker,
            markersize=5.5,
            markerfacecolor="none",
            markeredgewidth=1.3,
            label=label,
        )
        if any(cell.sd is not None for cell in cells):
            sd = [cell.sd or 0.0 for cell in cells]
            ax.errorbar(x, y, sd, color=look.colour, linestyle="none", elinewidth=0.9, capsize=2.5)
    _heading(ax, figure, kind)
    ax.set_ylabel(f"{HEADS[kind][:-2]} (%)", color=INK, fontsize=9)
    ax.margins(x=0.04, y=0.08)
    low, high = ax.get_ylim()
    ax.set_ylim(max(low, -2), min(high, 102))  # no rate is beyond, however wide its bar


def _draw_numbers(ax: Axes, results: Results, kind: str) -> None:
    figure = results.table.figure
    assert isinstance(figure, NumberGrid)
    places, by_series = _ticks(figure), sweep_points(results, kind)
    sign = -1 if HEADS[kind].endswith("↓") else 1
    goodness = [sign * cell.mean for points in by_series.values() for _, cell in points]
    worst, span = min(goodness), max(max(goodness) - min(goodness), 1e-9)
    for row, (label, points) in enumerate(by_series.items()):
        best = f"{sign * max(sign * cell.mean for _, cell in points):.1f}"  # as read: equal numbers are equally good
        for x, cell in points:
            place, text = places[x], f"{cell.mean:.1f}"
            shade = 0.05 + 0.5 * (sign * cell.mean - worst) / span
            ax.add_patch(Rectangle((place - 0.5, row - 0.5), 1, 1, facecolor=COLOURS[4], alpha=shade, linewidth=0))
            ax.text(place, row, text, ha="center", va="center", fontsize=7.5, color=INK)
            if text == best:
                corner = (place - 0.45, row - 0.42)
                ax.add_patch(Rectangle(corner, 0.9, 0.84, fill=False, edgecolor=INK, linewidth=1.4))
            if figure.marked[label] == x:
                ax.plot([place - 0.32, place + 0.32], [row + 0.3, row + 0.3], color=INK, linewidth=0.9)
    _heading(ax, figure, kind)
    ax.set_yticks(range(len(by_series)), [*by_series])
    ax.set_ylabel(figure.y_label, color=INK, fontsize=9)
    ax.set_xlim(-0.5, len(places) - 0.5)
    ax.set_ylim(len(by_series) - 0.5, -0.5)
    ax.tick_params(colors=INK, labelsize=8, length=0)
    for side in ax.spines.values():
        side.set_visible(False)
    ax.set_facecolor("none")


RC: Any = {"svg.fonttype": "none", "svg.hashsalt": "paper_tables", "font.family": "sans-serif"}
NO_METADATA = {"Date": None, "Creator": None, "Format": None, "Type": None}


def _panel_size(results: Results) -> tuple[float, float]:
    """Width and height in inches."""
    if isinstance(results.table.figure, Curves):
        return 4.2, 4.0
    return (8.4, 3.4) if isinstance(results.table.figure, NumberGrid) else (4.2, 3.4)


def panel_svg(results: Results, panel: str) -> str:
    """One panel as an <svg> element for the page, its colours left to the page's style sheet
    (`currentColor`, `--grid`, and `--m0` … `--m5`)."""
    with matplotlib.rc_context(RC):
        width, height = _panel_size(results)
        figure = Figure(figsize=(width, height + 0.1), layout="constrained")
        figure.patch.set_visible(False)
        ax = figure.add_subplot()
        _draw(ax, results, panel)
        text = StringIO()
        figure.savefig(text, format="svg", metadata=NO_METADATA)
    return svg_element(text.getvalue(), f"{results.table.name}-{panel}")


def svg_element(text: str, name: str) -> str:
    """An <svg> element for a page out of matplotlib's SVG file, its colours left to the page's style sheet; its ids
    begin with `name`."""
    svg = text[text.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r' xmlns(:xlink)?="[^"]*"', "", svg).replace("xlink:href", "href")
    svg = re.sub(r'<svg[^>]*viewBox="([^"]*)"[^>]*>', r'<svg viewBox="\1" aria-hidden="true">', svg, count=1)
    # Several panels, and several tables, share a page: ids must not meet.
    svg = re.sub(r'(id="|href="#|url\(#)', rf"\g<1>{name}-", svg)
    svg = re.sub(r"font: ([0-9.]+)px [^;\"]*", r"font-size: \1px", svg)
    svg = svg.replace(INK, "currentColor").replace(GRID, "var(--grid)")
    for i, colour in enumerate(COLOURS):
        svg = svg.replace(colour, f"var(--m{i})")
    return svg


def files(results: Results) -> dict[str, bytes]:
    """The whole figure, a panel for each test set or metric, as SVG and PNG."""
    figure = results.table.figure
    assert figure is not None
    curves = isinstance(figure, Curves)
    panels = list(results.images) if isinstance(figure, Curves) else list(figure.kinds)
    with matplotlib.rc_context(RC):
        width, height = _panel_size(results)
        columns = 1 if isinstance(figure, NumberGrid) else min(2, len(panels))
        rows = -(-len(panels) // columns)
        whole = Figure(figsize=(width * columns, height * rows + 1.1), layout="constrained")
        axes = whole.subplots(rows, columns, squeeze=False).ravel()
        for ax, panel in zip(axes, panels, strict=False):
            _draw(ax, results, panel)
        for ax in axes[len(panels) :]:
            ax.set_visible(False)
        handles, labels = axes[0].get_legend_handles_labels()
        if handles:
            whole.legend(
                handles, labels, loc="outside lower center", ncols=3, fontsize=9, frameon=False, handlelength=4
            )
        what = f"{results.data}{': procedural stand-in faces, no evidence about faces' if results.stand_in else ''}"
        each, mean = ("method", "mean") if curves else ("point", "mean ± SD")
        n = f"one run a {each}" if results.seeds == 1 else f"{mean} over up to {results.seeds} runs"
        if isinstance(figure, NumberGrid):
            n = f"{n.replace(' ± SD', '')}; framed: best of its row, underlined: {figure.marked_label}"
        heading = f"{figure.title}\n{what}\nprofile {results.profile.name}, epoch by source validation, {n}"
        whole.suptitle(heading, fontsize=10)
        return encoded(whole)
