"""Speed of mmFAS, MMDA, the comparison rows and the metrics. `make bench` runs the benchmarks; `make test` runs the
ratio at the end, and each of the steps once. A step that is timed is the one that trainings take.

A benchmark's rounds end with the device's own synchronisation, and its first calls (which compile) are not timed.
`fraction_of_peak` is the multiply-adds of the model over what a plain matrix product of the same precision reached
in the same process: the count comes from torch's flop counter on the written-out attention of Eq. 5, and a training
step counts as three forward passes.
"""

import importlib
import shutil
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_curve
from torch.utils.flop_counter import FlopCounterMode

from paper_tables.planning.cost import noise
from reference import environment, metrics, mmda, mmfas
from reference.batches import Batch
from reference.captions import load_captions
from reference.clip import Clip
from reference.mmfas import Alignment, build
from reference.rivals import method, rows
from reference.rivals.blocks.clip_classifier import ClipMethod
from reference.standin_clip.weights import ARCHITECTURE
from reference.training import arithmetic

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
# The paper's size where there is a GPU; on a CPU one that ends within minutes.
SIZE, BATCH = (224, 128) if DEVICE.type == "cuda" else (64, 16)


def machine() -> dict[str, Any]:
    here = environment.environment(DEVICE, "")
    return {
        "device": here["device" if DEVICE.type == "cuda" else "cpu"],
        "threads": here["threads"],
        "torch": here["torch"],
    }


def synchronised(work: Callable[[], Any]) -> Callable[[], None]:
    def call() -> None:
        work()
        if DEVICE.type == "cuda":
            torch.cuda.synchronize()

    return call


@cache
def forward_flops() -> int:
    """Floating-point operations of one forward pass of one triplet."""
    with torch.device("meta"):
        model, image = build(image_size=SIZE), torch.empty(1, 3, SIZE, SIZE)
    with FlopCounterMode(display=False) as counter:
        model(image, image, image)
    return counter.get_total_flops()


@cache
def peak(precision: str) -> float:
    """Operations per second of a square matrix product, the best of several."""
    n = 8192 if DEVICE.type == "cuda" else 1024
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    generator = torch.Generator(DEVICE).manual_seed(0)
    a, b = (torch.randn(n, n, device=DEVICE, generator=generator).to(dtype) for _ in range(2))
    multiply = synchronised(lambda: a @ b)
    multiply()
    times = []
    for _ in range(10):
        began = time.perf_counter()
        multiply()
        times.append(time.perf_counter() - began)
    return 2 * n**3 / min(times)


def a_batch(samples: int, side: int) -> Batch:
    return noise(samples, side, DEVICE)


def inference(precision: str, compiled: bool) -> Callable[[], Any]:
    model, batch = build(image_size=SIZE).to(DEVICE).eval(), a_batch(BATCH, SIZE)
    forward = torch.compile(model) if compiled else model

    @torch.inference_mode()
    def step() -> torch.Tensor:
        with arithmetic(DEVICE, precision == "bf16"):
            return forward(*batch.images)

    return step


def training(precision: str, compiled: bool) -> Callable[[], Any]:
    """The step of `reference.mmfas`."""
    options = mmfas.Options(index=Path(), run_dir=Path(), image_size=SIZE, batch_size=BATCH)
    model, alignment = options.model().to(DEVICE), Alignment(options).to(DEVICE)
    if compiled:
        model.encode, model.classify = torch.compile(model.encode), torch.compile(model.classify)
    optimiser = torch.optim.AdamW([*model.parameters(), *alignment.parameters()], lr=1e-4, weight_decay=1e-2)
    batch, draws = a_batch(BATCH, SIZE), torch.Generator(DEVICE).manual_seed(0)
    return lambda: mmfas.step(
        model, alignment, optimiser, batch, options, draws, arithmetic(DEVICE, precision == "bf16")
    )


COMPILED = pytest.param(
    "compiled",
    marks=pytest.mark.skipif(not (shutil.which("c++") or shutil.which("g++")), reason="torch.compile needs a compiler"),
)


