"""MMDA's network: sizes, the released behaviour against a second writing of it, what a sample's score depends on."""

import ast
import inspect
import itertools
import re
import textwrap
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor

from reference import mmda, mmfas
from reference.mmda import Adaptor, MixtureOfExperts, Options, Pass, Readings, released_order
from reference.options import presets, readings
from spec_tests.methods.numpy_released_adaptor import NumpyReleasedAdaptor

DIM, LAYERS = 32, 3
SEEDS = st.integers(0, 2**31)


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def adaptor(preset: str = "released", seed: int = 0, layers: int = LAYERS, **changed: Any) -> Adaptor:
    """In evaluation mode and float64, with weights large enough that every part of it matters."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = Adaptor(layers=layers, dim=DIM, readings=Readings(preset=preset, **changed)).double().eval()
        with torch.no_grad():
            for p in model.parameters():
                p.add_(0.1 * torch.randn_like(p))
    return model


def inputs(seed: int, b: int = 6) -> tuple[Tensor, list[Tensor], Tensor]:
    g = generator(seed)
    tokens, spoof, real = (torch.randn(*shape, DIM, generator=g, dtype=torch.float64) for shape in ((b, 3), (4,), (3,)))
    return tokens, [spoof, real], torch.randint(2, (b,), generator=g)


def parameters(module: torch.nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def test_the_released_adaptor_has_the_released_size() -> None:
    with torch.device("meta"):
        model = Adaptor("released")
    sizes = [parameters(m) for m in (model, model.fusion, model.u_dsa, model.classifier)]
    assert sizes == [151_435_202, 10_514_428, 132_507_592, 8_413_182]


def test_weights_in_the_released_order_are_views_of_all_parameters() -> None:
    model = adaptor()
    views = released_order(model)
    assert sum(v.numel() for v in views) == parameters(model)
    with torch.no_grad():
        for number, view in enumerate(views):
            view.fill_(number)
    assert torch.cat([p.flatten() for p in model.parameters()]).unique().tolist() == [*range(len(views))]


def test_heads_are_named_in_the_order_of_the_states() -> None:
    model = adaptor(layers=7)
    assert model.heads == ["cls", *(f"align{i}" for i in range(15))]
    tokens, captions, domains = inputs(0)
    logits = model(tokens, captions, domains, 10.0, generator(0))
    assert [*logits] == model.heads
    assert all(z.shape == (6, 2) for z in logits.values())


@given(seed=SEEDS, layers=st.sampled_from([0, 1, 3]))
def test_released_computes_what_the_released_code_does(seed: int, layers: int) -> None:
    model = adaptor(seed=seed, layers=layers, router_at_test="always")
    tokens, captions, domains = inputs(seed + 1)
    twin = NumpyReleasedAdaptor([p.detach().numpy() for p in released_order(model)], layers)
    expected = twin(tokens.numpy(), [c.numpy() for c in captions], domains.tolist(), 10.0)
    got = model(tokens, captions, domains, 10.0)
    assert got.keys() == expected.keys()
    for name, z in got.items():
        np.testing.assert_allclose(z.detach().numpy(), expected[name], rtol=1e-9, atol=1e-9, err_msg=name)


@given(seed=SEEDS)
def test_released_is_trained_on_what_the_released_code_sums_up(seed: int) -> None:
    model = adaptor(seed=seed, layers=2).train()
    with torch.no_grad(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(mmda, "DROPOUT", 0.0)
        patch.setattr(mmda, "KEEP", 1e-12)  # every second expert is kept
        tokens, captions, domains = inputs(seed + 1)
        labels = torch.randint(2, (6,), generator=generator(seed))
        output = model.outputs(tokens, captions, domains, 10.0, generator(seed))
        losses = model.losses(output, labels)
    twin = NumpyReleasedAdaptor([p.detach().numpy() for p in released_order(model)], 2)
    expected = twin.loss(tokens.numpy(), [c.numpy() for c in captions], domains.tolist(), 10.0, labels.tolist())
    # The targets are made in float32: 0.1 there is off by 1e-9.
    assert losses["loss"].item() == pytest.approx(expected, rel=1e-6)
    parts = sum(losses[name] for name in ("align", "visual", "text", "routers"))
    assert losses["loss"].item() == pytest.approx(parts.item(), rel=1e-12)


@given(seed=SEEDS, preset=st.sampled_from(["released", "batch_free"]))
def test_passes_computed_side_by_side_are_those_computed_one_by_one(seed: int, preset: str) -> None:
    """Scores, losses and gradients; with what the draws decide held fixed, since they come in another order."""
    tokens, captions, domains = inputs(seed + 1)
    labels = torch.randint(2, (6,), generator=generator(seed))
    found = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mmda, "DROPOUT", 0.0)
        patch.setattr(mmda, "KEEP", 1e-12)
        for pieces in ([slice(0, 6)], [slice(0, 3), slice(3, 6)]):
            model = adaptor(preset, seed, router_at_test="always").train()
            losses, logits = 0.0, []
            for at in pieces:
                output = model.outputs(tokens[at], captions, domains[at], 10.0, generator(seed), together=3)
                loss = model.losses(output, labels[at])["loss"] / len(pieces)
                loss.backward()
                losses += loss.item()
                logits.append(torch.stack([*output.logits.values()]).detach())
            found.append((losses, torch.cat(logits, 1), [p.grad for p in model.parameters()]))
    (loss, logits, gradients), (loss_2, logits_2, gradients_2) = found
    assert loss == pytest.approx(loss_2, rel=1e-9)
    torch.testing.assert_close(logits, logits_2, rtol=1e-9, atol=1e-9)
    for a, b in zip(gradients, gradients_2, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-9)


def test_rows_that_make_no_whole_passes_are_refused() -> None:
    tokens, captions, domains = inputs(0)
    with pytest.raises(ValueError, match="6 rows are no multiple of the 4"):
        adaptor().outputs(tokens, captions, domains, 10.0, generator(0), together=4)


@given(n=st.integers(0, 50), together=st.integers(1, 9), at_once=st.integers(1, 30))
def test_passes_cut_rows_into_whole_passes_and_one_rest(n: int, together: int, at_once: int) -> None:
    pieces = mmda.passes(torch.arange(n), together, at_once)
    assert [i for piece in pieces for i in piece.tolist()] == [*range(n)]
    assert all(len(piece) % together == 0 for piece in pieces[:-1])
    assert all(0 < len(piece) <= max(at_once, together) for piece in pieces)
    assert not pieces or len(pieces[-1]) % together == 0 or len(pieces[-1]) < together


# --- what a score depends on ---------------------------------------------------------------------------------


def scores(model: Adaptor, tokens: Tensor, captions: list[Tensor], domains: Tensor, seed: int = 0) -> Tensor:
    """(heads, B, 2)."""
    return torch.stack([*model(tokens, captions, domains, 10.0, generator(seed)).values()]).detach()


@given(seed=SEEDS, preset=st.sampled_from(["paper", "batch_free"]))
def test_a_score_does_not_depend_on_batch_size_order_or_batch_mates(seed: int, preset: str) -> None:
    model = adaptor(preset, seed)
    tokens, captions, domains = inputs(seed + 1)
    together = scores(model, tokens, captions, domains)
    order = torch.randperm(len(tokens), generator=generator(seed))
    shuffled = scores(model, tokens[order], captions, domains[order], seed=1)
    torch.testing.assert_close(shuffled, together[:, order], rtol=1e-9, atol=1e-9)
    for i in range(len(tokens)):
        alone = scores(model, tokens[i : i + 1], captions, domains[i : i + 1], seed=i)
        torch.testing.assert_close(alone[:, 0], together[:, i], rtol=1e-9, atol=1e-9)
    strangers, _, _ = inputs(seed + 2)
    strangers[0] = tokens[0]
    among = scores(model, strangers, captions, domains)
    torch.testing.assert_close(among[:, 0], together[:, 0], rtol=1e-9, atol=1e-9)


@given(seed=SEEDS)
def test_a_released_score_depends_on_batch_mates_order_and_the_draw(seed: int) -> None:
    model = adaptor("released", seed, router_at_test="always")
    tokens, captions, _ = inputs(seed + 1)
    domains = torch.zeros(6, dtype=torch.long)
    together = scores(model, tokens, captions, domains)
    alone = torch.cat([scores(model, tokens[i : i + 1], captions, domains[:1]) for i in range(6)], dim=1)
    assert (together - alone)[:, 1:].abs().amax((1, 2)).min() > 1e-6  # in every head
    turned = scores(model, tokens.flip(0), captions, domains).flip(1)
    assert (together - turned).abs().amax((1, 2)).min() > 1e-6
    # V_0 meets batch-mates through the partner alone.
    single = adaptor("released", seed, router_at_test="always", partner_at_test="self")
    one = scores(single, tokens, captions, domains)[1]
    torch.testing.assert_close(one, scores(single, tokens.flip(0), captions, domains).flip(1)[1], rtol=1e-9, atol=1e-9)


def test_a_released_score_depends_on_the_routers_draw() -> None:
    model = adaptor("released", 3)
    tokens, captions, domains = inputs(4, b=40)
    assert not torch.equal(scores(model, tokens, captions, domains, 0), scores(model, tokens, captions, domains, 1))
    assert torch.equal(scores(model, tokens, captions, domains, 5), scores(model, tokens, captions, domains, 5))


@given(seed=SEEDS, rule=st.sampled_from(["released", "chained"]))
def test_layers_above_the_first_reach_the_classifier_only_when_remap_is_chained(seed: int, rule: str) -> None:
    model = adaptor("batch_free", seed, remap=rule)
    tokens, captions, domains = inputs(seed + 1)
    before = scores(model, tokens, captions, domains)[0]
    with torch.no_grad():
        for layers in (model.u_dsa.adapt, model.u_dsa.remap):
            for p in (p for layer in layers[1:] for p in layer.parameters()):
                p.mul_(-1.5)
    after = scores(model, tokens, captions, domains)[0]
    assert torch.equal(before, after) == (rule == "released")


@given(seed=SEEDS)
def test_gradients_stay_within_a_sample_when_nothing_is_shared(seed: int) -> None:
    model = adaptor("batch_free", seed)
    tokens, captions, domains = inputs(seed + 1)
    tokens.requires_grad_()
    model(tokens, captions, domains, 10.0)["cls"][2].sum().backward()
    moved = tokens.grad.abs().amax((1, 2)) > 0
    assert moved.tolist() == [i == 2 for i in range(6)]


# --- readings ------------------------------------------------------------------------------------------------


def helps(kind: type) -> dict[str, str]:
    """The docstring of each field that a class itself declares."""
    body = ast.parse(textwrap.dedent(inspect.getsource(kind))).body[0].body
    return {
        node.target.id: after.value.value
        for node, after in itertools.pairwise(body)
        if isinstance(node, ast.AnnAssign) and isinstance(after, ast.Expr)
    }


def table_of_readings() -> dict[str, tuple[str, list[str]]]:
    """Of each option in the table at the file's head: its letter, and its value in each preset."""
    rows = re.findall(r"^  (M\d+) +--([a-z-]+)\b.*?" + 3 * r" +([a-z0-9_]+)" + "$", mmda.__doc__, re.MULTILINE)
    return {name.replace("-", "_"): (letter, values) for letter, name, *values in rows}


