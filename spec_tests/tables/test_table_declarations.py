"""Every declared table and figure: its rows, the commands of its runs, and that it renders whole from run folders."""

import dataclasses
import importlib
import json
import re
import sys
import typing
from collections import Counter
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest
from rich.console import Console

from data_manifests.errors import BadInput
from paper_tables.__main__ import main
from paper_tables.declarations import mmda, mmfas
from paper_tables.declarations.profile import load as load_profile
from paper_tables.declarations.published import load
from paper_tables.declarations.table import Place, Sweep
from paper_tables.declarations.tables import TABLES
from paper_tables.numbers.results import gather
from paper_tables.planning import counts, plan, runner
from paper_tables.planning.data import protocol_of
from paper_tables.rendering import figures, render
from paper_tables.rendering.files import write
from paper_tables.rendering.page import page
from paper_tables.rendering.wording import HONEST, caption, column_names, view_of
from reference import mmfas as program
from reference.options import parse
from reference.sources import ROOT
from reference.standin_clip.weights import IMAGE_SIZE
from spec_tests.support.fake_runs import fill
from spec_tests.support.markup import Checker, balanced

CPU, PAPER = load_profile("cpu"), load_profile("paper")
INDEX = Path("build/index/x/index.csv")


def jobs_of(table, profile=CPU, seeds=1, runs=Path("build/runs"), protocol="official", clip="phantom"):
    common = ["--protocol", protocol] if table.protocols else []
    return plan.plan(table, profile, seeds, INDEX, "f" * 64, runs, "cpu", common, {"clip": clip})


def folders(table, **options):
    return {job.title: job.folder.name for job in jobs_of(table, **options)}


# ------------------------------------------------------------------------------------------------ declarations


def test_every_table_and_figure_of_numbers_of_both_papers_is_declared():
    assert set(TABLES) == {
        *(f"mmfas-{name}" for name in ("table1", "table2", "table3", "figure6", "readings")),
        *(f"mmda-{name}" for name in ("table1", "table2", "table3", "table4", "table5", "figure3", "figure4")),
    }
    assert mmfas.TABLE_1.figure.name == "figure5"
    help_text = (ROOT / "Makefile").read_text()
    for name in TABLES:
        target = "readings-mmfas:" if name == "mmfas-readings" else f"reproduce-{name}:"
        assert re.search(rf"^{target}.*## ", help_text, flags=re.MULTILINE), name


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_a_declaration_holds_together(table):
    names = [row.name for row in table.rows]
    assert len(set(names)) == len(names)
    assert len({column.name for column in table.columns}) == len(table.columns)
    scored = {part.name: set(part.sets) for part in table.parts}
    for column in table.columns:
        for place in column.places:
            assert set(place.sets) <= scored[place.part]
    assert set(table.visible) <= set(table.kinds)
    assert table.rules[:2] == ("source_val", "last")  # the honest one is the default everywhere
    if table.published:
        printed = [row.published for row in table.rows if row.published]
        published = load(table.published, table.flat_columns)
        assert sorted(printed) == sorted(published.rows)  # every row of the paper once
        assert [c.name for c in table.columns if c.name in published.sets] == [*published.sets]  # in the paper's order
        assert set(published.metrics) == set(table.visible)
    if isinstance(table.figure, Sweep):
        for points in table.figure.series.values():
            assert {p.row for p in points} <= set(names)
            assert {p.column for p in points} <= {column.name for column in table.columns}
    names = [job.folder.name for job in jobs_of(table, seeds=2)]
    assert len(set(names)) == len(names)


