"""The picture saver: the same bytes each time, with what is said about the picture and without a date."""

from io import BytesIO

import matplotlib
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.figure import Figure
from PIL import Image

from reference.pictures import encoded

TITLES = st.text(st.characters(min_codepoint=32, max_codepoint=126, exclude_characters="&<>"), min_size=1, max_size=20)


def drawn(values: list[float]) -> Figure:
    """A line in a frame that clips it, so that the SVG needs ids."""
    figure = Figure(figsize=(2, 1))
    figure.subplots().plot(values)
    return figure


@settings(max_examples=5)
@given(values=st.lists(st.floats(-9, 9), min_size=2, max_size=5), title=TITLES)
def test_a_picture_is_the_same_bytes_again_and_says_what_it_is(values: list[float], title: str) -> None:
    contents = encoded(drawn(values), {"Title": title})
    with matplotlib.rc_context({"svg.hashsalt": None}):
        assert encoded(drawn(values), {"Title": title}) == contents
        assert matplotlib.rcParams["svg.hashsalt"] is None
    svg = contents["svg"].decode()
    assert f"<dc:title>{title}</dc:title>" in svg
    assert "<clipPath id=" in svg
    assert "<dc:date>" not in svg
    with Image.open(BytesIO(contents["png"])) as image:
        assert image.size == (300, 150)
        assert image.info["Title"] == title
    assert encoded(drawn(values))["svg"] != contents["svg"]
