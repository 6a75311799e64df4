"""The words of an evaluation, the same in every form of it: names of metrics, sentences, and tables of plain text."""

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from paper_tables.evaluation.estimates import Interval
from paper_tables.evaluation.evaluation import PLAIN, WEIGHTED, Evaluation, Figure, Figures, SetResult, samples_of
from paper_tables.evaluation.measures import DEVELOPMENT, GIVEN, LEAST, ORACLE, Missing, parted
from paper_tables.evaluation.samples import Judged
from paper_tables.rendering.wording import number

TITLE = "Evaluation of score files"
COVERAGE = Path(__file__).with_name("coverage.json")
_KINDS = {"hter": "HTER", "accuracy": "accuracy", "apcer": "APCER, all attacks", "apcer_max": "APCER max"}
_KINDS |= {"bpcer": "BPCER", "acer": "ACER"}
_UNITS = {"subject": "subjects", "sample": "samples", "row": "samples"}


@dataclass(frozen=True)
class Sheet:
    """A table of plain text with its title and the sentences above it; the first column names the rows."""

    title: str
    sentences: tuple[str, ...]
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def metric_name(key: str) -> str:
    """As rows of tables name it: `HTER, oracle`."""
    kind, threshold = parted(key)
    if kind in ("auc", "eer"):
        return "AUC" if kind == "auc" else f"EER, {ORACLE}"
    if kind.startswith(("bpcer_at_", "apcer_at_")):
        rate = kind.removeprefix("bpcer_at_").removeprefix("apcer_at_").removesuffix("_worst")
        fixed = f"APCER{' max' if kind.endswith('_worst') else ''} {rate} %"
        return f"BPCER at {fixed}, {threshold}" if kind.startswith("b") else f"APCER reached at {fixed}, {threshold}"
    name = f"APCER {kind.removeprefix('apcer/')}" if kind.startswith("apcer/") else _KINDS[kind]
    return f"{name}, {threshold}"


def figure_text(figure: Figure) -> str:
    """`mean ± SD [low, high]` in %, or why there is no number."""
    if isinstance(figure.value, Missing):
        return f"– ({figure.value})"
    text = _percent(figure.value)
    if figure.sd is not None:
        text += f" ± {_percent(figure.sd)}"
    if isinstance(figure.interval, Interval):
        exact = " exact" if figure.interval.exact else ""
        text += f" [{_percent(figure.interval.low)}, {_percent(figure.interval.high)}{exact}]"
    return text


def _percent(rate: float) -> str:
    return number(round(100 * rate, 2) + 0.0)  # without the sign of a zero


def set_name(name: str) -> str:
    return f"set {name}" if name else "the test split"


def _threshold_text(evaluation: Evaluation, run: Judged, threshold: float) -> str:
    """In the file's own scores: from where a sample is accepted."""
    if threshold == math.inf:
        return "no score"
    return f"score ≤ {-threshold:.6g}" if evaluation.turned[run.method] else f"score ≥ {threshold:.6g}"


# ---------------------------------------------------------------------------------------------------- tables


def sheets(evaluation: Evaluation) -> list[Sheet]:
    """All tables in the order of reading."""
    out = [_numbers(evaluation, result) for result in evaluation.sets]
    if evaluation.averages:
        out.append(_averages(evaluation))
    out += _differences(evaluation)
    return [*out, _judged(evaluation)]


def _numbers(evaluation: Evaluation, result: SetResult) -> Sheet:
    columns = [*result.figures.values()]
    return Sheet(
        f"Numbers of {set_name(result.name)}",
        (_samples(evaluation, result), *_without_interval(columns)),
        ("metric, %", *result.figures),
        _rows(columns),
    )


def _rows(columns: Sequence[Figures]) -> tuple[tuple[str, ...], ...]:
    return tuple((metric_name(key), *(figure_text(column[key]) for column in columns)) for key in columns[0])


def _samples(evaluation: Evaluation, result: SetResult) -> str:
    methods = samples_of(evaluation, result.name)
    sizes = {samples.score.size for several in methods.values() for samples in several}
    whose = "" if len(sizes) == 1 else f" (of {next(iter(methods))}; other methods have other samples)"
    who = f" of {result.subjects} subjects" if result.kind == "subject" else ""
    return f"{result.bona_fide} bona fide samples and {result.attacks} attacks{who}{whose}."


