"""What a command line can set: the options of every run, and the one mechanism of readings and presets.

A *reading* is a named option for what a paper leaves open, or what its code does otherwise than it says. It is
declared once, as a field of an options class:

    partner: Literal["random", "first", "self"] = reading("first", paper="random")
    \"\"\"M1: which row of the same domain gives Q' and K' in training.\"\"\"

The field's name is the option, its type the choices, its docstring the help, which begins with the reading's letter,
and `reading` its place in the presets. A *preset* is a complete set of readings; `--preset` chooses one, and any single
option replaces one of its readings. An options object is complete as soon as it exists: a reading that was not given
has the preset's value.
"""

import inspect
import math
import sys
from collections.abc import Sequence
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, cast, get_args, get_type_hints

import tyro

from data_manifests.errors import BadInput
from reference.kernels import Kernels, start_again_for

_UNSET: Any = type("Unset", (), {"__repr__": lambda self: "the preset's"})()
_PRESETS = "presets"


def reading(value: Any, **by_preset: Any) -> Any:
    """A field whose value is the preset's: `by_preset[preset]`, or `value` for presets that are not named."""
    return field(default=_UNSET, metadata={_PRESETS: (value, by_preset)})


@dataclass(frozen=True, kw_only=True)
class Presets:
    """Base of options classes with readings; a subclass declares `preset` with its choices and default."""

    preset: str

    def __post_init__(self) -> None:
        choices = presets(type(self))
        if self.preset not in choices:
            raise ValueError(f"preset must be one of {', '.join(choices)}, not {self.preset!r}")
        for f in fields(self):
            if getattr(self, f.name) is _UNSET:
                value, by_preset = f.metadata[_PRESETS]
                object.__setattr__(self, f.name, by_preset.get(self.preset, value))


def presets(kind: type[Presets]) -> tuple[str, ...]:
    """The names of the presets of an options class."""
    return get_args(get_type_hints(kind)["preset"])


def readings(kind: type) -> dict[str, dict[str, Any]]:
    """Each reading of an options class and its value in each preset."""
    declared = {f.name: f.metadata[_PRESETS] for f in fields(kind) if _PRESETS in f.metadata}
    return {
        name: {preset: by_preset.get(preset, value) for preset in presets(kind)}
        for name, (value, by_preset) in declared.items()
    }


MOST = 2**31 - 1  # of a whole number that has no bound of its own
LARGEST = 1e30  # of what is no whole number; beyond it, and below its inverse, float32 soon has infinities and zeros
SEEDS = 2**32 - 1  # numpy's and torch's generators take these


@dataclass(frozen=True)
class Within:
    """Bounds of an option, in its annotation: Annotated[float, Within(0, 1)]. Of `above` the lower one is left out."""

    low: float
    high: float = math.inf
    above: bool = False

    def refuse(self, name: str, value: float) -> None:
        """Raise BadInput for a value outside, or no finite number."""
        least = f"a number above {self.low:g}" if self.above else f"at least {self.low:g}"
        if self.low == -sys.float_info.max:
            least = "a finite number"
        if math.isnan(value) or value < self.low or (self.above and value == self.low):
            raise BadInput(f"{option(name)} {value}: give {least}")
        if value > self.high or value == math.inf:
            most = f"at most {self.high:.10g}" if self.high < math.inf else "a finite number"
            raise BadInput(f"{option(name)} {value}: give {most}")
        if self.high == math.inf and (abs(value) > LARGEST or 0 < abs(value) < 1 / LARGEST):
            raise BadInput(f"{option(name)} {value:g}: give a number whose size is from {1 / LARGEST:g} to {LARGEST:g}")


Share = Annotated[float, Within(0, 1)]
Weight = Annotated[float, Within(0)]
Count = Annotated[int, Within(1, MOST)]
CountOrNone = Annotated[int, Within(0, MOST)]


def bounds(kind: type) -> dict[str, Within]:
    """The bounds of each field that is a number: those of the class that is nearest and names any, or those of its
    type."""
    found = {}
    for f in fields(kind):
        own = [inspect.get_annotations(c, eval_str=True).get(f.name) for c in kind.__mro__]
        named = [b for hint in own for b in getattr(hint, "__metadata__", ()) if isinstance(b, Within)]
        plain = get_type_hints(kind)[f.name]
        usual = {int: Within(-MOST, MOST), float: Within(-sys.float_info.max)}.get(plain)
        if named or usual:
            found[f.name] = named[0] if named else cast(Within, usual)
    return found


T = TypeVar("T")


def parse(kind: type[T], module: str, description: str | None, words: Sequence[str] | None = None) -> T:
    """The options of `python -m module` from its command line; `--help` shows the values of the preset that is asked
    for. Ends the process with a usage message for options that are not `kind`'s."""
    words = sys.argv[1:] if words is None else words
    options = tyro.cli(
        kind, prog=f"python -m {module}", description=description, args=words, default=_defaults(kind, words)
    )
    if isinstance(options, Options):
        start_again_for(options.kernels)
    return options


