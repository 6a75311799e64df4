"""The claims of MMDA (version 1): its five tables, the numbers of its text, and the text beside the released code."""

from collections.abc import Callable, Iterator
from decimal import Decimal
from functools import partial
from itertools import combinations

from paper_tables.audit import bounds
from paper_tables.audit.claim import Claim, Finding, Kind, holds, needs_data
from paper_tables.audit.numbers import Numbers
from paper_tables.declarations.published import Published

OURS = "mmda"
METRIC_NAMES = {"hter": "HTER", "auc": "AUC"}
ROUNDING = Decimal("0.01")  # half a last digit of the printed mean and of the numbers it averages
LIST_ASSUMED = "the public MMDG test list is the one used (W 345 + 1,326, P 363 + 304 frames)"
RUNS = {"t1": ("W", "S", "P", "C"), "t2": ("D", "I", "DI"), "t3": ("PS", "CW")}


def claims(n: Numbers) -> Iterator[Claim]:
    """All claims of the paper. `n` gives the tables' rows; every verdict is computed later, from its own argument."""
    yield from _averages(n)
    yield from _rankings(n)
    yield from _best_columns(n)
    yield from _gains(n)
    yield from _text_against_tables(n)
    yield from _ablations(n)
    yield from _one_score_set(n)
    yield from _integer_counts()
    yield from _released(n)
    yield from _figures()


def _table(n: Numbers, table: str) -> Published:
    return {"t1": n.mmda1, "t2": n.mmda2, "t3": n.mmda3}[table]


def _name(n: Numbers, row: str) -> str:
    """The method's name without its reference number."""
    return n.mmda1.rows[row].printed.split(" [")[0]


def _text(n: Numbers, name: str) -> Decimal:
    return n.mmda_text[name].value


def true_mean(n: Numbers, table: str, row: str, metric: str) -> Decimal:
    """The mean of a row's printed columns."""
    values = [_table(n, table).rows[row].values[c][metric] for c in RUNS[table]]
    return sum(values, Decimal(0)) / len(values)


# --- Tables 1 and 2, Average ------------------------------------------------------------------------------


def _averages(n: Numbers) -> Iterator[Claim]:
    for table in ("t1", "t2"):
        t = _table(n, table)
        for row, metric in ((r, m) for r in t.rows for m in t.metrics):
            yield Claim(
                f"mmda.{table}.average.{row}.{metric}",
                "MMDA",
                f"{t.place}, {t.rows[row].printed}, Average {METRIC_NAMES[metric]}",
                "arithmetic",
                "the printed average is the mean of the row's columns",
                partial(_average, table, row, metric),
                quote="Average",
                explains="averages taken over from another version of the row, or typed by hand; the columns agree "
                "with the source papers where those could be compared",
                settles="the averages recomputed from the printed columns, or the columns the averages belong to",
            )
    yield Claim(
        "mmda.t1.average.other_columns",
        "MMDA",
        "Tables 1 to 3",
        "arithmetic",
        "the column headed Average averages columns the paper prints",
        _other_columns,
        explains="no choice of printed columns gives them",
        settles="the numbers that were averaged",
    )
    yield Claim(
        "mmda.t1.average.source",
        "MMDA",
        "Table 1, the ten rows that MMDG (CVPR 2024, Table 1) prints too",
        "arithmetic",
        "the rows repeated from MMDG have the averages they have there",
        _source_averages,
        quote="Average",
        assumes="MMDG's averages as recorded in facts.toml",
        explains="averages computed or typed anew; the columns of these rows are MMDG's",
        settles="the two tables side by side",
    )
    yield Claim(
        "mmda.t1.average.direction",
        "MMDA",
        "Table 1, Average",
        "direction",
        "the Average column leaves the comparison of the rivals with MMDA as their columns have it",
        _error_direction,
        explains="a shared mistake; nothing here shows intent",
        settles="the averages recomputed from the printed columns",
    )


