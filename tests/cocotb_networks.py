"""The small networks of the cocotb regression, and how they are placed: the same for runner and test bench."""

from __future__ import annotations

import numpy as np
from graphs import population

from gradrtl.quantize.network import Connection, Dense, Input, IntNeuron, Layer, QuantizedNetwork, Readout
from gradrtl.quantize.neuron import Adaptation, SynapticCurrent
from gradrtl.quantize.placement import Placement
from gradrtl.rtl.mapping import Mapping, map_network


def static_network() -> QuantizedNetwork:
    """Pixels; both reset kinds, biases, thresholds of their own, saturation."""
    generator = np.random.default_rng(7)
    hidden = IntNeuron("decaying_input", "hard", generator.integers(300, 900, 23))
    out = IntNeuron("shift", "soft", np.array([6]), shift=2, membrane_bits=6)
    return QuantizedNetwork.chain(
        Input((30,)),
        (
            Layer("hidden", (30,), dense(generator, 23, 30, 0.4, 60), hidden, 4),
            Layer("out", (23,), dense(generator, 5, 23, 0.7, 0), out, 4),
        ),
        steps=4,
    )


def spike_network() -> QuantizedNetwork:
    """Spikes in, membranes out, summed in pairs."""
    generator = np.random.default_rng(8)
    hidden = IntNeuron("none", "soft", np.array([9]), fraction=1)
    out = IntNeuron("multiply", "hard", np.array([0]), shift=3, factor=7, spiking=False)
    return QuantizedNetwork.chain(
        Input((20,), kind="spikes"),
        (
            Layer("hidden", (20,), dense(generator, 17, 20, 0.5, 3), hidden, 4),
            Layer("out", (17,), dense(generator, 6, 17, 0.7, 2), out, 4),
        ),
        steps=3,
        readout=Readout("membrane", 2),
    )


def graded_network() -> QuantizedNetwork:
    """Counts in, the largest membranes out; neurons with all states, their parameters by neuron."""
    generator = np.random.default_rng(9)
    hidden = IntNeuron(
        "multiply",
        "soft",
        generator.integers(8, 40, 17),
        shift=4,
        factor=generator.integers(8, 17, 17),
        reset_amount=20,
        start_value=generator.integers(-9, 10, 17),
        rounding="nearest",
        current=SynapticCurrent(generator.integers(0, 9, 17), 3),
        adaptation=Adaptation(3, 2, generator.integers(0, 30, 17)),
        refractory=1,
    )
    out = IntNeuron("multiply", "none", 0, 3, 7, spiking=False, current=SynapticCurrent(1, 1, "old"))
    return QuantizedNetwork.chain(
        Input((20,), bits=3, kind="graded"),
        (
            Layer("hidden", (20,), dense(generator, 17, 20, 0.5, 3), hidden, 4),
            Layer("out", (17,), dense(generator, 6, 17, 0.7, 2), out, 4),
        ),
        steps=4,
        readout=Readout("largest", 2),
    )


def graph() -> QuantizedNetwork:
    """Counts in; a loop, a skip from the input, what comes back two steps later, an input that is heard late."""
    generator = np.random.default_rng(10)

    def synapses(neurons: int, sources: int) -> Dense:
        return dense(generator, neurons, sources, 0.5, 0)

    return QuantizedNetwork(
        Input((9,), bits=3, kind="graded"),
        (
            population(
                "ring", 11,
                Connection("input", synapses(11, 9), 4), Connection("ring", synapses(11, 11), 4, delay=1, shift=1),
                Connection("late", synapses(11, 7), 4, delay=2, shift=2), threshold=9, bias=2,
            ),
            population(
                "late", 7, Connection("ring", synapses(7, 11), 4), Connection("input", synapses(7, 9), 4, delay=1),
                threshold=4,
            ),
            population(
                "out", 6,
                Connection(("late",), synapses(6, 7), 4, shift=1), Connection("ring", synapses(6, 11), 4),
                Connection("input", synapses(6, 9), 4), threshold=10,
            ),
        ),
        4,
        Readout(group=2),
    )  # fmt: skip


NETWORKS = {"static": static_network, "spikes": spike_network, "graded": graded_network, "graph": graph}


def dense(generator: np.random.Generator, outputs: int, inputs: int, connectivity: float, bias: int) -> Dense:
    weight = generator.integers(-8, 8, (outputs, inputs)) * (generator.random((outputs, inputs)) < connectivity)
    return Dense(weight.astype(np.int8), generator.integers(-bias, bias + 1, outputs))


def placed(network: QuantizedNetwork) -> Mapping:
    return map_network(network, Placement((4, 3, 2)[: len(network.populations)], queue_depth=4, row_queue_depth=2))