def test_every_preset_sets_every_reading() -> None:
    assert presets(Readings) == presets(Options) == ("paper", "released", "batch_free")
    for preset in presets(Readings):
        chosen = Readings(preset=preset)
        assert {name: getattr(chosen, name) for name in readings(Readings)} == {
            name: values[preset] for name, values in readings(Readings).items()
        }
    for name, kind in get_type_hints(Readings).items():
        if get_origin(kind) is Literal and name in readings(Readings):
            assert {*readings(Readings)[name].values()} <= {*get_args(kind)}
    assert {f.name for f in fields(Readings)} == {"preset", *readings(Readings)}


def test_the_head_of_the_file_says_what_every_preset_is() -> None:
    table = table_of_readings()
    assert [letter for letter, _ in table.values()] == [f"M{n}" for n in range(1, 19)]
    assert readings(Options).keys() <= table.keys()
    for column, preset in enumerate(presets(Options)):
        chosen = Options(index=Path(), run_dir=Path(), preset=preset)
        for name, (_, values) in table.items():
            value = getattr(chosen, name)
            text = ("no", "yes")[value] if isinstance(value, bool) else str(value)
            if name == "micro_batch" and value == 0:  # the whole batch
                text = str(chosen.batch_size)
            assert values[column] == text, (preset, name)


