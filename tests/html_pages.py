"""What the tests read of an HTML page."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

VOID = {"meta", "link", "img", "br", "input", "hr"}


class Node:
    """An element: `tag`, `attributes`, `children`, and the `text` of all of it."""

    def __init__(self, tag: str, attributes: dict[str, str]):
        self.tag, self.attributes = tag, attributes
        self.children: list[Node] = []
        self.pieces: list[Any] = []

    @property
    def text(self) -> str:
        joined = "".join(piece.text if isinstance(piece, Node) else piece for piece in self.pieces)
        return re.sub(r"\s+", " ", joined)

    def all(self, tag: str | None = None, **attributes: str) -> list[Node]:
        """All elements below of a `tag`, with these attributes."""
        found = []
        for child in self.children:
            fits = all(child.attributes.get(name.rstrip("_")) == value for name, value in attributes.items())
            found += [child] * (fits and tag in (None, child.tag)) + child.all(tag, **attributes)
        return found

    def one(self, tag: str | None = None, **attributes: str) -> Node:
        (found,) = self.all(tag, **attributes)
        return found


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open = [Node("page", {})]

    def handle_starttag(self, tag: str, attributes: Any, closed: bool = False) -> None:
        node = Node(tag, {name: value or "" for name, value in attributes})
        self.open[-1].children.append(node)
        self.open[-1].pieces.append(node)
        if not closed and tag not in VOID:
            self.open.append(node)

    def handle_startendtag(self, tag: str, attributes: Any) -> None:
        self.handle_starttag(tag, attributes, closed=True)

    def handle_endtag(self, tag: str) -> None:
        assert self.open[-1].tag == tag, f"</{tag}> ends <{self.open[-1].tag}>"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        self.open[-1].pieces.append(data)


def read(page: str | Path) -> Node:
    """A page, by its text or its path, in which every element is closed."""
    reader = _Reader()
    reader.feed(page.read_text() if isinstance(page, Path) else page)
    reader.close()
    assert len(reader.open) == 1, reader.open[-1].tag
    return reader.open[0]


def rows(table: Node) -> list[list[str]]:
    """The texts of a table, row by row, that of its head first."""
    return [[cell.text for cell in row.children] for row in table.all("tr")]


def check_self_contained(page: Node, folder: Path | None = None) -> None:
    """Nothing is loaded from elsewhere, every picture has a text, every id is unique, every link leads somewhere."""
    ids = [node.attributes["id"] for node in page.all() if "id" in node.attributes]
    assert len(ids) == len(set(ids))
    for node in page.all():
        for name in ("src", "href", "srcset", "action", "data"):
            value = node.attributes.get(name)
            if value is None or value.startswith("data:"):
                continue
            if value.startswith("#"):
                assert value[1:] in ids
                continue
            assert node.tag == "a", f"<{node.tag} {name}={value}>"
            assert not re.match(r"[a-z]+:|//", value)
            assert folder is None or (folder / value).is_file(), value
        for value in node.attributes.values():
            for name in re.findall(r"url\(#([^)]+)\)", value):
                assert name in ids
            assert "url(http" not in value
    styles = "".join(node.text for node in page.all("style"))
    assert "url(" not in styles
    assert "@import" not in styles
    for image in page.all("img"):
        assert image.attributes["alt"]
    for svg in page.all("svg"):
        assert svg.attributes["role"] == "img"
        assert "viewbox" in svg.attributes
        title, description = svg.all("title")[0], svg.all("desc")[0]
        names = svg.attributes["aria-labelledby"].split()
        assert names == [title.attributes["id"], description.attributes["id"]]
        assert title.text.strip()
        assert description.text.strip()