def _without_interval(columns: Sequence[Figures]) -> Iterator[str]:
    """Which numbers have no interval, and why."""
    why: dict[str, list[str]] = {}
    for column in columns:
        for key, figure in column.items():
            if isinstance(figure.interval, Missing) and not isinstance(figure.value, Missing):
                names = why.setdefault(figure.interval, [])
                names += [metric_name(key)] if metric_name(key) not in names else []
    if asked := {reason: names for reason, names in why.items() if reason != "no resamples were asked for"}:
        for reason, names in asked.items():
            shown = "; ".join(names[:6]) + (f"; and {len(names) - 6} more" if len(names) > 6 else "")
            yield f"No interval of {shown}: {reason}."


def _averages(evaluation: Evaluation) -> Sheet:
    head, columns = ["metric, %"], []
    for method in evaluation.methods:
        for kind in (WEIGHTED, PLAIN):
            head.append(f"{method}, {kind}")
            columns.append(evaluation.averages[kind][method])
    names = ", ".join(result.name for result in evaluation.sets)
    sentence = (
        f"Means over the sets {names}: weighted by the numbers of samples tested, and plain. Each set is judged at the "
        "threshold that the last table names. An interval resamples each set apart from the others, sets of the same "
        "subjects alike; where sets share some of their subjects, it is too narrow."
    )
    return Sheet("Averages over the sets", (sentence, *_without_interval(columns)), tuple(head), _rows(columns))


def _differences(evaluation: Evaluation) -> Iterator[Sheet]:
    for name in dict.fromkeys(difference.set for difference in evaluation.differences):
        of_set = [difference for difference in evaluation.differences if difference.set == name]
        found = [(d, d.figures) for d in of_set if not isinstance(d.figures, Missing)]
        sentences = [
            f"{d.first} and {d.second} are not compared: {d.figures}." for d in of_set if isinstance(d.figures, Missing)
        ]
        sentences += [
            f"{d.first} and {d.second} have {d.samples} samples in common; {d.left_out} others are left out."
            for d, _ in found
            if d.left_out
        ]
        if len(found) > 1:
            sentences.append(f"{len(found)} pairs are compared; the intervals are not corrected for their number.")
        head = ("metric, points", *(f"{d.first} − {d.second}" for d, _ in found))
        columns = [figures for _, figures in found]
        rows = _rows(columns) if columns else ()
        yield Sheet(f"Differences on {set_name(name)}", (*sentences, *_without_interval(columns)), head, rows)


def _judged(evaluation: Evaluation) -> Sheet:
    rows = []
    for run in evaluation.runs:
        for name in run.tests:
            fixed = run.development.get(name)
            where = [run.method, run.seed or "–", run.epoch or "–", name or "–"]
            if fixed:
                split = f"{fixed.bona_fide} bona fide, {fixed.attacks} attacks"
                rows.append((*where, split, number(100 * fixed.eer), _threshold_text(evaluation, run, fixed.threshold)))
            else:
                rows.append((*where, "none", "–", "–"))
    head = ("method", "seed", "epoch", "tested on", "development split", "its EER, %", "accepted: its EER threshold")
    return Sheet("What was judged", (), head, tuple(rows))


# ------------------------------------------------------------------------------------------------- sentences


def sentences(evaluation: Evaluation) -> list[str]:
    """What the numbers are."""
    return [*_definitions(evaluation), *_of_intervals(evaluation), f"Made by: {evaluation.command}"]


def warnings(evaluation: Evaluation) -> list[str]:
    """What to know before believing a number."""
    return [*_below_chance(evaluation), *_of_files(evaluation)]


def _below_chance(evaluation: Evaluation) -> Iterator[str]:
    for result in evaluation.sets:
        for method, figures in result.figures.items():
            area = figures["auc"].value
            if not isinstance(area, Missing) and area < 0.5:
                other = "bona-fide" if evaluation.turned[method] else "attack"
                yield (
                    f"On {set_name(result.name)} the bona fide scores of {method} lie below the attacks' (AUC "
                    f"{number(100 * area)} %). If its scores point the other way, say --higher {method}={other}; the "
                    f"AUC would be {number(100 - 100 * area)} %."
                )


def _of_files(evaluation: Evaluation) -> Iterator[str]:
    for run in evaluation.runs:
        yield from run.notes
    if evaluation.folders:
        yield (
            f"Run folders ({', '.join(evaluation.folders)}) do not say whether their faces are phantom stand-ins; "
            "numbers of stand-ins are no evidence about faces and are not to be held against a published one."
        )
    for path, columns in evaluation.unused.items():
        yield f"Columns of {path} that nothing here asks for: {', '.join(columns)}."


