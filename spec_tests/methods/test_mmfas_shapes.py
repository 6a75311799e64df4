"""Padded shapes and the fused kernel of attention are the same mathematics as mmFAS's layers written out."""

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import nn

from reference import mmfas
from spec_tests.support.networks import images, scrambled

SEEDS = st.integers(0, 2**31)


def results(network, inputs, outward):
    """Outputs and the gradients of inputs and parameters."""
    inputs = [x.clone().requires_grad_() for x in inputs]
    network.zero_grad()
    out = network(*inputs)
    out.backward(outward)
    return [out.detach(), *(x.grad for x in inputs), *(p.grad for p in network.parameters())]


def close(ours, theirs):
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-11)


def on(monkeypatch, padded):
    monkeypatch.setattr(mmfas, "PADDED", frozenset({"cpu"} if padded else ()))


@given(
    seed=SEEDS, heads=st.integers(1, 6), width=st.integers(1, 19), queries=st.integers(1, 5), keys=st.integers(1, 40)
)
@example(seed=0, heads=6, width=45, queries=3, keys=5)
@example(seed=0, heads=2, width=8, queries=1, keys=1)
def test_padded_attention_is_attention(seed, heads, width, queries, keys):
    rng = torch.Generator().manual_seed(seed)
    network = scrambled(mmfas.MultiHead(heads * width, heads), seed).double()
    inputs = [torch.randn(2, n, heads * width, generator=rng, dtype=torch.float64) for n in (queries, keys, keys)]
    outward = torch.randn(2, queries, heads * width, generator=rng, dtype=torch.float64)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mmfas, "FUSED_FROM", 10**9)
        on(patch, False)
        plain = results(network, inputs, outward)
        on(patch, True)
        close(results(network, inputs, outward), plain)
        on(patch, False)
        patch.setattr(mmfas, "FUSED_FROM", 0)
        close(results(network, inputs, outward), plain)


@given(seed=SEEDS, inward=st.integers(1, 20), outward=st.integers(1, 20))
def test_a_padded_linear_layer_is_a_linear_layer(seed, inward, outward):
    rng = torch.Generator().manual_seed(seed)
    layer = scrambled(mmfas.Linear(inward, outward), seed).double()
    x, up = (torch.randn(3, n, generator=rng, dtype=torch.float64) for n in (inward, outward))
    with pytest.MonkeyPatch.context() as patch:
        on(patch, True)
        padded = results(layer, [x], up)
        on(patch, False)
        close(padded, results(layer, [x], up))


@settings(max_examples=2)
@given(seed=SEEDS)
def test_a_padded_network_is_the_network(seed):
    network = scrambled(mmfas.build(image_size=16), seed).double()
    inputs = [x.double() for x in images(seed, 16)]
    with pytest.MonkeyPatch.context() as patch:
        on(patch, True)
        padded = results(network, inputs, torch.ones(2, dtype=torch.float64))
        on(patch, False)
        close(padded, results(network, inputs, torch.ones(2, dtype=torch.float64)))


@pytest.mark.parametrize(("tokens", "fused"), [(mmfas.FUSED_FROM - 1, False), (mmfas.FUSED_FROM, True)])
def test_a_cpu_takes_the_fused_kernel_for_many_tokens(monkeypatch, tokens, fused):
    called = []
    kernel = nn.functional.scaled_dot_product_attention
    monkeypatch.setattr(mmfas.F, "scaled_dot_product_attention", lambda *args: called.append(1) or kernel(*args))
    x = torch.zeros(1, tokens, 12)
    mmfas.MultiHead(12, 2)(x, x, x)
    assert bool(called) == fused


def test_the_work_of_a_padded_layer_is_that_of_padded_shapes(monkeypatch):
    on(monkeypatch, True)
    seen = []
    linear = nn.functional.linear
    monkeypatch.setattr(mmfas.F, "linear", lambda x, w, b=None: seen.append(w.shape) or linear(x, w, b))
    x = torch.zeros(1, 3, mmfas.DIM)
    mmfas.MultiHead(mmfas.DIM, mmfas.HEADS)(x, x, x)
    mmfas.FeedForward(mmfas.DIM, mmfas.FFN)(x)
    assert [tuple(s) for s in seen] == [*[(288, 272)] * 3, (272, 288), (1080, 272), (272, 1080)]
