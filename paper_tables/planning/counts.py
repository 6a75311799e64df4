"""Parameters of mmFAS models, counted as the published ones are: `python -m paper_tables.planning.counts JSON`.

JSON is a list of lists of options of `reference.mmfas`; printed is the list of their models' parameters in leaf
modules. A process of its own, since `paper_tables` loads no torch; what it found is kept by the hash of the
options and of the program's sources.
"""

import hashlib
import json
import subprocess
import sys
from pathlib import Path

from data_manifests.errors import BadInput, replacing
from paper_tables.declarations.mmfas import PROGRAM
from paper_tables.planning.plan import Table
from reference.sources import ROOT, sources


def counted(table: Table, cache: Path) -> dict[str, int]:
    """Parameters of each of the table's mmFAS models by method. Raises BadInput when they cannot be counted."""
    methods = [method for method in table.methods if method.module == PROGRAM]
    asked = json.dumps([method.options for method in methods])
    identity = json.dumps([asked, sources(PROGRAM), sources(__name__)], sort_keys=True)
    path = cache / f"parameters-{hashlib.sha256(identity.encode()).hexdigest()[:16]}.json"
    if not path.exists():
        command = [sys.executable, "-m", "paper_tables.planning.counts", asked]
        child = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        if child.returncode:
            said = child.stderr.strip().splitlines() or ["no message"]
            raise BadInput(f"counting mmFAS's parameters failed with exit status {child.returncode}: {said[-1]}")
        with replacing(path) as f:
            f.write(child.stdout.encode())
    found = json.loads(path.read_text(encoding="utf-8"))
    return dict(zip((method.name for method in methods), found, strict=True))


def main(asked: str) -> None:
    import torch
    import tyro

    from reference.mmfas import Options, count_parameters

    models = []
    for options in json.loads(asked):
        args = tyro.cli(Options, args=["--index", "none", "--run-dir", "none", *options])
        with torch.device("meta"):
            models.append(args.model())
    print(json.dumps([count_parameters(model) for model in models]))


if __name__ == "__main__":
    main(sys.argv[1])
