"""The words and digits of a rendered table, the same on the terminal, in Markdown, LaTeX and HTML.

`caption` joins the sentences under a table; each of them has a function or a constant of its own here.
"""

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from paper_tables.declarations.table import Table
from paper_tables.numbers import bootstrap
from paper_tables.numbers.cells import POLICIES, Cell, mean_sd
from paper_tables.numbers.results import Results, RowResult
from paper_tables.numbers.selection import ON_TEST_SET
from reference.standin_clip.weights import CHOICE, IMAGE_SIZE, is_standin, settings_of

SPREAD = Path(__file__).parent.parent / "declarations" / "spread.json"


@dataclass(frozen=True)
class View:
    """One choice of selection rule, of HTER's threshold and of accuracy's."""

    rule: str
    hter: str
    policy: str

    def metric(self, kind: str) -> str:
        return {"hter": f"hter:{self.hter}", "auc": "auc", "accuracy": f"accuracy:{self.policy}"}[kind]


def view_of(rule: str) -> View:
    """A rule with the threshold that goes with it: who chooses on the test set also cuts there."""
    return View(rule, "target" if rule in ON_TEST_SET else "source_val", POLICIES[0])


HONEST = view_of("source_val")

HEADS = {"hter": "HTER ↓", "auc": "AUC ↑", "accuracy": "Acc ↑"}

RULE_SENTENCES = {
    "source_val": "Epoch: the one of least EER on the source's validation set (then highest AUC there, then earliest).",
    "last": "Epoch: the last.",
    "oracle": "Epoch: oracle, the test set itself chooses the best epoch, anew for each metric and set; "
    "no single model attains these numbers.",
    "oracle_pair": "Epoch and head: oracle, the one pair of least HTER on the test set at its own EER threshold; one "
    "model attains these numbers, for whoever may look at the test set.",
    "released": "Epoch and head: as in MMDA's released code, the best on the test set itself, anew for each metric and "
    "set; no single model attains these numbers. The HTER at the test set's own threshold and the AUC are that code's: "
    "of MMDA's softmax in float32, and at the threshold nearest to equal errors among those that scikit-learn's "
    "reduced ROC curve keeps, so that the HTER is near the EER but not equal to it.",
}
HTER_SENTENCES = {
    "source_val": "HTER at the EER threshold of the source's validation set.",
    "target": "HTER at the EER threshold of the test set itself (its EER, unless the rule has its own threshold), as "
    "the papers measure it.",
}
POLICY_SENTENCES = {
    "source_dev@BPCER1%": "Accuracy at the strictest threshold that rejects at most 1 % of the bona fide of "
    "the source's validation set (source_dev@BPCER1%): the only reading of “BPCER = 1 %” that the published "
    "numbers allow.",
    "target@BPCER1%": "Accuracy at the strictest threshold that rejects at most 1 % of the bona fide of the "
    "test set itself (target@BPCER1%).",
    "source_dev@EER": "Accuracy at the EER threshold of the source's validation set (source_dev@EER).",
}
RULE_NAMES = {"source_val": "source validation", "last": "last epoch", "oracle": "oracle (test set)"}
RULE_NAMES |= {"oracle_pair": "oracle (one epoch and head)", "released": "as released (test set)"}
PROTOCOL_SENTENCES = {
    "mmdg": "Protocol: MMDG's lists; the sources' train lists train, their validation lists choose and set thresholds, "
    "the target's test list tests.",
    "official": "Protocol: each set's own official split (no MMDG lists are at hand); the sources' train splits train, "
    "their validation splits choose and set thresholds, the target's test split tests.",
}
STANDIN_CLIP_SENTENCE = (
    "CLIP: a stand-in, a small one trained on procedural pictures; it never saw a photograph. Its rows' images have "
    f"{IMAGE_SIZE} × {IMAGE_SIZE} pixels."
)
NOT_IMPLEMENTED = "not implemented yet"


def number(value: float) -> str:
    return f"{value:.2f}"


def cell_text(cell: Cell, plus_minus: str = "±") -> str:
    """`mean ± SD [low, high]`, as far as there is an SD and an interval."""
    text = number(cell.mean)
    if cell.sd is not None:
        text += f" {plus_minus} {number(cell.sd)}"
    if cell.ci:
        text += f" [{number(cell.ci[0])}, {number(cell.ci[1])}]"
    return text


