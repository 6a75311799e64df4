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
from typing import ClassVar

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from data_manifests.errors import BadInput
from paper_tables.audit import __main__ as command
from paper_tables.audit import bounds, digits, discrepancies, findings, ledger
from paper_tables.audit.claim import KINDS, OBSERVATION, OBSERVED, VERDICTS, Claim, Result, holds, settle
from paper_tables.audit.counts import fits
from paper_tables.audit.mmfas import layers, weights
from paper_tables.audit.mmfas.names import SETS
from paper_tables.audit.mmfas.table2_parameters import readings
from paper_tables.audit.numbers import Numbers, read
from paper_tables.audit.printing import PRINTINGS
from paper_tables.declarations import published

ROOT = Path(__file__).parents[2]
NUMBERS = read()
RECORDED = ledger.expected()
ENTRIES = {e.claim.id: e for e in ledger.decide(NUMBERS, RECORDED)}
RECORDS = findings.records()
FINDINGS = findings.findings(list(ENTRIES.values()), RECORDS)


def finding(claim: str) -> tuple[str, str]:
    return ENTRIES[claim].result.verdict, ENTRIES[claim].result.figure


# --- the ledger -------------------------------------------------------------------------------------------


def test_the_ledger_is_well_formed():
    claims = list(ledger.claims(NUMBERS))
    assert len(claims) >= 150
    assert len({c.id for c in claims}) == len(claims)
    assert {c.kind for c in claims} == set(KINDS)
    for c in claims:
        assert c.says, c.id
        assert c.place, c.id
        f = ENTRIES[c.id].result
        assert f.verdict in VERDICTS, c.id
        assert f.figure, c.id
        assert all(f.computation), c.id
        assert f.computation, c.id
        if f.verdict == "contradicted":
            assert c.explains or c.assumes, f"{c.id} says what is wrong, not what may explain it"
        if f.verdict in ("contradicted", "undetermined"):
            assert c.settles, f"{c.id} does not say what would settle it"


def test_what_is_contradicted_is_so_both_ways_of_printing_a_number():
    """Each is decided anew with every number read as rounded, and with every number read as cut."""
    contradicted = [e.claim for e in ENTRIES.values() if e.result.verdict == "contradicted"]
    assert len(contradicted) > 40
    for printing in PRINTINGS:
        n = dataclasses.replace(NUMBERS, printing=printing)
        assert [c.id for c in contradicted if c.decide(n).verdict != "contradicted"] == []


def test_some_claims_are_contradicted_one_way_alone_and_are_not_called_so():
    """MLP-Mixer's AUC with an HTER of 1.1: 1 − 0.011² = 99.988, which 99.99 stands for if rounded, and not if cut."""
    rows = dict(NUMBERS.mmfas1.rows)
    home = {**rows["mlp_mixer_s16"].values["C"], "hter": Decimal("1.1")}
    rows["mlp_mixer_s16"] = dataclasses.replace(
        rows["mlp_mixer_s16"], values={**rows["mlp_mixer_s16"].values, "C": home}
    )
    n = dataclasses.replace(NUMBERS, mmfas1=dataclasses.replace(NUMBERS.mmfas1, rows=rows))
    claim = ENTRIES["mmfas.t1.eer_auc.mlp_mixer_s16"].claim
    verdicts = {printing: claim.decide(dataclasses.replace(n, printing=printing)).verdict for printing in PRINTINGS}
    assert verdicts == {"rounded": "confirmed", "cut": "contradicted"}
    assert settle(claim, n).verdict == "confirmed"


def a_claim(**fields) -> Claim:
    more = {
        "id": "mmda.x",
        "place": "Table 1",
        "kind": "arithmetic",
        "says": "x",
        "decide": lambda _: holds(False, "0"),
    }
    return Claim(**(more | fields))


def test_a_claim_without_quotation_or_two_printed_numbers_cannot_be_contradicted():
    with pytest.raises(ValueError, match=r"mmda\.x: contradicted, but neither a quotation nor two printed numbers"):
        settle(a_claim(), NUMBERS)
    assert settle(a_claim(quote="four"), NUMBERS).verdict == "contradicted"
    assert settle(a_claim(between="this and that"), NUMBERS).verdict == "contradicted"


