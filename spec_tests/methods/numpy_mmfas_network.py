"""The mmFAS network a second time, in numpy and float64, one sample and one head at a time.

It is written from the description at the head of reference/mmfas.py (Table 2's reading, and the readings that it
lists), for the tests to compare the network with. It takes the weights by name.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import erf

from spec_tests.equations import formula_oracles as oracles

Array = NDArray[np.float64]


class NumpyMmfasNetwork:
    """`weights` are a state dict's, `readings` those of A2 to A19; the rest as for `build`."""

    def __init__(
        self, weights: Mapping[str, Array], readings: Any, fusion: str, modalities: str, order: str, depth: int = 6
    ) -> None:
        self.w, self.r, self.fusion = weights, readings, fusion
        self.modalities, self.order, self.depth = modalities, order, depth

    def logits(self, rgb: Array, depth: Array, ir: Array) -> Array:
        """Images (B, 3, H, W) → spoof logits (B,)."""
        return np.array([self.one(*sample) for sample in zip(rgb, depth, ir, strict=True)])

    def one(self, *images: Array) -> float:
        seen = [(m, x) for m, x in zip("RDI", images, strict=True) if m in self.modalities]
        fused = getattr(self, self.fusion)({m: self.encoder(f"encoders.{m}", x) for m, x in seen})
        if self.r.fusion_norm:
            fused = self.layer_norm("norm", fused)
        feature = fused[0] if self.r.pooling == "cls" else fused.mean(axis=0)
        out = self.linear("head.2", np.maximum(self.linear("head.0", feature), 0))
        return float(out[0] if len(out) == 1 else out[1] - out[0])

    # the parts

    def linear(self, name: str, x: Array) -> Array:
        return x @ self.w[f"{name}.weight"].T + self.w[f"{name}.bias"]

    def layer_norm(self, name: str, x: Array) -> Array:
        centred = x - x.mean(axis=-1, keepdims=True)
        scaled = centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + 1e-5)
        return scaled * self.w[f"{name}.weight"] + self.w[f"{name}.bias"]

    def attend(self, name: str, q: Array, k: Array, v: Array) -> Array:
        width = q.shape[-1]
        maps = [self.w[f"{name}.{part}.weight"] for part in "qkv"]
        joined = oracles.heads_concatenated(q[None], k[None], v[None], *maps, heads=width // 45)[0]
        return self.linear(f"{name}.out", joined)

    def self_attention(self, name: str, x: Array) -> Array:
        y = self.layer_norm(f"{name}.norm", x)
        return x + self.attend(f"{name}.attend", y, y, y)

    def feed_forward(self, name: str, x: Array) -> Array:
        hidden = self.linear(f"{name}.net.1", self.layer_norm(f"{name}.net.0", x))
        return x + self.linear(f"{name}.net.3", 0.5 * hidden * (1 + erf(hidden / np.sqrt(2))))

    def encoder(self, name: str, image: Array) -> Array:
        rows = [
            image[:, top : top + 16, left : left + 16].reshape(-1)
            for top in range(0, image.shape[1], 16)
            for left in range(0, image.shape[2], 16)
        ]
        patches = self.linear(f"{name}.stem.1", self.layer_norm(f"{name}.stem.0", np.array(rows)))
        x = np.concatenate([self.w[f"{name}.cls"][0], self.layer_norm(f"{name}.stem.2", patches)])
        if self.r.positions == "learned":
            x = x + self.w[f"{name}.positions"][0]
        for place in range(0, 6, 2):
            x = self.self_attention(f"{name}.blocks.{place}", x)
            x = self.feed_forward(f"{name}.blocks.{place + 1}", x)
        return self.layer_norm(f"{name}.norm", x)

    # the fusions: {"R": (T, D), …} → (T, D)

    def mean(self, streams: dict[str, Array]) -> Array:
        return np.mean(list(streams.values()), axis=0)

    def switch(self, streams: dict[str, Array]) -> Array:
        streams = dict(streams)
        for block in range(self.depth):
            layer = block + self.r.first_layer
            roles = [self.order[(layer + role) % 3] for role in range(3)]
            if self.r.update == "all":
                seen_by = {m: self.order[self.order.index(m) :] + self.order[: self.order.index(m)] for m in "RDI"}
                streams = {m: self.updated(block, streams, m, list(seen_by[m])) for m in "RDI"}
            else:
                m = "R" if self.r.update == "rgb" else roles[0]
                streams[m] = self.updated(block, streams, m, roles)
        return streams["R"] if self.r.output == "rgb" else self.mean(streams)

    def updated(self, block: int, streams: dict[str, Array], m: str, roles: list[str]) -> Array:
        name, streams = f"fusion.blocks.{block}", dict(streams)
        if f"{name}.self_attention.norm.weight" in self.w:
            streams[m] = self.self_attention(f"{name}.self_attention", streams[m])
        q, k, v = (streams[role] for role in roles)
        normed = (self.layer_norm(f"{name}.norm_{part}", x) for part, x in zip("qkv", (q, k, v), strict=True))
        base = q if self.r.residual == "query" else streams[m]
        return self.feed_forward(f"{name}.feed_forward", base + self.attend(f"{name}.attend", *normed))

    def cross(self, streams: dict[str, Array]) -> Array:
        for layer in range(self.depth):
            after = {}
            for place, m in enumerate("RDI"):
                name = f"fusion.layers.{layer}.{place}"
                own = streams[m]
                if f"{name}.self_attention.norm.weight" in self.w:
                    own = self.self_attention(f"{name}.self_attention", own)
                others = np.concatenate([streams[o] for o in "RDI" if o != m])
                others = self.layer_norm(f"{name}.norm", others)
                own = own + self.attend(f"{name}.attend", self.layer_norm(f"{name}.norm", own), others, others)
                after[m] = self.feed_forward(f"{name}.feed_forward", own)
            streams = after
        return self.mean(streams)

    def merge(self, streams: dict[str, Array]) -> Array:
        x = np.concatenate([streams[m] for m in "RDI"], axis=-1)
        for place in range(0, 12, 2):
            x = self.feed_forward(f"fusion.blocks.{place + 1}", self.self_attention(f"fusion.blocks.{place}", x))
        return self.linear("fusion.narrow", x)
