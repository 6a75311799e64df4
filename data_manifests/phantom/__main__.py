"""`python -m data_manifests.phantom render|sheet`: the stand-in data and its contact sheet."""

import tyro

from data_manifests.errors import cli_errors
from data_manifests.phantom.build import render
from data_manifests.phantom.sheet import sheet

if __name__ == "__main__":
    with cli_errors():
        tyro.extras.subcommand_cli_from_dict(
            {"render": render, "sheet": sheet}, prog="python -m data_manifests.phantom"
        )
