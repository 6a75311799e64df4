"""MMDA's released evaluation by scikit-learn, as its authors call it: an oracle of paper_tables/numbers/released.py."""

import numpy as np
from numpy.typing import ArrayLike
from sklearn.metrics import auc, roc_curve


def released_script(scores: ArrayLike, bonafide: ArrayLike) -> tuple[float, float]:
    """HTER and AUC in [0, 1] of scores (N,); bonafide (N,)."""
    fpr, tpr, _ = roc_curve(np.asarray(bonafide).astype(int), scores, pos_label=1)
    at = np.argmin(np.abs(tpr + fpr - 1.0))
    return (fpr[at] + (1 - tpr[at])) / 2.0, auc(fpr, tpr)