def _average(table: str, row: str, metric: str, n: Numbers) -> Finding:
    t = _table(n, table)
    columns = [t.rows[row].values[c][metric] for c in RUNS[table]]
    printed, true = t.rows[row].values["average"][metric], true_mean(n, table, row, metric)
    lines = [f"({' + '.join(map(str, columns))}) / {len(columns)} = {true:.4f}; printed {printed}"]
    if not min(columns) <= printed <= max(columns):
        lines.append("The printed value lies outside the range of its own columns, so it is no mean of them.")
    return holds(abs(printed - true) <= ROUNDING, f"{printed - true:+.4f}", *lines)


def _other_columns(n: Numbers) -> Finding:
    sources = [(table, c) for table in RUNS for c in RUNS[table]]
    wrong = [row for row in n.mmda1.rows if _average("t1", row, "hter", n).verdict == "contradicted"]
    if not wrong:
        return holds(True, "none wrong", "every average is the mean of its own columns")
    best = (Decimal("Infinity"), "")
    for size in range(1, len(sources) + 1):
        for subset in combinations(sources, size):
            errors = [
                abs(
                    sum((_table(n, t).rows[row].values[c]["hter"] for t, c in subset), Decimal(0)) / size
                    - n.mmda1.rows[row].values["average"]["hter"]
                )
                for row in wrong
            ]
            best = min(best, (sum(errors, Decimal(0)) / len(wrong), ", ".join(c for _, c in subset)))
    return holds(
        best[0] <= ROUNDING,
        f"best mean error {best[0]:.2f}",
        f"Of all {2 ** len(sources) - 1} choices among the columns of Tables 1 to 3, {best[1]} comes nearest to the "
        f"{len(wrong)} wrong HTER averages: {best[0]:.3f} off on average.",
    )


def _source_averages(n: Numbers) -> Finding:
    differ, ours = [], []
    for row, source in n.mmdg_averages.items():
        for metric, x in zip(METRIC_NAMES, source, strict=True):
            if x != n.mmda1.rows[row].values["average"][metric]:
                differ.append(
                    f"{_name(n, row)} {METRIC_NAMES[metric]} {n.mmda1.rows[row].values['average'][metric]} for {x}"
                )
            if abs(x - true_mean(n, "t1", row, metric)) > ROUNDING:
                ours.append(row)
    total = len(METRIC_NAMES) * len(n.mmdg_averages)
    return holds(
        not differ,
        f"{len(differ)} of {total} differ, {total - len(ours)} equal the columns' means",
        f"Here for there: {', '.join(differ)}.",
        f"MMDG's averages are the means of the columns printed here in {total - len(ours)} of {total} cases.",
    )


def _error_direction(n: Numbers) -> Finding:
    worse = {}
    for metric, sign in (("hter", 1), ("auc", -1)):
        gaps = [
            sign * (x.values["average"][metric] - true_mean(n, "t1", row, metric))
            for row, x in n.mmda1.rows.items()
            if row != OURS and _average("t1", row, metric, n).verdict == "contradicted"
        ]
        worse[metric] = (sum(gap > 0 for gap in gaps), len(gaps))
    figure = ", ".join(f"{METRIC_NAMES[m]} {a} of {b}" for m, (a, b) in worse.items())
    return holds(
        all(3 * a <= 2 * b for a, b in worse.values()),
        figure,
        f"Wrong averages of rival methods that make them look worse than their columns do: {figure}. "
        "Up to two thirds would pass here.",
    )


def _rankings(n: Numbers) -> Iterator[Claim]:
    for table in ("t1", "t2"):
        for metric in METRIC_NAMES:
            yield Claim(
                f"mmda.{table}.ranking.{metric}",
                "MMDA",
                f"{_table(n, table).place}, Average {METRIC_NAMES[metric]}",
                "ranking",
                "the averages rank the methods",
                partial(_ranking, table, metric),
                quote="Average",
                explains="the wrong averages of single rows",
                settles="the averages recomputed from the printed columns",
            )


