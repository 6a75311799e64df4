"""A learning rate that falls along a cosine again and again.

Loshchilov, Hutter: SGDR: Stochastic Gradient Descent with Warm Restarts. ICLR 2017, arXiv 1608.03983, Eq. 5.
"""

import math


def restarted_rate(progress: float, cycles: int, highest: float, lowest: float) -> float:
    """The rate at `progress` (0 to 1) through a training of `cycles` equal cycles: each falls from `highest` towards
    `lowest` along half a cosine, and the next begins at `highest` again."""
    within = progress * cycles % 1
    return lowest + (highest - lowest) * (1 + math.cos(math.pi * within)) / 2
