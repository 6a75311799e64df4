"""The report: what it gathers, what it says of what is not there, and how it behaves in a real browser."""

import json
import re
import subprocess

import pytest

from data_manifests.errors import BadInput
from data_manifests.json_files import json_object, sealed
from paper_tables.declarations import mmda, mmfas
from paper_tables.declarations.probes import PROBES
from paper_tables.declarations.profile import load as load_profile
from paper_tables.declarations.tables import TABLES
from paper_tables.numbers.results import gather
from paper_tables.planning import plan
from paper_tables.rendering.files import write
from paper_tables.report import __main__ as program
from paper_tables.report import collect
from paper_tables.report.page import page
from reference.sources import ROOT
from spec_tests.equations import adapter, conformance_matrix
from spec_tests.support.browser import Browser, find
from spec_tests.support.fake_runs import fill
from spec_tests.support.markup import Checker

RED = '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><rect width="9" height="9" fill="red"/></svg>'
PICTURES = [picture for probe in PROBES.values() for picture in probe.pictures]
PRIVATE = "private <b>& not markup"


def make(build, table, seeds=1, without=""):
    """Runs of a table, but of one row, and its files; gives the jobs and the results."""
    common = ["--protocol", "official", "--clip", "phantom"] if table.clip else []
    index = ROOT / "build" / "index" / "x" / "index.csv"
    jobs = plan.plan(table, load_profile("cpu"), seeds, index, "f" * 64, build / "runs", "cpu", common)
    fill(table, [job for job in jobs if job.row.name != without])
    extra = ("official", "phantom") if table.clip else (None, None)
    results = gather(
        table, load_profile("cpu"), seeds, "phantom 1-cpu", True, "f" * 64, jobs, [], False, *extra
    )  # fmt: skip
    write(results, build / "tables" / table.name)
    return jobs, results


@pytest.fixture(scope="module")
def build(tmp_path_factory):
    """mmFAS's Table 1 without ResNet-50, MMDA's Table 5 and Figure 4, pictures, and a conformance report."""
    build = tmp_path_factory.mktemp("build")
    make(build, mmfas.TABLE_1, without="resnet50")
    make(build, mmda.TABLE_5, seeds=2)
    make(build, mmda.FIGURE_4)
    for folder, name in (("mmda-embeddings", "figure5"), ("mmda-batch-leak", "scores")):
        (build / "tables" / folder).mkdir()
        (build / "tables" / folder / f"{name}.svg").write_text(RED)
    leak = {"text": [["run", "scored", "AUC"], ["released", "list order", "91.20"]]}
    (build / "tables" / "mmda-batch-leak" / "table.json").write_text(json.dumps(leak))
    (build / "cost").mkdir()
    cost = {"title": "Some rows", "profile": "cpu", "device": "a machine", "threads": 1, "torch": "2.11"}
    cost["text"] = [["row", "training time"], ["a <row>", "2.50"]]
    (build / "cost" / "mmfas-table1.json").write_text(json.dumps(cost))
    matrix = conformance_matrix.Matrix(adapter.Implementation("somebody.else", missing=["icl_loss"]))
    for equation in matrix.equations.values():
        equation.counts["passed" if not equation.not_provided else "skipped"] = 3
    matrix.equations["mmfas-eq1"].counts["failed"] = 1
    matrix.equations["mmfas-eq1"].failures = [{"test": "t.py::test_x", "details": PRIVATE}]
    about = {"implementation": "somebody.else", "torch": "2.11", "devices": ["cpu"], "dtypes": ["float64"]}
    about["examples_per_property"] = 25
    conformance_matrix.write(build / "conformance" / "theirs.json", matrix.as_dict(about))
    return build


@pytest.fixture(scope="module")
def text(build):
    return page(program.contents(build))


def said(text):
    checker = Checker()
    checker.feed(text)
    checker.close()
    return " ".join(" ".join(checker.text).split())


