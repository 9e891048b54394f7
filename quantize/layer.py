"""`Layer`: synapses, neurons and an optional pool; counts of its connections."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import prod

import numpy as np

from ..arrays import connectivity
from ..bits import signed_range
from ..checks import name, whole
from ..errors import UserError, require
from ..shapes import LARGEST_SHAPE, Pool, shape_of
from .neuron import LIMIT, IntNeuron
from .synapses import WEIGHT_BITS, Conv, Dense


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
        for field, value, kinds in (
            ("synapses", self.synapses, (Dense, Conv)),
            ("neuron", self.neuron, (IntNeuron,)),
            ("pool", self.pool, (Pool, type(None))),
        ):
            if not isinstance(value, kinds):
                accepted = " or ".join(kind.__name__ for kind in kinds)
                raise UserError.of(f"{where} {field}", type(value).__name__, f"a {accepted}")
        object.__setattr__(self, "input_shape", shape_of(f"{where} input_shape", self.input_shape))
        bits = whole(f"{where} weight_bits", self.weight_bits, WEIGHT_BITS[0], WEIGHT_BITS[-1])
        object.__setattr__(self, "weight_bits", bits)
        weight, bias, threshold = self.synapses.weight, self.synapses.bias, self.neuron.threshold
        low, high = signed_range(bits)
        extremes = (int(weight.min()), int(weight.max()))
        fits = low <= extremes[0] and extremes[1] <= high
        require(fits, f"{where} weights", extremes, f"{low} to {high} at {bits} bits")
        sizes = " or ".join(map(str, sorted({1, self.channels})))
        require(threshold.size in (1, self.channels), f"{where} threshold size", threshold.size, sizes)
        extreme = max(abs(int(bias.min())), abs(int(bias.max())))
        require(extreme < LIMIT, f"{where} bias", extreme, f"less than {LIMIT} from zero")
        require(self.neurons <= LARGEST_SHAPE, f"{where} neurons", self.neurons, f"at most {LARGEST_SHAPE}")
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
        """Spread `[1]` or `[channels]` values over the neurons: `[neurons]`."""
        per_channel = np.broadcast_to(values, (self.channels,))
        return np.repeat(per_channel, self.neurons // self.channels)
