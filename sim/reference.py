"""The meaning of a `QuantizedNetwork`, in plain Python integers, short enough to check by eye.

Slow on purpose: no vectors, no widths, no arithmetic shared with any other machine, not even `IntNeuron.update` (a
fault there would be in both, and be seen by nobody). It reads fields, and the shapes that follow from them. Divisions
are Python's `//`, which rounds to minus infinity. Every other machine must equal this one.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..quantize.network import Conv, Edge, IntNeuron, Pool, Population, QuantizedNetwork
from .frames import Frames, check
from .outcome import Outcome, Trace


def run(network: QuantizedNetwork, frames: Frames) -> Outcome:
    """Run `frames`, of the shape that each input asks for (`frames.check`), with a full trace."""
    given = check(network, frames)
    plain = [[values.tolist() for values in frame] for frame in zip(*given, strict=True)]
    results = _stream(network, plain) if network.stream else [_frame(network, frame) for frame in plain]
    count, steps = len(given[0]), network.steps
    spikes, membranes = (
        tuple(
            np.array([r[which][i] for r in results], dtype=kind).reshape(count, steps, population.neurons)
            for i, population in enumerate(network.populations)
        )
        for which, kind in ((0, np.uint8), (1, np.int32))
    )
    counts = np.array([r[2] for r in results], dtype=np.int64).reshape(count, sum(network.classes_of))
    classes = np.array([r[3] for r in results], dtype=np.int64).reshape(count, len(network.readouts))
    return Outcome(classes, counts, Trace(spikes, membranes))


Result = tuple[list[Any], list[Any], list[int], list[int]]


def _frame(network: QuantizedNetwork, frame: list[Any]) -> Result:
    """One frame, of each input: spikes and membranes `[population][step][neuron]`, the sums of the read-outs one after
    another, and the class of each.
    """
    spikes, membranes = _steps(network, frame, network.steps)
    return spikes, membranes, *_decided(network, spikes, membranes)


def _stream(network: QuantizedNetwork, frames: list[list[Any]]) -> list[Result]:
    """Steps that follow each other without frames. Of each, what `_frame` gives of a frame of this step alone.

    Membranes, and the largest of them, are read as if a frame had begun with the stream and ended with the step;
    spikes and membranes that are added up, as if it were this step alone.
    """
    steps = len(frames)
    whole = [[step[0] for step in values] for values in zip(*frames, strict=True)]
    spikes, membranes = _steps(network, whole, steps)
    found = []
    for t in range(steps):
        own, until = slice(t, t + 1), slice(0, t + 1)
        begins = {"count": own, "first": own, "sum": own, "membrane": until, "largest": until}
        sums, classes = _decided(network, spikes, membranes, begins)
        found.append(([s[own] for s in spikes], [m[own] for m in membranes], sums, classes))
    return found


def _steps(network: QuantizedNetwork, frame: list[Any], steps: int) -> tuple[list[Any], list[Any]]:
    """Spikes and membranes `[population][step][neuron]` of all steps, from the start values on."""
    populations = network.populations
    fan_ins = {(edge.population, edge.index): _fan_in(edge) for edge in network.edges}
    biases = [_by_neuron(population, population.bias.tolist()) for population in populations]
    neurons = [_neurons(population) for population in populations]
    names = [*(given.name for given in network.inputs), *(population.name for population in populations)]
    outputs: dict[str, list[list[int]]] = {name: [] for name in names}  # [name][step][source]
    membranes: list[list[list[int]]] = [[] for _ in populations]
    for t in range(steps):
        for given, values in zip(network.inputs, frame, strict=True):
            if given.kind == "static":
                outputs[given.name].append([pixel // 2 ** (8 - given.bits) for pixel in values])
            else:
                outputs[given.name].append(values[t])
        for number in network.order:
            population = populations[number]
            sums = list(biases[number])
            for edge in network.edges:
                before = t - edge.connection.delay
                if edge.population == number and before >= 0:
                    seen = _seen(edge, [outputs[source][before] for source in edge.connection.sources])
                    for i in range(population.neurons):
                        total = sum(w * seen[j] for j, w in fan_ins[number, edge.index][i])
                        sums[i] = sums[i] + total * 2**edge.connection.shift
            outputs[population.name].append([neurons[number][i].step(sums[i]) for i in range(population.neurons)])
            membranes[number].append([neuron.v for neuron in neurons[number]])
    return [outputs[population.name] for population in populations], membranes


def _decided(
    network: QuantizedNetwork, spikes: list[Any], membranes: list[Any], seen: dict[str, slice] | None = None
) -> tuple[list[int], list[int]]:
    """The sums of the read-outs one after another, and the class of each. `seen`: the steps that each kind reads."""
    counts: list[int] = []
    classes: list[int] = []
    for readout in network.readouts:
        number = [population.name for population in network.populations].index(readout.source)
        steps = slice(None) if seen is None else seen[readout.kind]
        read, group = _read(readout.kind, spikes[number][steps], membranes[number][steps]), readout.group
        sums = [sum(read[i : i + group]) for i in range(0, len(read), group)]
        counts = counts + sums
        classes = [*classes, sums.index(max(sums))]
    return counts, classes


def _seen(edge: Edge, outputs: list[list[int]]) -> list[int]:
    """What the synapses of a connection see: the outputs of its sources, each pooled, added."""
    if edge.pool is not None:
        outputs = [_pool(edge.pool, output, edge.source_shape) for output in outputs]
    return [sum(values) for values in zip(*outputs, strict=True)]


def _read(kind: str, spikes: list[list[int]], membranes: list[list[int]]) -> list[int]:
    """What is read of each neuron after a frame, from its spikes or membranes `[step][neuron]`."""
    if kind == "count":
        return [sum(column) for column in zip(*spikes, strict=True)]
    if kind == "first":
        for t in range(len(spikes)):
            if any(spikes[t]):
                return [(len(spikes) - t) * spike for spike in spikes[t]]
        return [0 for _ in spikes[0]]
    if kind == "membrane":
        return membranes[-1]
    if kind == "largest":
        return [max(column) for column in zip(*membranes, strict=True)]
    if kind == "sum":
        return [sum(column) for column in zip(*membranes, strict=True)]
    raise NotImplementedError(kind)


class _Neuron:
    """One neuron: its own parameters, and the state of a frame."""

    def __init__(self, shared: IntNeuron, own: dict[str, int]):
        self.shared = shared
        self.threshold, self.factor = own["threshold"], own["factor"]
        self.reset_value, self.reset_amount = own["reset_value"], own["reset_amount"]
        self.current_factor = own["current_factor"]
        self.adaptation_factor, self.adaptation_jump = own["adaptation_factor"], own["adaptation_jump"]
        self.v = own["start_value"]
        self.i = 0  # synaptic current
        self.a = 0  # adaptation
        self.waiting = 0  # refractory steps that are left

    def step(self, current: int) -> int:
        """Take the sum of one step; 1 for a spike, else 0."""
        shared = self.shared
        x = current * 2**shared.fraction
        if shared.current is not None:
            old = self.i
            self.i = self.divided(self.current_factor * old, shared.current.shift) + x
            x = self.i if shared.current.enters == "new" else old
        spike = 0
        if self.waiting == 0:
            u = self.potential(x)
            if shared.spiking and u >= self.threshold + self.a:
                spike = 1
                if shared.reset == "hard":
                    u = self.reset_value
                elif shared.reset == "soft":
                    u = u - self.reset_amount
            if shared.membrane_bits is not None:
                half = 2 ** (shared.membrane_bits - 1)
                u = max(-half, min(half - 1, u))
            self.v = u
        if shared.adaptation is not None:
            self.a = self.divided(self.adaptation_factor * self.a, shared.adaptation.shift)
            self.a = self.a + self.adaptation_jump * spike
        if spike:
            self.waiting = shared.refractory
        elif self.waiting > 0:
            self.waiting = self.waiting - 1
        return spike

    def potential(self, x: int) -> int:
        """The membrane after its leak, with `x` added."""
        shared = self.shared
        if shared.leak == "none":
            return self.v + x
        if shared.leak == "shift":
            return self.v - self.divided(self.v, shared.shift) + x
        if shared.leak == "multiply":
            return self.divided(self.factor * self.v, shared.shift) + x
        if shared.leak == "decaying_input":
            return self.v + self.divided(x - self.v, shared.shift)
        raise NotImplementedError(shared.leak)

    def divided(self, value: int, shift: int) -> int:
        """`value` over 2 to the power of `shift`, rounded."""
        if self.shared.rounding == "floor":
            return value // 2**shift
        if self.shared.rounding == "nearest":
            return (2 * value + 2**shift) // (2 * 2**shift)
        raise NotImplementedError(self.shared.rounding)


def _neurons(population: Population) -> list[_Neuron]:
    """The neurons of a population at the start of a frame."""
    given = population.neuron.parameters._asdict()
    own = {name: _by_neuron(population, values.tolist()) for name, values in given.items()}
    return [_Neuron(population.neuron, {name: own[name][i] for name in own}) for i in range(population.neurons)]


def _by_neuron(population: Population, values: list[int]) -> list[int]:
    """One value for each neuron, of one for all, one for each channel, or one for each neuron already."""
    return [values[i * len(values) // population.neurons] for i in range(population.neurons)]


def _fan_in(edge: Edge) -> list[list[tuple[int, int]]]:
    """For each neuron, its synapses `(source, weight)`, zeros left out."""
    weight = edge.synapses.weight.tolist()
    if not isinstance(edge.synapses, Conv):
        return [[(j, w) for j, w in enumerate(row) if w] for row in weight]
    channels, height, width = edge.input_shape
    (sy, sx), (py, px) = edge.synapses.stride, edge.synapses.padding
    found = []
    for c in range(edge.shape[0]):
        for y in range(edge.shape[1]):
            for x in range(edge.shape[2]):
                synapses = []
                for d in range(channels):
                    for i, row in enumerate(weight[c][d]):
                        for j, w in enumerate(row):
                            source_y, source_x = y * sy - py + i, x * sx - px + j
                            if w and 0 <= source_y < height and 0 <= source_x < width:
                                synapses.append(((d * height + source_y) * width + source_x, w))
                found.append(synapses)
    return found


def _pool(pool: Pool, fired: list[int], shape: tuple[int, ...]) -> list[int]:
    """Pooled spikes of maps of `shape`: OR (max) or number (average) of each complete window."""
    channels, height, width = shape
    pooled = []
    for c in range(channels):
        for y in range(height // pool.size):
            for x in range(width // pool.size):
                window = [
                    fired[(c * height + y * pool.size + i) * width + x * pool.size + j]
                    for i in range(pool.size)
                    for j in range(pool.size)
                ]
                pooled.append(max(window) if pool.kind == "max" else sum(window))
    return pooled