def test_the_page_is_well_formed_and_needs_nothing_from_outside(text):
    checker = Checker()
    checker.feed(text)
    checker.close()
    assert checker.open == []
    assert len(set(checker.ids)) == len(checker.ids)
    for link in checker.links:
        assert link.startswith("data:") or link[1:] in checker.ids, link
    assert "://" not in text
    assert not re.search(r"@import|url\((?!#)|<iframe|<object|\son[a-z]+=", text)
    assert text.count("<script") == 1


def test_equal_inputs_give_the_same_bytes(build, tmp_path):
    outs = [tmp_path / "a.html", tmp_path / "b.html"]
    for out in outs:
        assert program.main(["--build", str(build), "--out", str(out)]) == 0
    first = outs[0].read_bytes()
    assert first == outs[1].read_bytes()
    assert len(first) < 5_000_000
    assert str(ROOT).encode() not in first


def test_a_report_that_grew_too_large_is_refused_and_the_old_one_stays(build, tmp_path, monkeypatch):
    monkeypatch.setattr(program, "LARGEST", 1000)
    out = tmp_path / "report.html"
    out.write_text("old")
    with pytest.raises(BadInput, match="more than 5"):
        program.main(["--build", str(build), "--out", str(out)])
    assert out.read_text() == "old"


def test_without_any_run_every_part_names_its_command_and_make_knows_it(tmp_path):
    empty = program.contents(tmp_path)
    text = page(empty)
    targets = [collect.target(table) for table in TABLES.values()] + [picture.target for picture in PICTURES]
    assert len(targets) == len(TABLES) + 4
    for target in targets:
        assert f"<code>make {target}</code>" in text
        dry = subprocess.run(["make", "-n", "PYTHON=python3", target], cwd=ROOT, capture_output=True, text=True)
        assert dry.returncode == 0, dry.stderr
        assert "python3 -m paper_tables " in dry.stdout
    assert "<code>make cost</code>" in text
    dry = subprocess.run(["make", "-n", "PYTHON=python3", "cost"], cwd=ROOT, capture_output=True, text=True)
    assert "python3 -m paper_tables.planning.cost mmfas-table1 --profile auto" in dry.stdout
    assert "<code>make report CONFORMANCE=1</code>" in text
    dry = ["make", "-n", "PYTHON=python3", "report", "CONFORMANCE=1"]
    assert "python3 -m paper_tables.report --conformance" in subprocess.check_output(dry, cwd=ROOT, text=True)
    assert "0 of 12 run" in said(text)
    assert "No table has been run yet." in text
    assert "18.84" in text  # mmFAS's published weighted HTER
    assert list(tmp_path.iterdir()) == []


def test_what_rows_cost_stands_with_the_machine_that_it_was_measured_on(text):
    assert "profile cpu · a machine · threads: 1 · torch 2.11" in text
    assert re.search(r"a &lt;row&gt;</th><td>2.50</td>", text)


def test_every_cell_can_be_run_again_and_every_missing_one_run(text, build):
    words = said(text)
    for table, seeds in ((mmfas.TABLE_1, 1), (mmda.TABLE_5, 2)):
        common = ["--protocol", "official", "--clip", "phantom"] if table.clip else []
        index = ROOT / "build" / "index" / "x" / "index.csv"
        for job in plan.plan(table, load_profile("cpu"), seeds, index, "f" * 64, build / "runs", "cpu", common):
            again = [str(build / "again" / job.folder.name) if w == str(job.folder) else w for w in job.command]
            missing = job.row.name == "resnet50"
            assert (plan.command_line(again) in words) != missing
            assert (plan.command_line(job.command) in words) == missing
    assert "make reproduce-mmda-table5 PROFILE=cpu SEEDS=2" in words
    assert "seed 1: PSW→C" in words