def _ranking(table: str, metric: str, n: Numbers) -> Finding:
    rows, sign = _table(n, table).rows, 1 if metric == "hter" else -1
    printed = sorted(rows, key=lambda row: sign * rows[row].values["average"][metric])
    true = sorted(rows, key=lambda row: sign * true_mean(n, table, row, metric))
    moved = sum(a != b for a, b in zip(printed, true, strict=True))
    listing = ", ".join(f"{_name(n, row)} {true_mean(n, table, row, metric):.2f}" for row in true)
    return holds(moved == 0, f"{moved} of {len(rows)} places", f"By the columns: {listing}.")


# --- The best method of each column, and the gains --------------------------------------------------------


def _best_columns(n: Numbers) -> Iterator[Claim]:
    for table in RUNS:
        t = _table(n, table)
        for c, metric in ((c, m) for c in RUNS[table] for m in METRIC_NAMES):
            yield Claim(
                f"mmda.{table}.best.{c}.{metric}",
                "MMDA",
                f"{t.place}, {t.sets[c]} {METRIC_NAMES[metric]}",
                "ranking",
                f"MMDA is the best in this column ({t.sets[c]})",
                partial(_best, table, c, metric),
                quote="our method achieved the best results across all sub-protocols",
            )


def _rival(n: Numbers, table: str, c: str, metric: str) -> tuple[str, Decimal]:
    """The best method but MMDA in a column (averages as printed), and its value."""
    rows, sign = _table(n, table).rows, 1 if metric == "hter" else -1
    row = min((r for r in rows if r != OURS), key=lambda r: sign * rows[r].values[c][metric])
    return row, rows[row].values[c][metric]


def _lead(n: Numbers, table: str, c: str, metric: str, rival: Decimal) -> Decimal:
    ours = _table(n, table).rows[OURS].values[c][metric]
    return rival - ours if metric == "hter" else ours - rival


def _best(table: str, c: str, metric: str, n: Numbers) -> Finding:
    name, value = _rival(n, table, c, metric)
    lead = _lead(n, table, c, metric, value)
    ours = _table(n, table).rows[OURS].values[c][metric]
    return holds(lead > 0, f"{lead:+}", f"{ours} against {value} of {_name(n, name)}.")


def _gains(n: Numbers) -> Iterator[Claim]:
    for name, table, c, metric in (
        ("p1_hter_gain", "t1", "average", "hter"),
        ("p1_auc_gain", "t1", "average", "auc"),
        ("p2_hter_gain", "t2", "average", "hter"),
        ("p2_auc_gain", "t2", "average", "auc"),
        ("p3_ps_hter_gain", "t3", "PS", "hter"),
        ("p3_ps_auc_gain", "t3", "PS", "auc"),
        ("p3_cw_hter_gain", "t3", "CW", "hter"),
        ("p3_cw_auc_gain", "t3", "CW", "auc"),
    ):
        named = table != "t3"
        yield Claim(
            f"mmda.text.{name}",
            "MMDA",
            n.mmda_text[name].place,
            "text against table",
            f"the stated {METRIC_NAMES[metric]} gain is that over the second-best method"
            if named
            else f"the stated {METRIC_NAMES[metric]} gain is that over the best rival (the sentence names none)",
            partial(_gain, name, table, c, metric, named),
            quote=n.mmda_text[name].quote,
            explains="the DADM row may have been added after the sentence was written",
            settles="the gains restated against DADM",
        )


