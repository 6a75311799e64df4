"""The same numbers by other routes: fused attention, torch.compile, two processes, channels last."""

import os
import sysconfig
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from reference import mmda, mmfas
from reference.batches import Batch
from reference.mmda import MMDA, Adaptor
from reference.mmfas import Alignment, build
from reference.rivals import method
from reference.rivals.rows import Row
from reference.training import arithmetic
from spec_tests.support.ranks import run_in_processes
from spec_tests.support.tiny_clip import tiny_clip
from spec_tests.support.tiny_rows import TRAINED, batch_for, tiny_row

SIZE, DIM = 32, 32
CPU = torch.device("cpu")
# Two routes round differently, in float32 by some units of the last of seven digits for each of some ten layers.
NEAR = {"rtol": 1e-4, "atol": 1e-5}
seeds = st.integers(0, 2**31)


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def images(seed: int, batch: int = 3, dtype: torch.dtype = torch.float32) -> list[Tensor]:
    g = generator(seed)
    return [2 * torch.rand(batch, 3, SIZE, SIZE, generator=g, dtype=dtype) - 1 for _ in range(3)]


def adaptor_inputs(seed: int, batch: int = 6) -> tuple[Tensor, list[Tensor], Tensor]:
    g = generator(seed)
    tokens, spoof, real = (torch.randn(*shape, DIM, generator=g) for shape in ((batch, 3), (4,), (3,)))
    return tokens, [spoof, real], torch.arange(batch) % 2


# Fused attention


