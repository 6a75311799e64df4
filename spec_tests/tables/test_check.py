"""`check`: a table that can be true is never contradicted, one that cannot be is, and files are read as printed."""

import json
import re
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from data_manifests.errors import BadInput
from paper_tables.audit import __main__ as audit
from paper_tables.audit import bounds, comparisons, counts, ledger, printing, weights
from paper_tables.audit.check import cells, command, headings, papers, reading
from paper_tables.audit.numbers import read

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "paper_tables" / "audit" / "check"
EXAMPLES = sorted((FOLDER / "examples").glob("*.toml"))
ENTRIES = {e.claim.id: e for e in ledger.decide(read(), ledger.expected())}
WAYS = ("rounded up at a tie", "rounded to even at a tie", "cut")


def toml(columns, rows, **more) -> str:
    """A table of percentages as text; `more` are further keys, each a TOML value."""
    unit = ", ".join(f'"{column}" = "percent"' for column in columns)
    lines = [f"columns = {json.dumps(columns)}", f"rows = {json.dumps(rows)}", f"unit = {{ {unit} }}"]
    return "\n".join([*lines, *(f"{key} = {value}" for key, value in more.items())])


def decided(text: str) -> dict[str, command.Checked]:
    return {x.claim.id: x for x in command.check(reading.from_toml(text, "t.toml", Path()))}


def verdicts(text: str) -> dict[str, str]:
    return {name: x.result.verdict for name, x in decided(text).items()}


def contradicted(text: str) -> list[str]:
    return [name for name, verdict in verdicts(text).items() if verdict == "contradicted"]


def printed(share: Fraction, decimals: int, way: str) -> str:
    """A share as a percentage with so many decimals."""
    scaled = 100 * share * 10**decimals
    whole = scaled.numerator // scaled.denominator
    rest = scaled - whole
    if way != "cut" and (rest > Fraction(1, 2) or (rest == Fraction(1, 2) and (way == WAYS[0] or whole % 2))):
        whole += 1
    return str(Decimal(whole).scaleb(-decimals))


# --- what can be true is never contradicted ----------------------------------------------------------------


def rates(live, attack, threshold):
    """(false accept rate, false reject rate) where a score is accepted if it reaches the threshold."""
    return (
        Fraction(sum(x >= threshold for x in attack), len(attack)),
        Fraction(sum(x < threshold for x in live), len(live)),
    )


def area(live, attack):
    """The AUC, pair by pair."""
    return Fraction(sum(2 * (a > b) + (a == b) for a in live for b in attack), 2 * len(live) * len(attack))


