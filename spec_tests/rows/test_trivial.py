"""The predictors that look at nothing."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_manifests.errors import BadInput
from data_manifests.index import load_index
from reference import metrics
from reference.rivals import trivial
from spec_tests.support.miniature import write_index

seeds = st.integers(0, 2**32 - 1)


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_index(tmp_path_factory.mktemp("miniature"))


def trivial_run(index: Path, folder: Path, predictor: Any, seed: int = 0) -> dict[str, dict[str, np.ndarray]]:
    trivial.run(trivial.Options(index=index, run_dir=folder, predictor=predictor, seed=seed))
    assert (folder / "done").exists()
    found = {}
    for path in (folder / "scores").iterdir():
        with np.load(path, allow_pickle=False) as saved:
            found[path.stem] = {k: saved[k] for k in saved.files}
    return found


@pytest.mark.parametrize(("predictor", "far", "frr"), [("all_spoof", 0, 1), ("all_live", 1, 0)])
def test_constant_predictors(index: Path, tmp_path: Path, predictor: str, far: int, frr: int) -> None:
    sets = trivial_run(index, tmp_path, predictor)
    assert set(sets) == {"val", "C", "S", "W"}
    threshold = json.loads((tmp_path / "args.json").read_text())["arguments"]["fixed_threshold"]
    assert threshold == 0.0
    (line,) = map(json.loads, (tmp_path / "metrics.jsonl").read_text().splitlines())
    for name, saved in sets.items():
        assert metrics.far_frr(saved["scores"][0], saved["bonafide"], threshold) == (far, frr)
        assert line["sets"][name]["auc"] == line["sets"][name]["eer"] == 0.5
        assert saved["present"].all()
    assert sorted(sets["W"]["sample_id"].tolist()) == sorted(
        r.sample_id for r in load_index(index).rows if r.dataset == "W"
    )


@given(seed=seeds)
@settings(max_examples=5)
def test_the_coin_is_fair_and_fixed_for_each_sample(seed: int) -> None:
    names = np.array([f"W/{i}" for i in range(400)])
    decisions = trivial.decide("coin", names, seed)
    assert set(decisions.tolist()) == {-1.0, 1.0}
    assert 120 < (decisions == 1).sum() < 280  # a fair coin leaves this range once in 10^15
    np.testing.assert_array_equal(trivial.decide("coin", names[::-1], seed), decisions[::-1])
    assert (trivial.decide("coin", names, seed + 1) != decisions).any()


def test_a_trivial_run_is_kept_and_refuses_another(index: Path, tmp_path: Path) -> None:
    first = trivial_run(index, tmp_path, "coin")
    again = trivial_run(index, tmp_path, "coin")
    for name, saved in first.items():
        np.testing.assert_array_equal(saved["scores"], again[name]["scores"])
    with pytest.raises(BadInput, match="seed"):
        trivial_run(index, tmp_path, "coin", seed=1)
