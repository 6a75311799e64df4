"""The claims ledger: well-formed, right where worked out by hand, and broken by a mistyped digit."""

import dataclasses
import json
import re
import subprocess
import sys
import time
from collections import Counter
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from data_manifests.errors import BadInput
from paper_tables.audit import __main__ as command
from paper_tables.audit import bounds, errata, ledger
from paper_tables.audit.claim import KINDS, VERDICTS
from paper_tables.audit.mmfas import layers, weights
from paper_tables.audit.mmfas.names import SETS
from paper_tables.audit.mmfas.table2_parameters import described
from paper_tables.audit.numbers import Numbers, load_flat, read
from paper_tables.declarations import published

ROOT = Path(__file__).parents[2]
NUMBERS = read()
RECORDED = ledger.expected()
ENTRIES = {e.claim.id: e for e in ledger.decide(NUMBERS, RECORDED)}


def finding(claim: str) -> tuple[str, str]:
    return ENTRIES[claim].finding.verdict, ENTRIES[claim].finding.figure


# --- the ledger -------------------------------------------------------------------------------------------


def test_the_ledger_is_well_formed():
    claims = list(ledger.claims(NUMBERS))
    assert len(claims) >= 150
    assert len({c.id for c in claims}) == len(claims)
    assert {c.kind for c in claims} == set(KINDS)
    for c in claims:
        assert c.says, c.id
        assert c.place, c.id
        f = ENTRIES[c.id].finding
        assert f.verdict in VERDICTS, c.id
        assert f.figure, c.id
        assert all(f.computation), c.id
        assert f.computation, c.id
        if f.verdict == "contradicted" and c.kind != "arithmetic":
            assert c.explains or c.assumes, f"{c.id} says what is wrong, not what may explain it"
        if f.verdict in ("contradicted", "undetermined"):
            assert c.settles, f"{c.id} does not say what would settle it"


def test_every_place_is_one_of_the_paper():
    tables = {"mmFAS": 3, "MMDA": 5}
    figures = {"mmFAS": 7, "MMDA": 6}
    sections = {"mmFAS": {"1", "3", "4", "5"}, "MMDA": {"3.2", "3.3", "4", "4.1", "4.2", "4.3"}}
    for c in ledger.claims(NUMBERS):
        own = re.sub(r"\(CVPR 2024, Table 1\)", "", c.place)
        named = re.findall(r"(Table|Figure|Section)s? (\d(?:\.\d)?)", own)
        assert named or own == "Abstract", f"{c.id}: {c.place}"
        for what, number in named:
            if what == "Section":
                assert number in sections[c.paper], f"{c.id}: {c.place}"
            else:
                assert 1 <= int(number) <= {"Table": tables, "Figure": figures}[what][c.paper], f"{c.id}: {c.place}"


def test_every_finding_is_the_recorded_one():
    assert [e.claim.id for e in ENTRIES.values() if not e.as_expected] == []


def test_all_numbers_of_all_tables_are_there():
    """18 + 6 + 8 + 3 rows of the flat tables, 11 × 15 and 15 × (10 + 8 + 4) cells of the others."""
    flat = (NUMBERS.mmfas2, NUMBERS.mmfas3, NUMBERS.mmda4, NUMBERS.mmda5)
    assert [len(t.values) for t in flat] == [18, 6, 8, 3]
    sets = (NUMBERS.mmfas1, NUMBERS.mmda1, NUMBERS.mmda2, NUMBERS.mmda3)
    assert [len(t.rows) * len(t.sets) * len(t.metrics) for t in sets] == [165, 150, 120, 60]


# --- findings, worked out by hand -------------------------------------------------------------------------


def test_one_weight_vector_gives_all_weighted_cells():
    """Least squares over 33 equations, a way other than the audit's linear programme, lands inside its bounds."""
    cells = [
        ([float(row.values[s][m]) for s in SETS], float(row.values["weighted"][m]))
        for row in NUMBERS.mmfas1.rows.values()
        for m in NUMBERS.mmfas1.metrics
    ]
    x, y = np.array([c[0] for c in cells]), np.array([c[1] for c in cells])
    fitted = np.linalg.lstsq(x, y, rcond=None)[0]
    w = weights.solve(NUMBERS.mmfas1, 0.01)
    assert w.low is not None
    assert w.high is not None
    for i, s in enumerate(SETS):
        assert fitted[i] == pytest.approx(float(weights.WEIGHTS[s]), abs=3e-4)
        assert w.low[s] <= float(weights.WEIGHTS[s]) <= w.high[s]
    assert [w.low["C"], w.high["C"]] == pytest.approx([0.22314, 0.22321], abs=5e-6)
    assert [w.low["H"], w.high["H"]] == pytest.approx([0.00922, 0.00953], abs=5e-6)
    assert w.least == pytest.approx(0.0088, abs=5e-5)
    assert weights.solve(NUMBERS.mmfas1, 0.0087).low is None


