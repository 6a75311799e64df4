"""Groups of training steps and of scoring: as trainings take them, without one ingredient, and beside peers.

Every step is the function that trainings call. Determinism, precision and attention are switched off one at a time, and
back on after each call.
"""

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from copy import deepcopy
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor

from paper_tables.bench.frames import small_index
from paper_tables.bench.items import Group, Item, Setting
from paper_tables.bench.peers import Library, peer
from paper_tables.bench.products import counted, matrix_share, mmfas_forward, mmfas_step, traffic
from paper_tables.declarations import mmda as mmda_tables
from paper_tables.declarations import mmfas as mmfas_tables
from paper_tables.declarations import profile as profiles
from paper_tables.declarations.table import Row, Table
from paper_tables.planning import cost
from reference import mmda, mmfas
from reference.batches import BalancedSampler, Batch
from reference.captions import load_captions
from reference.clip import load_clip
from reference.environment import seed_everything
from reference.processes import share
from reference.training import Training, arithmetic

Step = Callable[[], Any]
STEPS = 1000  # of an epoch, more than are taken


def bf16(setting: Setting) -> bool:
    """As `--precision auto` takes it."""
    return setting.cuda


def precision(low: bool) -> str:
    return "bf16" if low else "float32"


@contextmanager
def determinism(kernels: bool, filled: bool = False) -> Iterator[None]:
    """Only deterministic kernels, or any; and whether new memory is filled, as PyTorch's own default has it."""
    before = torch.are_deterministic_algorithms_enabled(), torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
    torch.use_deterministic_algorithms(kernels)
    torch.utils.deterministic.fill_uninitialized_memory = filled  # type: ignore[attr-defined]
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0])
        torch.utils.deterministic.fill_uninitialized_memory = before[1]  # type: ignore[attr-defined]


def _within(context: Callable[[], AbstractContextManager[Any]], work: Step) -> Step:
    def call() -> Any:
        with context():
            return work()

    return call


def _facts(setting: Setting, low: bool, macs: int, mode: str = "eager", **others: Any) -> dict[str, Any]:
    return {"precision": precision(low), "mode": mode, "macs": macs, **others}


# --- mmFAS, without one ingredient -------------------------------------------------------------------------------


