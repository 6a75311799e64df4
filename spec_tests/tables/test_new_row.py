"""A comparison row added by one file and one stanza stands everywhere at once: tried in a copy of the project."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from reference.sources import ROOT

ROW = '''"""The mean brightness of RGB, weighed by a learned factor.

Readings:

  R1  Which image: --image rgb.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from reference.batches import Batch
from reference.options import reading
from reference.rivals import method
from reference.rivals.blocks.two_logits import cross_entropy, logit_difference
from reference.runs import HEADLINE


@dataclass(frozen=True, kw_only=True)
class Options(method.Options):
    """Train and evaluate the mean brightness."""

    image: Literal["rgb"] = reading("rgb")
    """R1: the image whose brightness is taken."""


class Brightness(nn.Module):
    """rgb (B, 3, S, S) to logits (B, 2); the other modalities are ignored."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(1, 2)
        nn.init.zeros_(self.head.weight)

    def forward(self, rgb: Tensor, depth: Tensor, ir: Tensor) -> Tensor:
        return self.head(100 * rgb.mean((1, 2, 3))[:, None])


class Method(method.Method[Options]):
    """Mean brightness under cross-entropy."""

    def build(self) -> nn.Module:
        return Brightness()

    def losses(self, output: Tensor, batch: Batch) -> dict[str, Tensor]:
        return {"loss": cross_entropy(output, batch.label)}

    def scores(self, output: Tensor) -> dict[str, Tensor]:
        return {HEADLINE: logit_difference(output)}


if __name__ == "__main__":
    method.main(Method, Options, __doc__)
'''
STANZA = """
[brightness]
label = "Mean brightness"
paper = "None: an example"
tables = { mmfas-table1 = "" }
sees = "R"
parameters = { on_path = 4, state = 4 }
cost = { cpu = 0.1, paper = 0.1 }
smallest = { image-size = 16 }
"""
# The table from run folders written by hand, and the report over it.
SHOW = """
import sys
from pathlib import Path
from paper_tables.declarations import mmfas, profile
from paper_tables.numbers.results import gather
from paper_tables.planning.plan import plan
from paper_tables.rendering.files import write
from paper_tables.report.__main__ import main
from spec_tests.support.fake_runs import fill

build, cpu = Path(sys.argv[1]), profile.load("cpu")
index = Path.cwd() / "build" / "index.csv"
jobs = plan(mmfas.TABLE_1, cpu, 1, index, "f" * 64, build / "runs", "cpu")
fill(mmfas.TABLE_1, jobs)
write(gather(mmfas.TABLE_1, cpu, 1, "phantom", True, "f" * 64, jobs, [], False), build / "tables" / "mmfas-table1")
main(["--build", str(build)])
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project with the new row."""
    copy = tmp_path_factory.mktemp("project")
    for folder in ("reference", "data_manifests", "paper_tables", "spec_tests"):
        shutil.copytree(ROOT / folder, copy / folder, ignore=shutil.ignore_patterns("__pycache__", "*.jpg"))
    shutil.copy(ROOT / "pyproject.toml", copy)
    (copy / "reference" / "rivals" / "brightness.py").write_text(ROW)
    with (copy / "reference" / "rivals" / "rows.toml").open("a") as f:
        f.write(STANZA)
    return copy


def run(project: Path, *words: str) -> str:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
    child = subprocess.run(
        [sys.executable, *words],
        cwd=project,
        capture_output=True,
        text=True,
        env=environment | {"OMP_NUM_THREADS": "1"},
    )
    assert child.returncode == 0, child.stdout[-3000:] + child.stderr[-3000:]
    return child.stdout


def test_methods_names_it_and_its_command_is_planned(project: Path, tmp_path: Path) -> None:
    table = ("-m", "paper_tables", "mmfas-table1", "--dry-run", "--build", str(tmp_path))
    (command,) = [line for line in run(project, *table, "--methods", "brightness").splitlines() if "rivals" in line]
    assert "-m reference.rivals.brightness" in command
    assert "reference.rivals.brightness" in run(project, *table, "--methods", "all")


def test_it_stands_in_the_table_and_in_the_report(project: Path, tmp_path: Path) -> None:
    run(project, "-c", SHOW, str(tmp_path))
    table = (tmp_path / "tables" / "mmfas-table1" / "table.md").read_text(encoding="utf-8")
    assert "Mean brightness" in table
    assert "Mean brightness" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_the_tests_of_all_rows_try_it(project: Path) -> None:
    tests = ("-m", "pytest", "-q", "-o", "addopts=", "-p", "no:cacheprovider", "spec_tests/rows/test_rows.py")
    chosen = run(project, *tests, "-k", "brightness", "--collect-only").count("[brightness]")
    assert chosen >= 8
    assert f"{chosen} passed" in run(project, *tests, "-k", "brightness")