@pytest.mark.parametrize(
    ("claim", "verdict", "figure"),
    [
        # (17/1326 + 4/345)/2 = 1.2207 %; 17 · 4 = 68; (1 − 0.99985 + 0.00000) · 345 · 1326 = 68.6 pairs
        ("mmda.counts.one_model.W", "undetermined", "68 of at most 68 pairs"),
        ("mmda.counts.hter.W", "confirmed", "solutions: 1"),
        # (27.02 + 23.04 + 32.06 + 39.24)/4 = 30.34, printed 39.83; (86.50 + 83.11 + 73.83 + 63.68)/4 = 76.78
        ("mmda.t1.average.iadg.hter", "contradicted", "+9.4900"),
        ("mmda.t1.average.iadg.auc", "contradicted", "-13.8300"),
        # (99.99 + 98.62 + 98.58 + 98.18)/4 = 98.8425, printed 98.94
        ("mmda.t1.average.mmda.auc", "contradicted", "+0.0975"),
        # (23.66 + 24.06 + 27.07)/3 = 24.93, printed 27.93
        ("mmda.t2.average.flip.hter", "contradicted", "+3.0000"),
        # 16.11 − 4.00 = 12.11 (FLIP); 13.63 − 4.00 = 9.63 (DADM)
        ("mmda.text.p1_hter_gain", "contradicted", "12.11 is to FLIP, 9.63 to DADM"),
        ("mmda.text.p2_auc_gain", "contradicted", "12.64 is to MMDG, 10.50 to DADM"),
        ("mmda.text.p2_missing_ir", "contradicted", "HTER 5.98, AUC 98.30"),
        ("mmda.counts.lattice.W", "confirmed", "12 of 15"),
        ("mmda.counts.lattice.P", "confirmed", "10 of 15"),
        ("mmda.t1.average.direction", "contradicted", "HTER 10 of 11, AUC 8 of 11"),
        ("mmfas.t1.operating_point.all", "contradicted", "11 of 33 impossible"),
        # 0.22318 · 99.9 + 0.38009 · 69.57 + 0.38740 · 79.33 + 0.00933 · 76.6 = 80.19
        ("mmfas.t1.constant_predictor", "contradicted", "80.19 against 79.24"),
        ("mmfas.t1.identical_cells", "contradicted", "4 cells alike, other pairs 1"),
        # 1 − 0.5770² = 66.71, printed 66.17
        ("mmfas.t1.flexmodal_shape", "undetermined", "0.54 below the maximum"),
        ("mmfas.t2.parameters.sa", "contradicted", "+1.763 M"),
        ("mmfas.t2.alignment_drop.most", "confirmed", "17.74"),
        ("mmfas.t2.switch_without_alignment.ca", "contradicted", "-9.50"),
        ("mmfas.t2.mining", "contradicted", "-4.26"),
        ("mmfas.text.worse_than_random.deeppixbis", "contradicted", "AUC 54.47"),
        # 18,000 + 5,346 + 192 = 23,538, printed 23,346
        ("mmfas.data.cefa_videos", "contradicted", "-192"),
    ],
)
def test_findings_worked_out_by_hand(claim, verdict, figure):
    assert finding(claim) == (verdict, figure)


def test_averages_of_mmda_that_are_wrong():
    wrong = Counter(
        (table, claim.rsplit(".", 1)[1])
        for claim, e in ENTRIES.items()
        for table in ("t1", "t2")
        if re.fullmatch(rf"mmda\.{table}\.average\.\w+\.(hter|auc)", claim) and e.finding.verdict == "contradicted"
    )
    assert wrong == {("t1", "hter"): 11, ("t1", "auc"): 12, ("t2", "hter"): 2, ("t2", "auc"): 3}


def test_true_ranking_of_mmda_table_1():
    listing = " ".join(ENTRIES["mmda.t1.ranking.hter"].finding.computation)
    order = re.findall(r"([\w-]+)(?: \(Ours\))? (\d+\.\d+)", listing)
    names = "MMDA DADM FLIP MMDG CLIP VP-FAS CMFL AMA SA-FAS SSAN ViTAF IADG SSDG ViT MM-CDCN"
    assert " ".join(name for name, _ in order) == names
    assert dict(order)["MMDG"] == "19.25"