def _definitions(evaluation: Evaluation) -> Iterator[str]:
    yield (
        "All numbers in %, by exact counts; thresholds run over all distinct scores. AUC: the chance that a bona fide "
        "sample scores above an attack, ties half. HTER: (APCER of all attacks + BPCER)/2. EER: HTER at the threshold "
        "where those two are nearest."
    )
    yield (
        "ISO/IEC 30107-3: APCER is the share of attacks accepted, of one family (species of presentation attack "
        "instruments) or of all; BPCER the share of bona fide rejected; APCER max that of the worst family; ACER "
        f"(APCER max + BPCER)/2. A family of fewer than {LEAST} attacks has no rate and no part in the maximum."
    )
    if any(run.development for run in evaluation.runs):
        yield f"{DEVELOPMENT}: at the threshold of the development split's EER, which has not seen the test set."
    else:
        yield (
            "No development split was given, so no number here is what a deployment would get; --development NAME "
            "names one."
        )
    if any(run.given is not None for run in evaluation.runs):
        yield f"{GIVEN}: at the threshold that --threshold states, or that a run carries."
    yield f"{ORACLE}: at a threshold that the test set itself chooses; no deployment can know it."
    yield (
        "BPCER at APCER x %: at the least threshold whose APCER is at most x %, that of all attacks together or of "
        "every family (APCER max). Under development that threshold is the development split's, and the APCER that it "
        "reaches on the test set stands beside it."
    )
    epochs = {run.epoch for run in evaluation.runs}
    if epochs != {""}:
        yield f"Epochs judged: {', '.join(sorted(epochs - {''}))} (see the last table)."
    if len(evaluation.runs) > len(evaluation.methods):
        n = [f"{name} n = {sum(run.method == name for run in evaluation.runs)}" for name in evaluation.methods]
        yield f"±: sample standard deviation (divisor n − 1) over n seeds, whose mean the number is: {'; '.join(n)}."


def _of_intervals(evaluation: Evaluation) -> Iterator[str]:
    if not evaluation.replicates:
        yield "No intervals, because --replicates 0 asked for none."
        return
    yield (
        f"[low, high]: 95 % bootstrap interval, bias-corrected and accelerated (BCa), of {evaluation.replicates} "
        "resamples within subjects seen bona fide, attacking, or both; models, epochs and thresholds of other samples "
        "fixed, thresholds of the test set found anew."
    )
    by_sample = [result for result in evaluation.sets if result.kind != "subject"]
    if by_sample:
        names = ", ".join(set_name(result.name) for result in by_sample)
        yield (
            f"Samples are resampled on {names}, because not every sample there has a subject. Samples of one person "
            "are alike, so that these intervals are too narrow where persons have several; a column subject mends it."
        )
    if any(figures["apcer_max:oracle"].interval for r in evaluation.sets for figures in r.figures.values()):
        yield (
            "The intervals of APCER max, ACER and BPCER at APCER max are made of those of every family that some "
            "resample calls the worst, because which one truly is the worst is not known; they are on the wide side."
        )
    intervals = [f.interval for r in evaluation.sets for figures in r.figures.values() for f in figures.values()]
    if any(isinstance(x, Interval) and x.widened for x in intervals):
        yield (
            "exact: no error was seen (or nothing but errors), where every resample says the same; the bound is that "
            "of Clopper and Pearson for as many independent subjects, of which none erred. A number of several rates, "
            "of which one is without an error, is widened by that rate's bound."
        )
    for result in evaluation.sets:
        if sentence := coverage_sentence(result):
            yield sentence


def coverage_sentence(result: SetResult) -> str:
    """How often such intervals held the truth in `coverage.json`, for the nearest number of subjects below."""
    measured: list[dict[str, Any]] = json.loads(COVERAGE.read_text(encoding="utf-8"))["cells"]
    below = [cell["subjects"] for cell in measured if cell["subjects"] <= result.least]
    if not below:
        least = min(cell["subjects"] for cell in measured)
        return (
            f"On {set_name(result.name)} one class has {result.least} {_UNITS[result.kind]}; with so few the coverage "
            f"of these intervals was not measured (the least was {least}): they are too narrow rather than too wide."
        )
    subjects = max(below)
    shares = []
    for cell in measured:
        if cell["subjects"] == subjects:
            found = cell["coverage"].values()
            shares.append(f"{100 * min(found):.1f} to {100 * max(found):.1f} % at {100 * cell['rate']:g} %")
    return (
        f"Coverage on {set_name(result.name)}: on simulated scores with {subjects} subjects a class, such intervals "
        f"held the truth in as many of the draws, by the metric and the rate of errors: {', '.join(shares)} "
        "(paper_tables/evaluation/coverage.json)."
    )
