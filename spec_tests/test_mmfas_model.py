"""The mmFAS network as a whole: sizes, what fusion may touch, independence of batch-mates, every reading."""

import itertools
from dataclasses import fields
from typing import Literal, get_args, get_origin, get_type_hints

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from reference import mmfas
from reference.mmfas import Alignment, Readings, build, count_parameters

SIZE = 32  # 4 patches and a class token: the widths and depths are the paper's, only the sequence is short
seeds = st.integers(0, 2**32 - 1)


def images(seed: int, batch: int = 3) -> list[torch.Tensor]:
    rng = np.random.default_rng(seed)
    return [torch.from_numpy(rng.uniform(-1, 1, (batch, 3, SIZE, SIZE)).astype(np.float32)) for _ in range(3)]


@pytest.fixture(scope="module")
def models() -> dict[str, torch.nn.Module]:
    torch.manual_seed(0)
    return {f: build(fusion=f, image_size=SIZE).eval() for f in ("switch", "cross", "merge", "mean")}


@pytest.mark.parametrize(
    ("choice", "count"),
    [
        ({"fusion": "mean", "modalities": "R"}, 2_916_187),
        ({"fusion": "mean", "modalities": "D"}, 2_916_187),
        ({"fusion": "mean", "modalities": "RI"}, 5_758_933),
        ({"fusion": "mean"}, 8_601_679),
        ({"fusion": "switch"}, 15_627_619),
        ({"fusion": "cross"}, 29_660_059),
        ({"fusion": "merge"}, 56_108_449),
        ({"preset": "text"}, 13_873_159),
        ({"preset": "depth8"}, 15_630_319),
        ({"preset": "depth8", "fusion": "cross"}, 29_661_679),
    ],
)
def test_parameter_counts_are_those_of_table_2(choice: dict[str, str], count: int) -> None:
    with torch.device("meta"):
        model = build(**choice)
    assert count_parameters(model) == count
    tokens = 1 + (224 // 16) ** 2
    raw = (1 + tokens) * 270 * len(choice.get("modalities", "RDI"))  # class token and positions: no leaf module's
    assert count_parameters(model, leaf_modules_only=False) == count + raw == sum(p.numel() for p in model.parameters())


@given(seed=seeds)
@settings(max_examples=5)
@pytest.mark.parametrize("fusion", ["switch", "cross", "merge", "mean"])
def test_a_score_depends_on_its_own_sample_alone(models: dict, fusion: str, seed: int) -> None:
    rgb, depth, ir = images(seed, batch=4)
    with torch.inference_mode():
        together = models[fusion](rgb, depth, ir)
        alone = torch.cat([models[fusion](*(x[i : i + 1] for x in (rgb, depth, ir))) for i in range(4)])
        others = [x.clone() for x in (rgb, depth, ir)]
        for x in others:
            x[1:] = -x[1:]
        beside_others = models[fusion](*others)
    # The order of float32 additions may differ with the batch size, nothing else.
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(together[0], beside_others[0], rtol=1e-4, atol=1e-5)
    assert (together[1:] - beside_others[1:]).abs().min() > 1e-6


@given(seed=seeds)
@settings(max_examples=5)
@pytest.mark.parametrize("order", ["".join(p) for p in itertools.permutations("RDI")])
def test_switch_fusion_leaves_depth_and_infrared_unchanged(order: str, seed: int) -> None:
    torch.manual_seed(seed)
    model = build(image_size=SIZE, order=order).eval()
    with torch.inference_mode():
        tokens = model.encode(*images(seed))
        rgb, depth, ir = model.fusion.streams(*tokens)
    assert torch.equal(depth, tokens[1])
    assert torch.equal(ir, tokens[2])
    assert (rgb - tokens[0]).abs().max() > 1e-3


def test_the_six_orders_and_both_first_layers_are_different_functions() -> None:
    outputs = []
    for first, order in itertools.product((0, 1), ("".join(p) for p in itertools.permutations("RDI"))):
        torch.manual_seed(1)
        model = build(image_size=SIZE, order=order, readings=Readings(first_layer=first)).eval()
        with torch.inference_mode():
            outputs.append(((first, order), model(*images(7))))
    shifted = {(0, order[1:] + order[0]): (1, order) for _, order in (k for k, _ in outputs)}
    by_key = dict(outputs)
    for a, b in itertools.combinations(by_key, 2):
        same = torch.allclose(by_key[a], by_key[b], rtol=1e-5, atol=1e-7)
        assert same == (shifted.get(a) == b or shifted.get(b) == a), (a, b)


@pytest.mark.parametrize("dropped", [0, 1, 2])
@pytest.mark.parametrize("fusion", ["switch", "cross", "merge", "mean"])
def test_every_modality_reaches_the_output(models: dict, fusion: str, dropped: int) -> None:
    whole = images(3)
    black = [torch.full_like(x, -1) if i == dropped else x for i, x in enumerate(whole)]
    with torch.inference_mode():
        assert (models[fusion](*whole) - models[fusion](*black)).abs().max() > 1e-6


def test_fused_attention_equals_equation_5(models: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    batch = images(5)
    with torch.inference_mode():
        formula = models["switch"](*batch)
        monkeypatch.setattr(mmfas, "attention", torch.nn.functional.scaled_dot_product_attention)
        fused = models["switch"](*batch)
    torch.testing.assert_close(formula, fused, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "bad",
    [
        {"preset": "table9"},
        {"fusion": "sum"},
        {"modalities": ""},
        {"modalities": "RR", "fusion": "mean"},
        {"modalities": "RX", "fusion": "mean"},
        {"modalities": "RD"},
        {"order": "RRD"},
        {"image_size": 100},
    ],
)
def test_build_refuses_what_is_no_model(bad: dict) -> None:
    with pytest.raises(ValueError, match=next(iter(bad))):
        build(**bad)


def _alternatives() -> list[tuple[str, object]]:
    """Every value of every reading but the defaults."""
    hints, out = get_type_hints(Readings), []
    for field in fields(Readings):
        kind = hints[field.name]
        if get_origin(kind) is Literal:
            values = get_args(kind)
        elif kind is bool:
            values = (True, False)
        else:  # a projection's width, the first temperature
            values = (64,) if kind is int else (0.2,)
        out += [(field.name, v) for v in values if v != field.default]
    return out


def _losses(readings: Readings, labels: torch.Tensor, seed: int = 0) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    torch.manual_seed(seed)
    model, alignment = build(image_size=SIZE, readings=readings), Alignment(readings)
    generator = torch.Generator().manual_seed(seed)
    streams = model.encode(*images(seed, len(labels)))
    pooled = [model.pool(x) for x in streams]
    clips = torch.arange(len(labels)) // 2
    icl, cm = alignment(*pooled, labels, clips, generator)
    logits = model.classify(streams)
    bce = torch.nn.functional.binary_cross_entropy_with_logits(logits, labels)
    loss = mmfas.total_loss(bce, icl, cm)
    loss.backward()
    values = {"logits": logits.detach(), "icl": icl.detach(), "cm": cm.detach()}
    return loss, values | {n: p.grad for n, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize(("name", "value"), _alternatives())
def test_every_reading_trains_and_is_not_the_default(name: str, value: object) -> None:
    labels = torch.tensor([0.0, 1, 0, 1, 1, 0, 0, 1])
    _, default = _losses(Readings(), labels)
    loss, other = _losses(Readings(**{name: value}), labels)
    assert torch.isfinite(loss)
    # These three start from the same values by design; the tests below tell them apart.
    if name not in ("tau_form", "tau_scope", "own_positive"):
        assert default.keys() != other.keys() or any(
            default[k].shape != other[k].shape or not torch.equal(default[k], other[k]) for k in default
        )


def test_temperature_readings_part_ways() -> None:
    assert Alignment(Readings(tau_scope="pair")).tau.shape == (2,)
    clamped, learned = Alignment(Readings()), Alignment(Readings(tau_form="exp"))
    torch.testing.assert_close(clamped.tau, learned.tau)
    with torch.no_grad():
        clamped.tau_parameter.fill_(-3.0)
        learned.tau_parameter.fill_(-30.0)
    clamped.clamp_tau()
    learned.clamp_tau()
    assert clamped.tau.item() == pytest.approx(0.001)
    assert 0 < learned.tau.item() < 1e-12
    with torch.no_grad():
        clamped.tau_parameter.fill_(7.0)
    clamped.clamp_tau()
    assert clamped.tau.item() == pytest.approx(0.5)


@given(seed=seeds, n=st.integers(2, 9))
def test_the_hardest_pairs_are_the_extremes(seed: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    s, labels = rng.normal(size=(n, n)), rng.integers(0, 2, n)
    for own in (False, True):
        negative, positive = mmfas.hardest_pairs(torch.from_numpy(s), torch.from_numpy(labels), own)
        for i in range(n):
            others = [j for j in range(n) if labels[j] != labels[i]]
            same = [j for j in range(n) if labels[j] == labels[i] and (own or j != i)]
            assert negative[i] == (max(others, key=lambda j: s[i, j]) if others else -1)
            assert positive[i] == (min(same, key=lambda j: s[i, j]) if same else -1)


@given(seed=seeds)
def test_pairs_of_each_composition(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n = 8
    s = torch.from_numpy(rng.normal(size=(n, n)))
    labels = torch.from_numpy(rng.permutation([0.0] * 4 + [1.0] * 4))
    generator = torch.Generator().manual_seed(seed)

    def pairs(**readings: object) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        i, j = Alignment(Readings(**readings))._pairs(s, labels, generator)
        return i.numpy(), j.numpy(), (labels[i] == labels[j]).numpy()

    i, j, same = pairs()
    assert len(i) == 2 * n
    assert same.sum() == n
    assert not np.any(i == j)
    i, j, same = pairs(mining_pairs="both_ways")
    assert len(i) == 3 * n
    assert same.sum() == n
    assert sorted(i[:n]) == sorted(j[n : 2 * n]) == list(range(n))
    i, j, same = pairs(mining_pairs="matched")
    assert len(i) == 2 * n
    assert np.array_equal(i[n:], j[n:])
    assert not same[:n].any()
    i, j, same = pairs(cm="all")
    assert {*zip(i.tolist(), j.tolist(), strict=True)} == set(itertools.product(range(n), repeat=2))
    i, j, same = pairs(cm="random")
    assert sorted(i) == sorted(j) == list(range(n))


def test_a_batch_of_one_class_leaves_anchors_out_and_stays_finite() -> None:
    loss, values = _losses(Readings(), torch.zeros(4))
    assert torch.isfinite(loss)
    i, j = Alignment(Readings())._pairs(torch.zeros(1, 1), torch.zeros(1), torch.Generator())
    assert len(i) == len(j) == 0
    assert values["cm"] > 0
