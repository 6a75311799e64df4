"""VP-FAS as reconstructed here: what residuals are made of, contextual prompts, the missing-modality regularisation."""

import math
from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from spec_tests.equations.adapter import call, gradients, spec
from spec_tests.equations.strategies import draws, exact_draws
from spec_tests.equations.tolerances import close, f64

SIZES = st.integers(1, 4)
YES_NO = st.booleans()


# What residuals are made of


def contexts(tokens, modalities, shared):
    """In float64, one number at a time."""
    count = len(tokens) // modalities
    out = np.full((len(tokens), tokens.shape[2]), np.nan)
    for m, b, c in product(range(modalities), range(count), range(tokens.shape[2])):
        seen = range(modalities) if shared else [m]
        patches = [tokens[other * count + b, n, c] for other in seen for n in range(1, tokens.shape[1])]
        out[m * count + b, c] = math.fsum(patches) / len(patches)
    return out


@spec("vp-fas-context", "token_context")
@given(draw=draws(), modalities=SIZES, batch=SIZES, patches=SIZES, width=SIZES, shared=YES_NO)
def test_the_context_is_the_mean_of_a_samples_patches(draw, modalities, batch, patches, width, shared):
    tokens = draw.normal(modalities * batch, 1 + patches, width)
    close(
        call("token_context", tokens, modalities=modalities, shared=shared), contexts(f64(tokens), modalities, shared)
    )


@spec("vp-fas-context", "token_context")
def test_the_context_worked_by_hand():
    # Three modalities of two samples, a class token and two patches of one number: the class tokens are 100.
    patches = [[1.0, 3.0], [10.0, 30.0], [5.0, 7.0], [20.0, 40.0], [0.0, 2.0], [3.0, 5.0]]
    tokens = torch.tensor([[100.0, *pair] for pair in patches], dtype=torch.float64)[:, :, None]
    close(call("token_context", tokens), [[3.0], [18.0]] * 3)  # shared, of three modalities
    close(call("token_context", tokens, shared=False), [[2.0], [20.0], [6.0], [30.0], [1.0], [4.0]])
    close(call("token_context", tokens, modalities=2), [[16.0], [10.5], [5.0]] * 2)


@spec("vp-fas-context", "token_context")
@given(draw=draws(), modalities=SIZES, batch=SIZES, shared=YES_NO)
def test_the_class_token_is_no_part_of_the_context(draw, modalities, batch, shared):
    tokens = draw.normal(modalities * batch, 4, 3)
    moved = tokens.clone()
    moved[:, 0] += 7
    before, after = (call("token_context", x, modalities=modalities, shared=shared) for x in (tokens, moved))
    close(after, before)


@spec("vp-fas-context", "token_context")
@given(draw=draws(), batch=st.integers(2, 4), shared=YES_NO)
def test_a_context_is_of_its_own_sample_and_of_the_others_modalities_only_where_it_is_shared(draw, batch, shared):
    tokens = draw.normal(3 * batch, 3, 2)
    before = call("token_context", tokens, modalities=3, shared=shared)
    for changed in range(3 * batch):
        moved = tokens.clone()
        moved[changed, 1:] += 5
        rows = (call("token_context", moved, modalities=3, shared=shared) - before).abs().amax(1) > 1
        feels = [row == changed or (shared and row % batch == changed % batch) for row in range(3 * batch)]
        assert rows.tolist() == feels


@spec("vp-fas-context", "token_context")
@given(draw=exact_draws(), shared=YES_NO)
def test_the_context_has_the_gradient_of_every_patch(draw, shared):
    gradients(lambda x: call("token_context", x, modalities=2, shared=shared), draw.normal(4, 3, 2))


# Contextual prompts


@spec("vp-fas-prompts", "contextual_prompts")
@given(draw=draws(), modalities=SIZES, batch=SIZES, length=SIZES, width=SIZES)
def test_every_prompt_of_a_sample_is_moved_by_the_samples_residual(draw, modalities, batch, length, width):
    vanilla, residual = draw.normal(modalities, length, width), draw.normal(modalities * batch, width)
    p, r = f64(vanilla), f64(residual)
    expected = np.full((modalities * batch, length, width), np.nan)
    for m, b, k, c in product(range(modalities), range(batch), range(length), range(width)):
        expected[m * batch + b, k, c] = p[m, k, c] + r[m * batch + b, c]
    close(call("contextual_prompts", vanilla, residual), expected)


