"""A measured figure, and tables of figures."""

from __future__ import annotations

import json
import os
import platform
import re
from dataclasses import asdict, dataclass
from pathlib import Path

import numba
import numpy as np

from gradrtl.errors import UserError, require

BEGIN, END = "<!-- bench: begin -->", "<!-- bench: end -->"


@dataclass(frozen=True)
class Figure:
    """One row of the table. `counted` figures are the same on every machine; the others are times.

    `least` and `most` are the aim, None if there is none.
    """

    name: str
    value: float
    unit: str
    counted: bool
    least: float | None = None
    most: float | None = None

    @property
    def met(self) -> bool | None:
        """Whether the aim is reached; None if there was none."""
        if self.least is None and self.most is None:
            return None
        return (self.least is None or self.value >= self.least) and (self.most is None or self.value <= self.most)


def markdown(figures: list[Figure], source: str) -> str:
    """The table, under a line with its source."""
    rows = ["| figure | measured | aim | |", "| --- | ---: | ---: | --- |"]
    for figure in figures:
        aim = f"at least {figure.least:g}" if figure.least is not None else ""
        aim = f"at most {figure.most:g}" if figure.most is not None else aim
        verdict = {None: "", True: "reached", False: "not reached"}[figure.met]
        # The names themselves are keys of the baseline and stay.
        name = re.sub(r"(operations|events|energy) a frame", r"\1 per frame", figure.name)
        rows.append(f"| {name} | {_digits(figure.value)} {figure.unit} | {aim} | {verdict} |")
    return "\n".join([source, "", *rows]) + "\n"


def _digits(value: float) -> str:
    """At least three significant digits, with thousands separators."""
    if value == int(value) or abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def write(figures: list[Figure], folder: Path, source: str) -> None:
    """`figures.json` and `figures.md` in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    machine = {
        "cores": len(os.sched_getaffinity(0)),
        "machine": platform.machine(),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "numba": numba.__version__,
    }
    rows = [{**asdict(figure), "met": figure.met} for figure in figures]
    document = {"source": source, "machine": machine, "figures": rows}
    (folder / "figures.json").write_text(json.dumps(document, indent=2) + "\n")
    (folder / "figures.md").write_text(markdown(figures, source))


def read(path: Path) -> tuple[list[Figure], str]:
    """Figures and source of a `figures.json`."""
    if not path.is_file():
        raise UserError(f"figures {path}: no such file, run `python -m bench` first")
    document = json.loads(path.read_text())
    rows = [{k: v for k, v in row.items() if k != "met"} for row in document["figures"]]
    return [Figure(**row) for row in rows], document["source"]


def put_into(page: Path, table: str) -> None:
    """Replace the text between the two marker comments of `page`."""
    text = page.read_text()
    fits = text.count(BEGIN) == 1 and text.count(END) == 1 and text.index(BEGIN) < text.index(END)
    require(fits, f"markers of {page.name}", "missing or doubled", f"one {BEGIN} before one {END}")
    before, after = text[: text.index(BEGIN)], text[text.index(END) :]
    page.write_text(f"{before}{BEGIN}\n{table}{after}")
