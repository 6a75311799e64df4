"""The machine a run is computed on: its device, its versions, and the seeds and random states that repeat it."""

import os
import platform
from pathlib import Path
from typing import Any

import torch

from data_manifests.errors import BadInput
from reference.kernels import kernels


def cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def pick_device(name: str) -> torch.device:
    """`auto` is CUDA where there is one; of several processes that train together each takes a GPU of its own. Raises
    BadInput where there is no such device."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and "LOCAL_RANK" in os.environ:  # which `torchrun` sets, the process's number on this machine
        name = f"cuda:{os.environ['LOCAL_RANK']}"
    try:
        device = torch.device(name)
    except RuntimeError as e:
        raise BadInput(f"--device {name}: not a device torch knows; use cpu, cuda or auto") from e
    if device.type not in ("cpu", "cuda"):
        raise BadInput(f"--device {name}: nothing is trained there; use cpu, cuda or auto")
    if device.type == "cuda" and not torch.cuda.is_available():
        raise BadInput(f"--device {name}: this torch sees no CUDA device; use --device cpu or auto")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise BadInput(f"--device {name}: there are {torch.cuda.device_count()} GPUs, counted from 0; take one of them")
    return device


def environment(device: torch.device, attention_backend: str) -> dict[str, Any]:
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "cuda": torch.version.cuda if device.type == "cuda" else None,
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "cpu": cpu_name(),
        "threads": torch.get_num_threads(),
        "kernels": kernels(),
        "attention_backend": attention_backend,
    }


def seed_everything(seed: int, threads: int) -> None:
    """One seed for weights, and only deterministic kernels, so that a run can be repeated bit for bit."""
    # Read by cuBLAS when it is first used; without it torch refuses deterministic matrix products on CUDA.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True)
    # Nothing here reads memory that nobody wrote, so filling all of it first would be work for nothing.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.set_num_threads(threads)
    torch.manual_seed(seed)


def random_state(device: torch.device) -> dict[str, Any]:
    state: dict[str, Any] = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        state["cuda"] = torch.cuda.get_rng_state(device)
    return state


def set_random_state(state: dict[str, Any], device: torch.device) -> None:
    torch.set_rng_state(state["cpu"])
    if device.type == "cuda":
        torch.cuda.set_rng_state(state["cuda"], device)