def parameters_text(result: RowResult) -> str:
    if result.parameters is None:
        return ""
    return f"{result.parameters / 1e6:.2f} M" if result.parameters else "0"


def n_text(result: RowResult) -> str:
    """The number of seeds; of a row that lacks runs, how many of its runs there are."""
    if result.row.program is None:
        return ""
    if result.missing:
        return f"{len(result.finished)} of {len(result.finished) + len(result.missing)}"
    return str(max(len(cell.seeds) for cell in result.cells.values()))


def column_names(results: Results) -> dict[str, str]:
    """Headings of the table's columns; a stand-in for a set is not called by the set's own name."""
    return {c.name: c.label + ("-like" if c.dataset and results.stand_in else "") for c in results.table.columns}


def set_names(results: Results) -> dict[str, str]:
    """Names of the tested data sets by letter."""
    like = "-like" if results.stand_in else ""
    return {letter: f"{name}{like}" for letter, name in results.table.sets.items()}


def threshold_sentences(table: Table) -> list[str]:
    """Every choice of threshold that the table's shown kinds leave."""
    sentences = list(HTER_SENTENCES.values()) if "hter" in table.kinds else []
    return sentences + (list(POLICY_SENTENCES.values()) if "accuracy" in table.kinds else [])


def data_sentence(results: Results) -> str:
    if not results.stand_in:
        return f"Data: {results.data}."
    return (
        f"Data: {results.data}, procedural stand-in faces (no photographs). The table shows that everything runs "
        "end to end; relative order is no evidence about faces, and no number here confirms or refutes a published one."
    )


def profile_sentence(results: Results) -> str:
    t, p = results.settings, results.profile
    sentence = (
        f"Profile {p.name}: {t['image-size']} × {t['image-size']} pixels, batches of {t['batch-size']}, "
        f"{t['epochs']} epochs, learning rate {t['learning-rate']:g}"
    )
    if "evaluate-every" in t:
        every = "epoch" if t["evaluate-every"] == 1 else f"{t['evaluate-every']} epochs"
        sentence += f", evaluated every {every}"
    if "augmentation" in t:
        sentence += f", augmentation: {t['augmentation']}"
    for row in results.trained:
        if options := row.training.get(p.name):
            sentence += f"; {row.label}: " + ", ".join(f"{k.replace('-', ' ')} {v}" for k, v in options.items())
    return sentence + "."


def seeds_sentence(results: Results) -> str:
    if results.seeds == 1:
        sentence = "One run a row (n = 1), hence no ±."
    else:
        sentence = (
            f"{results.seeds} seeds: mean ± sample standard deviation (divisor n − 1) over n runs; n = 1 has no ±."
        )
    if results.ci:
        sentence += (
            f" [low, high]: 95 % percentile bootstrap of the mean over subjects ({bootstrap.RESAMPLES} resamples of "
            "each test set, within subjects seen bona fide, attacking, or both; models, epochs and source "
            "thresholds fixed)."
        )
    return sentence


@cache
def _spread(file: Path) -> Any:
    """What `paper_tables.spread` left, read once for all captions."""
    return json.loads(file.read_text(encoding="utf-8"))


def worth_sentence(results: Results) -> str:
    """What a single run is worth, as `make mmda-spread` measured it for one table of stand-in data and CLIP."""
    found = _spread(SPREAD)
    named = (results.table.name, results.profile.name) == (found["table"], found["profile"])
    if not (named and results.stand_in and is_standin(results.clip or "")):
        return "What one run of these rows is worth was not measured; SEEDS=3 trains three."
    rows = []
    for row in found["rows"].values():
        of_row = []
        for kind, what in (("training", "seeds of the training"), ("standin", "stand-in CLIPs")):
            spreads = {metric: mean_sd(drawn) for metric, drawn in row[kind].items() if drawn}
            if spreads:
                words = ", ".join(f"{metric.upper()} ± {number(sd or 0.0)}" for metric, (_, sd) in spreads.items())
                of_row.append(f"{words} over {found['draws']} {what}")
        rows.append(f"{row['label']}: {'; '.join(of_row)}")
    return (
        f"What one run is worth, in points of {found['column']}, as measured on one machine "
        f"({found['machine']['cpu']}; ± is the sample standard deviation): {'. '.join(rows)}. "
        "Of the other rows it was not measured."
    )