RULES = {
    "eer": lambda points: min(points, key=lambda p: abs(p[0] - p[1])),
    "lowest": lambda points: min(points, key=sum),
    "fixed": lambda points: points[len(points) // 3],
}
METRICS = ("HTER", "AUC", "Acc", "APCER", "BPCER", "ACER", "EER", "FAR", "FRR")


def measured(live, attack, rule):
    """All metrics of one score set, exactly, in the order of METRICS."""
    points = [rates(live, attack, x) for x in [*sorted({*live, *attack}), np.inf]]
    accepts, rejects = RULES[rule](points)
    right = (1 - accepts) * len(attack) + (1 - rejects) * len(live)
    half, equal = (accepts + rejects) / 2, sum(RULES["eer"](points)) / 2
    share = right / (len(attack) + len(live))
    return [half, area(live, attack), share, accepts, rejects, half, equal, accepts, rejects]


SCORES = st.integers(0, 12)
SIZES = st.integers(1, 9)


@given(st.data())
def test_what_comes_from_scores_is_never_contradicted(data):
    """Two sets and their average, two to four methods; every statement is true and stated."""
    rule, way, decimals = (
        data.draw(st.sampled_from([*RULES])),
        data.draw(st.sampled_from(WAYS)),
        data.draw(st.integers(0, 4)),
    )
    sizes = {s: (data.draw(SIZES), data.draw(SIZES)) for s in ("A", "B")}
    columns = [f"{s} {m}" for s in ("A", "B", "Mean") for m in METRICS]
    exact = []
    for _ in range(data.draw(st.integers(2, 4))):
        row = []
        for live, attack in sizes.values():
            draw = [data.draw(st.lists(SCORES, min_size=n, max_size=n)) for n in (live, attack)]
            row += measured(*draw, rule)
        exact.append(row + [(row[i] + row[i + len(METRICS)]) / 2 for i in range(len(METRICS))])
    rows = [[f"row {i}", *(printed(x, decimals, way) for x in row)] for i, row in enumerate(exact)]
    place = 2 * len(METRICS)
    over, ours = exact[1][place], exact[0][place]
    gain = printed(max(over - ours, Fraction(0)), decimals, way)
    sentence = f'quote = "{gain} lower", value = "{gain}", row = "row 0", column = "Mean HTER", over = "row 1"'
    for i in range(1, len(columns) + 1):
        column = [Decimal(row[i]) for row in rows]
        best = min(column) if columns[i - 1].split()[1] not in ("AUC", "Acc") else max(column)
        for row in rows:
            row[i] = f"**{row[i]}**" if Decimal(row[i].strip("*")) == best else row[i]
    text = toml(
        columns,
        rows,
        averages='{ Mean = { of = ["A", "B"], weights = "equal" } }',
        counts="{ " + ", ".join(f"{s} = {{ bonafide = {a}, attack = {b} }}" for s, (a, b) in sizes.items()) + " }",
        states=f'{{ hter = "{rule}", half_sums = true, bold = "best", same_samples = true }}',
        **({"gain": f"[{{ {sentence} }}]"} if ours <= over else {}),
    )
    assert contradicted(text) == []


@given(st.integers(100, 160), st.integers(100, 160), st.data())
def test_the_extremes_of_the_roc_curve_are_not_contradicted(live, attack, data):
    """With 100 samples of a class or more, at the corners that bound the AUC, counts stated or not."""
    rejects, accepts = data.draw(st.integers(0, live)), 0
    accepts = round(rejects * attack / live)
    low, high = [0] * (attack - accepts), [1] * (live - rejects)
    most, least = low + [1] * rejects + [0] * accepts + high, [1] * rejects + low + high + [0] * accepts
    for order in (most, least):
        scores = {y: [i for i, x in enumerate(order) if x == y] for y in (0, 1)}
        row = measured(scores[1], scores[0], "eer")[:2]
        for way, decimals, stated in product(WAYS, (1, 3), (True, False)):
            more = {"counts": f'{{ "" = {{ bonafide = {live}, attack = {attack} }} }}'} if stated else {}
            cell = [printed(x, decimals, way) for x in row]
            states = '{ hter = "eer", each_class = 100 }'
            assert contradicted(toml(["HTER", "AUC"], [["a", *cell]], states=states, **more)) == []


@given(st.integers(3, 14), st.integers(3, 14), st.sampled_from(WAYS), st.data())
def test_accuracies_at_one_operating_point_are_not_contradicted(live, attack, way, data):
    """Rows of one set, each at the threshold that rejects the same number of bona fide samples."""
    rejected = data.draw(st.integers(0, live - 1))
    rows = []
    for i in range(3):
        order = data.draw(st.permutations([0] * attack + [1] * live))
        scores = {y: [k for k, x in enumerate(order) if x == y] for y in (0, 1)}
        accepts, rejects = rates(scores[1], scores[0], scores[1][rejected])
        right = (1 - accepts) * attack + (1 - rejects) * live
        hter, auc = measured(scores[1], scores[0], "eer")[:2]
        rows.append([f"row {i}", *(printed(x, 2, way) for x in (right / (live + attack), hter, auc))])
    point = printed(Fraction(rejected, live), 2, way)
    for counted in ({}, {"counts": f'{{ "" = {{ bonafide = {live}, attack = {attack} }} }}'}):
        states = f'{{ hter = "eer", same_samples = true, accuracy = {{ bpcer = "{point}" }} }}'
        assert contradicted(toml(["Acc", "HTER", "AUC"], rows, states=states, **counted)) == []
    if rejected > 0:
        two = [[row[0], row[1], row[3]] for row in rows]
        assert contradicted(toml([f"Acc@FRR={point}%", "AUC"], two, states="{ same_samples = true }")) == []


@given(st.integers(1, 12), st.integers(1, 12), st.sampled_from(WAYS), st.data())
@example(2, 3, WAYS[0], None)
def test_a_point_of_the_roc_curve_is_not_contradicted(live, attack, way, data):
    order = data.draw(st.permutations([0] * attack + [1] * live)) if data else [0, 1, 0, 1, 0]
    scores = {y: [k for k, x in enumerate(order) if x == y] for y in (0, 1)}
    for threshold in range(len(order)):
        accepts, rejects = rates(scores[1], scores[0], threshold)
        far, tpr, auc = (printed(x, 2, way) for x in (accepts, 1 - rejects, area(scores[1], scores[0])))
        if 0 < Decimal(far) < 100:
            text = toml([f"TPR@FPR={far}%", "AUC"], [["a", tpr, auc]])
            assert verdicts(text)[f"auc/a/TPR@FPR={far}%"] == "confirmed"


# --- what cannot be is ---------------------------------------------------------------------------------------


def can_be(value: Decimal, share: Fraction) -> bool:
    """The share, as a percentage, prints as the value: rounded either way at a tie, or cut, also a hair below."""
    unit = Fraction(printing.unit(value))
    return Fraction(value) - unit / 2 <= 100 * share <= Fraction(value) + unit


@given(st.integers(1, 40), st.integers(0, 10_000), st.integers(0, 2))
def test_a_rate_that_no_count_gives_is_found(total, hundredths, decimals):
    value = Decimal(hundredths).scaleb(-2).quantize(Decimal(1).scaleb(-decimals))
    text = toml(
        ["BPCER"],
        [["a", str(value)]],
        counts=f'{{ "" = {{ bonafide = {total} }} }}',
        states="{ same_samples = true }",
    )
    possible = any(can_be(value, Fraction(k, total)) for k in range(total + 1))
    assert verdicts(text)["counts/a/BPCER"] == ("confirmed" if possible else "contradicted")


@given(st.integers(1, 14), st.integers(1, 14), st.integers(0, 10_000))
@example(1, 1, 4999)
def test_an_hter_that_no_pair_of_counts_gives_is_found(live, attack, hundredths):
    value = Decimal(hundredths).scaleb(-2)
    for metric, rule in (("HTER", "fixed"), ("HTER", "eer"), ("ACER", "fixed")):
        text = toml(
            [metric],
            [["a", str(value)]],
            counts=f'{{ "" = {{ bonafide = {live}, attack = {attack} }} }}',
            states=f'{{ hter = "{rule}", same_samples = true }}',
        )
        pairs = product(range(attack + 1), range(live + 1))
        possible = any(can_be(value, Fraction(a, 2 * attack) + Fraction(r, 2 * live)) for a, r in pairs)
        impossible = "undetermined" if (metric, rule) == ("HTER", "eer") else "contradicted"
        assert verdicts(text)[f"counts/a/{metric}"] == ("confirmed" if possible else impossible)


def test_a_rate_that_may_be_interpolated_or_of_other_samples_is_not_accused():
    """2,993 of 2,994 is 99.966600 %; the 99.9668 that FeatherNets prints was read off an interpolated ROC curve."""
    count = '{ "" = { bonafide = 2994, attack = 6614 } }'
    rows = [["a", "99.9668"]]
    same = "{ same_samples = true }"
    assert verdicts(toml(["TPR@FPR=1%"], rows, counts=count, states=same))["counts/a/TPR@FPR=1%"] == "undetermined"
    assert verdicts(toml(["TPR"], rows, counts=count, states=same))["counts/a/TPR"] == "contradicted"
    assert verdicts(toml(["TPR"], rows, counts=count))["counts/a/TPR"] == "undetermined"


def test_a_rate_is_said_to_be_rounded_or_cut():
    """2 of 3 is 66.666…: 66.67 if rounded, 66.66 if cut; 3 of 4 is 75.00 both ways."""

    def line(value, total):
        text = toml(["BPCER"], [["a", value]], counts=f'{{ "" = {{ bonafide = {total} }} }}')
        return decided(text)["counts/a/BPCER"].result.computation[1]

    assert line("66.67", 3) == "Read as rounded 2 of 3, as cut none."
    assert line("66.66", 3) == "Read as rounded none, as cut 2 of 3."
    assert line("75.00", 4) == "Read as rounded 3 of 4, as cut 3 of 4."


def test_apcer_may_be_of_one_kind_of_attack():
    def verdict(value, families):
        count = f'{{ "" = {{ bonafide = 50, families = {families} }} }}'
        text = toml(["APCER"], [["a", value]], counts=count, states="{ same_samples = true }")
        return verdicts(text)["counts/a/APCER"]

    assert verdict("14.29", "{ print = 7, replay = 93 }") == "confirmed"  # 1 of 7
    assert verdict("14.29", "{ print = 10, replay = 90 }") == "contradicted"
    assert verdict("3.00", "{ print = 7, replay = 93 }") == "confirmed"  # 3 of 100


@given(st.lists(st.integers(0, 10_000), min_size=2, max_size=5), st.integers(-3, 3) | st.integers(-400, 400), st.data())
def test_an_average_is_held_to_its_columns(hundredths, off, data):
    """Off by a unit at most it may be rounded or cut, up to 1.5 units if some were rounded and others cut."""
    parts = [Fraction(x, 100) for x in hundredths]
    share = [Fraction(data.draw(st.integers(1, 9))) for _ in parts]
    mean = sum(w * x for w, x in zip(share, parts, strict=True)) / sum(share)
    value = (Decimal(round(mean * 100)) + off).scaleb(-2)
    assume(0 <= value <= 100)
    columns = [f"S{i} HTER" for i in range(len(parts))]
    row = ["a", *(str(Decimal(x).scaleb(-2)) for x in hundredths), str(value)]
    of = json.dumps([c.split()[0] for c in columns])
    stated = "{ " + ", ".join(f"S{i} = {w}" for i, w in enumerate(share)) + " }"
    text = toml([*columns, "Avg HTER"], [row], averages=f"{{ Avg = {{ of = {of}, weights = {stated} }} }}")
    gap = abs(Fraction(value) - mean)
    verdict = verdicts(text)["average/a/Avg HTER"]
    assert verdict == ("confirmed" if gap <= Fraction(15, 1000) else "contradicted")


def test_an_average_that_only_its_heading_names_decides_nothing():
    rows = [["a", "1.00", "2.00", "9.00"]]
    found = decided(toml(["A EER", "B EER", "Average EER"], rows))["average/a/Average EER"]
    assert found.result.verdict == "undetermined"
    assert "means the plain mean of A, B" in found.claim.assumes
    stated = toml(
        ["A EER", "B EER", "Average EER"], rows, averages='{ Average = { of = ["A", "B"], weights = "equal" } }'
    )
    assert contradicted(stated) == ["average/a/Average EER"]
    assert "no weights give it" in " ".join(decided(stated)["average/a/Average EER"].result.computation)


def test_an_average_weighted_by_samples():
    """(30 · 10 + 10 · 20) / 40 = 12.5."""
    counted = "{ A = { samples = 30 }, B = { bonafide = 4, attack = 6 } }"
    weighted = '{ Avg = { of = ["A", "B"], weights = "samples" } }'
    for value, verdict in (("12.50", "confirmed"), ("15.00", "contradicted")):
        rows = [["a", "10.00", "20.00", value]]
        found = decided(toml(["A EER", "B EER", "Avg EER"], rows, averages=weighted, counts=counted))
        result = found["average/a/Avg EER"].result
        assert result.verdict == verdict
        assert result.computation[0].startswith("(30 × 10.00 + 10 × 20.00) / 40 = 12.5000")


def test_what_holds_only_if_numbers_were_cut_says_so():
    """(1.00 + 1.03) / 2 = 1.015: 1.00 is 1.5 units below it, which takes cells rounded and an average cut."""
    rows = [["a", "1.00", "1.03", "1.00"], ["b", "50.00", "50.00", "50.00"]]
    text = toml(["A EER", "B EER", "Avg EER"], rows, averages='{ Avg = { of = ["A", "B"], weights = "equal" } }')
    found = decided(text)["average/a/Avg EER"].result
    assert found.verdict == "confirmed"
    assert found.computation[-1].startswith("Not so if every number was rounded")
    assert not any("Not so" in x for x in decided(text)["average/b/Avg EER"].result.computation)


@given(st.integers(2, 4), st.integers(0, 2**32 - 1), st.booleans())
def test_weights_behind_averages_are_found(sets, seed, cut):
    rng = np.random.default_rng(seed)
    true = rng.dirichlet(np.ones(sets))
    exact = rng.uniform(0, 100, (8, sets))
    means = exact @ true
    show = (lambda x: np.floor(x * 100) / 100) if cut else (lambda x: np.round(x, 2))
    names = [f"S{i}" for i in range(sets)]
    rows = [
        [f"row {i}", *(f"{x:.2f}" for x in show(own)), f"{show(mean):.2f}"]
        for i, (own, mean) in enumerate(zip(exact, means, strict=True))
    ]
    columns = [*(f"{s} EER" for s in names), "W EER"]

    def text(own):
        stated = f'{{ W = {{ of = {json.dumps(names)}, weights = "unknown" }} }}'
        return toml(columns, own, averages=stated, states="{ same_samples = true }")

    found = decided(text(rows))["weights/W"].result
    assert found.verdict == "confirmed"
    bounds_of = re.findall(r"S\d ([\d.-]+) to ([\d.-]+)", found.figure)
    for (low, high), weight in zip(bounds_of, true, strict=True):
        assert float(low) - 1e-4 <= weight <= float(high) + 1e-4
    beyond = [[*row[:-1], row[-1]] for row in rows]
    beyond[0][-1] = f"{min(100.0, exact[0].max() + 1):.2f}"
    assume(exact[0].max() < 98)
    assert {"average/row 0/W EER", "weights/W"} <= set(contradicted(text(beyond)))


def test_weights_that_explain_failing_means_are_named():
    """By the images: (3 · 10 + 1 · 20) / 4 = 12.5 and so on; the plain mean fails, weights 0.75 and 0.25 do not."""
    rows = [["a", "10.00", "20.00", "12.50"], ["b", "30.00", "10.00", "25.00"], ["c", "5.00", "45.00", "15.00"]]
    found = decided(
        toml(["A EER", "B EER", "Avg EER"], rows, averages='{ Avg = { of = ["A", "B"], weights = "equal" } }')
    )
    assert found["average/a/Avg EER"].result.verdict == "contradicted"
    low, high = map(float, re.match(r"A ([\d.]+) to ([\d.]+)", found["weights/Avg"].result.figure).groups())
    assert low <= 0.75 <= high <= 0.752
    assert found["weights/Avg"].result.verdict == "observed"
    true = decided(toml(["A EER", "B EER", "Avg EER"], [["a", "10.00", "20.00", "15.00"]]))
    assert "weights/Avg" not in true


@pytest.mark.parametrize(
    ("hter", "auc", "states", "verdict"),
    [
        ("1.39", "99.99", '{ hter = "eer", each_class = 100 }', "contradicted"),  # 1 − 0.0139² = 99.981
        ("1.39", "99.99", '{ hter = "eer" }', "undetermined"),
        ("1.39", "99.99", '{ hter = "eer", each_class = 40 }', "confirmed"),  # the corner may be 0.025² / 4 smaller
        ("1.39", "99.99", '{ hter = "eer", each_class = 99 }', "undetermined"),
        ("1.39", "99.99", "{ each_class = 100 }", "undetermined"),
        ("1.39", "99.99", "{}", "undetermined"),
        ("1.39", "99.99", '{ hter = "fixed" }', "confirmed"),
        ("20.00", "55.00", '{ hter = "fixed" }', "contradicted"),  # at least 1 − 2 · 0.2
        ("20.00", "55.00", "{}", "contradicted"),
        ("20.00", "61.00", '{ hter = "fixed" }', "confirmed"),
        ("20.00", "61.00", '{ hter = "eer", each_class = 100 }', "contradicted"),  # at least 0.8² = 64
        ("20.00", "61.00", "{}", "undetermined"),
        ("80.73", "73.60", "{}", "contradicted"),  # at most 2 − 2 · 0.8073 = 38.54
        ("20.00", "94.00", '{ hter = "lowest" }', "contradicted"),  # at most 1 − 2 · 0.2² = 92
        ("20.00", "94.00", '{ hter = "eer" }', "confirmed"),
    ],
)
def test_hter_beside_auc(hter, auc, states, verdict):
    assert verdicts(toml(["HTER", "AUC"], [["a", hter, auc]], states=states))["auc/a/HTER"] == verdict


def test_few_samples_leave_the_bound_of_equal_errors_open():
    """One live sample ranked between two attacks: the nearest rates, 1/2 and 0, make an EER of 25 %; the AUC is 50."""

    def text(more):
        return toml(["EER", "AUC"], [["a", "25.00", "50.00"]], **more)

    assert verdicts(text({}))["auc/a/EER"] == "undetermined"
    assert verdicts(text({"states": "{ each_class = 100 }"}))["auc/a/EER"] == "contradicted"
    few = {"counts": '{ "" = { bonafide = 1, attack = 2 } }'}
    assert verdicts(text(few))["auc/a/EER"] == "confirmed"
    some = {"counts": '{ "" = { bonafide = 99, attack = 200 } }'}
    assert verdicts(text(some))["auc/a/EER"] == "undetermined"
    assert verdicts(text({"counts": '{ "" = { bonafide = 100, attack = 200 } }'}))["auc/a/EER"] == "contradicted"


@pytest.mark.parametrize(
    ("cells_of_a_row", "states", "verdict"),
    [
        (["1.73", "1.58", "1.65"], "{ half_sums = true }", "confirmed"),
        (["1.73", "1.58", "1.66"], "{ half_sums = true }", "confirmed"),
        (["1.73", "1.58", "1.68"], "{ half_sums = true }", "contradicted"),
        (["1.73", "1.58", "1.68"], "{}", "undetermined"),
        (["8.7±4.5", "5.3±2.3", "6.3±2.2"], "{ half_sums = true }", "contradicted"),
    ],
)
def test_acer_is_half_the_sum(cells_of_a_row, states, verdict):
    text = toml(["APCER", "BPCER", "ACER"], [["a", *cells_of_a_row]], states=states)
    assert verdicts(text)["half sum/a/ACER"] == verdict


def test_accuracies_that_no_share_fits():
    """At BPCER 1 % 31.70 allows at most a third bona fide; beside an AUC of 40, 79.00 needs more than half."""
    columns, rows = ["Acc", "HTER", "AUC"], [["a", "31.70", "45.49", "55.42"], ["b", "79.00", "60.00", "40.00"]]
    states = '{ hter = "eer", accuracy = { bpcer = "1.00" }, same_samples = true }'
    assert contradicted(toml(columns, rows, states=states)) == ["operating point/Acc"]
    assert contradicted(toml(columns, rows, states=states.replace("true", "false"))) == []
    heading = toml(["Acc@BPCER=1.00%", "AUC"], [[r[0], r[1], r[3]] for r in rows], states="{ same_samples = true }")
    assert contradicted(heading) == ["operating point/Acc@BPCER=1.00%"]
    counted = toml(columns, rows[:1], states=states, counts='{ "" = { bonafide = 500, attack = 500 } }')
    assert "operating point/a/Acc" in contradicted(counted)


def test_at_a_stated_apcer_the_classes_change_places():
    """APCER is at most 2.01 %, one of 100 samples more than stated: 0.3171 / 0.9799 = 32.36 % attacks at most.

    For an accuracy of 99.50 the accepted attacks may be fewer than stated, as APCER may be that of the worst kind.
    """
    row = [["a", "31.70", "55.42"]]
    found = decided(toml(["Acc", "AUC"], row, states='{ accuracy = { apcer = "1.00" } }'))["operating point/a/Acc"]
    low, high = map(float, re.match(r"([\d.]+)% to ([\d.]+)%", found.result.figure).groups())
    assert low == pytest.approx(67.6)
    assert high == 100.0
    row = [["a", "99.50", "99.90"]]
    most = decided(toml(["Acc", "AUC"], row, states='{ accuracy = { apcer = "1.00" } }'))["operating point/a/Acc"]
    assert most.result.figure.startswith("0.0% to 100.0%")


# --- marks, gains, cells alike ----------------------------------------------------------------------------


@given(st.lists(st.integers(0, 30), min_size=1, max_size=6), st.data())
def test_bold_is_held_to_the_best(column, data):
    bold = data.draw(st.sets(st.integers(0, len(column) - 1), min_size=1))
    for metric, best in (("EER", min(column)), ("AUC", max(column))):
        rows = [[f"row {i}", f"**{x}.0**" if i in bold else f"{x}.0"] for i, x in enumerate(column)]
        marked, first = {column[i] for i in bold}, {i for i, x in enumerate(column) if x == best}
        expected = "confirmed" if bold == first else "undetermined" if marked == {best} else "contradicted"
        assert verdicts(toml([metric], rows, states='{ bold = "best" }'))[f"bold/{metric}"] == expected
        if expected == "contradicted":
            assert verdicts(toml([metric], rows))[f"bold/{metric}"] == "undetermined"


def test_a_bold_number_with_fewer_digits_may_be_the_best():
    def verdict(marked, other):
        rows = [["a", f"**{marked}**"], ["b", other]]
        return verdicts(toml(["AUC"], rows, states='{ bold = "best" }'))["bold/AUC"]

    assert verdict("95.2", "95.22") == "undetermined"
    assert verdict("95.2", "95.42") == "contradicted"
    assert verdict("95.20", "95.22") == "contradicted"


@pytest.mark.parametrize(
    ("more", "verdict"),
    [
        ('value = "12.11", over = "FLIP"', "confirmed"),
        ('value = "12.11", over = "second best"', "contradicted"),
        ('value = "12.11"', "undetermined"),
        ('value = "9.63", over = "second best"', "confirmed"),
        ('value = "9.63"', "confirmed"),
        ('value = "71", over = "second best"', "confirmed"),  # 9.63 of 13.63 is 70.7 %
        ('value = "71", over = "second best", kind = "points"', "contradicted"),
        ('value = "9.63", over = "second best", kind = "relative"', "contradicted"),
        ('value = "9.64", over = "second best"', "confirmed"),  # 13.634 − 3.996 = 9.638
        ('value = "9.66", over = "second best"', "contradicted"),
    ],
)
def test_gains(more, verdict):
    quote = re.search(r'value = "([\d.]+)"', more)[1]
    gain = f'[{{ quote = "{quote}% lower", row = "Ours", column = "HTER", {more} }}]'
    rows = [["FLIP", "16.11"], ["DADM", "13.63"], ["Ours", "4.00"]]
    assert verdicts(toml(["HTER"], rows, gain=gain))["gain/1"] == verdict


def test_a_gain_in_auc_is_a_rise():
    rows = [["A", "90.83"], ["Ours", "98.94"]]
    for value, verdict in (("8.11", "confirmed"), ("8.93", "confirmed"), ("8.20", "contradicted")):  # 8.11 of 90.83
        gain = f'[{{ quote = "{value}% higher", row = "Ours", column = "AUC", value = "{value}", over = "A" }}]'
        assert verdicts(toml(["AUC"], rows, gain=gain))["gain/1"] == verdict


def test_cells_alike_are_observed_and_common_ones_left_out():
    rows = [["a", "1.11", "2.22", "9.99"], ["b", "1.11", "2.22", "9.99"], ["c", "1.11", "3.33", "9.99"]]
    found = decided(toml(["A EER", "B EER", "C EER"], rows))["identical cells"].result
    assert (found.verdict, found.figure) == ("observed", "1 alike")
    assert "a and b: B EER 2.22." in found.computation


@given(st.integers(2, 300), st.sampled_from(WAYS), st.data())
def test_the_number_of_samples_is_among_those_that_fit(total, way, data):
    right = data.draw(st.lists(st.integers(0, total), min_size=2, max_size=6))
    values = {Decimal(printed(Fraction(k, total), 2, way)) for k in right}
    assert total in counts.fitting_totals(values, "cut" if way == "cut" else "rounded", 400)
    assert counts.fits(values, total, "cut" if way == "cut" else "rounded")
    brute = [
        n for n in range(2, 60) if all(any(can_be_rounded(x, Fraction(k, n)) for k in range(n + 1)) for x in values)
    ]
    assert counts.fitting_totals(values, "rounded", 59) == brute


def can_be_rounded(value: Decimal, share: Fraction) -> bool:
    return abs(100 * share - Fraction(value)) <= Fraction(printing.unit(value)) / 2


def test_what_the_file_does_not_state_is_named():
    text = toml(["A HTER", "A AUC", "A Acc"], [["a", "5.0", "97.0", "93.0"]])
    needs = {name: x.claim.settles for name, x in decided(text).items() if x.result.verdict == "needs data"}
    assert set(needs) == {"needs/counts", "needs/operating point", "needs/threshold"}
    assert 'hter = "eer"' in needs["needs/threshold"]
    full = toml(
        ["A HTER", "A AUC", "A Acc"],
        [["a", "5.0", "97.0", "93.0"]],
        states='{ hter = "fixed", accuracy = { bpcer = "1" } }',
        counts="{ A = { bonafide = 1000, attack = 1000 } }",
    )
    assert not [name for name in decided(full) if name.startswith("needs/")]


# --- the two papers, and others ---------------------------------------------------------------------------


def of_paper(name: str) -> dict[str, command.Checked]:
    return {x.claim.id: x for x in command.check(command.load(name))}


def test_the_findings_of_mmfas_come_out_of_its_table():
    found = of_paper("mmfas-table1")
    assert {name for name, x in found.items() if x.result.verdict == "contradicted"} == {
        "auc/MLP-Mixer/CeFa HTER",  # mmfas-mlp-mixer
        "operating point/CeFa Acc",  # mmfas-operating-point
        "operating point/WMCA Acc",
        "operating point/HQ-WMCA Acc",
    }
    ours = {name for name, x in ENTRIES.items() if x.result.verdict == "contradicted" and name.startswith("mmfas.t1.")}
    assert ours == {"mmfas.t1.eer_auc.mlp_mixer_s16", *(f"mmfas.t1.one_share.{s}" for s in "CWH")}
    assert found["bold/CeFa AUC"].result.figure == "9 rows at 99.99"  # mmfas-bold-auc
    assert found["bold/CeFa AUC"].result.verdict == "undetermined"
    assert found["total/HQ-WMCA Acc"].result.figure == "cut 2024, rounded 5767"  # mmfas-images-used
    assert found["weights/Weighted"].result.verdict == "confirmed"
    alike = " ".join(found["identical cells"].result.computation)
    assert "FeatherNet and FlexModal-FAS" in alike


def test_the_findings_of_mmda_come_out_of_its_tables():
    """The contradicted averages are those of the ledger, cell by cell, and so are the gains over the second best."""
    for number, wrong_gains in ((1, {"gain/1", "gain/2"}), (2, {"gain/1", "gain/2"}), (3, set())):
        found = of_paper(f"mmda-table{number}")
        judged = {name for name, x in found.items() if x.result.verdict == "contradicted"}
        averages = {
            e.claim.place.split(", ", 1)[1]
            for name, e in ENTRIES.items()
            if name.startswith(f"mmda.t{number}.average.") and e.result.verdict == "contradicted"
        }
        assert {found[x].claim.place for x in judged - wrong_gains} == averages
        assert {x for x in judged if x.startswith("gain/")} == wrong_gains
    assert Counter(x.result.verdict for name, x in found.items() if name.startswith("gain/")) == {"undetermined": 4}


@pytest.mark.parametrize("name", papers.NAMES)
def test_every_table_of_the_papers_goes_through_the_door(name):
    found = command.check(command.load(name))
    table = command.load(name)
    published = (ROOT / table.source).read_text(encoding="utf-8")
    cells_of_all = [str(cell.value) for row in table.rows.values() for cell in row.values()]
    assert all(f'"{x}"' in published for x in cells_of_all)
    assert len(cells_of_all) == len(table.rows) * len(table.columns)
    assert found


# What `check` says of public tables of other papers; what is contradicted there is nothing.
UNDETERMINED = {
    "oulu_npu": {
        "half sum/ATS-CNN(MobileNet)/Pro.3 ACER(%)",
        "half sum/ATS-CNN(MobileNet)/Pro.4 ACER(%)",
        "half sum/ATS-CNN(ResNet)/Pro.4 ACER(%)",
        "half sum/STDN+/Pro.4 ACER(%)",
        "half sum/TAD/Pro.4 ACER(%)",
    }
}


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_public_tables_of_other_papers(path):
    table = reading.read(path)
    assert re.search(r"^github\.com/\S+, .*read on \d+ \w+ 2026$", table.source)
    found = {x.claim.id: x.result.verdict for x in command.check(table)}
    assert {name for name, verdict in found.items() if verdict == "contradicted"} == set()
    assert {name for name, verdict in found.items() if verdict == "undetermined"} == UNDETERMINED.get(path.stem, set())
    assert len(found) > 1


def test_the_public_tables_are_counted_on_the_page():
    assert len(EXAMPLES) == 8
    page = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert "`examples/` holds eight public tables" in page
    half = [x for x in decided((FOLDER / "examples" / "oulu_npu.toml").read_text(encoding="utf-8")) if "half sum" in x]
    assert len(half) == 72
    assert "Of OULU-NPU's 72 ACERs five" in " ".join(page.split())


# --- reading ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "value", "bold", "spread", "words"),
    [
        ("1.20", "1.20", False, None, ""),
        ("**1.23**", "1.23", True, None, "bold"),
        ("<b>0.88 </b>", "0.88", True, None, "bold"),
        (r"\textbf{98.7}", "98.7", True, None, "bold"),
        (r"$\mathbf{98.7}$", "98.7", True, None, "bold"),
        ("98.7±0.4", "98.7", False, "0.4", "spread"),
        ("98.7 (±0.4)", "98.7", False, "0.4", "spread"),
        (r"$98.7\pm0.4$", "98.7", False, "0.4", "spread"),
        ("**98.7** +/- 0.4", "98.7", True, "0.4", "spread"),
        ("1,23", "1.23", False, None, "decimal point"),
        ("98.7\u2009%", "98.7", False, None, "percent"),
        ("98\u2009.7", "98.7", False, None, "spaces"),
        ("1.23*", "1.23", False, None, "footnote"),
        ("98.72²", "98.72", False, None, "footnote"),
        ("<u>5.1</u>", "5.1", False, None, "underline"),
        (".98", "0.98", False, None, ""),
        ("10", "10", False, None, ""),
    ],
)
def test_a_cell_as_pasted(text, value, bold, spread, words):
    cell, taken = cells.parse(text)
    assert (str(cell.value), cell.bold, cell.spread) == (value, bold, Decimal(spread) if spread else None)
    assert words in " ".join(taken)
    assert bool(taken) == bool(words)