def _defaults(kind: type[T], words: Sequence[str]) -> Any:
    """An object of `kind` with the readings of the preset that `words` name, and what must be given left open."""
    if not issubclass(kind, Presets):
        return tyro.MISSING_NONPROP
    chosen = {}
    for word, following in zip(words, [*words[1:], ""], strict=True):
        name, equals, value = word.partition("=")
        if name == "--preset":
            chosen = {"preset": value if equals else following}
    if chosen.get("preset") not in presets(kind):  # tyro refuses it, and names the choices
        chosen = {}
    required = {f.name: tyro.MISSING for f in fields(cast(Any, kind)) if f.default is f.default_factory is MISSING}
    return kind(**(required | chosen))


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """Options of everything that gives samples scores."""

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

    seed: Annotated[int, Within(0, SEEDS)] = 0
    """Decides initial weights, sampling and augmentation."""

    @property
    def missing(self) -> tuple[str, ...]:
        """Without which modalities the test sets are scored again, where a method looks at images."""
        return ()

    def check(self) -> None:
        """Raise BadInput for a value that no run can use."""
        for name, within in bounds(type(self)).items():
            within.refuse(name, getattr(self, name))
        for name, letters in (("sources", self.sources), ("targets", self.targets)):
            if len(set(letters)) < len(letters):
                raise BadInput(f"--{name} {letters[:20]}: names a data set twice; name each once")
        if both := set(self.sources) & set(self.targets):
            raise BadInput(
                f"--targets {self.targets}: {min(both)} is also in --sources {self.sources}; leave it out of one"
            )


@dataclass(frozen=True, kw_only=True)
class Options(RunOptions):
    """Options of every method that looks at images."""

    missing: tuple[Literal["D", "I", "DI"], ...] = ()
    """Test each data set again without its depth (D), its infrared (I), or both (DI)."""

    image_size: Annotated[int, Within(1, 4096)] = 224
    """Side of the square images, in pixels."""

    resizing: Literal["antialiased", "released"] = "antialiased"
    """How images come to that size: released is cv2.resize without antialiasing, as in the authors' loaders."""

    batch_size: Annotated[int, Within(2, 2**20)] = 128
    """Samples a step, half of them bona fide; also used to evaluate."""

    epochs: Count = 30
    """Passes over the training split."""

    learning_rate: Annotated[float, Within(0, above=True)] = 1e-4
    """Highest learning rate, reached at the end of the warm-up."""

    weight_decay: Weight = 1e-2
    """Weight decay of all parameters."""

    warmup: Share = 0.1
    """Share of all steps over which the learning rate rises linearly."""

    optimiser: Literal["adamw", "adam_l2", "sgd"] = "adamw"
    """adamw decays weights apart from the gradient, adam_l2 adds the decay to the gradient; sgd has momentum 0.9."""

    augmentation: Literal["none", "flip"] = "none"
    """flip mirrors each training sample with probability 1/2, all its modalities alike."""

    evaluate_every: Count = 1
    """Epochs from one scoring of the validation set to the next; the last epoch is always evaluated."""

    score_tests: Literal["chosen", "every"] = "chosen"
    """Which epochs score the test sets: the one that validation chooses and the last, or every evaluated one, which
    those need who want to know what choosing on the test set is worth."""

    score_precision: Literal["auto", "float32", "tf32"] = "auto"
    """Arithmetic of scoring; tf32 is for CUDA: float32 whose factors keep 10 bits. auto takes it on CUDA alone."""

    keep_weights: bool = True
    """Keep the last weights, and those of the epoch that validation chooses, when the run is finished."""

    checkpoint_every: CountOrNone = 0
    """Steps from one checkpoint to the next within an epoch; 0 writes one only at an epoch's end."""

    device: str = "auto"
    """cpu, cuda, cuda:N, or auto: CUDA where there is one."""

    threads: Annotated[int, Within(1, 256)] = 1
    """CPU threads of torch; their number changes rounding, so it belongs to the run."""

    kernels: Kernels = "fastest"
    """CPU kernels: the fastest of this machine, or the same on all (portable): slower, and the same bits everywhere."""

    precision: Literal["auto", "float32", "bf16"] = "auto"
    """Arithmetic of training: bf16 is bfloat16 autocast; auto takes bf16 on CUDA and float32 elsewhere."""

    cache_dir: Path = Path("build/cache")
    """Where decoded images are kept, for all runs on the same images."""

    labels: Literal["true", "shuffled"] = "true"
    """A control: shuffled permutes the training labels, and what is learned from them must not help at test."""

    @property
    def sees(self) -> str:
        """The modalities, of R, D and I, that the method looks at: it cannot be trained where no sample has them."""
        return "RDI"

    @property
    def per_domain(self) -> bool:
        """Whether a batch holds equally many samples of each data set that trains, of each class."""
        return False

    @property
    def steps(self) -> int:
        """Steps of an epoch; 0: as many as show so many samples as the training split has."""
        return 0

    def check(self) -> None:
        """Raise BadInput for a value that no run can use."""
        super().check()
        if self.batch_size % 2:
            raise BadInput(
                f"--batch-size {self.batch_size}: give an even number, so that half of a batch can be bona fide"
            )


def option(name: str) -> str:
    """The option of a field: `--image-size` of `image_size`."""
    return "--" + name.replace("_", "-")


def divisible(image_size: int, patch: int) -> int:
    """image_size / patch; BadInput unless that is a whole number."""
    if image_size % patch:
        raise BadInput(f"--image-size {image_size}: this network needs a multiple of {patch}")
    return image_size // patch