def _gain(name: str, table: str, c: str, metric: str, named: bool, n: Numbers) -> Finding:
    said, rows = _text(n, name), _table(n, table).rows
    rival, value = _rival(n, table, c, metric)
    lead = _lead(n, table, c, metric, value)
    meant = [_name(n, r) for r in rows if r != OURS and _lead(n, table, c, metric, rows[r].values[c][metric]) == said]
    lines = [f"Best of the others: {_name(n, rival)} at {value}, {lead} behind. The stated {said} is the distance to "
             f"{', '.join(meant) or 'no row of the table'}."]  # fmt: skip
    if c == "average":
        sign = 1 if metric == "hter" else -1
        ours = true_mean(n, table, OURS, metric)
        best = min((true_mean(n, table, r, metric) for r in rows if r != OURS), key=lambda x: sign * x)
        lines.append(f"By averages recomputed from the columns: {abs(best - ours):.2f}.")
    figure = f"{said} is to {', '.join(meant) or 'none'}, {lead} to {_name(n, rival)}"
    if said == lead:
        return Finding("confirmed", figure, tuple(lines))
    return Finding("contradicted" if named or not meant else "undetermined", figure, tuple(lines))


# --- Text against tables ----------------------------------------------------------------------------------


def _text_against_tables(n: Numbers) -> Iterator[Claim]:
    def claim(name: str, says: str, kind: Kind, decide: Callable[[Numbers], Finding], **more: str) -> Claim:
        return Claim(f"mmda.text.{name}", "MMDA", more.pop("place", "Section 4.1"), kind, says, decide, **more)

    for name, table, metric in (
        ("p1_hter", "t1", "hter"),
        ("p1_auc", "t1", "auc"),
        ("p2_hter", "t2", "hter"),
        ("p2_auc", "t2", "auc"),
    ):
        yield claim(
            name,
            f"the average {METRIC_NAMES[metric]} in the text is the table's",
            "text against table",
            partial(_same_average, name, table, metric),
            place=n.mmda_text[name].place,
            quote=n.mmda_text[name].quote,
        )
    for name, c in (("p2_missing_ir", "I"), ("p2_missing_depth", "D")):
        yield claim(
            name,
            "the value called an HTER is one",
            "text against table",
            partial(_called_hter, name, c),
            place=n.mmda_text[name].place,
            quote=n.mmda_text[name].quote,
            explains="the AUC column was read for the HTER",
            settles="the sentence corrected to AUC, or to the HTER of the same cell",
        )
    yield claim(
        "ir_matters_little",
        "without infrared the results closely match the complete ones",
        "text against table",
        _ir_matters_little,
        quote="closely match those without missing modalities",
        settles="what counts as close; repeated runs",
    )
    yield claim(
        "depth_matters",
        "losing depth costs more than losing infrared",
        "direction",
        lambda n: holds(
            n.mmda2.rows[OURS].values["D"]["hter"] > n.mmda2.rows[OURS].values["I"]["hter"],
            f"{n.mmda2.rows[OURS].values['D']['hter'] - n.mmda2.rows[OURS].values['I']['hter']:+}",
            "HTER without depth less HTER without infrared.",
        ),
        quote="the absence of the Depth modality significantly impacts performance",
    )
    for name, number in (("limited_source_table", 3), ("md2a_table", 4), ("rs2_table", 5)):
        yield claim(
            name,
            f"the table the text points to is the one described (it is Table {number})",
            "text against table",
            partial(_reference, name, number),
            place=n.mmda_text[name].place,
            quote=n.mmda_text[name].quote,
            explains="a cross-reference not updated",
            settles="the numbers of the tables, which identify them",
        )
    yield claim(
        "patches",
        "224-pixel images give 14 × 14 patches",
        "arithmetic",
        lambda n: holds(
            _text(n, "image_side") == 16 * _text(n, "patch_grid"),
            f"{_text(n, 'image_side') / _text(n, 'patch_grid')}",
            f"{_text(n, 'image_side')} / {_text(n, 'patch_grid')}: the patch side of ViT-B/16 is 16.",
        ),
        place="Section 4, Implementation Details",
        quote="14×14 patch tokens",
    )
    yield claim(
        "state_of_the_art",
        "MMDA beats every method in every average and every protocol",
        "ranking",
        _everywhere,
        place="Abstract",
        quote="outperforms existing state-of-the-art methods",
    )
    yield claim(
        "pscw_name",
        "the sub-protocol named PSCW in the ablations is identified by the text",
        "text against table",
        _ambiguous_protocol,
        place="Section 4.2, Effectiveness of MD2A",
        quote="tested under the PSCW sub-protocol",
        settles="the protocol written with its arrow",
    )