def test_stamps_are_those_of_the_runs(text, build):
    origin = text[text.index('<section id="origin"') :]
    for part in ("phantom 1-cpu", "cccccccccccc", "a CPU, torch 2.11", "now"):
        assert part in origin
    runs = json.loads((build / "tables" / "mmda-table5" / "table.json").read_text())["rows"][0]["runs"]
    assert [(run["seed"], run["part"], run["finished"]) for run in runs] == [(0, "PSW-C", "now"), (1, "PSW-C", "now")]


def test_every_number_of_a_table_is_on_the_page_beside_the_published_one(text, tmp_path):
    _, results = make(tmp_path, mmda.TABLE_5, seeds=2)
    inside = text[text.index('<div id="mmda-table5"') : text.index('id="at-mmda-', text.index('<div id="mmda-table5"'))]
    for row in results.rows:
        for (rule, _, metric), cell in row.cells.items():
            classes = f"v rule-{rule}" + (f" {metric.replace(':', '-')}" if ":" in metric else "")
            assert f'<span class="{classes}"><b>{cell.mean:.2f}</b><i>± {cell.sd:.2f}</i></span>' in inside
        for value in row.published.values["C"].values():
            assert f'<span class="sr">published </span>{value}</span>' in inside


def test_phantom_is_said_of_every_table_and_above_all(text):
    words = said(text)
    assert words.count("procedural stand-in faces (no photographs)") >= 3
    assert "Data here are phantom" in words
    licensed = page(program.contents(ROOT / "no such folder"))
    assert "Data here are" not in licensed


def test_the_matrix_is_embedded_as_it_was_rendered(build, text):
    part = text[text.index('<section id="conformance"') : text.index('<section id="claims"')]
    report = json.loads((build / "conformance" / "theirs.json").read_text())
    assert report["fragment"] in part
    assert PRIVATE not in text
    assert f"{report['verdicts']['FAILED']} FAILED" in said(text)
    assert "not provided" in said(part)


def test_the_ledger_holds_every_claim_with_its_computation(text):
    words = said(text[text.index('<section id="claims"') : text.index('<section id="readings"')])
    claims = program.contents(ROOT / "no such folder").claims
    assert len(claims) > 300
    assert text.count('<li id="claim-') == len(claims)
    found = program.contents(ROOT / "no such folder").findings
    assert text.count('<li id="finding-') == len(found) > 20
    assert f"{len(found)}, from {len(claims)} checks and observations" in said(text)
    for finding in found:
        assert " ".join(finding.record.innocent.split()) in words
    for entry in claims:
        assert f'id="claim-{entry.claim.id}" data-paper="{entry.claim.paper}"' in text
        for line in entry.result.computation:
            assert " ".join(line.split()) in words


def test_pictures_are_inlined_and_large_ones_as_png(text, tmp_path):
    assert text.count("data:image/svg+xml;base64,") == 2
    assert '<th scope="row">released</th><td>list order</td><td>91.20</td>' in text
    folder = tmp_path / "tables" / "mmda-batch-leak"
    folder.mkdir(parents=True)
    (folder / "scores.svg").write_text(RED + " " * collect.LARGEST_SVG)
    with pytest.raises(BadInput, match=r"scores\.png: not there"):
        program.contents(tmp_path)
    (folder / "scores.png").write_bytes(b"\x89PNG")
    assert dict(program.contents(tmp_path).pictures)[PICTURES[-1]].images == (("image/png", b"\x89PNG"),)


