"""Speed of mmFAS, MMDA and the metrics. `make bench` runs the benchmarks; `make test` runs only the ratio at the end.

A benchmark's rounds end with the device's own synchronisation, and its first calls (which compile) are not timed.
`fraction_of_peak` is the multiply-adds of the model over what a plain matrix product of the same precision reached
in the same process: the count comes from torch's flop counter on the written-out attention of Eq. 5, and a training
step counts as three forward passes.
"""

import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_curve
from torch.nn.functional import binary_cross_entropy_with_logits
from torch.utils.flop_counter import FlopCounterMode

from reference import environment, metrics, mmda
from reference.captions import load_captions
from reference.clip import Clip
from reference.mmfas import Alignment, Readings, build, total_loss
from reference.standin_clip.weights import ARCHITECTURE

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
        "device": environment.environment(DEVICE, "")["device"] if DEVICE.type == "cuda" else environment.cpu_name(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
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
        readings = replace(mmda.PRESETS[mode.partition(",")[0]], freeze=MODES[mode])
        adaptor = mmda.Adaptor(dim=clip.dim, readings=readings)
    return mmda.MMDA(clip, load_captions("extended"), adaptor).to(DEVICE)


def mmda_images(model: mmda.MMDA, rows: int) -> tuple[torch.Tensor, ...]:
    side = model.clip.image_size
    generator = torch.Generator().manual_seed(0)
    return tuple(torch.rand(rows, 3, side, side, generator=generator).mul(2).sub(1).to(DEVICE) for _ in range(3))


def mmda_training(model: mmda.MMDA) -> Callable[[], Any]:
    """One optimiser step on 24 rows as `reference.mmda` takes it: a frozen tower's features are known already."""
    r = model.adaptor.r
    together = r.micro_batch or 24
    optimiser = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=5e-6, weight_decay=5e-5)
    draws, changes = torch.Generator(DEVICE).manual_seed(0), torch.Generator().manual_seed(0)
    images = mmda_images(model, 24)
    fixed = [t.detach() for t in model.encode_captions()] if r.freeze != "none" else None
    known = model.encode(mmda.augmented(images, "none")).detach() if r.freeze == "all" else None
    domains, labels = torch.zeros(24, dtype=torch.long, device=DEVICE), torch.arange(24, device=DEVICE) % 2

    def pieces() -> Iterator[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
        for here in mmda.passes(torch.arange(24, device=DEVICE), together, at_once=256):
            tokens = known[here] if known is not None else None
            if tokens is None:
                pixels = mmda.augmented(tuple(x[here] for x in images), r.augmentation, changes)
                with torch.autocast(DEVICE.type, torch.bfloat16, enabled=DEVICE.type == "cuda"):
                    tokens = model.encode(pixels)
            yield tokens.float(), domains[here], labels[here]

    def step() -> None:
        optimiser.zero_grad()
        mmda.backward(model, pieces(), 24, together, fixed, draws)
        optimiser.step()

    return step


def mmda_scoring(model: mmda.MMDA) -> Callable[[], Any]:
    """48 rows from pixels to the scores of all heads, in the preset's own batches."""
    model.eval()
    images = mmda_images(model, 48)
    domains = torch.zeros(48, dtype=torch.long, device=DEVICE)

    @torch.inference_mode()
    def step() -> None:
        captions = model.encode_captions()
        tokens = model.encode(mmda.augmented(images, "none"))
        together = model.adaptor.r.micro_batch or 24
        mmda.score(model, tokens, None, domains, captions, torch.Generator(DEVICE).manual_seed(0), together)

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
    benchmark.extra_info |= mmda_said(model) | {"triplets_per_second": rows / benchmark.stats.stats.median}


def test_mmda_text_tower_speed(benchmark: Any) -> None:
    torch.manual_seed(0)
    model = mmda_model("batch_free").train()
    benchmark.pedantic(synchronised(mmda_captions(model)), rounds=5, warmup_rounds=2)
    benchmark.extra_info |= mmda_said(model) | {"captions": sum(map(len, model.captions))}


def mmda_said(model: mmda.MMDA) -> dict[str, Any]:
    return {
        "device": environment.environment(DEVICE, "")["device"] if DEVICE.type == "cuda" else environment.cpu_name(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "image_size": model.clip.image_size,
        "width": model.clip.dim,
        "towers": "ViT-B-16, untrained" if DEVICE.type == "cuda" else "the stand-in's architecture, untrained",
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
