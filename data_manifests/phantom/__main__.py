"""`python -m data_manifests.phantom render|sheet|controls`: the stand-in data, its contact sheet, its controls."""

import tyro

from data_manifests.errors import cli_errors
from data_manifests.phantom.build import render

if __name__ == "__main__":
    with cli_errors():
        tyro.extras.subcommand_cli_from_dict({"render": render}, prog="python -m data_manifests.phantom")