@contextmanager
def mmfas_ingredients(setting: Setting) -> Iterator[Sequence[Item]]:
    """The body of mmFAS's loop, on a run of its own in a folder that is deleted."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        options = mmfas.Options(
            index=small_index(setting, Path(folder) / "index").path, run_dir=Path(folder) / "run",
            cache_dir=Path(folder) / "cache", image_size=setting.side,
            batch_size=setting.samples, device=str(setting.device), threads=setting.threads,
        )  # fmt: skip
        training = stack.enter_context(Training(options, "mmfas", Path(mmfas.__file__)))
        bonafide = training.faces.bonafide[training.train]
        training.sampler = BalancedSampler(bonafide, setting.samples, options.seed, steps=STEPS)
        first = options.model().to(setting.device)
        training.remember(model=first)
        next(iter(training.epochs(lambda *_: {})))  # which begins an epoch that never ends

        def taking(step: Callable[[Batch], Any]) -> tuple[Step, Callable[[], float]]:
            stream = training.batches()
            opened: list[Any] = []

            def body() -> None:
                batch = next(stream)
                if not opened:
                    opened.append(training._stream)
                step(batch)

            return body, lambda: sum(loader.waited for loader in opened)

        def body(low: bool, free: bool = False, other_kernel: bool = False) -> Callable[[Batch], None]:
            """One pass of the loop; with `free` attention by any kernel; with `other_kernel` the optimiser fused where
            it is not, and not where it is."""
            model, alignment = deepcopy(first).train(), mmfas.Alignment(options).to(setting.device)
            parameters = [*model.parameters(), *alignment.parameters()]
            optimiser = training.optimiser(parameters)
            if other_kernel:
                for group in optimiser.param_groups:
                    group["fused"] = not group["fused"]

            def context() -> AbstractContextManager[Any]:
                autocast = torch.autocast(setting.device.type, torch.bfloat16, enabled=low)
                return autocast if free else arithmetic(setting.device, low)

            def step(batch: Batch) -> None:
                batch = training.augment(batch)
                training.set_rate(optimiser)
                training.log(mmfas.step(model, alignment, optimiser, batch, options, training.draws, context()))

            return step

        usual = bf16(setting)
        whole, waited = taking(body(usual))
        batch = next(training.batches())
        fixed = partial(body(usual), batch)
        macs = mmfas_step(setting.side, setting.samples)
        facts = _facts(setting, usual, macs)
        items = [
            Item("as trainings take it", whole, setting.samples, facts=facts, waited=waited),
            Item("one batch again and again, instead of loading", fixed, setting.samples, facts=facts),
            Item(
                "any kernels, not only deterministic ones",
                _within(lambda: determinism(False), taking(body(usual))[0]), setting.samples, facts=facts,
            ),
            Item(
                "new memory filled, PyTorch's default with deterministic kernels",
                _within(lambda: determinism(True, filled=True), taking(body(usual))[0]), setting.samples, facts=facts,
            ),
            Item(
                "the optimiser fused where it is not, or not where it is",
                taking(body(usual, other_kernel=True))[0], setting.samples, facts=facts,
            ),
            Item(
                "attention written out, not fused",
                _within(written_out, taking(body(usual))[0]), setting.samples, facts=facts,
            ),
            Item(
                "shapes not padded" if setting.cuda else "shapes padded to multiples of 8",
                _within(lambda: padded(not setting.cuda), taking(body(usual))[0]), setting.samples, facts=facts,
            ),
        ]  # fmt: skip
        if setting.cuda:
            items += [
                Item("attention by any kernel", taking(body(usual, free=True))[0], setting.samples, facts=facts),
            ]
        if setting.cuda or has_amx():
            other = _facts(setting, not usual, macs)
            items += [Item(f"in {precision(not usual)}", taking(body(not usual))[0], setting.samples, facts=other)]
        yield items


def has_amx() -> bool:
    """Whether the CPU has matrix units for bfloat16, without which it is many times slower than float32."""
    return bool(torch.cpu.get_capabilities().get("amx_bf16", False))


def written_out() -> AbstractContextManager[Any]:
    """mmFAS's attention by Eq. 5's own products."""
    stack = ExitStack()
    stack.enter_context(padded(False))
    stack.enter_context(patch.object(mmfas.F, "scaled_dot_product_attention", mmfas.attention))
    return stack


def padded(on: bool) -> AbstractContextManager[Any]:
    """mmFAS's shapes padded to multiples of 8, or as they are."""
    return patch.object(mmfas, "PADDED", frozenset({"cpu", "cuda"} if on else ()))


# --- mmFAS beside peers ------------------------------------------------------------------------------------------


def mmfas_on_noise(
    setting: Setting, library: Library | None, low: bool = False, compiled: bool = False
) -> tuple[Step, mmfas.MmFAS, Batch]:
    """mmFAS's step on one batch of noise, with its own layers or a library's of the same weights."""
    seed_everything(0, setting.threads)
    torch.backends.mha.set_fastpath_enabled(False)
    options = mmfas.Options(index=Path(), run_dir=Path(), image_size=setting.side, batch_size=setting.samples)
    model, alignment = options.model().to(setting.device), mmfas.Alignment(options).to(setting.device)
    model = peer(model, library) if library else model
    asks: Any = SimpleNamespace(options=options, device=setting.device)  # what `optimiser` asks of a training
    optimiser = Training.optimiser(asks, [*model.parameters(), *alignment.parameters()])
    draws = torch.Generator(setting.device).manual_seed(0)
    batch = cost.noise(setting.samples, setting.side, setting.device)
    batch = batch[share(len(batch))]
    if compiled:
        model.encode, model.classify = torch.compile(model.encode), torch.compile(model.classify)  # type: ignore[method-assign]
    model.train()

    def step() -> dict[str, Tensor]:
        return mmfas.step(model, alignment, optimiser, batch, options, draws, arithmetic(setting.device, low))

    return step, model, batch


NAMES: Mapping[Library | None, str] = {
    None: "mmFAS",
    "torch": "torch.nn.TransformerEncoder and MultiheadAttention",
    "timm": "timm's blocks",
}