@pytest.mark.parametrize(
    ("path", "content", "says"),
    [
        ("tables/mmfas-table1/table.json", "{", "table.json: not valid JSON"),
        ("tables/mmfas-table1/table.json", "[]", "table.json: not a JSON object"),
        ("tables/mmfas-table1/table.json", "{}", "it lacks 'rows'; run `make reproduce-mmfas-table1` again"),
        ("tables/mmfas-table1/table.json", '{"rows": [{"runs": 3}]}', "not a table as written now"),
        ("tables/mmda-batch-leak/table.json", '{"runs": {}}', "has no text for the report; run `make mmda-batch-leak`"),
        ("tables/mmda-batch-leak/table.json", '{"text": [["a", "b"], ["c"]]}', "its text has rows of several lengths"),
        ("cost/x.json", "[]", "x.json: not a JSON object; run `make cost TABLE=x` again, or delete it"),
        ("conformance/x.json", '{"implementation": "x", "verdicts": {}}', "it has no fragment"),
    ],
)
def test_unusable_files_are_refused_by_name(tmp_path, path, content, says):
    file = tmp_path / path
    file.parent.mkdir(parents=True)
    file.write_text(content)
    with pytest.raises(BadInput, match=re.escape(says)):
        program.main(["--build", str(tmp_path)])
    assert not (tmp_path / "report.html").exists()


def test_a_table_of_another_version_is_refused(build, tmp_path):
    folder = tmp_path / "tables" / "mmda-table5"
    folder.mkdir(parents=True)
    for name in ("table.json", "table.html"):
        (folder / name).write_text((build / "tables" / "mmda-table5" / name).read_text())
    with pytest.raises(BadInput, match=r"fragment\.html: cannot be read.*run `make reproduce-mmda-table5` again"):
        program.contents(tmp_path)


@pytest.mark.parametrize(("status", "fine"), [(0, True), (1, True), (2, False), (5, False)])
def test_conformance_is_tested_first_when_asked_for(tmp_path, monkeypatch, status, fine):
    asked = []

    def run(command, **_):
        asked.append(command)
        return subprocess.CompletedProcess(command, status)

    monkeypatch.setattr(program.subprocess, "run", run)
    if fine:
        assert program.main(["--build", str(tmp_path), "--conformance"]) == 0
    else:
        with pytest.raises(BadInput, match=f"exit status {status}"):
            program.main(["--build", str(tmp_path), "--conformance"])
    assert asked == [program.conformance_command(tmp_path)]
    assert f"--conformance-report={tmp_path / 'conformance' / 'reference.json'}" in asked[0]


def test_the_newest_conformance_report_counts(build, tmp_path):
    import os

    (tmp_path / "conformance").mkdir()
    whole = json_object(build / "conformance" / "theirs.json", "")
    for i, name in enumerate(("b", "a")):
        path = tmp_path / "conformance" / f"{name}.json"
        path.write_bytes(sealed(whole | {"fragment": name}))
        os.utime(path, (1000 + i, 1000 + i))
    assert collect.conformance(tmp_path)["fragment"] == "a"


# ------------------------------------------------------------------------------------------- in a real browser

CHROMIUM = find()
in_browser = pytest.mark.skipif(CHROMIUM is None, reason="no chromium here; apt-get install chromium")

SHOWN = "[...document.querySelectorAll('#ledger > li')].filter(li => li.offsetParent)"
# Every pair of text and background colours in use, with the contrast of WCAG 2.
CONTRASTS = r"""(() => {
  const rgb = (c) => c.match(/[\d.]+/g).map(Number);
  const light = (c) => c.slice(0, 3).map((v) => v / 255)
    .map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const found = {};
  for (const e of document.querySelectorAll("main *, nav *")) {
    if (!e.offsetParent || ![...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim())) continue;
    let back = e;
    while (back.parentElement && (rgb(getComputedStyle(back).backgroundColor)[3] ?? 1) === 0) back = back.parentElement;
    const pair = [getComputedStyle(e).color, getComputedStyle(back).backgroundColor];
    const [a, b] = pair.map((c) => light(rgb(c))).sort((x, y) => y - x);
    found[pair.join(" on ")] = (a + 0.05) / (b + 0.05);
  }
  return found;
})()"""


@pytest.fixture(scope="module")
def browser(build, tmp_path_factory):
    program.main(["--build", str(build)])
    browser = Browser(CHROMIUM, tmp_path_factory.mktemp("profile"))
    yield browser
    browser.close()