@spec("vp-fas-prompts", "contextual_prompts")
def test_contextual_prompts_worked_by_hand():
    # Two modalities of two prompts each, two samples: residuals 0.1 to 0.4.
    vanilla = torch.tensor([[[1.0], [2.0]], [[3.0], [4.0]]], dtype=torch.float64)
    residual = torch.tensor([[0.1], [0.2], [0.3], [0.4]], dtype=torch.float64)
    close(
        call("contextual_prompts", vanilla, residual),
        [[[1.1], [2.1]], [[1.2], [2.2]], [[3.3], [4.3]], [[3.4], [4.4]]],
    )


@spec("vp-fas-prompts", "contextual_prompts")
@given(draw=draws(), modalities=SIZES, batch=SIZES)
def test_without_residuals_every_sample_has_the_vanilla_prompts_of_the_modality(draw, modalities, batch):
    vanilla = draw.normal(modalities, 3, 2)
    prompts = call("contextual_prompts", vanilla, draw.place(torch.zeros(modalities * batch, 2)))
    for m in range(modalities):
        for each in prompts[m * batch : (m + 1) * batch]:
            close(each, vanilla[m])


@spec("vp-fas-prompts", "contextual_prompts")
@given(draw=exact_draws(), modalities=st.integers(1, 3))
def test_contextual_prompts_have_the_gradient_of_both_parts(draw, modalities):
    gradients(
        lambda p, r: call("contextual_prompts", p, r), draw.normal(modalities, 2, 2), draw.normal(2 * modalities, 2)
    )


# The missing-modality regularisation


def distance(complete, dropped, missing, cosine):
    """In float64, one sample at a time."""
    found = []
    for a, b, lost in zip(complete, dropped, missing, strict=True):
        if not lost:
            continue
        if cosine:
            dot = math.fsum(x * y for x, y in zip(a, b, strict=True))
            found.append(1 - dot / math.hypot(*a) / math.hypot(*b))
        else:
            found.append(math.fsum((x - y) ** 2 for x, y in zip(a, b, strict=True)) / len(a))
    return math.fsum(found) / len(found) if found else 0.0


def lots(draw, batch):
    return draw.integers(batch, 2).bool()


@spec("vp-fas-consistency", "missing_modality_loss")
@given(draw=draws(), batch=st.integers(1, 5), width=st.integers(1, 5), cosine=YES_NO, attached=YES_NO)
def test_the_regularisation_is_the_mean_distance_over_samples_that_lost_a_modality(
    draw, batch, width, cosine, attached
):
    complete, dropped, missing = draw.normal(batch, width), draw.normal(batch, width), lots(draw, batch)
    got = call("missing_modality_loss", complete, dropped, missing, cosine=cosine, attached=attached)
    expected = distance(f64(complete), f64(dropped), missing.tolist(), cosine)
    close(got, expected, magnitude=max(1.0, *f64(complete).ravel() ** 2, *f64(dropped).ravel() ** 2))


@spec("vp-fas-consistency", "missing_modality_loss")
def test_the_regularisation_worked_by_hand():
    complete = torch.tensor([[1.0, 0.0], [3.0, 4.0], [9.0, 9.0]], dtype=torch.float64)
    dropped = torch.tensor([[0.0, 2.0], [4.0, 3.0], [0.0, 0.0]], dtype=torch.float64)
    missing = torch.tensor([True, True, False])
    # Means of squares (1 + 4) / 2 and (1 + 1) / 2; cosines 0 and 24 / 25.
    close(call("missing_modality_loss", complete, dropped, missing), (2.5 + 1.0) / 2)
    close(call("missing_modality_loss", complete, dropped, missing, cosine=True), (1 + 0.04) / 2)
    one = torch.tensor([False, True, False])
    close(call("missing_modality_loss", complete, dropped, one), 1.0)