def test_parameter_counts():
    """270 · 270 and the like summed by hand for the encoder; totals of the count-faithful reading."""
    block = 540 + 4 * 72_900 + 270 + 540 + (270 * 1080 + 1080) + (1080 * 270 + 270)
    encoder = 1536 + (768 * 270 + 270) + 540 + 3 * block + 540
    assert layers.encoder(270, 3, 270, 1080) == encoder == 2_842_746
    assert layers.head(270) == 270 * 270 + 270 + 271 == 73_441
    faithful = {row: described(NUMBERS, row)[1] for row in ("r", "rd", "rdi", "sa", "ca", "ma")}
    assert faithful == {
        "r": 2_916_187, "rd": 5_758_933, "rdi": 8_601_679, "sa": 15_627_619, "ca": 29_660_059, "ma": 56_108_449,
    }  # fmt: skip
    assert described(NUMBERS, "sa")[0] == 8_601_679 + 6 * block


def test_how_far_the_live_fraction_can_move():
    """mmFAS on WMCA: TNR falls to the cap 1 − EER = 61.3 % at some live fraction; all-spoof ties at 1 − 0.7926."""
    lines = " ".join(ENTRIES["mmfas.t1.operating_point.mmfas.W"].finding.computation)
    limit = float(re.search(r"flips at a live fraction of ([\d.]+)%", lines)[1]) / 100
    assert (0.7926 - 0.99 * limit) / (1 - limit) == pytest.approx(1 - 0.3868, abs=2e-4)
    assert "20.74%" in " ".join(ENTRIES["mmfas.t1.beats_constant.W"].finding.computation)


# --- bounds, against score sets ---------------------------------------------------------------------------

ORDERS = st.integers(1, 9).flatmap(lambda n: st.permutations([0] * n + [1] * n))


def rates(labels):
    """(false accept rate, false reject rate) of every threshold over scores 0, 1, 2, … with these labels (1 live)."""
    live, attack = sum(labels), len(labels) - sum(labels)
    return [
        (sum(y == 0 for y in labels[i:]) / attack, sum(y == 1 for y in labels[:i]) / live)
        for i in range(len(labels) + 1)
    ]


@given(ORDERS)
@example([0, 1, 0, 1])
def test_auc_bounds_hold_for_score_sets(labels):
    auc = roc_auc_score(labels, np.arange(len(labels)))
    points = rates(labels)
    equal = [a for a, r in points if a == r]
    assert equal
    for eer in equal:
        low, high = bounds.auc_range(eer)
        assert low - 1e-12 <= auc <= high + 1e-12
    lowest = min((a + r) / 2 for a, r in points)
    assert auc <= bounds.youden_auc(lowest) + 1e-12


@given(st.integers(1, 9))
def test_auc_bounds_are_reached(n):
    """On each side of the threshold, live above attack gives the most and attack above live the least."""
    for errors in range(n + 1):
        most = [0] * (n - errors) + [1] * errors + [0] * errors + [1] * (n - errors)
        assert roc_auc_score(most, np.arange(2 * n)) == pytest.approx(bounds.auc_range(errors / n)[1])
        least = [1] * errors + [0] * (n - errors) + [1] * (n - errors) + [0] * errors
        assert roc_auc_score(least, np.arange(2 * n)) == pytest.approx(bounds.auc_range(errors / n)[0])


@given(st.integers(1, 40), st.integers(1, 40), st.data())
def test_counts_of_an_hter(live, attack, data):
    accepts, rejects = data.draw(st.integers(0, attack)), data.draw(st.integers(0, live))
    printed = round(50 * (accepts / attack + rejects / live), 2) / 100
    pairs = bounds.hter_counts(printed, live, attack)
    assert (accepts, rejects) in pairs
    brute = {
        (a, r)
        for a in range(attack + 1)
        for r in range(live + 1)
        if abs(50 * (a / attack + r / live) - 100 * printed) <= 0.005 + 1e-9
    }
    assert set(pairs) == brute


@given(st.floats(0.01, 0.99), st.floats(0.01, 0.5), st.floats(0, 0.98))
def test_operating_point_and_its_limit_undo_each_other(tnr, bpcer, live):
    accuracy = (1 - bpcer) * live + (1 - live) * tnr
    assert bounds.tnr_at(accuracy, live, bpcer) == pytest.approx(tnr)
    if abs(1 - bpcer - tnr) > 1e-3:
        assert bounds.live_limit(accuracy, tnr, bpcer) == pytest.approx(live, abs=1e-6)


