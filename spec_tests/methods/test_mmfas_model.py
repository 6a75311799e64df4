"""The mmFAS network as a whole: sizes, what fusion may touch, independence of batch-mates, every reading."""

import itertools
import math
from dataclasses import fields
from pathlib import Path
from typing import Literal, get_args, get_origin, get_type_hints

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file

from data_manifests.index import load_index
from reference import mmfas, processes
from reference.batches import BalancedSampler
from reference.faces import open_faces
from reference.mmfas import SHAPES, Alignment, Options, Readings, build, count_parameters
from reference.runs import Run
from spec_tests.equations import formula_oracles as oracles
from spec_tests.methods.numpy_mmfas_network import NumpyMmfasNetwork
from spec_tests.support import miniature
from spec_tests.support.ranks import Ranks

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


def shaken(module: torch.nn.Module, seed: int = 0) -> torch.nn.Module:
    """In float64 and evaluation mode, with weights all of which matter (biases and class tokens begin at zero)."""
    generator = torch.Generator().manual_seed(seed)
    module = module.double().eval()
    with torch.no_grad():
        for p in module.parameters():
            p.add_(0.1 * torch.randn(p.shape, generator=generator, dtype=p.dtype))
    return module


NETWORKS: dict[str, tuple[dict[str, str], dict[str, object]]] = {
    "mean": ({"fusion": "mean"}, {"pooling": "mean"}),
    "mean_others": ({"fusion": "mean"}, {"positions": "none", "fusion_norm": True, "head_outputs": 2}),
    "mean_RI": ({"fusion": "mean", "modalities": "RI"}, {}),
    "mean_ID": ({"fusion": "mean", "modalities": "ID"}, {}),
    **{"".join(order): ({"order": "".join(order)}, {}) for order in itertools.permutations("RDI")},
    "update_all": ({"order": "IRD"}, {"update": "all"}),
    "update_query": ({}, {"update": "query", "output": "rgb"}),
    "residual_query": ({"order": "DRI"}, {"residual": "query", "first_layer": 1}),
    "modalities_IDR": ({"modalities": "IDR"}, {}),
    "text": ({"preset": "text"}, {}),
    "depth8": ({"preset": "depth8"}, {}),
    "cross": ({"fusion": "cross"}, {}),
    "cross_text": ({"fusion": "cross", "preset": "text"}, {}),
    "merge": ({"fusion": "merge"}, {}),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_the_network_is_the_one_written_down(name: str) -> None:
    choice, readings = NETWORKS[name]
    torch.manual_seed(0)
    model = shaken(build(**choice, image_size=SIZE, readings=Readings(**readings)))
    batch = [x.double() for x in images(1, batch=2)]
    twin = NumpyMmfasNetwork(
        {name: p.detach().numpy() for name, p in model.named_parameters()},
        Readings(**readings),
        choice.get("fusion", "switch"),
        choice.get("modalities", "RDI"),
        choice.get("order", "RDI"),
        SHAPES[choice.get("preset", "table2")].depth,
    )
    with torch.inference_mode():
        got = model(*batch).numpy()
    np.testing.assert_allclose(got, twin.logits(*(x.numpy() for x in batch)), rtol=1e-9, atol=1e-9)


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
    recordings = torch.arange(len(labels)) // 2
    icl, cm = alignment(*pooled, labels, recordings, generator)
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


@given(seed=seeds)
@settings(max_examples=10)
@pytest.mark.parametrize(
    "readings",
    [
        {},
        {"tau_scope": "pair", "projection": 7, "cm_predictor": "shared"},
        {"normalise": False, "tau": 0.5, "tau_form": "exp"},
        {"icl_target": "recording", "cm": "all"},
        {"own_positive": "allowed"},
    ],
    ids=str,
)
def test_alignment_is_equations_3_and_4_of_the_mined_pairs(readings: dict, seed: int) -> None:
    n, width = 6, 8
    torch.manual_seed(seed)
    alignment = Alignment(Readings(**readings), dim=width).double()
    with torch.no_grad():
        alignment.tau_parameter.mul_(torch.tensor([1.0, 1.3]) if alignment.tau.ndim else 1.1)
    rng = np.random.default_rng(seed)
    features = [rng.normal(size=(n, width)) for _ in range(3)]
    labels, recordings = rng.permutation([0.0, 0, 0, 1, 1, 1]), rng.integers(0, 3, n)
    with torch.no_grad():
        got = alignment(*map(torch.from_numpy, (*features, labels, recordings)), torch.Generator().manual_seed(seed))

    taus = np.broadcast_to(alignment.tau.detach().numpy(), 2)
    rgb, *others = (p(torch.from_numpy(f)).detach().numpy() for p, f in zip(alignment.project, features, strict=True))
    generator = torch.Generator().manual_seed(seed)
    icl = cm = 0.0
    for kind, (raw, other) in enumerate(zip(features[1:], others, strict=True)):
        s = oracles.similarity(rgb, other, alignment.r.normalise) / taus[kind]
        match = recordings[:, None] == recordings if "icl_target" in readings else np.eye(n, dtype=bool)
        for scores in (s, s.T):
            for i, row in enumerate(scores):
                mine = np.flatnonzero(match[i])
                icl += 0.5 / n * np.mean([oracles.cross_entropy(list(row), j) for j in mine])
        if alignment.r.cm == "all":
            pairs = list(itertools.product(range(n), repeat=2))
        else:
            own = alignment.r.own_positive == "allowed"
            drawn = mmfas.mine_pairs(torch.from_numpy(s), torch.from_numpy(labels), generator, own)
            pairs = [(i, int(j)) for side in drawn for i, j in enumerate(side)]
        predict = alignment.predict[kind]
        joined = np.array([np.concatenate([features[0][i], raw[j]]) for i, j in pairs])
        logits = joined @ predict.weight.detach().numpy().T + predict.bias.detach().numpy()
        cm += np.mean(
            [
                oracles.cross_entropy(list(z), int(labels[i] == labels[j]))
                for z, (i, j) in zip(logits, pairs, strict=True)
            ]
        )
    np.testing.assert_allclose([float(x) for x in got], [icl, cm], rtol=1e-6)


def test_alignment_teaches_features_predictors_and_temperature() -> None:
    generator = torch.Generator().manual_seed(0)
    labels = torch.tensor([0.0, 1, 0, 1, 1, 0])
    alignment = Alignment(Readings(), dim=8)
    for part in (0, 1):
        features = [torch.randn(6, 8, generator=generator).requires_grad_() for _ in range(3)]
        alignment.zero_grad()
        alignment(*features, labels, labels, generator)[part].backward()
        assert all(f.grad is not None and f.grad.abs().min() > 0 for f in features)
        # mining has no gradient: only Eq. 3 teaches the temperature, only Eq. 4 the predictors
        assert (alignment.tau_parameter.grad is not None) == (part == 0)
        assert all((p.grad is not None) == (part == 1) for p in alignment.predict.parameters())


@given(seed=seeds, n=st.integers(1, 6))
def test_contrastive_targets_may_be_any_distribution(seed: int, n: int) -> None:
    """y as handed in for RGB's rows; its transpose, each row of it made to sum to 1, for the other modality's."""
    rng = np.random.default_rng(seed)
    rgb, depth, ir = (rng.normal(size=(n, 4)) for _ in range(3))
    y = rng.uniform(0.1, 1, (n, n))
    y /= y.sum(1, keepdims=True)
    back = (y / y.sum(0)).T
    expected = 0.0
    for other in (depth, ir):
        s = oracles.similarity(rgb, other, True) / 0.3
        for scores, wanted in ((s, y), (s.T, back)):
            expected += 0.5 * np.mean(
                [
                    sum(w * oracles.cross_entropy(list(row), j) for j, w in enumerate(t))
                    for row, t in zip(scores, wanted, strict=True)
                ]
            )
    got = mmfas.icl_loss(*map(torch.from_numpy, (rgb, depth, ir)), 0.3, targets=torch.from_numpy(y))
    assert got.item() == pytest.approx(expected, rel=1e-9)


@given(seed=seeds, n=st.integers(1, 7))
def test_both_ways_mines_negatives_for_every_row_and_every_column(seed: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    s, labels = rng.normal(size=(n, n)), rng.integers(0, 2, n)
    alignment = Alignment(Readings(mining_pairs="both_ways", mining="top"))
    i, j = alignment._pairs(torch.from_numpy(s), torch.from_numpy(labels), torch.Generator())
    expected = []
    for scores, turned in ((s, False), (s.T, True)):
        for row in range(n):
            others = [c for c in range(n) if labels[c] != labels[row]]
            hardest = max(others, key=lambda c: scores[row, c]) if others else -1
            expected.append((hardest, row) if turned else (row, hardest))
    for row in range(n):
        fellows = [c for c in range(n) if labels[c] == labels[row] and c != row]
        expected.append((row, min(fellows, key=lambda c: s[row, c]) if fellows else -1))
    assert list(zip(i.tolist(), j.tolist(), strict=True)) == expected


def test_random_pairs_come_from_the_generator() -> None:
    alignment = Alignment(Readings(cm="random"))
    s, labels = torch.zeros(64, 64), torch.arange(64) % 2
    first, second = (alignment._pairs(s, labels, torch.Generator().manual_seed(3))[1] for _ in range(2))
    assert torch.equal(first, second)
    assert not torch.equal(first, torch.arange(64))


@given(seed=seeds)
@settings(max_examples=5)
def test_alignment_in_parts_is_alignment_of_the_whole(seed: int) -> None:
    draws = torch.Generator().manual_seed(seed)
    features = [torch.randn(8, 6, generator=draws) for _ in range(3)]
    batch = [*features, torch.tensor([0.0, 1] * 4), torch.arange(8) // 2]
    alignment = Alignment(Readings(icl_target="recording"), dim=6)
    whole = alignment(*batch, torch.Generator().manual_seed(seed))
    for rank in (0, 1):
        handed_in = [[*x.chunk(2)] for x in batch]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(processes, "dist", Ranks(handed_in, rank))
            part = alignment(*(x[rank] for x in handed_in), torch.Generator().manual_seed(seed))
        torch.testing.assert_close(part, whole)


def test_matching_predictors_are_two_or_one() -> None:
    assert Alignment(Readings()).predict[0] is not Alignment(Readings()).predict[1]
    shared = Alignment(Readings(cm_predictor="shared"))
    assert shared.predict[0] is shared.predict[1]


def test_the_contrastive_loss_can_be_left_out() -> None:
    features = [torch.eye(4, 8) for _ in range(3)]
    labels = torch.tensor([0.0, 1, 0, 1])
    icl, cm = Alignment(Readings(), icl=False, dim=8)(*features, labels, labels, torch.Generator().manual_seed(0))
    assert icl == 0
    assert cm > 0


@given(seed=seeds)
@settings(max_examples=5)
def test_a_seed_decides_everything(seed: int) -> None:
    labels = torch.tensor([0.0, 1, 0, 1, 1, 0, 0, 1])
    first, second, other = (_losses(Readings(), labels, s)[1] for s in (seed, seed, seed + 1))
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["logits"], other["logits"])


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


def test_training_is_what_is_written_down(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Six steps again, line by line: batches, schedule, losses, optimiser, temperature, and the scores saved."""
    index = miniature.write_index(tmp_path / "data", subjects=4, frames=4, sets="C")
    options = Options(
        index=index,
        run_dir=tmp_path / "run",
        cache_dir=tmp_path / "cache",
        image_size=SIZE,
        batch_size=8,
        epochs=3,
        evaluate_every=3,
        learning_rate=1e-3,
        weight_decay=0.3,
        device="cpu",
        preset="text",
        icl_target="recording",
        tau=0.4999,
        alpha=0.5,
        beta=2.0,
    )
    threads = torch.get_num_threads()
    monkeypatch.setattr(Run, "tidy", lambda self: None)  # the temperature stands in the checkpoint alone
    mmfas.train(options)
    torch.manual_seed(options.seed)
    model = options.model()
    alignment = Alignment(options)
    optimiser = torch.optim.AdamW([*model.parameters(), *alignment.parameters()], weight_decay=0.3)
    generator = torch.Generator().manual_seed(options.seed)
    found = load_index(index)
    faces, rows = open_faces(found, SIZE, tmp_path / "cache"), found.split("mmfas", "train")
    clip_ids = np.array([row.clip_id for row in found.rows])
    sampler = BalancedSampler(faces.bonafide[rows], 8, options.seed)
    steps = [batch for epoch in range(3) for batch in sampler.epoch(epoch)]
    assert len(steps) == 6

    def pictures(here: np.ndarray) -> list[torch.Tensor]:
        planes = torch.from_numpy((faces.images[here].astype(np.float32) - 127.5) / 127.5)
        return [planes[:, :3], *(planes[:, [p] * 3] for p in (3, 4))]

    for step, batch in enumerate(steps):
        # a tenth of six steps is one step of warming up
        optimiser.param_groups[0]["lr"] = 1e-3 * (1.0 if step == 0 else (1 + math.cos(math.pi * (step - 1) / 5)) / 2)
        here = rows[batch]
        spoof = torch.from_numpy(~faces.bonafide[here]).float()
        tokens = model.encode(*pictures(here))
        bce = torch.nn.functional.binary_cross_entropy_with_logits(model.classify(tokens), spoof)
        recordings = torch.from_numpy(np.unique(clip_ids[here], return_inverse=True)[1])
        icl, cm = alignment(*(x[:, 0] for x in tokens), spoof, recordings, generator)
        optimiser.zero_grad()
        (bce + 0.5 * icl + 2 * cm).backward()
        optimiser.step()
        with torch.no_grad():
            alignment.tau_parameter.clamp_(0.001, 0.5)
    torch.use_deterministic_algorithms(False)
    torch.set_num_threads(threads)
    for name, saved in load_file(options.run_dir / "model.safetensors").items():
        torch.testing.assert_close(saved, model.state_dict()[name], rtol=1e-4, atol=1e-6, msg=name)
    state = torch.load(options.run_dir / "checkpoint.pt", weights_only=True)["alignment"]
    assert state["tau_parameter"].item() == pytest.approx(alignment.tau.item(), rel=1e-6)
    with np.load(options.run_dir / "scores" / "val.npz") as val, torch.inference_mode():
        mine = found.split("mmfas", "val")
        assert val["sample_id"].tolist() == [found.rows[i].sample_id for i in mine]
        np.testing.assert_allclose(val["scores"][-1], -model.eval()(*pictures(mine)).numpy(), rtol=1e-3, atol=1e-4)


def test_a_batch_of_one_class_leaves_anchors_out_and_stays_finite() -> None:
    loss, values = _losses(Readings(), torch.zeros(4))
    assert torch.isfinite(loss)
    i, j = Alignment(Readings())._pairs(torch.zeros(1, 1), torch.zeros(1), torch.Generator())
    assert ((i == -1) | (j == -1)).all()
    alone = Alignment(Readings(), icl=False)(*torch.ones(3, 1, 270), torch.zeros(1), torch.zeros(1), torch.Generator())
    assert alone[1] == 0
    assert values["cm"] > 0
