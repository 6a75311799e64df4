"""mmFAS Table 1's comparison rows: their networks, losses and scores, the loop that trains them."""

import hashlib
import importlib
import inspect
import json
import math
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from safetensors.torch import load_file
from torch import Tensor, nn

from data_manifests.errors import BadInput
from data_manifests.index import load_index
from reference import metrics, runs, training
from reference.data import BalancedSampler, batches, open_faces
from reference.rivals import deeppixbis, loop, mlp_mixer_s16, resnet50, trivial, vit_s16
from spec_tests.support.miniature import write_index

HERE = Path(__file__)
ROOT = HERE.resolve().parents[2]
TRAINED = [deeppixbis, mlp_mixer_s16, resnet50, vit_s16]
NETWORKS: dict[str, Callable[[int], nn.Module]] = {
    "deeppixbis": deeppixbis.DeepPixBiS,
    "mlp_mixer_s16": mlp_mixer_s16.Mixer,
    "resnet50": lambda size: resnet50.ResNet50(),
    "vit_s16": vit_s16.ViT,
    "vit_s16 score_average": lambda size: vit_s16.ViT(size, "score_average"),
}
TIMES = {"seconds", "samples_per_second", "waiting_for_data", "evaluation_seconds"}
seeds = st.integers(0, 2**32 - 1)


@pytest.fixture(autouse=True)
def torch_settings() -> Iterator[None]:
    """A run sets these for its process; other tests are not to feel it."""
    threads, deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    tf32, fast = torch.backends.cudnn.allow_tf32, torch.backends.mha.get_fastpath_enabled()
    matmul = torch.backends.cuda.matmul.allow_tf32
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(deterministic)
    torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = tf32, matmul
    torch.backends.mha.set_fastpath_enabled(fast)


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_index(tmp_path_factory.mktemp("miniature"))


