"""Neurons that need not be built: removing them is exact for every input."""

from __future__ import annotations

from math import prod

import numpy as np

from ..quantize.network import Conv, Layer, QuantizedNetwork


def kept_neurons(network: QuantizedNetwork) -> list[np.ndarray]:
    """For each layer, the ascending indices of the neurons to build; at least one, and all of the last layer.

    Neurons that can never fire (their potential stays below threshold for any input) and those that no synapse reads
    are removed. Convolutions keep or lose whole channels.
    """
    layers = network.layers
    kept = []
    largest = np.full(layers[0].sources, network.input.largest, dtype=np.int64)
    for layer in layers[:-1]:
        fires = _can_fire(layer, largest, network.steps)
        kept.append(fires)
        largest = _largest_sent(layer, fires)
    kept.append(np.ones(layers[-1].neurons, dtype=bool))
    for index in range(len(layers) - 2, -1, -1):
        kept[index] = kept[index] & _heard(layers[index], layers[index + 1], kept[index + 1])
        if not kept[index].any():
            kept[index][: _unit(layers[index])] = True
    return [np.flatnonzero(k) for k in kept]


def _unit(layer: Layer) -> int:
    """Neurons that are kept or removed together: a neuron, or a channel of a convolution."""
    return layer.neurons // layer.channels if isinstance(layer.synapses, Conv) else 1


def _can_fire(layer: Layer, largest: np.ndarray, steps: int) -> np.ndarray:
    """Bool `[neurons]`: False where the highest potential of any input stays below threshold.

    `largest` is the largest value that each source sends, int64 `[sources]`.
    """
    weight = np.maximum(layer.synapses.weight, 0).astype(np.int64)
    if isinstance(layer.synapses, Conv):
        weight, largest = weight.sum(axis=(2, 3)), largest.reshape(layer.input_shape).max(axis=(1, 2))
    highest = np.repeat(weight @ largest + layer.synapses.bias, _unit(layer))
    thresholds = layer.per_neuron(layer.neuron.threshold)
    v, i = layer.parameters.start_value, np.zeros(layer.neurons, dtype=np.int64)
    fires = np.zeros(layer.neurons, dtype=bool)
    for _ in range(steps):
        before = v, i
        i, x = layer.neuron.entering(i, highest, layer.parameters.current_factor)
        u = layer.neuron.potential(v, x, layer.parameters.factor)
        fires |= u >= thresholds
        v = layer.neuron.clipped(u)
        if (v == before[0]).all() and (i == before[1]).all():
            break  # nothing changes any more
    return fires


def _largest_sent(layer: Layer, fires: np.ndarray) -> np.ndarray:
    """The largest value that each source of the next layer sends, int64, if only the neurons `fires` can fire."""
    if layer.pool is None:
        return fires.astype(np.int64)
    positions = prod(layer.output_shape[1:])
    return np.repeat(fires[:: _unit(layer)].astype(np.int64) * layer.pool.largest, positions)


def _heard(layer: Layer, listener: Layer, kept: np.ndarray) -> np.ndarray:
    """Bool `[neurons]` of `layer`: True where a neuron of `listener` that is `kept` has a synapse from it."""
    used = listener.synapses.weight[kept[:: _unit(listener)]] != 0
    if isinstance(listener.synapses, Conv):
        sources = np.repeat(used.any(axis=(0, 2, 3)), listener.sources // listener.input_shape[0])
    else:
        sources = used.any(axis=0)
    if not isinstance(layer.synapses, Conv):
        return sources
    return np.repeat(sources.reshape(layer.channels, -1).any(axis=1), _unit(layer))
