"""What a rendered table says in words and digits; the same on the terminal, in Markdown, LaTeX and HTML."""

from dataclasses import dataclass

from paper_tables import bootstrap
from paper_tables.cells import POLICIES, WEIGHTED, Cell
from paper_tables.results import Results, Row


@dataclass(frozen=True)
class View:
    """One choice of selection rule, of HTER's threshold and of accuracy's."""

    rule: str
    hter: str
    policy: str

    def metric(self, kind: str) -> str:
        return {"hter": f"hter:{self.hter}", "auc": "auc", "accuracy": f"accuracy:{self.policy}"}[kind]


HONEST = View("source_val", "source_val", POLICIES[0])
LAST = View("last", "source_val", POLICIES[0])
PAPERS = View("oracle", "target", POLICIES[0])

HEADS = {"hter": "HTER ↓", "auc": "AUC ↑", "accuracy": "Acc ↑"}

RULES_SAID = {
    "source_val": "Epoch: the one of least EER on the source's validation set (then highest AUC there, then earliest).",
    "last": "Epoch: the last.",
    "oracle": "Epoch: oracle, the test set itself chooses the best epoch, anew for each metric and set; "
    "no single model attains these numbers.",
}
HTER_SAID = {
    "source_val": "HTER at the EER threshold of the source's validation set.",
    "target": "HTER at the EER threshold of the test set itself (its EER), as the papers measure it.",
}
POLICY_SAID = {
    "source_dev@BPCER1%": "Accuracy at the strictest threshold that rejects at most 1 % of the bona fide of "
    "the source's validation set (source_dev@BPCER1%): the only reading of “BPCER = 1 %” that the published "
    "numbers allow.",
    "target@BPCER1%": "Accuracy at the strictest threshold that rejects at most 1 % of the bona fide of the "
    "test set itself (target@BPCER1%).",
    "source_dev@EER": "Accuracy at the EER threshold of the source's validation set (source_dev@EER).",
}
RULE_NAMES = {"source_val": "source validation", "last": "last epoch", "oracle": "oracle (test set)"}
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


def parameters_text(row: Row) -> str:
    if row.parameters is None:
        return ""
    return f"{row.parameters / 1e6:.2f} M" if row.parameters else "0"


def n_text(row: Row) -> str:
    if row.method.module is None:
        return ""
    done, wanted = len(row.runs), len(row.runs) + len(row.missing)
    return str(done) if done == wanted else f"{done} of {wanted}"


def set_names(results: Results) -> dict[str, str]:
    """Headings of the table's columns; a stand-in for a set is not called by the set's own name."""
    names = _test_set_names(results) | {WEIGHTED: "Weighted"}
    return {letter: names[letter] for letter in results.published.sets}


def _test_set_names(results: Results) -> dict[str, str]:
    like = "-like" if results.stand_in else ""
    return {letter: f"{name}{like}" for letter, name in results.table.sets.items()}


def data_said(results: Results) -> str:
    if not results.stand_in:
        return f"Data: {results.data}."
    return (
        f"Data: {results.data}, procedural stand-in faces (no photographs). The table shows that everything runs "
        "end to end; relative order is no evidence about faces, and no number here confirms or refutes a published one."
    )


def profile_said(results: Results) -> str:
    t, p = results.profile.training, results.profile
    said = (
        f"Profile {p.name}: {t['image-size']} × {t['image-size']} pixels, batches of {t['batch-size']}, "
        f"{t['epochs']} epochs, learning rate {t['learning-rate']:g}, evaluated every "
        + ("epoch" if t["evaluate-every"] == 1 else f"{t['evaluate-every']} epochs")
        + f", augmentation: {t['augmentation']}"
    )
    for method, options in p.methods.items():
        said += f"; {method}: " + ", ".join(f"{name.replace('-', ' ')} {value}" for name, value in options.items())
    return said + "."


def seeds_said(results: Results) -> str:
    if results.seeds == 1:
        said = "One run a method (n = 1), hence no ±."
    else:
        said = f"{results.seeds} seeds: mean ± sample standard deviation (divisor n − 1) over n runs; n = 1 has no ±."
    if results.ci:
        said += (
            f" [low, high]: 95 % percentile bootstrap of the mean over subjects ({bootstrap.RESAMPLES} resamples of "
            "each test set, within subjects seen bona fide, attacking, or both; models, epochs and source "
            "thresholds fixed)."
        )
    return said


def weighted_said(results: Results) -> str:
    images = {letter: sum(n) for letter, n in results.images.items()}
    if not images:
        return "Weighted: mean over the sets by their numbers of tested images."
    names, total = _test_set_names(results), sum(images.values())
    parts = ", ".join(f"{names[k]} {n} ({100 * n / total:.1f} %)" for k, n in images.items())
    return f"Weighted: mean over the sets by the images tested here: {parts}."


def published_said(results: Results) -> str:
    said = (
        f"Published: {results.published.place} of the paper, on the original data; its Weighted column weighs by the "
        "original image counts. It states neither seeds nor spread nor how the epoch was selected."
    )
    return said + (" Other data: not comparable." if results.stand_in else "")


def caption(results: Results, view: View) -> list[str]:
    """The sentences that stand under a table; every view says all that is needed to read it alone."""
    return [
        f"{results.table.title}. All numbers in %.",
        data_said(results),
        profile_said(results),
        seeds_said(results),
        RULES_SAID[view.rule],
        HTER_SAID[view.hter],
        POLICY_SAID[view.policy],
        weighted_said(results),
        published_said(results),
    ]


def footnotes(results: Results) -> dict[str, tuple[int, list[str]]]:
    """For each row that lacks runs: its mark, and a line a missing run with the command that makes it."""
    notes: dict[str, tuple[int, list[str]]] = {}
    for row in results.rows:
        if row.missing:
            lines = [f"{row.method.name} seed {m.seed}, {m.reason}: `{m.command}`" for m in row.missing]
            notes[row.method.name] = (len(notes) + 1, lines)
    return notes
