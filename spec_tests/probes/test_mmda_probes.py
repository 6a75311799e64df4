"""The batch-leak probe and the pictures of embeddings, on tiny MMDA runs."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from data_manifests.errors import BadInput
from data_manifests.index import load_index
from reference import mmda
from reference.mmda import Options
from reference.probes import batch_leak, embeddings
from spec_tests.support import miniature
from spec_tests.support.tiny_clip import SIDE, tiny_clip


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    threads = torch.get_num_threads()
    monkeypatch.setattr(mmda, "load_clip", lambda *_: tiny_clip())
    yield
    torch.use_deterministic_algorithms(False)
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return miniature.write_index(tmp_path_factory.mktemp("index"), subjects=8, frames=2)


@pytest.fixture(scope="module")
def trained(index: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A finished run of a preset on C and S, tested on W."""
    folder = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mmda, "load_clip", lambda *_: tiny_clip())
        for preset in ("released", "batch_free"):
            mmda.train(
                Options(
                    index=index,
                    run_dir=folder / preset,
                    preset=preset,
                    cache_dir=folder / "cache",
                    image_size=SIDE,
                    batch_size=8,
                    epochs=1,
                    learning_rate=1e-3,
                    device="cpu",
                    sources="CS",
                    targets="W",
                    layers=1,
                    clip="phantom",
                    score_tests="every",
                )
            )
    return {preset: folder / preset for preset in ("released", "batch_free")}


def options(index: Path, out: Path, *run_dirs: Path, head: str = "cls") -> batch_leak.Options:
    cache = index.parent / "cache"
    return batch_leak.Options(
        index=index, run_dirs=[*run_dirs], out=out, repeats=3, cache_dir=cache, device="cpu", head=head
    )


