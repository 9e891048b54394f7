"""--report: what a command writes is the figures that it prints, whole in one file; a failure has its report too."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import html_pages
import numpy as np
import pytest
from command_line import gradrtl
from dense_graphs import frames
from fake_accelerator import fake_verilog, faulty, small_network
from graphs import recurrent
from kills import images_and_checkpoint
from test_commands_training import SMALL, write

from gradrtl.quantize.network import QuantizedNetwork
from gradrtl.rtl.devices import DoesNotFit
from gradrtl.rtl.mapping import map_network
from gradrtl.rtl.synthesis import Memory, Report
from gradrtl.steps import synth

ROOT = Path(__file__).parents[1]
LARGEST = 1_500_000  # bytes


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


def test_simulate(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "report.html"
    words = ("simulate", "sample", "--images", "30", "--json", "--data", ROOT / "data/mnist")
    told = json.loads(gradrtl(*words, "--report", path).stdout)
    page = opened(path)
    verdict = (
        f"done 30 frames ran in the bit-accurate simulator. {100 * told['accuracy']:.2f} % are classified correctly."
    )
    assert page.one("p", role="status").text == verdict
    assert facts(page)["command"] == told["command"]
    events = {row[0]: row[1] for row in table(page, "Means per frame")[1:]}
    assert events == {name: f"{value:,.1f}" for name, value in told["events"].items()}
    assert f"{told['energy_nj']:,.1f} nJ per frame" in page.text
    assert "Verilog" not in page.one("main").text
    assert gradrtl(*words).stdout == json.dumps(told, indent=1) + "\n", "the figures do not depend on the report"


def test_simulate_of_a_stream_draws_its_first_steps(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    recurrent().save(tmp_path / "network.npz")
    np.save(tmp_path / "steps.npy", frames(recurrent().streamed, 300, 3)[:, 0])
    gradrtl("simulate", tmp_path / "network.npz", "--stream", "--frames", tmp_path / "steps.npy", "--report", path)
    page = opened(path)
    titles = [one.text for one in page.all("figcaption") if "of the stream" in one.text]
    assert titles[0] == "Spikes of steps 0 to 199 of the stream"
    assert page.one("p", role="status").text == "done 300 steps ran in the bit-accurate simulator."
    assert table(page, "Means per step")
    assert titles[1].endswith(", steps 0 to 199 of the stream")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("data") / "own")


def test_train_then_quantize(data: Path, tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "report.html"
    words = ("train", *SMALL, "--data", data, "--epochs", 2, "--out", tmp_path / "out", "--json", "--report", path)
    told = json.loads(gradrtl(*words).stdout)
    page = opened(path)
    assert page.one("p", role="status").text == (
        f"done Trained for 2 epochs. {100 * told['accuracy']:.2f} % of the test set are classified correctly, with "
        f"{100 * told['connectivity']:.2f} % of the weights."
    )
    titles = [one.text for one in page.all("figcaption")]
    assert titles[:3] == ["Accuracy on held-out images by epoch", "Loss by epoch", "Connectivity by epoch"]
    check_answers(page, told, 30, told["accuracy"])
    assert f"to {100 * told['history'][1]['validation']:.4g} after epoch 2." in page.text
    assert dict(table(page, "Settings")[1:])["batch"] == "20"

    checkpoint, path = tmp_path / "out/checkpoint.npz", tmp_path / "newer" / "quantised.html"
    words = ("quantize", checkpoint, "--method", "weights", "--data", data, "-o", tmp_path / "network.npz", "--json")
    plain = json.loads(gradrtl(*words).stdout)
    told = json.loads(gradrtl(*words, "--report", path).stdout)
    assert plain == {name: value for name, value in told.items() if not name.endswith("_before")}
    page = opened(path)
    before, after = told["accuracy_before"], told["accuracy"]
    assert table(page, "Trained and quantised")[1] == [
        "accuracy, test set",
        f"{100 * before:.2f} %",
        f"{100 * after:.2f} %",
    ]
    assert f"{100 * (after - before):+.2f} points against the trained network" in page.text
    assert sum(map(sum, told["confusion"])) == 30
    assert len(page.all("img")) == min(24, 30 - round(30 * after))
    assert facts(page)["digest"] == QuantizedNetwork.load(tmp_path / "network.npz").digest


def check_answers(page: html_pages.Node, told: dict[str, Any], count: int, accuracy: float) -> None:
    """Confusion matrix and misclassified images of a page are those of the figures, for `count` images."""
    matrix = [[int(value) for value in row[1:]] for row in table(page, "Confusion")[1:]]
    assert matrix == told["confusion"]
    assert sum(map(sum, matrix)) == count
    right = sum(row[n] for n, row in enumerate(matrix))
    assert right == round(count * accuracy)
    images = page.all("img")
    assert len(images) == len(told["wrong"]) == min(24, count - right) > 0
    for image, one in zip(images, told["wrong"], strict=True):
        assert image.attributes["alt"] == "frame {frame}: label {label}, answer {answer}".format(**one)


def test_convert(tmp_path: Path) -> None:
    data = write(tmp_path / "own", shape=(6, 6))
    path = tmp_path / "new" / "folder" / "report.html"
    words = ("--layers", "4C3-AP2-4", "--batch", "20", "--steps", "3", "--epochs", "1", "--data", data)
    told = json.loads(gradrtl("convert", *words, "--out", tmp_path / "out", "--json", "--report", path).stdout)
    page = opened(path)
    last, count = told["accuracy"][-1], sum(map(sum, told["confusion"]))
    assert page.one("p", role="status").text == (
        f"done After {told['steps'][-1]} steps {100 * last:.2f} % of the held-out images are classified correctly; the "
        f"network of activations classifies {100 * told['activations_accuracy']:.2f} %."
    )
    assert table(page, "By number of steps")[1][1:] == [f"{100 * value:.2f} %" for value in told["accuracy"]]
    check_answers(page, told, count, last)
    assert facts(page)["command"] == told["command"]
    assert len([link for link in page.all("a") if link.text.endswith(".svg")]) == 3


def test_explore(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    images_and_checkpoint(tmp_path)
    path = tmp_path / "new" / "folder" / "report.html"
    words = ("explore", "checkpoint.npz", "--bits", "2,4", "--pe", "2,2", "--images", "10", "--data", "data")
    told = json.loads(gradrtl(*words, "--jobs", "1", "--out", "out", "--json", "--report", path).stdout)
    page = opened(path)
    assert page.all("p", role="status")[0].text == (
        f"done 2 designs were measured; {sum(point in told['front'] for point in told['points'])} of them are on the "
        "Pareto front."
    )
    rows = [row for row in page.one("table", id="designs").all("tr") if row.all("td")]
    assert [row.all("td")[-2].text.strip() for row in rows] == [
        f"{100 * point['accuracy']:.2f} %" for point in told["points"]
    ]
    assert page.all("a")[-1].attributes["href"] == "../../out/points.csv"


MADE = Report(
    "up5k", True, {"LUTs": 90, "block RAMs": 24}, {"LUTs": 100, "block RAMs": 30}, 12.0, 15.5, [("core0", 20.5)],
    [Memory("core0.synapses", 1024, 16, "SB_RAM40_4K")], "board.bin",
)  # fmt: skip


def synthesised(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, made: Report | DoesNotFit, code: int
) -> html_pages.Node:
    """The report of `synth`, without the tools."""

    def build(mapping: object, device: object, frames: object, output: Path, *rest: object) -> synth.Synthesis:
        output.mkdir(exist_ok=True)
        (output / "yosys.log").write_text("")
        if isinstance(made, DoesNotFit):
            raise made
        made.save(output / "report.json")
        return synth.Synthesis(made, 100.0, 250.0)

    monkeypatch.setattr(synth, "synth", build)
    path = tmp_path / "new" / "folder" / "report.html"
    network = ROOT / "networks/mnist-1pct-up5k.npz"
    words = (
        "synth",
        network,
        "--device",
        "up5k",
        "--data",
        ROOT / "data/mnist",
        "--images",
        "5",
        "-o",
        tmp_path / "out",
    )
    gradrtl(*words, "--report", path, code=code)
    return opened(path)


def test_synth(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = synthesised(tmp_path, monkeypatch, MADE, 0)
    assert page.one("p", role="status").text == (
        "pass The design fits Lattice iCE40UP5K-SG48 and is fast enough: 120,000 frames/s on the board. "
        "The tools report 15.5 MHz, the board's clock has 12.0 MHz."
    )
    assert table(page, "What the design takes")[1:] == [
        ["LUTs", "90", "100", "90.00 %"],
        ["block RAMs", "24", "30", "80.00 %"],
    ]
    assert table(page, "Speed")[1:] == [
        ["highest that the tools report", "15.5 MHz", "155,000", "16.13 μs"],
        ["the board's clock", "12.0 MHz", "120,000", "20.83 μs"],
    ]
    assert [link.attributes["href"] for link in page.all("a") if "yosys" in link.text] == ["../../out/yosys.log"]
    assert {"Activity", "Energy", "Hardware"} <= {node.text for node in page.all("h2")}
    assert json.loads((tmp_path / "out/report.json").read_text())["frames_per_second"] == 155_000


def test_synth_of_a_design_that_is_too_slow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = synthesised(tmp_path, monkeypatch, replace(MADE, frequency=11.0, bitstream=""), 2)
    assert "fail The design fits Lattice iCE40UP5K-SG48, but is too slow for the board." in page.text


def test_synth_of_a_design_that_does_not_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = synthesised(tmp_path, monkeypatch, DoesNotFit("LUTs is 200, expected <100"), 2)
    assert (
        page.one("p", role="status").text
        == "fail The design does not fit Lattice iCE40UP5K-SG48: LUTs is 200, expected <100."
    )
    assert "Hardware" in [node.text for node in page.all("h2")]


def test_synth_without_a_plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No number of PEs fits: the figures and the report say so, and link to no file of an earlier design."""
    monkeypatch.chdir(tmp_path)
    network = ROOT / "networks/mnist-5pct.npz"
    Path("out").mkdir()
    Path("out/board.bin").write_text("of an earlier run")
    words = ("--device", "up5k", "--data", ROOT / "data/mnist", "--images", "5", "-o", "out", "--report", "one.html")
    told = gradrtl("synth", network, *words, "--json", code=2)
    reason = "device is up5k: its block RAMs, multipliers and LUTs do not hold the network with any number of PEs"
    assert told.stderr.splitlines()[-1].startswith(f"error: {reason}")
    figures = json.loads(told.stdout)
    assert figures["refused"].startswith(reason)
    assert figures["digest"] == QuantizedNetwork.load(network).digest
    page = opened(Path("one.html"))
    assert page.one("p", role="status").text.startswith(
        f"fail The design does not fit Lattice iCE40UP5K-SG48: {reason}"
    )
    assert not {"Hardware", "Files"} & {node.text for node in page.all("h2")}
    assert "Network" in [node.text for node in page.all("h2")]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("report.json",), "report is report.json, expected a file that ends in .html"),
        (("folder.html",), "folder.html cannot be written: it is a folder"),
        (("file/report.html",), "is no folder"),
    ],
)
@pytest.mark.parametrize("name", ["verify", "simulate", "train", "convert", "quantize", "synth", "explore"])
def test_what_cannot_be_written_is_found_first(
    name: str, words: tuple[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder.html").mkdir()
    (tmp_path / "file").write_text("")
    given = () if name in ("train", "convert") else ("absent.npz",)
    refused = gradrtl(name, *given, "--report", *words, code=2)
    assert message in refused.stderr
    assert refused.stderr.count("\n") == 1