def test_the_help_of_every_reading_begins_with_its_letter() -> None:
    said = helps(Readings) | helps(Options)
    for name, (letter, _) in table_of_readings().items():
        assert said[name].startswith(f"{letter}: ")
    for name, text in helps(mmfas.Readings).items():
        assert re.match(r"A\d+: ", text), name
    assert helps(mmfas.Readings).keys() == {f.name for f in fields(mmfas.Readings)}


@pytest.mark.parametrize(
    "reading",
    [
        {"domain_weights": "shared"},
        {"pooling": "mean"},
        {"block": "mlp"},
        {"remap": "chained"},
        {"batch_attention": True},
        {"adapter": "dense"},
        {"denoise": "none"},
        {"denoise": "mhsa"},
        {"router_at_test": "always"},
        {"alignment": "vanilla"},
    ],
)
def test_every_reading_set_alone_changes_what_the_network_computes(reading: dict[str, str]) -> None:
    tokens, captions, domains = inputs(1)
    usual, other = adaptor("batch_free"), adaptor("batch_free", **reading)
    assert not torch.equal(scores(usual, tokens, captions, domains), scores(other, tokens, captions, domains))


@pytest.mark.parametrize("reading", [{"smoothing": "normalised"}, {"alignment": "smooth"}, {"alignment": "vanilla"}])
def test_readings_of_the_losses_change_them(reading: dict[str, str]) -> None:
    tokens, captions, domains = inputs(1)
    labels = torch.tensor([0, 1, 0, 1, 1, 0])

    def loss(**changed: str) -> float:
        model = adaptor("batch_free", **changed).train()
        return model.losses(model.outputs(tokens, captions, domains, 10.0, generator(0)), labels)["loss"].item()

    assert loss() != loss(**reading)


