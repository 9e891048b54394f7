"""Charts belong to the page: its colours, its fonts, its width; with a title and a description."""

from __future__ import annotations

import re
from xml.etree import ElementTree

from matplotlib.figure import Figure

from gradrtl.report.charts import BAD, COLOURS, FIRST, chart

NAME = 'a <b> & "c" $x$ #010111 0.12345 id="d"'


def draw(figure: Figure) -> None:
    axes = figure.subplots()
    axes.plot([0, 1, 2], [0.001, 0.002, 0.004], color=FIRST, gid="curve", alpha=0.35)
    axes.axvline(1, color=BAD)
    axes.set_title(NAME)


def test_a_chart_is_one_element_with_text_alternatives() -> None:
    made = chart(NAME, "goes up <fast>", draw, names={"curve": NAME})
    tree = ElementTree.fromstring(made.svg)
    assert tree.tag == "svg"
    assert set(tree.attrib) == {"viewBox", "role", "aria-labelledby"}, "no size of its own, no namespace"
    title, description = tree.find("title"), tree.find("desc")
    assert title is not None
    assert description is not None
    assert (tree.attrib["role"], title.text, description.text) == ("img", NAME, "goes up <fast>")
    assert tree.attrib["aria-labelledby"] == f"{title.attrib['id']} {description.attrib['id']}"
    named = next(node for node in tree.iter("g") if node.attrib.get("id", "").endswith("-curve"))
    assert named[0].text == NAME


def test_colours_and_fonts_are_those_of_the_page() -> None:
    svg = chart("a", "b", draw).svg
    tags = " ".join(re.findall("<[^>]*>", svg))
    assert set(re.findall(r"var\(--([^)]*)\)", tags)) >= {"ink", "muted", "grid", "first", "bad"}
    assert re.findall("[ :]#[0-9a-f]{6}", tags) == []
    assert "font-family" not in tags
    assert "DejaVu" not in tags
    assert "opacity: 0.35" in tags


def test_text_is_text_and_stays_as_it_is() -> None:
    tree = ElementTree.fromstring(chart("a", "b", draw).svg)
    texts = [node.text for node in tree.iter("text")]
    assert NAME in texts
    assert "0.0015" in texts, "numbers of an axis are not cut"
    coordinates = " ".join(node.attrib["d"] for node in tree.iter("path"))
    assert re.findall(r"\.\d\d\d", coordinates) == []


def test_the_same_chart_is_the_same_text_and_two_have_no_id_in_common() -> None:
    assert chart("a", "b", draw).svg == chart("a", "b", draw).svg
    trees = [ElementTree.fromstring(chart(title, "b", draw).svg) for title in ("a", "c")]
    ids = [{node.attrib["id"] for node in tree.iter() if "id" in node.attrib} for tree in trees]
    assert not ids[0] & ids[1]


def test_each_colour_is_in_the_style_sheet() -> None:
    from importlib.resources import files

    sheet = files("gradrtl").joinpath("templates", "report.html.j2").read_text()
    light, dark = sheet.split("prefers-color-scheme: dark")
    for name in COLOURS.values():
        assert f"--{name}:" in light
        assert f"--{name}:" in dark
