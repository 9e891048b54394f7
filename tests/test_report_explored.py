"""The report of a sweep: every design is a row and a mark; the front is numbered."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import html_pages

from gradrtl.report.explored import exploration
from gradrtl.report.page import render


def point(cycles: float, memory: int, accuracy: float, **others: object) -> dict[str, object]:
    return {
        "checkpoint": "some/a<b>.npz", "connectivity": 0.0123, "bits": 4, "pe": "16,auto", "images": 50,
        "cycles": cycles, "memory_bits": memory, "accuracy": accuracy, **others,
    }  # fmt: skip


POINTS = [point(900.0, 3000, 0.97), point(300.5, 9000, 0.981, pe="up5k"), point(950.0, 9500, 0.95, bits=3)]
FIGURES = {"points": POINTS, "front": POINTS[:2], "refused": [], "data": "data/<mnist>", "command": "gradrtl explore"}


def page() -> str:
    return render(exploration(Path("report.html"), FIGURES))


def test_designs_are_in_the_order_of_their_cycles_and_the_front_is_numbered() -> None:
    read = html_pages.read(page())
    html_pages.check_self_contained(read)
    assert read.all("p", role="status")[0].text == "done 3 designs were measured; 2 of them are on the Pareto front."
    assert html_pages.rows(read.one("table"))[1:] == [
        ["1", "a<b>", "4", "up5k", "300.5", "9,000", "98.10 %", "1.23 %"],
        ["2", "a<b>", "4", "16,auto", "900", "3,000", "97.00 %", "1.23 %"],
        ["", "a<b>", "3", "16,auto", "950", "9,500", "95.00 %", "1.23 %"],
    ]
    assert dict(zip((n.text for n in read.all("dt")), (n.text for n in read.all("dd")), strict=True))["data"] == (
        "data/<mnist>, cycles of 50 test images"
    )


def test_each_design_has_a_mark_with_its_name() -> None:
    svg = page()[page().index("<svg") :].partition("</svg>")[0] + "</svg>"
    tree = ElementTree.fromstring(svg)
    named = {node.attrib["id"].partition("-")[2]: node for node in tree.iter("g") if "id" in node.attrib}
    marks = {name: node for name, node in named.items() if name.startswith("design-")}
    assert list(marks) == ["design-0", "design-1", "design-2"]
    assert marks["design-0"][0].text == "a<b>, 4 bits, PE up5k"
    labels = [node for name, node in named.items() if name.startswith("label-")]
    assert ["".join(node.itertext()).strip() for node in labels] == ["1", "2"]


def test_the_filter_offers_what_there_is() -> None:
    form = html_pages.read(page()).one("form")
    offered = [[option.text for option in one.all("option")] for one in form.all("select")]
    assert offered == [["all", "a<b>"], ["all", "4", "3"], ["all", "up5k", "16,auto"]]


def test_a_sweep_without_designs() -> None:
    found = exploration(Path("report.html"), FIGURES | {"points": [], "front": []})
    assert html_pages.rows(html_pages.read(render(found)).one("table"))[1:] == []


def test_designs_that_cannot_be_built_have_a_table_of_their_own() -> None:
    refused = [{"checkpoint": "some/a<b>.npz", "bits": 8, "pe": "up5k", "reason": "device is up5k: too small"}]
    read = html_pages.read(render(exploration(Path("report.html"), FIGURES | {"refused": refused})))
    assert read.all("p", role="status")[0].text.endswith("on the Pareto front. 1 cannot be built.")
    assert html_pages.rows(read.all("table")[1])[1:] == [["a<b>", "8", "up5k", "device is up5k: too small"]]