@given(seed=st.integers(0, 2**31), live=st.integers(1, 20), attacks=st.integers(1, 40))
def test_mixed_order_is_a_permutation_without_long_stretches_of_one_class(seed: int, live: int, attacks: int) -> None:
    labels = np.random.default_rng(seed).permutation(np.repeat([True, False], [live, attacks]))
    order = batch_leak.mixed_order(labels, np.random.default_rng(seed))
    assert sorted(order) == [*range(live + attacks)]
    rare = labels[order] == (live <= attacks)
    gaps = np.diff(np.flatnonzero(rare))
    often = -(-max(live, attacks) // min(live, attacks))
    assert gaps.size == 0 or gaps.max() <= often + 2  # one more where two of both classes share a place


def test_list_order_is_by_class_then_recording_then_frame(index: Path) -> None:
    loaded = load_index(index)
    rows = batch_leak.list_order(loaded, loaded.split("official", "test"))
    keys = [(not loaded.rows[i].bonafide, loaded.rows[i].clip_id, loaded.rows[i].frame) for i in rows]
    assert keys == sorted(keys)
    assert len({k[0] for k in keys}) == 2


def test_the_share_of_batches_of_one_class() -> None:
    assert batch_leak.one_class_share(np.array([1, 1, 1, 0, 0, 1, 0], bool), 3) == pytest.approx(2 / 3)


def test_a_released_model_is_told_by_its_batch_and_a_batch_free_one_is_not(
    index: Path, trained: dict[str, Path], tmp_path: Path
) -> None:
    for preset, moves in (("released", True), ("batch_free", False)):
        probe = batch_leak.open_probe(options(index, tmp_path), trained[preset])
        for module in probe.run.model.modules():
            if isinstance(module, mmda.MixtureOfExperts):
                module.gate.weight.data *= 10  # a router that is sure of the first expert leaves the second to chance
        ways = batch_leak.measure(probe, options(index, tmp_path))
        for way in ("list", "shuffled", "mixed"):
            apart = np.abs(ways[way]["scores"] - ways["single"]["scores"]).max()
            assert (apart > 1e-5) == moves, way
        drawn = np.abs(ways["redrawn"]["scores"] - ways["single"]["scores"]).max()
        assert (drawn > 0) == moves
    assert ways["list"]["one_class_batches"]["mean"] > ways["mixed"]["one_class_batches"]["mean"] == 0
    assert ways["list"]["auc"]["sd"] is None
    assert ways["shuffled"]["auc"]["n"] == 3


def test_the_probe_in_list_order_scores_as_the_run_did_but_for_the_draw(
    index: Path, trained: dict[str, Path], tmp_path: Path
) -> None:
    probe = batch_leak.open_probe(options(index, tmp_path), trained["batch_free"])
    rows = probe.lists["test"]
    scores = probe.scores("test", np.arange(rows.size), 3, 0, "align1")
    with np.load(trained["batch_free"] / "scores" / "W.npz", allow_pickle=False) as f:
        saved = dict(zip(f["sample_id"], f["head_scores"][-1, list(f["heads"]).index("align1")], strict=True))
    expected = [saved[sample] for sample in probe.run.faces.sample_id[rows]]
    np.testing.assert_allclose(scores, expected, rtol=1e-4, atol=1e-4)


def test_the_probe_writes_table_and_picture(index: Path, trained: dict[str, Path], tmp_path: Path) -> None:
    batch_leak.run(options(index, tmp_path / "leak", *trained.values()))
    names = {"table.md", "table.json", "scores.svg", "scores.png", "SHA256SUMS"}
    assert {p.name for p in (tmp_path / "leak").iterdir()} == names
    table = json.loads((tmp_path / "leak" / "table.json").read_text())
    assert table["runs"].keys() == {"released, CS → W", "batch_free, CS → W"}
    lines = (tmp_path / "leak" / "table.md").read_text().splitlines()
    assert "tiny CLIP, untrained" in lines[0]
    header, *rows = table["text"]
    assert [line for line in lines if line.startswith("| ")] == [f"| {' | '.join(row)} |" for row in table["text"]]
    assert header == ["run", "scored", *batch_leak.COLUMNS.values()]
    assert [row[:2] for row in rows] == [[name, way] for name in table["runs"] for way in batch_leak.WAYS.values()]
    assert all("± " in cell and cell.endswith("(n = 3)") for cell in rows[1][2:])
    figures = table["runs"][rows[0][0]]["list"]
    assert rows[0][2:] == [f"{figures[column]['mean']:.2f}" for column in batch_leak.COLUMNS]


def test_the_probe_refuses_what_it_cannot_compare(index: Path, trained: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="--head align9: this run has cls, align0"):
        batch_leak.run(options(index, tmp_path, trained["released"], head="align9"))
    with pytest.raises(BadInput, match="two runs"):
        batch_leak.run(options(index, tmp_path, trained["released"], trained["released"]))
    other = miniature.write_index(tmp_path / "other", subjects=4)
    with pytest.raises(BadInput, match="another index"):
        batch_leak.run(options(other, tmp_path, trained["released"]))


def test_neighbours_vote_by_cosine_and_leave_their_own_recording_out() -> None:
    rng = np.random.default_rng(0)
    live = np.arange(60) % 2 == 0
    points = np.where(live, 1.0, -1.0)[:, None] + 0.1 * rng.normal(size=(60, 4))
    recording = np.arange(60)
    assert embeddings.neighbour_auc(points.astype(np.float32), live, recording) == 1
    # Every recording is a cluster far from all others: only a sample's own recording tells its class, and has no vote.
    lone = np.repeat(rng.normal(size=(10, 64)), 6, axis=0)
    labels = np.repeat(np.arange(10) % 2 == 0, 6)
    auc = embeddings.neighbour_auc(lone.astype(np.float32), labels, np.repeat(np.arange(10), 6))
    assert 0.1 < auc < 0.9


def test_both_pictures_are_drawn_and_say_what_they_are_of(
    index: Path, trained: dict[str, Path], tmp_path: Path
) -> None:
    embeddings.run(
        embeddings.Options(
            index=index, run_dir=trained["batch_free"], out=tmp_path, cache_dir=index.parent / "cache", device="cpu"
        )
    )
    names = {"figure5.svg", "figure5.png", "figure6.svg", "figure6.png", "embeddings.json"}
    assert names <= {p.name for p in tmp_path.iterdir()}
    figures = json.loads((tmp_path / "embeddings.json").read_text())
    assert figures["samples"] == 12
    assert figures["neighbours_auc"].keys() == {"clip", "v_0", "v_prime_0"}
    assert figures["inputs"] == "tiny CLIP, untrained"
