"""Every form of a table as a file, side by side in one folder."""

from pathlib import Path

from data_manifests.locks import locked
from data_manifests.sums import write_together
from paper_tables.numbers.results import Results
from paper_tables.rendering import render

FRAGMENT = "fragment.html"  # what the report shows of the table


def write(results: Results, folder: Path) -> list[Path]:
    """Write every form of the table; each file is replaced in one piece."""
    from paper_tables.rendering import figures, page  # matplotlib takes a second to load, and not every command draws

    texts = {"table.md": render.markdown(results), "table.tex": render.latex(results)}
    texts |= {"table.html": page.page(results), "table.json": render.as_json(results)}
    texts |= {FRAGMENT: page.fragment(results)}
    contents = {name: text.encode() for name, text in texts.items()}
    figure = results.table.figure
    if figure and figures.legend(results):
        contents |= {f"{figure.name}.{kind}": data for kind, data in figures.files(results).items()}
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder):
        write_together(folder, contents)
    return [folder / name for name in contents]