@pytest.fixture
def shallow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two layers where depth only costs time."""
    monkeypatch.setattr(mlp_mixer_s16, "LAYERS", 2)
    monkeypatch.setattr(vit_s16, "DEPTH", 2)


def images(seed: int, size: int, batch: int = 2) -> list[Tensor]:
    rng = np.random.default_rng(seed)
    return [torch.from_numpy(rng.uniform(-1, 1, (batch, 3, size, size)).astype(np.float32)) for _ in range(3)]


def scrambled(model: nn.Module, seed: int) -> nn.Module:
    """Random numbers for all weights: heads start at zero, which would hide what reaches them."""
    rng = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(torch.randn(p.shape, generator=rng) * (0.3 if p.ndim == 1 else p[0].numel() ** -0.5))
    return model


# Networks


@pytest.mark.parametrize(
    ("build", "count"),
    [
        (lambda: deeppixbis.DeepPixBiS(224), 3_198_726),
        (lambda: deeppixbis.DeepPixBiS(224).encoder, 3_198_144),
        (lambda: resnet50.ResNet50(), 23_512_130),
        (lambda: resnet50.ResNet50(1000), 25_557_032),
        (lambda: mlp_mixer_s16.Mixer(224, 1000), 18_528_264),
        (lambda: mlp_mixer_s16.Mixer(224), 18_016_290),
        (lambda: vit_s16.vit(224, 3, 1000), 22_050_664),
        (lambda: vit_s16.vit(224, 3), 21_666_434),
        (lambda: vit_s16.ViT(224), 22_256_258),
        (lambda: vit_s16.ViT(224, "score_average"), 3 * 21_666_434),
    ],
)
def test_parameter_counts(build: Callable[[], nn.Module], count: int) -> None:
    with torch.device("meta"):
        assert sum(p.numel() for p in build().parameters()) == count


@pytest.mark.usefixtures("shallow")
@pytest.mark.parametrize("size", [64, 224])
@pytest.mark.parametrize("name", NETWORKS)
def test_forward_shapes_and_finite_scores(name: str, size: int) -> None:
    row = importlib.import_module(f"reference.rivals.{name.split()[0]}")
    torch.manual_seed(0)
    model = NETWORKS[name](size).eval()
    with torch.inference_mode():
        output = model(*images(0, size))
    shapes = {
        "deeppixbis": [(2, size // 16, size // 16), (2,)],
        "vit_s16": [(2, 1, 2)],
        "vit_s16 score_average": [(2, 3, 2)],
    }
    found = [tuple(x.shape) for x in (output if isinstance(output, tuple) else (output,))]
    assert found == shapes.get(name, [(2, 2)])
    score = row.score(output)
    assert score.shape == (2,)
    assert score.isfinite().all()


@pytest.mark.usefixtures("shallow")
@pytest.mark.parametrize("name", ["deeppixbis", "mlp_mixer_s16", "resnet50"])
def test_rgb_rows_see_rgb_alone(name: str) -> None:
    model = scrambled(NETWORKS[name](32), 1).eval()
    a, b = images(0, 32), images(1, 32)
    row = importlib.import_module(f"reference.rivals.{name}")
    with torch.inference_mode():
        score = row.score(model(*a))
        assert torch.equal(score, row.score(model(a[0], b[1], b[2])))
        assert not torch.equal(score, row.score(model(b[0], a[1], a[2])))


@pytest.mark.usefixtures("shallow")
def test_vit_sees_three_modalities() -> None:
    a, b = images(0, 32), images(1, 32)
    stacked = scrambled(vit_s16.ViT(32), 1).eval()
    separate = scrambled(vit_s16.ViT(32, "score_average"), 1).eval()
    with torch.inference_mode():
        for m in range(3):
            changed = [b[i] if i == m else a[i] for i in range(3)]
            assert not torch.equal(stacked(*a), stacked(*changed))
            same = [torch.equal(x, y) for x, y in zip(separate(*a)[0], separate(*changed)[0], strict=True)]
            assert same == [i != m for i in range(3)]


@pytest.mark.usefixtures("shallow")
def test_nine_channels_without_depth_and_infrared_are_the_rgb_vit() -> None:
    stacked, rgb = scrambled(vit_s16.vit(32, 9), 1).eval(), vit_s16.vit(32, 3).eval()
    weights = stacked.state_dict()
    weights["conv_proj.weight"][:, 3:] = 0
    rgb.load_state_dict(weights | {"conv_proj.weight": weights["conv_proj.weight"][:, :3]})
    x = images(0, 32)
    with torch.inference_mode():
        torch.testing.assert_close(stacked(torch.cat(x, 1)), rgb(x[0]), rtol=1e-5, atol=1e-6)


@pytest.mark.usefixtures("shallow")
def test_new_stem_is_drawn_like_torchvisions() -> None:
    torch.manual_seed(0)
    stem = vit_s16.vit(32, 9).conv_proj
    assert stem.weight.std().item() == pytest.approx((9 * 256) ** -0.5, rel=0.01)
    assert not stem.bias.any()


@pytest.mark.usefixtures("shallow")
def test_mixer_is_its_formula() -> None:
    """Against the layer equations (paper, Eq. 1) as einsums in float64."""
    model = scrambled(mlp_mixer_s16.Mixer(32), 2).double()
    w = {k: v.numpy() for k, v in model.state_dict().items()}
    rgb = images(3, 32)[0].double()

    def norm(x: np.ndarray, name: str) -> np.ndarray:
        x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-6)
        return x * w[f"{name}.weight"] + w[f"{name}.bias"]

    def gelu(x: np.ndarray) -> np.ndarray:
        return x / 2 * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))

    patches = rgb.numpy().reshape(2, 3, 2, 16, 2, 16)  # batch, channel, row, y, column, x
    x = np.einsum("bcryqx,dcyx->brqd", patches, w["stem.weight"]).reshape(2, 4, 512) + w["stem.bias"]
    for i in range(2):
        n = f"layers.{i}."
        t = n + "mix_tokens."
        y = np.einsum("btd,ht->bhd", norm(x, n + "norm_tokens"), w[t + "0.weight"]) + w[t + "0.bias"][:, None]
        x = x + np.einsum("bhd,th->btd", gelu(y), w[t + "2.weight"]) + w[t + "2.bias"][:, None]
        c = n + "mix_channels."
        y = np.einsum("btd,hd->bth", norm(x, n + "norm_channels"), w[c + "0.weight"]) + w[c + "0.bias"]
        x = x + np.einsum("bth,dh->btd", gelu(y), w[c + "2.weight"]) + w[c + "2.bias"]
    expected = norm(x, "norm").mean(1) @ w["head.weight"].T + w["head.bias"]
    with torch.inference_mode():
        np.testing.assert_allclose(model(rgb, rgb, rgb).numpy(), expected, rtol=1e-9, atol=1e-9)


@pytest.mark.usefixtures("shallow")
def test_mixers_first_weights() -> None:
    torch.manual_seed(0)
    model = mlp_mixer_s16.Mixer(64)
    for module in model.modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            assert not module.bias.any()
            if module is not model.head:
                fan_in = module.weight[0].numel()
                assert module.weight.std().item() == pytest.approx(fan_in**-0.5, rel=0.05)
    assert not model.head.weight.any()


def test_deeppixbis_normalises_and_judges_the_map() -> None:
    model = scrambled(deeppixbis.DeepPixBiS(32), 4).eval()
    seen = {}
    model.encoder.register_forward_hook(lambda _, args, out: seen.update(input=args[0], features=out))
    rgb = images(5, 32)[0]
    with torch.inference_mode():
        cells, image = model(rgb, rgb, rgb)
    pixels = (rgb.double().numpy() * 127.5 + 127.5) / 255  # what `batches` made [-1, 1] from
    for channel, (mean, sd) in enumerate(((0.485, 0.229), (0.456, 0.224), (0.406, 0.225))):
        expected = (pixels[:, channel] - mean) / sd
        np.testing.assert_allclose(seen["input"][:, channel].numpy(), expected, rtol=1e-4, atol=1e-5)
    assert seen["features"].shape == (2, 384, 2, 2)
    features, w = (
        seen["features"].double().numpy(),
        {k: v.double().numpy() for k, v in model.state_dict().items()},
    )
    logits = np.einsum("bcyx,c->byx", features, w["map.weight"][0, :, 0, 0]) + w["map.bias"]
    np.testing.assert_allclose(cells.numpy(), logits, rtol=1e-4, atol=1e-4)
    whole = (1 / (1 + np.exp(-logits))).reshape(2, 4) @ w["image.weight"][0] + w["image.bias"]
    np.testing.assert_allclose(image.numpy(), whole, rtol=1e-4, atol=1e-4)


# Losses and scores


def logit_arrays(*shape: int) -> st.SearchStrategy[np.ndarray]:
    return arrays(np.float32, shape, elements=st.floats(-12, 12, width=32))


def labels(n: int) -> st.SearchStrategy[np.ndarray]:
    return arrays(np.float32, n, elements=st.sampled_from([0.0, 1.0]))


def bce(logit: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Binary cross-entropy of probabilities, in float64."""
    p = 1 / (1 + np.exp(-logit.astype(np.float64)))
    return -(target * np.log(p) + (1 - target) * np.log(1 - p))