@pytest.fixture
def opened(browser, build):
    """The report in a wide light window; afterwards nothing may have been complained of or asked of a network."""
    browser.view(1280)
    browser.open(build / "report.html")
    yield browser
    browser.view(1280)
    assert browser.problems == []
    assert all(url.startswith(("file://", "data:")) for url in browser.requests)


@in_browser
def test_clicked_filters_show_what_they_say(opened):
    claims = program.contents(ROOT / "no such folder").claims

    def shown():
        listed = opened.value(f"{SHOWN}.map(li => li.id)")
        n = len(listed)
        assert opened.value("document.querySelector('.count').textContent").startswith(
            f"{n} claims" if n == len(claims) else f"{n} of {len(claims)} claims"
        )
        return listed

    def wanted(**fields):
        return [
            f"claim-{e.claim.id}"
            for e in claims
            if all({"verdict": e.result.verdict}.get(k, getattr(e.claim, k, None)) == v for k, v in fields.items())
        ]

    assert shown() == wanted()
    opened.click('[data-filter=verdict][data-value="contradicted"]')
    assert shown() == wanted(verdict="contradicted")
    opened.click('[data-filter=paper][data-value="MMDA"]')
    assert shown() == wanted(verdict="contradicted", paper="MMDA")
    pressed = "[...document.querySelectorAll('.filters [aria-pressed=true]')].map(b => b.dataset.value ?? 'order')"
    assert opened.value(pressed) == ["MMDA", "contradicted", "", "order"]
    opened.click('[data-filter=verdict][data-value=""]')
    opened.click('[data-filter=kind][data-value="parameter count"]')
    assert shown() == wanted(paper="MMDA", kind="parameter count")
    opened.click('[data-filter=kind][data-value=""]')
    opened.click('[data-filter=paper][data-value=""]')
    opened.click("#words")
    opened.send("Input.insertText", text="HTER WMCA weighted")
    found = shown()
    assert 0 < len(found) < len(claims)
    holds = f"{SHOWN}.every(li => ['hter', 'wmca', 'weighted'].every(w => li.textContent.toLowerCase().includes(w)))"
    assert opened.value(holds)
    opened.send("Input.insertText", text=" no claim says this")
    assert shown() == []


@in_browser
def test_claims_are_put_in_order_and_back(opened):
    order = f"{SHOWN}.map(li => li.dataset.verdict).filter((v, i, all) => v !== all[i - 1])"
    ids = f"{SHOWN}.map(li => li.id)"
    before = opened.value(ids)
    opened.click("[data-sort=verdict]")
    assert opened.value(order) == ["confirmed", "contradicted", "undetermined", "needs data", "observed"]
    assert sorted(opened.value(ids)) == sorted(before)
    opened.click('[data-sort=""]')
    assert opened.value(ids) == before


@in_browser
def test_choices_links_and_copy_buttons_work(opened):
    value = "[...document.querySelectorAll('#mmda-table5 td .v')].filter(v => v.offsetParent).map(v => v.className)"
    assert set(opened.value(value)) == {"v rule-source_val hter-source_val", "v rule-source_val"}
    opened.click("label:has(#mmda-table5-rule-released)")
    assert set(opened.value(value)) == {"v rule-released hter-source_val", "v rule-released"}
    other = value.replace("#mmda-table5", "#mmfas-table1 [role=table]")
    assert all("rule-source_val" in c for c in opened.value(other))  # tables choose each for itself
    link = 'a[href="#mmda-table5-again-mmda_smooth"]'
    target = "document.getElementById('mmda-table5-again-mmda_smooth')"
    assert not opened.value(f"{target}.offsetParent !== null && {target}.checkVisibility()")
    opened.click(link)
    assert opened.value(f"{target}.checkVisibility()")
    opened.send("Browser.grantPermissions", permissions=["clipboardReadWrite", "clipboardSanitizedWrite"])
    opened.value("document.querySelector('#again .command').id = 'one', 0")
    opened.click("#one button")
    assert opened.value("navigator.clipboard.readText()") == "make reproduce-table1"
    assert opened.value("document.querySelector('#one button').textContent") == "Copied"


