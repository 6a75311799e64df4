"""The learning rate of a step (mmFAS, section 4; L2 of `reference.training`).

In a file of its own: the stand-in CLIP needs it, and shall not be trained again whenever the harness changes.
"""

import math


def learning_rate(step: int, steps: int, highest: float, warmup: float) -> float:
    """The rate of step 0 <= `step` < `steps`.

    With w = round(warmup * steps): highest * (step + 1) / w while step < w, then
    highest * (1 + cos(pi * (step - w) / (steps - w))) / 2, which would be 0 at step = steps.
    """
    rising = round(warmup * steps)
    if step < rising:
        return highest * (step + 1) / rising
    return highest * (1 + math.cos(math.pi * (step - rising) / (steps - rising))) / 2