@given(logits=logit_arrays(5, 2), spoof=labels(5))
@example(logits=np.array([[3, -3]] * 5, np.float32), spoof=np.zeros(5, np.float32))
def test_two_way_cross_entropy_and_score(logits: np.ndarray, spoof: np.ndarray) -> None:
    expected = bce(logits[:, 1].astype(np.float64) - logits[:, 0], spoof).mean()
    given_logits = torch.from_numpy(logits)
    for row in (resnet50, mlp_mixer_s16):
        assert row.loss(given_logits, torch.from_numpy(spoof))["loss"].item() == pytest.approx(
            expected, rel=1e-5, abs=1e-6
        )
        np.testing.assert_array_equal(row.score(given_logits).numpy(), logits[:, 0] - logits[:, 1])


@given(logits=logit_arrays(4, 3, 2), spoof=labels(4))
def test_vit_loss_is_a_sum_and_score_a_mean_over_networks(logits: np.ndarray, spoof: np.ndarray) -> None:
    difference = logits[..., 0].astype(np.float64) - logits[..., 1]  # (4, 3)
    expected = sum(bce(-difference[:, m], spoof).mean() for m in range(3))
    given_logits = torch.from_numpy(logits)
    assert vit_s16.loss(given_logits, torch.from_numpy(spoof))["loss"].item() == pytest.approx(
        expected, rel=1e-5, abs=1e-6
    )
    np.testing.assert_allclose(vit_s16.score(given_logits).numpy(), difference.mean(1), rtol=1e-5, atol=1e-5)