@contextmanager
def mmfas_peers(
    setting: Setting, side: int, samples: int, low: bool = False, compiled: bool = False, seen: bool = True
) -> Iterator[Sequence[Item]]:
    here = replace(setting, side=side, samples=samples)
    libraries: Sequence[Library | None] = (None, "torch") if compiled else (None, "torch", "timm")
    if compiled:
        torch._dynamo.reset()
    items = []
    for library in libraries:
        step, _, _ = mmfas_on_noise(here, library, low, compiled)
        found = {}
        if not compiled:
            step()  # what is allocated once is not to be counted
            found = {"matrix_share": matrix_share(step, here.device), "bytes": traffic(step)}
        facts = _facts(here, low, mmfas_step(side, samples), "compiled" if compiled else "eager", **found)
        items.append(Item(NAMES[library], step, samples, facts=facts))
    yield items


@contextmanager
def mmfas_scoring(setting: Setting) -> Iterator[Sequence[Item]]:
    """Scores of a batch, of one sample, and of a batch by the peers; in float32, as scoring is."""
    items = []
    for library, samples in ((None, setting.samples), ("torch", setting.samples), ("timm", setting.samples), (None, 1)):
        _, model, batch = mmfas_on_noise(replace(setting, samples=samples), library)  # type: ignore[arg-type]
        model.eval()
        work = torch.inference_mode()(partial(model, *batch.images))
        name = NAMES[library] if samples > 1 else "mmFAS, one sample (latency)"  # type: ignore[index]
        items.append(Item(name, work, samples, facts=_facts(setting, False, samples * mmfas_forward(setting.side))))
    yield items


# --- MMDA beside the released procedure --------------------------------------------------------------------------


def mmda_steps(setting: Setting, freeze: str, clip: str, samples: int) -> list[tuple[mmda.MMDA, Step]]:
    """A step of MMDA in the released preset's readings, as trainings take it and as the released code does: `samples`
    in passes of three, each of which sends images and captions through the towers again."""
    seed_everything(0, setting.threads)
    torch.backends.mha.set_fastpath_enabled(False)
    words = ["--preset", "released", "--freeze", freeze, "--augmentation", "none", "--clip", clip]
    nowhere = ["--index", "none", "--run-dir", "none", "--device", str(setting.device)]
    options = mmda.base.parse(mmda.Options, "reference.mmda", None, [*nowhere, *words])
    low = bf16(setting)

    def made() -> tuple[mmda.MMDA, torch.optim.Optimizer, torch.Generator]:
        torch.manual_seed(0)
        towers = load_clip(options.clip, None, setting.device)
        adaptor = mmda.Adaptor(layers=options.layers, dim=towers.dim, readings=options)
        model = mmda.MMDA(towers, load_captions(options.captions), adaptor, options.input_range).to(setting.device)
        parameters = [p for p in model.parameters() if p.requires_grad]
        return model, torch.optim.AdamW(parameters, lr=5e-6, weight_decay=5e-5), torch.Generator(setting.device)

    ours, optimiser, draws = made()
    theirs, their_optimiser, their_draws = made()
    batch = cost.noise(samples, ours.clip.image_size, setting.device)
    with torch.no_grad():
        fixed = ours.encode_captions() if freeze != "none" else None
        known = ours.encode(mmda.augmented(batch.images, "none")) if freeze == "all" else None

    def tokens(model: mmda.MMDA, piece: Batch) -> Tensor:
        with arithmetic(setting.device, low):
            return model.encode(mmda.augmented(piece.images, "none")).float()

    def our_tokens(piece: Batch) -> Tensor:
        return tokens(ours, piece) if known is None else known[piece.rows]

    def step() -> dict[str, Tensor]:
        return mmda.step(ours, optimiser, batch, our_tokens, fixed, draws, options.micro_batch)

    def released() -> dict[str, Tensor]:
        their_optimiser.zero_grad()
        means: dict[str, Tensor] = {}
        for first in range(0, samples, options.micro_batch):
            piece = batch[first : first + options.micro_batch]
            captions = theirs.encode_captions()
            output = theirs.adaptor.outputs(
                tokens(theirs, piece), captions, piece.domain, theirs.clip.scale, their_draws
            )
            losses, share = theirs.adaptor.losses(output, piece.bonafide), len(piece) / samples
            (losses["loss"] * share).backward()
            means = {name: means.get(name, 0) + loss.detach() * share for name, loss in losses.items()}
        their_optimiser.step()
        return means

    return [(ours, step), (theirs, released)]