@pytest.mark.parametrize("backend", [SDPBackend.MATH, SDPBackend.FLASH_ATTENTION])
@pytest.mark.parametrize("fusion", ["switch", "cross", "merge"])
def test_mmfas_by_fused_attention_is_mmfas_by_equation_5(
    fusion: str, backend: SDPBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    model, batch = build(fusion=fusion, image_size=SIZE), images(5)

    def result() -> tuple[Tensor, tuple[Tensor, ...]]:
        logits = model(*batch)
        return logits.detach(), torch.autograd.grad(logits.sum(), tuple(model.encoders.parameters()))

    by_equation = result()
    monkeypatch.setattr(mmfas, "attention", F.scaled_dot_product_attention)
    with sdpa_kernel(backend):
        fused = result()
    torch.testing.assert_close(fused, by_equation, **NEAR)


@pytest.mark.parametrize("backend", [SDPBackend.MATH, SDPBackend.FLASH_ATTENTION])
@given(seed=seeds, temperature=st.sampled_from([0.5, 5.7]), lam=st.sampled_from([-0.4, 0.78]))
@settings(max_examples=10)
def test_differential_attention_is_the_difference_of_two_fused_ones(
    backend: SDPBackend, seed: int, temperature: float, lam: float
) -> None:
    q, k, v, q_dom, k_dom = torch.randn(5, 2, 4, 3, 8, generator=generator(seed))
    with sdpa_kernel(backend):
        own, domain = (
            F.scaled_dot_product_attention(a, b, v, scale=1 / temperature) for a, b in ((q, k), (q_dom, k_dom))
        )
    by_equation = mmda.differential_attention(q, k, v, q_dom, k_dom, lam, temperature)
    torch.testing.assert_close(own - lam * domain, by_equation, **NEAR)


# torch.compile


@pytest.fixture
def compiled() -> Callable[[Callable], Callable]:
    """torch.compile in its default mode, or a skip that says what it lacks here."""
    from torch._inductor import config, exc
    from torch._inductor.cpp_builder import get_cpp_compiler

    try:
        get_cpp_compiler()
    except exc.InvalidCxxCompiler:
        pytest.skip("torch.compile needs a C++ compiler, and there is none")
    if not Path(sysconfig.get_paths()["include"], "Python.h").exists():
        pytest.skip("torch.compile needs Python's header files, and there are none")
    config.compile_threads = 1  # starting a pool of compilers takes longer than these few kernels
    return torch.compile


def test_compiled_mmfas_is_mmfas(compiled: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    # Compilation takes time for every layer: one encoder of one layer, and a fusion layer of each rotation.
    monkeypatch.setitem(mmfas.SHAPES, "table2", mmfas.Shape(3, False))
    monkeypatch.setattr(mmfas, "ENCODER_DEPTH", 1)
    torch.manual_seed(0)
    model, batch = build(image_size=SIZE).eval(), images(1)
    encoder = model.encoders["R"]
    with torch.inference_mode():
        streams = model.encode(*batch)
        torch.testing.assert_close(compiled(encoder)(batch[0]), encoder(batch[0]), **NEAR)
        torch.testing.assert_close(compiled(model.classify)(streams), model.classify(streams), **NEAR)


def test_compiled_mmda_is_mmda(compiled: Callable) -> None:
    torch.manual_seed(0)
    model = Adaptor("paper", layers=1, dim=DIM).eval()
    tokens, captions, domains = adaptor_inputs(1)
    with torch.inference_mode():
        # The captions pass through layers like the images', uncompiled: their sizes would be compiled for anew.
        texts = model.text_states(captions, mmda.Pass(None))

        def scores(images: Tensor) -> dict[str, Tensor]:
            return model.outputs(images, captions, domains, 10.0, texts=texts).logits

        torch.testing.assert_close(compiled(scores)(tokens), scores(tokens), **NEAR)


def losses(rgb: Tensor, depth: Tensor, ir: Tensor, tau: Tensor, logits: Tensor, labels: Tensor) -> tuple[Tensor, ...]:
    """Every loss of both papers, of one batch."""
    same = mmfas.same_class(labels, labels.roll(1))
    icl, cm = mmfas.icl_loss(rgb, depth, ir, tau), mmfas.cm_loss(logits, same, -logits, same)
    align = [mmda.soft_cross_entropy(logits, mmda.smooth_targets(labels, normalised=n)) for n in (True, False)]
    text = mmda.soft_cross_entropy(-logits, mmda.text_targets(labels))
    return mmfas.total_loss(logits.mean(), icl, cm, 0.5, 2.0), mmda.rs2_loss(align, logits.std(), text)


def test_compiled_losses_and_their_gradients_are_the_losses(compiled: Callable) -> None:
    g = generator(0)
    inputs = [torch.randn(6, 8, generator=g) for _ in range(3)] + [torch.tensor(0.2), torch.randn(6, 2, generator=g)]
    labels = torch.tensor([0, 1, 0, 1, 1, 0])

    def result(function: Callable) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        leaves = [x.clone().requires_grad_() for x in inputs]
        values = function(*leaves, labels)
        return tuple(v.detach() for v in values), torch.autograd.grad(sum(values), leaves)

    torch.testing.assert_close(result(compiled(losses)), result(losses), **NEAR)


def test_a_step_of_mmfas_through_compiled_encoders_is_the_step(
    compiled: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(mmfas.SHAPES, "text", mmfas.Shape(1, False))
    monkeypatch.setattr(mmfas, "ENCODER_DEPTH", 1)
    number = torch.arange(4)
    batch = Batch(*images(1, 4), label=number % 2.0, domain=number, recording=number // 2, rows=number)
    eager = mmfas_step(batch)
    monkeypatch.setattr(mmfas.Encoder, "forward", compiled(mmfas.Encoder.forward))
    torch.testing.assert_close(mmfas_step(batch), eager, **NEAR)


# Two processes

PARTS = 2
SECONDS = 300  # for all of it, imports included


class Standing:
    """Stands in for an optimiser: a step changes no weight."""

    def __init__(self, model: nn.Module) -> None:
        self.model, self.param_groups = model, [{"params": [*model.parameters()]}]

    def zero_grad(self) -> None:
        self.model.zero_grad()

    def step(self) -> None:
        pass


Result = tuple[dict[str, Tensor], dict[str, Tensor]]  # losses, and every parameter's gradient


def result(model: nn.Module, losses: dict[str, Tensor]) -> Result:
    return losses, {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def mmfas_step(batch: Batch) -> Result:
    """The step of `reference.mmfas` on a batch, whole or this process's part of it."""
    torch.manual_seed(0)
    options = mmfas.Options(
        index=Path(), run_dir=Path(), preset="text", image_size=SIZE, tau_scope="pair", projection=16,
        icl_target="recording", mining_pairs="both_ways", alpha=0.5, beta=2.0,
    )  # fmt: skip
    model, alignment = options.model().train(), Alignment(options)
    both = nn.ModuleList([model, alignment])
    losses = mmfas.step(model, alignment, Standing(both), batch, options, generator(3), arithmetic(CPU, bf16=False))
    return result(both, losses)


def mmda_step(batch: Batch, together: int, draws: torch.Generator) -> Result:
    """The step of `reference.mmda` on a batch; Eq. 1's partners are of the same `together` rows."""
    torch.manual_seed(0)
    model = MMDA(tiny_clip(), [["a print", "a screen"], ["a face"]], Adaptor("released", 1, DIM)).train()

    def tokens(piece: Batch) -> Tensor:
        return model.encode(mmda.augmented(piece.images, "none"))

    losses = mmda.step(model, Standing(model), batch, tokens, None, draws, together)
    return result(model, losses)


def in_part(rank: int, folder: str) -> None:
    """What each process does: a step by parts, then the whole of it alone, and both must agree."""
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    torch.set_num_threads(1)
    # All in float64, also what a step turns into float32: no rule that is off hides behind rounding.
    torch.set_default_dtype(torch.float64)
    Tensor.float = Tensor.double
    mmfas.ENCODER_DEPTH, mmfas.SHAPES["text"] = 1, mmfas.Shape(3, False)  # fewer layers take less time
    mmda.DROPOUT, mmda.KEEP = 0.0, 1e-12  # with what the draws decide held fixed: a process draws for its part alone
    labels = torch.tensor([0.0, 1, 1, 0, 1, 0, 0, 1])
    recordings, numbers = torch.tensor([0, 1, 2, 0, 1, 3, 4, 4]), torch.arange(8)
    batch = Batch(*images(1, 8, torch.float64), labels, numbers % 2, recordings, numbers)
    half = len(batch) // PARTS
    part = batch[rank * half : (rank + 1) * half]

    dist.init_process_group("gloo", f"file://{folder}/store", timedelta(seconds=SECONDS), rank=rank, world_size=PARTS)
    by_parts = [mmfas_step(part), mmda_step(part, half, generator(0))]
    for losses, _ in by_parts:
        for loss in losses.values():
            dist.all_reduce(loss)
            loss /= PARTS
    dist.destroy_process_group()

    alone = [mmfas_step(batch), mmda_step(batch, half, generator(0))]  # MMDA's parts are its micro-batches
    for (losses, gradients), (expected, whole) in zip(by_parts, alone, strict=True):
        assert gradients.keys() == whole.keys()
        torch.testing.assert_close(losses, expected, rtol=1e-9, atol=1e-12)
        torch.testing.assert_close(gradients, whole, rtol=1e-7, atol=1e-10)


@pytest.mark.skipif(not dist.is_available() or not dist.is_gloo_available(), reason="torch was built without gloo")
def test_two_processes_compute_the_step_of_one(tmp_path: Path) -> None:
    """mmFAS: both losses of the whole batch. MMDA: a process's part is a micro-batch, partners do not cross it."""
    run_in_processes(in_part, tmp_path, PARTS, SECONDS)


# Channels last, as convolutions are computed on CUDA


@pytest.mark.parametrize("row", TRAINED, ids=[row.name for row in TRAINED])
def test_a_step_with_channels_last_is_the_step(row: Row, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nn.Dropout, "forward", lambda self, x: x)

    def losses(layout: torch.memory_format) -> dict[str, Tensor]:
        with tiny_row(row) as made:
            network = made.network.to(memory_format=layout)
            optimiser = torch.optim.SGD(network.parameters(), 1e-3)
            for _ in range(2):
                found = method.step(made, optimiser, batch_for(row), torch.autocast("cpu", enabled=False))
        return found

    expected = losses(torch.contiguous_format)
    torch.testing.assert_close(losses(torch.channels_last), expected, rtol=1e-3, atol=1e-4)