def _same_average(name: str, table: str, metric: str, n: Numbers) -> Finding:
    said, printed = _text(n, name), _table(n, table).rows[OURS].values["average"][metric]
    return holds(said == printed, f"{said - printed:+}", f"Text {said}, table {printed}.")


def _called_hter(name: str, c: str, n: Numbers) -> Finding:
    said, cell = _text(n, name), n.mmda2.rows[OURS].values[c]
    return holds(
        said == cell["hter"],
        f"HTER {cell['hter']}, AUC {cell['auc']}",
        f"Text {said}; the cell's HTER is {cell['hter']} and its AUC {cell['auc']}.",
    )


def _ir_matters_little(n: Numbers) -> Finding:
    without, full = n.mmda2.rows[OURS].values["I"], n.mmda1.rows[OURS].values["average"]
    gap = {m: without[m] - full[m] for m in METRIC_NAMES}
    return Finding(
        "undetermined",
        f"HTER {gap['hter']:+}, AUC {gap['auc']:+}",
        (f"HTER {full['hter']} to {without['hter']}, a rise by {gap['hter'] / full['hter']:.0%}; AUC {full['auc']} to "
         f"{without['auc']}. Close in points, half as many errors again.",),
    )  # fmt: skip


def _reference(name: str, table: int, n: Numbers) -> Finding:
    said = _text(n, name)
    return holds(
        said == table,
        f"Table {said}, is Table {table}",
        f"The text says Table {said}; the numbers are Table {table}'s.",
    )


def _everywhere(n: Numbers) -> Finding:
    lost = [
        f"{t} {c} {m}"
        for t in RUNS
        for c in _table(n, t).sets
        for m in METRIC_NAMES
        if _best(t, c, m, n).verdict != "confirmed"
    ]
    return holds(not lost, f"{len(lost)} columns lost", f"Not first in: {', '.join(lost) or 'none'}.")


def _ambiguous_protocol(n: Numbers) -> Finding:
    readings = {"PS→CW": n.mmda3.rows[OURS].values["CW"], "PSW→C": n.mmda1.rows[OURS].values["C"]}
    rs2 = n.mmda5.values["rs2"]
    listing = "; ".join(f"{name} {x['hter']}/{x['auc']}" for name, x in readings.items())
    return Finding(
        "undetermined",
        f"{rs2['hter']} against {' or '.join(str(x['hter']) for x in readings.values())}",
        (f"Full model: {listing}. The last ablation row, {rs2['hter']}/{rs2['auc']}, is before U-DSA: either fits.",),
    )


# --- Tables 4 and 5 ---------------------------------------------------------------------------------------


