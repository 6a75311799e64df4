"""A row that was written from an abstract alone is called so wherever it stands, with and without a number of ours."""

import json
import os
import re
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from data_manifests.errors import BadInput
from paper_tables.declarations import mmda, mmfas
from paper_tables.declarations.profile import load as load_profile
from paper_tables.declarations.published import load as load_published
from paper_tables.declarations.tables import TABLES
from paper_tables.numbers.results import gather
from paper_tables.planning import plan
from paper_tables.rendering import figures, render
from paper_tables.rendering.files import write
from paper_tables.rendering.page import page, published_alone
from paper_tables.rendering.wording import caption, profile_sentence, view_of
from paper_tables.report import __main__ as report
from reference.rivals import rows as comparison_rows
from spec_tests.support.fake_runs import fill
from spec_tests.support.markup import Checker

CPU = load_profile("cpu")
NAME = "VP-FAS (reconstruction)"
SENTENCE = (
    "VP-FAS (reconstruction): written here from its paper's abstract alone, since no code of it is public; it is not "
    "the authors' method, of which nothing is claimed, and the published numbers are not its own."
)
WITH = {name for name, table in TABLES.items() if any(row.name == "vp_fas" for row in table.rows)}


def results_of(table, build, filled):
    common = ["--protocol", "official"] if table.protocols else []
    index = Path("build/index/x/index.csv")
    jobs = plan.plan(table, CPU, 1, index, "f" * 64, build / "runs", "cpu", common, {"clip": "phantom"})
    fill(table, jobs if filled else [])
    extra = ("official", "phantom") if table.clip else (None, None)
    return gather(table, CPU, 1, "phantom 1-cpu", True, "f" * 64, jobs, [], False, *extra)


def words(html):
    """What a reader sees of a page, in one line."""
    checker = Checker()
    checker.feed(html)
    checker.close()
    return " ".join(" ".join(checker.text).split())


def printed(results, width):
    console = Console(width=width, record=True, file=open(os.devnull, "w"))  # noqa: PTH123, SIM115
    render.terminal(results, console)
    return console.export_text()


@pytest.fixture(scope="module", params=["run", "not run"])
def state(request):
    return request.param


@pytest.fixture(scope="module", params=["mmda-table1", "mmda-table2", "mmda-table3"])
def results(request, state, tmp_path_factory):
    return results_of(TABLES[request.param], tmp_path_factory.mktemp("build"), state == "run")


def test_it_stands_in_the_three_tables_whose_rows_it_belongs_to():
    assert sorted(WITH) == ["mmda-table1", "mmda-table2", "mmda-table3"]


def test_the_text_says_so(results):
    for width in (80, 130):
        text = printed(results, width)
        assert SENTENCE in " ".join(text.split())
        for block in text.split("·")[0].split("%\n")[1:]:  # one for each metric
            assert "(reconstruction)" in block


def test_every_caption_says_so(results):
    for rule in results.table.rules:
        assert caption(results, view_of(rule)).count(SENTENCE) == 1


def test_markdown_says_so(results):
    lines = render.markdown(results).splitlines()
    assert f"- {SENTENCE}" in lines
    assert any(line.startswith(f"| {NAME} |") for line in lines)
    assert not any(line.startswith("| VP-FAS |") for line in lines)


def test_every_float_of_latex_says_so(results, state):
    text = render.latex(results)
    captions = re.findall(r"\\caption\{(.*)\}", text)
    assert len(captions) == len(results.table.rules) + (state == "run")  # the last is of the findings
    for each in captions:
        assert render.tex_escape(SENTENCE) in each
    starts = re.findall(r"^VP-FAS[^&]*&", text, flags=re.MULTILINE)
    assert set(starts) == {f"{NAME} &"}
    assert len(starts) >= len(captions)


def test_json_says_so(results):
    found = json.loads(render.as_json(results))
    assert SENTENCE in found["caption"]
    rows = {row["method"]: row for row in found["rows"]}
    assert rows["vp_fas"]["label"] == NAME
    assert [name for name, row in rows.items() if row["reconstruction"]] == ["vp_fas"]