def test_every_check_that_could_be_contradicted_names_what_it_compares():
    """A mistyped digit may contradict a claim that is confirmed today."""
    bare = [e for e in ENTRIES.values() if not (e.claim.quote or e.claim.between)]
    assert {e.result.verdict for e in bare} == {"observed", "needs data"}


def test_an_observation_is_never_judged_and_nothing_else_is_observed():
    for claim in (
        a_claim(kind=OBSERVATION, quote="four"),
        a_claim(decide=lambda _: Result(OBSERVED, "0", ("0",))),
    ):
        with pytest.raises(ValueError, match="an observation, and nothing else, is observed"):
            settle(claim, NUMBERS)


def test_nothing_is_contradicted_by_a_formula_that_nobody_here_has_read():
    for e in ENTRIES.values():
        if e.result.verdict == "contradicted":
            assert not re.search(r"Equations? [37]\b", e.claim.place), e.claim.id


def test_code_is_quoted_at_the_commit_before_the_paper():
    quoted = [e for e in ENTRIES.values() if e.claim.id.startswith("mmda.code.")]
    assert len(quoted) > 15
    assert all("murInJ/MMDA at 426262f." in e.result.computation[-1] for e in quoted)


OUTSIDE = {"sizes", "live", "lists", "splits", "mmdg_averages", "released", "code_observations"}


class Watched(Numbers):
    """The published numbers; `touched` holds the names of the fields that were looked at."""

    touched: ClassVar[set[str]] = set()

    def __getattribute__(self, name):
        Watched.touched.add(name)
        return super().__getattribute__(name)


def uses_outside_facts(claim: Claim) -> bool:
    n = Watched(**{f.name: getattr(NUMBERS, f.name) for f in dataclasses.fields(NUMBERS)})
    Watched.touched.clear()
    claim.decide(n)
    return bool(Watched.touched & OUTSIDE)


def test_what_needs_an_outside_fact_says_so():
    outside = [e.claim for e in ENTRIES.values() if uses_outside_facts(e.claim)]
    assert [c.id for c in outside if not c.assumes] == []
    checks = sum(c.kind != OBSERVATION for c in outside)
    method = (ROOT / "paper_tables" / "audit" / "METHOD.md").read_text(encoding="utf-8")
    assert f"{checks} checks and {len(outside) - checks} observations use them" in " ".join(method.split())


# --- the findings -----------------------------------------------------------------------------------------


def test_every_contradicted_check_has_one_finding():
    owners = Counter(e.claim.id for f in FINDINGS for e in f.checks if e.result.verdict == "contradicted")
    assert owners == Counter(e.claim.id for e in ENTRIES.values() if e.result.verdict == "contradicted")
    for finding in FINDINGS:
        assert finding.checks, f"{finding.record.id} rests on no check that is contradicted or undetermined"


def test_every_finding_speaks_for_the_authors():
    for finding in FINDINGS:
        r = finding.record
        assert all((r.title, r.claim, r.place, r.innocent, r.settles)), r.id
        assert re.fullmatch(r"20\d\d-\d\d-\d\d", r.date), r.id
        if finding.verdict == "contradicted":
            assert r.flips, f"{r.id} does not say how far its assumption can move"
    words = " ".join(f.record.title + f.record.innocent for f in FINDINGS).lower()
    for accusation in ("fabricat", "fake", "dishonest", "manipulat", "cheat", "impossible to believe", "misleading"):
        assert accusation not in words


def test_an_answer_makes_a_finding_disputed():
    answered = [dataclasses.replace(r, status="disputed") if r.id == "mmda-frozen" else r for r in RECORDS]
    verdicts = {f.record.id: f.verdict for f in findings.findings(list(ENTRIES.values()), answered)}
    assert verdicts["mmda-frozen"] == "disputed"
    assert verdicts["mmda-imagenet"] == "contradicted"
    assert "`mmda-frozen`, **disputed**" in discrepancies.markdown(
        findings.findings(list(ENTRIES.values()), answered), list(ENTRIES.values()), []
    )


