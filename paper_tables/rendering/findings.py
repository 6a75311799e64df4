"""What a table's numbers amount to, as small tables under it: how far the published way of choosing epoch and
head is from the honest one, and which rows differ from a baseline by more than its seeds do."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from paper_tables.numbers.bootstrap import RESAMPLES, interval
from paper_tables.numbers.cells import Cell, mean_sd
from paper_tables.numbers.gaps import METRICS
from paper_tables.numbers.results import Results, RowResult
from paper_tables.rendering.wording import HEADS, HONEST, RULE_NAMES, cell_text, number

LEAST_SEEDS = 3  # for a verdict
BEYOND = 2.0  # standard deviations


@dataclass(frozen=True)
class Section:
    """A titled table of words, with the sentences that explain it."""

    title: str
    sentences: tuple[str, ...]
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    long: bool = False  # print only the sentences on a terminal


@dataclass(frozen=True)
class Difference:
    """Of two rows, seed by seed: mean and sample SD over `n` seeds, and what it is judged by."""

    mean: float
    sd: float | None
    n: int
    verdict: str


def sections(results: Results) -> list[Section]:
    """The findings of a table that has runs for them."""
    table = results.table
    every = [*([_gap(results), _favour(results)] if table.gap else [])]
    every += [_differences(results)] if table.baseline else []
    return [section for section in every if section.rows]


def signed(value: float) -> str:
    return f"{value:+.2f}".replace("-", "−")


def _change(before: Cell, after: Cell) -> str:
    mean, sd = mean_sd([b - a for a, b in zip(before.values, after.values, strict=True)])
    return signed(mean) + ("" if sd is None else f" ± {number(sd)}")


def _gap(results: Results) -> Section:
    """Honest epoch, head and threshold; the same with the test set's own threshold; the published way."""
    table, way = results.table, results.table.rules[-1]
    steps = [("source_val", "hter:source_val"), ("source_val", "hter:target"), (way, "hter:target")]
    steps += [("source_val", "auc"), (way, "auc")]
    rows, sentences = [], []
    for result in results.rows:
        for column in table.columns:
            if (way, column.name, "auc") not in result.cells:
                continue
            h1, h2, h3, a1, a2 = (result.cells[rule, column.name, metric] for rule, metric in steps)
            hter, auc = _change(h1, h3), _change(a1, a2)
            cells = (cell_text(h1), cell_text(h2), cell_text(h3), hter, cell_text(a1), cell_text(a2), auc)
            rows.append((result.row.label, column.label, *cells))
            if column is table.columns[-1]:
                sentences.append(f"{result.row.label}, {column.label}: HTER {hter}, AUC {auc} points.")
    hter_heads = ("HTER, source threshold", "HTER, own threshold", f"HTER, {RULE_NAMES[way]}", "HTER gap")
    heads = ("method", "column", *hter_heads, "AUC", f"AUC, {RULE_NAMES[way]}", "AUC gap")
    meaning = (
        "The gap is what choosing on the test set adds to what a deployment would get: epoch by source validation "
        f"at the source's threshold first, then the test set's own EER threshold, then {RULE_NAMES[way]} with the "
        "threshold of that rule. Gaps are differences seed by seed, in points."
    )
    return Section("What choosing on the test set is worth", (meaning, *sentences), heads, tuple(rows), long=True)


