"""Parameter counts of mmFAS's parts from their layer widths (weights and biases; no position tables or class tokens).

Encoder stem: LayerNorm, linear map and LayerNorm on 16 × 16 × 3 patches. Attention: no bias on query, key and value, a
bias on the output map. Position tables and class tokens are left out, as tools that count leaf modules leave them out;
with them (53,460 an encoder) no row of Table 2 fits.
"""

PATCH = 16 * 16 * 3


def linear(inputs: int, outputs: int) -> int:
    return inputs * outputs + outputs


def norm(width: int) -> int:
    return 2 * width


def attention(width: int, inner: int) -> int:
    return 3 * width * inner + linear(inner, width)


def feed_forward(width: int, hidden: int) -> int:
    return linear(width, hidden) + linear(hidden, width)


def block(width: int, inner: int, hidden: int, attentions: int = 1, norms: int = 2) -> int:
    """A pre-norm transformer block: `attentions` attention modules, `norms` LayerNorms, one feed-forward network."""
    return attentions * attention(width, inner) + norms * norm(width) + feed_forward(width, hidden)


def encoder(width: int, depth: int, inner: int, hidden: int) -> int:
    stem = norm(PATCH) + linear(PATCH, width) + norm(width)
    return stem + depth * block(width, inner, hidden) + norm(width)


def head(width: int) -> int:
    """Fully-connected layer, ReLU, one output."""
    return linear(width, width) + linear(width, 1)
