"""mmFAS Eq. 6: which stream gives queries, keys and values in which layer."""

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from spec_tests.equations import formula_oracles as oracles
from spec_tests.equations.adapter import call, spec
from spec_tests.equations.strategies import draws
from spec_tests.equations.tolerances import close, f64

ORDERS = ["".join(order) for order in itertools.permutations("RDI")]
LAYER = st.integers(0, 12)


def names_of(sources, streams):
    """Which stream each source is, by value."""
    matches = [[name for name, s in zip("RDI", streams, strict=True) if torch.equal(s, got)] for got in sources]
    assert all(len(names) == 1 for names in matches), "a switched stream is none of the three given"
    return "".join(names[0] for names in matches)


@spec("mmfas-eq6", "switch")
@pytest.mark.parametrize(
    ("layer", "expected"), [(0, "RDI"), (1, "DIR"), (2, "IRD"), (3, "RDI"), (4, "DIR"), (5, "IRD"), (6, "RDI")]
)
def test_switch_rotates_as_the_paper_prints_it(layer, expected):
    streams = tuple(torch.full((1, 2), value) for value in (1.0, 2.0, 3.0))
    assert names_of(call("switch", streams, layer), streams) == expected
    assert names_of(call("switch", streams, layer, order="RDI"), streams) == expected


@spec("mmfas-eq6", "switch")
@given(draw=draws(), layer=LAYER, order=st.sampled_from(ORDERS))
def test_switch_starts_with_the_order_and_shifts_left_by_one_a_layer(draw, layer, order):
    streams = tuple(draw.normal(2, 3, 4) for _ in range(3))
    expected = "".join(oracles.switch(list("RDI"), layer, order))
    assert names_of(call("switch", streams, layer, order=order), streams) == expected
    assert names_of(call("switch", streams, layer, order), streams) == expected


@spec("mmfas-eq6", "switch")
@given(draw=draws(), layer=LAYER, order=st.sampled_from(ORDERS))
def test_switch_three_layers_on_is_the_same_and_gives_every_stream_every_role_once(draw, layer, order):
    streams = tuple(draw.normal(2, 3) for _ in range(3))
    rounds = [names_of(call("switch", streams, layer + step, order=order), streams) for step in range(4)]
    assert rounds[3] == rounds[0]
    assert all({r[role] for r in rounds[:3]} == set("RDI") for role in range(3))
    assert [r[0] for r in rounds[1:4]] == [r[1] for r in rounds[:3]]  # left: the keys' stream gives queries next


@spec("mmfas-eq6", "switch")
@given(draw=draws(), layer=LAYER, order=st.sampled_from(ORDERS))
def test_switch_lets_every_gradient_through(draw, layer, order):
    streams = tuple(draw.normal(2, 3).requires_grad_() for _ in range(3))
    sources = call("switch", streams, layer, order=order)
    (sources[0].sum() + 2 * sources[1].sum() + 3 * sources[2].sum()).backward()
    weight = dict(zip(oracles.switch(list("RDI"), layer, order), (1.0, 2.0, 3.0), strict=True))
    for name, stream in zip("RDI", streams, strict=True):
        assert stream.grad is not None
        close(stream.grad, torch.full((2, 3), weight[name]))


def bare_layer(draw, streams, layer, *order, **named):
    """One head without projections: what is left of a layer is Eq. 6."""
    width = streams[0].shape[-1]
    eye, zero = draw.place(torch.eye(width)), draw.place(torch.zeros(width))
    return call("switch_attention", *streams, layer, eye, eye, eye, eye, zero, 1, *order, **named)


@spec("mmfas-eq6", "switch_attention")
@given(draw=draws(), layer=LAYER, order=st.sampled_from(ORDERS), tokens=st.integers(1, 4), width=st.integers(1, 5))
def test_switch_attention_reads_queries_keys_and_values_from_the_switched_streams(draw, layer, order, tokens, width):
    streams = tuple(draw.normal(2, tokens, width) for _ in range(3))
    expected = oracles.attention(*(f64(s) for s in oracles.switch(streams, layer, order)))
    close(bare_layer(draw, streams, layer, order=order), expected, magnitude=width)
    close(bare_layer(draw, streams, layer, order), expected, magnitude=width)


@spec("mmfas-eq6", "switch_attention")
@given(draw=draws(), layer=LAYER)
def test_switch_attention_starts_with_rgb_depth_infrared_unless_told(draw, layer):
    streams = tuple(draw.normal(2, 3, 4) for _ in range(3))
    expected = oracles.attention(*(f64(s) for s in oracles.switch(streams, layer, "RDI")))
    close(bare_layer(draw, streams, layer), expected, magnitude=4)


@spec("mmfas-eq6", "switch_attention")
@given(draw=draws(), layer=LAYER, order=st.sampled_from(ORDERS))
def test_switch_attention_uses_each_stream_in_its_one_role(draw, layer, order):
    streams = dict(zip("RDI", (draw.normal(1, 3, 4) for _ in range(3)), strict=True))
    query, key, value = oracles.switch(list("RDI"), layer, order)

    def changed(name, to):
        return bare_layer(draw, tuple({**streams, name: to}.values()), layer, order=order)

    out = changed(query, streams[query])
    moved = streams[query].clone()
    moved[:, 0] += 1
    close(changed(query, moved)[:, 1:], out[:, 1:], magnitude=4)  # a query moves its own row only
    close(changed(key, streams[key] + draw.normal(1, 1, 4)), out, magnitude=20)  # keys only compare
    close(changed(value, 3 * streams[value]), 3 * out, magnitude=12)  # values enter linearly