@pytest.mark.parametrize("text", ["-", "–", "—", "n/a", "N/A", "/", "", "**-**", "\u2009"])
def test_a_cell_in_which_nothing_is_printed(text):
    assert cells.parse(text)[0] is None


@pytest.mark.parametrize(
    "text", ["x", "1.2.3", "1 2", "<0.1", "1.2 (0.3)", "-1.2", "1e9", "٣", "1±", "1" * 30, "9.9.", "±"]
)
def test_a_cell_that_is_no_number(text):
    with pytest.raises(ValueError):
        cells.parse(text)


@pytest.mark.parametrize(
    ("heading", "group", "metric", "at"),
    [
        ("O&C&I to M HTER(%)", "O&C&I to M", "hter", None),
        ("HTER", "", "hter", None),
        ("AUC ↑ (WMCA)", "WMCA", "auc", None),
        ("CeFA/ACER", "CeFA", "acer", None),
        ("Average accuracy [%]", "Average", "accuracy", None),
        ("W NPCER", "W", "bpcer", None),
        ("CASIA-SURF TPR@FPR=1%", "CASIA-SURF", "tpr", ("far", Decimal(1))),
        ("W BPCER@APCER=0.1%", "W", "bpcer", ("apcer", Decimal("0.1"))),
        ("D-EER", "", "eer", None),
        ("Acc", "", "accuracy", None),
    ],
)
def test_a_heading(heading, group, metric, at):
    column = headings.parse(heading)
    assert (column.set, column.metric, column.at) == (group, metric, at)


