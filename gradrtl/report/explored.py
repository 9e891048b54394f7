"""The report of a sweep: every design with its figures, the Pareto front labelled, filtered in the page."""

from __future__ import annotations

from collections.abc import Mapping as Figures
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path, PurePath
from typing import Any

import jinja2
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from . import sections
from .charts import INK, SERIES, chart, logarithmic
from .page import Chart, Markup, Report, Section, Table, Verdict
from .runs import Targets, files_of
from .sections import number, percent

TEMPLATE = "explored.html.j2"
MARKS = "osD^vP"  # with the colour, of each width of weights


def exploration(path: Path, figures: Figures[str, Any], targets: Targets = ()) -> Report:
    """Of `gradrtl explore`, to be written to `path`."""
    points = sorted(figures["points"], key=lambda point: (point["cycles"], point["memory_bits"]))
    best = [point in figures["front"] for point in points]
    labels = _labels(best)
    names = [f"{_name(point)}, {point['bits']} bits, PE {point['pe']}" for point in points]
    drawn = _chart(points, labels, names)
    rows = [
        {
            "label": label,
            "network": _name(point),
            "bits": point["bits"],
            "pe": point["pe"],
            "cycles": point["cycles"],
            "memory_bits": point["memory_bits"],
            "accuracy": point["accuracy"],
            "texts": (
                _name(point), str(point["bits"]), point["pe"], number(point["cycles"]), number(point["memory_bits"]),
                percent(point["accuracy"]), percent(point["connectivity"]),
            ),
        }
        for point, label in zip(points, labels, strict=True)
    ]  # fmt: skip
    choices = {name: list(dict.fromkeys(str(row[name]) for row in rows)) for name in ("network", "bits", "pe")}
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    template = environment.from_string(files("gradrtl").joinpath("templates", TEMPLATE).read_text())
    html = template.render(rows=rows, choices=choices, chart=drawn)
    images = points[0]["images"] if points else 0
    told = f"{number(len(points))} designs were measured; {sum(best)} of them are on the Pareto front."
    refused = figures["refused"]
    if refused:
        told += f" {number(len(refused))} cannot be built."
    return Report(
        "Designs of a sweep",
        Verdict("done", told),
        sections.facts(f"{figures['data']}, cycles of {number(images)} test images", figures["command"]),
        (
            Section(
                "Designs",
                (
                    "A design on the front has a number: no other one is at least as good in cycles, memory and "
                    "accuracy, and better in one. Accuracy is that of the integers on all test images.",
                    Markup(html),
                ),
            ),
            Section("Not built", (_refusals(refused),) if refused else ()),
            files_of(path, targets),
        ),
    )


def _refusals(refused: Sequence[Figures[str, Any]]) -> Table:
    rows = tuple((_name(one), str(one["bits"]), one["pe"], one["reason"]) for one in refused)
    return Table("Designs that cannot be built", ("network", "weight bits", "PE", "reason"), rows)


def _name(point: Figures[str, Any]) -> str:
    return PurePath(point["checkpoint"]).stem


def _labels(best: Sequence[bool]) -> list[str]:
    """The designs of the front are numbered from 1 on; others have no label."""
    found, last = [], 0
    for is_best in best:
        last += is_best
        found.append(str(last) if is_best else "")
    return found


def _chart(points: Sequence[Figures[str, Any]], labels: Sequence[str], names: Sequence[str]) -> Chart:
    """Accuracy over cycles; each design is a group with the id of its row."""
    widths = sorted({point["bits"] for point in points})
    styles = {bits: (SERIES[i % len(SERIES)], MARKS[i % len(MARKS)]) for i, bits in enumerate(widths)}
    cycles = [point["cycles"] for point in points]

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        for index, (point, label) in enumerate(zip(points, labels, strict=True)):
            colour, mark = styles[point["bits"]]
            axes.plot(
                [point["cycles"]], [100 * point["accuracy"]], mark, color=colour, markersize=7, gid=f"design-{index}",
                fillstyle="full" if label else "none",
            )  # fmt: skip
            if label:
                axes.annotate(
                    label, (point["cycles"], 100 * point["accuracy"]), xytext=(5, 4), textcoords="offset points",
                    color=INK, gid=f"label-{index}",
                )  # fmt: skip
        if max(cycles, default=1) > 8 * min(cycles, default=1):
            logarithmic(axes, "x")
        axes.set_xlabel("cycles per frame")
        axes.set_ylabel("accuracy, %")
        handles = [
            Line2D([], [], color=c, marker=m, linestyle="", label=f"{bits} bits") for bits, (c, m) in styles.items()
        ]
        figure.legend(handles=handles, loc="outside upper left", ncols=3, borderaxespad=0)

    told = (
        f"{len(points)} designs, {sum(map(bool, labels))} of them on the front, which are filled and numbered as below."
    )
    titles = {f"design-{index}": name for index, name in enumerate(names)}
    return chart("Accuracy and cycles of the designs", told, draw, 4.0, titles)
