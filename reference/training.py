"""What every training here has in common: its settings, its schedule, its precision, how it ends.

Settings of the mmFAS paper (section 4), which trained its comparison rows with them too: class-balanced batches of
128 at 224 x 224, Adam with weight decay 1e-2, at most 1e-4 after a warm-up over ten per cent of all steps, cosine
annealing, 30 epochs. What it leaves open, and what is done here:

  L1  "Adam with weight decay 1e-2": decoupled (AdamW) by default, `--optimiser adam_l2` adds it to the gradient
      instead. Either way it acts on all parameters, norms and biases included.
  L2  The warm-up is linear, the cosine ends at 0, and both change at every step (`learning_rate`).
  L3  Augmentation: none by default; `--augmentation flip` mirrors a sample's images with probability 1/2.
  L4  Precision: bfloat16 autocast on CUDA, float32 on CPU. Losses and scores are always computed in float32,
      evaluation altogether, and TF32 is off, so that scores have no ties of coarse rounding.
  L5  Which epoch is reported: every evaluated epoch's scores are kept, the tables choose.

A killed run continues bit for bit on the same machine and thread count: everything that later steps depend on is
in the checkpoint or a pure function of (seed, epoch, step).
"""

import math
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from data_manifests.errors import BadInput, cli_errors
from data_manifests.index import Index, load_index
from reference import data, environment, metrics, runs
from reference.data import Faces, batches, open_faces

# cuDNN's attention is left out because its gradients differ from run to run.
ATTENTION = [SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]


@dataclass(frozen=True, kw_only=True)
class Training:
    """Options of every method."""

    index: Path
    """The index.csv that lists the images (its folder also holds protocols.csv and roots.toml)."""

    run_dir: Path
    """Folder of this run: new or empty to start, unfinished to continue; a finished run is left as it is."""

    protocol: str = "mmfas"
    """Protocol of the index whose splits train, val and test are used."""

    sources: str = ""
    """Letters of the data sets to train and validate on, such as CPS; empty: all in the protocol's splits."""

    targets: str = ""
    """Letters of the data sets to test on, such as W; empty: all in the protocol's test split."""

    missing: tuple[Literal["D", "I", "DI"], ...] = ()
    """Test each data set again without its depth (D), its infrared (I), or both (DI): black pixels instead."""

    image_size: int = 224
    """Side of the square images, in pixels."""

    batch_size: int = 128
    """Samples a step, half of them bona fide; also used to evaluate."""

    epochs: int = 30
    """Passes over the training split."""

    learning_rate: float = 1e-4
    """Highest learning rate, reached at the end of the warm-up."""

    weight_decay: float = 1e-2
    """Weight decay of all parameters."""

    warmup: float = 0.1
    """Share of all steps over which the learning rate rises linearly."""

    optimiser: Literal["adamw", "adam_l2"] = "adamw"
    """adamw decays weights apart from the gradient, adam_l2 adds the decay to the gradient."""

    augmentation: Literal["none", "flip"] = "none"
    """flip mirrors each training sample with probability 1/2, all its modalities alike."""

    evaluate_every: int = 1
    """Epochs from one evaluation to the next; the last epoch is always evaluated."""

    checkpoint_every: int = 0
    """Steps from one checkpoint to the next within an epoch; 0 writes one only at an epoch's end."""

    seed: int = 0
    """Decides initial weights, sampling and augmentation."""

    device: str = "auto"
    """cpu, cuda, cuda:N, or auto: CUDA where there is one."""

    threads: int = 1
    """CPU threads of torch; their number changes rounding, so it belongs to the run."""

    precision: Literal["auto", "float32", "bf16"] = "auto"
    """Arithmetic of training: bf16 is bfloat16 autocast; auto takes bf16 on CUDA and float32 elsewhere."""

    cache_dir: Path = Path("build/cache")
    """Where decoded images are kept, for all runs on the same images."""

    labels: Literal["true", "shuffled"] = "true"
    """A control: shuffled permutes the training labels, and what is learned from them must not help at test."""

    def check(self) -> None:
        """Raise BadInput for a value that no training can use."""
        at_least = {"image_size": 1, "batch_size": 2, "epochs": 1, "evaluate_every": 1, "threads": 1}
        at_least |= {"weight_decay": 0, "warmup": 0, "checkpoint_every": 0, "seed": 0}
        for name, least in at_least.items():
            if not getattr(self, name) >= least:
                raise BadInput(f"{option(name)} {getattr(self, name)}: give at least {least}")
        if both := set(self.sources) & set(self.targets):
            raise BadInput(
                f"--targets {self.targets}: {min(both)} is also in --sources {self.sources}; leave it out of one"
            )
        if self.batch_size % 2:
            raise BadInput(f"--batch-size {self.batch_size}: give an even number, half of it bona fide")
        if not self.warmup <= 1:
            raise BadInput(f"--warmup {self.warmup}: it is a share of all steps; give at most 1")
        if not 0 < self.learning_rate < math.inf:
            raise BadInput(f"--learning-rate {self.learning_rate}: give a number above 0")


def option(field: str) -> str:
    return "--" + field.replace("_", "-")


def divisible(image_size: int, patch: int) -> int:
    """image_size / patch; BadInput unless that is a whole number."""
    if image_size % patch:
        raise BadInput(f"--image-size {image_size}: this network needs a multiple of {patch}")
    return image_size // patch


