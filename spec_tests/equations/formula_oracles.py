"""The formula oracles: every formula of the contract in float64, element by element, as it is printed.

Slow and literal on purpose. They read numpy arrays, share nothing with any implementation, and are themselves held to
hand-worked numbers in spec_tests/bugs/test_formula_oracles.py.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from fractions import Fraction

import numpy as np

Array = np.ndarray


# mmFAS


def softmax(logits: Sequence[float]) -> list[float]:
    """exp(x_k) / Σ exp(x_j), with the largest exponent taken out first."""
    top = max(logits)
    weights = [math.exp(x - top) for x in logits]
    total = math.fsum(weights)
    return [w / total for w in weights]


def cross_entropy(logits: Sequence[float], target: int) -> float:
    """−log softmax(logits)[target]."""
    top = max(logits)
    return top + math.log(math.fsum(math.exp(x - top) for x in logits)) - logits[target]


def similarity(a: Array, b: Array, normalise: bool) -> Array:
    """Eq. 1."""
    s = np.zeros((len(a), len(b)))
    for i in range(len(a)):
        for j in range(len(b)):
            s[i, j] = math.fsum(a[i, k] * b[j, k] for k in range(a.shape[1]))
            if normalise:
                s[i, j] /= math.sqrt(math.fsum(x * x for x in a[i])) * math.sqrt(math.fsum(x * x for x in b[j]))
    return s


def match_probabilities(s: Array, tau: float) -> Array:
    """Eq. 2."""
    return np.array([softmax([x / tau for x in row]) for row in s])


def icl_loss(rgb: Array, depth: Array, ir: Array, tau: float, normalise: bool) -> float:
    """Eq. 3."""
    total = 0.0
    for other in (depth, ir):
        for s in (similarity(rgb, other, normalise), similarity(other, rgb, normalise)):
            rows = [cross_entropy([x / tau for x in row], i) for i, row in enumerate(s)]
            total += 0.5 * math.fsum(rows) / len(rows)
    return total


def cm_loss(logits_rd: Array, same_rd: Array, logits_ri: Array, same_ri: Array) -> float:
    """Eq. 4."""
    total = 0.0
    for logits, same in ((logits_rd, same_rd), (logits_ri, same_ri)):
        total += math.fsum(cross_entropy(list(row), int(y)) for row, y in zip(logits, same, strict=True)) / len(same)
    return total


def negatives(labels: Array, i: int) -> list[int]:
    """The rows of the other class: the candidates for anchor i's hard negative."""
    return [j for j in range(len(labels)) if labels[j] != labels[i]]


def positives(labels: Array, i: int) -> list[int]:
    """The other rows of the same class: the candidates for anchor i's hard positive."""
    return [j for j in range(len(labels)) if labels[j] == labels[i] and j != i]


def attention(q: Array, k: Array, v: Array, divisor: float | None = None) -> Array:
    """Eq. 5 on (..., T, d); `divisor` replaces √d_k."""
    if q.ndim > 2:
        return np.stack([attention(*each, divisor) for each in zip(q, k, v, strict=True)])
    divisor = math.sqrt(k.shape[-1]) if divisor is None else divisor
    out = np.zeros((len(q), v.shape[-1]))
    for t in range(len(q)):
        logits = [math.fsum(q[t] * k[u]) / divisor for u in range(len(k))]
        for u, weight in enumerate(softmax(logits)):
            out[t] += weight * v[u]
    return out


SWITCHED = {  # layer mod 3 → which of the order's three streams gives queries, keys, values
    0: (0, 1, 2),
    1: (1, 2, 0),
    2: (2, 0, 1),
}


def switch(streams: Sequence, layer: int, order: str) -> list:
    """Eq. 6's three sources."""
    named = dict(zip("RDI", streams, strict=True))
    return [named[order[place]] for place in SWITCHED[layer % 3]]


def heads_concatenated(q_src: Array, k_src: Array, v_src: Array, wq: Array, wk: Array, wv: Array, heads: int) -> Array:
    """Eq. 7, every head of a (B, T, D) layer, side by side: Concat(h_1, h_2, …)."""
    batch, tokens, width = q_src.shape
    size = width // heads
    out = np.zeros((batch, tokens, width))
    for b in range(batch):
        for h in range(heads):
            part = slice(h * size, (h + 1) * size)
            # w[part] are the rows of w whose products x @ w.T are this head's features
            out[b, :, part] = attention(q_src[b] @ wq[part].T, k_src[b] @ wk[part].T, v_src[b] @ wv[part].T)
    return out


# MMDA


def first_partner(domains: Array) -> Array:
    """Eq. 1 as released: the first row of the same domain."""
    return np.array([list(domains).index(d) for d in domains])