def tested_sentences(results: Results) -> list[str]:
    """Which epochs' test scores there are, what is missing without others, and how often validation is undecided."""
    runs = [run for result in results.rows if result.row.trains for run in result.runs]
    sentences = []
    if lean := [run for run in runs if not run.every_epoch]:
        evaluated, tested = max(run.epochs.size for run in lean), max(run.tested.size for run in lean)
        sentences.append(
            f"{len(lean)} of {len(runs)} trained runs scored their test sets at the chosen epoch and the last alone, "
            "so that nothing is said where a test set chooses. ORACLE=1 trains these runs again and scores the test "
            f"sets up to {evaluated} times a run instead of up to {tested} times."
        )
    if runs:
        undecided = sum(run.tied[1] > 1 for run in runs)
        by_eer = sum(run.tied[0] > 1 for run in runs)
        sentences.append(
            f"Several epochs share the least EER of validation in {by_eer} of {len(runs)} trained runs, and the AUC "
            f"there too in {undecided}, where the earliest counts."
        )
    return sentences


def weighted_sentence(results: Results) -> str:
    images = {letter: sum(n) for letter, n in results.images.items()}
    if not images:
        return "Weighted: mean over the sets by their numbers of tested images."
    names, total = set_names(results), sum(images.values())
    parts = ", ".join(f"{names[k]} {n} ({100 * n / total:.1f} %)" for k, n in images.items())
    return f"Weighted: mean over the sets by the images tested here: {parts}."


def letters_sentence(results: Results) -> str:
    return "Sets: " + ", ".join(f"{letter} {name}" for letter, name in set_names(results).items()) + "."


def reconstruction_sentences(table: Table) -> list[str]:
    """For each row that is a reconstruction, run or not, a sentence that says what it is not."""
    return [
        f"{row.label}: written here from its paper's abstract alone, since no code of it is public; it is not the "
        "authors' method, of which nothing is claimed, and the published numbers are not its own."
        for row in table.rows
        if row.reconstruction
    ]


def published_sentence(results: Results) -> str:
    assert results.published is not None
    sentence = (
        f"Published: {results.published.place} of the paper, on the original data; {results.table.published_note}"
    )
    return sentence + (" Other data: not comparable." if results.stand_in else "")


def run_sentences(results: Results) -> list[str]:
    """What the runs behind the table were trained with."""
    sentences = [profile_sentence(results)]
    if results.clip:
        sentences.append(STANDIN_CLIP_SENTENCE if is_standin(results.clip) else f"CLIP: {results.clip}.")
        if is_standin(results.clip) and results.clip != CHOICE:
            sentences.append(f"The stand-in's own seed is {settings_of(results.clip).seed}.")
    if results.protocol:
        sentences.append(PROTOCOL_SENTENCES[results.protocol])
    sentences += [seeds_sentence(results), *([worth_sentence(results)] if results.seeds == 1 else [])]
    return [*sentences, *tested_sentences(results)]


def column_sentences(results: Results) -> list[str]:
    """What the columns and the numbers beside them are."""
    columns, sentences = results.table.columns, []
    if not any(column.dataset for column in columns):
        sentences.append(letters_sentence(results))
    if any(column.weighted for column in columns):
        sentences.append(weighted_sentence(results))
    sentences += [*results.table.notes, *reconstruction_sentences(results.table)]
    return sentences + ([published_sentence(results)] if results.published else [])


def caption(results: Results, view: View) -> list[str]:
    """The sentences that stand under a table; every view says all that is needed to read it alone."""
    sentences = [f"{results.table.title}. All numbers in %.", data_sentence(results), *run_sentences(results)]
    sentences.append(RULE_SENTENCES[view.rule])
    if "hter" in results.table.visible:
        sentences.append(HTER_SENTENCES[view.hter])
    if "accuracy" in results.table.visible:
        sentences.append(POLICY_SENTENCES[view.policy])
    return sentences + column_sentences(results)


def _as_code(command: str) -> str:
    fence = "``" if "`" in command else "`"  # a name of a file may hold one
    return f"{fence}{command}{fence}"


def footnotes(results: Results) -> dict[str, tuple[int, list[str]]]:
    """For each row that lacks runs: its mark, and for each missing run a line with the command that makes it."""
    notes: dict[str, tuple[int, list[str]]] = {}
    for result in results.rows:
        if result.missing:
            lines = [f"{m.title}, {m.reason}: {_as_code(m.command)}" for m in result.missing]
            notes[result.row.name] = (len(notes) + 1, lines)
    return notes