@in_browser
def test_a_link_to_a_claim_reveals_it_whatever_is_filtered(opened):
    opened.click('[data-filter=verdict][data-value="contradicted"]')
    opened.value("location.hash = '#claim-mmfas.t1.weighted.deeppixbis.hter', new Promise(r => setTimeout(r, 200))")
    claim = "document.getElementById('claim-mmfas.t1.weighted.deeppixbis.hter')"
    assert opened.value(f"{claim}.querySelector('dl').checkVisibility()")


@in_browser
def test_the_keyboard_reaches_and_works_the_page(opened):
    opened.press("Tab")
    assert opened.value("document.activeElement.className") == "skip"
    assert opened.value("document.activeElement.getBoundingClientRect().x") >= 0
    opened.press("Enter")
    assert opened.value("document.activeElement.id") == "content"
    opened.value("document.querySelector('[data-filter=verdict]').focus(), 0")
    opened.press("Tab")
    assert opened.value("document.activeElement.dataset.value") == "confirmed"
    assert opened.value("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    opened.press("Enter")
    assert opened.value("document.activeElement.getAttribute('aria-pressed')") == "true"
    assert opened.value(f"{SHOWN}.every(li => li.dataset.verdict === 'confirmed')")
    opened.value("document.querySelector('.claims summary').focus(), 0")
    opened.press("Enter")
    assert opened.value("document.querySelector('.claims details').open")


@in_browser
@pytest.mark.parametrize("dark", [False, True])
def test_text_can_be_read_in_both_colour_schemes(opened, dark):
    opened.view(1280, dark=dark)
    pairs = opened.value(CONTRASTS)
    assert len(pairs) > 5
    assert {pair: ratio for pair, ratio in pairs.items() if ratio < 4.5} == {}
    back = opened.value("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, re.findall(r"\d+", back)[:3])) < 200) == dark


@in_browser
@pytest.mark.parametrize("width", [390, 768])
def test_a_narrow_window_needs_no_sideways_scrolling(opened, build, width):
    opened.view(width)
    opened.open(build / "report.html")
    for box in ("false", "true"):  # tables folded and open
        opened.value(f"document.querySelectorAll('details').forEach(d => d.open = {box})")
        assert opened.value("document.documentElement.scrollWidth") <= width


@in_browser
def test_without_a_script_everything_is_there_to_read(opened, build):
    opened.send("Emulation.setScriptExecutionDisabled", value=True)
    try:
        opened.open(build / "report.html")
        assert not opened.value("document.querySelector('.filters').checkVisibility()")
        assert opened.value("document.querySelectorAll('.command button').length") == 0
        assert opened.value(f"{SHOWN}.length") > 300
        opened.click("label:has(#mmda-table5-rule-last)")
        assert opened.value("document.querySelector('#mmda-table5 .view .rule-last').checkVisibility()")
        opened.click(".claims summary")
        assert opened.value("document.querySelector('.claims dl').checkVisibility()")
    finally:
        opened.send("Emulation.setScriptExecutionDisabled", value=False)


@in_browser
def test_it_prints(opened):
    opened.view(1032, media="print")  # A4 on its side, within the margins
    opened.value("document.querySelectorAll('article > details').forEach(d => d.open = true)")
    assert opened.value("document.documentElement.scrollWidth") <= 1032
    places = "[...document.querySelectorAll('.v b')].filter(b => b.checkVisibility())"
    assert opened.value(f"{places}.length") > 100
    assert opened.value(f"{places}.filter(b => b.scrollWidth > b.clientWidth).map(b => b.textContent)") == []
    for selector in ("nav", ".filters", ".choices", ".command button"):
        assert not opened.value(f"document.querySelector('{selector}').checkVisibility()"), selector
    assert opened.value("document.querySelector('#mmda-table5 [role=table]').checkVisibility()")
