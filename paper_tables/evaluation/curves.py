"""DET and FPR–FNR curves of a test set, as <svg> elements of a page."""

from collections.abc import Callable, Mapping, Sequence
from io import StringIO

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator
from numpy.typing import NDArray
from scipy.stats import norm

from paper_tables.evaluation.samples import Samples
from paper_tables.rendering.figures import (
    COLOURS,
    DASHES,
    INK,
    NO_METADATA,
    RC,
    Look,
    averaged,
    error_rates,
    quiet,
    rate_axes,
    style,
    svg_element,
)

Curve = tuple[NDArray[np.float64], NDArray[np.float64]]  # FPR (APCER of all attacks), ascending, and FNR (BPCER), in %
_LEAST, _MOST = 0.1, 99.0  # of a DET curve's axes, in %
_TICKS = (0.1, 0.5, 1, 2, 5, 10, 20, 40, 60, 80, 95)
_STEPS = 60  # points that a curve keeps for each standard deviation of a DET curve's axes


def looks(methods: Sequence[str]) -> dict[str, Look]:
    """How each method's curve is drawn, told apart by dashes first and by colour second."""
    n, of = len(COLOURS), len(DASHES)
    return {
        method: Look(COLOURS[i % n], DASHES[(of - 1 - i - i // n) % of], 2.2 if i == 0 else 1.5)
        for i, method in enumerate(methods)
    }


def curve(several: Sequence[Samples]) -> Curve:
    """The curve of a method: of one seed, or the mean FNR at each FPR of several."""
    curves = [_thinned(error_rates(samples.score, samples.bonafide)) for samples in several]
    return averaged(curves)


def _thinned(whole: Curve) -> Curve:
    """The points of a curve that a drawing can tell apart."""
    cells = np.stack([np.round(_STEPS * _deviate(rate)) for rate in whole])
    kept = np.any(np.diff(cells, axis=1, prepend=np.inf) != 0, axis=0)
    kept[-1] = True
    return whole[0][kept], whole[1][kept]


def _deviate(rate: NDArray[np.float64]) -> NDArray[np.float64]:
    """A rate in % as a DET curve's axes place it: by the normal distribution's quantile."""
    deviate: NDArray[np.float64] = norm.ppf(np.clip(rate, _LEAST / 2, 100 - _LEAST / 2) / 100)
    return deviate


def drawn(methods: Mapping[str, Curve], name: str, all_looks: Mapping[str, Look]) -> dict[str, str]:
    """The two drawings of a test set by their titles, for the page's style sheet; ids begin with `name`."""
    return {
        "DET curves": _svg(lambda ax: _det(ax, methods, all_looks), f"{name}-det"),
        "FPR–FNR curves": _svg(lambda ax: _fpr_fnr(ax, methods, all_looks), f"{name}-rates"),
    }


def _fpr_fnr(ax: Axes, methods: Mapping[str, Curve], all_looks: Mapping[str, Look]) -> None:
    for method, (fpr, fnr) in methods.items():
        look = all_looks[method]
        ax.step(fpr, fnr, where="post", color=look.colour, linestyle=style(look), linewidth=look.width)
    guide = np.linspace(0, 100, 401)
    ax.plot(guide, 100 - guide, color=INK, linewidth=0.8, alpha=0.55)
    rate_axes(ax, "")


def _det(ax: Axes, methods: Mapping[str, Curve], all_looks: Mapping[str, Look]) -> None:
    for method, (fpr, fnr) in methods.items():
        look = all_looks[method]
        ax.step(
            _deviate(fpr), _deviate(fnr), where="post", color=look.colour, linestyle=style(look), linewidth=look.width
        )
    low, high = (float(norm.ppf(x / 100)) for x in (_LEAST, _MOST))
    ax.plot([low, high], [-low, -high], color=INK, linewidth=0.8, alpha=0.55)
    for axis, words in ((ax.xaxis, "APCER, all attacks (%)"), (ax.yaxis, "BPCER (%)")):
        axis.set_major_locator(FixedLocator([float(norm.ppf(x / 100)) for x in _TICKS]))
        axis.set_minor_locator(NullLocator())
        axis.set_major_formatter(FuncFormatter(lambda v, _: f"{100 * norm.cdf(v):.2g}"))
        axis.set_label_text(words, color=INK, fontsize=9)
    ax.set_xlim(low, high)
    ax.set_ylim(low, high)
    ax.set_aspect("equal")


def _svg(draw: Callable[[Axes], None], name: str) -> str:
    with matplotlib.rc_context(RC):
        figure = Figure(figsize=(4.2, 4.1), layout="constrained")
        figure.patch.set_visible(False)
        ax = figure.add_subplot()
        draw(ax)
        quiet(ax)
        text = StringIO()
        figure.savefig(text, format="svg", metadata=NO_METADATA)
    return svg_element(text.getvalue(), name)