@pytest.mark.parametrize("mode", ["eager", COMPILED])
@pytest.mark.parametrize("precision", ["float32", "bf16"])
@pytest.mark.parametrize(("task", "passes"), [("training", 3), ("inference", 1)])
def test_mmfas_speed(benchmark: Any, task: str, passes: int, precision: str, mode: str) -> None:
    torch.manual_seed(0)
    torch._dynamo.reset()
    step = {"training": training, "inference": inference}[task](precision, mode == "compiled")
    rounds, iterations = (10, 10) if DEVICE.type == "cuda" else (3, 1)

    def many() -> None:
        for _ in range(iterations):
            step()

    benchmark.pedantic(synchronised(many), rounds=rounds, warmup_rounds=2)
    per_second = BATCH * iterations / benchmark.stats.stats.median
    benchmark.extra_info |= machine() | {
        "image_size": SIZE,
        "batch_size": BATCH,
        "triplets_per_second": per_second,
        "matrix_product_peak_flops": peak(precision),
        "fraction_of_peak": per_second * passes * forward_flops() / peak(precision),
    }


# --- MMDA ----------------------------------------------------------------------------------------------------

MODES = {  # preset, and what of CLIP is frozen
    "paper": "all",
    "released": "none",
    "batch_free": "none",
    "batch_free, text frozen": "text",
    "batch_free, all frozen": "all",
}


def mmda_model(mode: str) -> mmda.MMDA:
    """With untrained towers: ViT-B/16 on a GPU, the stand-in's architecture on a CPU."""
    import open_clip

    architecture = open_clip.get_model_config("ViT-B-16") if DEVICE.type == "cuda" else ARCHITECTURE
    with torch.device(DEVICE):
        clip = Clip(open_clip.CLIP(**architecture), "untrained", "")
        readings = mmda.Readings(preset=mode.partition(",")[0], freeze=MODES[mode])
        adaptor = mmda.Adaptor(dim=clip.dim, readings=readings)
    return mmda.MMDA(clip, load_captions("extended"), adaptor).to(DEVICE)


def mmda_training(model: mmda.MMDA) -> Callable[[], Any]:
    """The step of `reference.mmda` on 24 rows: a frozen tower's features are known already."""
    r = model.adaptor.r
    optimiser = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=5e-6, weight_decay=5e-5)
    draws, image_draws = torch.Generator(DEVICE).manual_seed(0), torch.Generator().manual_seed(0)
    batch = a_batch(24, model.clip.image_size)
    fixed = [t.detach() for t in model.encode_captions()] if r.freeze != "none" else None
    features = model.encode(mmda.augmented(batch.images, "none")).detach() if r.freeze == "all" else None

    def tokens(piece: Batch) -> torch.Tensor:
        if features is not None:
            return features[piece.rows]
        with arithmetic(DEVICE, DEVICE.type == "cuda"):
            return model.encode(mmda.augmented(piece.images, r.augmentation, image_draws)).float()

    return lambda: mmda.step(model, optimiser, batch, tokens, fixed, draws, r.micro_batch or 24)


def mmda_scoring(model: mmda.MMDA) -> Callable[[], Any]:
    """48 rows from pixels to the scores of all heads, in the preset's own batches."""
    model.eval()
    batch = a_batch(48, model.clip.image_size)

    @torch.inference_mode()
    def step() -> None:
        captions = model.encode_captions()
        tokens = model.encode(mmda.augmented(batch.images, "none"))
        together = model.adaptor.r.micro_batch or 24
        mmda.score(model, tokens, None, batch.domain, captions, torch.Generator(DEVICE).manual_seed(0), together)

    return step


def mmda_captions(model: mmda.MMDA) -> Callable[[], Any]:
    """The text tower on all captions, there and back: what `--freeze text` saves in every step."""

    def step() -> None:
        torch.cat(model.encode_captions()).sum().backward()

    return step


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("task", "rows"), [("training", 24), ("scoring", 48)])
def test_mmda_speed(benchmark: Any, task: str, rows: int, mode: str) -> None:
    torch.manual_seed(0)
    model = mmda_model(mode)
    step = {"training": mmda_training, "scoring": mmda_scoring}[task](model)
    benchmark.pedantic(synchronised(step), rounds=5, warmup_rounds=2)
    benchmark.extra_info |= towers(model) | {"triplets_per_second": rows / benchmark.stats.stats.median}