@given(cells=logit_arrays(3, 2, 2), image=logit_arrays(3), spoof=labels(3), balance=st.floats(0, 1))
def test_deeppixbis_loss_and_scores(cells: np.ndarray, image: np.ndarray, spoof: np.ndarray, balance: float) -> None:
    output = (torch.from_numpy(cells), torch.from_numpy(image))
    of_image = bce(image, 1 - spoof).mean()
    of_map = np.mean([bce(cell, 1 - spoof).mean() for cell in cells.reshape(3, 4).T])
    parts = deeppixbis.loss(output, torch.from_numpy(spoof), balance)
    expected = {"loss": balance * of_image + (1 - balance) * of_map, "image": of_image, "map": of_map}
    assert {k: v.item() for k, v in parts.items()} == pytest.approx(expected, rel=1e-4, abs=1e-5)
    half = deeppixbis.loss(output, torch.from_numpy(spoof))["loss"].item()
    assert half == pytest.approx((of_image + of_map) / 2, rel=1e-4, abs=1e-5)

    probability = 1 / (1 + np.exp(-image.astype(np.float64)))
    mean = (1 / (1 + np.exp(-cells.astype(np.float64)))).mean((1, 2))
    scores = {"pixel_mean": mean, "binary": probability, "combined": (mean + probability) / 2}
    for kind, expected_score in scores.items():
        np.testing.assert_allclose(deeppixbis.score(output, kind).numpy(), expected_score, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(deeppixbis.score(output).numpy(), deeppixbis.score(output, "pixel_mean").numpy())


@pytest.mark.usefixtures("shallow")
@pytest.mark.parametrize("name", NETWORKS)
def test_a_few_steps_teach_what_is_bona_fide(name: str) -> None:
    row = importlib.import_module(f"reference.rivals.{name.split()[0]}")
    torch.manual_seed(0)
    model = NETWORKS[name](32)
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3)
    spoof = torch.tensor([0.0, 1.0] * 6)
    x = [0.3 * i + 0.5 * (1 - 2 * spoof)[:, None, None, None] for i in images(0, 32, batch=12)]
    for _ in range(6):
        losses = row.loss(model(*x), spoof)
        optimiser.zero_grad()
        losses["loss"].backward()
        optimiser.step()
    with torch.no_grad():
        score = row.score(model(*x))
    assert metrics.auc(score.numpy(), spoof.numpy() == 0) > 0.95


# The loop's parts


@given(steps=st.integers(1, 400), warmup=st.floats(0, 1))
@example(steps=300, warmup=0.1)
@example(steps=1, warmup=1.0)
@example(steps=3, warmup=0.0)
def test_learning_rate_rises_linearly_and_falls_as_a_cosine(steps: int, warmup: float) -> None:
    rates = np.array([training.learning_rate(i, steps, 2.0, warmup) for i in range(steps)])
    w = round(steps * warmup)
    np.testing.assert_allclose(rates[:w], np.linspace(0, 2, w + 1)[1:], atol=1e-12)
    fall = np.cos(np.linspace(0, np.pi / 2, steps - w + 1)) ** 2 * 2  # half-angle form; ends at 0, one step on
    np.testing.assert_allclose(rates[w:], fall[:-1], atol=1e-12)


@given(seed=seeds)
def test_mirror_flips_a_samples_images_together(seed: int) -> None:
    x = images(seed, 4, batch=64)
    flipped = training.mirror(tuple(x), torch.Generator().manual_seed(seed))
    same = [(a == b).flatten(1).all(1).numpy() for a, b in zip(x, flipped, strict=True)]
    mirrored = [(a.numpy()[..., ::-1] == b.numpy()).reshape(64, -1).all(1) for a, b in zip(x, flipped, strict=True)]
    for m in range(3):
        np.testing.assert_array_equal(same[m], ~mirrored[m])
        np.testing.assert_array_equal(same[m], same[0])
    assert 10 < same[0].sum() < 54  # a fair coin leaves this range once in 10^8