def _ablations(n: Numbers) -> Iterator[Claim]:
    for row, table in (
        *((r, 4) for r in ("dense", "dense_md2a", "moe", "moe_md2a")),
        *((r, 5) for r in ("vanilla", "smooth", "rs2")),
    ):
        for metric in METRIC_NAMES:
            yield Claim(
                f"mmda.t{table}.text.{row}.{metric}",
                "MMDA",
                f"{n.mmda_text[f'{row}_{metric}'].place}; Table {table}",
                "text against table",
                f"the text's {METRIC_NAMES[metric]} of this row is the table's",
                partial(_ablation_text, row, table, metric),
                quote=n.mmda_text[f"{row}_{metric}"].quote,
            )
    for better, worse, table, says in (
        ("dense_md2a", "dense", 4, "MD2A improves the dense adaptor"),
        ("moe_md2a", "moe", 4, "MD2A improves the mixture-of-experts adaptor"),
        ("dense_md2a", "dense_da", 4, "MD2A is better than differential attention on the dense adaptor"),
        ("moe_md2a", "moe_da", 4, "MD2A is better than differential attention on the mixture of experts"),
        ("moe", "dense", 4, "the mixture of experts is better than the dense adaptor"),
        ("moe_md2a", "dense_md2a", 4, "the mixture of experts is better than the dense adaptor, both with MD2A"),
        ("smooth", "vanilla", 5, "smooth alignment is better than the conventional one"),
        ("rs2", "smooth", 5, "RS2 is better than smooth alignment"),
    ):
        yield Claim(
            f"mmda.t{table}.order.{better}.{worse}",
            "MMDA",
            f"Section 4.2; Table {table}",
            "direction",
            says,
            partial(_ablation_order, better, worse, table),
            settles="repeated runs; one run a row is printed",
        )
    yield Claim(
        "mmda.t5.starts_where_t4_ends",
        "MMDA",
        "Tables 4 and 5",
        "text against table",
        "Table 5 starts from Table 4's best row",
        lambda n: holds(
            n.mmda4.values["moe_md2a"] == n.mmda5.values["vanilla"],
            f"{n.mmda5.values['vanilla']['hter']}/{n.mmda5.values['vanilla']['auc']}",
            "Table 4's last row and Table 5's first, HTER/AUC; so U-DSA is not in either.",
        ),
    )


def _ablation_text(row: str, table: int, metric: str, n: Numbers) -> Finding:
    printed = (n.mmda4 if table == 4 else n.mmda5).values[row][metric]
    said = _text(n, f"{row}_{metric}")
    return holds(said == printed, f"{said - printed:+}", f"Text {said}, table {printed}.")


def _ablation_order(better: str, worse: str, table: int, n: Numbers) -> Finding:
    values = (n.mmda4 if table == 4 else n.mmda5).values
    hter = values[worse]["hter"] - values[better]["hter"]
    auc = values[better]["auc"] - values[worse]["auc"]
    steps = f"{values[worse]['hter']}/{values[worse]['auc']} to {values[better]['hter']}/{values[better]['auc']}"
    return holds(hter > 0 and auc > 0, f"HTER −{hter}, AUC +{auc}", f"{steps}, one run each.")


# --- HTER and AUC of one score set ------------------------------------------------------------------------


def _one_score_set(n: Numbers) -> Iterator[Claim]:
    for table in ("t1", "t3"):
        t = _table(n, table)
        for row in t.rows:
            yield Claim(
                f"mmda.{table}.eer_auc.{row}",
                "MMDA",
                f"{t.place}, {t.rows[row].printed}, HTER and AUC",
                "bound between metrics",
                "in each column, an HTER at the equal-error threshold and the AUC can come from one score set",
                partial(_eer_auc, table, row),
                quote="HTER(%) AUC(%)",
                assumes="the threshold is the target's EER point, as in the released evaluation",
            )
    for table in ("t1", "t3"):
        yield Claim(
            f"mmda.{table}.best_threshold",
            "MMDA",
            f"{_table(n, table).place}, HTER and AUC",
            "bound between metrics",
            "HTER is printed without its threshold rule; it could be the lowest over thresholds",
            partial(_best_threshold, table),
            quote="HTER(%)",
            settles="the threshold rule; an EER threshold on the tested set fits every cell",
        )
    yield Claim(
        "mmda.t1.iadg_shape",
        "MMDA",
        "Table 1, IADG, CPS→W",
        "bound between metrics",
        "one score set gives IADG 27.02 % HTER and 86.50 % AUC on WMCA",
        _iadg_shape,
        settles="IADG's scores on the W list",
    )


