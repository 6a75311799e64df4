"""The model of what whole runs take: exact where runs follow it, and checked on one that it was not fitted to."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_manifests.index import load_index
from paper_tables.planning import budget, scale
from spec_tests.support.miniature import write_index


@given(
    constant=st.floats(0, 100), of_a_row=st.floats(0, 0.1), training=st.floats(1e-4, 1.0), scoring=st.floats(1e-4, 1.0)
)
def test_runs_that_follow_the_model_are_fitted_and_predicted_exactly(constant, of_a_row, training, scoring):
    def run(times):
        rows = 1000 * times
        seconds = 40 * times * training + 700 * times * scoring + constant + of_a_row * rows
        return scale.Run(times, rows, 40 * times, 700 * times, seconds, 10**9 + 50 * rows)

    model = scale.fit([run(times) for times in scale.FITTED], training, scoring)
    seconds, memory = scale.predicted(model, run(scale.CHECKED))
    assert seconds == pytest.approx(run(scale.CHECKED).seconds)
    assert memory == pytest.approx(run(scale.CHECKED).memory_bytes)


def test_data_taken_several_times_are_as_much_more(tmp_path):
    index = load_index(write_index(tmp_path / "data", subjects=4, frames=2))
    grown = scale.repeated(index, 3, tmp_path / "grown")
    assert len(grown.rows) == 3 * len(index.rows)
    for protocol, splits in index.protocols.items():
        for split, members in splits.items():
            assert grown.split(protocol, split).size == 3 * members.size
    assert np.unique([row.clip_id for row in grown.rows]).size == 3 * np.unique([r.clip_id for r in index.rows]).size


def test_the_committed_measurement_is_of_the_model_as_it_is():
    found = json.loads(budget.SCALE.read_text())
    runs = [scale.Run(**run) for run in found["runs"]]
    fitted = [run for run in runs if run.times in scale.FITTED]
    model = scale.fit(fitted, found["model"]["training_seconds"], found["model"]["scoring_seconds"])
    assert model == found["model"]
    (checked,) = (run for run in runs if run.times == scale.CHECKED)
    seconds, memory = scale.predicted(model, checked)
    assert found["error"] == {
        "seconds": seconds / checked.seconds - 1, "memory": memory / checked.memory_bytes - 1,
    }  # fmt: skip
    assert found["settings"] == " ".join(scale.SETTINGS)
    assert found["device"] in budget.checked(found)