@spec("vp-fas-consistency", "missing_modality_loss")
@given(draw=draws(), batch=SIZES, width=SIZES, cosine=YES_NO)
def test_equal_embeddings_cost_nothing(draw, batch, width, cosine):
    embedding = draw.rows(batch, width)
    close(call("missing_modality_loss", embedding, embedding.clone(), lots(draw, batch), cosine=cosine), 0.0)


@spec("vp-fas-consistency", "missing_modality_loss")
@given(draw=draws(), batch=st.integers(2, 5), cosine=YES_NO, attached=YES_NO)
def test_a_sample_that_lost_nothing_neither_counts_nor_learns(draw, batch, cosine, attached):
    complete, dropped, missing = draw.normal(batch, 3), draw.normal(batch, 3), lots(draw, batch)
    apart = torch.where(missing[:, None], dropped, dropped + 3)
    learned = dropped.clone().requires_grad_()
    before = call("missing_modality_loss", complete, learned, missing, cosine=cosine, attached=attached)
    after = call("missing_modality_loss", complete, apart, missing, cosine=cosine, attached=attached)
    close(after, before.detach(), magnitude=20)
    before.backward()
    assert not learned.grad[~missing].any()
    assert learned.grad[missing].any(1).all()


@spec("vp-fas-consistency", "missing_modality_loss")
@given(draw=draws(), batch=SIZES, cosine=YES_NO, attached=YES_NO)
def test_where_no_sample_lost_a_modality_the_regularisation_is_zero(draw, batch, cosine, attached):
    complete, dropped = (draw.normal(batch, 3).requires_grad_() for _ in range(2))
    nobody = torch.zeros(batch, dtype=torch.bool, device=complete.device)
    loss = call("missing_modality_loss", complete, dropped, nobody, cosine=cosine, attached=attached)
    close(loss.detach(), 0.0)
    loss.backward()
    assert not dropped.grad.any()


@spec("vp-fas-consistency", "missing_modality_loss")
@given(draw=draws(), batch=SIZES, cosine=YES_NO)
def test_the_complete_embedding_learns_only_where_it_is_attached(draw, batch, cosine):
    for chosen, learns in (({}, False), ({"attached": False}, False), ({"attached": True}, True)):
        complete, dropped = (draw.normal(batch, 3).requires_grad_() for _ in range(2))
        everyone = torch.ones(batch, dtype=torch.bool, device=complete.device)
        call("missing_modality_loss", complete, dropped, everyone, cosine=cosine, **chosen).backward()
        assert dropped.grad.any(1).all()
        assert (complete.grad is not None and bool(complete.grad.any(1).all())) == learns


@spec("vp-fas-consistency", "missing_modality_loss")
@given(draw=exact_draws(), cosine=YES_NO)
def test_the_regularisation_has_the_gradient_of_the_dropped_embedding(draw, cosine):
    complete, missing = draw.normal(3, 3), torch.tensor([True, False, True], device=draw.device)

    def loss(dropped):
        return call("missing_modality_loss", complete, dropped, missing, cosine=cosine)

    gradients(loss, draw.normal(3, 3))


@spec("vp-fas-consistency", "missing_modality_loss")
@given(draw=exact_draws(), cosine=YES_NO)
def test_attached_it_has_the_gradient_of_both(draw, cosine):
    missing = torch.tensor([True, False, True], device=draw.device)

    def loss(complete, dropped):
        return call("missing_modality_loss", complete, dropped, missing, cosine=cosine, attached=True)

    gradients(loss, draw.normal(3, 3), draw.normal(3, 3))


@spec("vp-fas-consistency", "missing_modality_loss")
@given(draw=draws(), factor=st.sampled_from([0.25, 4.0]))
def test_cosines_compare_directions_and_squares_lengths_too(draw, factor):
    complete = draw.rows(3, 4)
    everyone = torch.ones(3, dtype=torch.bool, device=complete.device)
    close(call("missing_modality_loss", complete, factor * complete, everyone, cosine=True), 0.0)
    expected = (1 - factor) ** 2 * (f64(complete) ** 2).mean(1).mean()
    squared = call("missing_modality_loss", complete, factor * complete, everyone)
    assert float(squared) == pytest.approx(expected, rel=1e-4)
