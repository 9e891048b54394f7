"""Charts of spikes and membranes: each machine's are its own, and a difference is marked where it is."""

from __future__ import annotations

import re
from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pytest
from graphs import recurrent

from gradrtl.report import plots
from gradrtl.report.page import Chart
from gradrtl.rtl.mapping import map_network
from gradrtl.sim.compare import Difference
from gradrtl.sim.outcome import Trace
from gradrtl.sim.traces import Traced, simulated

NETWORK = recurrent(steps=12)
MAPPING = map_network(NETWORK, (2, 1))
FRAMES = np.random.default_rng(2).integers(0, 4, (3, 12, 6)).astype(np.uint8)


def pair(layer: int, step: int, neuron: int, membrane: int) -> Traced:
    """Frame 1, with a spike flipped and a membrane changed in the Verilog."""
    (one,) = simulated(NETWORK, FRAMES, [1])
    spikes, membranes = (
        tuple(np.array(part) for part in parts) for parts in (one.expected.spikes, one.expected.membranes)
    )
    spikes[layer][step, neuron] ^= 1
    membranes[layer][step, neuron] += membrane
    return replace(one, got=Trace(spikes, membranes))


def strokes(chart: Chart, colour: str) -> list[str]:
    """The curves drawn in a colour: what is clipped at the axes, unlike legends and the shapes of markers."""
    paths = [path for path in ElementTree.fromstring(chart.svg).iter("path") if "clip-path" in path.attrib]
    return [path.attrib["d"] for path in paths if f"stroke: var(--{colour})" in path.attrib["style"]]


def marks(chart: Chart, colour: str) -> int:
    return sum(path.count("M") for path in strokes(chart, colour))


def test_spikes_of_each_machine_are_drawn() -> None:
    one = pair(0, 4, 2, 0)
    assert one.got is not None
    chart = plots.raster(one, NETWORK, "simulator", Difference(1, "spike", 0, 1, 4, 0, 2))
    assert chart is not None
    assert marks(chart, "first") == sum(int(part.sum()) for part in one.expected.spikes)
    assert marks(chart, "second") == sum(int(part.sum()) for part in one.got.spikes)
    assert marks(chart, "first") != marks(chart, "second")
    assert "The Verilog differs in 1 spikes." in chart.description
    assert "var(--bad)" in chart.svg
    texts = [node.text for node in ElementTree.fromstring(chart.svg).iter("text")]
    assert {"simulator", "Verilog", "difference", "time step"} <= set(texts)


def test_a_frame_of_the_simulator_alone_has_nothing_of_the_verilog() -> None:
    (one,) = simulated(NETWORK, FRAMES, [1])
    for chart in (plots.raster(one, NETWORK, "simulator"), plots.membranes(one, NETWORK, 0, "simulator")):
        assert chart is not None
        assert strokes(chart, "second") == []
        assert "Verilog" not in chart.svg


def test_membranes_of_each_machine_are_drawn() -> None:
    chart = plots.membranes(pair(1, 3, 0, 5), NETWORK, 1, "simulator", Difference(1, "membrane", 0, 5, 3, 1, 0))
    ours, theirs = strokes(chart, "first"), strokes(chart, "second")
    assert len(ours) == len(theirs) == 3
    assert [a == b for a, b in zip(ours, theirs, strict=True)].count(False) == 1
    assert "Those of the Verilog differ." in chart.description
    same = plots.membranes(pair(1, 3, 0, 0), NETWORK, 1, "simulator")
    assert strokes(same, "first") == strokes(same, "second")
    assert "Those of the Verilog are the same." in same.description


def test_the_neuron_of_the_difference_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plots, "MOST_NEURONS", 1)
    monkeypatch.setattr(plots, "MOST_ROWS", 1)
    for neuron in range(5):
        where = Difference(1, "membrane", 0, 5, 3, 0, neuron)
        one = pair(0, 3, neuron, 5)
        assert f"of neurons {neuron}." in plots.membranes(one, NETWORK, 0, "simulator", where).description
        assert neuron in plots._neurons(one, 0, where)


def test_neurons_that_are_not_built_have_no_spikes_in_the_verilog() -> None:
    one = pair(0, 4, 2, 0)
    built = one.built[0].copy()
    built[2] = False
    changed = replace(one, built=(built, *one.built[1:]))
    assert one.differing == (1, 0)
    assert changed.differing == (0, 0)
    charts = [plots.raster(each, NETWORK, "simulator") for each in (one, changed)]
    assert one.got is not None
    fewer = [marks(chart, "second") for chart in charts if chart is not None]
    assert fewer[0] - fewer[1] == int(one.got.spikes[0][:, 2].sum())


def test_of_many_steps_those_around_the_difference_are_drawn() -> None:
    assert plots.steps_of(200, None) == range(200)
    assert plots.steps_of(1000, None) == range(200)
    assert plots.steps_of(1000, Difference(0, "spike", 0, 1, 500, 0, 0)) == range(400, 600)
    assert plots.steps_of(1000, Difference(0, "spike", 0, 1, 999, 0, 0)) == range(800, 1000)


def test_numbers_of_a_logarithmic_axis_are_written_out() -> None:
    chart = plots.line("a", "b", "x", "y", [1, 2, 3], [0.017, 0.003, 0.0042], log=True)
    texts = {node.text for node in ElementTree.fromstring(chart.svg).iter("text")}
    assert {"0.01", "0.005"} <= texts


def test_few_charts_of_simple_numbers() -> None:
    for chart in (
        plots.line("a", "b", "x", "y", [1, 2], [0.1, 10.0], log=True),
        plots.bars("a", "b", "x", "y", [3, 4]),
        plots.histograms("a", "b", "x", "y", {"one": [1, 2, 3], "two": [2, 2, 9]}),
        plots.histograms("a", "b", "x", "y", {"one": [5]}),
    ):
        texts = [node.text for node in ElementTree.fromstring(chart.svg).iter("text")]
        assert {"x", "y"} <= set(texts)
        assert not [text for text in texts if "$" in (text or "")], "numbers, no formulas"
        assert re.search(r"var\(--first\)", chart.svg)