def test_rows_stand_beside_the_printed_numbers_they_are_named_after():
    for table, row, column, kind, printed in (
        (mmfas.TABLE_2, "sa_aligned", "weighted", "accuracy", "79.24"),
        (mmfas.TABLE_2, "icl_hcm", "S", "accuracy", "30.26"),
        (mmfas.TABLE_3, "idr", "weighted", "auc", "84.74"),
        (mmda.TABLE_1, "mmda", "average", "hter", "4.00"),
        (mmda.TABLE_2, "flip", "DI", "auc", None),
        (mmda.TABLE_3, "mmda", "PS", "hter", "7.52"),
        (mmda.TABLE_3, "mmda", "CW", "auc", "98.35"),
        (mmda.TABLE_4, "moe_md2a", "C", "hter", "9.70"),
        (mmda.TABLE_5, "rs2", "C", "auc", "97.20"),
    ):
        found = load(table.published, table.flat_columns).rows[row].values[column][kind]
        assert printed is None or str(found) == printed
    columns = {c.name: c for c in mmda.TABLE_3.columns}
    # CW→PS trains on C and W; its one ROC joins P and S.
    assert columns["PS"].places == (Place("CW-PS", ("P", "S")),)
    assert columns["CW"].places == (Place("PS-CW", ("C", "W")),)
    assert columns["CW-PS-mean"].places == (Place("CW-PS", ("P",)), Place("CW-PS", ("S",)))


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('values = ["2.92", "52.31", "70.72"]', 'values = ["2.92", "52.31"]', "row r must list 3 numbers"),
        ('"52.31"', '"152.31"', "row r, mmfa_accuracy holds '152.31'"),
        ('"weighted_accuracy"]', '"weighted"]', "declaration differ in weighted"),
        ('printed = "R", ', "", "row r must have printed and values"),
        ("columns = ", "column = ", "no columns"),
    ],
)
def test_a_malformed_flat_table_is_refused(tmp_path, old, new, says):
    text = mmfas.TABLE_2.published.read_text()
    assert old in text
    path = tmp_path / "t.toml"
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(BadInput, match=re.escape(says)):
        load(path, mmfas.TABLE_2.flat_columns)


# ---------------------------------------------------------------------------------------------------- planning


def test_tables_share_the_runs_that_they_have_in_common():
    everywhere = [mmfas.TABLE_1, mmfas.TABLE_2, mmfas.TABLE_3, mmfas.FIGURE_6, mmfas.READINGS]
    plain = replace(CPU, tables={})  # the cpu profile trains the many rows of Table 2 for fewer epochs
    assert len({folders(table, profile=plain)["mmfas seed 0"] for table in everywhere}) == 1
    assert len({folders(table)["mmfas seed 0"] for table in everywhere}) == 2
    assert len({folders(table, profile=PAPER)["mmfas seed 0"] for table in everywhere}) == 1
    assert folders(mmfas.FIGURE_6)["alpha_0.5 seed 0"] == folders(mmfas.READINGS)["alpha_0.5 seed 0"]
    assert folders(mmda.TABLE_1) == folders(mmda.TABLE_2)
    moe, vanilla = folders(mmda.TABLE_4), folders(mmda.TABLE_5)
    assert set(moe.items()) & set(vanilla.items()) == {
        ("mmda_moe_md2a PSW-C seed 0", moe["mmda_moe_md2a PSW-C seed 0"])
    }
    assert set(folders(mmda.FIGURE_4).items()) <= set(folders(mmda.FIGURE_3).items())


def test_a_row_is_one_run_for_each_choice_of_sources():
    jobs = {job.title: job for job in jobs_of(mmda.TABLE_1, seeds=2)}
    runs = {row.name: 4 if row.name == "clip_zero_shot" else 2 * 4 for row in mmda.TABLE_1.rows if row.program}
    assert Counter(job.row.name for job in jobs.values()) == runs  # zero-shot knows no seed
    job = jobs["mmda CPS-W seed 1"]
    assert re.fullmatch(r"mmda-CPS-W-cpu-seed1-[0-9a-f]{8}", job.folder.name)
    t = CPU.mmda
    assert " ".join(job.command[1:]) == (
        f"-m reference.mmda --index {INDEX} --run-dir {job.folder} --preset paper --sources CPS --targets W "
        f"--missing D I DI --protocol official --image-size {t['image-size']} "
        f"--batch-size {t['batch-size']} --epochs {mmda.TABLE_1.rows[-1].training['cpu']['epochs']} "
        f"--learning-rate {t['learning-rate']} --clip phantom --threads {CPU.threads} --device cpu --no-keep-weights "
        "--score-tests every --seed 1"
    )
    zero = " ".join(jobs["clip_zero_shot PSW-C seed 0"].command)
    assert f"--image-size {t['image-size']} --clip phantom --threads" in zero
    assert not any("--clip" in job.command for job in jobs.values() if job.row.name == "ssdg")
    assert "--epochs" not in zero
    assert not set(folders(mmda.TABLE_1).values()) & set(folders(mmda.TABLE_1, protocol="mmdg").values())
    same = set(folders(mmda.TABLE_1).values()) & set(folders(mmda.TABLE_1, clip="openai").values())
    without = [row.name for row in mmda.TABLE_1.rows if row.program and not row.clip]
    assert "ssdg" in without
    assert same == {job.folder.name for job in jobs_of(mmda.TABLE_1) if job.row.name in without}
    assert {k: PAPER.mmda[k] for k in t} == {
        "image-size": 224, "batch-size": 24, "epochs": 80, "learning-rate": 5e-6,
    }  # fmt: skip


