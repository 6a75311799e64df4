"""A table from a TOML file, or from a CSV file pasted from a PDF. What is not stated is asked for, never guessed.

`read` raises BadInput, one sentence with file, place and remedy, for whatever cannot be used.
"""

import csv
import io
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

from data_manifests.errors import BadInput, line_of, refuse_irregular
from paper_tables.audit.check import cells, headings
from paper_tables.audit.check.table import Average, Cell, Column, Counts, Gain, Point, States, Table
from paper_tables.audit.metrics import METRICS, named
from paper_tables.audit.printing import stands_in

KEYS = (
    *("title", "source", "table", "columns", "rows", "metrics", "ignore", "unit"),
    *("counts", "averages", "states", "gain"),
)
SHAPES: Mapping[str, type] = {
    **dict.fromkeys(("title", "source", "table"), str),
    **dict.fromkeys(("columns", "rows", "metrics", "ignore", "gain"), list),
    **dict.fromkeys(("counts", "averages", "states"), dict),
}
AVERAGES = {"average", "avg", "avg.", "mean", "overall"}
UNITS = ("percent", "fraction")
STATED = {"hter": ("eer", "lowest", "fixed"), "bold": ("best",), "half_sums": (True, False)}
STATED |= {"same_samples": (True, False)}


@dataclass(frozen=True)
class Grid:
    """Headings and rows as text; `where` says in words where each row stands."""

    headings: list[str]
    rows: list[list[str]]
    where: list[str]


def read(
    path: Path, metrics: Sequence[str] = (), ignore: Sequence[str] = (), unit: str | Mapping[str, str] = ""
) -> Table:
    """The table in a file: TOML where the name ends so, else CSV. The options state what the file does not."""
    text = text_of(path)
    if path.suffix.lower() == ".toml":
        return from_toml(text, str(path), path.parent, metrics, ignore, unit)
    return build(str(path), grid_of_csv(text, str(path)), {}, metrics, ignore, unit)


def text_of(path: Path) -> str:
    """The file's text. Raises BadInput if there is none, or if it is not UTF-8; a byte order mark is accepted."""
    if path.is_dir():
        raise BadInput(f"{path}: a folder; name the file that holds the table")
    try:
        refuse_irregular(path, "name a TOML or CSV file")
        content = path.read_bytes()
    except FileNotFoundError as e:
        raise BadInput(f"{path}: no such file; name a TOML or CSV file, or a table of the two papers") from e
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as e:
        raise BadInput(f"{path}: line {line_of(e)} is not UTF-8; save the file again with the encoding UTF-8") from e
    if "\0" in text:
        raise BadInput(f"{path}: holds bytes that are no text; save the table as CSV or TOML with the encoding UTF-8")
    if not text.strip():
        raise BadInput(f"{path}: is empty; it needs a line of headings and a line for each row")
    return text


# --- two forms of file ------------------------------------------------------------------------------------


def grid_of_csv(text: str, name: str) -> Grid:
    """Headings and rows of a CSV text, whose cells are separated by tabs, semicolons, bars or commas."""
    first = next(line for line in text.splitlines() if line.strip())
    separator = next((x for x in "\t;|," if x in first), None)
    if separator is None:
        raise BadInput(f"{name}: line 1 has one cell; separate the cells by commas, semicolons or tabs")
    reader = csv.reader(io.StringIO(text), delimiter=separator, skipinitialspace=True, strict=True)
    lines = []
    try:
        for line in reader:
            row = [_one_line(x) for x in line]
            if separator == "|" and len(row) > 2 and not row[0] and not row[-1]:
                row = row[1:-1]  # the outer bars of a Markdown table
            if any(row) and not all(re.fullmatch(r":?-+:?", x) for x in row):
                lines.append((reader.line_num, row))
    except csv.Error as e:
        raise BadInput(f"{name}: line {reader.line_num} cannot be read ({e}); close every quotation mark") from e
    (_, heads), *rest = lines
    if rest and _names_metrics(rest[0][1]):
        heads, rest = _two_lines(heads, rest[0][1]), rest[1:]
    return Grid(heads, [row for _, row in rest], [f"line {number}" for number, _ in rest])


def _one_line(cell: str) -> str:
    """The cell without line breaks and without blanks around it."""
    return re.sub(r" *[\r\n]+ *", " ", cell).strip()


