"""`Population` and `Connection`: neurons of one kind, and the synapses through which they are reached."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import count
from math import prod
from typing import Any

import numpy as np

from ..arrays import frozen
from ..bits import signed_range
from ..checks import name, whole
from ..errors import UserError, require
from ..shapes import LARGEST_DELAY, LARGEST_FAN, LARGEST_SHAPE, Pool, shape_of
from .neuron import LIMIT, IntNeuron, Parameters
from .synapses import WEIGHT_BITS, Conv, Dense

LARGEST_CONNECTION_SHIFT = 16


@dataclass(frozen=True)
class Connection:
    """Synapses from one or more sources into a population.

    sources
        Names of inputs or populations of equal shape; what they put out is added.
    synapses
        `Dense` or `Conv` without a bias (zeros): the bias belongs to the population.
    weight_bits
        2 to 8: the width that all weights fit.
    delay
        In steps: a population sees at step `t` what its source put out at step `t - delay`, and nothing before.
    shift
        The weights are worth `2**shift` units of the population's sum.
    pool
        Pools what the sources put out, before the synapses.
    """

    sources: tuple[str, ...] | str
    synapses: Dense | Conv
    weight_bits: int = 8
    delay: int = 0
    shift: int = 0
    pool: Pool | None = None

    def __post_init__(self) -> None:
        given = (self.sources,) if isinstance(self.sources, str) else self.sources
        if not isinstance(given, tuple | list):
            raise UserError.of("connection sources", given, "the name of an input or population, or a tuple of names")
        sources = tuple(name("connection source", source) for source in given)
        require(1 <= len(sources) <= LARGEST_FAN, "connection sources", len(sources), f"1 to {LARGEST_FAN} names")
        require(len(set(sources)) == len(sources), "connection sources", sources, "names, each once")
        object.__setattr__(self, "sources", sources)
        kinds(self.label, {"synapses": (self.synapses, (Dense, Conv)), "pool": (self.pool, (Pool, type(None)))})
        object.__setattr__(self, "weight_bits", checked_weights(self.label, self.synapses, self.weight_bits))
        require(not self.synapses.bias.any(), f"{self.label} bias", "not 0", "0: the bias is the population's")
        for field, largest in (("delay", LARGEST_DELAY), ("shift", LARGEST_CONNECTION_SHIFT)):
            object.__setattr__(self, field, whole(f"{self.label} {field}", getattr(self, field), 0, largest))

    @property
    def label(self) -> str:
        """How messages name the connection."""
        return f"connection from {' + '.join(self.sources)}"

    def input_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Shape of what the synapses see, of sources of `shape`."""
        return self.pool.output_shape(shape) if self.pool else shape


@dataclass(frozen=True)
class Population:
    """Neurons of one kind: at each step they take the sum over `inputs`, plus `bias`.

    shape
        `(neurons,)` or `(channels, height, width)`.
    bias
        int64 `[channels]` or `[neurons]`, in units of the sum, or one integer.
    inputs
        Connections, one or more.
    """

    name: str
    shape: tuple[int, ...]
    neuron: IntNeuron
    bias: np.ndarray
    inputs: tuple[Connection, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", name("population name", self.name))
        where = f"population {self.name}"
        kinds(where, {"neuron": (self.neuron, (IntNeuron,)), "inputs": (self.inputs, (tuple, list))})
        object.__setattr__(self, "shape", shape_of(f"{where} shape", self.shape))
        bias = self.bias
        if not isinstance(bias, np.ndarray):
            bias = np.full(self.channels, whole(f"{where} bias", bias, 1 - LIMIT, LIMIT - 1), np.int64)
        object.__setattr__(self, "bias", frozen(f"{where} bias", bias, np.int64, (1,)))
        object.__setattr__(self, "inputs", tuple(self.inputs))
        require(1 <= len(self.inputs) <= LARGEST_FAN, f"{where} inputs", len(self.inputs), f"1 to {LARGEST_FAN}")
        for connection in self.inputs:
            kinds(where, {"inputs": (connection, (Connection,))})
        checked_neurons(where, self.neuron, self.bias, self.channels, self.neurons)

    @property
    def channels(self) -> int:
        """Output channels of a map; otherwise every neuron is one."""
        return self.shape[0]

    @property
    def neurons(self) -> int:
        return prod(self.shape)

    def per_neuron(self, values: np.ndarray) -> np.ndarray:
        """Spread `[1]`, `[channels]` or `[neurons]` values over the neurons: `[neurons]`."""
        return spread(values, self.channels, self.neurons)

    @cached_property
    def parameters(self) -> Parameters:
        """The parameters of the neurons, each int64 `[neurons]`."""
        return Parameters(*map(self.per_neuron, self.neuron.parameters))


def spread(values: np.ndarray, channels: int, neurons: int) -> np.ndarray:
    """`[1]`, `[channels]` or `[neurons]` values, one for each neuron: `[neurons]`."""
    if values.size == neurons:
        return values
    return np.repeat(np.broadcast_to(values, (channels,)), neurons // channels)


def fewest(values: np.ndarray, channels: int) -> np.ndarray:
    """`values`, `[1]` or `[neurons]`, as few as they can be: `[1]`, `[channels]` or `[neurons]`."""
    if bool((values == values[0]).all()):
        return values[:1]
    by_map = values.reshape(channels, -1)
    return by_map[:, 0] if bool((by_map == by_map[:, :1]).all()) else values


def kinds(where: str, fields: dict[str, tuple[Any, tuple[type, ...]]]) -> None:
    """Raise `UserError` unless each value has one of its types."""
    for field, (value, accepted) in fields.items():
        if not isinstance(value, accepted):
            names = " or ".join("None" if kind is type(None) else kind.__name__ for kind in accepted)
            raise UserError.of(f"{where} {field}", type(value).__name__, f"a {names}")


def checked_weights(where: str, synapses: Dense | Conv, weight_bits: Any) -> int:
    """`weight_bits` as an int, if all weights fit it; else `UserError`."""
    bits = whole(f"{where} weight_bits", weight_bits, WEIGHT_BITS[0], WEIGHT_BITS[-1])
    low, high = signed_range(bits)
    extremes = (int(synapses.weight.min()), int(synapses.weight.max()))
    fits = low <= extremes[0] and extremes[1] <= high
    require(fits, f"{where} weights", extremes, f"{low} to {high} at {bits} bits")
    return bits


def checked_neurons(where: str, neuron: IntNeuron, bias: np.ndarray, channels: int, neurons: int) -> None:
    """Raise `UserError` unless biases and parameters fit so many channels and neurons."""
    require(neurons <= LARGEST_SHAPE, f"{where} neurons", neurons, f"at most {LARGEST_SHAPE}")
    sizes = sorted({1, channels, neurons})
    for field, values in neuron.parameters._asdict().items():
        require(values.size in sizes, f"{where} {field} size", values.size, " or ".join(map(str, sizes)))
    accepted = " or ".join(map(str, sorted({channels, neurons})))
    require(bias.size in (channels, neurons), f"{where} bias size", bias.size, accepted)
    extreme = max(abs(int(bias.min())), abs(int(bias.max())))
    require(extreme < LIMIT, f"{where} bias", extreme, f"less than {LIMIT} from zero")


def unique(names: Sequence[str]) -> list[str]:
    """`names`, those that came before with a number behind them."""
    taken: list[str] = []
    for one in names:
        numbered = (f"{one} ({number})" for number in count(2))
        taken.append(one if one not in taken else next(other for other in numbered if other not in taken))
    return taken
