"""Claims of mmFAS's Table 2, Params column, and of the layer widths behind it.

A printed count is compared with that of the network the text describes (`layers`), and counts with one another.
"""

from collections.abc import Iterator
from decimal import Decimal
from functools import partial

from paper_tables.audit.claim import Claim, Family, Result, claim, holds, undetermined
from paper_tables.audit.mmfas import layers
from paper_tables.audit.mmfas.names import text
from paper_tables.audit.numbers import LAST_DIGIT, Numbers


def count(n: Numbers, row: str) -> Decimal:
    """The printed number of parameters, in millions."""
    return n.mmfas2.values[row]["parameters"]


@Family
def counts(n: Numbers) -> Iterator[Claim]:
    for row in n.mmfas2.values:
        yield Claim(
            id=f"mmfas.t2.parameters.{row}",
            place=f"Table 2, {n.mmfas2.printed[row]}, Params",
            kind="parameter count",
            says="the printed count is that of the most literal reading of the text",
            decide=partial(count_as_described, row=row),
            quote="6 attention heads, a depth of 6, and a dimension of 45",
            assumes="patches of 16 and three input channels, the only reading that fits the rows without fusion",
            explains="switch and cross blocks may hold a self-attention too, and “simply stacks” may mean the features",
            settles="the code, or the layer table of the fusion module",
        )


def count_as_described(n: Numbers, row: str) -> Result:
    printed = count(n, row)
    lines, met = [], []
    for words, parameters in readings(n, row).items():
        value = Decimal(parameters) / 1_000_000
        fits = abs(printed - value) <= (LAST_DIGIT if n.printing == "cut" else LAST_DIGIT / 2)
        met += [words] * fits
        lines.append(f"{words[0].upper()}{words[1:]}: {value:.6f} M{', as printed' * fits}.")
    first = next(iter(readings(n, row)))
    gap = printed - Decimal(readings(n, row)[first]) / 1_000_000
    figure = f"{gap:+.3f} M" + (f"; {met[0]}" if met and met[0] != first else "")
    return holds(first in met, figure, f"Printed {printed} M.", *lines, otherwise="undetermined")


def readings(n: Numbers, row: str) -> dict[str, int]:
    """The parameters of a Table 2 row by each reading of the text, the most literal first."""
    width, hidden = int(text(n, "feature_width")), int(text(n, "ffn_width"))
    inner, depth = int(text(n, "heads") * text(n, "head_width")), int(text(n, "fusion_depth"))
    modalities = len(row) if row in ("r", "d", "i", "rd", "ri", "di") else 3
    base = modalities * layers.encoder(width, int(text(n, "encoder_depth")), inner, hidden) + layers.head(width)
    one = depth * layers.block(width, inner, hidden)
    wide = 3 * width
    reduce = layers.linear(wide, width)
    match row.removesuffix("_aligned"):
        case "sa":
            return {
                "one attention a block": base + one,
                "with self-attention": base + depth * layers.block(width, inner, hidden, attentions=2, norms=5),
            }
        case "ca":
            return {
                "one attention a block": base + 3 * one,
                "with self-attention": base + 3 * depth * layers.block(width, inner, hidden, attentions=2, norms=3),
            }
        case "ma":
            return {
                "tokens stacked": base + one,
                "features stacked, six heads of 45": base + depth * layers.block(wide, inner, 4 * wide) + reduce,
                "features stacked, heads widened too": base + depth * layers.block(wide, wide, 4 * wide) + reduce,
            }
    return {"as described": base}


@claim(
    "mmfas.t2.comparable",
    place="Section 4, Effect of attention selection",
    kind="parameter count",
    says="the three attentions are compared at similar parameter counts",
    quote="we keep the parameter counts comparable",
    explains="the width may have been held equal instead, which leaves merge-attention three times as wide",
    settles="merge- and cross-attention reruns at the size of switch-attention",
)
def comparable(n: Numbers) -> Result:
    sa, ca, ma = (count(n, row) for row in ("sa", "ca", "ma"))
    ratio = max(sa, ca, ma) / min(sa, ca, ma)
    return holds(
        ratio < Decimal("1.25"),
        f"factor {ratio:.2f}",
        f"Switch {sa} M, cross {ca} M, merge {ma} M; a factor below 1.25 would pass.",
    )


@claim(
    "mmfas.t2.rarely_adds",
    place="Section 3, Deep Switch-attention Fusion",
    kind="parameter count",
    says="switch-attention hardly adds parameters",
    quote="it rarely adds new parameters",
    explains="the switching itself has no weights; the transformer blocks it sits in do",
    settles="saying which part the sentence counts",
)
def rarely_adds(n: Numbers) -> Result:
    plain = count(n, "rdi")
    sa, ca, ma = (count(n, row) - plain for row in ("sa", "ca", "ma"))
    return undetermined(
        f"+{sa} M, {sa / plain:.0%}",
        f"Over the trimodal row of {plain} M: switch +{sa}, cross +{ca}, "
        f"merge +{ma}. Few beside the other two, but {sa / plain:.0%} more than without fusion.",
    )


@claim(
    "mmfas.t2.higher_parameters",
    place="Section 3, after Equation 8",
    kind="text against table",
    says="switch-attention has more parameters than the alternatives",
    quote="though it comes with higher parameters",
    settles="naming what it is compared with; beside no fusion at all it has more, beside the other two fewer",
)
def higher_parameters(n: Numbers) -> Result:
    sa, ca, ma, plain = (count(n, row) for row in ("sa", "ca", "ma", "rdi"))
    fewest = sa < min(ca, ma)
    return holds(
        not fewest,
        f"{sa} M, {'fewest' if fewest else 'not fewest'} of three",
        f"Merge {ma} M, cross {ca} M, switch {sa} M, no fusion {plain} M.",
        otherwise="undetermined",
    )


@claim(
    "mmfas.text.head_dims",
    place="Section 4, Implementation details",
    kind="arithmetic",
    says="6 heads of 45 make the feature width of 270",
    quote="a dimension of 45 for each head",
)
def heads(n: Numbers) -> Result:
    heads, head, width = text(n, "heads"), text(n, "head_width"), text(n, "feature_width")
    return holds(heads * head == width, f"{heads * head}", f"{heads} × {head}; width {width}")


@claim(
    "mmfas.text.predictor",
    place="Section 3, Class-level Matching",
    kind="arithmetic",
    says="two joined features make the matching predictor's width of 540",
    quote="540-wide fully-connected (FC) module",
)
def predictor(n: Numbers) -> Result:
    width, printed = text(n, "feature_width"), text(n, "predictor_width")
    return holds(2 * width == printed, f"{2 * width}", f"2 × {width}; predictor {printed}")


@claim(
    "mmfas.text.ffn",
    place="Figure 4, caption",
    kind="arithmetic",
    says="the feed-forward network of 1,080 is four times the feature width",
    quote="270 × 1080 × 270",
)
def feed_forward(n: Numbers) -> Result:
    width, printed = text(n, "feature_width"), text(n, "ffn_width")
    return holds(4 * width == printed, f"{4 * width}", f"4 × {width}; printed {printed}")