def parsed(job):
    """The options of a run as its own program understands them."""
    kind = importlib.import_module(job.row.program).Options
    return parse(kind, job.row.program, None, list(job.command[3:]))


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_the_programs_understand_every_command(table):
    sources = {part.name: part.name.partition("-") for part in table.parts}
    for job in jobs_of(table):
        options = parsed(job)
        if job.row.sees:
            options.check()
            assert options.image_size == 48
        assert options.protocol == ("official" if table.protocols else "mmfas")
        if job.part:
            assert (options.sources, options.targets) == sources[job.part][::2]
            lost = {name.partition("-")[2] for part in table.parts for name in part.sets} - {""}
            assert set(options.missing) == lost


def test_the_rows_of_mmfas_table_2_are_what_they_are_called():
    jobs = {job.row.published: parsed(job) for job in jobs_of(mmfas.TABLE_2) if job.row.published}
    rows = {name: (o.fusion, o.modalities, o.icl, o.cm) for name, o in jobs.items()}
    assert rows == {
        **{name: ("mean", name.upper(), False, "off") for name in ("r", "d", "i", "rd", "ri", "di", "rdi")},
        "icl": ("mean", "RDI", True, "off"),
        "cm": ("mean", "RDI", False, "all"),
        "hcm": ("mean", "RDI", False, "mined"),
        "icl_cm": ("mean", "RDI", True, "all"),
        "icl_hcm": ("mean", "RDI", True, "mined"),
        "ma": ("merge", "RDI", False, "off"),
        "ca": ("cross", "RDI", False, "off"),
        "sa": ("switch", "RDI", False, "off"),
        "ma_aligned": ("merge", "RDI", True, "mined"),
        "ca_aligned": ("cross", "RDI", True, "mined"),
        "sa_aligned": ("switch", "RDI", True, "mined"),
    }
    orders = {job.row.published: parsed(job).order.lower() for job in jobs_of(mmfas.TABLE_3)}
    assert all(name == order for name, order in orders.items())
    assert len(orders) == 6


def test_the_rows_of_mmdas_ablations_are_what_they_are_called():
    found = {job.row.published: parsed(job) for job in jobs_of(mmda.TABLE_4)}
    for name, o in found.items():
        adapter, _, denoise = name.partition("_")
        assert (o.adapter, o.denoise, o.layers, o.alignment) == (adapter, denoise or "none", 0, "vanilla")
    assert len(found) == 8
    found = {job.row.published: parsed(job) for job in jobs_of(mmda.TABLE_5)}
    assert {(name, o.alignment) for name, o in found.items()} == {(n, n) for n in ("vanilla", "smooth", "rs2")}
    assert {(o.adapter, o.denoise, o.layers) for o in found.values()} == {("moe", "md2a", 0)}


def test_each_reading_replaces_one_option_and_none_is_left_out():
    default, *rows = jobs_of(mmfas.READINGS)
    base = dataclasses.asdict(parsed(default))
    replaced = []
    for job in rows:
        changed = {k: v for k, v in dataclasses.asdict(parsed(job)).items() if base[k] != v and k != "run_dir"}
        assert len(changed) == 1, job.title
        replaced += changed.items()
    assert len(set(replaced)) == len(replaced)
    wanted = [("preset", "text"), ("preset", "depth8"), ("augmentation", "none"), ("optimiser", "adam_l2")]
    kinds = typing.get_type_hints(program.Readings)
    for field in dataclasses.fields(program.Readings):
        if kinds[field.name] is bool:
            wanted.append((field.name, not field.default))
        for value in typing.get_args(kinds[field.name]):
            if value != field.default and (field.name, value) != ("cm", "off"):  # no pairs at all is an ablation
                wanted.append((field.name, value))
    assert set(wanted) <= set(replaced)
    assert {name for name, _ in replaced} - {name for name, _ in wanted} == {"alpha", "projection"}
    named = {int(number) for row in mmfas.READINGS.rows for number in re.findall(r"^A(\d+):", row.label)}
    assert named == set(range(1, 22))
    # What the profile trains with is the default; the paper's profile has the other augmentation.
    job = next(job for job in jobs_of(mmfas.READINGS, profile=PAPER) if job.row.name == "a21_augmentation")
    assert parsed(job).augmentation == "flip" != PAPER.training["augmentation"]


