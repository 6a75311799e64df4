"""Claims of MMDA's text (Sections 4 to 4.3 and the abstract) and of its figures.

Numbers and comparisons of the text are held against Tables 1 to 3. Of the figures no number is printed.
"""

from collections.abc import Iterator
from functools import partial
from itertools import product

from paper_tables.audit.claim import (
    OBSERVATION,
    Claim,
    Family,
    Result,
    claim,
    holds,
    needs_data,
    observed,
    undetermined,
)
from paper_tables.audit.metrics import sign
from paper_tables.audit.mmda import questions
from paper_tables.audit.mmda.columns import COLUMNS, METRIC_NAMES, OURS, best_rival, lead, name, table, text, true_mean
from paper_tables.audit.numbers import Numbers

# --- gains ------------------------------------------------------------------------------------------------


@Family
def gains(n: Numbers) -> Iterator[Claim]:
    columns = (("p1", 1, "average"), ("p2", 2, "average"), ("p3_ps", 3, "PS"), ("p3_cw", 3, "CW"))
    for (protocol, number, column), metric in product(columns, METRIC_NAMES):
        label = f"{protocol}_{metric}_gain"
        rival = "the best rival (the sentence names none)" if number == 3 else "the second-best method"
        yield Claim(
            id=f"mmda.text.{label}",
            place=n.mmda_text[label].place,
            kind="text against table",
            says=f"the stated {METRIC_NAMES[metric]} gain is that over {rival}",
            decide=partial(gain, label=label, number=number, column=column, metric=metric),
            quote=n.mmda_text[label].quote,
            explains="the DADM row may have been added after the sentence was written",
            settles="the gains restated against DADM",
        )


def gain(n: Numbers, label: str, number: int, column: str, metric: str) -> Result:
    stated, rows = text(n, label), table(n, number).rows
    rival = best_rival(n, number, column, metric)
    value, ahead = rows[rival].values[column][metric], lead(n, number, column, metric, rival)
    meant = [name(n, row) for row in rows if row != OURS and lead(n, number, column, metric, row) == stated]
    lines = [f"Best of the others: {name(n, rival)} at {value}, {ahead} behind. The stated {stated} is the distance to "
             f"{', '.join(meant) or 'no row of the table'}."]  # fmt: skip
    if column == "average":
        ours = true_mean(n, number, OURS, metric)
        means = (true_mean(n, number, row, metric) for row in rows if row != OURS)
        best = min(means, key=lambda x: sign(metric) * x)
        lines.append(f"By averages recomputed from the columns: {abs(best - ours):.2f}.")
    names_the_second_best = number != 3
    return holds(
        stated == ahead,
        f"{stated} is to {', '.join(meant) or 'none'}, {ahead} to {name(n, rival)}",
        *lines,
        otherwise="contradicted" if names_the_second_best or not meant else "undetermined",
    )


# --- numbers of the text beside the tables' ---------------------------------------------------------------


@Family
def averages(n: Numbers) -> Iterator[Claim]:
    for number, metric in product((1, 2), METRIC_NAMES):
        label = f"p{number}_{metric}"
        yield Claim(
            id=f"mmda.text.{label}",
            place=n.mmda_text[label].place,
            kind="text against table",
            says=f"the average {METRIC_NAMES[metric]} in the text is the table's",
            decide=partial(average, label=label, number=number, metric=metric),
            quote=n.mmda_text[label].quote,
        )


def average(n: Numbers, label: str, number: int, metric: str) -> Result:
    stated, printed = text(n, label), table(n, number).rows[OURS].values["average"][metric]
    return holds(stated == printed, f"{stated - printed:+}", f"Text {stated}, table {printed}.")


@Family
def missing_modalities(n: Numbers) -> Iterator[Claim]:
    for label, column in (("p2_missing_ir", "I"), ("p2_missing_depth", "D")):
        yield Claim(
            id=f"mmda.text.{label}",
            place=n.mmda_text[label].place,
            kind="text against table",
            says="the value called an HTER is one",
            decide=partial(is_an_hter, label=label, column=column),
            quote=n.mmda_text[label].quote,
            explains="the AUC column was read for the HTER",
            settles="the sentence corrected to AUC, or to the HTER of the same cell",
        )


def is_an_hter(n: Numbers, label: str, column: str) -> Result:
    stated, cell = text(n, label), n.mmda2.rows[OURS].values[column]
    return holds(
        stated == cell["hter"],
        f"HTER {cell['hter']}, AUC {cell['auc']}",
        f"Text {stated}; the cell's HTER is {cell['hter']} and its AUC {cell['auc']}.",
    )


@claim(
    "mmda.text.ir_matters_little",
    place="Section 4.1",
    kind="text against table",
    says="without infrared the results closely match the complete ones",
    quote="closely match those without missing modalities",
    settles="what counts as close; repeated runs",
)
def ir_matters_little(n: Numbers) -> Result:
    without, full = n.mmda2.rows[OURS].values["I"], n.mmda1.rows[OURS].values["average"]
    gap = {m: without[m] - full[m] for m in METRIC_NAMES}
    return undetermined(
        f"HTER {gap['hter']:+}, AUC {gap['auc']:+}",
        f"HTER {full['hter']} to {without['hter']}, a rise by {gap['hter'] / full['hter']:.0%}; AUC {full['auc']} to "
        f"{without['auc']}. Close in points, half as many errors again.",
    )


