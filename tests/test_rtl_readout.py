"""The read-out grows with the classes, not with their square; every proof of what it does is in `tests/formal`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from gradrtl.quantize.network import Dense, Input, IntNeuron, Layer, QuantizedNetwork
from gradrtl.rtl.mapping import map_network
from gradrtl.rtl.readout import Readout
from gradrtl.rtl.verilog import converted, generate
from gradrtl.sim.verify import verify

CACHE = Path(__file__).parent.parent / "build" / "cache"


def network(classes: int) -> QuantizedNetwork:
    generator = np.random.default_rng(classes)
    weights = generator.integers(-8, 8, (classes, 12)) * (generator.random((classes, 12)) < 0.5)
    neuron = IntNeuron("decaying_input", "hard", np.array([40]))
    return QuantizedNetwork.chain(
        Input((12,)), (Layer("out", (12,), Dense(weights.astype(np.int8), np.zeros(classes, np.int64)), neuron, 4),), 2
    )


def test_its_verilog_grows_in_proportion_to_the_classes():
    lines = []
    for classes in (250, 500, 1000):
        net = network(classes)
        (text,) = converted([(Readout(map_network(net, (4,)).layers[0], net), "readout")])
        lines.append(text.count("\n"))
    assert lines[2] - lines[1] < 2.2 * (lines[1] - lines[0])
    assert lines[2] < 12_000


@pytest.mark.rtl
def test_a_thousand_classes_are_verified():
    net = network(1000)
    mapping = map_network(net, (4,))
    frames = np.random.default_rng(1).integers(0, 256, (3, 12)).astype(np.uint8)
    result = verify(mapping, generate(mapping, "tests"), frames, quick=True, cache=CACHE)
    assert result.passed, str(result)
    assert result.predicted == 3