def test_the_protocol_is_mmdgs_where_the_index_has_it():
    class Index:
        path = "index.csv"

        def __init__(self, *protocols):
            self.protocols = dict.fromkeys(protocols)

    assert protocol_of(mmda.TABLE_1, Index("mmfas", "official", "mmdg")) == "mmdg"
    assert protocol_of(mmda.TABLE_1, Index("mmfas", "official")) == "official"
    assert protocol_of(mmda.TABLE_1, None) == "official"
    with pytest.raises(BadInput, match="no protocol mmdg or official, which mmda-table1 needs"):
        protocol_of(mmda.TABLE_1, Index("mmfas"))


def test_the_stand_in_clip_is_made_once_and_only_for_runs_that_take_it(tmp_path, capsys):
    command = ["--profile", "paper", "--dry-run", "--build", str(tmp_path)]
    assert (
        main(["mmfas-table1", "mmda-table1", "mmda-table2", *command, "--methods", "mmfas,mmda", "--seeds", "1"]) == 0
    )
    lines = capsys.readouterr().out.splitlines()
    assert sum("reference.standin_clip" in line for line in lines) == 1
    runs = [line for line in lines if "--run-dir" in line]
    assert len(runs) == 1 + 4  # both of MMDA's tables need the same four
    assert lines.index(runs[0]) > next(i for i, line in enumerate(lines) if "standin_clip" in line)
    # It sees 48 pixels, whatever the profile; mmFAS keeps its own.
    assert ["--image-size 48" in line for line in runs] == [False, True, True, True, True]
    assert "mmdg where it names MMDG's lists" in "\n".join(lines)
    assert main(["mmfas-table1", *command]) == 0
    assert "standin_clip" not in capsys.readouterr().out
    assert main(["mmda-table1", *command, "--clip", "openai", "--methods", "mmda"]) == 0
    out = capsys.readouterr().out
    assert "standin_clip" not in out
    assert "--clip openai" in out
    assert "--image-size 224" in out


def test_kernels_and_the_seed_of_the_stand_in_reach_every_command_that_they_concern(tmp_path, capsys):
    command = ["mmda-table1", "--profile", "cpu", "--dry-run", "--build", str(tmp_path), "--methods", "mmda,ssdg"]

    def lines(*more):
        assert main([*command, *more]) == 0
        return [line for line in capsys.readouterr().out.splitlines() if " -m reference." in line]

    usual, portable, other = lines(), lines("--kernels", "portable"), lines("--clip", "phantom/2")
    assert len(usual) == len(portable) == len(other) == 1 + 4 + 4  # the stand-in, then four parts of either row
    assert ["--kernels portable" in line for line in portable] == [True] * 9
    assert "--kernels" not in "".join(usual + other)
    assert [line.partition("standin_clip")[2] for line in (usual[0], portable[0], other[0])] == [
        "", " --kernels portable", " --seed 2",
    ]  # fmt: skip
    assert ["--clip phantom/2" in line and "--image-size 48" in line for line in other if "reference.mmda" in line] == [
        True
    ] * 4


def test_methods_are_looked_up_in_all_tables_asked_for(tmp_path, capsys):
    command = ["--profile", "cpu", "--dry-run", "--build", str(tmp_path), "--methods", "mmda_released"]
    assert main(["mmfas-table1", "mmda-table3", *command]) == 0
    assert capsys.readouterr().out.count("-m reference.mmda ") == 2
    with pytest.raises(BadInput, match="--methods mmda_released"):
        main(["mmfas-table1", *command])
    with pytest.raises(BadInput, match="--methods nobody"):
        main(["mmda-table1", *command[:-1], "nobody"])


