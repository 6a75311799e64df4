"""What MMDA's released script says of a test list: `test` in train.py and `performances_ZeroShot` in
utils/utils_FAS_MultiModal.py, murInJ/MMDA at 547f9b2. The rule `released` reports these numbers, no other rule does.

  scores  of MMDA, the bona fide class's part of the float32 softmax: scores far from the boundary become equal
  curve   scikit-learn's roc_curve as it is called without options: thresholds at which the curve runs straight on, by
          steps of one size, are left out
  HTER    (FPR + 1 − TPR) / 2 at the threshold that is left with the least |TPR + FPR − 1|, the strictest among equals
  AUC     the area under the curve, to which what is left out adds nothing

Its HTER is therefore near the EER of reference/metrics.py, but not equal to it: the threshold of equal errors can lie
in such a straight run. The script keeps the least HTER and the greatest AUC of every head apart from each other.
"""

import numpy as np
from numpy.typing import NDArray

from reference import metrics


def softmax(scores: NDArray[np.floating]) -> NDArray[np.float32]:
    """The bona fide class's part of two logits whose difference is `scores` (any shape), as torch has it in float32."""
    difference = scores.astype(np.float32)
    lesser = np.exp(-np.abs(difference))
    return np.where(difference < 0, lesser, np.float32(1)) / (1 + lesser)


def chosen_threshold(attacks: NDArray[np.int64], live: NDArray[np.int64]) -> int:
    """Which of the T distinct scores, counted from the highest down, is the script's threshold.

    attacks, live (T,): how many are accepted at each. The script's curve also has a point at which nobody is accepted;
    it is never nearer to equal errors than another one, and its HTER is that of the last, at which everybody is.
    """
    kept = np.full(attacks.size, True)
    kept[1:-1] = (np.diff(attacks, 2) != 0) | (np.diff(live, 2) != 0)
    left = np.flatnonzero(kept)
    return int(left[np.argmin(np.abs(live[left] / live[-1] + attacks[left] / attacks[-1] - 1))])


def hter_auc(scores: NDArray[np.floating], bonafide: NDArray[np.bool_]) -> tuple[float, float]:
    """The script's HTER and AUC, in [0, 1], of scores (N,) as it judges them; bonafide (N,) has both classes."""
    order = np.argsort(-scores)
    falling = scores[order]
    last = np.flatnonzero(np.append(falling[1:] != falling[:-1], True))  # of each distinct score
    live = np.cumsum(bonafide[order], dtype=np.int64)[last]
    attacks = last + 1 - live
    at = chosen_threshold(attacks, live)
    return float((attacks[at] / attacks[-1] + (1 - live[at] / live[-1])) / 2), metrics.auc(scores, bonafide)
