"""Readers of written pages and LaTeX, for the tests that ask whether they are well-formed."""

import re
from html.parser import HTMLParser


def balanced(text):
    """Whether every brace of a LaTeX text is closed, an escaped brace being none."""
    depth = 0
    for token in re.findall(r"\\.|[{}]", text, flags=re.DOTALL):
        depth += {"{": 1, "}": -1}.get(token, 0)
        if depth < 0:
            return False
    return depth == 0


class Checker(HTMLParser):
    """Reads a page, asserts that its tags close each other, and keeps its ids, links and text.

    A page whose every tag is closed leaves `open` empty.
    """

    VOID = ("meta", "input", "br", "hr", "img", "link")

    def __init__(self):
        super().__init__()
        self.open, self.ids, self.links, self.text = [], [], [], []

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        assert len(values) == len(attrs), f"an attribute twice in {tag}"
        if "id" in values:
            self.ids.append(values["id"])
        for name in ("src", "href", "xlink:href", "action", "data"):
            if name in values:
                self.links.append(values[name])
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)
