"""Pages: every kind of part is on the page as text, whatever it says; links are relative."""

from __future__ import annotations

from pathlib import Path

import html_pages
import pytest

from gradrtl.report.page import Cell, Image, Images, Links, Report, Section, Table, Verdict, links, render

SCRIPT = "<script>alert(1)</script>&amp;\"'"


def report(*parts, verdict: str = "pass", notes=()) -> Report:
    return Report(
        SCRIPT, Verdict(verdict, SCRIPT), (("command", SCRIPT), ("data", SCRIPT)), (Section(SCRIPT, parts),), notes
    )


def test_all_text_is_escaped() -> None:
    parts = (
        SCRIPT,
        Table(SCRIPT, ("", SCRIPT), ((SCRIPT, SCRIPT, Cell(SCRIPT, 0.5)),)),
        Images((Image("AAAA", SCRIPT, 4, 4),)),
        links(Path("report.html"), ()),
    )
    page = html_pages.read(render(report(*parts, notes=(SCRIPT,))))
    assert page.all("script") == []
    assert page.one("h1").text == SCRIPT
    assert page.one("p", role="status").text == f"pass {SCRIPT}"
    assert [row.text for row in page.all("dd")] == [SCRIPT, SCRIPT]
    assert html_pages.rows(page.one("table")) == [["", SCRIPT], [SCRIPT, SCRIPT, SCRIPT]]
    assert page.one("img").attributes["alt"] == SCRIPT
    assert page.one("p", class_="note").text == f"Note: {SCRIPT}."
    html_pages.check_self_contained(page)


@pytest.mark.parametrize("state", ["pass", "fail", "done"])
def test_the_verdict_comes_first(state: str) -> None:
    page = html_pages.read(render(report("text", verdict=state)))
    verdict = page.one("p", role="status")
    assert page.one("body").all("p")[0] is verdict
    assert verdict.attributes["class"] == f"verdict {state}"
    assert verdict.one("strong").text == state


def test_sections_without_parts_are_left_out() -> None:
    found = Report("a", Verdict("done", "b"), (), (Section("empty", ()), Section("full", ("text",))))
    page = html_pages.read(render(found))
    assert [node.text for node in page.all("h2")] == ["full"]
    assert [node.text for node in page.one("nav").all("a")] == ["full"]


def test_links_are_relative_and_lead_to_files(tmp_path: Path) -> None:
    for name in ("in/report.html", "out/a b#1.npz"):
        path = tmp_path / name
        path.parent.mkdir()
        path.write_text("")
    path, target = tmp_path / "in/report.html", tmp_path / "out/a b#1.npz"
    found = links(path, ((target, "a network"), (None, "none"), (tmp_path / "absent", "nothing")))
    assert [(one.target, one.what) for one in found.files] == [("../out/a%20b%231.npz", "a network")]
    assert isinstance(found, Links)


def test_a_matrix_has_narrow_columns() -> None:
    assert Table("", (), (("1", Cell("2", 0)),)).shaded
    assert not Table("", (), (("1", "2"),)).shaded
