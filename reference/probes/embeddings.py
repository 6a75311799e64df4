"""Pictures of what MMDA makes of a test set: its Figures 5 and 6.

    python -m reference.probes.embeddings --index build/…/index.csv --run-dir build/runs/… \\
        --out build/tables/mmda-embeddings

Figure 5 sets CLIP's features of the samples beside MMDA's, each by a t-SNE of its own. Figure 6 shows the samples
before U-DSA (V_0, light) and after it (V'_0, dark) in one t-SNE. A t-SNE keeps neighbours and nothing else: sizes of
clusters and distances between them mean nothing, and the paper's "more compact" cannot be read off one. So the
numbers that can be compared stand under each picture: the AUC of a nearest-neighbour vote among the samples
themselves (a sample's own recording left out), measured in the full space.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
import tyro
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from data_manifests.errors import cli_errors
from reference import metrics
from reference.mmda import Tower, inputs_in_words, restore
from reference.pictures import encoded
from reference.probes.finished_run import ProbeOptions, open_run, write

Points = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Options(ProbeOptions):
    """Draw the test samples of a finished MMDA run before, within and behind its adaptor."""

    run_dir: Path
    """A finished run of reference.mmda."""
    out: Path
    """Folder that receives figure5 and figure6 (SVG and PNG) and embeddings.json."""
    samples: int = 600
    """At most so many samples are drawn, the same each time."""
    seed: int = 0
    """Of the choice of samples and of t-SNE."""


def neighbour_auc(points: Points, bonafide: NDArray[np.bool_], recording: NDArray[np.int64], k: int = 5) -> float:
    """AUC of the share of bona fide samples among a sample's k nearest by cosine in other recordings.

    points (N, D), bonafide and the number of its recording (N,).
    """
    unit = points / np.linalg.norm(points, axis=1, keepdims=True)
    near = unit @ unit.T
    near[recording[:, None] == recording[None, :]] = -np.inf
    nearest = np.argpartition(-near, k, axis=1)[:, :k]
    return metrics.auc(bonafide[nearest].mean(1), bonafide)


def tsne(points: Points, seed: int) -> Points:
    """(N, D) to (N, 2), by cosine, from a PCA start: the same picture each time."""
    from sklearn.manifold import TSNE  # seconds to import

    perplexity = min(30.0, (len(points) - 1) / 3)
    return TSNE(2, metric="cosine", init="pca", perplexity=perplexity, random_state=seed).fit_transform(points)


def _scatter(ax: Axes, at: Points, bonafide: NDArray[np.bool_], dark: bool, label: str) -> None:
    for live, colour, marker, name in ((True, "#2b7bd6", "o", "bona fide"), (False, "#c2410c", "x", "attack")):
        here = at[bonafide == live]
        ax.scatter(
            here[:, 0], here[:, 1], s=16, marker=marker, label=f"{name}{label}", color=colour,
            alpha=0.9 if dark else 0.3, linewidths=1.0,
        )  # fmt: skip
    ax.set_xticks([])
    ax.set_yticks([])


def _files(name: str, draw: Callable[[Figure], None], width: float) -> dict[str, bytes]:
    figure = Figure(figsize=(width, 4.2), layout="constrained")
    draw(figure)
    return {f"{name}.{kind}": content for kind, content in encoded(figure).items()}


def run(options: Options) -> None:
    """Write both figures and the numbers under them. Raises BadInput for unusable input."""
    finished_run = open_run(restore, options.run_dir, options)
    model, run_options = finished_run.model, finished_run.options
    faces, device = finished_run.faces, finished_run.device
    rows = np.sort(np.random.default_rng(options.seed).permutation(finished_run.rows("test"))[: options.samples])
    bonafide = faces.bonafide[rows]
    recording = np.unique([finished_run.index.rows[i].clip_id for i in rows], return_inverse=True)[1]
    tower = Tower(model, faces, run_options.missing_as, options.cache_dir, device)
    tokens, present = tower.without(rows, tower.features(rows), "")
    domains = torch.from_numpy(faces.domain[rows]).to(device)
    with torch.inference_mode():
        draws = torch.Generator(device).manual_seed(options.seed)
        captions = model.encode_captions()
        states: list[list[torch.Tensor]] = []
        size = run_options.micro_batch or len(rows)  # as the run itself scores
        for at in torch.arange(len(rows), device=device).split(size):
            there = None if present is None else present[at]
            output = model.adaptor.outputs(tokens[at], captions, domains[at], model.clip.scale, draws, there)
            states.append([output.states[0], output.states[-1]])
        before = F.normalize(tokens, dim=-1).mean(1)  # CLIP's, as in the zero-shot row
    clip_points, first, last = (
        x.cpu().numpy() for x in (before, *(torch.cat(state) for state in zip(*states, strict=True)))
    )
    inputs = inputs_in_words(finished_run.index, model)
    auc = {
        name: 100 * neighbour_auc(points, bonafide, recording)
        for name, points in (("clip", clip_points), ("v_0", first), ("v_prime_0", last))
    }

    def figure_5(figure: Figure) -> None:
        axes = figure.subplots(1, 2)
        for ax, points, name, key in zip(
            axes, (clip_points, last), ("CLIP", "MMDA, V'_0"), ("clip", "v_prime_0"), strict=True
        ):
            _scatter(ax, tsne(points, options.seed), bonafide, True, "")
            ax.set_title(name, loc="left", fontsize=10)
            ax.set_xlabel(f"neighbours' AUC {auc[key]:.1f} %")
        axes[0].legend(frameon=False, fontsize=8)
        figure.suptitle(f"t-SNE of {len(rows)} test samples of {run_options.targets} ({inputs})", fontsize=10)

    def figure_6(figure: Figure) -> None:
        ax = figure.subplots()
        at = tsne(np.concatenate([first, last]), options.seed)
        _scatter(ax, at[: len(rows)], bonafide, False, ", before U-DSA")
        _scatter(ax, at[len(rows) :], bonafide, True, ", after")
        ax.set_xlabel(f"neighbours' AUC: before {auc['v_0']:.1f} %, after {auc['v_prime_0']:.1f} %")
        ax.legend(frameon=False, fontsize=8)
        samples = f"{len(rows)} test samples of {run_options.targets}"
        figure.suptitle(f"Before and after U-DSA: {samples}\n({inputs})", fontsize=10)

    contents = _files("figure5", figure_5, 8) | _files("figure6", figure_6, 5.5)
    figures = {"samples": len(rows), "inputs": inputs, "preset": run_options.preset, "neighbours_auc": auc}
    write(options.out, contents | {"embeddings.json": (json.dumps(figures, indent=1) + "\n").encode()})


def main() -> None:
    options = tyro.cli(Options, prog="python -m reference.probes.embeddings", description=__doc__)
    with cli_errors():
        run(options)


if __name__ == "__main__":
    main()