def _names_metrics(row: list[str]) -> bool:
    own = [x for x in row[1:] if x]
    return bool(own) and all(headings.metrics_in(x) and not re.search(r"[0-9]", x) for x in own)


def _two_lines(sets: list[str], metrics: list[str]) -> list[str]:
    """One heading a column, from a line of sets, each named above its first column, and a line of metrics."""
    heads, group = [sets[0]], ""
    for i, metric in enumerate(metrics[1:], 1):
        group = sets[i] if i < len(sets) and sets[i] else group
        heads.append(f"{group} {metric}".strip())
    return heads


def from_toml(
    text: str,
    name: str,
    folder: Path,
    metrics: Sequence[str] = (),
    ignore: Sequence[str] = (),
    unit: str | Mapping[str, str] = "",
) -> Table:
    """The table of a TOML text; `folder` is where the file that `table` names lies."""
    try:
        content = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as e:
        raise BadInput(f"{name}: not valid TOML ({e}); mend it there") from e
    if odd := sorted(set(content) - set(KEYS)):
        raise BadInput(f"{name}: {odd[0]} is no key of a table; known are {', '.join(KEYS)}")
    for key, kind in SHAPES.items():
        if key in content and not isinstance(content[key], kind):
            raise BadInput(f"{name}: {key} must be {_KINDS[kind]}, as the example in the README shows")
    for key in ("columns", "metrics", "ignore"):
        if odd := [x for x in content.get(key, []) if not isinstance(x, str)]:
            raise BadInput(f"{name}: {key} holds {odd[0]!r}; write texts in quotes")
    if "table" in content:
        if "rows" in content or "columns" in content:
            raise BadInput(f"{name}: has rows and names the file {content['table']}; keep one of the two")
        path = folder / content["table"]
        grid = grid_of_csv(text_of(path), str(path))
        return build(str(path), grid, content, metrics, ignore, unit, name)
    for key in ("columns", "rows"):
        if not content.get(key):
            raise BadInput(f"{name}: has no {key}; write them, or name a CSV file as table")
    rows = [_row(name, i, row) for i, row in enumerate(content["rows"], 1)]
    heads = ["", *map(_one_line, content["columns"])]
    grid = Grid(heads, rows, [f"row {i} (“{row[0]}”)" for i, row in enumerate(rows, 1)])
    return build(name, grid, content, metrics, ignore, unit)


_KINDS: Mapping[type, str] = {str: "a text in quotes", list: "a list", dict: "a table"}


def _row(name: str, i: int, row: object) -> list[str]:
    if not isinstance(row, list) or not row:
        raise BadInput(f"{name}: row {i} must be a list: the row's name, then its cells")
    for x in row:
        if not isinstance(x, str):
            raise BadInput(
                f"{name}: row {i} (“{row[0]}”) holds {x} without quotes, which loses zeros at the end; "
                f'write it as printed, "{x}"'
            )
    return [_one_line(x) for x in row]


# --- the table --------------------------------------------------------------------------------------------


def build(
    name: str,
    grid: Grid,
    content: Mapping[str, Any],
    metrics: Sequence[str],
    ignore: Sequence[str],
    unit: str | Mapping[str, str],
    statements: str = "",
) -> Table:
    """The table of a grid and of what is stated of it in the file `statements`, or in `name` itself."""
    stated_in = statements or name
    kept, columns = _columns(name, grid, metrics or content.get("metrics", ()), {*ignore, *content.get("ignore", ())})
    rows, taken = _cells(name, grid, kept, columns)
    rows = _in_percent(name, rows, columns, unit or content.get("unit", ""))
    sets = list(dict.fromkeys(c.set for c in columns))
    of_sets = content.get("averages", {})
    guessed, taken_for = _averages_by_heading([s for s in sets if s not in of_sets])
    tested = [s for s in sets if s not in of_sets and s not in {a.set for a in guessed}]
    counts = _counts(stated_in, content.get("counts", {}), tested)
    table = Table(
        title=content.get("title", Path(name).name),
        source=content.get("source", ""),
        columns=columns,
        rows=rows,
        counts=counts,
        averages=(*_averages(stated_in, of_sets, sets, counts), *guessed),
        states=_states(stated_in, content.get("states", {})),
        taken=(*taken, *taken_for),
    )
    return replace(table, gains=tuple(_gain(stated_in, i, x, table) for i, x in enumerate(content.get("gain", []), 1)))


