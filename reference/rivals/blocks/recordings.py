"""Epochs of one frame of each recording, as the loaders of several papers read their videos."""

import numpy as np
from numpy.typing import NDArray

from data_manifests.errors import BadInput
from reference.batches import Sampler


class RecordingSampler:
    """One frame at random of each recording once an epoch, all shuffled; a pure function of the seed and the epoch.

    `recording` (n,) has the number of each frame's recording. The last batch may be smaller; one of fewer than `least`
    frames is left out. Raises BadInput where no batch is left.
    """

    def __init__(self, recording: NDArray[np.int64], batch_size: int, seed: int, least: int = 1) -> None:
        self.frames = [np.flatnonzero(recording == number) for number in np.unique(recording)]
        self.batch_size, self.seed = batch_size, seed
        whole, rest = divmod(len(self.frames), batch_size)
        self.steps = whole + (rest >= least)
        if not self.steps:
            raise BadInput(
                f"the training split has {len(self.frames)} frames or recordings, and a batch needs {least}; train on "
                "more"
            )

    def epoch(self, e: int) -> list[NDArray[np.int64]]:
        """Positions, int64 (B,) of each step, of epoch `e` counted from 0."""
        draws = np.random.default_rng([self.seed, e])
        chosen = draws.permutation([draws.choice(frames) for frames in self.frames])
        return [chosen[i * self.batch_size : (i + 1) * self.batch_size] for i in range(self.steps)]


def frame_of_each(recording: NDArray[np.int64], place: int) -> NDArray[np.int64]:
    """The position of one frame of each recording, the one at `place` counted from 0, or the last of fewer frames."""
    return np.array([np.flatnonzero(recording == number)[: place + 1][-1] for number in np.unique(recording)])


class SamplerAmong:
    """Another sampler's order of the frames `chosen`, int64, as positions in the whole training split."""

    def __init__(self, chosen: NDArray[np.int64], sampler: Sampler) -> None:
        self.chosen, self.sampler, self.steps = chosen, sampler, sampler.steps

    def epoch(self, e: int) -> list[NDArray[np.int64]]:
        """Positions, int64 (B,) of each step, of epoch `e` counted from 0."""
        return [self.chosen[places] for places in self.sampler.epoch(e)]
