"""Speed of mmFAS and of the metrics. `make bench` runs the benchmarks; `make test` runs only the ratio at the end.

A benchmark's rounds end with the device's own synchronisation, and its first calls (which compile) are not timed.
`fraction_of_peak` is the multiply-adds of the model over what a plain matrix product of the same precision reached
in the same process: the count comes from torch's flop counter on the written-out attention of Eq. 5, and a training
step counts as three forward passes.
"""

import shutil
import time
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_curve
from torch.nn.functional import binary_cross_entropy_with_logits
from torch.utils.flop_counter import FlopCounterMode

from reference import metrics, runs
from reference.mmfas import Alignment, Readings, build, total_loss

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
# The paper's size where there is a GPU; on a CPU one that ends within minutes.
SIZE, BATCH = (224, 128) if DEVICE.type == "cuda" else (64, 16)


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


def triplets() -> list[torch.Tensor]:
    """Noise: the gradients of blank images are denormal numbers, which are slow on a CPU."""
    generator = torch.Generator().manual_seed(0)
    return [torch.rand(BATCH, 3, SIZE, SIZE, generator=generator).mul(2).sub(1).to(DEVICE) for _ in range(3)]


def inference(precision: str, compiled: bool) -> Callable[[], Any]:
    model = build(image_size=SIZE).to(DEVICE).eval()
    forward = torch.compile(model) if compiled else model
    images = triplets()

    @torch.inference_mode()
    def step() -> torch.Tensor:
        with torch.autocast(DEVICE.type, torch.bfloat16, enabled=precision == "bf16"):
            return forward(*images)

    return step


def training(precision: str, compiled: bool) -> Callable[[], Any]:
    model, alignment = build(image_size=SIZE).to(DEVICE), Alignment(Readings()).to(DEVICE)
    encode = torch.compile(model.encode) if compiled else model.encode
    classify = torch.compile(model.classify) if compiled else model.classify
    optimiser = torch.optim.AdamW([*model.parameters(), *alignment.parameters()], lr=1e-4, weight_decay=1e-2)
    images = triplets()
    spoof = (torch.arange(BATCH, device=DEVICE) % 2).float()
    clips = torch.arange(BATCH, device=DEVICE)
    generator = torch.Generator(DEVICE).manual_seed(0)

    def step() -> None:
        with torch.autocast(DEVICE.type, torch.bfloat16, enabled=precision == "bf16"):
            streams = encode(*images)
            logits = classify(streams)
        pooled = [model.pool(x).float() for x in streams]
        icl, cm = alignment(*pooled, spoof, clips, generator)
        loss = total_loss(binary_cross_entropy_with_logits(logits.float(), spoof), icl, cm)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()

    return step


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
    benchmark.extra_info |= {
        "device": runs.environment(DEVICE, "")["device"] if DEVICE.type == "cuda" else runs.cpu_name(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "image_size": SIZE,
        "batch_size": BATCH,
        "triplets_per_second": per_second,
        "matrix_product_peak_flops": peak(precision),
        "fraction_of_peak": per_second * passes * forward_flops() / peak(precision),
    }


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