def test_the_pages_say_so(results, tmp_path):
    write(results, tmp_path)
    for text in (page(results), (tmp_path / "fragment.html").read_text(encoding="utf-8")):
        said = words(text)
        assert SENTENCE in said
        assert NAME in said
        assert not re.search(r"VP-FAS(?! \(reconstruction\))", said)


def test_the_report_says_so(results, state, tmp_path):
    """Of a table that was run it shows the page's part, of another the published numbers alone."""
    if state == "run":
        write(results, tmp_path / "tables" / results.table.name)
    said = words(report.page(report.contents(tmp_path)))
    assert said.count(SENTENCE) == 3
    assert NAME in said


def test_published_numbers_alone_stand_beside_the_name_that_was_printed(results):
    html = published_alone(results.table)
    theirs = load_published(results.table.published, results.table.flat_columns).rows["vp_fas"]
    assert f'<th scope="row">{theirs.printed}</th>' in html
    assert f'<th scope="row">{NAME}' not in html
    assert words(html).count(SENTENCE) == 1


@pytest.mark.parametrize("name", sorted(set(TABLES) - WITH))
def test_no_other_table_speaks_of_it(name, tmp_path):
    results = results_of(TABLES[name], tmp_path, False)
    for text in (render.markdown(results), render.latex(results), page(results), published_alone(results.table)):
        assert "reconstruction" not in text
    assert not any(row["reconstruction"] for row in json.loads(render.as_json(results))["rows"])


def test_a_figure_of_curves_says_so_of_the_rows_that_it_shows(tmp_path):
    """No figure shows VP-FAS; the paper's own row is called a reconstruction here."""
    own = replace(mmfas.TABLE_1.own_rows[0], label="Mine (reconstruction)", reconstruction=True)
    results = results_of(replace(mmfas.TABLE_1, own_rows=(own,)), tmp_path, True)
    assert "Mine (reconstruction)" in figures.legend(results)
    (note,) = re.findall(r"<figcaption>(.*?)</figcaption>", page(results), flags=re.DOTALL)
    assert SENTENCE.replace("VP-FAS", "Mine") in words(f"<p>{note}</p>")


def test_several_reconstructions_have_a_sentence_each(tmp_path):
    more = tuple(replace(row, reconstruction=True) for row in mmda.TABLE_1.own_rows[:2])
    results = results_of(replace(mmda.TABLE_1, own_rows=(*more, *mmda.TABLE_1.own_rows[2:])), tmp_path, False)
    said = " ".join(caption(results, view_of("last")))
    for name in (NAME, *(row.label for row in more)):
        assert said.count(f"{name}: written here from its paper's abstract alone") == 1


def test_the_declaration_is_a_flag_and_the_row_is_named_after_it(tmp_path):
    file = tmp_path / "rows.toml"
    stanza = '[other]\nlabel = "Other"\ntables = { t = "" }\n'
    file.write_text(stanza)
    assert comparison_rows.load(file)["other"].title == "Other"
    (tmp_path / "again.toml").write_text(stanza + "reconstruction = true\n")
    assert comparison_rows.load(tmp_path / "again.toml")["other"].title == "Other (reconstruction)"
    (tmp_path / "bad.toml").write_text(stanza + 'reconstruction = "yes"\n')
    with pytest.raises(BadInput, match="reconstruction is 'yes'; it must be a bool"):
        comparison_rows.load(tmp_path / "bad.toml")


def test_captions_say_by_its_label_how_each_row_is_narrowed(results):
    sentence = profile_sentence(results)
    narrowed = [row for row in results.trained if results.profile.name in row.training]
    assert len(narrowed) > 5
    for row in narrowed:
        options = row.training[results.profile.name]
        told = ", ".join(f"{name.replace('-', ' ')} {value}" for name, value in options.items())
        assert f"; {row.label}: {told}" in sentence
    assert "VP-FAS (reconstruction): weights none, " in sentence
