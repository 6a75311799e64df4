"""Where mmFAS looks: its Figure 7, by Grad-CAM.

    python -m reference.probes.grad_cam --index build/…/index.csv --run-dir build/runs/… \\
        --out build/tables/mmfas-figure7

All that the paper says of Figure 7: it shows "presentation attacks" as RGB, depth and infrared images of
"representative samples from four datasets" with "gradient maps", "computed using Grad-CAM" (Selvaraju et al., ICCV
2017). For a network with convolutions, feature maps A^k of a layer and a class score y, Grad-CAM is

    alpha_k = mean over places of dy / dA^k        (its Eq. 1)
    map     = ReLU(sum over k of alpha_k A^k)      (its Eq. 2), upsampled to the image by bilinear interpolation.

What is left open for mmFAS, and what is done here:

  G1  the score y       --score spoof | bonafide. The caption speaks of attacks: the spoof logit, also for bona fide
      samples. `bonafide` takes the bona fide score, which is its negative.
  G2  the layer         --layer block | norm. mmFAS has no convolution. Taken are the tokens that come out of the last
      block of a modality's encoder, or out of its closing LayerNorm: channel k of token p is A^k at patch p. Later, in
      the fusion, RGB's stream mixes all three modalities. Before a LayerNorm, which is blind to a token's length, the
      gradient of a token is orthogonal to it: a patch then shows by its likeness to what others' gradients ask for.
  G3  the class token   is left out: it has no place in the image.
  G4  one map or three  three: one for each modality's encoder, all of the same score.
  G5  the scale         a sample's three maps share one, from 0 to its highest value, so that they can be compared;
      with a scale for each map, noise in a modality that hardly counts would look as strong as evidence.
  G6  which samples     of each test set one bona fide sample and one of each attack family, drawn by --seed and not by
      eye.

A map has one value for each patch of 16 x 16 pixels and shows a linear approximation at one point. That a method "is
resilient to noise by adaptively weighting" its modalities, as the paper concludes from its figure, cannot be seen in
one: where infrared alone tells the classes and RGB and depth are noise (spec_tests/support/miniature.py, three
trainings of six epochs at 32 x 32), 25 to 56 % of the attacks' maps of the spoof logit lay on RGB and depth.

Stand-in faces are drawn, and of licensed sets only recordings on their owner's list for illustrations, which WMCA and
HQ-WMCA have. Families that the licences keep out are named in grad_cam.json and on the terminal.
"""

import json
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
import tyro
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor

from data_manifests.adapters.illustrations import check_illustration
from data_manifests.errors import BadInput, cli_errors
from data_manifests.index import Index, Row
from data_manifests.phantom.build import MARKER
from reference import mmfas
from reference.batches import batches
from reference.mmfas import PATCH, MmFAS, restore
from reference.pictures import encoded
from reference.probes.finished_run import FinishedRun, ProbeOptions, open_run, write

NAMES = {"R": "RGB", "D": "depth", "I": "infrared"}
BONA_FIDE = "bona fide"
Score = Literal["spoof", "bonafide"]
Layer = Literal["block", "norm"]


@dataclass(frozen=True, kw_only=True)
class Options(ProbeOptions):
    """Draw test samples of a finished mmFAS run and the Grad-CAM of each modality."""

    run_dir: Path
    """A finished run of reference.mmfas."""
    out: Path
    """Folder that receives figure7-SET (SVG and PNG) for each test set, and grad_cam.json."""
    score: Score = "spoof"
    """G1: what the maps explain: the spoof logit, or the bona fide score."""
    layer: Layer = "block"
    """G2: whose tokens: the last block's of each encoder, or its closing LayerNorm's."""
    seed: int = 0
    """Of the choice of samples."""
    allow_licensed: bool = False
    """Draw licensed faces that no owner's list allows: for your own eyes, the licences forbid to pass them on."""


# --------------------------------------------------------------------------------------------------------------
# Grad-CAM
# --------------------------------------------------------------------------------------------------------------


def token_map(tokens: Tensor, gradients: Tensor) -> Tensor:
    """Grad-CAM's Eq. 1 and 2. tokens and the score's gradients with respect to them (B, P, D); result (B, P) >= 0."""
    alpha = gradients.mean(1, keepdim=True)  # (B, 1, D)
    return F.relu((alpha * tokens).sum(-1))