class Tiny(nn.Module):
    """Everything that a run has to carry over: running statistics, dropout's random numbers, moments."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv2d(9, 8, 4, stride=4), nn.BatchNorm2d(8)
        self.head = nn.Linear(8, 2)

    def forward(self, rgb: Tensor, depth: Tensor, ir: Tensor) -> Tensor:
        x = nn.functional.relu(self.norm(self.stem(torch.cat([rgb, depth, ir], 1)))).mean((2, 3))
        return self.head(nn.functional.dropout(x, 0.5, self.training))


def options(index: Path, run_dir: Path, **changes: Any) -> training.Training:
    given = {"image_size": 16, "batch_size": 2, "epochs": 3, "learning_rate": 1e-2, "device": "cpu"}
    return training.Training(index=index, run_dir=run_dir, cache_dir=index.parent.parent / "cache", **(given | changes))


def train(
    given: training.Training, build: Callable[[], nn.Module] = Tiny, loss: loop.Loss = loop.cross_entropy
) -> None:
    loop.train(given, HERE, build, loss, loop.logit_difference)


def lines(run_dir: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]


def content(run_dir: Path) -> dict[str, Any]:
    """All that must not depend on whether a run was interrupted."""
    found: dict[str, Any] = {"weights": (run_dir / "model.safetensors").read_bytes()}
    for path in sorted((run_dir / "scores").iterdir()):
        with np.load(path, allow_pickle=False) as arrays_of_set:
            found[path.name] = {k: arrays_of_set[k].tobytes() for k in arrays_of_set.files}
    found["lines"] = [{k: v for k, v in line.items() if k not in TIMES} for line in lines(run_dir)]
    return found


def killed_child(given: training.Training, event: str, count: int) -> int:
    """The wait status of a forked process that trains and kills itself at the `count`-th `event`."""
    pid = os.fork()
    if pid:
        return os.waitpid(pid, 0)[1]
    seen = 0

    def watched(owner: Any, name: str, after: bool, only: str = "") -> None:
        original = getattr(owner, name)

        def wrapped(*args: Any, **kwargs: Any) -> Any:
            nonlocal seen
            seen += not only or str(args[-1]).endswith(only)
            if seen == count and not after:
                os.kill(os.getpid(), signal.SIGKILL)
            result = original(*args, **kwargs)
            if seen == count:
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        setattr(owner, name, wrapped)

    if event == "step":
        watched(torch.optim.AdamW, "step", after=True)
    elif event == "before checkpoint":
        watched(Path, "replace", after=False, only="checkpoint.pt")
    elif event == "finish":
        watched(runs.Run, "finish", after=False)
    else:
        watched(runs.Run, event, after=True)
    train(given)
    os._exit(3)


# Four steps an epoch, a checkpoint after two and four of them; each process goes on from the last one's.
KILLS = [
    ("step", 1),  # before any checkpoint
    ("step", 3),  # after the checkpoint inside an epoch
    ("save_scores", 2),  # some sets of an epoch saved
    ("log", 1),  # an epoch logged, its checkpoint not begun
    ("before checkpoint", 2),  # a checkpoint written, not yet in place
    ("step", 5),  # in another epoch
    ("finish", 1),
]


def survive_kills(index: str, run_dir: str) -> None:
    """What the subprocess of the next test does."""
    import torch._dynamo  # noqa: F401 - the optimiser needs it; once here instead of once a child

    given = options(Path(index), Path(run_dir), checkpoint_every=2, augmentation="flip")
    for event, count in KILLS:
        status = killed_child(given, event, count)
        assert os.WIFSIGNALED(status), (event, count, status)
        assert os.WTERMSIG(status) == signal.SIGKILL, (event, count, status)
    train(given)


def test_killed_runs_continue_bit_for_bit(index: Path, tmp_path: Path) -> None:
    undisturbed = options(index, tmp_path / "undisturbed", checkpoint_every=2, augmentation="flip")
    train(undisturbed)
    code = "import sys; from spec_tests.methods.test_rivals import survive_kills; survive_kills(*sys.argv[1:])"
    command = [sys.executable, "-c", code, str(index), str(tmp_path / "killed")]
    subprocess.run(command, cwd=ROOT, check=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
    expected = content(tmp_path / "undisturbed")
    assert content(tmp_path / "killed") == expected
    assert [line["epoch"] for line in expected["lines"]] == [0, 1, 2]
    other = replace(undisturbed, run_dir=tmp_path / "other", seed=1)
    train(other)
    assert content(tmp_path / "other")["weights"] != expected["weights"]


def by_hand(given: training.Training, decoupled: bool) -> dict[str, Tensor]:
    """The weights after the same training as a plain loop: no autocast, no folder, no random augmentation."""
    index = load_index(given.index)
    faces = open_faces(index, given.image_size, given.cache_dir)
    rows = index.split("mmfas", "train")
    torch.manual_seed(given.seed)
    model = Tiny()
    optimiser = (torch.optim.AdamW if decoupled else torch.optim.Adam)(
        model.parameters(), weight_decay=given.weight_decay
    )
    sampler = BalancedSampler(faces.bonafide[rows], given.batch_size, given.seed)
    total, done = given.epochs * sampler.steps, 0
    for epoch in range(given.epochs):
        for rgb, depth, ir, spoof in batches(faces, rows[sampler.epoch(epoch)], "cpu"):
            for group in optimiser.param_groups:
                group["lr"] = training.learning_rate(done, total, given.learning_rate, given.warmup)
            logits = model(rgb, depth, ir)
            optimiser.zero_grad()
            nn.functional.cross_entropy(logits, spoof.long()).backward()
            optimiser.step()
            done += 1
    return model.state_dict()


@pytest.mark.parametrize("optimiser", ["adamw", "adam_l2"])
def test_training_is_the_plain_loop(index: Path, tmp_path: Path, optimiser: str) -> None:
    given = options(index, tmp_path / "run", optimiser=optimiser, weight_decay=0.3, seed=3)
    train(given)
    expected = by_hand(given, optimiser == "adamw")
    for name, value in load_file(tmp_path / "run" / "model.safetensors").items():
        torch.testing.assert_close(value, expected[name], rtol=1e-5, atol=1e-6, msg=name)


class Recording(Tiny):
    """Notes, for each pass, whether it trains and the kind of number it computes with."""

    passes: list[tuple[bool, torch.dtype]]

    def __init__(self) -> None:
        super().__init__()
        Recording.passes = []

    def forward(self, rgb: Tensor, depth: Tensor, ir: Tensor) -> Tensor:
        logits = super().forward(rgb, depth, ir)
        Recording.passes.append((self.training, logits.dtype))
        assert torch.are_deterministic_algorithms_enabled()
        assert not torch.backends.mha.get_fastpath_enabled()
        assert not torch.backends.cudnn.allow_tf32
        assert torch.get_num_threads() == 1
        return logits


@pytest.mark.parametrize("precision", ["bf16", "float32"])
def test_training_may_be_coarse_but_evaluation_is_not(index: Path, tmp_path: Path, precision: str) -> None:
    train(options(index, tmp_path, precision=precision, evaluate_every=2), build=Recording)
    coarse = torch.bfloat16 if precision == "bf16" else torch.float32
    training = [(True, coarse)] * 4
    sets = [8 // 2 // 2, 4 // 2, 16 // 2, 16 // 2]  # batches of val, C, S and W
    evaluation = [(False, torch.float32)] * sum(sets)
    assert Recording.passes == training + training + evaluation + training + evaluation
    assert ["sets" in line for line in lines(tmp_path)] == [False, True, True]
    with np.load(tmp_path / "scores" / "S.npz", allow_pickle=False) as saved:
        assert saved["epochs"].tolist() == [1, 2]


def test_a_line_tells_the_epochs_mean_losses_and_its_evaluation(index: Path, tmp_path: Path) -> None:
    said: list[float] = []

    def loss(logits: Tensor, spoof: Tensor) -> dict[str, Tensor]:
        said.append(float(len(said)))
        return loop.cross_entropy(logits, spoof) | {"count": torch.tensor(said[-1])}

    given = options(index, tmp_path, epochs=2)
    train(given, loss=loss)
    first, second = lines(tmp_path)
    assert (first["count"], second["count"]) == (1.5, 5.5)
    assert second["learning_rate"] == pytest.approx(training.learning_rate(7, 8, 1e-2, 0.1))
    assert second["samples_per_second"] == pytest.approx(8 / second["seconds"])
    assert 0 <= second["waiting_for_data"] <= 1
    scores, bonafide = {}, {}
    for name in ("val", "C", "S", "W"):
        with np.load(tmp_path / "scores" / f"{name}.npz", allow_pickle=False) as saved:
            scores[name], bonafide[name] = saved["scores"][1], saved["bonafide"]
    assert second["sets"] == runs.evaluate(scores, bonafide)


@given(order=st.permutations(range(48)), count=st.integers(1, 48), batch_size=st.integers(1, 9))
@settings(max_examples=10)
def test_scores_stand_in_the_order_of_rows(index: Path, order: list[int], count: int, batch_size: int) -> None:
    class Brightness(nn.Module):
        def forward(self, rgb: Tensor, depth: Tensor, ir: Tensor) -> Tensor:
            return ir.mean((1, 2, 3))

    faces = open_faces(load_index(index), 16, index.parent.parent / "cache")
    rows = np.array(order[:count])
    found = training.predict(Brightness().eval(), faces, rows, batch_size, torch.device("cpu"))
    expected = (faces.images[rows, 4].astype(np.float64).mean((1, 2)) - 127.5) / 127.5
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert found.dtype == np.float32


def test_a_finished_run_is_left_alone(
    index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given = options(index, tmp_path, epochs=1)
    train(given)
    before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}

    def forbidden(*_: Any) -> Any:
        raise AssertionError("a finished run needs neither images nor a network")

    monkeypatch.setattr(training, "open_faces", forbidden)
    train(given, build=forbidden)
    assert "already finished" in capsys.readouterr().out
    assert {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == before


@pytest.mark.parametrize(
    "change",
    [{"seed": 1}, {"epochs": 2}, {"optimiser": "adam_l2"}, {"precision": "bf16"}, {"threads": 2}],
)
def test_a_run_refuses_other_arguments(index: Path, tmp_path: Path, change: dict[str, Any]) -> None:
    train(options(index, tmp_path, epochs=1))
    (name,) = change
    with pytest.raises(BadInput, match=name):
        train(options(index, tmp_path, **({"epochs": 1} | change)))


def test_a_run_may_move_but_its_arguments_are_all_kept(index: Path, tmp_path: Path) -> None:
    given = options(index, tmp_path / "here", epochs=1)
    train(given)
    (tmp_path / "here").rename(tmp_path / "there")
    train(replace(given, run_dir=tmp_path / "there", cache_dir=tmp_path / "cache"))
    assert not (tmp_path / "cache").exists()
    kept = json.loads((tmp_path / "there" / "args.json").read_text())
    places = {"index", "run_dir", "cache_dir"}
    assert set(kept["arguments"]) == {f.name for f in fields(training.Training)} - places | {"method"}
    assert kept["arguments"]["precision"] == "float32"
    used = ["data.py", "metrics.py", "rivals/loop.py", "runs.py", "training.py"]
    assert sorted(kept["sources"]) == [*(f"reference/{name}" for name in used), "spec_tests/methods/test_rivals.py"]
    for name, digest in kept["sources"].items():
        assert hashlib.sha256((ROOT / name).read_bytes()).hexdigest() == digest


def test_training_that_diverges_stops_and_saves_nothing_of_it(index: Path, tmp_path: Path) -> None:
    steps = 0

    def loss(logits: Tensor, spoof: Tensor) -> dict[str, Tensor]:
        nonlocal steps
        steps += 1
        return {"loss": logits.square().mean() * (math.nan if steps == 6 else 1)}

    with pytest.raises(FloatingPointError, match=r"training loss .* epoch 2"):
        train(options(index, tmp_path, checkpoint_every=1), loss=loss)
    assert len(lines(tmp_path)) == 1
    state = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    assert (state["epoch"], state["step"]) == (1, 1)
    assert all(v.isfinite().all() for v in state["model"].values())
    assert not (tmp_path / "done").exists()


class Overflowing(Tiny):
    def forward(self, rgb: Tensor, depth: Tensor, ir: Tensor) -> Tensor:
        return super().forward(rgb, depth, ir) * (1 if self.training else math.inf)


def test_scores_that_are_no_numbers_stop_a_run(index: Path, tmp_path: Path) -> None:
    with pytest.raises(FloatingPointError, match="a score of val is not finite in epoch 1"):
        train(options(index, tmp_path), build=Overflowing)
    assert not (tmp_path / "scores").exists()
    assert not (tmp_path / "metrics.jsonl").exists()


# Command lines


def call(module: ModuleType, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    """The exit status of a row's command in this process."""
    monkeypatch.setattr(sys, "argv", [module.__name__, *arguments])
    try:
        module.main()
    except SystemExit as e:
        return int(e.code or 0)
    return 0


