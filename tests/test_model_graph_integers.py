"""A float graph whose numbers need no rounding is the graph of the same integers, spike for spike."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from gradrtl.model.description import ConvSpec, DenseSpec
from gradrtl.model.graph import (
    AdaptationSpec,
    ConnectionSpec,
    CurrentSpec,
    Graph,
    InputSpec,
    NeuronSpec,
    PopulationSpec,
    ReadoutSpec,
)
from gradrtl.model.graph_network import GraphNetwork
from gradrtl.model.sequences import strips
from gradrtl.quantize.network import Conv, Dense, Input, IntNeuron, LeakKind, QuantizedNetwork, Readout
from gradrtl.quantize.neuron import Adaptation, Reset, SynapticCurrent
from gradrtl.quantize.population import Connection, Population
from gradrtl.shapes import Pool
from gradrtl.sim import reference

STEPS, SHIFT, FRACTION = 4, 2, 8  # decays of quarters: with 8 low bits nothing is rounded in 4 steps
UNIT = 1 << FRACTION
ROWS, IMAGE = InputSpec("rows", (2, 4, 4), held=False), InputSpec("image", (2, 4, 4))
LI = NeuronSpec(0.75, reset="none", spiking=False)


def dense(*sources: str, outputs: int = 5, delay: int = 0, pool: Pool | None = None) -> ConnectionSpec:
    return ConnectionSpec(sources, DenseSpec(outputs), delay, pool)


def conv(*sources: str, delay: int = 0, pool: Pool | None = None) -> ConnectionSpec:
    return ConnectionSpec(sources, ConvSpec(2), delay, pool)


def graph(*populations: PopulationSpec, inputs: tuple[InputSpec, ...] = (ROWS,), kind: str = "count") -> Graph:
    return Graph("g", inputs, populations, ReadoutSpec(populations[-1].name, kind), STEPS)


ALL = NeuronSpec(0.5, 6.0, "soft", reset_amount=5.0, start_value=2.0, current=CurrentSpec(0.75), refractory=1)
ADAPTIVE = NeuronSpec(
    0.75, 5.0, reset_value=-1.0, adaptation=AdaptationSpec(0.5, 2.0), current=CurrentSpec(0.25, "old")
)
GRAPHS = {
    "recurrent": graph(
        PopulationSpec(
            "a", (dense("rows"), dense("a", delay=1), dense("image"), dense("a", delay=3)), ADAPTIVE, bias=True
        ),
        PopulationSpec("out", (dense("a", outputs=3), dense("rows", outputs=3, delay=2)), LI, bias=True),
        inputs=(ROWS, IMAGE),
        kind="membrane",
    ),
    "two on a cycle": graph(
        PopulationSpec("a", (dense("rows"), dense("b", delay=2)), ALL),
        PopulationSpec("b", (dense("a"), dense("a", "b", delay=1)), NeuronSpec(0.75, 4.0, "none", refractory=2)),
        PopulationSpec("out", (dense("a", "b", outputs=4),), LI),
        kind="largest",
    ),
    "residual": graph(
        PopulationSpec("a", (conv("image"),), NeuronSpec(0.5, 4.0)),
        PopulationSpec("b", (conv("a"), conv("image")), NeuronSpec(0.75, 5.0, "soft")),
        PopulationSpec("c", (conv("a", "b", delay=1),), NeuronSpec(0.5, 3.0), bias=True),
        PopulationSpec("out", (dense("b", "c", pool=Pool("max", 2)), dense("a", pool=Pool("average", 2))), LI),
        inputs=(IMAGE,),
        kind="sum",
    ),
    "loop of maps": graph(
        PopulationSpec("a", (conv("image"), conv("a", delay=1)), ALL),
        PopulationSpec("out", (dense("a", pool=Pool("max", 2)),), NeuronSpec(0.5, 3.0)),
        inputs=(IMAGE,),
    ),
}  # fmt: skip


def integer_neuron(spec: NeuronSpec) -> IntNeuron:
    factor = lambda decay: np.array([round(decay * (1 << SHIFT))], np.int64)  # noqa: E731
    amount, start = spec.reset_amount, spec.start_value
    current, adaptation = spec.current, spec.adaptation
    return IntNeuron(
        LeakKind.MULTIPLY, Reset(spec.reset), round(spec.threshold * UNIT), SHIFT, factor(spec.decay),
        round(spec.reset_value * UNIT), FRACTION, None, spec.spiking,
        None if amount is None else round(amount * UNIT), None if start is None else round(start * UNIT),
        current=None if current is None else SynapticCurrent(factor(current.decay), SHIFT, current.enters),
        adaptation=adaptation and Adaptation(factor(adaptation.decay), SHIFT, round(adaptation.jump * UNIT)),
        refractory=spec.refractory,
    )  # fmt: skip


def integers_of(
    graph: Graph, weights: dict[tuple[str, int], np.ndarray], biases: dict[str, np.ndarray]
) -> QuantizedNetwork:
    """The graph with these integers; inputs are 0 or 1."""
    populations = []
    for spec in graph.populations:
        heard = []
        for index, connection in enumerate(spec.inputs):
            weight, geometry = weights[spec.name, index], connection.synapses
            synapses = (
                Conv(weight, None, geometry.stride, geometry.padding)
                if isinstance(geometry, ConvSpec)
                else Dense(weight)
            )  # type: ignore[arg-type]
            heard.append(Connection(connection.sources, synapses, 4, connection.delay, 0, connection.pool))
        neuron = integer_neuron(spec.neuron)
        populations.append(Population(spec.name, graph.shapes[spec.name], neuron, biases[spec.name], tuple(heard)))
    inputs = [Input(graph.step_shape(i), 8, "static" if i.held else "graded", i.name) for i in graph.inputs]
    return QuantizedNetwork(tuple(inputs), tuple(populations), graph.steps, (Readout(graph.readout.kind),))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", GRAPHS)
def test_floats_that_need_no_rounding_are_the_integers(name: str, seed: int) -> None:
    description = GRAPHS[name]
    rng = np.random.default_rng(seed)
    network = GraphNetwork(description).eval()
    weights, biases = {}, {}
    for spec, module in zip(description.populations, network.populations, strict=True):
        biases[spec.name] = rng.integers(-1, 2, module.shape[0]) * int(spec.bias)  # type: ignore[index, operator]
        for index, (connection, synapses) in enumerate(zip(spec.inputs, module.synapses, strict=True)):  # type: ignore
            weight = rng.integers(-3, 5, tuple(synapses.weight.shape)).astype(np.int8)
            weights[spec.name, index] = weight
            pool = connection.pool  # the average of a window is the number of its spikes, divided by its size
            with torch.no_grad():
                synapses.weight.copy_(torch.from_numpy(weight * (1 if pool is None else pool.largest)))
        if spec.bias:
            with torch.no_grad():
                module.bias.copy_(torch.from_numpy(biases[spec.name]))  # type: ignore[operator]
    pixels = (rng.random((6, *description.input_shape)) < 0.4).astype(np.uint8)
    count = len(pixels)
    frames = tuple(
        pixels.reshape(count, -1) if part.held else strips(pixels, STEPS).reshape(count, STEPS, -1)
        for part in description.inputs
    )
    integers = integers_of(description, weights, biases)
    expected = reference.run(integers, frames if len(frames) > 1 else frames[0])
    with torch.no_grad():
        outputs, rates = network(torch.from_numpy(pixels * 255), layer_rates=True)
    kind = description.readout.kind
    factor = {"count": STEPS, "membrane": UNIT, "largest": UNIT, "sum": UNIT * STEPS}[kind]
    assert np.array_equal(outputs.numpy() * factor, expected.counts)
    assert expected.trace is not None
    for spec, rate, spikes in zip(description.populations, rates, expected.trace.spikes, strict=True):
        if spec.neuron.spiking:
            assert np.array_equal(rate.flatten(1).numpy() * STEPS, spikes.sum(axis=1))
            assert spikes.any()
    assert expected.counts.any()
