"""Every declared table by its name, and the list of comparison rows that README.md shows."""

from paper_tables.declarations import mmda, mmfas
from reference.rivals import rows as comparison_rows

TABLES = {table.name: table for table in (*mmfas.TABLES, *mmda.TABLES)}


def rows_list() -> str:
    """The comparison rows of rows.toml as a Markdown table; `paper_tables/README.md` holds it between two marks."""
    lines = ["| row | called | in | looks at | implemented |", "|---|---|---|---|---|"]
    for row in comparison_rows.load(comparison_rows.FILE).values():
        program = f"`{row.program}`" if row.implemented else "not yet"
        sees = (row.sees or "nothing") if row.implemented else ""
        lines.append(f"| `{row.name}` | {row.title} | {', '.join(row.tables)} | {sees} | {program} |")
    return "\n".join(lines)