@claim(
    "mmda.text.depth_matters",
    place="Section 4.1",
    kind="direction",
    says="losing depth costs more than losing infrared",
    quote="the absence of the Depth modality significantly impacts performance",
)
def depth_matters(n: Numbers) -> Result:
    cells = n.mmda2.rows[OURS].values
    gap = cells["D"]["hter"] - cells["I"]["hter"]
    return holds(gap > 0, f"{gap:+}", "HTER without depth less HTER without infrared.")


@claim(
    "mmda.text.state_of_the_art",
    place="Abstract",
    kind="ranking",
    says="MMDA beats every method in every average and every protocol",
    quote="outperforms existing state-of-the-art methods",
)
def state_of_the_art(n: Numbers) -> Result:
    cells = [(t, c, m) for t in COLUMNS for c, m in product(table(n, t).sets, METRIC_NAMES)]
    lost = [f"t{t} {c} {m}" for t, c, m in cells if questions.best(n, t, c, m).verdict != "confirmed"]
    return holds(not lost, f"{len(lost)} columns lost", f"Not first in: {', '.join(lost) or 'none'}.")


@claim(
    "mmda.text.patches",
    place="Section 4, Implementation Details",
    kind="arithmetic",
    says="224-pixel images give 14 × 14 patches",
    quote="14×14 patch tokens",
)
def patches(n: Numbers) -> Result:
    side, grid = text(n, "image_side"), text(n, "patch_grid")
    return holds(side == 16 * grid, f"{side / grid}", f"{side} / {grid}: the patch side of ViT-B/16 is 16.")


# --- what the text points to ------------------------------------------------------------------------------


@Family
def references(n: Numbers) -> Iterator[Claim]:
    for label, number in (("limited_source_table", 3), ("md2a_table", 4), ("rs2_table", 5)):
        yield Claim(
            id=f"mmda.text.{label}",
            place=n.mmda_text[label].place,
            kind="text against table",
            says=f"the table the text points to is the one described (it is Table {number})",
            decide=partial(reference, label=label, number=number),
            quote=n.mmda_text[label].quote,
            explains="the edition read here is a conversion, which can lose the number of a reference",
            settles="the PDF",
        )


def reference(n: Numbers, label: str, number: int) -> Result:
    stated = text(n, label)
    return holds(
        stated == number,
        f"Table {stated}, is Table {number}",
        f"The text says Table {stated}; the numbers are Table {number}'s.",
        otherwise="undetermined",
    )


@claim(
    "mmda.text.flip_citation",
    place="Tables 1 to 3, FLIP; References",
    kind="text against table",
    says="the work cited for FLIP is FLIP",
    quote="[22] Ajian Liu and Yanyan Liang. Ma-vit: Modality-agnostic vision transformers for face anti-spoofing",
    between="the number beside FLIP in the tables and in the list of references",
    explains="two neighbouring keys of the bibliography were confused",
    settles="the citation corrected to [31], which is FLIP; the authors' later tables cite another number",
)
def flip_citation(n: Numbers) -> Result:
    cited, listed = int(n.mmda1.rows["flip"].printed.split("[")[1].rstrip("]")), int(text(n, "flip_reference"))
    return holds(
        cited == listed,
        f"[{cited}], is [{listed}]",
        f"The tables print FLIP [{cited}]. Reference [{listed}] is FLIP (Srivatsan, Naseer, Nandakumar).",
    )


@claim(
    "mmda.text.sa_fas",
    place="Section 2.2",
    kind="text against outside fact",
    says="SA-FAS is a method of parameter-efficient transfer learning",
    quote="SA-FAS [32] enhances PETL through improved training strategies and loss functions",
    assumes="SA-FAS trains every weight of a ResNet-18 (Sun et al., CVPR 2023, and its released code)",
    explains="another method of a similar name may have been meant",
    settles="the reference that the sentence means",
)
def sa_fas(n: Numbers) -> Result:
    share = n.sizes["sa_fas_trained_percent"]
    return holds(
        share < 50,
        f"{share} % of the network trained",
        f"Parameter-efficient means, by the section's own words, “fine-tuning a small subset of parameters”; SA-FAS "
        f"trains {share} % of its network.",
    )


@claim(
    "mmda.text.pages",
    place="References, [41]",
    kind=OBSERVATION,
    says="the two papers cite one work, “Flexible-modal face anti-spoofing: A benchmark”, with different pages",
    settles="the proceedings",
)
def pages(n: Numbers) -> Result:
    here, there = int(text(n, "benchmark_page")), int(n.mmfas_text["benchmark_page"].value)
    return observed(f"{here}, {there}", f"MMDA prints pages {here} to {here + 5}, mmFAS {there} to {there + 5}.")


# --- figures ----------------------------------------------------------------------------------------------


UNPRINTED = "Shown as a picture; no number is printed that could be checked."
figure3 = needs_data(
    "mmda.fig3",
    "Section 4.2, Figure 3",
    "seven U-DSA layers improve adaptability and generalisation markedly",
    UNPRINTED,
)
figure4_shallow = needs_data(
    "mmda.fig4_shallow", "Section 4.2, Figure 4", "the best values lie mostly in the shallower layers", UNPRINTED
)
figure4_deepest = needs_data(
    "mmda.fig4_deepest", "Section 4.2, Figure 4", "the deepest layer is never the best", UNPRINTED
)
figure5 = needs_data(
    "mmda.fig5", "Section 4.3, Figure 5", "MMDA's embeddings are more concentrated than CLIP's", UNPRINTED
)
figure6 = needs_data("mmda.fig6", "Section 4.3, Figure 6", "embeddings become more compact through U-DSA", UNPRINTED)
