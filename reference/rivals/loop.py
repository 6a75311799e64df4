"""The training loop of comparison rows that mmFAS trained "from scratch with the same settings" (section 4).

A row's file gives three things: the network, `forward(rgb, depth, ir)` on float32 (B, 3, S, S) in [-1, 1];
its loss, a function of the network's output and of `spoof` (B,), 1 = spoof, that names every part and is
minimised under "loss"; and its score, a function of the output that grows with bona-fide-ness. The rest is
here: settings, sampling, optimiser, schedule, evaluation and the run folder (`reference.runs`).

Settings of the paper: class-balanced batches of 128 at 224 x 224, Adam with weight decay 1e-2, at most 1e-4
after a warm-up over ten per cent of all steps, cosine annealing, 30 epochs. What it leaves open, and what is
done here:

  L1  "Adam with weight decay 1e-2": decoupled (AdamW) by default, `--optimiser adam_l2` adds it to the
      gradient instead. Either way it acts on all parameters, norms and biases included.
  L2  The warm-up is linear, the cosine ends at 0, and both change at every step (`learning_rate`).
  L3  Augmentation: none by default; `--augmentation flip` mirrors a sample's images with probability 1/2.
  L4  Precision: bfloat16 autocast on CUDA, float32 on CPU. Losses and scores are always computed in float32,
      evaluation altogether, and TF32 is off, so that scores have no ties of coarse rounding.
  L5  Which epoch is reported: every evaluated epoch's scores are kept, the tables choose.

A killed run continues bit for bit on the same machine and thread count: everything that later steps depend on
is in the checkpoint or a pure function of (seed, epoch, step).
"""

import math
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from data_manifests.errors import BadInput, cli_errors
from data_manifests.index import load_index
from reference import data, metrics, runs
from reference.data import BalancedSampler, Faces, batches, open_faces

# cuDNN's attention is left out because its gradients differ from run to run.
ATTENTION = [SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]

Loss = Callable[[Any, Tensor], dict[str, Tensor]]
Score = Callable[[Any], Tensor]


@dataclass(frozen=True, kw_only=True)
class Training:
    """Options of every row."""

    index: Path
    """The index.csv that lists the images (its folder also holds protocols.csv and roots.toml)."""

    run_dir: Path
    """Folder of this run: new or empty to start, unfinished to continue; a finished run is left as it is."""

    protocol: str = "mmfas"
    """Protocol of the index whose splits train, val and test are used."""

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

    def check(self) -> None:
        """Raise BadInput for a value that no training can use."""
        at_least = {"image_size": 1, "batch_size": 2, "epochs": 1, "evaluate_every": 1, "threads": 1}
        at_least |= {"weight_decay": 0, "warmup": 0, "checkpoint_every": 0, "seed": 0}
        for name, least in at_least.items():
            if not getattr(self, name) >= least:
                raise BadInput(f"{option(name)} {getattr(self, name)}: give at least {least}")
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


def cross_entropy(logits: Tensor, spoof: Tensor) -> dict[str, Tensor]:
    """Two-way cross-entropy of logits (B, 2), class 0 bona fide and 1 spoof: the mean over the batch.

    It equals binary cross-entropy on the difference of the two logits.
    """
    return {"loss": F.cross_entropy(logits.float(), spoof.long())}


def logit_difference(logits: Tensor) -> Tensor:
    """Score (B,) of logits (B, 2): bona fide minus spoof, the log-odds of bona fide."""
    return logits[:, 0].float() - logits[:, 1].float()


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
    model: nn.Module,
    score: Score,
    faces: Faces,
    rows: NDArray[np.int64],
    batch_size: int,
    device: torch.device,
) -> NDArray[np.float32]:
    """Scores (N,) of the samples `rows` (N,), by the model in evaluation mode."""
    model.eval()
    order = [rows[i : i + batch_size] for i in range(0, rows.size, batch_size)]
    with torch.inference_mode():
        scores = [score(model(rgb, depth, ir)) for rgb, depth, ir, _ in batches(faces, order, device)]
    return torch.cat(scores).float().cpu().numpy()


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


