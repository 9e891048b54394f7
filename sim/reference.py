"""The meaning of a `QuantizedNetwork`, in plain Python integers, short enough to check by eye.

Slow on purpose: no vectors, no widths, no arithmetic shared with any other machine, not even `IntNeuron.update` (a
fault there would be in both, and be seen by nobody). It reads fields, and the shapes that follow from them. Divisions
are Python's `//`, which rounds to minus infinity. Every other machine must equal this one.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..quantize.network import Conv, IntNeuron, Layer, Pool, QuantizedNetwork
from .outcome import Outcome, Trace


def run(network: QuantizedNetwork, frames: np.ndarray) -> Outcome:
    """Run `frames`, uint8 `[n, sources]` (static) or `[n, steps, sources]` (spikes), with a full trace."""
    results = [_frame(network, frame.tolist()) for frame in frames]
    spikes = tuple(
        np.array([r[0][i] for r in results], dtype=np.uint8).reshape(len(results), network.steps, layer.neurons)
        for i, layer in enumerate(network.layers)
    )
    membranes = tuple(
        np.array([r[1][i] for r in results], dtype=np.int32).reshape(len(results), network.steps, layer.neurons)
        for i, layer in enumerate(network.layers)
    )
    counts = np.array([r[2] for r in results], dtype=np.int64).reshape(len(results), network.classes)
    return Outcome(counts.argmax(axis=1), counts, Trace(spikes, membranes))


def _frame(network: QuantizedNetwork, frame: list[Any]) -> tuple[list[Any], list[Any], list[int]]:
    """One frame: spikes and membranes `[layer][step][neuron]`, and the sums of the read-out."""
    layers = network.layers
    fan_ins = [_fan_in(layer) for layer in layers]
    biases = [_by_neuron(layer, layer.synapses.bias.tolist()) for layer in layers]
    neurons = [_neurons(layer) for layer in layers]
    spikes: list[list[list[int]]] = [[] for _ in layers]
    membranes: list[list[list[int]]] = [[] for _ in layers]
    for t in range(network.steps):
        if network.input.kind == "static":
            values = [pixel // 2 ** (8 - network.input.bits) for pixel in frame]
        else:
            values = frame[t]
        for index, layer in enumerate(layers):
            fired = []
            for i in range(layer.neurons):
                current = biases[index][i] + sum(w * values[j] for j, w in fan_ins[index][i])
                fired.append(neurons[index][i].step(current))
            spikes[index].append(fired)
            membranes[index].append([neuron.v for neuron in neurons[index]])
            values = _pool(layer.pool, fired, layer.shape) if layer.pool else fired
    read = _read(network.readout.kind, spikes[-1], membranes[-1])
    group = network.readout.group
    return spikes, membranes, [sum(read[c * group : (c + 1) * group]) for c in range(network.classes)]


def _read(kind: str, spikes: list[list[int]], membranes: list[list[int]]) -> list[int]:
    """What is read of each neuron after a frame, from its spikes or membranes `[step][neuron]`."""
    if kind == "count":
        return [sum(column) for column in zip(*spikes, strict=True)]
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


def _neurons(layer: Layer) -> list[_Neuron]:
    """The neurons of a layer at the start of a frame."""
    own = {name: _by_neuron(layer, values.tolist()) for name, values in layer.neuron.parameters._asdict().items()}
    return [_Neuron(layer.neuron, {name: values[i] for name, values in own.items()}) for i in range(layer.neurons)]


def _by_neuron(layer: Layer, values: list[int]) -> list[int]:
    """One value for each neuron, of one for all, one for each channel, or one for each neuron already."""
    return [values[i * len(values) // layer.neurons] for i in range(layer.neurons)]


def _fan_in(layer: Layer) -> list[list[tuple[int, int]]]:
    """For each neuron, its synapses `(source, weight)`, zeros left out."""
    weight = layer.synapses.weight.tolist()
    if not isinstance(layer.synapses, Conv):
        return [[(j, w) for j, w in enumerate(row) if w] for row in weight]
    channels, height, width = layer.input_shape
    (sy, sx), (py, px) = layer.synapses.stride, layer.synapses.padding
    found = []
    for c in range(layer.shape[0]):
        for y in range(layer.shape[1]):
            for x in range(layer.shape[2]):
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
    """Spikes of a map `shape` pooled: OR (max) or number (average) of each whole window."""
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
