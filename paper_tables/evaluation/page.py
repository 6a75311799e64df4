"""An evaluation as one HTML file: no network, no script, light and dark."""

from html import escape

from paper_tables.evaluation import curves
from paper_tables.evaluation.evaluation import Evaluation, samples_of
from paper_tables.evaluation.measures import Missing
from paper_tables.evaluation.wording import TITLE, Sheet, metric_name, sentences, set_name, sheets, warnings
from paper_tables.rendering.figures import COLOURS, Look
from paper_tables.rendering.page import head
from paper_tables.rendering.wording import number

_NUMBERS = """.plain td{text-align:right}.plain thead th+th{text-align:right}
@media (max-width:45rem){.plain tbody th{white-space:normal;min-width:8rem;max-width:8rem}}"""


def page(evaluation: Evaluation) -> str:
    """The whole document."""
    body = [*map(_table, sheets(evaluation))]
    for i, result in enumerate(evaluation.sets):  # whose tables come first
        body[i] += _figures(evaluation, i, result.name)
    meaning = "".join(f"<li>{escape(sentence)}</li>" for sentence in sentences(evaluation))
    return "\n".join(
        [
            head(TITLE, _NUMBERS, '<link rel="icon" href="data:,">'),  # or browsers ask for one
            f"<body><main><h1>{TITLE}</h1>",
            *(f'<p class="note standin">{escape(sentence)}</p>' for sentence in warnings(evaluation)),
            *body,
            f'<section><h2>What the numbers are</h2><ul class="meaning">{meaning}</ul></section>',
            "</main></body></html>\n",
        ]
    )


def _table(sheet: Sheet) -> str:
    said = "".join(f"<p>{escape(sentence)}</p>" for sentence in sheet.sentences)
    if not sheet.rows:
        return f"<section><h2>{escape(sheet.title)}</h2>{said}</section>"
    heads = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in sheet.head)
    rows = "".join(
        f'<tr><th scope="row">{escape(name)}</th>{"".join(f"<td>{escape(cell)}</td>" for cell in cells)}</tr>'
        for name, *cells in sheet.rows
    )
    return (
        f"<section><h2>{escape(sheet.title)}</h2>{said}"
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(sheet.title)}"><table class="plain">'
        f"<thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table></div></section>"
    )


def _figures(evaluation: Evaluation, place: int, name: str) -> str:
    """The curves of a test set, with a legend."""
    methods = samples_of(evaluation, name)
    all_looks = curves.looks(evaluation.methods)
    drawn = curves.drawn({m: curves.curve(several) for m, several in methods.items()}, f"set{place}", all_looks)
    legend = "".join(f"<li>{_line(all_looks[method])}{escape(method)}</li>" for method in methods)
    rates = []
    for method, figures in evaluation.sets[place].figures.items():
        value = figures["eer"].value
        rates += [] if isinstance(value, Missing) else [f"{method} {number(100 * value)} %"]
    label = f"{metric_name('eer')}: {', '.join(rates)}"
    panels = "".join(
        f'<div class="panel" role="img" aria-label="{escape(f"{title} of {set_name(name)}. {label}")}">'
        f"<h3>{title}</h3>{svg}</div>"
        for title, svg in drawn.items()
    )
    several = any(len(samples) > 1 for samples in methods.values())
    note = "Nearer the lower left is better; the thin line is chance." + (
        " Of several seeds: the mean of BPCER at each APCER." if several else ""
    )
    return (
        f'<section><h2>Curves of {escape(set_name(name))}</h2><figure><ul class="legend">{legend}</ul>'
        f'<div class="panels">{panels}</div><figcaption>{note}</figcaption></figure></section>'
    )


def _line(look: Look) -> str:
    dashes = " ".join(f"{d * look.width:g}" for d in look.dashes) or "none"
    return (
        '<svg viewBox="0 0 44 8" width="44" height="8" aria-hidden="true"><line x1="1" y1="4" x2="43" y2="4" '
        f'stroke="var(--m{COLOURS.index(look.colour)})" stroke-width="{look.width}" stroke-dasharray="{dashes}"/></svg>'
    )