def test_vanilla_and_smooth_do_not_judge_captions_and_vanilla_has_hard_targets() -> None:
    tokens, captions, domains = inputs(1)
    labels = torch.tensor([0, 1, 0, 1, 1, 0])
    for alignment in ("vanilla", "smooth"):
        model = adaptor("batch_free", alignment=alignment).train()
        output = model.outputs(tokens, captions, domains, 10.0, generator(0))
        assert output.text == []
        losses = model.losses(output, labels)
        assert losses["text"] == 0
        hard = torch.nn.functional.cross_entropy(output.logits["cls"], labels)
        assert (abs(losses["visual"] - hard) < 1e-9) == (alignment == "vanilla")


@given(seed=SEEDS)
def test_denoise_da_takes_every_sample_as_its_own_partner(seed: int) -> None:
    tokens, captions, _ = inputs(seed)
    domains = torch.zeros(6, dtype=torch.long)
    da = adaptor("released", seed, denoise="da", router_at_test="always", batch_attention=False)
    full = adaptor("released", seed, partner_at_test="self", router_at_test="always", batch_attention=False)
    assert torch.equal(scores(da, tokens, captions, domains), scores(full, tokens, captions, domains))


def test_denoise_mhsa_is_attention_without_lambda() -> None:
    tokens, captions, domains = inputs(2)
    model = adaptor("batch_free", denoise="mhsa")
    before = scores(model, tokens, captions, domains)
    with torch.no_grad():
        model.fusion.attend.lambda_q1.add_(1)
        model.fusion.attend.q_dom.weight.add_(1)
    assert torch.equal(before, scores(model, tokens, captions, domains))


def test_a_masked_modality_has_no_influence() -> None:
    model = adaptor("batch_free")
    tokens, captions, domains = inputs(2)
    present = torch.tensor([True, False, True]).expand(6, 3)
    before = model(tokens, captions, domains, 10.0, present=present)
    changed = tokens.clone()
    changed[:, 1] = 7.0
    after = model(changed, captions, domains, 10.0, present=present)
    assert all(torch.equal(before[name], after[name]) for name in before)
    whole = model(tokens, captions, domains, 10.0, present=torch.ones(6, 3, dtype=torch.bool))
    plain = model(tokens, captions, domains, 10.0)
    for name in plain:
        torch.testing.assert_close(whole[name], plain[name])


