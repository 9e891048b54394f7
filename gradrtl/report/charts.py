"""Charts: figures of Matplotlib as SVG that belongs to a page.

Colours are those of the page, so that charts follow its light and dark scheme; fonts are the page's, as text; the SVG
has a viewBox alone, so that it takes the width that there is; a title and a description are its text alternative.
"""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Callable
from html import escape
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

from .page import Chart

WIDTH = 5.0  # inches: 360 units of the SVG, so that text of 11 units can be read on a phone
# Colours in Matplotlib, each replaced by a variable of the page's style sheet.
COLOURS = {
    "#010101": "ink",
    "#010102": "muted",
    "#010103": "grid",
    "#010111": "first",
    "#010112": "second",
    "#010113": "third",
    "#010114": "fourth",
    "#010115": "fifth",
    "#010116": "sixth",
    "#010121": "bad",
}
INK, MUTED, GRID, FIRST, SECOND, THIRD, FOURTH, FIFTH, SIXTH, BAD = COLOURS
SERIES = (FIRST, SECOND, THIRD, FOURTH, FIFTH, SIXTH)
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "gradrtl",
    "path.simplify": False,
    "text.parse_math": False,  # a name with dollars is a name
    "font.size": 11,
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "text.color": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "legend.frameon": False,
    "legend.labelcolor": INK,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
}


def chart(
    title: str,
    description: str,
    draw: Callable[[Figure], None],
    height: float = 2.8,
    names: dict[str, str] | None = None,
) -> Chart:
    """What `draw` draws on a figure of `height` inches. `names`: a text for each artist with that `gid`."""
    buffer = io.StringIO()
    with rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, height), layout="constrained")
        draw(figure)
        nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        figure.savefig(buffer, format="svg", metadata=nothing)
    return Chart(title, description, adapted(buffer.getvalue(), title, description, names))


def logarithmic(axes: Axes, name: str) -> None:
    """A logarithmic axis, `x` or `y`, whose numbers are written out: Matplotlib's are formulas."""
    axis = axes.xaxis if name == "x" else axes.yaxis
    axes.set(**{f"{name}scale": "log"})
    axis.set_minor_locator(LogLocator(subs=(2, 5)))
    for ticks in (axis.set_major_formatter, axis.set_minor_formatter):
        ticks(lambda value, _: f"{value:g}")


def adapted(svg: str, title: str, description: str, names: dict[str, str] | None = None) -> str:
    """An SVG of Matplotlib as a part of a page. All ids begin with a digest of the title, which is unique in a page."""
    name = f"c{hashlib.sha256(title.encode()).hexdigest()[:8]}"
    view = re.search(r'viewBox="[^"]*"', svg)
    assert view is not None
    body = svg[svg.index(">", view.end()) + 1 :]
    body = re.sub(r"<metadata>.*?</metadata>|<style[^>]*>.*?</style>", "", body, flags=re.DOTALL)
    body = re.sub(r"<[^>]*>", lambda tag: _adapted(tag[0], name), body)  # what is between tags is text, and stays
    body = re.sub(r">\s*\n\s*<", ">\n<", body)
    for gid, text in (names or {}).items():
        body = body.replace(f'<g id="{name}-{gid}">', f'<g id="{name}-{gid}"><title>{escape(text)}</title>', 1)
    told = f'<title id="{name}-title">{escape(title)}</title>\n<desc id="{name}-desc">{escape(description)}</desc>'
    return f'<svg {view[0]} role="img" aria-labelledby="{name}-title {name}-desc">\n{told}{body}'


def _adapted(tag: str, name: str) -> str:
    """A tag with ids that begin with `name`, the page's fonts and colours, and tenths of units."""
    tag = re.sub(r'\b(id="|href="#)', rf"\1{name}-", tag.replace("xlink:", ""))
    tag = tag.replace("url(#", f"url(#{name}-")
    tag = re.sub(r"font: ([\d.]+px)[^;\"]*|font-family:[^;\"]*;? *", lambda font: _size(font[1]), tag)
    tag = re.sub(r"#0101[0-9a-f]{2}", lambda found: f"var(--{COLOURS[found[0]]})", tag)
    tag = re.sub(r' transform="rotate\(-0 [^"]*"', "", tag)
    tag = re.sub(r"(\d+\.\d)\d{2,}", r"\1", tag)
    return re.sub(r"\s+", " ", tag)


def _size(size: str | None) -> str:
    return "" if size is None else f"font-size: {size}"
