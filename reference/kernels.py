"""By which kernels a CPU computes: the fastest that it has, or the same ones on every machine.

torch, oneDNN and MKL choose kernels by what the processor can do. They add up in different orders, so that a training
leaves other bits on another kind of machine, and after some epochs other numbers. Environment variables, read when
torch is loaded, name one kernel for all machines of x86-64 with AVX2 (all since about 2015): ATen's elementwise
operations, reductions and random numbers; oneDNN's convolutions; MKL's matrix products, for which the one that all
processors share is a slow one. `--kernels portable` starts a program again with these variables.
"""

import os
import sys
from typing import Literal, get_args

Kernels = Literal["fastest", "portable"]
KERNELS: tuple[Kernels, ...] = get_args(Kernels)

PORTABLE = {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2", "MKL_CBWR": "COMPATIBLE"}


def kernels() -> Kernels:
    """`portable` where the process was started with all of `PORTABLE`, else `fastest`."""
    same = all(os.environ.get(name) == value for name, value in PORTABLE.items())
    return "portable" if same else "fastest"


def start_again_for(asked: Kernels) -> None:
    """Replace this process by the same command with the portable kernels, where those are asked for and it has them
    not: torch reads the variables when it is loaded."""
    if asked == "portable" and kernels() != asked:
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], os.environ | PORTABLE)
