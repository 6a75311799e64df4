"""The harness: what every training here shares, once. The loops themselves stand in the methods' own files.

    with Training(options, "mmfas", Path(__file__)) as training:
        ...                                                 # networks and optimiser
        training.remember(model=model, optimiser=optimiser)
        for epoch in training.epochs(evaluate):             # evaluates, logs, saves and shows progress after each
            for batch in training.batches():                # saves within an epoch, where that is asked for
                ...                                         # forward, losses, backward, step
                training.log(losses)

Settings of the mmFAS paper (section 4), which trained its comparison rows with them too: class-balanced batches of
128 at 224 x 224, Adam with weight decay 1e-2, at most 1e-4 after a warm-up over ten per cent of all steps, cosine
annealing, 30 epochs. What it leaves open, and what is done here:

  L1  "Adam with weight decay 1e-2": decoupled (AdamW) by default, `--optimiser adam_l2` adds it to the gradient
      instead. Either way it acts on all parameters, norms and biases included.
  L2  The warm-up is linear, the cosine ends at 0, and both change at every step (`learning_rate`).
  L3  Augmentation: none by default; `--augmentation flip` mirrors a sample's images with probability 1/2.
  L4  Precision: bfloat16 autocast on CUDA, float32 on CPU. Losses are always computed in float32. Scoring is in
      float32 altogether, so that scores have no ties of coarse rounding; on CUDA the factors of its products keep 10
      bits of their 23 (TF32, `--score-precision`), and sums and scores all of them. metrics.jsonl counts ties.
  L5  Which epoch is reported: the tables choose. The validation set is scored after every epoch, the test sets at the
      end, by the weights that validation chose and by the last; after every epoch where `--score-tests every` asks
      for what nobody should choose by.

A killed run continues bit for bit on the same machine, thread count and number of processes: everything that later
steps depend on is in the checkpoint or a pure function of (seed, epoch, step, process). Several processes may train
together (reference/processes.py), on a GPU each.
"""

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from data_manifests.errors import BadInput, first_line
from data_manifests.index import DATASETS, MODALITIES
from reference import processes
from reference.batches import BLACK, BalancedSampler, Batch, Batches, Sampler, batches
from reference.environment import environment, pick_device, random_state, seed_everything, set_random_state
from reference.evaluation import Evaluation, Rows, Scores, diverged, missing_in
from reference.faces import open_faces
from reference.options import Options
from reference.reuse import Reusable, reusing
from reference.runs import HEADLINE, Follower, Run, chosen_line
from reference.schedule import learning_rate

# cuDNN's attention is left out because its gradients differ from run to run.
ATTENTION = [SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]

# What a batch norm counts from the data: in the state of a network, but no parameter that training sets.
STATISTICS = ("running_mean", "running_var", "num_batches_tracked")


def mirror(images: tuple[Tensor, ...], generator: torch.Generator) -> tuple[Tensor, ...]:
    """Mirror each sample's images (B, C, H, W) left to right, or none of them, with probability 1/2."""
    draws = torch.rand(images[0].shape[0], generator=generator, device=generator.device)  # (B,)
    chosen = (draws < 0.5).to(images[0].device)[:, None, None, None]
    return tuple(torch.where(chosen, x.flip(-1), x) for x in images)


@contextmanager
def arithmetic(device: torch.device, bf16: bool) -> Iterator[None]:
    """In what a forward pass of training is computed (L4), and by which kernels of attention."""
    with ExitStack() as stack:
        stack.enter_context(sdpa_kernel(ATTENTION))
        stack.enter_context(torch.autocast(device.type, torch.bfloat16, enabled=bf16))
        yield


