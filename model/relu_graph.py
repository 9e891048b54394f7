"""The graph that a network of activations is trained for. No torch."""

from __future__ import annotations

from dataclasses import replace

from ..errors import require
from .description import Network
from .graph import ConnectionSpec, Graph, InputSpec, NeuronSpec, PopulationSpec, ReadoutSpec

METHODS = ("shift", "rate-norm", "plain")  # what stands for the neurons in training: `relu.py`
MOST_LEVELS = 255  # of the activation of `shift`
INTEGRATES = NeuronSpec(decay=1.0, reset="soft")
READS = NeuronSpec(decay=1.0, reset="none", spiking=False)


def relu_graph(description: Network | Graph) -> Graph:
    """The graph of integrate-and-fire neurons that a network of activations is trained for, its thresholds still 1.

    A chain's layers become populations; its last layer, or the population that a graph reads out, does not spike, and
    its membranes at the end are the outputs.

    Raises
    ------
    UserError
        The network has max pools, cycles, delays, or an input that is not held.
    """
    graph = _as_graph(description) if isinstance(description, Network) else description
    populations = []
    for part in graph.inputs:
        require(part.held, f"input {part.name} held", part.held, "True: the image is the same at every step")
    for spec in graph.populations:
        where = f"population {spec.name}"
        require(not graph.is_recurrent(spec.name), where, "on a cycle", "a network without cycles")
        for connection in spec.inputs:
            pool = connection.pool.kind if connection.pool is not None else "average"
            require(pool == "average", f"{where} pool", pool, "average: the largest of some rates is no rate of spikes")
            require(connection.delay == 0, f"{where} delay", connection.delay, "0")
        is_read = spec.name == graph.readout.source
        bias = spec.bias or not spec.batch_norm
        populations.append(replace(spec, neuron=READS if is_read else INTEGRATES, bias=bias))
    return replace(graph, populations=tuple(populations), readout=replace(graph.readout, kind="membrane"))


def _as_graph(chain: Network) -> Graph:
    populations: list[PopulationSpec] = []
    source, pool, last = "image", None, len(chain.layers) - 1
    for index, layer in enumerate(chain.layers):
        where = f"layer {index}"
        require(layer.dropout == 0, f"{where} dropout", layer.dropout, "0")
        heard = ConnectionSpec((source,), replace(layer.synapses, bias=False), pool=pool)
        pool = layer.pool
        name = "output" if index == last else f"layer{index}"
        neuron = READS if index == last else INTEGRATES
        populations.append(PopulationSpec(name, (heard,), neuron, layer.synapses.bias, layer.batch_norm))
        source = name
    require(pool is None, "last layer pool", pool, "none")
    read = ReadoutSpec("output", "membrane", chain.vote)
    inputs = (InputSpec("image", chain.input_shape),)
    return Graph(chain.name, inputs, tuple(populations), read, chain.steps)
