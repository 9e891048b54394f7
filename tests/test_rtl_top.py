"""The top level in Amaranth's own simulator: results equal the reference, cycles equal the timing model.

Small networks, under random stalls on both sides. Whole networks run in compiled Verilog, in other files.
"""

from __future__ import annotations

import numpy as np
import pytest
from random_networks import Options, frames, network
from rtl_bench import Bench, beats_of

from gradrtl.quantize.network import Dense, Input, IntNeuron, Layer, QuantizedNetwork, Readout
from gradrtl.quantize.placement import Placement
from gradrtl.rtl.mapping import Mapping, map_network
from gradrtl.sim import reference
from gradrtl.sim.events import events_of
from gradrtl.sim.timing.predict import predict

OPTIONS = Options(dense_only=True, largest=40, most_layers=3, most_steps=4)


def check(net: QuantizedNetwork, mapping: Mapping, images: np.ndarray, stalls: float, seed: int) -> None:
    bench = Bench(mapping, [beats_of(mapping, image) for image in images], stalls, seed)
    bench.run()
    expected = reference.run(net, images)
    assert bench.packets == [[int(c), *row] for c, row in zip(expected.classes, expected.counts.tolist(), strict=True)]
    assert not any(bench.flags)
    assert expected.trace is not None
    predicted = predict(
        mapping,
        events_of(mapping, images, expected.trace),
        offered=padded(bench.offered) if stalls else None,
        taken=np.array(bench.taken) if stalls else None,
    )
    assert predicted.first_beat.tolist() == [times[0] for times in bench.accepted]
    assert predicted.last_beat.tolist() == [times[-1] for times in bench.accepted]
    assert predicted.result.tolist() == [times[-1] for times in bench.taken]


def padded(times: list[list[int]]) -> np.ndarray:
    """Frames of spikes differ in their number of beats: `[frames, most beats]`."""
    most = max(map(len, times))
    return np.array([row + [0] * (most - len(row)) for row in times])


@pytest.mark.parametrize("stalls", [0.0, 0.2])
@pytest.mark.parametrize("seed", range(16))
def test_random_networks(seed, stalls):
    generator = np.random.default_rng(seed)
    net = network(seed, OPTIONS)
    mapping = map_network(
        net,
        Placement(
            tuple(generator.integers(1, 9, len(net.layers))),
            pixels_a_beat=int(generator.choice([1, 2, 4, 8])),
            queue_depth=int(generator.integers(2, 10)),
            row_queue_depth=int(generator.integers(2, 6)),
        ),
    )
    check(net, mapping, frames(net, 6, seed), stalls, seed)


def test_one_neuron_and_more_elements_than_neurons():
    layer = Layer("only", (1,), Dense(np.array([[3]], np.int8), np.zeros(1, np.int64)), lif(200), 4)
    net = QuantizedNetwork(Input((1,)), (layer,), 3)
    check(net, map_network(net, (5,)), np.array([[0], [255], [7]], np.uint8), 0.0, 0)


@pytest.mark.parametrize("threshold", [-(1 << 20), 1 << 20], ids=["all firing", "all silent"])
def test_extremes(threshold):
    generator = np.random.default_rng(0)
    weights = [generator.integers(-8, 8, shape).astype(np.int8) for shape in ((9, 8), (3, 9))]
    layers = (
        Layer("hidden", (8,), Dense(weights[0], np.zeros(9, np.int64)), lif(threshold), 4),
        Layer("out", (9,), Dense(weights[1], np.zeros(3, np.int64)), lif(threshold), 4),
    )
    net = QuantizedNetwork(Input((8,)), layers, 4)
    check(net, map_network(net, (2, 2)), generator.integers(0, 256, (4, 8), dtype=np.uint8), 0.0, 0)


def test_same_target_in_every_cycle_needs_forwarding():
    summing = IntNeuron("none", "hard", np.array([0]), spiking=False)  # the membrane shows every addition that is lost
    layer = Layer("only", (16,), Dense(np.full((1, 16), 7, np.int8), np.zeros(1, np.int64)), summing, 4)
    net = QuantizedNetwork(Input((16,)), (layer,), 2, Readout("membrane"))
    check(net, map_network(net, Placement((1,), pixels_a_beat=8)), np.full((3, 16), 200, np.uint8), 0.0, 0)


def test_last_run_ends_beyond_the_width_of_the_largest_start():
    weights = np.array([[5, -7], [0, 3]], np.int8)  # runs of 1 and 2 synapses: starts 0 and 1, last address 2
    layer = Layer("only", (2,), Dense(weights, np.zeros(2, np.int64)), lif(10), 4)
    net = QuantizedNetwork(Input((2,)), (layer,), 2)
    check(net, map_network(net, (1,)), np.array([[9, 9], [200, 255], [0, 255]], np.uint8), 0.0, 0)


def lif(threshold: int) -> IntNeuron:
    return IntNeuron("decaying_input", "hard", np.array([threshold]))
