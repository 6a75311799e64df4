"""The probes, commands over finished runs of a table's rows: their declarations, and the whole command on fake runs."""

import re
from pathlib import Path

import pytest
import tyro

from data_manifests.errors import BadInput
from paper_tables import __main__ as program
from paper_tables.__main__ import main
from paper_tables.declarations import probes
from paper_tables.declarations.probes import PROBES
from paper_tables.declarations.profile import load as load_profile
from paper_tables.declarations.tables import TABLES
from paper_tables.planning import plan, runner
from paper_tables.planning.data import locate
from paper_tables.planning.probes import command, select
from paper_tables.planning.request import Request
from reference.probes import batch_leak, embeddings, grad_cam
from reference.sources import ROOT
from spec_tests.support import miniature
from spec_tests.support.fake_runs import write_run

CPU = load_profile("cpu")
OPTIONS = {
    "mmfas-figure7": grad_cam.Options,
    "mmda-embeddings": embeddings.Options,
    "mmda-batch-leak": batch_leak.Options,
}


def jobs_of(probe: probes.Probe, seeds: int = 1) -> list[plan.Job]:
    return plan.plan(probe.table, CPU, seeds, Path("index.csv"), "f" * 64, Path("build/runs"), "cpu")


@pytest.fixture
def roots(tmp_path: Path) -> Path:
    """A roots.toml whose index, of all sets, is already in place."""
    source = miniature.write_index(tmp_path / "data", subjects=4, sets="CSWHP")
    path = tmp_path / "mine.toml"
    path.write_text("".join(f'{letter} = "data/{letter}"\n' for letter in "CSWHP"))
    index = locate(str(path), CPU, tmp_path / "build").index
    index.parent.mkdir(parents=True)
    for name in ("index.csv", "protocols.csv", "roots.toml"):
        (index.parent / name).write_bytes((source.parent / name).read_bytes())
    return path


def asked(roots: Path, *more: str) -> list[str]:
    build = roots.parent / "build"
    return [*more, "--profile", "cpu", "--data", str(roots), "--clip", "phantom", "--build", str(build)]