@pytest.mark.parametrize(
    ("heading", "sentence"),
    [
        ("CeFA F1", "names no metric"),
        ("CeFA HTER AUC", "names 2 metrics, HTER and AUC"),
        ("TPR@FPR=10E-2", "write it as a percentage, as in FPR=1%"),
        ("TPR@FPR=0.01", "write it as a percentage"),
        ("TPR@size=1%", "size, which is no metric"),
        ("Eeriness", "names no metric"),
        ("Pioneer", "names no metric"),
    ],
)
def test_a_heading_that_is_asked_about(heading, sentence):
    with pytest.raises(ValueError, match=re.escape(sentence)):
        headings.parse(heading)


def table_of(tmp_path, content, name="t.csv", **options):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return reading.read(path, **options)


@pytest.mark.parametrize(
    "text",
    [
        "Method,A HTER,A AUC\na,5.0,97.0\nb,-,98.10\n",
        "Method;A HTER;A AUC\na;5,0;97,0\nb;n/a;98,10\n",
        "Method\tA HTER\tA AUC\na\t5.0\t97.0\nb\t\t98.10\n",
        "| Method | A HTER | A AUC |\n|---|:---:|---|\n| a | 5.0 | 97.0 |\n| b | - | 98.10 |\n",
        ",A,\nMethod,HTER,AUC\na,5.0,97.0\nb,-,98.10\n",
        "\ufeffMethod,A HTER,A AUC\r\na,5.0,97.0\r\nb,-,98.10\r\n",
        'Method,A HTER,A AUC\na,"5,0","97,0"\n\nb,-,"98,10"\n',
        'Method,"A\nHTER","A\r\nAUC"\na,5.0,97.0\nb,-,98.10\n',
    ],
)
def test_csv_in_each_of_its_forms(text, tmp_path):
    table = table_of(tmp_path, text)
    assert [(c.set, c.metric) for c in table.columns] == [("A", "hter"), ("A", "auc")]
    found = {row: {c.split()[1]: str(x.value) for c, x in own.items()} for row, own in table.rows.items()}
    assert found == {"a": {"HTER": "5.0", "AUC": "97.0"}, "b": {"AUC": "98.10"}}


