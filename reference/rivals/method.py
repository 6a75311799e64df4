"""What every comparison row gives, and the one loop that trains them all.

A row's file holds its options, its network, its losses and its scores, and a subclass of `Method` that brings them
together; rows.toml declares it. A row gives `build`, `losses` and `scores`. Every other hook has the answer of a
plain method: batches balanced by class, mmFAS's optimiser and schedule. A row whose paper does otherwise overrides it:

    what a row needs                                    what it overrides
    several heads                                       scores
    several views of a batch, patches, crops            views (training), predict (test: also several crops of a sample)
    scores that take more than a batch: a vote          evaluate
    a branch for each modality, captions                reused
    a network that is asked otherwise than by a call    shared
    batches balanced by domain and class                the options of blocks/domains.py
    a discriminator, heads or classes for each domain   build (domains), losses (batch.domain)
    one network of three channels for three modalities  build, with blocks/stem.py
    target maps made from the images                    losses
    other optimisers, groups of parameters              optimiser
    another schedule, stages that freeze and thaw       schedule (batch.progress runs from 0 to 1)
    style bases, covariance masks, prototypes           before_epoch; buffers of the network, so that checkpoints
                                                        hold them
    gradient surgery                                    backward
    alignment of heads after a step                     after_step
    trained weights to start from, captions             __init__ and inputs, which belong to the run's identity
    no training                                         leaves `losses` alone

Whatever a method draws itself comes from `self.draws` in training and from `self.test_draws` at test, which begin again
for every set, so that how often and what one evaluates changes no training and no other score. Dropout and initial
weights come from torch's own generator, which is seeded and saved.

A row's presets are `table` (as the paper of its table trained it; the default), `described` (its own paper) and
`released` (its authors' code).
"""

import inspect
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

import torch
from torch import Tensor, nn

from reference import options as base
from reference import processes
from reference.batches import BLACK, GREY, Batch, Sampler
from reference.environment import pick_device
from reference.evaluation import Rows, Scores, command_errors
from reference.options import reading
from reference.reuse import Reusable
from reference.rivals import rows
from reference.sources import module_of
from reference.training import Training


@dataclass(frozen=True, kw_only=True)
class Options(base.Presets, base.Options):
    """What every comparison row has beside the options of every method."""

    preset: Literal["table", "described", "released"] = "table"
    """A complete set of readings: as the table's paper trained it, as its own paper says, or as its code does."""

    missing_as: Literal["black", "grey"] = reading("black")
    """N0: what is fed at test for a modality that is missing: black pixels, as DADM's loader makes them before it
    normalises, or grey ones, zeros after normalising, as Flex-Modal-FAS's code does."""

    @property
    def sees(self) -> str:
        """As the stanza says of the row's default preset; all modalities where several rows share their options."""
        row = rows.load().get(Path(inspect.getfile(type(self))).stem)
        return row.sees if row else super().sees


T = TypeVar("T", bound=Options)


