"""Whether both papers' methods learn as well in bfloat16 as in float32 on the device at hand.

    python -m paper_tables.planning.parity --out build/gpu/parity.json

mmFAS and MMDA (as released, whose towers train) run on the stand-in data of the cpu profile from three seeds, in both
precisions. Compared are the loss of the last epoch and the EER of validation: the mean over seeds of one precision's
minus the other's, beside the sample standard deviation over seeds of float32 alone. Ends with status 1 where the
losses' means lie further apart than twice that deviation. Numbers are of stand-in faces: they say that a precision
does no harm, and nothing about faces.
"""

import argparse
import importlib
import json
import statistics
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from data_manifests.errors import BadInput, cli_errors, replacing
from data_manifests.json_files import json_lines, json_object
from paper_tables.planning.request import has_cuda, request
from reference import options as base
from reference.sources import ROOT

SMALL = ("--image-size", "48", "--batch-size", "24", "--epochs", "3", "--targets", "C", "--score-tests", "chosen")
MMDA = ("--protocol", "official", "--sources", "W", "--learning-rate", "1e-4")
TRAININGS: Mapping[str, Sequence[str]] = {
    "mmFAS": ("reference.mmfas", *SMALL, "--augmentation", "flip"),
    "MMDA, as released": ("reference.mmda", *SMALL, *MMDA, "--preset", "released", "--clip", "untrained/phantom"),
}
PRECISIONS = ("float32", "bf16")
SEEDS = 3
_AGAIN = "delete the folder and run it again"
FURTHEST = 2.0  # standard deviations over seeds


def trained(words: Sequence[str], where: Sequence[str], folder: Path) -> dict[str, float]:
    """The last epoch's loss and the EER of validation of a run in `folder`."""
    module = importlib.import_module(words[0])
    module.train(base.parse(module.Options, words[0], None, [*where, *words[1:], "--run-dir", str(folder)]))
    last = json_lines(folder / "metrics.jsonl", _AGAIN)[-1]
    return {"loss": last["loss"], "validation EER": last["sets"]["val"]["eer"]}


def compared(of_precision: Mapping[str, Sequence[Mapping[str, float]]]) -> dict[str, Any]:
    """Of each number its values, bfloat16's mean minus float32's, and the deviation over seeds of float32."""
    report = {}
    for name in of_precision["float32"][0]:
        values = {precision: [run[name] for run in runs] for precision, runs in of_precision.items()}
        exact, coarse = (statistics.mean(values[precision]) for precision in PRECISIONS)
        deviation = statistics.stdev(values["float32"])
        report[name] = values | {"difference": coarse - exact, "seeds_sd": deviation}
    return report


def harms(report: Mapping[str, Any]) -> bool:
    """Whether the losses' means lie further apart than FURTHEST deviations over seeds."""
    return abs(report["loss"]["difference"]) > FURTHEST * report["loss"]["seeds_sd"]


def main(argv: Sequence[str] | None = None) -> None:
    summary = (__doc__ or "").splitlines()[0]
    p = argparse.ArgumentParser(prog="python -m paper_tables.planning.parity", description=summary)
    p.add_argument("--index", type=Path, help="train on this index (default: the stand-in data of the cpu profile)")
    p.add_argument("--out", type=Path, required=True, help="the JSON file to write")
    given = p.parse_args(argv)
    index = given.index
    if index is None:
        index = request(["mmfas-table1"], ROOT / "build", data="phantom", profile="cpu", methods=None, seeds=None,
                        jobs=None, clip=None).data.index  # fmt: skip
    if not index.exists():
        raise BadInput(f"{index}: no such file; `make phantom PROFILE=cpu` renders and indexes the stand-in faces")
    device = "cuda" if has_cuda() else "cpu"
    report: dict[str, Any] = {"device": device, "seeds": SEEDS, "deviation": "sample SD over seeds", "methods": {}}
    with tempfile.TemporaryDirectory() as folder:
        for name, words in TRAININGS.items():
            found: dict[str, list[dict[str, float]]] = {precision: [] for precision in PRECISIONS}
            for precision in PRECISIONS:
                for seed in range(SEEDS):
                    run = Path(folder) / f"{words[0]}-{precision}-{seed}"
                    where = ["--index", str(index), "--cache-dir", f"{folder}/cache", "--device", device]
                    here = [*where, "--seed", str(seed), "--precision", precision]
                    found[precision].append(trained(words, here, run))
            env = json_object(run / "env.json", _AGAIN)
            report |= {key: env[key] for key in ("device", "cpu", "torch")}
            report["methods"][name] = result = compared(found)
            with replacing(given.out) as f:
                f.write((json.dumps(report, indent=1) + "\n").encode())
            loss = result["loss"]
            print(f"{name}: loss {loss['difference']:+.4f} in bf16, beside an SD over seeds of {loss['seeds_sd']:.4f}")
    sys.exit(int(any(harms(result) for result in report["methods"].values())))


if __name__ == "__main__":
    with cli_errors():
        main()
