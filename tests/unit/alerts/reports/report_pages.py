"""Reading a report as a browser or a reader of paper would, without the code that wrote it."""

import io
import re
import xml.etree.ElementTree as ET
from html.parser import HTMLParser

from pypdf import PdfReader

VOID = frozenset({"meta", "br", "hr", "img", "link", "input"})


class Page(HTMLParser):
    """A page, taken apart: wrong nesting is an error."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = text
        self.open: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.scripts = 0
        self.handlers: list[str] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.scripts += tag == "script"
        for name, value in attrs:
            if name == "id":
                self.ids.append(value or "")
            if name in {"href", "src", "xlink:href", "action", "data"}:
                self.links.append(value or "")
            if name.startswith("on"):
                self.handlers.append(name)
            self.links += [f"#{one}" for one in re.findall(r"url\(#([^)]+)\)", value or "")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not {"style", "script"} & set(self.open):
            self.words.append(data)

    def drawings(self) -> list[ET.Element]:
        """Return the SVGs, each a document that is well-formed by itself."""
        return [ET.fromstring(one) for one in re.findall(r"<svg.*?</svg>", self.text, re.DOTALL)]


def squeezed(text: str) -> str:
    """Return a text without white space: a line may be broken anywhere on paper."""
    return "".join(text.split())


def paper(content: bytes) -> tuple[int, str]:
    """Return how many pages a PDF has, and its text without white space."""
    reader = PdfReader(io.BytesIO(content))
    return len(reader.pages), squeezed("".join(page.extract_text() for page in reader.pages))