def test_binormal_auc_and_binomial_tail():
    rng = np.random.default_rng(0)
    scores = np.concatenate([rng.normal(0, 1, 200_000), rng.normal(2 * 0.6122, 1, 200_000)])
    labels = np.repeat([0, 1], 200_000)
    assert bounds.binormal_auc(0.2702) == pytest.approx(roc_auc_score(labels, scores), abs=0.003)
    assert bounds.binomial_tail(2, 3, 0.5) == pytest.approx(0.5)
    assert bounds.binomial_tail(0, 3, 0.5) == pytest.approx(1)


# --- a mistyped digit -------------------------------------------------------------------------------------

# Which printed numbers of a line are in an averaged, weighted or count column.
COLUMNS = {
    "mmfas1": ("mmfas_table1.toml", r"^weighted = ", slice(None)),
    "mmfas2": ("mmfas_table2.toml", r"values = ", slice(0, 1)),
    "mmda1": ("mmda_table1.toml", r"^average = ", slice(None)),
    "mmda2": ("mmda_table2.toml", r"^average = ", slice(None)),
}


def mistypings(field):
    """Every file text with one digit of the field's columns changed, the new digit running through the other nine."""
    name, line_pattern, columns = COLUMNS[field]
    lines = (published.FOLDER / name).read_text(encoding="utf-8").splitlines()
    for i, line in enumerate(lines):
        if not re.search(line_pattern, line) or "[sets]" in line or '["' not in line:
            continue
        start = line.index('["')
        for number in list(re.finditer(r'"([\d.]+)"', line[start:]))[columns]:
            for j in range(start + number.start(1), start + number.end(1)):
                if line[j].isdigit():
                    new = str((int(line[j]) + 1 + (i + j) % 9) % 10)
                    yield "\n".join([*lines[:i], line[:j] + new + line[j + 1 :], *lines[i + 1 :]])


def noticed(field, text, folder):
    """Whether `make audit` fails on this text: refused by the loader, or a finding is not the recorded one.

    Only the claims of the table's own paper are decided; another paper's cannot change.
    """
    path = folder / COLUMNS[field][0]
    path.write_text(text, encoding="utf-8")
    try:
        table = load_flat(path) if field == "mmfas2" else published.load(path)
    except BadInput:
        return True
    n = dataclasses.replace(NUMBERS, **{field: table})
    own = [c for c in ledger.claims(n) if c.id.startswith(field[:-1])]
    return any((f.verdict, f.figure) != RECORDED[c.id] for c in own for f in [c.decide(n)])


@pytest.mark.parametrize(("field", "cells"), [("mmfas1", 33), ("mmfas2", 18), ("mmda1", 30), ("mmda2", 30)])
def test_a_wrong_digit_is_noticed(field, cells, tmp_path):
    """Every digit of the columns, changed once. Measured when written: all are noticed."""
    results = [noticed(field, text, tmp_path) for text in mistypings(field)]
    assert len(results) >= 3 * cells
    assert np.mean(results) >= 0.8, f"{np.mean(results):.1%} of {len(results)} mistyped digits noticed"


# --- the command ------------------------------------------------------------------------------------------


