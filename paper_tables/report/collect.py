"""Collects what lies under build/ for the report: declared tables and pictures, and the newest conformance report.

Nothing is run or written here. What is not there is None; a file that cannot be used raises BadInput.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data_manifests.errors import BadInput
from data_manifests.json_files import json_object
from data_manifests.sums import checked
from paper_tables.declarations.probes import Picture, Probe
from paper_tables.declarations.table import Table
from paper_tables.rendering.files import FRAGMENT
from paper_tables.rendering.page import commit

LARGEST_SVG = 400_000  # bytes; a larger picture is shown as PNG
Image = tuple[str, bytes]  # media type and content


@dataclass(frozen=True)
class TableFiles:
    """A table that was run: the part of its page that the report shows, and what its JSON file says of the runs."""

    fragment: str
    data: str
    stand_in: bool
    profile: str
    seeds: int
    done: int
    missing: int
    commits: tuple[str, ...]
    environments: tuple[str, ...]
    finished: tuple[str, ...]


@dataclass(frozen=True)
class PictureFiles:
    """A picture of a probe: its images, and the cells of the table under it, head first. Both are empty while the
    probe has not been run."""

    images: tuple[Image, ...]
    cells: tuple[tuple[str, ...], ...] = ()


def target(table: Table) -> str:
    """What `make` calls the table."""
    paper, _, name = table.name.partition("-")
    return f"readings-{paper}" if name == "readings" else f"reproduce-{table.name}"


def table_files(table: Table, build: Path) -> TableFiles | None:
    """The table as `python -m paper_tables` wrote it, if it did. Raises BadInput for files of another version."""
    folder = build / "tables" / table.name
    path = folder / "table.json"
    if not path.exists():
        return None
    again = f"run `make {target(table)}` again, or delete the folder"
    content = json_object(path, again)
    checked(path, again)
    try:
        rows = content["rows"]
        runs = [run for row in rows for run in row["runs"]]
        for key, kind in {"data": str, "stand_in": bool, "seeds": int, "profile": dict}.items():
            if type(content[key]) is not kind:
                raise TypeError(key)
        files = TableFiles(
            checked(folder / FRAGMENT, again).decode(),
            content["data"],
            content["stand_in"],
            content["profile"]["name"],
            content["seeds"],
            len(runs),
            sum(len(row["missing"]) for row in rows),
            tuple(sorted({commit(run["git_commit"]) for run in runs})),
            tuple(sorted({_environment(run["environment"]) for run in runs})),
            tuple(sorted(run["finished"] for run in runs)),
        )
    except (KeyError, TypeError, AttributeError, UnicodeDecodeError) as e:
        raise BadInput(f"{path}: not a table as written now, it lacks {e}; {again}") from e
    return files if runs else None


def _environment(env: dict[str, Any]) -> str:
    device = env["cpu"] if env["device"] == "cpu" else env["device"]
    return f"{device}, torch {env['torch']}"


def picture_files(probe: Probe, picture: Picture, build: Path) -> PictureFiles:
    """The picture's images in the order of their names, and the probe's table where it stands under this picture.
    Raises BadInput for files of another version."""
    folder = build / "tables" / probe.name
    again = f"run `make {picture.target}` again, or delete it"
    images = tuple(_image(path, again) for path in sorted(folder.glob(f"{picture.files}.svg")))
    path = folder / "table.json"
    if not picture.cells or not path.exists():
        return PictureFiles(images)
    checked(path, again)
    return PictureFiles(images, _text(path, json_object(path, again), again))


def _text(path: Path, content: dict[str, Any], again: str) -> tuple[tuple[str, ...], ...]:
    """The cells of a report's table, head first. Raises BadInput where it has none, or rows of several lengths."""
    text = content.get("text")
    if not isinstance(text, list) or not text or not all(isinstance(row, list) for row in text):
        raise BadInput(f"{path}: has no text for the report; {again}")
    if len({len(row) for row in text}) > 1:
        raise BadInput(f"{path}: its text has rows of several lengths; {again}")
    return tuple(tuple(map(str, row)) for row in text)


def _image(path: Path, again: str) -> Image:
    data = checked(path, again)
    if len(data) <= LARGEST_SVG:
        return "image/svg+xml", data
    png = path.with_suffix(".png")
    if not png.exists():
        raise BadInput(f"{png}: not there, and {path.name} is too large for the page; {again}")
    return "image/png", checked(png, again)


def costs(build: Path) -> list[dict[str, Any]]:
    """What `make cost` measured of the rows of each table. Raises BadInput for files of another version."""
    reports = []
    for path in sorted((build / "cost").glob("*.json")):
        again = f"run `make cost TABLE={path.stem}` again, or delete it"
        content = json_object(path, again)
        if odd := [key for key in ("title", "profile", "device", "threads", "torch", "text") if key not in content]:
            raise BadInput(f"{path}: not a cost report as written now, it has no {odd[0]}; {again}")
        reports.append(content | {"text": _text(path, content, again)})
    return reports


def conformance(build: Path) -> dict[str, Any] | None:
    """The newest of build/conformance/*.json, as `pytest spec_tests --conformance-report` writes them."""
    files = sorted((build / "conformance").glob("*.json"), key=lambda path: (path.stat().st_mtime_ns, path.name))
    if not files:
        return None
    again = "write it with --conformance-report again, or delete it"
    content = json_object(files[-1], again)
    for key, kind in {"verdicts": dict, "fragment": str}.items():
        if not isinstance(content.get(key), kind):
            raise BadInput(f"{files[-1]}: not a conformance report as written now, it has no {key}; {again}")
    return content