def test_records_that_do_not_cover_the_ledger_are_refused(tmp_path):
    entries = list(ENTRIES.values())
    with pytest.raises(BadInput, match=r"not so mmda\.code\.backbone_frozen"):
        findings.findings(entries, [r for r in RECORDS if r.id != "mmda-frozen"])
    with pytest.raises(BadInput, match=r"not so mmda\.code\.backbone_frozen"):
        findings.findings(entries, [*RECORDS, dataclasses.replace(RECORDS[0], checks=["mmda.code.backbone_frozen"])])
    with pytest.raises(BadInput, match=r"names mmda\.nothing, which no check"):
        findings.findings(entries, [*RECORDS, dataclasses.replace(RECORDS[0], checks=["mmda.nothing"])])
    path, text = tmp_path / "findings.toml", findings.PATH.read_text(encoding="utf-8")
    for old, new, sentence in (
        ('status = "open"', 'status = "proven"', "status must be one of open, disputed, accepted, withdrawn"),
        ('date = "2026-11-27"\n', "", "must have exactly"),
        ('id = "mmfas-mlp-mixer"', 'id = "mmfas-operating-point"', "recorded 2 times"),
        ("[[finding]]", "[[finding", "not a list of"),
    ):
        path.write_text(text.replace(old, new, 1), encoding="utf-8")
        with pytest.raises(BadInput, match=re.escape(sentence)):
            findings.records(path)


def test_every_place_is_one_of_the_paper():
    tables = {"mmFAS": 3, "MMDA": 5}
    figures = {"mmFAS": 7, "MMDA": 6}
    sections = {"mmFAS": {"1", "3", "4", "5"}, "MMDA": {"2.2", "3.2", "3.3", "4", "4.1", "4.2", "4.3"}}
    for c in ledger.claims(NUMBERS):
        own = re.sub(r"\(CVPR 2024, Table 1\)", "", c.place)
        named = re.findall(r"(Table|Figure|Section)s? (\d(?:\.\d)?)", own)
        assert named or own.startswith(("Abstract", "References")), f"{c.id}: {c.place}"
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
        ("mmda.counts.one_model.W", "observed", "68 of at most 68 pairs; 45 if cut"),
        ("mmda.counts.hter.W", "observed", "solutions: 1"),
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
        ("mmda.counts.lattice.W", "observed", "12 of 15"),
        ("mmda.counts.lattice.P", "observed", "10 of 15"),
        ("mmda.t1.average.direction", "observed", "HTER 10 of 11, AUC 8 of 11"),
        # WMCA: 0.3170/0.99 = 32.02 % at most (DeepPixBiS); PipeNet: TNR ≤ 0.5977/0.99, so that at least 36.9 % are live
        ("mmfas.t1.one_share.W", "contradicted", "at most 32.0%, at least 36.9% to 73.1%"),
        ("mmfas.t1.one_share.H", "contradicted", "at most 23.6%, at least 27.7% to 48.9%"),
        ("mmfas.t1.one_share.S", "undetermined", "23.2% to 30.5% fits all"),
        # 1546 and 1545 of 2024 are 76.383 % and 76.334 %
        ("mmfas.t1.one_image", "observed", "1 image"),
        ("mmfas.t1.cut", "observed", "cut 2024, rounded 5767"),
        ("mmda.t1.average.one_digit", "observed", "3 of 28"),
        ("mmda.text.flip_citation", "contradicted", "[22], is [31]"),
        ("mmda.text.md2a_table", "undetermined", "Table 5, is Table 4"),
        ("mmfas.t1.bold.C.auc", "undetermined", "9 rows at 99.99"),
        # 0.22318 · 99.9 + 0.38009 · 69.57 + 0.38740 · 79.33 + 0.00933 · 76.7 = 80.19
        ("mmfas.t1.constant_predictor", "observed", "80.19 against 79.24"),
        ("mmfas.t1.identical_cells", "observed", "4 cells alike, other pairs 1"),
        # 1 − 0.5770² = 66.71, printed 66.17
        ("mmfas.t1.flexmodal_shape", "observed", "0.54 below the maximum"),
        ("mmfas.t2.parameters.sa", "undetermined", "+1.763 M; with self-attention"),
        ("mmfas.t2.alignment_drop.most", "confirmed", "17.74"),
        ("mmfas.t2.switch_without_alignment.ca", "contradicted", "-9.50"),
        ("mmfas.t2.mining", "undetermined", "-4.26"),
        ("mmfas.text.worse_than_random.deeppixbis", "undetermined", "AUC 54.47, HTER 49.66, Acc 30.15"),
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
        if re.fullmatch(rf"mmda\.{table}\.average\.\w+\.(hter|auc)", claim) and e.result.verdict == "contradicted"
    )
    assert wrong == {("t1", "hter"): 11, ("t1", "auc"): 12, ("t2", "hter"): 2, ("t2", "auc"): 3}