def test_it_runs_quickly_and_without_torch(tmp_path):
    """In a fresh process, as `make audit` runs it."""
    script = (
        "import sys; from paper_tables.audit.__main__ import main; code = main(sys.argv[1:]);"
        "sys.exit(3 if 'torch' in sys.modules else code)"
    )
    outputs = ["--json", tmp_path / "audit.json", "--errata", tmp_path / "ERRATA.md"]
    begun = time.monotonic()
    done = subprocess.run([sys.executable, "-c", script, *outputs], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert time.monotonic() - begun < 10
    records = json.loads((tmp_path / "audit.json").read_text(encoding="utf-8"))
    assert {r["id"] for r in records} == set(RECORDED)
    assert all(r["as_expected"] for r in records)
    counts = Counter((r["paper"], r["verdict"]) for r in records)
    for paper in ("mmFAS", "MMDA"):
        listed = ", ".join(f"{counts[paper, v]} {v}" for v in VERDICTS)
        assert re.search(rf"^{paper}: \d+ claims, {listed}$", done.stdout, re.MULTILINE)
    text = (tmp_path / "ERRATA.md").read_text(encoding="utf-8")
    for r in records:
        assert (f"`{r['id']}`" in text) == (r["verdict"] == "contradicted")
    assert ("## This project\n\nNone known yet." in text) == (not errata.own())


def with_average(row: str, hter: str) -> Numbers:
    """The published numbers with another average HTER in a row of MMDA's Table 1."""
    rows = dict(NUMBERS.mmda1.rows)
    average = {**rows[row].values["average"], "hter": Decimal(hter)}
    rows[row] = dataclasses.replace(rows[row], values={**rows[row].values, "average": average})
    return dataclasses.replace(NUMBERS, mmda1=dataclasses.replace(NUMBERS.mmda1, rows=rows))


def test_a_changed_finding_fails_the_command_and_names_the_cell(monkeypatch, capsys):
    monkeypatch.setattr(command, "read", lambda: with_average("dadm", "13.93"))
    assert command.main([]) == 1
    printed = capsys.readouterr().err
    assert "mmda.t1.average.dadm.hter is contradicted (+0.2975), recorded confirmed (-0.0025)" in printed
    assert "Table 1, DADM [36], Average HTER" in printed


def test_a_changed_figure_fails_the_command_though_the_verdict_stands(monkeypatch, capsys):
    monkeypatch.setattr(command, "read", lambda: with_average("ssdg", "37.33"))
    assert command.main(["--claim", "mmda.t1.average.ssdg.hter"]) == 1
    printed = capsys.readouterr()
    assert "mmda.t1.average.ssdg.hter is contradicted (+3.1075), recorded contradicted (+3.0975)" in printed.err
    assert "recorded   contradicted (+3.0975)" in printed.out


def test_one_claim_is_printed_with_its_computation(capsys):
    assert command.main(["--claim", "mmda.t1.average.iadg.hter"]) == 0
    printed = capsys.readouterr().out
    assert "(27.02 + 23.04 + 32.06 + 39.24) / 4 = 30.3400; printed 39.83" in printed
    assert "outside the range of its own columns" in printed
    assert "mmda.t1.average.ssdg" not in printed


def test_the_committed_errata_are_those_of_the_ledger():
    committed = ROOT / "ERRATA.md"
    assert committed.read_text(encoding="utf-8") == errata.markdown(list(ENTRIES.values()), errata.own()), "make errata"


def test_our_own_errata_are_listed(tmp_path):
    path = tmp_path / "own.toml"
    fields = {"date": "2026-01-02", "place": "README", "was": "1", "is": "2", "found_by": "a reader"}
    path.write_text("[[erratum]]\n" + "".join(f'{k} = "{v}"\n' for k, v in fields.items()), encoding="utf-8")
    text = errata.markdown(list(ENTRIES.values()), errata.own(path))
    assert "* 2026-01-02, README: was 1; is 2 (found by a reader).\n" in text
    assert "None known yet" not in text
    path.write_text('[[erratum]]\ndate = "2026-01-02"\n', encoding="utf-8")
    with pytest.raises(BadInput, match="erratum 1 must have exactly"):
        errata.own(path)


def test_unusable_input_is_refused(tmp_path):
    with pytest.raises(BadInput, match="no such claim"):
        command.main(["--claim", "mmda.nothing"])
    with pytest.raises(BadInput, match=r"claims and recorded findings differ in mmda\.fig3"):
        list(ledger.decide(NUMBERS, {k: v for k, v in RECORDED.items() if k != "mmda.fig3"}))
    bad = tmp_path / "expected.toml"
    bad.write_text('"mmda.fig3" = ["perhaps", "x"]', encoding="utf-8")
    with pytest.raises(BadInput, match=r"mmda\.fig3 must be \[verdict, figure\]"):
        ledger.expected(bad)


@pytest.mark.parametrize(
    ("name", "old", "new", "sentence"),
    [
        ("mmda_table4.toml", '["23.26", "84.92"]', '["23.26"]', "row dense must list 2 numbers: hter, auc"),
        ("mmda_table5.toml", '"9.17"', "9.17", "row smooth, hter holds 9.17"),
        ("mmda_table5.toml", '"9.17"', '"9,17"', "a field is missing or mistyped"),
        ("mmfas_text.toml", 'W = ["pipenet"', 'W = ["pipe"', "bold, W must name one row of Table 1"),
        ("mmda_text.toml", 'value = "12.11", ', "", "a field is missing or mistyped"),
        ("mmfas_table3.toml", "[rows]", "[rows", "not valid TOML"),
    ],
)
def test_a_malformed_table_is_refused(name, old, new, sentence, tmp_path):
    for path in published.FOLDER.glob("*.toml"):
        text = path.read_text(encoding="utf-8")
        if path.name == name:
            assert old in text
            text = text.replace(old, new)
        (tmp_path / path.name).write_text(text, encoding="utf-8")
    with pytest.raises(BadInput, match=re.escape(sentence)) as refused:
        read(tmp_path)
    assert name in str(refused.value)