def test_metrics_unit_and_columns_to_leave_out_are_stated_by_options(tmp_path):
    text = "Method,A,B,A ,B ,Year\nx,0.051,0.97,0.044,0.98,2020\n"
    table = table_of(tmp_path, text.replace("A ,B ", "C,D"), metrics=["hter", "auc"], ignore=["Year"], unit="fraction")
    assert [(c.set, c.metric) for c in table.columns] == [("A", "hter"), ("B", "auc"), ("C", "hter"), ("D", "auc")]
    assert [str(x.value) for x in table.rows["x"].values()] == ["5.1", "97", "4.4", "98"]


def test_a_toml_file_may_name_a_csv_file(tmp_path):
    (tmp_path / "pasted.csv").write_text("Method,A HTER,A AUC\na,1.39,99.99\n", encoding="utf-8")
    statements = 'table = "pasted.csv"\n[states]\nhter = "eer"\neach_class = 100\n'
    table = table_of(tmp_path, statements, "t.toml")
    assert [x.claim.id for x in command.check(table) if x.result.verdict == "contradicted"] == ["auc/a/A HTER"]


def test_each_kind_of_cell_is_said_once_with_an_example(tmp_path):
    table = table_of(tmp_path, "Method,A HTER,A AUC\na,**5.0**,97.0%\nb,**6.0**,-\n")
    assert table.taken == (
        "“**5.0**” (line 2, “A HTER”): marked as bold, and in another cell",
        "“97.0%” (line 2, “A AUC”): the percent sign was left out",
        "“-” (line 3, “A AUC”): nothing is printed",
    )


