"""The one way a picture of the methods is saved: the same bytes each time it is drawn."""

from collections.abc import Mapping
from io import BytesIO
from types import MappingProxyType

import matplotlib
from matplotlib.figure import Figure

_NOTHING: Mapping[str, str] = MappingProxyType({})


def encoded(figure: Figure, about: Mapping[str, str] = _NOTHING) -> dict[str, bytes]:
    """The figure as "svg" and as "png", without a date and with ids that depend on its content alone.

    about: metadata that both files carry, such as Title and Description.
    """
    contents = {}
    with matplotlib.rc_context({"svg.hashsalt": "fas"}):
        for kind, dates in (("svg", {"Date": None}), ("png", {})):
            buffer = BytesIO()
            figure.savefig(buffer, format=kind, dpi=150, metadata={**about, **dates})
            contents[kind] = buffer.getvalue()
    return contents