def test_a_failure_before_the_runs_ends_the_command(tmp_path):
    with pytest.raises(BadInput, match="failed with exit status 3"):
        runner.prepare([(sys.executable, "-c", "import sys; sys.exit(3)")])
    with pytest.raises(BadInput, match="ended without writing it"):
        runner.prepare([(sys.executable, "-c", "pass")], tmp_path / "made")


# -------------------------------------------------------------------------------------------------- parameters


def test_the_counted_parameters_are_the_published_ones(tmp_path, monkeypatch):
    found = counts.leaf_parameters(mmfas.TABLE_2, tmp_path)
    published = load(mmfas.TABLE_2.published, mmfas.TABLE_2.flat_columns)
    for row in mmfas.TABLE_2.rows:
        if row.published:
            assert Decimal(found[row.name]) / 10**6 == pytest.approx(
                published.rows[row.published].parameters, abs=Decimal("0.005")
            ), row.name
    assert len(found) == 18
    (kept,) = tmp_path.iterdir()
    monkeypatch.setattr(counts.subprocess, "run", None)  # a second count would need a second process
    assert counts.leaf_parameters(mmfas.TABLE_2, tmp_path) == found
    monkeypatch.undo()
    monkeypatch.setattr(counts, "sources", lambda module: {module: "edited"})
    monkeypatch.setattr(counts.sys, "executable", "/bin/false")
    with pytest.raises(BadInput, match="counting mmFAS's parameters failed with exit status 1"):
        counts.leaf_parameters(mmfas.TABLE_2, tmp_path)
    assert list(tmp_path.iterdir()) == [kept]


# --------------------------------------------------------------------------------------------------- rendering


def results_of(table, build, seeds=1, leave_out=1):
    """The results of stand-in runs with drawn scores, all but the last `leave_out`."""
    profile = replace(CPU, mmda=CPU.mmda | {"image-size": IMAGE_SIZE})
    jobs = jobs_of(table, profile, seeds, build / "runs")
    fill(table, jobs[: len(jobs) - leave_out], samples=12, epochs=(0, 1))
    protocol, clip = ("official", "phantom") if table.clip else (None, None)
    counted = dict.fromkeys((row.name for row in table.rows), 8_600_000) if table.leaf_parameters else None
    where = ("phantom 1-cpu", True, "f" * 64)
    return gather(table, profile, seeds, *where, jobs, [], False, protocol, clip, counted)


@pytest.fixture(scope="module", params=[t for t in TABLES.values() if t is not mmfas.TABLE_1], ids=lambda t: t.name)
def results(request, tmp_path_factory):
    return results_of(request.param, tmp_path_factory.mktemp("table"))


def test_a_table_renders_whole_in_every_form(results, tmp_path):
    table = results.table
    text = render.markdown(results)
    widths = [len(re.findall(r"(?<!\\)\|", line)) for line in text.splitlines() if line.startswith("|")]
    k = len(table.visible) * len(table.columns)
    assert widths[0] == k + 4
    (missing,) = (m for row in results.rows for m in row.missing)
    assert f"- [1] {missing.title}, not run: `{missing.command}`" in text
    for rule in table.rules:
        assert view_of(rule).rule == rule
    tex = render.latex(results)
    body = "\n".join(line for line in tex.splitlines() if not line.startswith("%")).replace("{!}{%\n", "{!}{\n")
    assert balanced(body)
    labels = re.findall(r"\\label\{[^}]*\}", body)
    assert len(labels) == len(set(labels)) >= len(table.rules)
    assert not re.search(r"[→αβΔ±…]", tex)
    html = page(results)
    checker = Checker()
    checker.feed(html)
    checker.close()
    assert checker.open == []
    assert len(set(checker.ids)) == len(checker.ids)
    assert all(link.startswith("#") and link[1:] in checker.ids for link in checker.links)
    found = json.loads(render.as_json(results))
    assert set(found["columns"]) == {column.name for column in table.columns}
    assert set(found["selection_rules"]) == set(table.rules)
    for width in (80, 130):
        console = Console(width=width, record=True, file=(tmp_path / "out").open("w"))
        render.terminal(results, console)
        lines = console.export_text().splitlines()
        assert all(len(line) <= width for line in lines if "python -m" not in line)
    # What there is, is in every form: the honest cell of the first row and column.
    row = next(row for row in results.rows if row.cells)
    metric = HONEST.metric(table.visible[0])
    value = f"{row.cells['source_val', table.columns[0].name, metric].mean:.2f}"
    assert all(value in form for form in (text, tex, html, "\n".join(lines)))