BAD_CSV = [
    ("", "is empty"),
    ("  \n \n", "is empty"),
    ("Method,A HTER\n", "has headings and no rows"),
    ("Method\na\n", "line 1 has one cell"),
    ("Method,A F1\na,5.0\n", "column 2, “A F1”, names no metric; write the metric into its heading, as in “A F1 HTER”"),
    ("Method,A HTER,A HTER\na,5.0,5.0\n", "column 3, “A HTER”, is there twice"),
    ("Method,A HTER\na,5.O\n", "line 2, column “A HTER” holds “5.O”, which is no number"),
    ("Method,A HTER,A AUC\na,5.0\n", "line 2 has 2 cells and the headings are 3"),
    ("Method,A HTER\na,5,0\n", "put a number with a comma in quotes"),
    ("Method,A HTER\na,5.0\na,6.0\n", "line 3: two rows are called “a”"),
    ("Method,A HTER\na,105.0\n", "line 2, column “A HTER” holds 105.0, and no rate is above 100 %"),
    ("Method,A HTER,A AUC\na,5.0,0.97\n", "column “A AUC” holds nothing above 1 and “A HTER” percentages"),
    ("Method,A HTER,A AUC\na,0.05,97.0\n", "column “A HTER” holds nothing above 1 and “A AUC” percentages"),
    ("Method,A HTER\na,0.05\n", "no column a number above 1"),
    ("Method,A HTER\na\x00,5.0\n", "bytes that are no text"),
    ('Method,A HTER\na,5.0\n"b,6.0\nc,7.0\n', "close every quotation mark"),
    ("Méthode,A HTER\na,5.0\n".encode("latin-1"), "line 1 is not UTF-8"),
    ("Method,A HTER\na,5.0\n".encode("utf-16"), "line 1 is not UTF-8"),
]


