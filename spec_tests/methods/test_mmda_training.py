"""A whole MMDA run on images from disk: what it writes, that it learns and goes on bit for bit, what it refuses."""

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from data_manifests.errors import BadInput
from data_manifests.index import load_index
from reference import mmda, runs
from reference.batches import Batch
from reference.brightness import SPACES
from reference.evaluation import missing_in
from reference.faces import open_faces
from reference.mmda import MMDA, Adaptor, Options, Readings, Tower
from reference.options import readings
from spec_tests.support import miniature
from spec_tests.support.tiny_clip import DIM, SIDE, tiny_clip

CAPTIONS = [["a photo of a print", "a screen"], ["a living face"]]


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """`--clip phantom` is a tiny untrained CLIP here, and torch's settings are put back after each run."""
    threads = torch.get_num_threads()
    monkeypatch.setattr(mmda, "load_clip", lambda *_: tiny_clip())
    yield
    torch.use_deterministic_algorithms(False)
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return miniature.write_index(tmp_path_factory.mktemp("index"), subjects=6, frames=2)


def options(index: Path, run_dir: Path, **more: object) -> Options:
    """Two epochs of three steps on C and S, tested on W."""
    usual: dict[str, object] = {
        "cache_dir": index.parent / "cache",
        "image_size": SIDE,
        "batch_size": 8,
        "epochs": 2,
        "learning_rate": 1e-3,
        "device": "cpu",
        "sources": "CS",
        "targets": "W",
        "layers": 1,
        "clip": "phantom",
        "score_tests": "every",
    }
    return Options(index=index, run_dir=run_dir, **(usual | more))  # type: ignore[arg-type]


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    def command(main: Callable[[], None], index: Path, run_dir: Path, *more: str) -> str:
        """The one sentence with which a command line refuses its input."""
        where = ["--index", str(index), "--run-dir", str(run_dir), "--image-size", str(SIDE), "--clip", "phantom"]
        monkeypatch.setattr(sys, "argv", ["mmda", *where, *more])
        with pytest.raises(SystemExit) as stop:
            main()
        said = capsys.readouterr().err.strip()
        assert stop.value.code == 2, said
        assert said.startswith("error: ")
        assert "\n" not in said
        return said

    return command


@pytest.mark.parametrize("preset", ["paper", "released", "batch_free"])
def test_every_preset_runs_and_keeps_the_scores_of_all_heads(index: Path, tmp_path: Path, preset: str) -> None:
    # The third step has four rows: of micro-batches of three, the last is a single row.
    mmda.train(options(index, tmp_path / "run", preset=preset, missing=("D", "DI"), batch_size=10))
    run = tmp_path / "run"
    assert (run / "done").exists()
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [0, 1]
    assert lines[0]["sets"].keys() == {"val", "W", "W-D", "W-DI"}
    for name in lines[0]["sets"]:
        with np.load(run / "scores" / f"{name}.npz", allow_pickle=False) as f:
            assert f["heads"].tolist() == ["cls", "align0", "align1", "align2"]
            assert f["head_scores"].shape == (2, 4, len(f["sample_id"]))
            np.testing.assert_array_equal(f["head_scores"][:, 0], f["scores"])
            assert all(s.startswith(("C/", "S/") if name == "val" else "W/") for s in f["sample_id"])
            there = ~np.isin(["R", "D", "I"], [*missing_in(name)])
            assert (f["present"] == there).all()
    args = json.loads((run / "args.json").read_text())
    assert args["arguments"]["batch_attention"] == (preset == "released")
    assert args["arguments"]["caption_sentences"]
    assert "reference/clip.py" in args["sources"]
    kept = load_file(run / "model.safetensors")
    assert any(name.startswith("clip.") for name in kept) == (preset != "paper")


