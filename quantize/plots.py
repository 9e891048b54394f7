"""Plots of accuracies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import require

INK, GRID = "#333333", "#dddddd"
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7")  # distinguishable with any colour vision (Okabe and Ito)
MARKERS = ("o", "s", "^", "D")


def draw(
    curves: Mapping[str, Sequence[tuple[float, float]]],
    path: Path,
    *,
    xlabel: str,
    ylabel: str,
    title: str = "",
    levels: Mapping[str, float] | None = None,
    logarithmic: bool = False,
) -> None:
    """Draw named curves of points `(x, y)`, and horizontal `levels`, into `path` (.svg or .png).

    Each x is marked on its axis, which may be `logarithmic`. The same points give the same file.
    """
    require(path.suffix in (".svg", ".png"), "plot file", path, "a name that ends in .svg or .png")
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    with matplotlib.rc_context({"svg.hashsalt": "gradrtl", "svg.fonttype": "none", "font.size": 10}):
        figure, axes = pyplot.subplots(figsize=(6, 3.6), layout="constrained")
        for index, (name, points) in enumerate(curves.items()):
            style: dict[str, Any] = {"color": COLOURS[index % len(COLOURS)], "marker": MARKERS[index % len(MARKERS)]}
            label = f" {name}" if name.startswith("_") else name  # else it would not be in the legend
            axes.plot(*zip(*sorted(points), strict=True), label=label, linewidth=1.6, markersize=5, **style)
        for name, level in (levels or {}).items():
            axes.axhline(level, color=INK, linewidth=1, linestyle="--", label=name)
        if logarithmic:
            axes.set_xscale("log")
        marked = sorted({x for points in curves.values() for x, _ in points})
        axes.set_xticks(marked, [f"{x:g}" for x in marked])
        axes.minorticks_off()
        axes.set_xlabel(xlabel)
        axes.set_ylabel(ylabel)
        axes.set_title(title, loc="left", fontsize=10)
        axes.grid(color=GRID, linewidth=0.6)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False)
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=150, metadata={"Date": None} if path.suffix == ".svg" else None)
        pyplot.close(figure)
