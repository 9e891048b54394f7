"""A report as data, and its HTML: a verdict, facts, and sections of tables, charts, images and links.

Everything is text that the template escapes, except for SVG, which `charts` and `steps.picture` make.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Literal
from urllib.parse import quote

import jinja2

from ..files import write_text

TEMPLATE = "report.html.j2"
State = Literal["pass", "fail", "done"]


@dataclass(frozen=True)
class Verdict:
    """What came of a run, in a sentence. `done`: nothing was compared, so there is nothing to pass or fail."""

    state: State
    words: str


@dataclass(frozen=True)
class Cell:
    """A cell of a table that is shaded by `share`, 0 to 1."""

    text: str
    share: float


@dataclass(frozen=True)
class Table:
    """A table with a caption. The first cell of a row is its heading."""

    caption: str
    head: tuple[str, ...]
    rows: tuple[tuple[str | Cell, ...], ...]

    @property
    def shaded(self) -> bool:
        """All cells are, but for headings: a matrix, whose columns can be narrow."""
        return all(isinstance(cell, Cell) for row in self.rows for cell in row[1:])


@dataclass(frozen=True)
class Chart:
    """An SVG with its title and a description, both in the SVG as well. `wide`: it is not scaled down, but scrolls."""

    title: str
    description: str
    svg: str
    wide: bool = False


@dataclass(frozen=True)
class Image:
    """A small picture, PNG in base64, and what it shows."""

    data: str
    caption: str
    width: int
    height: int


@dataclass(frozen=True)
class Images:
    pictures: tuple[Image, ...]


@dataclass(frozen=True)
class Link:
    """A file of the run: `target` as seen from the report's folder, in a URL."""

    name: str
    target: str
    what: str


@dataclass(frozen=True)
class Links:
    files: tuple[Link, ...]


@dataclass(frozen=True)
class Markup:
    """HTML with its own script, made here."""

    html: str


Part = str | Table | Chart | Images | Links | Markup


@dataclass(frozen=True)
class Section:
    title: str
    parts: tuple[Part, ...]


@dataclass(frozen=True)
class Report:
    """A whole page. `facts`: names and values under the verdict. Sections without parts are left out."""

    title: str
    verdict: Verdict
    facts: tuple[tuple[str, str], ...]
    sections: tuple[Section, ...]
    notes: tuple[str, ...] = ()


def render(report: Report) -> str:
    """The HTML of a report."""
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.tests["kind"] = lambda part, name: type(part).__name__ == name
    template = environment.from_string(files("gradrtl").joinpath("templates", TEMPLATE).read_text())
    sections = [section for section in report.sections if section.parts]
    return template.render(report=report, sections=sections)


def write(path: Path, report: Report) -> None:
    """Write a report to `path`, completely or not at all."""
    write_text(path, render(report))


def links(path: Path, targets: Sequence[tuple[Path | None, str]]) -> Links:
    """Links from a report at `path` to those of the `targets` that exist; each with what it is."""
    found = []
    for target, what in targets:
        if target is None or not target.is_file():
            continue
        relative = os.path.relpath(target.resolve(), path.resolve().parent)
        found.append(Link(str(target), quote(os.fsencode(Path(relative).as_posix())), what))
    return Links(tuple(found))