@pytest.mark.parametrize("preset", ["paper", "released"])
def test_an_interrupted_run_goes_on_bit_for_bit(
    index: Path, tmp_path: Path, preset: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    more = {"preset": preset, "checkpoint_every": 1}
    mmda.train(options(index, tmp_path / "whole", **more))
    saved, save = [0], runs.Run.save_checkpoint

    def interrupted(self: runs.Run, state: dict[str, object]) -> None:
        save(self, state)
        saved[0] += 1
        if saved[0] in (1, 4):
            self.close()
            raise KeyboardInterrupt

    monkeypatch.setattr(runs.Run, "save_checkpoint", interrupted)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            mmda.train(options(index, tmp_path / "pieces", **more))
    mmda.train(options(index, tmp_path / "pieces", **more))
    whole, pieces = (load_file(tmp_path / name / "model.safetensors") for name in ("whole", "pieces"))
    assert whole.keys() == pieces.keys()
    assert all(np.array_equal(whole[name], pieces[name]) for name in whole)
    for name in ("val", "W"):
        files = [np.load(tmp_path / run / "scores" / f"{name}.npz", allow_pickle=False) for run in ("whole", "pieces")]
        np.testing.assert_array_equal(files[0]["head_scores"], files[1]["head_scores"])


def test_it_learns(index: Path, tmp_path: Path) -> None:
    mmda.train(options(index, tmp_path / "run", epochs=8, augmentation="none", evaluate_every=8))
    last = json.loads((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()[-1])
    assert last["sets"]["W"]["auc"] > 0.9


def test_a_restored_model_gives_the_saved_scores_again(index: Path, tmp_path: Path) -> None:
    mmda.train(options(index, tmp_path / "run"))
    model, restored = mmda.restore(tmp_path / "run", torch.device("cpu"))
    assert restored.batch_attention is False
    loaded = load_index(index)
    faces = open_faces(loaded, SIDE, index.parent / "cache")
    rows = loaded.split("official", "test")
    rows = rows[faces.dataset[rows] == "W"]
    tower = Tower(model, faces, "black", tmp_path, torch.device("cpu"))
    again = mmda.evaluate(model, tower, {"W": rows}, 8, 0, 1)
    with np.load(tmp_path / "run" / "scores" / "W.npz", allow_pickle=False) as f:
        np.testing.assert_allclose(again["W"]["align2"], f["head_scores"][-1, -1], rtol=1e-5, atol=1e-5)


def test_a_changed_clip_or_unfinished_folder_is_not_restored(
    index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mmda.train(options(index, tmp_path / "run", epochs=1))
    with monkeypatch.context() as patch:
        patch.setattr(mmda, "load_clip", lambda *_: tiny_clip(1))
        with pytest.raises(BadInput, match="another CLIP"):
            mmda.restore(tmp_path / "run", torch.device("cpu"))
    (tmp_path / "run" / "done").unlink()
    with pytest.raises(BadInput, match="no finished run"):
        mmda.restore(tmp_path / "run", torch.device("cpu"))


def test_kept_features_give_the_training_that_encoding_every_step_gives(
    index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A frozen tower looks once: the same losses and scores, up to the rounding of other batch sizes."""
    mmda.train(options(index, tmp_path / "kept", preset="paper"))
    features = Tower.features

    def encoded(self: Tower, rows: np.ndarray) -> torch.Tensor:
        if rows.size == 24:  # the training rows: as if the tower could change
            return None  # type: ignore[return-value]
        return features(self, rows)

    monkeypatch.setattr(Tower, "features", encoded)
    mmda.train(options(index, tmp_path / "encoded", preset="paper"))
    files = [np.load(tmp_path / run / "scores" / "W.npz", allow_pickle=False) for run in ("kept", "encoded")]
    np.testing.assert_allclose(files[0]["head_scores"], files[1]["head_scores"], rtol=1e-3, atol=1e-3)


def test_the_text_tower_once_a_step_has_the_gradient_of_once_a_micro_batch() -> None:
    model = MMDA(tiny_clip(), CAPTIONS, Adaptor(layers=1, dim=DIM, readings=Readings(preset="batch_free"))).train()
    g = torch.Generator().manual_seed(0)
    tokens, labels = torch.randn(8, 3, DIM, generator=g), torch.tensor([0, 1] * 4)
    domains = torch.zeros(8, dtype=torch.long)
    draws = torch.Generator().manual_seed(0)
    for at in (slice(0, 6), slice(6, 8)):  # one step's micro-batches of six rows at most
        output = model.adaptor.outputs(tokens[at], model.encode_captions(), domains[at], model.clip.scale, draws)
        (model.adaptor.losses(output, labels[at])["loss"] * len(labels[at]) / 8).backward()
    each = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    void = torch.zeros(8, 3, 0, 0)
    batch = Batch(void, void, void, 1.0 - labels, domains, domains, torch.arange(8))
    standing = torch.optim.SGD(model.parameters(), lr=0.0)
    mmda.step(model, standing, batch, lambda piece: tokens[piece.rows], None, torch.Generator().manual_seed(0), 6)
    once = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    assert each.keys() == once.keys()
    assert "clip.model.token_embedding.weight" in once
    for name in each:
        torch.testing.assert_close(each[name], once[name], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("freeze", "image", "text", "scale"),
    [("none", True, True, True), ("text", True, False, True), ("all", False, False, False)],
)
def test_freeze_trains_what_it_says(
    index: Path, tmp_path: Path, freeze: str, image: bool, text: bool, scale: bool
) -> None:
    mmda.train(options(index, tmp_path / "run", freeze=freeze, epochs=1))
    before = tiny_clip().model.state_dict()
    model, _ = mmda.restore(tmp_path / "run", torch.device("cpu"))
    after = model.clip.model.state_dict()
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert ("visual.proj" in moved) == image
    assert ("text_projection" in moved) == text
    assert ("logit_scale" in moved) == scale


@pytest.mark.parametrize("missing_as", ["black", "grey", "masked"])
def test_a_missing_modality_has_no_say_in_any_of_its_representations(
    index: Path, tmp_path: Path, missing_as: str
) -> None:
    model = MMDA(tiny_clip(), CAPTIONS, Adaptor(layers=1, dim=DIM, readings=Readings(preset="paper"))).eval()
    faces = open_faces(load_index(index), SIDE, index.parent / "cache")
    rows = np.arange(6)
    tower = Tower(model, faces, missing_as, tmp_path, torch.device("cpu"))
    features = tower.features(rows)
    other = features.clone()
    other[:, 1] = 3.0
    first, second = (tower.without(rows, x, "D")[0] for x in (features, other))
    assert torch.equal(first[:, 1], second[:, 1])
    assert torch.equal(first[:, [0, 2]], features[:, [0, 2]])
    assert torch.equal(tower.without(rows, features, "")[0], features)
    present = tower.without(rows, features, "D")[1]
    if missing_as == "masked":
        assert present is not None
        assert present.tolist() == [[True, False, True]] * 6
    else:
        assert present is None
    pixel = {"black": -127.5 / 128, "grey": 0.0}.get(missing_as)
    if pixel is not None:
        void = model.clip.encode_image(torch.full((1, 3, SIDE, SIDE), pixel))
        torch.testing.assert_close(first[0, 1], void[0])


def flat(level: float, count: int = 600, side: int = 16) -> torch.Tensor:
    """`count` augmented images of one level, (count, 3, pixels)."""
    images = torch.full((count // 3, 3, side, side), level)
    changed = mmda.photometric([images] * 3, torch.Generator().manual_seed(int(level)))
    return torch.cat(changed).double().flatten(2)


# Of 8 000 flat images that the released code's own augmentation changed (imgaug 0.4.0 with OpenCV 4.11): the mean, the
# medians of the noise's deviation and of how far apart the channels' means are, and the 5th and 95th percentiles of the
# images' means.
@pytest.mark.parametrize(
    ("level", "mean", "noise", "apart", "low", "high"),
    [(0, 24.1, 9.6, 26.0, 1.3, 66.7), (128, 130.4, 24.1, 37.6, 77.6, 183.0), (255, 233.5, 9.6, 26.2, 202.9, 253.0)],
)
def test_flat_images_become_as_bright_and_as_noisy_as_in_the_released_code(
    level: float, mean: float, noise: float, apart: float, low: float, high: float
) -> None:
    pixels = flat(level, 6000)
    of_image = pixels.mean((1, 2))
    assert of_image.mean().item() == pytest.approx(mean, abs=1.7)
    assert pixels.std(-1).mean(1).median().item() == pytest.approx(noise, abs=1)
    assert np.median(np.ptp(pixels.mean(-1).numpy(), axis=1)) == pytest.approx(apart, abs=2)
    np.testing.assert_allclose(np.quantile(of_image, [0.05, 0.95]), [low, high], atol=4)


def test_augmentation_leaves_whole_numbers_and_changes_every_image_by_draws_of_its_own() -> None:
    pixels = flat(128)
    assert torch.equal(pixels, pixels.round().clamp(0, 255))
    assert pixels.amin() == 0
    assert pixels.amax() == 255
    assert len({tuple(image.flatten().tolist()) for image in pixels}) == len(pixels)
    again = flat(128)
    torch.testing.assert_close(again, pixels, rtol=0, atol=0)


def test_noise_is_one_plane_for_all_three_channels() -> None:
    """Where the channels are equal, as in depth and infrared, each comes out as a rising function of the same noise."""
    pixels = flat(128)
    centred = pixels - pixels.mean(-1, keepdim=True)
    products = (centred[:, 0] * centred[:, 1]).mean(-1)
    correlation = products / (centred[:, 0].square().mean(-1) * centred[:, 1].square().mean(-1)).sqrt()
    assert correlation.nanmedian() > 0.999  # 0.9995 in the released code
    assert correlation.nanmean() > 0.99  # 0.9976; it is undefined where noise of less than half a level was drawn
    steps = pixels[:, :, :, None] - pixels[:, :, None, :64]  # of each channel, from pixel to pixel
    assert (steps[:, 0] * steps[:, 1:].transpose(0, 1) >= 0).all()
    assert (steps[:, 0] * steps[:, 1] > 0).double().mean() > 0.8


def test_the_colour_spaces_are_drawn_alike_and_take_blue_for_red(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, int] = {}

    def look(pixels: torch.Tensor, added: torch.Tensor, space: str) -> torch.Tensor:
        seen[space] = seen.get(space, 0) + len(pixels)
        assert pixels.flatten(2).median(-1).values.mean(0).sub(torch.tensor([200.0, 100.0, 50.0])).abs().max() < 20
        assert torch.equal(added, added.round().clamp(-30, 30))
        assert torch.equal(pixels, pixels.round().clamp(0, 255))
        return pixels

    monkeypatch.setattr(mmda, "brightened", look)
    rgb = torch.tensor([50.0, 100.0, 200.0])[None, :, None, None].expand(600, 3, 8, 8)
    changed = mmda.photometric([rgb], torch.Generator().manual_seed(0))[0]
    assert seen.keys() == SPACES.keys()
    assert min(seen.values()) > 70
    assert changed.mean((0, 2, 3)).sub(torch.tensor([50.0, 100.0, 200.0])).abs().max() < 20


def test_no_augmentation_leaves_the_pixels() -> None:
    images = torch.rand(2, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    for found in mmda.augmented((images,) * 3, "none", torch.Generator()):
        torch.testing.assert_close(found, 127.5 * (images + 1))


def test_a_domain_with_one_sample_is_its_own_partner() -> None:
    for rule in ("random", "first"):
        partner = mmda.domain_partner(torch.tensor([0, 1, 0]), torch.Generator().manual_seed(0), rule)
        assert partner[1] == 1


def test_readings_given_alone_replace_the_presets() -> None:
    changed = {"remap": "chained", "batch_attention": False}
    chosen = options(Path("i"), Path("r"), preset="released", **changed)
    for name, values in readings(Options).items():
        assert getattr(chosen, name) == changed.get(name, values["released"]), name


@pytest.mark.parametrize(
    ("more", "complaint"),
    [
        (["--sources", "CS", "--targets", "SW"], "--targets SW: S is also in --sources CS"),
        (["--sources", "CP", "--targets", "W"], "no P sample for --sources CP"),
        (["--sources", "CS", "--targets", "W", "--layers", "-1"], "--layers -1: give at least 0"),
        (["--sources", "CS", "--targets", "W", "--warmup", "0.1"], "constant rate"),
        (["--sources", "CS", "--targets", "W", "--image-size", "48"], "takes images of 32"),
        (["--sources", "CS", "--targets", "W", "--captions", "nowhere"], "--captions nowhere"),
        (["--protocol", "p9"], "p9"),
    ],
)
def test_bad_input_gets_one_sentence(
    index: Path, tmp_path: Path, command: Callable[..., str], more: list[str], complaint: str
) -> None:
    assert complaint in command(mmda.main, index, tmp_path / "run", *more)
    assert not (tmp_path / "run" / "scores").exists()
