"""The training loop of the comparison rows that mmFAS trained "from scratch with the same settings" (section 4).

A row's file gives three things: the network, `forward(rgb, depth, ir)` on float32 (B, 3, S, S) in [-1, 1];
its loss, a function of the network's output and of `spoof` (B,), 1 = spoof, that names every part and is
minimised under "loss"; and its score, a function of the output that grows with bona-fide-ness. The settings,
and what the paper leaves open of them, are those of `reference.training`.
"""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.attention import sdpa_kernel

from reference import environment, runs
from reference.data import BalancedSampler, batches
from reference.training import ATTENTION, Training, diverged, learning_rate, mirror, predict, prepare

Loss = Callable[[Any, Tensor], dict[str, Tensor]]
Score = Callable[[Any], Tensor]


def cross_entropy(logits: Tensor, spoof: Tensor) -> dict[str, Tensor]:
    """Two-way cross-entropy of logits (B, 2), class 0 bona fide and 1 spoof: the mean over the batch.

    It equals binary cross-entropy on the difference of the two logits.
    """
    return {"loss": F.cross_entropy(logits.float(), spoof.long())}


def logit_difference(logits: Tensor) -> Tensor:
    """Score (B,) of logits (B, 2): bona fide minus spoof, the log-odds of bona fide."""
    return logits[:, 0].float() - logits[:, 1].float()


def train(
    options: Training,
    row: Path,
    build: Callable[[], nn.Module],
    loss: Loss,
    score: Score,
    files: Sequence[Path] = (),
    inputs: Mapping[str, Any] | None = None,
) -> None:
    """Run one row to `done`, from its start or from where it was killed.

    row is the row's own file: its name is the method's, its text belongs to the run, as do other `files` and
    `inputs` (`reference.training.prepare`). build makes the network with fresh weights. Raises BadInput for
    unusable input and FloatingPointError when training diverges.
    """
    method = row.stem
    prepared = prepare(options, method, [row, Path(__file__), *files], inputs)
    run, device, train_rows = prepared.run, prepared.device, prepared.train
    if run.done:
        print(f"{options.run_dir}: already finished")
        run.close()
        return

    # Only now: it loads torch's compiler, seconds that a finished run need not spend.
    environment.seed_everything(options.seed, options.threads)
    model = build().to(device)
    faces, sets = prepared.images()
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
        environment.set_random_state(state["random"], device)

    def save(epoch: int, step: int) -> None:
        run.save_checkpoint(
            {
                "epoch": epoch,
                "step": step,
                "sums": sums,
                "model": model.state_dict(),
                "optimiser": optimiser.state_dict(),
                "flips": flips.get_state(),
                "random": environment.random_state(device),
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
                group["lr"] = learning_rate(epoch * sampler.steps + step, steps, options.learning_rate, options.warmup)
            with sdpa_kernel(ATTENTION), torch.autocast(device.type, torch.bfloat16, enabled=prepared.bf16):
                output = model(rgb, depth, ir)
            losses = loss(output, spoof)
            optimiser.zero_grad()
            losses["loss"].backward()
            optimiser.step()
            for name, value in zip(losses, torch.stack([*losses.values()]).tolist(), strict=True):
                if not math.isfinite(value):
                    raise diverged(f"the training loss ({name})", epoch)
                sums[name] = sums.get(name, 0.0) + value
            if options.checkpoint_every and (step + 1) % options.checkpoint_every == 0 and step + 1 < sampler.steps:
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
            model.eval()
            scores = {
                name: predict(
                    lambda *x: score(model(*x)), faces, rows, options.batch_size, device, runs.missing_in(name)
                )
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