def dry(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[list[str]]:
    capsys.readouterr()
    assert main([*arguments, "--dry-run"]) == 0
    return [line.split() for line in capsys.readouterr().out.splitlines()]


def run_dirs(commands: list[list[str]]) -> list[Path]:
    return [Path(words[words.index("--run-dir") + 1]) for words in commands if "--epochs" in words]


def test_each_probe_looks_at_rows_that_its_table_runs() -> None:
    assert OPTIONS.keys() == PROBES.keys()
    assert not PROBES.keys() & TABLES.keys()
    for name, probe in PROBES.items():
        assert probe.name == name
        jobs = select(probe, jobs_of(probe, seeds=3))
        assert [(job.row.name, job.part, job.seed) for job in jobs] == [(*need, 0) for need in probe.needs]
        assert [job.folder for job in jobs] == [job.folder for job in select(probe, jobs_of(probe))]


@pytest.mark.parametrize("probe", PROBES.values(), ids=PROBES)
def test_its_program_takes_the_command(probe: probes.Probe) -> None:
    jobs = select(probe, jobs_of(probe))
    _, dash_m, module, *words = command(probe, jobs, Path("i/index.csv"), Path("out"), "cpu")
    assert (dash_m, module) == ("-m", OPTIONS[probe.name].__module__)
    options = tyro.cli(OPTIONS[probe.name], args=words)
    folders = options.run_dirs if probe.option == "--run-dirs" else [options.run_dir]
    assert folders == [job.folder for job in jobs]
    assert (options.index, options.out, options.device) == (Path("i/index.csv"), Path("out"), "cpu")


def test_the_batch_leak_is_drawn_of_the_released_run_and_both_test_on_the_same_set() -> None:
    released, batch_free = select(probes.MMDA_BATCH_LEAK, jobs_of(probes.MMDA_BATCH_LEAK))
    for job, preset in ((released, "released"), (batch_free, "batch_free")):
        words = list(job.command)
        chosen = {option: words[words.index(option) + 1] for option in ("--preset", "--sources", "--targets")}
        assert chosen == {"--preset": preset, "--sources": "CPS", "--targets": "W"}


def test_every_probe_has_a_target_with_its_help() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for target, name in (
        ("reproduce-mmfas-figure7", "mmfas-figure7"),
        ("reproduce-mmda-figure5", "mmda-embeddings"),
        ("mmda-batch-leak", "mmda-batch-leak"),
    ):
        recipe = rf"^{target}: \$\(ENV\) ## .+\n\t@\$\(TABLES\) {name} \$\(options\)$"
        assert re.search(recipe, makefile, flags=re.MULTILINE), target
    assert re.search(r"^reproduce-mmda-figure6: reproduce-mmda-figure5 ## ", makefile, flags=re.MULTILINE)


def test_a_dry_run_prints_missing_runs_and_then_the_probe(roots: Path, capsys: pytest.CaptureFixture[str]) -> None:
    commands = dry(capsys, *asked(roots, "mmda-batch-leak"), "--seeds", "3")
    assert [words[2] for words in commands] == [
        "reference.standin_clip", "reference.mmda", "reference.mmda", "reference.probes.batch_leak",
    ]  # fmt: skip
    folders = run_dirs(commands)
    at = commands[-1].index("--run-dirs") + 1
    assert [Path(word) for word in commands[-1][at : at + 2]] == folders
    write_run(folders[0], (0,), {})
    assert run_dirs(dry(capsys, *asked(roots, "mmda-batch-leak"))) == folders[1:]
    write_run(folders[1], (0,), {})
    assert [words[2] for words in dry(capsys, *asked(roots, "mmda-batch-leak"))] == ["reference.probes.batch_leak"]


def test_a_probe_takes_the_very_runs_of_its_table(roots: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for probe in PROBES.values():
        of_table = set(run_dirs(dry(capsys, *asked(roots, probe.table.name), "--methods", "all")))
        own = set(run_dirs(dry(capsys, *asked(roots, probe.name))))
        assert own < of_table
        together = run_dirs(dry(capsys, *asked(roots, probe.table.name, probe.name)))
        first = set(run_dirs(dry(capsys, *asked(roots, probe.table.name))))
        assert sorted(together) == sorted(first | own), "a run twice"


def test_before_anything_is_indexed_the_probe_is_shown_all_the_same(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    commands = dry(capsys, "mmda-embeddings", "--profile", "cpu", "--build", str(tmp_path / "build"))
    assert commands[-1][2] == "reference.probes.embeddings"
    assert "XXXXXXXX" in " ".join(commands[-1])
    assert any("decides the protocol" in " ".join(words) for words in commands)
    assert not (tmp_path / "build").exists()


def test_rows_cannot_be_chosen_for_a_probe(roots: Path) -> None:
    with pytest.raises(BadInput, match="--methods mmda: mmda-batch-leak needs runs of its own"):
        main(asked(roots, "mmda-table1", "mmda-batch-leak", "--methods", "mmda"))


def finished(roots: Path, probe: probes.Probe, capsys: pytest.CaptureFixture[str]) -> list[Path]:
    """Fake the probe's runs."""
    folders = run_dirs(dry(capsys, *asked(roots, probe.name)))
    for folder in folders:
        write_run(folder, (0,), {})
    return folders


def test_on_finished_runs_only_the_probe_is_run(
    roots: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[tuple[str, ...]] = []
    monkeypatch.setattr(program, "prepare", lambda commands, made=None: ran.extend(commands))
    for name, probe in PROBES.items():
        folders = finished(roots, probe, capsys)
        ran.clear()
        assert main(asked(roots, name)) == 0
        out = roots.parent / "build" / "tables" / name
        index = locate(str(roots), CPU, roots.parent / "build").index
        jobs = [plan.Job(None, 0, folder, (), 1, 1.0) for folder in folders]
        assert ran == [command(probe, jobs, index, out, "cpu")]
        assert probe.title in capsys.readouterr().out


def test_the_programs_own_refusal_is_shown_and_ends_the_command(
    roots: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder,) = finished(roots, PROBES["mmfas-figure7"], capsys)
    (folder / "args.json").write_text('{"arguments": {"method": "mmda"}}')
    with pytest.raises(BadInput, match=r"`.*reference\.probes\.grad_cam.*` failed with exit status 2"):
        main(asked(roots, "mmfas-figure7"))
    assert not (roots.parent / "build" / "tables" / "mmfas-figure7").exists()


def test_without_its_runs_a_probe_is_not_run(
    roots: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[tuple[str, ...]] = []
    monkeypatch.setattr(program, "prepare", lambda commands, made=None: ran.extend(commands))
    failed: list[plan.Job] = []

    def run(_: object, jobs: list[plan.Job], *__: object) -> list[runner.Failure]:
        failed.extend(jobs)
        return [runner.Failure(job, "ended with exit status 1: no") for job in jobs]

    monkeypatch.setattr(Request, "run", run)
    assert main(asked(roots, "mmfas-figure7")) == 1
    assert [job.row.name for job in failed] == ["mmfas"]
    assert ran == []
    assert "error: mmfas seed 0 ended with exit status 1: no" in capsys.readouterr().err
