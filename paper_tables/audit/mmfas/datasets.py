"""Claims of mmFAS's Section 4, Datasets and protocols: the sizes of the four data sets and what was used of them.

The text's numbers are held against the data sets' own (facts.toml) and against the weights behind Table 1.
"""

from paper_tables.audit.claim import Result, claim, holds, undetermined
from paper_tables.audit.mmfas.names import CROSS, HOME, SET_NAMES, text
from paper_tables.audit.mmfas.weights import WEIGHTS
from paper_tables.audit.numbers import Numbers

PLACE = "Section 4, Datasets and protocols"
RATIO = ("ratio_train", "ratio_val", "ratio_test")


@claim(
    "mmfas.data.cefa_videos",
    place=PLACE,
    kind="text against outside fact",
    says="CeFa holds 23,346 videos of 1,607 subjects",
    quote="23346 videos from 1607 subjects",
    assumes="CeFA's own description: 18,000 + 5,346 + 192 videos, 1,500 + 99 + 8 subjects",
    explains="the silicone-mask videos were not used, and the subjects were counted for the whole data set",
    settles="the data set's own description, which adds to 23,538",
)
def cefa_videos(n: Numbers) -> Result:
    kinds = [n.sizes[f"cefa_{kind}_videos"] for kind in ("2d", "mask", "silicone")]
    printed, subjects = int(text(n, "cefa_videos")), sum(n.sizes["cefa_subjects"])
    return holds(
        printed == sum(kinds) and int(text(n, "cefa_subjects")) == subjects,
        f"{printed - sum(kinds):+d}",
        f"{' + '.join(map(str, kinds))} = {sum(kinds)} videos (print and replay, 3D, silicone); {printed} printed.",
        f"Without silicone: {sum(kinds[:2])}. Subjects with silicone: {subjects}; printed {text(n, 'cefa_subjects')}.",
    )


@claim(
    "mmfas.data.cefa_largest_videos",
    place=PLACE,
    kind="ranking",
    says="CeFa is the largest of the four by the numbers of videos the text gives",
    quote="CeFa is the largest in these four databases",
)
def largest_by_videos(n: Numbers) -> Result:
    sizes = {name: text(n, name) for name in ("cefa_videos", "mmfa_clips", "wmca_videos", "hq_recordings")}
    listing = ", ".join(f"{name} {x}" for name, x in sizes.items())
    return holds(max(sizes, key=lambda name: sizes[name]) == "cefa_videos", "first of 4", listing)


@claim(
    "mmfas.data.cefa_largest_images",
    place=PLACE,
    kind="ranking",
    says="CeFa is the largest of the four, also in the images used",
    quote="CeFa is the largest in these four databases",
    assumes="CeFa's weight is of the 13 of 20 parts kept for testing",
    explains="largest may be meant in videos; the others may have been sampled more densely",
    settles="the numbers of images used",
)
def largest_by_images(n: Numbers) -> Result:
    parts = [text(n, part) for part in RATIO]
    whole = WEIGHTS[HOME] * sum(parts) / parts[2]
    larger = [SET_NAMES[s] for s in CROSS if WEIGHTS[s] > whole]
    return holds(
        not larger,
        f"{whole:.3f} against {max(WEIGHTS[s] for s in CROSS):.3f}",
        f"Tested CeFa weighs {WEIGHTS['C']}; whole, {WEIGHTS['C']} × {sum(parts)}/{parts[2]} = {whole:.4f}; "
        f"MmFA {WEIGHTS['S']}, WMCA {WEIGHTS['W']}. Larger: {', '.join(larger) or 'none'}.",
        f"CeFa would be the largest if the tested part were below {WEIGHTS['C'] / WEIGHTS['W']:.1%} of it.",
        otherwise="undetermined",
    )


@claim(
    "mmfas.data.mmfa_clips",
    place=PLACE,
    kind="feasibility on integer counts",
    says="MmFA holds 21,000 video clips",
    quote="1000 subjects and 21000 video clips",
    assumes="CASIA-SURF's own description: 7,000 recordings of three modalities",
)
def mmfa_recordings(n: Numbers) -> Result:
    stated, recordings = text(n, "mmfa_clips"), n.sizes["surf_clips"]
    return holds(stated == 3 * recordings, f"{stated}", f"{recordings} recordings × 3 modalities = {3 * recordings}")


@claim(
    "mmfas.data.wmca_videos",
    place=PLACE,
    kind="feasibility on integer counts",
    says="WMCA as used holds 1,941 recordings",
    quote="1941 short video recordings",
    assumes="the released grandtest protocol of WMCA, 1,679 clips",
    settles="the list of recordings used",
)
def wmca_recordings(n: Numbers) -> Result:
    return undetermined(
        f"{text(n, 'wmca_videos')} against {n.sizes['wmca_clips']}",
        f"1,941 were captured; the released protocol lists {n.sizes['wmca_clips']}. The text names neither.",
    )