def _columns(name: str, grid: Grid, metrics: Sequence[str], ignored: set[str]) -> tuple[list[int], tuple[Column, ...]]:
    """Which cells of a row are kept, and the column of each."""
    if odd := sorted(ignored - set(grid.headings)):
        raise BadInput(f"{name}: no column is called “{odd[0]}”; the columns are {_listed(grid.headings[1:])}")
    kept = [i for i, head in enumerate(grid.headings) if i and head not in ignored]
    if not kept:
        raise BadInput(f"{name}: has no column of numbers; a heading beside the first names a set and a metric")
    stated = [_metric(name, x) for x in metrics]
    if stated and len(kept) % len(stated):
        raise BadInput(
            f"{name}: {len(stated)} metrics are stated for {len(kept)} columns; state one for each column, or as many "
            "as repeat from set to set"
        )
    columns: list[Column] = []
    for place, i in enumerate(kept):
        head = grid.headings[i]
        try:
            column = headings.parse(head, stated[place % len(stated)] if stated else None)
        except ValueError as e:
            raise BadInput(
                f"{name}: column {i + 1}, “{head}”, {e}; write the metric into its heading, as in “{head or 'CeFA'} "
                f"HTER”, or state the metrics in order (--metrics hter,auc), or leave the column out "
                f"(--ignore “{head}”); known are {headings.KNOWN}"
            ) from e
        if any((c.set, c.metric, c.at) == (column.set, column.metric, column.at) for c in columns):
            raise BadInput(f"{name}: column {i + 1}, “{head}”, is there twice; name the set of each in its heading")
        columns.append(column)
    return kept, tuple(columns)


def _metric(name: str, spelling: str) -> str:
    found = named(spelling)
    if found is None:
        raise BadInput(f"{name}: metrics names {spelling}, which is none; known are {headings.KNOWN}")
    return found


def _cells(
    name: str, grid: Grid, kept: Sequence[int], columns: Sequence[Column]
) -> tuple[dict[str, dict[str, Cell]], list[str]]:
    if not grid.rows:
        raise BadInput(f"{name}: has headings and no rows; write a line for each method")
    rows: dict[str, dict[str, Cell]] = {}
    seen: dict[str, list[str]] = {}
    for where, row in zip(grid.where, grid.rows, strict=True):
        if len(row) != len(grid.headings):
            raise BadInput(
                f"{name}: {where} has {len(row)} cells and the headings are {len(grid.headings)}; write “-” where "
                "nothing is printed, and put a number with a comma in quotes"
            )
        if row[0] in rows:
            raise BadInput(f"{name}: {where}: two rows are called “{row[0]}”; give each row a name of its own")
        rows[row[0]] = {}
        for i, column in zip(kept, columns, strict=True):
            place = f"{where}, column “{column.name}”"
            try:
                cell, taken = cells.parse(row[i])
            except ValueError as e:
                raise BadInput(
                    f"{name}: {place} holds “{row[i]}”, which is no number; write the number as printed, or “-” where "
                    "nothing is"
                ) from e
            if cell is not None:
                if cell.value > 100:
                    raise BadInput(
                        f"{name}: {place} holds {cell.value}, and no rate is above 100 %; correct it, or leave the "
                        f"column out (--ignore “{column.name}”)"
                    )
                rows[row[0]][column.name] = cell
            for words in taken:
                seen.setdefault(words, []).append(f"“{row[i]}” ({where}, “{column.name}”)")
    return rows, [_taken(words, places) for words, places in seen.items()]


def _taken(words: str, places: list[str]) -> str:
    others = {1: "", 2: ", and in another cell"}.get(len(places), f", and in {len(places) - 1} other cells")
    return f"{places[0]}: {words}{others}"