@pytest.mark.parametrize(("content", "sentence"), BAD_CSV)
def test_a_csv_file_that_cannot_be_used(content, sentence, tmp_path):
    with pytest.raises(BadInput) as refused:
        table_of(tmp_path, content)
    assert any(x in str(refused.value) for x in sentence.split("|"))
    assert "t.csv" in str(refused.value)
    assert "\n" not in str(refused.value)


GOOD = """
columns = ["A HTER", "B HTER", "Avg HTER"]
rows = [["a", "5.0", "6.0", "5.5"], ["b", "7.0", "8.0", "7.5"]]
[averages]
Avg = { of = ["A", "B"], weights = { A = 1, B = 1 } }
[counts]
A = { bonafide = 10, attack = 20 }
[states]
hter = "fixed"
accuracy = { bpcer = "1" }
[[gain]]
quote = "by 2.0"
value = "2.0"
row = "a"
column = "A HTER"
over = "b"
"""
BAD_TOML = [
    ("A = 1, B", "A = 0, B", "averages.Avg: weights.A is 0; leave out of the average"),
    ("A = 1, B", "A = -1, B", "weights.A is -1; write a positive number"),
    ("A = 1, B", "A = nan, B", "write a positive number"),
    ("{ A = 1, B = 1 }", "{ A = 1 }", "or a number for each of A, B"),
    ("Avg = {", "Mean = {", "no heading names the set “Mean”"),
    (
        "weights = { A = 1, B = 1 }",
        'weights = "samples"',
        "numbers of samples; state those of B in [counts]",
    ),
    (", weights = { A = 1, B = 1 }", "", "averages.Avg must have sets and weights"),
    ('of = ["A", "B"]', 'of = ["A", "C"]', "of names “C”, which is no other set"),
    ('of = ["A", "B"]', 'of = ["A", "A"]', "each once"),
    ("A = { bonafide", "C = { bonafide", "no heading names the tested set “C”"),
    ("bonafide = 10", "bonafide = 0", "counts.A.bonafide is 0; write a whole number"),
    ("bonafide = 10", "bonafide = 1.5", "write a whole number"),
    ("attack = 20 }", "attack = 20, samples = 40 }", "10 + 20 is not 40"),
    ("attack = 20 }", "attack = 20, families = { print = 5 } }", "the families are 5 attacks and attack is 20"),
    ('hter = "fixed"', 'hter = "best"', "states.hter is 'best'; it may be eer, lowest, fixed"),
    ('hter = "fixed"', 'htr = "fixed"', "states.htr is no statement"),
    ('bpcer = "1"', "bpcer = 1", "accuracy must name a threshold in percent, as printed"),
    ("by 2.0", "by 3.0", "gain 1: 2.0 does not stand in the quotation"),
    ("by 2.0", "by 12.0", "gain 1: 2.0 does not stand in the quotation"),
    ('column = "A HTER"', 'column = "A"', "gain 1: no column is called “A”"),
    ('over = "b"', 'over = "c"', "gain 1: the row “c” prints nothing"),
    ('over = "b"', 'kind = "x"', "kind is 'x'; it may be points or relative"),
    ('"5.0", "6.0"', '5.0, "6.0"', "row 1 (“a”) holds 5.0 without quotes, which loses zeros at the end"),
    ('["b", "7.0"', '["a", "7.0"', "row 2 (“a”): two rows are called “a”"),
    ('columns = ["A HTER"', 'colums = ["A HTER"', "colums is no key of a table"),
    ("rows = [[", 'table = "x.csv"\nrows = [[', "keep one of the two"),
    ("[counts]", "[counts", "not valid TOML"),
    ("[counts]\nA =", "counts = 3\n[other]\nA =", "is no key|must be"),
    ('"Avg HTER"]', '"Avg HTER"]\nmetrics = ["f1"]', "metrics names f1, which is none"),
    ('"Avg HTER"]', '"Avg HTER"]\nmetrics = ["hter", "auc"]', "2 metrics are stated for 3 columns"),
    ('"Avg HTER"]', '"Avg HTER"]\nmetrics = ["auc"]', "names HTER, not AUC"),
    ('"Avg HTER"]', '"Avg HTER"]\nignore = ["C"]', "no column is called “C”"),
    ('"Avg HTER"]', '"Avg HTER"]\nignore = [["x"]]', "ignore holds ['x']; write texts in quotes"),
    ('columns = ["A HTER"', "columns = [1", "columns holds 1; write texts in quotes"),
    ('"Avg HTER"]', '"Avg HTER"]\nunit = "permille"', "the unit is 'permille'"),
    ('"Avg HTER"]', '"Avg HTER"]\nunit = "fraction"', "holds 7.0, which is no fraction"),
    ('"Avg HTER"]', '"Avg HTER"]\nunit = { C = "percent" }', "unit names the column “C”"),
]


def test_the_good_file_is_good(tmp_path):
    assert contradicted(GOOD) == []
    assert table_of(tmp_path, "\ufeff" + GOOD, "t.toml").columns[0].name == "A HTER"


