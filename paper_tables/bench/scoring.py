"""Groups of metrics, beside scikit-learn's and, where it is installed, torchmetrics' ROC."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from importlib.util import find_spec

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score, roc_curve

from paper_tables.bench.items import Group, Item, Setting
from reference import metrics

SIZES = (10**4, 10**5, 10**6, 10**7)
WITH_TORCHMETRICS = find_spec("torchmetrics") is not None


def scores_of(count: int) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Scores (count,) as runs keep them, and which samples are bona fide: three in ten."""
    draws = np.random.default_rng(0)
    bonafide = draws.random(count) < 0.3
    bonafide[:2] = False, True
    return (draws.normal(size=count) + bonafide).astype(np.float32), bonafide


@contextmanager
def of(setting: Setting, metric: str, count: int) -> Iterator[Sequence[Item]]:
    scores, bonafide = scores_of(count)
    if metric == "eer":
        items = [
            Item("EER", partial(metrics.eer, scores, bonafide), count, "scores"),
            Item("scikit-learn's ROC", partial(roc_curve, bonafide, scores), count, "scores"),
        ]
    else:
        items = [
            Item("AUC", partial(metrics.auc, scores, bonafide), count, "scores"),
            Item("scikit-learn's AUC", partial(roc_auc_score, bonafide, scores), count, "scores"),
        ]
    if WITH_TORCHMETRICS:
        library = import_module("torchmetrics.functional.classification")  # no dependency of this project
        theirs = library.binary_roc if metric == "eer" else library.binary_auroc
        work = partial(theirs, torch.from_numpy(scores), torch.from_numpy(bonafide).long())
        items.append(Item("torchmetrics", work, count, "scores"))
    yield items


def groups(setting: Setting) -> list[Group]:
    sizes = SIZES[:1] if setting.tiny else SIZES
    return [
        Group(f"{metric}-{count}", f"{metric.upper()} of {count:,} scores", partial(of, metric=metric, count=count),
              seconds=3, rounds=6 if count >= 10**7 else 15)
        for count in reversed(sizes)
        for metric in ("eer", "auc")
    ]  # fmt: skip