def _in_percent(
    name: str, rows: dict[str, dict[str, Cell]], columns: Sequence[Column], unit: str | Mapping[str, str]
) -> dict[str, dict[str, Cell]]:
    """All cells as percentages. Raises BadInput where a column may hold fractions and nothing says so."""
    each = unit if isinstance(unit, Mapping) else dict.fromkeys((c.name for c in columns), unit)
    if odd := sorted(set(each) - {c.name for c in columns}):
        raise BadInput(
            f"{name}: unit names the column “{odd[0]}”, which is none; they are {_listed(c.name for c in columns)}"
        )
    for x in each.values():
        if x not in ("", *UNITS):
            raise BadInput(f"{name}: the unit is {x!r}; it must be percent or fraction")
    greatest = {
        c.name: max((r[c.name].value for r in rows.values() if c.name in r), default=Decimal(0)) for c in columns
    }
    large = next((c.name for c in columns if greatest[c.name] > 1), None)
    for c in columns:
        stated, most = each.get(c.name, ""), greatest[c.name]
        if stated == "fraction" and most > 1:
            raise BadInput(f"{name}: column “{c.name}” holds {most}, which is no fraction; state percent for it")
        high_is_fraction = not METRICS[c.metric].lower_is_better and not isinstance(unit, Mapping)
        if 0 < most <= 1 and (not stated or (stated == "percent" and high_is_fraction and large)):
            beside = f"“{large}” percentages" if large else "no column a number above 1"
            raise BadInput(
                f"{name}: column “{c.name}” holds nothing above 1 and {beside}; say whether it is a fraction or a "
                f'percentage: in a TOML file unit = {{ "{c.name}" = "fraction" }}, or for all columns --unit percent'
            )
    return {
        row: {k: _scaled(x) if each.get(k) == "fraction" else x for k, x in own.items()} for row, own in rows.items()
    }


def _scaled(cell: Cell) -> Cell:
    """A fraction as a percentage, its printed digits kept."""
    return Cell(cell.value.scaleb(2), cell.bold, None if cell.spread is None else cell.spread.scaleb(2))


# --- what is stated ---------------------------------------------------------------------------------------


def _averages_by_heading(sets: list[str]) -> tuple[list[Average], list[str]]:
    """The averages that a heading alone names, and in words what they were taken for."""
    own = [s for s in sets if s.lower() in AVERAGES]
    rest = tuple(s for s in sets if s not in own)
    if len(rest) < 2:
        return [], []
    return [Average(s, rest, dict.fromkeys(rest, Decimal(1)), False) for s in own], [
        f"“{s}” was taken for the plain mean of {_listed(rest)}; state it as [averages] of a TOML file" for s in own
    ]


def _averages(name: str, stated: Mapping[str, Any], sets: list[str], counts: Mapping[str, Counts]) -> Iterator[Average]:
    for group, x in stated.items():
        where = f"{name}: averages.{group}"
        if group not in sets:
            raise BadInput(f"{where}: no heading names the set “{group}”; the sets are {_listed(sets)}")
        if not isinstance(x, dict) or set(x) != {"of", "weights"} or not isinstance(x["of"], list):
            raise BadInput(f'{where} must have sets and weights, as in {{ of = ["A", "B"], weights = "equal" }}')
        if odd := [s for s in x["of"] if s not in sets or s == group]:
            raise BadInput(f"{where}: of names “{odd[0]}”, which is no other set; the sets are {_listed(sets)}")
        if len(x["of"]) < 2 or len(set(x["of"])) < len(x["of"]):
            raise BadInput(f"{where}: of must name two sets or more, each once")
        yield Average(group, tuple(x["of"]), _weights(where, x["weights"], x["of"], counts), True)


def _weights(where: str, stated: object, of: list[str], counts: Mapping[str, Counts]) -> Mapping[str, Decimal] | None:
    if stated == "samples":
        samples = {s: counts[s].samples for s in of if s in counts}
        if without := [s for s in of if not samples.get(s)]:
            raise BadInput(f"{where}: weights are the numbers of samples; state those of {without[0]} in [counts]")
        return {s: Decimal(n) for s, n in samples.items() if n}
    if stated == "unknown":
        return None
    if stated == "equal":
        return dict.fromkeys(of, Decimal(1))
    if not isinstance(stated, dict) or set(stated) != set(of):
        raise BadInput(f'{where}: weights must be "equal", "samples", "unknown", or a number for each of {_listed(of)}')
    return {s: _positive(f"{where}: weights.{s}", stated[s]) for s in of}


def _positive(where: str, stated: object) -> Decimal:
    try:
        value = Decimal(str(stated)) if not isinstance(stated, bool) else Decimal("NaN")
    except InvalidOperation:
        value = Decimal("NaN")
    if value == 0:
        raise BadInput(f"{where} is 0; leave out of the average what does not count in it")
    if not value.is_finite() or value < 0:
        raise BadInput(f"{where} is {stated!r}; write a positive number")
    return value