def _eer_auc(table: str, row: str, n: Numbers) -> Finding:
    t, lines, tightest = _table(n, table), [], 100.0
    for c in RUNS[table]:
        printed = t.rows[row].values[c]
        eer, auc = float(printed["hter"]) / 100, float(printed["auc"]) / 100
        low, high = bounds.auc_range(eer + bounds.AUC_HALF)[0], bounds.auc_range(eer - bounds.AUC_HALF)[1]
        room = min(auc + bounds.AUC_HALF - low, high - auc + bounds.AUC_HALF)
        tightest = min(tightest, 100 * room)
        lines.append(
            f"{t.sets[c]}: HTER {printed['hter']} allows AUC {low:.4%} to {high:.4%}; printed {printed['auc']}"
        )
    return holds(tightest >= 0, f"room {tightest:+.4f}", *lines)


def _best_threshold(table: str, n: Numbers) -> Finding:
    t, broken = _table(n, table), []
    for row, c in ((r, c) for r in t.rows for c in RUNS[table]):
        printed = t.rows[row].values[c]
        top = bounds.youden_auc(float(printed["hter"]) / 100 - bounds.AUC_HALF)
        if float(printed["auc"]) / 100 - bounds.AUC_HALF > top:
            broken.append(f"{_name(n, row)} {t.sets[c]} {printed['hter']}/{printed['auc']} (AUC at most {top:.2%})")
    lines = (f"The lowest HTER h leaves AUC ≤ 1 − 2h². Cells above it: {'; '.join(broken) or 'none'}.",)
    return Finding("undetermined", f"cells that exclude it: {len(broken)}", lines)


def _iadg_shape(n: Numbers) -> Finding:
    printed = n.mmda1.rows["iadg"].values["W"]
    eer, auc = float(printed["hter"]) / 100, float(printed["auc"]) / 100
    typical, top = bounds.binormal_auc(eer), bounds.auc_range(eer)[1]
    return Finding(
        "undetermined" if auc <= top else "contradicted",
        f"{100 * (auc - typical):+.1f} from binormal",
        (f"Two normal distributions of equal variance with this EER give AUC {typical:.2%}; printed {auc:.2%}; "
         f"at most {top:.2%}. Possible, but the oddest shape in the table.",),
    )  # fmt: skip


# --- Integer counts on the public lists -------------------------------------------------------------------


def _integer_counts() -> Iterator[Claim]:
    def claim(name: str, says: str, decide: Callable[[Numbers], Finding], **more: str) -> Claim:
        return Claim(
            f"mmda.counts.{name}", "MMDA", "Table 1", "feasibility on integer counts", says, decide,
            assumes=LIST_ASSUMED, **more,
        )  # fmt: skip

    for c in RUNS["t1"]:
        yield claim(
            f"hter.{c}",
            "MMDA's HTER is one that whole numbers of errors give on this list",
            partial(_reachable, c),
            settles="the numbers of false accepts and false rejects",
        )
    yield claim(
        "one_model.W",
        "1.22 % HTER and 99.99 % AUC on WMCA belong to one score set",
        _extremal_ordering,
        explains="the released training script keeps the best HTER and the best AUC of all epochs separately",
        settles="the scores of one epoch and output",
    )
    for c in ("W", "P"):
        yield claim(
            f"lattice.{c}",
            "the methods' HTERs are frame-level test-EER values on the MMDG list",
            partial(_lattice, c),
            quote="We employ the MMDG [21] testing protocol",
            settles="the scores of the methods off the lattice (ties or another list)",
        )


def _reachable(c: str, n: Numbers) -> Finding:
    hter, (live, attack) = n.mmda1.rows[OURS].values[c]["hter"], n.lists[c]
    pairs = bounds.hter_counts(float(hter) / 100, live, attack)
    near = min(pairs, key=lambda p: abs(p[0] / attack - p[1] / live), default=None)
    found = f"nearest to equal rates: {near[0]} false accepts, {near[1]} false rejects" if near else "none"
    return holds(bool(pairs), f"solutions: {len(pairs)}", f"HTER {hter} on {live} live and {attack} attacks; {found}.")


