"""The two CLIP rows: how images and captions meet, and what is trained."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from reference.rivals import clip_finetuned, clip_zero_shot, method
from reference.rivals.blocks import clip_classifier
from reference.rivals.blocks.clip_classifier import ClipClassifier
from spec_tests.support.miniature import write_index
from spec_tests.support.networks import images, torch_settings_kept
from spec_tests.support.tiny_clip import SIDE, tiny_clip

CAPTIONS = [["a photo of a print", "a screen"], ["a living face"]]


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """`--clip phantom` is a tiny untrained CLIP here."""
    monkeypatch.setattr(clip_classifier, "load_clip", lambda *_: tiny_clip())
    with torch_settings_kept():
        yield


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_index(tmp_path_factory.mktemp("index"), subjects=6, frames=2)


def usual(index: Path, run_dir: Path) -> dict:
    return {
        "index": index, "run_dir": run_dir, "cache_dir": index.parent / "cache", "image_size": SIDE, "clip": "phantom",
        "sources": "CS", "targets": "W", "device": "cpu", "batch_size": 8,
    }  # fmt: skip


def test_bona_fide_stands_first() -> None:
    """With the captions exchanged, so are the columns; and each is a cosine."""
    pictures = images(0, SIDE)
    cosines = ClipClassifier(tiny_clip(), CAPTIONS, "released")(*pictures) / tiny_clip().scale
    assert cosines.abs().max() <= 1
    turned = ClipClassifier(tiny_clip(), CAPTIONS[::-1], "released")(*pictures) / tiny_clip().scale
    torch.testing.assert_close(turned, cosines.flip(-1))


def test_zero_shot_scores_without_training(index: Path, tmp_path: Path) -> None:
    options = clip_zero_shot.Options(**usual(index, tmp_path / "run"), missing=("I",))
    method.train(clip_zero_shot.Method, options)
    with np.load(tmp_path / "run" / "scores" / "W-I.npz", allow_pickle=False) as f:
        assert f["scores"].shape == (1, 8)
        assert np.ptp(f["scores"]) > 0
    assert not [*(tmp_path / "run").glob("*.safetensors")]


def test_fine_tuned_clip_trains_both_towers(index: Path, tmp_path: Path) -> None:
    options = clip_finetuned.Options(**usual(index, tmp_path / "run"), epochs=1, learning_rate=1e-3)
    method.train(clip_finetuned.Method, options)
    weights = load_file(tmp_path / "run" / "model.safetensors")
    before = tiny_clip().model.state_dict()
    for name in ("visual.proj", "text_projection", "logit_scale"):
        assert not torch.equal(weights[f"clip.model.{name}"], before[name]), name