def _counts(name: str, stated: Mapping[str, Any], sets: list[str]) -> dict[str, Counts]:
    found = {}
    for group, x in stated.items():
        where = f"{name}: counts.{group}"
        if group not in sets:
            raise BadInput(f"{where}: no heading names the tested set “{group}”; they are {_listed(sets)}")
        if not isinstance(x, dict) or not x or not set(x) <= {"bonafide", "attack", "samples", "families"}:
            raise BadInput(f"{where} must give bonafide and attack, or samples, and may give families")
        families = x.get("families", {})
        if not isinstance(families, dict):
            raise BadInput(f"{where}.families must give a number for each kind of attack")
        own = {k: _whole(f"{where}.{k}", v) for k, v in x.items() if k != "families"}
        of = {k: _whole(f"{where}.families.{k}", v) for k, v in families.items()}
        bonafide, attack, samples = own.get("bonafide"), own.get("attack"), own.get("samples")
        if of and attack is not None and sum(of.values()) != attack:
            raise BadInput(f"{where}: the families are {sum(of.values())} attacks and attack is {attack}; correct one")
        attack = sum(of.values()) if of else attack
        if bonafide and attack:
            if samples not in (None, bonafide + attack):
                raise BadInput(f"{where}: {bonafide} + {attack} is not {samples}; correct one of the three")
            samples = bonafide + attack
        found[group] = Counts(bonafide, attack, samples, of)
    return found


def _whole(where: str, stated: object) -> int:
    if not isinstance(stated, int) or isinstance(stated, bool) or stated < 1:
        raise BadInput(f"{where} is {stated!r}; write a whole number of samples, 1 or more")
    return stated


def _states(name: str, stated: Mapping[str, Any]) -> States:
    where = f"{name}: states"
    known = (*STATED, "accuracy", "each_class")
    if odd := sorted(set(stated) - set(known)):
        raise BadInput(f"{where}.{odd[0]} is no statement; known are {_listed(known)}")
    for key, allowed in STATED.items():
        if key in stated and stated[key] not in allowed:
            raise BadInput(f"{where}.{key} is {stated[key]!r}; it may be {_listed(str(x).lower() for x in allowed)}")
    return States(
        **{k: v for k, v in stated.items() if k in STATED},
        accuracy=_point(where, stated.get("accuracy")),
        each_class=_whole(f"{where}.each_class", stated["each_class"]) if "each_class" in stated else 0,
    )


def _point(where: str, stated: object) -> Point | None:
    if stated is None:
        return None
    if isinstance(stated, dict) and len(stated) == 1:
        ((metric, value),) = stated.items()
        if metric in ("bpcer", "apcer") and isinstance(value, str) and re.fullmatch(r"[0-9]+(\.[0-9]+)?", value):
            return metric, Decimal(value)
    raise BadInput(f'{where}.accuracy must name a threshold in percent, as printed, as in {{ bpcer = "1" }}')


def _gain(name: str, i: int, stated: object, table: Table) -> Gain:
    where = f"{name}: gain {i}"
    needed, known = {"quote", "value", "row", "column"}, {"quote", "value", "row", "column", "over", "kind"}
    if not isinstance(stated, dict) or not needed <= set(stated) <= known:
        raise BadInput(f"{where} must have {', '.join(sorted(needed))}, and may have over and kind")
    if odd := [k for k, v in stated.items() if not isinstance(v, str)]:
        raise BadInput(f"{where}: {odd[0]} must stand in quotes")
    if not stands_in(stated["value"], stated["quote"]):
        raise BadInput(f"{where}: {stated['value']} does not stand in the quotation; type both as printed")
    try:
        value = Decimal(stated["value"])
    except InvalidOperation as e:
        raise BadInput(f"{where}: {stated['value']} is no number; type it as printed") from e
    if stated["column"] not in {c.name for c in table.columns}:
        raise BadInput(f"{where}: no column is called “{stated['column']}”; write its heading")
    over = stated.get("over", "")
    for row in (stated["row"], *([over] if over not in ("", "second best") else [])):
        if stated["column"] not in table.rows.get(row, {}):
            raise BadInput(f"{where}: the row “{row}” prints nothing in “{stated['column']}”; write the row's own name")
    if stated.get("kind", "") not in ("", "points", "relative"):
        raise BadInput(f"{where}: kind is {stated['kind']!r}; it may be points or relative")
    return Gain(stated["quote"], value, stated["row"], stated["column"], over, stated.get("kind", ""))


def _listed(names: Any) -> str:
    return ", ".join(f"“{x}”" if x == "" or " " in str(x) else str(x) for x in names)
