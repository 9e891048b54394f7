"""--report: what a command writes is the figures that it prints, whole in one file; a failure has its report too."""

from __future__ import annotations

import json
from pathlib import Path

import html_pages
import numpy as np
import pytest
from click.testing import CliRunner, Result
from fake_accelerator import fake_verilog, faulty, small_network

from gradrtl import cli
from gradrtl.rtl.mapping import map_network

ROOT = Path(__file__).parents[1]
LARGEST = 1_500_000  # bytes


def gradrtl(*words: object, code: int = 0) -> Result:
    result = CliRunner().invoke(cli.main, list(map(str, words)))
    assert result.exit_code == code, result.output
    return result


def opened(path: Path) -> html_pages.Node:
    assert path.stat().st_size < LARGEST
    page = html_pages.read(path)
    html_pages.check_self_contained(page, path.parent)
    return page


def table(page: html_pages.Node, caption: str) -> list[list[str]]:
    (found,) = [one for one in page.all("table") if one.attributes["aria-label"].startswith(caption)]
    return html_pages.rows(found)


def facts(page: html_pages.Node) -> dict[str, str]:
    return dict(zip((one.text for one in page.all("dt")), (one.text for one in page.all("dd")), strict=True))


@pytest.mark.rtl
def test_verify_that_passes(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "report.html"
    words = ("verify", "sample", "--images", "3", "--jobs", "1", "--json", "--data", ROOT / "data/mnist")
    told = json.loads(gradrtl(*words, "--report", path, "-o", tmp_path / "out.json").stdout)
    page = opened(path)
    verdict = page.one("p", role="status").text
    assert verdict.startswith("pass The Verilog computes what the simulator computes. In 3 frames ")
    assert f"{told['spikes']:,} spikes and {told['membranes']:,} membranes are equal" in verdict
    found = facts(page)
    assert found["digest"] == told["digest"]
    assert found["command"] == told["command"]
    assert "--report" not in told["command"]
    assert found["data"] == f"{ROOT / 'data/mnist'}, the first 3 test images"
    assert found["versions"].startswith(f"GradRTL {told['version']}, Python 3.")
    matrix = [[int(value) for value in row[1:]] for row in table(page, "Confusion")[1:]]
    assert matrix == told["confusion"]
    work = {row[0]: row for row in table(page, "Means per frame")}
    for row in told["activity"]:
        assert work[row["population"]][5] == f"{100 * row['utilisation']:.2f} %"
    assert [link.text for link in page.all("a") if "json" in link.text] == [str(tmp_path / "out.json")]
    titles = [one.text for one in page.all("figcaption")]
    assert [title for title in titles if "Spikes" in title] == ["Spikes of frame 0"]
    assert "The Verilog has the same spikes." in page.text


@pytest.fixture(scope="module")
def failing(tmp_path_factory: pytest.TempPathFactory) -> tuple[object, ...]:
    """The words of a comparison of a stand-in that fails in frame 2, and those of one that hangs there."""
    folder = tmp_path_factory.mktemp("failing")
    network = small_network()
    mapping = map_network(network, (2, 2))
    network.save(folder / "network.npz")
    (folder / "fake.v").write_text(fake_verilog(mapping))
    frames = np.random.default_rng(3).integers(0, 256, (4, 11)).astype(np.uint8)
    for fault in ("membrane", "hang"):
        np.save(folder / f"{fault}.npy", faulty(frames, fault, 2))
    return "verify", folder / "network.npz", folder / "fake.v", "--pe", "2,2", "--jobs", "1", "--frames", folder


@pytest.mark.rtl
def test_verify_that_fails(failing: tuple[object, ...], tmp_path: Path) -> None:
    *words, folder = failing
    path = tmp_path / "report.html"
    made = gradrtl(*words, Path(str(folder)) / "membrane.npy", "--report", path, "--json", code=1)
    told = json.loads(made.stdout)
    page = opened(path)
    assert (
        page.one("p", role="status").text
        == f"fail The Verilog differs from the simulator. First difference: {told['difference']}."
    )
    where = dict(table(page, "Where it is")[1:])
    assert (where["frame"], where["step"], where["population"]) == ("2", "2", "fc1 (number 1)")
    assert told["difference"].endswith(f"membrane is {where['in the Verilog']}, expected {where['in the simulator']}")
    titles = [one.text for one in page.all("figcaption")]
    assert "Membranes of fc1, frame 2" in titles
    assert "Those of the Verilog differ." in page.text
    assert f"wrote {path}" in made.stderr


@pytest.mark.rtl
def test_verify_of_a_design_that_hangs(
    failing: tuple[object, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    *words, folder = failing
    path = tmp_path / "report.html"
    gradrtl(*words, Path(str(folder)) / "hang.npy", "--report", path, code=1)
    page = opened(path)
    assert page.one("p", role="status").text.startswith(
        "fail The Verilog violates its protocol or does not finish: nothing"
    )
    assert "Frame 2: only the simulator's are drawn, for the Verilog did not complete this frame." in page.text


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("report.json",), "report is report.json, expected a file that ends in .html"),
        (("folder.html",), "folder.html cannot be written: it is a folder"),
        (("file/report.html",), "is no folder"),
    ],
)
@pytest.mark.parametrize("name", ["verify"])
def test_what_cannot_be_written_is_found_first(
    name: str, words: tuple[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder.html").mkdir()
    (tmp_path / "file").write_text("")
    refused = gradrtl(name, "absent.npz", "--report", *words, code=2)
    assert message in refused.stderr
    assert refused.stderr.count("\n") == 1