@claim(
    "mmfas.data.hq_recordings",
    place=PLACE,
    kind="feasibility on integer counts",
    says="HQ-WMCA holds 2,904 recordings",
    quote="2904 recordings from 51 participants",
    assumes="HQ-WMCA's own description: 555 bona fide recordings and 2,349 attacks",
)
def hq_recordings(n: Numbers) -> Result:
    stated, bonafide, attacks = text(n, "hq_recordings"), n.sizes["hq_bonafide"], n.sizes["hq_attacks"]
    return holds(stated == bonafide + attacks, f"{stated}", f"{bonafide} bona fide + {attacks} attacks")


@claim(
    "mmfas.data.complete_sets",
    place=PLACE,
    kind="feasibility on integer counts",
    says="the three other sets are tested complete",
    quote="on the other three complete datasets",
    assumes="HQ-WMCA counts 2,024 images, the number that its accuracies and the weights both fit",
    explains="complete may mean every attack type, or every recording that the method's face detector accepted",
    settles="the numbers of images used, or the lists",
)
def complete_sets(n: Numbers) -> Result:
    images, recordings = n.sizes["hq_images"], int(text(n, "hq_recordings"))
    counts = {s: images * WEIGHTS[s] / WEIGHTS["H"] for s in ("S", "W")}
    return undetermined(
        f"{images} images, {recordings} recordings",
        f"{images} images are fewer than HQ-WMCA's {recordings} recordings, so that at least {recordings - images} "
        "recordings gave none.",
        f"By the weights MmFA then has about {counts['S']:,.0f} images (its release {n.sizes['surf_images']:,}) and "
        f"WMCA about {counts['W']:,.0f} (50 frames of each of {n.sizes['wmca_clips']:,} clips are "
        f"{50 * n.sizes['wmca_clips']:,}).",
    )


@claim(
    "mmfas.data.ratio",
    place=PLACE,
    kind="feasibility on integer counts",
    says="CeFa is split 6:1:13 into training, validation and test",
    quote="are 6:1:13",
    assumes="the public CeFA lists",
    settles="the lists used; whether the parts share subjects is not stated either",
)
def ratio(n: Numbers) -> Result:
    public = [x * float(text(n, RATIO[0])) / n.splits["C"][0] for x in n.splits["C"]]
    listing = ":".join(f"{x:.1f}" for x in public)
    return undetermined(listing, f"The public CeFA lists stand as {listing}; the paper names no protocol.")


@claim(
    "mmfas.data.hq_depth",
    place="Section 4, Modality Completion",
    kind="text against outside fact",
    says="HQ-WMCA holds depth, as its description in the text lists, and its depth is inaccessible",
    quote="In HQ-WMCA, the depth modality is inaccessible",
    assumes="the text's own list, “5 modalities (i.e., RGB, depth, infrared, thermal, and short-wave infrared)”",
    explains="the copy that the authors were given may have come without depth",
    settles="the release of HQ-WMCA that was used",
)
def hq_depth(n: Numbers) -> Result:
    return undetermined(
        f"listed among {text(n, 'hq_modalities')}",
        f"The text lists depth among the {text(n, 'hq_modalities')} modalities of HQ-WMCA and calls it inaccessible; "
        "who had which copy no printed number tells.",
    )


@claim(
    "mmfas.data.depth_by_attack_type",
    place="Section 4, Modality Completion",
    kind="direction",
    says="the depth maps made for HQ-WMCA are inputs that a system in use could have",
    quote="we manually remove the depth modality for flat presentation attack types",
    explains="a real depth camera would see flat attacks as flat, which the removal stands in for",
    settles="HQ-WMCA's numbers with the generated depth left in for every attack, or with measured depth",
)
def depth_by_attack_type(n: Numbers) -> Result:
    return undetermined(
        "depth depends on the label",
        "Whether an image keeps its depth is decided by its attack type, which is ground truth; the methods that read "
        "depth see the result at test.",
        f"It bears on HQ-WMCA alone, whose weight is {WEIGHTS['H']}.",
    )


@claim(
    "mmfas.data.method_counts",
    place=PLACE,
    kind="text against table",
    says="ten methods are compared: 2 + 2 unimodal, 5 + 1 multimodal",
    quote="five FAS-specific methods and one generic method",
)
def method_counts(n: Numbers) -> Result:
    unimodal = sum(row.modalities == "RGB" for row in n.mmfas1.rows.values())
    multimodal = len(n.mmfas1.rows) - unimodal - 1
    stated = [
        int(text(n, f"{modal}_{kind}")) for modal in ("unimodal", "multimodal") for kind in ("specific", "generic")
    ]
    return holds(
        [unimodal, multimodal] == [sum(stated[:2]), sum(stated[2:])] and sum(stated) == int(text(n, "methods")),
        f"{unimodal} + {multimodal}",
        f"Table 1 lists {unimodal} rows of RGB alone and {multimodal} rivals with more; the text {stated}.",
    )
