"""PipeNet: its pipelines, its images at test, and where a vote enters its scores."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from reference.rivals import method as loop
from reference.rivals import pipenet
from reference.rivals.blocks.patches import grid_crops, resized
from spec_tests.support.layers import excited, normalised, residual_stage
from spec_tests.support.miniature import write_index
from spec_tests.support.networks import batch_of, images, scrambled, torch_settings_kept


def method(**given: Any) -> pipenet.Method:
    usual = {"image_size": 24, "resize": 20, "patch": 8, "width": 16, "places": 1, "mirrors": 1}
    options = pipenet.Options(index=Path(), run_dir=Path(), **(usual | given))
    return pipenet.Method(options, torch.device("cpu"))


# The network


def features(x: Tensor, pipeline: nn.Module) -> Tensor:
    norm, stem, norm_stem, _, _, first, second = pipeline.children()
    y = normalised(F.conv2d(normalised(x, norm), stem.weight, stride=2, padding=3), norm_stem).clamp_min(0)
    rows = torch.maximum(y[:, :, 0::2], y[:, :, 1::2])
    y = torch.maximum(rows[..., 0::2], rows[..., 1::2])
    return residual_stage(residual_stage(y, first, 1), second, 2)


@pytest.mark.parametrize("shared", [True, False])
def test_three_pipelines_meet_and_are_judged(shared: bool) -> None:
    model = scrambled(pipenet.PipeNet(16, shared), 1).eval().double()
    rgb, depth, ir = (x.double() for x in images(2, 24))
    inputs = [(rgb[:, [2, 1, 0]] + 1) / 2, (depth + 1) / 2, (ir + 1) / 2]
    kept = torch.tensor([[True, False, True], [False, True, False]])
    pipelines = [*model.pipelines] * (3 if shared else 1)
    with torch.inference_mode():
        together = zip(inputs, pipelines, model.excitations, strict=True)
        parts = [excited(features(x, pipeline), excite) for x, pipeline, excite in together]
        assert parts[0].shape == (2, 32, 3, 3)
        expected = model.head(torch.cat(parts, 1))
        torch.testing.assert_close(model(rgb, depth, ir), expected, rtol=1e-8, atol=1e-8)
        left = torch.cat([part * kept[:, i].view(2, 1, 1, 1) for i, part in enumerate(parts)], 1)
        torch.testing.assert_close(model(rgb, depth, ir, kept), model.head(left), rtol=1e-8, atol=1e-8)


def test_which_preset_shares_its_pipeline() -> None:
    for preset, count in (("table", 11_970_272), ("described", 13_336_428), ("released", 11_970_272)):
        with torch.device("meta"):
            model = method(preset=preset, width=64).build()
        assert sum(p.numel() for p in model.parameters()) == count


def test_a_pipeline_begins_as_torchvisions_resnet() -> None:
    torch.manual_seed(0)
    convolutions = [m for m in pipenet.pipeline(64).modules() if isinstance(m, nn.Conv2d)]
    for layer in convolutions:
        leaving = layer.out_channels * layer.kernel_size[0] * layer.kernel_size[1]
        assert layer.weight.std().item() == pytest.approx((2 / leaving) ** 0.5, rel=0.1)


# Images at test


def test_grey_weighs_the_colours() -> None:
    x = torch.tensor([1.0, 10.0, 100.0]).view(1, 3, 1, 1)
    assert pipenet.grey(x).item() == pytest.approx(0.299 + 5.87 + 11.4)
    assert pipenet.grey(x).shape == (1, 1, 1, 1)


def pixels(values: np.ndarray) -> Tensor:
    """(H, W) from 0 to 255 as a grey image (1, 3, H, W)."""
    return torch.from_numpy((values - 127.5) / 127.5).float().expand(1, 3, -1, -1)


def test_dark_rows_and_columns_are_left_out_wherever_they_are() -> None:
    values = np.array([[0, 0, 0, 0], [3, 90, 7, 91], [0, 7, 0, 1], [0, 8, 5, 70]], dtype=np.float64)
    torch.testing.assert_close(pipenet.lit(pixels(values)), pixels(values[[1, 3]][:, [1, 3]]))
    dark = pixels(np.full((3, 3), 7.0))
    assert torch.equal(pipenet.lit(dark), dark)


def test_blue_counts_as_red_does_elsewhere() -> None:
    x = torch.full((1, 3, 2, 2), -1.0)
    x[0, 2, 0, 0] = 2 * 26 / 255 - 1  # 26 of blue: 7.8 of 255 where it takes red's weight, 3 with its own
    x[0, 0, 1, 1] = 2 * 60 / 255 - 1  # 60 of red: 6.8 where it takes blue's weight, 18 with its own
    assert torch.equal(pipenet.lit(x), x[:, :, :1, :1])


def test_images_at_test_are_those_of_training_or_lit_and_grey() -> None:
    batch = batch_of(images(1, 24))
    for x in batch.images:
        x[0, :, :5], x[1, :, :, 7:9] = -1, -1
    plain = method(preset="table").images_at_test(batch)
    assert all(torch.equal(x, y) for x, y in zip(plain, batch.images, strict=True))
    rgb, depth, ir = method(preset="table", test_images="lit_and_grey").images_at_test(batch)
    for x, found in zip((batch.depth, batch.ir), (depth, ir), strict=True):
        torch.testing.assert_close(found[:1], resized(x[:1, :, 5:], 20))
        torch.testing.assert_close(found[1:], resized(torch.cat([x[1:, :, :, :7], x[1:, :, :, 9:]], 3), 20))
    weights = torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)
    grey = (resized(batch.rgb[:1, :, 5:], 20) * weights).sum(1, keepdim=True).expand(-1, 3, -1, -1)
    torch.testing.assert_close(rgb[:1], grey)
    assert method(preset="released").options.test_images == "lit_and_grey"


def test_crops_are_taken_of_the_images_at_test() -> None:
    made = method(preset="table", test_images="lit_and_grey")
    made.network = scrambled(made.build(), 2).eval()
    batch = batch_of(images(3, 24))
    crops = [grid_crops(x, 8, 1, 1)[0] for x in made.images_at_test(batch)]
    with torch.inference_mode():
        logits = made.network(*crops)
        torch.testing.assert_close(made.predict(batch)["cls"], logits[:, 0] - logits[:, 1])


# Votes


def test_frames_of_a_recording_have_its_vote_as_a_probability() -> None:
    chances = np.array([0.5, 0.1, 0.6, 0.7, 0.9, 0.5, 0.0001, 0.0001])
    scores = np.log(chances / (1 - chances)).astype(np.float32)
    recordings = np.array([4, 9, 4, 4, 9, 4, 4, 4])
    # of recording 4: median 0.5, median deviation 0.15, so that nothing is out; of a tenth of six nothing either
    mean = (0.5 + 0.6 + 0.7 + 0.5 + 0.0002) / 6
    expected = np.where(recordings == 9, 0.5, mean)
    for rule in ("sigma", "mad", "trimmed"):
        found = pipenet.voted(scores, recordings, rule, False)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_a_vote_may_skip_in_the_order_of_frames() -> None:
    chances = np.array([0.50, 0.98, 0.51, 0.99, 0.52, 0.53, 0.54, 0.50])
    scores, recordings = np.log(chances / (1 - chances)).astype(np.float32), np.zeros(8, dtype=np.int64)
    near = np.delete(chances, [1, 3]).mean()
    np.testing.assert_allclose(pipenet.voted(scores, recordings, "mad", True), near, rtol=1e-5)
    order = [0, 1, 3, 2, 4, 5, 6, 7]
    np.testing.assert_allclose(pipenet.voted(scores[order], recordings, "mad", False), near, rtol=1e-5)
    skipped = np.delete(chances, 1).mean()
    np.testing.assert_allclose(pipenet.voted(scores[order], recordings, "mad", True), skipped, rtol=1e-5)


def test_a_vote_enters_the_scores_of_every_set_where_it_is_asked_for() -> None:
    frames = np.array([0.0, 3.0, 3.2, 0.1, 0.05, 0.15, 2.0], dtype=np.float32)  # two far ones in a row
    scores = {"val": {"cls": frames}, "W": {"cls": -frames}}
    sets = {"val": np.arange(0, 14, 2), "W": np.arange(1, 15, 2)}
    recording = np.array([0, 1] * 6 + [2, 3])
    training: Any = SimpleNamespace(predict=lambda *_: scores, faces=SimpleNamespace(recording=recording))
    made = method(preset="table")
    made.network = nn.Identity()
    assert made.evaluate(training, sets) is scores
    for preset, skips in (("described", False), ("released", True)):
        made = method(preset=preset, vote="mad")
        made.network = nn.Identity()
        found = made.evaluate(training, sets)
        for name, rows in sets.items():
            expected = pipenet.voted(scores[name]["cls"], recording[rows], "mad", skips)
            np.testing.assert_array_equal(found[name]["cls"], expected)
            assert not np.array_equal(expected, pipenet.voted(scores[name]["cls"], recording[rows], "mad", not skips))
        assert method(preset=preset).options.vote == "sigma"


def test_a_run_keeps_the_votes(tmp_path: Path) -> None:
    usual = {"image_size": 24, "resize": 20, "patch": 8, "width": 16, "places": 1, "mirrors": 1, "batch_size": 4}
    places = {"index": write_index(tmp_path), "run_dir": tmp_path / "run", "cache_dir": tmp_path / "cache"}
    with torch_settings_kept():
        loop.train(pipenet.Method, pipenet.Options(**places, **usual, epochs=1, device="cpu", vote="trimmed"))
    with np.load(tmp_path / "run" / "scores" / "W.npz", allow_pickle=False) as saved:
        scores = saved["scores"][0]
    assert ((scores > 0) & (scores < 1)).all()
    assert len(np.unique(scores)) <= 8 < len(scores)  # four subjects, each with a bona fide and an attack recording