def test_mmda_text_tower_speed(benchmark: Any) -> None:
    torch.manual_seed(0)
    model = mmda_model("batch_free").train()
    benchmark.pedantic(synchronised(mmda_captions(model)), rounds=5, warmup_rounds=2)
    benchmark.extra_info |= towers(model) | {"captions": sum(map(len, model.captions))}


def towers(model: mmda.MMDA) -> dict[str, Any]:
    return machine() | {
        "image_size": model.clip.image_size,
        "width": model.clip.dim,
        "towers": "ViT-B-16, untrained" if DEVICE.type == "cuda" else "the stand-in's architecture, untrained",
    }


# --- comparison rows -------------------------------------------------------------------------------------------

ROWS = [name for name, row in rows.load().items() if row.implemented and row.trains]


def row_training(name: str) -> Callable[[], Any]:
    """The step of `reference.rivals.method` of a row, on its own image size and with its own options otherwise."""
    module = importlib.import_module(rows.load()[name].program)
    if issubclass(module.Method, ClipMethod):
        pytest.skip("its step is one of CLIP's towers, which the rows of MMDA above time")
    options = module.Options(index=Path(), run_dir=Path(), image_size=SIZE, batch_size=BATCH)
    row = module.Method(options, DEVICE)
    row.network, row.draws = row.build().to(DEVICE).train(), torch.Generator(DEVICE).manual_seed(0)
    optimiser = torch.optim.AdamW(row.network.parameters(), lr=1e-4, weight_decay=1e-2)
    batch = a_batch(BATCH, SIZE)
    return lambda: method.step(row, optimiser, batch, arithmetic(DEVICE, DEVICE.type == "cuda"))


@pytest.mark.parametrize("name", ROWS)
def test_row_speed(benchmark: Any, name: str) -> None:
    torch.manual_seed(0)
    benchmark.pedantic(synchronised(row_training(name)), rounds=5, warmup_rounds=2)
    benchmark.extra_info |= machine() | {
        "image_size": SIZE,
        "triplets_per_second": BATCH / benchmark.stats.stats.median,
    }


def test_every_timed_step_runs() -> None:
    """The benchmarks are not run with the tests: here is each kind of step once."""
    steps = [training("float32", False), *(mmda_training(mmda_model(mode)) for mode in ("paper", "released"))]
    for step in (*steps, row_training("deeppixbis")):
        assert torch.isfinite(step()["loss"])


def million() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    bonafide = rng.random(10**6) < 0.3
    return rng.normal(size=10**6) + bonafide, bonafide


@pytest.mark.parametrize("whose", ["ours", "scikit-learn roc_curve"])
def test_eer_speed(benchmark: Any, whose: str) -> None:
    scores, bonafide = million()
    if whose == "ours":
        benchmark.pedantic(metrics.eer, (scores, bonafide), rounds=10, warmup_rounds=1)
    else:
        benchmark.pedantic(roc_curve, (bonafide, scores), rounds=10, warmup_rounds=1)


def test_eer_takes_at_most_half_the_time_of_a_roc_curve() -> None:
    scores, bonafide = million()
    ours, theirs = [], []
    for _ in range(5):  # taken in turn, so that a busy machine slows both
        began = time.perf_counter()
        metrics.eer(scores, bonafide)
        ours.append(time.perf_counter() - began)
        began = time.perf_counter()
        roc_curve(bonafide, scores)
        theirs.append(time.perf_counter() - began)
    assert min(ours) <= 0.5 * min(theirs)


def test_the_flop_count_is_that_of_the_layers() -> None:
    tokens = 1 + (SIZE // 16) ** 2
    dim, hidden, depth = 270, 1080, 3
    attention = 2 * tokens * 4 * dim**2 + 4 * tokens**2 * dim
    block = attention + 2 * tokens * 2 * dim * hidden
    encoders = 3 * (2 * (tokens - 1) * 768 * dim + depth * block)
    fusion = 6 * (attention + block)
    head = 2 * dim * dim + 2 * dim
    assert forward_flops() == encoders + fusion + head