def test_true_ranking_of_mmda_table_1():
    listing = " ".join(ENTRIES["mmda.t1.ranking.hter"].result.computation)
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
    last = {row: list(readings(NUMBERS, row).values())[-1] for row in ("r", "rd", "rdi", "sa", "ca", "ma")}
    assert last == {
        "r": 2_916_187, "rd": 5_758_933, "rdi": 8_601_679, "sa": 15_627_619, "ca": 29_660_059, "ma": 56_108_449,
    }  # fmt: skip
    assert next(iter(readings(NUMBERS, "sa").values())) == 8_601_679 + 6 * block


def test_the_accuracies_of_hq_wmca_are_shares_of_2024_images():
    """By brute force over all shares: 2,024 images fit when cut; the least number that fits when rounded is 5,767."""
    printed = {row.values["H"]["accuracy"] for row in NUMBERS.mmfas1.rows.values()}
    assert len(printed) == 10
    shares = {Decimal(10_000 * k // 2024) / 100 for k in range(2025)}
    assert printed <= shares
    assert 10_000 * 472 // 2024 == 2332
    for total in (2024, 5766):
        rounded = {round(Decimal(100 * k) / total, 2) for k in range(total + 1)}
        assert not printed <= rounded
    assert printed <= {round(Decimal(100 * k) / 5767, 2) for k in range(5768)}


@given(st.integers(1, 400), st.integers(1, 400), st.booleans())
def test_the_number_of_images_is_found_from_printed_shares(total, k, cut):
    right = min(k, total)
    share = Decimal(100 * right) / total
    printed = share.quantize(Decimal("0.01"), "ROUND_DOWN" if cut else "ROUND_HALF_UP")
    assert fits({printed}, total, "cut" if cut else "rounded")


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
    pairs = list(bounds.hter_counts((printed - 0.00005, printed + 0.00005), live, attack))
    assert (accepts, rejects) in pairs
    brute = {
        (a, r)
        for a in range(attack + 1)
        for r in range(live + 1)
        if abs(50 * (a / attack + r / live) - 100 * printed) <= 0.005 + 1e-9
    }
    assert set(pairs) == brute


@given(ORDERS, st.data())
@example([1, 0, 0, 1], None)
def test_the_live_share_of_a_score_set_is_among_those_allowed(labels, data):
    """Any threshold of any score set: its accuracy, EER and AUC allow the share of live samples that it has."""
    points = rates(labels)
    eer = next(a for a, r in points if a == r)
    auc = roc_auc_score(labels, np.arange(len(labels)))
    live = sum(labels) / len(labels)
    chosen = points if data is None else [data.draw(st.sampled_from(points))]
    for accepts, rejects in chosen:
        if rejects < 1:
            accuracy = (1 - rejects) * live + (1 - accepts) * (1 - live)
            low, high = bounds.live_shares((accuracy,) * 2, (eer,) * 2, (auc,) * 2, (rejects,) * 2)
            assert low - 1e-9 <= live <= high + 1e-9


def test_live_shares_worked_out_by_hand():
    """FeatherNet on CeFa: 1 − 0.01 L ≥ 0.99985 leaves L ≤ 1.5 %. DeepPixBiS there: 1 − 0.01 L ≤ 0.99675 + f."""
    low, high = bounds.live_shares((0.99985, 0.99995), (0.0000105, 0.0000115), (0.99985, 0.99995), (0.01, 0.01))
    assert high == pytest.approx(0.015)
    low, high = bounds.live_shares((0.99665, 0.99675), (0.5e-6, 1.5e-6), (0.99985, 0.99995), (0.01, 0.01))
    assert [low, high] == pytest.approx([0.325, 0.335], abs=2e-4)
    low, high = bounds.live_shares((0.9, 0.9), (0.4, 0.4), (0.3, 0.3), (0.01, 0.01))
    assert low > 0.85


def test_sampling_error_of_an_hter():
    """Against simulation: 200 bona fide and 500 attacks, both rates 0.1."""
    rng = np.random.default_rng(0)
    hters = (rng.binomial(200, 0.1, 40_000) / 200 + rng.binomial(500, 0.1, 40_000) / 500) / 2
    assert bounds.sampling_error(0.1, 200, 500) == pytest.approx(hters.std(), rel=0.02)


def test_binormal_auc_and_binomial_tail():
    rng = np.random.default_rng(0)
    scores = np.concatenate([rng.normal(0, 1, 200_000), rng.normal(2 * 0.6122, 1, 200_000)])
    labels = np.repeat([0, 1], 200_000)
    assert bounds.binormal_auc(0.2702) == pytest.approx(roc_auc_score(labels, scores), abs=0.003)
    assert bounds.binomial_tail(2, 3, 0.5) == pytest.approx(0.5)
    assert bounds.binomial_tail(0, 3, 0.5) == pytest.approx(1)


# --- a mistyped digit -------------------------------------------------------------------------------------

# In each file, of a sample of its digits: at least this share of changes is caught by the papers' other numbers. All
# others are noticed because a figure differs. `python -m paper_tables.audit.digits` measures all digits.
CAUGHT = {"mmfas_table1": 0.85, "mmda_table1": 0.65, "mmda_table2": 0.65, "mmda_table3": 0.2, "mmda_text": 1}


@pytest.mark.parametrize("name", CAUGHT)
def test_a_wrong_digit_is_noticed(name):
    changed = list(digits.changes(f"{name}.toml"))
    sample = changed[:: max(1, len(changed) // 25)]
    outcomes = Counter(digits.outcome(c) for c in sample)
    assert outcomes["caught"] >= CAUGHT[name] * len(sample), outcomes
    assert outcomes["caught"] + outcomes["recorded"] == len(sample), outcomes


def test_some_digits_nothing_can_check():
    """As README says: the MmFA accuracy of a row without attention stands beside no other number."""
    alone = [c for c in digits.changes("mmfas_table2.toml") if c.where.startswith("ri, number 2")]
    assert [digits.outcome(c) for c in alone] == ["unnoticed"] * 4


def test_every_digit_of_the_averaged_columns_is_caught_by_the_others():
    """An average that is the mean of its columns: any change of a digit before the last makes it wrong."""
    lines = [c for c in digits.changes("mmda_table2.toml") if c.where.startswith("dadm average")]
    assert len(lines) == 8
    coarse = [c for c in lines if c.where.split(" as ")[1][:-1] not in ("21.6", "84.8")]
    assert len(coarse) == 6
    assert all(digits.outcome(c) == "caught" for c in coarse)


def test_every_number_is_changed_digit_by_digit():
    changed = list(digits.changes("mmda_table5.toml"))
    cells = [str(x) for row in NUMBERS.mmda5.values.values() for x in row.values()]
    assert len(changed) == sum(ch.isdigit() for cell in cells for ch in cell)
    original = (published.FOLDER / "mmda_table5.toml").read_text(encoding="utf-8").rstrip("\n")
    for c in changed:
        assert sum(a != b for a, b in zip(c.text, original, strict=True)) == 1


# --- the command ------------------------------------------------------------------------------------------


def test_it_runs_quickly_and_without_torch(tmp_path):
    """In a fresh process, as `make audit` runs it."""
    script = (
        "import sys; from paper_tables.audit.__main__ import main; code = main(sys.argv[1:]);"
        "sys.exit(3 if 'torch' in sys.modules else code)"
    )
    outputs = ["--json", tmp_path / "audit.json", "--discrepancies", tmp_path / "D.md"]
    begun = time.monotonic()
    done = subprocess.run([sys.executable, "-c", script, *outputs], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert time.monotonic() - begun < 10
    layers = json.loads((tmp_path / "audit.json").read_text(encoding="utf-8"))
    records = layers["checks"] + layers["observations"]
    assert {r["id"] for r in records} == set(RECORDED)
    assert all(r["as_expected"] for r in records)
    assert [f["id"] for f in layers["findings"]] == [f.record.id for f in FINDINGS]
    assert {r["verdict"] for r in layers["observations"]} == {"observed"}
    assert "observed" not in {r["verdict"] for r in layers["checks"]}
    counts = Counter((r["paper"], r["verdict"]) for r in records)
    for paper in ("mmFAS", "MMDA"):
        listed = ", ".join(
            f"{counts[paper, v]} {v}" for v in ("confirmed", "contradicted", "undetermined", "needs data")
        )
        assert re.search(rf"^{paper}: \d+ findings \(.*\) from \d+ checks \({listed}\); ", done.stdout, re.MULTILINE)
    text = (tmp_path / "D.md").read_text(encoding="utf-8")
    for r in records:
        if r["verdict"] in ("contradicted", "observed"):
            assert f"`{r['id']}`" in text
    assert text.index("## This project's own errors") < text.index("## mmFAS") < text.index("## MMDA")


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


def test_one_finding_is_printed_with_its_checks(capsys):
    assert command.main(["--claim", "mmda-average-auc"]) == 0
    printed = capsys.readouterr().out
    assert "Most innocent explanation: one mistyped digit." in printed
    assert "(99.99 + 98.62 + 98.58 + 98.18) / 4 = 98.8425; printed 98.94" in printed


def test_the_committed_pages_are_those_of_the_ledger():
    entries = list(ENTRIES.values())
    page = discrepancies.markdown(FINDINGS, entries, discrepancies.own())
    assert (ROOT / "DISCREPANCIES.md").read_text(encoding="utf-8") == page, "make discrepancies"
    ledger = (ROOT / "paper_tables" / "audit" / "ledger.json").read_bytes()
    assert ledger == command.as_json(FINDINGS, entries), "make discrepancies"


def test_what_is_said_of_the_ledger_is_its_count():
    entries = list(ENTRIES.values())
    readme = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    for paper in ("mmFAS", "MMDA"):
        said = re.match(r".* checks", findings.counted(FINDINGS, entries, paper))[0]
        assert f"{paper}: {said}" in readme, paper


def test_our_own_errors_are_listed(tmp_path):
    path = tmp_path / "own.toml"
    fields = {"date": "2026-01-02", "place": "README", "was": "1", "is": "2", "found_by": "a reader"}
    path.write_text("[[error]]\n" + "".join(f'{k} = "{v}"\n' for k, v in fields.items()), encoding="utf-8")
    text = discrepancies.markdown(FINDINGS, list(ENTRIES.values()), discrepancies.own(path))
    assert "* 2026-01-02, README: was 1; is 2 (found by a reader).\n" in text
    assert "None known yet" not in text
    assert "None known yet" in discrepancies.markdown([], [], [])
    path.write_text('[[error]]\ndate = "2026-01-02"\n', encoding="utf-8")
    with pytest.raises(BadInput, match="error 1 must have exactly"):
        discrepancies.own(path)


def test_the_release_is_described_alike_everywhere():
    version = re.search(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text(encoding="utf-8"), re.MULTILINE)[1]
    changed = re.search(r"^## (\S+), (\S+)$", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    cited = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    deposit = json.loads((ROOT / ".zenodo.json").read_text(encoding="utf-8"))
    assert changed.groups() == (version, deposit["publication_date"])
    assert f"version: {version}\n" in cited
    assert f'date-released: "{changed[2]}"\n' in cited
    assert deposit["version"] == version
    assert all(x["identifier"].split(":")[-1] in cited for x in deposit["related_identifiers"])


def test_unusable_input_is_refused(tmp_path):
    with pytest.raises(BadInput, match="no such claim or finding"):
        command.main(["--claim", "mmda.nothing"])
    with pytest.raises(BadInput, match=r"claims and recorded results differ in mmda\.fig3"):
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
        ("mmda_text.toml", 'value = "80"', 'value = "81"', "epochs, 81, does not stand in its quotation"),
        ("mmfas_text.toml", 'value = "30"', 'value = "3"', "epochs, 3, does not stand in its quotation"),
        ("mmfas_text.toml", 'order = "rdi"', "", "a field is missing or mistyped"),
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
