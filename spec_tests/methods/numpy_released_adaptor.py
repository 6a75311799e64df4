"""The released MMDA adaptor a second time, in numpy and float64, one sample, one head and one token at a time.

It is written from the description of what that code computes (the head of reference/mmda.py), for the tests to compare
our module with. It takes the weights as one flat list in the released module's order, and always uses the second
expert.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import erf, logsumexp, softmax

Array = NDArray[np.float64]
HEADS = 16
LAMBDA_INIT = 0.8 - 0.6 * np.exp(-3.6)


def layer_norm(x: Array, w: Array, b: Array) -> Array:
    return w * (x - x.mean()) / np.sqrt(x.var() + 1e-5) + b


class Mixture:
    def __init__(self, weights: Iterator[Array]) -> None:
        self.gate = next(weights)
        self.networks = [[next(weights) for _ in range(6)] for _ in range(4)]
        self.constants = [next(weights) for _ in range(3)]
        self.losses: list[float] = []

    def network(self, number: int, x: Array) -> Array:
        gain, w1, b1, factor, w2, b2 = self.networks[number]
        x = gain * x / np.sqrt((x * x).mean() + 1e-6)
        hidden = w1 @ x + b1
        value, gate = hidden[: len(factor)], hidden[len(factor) :]
        return w2 @ (0.5 * gate * (1 + erf(gate / np.sqrt(2))) * value * factor) + b2

    def sequence(self, tokens: list[Array]) -> list[Array]:
        """The outputs for the tokens of one sample; what the router pays for them goes to `losses`."""
        logits = [self.gate @ x for x in tokens]
        shares = [softmax(z) for z in logits]
        out, firsts = [], np.zeros(7)
        for x, p in zip(tokens, shares, strict=True):
            first, second = np.argsort(-p)[:2]
            firsts[first] += 1 / len(tokens)
            total = 0.0
            for e in (first, second):
                y = self.network(e, x) if e < 4 else self.constants[e - 4]
                total = total + p[e] / (p[first] + p[second]) * y
            out.append(total)
        balance = 49 * float(np.mean(firsts * np.mean(shares, axis=0)))
        self.losses.append(0.01 * balance + 0.001 * float(np.mean([logsumexp(z) ** 2 for z in logits])))
        return out


class Block:
    """Adapt or Remap: attention over the rows given together, mixture, skips."""

    def __init__(self, weights: Iterator[Array]) -> None:
        self.qkv, self.qkv_b, self.out, self.out_b = (next(weights) for _ in range(4))
        self.mixture = Mixture(weights)
        self.w1, self.b1, self.w2, self.b2 = (next(weights) for _ in range(4))

    def __call__(self, rows: list[Array]) -> list[Array]:
        dim = len(rows[0])
        q, k, v = [], [], []
        for x in rows:
            joint = self.qkv @ layer_norm(x, self.w1, self.b1) + self.qkv_b
            q.append(joint[:dim])
            k.append(joint[dim : 2 * dim])
            v.append(joint[2 * dim :])
        result = []
        for i, x in enumerate(rows):
            heads = np.zeros(dim)
            for h in range(HEADS):
                part = slice(h * dim // HEADS, (h + 1) * dim // HEADS)
                weight = softmax([q[i][part] @ key[part] / np.sqrt(dim // HEADS) for key in k])
                heads[part] = sum(w * value[part] for w, value in zip(weight, v, strict=True))
            x1 = x + self.out @ heads + self.out_b
            result.append(x + x1 + self.mixture.sequence([layer_norm(x1, self.w2, self.b2)])[0])
        return result


class NumpyReleasedAdaptor:
    def __init__(self, arrays: list[Array], layers: int) -> None:
        w = iter(arrays)
        self.lambdas = [next(w) for _ in range(4)]
        self.q, self.k, self.v, self.dq, self.dk, self.gain = (next(w) for _ in range(6))
        self.fusion = Mixture(w)
        self.w1, self.b1, self.w2, self.b2, self.narrow, self.narrow_b = (next(w) for _ in range(6))
        self.judge, self.judge_w, self.judge_b = Mixture(w), next(w), next(w)
        self.adapt = [Block(w) for _ in range(layers)]
        self.remap = [Block(w) for _ in range(layers)]
        assert next(w, None) is None

    def fused(self, tokens: Array, noise: Array) -> Array:
        """V_0 of one sample: tokens and its partner's tokens (3, D)."""
        dim = tokens.shape[1]
        x = [layer_norm(t, self.w1, self.b1) for t in tokens]
        n = [layer_norm(t, self.w1, self.b1) for t in noise]
        lq1, lk1, lq2, lk2 = self.lambdas
        lam = np.exp(lq1 @ lk1) - np.exp(lq2 @ lk2) + LAMBDA_INIT
        attended = np.zeros((3, dim))
        for h in range(HEADS):
            part = slice(h * dim // HEADS, (h + 1) * dim // HEADS)
            for i in range(3):
                plain = softmax([(self.q @ x[i])[part] @ (self.k @ x[j])[part] / np.sqrt(dim) for j in range(3)])
                other = softmax([(self.dq @ n[i])[part] @ (self.dk @ n[j])[part] / np.sqrt(dim) for j in range(3)])
                attended[i, part] = sum((plain[j] - lam * other[j]) * (self.v @ x[j])[part] for j in range(3))
        x1 = []
        for t, a in zip(tokens, attended, strict=True):
            x1.append(t + (1 - LAMBDA_INIT) * self.gain * a / np.sqrt((a * a).mean() + 1e-5))
        x2 = self.fusion.sequence([layer_norm(t, self.w2, self.b2) for t in x1])
        y = np.concatenate([t + a + b for t, a, b in zip(tokens, x1, x2, strict=True)])
        return self.narrow @ y + self.narrow_b

    def classify(self, x: Array) -> Array:
        return self.judge_w @ self.judge.sequence([x])[0] + self.judge_b

    def __call__(self, tokens: Array, captions: list[Array], domains: list[int], scale: float) -> dict[str, Array]:
        """Logits (B, 2) of every head for tokens (B, 3, D)."""
        partner = [domains.index(d) for d in domains]
        v = [[self.fused(t, tokens[p]) for t, p in zip(tokens, partner, strict=True)]]
        texts = [[list(c) for c in captions]]
        for layer in self.adapt:
            v.append(layer(v[-1]))
            texts.append([layer(c) for c in texts[-1]])
        for place in reversed(range(len(self.remap))):
            back = self.remap[place](v[place + 1])
            v.append([a + b for a, b in zip(v[place], back, strict=True)])
            texts.append(texts[place])

        def cosine(a: Array, b: Array) -> float:
            return float(a @ b / np.sqrt((a @ a) * (b @ b)))

        logits: dict[str, Any] = {"cls": np.array([self.classify(x) for x in v[-1]])}
        for i, (state, classes) in enumerate(zip(v, texts, strict=True)):
            nearest = [[scale * max(cosine(x, t) for t in c) for c in classes] for x in state]
            logits[f"align{i}"] = np.array(nearest)
        return logits

    def loss(self, tokens: Array, captions: list[Array], domains: list[int], scale: float, labels: list[int]) -> float:
        """What one micro-batch is trained on, dropout left out."""

        def entropy(logits: Array, targets: list[list[float]]) -> float:
            return float(np.mean([-np.dot(t, z - logsumexp(z)) for z, t in zip(logits, targets, strict=True)]))

        for mixture in self.mixtures():
            mixture.losses.clear()
        logits = self(tokens, captions, domains, scale)
        smooth = [[0.1, 1.0] if y else [1.0, 0.1] for y in labels]
        total = sum(entropy(z, smooth) for z in logits.values())
        # A router pays the mean over the rows it sees together; the blocks saw visual rows and both caption sets.
        b, sets = len(tokens), [len(c) for c in captions]
        total += float(np.mean(self.fusion.losses)) + float(np.mean(self.judge.losses))
        for layer in self.adapt:
            paid = layer.mixture.losses
            for size in (b, *sets):
                total += float(np.mean(paid[:size]))
                paid = paid[size:]
        total += sum(float(np.mean(layer.mixture.losses)) for layer in self.remap)
        for texts, target in zip(captions, ([0.9, 0.1], [0.1, 0.9]), strict=True):
            self.judge.losses.clear()
            total += entropy(np.array([self.classify(t) for t in texts]), [target] * len(texts))
            total += float(np.mean(self.judge.losses))
        return total

    def mixtures(self) -> list[Mixture]:
        return [self.fusion, self.judge, *(layer.mixture for layer in (*self.adapt, *self.remap))]
