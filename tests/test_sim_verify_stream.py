"""A stream in compiled Verilog against the engine: every spike, membrane, number and cycle, in one driver."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from dense_graphs import frames
from graphs import recurrent

from gradrtl.quantize.placement import Placement
from gradrtl.report import plots
from gradrtl.rtl.mapping import map_network
from gradrtl.rtl.outputs import Outputs
from gradrtl.rtl.verilog import generate
from gradrtl.sim import engine, traces, verify
from gradrtl.sim.compare import Difference
from gradrtl.sim.driving import Stalls

CACHE = Path(__file__).parent.parent / "build" / "cache"


@pytest.mark.rtl
def test_a_stream_in_compiled_verilog():
    mapping = map_network(recurrent(), Placement((2, 1), row_queue_depth=2, stream=True))
    text, steps = generate(mapping, "tests"), frames(mapping.network, 600, 3)
    for stalls in (None, Stalls(0.3, 0.3, 5)):
        found = verify.verify(mapping, text, steps, stalls=stalls, cache=CACHE, quick=True, jobs=2)
        assert found.passed, str(found)
        assert found.predicted == found.frames == 600
        assert found.shares == (0,)  # the state is that of all steps before


@pytest.mark.rtl
def test_steps_of_a_stream_are_recorded_as_they_were_compared():
    mapping = map_network(recurrent(), Placement((2, 1), row_queue_depth=2, stream=True))
    text, steps = generate(mapping, "tests"), frames(mapping.network, 600, 3)
    window = traces.window_of(600, 500)
    assert window == range(400, 600)
    options = {"stalls": Stalls(0.3, 0.3, 5), "cache": CACHE, "quick": True}
    found = traces.record_steps(mapping, text, steps, window, **options)
    whole = engine.Stream(mapping.network, trace=True).run(steps).trace
    assert whole is not None
    assert found.got is not None
    assert (found.name, found.steps, found.differing) == ("steps 400 to 599 of the stream", 200, (0, 0))
    for number, population in enumerate(mapping.network.populations):
        assert np.array_equal(found.expected.spikes[number], whole.spikes[number][400:, 0]), population.name
        assert np.array_equal(found.expected.membranes[number], whole.membranes[number][400:, 0])
        assert (found.got.membranes[number] != 0).any()


def test_the_window_of_a_stream_and_the_difference_in_it():
    assert [traces.window_of(*given) for given in ((50,), (1000,), (1000, 150), (1000, 999))] == [
        range(50),
        range(200),
        range(50, 250),
        range(800, 1000),
    ]
    network = recurrent().streamed
    one = traces.simulated_steps(network, frames(network, 300, 3), range(100, 300))
    where = Difference(170, "spike", 0, 1, 0, 1, 2)
    own = one.own(where)
    assert own is not None
    assert (own.step, own.neuron) == (70, where.neuron)
    assert one.own(replace(where, frame=99)) is None
    assert one.own(replace(where, frame=300)) is None
    drawn = plots.raster(one, network, "simulator", own)
    assert drawn is not None
    assert drawn.title == "Spikes of steps 100 to 299 of the stream"
    assert drawn.description.startswith("Time steps 100 to 299 from left to right")
    assert "difference" in drawn.svg
    chart = plots.membranes(one, network, 1, "simulator", own)
    assert chart.description.startswith("Membrane potentials at the end of each time step, 100 to 299, of neurons ")


def test_numbers_are_compared():
    assert verify._number_difference(Outputs.numbers(0, 5)) is None
    found = verify._number_difference(np.array([0, 1, 3]))
    assert found is not None
    assert str(found) == "frame 2: number is 3, expected 2"
    outputs = Outputs((2,), numbered=True)
    assert outputs.sums(np.array([[7, 1, 5, 6]])).tolist() == [[5, 6]]
    assert outputs.decided(np.array([[7, 1, 5, 6]])).tolist() == [[1]]
