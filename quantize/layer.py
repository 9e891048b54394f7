"""`Layer`: a population of a chain, with the synapses from the layer before it and a pool behind it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import prod

import numpy as np

from ..arrays import connectivity
from ..checks import name
from ..shapes import Pool, shape_of
from .neuron import IntNeuron, Parameters
from .population import checked_neurons, checked_weights, kinds, spread
from .synapses import Conv, Dense


@dataclass(frozen=True)
class Layer:
    """Synapses, neurons and an optional pool.

    `input_shape` is the output shape of the layer before it, or of the input.
    """

    name: str
    input_shape: tuple[int, ...]
    synapses: Dense | Conv
    neuron: IntNeuron
    weight_bits: int
    pool: Pool | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", name("layer name", self.name))
        where = f"layer {self.name}"
        synapses, neuron, pool = (self.synapses, (Dense, Conv)), (self.neuron, (IntNeuron,)), (Pool, type(None))
        kinds(where, {"synapses": synapses, "neuron": neuron, "pool": (self.pool, pool)})
        object.__setattr__(self, "input_shape", shape_of(f"{where} input_shape", self.input_shape))
        object.__setattr__(self, "weight_bits", checked_weights(where, self.synapses, self.weight_bits))
        checked_neurons(where, self.neuron, self.synapses.bias, self.channels, self.neurons)
        if self.pool is not None:
            self.pool.output_shape(self.shape)

    @property
    def channels(self) -> int:
        """Output channels: the number of biases, and of thresholds if there is more than one."""
        return self.synapses.weight.shape[0]

    @cached_property
    def shape(self) -> tuple[int, ...]:
        """Shape of the neurons, before pooling."""
        return self.synapses.output_shape(self.input_shape)

    @property
    def neurons(self) -> int:
        return prod(self.shape)

    @property
    def sources(self) -> int:
        return prod(self.input_shape)

    @property
    def output_shape(self) -> tuple[int, ...]:
        """Shape of the next layer's input, after pooling."""
        return self.pool.output_shape(self.shape) if self.pool else self.shape

    @property
    def possible(self) -> int:
        """Number of weights, zeros included."""
        return self.synapses.weight.size

    @cached_property
    def connected(self) -> int:
        """Weights that are not zero."""
        return int(np.count_nonzero(self.synapses.weight))

    @property
    def connectivity(self) -> float:
        """The fraction of weights that are not zero."""
        return connectivity([self.connected], self.possible)

    def per_neuron(self, values: np.ndarray) -> np.ndarray:
        """Spread `[1]`, `[channels]` or `[neurons]` values over the neurons: `[neurons]`."""
        return spread(values, self.channels, self.neurons)

    @cached_property
    def parameters(self) -> Parameters:
        """The parameters of the neurons, each int64 `[neurons]`."""
        return Parameters(*map(self.per_neuron, self.neuron.parameters))
