"""Places of data sets, and what training on several asks of an index."""

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from data_manifests.errors import BadInput
from reference.rivals.blocks import domains
from reference.training import Training
from spec_tests.support.miniature import write_index
from spec_tests.support.networks import torch_settings_kept


@given(st.lists(st.integers(0, 9), min_size=1, max_size=20), st.sets(st.integers(0, 9)))
def test_a_place_is_where_the_number_stands(numbers: list[int], others: set[int]) -> None:
    known = sorted({*numbers, *others})
    found = domains.places(torch.tensor(numbers), known)
    assert found.dtype == torch.int64
    assert found.tolist() == [known.index(number) for number in numbers]


@given(st.sets(st.integers(0, 9), min_size=1), st.integers(0, 9))
def test_a_data_set_that_does_not_train_is_refused(known: set[int], stranger: int) -> None:
    if stranger not in known:
        with pytest.raises(RuntimeError, match="other data sets"):
            domains.places(torch.tensor([min(known), stranger]), sorted(known))


def options(index: Path, folder: Path, sources: str, batch_size: int) -> domains.Options:
    return domains.Options(
        index=index, run_dir=folder / "run", cache_dir=folder / "cache", protocol="official", sources=sources,
        image_size=8, batch_size=batch_size, steps=3, device="cpu",
    )  # fmt: skip


def test_a_training_draws_from_every_source(tmp_path: Path) -> None:
    index = write_index(tmp_path)
    given = options(index, tmp_path, "SW", 8)
    with torch_settings_kept(), Training(given, "nobody", Path(domains.__file__)) as training:
        assert training.sampler.steps == 3
        assert len(training.domains) == 2
        for places in training.sampler.epoch(0):
            rows = training.train[places]
            for number in training.domains:
                of_set = rows[training.faces.domain[rows] == number]
                assert training.faces.bonafide[of_set].tolist().count(True) == 2
                assert len(of_set) == 4


def test_a_batch_that_cannot_be_shared_is_refused_before_a_folder_is_made(tmp_path: Path) -> None:
    index = write_index(tmp_path)
    with pytest.raises(BadInput, match=r"--batch-size 8: .*3 data sets; give a multiple of 6"):
        Training(options(index, tmp_path, "", 8), "nobody", Path(domains.__file__))
    assert not (tmp_path / "run").exists()


def test_an_epoch_has_no_negative_number_of_steps(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="--steps -1: give at least 0"):
        domains.Options(index=tmp_path, run_dir=tmp_path, steps=-1).check()
