"""A network as lines of text: its inputs, populations with what they read, and read-outs."""

from __future__ import annotations

from ..quantize.network import Conv, Edge, QuantizedNetwork


def drawing(network: QuantizedNetwork) -> list[str]:
    """Inputs, populations in the order of a step, each with its connections, and read-outs."""
    lines = [f"input {one.name}: {shape_text(one.shape)}, {one.kind}, {one.bits} bit" for one in network.inputs]
    for number in network.order:
        population, ranges = network.populations[number], network.ranges[number]
        widths = f"sum {ranges.current_bits} bit, membrane {ranges.membrane_bits} bit"
        lines.append(
            f"population {population.name}: {shape_text(population.shape)}, {neuron_text(network, number)}, {widths}"
        )
        edges = network.graph.into(number)
        for edge in edges:
            branch = "`--" if edge is edges[-1] else "|--"
            lines.append(f"  {branch} {connection_text(edge, population.name)}")
    for readout, classes in zip(network.readouts, network.classes_of, strict=True):
        lines.append(f"read-out of {readout.source}: {readout.kind}, {classes} sums")
    fraction = 100 * network.connectivity
    lines.append(f"connectivity {fraction:.2f} %, {network.connected} of {network.possible} weights")
    lines.append(f"steps {network.steps}, classes {network.classes}")
    return lines


def connection_text(edge: Edge, name: str) -> str:
    """A connection into the population `name`, in a line."""
    given = edge.connection
    kind = "conv" if isinstance(edge.synapses, Conv) else "dense"
    parts = [
        f"{' + '.join(given.sources)}: {kind}, {edge.connected} of {edge.possible} weights of {given.weight_bits} bit"
    ]
    if given.pool:
        parts.append(f"{given.pool.kind} pool {given.pool.size}")
    if given.delay:
        parts.append(f"delay {given.delay}")
    if given.shift:
        parts.append(f"shift {given.shift}")
    if name in given.sources:
        parts.append("from itself")
    return ", ".join(parts)


def neuron_text(network: QuantizedNetwork, number: int) -> str:
    """The neurons of population `number`, in a line."""
    neuron = network.populations[number].neuron
    parts = [f"leak {neuron.leak.value}", f"reset {neuron.reset.value}" if neuron.spiking else "no spikes"]
    if neuron.current is not None:
        parts.append("synaptic current")
    if neuron.adaptation is not None:
        parts.append("adaptation")
    if neuron.refractory:
        parts.append(f"refractory {neuron.refractory}")
    return ", ".join(parts)


def shape_text(shape: tuple[int, ...]) -> str:
    """Such as `2 x 3 x 4`."""
    return " x ".join(map(str, shape))