def learning_rate(step: int, steps: int, highest: float, warmup: float) -> float:
    """The rate of step 0 <= `step` < `steps`.

    With w = round(warmup * steps): highest * (step + 1) / w while step < w, then
    highest * (1 + cos(pi * (step - w) / (steps - w))) / 2, which would be 0 at step = steps.
    """
    rising = round(warmup * steps)
    if step < rising:
        return highest * (step + 1) / rising
    return highest * (1 + math.cos(math.pi * (step - rising) / (steps - rising))) / 2


def mirror(images: tuple[Tensor, ...], generator: torch.Generator) -> tuple[Tensor, ...]:
    """Mirror each sample's images (B, C, H, W) left to right, or none of them, with probability 1/2."""
    chosen = torch.rand(images[0].shape[0], generator=generator) < 0.5  # (B,)
    chosen = chosen.to(images[0].device)[:, None, None, None]
    return tuple(torch.where(chosen, x.flip(-1), x) for x in images)


def predict(
    model: Callable[[Tensor, Tensor, Tensor], Tensor],
    faces: Faces,
    rows: NDArray[np.int64],
    batch_size: int,
    device: torch.device,
    missing: str = "",
) -> NDArray[np.float32]:
    """Scores (N,) of the samples `rows` (N,); `model` maps rgb, depth, ir (B, 3, S, S) to scores (B,).

    `missing` names modalities, of R, D and I, that are fed as black.
    """
    order = [rows[i : i + batch_size] for i in range(0, rows.size, batch_size)]
    with torch.inference_mode(), sdpa_kernel(ATTENTION):
        scores = [model(rgb, depth, ir) for rgb, depth, ir, _ in batches(faces, order, device, missing)]
    return torch.cat(scores).float().cpu().numpy()


@dataclass(frozen=True)
class Prepared:
    """A run that may begin or go on: its folder, where it computes, and which rows of the index it uses."""

    options: Training
    run: runs.Run
    index: Index
    device: torch.device
    bf16: bool
    train: NDArray[np.int64]
    val: NDArray[np.int64]
    test: NDArray[np.int64]

    def images(self) -> tuple[Faces, dict[str, NDArray[np.int64]]]:
        """The index's images, and the rows of each set to evaluate (`runs.evaluation_sets`)."""
        faces = open_faces(self.index, self.options.image_size, self.options.cache_dir)
        self.run.same_images(faces.sha256)
        for dataset, lost in faces.missing_report().items():
            if any(lost.values()):
                said = ", ".join(f"{modality} {n}" for modality, n in lost.items() if n)
                print(f"{dataset}: modalities missing or all zero, fed as black: {said}", flush=True)
        sets = runs.evaluation_sets(faces, self.val, self.test, self.options.missing)
        if self.options.labels == "shuffled":
            labels = faces.bonafide.copy()
            labels[self.train] = np.random.default_rng(self.options.seed).permutation(labels[self.train])
            faces = replace(faces, bonafide=labels)
        return faces, sets


def prepare(options: Training, method: str, sources: list[Path], inputs: Mapping[str, Any] | None = None) -> Prepared:
    """Check the options, find the splits, and open the run folder.

    `sources` are the method's own files; `inputs` what else, beside options, index and images, decides a run.

    Raises BadInput for unusable input.
    """
    options.check()
    device = environment.pick_device(options.device)
    index = load_index(options.index)
    train, val, test = (index.split(options.protocol, split) for split in ("train", "val", "test"))
    train, val = (_only(index, options, rows, "sources") for rows in (train, val))
    test = _only(index, options, test, "targets")
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False  # L4
    # PyTorch would evaluate its own attention layers by a kernel outside ATTENTION.
    torch.backends.mha.set_fastpath_enabled(False)
    bf16 = device.type == "cuda" if options.precision == "auto" else options.precision == "bf16"

    arguments = asdict(options) | {"method": method, "device": str(device), **(inputs or {})}
    arguments["precision"] = "bf16" if bf16 else "float32"
    arguments["missing"] = list(options.missing)  # as JSON will give it back
    for place in ("index", "run_dir", "cache_dir", "clip_weights"):  # not choices: hashes stand for what they hold
        arguments.pop(place, None)
    shared = [Path(__file__), *(Path(str(module.__file__)) for module in (data, metrics, runs))]
    torch.set_num_threads(options.threads)  # `environment` notes it
    env = environment.environment(device, " or ".join(backend.name.lower() for backend in ATTENTION))
    run = runs.Run(options.run_dir, arguments, index.sha256, [*sources, *shared], env)
    return Prepared(options, run, index, device, bf16, train, val, test)


def _only(
    index: Index, options: Training, rows: NDArray[np.int64], side: Literal["sources", "targets"]
) -> NDArray[np.int64]:
    """Those of `rows` whose data set `side` names. Raises BadInput for one that has no row there."""
    wanted: str = getattr(options, side)
    dataset = np.array([index.rows[i].dataset for i in rows])
    for letter in wanted:
        if letter not in dataset:
            raise BadInput(
                f"{index.path}: protocol {options.protocol} has no {letter} sample for {option(side)} {wanted}; "
                "index that data set, or name another --protocol"
            )
    return rows[np.isin(dataset, list(wanted))] if wanted else rows


@contextmanager
def command_errors() -> Iterator[None]:
    """End a command with one sentence: status 2 for unusable input, 1 for a training that diverged."""
    with cli_errors():
        try:
            yield
        except FloatingPointError as e:
            print(f"error: {e}", file=sys.stderr)
            raise SystemExit(1) from e


def diverged(what: str, epoch: int) -> FloatingPointError:
    return FloatingPointError(
        f"{what} is not finite in epoch {epoch + 1}, and would be again if this run were continued; "
        "start another --run-dir with a lower --learning-rate or with --precision float32"
    )