def grad_cam(
    model: MmFAS, rgb: Tensor, depth: Tensor, ir: Tensor, score: Score = "spoof", layer: Layer = "block"
) -> dict[str, Tensor]:
    """The maps (B, H, W) >= 0 of each modality the model sees, by its letter, in units of the score.

    rgb, depth, ir (B, 3, H, W) in [-1, 1]; `model` in evaluation mode. A sample's maps do not depend on the others.
    Raises BadInput when the score does not depend on any patch of a modality in any of the samples, as when class
    tokens alone are averaged (--fusion mean --pooling cls).
    """
    tokens: dict[str, Tensor] = {}

    def keep(letter: str, output: Tensor) -> None:
        tokens[letter] = output

    name = "blocks" if layer == "block" else "norm"
    hooks = [
        encoder.get_submodule(name).register_forward_hook(lambda _module, _input, output, m=letter: keep(m, output))
        for letter, encoder in model.encoders.items()
    ]
    try:
        with torch.enable_grad():
            logits = model(rgb, depth, ir)  # (B,)
    finally:
        for hook in hooks:
            hook.remove()
    y = logits if score == "spoof" else -logits
    gradients = torch.autograd.grad(y.sum(), [*tokens.values()])  # no sample's score depends on another sample
    height, width = rgb.shape[-2:]
    maps = {}
    for (letter, output), gradient in zip(tokens.items(), gradients, strict=True):
        if not gradient[:, 1:].any():
            raise BadInput(
                f"the score of this model does not depend on the patches of {NAMES[letter]}, only on its class token; "
                "name a run with an attention fusion or with --pooling mean"
            )
        coarse = token_map(output[:, 1:].detach(), gradient[:, 1:])  # (B, HW/256), without the class token (G3)
        grid = coarse.unflatten(1, (height // PATCH, width // PATCH))[:, None]
        maps[letter] = F.interpolate(grid, (height, width), mode="bilinear", align_corners=False)[:, 0]
    return maps


# --------------------------------------------------------------------------------------------------------------
# The picture
# --------------------------------------------------------------------------------------------------------------


def is_phantom(index: Index, dataset: str) -> bool:
    """Whether a data set of the index is the renderer's."""
    return (index.roots[dataset].parent / MARKER).exists()


def may_be_drawn(index: Index, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which of `rows` (N,) are stand-in faces or on their owner's list of illustrations: (N,)."""
    verdicts: dict[tuple[str, str], bool] = {}  # one for all frames of a recording
    for row in (index.rows[i] for i in rows):
        recording = (row.dataset, row.clip_id)
        if recording not in verdicts:
            verdicts[recording] = is_phantom(index, row.dataset) or _listed(index, row)
    return np.array([verdicts[index.rows[i].dataset, index.rows[i].clip_id] for i in rows], bool)


def _listed(index: Index, row: Row) -> bool:
    try:
        check_illustration(row, index.roots[row.dataset])
    except BadInput:
        return False
    return True


def one_of_each(index: Index, rows: NDArray[np.int64], seed: int) -> dict[str, dict[str, int]]:
    """{data set: {family: row}}: of `rows` (N,) one of each family, drawn by `seed`; bona fide first."""
    families: dict[str, dict[str, int]] = {}
    for i in np.random.default_rng(seed).permutation(rows):
        row = index.rows[i]
        families.setdefault(row.dataset, {}).setdefault(row.attack_family or BONA_FIDE, int(i))
    return {
        dataset: dict(sorted(families[dataset].items(), key=lambda item: (item[0] != BONA_FIDE, item[0])))
        for dataset in sorted(families)
    }


def overlaid(grey: NDArray[np.float64], heat: NDArray[np.float64]) -> NDArray[np.float64]:
    """grey (H, W) under heat (H, W), both in 0 … 1: (H, W, 3). The hotter, the more of the image is covered."""
    from matplotlib import colormaps

    pale = 0.3 + 0.6 * grey[..., None]  # so that heat is seen on black as well
    cover = 0.8 * heat[..., None]
    return (1 - cover) * pale + cover * colormaps["autumn_r"](heat)[..., :3]


@dataclass(frozen=True)
class Sample:
    """A sample in the picture: its images (modality: (H, W, 3) of 0 … 1) and maps (modality: (H, W))."""

    family: str
    spoof_probability: float
    images: dict[str, NDArray[np.float64]]
    maps: dict[str, NDArray[np.float64]]

    def shares(self) -> dict[str, float]:
        """Each modality's part of the sum of the sample's maps; 0 for all when every map is 0."""
        sums = {letter: float(heat.sum()) for letter, heat in self.maps.items()}
        return {letter: one / (sum(sums.values()) or 1.0) for letter, one in sums.items()}


def picture(samples: Sequence[Sample], title: str, below: str) -> dict[str, bytes]:
    """SVG and PNG: a column a sample, for each modality its image above its map."""
    letters = list(samples[0].maps)
    width = 0.9 + 1.05 * len(samples)  # inches
    figure = Figure(figsize=(width, 1.8 + 2.35 * len(letters)), layout="constrained")
    axes = figure.subplots(2 * len(letters), len(samples), squeeze=False)
    for column, sample in enumerate(samples):
        highest = max(heat.max() for heat in sample.maps.values())
        shares = sample.shares()
        for place, letter in enumerate(letters):
            image, heat = sample.images[letter], sample.maps[letter]
            above, under = axes[2 * place, column], axes[2 * place + 1, column]
            # "none": the SVG holds the image's own pixels, not a resampled copy.
            above.imshow(image, interpolation="none")
            under.imshow(overlaid(image.mean(-1), heat / (highest or 1.0)), interpolation="none")
            under.set_xlabel(f"{100 * shares[letter]:.0f} %", fontsize=8, labelpad=2)
            if not column:
                above.set_ylabel(NAMES[letter], fontsize=9)
                under.set_ylabel("map", fontsize=9)
        heading = f"{sample.family}\nP(spoof) {sample.spoof_probability:.2f}\nhighest {highest:.2f}"
        axes[0, column].set_title(heading, fontsize=8)
    for ax in axes.flat:
        ax.set_xticks([])
        ax.set_yticks([])
    figure.suptitle(textwrap.fill(title, round(13 * width)), fontsize=10)
    figure.supxlabel(textwrap.fill(below, round(16 * width)), fontsize=8)
    return encoded(figure, {"Title": title, "Description": below})


def samples_of(
    finished_run: FinishedRun[MmFAS, mmfas.Options], families: dict[str, int], options: Options
) -> list[Sample]:
    """A row of each family ({family: row}) with its images, maps and spoof probability."""
    rows = np.array([*families.values()])
    (batch,) = batches(finished_run.faces, [rows], finished_run.device)
    maps = grad_cam(finished_run.model, *batch.images, options.score, options.layer)
    with torch.inference_mode():
        spoof = torch.sigmoid(finished_run.model(*batch.images).double()).tolist()
    images = dict(zip("RDI", batch.images, strict=True))
    return [
        Sample(
            family,
            spoof[i],
            {m: (images[m][i].double().permute(1, 2, 0).cpu().numpy() + 1) / 2 for m in maps},
            {m: heat[i].double().cpu().numpy() for m, heat in maps.items()},
        )
        for i, family in enumerate(families)
    ]


def run(options: Options) -> None:
    """Write a picture of each test set and grad_cam.json. Raises BadInput for unusable input, and when no sample of
    the test sets may be drawn."""
    finished_run = open_run(restore, options.run_dir, options)
    index, rows = finished_run.index, finished_run.rows("test")
    allowed = rows if options.allow_licensed else rows[may_be_drawn(index, rows)]
    if not allowed.size:
        raise BadInput(
            f"{options.index}: holds licensed faces, and none of the run's test samples is on an owner's list of "
            "illustrations; use stand-in faces, or give --allow-licensed for a picture that you keep to yourself"
        )
    every, drawn = one_of_each(index, rows, options.seed), one_of_each(index, allowed, options.seed)
    left_out = {d: sorted(set(every[d]) - set(drawn.get(d, {}))) for d in every}

    contents: dict[str, bytes] = {}
    records: list[dict[str, Any]] = []
    what = {"spoof": "spoof logit", "bonafide": "bona fide score"}[options.score]
    for dataset, families in drawn.items():
        phantom = is_phantom(index, dataset)
        inputs = "phantom stand-in faces, no persons" if phantom else "licensed faces"
        if not phantom and options.allow_licensed:
            inputs += ", not to be passed on"
        samples = samples_of(finished_run, families, options)
        for sample, row in zip(samples, families.values(), strict=True):
            records.append(
                {
                    "dataset": dataset,
                    "phantom": phantom,
                    "family": sample.family,
                    "sample_id": index.rows[row].sample_id,
                    "spoof_probability": sample.spoof_probability,
                    "highest": {m: float(heat.max()) for m, heat in sample.maps.items()},
                    "share": sample.shares(),
                }
            )
        patches = finished_run.options.image_size // PATCH
        title = f"Grad-CAM of mmFAS's {what}: test samples of set {dataset} ({inputs})"
        below = (
            f"red: where the sample's maps are highest (in units of the {what}); %: a modality's part of their sum; "
            f"{patches} × {patches} patches"
        )
        contents |= {f"figure7-{dataset}.{kind}": content for kind, content in picture(samples, title, below).items()}
    table = {
        "score": what,
        "layer": options.layer,
        "seed": options.seed,
        "samples": records,
        "left_out_by_licence": left_out,
    }
    for dataset, names in left_out.items():
        if names:
            print(f"{dataset}: not drawn, since its licence allows no picture of them: {', '.join(names)}")
    write(options.out, contents | {"grad_cam.json": (json.dumps(table, indent=1) + "\n").encode()})


def main() -> None:
    options = tyro.cli(Options, prog="python -m reference.probes.grad_cam", description=__doc__)
    with cli_errors():
        run(options)


if __name__ == "__main__":
    main()
