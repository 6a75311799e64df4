"""`python -m data_manifests.phantom render|sheet|controls`: the stand-in data, its contact sheet, its controls."""

from pathlib import Path

import tyro

from data_manifests.errors import cli_errors
from data_manifests.phantom.build import render
from data_manifests.phantom.sets import VERSION
from data_manifests.phantom.sheet import sheet


def controls(
    index: Path = Path(f"build/index/phantom-{VERSION}-cpu/index.csv"), cache: Path = Path("build/cache")
) -> None:
    """Check the stand-in behind an index; exit status 1 when a control fails.

    Args:
        index: index.csv of the rendered stand-in (`make phantom` makes the default one).
        cache: folder of decoded pixels.
    """
    # Imported here because it loads torch, which rendering does not need.
    from reference.phantom_controls import controls as check

    check(index, cache)


if __name__ == "__main__":
    with cli_errors():
        tyro.extras.subcommand_cli_from_dict(
            {"render": render, "sheet": sheet, "controls": controls}, prog="python -m data_manifests.phantom"
        )