@pytest.mark.parametrize(("old", "new", "sentence"), BAD_TOML)
def test_a_toml_file_that_cannot_be_used(old, new, sentence, tmp_path):
    assert old in GOOD
    with pytest.raises(BadInput) as refused:
        table_of(tmp_path, GOOD.replace(old, new), "t.toml")
    assert any(x in str(refused.value) for x in sentence.split("|"))
    assert "t.toml" in str(refused.value)
    assert "\n" not in str(refused.value)


def test_small_percentages_are_accepted_when_stated(tmp_path):
    text = "Method,A HTER,A AUC\na,0.05,99.9\n"
    assert str(table_of(tmp_path, text, unit="percent").rows["a"]["A HTER"].value) == "0.05"
    fractions = "Method,A HTER,A AUC\na,5.0,0.97\n"
    with pytest.raises(BadInput, match="“A AUC” holds nothing above 1"):
        table_of(tmp_path, fractions, unit="percent")
    assert str(table_of(tmp_path, fractions, unit={"A AUC": "fraction"}).rows["a"]["A AUC"].value) == "97"


# --- general parts of the audit ---------------------------------------------------------------------------


@given(st.decimals(0, 100, places=3), st.integers(0, 3), st.sampled_from(WAYS))
def test_what_prints_so_is_within_what_it_stands_for(value, decimals, way):
    share = Fraction(value) / 100
    text = Decimal(printed(share, decimals, way))
    for name in ("cut" if way == "cut" else "rounded", "either"):
        low, high = printing.stands_for(text, name)
        assert low <= 100 * share <= high
    assert printing.Printed(printing="cut").shares(Decimal("100.0"))[1] == 1


@given(st.permutations([0] * 6 + [1] * 5), st.integers(0, 11))
def test_bounds_of_any_threshold_hold(labels, threshold):
    scores = {y: [i for i, x in enumerate(labels) if x == y] for y in (0, 1)}
    accepts, rejects = rates(scores[1], scores[0], threshold)
    auc = float(area(scores[1], scores[0]))
    for low, high in (
        bounds.auc_range_of_point(float(accepts), float(rejects)),
        bounds.auc_range_of_half_sum(float(accepts + rejects) / 2),
    ):
        assert low - 1e-12 <= auc <= high + 1e-12


def test_one_share_for_all_rows():
    ranges = {"a": (0.1, 0.5), "b": (0.2, 0.3), "c": (0.4, 0.9), "d": (0.35, 0.36)}
    assert comparisons.one_for_all(ranges) == (0.4, 0.3, "b", [(0.35, "d"), (0.4, "c")])


def test_weights_of_exact_averages():
    low = [[10.0, 20.0], [30.0, 10.0]]
    assert np.allclose(weights.ranges(low, low, [12.5, 25.0], [12.5, 25.0]), [(0.75, 0.75), (0.25, 0.25)])
    assert weights.ranges(low, low, [12.5, 26.0], [12.5, 26.0]) is None
    error, vector = weights.least_error(low, low, [12.5, 25.0], [12.5, 25.0])
    assert error == pytest.approx(0, abs=1e-9)
    assert vector == pytest.approx([0.75, 0.25])


# --- the command ------------------------------------------------------------------------------------------


def example_of_the_page() -> str:
    return re.search(r"```toml\n(.*?)```", (FOLDER / "README.md").read_text(encoding="utf-8"), re.DOTALL)[1]


def test_the_example_of_the_page_gives_what_the_page_shows(tmp_path, capsys):
    path = tmp_path / "table.toml"
    path.write_text(example_of_the_page(), encoding="utf-8")
    assert audit.main(["check", str(path)]) == 1
    shown = re.search(r"```\n(contradicted.*?)```", (FOLDER / "README.md").read_text(encoding="utf-8"), re.DOTALL)[1]
    said = capsys.readouterr().out
    assert shown.strip() in said
    assert said.count("\ncontradicted ") == shown.count("contradicted ")


def test_exit_statuses_and_speed_without_torch(tmp_path):
    """In a fresh process, as a shell runs it."""
    bad = tmp_path / "bad.csv"
    bad.write_text("Method,A F1\na,5.0\n", encoding="utf-8")
    script = (
        "import sys; from data_manifests.errors import cli_errors; from paper_tables.audit.__main__ import main\n"
        "with cli_errors():\n    code = main(sys.argv[1:])\n    sys.exit(3 if 'torch' in sys.modules else code)"
    )
    for table, status in ((EXAMPLES[0], 0), ("mmda-table1", 1), (bad, 2), (tmp_path / "none.csv", 2), (tmp_path, 2)):
        begun = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-c", script, "check", str(table)], cwd=ROOT, capture_output=True, text=True
        )
        assert done.returncode == status, done.stderr
        assert time.monotonic() - begun < 10
        assert (len(done.stderr.splitlines()) == 1 and done.stderr.startswith("error: ")) == (status == 2)


def test_every_form_of_the_output_holds_every_statement(capsys):
    assert command.main(["mmda-table2", "--json"]) == 1
    content = json.loads(capsys.readouterr().out)
    assert command.main(["mmda-table2", "--markdown"]) == 1
    markdown = capsys.readouterr().out
    assert command.main(["mmda-table2"]) == 1
    text = capsys.readouterr().out
    for check in content["checks"]:
        assert check["id"] in markdown
        assert f"{check['verdict']:<13}{check['id']}: {check['figure']}" in text
        assert all(line in text and line in markdown for line in check["computation"])
        assert check["assumes"] in text
    verdict_of_text = re.search(r"(\d+) statements: (\d+) contradicted", text)
    assert (int(verdict_of_text[1]), int(verdict_of_text[2])) == (len(content["checks"]), 7)
    order = [x["verdict"] for x in content["checks"]]
    assert order == sorted(order, key=command.ORDER.index)


def test_a_papers_table_is_printed_and_can_be_read_again(tmp_path, capsys):
    assert command.main(["mmfas-table1", "--toml"]) == 0
    path = tmp_path / "again.toml"
    path.write_text(capsys.readouterr().out, encoding="utf-8")
    again, first = reading.read(path), command.load("mmfas-table1")
    assert replace(again, taken=()) == replace(first, taken=())
    with pytest.raises(BadInput, match="is none"):
        command.main([str(path), "--toml"])


def test_options_reach_the_table(tmp_path, capsys):
    path = tmp_path / "t.csv"
    path.write_text("Method,A,B,Year\nx,0.4,0.6,2020\n", encoding="utf-8")
    options = ["--metrics", "hter", "--unit", "fraction", "--ignore", "Year"]
    assert audit.main(["check", str(path), *options]) == 0
    assert "(rows 1, columns 2)" in capsys.readouterr().out
