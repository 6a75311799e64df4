"""A learning rate that falls in steps."""


def stepped_rate(done: int, highest: float, every: int, factor: float) -> float:
    """`highest` after `done` epochs (or training steps), multiplied by `factor` after every `every` of them."""
    return highest * factor ** (done // every)