class Training(Evaluation):
    """A run of a method that looks at images, and mostly trains on them; see the head of this file.

    Inside the context: `device`; `train`, rows of the index (n,) int64; `sampler`, which may be replaced before the
    first epoch; `draws`, the generator of what the method draws, and `image_draws`, of its augmentation, both on the
    device; they begin at the seed.
    """

    SPLITS: ClassVar[dict[str, Literal["sources", "targets"]]] = {"train": "sources", **Evaluation.SPLITS}
    options: Options
    nothing = BLACK  # what images hold at test where a modality is missing

    def __init__(self, options: Options, method: str, file: Path, inputs: Mapping[str, Any] | None = None) -> None:
        """As `Evaluation`. Raises BadInput for unusable input."""
        processes.begin()
        with processes.first_alone():
            self._open(options, method, file, inputs)

    def _open(self, options: Options, method: str, file: Path, inputs: Mapping[str, Any] | None) -> None:
        options.check()
        if options.batch_size % processes.count():
            raise BadInput(
                f"--batch-size {options.batch_size}: {processes.count()} processes have no equal parts of it; give a "
                f"multiple of {processes.count()}"
            )
        self.device = pick_device(options.device)
        cuda = self.device.type == "cuda"
        self.bf16 = cuda if options.precision == "auto" else options.precision == "bf16"
        if self.bf16 and not cuda and not torch.cpu.get_capabilities().get("amx_bf16"):
            print(
                "--precision bf16: this CPU has no matrix units for it (AMX); a step takes many times as long",
                flush=True,
            )
        self.tf32 = cuda if options.score_precision == "auto" else options.score_precision == "tf32"
        if self.tf32 and not cuda:
            raise BadInput("--score-precision tf32: only CUDA has this arithmetic; give float32 or auto")
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False  # L4, but for `predict`
        # PyTorch would evaluate its own attention layers by a kernel outside ATTENTION.
        torch.backends.mha.set_fastpath_enabled(False)
        torch.set_num_threads(options.threads)  # the environment notes it
        resolved = {"device": str(self.device), "processes": processes.count()}
        resolved["precision"] = "bf16" if self.bf16 else "float32"
        resolved["score_precision"] = "tf32" if self.tf32 else "float32"
        backends = " or ".join(backend.name.lower() for backend in ATTENTION)
        super().__init__(options, method, file, resolved | dict(inputs or {}), environment(self.device, backends))

    def open_run(self, *arguments: Any) -> Run:
        return Follower(*arguments) if processes.rank() else Run(*arguments)

    def __exit__(self, *error: object) -> None:
        super().__exit__(*error)
        if error[0] is None:
            processes.end()

    def find_splits(self) -> dict[str, Rows]:
        """As of `Evaluation`. Raises BadInput, too, where no training sample has a modality that the method needs, and
        where the training split lacks a class, or a data set of it where batches are of equal shares of each."""
        rows, options = super().find_splits(), self.options
        for modality in options.sees:
            name = MODALITIES["RDI".index(modality)]
            if not (self.index.rows.column(name)[rows["train"]] != "").any():
                raise BadInput(
                    f"{options.index}: no training sample of protocol {options.protocol} has {name}, which this method "
                    "looks at; index a data set that has it, or train a method that does without"
                )
        for other in ("val", "test"):
            both = np.intersect1d(rows["train"], rows[other])
            if both.size:
                sample = self.index.rows.column("sample_id")[both[0]]
                raise BadInput(
                    f"{options.index}: protocol {options.protocol} has {both.size} samples both in train and in "
                    f"{other}, {sample} first; name each in one split alone and index again"
                )
        dataset, label = (self.index.rows.column(name)[rows["train"]] for name in ("dataset", "class"))
        numbers = np.array([[*DATASETS].index(letter) for letter in dataset])
        domain = numbers if options.per_domain else None
        # Made for what it refuses, before there is a folder; a method may train on other batches.
        BalancedSampler(label == "bonafide", options.batch_size, options.seed, domain)
        return rows

    def begin(self) -> None:
        """Seed everything, decode the images, and read the checkpoint of a run that goes on."""
        options = self.options
        self.train = self.rows["train"]
        # Only now: it loads torch's compiler, seconds that a finished run need not spend.
        seed_everything(options.seed, options.threads)
        used = np.concatenate([*self.rows.values()])
        with processes.first_alone():
            faces = open_faces(self.index, options.image_size, options.cache_dir, rows=used, resizing=options.resizing)
        self.run.same_images(faces.sha256)
        for dataset, lost in faces.missing_report().items():
            if any(lost.values()):
                counts = ", ".join(f"{modality} {n}" for modality, n in lost.items() if n)
                print(f"{dataset}: modalities missing or all zero: {counts}", flush=True)
        if options.labels == "shuffled":
            labels = faces.bonafide.copy()
            labels[self.train] = np.random.default_rng(options.seed).permutation(labels[self.train])
            faces = replace(faces, bonafide=labels)
        self.faces = faces
        self.draws = torch.Generator(self.device).manual_seed(options.seed)
        self.image_draws = torch.Generator(self.device).manual_seed(options.seed)
        self._state = self.run.load_checkpoint()
        if self._state is None:
            self.run.cut(0)
        self._parts: dict[str, nn.Module | torch.optim.Optimizer] = {}
        self._epoch, self._step = 0, 0
        self._sums: dict[str, float] = {}  # of each part of the loss, over the steps of this epoch

    @cached_property
    def sampler(self) -> Sampler:
        """The order of the training frames: balanced by class, and by data set where the options ask for it, unless
        another one was set."""
        bonafide, domain = self.faces.bonafide[self.train], self.faces.domain[self.train]
        options = self.options
        return BalancedSampler(
            bonafide, options.batch_size, options.seed, domain if options.per_domain else None, options.steps
        )

    @property
    def domains(self) -> tuple[int, ...]:
        """The numbers of the data sets that train, as `Batch.domain` counts them, in ascending order."""
        return tuple(np.unique(self.faces.domain[self.train]).tolist())

    @property
    def epoch(self) -> int:
        """The epoch that is being trained, counted from 0."""
        return self._epoch

    # --- what a checkpoint holds ---------------------------------------------------------------------------------

    def remember(self, **parts: nn.Module | torch.optim.Optimizer) -> None:
        """Name all that training changes; its state is kept in checkpoints and comes back when a run goes on.

        Call it once, before the first epoch. `model` is what a finished run keeps as its weights.
        """
        self._parts = parts
        state = self._state
        if state is None:
            return
        try:
            for name, part in parts.items():
                part.load_state_dict(state[name])
            self.draws.set_state(state["draws"])
            self.image_draws.set_state(state["image_draws"])
            set_random_state(state["random"], self.device)
        except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as e:
            path = self.options.run_dir / "checkpoint.pt"
            raise BadInput(
                f"{path}: does not fit this run ({first_line(e)}); delete it to train this run from its start"
            ) from e
        self._epoch, self._step, self._sums = state["epoch"], state["step"], state["sums"]
        self.run.cut(self._epoch)
        self._state = None

    def _save(self, epoch: int, step: int) -> None:
        self.run.save_checkpoint(
            {
                "epoch": epoch,
                "step": step,
                "sums": self._sums,
                "draws": self.draws.get_state(),
                "image_draws": self.image_draws.get_state(),
                "random": random_state(self.device),
                **{name: part.state_dict() for name, part in self._parts.items()},
            }
        )

    # --- what a loop asks for ------------------------------------------------------------------------------------

    def optimiser(self, parameters: Iterable[Any]) -> torch.optim.Optimizer:
        """The optimiser that the options ask for (L1), over parameters or groups of them."""
        options = self.options
        rates: dict[str, Any] = {"lr": options.learning_rate, "weight_decay": options.weight_decay}
        if self.device.type == "cuda":  # one kernel for all parameters; on a CPU its roundings would be others
            rates["fused"] = True
        if options.optimiser == "sgd":
            return torch.optim.SGD(parameters, momentum=0.9, **rates)
        make = torch.optim.AdamW if options.optimiser == "adamw" else torch.optim.Adam
        return make(parameters, **rates)

    @property
    def begins_epoch(self) -> bool:
        """Whether no step of this epoch has been taken; false where a run goes on within one."""
        return self._step == 0

    def set_rate(self, optimiser: torch.optim.Optimizer) -> None:
        """The learning rate of this step (L2), for all groups."""
        total = self.sampler.steps * self.options.epochs
        step = self._epoch * self.sampler.steps + self._step
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(step, total, self.options.learning_rate, self.options.warmup)

    def arithmetic(self) -> Any:
        """The context of a forward pass of training."""
        return arithmetic(self.device, self.bf16)

    def augment(self, batch: Batch) -> Batch:
        """What `--augmentation` asks for (L3)."""
        if self.options.augmentation == "none":
            return batch
        rgb, depth, ir = mirror(batch.images, self.image_draws)
        return replace(batch, rgb=rgb, depth=depth, ir=ir)

    def log(self, losses: Mapping[str, Tensor]) -> None:
        """Add a step's losses () by name to the epoch's. Raises FloatingPointError when one is not finite."""
        (values,) = processes.average([torch.stack([*losses.values()])])
        for name, value in zip(losses, values.tolist(), strict=True):  # the step's one synchronisation with the device
            if not math.isfinite(value):
                raise diverged(f"the training loss ({name})", self._epoch)
            self._sums[name] = self._sums.get(name, 0.0) + value

    def batches(self, pixels: bool = True) -> Iterator[Batch]:
        """The batches of this epoch that are left. Those who know the samples' features need no `pixels`."""
        steps = self.sampler.steps
        order = [self.train[places] for places in self.sampler.epoch(self._epoch)[self._step :]]
        self._stream = batches(self.faces, order, self.device, pixels=pixels)
        for batch in self._stream:
            number = self._epoch * steps + self._step
            progress = number / (steps * self.options.epochs)
            processes.own_lots(self.options.seed, number)
            yield replace(batch, progress=progress)
            self._step += 1
            self._count += len(batch)
            every = self.options.checkpoint_every
            if every and self._step % every == 0 and self._step < steps:
                self._save(self._epoch, self._step)

    def stream(self, rows: Rows) -> Batches:
        """The samples `rows` (N,) in order, in batches, as they are: for what is computed of a whole split."""
        return batches(self.faces, self.pieces(rows), self.device)

    def pieces(self, rows: Rows) -> list[Rows]:
        """Rows (N,) in order, cut in batches."""
        size = self.options.batch_size
        return [rows[i : i + size] for i in range(0, rows.size, size)]

    def predict(
        self,
        network: nn.Module,
        heads: Callable[[Batch], Mapping[str, Tensor]],
        sets: Mapping[str, Rows],
        reused: Sequence[Reusable] = (),
        draws: torch.Generator | None = None,
    ) -> Scores:
        """Scores of `sets` by every head; `heads` gives those (B,) of a batch, `network` is put to evaluation.

        A set with and without a modality is scored side by side. `reused` are functions of the network, of images or
        of nothing, that are not computed again for what they have just been given. `draws` is what `heads` draw from:
        the same lots for every epoch and with or without a modality, and whoever else scores other batches.
        """
        draws = draws or torch.Generator(self.device)
        network.eval()
        same_rows: dict[bytes, list[str]] = {}
        for name, rows in sets.items():
            same_rows.setdefault(rows.tobytes(), []).append(name)
        parts: dict[str, list[Mapping[str, Tensor]]] = {name: [] for name in sets}
        with torch.inference_mode(), self.scoring(), reusing(reused):
            for names in same_rows.values():
                pieces = self.pieces(sets[names[0]])
                own = processes.turns(len(pieces))
                stream = batches(self.faces, [pieces[i] for i in own], self.device, nothing=self.nothing)
                for number, batch in zip(own, stream, strict=True):
                    for name in names:
                        draws.manual_seed(self.options.seed * 100_003 + number)
                        parts[name].append(heads(batch.without(missing_in(name), self.nothing)))
                for name in names:
                    parts[name] = processes.in_order(parts[name], len(pieces))
        return {
            name: {head: torch.cat([part[head] for part in of_set]).float().cpu().numpy() for head in of_set[0]}
            for name, of_set in parts.items()
        }

    @contextmanager
    def scoring(self) -> Iterator[None]:
        """The arithmetic of scoring (L4), and its kernels of attention."""
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = self.tf32
        try:
            with sdpa_kernel(ATTENTION):
                yield
        finally:
            torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False

    def kept(self, heads: Mapping[str, NDArray[np.float32]]) -> Mapping[str, NDArray[np.float32]]:
        """All of them where the test sets are scored at every epoch: only then can others than the headline be
        compared; the headline alone otherwise."""
        return heads if self.options.score_tests == "every" else {HEADLINE: heads[HEADLINE]}

    def epochs(
        self, evaluate: Callable[[int, Mapping[str, Rows]], Scores], facts: Callable[[], dict[str, Any]] = dict
    ) -> Iterator[int]:
        """The epochs that are left. After each: its evaluation where one is due, its line in metrics.jsonl with the
        `facts` of the method, its checkpoint, and a line of progress; after the last the test sets' scores (L5) and
        the finished folder. `evaluate` gives the scores of sets by the network as it is, after an epoch."""
        options, optimisers = self.options, [p for p in self._parts.values() if isinstance(p, torch.optim.Optimizer)]
        progress = Progress(f"{self.method} seed {options.seed}", options.epochs, self._epoch)
        due = self.sets if options.score_tests == "every" else {"val": self.sets["val"]}
        for epoch in range(self._epoch, options.epochs):
            self._count = 0
            began = time.monotonic()
            yield epoch
            seconds = time.monotonic() - began
            line: dict[str, Any] = {
                "epoch": epoch,
                **{name: total / self.sampler.steps for name, total in self._sums.items()},
                "learning_rate": optimisers[0].param_groups[0]["lr"],
                **facts(),
                "seconds": seconds,
                "samples_per_second": self._count / seconds,
                "waiting_for_data": self._stream.waited / seconds,
            }
            text = f"loss {line['loss']:.4f}"
            if (epoch + 1) % options.evaluate_every == 0 or epoch + 1 == options.epochs:
                began = time.monotonic()
                line["sets"] = self.record(epoch, evaluate(epoch, due))
                line["evaluation_seconds"] = time.monotonic() - began
                text += f" · val EER {100 * line['sets']['val']['eer']:.1f} %"
            self.run.log(line)
            if "sets" in line and chosen_line(self.run.lines) is line:
                self.run.save_weights("best", self._model.state_dict())
            self._epoch, self._step, self._sums = epoch + 1, 0, {}
            self._save(self._epoch, 0)
            progress.epoch(epoch, text)
        self.run.save_weights("model", self._model.state_dict())
        if options.score_tests == "chosen":
            self._score_tests(evaluate)
        state = self._model.state_dict()
        self.finish(sum(x.numel() for name, x in state.items() if not name.endswith(STATISTICS)))

    @property
    def _model(self) -> nn.Module:
        model = self._parts["model"]
        assert isinstance(model, nn.Module)
        return model

    def _score_tests(self, evaluate: Callable[[int, Mapping[str, Rows]], Scores]) -> None:
        """Score the test sets by the last weights, and by those that validation chose where they are others."""
        tests = {name: rows for name, rows in self.sets.items() if name != "val"}
        chosen, last = chosen_line(self.run.lines)["epoch"], len(self.run.lines) - 1
        for epoch in dict.fromkeys((last, chosen)):
            if epoch != last:
                self._model.load_state_dict(self.run.load_weights("best"))
            began = time.monotonic()
            threshold = self.run.lines[epoch]["sets"]["val"]["eer_threshold"]
            self.run.amend(epoch, self.record(epoch, evaluate(epoch, tests), threshold))
            title = f"{self.method} seed {self.options.seed} · test sets by the weights of epoch {epoch + 1}"
            print(f"{title} · {time.monotonic() - began:.0f} s", flush=True)


class Progress:
    """An epoch's line with an estimate of the time that remains; the same plain text on a terminal or in a log."""

    def __init__(self, title: str, epochs: int, epochs_before: int) -> None:
        self.title, self.epochs, self.first = title, epochs, epochs_before
        self.started = time.monotonic()

    def epoch(self, epoch: int, text: str) -> None:
        elapsed = time.monotonic() - self.started
        left = elapsed / (epoch + 1 - self.first) * (self.epochs - epoch - 1)
        print(
            f"{self.title} · epoch {epoch + 1}/{self.epochs} · {text} · {elapsed:.0f} s · about {left:.0f} s left",
            flush=True,
        )
