"""What lies under build/ for the report: each declared table and picture, and the newest conformance report.

Nothing is run or written here. What is not there is None; what is there and unusable raises BadInput.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data_manifests.errors import BadInput
from paper_tables.planning.plan import Table
from paper_tables.rendering.page import commit, fragment


@dataclass(frozen=True)
class Picture:
    """A figure that a probe draws from finished runs: `build/tables/<folder>/<files>.svg`, and what it shows."""

    name: str
    title: str
    folder: str
    files: str  # a pattern: figure7-* is one a test set
    target: str  # of make
    said: str


PICTURES = (
    Picture(
        "mmfas-figure7",
        "mmFAS, Figure 7: where the encoders look (Grad-CAM)",
        "mmfas-figure7",
        "figure7-*",
        "reproduce-mmfas-figure7",
        "Heat maps of one training's three encoders. They show what moves the score, not why.",
    ),
    Picture(
        "mmda-figure5",
        "MMDA, Figure 5: test samples before CLIP is adapted and after (t-SNE)",
        "mmda-embeddings",
        "figure5",
        "reproduce-mmda-figure5",
        "One training, one t-SNE: distances between clusters mean nothing, and another seed draws another picture. The "
        "neighbours' AUC under each panel is computed in the original space.",
    ),
    Picture(
        "mmda-figure6",
        "MMDA, Figure 6: test samples before U-DSA and after (t-SNE)",
        "mmda-embeddings",
        "figure6",
        "reproduce-mmda-figure6",
        "As Figure 5: one training, one t-SNE.",
    ),
    Picture(
        "mmda-batch-leak",
        "MMDA’s released code: how much of a score is owed to its batch-mates",
        "mmda-batch-leak",
        "scores",
        "mmda-batch-leak",
        "Not in the paper. One trained model scores one list in several orders and batch sizes; nothing else changes.",
    ),
)
LARGEST_SVG = 400_000  # bytes; a larger picture is shown as PNG
Drawn = tuple[str, bytes]  # media type and content


@dataclass(frozen=True)
class Made:
    """A table that was made: its page's content, and what its JSON file says of the runs."""

    shown: str
    data: str
    stand_in: bool
    profile: str
    seeds: int
    done: int
    missing: int
    commits: tuple[str, ...]
    environments: tuple[str, ...]
    finished: tuple[str, ...]


def target(table: Table) -> str:
    """What `make` calls the table."""
    paper, _, name = table.name.partition("-")
    return f"readings-{paper}" if name == "readings" else f"reproduce-{table.name}"


def made(table: Table, build: Path) -> Made | None:
    """The table as `python -m paper_tables` wrote it, if it did. Raises BadInput for files of another version."""
    folder = build / "tables" / table.name
    path = folder / "table.json"
    if not path.exists():
        return None
    whole = _json(path)
    try:
        rows = whole["rows"]
        runs = [run for row in rows for run in row["runs"]]
        found = Made(
            fragment(folder / "table.html", table),
            whole["data"],
            whole["stand_in"],
            whole["profile"]["name"],
            whole["seeds"],
            len(runs),
            sum(len(row["missing"]) for row in rows),
            tuple(sorted({commit(run["git_commit"]) for run in runs})),
            tuple(sorted({_environment(run["environment"]) for run in runs})),
            tuple(sorted(run["finished"] for run in runs)),
        )
    except (KeyError, TypeError, FileNotFoundError) as e:
        raise BadInput(
            f"{path}: not a table as written now, it lacks {e}; run `make {target(table)}` again, or delete the folder"
        ) from e
    return found if runs else None


def _environment(env: dict[str, Any]) -> str:
    device = env["cpu"] if env["device"] == "cpu" else env["device"]
    return f"{device}, torch {env['torch']}"


def pictures(wanted: Picture, build: Path) -> list[Drawn]:
    """Its files, in the order of their names; none if it was not drawn."""
    return [_drawn(path, wanted) for path in sorted((build / "tables" / wanted.folder).glob(f"{wanted.files}.svg"))]


def _drawn(path: Path, wanted: Picture) -> Drawn:
    data = path.read_bytes()
    if len(data) <= LARGEST_SVG:
        return "image/svg+xml", data
    png = path.with_suffix(".png")
    if not png.exists():
        raise BadInput(f"{png}: not there, and {path.name} is too large for the page; run `make {wanted.target}` again")
    return "image/png", png.read_bytes()


def leak(build: Path) -> list[list[str]]:
    """Head and rows of the batch-leak probe's table.md, as reference.probes.batch_leak wrote it; none if it did not."""
    path = build / "tables" / "mmda-batch-leak" / "table.md"
    if not path.exists():
        return []
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def conformance(build: Path) -> dict[str, Any] | None:
    """The newest of build/conformance/*.json, as `pytest spec_tests --conformance-report` writes them."""
    files = sorted((build / "conformance").glob("*.json"), key=lambda path: (path.stat().st_mtime_ns, path.name))
    if not files:
        return None
    found = _json(files[-1])
    if odd := [key for key in ("implementation", "verdicts", "equations") if key not in found]:
        raise BadInput(f"{files[-1]}: not a conformance report, it has no {odd[0]}; delete it")
    return found


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as e:
        raise BadInput(f"{path}: not valid JSON ({e}); make it again, or delete it") from e
    if not isinstance(found, dict):
        raise BadInput(f"{path}: not a JSON object; make it again, or delete it")
    return found