def test_stand_in_results_say_so_and_are_judged_by_nothing(results):
    for rule in results.table.rules:
        said = " ".join(caption(results, view_of(rule)))
        assert "phantom 1-cpu, procedural stand-in faces" in said
        assert ("not comparable" in said) == (results.published is not None)
        if results.table.clip:
            assert "a stand-in, a small one trained on procedural pictures" in said
            assert "official split (no MMDG lists are at hand)" in said
            assert "48 × 48 pixels, batches of 24" in said
            assert not re.search(r"\b(WMCA|CeFA|CASIA-SURF|PADISI-Face)\b(?!-like)", said)
    names = column_names(results)
    assert all(names[c.name] == f"{c.label}-like" for c in results.table.columns if c.dataset)
    mmdg = " ".join(caption(replace(results, protocol="mmdg", clip="openai"), HONEST))
    assert "MMDG's lists; " in mmdg
    assert "CLIP: openai." in mmdg


@pytest.mark.parametrize("results", [t for t in TABLES.values() if isinstance(t.figure, Sweep)], indirect=True)
def test_figures_are_drawn_from_what_was_run(results, tmp_path):
    sweep = results.table.figure
    written = {path.name: path.read_bytes() for path in write(results, tmp_path)}
    assert written[f"{sweep.name}.png"].startswith(b"\x89PNG")
    svg = written[f"{sweep.name}.svg"].decode()
    said = [sweep.x_label, "HTER (%)", "AUC (%)", "procedural stand-in faces", "profile cpu"]
    assert all(words in svg for words in said)
    for kind in sweep.kinds:
        drawn = figures.sweep_points(results, kind)
        for label, points in sweep.series.items():
            wanted = [p for p in points if results.row(p.row).runs]
            assert [x for x, _ in drawn.get(label, [])] == [p.x for p in wanted]
            for (_, cell), p in zip(drawn.get(label, []), wanted, strict=True):
                assert cell is results.row(p.row).cells["source_val", p.column, HONEST.metric(kind)]
    markers = [look.marker for look in figures.legend(results).values()]
    assert len(set(markers)) == len(markers)  # told apart without colour
    assert sweep.title in page(results)


def test_nothing_is_drawn_of_nothing(tmp_path):
    results = results_of(mmfas.FIGURE_6, tmp_path, leave_out=11)
    assert not any(row.runs for row in results.rows)
    assert figures.legend(results) == {}
    assert not any(path.suffix in (".png", ".svg") for path in write(results, tmp_path / "table"))


def test_the_grid_of_numbers_frames_the_best_of_each_row(tmp_path):
    results = results_of(mmda.FIGURE_4, tmp_path, leave_out=0)
    with figures.matplotlib.rc_context(figures.RC):
        ax = figures.Figure().add_subplot()
        figures._draw(ax, results, "hter")
    texts = {(round(t.get_position()[1]), round(t.get_position()[0])): t.get_text() for t in ax.texts}
    framed = {(round(p.get_y() + 0.42), round(p.get_x() + 0.45)) for p in ax.patches if not p.get_fill()}
    underlined = [(round(line.get_ydata()[0] - 0.3), round(line.get_xdata()[0] + 0.32)) for line in ax.lines]
    assert underlined == [(layers - 1, layers) for layers in range(1, 8)]  # align L is the deepest of L layers
    for row, (_, points) in enumerate(figures.sweep_points(results, "hter").items()):
        assert [texts[row, x] for x, _ in points] == [f"{cell.mean:.1f}" for _, cell in points]
        assert len(points) == 2 * row + 3
        least = min(float(texts[row, x]) for x, _ in points)
        assert {x for r, x in framed if r == row} == {x for x, _ in points if float(texts[row, x]) == least}
