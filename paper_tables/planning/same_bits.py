"""Whether every method takes the same two steps twice, and how far bfloat16 is from float32.

    python -m paper_tables.planning.same_bits --out build/gpu/same-bits.json

For a device that is at hand for half an hour: each row of Table 1 of both papers, in the paper profile (`--profile`),
with fresh weights, CLIP's too, takes two training steps on one batch of noise, with the kernels that runs use; then
again from the start, and once in float32. Written down are: whether losses and weights were the same bits; the losses
of both precisions; seconds of the second step; the most memory on the device. Numbers are of no data; what they show is
that everything runs and repeats. Ends with status 1 when a method did not repeat, or could not take its steps.
"""

import argparse
import gc
import hashlib
import json
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from rich.progress import track

from data_manifests.errors import cli_errors, replacing
from paper_tables.declarations import profile as profiles
from paper_tables.declarations.table import Row, Table
from paper_tables.declarations.tables import TABLES
from paper_tables.planning import cost
from paper_tables.planning.request import has_cuda
from reference.environment import environment, seed_everything

NAMES = ("mmfas-table1", "mmda-table1")
STEPS = 2


def rows(tables: Sequence[Table]) -> Iterator[tuple[Table, Row]]:
    """Every row that trains on images, once."""
    seen = set()
    for table in tables:
        for row in cost.measurable(table):
            if row.trains and row.name not in seen:
                seen.add(row.name)
                yield table, row


def taken(table: Table, row: Row, profile: profiles.Profile, device: torch.device, bf16: bool) -> dict[str, Any]:
    """Losses of each step, a digest of the network after them, seconds of the last step, and bytes at most."""
    seed_everything(0, profile.threads)
    words, side, samples = cost.settings(table, row, profile)
    made = cost.trial(row, device, *words, bf16=bf16)
    batch = cost.noise(samples, side, device)
    made.network.train()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    assert made.step is not None
    losses = []
    for _ in range(STEPS):
        began = time.perf_counter()
        losses.append({name: float(loss) for name, loss in made.step(batch).items()})
        seconds = time.perf_counter() - began
    digest = hashlib.sha256()
    for tensor in made.network.state_dict().values():
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    memory = torch.cuda.max_memory_allocated() if device.type == "cuda" else None
    return {"losses": losses, "sha256": digest.hexdigest(), "seconds": seconds, "memory_bytes": memory}


def look(table: Table, row: Row, profile: profiles.Profile, device: torch.device) -> dict[str, Any]:
    """What is written down of one row; of one that fails, its error."""
    bf16 = device.type == "cuda"
    try:
        first, second = (taken(table, row, profile, device, bf16) for _ in range(2))
        other = taken(table, row, profile, device, not bf16)
    except (RuntimeError, ValueError) as e:  # what one method cannot do here is to be known, and the others be tried
        return {"row": row.label, "error": f"{type(e).__name__}: {e}".splitlines()[0]}
    finally:
        gc.collect()
        if bf16:
            torch.cuda.empty_cache()
    kept = {key: first[key] for key in ("losses", "seconds", "memory_bytes")}
    same = all(first[key] == second[key] for key in ("losses", "sha256"))
    return {"row": row.label, "same_bits": same, **kept, "losses_in_the_other_precision": other["losses"]}


def main(argv: Sequence[str] | None = None) -> None:
    p = argparse.ArgumentParser(prog="python -m paper_tables.planning.same_bits", description=__doc__.splitlines()[0])
    p.add_argument("--profile", default="paper", help="whose settings the steps have (default paper)")
    p.add_argument("--methods", help="only these rows, with commas between (default: all)")
    p.add_argument("--out", type=Path, required=True, help="the JSON file to write")
    given = p.parse_args(argv)
    profile, device = profiles.load(given.profile), torch.device("cuda" if has_cuda() else "cpu")
    chosen = [
        (t, row) for t, row in rows([TABLES[n] for n in NAMES]) if row.name in (given.methods or row.name).split(",")
    ]
    here = environment(device, "")
    report: dict[str, Any] = {
        "command": " ".join(["python -m paper_tables.planning.same_bits", *(argv or sys.argv[1:])]),
        **{key: here[key] for key in ("device", "cpu", "torch", "python", "cuda")},
        "profile": profile.name,
        "precision": "bf16" if device.type == "cuda" else "float32",
        "rows": [],
    }
    for table, row in track(chosen, "two steps, twice", transient=True):
        report["rows"].append(look(table, row, profile, device))
        with replacing(given.out) as f:  # after each: the device may be gone before the last
            f.write((json.dumps(report, indent=1) + "\n").encode())
        print(line(report["rows"][-1]), flush=True)
    sys.exit(int(any("error" in row or not row["same_bits"] for row in report["rows"])))


def line(row: Mapping[str, Any]) -> str:
    if "error" in row:
        return f"{row['row']}: {row['error']}"
    loss, other = (steps[-1]["loss"] for steps in (row["losses"], row["losses_in_the_other_precision"]))
    memory = f", {row['memory_bytes'] / 1e9:.1f} GB" if row["memory_bytes"] else ""
    bits = "the same bits" if row["same_bits"] else "OTHER BITS"
    return f"{row['row']}: {bits}, loss {loss:.4f}, in the other precision {other:.4f}, {row['seconds']:.3f} s{memory}"


if __name__ == "__main__":
    with cli_errors():
        main()
