"""Reports in a browser, headless Chromium: no errors, nothing too wide, light and dark, and a filter that filters."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import test_report_explored
import test_report_runs

from gradrtl.report.page import render
from gradrtl.report.runs import verification
from gradrtl.sim.compare import Difference
from gradrtl.sim.traces import simulated

webdriver = pytest.importorskip("selenium.webdriver", reason="selenium, which drives the browser, is not installed")
CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(not CHROMIUM or not DRIVER, reason="chromium or chromedriver is not installed")
FLAGS = ("headless=new", "no-sandbox", "disable-gpu", "disable-dev-shm-usage", "disable-background-networking")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    options = webdriver.ChromeOptions()
    for flag in FLAGS:
        options.add_argument(f"--{flag}")
    options.binary_location = CHROMIUM
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    made = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    yield made
    made.quit()


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Reports of a comparison that passes, of one that fails, with long names, and of a sweep."""
    folder = tmp_path_factory.mktemp("pages")
    where = Difference(3, "membrane", 7, -8, 5, 1, 2)
    drawn = simulated(test_report_runs.NETWORK, test_report_runs.FRAMES, [0, 3])
    for name, changed, difference in (
        ("pass", {"network": "folder/" * 30 + "network.npz"}, None),
        ("fail", {"passed": False, "difference": f"{where} {'x' * 300}", "command": "gradrtl " + "y" * 300}, where),
    ):
        figures = test_report_runs.FIGURES | changed
        made = verification(
            folder / name, figures, test_report_runs.MAPPING, test_report_runs.FRAMES, drawn, difference
        )
        (folder / f"{name}.html").write_text(render(made))
    (folder / "sweep.html").write_text(test_report_explored.page())
    return folder


def opened(browser: Any, path: Path, width: int, scheme: str) -> None:
    """Open a page in a window of a width, in a colour scheme."""
    feature = {"name": "prefers-color-scheme", "value": scheme}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
    size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.get_log("browser")
    browser.get_log("performance")
    browser.get(path.as_uri())


WIDE = """
const width = document.documentElement.clientWidth;
return [...document.querySelectorAll("body *")].filter(
  (part) => !part.closest(".box, svg") && part.getBoundingClientRect().right > width + 0.5
).map((part) => part.outerHTML.slice(0, 100));
"""
CLIPPED = """
return [...document.querySelectorAll(".charts svg, .single svg")].flatMap((svg) => {
  const whole = svg.getBoundingClientRect();
  return [...svg.querySelectorAll("text")].filter((text) => {
    const own = text.getBoundingClientRect();
    return own.left < whole.left - 3 || own.right > whole.right + 3
      || own.top < whole.top - 3 || own.bottom > whole.bottom + 3;
  }).map((text) => text.textContent);
});
"""
SMALLEST = """
return Math.min(...[...document.querySelectorAll(".charts text")].map((text) => text.getBoundingClientRect().height));
"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
@pytest.mark.parametrize("name", ["pass", "fail", "sweep"])
def test_a_report_fits_and_has_no_errors(browser: Any, pages: Path, name: str, width: int, scheme: str) -> None:
    opened(browser, pages / f"{name}.html", width, scheme)
    assert browser.get_log("browser") == []
    messages = [entry["message"] for entry in browser.get_log("performance")]
    requests = [message for message in messages if '.requestWillBeSent"' in message]
    assert len(requests) > 0
    assert [one for one in requests if '"url":"file:' not in one and '"url":"data:' not in one] == []
    assert browser.execute_script("return innerWidth") == width
    whole, seen = browser.execute_script(
        "const all = document.documentElement; return [all.scrollWidth, all.clientWidth]"
    )
    assert whole <= seen
    assert browser.execute_script(WIDE) == []
    assert browser.execute_script(CLIPPED) == []
    red, green, blue = _colour(browser, "backgroundColor")
    ink = _colour(browser, "color")
    if scheme == "light":
        assert min(red, green, blue) > 230
        assert max(ink) < 80
    else:
        assert max(red, green, blue) < 60
        assert min(ink) > 200
    if name != "sweep":
        assert browser.execute_script(SMALLEST) > 9


def _colour(browser: Any, name: str) -> list[int]:
    """A colour of the page: red, green, blue."""
    text = browser.execute_script(f"return getComputedStyle(document.body).{name}")
    return [int(part) for part in text.removeprefix("rgb(").removesuffix(")").split(",")]


def test_charts_have_the_colours_of_the_scheme(browser: Any, pages: Path) -> None:
    found = []
    for scheme in ("light", "dark"):
        opened(browser, pages / "pass.html", 1280, scheme)
        found.append(browser.execute_script("return getComputedStyle(document.querySelector('.charts text')).fill"))
    assert found == ["rgb(28, 39, 51)", "rgb(230, 235, 240)"]


def test_the_filter_of_a_sweep(browser: Any, pages: Path) -> None:
    opened(browser, pages / "sweep.html", 1280, "light")

    def shown(name: str, value: str) -> tuple[list[str], list[str], str]:
        browser.execute_script(
            "const form = document.getElementById('filter'); form.reset(); const part = form.elements[arguments[0]];"
            "if (part.type === 'checkbox') part.checked = true; else part.value = arguments[1];"
            "part.dispatchEvent(new Event('input', {bubbles: true}));",
            name, value,
        )  # fmt: skip
        rows = browser.execute_script(
            "return [...document.querySelectorAll('#designs tbody tr')].filter((row) => row.offsetHeight > 0)"
            ".map((row) => row.children[4].textContent)"
        )
        marks = browser.execute_script(
            "return [...document.querySelectorAll('[id*=-design-]')].filter((part) => part.style.display !== 'none')"
            ".map((part) => part.id.split('-').pop())"
        )
        return rows, marks, browser.execute_script("return document.getElementById('shown').textContent")

    assert shown("pe", "") == (["300.5", "900", "950"], ["0", "1", "2"], "3 of 3 designs are shown.")
    assert shown("pe", "up5k") == (["300.5"], ["0"], "1 of 3 designs are shown.")
    assert shown("bits", "3") == (["950"], ["2"], "1 of 3 designs are shown.")
    assert shown("cycles", "900")[0] == ["300.5", "900"]
    assert shown("memory", "8999")[0] == ["900"]
    assert shown("accuracy", "97.5")[0] == ["300.5"]
    assert shown("front", "")[0] == ["300.5", "900"]
