"""Training without dead neurons: those that no source reaches, or whose spikes no synapse reads.

They are removed before fine-tuning and added again afterwards. This is exact, as they change no spike of another
neuron. Sparse networks have many of them (half of the hidden layer at 1 % connectivity), and the time of fine-tuning
grows with the number of neurons.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from .fold import FloatNetwork
from .network import Dense, QuantizedNetwork
from .rounding import places_of


@dataclass(frozen=True)
class Living:
    """`network` is `whole` without its dead neurons; `neurons[l]` are the indices of those that layer `l` keeps."""

    whole: FloatNetwork
    network: FloatNetwork
    neurons: tuple[np.ndarray, ...]

    def expand(self, found: QuantizedNetwork) -> QuantizedNetwork:
        """`found`, a quantised `network`, with the shape of `whole`: the dead neurons have no synapses."""
        layers = []
        for index, (layer, trained) in enumerate(zip(found.layers, self.whole.layers, strict=True)):
            if isinstance(layer.synapses, Dense):
                rows, columns = self.neurons[index], _columns(self.whole, self.neurons, index)
                weight = np.zeros(trained.weight.shape, np.int8)
                weight[np.ix_(rows, columns)] = layer.synapses.weight
                bias = np.zeros(len(weight), np.int64)
                bias[rows] = layer.synapses.bias

                def spread(given: np.ndarray, rows: np.ndarray = rows, size: int = len(weight)) -> np.ndarray:
                    if given.size == 1:
                        return given
                    values = np.full(size, given.max())
                    values[rows] = given
                    return values

                neuron = layer.neuron.with_parameters(spread)
                layer = replace(layer, input_shape=trained.input_shape, synapses=Dense(weight, bias), neuron=neuron)
            layers.append(layer)
        counted = {**found.notes["synapses"], **places_of(self.whole)}
        return found.changed(layers=tuple(layers), notes={**found.notes, "synapses": counted})


def without_dead(network: FloatNetwork) -> Living:
    """Remove the dead neurons of dense layers before a dense layer; none if a layer would lose all neurons."""
    layers = network.layers
    keep = [np.arange(layer.channels) for layer in layers]
    between = [i for i in range(len(layers) - 1) if layers[i].weight.ndim == layers[i + 1].weight.ndim == 2]
    for i in between:
        layer = layers[i]
        reached = layer.weight[:, _columns(network, keep, i)].any(axis=1) | (layer.bias != 0)
        keep[i] = np.flatnonzero(reached | (layer.neuron.threshold <= 0))
    for i in reversed(between):
        heard = layers[i + 1].weight[np.ix_(keep[i + 1], keep[i])].any(axis=0)
        keep[i] = keep[i][heard]
    narrowed = []
    for i, layer in enumerate(layers):
        if layer.weight.ndim == 2:
            columns = _columns(network, keep, i)
            weight = layer.weight[np.ix_(keep[i], columns)]
            if not weight.any():
                return Living(network, network, tuple(np.arange(layer.channels) for layer in layers))
            shape = layer.input_shape if len(columns) == layer.weight.shape[1] else (len(columns),)
            layer = replace(layer, weight=weight, bias=layer.bias[keep[i]], input_shape=shape)
        narrowed.append(layer)
    return Living(network, replace(network, layers=tuple(narrowed)), tuple(keep))


def _columns(network: FloatNetwork, keep: Sequence[np.ndarray], index: int) -> np.ndarray:
    """Indices of the sources that dense layer `index` keeps."""
    if index > 0 and network.layers[index - 1].weight.ndim == 2:
        return keep[index - 1]
    return np.arange(network.layers[index].weight.shape[1])