def lambda_full(lq1: Array, lk1: Array, lq2: Array, lk2: Array, lambda_init: float) -> float:
    """λ of Eq. 2."""
    return math.exp(math.fsum(lq1 * lk1)) - math.exp(math.fsum(lq2 * lk2)) + lambda_init


def differential_attention(
    q: Array, k: Array, v: Array, q_dom: Array, k_dom: Array, lam: float, temperature: float
) -> Array:
    """Eq. 2."""
    return attention(q, k, v, temperature) - lam * attention(q_dom, k_dom, v, temperature)


def alignment_logits(v: Array, captions: Sequence[Array], scale: float, pooling: str) -> Array:
    """Eq. 3."""
    out = np.zeros((len(v), len(captions)))
    for i in range(len(v)):
        for c, texts in enumerate(captions):
            cosines = [
                math.fsum(v[i] * t) / (math.sqrt(math.fsum(v[i] * v[i])) * math.sqrt(math.fsum(t * t))) for t in texts
            ]
            out[i, c] = scale * (max(cosines) if pooling == "max" else math.fsum(cosines) / len(cosines))
    return out


def smooth_targets(labels: Array, eps: float, normalised: bool, classes: int) -> Array:
    """Targets of Eq. 4."""
    added = eps / classes if normalised else eps
    return np.array([[(1 - eps) * (c == y) + added for c in range(classes)] for y in labels])


def soft_cross_entropy(logits: Array, targets: Array) -> float:
    """Eq. 4."""
    rows = [
        math.fsum(t * cross_entropy(list(row), c) for c, t in enumerate(target))
        for row, target in zip(logits, targets, strict=True)
    ]
    return math.fsum(rows) / len(rows)


def text_targets(classes: Array, eps: float) -> Array:
    """Targets of Eq. 5."""
    return np.array([[1 - eps if c == y else eps for c in (0, 1)] for y in classes])


def u_dsa(v0: Array, adapt: Sequence[Callable], remap: Sequence[Callable], rule: str) -> list[Array]:
    """Eq. 7, the down path and then the up path."""
    down = [v0]
    for layer in adapt:
        down.append(layer(down[-1]))
    up = {len(adapt): down[-1]}
    for place in range(len(adapt), 0, -1):
        read = up[place] if rule == "chained" else down[place]
        up[place - 1] = down[place - 1] + remap[place - 1](read)
    return down + [up[place] for place in range(len(adapt) - 1, -1, -1)]


# Metrics: exact fractions, no rounding at all


def rates(scores: Array, bonafide: Array, threshold: float) -> tuple[Fraction, Fraction]:
    """(FAR, FRR)."""
    accepted = [float(s) >= threshold for s in scores]
    attacks = [a for a, b in zip(accepted, bonafide, strict=True) if not b]
    genuine = [a for a, b in zip(accepted, bonafide, strict=True) if b]
    return Fraction(sum(attacks), len(attacks)), Fraction(len(genuine) - sum(genuine), len(genuine))


def thresholds(scores: Array) -> list[float]:
    """Every distinct score, and +inf."""
    return [*sorted({float(s) for s in scores}), math.inf]


def eer(scores: Array, bonafide: Array) -> tuple[Fraction, float]:
    """The rate and the threshold, by both tie rules."""
    best = None
    for t in thresholds(scores):
        far, frr = rates(scores, bonafide, t)
        key = (abs(far - frr), far + frr, t)
        if best is None or key < best:
            best = key
    return best[1] / 2, best[2]


def auc(scores: Array, bonafide: Array) -> Fraction:
    """Pairs counted one by one."""
    won, pairs = Fraction(0), 0
    for s, b in zip(scores, bonafide, strict=True):
        for r, c in zip(scores, bonafide, strict=True):
            if b and not c:
                pairs += 1
                won += 1 if s > r else Fraction(1, 2) if s == r else 0
    return won / pairs


def threshold_at_bpcer(scores: Array, bonafide: Array, bpcer: float) -> float:
    """The last threshold that still rejects no more bona fide than allowed."""
    return max(t for t in thresholds(scores) if rates(scores, bonafide, t)[1] <= bpcer)


def apcer(scores: Array, families: Sequence[str], threshold: float) -> dict[str, Fraction]:
    """Family by family."""
    out = {}
    for family in {str(f) for f in families}:
        of_family = [float(s) >= threshold for s, f in zip(scores, families, strict=True) if f == family]
        out[family] = Fraction(sum(of_family), len(of_family))
    return out


def acer(scores: Array, bonafide: Array, families: Sequence[str], threshold: float) -> Fraction:
    """The worst family's APCER with the BPCER."""
    attacks = [(s, f) for s, b, f in zip(scores, bonafide, families, strict=True) if not b]
    per_family = apcer(np.array([s for s, _ in attacks]), [f for _, f in attacks], threshold)
    return (max(per_family.values()) + rates(scores, bonafide, threshold)[1]) / 2