def _extremal_ordering(n: Numbers) -> Finding:
    cell, (live, attack) = n.mmda1.rows[OURS].values["W"], n.lists["W"]
    pairs = bounds.hter_counts(float(cell["hter"]) / 100, live, attack)
    allowed = int((1 - (float(cell["auc"]) / 100 - bounds.AUC_HALF)) * live * attack)
    needed = min((accepts * rejects for accepts, rejects in pairs), default=None)
    if needed is None:
        return holds(
            False, "no counts", f"no whole numbers give HTER {cell['hter']} on {live} live and {attack} attacks"
        )
    counts = "; ".join(f"{a} false accepts and {r} false rejects" for a, r in pairs)
    top = 1 - needed / (live * attack)
    lines = (
        f"HTER {cell['hter']} % on {live} live and {attack} attacks: {counts}.",
        f"Each accepted attack then outranks each rejected live frame: at least {needed} of {live * attack:,} pairs "
        f"are misordered, so AUC ≤ {top:.4%}.",
        f"AUC {cell['auc']} % as printed allows at most {allowed} misordered pairs.",
    )
    if needed > allowed:
        return Finding("contradicted", f"{needed} > {allowed} pairs", lines)
    only = " Only the one extremal ordering fits." if needed == allowed else ""
    return Finding("undetermined", f"{needed} of at most {allowed} pairs", (*lines, f"Possible.{only}"))


def _lattice(c: str, n: Numbers) -> Finding:
    lattice = bounds.eer_lattice(*n.lists[c])
    values = {row: int(x.values[c]["hter"] * 100) for row, x in n.mmda1.rows.items()}
    off = [row for row, x in values.items() if x not in lattice]
    hits, chance = len(values) - len(off), len(lattice) / 5001
    p = bounds.binomial_tail(hits, len(values), chance)
    return holds(
        p < 0.001,
        f"{hits} of {len(values)}",
        f"{hits} of {len(values)} HTERs lie on the lattice of equal-error points; {chance:.0%} of all values do "
        f"(p = {p:.0e}). Off it: {', '.join(_name(n, row) for row in off)}.",
    )


# --- The released code ------------------------------------------------------------------------------------


def _released(n: Numbers) -> Iterator[Claim]:
    for name, fact in n.released.items():
        yield Claim(
            f"mmda.code.{name}",
            "MMDA",
            fact.place,
            "text against released code",
            fact.says,
            partial(_code, name),
            quote=fact.quote,
            assumes="the released code is the one that made the tables",
            explains="the text describes the intention, or the code changed after the runs",
            settles="the command lines and the commit of the published runs",
        )


def _code(name: str, n: Numbers) -> Finding:
    fact = n.released[name]
    lines = (fact.detail, f"Where: {fact.where}, murInJ/MMDA at 547f9b2.")
    figure = f"text: {fact.text}; code: {fact.code}"
    if fact.text != fact.code and fact.adjustable:
        return Finding("undetermined", figure, lines)
    return holds(fact.text == fact.code, figure, *lines)


def _figures() -> Iterator[Claim]:
    for name, place, says in (
        ("fig3", "Section 4.2, Figure 3", "seven U-DSA layers improve adaptability and generalisation markedly"),
        ("fig4_shallow", "Section 4.2, Figure 4", "the best values lie mostly in the shallower layers"),
        ("fig4_deepest", "Section 4.2, Figure 4", "the deepest layer is never the best"),
        ("fig5", "Section 4.3, Figure 5", "MMDA's embeddings are more concentrated than CLIP's"),
        ("fig6", "Section 4.3, Figure 6", "embeddings become more compact through U-DSA"),
    ):
        why = "Shown as a picture; no number is printed that could be checked."
        yield Claim(f"mmda.{name}", "MMDA", place, "direction", says, needs_data(why), settles="the runs behind it")
