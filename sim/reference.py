"""The meaning of a `QuantizedNetwork`, in plain Python integers, short enough to check by eye.

Slow on purpose: no vectors, no widths, no arithmetic shared with other implementations, not even `IntNeuron.step` (a
fault there would be in both, and no comparison would show it). It reads fields, and the shapes that follow from them.
Divisions are Python's `//`, which rounds to minus infinity. All other implementations must equal this one.
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
    thresholds = [_by_neuron(layer, layer.neuron.threshold.tolist()) for layer in layers]
    biases = [_by_neuron(layer, layer.synapses.bias.tolist()) for layer in layers]
    v = [[layer.neuron.reset_value] * layer.neurons for layer in layers]
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
                v[index][i], s = _update(layer, v[index][i], current, thresholds[index][i])
                fired.append(s)
            spikes[index].append(fired)
            membranes[index].append(list(v[index]))
            values = _pool(layer.pool, fired, layer.shape) if layer.pool else fired
    last = v[-1] if network.readout.kind == "membrane" else [sum(column) for column in zip(*spikes[-1], strict=True)]
    group = network.readout.group
    return spikes, membranes, [sum(last[c * group : (c + 1) * group]) for c in range(network.classes)]


def _update(layer: Layer, v: int, current: int, threshold: int) -> tuple[int, int]:
    """One neuron, one step: the new membrane and 1 if it spiked."""
    neuron = layer.neuron
    u = _potential(neuron, v, current)
    s = int(neuron.spiking and u >= threshold)
    if s:
        u = neuron.reset_value if neuron.reset == "hard" else u - threshold
    if neuron.membrane_bits is not None:
        half = 2 ** (neuron.membrane_bits - 1)
        u = max(-half, min(half - 1, u))
    return u, s


def _potential(neuron: IntNeuron, v: int, current: int) -> int:
    """The membrane `v` after its leak, with the sum `current` added."""
    current = current * 2**neuron.fraction
    if neuron.leak == "none":
        return v + current
    if neuron.leak == "shift":
        return v - v // 2**neuron.shift + current
    if neuron.leak == "multiply":
        return neuron.factor * v // 2**neuron.shift + current
    if neuron.leak == "decaying_input":
        return v + (current - v) // 2**neuron.shift
    raise NotImplementedError(neuron.leak)


def _by_neuron(layer: Layer, values: list[int]) -> list[int]:
    """One value for each neuron, from one for all or one for each channel."""
    per_channel = layer.neurons // layer.channels
    return [values[0 if len(values) == 1 else i // per_channel] for i in range(layer.neurons)]


def _fan_in(layer: Layer) -> list[list[tuple[int, int]]]:
    """For each neuron, its synapses `(source, weight)`, without zeros."""
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
