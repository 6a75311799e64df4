"""How far choosing on the test set takes a row from what a deployment would get, in resamples of the test subjects.

Everything is chosen anew in each resample (`bootstrap`) by whoever may look at it: epoch, head and threshold, as the
rule `oracle_pair` chooses them. The honest side keeps the epoch and the threshold of the source's validation set, which
is not resampled. All rows meet the same resamples, so that their gaps can be compared.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from paper_tables.declarations.table import Column
from paper_tables.numbers.cells import Resamples, Runs, evaluate
from paper_tables.numbers.selection import source_val
from reference.runs import HEADLINE

METRICS = ("hter", "auc")
HONEST, CHOSEN = {"hter": "hter:source_val", "auc": "auc"}, {"hter": "hter:target", "auc": "auc"}
Gaps = dict[str, NDArray[np.float64]]  # by metric, in points: one number a resample


def resampled_gaps(seeds: Mapping[int, Runs], column: Column, kinds: Sequence[str]) -> Gaps:
    """Each metric's gap (resamples,), the mean over seeds and over the column's places."""
    resamples = Resamples(kinds)
    found: dict[str, list[NDArray[np.float64]]] = {metric: [] for metric in METRICS}
    for place in column.places:
        for runs in seeds.values():
            run = runs[place.part]
            records = evaluate(run, [place.sets], kinds, run.heads or (HEADLINE,))
            honest = resamples.of(run, place.sets, source_val(records, "", "", place.head))
            pairs = [resamples.of(run, place.sets, record) for record in records]
            hter, auc = (np.stack([of[CHOSEN[metric]] for of in pairs]) for metric in METRICS)  # (pairs, resamples)
            best = np.lexsort((-auc, hter), axis=0)[:1]  # the least HTER, among equals the highest AUC
            for metric, values in zip(METRICS, (hter, auc), strict=True):
                found[metric].append(np.take_along_axis(values, best, 0)[0] - honest[HONEST[metric]])
    return {metric: 100 * np.mean(parts, axis=0) for metric, parts in found.items()}
