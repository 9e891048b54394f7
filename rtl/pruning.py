"""Neurons that the hardware can do without: exactly, for every input."""

from __future__ import annotations

from math import prod

import numpy as np

from ..quantize.network import Dense, Layer, QuantizedNetwork


def kept_neurons(network: QuantizedNetwork) -> list[np.ndarray]:
    """For each layer, the ascending indices of the neurons to build; at least one, and all of the last layer.

    Left out are neurons that can never fire (their potential stays below threshold whatever comes in) and those that
    nobody listens to. Convolutions are kept whole.
    """
    layers = network.layers
    kept = []
    largest = np.full(layers[0].sources, network.input.largest, dtype=np.int64)
    for layer in layers[:-1]:
        fires = _can_fire(layer, largest, network.steps)
        kept.append(fires)
        largest = np.full(prod(layer.output_shape), layer.pool.largest) if layer.pool else fires.astype(np.int64)
    kept.append(np.ones(layers[-1].neurons, dtype=bool))
    for index in range(len(layers) - 2, -1, -1):
        listener = layers[index + 1]
        if isinstance(listener.synapses, Dense) and layers[index].pool is None:
            kept[index] = kept[index] & (listener.synapses.weight[kept[index + 1]] != 0).any(axis=0)
        if not kept[index].any():
            kept[index][0] = True
    return [np.flatnonzero(k) for k in kept]


def _can_fire(layer: Layer, largest: np.ndarray, steps: int) -> np.ndarray:
    """Bool `[neurons]`: False where the highest potential of any input stays below threshold."""
    if not isinstance(layer.synapses, Dense):
        return np.ones(layer.neurons, dtype=bool)
    highest = np.maximum(layer.synapses.weight, 0).astype(np.int64) @ largest + layer.synapses.bias
    thresholds = layer.per_neuron(layer.neuron.threshold)
    bits = layer.neuron.membrane_bits
    v = np.full(layer.neurons, layer.neuron.reset_value, dtype=np.int64)
    fires = np.zeros(layer.neurons, dtype=bool)
    for _ in range(steps):
        u = layer.neuron.step(v, highest)
        fires |= u >= thresholds
        v = u if bits is None else np.clip(u, -(1 << bits - 1), (1 << bits - 1) - 1)
    return fires
