"""A stream in compiled Verilog against the engine: every spike, membrane, number and cycle, in one driver."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from dense_graphs import frames
from graphs import recurrent

from gradrtl.quantize.placement import Placement
from gradrtl.rtl.mapping import map_network
from gradrtl.rtl.outputs import Outputs
from gradrtl.rtl.verilog import generate
from gradrtl.sim import verify
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


def test_numbers_are_compared():
    assert verify._number_difference(Outputs.numbers(0, 5)) is None
    found = verify._number_difference(np.array([0, 1, 3]))
    assert found is not None
    assert str(found) == "frame 2: number is 3, expected 2"
    outputs = Outputs((2,), numbered=True)
    assert outputs.sums(np.array([[7, 1, 5, 6]])).tolist() == [[5, 6]]
    assert outputs.decided(np.array([[7, 1, 5, 6]])).tolist() == [[1]]