def train(options: Training, row: Path, build: Callable[[], nn.Module], loss: Loss, score: Score) -> None:
    """Run one row to `done`, from its start or from where it was killed.

    row is the row's own file: its name is the method's, its text belongs to the run. build makes the network
    with fresh weights. Raises BadInput for unusable input and FloatingPointError when training diverges.
    """
    options.check()
    method = row.stem
    device = runs.pick_device(options.device)
    index = load_index(options.index)
    train_rows, val_rows, test_rows = (index.split(options.protocol, s) for s in ("train", "val", "test"))
    runs.seed_everything(options.seed, options.threads)
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False  # L4
    # PyTorch would evaluate attention layers by a kernel outside ATTENTION.
    torch.backends.mha.set_fastpath_enabled(False)
    bf16 = device.type == "cuda" if options.precision == "auto" else options.precision == "bf16"

    arguments = asdict(options) | {"method": method, "device": str(device)}
    arguments["precision"] = "bf16" if bf16 else "float32"
    for place in ("index", "run_dir", "cache_dir"):  # not choices: the index's hash stands for it
        del arguments[place]
    sources = [row, Path(__file__), *(Path(str(module.__file__)) for module in (data, metrics, runs))]
    env = runs.environment(device, " or ".join(backend.name.lower() for backend in ATTENTION))
    run = runs.Run(options.run_dir, arguments, index.sha256, sources, env)
    if run.done:
        print(f"{options.run_dir}: already finished")
        run.close()
        return

    model = build().to(device)
    faces = open_faces(index, options.image_size, options.cache_dir)
    sets = runs.evaluation_sets(faces, val_rows, test_rows)
    make = torch.optim.AdamW if options.optimiser == "adamw" else torch.optim.Adam
    optimiser = make(model.parameters(), lr=options.learning_rate, weight_decay=options.weight_decay)
    sampler = BalancedSampler(faces.bonafide[train_rows], options.batch_size, options.seed)
    steps = sampler.steps * options.epochs
    flips = torch.Generator().manual_seed(options.seed)

    first_epoch, first_step = 0, 0
    sums: dict[str, float] = {}  # of each part of the loss, over the steps of this epoch
    state = run.load_checkpoint(device)
    if state:
        first_epoch, first_step, sums = state["epoch"], state["step"], state["sums"]
        model.load_state_dict(state["model"])
        optimiser.load_state_dict(state["optimiser"])
        flips.set_state(state["flips"])
        runs.set_random_state(state["random"], device)

    def save(epoch: int, step: int) -> None:
        run.save_checkpoint(
            {
                "epoch": epoch,
                "step": step,
                "sums": sums,
                "model": model.state_dict(),
                "optimiser": optimiser.state_dict(),
                "flips": flips.get_state(),
                "random": runs.random_state(device),
            }
        )

    progress = runs.Progress(f"{method} seed {options.seed}", options.epochs, first_epoch)
    for epoch in range(first_epoch, options.epochs):
        model.train()
        order = train_rows[sampler.epoch(epoch)][first_step:]  # (steps left, B)
        began = time.monotonic()
        stream = batches(faces, order, device)
        for step, (rgb, depth, ir, spoof) in enumerate(stream, start=first_step):
            if options.augmentation == "flip":
                rgb, depth, ir = mirror((rgb, depth, ir), flips)
            for group in optimiser.param_groups:
                group["lr"] = learning_rate(
                    epoch * sampler.steps + step, steps, options.learning_rate, options.warmup
                )
            with sdpa_kernel(ATTENTION), torch.autocast(device.type, torch.bfloat16, enabled=bf16):
                output = model(rgb, depth, ir)
            losses = loss(output, spoof)
            optimiser.zero_grad()
            losses["loss"].backward()
            optimiser.step()
            for name, value in zip(losses, torch.stack([*losses.values()]).tolist(), strict=True):
                if not math.isfinite(value):
                    raise diverged(f"the training loss ({name})", epoch)
                sums[name] = sums.get(name, 0.0) + value
            if (
                options.checkpoint_every
                and (step + 1) % options.checkpoint_every == 0
                and step + 1 < sampler.steps
            ):
                save(epoch, step + 1)

        seconds = time.monotonic() - began
        line: dict[str, Any] = {
            "epoch": epoch,
            **{name: total / sampler.steps for name, total in sums.items()},
            "learning_rate": optimiser.param_groups[0]["lr"],
            "seconds": seconds,
            "samples_per_second": order.size / seconds,
            "waiting_for_data": stream.waited / seconds,
        }
        said = f"loss {line['loss']:.4f}"
        if (epoch + 1) % options.evaluate_every == 0 or epoch + 1 == options.epochs:
            began = time.monotonic()
            with sdpa_kernel(ATTENTION):
                scores = {
                    name: predict(model, score, faces, rows, options.batch_size, device)
                    for name, rows in sets.items()
                }
            for name, values in scores.items():
                if not np.isfinite(values).all():
                    raise diverged(f"a score of {name}", epoch)
            line["sets"] = runs.evaluate(scores, {name: faces.bonafide[rows] for name, rows in sets.items()})
            line["evaluation_seconds"] = time.monotonic() - began
            for name, rows in sets.items():
                run.save_scores(name, epoch, scores[name], faces, rows)
            said += f" · val EER {100 * line['sets']['val']['eer']:.1f} %"
        run.log(line)
        first_step, sums = 0, {}
        save(epoch + 1, 0)
        progress.epoch(epoch, said)
    run.finish(model.state_dict())
    run.close()
    print(f"{options.run_dir}: finished")
