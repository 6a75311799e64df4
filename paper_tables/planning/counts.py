"""Parameters of mmFAS models, counted as the published ones are: `python -m paper_tables.planning.counts JSON`.

JSON is a list of lists of options of `reference.mmfas`; the program prints the list of their models' parameters in leaf
modules. It is a process of its own, since `paper_tables` loads no torch; its answer is kept under the hash of the
options and of the program's sources.
"""

import hashlib
import json
import subprocess
import sys
from pathlib import Path

from data_manifests.errors import BadInput, replacing
from data_manifests.json_files import json_object, sealed
from paper_tables.declarations.mmfas import PROGRAM
from paper_tables.declarations.table import Table
from reference.sources import ROOT, sources


def leaf_parameters(table: Table, cache: Path) -> dict[str, int]:
    """Parameters of each of the table's mmFAS models by row. Raises BadInput when they cannot be counted."""
    rows = [row for row in table.rows if row.program == PROGRAM]
    question = json.dumps([row.options for row in rows])
    identity = json.dumps([question, sources(PROGRAM), sources(__name__)], sort_keys=True)
    path = cache / f"parameters-{hashlib.sha256(identity.encode()).hexdigest()[:16]}.json"
    if not path.exists():
        command = [sys.executable, "-m", "paper_tables.planning.counts", question]
        child = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        if child.returncode:
            messages = child.stderr.strip().splitlines() or ["no message"]
            raise BadInput(f"counting mmFAS's parameters failed with exit status {child.returncode}: {messages[-1]}")
        with replacing(path) as f:
            f.write(sealed({"parameters": json.loads(child.stdout)}))
    again = "delete it, it is made again"
    counts = json_object(path, again).get("parameters")
    if not isinstance(counts, list) or len(counts) != len(rows):
        raise BadInput(f"{path}: does not hold a number for each row; {again}")
    return dict(zip((row.name for row in rows), counts, strict=True))


def main(question: str) -> None:
    import torch
    import tyro

    from reference.mmfas import Options, count_parameters

    models = []
    for options in json.loads(question):
        parsed = tyro.cli(Options, args=["--index", "none", "--run-dir", "none", *options])
        with torch.device("meta"):
            models.append(parsed.model())
    print(json.dumps([count_parameters(model) for model in models]))


if __name__ == "__main__":
    main(sys.argv[1])
