"""Pictures and measurements that need trained models: each a command over finished runs of a table's rows.

    python -m paper_tables mmda-batch-leak

A probe takes the table's own runs of seed 0, whatever the number of seeds; what is missing of them is run first, and
what the probe leaves lies in `build/tables/NAME`.
"""

from dataclasses import dataclass

from paper_tables.declarations import mmda, mmfas
from paper_tables.declarations.table import Table


@dataclass(frozen=True)
class Picture:
    """A figure that a probe draws: its title, its files' names without their endings, and what it shows."""

    name: str
    title: str
    files: str  # a pattern: figure7-* is one for each test set
    target: str  # of make
    words: str
    cells: bool = False  # whether the probe's table.json holds a table of numbers to stand under it


@dataclass(frozen=True)
class Probe:
    """`python -m program --index … OPTION folder(s) … --out …` on the runs that `needs` names, in that order."""

    name: str
    title: str
    table: Table
    needs: tuple[tuple[str, str], ...]  # a row and its part
    program: str
    pictures: tuple[Picture, ...]
    option: str = "--run-dir"


MMFAS_FIGURE_7 = Probe(
    "mmfas-figure7",
    "mmFAS, Figure 7: where it looks, by Grad-CAM",
    mmfas.TABLE_1,
    (("mmfas", ""),),
    "reference.probes.grad_cam",
    (
        Picture(
            "mmfas-figure7",
            "mmFAS, Figure 7: where the encoders look (Grad-CAM)",
            "figure7-*",
            "reproduce-mmfas-figure7",
            "Heat maps of one training's three encoders. They show what moves the score, not why.",
        ),
    ),
)

# The paper names no run. PSW→C is where all its ablations are, and batch-free: a released model's features of a
# sample would be others beside other samples.
MMDA_EMBEDDINGS = Probe(
    "mmda-embeddings",
    "MMDA, Figures 5 and 6: t-SNE of CLIP and MMDA, and before and after U-DSA",
    mmda.TABLE_1,
    (("mmda_batch_free", "PSW-C"),),
    "reference.probes.embeddings",
    (
        Picture(
            "mmda-figure5",
            "MMDA, Figure 5: test samples before CLIP is adapted and after (t-SNE)",
            "figure5",
            "reproduce-mmda-figure5",
            "One training, one t-SNE: distances between clusters mean nothing, and another seed draws another picture. "
            "The neighbours' AUC under each panel is computed in the original space.",
        ),
        Picture(
            "mmda-figure6",
            "MMDA, Figure 6: test samples before U-DSA and after (t-SNE)",
            "figure6",
            "reproduce-mmda-figure6",
            "As Figure 5: one training, one t-SNE.",
        ),
    ),
)

MMDA_BATCH_LEAK = Probe(
    "mmda-batch-leak",
    "MMDA: how much of a score is owed to the batch it is computed in",
    mmda.TABLE_1,
    (("mmda_released", "CPS-W"), ("mmda_batch_free", "CPS-W")),
    "reference.probes.batch_leak",
    (
        Picture(
            "mmda-batch-leak",
            "MMDA’s released code: how much of a score is owed to its batch-mates",
            "scores",
            "mmda-batch-leak",
            "Not in the paper. One trained model scores one list in several orders and batch sizes; nothing else "
            "changes.",
            cells=True,
        ),
    ),
    "--run-dirs",
)

PROBES = {probe.name: probe for probe in (MMFAS_FIGURE_7, MMDA_EMBEDDINGS, MMDA_BATCH_LEAK)}
