"""The picture saver: the same bytes each time, with what is said about the picture and without a date."""

from io import BytesIO

import matplotlib
from matplotlib.figure import Figure
from PIL import Image

from reference.pictures import encoded


def drawn() -> Figure:
    """A line in a frame that clips it, so that the SVG needs ids."""
    figure = Figure(figsize=(2, 1))
    figure.subplots().plot([0.0, 1.0])
    return figure


def test_a_picture_is_the_same_bytes_again_and_says_what_it_is() -> None:
    contents = encoded(drawn(), {"Title": "A line"})
    with matplotlib.rc_context({"svg.hashsalt": None}):
        assert encoded(drawn(), {"Title": "A line"}) == contents
        assert matplotlib.rcParams["svg.hashsalt"] is None
    svg = contents["svg"].decode()
    assert "<dc:title>A line</dc:title>" in svg
    assert "<clipPath id=" in svg
    assert "<dc:date>" not in svg
    with Image.open(BytesIO(contents["png"])) as image:
        assert image.size == (300, 150)
        assert image.info["Title"] == "A line"
    assert encoded(drawn())["svg"] != contents["svg"]