@pytest.mark.parametrize("module", TRAINED)
def test_a_row_end_to_end(module: ModuleType, index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = index.parent.parent / "cache"
    small = ["--image-size", "32", "--batch-size", "4", "--epochs", "1", "--device", "cpu"]
    places = ["--index", str(index), "--run-dir", str(tmp_path), "--cache-dir", str(cache)]
    assert call(module, monkeypatch, *places, *small) == 0
    assert (tmp_path / "done").exists()
    method = module.__name__.rpartition(".")[2]
    kept = json.loads((tmp_path / "args.json").read_text())
    assert kept["arguments"]["method"] == method
    assert f"reference/rivals/{method}.py" in kept["sources"]
    torch.manual_seed(1)
    model = NETWORKS[method](32)
    model.load_state_dict(load_file(tmp_path / "model.safetensors"))
    faces = open_faces(load_index(index), 32, cache)
    with np.load(tmp_path / "scores" / "W.npz", allow_pickle=False) as saved:
        assert saved["scores"].shape == (1, 16)
        rows = np.array([faces.sample_id.tolist().index(s) for s in saved["sample_id"]])
        again = training.predict(lambda *x: module.score(model.eval()(*x)), faces, rows, 4, torch.device("cpu"))
        np.testing.assert_allclose(saved["scores"][0], again, rtol=1e-4, atol=1e-5)


def test_options_reach_the_network_and_its_score(index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`main` hands over what a row adds to the shared options."""
    seen: list[Any] = []
    monkeypatch.setattr(loop, "train", lambda *a: seen.append(a))
    places = ["--index", str(index), "--run-dir", str(tmp_path), "--image-size", "32"]
    assert call(vit_s16, monkeypatch, *places, "--modalities", "score_average") == 0
    assert call(deeppixbis, monkeypatch, *places, "--balance", "1", "--score", "binary") == 0
    (_, _, build, _, _), (_, _, _, loss, score) = seen
    assert len(build().nets) == 3
    output = (torch.tensor([[[5.0]], [[-5.0]]]), torch.tensor([0.0, 0.0]))
    assert loss(output, torch.tensor([0.0, 1.0]))["loss"].item() == pytest.approx(math.log(2))
    assert score(output).tolist() == [0.5, 0.5]


@pytest.mark.parametrize("module", [*TRAINED, trivial])
def test_help_explains_every_option(
    module: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(module, monkeypatch, "--help") == 0
    text = capsys.readouterr().out
    assert f"python -m {module.__name__}" in text
    source = inspect.getsource(module.Options) + inspect.getsource(training.Training)
    for field in fields(module.Options):
        assert training.option(field.name) in text
        explanation = source.partition(f"\n    {field.name}: ")[2].splitlines()[1].strip().strip('"')
        assert explanation.split()[0] in text
        assert len(explanation) > 10


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--image-size", "40"], "--image-size 40: this network needs a multiple of 16"),
        (["--batch-size", "7"], "--batch-size 7: give an even number"),
        (["--epochs", "0"], "--epochs 0: give at least 1"),
        (["--warmup", "1.5"], "--warmup 1.5"),
        (["--warmup", "nan"], "--warmup nan"),
        (["--learning-rate", "0"], "--learning-rate 0.0: give a number above 0"),
        (["--weight-decay", "nan"], "--weight-decay nan"),
        (["--protocol", "none"], "no protocol 'none'"),
        (["--device", "abacus"], "--device abacus"),
        pytest.param(
            ["--device", "cuda"],
            "--device cuda: this torch sees no CUDA device",
            marks=pytest.mark.skipif(torch.cuda.is_available(), reason="there is one"),
        ),
    ],
)
def test_unusable_options_end_in_one_sentence(
    index: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    sentence: str,
) -> None:
    places = ["--index", str(index), "--run-dir", str(tmp_path / "run")]
    assert call(mlp_mixer_s16, monkeypatch, *places, *arguments) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert sentence in said
    assert said.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_diverging_ends_with_status_1(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped, training.command_errors():
        raise training.diverged("the training loss (loss)", 2)
    assert stopped.value.code == 1
    said = capsys.readouterr().err
    assert said.startswith("error: the training loss (loss) is not finite in epoch 3")
    assert said.count("\n") == 1


# Trivial rows


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
    (line,) = lines(tmp_path)
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