class Method(ABC, Generic[T]):
    """A comparison row as the loop sees it; see the head of this file.

    `options` and `device` are there from the start; `domains`, the numbers of the data sets that train (`Batch.domain`)
    in ascending order, `network`, which holds all that training changes, and `draws`, the generator of what the method
    draws, once the loop has begun.
    """

    domains: tuple[int, ...]
    network: nn.Module
    draws: torch.Generator
    inputs: Mapping[str, Any] = {}  # what else than options, index and images decides the run

    def __init__(self, options: T, device: torch.device) -> None:
        """Open what the method starts from. Raises BadInput for files that cannot be used."""
        self.options, self.device = options, device
        self.test_draws = torch.Generator(device).manual_seed(options.seed)

    @abstractmethod
    def build(self) -> nn.Module:
        """The network with fresh weights."""

    def forward(self, batch: Batch) -> Any:
        """What losses and scores are computed from; in training under its arithmetic (`--precision`)."""
        return self.network(*batch.images)

    def losses(self, output: Any, batch: Batch) -> dict[str, Tensor]:
        """The parts of the loss () by name; "loss" is minimised. A method without losses does not train."""
        raise NotImplementedError

    @abstractmethod
    def scores(self, output: Any) -> dict[str, Tensor]:
        """Scores (B,) of each head, growing with bona-fide-ness; `cls` is the headline."""

    def predict(self, batch: Batch) -> dict[str, Tensor]:
        """Scores of a batch at test."""
        return self.scores(self.forward(batch))

    def reused(self) -> Sequence[Reusable]:
        """Functions, by their owner and name, of one modality's images or of nothing, which give the same at test
        whatever else a sample has or lacks."""
        return ()

    def shared(self) -> Sequence[processes.Shared]:
        """Functions, by their owner and name, that several processes compute together in training, each for its part of
        the samples: what they take and give has a row for each sample."""
        return [(self.network, "forward")]

    def evaluate(self, training: Training, sets: Mapping[str, Rows]) -> Scores:
        """Scores of `sets`, (N,) of each head."""
        return training.predict(self.network, self.predict, sets, self.reused(), self.test_draws)

    def sampler(self, training: Training) -> Sampler:
        """The order of the training frames."""
        return training.sampler

    def views(self, batch: Batch, training: Training) -> Batch:
        """What the network sees of a batch in training."""
        return training.augment(batch)

    def optimiser(self, training: Training) -> torch.optim.Optimizer:
        """Over all parameters that are trained."""
        return training.optimiser(self.network.parameters())

    def schedule(self, optimiser: torch.optim.Optimizer, batch: Batch, training: Training) -> None:
        """Set what changes from step to step: the learning rate."""
        training.set_rate(optimiser)

    def before_epoch(self, epoch: int, training: Training) -> None:
        """Compute what an epoch needs before its first step, into buffers of the network: a run that goes on within an
        epoch finds them in its checkpoint and does not come here again."""

    def backward(self, losses: Mapping[str, Tensor]) -> None:
        """Add the step's gradients."""
        losses["loss"].backward()

    def after_step(self, batch: Batch) -> None:
        """Change weights after the optimiser has."""

    @classmethod
    def trains(cls) -> bool:
        return cls.losses is not Method.losses


def step(
    method: Method[Any], optimiser: torch.optim.Optimizer, batch: Batch, arithmetic: AbstractContextManager[None]
) -> dict[str, Tensor]:
    """One step of training on a batch: the forward pass in `arithmetic`, the losses in float32, backward, and the
    optimiser's step. Returns the losses."""
    with arithmetic, processes.sharing(method.shared()):
        output = method.forward(batch)
    losses = method.losses(output, batch)
    optimiser.zero_grad()
    method.backward(losses)
    processes.average_gradients(optimiser)
    optimiser.step()
    method.after_step(batch)
    return {name: loss.detach() for name, loss in losses.items()}


def enter(method: Method[Any], training: Training) -> None:
    """Give the method what it has once the loop has begun."""
    method.domains = training.domains
    training.nothing = GREY if method.options.missing_as == "grey" else BLACK
    network = processes.synchronised(method.build(), training.method).to(training.device)
    if training.device.type == "cuda":  # its kernels of convolution for matrix units take channels last
        network = network.to(memory_format=torch.channels_last)
    method.network, method.draws = network, training.draws


def train(kind: type[Method[T]], options: T) -> None:
    """Run one row to a finished folder, from its start or from where it was killed.

    Raises BadInput for unusable input and FloatingPointError when training diverges.
    """
    options.check()
    method = kind(options, pick_device(options.device))
    file = Path(inspect.getfile(kind))
    with Training(options, file.stem, file, method.inputs) as training:
        if training.done:
            return
        enter(method, training)

        def evaluate(_: int, sets: Mapping[str, Rows]) -> Scores:
            return method.evaluate(training, sets)

        if not kind.trains():
            training.score_once(evaluate(0, training.sets))
            return
        optimiser = method.optimiser(training)
        training.sampler = method.sampler(training)
        training.remember(model=method.network, optimiser=optimiser)
        for epoch in training.epochs(evaluate):
            method.network.train()
            if training.begins_epoch:
                method.before_epoch(epoch, training)
            for batch in training.batches():
                batch = method.views(batch, training)
                method.schedule(optimiser, batch, training)
                training.log(step(method, optimiser, batch, training.arithmetic()))


def main(kind: type[Method[T]], options: type[T], description: str | None) -> None:
    """The command line of a row."""
    chosen = base.parse(options, module_of(Path(inspect.getfile(kind))), description)
    with command_errors():
        train(kind, chosen)
