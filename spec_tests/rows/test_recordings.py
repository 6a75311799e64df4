"""Epochs of one frame of each recording."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_manifests.errors import BadInput
from reference.batches import ShuffledSampler
from reference.rivals.blocks.recordings import RecordingSampler, SamplerAmong, frame_of_each


@given(
    counts=st.lists(st.integers(1, 4), min_size=2, max_size=12),
    batch_size=st.sampled_from([2, 4]),
    seed=st.integers(0, 9),
    epoch=st.integers(0, 9),
)
def test_an_epoch_has_a_frame_of_each_recording(counts: list[int], batch_size: int, seed: int, epoch: int) -> None:
    recording = np.random.default_rng(seed).permutation(np.repeat(10 * np.arange(len(counts)), counts))
    sampler = RecordingSampler(recording, batch_size, seed, 2)
    batches = sampler.epoch(epoch)
    assert len(batches) == sampler.steps
    assert all(len(batch) == batch_size for batch in batches[:-1])
    assert len(batches[-1]) > 1
    chosen = recording[np.concatenate(batches)].tolist()
    assert len(set(chosen)) == len(chosen) == len(counts) - (len(counts) % batch_size == 1)
    again = RecordingSampler(recording, batch_size, seed, 2).epoch(epoch)
    assert [x.tolist() for x in batches] == [x.tolist() for x in again]


def test_epochs_and_seeds_differ_and_every_frame_has_its_turn() -> None:
    recording = np.repeat(np.arange(8), 3)
    epochs = [np.concatenate(RecordingSampler(recording, 4, 0).epoch(e)) for e in range(40)]
    assert len({tuple(epoch) for epoch in epochs}) == 40
    assert set(np.concatenate(epochs).tolist()) == set(range(24))
    assert len({int(recording[epoch[0]]) for epoch in epochs}) > 4
    other = RecordingSampler(recording, 4, 1).epoch(0)
    assert np.concatenate(other).tolist() != epochs[0].tolist()


def test_a_recording_shows_one_frame_an_epoch_each_as_often() -> None:
    recording = np.array([7, 3, 3, 9, 7, 3, 2, 9, 3])
    sampler = RecordingSampler(recording, 3, 5)
    assert sampler.steps == 2
    shown, firsts = [], set()
    for epoch in range(300):
        parts = sampler.epoch(epoch)
        assert [len(part) for part in parts] == [3, 1]
        frames = np.concatenate(parts)
        assert sorted(recording[frames].tolist()) == [2, 3, 7, 9]
        shown += frames.tolist()
        firsts.add(recording[frames[0]])
    counts = np.bincount(shown, minlength=9)
    assert counts.sum() == 1200
    assert (np.abs(counts - 300 / np.array([2, 4, 4, 2, 2, 4, 1, 2, 4])) < 50).all()
    assert firsts == {2, 3, 7, 9}
    np.testing.assert_array_equal(np.concatenate(sampler.epoch(4)), np.concatenate(sampler.epoch(4)))
    other = RecordingSampler(recording, 3, 6)
    assert any(not np.array_equal(np.concatenate(sampler.epoch(e)), np.concatenate(other.epoch(e))) for e in range(9))


def test_a_split_too_small_for_a_batch_is_refused() -> None:
    with pytest.raises(BadInput, match="has 1 frames or recordings, and a batch needs 2"):
        RecordingSampler(np.array([3, 3]), 4, 0, 2)
    assert RecordingSampler(np.array([3, 3]), 4, 0).steps == 1


def test_a_certain_frame_of_each_recording_is_its_last_where_it_is_short() -> None:
    recording = np.array([5, 5, 1, 5, 1, 8])
    assert frame_of_each(recording, 0).tolist() == [2, 0, 5]
    assert frame_of_each(recording, 1).tolist() == [4, 1, 5]
    assert frame_of_each(recording, 2).tolist() == [4, 3, 5]


def test_a_sampler_among_some_frames_gives_places_in_the_whole() -> None:
    inner = ShuffledSampler(4, 2, 7)
    among = SamplerAmong(np.array([3, 5, 8, 9]), inner)
    assert among.steps == 2
    expected = [np.array([3, 5, 8, 9])[places].tolist() for places in inner.epoch(1)]
    assert [places.tolist() for places in among.epoch(1)] == expected