@contextmanager
def mmda_peer(setting: Setting, freeze: str, clip: str) -> Iterator[Sequence[Item]]:
    samples = 6 if setting.tiny else 24
    (_, step), (_, released) = mmda_steps(setting, freeze, clip, samples)
    facts = [_facts(setting, bf16(setting), counted(work)) for work in (step, released)]
    yield [
        Item("MMDA", step, samples, facts=facts[0]),
        Item(f"the released procedure: {samples // 3} passes of three", released, samples, facts=facts[1]),
    ]


# --- all rows ----------------------------------------------------------------------------------------------------


def rows(names: Sequence[str] | None = None) -> list[tuple[Table, Row]]:
    """Every row of both papers' Table 1 that looks at images, once, mmFAS first."""
    found: dict[str, tuple[Table, Row]] = {}
    for table in (mmfas_tables.TABLE_1, mmda_tables.TABLE_1):
        for row in cost.measurable(table):
            found.setdefault(row.name, (table, row))
    first = {cost.BASE.name: found[cost.BASE.name]}
    return [pair for name, pair in (first | found).items() if names is None or name in names]


@contextmanager
def every_row(setting: Setting, kind: str) -> Iterator[Sequence[Item]]:
    """`training`, `scoring`, or `latency`, which is scoring of one sample, of each row in the profile's settings."""
    profile = profiles.load("paper" if setting.cuda else "cpu")
    items = []
    for table, row in rows(("mmfas", "mmda") if setting.tiny else None):
        seed_everything(0, setting.threads)
        words, side, samples = cost.settings(table, row, profile)
        samples = 6 if setting.tiny else samples
        made = cost.trial(row, setting.device, *words)
        work = made.step if kind == "training" else made.score
        if work is None:
            continue
        if kind != "training":
            made.network.requires_grad_(False)  # PyTorch's counter would look for the gradients of parameters
        count = 1 if kind == "latency" else samples
        step = partial(_in_mode, made, work, cost.noise(count, side, setting.device), kind == "training")
        step()
        low = kind == "training" and bf16(setting)
        facts = _facts(setting, low, counted(step), side=side, bytes=traffic(step))
        items.append(Item(row.label, step, count, facts=facts))
    yield items


def _in_mode(made: cost.Trial, work: Callable[[Batch], Any], batch: Batch, training: bool) -> None:
    made.network.train(training)
    with nullcontext() if training else torch.inference_mode():
        work(batch)


def groups(setting: Setting) -> list[Group]:
    """In the order of their weight, should time run out."""
    sizes = [(32, 4)] if setting.tiny else [(224, 128)] if setting.cuda else [(112, 16), (224, 8)]
    low, words = bf16(setting), precision(bf16(setting))
    out = []
    for side, samples in sizes:
        title = f"mmFAS's step beside peers, {side} x {side}, batch {samples}"
        eager = partial(mmfas_peers, side=side, samples=samples, low=low)
        out.append(Group(f"peers-{side}", f"{title}, {words}, eager", eager, seconds=30))
        if not setting.tiny:
            compiled = partial(mmfas_peers, side=side, samples=samples, low=low, compiled=True)
            if setting.cuda or (side, samples) == sizes[0]:
                out.append(Group(f"peers-{side}-compiled", f"{title}, {words}, compiled", compiled, seconds=20))
        if low:
            full = partial(mmfas_peers, side=side, samples=samples)
            out.append(Group(f"peers-{side}-float32", f"{title}, float32, eager", full, seconds=20))
    stand_in = partial(mmda_peer, freeze="all", clip="untrained/phantom")
    trained = partial(mmda_peer, freeze="none", clip="untrained/phantom")
    out += [
        Group("ingredients", "mmFAS's step without one of its ingredients", mmfas_ingredients, seconds=40),
        Group("mmda-frozen", "MMDA's step, the stand-in's towers frozen, batch 24", stand_in),
        Group("mmda-trained", "MMDA's step, the stand-in's towers trained, batch 24", trained),
        Group("mmfas-scoring", "mmFAS scores", mmfas_scoring, seconds=10),
    ]
    if setting.cuda:
        paper = partial(mmda_peer, freeze="none", clip="untrained")
        out.append(Group("mmda-vit-b16", "MMDA's step, ViT-B/16 towers trained, batch 24", paper))
    kinds = {"training": "A training step", "scoring": "Scores of a batch", "latency": "Score of one sample"}
    out += [
        Group(f"rows-{kind}", f"{title} of every row, in the profile's settings", partial(every_row, kind=kind),
              seconds=25, rounds=6)
        for kind, title in kinds.items()
    ]  # fmt: skip
    return out