def _favour(results: Results) -> Section:
    """Each row's gap beside the mean of all rows' gaps, with intervals."""
    told = [result for result in results.rows if result.gaps]
    title = "Does choosing on the test set favour some methods?"
    columns = [f"{HEADS[metric][:-2]} {what}" for metric in METRICS for what in ("gap", "gap less the mean gap")]
    heads = ("method", "choices", *columns)
    if len(told) < 2:
        return Section(title, (), heads, ())
    rows, beyond = [], []
    for result in told:
        texts = []
        for metric in METRICS:
            every = np.array([other.gaps[metric] for other in told if other.gaps])  # (rows, resamples)
            own = every[told.index(result)]
            for values in (own, own - every.mean(0)):
                low, high = interval(values)
                texts.append(f"{signed(float(values.mean()))} [{signed(low)}, {signed(high)}]")
            if low > 0 or high < 0:
                beyond.append(f"{result.row.label} ({HEADS[metric][:-2]}, {signed(float(values.mean()))})")
        run = result.runs[0]
        rows.append((result.row.label, str(run.epochs.size * max(1, len(run.heads))), *texts))
    meaning = (
        f"{results.table.columns[-1].label}: what one epoch and head and a threshold, all chosen on the test set, add "
        "to the epoch and the threshold of source validation; means and 95 % percentile intervals over "
        f"{RESAMPLES} resamples of the test subjects, in each of which the test set chooses anew. Choices: evaluated "
        "epochs times heads. How another training would come out is not in the intervals, and of intervals without a "
        "reason one in twenty leaves out 0."
    )
    verdict = "No row's gap differs from the mean gap beyond its interval."
    if beyond:
        verdict = f"The interval of the difference from the mean gap leaves out 0 for: {', '.join(beyond)}."
    return Section(title, (meaning, verdict), heads, tuple(rows), long=True)


def difference(values: Sequence[float], baseline: Sequence[float]) -> Difference:
    """Of two rows' values (n,) of the same seeds. It is `beyond seed noise` when |mean| exceeds twice the pooled
    standard deviation of both rows over their seeds; below three seeds nothing is decided."""
    mean, sd = mean_sd([v - b for v, b in zip(values, baseline, strict=True)])
    spreads = [mean_sd(x)[1] or 0.0 for x in (values, baseline)]
    noise = math.sqrt(sum(s * s for s in spreads) / 2)
    if len(values) < LEAST_SEEDS:
        verdict = "not decided"
    else:
        verdict = "beyond seed noise" if abs(mean) > BEYOND * noise else "within seed noise"
    return Difference(mean, sd, len(values), verdict)


def differences(results: Results, result: RowResult) -> dict[str, Difference]:
    """Of a row from the table's baseline in the last column, by metric, over the seeds that both have."""
    assert results.table.baseline is not None
    baseline = results.row(results.table.baseline)
    column = results.table.columns[-1].name
    by_metric = {}
    for metric in map(HONEST.metric, results.table.visible):
        ours, theirs = (r.cells.get((HONEST.rule, column, metric)) for r in (result, baseline))
        if not ours or not theirs:
            continue
        of_seed = dict(zip(theirs.seeds, theirs.values, strict=True))
        pairs = [(v, of_seed[s]) for s, v in zip(ours.seeds, ours.values, strict=True) if s in of_seed]
        if pairs:
            by_metric[metric] = difference([v for v, _ in pairs], [b for _, b in pairs])
    return by_metric


def _differences(results: Results) -> Section:
    table, rows = results.table, []
    for result in results.rows:
        by_metric = differences(results, result)
        if result.row.name == table.baseline or not by_metric:
            continue
        texts = []
        for d in by_metric.values():
            texts += [signed(d.mean) + ("" if d.sd is None else f" ± {number(d.sd)}") + f" ({d.n})", d.verdict]
        rows.append((result.row.label, *texts))
    heads = tuple(word for kind in table.visible for word in (f"Δ {HEADS[kind][:-2]}", f"{HEADS[kind][:-2]} verdict"))
    sentences = (
        f"{table.columns[-1].label}, {', '.join(map(HONEST.metric, table.visible))}, epoch by source validation: "
        f"difference from {results.row(str(table.baseline)).row.label} seed by seed, mean ± sample standard "
        "deviation (n), in points.",
        f"Beyond seed noise: |mean difference| > {BEYOND:g} × the pooled standard deviation of both rows over their "
        f"seeds. Fewer than {LEAST_SEEDS} seeds: not decided. Of readings without any effect this lets 7 % pass at "
        "three seeds and 1 % at five, if runs vary independently and normally.",
    )
    return Section("Difference from the default", sentences, ("reading", *heads), tuple(rows))