@pytest.mark.parametrize(
    ("arguments", "complaint"), [({"preset": "mine"}, "paper, released"), ({"dim": 40}, "multiple of 16")]
)
def test_an_impossible_adaptor_is_refused(arguments: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        Adaptor(**arguments)


# --- the router ----------------------------------------------------------------------------------------------


def mixture(rule: str, seed: int = 0) -> MixtureOfExperts:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        module = MixtureOfExperts(DIM, rule).double().eval()
        with torch.no_grad():
            module.gate.weight.mul_(4)  # gates far from even: second experts are sometimes left out
    return module


@given(seed=SEEDS)
@example(seed=0)
def test_expected_routing_is_the_mean_of_drawn_routing(seed: int) -> None:
    """Two thousand draws a token; six standard errors fail by chance in less than one in 10^8."""
    n = 2000
    x = torch.randn(1, 1, DIM, generator=generator(seed), dtype=torch.float64)
    drawn = mixture("draw", seed)(x.expand(n, 1, DIM), Pass(generator(seed))).detach()[:, 0]
    expected = mixture("expected", seed)(x, Pass(None)).detach()[0, 0]
    error = drawn.std(0) / n**0.5
    assert ((drawn.mean(0) - expected).abs() <= 6 * error + 1e-9).all()


@given(seed=SEEDS)
def test_the_gate_learns_from_what_its_experts_see(seed: int) -> None:
    """Straight through: the factor that the experts' input carries is one, and its gradient is not nothing."""
    module = mixture("always", seed)
    x = torch.randn(4, 1, DIM, generator=generator(seed), dtype=torch.float64)
    module(x, Pass(None)).square().sum().backward()
    through = module.gate.weight.grad.clone()
    module.zero_grad()
    gates = torch.softmax(module.gate(x), -1)
    two, chosen = gates.topk(2, -1)
    weight = torch.zeros_like(gates).scatter(-1, chosen, two / two.sum(-1, keepdim=True))
    out = weight[..., 4:] @ module.constants
    for e in range(4):
        w = weight[..., e : e + 1]
        seen = (x * (1 + w - w.detach())).flatten(0, 1).expand(4, -1, -1)
        out = out + w * module.experts(seen)[e].view_as(x)
    out.square().sum().backward()
    torch.testing.assert_close(through, module.gate.weight.grad, rtol=1e-9, atol=1e-12)


@given(seed=SEEDS)
def test_a_second_expert_is_kept_with_five_times_its_weight_and_in_training_always_by_a_draw(seed: int) -> None:
    """Four thousand draws; six standard errors of 1/2 fail by chance in less than one in 10^8."""
    second = torch.tensor([0.0, 0.1, 0.2, 0.5]).expand(4000, 4)
    two = torch.stack([1 - second, second], dim=-1)
    expected = torch.tensor([0.0, 0.5, 1.0, 1.0])
    for rule in ("expected", "always"):
        module = mixture(rule)
        assert torch.equal(module._shares(two, Pass(None))[0, :, 1], expected if rule == "expected" else torch.ones(4))
        drawn = module.train()._shares(two, Pass(generator(seed)))
        assert (drawn[..., 0] == 1).all()
        kept = drawn[..., 1]
        assert set(kept.unique().tolist()) <= {0.0, 1.0}
        assert (kept.mean(0) - expected).abs().max() <= 6 * 0.5 / 4000**0.5


@given(seed=SEEDS)
@settings(max_examples=5)
def test_dropout_of_the_maps_is_nothing_on_average(seed: int) -> None:
    """Two thousand draws; six standard errors fail by chance in less than one in 10^8."""
    n = 2000
    attend = adaptor("batch_free", seed).fusion.attend
    attend.norm = torch.nn.Identity()
    x = torch.randn(1, 3, DIM, generator=generator(seed), dtype=torch.float64)
    with torch.no_grad():
        expected = attend(x, x, None, Pass(None))[0]
        drawn = attend.train()(*(x.expand(n, 3, DIM) for _ in range(2)), None, Pass(generator(seed)))
    assert drawn.std(0).min() > 0
    assert ((drawn.mean(0) - expected).abs() <= 6 * drawn.std(0) / n**0.5 + 1e-9).all()


def test_routers_pay_in_training_only() -> None:
    model = adaptor("batch_free")
    tokens, captions, domains = inputs(0)
    assert model.outputs(tokens, captions, domains, 10.0).routers == 0
    assert model.train().outputs(tokens, captions, domains, 10.0, generator(0)).routers > 0


@pytest.fixture(autouse=True)
def no_global_randomness() -> Iterator[None]:
    """With a generator handed in, nothing else is drawn from."""
    before = torch.get_rng_state()
    yield
    assert torch.equal(before, torch.get_rng_state())
