"""What all probes share: a finished run, opened with the index it was trained on, and the files a probe leaves."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Generic, Literal, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from data_manifests.errors import BadInput
from data_manifests.index import Index, load_index
from data_manifests.sums import write_together
from reference.environment import pick_device
from reference.evaluation import Evaluation, split_rows
from reference.faces import Faces, open_faces
from reference.options import Options
from reference.runs import read_arguments

Model = TypeVar("Model")
RunOptions = TypeVar("RunOptions", bound=Options)


@dataclass(frozen=True, kw_only=True)
class ProbeOptions:
    """Options of every probe."""

    index: Path
    """The index.csv the runs were trained on."""
    cache_dir: Path = Path("build/cache")
    """Where decoded images are kept."""
    device: str = "auto"
    """cpu, cuda, cuda:N, or auto."""


@dataclass(frozen=True)
class FinishedRun(Generic[Model, RunOptions]):
    """A finished run: its model on `device` and in evaluation mode, its own options, and the index it was trained
    on."""

    model: Model
    options: RunOptions
    index: Index
    cache_dir: Path
    device: torch.device

    @cached_property
    def faces(self) -> Faces:
        """The samples that the run was validated or tested on, decoded when they are first asked for."""
        used = np.concatenate([self.rows("val"), self.rows("test")])
        options = self.options
        return open_faces(self.index, options.image_size, self.cache_dir, rows=used, resizing=options.resizing)

    def rows(self, split: Literal["val", "test"]) -> NDArray[np.int64]:
        """The rows (N,) of the index that the run was validated or tested on."""
        return split_rows(self.index, self.options, split, Evaluation.SPLITS[split])


def open_run(
    restore: Callable[[Path, torch.device], tuple[Model, RunOptions]], run_dir: Path, options: ProbeOptions
) -> FinishedRun[Model, RunOptions]:
    """The run of `run_dir`, whose model its method's own `restore` rebuilds.

    Raises BadInput when the folder is no finished run of that method, or a run of another index.
    """
    device = pick_device(options.device)
    model, run_options = restore(run_dir, device)
    index = load_index(options.index)
    if read_arguments(run_dir, "name another run")["index_sha256"] != index.sha256:
        raise BadInput(f"{run_dir}: was trained on another index than --index {options.index}; name that one")
    return FinishedRun(model, run_options, index, options.cache_dir, device)


def write(folder: Path, contents: Mapping[str, bytes]) -> None:
    """Write a probe's files, {name: content}, and print where they are."""
    write_together(folder, contents)
    print(f"Written: {', '.join(str(folder / name) for name in contents)}")
